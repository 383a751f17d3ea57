//! Proves the archive against its ledger, without the daemon: every record's CRC and digest, keys
//! that stand twice, and what the checkpoints say should be there.

use crate::{
    archive::{
        index::Index,
        note_void,
        record::{BLOCK_BYTES, Position},
        scan::{Hole, Step, scan},
        segment::{SegmentHeader, file_name, number_of},
        storage::{Storage, StoredFile as _},
        stored_index,
    },
    ledger::Ledger,
};
use codecs::{
    ids::{Channel, KeyPrefix, RangeSet, UnitKey},
    link::void::Void,
};
use serde::Serialize;
use std::{collections::BTreeMap, io};

/// Damage listed one by one; the rest is counted.
const LISTED_MAX: usize = 1_000;

/// What an audit found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Audit {
    /// The ledger's id, in hex; empty where no header holds.
    pub ledger: String,
    /// Segments read.
    pub segments: u64,
    /// Units whose CRC and digest hold.
    pub units: u64,
    /// Bytes of those units.
    pub bytes: u64,
    /// Records under a key that already stands in the archive.
    pub duplicates: u64,
    /// Damage, in all.
    pub damaged_count: u64,
    /// Damage, the first of it one by one.
    pub damaged: Vec<Damage>,
    /// Stretches of an unfinished last commit: never acknowledged by a daemon that was killed, or
    /// damage in the last commit before the kill.
    pub torn: Vec<Damage>,
    /// What checkpoints say is held and no record proves.
    pub missing_from_archive: Vec<Key>,
    /// What records prove and the newest checkpoint does not say.
    pub missing_from_ledger: Vec<Key>,
    /// Every counter, with what its records prove.
    pub keys: Vec<Key>,
    /// Sequences that voids say were left out on purpose.
    pub voids: u64,
    /// Those, by counter.
    pub voided: Vec<Key>,
    /// Units kept aside because their key held other bytes.
    pub conflicts: u64,
}

/// A stretch of a segment that can't be trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// File name.
    pub segment: String,
    /// Where it begins.
    pub offset: u64,
    /// How long it is, at most.
    pub bytes: u64,
    /// What stood there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// What is wrong.
    pub what: String,
}

/// A unit's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unit {
    /// Origin, 32 hexadecimal digits.
    pub origin: String,
    /// Store epoch.
    pub epoch: u64,
    /// Spacecraft.
    pub spacecraft: u16,
    /// Channel.
    pub channel: u64,
    /// Sequence.
    pub sequence: u64,
}

/// Ranges of one counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Key {
    /// Origin, 32 hexadecimal digits.
    pub origin: String,
    /// Store epoch.
    pub epoch: u64,
    /// Spacecraft.
    pub spacecraft: u16,
    /// Channel.
    pub channel: u64,
    /// First and last sequence of each range.
    pub ranges: Vec<[u64; 2]>,
}

impl Key {
    fn new(prefix: &KeyPrefix, set: &RangeSet) -> Self {
        Self {
            origin: prefix.origin.to_string(),
            epoch: prefix.epoch.0,
            spacecraft: prefix.spacecraft.0,
            channel: prefix.channel.0,
            ranges: set.ranges().iter().map(|range| [range.first, range.last]).collect(),
        }
    }
}

impl From<UnitKey> for Unit {
    fn from(key: UnitKey) -> Self {
        Self {
            origin: key.prefix.origin.to_string(),
            epoch: key.prefix.epoch.0,
            spacecraft: key.prefix.spacecraft.0,
            channel: key.prefix.channel.0,
            sequence: key.sequence,
        }
    }
}

impl Audit {
    /// Whether everything that was acknowledged is there and whole.
    pub fn is_clean(&self) -> bool {
        self.damaged_count == 0
            && self.duplicates == 0
            && self.missing_from_archive.is_empty()
            && self.missing_from_ledger.is_empty()
    }

    fn damage(&mut self, damage: Damage) {
        self.damaged_count += 1;
        if self.damaged.len() < LISTED_MAX {
            self.damaged.push(damage);
        }
    }
}

/// State of an audit that walks the segments.
struct Walk<'a, S> {
    storage: &'a mut S,
    audit: Audit,
    /// What records prove so far.
    proven: Ledger,
    /// What checkpoints claimed so far.
    claimed: BTreeMap<KeyPrefix, RangeSet>,
}

/// Reads the whole archive. Safe beside a running daemon: what it writes meanwhile may show as
/// torn.
pub fn audit<S: Storage>(storage: &mut S) -> io::Result<Audit> {
    let names = storage.list()?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();
    let mut audit = Audit { segments: numbers.len() as u64, ..Audit::default() };
    audit.conflicts = names.iter().filter(|name| name.ends_with(".conflict")).count() as u64;
    // What the next header says of where a segment ends: behind it nothing was acknowledged.
    let mut headers = BTreeMap::new();
    for number in &numbers {
        let file = storage.open(&file_name(*number))?;
        headers.insert(*number, SegmentHeader::read(&file, *number)?);
    }
    let ends: BTreeMap<u64, u64> =
        headers.values().flatten().filter_map(|(header, _)| header.previous).collect();
    let mut walk = Walk { storage, audit, proven: Ledger::new(), claimed: BTreeMap::new() };
    for (number, end) in &ends {
        if !headers.contains_key(number) {
            walk.audit.damage(Damage {
                segment: file_name(*number),
                offset: 0,
                bytes: *end,
                unit: None,
                what: "the segment is missing".into(),
            });
        }
    }
    walk.indexes(&names);
    for (number, header) in headers {
        let from = match header {
            Ok((header, from)) => {
                walk.checkpoint(&header);
                from
            }
            Err(error) => {
                walk.audit.damage(Damage {
                    segment: file_name(number),
                    offset: 0,
                    bytes: BLOCK_BYTES as u64,
                    unit: None,
                    what: error.to_string(),
                });
                BLOCK_BYTES as u64
            }
        };
        walk.segment(number, from, ends.get(&number).copied())?;
    }
    Ok(walk.finish())
}

impl<S: Storage> Walk<'_, S> {
    /// An index is written when its segment is sealed, and claims what was synced there: it tells
    /// of a newest segment that was cut or removed, which no later header does.
    fn indexes(&mut self, names: &[String]) {
        let numbers = names.iter().filter_map(|name| name.strip_suffix(".index")?.parse().ok());
        for number in numbers {
            let Some(index) = stored_index(self.storage, number) else { continue };
            for (prefix, held) in index.ranges() {
                self.claimed.entry(prefix).or_default().extend(&held);
            }
        }
    }

    /// A checkpoint claims what was held when its segment began; the records before must prove
    /// exactly that.
    fn checkpoint(&mut self, header: &SegmentHeader) {
        self.audit.ledger = format!("{:016x}", header.ledger_id);
        self.audit.missing_from_ledger.clear();
        for (prefix, counter) in header.checkpoint.counters() {
            self.claimed.entry(*prefix).or_default().extend(&counter.held);
        }
        for (prefix, counter) in self.proven.counters() {
            let known = header.checkpoint.counter(prefix).map(|known| &known.held);
            let extra = beyond(&counter.held, known);
            if !extra.is_empty() {
                self.audit.missing_from_ledger.push(Key::new(prefix, &extra));
            }
        }
    }

    fn segment(&mut self, number: u64, from: u64, end: Option<u64>) -> io::Result<()> {
        let file = self.storage.open(&file_name(number))?;
        let names = stored_index(self.storage, number).as_ref().map(Index::by_offset);
        let (proven, audit) = (&mut self.proven, &mut self.audit);
        let mut damage = Vec::new();
        let to = end.unwrap_or(u64::MAX);
        let found = scan(&file, number, from, to, end.is_some(), |step| {
            match step {
                Step::Unit { header, bytes, .. } => {
                    audit.units += 1;
                    audit.bytes += bytes.len() as u64;
                    if !proven.note(&header.key, bytes.len() as u64) {
                        audit.duplicates += 1;
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
            Damage {
                segment: file_name(number),
                offset: hole.from,
                bytes: hole.to - hole.from,
                unit: hole.key.or(by_index).map(Unit::from),
                what: "a record does not hold".into(),
            }
        };
        damage.iter().for_each(|hole| audit.damage(name(hole)));
        audit.torn.extend(found.torn.iter().map(name));
        let length = file.length()?;
        if found.sealed && end.is_none() && length != found.end {
            audit.damage(Damage {
                segment: file_name(number),
                offset: found.end,
                bytes: length - found.end,
                unit: None,
                what: "bytes behind the end of a sealed segment".into(),
            });
        }
        Ok(())
    }

    fn finish(mut self) -> Audit {
        for (prefix, claimed) in &self.claimed {
            let proven = self.proven.counter(prefix).map(|proven| &proven.held);
            let missing = beyond(claimed, proven);
            if !missing.is_empty() {
                self.audit.missing_from_archive.push(Key::new(prefix, &missing));
            }
        }
        for (prefix, counter) in self.proven.counters() {
            if !counter.held.is_empty() {
                self.audit.keys.push(Key::new(prefix, &counter.held));
            }
            if !counter.voided.is_empty() {
                self.audit.voided.push(Key::new(prefix, &counter.voided));
            }
        }
        self.audit.voids = self.proven.voided();
        self.audit
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::tests::{archive_of, unit};

    #[test]
    fn a_clean_archive_proves_every_unit() {
        let (disk, _) = archive_of(200, true);
        let audit = audit(&mut disk.clone()).unwrap();
        assert!(audit.is_clean(), "{audit:?}");
        assert_eq!((audit.units, audit.torn.len()), (200, 0));
        assert_eq!(audit.keys.len(), 1);
        assert_eq!(audit.keys[0].ranges, [[0, 199]]);
        let bytes: usize = (0..200).map(|sequence| unit(1, sequence).bytes.len()).sum();
        assert_eq!(audit.bytes, bytes as u64);
    }

    #[test]
    fn a_cut_or_missing_newest_segment_is_found_by_its_index() {
        for cut in [true, false] {
            let (mut disk, segments) = archive_of(200, true);
            let newest = segments.last().unwrap();
            if cut {
                let mut file = disk.open(newest).unwrap();
                let whole = file.length().unwrap();
                file.truncate(whole / 2).unwrap();
            } else {
                disk.remove(newest).unwrap();
            }
            let audit = audit(&mut disk).unwrap();
            assert!(!audit.is_clean() && !audit.missing_from_archive.is_empty(), "{audit:?}");
        }
    }

    /// Flips bytes of every segment one at a time: each is found at its place, and the other units
    /// stay readable.
    fn flip_bytes(units: u64, step: usize) {
        let (disk, segments) = archive_of(units, true);
        for name in segments {
            for offset in (0..disk.contents(&name).len()).step_by(step) {
                disk.flip(&name, offset, 0x40);
                let audit = audit(&mut disk.clone()).unwrap();
                assert!(!audit.is_clean(), "{name} byte {offset} went unseen");
                let named = audit.damaged.iter().any(|damage| {
                    let reach = damage.offset..damage.offset + damage.bytes.max(1);
                    damage.segment == name && reach.contains(&(offset as u64))
                });
                assert!(named, "{name} byte {offset}: {:?}", audit.damaged);
                let lost = audit.damaged.iter().filter(|damage| damage.unit.is_some()).count();
                assert!(lost <= 1 && audit.units + lost as u64 == units, "{name} byte {offset}");
                disk.flip(&name, offset, 0x40);
            }
        }
    }

    #[test]
    fn every_flipped_byte_is_found_and_named() {
        flip_bytes(3, 1);
    }

    #[test]
    fn flipped_bytes_are_named_over_several_segments() {
        flip_bytes(60, 127);
    }

    #[test]
    fn a_missing_segment_is_named_with_what_it_held() {
        let (disk, segments) = archive_of(200, true);
        disk.clone().remove(&segments[1]).unwrap();
        let audit = audit(&mut disk.clone()).unwrap();
        assert_eq!(audit.damaged[0].segment, segments[1]);
        assert_eq!(audit.missing_from_archive.len(), 1);
    }
}
