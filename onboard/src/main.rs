//! The `onboard` command; as the first process of a flight image, its init.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    if onboard::image::init::is_init() {
        onboard::image::init::main(|_config| Err("not there yet".into()));
    }
    match onboard::cli::run(onboard::cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("onboard: {error:#}");
            ExitCode::FAILURE
        }
    }
}
