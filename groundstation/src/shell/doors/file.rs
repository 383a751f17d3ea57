//! Appended to a file, which is closed and renamed by size, age or contact.
//!
//! The door's cursor and its file agree at every moment: cutting the file that the cursor names to
//! the length that it states, and going on from there, puts each frame into it once. A file is
//! named by its inode, since what has its name by now may be the next one.

use super::{
    LOOK_AGAIN, Shared, Stop,
    board::Board,
    cursor::{Cursor, CursorFile, FileEnd},
    source::{Out, Source},
};
use crate::{
    door::{
        framing::Framing,
        rotation::{Current, Rotation, closed_name},
        select::Parcel,
        spec::Door,
    },
    shell::{clock::StationClock, follow::Step},
};
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};
use std::{
    fs::{File, OpenOptions},
    io,
    ops::ControlFlow,
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    thread,
};

/// Written at once.
const PIECE_BYTES: usize = 256 << 10;
/// Names tried for a file that is closed.
const NAMES_MAX: u32 = 10_000;

/// A file, and those that it was before.
pub struct Files {
    path: PathBuf,
    file: Option<File>,
    current: Current,
    rotation: Rotation,
    framing: Framing,
    /// Not written yet; stands behind `written` bytes of the file.
    piece: Vec<u8>,
    /// Frames or packets in it.
    parcels: u64,
    written: u64,
    clock: StationClock,
    board: Board,
    cursor: Option<CursorFile>,
    /// The cursor as it was noted last: nothing was written since, or to the file that it names.
    noted: Option<Cursor>,
    /// What can't be written is tried again, for ever.
    again: bool,
    stop: Stop,
}

/// Writes until nothing more comes.
pub fn run(shared: &Shared, door: &Door, board: &Board, path: &Path) {
    let cursor = shared.cursor_file(door);
    let loaded = cursor.as_ref().and_then(CursorFile::load);
    let mut source = Source::new(shared, door, board, loaded.clone());
    let mut out = Files::new(door, path, (board.clone(), shared.clock, shared.stop.clone()));
    out.cursor = cursor;
    out.again = true;
    match loaded {
        Some(loaded) => out.go_on(loaded),
        None => source.checkpoint(&mut out),
    }
    let step = loop {
        match source.step(&mut out) {
            step @ (Step::Ended | Step::Stopped) => break step,
            Step::Went | Step::Quiet => {}
        }
    };
    if step == Step::Ended {
        if out.cursor.is_none() {
            source.flush(&mut out);
        }
        let _ = out.write();
        source.checkpoint(&mut out);
    }
    if out.file.take().is_some() {
        board.closed(None);
    }
}

impl Files {
    /// Writes nothing yet.
    pub fn new(
        door: &Door,
        path: &Path,
        (board, clock, stop): (Board, StationClock, Stop),
    ) -> Self {
        Self {
            path: path.into(),
            file: None,
            current: Current::new(0, clock.mono_ns()),
            rotation: door.rotation,
            framing: door.framing.clone(),
            piece: Vec::new(),
            parcels: 0,
            written: 0,
            clock,
            board,
            cursor: None,
            noted: None,
            again: false,
            stop,
        }
    }

    /// Goes on where an earlier run noted that it was: what it wrote behind that is taken from the
    /// archive again.
    fn go_on(&mut self, cursor: Cursor) {
        let end = cursor.file;
        self.noted = Some(cursor);
        let Some(end) = end else { return };
        let cut = || -> io::Result<Option<(File, u64)>> {
            let file = OpenOptions::new().write(true).open(&self.path)?;
            let known = file.metadata()?;
            if (known.dev(), known.ino()) != (end.device, end.inode) {
                return Ok(None);
            }
            if known.len() > end.bytes {
                file.set_len(end.bytes)?;
            }
            Ok(Some((file, known.len().min(end.bytes))))
        };
        match cut() {
            Ok(Some((file, bytes))) => {
                if bytes < end.bytes {
                    let (path, lost) = (self.path.display(), end.bytes - bytes);
                    tracing::error!(%path, lost, "bytes that were written are not there any more");
                }
                self.up(file, bytes);
            }
            // Closed, or taken away: what is there now is appended to.
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&self, error: &io::Error) {
        self.board.failed(&format!("{}: {error}", self.path.display()));
    }

    fn up(&mut self, file: File, bytes: u64) {
        self.written = bytes;
        self.current.bytes = bytes + self.piece.len() as u64;
        self.file = Some(file);
        self.board.opened();
    }

    /// Opens the file to append to it.
    pub fn open(&mut self) -> io::Result<()> {
        let options = OpenOptions::new().write(true).create(true).mode(0o640).clone();
        let file = options.open(&self.path)?;
        let known = file.metadata()?;
        self.up(file, known.len());
        if let (Some(_), Some(noted)) = (&self.cursor, self.noted.clone()) {
            let (device, inode) = (known.dev(), known.ino());
            self.note(Cursor {
                file: Some(FileEnd { device, inode, bytes: known.len() }),
                ..noted
            });
        }
        Ok(())
    }

    /// Writes what waits, however long the disk refuses; breaks off at a stop.
    pub fn write(&mut self) -> ControlFlow<()> {
        while !self.piece.is_empty() {
            let Err(error) = self.try_write() else { break };
            self.failed(&error);
            if !self.again || self.stop.is_over() {
                self.cut();
                return ControlFlow::Break(());
            }
            thread::sleep(10 * LOOK_AGAIN);
        }
        ControlFlow::Continue(())
    }

    /// Takes back the part of a piece that the disk still took: what stands in the file is whole.
    fn cut(&self) {
        let known = self.file.as_ref().and_then(|file| Some((file, file.metadata().ok()?)));
        if let Some((file, known)) = known
            && known.is_file()
            && known.len() > self.written
            && let Err(error) = file.set_len(self.written)
        {
            self.failed(&error);
        }
    }

    fn try_write(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            self.open()?;
        }
        let Some(file) = &self.file else { return Ok(()) };
        // At its place, so that a part of an earlier attempt is written over.
        file.write_all_at(&self.piece, self.written)?;
        let (parcels, bytes) = (std::mem::take(&mut self.parcels), self.piece.len() as u64);
        self.written += bytes;
        self.piece.clear();
        self.board.count(|view| {
            view.sent += parcels;
            view.sent_bytes += bytes;
            view.error = None;
        });
        Ok(())
    }

    fn rename(&self, first: codecs::time::Tai) -> io::Result<()> {
        for number in 0..NAMES_MAX {
            let name = closed_name(&self.path, first, number);
            match rename_new(&self.path, &name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                renamed => return renamed,
            }
        }
        Err(io::Error::other("every name for a closed file is taken"))
    }

    fn note(&mut self, cursor: Cursor) {
        let Some(cursor_file) = &self.cursor else { return };
        if let Err(error) = cursor_file.save(&cursor) {
            self.board.failed(&format!("how far it came could not be noted: {error}"));
        }
        self.noted = Some(cursor);
    }
}

/// Renames a file where the name is free: in one step, so that a kill leaves it under one of them.
pub fn rename_new(path: &Path, name: &Path) -> io::Result<()> {
    match renameat_with(CWD, path, CWD, name, RenameFlags::NOREPLACE) {
        // Some file systems can't; a link fails where the name is taken as well.
        Err(Errno::INVAL | Errno::NOSYS) => {
            std::fs::hard_link(path, name)?;
            std::fs::remove_file(path)
        }
        renamed => Ok(renamed?),
    }
}

impl Out for Files {
    fn put(&mut self, parcel: &Parcel) -> ControlFlow<()> {
        let before = self.piece.len();
        if self.framing.write(&parcel.bytes, &mut self.piece).is_err() {
            self.piece.truncate(before);
            self.board.count(|view| *view.dropped.entry("framing").or_default() += 1);
            return ControlFlow::Continue(());
        }
        self.parcels += 1;
        self.current.wrote(self.piece.len() - before, parcel.received);
        match self.piece.len() >= PIECE_BYTES {
            true => self.write(),
            false => ControlFlow::Continue(()),
        }
    }

    fn turns(&mut self, next: Option<&Parcel>) -> bool {
        let now = self.clock.mono_ns();
        match next {
            Some(next) => self.rotation.closes_before(&self.current, next.received, now),
            None => self.rotation.closes_idle(&self.current, self.clock.tai(), now),
        }
    }

    /// Closes the file under a name of its own.
    fn turn(&mut self) -> ControlFlow<()> {
        self.write()?;
        if let Some(file) = self.file.take() {
            let first = self.current.span.map_or(self.clock.tai(), |(first, _)| first);
            let renamed = file.sync_data().and_then(|()| self.rename(first));
            match renamed {
                Ok(()) => self.board.closed(None),
                Err(error) => self.board.closed(Some(format!("{}: {error}", self.path.display()))),
            }
        }
        self.current = Current::new(0, self.clock.mono_ns());
        self.written = 0;
        ControlFlow::Continue(())
    }

    fn settle(&mut self) -> ControlFlow<()> {
        self.write()?;
        self.board.tell();
        ControlFlow::Continue(())
    }

    fn checkpoint(&mut self, cursor: Cursor) {
        if self.cursor.is_none() || self.write().is_break() {
            return;
        }
        let end = |file: &File| -> io::Result<FileEnd> {
            file.sync_data()?;
            let known = file.metadata()?;
            Ok(FileEnd { device: known.dev(), inode: known.ino(), bytes: self.written })
        };
        match self.file.as_ref().map(end).transpose() {
            Ok(file) => self.note(Cursor { file, ..cursor }),
            Err(error) => self.failed(&error),
        }
    }
}
