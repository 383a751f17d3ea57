//! Sealed segments on their way to an object store: which next, and when again after a failure.
//!
//! ```text
//! closed segments ─► read, proven record by record ─► put if absent ─► read back, compare ─► Stored
//!                                                          └ failed: again, later and later
//! ```
//!
//! Ingest never waits for any of it. What a segment's records prove is what is receipted: a record
//! that rotted on this disk is not called safe elsewhere.

use crate::archive::{
    record::{BLOCK_BYTES, END_BYTES},
    scan::{Step, scan},
    segment::{SegmentHeader, file_name, number_of},
    storage::{Storage, StoredFile},
};
use crate::ledger::Ledger;
use codecs::ids::{KeyPrefix, RangeSet};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

/// First wait after a failure; each further one doubles it.
const RETRY_MS: u64 = 1_000;
/// Longest wait between attempts.
const RETRY_MS_MAX: u64 = 300_000;

/// A segment that is verified in the store, with the units that its records prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Which segment; `None` for what the store held before the oldest segment here.
    pub segment: Option<u64>,
    /// Its units by counter.
    pub ranges: BTreeMap<KeyPrefix, RangeSet>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is there, byte for byte.
    Stored,
    /// Other bytes are there under its name: never written over, looked at again at the longest
    /// wait.
    Conflict,
    /// It could not be told or done.
    Failed,
}

/// What is stored and what waits.
#[derive(Debug, Default)]
pub struct Uploads {
    stored: BTreeSet<u64>,
    /// Attempts so far, and when the next may be made.
    waiting: BTreeMap<u64, (u32, u64)>,
}

impl Outcome {
    /// Name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Conflict => "store-conflict",
            Self::Failed => "store-failed",
        }
    }
}

impl Uploads {
    /// Begins with what was verified before.
    pub fn new(stored: BTreeSet<u64>) -> Self {
        Self { stored, ..Self::default() }
    }

    /// Segments that are verified in the store.
    pub fn stored(&self) -> &BTreeSet<u64> {
        &self.stored
    }

    /// Tells the closed segments on disk: new ones wait from now on, those that are gone do not.
    pub fn closed(&mut self, numbers: &BTreeSet<u64>) {
        self.waiting.retain(|number, _| numbers.contains(number));
        for number in numbers.difference(&self.stored) {
            self.waiting.entry(*number).or_insert((0, 0));
        }
    }

    /// The oldest segment whose time has come.
    pub fn next(&self, now_ms: u64) -> Option<u64> {
        let due = self.waiting.iter().find(|(_, (_, at_ms))| *at_ms <= now_ms);
        due.map(|(number, _)| *number)
    }

    /// Tells how an attempt ended.
    pub fn done(&mut self, number: u64, outcome: Outcome, now_ms: u64) {
        let Some((attempts, at_ms)) = self.waiting.get_mut(&number) else { return };
        match outcome {
            Outcome::Stored => {
                self.waiting.remove(&number);
                self.stored.insert(number);
            }
            Outcome::Conflict => *at_ms = now_ms + RETRY_MS_MAX,
            Outcome::Failed => {
                *at_ms = now_ms + (RETRY_MS << (*attempts).min(20)).min(RETRY_MS_MAX);
                *attempts += 1;
            }
        }
    }
}

/// The segments that no one writes any more, with where each ends; those in `known` are passed over
/// unread.
pub fn closed<S: Storage>(
    storage: &mut S,
    known: &BTreeSet<u64>,
) -> io::Result<BTreeMap<u64, u64>> {
    let mut numbers: Vec<u64> = storage.list()?.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();
    let mut closed = BTreeMap::new();
    for (at, number) in numbers.iter().enumerate() {
        if known.contains(number) {
            continue;
        }
        let end = match numbers.get(at + 1) {
            Some(next) => stated_end(storage, *number, *next)?,
            None => None,
        };
        let sealed = |length: &u64| length % BLOCK_BYTES as u64 == END_BYTES as u64;
        let end = match (end, storage.open(&file_name(*number))) {
            // Let go while this looked.
            (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => continue,
            (Some(end), file) => Some(end.min(file?.length()?)),
            (None, file) => Some(file?.length()?).filter(sealed),
        };
        closed.extend(end.map(|end| (*number, end)));
    }
    Ok(closed)
}

/// Where the next segment's header says that a segment ends.
fn stated_end<S: Storage>(storage: &mut S, number: u64, next: u64) -> io::Result<Option<u64>> {
    let file = match storage.open(&file_name(next)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let header = SegmentHeader::read(&file, next)?.ok();
    let previous = header.and_then(|(header, _)| header.previous);
    Ok(previous.filter(|(before, _)| *before == number).map(|(_, end)| end))
}

/// What a whole segment in memory says: its header, and the ledger behind its last record.
///
/// The checkpoint and everything that a record proves; `None` where its header does not hold.
pub fn ledger_behind(bytes: &[u8], number: u64) -> Option<(SegmentHeader, Ledger)> {
    let (header, from) = SegmentHeader::read(&InMemory(bytes), number).ok()?.ok()?;
    let mut ledger = header.checkpoint.clone();
    prove(bytes, number, from, |key, length, unit| {
        ledger.note(key, length);
        crate::archive::note_if_void(&mut ledger, key, unit);
    });
    Some((header, ledger))
}

/// The units that the records of a whole segment prove.
pub fn proven(bytes: &[u8], number: u64) -> BTreeMap<KeyPrefix, RangeSet> {
    let header = SegmentHeader::read(&InMemory(bytes), number);
    let from = match header {
        Ok(Ok((_, from))) => from,
        _ => BLOCK_BYTES as u64,
    };
    let mut ranges: BTreeMap<KeyPrefix, RangeSet> = BTreeMap::new();
    prove(bytes, number, from, |key, _, _| {
        ranges.entry(key.prefix).or_default().insert_one(key.sequence);
    });
    ranges
}

fn prove(
    bytes: &[u8],
    number: u64,
    from: u64,
    mut unit: impl FnMut(&codecs::ids::UnitKey, u64, &[u8]),
) {
    // Memory gives no errors.
    let _ = scan(&InMemory(bytes), number, from, bytes.len() as u64, true, |step| {
        if let Step::Unit { header, bytes, .. } = step {
            unit(&header.key, bytes.len() as u64, bytes);
        }
        Ok(())
    });
}

/// A segment that was read whole; nothing writes it.
struct InMemory<'a>(&'a [u8]);

impl StoredFile for InMemory<'_> {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let rest = self.0.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&mut self, _: u64, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn truncate(&mut self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::tests::{archive_of, unit};

    #[test]
    fn failures_wait_longer_each_time_and_hold_no_other_up() {
        let mut uploads = Uploads::new([0].into());
        uploads.closed(&[0, 1, 2].into());
        assert_eq!(uploads.next(0), Some(1), "0 is stored");
        uploads.done(1, Outcome::Failed, 0);
        assert_eq!((uploads.next(0), uploads.next(1_000)), (Some(2), Some(1)));
        uploads.done(2, Outcome::Stored, 0);
        let mut now_ms = 1_000;
        for wait_ms in [2_000, 4_000, 8_000] {
            uploads.done(1, Outcome::Failed, now_ms);
            assert_eq!(uploads.next(now_ms + wait_ms - 1), None);
            now_ms += wait_ms;
            assert_eq!(uploads.next(now_ms), Some(1));
        }
        for _ in 0..100 {
            uploads.done(1, Outcome::Failed, 0);
        }
        assert_eq!(uploads.next(RETRY_MS_MAX), Some(1), "never given up");
        // Retention took it.
        uploads.closed(&[2].into());
        assert_eq!(uploads.next(u64::MAX), None);
    }

    #[test]
    fn only_closed_segments_go_and_only_what_their_records_prove() {
        let (disk, segments) = archive_of(120, false);
        let found = closed(&mut disk.clone(), &BTreeSet::new()).unwrap();
        assert_eq!(found.len(), segments.len() - 1, "the newest is open");
        let known = [0].into();
        assert_eq!(closed(&mut disk.clone(), &known).unwrap().len(), found.len() - 1);
        let bytes = disk.contents(&segments[0])[..found[&0] as usize].to_vec();
        let prefix = unit(1, 0).key.prefix;
        let whole = proven(&bytes, 0)[&prefix].count();
        let mut rotten = bytes.clone();
        rotten[4096 + 120] ^= 1;
        assert_eq!(proven(&rotten, 0)[&prefix].count(), whole - 1);
        let (_, ledger) = ledger_behind(&bytes, 0).unwrap();
        assert_eq!(ledger.counter(&prefix).unwrap().held.count(), whole);
        let (disk, segments) = archive_of(120, true);
        let found = closed(&mut disk.clone(), &BTreeSet::new()).unwrap();
        assert_eq!(found.len(), segments.len(), "sealed at a stop");
    }
}
