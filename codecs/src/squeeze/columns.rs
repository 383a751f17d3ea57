//! Self-contained blocks of packets of one APID and length, squeezed column by column.
//!
//! A block is lost alone: nothing in it refers to another block. Byte columns of telemetry are
//! alike from packet to packet where the bytes of one packet are not, so each column (or two or
//! four neighbours as one number) is predicted from the packets before and what is left over goes
//! through an entropy coder. A block that would not get smaller is stored as it is.
//!
//! ```text
//! transform (columns, residues) ─► choose ─► fast (bits) or dense (mixing)
//! ```
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 2 | magic `Sq` |
//! | 2 | 1 | version (high four bits, 2), method (low four: 0 stored, 2 fast, 3 dense, 4 whole) |
//! | 3 | 3 | packet length in bytes |
//! | 6 | 2 | packets |
//! | 8 | 4 | CRC-32C of bytes 2 to 7 and of all packets |
//! | 12 | | stored: packets; whole: they through zstd; fast: first packet, groups; dense: bits |
//!
//! Big-endian. Version 1 is still read: methods 0 and 1, zstd over mode list, first packet and byte
//! planes.
//!
//! **Panics:** none, whatever the bytes; a decoder takes at most the caller's limit and
//! [`MAX_BLOCK_BYTES`] for the packets, and the dense one 128 KiB beside.

use super::modes;
use crate::fec::crc::Crc32c;
use alloc::{vec, vec::Vec};
use bytes::Bytes;
use choose::Group;
use std::io::Read;
use transform::{Columns, Residue};

mod transform;
mod choose;
mod bits;
mod fast;
mod logistic;
mod mixing;
mod dense;

/// Most packets of a block.
pub const MAX_BLOCK_PACKETS: usize = 4096;

/// Most bytes of a block's packets.
pub const MAX_BLOCK_BYTES: usize = 4 << 20;

/// Shortest packet: primary header and one byte (CCSDS 133.0-B-2 §4.1.2).
pub const MIN_PACKET_BYTES: usize = 7;

/// Longest packet (CCSDS 133.0-B-2 §4.1.2).
pub const MAX_PACKET_BYTES: usize = 65_542;

/// Which entropy coder a block goes through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "mission", derive(serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum Level {
    /// Rice codes: for bulk data, hundreds of megabytes a second.
    Fast,
    /// Mixed predictions: a third smaller or better, some ten megabytes a second each way. For
    /// housekeeping, which is slow.
    #[default]
    Dense,
}

/// The level to take unless there is a reason.
pub const DEFAULT_LEVEL: Level = Level::Dense;

const MAGIC: [u8; 2] = *b"Sq";
const VERSION: u8 = 2;
const VERSION_OF_PLANES: u8 = 1;
const HEADER_BYTES: usize = 12;

/// Largest zstd window a decoder makes room for: 8 MiB holds every block at any level.
const WINDOW_LOG_MAX: u32 = 23;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Stored = 0,
    Planes = 1,
    Fast = 2,
    Dense = 3,
    Whole = 4,
}

/// Why a block can't be made or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SqueezeError {
    /// A block holds 1 to [`MAX_BLOCK_PACKETS`] packets.
    #[error("{0} packets in a block; it holds 1 to {MAX_BLOCK_PACKETS}")]
    Count(usize),
    /// A packet length outside [`MIN_PACKET_BYTES`] to [`MAX_PACKET_BYTES`].
    #[error("packets of {0} bytes; a space packet has {MIN_PACKET_BYTES} to {MAX_PACKET_BYTES}")]
    Length(usize),
    /// A packet differs in length or APID from the first.
    #[error("packet {0} of the block differs from the first in length or APID")]
    Mixed(usize),
    /// More bytes than a block, or the caller, allows.
    #[error("the packets of the block have {bytes} bytes, over the limit of {limit}")]
    TooLarge {
        /// Bytes of the packets.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The block doesn't begin as one.
    #[error("not a squeezed block: no `Sq` at its start")]
    Magic,
    /// A version or method that this decoder doesn't know.
    #[error(
        "squeezed block of version {version}, method {method}; known: version 2 with methods 0 \
         and 2 to 4, version 1 with methods 0 and 1"
    )]
    Unknown {
        /// Version of the block.
        version: u8,
        /// Method of the block.
        method: u8,
    },
    /// The block ends early or has bytes too many.
    #[error("the squeezed block ends early or has bytes too many")]
    Truncated,
    /// The inside is none that a squeezer makes.
    #[error("the inside of the squeezed block is damaged")]
    Damaged,
    /// The check does not hold.
    #[error("CRC-32C of the squeezed block is {found:#010x}, its header says {stated:#010x}")]
    Crc {
        /// What the header states.
        stated: u32,
        /// What the packets give.
        found: u32,
    },
}

/// Packets of a block, each a slice of one buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsqueezed {
    /// Length of every packet in bytes.
    pub packet_length: usize,
    /// The packets behind one another.
    pub data: Bytes,
}

impl Unsqueezed {
    /// Number of packets.
    pub fn count(&self) -> usize {
        self.data.len() / self.packet_length.max(1)
    }

    /// The packets in order, without a copy.
    pub fn packets(&self) -> impl Iterator<Item = Bytes> + '_ {
        let length = self.packet_length;
        (0..self.count()).map(move |index| self.data.slice(index * length..(index + 1) * length))
    }
}

/// Squeezes packets of one APID and length into one block.
pub fn squeeze(packets: &[&[u8]], level: Level) -> Result<Vec<u8>, SqueezeError> {
    let (length, data) = gather(packets)?;
    let (method, body) = pack(&data, length, packets.len(), level);
    let mut fields = [0u8; 6];
    let [tag, length_be @ .., count_high, count_low] = &mut fields;
    *tag = (VERSION << 4) | method as u8;
    let [_, bytes @ ..] = (length as u32).to_be_bytes();
    *length_be = bytes;
    [*count_high, *count_low] = (packets.len() as u16).to_be_bytes();
    let mut block = Vec::with_capacity(HEADER_BYTES + body.len());
    block.extend_from_slice(&MAGIC);
    block.extend_from_slice(&fields);
    block.extend_from_slice(&check(&fields, &data).to_be_bytes());
    block.extend_from_slice(&body);
    Ok(block)
}

/// The inside of a block, and how it was made.
fn pack(data: &[u8], length: usize, count: usize, level: Level) -> (Method, Vec<u8>) {
    let columns = Columns::new(data, length, count);
    let first = data.get(..length).unwrap_or_default();
    let (method, body) = match level {
        Level::Fast => {
            let groups = choose::choose(&columns, &mut fast::Estimate);
            (Method::Fast, fast::write(&columns, &groups, first.to_vec()))
        }
        Level::Dense => {
            let groups = choose::choose(&columns, &mut dense::Entropy::default());
            let body = dense::write(&columns, &groups, first);
            match whole(data, body.len()) {
                Some(smaller) => (Method::Whole, smaller),
                None => (Method::Dense, body),
            }
        }
    };
    if body.len() < data.len() { (method, body) } else { (Method::Stored, data.to_vec()) }
}

/// The packets through zstd, where that takes fewer bytes: long packets that are dumps of memory
/// have more in common within than from one to the next.
///
/// The strongest level takes five times as long as all else, so that the quickest has to come near
/// before it is tried.
fn whole(data: &[u8], bytes: usize) -> Option<Vec<u8>> {
    let quick = zstd::bulk::compress(data, 1).ok()?;
    if quick.len() > bytes + bytes / 4 {
        return None;
    }
    zstd::bulk::compress(data, 19).ok().filter(|strong| strong.len() < bytes)
}

/// Checks that the packets may share a block and puts them behind one another.
fn gather(packets: &[&[u8]]) -> Result<(usize, Vec<u8>), SqueezeError> {
    let first = packets.first().ok_or(SqueezeError::Count(0))?;
    if packets.len() > MAX_BLOCK_PACKETS {
        return Err(SqueezeError::Count(packets.len()));
    }
    let length = first.len();
    check_length(length)?;
    check_size(length, packets.len(), MAX_BLOCK_BYTES)?;
    let mut data = Vec::with_capacity(length * packets.len());
    for (index, packet) in packets.iter().enumerate() {
        if packet.len() != length || apid(packet) != apid(first) {
            return Err(SqueezeError::Mixed(index));
        }
        data.extend_from_slice(packet);
    }
    Ok((length, data))
}

/// Application process identifier: the low 11 bits of the first two bytes
/// (CCSDS 133.0-B-2 §4.1.3.3.4).
fn apid(packet: &[u8]) -> Option<u16> {
    let (head, _) = packet.split_first_chunk::<2>()?;
    Some(u16::from_be_bytes(*head) & 0x07FF)
}

fn check_length(length: usize) -> Result<(), SqueezeError> {
    if (MIN_PACKET_BYTES..=MAX_PACKET_BYTES).contains(&length) {
        Ok(())
    } else {
        Err(SqueezeError::Length(length))
    }
}

fn check_size(length: usize, count: usize, limit: usize) -> Result<usize, SqueezeError> {
    let bytes = length.saturating_mul(count);
    if bytes > limit { Err(SqueezeError::TooLarge { bytes, limit }) } else { Ok(bytes) }
}

/// The check covers the header's fields too: packets cut elsewhere would be other packets.
fn check(fields: &[u8], data: &[u8]) -> u32 {
    let mut crc = Crc32c::new();
    crc.update(fields);
    crc.update(data);
    crc.finish()
}

/// Gives back the packets of a block.
///
/// The packets may have at most `max_bytes` bytes together, and never more than
/// [`MAX_BLOCK_BYTES`].
pub fn unsqueeze(block: &[u8], max_bytes: usize) -> Result<Unsqueezed, SqueezeError> {
    open(block, max_bytes, |_, _, _| {})
}

/// What became of neighbouring columns of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// First column, counted from the first byte of the packet.
    pub column: usize,
    /// Columns that were read as one number, 1, 2 or 4.
    pub width: usize,
    /// What was kept of them: `constant`, `as it is`, `XOR`, `difference` and so on.
    pub transform: &'static str,
    /// How that was written: `Rice` or `sparse` in fast blocks, `numbers` or `symbols` in dense
    /// ones, `once` where it is constant.
    pub coding: &'static str,
    /// Bits that they take in the block; in dense blocks whole bytes as they were settled, exact
    /// only in sum.
    pub bits: usize,
}

/// Tells how each column of a block was written; nothing for blocks without columns
/// (stored ones, whole ones, those of version 1).
pub fn explain(block: &[u8]) -> Result<Vec<Told>, SqueezeError> {
    let method = header(block)?.method;
    let mut told = Vec::new();
    open(block, MAX_BLOCK_BYTES, |column, group, bits| {
        let (transform, coding) = words(group, method);
        told.push(Told { column, width: group.width(), transform, coding, bits });
    })?;
    Ok(told)
}

fn words(group: Group, method: Method) -> (&'static str, &'static str) {
    let Group::Numbers { transform, alternative } = group else { return ("constant", "once") };
    let residue = match transform.residue {
        Residue::Raw => "as it is",
        Residue::Xor => "XOR",
        Residue::Difference(1) => "difference",
        Residue::Difference(2) => "second difference",
        Residue::Difference(_) => "third difference",
    };
    let coding = match (method, alternative) {
        (Method::Dense, false) => "numbers",
        (Method::Dense, true) => "symbols",
        (_, false) => "Rice",
        (_, true) => "sparse",
    };
    (residue, coding)
}

/// Length and number of packets, as a header states them; how they were made; the body.
struct Header<'a> {
    fields: &'a [u8; 6],
    method: Method,
    length: usize,
    count: usize,
    stated: u32,
    body: &'a [u8],
}

fn header(block: &[u8]) -> Result<Header<'_>, SqueezeError> {
    let (magic, rest) = block.split_first_chunk::<2>().ok_or(SqueezeError::Truncated)?;
    if *magic != MAGIC {
        return Err(SqueezeError::Magic);
    }
    let (fields, rest) = rest.split_first_chunk::<6>().ok_or(SqueezeError::Truncated)?;
    let (stated, body) = rest.split_first_chunk::<4>().ok_or(SqueezeError::Truncated)?;
    let [tag, l0, l1, l2, c0, c1] = *fields;
    let (version, method) = (tag >> 4, tag & 0x0F);
    let method = match (version, method) {
        (VERSION | VERSION_OF_PLANES, 0) => Method::Stored,
        (VERSION_OF_PLANES, 1) => Method::Planes,
        (VERSION, 2) => Method::Fast,
        (VERSION, 3) => Method::Dense,
        (VERSION, 4) => Method::Whole,
        _ => return Err(SqueezeError::Unknown { version, method }),
    };
    let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
    let count = usize::from(u16::from_be_bytes([c0, c1]));
    check_length(length)?;
    if !(1..=MAX_BLOCK_PACKETS).contains(&count) {
        return Err(SqueezeError::Count(count));
    }
    Ok(Header { fields, method, length, count, stated: u32::from_be_bytes(*stated), body })
}

fn open(
    block: &[u8],
    max_bytes: usize,
    told: impl FnMut(usize, Group, usize),
) -> Result<Unsqueezed, SqueezeError> {
    let Header { fields, method, length, count, stated, body } = header(block)?;
    let bytes = check_size(length, count, max_bytes.min(MAX_BLOCK_BYTES))?;
    let data = match method {
        Method::Stored => body.to_vec(),
        Method::Whole => inflate(body, bytes)?,
        Method::Planes => restore(&inflate(body, bytes + length)?, length, count)?,
        Method::Fast => {
            let (first, groups) = body.split_at_checked(length).ok_or(SqueezeError::Truncated)?;
            let mut data = first.repeat(count);
            fast::read(groups, &mut data, length, told).ok_or(SqueezeError::Damaged)?;
            data
        }
        Method::Dense => {
            let mut data = vec![0u8; bytes];
            dense::read(body, &mut data, length, told).ok_or(SqueezeError::Damaged)?;
            data
        }
    };
    if data.len() != bytes {
        return Err(SqueezeError::Truncated);
    }
    let found = check(fields, &data);
    if stated != found {
        return Err(SqueezeError::Crc { stated, found });
    }
    Ok(Unsqueezed { packet_length: length, data: data.into() })
}

/// Undoes zstd; the buffer grows with what comes out, to `limit` bytes at most.
fn inflate(body: &[u8], limit: usize) -> Result<Vec<u8>, SqueezeError> {
    let mut decoder =
        zstd::stream::read::Decoder::with_buffer(body).map_err(|_| SqueezeError::Damaged)?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(|_| SqueezeError::Damaged)?;
    let mut inside = Vec::new();
    let read = decoder
        .single_frame()
        .take(limit as u64 + 1)
        .read_to_end(&mut inside)
        .map_err(|_| SqueezeError::Damaged)?;
    if read > limit { Err(SqueezeError::Truncated) } else { Ok(inside) }
}

/// Puts the packets together again; allocates only after the planes proved to be all there.
fn restore(inside: &[u8], length: usize, count: usize) -> Result<Vec<u8>, SqueezeError> {
    let (modes, read) = modes::read_list(inside, length).ok_or(SqueezeError::Damaged)?;
    let rest = inside.get(read..).unwrap_or_default();
    let (first, planes) = rest.split_at_checked(length).ok_or(SqueezeError::Truncated)?;
    let wanted = modes.iter().map(|mode| mode.planes()).sum::<usize>() * (count - 1);
    if planes.len() != wanted {
        return Err(SqueezeError::Truncated);
    }
    let mut data = vec![0u8; length * count];
    data.get_mut(..length).ok_or(SqueezeError::Truncated)?.copy_from_slice(first);
    modes::read_planes(&mut data, length, &modes, planes).ok_or(SqueezeError::Damaged)?;
    Ok(data)
}

#[cfg(test)]
mod tests;
