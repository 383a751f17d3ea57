//! The store's keeper: outcomes in, commits, and what the bearers must know of them.

use std::{sync::Arc, time::Duration};

use codecs::{ids::SpacecraftId, time::Tai};
use tokio::sync::Mutex;

use super::{
    bearers::Changes,
    held::{Held, change},
};
use crate::{
    pipeline::{Outcome, Pipeline},
    store::{Committed, Disk, Store, StoreError, Stored},
};

/// The store as the tasks share it.
pub type SharedStore = Arc<Mutex<Held>>;

/// Bytes pending in the store that are not left to wait for company.
const COMMIT_BYTES: u64 = 256 << 10;
/// How long a store that could not write is left alone.
const RETRY_NS: u64 = 200_000_000;
/// Outcomes that may wait for a store that can't write before the source waits too.
const OUTCOMES_MAX: usize = 64;

/// Brings an outcome into the store; not where the store must commit first.
fn put(store: &mut Store<Disk>, outcome: &Outcome, spacecraft: SpacecraftId) -> bool {
    match outcome {
        Outcome::Keep(unit) => match store.append(unit.clone()) {
            Ok(_) => {}
            Err(StoreError::Pending(_)) => return false,
            Err(error) => tracing::error!("a unit was not stored: {error}"),
        },
        Outcome::LeaveOut { channel, bytes, captured } => {
            store.drop_next(spacecraft, *channel, *bytes, *captured);
        }
        Outcome::Together { made, slot, note } => {
            let lengths = made.iter().filter_map(|outcome| match outcome {
                Outcome::Keep(unit) => Some(unit.bytes.len()),
                _ => None,
            });
            if !store.fits(lengths) {
                return false;
            }
            // What fits an empty commit whole is bounded where it is made.
            let put = made.iter().all(|outcome| put(store, outcome, spacecraft));
            if !put || !store.note(*slot, note.clone()) {
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
    commit_ns: u64,
    due_ns: Option<u64>,
    /// Since when the store can't write, and what it said.
    trouble: Option<StoreError>,
    stuck: bool,
    /// Units given up since the start.
    pub evicted: u64,
    /// Commits that succeeded.
    pub commits: u64,
}

impl Keeper {
    /// A keeper of an open store; the first commit is due at once.
    pub fn new(store: SharedStore, changes: Changes, commit_ns: u64) -> Self {
        // Voids of what the last boot found lost wait for the first commit.
        Self {
            store,
            changes,
            commit_ns,
            due_ns: Some(0),
            trouble: None,
            stuck: false,
            evicted: 0,
            commits: 0,
        }
    }

    /// When a commit is due.
    pub fn timeout(&self) -> Option<u64> {
        self.due_ns
    }

    /// Whether the source must wait.
    pub fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// Whether everything that was made is durable.
    pub fn is_settled(&self, pipeline: &Pipeline) -> bool {
        pipeline.is_idle() && self.due_ns.is_none() && self.trouble.is_none()
    }

    /// Whether the store could not write at its last try.
    pub fn is_troubled(&self) -> bool {
        self.trouble.is_some()
    }

    /// Whether the medium fails: what a new start may mend, as a full disk is not.
    pub fn is_failing(&self) -> bool {
        matches!(self.trouble, Some(StoreError::Medium(_)))
    }

    /// Someone waits for the next commit.
    pub fn hurry(&mut self, now_ns: u64) {
        // A store in trouble is tried again at its own time.
        if self.trouble.is_none() {
            self.due_ns = Some(self.due_ns.map_or(now_ns, |due| due.min(now_ns)));
        }
    }

    /// Offers units to the link that the store held back.
    pub fn offer(&mut self, stored: Vec<Stored>) {
        if !stored.is_empty() {
            self.changes.send(&change(Committed { stored, ..Committed::default() }));
        }
    }

    /// Something waits for a commit, and for company.
    pub fn dirty(&mut self, now_ns: u64) {
        self.due_ns = self.due_ns.or(Some(now_ns.saturating_add(self.commit_ns)));
    }

    /// Moves outcomes into the store and commits when it is time.
    pub async fn keep(&mut self, pipeline: &mut Pipeline, now_ns: u64) -> anyhow::Result<()> {
        let waiting = self.trouble.is_some() && self.due_ns.is_some_and(|due| due > now_ns);
        if !waiting {
            while !pipeline.is_idle() {
                if self.accept(pipeline, now_ns).await? {
                    continue;
                }
                self.commit(pipeline.time(now_ns), now_ns).await;
                if self.trouble.is_some() {
                    break;
                }
            }
            if self.due_ns.is_some_and(|due| due <= now_ns) {
                self.commit(pipeline.time(now_ns), now_ns).await;
            }
        }
        self.stuck = self.trouble.is_some() && pipeline.waiting() > OUTCOMES_MAX;
        Ok(())
    }

    /// Takes outcomes until none is left, or the store must commit first (`false`).
    async fn accept(&mut self, pipeline: &mut Pipeline, now_ns: u64) -> anyhow::Result<bool> {
        let mut store = self.store.lock().await;
        while let Some(outcome) = pipeline.poll() {
            if !put(&mut store.store, &outcome, pipeline.spacecraft()) {
                pipeline.unpoll(outcome);
                return Ok(false);
            }
        }
        let due = match store.store.pending_bytes() {
            bytes if bytes >= COMMIT_BYTES => now_ns,
            _ => now_ns.saturating_add(self.commit_ns),
        };
        self.due_ns = Some(self.due_ns.map_or(due, |before| before.min(due)));
        Ok(true)
    }

    async fn commit(&mut self, time: Tai, now_ns: u64) {
        let mut store = self.store.clone().lock_owned().await;
        let committed = tokio::task::spawn_blocking(move || store.store.commit(time)).await;
        match committed {
            Ok(Ok(committed)) => {
                self.commits += 1;
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
                if self.trouble.take().is_some() {
                    tracing::info!("the store writes again");
                }
                self.due_ns = None;
                if !committed.stored.is_empty() || !committed.evicted.is_empty() {
                    self.changes.send(&change(committed));
                }
            }
            Ok(Err(error)) => {
                if self.trouble.as_ref() != Some(&error) {
                    tracing::error!("{error}");
                    self.trouble = Some(error);
                }
                self.due_ns = Some(now_ns.saturating_add(RETRY_NS));
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
            self.due_ns = Some(now_ns);
            self.trouble = None;
            if let Err(error) = self.keep(pipeline, now_ns).await {
                tracing::error!("{error:#}");
            }
            if pipeline.is_idle() && self.trouble.is_none() {
                return true;
            }
            tokio::time::sleep(Duration::from_nanos(RETRY_NS)).await;
        }
        tracing::error!("stopping with units that could not be stored");
        false
    }
}
