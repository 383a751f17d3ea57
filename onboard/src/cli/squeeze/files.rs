//! The file that is read, with progress told, and the one that appears only when it is whole.

use std::{
    fs::File,
    io::{BufWriter, IsTerminal, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;

/// Before this, and more often, no progress is told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// A file that is read from end to end.
pub struct Input {
    file: File,
    path: PathBuf,
    doing: &'static str,
    size: u64,
    position: u64,
    told: Instant,
    is_told: bool,
    person: bool,
}

impl Input {
    /// Opens a file; `doing` says what for.
    pub fn open(path: &Path, doing: &'static str) -> anyhow::Result<Self> {
        let cannot = || format!("{}: can't read", path.display());
        let file = File::open(path).with_context(cannot)?;
        let size = file.metadata().with_context(cannot)?.len();
        let person = std::io::stderr().is_terminal();
        let told = Instant::now();
        let path = path.to_owned();
        Ok(Self { file, path, doing, size, position: 0, told, is_told: false, person })
    }

    /// Bytes read.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Reads until `buffer` holds `length` bytes; false where the file ends before.
    pub fn fill(&mut self, buffer: &mut Vec<u8>, length: usize) -> anyhow::Result<bool> {
        let wanted = length.saturating_sub(buffer.len());
        let read = (&self.file).take(wanted as u64).read_to_end(buffer).with_context(|| {
            format!("{}: can't read on at byte {}", self.path.display(), self.position)
        })?;
        self.position += read as u64;
        if self.person && self.told.elapsed() >= TELL_EVERY {
            let percent = 100 * self.position / self.size.max(1);
            let _ = write!(std::io::stderr(), "\r{} {percent} %", self.doing);
            (self.told, self.is_told) = (Instant::now(), true);
        }
        Ok(read == wanted)
    }

    /// Ends the line of progress, if there is one.
    pub fn done(&self) {
        if self.is_told {
            let _ = writeln!(std::io::stderr(), "\r{} 100 %", self.doing);
        }
    }
}

/// A file that appears under its name when it is whole; devices and pipes are written as it comes.
pub struct Output {
    file: BufWriter<File>,
    path: PathBuf,
    part: Option<PathBuf>,
}

impl Output {
    /// Begins a file.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let special = path.metadata().is_ok_and(|is| !is.is_file());
        let part = (!special).then(|| {
            let mut part = path.as_os_str().to_owned();
            part.push(".part");
            PathBuf::from(part)
        });
        let name = part.as_deref().unwrap_or(path);
        let file =
            File::create(name).with_context(|| format!("{}: can't write", name.display()))?;
        Ok(Self { file: BufWriter::new(file), path: path.to_owned(), part })
    }

    /// Writes what comes next.
    pub fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.file.write_all(bytes).with_context(|| format!("{}: can't write", self.path.display()))
    }

    /// Gives the file its name.
    pub fn finish(mut self) -> anyhow::Result<()> {
        let cannot = || format!("{}: can't write", self.path.display());
        self.file.flush().with_context(cannot)?;
        if let Some(part) = &self.part {
            std::fs::rename(part, &self.path).with_context(cannot)?;
        }
        self.part = None;
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            let _ = std::fs::remove_file(part);
        }
    }
}
