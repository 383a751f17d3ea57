//! The archive's side towards the sessions: judges units and copies them into blocks.
//!
//! ```text
//! object ─► standing? ─ new ───────────► block being filled ─► full blocks ─► volume
//!               ├ held, under way ─────► claims: judged at the commit, by the record on disk
//!               └ no room, full disk ──► told at once
//! ```
//!
//! It does no IO and never waits: whoever finds no room comes again.

use super::{
    FULL_RETRY_MS, Incoming, Now, Owner, Verdict,
    batch::{Batch, Run},
    blocks::Blocks,
    record::{Digest, UNIT_BYTES_MAX},
    voided,
};
use crate::ledger::{Ledger, Standing};
use codecs::{
    fec::crc::crc32c,
    ids::{Channel, Codec, KeyPrefix, SeqRange, UnitKey},
    link::{
        object::{ANNOTATION_BYTES, Annotation, ObjectError, ObjectReader, UnitHead},
        void::Void,
    },
    time::Tai,
};
use std::collections::VecDeque;

/// Bytes of units that wait to be compared with what is held.
pub const CLAIM_BYTES_MAX: usize = 1 << 20;
/// How many those may be: what is judged between two commits.
pub const CLAIMS_MAX: usize = 4_096;

/// Whether everything offered was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All of it; more may come.
    Drained,
    /// No block is free: come again when one is.
    NoRoom,
}

/// A unit whose key is held or under way: the same, or a conflict.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Who waits for its fate.
    pub owner: Owner,
    /// Its name.
    pub key: UnitKey,
    /// Format of its inside.
    pub codec: Codec,
    /// When it came.
    pub received: Tai,
    /// As it came.
    pub annotation: Option<[u8; ANNOTATION_BYTES]>,
    /// Its digest.
    pub digest: Digest,
    /// CRC-32C, which holds.
    pub crc: u32,
    at: usize,
    length: usize,
}

/// Units that are compared with what is held, one copy of each.
#[derive(Default)]
pub struct Claims {
    claims: Vec<Claim>,
    bytes: Vec<u8>,
}

impl Claims {
    /// Each with its bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&Claim, &[u8])> {
        self.claims.iter().map(|claim| (claim, &self.bytes[claim.at..][..claim.length]))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// Makes it empty; its memory stays.
    pub fn clear(&mut self) {
        self.claims.clear();
        self.bytes.clear();
    }

    fn has_room(&self, length: usize) -> bool {
        self.claims.len() < CLAIMS_MAX
            && (self.bytes.len() + length <= CLAIM_BYTES_MAX || self.claims.is_empty())
    }

    fn push(&mut self, claim: Claim, copy: impl FnOnce(&mut [u8]) -> bool) -> bool {
        let at = self.bytes.len();
        self.bytes.resize(at + claim.length, 0);
        let intact = copy(&mut self.bytes[at..]);
        match intact {
            true => {
                let digest = Digest::of(&self.bytes[at..]);
                self.claims.push(Claim { at, digest, ..claim });
            }
            false => self.bytes.truncate(at),
        }
        intact
    }
}

/// See the module.
pub struct Intake {
    pub(super) ledger: Ledger,
    blocks: Blocks,
    filling: Option<Batch>,
    full: VecDeque<Batch>,
    claims: Claims,
    claims_since_ms: u64,
    /// Set while the disk has no room: when to try again.
    full_until_ms: Option<u64>,
    /// Someone found no room since the last commit.
    starved: bool,
}

/// Who sends units of an object, and when.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Who waits for their fate.
    pub owner: Owner,
    /// Whose counter.
    pub prefix: KeyPrefix,
    /// Time of the station.
    pub now: Now,
}

impl Intake {
    /// In front of an archive with this ledger.
    pub(super) fn new(ledger: Ledger, blocks: Blocks) -> Self {
        Self {
            ledger,
            blocks,
            filling: None,
            full: VecDeque::new(),
            claims: Claims::default(),
            claims_since_ms: 0,
            full_until_ms: None,
            starved: false,
        }
    }

    /// What is held, voided and lost.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The pool that blocks come from.
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// Takes what the reader holds of whole units. Units that are neither accepted nor claimed are
    /// told one by one.
    pub fn take(
        &mut self,
        arrival: &Arrival,
        codec: Codec,
        reader: &mut ObjectReader,
        tell: &mut impl FnMut(UnitKey, Verdict),
    ) -> Result<Progress, ObjectError> {
        while let Some(head) = reader.peek_unit()? {
            let key = UnitKey { prefix: arrival.prefix, sequence: head.sequence };
            let (standing, stretch) = self.ledger.stretch(&key);
            let progress = match self.judge(standing, arrival.now) {
                Some(refused) => {
                    reader.skip_unit(&head);
                    tell(key, refused);
                    Progress::Drained
                }
                None if standing == Standing::New => {
                    self.append(arrival, codec, reader, head, stretch, tell)?
                }
                None => {
                    let copy = |into: &mut [u8]| reader.copy_unit(&head, into);
                    match self.claim(arrival, codec, &head, copy) {
                        None => Progress::NoRoom,
                        Some(true) => Progress::Drained,
                        Some(false) => {
                            tell(key, Verdict::Damaged);
                            Progress::Drained
                        }
                    }
                }
            };
            if progress == Progress::NoRoom {
                self.starved = true;
                return Ok(progress);
            }
        }
        Ok(Progress::Drained)
    }

    /// Takes one unit; `None` where there is no room for it yet.
    pub fn offer(&mut self, owner: Owner, unit: &Incoming, now: Now) -> Option<Verdict> {
        assert!(unit.bytes.len() <= UNIT_BYTES_MAX, "admission bounds units");
        let arrival = Arrival { owner, prefix: unit.key.prefix, now };
        let head = UnitHead {
            sequence: unit.key.sequence,
            annotation: unit.annotation,
            length: unit.bytes.len(),
            crc: crc32c(&unit.bytes),
        };
        let copy = |into: &mut [u8]| {
            into.copy_from_slice(&unit.bytes);
            true
        };
        let standing = self.ledger.standing(&unit.key);
        if let Some(refused) = self.judge(standing, now) {
            return Some(refused);
        }
        let placed = match standing {
            Standing::New => self.place(&arrival, unit.codec, unit.received, &head, copy),
            _ => self.claim(&arrival, unit.codec, &head, copy).map(|_| Verdict::Claimed),
        };
        match placed {
            Some(Verdict::Accepted) => self.ledger.begin(&arrival.prefix, one(head.sequence)),
            None => self.starved = true,
            _ => {}
        }
        placed
    }

    /// What can be said of a unit without its bytes.
    fn judge(&self, standing: Standing, now: Now) -> Option<Verdict> {
        let full = self.full_until_ms.is_some_and(|until| now.mono_ms < until);
        match standing {
            Standing::NoRoom => Some(Verdict::TooManyRanges),
            Standing::New if full => Some(Verdict::Full),
            _ => None,
        }
    }

    /// Copies units that are all new, up to `stretch` of them.
    fn append(
        &mut self,
        arrival: &Arrival,
        codec: Codec,
        reader: &mut ObjectReader,
        mut head: UnitHead,
        stretch: u64,
        tell: &mut impl FnMut(UnitKey, Verdict),
    ) -> Result<Progress, ObjectError> {
        let prefix = arrival.prefix;
        // What a void says must be judged against what the one before it said.
        let stretch = if prefix.channel == Channel::VOIDS { 1 } else { stretch };
        let (first, mut taken) = (head.sequence, 0);
        let ended = loop {
            let received = arrival.now.tai;
            let copy = |into: &mut [u8]| reader.copy_unit(&head, into);
            match self.place(arrival, codec, received, &head, copy) {
                Some(Verdict::Accepted) => taken += 1,
                Some(verdict) => {
                    tell(UnitKey { prefix, sequence: head.sequence }, verdict);
                    break Ok(Progress::Drained);
                }
                None => break Ok(Progress::NoRoom),
            }
            if taken == stretch {
                break Ok(Progress::Drained);
            }
            match reader.peek_unit() {
                Ok(Some(next)) => head = next,
                Ok(None) => break Ok(Progress::Drained),
                Err(error) => break Err(error),
            }
        };
        if taken > 0 {
            self.ledger.begin(&prefix, SeqRange { first, last: first + (taken - 1) });
        }
        ended
    }

    /// Copies one unit to its place in a block; `None` where no block is free.
    fn place(
        &mut self,
        arrival: &Arrival,
        codec: Codec,
        received: Tai,
        head: &UnitHead,
        copy: impl FnOnce(&mut [u8]) -> bool,
    ) -> Option<Verdict> {
        let Arrival { owner, prefix, now } = *arrival;
        if !self.filling.as_ref().is_some_and(|batch| batch.has_room(head.length)) {
            // Only a block that is there makes the one before it full.
            let block = self.blocks.take()?;
            let full = self.filling.replace(Batch::new(block, now.mono_ms));
            self.full.extend(full.filter(|batch| !batch.is_empty()));
        }
        let batch = self.filling.as_mut()?;
        let into = batch.room(head.length);
        if !copy(into) {
            return Some(Verdict::Damaged);
        }
        if prefix.channel == Channel::VOIDS
            && let Ok(void) = Void::decode(into)
        {
            let key = UnitKey { prefix, sequence: head.sequence };
            if !self.ledger.voids_fit(voided(&key, &void)) {
                return Some(Verdict::TooManyRanges);
            }
        }
        if batch.is_empty() {
            batch.begin(now.mono_ms);
        }
        let run = Run { owner, prefix, codec, received, first: head.sequence, count: 1 };
        batch.keep(&run, head.length, head.crc, head.annotation.as_ref());
        Some(Verdict::Accepted)
    }

    /// Keeps a unit until the commit, to be compared with what is held. Whether its CRC holds;
    /// `None` where too many wait already.
    fn claim(
        &mut self,
        arrival: &Arrival,
        codec: Codec,
        head: &UnitHead,
        copy: impl FnOnce(&mut [u8]) -> bool,
    ) -> Option<bool> {
        if !self.claims.has_room(head.length) {
            return None;
        }
        if self.claims.is_empty() {
            self.claims_since_ms = arrival.now.mono_ms;
        }
        let claim = Claim {
            owner: arrival.owner,
            key: UnitKey { prefix: arrival.prefix, sequence: head.sequence },
            codec,
            received: received(head, arrival.now),
            annotation: head.annotation,
            digest: Digest([0; 16]),
            crc: head.crc,
            at: 0,
            length: head.length,
        };
        Some(self.claims.push(claim, copy))
    }

    /// Archives a unit whose held copy turned out to be unreadable or never came to be.
    pub fn retake(&mut self, claim: &Claim, bytes: &[u8], now: Now) -> Option<Verdict> {
        if self.ledger.standing(&claim.key) == Standing::Held && !self.ledger.lose(&claim.key) {
            return Some(Verdict::TooManyRanges);
        }
        let unit = Incoming {
            key: claim.key,
            codec: claim.codec,
            received: claim.received,
            annotation: claim.annotation,
            bytes: bytes::Bytes::copy_from_slice(bytes),
        };
        self.offer(claim.owner, &unit, now)
    }

    /// Whether there is something to do before the oldest unit is due.
    pub fn is_ripe(&self) -> bool {
        !self.full.is_empty() || self.is_pressed()
    }

    /// Whether a commit would make room that someone waits for.
    pub fn is_pressed(&self) -> bool {
        self.starved
    }

    /// When the oldest came of what is not yet with the volume, on the monotonic clock.
    pub fn oldest_ms(&self) -> Option<u64> {
        let filling = self.filling.iter().filter(|batch| !batch.is_empty());
        let batches = self.full.iter().chain(filling).map(Batch::begun_ms);
        let claims = (!self.claims.is_empty()).then_some(self.claims_since_ms);
        batches.chain(claims).min()
    }

    /// A block to write ahead of the commit.
    pub fn next_full(&mut self) -> Option<Batch> {
        self.full.pop_front()
    }

    /// Blocks that a commit would take.
    pub fn waiting(&self) -> usize {
        self.full.len() + usize::from(self.filling.as_ref().is_some_and(|it| !it.is_empty()))
    }

    /// For the commit: the next block, be it full or not.
    pub fn next_batch(&mut self) -> Option<Batch> {
        let filling = &mut self.filling;
        self.full.pop_front().or_else(|| filling.take_if(|batch| !batch.is_empty()))
    }

    /// For the commit, after the last block: what is to be judged behind it.
    pub fn claims(&mut self) -> Claims {
        self.starved = false;
        std::mem::take(&mut self.claims)
    }

    /// A unit that is in one of the blocks here.
    pub(super) fn under_way(&self, key: &UnitKey) -> Option<&[u8]> {
        self.full.iter().chain(&self.filling).find_map(|batch| batch.find(key))
    }

    /// The batch is synced: its units are held.
    pub fn settle(&mut self, batch: &Batch) {
        self.full_until_ms = None;
        for run in batch.runs() {
            self.ledger.settle(&run.prefix, run.range());
        }
        if batch.runs().iter().any(|run| run.prefix.channel == Channel::VOIDS) {
            let voids = batch.units().filter(|(key, _)| key.prefix.channel == Channel::VOIDS);
            for (key, bytes) in voids {
                if let Ok(void) = Void::decode(bytes) {
                    super::note_void(&mut self.ledger, &key, &void);
                }
            }
        }
        self.ledger.units += batch.len() as u64;
        self.ledger.bytes += batch.unit_bytes();
    }

    /// The batch could not be written: its units may come again, a little later.
    pub fn abandon(&mut self, batch: &Batch, now: Now) {
        self.full_until_ms = Some(now.mono_ms + FULL_RETRY_MS);
        for run in batch.runs() {
            self.ledger.abandon(&run.prefix, run.range());
        }
    }
}

fn one(sequence: u64) -> SeqRange {
    SeqRange { first: sequence, last: sequence }
}

/// Earth receive time: the antenna's, or the station's.
fn received(head: &UnitHead, now: Now) -> Tai {
    head.annotation.map_or(now.tai, |annotation| Annotation::decode(annotation).received)
}
