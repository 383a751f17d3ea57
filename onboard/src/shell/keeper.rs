//! The store's keeper: commits off the thread of the sockets, and what the bearers must know of
//! them.

use std::{sync::Arc, time::Duration};

use codecs::time::Tai;
use tokio::sync::Mutex;

use super::{
    bearers::Changes,
    held::{Held, change},
};
use crate::{
    keep::Keep,
    pipeline::{Account, Pipeline},
    store::{Committed, Disk, RETRY_NS, StoreError, Stored},
};

/// The store as the tasks share it.
pub type SharedStore = Arc<Mutex<Held<Disk>>>;

/// Brings outcomes into the store and commits them together, off the thread of the sockets.
pub struct Keeper {
    store: SharedStore,
    /// What the bearers must know.
    pub changes: Changes,
    keep: Keep,
}

impl Keeper {
    /// A keeper of an open store; the first commit is due at once.
    pub fn new(store: SharedStore, changes: Changes, commit_ns: u64) -> Self {
        Self { store, changes, keep: Keep::new(commit_ns) }
    }

    /// When a commit is due.
    pub fn timeout(&self) -> Option<u64> {
        self.keep.schedule.timeout()
    }

    /// Commits that succeeded.
    pub fn commits(&self) -> u64 {
        self.keep.commits
    }

    /// Units given up since the start.
    pub fn evicted(&self) -> u64 {
        self.keep.evicted
    }

    /// Whether the source must wait.
    pub fn is_stuck(&self) -> bool {
        self.keep.is_stuck()
    }

    /// Whether everything that was made is durable.
    pub fn is_settled(&self, pipeline: &Pipeline) -> bool {
        self.keep.is_settled(pipeline)
    }

    /// Whether the store could not write at its last try.
    pub fn is_troubled(&self) -> bool {
        self.keep.is_troubled()
    }

    /// Whether the medium fails: what a new start may mend, as a full disk is not.
    pub fn is_failing(&self) -> bool {
        matches!(self.keep.schedule.trouble(), Some(StoreError::Medium(_)))
    }

    /// Why the store can't write, once for each reason.
    pub fn take_news(&mut self) -> Option<String> {
        self.keep.take_news()
    }

    /// Where every packet is at the end, and what keeps the store from writing.
    pub fn account(&self, pipeline: &Pipeline) -> (Account, Option<String>) {
        let trouble = self.keep.schedule.trouble().map(StoreError::to_string);
        (self.keep.account(pipeline), trouble)
    }

    /// Someone waits for the next commit.
    pub fn hurry(&mut self, now_ns: u64) {
        self.keep.schedule.hurry(now_ns);
    }

    /// Offers units to the link that the store held back.
    pub fn offer(&mut self, stored: Vec<Stored>) {
        if !stored.is_empty() {
            self.changes.send(&change(Committed { stored, ..Committed::default() }));
        }
    }

    /// Something waits for a commit, and for company.
    pub fn dirty(&mut self, now_ns: u64) {
        self.keep.schedule.dirty(now_ns);
    }

    /// Moves outcomes into the store and commits when it is time.
    pub async fn keep(&mut self, pipeline: &mut Pipeline, now_ns: u64) -> anyhow::Result<()> {
        loop {
            let wants = {
                let mut store = self.store.lock().await;
                self.keep.turn(&mut store.store, pipeline, now_ns)
            };
            if !wants {
                return Ok(());
            }
            self.commit(pipeline.time(now_ns), now_ns).await;
        }
    }

    async fn commit(&mut self, time: Tai, now_ns: u64) {
        let mut store = self.store.clone().lock_owned().await;
        let committed = tokio::task::spawn_blocking(move || store.store.commit(time)).await;
        match committed {
            Ok(outcome) => {
                if let Some(committed) = self.keep.committed(outcome, now_ns) {
                    self.changes.send(&change(committed));
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
            self.keep.schedule.insist(now_ns);
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
