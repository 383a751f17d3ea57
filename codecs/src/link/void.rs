//! Voids: what was left out on purpose, so that a hole is never mistaken for a loss.

use alloc::vec::Vec;

use crate::{
    ids::{Channel, SeqRange, SpacecraftId, StoreEpoch},
    time::Tai,
};

const VERSION: u8 = 1;
/// Bytes before the entries.
const HEADER: usize = 12;
/// Bytes of one entry.
const ENTRY: usize = 58;
/// Entries of one void record.
pub const ENTRIES_MAX: usize = 256;

/// Why units were left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum VoidReason {
    /// Triage found them not worth a contact's minutes.
    Triage = 1,
    /// The store was full and these were worth least.
    Evicted = 2,
    /// The store found them damaged.
    Damaged = 3,
    /// Held on board and sent only when asked for.
    Kept = 4,
    /// Numbers that may have been given to what the end of a damaged store held: never given again.
    Skipped = 5,
}

/// Ranges of one counter that will not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoidRange {
    /// Formatting of the store.
    pub epoch: StoreEpoch,
    /// Spacecraft.
    pub spacecraft: SpacecraftId,
    /// Channel.
    pub channel: Channel,
    /// The sequences.
    pub range: SeqRange,
    /// Bytes that they held.
    pub bytes: u64,
    /// Time of the oldest of them.
    pub from: Tai,
    /// Time of the newest of them.
    pub to: Tai,
}

/// One void record: the inside of a unit on [`Channel::VOIDS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Void {
    /// Why.
    pub reason: VoidReason,
    /// When it was decided.
    pub decided: Tai,
    /// What is left out, at most [`ENTRIES_MAX`] entries.
    pub entries: Vec<VoidRange>,
}

/// Why bytes are no void record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VoidError {
    /// The length does not fit the count of entries.
    #[error("void record of {found} bytes, {wanted} by its count of entries")]
    Length {
        /// Length by the count.
        wanted: usize,
        /// Length found.
        found: usize,
    },
    /// A field holds a value that this version does not know.
    #[error("void record: {0} is not valid")]
    Field(&'static str),
}

impl Void {
    /// Writes the record.
    ///
    /// # Panics
    /// With more than [`ENTRIES_MAX`] entries.
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.entries.len() <= ENTRIES_MAX, "the store closes a record before it overflows");
        let mut out = Vec::with_capacity(HEADER + ENTRY * self.entries.len());
        out.extend_from_slice(&[VERSION, self.reason as u8]);
        out.extend_from_slice(&(self.entries.len() as u16).to_be_bytes());
        out.extend_from_slice(&self.decided.0.to_be_bytes());
        for entry in &self.entries {
            out.extend_from_slice(&entry.epoch.0.to_be_bytes());
            out.extend_from_slice(&entry.spacecraft.0.to_be_bytes());
            out.extend_from_slice(&entry.channel.0.to_be_bytes());
            out.extend_from_slice(&entry.range.first.to_be_bytes());
            out.extend_from_slice(&entry.range.last.to_be_bytes());
            out.extend_from_slice(&entry.bytes.to_be_bytes());
            out.extend_from_slice(&entry.from.0.to_be_bytes());
            out.extend_from_slice(&entry.to.0.to_be_bytes());
        }
        out
    }

    /// Reads a record.
    pub fn decode(bytes: &[u8]) -> Result<Self, VoidError> {
        let short = VoidError::Length { wanted: HEADER, found: bytes.len() };
        let (header, body) = bytes.split_first_chunk::<HEADER>().ok_or(short)?;
        let [version, reason, high, low, decided @ ..] = *header;
        if version != VERSION {
            return Err(VoidError::Field("version"));
        }
        let reason = match reason {
            1 => VoidReason::Triage,
            2 => VoidReason::Evicted,
            3 => VoidReason::Damaged,
            4 => VoidReason::Kept,
            5 => VoidReason::Skipped,
            _ => return Err(VoidError::Field("reason")),
        };
        let count = usize::from(u16::from_be_bytes([high, low]));
        if count > ENTRIES_MAX {
            return Err(VoidError::Field("count of entries"));
        }
        let (entries, rest) = body.as_chunks::<ENTRY>();
        if entries.len() != count || !rest.is_empty() {
            return Err(VoidError::Length { wanted: HEADER + ENTRY * count, found: bytes.len() });
        }
        let entries = entries.iter().map(entry).collect::<Result<_, _>>()?;
        Ok(Self { reason, decided: Tai(i64::from_be_bytes(decided)), entries })
    }
}

fn entry(bytes: &[u8; ENTRY]) -> Result<VoidRange, VoidError> {
    let word = |at: usize| {
        let field = bytes.get(at..).and_then(|rest| rest.first_chunk()).copied();
        u64::from_be_bytes(field.unwrap_or_default())
    };
    let spacecraft = bytes.get(8..).and_then(|rest| rest.first_chunk()).copied();
    Ok(VoidRange {
        epoch: StoreEpoch(word(0)),
        spacecraft: SpacecraftId(u16::from_be_bytes(spacecraft.unwrap_or_default())),
        channel: Channel(word(10)),
        range: SeqRange::new(word(18), word(26)).ok_or(VoidError::Field("range"))?,
        bytes: word(34),
        from: Tai(word(42) as i64),
        to: Tai(word(50) as i64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn voids_come_back(
            decided: i64,
            rows in prop::collection::vec((any::<u64>(), any::<u16>(), 0u64..1 << 60, 0u64..99), 0..9),
        ) {
            let entries = rows.into_iter().map(|(epoch, spacecraft, first, length)| VoidRange {
                epoch: StoreEpoch(epoch),
                spacecraft: SpacecraftId(spacecraft),
                channel: Channel::stream(2),
                range: SeqRange { first, last: first + length },
                bytes: epoch,
                from: Tai(decided),
                to: Tai(decided),
            }).collect();
            let void = Void { reason: VoidReason::Triage, decided: Tai(decided), entries };
            let bytes = void.encode();
            for end in 0..bytes.len() {
                prop_assert!(Void::decode(&bytes[..end]).is_err());
            }
            prop_assert_eq!(Void::decode(&bytes), Ok(void));
        }

        #[test]
        fn garbage_never_panics(garbage in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Void::decode(&garbage);
        }
    }
}
