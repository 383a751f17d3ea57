//! `orbitsim bench`: how fast the simulator is on this machine.

mod goodput;
mod measure;
mod orbits;
mod peers;
mod world;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::measure::Load;

/// Arguments of `bench`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Build with --release; a debug build is slower by far.")]
pub struct Bench {
    #[command(subcommand)]
    what: Option<What>,
    /// Rounds, of which the median counts
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Satellites of the search for contacts
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    satellites: u32,
    /// Stations of it
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    stations: u32,
    /// QUIC connections that each send 4 KiB/s in simulated time
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    connections: u32,
    /// Python that has the peers python-sgp4 and Skyfield; they are left out where it has not
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What is measured instead.
#[derive(Debug, Subcommand)]
enum What {
    /// What of a link's capacity arrives, by the contact plan, by CUBIC and by BBR
    Goodput(goodput::Goodput),
}

impl Bench {
    /// Measures and prints.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if let Some(What::Goodput(goodput)) = self.what {
            return goodput.run();
        }
        let load = Load {
            rounds: self.rounds as usize,
            satellites: self.satellites as usize,
            stations: self.stations as usize,
            connections: self.connections as usize,
        };
        if cfg!(debug_assertions) {
            eprintln!("warning: a debug build: the figures say nothing; build with --release");
        }
        let figures = measure::run(load, &self.python, |next| eprintln!("measuring {next}"))?;
        for reason in &figures.skipped {
            eprintln!("skipped: {reason}");
        }
        if self.json {
            say!("{}", serde_json::to_string_pretty(&figures)?);
            return Ok(ExitCode::SUCCESS);
        }
        say!(
            "{:<32} {:>14} {:<24} {:>14} {:>7}  peer",
            "what",
            "a CPU second",
            "",
            "its own",
            "ratio"
        );
        for of in figures.orbits.iter().chain(&figures.world) {
            let peer = of.peer_per_cpu_s.map_or_else(String::new, |of| format!("{of:.0}"));
            let ratio = of.ratio.map_or_else(String::new, |of| format!("{of:.1}"));
            let name = of.peer.as_deref().unwrap_or_default();
            say!(
                "{:<32} {:>14.0} {:<24} {peer:>14} {ratio:>7}  {name}",
                of.name,
                of.per_cpu_s,
                of.unit
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}
