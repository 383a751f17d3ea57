//! `onboard run` and `onboard check`.

use std::{io::Write, path::Path};

use anyhow::Context;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::RunArgs;
use crate::{
    config::{Config, Models},
    shell::{self, models},
};

/// Flies until SIGINT or SIGTERM.
pub fn run(args: &RunArgs) -> anyhow::Result<()> {
    logging();
    let config = Config::load(&args.config)?;
    shell::mind::limit(&config);
    let json = args.ready_json;
    let store = config.store.dir.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .context("no runtime")?;
    let done = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let stop = async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        shell::run(config, stop, |said| say(json, said)).await
    })?;
    say(json, &done);
    anyhow::ensure!(
        !done.unstored,
        "units taken before the stop could not be written and are lost: make room below {} \
         ([store] dir)",
        store.display()
    );
    Ok(())
}

/// One line of JSON on standard output; nobody listening is no reason to stop flying.
fn say(json: bool, document: &impl Serialize) {
    if json && let Ok(line) = serde_json::to_string(document) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

/// Checks a configuration and what it names, without flying.
pub fn check(path: &Path) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    let identity = &config.identity;
    // Both must work: a golden identity is looked at here, or never before it is needed.
    if config.ground.is_some() {
        codecs_quic::client_config(&identity.certificate, &identity.key, config.pins()?)?;
        if let Some((certificate, key)) = identity.golden() {
            codecs_quic::client_config(certificate, key, config.pins()?)?;
        }
    }
    // Slots are opened by a flight alone, which may put something into them.
    let packages = Models { slots: None, ..config.models.clone() };
    let (_, scorers) = models::load(&packages, codecs_quic::Monotonic::start())?;
    for notice in &scorers.notices {
        say!("note: {notice}");
    }
    say!("{}: {} can fly", path.display(), config.spacecraft.name);
    Ok(())
}

/// Talk goes to standard error; `RUST_LOG` chooses how much.
fn logging() {
    use std::io::IsTerminal;
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // A second flight in one process, as tests have, keeps the first one's.
    let _ = tracing_subscriber::fmt()
        .log_internal_errors(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(false)
        .try_init();
}
