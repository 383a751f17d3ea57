//! TC transfer frames (CCSDS 232.0-B-4): commands and segments of them, of variable length.
//!
//! [`TcFrame::parse`] proves the lengths once; no accessor of the view can panic afterwards.

use super::{BuildError, FrameError, VirtualChannel, room};
use crate::fec::crc::{CRC16_BYTES, crc16, crc16_holds};
use alloc::vec::Vec;
use core::ops::Range;

/// Transfer frame version number of TC (CCSDS 232.0-B-4 §4.1.2.2).
pub const VERSION: u8 = 0;
/// Length of the primary header (CCSDS 232.0-B-4 §4.1.2).
pub const HEADER_BYTES: usize = 5;
/// Length of the segment header (CCSDS 232.0-B-4 §4.1.3.2.2).
pub const SEGMENT_BYTES: usize = 1;
/// Longest frame: the length field's ten bits hold the length less one
/// (CCSDS 232.0-B-4 §4.1.2.7).
pub const MAX_BYTES: usize = 1024;
/// Frames before the sequence number starts again.
pub const COUNT_MODULUS: u32 = 1 << 8;

/// The managed parameters of a virtual channel: a frame does not tell them itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcConfig {
    /// Frames that carry data start with a segment header; control frames never do.
    pub segments: bool,
    /// A CRC-16 ends the frame.
    pub fecf: bool,
    /// Who carries units of the mission's own instead of packets: bit n stands for access point
    /// n, or for virtual channel n where there are no segment headers.
    pub access: u64,
}

impl TcConfig {
    /// Frames that carry packets.
    pub const fn new(segments: bool, fecf: bool) -> Self {
        Self { segments, fecf, access: 0 }
    }
}

/// What a frame is for, told by its bypass and control command flags
/// (CCSDS 232.0-B-4 §4.1.2.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TcType {
    /// Data in sequence: the spacecraft accepts it in order only.
    #[default]
    Ad,
    /// Data that bypasses the sequence check.
    Bd,
    /// A control command to the spacecraft's acceptance check (CCSDS 232.1-B-2).
    Bc,
    /// The flags' fourth combination, which nobody may send.
    Reserved,
}

/// The fields of a primary header that a sender chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcHeader {
    /// What the frame is for.
    pub kind: TcType,
    /// Spacecraft identifier, ten bits.
    pub scid: u16,
    /// Virtual channel, six bits.
    pub vcid: u8,
    /// Number in the sequence of AD frames; 0 in all others (CCSDS 232.0-B-4 §4.1.2.8).
    pub count: u8,
}

impl TcHeader {
    fn read(bytes: [u8; HEADER_BYTES]) -> (Self, usize) {
        let [a, b, c, d, count] = bytes;
        let kind = match a >> 4 & 0b11 {
            0b00 => TcType::Ad,
            0b10 => TcType::Bd,
            0b11 => TcType::Bc,
            _ => TcType::Reserved,
        };
        let scid = u16::from_be_bytes([a & 0x03, b]);
        let length = usize::from(u16::from_be_bytes([c & 0x03, d])) + 1;
        (Self { kind, scid, vcid: c >> 2, count }, length)
    }

    fn emit(&self, length_field: u16) -> [u8; HEADER_BYTES] {
        let kind = match self.kind {
            TcType::Ad => 0b00,
            TcType::Reserved => 0b01,
            TcType::Bd => 0b10,
            TcType::Bc => 0b11u16,
        };
        let [a, b] = (kind << 12 | (self.scid & 0x3FF)).to_be_bytes();
        let [c, d] = (u16::from(self.vcid & 0x3F) << 10 | (length_field & 0x3FF)).to_be_bytes();
        [a, b, c, d, self.count]
    }
}

/// Where a segment stands in its service data unit (CCSDS 232.0-B-4 §4.1.3.2.2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// Goes on with a unit.
    Continuation,
    /// Starts a unit.
    First,
    /// Ends a unit.
    Last,
    /// Holds one whole unit or several.
    #[default]
    Unsegmented,
}

/// The byte that leads the data of frames with segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Place in the unit.
    pub segment: Segment,
    /// Multiplexer access point, six bits.
    pub map: u8,
}

impl SegmentHeader {
    /// Reads the byte.
    pub const fn from_bits(bits: u8) -> Self {
        let segment = match bits >> 6 {
            0b00 => Segment::Continuation,
            0b01 => Segment::First,
            0b10 => Segment::Last,
            _ => Segment::Unsegmented,
        };
        Self { segment, map: bits & 0x3F }
    }

    /// The byte.
    pub const fn bits(self) -> u8 {
        let segment = match self.segment {
            Segment::Continuation => 0b00,
            Segment::First => 0b01,
            Segment::Last => 0b10,
            Segment::Unsegmented => 0b11,
        };
        segment << 6 | self.map & 0x3F
    }
}

/// A control command (CCSDS 232.0-B-4 §4.1.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Leave lockout.
    Unlock,
    /// Expect this sequence number next.
    SetExpected(u8),
}

impl Control {
    /// Reads the data field of a BC frame; `None` for a command that the book does not know.
    pub const fn read(data: &[u8]) -> Option<Self> {
        match *data {
            [0] => Some(Self::Unlock),
            [0x82, 0, expected] => Some(Self::SetExpected(expected)),
            _ => None,
        }
    }

    /// The whole frame that carries it.
    pub fn frame(self, scid: u16, vcid: u8, fecf: bool) -> Result<Vec<u8>, BuildError> {
        let header = TcHeader { kind: TcType::Bc, scid, vcid, count: 0 };
        match self {
            Self::Unlock => build(&header, None, &[0], fecf),
            Self::SetExpected(expected) => build(&header, None, &[0x82, 0, expected], fecf),
        }
    }
}

/// How many bytes the frame takes that starts at the first byte, told by its header; `None` where
/// the header is cut or of another version.
pub fn extent(bytes: &[u8]) -> Option<usize> {
    let header = bytes.first_chunk::<HEADER_BYTES>()?;
    let length = TcHeader::read(*header).1;
    (header[0] >> 6 == VERSION && length > HEADER_BYTES).then_some(length)
}

/// A frame, seen in place.
#[derive(Clone, Debug)]
pub struct TcFrame<'a> {
    bytes: &'a [u8],
    header: TcHeader,
    segment: Option<SegmentHeader>,
    fecf: bool,
    data: Range<usize>,
}

impl<'a> TcFrame<'a> {
    /// Reads bytes that are exactly one frame. The CRC is not checked: see [`Self::fecf_holds`].
    pub fn parse(bytes: &'a [u8], config: &TcConfig) -> Result<Self, FrameError> {
        let (head, after) = bytes
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(FrameError::NoRoom { overhead: HEADER_BYTES, length: bytes.len() })?;
        let found = head[0] >> 6;
        if found != VERSION {
            return Err(FrameError::Version { expected: VERSION, found });
        }
        let (header, length) = TcHeader::read(*head);
        if length != bytes.len() {
            return Err(FrameError::Length { expected: length, found: bytes.len() });
        }
        let segment = match after.first() {
            Some(byte) if config.segments && matches!(header.kind, TcType::Ad | TcType::Bd) => {
                Some(SegmentHeader::from_bits(*byte))
            }
            _ => None,
        };
        let start = HEADER_BYTES + if segment.is_some() { SEGMENT_BYTES } else { 0 };
        let data = room(length, start, if config.fecf { CRC16_BYTES } else { 0 })?;
        Ok(Self { bytes, header, segment, fecf: config.fecf, data })
    }

    /// The primary header.
    pub const fn header(&self) -> &TcHeader {
        &self.header
    }

    /// The channel that this frame belongs to, access point included where it tells one.
    pub fn channel(&self) -> VirtualChannel {
        let map = self.segment.map_or(0, |segment| segment.map);
        VirtualChannel { version: VERSION, scid: self.header.scid, vcid: self.header.vcid, map }
    }

    /// The segment header, where the channel has segments and the frame carries data.
    pub const fn segment(&self) -> Option<SegmentHeader> {
        self.segment
    }

    /// Where the data lies in the frame; at least one byte.
    pub fn zone(&self) -> Range<usize> {
        self.data.clone()
    }

    /// What follows the headers; at least one byte.
    pub fn data(&self) -> &'a [u8] {
        self.bytes.get(self.data.clone()).unwrap_or(&[])
    }

    /// The control command, in a frame of type BC that holds a known one.
    pub fn control(&self) -> Option<Control> {
        if self.header.kind == TcType::Bc { Control::read(self.data()) } else { None }
    }

    /// Whether the CRC-16 holds; true where none is configured.
    pub fn fecf_holds(&self) -> bool {
        !self.fecf || crc16_holds(self.bytes)
    }
}

/// Writes a frame (CCSDS 232.0-B-4 §4.1): headers, the data as it is, the check field.
pub fn build(
    header: &TcHeader,
    segment: Option<SegmentHeader>,
    data: &[u8],
    fecf: bool,
) -> Result<Vec<u8>, BuildError> {
    let map = segment.map_or(0, |segment| segment.map);
    let limits = [
        ("spacecraft identifier", header.scid, 0x3FF),
        ("virtual channel", header.vcid.into(), 0x3F),
        ("multiplexer access point", map.into(), 0x3F),
    ];
    for (field, value, max) in limits {
        if value > max {
            return Err(BuildError::Identifier { field, value, max });
        }
    }
    let overhead = HEADER_BYTES
        + if segment.is_some() { SEGMENT_BYTES } else { 0 }
        + if fecf { CRC16_BYTES } else { 0 };
    let max = MAX_BYTES - overhead;
    if !(1..=max).contains(&data.len()) {
        return Err(BuildError::Data { length: data.len(), max });
    }
    let length = overhead + data.len();
    let mut frame = Vec::with_capacity(length);
    frame.extend_from_slice(&header.emit((length - 1) as u16));
    frame.extend(segment.map(SegmentHeader::bits));
    frame.extend_from_slice(data);
    if fecf {
        let check = crc16(&frame);
        frame.extend_from_slice(&check.to_be_bytes());
    }
    assert_eq!(frame.len(), length, "the length field says how long the frame is");
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// UNLOCK of channel 0 of spacecraft 123, with its check field, as a dump has it.
    const UNLOCK: [u8; 8] = [0x30, 0x7B, 0x00, 0x07, 0x00, 0x00, 0x55, 0x75];

    #[test]
    fn golden_control_frame() {
        let config = TcConfig::new(true, true);
        let frame = TcFrame::parse(&UNLOCK, &config).unwrap();
        assert_eq!(frame.header().kind, TcType::Bc);
        assert_eq!((frame.header().scid, frame.header().vcid, frame.header().count), (123, 0, 0));
        assert_eq!((frame.segment(), frame.data()), (None, &[0][..]));
        assert_eq!(frame.control(), Some(Control::Unlock));
        assert!(frame.fecf_holds());
        assert_eq!(Control::Unlock.frame(123, 0, true).unwrap(), UNLOCK);
        let set = Control::SetExpected(9).frame(123, 0, false).unwrap();
        assert_eq!(set, [0x30, 0x7B, 0x00, 0x07, 0x00, 0x82, 0x00, 0x09]);
        let set = TcFrame::parse(&set, &TcConfig::default()).unwrap().control();
        assert_eq!(set, Some(Control::SetExpected(9)));
    }

    #[test]
    fn golden_segment() {
        // Spacecraft 123, channel 0, type BD, 1024 bytes, first segment of access point 0.
        let header = TcHeader { kind: TcType::Bd, scid: 123, vcid: 0, count: 0 };
        let segment = SegmentHeader { segment: Segment::First, map: 0 };
        let frame = build(&header, Some(segment), &[0xFE; 1018], false).unwrap();
        assert_eq!(frame.len(), MAX_BYTES);
        assert_eq!(frame[..7], [0x20, 0x7B, 0x03, 0xFF, 0x00, 0x40, 0xFE]);
        let full = build(&header, Some(segment), &[0; 1019], false).unwrap_err();
        assert_eq!(full, BuildError::Data { length: 1019, max: 1018 });
        assert!(build(&header, None, &[], false).is_err());
        let wide = TcHeader { scid: 1024, ..header };
        assert!(matches!(build(&wide, None, &[0], false), Err(BuildError::Identifier { .. })));
    }

    #[test]
    fn every_truncation_and_every_flip_is_noticed() {
        let config = TcConfig::new(true, true);
        for end in 0..UNLOCK.len() {
            assert!(TcFrame::parse(&UNLOCK[..end], &config).is_err(), "{end}");
        }
        for bit in 0..UNLOCK.len() * 8 {
            let mut bytes = UNLOCK;
            bytes[bit / 8] ^= 0x80 >> (bit % 8);
            if let Ok(frame) = TcFrame::parse(&bytes, &config) {
                assert!(!frame.fecf_holds(), "bit {bit}");
            }
        }
        // Long enough for a header, too short for its own trailer.
        let short = TcFrame::parse(&[0x30, 0x7B, 0, 6, 0, 0, 0], &config).unwrap_err();
        assert!(matches!(short, FrameError::NoRoom { .. }));
    }

    proptest! {
        #[test]
        fn frames_round_trip(
            kind in prop::sample::select(&[TcType::Ad, TcType::Bd][..]),
            (scid, vcid, count) in (0u16..1024, 0u8..64, any::<u8>()),
            segment in prop::option::of(any::<u8>().prop_map(SegmentHeader::from_bits)),
            data in prop::collection::vec(any::<u8>(), 1..1016),
            fecf: bool,
        ) {
            let header = TcHeader { kind, scid, vcid, count };
            let bytes = build(&header, segment, &data, fecf).unwrap();
            prop_assert_eq!(extent(&bytes), Some(bytes.len()));
            let config = TcConfig::new(segment.is_some(), fecf);
            let frame = TcFrame::parse(&bytes, &config).unwrap();
            prop_assert_eq!(*frame.header(), header);
            prop_assert_eq!((frame.segment(), frame.data()), (segment, &data[..]));
            prop_assert!(frame.fecf_holds());
        }

        #[test]
        fn any_bytes_are_survived(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            segments: bool,
            fecf: bool,
        ) {
            extent(&bytes);
            if let Ok(frame) = TcFrame::parse(&bytes, &TcConfig::new(segments, fecf)) {
                prop_assert!(!frame.data().is_empty());
                frame.control();
            }
        }
    }
}
