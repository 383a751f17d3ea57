//! Memory of a file that two processes see.

use bytes::Bytes;
use rustix::fs::{SealFlags, fcntl_get_seals, fstat};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::fs::File;
use std::io;
use std::ptr::{NonNull, copy_nonoverlapping, null_mut};
use std::slice;
use std::sync::Arc;

/// The first bytes of a file, mapped for as long as this lives.
#[derive(Debug)]
struct Map {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping belongs to no thread. Where it is written, nothing of it is ever lent; where
// it is lent, this process never writes it.
unsafe impl Send for Map {}
// SAFETY: as above; writers take it exclusively.
unsafe impl Sync for Map {}

impl Map {
    fn new(file: &File, bytes: usize, access: ProtFlags) -> io::Result<Self> {
        // Memory that somebody takes away again would end this process when it is touched.
        let sealed = fcntl_get_seals(file)?.contains(SealFlags::SHRINK);
        if !sealed || fstat(file)?.st_size < bytes as i64 {
            let why = format!("no sealed file of {bytes} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        // SAFETY: the system chooses a place where nothing is; the file keeps its length.
        let start = unsafe { mmap(null_mut(), bytes, access, MapFlags::SHARED, file, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, bytes })
    }

    /// Whether so many bytes from there on are within.
    const fn holds(&self, at: usize, bytes: usize) -> bool {
        match at.checked_add(bytes) {
            Some(end) => end <= self.bytes,
            None => false,
        }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: mapped with this length, and nobody holds a part of it any more.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// The end that writes.
#[derive(Debug)]
pub struct Writer(Map);

impl Writer {
    /// Maps the first bytes of a file that can't be made shorter.
    pub fn new(file: &File, bytes: usize) -> io::Result<Self> {
        Map::new(file, bytes, ProtFlags::READ | ProtFlags::WRITE).map(Self)
    }

    /// Copies bytes to a place; false where that is not within.
    pub fn write(&mut self, at: usize, bytes: &[u8]) -> bool {
        let within = self.0.holds(at, bytes.len());
        if within {
            // SAFETY: the place is within the mapping, of which this process lends nothing.
            unsafe {
                copy_nonoverlapping(bytes.as_ptr(), self.0.start.as_ptr().add(at), bytes.len())
            }
        }
        within
    }
}

/// The end that reads.
#[derive(Debug)]
pub struct View(Arc<Map>);

/// A part that is lent.
struct Part<T> {
    map: Arc<Map>,
    at: usize,
    bytes: usize,
    _lent: T,
}

impl View {
    /// Maps the first bytes of a file that can't be made shorter.
    pub fn new(file: &File, bytes: usize) -> io::Result<Self> {
        Ok(Self(Arc::new(Map::new(file, bytes, ProtFlags::READ)?)))
    }

    /// A part as it stands in memory; none where that is not within. `lent` is dropped once nobody
    /// reads it any more: until then who writes has to leave it alone.
    pub fn part<T: Send + 'static>(&self, at: usize, bytes: usize, lent: T) -> Option<Bytes> {
        let part = Part { map: Arc::clone(&self.0), at, bytes, _lent: lent };
        self.0.holds(at, bytes).then(|| Bytes::from_owner(part))
    }
}

impl<T> AsRef<[u8]> for Part<T> {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: within the mapping, which lives as long as this; the other process does not write
        // there before it has an answer to the question that names the place, which it gets once
        // nothing of this is left.
        unsafe { slice::from_raw_parts(self.map.start.as_ptr().add(self.at), self.bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, fcntl_add_seals, memfd_create};

    fn file(bytes: u64, seals: SealFlags) -> File {
        let file = File::from(memfd_create("test", MemfdFlags::ALLOW_SEALING).unwrap());
        file.set_len(bytes).unwrap();
        fcntl_add_seals(&file, seals).unwrap();
        file
    }

    #[test]
    fn what_one_end_writes_the_other_sees_and_nothing_beyond() {
        let file = file(8192, SealFlags::SHRINK);
        let mut written = Writer::new(&file, 8192).unwrap();
        let seen = View::new(&file, 8192).unwrap();
        assert!(written.write(8190, b"ab"));
        let part = seen.part(8189, 3, ()).unwrap();
        drop((seen, written));
        assert_eq!(part[..], *b"\0ab", "it outlives both ends");
        let mut written = Writer::new(&file, 8192).unwrap();
        let seen = View::new(&file, 8192).unwrap();
        for (at, bytes) in [(8191, 2), (8193, 0), (usize::MAX, 1), (1, usize::MAX)] {
            assert!(seen.part(at, bytes, ()).is_none(), "{at} {bytes}");
        }
        assert!(!written.write(8191, b"ab") && !written.write(usize::MAX, b"a"));
        assert!(seen.part(8192, 0, ()).unwrap().is_empty());
    }

    #[test]
    fn a_file_that_may_become_shorter_is_refused() {
        for (bytes, seals) in [(8192, SealFlags::GROW), (4096, SealFlags::SHRINK)] {
            let file = file(bytes, seals);
            assert!(View::new(&file, 8192).is_err() && Writer::new(&file, 8192).is_err());
        }
    }
}
