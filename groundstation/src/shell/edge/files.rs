//! What is known on disk of files that were read to their end: a file beside the spool, replaced
//! whole.

use crate::edge::{
    finished::{FileIdentity, Finished},
    taken::FileMark,
};
use codecs::ids::StoreEpoch;
use sha2::{Digest as _, Sha256};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

/// The memory of one spool.
#[derive(Debug)]
pub struct FinishedFiles {
    path: PathBuf,
    finished: Finished,
}

impl FinishedFiles {
    /// Reads it; absent is empty, and one that can't be read costs a second reading of files.
    pub fn open(spool: &Path, epoch: StoreEpoch) -> Self {
        let mut name = spool.file_name().unwrap_or("spool".as_ref()).to_os_string();
        name.push(".read");
        let path = spool.with_file_name(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%error, file = %path.display(), "files may be read once more");
            }
            String::new()
        });
        Self { finished: Finished::from_text(&text, epoch), path }
    }

    /// Whether an open file was read so, to its end, as it is now.
    pub fn holds(&self, file: &File, how: u64) -> bool {
        identity(file).is_some_and(|identity| self.finished.holds(&identity, how))
    }

    /// Notes a file whose units are all synced.
    pub fn note(&mut self, file: FileIdentity, how: u64) {
        self.finished.note(file, how);
        self.write();
    }

    /// A file is being read once more.
    pub fn forget(&mut self, place: (u64, u64), how: u64) {
        if self.finished.forget(place, how) {
            self.write();
        }
    }

    fn write(&self) {
        let fresh = self.path.with_extension("read.new");
        let written = File::create(&fresh).and_then(|mut file| {
            file.write_all(self.finished.text().as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, &self.path)
        });
        if let Err(error) = written {
            let file = self.path.display();
            tracing::warn!(%error, %file, "a file that was read would be read once more");
        }
    }
}

/// Device and number of an open file on a disk; none of what can't be read again, such as a pipe.
pub fn place(file: &File) -> Option<(u64, u64)> {
    identity(file).map(|of| (of.device, of.inode))
}

/// Whether the bytes behind an offset are those of which a note was made.
pub fn begins_with(file: &File, from: u64, mark: &FileMark) -> bool {
    let (mut chunk, mut digest) = (vec![0; 1 << 16], Sha256::new());
    let mut at = 0;
    while at < mark.bytes {
        let wanted = (mark.bytes - at).min(chunk.len() as u64) as usize;
        match file.read_at(&mut chunk[..wanted], from + at) {
            Ok(0) => return false,
            Ok(read) => {
                digest.update(&chunk[..read]);
                at += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
    digest.finalize()[..] == mark.digest
}

/// Which file is open, as it is now; none of what is no file on a disk, such as a pipe.
pub fn identity(file: &File) -> Option<FileIdentity> {
    let metadata = file.metadata().ok().filter(fs::Metadata::is_file)?;
    let changed_ns =
        metadata.mtime().checked_mul(1_000_000_000)?.checked_add(metadata.mtime_nsec())?;
    Some(FileIdentity {
        device: metadata.dev(),
        inode: metadata.ino(),
        bytes: metadata.len(),
        changed_ns,
    })
}
