//! The command line: one variant a subcommand, each run by its own module.

use crate::{
    bench,
    commands::{self, WrongUsage},
    enroll::{self, Enroll},
    pool,
    recording::{decode, inspect},
    shell::{
        check::{self, CheckArgs},
        daemon::{self, RunArgs},
        doors::replay::{self, ReplayArgs},
        edge::{self, EdgeArgs},
        export::{self, ExportArgs},
        gaps::{self, GapsArgs},
        listing, log, output,
        reload::{self, ReloadArgs},
        restore::{self, RestoreArgs},
        status::{self, StatusArgs},
        uplink::command as uplink,
    },
};
use clap::{Parser, Subcommand};
use std::{
    io::{ErrorKind, Write as _},
    process::ExitCode,
};

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
    Check(CheckArgs),
    Reload(ReloadArgs),
    Edge(EdgeArgs),
    Status(StatusArgs),
    Audit(commands::AuditArgs),
    Restore(RestoreArgs),
    #[command(subcommand)]
    Uplink(uplink::Uplink),
    Replay(ReplayArgs),
    Export(ExportArgs),
    Gaps(GapsArgs),
    Inspect(inspect::Args),
    Decode(decode::Args),
    Jobs(listing::JobsArgs),
    Pools(PoolsCommand),
    /// What this machine can take
    #[command(subcommand)]
    Bench(bench::shell::Bench),
}

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
struct PoolsCommand {
    #[command(flatten)]
    list: listing::PoolsArgs,
    #[command(subcommand)]
    command: Option<Pools>,
}

#[derive(Debug, Subcommand)]
enum Pools {
    Serve(pool::serve::Args),
}

/// Runs the command that the process was called with; exit codes are 0 done, 1 failed, 2 wrong
/// usage.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => {
            // Help goes to stdout, usage errors to stderr.
            let printed = told.print();
            let failed = printed.is_err_and(|error| error.kind() != ErrorKind::BrokenPipe);
            let code = u8::try_from(told.exit_code()).unwrap_or(2);
            return ExitCode::from(code.max(failed.into()));
        }
    };
    log::to_stderr(matches!(cli.command, Command::Run(_)));
    let done = match cli.command {
        Command::Init(args) => commands::init(&args),
        Command::Enroll(args) => enroll::run(&args),
        Command::Run(args) => daemon::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Edge(args) => edge::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Audit(args) => commands::audit(&args),
        Command::Restore(args) => restore::run(&args),
        Command::Uplink(command) => uplink::run(&command),
        Command::Replay(args) => replay::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Gaps(args) => gaps::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Decode(args) => decode::run(&args),
        Command::Jobs(args) => listing::jobs(&args),
        Command::Pools(PoolsCommand { command: Some(Pools::Serve(args)), .. }) => {
            pool::serve::run(&args)
        }
        Command::Pools(PoolsCommand { list, command: None }) => listing::pools(&list),
        Command::Bench(bench) => bench::shell::run(&bench),
    };
    let code = done.unwrap_or_else(|error| {
        complain(&format!("{error:#}"));
        match error.is::<WrongUsage>() {
            true => ExitCode::from(2),
            false => ExitCode::FAILURE,
        }
    });
    match output::failure() {
        Some(error) => {
            complain(error);
            ExitCode::FAILURE
        }
        None => code,
    }
}

fn complain(error: &str) {
    // Nobody may be listening, and that is no reason to panic.
    let _ = writeln!(std::io::stderr(), "groundstation: {error}");
}
