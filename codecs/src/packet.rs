//! Packets: the units that applications write, from a few bytes to 64 KiB.
//!
//! ```text
//! space (telemetry and commands) ─► pus (their secondary headers) ─► track (lost, broken)
//! encapsulation (everything else) ─ idle (fill)
//! ```

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod space;
pub mod pus;
pub mod encapsulation;
pub mod idle;
pub mod track;

/// Longest packet accepted: what the length field of a space packet can say
/// (CCSDS 133.0-B-2 §4.1.3.5: 6 bytes of header, 1 to 65,536 of data). A longer encapsulation
/// packet is refused before a byte of it is buffered.
pub const MAX_PACKET_BYTES: usize = 65_542;

/// Protocols that the packet version number tells apart (first three bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// Version 0: space packet (CCSDS 133.0-B-2).
    Space,
    /// Version 7: encapsulation packet (CCSDS 133.1-B-3).
    Encapsulation,
}

/// How far a packet reaches, told by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The header is whole and says this much, header included; at least 1.
    Known {
        /// Which protocol.
        protocol: Protocol,
        /// Length in bytes, 1 to [`MAX_PACKET_BYTES`].
        length: usize,
    },
    /// The header itself is cut; it needs this many bytes in all before the length is known.
    Short {
        /// Bytes of header needed, more than there are, at most [`MAX_HEADER_BYTES`].
        header: usize,
    },
    /// No packet of this version is known, so nothing tells where the next one starts.
    Version(u8),
    /// The length field contradicts itself or passes [`MAX_PACKET_BYTES`].
    Length,
}

/// Longest header that [`extent`] asks for.
pub const MAX_HEADER_BYTES: usize = 8;

/// Reads how far the packet reaches that starts at the first byte; never looks past the header.
pub fn extent(bytes: &[u8]) -> Extent {
    let Some(first) = bytes.first() else { return Extent::Short { header: 1 } };
    match first >> 5 {
        0 => space::extent(bytes),
        7 => encapsulation::extent(bytes),
        version => Extent::Version(version),
    }
}

/// Whether a whole packet carries nothing: an idle space packet or an idle encapsulation packet.
pub fn is_idle(packet: &[u8]) -> bool {
    match packet {
        [first, second, ..] if first >> 5 == 0 => first & 0x07 == 0x07 && *second == 0xFF,
        [first, ..] => first >> 2 == 0b11_1000,
        [] => false,
    }
}
