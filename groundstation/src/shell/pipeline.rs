//! The thread behind the archive: units in order to those who interpret them.
//!
//! It follows the archive, not the queue. The queue is a short cut for what is still in memory;
//! when it is full, or after a start, the thread reads what it missed back from disk. So ingest
//! never waits for interpretation, and a kill between receipt and decoding loses no insight.

use super::disk::Folder;
use crate::archive::{Archived, read::replay, record::Position};
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Commits that wait in memory, each at most a batch of bytes.
const QUEUE_COMMITS: usize = 32;
/// How soon a unit is read back that found the queue full and nothing behind it.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Before the first record of any archive.
const START: Position = Position { segment: 0, offset: 0 };

/// A commit's units and where the archive ends behind them.
struct Commit {
    units: Vec<Archived>,
    end: Position,
}

/// The writer's end.
pub struct PipelineSender {
    queue: SyncSender<Commit>,
    synced: Arc<Mutex<Position>>,
    /// Dropped with this: tells the thread that no one waits for the first replay any more.
    _alive: Arc<()>,
}

impl PipelineSender {
    /// Hands over a commit; never waits. Without its units the thread reads them back.
    pub fn send(&self, units: Vec<Archived>, end: Position) {
        *self.synced.lock().unwrap_or_else(PoisonError::into_inner) = end;
        if units.is_empty() {
            return;
        }
        // A full queue is no loss: the thread reads from the archive what it did not get.
        let _ = self.queue.try_send(Commit { units, end });
    }
}

/// Starts the thread. It replays the archive up to `end` first, then `caught_up` is called once;
/// the thread ends when the sender is dropped and everything is handled.
pub fn start(
    folder: Folder,
    end: Position,
    handle: impl FnMut(&Archived) + Send + 'static,
    caught_up: impl FnOnce() + Send + 'static,
) -> io::Result<(PipelineSender, JoinHandle<()>)> {
    let (queue, commits) = sync_channel(QUEUE_COMMITS);
    let synced = Arc::new(Mutex::new(end));
    let handle = guarded(handle);
    let alive = Arc::new(());
    let mut follower = Follower {
        folder,
        handled: START,
        synced: Arc::clone(&synced),
        alive: Arc::downgrade(&alive),
        handle,
    };
    let thread = thread::Builder::new().name("process".into()).spawn(move || {
        follower.read_back(end, true);
        caught_up();
        follower.run(&commits);
    })?;
    Ok((PipelineSender { queue, synced, _alive: alive }, thread))
}

/// A defect that one unit brings to light costs that unit's insight, not every later one's.
fn guarded(mut handle: impl FnMut(&Archived)) -> impl FnMut(&Archived) {
    move |unit| {
        let handled = catch_unwind(AssertUnwindSafe(|| handle(unit)));
        if handled.is_err() {
            tracing::error!(key = ?unit.key, "interpreting this unit failed; it stays archived");
        }
    }
}

struct Follower<H> {
    folder: Folder,
    /// Everything before this was handled.
    handled: Position,
    synced: Arc<Mutex<Position>>,
    alive: Weak<()>,
    handle: H,
}

impl<H: FnMut(&Archived)> Follower<H> {
    fn run(&mut self, commits: &Receiver<Commit>) {
        loop {
            match commits.recv_timeout(LOOK_AGAIN) {
                Ok(commit) => self.commit(commit),
                Err(RecvTimeoutError::Timeout) => self.catch_up(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.catch_up();
    }

    fn catch_up(&mut self) {
        let synced = *self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if synced > self.handled {
            self.read_back(synced, false);
        }
    }

    fn commit(&mut self, commit: Commit) {
        // Read back already, while this commit waited in the queue.
        if commit.end <= self.handled {
            return;
        }
        let first = commit.units.first().map_or(commit.end, |unit| unit.position);
        if first > self.handled {
            self.read_back(first, false);
        }
        commit.units.iter().for_each(&mut self.handle);
        self.handled = commit.end;
    }

    fn read_back(&mut self, to: Position, replayed: bool) {
        let (handle, alive) = (&mut self.handle, &self.alive);
        let mut stopped = false;
        let read = replay(&mut self.folder, self.handled, to, |unit| {
            // The next start replays it all again: a stop need not wait for it.
            stopped = replayed && alive.strong_count() == 0;
            if stopped {
                return Err(io::ErrorKind::Interrupted.into());
            }
            handle(&Archived { replayed, ..unit });
            Ok(())
        });
        if stopped {
            tracing::info!("stopped while the archive was read back");
        } else if let Err(error) = read {
            // Insight waits for the next start; the units themselves are safe.
            tracing::error!(%error, "the archive can't be read back; some units stay uninterpreted");
        }
        self.handled = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Archive, Now, Settings, tests::unit};
    use codecs::time::Tai;
    use std::sync::mpsc::channel;

    const NOW: Now = Now { mono_ms: 0, tai: Tai(0) };

    #[test]
    fn every_unit_is_handled_once_in_order_however_slow_the_handler() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::at(dir.path());
        let settings = Settings { segment_bytes: 64 << 10 };
        let (mut archive, _) = Archive::open(folder.clone(), settings, 1).unwrap();
        let mut commit = |sequence| {
            archive.offer(&unit(1, sequence), NOW).unwrap();
            let units = archive.commit(NOW).unwrap();
            (units, archive.synced_to().unwrap())
        };
        // What an earlier run left.
        let end = (0..50).map(&mut commit).last().unwrap().1;
        let (go, gate) = channel::<()>();
        let (seen, handled) = channel();
        let mut blocked = true;
        let handle = move |unit: &Archived| {
            if std::mem::take(&mut blocked) {
                gate.recv().unwrap();
            }
            seen.send((unit.key.sequence, unit.replayed)).unwrap();
        };
        let (tell, caught_up) = channel();
        let tell = move || tell.send(()).unwrap();
        let (sender, thread) = start(folder, end, handle, tell).unwrap();
        // Far more than the queue holds, while the handler stands still.
        for sequence in 50..250 {
            let (units, end) = commit(sequence);
            sender.send(units, end);
        }
        go.send(()).unwrap();
        caught_up.recv().unwrap();
        drop(sender);
        thread.join().unwrap();
        let handled: Vec<_> = handled.iter().collect();
        let wanted: Vec<_> = (0..250).map(|sequence| (sequence, sequence < 50)).collect();
        assert_eq!(handled, wanted);
    }
}
