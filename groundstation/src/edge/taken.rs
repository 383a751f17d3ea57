//! How far a file was taken into the spool, so that a start after a kill goes on exactly there.
//!
//! ```text
//! file ─► from its start ─► first units, as many as are kept: left out ─► the rest: numbered
//!                              └ note, in the spool itself
//! ```
//!
//! A coded stream can't be taken up in its middle without losing or doubling a unit, for a decoder
//! stands on everything before. So a file is read from its start once more, and its first units,
//! which the spool has, are left out. The note comes with each commit that keeps units of the file:
//! the store lets both stand or neither, so that a note needs nothing else to be believed. What it
//! counts may be receipted and gone long before the file is read that far.

use std::collections::BTreeMap;

/// Files remembered; the oldest makes room.
pub const SLOTS: u32 = 64;

const VERSION: u8 = 3;
/// Its notes count the units of their own commit apart, and tell where channels stood before it.
const VERSION_APART: u8 = 2;

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
    /// Units of it that the spool took, those of the note's own commit included.
    pub units: u64,
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
        out
    }

    /// Reads a note; none where it is no such note.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let ([version, whole], mut rest) = bytes.split_first_chunk()?;
        let mut number = || {
            let (number, behind) = rest.split_first_chunk()?;
            rest = behind;
            Some(u64::from_be_bytes(*number))
        };
        let (device, inode, how, bytes) = (number()?, number()?, number()?, number()?);
        let (stamp, units) = (number()?, number()?);
        let (digest, rest) = rest.split_first_chunk()?;
        let own = match (*version, rest) {
            (VERSION, []) => 0,
            (VERSION_APART, rest) => u32::from_be_bytes(*rest.first_chunk()?),
            _ => return None,
        };
        let file = FileMark { device, inode, how, bytes, digest: *digest };
        let units = units.checked_add(u64::from(own))?;
        Some(Self { file, stamp, whole: *whole != 0, units })
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
        Taken { file, stamp, whole: true, units: 5 }
    }

    #[test]
    fn a_note_comes_back_and_a_cut_one_is_none() {
        let note = taken(2, 3);
        let bytes = note.encode();
        assert_eq!(Taken::decode(&bytes), Some(note));
        assert!((0..bytes.len()).all(|cut| Taken::decode(&bytes[..cut]).is_none()));
        assert_eq!(Taken::decode(&[&bytes[..], &[0]].concat()), None);
        assert_eq!(Taken::decode(&[&[VERSION + 1], &bytes[1..]].concat()), None);
    }

    #[test]
    fn a_note_of_the_version_before_counts_its_own_commit_too() {
        let note = taken(2, 3);
        let front = [&[VERSION_APART], &note.encode()[1..]].concat();
        let places = [7; 2 * 18];
        let before = [&front[..], &6_u32.to_be_bytes(), &places].concat();
        assert_eq!(Taken::decode(&before), Some(Taken { units: note.units + 6, ..note }));
        assert_eq!(Taken::decode(&front), None);
        let most = [&before[..42], &u64::MAX.to_be_bytes(), &before[50..]].concat();
        assert_eq!(Taken::decode(&most), None, "more units than a number counts");
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
