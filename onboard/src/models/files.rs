//! What slots ask of a folder: a few named files that are made, written, synced and renamed.

use bytes::Bytes;
use codecs::package::Digest;
use serde::{Serialize, de::DeserializeOwned};

pub use crate::store::Fault;

/// Longest journal that is read, in bytes.
const JOURNAL_BYTES_MAX: usize = 64 << 10;

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

fn journal(generation: u64) -> String {
    format!("journal.{}", generation % 2)
}

/// Reads the newer of the two journals that is whole; the second names those that are there and are
/// not.
pub fn read_journal<T: DeserializeOwned>(
    files: &mut impl Files,
    generation: impl Fn(&T) -> u64,
) -> Result<(Option<T>, Vec<String>), Fault> {
    let (mut newest, mut spoilt): (Option<T>, Vec<String>) = (None, Vec::new());
    for turn in 0..2 {
        let Some(bytes) = files.read(&journal(turn), JOURNAL_BYTES_MAX)? else { continue };
        match parse_journal::<T>(&bytes) {
            Some(read) => {
                if newest.as_ref().is_none_or(|of| generation(&read) >= generation(of)) {
                    newest = Some(read);
                }
            }
            None => spoilt.push(journal(turn)),
        }
    }
    Ok((newest, spoilt))
}

fn parse_journal<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (line, digest) = text.strip_suffix('\n')?.split_once('\n')?;
    let whole = digest.parse::<Digest>().ok()? == Digest::of(line.as_bytes());
    whole.then(|| serde_json::from_str(line).ok()).flatten()
}

/// Writes a journal over the older of the two, so that a cut, or a bit that flips in one of them,
/// leaves the other. `generation` is one more than that of the newer.
pub fn write_journal(
    files: &mut impl Files,
    generation: u64,
    value: &impl Serialize,
) -> Result<(), Fault> {
    let line = serde_json::to_string(value).map_err(|error| Fault::Failed(error.to_string()))?;
    let digest = Digest::of(line.as_bytes());
    replace(files, &journal(generation), format!("{line}\n{digest}\n").as_bytes())
}
