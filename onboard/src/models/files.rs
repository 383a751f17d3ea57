//! What slots ask of a folder: a few named files that are made, written, synced and renamed.

use bytes::Bytes;

pub use crate::store::Fault;

/// A flat folder.
///
/// Nothing is durable before the matching sync has returned: bytes until [`Files::sync`], names
/// until [`Files::sync_names`].
pub trait Files {
    /// Every file's name, in any order.
    fn names(&mut self) -> Result<Vec<String>, Fault>;
    /// A file's bytes, at most `most`; one more than that where it is longer. `None` where there
    /// is no such file.
    fn read(&mut self, name: &str, most: usize) -> Result<Option<Bytes>, Fault>;
    /// Makes an empty file; what was there under that name is gone.
    fn create(&mut self, name: &str) -> Result<(), Fault>;
    /// Writes bytes at an offset of a file that is there; after an error any part may be.
    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), Fault>;
    /// Makes a file's bytes durable.
    fn sync(&mut self, name: &str) -> Result<(), Fault>;
    /// Gives a file another name; what was there under that one is gone.
    fn rename(&mut self, from: &str, to: &str) -> Result<(), Fault>;
    /// Removes a file that may be there.
    fn remove(&mut self, name: &str) -> Result<(), Fault>;
    /// Makes names durable: what was made, renamed and removed.
    fn sync_names(&mut self) -> Result<(), Fault>;
}

/// Puts a file in place whole: after a cut it is the old one or this one.
pub fn replace(files: &mut impl Files, name: &str, bytes: &[u8]) -> Result<(), Fault> {
    let fresh = format!("{name}.tmp");
    files.create(&fresh)?;
    files.write_at(&fresh, 0, bytes)?;
    files.sync(&fresh)?;
    files.rename(&fresh, name)?;
    files.sync_names()
}
