//! The command line: one variant a subcommand, each run by its own module.

use crate::{
    commands,
    enroll::{self, Enroll},
    pool,
    recording::{decode, inspect},
    shell::{
        daemon::{self, RunArgs},
        edge::{self, EdgeArgs},
        status::{self, StatusArgs},
    },
};
use clap::{Parser, Subcommand};
use std::{io::IsTerminal as _, process::ExitCode};
use tracing_subscriber::EnvFilter;

#[derive(Debug, Parser)]
#[command(name = "groundstation", version, about)]
#[command(after_help = "Examples:\n  \
    groundstation init station --mission mission.toml --station 'Weilheim,47.88,11.08,560' \
    --spacecraft 7:SKY-7\n  \
    groundstation run --config station/station.toml\n  \
    groundstation audit --config station/station.toml\n\n\
    Exit codes: 0 done, 1 failed, 2 wrong usage. RUST_LOG chooses what is logged on stderr.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(commands::InitArgs),
    #[command(subcommand)]
    Enroll(Enroll),
    Run(RunArgs),
    Edge(EdgeArgs),
    Check(commands::CheckArgs),
    Status(StatusArgs),
    Audit(commands::AuditArgs),
    Inspect(inspect::Args),
    Decode(decode::Args),
    /// Inference pools
    #[command(subcommand)]
    Pools(Pools),
}

#[derive(Debug, Subcommand)]
enum Pools {
    Serve(pool::serve::Args),
}

/// Runs the command that the process was called with; exit codes are 0 done, 1 failed, 2 wrong
/// usage.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr();
    let done = match cli.command {
        Command::Init(args) => commands::init(&args),
        Command::Enroll(args) => enroll::run(&args),
        Command::Run(args) => daemon::run(&args),
        Command::Edge(args) => edge::run(&args),
        Command::Check(args) => commands::check(&args),
        Command::Status(args) => status::run(&args),
        Command::Audit(args) => commands::audit(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Decode(args) => decode::run(&args),
        Command::Pools(Pools::Serve(args)) => pool::serve::run(&args),
    };
    done.unwrap_or_else(|error| {
        // Nobody may be listening, and that is no reason to panic.
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "groundstation: {error:#}");
        ExitCode::FAILURE
    })
}

/// Talk goes to stderr; colours only for a person who did not decline them (`NO_COLOR`).
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .log_internal_errors(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(!plain && std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
