//! One trace for a job, whatever became of it.

use super::*;
use crate::pool::Cause;
use crate::telemetry::{Kind, Span, units};

fn ended(spans: &[Span]) -> Vec<(&str, f64, f64)> {
    let seconds = |at: Tai| at.0 as f64 / SECOND as f64;
    spans.iter().map(|span| (span.name, seconds(span.begin), seconds(span.end))).collect()
}

fn traced(pools: Vec<PoolSpec>) -> Router {
    router(pools).telling_spans()
}

#[test]
fn a_job_that_goes_on_elsewhere_is_one_tree_and_pools_are_told_its_spans() {
    let mut router = traced(vec![pool("a"), pool("b")]);
    router.submit(work("k", 1, 60.0), at(0.0));
    let first = drain(&mut router, at(1.0));
    let error = PoolError::new(Cause::Failed, "it broke");
    router.answered(first.asked[0].2, Err(error), at(2.0));
    let second = drain(&mut router, at(3.0));
    let usage = Usage {
        run: Some(Duration::from_secs(1)),
        queue: Some(Duration::from_millis(500)),
        tokens_in: Some(42),
        ..Usage::default()
    };
    let good = answer(0.5).map(|response| Response { usage, ..response });
    router.answered(second.asked[0].2, good, at(5.0));
    drain(&mut router, at(6.0));
    let spans = router.take_spans();
    let wanted = [
        ("queue", 0.0, 1.0),
        ("ask", 1.0, 2.0),
        ("queue", 2.0, 3.0),
        ("transfer", 3.0, 3.5),
        ("pool queue", 3.5, 4.0),
        ("run", 4.0, 5.0),
        ("ask", 3.0, 5.0),
        ("publish", 5.0, 6.0),
        ("job", 0.0, 6.0),
    ];
    assert_eq!(ended(&spans), wanted);
    let trace = Trace::of("k");
    assert!(spans.iter().all(|span| span.trace == trace.id));
    let job = spans.last().unwrap();
    assert_eq!((job.parent, &job.error), (units::root(trace).span, &None));
    for span in &spans[..8] {
        let of_ask = ["transfer", "pool queue", "run"].contains(&span.name);
        assert_eq!(span.parent, if of_ask { spans[6].id } else { job.id }, "{}", span.name);
    }
    let numbers: BTreeSet<u64> = spans.iter().map(|span| span.id).collect();
    assert_eq!(numbers.len(), spans.len(), "each has its own number");
    assert_eq!((spans[1].kind, spans[1].error.as_deref()), (Kind::Client, Some("it broke")));
    for (span, asked) in [(&spans[1], &first), (&spans[6], &second)] {
        assert_eq!(asked.requests[0].trace, Trace { id: span.trace, span: span.id });
    }
}

#[test]
fn a_restart_goes_on_in_the_same_trace() {
    let mut before = traced(vec![pool("a")]);
    before.submit(work("k", 1, 60.0), at(0.0));
    let drained = drain(&mut before, at(1.0));
    let mut after = Router::new(vec![pool("a")], Settings::default(), drained.log, at(9.0));
    after = after.telling_spans();
    after.submit(work("k", 1, 60.0), at(9.0));
    let again = drain(&mut after, at(10.0));
    let (old, new) = (drained.requests[0].trace, again.requests[0].trace);
    assert_eq!(old.id, new.id);
    assert_ne!(old.span, new.span, "another question");
    router_answers(&mut after, again.asked[0].2);
    let job = after.take_spans().pop().unwrap();
    assert_eq!((job.name, job.begin), ("job", at(0.0)), "accepted before the restart");
}

fn router_answers(router: &mut Router, ask: AskId) {
    router.answered(ask, answer(0.5), at(11.0));
    drain(router, at(12.0));
}

#[test]
fn a_batch_has_a_span_in_each_trace_and_what_is_given_up_says_so() {
    let spec = PoolSpec { batch_max: 4, ..pool("a") };
    let mut batched = traced(vec![spec]);
    // The first tries whether the models are what they should be; then others gather.
    (0..3).for_each(|at_job| batched.submit(work(&format!("k{at_job}"), 1, 60.0), at(0.0)));
    let drained = drain(&mut batched, at(0.0));
    let ask = drained.asked.last().unwrap().2;
    let items = drained.requests.last().unwrap().input.bytes() / work("", 1, 1.0).input.bytes();
    let response =
        Response { model: "m".into(), output: outputs(items, 0.5), usage: Usage::default() };
    batched.answered(ask, Ok(response), at(1.0));
    let asks: Vec<_> = batched.take_spans().into_iter().filter(|span| span.name == "ask").collect();
    assert_eq!(asks.len() as u64, items);
    let traces: BTreeSet<u128> = asks.iter().map(|span| span.trace).collect();
    assert_eq!(traces.len(), asks.len());

    let mut silent = router(vec![pool("a")]);
    silent.submit(work("k", 1, 60.0), at(0.0));
    drain(&mut silent, at(1.0));
    assert_eq!(silent.take_spans(), [], "nobody asked for spans");

    let mut late = traced(vec![pool("a")]);
    late.submit(work("k", 1, 5.0), at(0.0));
    drain(&mut late, at(1.0));
    drain(&mut late, at(5.0));
    let spans = late.take_spans();
    let failed: Vec<_> = spans.iter().filter(|span| span.error.is_some()).collect();
    assert_eq!(failed.iter().map(|span| span.name).collect::<Vec<_>>(), ["ask", "job"]);
}
