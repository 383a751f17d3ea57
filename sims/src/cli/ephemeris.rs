//! `orbitsim ephemeris`: states as an orbit ephemeris message (CCSDS 502.0-B-3).

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::ensure;
use clap::{Args, ValueEnum};
use codecs::time::Tai;

use super::share::{self, instant};
use crate::orbit::oem::{
    MAX_STATES,
    write::{self, Request},
};

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Frame {
    /// SGP4's own
    Teme,
    /// The turning earth's
    Itrf,
}

/// Arguments of `ephemeris`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    orbitsim ephemeris --elements missions/sky-7/elements.json \\\n    \
    --from 2026-11-23T09:00:00Z --to 2026-11-24T09:00:00Z > sky-7.oem")]
pub struct EphemerisArguments {
    /// Two-line elements, OMM (JSON, XML, CSV, key = value) or OEM (XML, key = value); may be given
    /// several times
    #[arg(long, value_name = "FILE", required = true)]
    elements: Vec<PathBuf>,
    /// Earth orientation: finals2000A, EOP C04 or CSV of IERS; a table built in unless given
    #[arg(long, value_name = "FILE")]
    eop: Option<PathBuf>,
    /// Start, RFC 3339 in UTC
    #[arg(long, value_name = "TIME", value_parser = instant)]
    from: Tai,
    /// End, RFC 3339 in UTC
    #[arg(long, value_name = "TIME", value_parser = instant)]
    to: Tai,
    /// Seconds between two states
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(i64).range(1..=86_400))]
    step: i64,
    /// Frame of the states
    #[arg(long, value_enum, default_value_t = Frame::Itrf)]
    frame: Frame,
}

impl EphemerisArguments {
    /// Writes to standard output.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        share::check_interval(self.from, self.to)?;
        let satellites = share::read_orbits(&self.elements)?;
        share::warn(&satellites, self.from, self.to);
        let grid = share::grid(self.from, self.to, self.eop.as_deref())?;
        let request = Request {
            earth_fixed: matches!(self.frame, Frame::Itrf),
            from: self.from,
            to: self.to,
            step_ns: self.step * 1_000_000_000,
            made: self.from,
        };
        let count = write::count(&request).saturating_mul(satellites.len() as i64);
        ensure!(
            count <= MAX_STATES as i64,
            "{count} states are more than {MAX_STATES}, which are read back: ask for fewer"
        );
        let mut out = std::io::stdout().lock();
        out.write_all(write::header(&request).as_bytes())?;
        for satellite in &satellites {
            match write::segment(satellite, &grid, &request) {
                Some(segment) => out.write_all(segment.as_bytes())?,
                None => eprintln!("warning: {} has no orbit at {}", satellite.name(), self.from),
            }
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}
