//! Trials over power cuts in every call, faults in every call, and damage at rest.

use super::*;
use crate::{
    config::ConfigSlots,
    models::forgetful::{Cut, Forgetful},
};

const STARTS: u32 = 3;

fn open(files: Forgetful) -> Trials<Forgetful> {
    Trials::open(files, STARTS).unwrap()
}

fn text(chosen: Chosen) -> String {
    match chosen {
        Chosen::File => "file".into(),
        Chosen::Slot { text, start, .. } => {
            let trial = start.map_or_else(String::new, |start| format!(" start {start}"));
            String::from_utf8_lossy(&text).into_owned() + &trial
        }
    }
}

/// A folder in which `one` is permanent.
fn settled() -> Forgetful {
    let files = Forgetful::default();
    let mut trials = open(files.clone());
    trials.put(b"one", "first").unwrap();
    trials.start();
    trials.confirm("by command").unwrap();
    trials.told().unwrap();
    files
}

#[test]
fn a_trial_that_proves_itself_becomes_permanent() {
    let files = Forgetful::default();
    let mut trials = open(files.clone());
    assert_eq!(text(trials.start()), "file");
    trials.put(b"one", "a key").unwrap();
    assert!(trials.is_waiting() && !trials.is_trial());
    let mut trials = open(files.clone());
    assert_eq!(text(trials.start()), "one start 1");
    assert_eq!(trials.put(b"two", "").unwrap_err(), TrialError::Flying);
    trials.confirm("it was heard").unwrap();
    assert_eq!(
        trials.untold().map(|of| (of.confirmed, of.held.by.as_str())),
        Some((true, "a key"))
    );
    trials.told().unwrap();
    assert_eq!(trials.untold(), None);
    let mut trials = open(files);
    assert_eq!(text(trials.start()), "one");
    assert_eq!(trials.confirm("again").unwrap_err(), TrialError::NoTrial);
}

#[test]
fn starts_without_proof_are_counted_and_lead_back() {
    let files = settled();
    open(files.clone()).put(b"two", "up").unwrap();
    for start in 1..=STARTS {
        assert_eq!(text(open(files.clone()).start()), format!("two start {start}"));
    }
    let mut trials = open(files.clone());
    assert_eq!(text(trials.start()), "one");
    let verdict = trials.untold().unwrap();
    assert!(!verdict.confirmed && verdict.reason.contains("3 starts"), "{verdict:?}");
    assert_eq!(verdict.held.digest, Digest::of(b"two"));
    assert_eq!(text(open(files).start()), "one", "for good");
}

#[test]
fn a_permanent_one_that_never_goes_on_is_left_at_last() {
    let files = settled();
    for _ in 0..STARTS * PATIENCE {
        assert_eq!(text(open(files.clone()).start()), "one");
    }
    let mut trials = open(files.clone());
    assert_eq!(text(trials.start()), "file");
    let verdict = trials.untold().unwrap();
    assert!(verdict.reason.contains("none of 30 starts went on"), "{verdict:?}");
    // One that goes on now and then keeps its place, however often the supply fails.
    let files = settled();
    for _ in 0..STARTS * PATIENCE * 2 {
        let mut trials = open(files.clone());
        assert_eq!(text(trials.start()), "one");
        let mut trials = open(files.clone());
        trials.start();
        trials.went_on().unwrap();
    }
}

#[test]
fn a_way_back_by_command_leads_to_the_one_before_and_then_to_the_file() {
    let files = settled();
    let mut trials = open(files.clone());
    trials.start();
    trials.put(b"two", "up").unwrap();
    assert!(!trials.roll_back("by command").unwrap(), "it only waited: nothing must end");
    trials.put(b"two", "up").unwrap();
    let mut trials = open(files.clone());
    trials.start();
    trials.confirm("by command").unwrap();
    assert!(trials.roll_back("by command").unwrap());
    let mut trials = open(files.clone());
    assert_eq!(text(trials.start()), "one");
    assert!(trials.roll_back("by command").unwrap());
    let mut trials = open(files);
    assert_eq!(text(trials.start()), "file");
    assert_eq!(trials.roll_back("").unwrap_err(), TrialError::NoneBefore);
}

#[test]
fn what_is_damaged_is_not_flown() {
    let files = settled();
    open(files.clone()).put(b"two", "up").unwrap();
    files.flip("b.toml", 1);
    let mut trials = open(files.clone());
    assert_eq!(text(trials.start()), "one");
    assert!(trials.untold().unwrap().reason.contains("damaged"));
    files.flip("a.toml", 1);
    let mut trials = open(files.clone());
    assert_eq!(text(trials.start()), "file");
    assert!(trials.take_notices()[0].contains("a.toml is damaged"));
    files.flip("a.toml", 1);
    for journal in ["journal.0", "journal.1"] {
        files.flip(journal, 5);
        let mut trials = open(files.copy());
        assert!(["one", "file"].contains(&&*text(trials.start())));
        assert!(!trials.take_notices().is_empty());
    }
}

type Step = fn(&mut Trials<Forgetful>);

/// What each step does, and what the start after it may fly when it was cut: the state before, or
/// the one after.
const STEPS: [(&str, Step, [&str; 2]); 4] = [
    (
        "put",
        |trials| {
            trials.put(b"two", "up").unwrap();
        },
        ["one", "two start 1"],
    ),
    (
        "start",
        |trials| {
            trials.start();
        },
        ["two start 1", "two start 2"],
    ),
    ("confirm", |trials| trials.confirm("proven").unwrap(), ["two start 2", "two"]),
    (
        "roll back",
        |trials| {
            trials.roll_back("by command").unwrap();
        },
        ["two", "one"],
    ),
];

/// Flies every step, cut in the middle of each of its calls; what was found that must not be.
fn cut_everywhere(files: Forgetful) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut trials = open(files.clone());
    for (step, act, [before, after]) in STEPS {
        files.remember();
        act(&mut trials);
        let moments = files.moments();
        assert!(moments.len() >= 5, "{step}: {} calls", moments.len());
        for cut in Cut::ALL {
            for (at, moment) in moments.iter().enumerate() {
                let found = text(open(moment.survivors(cut)).start());
                if found != before && found != after {
                    wrong.push(format!("{step}, {cut:?} in call {at}: {found}"));
                }
            }
            let found = text(open(files.survivors(cut)).start());
            if found != after {
                wrong.push(format!("{step}, {cut:?} behind it: {found}"));
            }
        }
    }
    wrong
}

#[test]
fn power_cut_in_every_call_leaves_the_old_state_or_the_new_one() {
    assert_eq!(cut_everywhere(settled()), Vec::<String>::new());
    let lying = cut_everywhere(settled().lying());
    assert!(lying.len() > 10, "a medium that does not sync must fail: {lying:?}");
}

#[test]
fn a_start_that_can_not_be_counted_is_not_flown_and_every_fault_leaves_a_way() {
    for call in 1.. {
        let files = settled();
        open(files.clone()).put(b"two", "up").unwrap();
        let mut trials = open(files.clone());
        files.fail_at(call);
        let flown = text(trials.start());
        if flown == "two start 1" {
            assert!(call > 3, "the call {call} was not needed");
            break;
        }
        assert_eq!(flown, "one", "call {call}");
        assert!(trials.take_notices()[0].contains("can't be counted"));
        assert!(text(open(files).start()).starts_with("two start"), "it is tried again");
    }
    for call in 1..40 {
        let files = settled();
        let mut trials = open(files.clone());
        files.fail_at(call);
        let put = trials.put(b"two", "up").is_ok();
        let found = text(open(files.survivors(Cut::Drop)).start());
        assert!(["one", "two start 1"].contains(&&*found), "call {call}: {found}");
        assert!(!put || found == "two start 1");
    }
}

#[test]
fn a_proof_needs_progress_and_a_receipt_and_has_its_limit() {
    let second = 1_000_000_000;
    let settings = ConfigSlots { trial_s: 100, progress_s: 10, ..ConfigSlots::default() };
    let mut proof = Proof::begin(&settings, 0);
    proof.progress(true, second);
    assert_eq!((proof.judge(20 * second), proof.timeout()), (None, 100 * second));
    proof.receipted();
    assert_eq!(proof.timeout(), 11 * second);
    assert_eq!(proof.judge(10 * second), None);
    assert_eq!(proof.judge(11 * second), Some(Ok(())));
    proof.progress(false, 12 * second);
    proof.progress(true, 95 * second);
    assert_eq!(proof.judge(99 * second), None);
    let failed = proof.judge(100 * second).unwrap().unwrap_err();
    assert!(failed.contains("writing"), "{failed}");
    let mut silent = Proof::begin(&settings, 0);
    silent.progress(true, 0);
    let failed = silent.judge(100 * second).unwrap().unwrap_err();
    assert!(failed.contains("no receipt"), "{failed}");
}
