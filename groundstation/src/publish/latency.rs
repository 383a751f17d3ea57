//! Quantiles of a duration in fixed memory.

use serde::Serialize;

/// Steps per doubling: a quantile is within 1/32 of the truth.
const STEPS: usize = 32;
/// Doublings from one microsecond: up to twelve days; longer waits count as twelve days.
const DOUBLINGS: usize = 40;

/// A histogram of durations with logarithmic steps.
#[derive(Clone, Debug)]
pub struct Latency {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self { counts: vec![0; STEPS * DOUBLINGS], total: 0 }
    }
}

/// Median and 99th percentile in milliseconds; absent while nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half were at most this long.
    pub p50: Option<f64>,
    /// All but one in a hundred were at most this long.
    pub p99: Option<f64>,
}

impl Latency {
    /// Counts one duration in nanoseconds; a negative one (clocks differ) counts as the shortest.
    pub fn record(&mut self, nanos: i64) {
        let micros = u64::try_from(nanos / 1000).unwrap_or(0).max(1);
        let doubling = micros.ilog2() as usize;
        let base = 1u64 << doubling;
        let step = ((u128::from(micros - base) * STEPS as u128) / u128::from(base)) as usize;
        let slot = (doubling * STEPS + step).min(self.counts.len() - 1);
        self.counts[slot] += 1;
        self.total += 1;
    }

    /// How many were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The smallest upper edge that `share` (0 to 1) of all durations don't exceed, in
    /// milliseconds.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut below = 0;
        for (slot, count) in self.counts.iter().enumerate() {
            below += count;
            if *count > 0 && below >= rank {
                let base = 2f64.powi((slot / STEPS) as i32);
                let edge = base * (1.0 + ((slot % STEPS) + 1) as f64 / STEPS as f64);
                return Some(edge / 1000.0);
            }
        }
        None
    }

    /// Median and 99th percentile.
    pub fn quantiles(&self) -> Quantiles {
        Quantiles { p50: self.quantile(0.5), p99: self.quantile(0.99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_step_of_the_truth() {
        let mut latency = Latency::default();
        assert_eq!(latency.quantiles(), Quantiles::default());
        for millis in 1..=1000 {
            latency.record(millis * 1_000_000);
        }
        let close = |measured: Option<f64>, truth: f64| {
            let measured = measured.unwrap();
            assert!((truth..truth * 1.04).contains(&measured), "{measured} for {truth}");
        };
        close(latency.quantile(0.5), 500.0);
        close(latency.quantile(0.99), 990.0);
        assert_eq!(latency.total(), 1000);
    }

    #[test]
    fn odd_durations_are_counted_at_the_ends() {
        let mut latency = Latency::default();
        latency.record(-5);
        latency.record(i64::MAX);
        assert_eq!(latency.total(), 2);
        assert!(latency.quantile(0.5).unwrap() < 0.01);
        assert!(latency.quantile(1.0).unwrap() > 1e8);
    }
}
