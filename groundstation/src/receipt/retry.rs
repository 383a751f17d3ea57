//! When units that found no room may come again: later each time while the disk stays full.

/// At first: about as long as the archive waits itself.
pub const FULL_RETRY_MS: u32 = 2_000;
/// At most, however long the disk stays full: its end is to be noticed within a contact.
pub const FULL_RETRY_MS_MAX: u32 = 60_000;

/// Doubled once per wait, not per failure: many commits fail within one while peers are many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FullRetry {
    failing: Option<Failing>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failing {
    wait_ms: u32,
    /// Those who were told the wait may come from then on.
    until_ms: u64,
    last_ms: u64,
    /// What did not fit. A smaller commit that does is no sign that the backlog will.
    bytes: u64,
}

impl FullRetry {
    /// A commit of this size failed, at a time on the monotonic clock.
    pub fn failed(&mut self, bytes: u64, now_ms: u64) {
        // One that failed with less, or with a checkpoint alone, does not make the backlog smaller.
        let bytes = self.failing.map_or(bytes, |failing| failing.bytes.max(bytes));
        let wait_ms = match self.failing {
            None => FULL_RETRY_MS,
            Some(Failing { wait_ms, until_ms, .. }) if now_ms < until_ms => {
                self.failing = Some(Failing { wait_ms, until_ms, last_ms: now_ms, bytes });
                return;
            }
            Some(Failing { wait_ms, .. }) => (wait_ms * 2).min(FULL_RETRY_MS_MAX),
        };
        let until_ms = now_ms.saturating_add(u64::from(wait_ms));
        self.failing = Some(Failing { wait_ms, until_ms, last_ms: now_ms, bytes });
    }

    /// A commit of this size is durable. It ends the waiting if it is as large as what failed, or
    /// if nothing failed for as long as every peer had to come twice.
    pub fn succeeded(&mut self, bytes: u64, now_ms: u64) {
        let calm_ms = 2 * u64::from(FULL_RETRY_MS_MAX);
        self.failing = self.failing.filter(|failing| {
            bytes < failing.bytes && now_ms.saturating_sub(failing.last_ms) < calm_ms
        });
    }

    /// What peers are told now, in milliseconds.
    pub fn wait_ms(&self) -> u32 {
        self.failing.map_or(FULL_RETRY_MS, |failing| failing.wait_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        archive::{Now, forgetful::ForgetfulDisk, tests::unit},
        receipt::{SessionId, tests::Station},
    };
    use codecs::time::Tai;

    const A: SessionId = SessionId(1);

    #[test]
    fn the_wait_doubles_once_each_wait_and_starts_anew_after_a_success() {
        let mut retry = FullRetry::default();
        let (mut now_ms, mut told) = (5, Vec::new());
        for _ in 0..8 {
            // However many commits fail before the peers come again.
            [1_000, 0, 1].into_iter().for_each(|bytes| retry.failed(bytes, now_ms));
            told.push(retry.wait_ms() / 1_000);
            now_ms += u64::from(retry.wait_ms());
        }
        assert_eq!(told, [2, 4, 8, 16, 32, 60, 60, 60]);
        retry.succeeded(999, now_ms);
        assert_eq!(retry.wait_ms(), 60_000, "a small one that fits");
        retry.succeeded(1_000, now_ms);
        assert_eq!(retry.wait_ms(), 2_000);
        retry.failed(1_000, now_ms);
        retry.failed(1_000, now_ms + 2_000);
        assert_eq!(retry.wait_ms(), 4_000);
        retry.succeeded(1, now_ms + 121_999);
        assert_eq!(retry.wait_ms(), 4_000);
        retry.succeeded(1, now_ms + 122_000);
        assert_eq!(retry.wait_ms(), 2_000, "nothing failed for two minutes");
    }

    #[test]
    fn a_disk_that_stays_full_is_tried_ever_less_often() {
        let disk = ForgetfulDisk::default();
        let mut station = Station::with_ledger(&disk, 1);
        let (mut now, mut told) = (Now { mono_ms: 0, tai: Tai(0) }, Vec::new());
        disk.set_room(Some(0));
        let mut bring = |now: Now| {
            for sequence in 0..3 {
                station.ingest.take(A, &unit(1, sequence), now);
            }
            station.commit(now).0.fates.remove(&A).unwrap()
        };
        for _ in 0..7 {
            let retry_after_ms = bring(now).refusals[0].retry_after_ms;
            // Who comes in between is told the same, without a try.
            assert_eq!(bring(now).refusals[0].retry_after_ms, retry_after_ms);
            told.push(retry_after_ms / 1_000);
            now.mono_ms += u64::from(retry_after_ms);
        }
        assert_eq!(told, [2, 4, 8, 16, 32, 60, 60]);
        disk.set_room(None);
        assert!(bring(now).refusals.is_empty());
        let (mut other, full) = (Vec::new(), Now { mono_ms: now.mono_ms + 1, ..now });
        disk.set_room(Some(0));
        while other.is_empty() {
            let sequence = 3 + station.ingest.ledger().units;
            station.ingest.take(A, &unit(1, sequence), full);
            other = station.commit(full).0.fates.remove(&A).unwrap().refusals;
        }
        assert_eq!(other[0].retry_after_ms, FULL_RETRY_MS, "it had room in between");
    }
}
