//! Scores telemetry channels: every hop, the window's shape by the model and its level by
//! statistics.

use std::collections::BTreeMap;

use codecs::{tensor::Tensor, time::Tai};
use onboard_model::Session;

use super::{
    Method, WrongModel,
    baseline::{Baseline, History, Judge, Limits, Persistence, Seen, bits},
    features::{COUNT, Window},
    method, statistics, suspension, unbounded,
};
use crate::models::{Governed, Task};

/// The task contract of the model: eighteen features in, the probability of an anomaly out.
pub const TASK: &str = "telemetry-triage/1";

/// Most channels that one scorer watches; more are refused.
pub const CHANNELS_MAX: usize = 1024;

/// Share of what was usual that is left one window later: half after some 1400.
const FADING: f32 = 0.9995;

/// Windows for which a surprise is told.
const HOLD: u32 = 4;

/// Steps of a coarse converter that a window must span to have a shape.
const STEPS_MIN: f64 = 6.0;

/// What statistics must say at least: a level moved by so much that one half is exceeded.
const LEVEL_THRESHOLD: f32 = 0.5;

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
        Self { window: 64, hop: 16, learn: 8 }
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
    /// How surprising, 0 to 1, by shape or by level, whichever is more: what it scores above the
    /// most that this channel scored of late.
    pub score: f32,
    /// What the model says of the window's shape, 0 to 1, where it was asked.
    pub shape: Option<f32>,
    /// What statistics say of the level, 0 to 1.
    pub level: f32,
    /// The middle one of the newest samples.
    pub middle: f64,
    /// Seconds since the value changed.
    pub still_s: f32,
    /// Who finds it surprising enough to tell someone.
    pub judge: Option<Judge>,
    /// Whether it is surprising enough to tell someone.
    pub anomalous: bool,
    /// What judged.
    pub method: Method,
}

impl Score {
    /// What a baseline's limits are compared with.
    pub fn seen(&self) -> Seen {
        Seen {
            shape_bits: self.shape.map(bits),
            level_bits: bits(self.level),
            middle: self.middle,
            still_s: self.still_s,
        }
    }
}

/// What one judge said of one channel so far.
#[derive(Clone, Copy, Default)]
struct Usual {
    windows: u32,
    /// The strongest of late, in bits.
    bits: f32,
    held: u32,
}

impl Usual {
    /// How surprising this is, and whether a surprise is to be told. The first `learn` windows
    /// never are.
    ///
    /// Near certainty scores crowd together, so they are compared in bits, the negative logarithm
    /// of what is missing to 1: 0.5 has one, 0.9 has three, 0.999 has ten.
    fn judge(&mut self, said: f32, learn: u32, threshold: f32, margin: f32) -> (f32, bool) {
        let bits = bits(said);
        self.windows = self.windows.saturating_add(1);
        let learning = self.windows <= learn;
        let above = if learning { 0.0 } else { (bits - self.bits).max(0.0) };
        let told = !learning && said >= threshold && bits >= self.bits * (1.0 + margin);
        self.bits = (self.bits * FADING).max(bits);
        self.held = if told { HOLD } else { self.held.saturating_sub(1) };
        (1.0 - (-above).exp2(), self.held > 0)
    }
}

struct Watched {
    window: Window,
    since: usize,
    last: f64,
    /// The smallest step between two samples so far: that of a coarse converter, or nothing.
    quantum: f64,
    /// When the value last changed.
    changed: Option<Tai>,
    shape: Usual,
    level: Usual,
    /// What a baseline says of this channel, and how it was kept to.
    limits: Option<Limits>,
    history: History,
}

/// Watches telemetry channels, each on its own.
///
/// The model learned on one spacecraft's channels and the statistics know none. What one of ours
/// does all the time, or did before, may look anomalous to either and is still no news. So a
/// judge is believed where it says clearly more than the most that it said of this channel of
/// late: a slew, or an eclipse, is told the first time only. Where a [`Baseline`] has limits for a
/// channel, which were learnt from quiet telemetry of its own, these decide instead.
pub struct TelemetryScorer {
    settings: TelemetrySettings,
    threshold: f32,
    margin: f32,
    model: Option<Governed>,
    baseline: Option<Baseline>,
    names: BTreeMap<String, ChannelId>,
    channels: Vec<Watched>,
    scratch: Vec<f64>,
    /// Windows that wait to be judged together.
    due: Vec<Due>,
    said: Vec<Option<f32>>,
}

/// A window that waits to be judged.
#[derive(Clone, Copy)]
struct Due {
    channel: ChannelId,
    time: Tai,
    value: f64,
    level: f32,
    middle: f64,
    still_s: f32,
    /// Absent where the window has no shape to speak of.
    features: Option<[f64; COUNT]>,
}

impl TelemetryScorer {
    /// A scorer with a model, or with statistics alone.
    ///
    /// Thresholds come from the model's manifest (`stream_threshold`, `margin`), so that they can
    /// change without a new model.
    pub fn new(session: Option<Session>, settings: TelemetrySettings) -> Result<Self, WrongModel> {
        let model = unbounded(session, Task::Telemetry)?;
        let settings = TelemetrySettings {
            window: settings.window.clamp(8, 4096),
            hop: settings.hop.clamp(1, settings.window.clamp(8, 4096) / 2),
            ..settings
        };
        let mut scorer = Self {
            settings,
            threshold: 0.0,
            margin: 0.0,
            model: None,
            baseline: None,
            names: BTreeMap::new(),
            channels: Vec::new(),
            scratch: Vec::with_capacity(settings.window),
            due: Vec::new(),
            said: Vec::new(),
        };
        scorer.set_model(model);
        Ok(scorer)
    }

    /// Asks another model from now on, or none; thresholds are its own. It does this task.
    pub fn set_model(&mut self, model: Option<Governed>) {
        // What another model said of a channel is no measure for this one.
        self.channels.iter_mut().for_each(|watched| watched.shape = Usual::default());
        self.model = model;
        self.read_thresholds();
    }

    /// Goes by the model's parameters as they are now.
    pub fn read_thresholds(&mut self) {
        let manifest = self.model.as_ref().map(Governed::manifest);
        let parameter = |name: &str, otherwise: f64| {
            manifest.and_then(|manifest| manifest.parameter(name)).unwrap_or(otherwise) as f32
        };
        let (threshold, margin) = (parameter("stream_threshold", 0.9), parameter("margin", 0.5));
        (self.threshold, self.margin) = (threshold, margin);
    }

    /// Goes by a baseline from now on, or by none.
    pub fn set_baseline(&mut self, baseline: Option<Baseline>) {
        for (name, id) in &self.names {
            let Some(watched) = self.channels.get_mut(id.0 as usize) else { continue };
            watched.limits = baseline.as_ref().and_then(|baseline| baseline.limits(name));
            watched.history = History::default();
        }
        self.baseline = baseline;
    }

    /// The model, for whoever looks after it.
    pub fn model(&mut self) -> Option<&mut Governed> {
        self.model.as_mut()
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
        self.channels.push(Watched {
            window,
            since: 0,
            last: f64::NAN,
            quantum: f64::INFINITY,
            changed: None,
            shape: Usual::default(),
            level: Usual::default(),
            limits: self.baseline.as_ref().and_then(|baseline| baseline.limits(name)),
            history: History::default(),
        });
        self.names.insert(name.into(), id);
        Some(id)
    }

    /// What judges at the moment.
    pub fn method(&self) -> Method {
        method(self.model.as_ref())
    }

    /// Why the model is not asked any more, if it was given up. Told once.
    pub fn take_suspension(&mut self) -> Option<String> {
        suspension(self.model.as_mut())
    }

    /// Takes a sample; gives a judgement at every hop of a full window.
    ///
    /// A value that is no number is left out. Time that runs backwards starts the window again.
    pub fn push(&mut self, channel: ChannelId, time: Tai, value: f64) -> Option<Score> {
        self.take(channel, time, value);
        let mut score = None;
        self.judge(&mut |judged| score = Some(judged));
        score
    }

    /// Takes a sample as [`Self::push`] does and leaves its window, where it is due, to the next
    /// [`Self::judge`]: windows that wait are judged together.
    pub fn take(&mut self, channel: ChannelId, time: Tai, value: f64) {
        let Some(watched) = self.channels.get_mut(channel.0 as usize) else { return };
        if !value.is_finite() {
            return;
        }
        if watched.window.latest().is_some_and(|latest| time < latest) {
            watched.window.clear();
            watched.since = 0;
            watched.changed = None;
        }
        watched.window.push(time, value);
        // Before the first sample nothing is equal to anything.
        if watched.changed.is_none() || value != watched.last {
            watched.changed = Some(time);
        }
        let step = (value - watched.last).abs();
        // A NaN, before the first sample, is not greater than 0.
        if step > 0.0 && step < watched.quantum {
            watched.quantum = step;
        }
        watched.last = value;
        watched.since += 1;
        if !watched.window.is_full() || watched.since < self.settings.hop {
            return;
        }
        watched.since = 0;
        let older = self.settings.window - self.settings.hop;
        let quantum = if watched.quantum.is_finite() { watched.quantum } else { 0.0 };
        let level =
            statistics::deviation(watched.window.ordered(), older, quantum, &mut self.scratch)
                as f32;
        let newest = watched.window.ordered().skip(older);
        let middle = statistics::middle(newest, &mut self.scratch);
        let still_ns = watched.changed.map_or(0, |changed| time.since(changed));
        let still_s = still_ns as f32 / 1e9;
        let bounds = (f64::INFINITY, f64::NEG_INFINITY);
        let (low, high) = watched
            .window
            .ordered()
            .fold(bounds, |(low, high), value| (low.min(value), high.max(value)));
        let features = (self.model.is_some() && high - low >= STEPS_MIN * quantum)
            .then(|| watched.window.features());
        self.due.push(Due { channel, time, value, level, middle, still_s, features });
    }

    /// Judges what waits, in the order in which it came.
    pub fn judge(&mut self, told: &mut dyn FnMut(Score)) {
        if self.due.is_empty() {
            return;
        }
        self.said.clear();
        self.said.resize(self.due.len(), None);
        if let Some(model) = &mut self.model {
            let shaped = self.due.iter().zip(&mut self.said);
            let mut shaped: Vec<(&[f64; COUNT], &mut Option<f32>)> =
                shaped.filter_map(|(due, said)| Some((due.features.as_ref()?, said))).collect();
            for batch in shaped.chunks_mut(model.batch_max().max(1)) {
                ask(model, batch);
            }
        }
        let (threshold, margin) = (self.threshold, self.margin);
        let once = Persistence { least: 1, windows: 1 };
        let persistence = self.baseline.as_ref().map_or(once, |baseline| baseline.persistence);
        for (due, said) in self.due.drain(..).zip(&self.said) {
            let Due { channel, time, value, level, middle, still_s, .. } = due;
            let Some(watched) = self.channels.get_mut(channel.0 as usize) else { continue };
            let mut score = Score {
                channel,
                time,
                value,
                score: 0.0,
                shape: *said,
                level,
                middle,
                still_s,
                judge: None,
                anomalous: false,
                method: if said.is_some() { Method::Model } else { Method::Statistics },
            };
            if let Some(limits) = &watched.limits {
                (score.score, score.judge) =
                    watched.history.judge(limits, persistence, &score.seen());
                score.anomalous = score.judge.is_some();
                told(score);
                continue;
            }
            let (by_shape, odd_shape) = said.map_or((0.0, false), |said| {
                watched.shape.judge(said, self.settings.learn, threshold, margin)
            });
            let (by_level, odd_level) = watched.level.judge(level, 0, LEVEL_THRESHOLD, margin);
            score.score = by_shape.max(by_level);
            score.anomalous = odd_shape || odd_level;
            let judge = if odd_shape { Judge::Shape } else { Judge::Level };
            score.judge = score.anomalous.then_some(judge);
            told(score);
        }
    }
}

/// Asks one question about several windows.
fn ask(model: &mut Governed, batch: &mut [(&[f64; COUNT], &mut Option<f32>)]) {
    // The graph takes logarithms of 32-bit numbers: what leaves their range would become NaN.
    let number = |feature: &f64| feature.clamp(-1e30, 1e30) as f32;
    let values: Vec<f32> = batch.iter().flat_map(|(of, _)| of.iter().map(number)).collect();
    let name = model.manifest().inputs.first().map(|port| port.name.clone());
    let shape = vec![batch.len() as u64, COUNT as u64];
    let Ok(question) = Tensor::from_f32(name.unwrap_or_default(), shape, &values) else { return };
    let said = model.ask(&[question], |answer| {
        let scores = answer.first().and_then(Tensor::to_f32).unwrap_or_default();
        match scores.iter().find(|score| !(0.0..=1.0).contains(*score)) {
            Some(score) => Err(format!("the score {score} is no probability")),
            None if scores.len() != batch.len() => {
                Err(format!("{} scores for {} windows", scores.len(), batch.len()))
            }
            None => Ok(scores),
        }
    });
    for ((_, place), said) in batch.iter_mut().zip(said.unwrap_or_default()) {
        **place = Some(said);
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
            } else if index < 700 + 16 {
                assert!(score.anomalous, "{score:?}");
            }
        }
        assert_eq!(judged, 1 + (1000 - 64) / 16);
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
