//! The command line of `onboard`.

mod config;
mod models;
mod run;
mod squeeze;
mod store;

use std::{
    fmt,
    io::{self, Write},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand};

pub use store::report as store_report;

const EXAMPLES: &str = "\
Examples:
  onboard check --config onboard.toml
  onboard run --config onboard.toml --ready-json
  onboard config apply next.toml --config onboard.toml
  onboard store store/ --json
  onboard models verify onboard/model/packages --danger-accept-development-key
  onboard squeeze packets.bin packets.gts && onboard unsqueeze packets.gts again.bin";

/// The flight software: samples, scores, squeezes, stores and sends down.
#[derive(Debug, Parser)]
#[command(name = "onboard", version, about, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Flies: reads packets, keeps them safe and brings them down
    Run(RunArgs),
    /// Checks a configuration and everything that it names
    Check(ConfigArgs),
    /// Shows, keeps, confirms or leaves configurations beside the file on the command line
    Config(config::ConfigArgs),
    /// Describes a store that no process has open
    Store(store::StoreArgs),
    /// Lists and checks model packages
    Models(models::ModelsArgs),
    /// Squeezes a file of space packets
    Squeeze(squeeze::SqueezeArgs),
    /// Gives back what `squeeze` took
    Unsqueeze(squeeze::UnsqueezeArgs),
    /// Builds, checks and tries the flight image
    Image(crate::image::cli::ImageArgs),
}

/// Which configuration.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Configuration file
    #[arg(long)]
    pub config: PathBuf,
}

/// How to fly.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Configuration file
    #[arg(long)]
    pub config: PathBuf,
    /// Prints one JSON line on standard output once packets are taken, when a command that takes its
    /// time is begun, and at a clean stop
    #[arg(long)]
    pub ready_json: bool,
}

/// Whoever read standard output has heard enough, as `head` does.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads standard output any more")]
struct HeardEnough;

/// Prints a line on standard output.
pub(crate) fn say(line: fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(io::stdout(), "{line}").map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, HeardEnough),
        _ => error,
    })
}

/// Whether a command ended because nobody reads what it prints any more: no failure of its own.
pub fn is_heard_enough(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let cause = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause.is_some_and(|cause| cause.is::<HeardEnough>())
    })
}

/// Runs the command that was asked for.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => run::check(&args.config),
        Command::Config(args) => config::run(&args),
        Command::Store(args) => store::run(&args),
        Command::Models(args) => models::run(&args),
        Command::Squeeze(args) => squeeze::squeeze(&args),
        Command::Unsqueeze(args) => squeeze::unsqueeze(&args),
        Command::Image(args) => crate::image::cli::run(args),
    }
}
