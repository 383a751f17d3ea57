//! Where a pixel of an image lies on the Earth.

use std::f64::consts::TAU;

/// Semi-major axis of WGS 84, metres.
const SEMI_MAJOR_M: f64 = 6_378_137.0;
/// Flattening of WGS 84.
const FLATTENING: f64 = 1.0 / 298.257_223_563;
/// Scale on the central meridian, easting there, and northing of the equator seen from the south.
const UTM: (f64, f64, f64) = (0.9996, 500_000.0, 10_000_000.0);

/// What an image's map coordinates mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grid {
    /// Longitude and latitude in degrees (EPSG:4326).
    Degrees,
    /// Universal Transverse Mercator on WGS 84 (EPSG:32601 to 32660, 32701 to 32760).
    Utm {
        /// Zone, 1 to 60.
        zone: u8,
        /// Whether northings count from ten million at the equator.
        south: bool,
    },
}

impl Grid {
    /// Reads an EPSG code; none for one that is not known here.
    pub fn from_epsg(code: u32) -> Option<Self> {
        let zone = (code % 100) as u8;
        match (code / 100, zone) {
            (43, 26) => Some(Self::Degrees),
            (326, 1..=60) => Some(Self::Utm { zone, south: false }),
            (327, 1..=60) => Some(Self::Utm { zone, south: true }),
            _ => None,
        }
    }

    /// Latitude and longitude in degrees.
    pub fn degrees(self, x: f64, y: f64) -> [f64; 2] {
        match self {
            Self::Degrees => [y, x],
            Self::Utm { zone, south } => utm(zone, south, x, y),
        }
    }
}

/// Krüger's series to the third order: under a millimetre within a zone.
fn utm(zone: u8, south: bool, easting: f64, northing: f64) -> [f64; 2] {
    let n = FLATTENING / (2.0 - FLATTENING);
    let (n2, n3) = (n * n, n * n * n);
    let (scale, false_easting, false_northing) = UTM;
    let radius = scale * SEMI_MAJOR_M / (1.0 + n) * (1.0 + n2 / 4.0 + n2 * n2 / 64.0);
    let xi = (northing - if south { false_northing } else { 0.0 }) / radius;
    let eta = (easting - false_easting) / radius;
    let beta =
        [n / 2.0 - 2.0 * n2 / 3.0 + 37.0 * n3 / 96.0, n2 / 48.0 + n3 / 15.0, 17.0 * n3 / 480.0];
    let (mut along, mut across) = (xi, eta);
    for (order, beta) in (1..).zip(beta) {
        let twice = 2.0 * f64::from(order);
        along -= beta * (twice * xi).sin() * (twice * eta).cosh();
        across -= beta * (twice * xi).cos() * (twice * eta).sinh();
    }
    let chi = (along.sin() / across.cosh()).asin();
    let delta =
        [2.0 * n - 2.0 * n2 / 3.0 - 2.0 * n3, 7.0 * n2 / 3.0 - 8.0 * n3 / 5.0, 56.0 * n3 / 15.0];
    let latitude = (1..).zip(delta).fold(chi, |latitude, (order, delta)| {
        latitude + delta * (2.0 * f64::from(order) * chi).sin()
    });
    let central = f64::from(zone) * 6.0 - 183.0;
    [latitude / TAU * 360.0, central + across.sinh().atan2(along.cos()) / TAU * 360.0]
}

/// Where an image lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Placed {
    /// On a map: x and y are `at` plus column and row times their steps.
    Map {
        /// What x and y mean.
        grid: Grid,
        /// `[x0, x by column, x by row, y0, y by column, y by row]` from the upper left corner.
        transform: [f64; 6],
    },
    /// Between corners: upper left, upper right, lower right, lower left; latitude and longitude in
    /// degrees.
    Corners([[f64; 2]; 4]),
}

impl Placed {
    /// Latitude and longitude of a point, in parts of the image and in pixels; none where they are
    /// no place on the Earth.
    pub fn degrees(&self, column: f64, row: f64, width: f64, height: f64) -> Option<[f64; 2]> {
        let place = match self {
            Self::Map { grid, transform: [x0, xc, xr, y0, yc, yr] } => {
                grid.degrees(x0 + xc * column + xr * row, y0 + yc * column + yr * row)
            }
            Self::Corners([a, b, c, d]) => {
                let (u, v) = (column / width, row / height);
                std::array::from_fn(|axis| {
                    let of = |corner: &[f64; 2]| corner.get(axis).copied().unwrap_or(f64::NAN);
                    let top = of(a) * (1.0 - u) + of(b) * u;
                    let bottom = of(d) * (1.0 - u) + of(c) * u;
                    top * (1.0 - v) + bottom * v
                })
            }
        };
        let [latitude, longitude] = place;
        let on_earth = latitude.abs() <= 90.0 && longitude.abs() <= 360.0;
        on_earth.then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: [f64; 2], wanted: [f64; 2], within: f64) {
        let far = (found[0] - wanted[0]).abs().max((found[1] - wanted[1]).abs());
        assert!(far < within, "{found:?}, not {wanted:?}");
    }

    #[test]
    fn known_places_come_out_where_they_are() {
        let of = |code, x, y| Grid::from_epsg(code).unwrap().degrees(x, y);
        near(of(4326, 11.08, 47.88), [47.88, 11.08], 1e-12);
        near(of(32631, 500_000.0, 0.0), [0.0, 3.0], 1e-12);
        // The meridian's arc from the equator to 45 degrees is 4,984,944.378 m.
        near(of(32631, 500_000.0, 0.9996 * 4_984_944.378), [45.0, 3.0], 1e-8);
        // Toronto's CN Tower: 43°38'33.24" N, 79°23'13.7" W is 17T 630084 4833438, to the metre.
        near(of(32617, 630_084.0, 4_833_438.0), [43.642_567, -79.387_139], 1.5e-5);
        let [south, _] = of(32717, 630_084.0, 10_000_000.0 - 4_833_438.0);
        assert!((south + 43.642_567).abs() < 1.5e-5, "the south mirrors the north");
        for unknown in [0, 4325, 31985, 32600, 32661, 32761, u32::MAX] {
            assert_eq!(Grid::from_epsg(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn corners_are_where_they_were_told_and_nonsense_is_no_place() {
        let corners = [[10.0, 20.0], [10.0, 24.0], [6.0, 24.0], [6.0, 20.0]];
        let placed = Placed::Corners(corners);
        assert_eq!(placed.degrees(0.0, 0.0, 8.0, 8.0), Some([10.0, 20.0]));
        assert_eq!(placed.degrees(8.0, 8.0, 8.0, 8.0), Some([6.0, 24.0]));
        assert_eq!(placed.degrees(4.0, 4.0, 8.0, 8.0), Some([8.0, 22.0]));
        let map = |transform| Placed::Map { grid: Grid::Degrees, transform };
        for wild in [f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(map([wild; 6]).degrees(1.0, 1.0, 8.0, 8.0), None);
        }
        let utm = Placed::Map { grid: Grid::Utm { zone: 1, south: false }, transform: [1e300; 6] };
        assert_eq!(utm.degrees(1.0, 1.0, 8.0, 8.0), None);
    }
}
