//! `onboard run` and `onboard check`.

use std::{io::Write, path::Path};

use anyhow::Context;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::RunArgs;
use crate::{
    config::Config,
    shell::{self, Configs, Said},
};

/// Flies until SIGINT or SIGTERM, with one configuration after another where that is ordered.
pub fn run(args: &RunArgs) -> anyhow::Result<()> {
    logging();
    let mut configs = Configs::open(&args.config)?;
    let json = args.ready_json;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .context("no runtime")?;
    let (done, store) = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        loop {
            let config = configs.start()?;
            shell::mind::limit(&config);
            let store = config.store.dir.clone();
            let stop = async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            };
            let flown = shell::fly(config, &mut configs, stop, |said| say(json, said)).await;
            match (flown, configs.again()) {
                (Ok(_), Some(reason)) => {
                    say(json, &Said::Again { event: "starting again", reason: reason.into() });
                }
                (Ok(done), None) => return anyhow::Ok((done, store)),
                (Err(error), _) if configs.is_trial() => configs.give_up(&format!("{error:#}")),
                (Err(error), _) => return Err(error),
            }
        }
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
    let tried = shell::check::flyable_file(&config);
    for notice in tried.with_context(|| path.display().to_string())? {
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
