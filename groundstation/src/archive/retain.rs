//! Retention: whole sealed segments are deleted, oldest first; the ledger never forgets what they
//! held.
//!
//! ```text
//! 0000000012.floor  the header of segment 12, written and synced before 11 is deleted
//! 0000000012.segment, 0000000013.segment ...
//! ```
//!
//! An archive that begins writes a floor of number 0, so that its ledger has a name on disk before
//! anyone is told it. A *floor* is the header of the oldest segment that stays. Its checkpoint says what was held
//! before, so that a deleted segment is told from one that was lost. A unit whose record went this
//! way is judged by its key alone when it comes again: a duplicate, since its bytes can't be
//! compared any more, and taking it would archive it twice.

use super::{
    index,
    segment::{SegmentHeader, file_name},
    storage::{Storage, StoredFile as _, read_up_to, write_all},
    volume::Volume,
};
use crate::{audit::Key, ledger::Ledger};
use codecs::{
    ids::{KeyPrefix, RangeSet, SeqRange, UnitKey},
    time::Tai,
};
use serde::Deserialize;
use std::{collections::BTreeMap, io};

/// Segments that always stay: were there one, damage to its header would cost the ledger.
const KEPT_MIN: usize = 2;
/// Largest floor file, as for a header.
const FLOOR_BYTES_MAX: u64 = 64 << 20;

/// What may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retain {
    /// Bytes of segments to keep; the oldest beyond go.
    pub bytes: Option<u64>,
    /// Seconds after which a segment goes, by the station's clock and the time it was sealed.
    pub age_s: Option<u64>,
    /// Only what an object store holds may go.
    pub only_stored: bool,
}

impl Retain {
    /// Whether anything ever goes.
    pub fn is_set(&self) -> bool {
        self.bytes.is_some() || self.age_s.is_some()
    }
}

/// Below which number segments were let go on purpose, and what was held in them.
#[derive(Debug, Default)]
pub struct Floor {
    /// The oldest segment that stays.
    pub number: u64,
    header: Option<Box<SegmentHeader>>,
    /// Lengths of sealed segments: they never change.
    lengths: BTreeMap<u64, u64>,
}

/// File name of a floor.
fn floor_name(number: u64) -> String {
    format!("{number:010}.floor")
}

fn floor_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".floor")?;
    (digits.len() == 10).then(|| digits.parse().ok())?
}

impl Floor {
    fn new(header: SegmentHeader) -> Self {
        let number = header.number;
        Self { number, header: Some(Box::new(header)), lengths: BTreeMap::new() }
    }

    /// Header of the segment that it names, if there is a floor.
    pub fn header(&self) -> Option<&SegmentHeader> {
        self.header.as_deref()
    }

    /// Whether a key was held before the oldest segment that stays.
    pub fn holds(&self, key: &UnitKey) -> bool {
        let counter = self.header().and_then(|header| header.checkpoint.counter(&key.prefix));
        counter.is_some_and(|counter| {
            counter.held.contains(key.sequence) && !counter.lost.contains(key.sequence)
        })
    }

    /// The highest floor in a folder whose file holds.
    pub fn read<S: Storage>(storage: &mut S, names: &[String]) -> io::Result<Self> {
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| floor_number(name)).collect();
        numbers.sort_unstable();
        for number in numbers.into_iter().rev() {
            let file = storage.open(&floor_name(number))?;
            let length = file.length()?.min(FLOOR_BYTES_MAX);
            let mut bytes = vec![0; length as usize];
            let got = read_up_to(&file, 0, &mut bytes)?;
            match SegmentHeader::decode(&bytes[..got]) {
                Ok((header, _)) if header.number == number => return Ok(Self::new(header)),
                // A crash while it was written: nothing was deleted on its word yet.
                _ => tracing::warn!(number, "a floor does not hold; an older one counts"),
            }
        }
        Ok(Self::default())
    }

    /// The floor as its file says, or as the headers of `numbers` do where that is lost.
    pub fn known<S: Storage>(
        storage: &mut S,
        names: &[String],
        numbers: &[u64],
    ) -> io::Result<Self> {
        let floor = Self::read(storage, names)?;
        let stated = newest_floor(storage, numbers)?.filter(|at| *at > floor.number);
        let oldest = stated.and_then(|stated| numbers.iter().find(|number| **number >= stated));
        if let Some(oldest) = oldest {
            let file = storage.open(&file_name(*oldest))?;
            if let Ok((header, _)) = SegmentHeader::read(&file, *oldest)? {
                tracing::warn!(oldest, "the floor is lost; a segment's header says it again");
                return Ok(Self::new(header));
            }
        }
        Ok(floor)
    }

    /// Begins an archive with what is held elsewhere: judged by key alone, like what was let go.
    pub fn import<S: Storage>(storage: &mut S, ledger_id: u64, held: Ledger) -> io::Result<()> {
        let first = SegmentHeader::first(ledger_id);
        write(storage, &SegmentHeader { checkpoint: held, ..first })
    }

    /// The floor of an archive that is opened: made again where it was lost; takes `numbers` below
    /// it off the disk, which a crash left there.
    pub(super) fn settle<S: Storage>(
        storage: &mut S,
        names: &[String],
        numbers: &mut Vec<u64>,
        fresh_ledger_id: u64,
    ) -> io::Result<Self> {
        let mut floor = Self::known(storage, names, numbers)?;
        if floor.header.is_none() && numbers.is_empty() {
            floor = Self::new(SegmentHeader::first(fresh_ledger_id));
        }
        if let Some(header) = floor.header()
            && !names.contains(&floor_name(header.number))
        {
            write(storage, header)?;
        }
        for gone in numbers.iter().filter(|number| **number < floor.number) {
            remove(storage, *gone)?;
        }
        numbers.retain(|number| *number >= floor.number);
        let number = floor.number;
        let older = names.iter().filter(|name| floor_number(name).is_some_and(|at| at < number));
        for name in older {
            storage.remove(name)?;
        }
        Ok(floor)
    }
}

/// What the newest header that holds says of the floor.
fn newest_floor<S: Storage>(storage: &mut S, numbers: &[u64]) -> io::Result<Option<u64>> {
    for number in numbers.iter().rev() {
        let file = storage.open(&file_name(*number))?;
        if let Ok((header, _)) = SegmentHeader::read(&file, *number)? {
            return Ok(Some(header.floor));
        }
    }
    Ok(None)
}

/// Writes a floor: durable before anything goes on its word.
fn write<S: Storage>(storage: &mut S, header: &SegmentHeader) -> io::Result<()> {
    let name = floor_name(header.number);
    if storage.list()?.contains(&name) {
        storage.remove(&name)?;
    }
    let bytes = header.encode();
    let mut file = storage.create(&name, bytes.len() as u64)?;
    write_all(&mut file, 0, &bytes)?;
    file.sync()?;
    storage.sync_names()
}

fn remove<S: Storage>(storage: &mut S, number: u64) -> io::Result<()> {
    for name in [file_name(number), index::file_name(number)] {
        match storage.remove(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// What of `all` is not in `known`.
fn without(all: &RangeSet, known: &RangeSet) -> RangeSet {
    let mut rest = all.clone();
    known.ranges().iter().for_each(|range| rest.remove(*range));
    rest
}

impl<S: Storage> Volume<S> {
    /// Lets go of what the policy does not keep; the segments deleted. `stored` says which are in
    /// an object store; `lose` hears of what turns out to be lost. The two newest segments always
    /// stay.
    pub fn retain(
        &mut self,
        policy: &Retain,
        stored: impl Fn(u64) -> bool,
        mut lose: impl FnMut(KeyPrefix, SeqRange),
        now: Tai,
    ) -> io::Result<Vec<u64>> {
        let mut gone = Vec::new();
        while policy.is_set() {
            let mut numbers: Vec<u64> = self.catalogue.numbers().collect();
            let open = usize::from(self.open.is_some());
            if numbers.len() + open <= KEPT_MIN {
                break;
            }
            numbers.truncate(numbers.len() + open + 1 - KEPT_MIN);
            let Some((keep, header)) = self.next_header(&numbers)? else { break };
            let over = match policy.bytes {
                Some(bytes) => self.sealed_bytes()? > bytes,
                None => false,
            };
            let aged = policy.age_s.is_some_and(|age_s| {
                let age = i64::try_from(age_s.saturating_mul(1_000_000_000)).unwrap_or(i64::MAX);
                now.0.saturating_sub(header.begun.0) > age
            });
            let mut going = numbers.into_iter().take_while(|number| *number < keep);
            if !(over || aged) || (policy.only_stored && !going.clone().all(&stored)) {
                break;
            }
            let oldest = going.next();
            let header = self.with_losses(oldest, header, &mut lose)?;
            let going: Vec<u64> = oldest.into_iter().chain(going).collect();
            self.let_go(&going, header)?;
            gone.extend(going);
        }
        Ok(gone)
    }

    /// The first segment behind the oldest whose header holds: what becomes the floor.
    fn next_header(&mut self, numbers: &[u64]) -> io::Result<Option<(u64, SegmentHeader)>> {
        for number in numbers.iter().skip(1) {
            let file = self.storage.open(&file_name(*number))?;
            if let Ok((header, _)) = SegmentHeader::read(&file, *number)? {
                return Ok(Some((*number, header)));
            }
        }
        Ok(None)
    }

    fn sealed_bytes(&mut self) -> io::Result<u64> {
        let mut sum = 0;
        for number in self.catalogue.numbers() {
            sum += match self.floor.lengths.get(&number) {
                Some(length) => *length,
                None => {
                    let length = self.storage.open(&file_name(number))?.length()?;
                    self.floor.lengths.insert(number, length);
                    length
                }
            };
        }
        Ok(sum)
    }

    /// What was held between the floor and the oldest segment, and no segment proves, is lost and
    /// stays so: retention must not turn a loss into a deletion.
    fn with_losses(
        &mut self,
        oldest: Option<u64>,
        mut header: SegmentHeader,
        lose: &mut impl FnMut(KeyPrefix, SeqRange),
    ) -> io::Result<SegmentHeader> {
        let Some(oldest) = oldest else { return Ok(header) };
        let file = self.storage.open(&file_name(oldest))?;
        let Ok((first, _)) = SegmentHeader::read(&file, oldest)? else { return Ok(header) };
        let floor = self.floor.header().map(|floor| &floor.checkpoint);
        let mut losses = BTreeMap::new();
        for (prefix, counter) in first.checkpoint.counters() {
            let known = floor.and_then(|floor| floor.counter(prefix)).cloned().unwrap_or_default();
            let mut lost = without(&counter.held, &known.held);
            lost.extend(&known.lost);
            if !lost.is_empty() {
                losses.insert(*prefix, lost);
            }
        }
        if losses.is_empty() {
            return Ok(header);
        }
        // What came again since stands in a segment.
        let numbers: Vec<u64> = self.catalogue.numbers().collect();
        for number in numbers {
            for (prefix, held) in self.catalogue.ranges(&mut self.storage, number)? {
                if let Some(lost) = losses.get_mut(prefix) {
                    *lost = without(lost, held);
                }
            }
        }
        for (prefix, lost) in losses {
            let units = Key::new(&prefix, &lost);
            tracing::error!(%units, "receipted once, and their segment is not there");
            for range in lost.ranges() {
                header.checkpoint.lose_range(prefix, *range);
                lose(prefix, *range);
            }
        }
        Ok(header)
    }

    fn let_go(&mut self, going: &[u64], header: SegmentHeader) -> io::Result<()> {
        // Frees the room that a floor takes, should the disk be full: an index is made again.
        for number in going {
            let _ = self.storage.remove(&index::file_name(*number));
        }
        write(&mut self.storage, &header)?;
        let before = std::mem::replace(&mut self.floor, Floor::new(header));
        self.floor.lengths = before.lengths;
        for number in going {
            remove(&mut self.storage, *number)?;
            self.catalogue.let_go(*number);
            self.floor.lengths.remove(number);
        }
        if before.header.is_some() {
            self.storage.remove(&floor_name(before.number))?;
        }
        self.storage.sync_names()
    }
}

#[cfg(test)]
mod tests;
