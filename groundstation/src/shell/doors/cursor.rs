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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The first unit of which something may be open.
    pub at: Position,
    /// Where to begin reading, so that what is open can be put together.
    pub warm: Position,
    /// Bytes of the open file that belong to what is done.
    pub file_bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    ledger: String,
    at: [u64; 2],
    warm: [u64; 2],
    #[serde(default)]
    file_bytes: u64,
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
                warm: place(stored.warm).min(place(stored.at)),
                file_bytes: stored.file_bytes,
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
    pub fn save(&self, cursor: Cursor) -> io::Result<()> {
        let place = |position: Position| [position.segment, position.offset];
        let stored = Stored {
            ledger: self.ledger.clone(),
            at: place(cursor.at),
            warm: place(cursor.warm),
            file_bytes: cursor.file_bytes,
        };
        let new = self.path.with_extension("json.new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(&stored)?)?;
        file.sync_data()?;
        std::fs::rename(&new, &self.path)
    }
}

/// Places passed lately.
#[derive(Debug, Default)]
pub struct Passed {
    places: VecDeque<(u64, Position)>,
    total: u64,
}

impl Passed {
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
        self.places.front().map_or(at, |(_, place)| at.min(*place))
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
        let cursor = Cursor { at: at(9), warm: at(4), file_bytes: 77 };
        file.save(cursor).unwrap();
        assert_eq!(file.load(), Some(cursor));
        assert_eq!(CursorFile::new(&dir.path().join("doors"), "a", 6).unwrap().load(), None);
        std::fs::write(dir.path().join("doors/a.json"), b"{").unwrap();
        assert_eq!(file.load(), None);
    }

    #[test]
    fn what_was_passed_is_remembered_as_far_as_needed() {
        let mut passed = Passed::default();
        let at = |offset| Position { segment: 0, offset };
        assert_eq!(passed.before(at(3)), at(3));
        for offset in 0..200_000 {
            passed.note(at(offset), 1_000);
            assert!(passed.places.len() < 200);
        }
        let back = 200_000 - passed.before(at(200_000)).offset;
        assert!((33_000..35_000).contains(&back), "{back}");
    }
}
