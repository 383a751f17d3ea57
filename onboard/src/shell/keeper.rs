//! The store's keeper: outcomes in, commits, and what the bearers must know of them.

use std::{sync::Arc, time::Duration};

use codecs::{ids::SpacecraftId, time::Tai};
use tokio::sync::Mutex;

use super::{
    bearers::Changes,
    held::{Held, change},
};
use crate::{
    pipeline::{Account, Bunch, Outcome, Pipeline},
    store::{Committed, Disk, RETRY_NS, Schedule, Store, StoreError, Stored},
};

/// The store as the tasks share it.
pub type SharedStore = Arc<Mutex<Held>>;

/// Bytes pending in the store that are not left to wait for company.
const COMMIT_BYTES: u64 = 256 << 10;
/// Outcomes that may wait for a store that can't write before the source waits too.
const OUTCOMES_MAX: usize = 64;

/// What became of outcomes on their way into the store.
#[derive(Clone, Copy, Default)]
struct Bunches {
    /// Brought in by commits.
    stored: Bunch,
    /// In the store's memory until a commit.
    pending: Bunch,
    /// Fits no commit.
    lost: Bunch,
}

/// Brings an outcome into the store; not where the store must commit first.
fn put(
    store: &mut Store<Disk>,
    outcome: &Outcome,
    spacecraft: SpacecraftId,
    bunches: &mut Bunches,
) -> bool {
    match outcome {
        Outcome::Keep { unit, .. } => match store.append(unit.clone()) {
            Ok(_) => bunches.pending.add(outcome),
            Err(StoreError::Pending(_)) => return false,
            Err(error) => {
                bunches.lost.add(outcome);
                tracing::error!("a unit was not stored: {error}");
            }
        },
        Outcome::LeaveOut { channel, bytes, captured, .. } => {
            store.drop_next(spacecraft, *channel, *bytes, *captured);
            bunches.pending.add(outcome);
        }
        Outcome::Together { made, slot, note } => {
            let lengths = made.iter().filter_map(|outcome| match outcome {
                Outcome::Keep { unit, .. } => Some(unit.bytes.len()),
                _ => None,
            });
            if !store.fits(lengths) {
                return false;
            }
            // What fits an empty commit whole is bounded where it is made.
            let (mut whole, mut of_file) = (true, Bunches::default());
            for outcome in made {
                if !put(store, outcome, spacecraft, &mut of_file) {
                    of_file.lost.add(outcome);
                    whole = false;
                }
            }
            bunches.pending.join(of_file.pending.of_file());
            bunches.lost.join(of_file.lost);
            if !whole || !store.note(*slot, note.clone()) {
                tracing::error!("a piece of a file and its progress do not fit one commit");
            }
        }
    }
    true
}

/// Brings outcomes into the store and commits them together, off the thread of the sockets.
pub struct Keeper {
    store: SharedStore,
    /// What the bearers must know.
    pub changes: Changes,
    schedule: Schedule,
    stuck: bool,
    bunches: Bunches,
    news: Option<String>,
    /// Units given up since the start.
    pub evicted: u64,
    /// Commits that succeeded.
    pub commits: u64,
}

impl Keeper {
    /// A keeper of an open store; the first commit is due at once.
    pub fn new(store: SharedStore, changes: Changes, commit_ns: u64) -> Self {
        let schedule = Schedule::new(commit_ns, COMMIT_BYTES);
        let bunches = Bunches::default();
        let (stuck, news, evicted, commits) = (false, None, 0, 0);
        Self { store, changes, schedule, stuck, bunches, news, evicted, commits }
    }

    /// When a commit is due.
    pub fn timeout(&self) -> Option<u64> {
        self.schedule.timeout()
    }

    /// Whether the source must wait.
    pub fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// Whether everything that was made is durable.
    pub fn is_settled(&self, pipeline: &Pipeline) -> bool {
        pipeline.is_idle() && self.timeout().is_none() && !self.is_troubled()
    }

    /// Whether the store could not write at its last try.
    pub fn is_troubled(&self) -> bool {
        self.schedule.trouble().is_some()
    }

    /// Whether the medium fails: what a new start may mend, as a full disk is not.
    pub fn is_failing(&self) -> bool {
        matches!(self.schedule.trouble(), Some(StoreError::Medium(_)))
    }

    /// Why the store can't write, once for each reason.
    pub fn take_news(&mut self) -> Option<String> {
        self.news.take()
    }

    /// Where every packet is at the end, and what keeps the store from writing.
    pub fn account(&self, pipeline: &Pipeline) -> (Account, Option<String>) {
        let Bunches { stored, pending: mut unstored, lost } = self.bunches;
        unstored.join(pipeline.bunch());
        let account = Account::of(pipeline, stored, unstored, lost);
        (account, self.schedule.trouble().map(StoreError::to_string))
    }

    /// Someone waits for the next commit.
    pub fn hurry(&mut self, now_ns: u64) {
        self.schedule.hurry(now_ns);
    }

    /// Offers units to the link that the store held back.
    pub fn offer(&mut self, stored: Vec<Stored>) {
        if !stored.is_empty() {
            self.changes.send(&change(Committed { stored, ..Committed::default() }));
        }
    }

    /// Something waits for a commit, and for company.
    pub fn dirty(&mut self, now_ns: u64) {
        self.schedule.dirty(now_ns);
    }

    /// Moves outcomes into the store and commits when it is time.
    pub async fn keep(&mut self, pipeline: &mut Pipeline, now_ns: u64) -> anyhow::Result<()> {
        if !self.schedule.rests(now_ns) {
            while !pipeline.is_idle() {
                if self.accept(pipeline, now_ns).await? {
                    continue;
                }
                self.commit(pipeline.time(now_ns), now_ns).await;
                if self.is_troubled() {
                    break;
                }
            }
            if self.schedule.is_due(now_ns) {
                self.commit(pipeline.time(now_ns), now_ns).await;
            }
        }
        self.stuck = self.is_troubled() && pipeline.waiting() > OUTCOMES_MAX;
        Ok(())
    }

    /// Takes outcomes until none is left, or the store must commit first (`false`).
    async fn accept(&mut self, pipeline: &mut Pipeline, now_ns: u64) -> anyhow::Result<bool> {
        let mut store = self.store.lock().await;
        while let Some(outcome) = pipeline.poll() {
            if !put(&mut store.store, &outcome, pipeline.spacecraft(), &mut self.bunches) {
                pipeline.unpoll(outcome);
                return Ok(false);
            }
        }
        self.schedule.pending(store.store.pending_bytes(), now_ns);
        Ok(true)
    }

    async fn commit(&mut self, time: Tai, now_ns: u64) {
        let mut store = self.store.clone().lock_owned().await;
        let committed = tokio::task::spawn_blocking(move || store.store.commit(time)).await;
        match committed {
            Ok(Ok(committed)) => {
                self.commits += 1;
                self.bunches.stored.join(std::mem::take(&mut self.bunches.pending));
                if let Some(trouble) = &committed.trouble {
                    tracing::warn!("the store could not be cleaned: {trouble}");
                }
                let before = self.evicted;
                self.evicted += committed.evicted.len() as u64;
                // The voids tell each one; the log tells the first and each doubling.
                if self.evicted.checked_ilog2() != before.checked_ilog2() {
                    let units = self.evicted;
                    tracing::warn!(units, "the store is full: gave up what is worth least");
                }
                if self.schedule.committed() {
                    tracing::info!("the store writes again");
                }
                if !committed.stored.is_empty() || !committed.evicted.is_empty() {
                    self.changes.send(&change(committed));
                }
            }
            Ok(Err(error)) => {
                if let Some(news) = self.schedule.failed(error, now_ns) {
                    tracing::error!("{news}");
                    self.news = Some(news.to_string());
                }
            }
            Err(panic) => {
                // A panic inside a commit leaves a store that nothing is known about.
                std::panic::resume_unwind(panic.into_panic());
            }
        }
    }

    /// Writes everything that is left, for as long as a clean stop may take; whether all of it
    /// is stored.
    pub async fn finish(&mut self, pipeline: &mut Pipeline, now_ns: u64) -> bool {
        for _ in 0..10 {
            self.schedule.insist(now_ns);
            if let Err(error) = self.keep(pipeline, now_ns).await {
                tracing::error!("{error:#}");
            }
            if pipeline.is_idle() && !self.is_troubled() {
                return true;
            }
            tokio::time::sleep(Duration::from_nanos(RETRY_NS)).await;
        }
        tracing::error!("stopping with units that could not be stored");
        false
    }
}
