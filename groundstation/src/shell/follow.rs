//! Follows the archive, not a queue: units in order to any number of readers, each at its pace.
//!
//! A reader's queue is a short cut for what is still in memory. When it is full, or after a start,
//! the reader gets what it missed from disk. So the writer never waits for a reader, and no reader
//! for another.

use super::disk::Folder;
use crate::archive::{Archived, batch::Published, read::replay, record::Position, twice::Twice};
use std::{
    collections::BTreeMap,
    io,
    ops::ControlFlow,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    time::Duration,
};

/// Segments whose ends are known, to tell how far behind a reader is.
const SEGMENTS_MAX: usize = 16;
/// Before the first record of any archive.
pub const START: Position = Position { segment: 0, offset: 0 };

/// A commit's blocks and where the archive ends behind them.
struct Commit {
    blocks: Vec<Published>,
    end: Position,
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// At a record.
    At(Position),
    /// Behind everything that is archived by now.
    Now,
}

/// Where readers get commits; clones are one.
#[derive(Clone)]
pub struct Hub {
    folder: Folder,
    /// What stands twice: nothing more comes to, since nothing that is here is taken again.
    twice: Arc<Twice>,
    state: Arc<Mutex<State>>,
    /// Where the readers of this handle end, before the archive does.
    finish: Arc<OnceLock<Position>>,
}

struct State {
    synced: Position,
    /// Where the newest segments end.
    ends: BTreeMap<u64, u64>,
    readers: Vec<SyncSender<Arc<Commit>>>,
    closed: bool,
}

impl Hub {
    /// An archive that ends at `end`.
    pub fn new(folder: Folder, twice: Twice, end: Position) -> Self {
        let ends = BTreeMap::from([(end.segment, end.offset)]);
        let state = State { synced: end, ends, readers: Vec::new(), closed: false };
        Self {
            folder,
            twice: Arc::new(twice),
            state: Arc::new(Mutex::new(state)),
            finish: Arc::default(),
        }
    }

    /// The same archive with readers of its own, which [`finish`](Self::finish) ends.
    pub fn apart(&self) -> Self {
        Self { finish: Arc::default(), ..self.clone() }
    }

    /// Ends the readers of this handle and its clones with what is archived by now.
    pub fn finish(&self) {
        let _ = self.finish.set(self.end());
    }

    /// Tells every reader of a commit; never waits.
    pub fn send(&self, blocks: Vec<Published>, end: Position) {
        let mut state = self.lock();
        state.reach(end);
        let commit = Arc::new(Commit { blocks, end });
        // A full queue is no loss: the reader reads from the archive what it did not get.
        let full = |reader: &SyncSender<_>| reader.try_send(Arc::clone(&commit));
        state.readers.retain(|reader| !matches!(full(reader), Err(TrySendError::Disconnected(_))));
    }

    /// Tells of a commit whose units can't be kept in memory for the readers: they read it back.
    pub fn withhold(&self, end: Position) {
        self.lock().reach(end);
    }

    /// Nothing more comes: readers end when they have everything.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.readers.clear();
    }

    /// Starts a reader for which so many commits wait in memory, each at most a batch of bytes. While
    /// they do, the writer's blocks are not free: who may be slow has few.
    pub fn follow(&self, from: From, queue_commits: usize) -> Follower {
        let (queue, commits) = sync_channel(queue_commits);
        let mut state = self.lock();
        let handled = match from {
            From::At(position) => position,
            From::Now => state.synced,
        };
        if !state.closed {
            state.readers.push(queue);
        }
        drop(state);
        Follower { hub: self.clone(), commits, handled, behind: true }
    }

    /// Bytes of archive from a record to the end; the most where that is long ago.
    pub fn behind(&self, position: Position) -> u64 {
        let state = self.lock();
        let Some(own) = state.ends.get(&position.segment) else { return u64::MAX };
        let later = state.ends.range(position.segment.saturating_add(1)..);
        own.saturating_sub(position.offset) + later.map(|(_, end)| end).sum::<u64>()
    }

    /// Where the archive ends.
    pub fn end(&self) -> Position {
        self.lock().synced
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn reach(&mut self, end: Position) {
        self.synced = end;
        self.ends.insert(end.segment, end.offset);
        if self.ends.len() > SEGMENTS_MAX {
            self.ends.pop_first();
        }
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Units were handled, or may be at the next step.
    Went,
    /// Nothing came.
    Quiet,
    /// Everything is handled and nothing more comes.
    Ended,
    /// The handler broke off.
    Stopped,
}

/// One reader of the archive.
pub struct Follower {
    hub: Hub,
    commits: Receiver<Arc<Commit>>,
    /// Everything before this was handled.
    handled: Position,
    /// Something may stand in the archive that no commit in the queue leads to.
    behind: bool,
}

impl Follower {
    /// Everything before this was handled.
    pub const fn handled(&self) -> Position {
        self.handled
    }

    /// Passes over everything that is archived by now.
    pub fn give_up(&mut self) {
        self.handled = self.hub.end();
    }

    /// Hands over what is there; where nothing is, waits this long for more.
    pub fn step(
        &mut self,
        wait: Duration,
        handle: &mut impl FnMut(&Archived) -> ControlFlow<()>,
    ) -> Step {
        if let Some(end) = self.hub.finish.get().copied() {
            return match end > self.handled {
                true => self.read_back(end, false, handle),
                false => Step::Ended,
            };
        }
        if self.behind {
            self.behind = false;
            let synced = self.hub.end();
            if synced > self.handled {
                return self.read_back(synced, false, handle);
            }
        }
        match self.commits.recv_timeout(wait) {
            Ok(commit) => self.commit(&commit, handle),
            // A commit that found the queue full may have nothing behind it.
            Err(RecvTimeoutError::Timeout) => {
                self.behind = true;
                Step::Quiet
            }
            Err(RecvTimeoutError::Disconnected) => {
                let synced = self.hub.end();
                match synced > self.handled {
                    true => self.read_back(synced, false, handle),
                    false => Step::Ended,
                }
            }
        }
    }

    fn commit(
        &mut self,
        commit: &Commit,
        handle: &mut impl FnMut(&Archived) -> ControlFlow<()>,
    ) -> Step {
        // Read back already, while this commit waited in the queue.
        if commit.end <= self.handled {
            return Step::Went;
        }
        let first = commit.blocks.first().map_or(commit.end, Published::begin);
        if first > self.handled && self.read_back(first, false, handle) == Step::Stopped {
            return Step::Stopped;
        }
        let mut units = commit.blocks.iter().flat_map(Published::units);
        let broken_off = units.try_for_each(|unit| match handle(&unit) {
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
            ControlFlow::Break(()) => ControlFlow::Break(unit.position),
        });
        let stopped = broken_off.break_value();
        self.handled = stopped.unwrap_or(commit.end);
        stopped.map_or(Step::Went, |_| Step::Stopped)
    }

    /// Reads from disk up to `to`, marked as replayed or not.
    pub fn read_back(
        &mut self,
        to: Position,
        replayed: bool,
        handle: &mut impl FnMut(&Archived) -> ControlFlow<()>,
    ) -> Step {
        let mut stopped = None;
        let mut folder = self.hub.folder.clone();
        let read = replay(&mut folder, &self.hub.twice, self.handled, to, |unit| {
            let position = unit.position;
            match handle(&Archived { replayed, ..unit }) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => {
                    stopped = Some(position);
                    Err(io::ErrorKind::Interrupted.into())
                }
            }
        });
        if let Some(position) = stopped {
            self.handled = position;
            return Step::Stopped;
        }
        if let Err(error) = read {
            // The units themselves are safe; the next start reads them again.
            tracing::error!(%error, "the archive can't be read back; a reader goes on behind it");
        }
        self.handled = to;
        Step::Went
    }
}
