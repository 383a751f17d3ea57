//! Units that stand twice: their segment was moved away, they counted as lost and came again, and
//! the segment was moved back. A segment is never written again, so both records stay; whoever
//! reads takes the first that holds.
//!
//! Only what a checkpoint calls lost is ever taken a second time, so in an archive that lost
//! nothing this reads headers and no more.

use super::{
    holes::header,
    index, losses,
    read::{stated_end, while_retained},
    record::BLOCK_BYTES,
    scan::{Step, scan},
    segment::{SegmentHeader, file_name, number_of},
    storage::Storage,
    stored_index,
};
use codecs::ids::{KeyPrefix, RangeSet, SeqRange, UnitKey};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

type Units = BTreeMap<KeyPrefix, RangeSet>;

/// Records under a key that an earlier record holds.
#[derive(Clone, Debug, Default)]
pub struct Twice {
    again: BTreeMap<u64, Units>,
    /// The first records of those, by segment.
    first: BTreeMap<u64, Units>,
}

impl Twice {
    /// Nothing stands twice.
    pub const NOTHING: Self = Self { again: BTreeMap::new(), first: BTreeMap::new() };

    /// Looks through an archive to which no segment is brought back meanwhile.
    pub fn find<S: Storage>(storage: &mut S) -> io::Result<Self> {
        while_retained(storage, find)
    }

    /// Whether the record of a key in a segment is not the first.
    pub fn is_again(&self, segment: u64, key: &UnitKey) -> bool {
        !self.again.is_empty() && holds(self.again.get(&segment), key)
    }

    /// The segment where the first record of a key stands that stands again elsewhere.
    pub fn first_of(&self, key: &UnitKey) -> Option<u64> {
        self.first.iter().find(|(_, units)| holds(Some(*units), key)).map(|(number, _)| *number)
    }
}

fn holds(units: Option<&Units>, key: &UnitKey) -> bool {
    units
        .and_then(|units| units.get(&key.prefix))
        .is_some_and(|sequences| sequences.contains(key.sequence))
}

fn find<S: Storage>(storage: &mut S) -> io::Result<Twice> {
    let names = storage.list()?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();
    let lost = lost(storage, &names, &numbers)?;
    if lost.is_empty() {
        return Ok(Twice::NOTHING);
    }
    let (mut seen, mut both) = (Units::new(), Units::new());
    let mut concerned = Vec::new();
    for number in &numbers {
        let held = common(&ranges(storage, &names, *number)?, &lost);
        if !held.is_empty() {
            extend(&mut both, &common(&held, &seen));
            extend(&mut seen, &held);
            concerned.push((*number, held));
        }
    }
    concerned.retain(|(_, held)| !common(held, &both).is_empty());
    let next = |number: u64| numbers.iter().copied().find(|other| *other > number);
    // An index names a record that is damaged as well: only the record itself proves a unit.
    let (mut seen, mut twice) = (Units::new(), Twice::NOTHING);
    for (number, _) in &concerned {
        for (prefix, sequence) in proven(storage, *number, next(*number), &both)? {
            let seen = seen.entry(prefix).or_default();
            let side = match seen.contains(sequence) {
                true => &mut twice.again,
                false => &mut twice.first,
            };
            seen.insert_one(sequence);
            side.entry(*number).or_default().entry(prefix).or_default().insert_one(sequence);
        }
    }
    Ok(twice)
}

/// What any checkpoint calls lost.
fn lost<S: Storage>(storage: &mut S, names: &[String], numbers: &[u64]) -> io::Result<Units> {
    let mut headers = losses::read(storage, names, 0)?.into_iter().collect::<Vec<_>>();
    let mut lost = Units::new();
    for number in numbers {
        headers.extend(header(storage, *number)?);
        for header in headers.drain(..) {
            for (prefix, counter) in header.checkpoint.counters() {
                if !counter.lost.is_empty() {
                    lost.entry(*prefix).or_default().extend(&counter.lost);
                }
            }
        }
    }
    Ok(lost)
}

/// Sequences that a segment holds, by its index or, where it has none yet, by its records.
fn ranges<S: Storage>(storage: &mut S, names: &[String], number: u64) -> io::Result<Units> {
    if names.contains(&index::file_name(number))
        && let Some(index) = stored_index(storage, number)
    {
        return Ok(index.ranges());
    }
    let mut units = Units::new();
    walk(storage, number, None, |key| {
        units.entry(key.prefix).or_default().insert_one(key.sequence)
    })?;
    Ok(units)
}

/// Those of some units that records of a segment prove, before the end that the next one states.
fn proven<S: Storage>(
    storage: &mut S,
    number: u64,
    next: Option<u64>,
    of: &Units,
) -> io::Result<BTreeSet<(KeyPrefix, u64)>> {
    let mut found = BTreeSet::new();
    walk(storage, number, next, |key| {
        if holds(Some(of), key) {
            found.insert((key.prefix, key.sequence));
        }
    })?;
    Ok(found)
}

fn walk<S: Storage>(
    storage: &mut S,
    number: u64,
    next: Option<u64>,
    mut take: impl FnMut(&UnitKey),
) -> io::Result<()> {
    let file = storage.open(&file_name(number))?;
    let from = SegmentHeader::read(&file, number)?.map_or(BLOCK_BYTES as u64, |read| read.1);
    let end = next.map(|next| stated_end(storage, next, number)).transpose()?.flatten();
    scan(&file, number, from, end.unwrap_or(u64::MAX), end.is_some(), |step| {
        if let Step::Unit { header, .. } = step {
            take(&header.key);
        }
        Ok(())
    })?;
    Ok(())
}

fn extend(units: &mut Units, more: &Units) {
    more.iter().for_each(|(prefix, set)| units.entry(*prefix).or_default().extend(set));
}

/// What is in both.
fn common(one: &Units, other: &Units) -> Units {
    let both = one.iter().filter_map(|(prefix, set)| {
        let other = other.get(prefix)?;
        let parts = set.ranges().iter().flat_map(|range| within(other, *range));
        let both: RangeSet = parts.collect();
        (!both.is_empty()).then_some((*prefix, both))
    });
    both.collect()
}

/// The parts of a range that are in a set.
fn within(set: &RangeSet, range: SeqRange) -> Vec<SeqRange> {
    let from = set.ranges().partition_point(|part| part.last < range.first);
    let touched = set.ranges()[from..].iter().take_while(|part| part.first <= range.last);
    touched
        .filter_map(|part| SeqRange::new(part.first.max(range.first), part.last.min(range.last)))
        .collect()
}
