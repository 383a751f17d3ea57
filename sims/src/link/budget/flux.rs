//! Power flux density at the ground, and the limits that the Radio Regulations put on it.

use crate::link::antenna::decibels;
use std::f64::consts::PI;

/// A limit by angle of arrival.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FluxLimit {
    /// Band, GHz, from and to.
    pub band_ghz: (f64, f64),
    /// Width over which power is summed, Hz.
    pub reference_hz: f64,
    /// Up to 5 degrees, and from 25 degrees on, dBW/m² in that width; straight between.
    pub low_high_dbw_m2: (f64, f64),
    /// Where it stands.
    pub source: &'static str,
}

/// Radio Regulations article 21, table 21-4: bands of space-to-earth links of earth exploration,
/// space research, space operation and fixed satellites that missions here may use.
pub const LIMITS: [FluxLimit; 5] = [
    FluxLimit::new((2.2, 2.3), 4e3, (-154.0, -144.0)),
    FluxLimit::new((7.25, 7.75), 4e3, (-152.0, -142.0)),
    FluxLimit::new((8.025, 8.5), 4e3, (-150.0, -140.0)),
    FluxLimit::new((17.7, 19.7), 1e6, (-115.0, -105.0)),
    FluxLimit::new((25.25, 27.5), 1e6, (-115.0, -105.0)),
];

impl FluxLimit {
    const fn new(band_ghz: (f64, f64), reference_hz: f64, low_high_dbw_m2: (f64, f64)) -> Self {
        Self { band_ghz, reference_hz, low_high_dbw_m2, source: "RR article 21, table 21-4" }
    }

    /// The limit of a band; none where this table has none.
    pub fn of_band(frequency_ghz: f64) -> Option<Self> {
        let within = |limit: &&Self| (limit.band_ghz.0..=limit.band_ghz.1).contains(&frequency_ghz);
        LIMITS.iter().find(within).copied()
    }

    /// dBW/m² in the reference width for waves that come in at an elevation.
    pub fn at_dbw_m2(&self, elevation_deg: f64) -> f64 {
        let (low, high) = self.low_high_dbw_m2;
        low + (high - low) * ((elevation_deg - 5.0) / 20.0).clamp(0.0, 1.0)
    }
}

/// Power flux density through free space in a width, dBW/m²: the middle of a spectrum that is flat
/// over the symbol rate.
pub fn flux_dbw_m2(eirp_dbw: f64, range_km: f64, symbol_rate_baud: f64, width_hz: f64) -> f64 {
    let sphere_m2 = 4.0 * PI * (range_km * 1e3).powi(2);
    eirp_dbw - decibels(sphere_m2) + decibels((width_hz / symbol_rate_baud).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_rise_between_five_and_twenty_five_degrees() {
        let limit = FluxLimit::of_band(8.2).unwrap();
        for (elevation, dbw_m2) in [(0.0, -150.0), (5.0, -150.0), (15.0, -145.0), (25.0, -140.0)] {
            assert!((limit.at_dbw_m2(elevation) - dbw_m2).abs() < 1e-12);
        }
        assert_eq!(limit.at_dbw_m2(90.0), -140.0);
        assert_eq!(FluxLimit::of_band(5.0), None);
        assert_eq!(FluxLimit::of_band(26.0).unwrap().reference_hz, 1e6);
    }

    #[test]
    fn flux_falls_with_the_square_of_the_distance_and_by_the_width() {
        // 1 W over a sphere of 1 km radius: 7.96e-8 W/m².
        assert!((flux_dbw_m2(0.0, 1.0, 1.0, 1.0) - -70.992_1).abs() < 1e-4);
        let wide = flux_dbw_m2(20.0, 600.0, 25e6, 4e3);
        assert!((flux_dbw_m2(20.0, 1_200.0, 25e6, 4e3) - (wide - 6.020_6)).abs() < 1e-4);
        assert!((flux_dbw_m2(20.0, 600.0, 50e6, 4e3) - (wide - 3.010_3)).abs() < 1e-4);
        // A carrier narrower than the width has all of its power in it.
        assert_eq!(flux_dbw_m2(0.0, 600.0, 1e3, 4e3), flux_dbw_m2(0.0, 600.0, 4e3, 4e3));
    }
}
