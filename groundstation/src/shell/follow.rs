//! Follows the archive, not a queue: units in order to any number of readers, each at its pace.
//!
//! A reader's queue is a short cut for what is still in memory. When it is full, or after a start,
//! the reader gets what it missed from disk, or passes over it if it asked for that. So the writer
//! never waits for a reader, and no reader for another.

use super::disk::Folder;
use crate::archive::{Archived, read::replay, record::Position};
use std::{
    io,
    ops::ControlFlow,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::Duration,
};

/// Commits that wait in memory for one reader, each at most a batch of bytes. Readers share them.
const QUEUE_COMMITS: usize = 32;
/// Before the first record of any archive.
pub const START: Position = Position { segment: 0, offset: 0 };

/// A commit's units and where the archive ends behind them.
struct Commit {
    units: Vec<Archived>,
    end: Position,
}

/// Hears of units that were passed over.
pub type Told = Box<dyn Fn(&[Archived]) + Send>;

/// What happens to what a reader's queue has no room for.
pub enum Missed {
    /// It is read back from disk.
    ReadBack,
    /// It is passed over, and this is told of it.
    Dropped(Told),
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
    state: Arc<Mutex<State>>,
}

struct State {
    synced: Position,
    readers: Vec<Reader>,
    closed: bool,
}

struct Reader {
    queue: SyncSender<Arc<Commit>>,
    missed: Missed,
}

impl Hub {
    /// An archive that ends at `end`.
    pub fn new(folder: Folder, end: Position) -> Self {
        let state = State { synced: end, readers: Vec::new(), closed: false };
        Self { folder, state: Arc::new(Mutex::new(state)) }
    }

    /// Tells every reader of a commit; never waits. Without its units they read it back.
    pub fn send(&self, units: Vec<Archived>, end: Position) {
        let mut state = self.lock();
        state.synced = end;
        if units.is_empty() {
            return;
        }
        let commit = Arc::new(Commit { units, end });
        state.readers.retain(|reader| reader.send(&commit));
    }

    /// Nothing more comes: readers end when they have everything.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.readers.clear();
    }

    /// Starts a reader.
    pub fn follow(&self, from: From, missed: Missed) -> Follower {
        let (queue, commits) = sync_channel(QUEUE_COMMITS);
        let reads_back = matches!(missed, Missed::ReadBack);
        let mut state = self.lock();
        let handled = match from {
            From::At(position) => position,
            From::Now => state.synced,
        };
        if !state.closed {
            state.readers.push(Reader { queue, missed });
        }
        drop(state);
        let hub = self.clone();
        Follower { hub, commits, handled, reads_back, behind: reads_back }
    }

    /// Where the archive ends.
    pub fn end(&self) -> Position {
        self.lock().synced
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// False where the reader is gone.
    fn send(&self, commit: &Arc<Commit>) -> bool {
        use std::sync::mpsc::TrySendError;
        match self.queue.try_send(Arc::clone(commit)) {
            Ok(()) => true,
            Err(TrySendError::Full(commit)) => {
                if let Missed::Dropped(told) = &self.missed {
                    told(&commit.units);
                }
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
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
    reads_back: bool,
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

    /// Hands over what is there; where nothing is, waits this long for more. A reader that does not
    /// read back hears of nothing that was archived before it began.
    pub fn step(
        &mut self,
        wait: Duration,
        handle: &mut impl FnMut(&Archived) -> ControlFlow<()>,
    ) -> Step {
        if self.behind {
            self.behind = false;
            let synced = self.hub.end();
            if synced > self.handled {
                return self.pass_to(synced, false, handle);
            }
        }
        match self.commits.recv_timeout(wait) {
            Ok(commit) => self.commit(&commit, handle),
            // A commit that found the queue full may have nothing behind it.
            Err(RecvTimeoutError::Timeout) => {
                self.behind = self.reads_back;
                Step::Quiet
            }
            Err(RecvTimeoutError::Disconnected) => {
                let synced = self.hub.end();
                match self.reads_back && synced > self.handled {
                    true => self.pass_to(synced, false, handle),
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
        let first = commit.units.first().map_or(commit.end, |unit| unit.position);
        if first > self.handled && self.pass_to(first, false, handle) == Step::Stopped {
            return Step::Stopped;
        }
        for unit in &commit.units {
            if handle(unit).is_break() {
                self.handled = unit.position;
                return Step::Stopped;
            }
        }
        self.handled = commit.end;
        Step::Went
    }

    fn pass_to(
        &mut self,
        to: Position,
        replayed: bool,
        handle: &mut impl FnMut(&Archived) -> ControlFlow<()>,
    ) -> Step {
        match self.reads_back {
            true => self.read_back(to, replayed, handle),
            false => {
                self.handled = to;
                Step::Went
            }
        }
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
        let read = replay(&mut folder, self.handled, to, |unit| {
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
