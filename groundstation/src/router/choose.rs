//! The pool for a job: hard filters, then a score; and who waits for what.

use super::job::{Job, JobId, Stage};
use super::lanes::Lane;
use super::pool::Gate;
use super::{Action, Role, Router, account};
use crate::pool::Cost;
use crate::publish::JobState;
use codecs::mission::task::Kind;
use codecs::time::Tai;

/// Jobs of a lane that are looked at before the lane waits: the first may be waiting for a pool that
/// has not failed it yet.
const SCAN: usize = 8;

/// Health below this is as bad as this: who failed long enough still gets a chance.
const HEALTH_LEAST: f64 = 0.05;

/// A turn of a full pool takes at least so long, so that none is looked at over and over.
const TURN_NS_LEAST: i64 = 10_000_000;

/// Why a question waits that a pool would take.
const NO_ROOM: &str =
    "answers on their way, or one that waits to be asked, take routing.answer_bytes";

pub(super) enum Choice {
    Pool(usize),
    Wait {
        /// When something changes by itself.
        until: Option<Tai>,
        /// Why, where it is more than not its turn.
        why: Option<String>,
    },
}

fn earlier(one: Option<Tai>, other: Option<Tai>) -> Option<Tai> {
    [one, other].into_iter().flatten().min()
}

impl Router {
    /// Asks about the most urgent job that a pool can take.
    pub(super) fn start(&mut self, now: Tai) -> Option<Action> {
        while let Some(lane) = self.lanes.most_urgent(now) {
            if let Some(action) = self.place(lane, now) {
                return Some(action);
            }
        }
        None
    }

    fn place(&mut self, lane: usize, now: Tai) -> Option<Action> {
        let task = self.lanes.get(lane)?.task;
        // Looking at pools is what takes long.
        if !self.room.fits(self.least_room(task)) {
            self.wait_for_room(lane);
            return None;
        }
        let heads: Vec<JobId> = self.lanes.get(lane)?.iter().take(SCAN).map(|row| row.2).collect();
        let (mut wake, mut lane_why) = (None, None);
        for id in heads {
            let Some(job) = self.jobs.get(&id) else { continue };
            let special = !job.tried.is_empty();
            match self.choose(job, None, now) {
                Choice::Pool(pool) if !self.has_room(job, pool, task) => {
                    self.wait_for_room(lane);
                    return None;
                }
                Choice::Pool(pool) => match self.ask(id, pool, now) {
                    Ok(action) => {
                        self.lanes.get_mut(lane)?.why = None;
                        return Some(action);
                    }
                    Err(until) => {
                        wake = earlier(wake, Some(until));
                        break;
                    }
                },
                Choice::Wait { until, why } => {
                    wake = earlier(wake, until);
                    if let Some(why) = why {
                        self.wait(id, why.clone(), now);
                        lane_why = lane_why.or(Some(why).filter(|_| !special));
                    }
                    // Who comes after one without a past has no more choice than that one, but for
                    // canaries' shares, which wait a turn.
                    if !special {
                        break;
                    }
                }
            }
        }
        self.lanes.get_mut(lane)?.why = lane_why;
        self.lanes.block(lane, wake);
        None
    }

    fn wait_for_room(&mut self, lane: usize) {
        self.room.wait(lane);
        if let Some(of) = self.lanes.get_mut(lane) {
            of.why = Some(NO_ROOM.to_owned());
        }
        self.lanes.block(lane, None);
    }

    fn wait(&mut self, id: JobId, why: String, now: Tai) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if let Stage::Queued { told } = &mut job.stage
            && *told != why
        {
            told.clone_from(&why);
            self.tell(id, JobState::Waiting, &why, now);
        }
    }

    /// Pools of a lane that a job of it could go to, or that have something to say of why not: all
    /// but those that are full. A queue is long because they are, so that this is what keeps a
    /// decision short. A budget for each job is held against the full ones too: who can't afford
    /// them is to be told, not to wait.
    pub(super) fn candidates<'a>(&'a self, lane: &'a Lane) -> impl Iterator<Item = usize> + 'a {
        lane.set.without(if lane.budget.is_none() { &self.full } else { &self.nobody })
    }

    fn full_of<'a>(&'a self, lane: &'a Lane) -> impl Iterator<Item = usize> + 'a {
        lane.set.and(if lane.budget.is_none() { &self.full } else { &self.nobody })
    }

    /// The pool for a job, other than one that has it already.
    pub(super) fn choose(&self, job: &Job, has_it: Option<usize>, now: Tai) -> Choice {
        let wait = |until, why| Choice::Wait { until, why };
        let Some(lane) = self.lanes.get(job.lane) else { return wait(None, None) };
        if lane.pools.is_empty() {
            return wait(None, Some(lane.objection.clone()));
        }
        let task = lane.task;
        let tokens = self.tokens_of(task);
        let (mut best, mut until) = (None, None);
        let (mut up, mut fresh_is_busy, mut shut, mut broke) = (false, false, None, None);
        for at in self.full_of(lane).filter(|at| Some(*at) != has_it) {
            up = true;
            fresh_is_busy = !job.tried.contains(&at);
            if fresh_is_busy {
                break;
            }
        }
        for at in self.candidates(lane) {
            let Some(pool) = self.pools.get(at).filter(|_| Some(at) != has_it) else { continue };
            let canary = match pool.spec.role {
                Role::Main => false,
                Role::Canary(share) if job.draw < share => true,
                Role::Canary(_) | Role::Shadow(_) => continue,
            };
            let gate = pool.gate(task, now);
            if let Gate::Shut(then) = gate {
                until = earlier(until, then);
                shut.get_or_insert(at);
                continue;
            }
            let cost = pool.predicted_cost(task, job.bytes, tokens);
            if lane.budget.is_some_and(|budget| cost > budget) {
                broke.get_or_insert_with(|| {
                    format!("{}: would cost {cost}, above the job's budget", pool.spec.name)
                });
                continue;
            }
            if let Some(why) = self.unaffordable(at, task, cost, now) {
                broke.get_or_insert(why);
                until = earlier(until, Some(account::day_end(now)));
                continue;
            }
            up = true;
            let tried = job.tried.contains(&at);
            let slots = pool.limit.slots(job.priority, self.settings.hold_back);
            if gate == Gate::Open && pool.in_flight >= slots {
                fresh_is_busy |= !tried;
                continue;
            }
            let predicted = pool.predicted_ns(task, job.bytes);
            let late = now.plus(predicted) > job.deadline;
            if late && pool.in_flight > 0 {
                // An idle one may try, and be known better afterwards.
                continue;
            }
            let rank = (tried, late, !canary, self.score((at, task), predicted, cost, now));
            if best.as_ref().is_none_or(|(known, _)| rank < *known) {
                best = Some((rank, at));
            }
        }
        match best {
            Some(((true, ..), _)) if fresh_is_busy => wait(until, None),
            Some(((_, false, true, score), at)) if has_it.is_none() => {
                match self.waits_for_cheaper(lane, job, (at, score), now) {
                    Some(turn) => wait(earlier(until, Some(turn)), None),
                    None => Choice::Pool(at),
                }
            }
            Some((_, at)) => Choice::Pool(at),
            None if up => wait(until, None),
            None => {
                let trouble = shut.and_then(|at| self.pools.get(at)?.trouble(task, now));
                wait(until, broke.or(trouble))
            }
        }
    }

    /// Until when to wait for a full pool, where that is better than to ask this dearer one at once.
    /// Who waits has all of the lane behind wait as well; and who waited in vain for as long as it
    /// was worth waits no longer, however quick the full one is thought to be.
    fn waits_for_cheaper(
        &self,
        lane: &Lane,
        job: &Job,
        (best, score): (usize, f64),
        now: Tai,
    ) -> Option<Tai> {
        let (task, tokens) = (lane.task, self.tokens_of(lane.task));
        let of = |at: usize| {
            let pool = self.pools.get(at)?;
            Some((pool, pool.predicted_cost(task, job.bytes, tokens)))
        };
        let (dear, cost) = of(best)?;
        if self.toll((best, task), dear.predicted_ns(task, job.bytes), cost) <= 0.0 {
            return None;
        }
        let waited = now.since(job.waits_from).max(0) as f64 / 1e9;
        let turns = lane.pools.iter().copied().filter_map(|at| {
            let (pool, cost) = of(at)?;
            let slots = pool.limit.slots(job.priority, self.settings.hold_back);
            let full = pool.gate(task, now) == Gate::Open && pool.in_flight >= slots;
            if !full || pool.spec.role != Role::Main || job.tried.contains(&at) {
                return None;
            }
            let run = pool.of(task).map_or(0, |of| of.estimate.mean_ns());
            let turn = (run / slots.max(1) as i64).max(TURN_NS_LEAST);
            // The time that this job waits is in the prediction of a pool that is full.
            let predicted = pool.predicted_ns(task, job.bytes);
            let others = turn as f64 / 1e9 * lane.len().saturating_sub(1) as f64;
            let later = now.plus(turn);
            let is_better = self.score((at, task), predicted, cost, now) + others + waited < score
                && later.plus(predicted.max(dear.predicted_ns(task, job.bytes))) <= job.deadline
                && lane.budget.is_none_or(|budget| cost <= budget)
                && self.unaffordable(at, task, cost, now).is_none();
            is_better.then_some(later)
        });
        turns.min()
    }

    /// Money and energy of an answer, turned into seconds.
    fn toll(&self, (at, task): (usize, usize), predicted_ns: i64, cost: Cost) -> f64 {
        let joules = self.pools.get(at).map_or(0.0, |pool| pool.predicted_j(task, predicted_ns));
        cost.units() * self.settings.price_s + joules * self.settings.joule_s
    }

    /// Seconds that an answer is worth waiting, money and energy turned into seconds too.
    fn score(&self, (at, task): (usize, usize), predicted_ns: i64, cost: Cost, now: Tai) -> f64 {
        let Some(pool) = self.pools.get(at) else { return f64::INFINITY };
        let health = pool.health(now);
        let seconds = predicted_ns as f64 / 1e9 / health.max(HEALTH_LEAST);
        let score = seconds + self.toll((at, task), predicted_ns, cost);
        // Of pools that are the same in all this, the healthier and the emptier.
        score + (1.0 - health) * 1e-3 + pool.in_flight as f64 * 1e-6
    }

    /// Why an answer would be too dear now.
    pub(super) fn unaffordable(
        &self,
        pool: usize,
        task: usize,
        cost: Cost,
        now: Tai,
    ) -> Option<String> {
        let purses = [
            ("the station", Some(&self.purse)),
            ("the task", self.task_purses.get(task)),
            ("the pool", self.pool_purses.get(pool)),
        ];
        purses.into_iter().find_map(|(whose, purse)| {
            let purse = purse.filter(|purse| !purse.allows(cost, now))?;
            let (spent, most) = (purse.spent(now), purse.most.unwrap_or_default());
            let own = match spent < most {
                true => format!("leaves less than a question takes, about {cost}"),
                false => "is spent".to_owned(),
            };
            Some(format!("the day's budget of {whose} {own}: {spent} of {most}"))
        })
    }

    /// Whether no pool of a lane has work of its own.
    pub(super) fn only_compared(&self, lane: usize) -> bool {
        let Some(lane) = self.lanes.get(lane) else { return false };
        let mut pools = lane.pools.iter().filter_map(|at| self.pools.get(*at)).peekable();
        pools.peek().is_some() && pools.all(|pool| pool.spec.role != Role::Main)
    }

    /// Most tokens of a task's answer.
    pub(super) fn tokens_of(&self, task: usize) -> u32 {
        match self.tasks.get(task).map(|(_, contract)| &contract.kind) {
            Some(Kind::Messages { tokens_out_max, .. }) => *tokens_out_max,
            _ => 0,
        }
    }

    /// Why a job can't be done in time by anyone, were all pools up: by what runs take there and by
    /// the jobs that certainly go before it. What is refused here would only have waited in vain.
    pub(super) fn refusal(&mut self, id: JobId, now: Tai) -> Option<String> {
        let job = self.jobs.get(&id)?;
        let number = job.lane;
        let lane = self.lanes.get(number)?;
        let left = job.deadline.since(now);
        let (mut best, mut rate, mut learnt) = (None, 0.0, false);
        for pool in lane.pools.iter().filter_map(|at| self.pools.get(*at)) {
            if matches!(pool.spec.role, Role::Shadow(_)) {
                continue;
            }
            let run = pool.of(lane.task).map_or(0, |of| of.estimate.mean_ns());
            let need = pool.transfer_ns(job.bytes).saturating_add(run);
            learnt |= pool.of(lane.task).is_some_and(|of| of.estimate.is_learnt());
            // Jobs a second that all of them do, at what they take now.
            let slots = pool.limit.value() as f64 * f64::from(pool.spec.batch_max.max(1));
            rate += slots * 1e9 / need.max(1) as f64;
            best = Some(best.map_or(need, |best: i64| best.min(need)));
        }
        let best = best?;
        let in_time = |ahead: f64| best as f64 + ahead / rate * 1e9 <= left as f64;
        // Only where the whole lane before it would be too much is it worth counting.
        if in_time(lane.len() as f64) {
            return None;
        }
        let ahead = lane.ahead_of(job.priority, job.deadline) as f64 / rate;
        let needed = best as f64 + ahead * 1e9;
        let late = left > 0 && needed > left as f64;
        // What was learnt may be out of date, and nothing new is learnt where nothing is let in.
        (late && !(learnt && self.lanes.lets_in(number, now))).then(|| {
            format!(
                "refused: about {:.1} s are needed ({:.1} s of them behind other jobs), {:.1} s \
                 are left",
                needed / 1e9,
                ahead,
                left as f64 / 1e9
            )
        })
    }
}
