//! How often sessions of one origin may take over from each other. A spacecraft that lost its link
//! takes over from its own dead session at once; two processes with one identity would do nothing
//! else.

use super::Bucket;
use codecs::ids::Origin;
use std::collections::BTreeMap;

/// Takeovers at once, for a link that comes and goes.
const BURST: u64 = 4;
/// Seconds for each after that.
const SECONDS_EACH: u64 = 10;

/// Takeovers by origin. The table bounds how many origins there are.
#[derive(Debug, Default)]
pub struct Takeovers {
    recent: BTreeMap<Origin, Bucket>,
}

impl Takeovers {
    /// Whether a session may take over from one that may be alive. Where not, it must not unless
    /// the older one is seen to be dead.
    pub fn may(&mut self, origin: Origin, now_ns: u64) -> bool {
        self.recent.retain(|of, bucket| *of == origin || !bucket.is_full(now_ns / SECONDS_EACH));
        // A bucket counts whole tokens a second: its seconds are long ones here.
        let now_ns = now_ns / SECONDS_EACH;
        self.recent.entry(origin).or_insert_with(|| Bucket::new(1, BURST, now_ns)).take(now_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_that_evict_each_other_are_slowed_and_a_third_is_not() {
        let mut takeovers = Takeovers::default();
        let (twins, other) = (Origin([1; 16]), Origin([2; 16]));
        let seconds = |s: u64| s * 1_000_000_000;
        let in_two_minutes =
            (0..1_200).filter(|at| takeovers.may(twins, seconds(*at) / 10)).count();
        assert!((14..=16).contains(&in_two_minutes), "{in_two_minutes}");
        assert!(takeovers.may(other, seconds(120)));
        // Forgotten once there is nothing to hold against it.
        assert!(takeovers.may(twins, seconds(1_000)));
        assert_eq!(takeovers.recent.len(), 1);
    }
}
