//! Heavy work of the demonstration: a pool of another machine before the station's own, and what
//! each did around the former's death.

use super::Stage;
use super::files;
use super::process::{self, Running};
use crate::demo::summary::{Heavy, PoolKill};
use anyhow::{Context, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// How long a killed pool stays away.
pub(super) const AWAY: Duration = Duration::from_secs(8);

/// The pool of another machine: `groundstation pools serve`.
pub(super) struct Served {
    /// The process; none while it is dead.
    process: Option<Running>,
    package: String,
    pub address: SocketAddr,
    /// Jobs done by each pool when it was killed, and when it came back.
    killed: Option<BTreeMap<String, u64>>,
    back: Option<BTreeMap<String, u64>>,
    peak_kib: (u64, u64),
}

impl Served {
    /// Starts it on a free port.
    pub async fn start(stage: &Stage<'_>, packages: &Path) -> anyhow::Result<Self> {
        let package = packages.join(files::HEAVY).display().to_string();
        let any = (std::net::Ipv4Addr::LOCALHOST, 0).into();
        let (process, address) = start(stage, &package, any).await?;
        let process = Some(process);
        Ok(Self { process, package, address, killed: None, back: None, peak_kib: (0, 0) })
    }

    /// An error if it has ended on its own.
    pub fn check(&mut self) -> anyhow::Result<()> {
        self.process.as_mut().map_or(Ok(()), |process| {
            process.note_memory();
            process.check()
        })
    }

    /// SIGKILL; not before it did something, since nothing could be taken over from it: whether it
    /// was killed.
    pub async fn kill(&mut self, stage: &Stage<'_>) -> anyhow::Result<bool> {
        let done = stage.jobs_by_pool().await?;
        if count(&done, files::SHARED) == 0 {
            return Ok(false);
        }
        let Some(mut process) = self.process.take() else { return Ok(false) };
        self.peak_kib = process.kill().await?;
        // What it answered before it died is its own.
        let done = stage.jobs_by_pool().await?;
        eprintln!("Killed the pool {} after {} jobs", files::SHARED, count(&done, files::SHARED));
        self.killed = Some(done);
        Ok(true)
    }

    /// Starts it again where it was.
    pub async fn restart(&mut self, stage: &Stage<'_>) -> anyhow::Result<()> {
        let done = stage.jobs_by_pool().await?;
        let others =
            |of: &BTreeMap<String, u64>| of.values().sum::<u64>() - count(of, files::SHARED);
        let taken = others(&done).saturating_sub(self.killed.as_ref().map_or(0, others));
        eprintln!("Starting {} again; {taken} jobs were done without it", files::SHARED);
        let (process, _) = start(stage, &self.package, self.address).await?;
        (self.process, self.back) = (Some(process), Some(done));
        Ok(())
    }

    /// Stops it; what it and others did, and its peak memory.
    pub async fn stop(
        self,
        jobs_by_pool: BTreeMap<String, u64>,
        to_be_killed: bool,
    ) -> anyhow::Result<(Heavy, u64)> {
        let mut peak_kib = self.peak_kib.0;
        if let Some(process) = self.process {
            peak_kib = peak_kib.max(process.stop().await?.1.0);
        }
        let kill = self.killed.map(|before| {
            let back = self.back.unwrap_or_else(|| jobs_by_pool.clone());
            let away = subtract(&back, &before);
            PoolKill { after: subtract(&jobs_by_pool, &back), before, away }
        });
        let never_killed = to_be_killed && kill.is_none();
        Ok((Heavy { jobs_by_pool, kill, never_killed }, peak_kib))
    }
}

async fn start(
    stage: &Stage<'_>,
    package: &str,
    address: SocketAddr,
) -> anyhow::Result<(Running, SocketAddr)> {
    let listen = address.to_string();
    let serve = ["pools", "serve", "--package", package, "--listen", &listen];
    let arguments = [&serve[..], &["--danger-accept-development-key"]].concat();
    let (program, log) = (&stage.programs.groundstation, stage.layout.log(files::SHARED));
    let mut process = Running::start("pool", program, &arguments, &log)?;
    let ready = process.ready().await?;
    let url = ready["url"].as_str().and_then(|url| url.strip_prefix("http://"));
    let address = url.and_then(|url| url.parse().ok()).context("the pool names no address")?;
    Ok((process, address))
}

/// Jobs that a pool did.
fn count(jobs: &BTreeMap<String, u64>, pool: &str) -> u64 {
    jobs.get(pool).copied().unwrap_or_default()
}

/// What came since.
fn subtract(now: &BTreeMap<String, u64>, then: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    now.iter().map(|(pool, jobs)| (pool.clone(), jobs.saturating_sub(count(then, pool)))).collect()
}

impl Stage<'_> {
    /// Jobs with a result by pool, as the station's own log has them.
    pub(super) async fn jobs_by_pool(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let config = self.layout.station_file().display().to_string();
        let arguments = ["jobs", "--json", "--last", "1", "--config", &config];
        let (program, log) = (&self.programs.groundstation, self.layout.log("jobs"));
        let (text, done) = process::finish("groundstation jobs", program, &arguments, &log).await?;
        ensure!(done, "groundstation jobs failed; see {}", log.display());
        Ok(tallies(&serde_json::from_str(&text)?))
    }
}

/// Jobs with a result by pool, out of what tells accounts.
fn tallies(view: &Value) -> BTreeMap<String, u64> {
    let pools = view["accounts"]["pools"].as_object();
    let done = |tally: &Value| tally["done"].as_u64().unwrap_or_default();
    pools.into_iter().flatten().map(|(name, tally)| (name.clone(), done(tally))).collect()
}
