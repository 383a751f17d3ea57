//! What a model may cost, and when it has cost too much.
//!
//! One that runs too long, or takes more of an orbit than is its share, is left alone until the
//! next orbit begins. One that fails too often in a row is left alone for good. Neither stops what
//! asks it.

use serde::Serialize;

/// Failures in a row after which a model is not asked again.
pub const FAILURES_MAX: u32 = 3;

/// What a model may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Longest run, in nanoseconds.
    pub run_ns: u64,
    /// Processor time of an orbit, in nanoseconds.
    pub orbit_cpu_ns: u64,
    /// Length of an orbit, in nanoseconds.
    pub orbit_ns: u64,
    /// Most items of one question: a run that answers fewer ends sooner.
    pub items_max: usize,
}

impl Budget {
    /// No bound at all.
    pub const NONE: Self = Self {
        run_ns: u64::MAX,
        orbit_cpu_ns: u64::MAX,
        orbit_ns: u64::MAX,
        items_max: usize::MAX,
    };
}

/// Why a model is not asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suspension {
    /// It cost too much: until the next orbit.
    Overrun(String),
    /// It cannot be relied on: for good.
    Fault(String),
}

impl Suspension {
    /// The reason in words.
    pub fn reason(&self) -> &str {
        match self {
            Self::Overrun(reason) | Self::Fault(reason) => reason,
        }
    }
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BudgetCounts {
    /// Runs that gave an answer.
    pub runs: u64,
    /// Runs that failed.
    pub failures: u64,
    /// Runs that took too long, and orbits whose share was used up.
    pub overruns: u64,
    /// Questions that were not asked: suspended, or not loaded at the time.
    pub unasked: u64,
    /// Processor time, in nanoseconds.
    pub cpu_ns: u64,
    /// Longest run, in nanoseconds.
    pub longest_ns: u64,
}

/// Keeps a model within its budget.
#[derive(Clone, Debug)]
pub struct Governor {
    budget: Budget,
    /// When the present orbit began.
    orbit_began_ns: Option<u64>,
    spent_ns: u64,
    failures: u32,
    suspended: Option<Suspension>,
    counts: BudgetCounts,
}

impl Governor {
    /// A governor that has seen nothing yet.
    pub fn new(budget: Budget) -> Self {
        let counts = BudgetCounts::default();
        Self { budget, orbit_began_ns: None, spent_ns: 0, failures: 0, suspended: None, counts }
    }

    /// Whether the model may be asked at `now_ns`.
    pub fn may_run(&mut self, now_ns: u64) -> bool {
        let began = *self.orbit_began_ns.get_or_insert(now_ns);
        let orbits = now_ns.saturating_sub(began).checked_div(self.budget.orbit_ns).unwrap_or(0);
        if orbits > 0 {
            self.orbit_began_ns = Some(began.saturating_add(orbits * self.budget.orbit_ns));
            self.spent_ns = 0;
            if matches!(self.suspended, Some(Suspension::Overrun(_))) {
                self.suspended = None;
            }
        }
        self.suspended.is_none()
    }

    /// A question was not asked.
    pub fn left_out(&mut self) {
        self.counts.unasked += 1;
    }

    /// A run gave an answer and took so long. Says when that suspends it.
    pub fn ran(&mut self, wall_ns: u64, cpu_ns: u64) -> Option<Suspension> {
        self.counts.runs += 1;
        self.failures = 0;
        self.spend(wall_ns, cpu_ns)
    }

    /// A run failed after so long. Says when that suspends it.
    pub fn failed(&mut self, why: &str, wall_ns: u64) -> Option<Suspension> {
        self.counts.failures += 1;
        self.failures += 1;
        // How long it computed before it was killed is not known: at most that long.
        if let Some(overrun) = self.spend(wall_ns, wall_ns) {
            return Some(overrun);
        }
        (self.failures >= FAILURES_MAX).then(|| {
            let text = format!("failed {FAILURES_MAX} times in a row, the last time: {why}");
            self.suspend(Suspension::Fault(text))
        })
    }

    /// Takes it out of service for good.
    pub fn condemn(&mut self, why: String) -> Suspension {
        self.suspend(Suspension::Fault(why))
    }

    fn spend(&mut self, wall_ns: u64, cpu_ns: u64) -> Option<Suspension> {
        self.counts.cpu_ns = self.counts.cpu_ns.saturating_add(cpu_ns);
        self.counts.longest_ns = self.counts.longest_ns.max(wall_ns);
        self.spent_ns = self.spent_ns.saturating_add(cpu_ns);
        let (spent, share) = (self.spent_ns, self.budget.orbit_cpu_ns);
        let reason = match () {
            () if wall_ns > self.budget.run_ns => {
                let (took, most) = (wall_ns / 1_000_000, self.budget.run_ns / 1_000_000);
                format!("a run took {took} ms, its budget is {most} ms")
            }
            () if spent > share => {
                let (spent, share) = (spent / 1_000_000, share / 1_000_000);
                format!("used {spent} ms of processor in this orbit, its budget is {share} ms")
            }
            () => return None,
        };
        self.counts.overruns += 1;
        Some(self.suspend(Suspension::Overrun(reason)))
    }

    fn suspend(&mut self, suspension: Suspension) -> Suspension {
        self.suspended = Some(suspension.clone());
        suspension
    }

    /// Why it is not asked, where it is not.
    pub fn suspended(&self) -> Option<&Suspension> {
        self.suspended.as_ref()
    }

    /// What happened so far.
    pub fn counts(&self) -> BudgetCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget { run_ns: 50, orbit_cpu_ns: 200, orbit_ns: 1000, ..Budget::NONE };

    #[test]
    fn a_long_run_is_left_alone_until_the_next_orbit() {
        let mut governor = Governor::new(BUDGET);
        assert!(governor.may_run(10_000));
        assert_eq!(governor.ran(50, 10), None);
        assert!(matches!(governor.ran(51, 10), Some(Suspension::Overrun(_))));
        assert!(!governor.may_run(10_999));
        assert!(governor.may_run(11_000) && governor.suspended().is_none());
        assert_eq!(governor.counts().overruns, 1);
    }

    #[test]
    fn an_orbits_share_is_an_orbits_share() {
        let mut governor = Governor::new(BUDGET);
        for orbit in 0..3u64 {
            // Orbits are counted from the first question, whenever the next one comes.
            let now = 5 + orbit * 2000;
            for _ in 0..5 {
                assert!(governor.may_run(now));
                assert_eq!(governor.ran(40, 40), None);
            }
            assert!(governor.ran(1, 1).is_some());
            assert!(!governor.may_run(now + 994));
        }
        assert_eq!((governor.counts().overruns, governor.counts().cpu_ns), (3, 603));
    }

    #[test]
    fn failures_in_a_row_are_for_good() {
        let mut governor = Governor::new(BUDGET);
        for _ in 0..10 {
            assert!(governor.failed("no", 1).is_none() && governor.failed("no", 1).is_none());
            assert_eq!(governor.ran(1, 1), None);
        }
        governor.failed("a", 1);
        governor.failed("b", 1);
        let last = governor.failed("c", 1).unwrap();
        assert!(last.reason().ends_with("c") && matches!(last, Suspension::Fault(_)), "{last:?}");
        assert!(!governor.may_run(0) && !governor.may_run(u64::MAX));
        assert_eq!(governor.counts().failures, 23);
    }
}
