//! The numbers that a reception's count leaves open, and which of them its neighbours speak for.

use super::{JUDGED_MODULUS_MIN, Rank};
use crate::gaps::CONTACT_GAP_NS;
use codecs::{
    ids::{Origin, StoreEpoch},
    time::Tai,
};

/// Frames lost within one run of a counter, at most, for its two ends to know each other: two
/// counters that were set apart at random are nearer once in thousands of times.
const RUN_HOLE_MAX: u64 = 2_048;

/// A reception, as far as its place goes.
pub(super) struct Reception {
    pub(super) site: (Origin, StoreEpoch),
    pub(super) sequence: u64,
    pub(super) count: u64,
    pub(super) modulus: u64,
    pub(super) received: Tai,
    pub(super) rank: Rank,
}

impl Reception {
    /// The least number with its count from `least` on.
    pub(super) const fn from(&self, least: u64) -> u64 {
        let ahead =
            (self.count % self.modulus + self.modulus - least % self.modulus) % self.modulus;
        least.saturating_add(ahead)
    }

    /// The greatest number with its count to `most`.
    pub(super) const fn to(&self, most: u64) -> u64 {
        let behind =
            (most % self.modulus + self.modulus - self.count % self.modulus) % self.modulus;
        most.saturating_sub(behind)
    }

    /// The number with its count that is nearest.
    pub(super) const fn near(&self, number: u64) -> u64 {
        let (above, below) = (self.from(number), self.to(number));
        if above - number <= number - below { above } else { below }
    }

    /// Whether its count tells a frame from all others that are sent within the window.
    pub(super) const fn is_counted_far(&self) -> bool {
        self.modulus >= JUDGED_MODULUS_MIN
    }

    /// Its number behind what was heard before it. The count alone takes a hole of more than its
    /// wrap for a short one; the pace tells how long it was.
    pub(super) fn behind(&self, before: &Bound) -> u64 {
        let plain = self.from(before.least);
        match before.passed(self.received.since(before.at), self.modulus) {
            Some(passed) => self.near(before.number.saturating_add(passed)).max(plain),
            None => plain,
        }
    }

    /// Whether it may be of a recording that is heard once more in another contact: its count is
    /// nearer than the time was long. Then all of it needs room.
    pub(super) fn may_be_again(&self, bound: &Bound, number: u64) -> bool {
        let silence_ns = self.received.since(bound.at).saturating_abs();
        self.is_counted_far()
            && silence_ns >= CONTACT_GAP_NS
            && bound
                .sent_in(silence_ns)
                .is_some_and(|passed| number.abs_diff(bound.number) < passed / 2)
    }

    /// Its number near what another site heard at its time. What its own site heard before and
    /// behind it narrows that down, unless it tells of another turn of the counter: then that
    /// came late, or was alone, and was put in the wrong place.
    pub(super) fn hinted(&self, (neighbour, sure): (u64, bool), own: &Own, window_ns: i64) -> u64 {
        let number = self.near(neighbour);
        let strays = number.abs_diff(neighbour);
        let follows = |below: &Bound| {
            let soon = self.received.since(below.at).saturating_abs() < window_ns;
            soon && self.is_counted_far() && self.from(below.least) - below.least < strays
        };
        if let Some(below) = own.below.filter(follows) {
            // The others' nearest are from before the counter was set back, or from behind.
            return self.from(below.least);
        }
        let agrees = |bound: &Bound| !sure || bound.number.abs_diff(neighbour) <= self.modulus / 2;
        let below = own.below.filter(agrees).map(|below| below.least);
        let above = own.above.filter(agrees).map(|above| above.least);
        match (below, above) {
            (Some(least), _) if number < least => self.from(least),
            (_, Some(most)) if number > most => self.to(most),
            _ => number,
        }
    }

    /// Whether it is of the run that goes on from what its own site numbered before it, with not
    /// too many lost between.
    pub(super) fn follows(&self, below: &Bound) -> bool {
        self.is_counted_far() && self.from(below.least) - below.least <= RUN_HOLE_MAX
    }

    /// Whether what its own site numbered behind it goes on from it.
    pub(super) fn leads(&self, above: &Bound) -> bool {
        self.is_counted_far() && above.least - self.to(above.least) <= RUN_HOLE_MAX
    }

    /// Its number ahead of what was heard behind it.
    pub(super) fn ahead(&self, after: &Bound) -> u64 {
        let plain = self.to(after.least);
        match after.passed(after.at.since(self.received), self.modulus) {
            Some(passed) => self.near(after.number.saturating_sub(passed)).min(plain),
            None => plain,
        }
    }
}

/// A reception that another lies behind, or ahead of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) at: Tai,
    pub(super) number: u64,
    /// The number next to it that the other may have.
    pub(super) least: u64,
    /// Of the site that heard it.
    pub(super) pace: Option<(u64, i64)>,
}

impl Bound {
    /// Frames sent in a silence at its site's pace.
    pub(super) fn sent_in(&self, silence_ns: i64) -> Option<u64> {
        let (frames, ns) = self.pace?;
        Some((silence_ns.max(0) as f64 * frames as f64 / ns as f64) as u64)
    }

    /// Those, where the count alone can't tell.
    pub(super) fn passed(&self, silence_ns: i64, modulus: u64) -> Option<u64> {
        self.sent_in(silence_ns).filter(|passed| *passed > modulus / 2)
    }
}

/// What a site itself heard before and behind, by its own order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    pub(super) below: Option<Bound>,
    pub(super) above: Option<Bound>,
}

impl Own {
    pub(super) const fn is_unknown(&self) -> bool {
        self.below.is_none() && self.above.is_none()
    }
}
