//! One pass as people and programs want to read it.

use serde::Serialize;

use crate::{
    cli::{calendar::Event, share::quoted},
    contact::{Pass, sweep::Grid},
    orbit::{ElementSet, Satellite, Station, sun, vector::norm},
};

/// Error along the orbit of public element sets at their epoch, and how it grows in a low orbit
/// (Vallado and Cefola, Two-line element sets: practice and use, 2012): kilometres, a day.
const ERROR_KM: f64 = 1.0;
const ERROR_GROWTH_KM: f64 = 2.0;

/// A pass.
#[derive(Serialize)]
pub struct Row {
    pub satellite: String,
    pub station: String,
    pub rise: String,
    pub culmination: String,
    pub set: String,
    pub max_elevation_deg: f64,
    pub duration_s: f64,
    /// Whether the interval asked for cuts it.
    pub clipped: bool,
    pub rise_azimuth_deg: Option<f64>,
    pub culmination_azimuth_deg: Option<f64>,
    pub set_azimuth_deg: Option<f64>,
    /// Distance at culmination.
    pub range_km: Option<f64>,
    /// Greatest change of the distance, at rise or set.
    pub range_rate_km_s: Option<f64>,
    /// Share of the Sun's disc that the satellite sees at culmination.
    pub sunlight: Option<f64>,
    /// Elevation of the Sun at the station then: below -6 the sky is dark.
    pub sun_elevation_deg: f64,
    /// How far rise may be off by the age of the elements, one sigma; not known of an ephemeris.
    pub uncertainty_s: Option<f64>,
}

pub const HEADER: &str = "satellite,station,rise,culmination,set,max_elevation_deg,duration_s,\
    clipped,rise_azimuth_deg,culmination_azimuth_deg,set_azimuth_deg,range_km,range_rate_km_s,\
    sunlight,sun_elevation_deg,uncertainty_s";

impl Row {
    pub fn new(satellite: &Satellite, station: &Station, pass: &Pass, grid: &Grid) -> Self {
        let look = |at| Some(station.look(grid.fixed(satellite, at)?));
        let [rise, top, down] = [pass.rise, pass.culmination, pass.set].map(look);
        let state = grid.inertial(satellite, pass.culmination);
        let sun_km = sun::sun_km(pass.culmination);
        let age = |set: &ElementSet| pass.rise.since(set.epoch()).abs() as f64 / 86_400e9;
        let days = satellite.elements().map(age);
        let speed_km_s = state.map_or(7.5, |state| norm(state.velocity_km_s));
        let rates = [rise, down].into_iter().flatten().map(|look| look.range_rate_km_s);
        Self {
            satellite: satellite.name().to_owned(),
            station: station.name.clone(),
            rise: pass.rise.to_rfc3339(),
            culmination: pass.culmination.to_rfc3339(),
            set: pass.set.to_rfc3339(),
            max_elevation_deg: top.map_or(pass.max_elevation_deg, |look| look.elevation_deg),
            duration_s: pass.set.since(pass.rise) as f64 / 1e9,
            clipped: pass.clipped,
            rise_azimuth_deg: rise.map(|look| look.azimuth_deg),
            culmination_azimuth_deg: top.map(|look| look.azimuth_deg),
            set_azimuth_deg: down.map(|look| look.azimuth_deg),
            range_km: top.map(|look| look.range_km),
            range_rate_km_s: rates.reduce(|a, b| if a.abs() > b.abs() { a } else { b }),
            sunlight: state.map(|state| sun::illumination(state.position_km, sun_km)),
            sun_elevation_deg: station.sun_elevation_deg(pass.culmination),
            uncertainty_s: days.map(|days| (ERROR_KM + ERROR_GROWTH_KM * days) / speed_km_s),
        }
    }

    /// As an event of a calendar.
    pub fn event(&self) -> Event {
        Event {
            start: self.rise.clone(),
            end: self.set.clone(),
            summary: format!("{} over {}", self.satellite, self.station),
            description: format!(
                "{:.1} degrees at {}; rise {}, set {}",
                self.max_elevation_deg, self.culmination, self.rise, self.set
            ),
        }
    }

    pub fn comma_separated(&self) -> String {
        let number = |of: Option<f64>| of.map(|of| format!("{of:.3}")).unwrap_or_default();
        let numbers = [
            self.rise_azimuth_deg,
            self.culmination_azimuth_deg,
            self.set_azimuth_deg,
            self.range_km,
            self.range_rate_km_s,
            self.sunlight,
            Some(self.sun_elevation_deg),
            self.uncertainty_s,
        ];
        format!(
            "{},{},{},{},{},{:.4},{:.3},{},{}",
            quoted(&self.satellite),
            quoted(&self.station),
            self.rise,
            self.culmination,
            self.set,
            self.max_elevation_deg,
            self.duration_s,
            self.clipped,
            numbers.map(number).join(",")
        )
    }
}

/// Prints passes for people.
pub fn table(rows: &[Row]) -> std::io::Result<()> {
    let wide = |of: fn(&Row) -> &str, least: usize| {
        rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0).max(least)
    };
    let satellite = wide(|row| &row.satellite, 9);
    let station = wide(|row| &row.station, 7);
    say!(
        "{:<satellite$}  {:<station$}  {:<24} {:<24} {:<24} {:>6} {:>6} {:>9}",
        "satellite",
        "station",
        "rise",
        "culmination",
        "set",
        "top",
        "from",
        "lit"
    );
    for row in rows {
        let from = row.rise_azimuth_deg.map_or_else(String::new, |of| format!("{of:.0}°"));
        let lit = match (row.sunlight.unwrap_or(0.0) > 0.5, row.sun_elevation_deg < -6.0) {
            (true, true) => "visible",
            (true, false) => "sun",
            (false, _) => "shadow",
        };
        say!(
            "{:<satellite$}  {:<station$}  {:<24} {:<24} {:<24} {:>5.1}° {:>6} {:>9}",
            row.satellite,
            row.station,
            row.rise,
            row.culmination,
            row.set,
            row.max_elevation_deg,
            from,
            lit
        );
    }
    Ok(())
}
