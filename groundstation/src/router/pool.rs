//! What the router knows of one pool while it works.

use super::account::{Compared, Questions};
use super::breaker::{self, Breaker, OF_POOL, State};
use super::estimate::{Estimate, Limit};
use super::spec::PoolSpec;
use crate::pool::{Cause, Cost, PoolError};
use codecs::time::Tai;
use std::time::Duration;

/// Whether a pool may be asked about a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    /// One question may try.
    Probe,
    /// Not before then, or not before something changes.
    Shut(Option<Tai>),
}

/// Whether what a server says of its model is what the contract says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Registration {
    /// To be asked.
    Unasked,
    /// On its way.
    Asked,
    /// It is, or the server has no words for it.
    Accepted,
    /// It is not.
    Refused(String),
}

/// What is known of a pool and one task.
pub(super) struct OfTask {
    pub registration: Registration,
    pub estimate: Estimate,
    breakers: [Breaker; breaker::NAMES.len() - OF_POOL],
    /// What an answer costs, on the average.
    cost: Option<f64>,
    /// Energy of an answer where it is stated, in joules, on the average.
    energy_j: Option<f64>,
}

/// Time in which half of a bad name is forgotten.
const HEALED_BY_HALF_NS: f64 = 600e9;

pub(super) struct PoolState {
    pub spec: PoolSpec,
    /// By number of the task.
    pub tasks: Vec<Option<OfTask>>,
    pub in_flight: usize,
    pub limit: Limit,
    /// Share of answers that were good, as of the last one; having given none counts for nothing.
    health: f64,
    health_at: Tai,
    /// A question that tries whether the pool is back is on its way.
    pub probing: bool,
    breakers: [Breaker; OF_POOL],
    pub questions: Questions,
    pub compared: Compared,
    /// Lanes that may go here.
    pub lanes: Vec<usize>,
    /// No breaker has anything to say and every model is accepted: what holds for each task, at
    /// any time, until something happens.
    calm: bool,
    /// It went away; what it was asked may still be answered.
    pub gone: bool,
}

impl PoolState {
    pub fn new(spec: PoolSpec) -> Self {
        Self {
            tasks: Vec::new(),
            in_flight: 0,
            limit: Limit::new(spec.concurrency.0, spec.concurrency.1),
            health: 1.0,
            health_at: Tai(0),
            probing: false,
            breakers: std::array::from_fn(Breaker::of),
            questions: Questions::default(),
            compared: Compared::default(),
            lanes: Vec::new(),
            calm: false,
            gone: false,
            spec,
        }
    }

    pub fn learn_task(&mut self, task: usize) {
        if self.tasks.len() <= task {
            self.tasks.resize_with(task + 1, || None);
        }
        let expected = i64::try_from(self.spec.expected.as_nanos()).unwrap_or(i64::MAX);
        if let Some(slot) = self.tasks.get_mut(task) {
            *slot = Some(OfTask {
                registration: Registration::Unasked,
                estimate: Estimate::expecting(expected),
                breakers: std::array::from_fn(|at| Breaker::of(OF_POOL + at)),
                cost: None,
                energy_j: None,
            });
        }
    }

    pub fn of(&self, task: usize) -> Option<&OfTask> {
        self.tasks.get(task)?.as_ref()
    }

    fn of_mut(&mut self, task: usize) -> Option<&mut OfTask> {
        self.tasks.get_mut(task)?.as_mut()
    }

    fn breakers<'a>(&'a self, of: &'a OfTask) -> impl Iterator<Item = &'a Breaker> {
        self.breakers.iter().chain(&of.breakers)
    }

    pub fn gate(&self, task: usize, now: Tai) -> Gate {
        let Some(of) = self.of(task) else { return Gate::Shut(None) };
        if self.calm {
            return Gate::Open;
        }
        let mut gate = Gate::Open;
        for breaker in self.breakers(of) {
            match (breaker.state(now), gate) {
                (State::Open, _) => {}
                (State::HalfOpen, Gate::Open) => gate = Gate::Probe,
                (State::HalfOpen, _) => {}
                (State::Shut(until), Gate::Shut(Some(other))) => {
                    gate = Gate::Shut(Some(until.max(other)));
                }
                (State::Shut(until), _) => gate = Gate::Shut(Some(until)),
            }
        }
        match (&of.registration, gate) {
            (_, Gate::Shut(_)) | (Registration::Accepted, _) => {}
            _ => return Gate::Shut(None),
        }
        if gate == Gate::Probe && self.probing { Gate::Shut(None) } else { gate }
    }

    /// Why nothing goes there now; none while its models are only being asked for.
    pub fn trouble(&self, task: usize, now: Tai) -> Option<String> {
        let of = self.of(task)?;
        let shut = self.breakers(of).find(|breaker| breaker.state(now) != State::Open);
        match (&of.registration, shut) {
            (Registration::Refused(why), _) => Some(format!("{}: {why}", self.spec.name)),
            (_, Some(breaker)) => Some(format!("{}: {}", self.spec.name, breaker.said())),
            (_, None) => None,
        }
    }

    /// The breakers that are not open, for people.
    pub fn shut(&self, now: Tai) -> Vec<(&'static str, String, Option<Tai>)> {
        let own = self.breakers.iter().zip(breaker::NAMES);
        let tasks = self.tasks.iter().flatten();
        let of_tasks = tasks
            .flat_map(|of| of.breakers.iter().zip(breaker::NAMES.iter().skip(OF_POOL).copied()));
        let all = own.chain(of_tasks);
        let row = |(breaker, name): (&Breaker, &'static str)| match breaker.state(now) {
            State::Open => None,
            State::HalfOpen => Some((name, breaker.said().to_owned(), None)),
            State::Shut(until) => Some((name, breaker.said().to_owned(), Some(until))),
        };
        all.filter_map(row).collect()
    }

    /// Predicted time of an answer: there, through what is being worked on, and back.
    pub fn predicted_ns(&self, task: usize, bytes: u64) -> i64 {
        let run = self.of(task).map_or(0, |of| of.estimate.mean_ns());
        let crowd = self.in_flight as f64 / self.limit.value().max(1) as f64;
        self.transfer_ns(bytes).saturating_add((run as f64 * (1.0 + crowd)) as i64)
    }

    pub fn transfer_ns(&self, bytes: u64) -> i64 {
        self.spec.rate_bps.map_or(0, |rate| (bytes as f64 * 8e9 / rate.max(1.0)) as i64)
    }

    /// Learns what energy an answer took that states it.
    pub fn learn_energy(&mut self, task: usize, joules: f64) {
        if let Some(of) = self.of_mut(task) {
            of.energy_j = Some(of.energy_j.map_or(joules, |mean| mean + (joules - mean) * 0.1));
        }
    }

    /// Predicted energy in joules: what answers stated lately, else its draw for such a time.
    pub fn predicted_j(&self, task: usize, predicted_ns: i64) -> f64 {
        let stated = self.of(task).and_then(|of| of.energy_j);
        stated.unwrap_or_else(|| self.spec.watts.unwrap_or(0.0) * predicted_ns as f64 / 1e9)
    }

    /// Predicted cost in millionths: what answers cost lately, else what the price list says.
    pub fn predicted_cost(&self, task: usize, bytes: u64, tokens_out_max: u32) -> Cost {
        if self.spec.price.is_free() {
            return Cost::ZERO;
        }
        let Some(of) = self.of(task) else { return Cost::ZERO };
        if let Some(cost) = of.cost {
            return Cost(cost.ceil() as u64);
        }
        let price = &self.spec.price;
        // Four bytes a token is what text has; answers seldom reach their bound.
        let tokens =
            price.token_in * bytes as f64 / 4.0 + price.token_out * f64::from(tokens_out_max) / 2.0;
        let seconds = of.estimate.mean_ns() as f64 / 1e9;
        Cost((price.request + price.second * seconds + tokens).ceil() as u64)
    }

    /// Whether nobody can be asked here, whatever the job, before something happens.
    pub fn is_full(&self) -> bool {
        self.calm && self.in_flight >= self.limit.value()
    }

    /// Hears that somebody is there. Whether questions are answered as well is not said by that.
    pub fn is_there(&mut self) {
        if let Some(breaker) = self.breakers.get_mut(breaker::slot(Cause::Unavailable)) {
            breaker.open();
        }
    }

    /// Hears what a server's model is.
    pub fn register(&mut self, task: usize, registration: Registration) {
        if let Some(of) = self.of_mut(task) {
            of.registration = registration;
        }
        self.look_around();
    }

    fn look_around(&mut self) {
        let of_tasks = self.tasks.iter().flatten();
        let accepted = of_tasks.clone().all(|of| matches!(of.registration, Registration::Accepted));
        let mut breakers = self.breakers.iter().chain(of_tasks.flat_map(|of| &of.breakers));
        self.calm = accepted && breakers.all(Breaker::is_open);
    }

    /// Share of answers that were good, lately. Time heals: who has a bad name is asked too seldom
    /// to make it good by answers.
    pub fn health(&self, now: Tai) -> f64 {
        let halves = now.since(self.health_at).max(0) as f64 / HEALED_BY_HALF_NS;
        1.0 - (1.0 - self.health) * (-halves).exp2()
    }

    fn note_health(&mut self, health: f64, now: Tai) {
        (self.health, self.health_at) = (health, now);
    }

    /// Hears of a good answer.
    pub fn succeed(&mut self, task: usize, run_ns: i64, cost: Cost, full: bool, now: Tai) {
        let health = self.health(now);
        self.note_health(health + (1.0 - health) * 0.1, now);
        let was_calm = self.calm;
        self.breakers.iter_mut().for_each(Breaker::clear);
        let Some(of) = self.tasks.get_mut(task).and_then(Option::as_mut) else { return };
        of.breakers.iter_mut().for_each(Breaker::clear);
        let crowded = of.estimate.is_crowded();
        of.estimate.add(run_ns);
        let paid = cost.0 as f64;
        of.cost = Some(of.cost.map_or(paid, |mean| mean + (paid - mean) * 0.1));
        self.limit.answered(crowded, full, now);
        if !was_calm {
            self.look_around();
        }
    }

    /// Hears of an error; whether the pool is shut now where it was not.
    pub fn fail(&mut self, task: usize, error: &PoolError, ran_ns: i64, now: Tai) -> bool {
        // Who is not there says nothing of how well it answers: its breaker tells when to look again.
        if error.cause != Cause::Unavailable {
            self.note_health(self.health(now) * 0.9, now);
        }
        let slot = breaker::slot(error.cause);
        if matches!(error.cause, Cause::Overloaded { .. }) {
            self.limit.overloaded(now);
        }
        if error.cause == Cause::Deadline
            && let Some(of) = self.of_mut(task)
        {
            // It takes at least that long: the next prediction knows.
            of.estimate.add(ran_ns);
        }
        let (asked, said) = (error.cause.retry_after(), error.to_string());
        let breaker = match self.breakers.get_mut(slot) {
            Some(breaker) => Some(breaker),
            None => self
                .tasks
                .get_mut(task)
                .and_then(Option::as_mut)
                .and_then(|of| of.breakers.get_mut(slot - OF_POOL)),
        };
        let shut = breaker.is_some_and(|breaker| breaker.strike(asked, said, now));
        if shut && error.cause == Cause::Unavailable {
            // What comes back at this address may be another server.
            for of in self.tasks.iter_mut().flatten() {
                if of.registration == Registration::Accepted {
                    of.registration = Registration::Unasked;
                }
            }
        }
        self.look_around();
        shut
    }

    /// When a pool that is shut may be tried.
    pub fn reopens(&self, task: usize, now: Tai) -> Option<Tai> {
        let of = self.of(task)?;
        let until = |breaker: &Breaker| match breaker.state(now) {
            State::Shut(until) => Some(until),
            State::Open | State::HalfOpen => None,
        };
        self.breakers(of).filter_map(until).max()
    }

    /// How long a question may take here, where another pool could take over: half of what is left,
    /// as long as that is a multiple of what it should take.
    pub fn allotted(&self, task: usize, left: Duration) -> Duration {
        let expected = self.of(task).map_or(0, |of| of.estimate.mean_ns()).max(0);
        let half = left / 2;
        let enough = Duration::from_nanos(expected.unsigned_abs()).saturating_mul(4) <= half;
        if enough { half } else { left }
    }
}
