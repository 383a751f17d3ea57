//! The file or pipe that a recording comes from.

use anyhow::Context as _;
use std::fs::{File, Metadata};
use std::io::{Cursor, ErrorKind, IsTerminal as _, Read, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Opened once and read once, so that a pipe will do. Tells a person how far it was read, where
/// that takes longer than a moment.
pub struct Input {
    reader: Box<dyn Read>,
    size: u64,
    file: Option<FileId>,
    done: u64,
    told: Instant,
    shown: bool,
    person: bool,
}

/// What makes two paths one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// Of a regular file; pipes and devices can't be harmed by writing.
    pub fn of(metadata: &Metadata) -> Option<Self> {
        let id = Self { device: metadata.dev(), inode: metadata.ino() };
        metadata.is_file().then_some(id)
    }
}

impl Input {
    /// Opens a file; `-` is standard input.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let at = || format!("can't read {}", path.display());
        let file = match path == Path::new("-") {
            true => File::from(std::io::stdin().as_fd().try_clone_to_owned().with_context(at)?),
            false => File::open(path).with_context(at)?,
        };
        let metadata = file.metadata().with_context(at)?;
        anyhow::ensure!(!metadata.is_dir(), "{}: it is a folder", at());
        Ok(Self {
            reader: Box::new(file),
            size: metadata.len(),
            file: FileId::of(&metadata),
            done: 0,
            told: Instant::now(),
            shown: false,
            person: std::io::stderr().is_terminal(),
        })
    }

    /// Which file it is, if it is one.
    pub const fn file(&self) -> Option<FileId> {
        self.file
    }

    /// The first bytes, which are read again afterwards.
    pub fn sample(&mut self, most: usize) -> std::io::Result<Vec<u8>> {
        let mut sample = vec![0; most];
        let read = fill(self, &mut sample)?;
        sample.truncate(read);
        self.done = 0;
        let rest = std::mem::replace(&mut self.reader, Box::new(std::io::empty()));
        self.reader = Box::new(Cursor::new(sample.clone()).chain(rest));
        Ok(sample)
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.done += read as u64;
        if self.person && self.told.elapsed() > Duration::from_secs(1) {
            (self.told, self.shown) = (Instant::now(), true);
            let percent = 100 * self.done / self.size.max(self.done).max(1);
            let _ = write!(std::io::stderr(), "\r{percent:3} % of {} MB", self.size >> 20);
        }
        Ok(read)
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r{:24}\r", "");
        }
    }
}

/// Reads until the buffer is full or the file ends.
pub fn fill(file: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read(room) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
