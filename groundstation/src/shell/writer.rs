//! The way into the archive, and the thread that owns its volume: the only writer of the disk.
//!
//! Objects are read and copied into blocks on the network's side, under a lock that no one holds
//! while a disk is waited for; this thread writes blocks as they fill and syncs them together.

use super::{clock::StationClock, pipeline::PipelineSender, watch::trouble};
use crate::{
    archive::{
        Incoming, batch::Batch, intake::Progress, record::Digest, storage::Storage, volume::Volume,
    },
    keep::Keeper,
    ledger::{Ledger, Standing},
    publish::{Event, Feed},
    receipt::{Commit, Fates, Ingest, Next, SessionId, next},
    upload::Stored,
};
use codecs::{
    ids::{Codec, KeyPrefix, Origin, RangeSet, SeqRange, UnitKey},
    link::{
        custody::KeyRanges,
        object::{ObjectError, ObjectReader},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    pin::pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// The writer is gone: the daemon stops.
#[derive(Debug, thiserror::Error)]
#[error("the archive is closed")]
pub struct Closed;

/// What sessions and the thread share.
struct Shared {
    state: Mutex<State>,
    /// For the thread: something is ripe, or came first.
    work: Condvar,
    /// For those who found no room: a block came back, or a commit is over.
    room: Notify,
    /// Whoever waits for room waits in line here, so that none is overtaken for ever.
    line: tokio::sync::Mutex<()>,
    in_line: AtomicUsize,
    sessions: Mutex<BTreeMap<SessionId, mpsc::UnboundedSender<Fates>>>,
    /// The thread came round to its next step.
    round: Notify,
    clock: StationClock,
}

struct State {
    ingest: Ingest,
    /// The thread waits for work.
    asleep: bool,
    /// Someone waits for the thread to come round.
    asked: bool,
    /// Losses to be kept, and who waits for it.
    lost: Vec<(Lost, oneshot::Sender<io::Result<()>>)>,
    /// Segments that the object store verified, for the keeper.
    stored: Vec<u64>,
    /// Units to be held against what is held under their keys, and who asks.
    compared: Vec<((UnitKey, Digest), oneshot::Sender<bool>)>,
    /// The last handle is gone, or the thread is.
    closed: bool,
}

/// Units by counter.
type Lost = Vec<(KeyPrefix, Vec<SeqRange>)>;

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<SessionId, mpsc::UnboundedSender<Fates>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.state().closed = true;
        self.work.notify_one();
        self.room.notify_waiters();
        self.round.notify_waiters();
    }

    /// Leaves something for the thread, and wakes it.
    fn ask(&self, act: impl FnOnce(&mut State)) -> Result<(), Closed> {
        let mut state = self.state();
        if state.closed {
            return Err(Closed);
        }
        act(&mut state);
        if std::mem::take(&mut state.asleep) {
            self.work.notify_one();
        }
        Ok(())
    }

    /// Does something with the intake, and wakes the thread if it has to know.
    fn with<T>(&self, act: impl FnOnce(&mut Ingest) -> T) -> Result<T, Closed> {
        let mut state = self.state();
        if state.closed {
            return Err(Closed);
        }
        let idle = state.ingest.oldest_ms().is_none();
        let done = act(&mut state.ingest);
        let ripe = state.ingest.intake().is_ripe();
        if state.asleep && (ripe || (idle && state.ingest.oldest_ms().is_some())) {
            state.asleep = false;
            self.work.notify_one();
        }
        Ok(done)
    }
}

/// The way to the archive; clones share it.
#[derive(Clone)]
pub struct Writer {
    way: Way,
    gone: watch::Receiver<()>,
    /// Where no thread has it.
    _alive: Option<Arc<watch::Sender<()>>>,
}

#[derive(Clone)]
enum Way {
    Archive(Arc<Handle>),
    Sink(Arc<Mutex<dyn Sink>>),
}

/// Takes whole units where there is no archive, and acknowledges none of them: a station without
/// custody, which shows what custody costs.
pub trait Sink: Send {
    /// Takes what the reader holds of whole units.
    fn take(&mut self, codec: Codec, reader: &mut ObjectReader) -> Result<(), ObjectError>;
}

/// Closes the archive when it is dropped.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Writer {
    /// Starts the thread; it ends, and seals the archive, when the last handle is dropped.
    pub fn start<S>(
        mut ingest: Ingest,
        volume: Volume<S>,
        clock: StationClock,
        commit: Duration,
        feed: Feed,
        pipeline: PipelineSender,
    ) -> io::Result<(Self, JoinHandle<()>)>
    where
        S: Storage<File: Send> + Send + 'static,
    {
        let keeper = ingest.take_keeper();
        let (lost, stored, compared) = Default::default();
        let (asleep, asked, closed) = (false, false, false);
        let state = State { ingest, asleep, asked, lost, stored, compared, closed };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            work: Condvar::new(),
            room: Notify::new(),
            line: tokio::sync::Mutex::new(()),
            in_line: AtomicUsize::new(0),
            sessions: Mutex::new(BTreeMap::new()),
            round: Notify::new(),
            clock,
        });
        let weak = Arc::downgrade(&shared);
        shared.state().ingest.intake().blocks().tell(move || {
            if let Some(shared) = weak.upgrade() {
                shared.room.notify_waiters();
            }
        });
        let (alive, gone) = watch::channel(());
        let commit_ms = commit.as_millis() as u64;
        let thread = Thread {
            shared: Arc::clone(&shared),
            volume,
            keeper,
            commit_ms,
            feed,
            pipeline,
            troubled: false,
            _alive: alive,
        };
        let thread = thread::Builder::new().name("archive".into()).spawn(move || thread.run())?;
        let way = Way::Archive(Arc::new(Handle(shared)));
        Ok((Self { way, gone, _alive: None }, thread))
    }

    /// A way to no archive.
    pub fn without_archive(sink: impl Sink + 'static) -> Self {
        let (alive, gone) = watch::channel(());
        let way = Way::Sink(Arc::new(Mutex::new(sink)));
        Self { way, gone, _alive: Some(Arc::new(alive)) }
    }

    fn shared(&self) -> Result<&Shared, Closed> {
        match &self.way {
            Way::Archive(handle) => Ok(&handle.0),
            Way::Sink(_) => Err(Closed),
        }
    }

    /// Takes the whole units that the reader of an admitted object holds, waiting for room:
    /// back-pressure reaches the peer through its stream.
    pub async fn take(
        &self,
        session: SessionId,
        prefix: KeyPrefix,
        codec: Codec,
        reader: &mut ObjectReader,
    ) -> Result<Result<(), ObjectError>, Closed> {
        if let Way::Sink(sink) = &self.way {
            let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
            return Ok(sink.take(codec, reader));
        }
        self.with_room(|ingest, clock| {
            match ingest.take_object(session, prefix, codec, reader, clock.now()) {
                Ok(Progress::NoRoom) => None,
                Ok(Progress::Drained) => Some(Ok(())),
                Err(error) => Some(Err(error)),
            }
        })
        .await
    }

    /// Hands over one unit, waiting for room as well.
    pub async fn deliver(&self, session: SessionId, unit: Incoming) -> Result<(), Closed> {
        self.with_room(|ingest, clock| {
            (ingest.take(session, &unit, clock.now()) == Progress::Drained).then_some(())
        })
        .await
    }

    /// Whether a unit is synced here, or let go on purpose after it was.
    pub async fn holds(&self, key: &UnitKey) -> Result<bool, Closed> {
        let standing = self.shared()?.with(|ingest| ingest.ledger().standing(key))?;
        Ok(standing == Standing::Held)
    }

    /// Whether a unit that is held has other bytes than these; not where that can't be told.
    pub async fn differs(&self, key: UnitKey, digest: Digest) -> Result<bool, Closed> {
        let (answer, done) = oneshot::channel();
        self.shared()?.ask(|state| state.compared.push(((key, digest), answer)))?;
        done.await.map_err(|_| Closed)
    }

    /// Repeats `act` whenever there may be room, until it gives something.
    async fn with_room<T>(
        &self,
        mut act: impl FnMut(&mut Ingest, &StationClock) -> Option<T>,
    ) -> Result<T, Closed> {
        let shared = self.shared()?;
        let clock = &shared.clock;
        if shared.in_line.load(Ordering::Relaxed) == 0
            && let Some(done) = shared.with(|ingest| act(ingest, clock))?
        {
            return Ok(done);
        }
        let _place = Place::new(&shared.in_line);
        let _turn = shared.line.lock().await;
        loop {
            // Listening begins before the look, so that no notice is missed between the two.
            let mut room = pin!(shared.room.notified());
            room.as_mut().enable();
            if let Some(done) = shared.with(|ingest| act(ingest, clock))? {
                return Ok(done);
            }
            room.await;
        }
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
        if let Ok(shared) = self.shared() {
            shared.sessions().insert(session, fates);
        }
        Ok(())
    }

    /// Forgets a session. Its units stay.
    pub async fn leave(&self, session: SessionId) -> Result<(), Closed> {
        if let Ok(shared) = self.shared() {
            shared.sessions().remove(&session);
        }
        Ok(())
    }

    /// What of an origin is durable.
    pub async fn durable(&self, origin: Origin) -> Result<Vec<KeyRanges>, Closed> {
        match self.shared() {
            Ok(shared) => shared.with(|ingest| ingest.durable(origin)),
            Err(Closed) => Ok(Vec::new()),
        }
    }

    /// What of an origin is verified in the object store.
    pub async fn stored_of(&self, origin: Origin) -> Result<BTreeMap<KeyPrefix, RangeSet>, Closed> {
        match self.shared() {
            Ok(shared) => shared.with(|ingest| ingest.stored_of(origin)),
            Err(Closed) => Ok(BTreeMap::new()),
        }
    }

    /// What of an origin is lost and may be asked for: it is on record as such.
    pub async fn lost_of(&self, origin: Origin) -> Result<BTreeMap<KeyPrefix, RangeSet>, Closed> {
        match self.shared() {
            Ok(shared) => shared.with(|ingest| ingest.lost_of(origin)),
            Err(Closed) => Ok(BTreeMap::new()),
        }
    }

    /// Tells that the object store verified units, and with them perhaps a whole segment.
    pub fn stored(&self, stored: Stored) -> Result<(), Closed> {
        let shared = self.shared()?;
        let fates = shared.with(|ingest| ingest.stored(stored.ranges))?;
        shared.sessions().values().for_each(|told| {
            let _ = told.send(fates.clone());
        });
        shared.ask(|state| state.stored.extend(stored.segment))
    }

    /// Records durably what is lost; only then may it be asked for.
    pub async fn lose(&self, lost: Lost) -> Result<io::Result<()>, Closed> {
        let (answer, done) = oneshot::channel();
        self.shared()?.ask(|state| state.lost.push((lost, answer)))?;
        done.await.map_err(|_| Closed)
    }

    /// Returns when the thread has come round to its next step: it does not hang, and no disk
    /// holds it.
    pub async fn round(&self) -> Result<(), Closed> {
        let Ok(shared) = self.shared() else { return Ok(()) };
        let mut round = pin!(shared.round.notified());
        round.as_mut().enable();
        {
            let mut state = shared.state();
            if state.closed {
                return Err(Closed);
            }
            state.asked = true;
            if std::mem::take(&mut state.asleep) {
                shared.work.notify_one();
            }
        }
        round.await;
        Ok(())
    }

    /// Returns when the thread is gone, which only a defect does while handles remain.
    pub async fn gone(&self) {
        let mut gone = self.gone.clone();
        // Nothing is ever sent: an error is all that comes.
        while gone.changed().await.is_ok() {}
    }
}

/// A place in the line of those who wait.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn new(in_line: &'a AtomicUsize) -> Self {
        in_line.fetch_add(1, Ordering::Relaxed);
        Self(in_line)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Thread<S: Storage> {
    shared: Arc<Shared>,
    volume: Volume<S>,
    keeper: Keeper,
    commit_ms: u64,
    feed: Feed,
    pipeline: PipelineSender,
    /// The last commit failed, and the disk was told of.
    troubled: bool,
    /// Dropped with the thread, however it ends.
    _alive: watch::Sender<()>,
}

impl<S: Storage> Drop for Thread<S> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

enum Step {
    Write(Batch),
    /// What is written is enough.
    Sync,
    /// The oldest has waited long enough.
    Commit,
    Compare,
    Keep,
    End,
}

impl<S: Storage> Thread<S> {
    fn run(mut self) {
        loop {
            match self.next() {
                Step::Write(batch) => self.write(batch),
                Step::Sync => self.sync(false),
                Step::Commit => self.commit(),
                Step::Compare => self.compare(),
                Step::Keep => self.keep(),
                Step::End => break,
            }
        }
        self.commit();
        self.volume.seal(self.shared.clock.tai());
    }

    /// Waits for what is to be done next.
    fn next(&self) -> Step {
        let mut state = self.shared.state();
        loop {
            if std::mem::take(&mut state.asked) {
                self.shared.round.notify_waiters();
            }
            let now = self.shared.clock.now().mono_ms;
            let due = match next(&mut state.ingest, &self.volume, self.commit_ms, now) {
                Next::Commit => return Step::Commit,
                Next::Sync => return Step::Sync,
                Next::Write(batch) => return Step::Write(batch),
                Next::Rest { due_ms } => due_ms,
            };
            if state.closed {
                return Step::End;
            }
            if !state.compared.is_empty() {
                return Step::Compare;
            }
            let keep = self.keeper.due_ms(&self.volume);
            if !state.lost.is_empty()
                || !state.stored.is_empty()
                || keep.is_some_and(|due| due <= now)
            {
                return Step::Keep;
            }
            let due = due.into_iter().chain(keep).min();
            state.asleep = true;
            let work = &self.shared.work;
            state = match due {
                Some(due) => {
                    let wait = Duration::from_millis(due - now);
                    let woken = work.wait_timeout(state, wait);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => work.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.asleep = false;
        }
    }

    fn write(&mut self, batch: Batch) {
        if self.volume.is_full_for(&batch) && !self.volume.is_synced() {
            self.sync(false);
        }
        let shared = &self.shared;
        self.volume.write(batch, shared.clock.now(), || settled(shared));
    }

    fn commit(&mut self) {
        // What fills meanwhile is the next commit's.
        let mut waiting = self.shared.state().ingest.intake().waiting();
        while waiting > 0 {
            let Some(batch) = self.shared.state().ingest.intake().next_batch() else { break };
            self.write(batch);
            waiting -= 1;
        }
        self.sync(true);
    }

    fn compare(&mut self) {
        let compared = std::mem::take(&mut self.shared.state().compared);
        for ((key, digest), answer) in compared {
            let differs = self.volume.differs(&key, digest).unwrap_or_else(|error| {
                tracing::error!(%error, ?key, "a unit can't be compared with the one that is held");
                false
            });
            let _ = answer.send(differs);
        }
    }

    /// Segments are sealed and let go, and losses kept, between two commits.
    fn keep(&mut self) {
        if !self.volume.is_synced() {
            self.sync(false);
        }
        let Self { shared, volume, keeper, .. } = self;
        let (lost, stored) = {
            let mut state = shared.state();
            (std::mem::take(&mut state.lost), std::mem::take(&mut state.stored))
        };
        let now = shared.clock.now();
        for (lost, answer) in lost {
            let news = shared.state().ingest.lose(&lost);
            let kept = if news { volume.keep_ledger(settled(shared), now) } else { Ok(()) };
            // Who asked may be gone.
            let _ = answer.send(kept);
        }
        stored.into_iter().for_each(|segment| keeper.stored(segment));
        let lose = |prefix, range| {
            shared.state().ingest.lose(&[(prefix, vec![range])]);
        };
        let kept = keeper.turn(volume, lose, now);
        self.feed.publish_all(kept.events());
    }

    /// Syncs what was written and tells everyone; with `claims`, what is held as well is judged.
    fn sync(&mut self, claims: bool) {
        let Self { shared, volume, troubled, .. } = self;
        let now = shared.clock.now();
        let claims = if claims { shared.state().ingest.intake().claims() } else { <_>::default() };
        let commit = volume.commit(now, || settled(shared));
        let synced = shared.clock.tai();
        let trouble = commit.as_ref().err().map(|(error, _)| trouble(error));
        let wrote = commit.as_ref().is_ok_and(|batches| !batches.is_empty());
        if trouble.is_some() || (wrote && *troubled) {
            *troubled = trouble.is_some();
            self.feed.publish(Event::DiskWrote { trouble, at: now.tai });
        }
        let judged = claims.iter().map(|(claim, bytes)| volume.judge(claim, bytes)).collect();
        let committed = shared.state().ingest.settle(&commit, &claims, judged, now);
        let mut told = committed.events();
        let mut heard = BTreeSet::new();
        {
            let sessions = shared.sessions();
            for (session, fates) in committed.fates {
                if sessions.get(&session).is_some_and(|told| told.send(fates).is_ok()) {
                    heard.insert(session);
                }
            }
        }
        told.extend(committed.settled.into_iter().map(|((session, prefix), count)| {
            match heard.contains(&session) {
                true => Event::Receipted { prefix, count },
                false => Event::LeftToWelcome { prefix, count },
            }
        }));
        if wrote {
            self.pipeline.committed(self.volume.end(), synced);
        }
        self.publish(commit);
        self.feed.publish_all(told);
        self.shared.room.notify_waiters();
    }

    /// Hands the units to those who interpret them, as long as they give blocks back; else they
    /// read them from the disk.
    fn publish(&mut self, commit: Commit) {
        let Some(batches) = commit.ok().filter(|batches| !batches.is_empty()) else { return };
        if batches.first().is_none_or(|first| first.may_publish(batches.len())) {
            let blocks = batches.into_iter().map(Batch::publish).collect();
            self.pipeline.send(blocks, self.volume.end());
        } else {
            self.pipeline.withhold(self.volume.end());
        }
    }
}

fn settled(shared: &Shared) -> Ledger {
    shared.state().ingest.ledger().settled()
}

#[cfg(test)]
mod tests;
