//! The archive: every accepted unit, appended once, synced before anyone is told.
//!
//! ```text
//! offer ─► batch ─► commit: write, skip to the block, sync ─► ledger ─► Archived
//!            │                        └ a failed sync seals the segment; the batch moves on
//!            └ duplicate? conflict? the index finds the record, its digest decides
//! ```
//!
//! The machine here owns no thread and no clock; [`storage`] is all it knows of a disk. One writer
//! calls it: [`Archive::offer`] for each unit, [`Archive::commit`] some milliseconds after the
//! first. The copy into the batch is the only copy of a unit that the station keeps: what is
//! published afterwards are slices of the batch.

pub mod storage;
pub mod record;
pub mod segment;
pub mod seal;
pub mod retain;
pub mod losses;
pub mod scan;
pub mod index;
mod open;
mod catalogue;
pub mod read;
#[cfg(test)]
pub mod forgetful;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod campaign;

pub use open::{OpenError, OpenReport};

use crate::ledger::{Ledger, Standing};
use bytes::{Bytes, BytesMut};
use catalogue::Catalogue;
pub(crate) use catalogue::{load_index, stored_index};
use codecs::{
    fec::crc::crc32c,
    ids::{Channel, Codec, KeyPrefix, SeqRange, UnitKey},
    link::{object::Annotation, void::Void},
    time::Tai,
};
use index::Index;
use record::{Digest, Position, UnitHeader};
use retain::Floor;
use seal::{Chain, Footer};
use segment::SegmentHeader;
use std::{collections::BTreeMap, io};
use storage::{Storage, StoredFile, write_all};

/// Bytes at which a batch is committed without waiting any longer.
pub const BATCH_BYTES: usize = 1 << 20;
/// Conflicts kept aside; later ones are counted and alarmed, not kept.
pub const CONFLICTS_MAX: usize = 256;
/// A full disk is tried again after this long.
pub const FULL_RETRY_MS: u64 = 1_000;

/// A unit as it came in.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Name.
    pub key: UnitKey,
    /// Format of the inside.
    pub codec: Codec,
    /// Earth receive time.
    pub received: Tai,
    /// How the antenna heard it, as on the link.
    pub annotation: Option<[u8; 16]>,
    /// The unit.
    pub bytes: Bytes,
}

/// A unit that is synced, on its way to those who interpret it.
#[derive(Clone, Debug)]
pub struct Archived {
    /// Name.
    pub key: UnitKey,
    /// Format of the inside.
    pub codec: Codec,
    /// Earth receive time.
    pub received: Tai,
    /// When and how an antenna heard it, where one did.
    pub annotation: Option<Annotation>,
    /// The unit.
    pub bytes: Bytes,
    /// Where its record begins.
    pub position: Position,
    /// Read back after a start, rather than just received.
    pub replayed: bool,
}

/// What becomes of an offered unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// In the batch; true once the next commit succeeds.
    Accepted,
    /// The same bytes are held, or in the batch.
    Duplicate,
    /// Other bytes are held under this key. Never receipted.
    Conflict,
    /// No room on the disk at present.
    Full,
    /// The ledger is at its bound and this key neither extends nor joins a range.
    TooManyRanges,
}

/// Where the archive stands in time: an argument, since the machine has no clock.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic milliseconds.
    pub mono_ms: u64,
    /// The station's time.
    pub tai: Tai,
}

/// Sizes that a station may choose.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bytes at which a segment is sealed.
    pub segment_bytes: u64,
}

/// The segment that is being written.
struct Segment<F> {
    number: u64,
    file: F,
    /// Behind the last synced commit; on a block.
    end: u64,
    capacity: u64,
    units: u64,
    bytes: u64,
    index: Index,
    chain: Chain,
    begun_ms: u64,
}

/// A unit in the batch.
struct Slot {
    header: UnitHeader,
    /// Offset of its record in the batch.
    at: usize,
}

/// The archive. See the module.
pub struct Archive<S: Storage> {
    storage: S,
    settings: Settings,
    ledger_id: u64,
    ledger: Ledger,
    catalogue: Catalogue,
    open: Option<Segment<S::File>>,
    next_number: u64,
    /// The segment before the one to be made, and where it ends.
    previous: Option<(u64, u64)>,
    /// Footer hash of that segment.
    footer: Footer,
    floor: Floor,
    batch: BytesMut,
    slots: Vec<Slot>,
    digests: BTreeMap<UnitKey, Digest>,
    conflicts: usize,
    /// Set while the disk has no room: when to try again.
    full_until_ms: Option<u64>,
}

impl<S: Storage> Archive<S> {
    /// What is held, voided and lost.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The random number that names this ledger.
    pub fn ledger_id(&self) -> u64 {
        self.ledger_id
    }

    /// Bytes waiting for a commit.
    pub fn batched(&self) -> usize {
        self.batch.len()
    }

    /// Where the next record will stand, if a segment is open: everything before is synced.
    pub fn synced_to(&self) -> Option<Position> {
        self.open.as_ref().map(|open| Position { segment: open.number, offset: open.end })
    }

    /// Where the archive ends: everything before is synced.
    pub fn end(&self) -> Position {
        let sealed = self.previous.map(|(segment, offset)| Position { segment, offset });
        self.synced_to().or(sealed).unwrap_or(Position { segment: 0, offset: 0 })
    }

    /// Judges a unit, and takes it into the batch if it is new.
    pub fn offer(&mut self, unit: &Incoming, now: Now) -> io::Result<Verdict> {
        assert!(unit.bytes.len() <= record::UNIT_BYTES_MAX, "admission bounds units");
        let standing = self.ledger.standing(&unit.key);
        match standing {
            Standing::NoRoom => return Ok(Verdict::TooManyRanges),
            Standing::New if self.full_until_ms.is_some_and(|until| now.mono_ms < until) => {
                return Ok(Verdict::Full);
            }
            _ => {}
        }
        let digest = Digest::of(&unit.bytes);
        let held = match standing {
            Standing::Pending => self.digests.get(&unit.key).copied(),
            Standing::Held => self.catalogue_digest(&unit.key)?,
            _ => None,
        };
        match held {
            Some(held) if held == digest => return Ok(Verdict::Duplicate),
            Some(_) => {
                self.quarantine(unit, digest);
                return Ok(Verdict::Conflict);
            }
            None if standing == Standing::Held && self.floor.holds(&unit.key) => {
                return Ok(Verdict::Duplicate);
            }
            None => {}
        }
        if unit.key.prefix.channel == Channel::VOIDS && !self.voids_fit(unit) {
            return Ok(Verdict::TooManyRanges);
        }
        let header = UnitHeader {
            key: unit.key,
            codec: unit.codec,
            received: unit.received,
            annotation: unit.annotation,
            digest,
            length: unit.bytes.len() as u32,
            crc: crc32c(&unit.bytes),
        };
        let at = self.batch.len();
        self.batch.extend_from_slice(&header.encode());
        self.batch.extend_from_slice(&unit.bytes);
        self.batch.resize(at + header.record_bytes(), 0);
        self.slots.push(Slot { header, at });
        self.digests.insert(unit.key, digest);
        self.ledger.begin(&unit.key);
        Ok(Verdict::Accepted)
    }

    /// Digest of a held unit. A record that can't be read counts as lost: the offered copy is
    /// taken in its place rather than refused for the damage.
    fn catalogue_digest(&mut self, key: &UnitKey) -> io::Result<Option<Digest>> {
        if let Some(open) = &self.open
            && let Some(offset) = open.index.find(key)
        {
            return catalogue::digest_at(
                &open.file,
                Position { segment: open.number, offset },
                key,
            );
        }
        self.catalogue.digest(&mut self.storage, key)
    }

    fn voids_fit(&self, unit: &Incoming) -> bool {
        let Ok(void) = Void::decode(&unit.bytes) else { return true };
        self.ledger.voids_fit(voided(&unit.key, &void))
    }

    /// Keeps a conflicting unit aside for people. Its failure is no one's loss: the unit is not
    /// receipted either way.
    fn quarantine(&mut self, unit: &Incoming, digest: Digest) {
        if self.conflicts >= CONFLICTS_MAX {
            return;
        }
        let name = format!("{:06}.conflict", self.conflicts);
        self.conflicts += 1;
        let header = UnitHeader {
            key: unit.key,
            codec: unit.codec,
            received: unit.received,
            annotation: unit.annotation,
            digest,
            length: unit.bytes.len() as u32,
            crc: crc32c(&unit.bytes),
        };
        let mut bytes = header.encode().to_vec();
        record::stamp(&mut bytes, Position { segment: u64::MAX, offset: 0 });
        bytes.extend_from_slice(&unit.bytes);
        let kept = self.storage.create(&name, bytes.len() as u64).and_then(|mut file| {
            write_all(&mut file, 0, &bytes)?;
            file.sync()?;
            self.storage.sync_names()
        });
        if let Err(error) = kept {
            tracing::warn!(%error, name, "a conflicting unit could not be kept aside");
        }
    }

    /// Writes and syncs the batch. Everything returned is durable; after an error nothing of the
    /// batch is, and all of it may be offered again.
    pub fn commit(&mut self, now: Now) -> io::Result<Vec<Archived>> {
        if self.slots.is_empty() {
            return Ok(Vec::new());
        }
        // Once for a segment that fails, once for its successor.
        let mut outcome = self.try_commit(now);
        if let Err(error) = &outcome {
            tracing::warn!(%error, "archive commit failed; its records go to a new segment");
            self.give_up_segment();
            outcome = self.try_commit(now);
        }
        match outcome {
            Ok(place) => {
                self.full_until_ms = None;
                Ok(self.settle(place))
            }
            Err(error) => {
                self.give_up_segment();
                self.full_until_ms = Some(now.mono_ms + FULL_RETRY_MS);
                self.ledger.abandon();
                self.batch.clear();
                self.slots.clear();
                self.digests.clear();
                Err(error)
            }
        }
    }

    /// One attempt: where the batch begins.
    fn try_commit(&mut self, now: Now) -> io::Result<Position> {
        let units_end = self.slots.last().map_or(0, |slot| slot.at + slot.header.record_bytes());
        self.batch.truncate(units_end);
        let room = (units_end + 2 * record::BLOCK_BYTES) as u64;
        let fits = |open: &Segment<S::File>| open.end + room <= open.capacity;
        if self.open.as_ref().is_some_and(|open| !fits(open)) {
            self.seal(now.tai);
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let header = SegmentHeader {
                    number: self.next_number,
                    ledger_id: self.ledger_id,
                    begun: now.tai,
                    previous: self.previous,
                    footer: self.footer,
                    floor: self.floor.number,
                    checkpoint: self.ledger.settled(),
                };
                // On a disk that is nearly full a smaller segment still takes what fits.
                let mut capacity = self.settings.segment_bytes.max(room);
                let mut begun = begin(&mut self.storage, &header, capacity, now);
                while capacity > room
                    && matches!(&begun, Err(error) if error.kind() == io::ErrorKind::StorageFull)
                {
                    capacity = (capacity / 4).max(room);
                    begun = begin(&mut self.storage, &header, capacity, now);
                }
                if matches!(&begun, Err(error) if error.kind() == io::ErrorKind::AlreadyExists) {
                    // Left by an attempt that could not even be removed.
                    self.next_number += 1;
                }
                none.insert(begun?)
            }
        };
        let base = Position { segment: open.number, offset: open.end };
        let place = |at: usize| Position { offset: base.offset + at as u64, ..base };
        for slot in &self.slots {
            let header = &mut self.batch[slot.at..slot.at + record::UNIT_HEADER_BYTES];
            record::stamp(header, place(slot.at));
        }
        let mut skip = record::skip(units_end, base.offset);
        record::stamp(&mut skip[..record::SKIP_HEADER_BYTES], place(units_end));
        self.batch.extend_from_slice(&skip);
        write_all(&mut open.file, base.offset, &self.batch)?;
        open.file.sync()?;
        open.end += self.batch.len() as u64;
        Ok(base)
    }

    /// The batch is durable: tells the ledger and the index, and hands the units out as slices.
    fn settle(&mut self, base: Position) -> Vec<Archived> {
        self.ledger.settle();
        self.digests.clear();
        let batch = self.batch.split().freeze();
        let mut archived = Vec::with_capacity(self.slots.len());
        for slot in self.slots.drain(..) {
            let header = slot.header;
            let start = slot.at + record::UNIT_HEADER_BYTES;
            let bytes = batch.slice(start..start + header.length as usize);
            let position = Position { offset: base.offset + slot.at as u64, ..base };
            if let Some(open) = &mut self.open {
                open.units += 1;
                open.bytes += u64::from(header.length);
                open.index.add(&header.key, position.offset);
                open.chain.record(&batch[slot.at..start]);
            }
            self.ledger.units += 1;
            self.ledger.bytes += u64::from(header.length);
            if header.key.prefix.channel == Channel::VOIDS
                && let Ok(void) = Void::decode(&bytes)
            {
                note_void(&mut self.ledger, &header.key, &void);
            }
            archived.push(Archived {
                key: header.key,
                codec: header.codec,
                received: header.received,
                annotation: header.annotation.map(Annotation::decode),
                bytes,
                position,
                replayed: false,
            });
        }
        archived
    }

    /// Seals the open segment: it says itself that it is whole, and gives back its spare room.
    /// Where that fails the next header still says where it ended.
    pub fn seal(&mut self, now: Tai) {
        let Some(mut open) = self.open.take() else { return };
        match seal::end_open(&mut open, now) {
            Ok(ended) => open.end = ended,
            Err(error) => tracing::warn!(%error, segment = open.number, "could not be sealed"),
        }
        self.retire(open);
    }

    /// Leaves a segment whose write or sync failed: it ends at its last synced commit.
    fn give_up_segment(&mut self) {
        let Some(open) = self.open.take() else { return };
        let name = segment::file_name(open.number);
        if open.units == 0 && self.storage.remove(&name).is_ok() {
            self.next_number = open.number;
            return;
        }
        self.retire(open);
    }

    fn retire(&mut self, open: Segment<S::File>) {
        self.previous = Some((open.number, open.end));
        self.footer = open.chain.footer();
        self.next_number = open.number + 1;
        self.catalogue.add(&mut self.storage, open.number, &open.index);
    }
}

/// Makes a segment: its header is synced before any record counts on it.
fn begin<S: Storage>(
    storage: &mut S,
    header: &SegmentHeader,
    capacity: u64,
    now: Now,
) -> io::Result<Segment<S::File>> {
    let number = header.number;
    let encoded = header.encode();
    let name = segment::file_name(number);
    let capacity = capacity.next_multiple_of(record::BLOCK_BYTES as u64) + encoded.len() as u64;
    let made = storage.create(&name, capacity).and_then(|mut file| {
        write_all(&mut file, 0, &encoded)?;
        file.sync()?;
        storage.sync_names()?;
        Ok(file)
    });
    let file = match made {
        Ok(file) => file,
        Err(error) => {
            // It holds nothing yet; the name is free for the next attempt.
            if error.kind() != io::ErrorKind::AlreadyExists {
                let _ = storage.remove(&name);
            }
            return Err(error);
        }
    };
    Ok(Segment {
        number,
        file,
        end: encoded.len() as u64,
        capacity,
        units: 0,
        bytes: 0,
        index: Index::default(),
        chain: Chain::begin(&encoded),
        begun_ms: now.mono_ms,
    })
}

/// The holes that a void names: counters of its own store.
fn voided(key: &UnitKey, void: &Void) -> impl Iterator<Item = (KeyPrefix, SeqRange)> {
    let origin = key.prefix.origin;
    void.entries.iter().map(move |entry| {
        let prefix = KeyPrefix {
            origin,
            epoch: entry.epoch,
            spacecraft: entry.spacecraft,
            channel: entry.channel,
        };
        (prefix, entry.range)
    })
}

/// Tells the ledger what a void says; what does not fit its bounds is left out.
pub(crate) fn note_void(ledger: &mut Ledger, key: &UnitKey, void: &Void) {
    voided(key, void).for_each(|(prefix, range)| {
        ledger.void(prefix, range);
    });
}

/// Tells the ledger what a unit says if it is a void.
pub(crate) fn note_if_void(ledger: &mut Ledger, key: &UnitKey, bytes: &[u8]) {
    if key.prefix.channel == Channel::VOIDS
        && let Ok(void) = Void::decode(bytes)
    {
        note_void(ledger, key, &void);
    }
}

/// Whether an error says that the disk is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
