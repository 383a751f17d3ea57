//! Looks at the archive's folder now and then: whether it is still the one that was opened, how
//! much room there is, and, after a write that failed, whether one goes again.

use super::{clock::StationClock, disk::Folder};
use crate::{
    archive::is_full,
    publish::{DiskState, Event, Feed, Look, WriteTrouble},
};
use std::{
    io,
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The thread that looks; it ends when this is dropped.
pub struct Watch {
    _stop: Sender<()>,
}

impl Watch {
    /// Starts to look at a folder, having looked once. Less room than two segments is nearly none.
    pub fn start(
        folder: Folder,
        segment_bytes: u64,
        clock: StationClock,
        feed: Feed,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let (stop, stopped) = channel();
        look(&folder, segment_bytes, clock, &feed);
        let thread = thread::Builder::new().name("disk".into()).spawn(move || {
            while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                look(&folder, segment_bytes, clock, &feed);
            }
        })?;
        Ok((Self { _stop: stop }, thread))
    }
}

fn look(folder: &Folder, segment_bytes: u64, clock: StationClock, feed: &Feed) {
    let least_bytes = segment_bytes.saturating_mul(2);
    let look = match folder.free_bytes() {
        Ok(free_bytes) => Look::Here { free_bytes },
        Err(error) => Look::Gone(error.to_string()),
    };
    let here = matches!(look, Look::Here { .. });
    feed.publish(Event::DiskLooked { look, least_bytes, at: clock.tai() });
    // No unit may come for hours that would find out.
    let state = feed.disk().state;
    if here && !state.takes_units() {
        let segment_bytes = (state == DiskState::Full).then_some(segment_bytes);
        let trouble = folder.try_write(segment_bytes).err().map(|error| trouble(&error));
        feed.publish(Event::DiskWrote { trouble, at: clock.tai() });
    }
}

/// What a failed write says of the disk.
pub fn trouble(error: &io::Error) -> WriteTrouble {
    match is_full(error) {
        true => WriteTrouble::Full(error.to_string()),
        false => WriteTrouble::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_goes_is_told_and_so_is_its_return() {
        let dir = tempfile::tempdir().unwrap();
        let (path, aside) = (dir.path().join("archive"), dir.path().join("aside"));
        let (folder, _lock) = Folder::claim(&path).unwrap();
        let (clock, feed) = (StationClock::new(0.0), Feed::default());
        let told = || {
            look(&folder, 1, clock, &feed);
            feed.disk()
        };
        assert_eq!(told().state, DiskState::Good);
        assert!(told().free_bytes.unwrap() > 1);
        std::fs::rename(&path, &aside).unwrap();
        assert_eq!(told().state, DiskState::Gone);
        // An empty mount point is not the folder that was opened.
        std::fs::create_dir(&path).unwrap();
        let gone = told();
        assert_eq!(gone.state, DiskState::Gone);
        assert!(gone.error.unwrap().contains("another folder") && gone.advice.is_some());
        std::fs::remove_dir(&path).unwrap();
        std::fs::rename(&aside, &path).unwrap();
        assert_eq!(told().state, DiskState::Good);
        // A write failed, and goes again.
        let trouble = Some(WriteTrouble::Failed("read-only".into()));
        feed.publish(Event::DiskWrote { trouble, at: clock.tai() });
        assert_eq!(feed.disk().state, DiskState::Failing);
        assert_eq!(told().state, DiskState::Good);
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1, "only its lock");
    }
    #[test]
    fn a_disk_without_room_for_a_segment_stays_full() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, _lock) = Folder::claim(&dir.path().join("archive")).unwrap();
        let (clock, feed) = (StationClock::new(0.0), Feed::default());
        let larger = u64::MAX / 4;
        let trouble = Some(WriteTrouble::Full("quota".into()));
        feed.publish(Event::DiskWrote { trouble, at: clock.tai() });
        look(&folder, larger, clock, &feed);
        let full = feed.disk();
        assert_eq!(full.state, DiskState::Full);
        let error = full.error.unwrap();
        assert!(error.contains("a segment takes"), "a block fits, a segment does not: {error}");
        look(&folder, 1, clock, &feed);
        assert_eq!(feed.disk().state, DiskState::Good);
    }
}
