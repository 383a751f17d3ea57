//! `groundstation check`: what `run` would find, and what its memory may reach.

use super::{
    clock, control,
    daemon::RUNNING,
    disk::Folder,
    door_files, doors, idle,
    keeping::UNREADABLE,
    plan,
    start::{self, Ground},
    tls, wall_clock, work,
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
    os::fd::OwnedFd,
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
    warnings.extend(start::exposed(&config));
    warnings.extend(work::idle_rules(&config, &definition));
    warnings.extend(idle::pools(&config, &definition));
    warnings.extend(door_files::waiting(&config));
    let now = wall_clock();
    for (path, end) in tls::ends(&config)? {
        warnings.extend(ending(&path, end, now)?);
    }
    start::try_folders(&config)?;
    warnings.extend(folders_of_doors(&config));
    warnings.extend(ports(&config, own_daemon(&config, file)?.as_ref())?);
    config.contact_plan().map_or(Ok(()), |plan| plan::check(&plan))?;
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

/// The note of the daemon that runs from this very station file, where one does. An archive that
/// anyone else writes is refused as `run` refuses it.
fn own_daemon(config: &Config, file: &Path) -> anyhow::Result<Option<Value>> {
    let dir = config.path(&config.archive.dir);
    if !dir.join("lock").exists() {
        return Ok(None);
    }
    let Err(error) = Folder::claim(&dir) else { return Ok(None) };
    let note = std::fs::read(dir.join(RUNNING)).unwrap_or_default();
    let note: Value = serde_json::from_slice(&note).unwrap_or_default();
    let own = note["config"].is_null() || note["config"] == json!(start::real(file)?);
    if own && control::is_answered(&dir) {
        return Ok(Some(note));
    }
    Err(error).with_context(|| format!("archive {} (config key archive.dir)", dir.display()))
}

/// Listens where the station would, on all of it at once. What the station itself has is told,
/// since it is the usual reason where one runs; anything else is refused as `run` refuses it.
fn ports(config: &Config, own: Option<&Value>) -> anyhow::Result<Vec<String>> {
    let mut warnings = Vec::new();
    let mut held: Vec<OwnedFd> = Vec::new();
    let mut streams: Vec<SocketAddr> = Vec::new();
    let mut judge = |tried: anyhow::Result<OwnedFd>, key: &str, at: SocketAddr, own: bool| {
        // QUIC's is a port of UDP.
        let again = key != "listen.quic" && streams.iter().any(|other| overlap(*other, at));
        streams.extend((key != "listen.quic").then_some(at));
        let error = match tried {
            Ok(listener) => {
                held.push(listener);
                return Ok(());
            }
            Err(error) => error,
        };
        let cause = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if own && !again && cause == Some(io::ErrorKind::AddrInUse) {
            warnings.push(format!("{key}: {at} is taken, by this station itself"));
            return Ok(());
        }
        Err(error)
    };
    let (quic, http) = (config.listen.quic, config.listen.http);
    let has = |name: &str, at: SocketAddr| own.is_some_and(|own| own[name] == at.to_string());
    judge(start::quic(config).map(OwnedFd::from), "listen.quic", quic, has("quic", quic))?;
    judge(start::http(config).map(OwnedFd::from), "listen.http", http, has("http", http))?;
    for (name, at) in start::listening_doors(config) {
        // The note does not name doors.
        let listener = doors::listen(&name, at).map(OwnedFd::from);
        judge(listener, &format!("door {name}"), at, own.is_some())?;
    }
    Ok(warnings)
}

/// Whether only one of two streams can be listened for.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || any && one.is_ipv4() == other.is_ipv4())
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

    fn station(dir: &Path, rest: &str) -> Config {
        let file = dir.join("station.toml");
        let text = "mission = 'mission.toml'\n[station]\nname = 'Test'\nlatitude_deg = 48.0\n\
            longitude_deg = 11.0\n[identity]\nauthority = 'a.crt'\ncertificate = 's.crt'\n\
            key = 's.key'\n";
        std::fs::write(&file, format!("{text}{rest}")).unwrap();
        Config::load(&file).unwrap()
    }

    #[test]
    fn an_archive_that_another_writes_is_refused_and_ones_own_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (file, archive) = (dir.path().join("station.toml"), dir.path().join("archive"));
        let config = station(dir.path(), "");
        assert!(own_daemon(&config, &file).unwrap().is_none());
        assert!(!archive.exists(), "nothing is left behind");
        let (_, lock) = Folder::claim(&archive).unwrap();
        let said = || format!("{:#}", own_daemon(&config, &file).unwrap_err());
        assert!(said().ends_with("in use by another daemon"), "{}", said());
        let answers = std::os::unix::net::UnixListener::bind(archive.join("control.sock")).unwrap();
        let note = |config: &Path| {
            let note = json!({ "config": start::real(config).unwrap() });
            std::fs::write(archive.join(RUNNING), note.to_string()).unwrap();
        };
        note(&dir.path().join("other.toml"));
        assert!(said().contains("config key archive.dir"), "{}", said());
        note(&file);
        assert!(own_daemon(&config, &file).unwrap().is_some());
        drop((lock, answers));
        assert!(own_daemon(&config, &file).unwrap().is_none(), "its note is stale");
    }

    #[test]
    fn one_port_for_two_listeners_is_refused_also_beside_the_own_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = free.local_addr().unwrap();
        let door = |name: &str| {
            format!("[[door]]\nname = '{name}'\nto = 'tcp-server:{at}'\nsend = 'frames'\n")
        };
        let listen = |http: &str| format!("[listen]\nquic = '127.0.0.1:0'\nhttp = '{http}'\n");
        let page = station(dir.path(), &(listen(&at.to_string()) + &door("a")));
        let doors = station(dir.path(), &(listen("127.0.0.1:0") + &door("a") + &door("b")));
        let own = json!({ "http": at.to_string() });
        let said = |config: &Config, own| format!("{:#}", ports(config, own).unwrap_err());
        assert!(said(&page, Some(&own)).contains("door a"), "taken by the daemon's page");
        assert!(said(&doors, Some(&own)).contains("door b"), "taken by the daemon's door");
        drop(free);
        assert!(said(&page, None).contains("door a"));
        assert!(said(&doors, None).contains("door b"));
    }

    #[test]
    fn an_end_is_told_a_month_before_and_refused_after() {
        let now = Tai::from_rfc3339("2026-11-26T12:00:00Z").unwrap();
        let after = |days| ending(Path::new("s.crt"), now.plus(days * DAY_NS), now);
        assert_eq!(after(31).unwrap(), None);
        assert!(after(29).unwrap().unwrap().contains("ends in 29 days"));
        assert!(after(-1).unwrap_err().to_string().contains("issue another"));
    }
}
