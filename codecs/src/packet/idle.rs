//! Fill: idle packets, and the pattern that fills idle frames.

use super::space::{HEADER_BYTES, IDLE_APID, PacketError, PacketHeader, SequenceCount, build};
use alloc::vec::Vec;

/// Shortest idle packet: a header and one byte.
pub const MIN_IDLE_BYTES: usize = HEADER_BYTES + 1;

/// An idle packet of `length` bytes, header included (CCSDS 133.0-B-2 §4.1.3.3.4.4). Its inside
/// means nothing; receivers don't check it.
pub fn idle_packet(length: usize) -> Result<Vec<u8>, PacketError> {
    let short = PacketError::Short { found: length };
    let data = length.checked_sub(HEADER_BYTES).ok_or(short)?;
    // Alternating fill keeps transitions on the line, which an all-zero packet would not.
    let mut fill = Vec::new();
    fill.resize(data.min(1 << 17), 0x55);
    build(&PacketHeader::telemetry(IDLE_APID, SequenceCount(0)), &fill)
}

/// The pattern of frames that hold only idle data: the register D^0 + D^1 + D^2 + D^22 + D^32
/// from all ones, which runs on from frame to frame (CCSDS 732.1-B-3 §4.1.4; receivers of AOS and
/// TM accept anything).
#[derive(Clone, Debug)]
pub struct IdleFill {
    register: u32,
}

impl IdleFill {
    /// A register of all ones.
    pub const fn new() -> Self {
        Self { register: u32::MAX }
    }

    /// The next byte, first bit out in the top bit.
    pub fn next_byte(&mut self) -> u8 {
        (0..8).fold(0, |byte, _| {
            // Bit 31 leaves; cell n of the polynomial holds the bit that entered n shifts ago.
            let out = self.register >> 31;
            let taps = out ^ (self.register >> 21) ^ (self.register >> 1) ^ self.register;
            self.register = self.register << 1 | (taps & 1);
            byte << 1 | out as u8
        })
    }

    /// Fills a data field.
    pub fn fill(&mut self, field: &mut [u8]) {
        field.iter_mut().for_each(|byte| *byte = self.next_byte());
    }
}

impl Default for IdleFill {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{is_idle, space::PacketView};

    #[test]
    fn idle_packets_are_exactly_as_long_as_asked() {
        for length in [7, 8, 1105, 65_542] {
            let packet = idle_packet(length).unwrap();
            assert_eq!(packet.len(), length);
            assert!(PacketView::parse(&packet).unwrap().is_idle() && is_idle(&packet));
        }
        for length in [0, 6, 65_543, usize::MAX] {
            assert!(idle_packet(length).is_err(), "{length}");
        }
    }

    #[test]
    fn apid_1023_is_not_idle() {
        let packet = [0x03, 0xFF, 0xC0, 0, 0, 0, 0];
        assert!(!is_idle(&packet) && !PacketView::parse(&packet).unwrap().is_idle());
        assert!(is_idle(&[0xE0]) && !is_idle(&[0xE5, 2]) && !is_idle(&[]));
    }

    #[test]
    fn the_pattern_starts_as_published() {
        let mut start = [0; 12];
        IdleFill::new().fill(&mut start);
        let published = [0xFF, 0xFF, 0xFF, 0xFF, 0x6D, 0xB6, 0xD8, 0x61, 0x45, 0x1F, 0x11, 0xF1];
        assert_eq!(start, published);
    }
}
