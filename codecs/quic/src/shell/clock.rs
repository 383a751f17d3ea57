//! Monotonic time: the only clock that the link believes.

use std::time::{Duration, Instant};

/// Nanoseconds since the process began; copies agree.
#[derive(Clone, Copy, Debug)]
pub struct Monotonic(Instant);

impl Monotonic {
    /// Starts counting.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The instant of zero.
    pub fn zero(self) -> Instant {
        self.0
    }

    /// Nanoseconds since the start.
    pub fn now_ns(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }

    /// The instant of a count, for timers.
    pub fn instant(self, at_ns: u64) -> tokio::time::Instant {
        let far = Duration::from_secs(86_400 * 365);
        (self.0 + Duration::from_nanos(at_ns).min(far)).into()
    }
}
