//! `orbitsim demo`: the whole system on one machine.

use super::between::{rate, share};
use crate::demo::shell::{self, Link, Options};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `demo`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    orbitsim demo\n  \
    orbitsim demo --headless --seconds 60 --kill-ground 25 --json\n  \
    orbitsim demo --link rf --headless --seconds 30 --kill-edge 10\n  \
    orbitsim demo --headless --seconds 30 --kill-pool 10\n  \
    orbitsim demo --headless --seconds 30 --replay frames.aos1113 --frame aos:1113")]
pub struct DemoArguments {
    /// No page for people: free ports, a temporary folder, 60 seconds
    #[arg(long)]
    headless: bool,
    /// Seconds of the pass to fly, from rise
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: Option<u64>,
    /// Kill the ground daemon (SIGKILL) this long after rise, and start it again
    #[arg(long, value_name = "S")]
    kill_ground: Option<u64>,
    /// What carries the telemetry down: IP from the spacecraft, or frames in coded units to an
    /// antenna with an edge
    #[arg(long, value_enum, default_value_t, conflicts_with = "replay")]
    link: Link,
    /// Kill the edge (SIGKILL) this long after rise, and start it again; --link rf only
    #[arg(long, value_name = "S")]
    kill_edge: Option<u64>,
    /// Kill the pool of another machine, which heavy work goes to first (SIGKILL), this long after
    /// rise or once it has done a job, and start it again 8 s later
    #[arg(long, value_name = "S", conflicts_with = "replay")]
    kill_pool: Option<u64>,
    /// Share of wrong bits on the radio link, 0 to 0.5; --link rf only
    #[arg(long, value_name = "SHARE", default_value_t = 2e-5, value_parser = share)]
    bit_errors: f64,
    /// Print one JSON document instead of the table
    #[arg(long)]
    json: bool,
    /// Send a recording of frames instead of generated telemetry
    #[arg(long, value_name = "FILE", requires = "frame")]
    replay: Option<PathBuf>,
    /// Format of the recording's frames, such as aos:1113 or tm:1115
    #[arg(long, value_name = "KIND:LENGTH", requires = "replay")]
    frame: Option<String>,
    /// The recording's frames end in an error control field
    #[arg(long, requires = "replay")]
    fecf: bool,
    /// Seed of everything random
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Mean share of datagrams lost, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = share)]
    loss: f64,
    /// Bits a second at the shortest range; k, M and G multiply by thousands
    #[arg(long, value_name = "RATE", default_value = "8M", value_parser = rate)]
    rate: f64,
    /// Folder to keep everything in; it must be empty
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Port of the page on loopback
    #[arg(long, value_name = "PORT")]
    http: Option<u16>,
}

impl DemoArguments {
    /// Flies the pass and prints what came of it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        /// Seconds of a pass that nobody watches.
        const HEADLESS_SECONDS: u64 = 60;
        let seconds = self.seconds.or(self.headless.then_some(HEADLESS_SECONDS));
        let kills = [
            ("kill-ground", self.kill_ground),
            ("kill-edge", self.kill_edge),
            ("kill-pool", self.kill_pool),
        ];
        for (flag, kill) in kills {
            if let (Some(kill), Some(seconds)) = (kill, seconds)
                && kill >= seconds
            {
                eprintln!("orbitsim: --{flag} {kill} must be before the end at {seconds} s");
                return Ok(ExitCode::from(2));
            }
        }
        if self.kill_edge.is_some() && self.link != Link::Rf {
            eprintln!("orbitsim: --kill-edge needs an edge: say --link rf");
            return Ok(ExitCode::from(2));
        }
        let options = Options {
            headless: self.headless,
            seconds,
            kill_ground: self.kill_ground,
            kill_edge: self.kill_edge,
            kill_pool: self.kill_pool,
            link: self.link,
            bit_errors: self.bit_errors,
            json: self.json,
            replay: self.replay.zip(self.frame).map(|(file, frame)| (file, frame, self.fecf)),
            seed: self.seed,
            loss: self.loss,
            rate_bps: self.rate,
            dir: self.dir,
            http: self.http,
        };
        let outcome = super::runtime()?.block_on(shell::run(&options))?;
        if options.json {
            say!("{}", serde_json::to_string_pretty(&outcome.summary)?);
        } else {
            say!("\n{}", outcome.summary.table());
        }
        if let Some(kept) = &outcome.kept {
            eprintln!("Everything is kept in {}", kept.display());
        }
        for failure in &outcome.failures {
            eprintln!("FAILED: {failure}");
        }
        Ok(if outcome.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
