//! Fades that close a link: open and closed by turns, each as long as an exponential draw says
//! (Gilbert's two states in time). They are drawn for the whole flight, so that what a link could
//! carry is told without them.

use codecs::time::Tai;

use super::net::Leg;
use crate::{
    link::{Reason, Verdict},
    rng::Random,
};

/// How often a link is faded away, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fade {
    /// Share of the time, 0 to 1.
    pub share: f64,
    /// Mean length of one, seconds.
    pub mean_s: f64,
}

/// When a link is faded away.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fades {
    /// From and to, in order and apart.
    closed: Vec<(Tai, Tai)>,
}

impl Fades {
    /// Draws those of a span of time.
    pub fn draw(fade: Fade, (from, to): (Tai, Tai), seed: u64) -> Self {
        let mut random = Random::new(seed, "fades");
        let share = fade.share.clamp(0.0, 0.999);
        let open_s = fade.mean_s * (1.0 - share) / share.max(1e-12);
        let mut closed = Vec::new();
        let (mut at, mut faded) = (from, random.chance(share));
        while at < to {
            let mean_s = if faded { fade.mean_s } else { open_s };
            let stay_ns = -(1.0 - random.unit()).ln() * mean_s * 1e9;
            let until = at.plus((stay_ns.min(1e18) as i64).max(1)).min(to);
            if faded {
                closed.push((at, until));
            }
            (at, faded) = (until, !faded);
        }
        Self { closed }
    }

    /// Whether nothing passes at an instant.
    pub fn holds(&self, at: Tai) -> bool {
        let next = self.closed.partition_point(|(from, _)| *from <= at);
        next.checked_sub(1).and_then(|last| self.closed.get(last)).is_some_and(|last| at < last.1)
    }
}

/// A leg that loses what is sent through a fade.
pub struct Faded<L, F> {
    /// Under a clear sky.
    pub inner: L,
    /// Whether it is faded away at an instant.
    pub fades: F,
}

impl<L: Leg, F: Fn(Tai) -> bool + Send> Leg for Faded<L, F> {
    fn offer(&mut self, now: Tai, length: usize) -> Verdict {
        let verdict = self.inner.offer(now, length);
        if (self.fades)(now) { Verdict::Dropped(Reason::Lost) } else { verdict }
    }

    fn copy(&self) -> Option<Tai> {
        self.inner.copy()
    }

    fn lost_at(&self) -> Option<Tai> {
        self.inner.lost_at()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fades_take_the_share_of_the_time_that_was_asked_and_last_as_long() {
        const SECONDS: i64 = 400_000;
        let fade = Fade { share: 0.2, mean_s: 50.0 };
        let fades = Fades::draw(fade, (Tai(0), Tai(SECONDS * 1_000_000_000)), 5);
        let closed = (0..SECONDS).filter(|second| fades.holds(Tai(second * 1_000_000_000))).count();
        assert!((0.18..0.22).contains(&(closed as f64 / SECONDS as f64)), "{closed}");
        let mean_s = closed as f64 / fades.closed.len() as f64;
        assert!((45.0..55.0).contains(&mean_s), "{mean_s}");
        let never = Fades::draw(Fade { share: 0.0, ..fade }, (Tai(0), Tai(1_000_000_000)), 5);
        assert_eq!(never, Fades::default());
    }
}
