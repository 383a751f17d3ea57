//! Parameters under watch: packets in, scores and the anomalies to tell out.

use std::collections::BTreeMap;

use codecs::{
    mission::{Definition, ParameterId, Plans},
    time::Tai,
};

use crate::score::{ChannelId, Score, TelemetryScorer};

/// An anomaly of one parameter is told again after this time at the earliest: one that lasts is one
/// alarm, not a stream of them.
pub const ANOMALY_EVERY_NS: i64 = 600_000_000_000;

/// Parameters under watch.
pub struct Watch {
    definition: Definition,
    plans: Plans,
    pub(super) scorer: TelemetryScorer,
    channels: BTreeMap<ParameterId, ChannelId>,
    /// Which parameter a channel is, and when its last anomaly was told.
    names: BTreeMap<ChannelId, (ParameterId, Option<Tai>)>,
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
                names.insert(channel, (id, None));
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
            let Some((id, last)) = names.get_mut(&score.channel) else { return };
            let due = last.is_none_or(|last| score.time.since(last).abs() >= ANOMALY_EVERY_NS);
            if score.anomalous && due {
                *last = Some(score.time);
                let name = definition.parameter(*id).map(|of| of.name.clone());
                told.push((name.unwrap_or_default(), score));
            }
        });
        (highest, told)
    }
}
