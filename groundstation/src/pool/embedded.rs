//! The embedded pool: a child process that serves model packages to nobody else.
//!
//! The child ends with its parent, however that ends: its standard input is a socket that closes.
//! When the child ends first it is started again, at growing intervals while it keeps ending.

use super::http::{CONNECT_TIMEOUT, DESCRIPTION_BYTES_MAX, model_of, within};
use super::line::Line;
use super::shared::{Lender, REGION};
use super::{Input, ModelMetadata, Pool, PoolError, PoolInfo, Request, Response, oip, oip_rest};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// Time for the child to say that it is ready: models load and prove themselves first.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// First and longest interval between starts.
const RESTART_AFTER: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// Time for a child to say that it is there.
const HANG_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for a child to end once its line has.
const END_TIMEOUT: Duration = Duration::from_secs(1);

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
    /// Not answering, and why.
    Down(String),
    /// Answering.
    Up {
        /// Process id.
        pid: u32,
        /// What keeps its models from answering, if anything.
        trouble: Option<String>,
        /// Whether it sees the memory that is shared with it.
        shares: bool,
    },
}

/// The way to one life of the child. Its memory is its own: what an earlier one may still read is
/// never written again.
#[derive(Clone)]
struct Way {
    line: Arc<Line>,
    /// Where inputs go; without it they go through the socket.
    lender: Option<Arc<Lender>>,
}

/// The way to the child that answers now.
type Ways = Arc<Mutex<Option<Way>>>;

/// The pool.
pub struct Embedded {
    config: Config,
    state: watch::Receiver<ChildState>,
    way: Ways,
    keeper: tokio::task::JoinHandle<()>,
}

impl Embedded {
    /// Starts the child and keeps it running until this is dropped.
    pub fn start(config: Config) -> Self {
        let (tell, state) = watch::channel(ChildState::Down("starting".to_owned()));
        let way = Ways::default();
        let keeper = Keeper { config: config.clone(), way: Arc::clone(&way), tell };
        Self { config, state, way, keeper: tokio::spawn(keeper.keep()) }
    }

    /// Watches what the child is doing.
    pub fn state(&self) -> watch::Receiver<ChildState> {
        self.state.clone()
    }

    fn way(&self) -> Result<Way, PoolError> {
        if let ChildState::Up { trouble: Some(why), .. } | ChildState::Down(why) =
            &*self.state.borrow()
        {
            return Err(PoolError::unavailable(why.as_str()));
        }
        let way = self.way.lock().unwrap_or_else(PoisonError::into_inner).clone();
        way.ok_or_else(|| PoolError::unavailable("its process ended"))
    }

    fn model(&self, task: &str) -> Result<&str, PoolError> {
        model_of(&self.config.name, &self.config.tasks, task)
    }

    async fn describe_model(&self, task: &str) -> Result<Option<ModelMetadata>, PoolError> {
        let model = self.model(task)?;
        let (path, nothing) = (format!("/v2/models/{model}"), oip::Written::default());
        let body = self.way()?.line.ask(path, nothing, DESCRIPTION_BYTES_MAX, None).await?;
        oip_rest::read_metadata(model, &body.bytes).map(Some)
    }

    async fn answer(&self, request: &Request) -> Result<Response, PoolError> {
        let model = self.model(&request.task)?;
        let Input::Tensors(tensors) = &request.input else {
            return Err(PoolError::bad_request("this pool takes tensors, no documents"));
        };
        let Way { line, lender } = self.way()?;
        let place = lender.and_then(|lender| lender.lay(tensors));
        let key = &request.idempotency_key;
        let question = match &place {
            Some(place) => oip::write_shared(key, tensors, REGION, &place.offsets),
            None => oip::write_question(key, tensors, true),
        };
        let (path, most) = (format!("/v2/models/{model}/infer"), request.answer_bytes_max());
        let body = line.ask(path, question, most, place).await?;
        oip_rest::read_answer(model, body, most).await
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
        Box::pin(within(CONNECT_TIMEOUT, self.describe_model(task)))
    }

    fn infer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Response, PoolError>> {
        Box::pin(within(request.time_left, self.answer(request)))
    }
}

#[derive(Deserialize)]
struct Ready {
    trouble: Option<String>,
    #[serde(default)]
    shares: bool,
}

/// Starts the child again and again.
struct Keeper {
    config: Config,
    way: Ways,
    tell: watch::Sender<ChildState>,
}

impl Keeper {
    async fn keep(self) {
        let mut interval = RESTART_AFTER.0;
        loop {
            let started = Instant::now();
            let why = match self.live().await {
                Ok(why) | Err(why) => why,
            };
            tracing::warn!("pool {}: {why}; it is started again", self.config.name);
            self.tell.send_replace(ChildState::Down(format!("{why}; starting again")));
            self.set_way(None);
            if started.elapsed() >= SETTLED_AFTER {
                interval = RESTART_AFTER.0;
            }
            tokio::time::sleep(interval).await;
            interval = (interval * 2).min(RESTART_AFTER.1);
        }
    }

    fn set_way(&self, way: Option<Way>) {
        *self.way.lock().unwrap_or_else(PoisonError::into_inner) = way;
    }

    /// One life of the child; says how it ended.
    async fn live(&self) -> Result<String, String> {
        let said = |error: std::io::Error| error.to_string();
        let (own, other) = UnixStream::pair().map_err(said)?;
        let lender = Lender::new().map(Arc::new).inspect_err(|error| {
            tracing::warn!("pool {}: no shared memory: {error}", self.config.name);
        });
        let lender = lender.ok();
        let mut child = self.spawn(other, lender.as_deref())?;
        // Held as long as the child may live, which ends with it.
        let line = Arc::new(Line::new(own).map_err(said)?);
        let Some(stdout) = child.stdout.take() else {
            return Err("no standard output".to_owned());
        };
        let mut stdout = BufReader::new(stdout.take(LINE_BYTES_MAX));
        let mut words = String::new();
        let read = tokio::time::timeout(READY_TIMEOUT, stdout.read_line(&mut words)).await;
        match read {
            Ok(Ok(1..)) => {}
            Ok(_) => {
                let status = child.wait().await.map_err(said)?;
                return Err(format!("it ended before it was ready ({status})"));
            }
            Err(_) => return Err(format!("it was not ready within {READY_TIMEOUT:?}")),
        }
        let Ready { trouble, shares } =
            serde_json::from_str(&words).map_err(|error| format!("it said {words:?}: {error}"))?;
        if let Some(trouble) = &trouble {
            tracing::warn!("pool {}: {trouble}", self.config.name);
        }
        let pid = child.id().unwrap_or_default();
        let lender = lender.filter(|_| shares);
        self.set_way(Some(Way { line: Arc::clone(&line), lender }));
        self.tell.send_replace(ChildState::Up { pid, trouble, shares });
        let status = tokio::select! {
            status = child.wait() => status,
            () = line.hung(HANG_TIMEOUT) => {
                child.kill().await.map_err(said)?;
                return Err("its process hung, and was ended".to_owned());
            }
            () = line.ended() => match tokio::time::timeout(END_TIMEOUT, child.wait()).await {
                Ok(status) => status,
                Err(_) => {
                    child.kill().await.map_err(said)?;
                    let why = "its process broke off the line or said what nobody asked, and was ended";
                    return Err(why.to_owned());
                }
            },
        };
        Ok(format!("its process ended ({})", status.map_err(said)?))
    }

    fn spawn(&self, line: UnixStream, lender: Option<&Lender>) -> Result<Child, String> {
        let config = &self.config;
        let mut command = Command::new(&config.executable);
        command.args(["pools", "serve", "--child"]);
        command.arg("--workers").arg(config.workers.to_string());
        for package in &config.packages {
            command.arg("--package").arg(package);
        }
        if let Some(lender) = lender {
            command.arg("--shared-memory").arg(lender.path());
        }
        if let Some(runtime) = &config.runtime {
            command.arg("--runtime").arg(runtime);
        }
        if config.danger_accept_development_key {
            command.arg("--danger-accept-development-key");
        }
        command.stdin(OwnedFd::from(line)).stdout(Stdio::piped()).stderr(Stdio::inherit());
        // An interrupt typed at the terminal is for the daemon, which lets go of the child in order.
        command.kill_on_drop(true).process_group(0);
        command.spawn().map_err(|error| format!("{}: {error}", config.executable.display()))
    }
}
