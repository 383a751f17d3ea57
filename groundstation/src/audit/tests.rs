//! Claims of the audit, each on an archive that was damaged on purpose.

use super::*;
use crate::archive::{
    Archive, Incoming, Verdict,
    forgetful::{Crash, Failure, ForgetfulDisk},
    index, read,
    record::UNIT_HEADER_BYTES,
    tests::{SETTINGS, archive_of, now, unit},
};
use codecs::{ids::SeqRange, time::Tai};

/// The same keys and sizes, received at another time: other records.
fn archive_of_received(units: u64, at: i64) -> (ForgetfulDisk, u64) {
    let disk = ForgetfulDisk::default();
    let (mut archive, _) = Archive::open(disk.clone(), SETTINGS, 9).unwrap();
    for sequence in 0..units {
        let unit = Incoming { received: Tai(at), ..unit(1, sequence) };
        archive.offer(&unit, now(0)).unwrap();
        if sequence % 4 == 3 {
            archive.commit(now(0)).unwrap();
        }
    }
    archive.seal(Tai(0));
    (disk, units)
}

/// An archive whose last commit was written and not synced; units that were acknowledged.
fn unsynced(units: u64) -> (ForgetfulDisk, u64) {
    let (disk, _) = archive_of(units, false);
    let (mut archive, _) = Archive::open(disk.clone(), SETTINGS, 9).unwrap();
    archive.offer(&unit(1, units), now(0)).unwrap();
    archive.commit(now(0)).unwrap();
    (1..9).for_each(|more| {
        archive.offer(&unit(1, units + more), now(0)).unwrap();
    });
    // The next call writes, the one after syncs.
    disk.fail_at(disk.calls() + 2, Failure::Power);
    assert!(archive.commit(now(0)).is_err());
    (disk, units + 1)
}

#[test]
fn a_clean_archive_proves_every_unit() {
    let (disk, _) = archive_of(200, true);
    let audit = audit(&mut disk.clone()).unwrap();
    assert!(audit.is_clean(), "{audit:?}");
    assert_eq!((audit.units, audit.torn.len()), (200, 0));
    assert_eq!(audit.keys.len(), 1);
    assert_eq!(audit.keys[0].ranges, [[0, 199]]);
    let bytes: usize = (0..200).map(|sequence| unit(1, sequence).bytes.len()).sum();
    assert_eq!(audit.bytes, bytes as u64);
    // Every other one is annotated, with its own number as its quality.
    let receptions = Receptions { good: 1, corrected: 0, erred: 1, undetermined: 98 };
    assert_eq!(audit.receptions.values().copied().collect::<Vec<_>>(), [receptions]);
}

#[test]
fn a_cut_or_missing_newest_segment_is_found_by_its_index() {
    for cut in [true, false] {
        let (mut disk, segments) = archive_of(200, true);
        let newest = segments.last().unwrap();
        if cut {
            let mut file = disk.open(newest).unwrap();
            let whole = file.length().unwrap();
            file.truncate(whole / 2).unwrap();
        } else {
            disk.remove(newest).unwrap();
        }
        let audit = audit(&mut disk).unwrap();
        assert!(!audit.is_clean() && !audit.missing_from_archive.is_empty(), "{audit:?}");
    }
}

/// Flips bytes of every segment one at a time: each is found at its place, and the other units
/// stay readable.
fn flip_bytes(units: u64, step: usize) {
    let (disk, segments) = archive_of(units, true);
    for name in segments {
        for offset in (0..disk.contents(&name).len()).step_by(step) {
            disk.flip(&name, offset, 0x40);
            let audit = audit(&mut disk.clone()).unwrap();
            assert!(!audit.is_clean(), "{name} byte {offset} went unseen");
            let named = audit.damaged.iter().any(|damage| {
                let reach = damage.offset..damage.offset + damage.bytes.max(1);
                damage.segment == name && reach.contains(&(offset as u64))
            });
            assert!(named, "{name} byte {offset}: {:?}", audit.damaged);
            let lost = audit.damaged.iter().filter(|damage| damage.unit.is_some()).count();
            assert!(lost <= 1 && audit.units + lost as u64 == units, "{name} byte {offset}");
            disk.flip(&name, offset, 0x40);
        }
    }
}

#[test]
fn every_flipped_byte_is_found_and_named() {
    flip_bytes(3, 1);
}

#[test]
fn flipped_bytes_are_named_over_several_segments() {
    flip_bytes(60, 127);
}

#[test]
fn a_missing_segment_is_named_with_what_it_held() {
    let (disk, segments) = archive_of(200, true);
    disk.clone().remove(&segments[1]).unwrap();
    let audit = audit(&mut disk.clone()).unwrap();
    assert_eq!(audit.damaged[0].segment, segments[1]);
    assert_eq!(audit.missing_from_archive.len(), 1);
}

#[test]
fn an_exchanged_segment_breaks_the_chain_though_its_records_hold() {
    let (disk, segments) = archive_of(200, true);
    let (other, _) = archive_of_received(200, 5);
    for name in &segments {
        let own = disk.contents(name);
        disk.replace(name, other.contents(name));
        let audit = audit(&mut disk.clone()).unwrap();
        assert_eq!(audit.units, 200, "each record holds");
        assert!(!audit.is_clean(), "{name}");
        assert!(audit.damaged.iter().any(|damage| damage.what.contains("chain")), "{audit:?}");
        disk.replace(name, own);
    }
    assert!(audit(&mut disk.clone()).unwrap().is_clean());
}

#[test]
fn a_torn_tail_is_told_from_damage_in_it() {
    let (disk, segments) = archive_of(22, false);
    let tail = segments.last().unwrap();
    // Power cut in the middle of a commit: torn, and nothing that was acknowledged is missing.
    let (torn, _) = unsynced(22);
    let audit_of = |disk: &ForgetfulDisk| audit(&mut disk.clone()).unwrap();
    let audit = audit_of(&torn.crash(Crash::Tear));
    assert!(audit.is_clean() && !audit.torn.is_empty(), "{audit:?}");
    // A flipped byte in the last commit, which was whole.
    let mut last = 0;
    let end = Position { segment: u64::MAX, offset: 0 };
    read::replay(
        &mut disk.clone(),
        &Twice::NOTHING,
        Position { segment: 0, offset: 0 },
        end,
        |unit| {
            last = unit.position.offset;
            Ok(())
        },
    )
    .unwrap();
    disk.flip(tail, last as usize + UNIT_HEADER_BYTES + 20, 1);
    let audit = audit_of(&disk);
    assert!(!audit.is_clean() && audit.torn.is_empty(), "{audit:?}");
    assert_eq!(audit.damaged[0].segment, *tail);
    assert_eq!(audit.damaged[0].unit.as_ref().unwrap().sequence, 21);
}

#[test]
fn damaged_indexes_are_named_and_made_again_from_the_log() {
    let (disk, _) = archive_of(200, true);
    disk.flip(&index::file_name(0), 40, 1);
    disk.clone().remove(&index::file_name(2)).unwrap();
    let before = audit(&mut disk.clone()).unwrap();
    assert_eq!(before.indexes_damaged, [0, 2]);
    assert!(before.is_clean(), "an index is derived");
    assert_eq!(repair(&mut disk.clone()).unwrap(), [0, 2]);
    let after = audit(&mut disk.clone()).unwrap();
    assert!(after.indexes_damaged.is_empty() && after.is_clean());
}

#[test]
fn what_is_lost_is_listed_until_it_comes_again() {
    let (disk, _) = archive_of(20, true);
    let (mut archive, _) = Archive::open(disk.clone(), SETTINGS, 9).unwrap();
    let prefix = unit(1, 0).key.prefix;
    let ranges = [(30, 31), (90, 99)].map(|(first, last)| SeqRange { first, last });
    archive.record_lost(&[(prefix, ranges.to_vec())], now(0)).unwrap();
    assert_eq!(archive.offer(&unit(1, 30), now(0)).unwrap(), Verdict::Accepted);
    assert_eq!(archive.offer(&unit(1, 20), now(0)).unwrap(), Verdict::Accepted);
    archive.commit(now(0)).unwrap();
    archive.seal(Tai(0));
    archive.offer(&unit(1, 21), now(0)).unwrap();
    archive.commit(now(0)).unwrap();
    let audit = audit(&mut disk.clone()).unwrap();
    assert!(!audit.is_clean());
    assert_eq!(audit.lost[0].ranges, [[31, 31], [90, 99]]);
}
