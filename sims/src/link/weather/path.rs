//! One link's way through the air: each effect by elevation and share of the year, and their sum
//! (ITU-R P.618-14 §2.5).

use super::climate::Climate;
use super::rain::RainPath;
use super::scintillation::Scintillation;
use super::{cloud, slant};
use std::sync::OnceLock;

/// The share of a year that the air is at least as bad as, percent, within what P.618 holds for.
pub const PERCENT: std::ops::RangeInclusive<f64> = 0.001..=50.0;
/// Below it P.618 has no say, and gases go layer by layer.
const LOWEST_DEG: f64 = 5.0;
/// P.618's own range of percentages for rain.
const RAIN_PERCENT: (f64, f64) = (0.001, 5.0);
/// And for scintillation.
const SCINTILLATION_PERCENT: (f64, f64) = (0.01, 50.0);

/// What the air is like at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sky {
    /// Gases only.
    Clear,
    /// As bad as it is for this share of a year, percent.
    Exceeded(f64),
    /// Rain and clouds take this much, and unsteady air that much (negative: enhancement), dB.
    Fade {
        /// Rain and clouds.
        wet_db: f64,
        /// Scintillation.
        scintillation_db: f64,
    },
}

/// What each part of the air takes, dB.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Losses {
    /// Oxygen and water vapour.
    pub gas_db: f64,
    /// Rain.
    pub rain_db: f64,
    /// Clouds.
    pub cloud_db: f64,
    /// Scintillation by itself.
    pub scintillation_db: f64,
    /// Whether scintillation adds as a random part (root of squares) or as it is.
    pub at_random: bool,
}

impl Losses {
    /// All of it (P.618 §2.5).
    pub fn total_db(&self) -> f64 {
        self.gas_db + self.rain_db + self.cloud_db + self.added_by_scintillation_db()
    }

    /// What scintillation adds to rain and clouds: less than itself, since it rarely is at its worst
    /// when they are.
    pub fn added_by_scintillation_db(&self) -> f64 {
        if !self.at_random {
            return self.scintillation_db;
        }
        let wet = self.rain_db + self.cloud_db;
        wet.hypot(self.scintillation_db) - wet
    }

    /// What is absorbed, and so glows: all but scintillation.
    pub fn absorbed_db(&self) -> f64 {
        self.gas_db + self.rain_db + self.cloud_db
    }
}

/// What a link is that goes through the air.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beam {
    /// GHz, 1 to 55.
    pub frequency_ghz: f64,
    /// Tilt of the polarisation against the horizontal, degrees; 45 for circular.
    pub tilt_deg: f64,
    /// Diameter of the station's antenna, m.
    pub antenna_m: f64,
    /// Its efficiency, 0 to 1.
    pub efficiency: f64,
}

/// A beam over a place, with what does not change reckoned once.
#[derive(Clone, Debug)]
pub struct AirPath {
    climate: Climate,
    beam: Beam,
    /// Oxygen and water vapour straight up.
    zenith_db: (f64, f64),
    /// Gases at 0 to 5 degrees as multiples of those at 5, logarithms; reckoned when first asked for,
    /// since they take some milliseconds.
    low: OnceLock<[f64; LOWEST_DEG as usize + 1]>,
}

impl AirPath {
    /// Reckons the gases.
    pub fn new(climate: Climate, beam: Beam) -> Self {
        let zenith_db = slant::zenith_db(beam.frequency_ghz, &climate.air);
        Self { climate, beam, zenith_db, low: OnceLock::new() }
    }

    fn low(&self) -> [f64; LOWEST_DEG as usize + 1] {
        let through = |degrees: usize| {
            slant::through_layers_db(
                self.beam.frequency_ghz,
                degrees as f64,
                self.climate.station_km.max(0.0),
                self.climate.air.vapour_g_m3,
            )
        };
        let at_lowest = through(LOWEST_DEG as usize);
        std::array::from_fn(|degrees| (through(degrees) / at_lowest).ln())
    }

    /// The climate of the place.
    pub fn climate(&self) -> &Climate {
        &self.climate
    }

    /// The beam.
    pub fn beam(&self) -> &Beam {
        &self.beam
    }

    /// Oxygen and water vapour straight up, dB.
    pub fn zenith_db(&self) -> (f64, f64) {
        self.zenith_db
    }

    /// What everything takes at an elevation.
    pub fn losses(&self, elevation_deg: f64, sky: Sky) -> Losses {
        let gas_db = self.gas_db(elevation_deg);
        match sky {
            Sky::Clear => Losses { gas_db, ..Losses::default() },
            Sky::Exceeded(percent) => Losses {
                gas_db,
                rain_db: self.rain_db(elevation_deg, percent),
                cloud_db: self.cloud_db(elevation_deg, percent),
                scintillation_db: self.scintillation_db(elevation_deg, percent),
                at_random: true,
            },
            Sky::Fade { wet_db, scintillation_db } => {
                Losses { gas_db, rain_db: wet_db, scintillation_db, ..Losses::default() }
            }
        }
    }

    /// Gases, dB. Below 5 degrees the path bends: by layers, joined to what holds above.
    pub fn gas_db(&self, elevation_deg: f64) -> f64 {
        let zenith = self.zenith_db.0 + self.zenith_db.1;
        if elevation_deg >= LOWEST_DEG {
            return zenith / elevation_deg.to_radians().sin();
        }
        let at = elevation_deg.clamp(0.0, LOWEST_DEG - 1e-9);
        let (row, part) = (at as usize, at.fract());
        let low = self.low.get_or_init(|| self.low());
        let log = low[row] * (1.0 - part) + low[row + 1] * part;
        zenith / LOWEST_DEG.to_radians().sin() * log.exp()
    }

    /// Rain exceeded for a share of the year, dB. P.618 ends at 5 %: beyond it the loss falls with
    /// the logarithm of the share, to nothing where it rains no more.
    pub fn rain_db(&self, elevation_deg: f64, percent: f64) -> f64 {
        let path = self.rain_path(elevation_deg);
        let within = percent.clamp(RAIN_PERCENT.0, RAIN_PERCENT.1);
        let share = self.climate.rain_share_percent.max(RAIN_PERCENT.1 * 1.001);
        let left = ((share / percent.max(within)).ln() / (share / within).ln()).clamp(0.0, 1.0);
        path.exceeded_db(within) * left
    }

    /// The path through rain at an elevation.
    pub fn rain_path(&self, elevation_deg: f64) -> RainPath {
        RainPath {
            frequency_ghz: self.beam.frequency_ghz,
            elevation_deg: elevation_deg.clamp(0.1, 90.0),
            tilt_deg: self.beam.tilt_deg,
            latitude_deg: self.climate.latitude_deg,
            station_km: self.climate.station_km,
            rain_height_km: self.climate.rain_height_km,
            rain_001_mm_h: self.climate.rain_001_mm_h,
        }
    }

    /// Clouds exceeded for a share of the year, dB; what is rarer than 1 % is counted with rain
    /// (P.618-14 §2.5).
    pub fn cloud_db(&self, elevation_deg: f64, percent: f64) -> f64 {
        let liquid = self.climate.cloud.exceeded_kg_m2(percent.max(1.0));
        cloud::attenuation_db(self.beam.frequency_ghz, elevation_deg.max(LOWEST_DEG), liquid)
    }

    /// Scintillation exceeded for a share of the year, dB; that of 5 degrees below.
    pub fn scintillation_db(&self, elevation_deg: f64, percent: f64) -> f64 {
        let (low, high) = SCINTILLATION_PERCENT;
        self.scintillation(elevation_deg).exceeded_db(percent.clamp(low, high)).max(0.0)
    }

    /// The unsteady air at an elevation.
    pub fn scintillation(&self, elevation_deg: f64) -> Scintillation {
        Scintillation {
            frequency_ghz: self.beam.frequency_ghz,
            elevation_deg: elevation_deg.clamp(LOWEST_DEG, 90.0),
            antenna_m: self.beam.antenna_m,
            efficiency: self.beam.efficiency,
            wet_refractivity: self.climate.wet_refractivity,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::climate::Stated;
    use super::*;
    use proptest::prelude::*;

    fn path(frequency_ghz: f64) -> AirPath {
        let beam = Beam { frequency_ghz, tilt_deg: 45.0, antenna_m: 7.3, efficiency: 0.6 };
        AirPath::new(Climate::new(48.0, 0.5, Stated::default()), beam)
    }

    #[test]
    fn a_rarer_sky_takes_more() {
        let path = path(26.0);
        for elevation in [0.0, 2.0, 5.0, 10.0, 45.0, 90.0] {
            let mut before = path.losses(elevation, Sky::Clear).total_db();
            for percent in [49.0, 20.0, 9.0, 7.0, 5.1, 5.0, 4.9, 1.0, 0.3, 0.1, 0.01, 0.001] {
                let now = path.losses(elevation, Sky::Exceeded(percent)).total_db();
                assert!(now >= before - 1e-9, "{elevation} degrees, {percent} %: {now} {before}");
                before = now;
            }
        }
    }

    #[test]
    fn gases_have_no_step_at_five_degrees() {
        let path = path(8.2);
        let (below, above) = (path.gas_db(5.0 - 1e-7), path.gas_db(5.0));
        assert!((below / above - 1.0).abs() < 1e-5, "{below} {above}");
        assert!(path.gas_db(0.0).is_finite() && path.gas_db(0.0) > path.gas_db(1.0));
    }

    #[test]
    fn rain_has_an_end() {
        let path = path(26.0);
        assert_eq!(path.rain_db(20.0, 8.0), 0.0);
        assert!(path.rain_db(20.0, 6.0) > 0.0 && path.rain_db(20.0, 6.0) < path.rain_db(20.0, 5.0));
    }

    #[test]
    fn losses_are_numbers() {
        let path = path(12.0);
        proptest!(|(elevation in -5.0f64..90.0, percent in 0.0001f64..100.0)| {
            let losses = path.losses(elevation, Sky::Exceeded(percent));
            prop_assert!(losses.total_db().is_finite() && losses.total_db() >= 0.0, "{losses:?}");
        });
    }
}
