//! TM transfer frames (CCSDS 132.0-B-3) that carry packets.

use super::pack::Packer;
use super::{BuildError, FirstHeader, FrameError, OCF_BYTES, VirtualChannel, room};
use crate::fec::crc::{CRC16_BYTES, crc16, crc16_holds};
use crate::packet::idle::IdleFill;
use alloc::{vec, vec::Vec};
use bytes::Bytes;
use core::ops::Range;

/// Transfer frame version number of TM (CCSDS 132.0-B-3 §4.1.2.2.2).
pub const VERSION: u8 = 0;
/// Length of the primary header (CCSDS 132.0-B-3 §4.1.2).
pub const HEADER_BYTES: usize = 6;
/// Frames before a count starts again: 8 bits, so a loss of 256 frames is invisible.
pub const COUNT_MODULUS: u32 = 1 << 8;

/// The managed parameters of a physical channel: a frame does not tell them itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TmConfig {
    /// Length of every frame.
    pub length: usize,
    /// A CRC-16 ends the frame.
    pub fecf: bool,
}

impl TmConfig {
    /// Frames of a length without a CRC.
    pub const fn new(length: usize) -> Self {
        Self { length, fecf: false }
    }

    /// The same with or without a CRC-16 at the end.
    pub const fn with_fecf(mut self, fecf: bool) -> Self {
        self.fecf = fecf;
        self
    }
}

/// The fields of a primary header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TmHeader {
    /// Spacecraft identifier, ten bits.
    pub scid: u16,
    /// Virtual channel, 0 to 7.
    pub vcid: u8,
    /// An operational control field stands before the trailer of this frame.
    pub ocf: bool,
    /// Count over all virtual channels of the spacecraft.
    pub master_count: u8,
    /// Count of the virtual channel.
    pub count: u8,
    /// A secondary header follows.
    pub secondary_header: bool,
    /// The data field holds no packets but what the mission agreed on (synchronisation flag,
    /// CCSDS 132.0-B-3 §4.1.2.7.3); the pointer is then undefined.
    pub opaque: bool,
    /// First header pointer, where the frame is not opaque.
    pub pointer: FirstHeader,
}

impl TmHeader {
    fn read(bytes: [u8; HEADER_BYTES]) -> Self {
        let [a, b, master_count, count, e, f] = bytes;
        let identifier = u16::from_be_bytes([a, b]);
        let status = u16::from_be_bytes([e, f]);
        Self {
            scid: identifier >> 4 & 0x3FF,
            vcid: (identifier >> 1 & 0x07) as u8,
            ocf: identifier & 1 != 0,
            master_count,
            count,
            secondary_header: status & 0x8000 != 0,
            opaque: status & 0x4000 != 0,
            pointer: FirstHeader::from_bits(status),
        }
    }

    fn emit(&self) -> [u8; HEADER_BYTES] {
        let identifier = u16::from(VERSION) << 14
            | (self.scid & 0x3FF) << 4
            | u16::from(self.vcid & 0x07) << 1
            | u16::from(self.ocf);
        // Packet order flag 0; segment length identifier 11, as for every packet frame
        // (CCSDS 132.0-B-3 §4.1.2.7.5).
        let status = u16::from(self.secondary_header) << 15
            | u16::from(self.opaque) << 14
            | 0b11 << 11
            | self.pointer.bits();
        let ([a, b], [e, f]) = (identifier.to_be_bytes(), status.to_be_bytes());
        [a, b, self.master_count, self.count, e, f]
    }
}

/// A frame, seen in place.
#[derive(Clone, Debug)]
pub struct TmFrame<'a> {
    bytes: &'a [u8],
    header: TmHeader,
    fecf: bool,
    data: Range<usize>,
}

impl<'a> TmFrame<'a> {
    /// Reads a frame of the configured length. The CRC is not checked: see [`Self::fecf_holds`].
    pub fn parse(bytes: &'a [u8], config: &TmConfig) -> Result<Self, FrameError> {
        let length = FrameError::Length { expected: config.length, found: bytes.len() };
        if bytes.len() != config.length {
            return Err(length);
        }
        let (header, after) = bytes
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(FrameError::NoRoom { overhead: HEADER_BYTES, length: config.length })?;
        let found = header[0] >> 6;
        if found != VERSION {
            return Err(FrameError::Version { expected: VERSION, found });
        }
        let header = TmHeader::read(*header);
        // The secondary header's first byte holds its length less one (CCSDS 132.0-B-3 §4.1.3.2).
        let secondary = match after.first() {
            Some(first) if header.secondary_header => usize::from(first & 0x3F) + 1,
            _ => 0,
        };
        let ocf = if header.ocf { OCF_BYTES } else { 0 };
        let fecf = if config.fecf { CRC16_BYTES } else { 0 };
        let data = room(config.length, HEADER_BYTES + secondary, ocf + fecf)?;
        Ok(Self { bytes, header, fecf: config.fecf, data })
    }

    /// The primary header.
    pub const fn header(&self) -> &TmHeader {
        &self.header
    }

    /// The counter that this frame belongs to.
    pub const fn channel(&self) -> VirtualChannel {
        VirtualChannel { version: VERSION, scid: self.header.scid, vcid: self.header.vcid, map: 0 }
    }

    /// Where the data field lies in the frame; at least one byte.
    pub fn packet_zone(&self) -> Range<usize> {
        self.data.clone()
    }

    /// The secondary header, its first byte included; empty where there is none.
    pub fn secondary_header(&self) -> &'a [u8] {
        self.bytes.get(HEADER_BYTES..self.data.start).unwrap_or(&[])
    }

    /// The operational control field, where this frame has one.
    pub fn ocf(&self) -> Option<[u8; OCF_BYTES]> {
        let after = self.bytes.get(self.data.end..)?;
        if self.header.ocf { after.first_chunk().copied() } else { None }
    }

    /// Whether the CRC-16 holds; true where none is configured.
    pub fn fecf_holds(&self) -> bool {
        !self.fecf || crc16_holds(self.bytes)
    }
}

/// Puts packets into frames of the only virtual channel of a spacecraft, without secondary
/// header or operational control field.
#[derive(Clone, Debug)]
pub struct TmBuilder {
    config: TmConfig,
    scid: u16,
    vcid: u8,
    count: u8,
    packer: Packer,
}

impl TmBuilder {
    /// Frames of a channel, the first with `first_count` on both counters.
    pub fn new(config: TmConfig, scid: u16, vcid: u8, first_count: u8) -> Result<Self, BuildError> {
        let limits = [("spacecraft identifier", scid, 0x3FF), ("virtual channel", vcid.into(), 7)];
        for (field, value, max) in limits {
            if value > max {
                return Err(BuildError::Identifier { field, value, max });
            }
        }
        let trailer = if config.fecf { CRC16_BYTES } else { 0 };
        let zone = room(config.length, HEADER_BYTES, trailer).map_err(|_| BuildError::Zone(0))?;
        let packer = Packer::new(zone.len())?;
        Ok(Self { config, scid, vcid, count: first_count, packer })
    }

    /// Takes one whole packet; hands out each frame that it fills.
    pub fn push(&mut self, packet: &[u8], sink: &mut impl FnMut(Bytes)) -> Result<(), BuildError> {
        let Self { config, scid, vcid, count, packer } = self;
        packer.push(packet, &mut |pointer, zone| {
            sink(frame(config, *scid, *vcid, count, pointer, zone));
        })
    }

    /// Fills the frame in progress with an idle packet and hands it out.
    pub fn flush(&mut self, sink: &mut impl FnMut(Bytes)) {
        let Self { config, scid, vcid, count, packer } = self;
        packer.flush(&mut |pointer, zone| {
            sink(frame(config, *scid, *vcid, count, pointer, zone));
        });
    }
}

impl TmBuilder {
    /// A frame of only idle data, which its pointer says: what a channel sends to keep the line
    /// busy. Packets in progress go on behind it (CCSDS 132.0-B-3 §4.1.4.6.3); which channel it
    /// is sent on is up to the mission, by habit number 7.
    pub fn idle_frame(&mut self, fill: &mut IdleFill) -> Bytes {
        let Self { config, scid, vcid, count, packer } = self;
        let mut zone = vec![0; packer.capacity()];
        fill.fill(&mut zone);
        frame(config, *scid, *vcid, count, FirstHeader::IdleData, &zone)
    }
}

fn frame(
    config: &TmConfig,
    scid: u16,
    vcid: u8,
    count: &mut u8,
    pointer: FirstHeader,
    zone: &[u8],
) -> Bytes {
    let header = TmHeader {
        scid,
        vcid,
        ocf: false,
        master_count: *count,
        count: *count,
        secondary_header: false,
        opaque: false,
        pointer,
    };
    *count = count.wrapping_add(1);
    let mut frame = Vec::with_capacity(config.length);
    frame.extend_from_slice(&header.emit());
    frame.extend_from_slice(zone);
    if config.fecf {
        let check = crc16(&frame);
        frame.extend_from_slice(&check.to_be_bytes());
    }
    assert_eq!(frame.len(), config.length, "the zone fills what headers and trailers leave");
    frame.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Spacecraft 318, channel 7, counts 0x66 and 0xED, 3 bytes of secondary header, no start.
    const GOLDEN: [u8; 20] = [
        0x13, 0xEF, 0x66, 0xED, 0x9F, 0xFF, 0x02, 0xA1, 0xA2, 1, 2, 3, 4, 5, 6, 7, 0xC1, 0xC2,
        0xC3, 0xC4,
    ];

    #[test]
    fn golden_frame_with_every_optional_field() {
        let frame = TmFrame::parse(&GOLDEN, &TmConfig::new(20)).unwrap();
        let header = *frame.header();
        assert_eq!(frame.channel(), VirtualChannel { version: 0, scid: 318, vcid: 7, map: 0 });
        assert_eq!((header.master_count, header.count), (0x66, 0xED));
        assert_eq!((header.pointer, header.opaque), (FirstHeader::NoStart, false));
        assert_eq!(frame.secondary_header(), [0x02, 0xA1, 0xA2]);
        assert_eq!((frame.packet_zone(), frame.ocf()), (9..16, Some([0xC1, 0xC2, 0xC3, 0xC4])));
        assert_eq!(header.emit(), GOLDEN[..6]);
    }

    #[test]
    fn every_truncation_and_every_flip_is_survived() {
        let config = TmConfig::new(20);
        for end in 0..GOLDEN.len() {
            assert!(TmFrame::parse(&GOLDEN[..end], &config).is_err());
            assert!(
                TmFrame::parse(&GOLDEN[..end], &TmConfig::new(end)).is_err() || end > 13,
                "{end} bytes hold a header, a secondary header, a byte and a trailer"
            );
        }
        for bit in 0..GOLDEN.len() * 8 {
            let mut bytes = GOLDEN;
            bytes[bit / 8] ^= 0x80 >> (bit % 8);
            if let Ok(frame) = TmFrame::parse(&bytes, &config) {
                assert!(frame.packet_zone().end <= 20, "bit {bit}");
            }
        }
    }

    #[test]
    fn a_lying_secondary_header_leaves_no_room() {
        let mut bytes = GOLDEN;
        bytes[6] = 0x3F;
        let error = TmFrame::parse(&bytes, &TmConfig::new(20)).unwrap_err();
        assert_eq!(error, FrameError::NoRoom { overhead: 6 + 64 + 4, length: 20 });
    }

    #[test]
    fn builders_refuse_what_no_frame_can_say() {
        assert!(TmBuilder::new(TmConfig::new(64), 1024, 0, 0).is_err());
        assert!(TmBuilder::new(TmConfig::new(64), 0, 8, 0).is_err());
        assert!(TmBuilder::new(TmConfig::new(6), 0, 0, 0).is_err());
    }

    #[test]
    fn idle_frames_hold_the_standards_fill() {
        let config = TmConfig::new(16).with_fecf(true);
        let mut builder = TmBuilder::new(config.clone(), 318, 7, 255).unwrap();
        let mut fill = IdleFill::new();
        let (first, second) = (builder.idle_frame(&mut fill), builder.idle_frame(&mut fill));
        let golden =
            [0x13, 0xEE, 0xFF, 0xFF, 0x1F, 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0x6D, 0xB6, 0xD8, 0x61];
        assert_eq!(first[..14], golden);
        let frame = TmFrame::parse(&first, &config).unwrap();
        assert!(frame.fecf_holds());
        assert_eq!(frame.header().pointer, FirstHeader::IdleData);
        assert_eq!((second[3], &second[6..8]), (0, &[0x45, 0x1F][..]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..90), fecf: bool) {
            let config = TmConfig { length: bytes.len(), fecf };
            if let Ok(frame) = TmFrame::parse(&bytes, &config) {
                prop_assert!(!frame.packet_zone().is_empty());
                prop_assert!(frame.packet_zone().end <= bytes.len());
                prop_assert_eq!(frame.ocf().is_some(), frame.header().ocf);
                frame.fecf_holds();
                let again = TmHeader::read(frame.header().emit());
                prop_assert_eq!(again, *frame.header());
            }
        }
    }
}
