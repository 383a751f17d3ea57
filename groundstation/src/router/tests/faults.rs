//! Faulty pools in simulated time: each job ends once, second tries are at most a tenth of
//! successes, and what waited is done within twice the outage.

use super::*;
use crate::pool::Cause;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What a pool does with a question that begins at a time: how long it takes, and what it says.
/// Number 0 asks for its models.
type Behaviour = Box<dyn FnMut(f64, u64) -> (f64, Reply)>;

enum Reply {
    Good,
    NaN,
    WrongShape,
    Error(PoolError),
    /// It never ends.
    Never,
}

struct World {
    router: Router,
    pools: Vec<Behaviour>,
    now: Tai,
    answers: BinaryHeap<Reverse<(Tai, AskId)>>,
    pending: BTreeMap<AskId, (u64, Reply)>,
    asked: u64,
    /// Questions about a job that a pool had worked on before.
    second_tries: u64,
    taken: BTreeMap<String, u64>,
    log: Vec<Line>,
    ended: BTreeMap<String, Vec<(Tai, State)>>,
    cancelled: u64,
}

impl World {
    fn new(specs: Vec<PoolSpec>, pools: Vec<Behaviour>) -> Self {
        Self {
            router: router(specs),
            pools,
            now: at(0.0),
            answers: BinaryHeap::new(),
            pending: BTreeMap::new(),
            asked: 0,
            second_tries: 0,
            taken: BTreeMap::new(),
            log: Vec::new(),
            ended: BTreeMap::new(),
            cancelled: 0,
        }
    }

    fn seconds(&self) -> f64 {
        self.now.0 as f64 / 1e9
    }

    fn act(&mut self) {
        while let Some(action) = self.router.poll(self.now) {
            match action {
                Action::Ask { ask, pool, request } => self.ask(ask, pool, *request),
                Action::Write { key, line, .. } => {
                    if line.state != State::Accepted {
                        let ends = self.ended.entry(line.key.clone()).or_default();
                        ends.push((self.now, line.state));
                    }
                    self.log.push(*line);
                    self.router.written(&key, true, self.now);
                }
                Action::Describe { pool, task } => {
                    // A server that is gone says nothing of its models either.
                    let now = self.seconds();
                    let told = match self.pools[pool](now, 0).1 {
                        Reply::Error(error) if error.cause == Cause::Unavailable => Err(error),
                        _ => Ok(None),
                    };
                    self.router.described(pool, &task, told, self.now);
                }
                Action::Cancel { ask } => {
                    self.cancelled += 1;
                    self.pending.remove(&ask);
                }
                Action::Load { key, .. } => {
                    self.router.loaded(&key, Ok(work("", 0, 1.0).input), self.now);
                }
            }
        }
        self.router.take_events();
    }

    fn ask(&mut self, ask: AskId, pool: usize, request: Request) {
        self.asked += 1;
        let (now, number) = (self.seconds(), self.asked);
        let (takes, reply) = self.pools[pool](now, number);
        let refused = |error: &PoolError| {
            matches!(
                error.cause,
                Cause::Unavailable | Cause::Overloaded { .. } | Cause::Auth | Cause::Quota { .. }
            )
        };
        if !matches!(&reply, Reply::Error(error) if refused(error)) {
            let before = self.taken.entry(request.idempotency_key).or_default();
            self.second_tries += u64::from(*before > 0);
            *before += 1;
        }
        if !matches!(reply, Reply::Never) {
            self.answers.push(Reverse((self.now.plus((takes * 1e9) as i64), ask)));
        }
        let items = request.input.tensors()[0].shape[0];
        self.pending.insert(ask, (items, reply));
    }

    fn answer(&mut self) {
        while let Some(Reverse((then, ask))) = self.answers.peek().copied()
            && then <= self.now
        {
            self.answers.pop();
            let Some((items, reply)) = self.pending.remove(&ask) else { continue };
            let good = |output| Ok(Response { model: "m".into(), output, usage: Usage::default() });
            let result = match reply {
                Reply::Good => good(outputs(items, 0.5)),
                Reply::NaN => good(outputs(items, f32::NAN)),
                Reply::WrongShape => good(outputs(items + 1, 0.5)),
                Reply::Error(error) => Err(error),
                Reply::Never => continue,
            };
            self.router.answered(ask, result, self.now);
        }
    }

    /// Submits a job every so many seconds until a time, then goes on until all have ended.
    fn run(&mut self, every_s: f64, until_s: f64, deadline_s: f64) {
        let (mut number, mut next) = (0u64, 0.0);
        loop {
            self.act();
            let due = (next < until_s).then(|| at(next));
            if self.router.open_jobs() == 0 && due.is_none() {
                break;
            }
            let answer = self.answers.peek().map(|Reverse((then, _))| *then);
            let timer = self.router.next_timeout(self.now);
            let then = [due, answer, timer].into_iter().flatten().min();
            self.now = self.now.max(then.expect("something is to come while a job is open"));
            if due.is_some_and(|due| due <= self.now) {
                self.router.submit(work(&format!("k{number:06}"), 1, deadline_s), self.now);
                number += 1;
                next += every_s;
            }
            self.answer();
        }
        assert_eq!(self.ended.len() as u64, number, "each job ends");
        assert!(self.ended.values().all(|ends| ends.len() == 1), "once");
        let most = (self.done() as f64 * RETRIES.0).max(RETRIES.1);
        let tries = self.second_tries;
        assert!(tries as f64 <= most, "{tries} second tries, {} successes", self.done());
        assert_eq!(self.router.input_bytes, 0, "nothing is left behind");
        assert!(self.router.asks.is_empty() && self.router.timers.is_empty());
        println!("{number} jobs, {} done, {tries} second tries, {} asked", self.done(), self.asked);
    }

    fn done(&self) -> u64 {
        let done = |ends: &&Vec<(Tai, State)>| ends[0].1 == State::Done;
        self.ended.values().filter(done).count() as u64
    }

    fn done_before(&self, seconds: f64) -> usize {
        let done = |ends: &&Vec<(Tai, State)>| ends[0].1 == State::Done && ends[0].0 < at(seconds);
        self.ended.values().filter(done).count()
    }
}

fn steady(seconds: f64) -> Behaviour {
    Box::new(move |_, _| (seconds, Reply::Good))
}

fn faulty(reply: impl Fn(u64) -> Option<Reply> + 'static) -> Behaviour {
    Box::new(move |_, number| (0.2, reply(number).unwrap_or(Reply::Good)))
}

/// A pool that nobody reaches for ten minutes.
fn dead() -> Behaviour {
    Box::new(|now, _| match (60.0..660.0).contains(&now) {
        true => (0.0, Reply::Error(PoolError::unavailable("no connection"))),
        false => (0.2, Reply::Good),
    })
}

#[test]
fn a_pool_dead_for_ten_minutes_costs_no_job_and_the_queue_drains() {
    let mut world = World::new(vec![pool("a")], vec![dead()]);
    world.run(0.5, 1800.0, 3000.0);
    assert_eq!(world.done(), 3600);
    // What was asked until twice the outage after it began is done by then.
    assert!(world.done_before(1260.0) >= 2515, "{}", world.done_before(1260.0));
    assert!(world.asked - 3600 < 200, "{} looks at a dead pool", world.asked - 3600);
}

#[test]
fn a_second_pool_takes_over_at_once() {
    let mut world = World::new(vec![pool("a"), pool("b")], vec![dead(), steady(0.2)]);
    world.run(0.5, 900.0, 5.0);
    assert_eq!(world.done(), 1800, "no deadline of 5 s was missed");
}

#[test]
fn half_the_answers_errors() {
    let half =
        |number: u64| number.is_multiple_of(2).then(|| Reply::Error(PoolError::failed("boom")));
    let mut world = World::new(vec![pool("a")], vec![faulty(half)]);
    world.run(0.5, 1000.0, 60.0);
    assert!(world.done() >= 1000, "{} of 2000", world.done());
    // With another beside it, work goes where it is done.
    let mut world = World::new(vec![pool("a"), pool("b")], vec![faulty(half), steady(0.3)]);
    world.run(0.5, 1000.0, 60.0);
    assert!(world.done() >= 1980, "{} of 2000", world.done());
}

#[test]
fn ten_times_slower() {
    let slow: Behaviour = Box::new(|now, _| match (100.0..700.0).contains(&now) {
        true => (2.0, Reply::Good),
        false => (0.2, Reply::Good),
    });
    let mut world = World::new(vec![pool("a"), pool("b")], vec![slow, steady(0.4)]);
    world.run(0.5, 1000.0, 10.0);
    assert_eq!(world.done(), 2000);
    let slow = world.log.iter().filter(|line| line.state == State::Done && line.run_ms > 1000.0);
    let slow = slow.count();
    assert!(slow < 60, "it is avoided while it is slow, but for {slow}");
}

#[test]
fn wrong_shapes_and_nans() {
    for reply in [|| Reply::WrongShape, || Reply::NaN] {
        let wrong = move |_| Some(reply());
        let mut world = World::new(vec![pool("a"), pool("b")], vec![faulty(wrong), steady(0.3)]);
        world.run(0.5, 1000.0, 60.0);
        assert!(world.done() >= 1990, "{} of 2000", world.done());
        let mut alone = World::new(vec![pool("a")], vec![faulty(wrong)]);
        alone.run(10.0, 1000.0, 60.0);
        assert_eq!(alone.done(), 0, "nothing wrong is ever a result");
    }
}

#[test]
fn never_ending_streams_are_given_up_on_the_wire() {
    let never = |_| Some(Reply::Never);
    let mut world = World::new(vec![pool("a"), pool("b")], vec![faulty(never), steady(0.3)]);
    world.run(0.5, 1000.0, 20.0);
    assert!(world.done() >= 1980, "{} of 2000", world.done());
    assert!(world.cancelled > 0 && world.pending.is_empty(), "nothing is left open");
}

#[test]
fn too_many_requests_with_and_without_a_time() {
    for retry_after in [None, Some(Duration::from_secs(3))] {
        let mut free_at = 0.0;
        // Four a second are what it takes.
        let busy: Behaviour = Box::new(move |now, number| match number {
            0 => (0.0, Reply::Good),
            _ if now < free_at => (0.0, Reply::Error(PoolError::overloaded("429", retry_after))),
            _ => {
                free_at = now + 0.25;
                (0.2, Reply::Good)
            }
        });
        let mut world = World::new(vec![pool("a")], vec![busy]);
        world.run(0.5, 500.0, 1000.0);
        assert_eq!(world.done(), 1000, "{retry_after:?}");
        assert_eq!(world.done_before(1000.0), 1000);
    }
}

#[test]
fn expired_credentials_and_an_exhausted_account() {
    type Make = fn() -> PoolError;
    let makes: [Make; 2] = [|| PoolError::auth("401 expired"), || PoolError::quota("402", None)];
    for make in makes {
        let shut: Behaviour = Box::new(move |now, _| match (50.0..350.0).contains(&now) {
            true => (0.0, Reply::Error(make())),
            false => (0.2, Reply::Good),
        });
        let mut world = World::new(vec![pool("a")], vec![shut]);
        world.run(1.0, 500.0, 2000.0);
        assert_eq!(world.done(), 500);
        assert!(world.asked - 500 < 15, "{} knocks at a shut door", world.asked - 500);
    }
}

#[test]
fn a_spent_budget_sends_work_elsewhere_and_is_not_overdrawn() {
    let mut dear = pool("dear");
    dear.price.request = 1_000.0;
    dear.budget_day = Some(Cost(100_000));
    let mut world = World::new(vec![dear, pool("free")], vec![steady(0.1), steady(0.3)]);
    world.run(0.5, 1000.0, 60.0);
    assert_eq!(world.done(), 2000);
    let by_dear = world.log.iter().filter(|line| line.state == State::Done && line.pool == "dear");
    let by_dear = by_dear.count();
    assert!((1..=100).contains(&by_dear), "{by_dear} at a thousandth each, for a tenth in all");
}

#[test]
fn a_pool_killed_again_and_again_ends_each_job_once() {
    // What it worked on when it died is unanswered for good, as a child's questions are.
    let killed: Behaviour = Box::new(|now, _| match now % 60.0 {
        since if since < 2.0 => (0.0, Reply::Error(PoolError::unavailable("its process ended"))),
        since if since > 59.8 => (60.0 - since, Reply::Error(PoolError::unavailable("reset"))),
        _ => (0.2, Reply::Good),
    });
    let mut world = World::new(vec![pool("embedded")], vec![killed]);
    world.run(0.5, 1000.0, 60.0);
    assert_eq!(world.done(), 2000, "no job is lost with a child");
    assert_eq!(world.done_before(1004.0), 2000, "the last wait is over within twice the outage");
}
