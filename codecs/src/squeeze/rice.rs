//! Lossless Data Compression of CCSDS 121.0-B-3: blocks of samples as Rice codes.
//!
//! ```text
//! samples ─► preprocessor (difference from the sample before, §4) ─► blocks
//!         ─► the shortest of: zero run, second extension, split samples, as they are (§3)
//! ```
//!
//! The standard leaves an encoder free where two options give the same length. This one chooses
//! as libaec does, so that the two give the same bytes and each can judge the other.
//!
//! Clauses are cited by chapter; where a chapter leaves a doubt, libaec was the judge.
//!
//! Nothing in a stream says how it was made or how many samples it holds: both come with it
//! (from a mission definition, or the secondary header of §5).
//!
//! **Panics:** none, whatever the bytes. A decoder gives at most the samples that its caller asks
//! for and grows its output as they come out of the data.

mod encode;
mod decode;
mod layout;

pub use decode::{decode, decode_bytes};
pub use encode::{encode, encode_bytes};
pub use layout::{Layout, Order};

/// Most bits of a sample.
pub const MAX_BITS: u32 = 32;

/// Longest reference sample interval, in blocks (§4).
pub const MAX_INTERVAL: u32 = 4096;

/// Samples of the longest block.
const MAX_BLOCK: usize = 64;

/// Blocks that a zero run may not leave: it ends with its segment (zero-block option, §3).
const SEGMENT_BLOCKS: u32 = 64;

/// Zero blocks from which a run to the segment's end is told by one code (remainder of segment, §3).
const REMAINDER_MIN: u32 = 5;

/// Samples of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockSize {
    /// 8 samples.
    Eight = 8,
    /// 16 samples.
    Sixteen = 16,
    /// 32 samples.
    ThirtyTwo = 32,
    /// 64 samples.
    SixtyFour = 64,
}

impl BlockSize {
    /// Every block size.
    pub const ALL: [Self; 4] = [Self::Eight, Self::Sixteen, Self::ThirtyTwo, Self::SixtyFour];

    /// Number of samples.
    pub fn samples(self) -> usize {
        self as usize
    }
}

/// What sender and receiver agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RiceConfig {
    /// Bits of a sample, 1 to [`MAX_BITS`].
    pub bits: u32,
    /// Samples of a block.
    pub block: BlockSize,
    /// Blocks from one reference sample to the next, 1 to [`MAX_INTERVAL`].
    pub interval: u32,
    /// Whether the preprocessor (unit delay and mapper, §4) is on. Without it nothing is predicted,
    /// and no reference samples are sent.
    pub preprocess: bool,
    /// Whether samples are two's complement. It matters to the preprocessor alone.
    pub signed: bool,
    /// The restricted set of code options, for samples of 1 to 4 bits (§5).
    pub restricted: bool,
    /// Whether each reference sample interval ends with a whole byte: libaec's extension, for
    /// readers that start in the middle.
    pub pad: bool,
}

impl RiceConfig {
    /// Unsigned samples of `bits` bits in blocks of 16, a reference every 128 blocks,
    /// preprocessed.
    pub fn new(bits: u32) -> Self {
        Self {
            bits,
            block: BlockSize::Sixteen,
            interval: 128,
            preprocess: true,
            signed: false,
            restricted: false,
            pad: false,
        }
    }

    /// Whether the standard knows such a stream.
    pub fn check(&self) -> Result<(), RiceError> {
        if !(1..=MAX_BITS).contains(&self.bits) {
            return Err(RiceError::Bits(self.bits));
        }
        if !(1..=MAX_INTERVAL).contains(&self.interval) {
            return Err(RiceError::Interval(self.interval));
        }
        if self.restricted && self.bits > 4 {
            return Err(RiceError::Restricted(self.bits));
        }
        Ok(())
    }

    /// Bits of a code option's identifier (§5).
    fn id_bits(&self) -> u32 {
        match self.bits {
            ..=2 if self.restricted => 1,
            ..=4 if self.restricted => 2,
            ..=8 => 3,
            9..=16 => 4,
            _ => 5,
        }
    }

    /// Largest sample, counted from the smallest.
    fn max(&self) -> u32 {
        u32::MAX >> (MAX_BITS - self.bits.clamp(1, MAX_BITS))
    }

    /// What turns two's complement into distance from the smallest sample, by exclusive or.
    fn flip(&self) -> u32 {
        if self.signed && self.preprocess { self.max() ^ self.max() >> 1 } else { 0 }
    }
}

/// Why samples can't be coded, or a stream can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RiceError {
    /// Samples have 1 to [`MAX_BITS`] bits.
    #[error("samples of {0} bits; CCSDS 121.0-B-3 knows 1 to {MAX_BITS}")]
    Bits(u32),
    /// A reference sample interval has 1 to [`MAX_INTERVAL`] blocks.
    #[error("a reference sample interval of {0} blocks; it has 1 to {MAX_INTERVAL}")]
    Interval(u32),
    /// The restricted set is for samples of up to 4 bits.
    #[error("restricted code options for samples of {0} bits; they are for 1 to 4 bits")]
    Restricted(u32),
    /// A sample has more bits than agreed.
    #[error("sample {index} is {value:#x}, which has more than {bits} bits")]
    Sample {
        /// Which sample, from 0.
        index: usize,
        /// What it is, as it lies in the input.
        value: u32,
        /// The bits agreed on.
        bits: u32,
    },
    /// The bytes of samples end within a sample.
    #[error("{bytes} bytes are no whole number of samples of {sample} bytes")]
    Uneven {
        /// Bytes given.
        bytes: usize,
        /// Bytes of a sample.
        sample: usize,
    },
    /// The stream ends before the samples asked for.
    #[error("the Rice stream ends within the block that starts with sample {sample}")]
    Truncated {
        /// First sample of the block that isn't there.
        sample: usize,
    },
    /// A code that no encoder gives for such samples.
    #[error("the Rice stream is damaged in the block that starts with sample {sample}")]
    Damaged {
        /// First sample of the damaged block.
        sample: usize,
    },
    /// Bytes are left when every sample is there.
    #[error("the samples end after byte {used} of the Rice stream, which has {bytes}")]
    Rest {
        /// Bytes that the samples took.
        used: usize,
        /// Bytes given.
        bytes: usize,
    },
}

/// Maps a sample to how far it is from `before`, small for what is near (prediction error mapper, §4).
fn map(before: u32, sample: u32, max: u32) -> u32 {
    let theta = before.min(max - before);
    let (delta, below) = if sample >= before { (sample - before, 0) } else { (before - sample, 1) };
    if delta <= theta { 2 * delta - below } else { theta + delta }
}

/// Undoes [`map`]; `mapped` is at most `max`.
fn unmap(before: u32, mapped: u32, max: u32) -> u32 {
    let theta = before.min(max - before);
    let half = (mapped >> 1) + (mapped & 1);
    match (half <= theta, mapped & 1) {
        (true, 0) => before + half,
        (true, _) => before - half,
        // Beyond theta there are samples on one side only.
        (false, _) if theta == before => mapped,
        (false, _) => max - mapped,
    }
}

#[cfg(test)]
mod tests;
