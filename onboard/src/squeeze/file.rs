//! Squeezed files: any file of space packets, in blocks, and the very same bytes back.
//!
//! A file is cut into segments that stand alone. In each, the packets of one APID and length share
//! blocks; which of them came when is kept beside, and what is no packet is kept as it is.
//!
//! ```text
//! file     "GTSQ" version(1) zeros(3)  segment...  end
//! segment  length(4) plain length(4) CRC-32C of the plain bytes(4), parts of `length` bytes
//! part     length(4) bytes: order, stray bytes, block...
//! end      zeros(4) bytes of the plain file(8)
//! ```
//!
//! Order and stray bytes are zstd frames. The order is in numbers of seven bits a byte, the lowest
//! first, the top bit set on all but the last: sources, blocks of each source, then runs, each a
//! source (1 and up, 0 for stray bytes) and its packets or bytes. Big-endian otherwise.

use std::{collections::BTreeMap, io::Read, ops::Range};

use codecs::{
    fec::crc::crc32c,
    squeeze::columns::{
        Level, MAX_BLOCK_BYTES, MAX_PACKET_BYTES, SqueezeError, Unsqueezed, squeeze, unsqueeze,
    },
};

/// What a squeezed file begins with.
pub const FILE_HEADER: [u8; 8] = *b"GTSQ\x01\0\0\0";
/// Bytes in front of each segment.
pub const SEGMENT_HEADER_BYTES: usize = 12;
/// Bytes of a plain file in one segment, but for the rest of its last packet.
pub const SEGMENT_BYTES: usize = 4 << 20;
/// Bytes to hand over beyond [`SEGMENT_BYTES`], so that the last packet is whole.
pub const LOOK_AHEAD_BYTES: usize = MAX_PACKET_BYTES + PRIMARY_HEADER_BYTES;
/// Most bytes of a segment's parts: blocks that grew, runs of one packet each.
pub const PARTS_BYTES_MAX: usize = 4 * SEGMENT_BYTES;

const PLAIN_BYTES_MAX: usize = SEGMENT_BYTES + LOOK_AHEAD_BYTES;
const PRIMARY_HEADER_BYTES: usize = 6;
/// Fewer packets of one APID and length in a segment are kept as stray bytes: they may be none.
const SOURCE_PACKETS_MIN: usize = 4;
/// Stray bytes are whatever they are: no level that crawls.
const ZSTD_LEVEL: i32 = 12;
/// Largest zstd window that a reader makes room for: 8 MiB holds every segment.
const WINDOW_LOG_MAX: u32 = 23;

/// Why a squeezed file can't be made or read; offsets count from the segment's first part.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum FileError {
    /// Not a squeezed file, or one of another version.
    #[error("not a squeezed file of version 1: it doesn't begin with `GTSQ` and 1")]
    Magic,
    /// A segment header that no squeezer writes.
    #[error(
        "segment of {parts} bytes for {plain}; at most {PARTS_BYTES_MAX} for {PLAIN_BYTES_MAX}"
    )]
    Length {
        /// Bytes of its parts.
        parts: usize,
        /// Bytes of the plain file that it claims to hold.
        plain: usize,
    },
    /// A part ends behind the segment.
    #[error("the part at byte {0} of the segment goes on behind its end")]
    Part(usize),
    /// Order or stray bytes are no zstd frame, or a larger one than the segment allows.
    #[error("the {0} of the segment are damaged")]
    Zstd(&'static str),
    /// The order names what is not there, or leaves something over.
    #[error("the order of the segment doesn't fit its blocks and stray bytes")]
    Order,
    /// A block can't be read.
    #[error("block at byte {at} of the segment: {error}")]
    Block {
        /// Where its part begins.
        at: usize,
        /// Why.
        error: SqueezeError,
    },
    /// The bytes are not those that were squeezed.
    #[error("CRC-32C of the segment is {found:#010x}, its header says {stated:#010x}")]
    Crc {
        /// What the header states.
        stated: u32,
        /// What the bytes give.
        found: u32,
    },
    /// The compressor failed.
    #[error("can't squeeze: {0}")]
    Squeeze(String),
}

/// A run of the plain bytes.
#[derive(Debug, PartialEq)]
struct Piece {
    bytes: Range<usize>,
    /// APID and length of a packet; none for stray bytes.
    source: Option<(u16, usize)>,
}

/// How a file is squeezed.
#[derive(Clone, Copy, Debug)]
pub struct Squeezing {
    /// Packets of one block.
    pub block_packets: usize,
    /// Entropy stage.
    pub level: Level,
    /// Plain bytes of a segment, [`SEGMENT_BYTES`] at most.
    pub segment_bytes: usize,
}

/// A segment, and what went into it.
#[derive(Debug)]
pub struct Segment {
    /// Header and parts.
    pub bytes: Vec<u8>,
    /// Plain bytes that it holds, from the first.
    pub consumed: usize,
    /// Bytes that are no packets, or of too few to share a block.
    pub stray_bytes: usize,
    /// Packets among them, of too few to share a block.
    pub packets_beside: usize,
    /// The blocks with their APID.
    pub blocks: Vec<(u16, Vec<u8>)>,
}

impl Squeezing {
    /// Squeezes the first segment of `plain`, which goes on unless it is the `last` of the file.
    ///
    /// To end in whole packets it wants [`LOOK_AHEAD_BYTES`] more than a segment's.
    pub fn segment(&self, plain: &[u8], last: bool) -> Result<Segment, FileError> {
        let size = self.segment_bytes.min(SEGMENT_BYTES);
        let (pieces, consumed) = pieces(plain, size, last);
        let sources = sources(&pieces);
        let (mut blocks, mut counts) = (Vec::new(), Vec::new());
        for ((apid, length), (_, packets)) in &sources {
            let most = self.block_packets.min(MAX_BLOCK_BYTES / length).max(1);
            counts.push(packets.len().div_ceil(most));
            for chunk in packets.chunks(most) {
                let chunk: Vec<&[u8]> = chunk.iter().map(|at| &plain[at.clone()]).collect();
                let block = squeeze(&chunk, self.level);
                let block = block.map_err(|error| FileError::Squeeze(error.to_string()))?;
                blocks.push((*apid, block));
            }
        }
        let (order, stray) = order(plain, &pieces, &sources, &counts);
        let mut parts = Vec::new();
        for frame in [&order, &stray] {
            let frame = zstd::bulk::compress(frame, ZSTD_LEVEL);
            put_part(&mut parts, &frame.map_err(|error| FileError::Squeeze(error.to_string()))?);
        }
        blocks.iter().for_each(|(_, block)| put_part(&mut parts, block));
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES + parts.len());
        bytes.extend((parts.len() as u32).to_be_bytes());
        bytes.extend((consumed as u32).to_be_bytes());
        bytes.extend(crc32c(&plain[..consumed]).to_be_bytes());
        bytes.extend(parts);
        let beside = |piece: &&Piece| piece.source.is_some_and(|of| !sources.contains_key(&of));
        let packets_beside = pieces.iter().filter(beside).count();
        Ok(Segment { bytes, consumed, stray_bytes: stray.len(), packets_beside, blocks })
    }
}

fn put_part(parts: &mut Vec<u8>, part: &[u8]) {
    parts.extend((part.len() as u32).to_be_bytes());
    parts.extend(part);
}

/// Cuts the plain bytes into packets and what is between them, up to the first piece that begins
/// at `size` or is not yet whole.
fn pieces(plain: &[u8], size: usize, last: bool) -> (Vec<Piece>, usize) {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut at = 0;
    while at < plain.len().min(size) {
        let source = match packet(&plain[at..]) {
            Found::Packet(apid, length) => Some((apid, length)),
            Found::Nothing => None,
            // A segment is never empty, or a file that claims packets without end would be.
            Found::Cut if last || at == 0 => None,
            Found::Cut => break,
        };
        let bytes = at..at + source.map_or(1, |(_, length)| length);
        at = bytes.end;
        match pieces.last_mut() {
            Some(piece) if piece.source.is_none() && source.is_none() => piece.bytes.end = at,
            _ => pieces.push(Piece { bytes, source }),
        }
    }
    (pieces, at)
}

enum Found {
    Packet(u16, usize),
    Cut,
    Nothing,
}

/// What the bytes begin with. A packet has version 0 (CCSDS 133.0-B-2 §4.1.3.2), and so has what
/// follows; a wrong guess costs ratio only.
fn packet(bytes: &[u8]) -> Found {
    let Some([first, second, _, _, high, low]) = bytes.first_chunk::<PRIMARY_HEADER_BYTES>() else {
        return Found::Cut;
    };
    if first >> 5 != 0 {
        return Found::Nothing;
    }
    let length = usize::from(u16::from_be_bytes([*high, *low])) + PRIMARY_HEADER_BYTES + 1;
    match bytes.get(length) {
        Some(next) if next >> 5 != 0 => Found::Nothing,
        None if bytes.len() < length => Found::Cut,
        _ => Found::Packet(u16::from_be_bytes([first & 7, *second]), length),
    }
}

/// Numbers, from 1, and packets of the APIDs and lengths that are worth blocks.
type Sources = BTreeMap<(u16, usize), (u64, Vec<Range<usize>>)>;

fn sources(pieces: &[Piece]) -> Sources {
    let mut sources = Sources::new();
    for piece in pieces {
        if let Some(source) = piece.source {
            sources.entry(source).or_default().1.push(piece.bytes.clone());
        }
    }
    sources.retain(|_, (_, packets)| packets.len() >= SOURCE_PACKETS_MIN);
    sources.values_mut().zip(1..).for_each(|((number, _), place)| *number = place);
    sources
}

/// The order of the pieces, and the stray bytes behind one another.
fn order(
    plain: &[u8],
    pieces: &[Piece],
    sources: &Sources,
    blocks: &[usize],
) -> (Vec<u8>, Vec<u8>) {
    let (mut runs, mut stray): (Vec<(u64, u64)>, _) = (Vec::new(), Vec::new());
    for piece in pieces {
        let source = piece.source.and_then(|source| sources.get(&source));
        let (number, count) = match source {
            Some((number, _)) => (*number, 1),
            None => {
                stray.extend_from_slice(&plain[piece.bytes.clone()]);
                (0, piece.bytes.len() as u64)
            }
        };
        match runs.last_mut() {
            Some((before, total)) if *before == number => *total += count,
            _ => runs.push((number, count)),
        }
    }
    let mut order = Vec::new();
    put_number(&mut order, blocks.len() as u64);
    blocks.iter().for_each(|count| put_number(&mut order, *count as u64));
    for (number, count) in runs {
        put_number(&mut order, number);
        put_number(&mut order, count);
    }
    (order, stray)
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_number(bytes: &mut &[u8]) -> Option<usize> {
    let mut number = 0usize;
    for place in 0..4 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// What the header of a segment announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// A segment.
    Segment {
        /// Bytes of its parts.
        parts: usize,
        /// Bytes of the plain file in it.
        plain: usize,
        /// CRC-32C of the plain bytes.
        crc: u32,
    },
    /// The end of the file.
    End {
        /// Bytes of the whole plain file.
        plain: u64,
    },
}

/// Reads the header of a segment or the end of a file.
pub fn announced(header: &[u8; SEGMENT_HEADER_BYTES]) -> Result<Announced, FileError> {
    let [p0, p1, p2, p3, l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    let parts = u32::from_be_bytes([p0, p1, p2, p3]) as usize;
    if parts == 0 {
        let plain = u64::from_be_bytes([l0, l1, l2, l3, c0, c1, c2, c3]);
        return Ok(Announced::End { plain });
    }
    let plain = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    if parts > PARTS_BYTES_MAX || plain > PLAIN_BYTES_MAX {
        return Err(FileError::Length { parts, plain });
    }
    Ok(Announced::Segment { parts, plain, crc: u32::from_be_bytes([c0, c1, c2, c3]) })
}

/// The end of a file of so many plain bytes.
pub fn end(plain: u64) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut end = [0; SEGMENT_HEADER_BYTES];
    end[4..].copy_from_slice(&plain.to_be_bytes());
    end
}

/// What a segment held.
#[derive(Debug, PartialEq)]
pub struct Plain {
    /// The very bytes.
    pub bytes: Vec<u8>,
    /// Packets that came from blocks.
    pub packets: usize,
    /// Bytes beside them.
    pub stray_bytes: usize,
}

/// Gives the plain bytes of a segment back: `plain` of them, with this CRC-32C.
pub fn unsqueeze_segment(parts: &[u8], plain: usize, crc: u32) -> Result<Plain, FileError> {
    let mut rest = Parts { bytes: parts, at: 0 };
    // A packet has seven bytes, and six tell it and the stray byte that may stand in front.
    let order = inflate(rest.next()?, 64 + plain).ok_or(FileError::Zstd("order"))?;
    let stray = inflate(rest.next()?, plain).ok_or(FileError::Zstd("stray bytes"))?;
    let (mut order, mut stray) = (&order[..], &stray[..]);
    let mut sources = Vec::new();
    let (stray_bytes, mut unclaimed) = (stray.len(), plain);
    for _ in 0..take_number(&mut order).ok_or(FileError::Order)? {
        let mut blocks = Vec::new();
        // No source without a block: the memory for it would be had for one byte.
        let count = take_number(&mut order).filter(|count| *count > 0).ok_or(FileError::Order)?;
        for _ in 0..count {
            let at = rest.at;
            let block = unsqueeze(rest.next()?, unclaimed);
            let block = block.map_err(|error| FileError::Block { at, error })?;
            unclaimed -= block.data.len();
            blocks.push(block);
        }
        sources.push(Packets { blocks: blocks.into_iter(), open: None });
    }
    let mut bytes = Vec::with_capacity(plain - unclaimed + stray.len().min(unclaimed));
    let mut packets = 0;
    while !order.is_empty() {
        let source = take_number(&mut order).ok_or(FileError::Order)?;
        let count = take_number(&mut order).ok_or(FileError::Order)?;
        if let Some(source) = source.checked_sub(1) {
            let source = sources.get_mut(source).ok_or(FileError::Order)?;
            for _ in 0..count {
                bytes.extend_from_slice(&source.next().ok_or(FileError::Order)?);
                packets += 1;
            }
        } else {
            let (run, behind) = stray.split_at_checked(count).ok_or(FileError::Order)?;
            bytes.extend_from_slice(run);
            stray = behind;
        }
    }
    if rest.at < parts.len() || bytes.len() != plain {
        return Err(FileError::Order);
    }
    let found = crc32c(&bytes);
    if found != crc {
        Err(FileError::Crc { stated: crc, found })
    } else {
        Ok(Plain { bytes, packets, stray_bytes })
    }
}

/// Parts of a segment, one behind the other.
struct Parts<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Parts<'a> {
    fn next(&mut self) -> Result<&'a [u8], FileError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(FileError::Part(self.at))?;
        let length = u32::from_be_bytes(*length) as usize;
        let part = rest.get(..length).ok_or(FileError::Part(self.at))?;
        self.at += 4 + length;
        Ok(part)
    }
}

/// Packets of a source, block by block.
struct Packets {
    blocks: std::vec::IntoIter<Unsqueezed>,
    open: Option<(Unsqueezed, usize)>,
}

impl Packets {
    fn next(&mut self) -> Option<bytes::Bytes> {
        loop {
            if let Some((block, at)) = &mut self.open
                && *at < block.data.len()
            {
                *at += block.packet_length;
                return Some(block.data.slice(*at - block.packet_length..*at));
            }
            self.open = Some((self.blocks.next()?, 0));
        }
    }
}

/// Undoes zstd; the buffer grows with what comes out, to `limit` bytes at most.
fn inflate(frame: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(frame).ok()?;
    decoder.window_log_max(WINDOW_LOG_MAX).ok()?;
    let mut bytes = Vec::new();
    decoder.single_frame().take(limit as u64 + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() <= limit).then_some(bytes)
}

#[cfg(test)]
mod tests;
