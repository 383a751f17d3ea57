//! `orbitsim passes`: contacts of every satellite of a file with every station.

mod rows;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, ensure};
use clap::Args;
use codecs::time::Tai;

use self::rows::Row;
use super::{
    calendar::calendar,
    share::{self, instant},
};
use crate::{
    contact::sweep::{Grid, Track},
    orbit::{Satellite, Station},
};

/// Arguments of `passes`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    orbitsim passes --elements missions/sky-7/elements.json \\\n    \
    --station 'Svalbard,78.23,15.40,450' \\\n    \
    --from 2026-11-23T00:00:00Z --to 2026-11-24T00:00:00Z --min-elevation 10")]
pub struct Passes {
    /// Two-line elements, OMM (JSON, XML, CSV, key = value) or OEM (XML, key = value); may be given
    /// several times
    #[arg(long, value_name = "FILE", required = true)]
    elements: Vec<PathBuf>,
    /// A station; may be given several times
    #[arg(
        long = "station",
        value_name = "NAME,LAT,LON,HEIGHT_M",
        allow_hyphen_values = true,
        required = true
    )]
    stations: Vec<Station>,
    /// Horizon of the only station: lines of azimuth and elevation in degrees, separated by a comma
    #[arg(long, value_name = "FILE")]
    horizon: Option<PathBuf>,
    /// Earth orientation: finals2000A, EOP C04 or CSV of IERS; a table built in unless given
    #[arg(long, value_name = "FILE")]
    eop: Option<PathBuf>,
    /// Start, RFC 3339 in UTC
    #[arg(long, value_name = "TIME", value_parser = instant)]
    from: Tai,
    /// End, RFC 3339 in UTC
    #[arg(long, value_name = "TIME", value_parser = instant)]
    to: Tai,
    /// Least elevation in degrees
    #[arg(long, value_name = "DEGREES", default_value_t = 5.0, allow_hyphen_values = true)]
    min_elevation: f64,
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

impl Passes {
    /// Searches and prints.
    pub fn run(mut self) -> anyhow::Result<ExitCode> {
        share::check_interval(self.from, self.to)?;
        let mask = self.min_elevation;
        ensure!(
            (-90.0..90.0).contains(&mask),
            "--min-elevation {mask} is not at least -90 and below 90"
        );
        self.read_horizon()?;
        let sets = share::read_orbits(&self.elements)?;
        share::warn(&sets, self.from, self.to);
        let grid = share::grid(self.from, self.to, self.eop.as_deref())?;
        let found = share::each(&sets, |_, set| self.rows(set, &grid));
        let mut rows: Vec<Row> = found.into_iter().flatten().collect();
        rows.sort_by(|a, b| (&a.rise, &a.satellite).cmp(&(&b.rise, &b.satellite)));
        if self.json {
            say!("{}", serde_json::to_string_pretty(&rows)?);
        } else if self.csv {
            say!("{}", rows::HEADER);
            for row in &rows {
                say!("{}", row.comma_separated());
            }
        } else if self.ics {
            say!("{}", calendar("orbitsim passes", rows.iter().map(Row::event)).trim_end());
        } else {
            rows::table(&rows)?;
        }
        let stations: Vec<&str> = self.stations.iter().map(|of| of.name.as_str()).collect();
        eprintln!("{} passes over {}", rows.len(), stations.join(", "));
        Ok(ExitCode::SUCCESS)
    }

    fn read_horizon(&mut self) -> anyhow::Result<()> {
        let Some(file) = &self.horizon else { return Ok(()) };
        let [station] = &mut self.stations[..] else {
            anyhow::bail!("--horizon belongs to one station: give one --station");
        };
        let name = file.display();
        let text = fs::read_to_string(file).with_context(|| format!("reading {name}"))?;
        let mut points = Vec::new();
        let text = text.trim_start_matches('\u{feff}');
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let pair = line.split_once(',').and_then(|(azimuth, elevation)| {
                Some((azimuth.trim().parse().ok()?, elevation.trim().parse().ok()?))
            });
            let wanted = "expected AZIMUTH,ELEVATION in degrees";
            points.push(pair.with_context(|| format!("{name}, line {}: {wanted}", at + 1))?);
        }
        *station = station.clone().with_horizon(points).with_context(|| format!("in {name}"))?;
        Ok(())
    }

    fn rows(&self, set: &Satellite, grid: &Grid) -> Vec<Row> {
        let Some(grid) = grid.part(set) else { return Vec::new() };
        let grid = &*grid;
        let track = Track::of(set, grid);
        if let (Some(at), Satellite::Elements(_)) = (track.lost(grid), set) {
            eprintln!(
                "warning: {} has no orbit from {at} on: decayed by these elements",
                set.name()
            );
        }
        let mut rows = Vec::new();
        for station in &self.stations {
            let passes = track.passes(grid, station, self.min_elevation);
            rows.extend(passes.iter().map(|pass| Row::new(set, station, pass, grid)));
        }
        rows
    }
}
