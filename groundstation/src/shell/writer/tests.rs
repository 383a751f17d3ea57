use super::*;
use crate::{
    archive::{Archive, Settings, forgetful::ForgetfulDisk, tests::unit, twice::Twice},
    publish::{DiskState, Look},
    shell::{disk::Folder, follow::Hub, pipeline},
};
use codecs::time::Tai;
use std::path::Path;

const SETTINGS: Settings = Settings { segment_bytes: 4 << 20 };
const HERE: SessionId = SessionId(1);
const GONE: SessionId = SessionId(2);

/// A writer over a disk, and what joins its threads once the last handle is gone.
fn writer<S>(disk: S, feed: &Feed) -> (Writer, impl FnOnce() + use<S>)
where
    S: Storage<File: Send> + Send + 'static,
{
    let (archive, _) = Archive::open(disk, SETTINGS, 9).unwrap();
    // Nothing reads back here.
    let hub = Hub::new(Folder::at(Path::new("/nowhere")), Twice::NOTHING, archive.end());
    let (pipeline, process) = pipeline::start(hub, |_| {}, || {}).unwrap();
    let Archive { intake, volume } = archive;
    let (commit, clock) = (Duration::from_millis(1), StationClock::new(0.0));
    let ingest = Ingest::new(intake);
    let started = Writer::start(ingest, volume, clock, commit, feed.clone(), pipeline);
    let (writer, thread) = started.unwrap();
    let join = move || {
        thread.join().unwrap();
        process.join().unwrap();
    };
    (writer, join)
}

#[tokio::test]
async fn what_is_held_is_either_receipted_or_left_to_the_next_welcome() {
    let dir = tempfile::tempdir().unwrap();
    let feed = Feed::default();
    let (writer, join) = writer(Folder::at(dir.path()), &feed);
    let (fates, mut told) = mpsc::unbounded_channel();
    writer.join(HERE, fates).await.unwrap();
    // Ten of a session that is there, ten of one that went before the commit; five come twice.
    for sequence in (0..10).chain(0..5) {
        writer.deliver(HERE, unit(1, sequence)).await.unwrap();
    }
    for sequence in 10..20 {
        writer.deliver(GONE, unit(1, sequence)).await.unwrap();
    }
    let mut receipted = RangeSet::new();
    while receipted.count() < 10 {
        let fates = told.recv().await.unwrap();
        fates.receipts.values().for_each(|ranges| receipted.extend(ranges));
    }
    drop(writer);
    tokio::task::spawn_blocking(join).await.unwrap();
    let counts = feed.snapshot().counts;
    assert_eq!((counts.archived, counts.duplicate), (20, 5));
    assert_eq!((counts.receipted, counts.left_to_welcome), (15, 10));
    let custody = feed.snapshot().spacecraft[0].custody;
    assert_eq!((custody.receipted, custody.left_to_welcome), (15, 10));
}

#[tokio::test]
async fn a_full_disk_is_told_and_so_is_its_end() {
    let (disk, feed) = (ForgetfulDisk::default(), Feed::default());
    let (writer, join) = writer(disk.clone(), &feed);
    let (fates, mut told) = mpsc::unbounded_channel();
    writer.join(HERE, fates).await.unwrap();
    disk.set_room(Some(0));
    writer.deliver(HERE, unit(1, 0)).await.unwrap();
    assert!(!told.recv().await.unwrap().refusals.is_empty());
    writer.round().await.unwrap();
    let view = feed.disk();
    assert_eq!((view.state, view.advice.is_some()), (DiskState::Full, true));
    assert!(view.error.is_some());
    let looked = |free_bytes| {
        let look = Look::Here { free_bytes };
        feed.publish(Event::DiskLooked { look, least_bytes: 100, at: Tai(0) });
    };
    looked(0);
    disk.set_room(None);
    writer.deliver(HERE, unit(1, 0)).await.unwrap();
    // Refused without a try for a second; then it goes, and is told.
    while told.recv().await.is_some_and(|fates| fates.receipts.is_empty()) {
        writer.deliver(HERE, unit(1, 0)).await.unwrap();
    }
    writer.round().await.unwrap();
    assert_eq!(feed.disk().state, DiskState::Full, "it was a small one");
    looked(150);
    assert_eq!(feed.disk().state, DiskState::Good);
    drop(writer);
    tokio::task::spawn_blocking(join).await.unwrap();
}
