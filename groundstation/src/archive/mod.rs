//! The archive: every accepted unit, appended once, synced before anyone is told.
//!
//! ```text
//!           intake                        volume
//! units ─► ledger ─► block ─► full ─► write ─► sync ─► settled: ledger, receipts, Archived
//!              └► claim ─────────────────────────► same bytes? the record's digest decides
//! ```
//!
//! Two machines, so that no disk is waited for while units come in: the [`Intake`]
//! judges units and copies each into a block, the only copy that the station keeps; the
//! [`Volume`] writes blocks as they fill and syncs them some milliseconds after
//! the first unit. What is published afterwards are slices of the blocks. Neither owns a thread or
//! a clock; [`storage`] is all that is known of a disk.

pub mod storage;
pub mod record;
pub mod segment;
pub mod seal;
pub mod retain;
pub mod losses;
pub mod scan;
pub mod index;
pub mod blocks;
pub mod batch;
pub mod intake;
mod catalogue;
pub mod volume;
mod holes;
mod open;
mod alone;
pub mod heard;
pub mod read;
pub mod twice;
pub mod forgetful;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod campaign;

pub use open::{OpenError, OpenReport};

use crate::ledger::Ledger;
use bytes::Bytes;
pub(crate) use catalogue::{digest_at, load_index, stored_index};
use codecs::{
    ids::{Channel, Codec, KeyPrefix, SeqRange, UnitKey},
    link::{object::Annotation, void::Void},
    time::Tai,
};
use intake::Intake;
use record::Position;
use std::io;
use storage::Storage;
use volume::Volume;

/// Conflicts kept aside; later ones are counted and alarmed, not kept.
pub const CONFLICTS_MAX: usize = 256;
/// A full disk is tried again after this long.
pub const FULL_RETRY_MS: u64 = 1_000;

/// Who waits for the fate of a unit; numbered by whoever hands it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner(pub u64);

/// A unit as it came in.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Name.
    pub key: UnitKey,
    /// Format of the inside.
    pub codec: Codec,
    /// Earth receive time.
    pub received: Tai,
    /// How the antenna heard it, as on the link.
    pub annotation: Option<[u8; 16]>,
    /// The unit.
    pub bytes: Bytes,
}

/// A unit that is synced, on its way to those who interpret it.
#[derive(Clone, Debug)]
pub struct Archived {
    /// Name.
    pub key: UnitKey,
    /// Format of the inside.
    pub codec: Codec,
    /// Earth receive time.
    pub received: Tai,
    /// When and how an antenna heard it, where one did.
    pub annotation: Option<Annotation>,
    /// The unit.
    pub bytes: Bytes,
    /// Where its record begins.
    pub position: Position,
    /// Read back after a start, rather than just received.
    pub replayed: bool,
}

/// What becomes of an offered unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// In a block; true once its commit succeeds.
    Accepted,
    /// Its key is held or under way: the commit will tell a duplicate from a conflict.
    Claimed,
    /// The same bytes are held.
    Duplicate,
    /// Other bytes are held under this key. Never receipted.
    Conflict,
    /// No room on the disk at present.
    Full,
    /// It is not what its store wrote.
    Damaged,
    /// The ledger is at its bound and this key neither extends nor joins a range.
    TooManyRanges,
}

/// Where the archive stands in time: an argument, since the machine has no clock.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic milliseconds.
    pub mono_ms: u64,
    /// The station's time.
    pub tai: Tai,
}

/// Sizes that a station may choose.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bytes at which a segment is sealed.
    pub segment_bytes: u64,
}

/// The archive in one hand: as it is opened, before it is taken apart for its two users.
pub struct Archive<S: Storage> {
    /// Towards those who bring units.
    pub intake: Intake,
    /// Towards the disk.
    pub volume: Volume<S>,
}

impl<S: Storage> Archive<S> {
    /// What is held, voided and lost.
    pub fn ledger(&self) -> &Ledger {
        self.intake.ledger()
    }

    /// The random number that names this ledger.
    pub fn ledger_id(&self) -> u64 {
        self.volume.ledger_id()
    }

    /// Where the archive ends: everything before is synced.
    pub fn end(&self) -> Position {
        self.volume.end()
    }
}

/// Most bytes that blocks and what belongs to them take.
pub const fn memory_bytes() -> usize {
    // A block of the smallest units has a slot and a published unit for each of its records.
    let units = blocks::BYTES / record::record_bytes(0);
    let beside = units * (size_of::<Archived>() + batch::SLOT_BYTES);
    blocks::COUNT * (blocks::BYTES + beside) + 2 * intake::CLAIM_BYTES_MAX
}

/// The holes that a void names: counters of its own store.
fn voided(key: &UnitKey, void: &Void) -> impl Iterator<Item = (KeyPrefix, SeqRange)> {
    let origin = key.prefix.origin;
    void.entries.iter().map(move |entry| {
        let prefix = KeyPrefix {
            origin,
            epoch: entry.epoch,
            spacecraft: entry.spacecraft,
            channel: entry.channel,
        };
        (prefix, entry.range)
    })
}

/// Tells the ledger what a void says; what does not fit its bounds is left out.
pub(crate) fn note_void(ledger: &mut Ledger, key: &UnitKey, void: &Void) {
    voided(key, void).for_each(|(prefix, range)| {
        ledger.void(prefix, range);
    });
}

/// Tells the ledger what a unit says if it is a void.
pub(crate) fn note_if_void(ledger: &mut Ledger, key: &UnitKey, bytes: &[u8]) {
    if key.prefix.channel == Channel::VOIDS
        && let Ok(void) = Void::decode(bytes)
    {
        note_void(ledger, key, &void);
    }
}

/// Whether an error says that the disk is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
