//! Counters by pool and task since the start, for metrics.

use super::Router;
use super::answer::Spent;
use super::ask::Ask;
use super::log::{Line, State};
use crate::pool::{Cost, PoolError, Response, Usage};
use serde::Serialize;
use std::collections::BTreeMap;

/// Upper ends of a histogram's buckets, in seconds: from a small tensor beside this process to what
/// the longest deadlines are.
pub const BUCKETS_S: [f64; 16] = [
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0,
    600.0,
];

/// Pairs of pool and task that are told apart; what comes on top is counted under no name. A
/// station has fewer: both are written in its files.
const ROWS_MAX: usize = 4_096;

/// How long things took.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Histogram {
    /// By the first bucket that is not smaller; those above the last are only in `count`.
    pub buckets: [u64; BUCKETS_S.len()],
    /// All.
    pub count: u64,
    /// Seconds of all.
    pub sum_s: f64,
}

impl Histogram {
    /// Adds a time; one that is no time is nothing.
    pub fn add(&mut self, seconds: f64) {
        let seconds = if seconds.is_finite() { seconds.max(0.0) } else { 0.0 };
        let at = BUCKETS_S.partition_point(|end| *end < seconds);
        if let Some(bucket) = self.buckets.get_mut(at) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum_s += seconds;
    }
}

/// What a pool did for a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Metered {
    /// Jobs with a result, by the pool that gave it.
    pub done: u64,
    /// Jobs that ended without one, by the pool that was asked last.
    pub failed: u64,
    /// Questions, each batch once.
    pub asked: u64,
    /// Questions in vain, by cause.
    pub errors: BTreeMap<&'static str, u64>,
    /// Jobs that were tried again after this pool failed them.
    pub retries: u64,
    /// Jobs that this pool was asked about as well, since another took long.
    pub hedges: u64,
    /// Time of jobs until the question that ended them.
    pub queue: Histogram,
    /// Time of questions on the way.
    pub transfer: Histogram,
    /// Time of questions at work.
    pub run: Histogram,
    /// What questions cost, compared ones among them.
    pub cost: Cost,
    /// Tokens read, where stated.
    pub tokens_in: u64,
    /// Tokens written, where stated.
    pub tokens_out: u64,
    /// Joules, where known.
    pub energy_j: f64,
}

/// Counters by pool and task; an empty pool is none.
pub type Rows = BTreeMap<(String, String), Metered>;

/// The counters.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter(Rows);

impl Meter {
    pub fn rows(&self) -> &Rows {
        &self.0
    }

    pub fn of(&mut self, pool: &str, task: &str) -> &mut Metered {
        let mut key = (pool.to_owned(), task.to_owned());
        if self.0.len() >= ROWS_MAX && !self.0.contains_key(&key) {
            key = Default::default();
        }
        self.0.entry(key).or_default()
    }

    /// A job ended.
    pub fn ended(&mut self, line: &Line) {
        let row = self.of(&line.pool, &line.task);
        match line.state {
            State::Accepted => return,
            State::Done => row.done += 1,
            State::Failed => row.failed += 1,
        }
        row.queue.add(line.queue_ms / 1e3);
    }
}

impl Router {
    /// The counters of a pool and a task.
    pub(super) fn metered(&mut self, pool: usize, task: usize) -> Option<&mut Metered> {
        let (pool, (task, _)) = (self.pools.get(pool)?, self.tasks.get(task)?);
        Some(self.meter.of(&pool.spec.name, task))
    }

    /// A question was answered, well or in vain.
    pub(super) fn meter_answer(
        &mut self,
        asked: &Ask,
        result: &Result<Response, PoolError>,
        usage: &Usage,
        spent: &Spent,
        cost: Cost,
    ) {
        let energy = self.energy(asked.pool, usage, spent);
        let Some(row) = self.metered(asked.pool, asked.task) else { return };
        match result {
            Ok(_) => {
                row.transfer.add(spent.transfer as f64 / 1e9);
                row.run.add(spent.run as f64 / 1e9);
            }
            Err(error) => *row.errors.entry(error.cause.name()).or_default() += 1,
        }
        row.cost += cost;
        row.tokens_in = row.tokens_in.saturating_add(usage.tokens_in.unwrap_or(0));
        row.tokens_out = row.tokens_out.saturating_add(usage.tokens_out.unwrap_or(0));
        row.energy_j += energy.filter(|joules| joules.is_finite()).unwrap_or(0.0).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_in_the_bucket_that_holds_them() {
        let mut histogram = Histogram::default();
        for seconds in [0.0, 0.001, 0.001_1, 600.0, 600.1, -5.0, f64::NAN] {
            histogram.add(seconds);
        }
        assert_eq!((histogram.buckets[0], histogram.buckets[1]), (4, 1));
        assert_eq!((histogram.buckets[15], histogram.count), (1, 7));
        assert!((histogram.sum_s - 1_200.102_1).abs() < 1e-9);
    }

    #[test]
    fn more_names_than_a_station_has_are_counted_under_none() {
        let mut meter = Meter::default();
        (0..2 * ROWS_MAX).for_each(|task| meter.of("a", &task.to_string()).asked += 1);
        assert_eq!(meter.rows().len(), ROWS_MAX + 1);
        assert_eq!(meter.rows()[&<_>::default()].asked, ROWS_MAX as u64);
    }
}
