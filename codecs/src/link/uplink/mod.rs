//! Uplink: what a ledger wants done on board, done at most once and always answered.
//!
//! ```text
//! ground   queue: number ─► synced ─► send, repeat ─────────────────► outcome
//!                                       │ object                        ▲ record unit, custody
//! craft                      window ─► begin, sync ─► execute ─► conclude
//! ```
//!
//! The ground numbers an object durably before it says so, and repeats it until it holds the record
//! of its outcome or the object expires. The spacecraft syncs `begun` before it executes and the
//! outcome before it tells it; what a crash left begun is told as unknown, never tried again.

pub mod object;
pub mod record;
pub mod window;
pub mod executor;
pub mod queue;

use alloc::string::String;
use core::fmt;

use crate::ids::{Channel, SpacecraftId};

/// Largest inside of an object, bytes.
pub const MAX_BODY_BYTES: usize = 1 << 20;
/// Longest name of a domain, bytes.
pub const MAX_DOMAIN_BYTES: usize = 255;
/// Sequences that a spacecraft remembers of each counter; what is older is refused.
pub const WINDOW: u64 = 1024;

/// What every object of one counter shares.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UplinkCounter {
    /// Domain that asks.
    pub domain: String,
    /// Its ledger of numbers: one that lost its memory is another one and counts anew.
    pub ledger: u64,
    /// Who shall do it.
    pub spacecraft: SpacecraftId,
    /// Channel within the spacecraft.
    pub channel: Channel,
}

/// Name of an object: nothing is executed twice under one key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UplinkKey {
    /// Whose counter.
    pub counter: UplinkCounter,
    /// Counted from 0, over restarts of the ground.
    pub sequence: u64,
}

impl fmt::Display for UplinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UplinkCounter { domain, ledger, spacecraft, channel } = &self.counter;
        write!(f, "{domain}/{ledger:016x}/{}/{channel}/{}", spacecraft.0, self.sequence)
    }
}

/// What an object holds. A byte that is none of these is refused on board, not before: a newer
/// ground learns so what an older spacecraft can't do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ContentKind {
    /// A command packet.
    Command = 1,
    /// A file or product for the store of files.
    File = 2,
    /// Configuration: a TOML table of keys.
    Configuration = 3,
    /// A model package.
    Model = 4,
}

impl ContentKind {
    /// Every kind with its name on the command line.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Command, "command"),
        (Self::File, "file"),
        (Self::Configuration, "configuration"),
        (Self::Model, "model"),
    ];

    /// The kind of a byte on the wire.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|row| row.0 as u8 == byte).map(|row| row.0)
    }

    /// The kind of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|row| row.0 == self).map_or("unknown", |row| row.1)
    }

    /// The stream that the ground counts this kind on: a large file never fills the window of
    /// commands.
    pub const fn channel(self) -> Channel {
        Channel::stream(self as u32)
    }
}

/// Kind of an object that holds one coded unit for the air: an edge hands it to its modem, and no
/// spacecraft executes it. It is counted on [`RADIATE_CHANNEL`], and nothing answers it.
pub const RADIATE: u8 = 5;
/// Where units for the air are counted.
pub const RADIATE_CHANNEL: Channel = Channel::stream(RADIATE as u32);
/// Longest unit for the air, bytes: the longest command frame in the longest code, and some.
pub const RADIATE_BYTES_MAX: usize = 4096;

/// Why a spacecraft did not even try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Refusal {
    /// It does not know this kind of content, or what the content asks for.
    Unsupported = 16,
    /// The content contradicts itself.
    Malformed = 17,
    /// It has an expiry and the spacecraft has no trusted time yet.
    NoTrustedTime = 18,
    /// Older than the window, or far beyond it: whether it was executed once is not known any more.
    OutsideWindow = 19,
    /// More counters than the spacecraft remembers.
    TooManyCounters = 20,
    /// What it asks for is not permitted here.
    Forbidden = 21,
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Executed, and it worked.
    Done,
    /// Executed, and it did not work.
    Failed,
    /// Never tried.
    Refused(Refusal),
    /// Never tried: it came too late, or was never sent in time.
    Expired,
    /// Begun, then a crash, or sent to a store that is gone: it may have been executed, wholly or in
    /// part.
    Unknown,
}

impl Outcome {
    /// Every outcome with its byte and its name.
    const ALL: [(Self, u8, &'static str, &'static str); 10] = [
        (Self::Done, 2, "done", ""),
        (Self::Failed, 3, "failed", ""),
        (Self::Expired, 4, "expired", ""),
        (Self::Unknown, 5, "unknown", ""),
        (Self::Refused(Refusal::Unsupported), 16, "refused", "unsupported"),
        (Self::Refused(Refusal::Malformed), 17, "refused", "malformed"),
        (Self::Refused(Refusal::NoTrustedTime), 18, "refused", "no-trusted-time"),
        (Self::Refused(Refusal::OutsideWindow), 19, "refused", "outside-window"),
        (Self::Refused(Refusal::TooManyCounters), 20, "refused", "too-many-counters"),
        (Self::Refused(Refusal::Forbidden), 21, "refused", "forbidden"),
    ];

    /// The outcome of a byte.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|row| row.1 == byte).map(|row| row.0)
    }

    /// As a byte.
    pub fn byte(self) -> u8 {
        Self::ALL.into_iter().find(|row| row.0 == self).map_or(0, |row| row.1)
    }

    /// The outcome of its two names.
    pub fn named(name: &str, reason: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|row| (row.2, row.3) == (name, reason)).map(|row| row.0)
    }

    /// One word for it.
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|row| row.0 == self).map_or("", |row| row.2)
    }

    /// Why it was refused; empty for the others.
    pub fn reason(self) -> &'static str {
        Self::ALL.into_iter().find(|row| row.0 == self).map_or("", |row| row.3)
    }
}

#[cfg(test)]
mod tests;
