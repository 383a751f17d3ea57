//! The sky over one place: azimuth, elevation, range and how fast it changes.

use super::earth::{Geodetic, earth_fixed};
use super::elements::{ElementSet, ElementsError, State};
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
}

/// Why a station's text was refused.
#[derive(Debug, Error, PartialEq)]
#[error("station '{text}': {reason}; expected 'NAME,LATITUDE,LONGITUDE,HEIGHT_M'")]
pub struct StationError {
    text: String,
    reason: &'static str,
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
        Self { name: name.into(), place, fixed_km: place.to_fixed(), axes }
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
