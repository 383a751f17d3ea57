//! How far prediction and delivery disagree: a factor on the predicted rate, within bounds.
//!
//! Every change is a trial over an interval of its own, kept only where the link answers: more is
//! sent and more arrives, or less is sent and no less arrives. What is lost without an answer is
//! noise.

/// Least factor.
pub const SCALE_MIN: f64 = 0.5;
/// Largest factor.
pub const SCALE_MAX: f64 = 2.0;

/// How much one trial adds.
const RAISE: f64 = 1.25;
/// Delivery below this part of what was predicted is a disagreement.
const FIT: f64 = 0.9;
/// A share of bytes lost above which less is tried.
const LOST_HEAVY: f64 = 0.1;
/// Intervals in a row that disagree before the plan counts as refuted.
const STRIKES_MAX: u32 = 3;
/// Intervals without a trial after one that the link did not answer, at first and at most.
const HOLD: [u32; 2] = [4, 32];

/// What one interval of a busy connection showed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shown {
    /// Bytes that arrived, over what the plan says the link carries in that time.
    pub delivered: f64,
    /// Bytes lost over all.
    pub lost: f64,
    /// The least queue over the headroom that the window has.
    pub queue: f64,
    /// The window was filled.
    pub filled: bool,
    /// A queue said that it is too long.
    pub marked: bool,
}

/// What follows from an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The plan holds, with the scale as it is now.
    Holds,
    /// The link is faster than the plan's rate at its largest scale.
    Faster,
    /// The plan is wrong, or others use the link.
    Refuted,
}

#[derive(Clone, Copy, Debug)]
struct Trial {
    before: f64,
    delivered: f64,
}

/// The factor and what is being tried with it.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    factor: f64,
    trial: Option<Trial>,
    strikes: u32,
    hold: u32,
    next_hold: u32,
}

impl Scale {
    pub fn new(factor: f64) -> Self {
        let factor = factor.clamp(SCALE_MIN, SCALE_MAX);
        Self { factor, trial: None, strikes: 0, hold: 0, next_hold: HOLD[0] }
    }

    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// Everything was lost for long.
    pub fn silence(&mut self) -> Finding {
        self.strike()
    }

    /// Judges an interval; the factor may change.
    pub fn judge(&mut self, shown: Shown) -> Finding {
        self.hold = self.hold.saturating_sub(1);
        // Less arrives than predicted, and noise is not why: the link is slower, or others use it.
        // With the factor lowered to what arrives a link of our own fits; of one that is shared the
        // others take what is left to them, and less arrives again.
        let noise = 1.0 - shown.lost.min(LOST_HEAVY);
        let is_pressed = shown.filled || shown.queue > 1.5 || shown.marked;
        // A link that does not take more than before is none that takes less.
        let expected = self.trial.map_or(self.factor, |trial| self.factor.min(trial.before));
        if is_pressed && shown.delivered < FIT * noise * expected {
            self.trial = None;
            // What it came of may be over with the next interval.
            self.hold = 0;
            self.factor = shown.delivered.clamp(SCALE_MIN, self.factor);
            return match shown.delivered < FIT * SCALE_MIN {
                true => Finding::Refuted,
                false => self.strike(),
            };
        }
        if let Some(Trial { before, delivered }) = self.trial.take() {
            let change = self.factor / before - 1.0;
            let answer = shown.delivered / delivered.max(f64::MIN_POSITIVE) - 1.0;
            let kept = if change > 0.0 { answer > change / 4.0 } else { answer > change / 2.0 };
            if !kept {
                self.factor = before;
                self.hold = self.next_hold;
                self.next_hold = (2 * self.next_hold).min(HOLD[1]);
                return Finding::Holds;
            }
            self.next_hold = HOLD[0];
        }
        if shown.lost >= LOST_HEAVY {
            if self.factor <= SCALE_MIN && shown.delivered < FIT * SCALE_MIN {
                return self.strike();
            }
            self.attempt(self.factor * (1.0 - shown.lost.min(0.5)), shown);
            return Finding::Holds;
        }
        // What was taken back is tried again while the queue is no longer than ours: a little less
        // than the link carries leaves it neither empty nor full. Where others fill it, more for us
        // would be less for them.
        let below = self.factor < 1.0;
        if shown.filled && shown.queue < if below { 1.0 } else { 0.25 } {
            if self.factor >= SCALE_MAX {
                return Finding::Faster;
            }
            let raised = self.factor * RAISE;
            self.attempt(if below { raised.min(1.0) } else { raised }, shown);
        }
        self.strikes = 0;
        Finding::Holds
    }

    fn attempt(&mut self, factor: f64, shown: Shown) {
        let factor = factor.clamp(SCALE_MIN, SCALE_MAX);
        if self.hold > 0 || factor == self.factor {
            return;
        }
        self.trial = Some(Trial { before: self.factor, delivered: shown.delivered });
        self.factor = factor;
    }

    fn strike(&mut self) -> Finding {
        self.strikes += 1;
        if self.strikes >= STRIKES_MAX { Finding::Refuted } else { Finding::Holds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const AS_PLANNED: Shown =
        Shown { delivered: 1.0, lost: 0.0, queue: 1.0, filled: true, marked: false };

    /// A dedicated link of `rate` times the plan with a queue of `room` headrooms, which are an
    /// eighth of a round trip, and noise.
    fn dedicated(scale: &Scale, rate: f64, room: f64, noise: f64) -> Shown {
        let offered = scale.factor() * (1.0 + 0.125);
        let queue = ((offered / rate - 1.0) / 0.125).max(0.0);
        let dropped = 1.0 - (1.0 + 0.125 * room) / (1.0 + 0.125 * queue);
        let lost = (noise + dropped.max(0.0)).min(1.0);
        let delivered = (offered.min(rate) * (1.0 - noise)).max(0.0);
        Shown { delivered, lost, queue: queue.min(room), filled: true, marked: false }
    }

    fn settle(rate: f64, room: f64, noise: f64) -> (Scale, Finding) {
        let mut scale = Scale::new(1.0);
        let mut worst = Finding::Holds;
        for _ in 0..200 {
            let found = scale.judge(dedicated(&scale, rate, room, noise));
            worst = if found == Finding::Holds { worst } else { found };
        }
        (scale, worst)
    }

    #[test]
    fn noise_alone_changes_nothing() {
        for noise in [0.0, 0.001, 0.01, 0.05, 0.09] {
            let (scale, found) = settle(1.0, 8.0, noise);
            assert_eq!((scale.factor(), found), (1.0, Finding::Holds), "{noise}");
        }
        // Twice as much is tried with less, without an answer, ever more seldom.
        let (scale, found) = settle(1.0, 8.0, 0.2);
        assert!(scale.factor() >= 0.8 && found == Finding::Holds, "{}", scale.factor());
    }

    #[test]
    fn a_dedicated_link_other_than_planned_is_found() {
        for rate in [0.55, 0.7, 0.8, 1.3, 1.7, 2.0] {
            for (room, noise) in [(8.0, 0.0), (8.0, 0.01), (4.0, 0.0), (1.0, 0.0), (1.0, 0.01)] {
                let (scale, found) = settle(rate, room, noise);
                let offered = scale.factor() * 1.125;
                assert_eq!(found, Finding::Holds, "{rate} {room} {noise}");
                assert!(offered >= 0.98 * rate, "{rate} {room} {noise}: {offered}");
                assert!(offered <= 1.45 * rate, "{rate} {room} {noise}: {offered}");
            }
        }
        assert_eq!(settle(3.0, 8.0, 0.0).1, Finding::Faster);
        assert_eq!(settle(0.2, 8.0, 0.0).1, Finding::Refuted);
        assert_eq!(settle(0.2, 1.0, 0.01).1, Finding::Refuted);
    }

    #[test]
    fn a_link_that_takes_no_more_is_not_one_that_takes_less() {
        // A queue that looks empty, and a link that carries what was planned.
        let mut scale = Scale::new(1.0);
        let full = Shown { delivered: 0.98, queue: 0.0, ..AS_PLANNED };
        for _ in 0..200 {
            assert_eq!(scale.judge(full), Finding::Holds);
            assert_eq!(scale.strikes, 0, "a trial without an answer is no strike");
            assert!(scale.factor() >= 1.0, "{}", scale.factor());
        }
    }

    #[test]
    fn what_a_fade_took_is_back_within_a_few_intervals_of_its_end() {
        let mut scale = Scale::new(1.0);
        let under = |scale: &Scale, rate: f64| {
            let delivered = scale.factor().min(rate);
            Shown { delivered, queue: 0.6, ..AS_PLANNED }
        };
        for _ in 0..100 {
            scale.judge(under(&scale, 0.7));
        }
        assert!(scale.factor() < 0.9, "{}", scale.factor());
        let back = (0..100).position(|_| {
            scale.judge(under(&scale, 1.0));
            scale.factor() == 1.0 && scale.trial.is_none()
        });
        assert!(back.is_some_and(|intervals| intervals <= 2 * HOLD[1] as usize), "{back:?}");
    }

    #[test]
    fn others_on_the_link_refute_the_plan_within_three_intervals() {
        // Whoever fills the queue leaves us the part of it that is ours.
        let mut scale = Scale::new(1.0);
        let shared = |scale: &Scale| {
            let ours = 1.125 * scale.factor();
            let delivered = ours / 2.0;
            Shown { delivered, queue: 7.0, ..AS_PLANNED }
        };
        let found: Vec<Finding> = (0..3).map(|_| scale.judge(shared(&scale))).collect();
        assert!(found.contains(&Finding::Refuted), "{found:?}");
        // A queue elsewhere that takes nothing from us is no disagreement.
        let mut scale = Scale::new(1.0);
        let slow = Shown { queue: 5.0, ..AS_PLANNED };
        assert!((0..50).all(|_| scale.judge(slow) == Finding::Holds) && scale.factor() == 1.0);
    }

    #[test]
    fn silences_in_a_row_refute_and_one_among_good_intervals_does_not() {
        let mut scale = Scale::new(1.0);
        for _ in 0..20 {
            assert_eq!(scale.silence(), Finding::Holds);
            assert_eq!(scale.judge(AS_PLANNED), Finding::Holds);
        }
        let found: Vec<Finding> = (0..3).map(|_| scale.silence()).collect();
        assert_eq!(found, [Finding::Holds, Finding::Holds, Finding::Refuted]);
    }
}
