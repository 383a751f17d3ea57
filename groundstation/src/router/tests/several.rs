//! Several pools for one job, to help, to compare or to save money.

use super::*;

#[test]
fn a_slow_first_is_helped_by_a_second_and_the_loser_is_given_up() {
    let mut router =
        with(vec![pool("a"), pool("b")], Settings { hedge: true, ..Settings::default() });
    let mut now = 0.0;
    for number in 0..300 {
        router.submit(work(&format!("k{number:03}"), 1, 60.0), at(now));
        let drained = drain(&mut router, at(now));
        now += 0.1;
        router.answered(drained.asked[0].2, answer(0.1), at(now));
        drain(&mut router, at(now));
    }
    router.submit(work("slow", 1, 60.0), at(now));
    let first = drain(&mut router, at(now)).asked[0].clone();
    let second = drain(&mut router, at(now + 1.0)).asked[0].clone();
    assert_ne!(first.0, second.0);
    router.answered(second.2, answer(0.2), at(now + 1.1));
    let drained = drain(&mut router, at(now + 1.1));
    assert_eq!((drained.outcomes().len(), drained.cancelled), (1, vec![first.2]));
    router.answered(first.2, answer(0.9), at(now + 2.0));
    assert!(drain(&mut router, at(now + 2.0)).log.is_empty(), "the late one changes nothing");
}

#[test]
fn a_shadow_is_compared_and_never_counts() {
    let mut shadow = pool("shadow");
    shadow.role = Role::Shadow(1.0);
    let mut router = router(vec![shadow, pool("main")]);
    for (number, seen) in [(0, 0.5), (1, 0.9)] {
        let key = format!("k{number}");
        router.submit(work(&key, 1, 60.0), at(0.0));
        let drained = drain(&mut router, at(0.0));
        let of = |pool| drained.asked.iter().find(|row| row.0 == pool).unwrap().2;
        router.answered(of(0), answer(seen), at(1.0));
        router.answered(of(1), answer(0.5), at(1.0));
        let drained = drain(&mut router, at(1.0));
        let outcome = drained.outcomes();
        assert_eq!((outcome[0].pool.as_str(), outcome[0].result.as_str()), ("main", "cloud 50 %"));
    }
    let view = router.view(at(2.0));
    let compared = view.pools[0].compared.clone().unwrap();
    assert_eq!((compared.pairs, compared.same, compared.incomparable), (2, 1, 0));
    assert!((compared.apart_max - 0.4).abs() < 1e-6);
    assert_eq!(view.pools[1].compared, None);
}

#[test]
fn a_shadow_that_was_away_is_compared_once_it_is_back() {
    let mut shadow = pool("shadow");
    shadow.role = Role::Shadow(1.0);
    let mut router = router(vec![shadow, pool("main")]);
    let mut asked = Vec::new();
    for number in 0..6 {
        let now = at(f64::from(number) * 10.0);
        router.submit(work(&format!("k{number}"), 1, 60.0), now);
        let drained = drain(&mut router, now);
        asked.push(drained.asked.iter().any(|row| row.0 == 0));
        for (pool, _, ask) in &drained.asked {
            let is_away = *pool == 0 && number < 2;
            let result = if is_away { Err(PoolError::unavailable("gone")) } else { answer(0.5) };
            router.answered(*ask, result, now);
        }
        drain(&mut router, now);
    }
    assert_eq!(asked, [true; 6]);
    let view = router.view(at(60.0));
    assert_eq!(view.pools[0].compared.clone().unwrap().pairs, 4, "{view:?}");
    assert!(view.pools[0].shut.is_empty(), "{view:?}");
}

#[test]
fn a_canary_gets_its_share_and_is_compared() {
    let mut canary = pool("canary");
    canary.role = Role::Canary(0.2);
    let mut router = router(vec![canary, pool("main")]);
    let mut counted = 0;
    for number in 0..500 {
        let now = at(f64::from(number));
        router.submit(work(&format!("k{number}"), 1, 60.0), now);
        let drained = drain(&mut router, now);
        for (_, _, ask) in &drained.asked {
            router.answered(*ask, answer(0.5), now);
        }
        let drained = drain(&mut router, now);
        counted += drained.outcomes().iter().filter(|line| line.pool == "canary").count();
    }
    assert!((60..=140).contains(&counted), "{counted} of 500");
    let compared = router.view(at(500.0)).pools[0].compared.clone().unwrap();
    assert_eq!((compared.pairs, compared.same), (counted as u64, counted as u64));
}

#[test]
fn the_cheaper_goes_first_and_a_spent_budget_stops_it() {
    let mut dear = pool("dear");
    dear.price.request = 1e6;
    dear.budget_day = Some(Cost(2_500_000));
    let mut router = router(vec![dear.clone(), pool("free")]);
    router.submit(work("k", 1, 60.0), at(0.0));
    assert_eq!(drain(&mut router, at(0.0)).keys(), [(1, "k")]);
    let mut alone = self::router(vec![dear]);
    let mut done = 0;
    for number in 0..5 {
        let now = at(f64::from(number) * 10.0);
        alone.submit(work(&format!("k{number}"), 1, 1000.0), now);
        let drained = drain(&mut alone, now);
        for (_, _, ask) in &drained.asked {
            alone.answered(*ask, answer(0.1), now);
            done += 1;
        }
        drain(&mut alone, now);
    }
    assert_eq!(done, 2, "a third would go over");
    let drained = drain(&mut alone, at(2000.0));
    let result = &drained.outcomes()[0].result;
    assert!(
        result.contains("less than a question takes, about 1.000000: 2.000000 of 2.500000"),
        "{result}"
    );
    assert_eq!(alone.view(at(2000.0)).today.spent, Cost(2_000_000));
    // A new day, new money.
    alone.submit(work("next", 1, 60.0), at(100_000.0));
    assert_eq!(drain(&mut alone, at(100_000.0)).asked.len(), 1);
}

/// A cheap pool of one slot that takes two seconds, and a dear one that takes half of one.
fn cheap_and_dear() -> Router {
    let timed = |name: &str, price: f64, seconds: f64| {
        let mut pool = pool(name);
        pool.price.request = price;
        pool.expected = Duration::from_secs_f64(seconds);
        pool.concurrency = (1, 1);
        pool
    };
    router(vec![timed("cheap", 1e3, 2.0), timed("dear", 50e3, 0.5)])
}

#[test]
fn a_full_pool_that_is_cheaper_is_waited_for_as_long_as_that_is_worth() {
    let mut router = cheap_and_dear();
    router.submit(work("a", 1, 600.0), at(0.0));
    let first = drain(&mut router, at(0.0));
    assert_eq!(first.keys(), [(0, "a")]);
    // The dear one costs five seconds more, the cheap one is free in two.
    router.submit(work("b", 1, 600.0), at(0.1));
    assert!(drain(&mut router, at(0.1)).asked.is_empty(), "b waits");
    router.answered(first.asked[0].2, answer(0.1), at(1.9));
    let second = drain(&mut router, at(1.9));
    assert_eq!(second.keys(), [(0, "b")]);
    // It hangs, and says nothing: who waits goes to the dear one, long before the deadline.
    router.submit(work("c", 1, 600.0), at(2.0));
    let mut now = at(2.0);
    let went = loop {
        let drained = drain(&mut router, now);
        if !drained.asked.is_empty() {
            break drained;
        }
        now = router.next_timeout(now).unwrap();
    };
    assert_eq!(went.keys(), [(1, "c")]);
    assert!(now > at(2.0) && now < at(8.0), "{now:?}");
    // And nobody waits who might come too late.
    let mut router = cheap_and_dear();
    router.submit(work("a", 1, 600.0), at(0.0));
    assert_eq!(drain(&mut router, at(0.0)).keys(), [(0, "a")]);
    router.submit(work("b", 1, 3.0), at(0.0));
    assert_eq!(drain(&mut router, at(0.0)).keys(), [(1, "b")]);
}

/// Good answers by pool in an hour, where the cheap pool fails for its first ten minutes.
fn after_trouble(error: fn(&str) -> PoolError) -> [u32; 2] {
    let mut router = cheap_and_dear();
    let mut by_pool = [0, 0];
    for second in 0..3_600u32 {
        let now = at(f64::from(second));
        router.submit(work(&format!("k{second}"), 1, 600.0), now);
        let mut drained = drain(&mut router, now);
        while let Some((pool, _, ask)) = drained.asked.pop() {
            let gone = pool == 0 && second < 600;
            by_pool[pool] += u32::from(!gone);
            let said = Err(error("gone"));
            router.answered(ask, if gone { said } else { answer(0.1) }, now.plus(SECOND / 2));
            drained.asked.extend(drain(&mut router, now.plus(SECOND / 2)).asked);
        }
    }
    by_pool
}

#[test]
fn a_cheap_pool_is_asked_again_after_its_trouble_though_a_dear_one_answers() {
    let away = after_trouble(|said| PoolError::unavailable(said));
    assert!((550..700).contains(&away[1]), "the dear one while the cheap one is away: {away:?}");
    assert!(away[0] > 2_900, "and the cheap one as soon as it is back: {away:?}");
    let bad = after_trouble(|said| PoolError::failed(said));
    assert!((550..3_000).contains(&bad[1]), "{bad:?}");
    assert!(bad[0] > 600, "a bad name is forgotten with time: {bad:?}");
}

#[test]
fn a_job_s_own_budget_keeps_dear_pools_out() {
    let mut dear = pool("dear");
    dear.price.request = 1e6;
    let mut router = router(vec![dear]);
    router.submit(Work { budget: Some(Cost(10)), ..work("k", 1, 5.0) }, at(0.0));
    assert!(drain(&mut router, at(0.0)).asked.is_empty());
    let result = drain(&mut router, at(5.0)).outcomes()[0].result.clone();
    assert!(result.contains("above the job's budget"), "{result}");
}

/// Energy is weighed like money, drawn or stated, and is worth a wait.
#[test]
fn a_pool_that_takes_much_energy_is_spared_where_a_joule_is_worth_something() {
    let of = |name: &str, watts: Option<f64>| {
        let mut spec = pool(name);
        (spec.concurrency, spec.watts, spec.expected) = ((1, 1), watts, Duration::from_secs(1));
        spec
    };
    let settings = || Settings { joule_s: 1.0, hold_back: 0.0, ..Settings::default() };
    let mut router = with(vec![of("thirsty", Some(1e6)), of("frugal", Some(1.0))], settings());
    router.submit(work("first", 1, 60.0), at(0.0));
    router.submit(work("second", 1, 60.0), at(0.0));
    assert_eq!(drain(&mut router, at(0.0)).keys(), [(1, "first")], "the second waits for it too");
    // What answers state is believed from then on.
    let mut router = with(vec![of("a", None), of("b", None)], settings());
    let states = |joules| {
        let usage = Usage { energy_j: Some(joules), ..Usage::default() };
        answer(0.4).map(|answer| Response { usage, ..answer })
    };
    router.submit(work("first", 1, 60.0), at(0.0));
    router.submit(work("second", 1, 60.0), at(0.0));
    for (at_pool, _, ask) in drain(&mut router, at(0.0)).asked {
        router.answered(ask, states(if at_pool == 0 { 1e6 } else { 1.0 }), at(1.0));
    }
    drain(&mut router, at(1.0));
    router.submit(work("third", 1, 60.0), at(2.0));
    assert_eq!(drain(&mut router, at(2.0)).keys(), [(1, "third")]);
}
