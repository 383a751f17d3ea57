//! What happens to packets beside noise: gaps in time, late ones, second copies.

use crate::rng::Random;
use codecs::time::Tai;

/// Gaps that come back: the path changes hands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Handover {
    /// The first one.
    pub first: Tai,
    /// From one to the next, ns.
    pub every_ns: i64,
    /// How long nothing passes, ns.
    pub gap_ns: i64,
}

/// What is to happen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Disturbances {
    /// From and to: nothing passes.
    pub outages: Vec<(Tai, Tai)>,
    /// Gaps that come back.
    pub handover: Option<Handover>,
    /// Share of packets that come late, 0 to 1,
    pub late_share: f64,
    /// by up to this, ns: others overtake them.
    pub late_ns: i64,
    /// Share of packets that come twice, 0 to 1.
    pub twice_share: f64,
}

/// How long after the first a second copy comes at most, ns.
const TWICE_NS: f64 = 2e6;

/// Disturbances with their dice.
#[derive(Clone, Debug)]
pub struct Disturbing {
    of: Disturbances,
    random: Random,
}

impl Disturbing {
    /// Ready.
    pub fn new(of: Disturbances, seed: u64) -> Self {
        Self { of, random: Random::new(seed, "disturbances") }
    }

    /// What is to happen.
    pub fn of(&self) -> &Disturbances {
        &self.of
    }

    /// Whether anything passes at an instant.
    pub fn passes(&self, at: Tai) -> bool {
        let out = self.of.outages.iter().any(|(from, to)| (*from..*to).contains(&at));
        let handed = self.of.handover.is_some_and(|handover| {
            let since = at.since(handover.first);
            since >= 0 && since % handover.every_ns.max(1) < handover.gap_ns
        });
        !out && !handed
    }

    /// How late the next packet is, ns; none where it keeps its place.
    pub fn late_ns(&mut self) -> Option<i64> {
        if self.of.late_share <= 0.0 || !self.random.chance(self.of.late_share) {
            return None;
        }
        Some((self.random.unit() * self.of.late_ns as f64) as i64)
    }

    /// How long after the packet its copy comes, ns; none where there is no copy.
    pub fn copy_ns(&mut self) -> Option<i64> {
        if self.of.twice_share <= 0.0 || !self.random.chance(self.of.twice_share) {
            return None;
        }
        Some((self.random.unit() * TWICE_NS) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn gaps_are_where_they_were_asked_for() {
        let handover = Handover { first: Tai(0), every_ns: 15 * SECOND, gap_ns: SECOND / 5 };
        let outages = vec![(Tai(100 * SECOND), Tai(103 * SECOND))];
        let of = Disturbances { outages, handover: Some(handover), ..Disturbances::default() };
        let disturbing = Disturbing::new(of, 1);
        let dark = |from: i64, to: i64| {
            let times = (from * 100..to * 100).map(|at| Tai(at * SECOND / 100));
            times.filter(|at| !disturbing.passes(*at)).count()
        };
        // 20 hundredths every 15 s, and 3 s once.
        assert_eq!(dark(0, 90), 6 * 20);
        assert_eq!(dark(95, 104), 300);
        assert_eq!(dark(-50, 0), 0);
    }

    #[test]
    fn late_and_doubled_packets_are_as_many_and_as_late_as_asked() {
        let of = Disturbances {
            late_share: 0.03,
            late_ns: 8_000_000,
            twice_share: 0.01,
            ..Disturbances::default()
        };
        let mut disturbing = Disturbing::new(of, 4);
        let late: Vec<i64> = (0..200_000).filter_map(|_| disturbing.late_ns()).collect();
        assert!((late.len() as f64 / 6_000.0 - 1.0).abs() < 0.06, "{}", late.len());
        let mean = late.iter().sum::<i64>() as f64 / late.len() as f64;
        assert!((mean / 4e6 - 1.0).abs() < 0.04, "{mean}");
        let twice = (0..200_000).filter(|_| disturbing.copy_ns().is_some()).count();
        assert!((twice as f64 / 2_000.0 - 1.0).abs() < 0.1, "{twice}");
        let mut calm = Disturbing::new(Disturbances::default(), 4);
        assert!((0..1000).all(|_| calm.late_ns().is_none() && calm.copy_ns().is_none()));
    }
}
