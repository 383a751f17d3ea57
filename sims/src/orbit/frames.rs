//! From the mean equator and equinox of J2000 to TEME: precession of 1976, nutation of 1980, and
//! the equation of the equinoxes, as SGP4's frame wants them.
//!
//! GCRF and ICRF stand within 0.03 arc seconds of EME2000 and are taken as the same: a metre in a
//! low orbit, six in a geostationary one.

use codecs::time::Tai;

use super::{
    earth::days_since_j2000,
    vector::{Vector, dot},
};

/// Multiples of the Moon's and the Sun's anomaly, the Moon's argument of latitude, elongation and
/// node, then longitude and its change a century, obliquity and its change, in 0.1 milliarcseconds:
/// the series of 1980 down to 0.3 milliarcseconds (10 mm in a low orbit).
#[rustfmt::skip]
const NUTATION: [([i8; 5], [f64; 4]); 62] = [
    ([0, 0, 0, 0, 1], [-171_996.0, -174.2, 92_025.0, 8.9]),
    ([0, 0, 2, -2, 2], [-13_187.0, -1.6, 5_736.0, -3.1]),
    ([0, 0, 2, 0, 2], [-2_274.0, -0.2, 977.0, -0.5]),
    ([0, 0, 0, 0, 2], [2_062.0, 0.2, -895.0, 0.5]),
    ([0, 1, 0, 0, 0], [1_426.0, -3.4, 54.0, -0.1]),
    ([1, 0, 0, 0, 0], [712.0, 0.1, -7.0, 0.0]),
    ([0, 1, 2, -2, 2], [-517.0, 1.2, 224.0, -0.6]),
    ([0, 0, 2, 0, 1], [-386.0, -0.4, 200.0, 0.0]),
    ([1, 0, 2, 0, 2], [-301.0, 0.0, 129.0, -0.1]),
    ([0, -1, 2, -2, 2], [217.0, -0.5, -95.0, 0.3]),
    ([1, 0, 0, -2, 0], [-158.0, 0.0, -1.0, 0.0]),
    ([0, 0, 2, -2, 1], [129.0, 0.1, -70.0, 0.0]),
    ([-1, 0, 2, 0, 2], [123.0, 0.0, -53.0, 0.0]),
    ([0, 0, 0, 2, 0], [63.0, 0.0, -2.0, 0.0]),
    ([1, 0, 0, 0, 1], [63.0, 0.1, -33.0, 0.0]),
    ([-1, 0, 2, 2, 2], [-59.0, 0.0, 26.0, 0.0]),
    ([-1, 0, 0, 0, 1], [-58.0, -0.1, 32.0, 0.0]),
    ([1, 0, 2, 0, 1], [-51.0, 0.0, 27.0, 0.0]),
    ([2, 0, 0, -2, 0], [48.0, 0.0, 1.0, 0.0]),
    ([-2, 0, 2, 0, 1], [46.0, 0.0, -24.0, 0.0]),
    ([0, 0, 2, 2, 2], [-38.0, 0.0, 16.0, 0.0]),
    ([2, 0, 2, 0, 2], [-31.0, 0.0, 13.0, 0.0]),
    ([2, 0, 0, 0, 0], [29.0, 0.0, -1.0, 0.0]),
    ([1, 0, 2, -2, 2], [29.0, 0.0, -12.0, 0.0]),
    ([0, 0, 2, 0, 0], [26.0, 0.0, -1.0, 0.0]),
    ([0, 0, 2, -2, 0], [-22.0, 0.0, 0.0, 0.0]),
    ([-1, 0, 2, 0, 1], [21.0, 0.0, -10.0, 0.0]),
    ([0, 2, 0, 0, 0], [17.0, -0.1, 0.0, 0.0]),
    ([0, 2, 2, -2, 2], [-16.0, 0.1, 7.0, 0.0]),
    ([-1, 0, 0, 2, 1], [16.0, 0.0, -8.0, 0.0]),
    ([0, 1, 0, 0, 1], [-15.0, 0.0, 9.0, 0.0]),
    ([1, 0, 0, -2, 1], [-13.0, 0.0, 7.0, 0.0]),
    ([0, -1, 0, 0, 1], [-12.0, 0.0, 6.0, 0.0]),
    ([2, 0, -2, 0, 0], [11.0, 0.0, 0.0, 0.0]),
    ([-1, 0, 2, 2, 1], [-10.0, 0.0, 5.0, 0.0]),
    ([1, 0, 2, 2, 2], [-8.0, 0.0, 3.0, 0.0]),
    ([0, -1, 2, 0, 2], [-7.0, 0.0, 3.0, 0.0]),
    ([0, 0, 2, 2, 1], [-7.0, 0.0, 3.0, 0.0]),
    ([1, 1, 0, -2, 0], [-7.0, 0.0, 0.0, 0.0]),
    ([0, 1, 2, 0, 2], [7.0, 0.0, -3.0, 0.0]),
    ([-2, 0, 0, 2, 1], [-6.0, 0.0, 3.0, 0.0]),
    ([0, 0, 0, 2, 1], [-6.0, 0.0, 3.0, 0.0]),
    ([2, 0, 2, -2, 2], [6.0, 0.0, -3.0, 0.0]),
    ([1, 0, 0, 2, 0], [6.0, 0.0, 0.0, 0.0]),
    ([1, 0, 2, -2, 1], [6.0, 0.0, -3.0, 0.0]),
    ([0, 0, 0, -2, 1], [-5.0, 0.0, 3.0, 0.0]),
    ([0, -1, 2, -2, 1], [-5.0, 0.0, 3.0, 0.0]),
    ([2, 0, 2, 0, 1], [-5.0, 0.0, 3.0, 0.0]),
    ([1, -1, 0, 0, 0], [5.0, 0.0, 0.0, 0.0]),
    ([1, 0, 0, -1, 0], [-4.0, 0.0, 0.0, 0.0]),
    ([0, 0, 0, 1, 0], [-4.0, 0.0, 0.0, 0.0]),
    ([0, 1, 0, -2, 0], [-4.0, 0.0, 0.0, 0.0]),
    ([1, 0, -2, 0, 0], [4.0, 0.0, 0.0, 0.0]),
    ([2, 0, 0, -2, 1], [4.0, 0.0, -2.0, 0.0]),
    ([0, 1, 2, -2, 1], [4.0, 0.0, -2.0, 0.0]),
    ([1, 1, 0, 0, 0], [-3.0, 0.0, 0.0, 0.0]),
    ([1, -1, 0, -1, 0], [-3.0, 0.0, 0.0, 0.0]),
    ([-1, -1, 2, 2, 2], [-3.0, 0.0, 1.0, 0.0]),
    ([0, -1, 2, 2, 2], [-3.0, 0.0, 1.0, 0.0]),
    ([1, -1, 2, 0, 2], [-3.0, 0.0, 1.0, 0.0]),
    ([3, 0, 2, 0, 2], [-3.0, 0.0, 1.0, 0.0]),
    ([-2, 0, 2, 0, 2], [-3.0, 0.0, 1.0, 0.0]),
];

const ARCSEC: f64 = std::f64::consts::PI / 648_000.0;
/// TT minus UTC now, in days; a second changes nothing here.
const TT_MINUS_UTC_DAYS: f64 = 69.2 / 86_400.0;

type Matrix = [Vector; 3];

/// Rotation of the axes about axis 0, 1 or 2.
fn about(axis: usize, angle: f64) -> Matrix {
    let (sin, cos) = angle.sin_cos();
    let mut rows = [[0.0; 3]; 3];
    let (next, last) = ((axis + 1) % 3, (axis + 2) % 3);
    rows[axis][axis] = 1.0;
    (rows[next][next], rows[next][last]) = (cos, sin);
    (rows[last][last], rows[last][next]) = (cos, -sin);
    rows
}

fn turn(rows: Matrix, of: Vector) -> Vector {
    rows.map(|row| dot(row, of))
}

/// What takes vectors of EME2000 to TEME at an instant.
#[derive(Clone, Copy, Debug)]
pub struct ToTeme([Matrix; 7]);

impl ToTeme {
    /// Prepares an instant.
    pub fn at(at: Tai) -> Self {
        let t = (days_since_j2000(at) + TT_MINUS_UTC_DAYS) / 36_525.0;
        // Lieske and others (1977).
        let zeta = t * (2_306.218_1 + t * (0.301_88 + t * 0.017_998)) * ARCSEC;
        let z = t * (2_306.218_1 + t * (1.094_68 + t * 0.018_203)) * ARCSEC;
        let theta = t * (2_004.310_9 - t * (0.426_65 + t * 0.041_833)) * ARCSEC;
        let mean = (84_381.448 - t * (46.815 + t * (0.000_59 - t * 0.001_813))) * ARCSEC;
        let (longitude, obliquity) = nutation(t);
        Self([
            about(2, -zeta),
            about(1, theta),
            about(2, -z),
            about(0, mean),
            about(2, -longitude),
            about(0, -mean - obliquity),
            about(2, longitude * mean.cos()),
        ])
    }

    /// Turns a vector.
    pub fn apply(&self, of: Vector) -> Vector {
        self.0.iter().fold(of, |of, rows| turn(*rows, of))
    }
}

/// Nutation in longitude and obliquity, radians.
fn nutation(t: f64) -> (f64, f64) {
    let angle = |degrees: f64, arcsec: f64, square: f64| {
        (degrees.rem_euclid(360.0) * 3600.0 + t * (arcsec + t * square)).rem_euclid(1_296_000.0)
            * ARCSEC
    };
    let turns = 1_296_000.0;
    let arguments = [
        angle(134.962_981_389, 1_325.0 * turns + 715_922.633, 31.310),
        angle(357.527_723_333, 99.0 * turns + 1_292_581.224, -0.577),
        angle(93.271_910_278, 1_342.0 * turns + 295_263.137, -13.257),
        angle(297.850_363_056, 1_236.0 * turns + 1_105_601.328, -6.891),
        angle(125.044_522_222, -5.0 * turns - 482_890.539, 7.455),
    ];
    let (mut longitude, mut obliquity) = (0.0, 0.0);
    for (multiples, [psi, psi_t, epsilon, epsilon_t]) in &NUTATION {
        let parts = multiples.iter().zip(&arguments);
        let argument: f64 = parts.map(|(multiple, of)| f64::from(*multiple) * of).sum();
        longitude += (psi + psi_t * t) * argument.sin();
        obliquity += (epsilon + epsilon_t * t) * argument.cos();
    }
    (longitude * 1e-4 * ARCSEC, obliquity * 1e-4 * ARCSEC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orbit::vector::{norm, sub};

    #[test]
    fn the_example_of_the_report_is_met() {
        // Vallado and others, AIAA 2006-6753, appendix C: 2004-04-06T07:51:28.386009Z.
        let at = Tai::from_rfc3339("2004-04-06T07:51:28.386009Z").unwrap();
        let to = ToTeme::at(at);
        for (j2000, teme, off) in [
            (
                [5_102.509_600_0, 6_123.011_520_0, 6_378.136_300_0],
                [5_094.180_162_10, 6_127.644_659_50, 6_380.344_532_70],
                1e-3,
            ),
            (
                [-4.743_219_6, 0.790_536_6, 5.533_756_19],
                [-4.746_131_487, 0.785_818_041, 5.531_931_288],
                1e-6,
            ),
        ] {
            let found = to.apply(j2000);
            assert!(norm(sub(found, teme)) < off, "{found:?} against {teme:?}");
        }
    }
}
