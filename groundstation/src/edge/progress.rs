//! One file on its way into the spool: which of its units are numbered, and what is noted of it.

use super::taken::{CHANNELS_MAX, FileKey, FileMark, Replay, Taken};
use codecs_store::CounterName;
use std::collections::BTreeMap;

/// What to do with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The spool has it: it is left out.
    Kept,
    /// What is pending must be committed before this can be told.
    CommitFirst,
    /// It is to be numbered.
    Number,
}

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
    replay: Replay,
    ended: bool,
    noted: Noted,
}

impl Progress {
    /// A file that nothing is kept of.
    pub fn fresh(slot: Option<u32>, (device, inode, how): FileKey, stamp: u64) -> Self {
        let file = FileMark { device, inode, how, bytes: 0, digest: [0; 32] };
        let before = BTreeMap::new();
        let taken = Taken { file, stamp, whole: false, units: 0, pending: 0, before };
        let (replay, ended, noted) = (Replay::default(), false, Noted::Stale);
        Self { slot, taken, replay, ended, noted }
    }

    /// A file that goes on where a note says, with the contents of units that the spool holds
    /// behind the note's places.
    pub fn resumed(slot: u32, taken: Taken, stamp: u64, found: impl Iterator<Item = u128>) -> Self {
        let replay = Replay::new(&taken, found);
        // The note stays as it is while units are in doubt: without it they would be no more.
        let before = BTreeMap::new();
        let taken = Taken { stamp, whole: false, pending: 0, before, ..taken };
        Self { slot: Some(slot), taken, replay, ended: false, noted: Noted::Durable }
    }

    /// Its slot.
    pub const fn slot(&self) -> Option<u32> {
        self.slot
    }

    /// What becomes of the next unit; its content is asked for only where it is in doubt.
    pub fn judge(&mut self, content: impl FnOnce() -> u128) -> Verdict {
        if self.replay.passes() {
            return Verdict::Kept;
        }
        if !self.replay.doubts() {
            return Verdict::Number;
        }
        let content = content();
        if !self.replay.holds(content) {
            return Verdict::Number;
        }
        // The note counts units from the first: a kept one behind one that is pending must wait.
        if self.taken.pending > 0 {
            return Verdict::CommitFirst;
        }
        self.replay.settle(content);
        self.taken.units += 1;
        Verdict::Kept
    }

    /// Whether a unit of a channel may join the pending ones.
    pub fn takes(&self, place: CounterName) -> bool {
        let before = &self.taken.before;
        before.contains_key(&place) || before.len() < CHANNELS_MAX
    }

    /// A unit was numbered: where, with which number, and how far the file was read.
    pub fn numbered(&mut self, place: CounterName, sequence: u64, read: FileMark) {
        self.replay.missed();
        self.taken.before.entry(place).or_insert(sequence);
        self.taken.pending += 1;
        self.taken.file = read;
        self.noted = Noted::Stale;
    }

    /// The file was read to its end, all of it numbered.
    pub fn end(&mut self) {
        (self.ended, self.noted) = (true, Noted::Stale);
    }

    /// The note that the next commit must bring.
    pub fn note(&mut self) -> Option<(u32, Vec<u8>)> {
        if self.noted != Noted::Stale {
            return None;
        }
        self.noted = Noted::Pending;
        let whole = self.ended && self.taken.pending == 0;
        Some((self.slot?, Taken { whole, ..self.taken.clone() }.encode()))
    }

    /// Everything pending is durable.
    pub fn committed(&mut self) {
        if self.taken.pending > 0 {
            self.taken.units += u64::from(self.taken.pending);
            self.taken.pending = 0;
            self.taken.before.clear();
            self.noted = Noted::Stale;
        } else if self.noted == Noted::Pending {
            self.noted = Noted::Durable;
        }
    }

    /// Whether its end waits for one more commit.
    pub fn wants_commit(&self) -> bool {
        self.ended && self.noted != Noted::Durable
    }

    /// Whether all of it is kept, and noted as whole.
    pub fn is_whole(&self) -> bool {
        self.ended && self.noted == Noted::Durable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::ids::{Channel, SpacecraftId};

    const PLACE: CounterName = (SpacecraftId(7), Channel::stream(1));
    const READ: FileMark = FileMark { device: 1, inode: 2, how: 0, bytes: 99, digest: [5; 32] };

    /// A spool that a kill may leave with any part of its last commit.
    #[derive(Clone, Default)]
    struct Kept {
        units: Vec<u128>,
        note: Option<Taken>,
    }

    impl Kept {
        fn open(&self) -> Progress {
            let Some(taken) = self.note.clone() else {
                return Progress::fresh(Some(0), (1, 2, 0), 0);
            };
            let from = taken.before.get(&PLACE).map_or(self.units.len(), |next| *next as usize);
            let found: Vec<u128> = self.units.iter().skip(from).copied().collect();
            Progress::resumed(0, taken, 1, found.into_iter())
        }

        /// Reads a file from its start, commits every few units, and is killed in the commit given
        /// with so many of its units written.
        fn read(&mut self, file: &[u128], every: usize, kill: Option<(usize, usize)>) {
            let mut progress = self.open();
            let (mut pending, mut commits) = (Vec::new(), 0);
            let mut at = 0;
            while at < file.len() || !pending.is_empty() {
                let verdict = file.get(at).map(|unit| progress.judge(|| *unit));
                if pending.len() == every || verdict.is_none_or(|of| of == Verdict::CommitFirst) {
                    let note = progress.note().and_then(|(_, bytes)| Taken::decode(&bytes));
                    self.note = note.or(self.note.take());
                    let torn = kill.filter(|(number, _)| *number == commits);
                    let written = torn.map_or(pending.len(), |(_, units)| units.min(pending.len()));
                    self.units.extend(pending.drain(..).take(written));
                    if torn.is_some() {
                        return;
                    }
                    progress.committed();
                    commits += 1;
                }
                if verdict == Some(Verdict::Number) {
                    let next = (self.units.len() + pending.len()) as u64;
                    progress.numbered(PLACE, next, READ);
                    pending.push(file[at]);
                }
                at += usize::from(verdict.is_some_and(|of| of != Verdict::CommitFirst));
            }
        }
    }

    #[test]
    fn a_kill_in_any_commit_with_any_part_of_it_written_costs_and_doubles_no_unit() {
        // All different, all the same, and in between.
        for period in [1, 3, u128::MAX] {
            let file: Vec<u128> = (0..40).map(|unit| unit % period).collect();
            for (commit, written) in (0..8).flat_map(|of| (0..=6).map(move |part| (of, part))) {
                let mut kept = Kept::default();
                kept.read(&file, 5, Some((commit, written)));
                let once = kept.clone();
                kept.read(&file, 4, Some((commit / 2, written / 2)));
                kept.read(&file, 7, None);
                assert_eq!(kept.units, file, "{commit}, {written}, {:?}", once.note);
                // The file grew.
                let longer: Vec<u128> = (0..50).map(|unit| unit % period).collect();
                kept.read(&longer, 5, None);
                assert_eq!(kept.units, longer);
            }
        }
    }

    #[test]
    fn an_end_is_told_once_all_before_it_is_durable() {
        let mut progress = Progress::fresh(Some(3), (1, 2, 0), 0);
        progress.numbered(PLACE, 0, READ);
        progress.end();
        let (slot, note) = progress.note().unwrap();
        assert_eq!((slot, Taken::decode(&note).unwrap().whole), (3, false));
        progress.committed();
        assert!(!progress.is_whole() && progress.wants_commit());
        let (_, note) = progress.note().unwrap();
        assert!(Taken::decode(&note).unwrap().whole);
        progress.committed();
        assert!(progress.is_whole() && progress.note().is_none());
    }
}
