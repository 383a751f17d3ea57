//! What a contact plan says of a link over time: steps of rate and round trip.

use alloc::vec::Vec;

/// Most steps that are kept, the earliest ones: a week of passes in some twenty steps each.
pub const STEPS_MAX: usize = 2_048;
/// Longest round trip that is believed, ns: a day.
pub(super) const RTT_MAX_NS: u64 = 86_400_000_000_000;

/// What holds from an instant until the next step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Start, ns of the caller's clock.
    pub from_ns: u64,
    /// Rate of the link, bit/s; 0 where nothing is known of it.
    pub rate_bps: u64,
    /// Round trip without any queue, ns; 0 where it is not known.
    pub rtt_ns: u64,
}

/// Steps in order of time. Before the first one nothing is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series(Vec<Step>);

impl Series {
    /// Orders the steps; of two that start together the later one in the list holds.
    pub fn new(mut steps: Vec<Step>) -> Self {
        steps.sort_by_key(|step| step.from_ns);
        let mut kept: Vec<Step> = Vec::with_capacity(steps.len().min(STEPS_MAX));
        for step in steps {
            let full = kept.len() == STEPS_MAX;
            match kept.last_mut() {
                Some(last) if last.from_ns == step.from_ns => *last = step,
                Some(last) if (last.rate_bps, last.rtt_ns) == (step.rate_bps, step.rtt_ns) => {}
                _ if full => break,
                _ => kept.push(step),
            }
        }
        Self(kept)
    }

    /// One rate for ever.
    pub fn constant(rate_bps: u64, rtt_ns: u64) -> Self {
        Self::new(Vec::from([Step { from_ns: 0, rate_bps, rtt_ns }]))
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// What holds at an instant.
    pub fn at(&self, now_ns: u64) -> Step {
        let begun = self.0.partition_point(|step| step.from_ns <= now_ns);
        let step = begun.checked_sub(1).and_then(|last| self.0.get(last)).copied();
        let mut step = step.unwrap_or_default();
        step.rtt_ns = step.rtt_ns.min(RTT_MAX_NS);
        step
    }

    /// Bytes that the link carries between two instants.
    pub fn bytes(&self, from_ns: u64, until_ns: u64) -> u64 {
        let first = self.0.partition_point(|step| step.from_ns <= from_ns).saturating_sub(1);
        let steps = self.0.get(first..).unwrap_or_default();
        let mut bits = 0u128;
        for (at, step) in steps.iter().enumerate() {
            if step.from_ns >= until_ns {
                break;
            }
            let end = steps.get(at + 1).map_or(until_ns, |next| next.from_ns.min(until_ns));
            let span = end.saturating_sub(step.from_ns.max(from_ns));
            bits = bits.saturating_add(u128::from(span) * u128::from(step.rate_bps));
        }
        u64::try_from(bits / 8_000_000_000).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn step(from_ns: u64, rate_bps: u64) -> Step {
        Step { from_ns, rate_bps, rtt_ns: 0 }
    }

    #[test]
    fn bytes_are_the_integral_of_the_rate() {
        let series = Series::new(vec![step(2 * SECOND, 16), step(SECOND, 8), step(4 * SECOND, 0)]);
        assert_eq!(series.bytes(0, SECOND), 0, "nothing is known before the first step");
        assert_eq!(series.bytes(0, 10 * SECOND), 1 + 2 * 2);
        assert_eq!(series.bytes(SECOND + SECOND / 2, 3 * SECOND), 2);
        assert_eq!(series.bytes(3 * SECOND, 2 * SECOND), 0);
        assert_eq!(series.at(3 * SECOND).rate_bps, 16);
        assert_eq!(series.at(0), Step::default());
        assert_eq!(Series::constant(u64::MAX, u64::MAX).bytes(0, u64::MAX), u64::MAX);
        assert_eq!(Series::constant(1, u64::MAX).at(7).rtt_ns, RTT_MAX_NS);
    }

    proptest! {
        #[test]
        fn parts_of_a_time_add_up(
            steps in prop::collection::vec((any::<u32>(), 0u64..1_000_000_000), 0..20),
            mut cuts in prop::collection::vec(0u64..1 << 33, 3),
        ) {
            let steps = steps.into_iter().map(|(from, rate)| step(from.into(), rate)).collect();
            let series = Series::new(steps);
            cuts.sort_unstable();
            let parts = series.bytes(cuts[0], cuts[1]) + series.bytes(cuts[1], cuts[2]);
            let whole = series.bytes(cuts[0], cuts[2]);
            prop_assert!(parts <= whole && whole <= parts + 1, "{parts} and {whole}");
        }

        #[test]
        fn any_list_of_steps_is_a_bounded_series(
            steps in prop::collection::vec(any::<(u64, u64, u64)>(), 0..50),
            at in any::<(u64, u64)>(),
        ) {
            let steps = steps.into_iter().map(|(from_ns, rate_bps, rtt_ns)| Step {
                from_ns, rate_bps, rtt_ns,
            });
            let series = Series::new(steps.collect());
            prop_assert!(series.steps().is_sorted_by_key(|step| step.from_ns));
            let _ = (series.bytes(at.0, at.1), series.at(at.0));
        }
    }
}
