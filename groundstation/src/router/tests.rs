use super::*;
use crate::pool::{Answer, Cost, Document, Handling, Output, PortMetadata, Response, Usage};
use codecs::tensor::{DType, Tensor};
use std::time::Duration;

mod faults;
mod long;
mod several;
mod change;
mod spans;
mod meter;
mod retention;
mod unfinished;
mod room;

const SECOND: i64 = 1_000_000_000;
const TASK: &str = "cloud-mask/1";

fn at(seconds: f64) -> Tai {
    Tai((seconds * SECOND as f64) as i64)
}

fn pool(name: &str) -> PoolSpec {
    PoolSpec::new(name, &[TASK, "pass-report/1"])
}

fn router(pools: Vec<PoolSpec>) -> Router {
    with(pools, Settings::default())
}

fn with(pools: Vec<PoolSpec>, settings: Settings) -> Router {
    Router::new(pools, settings, [], at(0.0))
}

fn work(key: &str, priority: u8, deadline_s: f64) -> Work {
    let tile = Tensor::new("tile", DType::U8, vec![1, 4, 64, 64], vec![0; 16_384].into());
    Work {
        key: key.into(),
        task: TASK.into(),
        input: Input::Tensors(vec![tile.unwrap()]),
        unit: None,
        about: key.into(),
        handling: Handling::default(),
        budget: None,
        deadline_s,
        priority,
    }
}

fn outputs(items: u64, fraction: f32) -> Output {
    let mask = vec![fraction; 256 * items as usize];
    let fractions = vec![fraction; items as usize];
    Output::Tensors(vec![
        Tensor::from_f32("mask", vec![items, 1, 16, 16], &mask).unwrap(),
        Tensor::from_f32("fraction", vec![items, 1], &fractions).unwrap(),
    ])
}

fn answer(fraction: f32) -> Result<Response, PoolError> {
    let output = outputs(1, fraction);
    Ok(Response { model: "cloud-screen 1".into(), output, usage: Usage::default() })
}

/// What a poll led to: questions by pool and key, lines of the log, questions given up.
#[derive(Default)]
struct Drained {
    asked: Vec<(usize, String, AskId)>,
    log: Vec<Line>,
    cancelled: Vec<AskId>,
    requests: Vec<Request>,
}

impl Drained {
    fn keys(&self) -> Vec<(usize, &str)> {
        self.asked.iter().map(|row| (row.0, row.1.as_str())).collect()
    }

    fn outcomes(&self) -> Vec<&Line> {
        self.log.iter().filter(|line| line.state != State::Accepted).collect()
    }
}

/// Polls until nothing is left; writes succeed, servers have no words for their models.
fn drain(router: &mut Router, now: Tai) -> Drained {
    let mut drained = Drained::default();
    while let Some(action) = router.poll(now) {
        match action {
            Action::Ask { ask, pool, request } => {
                drained.asked.push((pool, request.idempotency_key.clone(), ask));
                drained.requests.push(*request);
            }
            Action::Write { key, line, .. } => {
                drained.log.push(*line);
                router.written(&key, true, now);
            }
            Action::Describe { pool, task } => router.described(pool, &task, Ok(None), now),
            Action::Cancel { ask } => drained.cancelled.push(ask),
            Action::Load { key, .. } => router.loaded(&key, Ok(work("", 0, 1.0).input), now),
        }
    }
    drained
}

fn states(router: &mut Router) -> Vec<(String, JobState)> {
    let row = |event| match event {
        Event::Job { id, state, .. } => (id, state),
        other => panic!("{other:?}"),
    };
    router.take_events().into_iter().map(row).collect()
}

#[test]
fn a_job_is_done_once_over_copies_late_answers_and_restarts() {
    let mut router = router(vec![pool("a")]);
    router.submit(work("k", 1, 60.0), at(0.0));
    router.submit(work("k", 1, 60.0), at(0.5));
    let drained = drain(&mut router, at(1.0));
    assert_eq!(drained.keys(), [(0, "k")]);
    let ask = drained.asked[0].2;
    let mut log = drained.log;
    router.answered(ask, answer(0.43), at(2.0));
    router.answered(ask, answer(0.99), at(2.5));
    let drained = drain(&mut router, at(3.0));
    let outcome = drained.outcomes();
    assert_eq!((drained.asked.len(), outcome.len(), router.open_jobs()), (0, 1, 0));
    assert_eq!(outcome[0].result, "cloud 43 %");
    assert_eq!((outcome[0].queue_ms, outcome[0].run_ms), (1000.0, 1000.0));
    assert_eq!((outcome[0].outputs.len(), outcome[0].trace.len()), (2, 32));
    let told = states(&mut router);
    let wanted = [JobState::Queued, JobState::Running, JobState::Done];
    assert_eq!(told.iter().map(|row| row.1).collect::<Vec<_>>(), wanted);
    log.extend(drained.log);
    // After a restart the archive asks again: the outcome is told, nothing is done.
    let mut again = Router::new(vec![pool("a")], Settings::default(), log, at(9.0));
    again.submit(work("k", 1, 60.0), at(9.0));
    let drained = drain(&mut again, at(9.0));
    assert!(drained.asked.is_empty() && drained.log.is_empty());
    assert_eq!(states(&mut again), [("k".to_owned(), JobState::Done)]);
    assert_eq!(again.view(at(9.0)).accounts.mission.done, 1, "sums outlive restarts");
}

#[test]
fn a_restart_before_the_outcome_tries_again_within_the_first_deadline() {
    let mut router = router(vec![pool("a")]);
    router.submit(work("k", 1, 60.0), at(0.0));
    let log = drain(&mut router, at(1.0)).log;
    assert_eq!(log[0].state, State::Accepted);
    let restart = |now| Router::new(vec![pool("a")], Settings::default(), log.clone(), now);
    let mut again = restart(at(50.0));
    again.submit(work("k", 1, 60.0), at(50.0));
    let drained = drain(&mut again, at(50.0));
    assert_eq!(drained.requests[0].time_left, Duration::from_secs(10));
    assert_eq!(drained.requests[0].deadline, at(60.0));
    let mut late = restart(at(61.0));
    late.submit(work("k", 1, 60.0), at(61.0));
    let drained = drain(&mut late, at(61.0));
    assert_eq!((drained.asked.len(), drained.outcomes()[0].state), (0, State::Failed));
}

#[test]
fn a_pool_that_is_gone_is_waited_for_at_no_cost() {
    let mut router = router(vec![pool("a")]);
    router.submit(work("k", 1, 60.0), at(0.0));
    let (mut now, mut tries) = (at(0.0), 0);
    while now < at(30.0) {
        for (_, _, ask) in drain(&mut router, now).asked {
            tries += 1;
            router.answered(ask, Err(PoolError::unavailable("killed")), now);
            drain(&mut router, now);
        }
        now = router.next_timeout(now).unwrap();
    }
    assert!((8..=14).contains(&tries), "{tries} tries with growing pauses");
    assert!(states(&mut router).iter().any(|row| row.1 == JobState::Waiting));
    let ask = drain(&mut router, now).asked[0].2;
    router.answered(ask, answer(0.1), now);
    assert_eq!(drain(&mut router, now).outcomes()[0].state, State::Done);
}

#[test]
fn nobody_to_ask_ends_with_the_deadline_and_the_reason() {
    let mut nobody = router(vec![]);
    (0..10).for_each(|number| nobody.submit(work(&format!("k{number}"), 1, 5.0), at(0.0)));
    drain(&mut nobody, at(1.0));
    let wait = &nobody.view(at(1.0)).waits[0];
    assert_eq!((wait.jobs, wait.why.as_str()), (10, "no pool takes cloud-mask/1"));
    assert_eq!(nobody.next_timeout(at(1.0)), Some(at(5.0)));
    let drained = drain(&mut nobody, at(5.0));
    let said: Vec<&str> = drained.outcomes().iter().map(|line| line.result.as_str()).collect();
    assert_eq!(said, ["deadline passed: no pool takes cloud-mask/1"; 10], "those behind as well");
    // Where there are pools and none may see the data, nothing goes to them.
    let mut abroad = router(vec![pool("far")]);
    let mut guarded = work("k", 1, 5.0);
    guarded.handling.regions.insert("eu".into());
    abroad.submit(guarded, at(0.0));
    assert!(drain(&mut abroad, at(1.0)).asked.is_empty());
    let result = drain(&mut abroad, at(5.0)).outcomes()[0].result.clone();
    assert!(result.contains("no pool may see it: far: is in no stated region"), "{result}");
}

#[test]
fn failures_go_to_the_next_pool_and_end() {
    let mut router = router(vec![pool("a"), pool("b")]);
    router.submit(work("k", 1, 60.0), at(0.0));
    let mut order = vec![];
    for _ in 0..ATTEMPTS_MAX {
        let drained = drain(&mut router, at(1.0));
        order.push(drained.asked[0].0);
        router.answered(drained.asked[0].2, Err(PoolError::failed("boom")), at(1.0));
    }
    assert_eq!((order[0], order[1]), (0, 1), "the second try goes elsewhere");
    let drained = drain(&mut router, at(1.0));
    let outcome = drained.outcomes();
    let told = (outcome[0].state, outcome[0].result.as_str());
    assert_eq!(told, (State::Failed, "boom (4 attempts)"));
}

#[test]
fn the_urgent_go_first_and_no_pool_is_flooded() {
    let mut router = router(vec![pool("a")]);
    for (key, priority, deadline) in [("late", 1, 60.0), ("soon", 1, 30.0), ("first", 0, 90.0)] {
        router.submit(work(key, priority, deadline), at(0.0));
    }
    let drained = drain(&mut router, at(0.0));
    assert_eq!(drained.keys(), [(0, "first"), (0, "soon")]);
    router.answered(drained.asked[1].2, answer(0.0), at(1.0));
    assert_eq!(drain(&mut router, at(1.0)).keys(), [(0, "late")]);
}

#[test]
fn slots_are_held_back_for_the_most_urgent() {
    let mut spec = pool("a");
    spec.concurrency = (4, 4);
    let mut router = with(vec![spec], Settings { hold_back: 0.5, ..Settings::default() });
    for number in 0..4 {
        router.submit(work(&format!("n{number}"), 1, 60.0), at(0.0));
    }
    assert_eq!(drain(&mut router, at(0.0)).asked.len(), 2);
    router.submit(work("urgent", 0, 60.0), at(1.0));
    assert_eq!(drain(&mut router, at(1.0)).keys(), [(0, "urgent")]);
}

#[test]
fn an_answer_that_breaks_the_contract_is_a_failure() {
    let mut router = router(vec![pool("a"), pool("b")]);
    router.submit(work("k", 1, 60.0), at(0.0));
    for now in 0..ATTEMPTS_MAX {
        let now = at(f64::from(now));
        let drained = drain(&mut router, now);
        router.answered(drained.asked[0].2, answer(f32::NAN), now);
    }
    let drained = drain(&mut router, at(5.0));
    let result = &drained.outcomes()[0].result;
    assert!(result.contains("NaN"), "{result}");
}

#[test]
fn work_that_no_contract_fits_fails_at_once_with_the_reason() {
    let mut router = router(vec![pool("a")]);
    router.submit(Work { input: Input::Tensors(vec![]), ..work("k", 1, 60.0) }, at(0.0));
    router.submit(Work { task: "tea/1".into(), ..work("t", 1, 60.0) }, at(0.0));
    let words = Input::Document(Document::default());
    router.submit(Work { input: words, ..work("w", 1, 60.0) }, at(0.0));
    let drained = drain(&mut router, at(0.0));
    assert!(drained.asked.is_empty());
    let failed = drained.outcomes();
    assert!(failed[0].result.contains("no tensor"), "{failed:?}");
    assert!(failed[1].result.contains("unknown"), "{failed:?}");
    assert!(failed[2].result.contains("takes tensors"), "{failed:?}");
}

#[test]
fn an_outcome_is_told_after_the_disk_has_it() {
    let mut router = router(vec![pool("a")]);
    router.submit(work("k", 1, 60.0), at(0.0));
    let ask = drain(&mut router, at(0.0)).asked[0].2;
    router.answered(ask, answer(0.5), at(1.0));
    router.take_events();
    let Some(Action::Write { key, sync: true, .. }) = router.poll(at(1.0)) else { panic!() };
    router.written(&key, false, at(1.0));
    assert_eq!((states(&mut router).len(), router.poll(at(1.5))), (0, None));
    assert_eq!(router.next_timeout(at(1.5)), Some(at(2.0)));
    drain(&mut router, at(2.0));
    assert_eq!(states(&mut router), [("k".to_owned(), JobState::Done)]);
}

#[test]
fn overload_is_respected() {
    let mut router = router(vec![pool("a")]);
    router.submit(work("k", 1, 60.0), at(0.0));
    let ask = drain(&mut router, at(0.0)).asked[0].2;
    let retry_after = Some(Duration::from_secs(7));
    router.answered(ask, Err(PoolError::overloaded("busy", retry_after)), at(1.0));
    assert!(drain(&mut router, at(7.9)).asked.is_empty());
    assert_eq!(drain(&mut router, at(8.0)).asked.len(), 1);
}

#[test]
fn credentials_and_accounts_of_one_pool_are_no_trouble_of_another() {
    let errors = [PoolError::auth("401"), PoolError::quota("402", None)];
    for error in errors {
        let mut router = router(vec![pool("a"), pool("b")]);
        router.submit(work("k", 1, 60.0), at(0.0));
        let ask = drain(&mut router, at(0.0)).asked[0].2;
        router.answered(ask, Err(error), at(1.0));
        let drained = drain(&mut router, at(1.0));
        assert_eq!(drained.keys(), [(1, "k")]);
        router.answered(drained.asked[0].2, answer(0.2), at(2.0));
        drain(&mut router, at(2.0));
        router.submit(work("l", 1, 60.0), at(3.0));
        assert_eq!(drain(&mut router, at(3.0)).keys(), [(1, "l")], "left alone for a while");
    }
}

#[test]
fn what_cannot_be_in_time_is_refused_at_once_with_figures() {
    let mut slow = pool("a");
    slow.expected = Duration::from_secs(20);
    let mut router = router(vec![slow]);
    router.submit(work("k", 1, 5.0), at(0.0));
    let drained = drain(&mut router, at(0.0));
    let result = &drained.outcomes()[0].result;
    assert!(result.contains("about 20.0 s are needed") && result.contains("5.0 s are left"));
    // Behind a long queue of more urgent work there is no time either.
    for number in 0..100 {
        router.submit(work(&format!("u{number}"), 0, 5000.0), at(0.0));
    }
    router.submit(work("behind", 1, 60.0), at(0.0));
    let drained = drain(&mut router, at(0.0));
    let result = &drained.outcomes()[0].result;
    assert!(result.contains("behind other jobs"), "{result}");
}

#[test]
fn a_pool_that_was_slow_once_is_not_thought_slow_for_ever() {
    let mut router = router(vec![pool("a")]);
    let mut now = 0.0;
    // Loading its model took it half a minute.
    router.submit(work("cold", 1, 60.0), at(now));
    let ask = drain(&mut router, at(now)).asked[0].2;
    now = 30.0;
    router.answered(ask, answer(0.1), at(now));
    let (mut refused, mut done) = (0, 0);
    for number in 0..600 {
        router.submit(work(&format!("k{number}"), 1, 5.0), at(now));
        for (_, _, ask) in drain(&mut router, at(now)).asked {
            now += 0.1;
            router.answered(ask, answer(0.1), at(now));
        }
        for line in drain(&mut router, at(now)).outcomes() {
            refused += u64::from(line.state == State::Failed);
            done += u64::from(line.state == State::Done);
        }
        now += 4.9;
    }
    // Its average falls by a tenth with each that is let in, one a minute at first.
    assert!(done > 300, "{done} done, {refused} refused");
}

#[test]
fn a_server_that_contradicts_the_contract_gets_no_work() {
    let mut router = router(vec![pool("a")]);
    router.submit(work("k", 1, 300.0), at(0.0));
    let metadata = ModelMetadata {
        name: "other".into(),
        versions: vec![],
        inputs: vec![PortMetadata {
            name: "tile".into(),
            datatype: "FP32".into(),
            shape: vec![-1, 4, 64, 64],
        }],
        outputs: vec![],
    };
    let mut described = 0;
    let mut poll = |router: &mut Router, now, good: bool| {
        let mut asked = 0;
        while let Some(action) = router.poll(now) {
            match action {
                Action::Describe { pool, task } => {
                    described += 1;
                    let told = if good { None } else { Some(metadata.clone()) };
                    router.described(pool, &task, Ok(told), now);
                }
                Action::Ask { .. } => asked += 1,
                _ => {}
            }
        }
        asked
    };
    assert_eq!(poll(&mut router, at(0.0), false), 0);
    assert_eq!(poll(&mut router, at(59.0), true), 0);
    let told = &router.view(at(59.0)).pools[0].tasks;
    let told = told.iter().find(|row| row.task == TASK).unwrap();
    assert!(told.registration.contains("other is no cloud-mask/1: tensor \"tile\""));
    // It is asked again, and may be mended by then.
    assert_eq!(poll(&mut router, at(60.0), true), 1);
}

#[test]
fn a_pool_that_fails_to_speak_of_one_task_is_asked_about_all_again() {
    let mut router = router(vec![PoolSpec::new("a", &[TASK, "cloud-screen/1"])]);
    router.submit(work("k", 1, 300.0), at(0.0));
    router.submit(Work { task: "cloud-screen/1".into(), ..work("s", 1, 300.0) }, at(0.0));
    let mut described = 0;
    let mut now = at(0.0);
    let mut asked = 0;
    while asked < 2 && now < at(60.0) {
        while let Some(action) = router.poll(now) {
            match action {
                Action::Describe { pool, task } => {
                    described += 1;
                    // The first is known, the second comes to nothing, then all is well.
                    let gone = described == 2;
                    let told = if gone { Err(PoolError::unavailable("gone")) } else { Ok(None) };
                    router.described(pool, &task, told, now);
                }
                Action::Ask { ask, .. } => {
                    asked += 1;
                    router.answered(ask, answer(0.5), now);
                }
                _ => {}
            }
        }
        now = router.next_timeout(now).unwrap_or(at(60.0)).max(now);
    }
    assert_eq!((asked, described), (2, 4));
}

#[test]
fn batches_go_together_and_come_apart() {
    let mut spec = pool("a");
    spec.batch_max = 4;
    let mut router = router(vec![spec]);
    for number in 0..4 {
        router.submit(work(&format!("k{number}"), 1, 60.0), at(0.0));
    }
    let drained = drain(&mut router, at(0.0));
    assert_eq!(drained.keys(), [(0, "k0+3")]);
    assert_eq!(drained.requests[0].input.tensors()[0].shape, [4, 4, 64, 64]);
    let usage = Usage { cost: Some(Cost(10)), ..Usage::default() };
    let response = Response { model: "m".into(), output: outputs(4, 0.5), usage };
    router.answered(drained.asked[0].2, Ok(response), at(1.0));
    let drained = drain(&mut router, at(1.0));
    assert_eq!(drained.outcomes().len(), 4);
    let cost: u64 = drained.outcomes().iter().map(|line| line.cost.0).sum();
    assert_eq!(cost, 10, "shared, and not a millionth lost");
}

#[test]
fn one_bad_item_does_not_spoil_a_batch() {
    let mut spec = pool("a");
    spec.batch_max = 3;
    let mut router = router(vec![spec]);
    for number in 0..3 {
        router.submit(work(&format!("k{number}"), 1, 60.0), at(0.0));
    }
    let ask = drain(&mut router, at(0.0)).asked[0].2;
    router.answered(ask, Err(PoolError::bad_request("one of them")), at(1.0));
    let mut done = 0;
    for second in 2..10 {
        let drained = drain(&mut router, at(f64::from(second)));
        done += drained.outcomes().iter().filter(|line| line.state == State::Done).count();
        for (_, key, ask) in drained.asked {
            assert!(!key.contains('+'), "each alone now");
            let bad = key == "k1";
            let told = if bad { Err(PoolError::bad_request("this")) } else { answer(0.1) };
            router.answered(ask, told, at(f64::from(second)));
        }
    }
    assert_eq!((done, router.open_jobs()), (2, 0));
}

#[test]
fn a_batch_waits_for_others_as_long_as_it_is_told() {
    let mut spec = pool("a");
    (spec.batch_max, spec.batch_wait) = (4, Duration::from_millis(50));
    let mut router = router(vec![spec]);
    router.submit(work("a", 1, 60.0), at(0.0));
    assert!(drain(&mut router, at(0.0)).asked.is_empty());
    assert_eq!(router.next_timeout(at(0.0)), Some(at(0.05)));
    router.submit(work("b", 1, 60.0), at(0.02));
    assert!(drain(&mut router, at(0.02)).asked.is_empty());
    assert_eq!(drain(&mut router, at(0.05)).keys(), [(0, "a+1")]);
    // Once it is full it goes at once.
    for key in ["c", "d", "e", "f"] {
        assert!(drain(&mut router, at(0.06)).asked.is_empty());
        router.submit(work(key, 1, 60.0), at(0.06));
    }
    assert_eq!(drain(&mut router, at(0.06)).keys(), [(0, "c+3")]);
}

#[test]
fn inputs_beyond_the_bound_rest_in_the_archive() {
    let mut router = router(vec![pool("a")]);
    let position = Position { segment: 1, offset: 4096 };
    let many = INPUT_BYTES_MAX / 16_384 + 100;
    for number in 0..many {
        let work = Work { unit: Some(position), ..work(&format!("{number:06}"), 1, 6000.0) };
        router.submit(work, at(0.0));
    }
    assert!(router.input_bytes <= INPUT_BYTES_MAX);
    let mut done = 0;
    let mut now = at(0.0);
    while router.open_jobs() > 0 {
        now = now.plus(SECOND / 10);
        for (_, _, ask) in drain(&mut router, now).asked {
            router.answered(ask, answer(0.1), now);
            done += 1;
        }
    }
    assert_eq!((done, router.input_bytes), (many, 0));
}

#[test]
fn a_report_is_held_to_its_form() {
    let mut router = router(vec![pool("a"), pool("b")]);
    let words = Input::Document(Document::default());
    let work = Work { task: "pass-report/1".into(), input: words, ..work("k", 1, 60.0) };
    router.submit(work, at(0.0));
    let told = |text: &str, value| {
        let output = Output::Document(Answer { text: text.into(), value });
        let usage = Usage { tokens_in: Some(100), tokens_out: Some(20), ..Usage::default() };
        Ok(Response { model: "m".into(), output, usage })
    };
    let ask = drain(&mut router, at(0.0)).asked[0].2;
    router.answered(ask, told("no JSON", None), at(1.0));
    let ask = drain(&mut router, at(1.0)).asked[0].2;
    let form = serde_json::json!({"report": "Fine.", "severity": "nothing", "findings": []});
    router.answered(ask, told("{}", Some(form.clone())), at(2.0));
    let drained = drain(&mut router, at(2.0));
    let outcome = drained.outcomes();
    assert_eq!(
        (outcome[0].result.as_str(), outcome[0].form.as_ref()),
        ("nothing: Fine.", Some(&form))
    );
    // The answer that broke the contract took tokens too.
    assert_eq!((outcome[0].tokens_in, outcome[0].tokens_out), (Some(200), Some(40)));
}

#[test]
fn the_bound_leaves_new_work_out() {
    let mut router = router(vec![]);
    for number in 0..=JOBS_MAX {
        let mut work = work(&format!("{number}"), 1, 60.0);
        // The description of a tile is enough to wait.
        work.unit = Some(Position { segment: 1, offset: 0 });
        router.submit(work, at(0.0));
    }
    assert_eq!(router.open_jobs(), JOBS_MAX);
    let last = states(&mut router).pop();
    assert_eq!(last, Some((JOBS_MAX.to_string(), JobState::Waiting)));
}

#[test]
fn what_no_model_reads_is_not_believed() {
    let mut router = router(vec![pool("liar")]);
    router.submit(work("k", 1, 60.0), at(0.0));
    let ask = drain(&mut router, at(0.0)).asked[0].2;
    let usage = Usage { tokens_in: Some(u64::MAX), tokens_out: Some(7), ..Usage::default() };
    let response = Response { model: "m".into(), output: outputs(1, 0.5), usage };
    router.answered(ask, Ok(response), at(1.0));
    let drained = drain(&mut router, at(1.0));
    let line = &drained.outcomes()[0];
    assert_eq!((line.tokens_in, line.tokens_out), (None, Some(7)));
}
