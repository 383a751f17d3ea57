//! A land mobile end in and out of shadow: two states, Rice in the open and Suzuki in the shadow
//! (Lutz and others, The land mobile satellite communication channel, IEEE Trans. VT 40, 1991).

use crate::rng::Random;

/// What the ground around an end is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Surroundings {
    /// Mean stay in the open, s.
    pub open_s: f64,
    /// Mean stay in shadow, s.
    pub shadow_s: f64,
    /// Power of the direct wave over the scattered one in the open, dB.
    pub rice_db: f64,
    /// Mean of the shadow's loss, dB.
    pub mean_db: f64,
    /// Its deviation, dB.
    pub sigma_db: f64,
    /// Time over which a fade stays itself, s.
    pub coherence_s: f64,
}

impl Surroundings {
    /// Share of time in shadow.
    pub fn shadowed(&self) -> f64 {
        self.shadow_s / (self.open_s + self.shadow_s)
    }
}

/// The end as it moves. Time does not run back.
#[derive(Clone, Debug)]
pub struct Shadowing {
    of: Surroundings,
    random: Random,
    in_shadow: bool,
    /// When the state ends, and when the fade is drawn anew.
    leaves_s: f64,
    fades_s: f64,
    /// Mean power while this shadow lasts, as a ratio.
    mean: f64,
    gain_db: f64,
}

impl Shadowing {
    /// Starts in either state, as often as it is there.
    pub fn new(of: Surroundings, seed: u64) -> Self {
        let mut random = Random::new(seed, "shadow");
        let in_shadow = !random.chance(of.shadowed());
        // The first step leaves that state at once, into the right one.
        Self { of, random, in_shadow, leaves_s: 0.0, fades_s: 0.0, mean: 1.0, gain_db: 0.0 }
    }

    /// Whether the end was in shadow when last asked.
    pub fn in_shadow(&self) -> bool {
        self.in_shadow
    }

    /// Power against the unfaded direct wave at a time, dB.
    pub fn gain_db(&mut self, seconds: f64) -> f64 {
        while seconds >= self.leaves_s {
            self.in_shadow = !self.in_shadow;
            let stay = if self.in_shadow { self.of.shadow_s } else { self.of.open_s };
            // Stays last no less than a thousandth of their mean: the loop ends.
            let drawn = -stay * (1.0 - self.random.unit()).ln();
            self.leaves_s += drawn.max(stay * 1e-3);
            let loss = self.of.mean_db + self.of.sigma_db * self.random.normal();
            self.mean = 10f64.powf(-loss / 10.0);
            self.fades_s = seconds;
        }
        if seconds >= self.fades_s {
            self.fades_s = seconds + self.of.coherence_s;
            self.gain_db = 10.0 * self.power().max(1e-12).log10();
        }
        self.gain_db
    }

    fn power(&mut self) -> f64 {
        let (a, b) = (self.random.normal(), self.random.normal());
        if self.in_shadow {
            return self.mean * (a * a + b * b) / 2.0;
        }
        let scattered = (10f64.powf(-self.of.rice_db / 10.0) / 2.0).sqrt();
        (1.0 + scattered * a).powi(2) + (scattered * b).powi(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A city's, at low elevation.
    const CITY: Surroundings = Surroundings {
        open_s: 4.0,
        shadow_s: 6.0,
        rice_db: 6.0,
        mean_db: 12.0,
        sigma_db: 4.0,
        coherence_s: 0.01,
    };

    #[test]
    fn stays_and_shares_are_as_asked() {
        let mut end = Shadowing::new(CITY, 3);
        const STEPS: u32 = 2_000_000;
        let (mut shadowed, mut entries, mut before) = (0u32, 0u32, false);
        for step in 0..STEPS {
            end.gain_db(f64::from(step) * 0.05);
            shadowed += u32::from(end.in_shadow());
            entries += u32::from(end.in_shadow() && !before);
            before = end.in_shadow();
        }
        let share = f64::from(shadowed) / f64::from(STEPS);
        assert!((share / CITY.shadowed() - 1.0).abs() < 0.03, "{share}");
        let stay = f64::from(shadowed) * 0.05 / f64::from(entries);
        assert!((stay / CITY.shadow_s - 1.0).abs() < 0.05, "{stay}");
    }

    /// Power in one state, many times.
    fn powers(of: Surroundings) -> Vec<f64> {
        let mut end = Shadowing::new(of, 8);
        let draw = |step: u32| 10f64.powf(end.gain_db(f64::from(step) * 0.5) / 10.0);
        (0..300_000).map(draw).collect()
    }

    #[test]
    fn the_open_is_rice() {
        let open = Surroundings { open_s: 1e9, shadow_s: 1e-6, ..CITY };
        let powers = powers(open);
        let count = powers.len() as f64;
        let mean = powers.iter().sum::<f64>() / count;
        let square = powers.iter().map(|of| of * of).sum::<f64>() / count;
        // Direct wave of 1 and scattered power s: mean 1 + s, variance s² + 2 s.
        let s = 10f64.powf(-0.6);
        assert!((mean / (1.0 + s) - 1.0).abs() < 0.01, "{mean}");
        assert!(((square - mean * mean) / (s * s + 2.0 * s) - 1.0).abs() < 0.03);
    }

    #[test]
    fn the_shadow_is_suzuki() {
        // Short stays, each of which draws its own mean.
        let shadow = Surroundings { open_s: 1e-6, shadow_s: 0.2, ..CITY };
        let powers = powers(shadow);
        // Mean of a log-normal under an exponential: exp of minus the mean, plus half the variance.
        let scale = std::f64::consts::LN_10 / 10.0;
        let expected = (-12.0 * scale + (4.0 * scale).powi(2) / 2.0).exp();
        let mean = powers.iter().sum::<f64>() / powers.len() as f64;
        assert!((mean / expected - 1.0).abs() < 0.03, "{mean} {expected}");
        // Share above a level: the exponential's, averaged over the log-normal.
        for level_db in [-20.0f64, -12.0, -6.0] {
            let level = 10f64.powf(level_db / 10.0);
            let share =
                powers.iter().filter(|of| **of > level).count() as f64 / powers.len() as f64;
            let expected = (-600..=600)
                .map(|at| {
                    let x = f64::from(at) / 100.0;
                    let mean = 10f64.powf((-12.0 + 4.0 * x) / 10.0);
                    (-level / mean).exp() * (-0.5 * x * x).exp() * 0.01
                })
                .sum::<f64>()
                / std::f64::consts::TAU.sqrt();
            assert!((share - expected).abs() < 0.006, "{level_db}: {share} {expected}");
        }
    }
}
