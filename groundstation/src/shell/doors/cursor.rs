//! How far a door came, kept over restarts.

use crate::archive::record::Position;
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Units this far back are taken again at a start, unseen, so that packets in progress come out
/// whole: many of the longest, of all channels together.
const WARM_BYTES: u64 = 32 << 20;
/// Places between them.
const WARM_STEP_BYTES: u64 = 256 << 10;

/// Where a door goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Units before it were taken.
    pub at: Position,
    /// Units before that of which something is still to go out, in order.
    pub held: Vec<Position>,
    /// Where to begin reading, so that what is open can be put together.
    pub warm: Position,
    /// The open file as far as what went out stands in it.
    pub file: Option<FileEnd>,
}

/// How far a file belongs to a cursor. It is known by its inode: the file under the name may be
/// another one by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEnd {
    /// Device of its file system.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// Bytes of it that belong to what went out.
    pub bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    ledger: String,
    at: [u64; 2],
    #[serde(default)]
    held: Vec<[u64; 2]>,
    warm: [u64; 2],
    #[serde(default)]
    file: Option<FileEnd>,
}

/// The file of a door's cursor.
#[derive(Clone, Debug)]
pub struct CursorFile {
    path: PathBuf,
    ledger: String,
}

impl CursorFile {
    /// The cursor of a door in an archive, in a folder that is made where it is missing.
    pub fn new(dir: &Path, door: &str, ledger: u64) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        Ok(Self { path: dir.join(format!("{door}.json")), ledger: format!("{ledger:016x}") })
    }

    /// Reads it; none where there is none for this archive.
    pub fn load(&self) -> Option<Cursor> {
        let text = std::fs::read(&self.path).ok()?;
        let place = |[segment, offset]: [u64; 2]| Position { segment, offset };
        match serde_json::from_slice::<Stored>(&text) {
            Ok(stored) if stored.ledger == self.ledger => Some(Cursor {
                at: place(stored.at),
                held: stored.held.into_iter().map(place).collect(),
                warm: place(stored.warm).min(place(stored.at)),
                file: stored.file,
            }),
            Ok(_) => {
                let file = self.path.display();
                tracing::warn!(%file, "of another archive: this door begins anew");
                None
            }
            Err(error) => {
                let file = self.path.display();
                tracing::warn!(%file, %error, "can't be read: this door begins anew");
                None
            }
        }
    }

    /// Writes it; a crash leaves the old one or the new one.
    pub fn save(&self, cursor: &Cursor) -> io::Result<()> {
        let place = |position: Position| [position.segment, position.offset];
        let stored = Stored {
            ledger: self.ledger.clone(),
            at: place(cursor.at),
            held: cursor.held.iter().copied().map(place).collect(),
            warm: place(cursor.warm),
            file: cursor.file,
        };
        let new = self.path.with_extension("json.new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(&stored)?)?;
        file.sync_data()?;
        std::fs::rename(&new, &self.path)
    }
}

/// Places passed lately.
#[derive(Debug)]
pub struct Passed {
    /// Where it began.
    start: Position,
    places: VecDeque<(u64, Position)>,
    total: u64,
}

impl Passed {
    /// Has passed nothing, and begins at a record.
    pub const fn new(start: Position) -> Self {
        Self { start, places: VecDeque::new(), total: 0 }
    }

    /// Notes a unit.
    pub fn note(&mut self, position: Position, bytes: usize) {
        if self.places.back().is_none_or(|(total, _)| self.total - total >= WARM_STEP_BYTES) {
            self.places.push_back((self.total, position));
        }
        self.total += bytes as u64;
        while self.places.get(1).is_some_and(|(total, _)| self.total - total > WARM_BYTES) {
            self.places.pop_front();
        }
    }

    /// Where to begin reading before `at`.
    pub fn before(&self, at: Position) -> Position {
        at.min(self.places.front().map_or(self.start, |(_, place)| *place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_for_its_own_archive_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = CursorFile::new(&dir.path().join("doors"), "a", 5).unwrap();
        assert_eq!(file.load(), None);
        let at = |offset| Position { segment: 2, offset };
        let end = FileEnd { device: 1, inode: u64::MAX, bytes: 77 };
        let held = vec![at(5), at(7)];
        let cursor = Cursor { at: at(9), held, warm: at(4), file: Some(end) };
        file.save(&cursor).unwrap();
        assert_eq!(file.load(), Some(cursor));
        assert_eq!(CursorFile::new(&dir.path().join("doors"), "a", 6).unwrap().load(), None);
        std::fs::write(dir.path().join("doors/a.json"), b"{").unwrap();
        assert_eq!(file.load(), None);
    }

    #[test]
    fn what_was_passed_is_remembered_as_far_as_needed() {
        let at = |offset| Position { segment: 0, offset };
        let mut passed = Passed::new(at(5));
        assert_eq!((passed.before(at(3)), passed.before(at(9))), (at(3), at(5)));
        for offset in 0..200_000 {
            passed.note(at(offset), 1_000);
            assert!(passed.places.len() < 200);
        }
        let back = 200_000 - passed.before(at(200_000)).offset;
        assert!((33_000..35_000).contains(&back), "{back}");
    }
}
