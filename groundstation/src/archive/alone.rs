//! The archive in one thread: each call waits for the disk, and a unit's fate is known at once.

use super::{
    Archive, Archived, Incoming, Now, Owner, Verdict,
    batch::{Batch, Published},
    record::Position,
    retain::Retain,
    storage::Storage,
    volume::Judged,
};
use codecs::{
    ids::{KeyPrefix, SeqRange},
    time::Tai,
};
use std::io;

/// No one waits for these.
const NO_ONE: Owner = Owner(0);

impl<S: Storage> Archive<S> {
    /// Judges a unit, and takes it into a block if it is new.
    pub fn offer(&mut self, unit: &Incoming, now: Now) -> io::Result<Verdict> {
        let mut offered = self.intake.offer(NO_ONE, unit, now);
        if offered.is_none() {
            self.write(now);
            offered = self.intake.offer(NO_ONE, unit, now);
        }
        let claims = self.intake.claims();
        let Some((claim, bytes)) = claims.iter().next() else {
            return Ok(offered.unwrap_or(Verdict::Full));
        };
        // What is under way is compared where it stands; there is no thread that it could be with.
        let under_way = self.intake.under_way(&claim.key).or(self.volume.under_way(&claim.key));
        match under_way {
            Some(held) if held == bytes => return Ok(Verdict::Duplicate),
            Some(_) => {
                self.volume.quarantine(claim, bytes);
                return Ok(Verdict::Conflict);
            }
            None => {}
        }
        Ok(match self.volume.judge(claim, bytes)? {
            Judged::Duplicate => Verdict::Duplicate,
            Judged::Conflict => Verdict::Conflict,
            Judged::Missing => self.intake.retake(claim, bytes, now).unwrap_or(Verdict::Full),
        })
    }

    /// Writes and syncs. Everything returned is durable; after an error nothing of it is, and all
    /// of it may be offered again.
    pub fn commit(&mut self, now: Now) -> io::Result<Vec<Archived>> {
        let blocks = self.commit_blocks(now)?;
        // Whoever keeps units for long gets them without the block.
        let copy = |unit: Archived| Archived { bytes: unit.bytes.to_vec().into(), ..unit };
        Ok(blocks.iter().flat_map(Published::units).map(copy).collect())
    }

    /// The same, with the units in their blocks.
    pub fn commit_blocks(&mut self, now: Now) -> io::Result<Vec<Published>> {
        self.write(now);
        let ledger = || self.intake.ledger().settled();
        match self.volume.commit(now, ledger) {
            Ok(batches) => {
                batches.iter().for_each(|batch| self.intake.settle(batch));
                Ok(batches.into_iter().map(Batch::publish).collect())
            }
            Err((error, batches)) => {
                batches.iter().for_each(|batch| self.intake.abandon(batch, now));
                Err(error)
            }
        }
    }

    fn write(&mut self, now: Now) {
        let Self { intake, volume } = self;
        while let Some(batch) = intake.next_batch() {
            volume.write(batch, now, || intake.ledger().settled());
        }
    }

    /// Marks as lost what no record proves, durably.
    pub fn record_lost(&mut self, lost: &[(KeyPrefix, Vec<SeqRange>)], now: Now) -> io::Result<()> {
        if !self.intake.lose(lost) {
            return Ok(());
        }
        self.volume.keep_ledger(self.intake.ledger().settled(), now)
    }

    /// Lets go of what the policy does not keep; the segments deleted.
    pub fn retain(
        &mut self,
        policy: &Retain,
        stored: impl Fn(u64) -> bool,
        now: Tai,
    ) -> io::Result<Vec<u64>> {
        let Self { intake, volume } = self;
        let lose = |prefix, range| {
            intake.ledger.lose_range(prefix, range);
        };
        volume.retain(policy, stored, lose, now)
    }

    /// Seals the open segment.
    pub fn seal(&mut self, now: Tai) {
        self.volume.seal(now);
    }

    /// Where the next record will stand, if a segment is open: everything before is synced.
    pub fn synced_to(&self) -> Option<Position> {
        self.volume.synced_to()
    }
}
