//! A stream of units to frames: bits of any alignment and polarity in, TC frames out.
//!
//! Between units there is anything: an idle sequence, silence, noise. A unit counts where its start
//! sequence leads to a frame; where it does not, the search goes on one bit later.

use super::bch::{self, Mode};
use super::ldpc::{self, LdpcUnits};
use super::{BLOCK_BYTES, DATA_BYTES, Decoded, End, MAX_DATA_BYTES};
use crate::frame::cadu::{Packer, Symbols};
use crate::sync::marker::Marker;
use crate::sync::randomizer::{Randomizer, Sequence};
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;
use core::{fmt, str::FromStr};

/// Longest unit: the shorter of the LDPC codes makes two bytes of one.
const MAX_UNIT_BYTES: usize = 2 * MAX_DATA_BYTES + 64;

/// What is done to command frames before they are sent, as users write it: `cltu:bch`,
/// `cltu:bch,randomized`, `cltu:ldpc128` or `cltu:ldpc512`, which are always randomised
/// (CCSDS 231.0-B-4 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CltuCoding {
    /// BCH codeblocks, a bit corrected in each.
    Bch {
        /// Whether the frames are randomised.
        randomized: bool,
    },
    /// Codewords of an LDPC code.
    Ldpc(ldpc::Code),
}

/// Why a text names no [`CltuCoding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected cltu:bch, cltu:bch,randomized, cltu:ldpc128 or cltu:ldpc512")]
pub struct CltuCodingError;

impl CltuCoding {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Bch { randomized: false },
        Self::Bch { randomized: true },
        Self::Ldpc(ldpc::Code::Short),
        Self::Ldpc(ldpc::Code::Long),
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Bch { randomized: false } => "cltu:bch",
            Self::Bch { randomized: true } => "cltu:bch,randomized",
            Self::Ldpc(ldpc::Code::Short) => "cltu:ldpc128",
            Self::Ldpc(ldpc::Code::Long) => "cltu:ldpc512",
        }
    }

    /// The start sequence, and how many of its bits may be wrong.
    const fn start(self) -> (Marker, u32) {
        match self {
            Self::Bch { .. } => (Marker::COMMAND, 1),
            Self::Ldpc(_) => (Marker::LONG, ldpc::START_WRONG_MAX),
        }
    }
}

impl FromStr for CltuCoding {
    type Err = CltuCodingError;

    fn from_str(text: &str) -> Result<Self, CltuCodingError> {
        Self::ALL.into_iter().find(|coding| coding.name() == text).ok_or(CltuCodingError)
    }
}

impl fmt::Display for CltuCoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CltuCounts {
    /// Units that held a frame.
    pub units: u64,
    /// Of them, those whose tail was found.
    pub tails: u64,
    /// Of them, those that ended at a block beyond repair.
    pub rejected: u64,
    /// Of them, those that the end of the stream cut.
    pub cut: u64,
    /// Blocks in which bits were corrected.
    pub corrected_blocks: u64,
    /// Frames.
    pub frames: u64,
    /// Bytes behind the last frame of a unit that are longer than fill: a frame was cut or lies.
    pub leftover_bytes: u64,
    /// Start sequences that led to no frame.
    pub false_starts: u64,
}

#[derive(Debug)]
enum Code {
    Bch(Option<Randomizer>),
    Ldpc(Box<LdpcUnits>),
}

/// Reads one stream of units.
#[derive(Debug)]
pub struct CltuDecoder {
    coding: CltuCoding,
    code: Code,
    packer: Packer,
    held: Vec<u8>,
    /// The first bit of those held at which a start may stand.
    from: u64,
    /// Not before so many bytes are held is a cut unit looked at again: else a stream that comes
    /// byte by byte would be decoded as often.
    retry_at: usize,
    /// The unit at hand, aligned.
    unit: Vec<u8>,
    counts: CltuCounts,
}

impl CltuDecoder {
    /// Reads units of a coding.
    pub fn new(coding: CltuCoding) -> Self {
        let code = match coding {
            CltuCoding::Bch { randomized } => Code::Bch(
                randomized.then(|| Randomizer::new(Sequence::Telecommand, MAX_DATA_BYTES)),
            ),
            CltuCoding::Ldpc(code) => Code::Ldpc(Box::new(LdpcUnits::new(code))),
        };
        Self {
            coding,
            code,
            packer: Packer::default(),
            held: Vec::new(),
            from: 0,
            retry_at: 0,
            unit: Vec::new(),
            counts: CltuCounts::default(),
        }
    }

    /// What happened so far.
    pub const fn counts(&self) -> &CltuCounts {
        &self.counts
    }

    /// Takes the next symbols of the stream, and hands out each frame of the units that they
    /// complete. A stream keeps to one form of symbols.
    pub fn push(&mut self, form: Symbols, chunk: &[u8], sink: &mut impl FnMut(Bytes)) {
        for piece in chunk.chunks(MAX_UNIT_BYTES) {
            self.packer.pack(form, piece, &mut self.held);
            if self.held.len() >= self.retry_at {
                self.scan(false, sink);
            }
        }
    }

    /// Ends the stream, and hands out the frames of a unit that it cut.
    pub fn finish(&mut self, sink: &mut impl FnMut(Bytes)) {
        self.scan(true, sink);
        self.held.clear();
        (self.from, self.retry_at) = (0, 0);
    }

    fn scan(&mut self, ended: bool, sink: &mut impl FnMut(Bytes)) {
        let (start, errors) = self.coding.start();
        self.retry_at = 0;
        loop {
            let (at, inverted) = match start.first_place(&self.held, errors, self.from) {
                Ok(found) => found,
                Err(from) => {
                    self.from = from;
                    break;
                }
            };
            align(&self.held, at, inverted, &mut self.unit);
            let Some(decoded) = self.decode() else {
                self.from = at + 1;
                continue;
            };
            if decoded.end == End::Cut && !ended && self.unit.len() < MAX_UNIT_BYTES {
                self.from = at;
                self.retry_at = self.held.len() + (self.unit.len() / 4).max(BLOCK_BYTES);
                break;
            }
            self.from = match self.take(&decoded, sink) {
                0 => at + 1,
                bytes => at + 8 * bytes as u64,
            };
        }
        // What no unit can begin in is gone.
        let gone = usize::try_from(self.from / 8).unwrap_or(usize::MAX).min(self.held.len());
        self.held.drain(..gone);
        self.from -= 8 * gone as u64;
        self.retry_at = self.retry_at.saturating_sub(gone);
    }

    fn decode(&mut self) -> Option<Decoded> {
        // The search allows what the decoders allow, so this is never no start.
        match &mut self.code {
            Code::Bch(randomizer) => {
                bch::decode(&self.unit, Mode::Correct, randomizer.as_ref()).ok()
            }
            Code::Ldpc(units) => units.decode(&self.unit).ok(),
        }
    }

    /// Hands out the frames; the bytes of the unit, 0 where it is none.
    fn take(&mut self, decoded: &Decoded, sink: &mut impl FnMut(Bytes)) -> usize {
        let mut frames = decoded.frames();
        let mut count = 0;
        for frame in &mut frames {
            sink(Bytes::copy_from_slice(frame));
            count += 1;
        }
        let counts = &mut self.counts;
        if count == 0 {
            counts.false_starts += 1;
            return 0;
        }
        counts.units += 1;
        counts.frames += count;
        counts.corrected_blocks += decoded.corrected as u64;
        let (start, data_bytes, block_bytes) = match &self.code {
            Code::Bch(_) => (bch::START.len(), DATA_BYTES, BLOCK_BYTES),
            Code::Ldpc(units) => {
                let code = units.code();
                (ldpc::START.len(), code.data_bytes(), code.codeword_bytes())
            }
        };
        let left = frames.rest().len();
        if left >= data_bytes {
            counts.leftover_bytes += left as u64;
        }
        match decoded.end {
            End::Tail => {
                counts.tails += 1;
                decoded.consumed
            }
            end => {
                counts.rejected += u64::from(end == End::Rejected);
                counts.cut += u64::from(end == End::Cut);
                // The block that is none may hold the next start.
                start + decoded.data.len() / data_bytes * block_bytes
            }
        }
    }
}

/// The bytes from a bit on, upright, at most a unit of them.
fn align(bytes: &[u8], at: u64, inverted: bool, unit: &mut Vec<u8>) {
    unit.clear();
    let from = usize::try_from(at / 8).unwrap_or(usize::MAX);
    let rest = bytes.get(from..).unwrap_or(&[]);
    let (shift, invert) = ((at % 8) as u32, if inverted { 0xFF } else { 0 });
    let next = rest.iter().skip(1).copied().map(Some).chain([None]);
    for (high, low) in rest.iter().zip(next).take(MAX_UNIT_BYTES) {
        // The last byte of a shifted stream is not whole.
        let low = match low {
            Some(low) => low,
            None if shift == 0 => 0,
            None => break,
        };
        let pair = u16::from_be_bytes([*high, low]) << shift;
        unit.push((pair >> 8) as u8 ^ invert);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::tc::{self, TcHeader, TcType};
    use alloc::string::ToString;
    use alloc::vec;
    use proptest::prelude::*;

    fn frame(n: u8) -> Vec<u8> {
        let header = TcHeader { kind: TcType::Bd, scid: 123, vcid: 1, count: 0 };
        let data: Vec<u8> = (0..20 + n % 60).map(|byte| byte.wrapping_mul(n)).collect();
        tc::build(&header, None, &data, true).unwrap()
    }

    fn unit(coding: CltuCoding, frames: &[u8]) -> Vec<u8> {
        match coding {
            CltuCoding::Bch { randomized } => {
                let randomizer = Randomizer::new(Sequence::Telecommand, 256);
                bch::encode(frames, randomized.then_some(&randomizer)).unwrap()
            }
            CltuCoding::Ldpc(code) => LdpcUnits::new(code).encode(frames, true).unwrap(),
        }
    }

    /// Units of two frames between an idle sequence.
    fn stream(coding: CltuCoding, units: u8) -> (Vec<Vec<u8>>, Vec<u8>) {
        let (mut frames, mut stream) = (Vec::new(), vec![0x55; 16]);
        for n in 0..units {
            let pair = [frame(2 * n), frame(2 * n + 1)];
            stream.extend(unit(coding, &pair.concat()));
            stream.extend([0x55; 9]);
            frames.extend(pair);
        }
        (frames, stream)
    }

    fn received(
        coding: CltuCoding,
        form: Symbols,
        stream: &[u8],
        chunk: usize,
    ) -> (Vec<Bytes>, CltuCounts) {
        let mut decoder = CltuDecoder::new(coding);
        let mut frames = Vec::new();
        stream.chunks(chunk).for_each(|chunk| {
            decoder.push(form, chunk, &mut |frame| frames.push(frame));
        });
        decoder.finish(&mut |frame| frames.push(frame));
        (frames, decoder.counts)
    }

    #[test]
    fn texts_round_trip() {
        for coding in CltuCoding::ALL {
            assert_eq!(coding.to_string().parse(), Ok(coding));
        }
        for text in ["cltu", "cltu:bch,", "cltu:ldpc128,randomized", "bch"] {
            assert_eq!(text.parse::<CltuCoding>(), Err(CltuCodingError));
        }
    }

    #[test]
    fn units_of_every_coding_alignment_and_polarity_give_their_frames() {
        for coding in CltuCoding::ALL {
            let (sent, stream) = stream(coding, 5);
            let bits: Vec<u8> =
                stream.iter().flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1)).collect();
            for (shift, turned) in [(0, 0), (3, 0), (5, 1)] {
                let bits: Vec<u8> = bits[shift..].iter().map(|bit| bit ^ turned).collect();
                for chunk in [usize::MAX, 1, 100] {
                    let (frames, counts) = received(coding, Symbols::Bits, &bits, chunk);
                    assert!(frames.iter().eq(&sent), "{coding}, {shift}, {chunk}: {counts:?}");
                    assert_eq!((counts.units, counts.frames), (5, 10), "{coding}");
                }
            }
            let (frames, _) = received(coding, Symbols::Packed, &stream, 7);
            assert!(frames.iter().eq(&sent), "{coding}");
        }
    }

    #[test]
    fn a_unit_cut_short_gives_what_is_whole() {
        let coding = CltuCoding::Bch { randomized: false };
        let (sent, stream) = stream(coding, 1);
        let (frames, counts) = received(coding, Symbols::Packed, &stream[..16 + 2 + 8 * 5], 9);
        assert_eq!((frames.len(), counts.cut), (1, 1));
        assert_eq!(frames[0], sent[0]);
        let (frames, counts) = received(coding, Symbols::Packed, &[0xEB; 500], 100);
        assert_eq!((frames.len(), counts.units), (0, 0));
    }

    proptest! {
        #[test]
        fn damage_costs_its_unit_and_chunks_change_nothing(
            coding in prop::sample::select(&CltuCoding::ALL[..]),
            at in any::<prop::sample::Index>(),
            length in 0usize..40,
            chunk in 1usize..400,
        ) {
            let (sent, mut stream) = stream(coding, 4);
            let at = at.index(stream.len());
            let end = (at + length).min(stream.len());
            stream[at..end].iter_mut().for_each(|byte| *byte ^= 0xB5);
            let (frames, counts) = received(coding, Symbols::Packed, &stream, usize::MAX);
            // A burst of 40 bytes touches at most two units.
            let whole = sent.iter().filter(|sent| frames.iter().any(|frame| frame == *sent));
            prop_assert!(whole.count() >= 4, "{counts:?}");
            prop_assert_eq!(received(coding, Symbols::Packed, &stream, chunk), (frames, counts));
        }

        #[test]
        fn any_bytes_are_survived(
            coding in prop::sample::select(&CltuCoding::ALL[..2]),
            bytes in prop::collection::vec(any::<u8>(), 0..600),
        ) {
            let (frames, counts) = received(coding, Symbols::Packed, &bytes, 50);
            prop_assert_eq!(frames.len() as u64, counts.frames);
        }
    }
}
