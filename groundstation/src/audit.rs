//! Proves the archive against its ledger, without the daemon: every record's CRC and digest, the
//! chain of footers, keys that stand twice, and what the checkpoints say should be there.

mod report;
#[cfg(test)]
mod tests;

pub use report::{Audit, Damage, Key, Receptions, Stored, Unit};

use crate::{
    archive::{
        digest_at,
        index::Index,
        load_index, losses, note_void,
        read::missing,
        record::{BLOCK_BYTES, Digest, Position},
        retain::Floor,
        scan::{Hole, Step, scan},
        seal::{Chain, Footer, NO_FOOTER},
        segment::{SegmentHeader, file_name, number_of},
        storage::{Storage, StoredFile as _},
        stored_index,
        twice::Twice,
    },
    ledger::Ledger,
};
use codecs::{
    ids::{Channel, KeyPrefix, RangeSet, UnitKey},
    link::{object::Annotation, void::Void},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

/// How a segment that was walked ended.
struct Ended {
    number: u64,
    /// Nothing in it is damaged, so the footer of its records is the one it had.
    whole: bool,
    footer: Footer,
    /// The footer that its end record states.
    stated: Option<Footer>,
}

/// Units that stand twice for a known reason, by whether their records are alike.
#[derive(Default)]
struct Again {
    alike: BTreeMap<KeyPrefix, RangeSet>,
    differing: BTreeMap<KeyPrefix, RangeSet>,
    /// The index read last, of the segment of first records.
    first: Option<(u64, Index)>,
}

/// State of an audit that walks the segments.
struct Walk<'a, S> {
    storage: &'a mut S,
    /// What was taken again while its segment was away.
    twice: Twice,
    audit: Audit,
    floor: Floor,
    /// What records prove so far.
    proven: Ledger,
    /// What checkpoints claimed so far.
    claimed: BTreeMap<KeyPrefix, RangeSet>,
    last: Option<Ended>,
    again: Again,
}

/// Reads the whole archive. Safe beside a running daemon: what it writes meanwhile may show as
/// torn.
pub fn audit<S: Storage>(storage: &mut S) -> io::Result<Audit> {
    let names = storage.list()?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();
    let floor = Floor::known(storage, &names, &numbers)?;
    // What a crash left of a deletion on purpose: the next start of the daemon takes it away.
    numbers.retain(|number| *number >= floor.number);
    let mut audit = Audit { segments: numbers.len() as u64, ..Audit::default() };
    audit.floor = floor.number;
    audit.conflicts = names.iter().filter(|name| name.ends_with(".conflict")).count() as u64;
    // What the next header says of where a segment ends: behind it nothing was acknowledged.
    let mut headers = BTreeMap::new();
    for number in &numbers {
        let file = storage.open(&file_name(*number))?;
        headers.insert(*number, SegmentHeader::read(&file, *number)?);
    }
    let ends: BTreeMap<u64, u64> =
        headers.values().flatten().filter_map(|(header, _)| header.previous).collect();
    let (proven, claimed) = (Ledger::new(), BTreeMap::new());
    let twice = Twice::find(storage)?;
    let again = Again::default();
    let mut walk = Walk { storage, twice, audit, floor, proven, claimed, last: None, again };
    if let Some(header) = walk.floor.header() {
        walk.audit.ledger = format!("{:016x}", header.ledger_id);
    }
    if let Some(header) = walk.floor.header().cloned() {
        walk.lost(&header);
    }
    walk.missing(&ends)?;
    let next = numbers.last().map_or(walk.floor.number, |last| last + 1);
    let between = losses::read(walk.storage, &names, next)?;
    walk.indexes(&names, &numbers);
    for (number, header) in headers {
        let from = match header {
            Ok((header, from)) => {
                walk.checkpoint(&header);
                walk.link(&header);
                from
            }
            Err(error) => {
                walk.damage(number, 0, BLOCK_BYTES as u64, error.to_string());
                BLOCK_BYTES as u64
            }
        };
        walk.segment(number, from, ends.get(&number).copied())?;
    }
    if let Some(header) = between {
        walk.lost(&header);
    }
    Ok(walk.finish())
}

/// The ledger whose archive a folder holds: as its newest header or its floor says.
pub fn ledger_of<S: Storage>(storage: &mut S) -> io::Result<Option<u64>> {
    let names = storage.list()?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();
    for number in numbers.iter().rev() {
        let file = storage.open(&file_name(*number))?;
        if let Ok((header, _)) = SegmentHeader::read(&file, *number)? {
            return Ok(Some(header.ledger_id));
        }
    }
    Ok(Floor::read(storage, &names)?.header().map(|header| header.ledger_id))
}

/// Makes every index that is missing or damaged again from its segment; which. For a folder that
/// no daemon writes.
pub fn repair<S: Storage>(storage: &mut S) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> = storage.list()?.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();
    numbers.retain(|number| stored_index(storage, *number).is_none());
    for number in &numbers {
        load_index(storage, *number)?;
    }
    storage.sync_names()?;
    Ok(numbers)
}

impl<S: Storage> Walk<'_, S> {
    fn damage(&mut self, number: u64, offset: u64, bytes: u64, what: String) {
        let segment = file_name(number);
        self.audit.damage(Damage { segment, to: None, offset, bytes, unit: None, what });
    }

    /// Segments that a later header or an index knows and the folder does not have.
    fn missing(&mut self, ends: &BTreeMap<u64, u64>) -> io::Result<()> {
        for run in missing(self.storage)?.ranges() {
            let bytes = ends.range(run.first..=run.last).map(|(_, end)| end).sum();
            self.audit.damage(Damage { bytes, ..Damage::missing(*run) });
        }
        Ok(())
    }

    /// An index is written when its segment is sealed, and claims what was synced there: it tells
    /// of a newest segment that was cut or removed, which no later header does.
    fn indexes(&mut self, names: &[String], numbers: &[u64]) {
        let stored = names.iter().filter_map(|name| name.strip_suffix(".index")?.parse().ok());
        let stored: BTreeSet<u64> = stored.filter(|number| *number >= self.floor.number).collect();
        for number in &stored {
            let Some(index) = stored_index(self.storage, *number) else {
                self.audit.indexes_damaged.push(*number);
                continue;
            };
            for (prefix, held) in index.ranges() {
                self.claimed.entry(prefix).or_default().extend(&held);
            }
        }
        // The newest may be open, and has none before it is sealed.
        let sealed = numbers.split_last().map_or(numbers, |(_, sealed)| sealed);
        let absent = sealed.iter().filter(|number| !stored.contains(number));
        self.audit.indexes_damaged.extend(absent);
    }

    /// A checkpoint claims what was held when its segment began; the records before must prove
    /// exactly that.
    fn checkpoint(&mut self, header: &SegmentHeader) {
        self.audit.ledger = format!("{:016x}", header.ledger_id);
        self.audit.missing_from_ledger.clear();
        for (prefix, counter) in header.checkpoint.counters() {
            self.claimed.entry(*prefix).or_default().extend(&counter.held);
        }
        self.lost(header);
        for (prefix, counter) in self.proven.counters() {
            let known = header.checkpoint.counter(prefix).map(|known| &known.held);
            let extra = beyond(&counter.held, known);
            if !extra.is_empty() {
                self.audit.missing_from_ledger.push(Key::new(prefix, &extra));
            }
        }
    }

    /// What a checkpoint knows to be lost.
    fn lost(&mut self, header: &SegmentHeader) {
        for (prefix, counter) in header.checkpoint.counters() {
            counter.lost.ranges().iter().for_each(|range| {
                self.proven.lose_range(*prefix, *range);
            });
        }
    }

    /// The header repeats the footer of the segment before.
    fn link(&mut self, header: &SegmentHeader) {
        let before = header.previous.map(|(number, _)| number);
        let number = header.number;
        let broken = match (&self.last, before) {
            (_, None) => (header.footer != NO_FOOTER).then(|| "no segment".to_string()),
            // Missing, which is told already, or let go.
            (None, Some(_)) => None,
            (Some(last), Some(before)) if last.number == before => {
                let known = if last.whole { Some(last.footer) } else { last.stated };
                known.filter(|known| *known != header.footer).map(|_| file_name(before))
            }
            (Some(_), Some(_)) => None,
        };
        if let Some(before) = broken {
            let what = format!("the chain breaks: it does not follow on {before} as it stands");
            self.damage(number, 64, 32, what);
        }
    }

    fn segment(&mut self, number: u64, from: u64, end: Option<u64>) -> io::Result<()> {
        let file = self.storage.open(&file_name(number))?;
        let names = stored_index(self.storage, number).as_ref().map(Index::by_offset);
        let mut chain = Chain::of(&file, from)?;
        let (proven, audit) = (&mut self.proven, &mut self.audit);
        let (storage, twice, again) = (&mut *self.storage, &self.twice, &mut self.again);
        let mut damage = Vec::new();
        let to = end.unwrap_or(u64::MAX);
        let found = scan(&file, number, from, to, end.is_some(), |step| {
            match step {
                Step::Unit { header, bytes, offset } => {
                    audit.units += 1;
                    audit.bytes += bytes.len() as u64;
                    if let Some(annotation) = header.annotation {
                        let of = audit.receptions.entry(header.key.prefix.origin).or_default();
                        of.count(Annotation::decode(annotation).quality);
                    }
                    chain.scanned(&header, Position { segment: number, offset });
                    let new = proven.note(&header.key, bytes.len() as u64);
                    match twice.is_again(number, &header.key) {
                        true => again.take(storage, twice, &header.key, header.digest)?,
                        false => audit.duplicates += u64::from(!new),
                    }
                    if header.key.prefix.channel == Channel::VOIDS
                        && let Ok(void) = Void::decode(bytes)
                    {
                        note_void(proven, &header.key, &void);
                    }
                }
                Step::Damage(hole) => damage.push(hole),
            }
            Ok(())
        })?;
        let name = |hole: &Hole| {
            // A record whose own header is damaged is still known to the index.
            let by_index = names.as_ref().and_then(|names| names.get(&hole.from).copied());
            Damage::hole(number, hole, by_index)
        };
        let before = audit.damaged_count;
        damage.iter().for_each(|hole| audit.damage(name(hole)));
        audit.torn.extend(found.torn.iter().map(name));
        let length = file.length()?;
        if found.sealed && end.is_none() && length != found.end {
            let what = "bytes behind the end of a sealed segment".into();
            self.damage(number, found.end, length - found.end, what);
        }
        let whole = self.audit.damaged_count == before;
        let footer = chain.footer();
        if whole && found.footer.is_some_and(|stated| stated != footer) {
            let what = "its footer hash is not that of its records".into();
            self.damage(number, 0, found.end, what);
        }
        self.last = Some(Ended { number, whole, footer, stated: found.footer });
        Ok(())
    }

    fn finish(mut self) -> Audit {
        let gone = |prefix: &KeyPrefix| {
            let counter = self.floor.header().and_then(|floor| floor.checkpoint.counter(prefix));
            counter.map(|counter| beyond(&counter.held, Some(&counter.lost)))
        };
        for (prefix, claimed) in &self.claimed {
            let proven = self.proven.counter(prefix);
            let mut missing = beyond(claimed, proven.map(|proven| &proven.held));
            missing = beyond(&missing, proven.map(|proven| &proven.lost));
            missing = beyond(&missing, gone(prefix).as_ref());
            if !missing.is_empty() {
                self.audit.missing_from_archive.push(Key::new(prefix, &missing));
            }
        }
        if let Some(floor) = self.floor.header() {
            for (prefix, _) in floor.checkpoint.counters() {
                let gone = gone(prefix).filter(|gone| !gone.is_empty());
                self.audit.let_go.extend(gone.map(|gone| Key::new(prefix, &gone)));
            }
        }
        for (prefix, counter) in self.proven.counters() {
            // A segment that was brought back proves what an older header still calls lost.
            let lost = beyond(&counter.lost, Some(&counter.held));
            let sets = [
                (&counter.held, &mut self.audit.keys),
                (&counter.voided, &mut self.audit.voided),
                (&lost, &mut self.audit.lost),
            ];
            for (set, list) in sets.into_iter().filter(|(set, _)| !set.is_empty()) {
                list.push(Key::new(prefix, set));
            }
        }
        self.audit.voids = self.proven.voided();
        let keys = |units: &BTreeMap<KeyPrefix, RangeSet>| {
            units.iter().map(|(prefix, set)| Key::new(prefix, set)).collect()
        };
        self.audit.taken_again = self.again.alike.values().map(RangeSet::count).sum();
        self.audit.again = keys(&self.again.alike);
        self.audit.differing = keys(&self.again.differing);
        self.audit
    }
}

impl Again {
    /// Takes a record that is not the first of its key.
    fn take<S: Storage>(
        &mut self,
        storage: &mut S,
        twice: &Twice,
        key: &UnitKey,
        digest: Digest,
    ) -> io::Result<()> {
        let first = twice.first_of(key);
        if self.first.as_ref().map(|(number, _)| *number) != first {
            self.first = match first {
                Some(number) => Some((number, index_of(storage, number)?)),
                None => None,
            };
        }
        let place = self.first.as_ref().and_then(|(number, index)| {
            Some(Position { segment: *number, offset: index.find(key)? })
        });
        let known = match place {
            Some(at) => digest_at(&storage.open(&file_name(at.segment))?, at, key)?,
            None => None,
        };
        let side = if known == Some(digest) { &mut self.alike } else { &mut self.differing };
        side.entry(key.prefix).or_default().insert_one(key.sequence);
        Ok(())
    }
}

/// The index of a segment; where none is stored it is made, and left to the daemon to store.
fn index_of<S: Storage>(storage: &mut S, number: u64) -> io::Result<Index> {
    if let Some(index) = stored_index(storage, number) {
        return Ok(index);
    }
    let file = storage.open(&file_name(number))?;
    let from = SegmentHeader::read(&file, number)?.map_or(BLOCK_BYTES as u64, |read| read.1);
    let mut index = Index::default();
    scan(&file, number, from, u64::MAX, false, |step| {
        if let Step::Unit { offset, header, .. } = step {
            index.add(&header.key, offset);
        }
        Ok(())
    })?;
    Ok(index)
}

/// What of `all` is not in `known`.
fn beyond(all: &RangeSet, known: Option<&RangeSet>) -> RangeSet {
    let mut rest = all.clone();
    if let Some(known) = known {
        known.ranges().iter().for_each(|range| rest.remove(*range));
    }
    rest
}

/// Where a place is, for messages.
pub fn place(position: Position) -> String {
    format!("{} at {}", file_name(position.segment), position.offset)
}
