//! A segment's file: its name and its header with the ledger as it stood when the segment began.
//!
//! ```text
//!  0   8 "GTARCHIV"             40   8 ns TAI when it was begun
//!  8   4 version, 3             48   8 number of the segment before, all ones for none
//! 12   4 bytes of this header   56   8 where that one ends: what stands behind was never acknowledged
//! 16   4 CRC-32C of this header 64  32 footer hash of that one, zeros for none
//! 20   4 zero                   96   8 floor: segments below were let go on purpose
//! 24   8 segment number        104   - checkpoint of the ledger, then zeros to a block
//! 32   8 ledger id
//! ```

use super::{
    record::BLOCK_BYTES,
    seal::{Footer, NO_FOOTER},
    storage::{StoredFile, read_up_to},
};
use crate::ledger::Ledger;
use codecs::{fec::crc::crc32c, time::Tai};
use std::io;

const MAGIC: [u8; 8] = *b"GTARCHIV";
const VERSION: u32 = 3;
const FIXED_BYTES: usize = 104;
const NONE: u64 = u64::MAX;
/// Largest header: the ledger's bounds at their worst, with room.
const HEADER_BYTES_MAX: usize = 64 << 20;

/// What a segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Number, counted from 0.
    pub number: u64,
    /// Whose archive.
    pub ledger_id: u64,
    /// When it was begun.
    pub begun: Tai,
    /// The segment before and where it ends.
    pub previous: Option<(u64, u64)>,
    /// Footer hash of that one.
    pub footer: Footer,
    /// Segments below this number were let go on purpose before this one was begun.
    pub floor: u64,
    /// The ledger before the first record of this segment.
    pub checkpoint: Ledger,
}

/// Why a header can't be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The file ends before its header does.
    #[error("the header is cut short")]
    Short,
    /// Not a segment.
    #[error("no segment begins here")]
    Magic,
    /// A version that this program does not read.
    #[error("written as version {0} of the archive; this program reads {VERSION}")]
    Version(u32),
    /// Its CRC or a field is wrong.
    #[error("the header is damaged")]
    Damaged,
    /// The header holds but belongs to another number.
    #[error("this is segment {0}")]
    Misplaced(u64),
}

/// File name of a segment.
pub fn file_name(number: u64) -> String {
    format!("{number:010}.segment")
}

/// Number in a file name, if it names a segment.
pub fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".segment")?;
    (digits.len() == 10).then(|| digits.parse().ok())?
}

impl SegmentHeader {
    /// What the first segment of an archive follows on: nothing.
    pub(super) const fn first(ledger_id: u64) -> Self {
        Self {
            number: 0,
            ledger_id,
            begun: Tai(0),
            previous: None,
            footer: NO_FOOTER,
            floor: 0,
            checkpoint: Ledger::new(),
        }
    }

    /// Writes the header, padded to whole blocks.
    pub fn encode(&self) -> Vec<u8> {
        let checkpoint = self.checkpoint.checkpoint();
        let bytes = (FIXED_BYTES + checkpoint.len()).next_multiple_of(BLOCK_BYTES);
        let (previous, previous_end) = self.previous.unwrap_or((NONE, 0));
        let mut out = Vec::with_capacity(bytes);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&(bytes as u32).to_be_bytes());
        out.extend_from_slice(&[0; 8]);
        for word in [self.number, self.ledger_id, self.begun.0 as u64, previous, previous_end] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(&self.footer);
        out.extend_from_slice(&self.floor.to_be_bytes());
        out.extend_from_slice(&checkpoint);
        out.resize(bytes, 0);
        let crc = crc32c(&out);
        out[16..20].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// Reads a header and its length.
    pub fn decode(bytes: &[u8]) -> Result<(Self, usize), HeaderError> {
        let length = header_bytes(bytes)?;
        let mut header = bytes.get(..length).ok_or(HeaderError::Short)?.to_vec();
        let word = |at: usize| header[at..].first_chunk().map_or(0, |w| u64::from_be_bytes(*w));
        let (number, ledger_id, begun) = (word(24), word(32), Tai(word(40) as i64));
        let previous = (word(48) != NONE).then(|| (word(48), word(56)));
        let floor = word(96);
        let footer = header.get(64..).and_then(|rest| rest.first_chunk()).copied();
        let footer = footer.ok_or(HeaderError::Short)?;
        let crc = (word(16) >> 32) as u32;
        header[16..20].fill(0);
        if crc32c(&header) != crc {
            return Err(HeaderError::Damaged);
        }
        let checkpoint = Ledger::from_checkpoint(&header[FIXED_BYTES..]);
        let checkpoint = checkpoint.map_err(|_| HeaderError::Damaged)?;
        let header = Self { number, ledger_id, begun, previous, footer, floor, checkpoint };
        Ok((header, length))
    }

    /// Reads the header of segment `number` from its file, and where its records begin.
    pub fn read(
        file: &impl StoredFile,
        number: u64,
    ) -> io::Result<Result<(Self, u64), HeaderError>> {
        let mut start = vec![0; BLOCK_BYTES];
        let got = read_up_to(file, 0, &mut start)?;
        start.truncate(got);
        let length = match header_bytes(&start) {
            Ok(length) => length,
            Err(error) => return Ok(Err(error)),
        };
        if length as u64 > file.length()? {
            return Ok(Err(HeaderError::Short));
        }
        start.resize(length, 0);
        if length > got {
            let more = read_up_to(file, got as u64, &mut start[got..])?;
            start.truncate(got + more);
        }
        Ok(Self::decode(&start).and_then(|(header, length)| match header.number {
            other if other != number => Err(HeaderError::Misplaced(other)),
            _ => Ok((header, length as u64)),
        }))
    }
}

/// Length that the first bytes of a header state, if they may be one.
fn header_bytes(bytes: &[u8]) -> Result<usize, HeaderError> {
    let fixed: &[u8; FIXED_BYTES] = bytes.first_chunk().ok_or(HeaderError::Short)?;
    if fixed[..8] != MAGIC {
        return Err(HeaderError::Magic);
    }
    let field =
        |at: usize| u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
    if field(8) != VERSION {
        return Err(HeaderError::Version(field(8)));
    }
    let length = field(12) as usize;
    if !(BLOCK_BYTES..=HEADER_BYTES_MAX).contains(&length) || !length.is_multiple_of(BLOCK_BYTES) {
        return Err(HeaderError::Damaged);
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::key;

    #[test]
    fn headers_come_back_and_every_flip_is_found() {
        let mut checkpoint = Ledger::new();
        (0..700).for_each(|index| {
            checkpoint.note(&key(1, index * 2), 5);
        });
        let header = SegmentHeader {
            number: 12,
            ledger_id: 0xABCD,
            begun: Tai(5),
            previous: Some((11, 8_192)),
            footer: [0xF0; 32],
            floor: 3,
            checkpoint,
        };
        let bytes = header.encode();
        assert_eq!(bytes.len() % BLOCK_BYTES, 0);
        assert_eq!(SegmentHeader::decode(&bytes), Ok((header, bytes.len())));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(SegmentHeader::decode(&flipped).is_err(), "byte {at}");
        }
        for end in [0, 1, 63, 64, 4_095, bytes.len() - 1] {
            assert!(SegmentHeader::decode(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn names_and_numbers_agree() {
        assert_eq!(number_of(&file_name(42)), Some(42));
        assert_eq!(number_of("42.segment"), None);
        assert_eq!(number_of("0000000042.index"), None);
    }
}
