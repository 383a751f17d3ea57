//! Space packets (CCSDS 133.0-B-2): six bytes of header, then at least one byte of data.
//!
//! [`PacketView::parse`] proves the length once; no accessor of the view can panic afterwards.

use super::{Extent, MAX_PACKET_BYTES, Protocol};
use crate::ids::Apid;
use alloc::vec::Vec;

/// Length of the primary header (CCSDS 133.0-B-2 §4.1.3).
pub const HEADER_BYTES: usize = 6;

/// The highest application process identifier: 11 bits, all ones names idle packets
/// (CCSDS 133.0-B-2 §4.1.3.3.4.4).
pub const IDLE_APID: Apid = Apid(0x7FF);

/// Packet sequence count: 14 bits an APID, wraps at 16,384 (CCSDS 133.0-B-2 §4.1.3.4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceCount(pub u16);

impl SequenceCount {
    /// Counts before the counter starts again from 0.
    pub const MODULUS: u16 = 1 << 14;

    /// The count that follows.
    pub const fn next(self) -> Self {
        Self((self.0 + 1) % Self::MODULUS)
    }

    /// Packets that are missing between `earlier` and this one; a gap of whole turns is invisible.
    pub const fn lost_since(self, earlier: Self) -> u16 {
        self.0.wrapping_sub(earlier.0).wrapping_sub(1) % Self::MODULUS
    }
}

/// Where a packet stands in a group of its APID (CCSDS 133.0-B-2 §4.1.3.4.2); nothing to do with
/// packets that span frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grouping {
    /// Within a group.
    Continuation,
    /// First of a group.
    First,
    /// Last of a group.
    Last,
    /// A group of its own.
    #[default]
    Unsegmented,
}

/// The fields of a primary header that a sender chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketHeader {
    /// Telecommand, not telemetry.
    pub command: bool,
    /// A secondary header leads the data.
    pub secondary_header: bool,
    /// Application.
    pub apid: Apid,
    /// Place in a group.
    pub grouping: Grouping,
    /// Count of the application.
    pub sequence_count: SequenceCount,
}

impl PacketHeader {
    /// Ungrouped telemetry of one application.
    pub const fn telemetry(apid: Apid, sequence_count: SequenceCount) -> Self {
        Self {
            command: false,
            secondary_header: false,
            apid,
            grouping: Grouping::Unsegmented,
            sequence_count,
        }
    }

    /// The same with the flag of a secondary header set.
    pub const fn with_secondary_header(mut self) -> Self {
        self.secondary_header = true;
        self
    }

    fn emit(&self, length_field: u16) -> [u8; HEADER_BYTES] {
        let [a, b] = (u16::from(self.command) << 12
            | u16::from(self.secondary_header) << 11
            | (self.apid.0 & 0x7FF))
            .to_be_bytes();
        let grouping = match self.grouping {
            Grouping::Continuation => 0,
            Grouping::First => 1,
            Grouping::Last => 2,
            Grouping::Unsegmented => 3u16,
        };
        let count = self.sequence_count.0 % SequenceCount::MODULUS;
        let [c, d] = (grouping << 14 | count).to_be_bytes();
        let [e, f] = length_field.to_be_bytes();
        [a, b, c, d, e, f]
    }
}

/// Why bytes are no space packet, or a packet can't be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Fewer bytes than a primary header and one byte of data.
    #[error("{found} bytes are too few for a space packet (at least 7)")]
    Short {
        /// Bytes there are.
        found: usize,
    },
    /// Not version 0.
    #[error("packet version {0} is no space packet (version 0)")]
    Version(u8),
    /// The length field and the bytes disagree.
    #[error("the packet's length field says {said} bytes, there are {found}")]
    Length {
        /// Bytes that the length field announces, header included.
        said: usize,
        /// Bytes there are.
        found: usize,
    },
    /// The data field is empty or over 65,536 bytes.
    #[error("a packet carries 1 to 65536 bytes of data, not {0}")]
    Data(usize),
    /// The application process identifier does not fit 11 bits.
    #[error("APID {} is over 2047", .0.0)]
    Apid(Apid),
}

/// Reads how far a space packet reaches. The sum needs more than 16 bits: a length field of
/// 0xFFFF means 65,542 bytes, not 6.
pub(super) fn extent(bytes: &[u8]) -> Extent {
    match bytes {
        [_, _, _, _, high, low, ..] => Extent::Known {
            protocol: Protocol::Space,
            length: usize::from(u16::from_be_bytes([*high, *low])) + HEADER_BYTES + 1,
        },
        _ => Extent::Short { header: HEADER_BYTES },
    }
}

/// A whole space packet, seen in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketView<'a> {
    header: [u8; HEADER_BYTES],
    bytes: &'a [u8],
    data: &'a [u8],
}

impl<'a> PacketView<'a> {
    /// Reads bytes that are exactly one space packet.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PacketError> {
        let found = bytes.len();
        let Some((header, data)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(PacketError::Short { found });
        };
        let [first, _, _, _, high, low] = *header;
        if first >> 5 != 0 {
            return Err(PacketError::Version(first >> 5));
        }
        let said = usize::from(u16::from_be_bytes([high, low])) + HEADER_BYTES + 1;
        if data.is_empty() {
            return Err(PacketError::Short { found });
        }
        if said != found {
            return Err(PacketError::Length { said, found });
        }
        Ok(Self { header: *header, bytes, data })
    }

    /// The whole packet.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What follows the primary header, secondary header included; at least one byte.
    pub const fn data(&self) -> &'a [u8] {
        self.data
    }

    /// The application process identifier.
    pub const fn apid(&self) -> Apid {
        let [a, b, ..] = self.header;
        Apid(u16::from_be_bytes([a & 0x07, b]))
    }

    /// The sequence count of the application.
    pub const fn sequence_count(&self) -> SequenceCount {
        let [_, _, c, d, ..] = self.header;
        SequenceCount(u16::from_be_bytes([c & 0x3F, d]))
    }

    /// Whether a secondary header leads the data.
    pub const fn has_secondary_header(&self) -> bool {
        self.header[0] & 0x08 != 0
    }

    /// Whether this is fill.
    pub const fn is_idle(&self) -> bool {
        self.apid().0 == IDLE_APID.0
    }

    /// The header's fields as a value.
    pub const fn header(&self) -> PacketHeader {
        PacketHeader {
            command: self.header[0] & 0x10 != 0,
            secondary_header: self.has_secondary_header(),
            apid: self.apid(),
            grouping: match self.header[2] >> 6 {
                0 => Grouping::Continuation,
                1 => Grouping::First,
                2 => Grouping::Last,
                _ => Grouping::Unsegmented,
            },
            sequence_count: self.sequence_count(),
        }
    }
}

/// Writes a packet: header, then the data as it is.
pub fn build(header: &PacketHeader, data: &[u8]) -> Result<Vec<u8>, PacketError> {
    if header.apid.0 > IDLE_APID.0 {
        return Err(PacketError::Apid(header.apid));
    }
    // The length field holds the bytes of data less one (CCSDS 133.0-B-2 §4.1.3.5).
    let field = data.len().checked_sub(1).and_then(|field| u16::try_from(field).ok());
    let field = field.ok_or(PacketError::Data(data.len()))?;
    let mut packet = Vec::with_capacity(HEADER_BYTES + data.len());
    packet.extend_from_slice(&header.emit(field));
    packet.extend_from_slice(data);
    assert!(packet.len() <= MAX_PACKET_BYTES);
    Ok(packet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    /// APID 100, count 1, secondary header, 3 bytes of data.
    const GOLDEN: [u8; 9] = [0x08, 0x64, 0xC0, 0x01, 0x00, 0x02, 0xAA, 0xBB, 0xCC];

    #[test]
    fn golden_bytes_read_and_write() {
        let view = PacketView::parse(&GOLDEN).unwrap();
        assert_eq!((view.apid(), view.sequence_count()), (Apid(100), SequenceCount(1)));
        assert!(view.has_secondary_header() && !view.is_idle());
        assert_eq!(view.data(), [0xAA, 0xBB, 0xCC]);
        assert_eq!(build(&view.header(), view.data()).unwrap(), GOLDEN);
    }

    #[test]
    fn every_truncation_is_refused() {
        for end in 0..GOLDEN.len() {
            assert!(PacketView::parse(&GOLDEN[..end]).is_err(), "{end}");
        }
        assert_eq!(
            PacketView::parse(&[0xE0; 9]).unwrap_err(),
            PacketError::Version(7),
            "an encapsulation packet"
        );
    }

    #[test]
    fn the_longest_packet_does_not_wrap() {
        let header = PacketHeader::telemetry(Apid(1), SequenceCount(0));
        let packet = build(&header, &vec![0; 65_536]).unwrap();
        assert_eq!(packet.len(), MAX_PACKET_BYTES);
        let known = Extent::Known { protocol: Protocol::Space, length: MAX_PACKET_BYTES };
        assert_eq!(extent(&packet), known);
        assert!(PacketView::parse(&packet).is_ok());
        assert!(PacketView::parse(&packet[..6]).is_err());
        assert_eq!(build(&header, &vec![0; 65_537]), Err(PacketError::Data(65_537)));
        assert_eq!(build(&header, &[]), Err(PacketError::Data(0)));
        let header = PacketHeader::telemetry(Apid(2048), SequenceCount(0));
        assert_eq!(build(&header, &[0]), Err(PacketError::Apid(Apid(2048))));
    }

    #[test]
    fn counts_wrap_at_14_bits() {
        assert_eq!(SequenceCount(16_383).next(), SequenceCount(0));
        assert_eq!(SequenceCount(0).lost_since(SequenceCount(16_383)), 0);
        assert_eq!(SequenceCount(2).lost_since(SequenceCount(16_382)), 3);
        assert_eq!(SequenceCount(5).lost_since(SequenceCount(5)), 16_383);
    }

    proptest! {
        #[test]
        fn headers_round_trip(
            command: bool,
            secondary_header: bool,
            apid in 0u16..2048,
            grouping in 0u8..4,
            count in 0u16..16_384,
            data in prop::collection::vec(any::<u8>(), 1..40),
        ) {
            let grouping = [
                Grouping::Continuation,
                Grouping::First,
                Grouping::Last,
                Grouping::Unsegmented,
            ][usize::from(grouping)];
            let header = PacketHeader {
                command,
                secondary_header,
                apid: Apid(apid),
                grouping,
                sequence_count: SequenceCount(count),
            };
            let packet = build(&header, &data).unwrap();
            let view = PacketView::parse(&packet).unwrap();
            prop_assert_eq!(view.header(), header);
            prop_assert_eq!(view.data(), &data[..]);
        }
    }
}
