//! What is usual for each channel: limits that were learnt from quiet telemetry, so that false
//! alarms are as rare as was asked for.
//!
//! ```text
//! quiet telemetry ─► learn ─► limits a channel ─► signed file ─► here: exceeded in m of n windows?
//! ```
//!
//! Four judges, each with a limit of its own on each channel: the model's word on the window's
//! shape, the statistics' on its level, the range of values, and how long a value stood still. One
//! window proves nothing: what is told was exceeded in several of the latest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::telemetry::CHANNELS_MAX;

/// Most windows that persistence looks back on.
pub const WINDOWS_MAX: u8 = 32;

/// What may find a channel unusual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judge {
    /// The model: the window's shape.
    Shape,
    /// Statistics: how far the newest samples left the level before them.
    Level,
    /// The values left the range that they keep to.
    Range,
    /// A value that moves stood still.
    Stillness,
}

impl Judge {
    /// All of them, in the order of their places.
    pub const ALL: [Self; 4] = [Self::Shape, Self::Level, Self::Range, Self::Stillness];

    /// In words, behind "is unusual".
    pub fn words(self) -> &'static str {
        match self {
            Self::Shape => "by its shape",
            Self::Level => "by its level",
            Self::Range => "by its range",
            Self::Stillness => "since it stands still",
        }
    }
}

/// What one channel does not exceed in a quiet life; without a limit a judge says nothing of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The model's score in bits, the negative logarithm of what is missing to 1.
    pub shape_bits: Option<f32>,
    /// The statistics' score in bits.
    pub level_bits: Option<f32>,
    /// Least value: the middle one of a hop's samples.
    pub low: Option<f64>,
    /// Largest value, likewise.
    pub high: Option<f64>,
    /// Longest time without a change, in seconds.
    pub still_s: Option<f32>,
}

/// How often within how many windows a limit must be exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Persistence {
    /// So often, at least 1.
    pub least: u8,
    /// Within so many of the latest windows, at most [`WINDOWS_MAX`].
    pub windows: u8,
}

/// What a window of a channel shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// The model's score in bits, where it was asked.
    pub shape_bits: Option<f32>,
    /// The statistics' score in bits.
    pub level_bits: f32,
    /// The middle one of the newest samples.
    pub middle: f64,
    /// Seconds since the value changed.
    pub still_s: f32,
}

/// The limits of a spacecraft's channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// How lasting what is told must be.
    pub persistence: Persistence,
    /// By the parameter's name.
    pub channels: BTreeMap<String, Limits>,
}

/// Which of a channel's latest windows exceeded each judge's limit, the newest in the lowest bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History([u32; 4]);

/// Negative logarithm of what is missing to 1: 0.5 has one bit, 0.9 three, 0.999 ten.
pub fn bits(score: f32) -> f32 {
    -(1.0 - score).max(f32::EPSILON).log2()
}

impl Baseline {
    /// What can't be flown with, in words.
    ///
    /// # Errors
    /// A persistence that no window could reach, too many channels, or a limit that is no number.
    pub fn check(&self) -> Result<(), String> {
        let Persistence { least, windows } = self.persistence;
        if !(1..=WINDOWS_MAX).contains(&windows) || !(1..=windows).contains(&least) {
            return Err(format!(
                "persistence of {least} in {windows} windows: 1 to {WINDOWS_MAX} windows, of which \
                 at least 1"
            ));
        }
        if self.channels.len() > CHANNELS_MAX {
            return Err(format!("{} channels, at most {CHANNELS_MAX}", self.channels.len()));
        }
        for (name, limits) in &self.channels {
            let Limits { shape_bits, level_bits, low, high, still_s } = *limits;
            let small = [shape_bits, level_bits, still_s].into_iter().flatten();
            let sane = small.clone().all(|limit| limit.is_finite() && limit >= 0.0)
                && [low, high].into_iter().flatten().all(f64::is_finite)
                && low.zip(high).is_none_or(|(low, high)| low <= high);
            if !sane {
                return Err(format!("channel {name:?}: {limits:?} are no limits"));
            }
        }
        Ok(())
    }

    /// The limits of a channel, if any were learnt.
    pub fn limits(&self, channel: &str) -> Option<Limits> {
        self.channels.get(channel).copied()
    }
}

impl Limits {
    /// By how much each judge's limit is exceeded, in bits; negative where it is not.
    fn excess(&self, seen: &Seen) -> [Option<f32>; 4] {
        let Limits { shape_bits, level_bits, low, high, still_s } = *self;
        let span = low.zip(high).map_or(1.0, |(low, high)| (high - low).max(f64::MIN_POSITIVE));
        // A quarter of the usual range beyond it is worth a bit.
        let beyond = |distance: f64| (4.0 * distance / span).clamp(-1.0, 24.0) as f32;
        let above = high.map(|high| beyond(seen.middle - high));
        let below = low.map(|low| beyond(low - seen.middle));
        let range = above.into_iter().chain(below).reduce(f32::max);
        [
            shape_bits.zip(seen.shape_bits).map(|(limit, bits)| bits - limit),
            level_bits.map(|limit| seen.level_bits - limit),
            range,
            still_s.map(|limit| (seen.still_s / limit.max(1e-3)).max(1e-3).log2()),
        ]
    }
}

impl History {
    /// Takes a window; gives the score, 0 to 1, and the judge that tells it, where one persists.
    /// What is told scores at least one half, what is not told less.
    pub fn judge(
        &mut self,
        limits: &Limits,
        persistence: Persistence,
        seen: &Seen,
    ) -> (f32, Option<Judge>) {
        let Persistence { least, windows } = persistence;
        let latest =
            u32::MAX >> (u32::from(WINDOWS_MAX) - u32::from(windows.clamp(1, WINDOWS_MAX)));
        let mut told: Option<(f32, Judge)> = None;
        let mut most = 0.0f32;
        for ((history, judge), excess) in self.0.iter_mut().zip(Judge::ALL).zip(limits.excess(seen))
        {
            let excess = excess.unwrap_or(-1.0);
            *history = *history << 1 | u32::from(excess > 0.0);
            most = most.max(excess);
            let lasts = (*history & latest).count_ones() >= u32::from(least);
            if lasts && told.is_none_or(|(more, _)| excess > more) {
                told = Some((excess, judge));
            }
        }
        let score = 1.0 - (-most).exp2();
        match told {
            Some((_, judge)) => (0.5 + score / 2.0, Some(judge)),
            None => (score / 2.01, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        shape_bits: Some(5.0),
        level_bits: Some(1.0),
        low: Some(-2.0),
        high: Some(2.0),
        still_s: Some(60.0),
    };
    const QUIET: Seen = Seen { shape_bits: Some(4.0), level_bits: 0.5, middle: 1.9, still_s: 50.0 };
    const TWO_OF_THREE: Persistence = Persistence { least: 2, windows: 3 };

    #[test]
    fn one_window_proves_nothing_and_two_of_three_do() {
        for (odd, judge) in [
            (Seen { shape_bits: Some(7.0), ..QUIET }, Judge::Shape),
            (Seen { level_bits: 2.0, ..QUIET }, Judge::Level),
            (Seen { middle: 9.0, ..QUIET }, Judge::Range),
            (Seen { middle: -2.5, ..QUIET }, Judge::Range),
            (Seen { still_s: 600.0, ..QUIET }, Judge::Stillness),
        ] {
            let mut history = History::default();
            let mut judged = |seen| history.judge(&LIMITS, TWO_OF_THREE, &seen);
            let told = [QUIET, odd, QUIET, QUIET, odd, QUIET, odd, QUIET, QUIET].map(&mut judged);
            let judges = told.map(|(_, judge)| judge);
            assert_eq!(judges[..6], [None; 6], "{judge:?}");
            assert_eq!(judges[6..], [Some(judge), None, None], "{judge:?}");
            assert!(told.iter().all(|(score, judge)| (*score >= 0.5) == judge.is_some()));
        }
    }

    #[test]
    fn without_a_limit_a_judge_says_nothing() {
        let odd = Seen { shape_bits: None, level_bits: 9.0, middle: 1e9, still_s: 1e9 };
        let mut history = History::default();
        for _ in 0..5 {
            assert_eq!(history.judge(&Limits::default(), TWO_OF_THREE, &odd), (0.0, None));
        }
        let shape = Limits { shape_bits: Some(1.0), ..Limits::default() };
        assert_eq!(history.judge(&shape, TWO_OF_THREE, &odd).1, None, "the model was not asked");
    }

    #[test]
    fn limits_that_are_none_are_refused_in_words() {
        let baseline = |persistence, limits| Baseline {
            persistence,
            channels: BTreeMap::from([("X".to_owned(), limits)]),
        };
        assert_eq!(baseline(TWO_OF_THREE, LIMITS).check(), Ok(()));
        for (least, windows) in [(0, 3), (4, 3), (1, 33), (0, 0)] {
            let persistence = Persistence { least, windows };
            assert!(baseline(persistence, LIMITS).check().unwrap_err().contains("windows"));
        }
        for limits in [
            Limits { low: Some(3.0), ..LIMITS },
            Limits { high: Some(f64::NAN), ..LIMITS },
            Limits { shape_bits: Some(-1.0), ..LIMITS },
            Limits { still_s: Some(f32::INFINITY), ..LIMITS },
        ] {
            assert!(baseline(TWO_OF_THREE, limits).check().unwrap_err().contains("\"X\""));
        }
    }
}
