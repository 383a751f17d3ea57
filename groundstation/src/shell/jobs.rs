//! The job log's file.

use crate::router::log::{LINE_BYTES_MAX, Line};
use anyhow::Context as _;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// An open job log: lines go to its end and nowhere else.
#[derive(Debug)]
pub struct JobLog {
    file: File,
    /// Bytes of whole lines; what a failed write left behind them is cut off before the next.
    length: u64,
}

impl JobLog {
    /// Opens or makes the log and reads its lines, their outputs left out.
    ///
    /// A last line that a crash cut short is cut off. Where a line in the middle can't be read, the
    /// file is kept under another name and goes on with the lines before it: what it said behind
    /// may be done again, which is better than not starting.
    pub fn open(path: &Path) -> anyhow::Result<(Self, Vec<Line>)> {
        let what = || format!("job log {}", path.display());
        let file = OpenOptions::new().read(true).append(true).create(true).open(path);
        let file = file.with_context(what)?;
        let mut reader = BufReader::new(&file);
        let (mut lines, mut length, mut text) = (Vec::new(), 0, Vec::new());
        loop {
            text.clear();
            let most = LINE_BYTES_MAX as u64 + 1;
            let read = (&mut reader).take(most).read_until(b'\n', &mut text).with_context(what)?;
            if read == 0 {
                break;
            }
            let Some(mut line) = Line::decode(&text) else {
                if text.ends_with(b"\n") || read as u64 == most {
                    let aside = path.with_extension("damaged");
                    std::fs::copy(path, &aside).with_context(what)?;
                    let aside = aside.display();
                    tracing::error!("{}: a line can't be read; kept as {aside}", what());
                }
                break;
            };
            line.outputs = Vec::new();
            line.form = None;
            lines.push(line);
            length += read as u64;
        }
        file.set_len(length).with_context(what)?;
        Ok((Self { file, length }, lines))
    }

    /// Appends a line; with `sync`, returns after the disk has it.
    pub fn append(&mut self, line: &Line, sync: bool) -> std::io::Result<()> {
        let bytes = line.encode();
        if self.file.seek(SeekFrom::End(0))? != self.length {
            self.file.set_len(self.length)?;
        }
        self.file.write_all(&bytes)?;
        if sync {
            self.file.sync_data()?;
        }
        self.length += bytes.len() as u64;
        Ok(())
    }
}

/// Reads the lines of a log that a daemon may be writing; one that can't be read ends it, and no log
/// is none with lines.
pub fn read(path: &Path, mut each: impl FnMut(Line)) -> std::io::Result<()> {
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let (mut reader, mut text) = (BufReader::new(file), Vec::new());
    loop {
        text.clear();
        let most = LINE_BYTES_MAX as u64 + 1;
        let read = (&mut reader).take(most).read_until(b'\n', &mut text)?;
        match Line::decode(&text) {
            Some(line) if read > 0 => each(line),
            _ => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::log::State;
    use codecs::time::Tai;

    fn line(key: &str) -> Line {
        Line::new(key, "cloud-mask/1", State::Done, Tai(1))
    }

    fn keys(path: &Path) -> Vec<String> {
        JobLog::open(path).unwrap().1.into_iter().map(|line| line.key).collect()
    }

    #[test]
    fn a_torn_end_is_cut_off_and_the_log_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.log");
        let (mut log, lines) = JobLog::open(&path).unwrap();
        assert!(lines.is_empty());
        log.append(&line("a"), false).unwrap();
        log.append(&line("b"), true).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in whole.len() / 2 + 1..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (mut log, lines) = JobLog::open(&path).unwrap();
            assert_eq!(lines.len(), 1, "{cut}");
            log.append(&line("c"), true).unwrap();
            drop(log);
            assert_eq!(keys(&path), ["a", "c"], "{cut}");
        }
        assert!(!dir.path().join("jobs.damaged").exists());
    }

    #[test]
    fn damage_in_the_middle_is_kept_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.log");
        let mut log = JobLog::open(&path).unwrap().0;
        for key in ["a", "b", "c"] {
            log.append(&line(key), true).unwrap();
        }
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] = 0;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(keys(&path), ["a"]);
        assert_eq!(std::fs::read(dir.path().join("jobs.damaged")).unwrap(), bytes);
        assert_eq!(keys(&path), ["a"], "the rest is gone from the log itself");
    }
}
