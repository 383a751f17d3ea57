//! The ground station's command line; see `groundstation --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    groundstation::cli::run()
}
