//! The promise of the archive at its full size: a run of a thousand frames, and a crash or an error
//! at every call that it makes to its disk.
//!
//! `ARCHIVE_FRAMES` makes the run longer.

use super::{
    forgetful::{Crash, Failure, ForgetfulDisk},
    tests::now,
    *,
};
use crate::ledger::tests::key;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

const CRASHES: [Crash; 3] = [Crash::Drop, Crash::Tear, Crash::Reorder];
const SETTINGS: Settings = Settings { segment_bytes: 48 << 10 };
const BATCH: u64 = 8;

fn frames() -> u64 {
    let stated = std::env::var("ARCHIVE_FRAMES").ok().and_then(|frames| frames.parse().ok());
    stated.unwrap_or(1_000)
}

/// Small, so that a block holds several and a torn one cuts them everywhere.
fn frame(sequence: u64) -> Incoming {
    let length = 16 + (sequence as usize * 37) % 180;
    Incoming {
        key: key(1, sequence),
        codec: Codec::AosFrame,
        received: Tai(sequence as i64),
        annotation: None,
        bytes: (0..length).map(|at| (at as u64 * 13 + sequence) as u8 | 1).collect(),
    }
}

/// What was acknowledged: always a prefix here, since a run stops being sent at its first failure
/// only to offer the rest again.
type Acknowledged = Arc<Mutex<BTreeSet<u64>>>;

/// Archives every frame, offering again what failed, as a sender would, for three rounds.
fn run(disk: &ForgetfulDisk, frames: u64, acknowledged: &Acknowledged) {
    let Ok((mut archive, _)) = Archive::open(disk.clone(), SETTINGS, 9) else { return };
    for round in 0..3 {
        let mut batched = 0;
        for sequence in 0..frames {
            if acknowledged.lock().unwrap().contains(&sequence) {
                continue;
            }
            let at = now(round * 10_000_000 + sequence * 1_000);
            if matches!(archive.offer(&frame(sequence), at), Ok(Verdict::Accepted)) {
                batched += 1;
            }
            if batched == BATCH || sequence + 1 == frames {
                batched = 0;
                let committed = archive.commit(at).unwrap_or_default();
                let sequences = committed.into_iter().map(|unit| unit.key.sequence);
                acknowledged.lock().unwrap().extend(sequences);
            }
        }
    }
}

/// After a crash: nothing acknowledged is missing or another, nothing stands twice, the ledger
/// agrees, and the archive goes on.
fn check(disk: &ForgetfulDisk, acknowledged: &BTreeSet<u64>) -> Result<(), String> {
    let opened = Archive::open(disk.clone(), SETTINGS, 9).map_err(|error| error.to_string())?;
    let mut archive = opened.0;
    let mut found = BTreeMap::new();
    let end = Position { segment: u64::MAX, offset: u64::MAX };
    read::replay(
        &mut disk.clone(),
        &twice::Twice::NOTHING,
        Position { segment: 0, offset: 0 },
        end,
        |unit| {
            assert_eq!(unit.bytes, frame(unit.key.sequence).bytes);
            *found.entry(unit.key.sequence).or_insert(0) += 1;
            Ok(())
        },
    )
    .map_err(|error| error.to_string())?;
    if let Some((sequence, count)) = found.iter().find(|(_, count)| **count > 1) {
        return Err(format!("{sequence} stands {count} times"));
    }
    if let Some(lost) = acknowledged.iter().find(|sequence| !found.contains_key(sequence)) {
        return Err(format!("{lost} was acknowledged and can't be read"));
    }
    let prefix = key(1, 0).prefix;
    let held: BTreeSet<u64> = match archive.ledger().counter(&prefix) {
        Some(counter) => counter.held.ranges().iter().flat_map(|r| r.first..=r.last).collect(),
        None => BTreeSet::new(),
    };
    if !held.iter().eq(found.keys()) {
        return Err(format!("the ledger holds {}, the disk {}", held.len(), found.len()));
    }
    // Judged by their digests, through the index: those at the ends, and some between.
    let some = held.iter().rev().take(9).chain(held.iter().step_by(97));
    for sequence in some {
        let verdict = archive.offer(&frame(*sequence), now(0));
        if !matches!(verdict, Ok(Verdict::Duplicate)) {
            return Err(format!("{sequence} came again as {verdict:?}"));
        }
    }
    archive.offer(&frame(1 << 40), now(0)).map_err(|error| error.to_string())?;
    let committed = archive.commit(now(0)).map_err(|error| error.to_string())?;
    if committed.len() == 1 { Ok(()) } else { Err("does not go on".into()) }
}

#[test]
fn a_crash_at_every_call_of_a_thousand_frames_loses_nothing_acknowledged() {
    let disk = ForgetfulDisk::default();
    let acknowledged = Acknowledged::default();
    let (known, crashes) = (Arc::clone(&acknowledged), Arc::new(Mutex::new(0u64)));
    let count = Arc::clone(&crashes);
    disk.watch(move |call, image| {
        let known = known.lock().unwrap().clone();
        for crash in CRASHES {
            check(&image(crash), &known)
                .unwrap_or_else(|error| panic!("{crash:?} before call {call}: {error}"));
            *count.lock().unwrap() += 1;
        }
    });
    run(&disk, frames(), &acknowledged);
    assert_eq!(acknowledged.lock().unwrap().len() as u64, frames());
    println!("{} crashes over {} calls", crashes.lock().unwrap(), disk.calls());
    assert!(disk.calls() > frames() / BATCH * 2);
}

#[test]
fn without_syncs_every_mode_of_crash_is_noticed() {
    for crash in CRASHES {
        let disk = ForgetfulDisk::default();
        disk.lie_about_syncs();
        let acknowledged = Acknowledged::default();
        run(&disk, frames(), &acknowledged);
        let known = acknowledged.lock().unwrap().clone();
        assert_eq!(known.len() as u64, frames());
        assert!(check(&disk.crash(crash), &known).is_err(), "{crash:?}");
    }
}

fn calls_of_a_run() -> u64 {
    let disk = ForgetfulDisk::default();
    run(&disk, frames(), &Acknowledged::default());
    disk.calls()
}

/// The n-th call fails, for every n; then the archive is looked at as it is, or after a crash.
fn every_call_fails(failure: Failure) {
    for call in 1..=calls_of_a_run() {
        let disk = ForgetfulDisk::default();
        disk.fail_at(call, failure);
        let acknowledged = Acknowledged::default();
        run(&disk, frames(), &acknowledged);
        let known = acknowledged.lock().unwrap().clone();
        // An error on the way never costs more than a retry, unless it kept the archive shut.
        assert!(known.is_empty() || known.len() as u64 == frames(), "{failure:?} at {call}");
        let image = match CRASHES.get(call as usize % 4) {
            Some(crash) => disk.crash(*crash),
            None => disk.clone(),
        };
        check(&image, &known).unwrap_or_else(|error| panic!("{failure:?} at {call}: {error}"));
    }
}

#[test]
fn an_io_error_at_every_call_loses_nothing_acknowledged() {
    every_call_fails(Failure::Io);
}

#[test]
fn no_space_at_every_call_loses_nothing_acknowledged() {
    every_call_fails(Failure::Full);
}

#[test]
fn a_short_write_at_every_call_loses_nothing_acknowledged() {
    every_call_fails(Failure::Short);
}

#[test]
fn a_full_disk_acknowledges_nothing_serves_reads_and_recovers() {
    let disk = ForgetfulDisk::default();
    let (mut archive, _) = Archive::open(disk.clone(), SETTINGS, 9).unwrap();
    let (mut acknowledged, mut failures, mut mono_ms) = (BTreeSet::new(), 0, 0);
    // Three times the disk is full for a while.
    let full = |sequence: u64| (100..200).contains(&(sequence % (frames() / 3)));
    for sequence in 0..frames() {
        disk.set_room(full(sequence).then_some(0));
        // As a sender: again after some time, until it is acknowledged or the disk is full.
        loop {
            mono_ms += 2_000;
            let verdict = archive.offer(&frame(sequence), now(mono_ms)).unwrap();
            let committed = archive.commit(now(mono_ms));
            failures += u64::from(committed.is_err());
            assert!(!full(sequence) || verdict != Verdict::Duplicate, "nothing was promised");
            let committed = committed.unwrap_or_default();
            acknowledged.extend(committed.into_iter().map(|unit| unit.key.sequence));
            if acknowledged.contains(&sequence) || full(sequence) {
                break;
            }
        }
        if full(sequence) && sequence.is_multiple_of(50) {
            check_reads(&disk, &acknowledged);
        }
    }
    assert!(failures > 100, "the disk was full");
    assert!(acknowledged.len() as u64 >= frames() / 2);
    check(&disk.crash(Crash::Drop), &acknowledged).unwrap();
}

fn check_reads(disk: &ForgetfulDisk, receipted: &BTreeSet<u64>) {
    let mut found = BTreeSet::new();
    let end = Position { segment: u64::MAX, offset: u64::MAX };
    read::replay(
        &mut disk.clone(),
        &twice::Twice::NOTHING,
        Position { segment: 0, offset: 0 },
        end,
        |unit| {
            found.insert(unit.key.sequence);
            Ok(())
        },
    )
    .unwrap();
    assert!(receipted.is_subset(&found));
}
