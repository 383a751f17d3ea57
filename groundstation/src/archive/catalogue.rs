//! Sealed segments: which one holds a key, and the digest that stands there.

use super::{
    index::{self, Index},
    record::{BLOCK_BYTES, Digest, Position, Record, UNIT_HEADER_BYTES},
    scan::{Step, scan},
    segment::{SegmentHeader, file_name},
    storage::{Storage, StoredFile, read_up_to, write_all},
};
use codecs::ids::{KeyPrefix, RangeSet, UnitKey};
use std::{collections::BTreeMap, io};

/// Indexes in memory: duplicates come in runs, over a few segments.
const RECENT_MAX: usize = 4;

/// Sequences of each counter in a segment.
pub(crate) type Ranges = BTreeMap<KeyPrefix, RangeSet>;

/// What is remembered of each sealed segment; the rest is read from its index when it is needed.
#[derive(Default)]
pub(super) struct Catalogue {
    segments: BTreeMap<u64, Option<Ranges>>,
    /// Indexes used last, the latest at the end.
    recent: Vec<(u64, Index)>,
}

impl Catalogue {
    pub(super) fn new(numbers: impl IntoIterator<Item = u64>) -> Self {
        let segments = numbers.into_iter().map(|number| (number, None)).collect();
        Self { segments, recent: Vec::new() }
    }

    /// Takes in a segment that no one writes any more, and stores its index.
    pub(super) fn add<S: Storage>(&mut self, storage: &mut S, number: u64, index: &Index) {
        self.segments.insert(number, Some(index.ranges()));
        if let Err(error) = store_index(storage, number, index) {
            tracing::debug!(%error, number, "index not stored; a scan will make it again");
        }
    }

    /// Segments that no one writes any more, in order.
    pub(super) fn numbers(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.segments.keys().copied()
    }

    /// Forgets a segment that was deleted.
    pub(super) fn let_go(&mut self, number: u64) {
        self.segments.remove(&number);
        self.recent.retain(|(recent, _)| *recent != number);
    }

    /// Sequences that a segment holds.
    pub(super) fn ranges<S: Storage>(
        &mut self,
        storage: &mut S,
        number: u64,
    ) -> io::Result<&Ranges> {
        if self.segments.get(&number).is_none_or(Option::is_none) {
            let ranges = self.index(storage, number)?.ranges();
            self.segments.insert(number, Some(ranges));
        }
        Ok(self.segments.entry(number).or_default().get_or_insert_default())
    }

    /// Digest of the record under `key`, where one can be read.
    pub(super) fn digest<S: Storage>(
        &mut self,
        storage: &mut S,
        key: &UnitKey,
    ) -> io::Result<Option<Digest>> {
        let numbers: Vec<u64> = self.segments.keys().rev().copied().collect();
        for number in numbers {
            let ranges = self.ranges(storage, number)?.get(&key.prefix);
            if !ranges.is_some_and(|ranges| ranges.contains(key.sequence)) {
                continue;
            }
            let Some(offset) = self.index(storage, number)?.find(key) else { continue };
            let file = storage.open(&file_name(number))?;
            if let Some(digest) = digest_at(&file, Position { segment: number, offset }, key)? {
                return Ok(Some(digest));
            }
        }
        Ok(None)
    }

    /// The index of a segment, read if it is not among the recent ones.
    fn index<S: Storage>(&mut self, storage: &mut S, number: u64) -> io::Result<&Index> {
        let found = self.recent.iter().position(|(recent, _)| *recent == number);
        let entry = match found {
            Some(at) => self.recent.remove(at),
            None => (number, load_index(storage, number)?),
        };
        if self.recent.len() == RECENT_MAX {
            self.recent.remove(0);
        }
        let at = self.recent.len();
        self.recent.push(entry);
        Ok(&self.recent[at].1)
    }
}

/// Digest in the record of `key` at a place, if its header holds.
pub(crate) fn digest_at(
    file: &impl StoredFile,
    place: Position,
    key: &UnitKey,
) -> io::Result<Option<Digest>> {
    let mut header = [0; UNIT_HEADER_BYTES];
    let got = read_up_to(file, place.offset, &mut header)?;
    Ok(match Record::read(&header[..got], place) {
        Some(Record::Unit(unit)) if unit.key == *key => Some(unit.digest),
        _ => None,
    })
}

fn store_index<S: Storage>(storage: &mut S, number: u64, index: &Index) -> io::Result<()> {
    let name = index::file_name(number);
    let bytes = index.encode(number);
    if storage.list()?.contains(&name) {
        storage.remove(&name)?;
    }
    let mut file = storage.create(&name, bytes.len() as u64)?;
    write_all(&mut file, 0, &bytes)
}

/// The stored index of a segment, if it is whole.
pub(crate) fn stored_index<S: Storage>(storage: &mut S, number: u64) -> Option<Index> {
    let file = storage.open(&index::file_name(number)).ok()?;
    let mut bytes = vec![0; file.length().ok()? as usize];
    let got = read_up_to(&file, 0, &mut bytes).ok()?;
    Index::decode(&bytes[..got], number)
}

/// The index of a segment, made again from the log where it is missing or damaged.
pub(crate) fn load_index<S: Storage>(storage: &mut S, number: u64) -> io::Result<Index> {
    if let Some(index) = stored_index(storage, number) {
        return Ok(index);
    }
    let file = storage.open(&file_name(number))?;
    let from = match SegmentHeader::read(&file, number)? {
        Ok((_, from)) => from,
        Err(_) => BLOCK_BYTES as u64,
    };
    let mut index = Index::default();
    scan(&file, number, from, u64::MAX, false, |step| {
        if let Step::Unit { offset, header, .. } = step {
            index.add(&header.key, offset);
        }
        Ok(())
    })?;
    if let Err(error) = store_index(storage, number, &index) {
        tracing::debug!(%error, number, "index not stored; a scan will make it again");
    }
    Ok(index)
}
