//! The climate of a place: what was stated of it, and plain assumptions for the rest.
//!
//! ITU-R gives rain rates, rain heights, water vapour and liquid water as digital maps of hundreds
//! of megabytes. They are not part of this program: a station that knows its place states the
//! numbers, and what it leaves out is assumed by latitude and height, and told as assumed.

use super::atmosphere;
use super::cloud::CloudWater;
use super::gas::Air;

/// What is known of a place; each `None` is assumed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stated {
    /// Mean temperature at the ground, K (P.1510).
    pub temperature_k: Option<f64>,
    /// Mean pressure at the ground, vapour included, hPa.
    pub pressure_hpa: Option<f64>,
    /// Mean water vapour at the ground, g/m³ (P.836).
    pub vapour_g_m3: Option<f64>,
    /// Rain rate exceeded for 0.01 % of a year, mm/h (P.837).
    pub rain_001_mm_h: Option<f64>,
    /// Height above the sea up to which it rains, km (P.839).
    pub rain_height_km: Option<f64>,
    /// Share of a year in which it rains on the path, percent (P.837).
    pub rain_share_percent: Option<f64>,
    /// Liquid water in clouds (P.840).
    pub cloud: Option<CloudWater>,
    /// Wet part of the refractivity, median (P.453).
    pub wet_refractivity: Option<f64>,
}

/// The climate that a link is reckoned with.
#[derive(Clone, Debug, PartialEq)]
pub struct Climate {
    /// Degrees, north positive.
    pub latitude_deg: f64,
    /// Height of the station above the sea, km.
    pub station_km: f64,
    /// Mean air at the ground.
    pub air: Air,
    /// Rain rate exceeded for 0.01 % of a year, mm/h.
    pub rain_001_mm_h: f64,
    /// Height above the sea up to which it rains, km.
    pub rain_height_km: f64,
    /// Share of a year in which it rains on the path, percent.
    pub rain_share_percent: f64,
    /// Liquid water in clouds.
    pub cloud: CloudWater,
    /// Wet part of the refractivity.
    pub wet_refractivity: f64,
    /// What was not stated, with what stands in for it.
    pub assumed: Vec<String>,
}

/// Middle latitudes have about this: an assumption, and a wide one.
const CLOUD: CloudWater = CloudWater { median_kg_m2: 0.12, sigma: 0.8, share_percent: 50.0 };
/// Rain on a slant path for that share of a year, percent: the least that P.618's 5 % allows by a
/// margin.
const RAIN_SHARE_PERCENT: f64 = 8.0;

impl Climate {
    /// Fills in what was not stated.
    pub fn new(latitude_deg: f64, station_km: f64, stated: Stated) -> Self {
        let mut assumed = Vec::new();
        let mut or = |stated: Option<f64>, default: f64, what: &str| {
            stated.unwrap_or_else(|| {
                assumed.push(what.replace('#', &format!("{default:.1}")));
                default
            })
        };
        let (temperature, pressure) = atmosphere::standard(station_km.max(0.0));
        let temperature_k = or(stated.temperature_k, temperature, "# K at the ground (P.835)");
        let pressure_hpa = or(stated.pressure_hpa, pressure, "# hPa at the ground (P.835)");
        let vapour = atmosphere::vapour_g_m3(station_km.max(0.0), 0.0, 7.5);
        let vapour = or(stated.vapour_g_m3, vapour, "# g/m³ of water vapour (P.835)");
        let air = Air::with_pressure(pressure_hpa, temperature_k, vapour);
        let rain = "rain of # mm/h for 0.01 % of a year (by latitude)";
        let rain_001_mm_h = or(stated.rain_001_mm_h, rain_rate_mm_h(latitude_deg), rain);
        let height = "rain up to # km (P.618-5, by latitude)";
        let rain_height_km = or(stated.rain_height_km, rain_height_km(latitude_deg), height);
        let share = "rain on the path for # % of a year";
        let rain_share_percent = or(stated.rain_share_percent, RAIN_SHARE_PERCENT, share);
        let wet = atmosphere::wet_refractivity(&air);
        let wet_refractivity =
            or(stated.wet_refractivity, wet, "# as wet refractivity (P.453, from the air)");
        if stated.cloud.is_none() {
            assumed.push("clouds of middle latitudes (0.12 kg/m² for half of the year)".into());
        }
        let cloud = stated.cloud.unwrap_or(CLOUD);
        Self {
            latitude_deg,
            station_km,
            air,
            rain_001_mm_h,
            rain_height_km,
            rain_share_percent,
            cloud,
            wet_refractivity,
            assumed,
        }
    }
}

/// Height up to which it rains, km: the rule by latitude of P.618-5 and P.839-1, which maps have
/// replaced.
pub fn rain_height_km(latitude_deg: f64) -> f64 {
    match latitude_deg {
        north if north > 23.0 => (5.0 - 0.075 * (north - 23.0)).max(0.0),
        south if south < -21.0 => (5.0 + 0.1 * (south + 21.0)).max(0.0),
        _ => 5.0,
    }
}

/// Rain rate for 0.01 % of a year, mm/h: a rule of thumb that falls from the equator to the poles as
/// the zones of P.837-1 do. Deserts have far less, monsoon coasts more.
pub fn rain_rate_mm_h(latitude_deg: f64) -> f64 {
    const BY_LATITUDE: [(f64, f64); 8] = [
        (0.0, 95.0),
        (15.0, 80.0),
        (25.0, 60.0),
        (35.0, 45.0),
        (45.0, 35.0),
        (55.0, 28.0),
        (65.0, 20.0),
        (90.0, 8.0),
    ];
    let latitude = latitude_deg.abs().min(90.0);
    let after = BY_LATITUDE.partition_point(|row| row.0 <= latitude).min(BY_LATITUDE.len() - 1);
    let (low, high) = (BY_LATITUDE[after.saturating_sub(1)], BY_LATITUDE[after]);
    low.1 + (high.1 - low.1) * (latitude - low.0) / (high.0 - low.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stated_is_used_and_the_rest_is_told() {
        let stated = Stated { rain_001_mm_h: Some(12.0), ..Stated::default() };
        let climate = Climate::new(78.0, 0.45, stated);
        assert_eq!(climate.rain_001_mm_h, 12.0);
        assert!(climate.assumed.iter().all(|text| !text.contains("mm/h")));
        assert!(climate.assumed.iter().any(|text| text.starts_with("rain up to 0.9 km")));
        assert_eq!(climate.assumed.len(), 7);
    }

    #[test]
    fn rules_by_latitude_have_no_holes() {
        for latitude in -90..=90 {
            let (rate, height) = (rain_rate_mm_h(latitude.into()), rain_height_km(latitude.into()));
            assert!((8.0..=95.0).contains(&rate), "{latitude}: {rate}");
            assert!((0.0..=5.0).contains(&height), "{latitude}: {height}");
        }
        assert!((rain_rate_mm_h(-90.0) - 8.0).abs() < 1e-9);
    }
}
