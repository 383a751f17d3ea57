//! What retention deletes, what it never forgets, and what a crash in the middle leaves.

use super::*;
use crate::{
    archive::{
        Archive, Now, Verdict,
        forgetful::{Crash, ForgetfulDisk},
        tests::{SETTINGS, archive_of, found, now, unit},
    },
    audit::audit,
    ledger::Standing,
};

const BYTES: Retain = Retain { bytes: Some(100 << 10), age_s: None, only_stored: false };
const ALL: fn(u64) -> bool = |_| true;

fn open(disk: &ForgetfulDisk) -> Archive<ForgetfulDisk> {
    Archive::open(disk.clone(), SETTINGS, 1).unwrap().0
}

#[test]
fn the_oldest_segments_go_and_the_ledger_forgets_nothing() {
    let (disk, segments) = archive_of(300, true);
    let mut archive = open(&disk);
    let gone = archive.retain(&BYTES, ALL, Tai(0)).unwrap();
    assert!(gone.len() > 3 && gone.len() < segments.len());
    assert_eq!(gone, (0..gone.len() as u64).collect::<Vec<_>>());
    let left = found(&disk).len();
    assert!(left < 300);
    // What went counts as held, over a restart as well.
    for mut archive in [archive, open(&disk)] {
        assert_eq!((archive.ledger_id(), archive.ledger().units), (9, 300));
        for sequence in 0..300 {
            let again = archive.offer(&unit(1, sequence), now(0)).unwrap();
            assert_eq!(again, Verdict::Duplicate, "{sequence}");
        }
        assert!(archive.commit(now(0)).unwrap().is_empty());
    }
    let audit = audit(&mut disk.clone()).unwrap();
    assert!(audit.is_clean(), "{audit:?}");
    assert_eq!(audit.let_go[0].ranges, [[0, 299 - left as u64]]);
    assert_eq!(audit.floor, gone.len() as u64);
    assert_eq!(audit.units, left as u64);
}

#[test]
fn bytes_under_a_key_that_went_are_never_archived_in_its_place() {
    let (disk, _) = archive_of(300, true);
    let mut archive = open(&disk);
    archive.retain(&BYTES, ALL, Tai(0)).unwrap();
    // The record that would tell a conflict is gone: judged by key alone.
    let other = crate::archive::Incoming { bytes: b"other".as_slice().into(), ..unit(1, 0) };
    assert_eq!(archive.offer(&other, now(0)).unwrap(), Verdict::Duplicate);
}

#[test]
fn age_and_the_object_store_decide_what_may_go() {
    let disk = ForgetfulDisk::default();
    let mut archive = open(&disk);
    for segment in 0..6 {
        let at = Now { mono_ms: 0, tai: Tai(segment * 10_000_000_000) };
        archive.offer(&unit(1, segment as u64), at).unwrap();
        archive.commit(at).unwrap();
        archive.seal(at.tai);
    }
    let aged = Retain { age_s: Some(25), ..Retain::default() };
    let at = Tai(50_000_000_000);
    assert_eq!(archive.retain(&Retain::default(), ALL, at).unwrap(), [0u64; 0]);
    let stored = Retain { only_stored: true, ..aged };
    assert_eq!(archive.retain(&stored, |number| number > 0, at).unwrap(), [0u64; 0]);
    assert_eq!(archive.retain(&stored, |number| number < 1, at).unwrap(), [0]);
    // Segment 2 was begun at 20 s, and with it 1 ended: 30 s ago.
    assert_eq!(archive.retain(&aged, ALL, at).unwrap(), [1]);
    // However old, two stay.
    assert_eq!(archive.retain(&aged, ALL, Tai(i64::MAX)).unwrap(), [2, 3]);
    // A clock that went back deletes nothing.
    assert_eq!(archive.retain(&aged, ALL, Tai(i64::MIN)).unwrap(), [0u64; 0]);
}

#[test]
fn a_crash_at_every_call_of_a_deletion_forgets_nothing() {
    let (whole, _) = archive_of(120, true);
    let disk = whole.crash(Crash::Drop);
    let mut archive = open(&disk);
    let policy = Retain { bytes: Some(1), ..BYTES };
    disk.watch(move |call, image| {
        for crash in [Crash::Drop, Crash::Tear, Crash::Reorder] {
            let disk = image(crash);
            let before = audit(&mut disk.clone()).unwrap();
            assert!(before.is_clean(), "{crash:?} at {call}: {before:?}");
            let mut archive = open(&disk);
            for sequence in (0..120).step_by(7) {
                let key = unit(1, sequence).key;
                assert_eq!(archive.ledger().standing(&key), Standing::Held);
                let verdict = archive.offer(&unit(1, sequence), now(0)).unwrap();
                assert_eq!(verdict, Verdict::Duplicate, "{crash:?} at {call}: {sequence}");
            }
            let after = audit(&mut disk.clone()).unwrap();
            assert!(after.is_clean(), "{crash:?} at {call}: {after:?}");
        }
    });
    let gone = archive.retain(&policy, ALL, Tai(0)).unwrap();
    assert!(gone.len() > 1);
    assert!(disk.calls() > 20);
}

#[test]
fn a_floor_that_is_lost_is_made_again_from_a_header() {
    let (disk, _) = archive_of(200, true);
    let mut archive = open(&disk);
    let gone = archive.retain(&BYTES, ALL, Tai(0)).unwrap();
    let floor = gone.len() as u64;
    // A segment that was begun after the deletion repeats the floor.
    archive.offer(&unit(1, 200), now(0)).unwrap();
    archive.commit(now(0)).unwrap();
    disk.flip(&floor_name(floor), 70, 1);
    assert_eq!(audit(&mut disk.clone()).unwrap().floor, floor);
    disk.clone().remove(&floor_name(floor)).unwrap();
    assert!(audit(&mut disk.clone()).unwrap().is_clean());
    let mut archive = open(&disk);
    assert_eq!(archive.offer(&unit(1, 0), now(0)).unwrap(), Verdict::Duplicate);
    assert!(disk.list().unwrap().contains(&floor_name(floor)));
}

#[test]
fn a_lost_segment_does_not_become_one_that_was_let_go() {
    let (disk, segments) = archive_of(300, true);
    disk.clone().remove(&segments[0]).unwrap();
    disk.clone().remove(&index::file_name(0)).unwrap();
    assert!(!audit(&mut disk.clone()).unwrap().is_clean());
    let mut archive = open(&disk);
    let gone = archive.retain(&BYTES, ALL, Tai(0)).unwrap();
    assert_eq!(gone[0], 1);
    // Lost: listed, and taken when it comes again, exactly once.
    let report = audit(&mut disk.clone()).unwrap();
    assert!(!report.is_clean());
    assert_eq!(report.lost[0].ranges[0][0], 0, "{report:?}");
    let last = report.lost[0].ranges[0][1];
    for sequence in 0..=last {
        assert_eq!(archive.offer(&unit(1, sequence), now(0)).unwrap(), Verdict::Accepted);
    }
    let kept = archive.offer(&unit(1, last + 1), now(0)).unwrap();
    assert_eq!(kept, Verdict::Duplicate, "that one was let go");
    archive.commit(now(0)).unwrap();
    for mut archive in [archive, open(&disk)] {
        assert_eq!(archive.offer(&unit(1, 0), now(0)).unwrap(), Verdict::Duplicate);
    }
    let report = audit(&mut disk.clone()).unwrap();
    assert!(report.is_clean(), "{report:?}");
}
