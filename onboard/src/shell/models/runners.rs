//! What runs a model: this process, or one of its own that is started again when it ends.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError, channel},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use codecs::{package::Manifest, tensor::Tensor};
use codecs_quic::Monotonic;
use onboard_model::{
    Package, Runtime, Session,
    shell::{Guest, GuestSettings},
};

use crate::{
    config::{Models, Run},
    models::governed::{NotRan, Ran, Runner},
};

/// First and longest wait before a process is started again.
const RESTART_NS: (u64, u64) = (200_000_000, 60_000_000_000);

/// Loads packages as the configuration says.
#[derive(Clone, Debug)]
pub struct Loader {
    config: Models,
}

impl Loader {
    /// A loader of this configuration.
    pub fn new(config: &Models) -> Self {
        Self { config: config.clone() }
    }

    /// Whether models run in processes of their own.
    pub fn is_child(&self) -> bool {
        self.config.run == Run::Child
    }

    /// Loads a package and asks it its known answers. `apart`: in a process of its own whatever the
    /// configuration says, behind everyone else.
    pub fn load(&self, package: &Package, apart: bool) -> anyhow::Result<Session> {
        Ok(self.runtime(apart)?.load(package)?)
    }

    /// What loads packages.
    pub fn runtime(&self, apart: bool) -> anyhow::Result<Runtime> {
        let config = &self.config;
        let runtime = if apart || self.is_child() {
            let program = match &config.server {
                Some(program) => program.clone(),
                None => program().context(
                    "no `onboard` is found that could run models: name \
                                           one as [models] server, or set run = \"in-process\"",
                )?,
            };
            Runtime::with_backend(Arc::new(Guest::new(GuestSettings {
                command: vec![program, "models".into(), "serve".into()],
                runtime: config.runtime.clone(),
                memory_bytes: config.memory_mib << 20,
                load_time: Duration::from_millis(config.load_ms),
                run_time: Duration::from_millis(config.run_ms),
                idle: apart,
            })))
        } else {
            Runtime::find(config.runtime.as_deref())?
        };
        Ok(runtime.with_providers(&config.providers))
    }
}

/// The `onboard` executable: this one, or one beside or above it.
fn program() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    if own.file_name().is_some_and(|name| name == "onboard") {
        return Some(own);
    }
    let folders = own.parent().into_iter().flat_map(|folder| [Some(folder), folder.parent()]);
    let mut programs = folders.flatten().map(|folder: &Path| folder.join("onboard"));
    programs.find(|program| program.is_file())
}

/// A model in this process.
pub struct InProcess {
    session: Session,
    clock: Monotonic,
}

impl InProcess {
    /// A session with a clock.
    pub fn new(session: Session, clock: Monotonic) -> Self {
        Self { session, clock }
    }
}

impl Runner for InProcess {
    fn manifest(&self) -> &Manifest {
        self.session.manifest()
    }

    fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Ran, NotRan> {
        let started = Instant::now();
        let outputs = self.session.run(inputs);
        let wall_ns = started.elapsed().as_nanos() as u64;
        match outputs {
            // One thread runs it, so that it cannot have taken more of a processor than this; the
            // processor's own clock costs more than a small model.
            Ok(outputs) => Ok(Ran { outputs, wall_ns, cpu_ns: wall_ns }),
            Err(error) => Err(NotRan::Failed(error.to_string(), wall_ns)),
        }
    }

    fn reprove(&mut self) -> Result<(), String> {
        self.session.reprove().map_err(|error| error.to_string())
    }

    fn set_parameter(&mut self, name: &str, value: f64) {
        self.session.set_parameter(name, value);
    }
}

enum State {
    Up(Box<Session>),
    Starting(Receiver<Result<Session, String>>),
    Down { until_ns: u64 },
}

/// A model in a process of its own, which is started again when it ends: later each time, and never
/// while someone waits.
pub struct Supervised {
    package: Package,
    manifest: Manifest,
    loader: Loader,
    clock: Monotonic,
    apart: bool,
    state: State,
    wait_ns: u64,
    restarts: u64,
    rss_bytes: Option<u64>,
}

impl Supervised {
    /// Begins to start it and returns at once.
    pub fn start(package: Package, loader: Loader, clock: Monotonic, apart: bool) -> Self {
        let mut supervised = Self::down_at_first(package, loader, clock, apart);
        supervised.begin();
        supervised
    }

    /// One that is loaded already.
    pub fn loaded(package: Package, loader: Loader, clock: Monotonic, session: Session) -> Self {
        let mut supervised = Self::down_at_first(package, loader, clock, false);
        supervised.rss_bytes = session.usage().rss_bytes;
        supervised.state = State::Up(Box::new(session));
        supervised
    }

    fn down_at_first(package: Package, loader: Loader, clock: Monotonic, apart: bool) -> Self {
        let manifest = package.manifest().clone();
        Self {
            package,
            manifest,
            loader,
            clock,
            apart,
            state: State::Down { until_ns: 0 },
            wait_ns: RESTART_NS.0,
            restarts: 0,
            rss_bytes: None,
        }
    }

    fn begin(&mut self) {
        let (tell, told) = channel();
        let (package, loader, apart) = (self.package.clone(), self.loader.clone(), self.apart);
        let load = move || {
            let loaded = loader.load(&package, apart).map_err(|error| format!("{error:#}"));
            // Nobody waits any more where this fails, and the session ends with the message.
            let _ = tell.send(loaded);
        };
        self.state = match std::thread::Builder::new().name("model start".into()).spawn(load) {
            Ok(_) => State::Starting(told),
            Err(_) => self.down(),
        };
    }

    fn down(&mut self) -> State {
        let until_ns = self.clock.now_ns().saturating_add(self.wait_ns);
        self.wait_ns = (self.wait_ns * 2).min(RESTART_NS.1);
        State::Down { until_ns }
    }

    /// Brings the state up to date, and gives the session where there is one.
    fn session(&mut self) -> Result<&mut Session, NotRan> {
        match &self.state {
            State::Up(_) => {}
            State::Down { until_ns } => {
                if self.clock.now_ns() >= *until_ns {
                    self.restarts += 1;
                    self.begin();
                }
            }
            State::Starting(told) => match told.try_recv() {
                Ok(Ok(session)) => self.state = State::Up(Box::new(session)),
                Ok(Err(why)) => {
                    self.state = self.down();
                    return Err(NotRan::Failed(why, 0));
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => self.state = self.down(),
            },
        }
        match &mut self.state {
            State::Up(session) => Ok(session),
            _ => Err(NotRan::Absent),
        }
    }
}

impl Runner for Supervised {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Ran, NotRan> {
        let session = self.session()?;
        let before = session.usage().cpu_ns.unwrap_or(0);
        let started = Instant::now();
        let outputs = session.run(inputs);
        let wall_ns = started.elapsed().as_nanos() as u64;
        let usage = session.usage();
        let gone = session.is_gone();
        self.rss_bytes = usage.rss_bytes.or(self.rss_bytes);
        match outputs {
            Ok(outputs) => {
                self.wait_ns = RESTART_NS.0;
                let cpu_ns = usage.cpu_ns.map_or(wall_ns, |after| after.saturating_sub(before));
                Ok(Ran { outputs, wall_ns, cpu_ns })
            }
            Err(error) => {
                if gone {
                    // A line for each start at the most, and starts wait for one another.
                    let name = &self.manifest.name;
                    tracing::warn!("model {name:?}: {error}; it is started again");
                    self.state = self.down();
                }
                Err(NotRan::Failed(error.to_string(), wall_ns))
            }
        }
    }

    fn reprove(&mut self) -> Result<(), String> {
        match self.session() {
            // One that has ended is started again when it is asked.
            Ok(session) => session.reprove().or_else(|error| match session.is_gone() {
                true => Ok(()),
                false => Err(error.to_string()),
            }),
            Err(_) => Ok(()),
        }
    }

    fn set_parameter(&mut self, name: &str, value: f64) {
        self.manifest.parameters.insert(name.into(), value);
    }

    fn restarts(&self) -> u64 {
        self.restarts
    }

    fn rss_bytes(&self) -> Option<u64> {
        self.rss_bytes
    }

    fn process(&self) -> Option<u32> {
        match &self.state {
            State::Up(session) => session.process(),
            _ => None,
        }
    }
}
