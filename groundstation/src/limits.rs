//! Alarms: what a change of level is for the operator.

use crate::publish::{AlarmState, Event, Level};
use codecs::ids::SpacecraftId;
use codecs::mission::limits::{self, Monitor, Transition};
use codecs::mission::{Definition, ParameterId, Sample};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Watches the limits of one spacecraft.
pub struct Alarms {
    definition: Arc<Definition>,
    spacecraft: SpacecraftId,
    monitor: Monitor,
    /// Alarms that stand; at most one a parameter.
    standing: BTreeMap<ParameterId, String>,
}

impl Alarms {
    /// A watch that has seen nothing.
    pub fn new(definition: Arc<Definition>, spacecraft: SpacecraftId) -> Self {
        let monitor = Monitor::new(&definition);
        Self { definition, spacecraft, monitor, standing: BTreeMap::new() }
    }

    /// Judges a sample and tells the alarms that it raises or clears.
    ///
    /// An alarm's identity is its spacecraft, parameter and onboard time, so that a replay of the
    /// archive tells the same alarm again and no second one. A violation in the past is told as
    /// raised and over: newer samples have said how things stand.
    pub fn check(&mut self, sample: &Sample<'_>, sink: &mut Vec<Event>) -> Level {
        if let Some(change) = self.monitor.check(sample.parameter, sample.time, sample.value) {
            self.tell(sample, change, sink);
        }
        level(self.monitor.level(sample.parameter))
    }

    fn tell(&mut self, sample: &Sample<'_>, change: Transition, sink: &mut Vec<Event>) {
        let worse = change.to > change.from;
        if change.late {
            if worse {
                let id = self.identity(sample);
                sink.push(self.alarm(id.clone(), sample, change, AlarmState::Raised));
                sink.push(self.alarm(id, sample, change, AlarmState::Cleared));
            }
            return;
        }
        let standing = self.standing.get(&sample.parameter).cloned();
        let id = standing.unwrap_or_else(|| self.identity(sample));
        let state = if change.to == limits::Level::Normal {
            self.standing.remove(&sample.parameter);
            AlarmState::Cleared
        } else {
            self.standing.insert(sample.parameter, id.clone());
            AlarmState::Raised
        };
        sink.push(self.alarm(id, sample, change, state));
    }

    fn identity(&self, sample: &Sample<'_>) -> String {
        format!("{}-{}-{}", self.spacecraft.0, self.name(sample.parameter), sample.time.0)
    }

    fn name(&self, parameter: ParameterId) -> &str {
        self.definition.parameter(parameter).map_or("", |known| known.name.as_str())
    }

    fn alarm(
        &self,
        id: String,
        sample: &Sample<'_>,
        change: Transition,
        state: AlarmState,
    ) -> Event {
        Event::Alarm {
            id,
            spacecraft: self.spacecraft,
            parameter: self.name(sample.parameter).to_owned(),
            message: self.message(sample, change),
            // The level that it had is what the operator remembers a cleared alarm by.
            level: level(change.to.max(change.from)),
            time: sample.time,
            state,
        }
    }

    /// One plain sentence: the value, and the limit that it is beyond.
    fn message(&self, sample: &Sample<'_>, change: Transition) -> String {
        let name = self.name(sample.parameter);
        let unit = self.definition.type_of(sample.parameter).map_or("", |kind| kind.unit.as_str());
        let text = sample.text.map_or_else(|| number(sample.value), str::to_owned);
        let value = format!("{name} is {text} {unit}").trim_end().to_owned();
        if change.to == limits::Level::Normal {
            return format!("{value}, within limits again");
        }
        let limits = self.definition.parameter(sample.parameter).and_then(|known| known.limits);
        let beyond = limits.and_then(|limits| {
            let word = if change.to == limits::Level::Red { "red" } else { "yellow" };
            let (low, high) = match change.to {
                limits::Level::Red => (limits.red_low, limits.red_high),
                _ => (limits.yellow_low, limits.yellow_high),
            };
            let low = low.filter(|low| sample.value < *low).map(|low| ("below", low));
            let high = high.filter(|high| sample.value > *high).map(|high| ("above", high));
            let (side, limit) = low.or(high)?;
            Some(format!(", {side} its {word} limit of {}", number(limit)))
        });
        let late = if change.late { " (told late)" } else { "" };
        format!("{value}{}{late}", beyond.unwrap_or_else(|| ", beyond its limits".to_owned()))
    }
}

/// The page's word for a level.
fn level(level: limits::Level) -> Level {
    match level {
        limits::Level::Normal => Level::Normal,
        limits::Level::Yellow => Level::Yellow,
        limits::Level::Red => Level::Red,
    }
}

/// A number with as many digits as a sentence needs.
fn number(value: f64) -> String {
    let rounded = format!("{value:.3}");
    match rounded.contains('.') {
        true => rounded.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => rounded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::mission::Raw;
    use codecs::time::Tai;

    const MISSION: &str = "mission = 'm'\n[[packet]]\napid = 1\nname = 'P'\n\
        [[packet.parameter]]\nname = 'V'\ntype = 'u8'\nunit = 'V'\n\
        limits = { red_low = 10, yellow_low = 20, persistence = 2 }\n";

    fn told(samples: &[(i64, f64)]) -> Vec<(String, String, Level, AlarmState)> {
        let definition = Arc::new(Definition::from_toml(MISSION).unwrap());
        let mut alarms = Alarms::new(definition, SpacecraftId(7));
        let mut events = vec![];
        for (time, value) in samples {
            let sample = Sample {
                parameter: ParameterId(0),
                time: Tai(*time),
                raw: Raw::Float(*value),
                value: *value,
                text: None,
            };
            alarms.check(&sample, &mut events);
        }
        let plain = |event| match event {
            Event::Alarm { id, message, level, state, .. } => (id, message, level, state),
            other => panic!("{other:?}"),
        };
        events.into_iter().map(plain).collect()
    }

    #[test]
    fn one_alarm_keeps_its_identity_from_raise_to_clear() {
        let told = told(&[(1, 15.0), (2, 15.5), (3, 5.0), (4, 5.0), (5, 30.0), (6, 30.0)]);
        let words: Vec<_> = told.iter().map(|row| (row.0.as_str(), row.2, row.3)).collect();
        assert_eq!(
            words,
            [
                ("7-V-2", Level::Yellow, AlarmState::Raised),
                ("7-V-2", Level::Red, AlarmState::Raised),
                ("7-V-2", Level::Red, AlarmState::Cleared),
            ]
        );
        assert_eq!(told[0].1, "V is 15.5 V, below its yellow limit of 20");
        assert_eq!(told[1].1, "V is 5 V, below its red limit of 10");
        assert_eq!(told[2].1, "V is 30 V, within limits again");
    }

    #[test]
    fn a_violation_of_the_past_is_told_as_over() {
        let told = told(&[(100, 50.0), (1, 5.0), (2, 5.0), (3, 5.0)]);
        assert_eq!(told.len(), 2);
        assert_eq!((told[0].3, told[1].3), (AlarmState::Raised, AlarmState::Cleared));
        assert!(told[0].1.ends_with("(told late)"), "{}", told[0].1);
    }
}
