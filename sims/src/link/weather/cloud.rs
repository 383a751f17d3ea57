//! Clouds: attenuation by droplets of water (ITU-R P.840-9).

use super::quantile::exceedance_quantile;

/// How much liquid water stands over a place: log-normal while there are clouds (P.840-9).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CloudWater {
    /// Median while there are clouds, kg/m².
    pub median_kg_m2: f64,
    /// Standard deviation of its natural logarithm.
    pub sigma: f64,
    /// Share of the year with clouds, percent.
    pub share_percent: f64,
}

impl CloudWater {
    /// Integrated content that is exceeded for `percent` of an average year, kg/m².
    pub fn exceeded_kg_m2(&self, percent: f64) -> f64 {
        if percent >= self.share_percent || self.share_percent <= 0.02 || self.median_kg_m2 <= 0.0 {
            return 0.0;
        }
        let deviations = exceedance_quantile(percent / self.share_percent);
        self.median_kg_m2 * (self.sigma * deviations).exp()
    }
}

/// What a column of 1 kg/m² takes, dB, 1 to 200 GHz (P.840-9 equation 12).
pub fn mass_absorption(frequency_ghz: f64) -> f64 {
    let bell = |height: f64, middle: f64, width: f64| {
        height * (-(frequency_ghz - middle).powi(2) / width).exp()
    };
    let heights = bell(0.152_2, -23.958_9, 3.299_1e3) + bell(11.51, 219.209_6, 2.759_5e6);
    liquid_absorption(frequency_ghz, 273.75) * (heights - 10.491_2)
}

/// What droplets of one temperature take, (dB/km)/(g/m³) (P.840-9).
pub fn liquid_absorption(frequency_ghz: f64, temperature_k: f64) -> f64 {
    let (f, theta) = (frequency_ghz, 300.0 / temperature_k - 1.0);
    let low = 77.66 + 103.3 * theta;
    let (middle, high) = (0.067_1 * low, 3.52);
    let principal = 20.20 - 146.0 * theta + 316.0 * theta * theta;
    let secondary = 39.8 * principal;
    let relaxed = |at: f64| 1.0 + (f / at).powi(2);
    let imaginary = f * (low - middle) / (principal * relaxed(principal))
        + f * (middle - high) / (secondary * relaxed(secondary));
    let real = (low - middle) / relaxed(principal) + (middle - high) / relaxed(secondary) + high;
    let eta = (2.0 + real) / imaginary;
    0.819 * f / (imaginary * (1.0 + eta * eta))
}

/// What a slant path of 5 degrees or more loses to a column of liquid water, dB.
pub fn attenuation_db(frequency_ghz: f64, elevation_deg: f64, liquid_kg_m2: f64) -> f64 {
    mass_absorption(frequency_ghz) * liquid_kg_m2 / elevation_deg.to_radians().sin()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clouds_are_there_for_their_share_of_the_year() {
        let water = CloudWater { median_kg_m2: 0.12, sigma: 0.8, share_percent: 50.0 };
        assert_eq!(water.exceeded_kg_m2(50.0), 0.0);
        assert!((water.exceeded_kg_m2(25.0) - 0.12).abs() < 1e-9);
        assert!(water.exceeded_kg_m2(1.0) > water.exceeded_kg_m2(5.0));
        assert_eq!(CloudWater { share_percent: 0.0, ..water }.exceeded_kg_m2(0.01), 0.0);
    }

    #[test]
    fn cold_droplets_take_more_and_absorption_grows_with_frequency() {
        assert!(liquid_absorption(10.0, 273.15) > liquid_absorption(10.0, 293.15));
        assert!(mass_absorption(40.0) > 3.0 * mass_absorption(20.0));
    }
}
