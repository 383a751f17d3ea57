//! Wrong bits: a floor of single errors, and fades in which no code helps.

use super::{GilbertElliott, LossSettings};
use crate::rng::Random;

/// How bits go wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoiseSettings {
    /// Share of wrong bits where nothing fades.
    pub bit_errors: f64,
    /// Share of units that fade, and how many in a row.
    pub fades: LossSettings,
    /// Share of wrong bits in a fade.
    pub fade_bit_errors: f64,
    /// Seed of all of it.
    pub seed: u64,
}

/// Spoils units on their way; the same seed gives the same errors.
#[derive(Clone, Debug)]
pub struct Noise {
    settings: NoiseSettings,
    fades: GilbertElliott,
    random: Random,
}

impl Noise {
    /// A channel that has not faded yet.
    pub fn new(settings: NoiseSettings) -> Self {
        let fades = GilbertElliott::new(settings.fades, settings.seed);
        Self { settings, fades, random: Random::new(settings.seed, "bit errors") }
    }

    /// Spoils one unit; the bits that it turned.
    pub fn spoil(&mut self, unit: &mut [u8]) -> u64 {
        let NoiseSettings { bit_errors, fade_bit_errors, .. } = self.settings;
        let rate = if self.fades.loses() { fade_bit_errors } else { bit_errors };
        let (bits, mut at, mut turned) = (8 * unit.len() as u64, self.gap(rate), 0);
        while at < bits {
            unit[(at / 8) as usize] ^= 1 << (at % 8);
            turned += 1;
            at = at.saturating_add(1).saturating_add(self.gap(rate));
        }
        turned
    }

    /// Right bits before the next wrong one.
    fn gap(&mut self, rate: f64) -> u64 {
        if rate <= 0.0 {
            return u64::MAX;
        }
        // Geometric, by the inverse of its distribution.
        ((1.0 - self.random.unit()).ln() / (1.0 - rate.min(0.5)).ln()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turned(settings: NoiseSettings, units: usize) -> (Vec<u64>, Vec<u8>) {
        let mut noise = Noise::new(settings);
        let mut last = Vec::new();
        let counts = (0..units).map(|_| {
            last = vec![0; 1000];
            noise.spoil(&mut last)
        });
        (counts.collect(), last)
    }

    #[test]
    fn as_many_bits_turn_as_asked_and_fades_stand_out() {
        let fades = LossSettings { mean: 0.1, burst_packets: 4.0 };
        let settings = NoiseSettings { bit_errors: 1e-3, fades, fade_bit_errors: 3e-2, seed: 5 };
        let (counts, last) = turned(settings, 20_000);
        let mean = counts.iter().sum::<u64>() as f64 / (20_000.0 * 8_000.0);
        let expected = 0.9 * 1e-3 + 0.1 * 3e-2;
        assert!((mean / expected - 1.0).abs() < 0.1, "{expected} asked, {mean} came");
        let faded = counts.iter().filter(|count| **count > 100).count() as f64 / 20_000.0;
        assert!((faded / 0.1 - 1.0).abs() < 0.15, "{faded} faded");
        let wrong: u32 = last.iter().map(|byte| byte.count_ones()).sum();
        assert_eq!(u64::from(wrong), counts[19_999], "no bit turns twice");
        let quiet = NoiseSettings { bit_errors: 0.0, fades: LossSettings::NONE, ..settings };
        assert_eq!(turned(quiet, 100).0, vec![0; 100]);
    }
}
