//! The sending end: power, feed, antenna and where it points.

use crate::link::antenna::{Dish, Polarisation};

/// Radius of the earth that angles at the satellite are reckoned with, km.
const EARTH_KM: f64 = 6_371.0;

/// How strong a satellite sends.
#[derive(Clone, Debug, PartialEq)]
pub enum Power {
    /// As one number, pointing and feed included, dBW.
    Eirp(f64),
    /// By its parts.
    Parts {
        /// At the amplifier's output, dBW.
        power_dbw: f64,
        /// Between amplifier and antenna, dB.
        feed_loss_db: f64,
        /// The antenna.
        antenna: Antenna,
    },
}

/// A satellite's antenna.
#[derive(Clone, Debug, PartialEq)]
pub enum Antenna {
    /// One gain towards the station, dBi, less what pointing costs, dB.
    Gain(f64, f64),
    /// A dish that follows the station with an error, degrees.
    Dish(Dish, f64),
    /// Fixed to the nadir: gain in dBi by the angle from it in degrees, rising; straight between.
    Nadir(Vec<(f64, f64)>),
}

/// A sending satellite.
#[derive(Clone, Debug, PartialEq)]
pub struct Transmitter {
    /// GHz.
    pub frequency_ghz: f64,
    /// How strong.
    pub power: Power,
    /// How round.
    pub polarisation: Polarisation,
}

/// Gain towards the station and what pointing costs, dB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Towards {
    /// Gain, dBi.
    pub gain_dbi: f64,
    /// Loss by pointing, dB.
    pub pointing_db: f64,
    /// Angle from the nadir, degrees.
    pub nadir_deg: f64,
}

impl Antenna {
    /// The antenna seen by a station at an elevation and a distance.
    pub fn towards(&self, frequency_ghz: f64, elevation_deg: f64, range_km: f64) -> Towards {
        let nadir_deg = nadir_angle_deg(elevation_deg, range_km);
        match self {
            Self::Gain(gain_dbi, pointing_db) => {
                Towards { gain_dbi: *gain_dbi, pointing_db: *pointing_db, nadir_deg }
            }
            Self::Dish(dish, error_deg) => Towards {
                gain_dbi: dish.gain_dbi(frequency_ghz),
                pointing_db: dish.pointing_db(frequency_ghz, *error_deg),
                nadir_deg,
            },
            Self::Nadir(pattern) => {
                Towards { gain_dbi: between(pattern, nadir_deg), pointing_db: 0.0, nadir_deg }
            }
        }
    }
}

/// Angle at the satellite between the earth's centre and the station, degrees.
pub fn nadir_angle_deg(elevation_deg: f64, range_km: f64) -> f64 {
    let (sin, cos) = elevation_deg.to_radians().sin_cos();
    // From the satellite, the station is EARTH cos(e) across and the range and EARTH sin(e) along.
    (EARTH_KM * cos).atan2(range_km + EARTH_KM * sin).to_degrees()
}

/// Distance of a satellite at a height, seen at an elevation from the sea, km.
pub fn range_km(elevation_deg: f64, height_km: f64) -> f64 {
    let (sin, cos) = elevation_deg.to_radians().sin_cos();
    let orbit = EARTH_KM + height_km;
    (orbit * orbit - (EARTH_KM * cos).powi(2)).sqrt() - EARTH_KM * sin
}

/// Straight between points that rise, flat beyond them.
pub fn between(points: &[(f64, f64)], at: f64) -> f64 {
    let after = points.partition_point(|point| point.0 <= at);
    match (after.checked_sub(1).and_then(|before| points.get(before)), points.get(after)) {
        (Some(low), Some(high)) => low.1 + (high.1 - low.1) * (at - low.0) / (high.0 - low.0),
        (Some(only), None) | (None, Some(only)) => only.1,
        (None, None) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triangles_close() {
        for height in [400.0, 1_200.0, 35_786.0] {
            assert!((range_km(90.0, height) - height).abs() < 1e-9);
            assert!(nadir_angle_deg(90.0, height).abs() < 1e-9);
            for elevation in [0.0f64, 5.0, 30.0, 70.0] {
                let range = range_km(elevation, height);
                let nadir = nadir_angle_deg(elevation, range).to_radians();
                // The law of sines gives the same angle.
                let sine = EARTH_KM / (EARTH_KM + height) * elevation.to_radians().cos();
                assert!((nadir.sin() - sine).abs() < 1e-12, "{height} km, {elevation}");
            }
        }
    }

    #[test]
    fn a_pattern_is_straight_between_its_points() {
        let isoflux = Antenna::Nadir(vec![(0.0, 0.0), (60.0, 6.0), (65.0, 4.0)]);
        let overhead = isoflux.towards(8.2, 90.0, 550.0);
        assert!(overhead.gain_dbi.abs() < 1e-9 && overhead.nadir_deg < 1e-9);
        let low = isoflux.towards(8.2, 15.0, range_km(15.0, 550.0));
        assert!(low.nadir_deg > 60.0 && low.gain_dbi < 6.0 && low.gain_dbi > 4.0);
        assert_eq!(between(&[(0.0, 1.0)], 9.0), 1.0);
        assert_eq!(between(&[(5.0, 1.0), (6.0, 3.0)], 0.0), 1.0);
    }
}
