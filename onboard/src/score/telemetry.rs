//! Scores telemetry channels: every hop, the window's shape by the model and its level by
//! statistics.

use std::collections::BTreeMap;

use codecs::{tensor::Tensor, time::Tai};
use onboard_model::Session;

use super::{
    Guarded, Method, WrongModel,
    features::{COUNT, Window},
    statistics,
};

/// The task contract of the model: eighteen features in, the probability of an anomaly out.
pub const TASK: &str = "telemetry-triage/1";

/// Most channels that one scorer watches; more are refused.
pub const CHANNELS_MAX: usize = 1024;

/// How telemetry is scored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TelemetrySettings {
    /// Samples in a window.
    pub window: usize,
    /// Samples between two judgements of a channel.
    pub hop: usize,
    /// Windows of a channel that the model only watches before it is believed there.
    pub learn: u32,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self { window: 128, hop: 32, learn: 4 }
    }
}

/// Number that [`TelemetryScorer::watch`] gave a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub u32);

/// One judgement of one channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// The channel.
    pub channel: ChannelId,
    /// The time of the latest sample judged.
    pub time: Tai,
    /// Its value.
    pub value: f64,
    /// How unusual, 0 to 1: the higher of the two below.
    pub score: f32,
    /// What the model says of the window's shape, where it is believed.
    pub shape: Option<f32>,
    /// What statistics say of the level.
    pub level: f32,
    /// Whether it is unusual enough to tell someone.
    pub anomalous: bool,
    /// What judged.
    pub method: Method,
}

struct Watched {
    window: Window,
    since: usize,
    /// How many windows the model saw, and a slow average of what it said: the channel's normal.
    seen: u32,
    usual: f32,
}

/// Watches telemetry channels, each on its own.
///
/// The model learned on one spacecraft's channels. A channel of ours that looks anomalous to it
/// all the time is one it does not know, so it is believed only where a window scores clearly
/// above what that channel usually scores.
pub struct TelemetryScorer {
    settings: TelemetrySettings,
    threshold: f32,
    margin: f32,
    model: Guarded,
    names: BTreeMap<String, ChannelId>,
    channels: Vec<Watched>,
    scratch: Vec<f64>,
}

impl TelemetryScorer {
    /// A scorer with a model, or with statistics alone.
    ///
    /// Thresholds come from the model's manifest (`threshold`, `margin`), so that they can change
    /// without a new model.
    pub fn new(session: Option<Session>, settings: TelemetrySettings) -> Result<Self, WrongModel> {
        let model = Guarded::new(session, TASK)?;
        let parameter = |name: &str, otherwise: f64| {
            let manifest = model.session.as_ref().map(Session::manifest);
            manifest.and_then(|manifest| manifest.parameter(name)).unwrap_or(otherwise) as f32
        };
        let settings = TelemetrySettings {
            window: settings.window.clamp(8, 4096),
            hop: settings.hop.clamp(1, settings.window.clamp(8, 4096) / 2),
            ..settings
        };
        Ok(Self {
            settings,
            threshold: parameter("threshold", 0.5),
            margin: parameter("margin", 0.3),
            model,
            names: BTreeMap::new(),
            channels: Vec::new(),
            scratch: Vec::with_capacity(settings.window),
        })
    }

    /// The number of a channel, which is watched from now on. `None` when
    /// [`CHANNELS_MAX`] others are.
    pub fn watch(&mut self, name: &str) -> Option<ChannelId> {
        if let Some(id) = self.names.get(name) {
            return Some(*id);
        }
        if self.channels.len() >= CHANNELS_MAX {
            return None;
        }
        let id = ChannelId(self.channels.len() as u32);
        let window = Window::new(self.settings.window);
        self.channels.push(Watched { window, since: 0, seen: 0, usual: 0.0 });
        self.names.insert(name.into(), id);
        Some(id)
    }

    /// What judges at the moment.
    pub fn method(&self) -> Method {
        if self.model.session.is_some() { Method::Model } else { Method::Statistics }
    }

    /// Why the model is not asked any more, if it was given up. Told once.
    pub fn take_suspension(&mut self) -> Option<String> {
        self.model.suspended.take()
    }

    /// Takes a sample; gives a judgement at every hop of a full window.
    ///
    /// A value that is no number is left out. Time that runs backwards starts the window again.
    pub fn push(&mut self, channel: ChannelId, time: Tai, value: f64) -> Option<Score> {
        let watched = self.channels.get_mut(channel.0 as usize)?;
        if !value.is_finite() {
            return None;
        }
        if watched.window.latest().is_some_and(|latest| time < latest) {
            watched.window.clear();
            watched.since = 0;
        }
        watched.window.push(time, value);
        watched.since += 1;
        if !watched.window.is_full() || watched.since < self.settings.hop {
            return None;
        }
        watched.since = 0;
        let older = self.settings.window - self.settings.hop;
        let level =
            statistics::deviation(watched.window.ordered(), older, &mut self.scratch) as f32;
        let said = self.model.ask(|session| ask(session, &watched.window.features()));
        let shape = said.and_then(|said| {
            let usual = watched.usual;
            watched.seen = watched.seen.saturating_add(1);
            watched.usual += (said - usual) / watched.seen.min(16) as f32;
            let believed = watched.seen > self.settings.learn && said >= usual + self.margin;
            believed.then_some(said)
        });
        let score = shape.unwrap_or(0.0).max(level);
        let anomalous = shape.is_some_and(|shape| shape >= self.threshold) || level >= 0.5;
        let method = if said.is_some() { Method::Model } else { Method::Statistics };
        Some(Score { channel, time, value, score, shape, level, anomalous, method })
    }
}

fn ask(session: &mut Session, features: &[f64; COUNT]) -> Result<f32, String> {
    // The graph takes logarithms of 32-bit numbers: what leaves their range would become NaN.
    let values = features.map(|feature| feature.clamp(-1e30, 1e30) as f32);
    let name = session.manifest().inputs.first().map(|port| port.name.clone());
    let question = Tensor::from_f32(name.unwrap_or_default(), vec![1, COUNT as u64], &values)
        .map_err(|error| error.to_string())?;
    let answer = session.run(&[question]).map_err(|error| error.to_string())?;
    let score = answer.first().and_then(Tensor::to_f32).and_then(|all| all.first().copied());
    match score {
        Some(score) if (0.0..=1.0).contains(&score) => Ok(score),
        other => Err(format!("the score {other:?} is no probability")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(index: i64) -> Tai {
        Tai(index * 1_000_000_000)
    }

    #[test]
    fn statistics_alone_find_a_step() {
        let mut scorer = TelemetryScorer::new(None, TelemetrySettings::default()).unwrap();
        let channel = scorer.watch("EPS_BATTERY_VOLTAGE").unwrap();
        assert_eq!(scorer.watch("EPS_BATTERY_VOLTAGE"), Some(channel));
        let mut judged = 0;
        for index in 0..1000 {
            let noise = ((index * 7919) % 13) as f64 / 1300.0;
            let value = if index < 700 { 8.0 + noise } else { 6.0 + noise };
            let Some(score) = scorer.push(channel, second(index), value) else { continue };
            judged += 1;
            assert_eq!(score.method, Method::Statistics);
            if index < 700 {
                assert!(!score.anomalous, "{score:?}");
            } else if index < 700 + 32 {
                assert!(score.anomalous, "{score:?}");
            }
        }
        assert_eq!(judged, 1 + (1000 - 128) / 32);
    }

    #[test]
    fn odd_samples_do_no_harm() {
        let mut scorer = TelemetryScorer::new(None, TelemetrySettings::default()).unwrap();
        let channel = scorer.watch("X").unwrap();
        for index in 0..200 {
            assert_eq!(scorer.push(channel, second(index), f64::NAN), None);
        }
        for index in (0..500).rev() {
            assert_eq!(scorer.push(channel, second(index), 1.0), None, "time runs backwards");
        }
        assert_eq!(scorer.push(ChannelId(9), second(0), 1.0), None, "nobody watches it");
    }

    #[test]
    fn channels_are_bounded() {
        let mut scorer = TelemetryScorer::new(None, TelemetrySettings::default()).unwrap();
        for index in 0..CHANNELS_MAX {
            assert!(scorer.watch(&index.to_string()).is_some());
        }
        assert_eq!(scorer.watch("one too many"), None);
    }
}
