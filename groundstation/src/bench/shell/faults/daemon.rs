//! The real daemon beside a double: one run of a station, and what its job log says afterwards.

use super::{
    super::{
        super::faults::{Fault, Jobs, Questions, Run},
        Station,
        child::{Attended, cpu_of_s},
    },
    double::{MODEL, Ready},
    sender::{self, Schedule},
};
use crate::{
    config::Config,
    router::past::Entry,
    shell::{jobs, status},
};
use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    cell::Cell,
    path::Path,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// Seconds that a job may take.
const DEADLINE_S: u32 = 2;
/// How long one waits, after the last object, until every job has ended.
const DRAIN: Duration = Duration::from_secs(DEADLINE_S as u64 + 15);
/// How long a pool may take until its models are known.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often one looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// From one kill of the embedded pool's process to the next.
const KILL_EVERY: Duration = Duration::from_secs(1);
/// It is stopped that long before, so that it has work for certain when it dies.
const STOPPED: Duration = Duration::from_millis(100);

/// What the mission has beside its spacecraft: each tile is a job.
pub fn mission() -> String {
    format!(
        "[[product]]\nkind = \"tile\"\nname = \"Tile\"\n\
         [[rule]]\non = \"product:tile\"\ntask = \"cloud-mask/1\"\ndeadline_s = {DEADLINE_S}\n"
    )
}

/// Pools of the station file: where servers are, or which package the embedded pool has.
fn pools(fault: Fault, trouble: bool, ready: &Ready, package: Option<&Path>) -> String {
    if let (Fault::Killed, Some(package)) = (fault, package) {
        return format!(
            "\n[[pool]]\nname = \"embedded\"\nkind = \"embedded\"\npackages = [{package:?}]\n\
             danger_accept_development_key = true\n"
        );
    }
    let pool = |name: &str, url: &str, more: &str| {
        format!(
            "\n[[pool]]\nname = \"{name}\"\nkind = \"oip-rest\"\nurl = \"{url}\"\n{more}\
             tasks = {{ \"cloud-mask/1\" = \"{MODEL}\" }}\n"
        )
    };
    let url = if trouble { &ready.faulty } else { &ready.good };
    // A tenth of a millisecond of waiting is worth what a question costs: it is liked best until
    // five spent its budget.
    let money = match trouble && fault == Fault::Budget {
        true => "price = { request = 0.000001 }\nbudget_day = 0.000005\n",
        false => "",
    };
    let mut text = pool("first", url, money);
    if fault.has_second() {
        text += &pool("second", &ready.good, "");
    }
    text
}

/// A station whose pools change from run to run.
pub struct Bench {
    station: Station,
    /// The station file without pools.
    file: String,
}

impl Bench {
    /// In a folder.
    pub fn new(dir: &Path) -> anyhow::Result<Self> {
        let station = Station::make(dir, 1, &mission())?;
        let file = std::fs::read_to_string(station.config())?;
        Ok(Self { station, file })
    }

    /// Runs the daemon on an empty archive, beside pools with or without a fault.
    pub async fn run(
        &self,
        fault: Fault,
        trouble: bool,
        schedule: &Schedule,
        package: Option<&Path>,
    ) -> anyhow::Result<Run> {
        let mut double =
            Attended::start(&["bench", "double", "--fault", fault.name()]).context("the double")?;
        let ready: Ready = double.document().await.context("the double")?;
        let path = self.station.config();
        std::fs::write(&path, self.file.clone() + &pools(fault, trouble, &ready, package))?;
        let config = Config::load(&path)?;
        self.station.clear(&config);
        let log = jobs::path(&config);
        if let Err(error) = std::fs::remove_file(&log)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(error).with_context(|| format!("job log {}", log.display()));
        }
        let path = path.display().to_string();
        let mut daemon = Attended::start(&["run", "--config", &path]).context("the daemon")?;
        let listens: Value = daemon.document().await.context("the daemon")?;
        let address = |key: &str| listens[key].as_str().context("where the daemon listens");
        let (quic, http) = (address("quic")?.parse()?, address("http")?.to_owned());
        if !(trouble && fault == Fault::Dead) {
            known(&http).await?;
        }
        let (kills, cpu_before) = (Cell::new(0), cpu_of_s(daemon.id()));
        let sending = sender::send(&self.station.0, quic, schedule);
        let sent = match trouble && fault == Fault::Killed {
            true => tokio::select! {
                sent = sending => sent,
                never = kill_again_and_again(daemon.id(), &kills) => match never {},
            },
            false => sending.await,
        };
        let sent = sent.context("sending")?;
        let cpu_s = cpu_of_s(daemon.id()) - cpu_before;
        drained(&log, schedule.tiles).await?;
        let metrics = asked(&http, "/metrics").await.context("metrics of the daemon")?;
        // What is counted is what stands on the disk when no one writes any more.
        drop(daemon);
        Ok(Run {
            latencies_ms: sent.latencies_ms,
            objects: sent.objects,
            unreceipted: sent.unreceipted,
            tiles: schedule.tiles,
            jobs: counted(&log)?,
            questions: Questions::of(&metrics),
            kills: kills.get(),
            cpu_s,
        })
    }
}

/// What the daemon answers to a path.
async fn asked(http: &str, path: &'static str) -> anyhow::Result<String> {
    let http = http.to_owned();
    tokio::task::spawn_blocking(move || status::text_of(&http, path)).await?
}

/// Waits until the models of all pools are known and fit.
async fn known(http: &str) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let view: Value = serde_json::from_str(&asked(http, "/api/v1/pools").await?)?;
        let pools = view["pools"].as_array().map_or(&[][..], Vec::as_slice);
        let tasks = || pools.iter().flat_map(|pool| pool["tasks"].as_array().into_iter().flatten());
        if tasks().count() > 0 && tasks().all(|task| task["registration"] == "accepted") {
            return Ok(());
        }
        ensure!(Instant::now() < until, "after {PATIENCE:?} pools are not in use: {view}");
        sleep(LOOK_AGAIN).await;
    }
}

fn counted(log: &Path) -> anyhow::Result<Jobs> {
    let mut lines = Vec::new();
    let read = jobs::read(log, |entry| match entry {
        Entry::Line(line) => lines.push(*line),
        Entry::Past(_) => {}
    });
    read.with_context(|| format!("job log {}", log.display()))?;
    Ok(Jobs::of(lines))
}

/// Waits until as many jobs have ended, or the time for that is over: then it is told as it stands.
async fn drained(log: &Path, jobs: u64) -> anyhow::Result<()> {
    let until = Instant::now() + DRAIN;
    while counted(log)?.ended() < jobs && Instant::now() < until {
        sleep(LOOK_AGAIN * 5).await;
    }
    Ok(())
}

/// Stops the process of the daemon's embedded pool, and kills it with what it was given since.
async fn kill_again_and_again(daemon: u32, kills: &Cell<u64>) -> std::convert::Infallible {
    loop {
        sleep(KILL_EVERY - STOPPED).await;
        // Where it has not come back yet there is none.
        let looked = tokio::task::spawn_blocking(move || child_of(daemon)).await;
        let Ok(Some(child)) = looked else { continue };
        let stopped = kill_process(child, Signal::STOP).is_ok();
        sleep(STOPPED).await;
        if stopped && kill_process(child, Signal::KILL).is_ok() {
            kills.set(kills.get() + 1);
        }
    }
}

/// The child of a process that still runs.
fn child_of(parent: u32) -> Option<Pid> {
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // Name in brackets, state, parent.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let (state, of) = (fields.next()?, fields.next()?);
        (state != "Z" && of.parse() == Ok(parent)).then(|| Pid::from_raw(pid))?
    })
}
