//! Undoes what the marker does not tell: randomiser and block code.

use super::{BlockCode, CaduCounts, CaduError, Coding, Frame, Quality, Randomized};
use crate::fec::ldpc;
use crate::fec::reed_solomon::{Block, Report};
use crate::sync::marker::Found;
use crate::sync::randomizer::{Randomizer, Sequence};
use alloc::{vec, vec::Vec};
use bytes::BytesMut;

/// Bytes of a buffer that frames share.
/// Few enough that the next buffer is often the last one, still in the cache.
const BUFFER_BYTES: usize = 64 * 1024;
/// After as many iterations an LDPC codeword that still contradicts itself is lost.
const LDPC_ITERATIONS: u32 = 50;
/// What the LDPC decoder gets for a noiseless symbol.
const LDPC_LEVEL: i8 = 24;

/// One code's blocks, and the place where they are decoded.
#[derive(Debug)]
enum Code {
    None,
    ReedSolomon(Block),
    Ldpc(Ldpc),
}

/// Boxed state of a decoder that works on symbols, not bytes.
#[derive(Debug)]
struct Ldpc {
    decoder: ldpc::Decoder,
    symbols: Vec<i8>,
    /// The symbols with a sequence taken off.
    upright: Vec<i8>,
}

#[derive(Debug)]
pub(super) struct BlockDecoder {
    code: Code,
    /// None, the one in use, or those that may be in use.
    randomizers: Vec<Randomizer>,
    frame_bytes: usize,
    block_bytes: usize,
    buffer: BytesMut,
    pub(super) counts: CaduCounts,
}

/// What became of a block's code.
#[derive(Clone, Copy, Debug, Default)]
struct Decoded {
    codewords: Report,
    ldpc: Option<ldpc::Decoded>,
}

impl Decoded {
    fn is_good(&self) -> bool {
        self.codewords.failed() == 0 && self.ldpc.is_none_or(|decoded| decoded.converged)
    }
}

impl BlockDecoder {
    pub(super) fn new(coding: &Coding, frame_bytes: usize) -> Result<Self, CaduError> {
        let block_bytes = coding.block_bytes(frame_bytes)?;
        let code = match coding.block {
            BlockCode::None => Code::None,
            BlockCode::ReedSolomon(_) => {
                coding.reed_solomon(frame_bytes)?.map_or(Code::None, Code::ReedSolomon)
            }
            BlockCode::Ldpc(code) => Code::Ldpc(Ldpc {
                decoder: ldpc::Decoder::new(code),
                symbols: vec![0; code.symbols()],
                upright: vec![0; code.symbols()],
            }),
        };
        let sequences: &[Sequence] = match &coding.randomized {
            Randomized::No => &[],
            Randomized::With(sequence) => core::slice::from_ref(sequence),
            Randomized::Either => &[Sequence::Long, Sequence::Legacy],
        };
        let randomizers =
            sequences.iter().map(|sequence| Randomizer::new(*sequence, block_bytes)).collect();
        let (counts, buffer) = (CaduCounts::default(), BytesMut::new());
        Ok(Self { code, randomizers, frame_bytes, block_bytes, buffer, counts })
    }

    /// The same without wide registers in the Reed-Solomon code.
    pub(super) fn portable(mut self) -> Self {
        if let Code::ReedSolomon(code) = self.code {
            self.code = Code::ReedSolomon(code.portable());
        }
        self
    }

    pub(super) const fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// Whether symbols tell more than the bits that they were cut to.
    pub(super) const fn wants_symbols(&self) -> bool {
        matches!(self.code, Code::Ldpc(_))
    }

    /// The sequence in use; `None` where there is none, or none fitted yet.
    pub(super) fn sequence(&self) -> Option<Sequence> {
        match &self.randomizers[..] {
            [only] => Some(only.sequence()),
            _ => None,
        }
    }

    /// Decodes a block; `soft` holds its symbols as received, where they are known.
    pub(super) fn decode(&mut self, found: &Found<'_>, soft: Option<&[i8]>) -> Frame {
        let (mut block, upright) = self.receive(found);
        if let Code::Ldpc(ldpc) = &mut self.code {
            ldpc.load(&block, soft, found.inverted);
        }
        let decoded = match self.randomizers.len() {
            0 => self.correct(&mut block, None),
            1 => self.correct(&mut block, (!upright).then_some(0)),
            _ => self.settle(&mut block),
        };
        self.count(&decoded);
        let mut bytes = block.freeze();
        bytes.truncate(self.frame_bytes);
        let Decoded { codewords, ldpc } = decoded;
        Frame { bytes, quality: Quality { marker_errors: found.marker_errors, codewords, ldpc } }
    }

    /// The block in a place of its own, and whether its sequence is off already: in the usual case
    /// it comes off on the way.
    fn receive(&mut self, found: &Found<'_>) -> (BytesMut, bool) {
        if self.buffer.capacity() < self.block_bytes {
            self.buffer.reserve(BUFFER_BYTES.max(self.block_bytes));
        }
        self.buffer.resize(self.block_bytes, 0);
        let mut block = self.buffer.split_to(self.block_bytes);
        match (&self.randomizers[..], &self.code, found.as_received()) {
            ([only], Code::None | Code::ReedSolomon(_), Some(bytes)) => {
                only.apply_to(bytes, &mut block);
                (block, true)
            }
            _ => {
                found.copy_to(&mut block);
                (block, false)
            }
        }
    }

    /// Takes a sequence off and decodes; the frame is what the block then begins with.
    fn correct(&mut self, block: &mut [u8], randomizer: Option<usize>) -> Decoded {
        let randomizer = randomizer.and_then(|place| self.randomizers.get(place));
        match &mut self.code {
            Code::None | Code::ReedSolomon(_) => {
                if let Some(randomizer) = randomizer {
                    randomizer.apply(block);
                }
                let report = match &self.code {
                    Code::ReedSolomon(code) => code.decode(block).unwrap_or_default(),
                    _ => Report::default(),
                };
                Decoded { codewords: report, ldpc: None }
            }
            Code::Ldpc(ldpc) => {
                let frame = block.get_mut(..self.frame_bytes).unwrap_or_default();
                Decoded { ldpc: Some(ldpc.decode(randomizer, frame)), ..Decoded::default() }
            }
        }
    }

    /// Finds the sequence with which the block decodes, and keeps to it from then on.
    fn settle(&mut self, block: &mut BytesMut) -> Decoded {
        let mut first = None;
        for place in 0..self.randomizers.len() {
            let mut tried = block.clone();
            let decoded = self.correct(&mut tried, Some(place));
            let fits = decoded.is_good();
            if fits || first.is_none() {
                first = Some((tried, decoded));
            }
            if fits {
                self.randomizers.swap(0, place);
                self.randomizers.truncate(1);
                break;
            }
        }
        let Some((tried, decoded)) = first else { return Decoded::default() };
        *block = tried;
        decoded
    }

    fn count(&mut self, decoded: &Decoded) {
        let (counts, codewords) = (&mut self.counts, &decoded.codewords);
        counts.codewords += codewords.outcomes().len() as u64;
        counts.corrected_symbols += u64::from(codewords.corrected());
        counts.corrected_codewords += u64::from(codewords.corrected_codewords());
        counts.failed_codewords += u64::from(codewords.failed());
        if let Some(ldpc) = decoded.ldpc {
            counts.codewords += 1;
            counts.corrected_codewords += u64::from(ldpc.converged && ldpc.iterations > 0);
            counts.failed_codewords += u64::from(!ldpc.converged);
        }
        counts.failed_frames += u64::from(!decoded.is_good());
    }
}

impl Ldpc {
    /// The symbols of a block, upright: as received, or as the bits say.
    fn load(&mut self, block: &[u8], soft: Option<&[i8]>, inverted: bool) {
        let Some(soft) = soft else {
            let bits = block.iter().flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1));
            for (symbol, bit) in self.symbols.iter_mut().zip(bits) {
                *symbol = if bit == 0 { LDPC_LEVEL } else { -LDPC_LEVEL };
            }
            return;
        };
        // The decoder does best at one level, whatever the demodulator's.
        let sum: u64 = soft.iter().map(|symbol| u64::from(symbol.unsigned_abs())).sum();
        let mean = (sum / soft.len().max(1) as u64).max(1) as i32;
        for (symbol, soft) in self.symbols.iter_mut().zip(soft) {
            let level = i32::from(*soft) * i32::from(LDPC_LEVEL) / mean;
            let level = level.clamp(-127, 127) as i8;
            *symbol = if inverted { -level } else { level };
        }
    }

    /// Decodes what was loaded, with a sequence taken off.
    fn decode(&mut self, randomizer: Option<&Randomizer>, frame: &mut [u8]) -> ldpc::Decoded {
        self.upright.copy_from_slice(&self.symbols);
        if let Some(randomizer) = randomizer {
            randomizer.apply_soft(&mut self.upright);
        }
        self.decoder.decode(&self.upright, LDPC_ITERATIONS, frame)
    }
}
