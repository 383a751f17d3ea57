//! Appended to a file, which is closed and renamed by size, age or contact.

use super::{
    LOOK_AGAIN, Shared, Stop,
    board::Board,
    cursor::{Cursor, CursorFile},
    source::{Out, Source},
};
use crate::{
    door::{
        framing::Framing,
        rotation::{Current, Rotation, closed_name},
        select::Parcel,
        spec::{Begin, Door},
    },
    shell::{clock::StationClock, follow::Step},
};
use std::{
    fs::{File, OpenOptions},
    io,
    ops::ControlFlow,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
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
    written: u64,
    clock: StationClock,
    board: Board,
    cursor: Option<CursorFile>,
    stop: Stop,
}

/// Writes until nothing more comes.
pub fn run(shared: &Shared, door: &Door, board: &Board, path: &Path) {
    let cursor = shared.cursor_file(door);
    let loaded = cursor.as_ref().and_then(CursorFile::load);
    let mut source = Source::new(shared, door, board, loaded);
    let mut out = Files::new(door, path, (board.clone(), shared.clock, shared.stop.clone()));
    out.cursor = cursor;
    if door.begin == Begin::Last
        && let Some(loaded) = loaded
    {
        // What stands behind is taken from the archive again.
        out.cut_to(loaded.file_bytes);
    }
    let step = loop {
        match source.step(&mut out) {
            step @ (Step::Ended | Step::Stopped) => break step,
            Step::Went | Step::Quiet => {}
        }
    };
    if step == Step::Ended && out.cursor.is_none() {
        source.flush(&mut out);
    }
    let _ = out.write();
    source.checkpoint(&mut out);
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
            written: 0,
            clock,
            board,
            cursor: None,
            stop,
        }
    }

    fn cut_to(&mut self, bytes: u64) {
        let longer = |file: &File| file.metadata().is_ok_and(|known| known.len() > bytes);
        let cut = OpenOptions::new().write(true).open(&self.path);
        let cut = cut.and_then(|file| if longer(&file) { file.set_len(bytes) } else { Ok(()) });
        match cut {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                self.board.failed(&format!("{}: {error}", self.path.display()));
            }
            _ => {}
        }
    }

    /// Writes what waits, however long the disk refuses; breaks off at a stop.
    pub fn write(&mut self) -> ControlFlow<()> {
        while !self.piece.is_empty() {
            match self.try_write() {
                Ok(()) => self.piece.clear(),
                Err(error) => {
                    self.board.failed(&format!("{}: {error}", self.path.display()));
                    if self.stop.is_over() {
                        return ControlFlow::Break(());
                    }
                    thread::sleep(10 * LOOK_AGAIN);
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn try_write(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let options = OpenOptions::new().write(true).create(true).mode(0o640).clone();
                let file = options.open(&self.path)?;
                self.written = file.metadata()?.len();
                self.current.bytes = self.written + self.piece.len() as u64;
                self.board.opened();
                none.insert(file)
            }
        };
        // At its place, so that a part of an earlier attempt is written over.
        file.write_all_at(&self.piece, self.written)?;
        self.written += self.piece.len() as u64;
        Ok(())
    }

    /// Closes the file under a name of its own.
    fn close(&mut self) -> ControlFlow<()> {
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

    fn rename(&self, first: codecs::time::Tai) -> io::Result<()> {
        for number in 0..NAMES_MAX {
            let name = closed_name(&self.path, first, number);
            // A link fails where the name is taken, and a rename would write over it.
            match std::fs::hard_link(&self.path, &name) {
                Ok(()) => return std::fs::remove_file(&self.path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("every name for a closed file is taken"))
    }
}

impl Out for Files {
    fn put(&mut self, parcel: Parcel) -> ControlFlow<()> {
        let now = self.clock.mono_ns();
        if self.rotation.closes_before(&self.current, parcel.received, now) {
            self.close()?;
        }
        let before = self.piece.len();
        if self.framing.write(&parcel.bytes, &mut self.piece).is_err() {
            self.piece.truncate(before);
            self.board.count(|view| *view.dropped.entry("framing").or_default() += 1);
            return ControlFlow::Continue(());
        }
        let bytes = self.piece.len() - before;
        self.current.wrote(bytes, parcel.received);
        self.board.count(|view| {
            view.sent += 1;
            view.sent_bytes += bytes as u64;
        });
        match self.piece.len() >= PIECE_BYTES {
            true => self.write(),
            false => ControlFlow::Continue(()),
        }
    }

    fn settle(&mut self) -> ControlFlow<()> {
        self.write()?;
        if self.rotation.closes_idle(&self.current, self.clock.tai(), self.clock.mono_ns()) {
            self.close()?;
        }
        self.board.tell();
        ControlFlow::Continue(())
    }

    fn checkpoint(&mut self, cursor: Cursor) {
        if self.cursor.is_none() || self.write().is_break() {
            return;
        }
        let Some(cursor_file) = &self.cursor else { return };
        let synced = self.file.as_ref().map_or(Ok(()), File::sync_data);
        let saved =
            synced.and_then(|()| cursor_file.save(Cursor { file_bytes: self.written, ..cursor }));
        if let Err(error) = saved {
            self.board.failed(&format!("how far it came could not be noted: {error}"));
        }
    }
}
