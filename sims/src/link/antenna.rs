//! Antennas and empty space: gain, what pointing and polarisation cost, loss with distance.

use super::LIGHT_KM_S;
use std::f64::consts::PI;

/// Ten times the decimal logarithm.
pub fn decibels(ratio: f64) -> f64 {
    10.0 * ratio.log10()
}

/// The ratio that some decibels are.
pub fn ratio(decibels: f64) -> f64 {
    10f64.powf(decibels / 10.0)
}

/// Length of a wave, m.
pub fn wavelength_m(frequency_ghz: f64) -> f64 {
    LIGHT_KM_S * 1e-6 / frequency_ghz
}

/// Loss of free space between isotropic antennas, dB (P.525-4).
pub fn free_space_db(frequency_ghz: f64, range_km: f64) -> f64 {
    2.0 * decibels(4.0 * PI * range_km * 1e3 / wavelength_m(frequency_ghz))
}

/// A round dish.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dish {
    /// Diameter, m.
    pub diameter_m: f64,
    /// Share of the aperture that works, 0 to 1.
    pub efficiency: f64,
}

impl Dish {
    /// Gain on its axis, dBi.
    pub fn gain_dbi(&self, frequency_ghz: f64) -> f64 {
        decibels(self.efficiency)
            + 2.0 * decibels(PI * self.diameter_m / wavelength_m(frequency_ghz))
    }

    /// Width of the beam between its half-power points, degrees: 70 wavelengths a diameter, as an
    /// illumination has it that falls by 10 dB to the edge.
    pub fn beam_deg(&self, frequency_ghz: f64) -> f64 {
        70.0 * wavelength_m(frequency_ghz) / self.diameter_m
    }

    /// What a pointing error costs, dB: the parabola of the main lobe (S.465 has no say this near to
    /// the axis), and no more than 30 dB, where side lobes take over.
    pub fn pointing_db(&self, frequency_ghz: f64, error_deg: f64) -> f64 {
        (12.0 * (error_deg / self.beam_deg(frequency_ghz)).powi(2)).min(30.0)
    }
}

/// How round a wave is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Polarisation {
    /// Circular up to an axial ratio, dB; the sense is the other end's.
    Circular {
        /// Ratio of the ellipse's axes, dB; 0 is a circle.
        axial_ratio_db: f64,
    },
    /// Along one direction.
    Linear {
        /// Against the horizontal, degrees.
        tilt_deg: f64,
    },
}

impl Polarisation {
    /// Tilt that rain feels, degrees: 45 stands for a circle (P.838).
    pub fn tilt_deg(&self) -> f64 {
        match self {
            Self::Circular { .. } => 45.0,
            Self::Linear { tilt_deg } => *tilt_deg,
        }
    }

    /// Worst loss between two ends, dB: ellipses across each other, lines at their angle.
    pub fn loss_db(&self, other: &Self) -> f64 {
        let (a, b) = match (self, other) {
            (Self::Linear { tilt_deg: a }, Self::Linear { tilt_deg: b }) => {
                let along = (a - b).to_radians().cos().powi(2);
                // No antenna is so pure that nothing at all comes through.
                return -decibels(along.max(1e-4));
            }
            (Self::Circular { axial_ratio_db: a }, Self::Circular { axial_ratio_db: b }) => {
                (*a, *b)
            }
            _ => return decibels(2.0) + self.half_mixed().max(other.half_mixed()),
        };
        let [a, b] = [a, b].map(|db| 10f64.powf(db / 20.0));
        let (aa, bb) = (a * a, b * b);
        let passed = ((1.0 + aa) * (1.0 + bb) + 4.0 * a * b - (1.0 - aa) * (1.0 - bb))
            / (2.0 * (1.0 + aa) * (1.0 + bb));
        -decibels(passed)
    }

    /// What an ellipse loses to a line beyond the half, at worst.
    fn half_mixed(&self) -> f64 {
        match self {
            Self::Linear { .. } => 0.0,
            Self::Circular { axial_ratio_db } => {
                let axes = 10f64.powf(axial_ratio_db / 10.0);
                -decibels(2.0 / (1.0 + axes))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_is_the_textbooks() {
        // 92.44778 + 20 log f/GHz + 20 log d/km (P.525-4 gives it rounded to 92.4).
        assert!((free_space_db(1.0, 1.0) - 92.447_78).abs() < 1e-4);
        let x = 92.447_783 + 20.0 * 8.2f64.log10() + 20.0 * 2_500f64.log10();
        assert!((free_space_db(8.2, 2_500.0) - x).abs() < 1e-4);
    }

    #[test]
    fn a_dish_has_the_gain_of_its_aperture() {
        // 4 pi A eta / lambda^2 by another way.
        let dish = Dish { diameter_m: 7.3, efficiency: 0.6 };
        let wave = 299_792_458.0 / 8.2e9;
        let aperture = PI * 3.65 * 3.65;
        let gain = 10.0 * (4.0 * PI * aperture * 0.6 / (wave * wave)).log10();
        assert!((dish.gain_dbi(8.2) - gain).abs() < 1e-4);
        assert!((dish.gain_dbi(8.2) - 53.730_8).abs() < 1e-4, "{}", dish.gain_dbi(8.2));
        // Half the beam's width off the axis, half the power is there.
        let half = dish.beam_deg(8.2) / 2.0;
        assert!((dish.pointing_db(8.2, half) - 3.0).abs() < 1e-9);
        assert_eq!(dish.pointing_db(8.2, 10.0), 30.0);
    }

    #[test]
    fn polarisation_costs_what_the_ellipses_say() {
        let circle = |axial_ratio_db| Polarisation::Circular { axial_ratio_db };
        let line = |tilt_deg| Polarisation::Linear { tilt_deg };
        assert!(circle(0.0).loss_db(&circle(0.0)).abs() < 1e-9);
        assert!((circle(0.0).loss_db(&line(0.0)) - 3.010_3).abs() < 1e-4);
        // Axial ratios of 2 and 1 dB across each other: 0.13 dB.
        let off = circle(2.0).loss_db(&circle(1.0));
        assert!((off - 0.130).abs() < 2e-3, "{off}");
        assert!((line(0.0).loss_db(&line(45.0)) - 3.010_3).abs() < 1e-4);
        assert!((line(0.0).loss_db(&line(90.0)) - 40.0).abs() < 1e-9);
        assert!(circle(3.0).loss_db(&line(0.0)) > 3.02);
    }
}
