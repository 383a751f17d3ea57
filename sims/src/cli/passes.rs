//! `orbitsim passes`: contacts of every satellite of a file over one station.

use crate::contact;
use crate::orbit::{Station, elements};
use anyhow::{Context, ensure};
use clap::Args;
use codecs::time::Tai;
use serde::Serialize;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

/// Longest interval searched at once: beyond it elements are stale anyway.
const MAX_DAYS: i64 = 366;

/// Arguments of `passes`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    orbitsim passes --elements missions/sky-7/elements.json \\\n    \
    --station 'Svalbard,78.23,15.40,450' \\\n    \
    --from 2026-11-23T00:00:00Z --to 2026-11-24T00:00:00Z --min-elevation 10")]
pub struct Passes {
    /// Two-line elements, or OMM in JSON
    #[arg(long, value_name = "FILE")]
    elements: PathBuf,
    /// The station
    #[arg(long, value_name = "NAME,LAT,LON,HEIGHT_M", allow_hyphen_values = true)]
    station: Station,
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
    #[arg(long)]
    json: bool,
}

fn instant(text: &str) -> Result<Tai, String> {
    Tai::from_rfc3339(text).ok_or_else(|| format!("'{text}' is no time like 2026-11-23T12:00:00Z"))
}

#[derive(Serialize)]
struct Row {
    satellite: String,
    rise: String,
    culmination: String,
    set: String,
    max_elevation_deg: f64,
    duration_s: f64,
    clipped: bool,
}

impl Passes {
    /// Searches and prints.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        ensure!(self.from < self.to, "--from must be before --to");
        let days = self.to.since(self.from) / 86_400_000_000_000;
        ensure!(days <= MAX_DAYS, "{days} days are more than {MAX_DAYS}; ask for less at a time");
        let name = self.elements.display();
        let text = fs::read_to_string(&self.elements).with_context(|| format!("reading {name}"))?;
        let mut rows = Vec::new();
        for set in elements::read(&text).with_context(|| format!("in {name}"))? {
            let found =
                contact::passes(&set, &self.station, self.from, self.to, self.min_elevation)?;
            rows.extend(found.into_iter().map(|pass| Row {
                satellite: set.name().to_owned(),
                rise: pass.rise.to_rfc3339(),
                culmination: pass.culmination.to_rfc3339(),
                set: pass.set.to_rfc3339(),
                max_elevation_deg: pass.max_elevation_deg,
                duration_s: pass.set.since(pass.rise) as f64 / 1e9,
                clipped: pass.clipped,
            }));
        }
        rows.sort_by(|a, b| a.rise.cmp(&b.rise));
        if self.json {
            say!("{}", serde_json::to_string_pretty(&rows)?);
            return Ok(ExitCode::SUCCESS);
        }
        say!("{:<16} {:<24} {:<24} {:<24} {:>7}", "satellite", "rise", "culmination", "set", "top");
        for row in &rows {
            say!(
                "{:<16} {:<24} {:<24} {:<24} {:>6.1}°",
                row.satellite,
                row.rise,
                row.culmination,
                row.set,
                row.max_elevation_deg
            );
        }
        eprintln!("{} passes over {}", rows.len(), self.station.name);
        Ok(ExitCode::SUCCESS)
    }
}
