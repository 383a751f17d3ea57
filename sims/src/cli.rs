//! The command line: arguments in, exit codes out (0 done, 1 failed, 2 wrong usage).

mod bench;
mod between;
mod budget;
mod calendar;
mod demo;
mod ephemeris;
mod links;
mod netem;
mod passes;
mod plan;
mod relay;
mod run;
mod score;
mod telemetry;
mod share;

use clap::{Parser, Subcommand};
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// The orbital link simulator: contacts, links, a spacecraft, and the demonstration.
#[derive(Debug, Parser)]
#[command(name = "orbitsim", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fly a pass with the real programs, sensor to insight, and reckon what arrived.
    Demo(Box<demo::DemoArguments>),
    /// List when satellites rise, culminate and set over a station.
    Passes(passes::Passes),
    /// Explain a link's budget: one moment line by line, a whole pass, or a year.
    Budget(Box<budget::BudgetArguments>),
    /// Decide which antenna hears which satellite, and when: contacts without conflict, by value.
    Plan(plan::PlanArguments),
    /// List when satellites see each other.
    Links(links::Links),
    /// Write where satellites will be as an ephemeris message (OEM).
    Ephemeris(ephemeris::EphemerisArguments),
    /// Write what a spacecraft says over some hours, with what breaks, and the truth beside it.
    Telemetry(telemetry::Telemetry),
    /// Score what a detector told against that truth.
    Score(score::Score),
    /// Measure how fast the simulator is on this machine, beside the crates that do the same.
    Bench(bench::Bench),
    /// Fly a scenario in simulated time with the real flight and ground code.
    Run(run::RunArguments),
    /// Put a link with delay, rate and loss between a UDP client and its server.
    Relay(relay::RelayArguments),
    /// Set the kernel's netem to such a link, where there is one: for any program, with CAP_NET_ADMIN.
    Netem(Box<netem::NetemArguments>),
}

/// Parses the command line and runs it.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        // What the real cores log of a simulated day is for whoever asks.
        let simulated = matches!(arguments.command, Command::Run(_));
        EnvFilter::new(if simulated { "off" } else { "info" })
    });
    let colour = std::env::var_os("NO_COLOR").is_none() && std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .log_internal_errors(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .init();
    let outcome = match arguments.command {
        Command::Demo(command) => command.run(),
        Command::Passes(command) => command.run(),
        Command::Budget(command) => command.run(),
        Command::Telemetry(command) => command.run(),
        Command::Score(command) => command.run(),
        Command::Plan(command) => command.run(),
        Command::Links(command) => command.run(),
        Command::Ephemeris(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Run(command) => command.run(),
        Command::Relay(command) => command.run(),
        Command::Netem(command) => command.run(),
    };
    match outcome {
        Ok(code) => code,
        // Whoever reads has enough: `| head` is no failure.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            // Nobody may be listening, and that is no reason to panic.
            let _ = writeln!(std::io::stderr(), "orbitsim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind)
    };
    error.chain().filter_map(io).any(|kind| kind == std::io::ErrorKind::BrokenPipe)
}

/// A runtime for the shells: one thread is plenty for a relay and a few children.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
