//! The folder of model slots on a disk.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use bytes::Bytes;

use crate::models::files::{Fault, Files};

/// Held by whoever has the folder open.
const LOCK: &str = "lock";

/// A folder that no other process has open.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    _lock: Option<File>,
}

impl Folder {
    /// Opens the folder, and makes it where there is none.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        let shown = dir.display();
        fs::create_dir_all(dir).with_context(|| format!("{shown}: can't make the folder"))?;
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let lock = options.open(dir.join(LOCK));
        let lock = lock.with_context(|| format!("{shown}: can't write there"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir: dir.into(), _lock: Some(lock) }),
            Err(TryLockError::WouldBlock) => anyhow::bail!(
                "{shown}: another process has these slots open; a flight takes orders by uplink"
            ),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("{shown}: lock")),
        }
    }

    /// A folder to be read only, whoever has it open.
    pub fn look(dir: &Path) -> Self {
        Self { dir: dir.into(), _lock: None }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn fault(&self, name: &str, error: &io::Error) -> Fault {
        match error.kind() {
            io::ErrorKind::StorageFull => Fault::Full,
            _ => Fault::Failed(format!("{}: {error}", self.at(name).display())),
        }
    }
}

impl Files for Folder {
    fn names(&mut self) -> Result<Vec<String>, Fault> {
        let entries = fs::read_dir(&self.dir).map_err(|error| self.fault("", &error))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter(|name| name != LOCK).collect())
    }

    fn read(&mut self, name: &str, most: usize) -> Result<Option<Bytes>, Fault> {
        let file = match File::open(self.at(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.fault(name, &error)),
        };
        let mut bytes = Vec::new();
        let read = file.take(most as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| self.fault(name, &error))?;
        Ok(Some(bytes.into()))
    }

    fn create(&mut self, name: &str) -> Result<(), Fault> {
        File::create(self.at(name)).map(drop).map_err(|error| self.fault(name, &error))
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let write = || {
            let mut file = OpenOptions::new().write(true).open(self.at(name))?;
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(bytes)
        };
        write().map_err(|error| self.fault(name, &error))
    }

    fn sync(&mut self, name: &str) -> Result<(), Fault> {
        let sync = || OpenOptions::new().write(true).open(self.at(name))?.sync_all();
        sync().map_err(|error| self.fault(name, &error))
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), Fault> {
        fs::rename(self.at(from), self.at(to)).map_err(|error| self.fault(from, &error))
    }

    fn remove(&mut self, name: &str) -> Result<(), Fault> {
        match fs::remove_file(self.at(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.fault(name, &error)),
            _ => Ok(()),
        }
    }

    fn sync_names(&mut self) -> Result<(), Fault> {
        let sync = File::open(&self.dir).and_then(|folder| folder.sync_all());
        sync.map_err(|error| self.fault("", &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_does_what_slots_ask() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(dir.path()).unwrap();
        let text = Folder::open(dir.path()).unwrap_err().to_string();
        assert!(text.contains("another process"), "{text}");
        assert_eq!(folder.read("x", 10), Ok(None));
        folder.create("x").unwrap();
        folder.write_at("x", 2, b"abc").unwrap();
        folder.sync("x").unwrap();
        assert_eq!(folder.read("x", 10).unwrap().as_deref(), Some(&b"\0\0abc"[..]));
        assert_eq!(folder.read("x", 3).unwrap().map(|bytes| bytes.len()), Some(4), "one more");
        folder.rename("x", "y").unwrap();
        folder.create("x").unwrap();
        folder.sync_names().unwrap();
        assert_eq!(folder.names().unwrap().len(), 2);
        folder.create("y").unwrap();
        assert_eq!(folder.read("y", 10).unwrap().as_deref(), Some(&b""[..]));
        folder.remove("y").unwrap();
        folder.remove("y").unwrap();
        assert!(folder.write_at("y", 0, b"a").is_err());
    }
}
