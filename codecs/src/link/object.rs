//! Objects: a header and a run of units of one key prefix, one object a unidirectional stream.

use alloc::{collections::VecDeque, vec::Vec};
use bytes::{Buf as _, Bytes, BytesMut};

use super::{MAX_OBJECT_BYTES, MAX_UNIT_BYTES};
use crate::{
    fec::crc::{Crc32c, crc32c},
    ids::{Channel, Codec, KeyPrefix, Origin, SpacecraftId, StoreEpoch},
    time::Tai,
};

const MAGIC: [u8; 4] = *b"GTO1";
const VERSION: u8 = 1;
const ANNOTATED: u8 = 1;
/// Bytes of the object header.
pub const HEADER_BYTES: usize = 64;
/// Bytes before each unit: length and CRC-32C.
pub const UNIT_HEADER_BYTES: usize = 8;
/// Bytes of an annotation.
pub const ANNOTATION_BYTES: usize = 16;

/// What stands at the head of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectHeader {
    /// Whether each unit carries an [`Annotation`].
    pub annotated: bool,
    /// Format of every unit in it.
    pub codec: Codec,
    /// Downlink priority, higher first.
    pub priority: u8,
    /// Formatting of the store.
    pub epoch: StoreEpoch,
    /// Spacecraft.
    pub spacecraft: SpacecraftId,
    /// Channel.
    pub channel: Channel,
    /// Sequence of the first unit; the others follow without a hole.
    pub first: u64,
    /// Number of units.
    pub count: u32,
    /// Bytes that follow this header.
    pub length: u32,
    /// When the object was made.
    pub created: Tai,
}

/// What an earth receive time rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum TimeSource {
    /// A clock, when it was heard.
    #[default]
    Measured = 0,
    /// The clock when a recording was read, which was some time after it was heard.
    Reading = 1,
    /// What an operator says of a recording: no clock was asked.
    Stated = 2,
}

impl TimeSource {
    /// Reads the byte on the wire.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Measured,
            1 => Self::Reading,
            2 => Self::Stated,
            _ => return None,
        })
    }

    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Reading => "reading",
            Self::Stated => "stated",
        }
    }
}

/// How a reception looked at the antenna.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Quality {
    /// Arrived without a correction.
    Good = 0,
    /// Symbols were corrected.
    Corrected = 1,
    /// Known to be wrong.
    Erred = 2,
    /// Nothing in it can tell.
    Undetermined = 3,
}

impl Quality {
    /// Reads the byte on the wire.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Good,
            1 => Self::Corrected,
            2 => Self::Erred,
            3 => Self::Undetermined,
            _ => return None,
        })
    }
}

/// When and how an antenna heard a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// Earth receive time.
    pub received: Tai,
    /// What that rests on.
    pub source: TimeSource,
    /// How it looked.
    pub quality: Quality,
    /// The mission's number of the antenna.
    pub antenna: u16,
    /// Symbols that error correction mended.
    pub corrected_symbols: u16,
}

impl Annotation {
    /// Writes the sixteen bytes.
    pub fn encode(&self) -> [u8; ANNOTATION_BYTES] {
        let [a, b, c, d, e, f, g, h] = self.received.0.to_be_bytes();
        let [antenna_high, antenna_low] = self.antenna.to_be_bytes();
        let [high, low] = self.corrected_symbols.to_be_bytes();
        let (quality, source) = (self.quality as u8, self.source as u8);
        [a, b, c, d, e, f, g, h, quality, source, antenna_high, antenna_low, high, low, 0, 0]
    }

    /// Reads the sixteen bytes; an unknown quality reads as undetermined, an unknown source of time
    /// as stated.
    pub fn decode(bytes: [u8; ANNOTATION_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, quality, source, ant_high, ant_low, high, low, _, _] = bytes;
        Self {
            received: Tai(i64::from_be_bytes([a, b, c, d, e, f, g, h])),
            source: TimeSource::from_byte(source).unwrap_or(TimeSource::Stated),
            quality: Quality::from_byte(quality).unwrap_or(Quality::Undetermined),
            antenna: u16::from_be_bytes([ant_high, ant_low]),
            corrected_symbols: u16::from_be_bytes([high, low]),
        }
    }
}

/// Why an object, or the rest of it, is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// Not an object of this version.
    #[error("object header: {0} is not valid")]
    Header(&'static str),
    /// The header's CRC is wrong.
    #[error("object header is damaged")]
    HeaderCrc,
    /// More bytes announced than an object may have.
    #[error("object of {0} bytes is above the bound of {MAX_OBJECT_BYTES}")]
    TooLong(u32),
    /// A unit longer than the bound or than the object.
    #[error("unit {sequence} says {length} bytes")]
    UnitLength {
        /// Its sequence.
        sequence: u64,
        /// What it says.
        length: u32,
    },
    /// Bytes follow the last unit that the header counts.
    #[error("{0} bytes follow the last unit that the header counts")]
    Excess(usize),
    /// The stream ended before its units did.
    #[error("object cut short: {missing} of {count} units did not come")]
    Truncated {
        /// Units that did not come whole.
        missing: u32,
        /// Units announced.
        count: u32,
    },
}

impl ObjectHeader {
    /// The prefix of its units, given whose connection it came on.
    pub fn prefix(&self, origin: Origin) -> KeyPrefix {
        KeyPrefix { origin, epoch: self.epoch, spacecraft: self.spacecraft, channel: self.channel }
    }

    /// Writes the header.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0u8; HEADER_BYTES];
        let mut put = |at: usize, bytes: &[u8]| {
            out.iter_mut().skip(at).zip(bytes).for_each(|(slot, byte)| *slot = *byte);
        };
        put(0, &MAGIC);
        put(4, &[VERSION, u8::from(self.annotated), self.codec as u8, self.priority]);
        put(8, &self.epoch.0.to_be_bytes());
        put(16, &self.spacecraft.0.to_be_bytes());
        put(20, &self.count.to_be_bytes());
        put(24, &self.channel.0.to_be_bytes());
        put(32, &self.first.to_be_bytes());
        put(40, &self.length.to_be_bytes());
        put(44, &self.created.0.to_be_bytes());
        let crc = crc32c(&out[..60]);
        out[60..].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// Reads and checks the header.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, ObjectError> {
        fn at<const N: usize>(bytes: &[u8; HEADER_BYTES], offset: usize) -> [u8; N] {
            bytes.get(offset..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
        }
        if at(bytes, 0) != MAGIC {
            return Err(ObjectError::Header("magic"));
        }
        let (checked, crc) = bytes.split_at(60);
        if crc != crc32c(checked).to_be_bytes() {
            return Err(ObjectError::HeaderCrc);
        }
        let [version, flags, codec, priority] = at(bytes, 4);
        if version != VERSION {
            return Err(ObjectError::Header("version"));
        }
        if flags & !ANNOTATED != 0 {
            return Err(ObjectError::Header("flags"));
        }
        let header = Self {
            annotated: flags & ANNOTATED != 0,
            codec: Codec::from_byte(codec).ok_or(ObjectError::Header("codec"))?,
            priority,
            epoch: StoreEpoch(u64::from_be_bytes(at(bytes, 8))),
            spacecraft: SpacecraftId(u16::from_be_bytes(at(bytes, 16))),
            channel: Channel(u64::from_be_bytes(at(bytes, 24))),
            first: u64::from_be_bytes(at(bytes, 32)),
            count: u32::from_be_bytes(at(bytes, 20)),
            length: u32::from_be_bytes(at(bytes, 40)),
            created: Tai(i64::from_be_bytes(at(bytes, 44))),
        };
        if header.length as usize > MAX_OBJECT_BYTES - HEADER_BYTES {
            return Err(ObjectError::TooLong(header.length));
        }
        if header.count == 0 || header.first.checked_add(u64::from(header.count)).is_none() {
            return Err(ObjectError::Header("count"));
        }
        Ok(header)
    }
}

/// One unit out of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedUnit {
    /// Its sequence.
    pub sequence: u64,
    /// Annotation, in annotated objects.
    pub annotation: Option<Annotation>,
    /// Its bytes: a slice of what arrived, or stitched once where it straddled chunks.
    pub bytes: Bytes,
    /// Whether the CRC that the store wrote still holds.
    pub intact: bool,
}

/// What stands before a unit in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitHead {
    /// The unit's sequence.
    pub sequence: u64,
    /// Annotation as it came, in annotated objects.
    pub annotation: Option<[u8; ANNOTATION_BYTES]>,
    /// Bytes of the unit.
    pub length: usize,
    /// CRC-32C that its store wrote.
    pub crc: u32,
}

/// Appends one unit to an object under construction.
pub fn write_unit(out: &mut Vec<u8>, annotation: Option<Annotation>, unit: &[u8]) {
    out.extend_from_slice(&(unit.len() as u32).to_be_bytes());
    out.extend_from_slice(&crc32c(unit).to_be_bytes());
    if let Some(annotation) = annotation {
        out.extend_from_slice(&annotation.encode());
    }
    out.extend_from_slice(unit);
}

const fn bytes_before_unit(annotated: bool) -> usize {
    UNIT_HEADER_BYTES + if annotated { ANNOTATION_BYTES } else { 0 }
}

/// Bytes that a unit takes in an object.
pub const fn unit_footprint(unit_bytes: usize, annotated: bool) -> usize {
    bytes_before_unit(annotated) + unit_bytes
}

/// Reads an object from chunks of any size.
///
/// Buffers at most one unit and one chunk; chunks are kept as they came and sliced, never copied
/// but for a unit that straddles two.
#[derive(Debug, Default)]
pub struct ObjectReader {
    chunks: VecDeque<Bytes>,
    buffered: usize,
    header: Option<ObjectHeader>,
    /// Units that came whole.
    units: u32,
    /// Bytes of the object's length that were consumed.
    consumed: usize,
    failed: bool,
}

impl ObjectReader {
    /// A reader at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// The header, once it arrived.
    pub fn header(&self) -> Option<&ObjectHeader> {
        self.header.as_ref()
    }

    /// Takes bytes as they arrive.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() && !self.failed {
            self.buffered += chunk.len();
            self.chunks.push_back(chunk);
        }
    }

    /// Reads the header if it is whole; until then there are no units.
    pub fn poll_header(&mut self) -> Result<Option<ObjectHeader>, ObjectError> {
        if let Some(header) = self.header {
            return Ok(Some(header));
        }
        if self.failed || self.buffered < HEADER_BYTES {
            return Ok(None);
        }
        let bytes = self.take(HEADER_BYTES);
        let header = match bytes.first_chunk() {
            Some(bytes) => ObjectHeader::decode(bytes),
            None => Err(ObjectError::Header("length")),
        };
        self.header = Some(self.fail_on_error(header)?);
        Ok(self.header)
    }

    /// What stands before the next unit, once all of the unit is here. Until it is taken by
    /// [`copy_unit`](Self::copy_unit) or [`skip_unit`](Self::skip_unit) the answer stays the same.
    pub fn peek_unit(&mut self) -> Result<Option<UnitHead>, ObjectError> {
        let Some(header) = self.poll_header()? else { return Ok(None) };
        if self.units == header.count {
            let excess = self.buffered;
            return if excess == 0 { Ok(None) } else { self.fail(ObjectError::Excess(excess)) };
        }
        let before = bytes_before_unit(header.annotated);
        if self.buffered < before {
            return Ok(None);
        }
        let sequence = header.first + u64::from(self.units);
        let fields = self.peek::<{ UNIT_HEADER_BYTES + ANNOTATION_BYTES }>();
        let [a, b, c, d, e, f, g, h, annotation @ ..] = fields;
        let length = u32::from_be_bytes([a, b, c, d]);
        let room = (header.length as usize).saturating_sub(self.consumed + before);
        if length as usize > room.min(MAX_UNIT_BYTES) {
            return self.fail(ObjectError::UnitLength { sequence, length });
        }
        if self.buffered < before + length as usize {
            return Ok(None);
        }
        Ok(Some(UnitHead {
            sequence,
            annotation: header.annotated.then_some(annotation),
            length: length as usize,
            crc: u32::from_be_bytes([e, f, g, h]),
        }))
    }

    /// Takes the unit that was peeked at: its only copy. Whether its CRC holds over the copy, which
    /// is then known to be what its store wrote.
    ///
    /// # Panics
    /// If `into` is not as long as the unit.
    pub fn copy_unit(&mut self, head: &UnitHead, into: &mut [u8]) -> bool {
        assert_eq!(into.len(), head.length, "a unit is copied whole");
        self.take_head(head);
        self.buffered -= into.len();
        let mut crc = Crc32c::new();
        let mut rest = into;
        while let Some(front) = self.chunks.front_mut().filter(|_| !rest.is_empty()) {
            let (part, after) = rest.split_at_mut(front.len().min(rest.len()));
            let (bytes, _) = front.split_at(part.len());
            crc.copy(bytes, part);
            rest = after;
            let taken = part.len();
            self.advance_front(taken);
        }
        crc.finish() == head.crc
    }

    /// Passes over the unit that was peeked at.
    pub fn skip_unit(&mut self, head: &UnitHead) {
        self.take_head(head);
        self.advance(head.length);
    }

    fn take_head(&mut self, head: &UnitHead) {
        let before = bytes_before_unit(head.annotation.is_some());
        self.advance(before);
        self.units += 1;
        self.consumed += before + head.length;
    }

    /// The next whole unit.
    pub fn poll_unit(&mut self) -> Result<Option<ReceivedUnit>, ObjectError> {
        let Some(head) = self.peek_unit()? else { return Ok(None) };
        self.take_head(&head);
        let bytes = self.take(head.length);
        let intact = crc32c(&bytes) == head.crc;
        let annotation = head.annotation.map(Annotation::decode);
        Ok(Some(ReceivedUnit { sequence: head.sequence, annotation, bytes, intact }))
    }

    /// Says whether the object is whole, now that its stream ended.
    pub fn finish(&self) -> Result<(), ObjectError> {
        match &self.header {
            None => Err(ObjectError::Header("length")),
            Some(header) if self.units < header.count => Err(ObjectError::Truncated {
                missing: header.count - self.units,
                count: header.count,
            }),
            Some(_) if self.buffered > 0 => Err(ObjectError::Excess(self.buffered)),
            Some(_) => Ok(()),
        }
    }

    /// Sequences announced that did not come whole, once the stream ended or failed.
    pub fn missing(&self) -> Option<crate::ids::SeqRange> {
        let header = self.header.as_ref()?;
        let first = header.first + u64::from(self.units);
        crate::ids::SeqRange::new(first, (header.first + u64::from(header.count)).checked_sub(1)?)
    }

    fn fail<T>(&mut self, error: ObjectError) -> Result<T, ObjectError> {
        self.fail_on_error(Err(error))
    }

    /// After an error nothing more is read: what follows can't be trusted.
    fn fail_on_error<T>(&mut self, result: Result<T, ObjectError>) -> Result<T, ObjectError> {
        if result.is_err() {
            self.failed = true;
            self.chunks.clear();
            self.buffered = 0;
        }
        result
    }

    /// The next bytes; zeros where they are not here yet.
    fn peek<const N: usize>(&self) -> [u8; N] {
        if let Some(bytes) = self.chunks.front().and_then(|front| front.first_chunk()) {
            return *bytes;
        }
        let mut out = [0; N];
        out.iter_mut().zip(self.chunks.iter().flatten()).for_each(|(slot, byte)| *slot = *byte);
        out
    }

    /// Drops bytes that are known to be buffered.
    fn advance(&mut self, mut length: usize) {
        debug_assert!(length <= self.buffered);
        self.buffered -= length;
        while let Some(front) = self.chunks.front().filter(|_| length > 0) {
            let part = front.len().min(length);
            length -= part;
            self.advance_front(part);
        }
    }

    /// Drops bytes of the first chunk, and the chunk once nothing is left of it.
    fn advance_front(&mut self, length: usize) {
        if let Some(front) = self.chunks.front_mut() {
            front.advance(length);
            if front.is_empty() {
                self.chunks.pop_front();
            }
        }
    }

    /// Takes bytes that are known to be buffered: a slice of one chunk, or one copy over several.
    fn take(&mut self, length: usize) -> Bytes {
        debug_assert!(length <= self.buffered);
        self.buffered -= length;
        let out = match self.chunks.front_mut() {
            _ if length == 0 => return Bytes::new(),
            Some(front) if front.len() >= length => front.split_to(length),
            _ => {
                let mut stitched = BytesMut::with_capacity(length);
                while stitched.len() < length {
                    let Some(front) = self.chunks.front_mut() else { break };
                    let part = front.split_to(front.len().min(length - stitched.len()));
                    stitched.extend_from_slice(&part);
                    if front.is_empty() {
                        self.chunks.pop_front();
                    }
                }
                stitched.freeze()
            }
        };
        if self.chunks.front().is_some_and(Bytes::is_empty) {
            self.chunks.pop_front();
        }
        out
    }
}

#[cfg(test)]
mod tests;
