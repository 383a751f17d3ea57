//! Heavy work on its way to a pool.

use super::{clock::StationClock, jobs::JobLog, start};
use crate::{
    config::{Config, PoolConfig, PoolKind},
    dispatch::{Action, Dispatch},
    pool::{
        Pool, PoolError, Request, Response,
        embedded::{self, Embedded},
        oip_rest::OipRest,
    },
    process::Work,
    publish::Feed,
};
use anyhow::Context as _;
use onboard_model::{Package, Trust};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinSet};

/// Work between the thread that interprets and the dispatcher; who is at the bound waits, which
/// the dispatcher never lets last.
const WORK_QUEUE: usize = 256;

/// File of the job log, beside the station file.
pub(super) const JOB_LOG: &str = "jobs.log";

/// Starts the pools and the dispatcher; gives where work of the process goes. Dispatching ends when
/// that is dropped: what is not decided by then is asked for again by the next start's replay.
pub fn dispatcher(
    config: &Config,
    feed: Feed,
    clock: StationClock,
) -> anyhow::Result<impl FnMut(Work) + Send + use<>> {
    if config.pools.is_empty() {
        tracing::info!("no [[pool]]: heavy work waits and says so");
    }
    let pools =
        config.pools.iter().map(|pool| open(config, pool)).collect::<Result<Vec<_>, _>>()?;
    let (log, lines) = JobLog::open(&config.path(Path::new(JOB_LOG)))?;
    let core = Dispatch::new(pools.iter().map(|pool| pool.describe()).collect(), lines);
    let (sender, work) = mpsc::channel(WORK_QUEUE);
    let shell = Shell { core, pools, log: Some(log), feed, clock, answers: JoinSet::new() };
    tokio::spawn(shell.run(work));
    Ok(move |work: Work| {
        // The dispatcher ends only with the runtime: then there is nothing left to tell.
        let _ = sender.blocking_send(work);
    })
}

/// Tries what [`dispatcher`] opens, and starts nothing.
pub fn check(config: &Config) -> anyhow::Result<()> {
    let remote = config.pools.iter().filter(|pool| pool.kind == PoolKind::OipRest);
    for pool in remote {
        client(pool)?;
    }
    let log = config.path(Path::new(JOB_LOG));
    let folder = log.parent().unwrap_or(&config.base);
    let tried = if log.exists() { start::appendable(&log) } else { start::writable(folder) };
    tried.with_context(|| format!("job log {}", log.display()))
}

fn client(pool: &PoolConfig) -> anyhow::Result<OipRest> {
    let url = pool.url.as_deref().unwrap_or_default();
    let client = OipRest::new(&pool.name, url, pool.tasks.clone(), None);
    client.map_err(anyhow::Error::msg).with_context(|| format!("pool {}", pool.name))
}

/// Makes a pool as the station file describes it.
fn open(config: &Config, pool: &PoolConfig) -> anyhow::Result<Arc<dyn Pool>> {
    let key = || format!("pool {}", pool.name);
    match pool.kind {
        PoolKind::OipRest => Ok(Arc::new(client(pool)?)),
        PoolKind::Embedded => {
            let packages: Vec<PathBuf> =
                pool.packages.iter().map(|folder| config.path(folder)).collect();
            let mut tasks = pool.tasks.clone();
            for (task, model) in tasks_of(&packages, pool.danger_accept_development_key) {
                tasks.entry(task).or_insert(model);
            }
            Ok(Arc::new(Embedded::start(embedded::Config {
                name: pool.name.clone(),
                executable: executable().with_context(key)?,
                packages,
                runtime: pool.runtime.as_ref().map(|file| config.path(file)),
                danger_accept_development_key: pool.danger_accept_development_key,
                tasks,
            })))
        }
    }
}

/// The executable that can serve pools: this one; for a test, which lives a folder below, the one
/// that was built with it.
fn executable() -> std::io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let name = format!("groundstation{}", std::env::consts::EXE_SUFFIX);
    let built = own.parent().and_then(Path::parent).map(|folder| folder.join(name));
    match built {
        Some(built) if own.parent().is_some_and(|folder| folder.ends_with("deps")) => Ok(built),
        _ => Ok(own),
    }
}

/// The tasks that packages say they fulfil, with the model's name. A package that can't be used is
/// the child's to complain about; its tasks wait.
fn tasks_of(packages: &[PathBuf], danger_accept_development_key: bool) -> Vec<(String, String)> {
    let mut trust = Trust::nobody();
    if danger_accept_development_key {
        trust = trust.danger_accept_development_key();
    }
    let opened = packages.iter().filter_map(|folder| Package::open(folder, &trust).ok());
    let rows = opened.flat_map(|package| {
        let manifest = package.manifest().clone();
        manifest.tasks.into_iter().map(move |task| (task, manifest.name.clone()))
    });
    rows.collect()
}

type Answer = (String, Result<Response, PoolError>);

struct Shell {
    core: Dispatch,
    pools: Vec<Arc<dyn Pool>>,
    /// Away while a line is being written.
    log: Option<JobLog>,
    feed: Feed,
    clock: StationClock,
    answers: JoinSet<Answer>,
}

impl Shell {
    async fn run(mut self, mut work: mpsc::Receiver<Work>) {
        loop {
            while let Some(action) = self.core.poll(self.clock.tai()) {
                self.act(action).await;
            }
            self.feed.publish_all(self.core.take_events());
            let now = self.clock.tai();
            let pause = self.core.next_timeout(now).map(|until| until.since(now).max(0));
            tokio::select! {
                asked = work.recv() => match asked {
                    Some(asked) => self.core.submit(asked, self.clock.tai()),
                    None => return,
                },
                Some(answered) = self.answers.join_next() => {
                    // A task that panicked has no key; its job ends with its deadline.
                    if let Ok((key, result)) = answered {
                        self.core.answered(&key, result, self.clock.tai());
                    }
                }
                () = sleep(pause) => {}
            }
        }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Ask { pool, request } => {
                let Some(pool) = self.pools.get(pool).map(Arc::clone) else { return };
                self.answers.spawn(ask(pool, request));
            }
            Action::Write { key, line, sync } => {
                let Some(mut log) = self.log.take() else { return };
                let written = tokio::task::spawn_blocking(move || {
                    let result = log.append(&line, sync);
                    (log, result)
                });
                let ok = match written.await {
                    Ok((log, result)) => {
                        self.log = Some(log);
                        if let Err(error) = &result {
                            tracing::error!("job log: {error}; the outcome of {key} waits");
                        }
                        result.is_ok()
                    }
                    Err(error) => {
                        tracing::error!("job log: {error}; no more outcomes are recorded");
                        false
                    }
                };
                self.core.written(&key, ok, self.clock.tai());
            }
        }
    }
}

async fn ask(pool: Arc<dyn Pool>, request: Request) -> Answer {
    let answer = tokio::time::timeout(request.time_left, pool.infer(&request)).await;
    (request.idempotency_key.clone(), answer.unwrap_or(Err(PoolError::deadline())))
}

async fn sleep(pause_ns: Option<i64>) {
    match pause_ns {
        Some(pause) => tokio::time::sleep(Duration::from_nanos(pause.unsigned_abs())).await,
        None => std::future::pending().await,
    }
}
