//! A folder on a real disk, for the archive.
//!
//! Blocks are written past the page cache (`O_DIRECT`): a sixth of the processor time, and the
//! disk's own speed. Where that is refused, as in memory and on some network file systems, and for
//! the few writes that are no whole blocks, the page cache is used; either way a sync makes it
//! durable.

use crate::{
    archive::storage::{Storage, StoredFile},
    sys::aligned::ALIGN,
};
use rustix::fs::{FallocateFlags, FlockOperation, OFlags, fallocate, flock};
use std::{
    fs::{DirBuilder, File, Metadata, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

/// How blocks reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum WriteMode {
    /// No block was written yet.
    Unknown = 0,
    /// Past the page cache.
    Direct = 1,
    /// Through the page cache: the file system refuses the other.
    Buffered = 2,
}

impl WriteMode {
    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Direct => "direct",
            Self::Buffered => "buffered",
        }
    }
}

/// A folder whose files are made durable with `fdatasync`.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    /// Device and inode of the folder that was claimed, to tell it from one in its place.
    claimed: Option<(u64, u64)>,
    mode: Arc<AtomicU8>,
}

/// An open file of a [`Folder`].
#[derive(Debug)]
pub struct DiskFile {
    /// Through the page cache.
    file: File,
    /// The same file past it, where it is for writing and the file system lets it.
    direct: Option<File>,
    mode: Arc<AtomicU8>,
}

impl Folder {
    /// A folder that exists, for reading.
    pub fn at(path: &Path) -> Self {
        let mode = Arc::new(AtomicU8::new(WriteMode::Unknown as u8));
        Self { path: path.into(), claimed: None, mode }
    }

    /// How blocks reach the disk, as far as some were written.
    pub fn write_mode(&self) -> WriteMode {
        match self.mode.load(Ordering::Relaxed) {
            1 => WriteMode::Direct,
            2 => WriteMode::Buffered,
            _ => WriteMode::Unknown,
        }
    }

    fn file(&self, file: File, direct: Option<File>) -> DiskFile {
        DiskFile { file, direct, mode: Arc::clone(&self.mode) }
    }

    /// A second handle of a file that goes past the page cache.
    fn direct(path: &Path) -> Option<File> {
        let direct = OFlags::DIRECT.bits() as i32;
        OpenOptions::new().write(true).custom_flags(direct).open(path).ok()
    }

    /// A folder for one writer: made if it is missing, and locked until the returned file closes.
    pub fn claim(path: &Path) -> io::Result<(Self, File)> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => io::Error::other("in use by another daemon"),
            other => other.into(),
        })?;
        let claimed = Some(place(&std::fs::metadata(path)?));
        Ok((Self { claimed, ..Self::at(path) }, lock))
    }

    /// Bytes that may still be written on its file system; an error where it is not the folder that
    /// was claimed.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let folder = File::open(&self.path)?;
        let found = place(&folder.metadata()?);
        if self.claimed.is_some_and(|claimed| claimed != found) {
            return Err(io::Error::other("another folder stands in its place"));
        }
        let room = rustix::fs::fstatvfs(&folder)?;
        Ok(room.f_bavail.saturating_mul(room.f_frsize))
    }

    /// Writes and syncs a block under a name of its own, and removes it. With a size it finds out
    /// as well whether a segment of it could be begun: a block fits long after that fails.
    pub fn try_write(&self, segment_bytes: Option<u64>) -> io::Result<()> {
        let path = self.path.join("trial");
        let written = File::create(&path).and_then(|file| {
            file.write_all_at(&[0; ALIGN], 0)?;
            file.sync_data()?;
            segment_bytes.map_or(Ok(()), |bytes| self.try_reserve(&file, bytes))
        });
        let removed = std::fs::remove_file(&path);
        written.and(removed)
    }

    fn try_reserve(&self, file: &File, bytes: u64) -> io::Result<()> {
        // Some file systems take all that is left before they refuse, from everyone else too.
        let free = self.free_bytes()?;
        if free < bytes {
            let text = format!("{free} bytes are free, a segment takes {bytes}");
            return Err(io::Error::new(io::ErrorKind::StorageFull, text));
        }
        reserve(file, bytes)
    }
}

impl Storage for Folder {
    type File = DiskFile;

    fn list(&self) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.path)?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    fn create(&mut self, name: &str, bytes: u64) -> io::Result<DiskFile> {
        let path = self.path.join(name);
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        if let Err(error) = reserve(&file, bytes) {
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        Ok(self.file(file, Self::direct(&path)))
    }

    fn open(&mut self, name: &str) -> io::Result<DiskFile> {
        let path = self.path.join(name);
        // An audit may read what it must not write.
        let opened = match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => File::open(&path),
            opened => opened,
        };
        Ok(self.file(opened?, None))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn sync_names(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        // Some network file systems can't reserve; writes then find out.
        Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(bytes),
        outcome => outcome.map_err(io::Error::from),
    }
}

fn place(folder: &Metadata) -> (u64, u64) {
    (folder.dev(), folder.ino())
}

/// Whether a write is one that may go past the page cache.
fn is_aligned(offset: u64, bytes: &[u8]) -> bool {
    offset.is_multiple_of(ALIGN as u64)
        && bytes.len().is_multiple_of(ALIGN)
        && bytes.as_ptr().addr().is_multiple_of(ALIGN)
}

impl DiskFile {
    /// Says once, for the whole folder, how its blocks are written.
    fn tell(&self, mode: WriteMode) {
        if self.mode.swap(mode as u8, Ordering::Relaxed) != mode as u8 {
            match mode {
                WriteMode::Buffered => tracing::warn!(
                    "this file system refuses writes past the page cache: the archive costs more \
                     processor time here"
                ),
                _ => tracing::debug!(mode = mode.name(), "archive writes"),
            }
        }
    }
}

impl StoredFile for DiskFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        if !is_aligned(offset, bytes) {
            return self.file.write_at(bytes, offset);
        }
        if let Some(direct) = &self.direct {
            match direct.write_at(bytes, offset) {
                Ok(count) => {
                    self.tell(WriteMode::Direct);
                    return Ok(count);
                }
                // What some file systems answer that opened the file so and can't write so.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.direct = None,
                Err(error) => return Err(error),
            }
        }
        self.tell(WriteMode::Buffered);
        self.file.write_at(bytes, offset)
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        // What has no name any more is gone with this process, however well it was synced.
        match self.file.metadata()?.nlink() {
            0 => Err(io::Error::new(io::ErrorKind::NotFound, "the file was removed")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Archive, Now, Settings, tests::unit};
    use codecs::time::Tai;

    #[test]
    fn a_file_reads_the_same_however_it_was_written() {
        // One on a disk, one in memory, where the system refuses writes past its cache.
        for dir in [tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap()] {
            let mut folder = Folder::at(dir.path());
            let mut file = folder.create("x", 64 << 10).unwrap();
            assert_eq!(folder.write_mode(), WriteMode::Unknown);
            let mut block = crate::sys::aligned::Aligned::zeroed(8192);
            block.fill(3);
            assert_eq!(file.write_at(0, &[1; 100]).unwrap(), 100);
            assert_eq!(file.write_at(4096, &block).unwrap(), 8192);
            assert_eq!(file.write_at(12_288, &[2; 50]).unwrap(), 50);
            file.sync().unwrap();
            assert_ne!(folder.write_mode(), WriteMode::Unknown);
            let mut read = vec![9; 12_400];
            assert_eq!(file.read_at(0, &mut read).unwrap(), read.len());
            assert!(read[..100] == [1; 100] && read[100..4096].iter().all(|byte| *byte == 0));
            assert!(read[4096..12_288].iter().all(|byte| *byte == 3));
            assert!(read[12_288..12_338] == [2; 50]);
        }
    }

    const NOW: Now = Now { mono_ms: 0, tai: Tai(0) };

    #[test]
    fn nothing_is_acknowledged_in_a_segment_that_was_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("archive");
        let (folder, _lock) = Folder::claim(&path).unwrap();
        let settings = Settings { segment_bytes: 64 << 10 };
        let (mut archive, _) = Archive::open(folder.clone(), settings, 5).unwrap();
        archive.offer(&unit(1, 0), NOW).unwrap();
        archive.commit(NOW).unwrap();
        std::fs::remove_dir_all(&path).unwrap();
        archive.offer(&unit(1, 1), NOW).unwrap();
        assert!(archive.commit(NOW).is_err());
        assert!(folder.free_bytes().is_err());
    }

    #[test]
    fn an_archive_on_a_real_folder_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("archive");
        let settings = Settings { segment_bytes: 64 << 10 };
        let (folder, lock) = Folder::claim(&path).unwrap();
        assert!(Folder::claim(&path).unwrap_err().to_string().contains("in use"));
        let (mut archive, _) = Archive::open(folder, settings, 5).unwrap();
        for sequence in 0..120 {
            archive.offer(&unit(1, sequence), NOW).unwrap();
            archive.commit(NOW).unwrap();
        }
        // As after a kill: no seal.
        drop((archive, lock));
        let (folder, _lock) = Folder::claim(&path).unwrap();
        let (archive, report) = Archive::open(folder.clone(), settings, 6).unwrap();
        assert_eq!((archive.ledger_id(), archive.ledger().units), (5, 120));
        assert_eq!(report.scanned, 1);
        let audit = crate::audit::audit(&mut folder.clone()).unwrap();
        assert!(audit.is_clean() && audit.torn.is_empty(), "{audit:?}");
        assert_eq!(audit.units, 120);
    }
}
