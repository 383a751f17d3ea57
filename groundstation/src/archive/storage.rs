//! What the archive needs of a disk, and nothing more: the real one is in `shell`, the one that
//! forgets is in `forgetful`.

use std::io;

/// A folder of files with explicit syncs.
pub trait Storage {
    /// An open file.
    type File: StoredFile;

    /// Names of all files, in any order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates a file that does not exist, with room for `bytes` reserved. Its name is durable
    /// only after [`sync_names`](Self::sync_names).
    fn create(&mut self, name: &str, bytes: u64) -> io::Result<Self::File>;

    /// Opens a file for reading and writing.
    fn open(&mut self, name: &str) -> io::Result<Self::File>;

    /// Removes a file.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// Gives a file another name; a file that has it is removed.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Makes creations, removals and names given durable.
    fn sync_names(&mut self) -> io::Result<()>;
}

/// An open file of a [`Storage`].
pub trait StoredFile: Send {
    /// Length in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Reads at an offset; 0 at the end.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes at an offset; may write less than it was given.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Cuts the file, giving back reserved room.
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;

    /// Makes everything written to this file durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// Writes all of `bytes`, whatever pieces the file takes.
pub(crate) fn write_all(file: &mut impl StoredFile, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match file.write_at(offset + done as u64, &bytes[done..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads until `into` is full or the file ends; how much was read.
pub(super) fn read_up_to(
    file: &impl StoredFile,
    offset: u64,
    into: &mut [u8],
) -> io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(offset + done as u64, &mut into[done..]) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
