//! A bound on the rate of datagrams: a receiver's socket buffer is small, and nobody tells the
//! sender that it overflowed.

/// What may be sent ahead of the rate, in nanoseconds of it.
const BURST_NS: u64 = 10_000_000;

/// Tells how long to wait before each piece.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    ns_per_byte: f64,
    /// When everything sent so far is through at the rate.
    through_ns: u64,
}

impl Pace {
    /// A rate in bits a second, above 0.
    pub fn new(rate_bit_s: f64) -> Self {
        Self { ns_per_byte: 8e9 / rate_bit_s, through_ns: 0 }
    }

    /// Takes a piece that is to be sent now; how long to wait first, in nanoseconds.
    pub fn wait_ns(&mut self, bytes: usize, now_ns: u64) -> u64 {
        let start = self.through_ns.max(now_ns);
        self.through_ns = start.saturating_add((bytes as f64 * self.ns_per_byte) as u64);
        start.saturating_sub(now_ns.saturating_add(BURST_NS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_over_any_time_beyond_the_burst() {
        let mut pace = Pace::new(8e6);
        let mut now = 5_000_000_000;
        let begun = now;
        for _ in 0..10_000 {
            now += pace.wait_ns(1_000, now);
        }
        // 10 MB at a megabyte a second, less the burst and one piece.
        let took = now - begun;
        assert!((9_985_000_000..=10_000_000_000).contains(&took), "{took}");
        // After a pause there is no credit for it beyond the burst.
        now += 3_600_000_000_000;
        let burst = (0..1_000).take_while(|_| pace.wait_ns(1_000, now) == 0).count();
        assert!(burst <= 12, "{burst}");
    }
}
