//! A disk in memory that forgets what was not synced, and fails when it is told to. Tests and
//! simulations archive on it.
//!
//! After a crash a file is what its last sync made of it, plus, by [`Crash`], none, a torn part or
//! any subset of the blocks written since. Names appear and vanish only with `sync_names`.

use super::storage::{Storage, StoredFile};
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Writes survive a crash in units of this.
const BLOCK: usize = 4096;

/// What a crash leaves of unsynced writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Nothing.
    Drop,
    /// Earlier writes whole, the last one cut in the middle.
    Tear,
    /// Every other block, whatever the order of writes.
    Reorder,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Input/output error; a sync that fails forgets what was not synced.
    Io,
    /// No space left.
    Full,
    /// A write takes only part; other calls fail with an input/output error.
    Short,
    /// Power is cut: this call and all later ones fail.
    Power,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    synced: Vec<u8>,
    current: Vec<u8>,
    /// Blocks written since the last sync, in order.
    dirty: Vec<usize>,
}

#[derive(Debug, Default)]
struct Disk {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    next_inode: u64,
    calls: u64,
    fail_at: Option<(u64, Failure)>,
    dead: bool,
    room: Option<usize>,
    /// The negative control: syncs say yes and do nothing.
    lying: bool,
    watch: Watch,
}

/// Sees the disk before each call, as a crash would leave it then.
#[derive(Default)]
struct Watch(Option<Box<Watcher>>);
type Watcher = dyn FnMut(u64, &dyn Fn(Crash) -> ForgetfulDisk) + Send;

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Watch({})", self.0.is_some())
    }
}

/// The disk; clones share it, as file handles share a real one.
#[derive(Clone, Debug, Default)]
pub struct ForgetfulDisk(Arc<Mutex<Disk>>);

/// An open file of a [`ForgetfulDisk`].
#[derive(Debug)]
pub struct ForgetfulFile {
    disk: ForgetfulDisk,
    inode: u64,
}

impl ForgetfulDisk {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.disk().calls
    }

    /// Makes one future call fail.
    pub fn fail_at(&self, call: u64, failure: Failure) {
        self.disk().fail_at = Some((call, failure));
    }

    /// Bounds what files may hold in all.
    pub fn set_room(&self, bytes: Option<usize>) {
        self.disk().room = bytes;
    }

    /// Removes the sync from sync: for the test that shows that the tests would notice.
    pub fn lie_about_syncs(&self) {
        self.disk().lying = true;
    }

    /// The disk as it is found after the power comes back.
    pub fn crash(&self, how: Crash) -> Self {
        self.disk().after(how)
    }

    /// Calls `watch` before each call with its number and what a crash would leave then: one run
    /// shows every crash.
    pub fn watch(&self, watch: impl FnMut(u64, &dyn Fn(Crash) -> ForgetfulDisk) + Send + 'static) {
        self.disk().watch = Watch(Some(Box::new(watch)));
    }

    /// Replaces a file's contents, in memory and on the medium.
    pub fn replace(&self, name: &str, bytes: Vec<u8>) {
        let mut disk = self.disk();
        let inode = disk.names[name];
        let file = Inode { synced: bytes.clone(), current: bytes, dirty: Vec::new() };
        disk.inodes.insert(inode, file);
    }

    /// Contents of a file.
    pub fn contents(&self, name: &str) -> Vec<u8> {
        let disk = self.disk();
        disk.inodes[&disk.names[name]].current.clone()
    }

    /// Flips a bit of a file, in memory and on the medium.
    pub fn flip(&self, name: &str, offset: usize, mask: u8) {
        let mut disk = self.disk();
        let inode = disk.names[name];
        let file = disk.inodes.get_mut(&inode).unwrap();
        for copy in [&mut file.current, &mut file.synced] {
            if let Some(byte) = copy.get_mut(offset) {
                *byte ^= mask;
            }
        }
    }
}

impl Disk {
    /// Counts a call and fails it if its time has come.
    fn call(&mut self) -> Result<(), Failure> {
        self.calls += 1;
        if let Some(mut watch) = self.watch.0.take() {
            watch(self.calls, &|how| self.after(how));
            self.watch.0 = Some(watch);
        }
        if self.dead {
            return Err(Failure::Power);
        }
        match self.fail_at {
            Some((call, failure)) if call == self.calls => {
                self.dead = failure == Failure::Power;
                Err(failure)
            }
            _ => Ok(()),
        }
    }

    fn after(&self, how: Crash) -> ForgetfulDisk {
        let mut after = Self { next_inode: self.next_inode, ..Self::default() };
        for (name, inode) in &self.durable_names {
            after.names.insert(name.clone(), *inode);
            after.inodes.insert(*inode, self.inodes[inode].after(how));
        }
        after.durable_names = after.names.clone();
        ForgetfulDisk(Arc::new(Mutex::new(after)))
    }

    fn used(&self) -> usize {
        self.names.values().map(|inode| self.inodes[inode].current.len()).sum()
    }
}

fn error(failure: Failure) -> io::Error {
    match failure {
        Failure::Full => io::ErrorKind::StorageFull.into(),
        Failure::Io | Failure::Short | Failure::Power => io::Error::from_raw_os_error(5),
    }
}

impl Inode {
    /// Makes what was written since the last sync durable.
    fn keep(&mut self) {
        self.synced.resize(self.current.len(), 0);
        for block in self.dirty.drain(..) {
            let range = block * BLOCK..((block + 1) * BLOCK).min(self.current.len());
            if let (Some(to), Some(from)) =
                (self.synced.get_mut(range.clone()), self.current.get(range))
            {
                to.copy_from_slice(from);
            }
        }
    }

    fn after(&self, how: Crash) -> Self {
        let mut kept = self.synced.clone();
        let last = self.dirty.len().saturating_sub(1);
        for (order, block) in self.dirty.iter().enumerate() {
            let from = block * BLOCK;
            let whole = (from + BLOCK).min(self.current.len());
            let to = match how {
                Crash::Drop => from,
                Crash::Tear if order == last => from + (whole.saturating_sub(from)) / 3,
                Crash::Tear => whole,
                Crash::Reorder if order % 2 == 0 => from,
                Crash::Reorder => whole,
            };
            if to > from {
                kept.resize(kept.len().max(to), 0);
                kept[from..to].copy_from_slice(&self.current[from..to]);
            }
        }
        Self { synced: kept.clone(), current: kept, dirty: Vec::new() }
    }
}

impl Storage for ForgetfulDisk {
    type File = ForgetfulFile;

    fn list(&self) -> io::Result<Vec<String>> {
        let mut disk = self.disk();
        disk.call().map_err(error)?;
        Ok(disk.names.keys().cloned().collect())
    }

    fn create(&mut self, name: &str, bytes: u64) -> io::Result<ForgetfulFile> {
        let mut disk = self.disk();
        disk.call().map_err(error)?;
        if disk.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if disk.room.is_some_and(|room| disk.used() + bytes as usize > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = disk.next_inode;
        disk.next_inode += 1;
        // Reserved room reads as zeros and is found again after a crash.
        // Made apart: a copy would touch every page of room that most segments never fill.
        let zeros = || vec![0; bytes as usize];
        let file = Inode { synced: zeros(), current: zeros(), dirty: Vec::new() };
        disk.inodes.insert(inode, file);
        disk.names.insert(name.into(), inode);
        Ok(ForgetfulFile { disk: self.clone(), inode })
    }

    fn open(&mut self, name: &str) -> io::Result<ForgetfulFile> {
        let mut disk = self.disk();
        disk.call().map_err(error)?;
        let inode = *disk.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(ForgetfulFile { disk: self.clone(), inode })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.call().map_err(error)?;
        disk.names.remove(name).map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.call().map_err(error)?;
        let inode = disk.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        disk.names.insert(to.into(), inode);
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.call().map_err(error)?;
        if !disk.lying {
            disk.durable_names = disk.names.clone();
        }
        Ok(())
    }
}

impl ForgetfulFile {
    fn with<T>(&self, act: impl FnOnce(&mut Inode) -> T) -> io::Result<T> {
        let mut disk = self.disk.disk();
        disk.call().map_err(error)?;
        Ok(act(disk.inodes.get_mut(&self.inode).expect("inodes are never removed")))
    }
}

impl StoredFile for ForgetfulFile {
    fn length(&self) -> io::Result<u64> {
        self.with(|file| file.current.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.with(|file| {
            let rest = file.current.get(offset as usize..).unwrap_or_default();
            let count = rest.len().min(into.len());
            into[..count].copy_from_slice(&rest[..count]);
            count
        })
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.disk.disk();
        let bytes = match disk.call() {
            Ok(()) => bytes,
            Err(Failure::Short) => &bytes[..bytes.len() / 2],
            Err(failure) => return Err(error(failure)),
        };
        // Counted where a bound asks for it only: there may be thousands of segments.
        let left = disk.room.map(|room| room.saturating_sub(disk.used()));
        let file = disk.inodes.get_mut(&self.inode).expect("inodes are never removed");
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        let grows = end.saturating_sub(file.current.len());
        if grows > 0 && left.is_some_and(|left| grows > left) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.current.resize(file.current.len().max(end), 0);
        file.current[start..end].copy_from_slice(bytes);
        file.dirty.extend(start / BLOCK..end.div_ceil(BLOCK));
        Ok(bytes.len())
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        // Where truncation stands between syncs is the file system's; it is durable at once here,
        // the harder case.
        self.with(|file| {
            for copy in [&mut file.current, &mut file.synced] {
                copy.truncate(bytes as usize);
                // A sealed segment gives its room back: a day has hundreds of them.
                copy.shrink_to_fit();
            }
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut disk = self.disk.disk();
        let outcome = disk.call();
        let lying = disk.lying;
        let file = disk.inodes.get_mut(&self.inode).expect("inodes are never removed");
        match outcome {
            // As Linux does: after a failed sync the pages are clean and the data is gone.
            Err(Failure::Io | Failure::Full | Failure::Short) => {
                file.current = file.synced.clone();
                file.dirty.clear();
                Err(error(Failure::Io))
            }
            Err(Failure::Power) => Err(error(Failure::Power)),
            Ok(()) => {
                if !lying {
                    file.keep();
                }
                Ok(())
            }
        }
    }
}
