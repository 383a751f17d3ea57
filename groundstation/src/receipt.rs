//! What each session is told of its units, and when: a receipt after the sync, never before.
//!
//! ```text
//! session ─► Ingest::take ─► block ─► volume ─► Ingest::settle ─► fates by session
//!                 └ refused at once ────────────────┘
//! ```
//!
//! Duplicates wait for the commit like everything else: the first copy may be in the same block.

pub use crate::archive::Owner as SessionId;
use crate::{
    archive::{
        Incoming, Now, Verdict,
        batch::{Batch, Run},
        intake::{Arrival, Claims, Intake, Progress},
        is_full,
        volume::Judged,
    },
    keep::Keeper,
    ledger::Ledger,
    publish,
};
use codecs::{
    ids::{Codec, KeyPrefix, Origin, RangeSet, SeqRange, UnitKey},
    link::{
        custody::{KeyRanges, NEVER_MS, RefusalReason},
        object::{ObjectError, ObjectReader},
    },
};
use std::{collections::BTreeMap, io};

/// Told to a peer whose key found no room in the ledger's ranges: gaps close as others arrive.
pub const RANGES_RETRY_MS: u32 = 5_000;

/// Units that were not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Whose counter.
    pub prefix: KeyPrefix,
    /// Which.
    pub range: SeqRange,
    /// Why.
    pub reason: RefusalReason,
    /// When they may come again.
    pub retry_after_ms: u32,
}

/// What became of a session's units since it was last told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    /// Synced on this disk.
    pub receipts: BTreeMap<KeyPrefix, RangeSet>,
    /// Verified in the object store: of any origin, told to all.
    pub stored: BTreeMap<KeyPrefix, RangeSet>,
    /// Not accepted.
    pub refusals: Vec<Refused>,
}

impl Fates {
    /// One refusal.
    pub fn refused(
        prefix: KeyPrefix,
        range: SeqRange,
        reason: RefusalReason,
        retry_after_ms: u32,
    ) -> Self {
        let refusals = vec![Refused { prefix, range, reason, retry_after_ms }];
        Self { refusals, ..Self::default() }
    }

    fn refuse(&mut self, refused: Refused) {
        let next = self.refusals.last_mut().filter(|last| {
            (last.prefix, last.reason) == (refused.prefix, refused.reason)
                && last.range.last.checked_add(1) == Some(refused.range.first)
        });
        match next {
            Some(last) => last.range.last = refused.range.last,
            None => self.refusals.push(refused),
        }
    }
}

/// Outcomes of units, by the law of conservation: received is the sum of the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Came in whole.
    pub received: u64,
    /// New, and synced.
    pub archived: u64,
    /// Held already.
    pub duplicate: u64,
    /// Other bytes are held.
    pub conflict: u64,
    /// Not accepted, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// One rejection of `count` units.
    pub fn rejected(reason: &'static str, count: u64) -> Self {
        Self { received: count, rejected: [(reason, count)].into(), ..Self::default() }
    }

    /// Adds another tally.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.archived += other.archived;
        self.duplicate += other.duplicate;
        self.conflict += other.conflict;
        for (reason, count) in &other.rejected {
            *self.rejected.entry(reason).or_default() += count;
        }
    }

    /// Whether every received unit has exactly one other outcome.
    pub fn balances(&self) -> bool {
        let rejected: u64 = self.rejected.values().sum();
        self.received == self.archived + self.duplicate + self.conflict + rejected
    }

    /// As events for the page and the metrics.
    pub fn events(&self, prefix: Option<KeyPrefix>) -> Vec<publish::Event> {
        use publish::Outcome;
        let fixed = [
            (Outcome::Received, self.received),
            (Outcome::Archived, self.archived),
            (Outcome::Duplicate, self.duplicate),
            (Outcome::Conflict, self.conflict),
        ];
        let rejected =
            self.rejected.iter().map(|(reason, count)| (Outcome::Rejected(reason), *count));
        fixed
            .into_iter()
            .chain(rejected)
            .filter(|(_, count)| *count > 0)
            .map(|(outcome, count)| publish::Event::Custody { prefix, outcome, count })
            .collect()
    }
}

/// What a commit settled.
#[derive(Debug, Default)]
pub struct Committed {
    /// What to tell whom.
    pub fates: BTreeMap<SessionId, Fates>,
    /// Their count.
    pub tally: Tally,
    /// The same by counter.
    pub tallies: BTreeMap<KeyPrefix, Tally>,
    /// How many units are to be told as held, new and duplicates, each as often as it came.
    pub settled: BTreeMap<(SessionId, KeyPrefix), u64>,
}

impl Committed {
    /// As events for the page and the metrics.
    pub fn events(&self) -> Vec<publish::Event> {
        let tallies = self.tallies.iter();
        tallies.flat_map(|(prefix, tally)| tally.events(Some(*prefix))).collect()
    }

    /// Counts the fate of units, for all and for their counter.
    fn count(&mut self, prefix: KeyPrefix, add: impl Fn(&mut Tally)) {
        add(&mut self.tally);
        add(self.tallies.entry(prefix).or_default());
    }

    fn archived(&mut self, run: &Run) {
        let count = u64::from(run.count);
        self.count(run.prefix, |tally| {
            tally.received += count;
            tally.archived += count;
        });
        self.receipt(run.owner, run.prefix, run.range());
    }

    fn receipt(&mut self, session: SessionId, prefix: KeyPrefix, range: SeqRange) {
        *self.settled.entry((session, prefix)).or_default() += range.count();
        let fates = self.fates.entry(session).or_default();
        fates.receipts.entry(prefix).or_default().insert(range);
    }

    /// Counts and tells units that were not accepted.
    fn refused(
        &mut self,
        session: SessionId,
        prefix: KeyPrefix,
        range: SeqRange,
        (name, reason, retry_after_ms): Refusal,
    ) {
        self.count(prefix, |tally| {
            tally.received += range.count();
            match name {
                CONFLICT => tally.conflict += range.count(),
                other => *tally.rejected.entry(other).or_default() += range.count(),
            }
        });
        let fates = self.fates.entry(session).or_default();
        fates.refuse(Refused { prefix, range, reason, retry_after_ms });
    }
}

/// Name in the tally, what the peer is told, and when the unit may come again.
type Refusal = (&'static str, RefusalReason, u32);

const CONFLICT: &str = "conflict";
const FULL: &str = "full";
const ARCHIVE_ERROR: &str = "archive-error";

/// How a unit that is neither accepted nor held is refused; for want of room, until `full_ms` later.
fn refusal(verdict: Verdict, full_ms: u32) -> Option<Refusal> {
    Some(match verdict {
        Verdict::Accepted | Verdict::Claimed | Verdict::Duplicate => return None,
        Verdict::Conflict => (CONFLICT, RefusalReason::Conflict, NEVER_MS),
        Verdict::Full => (FULL, RefusalReason::Full, full_ms),
        // Rotten since its store numbered it: never under this key.
        Verdict::Damaged => ("damaged", RefusalReason::Malformed, NEVER_MS),
        Verdict::TooManyRanges => {
            ("too-many-ranges", RefusalReason::TooManyRanges, RANGES_RETRY_MS)
        }
    })
}

/// How a commit ended: its blocks, or why none of them is durable.
pub type Commit = Result<Vec<Batch>, (io::Error, Vec<Batch>)>;

/// The intake and those who wait for it.
pub struct Ingest {
    intake: Intake,
    /// Refused since the last commit, told with the next.
    refused: Committed,
    refused_since_ms: Option<u64>,
    retry: FullRetry,
    keeper: Keeper,
    /// Verified in the object store.
    stored: BTreeMap<KeyPrefix, RangeSet>,
}

impl Ingest {
    /// In front of an open archive.
    pub fn new(intake: Intake) -> Self {
        let (keeper, stored) = (Keeper::default(), BTreeMap::new());
        let (refused, retry) = (Committed::default(), FullRetry::default());
        Self { intake, refused, refused_since_ms: None, retry, keeper, stored }
    }

    /// With one who seals and lets go segments.
    pub fn keeping(self, keeper: Keeper) -> Self {
        Self { keeper, ..self }
    }

    /// The one who seals and lets go segments, for the volume's owner.
    pub fn take_keeper(&mut self) -> Keeper {
        std::mem::take(&mut self.keeper)
    }

    /// What waits for the volume.
    pub fn intake(&mut self) -> &mut Intake {
        &mut self.intake
    }

    /// What is held, voided and lost.
    pub fn ledger(&self) -> &Ledger {
        self.intake.ledger()
    }

    /// Takes what the reader of an admitted object holds of whole units.
    pub fn take_object(
        &mut self,
        session: SessionId,
        prefix: KeyPrefix,
        codec: Codec,
        reader: &mut ObjectReader,
        now: Now,
    ) -> Result<Progress, ObjectError> {
        let full_ms = self.retry.wait_ms();
        let Self { intake, refused, refused_since_ms, .. } = self;
        let mut tell = |key: UnitKey, verdict: Verdict| {
            if let Some(refusal) = refusal(verdict, full_ms) {
                refused_since_ms.get_or_insert(now.mono_ms);
                refused.refused(session, key.prefix, one(key.sequence), refusal);
            }
        };
        intake.take(&Arrival { owner: session, prefix, now }, codec, reader, &mut tell)
    }

    /// Takes a unit that was admitted.
    pub fn take(&mut self, session: SessionId, unit: &Incoming, now: Now) -> Progress {
        let Some(verdict) = self.intake.offer(session, unit, now) else {
            return Progress::NoRoom;
        };
        if let Some(refusal) = refusal(verdict, self.retry.wait_ms()) {
            self.refused_since_ms.get_or_insert(now.mono_ms);
            self.refused.refused(session, unit.key.prefix, one(unit.key.sequence), refusal);
        }
        Progress::Drained
    }

    /// Since when something waits that a commit would settle or tell, on the monotonic clock.
    pub fn oldest_ms(&self) -> Option<u64> {
        self.intake.oldest_ms().into_iter().chain(self.refused_since_ms).min()
    }

    /// Says what became of the blocks of a commit and of the claims behind it.
    pub fn settle(
        &mut self,
        commit: &Commit,
        claims: &Claims,
        judged: Vec<io::Result<Judged>>,
        now: Now,
    ) -> Committed {
        self.refused_since_ms = None;
        let mut committed = std::mem::take(&mut self.refused);
        match commit {
            Ok(batches) => {
                if !batches.is_empty() {
                    self.retry.succeeded(size(batches), now.mono_ms);
                }
                for batch in batches {
                    self.intake.settle(batch);
                    batch.runs().iter().for_each(|run| committed.archived(run));
                }
            }
            Err((error, batches)) => {
                let full = is_full(error);
                self.retry.failed(size(batches), now.mono_ms);
                tracing::error!(%error, full, "nothing archived; units are refused with retry");
                let name = if full { FULL } else { ARCHIVE_ERROR };
                let refusal = (name, RefusalReason::Full, self.retry.wait_ms());
                for batch in batches {
                    self.intake.abandon(batch, now);
                    for run in batch.runs() {
                        committed.refused(run.owner, run.prefix, run.range(), refusal);
                    }
                }
            }
        }
        for ((claim, bytes), judged) in claims.iter().zip(judged) {
            let (owner, prefix, range) = (claim.owner, claim.key.prefix, one(claim.key.sequence));
            let verdict = match judged {
                Ok(Judged::Duplicate) => Verdict::Duplicate,
                Ok(Judged::Conflict) => Verdict::Conflict,
                Ok(Judged::Missing) => {
                    self.intake.retake(claim, bytes, now).unwrap_or(Verdict::Full)
                }
                Err(error) => {
                    tracing::error!(%error, "archive can't be read to judge a unit");
                    let refusal = (ARCHIVE_ERROR, RefusalReason::Full, self.retry.wait_ms());
                    committed.refused(owner, prefix, range, refusal);
                    continue;
                }
            };
            if verdict == Verdict::Conflict {
                tracing::error!(key = ?claim.key, "other bytes are archived under this key");
            }
            match refusal(verdict, self.retry.wait_ms()) {
                Some(refusal) => committed.refused(owner, prefix, range, refusal),
                None if verdict == Verdict::Duplicate => {
                    committed.count(prefix, |tally| {
                        tally.received += 1;
                        tally.duplicate += 1;
                    });
                    committed.receipt(owner, prefix, range);
                }
                None => {}
            }
        }
        let balances = committed.tallies.values().all(Tally::balances);
        assert!(balances && committed.tally.balances(), "every unit settled has one fate");
        committed
    }

    /// What of an origin is durable, for a welcome: held, and not lost since.
    pub fn durable(&self, origin: Origin) -> Vec<KeyRanges> {
        let counters = self.intake.ledger().counters();
        let held =
            counters.filter(|(prefix, _)| prefix.origin == origin).map(|(prefix, counter)| {
                let mut held = counter.held.clone();
                counter.lost.ranges().iter().for_each(|range| held.remove(*range));
                KeyRanges::new(*prefix, held.ranges().to_vec())
            });
        held.filter(|keys| !keys.ranges.is_empty()).collect()
    }

    /// What of an origin was receipted and is not held now, and that no void of its store explains.
    pub fn lost_of(&self, origin: Origin) -> BTreeMap<KeyPrefix, RangeSet> {
        let counters = self.intake.ledger().counters().filter(|of| of.0.origin == origin);
        let lost = counters.map(|(prefix, counter)| {
            let mut lost = counter.lost.clone();
            counter.voided.ranges().iter().for_each(|range| lost.remove(*range));
            (*prefix, lost)
        });
        lost.filter(|(_, lost)| !lost.is_empty()).collect()
    }

    /// Notes what is verified in the object store; what to tell every session.
    pub fn stored(&mut self, ranges: BTreeMap<KeyPrefix, RangeSet>) -> Fates {
        for (prefix, ranges) in &ranges {
            self.stored.entry(*prefix).or_default().extend(ranges);
        }
        Fates { stored: ranges, ..Fates::default() }
    }

    /// What of an origin is verified in the object store.
    pub fn stored_of(&self, origin: Origin) -> BTreeMap<KeyPrefix, RangeSet> {
        let stored = self.stored.iter().filter(|(prefix, _)| prefix.origin == origin);
        stored.map(|(prefix, ranges)| (*prefix, ranges.clone())).collect()
    }

    /// Marks as lost what no record proves; whether that is news, and must be kept before it is
    /// asked for.
    pub fn lose(&mut self, lost: &[(KeyPrefix, Vec<SeqRange>)]) -> bool {
        self.intake.lose(lost)
    }
}

fn size(batches: &[Batch]) -> u64 {
    batches.iter().map(|batch| batch.bytes() as u64).sum()
}

fn one(sequence: u64) -> SeqRange {
    SeqRange { first: sequence, last: sequence }
}

mod hello;
mod next;
mod retry;
mod tell;

pub use hello::{lost_by_us, on_board};
pub use next::{Next, next};
pub use retry::{FULL_RETRY_MS, FULL_RETRY_MS_MAX, FullRetry};
pub use tell::tell_stored;

#[cfg(test)]
mod custody_tests;

#[cfg(test)]
mod fleet;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{
        Archive, Archived, Settings,
        batch::Published,
        forgetful::{Failure, ForgetfulDisk},
        tests::unit,
        volume::Volume,
    };
    use codecs::time::Tai;

    const NOW: Now = Now { mono_ms: 0, tai: Tai(0) };
    const A: SessionId = SessionId(1);
    const B: SessionId = SessionId(2);

    pub(super) struct Station {
        pub(super) ingest: Ingest,
        volume: Volume<ForgetfulDisk>,
    }

    impl Station {
        fn new(disk: &ForgetfulDisk) -> Self {
            Self::with_ledger(disk, 1)
        }

        pub(super) fn with_ledger(disk: &ForgetfulDisk, fresh: u64) -> Self {
            let settings = Settings { segment_bytes: 64 << 10 };
            let Archive { intake, volume } =
                Archive::open(disk.clone(), settings, fresh).unwrap().0;
            Self { ingest: Ingest::new(intake), volume }
        }

        fn take(&mut self, session: SessionId, unit: &Incoming, now: Now) {
            assert_eq!(self.ingest.take(session, unit, now), Progress::Drained);
        }

        pub(super) fn commit(&mut self, now: Now) -> (Committed, Vec<Archived>) {
            let Self { ingest, volume } = self;
            while let Some(batch) = ingest.intake().next_batch() {
                volume.write(batch, now, || ingest.ledger().settled());
            }
            let claims = ingest.intake().claims();
            let commit = volume.commit(now, || ingest.ledger().settled());
            let judged = claims.iter().map(|(claim, bytes)| volume.judge(claim, bytes)).collect();
            let committed = ingest.settle(&commit, &claims, judged, now);
            let blocks: Vec<_> = commit.into_iter().flatten().map(Batch::publish).collect();
            (committed, blocks.iter().flat_map(Published::units).collect())
        }
    }

    #[test]
    fn nothing_is_told_before_the_sync() {
        let disk = ForgetfulDisk::default();
        let mut station = Station::new(&disk);
        assert_eq!(station.ingest.oldest_ms(), None);
        station.take(A, &unit(1, 0), NOW);
        station.take(A, &unit(1, 1), NOW);
        // The same unit over two sessions: both learn that it is safe, once it is.
        station.take(B, &unit(1, 1), NOW);
        assert_eq!(station.ingest.oldest_ms(), Some(0));
        assert!(station.ingest.refused.fates.is_empty());
        let (committed, archived) = station.commit(NOW);
        assert_eq!(archived.len(), 2);
        assert_eq!(committed.fates[&A].receipts[&unit(1, 0).key.prefix].count(), 2);
        assert_eq!(committed.fates[&B].receipts[&unit(1, 0).key.prefix].count(), 1);
        assert_eq!((committed.tally.archived, committed.tally.duplicate), (2, 1));
        assert_eq!(station.ingest.durable(unit(1, 0).key.prefix.origin).len(), 1);
        assert_eq!(station.ingest.durable(Origin([0; 16])), []);
        assert_eq!(station.ingest.oldest_ms(), None);
    }

    #[test]
    fn a_failed_commit_refuses_with_retry_and_counts() {
        let disk = ForgetfulDisk::default();
        let mut station = Station::new(&disk);
        (0..3).for_each(|sequence| station.take(A, &unit(1, sequence), NOW));
        // It came a second time, while its first copy was on its way: that is lost, this is not.
        station.take(B, &unit(1, 2), NOW);
        disk.set_room(Some(0));
        let (committed, archived) = station.commit(NOW);
        assert_eq!(archived.len(), 0);
        let [refused] = committed.fates[&A].refusals[..] else { panic!("one merged refusal") };
        assert_eq!((refused.range.first, refused.range.last), (0, 2));
        assert_eq!(refused.reason, RefusalReason::Full);
        assert_ne!(refused.retry_after_ms, NEVER_MS);
        assert_eq!(committed.fates[&B].refusals.len(), 1);
        assert_eq!(committed.tally.rejected["full"], 4);
        disk.set_room(None);
        let later = Now { mono_ms: 5_000, ..NOW };
        (0..3).for_each(|sequence| station.take(A, &unit(1, sequence), later));
        let (committed, _) = station.commit(later);
        assert_eq!(committed.tally.archived, 3);
        assert!(committed.fates[&A].refusals.is_empty());
    }

    #[test]
    fn a_conflict_is_never_receipted() {
        let disk = ForgetfulDisk::default();
        let mut station = Station::new(&disk);
        let other = Incoming { bytes: b"other".as_slice().into(), ..unit(1, 0) };
        // In the block that is being filled as well as on disk.
        for archived in [1, 0] {
            station.take(A, &unit(1, 0), NOW);
            station.take(B, &other, NOW);
            let (committed, units) = station.commit(NOW);
            assert_eq!(units.len(), archived);
            assert!(committed.fates[&B].receipts.is_empty());
            assert_eq!(committed.fates[&B].refusals[0].reason, RefusalReason::Conflict);
            assert_eq!(committed.tally.conflict, 1);
        }
    }

    #[test]
    fn an_error_while_judging_is_a_refusal_with_retry() {
        let disk = ForgetfulDisk::default();
        let mut station = Station::new(&disk);
        station.take(A, &unit(1, 0), NOW);
        station.commit(NOW);
        station.take(A, &unit(1, 0), NOW);
        disk.fail_at(disk.calls() + 1, Failure::Io);
        let (committed, _) = station.commit(NOW);
        assert_eq!(committed.tally.rejected["archive-error"], 1);
        assert!(committed.fates[&A].receipts.is_empty());
    }

    #[test]
    fn a_unit_whose_record_is_damaged_is_taken_again() {
        let disk = ForgetfulDisk::default();
        let mut station = Station::new(&disk);
        station.take(A, &unit(1, 0), NOW);
        let (_, archived) = station.commit(NOW);
        let at = archived[0].position.offset as usize;
        disk.flip("0000000000.segment", at + 20, 1);
        station.take(A, &unit(1, 0), NOW);
        let (committed, archived) = station.commit(NOW);
        assert_eq!((committed.tally.received, archived.len()), (0, 0), "not yet durable again");
        let (committed, archived) = station.commit(NOW);
        assert_eq!((committed.tally.archived, archived.len()), (1, 1));
        assert_eq!(committed.fates[&A].receipts[&unit(1, 0).key.prefix].count(), 1);
    }
}
