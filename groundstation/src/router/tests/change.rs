//! Pools that come and go.

use super::*;

#[test]
fn work_waits_for_a_pool_to_come_up_and_goes_there_once_it_does() {
    let mut router = router(vec![]);
    router.submit(work("k", 1, 60.0), at(0.0));
    assert!(drain(&mut router, at(0.0)).asked.is_empty());
    let a = router.join(pool("gpu@a"), at(1.0)).unwrap();
    let drained = drain(&mut router, at(1.0));
    assert_eq!(drained.keys(), [(a, "k")]);
    router.answered(drained.asked[0].2, answer(0.5), at(1.1));
    let done = drain(&mut router, at(1.1));
    assert_eq!(
        (done.outcomes()[0].state, done.outcomes()[0].pool.as_str()),
        (State::Done, "gpu@a")
    );
}

#[test]
fn a_pool_that_goes_gets_nothing_new_and_may_still_answer() {
    let mut router = router(vec![pool("a")]);
    let b = router.join(pool("gpu@b"), at(0.0)).unwrap();
    drain(&mut router, at(0.0));
    router.leave(0, at(0.0));
    router.submit(work("1", 1, 60.0), at(0.0));
    let first = drain(&mut router, at(0.0));
    assert_eq!(first.keys(), [(b, "1")]);
    router.leave(b, at(0.0));
    // Its number is not given away while a question is on its way there.
    let c = router.join(pool("gpu@c"), at(0.1)).unwrap();
    assert_eq!(c, 0, "the number of one that has nothing on its way");
    router.submit(work("2", 1, 60.0), at(0.1));
    let second = drain(&mut router, at(0.1));
    assert_eq!(second.keys(), [(c, "2")]);
    let names: Vec<_> = router.view(at(0.1)).pools.into_iter().map(|pool| pool.name).collect();
    assert_eq!(names, ["gpu@c"]);
    router.answered(first.asked[0].2, answer(0.5), at(0.2));
    let done = drain(&mut router, at(0.2));
    assert_eq!(done.outcomes()[0].pool, "gpu@b");
    assert_eq!(router.join(pool("gpu@d"), at(0.3)), Some(b));
}

#[test]
fn jobs_in_the_queue_say_that_their_pool_went_and_end_with_their_deadline() {
    let mut router = router(vec![pool("a")]);
    drain(&mut router, at(0.0));
    router.leave(0, at(0.0));
    router.submit(work("k", 1, 60.0), at(0.0));
    assert!(drain(&mut router, at(0.0)).asked.is_empty());
    router.take_events();
    let drained = drain(&mut router, at(61.0));
    let line = &drained.outcomes()[0];
    assert_eq!(line.state, State::Failed);
    assert!(line.result.contains("no pool takes"), "{}", line.result);
}

#[test]
fn who_comes_back_keeps_what_was_spent_on_it_today() {
    let spec = || {
        let mut spec = pool("gpu@a");
        spec.price.request = 600_000.0;
        spec.budget_day = Some(Cost::from_units(1.0));
        spec
    };
    let mut earlier = Line::new("0", TASK, State::Done, at(0.0));
    (earlier.pool, earlier.cost) = ("gpu@old".into(), Cost::from_units(0.6));
    let mut router = Router::new(vec![], Settings::default(), [earlier], at(0.0));
    let a = router.join(spec(), at(0.0)).unwrap();
    router.submit(work("1", 1, 60.0), at(0.0));
    let asked = drain(&mut router, at(0.0)).asked;
    router.answered(asked[0].2, answer(0.5), at(0.1));
    drain(&mut router, at(0.1));
    router.leave(a, at(0.1));
    // Another takes its number in between.
    let other = router.join(pool("gpu@b"), at(0.2)).unwrap();
    assert_eq!(other, a);
    router.leave(other, at(0.2));
    router.join(spec(), at(0.2)).unwrap();
    router.submit(work("2", 1, 60.0), at(0.2));
    assert!(drain(&mut router, at(0.2)).asked.is_empty(), "0.6 of 1.0 is spent");
    // The log of earlier runs says it, too.
    let mut old = spec();
    old.name = "gpu@old".into();
    router.join(old, at(0.3)).unwrap();
    assert!(drain(&mut router, at(0.3)).asked.is_empty(), "0.6 of 1.0 is spent");
}

#[test]
fn pools_that_come_and_go_never_take_more_numbers_than_are_there_at_once() {
    let mut router = router(vec![]);
    for turn in 0..5_000 {
        let a = router.join(pool(&format!("gpu@{turn}")), at(0.0)).unwrap();
        router.leave(a, at(0.1));
    }
    assert_eq!(router.join(pool("last"), at(0.0)), Some(0));
    assert_eq!(router.view(at(0.0)).pools.len(), 1);
}
