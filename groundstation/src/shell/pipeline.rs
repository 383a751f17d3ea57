//! The thread behind the archive: units in order to those who interpret them.
//!
//! It follows the archive, so ingest never waits for interpretation, and a kill between receipt
//! and decoding loses no insight.

use super::{
    follow::{Follower, From, Hub, START, Step},
    telemetry::Telemetry,
};
use crate::archive::{Archived, batch::Published, record::Position};
use codecs::time::Tai;
use std::{
    io,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak},
    thread::{self, JoinHandle},
    time::Duration,
};

/// Commits that wait in memory.
const QUEUE_COMMITS: usize = 16;
/// How soon a unit is read back that found the queue full and nothing behind it.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The writer's end: what it is given goes to every reader of the archive.
pub struct PipelineSender {
    hub: Hub,
    telemetry: Option<Telemetry>,
    /// Dropped with this: tells the thread that no one waits for the first replay any more.
    _alive: Arc<()>,
}

impl PipelineSender {
    /// Has commits told, as parts of traces.
    pub fn telling(mut self, telemetry: Option<Telemetry>) -> Self {
        self.telemetry = telemetry;
        self
    }

    /// Tells of a commit: what is before `end` was on the disk at `synced`, and who brought it knows.
    pub fn committed(&self, end: Position, synced: Tai) {
        if let Some(telemetry) = &self.telemetry {
            telemetry.committed(end, synced);
        }
    }

    /// Hands over a commit; never waits.
    pub fn send(&self, blocks: Vec<Published>, end: Position) {
        self.hub.send(blocks, end);
    }

    /// Tells of a commit whose units have to be read back.
    pub fn withhold(&self, end: Position) {
        self.hub.withhold(end);
    }
}

impl Drop for PipelineSender {
    fn drop(&mut self) {
        self.hub.close();
    }
}

/// Starts the thread. It replays the archive up to its end first, then `caught_up` is called once;
/// the thread ends when the sender is dropped and everything is handled.
pub fn start(
    hub: Hub,
    handle: impl FnMut(&Archived) + Send + 'static,
    caught_up: impl FnOnce() + Send + 'static,
) -> io::Result<(PipelineSender, JoinHandle<()>)> {
    let end = hub.end();
    let follower = hub.follow(From::At(START), QUEUE_COMMITS);
    let mut handle = guarded(handle);
    let alive = Arc::new(());
    let wanted = Arc::downgrade(&alive);
    let thread = thread::Builder::new().name("process".into()).spawn(move || {
        let mut follower = follower;
        first_replay(&mut follower, end, &wanted, &mut handle);
        caught_up();
        let mut handle = |unit: &Archived| {
            handle(unit);
            ControlFlow::Continue(())
        };
        while follower.step(LOOK_AGAIN, &mut handle) != Step::Ended {}
    })?;
    Ok((PipelineSender { hub, telemetry: None, _alive: alive }, thread))
}

fn first_replay(
    follower: &mut Follower,
    end: Position,
    wanted: &Weak<()>,
    handle: &mut impl FnMut(&Archived),
) {
    let mut handle = |unit: &Archived| {
        // The next start replays it all again: a stop need not wait for it.
        if wanted.strong_count() == 0 {
            return ControlFlow::Break(());
        }
        handle(unit);
        ControlFlow::Continue(())
    };
    if follower.read_back(end, true, &mut handle) == Step::Stopped {
        tracing::info!("stopped while the archive was read back");
        follower.give_up();
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        archive::{Archive, Now, Settings, Verdict, tests::unit, twice::Twice},
        shell::disk::Folder,
    };
    use std::sync::mpsc::channel;

    const NOW: Now = Now { mono_ms: 0, tai: Tai(0) };

    #[test]
    fn every_unit_is_handled_once_in_order_however_slow_the_handler() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::at(dir.path());
        let settings = Settings { segment_bytes: 64 << 10 };
        let (mut archive, _) = Archive::open(folder.clone(), settings, 1).unwrap();
        let mut commit = |sequence| {
            assert_eq!(archive.offer(&unit(1, sequence), NOW).unwrap(), Verdict::Accepted);
            let blocks = archive.commit_blocks(NOW).unwrap();
            (blocks, archive.synced_to().unwrap())
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
        let hub = Hub::new(folder, Twice::NOTHING, end);
        let (sender, thread) = start(hub, handle, tell).unwrap();
        // Far more than there are blocks, while the handler stands still: the writer hands over a
        // few and withholds the rest.
        for sequence in 50..250 {
            let (blocks, end) = commit(sequence);
            match sequence < 55 {
                true => sender.send(blocks, end),
                false => sender.withhold(end),
            }
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
