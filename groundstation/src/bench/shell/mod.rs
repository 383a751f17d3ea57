//! The measurement itself: processes, sockets, a disk and a clock.

mod child;
mod disk;
mod frames;
mod memory;
mod pools;
mod serving;
mod receive;
mod send;
mod faults;

use super::report::{Figures, Run, Sample, Stage, figures, table};
use crate::{
    archive,
    budget::Budget,
    commands::say,
    config::Config,
    init::{self, Craft, Plan},
    shell::{mission, random, start, wall_clock},
};
use anyhow::{Context as _, ensure};
use child::Child;
use codecs::{ids::Origin, link::profile::LEO};
use codecs_quic::MTU_MAX;
use memory::Memory;
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::IsTerminal as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// Spacecraft connected at once, for the daemon's memory.
const CONNECTED: [u16; 2] = [4, 100];

/// What this machine can take
#[derive(Debug, clap::Subcommand)]
pub enum Bench {
    /// Frames over QUIC into the archive, as ratios to bare QUIC and the raw disk
    Ingest(IngestArgs),
    /// What the router takes to decide, and what the way to a pool costs
    Pools(pools::PoolsArgs),
    /// Whether ingest is slowed by pools in trouble
    Faults(faults::FaultsArgs),
    /// The process that serves
    #[command(hide = true)]
    Serve,
    /// The process of pools in trouble
    #[command(hide = true)]
    Double(faults::double::Args),
    /// The receiver's process
    #[command(hide = true)]
    Receive(receive::Args),
    /// The sender's process
    #[command(hide = true)]
    Send(send::Args),
    /// The process of many senders
    #[command(hide = true)]
    Connect(send::ConnectArgs),
}

/// Measures
#[derive(Debug, clap::Args)]
#[command(after_help = "Sender and receiver are two processes on loopback; on a machine with few \
    cores they compete.\nStages: disk (the folder alone), bare (QUIC alone), decoded (the daemon \
    without its archive: units checked, frames verified, packets taken out), durable (archived, \
    receipted after the sync, then verified and taken apart).\n\n\
    Example:\n  groundstation bench ingest --dir /srv/archive --rounds 5")]
pub struct IngestArgs {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// Folder on the volume to measure; what is written is removed again
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Measurements of each stage, in turn
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// UDP payload of the sender's packets, bytes; 1200 to 6550
    #[arg(long, value_name = "BYTES", value_delimiter = ',', default_values_t = [1452, 6500],
        value_parser = clap::value_parser!(u16).range(1200..=6550))]
    pub mtu: Vec<u16>,
    /// Measure only these stages, beside bare
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    pub stage: Vec<Stage>,
    /// Leave out the daemon's memory
    #[arg(long)]
    pub no_memory: bool,
}

/// Runs one of them.
pub fn run(bench: &Bench) -> anyhow::Result<ExitCode> {
    match bench {
        Bench::Ingest(args) => ingest(args)?,
        Bench::Pools(args) => pools::run(args)?,
        Bench::Faults(args) => faults::run(args)?,
        Bench::Serve => serving::serve()?,
        Bench::Double(args) => faults::double::run(args)?,
        Bench::Receive(args) => receive::run(args)?,
        Bench::Send(args) => send::run(args)?,
        Bench::Connect(args) => send::connect(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A station made for the measurement; its folder goes with it.
struct Station(PathBuf);

impl Station {
    /// Makes it, with so many spacecraft and more in its mission than these.
    fn make(dir: &Path, most: u16, more: &str) -> anyhow::Result<Self> {
        start::writable(dir).with_context(|| {
            let dir = dir.display();
            format!("--dir {dir}: name a folder on the volume to measure that may be written to")
        })?;
        let name = u64::from_be_bytes(random()?);
        let path = std::path::absolute(dir)?.join(format!("groundstation-bench-{name:016x}"));
        let station = Self(path.clone());
        let spacecraft: Vec<Craft> =
            (1..=most).map(|id| Craft { id, name: format!("CRAFT-{id}") }).collect();
        let mut mission = String::from("mission = \"bench\"\ndomain = \"bench\"\n");
        for craft in &spacecraft {
            mission.push_str(&format!(
                "[[spacecraft]]\nid = {}\nname = \"{}\"\n[[spacecraft.frames]]\nkind = \"aos\"\n\
                 scid = {}\nlength = {}\nfecf = true\n",
                craft.id,
                craft.name,
                craft.id,
                frames::FRAME_BYTES,
            ));
        }
        mission.push_str(more);
        let origins: Vec<Origin> =
            spacecraft.iter().map(|_| random().map(Origin)).collect::<Result<_, _>>()?;
        let plan = Plan {
            dir: path.clone(),
            mission,
            station: "Bench,0,0,0".parse().map_err(anyhow::Error::msg)?,
            spacecraft,
            quic: "127.0.0.1:0".parse()?,
            http: "127.0.0.1:0".parse()?,
        };
        init::init(&plan, wall_clock(), &origins)
            .with_context(|| format!("a station in {} (--dir)", path.display()))?;
        let config = station.config();
        let text = std::fs::read_to_string(&config)?;
        let listen = format!("connections_max = {}\nmtu_max = {MTU_MAX}\n\n[identity]", most + 8);
        // The first spacecraft is the one whose pass is measured: it gets the profile's window.
        let window = config_of_window();
        let text = text.replacen("[identity]", &listen, 1).replacen("[[principal]]\n", &window, 1);
        std::fs::write(&config, text)?;
        Ok(station)
    }

    fn config(&self) -> PathBuf {
        self.0.join("station.toml")
    }

    /// The archive of one measurement goes before the next, with the word that it was there.
    fn clear(&self, config: &Config) {
        let _ = std::fs::remove_dir_all(config.path(&config.archive.dir));
        let _ = std::fs::remove_file(crate::shell::witness::path(config));
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A row of the table with all the credit that a fast link wants.
fn config_of_window() -> String {
    format!("[[principal]]\ncredit_bytes = {}\n", LEO.connection_window_bytes)
}

/// What only some stage knows of the machine.
#[derive(Default, Serialize)]
struct Machine {
    cores: usize,
    cipher: String,
    /// Granted to the receiver, receive and send.
    socket_buffers_bytes: Option<[usize; 2]>,
    gso_segments: Option<usize>,
    gro_segments: Option<usize>,
    write_mode: Option<String>,
}

fn ingest(args: &IngestArgs) -> anyhow::Result<()> {
    ensure!(args.rounds > 0, "--rounds: at least 1");
    ensure!((0.1..=600.0).contains(&args.seconds), "--seconds: from 0.1 to 600");
    let most = CONNECTED.into_iter().max().unwrap_or(1);
    let station = Station::make(&args.dir, most, "")?;
    let config = Config::load(&station.config())?;
    let suites = rustls::crypto::ring::default_provider().cipher_suites;
    let mut machine = Machine {
        cores: std::thread::available_parallelism()?.get(),
        cipher: suites.first().map(|it| format!("{:?}", it.suite())).unwrap_or_default(),
        ..Machine::default()
    };
    let wanted = |stage: &Stage| {
        *stage == Stage::Bare || args.stage.is_empty() || args.stage.contains(stage)
    };
    let stages: Vec<Stage> = Stage::ALL.into_iter().filter(wanted).collect();
    let mut runs = Vec::new();
    for &mtu in &args.mtu {
        let mut rounds: BTreeMap<Stage, Vec<Sample>> = BTreeMap::new();
        for round in 0..args.rounds {
            for &stage in &stages {
                progress(&format!(
                    "MTU {mtu}, round {} of {}: {}",
                    round + 1,
                    args.rounds,
                    stage.name()
                ));
                let sample = measure(stage, mtu, args.seconds, &station, &config, &mut machine)
                    .with_context(|| format!("{} at MTU {mtu}", stage.name()))?;
                rounds.entry(stage).or_default().push(sample);
                station.clear(&config);
            }
        }
        let bare = rounds.get(&Stage::Bare).cloned().unwrap_or_default();
        let stages: Vec<(Stage, Figures)> =
            rounds.iter().map(|(stage, rounds)| (*stage, figures(rounds, &bare))).collect();
        runs.push(Run { mtu, stages });
    }
    let mut memory = Vec::new();
    if !args.no_memory {
        for spacecraft in CONNECTED {
            progress(&format!("memory with {spacecraft} spacecraft"));
            memory.push(memory::measure(&station.0, spacecraft)?);
            station.clear(&config);
        }
    }
    let definition = mission::load(&config.path(&config.mission))?;
    let budget = Budget::of(&config, &definition)?.bytes;
    match args.json {
        true => say(&document(args, &machine, &runs, &memory, budget)?.to_string()),
        false => people(&machine, &runs, &memory, budget),
    }
    Ok(())
}

/// A line for whoever waits.
fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        tracing::info!("{text}");
    }
}

fn measure(
    stage: Stage,
    mtu: u16,
    seconds: f64,
    station: &Station,
    config: &Config,
    machine: &mut Machine,
) -> anyhow::Result<Sample> {
    let segment_bytes = config.archive.segment_bytes;
    let commit = Duration::from_millis(config.archive.commit_ms);
    if stage == Stage::Disk {
        let (sample, mode) = disk::measure(&station.0, segment_bytes, commit, seconds)?;
        machine.write_mode.get_or_insert_with(|| mode.name().into());
        return Ok(sample);
    }
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (name, path) = (stage.name(), station.config().display().to_string());
    let mut receiver =
        Child::start(&words(&["bench", "receive", "--stage", name, "--config", &path]))?;
    let ready: receive::Ready = receiver.document()?;
    let (to, mtu) = (ready.address.to_string(), mtu.to_string());
    let (folder, seconds) = (station.0.display().to_string(), seconds.to_string());
    let mut sender = Child::start(&words(&[
        "bench",
        "send",
        "--stage",
        name,
        "--station",
        &folder,
        "--to",
        &to,
        "--mtu",
        &mtu,
        "--seconds",
        &seconds,
    ]))?;
    let sent: send::Sent = sender.document()?;
    receiver.tell(sent.frames)?;
    let done: receive::Done = receiver.document()?;
    sender.tell(0)?;
    ensure!(
        (done.frames, done.erred) == (sent.frames, 0),
        "{} frames were sent, {} came whole and {} erred",
        sent.frames,
        done.frames,
        done.erred
    );
    machine.socket_buffers_bytes = Some(ready.socket_buffers);
    machine.gso_segments = Some(sent.gso_segments);
    machine.gro_segments = Some(ready.gro_segments);
    if stage == Stage::Durable {
        machine.write_mode = Some(done.write_mode);
    }
    Ok(Sample {
        bytes: send::bytes(sent.frames),
        frames: sent.frames,
        wall_s: (done.ended_ns.unwrap_or(sent.ended_ns) - sent.began_ns) as f64 * 1e-9,
        cpu_s: done.cpu_s,
    })
}

fn document(
    args: &IngestArgs,
    machine: &Machine,
    runs: &[Run],
    memory: &[Memory],
    budget: u64,
) -> anyhow::Result<Value> {
    let runs: Vec<Value> = runs
        .iter()
        .map(|run| {
            let stages: serde_json::Map<String, Value> = run
                .stages
                .iter()
                .map(|(stage, figures)| (stage.name().to_owned(), json!(figures)))
                .collect();
            json!({ "mtu": run.mtu, "stages": stages })
        })
        .collect();
    Ok(json!({
        "frame_bytes": frames::FRAME_BYTES,
        "rounds": args.rounds,
        "seconds": args.seconds,
        "machine": machine,
        "runs": runs,
        "memory": memory,
        "archive_memory_bytes": archive::memory_bytes(),
        "budget_bytes": budget,
    }))
}

fn people(machine: &Machine, runs: &[Run], memory: &[Memory], budget: u64) {
    say(&table(runs));
    let text = |value: Option<String>| value.unwrap_or_else(|| "unknown".into());
    say(&format!(
        "{} cores, {}, socket buffers {} B, GSO {} and GRO {} segments, archive writes {}",
        machine.cores,
        machine.cipher,
        text(machine.socket_buffers_bytes.map(|[receive, send]| format!("{receive} and {send}"))),
        text(machine.gso_segments.map(|count| count.to_string())),
        text(machine.gro_segments.map(|count| count.to_string())),
        text(machine.write_mode.clone()),
    ));
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    for it in memory {
        say(&format!(
            "daemon with {} spacecraft: {:.1} MB resident, {:.1} MB at most, {:.1} MB idle",
            it.spacecraft,
            megabytes(it.connected_bytes),
            megabytes(it.peak_bytes),
            megabytes(it.idle_bytes),
        ));
    }
    if !memory.is_empty() {
        say(&format!("`check` allows this station {:.1} MB", megabytes(budget)));
    }
}
