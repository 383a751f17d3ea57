//! What a pool will probably take, and how much it can be given at a time: learnt from answers.

use codecs::time::Tai;

/// Samples until an estimate is more than a guess.
const SAMPLES_LEAST: u32 = 20;

/// Cuts of one pool's limit are at least this apart: what was on its way is one piece of news.
const CUT_APART_NS: i64 = 100_000_000;

/// Latency of one task at one pool, in nanoseconds: an average that rises fast and falls slowly, so
/// that a pool in trouble is believed at once and trusted again with time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Estimate {
    mean_ns: f64,
    deviation_ns: f64,
    /// The least average, which is when little else was asked; creeps up, so that an old record is
    /// forgotten.
    floor_ns: f64,
    samples: u32,
}

impl Estimate {
    pub fn expecting(ns: i64) -> Self {
        let ns = ns.max(0) as f64;
        Self { mean_ns: ns, deviation_ns: ns / 2.0, floor_ns: ns, samples: 0 }
    }

    pub fn mean_ns(&self) -> i64 {
        self.mean_ns as i64
    }

    /// Whether answers were seen; else it is what somebody said.
    pub fn is_learnt(&self) -> bool {
        self.samples > 0
    }

    /// What nine in ten and a half stay below, once enough is known.
    pub fn high_ns(&self) -> Option<i64> {
        let known = self.samples >= SAMPLES_LEAST;
        known.then_some((self.mean_ns + 2.0 * self.deviation_ns) as i64)
    }

    pub fn add(&mut self, ns: i64) {
        let ns = ns.max(0) as f64;
        if self.samples == 0 {
            (self.mean_ns, self.deviation_ns, self.floor_ns) = (ns, ns / 2.0, ns);
        } else {
            let apart = ns - self.mean_ns;
            self.mean_ns += apart * if apart > 0.0 { 0.3 } else { 0.1 };
            self.deviation_ns += (apart.abs() - self.deviation_ns) * 0.1;
            self.floor_ns = (self.floor_ns * 1.005).min(self.mean_ns);
        }
        self.samples = self.samples.saturating_add(1);
    }

    /// Whether the pool queues. One slow answer doesn't say so: runs differ among themselves.
    pub fn is_crowded(&self) -> bool {
        self.samples >= SAMPLES_LEAST && self.mean_ns > 2.0 * self.floor_ns
    }
}

/// Questions that a pool is given at a time: more while its answers stay quick, fewer when they
/// don't (additive increase, multiplicative decrease).
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    value: f64,
    max: f64,
    cut_at: Tai,
}

impl Limit {
    pub fn new(start: u32, max: u32) -> Self {
        let max = f64::from(max.max(1));
        Self { value: f64::from(start.max(1)).min(max), max, cut_at: Tai(i64::MIN) }
    }

    pub fn value(&self) -> usize {
        self.value as usize
    }

    /// Slots for a job, some of which are held back for more urgent bands.
    pub fn slots(&self, band: u8, hold_back: f64) -> usize {
        let held = if band == 0 { 0 } else { (self.value * hold_back) as usize };
        (self.value as usize - held).max(1)
    }

    /// Hears of an answer; `full` when all slots were in use.
    pub fn answered(&mut self, crowded: bool, full: bool, now: Tai) {
        if crowded {
            self.cut(0.9, now);
        } else if full {
            self.value = (self.value + 1.0 / self.value).min(self.max);
        }
    }

    /// Hears that the pool has too much to do.
    pub fn overloaded(&mut self, now: Tai) {
        self.cut(0.7, now);
    }

    fn cut(&mut self, share: f64, now: Tai) {
        if self.cut_at == Tai(i64::MIN) || now.since(self.cut_at) >= CUT_APART_NS {
            self.value = (self.value * share).max(1.0);
            self.cut_at = now;
        }
    }
}

/// Second tries as a share of successes. A few are lent at the start and paid back first, so that
/// in all there are never more than the larger of the two.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    tokens: f64,
    share: f64,
    debt: f64,
}

impl Allowance {
    /// Most that is saved up: trouble after a long quiet time must not burst.
    const SAVED_MAX: f64 = 100.0;

    pub fn new(share: f64, lent: f64) -> Self {
        Self { tokens: lent, share, debt: lent }
    }

    pub fn earn(&mut self) {
        let paid = self.debt.min(self.share);
        self.debt -= paid;
        self.tokens = (self.tokens + self.share - paid).min(Self::SAVED_MAX);
    }

    pub fn take(&mut self) -> bool {
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_tries_are_a_share_of_successes_or_the_few_that_are_lent() {
        let mut allowance = Allowance::new(0.1, 10.0);
        let take_all = |allowance: &mut Allowance| (0..1000).filter(|_| allowance.take()).count();
        assert_eq!(take_all(&mut allowance), 10);
        (0..100).for_each(|_| allowance.earn());
        assert_eq!(take_all(&mut allowance), 0, "paid back first");
        (0..101).for_each(|_| allowance.earn());
        assert_eq!(take_all(&mut allowance), 10);
        (0..100_000).for_each(|_| allowance.earn());
        assert_eq!(take_all(&mut allowance), 100, "no burst after a quiet time");
    }

    #[test]
    fn the_limit_grows_while_quick_and_full_and_shrinks_once_a_piece_of_news() {
        let mut limit = Limit::new(2, 8);
        (0..100).for_each(|_| limit.answered(false, true, Tai(0)));
        assert_eq!(limit.value(), 8);
        (0..100).for_each(|_| limit.answered(true, true, Tai(1)));
        assert_eq!(limit.value(), 7);
        limit.overloaded(Tai(CUT_APART_NS + 1));
        assert_eq!(limit.value(), 5);
        assert_eq!((limit.slots(0, 0.5), limit.slots(1, 0.5)), (5, 3));
        (0..100).for_each(|at| limit.overloaded(Tai((at + 3) * CUT_APART_NS)));
        assert_eq!((limit.value(), limit.slots(3, 1.0)), (1, 1), "never none");
    }

    #[test]
    fn an_estimate_rises_fast_and_falls_slowly() {
        let mut estimate = Estimate::default();
        (0..50).for_each(|_| estimate.add(1000));
        assert_eq!(estimate.mean_ns(), 1000);
        estimate.add(3000);
        assert!(!estimate.is_crowded(), "one slow run is no queue");
        (0..5).for_each(|_| estimate.add(10_000));
        assert!(estimate.is_crowded() && estimate.mean_ns() > 8000, "{}", estimate.mean_ns());
        (0..5).for_each(|_| estimate.add(1000));
        assert!(estimate.mean_ns() > 4000);
    }
}
