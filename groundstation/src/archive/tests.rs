//! The promise of the archive on a disk that forgets and fails.

use super::{
    forgetful::{Crash, Failure, ForgetfulDisk},
    *,
};
use crate::ledger::{Standing, tests::key};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const SETTINGS: Settings = Settings { segment_bytes: 40 << 10 };

pub(crate) fn now(mono_ms: u64) -> Now {
    Now { mono_ms, tai: Tai(mono_ms as i64) }
}

pub(crate) fn unit(stream: u32, sequence: u64) -> Incoming {
    let length = 40 + (sequence as usize * 97) % 1_900;
    Incoming {
        key: key(stream, sequence),
        codec: Codec::AosFrame,
        received: Tai(sequence as i64),
        annotation: sequence.is_multiple_of(2).then_some([sequence as u8; 16]),
        bytes: (0..length).map(|at| (at as u64 * 31 + sequence) as u8).collect(),
    }
}

/// Archives units in commits of `batch`; those whose commit succeeded.
fn fill(disk: &ForgetfulDisk, units: u64, batch: usize) -> BTreeSet<UnitKey> {
    let mut acknowledged = BTreeSet::new();
    let Ok((mut archive, _)) = Archive::open(disk.clone(), SETTINGS, 9) else {
        return acknowledged;
    };
    for sequence in 0..units {
        // A unit that is refused or fails is offered again later, as a sender would.
        for again in sequence.saturating_sub(3)..=sequence {
            if archive.offer(&unit(1, again), now(sequence * 1_000)).is_err() {
                continue;
            }
        }
        if sequence as usize % batch == batch - 1 {
            let committed = archive.commit(now(sequence * 1_000)).unwrap_or_default();
            acknowledged.extend(committed.into_iter().map(|unit| unit.key));
        }
    }
    let committed = archive.commit(now(units * 1_000)).unwrap_or_default();
    acknowledged.extend(committed.into_iter().map(|unit| unit.key));
    acknowledged
}

/// An archive of `units`, sealed as at a clean stop, and its segments.
pub(crate) fn archive_of(units: u64, seal: bool) -> (ForgetfulDisk, Vec<String>) {
    let disk = ForgetfulDisk::default();
    let (mut archive, _) = Archive::open(disk.clone(), SETTINGS, 9).unwrap();
    for sequence in 0..units {
        archive.offer(&unit(1, sequence), now(0)).unwrap();
        if sequence % 4 == 3 {
            archive.commit(now(0)).unwrap();
        }
    }
    archive.commit(now(0)).unwrap();
    if seal {
        archive.seal(Tai(0));
    }
    let mut names = disk.list().unwrap();
    names.retain(|name| segment::number_of(name).is_some());
    names.sort();
    (disk, names)
}

/// What replaying the archive gives, and how often each key stands there.
pub(crate) fn found(disk: &ForgetfulDisk) -> BTreeMap<UnitKey, usize> {
    let mut found = BTreeMap::new();
    let whole = Position { segment: u64::MAX, offset: u64::MAX };
    let start = Position { segment: 0, offset: 0 };
    read::replay(&mut disk.clone(), &twice::Twice::NOTHING, start, whole, |archived| {
        assert_eq!(archived.bytes, unit(1, archived.key.sequence).bytes);
        *found.entry(archived.key).or_default() += 1;
        Ok(())
    })
    .unwrap();
    found
}

/// After a crash: nothing acknowledged is missing, nothing stands twice, the ledger agrees.
fn check(disk: &ForgetfulDisk, acknowledged: &BTreeSet<UnitKey>, what: &str) -> Result<(), String> {
    let (mut archive, _) =
        Archive::open(disk.clone(), SETTINGS, 9).map_err(|error| format!("{what}: {error}"))?;
    for key in acknowledged {
        if archive.ledger().standing(key) != Standing::Held {
            return Err(format!("{what}: {key:?} was acknowledged and is not held"));
        }
        let verdict = archive.offer(&unit(1, key.sequence), now(0)).unwrap();
        if verdict != Verdict::Duplicate {
            return Err(format!("{what}: {key:?} came again as {verdict:?}"));
        }
    }
    let found = found(disk);
    if let Some((key, count)) = found.iter().find(|(_, count)| **count > 1) {
        return Err(format!("{what}: {key:?} stands {count} times"));
    }
    if let Some(key) = acknowledged.iter().find(|key| !found.contains_key(key)) {
        return Err(format!("{what}: {key:?} was acknowledged and can't be read"));
    }
    let held: u64 = archive.ledger().counters().map(|(_, counter)| counter.held.count()).sum();
    if held != found.len() as u64 {
        return Err(format!("{what}: the ledger holds {held}, the disk {}", found.len()));
    }
    // And the archive goes on.
    archive.offer(&unit(1, 5_000), now(0)).unwrap();
    let committed = archive.commit(now(0)).map_err(|error| format!("{what}: {error}"))?;
    if committed.len() != 1 { Err(format!("{what}: does not go on")) } else { Ok(()) }
}

const UNITS: u64 = 60;

fn calls_of_a_run() -> u64 {
    let disk = ForgetfulDisk::default();
    assert_eq!(fill(&disk, UNITS, 4).len() as u64, UNITS);
    disk.calls()
}

#[test]
fn a_crash_at_every_call_loses_nothing_acknowledged() {
    for crash in [Crash::Drop, Crash::Tear, Crash::Reorder] {
        for call in 1..=calls_of_a_run() {
            let disk = ForgetfulDisk::default();
            disk.fail_at(call, Failure::Power);
            let acknowledged = fill(&disk, UNITS, 4);
            check(&disk.crash(crash), &acknowledged, &format!("{crash:?} at call {call}")).unwrap();
        }
    }
}

#[test]
fn without_syncs_the_same_test_fails() {
    for crash in [Crash::Drop, Crash::Tear, Crash::Reorder] {
        let disk = ForgetfulDisk::default();
        disk.lie_about_syncs();
        let acknowledged = fill(&disk, UNITS, 4);
        assert_eq!(acknowledged.len() as u64, UNITS);
        assert!(check(&disk.crash(crash), &acknowledged, "control").is_err(), "{crash:?}");
    }
}

#[test]
fn an_error_at_every_call_loses_nothing_acknowledged() {
    for failure in [Failure::Io, Failure::Full, Failure::Short] {
        for call in 1..=calls_of_a_run() {
            let disk = ForgetfulDisk::default();
            disk.fail_at(call, failure);
            let acknowledged = fill(&disk, UNITS, 4);
            let what = format!("{failure:?} at call {call}");
            let crashes = [Crash::Drop, Crash::Tear, Crash::Reorder];
            check(&disk.crash(crashes[call as usize % 3]), &acknowledged, &what).unwrap();
            check(&disk, &acknowledged, &what).unwrap();
        }
    }
}

#[test]
fn a_crash_after_an_error_loses_nothing_acknowledged() {
    let calls = calls_of_a_run();
    for call in (1..=calls).step_by(3) {
        let disk = ForgetfulDisk::default();
        disk.fail_at(call, Failure::Io);
        let mut acknowledged = fill(&disk, UNITS, 4);
        disk.fail_at(disk.calls() + call % 40 + 1, Failure::Power);
        acknowledged.extend(fill(&disk, UNITS + 20, 3));
        for crash in [Crash::Drop, Crash::Tear, Crash::Reorder] {
            check(&disk.crash(crash), &acknowledged, &format!("{crash:?} {call}")).unwrap();
        }
    }
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let disk = ForgetfulDisk::default();
    disk.set_room(Some(150 << 10));
    let (mut archive, _) = Archive::open(disk.clone(), SETTINGS, 9).unwrap();
    let mut acknowledged = BTreeSet::new();
    let mut sequence = 0;
    let failed_at = loop {
        archive.offer(&unit(1, sequence), now(sequence)).unwrap();
        match archive.commit(now(sequence)) {
            Ok(units) => acknowledged.extend(units.into_iter().map(|unit| unit.key)),
            Err(error) => break assert_full(error, sequence),
        }
        sequence += 1;
    };
    assert!(acknowledged.len() > 5);
    let refused = archive.offer(&unit(1, sequence), now(failed_at + FULL_RETRY_MS - 1)).unwrap();
    assert_eq!(refused, Verdict::Full);
    assert_eq!(archive.offer(&unit(1, 0), now(failed_at)).unwrap(), Verdict::Duplicate);
    // Tried again and still full: nothing piles up.
    let files = disk.list().unwrap().len();
    for later in 1..20 {
        let later = now(failed_at + later * FULL_RETRY_MS);
        assert_eq!(archive.offer(&unit(1, sequence), later).unwrap(), Verdict::Accepted);
        assert!(archive.commit(later).is_err());
    }
    assert_eq!(disk.list().unwrap().len(), files);
    disk.set_room(None);
    let later = now(failed_at + 30 * FULL_RETRY_MS);
    assert_eq!(archive.offer(&unit(1, sequence), later).unwrap(), Verdict::Accepted);
    acknowledged.extend(archive.commit(later).unwrap().into_iter().map(|unit| unit.key));
    check(&disk.crash(Crash::Drop), &acknowledged, "full").unwrap();
}

fn assert_full(error: io::Error, at: u64) -> u64 {
    assert!(is_full(&error), "{error}");
    at
}

#[test]
fn the_same_key_with_other_bytes_is_kept_aside() {
    let disk = ForgetfulDisk::default();
    fill(&disk, 60, 4);
    let (mut archive, _) = Archive::open(disk.clone(), SETTINGS, 9).unwrap();
    let other = Incoming { bytes: Bytes::from_static(b"other"), ..unit(1, 3) };
    assert_eq!(archive.offer(&other, now(0)).unwrap(), Verdict::Conflict);
    // In the batch as well as on disk.
    assert_eq!(archive.offer(&unit(1, 70), now(0)).unwrap(), Verdict::Accepted);
    assert_eq!(archive.offer(&unit(1, 70), now(0)).unwrap(), Verdict::Duplicate);
    let other = Incoming { bytes: Bytes::from_static(b"other"), ..unit(1, 70) };
    assert_eq!(archive.offer(&other, now(0)).unwrap(), Verdict::Conflict);
    let aside = |disk: ForgetfulDisk| {
        disk.list().unwrap().iter().filter(|name| name.ends_with(".conflict")).count()
    };
    assert_eq!(aside(disk.clone()), 2);
    // Once, however often it comes, and over restarts.
    assert_eq!(archive.offer(&other, now(0)).unwrap(), Verdict::Conflict);
    archive.commit(now(0)).unwrap();
    let disk = disk.crash(Crash::Drop);
    let (mut archive, _) = Archive::open(disk.clone(), SETTINGS, 9).unwrap();
    assert_eq!(archive.offer(&other, now(0)).unwrap(), Verdict::Conflict);
    assert_eq!(aside(disk.clone()), 2);
    let third = Incoming { bytes: Bytes::from_static(b"third"), ..unit(1, 70) };
    assert_eq!(archive.offer(&third, now(0)).unwrap(), Verdict::Conflict);
    assert_eq!(aside(disk), 3);
}

#[test]
fn a_segment_with_units_is_sealed_once_it_is_old() {
    let disk = ForgetfulDisk::default();
    let (mut archive, _) = Archive::open(disk.clone(), SETTINGS, 9).unwrap();
    assert_eq!(archive.volume.seal_due_ms(60_000), None, "nothing to seal");
    archive.offer(&unit(1, 0), now(5)).unwrap();
    archive.commit(now(5)).unwrap();
    assert_eq!(archive.volume.seal_due_ms(60_000), Some(60_005));
    assert!(!archive.volume.seal_aged(now(60_004), 60_000));
    assert!(archive.volume.seal_aged(now(60_005), 60_000));
    assert!(!archive.volume.seal_aged(now(200_000), 60_000), "an empty archive seals nothing");
    archive.offer(&unit(1, 1), now(200_000)).unwrap();
    let units = archive.commit(now(200_000)).unwrap();
    assert_eq!(units[0].position.segment, 1);
    let audit = crate::audit::audit(&mut disk.clone()).unwrap();
    assert!(audit.is_clean() && audit.units == 2, "{audit:?}");
}

#[test]
fn a_tail_that_a_crash_cut_short_is_sealed_on_open() {
    let disk = ForgetfulDisk::default();
    fill(&disk, 30, 4);
    let (archive, report) = Archive::open(disk.crash(Crash::Drop), SETTINGS, 9).unwrap();
    assert!(report.torn.is_empty());
    let end = archive.end();
    let disk = archive.volume.storage;
    let length = disk.contents(&segment::file_name(end.segment)).len() as u64;
    assert_eq!((length, length % 4096), (end.offset, record::END_BYTES as u64));
}

#[test]
fn only_the_last_segment_is_scanned() {
    let disk = ForgetfulDisk::default();
    fill(&disk, 300, 4);
    let (archive, report) = Archive::open(disk.clone(), SETTINGS, 1).unwrap();
    assert!(report.segments > 4, "{report:?}");
    assert_eq!((report.scanned, &report.damage, &report.torn), (1, &vec![], &vec![]));
    assert_eq!(archive.ledger_id(), 9);
    assert_eq!(archive.ledger().units, 300);
}

#[test]
fn a_damaged_last_header_costs_no_unit() {
    let disk = ForgetfulDisk::default();
    let acknowledged = fill(&disk, 300, 4);
    let mut numbers: Vec<_> =
        disk.list().unwrap().iter().filter_map(|name| segment::number_of(name)).collect();
    numbers.sort_unstable();
    disk.flip(&segment::file_name(*numbers.last().unwrap()), 30, 1);
    check(&disk, &acknowledged, "header").unwrap();
}

#[test]
fn a_damaged_or_missing_index_is_made_again() {
    let disk = ForgetfulDisk::default();
    let acknowledged = fill(&disk, 120, 4);
    disk.flip(&index::file_name(0), 40, 1);
    disk.clone().remove(&index::file_name(1)).unwrap();
    check(&disk, &acknowledged, "index").unwrap();
    assert!(disk.list().unwrap().contains(&index::file_name(1)));
}

#[test]
fn published_units_are_slices_of_the_batch() {
    let (mut archive, _) = Archive::open(ForgetfulDisk::default(), SETTINGS, 9).unwrap();
    archive.offer(&unit(1, 0), now(0)).unwrap();
    archive.offer(&unit(1, 1), now(0)).unwrap();
    let blocks = archive.commit_blocks(now(0)).unwrap();
    let units: Vec<_> = blocks.iter().flat_map(batch::Published::units).collect();
    let (first, second) = (&units[0].bytes, &units[1].bytes);
    let step = second.as_ptr() as usize - first.as_ptr() as usize;
    assert_eq!(step as u64, units[1].position.offset - units[0].position.offset);
}
