//! What left the log is not done again.

use super::past::{Digest, Past};
use super::*;

fn decided(key: &str, seconds: f64) -> Line {
    Line::new(key, TASK, State::Done, at(seconds))
}

#[test]
fn work_whose_outcome_left_the_log_is_not_done_again_when_the_archive_asks() {
    let mut accounts = view::Accounts::default();
    accounts.add(&decided("old", 1.0));
    let past = Past::new(&[Digest::of("old")], 1, accounts);
    let router = Router::new(vec![pool("a")], Settings::default(), [], at(9.0));
    let mut router = router.with_past(&[past]);
    router.submit(work("old", 1, 60.0), at(9.0));
    router.submit(work("new", 1, 60.0), at(9.0));
    let drained = drain(&mut router, at(9.0));
    assert_eq!(drained.keys(), [(0, "new")]);
    assert_eq!(router.view(at(9.0)).accounts.mission.done, 1, "its sums stay");
}

#[test]
fn outcomes_that_leave_while_running_are_known_by_their_keys() {
    let log = [decided("first", 1.0), decided("second", 5.0)];
    let mut router = Router::new(vec![pool("a")], Settings::default(), log, at(9.0));
    router.retire(at(3.0));
    for key in ["first", "second"] {
        router.submit(work(key, 1, 60.0), at(9.0));
    }
    assert!(drain(&mut router, at(9.0)).asked.is_empty());
    let told: Vec<String> = states(&mut router).into_iter().map(|row| row.0).collect();
    assert_eq!(told, ["second"], "of the first nothing is left to be told");
}
