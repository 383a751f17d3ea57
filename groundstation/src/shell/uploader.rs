//! The thread that brings sealed segments to the object store. It follows the archive's folder, so
//! that nothing of ingest knows of it or waits for it.

use super::{
    bucket::{Bucket, Kept},
    catalogue::CatalogueLog,
    clock::StationClock,
    disk::Folder,
    signals,
};
use crate::{
    archive::{
        retain::Floor,
        segment::file_name,
        storage::{Storage, StoredFile as _},
        stored_index,
    },
    catalogue::Entry,
    publish::{Event, Feed},
    upload::{Outcome, Stored, Uploads, closed, proven},
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::sync::watch;

/// How often the folder is looked at. Segments seal once a minute; a look lists names.
const LOOK: Duration = Duration::from_secs(1);

/// What the thread works on.
pub struct Uploader {
    /// The archive.
    pub folder: Folder,
    /// Where its segments go.
    pub bucket: Bucket,
    /// Whose they are.
    pub ledger: u64,
    /// Times between attempts.
    pub clock: StationClock,
    /// What earlier runs verified, with its length.
    pub verified: BTreeMap<u64, u64>,
    /// Where this one says so.
    pub catalogue: CatalogueLog,
    /// Where attempts are counted.
    pub feed: Feed,
}

/// Starts the thread; `told` hears of each segment once it is verified. It ends with `stop`.
pub fn start(
    uploader: Uploader,
    told: impl AsyncFn(Stored) + Send + 'static,
    mut stop: watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("uploads".into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                () = uploader.run(&told) => {}
                () = signals::told(&mut stop) => {}
            }
        });
    })
}

impl Uploader {
    async fn run(mut self, told: &impl AsyncFn(Stored)) {
        let mut uploads = Uploads::new(self.rediscover(told).await);
        loop {
            match closed(&mut self.folder, uploads.stored()) {
                Ok(found) => {
                    let mut numbers: BTreeSet<u64> = found.keys().copied().collect();
                    numbers.extend(uploads.stored());
                    uploads.closed(&numbers);
                    self.upload(&mut uploads, &found, told).await;
                }
                Err(error) => tracing::warn!(%error, "uploads: the archive can't be looked at"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What an earlier run verified there, as the catalogue says, and is there still. What the
    /// catalogue does not say is read back like a new segment: nothing is written twice.
    async fn rediscover(&mut self, told: &impl AsyncFn(Stored)) -> BTreeSet<u64> {
        let there = loop {
            match self.bucket.list(self.ledger).await {
                Ok(there) => break there,
                Err(error) => {
                    tracing::warn!(%error, "object store can't be listed; tried again");
                    tokio::time::sleep(10 * LOOK).await;
                }
            }
        };
        let mut stored = BTreeSet::new();
        let found = closed(&mut self.folder, &BTreeSet::new()).unwrap_or_default();
        for (number, end) in &found {
            let verified = self.verified.get(number) == Some(end);
            if !verified || there.get(number) != Some(end) {
                continue;
            }
            // Without an index it is read back like a new one.
            let Some(index) = stored_index(&mut self.folder, *number) else { continue };
            stored.insert(*number);
            told(Stored { segment: Some(*number), ranges: index.ranges() }).await;
        }
        if let Some(ranges) = self.let_go(&there).filter(|ranges| !ranges.is_empty()) {
            told(Stored { segment: None, ranges }).await;
        }
        stored
    }

    /// What retention let go here and the bucket holds: all of it, or it is not told.
    fn let_go(
        &mut self,
        there: &BTreeMap<u64, u64>,
    ) -> Option<BTreeMap<codecs::ids::KeyPrefix, codecs::ids::RangeSet>> {
        let names = self.folder.list().ok()?;
        let floor = Floor::read(&mut self.folder, &names).ok()?;
        let whole = (0..floor.number).all(|number| there.contains_key(&number));
        let counters = floor.header().filter(|_| whole)?.checkpoint.counters();
        let held = counters.map(|(prefix, counter)| {
            let mut held = counter.held.clone();
            counter.lost.ranges().iter().for_each(|range| held.remove(*range));
            (*prefix, held)
        });
        Some(held.collect())
    }

    /// Attempts everything whose time has come, oldest first.
    async fn upload(
        &mut self,
        uploads: &mut Uploads,
        ends: &BTreeMap<u64, u64>,
        told: &impl AsyncFn(Stored),
    ) {
        while let Some(number) = uploads.next(self.clock.mono_ns() / 1_000_000) {
            let outcome = match ends.get(&number) {
                Some(end) => self.attempt(number, *end, told).await,
                None => Outcome::Failed,
            };
            uploads.done(number, outcome, self.clock.mono_ns() / 1_000_000);
            self.feed.publish(Event::Segments { fate: outcome.name(), count: 1 });
        }
    }

    async fn attempt(&mut self, number: u64, end: u64, told: &impl AsyncFn(Stored)) -> Outcome {
        let bytes = match self.whole(number, end) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) => {
                tracing::warn!(%error, segment = number, "can't be read to be stored");
                return Outcome::Failed;
            }
        };
        match self.bucket.keep(self.ledger, number, bytes.clone()).await {
            Ok(Kept::Verified) => {
                tracing::info!(segment = number, bytes = end, "stored and verified");
                self.catalogue.note(Entry::Stored { segment: number, bytes: end });
                told(Stored { segment: Some(number), ranges: proven(&bytes, number) }).await;
                Outcome::Stored
            }
            Ok(Kept::Other) => {
                let segment = file_name(number);
                tracing::error!(segment, "other bytes are in the object store under this name");
                Outcome::Conflict
            }
            Err(error) => {
                tracing::warn!(%error, segment = number, "not stored; tried again");
                Outcome::Failed
            }
        }
    }

    fn whole(&mut self, number: u64, end: u64) -> io::Result<Vec<u8>> {
        let file = self.folder.open(&file_name(number))?;
        let mut bytes = vec![0; end.min(file.length()?) as usize];
        let mut done = 0;
        while done < bytes.len() {
            match file.read_at(done as u64, &mut bytes[done..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => done += count,
            }
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Archive, Now, Settings, Verdict, tests::unit};
    use codecs::{ids::RangeSet, time::Tai};
    use object_store::{ObjectStore, ObjectStoreExt as _, memory::InMemory, path::Path as Key};
    use std::sync::{Arc, mpsc};

    const NOW: Now = Now { mono_ms: 0, tai: Tai(0) };
    const LEDGER: u64 = 5;

    struct Fixture {
        dir: tempfile::TempDir,
        store: Arc<InMemory>,
    }

    impl Fixture {
        /// An archive of `segments` segments, ten units each.
        fn new(segments: u64) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let fixture = Self { dir, store: Arc::new(InMemory::new()) };
            let mut archive = fixture.archive();
            for segment in 0..segments {
                for sequence in segment * 10..segment * 10 + 10 {
                    archive.offer(&unit(1, sequence), NOW).unwrap();
                }
                archive.commit(NOW).unwrap();
                archive.seal(Tai(0));
            }
            fixture
        }

        fn archive(&self) -> Archive<Folder> {
            let settings = Settings { segment_bytes: 1 << 20 };
            Archive::open(Folder::at(self.dir.path()), settings, LEDGER).unwrap().0
        }

        fn bucket(&self) -> Bucket {
            let store: Arc<dyn ObjectStore> = Arc::clone(&self.store) as _;
            Bucket::of(store, "test")
        }

        /// Runs uploads until `segments` are told, or for ever if that never comes: what was told.
        fn run_until(&self, segments: usize) -> Vec<Stored> {
            let (catalogue, log, thread) = CatalogueLog::open(self.dir.path()).unwrap();
            let uploader = Uploader {
                folder: Folder::at(self.dir.path()),
                bucket: self.bucket(),
                ledger: LEDGER,
                clock: StationClock::new(0.0),
                verified: catalogue.stored,
                catalogue: log,
                feed: Feed::default(),
            };
            let (stop, stopped) = watch::channel(false);
            let (tell, heard) = mpsc::channel();
            let told = async move |stored| tell.send(stored).unwrap();
            let running = start(uploader, told, stopped).unwrap();
            let told = heard.iter().take(segments).collect();
            stop.send(true).unwrap();
            running.join().unwrap();
            thread.join().unwrap();
            told
        }

        fn key(&self, segment: u64) -> Key {
            Key::from(format!("test/{LEDGER:016x}/{}", file_name(segment)))
        }
    }

    fn block<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(future)
    }

    fn held(told: &[Stored]) -> RangeSet {
        told.iter()
            .flat_map(|stored| stored.ranges.values())
            .flat_map(RangeSet::ranges)
            .copied()
            .collect()
    }

    #[test]
    fn sealed_segments_are_stored_once_and_known_after_a_restart() {
        let fixture = Fixture::new(3);
        let told = fixture.run_until(3);
        assert_eq!(
            told.iter().map(|stored| stored.segment).collect::<Vec<_>>(),
            [Some(0), Some(1), Some(2)]
        );
        assert_eq!(held(&told).count(), 30);
        let bytes = block(fixture.bucket().read(LEDGER, 1)).unwrap();
        assert_eq!(bytes, std::fs::read(fixture.dir.path().join(file_name(1))).unwrap());
        // Nothing is written again, everything is told again.
        let again = fixture.run_until(3);
        assert_eq!(held(&again).count(), 30);
        // Without the catalogue the bucket is read, and believed only then.
        std::fs::remove_file(fixture.dir.path().join(crate::catalogue::FILE)).unwrap();
        assert_eq!(held(&fixture.run_until(3)).count(), 30);
    }

    #[test]
    fn other_bytes_under_a_name_are_never_written_over_nor_receipted() {
        let fixture = Fixture::new(2);
        block(fixture.store.put(&fixture.key(0), "someone else's".into())).unwrap();
        let told = fixture.run_until(1);
        assert_eq!(told[0].segment, Some(1));
        let there = block(async { fixture.store.get(&fixture.key(0)).await?.bytes().await });
        assert_eq!(there.unwrap(), "someone else's");
        // Damage that came to the bucket later is found where the catalogue does not vouch.
        let kept = |segment, bytes: &'static [u8]| {
            block(fixture.bucket().keep(LEDGER, segment, bytes.into())).unwrap()
        };
        assert_eq!(kept(9, b"whole"), Kept::Verified);
        assert_eq!(kept(9, b"whole"), Kept::Verified);
        assert_eq!(kept(9, b"whol"), Kept::Other);
        assert_eq!(kept(9, b"wholes"), Kept::Other);
        assert_eq!(kept(9, b"whale"), Kept::Other);
    }

    #[test]
    fn what_retention_let_go_is_still_told_as_stored() {
        let fixture = Fixture::new(6);
        fixture.run_until(6);
        let policy =
            crate::archive::retain::Retain { bytes: Some(1), age_s: None, only_stored: true };
        let gone = fixture.archive().retain(&policy, |_| true, Tai(0)).unwrap();
        assert_eq!(gone, [0, 1, 2, 3]);
        let told = fixture.run_until(3);
        assert_eq!(held(&told).count(), 60);
    }

    #[test]
    fn a_ledger_whose_disk_is_gone_is_brought_back_and_goes_on() {
        let fixture = Fixture::new(4);
        fixture.run_until(4);
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::at(dir.path());
        let restore = |folder: &mut Folder| {
            block(crate::shell::restore::restore(&fixture.bucket(), LEDGER, folder))
        };
        assert_eq!(restore(&mut folder).unwrap(), 4);
        assert_eq!(restore(&mut folder).unwrap(), 0, "nothing twice");
        let audit = crate::audit::audit(&mut folder).unwrap();
        assert!(audit.is_clean() && audit.indexes_damaged.is_empty(), "{audit:?}");
        let settings = Settings { segment_bytes: 1 << 20 };
        let (mut archive, _) = Archive::open(folder.clone(), settings, 77).unwrap();
        assert_eq!((archive.ledger_id(), archive.ledger().units), (LEDGER, 40));
        for (sequence, verdict) in [(39, Verdict::Duplicate), (40, Verdict::Accepted)] {
            assert_eq!(archive.offer(&unit(1, sequence), NOW).unwrap(), verdict);
        }
        archive.commit(NOW).unwrap();
        let audit = crate::audit::audit(&mut folder).unwrap();
        assert!(audit.is_clean() && audit.units == 41, "{audit:?}");
        // Another ledger's folder is left alone.
        let other = tempfile::tempdir().unwrap();
        let mut other = Folder::at(other.path());
        Archive::open(other.clone(), settings, 6).unwrap();
        assert!(restore(&mut other).unwrap_err().to_string().contains("--to"));
    }

    #[test]
    fn a_folder_serves_as_an_object_store() {
        let fixture = Fixture::new(0);
        let dir = tempfile::tempdir().unwrap();
        let config =
            crate::config::StoreConfig { dir: Some(dir.path().into()), ..Default::default() };
        let bucket =
            Bucket::open(&config, std::path::Path::new(""), "a domain/with slashes").unwrap();
        assert_eq!(block(bucket.keep(LEDGER, 3, "whole".into())).unwrap(), Kept::Verified);
        assert_eq!(block(bucket.keep(LEDGER, 3, "other".into())).unwrap(), Kept::Other);
        assert_eq!(block(bucket.ledgers()).unwrap(), [LEDGER]);
        assert_eq!(block(bucket.list(LEDGER)).unwrap(), [(3, 5)].into());
        assert_eq!(block(bucket.list(6)).unwrap(), [].into());
        assert_eq!(block(bucket.read(LEDGER, 3)).unwrap(), "whole");
        let absent =
            crate::config::StoreConfig { dir: Some("/nowhere".into()), ..Default::default() };
        let error =
            Bucket::open(&absent, std::path::Path::new(""), "test").unwrap_err().to_string();
        assert!(error.contains("mount"), "{error}");
        drop(fixture);
    }
}
