//! What a restart finds: money that unfinished work took, and work that nobody asks for any more.

use super::*;

fn priced(request: f64) -> PoolSpec {
    let mut pool = pool("dear");
    pool.price.request = request * 1e6;
    pool.budget_day = Some(Cost(3_000_000));
    pool
}

#[test]
fn a_bad_answer_has_its_price_and_a_refusal_has_none() {
    for (error, cost) in [
        (PoolError::contract("out of range"), 1_000_000),
        (PoolError::deadline(), 1_000_000),
        (PoolError::failed("500"), 0),
        (PoolError::bad_request("400"), 0),
        (PoolError::overloaded("429", None), 0),
    ] {
        let mut router = router(vec![priced(1.0)]);
        router.submit(work("k", 1, 60.0), at(0.0));
        let ask = drain(&mut router, at(0.0)).asked[0].2;
        router.answered(ask, Err(error.clone()), at(1.0));
        assert_eq!(router.view(at(1.0)).today.spent, Cost(cost), "{error}");
    }
}

#[test]
fn an_answer_by_the_token_that_states_none_costs_what_was_expected() {
    let mut pool = pool("dear");
    (pool.price.token_in, pool.price.token_out) = (1.0, 1.0);
    let mut router = router(vec![pool]);
    router.submit(work("k", 1, 60.0), at(0.0));
    let ask = drain(&mut router, at(0.0)).asked[0].2;
    router.answered(ask, answer(0.5), at(1.0));
    assert_eq!(router.view(at(1.0)).today.spent, Cost(4_096), "four bytes of the tile a token");
}

#[test]
fn what_unfinished_work_took_counts_after_every_restart() {
    let mut log: Vec<Line> = Vec::new();
    let mut asked = 0;
    for start in 0..6 {
        // On one day by UTC, which does not begin where TAI does.
        let now = at(1_000.0 + f64::from(start) * 100.0);
        let settings = Settings::default;
        let mut router = Router::new(vec![priced(1.0)], settings(), log.clone(), now);
        router.submit(work("k", 1, 9_000.0), now);
        let drained = drain(&mut router, now);
        log.extend(drained.log);
        for (_, _, ask) in &drained.asked {
            asked += 1;
            router.answered(*ask, Err(PoolError::contract("out of range")), now.plus(1));
            log.extend(drain(&mut router, now.plus(2)).log);
        }
        let spent = router.view(now.plus(2)).today.spent;
        assert_eq!(spent, Cost(asked.min(3) * 1_000_000), "start {start}");
    }
    assert_eq!(asked, 3, "the day's budget stops it over all starts");
    // The outcome has all of it, and the sum is no larger for that.
    let mut last = Router::new(vec![priced(1.0)], Settings::default(), log.clone(), at(10_001.0));
    last.submit(work("k", 1, 10_000.0), at(10_001.0));
    let drained = drain(&mut last, at(10_001.0));
    assert_eq!(drained.outcomes()[0].cost, Cost(3_000_000));
    log.extend(drained.log);
    let again = Router::new(vec![priced(1.0)], Settings::default(), log, at(10_002.0));
    let view = again.view(at(10_002.0));
    assert_eq!((view.today.spent, view.accounts.mission.cost), (Cost(3_000_000), Cost(3_000_000)));
}

#[test]
fn work_that_no_rule_asks_for_any_more_ends_once_over_restarts() {
    let mut first = router(vec![]);
    first.submit(work("gone", 1, 60.0), at(0.0));
    first.submit(work("asked", 1, 60.0), at(0.0));
    let mut log = drain(&mut first, at(0.0)).log;
    let mut again = Router::new(vec![], Settings::default(), log.clone(), at(100.0));
    again.submit(work("asked", 1, 60.0), at(100.0));
    log.extend(drain(&mut again, at(100.0)).log);
    assert_eq!(again.next_timeout(at(100.0)), Some(at(160.0)), "the archive is read meanwhile");
    let drained = drain(&mut again, at(160.0));
    let outcome = drained.outcomes();
    assert_eq!(
        (outcome.len(), outcome[0].key.as_str(), outcome[0].state),
        (1, "gone", State::Failed)
    );
    assert!(outcome[0].result.contains("no rule asks for it"), "{}", outcome[0].result);
    let told = states(&mut again);
    assert!(told.contains(&("gone".to_owned(), JobState::Failed)), "{told:?}");
    log.extend(drained.log);
    let mut last = Router::new(vec![], Settings::default(), log, at(1_000.0));
    assert!(drain(&mut last, at(2_000.0)).log.is_empty());
    assert_eq!(last.next_timeout(at(2_000.0)), None);
    assert_eq!(last.view(at(2_000.0)).accounts.mission.failed, 2);
}

#[test]
fn an_end_that_the_disk_did_not_take_is_written_later() {
    let mut first = router(vec![]);
    first.submit(work("gone", 1, 60.0), at(0.0));
    let log = drain(&mut first, at(0.0)).log;
    let mut again = Router::new(vec![], Settings::default(), log, at(100.0));
    let Some(Action::Write { key, .. }) = again.poll(at(160.0)) else { panic!("not written") };
    again.written(&key, false, at(160.0));
    let retried = again.next_timeout(at(160.0)).unwrap();
    assert_eq!(drain(&mut again, retried).outcomes().len(), 1);
}

#[test]
fn work_that_only_canaries_take_says_so() {
    let mut shadow = pool("shadow");
    shadow.role = Role::Shadow(1.0);
    let mut router = router(vec![shadow]);
    router.submit(work("k", 1, 5.0), at(0.0));
    drain(&mut router, at(1.0));
    let drained = drain(&mut router, at(5.0));
    assert!(drained.outcomes()[0].result.contains("only canaries and shadows take it"));
}

fn metadata() -> ModelMetadata {
    let port = |name: &str, datatype: &str, shape: &[i64]| PortMetadata {
        name: name.into(),
        datatype: datatype.into(),
        shape: shape.into(),
    };
    ModelMetadata {
        name: "screen".into(),
        versions: vec![],
        inputs: vec![port("tile", "UINT8", &[-1, 4, 64, 64])],
        outputs: vec![port("mask", "FP32", &[-1, 1, 16, 16]), port("fraction", "FP32", &[-1, 1])],
    }
}

#[test]
fn a_server_that_describes_its_model_and_serves_none_is_asked_ever_more_seldom() {
    let mut router = router(vec![PoolSpec::new("lazy", &[TASK])]);
    router.submit(work("k", 1, 120.0), at(0.0));
    let (mut now, mut asked) = (at(0.0), 0);
    while now < at(60.0) {
        while let Some(action) = router.poll(now) {
            match action {
                Action::Describe { pool, task } => {
                    router.described(pool, &task, Ok(Some(metadata())), now);
                }
                Action::Ask { ask, .. } => {
                    asked += 1;
                    router.answered(ask, Err(PoolError::unavailable("503")), now);
                }
                _ => {}
            }
        }
        now = router.next_timeout(now).unwrap();
    }
    assert!((12..=25).contains(&asked), "{asked} questions in a minute");
}

#[test]
fn a_pool_whose_model_is_accepted_is_there() {
    let mut router = router(vec![pool("late")]);
    let mut now = at(0.0);
    let mut answers = 0;
    while let Some(Action::Describe { pool, task }) = router.poll(now) {
        answers += 1;
        let words = task != TASK;
        let told = match answers {
            1 | 2 => Err(PoolError::unavailable("starting")),
            _ if words => Ok(None),
            _ => Ok(Some(metadata())),
        };
        router.described(pool, &task, told, now);
        now = router.next_timeout(now).unwrap_or(now).max(now);
    }
    let shut = &router.view(now).pools[0].shut;
    assert!(shut.is_empty(), "nobody has to ask for work first: {shut:?}");
}
