//! Answers and errors: what they say of the pool, and what becomes of the jobs.

use super::ask::Ask;
use super::job::{AskId, Job, JobId, Stage};
use super::{ATTEMPTS_MAX, Router, batch};
use crate::pool::task;
use crate::pool::{Cause, Cost, Output, PoolError, Response, Usage};
use crate::publish::JobState;
use codecs::time::Tai;
use std::time::Duration;

/// The first answer of two to one question.
pub(super) struct Pair {
    /// The pool that is judged by it.
    pub judged: usize,
    pub first: Option<Option<Output>>,
}

/// Where the time of an answer went, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Spent {
    pub queue: i64,
    pub transfer: i64,
    pub run: i64,
}

impl Router {
    /// Takes a pool's answer to a question. One that was given up before counts as late, and that
    /// is all.
    pub fn answered(&mut self, ask: AskId, result: Result<Response, PoolError>, now: Tai) {
        let Some(asked) = self.take_ask(ask) else { return };
        let result = result.and_then(|response| {
            let items = asked.items.iter().sum();
            match task::check_output(&asked.contract, &response.output, items) {
                Ok(()) => Ok(response),
                Err(error) => {
                    let said = format!("the answer of {}: {error}", response.model);
                    Err(PoolError::contract(said).with_usage(response.usage))
                }
            }
        });
        let wall = now.since(asked.since).max(0);
        let usage = result.as_ref().map_or_else(|error| *error.usage, |response| response.usage);
        let usage = usage.credible();
        let spent = self.spent(&asked, &usage, wall);
        let cause = result.as_ref().err().map(|error| error.cause);
        let cost = self.charge(&asked, cause, &usage, &spent, now);
        self.judge(&asked, result.as_ref().err(), &spent, cost, wall, now);
        if let (Ok(_), Some(joules)) = (&result, usage.energy_j)
            && let Some(pool) = self.pools.get_mut(asked.pool)
        {
            pool.learn_energy(asked.task, joules);
        }
        self.meter_answer(&asked, &result, &usage, &spent, cost);
        self.span_ask(&asked, result.as_ref().map(|_| &usage), &spent, now);
        let output = result.as_ref().ok().map(|response| response.output.clone());
        self.compare(&asked, output);
        if asked.mirror {
            return;
        }
        let share = asked.jobs.len() as u64;
        let energy = self.energy(asked.pool, &usage, &spent);
        for (part, id) in (0..).zip(&asked.jobs) {
            if let Some(job) = self.jobs.get_mut(id) {
                job.asks.retain(|known| *known != ask);
                job.took.add(cost, &usage, energy, part, share);
            }
        }
        match result {
            Ok(response) => self.good(&asked, response, &spent, now),
            Err(error) => {
                for id in &asked.jobs {
                    self.bad(*id, &asked, &error, now);
                    if cost > Cost::ZERO && self.jobs.get(id).is_some_and(Job::is_queued) {
                        self.note_cost(*id, asked.pool, now);
                    }
                }
            }
        }
    }

    fn good(&mut self, asked: &Ask, response: Response, spent: &Spent, now: Tai) {
        let outputs = batch::split(&response.output, &asked.items);
        for (id, output) in asked.jobs.iter().zip(outputs) {
            self.retries.earn();
            self.hedging.earn();
            if self.jobs.get(id).is_some_and(|job| job.stage == Stage::Running) {
                self.done(*id, asked, &response.model, &output, spent, now);
            }
        }
    }

    /// Where the time went: what the pool states, else what the way there takes by its rate.
    fn spent(&self, asked: &Ask, usage: &Usage, wall: i64) -> Spent {
        let ns = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        let queue = usage.queue.map_or(0, ns).min(wall);
        let pool = self.pools.get(asked.pool);
        let run = match usage.run {
            Some(run) => ns(run).min(wall - queue),
            None => {
                let transfer = pool.map_or(0, |pool| pool.transfer_ns(asked.bytes));
                (wall - queue - transfer).max(0)
            }
        };
        Spent { queue, run, transfer: wall - queue - run }
    }

    pub(super) fn energy(&self, pool: usize, usage: &Usage, spent: &Spent) -> Option<f64> {
        let watts = self.pools.get(pool).and_then(|pool| pool.spec.watts);
        usage.energy_j.or_else(|| watts.map(|watts| watts * spent.run as f64 / 1e9))
    }

    /// Pays for a question: what the pool states, else what its price list says of an answer that
    /// came or of time that it had. A refusal, or an error of its own, costs only what it states.
    /// An answer by the token that does not say how many it took costs what was expected of it.
    fn charge(
        &mut self,
        asked: &Ask,
        error: Option<Cause>,
        usage: &Usage,
        spent: &Spent,
        now: Tai,
    ) -> Cost {
        let run = Duration::from_nanos(spent.run.unsigned_abs());
        let price = self.pools.get(asked.pool).map(|pool| pool.spec.price).unwrap_or_default();
        let stated = *usage != Usage::default();
        let had = matches!(error, None | Some(Cause::Contract | Cause::Deadline));
        let cost = if had || stated { price.of(usage, run) } else { Cost::ZERO };
        let counted = usage.tokens_in.is_some() || usage.tokens_out.is_some();
        let by_guess = error.is_none() && price.is_by_token() && !counted && usage.cost.is_none();
        let cost = if by_guess { cost.max(asked.reserved) } else { cost };
        self.pay(Some(asked.pool), Some(asked.task), asked.reserved, cost, now);
        cost
    }

    /// What a question says of the pool.
    fn judge(
        &mut self,
        asked: &Ask,
        error: Option<&PoolError>,
        spent: &Spent,
        cost: Cost,
        wall: i64,
        now: Tai,
    ) {
        let Some(pool) = self.pools.get_mut(asked.pool) else { return };
        match error {
            None => pool.succeed(asked.task, spent.run + spent.queue, cost, asked.full, now),
            Some(error) => {
                *pool.questions.errors.entry(error.cause.name()).or_default() += 1;
                if pool.fail(asked.task, error, wall, now) && error.cause == Cause::Unavailable {
                    self.describe_later(asked.pool, now);
                }
            }
        }
        self.wake(asked.pool);
    }

    /// Compares the answers of a pair when the second is there.
    pub(super) fn compare(&mut self, asked: &Ask, output: Option<Output>) {
        let Some(number) = asked.pair else { return };
        let Some(pair) = self.pairs.get_mut(&number) else { return };
        let Some(first) = pair.first.take() else {
            pair.first = Some(output);
            return;
        };
        let judged = pair.judged;
        self.pairs.remove(&number);
        let Some(pool) = self.pools.get_mut(judged) else { return };
        let compared = &mut pool.compared;
        match (first, output) {
            (Some(first), Some(second)) => {
                let (apart, same) = task::compare(&asked.contract, &first, &second);
                compared.pairs += 1;
                compared.same += u64::from(same);
                if apart.is_finite() {
                    compared.apart_max = compared.apart_max.max(apart);
                }
            }
            _ => compared.incomparable += 1,
        }
    }

    /// What becomes of a job that a question was in vain for.
    fn bad(&mut self, id: JobId, asked: &Ask, error: &PoolError, now: Tai) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.stage != Stage::Running || !job.asks.is_empty() {
            // Decided already, or another pool is still at it.
            return;
        }
        let late = job.deadline <= now;
        match error.cause {
            Cause::Deadline if late => self.fail(id, "no answer before the deadline", now),
            // The pool took no work: waiting for it, or going elsewhere, costs nothing.
            Cause::Unavailable | Cause::Overloaded { .. } | Cause::Auth | Cause::Quota { .. } => {
                self.requeue(id, "", now);
            }
            Cause::BadRequest if asked.jobs.len() == 1 && !self.has_untried(id, asked.pool) => {
                self.fail(id, &error.said, now);
            }
            Cause::BadRequest | Cause::Contract | Cause::Failed | Cause::Deadline => {
                self.retry(id, asked, error, now);
            }
        }
    }

    /// Whether a pool is left that has not failed a job.
    fn has_untried(&self, id: JobId, at: usize) -> bool {
        let Some(job) = self.jobs.get(&id) else { return false };
        let Some(lane) = self.lanes.get(job.lane) else { return false };
        lane.pools.iter().any(|pool| *pool != at && !job.tried.contains(pool))
    }

    fn retry(&mut self, id: JobId, asked: &Ask, error: &PoolError, now: Tai) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.attempts += 1;
        let attempts = job.attempts;
        if asked.jobs.len() > 1 {
            // One of them may have spoilt it for the others.
            job.alone = true;
        } else if !job.tried.contains(&asked.pool) {
            job.tried.push(asked.pool);
        }
        let said = if error.said.is_empty() { error.to_string() } else { error.said.clone() };
        if attempts >= ATTEMPTS_MAX {
            return self.fail(id, &format!("{said} ({attempts} attempts)"), now);
        }
        if !self.retries.take() {
            return self.fail(id, &format!("{said} (no retries left for now)"), now);
        }
        if let Some(row) = self.metered(asked.pool, asked.task) {
            row.retries += 1;
        }
        self.requeue(id, &said, now);
    }

    fn requeue(&mut self, id: JobId, said: &str, now: Tai) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.stage = Stage::Queued { told: String::new() };
        job.waits_from = now;
        let (lane, place) = (job.lane, job.place(id));
        self.lanes.push(lane, place);
        if !said.is_empty() {
            self.tell(id, JobState::Queued, said, now);
        }
    }
}
