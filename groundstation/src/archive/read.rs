//! Reads archived units back in the order in which they were archived.

use super::{
    Archived, holes, index, losses,
    record::{BLOCK_BYTES, Position},
    retain::Floor,
    scan::{Hole, Step, scan},
    segment::{SegmentHeader, file_name, number_of},
    storage::Storage,
    stored_index,
    twice::Twice,
};
use bytes::Bytes;
use codecs::{
    ids::{KeyPrefix, RangeSet},
    link::object::Annotation,
};
use std::{collections::BTreeMap, io};

/// What a reading comes upon.
#[derive(Clone, Debug)]
pub enum Found {
    /// A unit, as replayed.
    Unit(Archived),
    /// What can't be read any more.
    Damage(Damaged),
}

/// What can't be read any more, and was there once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damaged {
    /// A stretch of a segment.
    Record {
        /// The segment's number.
        segment: u64,
        /// Where, and which unit stood there if that is known.
        hole: Hole,
    },
    /// The header of a segment; its records are read all the same.
    Header {
        /// The segment's number.
        segment: u64,
    },
}

/// How often the list of segments is read where retention changes it meanwhile.
const LOOKS_MAX: usize = 8;

/// Hands out the units from `from` up to `to` (exclusive), as replayed, each once. Damage is passed
/// over: who must tell of it uses [`read`].
pub fn replay<S: Storage>(
    storage: &mut S,
    twice: &Twice,
    from: Position,
    to: Position,
    mut sink: impl FnMut(Archived) -> io::Result<()>,
) -> io::Result<()> {
    read(storage, twice, from, to, |found| match found {
        Found::Unit(unit) => sink(unit),
        Found::Damage(_) => Ok(()),
    })
}

/// Hands out the units from `from` up to `to` (exclusive), each once, and what is damaged between
/// them.
pub fn read<S: Storage>(
    storage: &mut S,
    twice: &Twice,
    from: Position,
    to: Position,
    mut sink: impl FnMut(Found) -> io::Result<()>,
) -> io::Result<()> {
    let mut numbers: Vec<u64> = storage.list()?.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();
    numbers.retain(|number| (from.segment..=to.segment).contains(number));
    for (index, number) in numbers.iter().copied().enumerate() {
        let file = match storage.open(&file_name(number)) {
            // An empty segment may be removed while this runs.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        let header = SegmentHeader::read(&file, number)?.ok();
        let first = header.as_ref().map_or(BLOCK_BYTES as u64, |(_, first)| *first);
        let start = if number == from.segment { from.offset.max(first) } else { first };
        let mut end = if number == to.segment { to.offset } else { u64::MAX };
        // What stands behind the end that the next header names was never acknowledged.
        let next = numbers.get(index + 1);
        let stated = next.map(|next| stated_end(storage, *next, number)).transpose()?.flatten();
        end = end.min(stated.unwrap_or(u64::MAX));
        // A segment that is being made has no header yet; one that others follow has lost it.
        if header.is_none() && stated.is_some() {
            sink(Found::Damage(Damaged::Header { segment: number }))?;
        }
        let whole = stated == Some(end);
        scan(&file, number, start, end, whole, |step| match step {
            Step::Unit { header, .. } if twice.is_again(number, &header.key) => Ok(()),
            Step::Unit { offset, header, bytes } => sink(Found::Unit(Archived {
                key: header.key,
                codec: header.codec,
                received: header.received,
                annotation: header.annotation.map(Annotation::decode),
                bytes: Bytes::copy_from_slice(bytes),
                position: Position { segment: number, offset },
                replayed: true,
            })),
            Step::Damage(hole) => sink(Found::Damage(Damaged::Record { segment: number, hole })),
        })?;
    }
    Ok(())
}

/// Segments that a later header or an index knows, that retention did not let go, and that are not
/// there.
pub fn missing<S: Storage>(storage: &mut S) -> io::Result<RangeSet> {
    while_retained(storage, missing_now)
}

/// Looks again where retention let a segment go while `look` looked.
pub(super) fn while_retained<S: Storage, T>(
    storage: &mut S,
    look: impl Fn(&mut S) -> io::Result<T>,
) -> io::Result<T> {
    for _ in 1..LOOKS_MAX {
        match look(storage) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
    }
    look(storage)
}

fn missing_now<S: Storage>(storage: &mut S) -> io::Result<RangeSet> {
    let names = storage.list()?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();
    let floor = Floor::known(storage, &names, &numbers)?;
    holes::missing(storage, &names, &numbers, &floor)
}

/// What an archive says of units that no record of it holds.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// Let go by retention: held before the oldest segment that stays.
    pub let_go: BTreeMap<KeyPrefix, RangeSet>,
    /// Came: held or lost when the newest checkpoint was written or, by its index, in a segment that
    /// is not there. What is on record as lost came as well: it is no custody gap.
    pub came: BTreeMap<KeyPrefix, RangeSet>,
    /// Left out on purpose, whether the record that says why can still be read or not.
    pub voided: BTreeMap<KeyPrefix, RangeSet>,
}

/// Reads what the floor and the newest checkpoint say.
pub fn claims<S: Storage>(storage: &mut S) -> io::Result<Claims> {
    while_retained(storage, claims_now)
}

fn claims_now<S: Storage>(storage: &mut S) -> io::Result<Claims> {
    let names = storage.list()?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();
    let floor = Floor::known(storage, &names, &numbers)?;
    let mut claims = Claims::default();
    if let Some(header) = floor.header() {
        for (prefix, counter) in header.checkpoint.counters() {
            let mut held = counter.held.clone();
            counter.lost.ranges().iter().for_each(|range| held.remove(*range));
            note(&mut claims.let_go, prefix, &held);
        }
    }
    let next = numbers.last().map_or(floor.number, |last| last.saturating_add(1));
    let mut newest = losses::read(storage, &names, next)?;
    for number in numbers.iter().rev() {
        if newest.is_some() {
            break;
        }
        newest = holes::header(storage, *number)?;
    }
    for (prefix, counter) in newest.iter().flat_map(|header| header.checkpoint.counters()) {
        note(&mut claims.came, prefix, &counter.held);
        note(&mut claims.came, prefix, &counter.lost);
        note(&mut claims.voided, prefix, &counter.voided);
    }
    let gone = missing_now(storage)?;
    let indexed = names.iter().filter_map(|name| index::number_of(name));
    for gone in indexed.filter(|number| gone.contains(*number)) {
        let index = stored_index(storage, gone).unwrap_or_default();
        index.ranges().iter().for_each(|(prefix, held)| note(&mut claims.came, prefix, held));
    }
    Ok(claims)
}

fn note(into: &mut BTreeMap<KeyPrefix, RangeSet>, prefix: &KeyPrefix, ranges: &RangeSet) {
    if !ranges.is_empty() {
        into.entry(*prefix).or_default().extend(ranges);
    }
}

/// Where segment `number` ends, as the header of the `next` one says. Retention may let that one go
/// while this runs.
pub(super) fn stated_end<S: Storage>(
    storage: &mut S,
    next: u64,
    number: u64,
) -> io::Result<Option<u64>> {
    let file = match storage.open(&file_name(next)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let header = SegmentHeader::read(&file, next)?.ok().map(|(header, _)| header);
    let previous = header.and_then(|header| header.previous);
    Ok(previous.filter(|(before, _)| *before == number).map(|(_, stated)| stated))
}
