//! Which heavy work runs where and when, and that each piece has exactly one recorded outcome.
//!
//! A state machine: [`Dispatch::submit`], [`Dispatch::answered`] and [`Dispatch::written`] tell it
//! what happened, [`Dispatch::poll`] says what to do until there is nothing more,
//! [`Dispatch::next_timeout`] when to poll again. Work is named by its idempotency key. What is
//! durable is the job log: acceptances, so that a deadline survives a restart, and outcomes. The
//! inputs need not be: the archive is replayed after a restart and asks for the same work again.

use crate::pool::task::Contract;
use crate::pool::{Cause, Handling, Input, PoolError, PoolInfo, Request, Response, Trace};
use crate::process::Work;
use crate::publish::{Event, JobState};
use codecs::time::Tai;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

mod history;
pub mod log;

use history::History;
use log::{Line, State};

/// Jobs that are held. At the bound new work is left out and says so; the next start asks again.
pub const JOBS_MAX: usize = 1024;

/// Jobs that a pool is asked at a time: one runs, one is on its way.
pub const RUNNING_MAX: usize = 2;

/// Times that a job is tried where a pool took it and failed.
pub const ATTEMPTS_MAX: u32 = 4;

/// Retries that are saved up, and what a success adds: in the long run one retry for five
/// successes, so that trouble never multiplies the load.
const RETRIES: (f64, f64) = (10.0, 0.2);

/// First and longest pause for a pool that is not there or has too much to do.
const PAUSE_NS: (i64, i64) = (100_000_000, 5_000_000_000);

/// Pause before a line is written again that the disk did not take.
const WRITE_AGAIN_NS: i64 = 1_000_000_000;

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Append a line to the job log; synced, where it is an outcome. Then tell
    /// [`Dispatch::written`], before polling again.
    Write {
        /// The job.
        key: String,
        /// The line.
        line: Line,
        /// Whether the line must be on the disk before `written` is told.
        sync: bool,
    },
    /// Ask a pool, then tell [`Dispatch::answered`].
    Ask {
        /// Number of the pool, in the order in which they were given.
        pool: usize,
        /// The question.
        request: Request,
    },
}

struct Slot {
    info: PoolInfo,
    running: usize,
    /// Not asked before this, and how long the next pause is.
    paused_until: Tai,
    pause_ns: i64,
    trouble: String,
}

struct Job {
    work: Work,
    accepted: Tai,
    deadline: Tai,
    attempts: u32,
    failed_at: Option<usize>,
    stage: Stage,
}

#[derive(Clone, Debug, PartialEq)]
enum Stage {
    /// For its turn.
    Queued,
    /// For a pool; with what the page was told.
    Waiting(String),
    Running {
        pool: usize,
        since: Tai,
    },
    /// For the disk; `None` while the line is being written.
    Recording {
        line: Line,
        from: Option<Tai>,
    },
}

/// The machine.
pub struct Dispatch {
    pools: Vec<Slot>,
    jobs: BTreeMap<String, Job>,
    history: History,
    retries: f64,
    acceptances: VecDeque<(String, Line)>,
    events: Vec<Event>,
}

impl Dispatch {
    /// Knows its pools and, from the job log, what earlier runs accepted and decided.
    pub fn new(pools: Vec<PoolInfo>, log: impl IntoIterator<Item = Line>) -> Self {
        let slot = |info| Slot {
            info,
            running: 0,
            paused_until: Tai(i64::MIN),
            pause_ns: PAUSE_NS.0,
            trouble: String::new(),
        };
        let mut history = History::default();
        log.into_iter().for_each(|line| history.read(line));
        Self {
            pools: pools.into_iter().map(slot).collect(),
            jobs: BTreeMap::new(),
            history,
            retries: RETRIES.0,
            acceptances: VecDeque::new(),
            events: Vec::new(),
        }
    }

    /// Takes work, once a key: known work is left as it is, decided work is told again.
    pub fn submit(&mut self, work: Work, now: Tai) {
        if self.jobs.contains_key(&work.key) {
            return;
        }
        if let Some(line) = self.history.outcome(&work.key) {
            self.events.push(line.event());
            return;
        }
        if self.jobs.len() >= JOBS_MAX {
            let mut line = Line::new(&work.key, &work.task, State::Accepted, now);
            line.result = "too much work is waiting; the next start asks for it again".to_owned();
            self.events.push(job_event(&line, JobState::Waiting));
            return;
        }
        let span = (work.deadline_s * 1e9) as i64;
        let (accepted, deadline) = match self.history.acceptance(&work.key) {
            Some(known) => known,
            None => {
                let mut line = Line::new(&work.key, &work.task, State::Accepted, now);
                line.deadline = Some(now.plus(span).0);
                self.acceptances.push_back((work.key.clone(), line));
                (now, now.plus(span))
            }
        };
        let key = work.key.clone();
        let checked = Contract::of(&work.task)
            .and_then(|contract| contract.check_inputs(&work.inputs))
            .map_err(|error| error.to_string());
        let stage = Stage::Queued;
        let job = Job { work, accepted, deadline, attempts: 0, failed_at: None, stage };
        self.jobs.insert(key.clone(), job);
        match checked {
            Ok(_) => self.tell(&key, JobState::Queued, "", now),
            Err(reason) => self.fail(&key, &reason, now),
        }
    }

    /// What to do next; none when there is nothing until [`Self::next_timeout`].
    pub fn poll(&mut self, now: Tai) -> Option<Action> {
        if let Some((key, line)) = self.acceptances.pop_front() {
            return Some(Action::Write { key, line, sync: false });
        }
        self.expire(now);
        if let Some(action) = self.record(now) {
            return Some(action);
        }
        self.start(now)
    }

    /// Jobs whose time is over while nobody works on them.
    fn expire(&mut self, now: Tai) {
        let over = |job: &Job| {
            matches!(job.stage, Stage::Queued | Stage::Waiting(_)) && job.deadline <= now
        };
        let keys: Vec<String> =
            self.jobs.iter().filter(|(_, job)| over(job)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            let waited_for = match self.jobs.get(&key).map(|job| &job.stage) {
                Some(Stage::Waiting(reason)) => format!("deadline passed: {reason}"),
                _ => "deadline passed in the queue".to_owned(),
            };
            self.fail(&key, &waited_for, now);
        }
    }

    fn record(&mut self, now: Tai) -> Option<Action> {
        self.jobs.iter_mut().find_map(|(key, job)| match &mut job.stage {
            Stage::Recording { line, from: from @ Some(_) } if *from <= Some(now) => {
                *from = None;
                Some(Action::Write { key: key.clone(), line: line.clone(), sync: true })
            }
            _ => None,
        })
    }

    /// Starts the most urgent job that a pool can take: by priority, then by deadline.
    fn start(&mut self, now: Tai) -> Option<Action> {
        let mut order: Vec<(u8, Tai, String)> = self
            .jobs
            .iter()
            .filter(|(_, job)| matches!(job.stage, Stage::Queued | Stage::Waiting(_)))
            .map(|(key, job)| (job.work.priority, job.deadline, key.clone()))
            .collect();
        order.sort();
        for (_, _, key) in order {
            match self.choose(&key, now) {
                Ok(pool) => return self.ask(&key, pool, now),
                Err(Some(reason)) => self.wait(&key, reason, now),
                Err(None) => {}
            }
        }
        None
    }

    /// The pool for a job, rather not the one that failed it; else why it waits, or none where
    /// it is only not its turn.
    fn choose(&self, key: &str, now: Tai) -> Result<usize, Option<String>> {
        let Some(job) = self.jobs.get(key) else { return Err(None) };
        let takes = |slot: &Slot| slot.info.tasks.contains(&job.work.task);
        let able: Vec<usize> = (0..self.pools.len()).filter(|at| takes(&self.pools[*at])).collect();
        if able.is_empty() {
            return Err(Some(format!("no pool takes {}", job.work.task)));
        }
        let up: Vec<usize> =
            able.iter().copied().filter(|at| self.pools[*at].paused_until <= now).collect();
        if up.is_empty() {
            return Err(Some(self.pools[able[0]].trouble.clone()));
        }
        let free = up.into_iter().filter(|at| self.pools[*at].running < RUNNING_MAX);
        free.min_by_key(|at| (Some(*at) == job.failed_at, self.pools[*at].running)).ok_or(None)
    }

    fn wait(&mut self, key: &str, reason: String, now: Tai) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        if job.stage != Stage::Waiting(reason.clone()) {
            job.stage = Stage::Waiting(reason.clone());
            self.tell(key, JobState::Waiting, &reason, now);
        }
    }

    fn ask(&mut self, key: &str, pool: usize, now: Tai) -> Option<Action> {
        let job = self.jobs.get_mut(key)?;
        job.stage = Stage::Running { pool, since: now };
        self.pools.get_mut(pool)?.running += 1;
        let left = job.deadline.since(now).max(0);
        let request = Request {
            task: job.work.task.clone(),
            input: Input::Tensors(job.work.inputs.clone()),
            deadline: job.deadline,
            time_left: Duration::from_nanos(left.unsigned_abs()),
            priority: job.work.priority,
            handling: Handling::default(),
            budget: None,
            idempotency_key: key.to_owned(),
            trace: Trace::of(key).attempt(key, job.attempts),
        };
        self.tell(key, JobState::Running, "", now);
        Some(Action::Ask { pool, request })
    }

    /// Takes a pool's answer to the work of a key.
    pub fn answered(&mut self, key: &str, result: Result<Response, PoolError>, now: Tai) {
        let Some(job) = self.jobs.get(key) else { return };
        let Stage::Running { pool, .. } = job.stage else { return };
        if let Some(slot) = self.pools.get_mut(pool) {
            slot.running = slot.running.saturating_sub(1);
        }
        match result.and_then(|response| self.check(key, response)) {
            Ok((response, summary)) => {
                if let Some(slot) = self.pools.get_mut(pool) {
                    slot.pause_ns = PAUSE_NS.0;
                }
                self.retries = (self.retries + RETRIES.1).min(RETRIES.0);
                self.done(key, response, summary, now);
            }
            Err(error) => match error.cause {
                Cause::Deadline => self.fail(key, "no answer before the deadline", now),
                Cause::BadRequest | Cause::Auth | Cause::Quota { .. } => {
                    self.fail(key, &error.said, now);
                }
                Cause::Unavailable | Cause::Overloaded { .. } => {
                    self.pause(pool, error.cause.retry_after(), &error, now);
                    self.queue(key);
                }
                Cause::Failed | Cause::Contract => self.retry(key, pool, &error.said, now),
            },
        }
    }

    /// Holds an answer to the task's contract.
    fn check(&self, key: &str, response: Response) -> Result<(Response, String), PoolError> {
        let job = self.jobs.get(key).ok_or_else(PoolError::deadline)?;
        let contract = Contract::of(&job.work.task)
            .map_err(|error| PoolError::bad_request(error.to_string()))?;
        let checked = contract
            .check_inputs(&job.work.inputs)
            .and_then(|batch| contract.check_outputs(response.output.tensors(), batch));
        checked.map_err(|error| {
            PoolError::contract(format!("the answer of {}: {error}", response.model))
        })?;
        let summary = contract.summary(response.output.tensors());
        Ok((response, summary))
    }

    fn pause(&mut self, pool: usize, asked: Option<Duration>, error: &PoolError, now: Tai) {
        let Some(slot) = self.pools.get_mut(pool) else { return };
        let asked = asked.map_or(0, |asked| i64::try_from(asked.as_nanos()).unwrap_or(i64::MAX));
        // Several jobs may find the same pool gone: that is one piece of news.
        if slot.paused_until <= now {
            slot.paused_until = now.plus(slot.pause_ns.max(asked));
            slot.pause_ns = (slot.pause_ns * 2).min(PAUSE_NS.1);
        }
        slot.trouble = error.to_string();
    }

    fn queue(&mut self, key: &str) {
        if let Some(job) = self.jobs.get_mut(key) {
            job.stage = Stage::Queued;
        }
    }

    fn retry(&mut self, key: &str, pool: usize, reason: &str, now: Tai) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        job.attempts += 1;
        job.failed_at = Some(pool);
        let attempts = job.attempts;
        if attempts >= ATTEMPTS_MAX {
            return self.fail(key, &format!("{reason} ({attempts} attempts)"), now);
        }
        if self.retries < 1.0 {
            return self.fail(key, &format!("{reason} (no retries left for now)"), now);
        }
        self.retries -= 1.0;
        self.queue(key);
        self.tell(key, JobState::Queued, reason, now);
    }

    fn done(&mut self, key: &str, response: Response, summary: String, now: Tai) {
        let Some(mut line) = self.line(key, State::Done, now) else { return };
        line.model = response.model;
        line.result = summary;
        line.outputs = response.output.tensors().iter().map(log::Output::of).collect();
        self.settle(key, line, now);
    }

    fn fail(&mut self, key: &str, reason: &str, now: Tai) {
        let Some(mut line) = self.line(key, State::Failed, now) else { return };
        line.result = reason.to_owned();
        self.settle(key, line, now);
    }

    fn line(&self, key: &str, state: State, now: Tai) -> Option<Line> {
        let job = self.jobs.get(key)?;
        let mut line = Line::new(key, &job.work.task, state, now);
        line.attempts = job.attempts + 1;
        let began = match job.stage {
            Stage::Running { pool, since } => {
                line.pool =
                    self.pools.get(pool).map_or(String::new(), |slot| slot.info.name.clone());
                line.run_ms = now.since(since) as f64 / 1e6;
                since
            }
            _ => now,
        };
        line.queue_ms = began.since(job.accepted) as f64 / 1e6;
        Some(line)
    }

    fn settle(&mut self, key: &str, line: Line, now: Tai) {
        if let Some(job) = self.jobs.get_mut(key) {
            job.stage = Stage::Recording { line, from: Some(now) };
        }
    }

    /// Hears whether a line is in the log. Only then is an outcome told: what was told and not
    /// recorded would be decided a second time after a restart.
    pub fn written(&mut self, key: &str, ok: bool, now: Tai) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        let Stage::Recording { line, from: from @ None } = &mut job.stage else { return };
        if !ok {
            *from = Some(now.plus(WRITE_AGAIN_NS));
            return;
        }
        self.events.push(line.event());
        self.history.read(line.clone());
        self.jobs.remove(key);
    }

    /// When to poll again though nothing happened.
    pub fn next_timeout(&self, now: Tai) -> Option<Tai> {
        let pauses = self.pools.iter().map(|slot| slot.paused_until).filter(|until| *until > now);
        let idle =
            self.jobs.values().all(|job| !matches!(job.stage, Stage::Queued | Stage::Waiting(_)));
        let of_jobs = self.jobs.values().filter_map(|job| match &job.stage {
            Stage::Queued | Stage::Waiting(_) => Some(job.deadline),
            Stage::Recording { from, .. } => *from,
            Stage::Running { .. } => None,
        });
        pauses.filter(|_| !idle).chain(of_jobs).min()
    }

    /// What the page is to be told since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Jobs that have no outcome yet.
    pub fn open_jobs(&self) -> usize {
        self.jobs.len()
    }

    fn tell(&mut self, key: &str, state: JobState, result: &str, now: Tai) {
        let Some(mut line) = self.line(key, State::Accepted, now) else { return };
        line.result = result.to_owned();
        self.events.push(job_event(&line, state));
    }
}

fn job_event(line: &Line, state: JobState) -> Event {
    Event::Job {
        id: line.key.clone(),
        task: line.task.clone(),
        pool: line.pool.clone(),
        state,
        queue_ms: line.queue_ms,
        run_ms: line.run_ms,
        // The pools of today are the station's own; a price comes with pools that have one.
        cost: 0.0,
        result: line.result.clone(),
        time: Tai(line.at),
    }
}

#[cfg(test)]
mod tests;
