//! A bundle that comes in pieces, in any order, over contacts and restarts.
//!
//! The bytes go into `upload.part`, which is synced before `upload.map` says what it holds: after a
//! cut the map may know too little, never too much. Whole and of the right digest it is renamed to
//! `received`; nothing looks at it before.

use bytes::Bytes;
use codecs::{
    ids::{RangeSet, SeqRange},
    package::{Digest, MAX_BUNDLE_BYTES, Piece},
};
use serde::{Deserialize, Serialize};

use super::files::{Fault, Files, replace};

/// A bundle on its way.
pub const PART: &str = "upload.part";
/// Which of its bytes are here.
pub const MAP: &str = "upload.map";
/// One that came whole and waits to be installed.
pub const RECEIVED: &str = "received";

/// Most holes that a bundle on its way may have; a piece that would make another one waits until
/// there are fewer.
const RANGES_MAX: usize = 256;
/// Longest map that is read.
const MAP_BYTES_MAX: usize = 64 << 10;

/// What became of a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Kept; so many bytes are still missing.
    Missing(u64),
    /// It was here already.
    Repeated,
    /// It was the last one, and the whole has its digest.
    Whole(Digest),
}

/// Why a piece was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// All bytes came and are not what they should be; they were thrown away.
    #[error("the whole has SHA-256 {found}, its pieces said {wanted}: all of it must come again")]
    Digest {
        /// What its pieces said.
        wanted: Digest,
        /// What it has.
        found: Digest,
    },
    /// Too many holes.
    #[error("it would leave more than {RANGES_MAX} holes: send what lies between first")]
    Holes,
    /// The folder failed.
    #[error("could not be kept: {0}")]
    Fault(#[from] Fault),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Map {
    digest: Digest,
    total: u64,
    /// First and last byte of each run.
    held: Vec<[u64; 2]>,
}

/// What is on its way.
#[derive(Clone, Debug, Default)]
pub struct Upload {
    under_way: Option<(Digest, u64, RangeSet)>,
    received: Option<Digest>,
}

impl Upload {
    /// What a restart finds; leftovers of a cut are removed.
    pub fn open(files: &mut impl Files) -> Result<Self, Fault> {
        let mut upload = Self::default();
        let map = files.read(MAP, MAP_BYTES_MAX)?;
        let map = map.and_then(|bytes| serde_json::from_slice::<Map>(&bytes).ok());
        let part = files.read(PART, MAX_BUNDLE_BYTES)?;
        match (map, part) {
            (Some(map), Some(part)) => {
                let ranges = map.held.iter().filter(|[first, last]| first <= last);
                let held: RangeSet =
                    ranges.map(|[first, last]| SeqRange { first: *first, last: *last }).collect();
                // The part may be longer than what is held, never shorter.
                let end = held.ranges().last().map_or(0, |range| range.last + 1);
                if end <= part.len() as u64 && end <= map.total {
                    upload.under_way = Some((map.digest, map.total, held));
                } else {
                    upload.forget(files)?;
                }
            }
            (None, None) => {}
            _ => upload.forget(files)?,
        }
        if let Some(bytes) = files.read(RECEIVED, MAX_BUNDLE_BYTES)? {
            upload.received = Some(Digest::of(&bytes));
        }
        Ok(upload)
    }

    /// The digest of the bundle that waits to be installed.
    pub fn received(&self) -> Option<Digest> {
        self.received
    }

    /// Digest, length and bytes here of the one on its way.
    pub fn under_way(&self) -> Option<(Digest, u64, u64)> {
        self.under_way.as_ref().map(|(digest, total, held)| (*digest, *total, held.count()))
    }

    /// Takes a piece and keeps it durably. A piece of another bundle than the one on its way begins
    /// that one and forgets the other.
    pub fn take(&mut self, files: &mut impl Files, piece: &Piece) -> Result<Taken, UploadError> {
        if self.received == Some(piece.digest) {
            return Ok(Taken::Repeated);
        }
        let same = |of: &(Digest, u64, RangeSet)| of.0 == piece.digest && of.1 == piece.total;
        if !self.under_way.as_ref().is_some_and(same) {
            self.forget(files)?;
            // Made anew: a shorter bundle must not end in the tail of a longer one.
            files.create(PART)?;
            self.under_way = Some((piece.digest, piece.total, RangeSet::new()));
        }
        let Some((digest, total, held)) = &self.under_way else { return Ok(Taken::Repeated) };
        let (digest, total) = (*digest, *total);
        let last = piece.offset + (piece.bytes.len() as u64).saturating_sub(1);
        let range = SeqRange { first: piece.offset, last };
        if piece.bytes.is_empty() || held.missing_from(range).is_empty() {
            return Ok(Taken::Repeated);
        }
        let mut with = held.clone();
        with.insert(range);
        if with.ranges().len() > RANGES_MAX {
            return Err(UploadError::Holes);
        }
        files.write_at(PART, piece.offset, &piece.bytes)?;
        files.sync(PART)?;
        if with.count() < total {
            let held = with.ranges().iter().map(|range| [range.first, range.last]).collect();
            let map = serde_json::to_vec(&Map { digest, total, held });
            let map = map.map_err(|error| Fault::Failed(error.to_string()))?;
            replace(files, MAP, &map)?;
            let missing = total - with.count();
            self.under_way = Some((digest, total, with));
            return Ok(Taken::Missing(missing));
        }
        let whole = files.read(PART, MAX_BUNDLE_BYTES)?.unwrap_or_default();
        let found = Digest::of(&whole);
        if found != digest || whole.len() as u64 != total {
            self.forget(files)?;
            return Err(UploadError::Digest { wanted: digest, found });
        }
        files.rename(PART, RECEIVED)?;
        files.remove(MAP)?;
        files.sync_names()?;
        self.under_way = None;
        self.received = Some(digest);
        Ok(Taken::Whole(digest))
    }

    /// Puts a whole bundle where one that came in pieces would stand.
    pub fn put(&mut self, files: &mut impl Files, bundle: &Bytes) -> Result<Digest, Fault> {
        replace(files, RECEIVED, bundle)?;
        let digest = Digest::of(bundle);
        self.received = Some(digest);
        Ok(digest)
    }

    /// The received one was moved away.
    pub fn moved(&mut self) {
        self.received = None;
    }

    /// Throws away what was received.
    pub fn reject(&mut self, files: &mut impl Files) -> Result<(), Fault> {
        files.remove(RECEIVED)?;
        files.sync_names()?;
        self.received = None;
        Ok(())
    }

    fn forget(&mut self, files: &mut impl Files) -> Result<(), Fault> {
        self.under_way = None;
        // The map first: a map without its part is noticed, and so is the reverse.
        files.remove(MAP)?;
        files.remove(PART)?;
        files.sync_names()
    }
}
