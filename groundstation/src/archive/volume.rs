//! The archive's side towards the disk: segments, writes, syncs, and what stands there already.
//!
//! ```text
//! write ─► block at its place ─┐
//! write ─► block at its place ─┼► commit: sync ─► index ─► committed
//!    └ failed? ────────────────┘      └ failed? all of them again, in a new segment
//! ```

use super::{
    CONFLICTS_MAX, Now, Settings,
    batch::Batch,
    catalogue::{self, Catalogue},
    index::Index,
    intake::Claim,
    record::{self, BLOCK_BYTES, Digest, Position, UNIT_HEADER_BYTES, UnitHeader},
    retain::Floor,
    seal::{self, Chain, Footer, NO_FOOTER},
    segment::{self, SegmentHeader},
    storage::{Storage, StoredFile, read_up_to, write_all},
};
use crate::ledger::Ledger;
use codecs::{ids::UnitKey, time::Tai};
use std::{collections::BTreeSet, io};

/// Blocks worth a sync of their own. A commit that waits for more saves nothing, and keeps memory
/// from the processor's cache.
const RIPE_BLOCKS: usize = 4;

/// The segment that is being written.
pub(super) struct Segment<F> {
    pub(super) number: u64,
    pub(super) file: F,
    /// Behind the last synced commit; on a block.
    pub(super) end: u64,
    /// Behind the last block that was written; on a block.
    written: u64,
    capacity: u64,
    pub(super) units: u64,
    pub(super) bytes: u64,
    index: Index,
    pub(super) chain: Chain,
    pub(super) begun_ms: u64,
}

/// See the module.
pub struct Volume<S: Storage> {
    pub(super) storage: S,
    pub(super) settings: Settings,
    pub(super) ledger_id: u64,
    pub(super) catalogue: Catalogue,
    pub(super) open: Option<Segment<S::File>>,
    pub(super) next_number: u64,
    /// The segment before the one to be made, and where it ends.
    pub(super) previous: Option<(u64, u64)>,
    /// Footer hash of that segment.
    pub(super) footer: Footer,
    pub(super) floor: Floor,
    /// Written, or to be written again, and not synced.
    unsynced: Vec<Batch>,
    /// A write of those failed: what the commit finds out.
    failed: bool,
    pub(super) conflicts: usize,
    /// Which those are, once one was compared.
    aside: Option<BTreeSet<(UnitKey, [u8; 16])>>,
}

/// How a claim was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// The same bytes are held.
    Duplicate,
    /// Other bytes are.
    Conflict,
    /// No record of it can be read: the copy at hand is taken in its place.
    Missing,
}

impl<S: Storage> Volume<S> {
    /// Over a folder whose segments are known; what they hold is added by whoever scans them.
    pub(super) fn new(
        storage: S,
        settings: Settings,
        ledger_id: u64,
        numbers: &[u64],
        floor: Floor,
    ) -> Self {
        Self {
            storage,
            settings,
            ledger_id,
            catalogue: Catalogue::new(numbers.iter().copied()),
            open: None,
            next_number: numbers.last().map_or(floor.number, |last| last + 1),
            previous: None,
            footer: NO_FOOTER,
            floor,
            unsynced: Vec::new(),
            failed: false,
            conflicts: 0,
            aside: None,
        }
    }

    /// The random number that names this ledger.
    pub fn ledger_id(&self) -> u64 {
        self.ledger_id
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

    /// Whether nothing waits for a sync.
    pub fn is_synced(&self) -> bool {
        self.unsynced.is_empty()
    }

    /// Whether so much waits for a sync that waiting for more would not make it cheaper.
    pub fn is_ripe(&self) -> bool {
        self.unsynced.len() >= RIPE_BLOCKS
    }

    /// When the oldest unit came that waits for a sync, on the monotonic clock.
    pub fn oldest_ms(&self) -> Option<u64> {
        self.unsynced.first().map(Batch::begun_ms)
    }

    /// Whether the segment must end before this block is written. Then what was written must be
    /// committed first: the next segment begins with a checkpoint of all before it.
    pub fn is_full_for(&self, batch: &Batch) -> bool {
        self.open.as_ref().is_some_and(|open| open.written + room(batch) > open.capacity)
    }

    /// Writes a block, ahead of the commit that syncs it. `settled` gives the ledger as the last
    /// commit left it, where a segment begins.
    pub fn write(&mut self, mut batch: Batch, now: Now, settled: impl FnOnce() -> Ledger) {
        if !self.failed {
            if self.unsynced.is_empty() && self.is_full_for(&batch) {
                self.seal(now.tai);
            }
            let room = room(&batch);
            if let Err(error) = self.place(&mut batch, now, room, settled) {
                tracing::warn!(%error, "archive write failed; its records go to a new segment");
                self.failed = true;
            }
        }
        self.unsynced.push(batch);
    }

    /// Syncs what was written. Every block returned is durable; after an error none is, and all of
    /// their units may be offered again.
    pub fn commit(
        &mut self,
        now: Now,
        mut settled: impl FnMut() -> Ledger,
    ) -> Result<Vec<Batch>, (io::Error, Vec<Batch>)> {
        let mut batches = std::mem::take(&mut self.unsynced);
        if batches.is_empty() {
            return Ok(batches);
        }
        let synced = !std::mem::take(&mut self.failed) && self.sync_or_tell();
        if !synced {
            self.give_up_segment();
            if let Err(error) = self.write_again(&mut batches, now, &mut settled) {
                self.give_up_segment();
                return Err((error, batches));
            }
        }
        self.settle(&batches);
        Ok(batches)
    }

    fn sync_or_tell(&mut self) -> bool {
        let synced = self.sync();
        if let Err(error) = &synced {
            tracing::warn!(%error, "archive sync failed; its records go to a new segment");
        }
        synced.is_ok()
    }

    fn write_again(
        &mut self,
        batches: &mut [Batch],
        now: Now,
        settled: &mut impl FnMut() -> Ledger,
    ) -> io::Result<()> {
        let all = batches.iter().map(room).sum();
        for batch in batches {
            self.place(batch, now, all, &mut *settled)?;
        }
        self.sync()
    }

    /// Writes a block behind the last one; begins a segment with at least `room` where none is.
    fn place(
        &mut self,
        batch: &mut Batch,
        now: Now,
        room: u64,
        settled: impl FnOnce() -> Ledger,
    ) -> io::Result<()> {
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
                    checkpoint: settled(),
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
        let place = Position { segment: open.number, offset: open.written };
        let bytes = batch.finish(place, open.end);
        write_all(&mut open.file, place.offset, bytes)?;
        open.written += bytes.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        open.file.sync()?;
        open.end = open.written;
        Ok(())
    }

    /// The blocks are durable: the index learns where their units stand.
    fn settle(&mut self, batches: &[Batch]) {
        let Some(open) = &mut self.open else { return };
        for batch in batches {
            open.units += batch.len() as u64;
            open.bytes += batch.unit_bytes();
            batch.headers().for_each(|header| open.chain.record(header));
            batch.offsets().for_each(|(first, offsets)| open.index.add_run(&first, offsets));
        }
    }

    /// Compares a claim with what is held under its key. Only after a commit is everything known
    /// that came before the claim.
    pub fn judge(&mut self, claim: &Claim, bytes: &[u8]) -> io::Result<Judged> {
        Ok(match self.digest(&claim.key)? {
            Some(held) if held == claim.digest => Judged::Duplicate,
            Some(_) => {
                self.quarantine(claim, bytes);
                Judged::Conflict
            }
            // Let go on purpose: its bytes can't be compared any more.
            None if self.floor.holds(&claim.key) => Judged::Duplicate,
            None => Judged::Missing,
        })
    }

    /// Whether the unit held under a key has another digest; not where that can't be told, as of
    /// one that was let go.
    pub fn differs(&mut self, key: &UnitKey, digest: Digest) -> io::Result<bool> {
        Ok(self.digest(key)?.is_some_and(|held| held != digest))
    }

    /// A unit that is written and not synced.
    pub(super) fn under_way(&self, key: &UnitKey) -> Option<&[u8]> {
        self.unsynced.iter().find_map(|batch| batch.find(key))
    }

    /// Digest of a held unit. A record that can't be read counts as lost: the offered copy is
    /// taken in its place rather than refused for the damage.
    fn digest(&mut self, key: &UnitKey) -> io::Result<Option<Digest>> {
        if let Some(open) = &self.open
            && let Some(offset) = open.index.find(key)
        {
            let place = Position { segment: open.number, offset };
            return catalogue::digest_at(&open.file, place, key);
        }
        self.catalogue.digest(&mut self.storage, key)
    }

    /// Keeps a conflicting unit aside for people. Its failure is no one's loss: the unit is not
    /// receipted either way.
    pub(super) fn quarantine(&mut self, claim: &Claim, unit: &[u8]) {
        if self.conflicts >= CONFLICTS_MAX {
            return;
        }
        let known = self.aside.take().unwrap_or_else(|| self.kept_aside());
        // What a start reads back is offered again, each time.
        if !self.aside.insert(known).insert((claim.key, claim.digest.0)) {
            return;
        }
        let name = format!("{:06}.conflict", self.conflicts);
        self.conflicts += 1;
        let header = UnitHeader {
            key: claim.key,
            codec: claim.codec,
            received: claim.received,
            annotation: claim.annotation,
            digest: claim.digest,
            length: unit.len() as u32,
            crc: claim.crc,
        };
        let mut bytes = header.encode().to_vec();
        record::stamp(&mut bytes, Position { segment: u64::MAX, offset: 0 });
        bytes.extend_from_slice(unit);
        let kept = self.storage.create(&name, bytes.len() as u64).and_then(|mut file| {
            write_all(&mut file, 0, &bytes)?;
            file.sync()?;
            self.storage.sync_names()
        });
        if let Err(error) = kept {
            tracing::warn!(%error, name, "a conflicting unit could not be kept aside");
        }
    }

    /// Units that were kept aside before; what can't be read is kept once more.
    fn kept_aside(&mut self) -> BTreeSet<(UnitKey, [u8; 16])> {
        let names = self.storage.list().unwrap_or_default();
        let names = names.into_iter().filter(|name| name.ends_with(".conflict"));
        let mut header = [0; UNIT_HEADER_BYTES];
        let read = names.filter_map(|name| {
            let file = self.storage.open(&name).ok()?;
            let whole = read_up_to(&file, 0, &mut header).ok()? == header.len();
            let header = UnitHeader::decode(&header).filter(|_| whole)?;
            Some((header.key, header.digest.0))
        });
        read.take(CONFLICTS_MAX).collect()
    }

    /// Seals the open segment: it says itself that it is whole, and gives back its spare room.
    /// Where that fails the next header still says where it ended. What is not synced stays out.
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

/// What a segment must have left for a block: the block, and the record that ends the segment.
fn room(batch: &Batch) -> u64 {
    (batch.bytes() + BLOCK_BYTES) as u64
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
    let capacity = capacity.next_multiple_of(BLOCK_BYTES as u64) + encoded.len() as u64;
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
    let end = encoded.len() as u64;
    Ok(Segment {
        number,
        file,
        end,
        written: end,
        capacity,
        units: 0,
        bytes: 0,
        index: Index::default(),
        chain: Chain::begin(&encoded),
        begun_ms: now.mono_ms,
    })
}
