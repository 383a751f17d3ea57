//! Opening: what the segments say, made durable before anything of it is stated.

use std::collections::BTreeMap;

use bytes::Bytes;
use codecs::{
    ids::{Channel, Origin, SeqRange, StoreEpoch},
    link::void::{Void, VoidReason},
};

use super::{
    Damage, Damaged, FRESH_SLOT, Fault, Identity, Limits, Medium, Segment, State, Store,
    StoreError, Tail, entry_of,
    format::{self, HEADER_BYTES, NoteRecord, Record, UnitRecord, unit_record_bytes},
    room::Drafts,
    scan,
    written::{WRITTEN_SLOT, Written},
};

/// Reads whose store a medium holds; nothing where no header says.
pub fn peek_identity<M: Medium>(medium: &mut M) -> Result<Option<Identity>, Fault> {
    for (segment, length) in medium.segments()? {
        let header = medium.read(segment, 0, length.min(HEADER_BYTES as u64) as usize)?;
        if let Some(identity) = scan::identity(&header, segment) {
            return Ok(Some(identity));
        }
    }
    Ok(None)
}

/// First segment that only a later program reads. All are looked at before any is written behind:
/// a program that did not know a kind of record would take it for damage.
fn newer<M: Medium>(medium: &mut M, listed: &[(u64, u64)]) -> Result<Option<(u64, char)>, Fault> {
    for (segment, length) in listed.iter().filter(|(_, length)| *length >= 8) {
        let header = medium.read(*segment, 0, (*length).min(8) as usize)?;
        if let Some(version) = format::newer_version(&header) {
            return Ok(Some((*segment, version)));
        }
    }
    Ok(None)
}

/// Whose store a medium holds, should [`Store::open`] take it for `origin`'s; nothing where it is
/// empty. Only headers are read.
///
/// # Errors
/// Why a store of `origin` would not open.
pub fn openable<M: Medium>(medium: &mut M, origin: Origin) -> Result<Option<Identity>, StoreError> {
    let listed = medium.segments()?;
    if let Some((segment, version)) = newer(medium, &listed)? {
        return Err(StoreError::Newer { segment, version });
    }
    match peek_identity(medium)? {
        Some(found) if found.origin == origin => Ok(Some(found)),
        Some(found) => Err(StoreError::Foreign { found: found.origin, wanted: origin }),
        // A cut during the very first commit leaves one segment without a header; nothing of
        // it was ever offered.
        None if listed.iter().any(|(segment, _)| *segment != 0) => {
            Err(StoreError::Unreadable(listed.len()))
        }
        None => Ok(None),
    }
}

impl<M: Medium> Store<M> {
    /// Opens what the medium holds, or starts a store with `epoch` where it holds nothing.
    pub fn open(
        mut medium: M,
        limits: Limits,
        origin: Origin,
        epoch: StoreEpoch,
    ) -> Result<Self, StoreError> {
        let found = openable(&mut medium, origin)?;
        let identity = found.unwrap_or(Identity { origin, epoch });
        let listed = medium.segments()?;
        let mut store = Self {
            medium,
            identity,
            limits,
            counters: BTreeMap::new(),
            segments: BTreeMap::new(),
            active: None,
            newest_durable: None,
            reserved: false,
            next_segment: listed.last().map_or(0, |(last, _)| last + 1),
            pending: Vec::new(),
            pending_control: Vec::new(),
            pending_bytes: 0,
            drafts: Drafts::default(),
            notes: BTreeMap::new(),
            fresh_from: 0,
            crowded: None,
            stray_bytes: 0,
            damage: Damaged::default(),
            units_sent: 0,
            written: Written::default(),
        };
        let last = listed.last().map(|(segment, _)| *segment);
        // More than the store may hold can't be gone: then the mark is what is damaged.
        let most = limits.capacity_bytes / limits.segment_bytes.max(1) + 1;
        let marked = store.medium.newest().filter(|of| of - last.unwrap_or(0).min(*of) <= most);
        let mut unknown = 0;
        for (segment, length) in listed {
            unknown = store.load(segment, length, Some(segment) == last)?;
        }
        // Segments that were made and are gone held as much as one can.
        let gone = marked.map_or(0, |of| of.saturating_sub(last.unwrap_or(0)));
        unknown = gone.saturating_mul(limits.segment_bytes).saturating_add(unknown);
        store.next_segment = store.next_segment.max(marked.map_or(0, |of| of.saturating_add(1)));
        store.settle();
        // Where no header says whose it was, the epoch is new, and so are all numbers.
        store.skip(last.unwrap_or(0), if found.is_some() { unknown } else { 0 });
        // What a dead process wrote may be visible and yet not durable (custody: the scanned tail
        // is synced before any of it is stated).
        for segment in store.segments.keys() {
            store.medium.sync(*segment)?;
        }
        store.medium.sync_names()?;
        Ok(store)
    }

    /// Reads a segment; how many bytes at its end are of no whole record.
    fn load(&mut self, segment: u64, length: u64, newest: bool) -> Result<u64, StoreError> {
        let bytes = self.medium.read(segment, 0, length as usize)?;
        let scanned = scan::scan(&bytes, self.identity.epoch, segment);
        // A newest segment without a header may have held as much as any.
        let headless = newest && scan::identity(&bytes, segment).is_none();
        let least = if headless { self.limits.segment_bytes } else { 0 };
        let tail_bytes = scanned.tail_bytes.max(least);
        if scanned.records.is_empty() && length > 0 && !newest {
            self.damage.found(Damage { segment, offset: 0, bytes: length });
        }
        self.stray_bytes += scanned.stray_bytes;
        if let Some((offset, bytes)) = scanned.damaged {
            self.damage.found(Damage { segment, offset, bytes });
        }
        self.segments.insert(segment, Segment { length, live: 0 });
        for found in &scanned.cut {
            if let Record::Unit(unit) = &found.record {
                // Its number is not given again, should it have been damage at rest after all.
                let counter = self.counters.entry((unit.spacecraft, unit.channel)).or_default();
                counter.next = counter.next.max(unit.sequence.saturating_add(1));
            }
        }
        // A segment's first write begins with what the counters were: where something else follows
        // it, all of that is there, and what lies before the segment may be erased once it is dead.
        // A disk without room for another segment could free none otherwise.
        let follows = |found: &scan::Found| {
            matches!(found.record, Record::Unit(_) | Record::Receipt(_) | Record::Asked(_))
        };
        if scanned.stray_bytes == 0 && scanned.records.iter().any(follows) {
            self.newest_durable = Some(segment);
        }
        let mut written = Written { checkpoints: HEADER_BYTES as u64, ..Written::default() };
        for found in scanned.records {
            written.add(&found.record, u64::from(found.length));
            match found.record {
                Record::Unit(unit) => self.load_unit(segment, found.offset, unit),
                Record::Batch(_) => {}
                Record::Note(note) if note.slot == WRITTEN_SLOT => {
                    self.written = Written::decode(&note.bytes).unwrap_or(self.written);
                }
                Record::Receipt(of) => {
                    let counter = self.counters.entry((of.spacecraft, of.channel)).or_default();
                    counter.durable_next = u64::MAX;
                    counter.receipt(of.ledger, of.class, &of.ranges);
                }
                Record::Asked(of) => {
                    let counter = self.counters.entry((of.spacecraft, of.channel)).or_default();
                    counter.unreceipt(&of.ranges);
                    counter.ask_for(&of.ranges);
                }
                Record::Note(note) => {
                    self.notes.insert(note.slot, note.bytes);
                }
                Record::Checkpoint(state) => {
                    let name = (state.spacecraft, state.channel);
                    self.counters.entry(name).or_default().restore(state);
                }
            }
        }
        self.written.extend(&written);
        Ok(tail_bytes)
    }

    /// Gives no number again that what is lost at the end may have had: a receipt for it would be
    /// taken for one of what has it next. Channels that are new from now on start behind it too.
    fn skip(&mut self, segment: u64, bytes: u64) {
        let so_far = self.notes.get(&FRESH_SLOT).and_then(|of| of.first_chunk().copied());
        self.fresh_from = so_far.map_or(0, u64::from_be_bytes);
        if bytes == 0 {
            return;
        }
        let skipped = bytes.div_ceil(unit_record_bytes(0, 0) as u64);
        self.damage.end = Some(Tail { segment, bytes, skipped });
        let mut ranges = Vec::new();
        for (name, counter) in &mut self.counters {
            let first = counter.next;
            counter.next = first.saturating_add(skipped);
            counter.durable_next = counter.next;
            ranges.push((*name, SeqRange { first, last: counter.next - 1 }));
        }
        for (name, range) in ranges {
            self.draft(name, range, VoidReason::Skipped, 0, None);
        }
        self.fresh_from = self.fresh_from.saturating_add(skipped);
        let note: Bytes = self.fresh_from.to_be_bytes().to_vec().into();
        self.notes.insert(FRESH_SLOT, note.clone());
        self.pending_control.push(Record::Note(NoteRecord { slot: FRESH_SLOT, bytes: note }));
    }

    fn load_unit(&mut self, segment: u64, offset: u32, unit: UnitRecord) {
        if unit.channel == Channel::VOIDS
            && let Ok(void) = Void::decode(&unit.bytes)
            && void.reason != VoidReason::Kept
        {
            for entry in void.entries.iter().filter(|entry| entry.epoch == self.identity.epoch) {
                let name = (entry.spacecraft, entry.channel);
                self.counters.entry(name).or_default().void(entry.range);
            }
        }
        let counter = self.counters.entry((unit.spacecraft, unit.channel)).or_default();
        counter.next = counter.next.max(unit.sequence.saturating_add(1));
        counter.units.insert(unit.sequence, entry_of(&unit, segment, offset));
    }

    /// Brings the states in line with receipts and voids once everything is read, and voids what
    /// is neither held nor settled: it was lost with a cut or to damage, and says so by key.
    fn settle(&mut self) {
        let least = self.limits.least_class;
        let mut lost = Vec::new();
        for (name, counter) in &mut self.counters {
            counter.durable_next = counter.next;
            let asked = std::mem::take(&mut counter.asked);
            counter.ask_for(&asked);
            let (voided, receipts) = (&counter.voided, &counter.receipts);
            counter.units.retain(|sequence, _| !voided.contains(*sequence));
            for (sequence, entry) in &mut counter.units {
                let receipted =
                    receipts.iter().any(|of| of.class >= least && of.ranges.contains(*sequence));
                entry.state = if receipted { State::Reclaimable } else { State::New };
                if let Some(segment) = self.segments.get_mut(&entry.segment)
                    && entry.live()
                {
                    segment.live += entry.footprint();
                }
            }
            lost.extend(counter.unaccounted().into_iter().map(|range| (*name, range)));
        }
        for (name, range) in lost {
            self.damage.units_lost += range.count();
            self.draft(name, range, VoidReason::Damaged, 0, None);
        }
    }
}
