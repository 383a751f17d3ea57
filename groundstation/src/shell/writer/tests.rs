use super::*;
use crate::{
    archive::{Archive, Settings, tests::unit, twice::Twice},
    shell::{disk::Folder, follow::Hub, pipeline},
};

const SETTINGS: Settings = Settings { segment_bytes: 4 << 20 };
const HERE: SessionId = SessionId(1);
const GONE: SessionId = SessionId(2);

/// A writer over a folder, and what joins its threads once the last handle is gone.
pub(super) fn writer(folder: &Folder, feed: &Feed) -> (Writer, impl FnOnce() + use<>) {
    let (archive, _) = Archive::open(folder.clone(), SETTINGS, 9).unwrap();
    let hub = Hub::new(folder.clone(), Twice::NOTHING, archive.end());
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
    let (writer, join) = writer(&Folder::at(dir.path()), &feed);
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
