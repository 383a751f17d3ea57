//! One pass as people and programs want to read it.

use codecs::time::Tai;
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

/// Time between looks for the greatest range rate.
const LOOK_NS: i64 = 120_000_000_000;
/// Looks at most, ends included.
const LOOKS: i64 = 256;

/// The range rate of the greatest magnitude in a pass, km/s, with its sign. That of a circular orbit is
/// where it rises or sets; an eccentric one may have it anywhere.
fn greatest_rate(rise: Tai, set: Tai, rate_at: impl Fn(Tai) -> Option<f64>) -> Option<f64> {
    let span = set.since(rise);
    let steps = (span / LOOK_NS).clamp(4, LOOKS);
    let time = |step: i64| if step == steps { set } else { rise.plus(span / steps * step) };
    let size_at = |at| rate_at(at).map_or(0.0, f64::abs);
    let best = (0..=steps).map(|step| (step, size_at(time(step))));
    let (best, size) = best.reduce(|a, b| if b.1 > a.1 { b } else { a })?;
    let (mut low, mut high) = (time((best - 1).max(0)), time((best + 1).min(steps)));
    // At an end the rate is greatest unless it grows inwards.
    let inwards = match best {
        0 => size_at(rise.plus(1_000_000_000.min(span))) > size,
        end if end == steps => size_at(set.plus(-1_000_000_000.min(span))) > size,
        _ => true,
    };
    if !inwards {
        return rate_at(time(best));
    }
    // Thirds: the rate has one summit between two looks that are this close.
    while high.since(low) > 100_000_000 {
        let third = high.since(low) / 3;
        let (left, right) = (low.plus(third), high.plus(-third));
        if size_at(left) < size_at(right) {
            low = left;
        } else {
            high = right;
        }
    }
    rate_at(low.plus(high.since(low) / 2))
}

impl Row {
    pub fn new(satellite: &Satellite, station: &Station, pass: &Pass, grid: &Grid) -> Self {
        let look = |at| Some(station.look(grid.fixed(satellite, at)?));
        let [rise, top, down] = [pass.rise, pass.culmination, pass.set].map(&look);
        let state = grid.inertial(satellite, pass.culmination);
        let sun_km = sun::sun_km(pass.culmination);
        let age = |set: &ElementSet| pass.rise.since(set.epoch()).abs() as f64 / 86_400e9;
        let days = satellite.elements().map(age);
        let speed_km_s = state.map_or(7.5, |state| norm(state.velocity_km_s));
        let rate_at = |at| look(at).map(|look| look.range_rate_km_s);
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
            range_rate_km_s: greatest_rate(pass.rise, pass.set, rate_at),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_range_rate_may_be_anywhere_in_a_pass() {
        const SECOND: f64 = 1e9;
        for (length_s, summit_s) in
            [(600.0, 600.0), (600.0, 0.0), (36_000.0, 50.0), (7_200.0, 3_333.3)]
        {
            let rate =
                |at: Tai| Some(-3.0 + ((at.0 as f64 / SECOND - summit_s) / 90_000.0).powi(2));
            let greatest = greatest_rate(Tai(0), Tai((length_s * SECOND) as i64), rate).unwrap();
            assert!((greatest + 3.0).abs() < 1e-9, "{length_s} {summit_s}: {greatest}");
        }
        let low = |at: Tai| Some(at.0 as f64 / SECOND / 100.0 - 3.1);
        assert_eq!(greatest_rate(Tai(0), Tai(600_000_000_000), low), Some(-3.1));
    }
}
