//! How much of its share a session needs: what its path holds, not more.
//!
//! What lies in credit and is not read yet is memory. On a short path a sender that is faster than
//! the archive fills all the credit that it has, and gains nothing by it; on a long one credit is
//! what keeps the link busy. So credit follows the product of rate and round trip: a link that is
//! held back by its credit doubles it at each look, one that is held back by the archive gives it
//! back.

use std::time::Duration;

/// Credit at least, where the share allows it: an object under way.
const LEAST_BYTES: u32 = 1 << 20;
/// From this round trip on a session has its whole share: waiting for credit would cost a pass
/// more than the memory does.
const FAR: Duration = Duration::from_millis(100);
/// How often a session looks.
pub const LOOK: Duration = Duration::from_millis(100);

/// The credit of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    share: u32,
    given: u32,
}

impl Credit {
    /// Of a session that has just opened, over a path with this round trip.
    pub fn new(share: u32, rtt: Duration) -> Self {
        let given = if rtt < FAR { LEAST_BYTES.min(share) } else { share };
        Self { share, given }
    }

    /// What it is.
    pub const fn bytes(&self) -> u32 {
        self.given
    }

    /// Another share, after a reload.
    pub fn limit(&mut self, share: u32) {
        self.share = share;
        self.given = self.given.min(share).max(LEAST_BYTES.min(share));
    }

    /// What it becomes, now that so many bytes came in so long.
    pub fn follow(&mut self, bytes: u64, elapsed: Duration, rtt: Duration) -> u32 {
        if rtt >= FAR {
            self.given = self.share;
            return self.given;
        }
        let path = bytes as f64 * rtt.as_secs_f64() / elapsed.as_secs_f64().max(1e-3);
        // Saturates: a share is far below.
        let wanted = ((2.0 * path) as u32).max(LEAST_BYTES).min(self.share);
        if wanted > self.given {
            self.given = wanted;
        } else if wanted < self.given / 4 {
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
            let mut credit = Credit::new(SHARE, rtt);
            for _ in 0..8 {
                credit.follow(arrive(credit, bytes_per_s, rtt), TICK, rtt);
            }
            let path = bytes_per_s * rtt.as_secs_f64();
            assert!(f64::from(credit.bytes()) >= path, "{credit:?} on {path} bytes");
        }
    }

    #[test]
    fn a_short_path_holds_little_however_fast_and_gives_back() {
        let rtt = Duration::from_micros(300);
        let mut credit = Credit::new(SHARE, rtt);
        for _ in 0..50 {
            credit.follow(60_000_000, TICK, rtt);
        }
        assert_eq!(credit.bytes(), LEAST_BYTES);
        // A while the archive was slow, and the round trip with it.
        credit.follow(30_000_000, TICK, ms(25));
        assert!(credit.bytes() > 14 << 20);
        for _ in 0..50 {
            credit.follow(0, TICK, rtt);
        }
        assert!(credit.bytes() < 4 * LEAST_BYTES);
    }

    #[test]
    fn a_long_path_has_its_share_from_the_start_and_no_one_more() {
        assert_eq!(Credit::new(SHARE, ms(600)).bytes(), SHARE);
        let mut credit = Credit::new(300_000, ms(5));
        assert_eq!(credit.follow(u64::MAX, TICK, ms(5)), 300_000);
        credit.limit(200_000);
        assert_eq!(credit.follow(u64::MAX, TICK, ms(5)), 200_000);
    }
}
