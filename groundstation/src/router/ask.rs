//! Questions: what goes to a pool, alone or together, and until when an answer is waited for.

use super::job::{AskId, JobId, Stage};
use super::pool::Gate;
use super::{Action, Job, Role, Router, batch};
use crate::pool::{Cost, Input, Request, Trace, request::Answers};
use crate::publish::JobState;
use codecs::mission::task::Contract;
use codecs::time::Tai;
use std::sync::Arc;
use std::time::Duration;

/// Least time that a second pool is given over the first: less is noise.
const HEDGE_NS_LEAST: i64 = 10_000_000;

/// Pairs of answers that are compared at a time.
const PAIRS_MAX: usize = 64;

/// A question that is on its way.
pub(super) struct Ask {
    pub pool: usize,
    pub task: usize,
    pub contract: Arc<Contract>,
    pub jobs: Vec<JobId>,
    /// Items of each job.
    pub items: Vec<u64>,
    pub bytes: u64,
    pub since: Tai,
    /// As the pool is told it.
    pub trace: Trace,
    pub until: Tai,
    pub hedge_at: Option<Tai>,
    pub reserved: Cost,
    /// It tries whether the pool is back.
    pub probe: bool,
    /// The pool had all that it is given at a time.
    pub full: bool,
    /// It is only compared.
    pub mirror: bool,
    pub pair: Option<u64>,
    /// Memory that its answer may take.
    pub room: super::room::Taken,
}

impl Router {
    /// Whether an answer of a pool about a job, and what may go with it, finds room.
    pub(super) fn has_room(&self, job: &Job, at: usize, task: usize) -> bool {
        let (Some(pool), Some((_, contract))) = (self.pools.get(at), self.tasks.get(task)) else {
            return true;
        };
        let together = job.batch.max(pool.spec.batch_max.into());
        self.room.fits(pool.spec.answers.room(contract.outputs_elements(together)))
    }

    /// The least that an answer about one job of a task may take, whoever gives it.
    pub(super) fn least_room(&self, task: usize) -> u64 {
        let contract = self.tasks.get(task).map(|(_, contract)| contract);
        let elements = contract.and_then(|of| of.outputs_elements(1));
        let all = [Answers::Json, Answers::Messages, Answers::Words];
        all.map(|of| of.room(elements)).into_iter().min().unwrap_or(0)
    }

    /// Asks a pool about a job and what goes with it; else when to look again, since others may come
    /// to go with it.
    pub(super) fn ask(&mut self, id: JobId, at: usize, now: Tai) -> Result<Action, Tai> {
        let together = self.together(id, at);
        if let Some(until) = self.batch_waits(id, at, together.len(), now) {
            return Err(until);
        }
        if let Some(load) = self.load(id) {
            return Ok(load);
        }
        let pair = self.new_pair(id, at, together.len());
        let action = self.send(&together, at, pair, false, now);
        self.mirror(&together, at, pair, now);
        for id in together {
            self.tell(id, JobState::Running, "", now);
        }
        Ok(action)
    }

    /// Has an input read that rests in the archive.
    fn load(&mut self, id: JobId) -> Option<Action> {
        let job = self.jobs.get_mut(&id)?;
        let unit = job.unit.filter(|_| job.input.is_none())?;
        job.stage = Stage::Loading;
        let (lane, place, key) = (job.lane, job.place(id), Arc::clone(&job.key));
        self.lanes.remove(lane, place);
        let task = self.lanes.get(lane)?.task;
        let task = self.tasks.get(task).map(|(name, _)| name.clone()).unwrap_or_default();
        Some(Action::Load { key, task, unit })
    }

    /// Takes an input from the archive; or why there is none, which ends the job.
    pub fn loaded(&mut self, key: &str, input: Result<Input, String>, now: Tai) {
        let Some(id) = self.by_key.get(key).copied() else { return };
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.stage == Stage::Loading) else {
            return;
        };
        match input {
            Ok(input) => {
                job.bytes = input.bytes();
                job.input = Some(input);
                job.stage = Stage::Queued { told: String::new() };
                self.input_bytes += job.bytes;
                let (lane, place) = (job.lane, job.place(id));
                self.lanes.push(lane, place);
                self.lanes.wake(lane);
            }
            Err(why) => self.fail(id, &format!("its input can't be read: {why}"), now),
        }
    }

    /// The jobs that go as one question with a job: after it in its lane, of the same shape.
    fn together(&self, id: JobId, at: usize) -> Vec<JobId> {
        let alone = vec![id];
        let (Some(job), Some(pool)) = (self.jobs.get(&id), self.pools.get(at)) else {
            return alone;
        };
        let Some(lane) = self.lanes.get(job.lane) else { return alone };
        let most = u64::from(pool.spec.batch_max);
        let batches = self.tasks.get(lane.task).is_some_and(|(_, contract)| contract.has_batches());
        let half_open = pool.in_flight == 0 && pool.probing;
        let (Some(Input::Tensors(first)), true) = (&job.input, most > 1 && batches && !job.alone)
        else {
            return alone;
        };
        if half_open {
            return alone;
        }
        let (mut ids, mut items) = (alone, job.batch);
        for (_, _, other) in lane.iter().take(most as usize * 2) {
            let Some(of) = self.jobs.get(&other).filter(|_| other != id) else { continue };
            let Some(Input::Tensors(tensors)) = &of.input else { continue };
            let fits = !of.alone
                && !of.tried.contains(&at)
                && items + of.batch <= most
                && batch::same_shape(first, tensors);
            if fits {
                ids.push(other);
                items += of.batch;
            }
        }
        ids
    }

    /// Until when a question waits for others to go with it.
    fn batch_waits(&self, id: JobId, at: usize, together: usize, now: Tai) -> Option<Tai> {
        let (job, pool) = (self.jobs.get(&id)?, self.pools.get(at)?);
        let wait = i64::try_from(pool.spec.batch_wait.as_nanos()).unwrap_or(i64::MAX);
        let until = job.queued.plus(wait);
        let more = (together as u64) < u64::from(pool.spec.batch_max) && !job.alone;
        // Never so long that the job misses its deadline by it.
        let lane = self.lanes.get(job.lane)?;
        let latest = job.deadline.plus(-2 * pool.predicted_ns(lane.task, job.bytes));
        (more && until > now && until < latest).then_some(until)
    }

    /// Sends a question about jobs.
    fn send(
        &mut self,
        jobs: &[JobId],
        at: usize,
        pair: Option<u64>,
        mirror: bool,
        now: Tai,
    ) -> Action {
        let ask = self.next;
        self.next += 1;
        let all: Vec<_> = jobs.iter().filter_map(|id| self.jobs.get(id)).collect();
        let first = all.first();
        let lane = first.and_then(|job| self.lanes.get(job.lane));
        let task = lane.map_or(0, |lane| lane.task);
        let handling = lane.map(|lane| (*lane.handling).clone()).unwrap_or_default();
        let budget = lane.and_then(|lane| lane.budget);
        let deadline = all.iter().map(|job| job.deadline).min().unwrap_or(now);
        let left = Duration::from_nanos(deadline.since(now).max(0).unsigned_abs());
        let bytes = all.iter().map(|job| job.bytes).sum();
        let items: Vec<u64> = all.iter().map(|job| job.batch).collect();
        let inputs = all.iter().filter_map(|job| job.input.as_ref());
        let input = batch::join(&inputs.collect::<Vec<_>>());
        let attempt = first.map_or(0, |job| job.attempts);
        let key = first.map(|job| job.key.to_string()).unwrap_or_default();
        let key = match (jobs.len(), mirror) {
            (1, false) => key,
            (1, true) => format!("{key}:compared"),
            (others, _) => format!("{key}+{}", others - 1),
        };
        let trace = first.map(|job| job.trace).unwrap_or_default().attempt(&key, attempt, now);
        let others = self.has_others(jobs, at, task);
        let tokens = self.tokens_of(task);
        let (name, contract) = match self.tasks.get(task) {
            Some((name, contract)) => (name.clone(), Arc::clone(contract)),
            // A lane's task always has a contract: work without one fails before it is queued.
            None => return Action::Cancel { ask },
        };
        let Some(pool) = self.pools.get_mut(at) else { return Action::Cancel { ask } };
        let allotted = if others { pool.allotted(task, left) } else { left };
        let until = now.plus(i64::try_from(allotted.as_nanos()).unwrap_or(i64::MAX));
        let probe = pool.gate(task, now) == Gate::Probe;
        let reserved = pool.predicted_cost(task, bytes, tokens);
        let high = pool.of(task).and_then(|of| of.estimate.high_ns());
        pool.in_flight += 1;
        pool.probing |= probe;
        pool.questions.asked += 1;
        let full = pool.in_flight >= pool.limit.value();
        let answers = pool.spec.answers;
        let hedge = self.settings.hedge && jobs.len() == 1 && !mirror;
        let hedge_at = high.filter(|_| hedge).map(|ns| now.plus(ns.max(HEDGE_NS_LEAST)));
        let priority = first.map_or(0, |_| all_priority(&all));
        self.note_full(at);
        self.reserve(at, task, reserved);
        if let Some(row) = self.metered(at, task) {
            row.asked += 1;
        }
        self.timers.insert((until, ask));
        if let Some(hedge_at) = hedge_at {
            self.hedges.insert((hedge_at, ask));
        }
        for id in jobs.iter().filter(|_| !mirror) {
            let waited = self.jobs.get(id).is_some_and(|job| job.asks.is_empty());
            if waited {
                self.span_queue(*id, at, now);
            }
            let Some(job) = self.jobs.get_mut(id) else { continue };
            let (lane, place) = (job.lane, job.place(*id));
            job.stage = Stage::Running;
            job.last = Some((at, now));
            job.asks.push(ask);
            self.lanes.remove(lane, place);
        }
        let jobs = jobs.to_vec();
        let outputs_elements = contract.outputs_elements(items.iter().sum());
        let room = self.room.take(answers.room(outputs_elements));
        self.asks.insert(
            ask,
            Ask {
                pool: at,
                task,
                contract,
                jobs,
                items,
                bytes,
                since: now,
                trace,
                until,
                hedge_at,
                reserved,
                probe,
                full,
                mirror,
                pair,
                room,
            },
        );
        let request = Request {
            task: name,
            outputs_elements,
            input,
            deadline,
            time_left: allotted,
            priority,
            handling,
            budget,
            idempotency_key: key,
            trace,
        };
        Action::Ask { ask, pool: at, request: Box::new(request) }
    }

    /// Whether another pool could take over from one.
    fn has_others(&self, jobs: &[JobId], at: usize, task: usize) -> bool {
        let job = jobs.first().and_then(|id| self.jobs.get(id));
        let lane = job.and_then(|job| self.lanes.get(job.lane));
        let (Some(job), Some(lane)) = (job, lane) else { return false };
        lane.pools.iter().filter(|other| **other != at && !job.tried.contains(other)).any(|other| {
            let pool = self.pools.get(*other);
            pool.is_some_and(|pool| pool.spec.role == Role::Main && pool.of(task).is_some())
        })
    }

    fn new_pair(&mut self, id: JobId, at: usize, together: usize) -> Option<u64> {
        if together != 1 || self.pairs.len() >= PAIRS_MAX {
            return None;
        }
        self.mirror_of(id, at).map(|_| {
            self.next += 1;
            self.next
        })
    }

    /// The pool that is asked the same, only to be compared: a shadow beside a pool that counts,
    /// a pool that counts beside a canary.
    fn mirror_of(&self, id: JobId, at: usize) -> Option<usize> {
        let job = self.jobs.get(&id)?;
        let lane = self.lanes.get(job.lane)?;
        let canary = matches!(self.pools.get(at)?.spec.role, Role::Canary(_));
        lane.pools.iter().copied().find(|other| {
            let Some(pool) = self.pools.get(*other).filter(|_| *other != at) else { return false };
            let wanted = match pool.spec.role {
                Role::Main => canary,
                Role::Shadow(share) => !canary && job.draw < share,
                Role::Canary(_) => false,
            };
            wanted && pool.in_flight < pool.limit.slots(u8::MAX, self.settings.hold_back)
        })
    }

    fn mirror(&mut self, jobs: &[JobId], at: usize, pair: Option<u64>, now: Tai) {
        let (Some(pair), [id]) = (pair, jobs) else { return };
        let Some(other) = self.mirror_of(*id, at) else { return };
        let Some(lane) = self.jobs.get(id).and_then(|job| self.lanes.get(job.lane)) else { return };
        let (task, bytes) = (lane.task, self.jobs.get(id).map_or(0, |job| job.bytes));
        let Some(pool) = self.pools.get(other) else { return };
        let cost = pool.predicted_cost(task, bytes, self.tokens_of(task));
        // One that was away is tried with a comparison: nothing else is ever asked of a shadow.
        let open = !matches!(pool.gate(task, now), Gate::Shut(_));
        let fits = self.jobs.get(id).is_some_and(|job| self.has_room(job, other, task));
        if open && fits && self.unaffordable(other, task, cost, now).is_none() {
            let judged = if matches!(pool.spec.role, Role::Shadow(_)) { other } else { at };
            self.pairs.insert(pair, super::answer::Pair { judged, first: None });
            let action = self.send(jobs, other, Some(pair), true, now);
            self.out.push_back(action);
        }
    }

    /// Asks a second pool where the first takes longer than it nearly always does.
    pub(super) fn hedge(&mut self, now: Tai) {
        while let Some((at, ask)) = self.hedges.first().copied()
            && at <= now
            && self.out.is_empty()
        {
            self.hedges.remove(&(at, ask));
            let Some(asked) = self.asks.get(&ask) else { continue };
            let (pool, Some(id)) = (asked.pool, asked.jobs.first().copied()) else { continue };
            let Some(job) = self.jobs.get(&id).filter(|job| job.asks.len() == 1) else { continue };
            let task = self.lanes.get(job.lane).map(|lane| lane.task);
            let choice = self.choose(job, Some(pool), now);
            if let super::choose::Choice::Pool(other) = choice
                && task.is_some_and(|task| self.has_room(job, other, task))
                && self.hedging.take()
            {
                let action = self.send(&[id], other, None, false, now);
                self.out.push_back(action);
                if let Some(row) = task.and_then(|task| self.metered(other, task)) {
                    row.hedges += 1;
                }
            }
        }
    }

    /// Forgets a question.
    pub(super) fn take_ask(&mut self, ask: AskId) -> Option<Ask> {
        let taken = self.asks.remove(&ask)?;
        self.timers.remove(&(taken.until, ask));
        if let Some(at) = taken.hedge_at {
            self.hedges.remove(&(at, ask));
        }
        if let Some(pool) = self.pools.get_mut(taken.pool) {
            pool.in_flight = pool.in_flight.saturating_sub(1);
            pool.probing &= !taken.probe;
        }
        let waited = self.room.give(taken.room);
        waited.into_iter().for_each(|lane| self.lanes.wake(lane));
        self.wake(taken.pool);
        Some(taken)
    }
}

/// The most urgent of several.
fn all_priority(jobs: &[&Job]) -> u8 {
    jobs.iter().map(|job| job.priority).min().unwrap_or(0)
}
