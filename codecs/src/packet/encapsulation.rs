//! Encapsulation packets (CCSDS 133.1-B-3): one to eight bytes of header, then data of any protocol.
//!
//! [`EncapsulationView::parse`] proves the length once; no accessor of the view can panic
//! afterwards.

use super::{Extent, MAX_PACKET_BYTES, Protocol};
use alloc::vec::Vec;

/// Protocol identifier of fill (CCSDS 133.1-B-3 §4.1.2.3).
pub const IDLE_PROTOCOL: u8 = 0;
/// Protocol identifier that says: look at the extension.
pub const EXTENDED_PROTOCOL: u8 = 0b110;

/// The fields of a header that a sender chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncapsulationHeader {
    /// What the data is, three bits of the standard's registry.
    pub protocol: u8,
    /// What the data is where `protocol` is [`EXTENDED_PROTOCOL`], four bits.
    pub extension: u8,
    /// For the mission, four bits.
    pub user: u8,
    /// Reserved by the standard, in headers of eight bytes.
    pub reserved: u16,
}

/// Why bytes are no encapsulation packet, or a packet can't be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncapsulationError {
    /// Not version 7.
    #[error("packet version {0} is no encapsulation packet (version 7)")]
    Version(u8),
    /// The header is cut.
    #[error("{found} bytes where the packet's header needs {header}")]
    Short {
        /// Bytes of header needed.
        header: usize,
        /// Bytes there are.
        found: usize,
    },
    /// The length field contradicts itself or passes [`MAX_PACKET_BYTES`].
    #[error("the packet's length field lies, or is over {MAX_PACKET_BYTES}")]
    Lie,
    /// The length field and the bytes disagree.
    #[error("the packet's length field says {said} bytes, there are {found}")]
    Length {
        /// Bytes that the length field announces, header included.
        said: usize,
        /// Bytes there are.
        found: usize,
    },
    /// A value does not fit its field.
    #[error("{0} does not fit its field")]
    Field(&'static str),
}

/// A whole encapsulation packet, seen in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncapsulationView<'a> {
    bytes: &'a [u8],
    header: EncapsulationHeader,
    data: &'a [u8],
}

impl<'a> EncapsulationView<'a> {
    /// Reads bytes that are exactly one encapsulation packet.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EncapsulationError> {
        let found = bytes.len();
        match bytes.first().map(|first| first >> 5) {
            Some(7) | None => {}
            Some(version) => return Err(EncapsulationError::Version(version)),
        }
        match extent(bytes) {
            Extent::Known { length, .. } if length == found => {}
            Extent::Known { length, .. } => {
                return Err(EncapsulationError::Length { said: length, found });
            }
            Extent::Short { header } => return Err(EncapsulationError::Short { header, found }),
            Extent::Version(version) => return Err(EncapsulationError::Version(version)),
            Extent::Length => return Err(EncapsulationError::Lie),
        }
        let first = bytes.first().copied().unwrap_or(0);
        let header_bytes = 1usize << (first & 0x03);
        let fields = match *bytes {
            [_, fields, ..] if header_bytes >= 4 => fields,
            _ => 0,
        };
        let reserved = match *bytes {
            [_, _, high, low, ..] if header_bytes == 8 => u16::from_be_bytes([high, low]),
            _ => 0,
        };
        let header = EncapsulationHeader {
            protocol: first >> 2 & 0x07,
            extension: fields & 0x0F,
            user: fields >> 4,
            reserved,
        };
        Ok(Self { bytes, header, data: bytes.get(header_bytes..).unwrap_or(&[]) })
    }

    /// The whole packet.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The header's fields; zero where the header is too short for them.
    pub const fn header(&self) -> &EncapsulationHeader {
        &self.header
    }

    /// What follows the header; empty where a packet is its header.
    pub const fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Whether this is fill.
    pub const fn is_idle(&self) -> bool {
        self.header.protocol == IDLE_PROTOCOL
    }
}

/// Writes a packet behind the shortest header that holds its fields (CCSDS 133.1-B-3 §4.1.2).
pub fn build(header: &EncapsulationHeader, data: &[u8]) -> Result<Vec<u8>, EncapsulationError> {
    let EncapsulationHeader { protocol, extension, user, reserved } = *header;
    if protocol > 0x07 {
        return Err(EncapsulationError::Field("protocol"));
    }
    if extension > 0x0F || extension != 0 && protocol != EXTENDED_PROTOCOL {
        return Err(EncapsulationError::Field("protocol extension"));
    }
    if user > 0x0F {
        return Err(EncapsulationError::Field("user-defined field"));
    }
    let plain = user == 0 && reserved == 0 && protocol != EXTENDED_PROTOCOL;
    let size = data.len();
    // The length counts the header, so each kind holds that much less.
    let (code, header_bytes) = match size {
        0 if plain && protocol == IDLE_PROTOCOL => (0, 1),
        0..=253 if plain => (1, 2),
        0..=65_531 if reserved == 0 => (2, 4),
        _ => (3u8, 8usize),
    };
    let length = header_bytes + size;
    if length > MAX_PACKET_BYTES {
        return Err(EncapsulationError::Field("data"));
    }
    let mut packet = Vec::with_capacity(length);
    packet.push(0xE0 | protocol << 2 | code);
    let fields = user << 4 | extension;
    match code {
        0 => {}
        1 => packet.push(length as u8),
        2 => {
            packet.push(fields);
            packet.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            packet.push(fields);
            packet.extend_from_slice(&reserved.to_be_bytes());
            packet.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
    packet.extend_from_slice(data);
    assert_eq!(packet.len(), length, "the length field says how long the packet is");
    Ok(packet)
}

/// Reads how far an encapsulation packet reaches. Unlike a space packet's, its length field
/// counts the header too (CCSDS 133.1-B-3 §4.1.2).
pub(super) fn extent(bytes: &[u8]) -> Extent {
    let Some(first) = bytes.first() else { return Extent::Short { header: 1 } };
    // Two bits of length of length: no length field at all, or 1, 2 or 4 bytes that end a header
    // of 1, 2, 4 or 8.
    let (header, length) = match (first & 0x03, bytes) {
        (0, _) if first >> 2 == 0b11_1000 => (1, 1),
        // Only an idle packet may lack the length field.
        (0, _) => return Extent::Length,
        (1, [_, length, ..]) => (2, u32::from(*length)),
        (1, _) => return Extent::Short { header: 2 },
        (2, [_, _, high, low, ..]) => (4, u32::from(u16::from_be_bytes([*high, *low]))),
        (2, _) => return Extent::Short { header: 4 },
        (_, [_, _, _, _, a, b, c, d, ..]) => (8, u32::from_be_bytes([*a, *b, *c, *d])),
        _ => return Extent::Short { header: 8 },
    };
    match usize::try_from(length) {
        Ok(length) if (header..=MAX_PACKET_BYTES).contains(&length) => {
            Extent::Known { protocol: Protocol::Encapsulation, length }
        }
        _ => Extent::Length,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn known(length: usize) -> Extent {
        Extent::Known { protocol: Protocol::Encapsulation, length }
    }

    #[test]
    fn every_length_of_length() {
        assert_eq!(extent(&[0xE0]), known(1));
        assert_eq!(extent(&[0xE5, 9]), known(9));
        assert_eq!(extent(&[0xE6, 0, 1, 2]), known(258));
        assert_eq!(extent(&[0xE7, 0, 0, 0, 0, 1, 0, 6]), known(65_542));
    }

    #[test]
    fn cut_headers_ask_for_the_rest() {
        assert_eq!(extent(&[]), Extent::Short { header: 1 });
        assert_eq!(extent(&[0xE5]), Extent::Short { header: 2 });
        assert_eq!(extent(&[0xE6, 0, 1]), Extent::Short { header: 4 });
        assert_eq!(extent(&[0xE7, 0, 0, 0, 0, 1, 0]), Extent::Short { header: 8 });
    }

    #[test]
    fn lying_lengths_are_refused_before_anything_is_buffered() {
        assert_eq!(extent(&[0xE5, 1]), Extent::Length, "shorter than its own header");
        assert_eq!(extent(&[0xE7, 0, 0, 0, 0, 1, 0, 7]), Extent::Length, "over the bound");
        assert_eq!(extent(&[0xE7, 0, 0, 0, 255, 255, 255, 255]), Extent::Length);
        assert_eq!(extent(&[0xE4]), Extent::Length, "no length, yet not idle");
    }

    #[test]
    fn golden_packets_of_every_header() {
        let plain = EncapsulationHeader { protocol: 2, ..EncapsulationHeader::default() };
        assert_eq!(build(&EncapsulationHeader::default(), &[]).unwrap(), [0xE0]);
        assert_eq!(build(&plain, &[]).unwrap(), [0xE9, 2]);
        assert_eq!(build(&plain, &[7]).unwrap(), [0xE9, 3, 7]);
        let extended = EncapsulationHeader { protocol: 6, extension: 5, user: 9, reserved: 0 };
        assert_eq!(build(&extended, &[7]).unwrap(), [0xFA, 0x95, 0, 5, 7]);
        let reserved = EncapsulationHeader { reserved: 0x0102, ..extended };
        let bytes = [0xFB, 0x95, 1, 2, 0, 0, 0, 9, 7];
        assert_eq!(build(&reserved, &[7]).unwrap(), bytes);
        let view = EncapsulationView::parse(&bytes).unwrap();
        assert_eq!((*view.header(), view.data(), view.is_idle()), (reserved, &[7][..], false));
        for end in 0..bytes.len() {
            assert!(EncapsulationView::parse(&bytes[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn headers_grow_where_lengths_need_it() {
        let plain = EncapsulationHeader { protocol: 2, ..EncapsulationHeader::default() };
        let zeros = std::vec![0; MAX_PACKET_BYTES];
        for (data, length) in [(253, 255), (254, 258), (65_531, 65_535), (65_532, 65_540)] {
            let packet = build(&plain, &zeros[..data]).unwrap();
            assert_eq!((packet.len(), extent(&packet)), (length, known(length)));
        }
        assert!(build(&plain, &zeros[..MAX_PACKET_BYTES - 8]).is_ok());
        assert!(build(&plain, &zeros[..MAX_PACKET_BYTES - 7]).is_err());
        let wide = EncapsulationHeader { protocol: 8, ..plain };
        assert_eq!(build(&wide, &[]), Err(EncapsulationError::Field("protocol")));
        let stray = EncapsulationHeader { extension: 1, ..plain };
        assert!(build(&stray, &[]).is_err(), "an extension that no receiver looks at");
    }

    proptest! {
        #[test]
        fn packets_round_trip(
            protocol in 0u8..8,
            (extension, user) in (0u8..16, 0u8..16),
            reserved in prop_oneof![Just(0), any::<u16>()],
            data in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let extension = if protocol == EXTENDED_PROTOCOL { extension } else { 0 };
            let header = EncapsulationHeader { protocol, extension, user, reserved };
            let bytes = build(&header, &data).unwrap();
            let view = EncapsulationView::parse(&bytes).unwrap();
            prop_assert_eq!((*view.header(), view.data()), (header, &data[..]));
            for end in 0..bytes.len() {
                prop_assert!(EncapsulationView::parse(&bytes[..end]).is_err());
            }
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(view) = EncapsulationView::parse(&bytes) {
                prop_assert!(view.data().len() < bytes.len());
            }
        }
    }
}
