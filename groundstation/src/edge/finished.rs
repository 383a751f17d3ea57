//! Files that were read to their end, so that the next start does not hear them once more: a
//! recording heard twice stands twice in the archive, under other numbers.
//!
//! What is noted holds for one spool alone, whose units are what came of it. A text file: the
//! spool's epoch, then a line a file, the newest last. Lines that can't be read are passed over: a
//! file read twice is better than an edge that does not start.

use codecs::ids::StoreEpoch;
use std::{collections::VecDeque, fmt::Write as _};

/// Files remembered; older ones are forgotten, and would be read again.
const FILES_MAX: usize = 1_024;

/// Which file it is, and as it was: one that grew or was written anew is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    /// Device of the file system.
    pub device: u64,
    /// Number of the file there.
    pub inode: u64,
    /// Length.
    pub bytes: u64,
    /// When its content changed, in nanoseconds since 1970.
    pub changed_ns: i64,
}

/// Files that a spool has whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    epoch: StoreEpoch,
    files: VecDeque<FileIdentity>,
}

impl Finished {
    /// What the text says of a spool; nothing where it is of another.
    pub fn from_text(text: &str, epoch: StoreEpoch) -> Self {
        let mut lines = text.lines();
        let same = lines.next() == Some(&head(epoch));
        let files = lines.filter(|_| same).filter_map(|line| {
            let mut parts = line.split(' ');
            let mut number = || parts.next()?.parse::<u64>().ok();
            let (device, inode, bytes) = (number()?, number()?, number()?);
            let changed_ns = parts.next()?.parse().ok()?;
            Some(FileIdentity { device, inode, bytes, changed_ns })
        });
        Self { epoch, files: files.take(FILES_MAX).collect() }
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let mut text = head(self.epoch) + "\n";
        for FileIdentity { device, inode, bytes, changed_ns } in &self.files {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{device} {inode} {bytes} {changed_ns}");
        }
        text
    }

    /// Whether a file was read to its end as it is now.
    pub fn holds(&self, file: &FileIdentity) -> bool {
        self.files.contains(file)
    }

    /// Forgets a file that is read once more; whether it was known.
    pub fn forget(&mut self, place: (u64, u64)) -> bool {
        let before = self.files.len();
        self.files.retain(|known| (known.device, known.inode) != place);
        self.files.len() < before
    }

    /// Notes that a file was read and is kept.
    pub fn note(&mut self, file: FileIdentity) {
        self.files.retain(|known| (known.device, known.inode) != (file.device, file.inode));
        if self.files.len() == FILES_MAX {
            self.files.pop_front();
        }
        self.files.push_back(file);
    }
}

fn head(epoch: StoreEpoch) -> String {
    format!("epoch {:016x}", epoch.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(inode: u64) -> FileIdentity {
        FileIdentity { device: 3, inode, bytes: 10 * inode, changed_ns: -5 }
    }

    #[test]
    fn what_was_read_is_known_until_it_changes_or_the_spool_does() {
        let mut finished = Finished::from_text("", StoreEpoch(9));
        finished.note(file(1));
        finished.note(file(2));
        let text = finished.text();
        let back = Finished::from_text(&text, StoreEpoch(9));
        assert_eq!(back, finished);
        assert!(back.holds(&file(1)) && !back.holds(&file(3)));
        assert!(!back.holds(&FileIdentity { bytes: 11, ..file(1) }), "it grew");
        assert!(!back.holds(&FileIdentity { changed_ns: 0, ..file(1) }), "it was written anew");
        let other = Finished::from_text(&text, StoreEpoch(8));
        assert!(!other.holds(&file(1)), "a new spool has none of it");
        let damaged = text.replace("3 1 10", "3 one 10");
        let damaged = Finished::from_text(&damaged, StoreEpoch(9));
        assert!(!damaged.holds(&file(1)) && damaged.holds(&file(2)));
    }

    #[test]
    fn memory_of_files_is_bounded_and_forgets_the_oldest() {
        let mut finished = Finished::from_text("", StoreEpoch(9));
        (0..FILES_MAX as u64 + 5).for_each(|inode| finished.note(file(inode)));
        assert_eq!(finished.files.len(), FILES_MAX);
        assert!(!finished.holds(&file(4)) && finished.holds(&file(5)));
        finished.note(FileIdentity { bytes: 1, ..file(9) });
        assert!(!finished.holds(&file(9)), "a file is known as it was last");
    }
}
