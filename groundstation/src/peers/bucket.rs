//! A token bucket that may go into debt.

const SECOND_NS: u128 = 1_000_000_000;

/// Fills at a rate up to a bound. Whoever takes more than is there waits until the debt is paid.
#[derive(Clone, Debug)]
pub struct Bucket {
    per_s: u64,
    most: u64,
    /// Billionths of a token, so that slow rates lose nothing to rounding.
    level: i128,
    filled_ns: u64,
}

impl Bucket {
    /// A full bucket.
    pub fn new(per_s: u64, most: u64, now_ns: u64) -> Self {
        let level = i128::from(most) * SECOND_NS as i128;
        Self { per_s, most, level, filled_ns: now_ns }
    }

    fn fill(&mut self, now_ns: u64) {
        let since = now_ns.saturating_sub(self.filled_ns);
        let gained = u128::from(since) * u128::from(self.per_s);
        let most = i128::from(self.most) * SECOND_NS as i128;
        self.level = self.level.saturating_add(gained as i128).min(most);
        self.filled_ns = self.filled_ns.max(now_ns);
    }

    /// Whole tokens in it.
    pub fn left(&mut self, now_ns: u64) -> u64 {
        self.fill(now_ns);
        (self.level.max(0) as u128 / SECOND_NS) as u64
    }

    /// Whether it is as full as it gets: then it need not be remembered.
    pub fn is_full(&mut self, now_ns: u64) -> bool {
        self.left(now_ns) >= self.most
    }

    /// Takes one token, if there is one.
    pub fn take(&mut self, now_ns: u64) -> bool {
        let enough = self.left(now_ns) > 0;
        if enough {
            self.level -= SECOND_NS as i128;
        }
        enough
    }

    /// Takes `count` whatever is there; how long to wait until the debt is paid, in nanoseconds.
    pub fn owe(&mut self, count: u64, now_ns: u64) -> u64 {
        self.fill(now_ns);
        self.level -= i128::from(count) * SECOND_NS as i128;
        let debt = self.level.min(0).unsigned_abs();
        debt.div_ceil(u128::from(self.per_s.max(1))).try_into().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_any_time_no_more_passes_than_the_rate_and_one_bucket() {
        let mut bucket = Bucket::new(100, 20, 0);
        let mut passed = 0u64;
        for millis in 0..10_000u64 {
            passed += u64::from(bucket.take(millis * 1_000_000));
        }
        assert!((1_015..=1_020).contains(&passed), "{passed}");
    }

    #[test]
    fn a_debt_is_waited_for_and_no_longer() {
        let mut bucket = Bucket::new(1_000, 500, 0);
        assert_eq!(bucket.owe(500, 0), 0);
        assert_eq!(bucket.owe(2_000, 0), 2_000_000_000);
        assert_eq!(bucket.left(1_999_000_000), 0);
        assert_eq!(bucket.left(2_001_000_000), 1);
        // A clock that stands still or an absurd amount break nothing.
        assert!(bucket.owe(u64::MAX, 0) > 0 && bucket.left(u64::MAX) <= 500);
    }
}
