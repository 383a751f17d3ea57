//! Scintillation: fades by the unsteady refraction of wet air.

/// A path and an antenna that feel it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scintillation {
    /// GHz, 4 to 55.
    pub frequency_ghz: f64,
    /// Degrees, from 5.
    pub elevation_deg: f64,
    /// Diameter of the antenna, m.
    pub antenna_m: f64,
    /// Its efficiency, 0 to 1.
    pub efficiency: f64,
    /// Wet term of the refractivity, median of the year (P.453).
    pub wet_refractivity: f64,
}

impl Scintillation {
    /// Standard deviation of the signal, dB (P.618-14 §2.4.1).
    pub fn deviation_db(&self) -> f64 {
        /// Height of the turbulent layer, m.
        const LAYER_M: f64 = 1_000.0;
        let sin = self.elevation_deg.to_radians().sin();
        let reference = 3.6e-3 + 1e-4 * self.wet_refractivity;
        let path_m = 2.0 * LAYER_M / ((sin * sin + 2.35e-4).sqrt() + sin);
        let wide_m = self.efficiency.sqrt() * self.antenna_m;
        let x = 1.22 * wide_m * wide_m * self.frequency_ghz / path_m;
        let averaged = 3.86 * (x * x + 1.0).powf(11.0 / 12.0) * (11.0 / 6.0 * 1f64.atan2(x)).sin()
            - 7.08 * x.powf(5.0 / 6.0);
        // A wide antenna averages all of it away.
        let averaged = averaged.max(0.0).sqrt();
        reference * self.frequency_ghz.powf(7.0 / 12.0) * averaged / sin.powf(1.2)
    }

    /// Fade that is exceeded for `percent` (0.01 to 50) of an average year, dB.
    pub fn exceeded_db(&self, percent: f64) -> f64 {
        let log_p = percent.log10();
        let factor = -0.061 * log_p.powi(3) + 0.072 * log_p.powi(2) - 1.71 * log_p + 3.0;
        factor * self.deviation_db()
    }
}
