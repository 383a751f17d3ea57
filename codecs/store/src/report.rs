//! What a store holds, for people and for whoever compares it with an archive.

use codecs::ids::RangeSet;
use serde::Serialize;

use super::{Damaged, Entry, KEPT, Medium, State, Store, Written};

/// One counter, with every range as `[first, last]`.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct CounterReport {
    /// Store's identity, hexadecimal.
    pub origin: String,
    /// Formatting of the store.
    pub epoch: u64,
    /// Spacecraft.
    pub spacecraft: u16,
    /// Channel as a number.
    pub channel: u64,
    /// Channel for people.
    pub name: String,
    /// Next sequence: as many were numbered.
    pub next: u64,
    /// Below this, ranges are no longer listed.
    pub listed_from: u64,
    /// Held to go down, and not receipted.
    pub held: Vec<[u64; 2]>,
    /// Held until they are asked for.
    pub kept: Vec<[u64; 2]>,
    /// Receipted, so reclaimable or already erased.
    pub receipted: Vec<[u64; 2]>,
    /// Left out on purpose.
    pub voided: Vec<[u64; 2]>,
    /// Numbered, and neither held, receipted nor left out: the next start voids them.
    pub unaccounted: Vec<[u64; 2]>,
    /// Bytes of the units held or kept.
    pub held_bytes: u64,
}

/// A whole store.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct StoreReport {
    /// Store's identity, hexadecimal.
    pub origin: String,
    /// Formatting of the store.
    pub epoch: u64,
    /// Bytes on the medium.
    pub bytes: u64,
    /// Bytes on the medium that belong to no whole record.
    pub stray_bytes: u64,
    /// What is damaged.
    pub damage: Damaged,
    /// Sequences given out.
    pub units_numbered: u64,
    /// Units held to go down, and not receipted.
    pub units_held: u64,
    /// Units held until they are asked for.
    pub units_kept: u64,
    /// Units receipted.
    pub units_receipted: u64,
    /// Units left out on purpose.
    pub units_voided: u64,
    /// Units held that were not handed to a link since the last boot.
    pub units_new: u64,
    /// Units held that were, and are not receipted.
    pub units_sent: u64,
    /// Units receipted and not erased yet.
    pub units_reclaimable: u64,
    /// Units receipted and erased.
    pub units_freed: u64,
    /// Length at which a segment is closed.
    pub segment_bytes: u64,
    /// Bytes written since the store was formatted.
    pub written: Written,
    /// Each counter.
    pub keys: Vec<CounterReport>,
}

fn pairs(set: &RangeSet) -> Vec<[u64; 2]> {
    set.ranges().iter().map(|range| [range.first, range.last]).collect()
}

impl<M: Medium> Store<M> {
    /// Describes the store as it stands.
    pub fn report(&self) -> StoreReport {
        let identity = self.identity();
        let least = self.limits.least_class;
        let mut report = StoreReport {
            origin: identity.origin.to_string(),
            epoch: identity.epoch.0,
            bytes: self.used_bytes(),
            stray_bytes: self.stray_bytes,
            damage: self.damage.clone(),
            units_numbered: 0,
            units_held: 0,
            units_kept: 0,
            units_receipted: 0,
            units_voided: 0,
            units_new: 0,
            units_sent: 0,
            units_reclaimable: 0,
            units_freed: 0,
            segment_bytes: self.limits.segment_bytes,
            written: self.written(),
            keys: Vec::new(),
        };
        for (prefix, counter) in self.counters() {
            let held = counter.held(Entry::offered);
            let kept = counter.held(|entry| entry.live() && !entry.offered());
            let mut receipted = RangeSet::new();
            let counted = counter.receipts.iter().filter(|of| of.class >= least);
            counted.for_each(|of| receipted.extend(&of.ranges));
            report.units_numbered += counter.next;
            report.units_held += held.count();
            report.units_kept += kept.count();
            report.units_receipted += receipted.count();
            report.units_voided += counter.voided.count();
            for entry in counter.units.values() {
                let state = match entry.state {
                    _ if entry.live() && entry.priority == KEPT => continue,
                    State::New => &mut report.units_new,
                    State::Sent => &mut report.units_sent,
                    State::Reclaimable => &mut report.units_reclaimable,
                };
                *state += 1;
            }
            let reclaimable = counter.held(|entry| entry.state == State::Reclaimable);
            report.units_freed += receipted.count().saturating_sub(reclaimable.count());
            let live = counter.units.values().filter(|entry| entry.live());
            report.keys.push(CounterReport {
                origin: identity.origin.to_string(),
                epoch: identity.epoch.0,
                spacecraft: prefix.spacecraft.0,
                channel: prefix.channel.0,
                name: prefix.channel.to_string(),
                next: counter.next,
                listed_from: counter.floor,
                held: pairs(&held),
                kept: pairs(&kept),
                receipted: pairs(&receipted),
                voided: pairs(&counter.voided),
                unaccounted: pairs(&counter.unaccounted().into_iter().collect()),
                held_bytes: live.map(|entry| u64::from(entry.length)).sum(),
            });
        }
        report
    }
}
