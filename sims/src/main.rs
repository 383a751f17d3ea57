//! The `orbitsim` command: orbits, links and the demonstration.

use std::process::ExitCode;

fn main() -> ExitCode {
    sims::cli::run()
}
