//! Parameters under watch: packets in, scores and the anomalies to tell out.

use std::collections::BTreeMap;

use codecs::{
    mission::{Definition, ParameterId, Plans},
    time::Tai,
};

use crate::score::{ChannelId, Judge, Score, TelemetryScorer};

/// What returns within this time, longer than a low orbit, is the same alarm and not told again:
/// one that lasts, or comes with each eclipse, is one alarm and not a stream of them.
const RETURNS_NS: i64 = 7_200_000_000_000;
/// One that lasts is told again after this time.
const REMIND_NS: i64 = 6 * 3_600_000_000_000;

/// Which alarms of one parameter are on, so that each is told once.
#[derive(Clone, Debug, Default)]
pub struct Latch(BTreeMap<Option<Judge>, Alarm>);

#[derive(Clone, Copy, Debug)]
struct Alarm {
    seen: Tai,
    told: Tai,
}

impl Latch {
    /// Whether what a judge says of the parameter is to be told now.
    pub fn tells(&mut self, score: &Score) -> bool {
        if !score.anomalous {
            return false;
        }
        let Score { judge, time, .. } = *score;
        let alarm = self.0.get(&judge);
        // A clock that was set back ends every alarm.
        let is_new = alarm.is_none_or(|alarm| {
            !(0..RETURNS_NS).contains(&time.since(alarm.seen))
                || time.since(alarm.told) >= REMIND_NS
        });
        let told = match alarm {
            Some(alarm) if !is_new => alarm.told,
            _ => time,
        };
        self.0.insert(judge, Alarm { seen: time, told });
        is_new
    }
}

/// Parameters under watch.
pub struct Watch {
    definition: Definition,
    plans: Plans,
    pub(super) scorer: TelemetryScorer,
    channels: BTreeMap<ParameterId, ChannelId>,
    /// Which parameter a channel is, and which of its alarms are on.
    names: BTreeMap<ChannelId, (ParameterId, Latch)>,
}

impl Watch {
    /// Watches the named parameters of a mission; all of them where none is named. The error names
    /// the one that the mission does not know.
    pub fn new(
        definition: Definition,
        wanted: &[String],
        mut scorer: TelemetryScorer,
    ) -> Result<Self, String> {
        let (mut channels, mut names) = (BTreeMap::new(), BTreeMap::new());
        let chosen: Vec<(ParameterId, String)> = match wanted {
            [] => (0..definition.parameters.len() as u32)
                .map(ParameterId)
                .filter_map(|id| Some((id, definition.parameter(id)?.name.clone())))
                .collect(),
            wanted => wanted
                .iter()
                .map(|name| match definition.parameter_named(name) {
                    Some(id) => Ok((id, name.clone())),
                    None => Err(name.clone()),
                })
                .collect::<Result<_, _>>()?,
        };
        for (id, name) in chosen {
            if let Some(channel) = scorer.watch(&name) {
                channels.insert(id, channel);
                names.insert(channel, (id, Latch::default()));
            }
        }
        let plans = definition.plans();
        Ok(Self { definition, plans, scorer, channels, names })
    }

    /// Scores a packet's parameters: the highest score, and the anomalies to tell.
    pub(super) fn score(&mut self, packet: &[u8], fallback: Tai) -> (f32, Vec<(String, Score)>) {
        let mut highest = 0.0f32;
        let mut told = Vec::new();
        let Self { definition, plans, scorer, channels, names } = self;
        // A packet that the mission does not describe has nothing to score.
        let _ = plans.decode_or_at(packet, fallback, &mut |sample| {
            if let Some(channel) = channels.get(&sample.parameter) {
                scorer.take(*channel, sample.time, sample.value);
            }
        });
        scorer.judge(&mut |score| {
            highest = highest.max(score.score);
            let Some((id, latch)) = names.get_mut(&score.channel) else { return };
            if latch.tells(&score) {
                let name = definition.parameter(*id).map(|of| of.name.clone());
                told.push((name.unwrap_or_default(), score));
            }
        });
        (highest, told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::Method;

    #[test]
    fn an_alarm_that_lasts_or_returns_each_orbit_is_told_once_in_six_hours() {
        let score = |minute: i64, judge| Score {
            channel: ChannelId(0),
            time: Tai(minute * 60_000_000_000),
            value: 0.0,
            score: 0.9,
            shape: None,
            level: 0.9,
            middle: 0.0,
            still_s: 0.0,
            judge: Some(judge),
            anomalous: true,
            method: Method::Statistics,
        };
        let mut latch = Latch::default();
        let mut told = |minute, judge| latch.tells(&score(minute, judge));
        let lasting: Vec<i64> = (0..15 * 60).filter(|minute| told(*minute, Judge::Range)).collect();
        assert_eq!(lasting, [0, 360, 720]);
        assert!(told(900, Judge::Shape), "another judge, another alarm");
        assert!(!told(960, Judge::Range) && !told(1070, Judge::Range), "each orbit");
        assert!(told(1191, Judge::Range), "new after a quiet while");
        assert!(told(5, Judge::Range), "after the clock was set back");
    }
}
