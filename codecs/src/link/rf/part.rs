//! A part of a unit: 48 bytes of secondary header, then the part's bytes.

use alloc::vec::Vec;

use crate::{
    fec::crc::Crc32c,
    ids::{Channel, Codec, KeyPrefix, Origin, SpacecraftId, StoreEpoch, UnitKey},
    packet::space::{Grouping, PacketHeader, PacketView, build},
};

/// Bytes of the secondary header (CCSDS 133.0-B-2 §4.1.4.2).
pub const PART_HEADER_BYTES: usize = 48;
/// Fewest bytes that every part but the last carries: less, and a unit would have too many.
pub const PART_BYTES_MIN: usize = 128;
/// Most bytes of a part.
pub const PART_BYTES_MAX: usize = 32 << 10;
/// Most parts of a unit: the longest unit in the shortest parts.
pub const PARTS_MAX: u16 = (super::super::MAX_UNIT_BYTES / PART_BYTES_MIN) as u16;

const MAGIC: [u8; 2] = *b"GP";
const VERSION: u8 = 1;
/// Bytes that the header's own check covers.
const CHECKED: usize = PART_HEADER_BYTES - 4;

/// The unit that a part belongs to. Parts are of one unit only where all of this agrees: a part
/// with another check is of other bytes, whatever key it claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartOf {
    /// Formatting of the store.
    pub epoch: StoreEpoch,
    /// Spacecraft.
    pub spacecraft: SpacecraftId,
    /// Channel.
    pub channel: Channel,
    /// Sequence.
    pub sequence: u64,
    /// Format of the inside.
    pub codec: Codec,
    /// Higher went first.
    pub priority: u8,
    /// How many parts there are, 1 to [`PARTS_MAX`].
    pub parts: u16,
    /// CRC-32C of the whole unit.
    pub check: u32,
}

impl PartOf {
    /// The unit's key; the origin is known by who is heard.
    pub fn key(&self, origin: Origin) -> UnitKey {
        let Self { epoch, spacecraft, channel, sequence, .. } = *self;
        UnitKey { prefix: KeyPrefix { origin, epoch, spacecraft, channel }, sequence }
    }
}

/// Why a packet is no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum PartError {
    /// Not a telemetry packet with a secondary header that begins as ours.
    #[error("the packet carries no part of a unit")]
    NotAPart,
    /// A later version, or a field with a value that this one does not know.
    #[error("part of a unit: {0} is not valid")]
    Field(&'static str),
    /// Header or data are damaged.
    #[error("part of a unit: the check over header and data does not hold")]
    Check,
}

impl PartError {
    /// Name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotAPart => "not-a-part",
            Self::Field(_) => "malformed",
            Self::Check => "damaged",
        }
    }
}

/// A part, seen in its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Its unit.
    pub of: PartOf,
    /// Which one, from 0.
    pub index: u16,
    /// Its bytes.
    pub data: &'a [u8],
}

impl<'a> Part<'a> {
    /// Reads a packet that carries a part.
    pub fn parse(packet: &PacketView<'a>) -> Result<Self, PartError> {
        let header = packet.header();
        let (head, data) = packet
            .data()
            .split_first_chunk::<PART_HEADER_BYTES>()
            .filter(|(head, _)| head.starts_with(&MAGIC))
            .filter(|_| header.secondary_header && !header.command)
            .ok_or(PartError::NotAPart)?;
        let (fields, stated) = head.split_at(CHECKED);
        if stated != check(fields, data).to_be_bytes() {
            return Err(PartError::Check);
        }
        let mut fields = Fields(fields);
        let [_, _, version, codec, priority, zero] = fields.take();
        let spacecraft = SpacecraftId(u16::from_be_bytes(fields.take()));
        let epoch = StoreEpoch(u64::from_be_bytes(fields.take()));
        let channel = Channel(u64::from_be_bytes(fields.take()));
        let sequence = u64::from_be_bytes(fields.take());
        let index = u16::from_be_bytes(fields.take());
        let parts = u16::from_be_bytes(fields.take());
        let zeros = u32::from_be_bytes(fields.take());
        let unit = u32::from_be_bytes(fields.take());
        if version != VERSION {
            return Err(PartError::Field("version"));
        }
        if zero != 0 || zeros != 0 {
            return Err(PartError::Field("zero"));
        }
        let codec = Codec::from_byte(codec).ok_or(PartError::Field("codec"))?;
        if parts > PARTS_MAX || index >= parts {
            return Err(PartError::Field("count of parts"));
        }
        let least = if index + 1 < parts { PART_BYTES_MIN } else { usize::from(parts > 1) };
        if !(least..=PART_BYTES_MAX).contains(&data.len()) {
            return Err(PartError::Field("length"));
        }
        if header.grouping != grouping(index, parts) {
            return Err(PartError::Field("grouping"));
        }
        let check = unit;
        let of = PartOf { epoch, spacecraft, channel, sequence, codec, priority, parts, check };
        Ok(Self { of, index, data })
    }

    /// Writes the packet; its application and count are the caller's.
    ///
    /// # Panics
    /// When the data is longer than [`PART_BYTES_MAX`] or the application has more than 11 bits: who
    /// splits checks both.
    pub fn packet(&self, header: PacketHeader) -> Vec<u8> {
        assert!(self.data.len() <= PART_BYTES_MAX);
        let of = &self.of;
        let mut out = Vec::with_capacity(PART_HEADER_BYTES + self.data.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[VERSION, of.codec as u8, of.priority, 0]);
        out.extend_from_slice(&of.spacecraft.0.to_be_bytes());
        out.extend_from_slice(&of.epoch.0.to_be_bytes());
        out.extend_from_slice(&of.channel.0.to_be_bytes());
        out.extend_from_slice(&of.sequence.to_be_bytes());
        out.extend_from_slice(&self.index.to_be_bytes());
        out.extend_from_slice(&of.parts.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&of.check.to_be_bytes());
        let check = check(&out, self.data);
        out.extend_from_slice(&check.to_be_bytes());
        debug_assert_eq!(out.len(), PART_HEADER_BYTES);
        out.extend_from_slice(self.data);
        let mut header = header.with_secondary_header();
        header.grouping = grouping(self.index, of.parts);
        let packet = build(&header, &out);
        assert!(packet.is_ok(), "an application of more than 11 bits");
        packet.unwrap_or_default()
    }
}

fn grouping(index: u16, parts: u16) -> Grouping {
    match (index == 0, index + 1 == parts) {
        (true, true) => Grouping::Unsegmented,
        (true, false) => Grouping::First,
        (false, true) => Grouping::Last,
        (false, false) => Grouping::Continuation,
    }
}

fn check(fields: &[u8], data: &[u8]) -> u32 {
    let mut check = Crc32c::new();
    check.update(fields);
    check.update(data);
    check.finish()
}

/// Fields of a header whose length was proved.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((head, rest)) = self.0.split_first_chunk() else { return [0; N] };
        self.0 = rest;
        *head
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::Apid, packet::space::SequenceCount};

    /// The check was reckoned by another implementation as well.
    const GOLDEN: &str = "0fd0400500af4750011020000007111111111111111180000000000000020000\
        000000000009000000020000000012345678fe06aae5";

    fn part(data: &[u8]) -> Part<'_> {
        let of = PartOf {
            epoch: StoreEpoch(0x1111_1111_1111_1111),
            spacecraft: SpacecraftId(7),
            channel: Channel::stream(2),
            sequence: 9,
            codec: Codec::Squeezed,
            priority: 0x20,
            parts: 2,
            check: 0x1234_5678,
        };
        Part { of, index: 0, data }
    }

    fn header() -> PacketHeader {
        PacketHeader::telemetry(super::super::PARTS_APID, SequenceCount(5))
    }

    #[test]
    fn golden_bytes_read_and_write() {
        let data = [0xAB; PART_BYTES_MIN];
        let packet = part(&data).packet(header());
        let head: alloc::string::String =
            packet[..54].iter().map(|byte| alloc::format!("{byte:02x}")).collect();
        assert_eq!(head, GOLDEN);
        let view = PacketView::parse(&packet).unwrap();
        assert_eq!(Part::parse(&view), Ok(part(&data)));
    }

    #[test]
    fn every_wrong_bit_behind_the_primary_header_is_noticed() {
        let data = [0xAB; PART_BYTES_MIN];
        let packet = part(&data).packet(header());
        for bit in 48..packet.len() * 8 {
            let mut damaged = packet.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Part::parse(&PacketView::parse(&damaged).unwrap()).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn parts_that_could_not_be_of_a_unit_are_refused() {
        let read = |part: Part<'_>| {
            let packet = part.packet(PacketHeader::telemetry(Apid(1), SequenceCount(0)));
            Part::parse(&PacketView::parse(&packet).unwrap()).map(|_| ())
        };
        let data = [0; PART_BYTES_MIN];
        let with = |parts, index| {
            let of = PartOf { parts, ..part(&data).of };
            Part { of, index, data: &data }
        };
        assert_eq!(read(with(2, 1)), Ok(()));
        assert_eq!(read(with(2, 2)), Err(PartError::Field("count of parts")));
        assert_eq!(read(with(PARTS_MAX + 1, 0)), Err(PartError::Field("count of parts")));
        // Short ones would let a stream of small packets claim memory for many.
        let short = Part { data: &data[1..], ..part(&data) };
        assert_eq!(read(short), Err(PartError::Field("length")));
    }
}
