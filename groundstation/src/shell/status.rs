//! `groundstation status`: what the running daemon says of itself.

use super::daemon::RUNNING;
use crate::{commands::say, config::Config};
use anyhow::{Context as _, bail};
use codecs::time::Tai;
use serde_json::Value;
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

/// Longest answer read.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// How long the daemon may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Show what the running station does
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 it runs, 1 it does not answer.")]
pub struct StatusArgs {
    /// Station file
    #[arg(long, value_name = "FILE", default_value = "station.toml")]
    pub config: PathBuf,
    /// Print the live state as one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Asks the daemon.
pub fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.config)?;
    let snapshot = ask(&config, "/api/v1/snapshot")?;
    match args.json {
        true => say(&snapshot.to_string()),
        false => say(&text(&address(&config), &snapshot)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the daemon of a station answers; a port 0 of the file became another.
fn address(config: &Config) -> String {
    let note = config.path(&config.archive.dir).join(RUNNING);
    let stated = std::fs::read_to_string(&note).ok();
    let running: Option<Value> = stated.and_then(|text| serde_json::from_str(&text).ok());
    running
        .as_ref()
        .and_then(|event| event["http"].as_str())
        .map_or(config.listen.http.to_string(), str::to_string)
}

/// What the running daemon answers to a path.
pub(super) fn ask(config: &Config, path: &str) -> anyhow::Result<Value> {
    let address = address(config);
    get(&address, path)
        .with_context(|| format!("no station answers on {address}; `groundstation run` starts it"))
}

fn get(address: &str, path: &str) -> anyhow::Result<Value> {
    serde_json::from_str(&text_of(address, path)?).context("the answer is no JSON")
}

/// What the daemon at an address answers to a path, word for word.
pub(crate) fn text_of(address: &str, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // HTTP/1.0: the answer ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { bail!("no HTTP answer") };
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    anyhow::ensure!(status == "200", "answered {status}");
    Ok(body.to_owned())
}

fn text(address: &str, snapshot: &Value) -> String {
    let counts = &snapshot["counts"];
    let count = |name: &str| counts[name].as_u64().unwrap_or(0);
    let rejected: u64 = counts["rejected"]
        .as_object()
        .map_or(0, |reasons| reasons.values().filter_map(Value::as_u64).sum());
    let mut out = format!(
        "station on http://{address}/\nunits: {} received = {} archived + {} duplicate + {} \
         conflict + {rejected} rejected; of those held, {} receipted + {} left to the next welcome",
        count("received"),
        count("archived"),
        count("duplicate"),
        count("conflict"),
        count("receipted"),
        count("left_to_welcome"),
    );
    out.push_str(&disk_line(&snapshot["disk"]));
    let missing = counts["segments"]["missing"].as_u64().unwrap_or(0);
    if missing > 0 {
        out.push_str(&format!(
            "\n{missing} segments are missing; `groundstation audit` names them"
        ));
    }
    for craft in snapshot["spacecraft"].as_array().into_iter().flatten() {
        let link = &craft["link"];
        let state = match link["open"].as_bool() {
            Some(true) => format!("link open from {}", link["peer"].as_str().unwrap_or("?")),
            _ => "no link".into(),
        };
        out.push_str(&format!("\n{}: {state}", craft["name"].as_str().unwrap_or("?")));
    }
    for door in snapshot["doors"].as_array().into_iter().flatten() {
        out.push('\n');
        out.push_str(&door_line(door));
    }
    for radio in snapshot["radios"].as_array().into_iter().flatten() {
        out.push('\n');
        out.push_str(&radio_line(radio));
    }
    out
}

/// Nothing where the disk is as it should be.
fn disk_line(disk: &Value) -> String {
    let (Some(state), Some(advice)) = (disk["state"].as_str(), disk["advice"].as_str()) else {
        return String::new();
    };
    let since = disk["since_ms"].as_i64().map(|ms| Tai::from_unix(ms.div_euclid(1000), 0));
    let since = since.map_or(String::new(), |since| format!(" since {}", since.to_rfc3339()));
    let error = disk["error"].as_str().map_or(String::new(), |error| format!(" ({error})"));
    let free = disk["free_bytes"]
        .as_u64()
        .map_or(String::new(), |free| format!(", {} MB free", free / 1_000_000));
    format!("\nthe archive's disk is {state}{since}{error}{free}: {advice}")
}

fn radio_line(radio: &Value) -> String {
    let count = |key: &str| radio[key].as_u64().unwrap_or(0);
    let refused: u64 = radio["refused"]
        .as_object()
        .map_or(0, |reasons| reasons.values().filter_map(Value::as_u64).sum());
    let said = match radio["to"].as_str() {
        Some(to) => format!("; {} statements said to {to}", count("statements")),
        None => "; nothing said".into(),
    };
    let error = radio["error"].as_str().map_or(String::new(), |error| format!("; {error}"));
    format!(
        "radio of spacecraft {}: {} parts, {} units rebuilt, {} durable, {refused} refused\
         {said}{error}",
        count("spacecraft"),
        count("parts"),
        count("rebuilt"),
        count("durable"),
    )
}

fn door_line(door: &Value) -> String {
    let word = |key: &str| door[key].as_str().unwrap_or("?");
    // A file is made with the first that goes into it, and a server waits for clients: without an
    // error both are as they should be.
    let state = match door["open"].as_u64().unwrap_or(0) {
        0 if door["error"].is_null() && word("to").starts_with("file:") => "open".to_string(),
        0 if door["error"].is_null() && word("to").starts_with("tcp-server:") => "listening".into(),
        0 => "closed".to_string(),
        1 => "open".to_string(),
        clients => format!("{clients} clients"),
    };
    let dropped: u64 = door["dropped"]
        .as_object()
        .map_or(0, |reasons| reasons.values().filter_map(Value::as_u64).sum());
    let sent = door["sent"].as_u64().unwrap_or(0);
    let error = door["error"].as_str().map_or(String::new(), |error| format!("; {error}"));
    format!(
        "door {} to {}: {state}, {sent} {} sent, {dropped} dropped{error}",
        word("name"),
        word("to"),
        word("sends"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_door_that_only_waits_is_not_closed() {
        let line = |to: &str, open: u64, error: Value| {
            let door = json!({ "name": "out", "to": to, "sends": "frames", "open": open,
                "error": error });
            door_line(&door)
        };
        let none = || Value::Null;
        assert!(line("file:out.bin", 0, none()).contains("file:out.bin: open, 0 frames sent"));
        assert!(line("tcp-server:127.0.0.1:1", 0, none()).contains(": listening, "));
        assert!(line("tcp-server:127.0.0.1:1", 3, none()).contains(": 3 clients, "));
        assert!(line("tcp-client:host:1", 0, none()).contains(": closed, "));
        assert!(line("file:out.bin", 0, json!("no space")).contains(": closed, "));
    }

    #[test]
    fn a_disk_in_trouble_is_told_with_what_to_do() {
        let disk = json!({
            "state": "full", "since_ms": 1_795_392_000_000_i64, "free_bytes": 0,
            "error": null, "advice": "make room",
        });
        let told = text("a", &json!({ "disk": disk }));
        let line =
            "the archive's disk is full since 2026-11-23T00:00:00.000Z, 0 MB free: make room";
        assert!(told.contains(line), "{told}");
        let good = json!({ "state": "good", "since_ms": 1, "advice": null });
        assert!(!text("a", &json!({ "disk": good })).contains("disk"));
    }

    #[test]
    fn missing_segments_are_told_where_there_are_any() {
        let told =
            |missing: u64| text("a", &json!({ "counts": { "segments": { "missing": missing } } }));
        assert!(told(2).contains("2 segments are missing"));
        assert!(!told(0).contains("missing"));
    }
}
