//! What the archive's writer does next.

use super::Ingest;
use crate::archive::{batch::Batch, storage::Storage, volume::Volume};

/// A step of the writer.
pub enum Next {
    /// The oldest unit has waited long enough: everything is written and synced.
    Commit,
    /// What is written is enough: it is synced.
    Sync,
    /// A block is full: it is written.
    Write(Batch),
    /// Nothing is to be written.
    Rest {
        /// Until when, monotonic milliseconds; until something comes where it is none.
        due_ms: Option<u64>,
    },
}

/// Decides on the next step; units wait so long for each other.
pub fn next<S: Storage>(
    ingest: &mut Ingest,
    volume: &Volume<S>,
    commit_ms: u64,
    now_ms: u64,
) -> Next {
    let oldest = [ingest.oldest_ms(), volume.oldest_ms()];
    let due_ms = oldest.into_iter().flatten().min().map(|oldest| oldest + commit_ms);
    let pressed = due_ms.is_some() && ingest.intake().is_pressed();
    if pressed || due_ms.is_some_and(|due| due <= now_ms) {
        return Next::Commit;
    }
    if volume.is_ripe() {
        return Next::Sync;
    }
    match ingest.intake().next_full() {
        Some(batch) => Next::Write(batch),
        None => Next::Rest { due_ms },
    }
}
