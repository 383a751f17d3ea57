//! The job log's file, beside the station file, and how long it keeps what.

use super::disk::Folder;
use crate::{
    archive::{
        segment::{SegmentHeader, file_name, number_of},
        storage::Storage as _,
    },
    config::Config,
    router::{
        file::{JobFile, Keep, NAME, Said},
        log::LINE_BYTES_MAX,
        past::Entry,
    },
};
use anyhow::Context as _;
use codecs::time::Tai;
use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
};

/// An open job log: lines go to its end and nowhere else.
pub type JobLog = JobFile<Folder>;

const DAY_NS: i64 = 86_400_000_000_000;

/// Where the log of a station is.
pub fn path(config: &Config) -> PathBuf {
    config.path(Path::new(NAME))
}

/// Opens or makes the log in a folder and reads its lines, their outputs left out.
pub fn open(folder: &Path) -> anyhow::Result<(JobLog, Said)> {
    // A station file named without a folder is in this one.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let what = || format!("job log {}", folder.join(NAME).display());
    let (log, said) = JobFile::open(Folder::at(folder)).with_context(what)?;
    if said.unreadable > 0 {
        tracing::error!("{}: {}", what(), passed_over(said.unreadable));
    }
    Ok((log, said))
}

/// What to say of lines that can't be read.
pub fn passed_over(lines: u64) -> String {
    format!(
        "{lines} lines can't be read and are passed over: what only they said may be done again"
    )
}

/// What the log of a station keeps at a time.
pub fn keep(config: &Config, now: Tai) -> Keep {
    let kept_ns = i64::from(config.routing.jobs_days).saturating_mul(DAY_NS);
    let archive = config.path(&config.archive.dir);
    // What came late may stand behind what it belongs to: keys stay as long again as outcomes.
    let keys_from = oldest(&archive).map(|begun| begun.plus(-kept_ns));
    Keep { from: now.plus(-kept_ns), keys_from }
}

/// When the oldest segment was begun that an archive keeps on purpose; none where it can't be told,
/// and where nothing was ever let go. What is only missing may come back.
fn oldest(archive: &Path) -> Option<Tai> {
    let mut folder = Folder::at(archive);
    let newest = folder.list().ok()?.iter().filter_map(|name| number_of(name)).max()?;
    let mut header = |number| {
        let file = folder.open(&file_name(number)).ok()?;
        SegmentHeader::read(&file, number).ok()?.ok().map(|(header, _)| header)
    };
    let floor = header(newest)?.floor;
    (floor > 0).then(|| header(floor)).flatten().map(|header| header.begun)
}

/// Reads the lines of a log that a daemon may be writing; no log is none with lines. How many can't
/// be read: the last may be on its way.
pub fn read(path: &Path, mut each: impl FnMut(Entry)) -> io::Result<u64> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        file => file?,
    };
    let (mut reader, mut text, mut unreadable) = (BufReader::new(file), Vec::new(), 0);
    loop {
        text.clear();
        let most = LINE_BYTES_MAX as u64 + 1;
        let read = (&mut reader).take(most).read_until(b'\n', &mut text)?;
        match Entry::decode(&text) {
            _ if read == 0 => return Ok(unreadable),
            Some(entry) => each(entry),
            None => unreadable += u64::from(text.ends_with(b"\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::log::{Line, State};

    fn line(key: &str) -> Line {
        Line::new(key, "cloud-mask/1", State::Done, Tai(1))
    }

    fn keys(dir: &Path) -> Vec<String> {
        open(dir).unwrap().1.lines.into_iter().map(|line| line.key).collect()
    }

    #[test]
    fn a_torn_end_is_cut_off_and_the_log_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let (mut log, said) = open(dir.path()).unwrap();
        assert!(said.lines.is_empty());
        log.append(&line("a"), false).unwrap();
        log.append(&line("b"), true).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in whole.len() / 2 + 1..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (mut log, said) = open(dir.path()).unwrap();
            assert_eq!(said.lines.len(), 1, "{cut}");
            log.append(&line("c"), true).unwrap();
            drop(log);
            assert_eq!(keys(dir.path()), ["a", "c"], "{cut}");
        }
    }

    #[test]
    fn damage_in_the_middle_costs_what_it_hit_and_stays_for_who_looks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let mut log = open(dir.path()).unwrap().0;
        for key in ["a", "b", "c"] {
            log.append(&line(key), true).unwrap();
        }
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] = 0;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(keys(dir.path()), ["a", "c"]);
        assert_eq!(read(&path, |_| {}).unwrap(), 1);
        let (mut log, said) = open(dir.path()).unwrap();
        assert_eq!(said.unreadable, 1);
        log.append(&line("d"), true).unwrap();
        assert_eq!(keys(dir.path()), ["a", "c", "d"]);
        let left = log.compact(&Keep { from: Tai(2), keys_from: None }).unwrap().unwrap();
        assert_eq!(left.outcomes, 3);
        let text = std::fs::read(&path).unwrap();
        assert!(text.windows(20).any(|part| bytes[middle - 10..middle + 10] == *part));
        // Garbage longer than any line, and what stands behind it.
        let garbage = vec![b'x'; LINE_BYTES_MAX * 2];
        let more = [&bytes, &garbage[..], b"\n", &bytes].concat();
        std::fs::write(&path, &more).unwrap();
        assert_eq!(keys(dir.path()), ["a", "c", "a", "c"]);
        assert_eq!(read(&path, |_| {}).unwrap(), 3);
    }

    #[test]
    fn a_log_written_anew_is_the_same_file_for_who_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path()).unwrap();
        for key in ["a", "b", "c"] {
            log.append(&line(key), true).unwrap();
        }
        let left = log.compact(&Keep { from: Tai(2), keys_from: None }).unwrap().unwrap();
        assert_eq!(left.outcomes, 3);
        log.append(&line("d"), true).unwrap();
        let (mut lines, mut done) = (Vec::new(), 0);
        read(&dir.path().join(NAME), |entry| match entry {
            Entry::Line(line) => lines.push(line.key),
            Entry::Past(past) => done += past.accounts.mission.done,
        })
        .unwrap();
        assert_eq!((lines, done), (vec!["d".to_owned()], 3));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
