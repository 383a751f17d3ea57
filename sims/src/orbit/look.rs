//! The sky over one place: azimuth, elevation, range and how fast it changes.

use super::earth::{Geodetic, earth_fixed, sidereal_angle, to_earth};
use super::elements::{ElementSet, ElementsError, State};
use super::sun::sun_km;
use super::vector::{Vector, dot, norm, sub};
use codecs::time::Tai;
use std::str::FromStr;
use thiserror::Error;

/// A place with an antenna.
#[derive(Clone, Debug, PartialEq)]
pub struct Station {
    /// What people call it.
    pub name: String,
    /// Where it stands.
    pub place: Geodetic,
    fixed_km: Vector,
    /// Rows: east, north, up.
    axes: [Vector; 3],
    /// Degrees of azimuth, rising, and of elevation.
    horizon: Vec<(f64, f64)>,
}

/// Why a station's text was refused.
#[derive(Debug, Error, PartialEq)]
#[error("station '{text}': {reason}; expected 'NAME,LATITUDE,LONGITUDE,HEIGHT_M'")]
pub struct StationError {
    text: String,
    reason: &'static str,
}

/// Why a horizon was refused.
#[derive(Debug, Error, PartialEq)]
pub enum HorizonError {
    /// A point that is nowhere.
    #[error("point {at} of the horizon: azimuth is 0 to 360 degrees, elevation -90 to below 90")]
    Range {
        /// Which, from 0.
        at: usize,
    },
    /// Two elevations at one azimuth.
    #[error("the horizon has two elevations at one azimuth")]
    Twice,
}

impl Station {
    /// Prepares the local axes.
    pub fn new(name: impl Into<String>, place: Geodetic) -> Self {
        let (sin_lat, cos_lat) = place.latitude_deg.to_radians().sin_cos();
        let (sin_lon, cos_lon) = place.longitude_deg.to_radians().sin_cos();
        let axes = [
            [-sin_lon, cos_lon, 0.0],
            [-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat],
            [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat],
        ];
        Self { name: name.into(), place, fixed_km: place.to_fixed(), axes, horizon: Vec::new() }
    }

    /// Gives the station a horizon of hills and houses: degrees of azimuth and of elevation, straight
    /// between neighbours, all around.
    pub fn with_horizon(mut self, mut points: Vec<(f64, f64)>) -> Result<Self, HorizonError> {
        for (at, (azimuth, elevation)) in points.iter().enumerate() {
            if !(0.0..=360.0).contains(azimuth) || !(-90.0..90.0).contains(elevation) {
                return Err(HorizonError::Range { at });
            }
        }
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points.dedup_by(|b, a| a.0 == b.0 && a.1 == b.1);
        if points.windows(2).any(|two| two[0].0 == two[1].0) {
            return Err(HorizonError::Twice);
        }
        self.horizon = points;
        Ok(self)
    }

    /// Elevation of the horizon at an azimuth, degrees; the least number where none was given.
    pub fn horizon_deg(&self, azimuth_deg: f64) -> f64 {
        let (Some(first), Some(last)) = (self.horizon.first(), self.horizon.last()) else {
            return f64::MIN;
        };
        let after = self.horizon.partition_point(|point| point.0 <= azimuth_deg);
        let (before, after) = match (after.checked_sub(1), self.horizon.get(after)) {
            (Some(before), Some(after)) => (self.horizon.get(before).unwrap_or(last), *after),
            (Some(_), None) => (last, (first.0 + 360.0, first.1)),
            (None, _) => (&(last.0 - 360.0, last.1), *first),
        };
        let width = after.0 - before.0;
        let part = if width > 0.0 { (azimuth_deg - before.0) / width } else { 0.0 };
        before.1 + part * (after.1 - before.1)
    }

    /// Whether the horizon is the same all around.
    pub fn has_flat_horizon(&self) -> bool {
        self.horizon.is_empty()
    }

    /// The lowest elevation at which anything can be seen above the horizon and a mask.
    pub fn lowest_deg(&self, mask_deg: f64) -> f64 {
        let lowest = self.horizon.iter().map(|point| point.1).reduce(f64::min);
        mask_deg.max(lowest.unwrap_or(f64::MIN))
    }

    /// How an earth-fixed state looks from here.
    pub fn look(&self, state: State) -> Look {
        let line = sub(state.position_km, self.fixed_km);
        let range_km = norm(line);
        let [east, north, up] = self.axes.map(|axis| dot(axis, line));
        Look {
            azimuth_deg: east.atan2(north).to_degrees().rem_euclid(360.0),
            elevation_deg: up.atan2(east.hypot(north)).to_degrees(),
            range_km,
            range_rate_km_s: dot(line, state.velocity_km_s) / range_km,
        }
    }

    /// Sine of the elevation of an earth-fixed state, and how the elevation changes, up to a positive
    /// factor.
    pub fn climb(&self, state: State) -> (f64, f64) {
        let line = sub(state.position_km, self.fixed_km);
        let (up, square) = (dot(self.axes[2], line), dot(line, line));
        let rate =
            dot(self.axes[2], state.velocity_km_s) * square - up * dot(line, state.velocity_km_s);
        (up / square.sqrt(), rate)
    }

    /// The vertical, earth-fixed.
    pub fn up(&self) -> Vector {
        self.axes[2]
    }

    /// Distance of the station's horizontal plane from the earth's centre, km.
    pub fn plane_km(&self) -> f64 {
        dot(self.axes[2], self.fixed_km)
    }

    /// Elevation of the Sun, degrees, without refraction.
    pub fn sun_elevation_deg(&self, at: Tai) -> f64 {
        let sun = to_earth(sun_km(at), sidereal_angle(at));
        (dot(self.axes[2], sun) / norm(sun)).asin().to_degrees()
    }

    /// How a satellite looks from here at an instant.
    pub fn look_at(&self, satellite: &ElementSet, at: Tai) -> Result<Look, ElementsError> {
        Ok(self.look(earth_fixed(satellite.propagate(at)?, at)))
    }
}

impl FromStr for Station {
    type Err = StationError;

    fn from_str(text: &str) -> Result<Self, StationError> {
        let refuse = |reason| StationError { text: text.to_owned(), reason };
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        let [name, latitude, longitude, height] = parts[..] else {
            return Err(refuse("four fields are needed"));
        };
        let number = |field: &str, bound: f64, reason| match field.parse::<f64>() {
            Ok(value) if value.abs() <= bound => Ok(value),
            _ => Err(refuse(reason)),
        };
        if name.is_empty() {
            return Err(refuse("the name is empty"));
        }
        let place = Geodetic {
            latitude_deg: number(latitude, 90.0, "latitude is no number of -90 to 90 degrees")?,
            longitude_deg: number(longitude, 360.0, "longitude is no number of degrees")?,
            height_m: number(height, 20_000.0, "height is no number of metres near the ground")?,
        };
        Ok(Self::new(name, place))
    }
}

/// What an antenna has to know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// Degrees from north over east.
    pub azimuth_deg: f64,
    /// Degrees above the plane of the ellipsoid, without refraction.
    pub elevation_deg: f64,
    /// Distance, km.
    pub range_km: f64,
    /// Change of the distance, km/s, positive away.
    pub range_rate_km_s: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stations_are_read_or_refused_with_a_reason() {
        let station: Station = "Svalbard, 78.23, 15.40, 450".parse().unwrap();
        assert_eq!(station.name, "Svalbard");
        assert_eq!(station.place.height_m, 450.0);
        for (text, word) in [
            ("Svalbard,78.23,15.40", "four"),
            ("S,98,15,0", "latitude"),
            ("S,NaN,15,0", "latitude"),
            ("S,1,1,1e9", "height"),
            (",1,1,1", "name"),
        ] {
            let error = text.parse::<Station>().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn straight_up_is_ninety_degrees() {
        let station: Station = "S,45,10,0".parse().unwrap();
        let above = Geodetic { height_m: 500_000.0, ..station.place };
        let look = station.look(State { position_km: above.to_fixed(), velocity_km_s: [0.0; 3] });
        assert!((look.elevation_deg - 90.0).abs() < 1e-6);
        assert!((look.range_km - 500.0).abs() < 1e-6);
    }
}
