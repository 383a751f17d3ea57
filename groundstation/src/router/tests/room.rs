//! Memory that answers may take.

use super::*;
use crate::pool::request::answer_room;

/// Room of an answer to one job.
fn one() -> u64 {
    let contracts = Settings::default().contracts;
    let contract = contracts.of(TASK).unwrap();
    answer_room(false, contract.outputs_elements(1))
}

fn with_room(answer_bytes: u64) -> Router {
    let mut spec = pool("a");
    spec.concurrency = (8, 8);
    with(vec![spec], Settings { hold_back: 0.0, answer_bytes, ..Settings::default() })
}

#[test]
fn no_question_is_asked_whose_answer_might_find_no_room() {
    let mut router = with_room(2 * one() + one() / 2);
    for number in 0..5 {
        router.submit(work(&format!("n{number}"), 1, 60.0 + f64::from(number)), at(0.0));
    }
    let asked = drain(&mut router, at(0.0)).asked;
    assert_eq!(asked.len(), 2, "of eight slots");
    router.submit(work("urgent", 0, 60.0), at(1.0));
    assert_eq!(drain(&mut router, at(1.0)).asked.len(), 0);
    router.answered(asked[0].2, answer(0.4), at(2.0));
    let next = drain(&mut router, at(2.0));
    assert_eq!(next.keys(), [(0, "urgent")], "who is most urgent has the room that is given back");
    router.answered(next.asked[0].2, Err(PoolError::failed("no")), at(3.0));
    router.answered(asked[1].2, answer(0.4), at(3.0));
    assert_eq!(drain(&mut router, at(3.0)).asked.len(), 2, "an error gives it back too");
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
