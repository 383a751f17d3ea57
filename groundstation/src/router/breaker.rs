//! Pools that are left alone for a while, by what went wrong: waiting helps an overloaded one soon,
//! and a used-up account not before its period ends.

use crate::pool::Cause;
use codecs::time::Tai;
use std::time::Duration;

const SECOND: i64 = 1_000_000_000;

/// Longest wait that a pool may ask for.
const RETRY_AFTER_NS_MAX: i64 = 3600 * SECOND;

/// How a cause is answered.
#[derive(Clone, Copy, Debug)]
struct Habit {
    /// Failures in a row until the pool is left alone.
    strikes: u32,
    /// First and longest pause; it doubles with each probe that fails.
    pause_ns: (i64, i64),
}

/// Causes with a breaker each, in the order of [`slot`].
const HABITS: [Habit; 7] = [
    // Unavailable: nobody is there to be burdened by looking again.
    Habit { strikes: 1, pause_ns: (SECOND / 10, 5 * SECOND) },
    // Overloaded.
    Habit { strikes: 1, pause_ns: (SECOND / 10, 10 * SECOND) },
    // Quota: somebody has to pay, or a period to end.
    Habit { strikes: 1, pause_ns: (60 * SECOND, 3600 * SECOND) },
    // Auth: somebody has to renew credentials.
    Habit { strikes: 1, pause_ns: (10 * SECOND, 600 * SECOND) },
    // Failed, and silent until the deadline: a few may be bad luck.
    Habit { strikes: 5, pause_ns: (SECOND, 30 * SECOND) },
    // BadRequest, of one task: one may be the request's own fault.
    Habit { strikes: 3, pause_ns: (60 * SECOND, 3600 * SECOND) },
    // Contract, of one task.
    Habit { strikes: 3, pause_ns: (10 * SECOND, 600 * SECOND) },
];

/// Breakers of the pool as a whole; those after are of one task.
pub(super) const OF_POOL: usize = 5;

/// Which breaker a cause moves.
pub(super) const fn slot(cause: Cause) -> usize {
    match cause {
        Cause::Unavailable => 0,
        Cause::Overloaded { .. } => 1,
        Cause::Quota { .. } => 2,
        Cause::Auth => 3,
        Cause::Failed | Cause::Deadline => 4,
        Cause::BadRequest => 5,
        Cause::Contract => 6,
    }
}

/// The short words for breakers: those of a whole pool, then those of one task.
pub const NAMES: [&str; 7] =
    ["unavailable", "overloaded", "quota", "auth", "failed", "bad-request", "contract"];

/// One breaker.
#[derive(Clone, Debug)]
pub(super) struct Breaker {
    habit: Habit,
    strikes: u32,
    pause_ns: i64,
    /// Shut until then; after it one question may try.
    shut_until: Option<Tai>,
    said: String,
}

/// Whether a breaker lets questions through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// One question may try.
    HalfOpen,
    Shut(Tai),
}

impl Breaker {
    pub fn of(slot: usize) -> Self {
        let habit = HABITS.get(slot).copied().unwrap_or(HABITS[4]);
        Self {
            habit,
            strikes: 0,
            pause_ns: habit.pause_ns.0,
            shut_until: None,
            said: String::new(),
        }
    }

    pub fn state(&self, now: Tai) -> State {
        match self.shut_until {
            None => State::Open,
            Some(until) if until <= now => State::HalfOpen,
            Some(until) => State::Shut(until),
        }
    }

    /// Whether it lets everything through until it hears of a failure.
    pub const fn is_open(&self) -> bool {
        self.shut_until.is_none()
    }

    /// Why it is shut.
    pub fn said(&self) -> &str {
        &self.said
    }

    /// Takes a failure; whether it shut the breaker just now.
    pub fn strike(&mut self, asked: Option<Duration>, said: String, now: Tai) -> bool {
        self.said = said;
        self.strikes = self.strikes.saturating_add(1);
        let asked = asked.map_or(0, |asked| i64::try_from(asked.as_nanos()).unwrap_or(i64::MAX));
        let asked = asked.clamp(0, RETRY_AFTER_NS_MAX);
        match self.state(now) {
            // Several questions may find the same trouble: that is one piece of news.
            State::Shut(until) => {
                self.shut_until = Some(until.max(now.plus(asked)));
                false
            }
            State::Open if self.strikes < self.habit.strikes => false,
            State::Open | State::HalfOpen => {
                self.shut_until = Some(now.plus(self.pause_ns.max(asked)));
                self.pause_ns = (self.pause_ns * 2).min(self.habit.pause_ns.1);
                true
            }
        }
    }

    /// Lets questions through again. The next failure's pause is as long as it would have been.
    pub const fn open(&mut self) {
        self.shut_until = None;
    }

    /// Hears that a question was answered well.
    pub fn clear(&mut self) {
        if self.strikes > 0 {
            (self.strikes, self.shut_until) = (0, None);
            self.pause_ns = self.habit.pause_ns.0;
            self.said.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_while_probes_fail_and_begin_again_after_a_success() {
        let mut breaker = Breaker::of(slot(Cause::Unavailable));
        assert!(breaker.strike(None, "gone".into(), Tai(0)));
        assert_eq!(breaker.state(Tai(0)), State::Shut(Tai(SECOND / 10)));
        assert!(!breaker.strike(None, "gone".into(), Tai(1)), "the same news");
        assert_eq!(breaker.state(Tai(SECOND / 10)), State::HalfOpen);
        assert!(breaker.strike(None, "gone".into(), Tai(SECOND)));
        assert_eq!(breaker.state(Tai(SECOND)), State::Shut(Tai(SECOND + SECOND / 5)));
        breaker.clear();
        assert_eq!(breaker.state(Tai(SECOND)), State::Open);
        breaker.strike(None, "gone".into(), Tai(0));
        assert_eq!(breaker.state(Tai(0)), State::Shut(Tai(SECOND / 10)));
    }

    #[test]
    fn what_a_pool_asks_for_is_respected_within_reason() {
        let mut breaker = Breaker::of(slot(Cause::Overloaded { retry_after: None }));
        breaker.strike(Some(Duration::from_secs(7)), "busy".into(), Tai(0));
        assert_eq!(breaker.state(Tai(0)), State::Shut(Tai(7 * SECOND)));
        let mut breaker = Breaker::of(slot(Cause::Overloaded { retry_after: None }));
        breaker.strike(Some(Duration::MAX), "busy".into(), Tai(0));
        assert_eq!(breaker.state(Tai(0)), State::Shut(Tai(RETRY_AFTER_NS_MAX)));
    }

    #[test]
    fn a_few_failures_are_bad_luck() {
        let mut breaker = Breaker::of(slot(Cause::Failed));
        let shut: Vec<bool> = (0..6).map(|_| breaker.strike(None, "boom".into(), Tai(0))).collect();
        assert_eq!(shut, [false, false, false, false, true, false]);
    }
}
