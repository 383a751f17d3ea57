//! Segments that are not there and that retention did not let go: their numbers, and the units that
//! went with them, which are lost until they come again or their segment is brought back.

use super::{
    OpenReport,
    intake::Intake,
    read::stated_end,
    record::BLOCK_BYTES,
    retain::Floor,
    scan::{Step, scan},
    segment::{SegmentHeader, file_name},
    storage::Storage,
    stored_index,
    volume::Volume,
};
use crate::{
    archive::{Now, index},
    audit::Key,
    ledger::{Counter, Ledger},
};
use codecs::{
    ids::{KeyPrefix, RangeSet, SeqRange},
    time::Tai,
};
use std::{collections::BTreeMap, io};

/// Units by counter.
type Units = BTreeMap<KeyPrefix, RangeSet>;

/// Numbers from the floor on that have no segment though a header or an index knows of one.
/// `numbers` are those that are there, in order.
pub(super) fn missing<S: Storage>(
    storage: &mut S,
    names: &[String],
    numbers: &[u64],
    floor: &Floor,
) -> io::Result<RangeSet> {
    let mut missing = RangeSet::default();
    let mut next = floor.number;
    for number in numbers.iter().copied().filter(|number| *number >= floor.number) {
        // A number may be skipped where a segment could not be begun: its header knows.
        if number > next
            && let Some(header) = header(storage, number)?
            && let Some((before, _)) = header.previous
        {
            let last = before.min(number - 1);
            SeqRange::new(next, last).into_iter().for_each(|run| missing.insert(run));
        }
        next = number.saturating_add(1);
    }
    let indexed = names.iter().filter_map(|name| index::number_of(name));
    let stated = floor.header().filter(|header| header.previous.is_some()).map(|_| floor.number);
    for number in indexed.chain(stated) {
        if number >= floor.number && numbers.binary_search(&number).is_err() {
            missing.insert_one(number);
        }
    }
    Ok(missing)
}

pub(super) fn header<S: Storage>(
    storage: &mut S,
    number: u64,
) -> io::Result<Option<SegmentHeader>> {
    let file = storage.open(&file_name(number))?;
    Ok(SegmentHeader::read(&file, number)?.ok().map(|(header, _)| header))
}

/// Marks as lost what missing segments held, and no more as lost what a record proves again.
pub(super) fn settle<S: Storage>(
    intake: &mut Intake,
    volume: &mut Volume<S>,
    names: &[String],
    numbers: &[u64],
    report: &mut OpenReport,
) -> io::Result<()> {
    report.missing = missing(&mut volume.storage, names, numbers, &volume.floor)?;
    if let Some(last) = report.missing.ranges().last() {
        // Its name stays free for the segment itself.
        volume.next_number = volume.next_number.max(last.last.saturating_add(1));
    }
    let before = intake.ledger.clone();
    for (prefix, held) in gone_with(volume, names, numbers, &report.missing)? {
        for range in held.ranges() {
            if !intake.ledger.lose_range(prefix, *range) {
                let range = Key::new(&prefix, &[*range].into_iter().collect());
                tracing::warn!(%range, "lost with its segment, and too many ranges to note it");
            }
        }
    }
    find_again(volume, &mut intake.ledger)?;
    let news = news(&before, &intake.ledger);
    if news == 0 {
        return Ok(());
    }
    // What a session asks for must be on record before, and only news is recorded there.
    let now = Now { mono_ms: 0, tai: Tai(0) };
    match volume.keep_ledger(intake.ledger.settled(), now) {
        Ok(()) => report.lost = news,
        Err(error) => {
            tracing::error!(%error, "a loss can't be recorded; tried again at the next start");
            intake.ledger = before;
        }
    }
    Ok(())
}

/// How many units are lost in `after` and were not before.
fn news(before: &Ledger, after: &Ledger) -> u64 {
    let fresh = after.counters().map(|(prefix, counter)| {
        let mut lost = counter.lost.clone();
        if let Some(known) = before.counter(prefix) {
            known.lost.ranges().iter().for_each(|range| lost.remove(*range));
        }
        lost.count()
    });
    fresh.sum()
}

/// What missing segments held: as the checkpoints on either side say, and indexes that are left.
fn gone_with<S: Storage>(
    volume: &mut Volume<S>,
    names: &[String],
    numbers: &[u64],
    missing: &RangeSet,
) -> io::Result<Units> {
    let mut gone = Units::new();
    for run in missing.ranges() {
        let after = numbers.iter().find(|number| **number > run.last);
        let Some(number) = after else { continue };
        let Some(after) = header(&mut volume.storage, *number)? else { continue };
        let before = numbers.iter().rev().find(|number| **number < run.first);
        let before = match before {
            Some(number) => header(&mut volume.storage, *number)?.map(|header| (header, *number)),
            None => volume.floor.header().map(|floor| (floor.clone(), floor.number)),
        };
        // Without it, what retention let go can't be told from what is missing.
        let Some((before, number)) = before else { continue };
        let records = match numbers.contains(&number) {
            true => volume.catalogue.ranges(&mut volume.storage, number)?.clone(),
            false => Units::new(),
        };
        for (prefix, counter) in after.checkpoint.counters() {
            let known = before.checkpoint.counter(prefix).cloned().unwrap_or_default();
            let between = between(&known, counter, records.get(prefix));
            gone.entry(*prefix).or_default().extend(&between);
        }
    }
    let indexed = names.iter().filter_map(|name| index::number_of(name));
    for number in indexed.filter(|number| missing.contains(*number)) {
        let index = stored_index(&mut volume.storage, number).unwrap_or_default();
        for (prefix, held) in index.ranges() {
            gone.entry(prefix).or_default().extend(&held);
        }
    }
    Ok(gone)
}

/// What came to be held between two checkpoints, beyond the records of the segment of the first.
fn between(before: &Counter, after: &Counter, records: Option<&RangeSet>) -> RangeSet {
    let without = |all: &RangeSet, known: &RangeSet| {
        let mut rest = all.clone();
        known.ranges().iter().for_each(|range| rest.remove(*range));
        rest
    };
    let mut came = without(&after.held, &before.held);
    // Lost before, and here again: archived in between as well.
    came.extend(&without(&before.lost, &after.lost));
    records.map_or(came.clone(), |records| without(&came, records))
}

/// Takes what a record proves off what is lost: it came again, or its segment was brought back.
fn find_again<S: Storage>(volume: &mut Volume<S>, ledger: &mut Ledger) -> io::Result<()> {
    let counters = ledger.counters().filter(|(_, counter)| !counter.lost.is_empty());
    let lost: Units = counters.map(|(prefix, counter)| (*prefix, counter.lost.clone())).collect();
    if lost.is_empty() {
        return Ok(());
    }
    let numbers: Vec<u64> = volume.catalogue.numbers().collect();
    for (at, number) in numbers.iter().enumerate() {
        let storage = &mut volume.storage;
        let held = volume.catalogue.ranges(storage, *number)?;
        let concerns = held.iter().any(|(prefix, held)| {
            let lost = lost.get(prefix).into_iter().flat_map(RangeSet::ranges);
            lost.into_iter()
                .any(|range| held.first_from(range.first).is_some_and(|first| first <= range.last))
        });
        if !concerns {
            continue;
        }
        // An index names a record that is damaged as well: only the record itself proves a unit.
        let next = numbers.get(at + 1);
        let end = next.map(|next| stated_end(storage, *next, *number)).transpose()?.flatten();
        let file = storage.open(&file_name(*number))?;
        let from = SegmentHeader::read(&file, *number)?.map_or(BLOCK_BYTES as u64, |read| read.1);
        scan(&file, *number, from, end.unwrap_or(u64::MAX), end.is_some(), |step| {
            if let Step::Unit { header, .. } = step
                && lost
                    .get(&header.key.prefix)
                    .is_some_and(|lost| lost.contains(header.key.sequence))
            {
                let sequence = header.key.sequence;
                ledger.settle(&header.key.prefix, SeqRange { first: sequence, last: sequence });
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        archive::{
            Archive, Verdict,
            forgetful::ForgetfulDisk,
            segment::number_of,
            tests::{SETTINGS, archive_of, now, unit},
        },
        audit::audit,
    };

    type Files = Vec<(String, Vec<u8>)>;

    fn open(disk: &ForgetfulDisk) -> (Archive<ForgetfulDisk>, OpenReport) {
        Archive::open(disk.clone(), SETTINGS, 9).unwrap()
    }

    /// An archive without some of its segments; their bytes, and the units that were in them.
    fn without(taken: &[usize], indexes: bool) -> (ForgetfulDisk, Files, Vec<u64>) {
        let (disk, segments) = archive_of(300, true);
        let mut held = Vec::new();
        let mut bytes = Vec::new();
        for at in taken {
            let name = &segments[*at];
            let number = number_of(name).unwrap();
            for set in stored_index(&mut disk.clone(), number).unwrap().ranges().values() {
                set.ranges().iter().for_each(|range| held.extend(range.first..=range.last));
            }
            bytes.push((name.clone(), disk.contents(name)));
            disk.clone().remove(name).unwrap();
            if !indexes {
                disk.clone().remove(&index::file_name(number)).unwrap();
            }
        }
        (disk, bytes, held)
    }

    #[test]
    fn units_of_a_missing_segment_are_lost_and_archived_once_when_they_come_again() {
        let newest = archive_of(300, true).1.len() - 1;
        let cases: [(&[usize], bool); 4] =
            [(&[2, 3], false), (&[0], false), (&[2], true), (&[newest], true)];
        for (taken, indexes) in cases {
            let (disk, _, held) = without(taken, indexes);
            let (_, report) = open(&disk);
            assert_eq!(report.missing.count(), taken.len() as u64, "{taken:?}");
            assert_eq!(report.lost, held.len() as u64, "{taken:?}");
            // Durable: the next start has nothing new to say.
            let (mut archive, report) = open(&disk);
            assert_eq!((report.missing.count(), report.lost), (taken.len() as u64, 0));
            for sequence in 0..300 {
                let new = held.contains(&sequence);
                let verdict = archive.offer(&unit(1, sequence), now(0)).unwrap();
                let right = if new { Verdict::Accepted } else { Verdict::Duplicate };
                assert_eq!(verdict, right, "{taken:?}: {sequence}");
            }
            archive.commit(now(0)).unwrap();
            archive.seal(Tai(0));
            // Not lost anew, though the hole stays.
            let (mut archive, report) = open(&disk);
            assert_eq!(report.lost, 0, "{taken:?}");
            for sequence in &held {
                let verdict = archive.offer(&unit(1, *sequence), now(0)).unwrap();
                assert_eq!(verdict, Verdict::Duplicate, "{taken:?}: {sequence}");
            }
        }
    }

    #[test]
    fn a_segment_that_is_brought_back_ends_its_loss() {
        let newest = archive_of(300, true).1.len() - 1;
        for (taken, indexes) in [(vec![2, 3], false), (vec![newest], true)] {
            let (disk, segments, held) = without(&taken, indexes);
            let (mut archive, _) = open(&disk);
            archive.offer(&unit(1, 300), now(0)).unwrap();
            archive.commit(now(0)).unwrap();
            archive.seal(Tai(0));
            assert_eq!(audit(&mut disk.clone()).unwrap().lost.len(), 1);
            for (name, bytes) in segments {
                disk.clone().create(&name, bytes.len() as u64).unwrap();
                disk.replace(&name, bytes);
            }
            let (mut archive, report) = open(&disk);
            assert!(report.missing.is_empty());
            for sequence in held {
                let verdict = archive.offer(&unit(1, sequence), now(0)).unwrap();
                assert_eq!(verdict, Verdict::Duplicate, "{sequence}");
            }
            let audit = audit(&mut disk.clone()).unwrap();
            assert!(audit.lost.is_empty() && audit.duplicates == 0, "{audit:?}");
        }
    }
}
