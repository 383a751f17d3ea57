//! Units into packets, on board.

use alloc::vec::Vec;

use super::part::{PART_BYTES_MAX, PART_BYTES_MIN, Part, PartOf};
use crate::{
    fec::crc::crc32c,
    ids::{Apid, Codec, UnitKey},
    link::MAX_UNIT_BYTES,
    packet::space::{IDLE_APID, PacketHeader, SequenceCount},
};

/// Why a unit can't be split, or nothing could.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// Parts of such a length would be too many, or too long.
    #[error("parts of {0} bytes: {PART_BYTES_MIN} to {PART_BYTES_MAX}")]
    PartBytes(usize),
    /// No application of its own.
    #[error("APID {0}: 0 to 2046")]
    Apid(u16),
    /// Longer than a unit may be.
    #[error("a unit of {0} bytes is above the bound of {MAX_UNIT_BYTES}")]
    TooLong(usize),
}

/// Splits units into packets of one application.
#[derive(Clone, Debug)]
pub struct Splitter {
    apid: Apid,
    part_bytes: usize,
    count: SequenceCount,
}

impl Splitter {
    /// Parts of `part_bytes`; the packets' count starts at 0.
    pub fn new(apid: Apid, part_bytes: usize) -> Result<Self, SplitError> {
        if apid.0 >= IDLE_APID.0 {
            return Err(SplitError::Apid(apid.0));
        }
        if !(PART_BYTES_MIN..=PART_BYTES_MAX).contains(&part_bytes) {
            return Err(SplitError::PartBytes(part_bytes));
        }
        Ok(Self { apid, part_bytes, count: SequenceCount(0) })
    }

    /// Hands out the packets of a unit, in order.
    pub fn split(
        &mut self,
        key: UnitKey,
        codec: Codec,
        priority: u8,
        unit: &[u8],
        sink: &mut impl FnMut(Vec<u8>),
    ) -> Result<(), SplitError> {
        if unit.len() > MAX_UNIT_BYTES {
            return Err(SplitError::TooLong(unit.len()));
        }
        let parts = unit.len().div_ceil(self.part_bytes).max(1);
        let of = PartOf {
            epoch: key.prefix.epoch,
            spacecraft: key.prefix.spacecraft,
            channel: key.prefix.channel,
            sequence: key.sequence,
            codec,
            priority,
            parts: parts as u16,
            check: crc32c(unit),
        };
        // A unit without a byte has one part without one.
        let mut rest = unit;
        for index in 0..of.parts {
            let (data, later) = rest.split_at_checked(self.part_bytes).unwrap_or((rest, &[]));
            rest = later;
            let header = PacketHeader::telemetry(self.apid, self.count);
            self.count = self.count.next();
            sink(Part { of, index, data }.packet(header));
        }
        Ok(())
    }
}
