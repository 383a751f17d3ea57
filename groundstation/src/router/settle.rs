//! How jobs end: one line in the log, told when the disk has it.

use super::answer::Spent;
use super::ask::Ask;
use super::job::{JobId, Stage};
use super::log::{self, Line, State};
use super::{Action, Router, job_event};
use crate::pool::{Cost, Output, task};
use crate::publish::JobState;
use codecs::time::Tai;

/// Pause before a line is written again that the disk did not take.
const WRITE_AGAIN_NS: i64 = 1_000_000_000;

impl Router {
    pub(super) fn done(
        &mut self,
        id: JobId,
        asked: &Ask,
        model: &str,
        output: &Output,
        spent: &Spent,
        now: Tai,
    ) {
        let Some(mut line) = self.line(id, State::Done, now) else { return };
        if let Some(pool) = self.pools.get(asked.pool) {
            line.pool.clone_from(&pool.spec.name);
        }
        if let Some(job) = self.jobs.get(&id) {
            let waited = asked.since.since(job.accepted) + spent.queue;
            line.queue_ms = waited as f64 / 1e6;
        }
        line.transfer_ms = spent.transfer as f64 / 1e6;
        line.run_ms = spent.run as f64 / 1e6;
        line.model = model.to_owned();
        line.result = task::summary(&asked.contract, output);
        line.outputs = output.tensors().iter().map(log::Output::of).collect();
        if let Output::Document(answer) = output {
            line.form.clone_from(&answer.value);
        }
        self.settle(id, line, now);
    }

    pub(super) fn fail(&mut self, id: JobId, reason: &str, now: Tai) {
        let Some(mut line) = self.line(id, State::Failed, now) else { return };
        line.result = reason.to_owned();
        self.settle(id, line, now);
    }

    pub(super) fn line(&self, id: JobId, state: State, now: Tai) -> Option<Line> {
        let job = self.jobs.get(&id)?;
        let task = self.lanes.get(job.lane).and_then(|lane| self.tasks.get(lane.task));
        // Work of an unknown task is named by its key, which begins with it.
        let name = task.map_or_else(
            || job.key.split(':').next().unwrap_or_default(),
            |(name, _)| name.as_str(),
        );
        let mut line = Line::new(&job.key, name, state, now);
        line.attempts = job.attempts + 1;
        line.trace = format!("{:032x}", job.trace.id);
        line.cost = job.took.cost;
        line.tokens_in = job.took.tokens_in;
        line.tokens_out = job.took.tokens_out;
        line.energy_j = job.took.energy_j;
        let mut began = now;
        if let Some((pool, since)) = job.last.filter(|_| !job.is_queued()) {
            line.pool = self.pools.get(pool).map_or(String::new(), |pool| pool.spec.name.clone());
            line.run_ms = now.since(since) as f64 / 1e6;
            began = since;
        }
        line.queue_ms = began.since(job.accepted) as f64 / 1e6;
        Some(line)
    }

    /// Decides a job: nothing about it is asked, or waited for, any more.
    fn settle(&mut self, id: JobId, line: Line, now: Tai) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if matches!(job.stage, Stage::Recording { .. }) {
            return;
        }
        let asks = std::mem::take(&mut job.asks);
        let (lane, place, deadline) = (job.lane, job.place(id), job.deadline);
        if job.input.take().is_some() {
            self.input_bytes = self.input_bytes.saturating_sub(job.bytes);
        }
        job.stage = Stage::Recording { line: Box::new(line), from: Some(now) };
        self.lanes.remove(lane, place);
        self.expiry.remove(&(deadline, id));
        self.records.insert((now, id));
        for ask in asks {
            let decided = |id: &JobId| {
                let job = self.jobs.get(id);
                job.is_none_or(|job| matches!(job.stage, Stage::Recording { .. }))
            };
            let vain = self.asks.get(&ask).is_some_and(|asked| asked.jobs.iter().all(decided));
            if vain && let Some(asked) = self.take_ask(ask) {
                self.pay(Some(asked.pool), Some(asked.task), asked.reserved, Cost::ZERO, now);
                self.compare(&asked, None);
                self.span_given_up(&asked, now);
                if let Some(pool) = self.pools.get_mut(asked.pool) {
                    pool.questions.late += 1;
                }
                self.out.push_back(Action::Cancel { ask });
            }
        }
    }

    /// Hears whether a line is in the log. Only then is an outcome told: what was told and not
    /// recorded would be decided a second time after a restart.
    pub fn written(&mut self, key: &str, ok: bool, now: Tai) {
        if self.forsaken_written(key, ok) {
            return;
        }
        let Some(id) = self.by_key.get(key).copied() else { return };
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Stage::Recording { line, from: from @ None } = &mut job.stage else { return };
        if !ok {
            let again = now.plus(WRITE_AGAIN_NS);
            *from = Some(again);
            self.records.insert((again, id));
            return;
        }
        self.events.push(line.event());
        let line = (**line).clone();
        self.span_job(id, &line, now);
        self.account.add(&line);
        self.meter.ended(&line);
        self.history.read(line);
        self.by_key.remove(key);
        self.jobs.remove(&id);
    }

    pub(super) fn tell(&mut self, id: JobId, state: JobState, result: &str, now: Tai) {
        let Some(mut line) = self.line(id, State::Accepted, now) else { return };
        line.result = result.to_owned();
        self.events.push(job_event(&line, state));
    }

    pub(super) fn reserve(&mut self, pool: usize, task: usize, cost: Cost) {
        self.purse.reserve(cost);
        if let Some(purse) = self.task_purses.get_mut(task) {
            purse.reserve(cost);
        }
        if let Some(purse) = self.pool_purses.get_mut(pool) {
            purse.reserve(cost);
        }
    }

    pub(super) fn pay(
        &mut self,
        pool: Option<usize>,
        task: Option<usize>,
        reserved: Cost,
        cost: Cost,
        now: Tai,
    ) {
        self.purse.pay(reserved, cost, now);
        if let Some(purse) = task.and_then(|task| self.task_purses.get_mut(task)) {
            purse.pay(reserved, cost, now);
        }
        if let Some(purse) = pool.and_then(|pool| self.pool_purses.get_mut(pool)) {
            purse.pay(reserved, cost, now);
        }
    }
}
