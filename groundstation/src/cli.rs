//! The command line: one variant a subcommand, each run by its own module.

use crate::inspect;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "groundstation", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Inspect(inspect::Args),
}

/// Runs the command that the process was called with; exit codes are 0 done, 1 failed, 2 wrong
/// usage.
pub fn run() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Inspect(args) => inspect::run(&args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("groundstation: {error:#}");
        ExitCode::FAILURE
    })
}
