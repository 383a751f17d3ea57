//! USLP transfer frames (CCSDS 732.1-B-3): fixed or variable length, either direction.
//!
//! [`UslpFrame::parse`] proves the lengths and the pointer once; no accessor of the view can panic
//! afterwards. The truncated frame of annex D, which tells neither its length nor its fields, reads
//! where its length is configured.

use super::{BuildError, FrameError, MAX_FRAME_BYTES, OCF_BYTES, VirtualChannel, room};
use crate::fec::crc::{
    CRC16_BYTES, CRC32_BYTES, crc16, crc16_holds, crc32_frame, crc32_frame_holds,
};
use crate::packet::idle::IdleFill;
use alloc::{vec, vec::Vec};
use core::ops::Range;

/// Transfer frame version number of USLP (CCSDS 732.1-B-3 §4.1.2.2.2), four bits.
pub const VERSION: u8 = 0b1100;
/// Length of the primary header without the frame count (CCSDS 732.1-B-3 §4.1.2).
pub const HEADER_BYTES: usize = 7;
/// Length of the header of a truncated frame (CCSDS 732.1-B-3 annex D).
pub const TRUNCATED_HEADER_BYTES: usize = 4;
/// Longest truncated frame (CCSDS 732.1-B-3 annex D1.3.2); the shortest has a byte of data.
pub const MAX_TRUNCATED_BYTES: usize = 32;
/// The virtual channel of frames that hold only idle data (CCSDS 732.1-B-3 §4.1.4.1).
pub const IDLE_VCID: u8 = 63;
/// Longest frame count (CCSDS 732.1-B-3 §4.1.2.11).
pub const MAX_COUNT_BYTES: u8 = 7;
/// Protocol identifier of space and encapsulation packets (CCSDS 732.1-B-3 §4.1.4.2.3).
pub const UPID_PACKETS: u8 = 0;
/// Protocol identifier of idle data.
pub const UPID_IDLE: u8 = 31;

/// The check field that ends a frame; a managed parameter (CCSDS 732.1-B-3 §4.1.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fecf {
    /// None.
    #[default]
    None,
    /// Two bytes (CCSDS 732.1-B-3 annex B1).
    Crc16,
    /// Four bytes (CCSDS 732.1-B-3 annex B2).
    Crc32,
}

impl Fecf {
    const fn bytes(self) -> usize {
        match self {
            Self::None => 0,
            Self::Crc16 => CRC16_BYTES,
            Self::Crc32 => CRC32_BYTES,
        }
    }
}

/// The managed parameters of a physical channel: a frame does not tell them itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UslpConfig {
    /// Length of every frame; `None` where each tells its own.
    pub length: Option<usize>,
    /// Length of the insert zone; 0 for none. Only frames of a fixed length have one.
    pub insert_zone: usize,
    /// What ends the frame.
    pub fecf: Fecf,
    /// Length of truncated frames, 6 to [`MAX_TRUNCATED_BYTES`]; `None` where the mission has none.
    pub truncated_bytes: Option<usize>,
}

impl UslpConfig {
    /// Plain frames, of one length or of any: no insert zone, no check field.
    pub const fn new(length: Option<usize>) -> Self {
        Self { length, insert_zone: 0, fecf: Fecf::None, truncated_bytes: None }
    }

    /// How many bytes the frame takes that starts at the first byte: as configured, or as its
    /// header says.
    pub fn extent(&self, bytes: &[u8]) -> Option<usize> {
        let truncated = is_truncated(bytes) && bytes.first()? >> 4 == VERSION;
        match (truncated, self.length) {
            (true, _) => self.truncated_bytes,
            (false, Some(length)) => Some(length),
            (false, None) => extent(bytes),
        }
    }
}

/// A frame count of as many bytes as its virtual channel needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// The count.
    pub value: u64,
    /// Length of its field, 0 to [`MAX_COUNT_BYTES`].
    pub bytes: u8,
}

impl Count {
    /// Frames before the count starts again: a loss of a multiple is invisible.
    pub const fn modulus(self) -> u64 {
        let bytes = if self.bytes > MAX_COUNT_BYTES { MAX_COUNT_BYTES } else { self.bytes };
        1 << (8 * bytes as u32)
    }
}

/// The fields of a primary header that a sender chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UslpHeader {
    /// Spacecraft identifier.
    pub scid: u16,
    /// The spacecraft is the destination of the frame, not its source.
    pub destination: bool,
    /// Virtual channel, six bits.
    pub vcid: u8,
    /// Multiplexer access point, four bits.
    pub map: u8,
    /// The frame bypasses the receiver's sequence check (expedited, not sequence-controlled).
    pub bypass: bool,
    /// The frame holds protocol control commands, not user data.
    pub control: bool,
    /// Count of the virtual channel.
    pub count: Count,
}

impl UslpHeader {
    /// The fields, and the length field and whether an operational control field follows.
    fn read(bytes: [u8; HEADER_BYTES], count: u64) -> (Self, usize, bool) {
        let [a, b, c, d, e, f, flags] = bytes;
        let identifier = u32::from_be_bytes([a, b, c, d]);
        let header = Self {
            scid: (identifier >> 12) as u16,
            destination: identifier >> 11 & 1 != 0,
            vcid: (identifier >> 5 & 0x3F) as u8,
            map: (identifier >> 1 & 0x0F) as u8,
            bypass: flags & 0x80 != 0,
            control: flags & 0x40 != 0,
            count: Count { value: count, bytes: flags & 0x07 },
        };
        (header, usize::from(u16::from_be_bytes([e, f])) + 1, flags & 0x08 != 0)
    }

    fn emit(&self, length_field: u16, ocf: bool) -> [u8; HEADER_BYTES] {
        let identifier = u32::from(VERSION) << 28
            | u32::from(self.scid) << 12
            | u32::from(self.destination) << 11
            | u32::from(self.vcid & 0x3F) << 5
            | u32::from(self.map & 0x0F) << 1;
        let ([a, b, c, d], [e, f]) = (identifier.to_be_bytes(), length_field.to_be_bytes());
        let flags = u8::from(self.bypass) << 7
            | u8::from(self.control) << 6
            | u8::from(ocf) << 3
            | self.count.bytes & 0x07;
        [a, b, c, d, e, f, flags]
    }
}

/// How the data zone is made (CCSDS 732.1-B-3 §4.1.4.2.2). The pointers of the first three are
/// `None` where the field holds all ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Packets that may span frames; the first that starts here starts at this byte.
    Packets(Option<u16>),
    /// Starts a unit of a fixed-length zone; its last byte is this one, if it ends here.
    UnitStart(Option<u16>),
    /// Goes on with such a unit; its last byte is this one, if it ends here.
    UnitContinuation(Option<u16>),
    /// A stream of bytes.
    Stream,
    /// Starts a segmented unit.
    SegmentFirst,
    /// Goes on with a segmented unit.
    SegmentContinuation,
    /// Ends a segmented unit.
    SegmentLast,
    /// Whole units.
    Unsegmented,
}

impl Rule {
    const NONE: u16 = 0xFFFF;

    /// The rule of three bits; those without a pointer ignore it.
    fn read(bits: u8, pointer: u16) -> Self {
        let pointer = (pointer != Self::NONE).then_some(pointer);
        match bits & 0x07 {
            0b000 => Self::Packets(pointer),
            0b001 => Self::UnitStart(pointer),
            0b010 => Self::UnitContinuation(pointer),
            0b011 => Self::Stream,
            0b100 => Self::SegmentFirst,
            0b101 => Self::SegmentContinuation,
            0b110 => Self::SegmentLast,
            _ => Self::Unsegmented,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Packets(_) => 0b000,
            Self::UnitStart(_) => 0b001,
            Self::UnitContinuation(_) => 0b010,
            Self::Stream => 0b011,
            Self::SegmentFirst => 0b100,
            Self::SegmentContinuation => 0b101,
            Self::SegmentLast => 0b110,
            Self::Unsegmented => 0b111,
        }
    }

    /// The pointer field; `None` for rules without one.
    fn field(self) -> Option<u16> {
        match self {
            Self::Packets(pointer) | Self::UnitStart(pointer) | Self::UnitContinuation(pointer) => {
                Some(pointer.unwrap_or(Self::NONE))
            }
            _ => None,
        }
    }

    /// Length of the data field header (CCSDS 732.1-B-3 §4.1.4.2).
    fn header_bytes(self) -> usize {
        if self.field().is_some() { 3 } else { 1 }
    }

    /// Refuses pointers that leave the zone.
    fn check(self, zone: usize) -> Result<(), FrameError> {
        match self.field() {
            Some(at) if at != Self::NONE && usize::from(at) >= zone => {
                Err(FrameError::Pointer { pointer: usize::from(at), zone })
            }
            _ => Ok(()),
        }
    }
}

/// How many bytes the frame takes that starts at the first byte, told by its header; `None` where
/// the header is cut, truncated by design, or of another version.
pub fn extent(bytes: &[u8]) -> Option<usize> {
    let header = bytes.first_chunk::<HEADER_BYTES>()?;
    let whole = header[0] >> 4 == VERSION && header[3] & 1 == 0;
    whole.then(|| UslpHeader::read(*header, 0).1)
}

/// Whether a header ends after its identifiers (CCSDS 732.1-B-3 §4.1.2.7).
fn is_truncated(bytes: &[u8]) -> bool {
    bytes.get(3).is_some_and(|byte| byte & 1 != 0)
}

/// A frame, seen in place.
#[derive(Clone, Debug)]
pub struct UslpFrame<'a> {
    bytes: &'a [u8],
    header: UslpHeader,
    insert: Range<usize>,
    rule: Rule,
    upid: u8,
    zone: Range<usize>,
    ocf: bool,
    fecf: Fecf,
}

impl<'a> UslpFrame<'a> {
    /// Reads bytes that are exactly one frame. The CRC is not checked: see [`Self::fecf_holds`].
    pub fn parse(bytes: &'a [u8], config: &UslpConfig) -> Result<Self, FrameError> {
        let found = bytes.first().map_or(VERSION, |first| first >> 4);
        if found != VERSION {
            return Err(FrameError::Version { expected: VERSION, found });
        }
        if is_truncated(bytes) {
            return Self::truncated(bytes, config);
        }
        let short = |overhead| FrameError::NoRoom { overhead, length: bytes.len() };
        let (head, after) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(short(HEADER_BYTES))?;
        let counted = usize::from(head[6] & 0x07);
        let count = after.get(..counted).ok_or(short(HEADER_BYTES + counted))?;
        let count = count.iter().fold(0, |count, byte| count << 8 | u64::from(*byte));
        let (header, length, ocf) = UslpHeader::read(*head, count);
        if length != bytes.len() {
            return Err(FrameError::Length { expected: length, found: bytes.len() });
        }
        if config.length.is_some_and(|expected| expected != length) {
            let expected = config.length.unwrap_or(length);
            return Err(FrameError::Length { expected, found: length });
        }
        let insert =
            HEADER_BYTES + counted..(HEADER_BYTES + counted).saturating_add(config.insert_zone);
        let trailer = if ocf { OCF_BYTES } else { 0 } + config.fecf.bytes();
        let field = room(length, insert.end, trailer)?;
        let field_bytes = bytes.get(field.clone()).unwrap_or(&[]);
        let first = field_bytes.first().copied().unwrap_or(0);
        let pointer = match *field_bytes {
            [_, high, low, ..] => u16::from_be_bytes([high, low]),
            _ => 0,
        };
        let rule = Rule::read(first >> 5, pointer);
        let zone = room(length, field.start + rule.header_bytes(), trailer)?;
        rule.check(zone.len())?;
        Ok(Self { bytes, header, insert, rule, upid: first & 0x1F, zone, ocf, fecf: config.fecf })
    }

    /// Reads a truncated frame: identifiers, one byte of data field header and whole units of data.
    /// It has no count, no insert zone and no trailer (CCSDS 732.1-B-3 annex D1).
    fn truncated(bytes: &'a [u8], config: &UslpConfig) -> Result<Self, FrameError> {
        let expected = config.truncated_bytes.ok_or(FrameError::Truncated)?;
        let found = bytes.len();
        if found != expected || found > MAX_TRUNCATED_BYTES {
            return Err(FrameError::Length { expected, found });
        }
        let start = TRUNCATED_HEADER_BYTES + 1;
        let zone = room(found, start, 0)?;
        let Some(&[a, b, c, d, field]) = bytes.first_chunk() else {
            return Err(FrameError::NoRoom { overhead: start, length: found });
        };
        let rule = Rule::read(field >> 5, Rule::NONE);
        if rule != Rule::Unsegmented {
            return Err(FrameError::TruncatedRule(rule.bits()));
        }
        let (header, ..) = UslpHeader::read([a, b, c, d, 0, 0, 0], 0);
        let upid = field & 0x1F;
        Ok(Self { bytes, header, insert: 0..0, rule, upid, zone, ocf: false, fecf: Fecf::None })
    }

    /// The primary header; that of a truncated frame has only identifiers.
    pub const fn header(&self) -> &UslpHeader {
        &self.header
    }

    /// The channel that this frame belongs to, access point included.
    pub const fn channel(&self) -> VirtualChannel {
        let UslpHeader { scid, vcid, map, .. } = self.header;
        VirtualChannel { version: VERSION, scid, vcid, map }
    }

    /// How the data zone is made.
    pub const fn rule(&self) -> Rule {
        self.rule
    }

    /// What the data zone holds: a protocol identifier of the standard's registry.
    pub const fn upid(&self) -> u8 {
        self.upid
    }

    /// Where the data zone lies in the frame; at least one byte.
    pub fn zone(&self) -> Range<usize> {
        self.zone.clone()
    }

    /// The data, without the fill behind the last byte of a unit.
    pub fn data(&self) -> &'a [u8] {
        let zone = self.bytes.get(self.zone.clone()).unwrap_or(&[]);
        match self.rule {
            Rule::UnitStart(Some(last)) | Rule::UnitContinuation(Some(last)) => {
                zone.get(..=usize::from(last)).unwrap_or(zone)
            }
            _ => zone,
        }
    }

    /// Whether the frame holds only fill.
    pub const fn is_idle(&self) -> bool {
        self.header.vcid == IDLE_VCID
    }

    /// The insert zone; empty where none is configured.
    pub fn insert_zone(&self) -> &'a [u8] {
        self.bytes.get(self.insert.clone()).unwrap_or(&[])
    }

    /// The operational control field, where this frame has one.
    pub fn ocf(&self) -> Option<[u8; OCF_BYTES]> {
        let after = self.bytes.get(self.zone.end..)?;
        if self.ocf { after.first_chunk().copied() } else { None }
    }

    /// Whether the check field holds; true where none is configured.
    pub fn fecf_holds(&self) -> bool {
        match self.fecf {
            Fecf::None => true,
            Fecf::Crc16 => crc16_holds(self.bytes),
            Fecf::Crc32 => crc32_frame_holds(self.bytes),
        }
    }
}

/// What a frame holds around its primary header.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// Insert zone; empty for none.
    pub insert_zone: &'a [u8],
    /// How the data zone is made.
    pub rule: Rule,
    /// What it holds.
    pub upid: u8,
    /// The data zone, fill included.
    pub zone: &'a [u8],
    /// Operational control field.
    pub ocf: Option<[u8; OCF_BYTES]>,
    /// What ends the frame.
    pub fecf: Fecf,
}

/// Writes a frame (CCSDS 732.1-B-3 §4.1).
pub fn build(header: &UslpHeader, content: &Content<'_>) -> Result<Vec<u8>, BuildError> {
    let Content { insert_zone, rule, upid, zone, ocf, fecf } = *content;
    let count = header.count;
    let limits = [
        ("virtual channel", header.vcid, 0x3F),
        ("multiplexer access point", header.map, 0x0F),
        ("length of the frame count", count.bytes, MAX_COUNT_BYTES),
        ("protocol identifier", upid, 0x1F),
    ];
    for (field, value, max) in limits {
        if value > max {
            return Err(BuildError::Identifier { field, value: value.into(), max: max.into() });
        }
    }
    let overhead = HEADER_BYTES
        + usize::from(count.bytes)
        + insert_zone.len()
        + rule.header_bytes()
        + if ocf.is_some() { OCF_BYTES } else { 0 }
        + fecf.bytes();
    let max = MAX_FRAME_BYTES.saturating_sub(overhead);
    if !(1..=max).contains(&zone.len()) || rule.check(zone.len()).is_err() {
        return Err(BuildError::Data { length: zone.len(), max });
    }
    let length = overhead + zone.len();
    let mut frame = Vec::with_capacity(length);
    frame.extend_from_slice(&header.emit((length - 1) as u16, ocf.is_some()));
    let value = (count.value % count.modulus()).to_be_bytes();
    frame.extend(value.into_iter().skip(8 - usize::from(count.bytes)));
    frame.extend_from_slice(insert_zone);
    frame.push(rule.bits() << 5 | upid);
    frame.extend(rule.field().map(u16::to_be_bytes).into_iter().flatten());
    frame.extend_from_slice(zone);
    frame.extend(ocf.into_iter().flatten());
    match fecf {
        Fecf::None => {}
        Fecf::Crc16 => frame.extend(crc16(&frame).to_be_bytes()),
        Fecf::Crc32 => frame.extend(crc32_frame(&frame).to_be_bytes()),
    }
    assert_eq!(frame.len(), length, "the length field says how long the frame is");
    Ok(frame)
}

/// Writes a frame of only idle data (CCSDS 732.1-B-3 §4.1.4.1): virtual channel 63 and the
/// protocol identifier of fill, whatever the header and content given say of them.
pub fn build_idle(
    header: &UslpHeader,
    config: &UslpConfig,
    length: usize,
    ocf: Option<[u8; OCF_BYTES]>,
    fill: &mut IdleFill,
) -> Result<Vec<u8>, BuildError> {
    let header = UslpHeader { vcid: IDLE_VCID, ..*header };
    let rule = Rule::Unsegmented;
    let trailer = if ocf.is_some() { OCF_BYTES } else { 0 } + config.fecf.bytes();
    let start = (HEADER_BYTES + usize::from(header.count.bytes) + rule.header_bytes())
        .saturating_add(config.insert_zone);
    let max = MAX_FRAME_BYTES;
    let full = BuildError::Data { length, max };
    if length > max {
        return Err(full);
    }
    let field = room(length, start, trailer).map_err(|_| full)?;
    let (insert_zone, mut zone) = (vec![0; config.insert_zone], vec![0; field.len()]);
    fill.fill(&mut zone);
    let (insert_zone, zone) = (insert_zone.as_slice(), zone.as_slice());
    let upid = UPID_IDLE;
    build(&header, &Content { insert_zone, rule, upid, zone, ocf, fecf: config.fecf })
}

#[cfg(test)]
mod tests;
