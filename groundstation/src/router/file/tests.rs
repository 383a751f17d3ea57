//! A crash, or an error, at every call that the log makes to its disk: no outcome that was told is
//! lost or stands twice, no acceptance before it either, and the log goes on.

use super::*;
use crate::archive::forgetful::{Crash, Failure, ForgetfulDisk};
use std::sync::{Arc, Mutex};

const CRASHES: [Crash; 3] = [Crash::Drop, Crash::Tear, Crash::Reorder];
const JOBS: i64 = 60;
/// The log is written anew after each so many jobs.
const EVERY: i64 = 15;

fn key(job: i64) -> String {
    format!("cloud-mask/1:7-{job}-{}", job * 1_000)
}

/// Each ninth job is accepted and never decided.
fn stays_open(job: i64) -> bool {
    job % 9 == 4
}

fn line(job: i64, state: State) -> Line {
    let mut line = Line::new(&key(job), "cloud-mask/1", state, Tai(job));
    line.pool = "far".to_owned();
    // Long enough that lines lie over the blocks that a crash tears.
    line.result = "cloud ".repeat(usize::try_from(job % 40).unwrap());
    line
}

/// What was told: outcomes, and acceptances that an outcome was synced after.
#[derive(Clone, Default)]
struct Told {
    decided: BTreeSet<i64>,
    open: BTreeSet<i64>,
}

fn run(disk: &ForgetfulDisk, told: &Arc<Mutex<Told>>) {
    let Ok((mut log, _)) = JobFile::open(disk.clone()) else { return };
    let mut unsynced = Vec::new();
    for job in 0..JOBS {
        if log.append(&line(job, State::Accepted), false).is_ok() && stays_open(job) {
            unsynced.push(job);
        }
        // As the router does: a line that the disk did not take is written again.
        let tries = if stays_open(job) { 0 } else { 3 };
        for _ in 0..tries {
            if log.append(&line(job, State::Done), true).is_ok() {
                let mut told = told.lock().unwrap();
                told.decided.insert(job);
                told.open.extend(unsynced.drain(..));
                break;
            }
        }
        if job % EVERY == EVERY - 1 {
            // The first days leave, the last stay.
            let _ = log.compact(&Keep { from: Tai(job - EVERY / 2), keys_from: None });
        }
    }
}

fn check(disk: &ForgetfulDisk, told: &Told) -> Result<u64, String> {
    let opened = JobFile::open(disk.clone()).map_err(|error| error.to_string())?;
    // Blocks that came to the disk out of order look like damage in the middle, and are passed over
    // like it.
    let (mut log, said) = opened;
    let (mut outcomes, mut open, mut past) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    for of in &said.past {
        for digest in of.digests().unwrap() {
            if !past.insert(digest) {
                return Err("a key left twice".into());
            }
        }
    }
    for line in &said.lines {
        match line.state {
            State::Accepted => drop(open.insert(line.at)),
            _ => *outcomes.entry(line.at).or_insert(0) += 1,
        }
    }
    for job in &told.decided {
        let left = past.contains(&Digest::of(&key(*job)));
        match (outcomes.get(job), left) {
            (Some(1), false) | (None, true) => {}
            other => return Err(format!("{job} was decided, and is {other:?}")),
        }
    }
    if let Some(lost) = told.open.iter().find(|job| !open.contains(*job)) {
        return Err(format!("{lost} has no outcome and is not known any more"));
    }
    let mut sums = Accounts::default();
    said.past.iter().for_each(|past| sums.merge(&past.accounts));
    if sums.mission.done != past.len() as u64 {
        return Err(format!("sums of {} for {} keys", sums.mission.done, past.len()));
    }
    log.append(&line(1_000, State::Done), true).map_err(|error| error.to_string())?;
    let again = JobFile::open(disk.crash(Crash::Drop)).map_err(|error| error.to_string())?;
    match again.1.lines.last().is_some_and(|line| line.at == 1_000) {
        true => Ok(past.len() as u64),
        false => Err("does not go on".into()),
    }
}

/// One run that is looked at before each call; what was found, and how many crashes it took.
fn campaign(disk: &ForgetfulDisk) -> (Vec<String>, u64) {
    let told = Arc::new(Mutex::new(Told::default()));
    let found = Arc::new(Mutex::new((Vec::new(), 0)));
    let (known, seen) = (Arc::clone(&told), Arc::clone(&found));
    disk.watch(move |call, image| {
        let known = known.lock().unwrap().clone();
        for crash in CRASHES {
            let mut seen = seen.lock().unwrap();
            seen.1 += 1;
            if let Err(what) = check(&image(crash), &known) {
                seen.0.push(format!("call {call}, {crash:?}: {what}"));
            }
        }
    });
    run(disk, &told);
    assert!(!told.lock().unwrap().decided.is_empty());
    found.lock().unwrap().clone()
}

#[test]
fn a_crash_at_every_call_loses_no_outcome_that_was_told() {
    let (found, crashes) = campaign(&ForgetfulDisk::default());
    assert_eq!(found, Vec::<String>::new());
    assert!(crashes > 500, "{crashes}");
}

#[test]
fn a_disk_that_lies_about_syncs_is_found_out() {
    let disk = ForgetfulDisk::default();
    disk.lie_about_syncs();
    assert!(!campaign(&disk).0.is_empty());
}

#[test]
fn an_error_at_every_call_loses_no_outcome_that_was_told() {
    let whole = ForgetfulDisk::default();
    run(&whole, &Arc::default());
    let calls = whole.calls();
    for failure in [Failure::Io, Failure::Full, Failure::Short, Failure::Power] {
        for call in 1..=calls {
            let (disk, told) = (ForgetfulDisk::default(), Arc::new(Mutex::new(Told::default())));
            disk.fail_at(call, failure);
            run(&disk, &told);
            let told = told.lock().unwrap().clone();
            if let Err(what) = check(&disk.crash(CRASHES[call as usize % 3]), &told) {
                panic!("call {call} of {calls}, {failure:?}: {what}");
            }
        }
    }
}

#[test]
fn what_leaves_is_keys_and_sums_and_in_time_those_keys() {
    let disk = ForgetfulDisk::default();
    let told = Arc::default();
    run(&disk, &told);
    let gone = check(&disk, &told.lock().unwrap()).unwrap();
    assert!(gone > JOBS as u64 / 2, "{gone}");
    let (mut log, _) = JobFile::open(disk.clone()).unwrap();
    let before = log.length();
    let nothing = Keep { from: Tai(0), keys_from: None };
    assert_eq!(log.compact(&nothing).unwrap(), None, "just written anew");
    let keep = Keep { from: Tai(JOBS), keys_from: Some(Tai(JOBS / 2)) };
    log.compact(&keep).unwrap().unwrap();
    assert!(log.length() < before * 3 / 4, "{} of {before}", log.length());
    let (_, said) = JobFile::open(disk).unwrap();
    let keys: usize = said.past.iter().filter_map(Past::digests).map(|keys| keys.len()).sum();
    assert!(keys < JOBS as usize * 2 / 3, "{keys}");
    let mut sums = Accounts::default();
    said.past.iter().for_each(|past| sums.merge(&past.accounts));
    let decided = (0..JOBS).filter(|job| !stays_open(*job)).count() as u64;
    // One more stands for the line that looking whether the log goes on left.
    assert_eq!(sums.mission.done, decided, "sums never leave");
    let open = said.lines.iter().filter(|line| line.state == State::Accepted).count() as u64;
    assert_eq!(open, JOBS as u64 - decided, "jobs without an outcome stay");
}
