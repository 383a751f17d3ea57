//! A disk in memory that forgets what was not synced.

use groundstation::archive::storage::{Storage, StoredFile};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

#[derive(Clone, Debug, Default)]
struct Inode {
    synced: Vec<u8>,
    current: Vec<u8>,
}

#[derive(Debug, Default)]
struct Disk {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
}

/// The disk; clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<Disk>>);

/// An open file.
#[derive(Debug)]
pub struct MemoryFile(MemoryDisk, usize);

impl MemoryDisk {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().expect("one thread")
    }

    /// Puts a whole file there, as if it had always been.
    pub fn put(&mut self, name: &str, bytes: &[u8]) {
        let mut disk = self.disk();
        let inode = disk.inodes.len();
        disk.inodes.push(Inode { synced: bytes.to_vec(), current: bytes.to_vec() });
        disk.names.insert(name.into(), inode);
        disk.durable_names.insert(name.into(), inode);
    }

    /// The disk as it is found after the power comes back.
    pub fn crash(&self) -> Self {
        let disk = self.disk();
        let synced = |inode: &Inode| Inode { current: inode.synced.clone(), ..inode.clone() };
        let inodes = disk.inodes.iter().map(synced).collect();
        let names = disk.durable_names.clone();
        Self(Arc::new(Mutex::new(Disk { inodes, durable_names: names.clone(), names })))
    }
}

impl Storage for MemoryDisk {
    type File = MemoryFile;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.disk().names.keys().cloned().collect())
    }

    fn create(&mut self, name: &str, bytes: u64) -> io::Result<MemoryFile> {
        let mut disk = self.disk();
        if disk.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = disk.inodes.len();
        disk.inodes.push(Inode { synced: Vec::new(), current: vec![0; bytes as usize] });
        disk.names.insert(name.into(), inode);
        drop(disk);
        Ok(MemoryFile(self.clone(), inode))
    }

    fn open(&mut self, name: &str) -> io::Result<MemoryFile> {
        let inode = self.disk().names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(MemoryFile(self.clone(), inode))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.disk().names.remove(name).map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk();
        let inode = disk.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        disk.names.insert(to.into(), inode);
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.durable_names = disk.names.clone();
        Ok(())
    }
}

impl StoredFile for MemoryFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.disk().inodes[self.1].current.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let disk = self.0.disk();
        let bytes = &disk.inodes[self.1].current;
        let from = bytes.get(offset as usize..).unwrap_or_default();
        let count = from.len().min(into.len());
        into[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.disk();
        let current = &mut disk.inodes[self.1].current;
        let end = offset as usize + bytes.len();
        current.resize(current.len().max(end), 0);
        current[offset as usize..end].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.0.disk().inodes[self.1].current.resize(bytes as usize, 0);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut disk = self.0.disk();
        let inode = &mut disk.inodes[self.1];
        inode.synced = inode.current.clone();
        Ok(())
    }
}
