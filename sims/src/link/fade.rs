//! Fades over time (ITU-R P.1853-1): rain as a log-normal process with one time constant (Maseng and
//! Bakken), clouds as one with two, scintillation as noise with the spectrum of turbulent air.

use super::weather::cloud::CloudWater;
use super::weather::path::AirPath;
use super::weather::quantile::{exceedance, exceedance_quantile};
use crate::rng::Random;
use std::f64::consts::TAU;

/// How fast rain changes, 1/s (P.1853-1).
pub const RAIN_PACE_PER_S: f64 = 2e-4;
/// Where the spectrum of scintillation bends, Hz (P.1853-1).
pub const SCINTILLATION_HZ: f64 = 0.1;
/// Exceedances that the distribution is fitted through where it rains as often, percent (P.1853-1
/// step A2).
const FITTED: [f64; 13] = [0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0];

/// Attenuation by rain at one elevation as a log-normal variable, cut off where it does not rain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RainFade {
    /// Mean of the natural logarithm of decibels.
    pub mean: f64,
    /// Its standard deviation.
    pub sigma: f64,
    /// What is taken off, so that it rains for the right share of time, dB.
    pub offset_db: f64,
}

impl RainFade {
    /// Fits a path's exceedances by least squares; none where it hardly ever rains.
    pub fn fit(air: &AirPath, elevation_deg: f64) -> Option<Self> {
        let rainy = FITTED.into_iter().filter(|of| *of < air.climate().rain_share_percent);
        let points: Vec<_> = rainy
            .map(|of| (exceedance_quantile(of / 100.0), air.rain_db(elevation_deg, of)))
            .collect();
        if points.len() < 2 || points.iter().any(|point| point.1 <= 0.0) {
            return None;
        }
        let count = points.len() as f64;
        let x = points.iter().map(|point| point.0).sum::<f64>() / count;
        let y = points.iter().map(|point| point.1.ln()).sum::<f64>() / count;
        let slope = points.iter().map(|point| (point.0 - x) * (point.1.ln() - y)).sum::<f64>()
            / points.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>();
        let mean = y - slope * x;
        let dry = exceedance_quantile(air.climate().rain_share_percent / 100.0);
        Some(Self { mean, sigma: slope, offset_db: (mean + slope * dry).exp() })
    }

    /// Attenuation where the underlying normal variable has a value, dB.
    pub fn at_db(&self, normal: f64) -> f64 {
        ((self.mean + self.sigma * normal).exp() - self.offset_db).max(0.0)
    }
}

/// The normal variable under the rain: correlated over hours (an Ornstein-Uhlenbeck process).
#[derive(Clone, Debug)]
pub struct RainState {
    value: f64,
    random: Random,
}

impl RainState {
    /// As it comes.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed, "rain");
        Self { value: random.normal(), random }
    }

    /// As heavy as it is for a share of the year, percent.
    pub fn starting_at(seed: u64, percent: f64) -> Self {
        let random = Random::new(seed, "rain");
        Self { value: exceedance_quantile(percent / 100.0), random }
    }

    /// Its value now.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// Goes on by some seconds.
    pub fn advance(&mut self, seconds: f64) {
        let kept = (-RAIN_PACE_PER_S * seconds.max(0.0)).exp();
        self.value = kept * self.value + (1.0 - kept * kept).sqrt() * self.random.normal();
    }
}

/// Paces of clouds, 1/s, and their weights (P.1853-1).
const CLOUD_PACES_PER_S: [f64; 2] = [7.17e-4, 2.01e-5];
const CLOUD_WEIGHTS: [f64; 2] = [0.349, 0.830];

/// The normal variable under the clouds: hours and days, driven by one noise.
#[derive(Clone, Debug)]
pub struct CloudState {
    values: [f64; 2],
    random: Random,
}

impl CloudState {
    /// As it comes.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed, "clouds");
        let [slow, fast] = [random.normal(), random.normal()];
        // Both follow one noise: so much of the fast one is the slow one's.
        let [a, b] = CLOUD_PACES_PER_S;
        let shared = 2.0 * (a * b).sqrt() / (a + b);
        let fast = shared * slow + (1.0 - shared * shared).sqrt() * fast;
        Self { values: [fast, slow], random }
    }

    /// Goes on by some seconds.
    pub fn advance(&mut self, seconds: f64) {
        let noise = self.random.normal();
        for (value, pace) in self.values.iter_mut().zip(CLOUD_PACES_PER_S) {
            let kept = (-pace * seconds.max(0.0)).exp();
            *value = kept * *value + (1.0 - kept * kept).sqrt() * noise;
        }
    }

    /// Liquid water over the station now, kg/m².
    pub fn liquid_kg_m2(&self, water: &CloudWater) -> f64 {
        let [fast, slow] = self.values;
        let normal = CLOUD_WEIGHTS[0] * fast + CLOUD_WEIGHTS[1] * slow;
        water.exceeded_kg_m2(100.0 * exceedance(normal))
    }
}

/// Scintillation of unit deviation: tones drawn from the spectrum, flat to the bend, then falling
/// with the power 8/3 of the frequency.
#[derive(Clone, Debug)]
pub struct Scintillating {
    /// Frequency in Hz and phase.
    tones: Vec<(f64, f64)>,
}

/// Tones of one series: enough for a normal distribution.
const TONES: u32 = 96;
/// Power of the tail over that of the flat part: the integral of u^(-8/3) from 1.
const TAIL: f64 = 0.6;

impl Scintillating {
    /// Draws the tones, one from each equal part of the power.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed, "scintillation");
        let tone = |at| {
            let part = (f64::from(at) + random.unit()) / f64::from(TONES) * (1.0 + TAIL);
            let bends =
                if part < 1.0 { part } else { (1.0 - (part - 1.0) / TAIL).max(1e-6).powf(-TAIL) };
            (bends * SCINTILLATION_HZ, random.unit() * TAU)
        };
        Self { tones: (0..TONES).map(tone).collect() }
    }

    /// Its value at a time, of unit deviation.
    pub fn at(&self, seconds: f64) -> f64 {
        let tone = |(hz, phase): &(f64, f64)| (TAU * hz * seconds + phase).cos();
        self.tones.iter().map(tone).sum::<f64>() * (2.0 / f64::from(TONES)).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::super::weather::climate::{Climate, Stated};
    use super::super::weather::path::Beam;
    use super::*;

    fn air() -> AirPath {
        let beam = Beam { frequency_ghz: 20.2, tilt_deg: 45.0, antenna_m: 1.2, efficiency: 0.65 };
        let stated = Stated { rain_001_mm_h: Some(40.0), ..Stated::default() };
        AirPath::new(Climate::new(41.0, 0.1, stated), beam)
    }

    #[test]
    fn the_fit_is_near_the_recommendation_over_three_decades() {
        let air = air();
        let fade = RainFade::fit(&air, 35.0).unwrap();
        for percent in [0.01, 0.03, 0.1, 0.3, 1.0] {
            let ours = fade.at_db(exceedance_quantile(percent / 100.0));
            let table = air.rain_db(35.0, percent);
            // A log-normal has two numbers, P.618's curve more.
            assert!((ours - table).abs() < 0.12 * table + 0.35, "{percent}: {ours} {table}");
        }
        assert!(fade.at_db(exceedance_quantile(0.081)) == 0.0);
    }

    #[test]
    fn rain_is_exceeded_as_often_as_its_formula_says() {
        let fade = RainFade::fit(&air(), 35.0).unwrap();
        let mut state = RainState::new(5);
        const STEPS: u32 = 600_000;
        let mut above = [0u32; 4];
        let levels = [0.0, 1.0, 3.0, 8.0];
        for _ in 0..STEPS {
            state.advance(2_000.0);
            let now = fade.at_db(state.value());
            for (level, count) in levels.iter().zip(&mut above) {
                *count += u32::from(now > *level);
            }
        }
        for (level, count) in levels.iter().zip(above) {
            let share = f64::from(count) / f64::from(STEPS);
            let normal = ((level + fade.offset_db).ln() - fade.mean) / fade.sigma;
            let expected = exceedance(normal);
            // Neighbours are alike: about a fifth of the draws counts.
            let spread = (expected / f64::from(STEPS) * 5.0).sqrt();
            assert!((share - expected).abs() < 4.0 * spread, "{level} dB: {share} {expected}");
        }
    }

    #[test]
    fn rain_forgets_at_its_pace() {
        let mut state = RainState::new(9);
        let values: Vec<f64> = (0..400_000)
            .map(|_| {
                state.advance(500.0);
                state.value()
            })
            .collect();
        for lag in [1, 5, 10, 20] {
            let pairs = values.iter().zip(&values[lag..]);
            let mean = pairs.map(|(a, b)| a * b).sum::<f64>() / (values.len() - lag) as f64;
            let expected = (-RAIN_PACE_PER_S * 500.0 * lag as f64).exp();
            assert!((mean - expected).abs() < 0.03, "{lag}: {mean} {expected}");
        }
        let wet = RainState::starting_at(1, 1.0);
        assert!((wet.value() - 2.326_348).abs() < 1e-5);
    }

    #[test]
    fn clouds_hold_as_much_water_as_often_as_their_formula_says() {
        let water = CloudWater { median_kg_m2: 0.12, sigma: 0.8, share_percent: 50.0 };
        let mut state = CloudState::new(2);
        // Looks 20 hours apart, steps short against both paces.
        const LOOKS: u32 = 6_000;
        let mut above = [0u32; 3];
        let percents = [50.0, 20.0, 5.0];
        for _ in 0..LOOKS {
            for _ in 0..120 {
                state.advance(600.0);
            }
            let now = state.liquid_kg_m2(&water);
            for (percent, count) in percents.iter().zip(&mut above) {
                *count += u32::from(now > water.exceeded_kg_m2(*percent));
            }
        }
        for (percent, count) in percents.iter().zip(above) {
            let share = f64::from(count) / f64::from(LOOKS);
            assert!((share - percent / 100.0).abs() < 0.025, "{percent} %: {share}");
        }
    }

    /// Correlation of the spectrum at a lag: its cosine transform, by the middle rule.
    fn correlation(lag_s: f64) -> f64 {
        let density = |bends: f64| if bends < 1.0 { 1.0 } else { bends.powf(-8.0 / 3.0) };
        const STEP: f64 = 1e-3;
        let sum = (0..200_000).map(|at| {
            let bends = (f64::from(at) + 0.5) * STEP;
            density(bends) * (TAU * bends * SCINTILLATION_HZ * lag_s).cos() * STEP
        });
        sum.sum::<f64>() / (1.0 + TAIL)
    }

    #[test]
    fn scintillation_has_the_spectrum_and_the_spread_of_turbulence() {
        const SERIES: u64 = 400;
        for lag_s in [0.0, 0.5, 1.0, 2.0, 4.0, 8.0] {
            let mut sum = 0.0;
            for seed in 0..SERIES {
                let series = Scintillating::new(seed);
                for start in 0..10 {
                    let at = f64::from(start) * 97.0;
                    sum += series.at(at) * series.at(at + lag_s);
                }
            }
            let mean = sum / (SERIES as f64 * 10.0);
            let expected = correlation(lag_s);
            assert!((mean - expected).abs() < 0.06, "{lag_s} s: {mean} {expected}");
        }
        let series = Scintillating::new(3);
        const DRAWS: u32 = 40_000;
        let above = (0..DRAWS).filter(|at| series.at(f64::from(*at) * 3.7) > 1.644_854).count();
        let share = above as f64 / f64::from(DRAWS);
        assert!((share - 0.05).abs() < 0.008, "{share}");
    }
}
