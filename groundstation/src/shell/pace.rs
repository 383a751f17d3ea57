//! The rate at which a session's objects are read. What is not read yet gives the peer no credit,
//! so it sends no faster.

use super::clock::StationClock;
use crate::peers::Bucket;
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Shared by the object streams of a session.
#[derive(Debug)]
pub struct Pace {
    clock: StationClock,
    /// Bytes; none where there is no limit.
    bytes: Mutex<Option<Bucket>>,
}

impl Pace {
    /// As fast as they come.
    pub fn new(clock: StationClock) -> Self {
        Self { clock, bytes: Mutex::new(None) }
    }

    /// From now on at most so many bits a second, or as fast as they come.
    pub fn limit(&self, rate_bps: Option<u64>, now_ns: u64) {
        let bytes_per_s = rate_bps.map(|rate| (rate / 8).max(1));
        // A tenth of a second at once, so that short waits need not be met exactly.
        let bucket = bytes_per_s.map(|rate| Bucket::new(rate, rate / 10 + 1, now_ns));
        *self.bytes.lock().unwrap_or_else(PoisonError::into_inner) = bucket;
    }

    /// Waits as long as these bytes take.
    pub async fn take(&self, bytes: usize) {
        let owe = |bucket: &mut Bucket| bucket.owe(bytes as u64, self.clock.mono_ns());
        let wait = self.bytes.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(owe);
        match wait {
            None | Some(0) => {}
            Some(wait_ns) => tokio::time::sleep(Duration::from_nanos(wait_ns)).await,
        }
    }
}
