//! AOS transfer frames (CCSDS 732.0-B-5): packets (M_PDU), bits (B_PDU) or a mission's own units.

use super::pack::Packer;
use super::{BuildError, FirstHeader, FrameError, OCF_BYTES, VirtualChannel, room};
use crate::fec::crc::{CRC16_BYTES, crc16, crc16_holds};
use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::Range;

/// Transfer frame version number of AOS: binary 01 (CCSDS 732.0-B-5 §4.1.2).
pub const VERSION: u8 = 1;
/// Length of the primary header without header error control (CCSDS 732.0-B-5 §4.1.2).
pub const HEADER_BYTES: usize = 6;
/// Header error control, where a mission uses it (CCSDS 732.0-B-4 §4.1.2.6).
pub const HEADER_ERROR_CONTROL_BYTES: usize = 2;
/// Length of the M_PDU header that holds the first header pointer (CCSDS 732.0-B-4 §4.1.4.2.1.3),
/// and of the B_PDU header that holds the bitstream data pointer (§4.1.4.3.2 there).
pub const MPDU_HEADER_BYTES: usize = 2;
/// The virtual channel of frames that hold only idle data (CCSDS 732.0-B-5 §4.1.2.3).
pub const IDLE_VCID: u8 = 63;
/// Frames before the count starts again: 24 bits.
pub const COUNT_MODULUS: u32 = 1 << 24;

/// What the frames of a virtual channel carry; a managed parameter, because no frame says it
/// (CCSDS 732.0-B-5 §4.1.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Packets end to end, found by the first header pointer (M_PDU).
    #[default]
    Packets,
    /// A stream of bits, of which a pointer says how many are valid (B_PDU).
    Bits,
    /// One unit of the mission's own that fills the zone (VCA_SDU).
    Access,
}

impl Service {
    const fn header_bytes(self) -> usize {
        match self {
            Self::Packets | Self::Bits => MPDU_HEADER_BYTES,
            Self::Access => 0,
        }
    }
}

/// Virtual channels that six bits tell apart.
const CHANNELS: usize = 64;

/// The managed parameters of a physical channel: a frame does not tell them itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AosConfig {
    /// Length of every frame.
    pub length: usize,
    /// Length of the insert zone after the header.
    pub insert_zone: usize,
    /// Two bytes of header error control follow the header; skipped, not yet used to correct.
    pub header_error_control: bool,
    /// An operational control field stands before the trailer.
    pub ocf: bool,
    /// A CRC-16 ends the frame.
    pub fecf: bool,
    /// The spacecraft identifier has ten bits, the high two in the signalling field
    /// (new in CCSDS 732.0-B-5 §4.1.2; older missions have eight).
    pub wide_scid: bool,
    /// What each virtual channel carries, by its identifier.
    pub services: [Service; CHANNELS],
}

impl AosConfig {
    /// Plain frames of a length: no insert zone, no optional field.
    pub const fn new(length: usize) -> Self {
        Self {
            length,
            insert_zone: 0,
            header_error_control: false,
            ocf: false,
            fecf: false,
            wide_scid: false,
            services: [Service::Packets; CHANNELS],
        }
    }

    /// The same with or without a CRC-16 at the end.
    pub const fn with_fecf(mut self, fecf: bool) -> Self {
        self.fecf = fecf;
        self
    }

    /// The same with a virtual channel that carries something else than packets.
    pub fn with_service(mut self, vcid: u8, service: Service) -> Self {
        if let Some(slot) = self.services.get_mut(usize::from(vcid)) {
            *slot = service;
        }
        self
    }

    /// What a virtual channel carries.
    pub fn service(&self, vcid: u8) -> Service {
        self.services.get(usize::from(vcid)).copied().unwrap_or_default()
    }

    const fn trailer(&self) -> usize {
        (if self.ocf { OCF_BYTES } else { 0 }) + (if self.fecf { CRC16_BYTES } else { 0 })
    }

    const fn data_start(&self) -> usize {
        let control = if self.header_error_control { HEADER_ERROR_CONTROL_BYTES } else { 0 };
        HEADER_BYTES.saturating_add(control).saturating_add(self.insert_zone)
    }

    /// Where the packet zone lies in every frame.
    pub fn packet_zone(&self) -> Result<Range<usize>, FrameError> {
        room(self.length, self.data_start().saturating_add(MPDU_HEADER_BYTES), self.trailer())
    }
}

/// The fields of a primary header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AosHeader {
    /// Spacecraft identifier, eight bits or ten.
    pub scid: u16,
    /// Virtual channel, 0 to 63.
    pub vcid: u8,
    /// Virtual channel frame count, 24 bits.
    pub count: u32,
    /// Replayed, not real time.
    pub replay: bool,
    /// The count's four high bits, where the frame says that it uses them.
    pub cycle: Option<u8>,
}

impl AosHeader {
    fn read(bytes: [u8; HEADER_BYTES], wide_scid: bool) -> Self {
        let [a, b, c, d, e, signalling] = bytes;
        let identifier = u16::from_be_bytes([a, b]);
        let high = if wide_scid { u16::from(signalling >> 4 & 0x03) << 8 } else { 0 };
        Self {
            scid: high | (identifier >> 6 & 0xFF),
            vcid: (identifier & 0x3F) as u8,
            count: u32::from_be_bytes([0, c, d, e]),
            replay: signalling & 0x80 != 0,
            cycle: (signalling & 0x40 != 0).then_some(signalling & 0x0F),
        }
    }

    fn emit(&self) -> [u8; HEADER_BYTES] {
        let identifier =
            u16::from(VERSION) << 14 | (self.scid & 0xFF) << 6 | u16::from(self.vcid & 0x3F);
        let [a, b] = identifier.to_be_bytes();
        let [_, c, d, e] = self.count.to_be_bytes();
        let high = ((self.scid >> 8) as u8 & 0x03) << 4;
        let cycle = self.cycle.map_or(0, |cycle| 0x40 | (cycle & 0x0F));
        [a, b, c, d, e, u8::from(self.replay) << 7 | high | cycle]
    }
}

/// A frame, seen in place.
#[derive(Clone, Debug)]
pub struct AosFrame<'a> {
    bytes: &'a [u8],
    header: AosHeader,
    config: &'a AosConfig,
    service: Service,
    zone: Range<usize>,
    pointer: u16,
}

impl<'a> AosFrame<'a> {
    /// Reads a frame of the configured length. The CRC is not checked: see [`Self::fecf_holds`].
    pub fn parse(bytes: &'a [u8], config: &'a AosConfig) -> Result<Self, FrameError> {
        let length = FrameError::Length { expected: config.length, found: bytes.len() };
        if bytes.len() != config.length {
            return Err(length);
        }
        let (header, _) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(length)?;
        let found = header[0] >> 6;
        if found != VERSION {
            return Err(FrameError::Version { expected: VERSION, found });
        }
        let header = AosHeader::read(*header, config.wide_scid);
        // Idle data has no header of its own (CCSDS 732.0-B-5 §4.1.4.1.6).
        let idle = header.vcid == IDLE_VCID;
        let service = if idle { Service::Access } else { config.service(header.vcid) };
        let start = config.data_start();
        let zone =
            room(config.length, start.saturating_add(service.header_bytes()), config.trailer())?;
        let pointer = match bytes.get(start..zone.start) {
            Some([high, low]) => u16::from_be_bytes([*high, *low]),
            _ => 0,
        };
        Ok(Self { bytes, header, config, service, zone, pointer })
    }

    /// The primary header.
    pub const fn header(&self) -> &AosHeader {
        &self.header
    }

    /// The counter that this frame belongs to.
    pub const fn channel(&self) -> VirtualChannel {
        VirtualChannel { version: VERSION, scid: self.header.scid, vcid: self.header.vcid, map: 0 }
    }

    /// Whether the virtual channel is the one that holds only idle data.
    pub const fn is_idle(&self) -> bool {
        self.header.vcid == IDLE_VCID
    }

    /// What the virtual channel carries; meaningless in an idle frame.
    pub const fn service(&self) -> Service {
        self.service
    }

    /// Where the first packet starts; meaningless where the channel carries no packets.
    pub const fn first_header(&self) -> FirstHeader {
        FirstHeader::from_bits(self.pointer)
    }

    /// How many bits of the zone are valid, from its first on; `None` where the pointer leaves
    /// the zone. Meaningless where the channel carries no bits.
    ///
    /// The pointer names the last valid bit; all ones say that all are, all ones less one that
    /// none is (CCSDS 732.0-B-5 §4.1.4.3.2.3).
    pub fn valid_bits(&self) -> Option<usize> {
        let bits = self.zone.len().saturating_mul(8);
        match self.pointer & 0x3FFF {
            0x3FFF => Some(bits),
            0x3FFE => Some(0),
            last => Some(usize::from(last) + 1).filter(|valid| *valid <= bits),
        }
    }

    /// Where the zone behind all headers lies in the frame; at least one byte.
    pub fn packet_zone(&self) -> Range<usize> {
        self.zone.clone()
    }

    /// The insert zone, empty where none is configured.
    pub fn insert_zone(&self) -> &'a [u8] {
        let end = self.config.data_start();
        self.bytes.get(end - self.config.insert_zone..end).unwrap_or(&[])
    }

    /// The operational control field, where one is configured.
    pub fn ocf(&self) -> Option<[u8; OCF_BYTES]> {
        let after = self.bytes.get(self.zone.end..)?;
        if self.config.ocf { after.first_chunk().copied() } else { None }
    }

    /// Whether the CRC-16 holds; true where none is configured.
    pub fn fecf_holds(&self) -> bool {
        !self.config.fecf || crc16_holds(self.bytes)
    }
}

/// Puts packets into frames of one virtual channel.
///
/// Keep [`Self::next_count`] over restarts: receivers read a count that starts again as a gap.
#[derive(Clone, Debug)]
pub struct AosBuilder {
    framer: Framer,
    packer: Packer,
}

/// Everything about a frame but its packet zone; apart, so that the packer can lend a zone to it.
#[derive(Clone, Debug)]
struct Framer {
    config: AosConfig,
    scid: u16,
    vcid: u8,
    count: u32,
    ocf: [u8; OCF_BYTES],
}

impl AosBuilder {
    /// Frames of a channel, the first with `first_count`.
    pub fn new(
        config: AosConfig,
        scid: u16,
        vcid: u8,
        first_count: u32,
    ) -> Result<Self, BuildError> {
        let max_scid = if config.wide_scid { 0x3FF } else { 0xFF };
        let limits =
            [("spacecraft identifier", scid, max_scid), ("virtual channel", vcid.into(), 62)];
        for (field, value, max) in limits {
            if value > max {
                return Err(BuildError::Identifier { field, value, max });
            }
        }
        if config.service(vcid) != Service::Packets {
            return Err(BuildError::Service(vcid));
        }
        if config.header_error_control {
            return Err(BuildError::Unsupported("header error control field"));
        }
        let zone = config.packet_zone().map_err(|_| BuildError::Zone(0))?;
        let packer = Packer::new(zone.len())?;
        let count = first_count % COUNT_MODULUS;
        let framer = Framer { config, scid, vcid, count, ocf: [0; OCF_BYTES] };
        Ok(Self { framer, packer })
    }

    /// The count of the next frame.
    pub const fn next_count(&self) -> u32 {
        self.framer.count
    }

    /// Sets the operational control field of the frames that follow.
    pub const fn set_ocf(&mut self, ocf: [u8; OCF_BYTES]) {
        self.framer.ocf = ocf;
    }

    /// Bytes that wait for the frame to fill or [`Self::flush`].
    pub fn pending(&self) -> usize {
        self.packer.pending()
    }

    /// Takes one whole packet; hands out each frame that it fills.
    pub fn push(&mut self, packet: &[u8], sink: &mut impl FnMut(Bytes)) -> Result<(), BuildError> {
        let framer = &mut self.framer;
        self.packer.push(packet, &mut |pointer, zone| sink(framer.frame(pointer, zone)))
    }

    /// Fills the frame in progress with an idle packet and hands it out; nothing where nothing
    /// waits. Where less than the shortest idle packet fits, its rest opens the next frame.
    pub fn flush(&mut self, sink: &mut impl FnMut(Bytes)) {
        let framer = &mut self.framer;
        self.packer.flush(&mut |pointer, zone| sink(framer.frame(pointer, zone)));
    }
}

impl Framer {
    fn frame(&mut self, pointer: FirstHeader, zone: &[u8]) -> Bytes {
        let Self { config, scid, vcid, count, ocf } = self;
        let header =
            AosHeader { scid: *scid, vcid: *vcid, count: *count, replay: false, cycle: None };
        *count = (*count + 1) % COUNT_MODULUS;
        let mut frame = Vec::with_capacity(config.length);
        frame.extend_from_slice(&header.emit());
        frame.resize(HEADER_BYTES + config.insert_zone, 0);
        frame.extend_from_slice(&pointer.bits().to_be_bytes());
        frame.extend_from_slice(zone);
        if config.ocf {
            frame.extend_from_slice(ocf);
        }
        if config.fecf {
            let check = crc16(&frame);
            frame.extend_from_slice(&check.to_be_bytes());
        }
        assert_eq!(frame.len(), config.length, "the zone fills what headers and trailers leave");
        frame.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::space::PacketView;
    use proptest::prelude::*;

    #[test]
    fn a_header_with_ten_bits_of_spacecraft() {
        let bytes = [0x48, 0x45, 0xA0, 0xB0, 0xC0, 0xF9];
        let header = AosHeader::read(bytes, true);
        let cycle = Some(9);
        let said = AosHeader { scid: 0x321, vcid: 5, count: 0xA0_B0C0, replay: true, cycle };
        assert_eq!(header, said);
        assert_eq!(header.emit(), bytes);
        assert_eq!(AosHeader::read(bytes, false).scid, 0x21, "eight bits for older missions");
    }

    /// Spacecraft 71, channel 0, count 5: one 9-byte packet and idle fill, CRC at the end.
    const GOLDEN: [u8; 32] = [
        0x51, 0xC0, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x08, 0x64, 0xC0, 0x01, 0x00, 0x02, 0xAA,
        0xBB, 0xCC, 0x07, 0xFF, 0xC0, 0x00, 0x00, 0x06, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55,
        0x30, 0x69,
    ];

    #[test]
    fn golden_frame_reads_and_writes() {
        let config = AosConfig::new(32).with_fecf(true);
        let mut builder = AosBuilder::new(config.clone(), 71, 0, 5).unwrap();
        let mut frames = Vec::new();
        builder.push(&GOLDEN[8..17], &mut |frame| frames.push(frame)).unwrap();
        assert_eq!((frames.len(), builder.pending()), (0, 9));
        builder.flush(&mut |frame| frames.push(frame));
        builder.flush(&mut |frame| frames.push(frame));
        assert_eq!(frames, [&GOLDEN[..]]);
        assert_eq!((builder.next_count(), builder.pending()), (6, 0));

        let frame = AosFrame::parse(&GOLDEN, &config).unwrap();
        assert_eq!(frame.channel(), VirtualChannel { version: 1, scid: 71, vcid: 0, map: 0 });
        assert_eq!((frame.header().count, frame.first_header()), (5, FirstHeader::At(0)));
        assert_eq!(frame.packet_zone(), 8..30);
        assert!(frame.fecf_holds() && !frame.is_idle());
        assert!(frame.ocf().is_none() && frame.insert_zone().is_empty());
        assert!(PacketView::parse(&GOLDEN[17..30]).unwrap().is_idle());
    }

    #[test]
    fn every_truncation_and_every_flip_is_survived() {
        let config = AosConfig::new(32).with_fecf(true);
        for end in 0..GOLDEN.len() {
            let length = FrameError::Length { expected: 32, found: end };
            assert_eq!(AosFrame::parse(&GOLDEN[..end], &config).unwrap_err(), length);
        }
        for bit in 0..GOLDEN.len() * 8 {
            let mut bytes = GOLDEN;
            bytes[bit / 8] ^= 0x80 >> (bit % 8);
            match AosFrame::parse(&bytes, &config) {
                Ok(frame) => assert!(!frame.fecf_holds(), "bit {bit}"),
                Err(error) => {
                    assert!(bit < 2 && matches!(error, FrameError::Version { .. }), "bit {bit}");
                }
            }
        }
    }

    #[test]
    fn optional_fields_take_their_room() {
        let mut config = AosConfig::new(64).with_fecf(true);
        (config.insert_zone, config.ocf) = (5, true);
        let mut builder = AosBuilder::new(config.clone(), 1, 2, COUNT_MODULUS - 1).unwrap();
        builder.set_ocf([1, 2, 3, 4]);
        let mut frames = Vec::new();
        builder.push(&GOLDEN[8..17], &mut |frame| frames.push(frame)).unwrap();
        builder.flush(&mut |frame| frames.push(frame));
        let frame = AosFrame::parse(&frames[0], &config).unwrap();
        assert_eq!((frame.ocf(), frame.insert_zone()), (Some([1, 2, 3, 4]), &[0; 5][..]));
        assert_eq!(frame.packet_zone(), 13..58);
        assert!(frame.fecf_holds());
        assert_eq!(builder.next_count(), 0, "24 bits wrap");
    }

    #[test]
    fn impossible_configurations_are_refused() {
        let refused = |config, scid, vcid| AosBuilder::new(config, scid, vcid, 0).unwrap_err();
        assert!(matches!(refused(AosConfig::new(64), 256, 0), BuildError::Identifier { .. }));
        assert!(matches!(refused(AosConfig::new(64), 1, 63), BuildError::Identifier { .. }));
        assert_eq!(refused(AosConfig::new(8), 1, 0), BuildError::Zone(0));
        assert_eq!(refused(AosConfig::new(8 + 2047), 1, 0), BuildError::Zone(2047));
        let mut config = AosConfig::new(64);
        config.insert_zone = usize::MAX;
        let error = AosFrame::parse(&[0x40; 64], &config).unwrap_err();
        assert!(matches!(error, FrameError::NoRoom { .. }));
        config.insert_zone = 0;
        config.header_error_control = true;
        assert!(matches!(refused(config, 1, 0), BuildError::Unsupported(_)));
    }

    proptest! {
        #[test]
        fn headers_round_trip(
            scid in 0u16..1024,
            vcid in 0u8..64,
            count in 0u32..COUNT_MODULUS,
            replay: bool,
            cycle in prop::option::of(0u8..16),
        ) {
            let header = AosHeader { scid, vcid, count, replay, cycle };
            let bytes = header.emit();
            prop_assert_eq!(AosHeader::read(bytes, true), header);
            prop_assert_eq!(bytes[5] >> 7, u8::from(replay));
            prop_assert_eq!(bytes[5] >> 6 & 1, u8::from(cycle.is_some()));
        }

        #[test]
        fn any_bytes_in_any_configuration_are_survived(
            bytes in prop::collection::vec(any::<u8>(), 0..80),
            insert_zone in 0usize..80,
            flags in 0u8..16,
        ) {
            let config = AosConfig {
                length: bytes.len(),
                insert_zone,
                header_error_control: flags & 1 != 0,
                ocf: flags & 2 != 0,
                fecf: flags & 4 != 0,
                wide_scid: flags & 8 != 0,
                ..AosConfig::new(0)
            };
            if let Ok(frame) = AosFrame::parse(&bytes, &config) {
                prop_assert!(!frame.packet_zone().is_empty());
                prop_assert!(frame.packet_zone().end <= bytes.len());
                prop_assert_eq!(frame.insert_zone().len(), insert_zone);
                prop_assert_eq!(frame.ocf().is_some(), config.ocf);
                frame.fecf_holds();
            }
        }
    }
}
