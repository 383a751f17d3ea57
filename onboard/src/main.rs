//! The `onboard` command; as the first process of a flight image, its init.

use std::{ffi::OsStr, process::ExitCode};

use clap::Parser;
use onboard::cli::Cli;

/// A flight that has no memory left ends at once, to be started again.
#[global_allocator]
static MEMORY: onboard::shell::sys::memory::Ending = onboard::shell::sys::memory::Ending;

fn main() -> ExitCode {
    if onboard::image::init::is_init() {
        onboard::image::init::main(|config| {
            let words = ["onboard", "run", "--ready-json", "--config"].map(OsStr::new);
            let words = words.into_iter().chain([config.as_os_str()]);
            let flight = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
            onboard::cli::run(flight).map_err(|error| format!("{error:#}"))
        });
    }
    match onboard::cli::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if onboard::cli::is_heard_enough(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be listening, and that is no reason to panic.
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "onboard: {error:#}");
            ExitCode::FAILURE
        }
    }
}
