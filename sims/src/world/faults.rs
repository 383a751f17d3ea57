//! What breaks, and when: drawn from a seed before a run, so that a run can be flown again.

use codecs::time::Tai;
use codecs_store::forgetful::Cut;
use groundstation::archive::forgetful::Crash;
use serde::Deserialize;

use crate::rng::Random;

const DAY_S: f64 = 86_400.0;
/// Most bytes that a full medium still takes.
const STORE_LEFT_BYTES_MAX: u64 = 128 << 10;

/// How often each kind comes, on average.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultRates {
    /// Power cuts of each spacecraft.
    pub power_cuts_per_day: f64,
    /// Crashes of the station, with what its disk had not synced.
    pub station_crashes_per_day: f64,
    /// Times that the station's disk is destroyed and an empty one put in its place.
    pub disks_lost_per_day: f64,
    /// Times that the station's disk is full.
    pub disk_full_per_day: f64,
    /// Times that each spacecraft's medium is full.
    pub store_full_per_day: f64,
    /// Steps of either clock.
    pub clock_steps_per_day: f64,
    /// Times that nothing passes over the link.
    pub partitions_per_day: f64,
    /// Power cuts of the edge at the antennas, where there is one.
    pub edge_crashes_per_day: f64,
}

impl FaultRates {
    /// Each rate with its key.
    pub fn each(&self) -> [(&'static str, f64); 8] {
        [
            ("power_cuts_per_day", self.power_cuts_per_day),
            ("station_crashes_per_day", self.station_crashes_per_day),
            ("disks_lost_per_day", self.disks_lost_per_day),
            ("disk_full_per_day", self.disk_full_per_day),
            ("store_full_per_day", self.store_full_per_day),
            ("clock_steps_per_day", self.clock_steps_per_day),
            ("partitions_per_day", self.partitions_per_day),
            ("edge_crashes_per_day", self.edge_crashes_per_day),
        ]
    }
}

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The spacecraft has no power for so long.
    PowerCut {
        /// What becomes of what was not synced.
        cut: Cut,
        /// Until power comes back, ns.
        off_ns: u64,
    },
    /// The edge at the antennas has none.
    EdgeCut {
        /// What becomes of what was not synced.
        cut: Cut,
        /// Until it is started again, ns.
        off_ns: u64,
    },
    /// The station has none.
    StationCrash {
        /// What becomes of what was not synced.
        how: Crash,
        /// Until it is started again, ns.
        off_ns: u64,
    },
    /// The station's disk is gone; another ledger starts on an empty one after so long.
    DiskLost(u64),
    /// The station's disk takes nothing more, for so long.
    DiskFull(u64),
    /// The spacecraft's medium takes next to nothing more, for so long.
    StoreFull {
        /// Until it takes more, ns.
        full_ns: u64,
        /// What it takes beside what is there and is given up; none takes nothing at all.
        left_bytes: Option<u64>,
    },
    /// The clock of the spacecraft's sensors steps by so much.
    CraftClock(i64),
    /// The station's clock steps by so much.
    StationClock(i64),
    /// Nothing passes for so long.
    Partition(u64),
}

impl Fault {
    /// In words.
    pub fn name(&self) -> String {
        let s = |ns: u64| ns as f64 / 1e9;
        match self {
            Self::PowerCut { cut, off_ns } => {
                format!("power cut ({cut:?}), off for {:.0} s", s(*off_ns))
            }
            Self::EdgeCut { cut, off_ns } => {
                format!("power cut of the edge ({cut:?}), off for {:.0} s", s(*off_ns))
            }
            Self::StationCrash { how, off_ns } => {
                format!("station crash ({how:?}), off for {:.0} s", s(*off_ns))
            }
            Self::DiskLost(ns) => {
                format!("station's disk destroyed, an empty one after {:.0} s", s(*ns))
            }
            Self::DiskFull(ns) => format!("station's disk full for {:.0} s", s(*ns)),
            Self::StoreFull { full_ns, left_bytes: None } => {
                format!("store's medium takes nothing for {:.0} s", s(*full_ns))
            }
            Self::StoreFull { full_ns, left_bytes: Some(left) } => {
                format!("store's medium full but for {left} bytes for {:.0} s", s(*full_ns))
            }
            Self::CraftClock(ns) => {
                format!("spacecraft's clock steps by {:.1} s", *ns as f64 / 1e9)
            }
            Self::StationClock(ns) => format!("station's clock steps by {:.1} s", *ns as f64 / 1e9),
            Self::Partition(ns) => format!("nothing passes for {:.0} s", s(*ns)),
        }
    }

    /// Whether it is the spacecraft's.
    pub fn is_of_craft(&self) -> bool {
        matches!(self, Self::PowerCut { .. } | Self::StoreFull { .. } | Self::CraftClock(_))
    }
}

/// Faults of one island over `duration_ns`, in order of time. None comes in the last quarter: what
/// a contact after the last fault does not mend is broken.
pub fn draw(rates: &FaultRates, duration_ns: u64, seed: u64) -> Vec<(u64, Fault)> {
    let duration_ns = duration_ns / 4 * 3;
    let mut faults = Vec::new();
    for (name, per_day) in rates.each() {
        let mut random = Random::new(seed, name);
        if per_day <= 0.0 {
            continue;
        }
        let mut at_s = 0.0;
        loop {
            at_s += -(1.0 - random.unit()).ln() * DAY_S / per_day;
            let at_ns = (at_s * 1e9) as u64;
            if at_ns >= duration_ns {
                break;
            }
            faults.push((at_ns, one(name, &mut random)));
        }
    }
    faults.sort_by_key(|(at, fault)| (*at, fault.name()));
    faults
}

fn one(name: &str, random: &mut Random) -> Fault {
    let mut between = |low: f64, high: f64| (random.between(low, high) * 1e9) as u64;
    match name {
        "edge_crashes_per_day" => {
            let off_ns = between(1.0, 60.0);
            let all = Cut::ALL;
            Fault::EdgeCut { cut: all[random.bits() as usize % all.len()], off_ns }
        }
        "power_cuts_per_day" => {
            let off_ns = between(1.0, 300.0);
            // A process that dies leaves its medium whole, which is the mildest of them.
            let all = Cut::ALL;
            let cut = all[random.bits() as usize % all.len()];
            Fault::PowerCut { cut, off_ns }
        }
        "station_crashes_per_day" => {
            let off_ns = between(1.0, 60.0);
            let all = [Crash::Drop, Crash::Tear, Crash::Reorder];
            Fault::StationCrash { how: all[random.bits() as usize % all.len()], off_ns }
        }
        "disks_lost_per_day" => Fault::DiskLost(between(60.0, 600.0)),
        "disk_full_per_day" => Fault::DiskFull(between(10.0, 1_200.0)),
        "store_full_per_day" => {
            let full_ns = between(10.0, 1_200.0);
            let left_bytes = random.chance(0.5).then(|| random.bits() % STORE_LEFT_BYTES_MAX);
            Fault::StoreFull { full_ns, left_bytes }
        }
        "clock_steps_per_day" => {
            let step = random.between(-3_600.0, 3_600.0);
            let step_ns = (step * 1e9) as i64;
            if random.chance(0.5) {
                Fault::CraftClock(step_ns)
            } else {
                Fault::StationClock(step_ns)
            }
        }
        _ => Fault::Partition(between(1.0, 900.0)),
    }
}

/// The times in which nothing passes.
pub fn outages(faults: &[(u64, Fault)], start: Tai) -> Vec<(Tai, Tai)> {
    let of = |(at, fault): &(u64, Fault)| match fault {
        Fault::Partition(ns) => {
            let begin = start.plus(*at as i64);
            Some((begin, begin.plus(*ns as i64)))
        }
        _ => None,
    };
    faults.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_as_often_as_asked_and_the_same_for_a_seed() {
        let rates = FaultRates { power_cuts_per_day: 10.0, ..FaultRates::default() };
        let days = 100 * 86_400 * 1_000_000_000;
        let drawn = draw(&rates, days, 1);
        assert!((650..850).contains(&drawn.len()), "{}", drawn.len());
        assert_eq!(drawn, draw(&rates, days, 1));
        assert_ne!(drawn, draw(&rates, days, 2));
        assert!(drawn.windows(2).all(|pair| pair[0].0 <= pair[1].0));
        assert!(draw(&FaultRates::default(), days, 1).is_empty());
    }
}
