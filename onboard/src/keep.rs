//! What is made goes into the store, and when the store commits.
//!
//! ```text
//! pipeline ─► outcomes ─► put ─► pending ─► commit ─► what a link must know
//! ```
//!
//! The commit itself is the caller's, since it may wait for a disk.

use codecs::ids::SpacecraftId;

use crate::{
    pipeline::{Account, Bunch, Outcome, Pipeline},
    store::{Committed, Medium, Schedule, Store, StoreError},
};

/// Bytes pending in the store that are not left to wait for company.
const COMMIT_BYTES: u64 = 256 << 10;
/// Outcomes that may wait for a store that can't write before the source waits too.
const OUTCOMES_MAX: usize = 64;

/// What became of outcomes on their way into the store.
#[derive(Clone, Copy, Debug, Default)]
struct Bunches {
    /// Brought in by commits.
    stored: Bunch,
    /// In the store's memory until a commit.
    pending: Bunch,
    /// Fits no commit.
    lost: Bunch,
}

/// Brings an outcome into the store; not where the store must commit first.
fn put<M: Medium>(
    store: &mut Store<M>,
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

/// When the store commits, and what came of it.
#[derive(Debug)]
pub struct Keep {
    /// When the next commit is due.
    pub schedule: Schedule,
    stuck: bool,
    bunches: Bunches,
    news: Option<String>,
    /// Units given up since the start.
    pub evicted: u64,
    /// Commits that succeeded.
    pub commits: u64,
}

impl Keep {
    /// For an open store; the first commit is due at once.
    pub fn new(commit_ns: u64) -> Self {
        let schedule = Schedule::new(commit_ns, COMMIT_BYTES);
        let bunches = Bunches::default();
        Self { schedule, stuck: false, bunches, news: None, evicted: 0, commits: 0 }
    }

    /// Whether the source must wait.
    pub fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// Whether everything that was made is durable.
    pub fn is_settled(&self, pipeline: &Pipeline) -> bool {
        pipeline.is_idle() && self.schedule.timeout().is_none() && !self.is_troubled()
    }

    /// Whether the store could not write at its last try.
    pub fn is_troubled(&self) -> bool {
        self.schedule.trouble().is_some()
    }

    /// Why the store can't write, once for each reason.
    pub fn take_news(&mut self) -> Option<String> {
        self.news.take()
    }

    /// Where every packet is, were this the end.
    pub fn account(&self, pipeline: &Pipeline) -> Account {
        let Bunches { stored, pending: mut unstored, lost } = self.bunches;
        unstored.join(pipeline.bunch());
        Account::of(pipeline, stored, unstored, lost)
    }

    /// Moves outcomes into the store; whether it is to commit now, and then this is to be called
    /// again with what is left.
    pub fn turn<M: Medium>(
        &mut self,
        store: &mut Store<M>,
        pipeline: &mut Pipeline,
        now_ns: u64,
    ) -> bool {
        let wants = !self.schedule.rests(now_ns)
            && (!self.accept(store, pipeline, now_ns) || self.schedule.is_due(now_ns));
        self.stuck = self.is_troubled() && pipeline.waiting() > OUTCOMES_MAX;
        wants
    }

    /// Takes outcomes until none is left, or the store must commit first (`false`).
    fn accept<M: Medium>(
        &mut self,
        store: &mut Store<M>,
        pipeline: &mut Pipeline,
        now_ns: u64,
    ) -> bool {
        if pipeline.is_idle() {
            return true;
        }
        while let Some(outcome) = pipeline.poll() {
            if !put(store, &outcome, pipeline.spacecraft(), &mut self.bunches) {
                pipeline.unpoll(outcome);
                return false;
            }
        }
        self.schedule.pending(store.pending_bytes(), now_ns);
        true
    }

    /// Takes what a commit came to; what of it a link must know.
    pub fn committed(
        &mut self,
        outcome: Result<Committed, StoreError>,
        now_ns: u64,
    ) -> Option<Committed> {
        let committed = match outcome {
            Ok(committed) => committed,
            Err(error) => {
                if let Some(news) = self.schedule.failed(error, now_ns) {
                    tracing::error!("{news}");
                    self.news = Some(news.to_string());
                }
                return None;
            }
        };
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
        let news = !committed.stored.is_empty() || !committed.evicted.is_empty();
        news.then_some(committed)
    }
}
