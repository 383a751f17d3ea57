//! The ledger: which sequences of each counter are held, left out on purpose, or lost.
//!
//! It outlives retention: deleting a segment never forgets its ranges. What it says of a unit is
//! true only after the unit's commit was synced; until then the unit is *pending*.

use codecs::ids::{
    Channel, KeyPrefix, Origin, RangeSet, SeqRange, SpacecraftId, StoreEpoch, UnitKey,
};
use std::collections::BTreeMap;

/// Most counters of one ledger; a unit of one more is refused with retry.
pub const PREFIXES_MAX: usize = 1024;
/// Most ranges of one kind in one counter; at the bound only what extends or joins is taken.
pub const RANGES_MAX: usize = 1024;

/// Bytes of one counter in a checkpoint, before its ranges.
const ENTRY_BYTES: usize = 48;
const RANGE_BYTES: usize = 16;

/// What is known of one counter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Archived and synced.
    pub held: RangeSet,
    /// Left out on purpose, as a void says. A unit beats a void: held wins where both name it.
    pub voided: RangeSet,
    /// Asked for again after a loss; its return is no duplicate.
    pub lost: RangeSet,
}

/// Everything known by counter, with the units still under way to the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    counters: BTreeMap<KeyPrefix, Counter>,
    pending: BTreeMap<KeyPrefix, RangeSet>,
    /// Units ever archived.
    pub units: u64,
    /// Bytes of those units, without record headers.
    pub bytes: u64,
}

/// What the ledger says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Never seen, or lost: to be archived.
    New,
    /// On its way to the disk.
    Pending,
    /// Archived and synced.
    Held,
    /// It would make one range or one counter too many.
    NoRoom,
}

/// Why a checkpoint can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ledger checkpoint: {what} at byte {at}")]
pub struct CheckpointError {
    /// What is wrong.
    pub what: &'static str,
    /// Where.
    pub at: usize,
}

impl Ledger {
    /// An empty ledger.
    pub const fn new() -> Self {
        Self { counters: BTreeMap::new(), pending: BTreeMap::new(), units: 0, bytes: 0 }
    }

    /// Every counter with what is known of it, in order.
    pub fn counters(&self) -> impl Iterator<Item = (&KeyPrefix, &Counter)> {
        self.counters.iter()
    }

    /// One counter.
    pub fn counter(&self, prefix: &KeyPrefix) -> Option<&Counter> {
        self.counters.get(prefix)
    }

    /// A copy without what is pending: what a checkpoint may state.
    pub fn settled(&self) -> Self {
        Self { pending: BTreeMap::new(), ..self.clone() }
    }

    /// Where a key stands.
    pub fn standing(&self, key: &UnitKey) -> Standing {
        let pending = self.pending.get(&key.prefix);
        if pending.is_some_and(|set| set.contains(key.sequence)) {
            return Standing::Pending;
        }
        let Some(counter) = self.counters.get(&key.prefix) else {
            // Pending counters count: a commit must not carry the ledger over its bound.
            let fresh = self.pending.keys().filter(|k| !self.counters.contains_key(k)).count();
            let known = pending.is_some();
            let room = known || self.counters.len() + fresh < PREFIXES_MAX;
            let fits = pending.is_none_or(|set| fits(set, key.sequence));
            return if room && fits { Standing::New } else { Standing::NoRoom };
        };
        if counter.held.contains(key.sequence) && !counter.lost.contains(key.sequence) {
            return Standing::Held;
        }
        let pending_ranges = pending.map_or(0, RangeSet::len);
        let touches = counter.held.touches(key.sequence)
            || pending.is_some_and(|set| set.touches(key.sequence));
        if touches || counter.held.len() + pending_ranges < RANGES_MAX {
            Standing::New
        } else {
            Standing::NoRoom
        }
    }

    /// Where a run of sequences stands that begins at `key`: that of the first, and how many
    /// share it, at least one. What is judged so needs no second look, unit by unit.
    pub fn stretch(&self, key: &UnitKey) -> (Standing, u64) {
        let standing = self.standing(key);
        let counter = self.counters.get(&key.prefix);
        // The next one only joins what is begun here; where anything is known of it, look again.
        let lost = counter.is_some_and(|counter| !counter.lost.is_empty());
        if standing != Standing::New || lost {
            return (standing, 1);
        }
        let sets = [counter.map(|counter| &counter.held), self.pending.get(&key.prefix)];
        let next = sets.into_iter().flatten().filter_map(|set| set.first_from(key.sequence)).min();
        (standing, next.map_or(u64::MAX, |next| next - key.sequence).max(1))
    }

    /// Notes units that are on their way to the disk.
    pub fn begin(&mut self, prefix: &KeyPrefix, range: SeqRange) {
        match self.pending.get_mut(prefix) {
            Some(pending) => pending.insert(range),
            None => self.pending.entry(*prefix).or_default().insert(range),
        }
    }

    /// Forgets units that were on their way: their commit failed.
    pub fn abandon(&mut self, prefix: &KeyPrefix, range: SeqRange) {
        if let Some(pending) = self.pending.get_mut(prefix) {
            pending.remove(range);
            if pending.is_empty() {
                self.pending.remove(prefix);
            }
        }
    }

    /// Makes units held: their commit is synced.
    pub fn settle(&mut self, prefix: &KeyPrefix, range: SeqRange) {
        self.abandon(prefix, range);
        let counter = self.counters.entry(*prefix).or_default();
        counter.held.insert(range);
        counter.lost.remove(range);
        counter.voided.remove(range);
    }

    /// Notes that a held unit can't be read any more: its return is no duplicate. Whether it fits
    /// the bound.
    pub fn lose(&mut self, key: &UnitKey) -> bool {
        let Some(counter) = self.counters.get_mut(&key.prefix) else { return false };
        let fits = fits(&counter.lost, key.sequence);
        if fits {
            counter.lost.insert_one(key.sequence);
        }
        fits
    }

    /// Notes a unit found in the archive. Whether the key was new.
    pub fn note(&mut self, key: &UnitKey, bytes: u64) -> bool {
        let counter = self.counters.entry(key.prefix).or_default();
        let new = !counter.held.contains(key.sequence);
        counter.held.insert_one(key.sequence);
        counter.voided.remove(one(key.sequence));
        counter.lost.remove(one(key.sequence));
        self.units += 1;
        self.bytes += bytes;
        new
    }

    /// Notes a deliberate hole; what is held stays held. Whether it fits the bound: where it does
    /// not, nothing is changed.
    pub fn void(&mut self, prefix: KeyPrefix, range: SeqRange) -> bool {
        if !self.counters.contains_key(&prefix) && self.counters.len() >= PREFIXES_MAX {
            return false;
        }
        let counter = self.counters.entry(prefix).or_default();
        let mut voided = counter.voided.clone();
        counter.held.missing_from(range).into_iter().for_each(|part| voided.insert(part));
        let fits = voided.len() <= RANGES_MAX.max(counter.voided.len());
        if fits {
            counter.voided = voided;
        }
        fits
    }

    /// Whether all of these holes fit the bounds together.
    pub fn voids_fit(&self, voids: impl IntoIterator<Item = (KeyPrefix, SeqRange)>) -> bool {
        let mut trial = Self::new();
        let mut new = 0;
        voids.into_iter().all(|(prefix, range)| {
            trial.counters.entry(prefix).or_insert_with(|| {
                let known = self.counters.get(&prefix);
                new += usize::from(known.is_none());
                known.cloned().unwrap_or_default()
            });
            self.counters.len() + new <= PREFIXES_MAX && trial.void(prefix, range)
        })
    }

    /// Number of sequences that voids name.
    pub fn voided(&self) -> u64 {
        self.counters.values().map(|counter| counter.voided.count()).sum()
    }

    /// Bytes of [`checkpoint`](Self::checkpoint).
    pub fn checkpoint_bytes(&self) -> usize {
        let ranges: usize =
            self.counters.values().map(|c| c.held.len() + c.voided.len() + c.lost.len()).sum();
        24 + self.counters.len() * ENTRY_BYTES + ranges * RANGE_BYTES
    }

    /// Writes what is held, voided and lost (pending units are not in it).
    pub fn checkpoint(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.checkpoint_bytes());
        out.extend_from_slice(&self.units.to_be_bytes());
        out.extend_from_slice(&self.bytes.to_be_bytes());
        out.extend_from_slice(&(self.counters.len() as u32).to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        for (prefix, counter) in &self.counters {
            out.extend_from_slice(&prefix.origin.0);
            out.extend_from_slice(&prefix.epoch.0.to_be_bytes());
            out.extend_from_slice(&prefix.channel.0.to_be_bytes());
            out.extend_from_slice(&prefix.spacecraft.0.to_be_bytes());
            out.extend_from_slice(&[0; 2]);
            let sets = [&counter.held, &counter.voided, &counter.lost];
            for set in sets {
                out.extend_from_slice(&(set.len() as u32).to_be_bytes());
            }
            for range in sets.into_iter().flat_map(|set| set.ranges()) {
                out.extend_from_slice(&range.first.to_be_bytes());
                out.extend_from_slice(&range.last.to_be_bytes());
            }
        }
        out
    }

    /// Reads a checkpoint; bytes after it are ignored, since a header pads it.
    pub fn from_checkpoint(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let mut fields = Fields { bytes, at: 0 };
        let mut ledger = Self { units: fields.u64()?, bytes: fields.u64()?, ..Self::new() };
        let count = fields.u32()? as usize;
        fields.u32()?;
        if count > PREFIXES_MAX {
            return Err(fields.error("too many counters"));
        }
        for _ in 0..count {
            let prefix = KeyPrefix {
                origin: Origin(fields.take()?),
                epoch: StoreEpoch(fields.u64()?),
                channel: Channel(fields.u64()?),
                spacecraft: SpacecraftId(u16::from_be_bytes(fields.take()?)),
            };
            fields.take::<2>()?;
            let counts = [fields.u32()?, fields.u32()?, fields.u32()?];
            let counter = Counter {
                held: fields.ranges(counts[0])?,
                voided: fields.ranges(counts[1])?,
                lost: fields.ranges(counts[2])?,
            };
            ledger.counters.insert(prefix, counter);
        }
        Ok(ledger)
    }
}

fn one(sequence: u64) -> SeqRange {
    SeqRange { first: sequence, last: sequence }
}

fn fits(set: &RangeSet, sequence: u64) -> bool {
    set.len() < RANGES_MAX || set.touches(sequence)
}

struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    fn error(&self, what: &'static str) -> CheckpointError {
        CheckpointError { what, at: self.at }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], CheckpointError> {
        let rest = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        let chunk = *rest.ok_or(self.error("cut short"))?;
        self.at += N;
        Ok(chunk)
    }

    fn u32(&mut self) -> Result<u32, CheckpointError> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, CheckpointError> {
        self.take().map(u64::from_be_bytes)
    }

    fn ranges(&mut self, count: u32) -> Result<RangeSet, CheckpointError> {
        if count as usize > self.bytes.len() / RANGE_BYTES {
            return Err(self.error("more ranges than bytes"));
        }
        (0..count)
            .map(|_| {
                let range = SeqRange::new(self.u64()?, self.u64()?);
                range.ok_or(self.error("a range that runs backwards"))
            })
            .collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn key(stream: u32, sequence: u64) -> UnitKey {
        let prefix = KeyPrefix {
            origin: Origin([7; 16]),
            epoch: StoreEpoch(0xE0C),
            spacecraft: SpacecraftId(7),
            channel: Channel::stream(stream),
        };
        UnitKey { prefix, sequence }
    }

    #[test]
    fn a_unit_is_held_only_after_its_commit() {
        let mut ledger = Ledger::new();
        let unit = key(1, 5);
        assert_eq!(ledger.standing(&unit), Standing::New);
        ledger.begin(&unit.prefix, one(5));
        assert_eq!(ledger.standing(&unit), Standing::Pending);
        ledger.abandon(&unit.prefix, one(5));
        assert_eq!(ledger.standing(&unit), Standing::New);
        ledger.begin(&unit.prefix, one(5));
        ledger.begin(&unit.prefix, one(6));
        ledger.settle(&unit.prefix, one(5));
        assert_eq!(ledger.standing(&unit), Standing::Held);
        assert_eq!(ledger.standing(&key(1, 6)), Standing::Pending);
        assert!(ledger.lose(&unit));
        assert_eq!(ledger.standing(&unit), Standing::New);
    }

    #[test]
    fn a_unit_beats_a_void_whichever_comes_first() {
        let whole = SeqRange { first: 0, last: 9 };
        let rest = [SeqRange { first: 0, last: 3 }, SeqRange { first: 5, last: 9 }];
        let mut unit_first = Ledger::new();
        unit_first.note(&key(1, 4), 1);
        assert!(unit_first.void(key(1, 0).prefix, whole));
        let mut void_first = Ledger::new();
        assert!(void_first.void(key(1, 0).prefix, whole));
        void_first.begin(&key(1, 0).prefix, one(4));
        void_first.settle(&key(1, 0).prefix, one(4));
        for ledger in [&unit_first, &void_first] {
            let counter = ledger.counter(&key(1, 0).prefix).unwrap();
            assert_eq!(counter.voided.ranges(), rest);
            assert!(counter.held.contains(4));
        }
    }

    #[test]
    fn at_the_bound_only_what_extends_or_joins_is_taken() {
        let mut ledger = Ledger::new();
        for index in 0..RANGES_MAX as u64 {
            ledger.begin(&key(1, 0).prefix, one(index * 3));
        }
        assert_eq!(ledger.standing(&key(1, 9_999)), Standing::NoRoom);
        for index in 0..RANGES_MAX as u64 {
            ledger.settle(&key(1, 0).prefix, one(index * 3));
        }
        assert_eq!(ledger.standing(&key(1, 9_999)), Standing::NoRoom);
        assert_eq!(ledger.standing(&key(1, 1)), Standing::New);
        assert_eq!(ledger.standing(&key(1, 3)), Standing::Held);
        assert_eq!(ledger.standing(&key(2, 9_999)), Standing::New);
        for stream in 2..PREFIXES_MAX as u32 + 1 {
            ledger.begin(&key(stream, 0).prefix, one(0));
        }
        assert_eq!(ledger.standing(&key(9_000, 0)), Standing::NoRoom);
        assert_eq!(ledger.standing(&key(2, 1)), Standing::New);
    }

    #[test]
    fn a_stretch_is_what_each_unit_of_it_would_be() {
        let mut ledger = Ledger::new();
        let prefix = key(1, 0).prefix;
        ledger.begin(&prefix, SeqRange { first: 0, last: 9 });
        ledger.settle(&prefix, SeqRange { first: 0, last: 9 });
        ledger.begin(&prefix, SeqRange { first: 15, last: 17 });
        ledger.begin(&prefix, SeqRange { first: 30, last: 30 });
        for lost in [false, true] {
            for from in 0..40 {
                let (standing, length) = ledger.stretch(&key(1, from));
                assert!(length >= 1);
                let end = from.saturating_add(length).min(50);
                let all = (from..end).all(|at| ledger.standing(&key(1, at)) == standing);
                assert!(all, "{from}, {length} of {standing:?}");
            }
            assert!(ledger.lose(&key(1, 3)) || lost);
        }
        assert_eq!(ledger.stretch(&key(2, 7)), (Standing::New, u64::MAX));
    }

    #[test]
    fn voids_are_bounded_like_units() {
        let mut ledger = Ledger::new();
        let prefix = key(1, 0).prefix;
        let hole = |at: u64| SeqRange { first: at * 3, last: at * 3 };
        let most = RANGES_MAX as u64;
        assert!(ledger.voids_fit((0..most).map(|at| (prefix, hole(at)))));
        assert!(!ledger.voids_fit((0..=most).map(|at| (prefix, hole(at)))));
        (0..most).for_each(|at| assert!(ledger.void(prefix, hole(at))));
        assert!(!ledger.void(prefix, hole(most)));
        assert!(ledger.void(prefix, SeqRange { first: 1, last: 2 }), "it joins two");
        let prefixes = |count: u32| (0..count).map(|stream| (key(stream, 0).prefix, hole(0)));
        assert!(ledger.voids_fit(prefixes(PREFIXES_MAX as u32)));
        assert!(!ledger.voids_fit(prefixes(PREFIXES_MAX as u32 + 1)));
    }

    #[test]
    fn checkpoints_come_back_and_never_panic_cut_short() {
        let mut ledger = Ledger::new();
        for sequence in [0, 1, 2, 7, 9] {
            ledger.note(&key(1, sequence), 10);
            ledger.note(&key(2, sequence * 2), 10);
        }
        ledger.void(key(1, 0).prefix, SeqRange { first: 3, last: 8 });
        let bytes = ledger.checkpoint();
        assert_eq!(bytes.len(), ledger.checkpoint_bytes());
        assert_eq!(Ledger::from_checkpoint(&bytes), Ok(ledger));
        for end in 0..bytes.len() {
            assert!(Ledger::from_checkpoint(&bytes[..end]).is_err());
        }
    }
}
