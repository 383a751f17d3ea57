//! Limits with persistence: when a parameter changes its level, and not before it is believed.
//!
//! Telemetry comes late and out of order (a backlog after an outage, a block that was sent again).
//! Samples older than the newest of their parameter are judged apart, so that an old violation is
//! told without the present level being touched.

use super::definition::{Definition, Limits, ParameterId};
use crate::time::Tai;
use alloc::vec::Vec;

/// Judgement of a value, from best to worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Within all limits, or without any.
    #[default]
    Normal,
    /// Beyond a yellow limit.
    Yellow,
    /// Beyond a red limit, or not a number.
    Red,
}

impl Limits {
    /// Judges one value, without persistence.
    pub fn judge(&self, value: f64) -> Level {
        let below = |limit: Option<f64>| limit.is_some_and(|limit| value < limit);
        let above = |limit: Option<f64>| limit.is_some_and(|limit| value > limit);
        if value.is_nan() || below(self.red_low) || above(self.red_high) {
            Level::Red
        } else if below(self.yellow_low) || above(self.yellow_high) {
            Level::Yellow
        } else {
            Level::Normal
        }
    }
}

/// A parameter's level changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Level before.
    pub from: Level,
    /// Level now.
    pub to: Level,
    /// Whether it is about the past: newer samples have been judged already.
    pub late: bool,
}

/// Levels of all parameters of one spacecraft.
#[derive(Clone, Debug)]
pub struct Monitor {
    watched: Vec<Option<Watched>>,
}

#[derive(Clone, Debug)]
struct Watched {
    limits: Limits,
    live: Lane,
    late: Lane,
}

/// Judgement of samples in ascending time.
#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    level: Level,
    newest: Option<Tai>,
    /// Samples in a row on the same side of `level`, and the level nearest to it among them.
    run: u16,
    nearest: Level,
}

impl Lane {
    fn take(&mut self, judged: Level, time: Tai, persistence: u16) -> Option<(Level, Level)> {
        self.newest = Some(time);
        if judged == self.level {
            self.run = 0;
            return None;
        }
        let worse = judged > self.level;
        if self.run > 0 && (self.nearest > self.level) == worse {
            self.nearest = if worse { self.nearest.min(judged) } else { self.nearest.max(judged) };
            self.run = self.run.saturating_add(1);
        } else {
            (self.run, self.nearest) = (1, judged);
        }
        if self.run < persistence {
            return None;
        }
        let from = core::mem::replace(&mut self.level, self.nearest);
        self.run = 0;
        Some((from, self.level))
    }
}

impl Monitor {
    /// A monitor that has seen nothing: every parameter is normal.
    pub fn new(definition: &Definition) -> Self {
        let watch =
            |limits: Limits| Watched { limits, live: Lane::default(), late: Lane::default() };
        let parameters = definition.parameters.iter();
        Self { watched: parameters.map(|parameter| parameter.limits.map(watch)).collect() }
    }

    /// Takes a sample; tells when the level changed.
    pub fn check(&mut self, parameter: ParameterId, time: Tai, value: f64) -> Option<Transition> {
        let watched = self.watched.get_mut(parameter.0 as usize)?.as_mut()?;
        let judged = watched.limits.judge(value);
        let late = watched.live.newest.is_some_and(|newest| time < newest);
        let lane = if late { &mut watched.late } else { &mut watched.live };
        if lane.newest.is_some_and(|newest| time < newest) {
            // A second way back: what stood in between is unknown, so nothing is carried over.
            *lane = Lane::default();
        }
        let (from, to) = lane.take(judged, time, watched.limits.persistence)?;
        Some(Transition { from, to, late })
    }

    /// The present level of a parameter.
    pub fn level(&self, parameter: ParameterId) -> Level {
        let watched = self.watched.get(parameter.0 as usize).and_then(Option::as_ref);
        watched.map_or(Level::Normal, |watched| watched.live.level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn monitor(persistence: u16) -> Monitor {
        let text = alloc::format!(
            "mission = 'm'\n[[packet]]\napid = 1\nname = 'P'\n[[packet.parameter]]\nname = 'V'\n\
             type = 'u8'\nlimits = {{ red_low = 10, yellow_low = 20, yellow_high = 80, \
             red_high = 90, persistence = {persistence} }}\n[[packet.parameter]]\nname = 'FREE'\n\
             type = 'u8'\n"
        );
        Monitor::new(&Definition::from_toml(&text).unwrap())
    }

    fn told(monitor: &mut Monitor, samples: &[(i64, f64)]) -> Vec<(i64, Level, Level, bool)> {
        let mut told = vec![];
        for (time, value) in samples {
            if let Some(change) = monitor.check(ParameterId(0), Tai(*time), *value) {
                told.push((*time, change.from, change.to, change.late));
            }
        }
        told
    }

    #[test]
    fn limits_themselves_are_inside() {
        let mut monitor = monitor(1);
        assert_eq!(told(&mut monitor, &[(0, 20.0), (1, 80.0)]), []);
        assert_eq!(told(&mut monitor, &[(2, 80.1)]), [(2, Level::Normal, Level::Yellow, false)]);
        assert_eq!(told(&mut monitor, &[(3, f64::NAN)]), [(3, Level::Yellow, Level::Red, false)]);
        assert_eq!(monitor.level(ParameterId(0)), Level::Red);
    }

    #[test]
    fn a_change_is_believed_after_samples_in_a_row() {
        let mut monitor = monitor(3);
        assert_eq!(told(&mut monitor, &[(0, 5.0), (1, 5.0), (2, 50.0), (3, 5.0), (4, 15.0)]), []);
        // Two red and one yellow in a row: yellow at least is sure.
        assert_eq!(told(&mut monitor, &[(5, 5.0)]), [(5, Level::Normal, Level::Yellow, false)]);
        assert_eq!(told(&mut monitor, &[(6, 50.0), (7, 50.0), (8, 15.0), (9, 50.0)]), []);
        assert_eq!(
            told(&mut monitor, &[(10, 50.0), (11, 50.0)]),
            [(11, Level::Yellow, Level::Normal, false)]
        );
    }

    #[test]
    fn the_past_is_told_and_leaves_the_present_alone() {
        let mut monitor = monitor(2);
        assert_eq!(told(&mut monitor, &[(100, 50.0)]), []);
        assert_eq!(
            told(&mut monitor, &[(10, 5.0), (11, 5.0), (12, 5.0)]),
            [(11, Level::Normal, Level::Red, true)]
        );
        assert_eq!(monitor.level(ParameterId(0)), Level::Normal);
        assert_eq!(told(&mut monitor, &[(3, 5.0), (101, 5.0), (4, 5.0)]).len(), 1);
        assert_eq!(monitor.check(ParameterId(1), Tai(0), 1e9), None);
        assert_eq!(monitor.check(ParameterId(99), Tai(0), 1e9), None);
    }

    proptest! {
        #[test]
        fn transitions_form_a_chain_and_end_at_the_level(
            persistence in 1u16..5, values in prop::collection::vec(0f64..100.0, 0..200),
        ) {
            let mut monitor = monitor(persistence);
            let mut level = Level::Normal;
            for (time, value) in values.into_iter().enumerate() {
                if let Some(change) = monitor.check(ParameterId(0), Tai(time as i64), value) {
                    prop_assert_eq!(change.from, level);
                    prop_assert_ne!(change.from, change.to);
                    level = change.to;
                }
            }
            prop_assert_eq!(monitor.level(ParameterId(0)), level);
        }
    }
}
