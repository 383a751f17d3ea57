//! What each session is told of its units, and when: a receipt after the sync, never before.
//!
//! ```text
//! session ─► Ingest::take ─► archive batch ─► Ingest::commit ─► fates by session
//!                 └ refused at once ────────────────────────────────┘
//! ```
//!
//! Duplicates wait for the commit like everything else: the first copy may be in the same batch.

use crate::{
    archive::{Archive, Archived, Incoming, Now, Verdict, is_full, storage::Storage},
    keep::Keeper,
    publish,
    upload::Stored,
};
use codecs::{
    ids::{KeyPrefix, Origin, RangeSet, SeqRange, UnitKey},
    link::{
        custody::{KeyRanges, NEVER_MS, RefusalReason},
        wire::ChannelState,
    },
};
use std::collections::BTreeMap;

/// Told to a peer whose units found no room: about as long as the archive waits itself.
pub const FULL_RETRY_MS: u32 = 2_000;
/// Told to a peer whose key found no room in the ledger's ranges: gaps close as others arrive.
pub const RANGES_RETRY_MS: u32 = 5_000;

/// A connection, numbered by the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(pub u64);

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

    fn refuse(&mut self, key: &UnitKey, reason: RefusalReason, retry_after_ms: u32) {
        let next = self.refusals.last_mut().filter(|last| {
            (last.prefix, last.reason) == (key.prefix, reason)
                && last.range.last.checked_add(1) == Some(key.sequence)
        });
        match next {
            Some(last) => last.range.last = key.sequence,
            None => self.refusals.push(Refused {
                prefix: key.prefix,
                range: SeqRange { first: key.sequence, last: key.sequence },
                reason,
                retry_after_ms,
            }),
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
    pub fn events(&self) -> Vec<publish::Event> {
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
            .map(|(outcome, count)| publish::Event::Custody { outcome, count })
            .collect()
    }
}

/// What a commit settled.
#[derive(Debug, Default)]
pub struct Committed {
    /// Units that are now durable, in order.
    pub archived: Vec<Archived>,
    /// What to tell whom.
    pub fates: BTreeMap<SessionId, Fates>,
    /// Their count.
    pub tally: Tally,
}

/// A unit of the batch that waits for its commit.
struct Waiting {
    session: SessionId,
    key: UnitKey,
    duplicate: bool,
}

/// The archive and those who wait for it.
pub struct Ingest<S: Storage> {
    archive: Archive<S>,
    waiting: Vec<Waiting>,
    /// Settled without a commit, told with the next.
    settled: Committed,
    keeper: Keeper,
    /// Verified in the object store.
    stored: BTreeMap<KeyPrefix, RangeSet>,
}

impl<S: Storage> Ingest<S> {
    /// Around an open archive.
    pub fn new(archive: Archive<S>) -> Self {
        let (waiting, settled) = (Vec::new(), Committed::default());
        let (keeper, stored) = (Keeper::default(), BTreeMap::new());
        Self { archive, waiting, settled, keeper, stored }
    }

    /// With one who seals and lets go segments.
    pub fn keeping(self, keeper: Keeper) -> Self {
        Self { keeper, ..self }
    }

    /// When segments want to be looked after: monotonic milliseconds.
    pub fn keep_due_ms(&self) -> Option<u64> {
        self.keeper.due_ms(&self.archive)
    }

    /// Seals and lets go what is due.
    pub fn keep(&mut self, now: Now) {
        self.keeper.turn(&mut self.archive, now);
    }

    /// The archive, for reading.
    pub fn archive(&self) -> &Archive<S> {
        &self.archive
    }

    /// Takes a unit that was admitted.
    pub fn take(&mut self, session: SessionId, unit: &Incoming, now: Now) {
        self.settled.tally.received += 1;
        let refusal = match self.archive.offer(unit, now) {
            Ok(verdict @ (Verdict::Accepted | Verdict::Duplicate)) => {
                let duplicate = verdict == Verdict::Duplicate;
                self.waiting.push(Waiting { session, key: unit.key, duplicate });
                return;
            }
            Ok(Verdict::Conflict) => {
                tracing::error!(key = ?unit.key, "other bytes are archived under this key");
                self.settled.tally.conflict += 1;
                (RefusalReason::Conflict, NEVER_MS)
            }
            Ok(Verdict::Full) => self.rejected("full", RefusalReason::Full, FULL_RETRY_MS),
            Ok(Verdict::TooManyRanges) => {
                let reason = RefusalReason::TooManyRanges;
                self.rejected("too-many-ranges", reason, RANGES_RETRY_MS)
            }
            Err(error) => {
                tracing::error!(%error, "archive can't be read to judge a unit");
                self.rejected("archive-error", RefusalReason::Full, FULL_RETRY_MS)
            }
        };
        let fates = self.settled.fates.entry(session).or_default();
        fates.refuse(&unit.key, refusal.0, refusal.1);
    }

    fn rejected(
        &mut self,
        name: &'static str,
        reason: RefusalReason,
        retry_ms: u32,
    ) -> (RefusalReason, u32) {
        *self.settled.tally.rejected.entry(name).or_default() += 1;
        (reason, retry_ms)
    }

    /// Whether a commit would tell anyone anything.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.settled.tally.received == 0
    }

    /// Whether the batch is large enough not to wait any longer.
    pub fn is_ripe(&self) -> bool {
        self.archive.batched() >= crate::archive::BATCH_BYTES
    }

    /// Writes, syncs, and says what became of everything taken since the last commit.
    pub fn commit(&mut self, now: Now) -> Committed {
        let outcome = self.archive.commit(now);
        let mut committed = std::mem::take(&mut self.settled);
        let waiting = std::mem::take(&mut self.waiting);
        match outcome {
            Ok(archived) => {
                for unit in waiting {
                    let tally = &mut committed.tally;
                    *(if unit.duplicate { &mut tally.duplicate } else { &mut tally.archived }) += 1;
                    let fates = committed.fates.entry(unit.session).or_default();
                    fates
                        .receipts
                        .entry(unit.key.prefix)
                        .or_default()
                        .insert_one(unit.key.sequence);
                }
                committed.archived = archived;
            }
            Err(error) => {
                let full = is_full(&error);
                tracing::error!(%error, full, "nothing archived; units are refused with retry");
                let name = if full { "full" } else { "archive-error" };
                for unit in waiting {
                    *committed.tally.rejected.entry(name).or_default() += 1;
                    let fates = committed.fates.entry(unit.session).or_default();
                    fates.refuse(&unit.key, RefusalReason::Full, FULL_RETRY_MS);
                }
            }
        }
        assert!(committed.tally.balances(), "every unit taken has one fate");
        committed
    }

    /// What of an origin is durable, for a welcome: held, and not lost since.
    pub fn durable(&self, origin: Origin) -> Vec<KeyRanges> {
        let counters = self.archive.ledger().counters();
        let held =
            counters.filter(|(prefix, _)| prefix.origin == origin).map(|(prefix, counter)| {
                let mut held = counter.held.clone();
                counter.lost.ranges().iter().for_each(|range| held.remove(*range));
                KeyRanges::new(*prefix, held.ranges().to_vec())
            });
        held.filter(|keys| !keys.ranges.is_empty()).collect()
    }

    /// Notes that a segment is verified in the object store; what to tell every session.
    pub fn stored(&mut self, stored: Stored) -> Fates {
        if let Some(segment) = stored.segment {
            self.keeper.stored(segment);
        }
        for (prefix, ranges) in &stored.ranges {
            self.stored.entry(*prefix).or_default().extend(ranges);
        }
        Fates { stored: stored.ranges, ..Fates::default() }
    }

    /// Records durably what is lost, before it is asked for.
    pub fn lose(&mut self, lost: &[(KeyPrefix, Vec<SeqRange>)], now: Now) -> std::io::Result<()> {
        self.archive.record_lost(lost, now)
    }

    /// What of an origin is verified in the object store.
    pub fn stored_of(&self, origin: Origin) -> BTreeMap<KeyPrefix, RangeSet> {
        let stored = self.stored.iter().filter(|(prefix, _)| prefix.origin == origin);
        stored.map(|(prefix, ranges)| (*prefix, ranges.clone())).collect()
    }

    /// Ends the archive's segment at a clean stop.
    pub fn close(&mut self, now: Now) {
        self.archive.seal(now.tai);
    }
}

/// What a store says this ledger or one before it receipted and this ledger does not hold: damage
/// took it, or the disk is gone. To be recorded lost, and then asked for.
pub fn lost_by_us(
    origin: Origin,
    ledgers: impl Fn(u64) -> bool,
    channels: &[ChannelState],
    durable: &[KeyRanges],
) -> Vec<(KeyPrefix, Vec<SeqRange>)> {
    let mut lost = Vec::new();
    for channel in channels.iter().filter(|channel| ledgers(channel.ledger)) {
        let prefix = channel.held.prefix(origin);
        let mut missing: RangeSet = channel.receipted.iter().copied().collect();
        durable
            .iter()
            .filter(|keys| keys.prefix(origin) == prefix)
            .flat_map(|keys| &keys.ranges)
            .for_each(|range| missing.remove(*range));
        if !missing.is_empty() {
            lost.push((prefix, missing.ranges().to_vec()));
        }
    }
    lost
}

#[cfg(test)]
mod custody_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{
        Settings,
        forgetful::{Failure, ForgetfulDisk},
        tests::unit,
    };
    use codecs::time::Tai;

    const NOW: Now = Now { mono_ms: 0, tai: Tai(0) };
    const A: SessionId = SessionId(1);
    const B: SessionId = SessionId(2);

    fn ingest(disk: &ForgetfulDisk) -> Ingest<ForgetfulDisk> {
        let settings = Settings { segment_bytes: 64 << 10 };
        Ingest::new(Archive::open(disk.clone(), settings, 1).unwrap().0)
    }

    #[test]
    fn nothing_is_told_before_the_sync() {
        let disk = ForgetfulDisk::default();
        let mut ingest = ingest(&disk);
        assert!(ingest.is_idle());
        ingest.take(A, &unit(1, 0), NOW);
        ingest.take(A, &unit(1, 1), NOW);
        // The same unit over two sessions: both learn that it is safe, once it is.
        ingest.take(B, &unit(1, 1), NOW);
        assert!(ingest.settled.fates.is_empty());
        let committed = ingest.commit(NOW);
        assert_eq!(committed.archived.len(), 2);
        assert_eq!(committed.fates[&A].receipts[&unit(1, 0).key.prefix].count(), 2);
        assert_eq!(committed.fates[&B].receipts[&unit(1, 0).key.prefix].count(), 1);
        assert_eq!((committed.tally.archived, committed.tally.duplicate), (2, 1));
        assert_eq!(ingest.durable(unit(1, 0).key.prefix.origin).len(), 1);
        assert_eq!(ingest.durable(Origin([0; 16])), []);
    }

    #[test]
    fn a_failed_commit_refuses_with_retry_and_counts() {
        let disk = ForgetfulDisk::default();
        let mut ingest = ingest(&disk);
        (0..3).for_each(|sequence| ingest.take(A, &unit(1, sequence), NOW));
        disk.set_room(Some(0));
        let committed = ingest.commit(NOW);
        assert_eq!(committed.archived.len(), 0);
        let [refused] = committed.fates[&A].refusals[..] else { panic!("one merged refusal") };
        assert_eq!((refused.range.first, refused.range.last), (0, 2));
        assert_eq!(refused.reason, RefusalReason::Full);
        assert_ne!(refused.retry_after_ms, NEVER_MS);
        assert_eq!(committed.tally.rejected["full"], 3);
        disk.set_room(None);
        let later = Now { mono_ms: 5_000, ..NOW };
        (0..3).for_each(|sequence| ingest.take(A, &unit(1, sequence), later));
        let committed = ingest.commit(later);
        assert_eq!(committed.tally.archived, 3);
        assert!(committed.fates[&A].refusals.is_empty());
    }

    #[test]
    fn a_conflict_is_never_receipted() {
        let disk = ForgetfulDisk::default();
        let mut ingest = ingest(&disk);
        ingest.take(A, &unit(1, 0), NOW);
        ingest.commit(NOW);
        let other = Incoming { bytes: b"other".as_slice().into(), ..unit(1, 0) };
        ingest.take(A, &other, NOW);
        let committed = ingest.commit(NOW);
        assert!(committed.fates[&A].receipts.is_empty());
        assert_eq!(committed.fates[&A].refusals[0].reason, RefusalReason::Conflict);
        assert_eq!(committed.tally.conflict, 1);
    }

    #[test]
    fn an_error_while_judging_is_a_refusal_with_retry() {
        let disk = ForgetfulDisk::default();
        let mut ingest = ingest(&disk);
        ingest.take(A, &unit(1, 0), NOW);
        ingest.commit(NOW);
        disk.fail_at(disk.calls() + 1, Failure::Io);
        ingest.take(A, &unit(1, 0), NOW);
        let committed = ingest.commit(NOW);
        assert_eq!(committed.tally.rejected["archive-error"], 1);
        assert!(committed.fates[&A].receipts.is_empty());
    }
}
