use super::*;
use crate::pool::{Output, Usage};
use codecs::tensor::{DType, Tensor};

const SECOND: i64 = 1_000_000_000;

fn pool(name: &str) -> PoolInfo {
    PoolInfo { name: name.into(), kind: "test", tasks: vec!["cloud-mask/1".into()] }
}

fn work(key: &str, priority: u8, deadline_s: f64) -> Work {
    let tile = Tensor::new("tile", DType::U8, vec![1, 4, 64, 64], vec![0; 16_384].into());
    Work {
        key: key.into(),
        task: "cloud-mask/1".into(),
        inputs: vec![tile.unwrap()],
        deadline_s,
        priority,
    }
}

fn answer(fraction: f32) -> Result<Response, PoolError> {
    let mask = Tensor::from_f32("mask", vec![1, 1, 16, 16], &[fraction; 256]).unwrap();
    let fraction = Tensor::from_f32("fraction", vec![1, 1], &[fraction]).unwrap();
    let output = Output::Tensors(vec![mask, fraction]);
    Ok(Response { model: "cloud-screen 1".into(), output, usage: Usage::default() })
}

fn at(seconds: f64) -> Tai {
    Tai((seconds * SECOND as f64) as i64)
}

/// Polls until nothing is left; writes succeed. Gives what is asked and what was logged.
fn drain(dispatch: &mut Dispatch, now: Tai) -> (Vec<(usize, String)>, Vec<Line>) {
    let (mut asked, mut log) = (vec![], vec![]);
    while let Some(action) = dispatch.poll(now) {
        match action {
            Action::Ask { pool, request } => asked.push((pool, request.idempotency_key)),
            Action::Write { key, line, .. } => {
                log.push(line);
                dispatch.written(&key, true, now);
            }
        }
    }
    (asked, log)
}

fn states(dispatch: &mut Dispatch) -> Vec<(String, JobState)> {
    let plain = |event| match event {
        Event::Job { id, state, .. } => (id, state),
        other => panic!("{other:?}"),
    };
    dispatch.take_events().into_iter().map(plain).collect()
}

#[test]
fn one_job_has_one_outcome_however_often_it_is_asked_for() {
    let mut dispatch = Dispatch::new(vec![pool("a")], []);
    dispatch.submit(work("k", 1, 60.0), at(0.0));
    dispatch.submit(work("k", 1, 60.0), at(0.5));
    let (asked, mut log) = drain(&mut dispatch, at(1.0));
    assert_eq!(asked, [(0, "k".to_owned())]);
    dispatch.answered("k", answer(0.43), at(2.0));
    dispatch.answered("k", answer(0.99), at(2.5));
    let (asked, outcome) = drain(&mut dispatch, at(3.0));
    assert_eq!((asked.len(), outcome.len(), dispatch.open_jobs()), (0, 1, 0));
    assert_eq!(outcome[0].result, "cloud 43 %");
    assert_eq!((outcome[0].queue_ms, outcome[0].run_ms), (1000.0, 1000.0));
    assert_eq!(outcome[0].outputs.len(), 2);
    let told = states(&mut dispatch);
    let wanted = [JobState::Queued, JobState::Running, JobState::Done];
    assert_eq!(told.iter().map(|row| row.1).collect::<Vec<_>>(), wanted);
    log.extend(outcome);
    // After a restart the archive asks again: the outcome is told, nothing is done.
    let mut again = Dispatch::new(vec![pool("a")], log);
    again.submit(work("k", 1, 60.0), at(9.0));
    assert_eq!(drain(&mut again, at(9.0)), (vec![], vec![]));
    assert_eq!(states(&mut again), [("k".to_owned(), JobState::Done)]);
}

#[test]
fn a_restart_before_the_outcome_tries_again_within_the_first_deadline() {
    let mut dispatch = Dispatch::new(vec![pool("a")], []);
    dispatch.submit(work("k", 1, 60.0), at(0.0));
    let (_, log) = drain(&mut dispatch, at(1.0));
    assert_eq!(log[0].state, State::Accepted);
    let mut again = Dispatch::new(vec![pool("a")], log.clone());
    again.submit(work("k", 1, 60.0), at(50.0));
    let Some(Action::Ask { request, .. }) = again.poll(at(50.0)) else { panic!("not asked") };
    assert_eq!(request.time_left, Duration::from_secs(10));
    let mut late = Dispatch::new(vec![pool("a")], log);
    late.submit(work("k", 1, 60.0), at(61.0));
    let (asked, log) = drain(&mut late, at(61.0));
    assert_eq!((asked.len(), log[0].state), (0, State::Failed));
}

#[test]
fn a_pool_that_is_gone_is_waited_for_at_no_cost() {
    let mut dispatch = Dispatch::new(vec![pool("a")], []);
    dispatch.submit(work("k", 1, 60.0), at(0.0));
    let mut now = at(0.0);
    let mut tries = 0;
    while now < at(30.0) {
        for (_, key) in drain(&mut dispatch, now).0 {
            tries += 1;
            dispatch.answered(&key, Err(PoolError::unavailable("killed")), now);
            drain(&mut dispatch, now);
        }
        now = dispatch.next_timeout(now).unwrap();
    }
    assert!((8..=14).contains(&tries), "{tries} tries with growing pauses");
    assert!(states(&mut dispatch).iter().any(|row| row.1 == JobState::Waiting));
    drain(&mut dispatch, now);
    dispatch.answered("k", answer(0.1), now);
    assert_eq!(drain(&mut dispatch, now).1[0].state, State::Done);
}

#[test]
fn nobody_to_ask_ends_with_the_deadline_and_the_reason() {
    let mut dispatch = Dispatch::new(vec![], []);
    dispatch.submit(work("k", 1, 5.0), at(0.0));
    drain(&mut dispatch, at(1.0));
    assert_eq!(dispatch.next_timeout(at(1.0)), Some(at(5.0)));
    let (_, log) = drain(&mut dispatch, at(5.0));
    assert_eq!(log[0].result, "deadline passed: no pool takes cloud-mask/1");
}

#[test]
fn failures_go_to_the_next_pool_and_end() {
    let mut dispatch = Dispatch::new(vec![pool("a"), pool("b")], []);
    dispatch.submit(work("k", 1, 60.0), at(0.0));
    let mut order = vec![];
    for _ in 0..ATTEMPTS_MAX {
        let (asked, _) = drain(&mut dispatch, at(1.0));
        order.push(asked[0].0);
        dispatch.answered("k", Err(PoolError::failed("boom")), at(1.0));
    }
    assert_eq!(order, [0, 1, 0, 1]);
    let (_, log) = drain(&mut dispatch, at(1.0));
    assert_eq!((log[0].state, log[0].result.as_str()), (State::Failed, "boom (4 attempts)"));
}

#[test]
fn retries_are_budgeted() {
    let mut dispatch = Dispatch::new(vec![pool("a")], []);
    let mut asked = 0;
    for number in 0..20 {
        let key = format!("k{number:02}");
        dispatch.submit(work(&key, 1, 60.0), at(0.0));
        while !drain(&mut dispatch, at(0.0)).0.is_empty() {
            asked += 1;
            dispatch.answered(&key, Err(PoolError::failed("boom")), at(0.0));
        }
    }
    assert_eq!(asked, 20 + 10, "ten retries saved up, none earned");
}

#[test]
fn the_urgent_go_first_and_no_pool_is_flooded() {
    let mut dispatch = Dispatch::new(vec![pool("a")], []);
    for (key, priority, deadline) in [("late", 1, 60.0), ("soon", 1, 30.0), ("first", 0, 90.0)] {
        dispatch.submit(work(key, priority, deadline), at(0.0));
    }
    let (asked, _) = drain(&mut dispatch, at(0.0));
    let keys: Vec<_> = asked.into_iter().map(|row| row.1).collect();
    assert_eq!(keys, ["first", "soon"]);
    dispatch.answered("soon", answer(0.0), at(1.0));
    assert_eq!(drain(&mut dispatch, at(1.0)).0, [(0, "late".to_owned())]);
}

#[test]
fn an_answer_that_breaks_the_contract_is_a_failure() {
    let mut dispatch = Dispatch::new(vec![pool("a")], []);
    dispatch.submit(work("k", 1, 60.0), at(0.0));
    for _ in 0..ATTEMPTS_MAX {
        drain(&mut dispatch, at(0.0));
        dispatch.answered("k", answer(f32::NAN), at(0.0));
    }
    let (_, log) = drain(&mut dispatch, at(0.0));
    assert!(log[0].result.contains("NaN"), "{}", log[0].result);
}

#[test]
fn work_that_no_contract_fits_fails_at_once_with_the_reason() {
    let mut dispatch = Dispatch::new(vec![pool("a")], []);
    dispatch.submit(Work { inputs: vec![], ..work("k", 1, 60.0) }, at(0.0));
    dispatch.submit(Work { task: "tea/1".into(), ..work("t", 1, 60.0) }, at(0.0));
    let (asked, log) = drain(&mut dispatch, at(0.0));
    assert!(asked.is_empty());
    let failed: Vec<_> = log.iter().filter(|line| line.state == State::Failed).collect();
    assert!(failed[0].result.contains("no tensor"), "{failed:?}");
    assert!(failed[1].result.contains("unknown"), "{failed:?}");
}

#[test]
fn an_outcome_is_told_after_the_disk_has_it() {
    let mut dispatch = Dispatch::new(vec![pool("a")], []);
    dispatch.submit(work("k", 1, 60.0), at(0.0));
    drain(&mut dispatch, at(0.0));
    dispatch.answered("k", answer(0.5), at(1.0));
    dispatch.take_events();
    let Some(Action::Write { key, sync: true, .. }) = dispatch.poll(at(1.0)) else { panic!() };
    dispatch.written(&key, false, at(1.0));
    assert_eq!((states(&mut dispatch).len(), dispatch.poll(at(1.5))), (0, None));
    assert_eq!(dispatch.next_timeout(at(1.5)), Some(at(2.0)));
    drain(&mut dispatch, at(2.0));
    assert_eq!(states(&mut dispatch), [("k".to_owned(), JobState::Done)]);
}

#[test]
fn overload_is_respected() {
    let mut dispatch = Dispatch::new(vec![pool("a")], []);
    dispatch.submit(work("k", 1, 60.0), at(0.0));
    drain(&mut dispatch, at(0.0));
    let retry_after = Some(Duration::from_secs(7));
    let busy = PoolError::overloaded("busy", retry_after);
    dispatch.answered("k", Err(busy), at(1.0));
    assert!(drain(&mut dispatch, at(7.9)).0.is_empty());
    assert_eq!(drain(&mut dispatch, at(8.0)).0.len(), 1);
}

#[test]
fn the_bound_leaves_new_work_out() {
    let mut dispatch = Dispatch::new(vec![], []);
    for number in 0..=JOBS_MAX {
        dispatch.submit(work(&format!("{number}"), 1, 60.0), at(0.0));
    }
    assert_eq!(dispatch.open_jobs(), JOBS_MAX);
    let last = states(&mut dispatch).pop();
    assert_eq!(last, Some((JOBS_MAX.to_string(), JobState::Waiting)));
}
