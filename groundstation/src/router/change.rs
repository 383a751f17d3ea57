//! Pools that come and go while the router works.
//!
//! A pool that goes is given nothing new; what it was asked may still be answered. Its number is
//! given away again once nothing of it is on its way.

use super::account::day;
use super::pool::PoolState;
use super::spec::{POOLS_MAX, PoolSpec};
use super::{Purse, Router};
use crate::pool::Cost;
use codecs::time::Tai;

/// What a job that waits is told where every pool that took it went away.
const GONE: &str = "every pool that took it went away";

impl Router {
    /// Takes a pool that came up and gives its number, which may be one of a pool that went; none
    /// at the bound of [`POOLS_MAX`]. Its models are asked for before it gets work.
    pub fn join(&mut self, spec: PoolSpec, now: Tai) -> Option<usize> {
        let busy = |at: usize| {
            self.asks.values().any(|ask| ask.pool == at)
                || self.pools.get(at).is_none_or(|pool| !pool.gone || pool.in_flight > 0)
        };
        let at = match (0..self.pools.len()).find(|at| !busy(*at)) {
            Some(at) => at,
            None if self.pools.len() < POOLS_MAX => self.pools.len(),
            None => return None,
        };
        let mut purse = Purse::of(spec.budget_day);
        // Who comes back keeps what was spent on it today.
        if let Some((_, spent)) = self.absent.remove(&spec.name).filter(|of| of.0 == day(now)) {
            purse.pay(Cost::ZERO, spent, now);
        }
        let mut pool = PoolState::new(spec);
        for (number, (task, _)) in self.tasks.iter().enumerate() {
            if pool.spec.tasks.contains(task) {
                pool.learn_task(number);
                self.describes.insert((now, at, number));
            }
        }
        let gathers = !pool.spec.batch_wait.is_zero();
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            if pool.of(lane.task).is_some() && pool.spec.objection(&lane.handling).is_none() {
                lane.pools.push(at);
                lane.set.set(at, true);
                lane.gathers |= gathers;
                pool.lanes.push(number);
            }
        }
        match (self.pools.get_mut(at), self.pool_purses.get_mut(at)) {
            (Some(slot), Some(known)) => {
                *slot = pool;
                *known = purse;
            }
            _ => {
                self.pools.push(pool);
                self.pool_purses.push(purse);
            }
        }
        self.wake(at);
        Some(at)
    }

    /// Gives a pool no more work; what it was asked may still be answered.
    pub fn leave(&mut self, pool: usize, now: Tai) {
        let spent = self.pool_purses.get(pool).map_or(Cost::ZERO, |purse| purse.spent(now));
        let Some(state) = self.pools.get_mut(pool).filter(|state| !state.gone) else { return };
        state.gone = true;
        let name = state.spec.name.clone();
        // Nobody asks a pool about a task that it does not have.
        state.tasks.clear();
        for lane in std::mem::take(&mut state.lanes) {
            if let Some(of) = self.lanes.get_mut(lane) {
                of.pools.retain(|at| *at != pool);
                of.set.set(pool, false);
                if of.pools.is_empty() {
                    GONE.clone_into(&mut of.objection);
                }
            }
            self.lanes.wake(lane);
        }
        self.spent_on_absent(&name, spent, now);
    }

    /// Remembers what was spent today on a pool that is not there; at the bound of [`POOLS_MAX`]
    /// what was spent on other days is forgotten, then what is new.
    pub(super) fn spent_on_absent(&mut self, name: &str, cost: Cost, now: Tai) {
        let today = day(now);
        if self.absent.len() >= POOLS_MAX {
            self.absent.retain(|_, (of, _)| *of == today);
        }
        if cost == Cost::ZERO || self.absent.len() >= POOLS_MAX {
            return;
        }
        let (of, sum) = self.absent.entry(name.to_owned()).or_insert((today, Cost::ZERO));
        if *of != today {
            (*of, *sum) = (today, Cost::ZERO);
        }
        *sum += cost;
    }
}
