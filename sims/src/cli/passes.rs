//! `orbitsim passes`: contacts of every satellite of a file with every station.

mod calendar;
mod rows;

use std::{fs, path::PathBuf, process::ExitCode, thread};

use anyhow::{Context, ensure};
use clap::Args;
use codecs::time::Tai;

use self::rows::Row;
use crate::{
    contact::sweep::{Grid, Track},
    orbit::{ElementSet, Station, earth, elements},
};

/// Longest interval searched at once: beyond it elements are stale anyway.
const MAX_DAYS: i64 = 366;
/// Age from which elements are told to be old: by then a low orbit is off by tens of kilometres.
const OLD_DAYS: i64 = 14;
const DAY_NS: i64 = 86_400_000_000_000;

/// Arguments of `passes`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    orbitsim passes --elements missions/sky-7/elements.json \\\n    \
    --station 'Svalbard,78.23,15.40,450' \\\n    \
    --from 2026-11-23T00:00:00Z --to 2026-11-24T00:00:00Z --min-elevation 10")]
pub struct Passes {
    /// Two-line elements, or OMM as JSON, XML, CSV or key = value
    #[arg(long, value_name = "FILE")]
    elements: PathBuf,
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

pub(super) fn instant(text: &str) -> Result<Tai, String> {
    Tai::from_rfc3339(text).ok_or_else(|| format!("'{text}' is no time like 2026-11-23T12:00:00Z"))
}

impl Passes {
    /// Searches and prints.
    pub fn run(mut self) -> anyhow::Result<ExitCode> {
        ensure!(self.from < self.to, "--from must be before --to");
        let days = self.to.since(self.from) / DAY_NS;
        ensure!(days <= MAX_DAYS, "{days} days are more than {MAX_DAYS}; ask for less at a time");
        let mask = self.min_elevation;
        ensure!((-90.0..90.0).contains(&mask), "--min-elevation {mask} is not within -90 and 90");
        self.read_horizon()?;
        let name = self.elements.display();
        let text = fs::read_to_string(&self.elements).with_context(|| format!("reading {name}"))?;
        let sets = elements::read(&text).with_context(|| format!("in {name}"))?;
        self.warn(&sets);
        let grid = Grid::new(self.from, self.to);
        let mut rows = self.search(&sets, &grid);
        rows.sort_by(|a, b| (&a.rise, &a.satellite).cmp(&(&b.rise, &b.satellite)));
        if self.json {
            say!("{}", serde_json::to_string_pretty(&rows)?);
        } else if self.csv {
            say!("{}", rows::HEADER);
            for row in &rows {
                say!("{}", row.comma_separated());
            }
        } else if self.ics {
            say!("{}", calendar::calendar(&rows).trim_end());
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

    /// Says what makes the answer worse than it looks.
    fn warn(&self, sets: &[ElementSet]) {
        let age = |set: &ElementSet| {
            set.epoch().since(self.from).abs().max(set.epoch().since(self.to).abs()) / DAY_NS
        };
        let old = sets.iter().filter(|set| age(set) > OLD_DAYS).count();
        if let (true, Some(oldest)) = (old > 0, sets.iter().max_by_key(|set| age(set))) {
            eprintln!(
                "warning: {old} of {} element sets are more than {OLD_DAYS} days from the time \
                 asked for ({} by {} days): each day costs some seconds; fetch newer ones",
                sets.len(),
                oldest.name(),
                age(oldest)
            );
        }
        let known = [self.from, self.to].map(earth::ut1_is_known);
        if known.contains(&false) {
            eprintln!(
                "warning: the built-in table of UT1 does not reach there: the earth may be turned \
                 by up to 0.9 s, 400 m at the equator"
            );
        }
    }

    fn search(&self, sets: &[ElementSet], grid: &Grid) -> Vec<Row> {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let share = sets.len().div_ceil(workers).max(1);
        thread::scope(|scope| {
            let work =
                |sets: &[ElementSet]| sets.iter().flat_map(|set| self.rows(set, grid)).collect();
            let running: Vec<_> = sets
                .chunks(share)
                .map(|sets| scope.spawn(move || -> Vec<Row> { work(sets) }))
                .collect();
            let done = running.into_iter().map(|thread| thread.join());
            done.flat_map(|rows| rows.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }

    fn rows(&self, set: &ElementSet, grid: &Grid) -> Vec<Row> {
        let track = Track::new(set, grid);
        if let Some(at) = track.lost(grid) {
            eprintln!(
                "warning: {} has no orbit from {at} on: decayed by these elements",
                set.name()
            );
        }
        let mut rows = Vec::new();
        for station in &self.stations {
            let passes = track.passes(grid, station, self.min_elevation);
            rows.extend(passes.iter().map(|pass| Row::new(set, station, pass)));
        }
        rows
    }
}
