//! One file on its way into the spool: which of its units are numbered, and what is noted of it.

use super::taken::{FileKey, FileMark, Taken};

/// Where the note stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noted {
    Stale,
    Pending,
    Durable,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Where its note is kept; one without a slot is read from its start after a kill.
    slot: Option<u32>,
    taken: Taken,
    /// First units still to come that are behind.
    skip: u64,
    noted: Noted,
}

impl Progress {
    /// A file that nothing is kept of.
    pub fn fresh(slot: Option<u32>, (device, inode, how): FileKey, stamp: u64) -> Self {
        let file = FileMark { device, inode, how, bytes: 0, digest: [0; 32] };
        let taken = Taken { file, stamp, whole: false, units: 0 };
        Self { slot, taken, skip: 0, noted: Noted::Stale }
    }

    /// A file that goes on where a note says.
    pub fn resumed(slot: u32, taken: Taken, stamp: u64) -> Self {
        let skip = taken.units;
        let taken = Taken { stamp, whole: false, ..taken };
        Self { slot: Some(slot), taken, skip, noted: Noted::Stale }
    }

    /// Its slot.
    pub const fn slot(&self) -> Option<u32> {
        self.slot
    }

    /// Whether the next unit is one of those: then it is left out.
    pub fn passes(&mut self) -> bool {
        let passes = self.skip > 0;
        self.skip = self.skip.saturating_sub(1);
        passes
    }

    /// A unit is behind, with the file read so far.
    pub fn took(&mut self, read: FileMark) {
        self.taken.units += 1;
        self.taken.file = read;
        self.noted = Noted::Stale;
    }

    /// The file was read to its end, all of it numbered.
    pub fn end(&mut self) {
        self.taken.whole = true;
        self.noted = Noted::Stale;
    }

    /// The note that the next commit must bring.
    pub fn note(&mut self) -> Option<(u32, Vec<u8>)> {
        if self.noted != Noted::Stale {
            return None;
        }
        self.noted = Noted::Pending;
        Some((self.slot?, self.taken.encode()))
    }

    /// Everything pending is durable.
    pub fn committed(&mut self) {
        if self.noted == Noted::Pending {
            self.noted = Noted::Durable;
        }
    }

    /// Whether its end waits for a commit.
    pub fn wants_commit(&self) -> bool {
        self.taken.whole && self.noted != Noted::Durable
    }

    /// Whether all of it is kept, and noted as whole.
    pub fn is_whole(&self) -> bool {
        self.taken.whole && self.noted == Noted::Durable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::taken::known;
    use codecs::{
        ids::{Channel, Codec, Origin, RangeSet, SeqRange, SpacecraftId, StoreEpoch, UnitKey},
        link::custody::Durability,
        time::Tai,
    };
    use codecs_store::{
        Limits, NewUnit, Store,
        forgetful::{Cut, Forgetful},
    };
    use std::collections::BTreeSet;

    const LIMITS: Limits = Limits {
        capacity_bytes: 8 * 2048,
        segment_bytes: 2048,
        least_class: Durability::Local as u8,
        evict_bytes: 0,
        evict_on_full: false,
    };
    const READ: FileMark = FileMark { device: 1, inode: 2, how: 0, bytes: 99, digest: [5; 32] };

    const CHANNEL: Channel = Channel::stream(1);

    /// What a station has: keys and the first byte of each unit.
    type Station = BTreeSet<(UnitKey, u8)>;

    /// A spool, and the station that has what it receipted.
    struct Site {
        medium: Forgetful,
        store: Store<Forgetful>,
        station: Station,
        /// What it had from which call to the medium on.
        history: Vec<(u64, Station)>,
    }

    impl Site {
        fn open(medium: &Forgetful, station: Station) -> Self {
            let store = Store::open(medium.clone(), LIMITS, Origin([7; 16]), StoreEpoch(9));
            let history = vec![(0, station.clone())];
            Self { medium: medium.clone(), store: store.unwrap(), station, history }
        }

        /// What the station had in the middle of a call.
        fn station_at(&self, call: usize) -> Station {
            let before = self.history.iter().rev().find(|(calls, _)| *calls <= call as u64);
            before.unwrap().1.clone()
        }

        fn begin(&self) -> Progress {
            match known(self.store.notes()).remove(&0) {
                Some(taken) => Progress::resumed(0, taken, 1),
                None => Progress::fresh(Some(0), (1, 2, 0), 0),
            }
        }

        /// A link: everything durable goes down, is receipted, and its room is taken again.
        fn send(&mut self) {
            let offered: Vec<UnitKey> = self.store.unreceipted().map(|of| of.key).collect();
            for key in offered {
                let bytes = self.store.take(key).unwrap();
                if key.prefix.channel == CHANNEL {
                    self.station.insert((key, bytes[0]));
                }
                let only = SeqRange { first: key.sequence, last: key.sequence };
                let only: RangeSet = std::iter::once(only).collect();
                self.store.receipt(11, Durability::Local as u8, key.prefix, &only);
            }
            self.history.push((self.medium.calls(), self.station.clone()));
        }

        /// Reads a file of so many units from its start: a commit every few of them, and the link
        /// has its turn every few of them as well.
        fn read(&mut self, units: u8, commit_every: u8, send_every: u8) -> Progress {
            let mut progress = self.begin();
            for unit in 0..units {
                if !progress.passes() {
                    let new = NewUnit {
                        spacecraft: SpacecraftId(7),
                        channel: CHANNEL,
                        codec: Codec::SpacePacket,
                        priority: 9,
                        captured: Tai(0),
                        deadline_s: 0,
                        bytes: vec![unit; 100].into(),
                    };
                    self.store.append(new).unwrap();
                    progress.took(READ);
                }
                if unit % send_every == 0 {
                    self.send();
                }
                if unit % commit_every == 0 {
                    self.commit(&mut progress);
                }
            }
            progress.end();
            self.commit(&mut progress);
            self.send();
            progress
        }

        fn commit(&mut self, progress: &mut Progress) {
            if let Some((slot, note)) = progress.note() {
                self.store.note(slot, note.into());
            }
            self.store.commit(Tai(1)).unwrap();
            progress.committed();
        }
    }

    /// What the station has of it, in the order of its numbers.
    fn heard(site: &Site) -> Vec<u8> {
        site.station.iter().map(|(_, first)| *first).collect()
    }

    #[test]
    fn a_cut_anywhere_costs_and_doubles_no_unit_whatever_was_receipted_meanwhile() {
        // More than the spool holds at a time.
        const UNITS: u8 = 120;
        let whole: Vec<u8> = (0..UNITS).collect();
        let medium = Forgetful::new().remembering();
        let mut first = Site::open(&medium, Station::new());
        first.read(UNITS, 6, 7);
        for (at, moment) in medium.moments().iter().enumerate() {
            for cut in Cut::ALL {
                let left = moment.survivors(cut, (at as u64 + 1) * 0x9e37_79b9).remembering();
                let mut second = Site::open(&left, first.station_at(at));
                // All that is kept may be receipted and gone before the file is read that far.
                second.send();
                second.read(UNITS, 6, 5);
                assert_eq!(heard(&second), whole, "{cut:?} in call {at}");
                for (again, moment) in left.moments().iter().enumerate().skip(at % 23).step_by(23) {
                    let left = moment.survivors(cut, again as u64 + 1);
                    let mut third = Site::open(&left, second.station_at(again));
                    third.read(UNITS, 5, 3);
                    assert_eq!(heard(&third), whole, "{cut:?} in call {at}, then {again}");
                }
            }
        }
    }

    #[test]
    fn an_end_is_told_with_the_last_units() {
        let mut progress = Progress::fresh(Some(3), (1, 2, 0), 0);
        progress.took(READ);
        progress.end();
        assert!(!progress.is_whole() && progress.wants_commit());
        let (slot, note) = progress.note().unwrap();
        let note = Taken::decode(&note).unwrap();
        assert_eq!((slot, note.whole, note.units), (3, true, 1));
        progress.committed();
        assert!(progress.is_whole() && progress.note().is_none());
    }
}
