//! One counter: what it gave out, what is still held, what is settled.

use std::collections::BTreeMap;

use codecs::{
    ids::{Codec, RangeSet, SeqRange},
    time::Tai,
};

use super::format::{CheckpointRecord, unit_record_bytes};

/// Most ranges of one kind that a counter remembers. At the bound the lowest are forgotten and
/// `floor` rises over them: everything below it stays accounted for, only no longer listed.
pub const RANGES_MAX: usize = 1024;
/// Most ledgers whose receipts a counter tells apart; at the bound the oldest is forgotten.
pub const LEDGERS_MAX: usize = 4;

/// Value of a unit that stays on board until it is asked for.
pub const KEPT: u8 = 0;
/// Value of a kept unit from when it is asked for.
pub const ASKED_FOR: u8 = 128;

/// Life of a held unit; what is freed is no longer held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Not sent since the last boot.
    New,
    /// Handed to a connection at least once.
    Sent,
    /// Receipted with the class that the mission asks for: erased once space is needed.
    Reclaimable,
}

/// Where a held unit lies and what it is worth.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Segment.
    pub segment: u64,
    /// Offset of its record there.
    pub offset: u32,
    /// Length of the unit, bytes.
    pub length: u32,
    /// Format of the inside.
    pub codec: Codec,
    /// Value.
    pub priority: u8,
    /// Life.
    pub state: State,
    /// When it was taken.
    pub captured: Tai,
    /// Seconds from then until it is worth nothing; 0 where it keeps its worth.
    pub deadline_s: u32,
}

impl Entry {
    /// Bytes that its record takes.
    pub fn footprint(&self) -> u64 {
        unit_record_bytes(self.length as usize, self.deadline_s) as u64
    }

    /// Whether a link should bring it down unasked.
    pub fn offered(&self) -> bool {
        self.live() && self.priority > KEPT
    }

    /// Whether it must not be erased without a void.
    pub fn live(&self) -> bool {
        self.state != State::Reclaimable
    }
}

/// Receipts of one ledger in one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipts {
    /// The ledger.
    pub ledger: u64,
    /// Its durability class, as on the wire.
    pub class: u8,
    /// What it has.
    pub ranges: RangeSet,
}

/// A counter with everything it is accountable for.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    /// Next sequence to give.
    pub next: u64,
    /// Next sequence as the medium knows it: no higher one was ever offered.
    pub durable_next: u64,
    /// Below this nothing is listed.
    pub floor: u64,
    /// Left out on purpose.
    pub voided: RangeSet,
    /// By ledger and class, the latest last.
    pub receipts: Vec<Receipts>,
    /// Kept units that were asked for.
    pub asked: RangeSet,
    /// Held units.
    pub units: BTreeMap<u64, Entry>,
}

impl Counter {
    /// Whether a receipt of at least `least` covers the sequence.
    pub fn receipted(&self, sequence: u64, least: u8) -> bool {
        self.receipts.iter().any(|of| of.class >= least && of.ranges.contains(sequence))
    }

    /// Adds receipted ranges, cut to what was ever offered; says whether anything was new.
    pub fn receipt(&mut self, ledger: u64, class: u8, ranges: &RangeSet) -> RangeSet {
        let at = self.receipts.iter().position(|of| of.ledger == ledger && of.class == class);
        let mut of = match at {
            Some(at) => self.receipts.remove(at),
            None => Receipts { ledger, class, ranges: RangeSet::new() },
        };
        let mut fresh = RangeSet::new();
        let offered = self.durable_next;
        for range in ranges.ranges().iter().filter(|range| range.first < offered) {
            let within = SeqRange { first: range.first, last: range.last.min(offered - 1) };
            of.ranges.missing_from(within).into_iter().for_each(|part| fresh.insert(part));
        }
        of.ranges.extend(&fresh);
        self.receipts.push(of);
        if self.receipts.len() > LEDGERS_MAX {
            self.receipts.remove(0);
        }
        self.bound();
        fresh
    }

    /// Takes receipts back.
    pub fn unreceipt(&mut self, ranges: &RangeSet) {
        for range in ranges.ranges() {
            self.receipts.iter_mut().for_each(|of| of.ranges.remove(*range));
        }
    }

    /// Kept units among `ranges` go down from now on.
    pub fn ask_for(&mut self, ranges: &RangeSet) {
        for range in ranges.ranges() {
            let held = self.units.range_mut(range.first..=range.last);
            for (sequence, entry) in held.filter(|(_, entry)| entry.priority == KEPT) {
                entry.priority = ASKED_FOR;
                self.asked.insert_one(*sequence);
            }
        }
        // Beyond the bound what was asked for first may have to be asked for again.
        while self.asked.len() > RANGES_MAX {
            let Some(lowest) = self.asked.ranges().first().copied() else { break };
            self.asked.remove(lowest);
        }
    }

    /// What of these was durable once and is neither held nor left out.
    pub fn gone(&self, ranges: &RangeSet) -> Vec<SeqRange> {
        let Some(last) = self.durable_next.checked_sub(1) else { return Vec::new() };
        let mut gone = RangeSet::new();
        for range in ranges.ranges() {
            let Some(range) = SeqRange::new(range.first, range.last.min(last)) else { continue };
            gone.insert(range);
            let held = self.units.range(range.first..=range.last).map(|of| *of.0);
            held.for_each(|sequence| gone.remove(SeqRange { first: sequence, last: sequence }));
        }
        self.voided.ranges().iter().for_each(|range| gone.remove(*range));
        gone.ranges().to_vec()
    }

    /// Marks ranges as left out.
    pub fn void(&mut self, range: SeqRange) {
        self.voided.insert(range);
        self.next = self.next.max(range.last.saturating_add(1));
        self.bound();
    }

    /// Sequences given out and neither held, receipted, left out nor below the floor.
    pub fn unaccounted(&self) -> Vec<SeqRange> {
        let Some(within) =
            self.next.checked_sub(1).and_then(|last| SeqRange::new(self.floor, last))
        else {
            return Vec::new();
        };
        let mut settled = self.voided.clone();
        self.receipts.iter().for_each(|of| settled.extend(&of.ranges));
        self.units.keys().for_each(|sequence| settled.insert_one(*sequence));
        settled.missing_from(within)
    }

    /// Ranges of held units that pass `keep`.
    pub fn held(&self, keep: impl Fn(&Entry) -> bool) -> RangeSet {
        let mut held = RangeSet::new();
        let kept = self.units.iter().filter(|(_, entry)| keep(entry));
        kept.for_each(|(sequence, _)| held.insert_one(*sequence));
        held
    }

    fn bound(&mut self) {
        let sets = self.receipts.iter_mut().map(|of| &mut of.ranges);
        for set in sets.chain([&mut self.voided]) {
            while set.len() > RANGES_MAX {
                let Some(lowest) = set.ranges().first().copied() else { break };
                set.remove(lowest);
                self.floor = self.floor.max(lowest.last.saturating_add(1));
            }
        }
    }

    /// The state to write, without the units.
    pub fn checkpoint(
        &self,
        spacecraft: codecs::ids::SpacecraftId,
        channel: codecs::ids::Channel,
    ) -> CheckpointRecord {
        let receipts =
            self.receipts.iter().map(|of| (of.ledger, of.class, of.ranges.clone())).collect();
        CheckpointRecord {
            spacecraft,
            channel,
            next: self.next,
            floor: self.floor,
            voided: self.voided.clone(),
            receipts,
            asked: self.asked.clone(),
        }
    }

    /// Takes over a state that was written, keeping the units.
    pub fn restore(&mut self, state: CheckpointRecord) {
        self.next = self.next.max(state.next);
        self.floor = self.floor.max(state.floor);
        self.voided.extend(&state.voided);
        self.asked.extend(&state.asked);
        self.receipts = state
            .receipts
            .into_iter()
            .map(|(ledger, class, ranges)| Receipts { ledger, class, ranges })
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> RangeSet {
        SeqRange::new(first, last).into_iter().collect()
    }

    #[test]
    fn a_receipt_beyond_what_was_offered_counts_for_nothing() {
        let mut counter = Counter { next: 20, durable_next: 10, ..Counter::default() };
        assert_eq!(counter.receipt(1, 1, &range(5, 500)), range(5, 9));
        assert_eq!(counter.receipt(1, 1, &range(5, 9)), RangeSet::new());
        assert!(counter.receipted(9, 1) && !counter.receipted(10, 1));
        assert!(!counter.receipted(9, 2), "a lower class than asked for");
        assert_eq!(
            counter.unaccounted(),
            [SeqRange { first: 0, last: 4 }, SeqRange { first: 10, last: 19 },]
        );
    }

    #[test]
    fn lists_stay_bounded_and_the_floor_rises() {
        let mut counter = Counter { next: 10_000, durable_next: 10_000, ..Counter::default() };
        for sequence in (0..8000).step_by(2) {
            counter.receipt(1, 1, &range(sequence, sequence));
        }
        assert_eq!(counter.receipts[0].ranges.len(), RANGES_MAX);
        assert_eq!(counter.floor, 8000 - 2 * RANGES_MAX as u64 - 1);
        assert!(counter.unaccounted()[0].first >= counter.floor);
    }

    #[test]
    fn old_ledgers_are_forgotten_first() {
        let mut counter = Counter { next: 9, durable_next: 9, ..Counter::default() };
        for ledger in 0..6 {
            counter.receipt(ledger, 1, &range(ledger, ledger));
        }
        let kept: Vec<u64> = counter.receipts.iter().map(|of| of.ledger).collect();
        assert_eq!(kept, [2, 3, 4, 5]);
    }
}
