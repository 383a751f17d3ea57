//! Many pools and a long queue: what a decision may not grow with.

use super::*;

const POOLS: usize = 100;

fn many() -> Router {
    let pools = (0..POOLS).map(|number| {
        let mut spec = PoolSpec::new(&format!("pool-{number}"), &[TASK]);
        spec.export = (0..8).map(|licence| licence.to_string()).collect();
        spec
    });
    router(pools.collect())
}

/// Work of eight lanes.
fn lane_work(number: usize) -> Work {
    let mut work = work(&format!("k{number}"), (number % 3) as u8, 1000.0 + number as f64);
    work.handling.export.insert((number % 8).to_string());
    work
}

fn full(router: &Router) -> Vec<usize> {
    router.full.without(&PoolSet::default()).collect()
}

#[test]
fn a_decision_looks_at_no_pool_that_is_full() {
    let mut router = many();
    (0..1000).for_each(|number| router.submit(lane_work(number), at(0.0)));
    let drained = drain(&mut router, at(0.0));
    assert!(drained.asked.len() >= POOLS && router.lanes.iter().all(|lane| lane.len() > 0));
    let looked_at = |router: &Router| -> Vec<usize> {
        router.lanes.iter().map(|lane| router.candidates(lane).count()).collect()
    };
    assert_eq!(looked_at(&router), [0; 8]);
    let (pool, _, ask) = drained.asked[0].clone();
    router.answered(ask, answer(0.1), at(1.0));
    assert_eq!(looked_at(&router), [1; 8]);
    assert_eq!(drain(&mut router, at(1.0)).asked.len(), 1, "its slot is taken again");
    assert_eq!(looked_at(&router), [0; 8]);
    // One that is gone has something to say: why nothing goes there, and until when.
    let (_, _, ask) = drained.asked.iter().find(|row| row.0 != pool).unwrap().clone();
    router.answered(ask, Err(PoolError::unavailable("gone")), at(2.0));
    assert_eq!(looked_at(&router), [1; 8]);
}

#[test]
fn a_job_s_own_budget_is_held_against_pools_that_are_full_too() {
    let mut dear = pool("a");
    dear.price.request = 1000.0;
    let mut router = router(vec![dear]);
    (0..50).for_each(|number| router.submit(work(&format!("k{number}"), 1, 60.0), at(0.0)));
    drain(&mut router, at(0.0));
    assert_eq!(full(&router), [0]);
    states(&mut router);
    router.submit(Work { budget: Some(Cost(1)), ..work("poor", 0, 60.0) }, at(1.0));
    drain(&mut router, at(1.0));
    let told = states(&mut router);
    assert!(told.contains(&("poor".to_owned(), JobState::Waiting)), "{told:?}");
}

#[test]
fn full_pools_are_known_whatever_happens() {
    let mut router = many();
    let (mut asked, mut dice) = (Vec::new(), 1u64);
    for step in 0..6000 {
        let now = at(step as f64 * 0.05);
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        router.submit(lane_work(step), now);
        let drained = drain(&mut router, now);
        asked.extend(drained.asked.iter().map(|row| row.2));
        asked.retain(|ask| !drained.cancelled.contains(ask));
        if !asked.is_empty() && step > 300 {
            let ask = asked.swap_remove((dice >> 33) as usize % asked.len());
            let result = match (dice >> 20) % 12 {
                0 => Err(PoolError::unavailable("gone")),
                1 => Err(PoolError::overloaded("busy", None)),
                2 => Err(PoolError::failed("boom")),
                3 => Err(PoolError::auth("who?")),
                _ => answer(0.1),
            };
            router.answered(ask, result, now);
        }
        let is_full = |at: &usize| router.pools[*at].is_full();
        assert_eq!(full(&router), (0..POOLS).filter(is_full).collect::<Vec<_>>(), "{step}");
    }
}

#[test]
fn deadlines_that_pass_together_are_ended_a_few_a_poll_and_nothing_is_asked_too_late() {
    let mut router = many();
    (0..2000).for_each(|number| router.submit(lane_work(number), at(0.0)));
    let asked = drain(&mut router, at(0.0)).asked.len();
    // The machine slept.
    let late = at(1e6);
    let first = router.poll(late);
    assert_eq!(router.open_jobs(), 2000);
    assert!(router.records.len() + router.out.len() < ENDED_AT_ONCE_MAX * 2);
    let mut drained = drain(&mut router, late);
    drained.cancelled.extend(first.map(|action| match action {
        Action::Cancel { ask } => ask,
        other => panic!("{other:?}"),
    }));
    assert_eq!((drained.asked.len(), drained.cancelled.len()), (0, asked));
    assert_eq!((drained.outcomes().len(), router.open_jobs()), (2000, 0));
}
