//! The file that is read, with progress told, and the one that appears only when it is whole.

use std::{
    fs::File,
    io::{BufWriter, IsTerminal, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::signal::unix::{SignalKind, signal};

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

    /// Whether nothing follows.
    pub fn is_through(&mut self) -> anyhow::Result<bool> {
        Ok(self.position >= self.file.metadata()?.len())
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
    /// Begins a file, which must not be the one that is read. A link is followed: what it leads to
    /// is replaced.
    pub fn create(path: &Path, input: &Path) -> anyhow::Result<Self> {
        let path = &match path.is_symlink() {
            true => path.canonicalize().with_context(|| {
                format!("{}: a link that leads nowhere: name the file itself", path.display())
            })?,
            false => path.to_owned(),
        };
        let special = path.metadata().is_ok_and(|is| !is.is_file());
        let place = |path: &Path| path.metadata().map(|of| (of.dev(), of.ino())).ok();
        ensure!(
            special || place(path).is_none() || place(path) != place(input),
            "{} is the file that is read: name another one to write",
            path.display()
        );
        let part = (!special).then(|| {
            let mut part = path.as_os_str().to_owned();
            part.push(".part");
            PathBuf::from(part)
        });
        let name = part.as_deref().unwrap_or(path);
        // First: whoever ends the process as soon as the file is there must find it gone.
        part.clone().map(remove_at_a_signal).transpose()?;
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

/// Removes what was begun when the process is told to end.
fn remove_at_a_signal(part: PathBuf) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let code = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            }
        });
        let _ = std::fs::remove_file(part);
        std::process::exit(code);
    })?;
    Ok(())
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            let _ = std::fs::remove_file(part);
        }
    }
}
