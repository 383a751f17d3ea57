//! When a connection is tried again: twice as long after each failure, to a bound.

/// The first wait.
pub const FIRST_MS: u64 = 250;
/// The longest: a consumer that comes back is served within it.
pub const LONGEST_MS: u64 = 15_000;
/// A connection that held this long was a good one: the next failure is a first one.
const GOOD_MS: u64 = 5_000;

/// Waits between attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    failures: u32,
}

impl Retry {
    /// How long to wait after an attempt failed, or after a connection that held `held_ms` broke.
    pub fn wait_ms(&mut self, held_ms: Option<u64>) -> u64 {
        if held_ms.is_some_and(|held| held >= GOOD_MS) {
            self.failures = 0;
        }
        let wait = FIRST_MS.checked_shl(self.failures).unwrap_or(LONGEST_MS).min(LONGEST_MS);
        self.failures = self.failures.saturating_add(1).min(32);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_bound_and_begin_anew_after_a_good_connection() {
        let mut retry = Retry::default();
        let waits: Vec<u64> = (0..40).map(|_| retry.wait_ms(None)).collect();
        assert_eq!(waits[..4], [250, 500, 1_000, 2_000]);
        assert!(waits[7..].iter().all(|wait| *wait == LONGEST_MS));
        // A peer that accepts and hangs up at once is no good connection.
        assert_eq!(retry.wait_ms(Some(10)), LONGEST_MS);
        assert_eq!(retry.wait_ms(Some(60_000)), FIRST_MS);
        assert_eq!(retry.wait_ms(None), 500);
    }
}
