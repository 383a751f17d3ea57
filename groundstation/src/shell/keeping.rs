//! What stands around the archive as long as the daemon runs: the witness, the object store, the
//! catalogue.

use super::{
    bucket::Bucket,
    catalogue::CatalogueLog,
    clock::StationClock,
    disk::Folder,
    start,
    uploader::{self, Uploader},
    witness,
    writer::Writer,
};
use crate::{
    archive::retain::Floor,
    catalogue::Catalogue,
    config::Config,
    import::{Older, merge},
    publish::Feed,
    upload::{ledger_behind, proven},
};
use anyhow::{Context as _, ensure};
use codecs::ids::{KeyPrefix, RangeSet};
use std::{
    collections::{BTreeMap, BTreeSet},
    thread::JoinHandle,
};
use tokio::sync::watch;

/// What is said where a new ledger can't begin with what the bucket holds.
pub const UNREADABLE: &str = "archive.object_store can't be read, and a new ledger begins with \
    what it holds; start again when it can be, or take the section out";

/// Opened before the archive.
pub struct Keeping {
    /// Where lines of the catalogue go.
    pub log: CatalogueLog,
    /// Ledgers whose receipts were this station's word before this one.
    pub predecessors: BTreeSet<u64>,
    catalogue: Catalogue,
    bucket: Option<Bucket>,
    threads: Vec<JoinHandle<()>>,
}

impl Keeping {
    /// Opens what stands around the archive in `folder`. Where that is empty, refuses what was not
    /// meant, or lets ledger `fresh` begin with what the bucket holds.
    pub async fn open(
        config: &Config,
        bucket: Option<Bucket>,
        folder: &Folder,
        fresh: u64,
        new_ledger: bool,
    ) -> anyhow::Result<Self> {
        let dir = config.path(&config.archive.dir);
        let mut disk = folder.clone();
        let found = start::ledger(config, new_ledger)?;
        let mut older = Vec::new();
        if let (None, Some(bucket)) = (found, &bucket) {
            older = import(bucket, &mut disk, fresh).await.context(UNREADABLE)?;
        }
        let predecessors = witness::note(config, &older, found.unwrap_or(fresh));
        let (catalogue, log, thread) = CatalogueLog::open(&dir).context("catalogue")?;
        Ok(Self { log, predecessors, catalogue, bucket, threads: vec![thread] })
    }

    /// Starts uploads, where an object store is configured.
    pub fn start(
        mut self,
        folder: Folder,
        ledger: u64,
        clock: StationClock,
        feed: Feed,
        writer: &Writer,
        stopped: &watch::Receiver<bool>,
    ) -> anyhow::Result<Threads> {
        if let Some(bucket) = self.bucket.take() {
            let verified = std::mem::take(&mut self.catalogue.stored);
            let catalogue = self.log.clone();
            let uploader = Uploader { folder, bucket, ledger, clock, verified, catalogue, feed };
            let writer = writer.clone();
            let told = async move |stored| {
                // Closed: the next start tells it again.
                let _ = writer.stored(stored);
            };
            self.threads.push(uploader::start(uploader, told, stopped.clone())?);
        }
        Ok(Threads(self.threads))
    }
}

/// Threads that end after the daemon's stop.
pub struct Threads(Vec<JoinHandle<()>>);

impl Threads {
    /// Waits for them.
    pub async fn join(self) -> anyhow::Result<()> {
        for thread in self.0 {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await?;
            joined.map_err(|_| anyhow::anyhow!("a thread beside the archive failed; see above"))?;
        }
        Ok(())
    }
}

/// Begins an archive with what the bucket's ledgers hold; which ledgers those are.
async fn import(bucket: &Bucket, folder: &mut Folder, fresh: u64) -> anyhow::Result<Vec<u64>> {
    let ledgers = bucket.ledgers().await?;
    let mut older = Vec::new();
    for ledger in &ledgers {
        older.extend(read(bucket, *ledger).await?);
    }
    if older.is_empty() {
        return Ok(Vec::new());
    }
    let merged = merge(older)?;
    let held: u64 = merged.counters().map(|(_, counter)| counter.held.count()).sum();
    let lost: u64 = merged.counters().map(|(_, counter)| counter.lost.count()).sum();
    tracing::warn!(ledgers = ledgers.len(), held, lost, "a new ledger on an old bucket");
    Floor::import(folder, fresh, merged)?;
    Ok(ledgers)
}

/// What the bucket says of one ledger.
async fn read(bucket: &Bucket, ledger: u64) -> anyhow::Result<Option<Older>> {
    let segments = bucket.list(ledger).await?;
    let mut behind = None;
    for number in segments.keys().rev() {
        let bytes = bucket.read(ledger, *number).await?;
        behind = ledger_behind(&bytes, *number);
        if let Some((header, _)) = &behind {
            ensure!(header.ledger_id == ledger, "segment {number} is of another ledger");
            break;
        }
        tracing::warn!(segment = number, "its header does not hold; the one before counts");
    }
    let Some((header, claims)) = behind else { return Ok(None) };
    let whole = segments.keys().copied().eq(0..=header.number);
    let mut records = None;
    if !whole {
        let mut all: BTreeMap<KeyPrefix, RangeSet> = BTreeMap::new();
        for number in segments.keys() {
            let bytes = bucket.read(ledger, *number).await?;
            for (prefix, ranges) in proven(&bytes, *number) {
                all.entry(prefix).or_default().extend(&ranges);
            }
        }
        records = Some(all);
    }
    Ok(Some(Older { ledger: claims, proven: records }))
}
