//! How much of its share a session needs: what its path holds, not more.
//!
//! What lies in credit and is not read yet is memory. On a short path a sender that is faster than
//! the archive fills all the credit that it has, and gains nothing by it; on a long one credit is
//! what keeps the link busy. So credit follows the product of rate and round trip: a link that is
//! held back by its credit doubles it at each look, one that is held back by the archive gives it
//! back.

use std::time::Duration;

/// Credit at least, where the share allows it and sessions are few: an object under way.
const LEAST_BYTES: u32 = 1 << 20;
/// Credit at least, however many sessions there are.
const CROWDED_BYTES: u32 = 256 << 10;
/// What the least of all sessions comes to.
const TOGETHER_BYTES: u32 = 32 << 20;
/// Looks after which the path is measured anew.
const LOOKS: u32 = 100;
/// From this round trip on a session has its whole share: waiting for credit would cost a pass
/// more than the memory does.
const FAR: Duration = Duration::from_millis(100);
/// How often a session looks.
pub const LOOK: Duration = Duration::from_millis(100);

/// Credit that each of so many open sessions has at least.
pub fn least_bytes(sessions: usize) -> u32 {
    let sessions = u32::try_from(sessions).unwrap_or(u32::MAX).max(1);
    (TOGETHER_BYTES / sessions).clamp(CROWDED_BYTES, LEAST_BYTES)
}

/// The credit of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    share: u32,
    given: u32,
    /// The shortest round trip of late: what is above it is waiting, which credit would only
    /// lengthen.
    path: Duration,
    looks: u32,
}

impl Credit {
    /// Of a session that has just opened, over a path with this round trip.
    pub fn new(share: u32, least: u32, rtt: Duration) -> Self {
        let given = if rtt < FAR { least.min(share) } else { share };
        Self { share, given, path: rtt, looks: 0 }
    }

    /// What it is.
    pub const fn bytes(&self) -> u32 {
        self.given
    }

    /// Another share, after a reload.
    pub fn limit(&mut self, share: u32) {
        self.share = share;
        self.given = self.given.min(share);
    }

    /// What it becomes, now that so many bytes came in so long. `least` follows from how many
    /// share the station.
    pub fn follow(&mut self, bytes: u64, elapsed: Duration, rtt: Duration, least: u32) -> u32 {
        self.looks = (self.looks + 1) % LOOKS;
        self.path = if self.looks == 0 { rtt } else { self.path.min(rtt) };
        if self.path >= FAR {
            self.given = self.share;
            return self.given;
        }
        let under_way = bytes as f64 * self.path.as_secs_f64() / elapsed.as_secs_f64().max(1e-3);
        // Saturates: a share is far below.
        let wanted = ((2.0 * under_way) as u32).max(least).min(self.share);
        if wanted > self.given {
            self.given = wanted;
        } else if wanted < self.given / 2 {
            self.given /= 2;
        }
        self.given
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: u32 = 16 << 20;
    const TICK: Duration = LOOK;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Bytes in a tick on a link of this rate whose sender never lacks data.
    fn arrive(credit: Credit, bytes_per_s: f64, rtt: Duration) -> u64 {
        let by_credit = f64::from(credit.bytes()) / rtt.as_secs_f64();
        (by_credit.min(bytes_per_s) * TICK.as_secs_f64()) as u64
    }

    #[test]
    fn a_link_gets_what_keeps_it_busy_within_a_second() {
        for (bytes_per_s, rtt) in [(125e6, ms(40)), (125e6, ms(90)), (12.5e6, ms(20))] {
            let mut credit = Credit::new(SHARE, LEAST_BYTES, rtt);
            for _ in 0..8 {
                credit.follow(arrive(credit, bytes_per_s, rtt), TICK, rtt, LEAST_BYTES);
            }
            let path = bytes_per_s * rtt.as_secs_f64();
            assert!(f64::from(credit.bytes()) >= path, "{credit:?} on {path} bytes");
        }
    }

    #[test]
    fn a_short_path_holds_little_however_fast_and_however_slow_the_archive() {
        let rtt = Duration::from_micros(300);
        let mut credit = Credit::new(SHARE, LEAST_BYTES, rtt);
        for _ in 0..50 {
            credit.follow(60_000_000, TICK, rtt, LEAST_BYTES);
        }
        assert_eq!(credit.bytes(), LEAST_BYTES);
        // What waits in queues lengthens the round trip, not the path.
        credit.follow(30_000_000, TICK, ms(25), LEAST_BYTES);
        assert_eq!(credit.bytes(), LEAST_BYTES);
    }

    #[test]
    fn a_path_that_became_longer_gets_more_and_gives_it_back() {
        let mut credit = Credit::new(SHARE, LEAST_BYTES, ms(1));
        for _ in 0..2 * LOOKS {
            credit.follow(10_000_000, TICK, ms(60), LEAST_BYTES);
        }
        assert!(credit.bytes() >= 10 << 20, "{credit:?}");
        for _ in 0..10 {
            credit.follow(0, TICK, ms(60), LEAST_BYTES);
        }
        assert!(credit.bytes() <= 2 * LEAST_BYTES);
    }

    #[test]
    fn many_sessions_begin_with_less_each() {
        assert_eq!(least_bytes(0), LEAST_BYTES);
        assert_eq!(least_bytes(32), LEAST_BYTES);
        assert_eq!(least_bytes(64), LEAST_BYTES / 2);
        assert_eq!(least_bytes(usize::MAX), CROWDED_BYTES);
    }

    #[test]
    fn a_long_path_has_its_share_from_the_start_and_no_one_more() {
        assert_eq!(Credit::new(SHARE, LEAST_BYTES, ms(600)).bytes(), SHARE);
        let mut credit = Credit::new(300_000, LEAST_BYTES, ms(5));
        assert_eq!(credit.follow(u64::MAX, TICK, ms(5), LEAST_BYTES), 300_000);
        credit.limit(200_000);
        assert_eq!(credit.follow(u64::MAX, TICK, ms(5), LEAST_BYTES), 200_000);
    }
}
