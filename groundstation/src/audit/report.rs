//! What an audit found, as people and programs read it.

use crate::archive::{
    read::Damaged,
    record::BLOCK_BYTES,
    scan::Hole,
    segment::{file_name, number_of},
};
use codecs::ids::{Channel, KeyPrefix, Origin, RangeSet, SeqRange, UnitKey};
use codecs::link::object::Quality;
use serde::{Deserialize, Serialize, Serializer};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    iter::Sum,
};

/// Damage listed one by one; the rest is counted.
const LISTED_MAX: usize = 1_000;
/// Ranges of a counter shown to a person.
const RANGES_SHOWN: usize = 50;

/// What an audit found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Audit {
    /// The ledger's id, in hex; empty where no header holds.
    pub ledger: String,
    /// The ledger that was kept here, where what is here is not it: the folder was emptied,
    /// exchanged, or its disk is not mounted.
    pub ledger_gone: Option<String>,
    /// Segments read.
    pub segments: u64,
    /// The oldest segment that retention kept; those below were let go on purpose.
    pub floor: u64,
    /// Units whose CRC and digest hold.
    pub units: u64,
    /// Bytes of those units.
    pub bytes: u64,
    /// Of them, those that antennas heard, by the store that numbered them.
    #[serde(serialize_with = "by_hex")]
    pub receptions: BTreeMap<Origin, Receptions>,
    /// Records under a key that already stands in the archive, and nothing accounts for.
    pub duplicates: u64,
    /// Units that stand twice, alike, and are read once: they were taken again while the segment
    /// of their first record was away.
    pub taken_again: u64,
    /// Those, by counter.
    pub again: Vec<Key>,
    /// Units that were taken again so, with other bytes: the first record is read.
    pub differing: Vec<Key>,
    /// Damage, in all.
    pub damaged_count: u64,
    /// Damage, the first of it one by one.
    pub damaged: Vec<Damage>,
    /// Stretches of an unfinished last commit: never acknowledged by a daemon that was killed, or
    /// damage in the last commit before the kill.
    pub torn: Vec<Damage>,
    /// What checkpoints say is held and no record proves.
    pub missing_from_archive: Vec<Key>,
    /// What was receipted once and neither a record nor a deletion on purpose accounts for: asked
    /// for, and not here again yet.
    pub lost: Vec<Key>,
    /// What retention let go, or a store elsewhere holds: not proven here.
    pub let_go: Vec<Key>,
    /// Segments whose index is missing or damaged; `--repair` makes them again from the log.
    pub indexes_damaged: Vec<u64>,
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

/// Units that antennas heard, by how they looked there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receptions {
    /// Without a correction.
    pub good: u64,
    /// With corrected symbols.
    pub corrected: u64,
    /// Known to be wrong.
    pub erred: u64,
    /// Of which nothing tells.
    pub undetermined: u64,
}

impl Receptions {
    /// Counts one.
    pub fn count(&mut self, quality: Quality) {
        let counter = match quality {
            Quality::Good => &mut self.good,
            Quality::Corrected => &mut self.corrected,
            Quality::Erred => &mut self.erred,
            Quality::Undetermined => &mut self.undetermined,
        };
        *counter += 1;
    }
}

impl Sum for Receptions {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, of| Self {
            good: sum.good + of.good,
            corrected: sum.corrected + of.corrected,
            erred: sum.erred + of.erred,
            undetermined: sum.undetermined + of.undetermined,
        })
    }
}

fn by_hex<S: Serializer>(
    receptions: &BTreeMap<Origin, Receptions>,
    to: S,
) -> Result<S::Ok, S::Error> {
    to.collect_map(receptions.iter().map(|(origin, of)| (origin.to_string(), of)))
}

/// A stretch of a segment that can't be trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// File name.
    pub segment: String,
    /// File name of the last one, where a run of segments is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
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
    /// Ranges of a counter.
    pub fn new(prefix: &KeyPrefix, set: &RangeSet) -> Self {
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

impl Damage {
    /// A stretch where no record can be trusted; `unit` stood there where its header is gone.
    pub fn hole(segment: u64, hole: &Hole, unit: Option<UnitKey>) -> Self {
        Self {
            segment: file_name(segment),
            to: None,
            offset: hole.from,
            bytes: hole.to - hole.from,
            unit: hole.key.or(unit).map(Unit::from),
            what: "a record does not hold".into(),
        }
    }

    /// Segments that retention did not let go and that are not there.
    pub fn missing(run: SeqRange) -> Self {
        let (segment, to, what) = match run.first == run.last {
            true => (file_name(run.first), None, "the segment is missing".into()),
            false => (
                file_name(run.first),
                Some(file_name(run.last)),
                format!("{} segments are missing", RangeSet::from_iter([run]).count()),
            ),
        };
        Self { segment, to, offset: 0, bytes: 0, unit: None, what }
    }

    /// Numbers of the segments that it is about.
    fn segments(&self) -> Option<SeqRange> {
        let first = number_of(&self.segment)?;
        SeqRange::new(first, self.to.as_deref().map_or(Some(first), number_of)?)
    }
}

impl From<&Damaged> for Damage {
    fn from(damaged: &Damaged) -> Self {
        match damaged {
            Damaged::Record { segment, hole } => Self::hole(*segment, hole, None),
            Damaged::Header { segment } => Self {
                segment: file_name(*segment),
                to: None,
                offset: 0,
                bytes: BLOCK_BYTES as u64,
                unit: None,
                what: "the header does not hold".into(),
            },
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.to {
            Some(to) => write!(f, "{} to {to}: {}", self.segment, self.what)?,
            None => write!(f, "{} at {}: {}", self.segment, self.offset, self.what)?,
        }
        match &self.unit {
            Some(unit) => write!(f, ", {unit}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, epoch, spacecraft, channel, sequence } = self;
        let channel = Channel(*channel);
        write!(
            f,
            "unit {sequence} of {channel}, spacecraft {spacecraft}, origin {origin} \
             epoch {epoch:016x}"
        )
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, epoch, spacecraft, channel, ranges } = self;
        let channel = Channel(*channel);
        write!(f, "{channel}, spacecraft {spacecraft}, origin {origin} epoch {epoch:016x}:")?;
        for (at, [first, last]) in ranges.iter().take(RANGES_SHOWN).enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{comma} {first}")?,
                false => write!(f, "{comma} {first} to {last}")?,
            }
        }
        match ranges.len().saturating_sub(RANGES_SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} ranges more (--json lists all)"),
        }
    }
}

/// What is known of what an object store holds.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// Numbers of segments.
    pub segments: BTreeSet<u64>,
    /// It was asked and answered, so that it holds no others.
    pub answered: bool,
}

/// File names of segments.
fn names(segments: &RangeSet) -> String {
    let name = |run: &SeqRange| match run.first == run.last {
        true => file_name(run.first),
        false => format!("{} to {}", file_name(run.first), file_name(run.last)),
    };
    segments.ranges().iter().map(name).collect::<Vec<_>>().join(", ")
}

impl Audit {
    /// Whether everything that was acknowledged is there and whole.
    pub fn is_clean(&self) -> bool {
        self.damaged_count == 0
            && self.duplicates == 0
            && self.differing.is_empty()
            && self.missing_from_archive.is_empty()
            && self.lost.is_empty()
            && self.ledger_gone.is_none()
            && self.missing_from_ledger.is_empty()
    }

    /// What to do about what was found; `stored` is what is known of the object store, where the
    /// station has one.
    pub fn advice(&self, stored: Option<&Stored>) -> Vec<String> {
        let mut advice = Vec::new();
        let damaged = self.damaged.iter().filter_map(Damage::segments);
        let mut nowhere: RangeSet = damaged.collect();
        let held = stored.into_iter().flat_map(|stored| &stored.segments);
        let there: RangeSet = held
            .filter(|number| nowhere.contains(**number))
            .filter_map(|number| SeqRange::new(*number, *number))
            .collect();
        there.ranges().iter().for_each(|run| nowhere.remove(*run));
        let unasked = stored.is_some_and(|stored| !stored.answered);
        if !there.is_empty() {
            advice.push(format!(
                "the object store holds {}: with the station stopped, move what is here of it out \
                 of the archive's folder, run `groundstation restore`, and audit again",
                names(&there)
            ));
        }
        if !nowhere.is_empty() && unasked {
            advice.push(format!(
                "the object store did not answer, and may hold {}: try `groundstation restore` \
                 with the station stopped, which brings what it has of segments that are not here",
                names(&nowhere)
            ));
        } else if !nowhere.is_empty() {
            advice.push(format!(
                "no object store is known to hold {}: every record of it that holds is read, and a \
                 copy of the file in its place mends it. Without one, with the station stopped, \
                 move it out of the archive's folder and start: what it held is asked for when its \
                 stores connect. Then stop, move the file back, and start: each unit is read once",
                names(&nowhere)
            ));
        }
        if !self.lost.is_empty() {
            let text = "what is lost is asked for whenever its store connects, and archived again \
                        if it is still held there";
            advice.push(text.into());
        }
        if !self.differing.is_empty() {
            let text = "what differs came again with other bytes while its segment was away: the \
                        first record is read, and both stay; ask whoever keeps its store which is \
                        right";
            advice.push(text.into());
        }
        if self.duplicates > 0 {
            let text = "units stand twice, are read twice, and nothing accounts for it: that is a \
                        defect of this program; report it with what `audit --json` prints";
            advice.push(text.into());
        }
        if let Some(gone) = &self.ledger_gone {
            advice.push(format!(
                "mount the archive of ledger {gone}, or `groundstation restore --ledger {gone}`"
            ));
        }
        if !self.indexes_damaged.is_empty() {
            let text = "`groundstation audit --repair` makes the indexes again from the log, with \
                        the station stopped";
            advice.push(text.into());
        }
        advice
    }

    pub(super) fn damage(&mut self, damage: Damage) {
        self.damaged_count += 1;
        if self.damaged.len() < LISTED_MAX {
            self.damaged.push(damage);
        }
    }
}
