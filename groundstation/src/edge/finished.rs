//! Files that were read to their end, so that the next start does not hear them once more: a
//! recording heard twice stands twice in the archive, under other numbers. How a file was read
//! belongs to it: read as something else, it gives other units.
//!
//! What is noted holds for one spool alone, whose units are what came of it. A text file: the
//! spool's epoch, then a line a file, the newest last. Lines that can't be read are passed over: a
//! file read twice is better than an edge that does not start.

use super::config::Carrying;
use codecs::ids::StoreEpoch;
use std::{collections::VecDeque, fmt::Write as _};
use twox_hash::XxHash3_128;

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

/// What tells one way to read a file from another.
pub fn how(carrying: &Carrying) -> u64 {
    XxHash3_128::oneshot(carrying.to_string().as_bytes()) as u64
}

/// Files that a spool has whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    epoch: StoreEpoch,
    /// Each with how it was read.
    files: VecDeque<(FileIdentity, u64)>,
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
            let how = parts.next()?.parse().ok()?;
            Some((FileIdentity { device, inode, bytes, changed_ns }, how))
        });
        Self { epoch, files: files.take(FILES_MAX).collect() }
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let mut text = head(self.epoch) + "\n";
        for (FileIdentity { device, inode, bytes, changed_ns }, how) in &self.files {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{device} {inode} {bytes} {changed_ns} {how}");
        }
        text
    }

    /// Whether a file was read so, to its end, as it is now.
    pub fn holds(&self, file: &FileIdentity, how: u64) -> bool {
        self.files.contains(&(*file, how))
    }

    /// Forgets a file that is read so once more; whether it was known.
    pub fn forget(&mut self, (device, inode): (u64, u64), how: u64) -> bool {
        let before = self.files.len();
        let key = (device, inode, how);
        self.files.retain(|(known, how)| (known.device, known.inode, *how) != key);
        self.files.len() < before
    }

    /// Notes that a file was read so and is kept.
    pub fn note(&mut self, file: FileIdentity, how: u64) {
        self.forget((file.device, file.inode), how);
        if self.files.len() == FILES_MAX {
            self.files.pop_front();
        }
        self.files.push_back((file, how));
    }
}

fn head(epoch: StoreEpoch) -> String {
    format!("epoch {:016x}", epoch.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AOS: u64 = u64::MAX;

    fn file(inode: u64) -> FileIdentity {
        FileIdentity { device: 3, inode, bytes: 10 * inode, changed_ns: -5 }
    }

    #[test]
    fn what_was_read_is_known_until_it_changes_or_the_spool_does() {
        let mut finished = Finished::from_text("", StoreEpoch(9));
        finished.note(file(1), AOS);
        finished.note(file(2), AOS);
        let text = finished.text();
        let back = Finished::from_text(&text, StoreEpoch(9));
        assert_eq!(back, finished);
        assert!(back.holds(&file(1), AOS) && !back.holds(&file(3), AOS));
        assert!(!back.holds(&FileIdentity { bytes: 11, ..file(1) }, AOS), "it grew");
        assert!(
            !back.holds(&FileIdentity { changed_ns: 0, ..file(1) }, AOS),
            "it was written anew"
        );
        let other = Finished::from_text(&text, StoreEpoch(8));
        assert!(!other.holds(&file(1), AOS), "a new spool has none of it");
        let damaged = text.replace("3 1 10", "3 one 10");
        let damaged = Finished::from_text(&damaged, StoreEpoch(9));
        assert!(!damaged.holds(&file(1), AOS) && damaged.holds(&file(2), AOS));
    }

    #[test]
    fn what_was_read_otherwise_is_another_reading() {
        let mut finished = Finished::from_text("", StoreEpoch(9));
        let packets = how(&Carrying::Packets);
        finished.note(file(1), packets);
        let frames = |text: &str| how(&Carrying::Frames(text.parse().unwrap()));
        assert_ne!(frames("aos:892"), frames("aos:893"));
        assert!(!finished.holds(&file(1), frames("aos:892")));
        // Both are known, and to read it anew in one way forgets nothing of the other.
        finished.note(file(1), AOS);
        assert!(finished.holds(&file(1), packets) && finished.holds(&file(1), AOS));
        assert!(finished.forget((3, 1), AOS));
        assert!(finished.holds(&file(1), packets) && !finished.holds(&file(1), AOS));
    }

    #[test]
    fn memory_of_files_is_bounded_and_forgets_the_oldest() {
        let mut finished = Finished::from_text("", StoreEpoch(9));
        (0..FILES_MAX as u64 + 5).for_each(|inode| finished.note(file(inode), AOS));
        assert_eq!(finished.files.len(), FILES_MAX);
        assert!(!finished.holds(&file(4), AOS) && finished.holds(&file(5), AOS));
        finished.note(FileIdentity { bytes: 1, ..file(9) }, AOS);
        assert!(!finished.holds(&file(9), AOS), "a file is known as it was last");
    }
}
