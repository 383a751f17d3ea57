//! The round trip of a path when its queue is empty.

use super::series::RTT_MAX_NS;

/// How fast the estimate rises by itself, ns a second: as fast as a low orbit recedes there and
/// back, and a little more. What is shorter sets it back at once.
const RISE_NS_S: u64 = 60_000;

/// What a plan may leave out of a round trip, as a divisor of it and beside that, ns: what is longer
/// is somebody's queue.
const PART: u64 = 8;
const SLACK_NS: u64 = 5_000_000;

/// How much longer than the plan says the shortest round trip is; it may be shorter.
#[derive(Clone, Debug, Default)]
pub(super) struct Path {
    /// Beyond the planned round trip, and when that was seen.
    excess: Option<(i64, u64)>,
    planned_ns: u64,
    slack_ns: u64,
}

fn signed(ns: u64) -> i64 {
    i64::try_from(ns.min(RTT_MAX_NS)).unwrap_or(i64::MAX)
}

impl Path {
    /// Takes the planned round trip, 0 for none, and how long some packets take on the link. An excess
    /// over no plan says nothing of one over a plan.
    pub fn plan(&mut self, planned_ns: u64, packets_ns: u64) {
        if (planned_ns == 0) != (self.planned_ns == 0) {
            self.excess = None;
        }
        self.planned_ns = planned_ns.min(RTT_MAX_NS);
        self.slack_ns = packets_ns.min(RTT_MAX_NS).saturating_add(SLACK_NS);
    }

    /// Forgets what was measured: another path.
    pub fn forget(&mut self) {
        self.excess = None;
    }

    /// Takes a measured round trip.
    pub fn measured(&mut self, rtt_ns: u64, now_ns: u64) {
        let seen = signed(rtt_ns) - signed(self.planned_ns);
        if self.excess(now_ns).is_none_or(|excess| seen <= excess) {
            self.excess = Some((seen, now_ns));
        }
    }

    fn excess(&self, now_ns: u64) -> Option<i64> {
        let (excess, at) = self.excess?;
        let age_ms = now_ns.saturating_sub(at) / 1_000_000;
        Some(excess.saturating_add(signed(age_ms.saturating_mul(RISE_NS_S / 1_000))))
    }

    /// Whether a round trip is longer than a plan can have left out.
    pub fn is_beyond(&self, rtt_ns: u64) -> bool {
        signed(rtt_ns) - signed(self.planned_ns) > self.left_out()
    }

    /// Most that a plan leaves out, ns.
    fn left_out(&self) -> i64 {
        signed(self.planned_ns / PART + self.slack_ns)
    }

    /// The shortest round trip now, ns; none before one was planned or measured.
    pub fn shortest_ns(&self, now_ns: u64) -> Option<u64> {
        let excess = match (self.excess(now_ns), self.planned_ns) {
            (None, 0) => return None,
            (excess, 0) => excess.unwrap_or(0),
            (excess, _) => excess.unwrap_or(0).min(self.left_out()),
        };
        let shortest = signed(self.planned_ns).saturating_add(excess);
        Some(u64::try_from(shortest).unwrap_or(0).clamp(1, RTT_MAX_NS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_shortest_round_trip_follows_a_pass_planned_or_not() {
        let mut path = Path::default();
        assert_eq!(path.shortest_ns(0), None);
        path.measured(10 * MS, 0);
        path.measured(14 * MS, 0);
        assert_eq!(path.shortest_ns(0), Some(10 * MS), "a queue is no path");
        assert_eq!(path.shortest_ns(10_000 * MS), Some(10 * MS + 600_000));
        path.measured(9 * MS, 10_000 * MS);
        assert_eq!(path.shortest_ns(10_000 * MS), Some(9 * MS));
        // A plan of 6 ms that leaves 2 ms of modems out, and then one of 12 ms.
        path.plan(6 * MS, 0);
        assert_eq!(path.shortest_ns(10_000 * MS), Some(6 * MS));
        path.measured(8 * MS, 10_000 * MS);
        path.plan(12 * MS, 0);
        assert_eq!(path.shortest_ns(10_000 * MS), Some(14 * MS));
        path.measured(3 * MS, 10_000 * MS);
        assert_eq!(path.shortest_ns(10_000 * MS), Some(3 * MS), "the plan was too long");
    }

    #[test]
    fn no_time_breaks_it() {
        let mut path = Path::default();
        for (planned, rtt, now) in [(u64::MAX, 0, u64::MAX), (0, u64::MAX, 0), (1, 0, u64::MAX)] {
            path.plan(planned, rtt);
            path.measured(rtt, now);
            let shortest = path.shortest_ns(u64::MAX).unwrap();
            assert!((1..=RTT_MAX_NS).contains(&shortest));
        }
    }
}
