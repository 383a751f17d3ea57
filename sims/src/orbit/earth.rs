//! The turning ellipsoid: sidereal time, TEME to earth-fixed, WGS-84.

use super::elements::State;
use super::eop::cubic;
use super::vector::{Vector, add, cross};
use codecs::time::Tai;
use std::f64::consts::TAU;

/// Equatorial radius of WGS-84, km.
pub const EQUATOR_KM: f64 = 6378.137;
/// Flattening of WGS-84.
pub const FLATTENING: f64 = 1.0 / 298.257_223_563;
/// Modified Julian Date of 2000-01-01T12:00.
const J2000_MJD: f64 = 51_544.5;
/// Modified Julian Date of 1970-01-01.
const UNIX_MJD: i64 = 40_587;
const DAY_NANOS: i64 = 86_400_000_000_000;

/// UT1 minus UTC in 0.1 ms, every five days from MJD 59945 (2023-01-01): IERS Bulletin A of
/// 2026-11-02, predicted from MJD 61336 on.
#[rustfmt::skip]
const UT1_MINUS_UTC: [i16; 353] = [
    -199, -185, -170, -177, -162, -157, -152, -119, -115, -123, -116, -151, -151, -154, -191, -200,
    -230, -254, -244, -265, -290, -298, -340, -338, -343, -373, -384, -431, -464, -451, -458, -454,
    -440, -447, -411, -381, -367, -326, -307, -266, -210, -194, -165, -139, -134, -82, -46, -21, 25,
    19, 44, 85, 94, 119, 136, 113, 139, 143, 134, 145, 115, 117, 130, 109, 109, 107, 95, 120, 120,
    114, 126, 94, 85, 88, 69, 78, 72, 56, 69, 49, 32, 32, -17, -25, -18, -34, -26, -54, -93, -94,
    -124, -145, -137, -175, -172, -171, -192, -180, -195, -214, -199, -209, -207, -195, -219, -196,
    -170, -140, -77, -47, -5, 70, 112, 162, 209, 221, 279, 327, 368, 431, 445, 476, 524, 540, 572,
    592, 567, 587, 590, 589, 605, 566, 550, 557, 536, 546, 545, 513, 524, 505, 495, 511, 489, 484,
    480, 455, 460, 453, 425, 444, 442, 455, 480, 457, 466, 468, 455, 472, 456, 432, 443, 424, 417,
    419, 375, 372, 358, 333, 343, 326, 296, 303, 287, 291, 306, 279, 285, 288, 293, 336, 350, 368,
    422, 449, 504, 556, 563, 600, 614, 636, 698, 720, 745, 793, 814, 856, 888, 876, 901, 899, 904,
    935, 922, 926, 948, 935, 941, 931, 885, 880, 849, 836, 842, 798, 774, 765, 748, 768, 769, 742,
    744, 718, 721, 743, 715, 706, 693, 671, 692, 690, 664, 672, 641, 627, 616, 565, 548, 519, 481,
    476, 441, 393, 378, 336, 321, 317, 272, 255, 217, 181, 177, 148, 118, 122, 111, 134, 147, 117,
    118, 99, 97, 127, 118, 107, 111, 72, 70, 59, 17, 7, -39, -85, -114, -178, -231, -273, -343,
    -378, -429, -507, -548, -623, -680, -714, -787, -850, -906, -978, -1009, -1052, -1118, -1155,
    -1224, -1262, -1282, -1336, -1377, -1423, -1482, -1498, -1537, -1594, -1628, -1703, -1748,
    -1780, -1849, -1896, -1954, -2027, -2058, -2111, -2174, -2212, -2291, -2351, -2415, -2493,
    -2516, -2539, -2560, -2538, -2531, -2528, -2498, -2502, -2469, -2421, -2391, -2336, -2305,
    -2261, -2190, -2153, -2123, -2085, -2081, -2029, -1989, -1983, -1955, -1959, -1954, -1921,
    -1923, -1926, -1932, -1983, -1983, -1990, -2022, -2025, -2063,
];
const UT1_FIRST_MJD: f64 = 59_945.0;
const UT1_STEP_DAYS: f64 = 5.0;

/// UT1 minus UTC in seconds: cubic through the four nearest entries (tides of two weeks pull a
/// straight line off by 1.2 ms, this by 0.8 ms at most), zero outside the table. What is predicted
/// is worse: 25 ms, one sigma, in a year.
pub fn ut1_minus_utc_s(mjd_utc: f64) -> f64 {
    let at = (mjd_utc - UT1_FIRST_MJD) / UT1_STEP_DAYS;
    if !(1.0..(UT1_MINUS_UTC.len() - 2) as f64).contains(&at) {
        return 0.0;
    }
    let (index, t) = (at as usize, at.fract());
    let [a, b, c, d] = [0, 1, 2, 3].map(|step| f64::from(UT1_MINUS_UTC[index - 1 + step]));
    cubic([a, b, c, d], t) * 1e-4
}

/// Whether the table of UT1 covers an instant.
pub fn ut1_is_known(at: Tai) -> bool {
    let (day, part) = mjd_utc(at);
    let at = (day as f64 + part - UT1_FIRST_MJD) / UT1_STEP_DAYS;
    (1.0..(UT1_MINUS_UTC.len() - 2) as f64).contains(&at)
}

/// Days of UTC since MJD 0, as whole days and the part of the day.
pub fn mjd_utc(at: Tai) -> (i64, f64) {
    let nanos = at.to_unix_nanos();
    (UNIX_MJD + nanos.div_euclid(DAY_NANOS), nanos.rem_euclid(DAY_NANOS) as f64 / DAY_NANOS as f64)
}

/// Days since J2000, for series that don't feel the difference between time scales.
pub fn days_since_j2000(at: Tai) -> f64 {
    let (day, part) = mjd_utc(at);
    day as f64 - J2000_MJD + part
}

/// Greenwich mean sidereal time of 1982, radians: the angle between TEME and the earth.
pub fn sidereal_angle(at: Tai) -> f64 {
    let (day, part) = mjd_utc(at);
    sidereal_angle_with(at, ut1_minus_utc_s(day as f64 + part))
}

/// The same by a UT1 minus UTC that is known better.
pub fn sidereal_angle_with(at: Tai, ut1_minus_utc_s: f64) -> f64 {
    let (day, part) = mjd_utc(at);
    let part = part + ut1_minus_utc_s / 86_400.0;
    // The day's own turn stays apart from the slow terms: it carries nine more digits.
    let centuries = (day as f64 - J2000_MJD + part) / 36_525.0;
    let slow_s = 67_310.548_41
        + centuries * (8_640_184.812_866 + centuries * (0.093_104 - centuries * 6.2e-6));
    // Whole days since J2000 are half a turn off, since J2000 is a noon.
    let turns = (slow_s / 86_400.0).fract() + part + 0.5;
    turns.rem_euclid(1.0) * TAU
}

/// The earth's turning rate in radians a second, mean sidereal.
pub const ROTATION_RAD_S: f64 = 7.292_115_855_3e-5;

/// Turns a vector about the polar axis into the earth's frame.
pub fn to_earth(teme: Vector, angle: f64) -> Vector {
    let (sin, cos) = angle.sin_cos();
    [cos * teme[0] + sin * teme[1], cos * teme[1] - sin * teme[0], teme[2]]
}

/// Turns a vector of the earth's frame back into TEME.
pub fn from_earth(fixed: Vector, angle: f64) -> Vector {
    to_earth(fixed, -angle)
}

/// Position and velocity as an observer on the turning earth sees them.
pub fn earth_fixed(teme: State, at: Tai) -> State {
    turned(teme, sidereal_angle(at))
}

/// The same by the earth's angle.
pub fn turned(teme: State, angle: f64) -> State {
    let position_km = to_earth(teme.position_km, angle);
    let velocity_km_s =
        add(to_earth(teme.velocity_km_s, angle), cross([0.0, 0.0, -ROTATION_RAD_S], position_km));
    State { position_km, velocity_km_s }
}

/// A state of the earth's frame as seen from one that does not turn.
pub fn unturned(fixed: State, angle: f64) -> State {
    let State { position_km, velocity_km_s } = fixed;
    let turning = cross([0.0, 0.0, ROTATION_RAD_S], position_km);
    State {
        position_km: from_earth(position_km, angle),
        velocity_km_s: from_earth(add(velocity_km_s, turning), angle),
    }
}

/// A vector of the earth's frame as the pole's place of the day has it, radians: up to 10 m on the
/// ground.
pub fn on_the_crust(fixed: Vector, [x, y]: [f64; 2]) -> Vector {
    [fixed[0] + x * fixed[2], fixed[1] - y * fixed[2], fixed[2] - x * fixed[0] + y * fixed[1]]
}

/// A place on or above the WGS-84 ellipsoid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geodetic {
    /// Degrees, north positive.
    pub latitude_deg: f64,
    /// Degrees, east positive, -180 to 180.
    pub longitude_deg: f64,
    /// Metres above the ellipsoid.
    pub height_m: f64,
}

impl Geodetic {
    /// Earth-fixed coordinates, km.
    pub fn to_fixed(self) -> Vector {
        let (sin_lat, cos_lat) = self.latitude_deg.to_radians().sin_cos();
        let (sin_lon, cos_lon) = self.longitude_deg.to_radians().sin_cos();
        let square = FLATTENING * (2.0 - FLATTENING);
        let normal = EQUATOR_KM / (1.0 - square * sin_lat * sin_lat).sqrt();
        let height = self.height_m / 1000.0;
        let ring = (normal + height) * cos_lat;
        [ring * cos_lon, ring * sin_lon, (normal * (1.0 - square) + height) * sin_lat]
    }

    /// The place under and its height, by the fixed-point iteration on latitude: five rounds leave
    /// less than a micrometre anywhere outside the earth's core.
    pub fn from_fixed(fixed: Vector) -> Self {
        let square = FLATTENING * (2.0 - FLATTENING);
        let ring = fixed[0].hypot(fixed[1]);
        let mut latitude = fixed[2].atan2(ring * (1.0 - square));
        let mut normal = EQUATOR_KM;
        for _ in 0..5 {
            let sin = latitude.sin();
            normal = EQUATOR_KM / (1.0 - square * sin * sin).sqrt();
            latitude = (fixed[2] + square * normal * sin).atan2(ring);
        }
        // Along the normal; holds at the poles, where the ring vanishes.
        let (sin, cos) = latitude.sin_cos();
        let height_km = ring * cos + (fixed[2] + square * normal * sin) * sin - normal;
        Self {
            latitude_deg: latitude.to_degrees(),
            longitude_deg: fixed[1].atan2(fixed[0]).to_degrees(),
            height_m: height_km * 1000.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sidereal_time_matches_the_almanac() {
        // Meeus, Astronomical Algorithms, example 12.b: 1987-04-10T19:21:00 UT1, 8h34m57.0896s.
        let at = Tai::from_rfc3339("1987-04-10T19:21:00Z").unwrap();
        let hours = sidereal_angle(at) / TAU * 24.0;
        let expected = 8.0 + 34.0 / 60.0 + 57.0896 / 3600.0;
        assert!((hours - expected).abs() * 3600.0 < 1e-3, "{hours} against {expected}");
    }

    #[test]
    fn ut1_stays_within_its_table() {
        assert_eq!(ut1_minus_utc_s(50_000.0), 0.0);
        assert_eq!(ut1_minus_utc_s(99_999.0), 0.0);
        assert!((ut1_minus_utc_s(60_437.0) - -0.0211).abs() < 0.001);
    }

    proptest! {
        #[test]
        fn places_round_trip(
            latitude_deg in -90.0f64..90.0,
            longitude_deg in -179.9f64..179.9,
            height_m in -5_000.0f64..40_000_000.0,
        ) {
            let place = Geodetic { latitude_deg, longitude_deg, height_m };
            let back = Geodetic::from_fixed(place.to_fixed());
            prop_assert!((back.latitude_deg - latitude_deg).abs() < 1e-9);
            prop_assert!((back.longitude_deg - longitude_deg).abs() < 1e-9);
            prop_assert!((back.height_m - height_m).abs() < 1e-3);
        }
    }
}
