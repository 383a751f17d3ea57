//! `groundstation check`: what `run` would find, and what its memory may reach.

use super::{clock, mission, tls, wall_clock};
use crate::{budget::Budget, commands::say, config::Config};
use anyhow::{Context as _, bail};
use codecs::time::Tai;
use serde_json::json;
use std::{
    net::{SocketAddr, TcpListener, UdpSocket},
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
    let config = Config::load(&args.config)?;
    let definition = mission::load(&config.path(&config.mission))?;
    config.check_mission(&mission::spacecraft(&definition))?;
    tls::server_config(&config)?;
    clock::warn_of_leap_seconds();
    let mut warnings = Vec::new();
    if config.principals.is_empty() {
        warnings.push("no [[principal]]: no one may deliver".to_string());
    }
    let now = wall_clock();
    for (path, end) in tls::ends(&config)? {
        warnings.extend(ending(&path, end, now)?);
    }
    let archive = config.path(&config.archive.dir);
    writable(&archive)
        .with_context(|| format!("archive {} (config key archive.dir)", archive.display()))?;
    for (key, address, taken) in taken(&config) {
        // A station that runs already is the usual reason.
        warnings.push(format!("{key}: {address} is taken ({taken}); by this station itself?"));
    }
    let budget = Budget::of(&config, &definition)?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    match args.json {
        true => say(&json!({ "good": true, "warnings": warnings, "memory": budget }).to_string()),
        false => say(&format!("{}\n{}: good", budget.table(), args.config.display())),
    }
    Ok(ExitCode::SUCCESS)
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

/// Tries a file in a folder, or in the nearest one above that exists.
fn writable(dir: &Path) -> anyhow::Result<()> {
    let existing = dir.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    let name = existing.join(format!(".check-{}", std::process::id()));
    std::fs::write(&name, b"groundstation check")
        .with_context(|| format!("{} can't be written to", existing.display()))?;
    std::fs::remove_file(&name)?;
    Ok(())
}

/// Addresses that can't be listened on now.
fn taken(config: &Config) -> Vec<(&'static str, SocketAddr, String)> {
    let (quic, http) = (config.listen.quic, config.listen.http);
    let tried = [
        ("listen.quic", quic, UdpSocket::bind(quic).err()),
        ("listen.http", http, TcpListener::bind(http).err()),
    ];
    let failed = tried.into_iter();
    failed.filter_map(|(key, address, error)| Some((key, address, error?.to_string()))).collect()
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

    #[test]
    fn a_folder_that_can_not_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        writable(&dir.path().join("not/there/yet")).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
        // Where even root may not write.
        let error = writable(Path::new("/proc/self/archive")).unwrap_err();
        assert!(error.to_string().contains("can't be written to"), "{error}");
    }
}
