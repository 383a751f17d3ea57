//! An invented circular orbit, enough to draw a plan for the page's test.

use codecs::time::Tai;
use serde_json::{Value, json};

const EARTH_KM: f64 = 6371.0;
const ALTITUDE_KM: f64 = 520.0;
const INCLINATION: f64 = 97.5;
const PERIOD_S: f64 = 5_700.0;
const STATION: (f64, f64) = (78.23, 15.39);
const MASK_DEG: f64 = 5.0;

/// Latitude and longitude below, `seconds` after the middle of the pass.
pub fn below(seconds: f64) -> (f64, f64) {
    let along = (66.0 + seconds / PERIOD_S * 360.0).to_radians();
    let tilt = INCLINATION.to_radians();
    let lat = (tilt.sin() * along.sin()).asin();
    let east = (tilt.cos() * along.sin()).atan2(along.cos());
    let lon = east.to_degrees() + 62.0 - seconds / 86_164.0 * 360.0;
    (lat.to_degrees(), (lon + 540.0).rem_euclid(360.0) - 180.0)
}

/// Elevation in degrees and range in kilometres from the station.
fn seen(seconds: f64) -> (f64, f64) {
    let (lat, lon) = below(seconds);
    let (a, b) = (lat.to_radians(), STATION.0.to_radians());
    let angle = (a.sin() * b.sin() + a.cos() * b.cos() * (lon - STATION.1).to_radians().cos())
        .clamp(-1.0, 1.0)
        .acos();
    let radius = EARTH_KM + ALTITUDE_KM;
    let range = (EARTH_KM.powi(2) + radius.powi(2) - 2.0 * EARTH_KM * radius * angle.cos()).sqrt();
    let elevation = ((radius * angle.cos() - EARTH_KM) / range).asin();
    (elevation.to_degrees(), range)
}

/// Predicted rate in bits a second at a range.
pub fn rate(seconds: f64) -> f64 {
    let (elevation, range) = seen(seconds);
    if elevation < MASK_DEG { 0.0 } else { 40e6 * (600.0 / range).powi(2).min(1.0) + 2e6 }
}

/// Predicted round trip in milliseconds.
pub fn round_trip(seconds: f64) -> f64 {
    seen(seconds).1 / 149.896 + 4.0
}

/// Seconds from the middle of the pass to its rise (negative).
pub fn rise() -> f64 {
    (-900..0).map(f64::from).find(|second| seen(*second).0 >= MASK_DEG).unwrap_or(0.0)
}

/// A contact plan around a pass whose middle is `middle`, in the planner's format.
pub fn plan(middle: Tai) -> Value {
    let at = |seconds: f64| middle.plus((seconds * 1e9) as i64).to_rfc3339();
    let mut contacts = Vec::new();
    let mut open: Option<(f64, f64, f64)> = None;
    for step in -3_000..9_000 {
        let second = f64::from(step) * 10.0;
        let elevation = seen(second).0;
        match &mut open {
            None if elevation >= MASK_DEG => open = Some((second, second, elevation)),
            Some(pass) if elevation > pass.2 => (pass.1, pass.2) = (second, elevation),
            Some(_) if elevation >= MASK_DEG => {}
            Some((from, top, degrees)) => {
                contacts.push(json!({
                    "rise": at(*from), "culmination": at(*top), "set": at(second),
                    "max_elevation_deg": *degrees, "rate_bps": 40e6,
                }));
                open = None;
            }
            None => {}
        }
    }
    let track = (-220..=220).map(|step| {
        let second = f64::from(step) * 30.0;
        let (lat, lon) = below(second);
        json!({ "t": at(second), "lat": lat, "lon": lon })
    });
    let link = (-60..=60).map(|step| f64::from(step) * 10.0).filter(|s| seen(*s).0 > 0.0);
    let link = link.map(|second| {
        let (elevation, range) = seen(second);
        json!({
            "t": at(second), "elevation_deg": elevation, "range_km": range,
            "rtt_ms": round_trip(second), "rate_bps": rate(second),
        })
    });
    json!({
        "station": {
            "name": "Svalbard", "lat": STATION.0, "lon": STATION.1,
            "height_m": 450.0, "mask_deg": MASK_DEG,
        },
        "satellite": "SKY-7",
        "contacts": contacts,
        "track": track.collect::<Vec<_>>(),
        "link": link.collect::<Vec<_>>(),
    })
}
