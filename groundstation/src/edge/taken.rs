//! How far a file was taken into the spool, so that a start after a kill goes on exactly there.
//!
//! ```text
//! file ─► from its start ─► first units, as many as are kept: left out ─► the rest: numbered
//!                              └ note, in the spool itself
//! ```
//!
//! A coded stream can't be taken up in its middle without losing or doubling a unit, for a decoder
//! stands on everything before. So a file is read from its start once more, and its first units,
//! which the spool has, are left out. The note is written with each commit that keeps units of the
//! file. It tells what was kept *before* that commit and where its channels then stood: of a torn
//! commit any part may be there, and what stands behind those places is told by its content.

use super::label::Label;
use codecs::{
    ids::{Channel, SpacecraftId},
    link::object::{ANNOTATION_BYTES, Annotation},
};
use codecs_store::CounterName;
use std::collections::BTreeMap;
use twox_hash::XxHash3_128;

/// Files remembered; the oldest makes room.
pub const SLOTS: u32 = 64;
/// Channels of one file's units in one commit; at the bound a commit comes first.
pub const CHANNELS_MAX: usize = 200;

const VERSION: u8 = 2;

/// Device and number of a file, and how it is read.
pub type FileKey = (u64, u64, u64);

/// A file, and what of it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMark {
    /// Device of the file system.
    pub device: u64,
    /// Number of the file there.
    pub inode: u64,
    /// As what it is read: read otherwise, it gives other units.
    pub how: u64,
    /// Bytes from where its reading began.
    pub bytes: u64,
    /// SHA-256 of these: a file that was written anew is another, one that grew is not.
    pub digest: [u8; 32],
}

impl FileMark {
    /// Of which reading it is.
    pub const fn key(&self) -> FileKey {
        (self.device, self.inode, self.how)
    }
}

/// What the note of a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Which file.
    pub file: FileMark,
    /// Grows with every file that is begun.
    pub stamp: u64,
    /// Whether its end was reached and all of it is kept.
    pub whole: bool,
    /// Units kept before the commit that the note came with.
    pub units: u64,
    /// Units of the file in that commit.
    pub pending: u32,
    /// What their channels had numbered before.
    pub before: BTreeMap<CounterName, u64>,
}

impl Taken {
    /// The note's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, u8::from(self.whole)];
        let file = &self.file;
        for number in [file.device, file.inode, file.how, file.bytes, self.stamp, self.units] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&file.digest);
        out.extend_from_slice(&self.pending.to_be_bytes());
        for ((spacecraft, channel), next) in self.before.iter().take(CHANNELS_MAX) {
            out.extend_from_slice(&spacecraft.0.to_be_bytes());
            out.extend_from_slice(&channel.0.to_be_bytes());
            out.extend_from_slice(&next.to_be_bytes());
        }
        out
    }

    /// Reads a note; none where it is no such note.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let ([version, whole], rest) = bytes.split_first_chunk()?;
        if *version != VERSION {
            return None;
        }
        let mut rest = rest;
        let mut number = || {
            let (number, behind) = rest.split_first_chunk()?;
            rest = behind;
            Some(u64::from_be_bytes(*number))
        };
        let (device, inode, how, bytes) = (number()?, number()?, number()?, number()?);
        let (stamp, units) = (number()?, number()?);
        let (digest, rest) = rest.split_first_chunk()?;
        let (pending, rest) = rest.split_first_chunk()?;
        let (places, odd) = rest.as_chunks::<18>();
        if !odd.is_empty() || places.len() > CHANNELS_MAX {
            return None;
        }
        let mut before = BTreeMap::new();
        for place in places {
            let (spacecraft, place) = place.split_first_chunk()?;
            let (channel, next) = place.split_first_chunk()?;
            let place = (
                SpacecraftId(u16::from_be_bytes(*spacecraft)),
                Channel(u64::from_be_bytes(*channel)),
            );
            before.insert(place, u64::from_be_bytes(*next.first_chunk()?));
        }
        let file = FileMark { device, inode, how, bytes, digest: *digest };
        let (whole, pending) = (*whole != 0, u32::from_be_bytes(*pending));
        Some(Self { file, stamp, whole, units, pending, before })
    }
}

/// Which slot a file that begins shall have: its own, a free one, or the one that has been left
/// alone the longest. None where all are `busy`, or the file's own is.
pub fn slot_of(known: &BTreeMap<u32, Taken>, file: FileKey, busy: &[u32]) -> Option<u32> {
    let own = known.iter().find(|(_, of)| of.file.key() == file);
    if let Some((slot, _)) = own {
        return (!busy.contains(slot)).then_some(*slot);
    }
    let open = (0..SLOTS).filter(|slot| !busy.contains(slot));
    open.min_by_key(|slot| known.get(slot).map(|of| of.stamp))
}

/// What tells a unit of the spool from others but for when it was heard.
pub fn content(place: CounterName, stored: &[u8]) -> u128 {
    // The time stands at the front of the annotation, and what it rests on behind the quality.
    let timeless = stored.get(size_of::<i64>()..).unwrap_or_default();
    let mut bytes = Vec::with_capacity(timeless.len() + 10);
    bytes.extend_from_slice(&place.0.0.to_be_bytes());
    bytes.extend_from_slice(&place.1.0.to_be_bytes());
    bytes.extend_from_slice(timeless);
    if let Some(source) = bytes.get_mut(11) {
        *source = 0;
    }
    XxHash3_128::oneshot(&bytes)
}

/// The same of a unit that is about to be numbered.
pub fn content_of(label: &Label, heard: &Annotation, bytes: &[u8]) -> u128 {
    let mut stored = Vec::with_capacity(ANNOTATION_BYTES + bytes.len());
    stored.extend_from_slice(&heard.encode());
    stored.extend_from_slice(bytes);
    content((label.spacecraft, label.channel), &stored)
}

/// What is left out of a file that is read from its start once more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// First units, which are kept.
    skip: u64,
    /// Units behind them that may be kept.
    window: u32,
    /// What the spool holds of the commit in doubt, by content, and how often.
    kept: BTreeMap<u128, u32>,
}

impl Replay {
    /// Leaves out what a note tells, and of the commit in doubt what is found.
    pub fn new(taken: &Taken, found: impl Iterator<Item = u128>) -> Self {
        let mut kept = BTreeMap::new();
        found.for_each(|content| *kept.entry(content).or_default() += 1);
        Self { skip: taken.units, window: taken.pending, kept }
    }

    /// Whether the next unit is one of those that the note tells; it is then behind.
    pub fn passes(&mut self) -> bool {
        let passes = self.skip > 0;
        self.skip = self.skip.saturating_sub(1);
        passes
    }

    /// Whether the spool may have the next unit already.
    pub fn doubts(&self) -> bool {
        self.window > 0
    }

    /// Whether the spool has a unit of this content.
    pub fn holds(&self, content: u128) -> bool {
        self.doubts() && self.kept.get(&content).is_some_and(|count| *count > 0)
    }

    /// A unit that was in doubt is not there.
    pub fn missed(&mut self) {
        self.window = self.window.saturating_sub(1);
    }

    /// A unit that was in doubt is there: it is behind.
    pub fn settle(&mut self, content: u128) {
        self.window = self.window.saturating_sub(1);
        if let Some(count) = self.kept.get_mut(&content) {
            *count = count.saturating_sub(1);
        }
    }
}

/// A spool's notes of files, of which those that can't be read count as none: a file heard twice is
/// better than an edge that does not start.
pub fn known<'a>(notes: impl Iterator<Item = (u32, &'a bytes::Bytes)>) -> BTreeMap<u32, Taken> {
    let notes = notes.filter(|(slot, _)| *slot < SLOTS);
    notes.filter_map(|(slot, bytes)| Some((slot, Taken::decode(bytes)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(inode: u64, stamp: u64) -> Taken {
        let file = FileMark { device: 1, inode, how: 3, bytes: 1 << 40, digest: [9; 32] };
        let before = (0..CHANNELS_MAX as u64)
            .map(|of| ((SpacecraftId(7), Channel(of)), u64::MAX - of))
            .collect();
        Taken { file, stamp, whole: true, units: 5, pending: 6, before }
    }

    #[test]
    fn a_note_of_the_most_channels_fits_and_comes_back_and_a_cut_one_is_none() {
        let note = taken(2, 3);
        let bytes = note.encode();
        assert!(bytes.len() <= codecs_store::NOTE_BYTES_MAX, "{}", bytes.len());
        assert_eq!(Taken::decode(&bytes), Some(note));
        let read = |cut: usize| Taken::decode(&bytes[..cut]);
        assert!((0..86).all(|cut| read(cut).is_none()), "its front is cut");
        assert!((86..bytes.len()).all(|cut| read(cut).is_none() || (cut - 86) % 18 == 0));
        assert_eq!(Taken::decode(&[&[VERSION + 1], &bytes[1..]].concat()), None);
    }

    #[test]
    fn a_file_keeps_its_slot_and_the_one_left_alone_longest_goes() {
        let mut known: BTreeMap<u32, Taken> =
            (0..SLOTS).map(|slot| (slot, taken(u64::from(slot), 100 - u64::from(slot)))).collect();
        assert_eq!(slot_of(&known, (1, 5, 3), &[]), Some(5));
        assert_eq!(slot_of(&known, (1, 5, 3), &[5]), None, "it is being read already");
        assert_eq!(slot_of(&known, (1, 999, 3), &[SLOTS - 1]), Some(SLOTS - 2));
        assert_eq!(slot_of(&known, (1, 5, 4), &[5]), Some(SLOTS - 1), "it is read otherwise");
        known.remove(&9);
        assert_eq!(slot_of(&known, (1, 999, 3), &[]), Some(9), "a free one first");
        assert_eq!(slot_of(&known, (1, 999, 3), &(0..SLOTS).collect::<Vec<_>>()), None);
    }
}
