//! AOS transfer frames (CCSDS 732.0-B-5): packets (M_PDU), bits (B_PDU) or a mission's own units.

mod control;

use super::pack::Packer;
use super::{BuildError, FirstHeader, FrameError, OCF_BYTES, VirtualChannel, room};
use crate::fec::crc::{CRC16_BYTES, crc16, crc16_holds};
use crate::packet::idle::IdleFill;
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
    /// Two bytes of header error control follow the header, which correct up to two wrong symbols
    /// of four bits in everything but the frame count.
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
    corrected_symbols: u8,
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
        let (header, after) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(length)?;
        let (mut header, mut corrected_symbols) = (*header, 0);
        if config.header_error_control {
            let check = after.first_chunk().ok_or(length)?;
            let corrected = control::correct(header, *check).ok_or(FrameError::HeaderControl)?;
            (header, corrected_symbols) = (corrected.header, corrected.symbols);
        }
        let found = header[0] >> 6;
        if found != VERSION {
            return Err(FrameError::Version { expected: VERSION, found });
        }
        let header = AosHeader::read(header, config.wide_scid);
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
        Ok(Self { bytes, header, corrected_symbols, config, service, zone, pointer })
    }

    /// Symbols of the header that its error control corrected, 0 to 2. The frame's CRC, if it has
    /// one, covers the header as it came and fails with them.
    pub const fn corrected_symbols(&self) -> u8 {
        self.corrected_symbols
    }

    /// The primary header, corrected.
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
        // Channel 63 is idle: see [`AosIdle`].
        let max = u16::from(IDLE_VCID) - 1;
        if u16::from(vcid) > max {
            let field = "virtual channel";
            return Err(BuildError::Identifier { field, value: vcid.into(), max });
        }
        if config.service(vcid) != Service::Packets {
            return Err(BuildError::Service(vcid));
        }
        let zone = config.packet_zone().map_err(|_| BuildError::Zone(0))?;
        let packer = Packer::new(zone.len())?;
        let framer = Framer::new(config, scid, vcid, first_count)?;
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
    fn new(config: AosConfig, scid: u16, vcid: u8, first_count: u32) -> Result<Self, BuildError> {
        let max = if config.wide_scid { 0x3FF } else { 0xFF };
        if scid > max {
            let field = "spacecraft identifier";
            return Err(BuildError::Identifier { field, value: scid, max });
        }
        let count = first_count % COUNT_MODULUS;
        Ok(Self { config, scid, vcid, count, ocf: [0; OCF_BYTES] })
    }

    /// A frame that carries packets.
    fn frame(&mut self, pointer: FirstHeader, zone: &[u8]) -> Bytes {
        let mut frame = self.begin();
        frame.extend_from_slice(&pointer.bits().to_be_bytes());
        frame.extend_from_slice(zone);
        self.end(frame)
    }

    /// Everything before the data field.
    fn begin(&mut self) -> Vec<u8> {
        let Self { config, scid, vcid, count, .. } = self;
        let header =
            AosHeader { scid: *scid, vcid: *vcid, count: *count, replay: false, cycle: None };
        *count = (*count + 1) % COUNT_MODULUS;
        let header = header.emit();
        let mut frame = Vec::with_capacity(config.length);
        frame.extend_from_slice(&header);
        if config.header_error_control {
            frame.extend_from_slice(&control::encode(header));
        }
        frame.resize(config.data_start(), 0);
        frame
    }

    /// Everything behind it.
    fn end(&self, mut frame: Vec<u8>) -> Bytes {
        if self.config.ocf {
            frame.extend_from_slice(&self.ocf);
        }
        if self.config.fecf {
            let check = crc16(&frame);
            frame.extend_from_slice(&check.to_be_bytes());
        }
        let length = self.config.length;
        assert_eq!(frame.len(), length, "the data fills what headers and trailers leave");
        frame.into()
    }
}

/// Makes the frames of virtual channel 63, which hold only idle data: what a physical channel
/// sends while no other has anything to say (CCSDS 732.0-B-5 §4.1.4.1).
#[derive(Clone, Debug)]
pub struct AosIdle {
    framer: Framer,
    fill: IdleFill,
    field: usize,
}

impl AosIdle {
    /// Idle frames of a spacecraft, the first with `first_count`.
    pub fn new(config: AosConfig, scid: u16, first_count: u32) -> Result<Self, BuildError> {
        let framer = Framer::new(config, scid, IDLE_VCID, first_count)?;
        let (start, trailer) = (framer.config.data_start(), framer.config.trailer());
        let field = room(framer.config.length, start, trailer).map_err(|_| BuildError::Zone(0))?;
        Ok(Self { framer, fill: IdleFill::new(), field: field.len() })
    }

    /// Sets the operational control field of the frames that follow.
    pub const fn set_ocf(&mut self, ocf: [u8; OCF_BYTES]) {
        self.framer.ocf = ocf;
    }

    /// The next frame; the fill runs on from the one before.
    pub fn frame(&mut self) -> Bytes {
        let mut frame = self.framer.begin();
        let start = frame.len();
        frame.resize(start + self.field, 0);
        self.fill.fill(frame.get_mut(start..).unwrap_or_default());
        self.framer.end(frame)
    }
}

#[cfg(test)]
mod tests;
