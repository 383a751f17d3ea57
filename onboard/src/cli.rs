//! The command line of `onboard`.

use clap::{Parser, Subcommand};

/// The flight software.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build, check and try the flight image
    Image(crate::image::cli::ImageArgs),
}

/// Runs the command that was asked for.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Image(args) => crate::image::cli::run(args),
    }
}
