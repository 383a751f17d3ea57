//! Simulated time in the types that the QUIC library takes.

use std::{
    sync::OnceLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use codecs::time::Tai;
use quinn_proto::TimeSource;

/// The instant that stands for simulated zero. A process reads its clock once, since an `Instant`
/// can be had no other way; only differences to it are ever used.
static ZERO: OnceLock<Instant> = OnceLock::new();

/// The instant of a simulated time, nanoseconds since the start.
pub fn instant(now_ns: u64) -> Instant {
    *ZERO.get_or_init(Instant::now) + Duration::from_nanos(now_ns)
}

/// The simulated time of an instant.
pub fn nanoseconds(at: Instant) -> u64 {
    let since = at.saturating_duration_since(*ZERO.get_or_init(Instant::now));
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A wall clock that stands still where the scenario starts: only the dates of certificates and
/// tokens are read on it.
#[derive(Clone, Copy, Debug)]
pub struct Standing(pub Tai);

impl Standing {
    fn since_1970(self) -> Duration {
        Duration::from_nanos(self.0.to_unix_nanos().max(0).unsigned_abs())
    }
}

impl TimeSource for Standing {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + self.since_1970()
    }
}

impl rustls::time_provider::TimeProvider for Standing {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        Some(rustls::pki_types::UnixTime::since_unix_epoch(self.since_1970()))
    }
}
