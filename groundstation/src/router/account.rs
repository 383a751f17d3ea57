//! What work took, and what may still be spent.

use super::log::{Line, State};
use crate::pool::Cost;
use codecs::time::Tai;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const DAY_NS: i64 = 86_400_000_000_000;

/// The day of a moment (UTC), as days since 1970.
pub fn day(at: Tai) -> i64 {
    at.to_unix_nanos().div_euclid(DAY_NS)
}

/// When the day of a moment ends.
pub(super) fn day_end(at: Tai) -> Tai {
    at.plus(DAY_NS - at.to_unix_nanos().rem_euclid(DAY_NS))
}

/// Sums over jobs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Jobs with a result.
    pub done: u64,
    /// Jobs that ended without one.
    pub failed: u64,
    /// Money.
    pub cost: Cost,
    /// Tokens read, where stated.
    pub tokens_in: u64,
    /// Tokens written, where stated.
    pub tokens_out: u64,
    /// Joules, where known.
    pub energy_j: f64,
    /// Milliseconds in queues, of jobs that ended.
    pub queue_ms: f64,
    /// Milliseconds on the way, where it can be told.
    pub transfer_ms: f64,
    /// Milliseconds of running.
    pub run_ms: f64,
}

impl Tally {
    /// Adds a job's outcome.
    pub fn add(&mut self, line: &Line) {
        match line.state {
            State::Accepted => return,
            State::Done => self.done += 1,
            State::Failed => self.failed += 1,
        }
        self.cost += line.cost;
        self.tokens_in = self.tokens_in.saturating_add(line.tokens_in.unwrap_or(0));
        self.tokens_out = self.tokens_out.saturating_add(line.tokens_out.unwrap_or(0));
        self.energy_j += line.energy_j.unwrap_or(0.0);
        self.queue_ms += line.queue_ms;
        self.transfer_ms += line.transfer_ms;
        self.run_ms += line.run_ms;
    }

    /// Adds sums of jobs that ended.
    pub fn merge(&mut self, other: &Self) {
        self.done += other.done;
        self.failed += other.failed;
        self.cost += other.cost;
        self.tokens_in = self.tokens_in.saturating_add(other.tokens_in);
        self.tokens_out = self.tokens_out.saturating_add(other.tokens_out);
        self.energy_j += other.energy_j;
        self.queue_ms += other.queue_ms;
        self.transfer_ms += other.transfer_ms;
        self.run_ms += other.run_ms;
    }
}

/// Questions to a pool, since the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Questions {
    /// Each try of a job and each batch once.
    pub asked: u64,
    /// Those that were not answered well, by cause.
    pub errors: BTreeMap<&'static str, u64>,
    /// Answers to those that were given up before.
    pub late: u64,
}

/// How a canary's or a shadow's answers stand to those of the pools that count.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Compared {
    /// Pairs of answers.
    pub pairs: u64,
    /// Of them, those that the contract takes for the same.
    pub same: u64,
    /// Pairs that are not both answers.
    pub incomparable: u64,
    /// Largest finite difference.
    pub apart_max: f64,
}

/// Money of a day: what was paid, and what is on its way to be.
#[derive(Clone, Debug, Default)]
pub(super) struct Purse {
    pub most: Option<Cost>,
    spent: Cost,
    reserved: Cost,
    day: i64,
}

impl Purse {
    pub fn of(most: Option<Cost>) -> Self {
        Self { most, ..Self::default() }
    }

    fn turn(&mut self, now: Tai) {
        let today = day(now);
        // Clocks may step back; money comes back only with a new day.
        if today > self.day {
            (self.day, self.spent) = (today, Cost::ZERO);
        }
    }

    pub fn spent(&self, now: Tai) -> Cost {
        if day(now) > self.day { Cost::ZERO } else { self.spent }
    }

    pub fn allows(&self, cost: Cost, now: Tai) -> bool {
        let Some(most) = self.most else { return true };
        cost == Cost::ZERO || self.spent(now) + self.reserved + cost <= most
    }

    pub fn reserve(&mut self, cost: Cost) {
        self.reserved += cost;
    }

    pub fn pay(&mut self, reserved: Cost, paid: Cost, now: Tai) {
        self.turn(now);
        self.reserved = self.reserved.less(reserved);
        self.spent += paid;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purse_holds_back_what_is_on_its_way_and_fills_with_the_day() {
        let now = Tai::from_unix(1_800_000_000, 0);
        let mut purse = Purse::of(Some(Cost(100)));
        assert!(purse.allows(Cost(100), now) && !purse.allows(Cost(101), now));
        purse.reserve(Cost(60));
        assert!(!purse.allows(Cost(50), now), "two on their way must not both be over");
        purse.pay(Cost(60), Cost(90), now);
        assert!(purse.allows(Cost(10), now) && !purse.allows(Cost(11), now));
        assert!(purse.allows(Cost::ZERO, now), "what is free goes on");
        let end = day_end(now);
        assert!(!purse.allows(Cost(11), Tai(end.0 - 1)));
        assert!(purse.allows(Cost(100), end));
        purse.pay(Cost::ZERO, Cost(5), end);
        assert_eq!(purse.spent(end), Cost(5));
    }
}
