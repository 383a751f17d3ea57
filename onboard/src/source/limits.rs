//! What a source may bring: a rate of bytes, a rate of packets with a burst, a largest packet; and
//! for how long it may say nothing.

/// A second in nanoseconds.
const SECOND_NS: u64 = 1_000_000_000;

/// Why a packet of a source was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Excess {
    /// Longer than the source may send.
    #[error("longer than the source's packet_bytes_max")]
    Length,
    /// More packets than the source may send.
    #[error("more packets than the source's packets_per_s")]
    Packets,
    /// More bytes than the source may send.
    #[error("more bytes than the source's bytes_per_s")]
    Bytes,
}

/// Limits of one source; none is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Bytes a second, with a burst of one second's.
    pub bytes_per_s: Option<u64>,
    /// Packets a second.
    pub packets_per_s: Option<u64>,
    /// Packets that may come at once after a silence.
    pub burst_packets: u64,
    /// Largest packet, bytes.
    pub packet_bytes_max: usize,
}

/// A bucket that fills with time: what is in it may be spent. Kept in billionths, so that no
/// rate is lost to rounding.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    per_s: u64,
    most: u128,
    held: u128,
    at_ns: u64,
}

impl Bucket {
    fn full(per_s: u64, most: u64) -> Self {
        let most = u128::from(most.max(1)) * u128::from(SECOND_NS);
        Self { per_s, most, held: most, at_ns: 0 }
    }

    fn fill(&mut self, now_ns: u64) {
        let passed = u128::from(now_ns.saturating_sub(self.at_ns));
        self.at_ns = self.at_ns.max(now_ns);
        self.held = (self.held + passed * u128::from(self.per_s)).min(self.most);
    }

    /// What `amount` costs; at most a full bucket, or it could never be paid.
    fn price(&self, amount: u64) -> u128 {
        (u128::from(amount) * u128::from(SECOND_NS)).min(self.most)
    }
}

/// Counts a source's packets against its limits.
#[derive(Clone, Debug)]
pub struct Gate {
    packet_bytes_max: usize,
    bytes: Option<Bucket>,
    packets: Option<Bucket>,
}

impl Gate {
    /// A gate with full buckets.
    pub fn new(limits: Limits) -> Self {
        Self {
            packet_bytes_max: limits.packet_bytes_max,
            bytes: limits.bytes_per_s.map(|rate| Bucket::full(rate, rate)),
            packets: limits.packets_per_s.map(|rate| Bucket::full(rate, limits.burst_packets)),
        }
    }

    /// Lets a packet of so many bytes in, or says what it is too much of.
    pub fn admit(&mut self, length: usize, now_ns: u64) -> Result<(), Excess> {
        if length > self.packet_bytes_max {
            return Err(Excess::Length);
        }
        match self.wait_ns(length as u64, now_ns) {
            0 => {
                self.spend(length as u64);
                Ok(())
            }
            _ if self.packets.is_some_and(|bucket| bucket.held < bucket.price(1)) => {
                Err(Excess::Packets)
            }
            _ => Err(Excess::Bytes),
        }
    }

    /// How long until so many bytes may be taken: for a source that can wait, as a file can.
    pub fn wait_ns(&mut self, bytes: u64, now_ns: u64) -> u64 {
        let wait = |bucket: &mut Bucket, amount| {
            bucket.fill(now_ns);
            let lacking = bucket.price(amount).saturating_sub(bucket.held);
            // A rate of nothing lets nothing pass.
            lacking.div_ceil(u128::from(bucket.per_s).max(1)).min(u128::from(u64::MAX)) as u64
        };
        let bytes = self.bytes.as_mut().map_or(0, |bucket| wait(bucket, bytes));
        bytes.max(self.packets.as_mut().map_or(0, |bucket| wait(bucket, 1)))
    }

    /// Takes what was waited for.
    pub fn spend(&mut self, bytes: u64) {
        for (bucket, amount) in [(&mut self.bytes, bytes), (&mut self.packets, 1)] {
            if let Some(bucket) = bucket {
                bucket.held = bucket.held.saturating_sub(bucket.price(amount));
            }
        }
    }
}

/// Notices a source that says nothing.
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    after_ns: Option<u64>,
    heard_ns: u64,
    quiet: bool,
    /// How often it fell silent.
    pub count: u64,
}

impl Silence {
    /// Watches from `now_ns` on; without a time it never minds.
    pub fn new(after_ns: Option<u64>, now_ns: u64) -> Self {
        Self { after_ns, heard_ns: now_ns, quiet: false, count: 0 }
    }

    /// Something came; whether it had been quiet before.
    pub fn heard(&mut self, now_ns: u64) -> bool {
        self.heard_ns = now_ns;
        std::mem::take(&mut self.quiet)
    }

    /// Whether it is quiet now.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// When it counts as quiet; none once it does.
    pub fn timeout(&self) -> Option<u64> {
        let after = self.after_ns.filter(|_| !self.quiet)?;
        Some(self.heard_ns.saturating_add(after))
    }

    /// Whether it has just fallen silent.
    pub fn handle_timeout(&mut self, now_ns: u64) -> bool {
        let fell = self.timeout().is_some_and(|due| due <= now_ns);
        self.quiet |= fell;
        self.count += u64::from(fell);
        fell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        bytes_per_s: Some(1000),
        packets_per_s: Some(10),
        burst_packets: 3,
        packet_bytes_max: 600,
    };

    #[test]
    fn a_flood_is_cut_to_the_rate_and_each_excess_has_its_reason() {
        let mut gate = Gate::new(LIMITS);
        assert_eq!(gate.admit(601, 0), Err(Excess::Length));
        let mut of = |length, now| gate.admit(length, now);
        assert_eq!([of(10, 0), of(10, 0), of(10, 0)], [Ok(()); 3], "the burst");
        assert_eq!(of(10, 0), Err(Excess::Packets));
        assert_eq!(of(600, SECOND_NS), Ok(()));
        assert_eq!(of(600, SECOND_NS), Err(Excess::Bytes));
        // A minute of flood at a thousand packets a second: the rate, and no more than the burst.
        let mut gate = Gate::new(LIMITS);
        let taken = (0..60_000u64).filter(|ms| gate.admit(20, ms * 1_000_000).is_ok()).count();
        assert!((600..=603).contains(&taken), "{taken}");
    }

    #[test]
    fn what_can_wait_waits_just_as_long_as_the_rate_says() {
        let mut gate = Gate::new(Limits { packets_per_s: None, ..LIMITS });
        assert_eq!(gate.wait_ns(1000, 0), 0);
        gate.spend(1000);
        assert_eq!(gate.wait_ns(500, 0), SECOND_NS / 2);
        assert_eq!(gate.wait_ns(500, SECOND_NS / 2), 0);
        gate.spend(500);
        assert!(gate.wait_ns(5000, SECOND_NS / 2) <= SECOND_NS, "more than a burst is a burst");
        assert_eq!(Gate::new(Limits::default()).wait_ns(u64::MAX, 0), 0, "no limit");
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_gives_nothing_away() {
        let mut gate = Gate::new(LIMITS);
        (0..3).for_each(|_| gate.admit(1, 5 * SECOND_NS).unwrap());
        assert!(gate.admit(1, 5 * SECOND_NS).is_err());
        assert!(gate.admit(1, 0).is_err());
        assert!(gate.admit(1, 5 * SECOND_NS).is_err());
    }

    #[test]
    fn silence_is_told_once_and_ends_with_the_next_word() {
        let mut silence = Silence::new(Some(10), 0);
        assert!(!silence.handle_timeout(9));
        assert!(silence.handle_timeout(10) && silence.is_quiet());
        assert!(!silence.handle_timeout(50), "once");
        assert_eq!(silence.timeout(), None);
        assert!(silence.heard(60));
        assert_eq!((silence.timeout(), silence.count), (Some(70), 1));
        assert!(!Silence::new(None, 0).handle_timeout(u64::MAX));
    }
}
