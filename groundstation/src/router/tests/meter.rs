//! What metrics tell of pools is what happened.

use super::*;
use crate::pool::Cause;

#[test]
fn questions_errors_retries_and_what_was_paid_stand_by_pool_and_task() {
    let mut paid = pool("a");
    paid.price.request = 10.0;
    let mut router = router(vec![paid, pool("b")]);
    router.submit(work("k", 1, 60.0), at(0.0));
    let first = drain(&mut router, at(1.0));
    let asked_first = first.asked[0].0;
    router.answered(first.asked[0].2, Err(PoolError::new(Cause::Failed, "broke")), at(2.0));
    let second = drain(&mut router, at(3.0));
    assert_ne!(second.asked[0].0, asked_first, "goes elsewhere");
    let usage = Usage { tokens_in: Some(42), ..Usage::default() };
    let good = answer(0.5).map(|response| Response { usage, ..response });
    router.answered(second.asked[0].2, good, at(5.0));
    drain(&mut router, at(5.0));
    router.submit(work("waits", 1, 60.0), at(5.0));
    let view = router.view(at(5.0));
    let names = ["a", "b"];
    let row = |at: usize| &view.meter[&(names[at].to_owned(), TASK.to_owned())];
    let (failed, good) = (row(asked_first), row(second.asked[0].0));
    assert_eq!((failed.asked, failed.errors["failed"], failed.retries), (1, 1, 1));
    assert_eq!((failed.done, failed.failed, failed.run.count), (0, 0, 0));
    assert_eq!((good.asked, good.done, good.failed, good.retries), (1, 1, 0, 0));
    assert_eq!((good.tokens_in, good.run.count, good.run.sum_s), (42, 1, 2.0));
    assert_eq!((good.queue.count, good.queue.sum_s), (1, 3.0));
    let spent = if names[second.asked[0].0] == "a" { Cost(10) } else { Cost::ZERO };
    assert_eq!(good.cost, spent);
    assert_eq!(view.queued_tasks, BTreeMap::from([(TASK.to_owned(), 1)]));
}

#[test]
fn a_second_question_beside_the_first_is_a_hedge_of_who_was_asked() {
    let settings = Settings { hedge: true, ..Settings::default() };
    let mut router = with(vec![pool("a"), pool("b")], settings);
    // Enough answers to know how long one takes.
    for number in 0..40 {
        let now = at(f64::from(number));
        router.submit(work(&format!("k{number}"), 1, 60.0), now);
        for (_, _, ask) in drain(&mut router, now).asked {
            router.answered(ask, answer(0.5), now.plus(SECOND / 10));
        }
        drain(&mut router, now.plus(SECOND / 10));
    }
    router.submit(work("slow", 1, 60.0), at(50.0));
    let first = drain(&mut router, at(50.0)).asked[0].0;
    let hedged = drain(&mut router, at(55.0)).asked;
    assert_eq!(hedged.len(), 1, "another pool is asked too");
    let view = router.view(at(55.0));
    let hedges = |name: &str| view.meter[&(name.to_owned(), TASK.to_owned())].hedges;
    let names = ["a", "b"];
    assert_eq!((hedges(names[first]), hedges(names[hedged[0].0])), (0, 1));
}
