//! The embedded pool: a child process that serves model packages over loopback.
//!
//! The child ends with its parent, however that ends: its standard input is a pipe that closes.
//! When the child ends first it is started again, at growing intervals while it keeps ending.

use super::oip_rest::OipRest;
use super::shared::Lender;
use super::{ModelMetadata, Pool, PoolError, PoolInfo, Request, Response};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// Time for the child to say that it listens: models load and prove themselves first.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// First and longest interval between starts.
const RESTART_AFTER: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// A child that lived this long ended for a new reason: intervals begin again.
const SETTLED_AFTER: Duration = Duration::from_secs(30);

/// Longest line that the child may say.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// How to start the child.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name in the station file.
    pub name: String,
    /// The `groundstation` executable; the running one, outside tests.
    pub executable: PathBuf,
    /// Model packages.
    pub packages: Vec<PathBuf>,
    /// ONNX Runtime library; searched for when absent.
    pub runtime: Option<PathBuf>,
    /// Accepts packages signed with the published development key.
    pub danger_accept_development_key: bool,
    /// Copies of each model, which answer side by side.
    pub workers: u16,
    /// Task contract to the model's name.
    pub tasks: BTreeMap<String, String>,
}

/// What the child is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildState {
    /// Not listening, and why.
    Down(String),
    /// Listening.
    Up {
        /// Process id.
        pid: u32,
        /// Where it listens.
        url: String,
        /// What keeps its models from answering, if anything.
        trouble: Option<String>,
        /// Whether it sees the memory that is shared with it.
        shares: bool,
    },
}

/// The pool.
pub struct Embedded {
    config: Config,
    state: watch::Receiver<ChildState>,
    /// The client for the child that listens now, by its address.
    client: Mutex<Option<(String, Arc<OipRest>)>>,
    /// Where large inputs go; without it they go through the socket.
    shared: Option<Arc<Lender>>,
    keeper: tokio::task::JoinHandle<()>,
}

impl Embedded {
    /// Starts the child and keeps it running until this is dropped.
    pub fn start(config: Config) -> Self {
        let (tell, state) = watch::channel(ChildState::Down("starting".to_owned()));
        let shared = Lender::new().map(Arc::new).map_err(|error| {
            tracing::warn!("pool {}: no shared memory: {error}", config.name);
        });
        let shared = shared.ok();
        let keeper = tokio::spawn(keep(config.clone(), shared.clone(), tell));
        Self { config, state, client: Mutex::new(None), shared, keeper }
    }

    /// Watches what the child is doing.
    pub fn state(&self) -> watch::Receiver<ChildState> {
        self.state.clone()
    }

    fn client(&self) -> Result<Arc<OipRest>, PoolError> {
        let state = self.state.borrow().clone();
        let (url, shares) = match state {
            ChildState::Up { trouble: Some(trouble), .. } => {
                return Err(PoolError::unavailable(trouble));
            }
            ChildState::Up { url, shares, .. } => (url, shares),
            ChildState::Down(why) => return Err(PoolError::unavailable(why)),
        };
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, client)) = &*client
            && *known == url
        {
            return Ok(Arc::clone(client));
        }
        let fresh = OipRest::new(&self.config.name, &url, self.config.tasks.clone(), None);
        let mut fresh = fresh.map_err(PoolError::unavailable)?;
        if let Some(lender) = self.shared.as_ref().filter(|_| shares) {
            fresh = fresh.with_shared(Arc::clone(lender));
        }
        let fresh = Arc::new(fresh);
        *client = Some((url, Arc::clone(&fresh)));
        Ok(fresh)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Pool for Embedded {
    fn describe(&self) -> PoolInfo {
        PoolInfo {
            name: self.config.name.clone(),
            kind: "embedded",
            tasks: self.config.tasks.keys().cloned().collect(),
        }
    }

    fn metadata<'a>(
        &'a self,
        task: &'a str,
    ) -> BoxFuture<'a, Result<Option<ModelMetadata>, PoolError>> {
        Box::pin(async move { self.client()?.metadata(task).await })
    }

    fn infer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, PoolError>> {
        Box::pin(async move { self.client()?.infer(request).await })
    }
}

/// Starts the child again and again.
async fn keep(config: Config, shared: Option<Arc<Lender>>, tell: watch::Sender<ChildState>) {
    let mut interval = RESTART_AFTER.0;
    loop {
        let started = Instant::now();
        let why = match live(&config, shared.as_deref(), &tell).await {
            Ok(why) | Err(why) => why,
        };
        tracing::warn!("pool {}: {why}; it is started again", config.name);
        tell.send_replace(ChildState::Down(format!("{why}; starting again")));
        if started.elapsed() >= SETTLED_AFTER {
            interval = RESTART_AFTER.0;
        }
        tokio::time::sleep(interval).await;
        interval = (interval * 2).min(RESTART_AFTER.1);
    }
}

#[derive(Deserialize)]
struct Ready {
    url: String,
    trouble: Option<String>,
    #[serde(default)]
    shares: bool,
}

/// One life of the child; says how it ended.
async fn live(
    config: &Config,
    shared: Option<&Lender>,
    tell: &watch::Sender<ChildState>,
) -> Result<String, String> {
    let mut child = spawn(config, shared)?;
    // Held as long as the child may live: waiting for a child closes what it still has.
    let _stdin = child.stdin.take();
    let Some(stdout) = child.stdout.take() else { return Err("no standard output".to_owned()) };
    let mut stdout = BufReader::new(stdout.take(LINE_BYTES_MAX));
    let mut line = String::new();
    let read = tokio::time::timeout(READY_TIMEOUT, stdout.read_line(&mut line)).await;
    match read {
        Ok(Ok(1..)) => {}
        Ok(_) => {
            let status = child.wait().await.map_err(|error| error.to_string())?;
            return Err(format!("it ended before it listened ({status})"));
        }
        Err(_) => return Err(format!("it did not listen within {READY_TIMEOUT:?}")),
    }
    let ready: Ready =
        serde_json::from_str(&line).map_err(|error| format!("it said {line:?}: {error}"))?;
    if let Some(trouble) = &ready.trouble {
        tracing::warn!("pool {}: {trouble}", config.name);
    }
    let pid = child.id().unwrap_or_default();
    let Ready { url, trouble, shares } = ready;
    tell.send_replace(ChildState::Up { pid, url, trouble, shares });
    let status = child.wait().await.map_err(|error| error.to_string())?;
    Ok(format!("its process ended ({status})"))
}

fn spawn(config: &Config, shared: Option<&Lender>) -> Result<Child, String> {
    let mut command = Command::new(&config.executable);
    command.args(["pools", "serve", "--listen", "127.0.0.1:0", "--until-stdin-closes"]);
    command.arg("--workers").arg(config.workers.to_string());
    for package in &config.packages {
        command.arg("--package").arg(package);
    }
    if let Some(shared) = shared {
        command.arg("--shared-memory").arg(shared.path());
    }
    if let Some(runtime) = &config.runtime {
        command.arg("--runtime").arg(runtime);
    }
    if config.danger_accept_development_key {
        command.arg("--danger-accept-development-key");
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    // An interrupt typed at the terminal is for the daemon, which lets go of the child in order.
    command.kill_on_drop(true).process_group(0);
    command.spawn().map_err(|error| format!("{}: {error}", config.executable.display()))
}
