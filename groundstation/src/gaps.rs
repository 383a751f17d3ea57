//! What is not there, and why: lists that must not be mixed.
//!
//! ```text
//! sequence of each counter ─► custody gaps: units that a store numbered and that did not come
//! floor of the archive ─► what retention let go: it came, and was deleted on purpose
//! checkpoint of the ledger ─► what is damaged or lost: it came, and can't be read any more
//! voids ─► what was left out on purpose: named, and no custody gap
//! frame count, merged view ─► reception gaps: frames that no antenna heard during a contact
//! ```

mod contact;

pub use contact::{CONTACT_GAP_NS, Contact, ContactId, Contacts, Heard, NoContactId};

use crate::{
    archive::{Archived, read::Claims},
    header::{Formats, Head},
    merge::{Merge, Standing, View, is_set_back},
};
use codecs::{
    ids::{Channel, KeyPrefix, RangeSet, SeqRange, SpacecraftId, UnitKey},
    link::void::{Void, VoidReason},
    mission::Definition,
    time::Tai,
};
use std::collections::BTreeMap;

/// Frames whose copies are known as such, over a whole archive: about 150 MB of memory.
const FRAMES_MAX: usize = 1 << 20;

/// Frames of a run that tell its pace.
const PACE_FRAMES: u64 = 32;

/// Units or frames that follow each other without a hole, by their first number.
#[derive(Clone, Debug, Default)]
struct Runs(BTreeMap<u64, Run>);

#[derive(Clone, Copy, Debug)]
struct Run {
    last: u64,
    /// Frame counts of its first and last frame.
    counts: [u64; 2],
    /// When those two were received.
    times: [Tai; 2],
}

impl Runs {
    /// Adds one; `follows` says whether two counts are neighbours as well.
    fn add(&mut self, number: u64, count: u64, at: Tai, follows: impl Fn(u64, u64) -> bool) {
        let mut first = number;
        let mut run = Run { last: number, counts: [count; 2], times: [at; 2] };
        let before = self.0.range(..=number).next_back().map(|(first, run)| (*first, *run));
        if let Some((start, before)) = before {
            if before.last >= number {
                return;
            }
            if before.last + 1 == number && follows(before.counts[1], count) {
                first = start;
                (run.counts[0], run.times[0]) = (before.counts[0], before.times[0]);
            }
        }
        if let Some(next) = number.checked_add(1)
            && let Some(after) = self.0.get(&next).copied()
            && follows(count, after.counts[0])
        {
            self.0.remove(&next);
            run.last = after.last;
            (run.counts[1], run.times[1]) = (after.counts[1], after.times[1]);
        }
        self.0.insert(first, run);
    }

    /// Neighbouring runs.
    fn pairs(&self) -> impl Iterator<Item = (&Run, u64, &Run)> {
        let runs = self.0.iter();
        runs.clone().zip(runs.skip(1)).map(|((_, run), (start, next))| (run, *start, next))
    }
}

/// Sequences of a counter that did not come, before those that came later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CustodyGap {
    /// Which.
    pub range: SeqRange,
    /// When the unit behind it was received.
    pub noticed: Tai,
}

/// Sequences that their store left out on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Which.
    pub range: SeqRange,
    /// Why; none where the record that says so can't be read any more.
    pub reason: Option<VoidReason>,
    /// Bytes that they held; none where nothing says so any more.
    pub bytes: Option<u64>,
}

/// Frames that were sent during a contact and that no antenna heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceptionGap {
    /// Virtual channel.
    pub vc: u8,
    /// How many frames.
    pub lost: u64,
    /// When the frame before was received.
    pub from: Tai,
    /// When the frame behind was received.
    pub to: Tai,
}

/// A frame count that was set back during a contact: frames were heard again, or the counter was
/// reset. How many were lost there nothing tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetBack {
    /// Virtual channel.
    pub vc: u8,
    /// Counts of the frame before and of the first of the new run.
    pub counts: [u64; 2],
    /// When the frame before was received.
    pub from: Tai,
    /// When the first of the new run was received.
    pub to: Tai,
}

/// One counter of a store.
#[derive(Clone, Debug)]
pub struct CounterGaps {
    /// Which.
    pub prefix: KeyPrefix,
    /// Units held.
    pub held: u64,
    /// Custody gaps.
    pub custody: Vec<CustodyGap>,
    /// What was left out on purpose.
    pub left_out: Vec<LeftOut>,
    /// What retention let go.
    pub let_go: Vec<SeqRange>,
    /// What came and can't be read any more: its record is damaged, or its segment is missing.
    pub damaged: Vec<SeqRange>,
}

/// One channel in the merged view, or of one store where no antenna heard it.
#[derive(Clone, Debug)]
pub struct ChannelGaps {
    /// Which.
    pub view: View,
    /// Frames heard, each once.
    pub frames: u64,
    /// Further receptions of those.
    pub copies: u64,
    /// Reception gaps.
    pub reception: Vec<ReceptionGap>,
    /// Where its count was set back.
    pub set_back: Vec<SetBack>,
}

/// Everything that is not there.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Counters in order.
    pub counters: Vec<CounterGaps>,
    /// Channels in order.
    pub channels: Vec<ChannelGaps>,
}

impl Report {
    /// Keeps what is of one contact. What was left out, let go or is damaged has no time by which
    /// it would be.
    pub fn keep(&mut self, spacecraft: SpacecraftId, contact: &Contact) {
        self.counters.retain(|counter| counter.prefix.spacecraft == spacecraft);
        for counter in &mut self.counters {
            counter.custody.retain(|gap| contact.holds(gap.noticed));
            counter.left_out.clear();
            counter.let_go.clear();
            counter.damaged.clear();
        }
        self.channels.retain(|channel| channel.view.spacecraft() == spacecraft);
        for channel in &mut self.channels {
            channel.reception.retain(|gap| contact.holds(gap.from));
            channel.set_back.retain(|back| contact.holds(back.from));
        }
    }
}

#[derive(Default)]
struct Counter {
    units: Runs,
    held: u64,
    left_out: Vec<LeftOut>,
    /// Left out, as the ledger says: it outlives the records that say why.
    voided: RangeSet,
    let_go: RangeSet,
    claimed: RangeSet,
}

#[derive(Default)]
struct Lane {
    frames: Runs,
    modulus: u64,
    count: u64,
    copies: u64,
}

/// Reads an archive unit by unit.
pub struct Gaps {
    formats: Formats,
    merge: Merge,
    counters: BTreeMap<KeyPrefix, Counter>,
    lanes: BTreeMap<(View, u8), Lane>,
    heard: Heard,
}

impl Gaps {
    /// Has seen nothing.
    pub fn new(definition: &Definition) -> Self {
        Self {
            formats: Formats::new(definition),
            merge: Merge::new(definition.merge_window_ns).with_frames(FRAMES_MAX),
            counters: BTreeMap::new(),
            lanes: BTreeMap::new(),
            heard: Heard::default(),
        }
    }

    /// Takes what the archive says of units that no record holds.
    pub fn claims(&mut self, claims: Claims) {
        for (prefix, let_go) in claims.let_go {
            self.counters.entry(prefix).or_default().let_go = let_go;
        }
        for (prefix, came) in claims.came {
            self.counters.entry(prefix).or_default().claimed.extend(&came);
        }
        for (prefix, voided) in claims.voided {
            self.counters.entry(prefix).or_default().voided = voided;
        }
    }

    /// Takes the key of a record that does not hold: its unit came.
    pub fn damaged(&mut self, key: &UnitKey) {
        let counter = self.counters.entry(key.prefix).or_default();
        counter.claimed.insert(SeqRange { first: key.sequence, last: key.sequence });
    }

    /// Takes a unit.
    pub fn take(&mut self, unit: &Archived) {
        let prefix = unit.key.prefix;
        self.heard.note(prefix.spacecraft, unit.received);
        let counter = self.counters.entry(prefix).or_default();
        counter.units.add(unit.key.sequence, 0, unit.received, |_, _| true);
        counter.held += 1;
        if prefix.channel == Channel::VOIDS
            && let Ok(void) = Void::decode(&unit.bytes)
        {
            self.void(prefix, &void);
        }
        if prefix.channel != Channel::UNIDENTIFIED
            && let Ok(head) = self.formats.read(prefix.spacecraft, unit.codec, &unit.bytes)
            && !head.idle
        {
            self.frame(unit, &head);
        }
    }

    fn void(&mut self, own: KeyPrefix, void: &Void) {
        for entry in &void.entries {
            let prefix = KeyPrefix {
                epoch: entry.epoch,
                spacecraft: entry.spacecraft,
                channel: entry.channel,
                ..own
            };
            let (reason, bytes) = (Some(void.reason), Some(entry.bytes));
            let left_out = LeftOut { range: entry.range, reason, bytes };
            self.counters.entry(prefix).or_default().left_out.push(left_out);
        }
    }

    fn frame(&mut self, unit: &Archived, head: &Head) {
        let place = self.merge.place(unit, head);
        let lane = self.lanes.entry((place.view, head.vc)).or_default();
        lane.modulus = head.modulus.max(1);
        if place.standing != Standing::First {
            lane.copies += 1;
            return;
        }
        lane.count += 1;
        let modulus = lane.modulus;
        let follows = |before: u64, after: u64| (before + 1) % modulus == after % modulus;
        lane.frames.add(place.number, head.count, unit.received, follows);
    }

    /// Contacts as the receptions show them.
    pub const fn heard(&self) -> &Heard {
        &self.heard
    }

    /// What is missing; a hole between two contacts is no reception gap.
    pub fn report(&self, contacts: &impl Contacts) -> Report {
        let counters = self.counters.iter().map(|(prefix, counter)| CounterGaps {
            prefix: *prefix,
            held: counter.held,
            custody: counter.custody(),
            left_out: counter.still_left_out(),
            let_go: counter.let_go.ranges().to_vec(),
            damaged: counter.damaged(),
        });
        let channels = self.lanes.iter().map(|((view, vc), lane)| {
            let contacts = contacts.of(view.spacecraft());
            let (mut reception, set_back) = lane.reception(*vc, *view, &contacts);
            if let View::Heard(spacecraft, channel) = view {
                self.take_off_heard((*spacecraft, *channel), &mut reception);
            }
            let (frames, copies) = (lane.count, lane.copies);
            ChannelGaps { view: *view, frames, copies, reception, set_back }
        });
        Report { counters: counters.collect(), channels: channels.collect() }
    }
}

impl Gaps {
    /// Takes what an antenna heard and is not here off what none heard: each number of its store is
    /// a frame that it heard, delivered or not. Whether two antennas heard the same one nothing
    /// tells then, so no frame that one of them may have heard is told as heard by none.
    fn take_off_heard(
        &self,
        (spacecraft, channel): (SpacecraftId, Channel),
        reception: &mut Vec<ReceptionGap>,
    ) {
        let of_channel =
            |prefix: &KeyPrefix| prefix.spacecraft == spacecraft && prefix.channel == channel;
        for (_, site) in self.counters.iter().filter(|(prefix, _)| of_channel(prefix)) {
            let absent = site.absent();
            for gap in reception.iter_mut() {
                gap.lost = gap.lost.saturating_sub(site.between(&absent, gap.from, gap.to));
            }
        }
        reception.retain(|gap| gap.lost > 0);
    }
}

impl Counter {
    fn custody(&self) -> Vec<CustodyGap> {
        let mut known: RangeSet = self.left_out.iter().map(|left_out| left_out.range).collect();
        known.extend(&self.voided);
        known.extend(&self.let_go);
        known.extend(&self.claimed);
        let mut gaps = Vec::new();
        for (last, start, next) in self.holes() {
            let from = last.map_or(0, |last| last + 1);
            let Some(hole) = start.checked_sub(1).and_then(|to| SeqRange::new(from, to)) else {
                continue;
            };
            let missing = known.missing_from(hole).into_iter();
            gaps.extend(missing.map(|range| CustodyGap { range, noticed: next.times[0] }));
        }
        gaps
    }

    /// What voids name and has not come since: a unit beats a void, also one that can't be read any
    /// more, and what was kept on board and then given up is told as given up.
    fn still_left_out(&self) -> Vec<LeftOut> {
        let mut came = self.readable();
        came.extend(&self.claimed);
        came.extend(&self.let_go);
        let mut gone = came.clone();
        let kept = Some(VoidReason::Kept);
        let others = self.left_out.iter().filter(|of| of.reason != kept);
        others.for_each(|of| gone.insert(of.range));
        let rest = |of: &LeftOut| {
            let settled = if of.reason == kept { &gone } else { &came };
            let LeftOut { range, reason, bytes } = *of;
            // How the bytes lie in a range is not told: each sequence has the same.
            let share = move |part: SeqRange| {
                let share = u128::from(bytes?) * u128::from(part.count());
                Some((share / u128::from(range.count())) as u64)
            };
            let parts = settled.missing_from(range).into_iter();
            parts.map(move |part| LeftOut { range: part, reason, bytes: share(part) })
        };
        let mut told = came.clone();
        self.left_out.iter().for_each(|of| told.insert(of.range));
        let untold = self.voided.ranges().iter().flat_map(|range| told.missing_from(*range));
        let untold = untold.map(|range| LeftOut { range, reason: None, bytes: None });
        self.left_out.iter().flat_map(rest).chain(untold).collect()
    }

    /// What was read.
    fn readable(&self) -> RangeSet {
        let runs = self.units.0.iter();
        runs.map(|(first, run)| SeqRange { first: *first, last: run.last }).collect()
    }

    /// What its store numbered and was not read, for whatever reason.
    fn absent(&self) -> RangeSet {
        let readable = self.readable();
        let ends =
            [&readable, &self.claimed].map(|set| set.ranges().last().map(|range| range.last));
        let numbered = ends.into_iter().flatten().max().map(|last| SeqRange { first: 0, last });
        numbered.into_iter().flat_map(|numbered| readable.missing_from(numbered)).collect()
    }

    /// How many of `ranges`, at most, were numbered between two moments.
    fn between(&self, ranges: &RangeSet, from: Tai, to: Tai) -> u64 {
        let may_be = |range: &&SeqRange| {
            let before = self.units.0.range(..range.first).next_back();
            let behind = self.units.0.range(range.last..).next();
            before.is_none_or(|(_, run)| run.times[1] < to)
                && behind.is_none_or(|(_, run)| run.times[0] > from)
        };
        ranges.ranges().iter().filter(may_be).map(|range| range.count()).sum()
    }

    /// The last number before a hole, the first behind it, and the run that begins there.
    fn holes(&self) -> impl Iterator<Item = (Option<u64>, u64, &Run)> {
        let first = self.units.0.first_key_value().map(|(start, run)| (None, *start, run));
        let pairs = self.units.pairs().map(|(run, start, next)| (Some(run.last), start, next));
        first.into_iter().chain(pairs)
    }

    /// What the ledger holds, retention did not let go, and no record proves.
    fn damaged(&self) -> Vec<SeqRange> {
        let mut missing = self.claimed.clone();
        self.let_go.ranges().iter().for_each(|range| missing.remove(*range));
        for (first, run) in &self.units.0 {
            missing.remove(SeqRange { first: *first, last: run.last });
        }
        missing.ranges().to_vec()
    }
}

impl Run {
    /// Frames that are sent in a time, at the pace of this run; none where it tells none.
    fn sent_in(&self, first: u64, ns: i64) -> Option<u64> {
        let (frames, took_ns) = (self.last - first, self.times[1].since(self.times[0]));
        let tells = frames >= PACE_FRAMES && took_ns > 0;
        tells.then(|| (ns.max(0) as f64 * frames as f64 / took_ns as f64) as u64)
    }
}

impl Lane {
    fn reception(
        &self,
        vc: u8,
        view: View,
        contacts: &[Contact],
    ) -> (Vec<ReceptionGap>, Vec<SetBack>) {
        let contact = |at: Tai| contacts.partition_point(|contact| contact.to < at);
        let (mut gaps, mut set_back) = (Vec::new(), Vec::new());
        let runs = self.frames.0.iter();
        for ((before, run), (start, next)) in runs.clone().zip(runs.skip(1)) {
            let [from, to] = [run.times[1], next.times[0]];
            let lost = match view {
                View::Heard(..) => start - run.last - 1,
                // Units that have yet to come are the custody's, not the antenna's.
                View::Store(_) => {
                    let counted = (next.counts[0] % self.modulus + 2 * self.modulus
                        - run.counts[1] % self.modulus
                        - 1)
                        % self.modulus;
                    counted.saturating_sub(start - run.last - 1)
                }
            };
            if lost == 0 || contact(from) != contact(to) {
                continue;
            }
            let silence_ns = to.since(from);
            let passed = run.sent_in(*before, silence_ns).or(next.sent_in(*start, silence_ns));
            match is_set_back(lost, self.modulus, passed) {
                true => {
                    set_back.push(SetBack { vc, counts: [run.counts[1], next.counts[0]], from, to })
                }
                false => gaps.push(ReceptionGap { vc, lost, from, to }),
            }
        }
        (gaps, set_back)
    }
}

#[cfg(test)]
mod tests;
