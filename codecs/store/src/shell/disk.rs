//! A store's medium on a folder of the file system.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use bytes::Bytes;
use rustix::{
    fs::{FallocateFlags, FlockOperation, fallocate, flock, fstat},
    io::Errno,
};

use crate::{Fault, Medium};

const LOCK: &str = "lock";
const RESERVE: &str = "reserve";
/// Number of the newest segment, in hexadecimal.
const NEWEST: &str = "newest";
const SUFFIX: &str = "seg";

/// Segments as files of one folder; `reserve` is space kept from others.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    /// The folder itself, for syncing names.
    names: File,
    /// Holds the lock as long as it is open; absent when only reading.
    _lock: Option<File>,
    /// The segment last used.
    open: Option<(u64, File)>,
}

impl Disk {
    /// Opens the folder to write, making it where it is missing.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{}: can't make the store's folder", folder.display()))?;
        let path = folder.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("{}: can't be opened", path.display()))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => bail!(
                "{}: another process has this store open; stop it or give this one a folder \
                 of its own",
                folder.display()
            ),
            Err(error) => bail!("{}: can't be locked: {error}", path.display()),
        }
        Self::with(folder, Some(lock))
    }

    /// Opens the folder to look into it.
    pub fn read_only(folder: &Path) -> anyhow::Result<Self> {
        Self::with(folder, None)
    }

    fn with(folder: &Path, lock: Option<File>) -> anyhow::Result<Self> {
        let names = File::open(folder)
            .with_context(|| format!("{}: can't open the store's folder", folder.display()))?;
        Ok(Self { folder: folder.into(), names, _lock: lock, open: None })
    }

    fn path(&self, segment: u64) -> PathBuf {
        self.folder.join(format!("{segment:016x}.{SUFFIX}"))
    }

    /// Notes which segment is the newest, whole or as before.
    fn mark(&self, segment: u64) -> Result<(), Fault> {
        let (path, fresh) = (self.folder.join(NEWEST), self.folder.join("newest.part"));
        let write = || {
            let mut file = File::create(&fresh)?;
            io::Write::write_all(&mut file, format!("{segment:016x}\n").as_bytes())?;
            file.sync_data()?;
            std::fs::rename(&fresh, &path)
        };
        write().map_err(|error| fault(&path, &error))
    }

    fn file(&mut self, segment: u64) -> Result<&File, Fault> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != segment) {
            let path = self.path(segment);
            let file = OpenOptions::new()
                .read(true)
                .append(self._lock.is_some())
                .open(&path)
                .map_err(|error| fault(&path, &error))?;
            self.open = Some((segment, file));
        }
        match &self.open {
            Some((_, file)) => Ok(file),
            None => Err(Fault::Failed("no segment is open".into())),
        }
    }
}

/// Whether what was just synced still has a name: what was removed while it was open takes writes as
/// before, and keeps nothing.
fn there(path: &Path, file: &File) -> Result<(), Fault> {
    let links = fstat(file).map_err(|error| fault(path, &error.into()))?.st_nlink;
    if links > 0 {
        return Ok(());
    }
    Err(Fault::Failed(format!("{}: was removed while in use", path.display())))
}

fn fault(path: &Path, error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Fault::Full,
        _ => Fault::Failed(format!("{}: {error}", path.display())),
    }
}

impl Medium for Disk {
    fn segments(&mut self) -> Result<Vec<(u64, u64)>, Fault> {
        let failed = |error: io::Error| fault(&self.folder, &error);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let number = name
                .to_str()
                .and_then(|name| name.strip_suffix(SUFFIX)?.strip_suffix('.'))
                .filter(|digits| digits.len() == 16)
                .and_then(|digits| u64::from_str_radix(digits, 16).ok());
            if let Some(number) = number {
                found.push((number, entry.metadata().map_err(failed)?.len()));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn create(&mut self, segment: u64) -> Result<(), Fault> {
        self.mark(segment)?;
        let path = self.path(segment);
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create_new(true)
            .open(&path)
            .map_err(|error| fault(&path, &error))?;
        self.open = Some((segment, file));
        Ok(())
    }

    fn append(&mut self, segment: u64, bytes: &[u8]) -> Result<(), Fault> {
        let path = self.path(segment);
        let mut file = self.file(segment)?;
        io::Write::write_all(&mut file, bytes).map_err(|error| fault(&path, &error))
    }

    fn sync(&mut self, segment: u64) -> Result<(), Fault> {
        let path = self.path(segment);
        let file = self.file(segment)?;
        file.sync_data().map_err(|error| fault(&path, &error))?;
        there(&path, file)
    }

    fn sync_names(&mut self) -> Result<(), Fault> {
        self.names.sync_all().map_err(|error| fault(&self.folder, &error))?;
        there(&self.folder, &self.names)
    }

    fn newest(&mut self) -> Option<u64> {
        let text = std::fs::read_to_string(self.folder.join(NEWEST)).ok()?;
        u64::from_str_radix(text.trim(), 16).ok()
    }

    fn remove(&mut self, segment: u64) -> Result<(), Fault> {
        self.open.take_if(|(open, _)| *open == segment);
        let path = self.path(segment);
        std::fs::remove_file(&path).map_err(|error| fault(&path, &error))
    }

    fn read(&mut self, segment: u64, offset: u64, length: usize) -> Result<Bytes, Fault> {
        let path = self.path(segment);
        let mut bytes = vec![0; length];
        // Reading must not close the segment that is being written.
        let open = self.open.as_ref().filter(|(open, _)| *open == segment);
        let read = match open {
            Some((_, file)) => file.read_exact_at(&mut bytes, offset),
            None => File::open(&path).and_then(|file| file.read_exact_at(&mut bytes, offset)),
        };
        read.map_err(|error| fault(&path, &error))?;
        Ok(bytes.into())
    }

    fn reserve(&mut self, bytes: u64) -> Result<(), Fault> {
        let path = self.folder.join(RESERVE);
        if bytes == 0 {
            return match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fault(&path, &error)),
                _ => Ok(()),
            };
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| fault(&path, &error))?;
        match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => Ok(()),
            // Where the file system can't set space aside, there is nothing to hold.
            Err(Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(fault(&path, &error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_serves_one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Disk::open(folder.path()).unwrap();
        let second = Disk::open(folder.path()).unwrap_err().to_string();
        assert!(second.contains("another process"), "{second}");
        disk.create(3).unwrap();
        disk.append(3, b"abc").unwrap();
        disk.sync(3).unwrap();
        disk.sync_names().unwrap();
        disk.reserve(1 << 16).unwrap();
        drop(disk);
        let mut looked = Disk::read_only(folder.path()).unwrap();
        assert_eq!(looked.segments().unwrap(), [(3, 3)]);
        assert_eq!(&looked.read(3, 1, 2).unwrap()[..], b"bc");
        assert!(looked.read(3, 1, 3).is_err());
        let mut again = Disk::open(folder.path()).unwrap();
        again.append(3, b"de").unwrap();
        assert_eq!(&again.read(3, 0, 5).unwrap()[..], b"abcde");
        again.reserve(0).unwrap();
        again.remove(3).unwrap();
        assert_eq!(again.segments().unwrap(), []);
        assert_eq!(again.newest(), Some(3), "it was there");
    }

    #[test]
    fn what_is_removed_while_in_use_keeps_nothing_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Disk::open(folder.path()).unwrap();
        disk.create(0).unwrap();
        disk.append(0, b"abc").unwrap();
        disk.sync(0).unwrap();
        std::fs::remove_dir_all(folder.path()).unwrap();
        disk.append(0, b"de").unwrap();
        let gone = disk.sync(0).unwrap_err().to_string();
        assert!(gone.contains("was removed while in use"), "{gone}");
        assert!(disk.sync_names().is_err() && disk.create(1).is_err());
    }

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        let path = Path::new("x");
        assert_eq!(fault(path, &io::ErrorKind::StorageFull.into()), Fault::Full);
        assert!(matches!(fault(path, &io::ErrorKind::NotFound.into()), Fault::Failed(_)));
    }
}
