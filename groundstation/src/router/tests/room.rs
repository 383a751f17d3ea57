//! Memory that answers may take.

use super::*;
use crate::pool::request::Answers;

/// Room of an answer to one job.
fn one() -> u64 {
    let contracts = Settings::default().contracts;
    let contract = contracts.of(TASK).unwrap();
    Answers::Json.room(contract.outputs_elements(1))
}

fn with_room(answer_bytes: u64) -> Router {
    let mut spec = pool("a");
    spec.concurrency = (8, 8);
    with(vec![spec], Settings { hold_back: 0.0, answer_bytes, ..Settings::default() })
}

#[test]
fn no_question_is_asked_whose_answer_might_find_no_room() {
    let mut router = with_room(4 * one());
    for number in 0..5 {
        router.submit(work(&format!("n{number}"), 1, 60.0 + f64::from(number)), at(0.0));
    }
    let asked = drain(&mut router, at(0.0)).asked;
    assert_eq!(asked.len(), 4, "of eight slots");
    router.submit(work("urgent", 0, 60.0), at(1.0));
    assert_eq!(drain(&mut router, at(1.0)).asked.len(), 0);
    router.answered(asked[0].2, answer(0.4), at(2.0));
    let next = drain(&mut router, at(2.0));
    assert_eq!(next.keys(), [(0, "urgent")], "who is most urgent has the room that is given back");
    router.answered(next.asked[0].2, Err(PoolError::failed("no")), at(3.0));
    assert_eq!(drain(&mut router, at(3.0)).asked.len(), 1, "an error gives it back too");
}

#[test]
fn an_answer_larger_than_all_room_goes_alone() {
    let mut router = with_room(1);
    for number in 0..2 {
        router.submit(work(&format!("n{number}"), 1, 60.0 + f64::from(number)), at(0.0));
    }
    let first = drain(&mut router, at(0.0));
    assert_eq!(first.keys(), [(0, "n0")]);
    router.answered(first.asked[0].2, answer(0.4), at(1.0));
    assert_eq!(drain(&mut router, at(1.0)).keys(), [(0, "n1")]);
}

#[test]
fn who_waited_for_room_until_the_deadline_is_told() {
    let mut router = with_room(1);
    router.submit(work("long", 1, 600.0), at(0.0));
    assert_eq!(drain(&mut router, at(0.0)).keys(), [(0, "long")]);
    router.submit(work("short", 1, 30.0), at(0.0));
    assert_eq!(drain(&mut router, at(0.0)).asked.len(), 0);
    let ended = drain(&mut router, at(31.0));
    let results: Vec<_> = ended.outcomes().iter().map(|line| line.result.clone()).collect();
    assert!(matches!(&results[..], [why] if why.contains("routing.answer_bytes")), "{results:?}");
}

/// A pool that takes all room for large answers, and more work of its kind that waits, stop no
/// small answer.
#[test]
fn who_waits_with_a_large_answer_keeps_nobody_from_small_ones() {
    let mut large = pool("large");
    (large.concurrency, large.answers) = ((8, 8), Answers::Words);
    let mut small = pool("small");
    small.concurrency = (2, 2);
    small.tasks = vec![TASK.to_owned()];
    large.tasks = vec!["pass-report/1".to_owned()];
    let room = Answers::Words.room(None);
    let settings = Settings { answer_bytes: 2 * room, hold_back: 0.0, ..Settings::default() };
    let mut router = with(vec![large, small], settings);
    let report = |key: &str| Work {
        task: "pass-report/1".into(),
        input: Input::Document(Document::default()),
        ..work(key, 0, 60.0)
    };
    router.submit(report("first"), at(0.0));
    router.submit(report("second"), at(0.0));
    assert_eq!(drain(&mut router, at(0.0)).keys(), [(0, "first")]);
    for number in 0..3 {
        router.submit(work(&format!("n{number}"), 1, 60.0 + f64::from(number)), at(1.0));
    }
    let asked = drain(&mut router, at(1.0));
    assert_eq!(asked.keys(), [(1, "n0"), (1, "n1")]);
    router.answered(asked.asked[0].2, answer(0.4), at(2.0));
    assert_eq!(drain(&mut router, at(2.0)).keys(), [(1, "n2")], "and go on to be asked");
}
