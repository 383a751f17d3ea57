//! The station's clocks.

use crate::archive::Now;
use codecs::time::{LeapTable, Tai};
use std::time::Instant;

/// Monotonic time since the start, and the station's time: the real clock plus, in a
/// demonstration, an offset.
#[derive(Clone, Copy, Debug)]
pub struct StationClock {
    started: Instant,
    offset_ns: i64,
}

impl StationClock {
    /// Starts now.
    pub fn new(simulated_offset_s: f64) -> Self {
        Self { started: Instant::now(), offset_ns: (simulated_offset_s * 1e9) as i64 }
    }

    /// The station's time.
    pub fn tai(&self) -> Tai {
        super::wall_clock().plus(self.offset_ns)
    }

    /// Monotonic nanoseconds since the start.
    pub fn mono_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// Both, as the archive wants them.
    pub fn now(&self) -> Now {
        Now { mono_ms: self.mono_ns() / 1_000_000, tai: self.tai() }
    }

    /// The instant of a monotonic time.
    pub fn instant(&self, mono_ns: u64) -> Instant {
        self.started + std::time::Duration::from_nanos(mono_ns)
    }
}

/// Tells the operator in time that the leap seconds built in will not be known to be whole.
pub fn warn_of_leap_seconds() {
    match LeapTable::on(super::wall_clock()) {
        LeapTable::Current => {}
        LeapTable::Ending { days } => {
            tracing::warn!(days, "the table of leap seconds ends: update before it does");
        }
        LeapTable::Ended { days } => tracing::warn!(
            days_ago = days,
            "the table of leap seconds ended: UTC may be wrong by a second for each since; update"
        ),
    }
}
