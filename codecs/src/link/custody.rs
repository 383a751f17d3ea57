//! Words of custody that messages, machines and ledgers share.

use alloc::vec::Vec;

use crate::ids::{Channel, KeyPrefix, Origin, SeqRange, SpacecraftId, StoreEpoch};

/// How safe a receipted unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Durability {
    /// Synced on the ledger's own disk.
    Local = 1,
    /// Verified in an object store.
    ObjectStore = 2,
}

impl Durability {
    /// The class of a byte on the wire.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Local),
            2 => Some(Self::ObjectStore),
            _ => None,
        }
    }
}

/// Why a unit was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RefusalReason {
    /// The archive has no room at present.
    Full = 1,
    /// More than this peer may have under way.
    Overload = 2,
    /// This identity may not deliver for that spacecraft.
    Forbidden = 3,
    /// The bytes contradict themselves.
    Malformed = 4,
    /// The key is held with other bytes.
    Conflict = 5,
    /// The key would make one range too many.
    TooManyRanges = 6,
    /// Above the limits of the welcome.
    TooLarge = 7,
}

impl RefusalReason {
    /// Every reason with its name in metrics.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Full, "full"),
        (Self::Overload, "overload"),
        (Self::Forbidden, "forbidden"),
        (Self::Malformed, "malformed"),
        (Self::Conflict, "conflict"),
        (Self::TooManyRanges, "too-many-ranges"),
        (Self::TooLarge, "too-large"),
    ];

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().map(|row| row.0).find(|reason| *reason as u8 == byte)
    }

    /// Name in metrics and messages.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|row| row.0 == self).map_or("unknown", |row| row.1)
    }
}

/// Retry time that means never.
pub const NEVER_MS: u32 = u32::MAX;

/// Ranges of one counter; the origin is the connection's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRanges {
    /// Formatting of the store.
    pub epoch: StoreEpoch,
    /// Spacecraft.
    pub spacecraft: SpacecraftId,
    /// Channel.
    pub channel: Channel,
    /// The ranges, in order.
    pub ranges: Vec<SeqRange>,
}

impl KeyRanges {
    /// Ranges of a prefix.
    pub fn new(prefix: KeyPrefix, ranges: Vec<SeqRange>) -> Self {
        Self { epoch: prefix.epoch, spacecraft: prefix.spacecraft, channel: prefix.channel, ranges }
    }

    /// The prefix, given whose connection it is.
    pub fn prefix(&self, origin: Origin) -> KeyPrefix {
        KeyPrefix { origin, epoch: self.epoch, spacecraft: self.spacecraft, channel: self.channel }
    }
}
