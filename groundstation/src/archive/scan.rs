//! Walks a segment's records, past damage, and tells damage from a tail that was never finished.

use super::{
    record::{
        ALIGN, BLOCK_BYTES, END_BYTES, Position, Record, SKIP_HEADER_BYTES, UNIT_BYTES_MAX,
        UNIT_HEADER_BYTES, UnitHeader, unit_holds,
    },
    seal::Footer,
    storage::{StoredFile, read_up_to},
};
use codecs::ids::UnitKey;
use std::io;

/// Bytes read at once; holds the largest record.
const WINDOW_BYTES: usize = 2 * UNIT_BYTES_MAX;

/// The least that devices write whole.
const SECTOR_BYTES: usize = 512;

/// A stretch of a segment that holds no record that can be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Where it begins.
    pub from: u64,
    /// Where the next record begins.
    pub to: u64,
    /// The unit that stood there, where its header still says so.
    pub key: Option<UnitKey>,
}

/// One step of a scan.
#[derive(Debug)]
pub enum Step<'a> {
    /// A unit that its CRC and digest prove.
    Unit {
        /// Where its record begins.
        offset: u64,
        /// What its record says.
        header: UnitHeader,
        /// The unit.
        bytes: &'a [u8],
    },
    /// Damage: a whole record follows it, or the segment is known to reach further.
    Damage(Hole),
}

/// How a scan ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanEnd {
    /// Behind the last record that holds.
    pub end: u64,
    /// The segment says itself that it is whole.
    pub sealed: bool,
    /// The footer that it states then.
    pub footer: Option<Footer>,
    /// Holes of the last commit, which may never have been acknowledged.
    pub torn: Vec<Hole>,
}

/// Scans records from `from` to `to` (the segment's end where it is known, else the file's).
///
/// `whole` says that everything up to `to` was once acknowledged: then each hole is damage. Without
/// it, holes that no later commit vouches for are the torn tail.
pub fn scan(
    file: &impl StoredFile,
    number: u64,
    from: u64,
    to: u64,
    whole: bool,
    mut sink: impl FnMut(Step<'_>) -> io::Result<()>,
) -> io::Result<ScanEnd> {
    let mut window = Window { start: 0, bytes: Vec::new() };
    let length = file.length()?;
    // Only sealing cuts a file off a block: its end record is there, or was.
    let whole = whole || length % BLOCK_BYTES as u64 == END_BYTES as u64;
    let (stated, to) = (to, to.min(length));
    let mut at = from;
    let mut ended = ScanEnd { end: from, ..ScanEnd::default() };
    // Holes that nothing vouches for yet.
    let mut doubtful: Vec<Hole> = Vec::new();
    while at < to {
        let place = Position { segment: number, offset: at };
        let header = window.get(file, at, UNIT_HEADER_BYTES, to)?;
        let Some(record) = Record::read(header, place).filter(|r| at + r.bytes() as u64 <= to)
        else {
            let next = find_record(file, &mut window, number, at + ALIGN as u64, to)?;
            doubtful.push(Hole { from: at, to: next.unwrap_or(to), key: None });
            at = next.unwrap_or(to);
            continue;
        };
        let next = at + record.bytes() as u64;
        let body = window.get(file, at, record.bytes(), to)?;
        match record {
            Record::Unit(header) => match unit_in(&header, body) {
                Some(bytes) => {
                    ended.end = next;
                    sink(Step::Unit { offset: at, header, bytes })?;
                }
                None => doubtful.push(Hole { from: at, to: next, key: Some(header.key) }),
            },
            Record::Skip { commit, .. } => {
                if !is_skip(&record, body) {
                    doubtful.push(Hole { from: at, to: next, key: None });
                }
                ended.end = next;
                // Whatever stands before this commit was synced before the commit was written.
                let (vouched, rest) = doubtful.into_iter().partition(|hole| hole.from < commit);
                doubtful = rest;
                let vouched: Vec<Hole> = vouched;
                vouched.into_iter().try_for_each(|hole| tell(file, number, hole, &mut sink))?;
            }
            Record::End { footer, .. } => {
                ended.end = next;
                ended.sealed = true;
                ended.footer = Some(footer);
            }
        }
        at = next;
        if ended.sealed {
            break;
        }
    }
    if whole && to < stated && stated != u64::MAX {
        doubtful.push(Hole { from: to, to: stated, key: None });
    }
    if whole || ended.sealed {
        doubtful.into_iter().try_for_each(|hole| tell(file, number, hole, &mut sink))?;
    } else {
        for run in runs(doubtful) {
            if never_written(file, &mut window, &run, to)? {
                ended.torn.extend(torn(file, &mut window, run, to)?);
            } else {
                run.into_iter().try_for_each(|hole| tell(file, number, hole, &mut sink))?;
            }
        }
    }
    Ok(ended)
}

/// Looks at a hole once more, and tells what is in it. Beside a daemon that writes, a block may
/// have been read while it was half written; what vouches for it was written only when it was whole.
fn tell(
    file: &impl StoredFile,
    number: u64,
    hole: Hole,
    sink: &mut impl FnMut(Step<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let mut window = Window { start: 0, bytes: Vec::new() };
    let (mut at, to) = (hole.from, hole.to);
    while at < to {
        let place = Position { segment: number, offset: at };
        let header = window.get(file, at, UNIT_HEADER_BYTES, to)?;
        let record = Record::read(header, place).filter(|r| at + r.bytes() as u64 <= to);
        let (next, key) = match record {
            Some(record) => {
                let next = at + record.bytes() as u64;
                let body = window.get(file, at, record.bytes(), to)?;
                let key = match &record {
                    Record::Unit(header) => {
                        if let Some(bytes) = unit_in(header, body) {
                            sink(Step::Unit { offset: at, header: *header, bytes })?;
                            at = next;
                            continue;
                        }
                        Some(header.key)
                    }
                    record if is_skip(record, body) => {
                        at = next;
                        continue;
                    }
                    _ => None,
                };
                (next, key)
            }
            None => {
                let next = find_record(file, &mut window, number, at + ALIGN as u64, to)?;
                (next.unwrap_or(to), hole.key.filter(|_| at == hole.from))
            }
        };
        sink(Step::Damage(Hole { from: at, to: next, key }))?;
        at = next;
    }
    Ok(())
}

/// The unit of a record, if all of the record is there and holds.
fn unit_in<'a>(header: &UnitHeader, body: &'a [u8]) -> Option<&'a [u8]> {
    let unit = body.get(UNIT_HEADER_BYTES..UNIT_HEADER_BYTES + header.length as usize)?;
    let padding = &body[UNIT_HEADER_BYTES + unit.len()..];
    let whole = body.len() == header.record_bytes();
    (whole && unit_holds(header, unit) && is_zero(padding)).then_some(unit)
}

/// Whether all of a skip is there and holds.
fn is_skip(record: &Record, body: &[u8]) -> bool {
    let fill = body.get(SKIP_HEADER_BYTES..);
    matches!(record, Record::Skip { bytes, .. } if body.len() == *bytes as usize)
        && fill.is_some_and(is_zero)
}

/// Holes that follow one another without a record between.
fn runs(holes: Vec<Hole>) -> Vec<Vec<Hole>> {
    let mut runs: Vec<Vec<Hole>> = Vec::new();
    for hole in holes {
        match runs.last_mut() {
            Some(run) if run.last().is_some_and(|last| last.to == hole.from) => run.push(hole),
            _ => runs.push(Vec::from([hole])),
        }
    }
    runs
}

/// Whether a run of holes may be a write that was cut short: reserved room reads as zeros, and a
/// device writes whole sectors, so one of them is all zeros then. A run without one was written,
/// and damaged since; fill that is all zeros leaves the question open.
fn never_written(
    file: &impl StoredFile,
    window: &mut Window,
    run: &[Hole],
    to: u64,
) -> io::Result<bool> {
    let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(true) };
    let mut at = first.from.next_multiple_of(SECTOR_BYTES as u64);
    while at + SECTOR_BYTES as u64 <= last.to {
        if is_zero(window.get(file, at, SECTOR_BYTES, to)?) {
            return Ok(true);
        }
        at += SECTOR_BYTES as u64;
    }
    Ok(false)
}

/// Room that was reserved and never written is no hole.
fn torn(
    file: &impl StoredFile,
    window: &mut Window,
    mut holes: Vec<Hole>,
    to: u64,
) -> io::Result<Vec<Hole>> {
    let Some(last) = holes.last().filter(|hole| hole.to == to && hole.key.is_none()) else {
        return Ok(holes);
    };
    let mut at = last.from;
    while at < to {
        let piece = window.get(file, at, WINDOW_BYTES.min((to - at) as usize), to)?;
        if piece.is_empty() {
            break;
        }
        if !is_zero(piece) {
            return Ok(holes);
        }
        at += piece.len() as u64;
    }
    holes.pop();
    Ok(holes)
}

/// The next place at or after `from` where a record header holds.
fn find_record(
    file: &impl StoredFile,
    window: &mut Window,
    number: u64,
    from: u64,
    to: u64,
) -> io::Result<Option<u64>> {
    let mut at = from;
    while at < to {
        let bytes = window.get(file, at, WINDOW_BYTES.min((to - at) as usize), to)?;
        if bytes.is_empty() {
            break;
        }
        // A header cut by the window's end is read again at the start of the next window.
        let last = at + bytes.len() as u64 == to;
        let usable = if last { bytes.len() } else { bytes.len().saturating_sub(UNIT_HEADER_BYTES) };
        // The file became shorter while it was read, as it does when it is sealed.
        if usable == 0 {
            break;
        }
        let mut step = 0;
        while step < usable {
            // Reserved room is megabytes of zeros: passed over by the block.
            if bytes.get(step..step + BLOCK_BYTES).is_some_and(is_zero) {
                step += BLOCK_BYTES;
                continue;
            }
            let offset = at + step as u64;
            if Record::read(&bytes[step..], Position { segment: number, offset }).is_some() {
                return Ok(Some(offset));
            }
            step += ALIGN;
        }
        at += step as u64;
    }
    Ok(None)
}

/// Whether all bytes are zero; compared by the block, which is a few instructions.
fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
    bytes.chunks(BLOCK_BYTES).all(|chunk| *chunk == ZEROS[..chunk.len()])
}

/// Part of a file in memory, refilled forwards.
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// Up to `length` bytes at `at`, fewer where `to` or the file ends first.
    fn get(
        &mut self,
        file: &impl StoredFile,
        at: u64,
        length: usize,
        to: u64,
    ) -> io::Result<&[u8]> {
        let wanted = length.min((to - at) as usize);
        let held = self.start..self.start + self.bytes.len() as u64;
        if !(held.contains(&at) && at + wanted as u64 <= held.end) {
            let fill = WINDOW_BYTES.max(wanted).min((to - at) as usize);
            self.bytes.resize(fill, 0);
            let got = read_up_to(file, at, &mut self.bytes)?;
            self.bytes.truncate(got);
            self.start = at;
        }
        let from = (at - self.start) as usize;
        let end = (from + wanted).min(self.bytes.len());
        Ok(&self.bytes[from.min(end)..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{
        Archive, Settings,
        forgetful::ForgetfulDisk,
        segment::file_name,
        storage::Storage as _,
        tests::{now, unit},
    };
    use std::cell::Cell;

    /// A file under the hands of a writer: some bytes are zeros until they were read `stale` times,
    /// and its length is that of before it was cut.
    struct Changing<F> {
        file: F,
        hidden: std::ops::Range<u64>,
        stale: Cell<u32>,
        length: u64,
    }

    impl<F: StoredFile> StoredFile for Changing<F> {
        fn length(&self) -> io::Result<u64> {
            Ok(self.length)
        }

        fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
            let count = self.file.read_at(offset, into)?;
            let until = offset + count as u64;
            if self.stale.get() > 0 && offset < self.hidden.end && until > self.hidden.start {
                self.stale.set(self.stale.get() - 1);
                let from = self.hidden.start.saturating_sub(offset) as usize;
                let to = (self.hidden.end.min(until) - offset) as usize;
                into[from..to].fill(0);
            }
            Ok(count)
        }

        fn write_at(&mut self, _: u64, _: &[u8]) -> io::Result<usize> {
            unreachable!("a scan only reads")
        }

        fn truncate(&mut self, _: u64) -> io::Result<()> {
            unreachable!("a scan only reads")
        }

        fn sync(&mut self) -> io::Result<()> {
            unreachable!("a scan only reads")
        }
    }

    /// Ten commits of four units in one segment; the disk and where records begin.
    fn archived(seal: bool) -> ForgetfulDisk {
        let disk = ForgetfulDisk::default();
        let settings = Settings { segment_bytes: 1 << 20 };
        let (mut archive, _) = Archive::open(disk.clone(), settings, 9).unwrap();
        for sequence in 0..40 {
            archive.offer(&unit(1, sequence), now(sequence)).unwrap();
            if sequence % 4 == 3 {
                archive.commit(now(sequence)).unwrap();
            }
        }
        if seal {
            archive.seal(now(50).tai);
        }
        disk
    }

    /// Units and damaged places.
    fn read(file: &impl StoredFile, from: u64) -> (usize, usize) {
        let (mut units, mut damaged) = (0, 0);
        scan(file, 0, from, u64::MAX, false, |step| {
            match step {
                Step::Unit { .. } => units += 1,
                Step::Damage(_) => damaged += 1,
            }
            Ok(())
        })
        .unwrap();
        (units, damaged)
    }

    #[test]
    fn a_block_that_was_read_half_written_is_no_damage() {
        let mut disk = archived(false);
        let from = BLOCK_BYTES as u64;
        let mut harmed = 0;
        for at in (from..from + 24_000).step_by(1_904) {
            let hidden = at..at + 3_000;
            let mut changing = |stale| {
                let file = disk.open(&file_name(0)).unwrap();
                let (length, stale) = (file.length().unwrap(), Cell::new(stale));
                Changing { file, hidden: hidden.clone(), stale, length }
            };
            assert_eq!(read(&changing(1), from), (40, 0), "bytes {at} and on");
            // What stays so is damage, and costs what stood there and no more; the fill of a commit
            // is zeros as it is.
            let (units, damaged) = read(&changing(u32::MAX), from);
            assert!(
                (36..=40).contains(&units) && (damaged > 0 || units == 40),
                "{units}, {damaged}"
            );
            harmed += usize::from(units < 40);
        }
        assert!(harmed > 3, "{harmed} places held units");
    }

    #[test]
    fn a_file_that_is_cut_while_it_is_read_ends_there() {
        let before = archived(false).open(&file_name(0)).unwrap().length().unwrap();
        let mut disk = archived(true);
        let cut = disk.open(&file_name(0)).unwrap().length().unwrap();
        assert!(cut < before);
        let mut changing = |length| {
            let file = disk.open(&file_name(0)).unwrap();
            Changing { file, hidden: 0..0, stale: Cell::new(0), length }
        };
        let from = BLOCK_BYTES as u64;
        for spare in (0..2 * BLOCK_BYTES as u64).step_by(ALIGN) {
            assert_eq!(read(&changing(cut + spare), from), (40, 0));
        }
        for from in (from..before).step_by(1_008) {
            read(&changing(before), from);
        }
    }
}
