//! A block that is filled with records, and becomes one write.
//!
//! Units are copied to their place at once; what stands before each is written when the block's
//! own place on disk is known.

use super::{
    Archived, Owner,
    blocks::{BYTES, Block},
    record::{
        ANNOTATION_AT, Digest, Position, UNIT_HEADER_BYTES, UnitHeader, record_bytes, skip,
        skip_bytes, stamp,
    },
};
use bytes::Bytes;
use codecs::{
    ids::{Codec, KeyPrefix, SeqRange, UnitKey},
    link::object::{ANNOTATION_BYTES, Annotation},
    time::Tai,
};

/// Units of one counter that follow each other, from one session.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Who waits for their fate.
    pub owner: Owner,
    /// Whose counter.
    pub prefix: KeyPrefix,
    /// Format of their inside.
    pub codec: Codec,
    /// When they came, where no antenna says better.
    pub received: Tai,
    /// The first.
    pub first: u64,
    /// How many.
    pub count: u32,
}

impl Run {
    /// Their sequences.
    pub fn range(&self) -> SeqRange {
        SeqRange { first: self.first, last: self.first + u64::from(self.count - 1) }
    }
}

/// A unit in the block.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Where its record begins.
    at: u32,
    length: u32,
    crc: u32,
    annotated: bool,
}

/// What a unit takes beside its record.
pub(super) const SLOT_BYTES: usize = size_of::<Slot>() + size_of::<Run>();

impl Slot {
    fn unit(&self) -> std::ops::Range<usize> {
        let start = self.at as usize + UNIT_HEADER_BYTES;
        start..start + self.length as usize
    }

    /// The annotation in the room of its record's header, before and after that is written.
    fn annotation(&self, record: &[u8]) -> Option<[u8; ANNOTATION_BYTES]> {
        let stands = || record.get(ANNOTATION_AT..)?.first_chunk().copied();
        self.annotated.then(stands).flatten()
    }
}

/// A block with what stands in it.
pub struct Batch {
    block: Block,
    /// Behind the last record.
    end: usize,
    slots: Vec<Slot>,
    runs: Vec<Run>,
    /// When its first unit came, on the monotonic clock.
    begun_ms: u64,
    /// Where it stands on disk, once [`finish`](Self::finish) said so.
    place: Position,
}

impl Batch {
    /// An empty one.
    pub fn new(block: Block, begun_ms: u64) -> Self {
        let place = Position { segment: 0, offset: 0 };
        Self { block, end: 0, slots: Vec::new(), runs: Vec::new(), begun_ms, place }
    }

    /// When its first unit came.
    pub fn begun_ms(&self) -> u64 {
        self.begun_ms
    }

    /// Starts its time anew, while it is empty.
    pub(super) fn begin(&mut self, now_ms: u64) {
        self.begun_ms = now_ms;
    }

    /// Runs in it, in the order in which they came.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Whether it holds no unit.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes that it takes on disk.
    pub fn bytes(&self) -> usize {
        self.end + skip_bytes(self.end)
    }

    /// Whether a unit of so many bytes has room.
    pub(super) fn has_room(&self, length: usize) -> bool {
        let end = self.end + record_bytes(length);
        end + skip_bytes(end) <= BYTES
    }

    /// Room for the next unit, to copy it to; it counts once [`keep`](Self::keep) says so.
    pub(super) fn room(&mut self, length: usize) -> &mut [u8] {
        &mut self.block[self.end + UNIT_HEADER_BYTES..][..length]
    }

    /// Takes in the unit that was copied to [`room`](Self::room): the next of `run`.
    pub(super) fn keep(
        &mut self,
        run: &Run,
        length: usize,
        crc: u32,
        annotation: Option<&[u8; ANNOTATION_BYTES]>,
    ) {
        let at = self.end;
        if let Some(annotation) = annotation {
            // It waits where its record will have it.
            self.block[at + ANNOTATION_AT..][..ANNOTATION_BYTES].copy_from_slice(annotation);
        }
        self.end += record_bytes(length);
        self.block[at + UNIT_HEADER_BYTES + length..self.end].fill(0);
        let annotated = annotation.is_some();
        self.slots.push(Slot { at: at as u32, length: length as u32, crc, annotated });
        match self.runs.last_mut() {
            Some(last) if continues(last, run) => last.count += 1,
            _ => self.runs.push(Run { count: 1, ..*run }),
        }
    }

    /// A unit that is in it.
    pub(super) fn find(&self, key: &UnitKey) -> Option<&[u8]> {
        let mut slot = 0;
        for run in &self.runs {
            if run.prefix == key.prefix && run.range().contains(key.sequence) {
                let slot = self.slots.get(slot + (key.sequence - run.first) as usize)?;
                return Some(&self.block[slot.unit()]);
            }
            slot += run.count as usize;
        }
        None
    }

    /// Every unit in it.
    pub(super) fn units(&self) -> impl Iterator<Item = (UnitKey, &[u8])> {
        let keys = self.runs.iter().flat_map(|run| {
            let sequences = run.first..run.first + u64::from(run.count);
            sequences.map(|sequence| UnitKey { prefix: run.prefix, sequence })
        });
        keys.zip(self.slots.iter().map(|slot| &self.block[slot.unit()]))
    }

    /// Completes the records for their place on disk; the bytes to write there. May be called
    /// again for another place. `commit` is where the commit begins.
    pub(super) fn finish(&mut self, place: Position, commit: u64) -> &[u8] {
        self.place = place;
        let mut slot_at = 0;
        for run in &self.runs {
            let slots = &self.slots[slot_at..slot_at + run.count as usize];
            slot_at += slots.len();
            for (slot, sequence) in slots.iter().zip(run.first..) {
                let (header, unit) = self.block[slot.at as usize..].split_at_mut(UNIT_HEADER_BYTES);
                let unit = &unit[..slot.length as usize];
                let annotation = slot.annotation(header);
                let received =
                    annotation.map_or(run.received, |it| Annotation::decode(it).received);
                let record = UnitHeader {
                    key: UnitKey { prefix: run.prefix, sequence },
                    codec: run.codec,
                    received,
                    annotation,
                    digest: Digest::of(unit),
                    length: slot.length,
                    crc: slot.crc,
                };
                header.copy_from_slice(&record.encode());
                stamp(header, Position { offset: place.offset + u64::from(slot.at), ..place });
            }
        }
        let (end, whole) = (self.end, self.bytes());
        let skip_at = Position { offset: place.offset + end as u64, ..place };
        skip(&mut self.block[end..whole], skip_at, commit);
        &self.block[..whole]
    }

    /// Headers of the records, once [`finish`](Self::finish) wrote them.
    pub(super) fn headers(&self) -> impl Iterator<Item = &[u8; UNIT_HEADER_BYTES]> {
        self.slots.iter().filter_map(|slot| self.block[slot.at as usize..].first_chunk())
    }

    /// Offsets of the records of each run, with its first key.
    pub(super) fn offsets(&self) -> impl Iterator<Item = (UnitKey, impl Iterator<Item = u64>)> {
        let mut slot_at = 0;
        self.runs.iter().map(move |run| {
            let slots = &self.slots[slot_at..slot_at + run.count as usize];
            slot_at += slots.len();
            let offsets = slots.iter().map(|slot| self.place.offset + u64::from(slot.at));
            (UnitKey { prefix: run.prefix, sequence: run.first }, offsets)
        })
    }

    /// Bytes of the units, without their records.
    pub(super) fn unit_bytes(&self) -> u64 {
        self.slots.iter().map(|slot| u64::from(slot.length)).sum()
    }

    /// Units in it.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether so few blocks are out that so many more may be kept for a while.
    pub fn may_publish(&self, count: usize) -> bool {
        self.block.may_publish(count)
    }

    /// Gives the block to those who read its units; it comes back with the last slice of it.
    pub fn publish(self) -> Published {
        let Self { mut block, slots, runs, place, .. } = self;
        block.published();
        Published { block: Bytes::from_owner(block), slots, runs, place }
    }
}

/// A synced block, for those who interpret what is in it.
///
/// Units are made as they are read, by the one who reads them: a count of slices that two
/// processors raise and lower in turn costs more than all that the reader does with a small unit.
pub struct Published {
    block: Bytes,
    slots: Vec<Slot>,
    runs: Vec<Run>,
    place: Position,
}

impl Published {
    /// Where its first record stands.
    pub const fn begin(&self) -> Position {
        self.place
    }

    /// Its units, as slices of the block.
    pub fn units(&self) -> impl Iterator<Item = Archived> {
        let keys = self.runs.iter().flat_map(|run| {
            let sequences = run.first..run.first + u64::from(run.count);
            sequences.map(move |sequence| (run, sequence))
        });
        keys.zip(&self.slots).map(|((run, sequence), slot)| {
            let annotation = slot.annotation(&self.block[slot.at as usize..]);
            let annotation = annotation.map(Annotation::decode);
            Archived {
                key: UnitKey { prefix: run.prefix, sequence },
                codec: run.codec,
                received: annotation.map_or(run.received, |annotation| annotation.received),
                annotation,
                bytes: self.block.slice(slot.unit()),
                position: Position { offset: self.place.offset + u64::from(slot.at), ..self.place },
                replayed: false,
            }
        })
    }
}

/// Whether a unit follows a run, and shares what the run says.
fn continues(run: &Run, next: &Run) -> bool {
    run.first + u64::from(run.count) == next.first
        && (run.owner, run.codec, run.received) == (next.owner, next.codec, next.received)
        && run.prefix == next.prefix
}
