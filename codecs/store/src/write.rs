//! Commit: everything pending goes to the medium in one write and one sync, or stays pending.

use codecs::{
    ids::{Channel, Codec, SeqRange, UnitKey},
    link::void::{Void, VoidReason},
    time::Tai,
};

use super::{
    Committed, Fault, KEPT, Medium, Segment, State, Store, StoreError, Stored, entry_of,
    format::{
        BATCH_RECORD_BYTES, BatchRecord, HEADER_BYTES, NoteRecord, Record, UnitRecord,
        encode_header, encode_record, unit_record_bytes,
    },
    room::PlannedVoid,
    stored,
    written::WRITTEN_SLOT,
};
use codecs::fec::crc::crc32c;

/// Value of a void: above everything, since what is left out unsaid looks like a loss.
pub const VOID_PRIORITY: u8 = u8::MAX;

impl<M: Medium> Store<M> {
    /// Makes everything pending durable and says what a link may have now.
    ///
    /// Where room is short, what is worth least goes first and its void is durable before it is
    /// erased. After an error everything pending is still pending; call again.
    pub fn commit(&mut self, now: Tai) -> Result<Committed, StoreError> {
        if !self.is_dirty() {
            return Ok(Committed::default());
        }
        let mut evicted = self.make_room();
        let mut voids = self.planned_voids();
        let mut records = self.records(&voids, now);
        let places = match self.write_once(&records, false) {
            Ok(places) => places,
            Err(fault) => {
                let gives_up = self.limits.evict_on_full && fault == Fault::Full;
                if gives_up && self.erase_dead().is_ok() {
                    self.crowd();
                    evicted.extend(self.make_room());
                    voids = self.planned_voids();
                    records = self.records(&voids, now);
                }
                self.write(&records, false)?
            }
        };
        let mut committed = Committed::default();
        for (record, (segment, offset)) in records.into_iter().zip(places) {
            if let Record::Unit(unit) = record {
                let stored = self.index(&unit, segment, offset);
                if stored.priority > KEPT {
                    committed.stored.push(stored);
                }
            }
        }
        for void in voids {
            for entry in &void.void.entries {
                let name = (entry.spacecraft, entry.channel);
                if void.void.reason != VoidReason::Kept {
                    self.counters.entry(name).or_default().void(entry.range);
                }
            }
            self.drafts.committed(void);
        }
        for counter in self.counters.values_mut() {
            counter.durable_next = counter.next;
        }
        self.pending.clear();
        self.pending_control.clear();
        self.pending_bytes = 0;
        for (name, sequence) in self.drafts.take_condemned() {
            self.forget(name, sequence);
            evicted.push(UnitKey { prefix: self.prefix(name), sequence });
        }
        committed.evicted = evicted;
        // What was committed is durable whatever becomes of the cleaning.
        committed.trouble = self.clean().err();
        Ok(committed)
    }

    /// Voids for everything drafted, numbered behind what may have had numbers before.
    fn planned_voids(&mut self) -> Vec<PlannedVoid> {
        for spacecraft in self.drafts.spacecraft() {
            self.counter((spacecraft, Channel::VOIDS));
        }
        self.drafts.plan(&self.counters)
    }

    fn records(&self, voids: &[PlannedVoid], now: Tai) -> Vec<Record> {
        let voids = voids.iter().map(|planned| {
            let captured = planned.void.entries.iter().map(|entry| entry.from).min();
            Record::Unit(UnitRecord {
                spacecraft: planned.spacecraft,
                channel: Channel::VOIDS,
                sequence: planned.sequence,
                codec: Codec::Void,
                priority: VOID_PRIORITY,
                captured: captured.unwrap_or(now),
                deadline_s: 0,
                bytes: Void { decided: now, ..planned.void.clone() }.encode().into(),
            })
        });
        let units = self.pending.iter().cloned().map(Record::Unit);
        self.pending_control.iter().cloned().chain(voids).chain(units).collect()
    }

    /// Puts a written unit into the index; an older record of its key is dead from here on.
    fn index(&mut self, unit: &UnitRecord, segment: u64, offset: u32) -> Stored {
        let name = (unit.spacecraft, unit.channel);
        self.forget(name, unit.sequence);
        let entry = entry_of(unit, segment, offset);
        if let Some(segment) = self.segments.get_mut(&segment) {
            segment.live += entry.footprint();
        }
        let counter = self.counters.entry(name).or_default();
        counter.next = counter.next.max(unit.sequence + 1);
        counter.units.insert(unit.sequence, entry);
        stored(UnitKey { prefix: self.prefix(name), sequence: unit.sequence }, &entry)
    }

    /// Writes and syncs records; after a fault the segment is left alone and a new one is tried
    /// once, with what can be had by erasing and from the reserve.
    pub(super) fn write(
        &mut self,
        records: &[Record],
        cleaning: bool,
    ) -> Result<Vec<(u64, u32)>, Fault> {
        match self.write_once(records, cleaning) {
            Ok(places) => Ok(places),
            Err(fault) => {
                if fault == Fault::Full {
                    self.erase_dead()?;
                    self.medium.reserve(0)?;
                    self.reserved = false;
                }
                self.write_once(records, cleaning)
            }
        }
    }

    fn write_once(&mut self, records: &[Record], cleaning: bool) -> Result<Vec<(u64, u32)>, Fault> {
        let size: u64 = records.iter().map(footprint).sum::<u64>() + BATCH_RECORD_BYTES as u64;
        let room = |length: u64| length + size <= self.limits.segment_bytes;
        let open = self
            .active
            .filter(|active| self.segments.get(active).is_some_and(|segment| room(segment.length)));
        let (segment, fresh) = match open {
            Some(segment) => (segment, false),
            None => (self.next_segment, true),
        };
        let mut bytes = Vec::with_capacity(size as usize + 4096);
        // A value and the units of its commit count together or not at all.
        let is_note = |record: &Record| matches!(record, Record::Note(_));
        let batch = records.iter().any(is_note) || (fresh && !self.notes.is_empty());
        let mut written = super::Written::default();
        let mut batch_at = 0;
        if fresh {
            self.next_segment += 1;
            self.active = None;
            self.medium.create(segment)?;
            self.segments.insert(segment, Segment::default());
            bytes.extend_from_slice(&encode_header(self.identity, segment));
            debug_assert_eq!(bytes.len(), HEADER_BYTES);
            batch_at = bytes.len();
        }
        if batch {
            let open = Record::Batch(BatchRecord { length: 0, check: 0 });
            encode_record(&mut bytes, self.identity.epoch, segment, &open, true);
            written.checkpoints = BATCH_RECORD_BYTES as u64;
        }
        if fresh {
            for ((spacecraft, channel), counter) in &self.counters {
                let state = Record::Checkpoint(counter.checkpoint(*spacecraft, *channel));
                encode_record(&mut bytes, self.identity.epoch, segment, &state, batch);
            }
            let so_far =
                NoteRecord { slot: WRITTEN_SLOT, bytes: self.written.encode().to_vec().into() };
            let notes = self.notes.iter();
            let notes = notes.map(|(slot, of)| NoteRecord { slot: *slot, bytes: of.clone() });
            for note in [so_far].into_iter().chain(notes) {
                let note = Record::Note(note);
                encode_record(&mut bytes, self.identity.epoch, segment, &note, batch);
            }
            written.checkpoints = bytes.len() as u64;
        }
        let base = self.segments.get(&segment).map_or(0, |segment| segment.length);
        let mut places = Vec::with_capacity(records.len());
        for record in records {
            let at = bytes.len();
            places.push((segment, (base + at as u64) as u32));
            encode_record(&mut bytes, self.identity.epoch, segment, record, batch);
            written.add(record, (bytes.len() - at) as u64);
        }
        if batch {
            let members = bytes.get(batch_at + BATCH_RECORD_BYTES..).unwrap_or_default();
            let whole = BatchRecord { length: members.len() as u32, check: crc32c(members) };
            let mut record = Vec::with_capacity(BATCH_RECORD_BYTES);
            let whole = Record::Batch(whole);
            encode_record(&mut record, self.identity.epoch, segment, &whole, true);
            bytes.splice(batch_at..batch_at + BATCH_RECORD_BYTES, record);
        }
        if cleaning {
            written = super::Written { cleaning: bytes.len() as u64, ..Default::default() };
        }
        self.written.extend(&written);
        let written = self.medium.append(segment, &bytes).and_then(|()| self.medium.sync(segment));
        let written = if fresh { written.and_then(|()| self.medium.sync_names()) } else { written };
        if let Err(fault) = written {
            self.abandon(segment, fresh, bytes.len() as u64);
            return Err(fault);
        }
        if let Some(of) = self.segments.get_mut(&segment) {
            of.length += bytes.len() as u64;
        }
        if fresh && self.reserved {
            self.uncrowd();
        }
        self.active = Some(segment);
        self.newest_durable = Some(segment);
        Ok(places)
    }

    /// A segment that a write or sync failed on is never written again.
    fn abandon(&mut self, segment: u64, fresh: bool, bytes: u64) {
        self.active = None;
        if fresh && self.medium.remove(segment).is_ok() {
            self.segments.remove(&segment);
        } else if let Some(of) = self.segments.get_mut(&segment) {
            // How much of it arrived is unknown; the most is assumed.
            of.length += bytes;
        }
    }
}

/// Bytes of a record; control records are counted at their most.
fn footprint(record: &Record) -> u64 {
    match record {
        Record::Unit(unit) => unit_record_bytes(unit.bytes.len(), unit.deadline_s) as u64,
        Record::Receipt(of) | Record::Asked(of) => 48 + 16 * of.ranges.len() as u64,
        Record::Note(note) => 24 + note.bytes.len() as u64,
        Record::Checkpoint(_) | Record::Batch(_) => 0,
    }
}

impl<M: Medium> Store<M> {
    /// Whether the unit was handed out since the last boot; none where it is not held.
    pub fn state(&self, key: UnitKey) -> Option<State> {
        let name = (key.prefix.spacecraft, key.prefix.channel);
        self.counters.get(&name)?.units.get(&key.sequence).map(|entry| entry.state)
    }

    /// Whether a void names the sequence, as far back as voids are listed.
    pub fn is_voided(&self, key: UnitKey) -> bool {
        let name = (key.prefix.spacecraft, key.prefix.channel);
        let range = SeqRange { first: key.sequence, last: key.sequence };
        self.counters.get(&name).is_some_and(|of| of.voided.contains(range.first))
    }
}
