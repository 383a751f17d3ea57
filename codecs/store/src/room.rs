//! Room: what goes when the store is full, and the voids that say so first.
//!
//! Reclaimable units go first and cost nothing but cleaning. Then the unit of the lowest priority
//! is given up, at equal priority what was sent before what is new, then the oldest; where the
//! newcomer is the lowest, it is the one. Two segments' worth stays free for voids and cleaning.

use std::collections::{BTreeMap, BTreeSet};

use codecs::{
    ids::{Channel, SeqRange, SpacecraftId, UnitKey},
    link::void::{Void, VoidRange, VoidReason},
    time::Tai,
};

use super::{
    Counter, CounterName, Crowded, Fault, Medium, State, Store,
    format::{Record, UnitRecord, unit_record_bytes},
};

/// Entries up to which voids that were not sent yet are merged. A void is rewritten when it grows,
/// so that the bound keeps a quiet link from costing writes.
const MERGED_ENTRIES_MAX: usize = 16;

/// A void record ready to be written.
#[derive(Clone, Debug)]
pub(super) struct PlannedVoid {
    pub(super) spacecraft: SpacecraftId,
    pub(super) sequence: u64,
    pub(super) void: Void,
}

/// Voids on their way to the medium, and what waits for them to be erased.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    entries: BTreeMap<(SpacecraftId, VoidReason), Vec<VoidRange>>,
    /// Written since the last boot and, unless handed out since, still open to grow.
    open: BTreeMap<(SpacecraftId, VoidReason), PlannedVoid>,
    condemned: BTreeSet<(CounterName, u64)>,
}

impl Drafts {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whose voids are drafted.
    pub(super) fn spacecraft(&self) -> BTreeSet<SpacecraftId> {
        self.entries.keys().map(|(spacecraft, _)| *spacecraft).collect()
    }

    fn add(&mut self, reason: VoidReason, entry: VoidRange) {
        let entries = self.entries.entry((entry.spacecraft, reason)).or_default();
        join(entries, entry);
    }

    /// Void records for everything drafted. One that was not handed out yet grows in place.
    pub(super) fn plan(&self, counters: &BTreeMap<CounterName, Counter>) -> Vec<PlannedVoid> {
        let mut next: BTreeMap<SpacecraftId, u64> = BTreeMap::new();
        let mut planned = Vec::new();
        for ((spacecraft, reason), drafted) in &self.entries {
            let counter = counters.get(&(*spacecraft, Channel::VOIDS));
            let next = next.entry(*spacecraft).or_insert(counter.map_or(0, |of| of.next));
            let unsent = |open: &&PlannedVoid| {
                let entry = counter.and_then(|of| of.units.get(&open.sequence));
                entry.is_some_and(|entry| entry.state == State::New)
                    && open.void.entries.len() < MERGED_ENTRIES_MAX
            };
            let mut fresh = |entries| {
                let sequence = *next;
                *next += 1;
                let void = Void { reason: *reason, decided: Tai(0), entries };
                PlannedVoid { spacecraft: *spacecraft, sequence, void }
            };
            let open = self.open.get(&(*spacecraft, *reason)).filter(unsent);
            let mut current = open.cloned().unwrap_or_else(|| fresh(Vec::new()));
            for entry in drafted {
                if neighbour(&current.void.entries, entry).is_none()
                    && current.void.entries.len() >= MERGED_ENTRIES_MAX
                {
                    planned.push(std::mem::replace(&mut current, fresh(Vec::new())));
                }
                join(&mut current.void.entries, *entry);
            }
            planned.push(current);
        }
        planned
    }

    /// Notes that a planned void is durable.
    pub(super) fn committed(&mut self, void: PlannedVoid) {
        let name = (void.spacecraft, void.void.reason);
        self.entries.remove(&name);
        self.open.insert(name, void);
    }

    pub(super) fn take_condemned(&mut self) -> BTreeSet<(CounterName, u64)> {
        std::mem::take(&mut self.condemned)
    }
}

/// Index of the entry that `entry` runs on from, or up to.
fn neighbour(entries: &[VoidRange], entry: &VoidRange) -> Option<usize> {
    entries.iter().position(|of| {
        (of.spacecraft, of.channel) == (entry.spacecraft, entry.channel)
            && (of.range.last.checked_add(1) == Some(entry.range.first)
                || entry.range.last.checked_add(1) == Some(of.range.first))
    })
}

fn join(entries: &mut Vec<VoidRange>, entry: VoidRange) {
    match neighbour(entries, &entry).and_then(|at| entries.get_mut(at)) {
        Some(of) => {
            of.range.first = of.range.first.min(entry.range.first);
            of.range.last = of.range.last.max(entry.range.last);
            of.bytes += entry.bytes;
            of.from = of.from.min(entry.from);
            of.to = of.to.max(entry.to);
        }
        None => entries.push(entry),
    }
}

impl<M: Medium> Store<M> {
    pub(super) fn draft(
        &mut self,
        (spacecraft, channel): CounterName,
        range: SeqRange,
        reason: VoidReason,
        bytes: u64,
        captured: Option<Tai>,
    ) {
        let epoch = self.identity.epoch;
        let (from, to) = captured.map_or((Tai(0), Tai(0)), |at| (at, at));
        let entry = VoidRange { epoch, spacecraft, channel, range, bytes, from, to };
        self.drafts.add(reason, entry);
    }

    /// Bytes of units that may be held without a receipt: the rest leaves cleaning something to
    /// gain (an eighth of what it copies) and two segments to write into.
    pub(super) fn budget(&self) -> u64 {
        let usual = self.usual() / 8 * 7;
        self.crowded.map_or(usual, |crowded| crowded.budget.min(usual))
    }

    fn clean_above(&self) -> u64 {
        self.crowded.map_or(self.usual(), |crowded| crowded.clean_above.min(self.usual()))
    }

    fn usual(&self) -> u64 {
        self.limits.capacity_bytes.saturating_sub(2 * self.limits.segment_bytes)
    }

    /// The medium has no room though the capacity has: what is there is what there is. A segment's
    /// worth is given up at a time, since others may have taken the room and give it back.
    pub(super) fn crowd(&mut self) {
        let segment = self.limits.segment_bytes;
        self.crowded = Some(Crowded {
            budget: self.live_bytes().saturating_sub(segment),
            clean_above: self.used_bytes().saturating_sub(2 * segment),
        });
    }

    /// Tries for a segment more than was there, each time that one was made.
    pub(super) fn uncrowd(&mut self) {
        let (segment, usual) = (self.limits.segment_bytes, self.usual());
        if let Some(crowded) = &mut self.crowded {
            crowded.budget += segment;
            crowded.clean_above += segment;
            if crowded.clean_above >= usual && crowded.budget >= usual / 8 * 7 {
                self.crowded = None;
            }
        }
    }

    /// Whether a unit of as many bytes goes in beside what is held and pending without anything
    /// being given up for it: for sources that can wait.
    pub fn has_room(&self, unit_bytes: usize) -> bool {
        let wanted = unit_record_bytes(unit_bytes, 0) as u64;
        self.live_bytes() + self.pending_bytes + wanted <= self.budget()
    }

    /// Bytes on the medium.
    pub fn used_bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.length).sum()
    }

    /// Bytes held that may not be erased without a void.
    pub fn live_bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.live).sum()
    }

    /// Chooses what goes so that the pending units fit. Held units are condemned, to be erased once
    /// their void is durable; newcomers leave the pending list at once and are returned.
    pub(super) fn make_room(&mut self) -> Vec<UnitKey> {
        let mut refused = Vec::new();
        loop {
            let condemned: u64 =
                self.drafts.condemned.iter().filter_map(|of| self.footprint(of)).sum();
            let wanted = self.live_bytes() - condemned + self.pending_bytes;
            let Some(excess) = wanted.checked_sub(self.budget()).filter(|excess| *excess > 0)
            else {
                return refused;
            };
            let newcomer = self
                .pending
                .iter()
                .enumerate()
                .min_by_key(|(_, unit)| unit.priority)
                .map(|(at, unit)| (at, unit.priority));
            let class = self.candidates().map(|(_, class, _)| class).min();
            match (class, newcomer) {
                (Some(class), newcomer) if newcomer.is_none_or(|of| of.1 >= class.0) => {
                    self.condemn(class, excess.max(self.limits.evict_bytes));
                }
                (_, Some((at, _))) => refused.push(self.refuse(at)),
                // Only voids are left, and they stay.
                (_, None) => return refused,
            }
        }
    }

    /// Held units that may be given up, with (priority, whether new) and footprint.
    fn candidates(&self) -> impl Iterator<Item = ((CounterName, u64), (u8, bool), u64)> + '_ {
        let counters = self.counters.iter().filter(|(name, _)| name.1 != Channel::VOIDS);
        counters.flat_map(|(name, counter)| {
            counter.units.iter().filter_map(|(sequence, entry)| {
                let key = (*name, *sequence);
                let open = entry.live() && !self.drafts.condemned.contains(&key);
                let class = (entry.priority, entry.state == State::New);
                open.then(|| (key, class, entry.footprint()))
            })
        })
    }

    fn footprint(&self, (name, sequence): &(CounterName, u64)) -> Option<u64> {
        let entry = self.counters.get(name)?.units.get(sequence)?;
        entry.live().then(|| entry.footprint())
    }

    fn condemn(&mut self, class: (u8, bool), excess: u64) {
        let mut of_class: Vec<_> = self
            .candidates()
            .filter(|candidate| candidate.1 == class)
            .map(|(key, _, bytes)| (key, bytes))
            .collect();
        let captured = |key: &(CounterName, u64)| {
            self.counters.get(&key.0).and_then(|of| of.units.get(&key.1)).map(|of| of.captured)
        };
        of_class.sort_by_cached_key(|(key, _)| (captured(key), *key));
        let mut freed = 0;
        for (key, bytes) in of_class {
            if freed >= excess {
                break;
            }
            freed += bytes;
            let (name, sequence) = key;
            let entry = self.counters.get(&name).and_then(|of| of.units.get(&sequence)).copied();
            let range = SeqRange { first: sequence, last: sequence };
            let (length, at) = entry.map_or((0, None), |of| (of.length, Some(of.captured)));
            self.draft(name, range, VoidReason::Evicted, u64::from(length), at);
            self.drafts.condemned.insert(key);
        }
    }

    fn refuse(&mut self, at: usize) -> UnitKey {
        let unit = self.pending.remove(at);
        self.pending_bytes -= unit_record_bytes(unit.bytes.len(), unit.deadline_s) as u64;
        let name = (unit.spacecraft, unit.channel);
        let range = SeqRange { first: unit.sequence, last: unit.sequence };
        let bytes = unit.bytes.len() as u64;
        self.draft(name, range, VoidReason::Evicted, bytes, Some(unit.captured));
        UnitKey { prefix: self.prefix(name), sequence: unit.sequence }
    }

    /// Erases segments that hold nothing live, where a later segment repeats the counters' state.
    pub(super) fn erase_dead(&mut self) -> Result<(), Fault> {
        let newest = self.newest_durable.unwrap_or(0);
        let dead: Vec<u64> = self
            .segments
            .iter()
            .filter(|(number, of)| of.live == 0 && **number < newest)
            .map(|(number, _)| *number)
            .collect();
        for segment in dead {
            self.erase(segment)?;
        }
        Ok(())
    }

    /// Cleans until two segments' worth is free: the segment that holds the least live bytes for
    /// its length is copied and erased.
    pub(super) fn clean(&mut self) -> Result<(), Fault> {
        let mut before = u64::MAX;
        // A round that frees nothing (checkpoints weigh too) is the last one.
        while self.used_bytes() > self.clean_above() && self.used_bytes() < before {
            before = self.used_bytes();
            if self.active.is_none() {
                self.write(&[], true)?;
            }
            if self.victim().is_none() {
                // The open segment may be what holds the dead bytes.
                self.active = None;
                self.write(&[], true)?;
            }
            let Some(victim) = self.victim() else { break };
            self.copy_live(victim)?;
            self.erase(victim)?;
        }
        if !self.reserved {
            let segment = self.limits.segment_bytes;
            // Where that much is not there, a void at least is to find room.
            let mut sizes = [2 * segment, segment, segment / 4].into_iter();
            self.reserved = sizes.any(|bytes| self.medium.reserve(bytes).is_ok());
        }
        Ok(())
    }

    /// The closed segment with the smallest live part, unless nearly all of it is live.
    fn victim(&self) -> Option<u64> {
        let newest = self.newest_durable.unwrap_or(0);
        self.segments
            .iter()
            .filter(|(number, of)| **number < newest && of.live * 16 <= of.length * 15)
            .min_by_key(|(_, of)| (of.live << 20) / of.length.max(1))
            .map(|(number, _)| *number)
    }

    fn entries_of(&self, segment: u64) -> Vec<(CounterName, u64)> {
        let of = |(name, counter): (&CounterName, &Counter)| {
            let name = *name;
            let inside = counter.units.iter().filter(|(_, entry)| entry.segment == segment);
            inside.map(|(sequence, _)| (name, *sequence)).collect::<Vec<_>>()
        };
        self.counters.iter().flat_map(of).collect()
    }

    fn copy_live(&mut self, segment: u64) -> Result<(), Fault> {
        let mut copies = Vec::new();
        let mut keys = Vec::new();
        for (name, sequence) in self.entries_of(segment) {
            let counter = self.counters.get(&name);
            let Some(entry) = counter.and_then(|of| of.units.get(&sequence)).copied() else {
                continue;
            };
            if !entry.live() {
                continue;
            }
            match self.read_record(name, sequence, &entry)? {
                // One that was asked for meanwhile stays so.
                Some(unit) => {
                    copies.push(Record::Unit(UnitRecord { priority: entry.priority, ..unit }));
                    keys.push((name, sequence));
                }
                None => self.damaged(name, sequence, &entry),
            }
        }
        let places = self.write(&copies, true)?;
        for ((name, sequence), (to, offset)) in keys.into_iter().zip(places) {
            self.relocate(name, sequence, to, offset);
        }
        Ok(())
    }

    fn relocate(&mut self, name: CounterName, sequence: u64, to: u64, offset: u32) {
        let Some(entry) = self.counters.get_mut(&name).and_then(|of| of.units.get_mut(&sequence))
        else {
            return;
        };
        let footprint = entry.footprint();
        if let Some(from) = self.segments.get_mut(&entry.segment) {
            from.live -= footprint;
        }
        (entry.segment, entry.offset) = (to, offset);
        if let Some(to) = self.segments.get_mut(&to) {
            to.live += footprint;
        }
    }

    /// Takes a segment off the medium with what is reclaimable in it.
    fn erase(&mut self, segment: u64) -> Result<(), Fault> {
        self.medium.remove(segment)?;
        for (name, sequence) in self.entries_of(segment) {
            self.forget(name, sequence);
        }
        self.segments.remove(&segment);
        self.medium.sync_names()
    }
}
