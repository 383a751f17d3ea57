//! The thread that owns the archive: the only writer of the disk.

use super::{clock::StationClock, disk::Folder};
use crate::{
    archive::Incoming,
    publish::Feed,
    receipt::{Fates, Ingest, SessionId},
    shell::pipeline::PipelineSender,
    upload::Stored,
};
use codecs::{
    ids::{KeyPrefix, Origin, RangeSet, SeqRange},
    link::custody::KeyRanges,
};
use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{Instant, timeout_at},
};

/// Units on their way to the batch; a session that finds no place waits.
const QUEUE_UNITS: usize = 1_024;
/// Bytes of those, over all sessions.
const QUEUE_BYTES: usize = 64 << 20;
/// Bytes are counted in steps of this, since a semaphore counts to 2^29.
const STEP_BYTES: usize = 1 << 10;

/// A unit that was admitted.
struct Delivery {
    session: SessionId,
    unit: Incoming,
    _room: OwnedSemaphorePermit,
}

enum Job {
    Unit(Box<Delivery>),
    Join(SessionId, mpsc::UnboundedSender<Fates>),
    Leave(SessionId),
    Durable(Origin, oneshot::Sender<Durable>),
    Stored(Stored),
    Lose(Vec<(KeyPrefix, Vec<SeqRange>)>, oneshot::Sender<io::Result<()>>),
}

/// What of an origin is safe, by class.
#[derive(Debug)]
pub struct Durable {
    /// Synced here.
    pub held: Vec<KeyRanges>,
    /// Verified in the object store.
    pub stored: BTreeMap<KeyPrefix, RangeSet>,
}

/// The way to the writer; clones share one queue.
#[derive(Clone, Debug)]
pub struct Writer {
    jobs: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
}

/// The writer is gone: the daemon stops.
#[derive(Debug, thiserror::Error)]
#[error("the archive is closed")]
pub struct Closed;

impl Writer {
    /// Starts the thread; it ends, and seals the archive, when the last handle is dropped.
    pub fn start(
        ingest: Ingest<Folder>,
        clock: StationClock,
        commit: Duration,
        feed: Feed,
        pipeline: PipelineSender,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let (jobs, queue) = mpsc::channel(QUEUE_UNITS);
        let mut state = State { ingest, clock, commit, feed, pipeline, sessions: BTreeMap::new() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let thread = thread::Builder::new()
            .name("archive".into())
            .spawn(move || runtime.block_on(state.run(queue)))?;
        let room = Arc::new(Semaphore::new(QUEUE_BYTES / STEP_BYTES));
        Ok((Self { jobs, room }, thread))
    }

    /// Hands over a unit, waiting for room: back-pressure reaches the peer through its stream.
    pub async fn deliver(&self, session: SessionId, unit: Incoming) -> Result<(), Closed> {
        let steps = unit.bytes.len() / STEP_BYTES + 1;
        let room = Arc::clone(&self.room).acquire_many_owned(steps as u32).await;
        let delivery = Delivery { session, unit, _room: room.map_err(|_| Closed)? };
        self.send(Job::Unit(Box::new(delivery))).await
    }

    /// Tells where the fates of a session's units go.
    ///
    /// The channel has no bound of its own: it gets at most one message a commit, and the session
    /// merges them as they come.
    pub async fn join(
        &self,
        session: SessionId,
        fates: mpsc::UnboundedSender<Fates>,
    ) -> Result<(), Closed> {
        self.send(Job::Join(session, fates)).await
    }

    /// Forgets a session. Its units stay.
    pub async fn leave(&self, session: SessionId) -> Result<(), Closed> {
        self.send(Job::Leave(session)).await
    }

    /// What of an origin is durable, in order with everything handed over before.
    pub async fn durable(&self, origin: Origin) -> Result<Durable, Closed> {
        let (answer, durable) = oneshot::channel();
        self.send(Job::Durable(origin, answer)).await?;
        durable.await.map_err(|_| Closed)
    }

    /// Tells that a segment is verified in the object store.
    pub async fn stored(&self, stored: Stored) -> Result<(), Closed> {
        self.send(Job::Stored(stored)).await
    }

    /// Records durably what is lost; only then may it be asked for.
    pub async fn lose(
        &self,
        lost: Vec<(KeyPrefix, Vec<SeqRange>)>,
    ) -> Result<io::Result<()>, Closed> {
        let (answer, done) = oneshot::channel();
        self.send(Job::Lose(lost, answer)).await?;
        done.await.map_err(|_| Closed)
    }

    /// Returns when the thread is gone, which only a defect does while handles remain.
    pub async fn gone(&self) {
        self.jobs.closed().await;
    }

    async fn send(&self, job: Job) -> Result<(), Closed> {
        self.jobs.send(job).await.map_err(|_| Closed)
    }
}

struct State {
    ingest: Ingest<Folder>,
    clock: StationClock,
    commit: Duration,
    feed: Feed,
    pipeline: PipelineSender,
    sessions: BTreeMap<SessionId, mpsc::UnboundedSender<Fates>>,
}

impl State {
    async fn run(&mut self, mut queue: mpsc::Receiver<Job>) {
        // When the oldest unit of the batch must be committed.
        let mut due: Option<Instant> = None;
        loop {
            let wake = [due, self.keep_at()].into_iter().flatten().min();
            let next = match wake {
                Some(wake) => timeout_at(wake, queue.recv()).await,
                None => Ok(queue.recv().await),
            };
            match next {
                Ok(Some(job)) => self.job(job),
                Ok(None) => break,
                Err(_) => {}
            }
            let late = due.is_some_and(|due| due <= Instant::now());
            if late || self.ingest.is_ripe() {
                self.settle();
                due = None;
            } else if due.is_none() && !self.ingest.is_idle() {
                due = Some(Instant::now() + self.commit);
            }
            self.ingest.keep(self.clock.now());
        }
        self.settle();
        self.ingest.close(self.clock.now());
    }

    /// When a segment is due to be sealed or let go.
    fn keep_at(&self) -> Option<Instant> {
        let due_ms = self.ingest.keep_due_ms()?;
        let wait_ms = due_ms.saturating_sub(self.clock.now().mono_ms);
        Some(Instant::now() + Duration::from_millis(wait_ms))
    }

    fn job(&mut self, job: Job) {
        match job {
            Job::Unit(delivery) => {
                self.ingest.take(delivery.session, &delivery.unit, self.clock.now());
            }
            Job::Join(session, fates) => {
                self.sessions.insert(session, fates);
            }
            Job::Leave(session) => {
                self.sessions.remove(&session);
            }
            Job::Durable(origin, answer) => {
                // Who asked may be gone.
                let held = self.ingest.durable(origin);
                let _ = answer.send(Durable { held, stored: self.ingest.stored_of(origin) });
            }
            Job::Lose(lost, answer) => {
                let _ = answer.send(self.ingest.lose(&lost, self.clock.now()));
            }
            Job::Stored(stored) => {
                let fates = self.ingest.stored(stored);
                for told in self.sessions.values() {
                    let _ = told.send(fates.clone());
                }
            }
        }
    }

    fn settle(&mut self) {
        let committed = self.ingest.commit(self.clock.now());
        for (session, fates) in committed.fates {
            if let Some(told) = self.sessions.get(&session) {
                let _ = told.send(fates);
            }
        }
        self.feed.publish_all(committed.tally.events());
        self.pipeline.send(committed.archived, self.ingest.archive().end());
    }
}
