//! Channel access data units to frames: every code of the channel undone.
//!
//! ```text
//! chunks ─► symbols (convolutional code) ─► sync::marker ─► block (randomiser, Reed-Solomon or
//! LDPC) ─► frames with their quality;                 coding: which of these there are, as text
//! ```
//!
//! A block is copied once, out of the chunk, and everything else happens in that place: frames are
//! slices of buffers that many of them share. A frame costs no allocation.

mod coding;
mod symbols;
mod block;
mod encoder;
#[cfg(test)]
mod tests;

pub use coding::{BlockCode, Coding, CodingError, Convolutional, Randomized, ReedSolomon};
pub use encoder::CaduEncoder;
pub use symbols::{LockCounts, Symbols, SymbolsError};
pub(in crate::frame) use symbols::{NrzM, Packer};

use self::block::BlockDecoder;
use self::symbols::{History, Inner, for_each_soft};
use super::MAX_FRAME_BYTES;
use crate::fec::ldpc;
use crate::fec::reed_solomon::{BlockError, Report};
use crate::sync::marker::{self, ConfigError, Marker, MarkerConfig, SyncCounts, Synchronizer};
use crate::sync::randomizer::Sequence;
use alloc::vec::Vec;
use bytes::Bytes;

/// Why units can't be read or written like that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaduError {
    /// No frame has this length.
    #[error("a frame of {0} bytes; 1 to {MAX_FRAME_BYTES} are possible")]
    FrameBytes(usize),
    /// The code's blocks don't carry frames of this length.
    #[error(
        "frames of {frame_bytes} bytes don't fit the code: it carries multiples of {interleave} \
         up to {most}"
    )]
    Frame {
        /// Length of the frames.
        frame_bytes: usize,
        /// Codewords of a block.
        interleave: usize,
        /// Bytes that a block carries without virtual fill.
        most: usize,
    },
    /// An LDPC codeword carries frames of one length only.
    #[error("frames of {frame_bytes} bytes don't fit the code: a codeword carries {carried} bytes")]
    Ldpc {
        /// Length of the frames.
        frame_bytes: usize,
        /// Length that fits.
        carried: usize,
    },
    /// The block is impossible.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The marker can't be looked for like that.
    #[error(transparent)]
    Marker(#[from] ConfigError),
}

/// How well a frame came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quality {
    /// Wrong bits in the marker.
    pub marker_errors: u32,
    /// What became of the Reed-Solomon codewords; none where there is no such code.
    pub codewords: Report,
    /// What became of the LDPC codeword, where that is the code.
    pub ldpc: Option<ldpc::Decoded>,
}

impl Quality {
    /// Whether every codeword was right or was corrected.
    pub fn is_good(&self) -> bool {
        self.codewords.failed() == 0 && self.ldpc.is_none_or(|decoded| decoded.converged)
    }
}

/// A frame of a stream of units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its bytes, as good as they could be made: see [`Quality::is_good`].
    pub bytes: Bytes,
    /// How well it came through.
    pub quality: Quality,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaduCounts {
    /// The convolutional code's lock.
    pub lock: LockCounts,
    /// Markers.
    pub sync: SyncCounts,
    /// Codewords seen.
    pub codewords: u64,
    /// Of them, those that were corrected.
    pub corrected_codewords: u64,
    /// Of them, those that could not be corrected.
    pub failed_codewords: u64,
    /// Reed-Solomon symbols corrected, parity symbols included.
    pub corrected_symbols: u64,
    /// Frames with a codeword that could not be corrected.
    pub failed_frames: u64,
}

/// Reads one stream of units.
#[derive(Debug)]
pub struct CaduDecoder {
    inner: Option<Inner>,
    line: Option<NrzM>,
    synchronizer: Synchronizer,
    blocks: BlockDecoder,
    /// Empty unless the code wants symbols.
    history: History,
    soft: Vec<i8>,
}

impl CaduDecoder {
    /// Reads units of frames of a length, behind a marker.
    pub fn new(coding: &Coding, frame_bytes: usize, marker: Marker) -> Result<Self, CaduError> {
        let block_bytes = coding.block_bytes(frame_bytes)?;
        Self::with_marker(coding, frame_bytes, MarkerConfig::new(marker, block_bytes))
    }

    /// The same with every parameter of the marker; its `block_bytes` follow from the frames.
    pub fn with_marker(
        coding: &Coding,
        frame_bytes: usize,
        mut config: MarkerConfig,
    ) -> Result<Self, CaduError> {
        let blocks = BlockDecoder::new(coding, frame_bytes)?;
        config.block_bytes = blocks.block_bytes();
        Ok(Self {
            inner: coding.convolutional.map(Inner::new),
            line: coding.nrz_m.then(NrzM::default),
            synchronizer: Synchronizer::new(config)?,
            blocks,
            history: History::default(),
            soft: Vec::new(),
        })
    }

    /// The same with the portable Reed-Solomon code, whatever the processor has: what it costs
    /// where there is no kernel.
    pub fn portable(mut self) -> Self {
        self.blocks = self.blocks.portable();
        self
    }

    /// Takes the next bytes of a stream of packed bits, and hands out each frame that they
    /// complete.
    pub fn push(&mut self, chunk: &[u8], sink: &mut impl FnMut(Frame)) {
        self.push_symbols(Symbols::Packed, chunk, sink);
    }

    /// The same for symbols of any form; a stream keeps to one.
    pub fn push_symbols(&mut self, form: Symbols, chunk: &[u8], sink: &mut impl FnMut(Frame)) {
        let Self { inner, line, synchronizer, blocks, history, soft } = self;
        if inner.is_none() && form == Symbols::Packed {
            return take(line, synchronizer, blocks, chunk, sink);
        }
        for_each_soft(form, chunk, soft, |symbols| match (&mut *inner, &mut *line) {
            (Some(inner), line) => take(line, synchronizer, blocks, inner.decode(symbols), sink),
            (None, Some(line)) => {
                take_soft(synchronizer, blocks, history, line.decode_soft(symbols), sink);
            }
            (None, None) => take_soft(synchronizer, blocks, history, symbols, sink),
        });
    }

    /// Ends the stream, and hands out the frames that waited for a marker behind them.
    pub fn finish(&mut self, sink: &mut impl FnMut(Frame)) {
        let Self { inner, line, synchronizer, blocks, history, .. } = self;
        if let Some(inner) = inner {
            take(line, synchronizer, blocks, inner.finish(), sink);
        }
        let count = 8 * blocks.block_bytes();
        let marker = u64::from(synchronizer.marker().bits());
        synchronizer.finish(&mut |event| {
            if let marker::Event::Block(found) = event {
                let symbols = history.at(found.at_bit + marker, count);
                sink(blocks.decode(&found, symbols));
            }
        });
    }

    /// What happened so far.
    pub fn counts(&self) -> CaduCounts {
        CaduCounts {
            lock: self.inner.as_ref().map_or_else(LockCounts::default, |inner| inner.counts),
            sync: *self.synchronizer.counts(),
            ..self.blocks.counts
        }
    }

    /// Whether units are found at present: the inner code is locked and the markers stand where
    /// they must.
    pub fn is_in_sync(&self) -> bool {
        let locked = |inner: &Inner| inner.counts.locked > inner.counts.lost;
        self.synchronizer.is_locked() && self.inner.as_ref().is_none_or(locked)
    }

    /// The sequence in use; `None` where there is none, or none fitted yet.
    pub fn sequence(&self) -> Option<Sequence> {
        self.blocks.sequence()
    }
}

fn take(
    line: &mut Option<NrzM>,
    synchronizer: &mut Synchronizer,
    blocks: &mut BlockDecoder,
    bytes: &[u8],
    sink: &mut impl FnMut(Frame),
) {
    let bytes = match line {
        Some(line) => line.decode(bytes),
        None => bytes,
    };
    synchronizer.push(bytes, &mut |event| {
        if let marker::Event::Block(found) = event {
            sink(blocks.decode(&found, None));
        }
    });
}

/// As [`take`], and each block's symbols are looked up for a code that wants them.
fn take_soft(
    synchronizer: &mut Synchronizer,
    blocks: &mut BlockDecoder,
    history: &mut History,
    symbols: &[i8],
    sink: &mut impl FnMut(Frame),
) {
    history.pack(symbols);
    let (bytes, kept) = history.split();
    let count = if blocks.wants_symbols() { 8 * blocks.block_bytes() } else { 0 };
    let marker = u64::from(synchronizer.marker().bits());
    synchronizer.push(bytes, &mut |event| {
        if let marker::Event::Block(found) = event {
            let symbols = kept.at(found.at_bit + marker, count).filter(|_| count > 0);
            sink(blocks.decode(&found, symbols));
        }
    });
    let needed = if count > 0 { synchronizer.needed_from_bit() } else { u64::MAX };
    history.forget_before(needed);
}
