//! What is to be planned, as numbers: who may be heard where, when, and what it is worth.

use std::cmp::Ordering;

use super::mount::{Mount, Pointing};

/// An antenna.
#[derive(Clone, Copy, Debug)]
pub struct Antenna {
    /// From the start of work to the first bit, ns.
    pub setup_ns: i64,
    /// From the last bit to the end of work, ns.
    pub teardown_ns: i64,
    /// How it turns between contacts.
    pub mount: Mount,
}

/// A spacecraft.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// Worth of a second.
    pub value: f64,
    /// Seconds wanted in all; infinite where every second is welcome.
    pub need_s: f64,
    /// Share of the worth that a second beyond it has.
    pub surplus: f64,
    /// Whether it can be heard by several antennas at once.
    pub several: bool,
    /// From one antenna to the next, ns.
    pub switch_ns: i64,
}

impl Demand {
    /// Worth of so many seconds: concave, so that the first ones count most.
    pub fn worth(&self, seconds: f64) -> f64 {
        let within = seconds.min(self.need_s);
        self.value * (within + self.surplus * (seconds - within))
    }
}

/// A contact that may be planned.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Of [`Problem::demands`].
    pub satellite: usize,
    /// Of [`Problem::antennas`].
    pub antenna: usize,
    /// What of it: the caller's.
    pub pass: usize,
    /// First instant, ns TAI.
    pub from: i64,
    /// Last instant.
    pub to: i64,
    /// Seconds of use in it, at the spacecraft's own rate.
    pub seconds: f64,
    /// Where the antenna points at its start.
    pub start: Pointing,
    /// And at its end.
    pub end: Pointing,
}

/// Everything to plan.
#[derive(Clone, Debug, Default)]
pub struct Problem {
    /// Antennas.
    pub antennas: Vec<Antenna>,
    /// Spacecraft.
    pub demands: Vec<Demand>,
    /// Contacts that may be.
    pub candidates: Vec<Candidate>,
}

impl Problem {
    /// Whether an antenna can do one contact after another.
    pub fn follows(&self, before: &Candidate, after: &Candidate) -> bool {
        let Antenna { setup_ns, teardown_ns, mount } = &self.antennas[before.antenna];
        let free = before.to + teardown_ns + setup_ns;
        free <= after.from && free + mount.slew_ns(before.end, after.start) <= after.from
    }

    /// Whether a spacecraft can have both contacts, on whichever antennas, one as well.
    pub fn agree(&self, a: &Candidate, b: &Candidate) -> bool {
        let Demand { several, switch_ns, .. } = &self.demands[a.satellite];
        *several || a.to + switch_ns <= b.from || b.to + switch_ns <= a.from
    }

    /// Worth of contacts together.
    pub fn worth(&self, chosen: impl IntoIterator<Item = usize>) -> f64 {
        let mut seconds = vec![0.0; self.demands.len()];
        for id in chosen {
            let of = &self.candidates[id];
            seconds[of.satellite] += of.seconds;
        }
        self.demands.iter().zip(seconds).map(|(demand, seconds)| demand.worth(seconds)).sum()
    }

    /// The first rule that a plan breaks, in words; none where it can be flown.
    pub fn fault(&self, chosen: &[usize]) -> Option<String> {
        for (at, a) in chosen.iter().enumerate() {
            for b in &chosen[at + 1..] {
                let (a, b) = (&self.candidates[*a], &self.candidates[*b]);
                let apart = self.follows(a, b) || self.follows(b, a);
                if a.antenna == b.antenna && !apart {
                    return Some(format!("antenna {} has {a:?} and {b:?} at once", a.antenna));
                }
                if a.satellite == b.satellite && !self.agree(a, b) {
                    return Some(format!("satellite {} has {a:?} and {b:?}", a.satellite));
                }
            }
        }
        None
    }

    /// By time, then by number, so that equal starts keep one order.
    pub(super) fn by_start(&self, a: usize, b: usize) -> Ordering {
        (self.candidates[a].from, a).cmp(&(self.candidates[b].from, b))
    }
}
