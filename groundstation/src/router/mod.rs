//! Which heavy work runs where and when, and that each piece has exactly one recorded outcome.
//!
//! ```text
//! submit ─► lanes (bands, deadlines) ─► choose (filters, score) ─► ask ─► answer ─► log ─► account
//!                                          └ breaker, estimate, spec ◄──────┘
//! ```
//!
//! A state machine: [`Router::submit`], [`Router::answered`], [`Router::described`],
//! [`Router::loaded`] and [`Router::written`] tell it what happened, [`Router::poll`] says what to
//! do until there is nothing more, [`Router::next_timeout`] when to poll again. Work is named by
//! its idempotency key. What is durable is the job log: acceptances, so that a deadline survives a
//! restart, and outcomes. The inputs need not be: the archive is replayed after a restart and asks
//! for the same work again.

use crate::archive::record::Position;
use crate::pool::task;
use crate::pool::{Cost, Input, ModelMetadata, PoolError, Request, Trace};
use crate::process::Work;
use crate::publish::{Event, JobState};
use crate::telemetry::Span;
use codecs::mission::task::{Contract, ContractError, Kind};
use codecs::time::Tai;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub mod spec;
mod breaker;
mod estimate;
pub mod log;
pub mod past;
pub mod file;
mod history;
pub mod account;
pub mod meter;
mod job;
mod set;
mod lanes;
mod pool;
mod choose;
mod ask;
pub(crate) mod room;
mod batch;
mod answer;
mod settle;
mod spans;
mod unfinished;
pub mod view;
mod change;
pub mod discovery;

use account::Purse;
use ask::Ask;
use estimate::Allowance;
use history::History;
use job::{Job, JobId, Stage, Took};
use lanes::Lanes;
use log::{Line, State};
use pool::{PoolState, Registration};
use set::PoolSet;
use spec::{PoolSpec, Role, Settings};

pub use breaker::NAMES as BREAKERS;
pub use job::AskId;

/// Jobs that are held. At the bound new work is left out and says so; the next start asks again.
pub const JOBS_MAX: usize = 1 << 17;

/// Bytes of inputs that are held; above it an input that the archive has rests there until its
/// turn.
pub const INPUT_BYTES_MAX: u64 = 64 << 20;

/// Times that a job is tried where a pool took it and failed.
pub const ATTEMPTS_MAX: u32 = 4;

/// Second tries as a share of successes, and how many are lent at the start.
pub const RETRIES: (f64, f64) = (0.1, 10.0);

/// Second questions before the first is answered, as a share of successes.
const HEDGES: (f64, f64) = (0.05, 5.0);

/// Questions and jobs that one poll ends: a day's deadlines may pass while the machine sleeps, and
/// nobody else gets a turn before a poll is over.
const ENDED_AT_ONCE_MAX: usize = 16;

/// Pause before a server that contradicts the contract is asked for its models again.
const DESCRIBE_AGAIN_NS: i64 = 60_000_000_000;

/// Pause before a pool is asked for its models again that failed to say.
const LOOK_AGAIN_NS: i64 = 1_000_000_000;

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Append a line to the job log; synced, where it is an outcome. Then tell
    /// [`Router::written`], before polling again.
    Write {
        /// The job.
        key: Arc<str>,
        /// The line.
        line: Box<Line>,
        /// Whether the line must be on the disk before `written` is told.
        sync: bool,
    },
    /// Ask a pool what it says of a task's model, then tell [`Router::described`].
    Describe {
        /// Number of the pool, in the order in which they were given.
        pool: usize,
        /// The task.
        task: String,
    },
    /// Read a unit of the archive and make the input of it, then tell [`Router::loaded`].
    Load {
        /// The job.
        key: Arc<str>,
        /// Task contract.
        task: String,
        /// The unit.
        unit: Position,
    },
    /// Ask a pool, then tell [`Router::answered`].
    Ask {
        /// The question's number.
        ask: AskId,
        /// Number of the pool.
        pool: usize,
        /// The question.
        request: Box<Request>,
    },
    /// Give a question up, on the wire too; nothing is told of it any more.
    Cancel {
        /// Which.
        ask: AskId,
    },
}

/// The machine.
pub struct Router {
    settings: Settings,
    pools: Vec<PoolState>,
    /// Pools that count and can be given nothing before something happens.
    full: PoolSet,
    /// No pool.
    nobody: PoolSet,
    /// Names of tasks; their place is their number.
    tasks: Vec<(String, Arc<Contract>)>,
    lanes: Lanes,
    jobs: BTreeMap<JobId, Job>,
    by_key: BTreeMap<Arc<str>, JobId>,
    /// Jobs without an outcome, by when they end.
    expiry: BTreeSet<(Tai, JobId)>,
    input_bytes: u64,
    room: room::Room,
    next: u64,
    asks: BTreeMap<AskId, Ask>,
    /// Questions by when they are given up, and by when another pool is asked too.
    timers: BTreeSet<(Tai, AskId)>,
    hedges: BTreeSet<(Tai, AskId)>,
    describes: BTreeSet<(Tai, usize, usize)>,
    /// First answers that wait for the second of a pair.
    pairs: BTreeMap<u64, answer::Pair>,
    records: BTreeSet<(Tai, JobId)>,
    retries: Allowance,
    hedging: Allowance,
    purse: Purse,
    task_purses: Vec<Purse>,
    pool_purses: Vec<Purse>,
    /// What was spent, and on which day, on pools that are not there.
    absent: BTreeMap<String, (i64, Cost)>,
    account: view::Accounts,
    meter: meter::Meter,
    history: History,
    acceptances: VecDeque<(Arc<str>, Box<Line>)>,
    /// When work is looked for that earlier runs accepted and nobody asks for; what was found.
    forsaken_at: Option<Tai>,
    forsaken: BTreeMap<Arc<str>, Line>,
    unwritten: Vec<Arc<str>>,
    out: VecDeque<Action>,
    events: Vec<Event>,
    /// Those that ended; none where nobody asks for them.
    spans: Option<Vec<Span>>,
}

impl Router {
    /// Knows its pools and, from the job log, what earlier runs accepted, decided and spent.
    pub fn new(
        pools: Vec<PoolSpec>,
        settings: Settings,
        log: impl IntoIterator<Item = Line>,
        now: Tai,
    ) -> Self {
        let contracts = settings.contracts.all().map(|c| (c.task.clone(), Arc::new(c.clone())));
        let tasks: Vec<_> = contracts.collect();
        let of_task = |(task, _): &(String, _)| Purse::of(settings.task_budgets.get(task).copied());
        let mut router = Self {
            task_purses: tasks.iter().map(of_task).collect(),
            pool_purses: pools.iter().map(|spec| Purse::of(spec.budget_day)).collect(),
            purse: Purse::of(settings.budget_day),
            absent: BTreeMap::new(),
            pools: pools.into_iter().map(PoolState::new).collect(),
            full: PoolSet::default(),
            nobody: PoolSet::default(),
            tasks,
            room: room::Room::new(settings.answer_bytes),
            settings,
            lanes: Lanes::default(),
            jobs: BTreeMap::new(),
            by_key: BTreeMap::new(),
            expiry: BTreeSet::new(),
            input_bytes: 0,
            next: 0,
            asks: BTreeMap::new(),
            timers: BTreeSet::new(),
            hedges: BTreeSet::new(),
            describes: BTreeSet::new(),
            pairs: BTreeMap::new(),
            records: BTreeSet::new(),
            retries: Allowance::new(RETRIES.0, RETRIES.1),
            hedging: Allowance::new(HEDGES.0, HEDGES.1),
            account: view::Accounts::default(),
            meter: meter::Meter::default(),
            history: History::default(),
            acceptances: VecDeque::new(),
            forsaken_at: None,
            forsaken: BTreeMap::new(),
            unwritten: Vec::new(),
            out: VecDeque::new(),
            events: Vec::new(),
            spans: None,
        };
        router.learn_tasks();
        for line in log {
            router.remember(line, now);
        }
        router.look_for_forsaken(now);
        router
    }

    /// Knows as well what the log says of outcomes that left it.
    pub fn with_past(mut self, past: &[past::Past]) -> Self {
        for past in past {
            self.account.merge(&past.accounts);
            self.history.read_past(past);
        }
        self
    }

    /// Outcomes before a time left the log: of them only the keys are kept here too.
    pub fn retire(&mut self, before: Tai) {
        self.history.retire(before);
    }

    /// Gives each pool its tasks, and has its models asked for.
    fn learn_tasks(&mut self) {
        for (at, pool) in self.pools.iter_mut().enumerate() {
            for (number, (task, _)) in self.tasks.iter().enumerate() {
                if pool.spec.tasks.contains(task) {
                    pool.learn_task(number);
                    self.describes.insert((Tai(i64::MIN), at, number));
                }
            }
        }
    }

    fn pool_named(&self, name: &str) -> Option<usize> {
        self.pools.iter().position(|pool| pool.spec.name == name)
    }

    fn task_named(&self, name: &str) -> Option<usize> {
        self.tasks.iter().position(|(task, _)| task == name)
    }

    /// Takes work, once a key: known work is left as it is, decided work is told again.
    pub fn submit(&mut self, work: Work, now: Tai) {
        let key = work.key.as_str();
        if self.by_key.contains_key(key) || self.forsaken.contains_key(key) {
            return;
        }
        if let Some(line) = self.history.outcome(&work.key) {
            self.events.push(line.event());
            return;
        }
        // Done long ago: nothing is left of it to be told.
        if self.history.is_past(&work.key) {
            return;
        }
        let task = self.task_named(&work.task);
        let lane = self.lane(task, &work);
        let (Some(lane), true) = (lane, self.jobs.len() < JOBS_MAX) else {
            let mut line = Line::new(&work.key, &work.task, State::Accepted, now);
            line.result = "too much work is waiting; the next start asks for it again".to_owned();
            self.events.push(job_event(&line, JobState::Waiting));
            return;
        };
        let span = (work.deadline_s * 1e9) as i64;
        let trace = Trace::of(&work.about);
        let key: Arc<str> = work.key.as_str().into();
        let (accepted, deadline) = match self.history.acceptance(&work.key) {
            Some(known) => known,
            None => {
                let mut line = Line::new(&key, &work.task, State::Accepted, now);
                line.deadline = Some(now.plus(span).0);
                line.trace = format!("{:032x}", trace.id);
                self.acceptances.push_back((Arc::clone(&key), Box::new(line)));
                (now, now.plus(span))
            }
        };
        let checked = self.check_work(task, &work);
        let id = self.next;
        self.next += 1;
        let bytes = work.input.bytes();
        let job = Job {
            key: Arc::clone(&key),
            lane,
            priority: work.priority,
            trace,
            input: Some(work.input),
            unit: work.unit,
            bytes,
            batch: *checked.as_ref().unwrap_or(&1),
            accepted,
            deadline,
            queued: now,
            waits_from: accepted,
            attempts: 0,
            tried: Vec::new(),
            alone: false,
            draw: (Trace::of(&key).id % 1_000_003) as f64 / 1_000_003.0,
            asks: Vec::new(),
            took: Took { cost: self.history.cost(&work.key), ..Took::default() },
            last: None,
            stage: Stage::Queued { told: String::new() },
        };
        self.by_key.insert(key, id);
        self.expiry.insert((deadline, id));
        self.input_bytes += bytes;
        let place = job.place(id);
        self.jobs.insert(id, job);
        self.rest_input(id);
        let refused = match checked {
            Err(error) => Some(error.to_string()),
            Ok(_) => self.refusal(id, now),
        };
        match refused {
            Some(reason) => self.fail(id, &reason, now),
            None => {
                self.lanes.push(lane, place);
                self.tell(id, JobState::Queued, "", now);
            }
        }
    }

    /// The lane of work; work of a task without a contract has none of its own and fails in any.
    fn lane(&mut self, task: Option<usize>, work: &Work) -> Option<usize> {
        let task = task.unwrap_or(usize::MAX);
        let pools = &mut self.pools;
        let mut found = Vec::new();
        let before = self.lanes.iter().count();
        let lane = self.lanes.of(task, &work.handling, work.budget, || {
            let mut objections = Vec::new();
            for (at, pool) in pools.iter().enumerate().filter(|(_, pool)| pool.of(task).is_some()) {
                match pool.spec.objection(&work.handling) {
                    Some(objection) => objections.push(objection),
                    None => found.push(at),
                }
            }
            let objection = match objections.is_empty() {
                true => format!("no pool takes {}", work.task),
                false => format!("no pool may see it: {}", objections.join("; ")),
            };
            (found.clone(), objection)
        })?;
        if lane >= before {
            let mut gathers = false;
            for at in found {
                if let Some(pool) = self.pools.get_mut(at) {
                    pool.lanes.push(lane);
                    gathers |= !pool.spec.batch_wait.is_zero();
                }
            }
            if let Some(of) = self.lanes.get_mut(lane) {
                of.gathers = gathers;
            }
        }
        Some(lane)
    }

    fn check_work(&self, task: Option<usize>, work: &Work) -> Result<u64, ContractError> {
        let known = task.and_then(|task| self.tasks.get(task));
        let contract = match known {
            Some((_, contract)) => contract,
            None => self.settings.contracts.of(&work.task)?,
        };
        match (&work.input, &contract.kind) {
            (Input::Tensors(tensors), _) => contract.check_inputs(tensors),
            (Input::Document(_), Kind::Messages { .. }) => Ok(1),
            (Input::Document(_), Kind::Tensors { .. }) => Err(contract.takes("tensors, not words")),
        }
    }

    /// Puts an input back to the archive when too much is held.
    fn rest_input(&mut self, id: JobId) {
        if self.input_bytes <= INPUT_BYTES_MAX {
            return;
        }
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.unit.is_some() && job.input.take().is_some() {
            self.input_bytes -= job.bytes;
        }
    }

    /// What to do next; none when there is nothing until [`Self::next_timeout`].
    pub fn poll(&mut self, now: Tai) -> Option<Action> {
        if let Some((key, line)) = self.acceptances.pop_front() {
            return Some(Action::Write { key, line, sync: false });
        }
        self.expire(now);
        self.hedge(now);
        if let Some(action) = self.out.pop_front() {
            return Some(action);
        }
        let action = self.record(now).or_else(|| self.end_forsaken(now));
        action.or_else(|| self.describe(now)).or_else(|| self.start(now))
    }

    /// Ends what has no time left: questions, then jobs. Each leaves something to be done, so that
    /// what is left over is seen to before anything new is asked.
    fn expire(&mut self, now: Tai) {
        let mut left = ENDED_AT_ONCE_MAX;
        while let Some((until, ask)) = self.timers.first().copied()
            && until <= now
            && left > 0
        {
            left -= 1;
            self.out.push_back(Action::Cancel { ask });
            self.answered(ask, Err(PoolError::deadline()), now);
        }
        while let Some((deadline, id)) = self.expiry.first().copied()
            && deadline <= now
            && left > 0
        {
            left -= 1;
            let reason = self.jobs.get(&id).map(|job| match &job.stage {
                Stage::Queued { told } if told.is_empty() => {
                    match self.lanes.get(job.lane).and_then(|lane| lane.why.as_ref()) {
                        Some(why) => format!("deadline passed: {why}"),
                        None if self.only_compared(job.lane) => {
                            "deadline passed: only canaries and shadows take it".to_owned()
                        }
                        None => "deadline passed in the queue".to_owned(),
                    }
                }
                Stage::Queued { told } => format!("deadline passed: {told}"),
                _ => "no answer before the deadline".to_owned(),
            });
            self.fail(id, &reason.unwrap_or_default(), now);
            self.expiry.remove(&(deadline, id));
        }
    }

    fn record(&mut self, now: Tai) -> Option<Action> {
        let (from, id) = self.records.first().copied().filter(|(from, _)| *from <= now)?;
        self.records.remove(&(from, id));
        let job = self.jobs.get_mut(&id)?;
        let Stage::Recording { line, from } = &mut job.stage else { return None };
        *from = None;
        Some(Action::Write { key: Arc::clone(&job.key), line: line.clone(), sync: true })
    }

    fn describe(&mut self, now: Tai) -> Option<Action> {
        while let Some((at, pool, task)) = self.describes.first().copied()
            && at <= now
        {
            self.describes.remove(&(at, pool, task));
            let Some(state) = self.pools.get_mut(pool) else { continue };
            let wanted = [Registration::Accepted, Registration::Asked];
            if state.of(task).is_none_or(|of| wanted.contains(&of.registration)) {
                continue;
            }
            state.register(task, Registration::Asked);
            let name = self.tasks.get(task).map(|(name, _)| name.clone()).unwrap_or_default();
            return Some(Action::Describe { pool, task: name });
        }
        None
    }

    /// Takes what a server says of the model of a task; holds it against the contract.
    pub fn described(
        &mut self,
        pool: usize,
        task: &str,
        result: Result<Option<ModelMetadata>, PoolError>,
        now: Tai,
    ) {
        let Some(number) = self.task_named(task) else { return };
        let Some((_, contract)) = self.tasks.get(number) else { return };
        let contract = Arc::clone(contract);
        let Some(state) = self.pools.get_mut(pool) else { return };
        let (registration, again) = match result {
            Ok(None) => (Registration::Accepted, None),
            Ok(Some(metadata)) => match task::check_metadata(&contract, &metadata) {
                Ok(()) => {
                    state.is_there();
                    (Registration::Accepted, None)
                }
                Err(error) => {
                    let why = format!("{} is no {task}: {error}", metadata.name);
                    (Registration::Refused(why), Some(now.plus(DESCRIBE_AGAIN_NS)))
                }
            },
            Err(error) => {
                state.fail(number, &error, 0, now);
                // A cause whose breaker stays open for a while is no reason to ask at once.
                let again = state.reopens(number, now).unwrap_or(now.plus(LOOK_AGAIN_NS));
                (Registration::Unasked, Some(again))
            }
        };
        state.register(number, registration);
        if let Some(again) = again {
            self.describes.insert((again, pool, number));
            // What failed may have put other tasks of the pool in doubt.
            self.describe_later(pool, again);
        }
        self.wake(pool);
    }

    /// Has the models of a pool asked for, not before a time and not before it may be tried again.
    fn describe_later(&mut self, pool: usize, from: Tai) {
        let Some(state) = self.pools.get(pool) else { return };
        for (number, of) in state.tasks.iter().enumerate() {
            if of.as_ref().is_some_and(|of| of.registration == Registration::Unasked) {
                let at = state.reopens(number, from).unwrap_or(from);
                self.describes.insert((at, pool, number));
            }
        }
    }

    /// Lets lanes look at a pool again, where something changed.
    fn wake(&mut self, pool: usize) {
        self.note_full(pool);
        let Some(state) = self.pools.get(pool) else { return };
        state.lanes.iter().for_each(|lane| self.lanes.wake(*lane));
    }

    fn note_full(&mut self, pool: usize) {
        let Some(state) = self.pools.get(pool) else { return };
        // Canaries and shadows have shares of their own.
        self.full.set(pool, state.spec.role == Role::Main && state.is_full());
    }

    /// When to poll again though nothing happened.
    pub fn next_timeout(&self, _now: Tai) -> Option<Tai> {
        let first = |set: &BTreeSet<(Tai, u64)>| set.first().map(|(at, _)| *at);
        let timers = [
            first(&self.timers),
            first(&self.hedges),
            first(&self.expiry),
            first(&self.records),
            self.describes.first().map(|(at, ..)| *at),
            self.lanes.next_wake(),
            self.forsaken_at,
        ];
        timers.into_iter().flatten().min()
    }

    /// What the page is to be told since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Jobs that have no outcome yet.
    pub fn open_jobs(&self) -> usize {
        self.jobs.len()
    }
}

/// What the page is told of a job.
fn job_event(line: &Line, state: JobState) -> Event {
    Event::Job {
        id: line.key.clone(),
        task: line.task.clone(),
        pool: line.pool.clone(),
        state,
        queue_ms: line.queue_ms,
        run_ms: line.run_ms,
        cost: line.cost.units(),
        result: line.result.clone(),
        trace: line.trace.clone(),
        time: Tai(line.at),
    }
}

#[cfg(test)]
mod tests;
