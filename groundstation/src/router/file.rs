//! The job log on a disk: appended to, and now and then written anew without what is old.
//!
//! Nothing is told before it is durable, so that the file and its name are: a log written anew is
//! synced, takes the other's name, and only with that name synced it is believed.

use super::log::{LINE_BYTES_MAX, Line, State};
use super::past::{Digest, Entry, KEYS_MAX, Past};
use super::view::Accounts;
use crate::archive::storage::{Storage, StoredFile, write_all};
use codecs::time::Tai;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Name of the log.
pub const NAME: &str = "jobs.log";
/// Name of one that is being written anew; what a crash left of it is no log.
const FRESH: &str = "jobs.log.new";

/// Bytes that are kept in memory until they are synced; above it they are synced unasked.
const TAIL_BYTES_MAX: usize = 1 << 20;

/// Bytes that are read or written at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Lines about old keys; above it the two oldest become one.
const GROUPS_MAX: usize = 64;

/// A log is written anew when so many of its parts would go.
const WORTH: u64 = 8;

/// What a log said when it was opened.
#[derive(Debug, Default)]
pub struct Said {
    /// Its lines, outputs left out.
    pub lines: Vec<Line>,
    /// What it says of outcomes that left it.
    pub past: Vec<Past>,
    /// Lines that could not be read; they stay where they are.
    pub unreadable: u64,
}

/// What leaves a log that is written anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Outcomes before it leave; their keys stay.
    pub from: Tai,
    /// Keys leave as well that were decided before it: the archive can't ask for them any more.
    pub keys_from: Option<Tai>,
}

/// What left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Outcomes.
    pub outcomes: u64,
    /// Bytes.
    pub bytes: u64,
}

/// An open log.
#[derive(Debug)]
pub struct JobFile<S: Storage> {
    storage: S,
    file: S::File,
    /// Bytes that the disk has.
    synced: u64,
    /// Bytes after them.
    tail: Vec<u8>,
    /// What the file holds behind the synced bytes is not known: a write or a sync failed.
    doubt: bool,
    /// The name is known to be durable.
    named: bool,
}

impl<S: Storage> JobFile<S> {
    /// Opens or makes the log in a folder.
    ///
    /// A last line that a crash cut short is cut off. A line in the middle that can't be read is
    /// passed over: what it alone said may be done again, which is better than not starting, and
    /// what stands behind it counts.
    pub fn open(mut storage: S) -> io::Result<(Self, Said)> {
        let names = storage.list()?;
        if names.iter().any(|name| name == FRESH) {
            storage.remove(FRESH)?;
        }
        let mut file = match names.iter().any(|name| name == NAME) {
            true => storage.open(NAME)?,
            false => create(&mut storage, NAME)?,
        };
        let mut said = Said::default();
        let (mut lines, mut text) = (Lines::new(&file), Vec::new());
        let (mut at, mut synced) = (0, 0);
        while lines.next(&mut text)? {
            at += text.len() as u64;
            match Entry::decode(&text) {
                Some(Entry::Line(mut line)) => {
                    (line.outputs, line.form) = (Vec::new(), None);
                    said.lines.push(*line);
                }
                Some(Entry::Past(past)) => said.past.push(past),
                None if text.ends_with(b"\n") => said.unreadable += 1,
                None => continue,
            }
            synced = at;
        }
        if file.length()? != synced {
            file.truncate(synced)?;
        }
        // Lines that were read may still be in memory only, where a process died and not the
        // machine: what is decided by them must not be forgotten by a later crash.
        file.sync()?;
        let tail = Vec::new();
        Ok((Self { storage, file, synced, tail, doubt: false, named: false }, said))
    }

    /// Bytes of the log.
    pub fn length(&self) -> u64 {
        self.synced + self.tail.len() as u64
    }

    /// Appends a line; with `sync`, returns after the disk has it. After an error the line is not
    /// part of the log.
    pub fn append(&mut self, line: &Line, sync: bool) -> io::Result<()> {
        if sync {
            self.name()?;
        }
        self.mend()?;
        let (bytes, before, end) = (line.encode(), self.tail.len(), self.length());
        if let Err(error) = write_all(&mut self.file, end, &bytes) {
            self.doubt = true;
            return Err(error);
        }
        self.tail.extend(bytes);
        if sync || self.tail.len() > TAIL_BYTES_MAX {
            self.sync().inspect_err(|_| self.tail.truncate(before))?;
        }
        Ok(())
    }

    /// Makes the log's name durable, once.
    fn name(&mut self) -> io::Result<()> {
        if !self.named {
            self.storage.sync_names()?;
            self.named = true;
        }
        Ok(())
    }

    /// Writes again what a failed call left in doubt.
    fn mend(&mut self) -> io::Result<()> {
        if self.doubt {
            self.file.truncate(self.synced)?;
            write_all(&mut self.file, self.synced, &self.tail)?;
            self.doubt = false;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        // After a failed sync the pages count as clean though the disk has none of them.
        self.doubt = true;
        self.file.sync()?;
        self.doubt = false;
        self.synced += self.tail.len() as u64;
        self.tail.clear();
        Ok(())
    }

    /// Writes the log anew without old outcomes and without acceptances of what is decided; none
    /// where too little would go. Jobs without an outcome stay, however old. After an error the log
    /// is as it was, or already written anew.
    pub fn compact(&mut self, keep: &Keep) -> io::Result<Option<Left>> {
        self.mend()?;
        if !self.tail.is_empty() {
            self.sync()?;
        }
        let survey = Survey::of(&self.file, keep)?;
        if survey.bytes_left * WORTH < self.synced || survey.bytes_left == 0 {
            return Ok(None);
        }
        let before = self.synced;
        let written = self.write_fresh(survey);
        let (file, synced, outcomes) = match written {
            Ok(written) => written,
            Err(error) => {
                // It may not even be there.
                let _ = self.storage.remove(FRESH);
                return Err(error);
            }
        };
        // From here on lines go to the file that has the name, whether that is durable or not:
        // none is believed before it is.
        (self.file, self.synced, self.named) = (file, synced, false);
        self.name()?;
        Ok(Some(Left { outcomes, bytes: before.saturating_sub(synced) }))
    }

    fn write_fresh(&mut self, survey: Survey) -> io::Result<(S::File, u64, u64)> {
        if self.storage.list()?.iter().any(|name| name == FRESH) {
            self.storage.remove(FRESH)?;
        }
        let mut fresh = create(&mut self.storage, FRESH)?;
        let mut out = Out { file: &mut fresh, at: 0, bytes: Vec::new() };
        let outcomes = survey.outcomes_left;
        survey.past().iter().try_for_each(|past| out.write(&past.encode()))?;
        let (mut lines, mut text) = (Lines::new(&self.file), Vec::new());
        let mut seen = BTreeSet::new();
        while lines.next(&mut text)? {
            let stays = match Entry::decode(&text) {
                Some(Entry::Line(line)) => survey.stays(&line, &mut seen),
                Some(Entry::Past(_)) => false,
                // Somebody may still make sense of it.
                None => true,
            };
            if stays {
                out.write(&text)?;
            }
        }
        let length = out.end()?;
        fresh.sync()?;
        self.storage.rename(FRESH, NAME)?;
        Ok((fresh, length, outcomes))
    }
}

fn create<S: Storage>(storage: &mut S, name: &str) -> io::Result<S::File> {
    // Room that is reserved reads as zeros: a log ends with its last line.
    let mut file = storage.create(name, 1)?;
    file.truncate(0)?;
    Ok(file)
}

/// What a first reading finds, so that the second can write.
struct Survey {
    keep: Keep,
    /// When each key was decided: the first outcome stands.
    decided: BTreeMap<Digest, i64>,
    /// Keys of old by when the newest of a group was decided.
    groups: BTreeMap<i64, Vec<Digest>>,
    accounts: Accounts,
    bytes_left: u64,
    outcomes_left: u64,
}

impl Survey {
    fn of(file: &impl StoredFile, keep: &Keep) -> io::Result<Self> {
        let mut survey = Self {
            keep: *keep,
            decided: BTreeMap::new(),
            groups: BTreeMap::new(),
            accounts: Accounts::default(),
            bytes_left: 0,
            outcomes_left: 0,
        };
        let (mut lines, mut text) = (Lines::new(file), Vec::new());
        let (mut open, mut leaving) = (BTreeMap::new(), Vec::new());
        let mut until = i64::MIN;
        while lines.next(&mut text)? {
            let bytes = text.len() as u64;
            match Entry::decode(&text) {
                Some(Entry::Past(past)) => survey.old(&past),
                Some(Entry::Line(line)) => {
                    let digest = Digest::of(&line.key);
                    match (line.state, survey.decided.contains_key(&digest)) {
                        (State::Accepted, false) => {
                            *open.entry(digest).or_insert(0) += bytes;
                            continue;
                        }
                        (_, true) => {}
                        (_, false) => {
                            survey.decided.insert(digest, line.at);
                            survey.bytes_left += open.remove(&digest).unwrap_or(0);
                            if line.at >= keep.from.0 {
                                continue;
                            }
                            survey.accounts.add(&line);
                            survey.outcomes_left += 1;
                            until = until.max(line.at);
                            leaving.push(digest);
                        }
                    }
                    survey.bytes_left += bytes;
                }
                None => {}
            }
        }
        if !leaving.is_empty() {
            survey.groups.entry(until).or_default().extend(leaving);
        }
        Ok(survey)
    }

    /// What an earlier time left.
    fn old(&mut self, past: &Past) {
        self.accounts.merge(&past.accounts);
        let digests = past.digests().unwrap_or_default();
        self.decided.extend(digests.iter().map(|digest| (*digest, i64::MIN)));
        if self.keep.keys_from.is_none_or(|from| past.until >= from.0) {
            self.groups.entry(past.until).or_default().extend(digests);
        }
    }

    /// The lines about what left.
    fn past(&self) -> Vec<Past> {
        let mut groups = self.groups.clone();
        while groups.len() > GROUPS_MAX {
            let (Some((_, first)), Some((until, mut second))) =
                (groups.pop_first(), groups.pop_first())
            else {
                break;
            };
            second.extend(first);
            groups.insert(until, second);
        }
        let mut lines = vec![Past::new(&[], i64::MIN, self.accounts.clone())];
        for (until, digests) in &groups {
            let parts = digests.chunks(KEYS_MAX);
            lines.extend(parts.map(|part| Past::new(part, *until, Accounts::default())));
        }
        lines
    }

    /// Whether a line is written again.
    fn stays(&self, line: &Line, seen: &mut BTreeSet<Digest>) -> bool {
        let digest = Digest::of(&line.key);
        match (line.state, self.decided.get(&digest)) {
            (State::Accepted, decided) => decided.is_none(),
            (_, Some(at)) => *at >= self.keep.from.0 && seen.insert(digest),
            (_, None) => true,
        }
    }
}

/// Lines of a file, one after the other.
struct Lines<'a, F> {
    file: &'a F,
    at: u64,
    chunk: Vec<u8>,
    begin: usize,
}

impl<'a, F: StoredFile> Lines<'a, F> {
    fn new(file: &'a F) -> Self {
        Self { file, at: 0, chunk: Vec::new(), begin: 0 }
    }

    /// The next line with its newline, or what is left without one, or as much as no line may
    /// have; false at the end.
    fn next(&mut self, text: &mut Vec<u8>) -> io::Result<bool> {
        text.clear();
        while text.len() <= LINE_BYTES_MAX {
            if self.begin == self.chunk.len() {
                self.chunk.resize(CHUNK_BYTES, 0);
                self.begin = 0;
                let read = self.file.read_at(self.at, &mut self.chunk)?;
                self.chunk.truncate(read);
                self.at += read as u64;
                if read == 0 {
                    return Ok(!text.is_empty());
                }
            }
            let rest = &self.chunk[self.begin..];
            let end = rest.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(rest.len(), |end| end + 1);
            text.extend_from_slice(&rest[..taken]);
            self.begin += taken;
            if end.is_some() {
                break;
            }
        }
        Ok(true)
    }
}

/// Bytes on their way to a file, in pieces of some size.
struct Out<'a, F> {
    file: &'a mut F,
    at: u64,
    bytes: Vec<u8>,
}

impl<F: StoredFile> Out<'_, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        write_all(self.file, self.at, &self.bytes)?;
        self.at += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }

    fn end(mut self) -> io::Result<u64> {
        self.flush()?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests;
