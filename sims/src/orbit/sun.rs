//! The Sun's direction and how much of it the Earth hides.

use super::earth::{EQUATOR_KM, days_since_j2000};
use super::vector::{Vector, dot, norm, scale, sub};
use codecs::time::Tai;
use std::f64::consts::PI;

/// One astronomical unit, km.
pub const ASTRONOMICAL_UNIT_KM: f64 = 149_597_870.7;
const SUN_RADIUS_KM: f64 = 695_700.0;

/// The Sun from the earth's centre, km, mean equator and equinox of date: the Astronomical
/// Almanac's low-precision series, good to 0.01 degrees from 1950 to 2050. TEME differs from that
/// frame by the equation of the equinoxes, another 0.005 degrees.
pub fn sun_km(at: Tai) -> Vector {
    let days = days_since_j2000(at);
    let mean_longitude = (280.460 + 0.985_647_4 * days).to_radians();
    let anomaly = (357.528 + 0.985_600_3 * days).to_radians();
    let ecliptic =
        mean_longitude + (1.915 * anomaly.sin() + 0.020 * (2.0 * anomaly).sin()).to_radians();
    let obliquity = (23.439 - 4e-7 * days).to_radians();
    let distance = 1.000_14 - 0.016_71 * anomaly.cos() - 0.000_14 * (2.0 * anomaly).cos();
    let direction =
        [ecliptic.cos(), obliquity.cos() * ecliptic.sin(), obliquity.sin() * ecliptic.sin()];
    scale(direction, distance * ASTRONOMICAL_UNIT_KM)
}

/// Share of the Sun's disc in view, 0 (umbra) to 1: two overlapping discs, the Earth a sphere.
pub fn illumination(position_km: Vector, sun_km: Vector) -> f64 {
    let line = sub(sun_km, position_km);
    let (to_sun, to_earth) = (norm(line), norm(position_km));
    let sun_radius = (SUN_RADIUS_KM / to_sun).asin();
    let earth_radius = (EQUATOR_KM / to_earth).min(1.0).asin();
    let cosine = -dot(line, position_km) / (to_sun * to_earth);
    let apart = cosine.clamp(-1.0, 1.0).acos();
    1.0 - overlap(sun_radius, earth_radius, apart) / (PI * sun_radius * sun_radius)
}

/// Area that two discs share.
fn overlap(a: f64, b: f64, apart: f64) -> f64 {
    if apart >= a + b {
        return 0.0;
    }
    if apart <= (a - b).abs() {
        let small = a.min(b);
        return PI * small * small;
    }
    let cut = (apart * apart + a * a - b * b) / (2.0 * apart);
    let half = (a * a - cut * cut).max(0.0).sqrt();
    a * a * (cut / a).clamp(-1.0, 1.0).acos() + b * b * ((apart - cut) / b).clamp(-1.0, 1.0).acos()
        - apart * half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sun_stands_where_the_almanac_says() {
        // Meeus, example 25.a: 1992-10-13T00:00 TD, right ascension 198.38083, declination
        // -7.78507 degrees.
        let sun = sun_km(Tai::from_rfc3339("1992-10-13T00:00:00Z").unwrap());
        let ascension = sun[1].atan2(sun[0]).to_degrees().rem_euclid(360.0);
        let declination = (sun[2] / norm(sun)).asin().to_degrees();
        assert!((ascension - 198.380_83).abs() < 0.015, "{ascension}");
        assert!((declination - -7.785_07).abs() < 0.015, "{declination}");
    }

    #[test]
    fn shadow_deepens_through_the_penumbra() {
        let sun = [ASTRONOMICAL_UNIT_KM, 0.0, 0.0];
        assert_eq!(illumination([7000.0, 0.0, 0.0], sun), 1.0);
        assert_eq!(illumination([-7000.0, 0.0, 0.0], sun), 0.0);
        let mut last = 0.0;
        for side in (6300..6500).step_by(5) {
            let light = illumination([-3000.0, f64::from(side), 0.0], sun);
            assert!(light >= last - 1e-12, "{side}: {light} after {last}");
            last = light;
        }
        assert!(last > 0.999);
    }
}
