//! What was receipted once and is not here any more, made durable before it is asked for.
//!
//! A store that is asked takes the receipt back, and does not name the range in its next hello:
//! from then on the ledger alone knows of the loss. A checkpoint between two segments keeps it,
//! `0000000012-0.checkpoint`: the header that segment 12 would have, had it a unit. That segment's
//! own header takes its place.

use super::{
    Now,
    segment::SegmentHeader,
    storage::{Storage, StoredFile as _, read_up_to, write_all},
    volume::Volume,
};
use crate::ledger::Ledger;
use codecs::ids::{KeyPrefix, SeqRange};
use std::io;

/// Largest file, as for a header.
const BYTES_MAX: u64 = 64 << 20;

/// Number of the segment that would follow, and which attempt this is.
fn place(name: &str) -> Option<(u64, u64)> {
    let (number, attempt) = name.strip_suffix(".checkpoint")?.split_once('-')?;
    Some((number.parse().ok()?, attempt.parse().ok()?))
}

fn file_name((number, attempt): (u64, u64)) -> String {
    format!("{number:010}-{attempt}.checkpoint")
}

/// The newest checkpoint between segments that holds and that segment `next` does not follow yet.
pub fn read<S: Storage>(
    storage: &mut S,
    names: &[String],
    next: u64,
) -> io::Result<Option<SegmentHeader>> {
    let mut places: Vec<_> = names.iter().filter_map(|name| place(name)).collect();
    places.sort_unstable();
    for at in places.into_iter().rev().filter(|(number, _)| *number >= next) {
        let file = storage.open(&file_name(at))?;
        let mut bytes = vec![0; file.length()?.min(BYTES_MAX) as usize];
        let got = read_up_to(&file, 0, &mut bytes)?;
        if let Ok((header, _)) = SegmentHeader::decode(&bytes[..got]) {
            return Ok(Some(header));
        }
    }
    Ok(None)
}

/// Marks as lost what no record proves; whether any of it is news. At the ledger's bound it stays
/// with the store, which still names it.
pub fn mark(ledger: &mut Ledger, lost: &[(KeyPrefix, Vec<SeqRange>)]) -> bool {
    let mut news = false;
    for (prefix, ranges) in lost {
        for range in ranges {
            let known = ledger.counter(prefix).map(|counter| &counter.lost);
            if known.is_none_or(|known| !known.missing_from(*range).is_empty()) {
                news |= ledger.lose_range(*prefix, *range);
            }
        }
    }
    news
}

impl<S: Storage> Volume<S> {
    /// Makes a ledger durable between two segments. Everything that it holds must be synced, and
    /// nothing may wait for a sync.
    pub fn keep_ledger(&mut self, settled: Ledger, now: Now) -> io::Result<()> {
        assert!(self.is_synced(), "a segment that is sealed leaves nothing behind");
        self.seal(now.tai);
        let header = SegmentHeader {
            number: self.next_number,
            ledger_id: self.ledger_id,
            begun: now.tai,
            previous: self.previous,
            footer: self.footer,
            floor: self.floor.number,
            checkpoint: settled,
        };
        let names = self.storage.list()?;
        let older: Vec<_> = names.iter().filter(|name| place(name).is_some()).collect();
        let same = older.iter().filter_map(|name| place(name));
        let attempt = same.filter(|(number, _)| *number == header.number).map(|(_, at)| at).max();
        let name = file_name((header.number, attempt.map_or(0, |at| at + 1)));
        let bytes = header.encode();
        let mut file = self.storage.create(&name, bytes.len() as u64)?;
        write_all(&mut file, 0, &bytes)?;
        file.sync()?;
        self.storage.sync_names()?;
        older.into_iter().try_for_each(|name| self.storage.remove(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        archive::{
            Archive, Verdict,
            forgetful::{Crash, ForgetfulDisk},
            tests::{SETTINGS, archive_of, now, unit},
        },
        audit::audit,
    };

    fn lost(disk: &ForgetfulDisk) -> Vec<[u64; 2]> {
        let lost = audit(&mut disk.clone()).unwrap().lost;
        lost.first().map_or(Vec::new(), |key| key.ranges.clone())
    }

    #[test]
    fn a_loss_outlives_a_crash_and_ends_when_the_unit_comes_again() {
        let (disk, _) = archive_of(20, false);
        let (mut archive, _) = Archive::open(disk.clone(), SETTINGS, 1).unwrap();
        let prefix = unit(1, 0).key.prefix;
        let range = |first, last| vec![(prefix, vec![SeqRange { first, last }])];
        archive.record_lost(&range(30, 31), now(0)).unwrap();
        archive.record_lost(&range(40, 40), now(0)).unwrap();
        for crash in [Crash::Drop, Crash::Tear, Crash::Reorder] {
            assert_eq!(lost(&disk.crash(crash)), [[30, 31], [40, 40]]);
        }
        let disk = disk.crash(Crash::Drop);
        let (mut archive, _) = Archive::open(disk.clone(), SETTINGS, 1).unwrap();
        let calls = disk.calls();
        archive.record_lost(&range(30, 31), now(0)).unwrap();
        assert_eq!(disk.calls(), calls, "known already");
        assert_eq!(archive.offer(&unit(1, 30), now(0)).unwrap(), Verdict::Accepted);
        archive.commit(now(0)).unwrap();
        let disk = disk.crash(Crash::Drop);
        assert_eq!(lost(&disk), [[31, 31], [40, 40]]);
        let (mut archive, _) = Archive::open(disk.clone(), SETTINGS, 1).unwrap();
        assert_eq!(archive.offer(&unit(1, 30), now(0)).unwrap(), Verdict::Duplicate);
        for sequence in [31, 40] {
            assert_eq!(archive.offer(&unit(1, sequence), now(0)).unwrap(), Verdict::Accepted);
        }
        archive.commit(now(0)).unwrap();
        assert!(audit(&mut disk.clone()).unwrap().is_clean());
    }

    #[test]
    fn a_crash_at_every_call_leaves_what_was_lost_before() {
        let (disk, _) = archive_of(20, false);
        let (mut archive, _) = Archive::open(disk.clone(), SETTINGS, 1).unwrap();
        let prefix = unit(1, 0).key.prefix;
        let range = |first, last| vec![(prefix, vec![SeqRange { first, last }])];
        archive.record_lost(&range(30, 31), now(0)).unwrap();
        disk.watch(move |call, image| {
            for crash in [Crash::Drop, Crash::Tear, Crash::Reorder] {
                let lost = lost(&image(crash));
                assert_eq!(lost.first(), Some(&[30, 31]), "{crash:?} at {call}");
            }
        });
        archive.record_lost(&range(40, 40), now(0)).unwrap();
    }
}
