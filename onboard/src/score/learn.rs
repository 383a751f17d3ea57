//! Learns the limits of channels from quiet telemetry, for a rate of false alarms.
//!
//! Of each half hour the most lasting extreme counts, once: neighbouring windows say the same
//! twice. What lies above nine tenths of these extremes falls off about exponentially, and is
//! followed down to the rate that is asked for. A limit is never below what quiet telemetry
//! reached. Nothing anomalous may be in what is learnt from.

use std::collections::{BTreeMap, VecDeque};

use super::{
    baseline::{Baseline, Limits, Persistence, Seen, bits},
    telemetry::Score,
};

/// Length of the stretches of which the extreme counts.
const STRETCH_NS: i64 = 1_800_000_000_000;
/// Share of the extremes that the tail is not taken from.
const BODY: f64 = 0.9;
/// Fewest extremes of a tail; with fewer stretches a channel gets no limits.
const TAIL_MIN: usize = 5;
/// Limits of a channel, among which its share of the false alarms is divided.
const LIMITS: usize = 5;
/// What is added to a limit at least, so that a repetition is no news: a share of the range.
const RANGE_MARGIN: f64 = 0.02;
/// The same for scores, in bits.
const BITS_MARGIN: f64 = 0.25;

/// What was seen of one channel.
#[derive(Default)]
struct Channel {
    /// The latest windows, for persistence.
    latest: VecDeque<[f64; LIMITS]>,
    /// The stretch in work, and its extremes.
    stretch: Option<(i64, [f64; LIMITS])>,
    extremes: [Vec<f64>; LIMITS],
    /// Least and largest middle.
    range: Option<(f64, f64)>,
}

/// Learns limits.
pub struct Learner {
    persistence: Persistence,
    channels: BTreeMap<String, Channel>,
}

impl Learner {
    /// A learner for limits that are to be exceeded so often before anything is told.
    pub fn new(persistence: Persistence) -> Self {
        Self { persistence, channels: BTreeMap::new() }
    }

    /// Takes a judgement of quiet telemetry.
    pub fn take(&mut self, channel: &str, score: &Score) {
        if !self.channels.contains_key(channel) {
            self.channels.insert(channel.to_owned(), Channel::default());
        }
        let Some(of) = self.channels.get_mut(channel) else { return };
        let Seen { shape_bits, level_bits, middle, still_s } = score.seen();
        let shape = shape_bits.map_or(0.0, f64::from);
        of.latest.push_back([shape, level_bits.into(), middle, -middle, still_s.into()]);
        if of.latest.len() > self.persistence.windows.into() {
            of.latest.pop_front();
        }
        let (low, high) = of.range.unwrap_or((middle, middle));
        of.range = Some((low.min(middle), high.max(middle)));
        // What is exceeded in `least` of the windows is what the `least` highest reach.
        let lasting: [f64; LIMITS] = std::array::from_fn(|limit| {
            let mut values: Vec<f64> = of.latest.iter().map(|window| window[limit]).collect();
            values.sort_by(|a, b| b.total_cmp(a));
            let place = usize::from(self.persistence.least).saturating_sub(1);
            values.get(place).copied().unwrap_or(f64::NEG_INFINITY)
        });
        let stretch = score.time.0.div_euclid(STRETCH_NS);
        match &mut of.stretch {
            Some((at, most)) if *at == stretch => {
                most.iter_mut().zip(lasting).for_each(|(most, of)| *most = most.max(of));
            }
            _ => {
                of.close();
                of.stretch = Some((stretch, lasting));
            }
        }
    }

    /// Ends a recording: what follows is another one.
    pub fn pause(&mut self) {
        for of in self.channels.values_mut() {
            of.close();
            of.latest.clear();
        }
    }

    /// The limits that all channels together exceed so often a day.
    pub fn finish(mut self, false_alarms_per_day: f64) -> Baseline {
        self.pause();
        let share = false_alarms_per_day / (self.channels.len().max(1) * LIMITS) as f64;
        let limits = self.channels.into_iter();
        let limits = limits.filter_map(|(name, of)| Some((name, of.limits(share)?)));
        Baseline { persistence: self.persistence, channels: limits.collect() }
    }
}

impl Channel {
    fn close(&mut self) {
        let Some((_, most)) = self.stretch.take() else { return };
        let extremes = self.extremes.iter_mut().zip(most);
        extremes.filter(|(_, of)| of.is_finite()).for_each(|(all, of)| all.push(of));
    }

    fn limits(mut self, per_day: f64) -> Option<Limits> {
        let (low, high) = self.range?;
        let range = (high - low) * RANGE_MARGIN;
        let margins = [BITS_MARGIN, BITS_MARGIN, range, range, 1.0];
        let mut limits = [0.0; LIMITS];
        for ((limit, extremes), margin) in limits.iter_mut().zip(&mut self.extremes).zip(margins) {
            *limit = tail(extremes, per_day)? + margin;
        }
        let [shape, level, high, low, still] = limits;
        // A value that hardly ever moves may stand as long as it likes.
        let moves = self.extremes[4].iter().all(|still| still * 1e9 < STRETCH_NS as f64 / 2.0);
        Some(Limits {
            shape_bits: (shape < f64::from(bits(1.0))).then_some(shape as f32),
            level_bits: Some(level as f32),
            low: Some(-low),
            high: Some(high),
            still_s: moves.then_some((2.0 * still) as f32),
        })
    }
}

/// The value that so many stretches a day exceed.
fn tail(extremes: &mut [f64], per_day: f64) -> Option<f64> {
    extremes.sort_by(f64::total_cmp);
    let body = (extremes.len() as f64 * BODY) as usize;
    let tail = extremes.get(body..).filter(|tail| tail.len() >= TAIL_MIN)?;
    let (least, most) = (*tail.first()?, *tail.last()?);
    let scale = tail.iter().map(|of| of - least).sum::<f64>() / tail.len() as f64;
    let days = extremes.len() as f64 * STRETCH_NS as f64 / 86_400e9;
    let rate = tail.len() as f64 / days;
    Some((least + scale * (rate / per_day).ln().max(0.0)).max(most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::{ChannelId, Method};
    use codecs::time::Tai;

    fn noise(index: u64) -> f64 {
        let mut x = index.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^= x >> 31;
        x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x >> 11) as f64 / (1u64 << 53) as f64).max(1e-9)
    }

    /// A window every 16 s, of exponential noise.
    fn window(index: u64) -> Score {
        let level = 1.0 - noise(7 * index) as f32;
        Score {
            channel: ChannelId(0),
            time: Tai(index as i64 * 16_000_000_000),
            value: 0.0,
            score: 0.0,
            shape: Some(1.0 - noise(7 * index + 1) as f32),
            level,
            middle: noise(7 * index + 2),
            still_s: (-10.0 * noise(7 * index + 3).ln()) as f32,
            judge: None,
            anomalous: false,
            method: Method::Statistics,
        }
    }

    #[test]
    fn false_alarms_are_about_as_rare_as_was_asked() {
        const DAY: u64 = 86_400 / 16;
        let persistence = Persistence { least: 2, windows: 3 };
        let mut learner = Learner::new(persistence);
        (0..6 * DAY).for_each(|index| learner.take("X", &window(index)));
        let baseline = learner.finish(1.0);
        baseline.check().unwrap();
        let limits = baseline.limits("X").unwrap();
        let mut history = crate::score::baseline::History::default();
        let (mut told, mut before) = (0, false);
        let days = 30;
        for index in 10 * DAY..(10 + days) * DAY {
            let seen = window(index).seen();
            let now = history.judge(&limits, persistence, &seen).1.is_some();
            told += u64::from(now && !before);
            before = now;
        }
        assert!(told <= 2 * days, "{told} in {days} days, asked for one a day");
    }

    #[test]
    fn too_little_gives_no_limits() {
        let mut learner = Learner::new(Persistence { least: 1, windows: 1 });
        (0..1000).for_each(|index| learner.take("X", &window(index)));
        assert!(learner.finish(1.0).channels.is_empty());
    }
}
