//! `groundstation check`: what `run` would find, and what its memory may reach.

use super::{
    clock, control,
    daemon::RUNNING,
    doors,
    keeping::UNREADABLE,
    start::{self, Ground},
    tls, wall_clock,
};
use crate::{
    budget::Budget,
    commands::say,
    config::Config,
    door::spec::{Begin, Destination},
};
use anyhow::{Context as _, bail};
use codecs::time::Tai;
use serde_json::{Value, json};
use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Days before a certificate's end from which it is told.
const WARN_DAYS: i64 = 30;
const DAY_NS: i64 = 86_400_000_000_000;

/// Check a station file, its mission, certificates, folders and ports, and print the memory budget
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 `run` would start, 1 it would not. Warnings alone are 0.")]
pub struct CheckArgs {
    /// Station file
    #[arg(long, value_name = "FILE", default_value = "station.toml")]
    pub config: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Checks.
pub fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let checked = check(&args.config);
    match (checked, args.json) {
        (Ok(found), true) => {
            say(&json!({ "good": true, "warnings": found.warnings, "memory": found.budget })
                .to_string());
        }
        (Ok(found), false) => {
            found.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            say(&format!("{}\n{}: good", found.budget.table(), args.config.display()));
        }
        (Err(error), true) => {
            say(&json!({ "good": false, "error": format!("{error:#}") }).to_string());
            return Err(error);
        }
        (Err(error), false) => return Err(error),
    }
    Ok(ExitCode::SUCCESS)
}

/// A station that would start.
struct Found {
    warnings: Vec<String>,
    budget: Budget,
}

fn check(file: &Path) -> anyhow::Result<Found> {
    let config = Config::load(file)?;
    let Ground { definition, bucket, .. } = Ground::read(&config)?;
    clock::warn_of_leap_seconds();
    let mut warnings = Vec::new();
    if config.principals.is_empty() {
        warnings.push("no [[principal]]: no one may deliver".to_string());
    }
    let now = wall_clock();
    for (path, end) in tls::ends(&config)? {
        warnings.extend(ending(&path, end, now)?);
    }
    start::try_folders(&config)?;
    warnings.extend(folders_of_doors(&config));
    warnings.extend(ports(&config)?);
    let found = start::ledger(&config, false)?;
    if let Some(bucket) = bucket.filter(|_| found.is_none()) {
        // A new ledger begins with what it holds.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(bucket.ledgers()).context(UNREADABLE)?;
    }
    let budget = Budget::of(&config, &definition)?;
    Ok(Found { warnings, budget })
}

/// Folders without which a station starts, and doors don't do what they are for.
fn folders_of_doors(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut tried = |what: String, folder: &Path| {
        if let Err(error) = start::writable(folder) {
            warnings.push(format!("{what}: {error:#}"));
        }
    };
    for door in config.doors() {
        if door.begin == Begin::Last {
            let what = format!("door {}: it would begin anew at each start", door.name);
            tried(what, &config.path(Path::new(doors::CURSORS)));
        }
        if let Destination::File(path) = &door.to {
            let path = config.path(path);
            tried(format!("door {}", door.name), path.parent().unwrap_or(&config.base));
        }
    }
    warnings
}

/// Listens where the station would. What the station itself has is told, since it is the usual
/// reason where one runs; anything else is refused as `run` refuses it.
fn ports(config: &Config) -> anyhow::Result<Vec<String>> {
    let dir = config.path(&config.archive.dir);
    let running = control::is_answered(&dir);
    let own: Value = match running {
        true => std::fs::read(dir.join(RUNNING))
            .map(|note| serde_json::from_slice(&note).unwrap_or_default())
            .unwrap_or_default(),
        false => Value::Null,
    };
    let mut warnings = Vec::new();
    let mut judge = |tried: anyhow::Result<()>, key: &str, at: SocketAddr, own: bool| {
        let Err(error) = tried else { return Ok(()) };
        let cause = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if own && cause == Some(io::ErrorKind::AddrInUse) {
            warnings.push(format!("{key}: {at} is taken, by this station itself"));
            return Ok(());
        }
        Err(error)
    };
    let (quic, http) = (config.listen.quic, config.listen.http);
    let has = |name: &str, at: SocketAddr| own[name] == at.to_string();
    judge(start::quic(config).map(drop), "listen.quic", quic, has("quic", quic))?;
    judge(start::http(config).map(drop), "listen.http", http, has("http", http))?;
    for (name, at) in start::listening_doors(config) {
        // The note does not name doors.
        judge(doors::listen(&name, at).map(drop), &format!("door {name}"), at, running)?;
    }
    Ok(warnings)
}

/// What there is to say of a certificate's end.
fn ending(path: &Path, end: Tai, now: Tai) -> anyhow::Result<Option<String>> {
    let days = (end.0 - now.0).div_euclid(DAY_NS);
    let path = path.display();
    let until = end.to_rfc3339();
    if days < 0 {
        bail!("certificate {path}: ended {until}; issue another and put it in its place");
    }
    Ok((days < WARN_DAYS)
        .then(|| format!("certificate {path}: ends in {days} days, {until}; roll it before")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_a_month_before_and_refused_after() {
        let now = Tai::from_rfc3339("2026-11-26T12:00:00Z").unwrap();
        let after = |days| ending(Path::new("s.crt"), now.plus(days * DAY_NS), now);
        assert_eq!(after(31).unwrap(), None);
        assert!(after(29).unwrap().unwrap().contains("ends in 29 days"));
        assert!(after(-1).unwrap_err().to_string().contains("issue another"));
    }
}
