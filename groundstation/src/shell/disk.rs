//! A folder on a real disk, for the archive.

use crate::archive::storage::{Storage, StoredFile};
use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use std::{
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// A folder whose files are written through the page cache and made durable with `fdatasync`.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// A folder that exists, for reading.
    pub fn at(path: &Path) -> Self {
        Self { path: path.into() }
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
        Ok((Self::at(path), lock))
    }
}

impl Storage for Folder {
    type File = File;

    fn list(&self) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.path)?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    fn create(&mut self, name: &str, bytes: u64) -> io::Result<File> {
        let path = self.path.join(name);
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let reserved = match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            // Some network file systems can't reserve; writes then find out.
            Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(bytes),
            outcome => outcome.map_err(io::Error::from),
        };
        if let Err(error) = reserved {
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        Ok(file)
    }

    fn open(&mut self, name: &str) -> io::Result<File> {
        let path = self.path.join(name);
        // An audit may read what it must not write.
        match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => File::open(&path),
            opened => opened,
        }
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_names(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl StoredFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, into, offset)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::write_at(self, bytes, offset)
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Archive, Now, Settings, tests::unit};
    use codecs::time::Tai;

    const NOW: Now = Now { mono_ms: 0, tai: Tai(0) };

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
