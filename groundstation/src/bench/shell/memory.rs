//! What the daemon itself takes in memory, with spacecraft connected that sent at once.

use super::{child::Child, send::ConnectArgs};
use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;
use std::path::Path;

/// Resident memory of `groundstation run`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Memory {
    /// Spacecraft connected.
    pub spacecraft: u16,
    /// Frames that they sent and that were receipted.
    pub frames: u64,
    /// Before anyone connected.
    pub idle_bytes: u64,
    /// While they are connected, after what they sent.
    pub connected_bytes: u64,
    /// The most so far.
    pub peak_bytes: u64,
}

/// Runs the daemon of a station, and lets so many spacecraft connect and send.
pub fn measure(station: &Path, spacecraft: u16) -> anyhow::Result<Memory> {
    let config = station.join("station.toml").display().to_string();
    let mut daemon = Child::start(&["run".into(), "--config".into(), config])?;
    let ready: Value = daemon.document()?;
    let address = ready["quic"].as_str().context("where the daemon listens")?.parse()?;
    let [idle_bytes, _] = resident(daemon.id())?;
    let args = ConnectArgs { station: station.into(), to: address, spacecraft };
    let mut clients = Child::start(&[
        "bench".into(),
        "connect".into(),
        "--station".into(),
        args.station.display().to_string(),
        "--to".into(),
        args.to.to_string(),
        "--spacecraft".into(),
        args.spacecraft.to_string(),
    ])?;
    let frames = clients.document()?;
    let [connected_bytes, peak_bytes] = resident(daemon.id())?;
    clients.go_on()?;
    Ok(Memory { spacecraft, frames, idle_bytes, connected_bytes, peak_bytes })
}

/// Resident bytes of a process, now and at most.
fn resident(process: u32) -> anyhow::Result<[u64; 2]> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kilobytes << 10)
    };
    let both = field("VmRSS:").zip(field("VmHWM:"));
    both.map(|(now, most)| [now, most]).context("the memory of the daemon")
}
