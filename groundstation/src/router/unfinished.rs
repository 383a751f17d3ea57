//! What earlier runs accepted and did not end: what was spent on it counts on, and it ends although
//! nobody may ask for it any more.

use super::account::day;
use super::log::{Line, State};
use super::{Action, Router};
use crate::pool::Cost;
use codecs::time::Tai;
use std::sync::Arc;

/// How long after its deadline work may still be asked for: the archive is read from its start.
const GRACE_NS: i64 = 60_000_000_000;

/// What nobody asks for any more is said to have ended for.
const FORSAKEN: &str = "deadline passed, and no rule asks for it any more";

impl Router {
    /// Takes a line of the log.
    pub(super) fn remember(&mut self, line: Line, now: Tai) {
        let known = self.history.outcome(&line.key).is_some() || self.history.is_past(&line.key);
        if line.state != State::Accepted && !known {
            self.account.add(&line);
        }
        let cost = self.news_of(&line);
        if !known && cost > Cost::ZERO && day(Tai(line.at)) == day(now) {
            let (pool, task) = (self.pool_named(&line.pool), self.task_named(&line.task));
            self.pay(pool, task, Default::default(), cost, now);
            if pool.is_none() && !line.pool.is_empty() {
                self.spent_on_absent(&line.pool, cost, now);
            }
        }
        self.history.read(line);
    }

    /// Says in the log what a job without an outcome has cost so far: a restart must not forget it.
    pub(super) fn note_cost(&mut self, id: super::job::JobId, pool: usize, now: Tai) {
        let Some(mut line) = self.line(id, State::Accepted, now) else { return };
        if let Some(job) = self.jobs.get(&id) {
            line.deadline = Some(job.deadline.0);
        }
        line.pool = self.pools.get(pool).map_or(String::new(), |pool| pool.spec.name.clone());
        self.acceptances.push_back((line.key.as_str().into(), Box::new(line)));
    }

    /// What of a line's cost no line before it told.
    pub(super) fn news_of(&self, line: &Line) -> Cost {
        Cost(line.cost.0.saturating_sub(self.history.cost(&line.key).0))
    }

    /// Looks for such work from now on, where there is any.
    pub(super) fn look_for_forsaken(&mut self, now: Tai) {
        let open = self.history.open().filter(|(key, _)| !self.by_key.contains_key(key.as_str()));
        let first = open.map(|(_, deadline)| deadline.plus(GRACE_NS)).min();
        self.forsaken_at = first.map(|at| at.max(now.plus(GRACE_NS)));
    }

    /// Ends what nobody asked for since the start and has no time left.
    pub(super) fn end_forsaken(&mut self, now: Tai) -> Option<Action> {
        if self.forsaken_at.is_some_and(|at| at <= now) {
            let over = |(key, deadline): &(&String, Tai)| {
                deadline.plus(GRACE_NS) <= now && !self.by_key.contains_key(key.as_str())
            };
            let over: Vec<String> =
                self.history.open().filter(over).map(|(key, _)| key.clone()).collect();
            for key in over {
                let task = key.split(':').next().unwrap_or_default();
                let mut line = Line::new(&key, task, State::Failed, now);
                line.cost = self.history.cost(&key);
                line.result = FORSAKEN.to_owned();
                self.forsaken.insert(key.as_str().into(), line);
            }
            // What the disk does not take is found again.
            self.look_for_forsaken(now);
            self.unwritten = self.forsaken.keys().cloned().collect();
        }
        let key = self.unwritten.pop()?;
        let line = Box::new(self.forsaken.get(&key)?.clone());
        Some(Action::Write { key: Arc::clone(&key), line, sync: true })
    }

    /// Hears of a line about such work; whether it was one.
    pub(super) fn forsaken_written(&mut self, key: &str, ok: bool) -> bool {
        let Some(line) = self.forsaken.remove(key) else { return false };
        if ok {
            self.events.push(line.event());
            self.account.add(&line);
            self.meter.ended(&line);
            self.history.read(line);
        }
        true
    }
}
