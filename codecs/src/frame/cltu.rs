//! Communications link transmission units (CCSDS 231.0-B-4): TC frames on the air, between a start
//! sequence and a tail that no decoder takes for data.
//!
//! ```text
//! frames ─► bch (short blocks, a bit corrected in each) ─┐
//!    └────► ldpc (two codes, several bits corrected) ────┴─► unit ─► frames
//!                                  stream: units among anything ─► frames
//! ```
//!
//! The last block is filled up: [`Frames`] leaves the fill out.

use super::tc;
use alloc::vec::Vec;

pub mod bch;
pub mod ldpc;
pub mod stream;

pub use self::stream::{CltuCoding, CltuCodingError, CltuCounts, CltuDecoder};

pub use self::bch::{BLOCK_BYTES, DATA_BYTES, Mode, START, TAIL, decode, encode, find};

/// Most data that one unit may carry here: a bound on buffers. The longest frame needs 1024.
pub const MAX_DATA_BYTES: usize = 65_536 / BLOCK_BYTES * DATA_BYTES;

/// What fills the last block (CCSDS 231.0-B-4 §5.2.3).
const FILL: u8 = 0x55;

/// Why a unit's data ends where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// At the tail sequence.
    Tail,
    /// At a codeblock that can't be decoded: a damaged tail, or damaged data.
    Rejected,
    /// At the end of the bytes, before any tail.
    Cut,
}

/// What a unit carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Frames and fill, derandomised.
    pub data: Vec<u8>,
    /// Codeblocks in which bits were corrected.
    pub corrected: usize,
    /// Why it ends.
    pub end: End,
    /// Bytes of the input up to the end, tail or rejected block included.
    pub consumed: usize,
}

impl Decoded {
    /// The frames, without fill.
    pub fn frames(&self) -> Frames<'_> {
        Frames { rest: &self.data }
    }
}

/// Why bytes are no unit, or data does not fit one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CltuError {
    /// The bytes don't begin with the start sequence of the code.
    #[error("no start sequence at the beginning of the unit")]
    Start,
    /// Nothing to send, or too much.
    #[error("{0} bytes of data; a unit carries 1 to {MAX_DATA_BYTES}")]
    Data(usize),
}

/// The frames of a unit one after another, by their length fields. It ends at the fill, at a cut
/// frame, or at bytes of another version; [`Self::rest`] is what was left.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    /// What is not yet, or can't be, read as frames: fill, where it is shorter than a codeblock.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (frame, rest) = self.rest.split_at_checked(tc::extent(self.rest)?)?;
        self.rest = rest;
        Some(frame)
    }
}
