//! The store: numbered units on a medium that may lose power at any write.
//!
//! ```text
//! append, void ─► pending ─► commit: room ─► write ─► sync ─► names ─► index ─► offered to a link
//!                                      └ clean ◄──────────────────────┘
//! ```
//!
//! A log of segments. What a commit returned is durable; nothing is offered to a link before.
//! A void is durable before what it names is erased. After a failed write or sync the segment is
//! left alone and everything pending goes to a new one. Opening reads the segments in order, the
//! last record of a key wins, and syncs the tail before anything of it is stated.

mod counter;
mod damage;
mod format;
mod medium;
mod open;
mod report;
mod room;
mod scan;
mod schedule;
mod write;
mod written;
pub mod shell;
pub mod forgetful;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;
use codecs::{
    ids::{Channel, Codec, KeyPrefix, Origin, RangeSet, SeqRange, SpacecraftId, UnitKey},
    link::{MAX_UNIT_BYTES, custody::Durability, sender::NO_DEADLINE, void::VoidReason},
    time::Tai,
};

pub use counter::{ASKED_FOR, Counter, Entry, KEPT, Receipts, State};
pub use damage::{DAMAGES_MAX, Damage, Damaged, Tail};
pub use format::Identity;
pub use medium::{Fault, Medium};
pub use open::{openable, peek_identity};
pub use report::{CounterReport, StoreReport};
pub use schedule::{RETRY_NS, Schedule};
pub use shell::disk::Disk;
pub use written::Written;

use format::{NoteRecord, ReceiptRecord, Record, UnitRecord, unit_record_bytes};
use room::Drafts;
use written::WRITTEN_SLOT;

/// Bounds of a store.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes on the medium.
    pub capacity_bytes: u64,
    /// Length at which a segment is closed.
    pub segment_bytes: u64,
    /// Durability class, as on the wire, from which a receipt makes a unit reclaimable.
    pub least_class: u8,
    /// Bytes that are given up at once when room is short, or more where the newcomers need more:
    /// choosing looks at every unit held. 0 gives up no more than must go.
    pub evict_bytes: u64,
    /// Whether the lowest is given up, told by voids, where the medium is full before the capacity
    /// is. Otherwise the store waits for room, and so does what fills it.
    pub evict_on_full: bool,
}

/// Fewest segments that a capacity must hold: two stay free to clean into, and the rest must leave
/// cleaning something to gain.
pub const SEGMENTS_MIN: u64 = 8;

/// Longest value that [`Store::note`] keeps, bytes.
pub const NOTE_BYTES_MAX: usize = 4096;
/// Slots of values: each segment repeats all of them.
pub const NOTES_MAX: usize = 96;

/// A unit to be numbered and kept.
#[derive(Clone, Debug)]
pub struct NewUnit {
    /// Spacecraft that it is about.
    pub spacecraft: SpacecraftId,
    /// Channel.
    pub channel: Channel,
    /// Format of the inside.
    pub codec: Codec,
    /// Value: higher goes down first and is given up last. [`KEPT`] stays on board, told by a void,
    /// until it is asked for.
    pub priority: u8,
    /// When it was taken.
    pub captured: Tai,
    /// Seconds from then until it is worth nothing; 0 where it keeps its worth.
    pub deadline_s: u32,
    /// The unit.
    pub bytes: Bytes,
}

/// A held unit as a link needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its key.
    pub key: UnitKey,
    /// Format of the inside.
    pub codec: Codec,
    /// Value.
    pub priority: u8,
    /// Length, bytes.
    pub length: u32,
    /// When it was taken.
    pub captured: Tai,
    /// Seconds from then until it is worth nothing; 0 where it keeps its worth.
    pub deadline_s: u32,
}

impl Stored {
    /// When it is worth nothing any more; the end of time where it keeps its worth.
    pub fn due(&self) -> Tai {
        match self.deadline_s {
            0 => NO_DEADLINE,
            deadline => self.captured.plus(i64::from(deadline) * 1_000_000_000),
        }
    }
}

/// What a commit changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Durable now, so that a link may have them; a void that grew comes again with its new length.
    pub stored: Vec<Stored>,
    /// Given up for want of room; voids that name them are among `stored`.
    pub evicted: Vec<UnitKey>,
    /// What stood in the way of cleaning, which will be tried again.
    pub trouble: Option<Fault>,
}

/// Why the store can't go on as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The segments belong to another spacecraft.
    #[error(
        "the store belongs to origin {found}, the identity says {wanted}: give each identity a store of its own"
    )]
    Foreign {
        /// Origin in the segments.
        found: Origin,
        /// Origin asked for.
        wanted: Origin,
    },
    /// Segments are there and none has a readable header.
    #[error(
        "none of the {0} segments has a readable header: move the folder away to keep what can be saved, then start anew"
    )]
    Unreadable(usize),
    /// A segment that a later version of this program wrote.
    #[error(
        "segment {segment:016x} is of version {version}, which this program does not read: go on with the program that wrote it, or move the folder away and start anew"
    )]
    Newer {
        /// The segment.
        segment: u64,
        /// Its version.
        version: char,
    },
    /// More is pending than one commit writes.
    #[error("{0} bytes are pending: commit before adding more")]
    Pending(u64),
    /// Larger than any unit may be.
    #[error("a unit of {0} bytes is larger than the link carries ({max})", max = MAX_UNIT_BYTES)]
    TooLarge(usize),
    /// No room, and nothing may be given up for it: what is pending stays pending.
    #[error("no room: {0}; nothing accepted is lost, try again when a receipt or space has come")]
    Full(Fault),
    /// The medium failed: what is pending stays pending.
    #[error("the store's medium failed: {0}")]
    Medium(Fault),
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Full => Self::Full(fault),
            Fault::Failed(_) => Self::Medium(fault),
        }
    }
}

/// Why a unit can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It was given up or erased.
    #[error("the unit is no longer held")]
    Gone,
    /// Its record no longer matches its check; a void that says so is pending.
    #[error("the unit is damaged on the medium")]
    Damaged,
    /// The medium failed.
    #[error("the store's medium failed: {0}")]
    Medium(Fault),
}

/// Slot of the number that a channel which is new starts from; no one else's.
const FRESH_SLOT: u32 = 0xfffe_0001;

/// Name of a counter within a store.
pub type CounterName = (SpacecraftId, Channel);

/// What is held and kept where the medium ended before the capacity did.
#[derive(Clone, Copy, Debug)]
struct Crowded {
    /// Bytes of units that may be held without a receipt.
    budget: u64,
    /// Bytes on the medium above which it is cleaned.
    clean_above: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Segment {
    length: u64,
    live: u64,
}

/// The store over a medium.
#[derive(Debug)]
pub struct Store<M> {
    medium: M,
    identity: Identity,
    limits: Limits,
    counters: BTreeMap<CounterName, Counter>,
    segments: BTreeMap<u64, Segment>,
    active: Option<u64>,
    /// Latest segment whose checkpoint is durable: what lies before it may be erased.
    newest_durable: Option<u64>,
    next_segment: u64,
    /// Whether the medium keeps space for voids and cleaning out of others' reach.
    reserved: bool,
    pending: Vec<UnitRecord>,
    pending_control: Vec<Record>,
    pending_bytes: u64,
    drafts: Drafts,
    /// Small values by slot, as pending as the rest until a commit.
    notes: BTreeMap<u32, Bytes>,
    /// Number that a channel which is new starts from.
    fresh_from: u64,
    /// The medium ended before the capacity did.
    crowded: Option<Crowded>,
    stray_bytes: u64,
    damage: Damaged,
    units_sent: u64,
    written: Written,
}

impl<M: Medium> Store<M> {
    /// Who numbers here.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Least class of a receipt that makes a unit reclaimable.
    pub fn reclaimable_from(&self) -> Durability {
        let local = self.limits.least_class <= Durability::Local as u8;
        if local { Durability::Local } else { Durability::ObjectStore }
    }

    /// Numbers a unit and holds it until [`commit`](Self::commit).
    pub fn append(&mut self, unit: NewUnit) -> Result<UnitKey, StoreError> {
        if unit.bytes.len() > MAX_UNIT_BYTES {
            return Err(StoreError::TooLarge(unit.bytes.len()));
        }
        let footprint = unit_record_bytes(unit.bytes.len(), unit.deadline_s) as u64;
        if self.pending_bytes > 0 && self.pending_bytes + footprint > self.pending_max() {
            return Err(StoreError::Pending(self.pending_bytes));
        }
        let counter = self.counter((unit.spacecraft, unit.channel));
        let sequence = counter.next;
        counter.next += 1;
        let NewUnit { spacecraft, channel, codec, priority, captured, deadline_s, bytes } = unit;
        self.pending_bytes += footprint;
        if priority == KEPT {
            let (range, length) =
                (SeqRange { first: sequence, last: sequence }, bytes.len() as u64);
            self.draft((spacecraft, channel), range, VoidReason::Kept, length, Some(captured));
        }
        self.pending.push(UnitRecord {
            spacecraft,
            channel,
            sequence,
            codec,
            priority,
            captured,
            deadline_s,
            bytes,
        });
        Ok(UnitKey { prefix: self.prefix((spacecraft, channel)), sequence })
    }

    /// The counter of a channel; one that is new starts behind what was lost unread.
    fn counter(&mut self, name: CounterName) -> &mut Counter {
        let from = self.fresh_from;
        if from > 0 && !self.counters.contains_key(&name) {
            self.counters.insert(name, Counter { next: from, ..Counter::default() });
            let range = SeqRange { first: 0, last: from - 1 };
            self.draft(name, range, VoidReason::Skipped, 0, None);
        }
        self.counters.entry(name).or_default()
    }

    /// Whether units of these lengths can be added before the next commit.
    pub fn fits(&self, lengths: impl Iterator<Item = usize>) -> bool {
        let bytes: u64 = lengths.map(|length| unit_record_bytes(length, 1) as u64).sum();
        self.pending_bytes == 0 || self.pending_bytes + bytes <= self.pending_max()
    }

    /// Gives the channel's next number to something that triage drops, and drafts its void.
    pub fn drop_next(
        &mut self,
        spacecraft: SpacecraftId,
        channel: Channel,
        bytes: u64,
        captured: Tai,
    ) -> UnitKey {
        let name = (spacecraft, channel);
        let counter = self.counter(name);
        let sequence = counter.next;
        counter.next += 1;
        let range = SeqRange { first: sequence, last: sequence };
        self.draft(name, range, VoidReason::Triage, bytes, Some(captured));
        UnitKey { prefix: self.prefix(name), sequence }
    }

    /// Takes a receipt; what it makes reclaimable is erased once space is needed. The receipt
    /// itself is written with the next commit: losing it costs one repetition.
    pub fn receipt(&mut self, ledger: u64, class: u8, prefix: KeyPrefix, ranges: &RangeSet) -> u64 {
        let name = (prefix.spacecraft, prefix.channel);
        if prefix != self.prefix(name) {
            return 0;
        }
        let least = self.limits.least_class;
        let Some(counter) = self.counters.get_mut(&name) else { return 0 };
        let fresh = counter.receipt(ledger, class, ranges);
        if fresh.is_empty() {
            return 0;
        }
        let mut freed = 0;
        if class >= least {
            for range in fresh.ranges() {
                for (_, entry) in counter.units.range_mut(range.first..=range.last) {
                    if entry.live() {
                        entry.state = State::Reclaimable;
                        freed += 1;
                        if let Some(segment) = self.segments.get_mut(&entry.segment) {
                            segment.live -= entry.footprint();
                        }
                    }
                }
            }
        }
        let (spacecraft, channel) = name;
        let receipt = ReceiptRecord { spacecraft, channel, ledger, class, ranges: fresh };
        self.pending_control.push(Record::Receipt(receipt));
        freed
    }

    /// Keeps a small value in the place of the one of its slot; durable with the next commit, whole
    /// or not at all, and together with every unit that is pending with it. Whether it is taken: a
    /// value is at most [`NOTE_BYTES_MAX`] long, and [`NOTES_MAX`] slots are kept.
    pub fn note(&mut self, slot: u32, bytes: Bytes) -> bool {
        let room = self.notes.contains_key(&slot) || self.notes.len() < NOTES_MAX;
        let own = [WRITTEN_SLOT, FRESH_SLOT].contains(&slot);
        let taken = room && bytes.len() <= NOTE_BYTES_MAX && !own;
        if taken {
            self.notes.insert(slot, bytes.clone());
            self.pending_control.push(Record::Note(NoteRecord { slot, bytes }));
        }
        taken
    }

    /// Every small value with its slot.
    pub fn notes(&self) -> impl Iterator<Item = (u32, &Bytes)> {
        let others = self.notes.iter().filter(|(slot, _)| **slot != FRESH_SLOT);
        others.map(|(slot, bytes)| (*slot, bytes))
    }

    /// Takes an ask: what is still held becomes new again and is returned to be offered; what was
    /// erased since its receipt is named in a void, so that nobody waits for it.
    pub fn ask(&mut self, prefix: KeyPrefix, ranges: &RangeSet) -> Vec<Stored> {
        let name = (prefix.spacecraft, prefix.channel);
        if prefix != self.prefix(name) {
            return Vec::new();
        }
        let Some(counter) = self.counters.get_mut(&name) else { return Vec::new() };
        counter.unreceipt(ranges);
        counter.ask_for(ranges);
        let gone = counter.gone(ranges);
        let mut again = Vec::new();
        for range in ranges.ranges() {
            for (sequence, entry) in counter.units.range_mut(range.first..=range.last) {
                if let Some(segment) = self.segments.get_mut(&entry.segment)
                    && !entry.live()
                {
                    segment.live += entry.footprint();
                }
                entry.state = State::New;
                again.push(stored(UnitKey { prefix, sequence: *sequence }, entry));
            }
        }
        for range in gone {
            self.draft(name, range, VoidReason::Evicted, 0, None);
        }
        let (spacecraft, channel) = name;
        let ranges = ranges.clone();
        let asked = ReceiptRecord { spacecraft, channel, ledger: 0, class: 0, ranges };
        self.pending_control.push(Record::Asked(asked));
        again
    }

    /// Reads a unit to send it, and notes that it was handed out.
    pub fn take(&mut self, key: UnitKey) -> Result<Bytes, ReadError> {
        let bytes = self.read(key)?;
        let name = (key.prefix.spacecraft, key.prefix.channel);
        if let Some(counter) = self.counters.get_mut(&name)
            && let Some(entry) = counter.units.get_mut(&key.sequence)
            && entry.state == State::New
        {
            entry.state = State::Sent;
            self.units_sent += 1;
        }
        Ok(bytes)
    }

    /// Reads a unit to look at it: to a link it is as new as before.
    pub fn read(&mut self, key: UnitKey) -> Result<Bytes, ReadError> {
        let name = (key.prefix.spacecraft, key.prefix.channel);
        let entry = self
            .counters
            .get(&name)
            .filter(|_| key.prefix == self.prefix(name))
            .and_then(|counter| counter.units.get(&key.sequence))
            .copied()
            .ok_or(ReadError::Gone)?;
        let record = self.read_record(name, key.sequence, &entry).map_err(ReadError::Medium)?;
        let Some(record) = record else {
            self.damaged(name, key.sequence, &entry);
            return Err(ReadError::Damaged);
        };
        Ok(record.bytes)
    }

    /// Every unit that a link should still bring down, in order of key.
    pub fn unreceipted(&self) -> impl Iterator<Item = Stored> + '_ {
        self.counters.iter().flat_map(|(name, counter)| {
            let prefix = self.prefix(*name);
            let offered = counter.units.iter().filter(|(_, entry)| entry.offered());
            offered.map(move |(sequence, entry)| {
                stored(UnitKey { prefix, sequence: *sequence }, entry)
            })
        })
    }

    /// Every counter with its prefix.
    pub fn counters(&self) -> impl Iterator<Item = (KeyPrefix, &Counter)> {
        self.counters.iter().map(|(name, counter)| (self.prefix(*name), counter))
    }

    /// Units and bytes that still go down, pending ones included; what is kept waits for nothing.
    pub fn backlog(&self) -> (u64, u64) {
        let held = self.counters.values().flat_map(|counter| counter.units.values());
        let held = held.filter(|entry| entry.offered()).map(|entry| u64::from(entry.length));
        let pending = self.pending.iter().filter(|unit| unit.priority > KEPT);
        let pending = pending.map(|unit| unit.bytes.len() as u64);
        held.chain(pending).fold((0, 0), |(units, bytes), length| (units + 1, bytes + length))
    }

    /// Next sequence of a channel.
    pub fn next_of(&self, spacecraft: SpacecraftId, channel: Channel) -> u64 {
        self.counters.get(&(spacecraft, channel)).map_or(0, |counter| counter.next)
    }

    /// Different units handed out since the store was opened.
    pub fn units_sent(&self) -> u64 {
        self.units_sent
    }

    /// Bytes written since the store was formatted, by cause.
    pub fn written(&self) -> Written {
        self.written
    }

    /// What was found damaged since the store was opened.
    pub fn damage(&self) -> &Damaged {
        &self.damage
    }

    /// Bytes that wait for the next commit.
    pub fn pending_bytes(&self) -> u64 {
        self.pending_bytes
    }

    /// Whether a commit would write anything.
    pub fn is_dirty(&self) -> bool {
        !self.pending.is_empty() || !self.pending_control.is_empty() || !self.drafts.is_empty()
    }

    fn pending_max(&self) -> u64 {
        self.limits.segment_bytes / 2
    }

    fn prefix(&self, (spacecraft, channel): CounterName) -> KeyPrefix {
        let Identity { origin, epoch } = self.identity;
        KeyPrefix { origin, epoch, spacecraft, channel }
    }

    fn read_record(
        &mut self,
        name: CounterName,
        sequence: u64,
        entry: &Entry,
    ) -> Result<Option<UnitRecord>, Fault> {
        let length = unit_record_bytes(entry.length as usize, entry.deadline_s);
        let bytes = self.medium.read(entry.segment, u64::from(entry.offset), length)?;
        let found = format::decode_record(&bytes, self.identity.epoch, entry.segment);
        Ok(match found {
            Some((Record::Unit(unit), _))
                if (unit.spacecraft, unit.channel) == name && unit.sequence == sequence =>
            {
                Some(unit)
            }
            _ => None,
        })
    }

    /// A unit that the medium no longer gives back whole: erased with a void that says why.
    fn damaged(&mut self, name: CounterName, sequence: u64, entry: &Entry) {
        let range = SeqRange { first: sequence, last: sequence };
        let bytes = u64::from(entry.length);
        self.damage.units_unreadable += 1;
        self.draft(name, range, VoidReason::Damaged, bytes, Some(entry.captured));
        self.forget(name, sequence);
    }

    /// Takes a unit out of the index.
    fn forget(&mut self, name: CounterName, sequence: u64) {
        let entry = self.counters.get_mut(&name).and_then(|of| of.units.remove(&sequence));
        if let Some(entry) = entry
            && entry.live()
            && let Some(segment) = self.segments.get_mut(&entry.segment)
        {
            segment.live -= entry.footprint();
        }
    }
}

fn entry_of(unit: &UnitRecord, segment: u64, offset: u32) -> Entry {
    Entry {
        segment,
        offset,
        length: unit.bytes.len() as u32,
        codec: unit.codec,
        priority: unit.priority,
        state: State::New,
        captured: unit.captured,
        deadline_s: unit.deadline_s,
    }
}

fn stored(key: UnitKey, entry: &Entry) -> Stored {
    let Entry { codec, priority, length, captured, deadline_s, .. } = *entry;
    Stored { key, codec, priority, length, captured, deadline_s }
}
