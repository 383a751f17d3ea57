//! What a store asks of a medium: numbered segments that grow, sync and go.

use bytes::Bytes;

/// Why the medium did not do as told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No space is left.
    #[error("the disk is full")]
    Full,
    /// Anything else, in the medium's own words.
    #[error("{0}")]
    Failed(String),
}

/// Numbered append-only segments.
///
/// Nothing is durable before the matching `sync` has returned: bytes until [`Medium::sync`],
/// creation and removal until [`Medium::sync_names`].
pub trait Medium {
    /// Every segment with its length, in order of number.
    fn segments(&mut self) -> Result<Vec<(u64, u64)>, Fault>;
    /// Makes an empty segment.
    fn create(&mut self, segment: u64) -> Result<(), Fault>;
    /// Adds bytes at the end; after an error any part of them may be there.
    fn append(&mut self, segment: u64, bytes: &[u8]) -> Result<(), Fault>;
    /// Makes the segment's bytes durable.
    fn sync(&mut self, segment: u64) -> Result<(), Fault>;
    /// Makes creations and removals durable.
    fn sync_names(&mut self) -> Result<(), Fault>;
    /// Erases a segment.
    fn remove(&mut self, segment: u64) -> Result<(), Fault>;
    /// The newest segment that was ever made, where the medium knows it apart from the segments
    /// themselves: one that is gone is missed.
    fn newest(&mut self) -> Option<u64> {
        None
    }
    /// Reads exactly `length` bytes.
    fn read(&mut self, segment: u64, offset: u64, length: usize) -> Result<Bytes, Fault>;
    /// Keeps `bytes` of space out of others' reach, or gives them back with 0: what a void is
    /// written from when the disk is full.
    fn reserve(&mut self, bytes: u64) -> Result<(), Fault>;
}
