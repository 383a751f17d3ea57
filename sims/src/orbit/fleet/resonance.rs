//! Resonance with the turning earth, of orbits of one or two revolutions a day.
//!
//! Its cost is the integration from the epoch in steps of half a day. It is done once and kept by
//! step, so that an instant costs a look into a table.

use std::f64::consts::TAU;

use super::deep::{DeepTerms, EARTH_TURN};
use super::terms::{MeanElements, Prepared, Terms, XKE};

/// Step of the integration, minutes.
const STEP_MIN: f64 = 720.0;
/// Most steps of one direction: 150 years, beyond which there is no state.
const STEPS_MAX: usize = 110_000;

/// Resonance with the turning earth: coefficients of its equation of motion.
#[derive(Clone, Debug)]
enum Pull {
    /// One revolution a day.
    Day { of: [f64; 3] },
    /// Two revolutions a day, eccentric.
    HalfDay { of: [f64; 10], argument: f64, argument_dot: f64 },
}

/// The state of resonance at a step: longitude and motion, their rates, and the motion's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Step {
    pub longitude: f64,
    pub motion: f64,
    longitude_dot: f64,
    motion_dot: f64,
    motion_dot2: f64,
}

/// Resonance, integrated as far as was asked for.
#[derive(Clone, Debug)]
pub struct Resonance {
    pull: Pull,
    drift: f64,
    start: Step,
    ahead: Vec<Step>,
    behind: Vec<Step>,
}

impl Resonance {
    /// That of an orbit, should it have one.
    pub fn of(of: &MeanElements, shared: &Prepared, deep: &DeepTerms<f64>) -> Option<Self> {
        let terms = &shared.terms;
        let (n, e) = (terms.motion, of.eccentricity);
        let (pull, longitude, drift) = if (0.003_490_658_5..0.005_235_987_7).contains(&n) {
            let longitude = of.anomaly + of.node + of.argument - deep.sidereal;
            let drift = terms.anomaly_dot + shared.perigee_longitude_dot - EARTH_TURN
                + deep.anomaly_dot
                + deep.argument_dot
                + deep.node_dot
                - n;
            (day_pull(terms, e), longitude, drift)
        } else if (8.26e-3..=9.24e-3).contains(&n) && e >= 0.5 {
            let longitude = of.anomaly + 2.0 * of.node - 2.0 * deep.sidereal;
            let drift = terms.anomaly_dot
                + deep.anomaly_dot
                + 2.0 * (terms.node_dot + deep.node_dot - EARTH_TURN)
                - n;
            (half_day_pull(terms, e), longitude, drift)
        } else {
            return None;
        };
        let start = Step { longitude: longitude.rem_euclid(TAU), motion: n, ..Step::default() };
        let mut resonance = Self { pull, drift, start, ahead: Vec::new(), behind: Vec::new() };
        resonance.start = resonance.rates(start, 0.0);
        Some(resonance)
    }

    /// Fills in the rates of a state at `minutes` from the epoch.
    fn rates(&self, step: Step, minutes: f64) -> Step {
        let Step { longitude: l, motion, .. } = step;
        let longitude_dot = motion + self.drift;
        let (mut dot, mut dot2) = (0.0, 0.0);
        let mut add = |amplitude: f64, times: f64, angle: f64| {
            let (sin, cos) = angle.sin_cos();
            dot += amplitude * sin;
            dot2 += amplitude * times * cos;
        };
        match &self.pull {
            Pull::Day { of: [one, two, three] } => {
                add(*one, 1.0, l - 0.131_309_08);
                add(*two, 2.0, 2.0 * (l - 2.884_319_8));
                add(*three, 3.0, 3.0 * (l - 0.374_480_87));
            }
            Pull::HalfDay { of, argument, argument_dot } => {
                const G22: f64 = 5.768_639_6;
                const G32: f64 = 0.952_408_98;
                const G44: f64 = 1.801_499_8;
                const G52: f64 = 1.050_833_0;
                const G54: f64 = 4.410_889_8;
                let w = argument + argument_dot * minutes;
                let angles = [
                    2.0 * w + l - G22,
                    l - G22,
                    w + l - G32,
                    -w + l - G32,
                    2.0 * w + 2.0 * l - G44,
                    2.0 * l - G44,
                    w + l - G52,
                    -w + l - G52,
                    w + 2.0 * l - G54,
                    -w + 2.0 * l - G54,
                ];
                let times = [1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0];
                for ((amplitude, times), angle) in of.iter().zip(times).zip(angles) {
                    add(*amplitude, times, angle);
                }
            }
        }
        Step { longitude_dot, motion_dot: dot, motion_dot2: dot2 * longitude_dot, ..step }
    }

    /// Integrates as far as `minutes` from the epoch, should that not be done yet.
    pub fn reach(&mut self, minutes: f64) {
        let steps = ((minutes.abs() / STEP_MIN) as usize).min(STEPS_MAX);
        let stride = STEP_MIN.copysign(minutes);
        loop {
            let side = if minutes < 0.0 { &self.behind } else { &self.ahead };
            if side.len() >= steps {
                return;
            }
            let last = side.last().copied().unwrap_or(self.start);
            let at = stride * (side.len() + 1) as f64;
            let half = stride * stride / 2.0;
            let next = Step {
                longitude: last.longitude + last.longitude_dot * stride + last.motion_dot * half,
                motion: last.motion + last.motion_dot * stride + last.motion_dot2 * half,
                ..last
            };
            let next = self.rates(next, at);
            if minutes < 0.0 { self.behind.push(next) } else { self.ahead.push(next) }
        }
    }

    /// Longitude and motion at an instant that was [reached](Self::reach).
    pub fn at(&self, minutes: f64) -> (f64, f64) {
        let steps = (minutes.abs() / STEP_MIN) as usize;
        let side = if minutes < 0.0 { &self.behind } else { &self.ahead };
        let step = match steps.checked_sub(1) {
            Some(before) => match side.get(before) {
                Some(step) => *step,
                None => return (f64::NAN, f64::NAN),
            },
            None => self.start,
        };
        let rest = minutes - (steps as f64 * STEP_MIN).copysign(minutes);
        let half = rest * rest * 0.5;
        (
            step.longitude + step.longitude_dot * rest + step.motion_dot * half,
            step.motion + step.motion_dot * rest + step.motion_dot2 * half,
        )
    }

    /// Whether it is of one revolution a day.
    pub fn daily(&self) -> bool {
        matches!(self.pull, Pull::Day { .. })
    }
}

fn day_pull(terms: &Terms<f64>, e: f64) -> Pull {
    let (sin_i, cos_i, n) = (terms.sin_inclination, terms.cos_inclination, terms.motion);
    let e2 = e * e;
    let over_axis = (n / XKE).powf(2.0 / 3.0);
    let g200 = 1.0 + e2 * (-2.5 + 0.8125 * e2);
    let g310 = 1.0 + 2.0 * e2;
    let g300 = 1.0 + e2 * (-6.0 + 6.609_37 * e2);
    let f220 = 0.75 * (1.0 + cos_i).powi(2);
    let f311 = 0.9375 * sin_i * sin_i * (1.0 + 3.0 * cos_i) - 0.75 * (1.0 + cos_i);
    let f330 = 1.875 * (1.0 + cos_i).powi(3);
    let base = 3.0 * n * n * over_axis * over_axis;
    let two = 2.0 * base * f220 * g200 * 1.789_167_9e-6;
    let three = 3.0 * base * f330 * g300 * 2.212_301_5e-7 * over_axis;
    let one = base * f311 * g310 * 2.146_074_8e-6 * over_axis;
    Pull::Day { of: [one, two, three] }
}

/// A cubic in the eccentricity.
fn cubic(e: f64, [a, b, c, d]: [f64; 4]) -> f64 {
    a + e * (b + e * (c + e * d))
}

fn half_day_pull(terms: &Terms<f64>, e: f64) -> Pull {
    let (s, c, n) = (terms.sin_inclination, terms.cos_inclination, terms.motion);
    let c2 = c * c;
    let g201 = -0.306 - (e - 0.64) * 0.440;
    let (g211, g310, g322, g410, g422, g520);
    if e <= 0.65 {
        g211 = cubic(e, [3.616, -13.2470, 16.2900, 0.0]);
        g310 = cubic(e, [-19.302, 117.3900, -228.4190, 156.5910]);
        g322 = cubic(e, [-18.9068, 109.7927, -214.6334, 146.5816]);
        g410 = cubic(e, [-41.122, 242.6940, -471.0940, 313.9530]);
        g422 = cubic(e, [-146.407, 841.8800, -1_629.014, 1_083.435]);
        g520 = cubic(e, [-532.114, 3_017.977, -5_740.032, 3_708.276]);
    } else {
        g211 = cubic(e, [-72.099, 331.819, -508.738, 266.724]);
        g310 = cubic(e, [-346.844, 1_582.851, -2_415.925, 1_246.113]);
        g322 = cubic(e, [-342.585, 1_554.908, -2_366.899, 1_215.972]);
        g410 = cubic(e, [-1_052.797, 4_758.686, -7_193.992, 3_651.957]);
        g422 = cubic(e, [-3_581.690, 16_178.110, -24_462.770, 12_422.520]);
        g520 = if e > 0.715 {
            cubic(e, [-5_149.66, 29_936.92, -54_087.36, 31_324.56])
        } else {
            cubic(e, [1_464.74, -4_664.75, 3_763.64, 0.0])
        };
    }
    let (g533, g521, g532) = if e < 0.7 {
        (
            cubic(e, [-919.227_70, 4_988.610_0, -9_064.770_0, 5_542.21]),
            cubic(e, [-822.710_72, 4_568.617_3, -8_491.414_6, 5_337.524]),
            cubic(e, [-853.666_00, 4_690.250_0, -8_624.770_0, 5_341.4]),
        )
    } else {
        (
            cubic(e, [-37_995.780, 161_616.52, -229_838.20, 109_377.94]),
            cubic(e, [-51_752.104, 218_913.95, -309_468.16, 146_349.42]),
            cubic(e, [-40_023.880, 170_470.89, -242_699.48, 115_605.82]),
        )
    };
    let s2 = s * s;
    let f220 = 0.75 * (1.0 + 2.0 * c + c2);
    let f221 = 1.5 * s2;
    let f321 = 1.875 * s * (1.0 - 2.0 * c - 3.0 * c2);
    let f322 = -1.875 * s * (1.0 + 2.0 * c - 3.0 * c2);
    let f441 = 35.0 * s2 * f220;
    let f442 = 39.375 * s2 * s2;
    let f522 = 9.843_75
        * s
        * (s2 * (1.0 - 2.0 * c - 5.0 * c2) + 0.333_333_33 * (-2.0 + 4.0 * c + 6.0 * c2));
    let f523 = s
        * (4.921_875_12 * s2 * (-2.0 - 4.0 * c + 10.0 * c2)
            + 6.562_500_12 * (1.0 + 2.0 * c - 3.0 * c2));
    let f542 = 29.531_25 * s * (2.0 - 8.0 * c + c2 * (-12.0 + 8.0 * c + 10.0 * c2));
    let f543 = 29.531_25 * s * (-2.0 - 8.0 * c + c2 * (12.0 + 8.0 * c - 10.0 * c2));
    let over_axis = (n / XKE).powf(2.0 / 3.0);
    let second = 3.0 * n * n * over_axis * over_axis;
    let third = second * over_axis;
    let fourth = third * over_axis;
    let fifth = fourth * over_axis;
    let r22 = second * 1.789_167_9e-6;
    let r32 = third * 3.739_379_2e-7;
    let r44 = 2.0 * fourth * 7.363_695_3e-9;
    let r52 = fifth * 1.142_863_9e-7;
    let r54 = 2.0 * fifth * 2.176_580_3e-9;
    Pull::HalfDay {
        of: [
            r22 * f220 * g201,
            r22 * f221 * g211,
            r32 * f321 * g310,
            r32 * f322 * g322,
            r44 * f441 * g410,
            r44 * f442 * g422,
            r52 * f522 * g520,
            r52 * f523 * g532,
            r54 * f542 * g521,
            r54 * f543 * g533,
        ],
        argument: terms.argument,
        argument_dot: terms.argument_dot,
    }
}
