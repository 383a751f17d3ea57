//! `orbitsim links`: contacts between satellites.

use std::{path::PathBuf, process::ExitCode};

use anyhow::ensure;
use clap::Args;
use codecs::time::Tai;
use serde::Serialize;

use super::{
    calendar::{Event, calendar},
    share::{self, DAY_NS, instant, quoted},
};
use crate::{
    contact::{
        between::{Needs, Sight, sights},
        sweep::{Grid, Track},
    },
    orbit::Satellite,
};

/// Most pairs times days searched at once: two thousand satellites among each other for a day.
const MAX_PAIR_DAYS: i64 = 2_000_000;
/// Most satellites whose tracks are kept, times days.
const MAX_TRACK_DAYS: i64 = 20_000;

/// Arguments of `links`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    orbitsim links --elements constellation.tle --range-km-max 5000 \\\n    \
    --from 2026-11-23T00:00:00Z --to 2026-11-24T00:00:00Z --csv")]
pub struct Links {
    /// Two-line elements, OMM (JSON, XML, CSV, key = value) or OEM (XML, key = value); may be given
    /// several times
    #[arg(long, value_name = "FILE", required = true)]
    elements: Vec<PathBuf>,
    /// Satellites at the other end, in the same forms; all pairs of --elements unless given
    #[arg(long, value_name = "FILE")]
    relays: Vec<PathBuf>,
    /// Earth orientation: finals2000A, EOP C04 or CSV of IERS; a table built in unless given
    #[arg(long, value_name = "FILE")]
    eop: Option<PathBuf>,
    /// Start, RFC 3339 in UTC
    #[arg(long, value_name = "TIME", value_parser = instant)]
    from: Tai,
    /// End, RFC 3339 in UTC
    #[arg(long, value_name = "TIME", value_parser = instant)]
    to: Tai,
    /// Least height of the line between them above the ellipsoid, km
    #[arg(long, value_name = "KM", default_value_t = 80.0, allow_hyphen_values = true)]
    grazing_km: f64,
    /// Greatest distance, km; where the earth alone decides unless given
    #[arg(long, value_name = "KM")]
    range_km_max: Option<f64>,
    /// Print one JSON document
    #[arg(long, group = "format")]
    json: bool,
    /// Print comma-separated values
    #[arg(long, group = "format")]
    csv: bool,
    /// Print a calendar (RFC 5545)
    #[arg(long, group = "format")]
    ics: bool,
}

/// A contact.
#[derive(Serialize)]
struct Row {
    a: String,
    b: String,
    from: String,
    to: String,
    duration_s: f64,
    nearest: String,
    range_km_min: f64,
    range_km_max: f64,
    /// Greatest change of the distance, positive away.
    range_rate_km_s: f64,
    /// Whether the interval asked for cuts it.
    clipped: bool,
}

const HEADER: &str = "a,b,from,to,duration_s,nearest,range_km_min,range_km_max,range_rate_km_s,\
    clipped";

impl Row {
    fn new(a: &str, b: &str, sight: &Sight) -> Self {
        Self {
            a: a.to_owned(),
            b: b.to_owned(),
            from: sight.from.to_rfc3339(),
            to: sight.to.to_rfc3339(),
            duration_s: sight.to.since(sight.from) as f64 / 1e9,
            nearest: sight.nearest.to_rfc3339(),
            range_km_min: sight.range_km_min,
            range_km_max: sight.range_km_max,
            range_rate_km_s: sight.range_rate_km_s,
            clipped: sight.clipped,
        }
    }

    fn comma_separated(&self) -> String {
        format!(
            "{},{},{},{},{:.3},{},{:.3},{:.3},{:.6},{}",
            quoted(&self.a),
            quoted(&self.b),
            self.from,
            self.to,
            self.duration_s,
            self.nearest,
            self.range_km_min,
            self.range_km_max,
            self.range_rate_km_s,
            self.clipped
        )
    }

    fn event(&self) -> Event {
        Event {
            start: self.from.clone(),
            end: self.to.clone(),
            summary: format!("{} and {}", self.a, self.b),
            description: format!("{:.0} to {:.0} km", self.range_km_min, self.range_km_max),
        }
    }
}

impl Links {
    /// Searches and prints.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        share::check_interval(self.from, self.to)?;
        let needs = self.needs()?;
        let satellites = share::read_orbits(&self.elements)?;
        let relays = share::read_orbits(&self.relays)?;
        let (ours, theirs) = (satellites.len() as i64, relays.len() as i64);
        let days = (self.to.since(self.from) / DAY_NS).max(1);
        let pairs = if self.relays.is_empty() { ours * (ours - 1) / 2 } else { ours * theirs };
        ensure!(pairs > 0, "one satellite sees no other: give more, or --relays");
        ensure!(
            pairs * days <= MAX_PAIR_DAYS && (ours + theirs) * days <= MAX_TRACK_DAYS,
            "{pairs} pairs for {days} days are more than {MAX_PAIR_DAYS} at once: ask for less time, \
             or part of the satellites"
        );
        share::warn(&satellites, self.from, self.to);
        share::warn(&relays, self.from, self.to);
        let grid = share::grid(self.from, self.to, self.eop.as_deref())?;
        let rows = search(&satellites, &relays, &grid, &needs);
        self.print(&rows)?;
        eprintln!("{} contacts of {pairs} pairs", rows.len());
        Ok(ExitCode::SUCCESS)
    }

    fn needs(&self) -> anyhow::Result<Needs> {
        let grazing_km = self.grazing_km;
        ensure!(
            (-100.0..=100_000.0).contains(&grazing_km),
            "--grazing-km {grazing_km} is not within -100 and 100000"
        );
        let range_km_max = self.range_km_max.unwrap_or(f64::INFINITY);
        ensure!(range_km_max > 0.0, "--range-km-max {range_km_max} is not above 0");
        Ok(Needs { grazing_km, range_km_max })
    }

    fn print(&self, rows: &[Row]) -> anyhow::Result<()> {
        if self.json {
            say!("{}", serde_json::to_string_pretty(rows)?);
        } else if self.csv {
            say!("{HEADER}");
            for row in rows {
                say!("{}", row.comma_separated());
            }
        } else if self.ics {
            say!("{}", calendar("orbitsim links", rows.iter().map(Row::event)).trim_end());
        } else {
            say!("{:<24} {:<24} {:>8} {:>16} {:>8}  pair", "from", "to", "s", "km", "km/s");
            for row in rows {
                say!(
                    "{:<24} {:<24} {:>8.0} {:>7.0} - {:>6.0} {:>8.3}  {} - {}",
                    row.from,
                    row.to,
                    row.duration_s,
                    row.range_km_min,
                    row.range_km_max,
                    row.range_rate_km_s,
                    row.a,
                    row.b
                );
            }
        }
        Ok(())
    }
}

/// All contacts, by start.
fn search(satellites: &[Satellite], relays: &[Satellite], grid: &Grid, needs: &Needs) -> Vec<Row> {
    let track = |_, of: &Satellite| Track::of(of, grid);
    let (ours, theirs) = (share::each(satellites, track), share::each(relays, track));
    // From both ends in turn: the first satellite has the most partners, the last none.
    let count = satellites.len();
    let order: Vec<usize> =
        (0..count).map(|at| if at % 2 == 0 { at / 2 } else { count - 1 - at / 2 }).collect();
    let found = share::each(&order, |_, a| {
        let (others, tracks, first) = match relays {
            [] => (satellites, &ours, a + 1),
            relays => (relays, &theirs, 0),
        };
        let mut rows = Vec::new();
        for (of, track) in others.iter().zip(tracks).skip(first) {
            let found = sights(&ours[*a], track, grid, needs);
            rows.extend(
                found.iter().map(|sight| (sight.from, satellites[*a].name(), of.name(), *sight)),
            );
        }
        rows
    });
    let mut found: Vec<_> = found.into_iter().flatten().collect();
    found.sort_by(|a, b| (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)));
    found.iter().map(|(_, a, b, sight)| Row::new(a, b, sight)).collect()
}
