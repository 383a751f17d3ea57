//! The catalogue on disk: a thread that appends and syncs lines, so that no one waits for it.

use crate::{
    archive::{segment::number_of, storage::Storage as _},
    catalogue::{Catalogue, Entry, FILE, Link},
    shell::disk::Folder,
};
use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

/// Lines that wait for the thread; more are dropped and said, since they are observations.
const QUEUE_LINES: usize = 4_096;
/// Lines from which a start writes the log anew.
const COMPACT_LINES: usize = 10_000;

/// Where lines go; clones share one thread, which ends with the last of them.
#[derive(Clone, Debug)]
pub struct CatalogueLog(SyncSender<Entry>);

impl CatalogueLog {
    /// Opens the log of an archive's folder: what it says so far, where lines go, the thread.
    pub fn open(dir: &Path) -> io::Result<(Catalogue, Self, JoinHandle<()>)> {
        let path = dir.join(FILE);
        let bytes = read(&path)?;
        let catalogue = Catalogue::from_bytes(&bytes);
        if catalogue.damaged > 0 {
            tracing::warn!(lines = catalogue.damaged, "catalogue: lines that do not hold");
        }
        if bytes.iter().filter(|byte| **byte == b'\n').count() > COMPACT_LINES {
            let names = Folder::at(dir).list()?;
            let segments: BTreeSet<u64> = names.iter().filter_map(|name| number_of(name)).collect();
            replace(&path, &catalogue.compact(&segments))?;
        }
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        if bytes.last().is_some_and(|last| *last != b'\n') {
            // A kill cut the last line: the next one must not be joined to it.
            file.write_all(b"\n")?;
        }
        let (lines, queue) = sync_channel(QUEUE_LINES);
        let thread =
            thread::Builder::new().name("catalogue".into()).spawn(move || append(file, &queue))?;
        Ok((catalogue, Self(lines), thread))
    }

    /// Notes an entry; never waits.
    pub fn note(&self, entry: Entry) {
        if let Err(error) = self.0.try_send(entry) {
            tracing::warn!(%error, "catalogue: a line is lost");
        }
    }
}

/// Links of an archive's folder, in the order in which they began; also beside a running daemon.
pub fn links(dir: &Path) -> io::Result<Vec<Link>> {
    Ok(Catalogue::from_bytes(&read(&dir.join(FILE))?).links)
}

/// Segments that were verified in the object store; also beside a running daemon.
pub fn stored(dir: &Path) -> io::Result<BTreeSet<u64>> {
    Ok(Catalogue::from_bytes(&read(&dir.join(FILE))?).stored.into_keys().collect())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let fresh: PathBuf = path.with_extension("jsonl.new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)
}

fn append(mut file: File, queue: &Receiver<Entry>) {
    while let Ok(entry) = queue.recv() {
        let mut text = entry.line();
        queue.try_iter().take(QUEUE_LINES).for_each(|entry| text.push_str(&entry.line()));
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_data());
        if let Err(error) = written {
            tracing::warn!(%error, "catalogue: lines are lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_after_a_kill_in_the_middle_of_one() {
        let dir = tempfile::tempdir().unwrap();
        let (before, log, thread) = CatalogueLog::open(dir.path()).unwrap();
        assert_eq!(before, Catalogue::default());
        (0..5).for_each(|segment| log.note(Entry::Stored { segment, bytes: 1 }));
        drop(log);
        thread.join().unwrap();
        let path = dir.path().join(FILE);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 4]).unwrap();
        let (cut, log, thread) = CatalogueLog::open(dir.path()).unwrap();
        assert_eq!((cut.stored.len(), cut.damaged), (4, 1));
        log.note(Entry::Stored { segment: 9, bytes: 1 });
        drop(log);
        thread.join().unwrap();
        let (after, ..) = CatalogueLog::open(dir.path()).unwrap();
        assert_eq!((after.stored.len(), after.damaged), (5, 1));
        assert_eq!(links(dir.path()).unwrap(), []);
    }
}
