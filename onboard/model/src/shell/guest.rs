//! A model in a process of its own: what crashes, hangs or leaks there ends there.

use std::{
    io::{self, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use bytes::Bytes;
use codecs::tensor::Tensor;

use super::serve::receive;
use crate::{
    backend::{Backend, BackendError, LoadOptions, LoadedModel, Usage},
    wire::{Message, encode_run},
};

/// How to start the process, and what it may cost.
#[derive(Clone, Debug)]
pub struct GuestSettings {
    /// The program and its first arguments, before those that [`Guest`] adds.
    pub command: Vec<PathBuf>,
    /// ONNX Runtime's library; looked for where absent.
    pub runtime: Option<PathBuf>,
    /// Most memory for data, in bytes.
    pub memory_bytes: u64,
    /// Longest time to start and load.
    pub load_time: Duration,
    /// Longest time for one run; then the process is killed.
    pub run_time: Duration,
    /// Whether everyone else comes first.
    pub idle: bool,
}

/// A runtime that starts a process for each model.
#[derive(Debug)]
pub struct Guest {
    settings: GuestSettings,
    runtime: Mutex<String>,
}

impl Guest {
    /// A runtime with these settings; nothing is started yet.
    pub fn new(settings: GuestSettings) -> Self {
        Self { settings, runtime: Mutex::new("a process of its own".into()) }
    }
}

impl Backend for Guest {
    fn describe(&self) -> String {
        self.runtime.lock().map(|text| text.clone()).unwrap_or_default()
    }

    fn load(
        &self,
        model: &[u8],
        options: &LoadOptions,
    ) -> Result<Box<dyn LoadedModel>, BackendError> {
        let program = self.settings.command.first().cloned().unwrap_or_default();
        let started = start(&self.settings).map_err(|error| {
            BackendError(format!("{} can't be started: {error}", program.display()))
        })?;
        let mut guest = started;
        let load = Message::Load {
            threads: options.threads as u32,
            providers: options.providers.clone(),
            model: Bytes::copy_from_slice(model),
        };
        load.encode(&mut guest.out);
        match guest.ask(self.settings.load_time)? {
            Message::Loaded { rss_bytes, runtime, providers } => {
                guest.usage.rss_bytes = Some(rss_bytes);
                guest.providers = providers;
                if let Ok(mut known) = self.runtime.lock() {
                    *known = format!("{runtime}, in a process of its own");
                }
                Ok(Box::new(guest))
            }
            Message::Failed(why) => Err(BackendError(why)),
            _ => Err(guest.end("it answered something else than was asked")),
        }
    }
}

fn start(settings: &GuestSettings) -> io::Result<GuestModel> {
    let (parent, child) = UnixStream::pair()?;
    let (program, first) = settings.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(first).arg("--memory-bytes").arg(settings.memory_bytes.to_string());
    if let Some(runtime) = &settings.runtime {
        command.arg("--runtime").arg(runtime);
    }
    if settings.idle {
        command.arg("--idle");
    }
    let child = command.stdin(OwnedFd::from(child)).stdout(Stdio::null()).spawn()?;
    Ok(GuestModel {
        child,
        parent,
        out: Vec::new(),
        run_time: settings.run_time,
        usage: Usage::default(),
        providers: Vec::new(),
        gone: false,
    })
}

/// A model that runs elsewhere.
struct GuestModel {
    child: Child,
    parent: UnixStream,
    /// The question, used again.
    out: Vec<u8>,
    run_time: Duration,
    usage: Usage,
    providers: Vec<String>,
    gone: bool,
}

impl GuestModel {
    /// Sends what stands in `out` and waits for the answer; after any failure the process is gone.
    fn ask(&mut self, time: Duration) -> Result<Message, BackendError> {
        if self.gone {
            return Err(BackendError("the model's process has ended".into()));
        }
        match self.exchange(Instant::now() + time) {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(self.end("it closed its end")),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    Err(self.end(&format!("no answer within {} ms", time.as_millis())))
                }
                _ => Err(self.end(&error.to_string())),
            },
        }
    }

    fn exchange(&mut self, end: Instant) -> io::Result<Option<Message>> {
        let left = || {
            let left = end.saturating_duration_since(Instant::now());
            // A timeout of nothing would mean none.
            (!left.is_zero()).then_some(left).ok_or(io::ErrorKind::TimedOut)
        };
        self.parent.set_write_timeout(Some(left()?))?;
        self.parent.write_all(&self.out)?;
        self.parent.set_read_timeout(Some(left()?))?;
        receive(&mut self.parent)
    }

    fn end(&mut self, why: &str) -> BackendError {
        self.gone = true;
        // Where it has ended already, this does nothing.
        let _ = self.child.kill();
        let how = match self.child.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        BackendError(format!("the model's process ended: {why} ({how})"))
    }
}

impl LoadedModel for GuestModel {
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, BackendError> {
        encode_run(inputs, &mut self.out);
        match self.ask(self.run_time)? {
            Message::Ran { cpu_ns, rss_bytes, outputs } => {
                let before = self.usage.cpu_ns.unwrap_or(0);
                self.usage.cpu_ns = Some(before.saturating_add(cpu_ns));
                self.usage.rss_bytes = Some(rss_bytes);
                Ok(outputs)
            }
            Message::Failed(why) => Err(BackendError(why)),
            _ => Err(self.end("it answered something else than was asked")),
        }
    }

    fn is_gone(&self) -> bool {
        self.gone
    }

    fn usage(&self) -> Usage {
        self.usage
    }

    fn providers(&self) -> Vec<String> {
        self.providers.clone()
    }

    fn process(&self) -> Option<u32> {
        (!self.gone).then(|| self.child.id())
    }
}

impl Drop for GuestModel {
    fn drop(&mut self) {
        if !self.gone {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
