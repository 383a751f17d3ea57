//! Models that answer, each by so many workers, or why they don't.

use super::Args;
use crate::pool::oip::OipError;
use crate::pool::room::Rooms;
use crate::pool::shared::Borrower;
use bytes::Bytes;
use codecs::package::{Manifest, Port, Provenance};
use codecs::tensor::{DType, Tensor};
use onboard_model::{ModelError, Package, Runtime, Session, Trust};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests that wait or run for one worker; above it the server asks to be asked again.
pub const PENDING_MAX: usize = 16;

/// Bytes of questions that are read or answered at a time, over all connections of REST.
const BODIES_BYTES_MAX: usize = 512 << 20;
const PAGE_BYTES: usize = 4 << 10;

/// Time for a question's body.
const BODY_TIME: Duration = Duration::from_secs(120);

/// Runs that take at most so long are not handed to a thread.
const SHORT_NS_MAX: u64 = 40_000;

/// The same where there is one worker in all: whoever asks meanwhile would have to wait for it anyway.
const SHORT_ALONE_NS_MAX: u64 = 1_000_000;

/// Seconds after which a server with too much to do wants to be asked again.
pub const RETRY_AFTER_S: u64 = 1;

/// A model.
pub struct Model {
    manifest: Manifest,
    /// Workers that have nothing to do; as many as `idle` has permits.
    workers: Result<Mutex<Vec<Worker>>, String>,
    idle: Semaphore,
    pending: Semaphore,
    pace: Pace,
    /// Runs that take at most so long are not handed to a thread.
    short_ns: u64,
}

/// What answers.
enum Worker {
    /// A model.
    Session(Box<Session>),
    /// What measurements take in its place: the first input, as it came.
    Echo,
    /// The same, once it is told to.
    #[cfg(test)]
    Held(std::sync::mpsc::Receiver<()>),
}

/// Why there are no outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No such model, or no such version of it.
    NotFound(String),
    /// It can't answer until somebody does something about this machine.
    Unavailable(String),
    /// Too many ask.
    Busy,
    /// Questions that are read and answered leave no room for more.
    Crowded,
    /// The question is not one for this model.
    Question(String),
    /// The model failed.
    Model(String),
}

impl Fault {
    /// What to tell whoever asked.
    pub fn said(&self) -> &str {
        match self {
            Self::NotFound(said)
            | Self::Unavailable(said)
            | Self::Question(said)
            | Self::Model(said) => said,
            Self::Busy => "the model has too much to do",
            Self::Crowded => "other questions take all the memory that there is for them",
        }
    }
}

/// Every model, by name.
pub struct Models {
    models: BTreeMap<String, Arc<Model>>,
    trouble: Option<String>,
    /// Why each package is not served that is not.
    failures: Vec<String>,
    shared: Option<Borrower>,
    rooms: Rooms,
    /// Room for questions that are being read, in pages.
    bodies: Arc<Semaphore>,
    /// Time for a question's body.
    pub(super) body_time: Duration,
}

impl Models {
    /// Opens packages and loads their models; what fails stays, with its reason.
    pub fn load(args: &Args) -> Self {
        let mut trust = Trust::nobody();
        if args.danger_accept_development_key {
            trust = trust.danger_accept_development_key();
        }
        let runtime = Runtime::find(args.runtime.as_deref()).map_err(|error| error.to_string());
        let mut models = BTreeMap::new();
        let mut troubles: Vec<String> = runtime.as_ref().err().cloned().into_iter().collect();
        let mut failures = Vec::new();
        for folder in &args.packages {
            let package = match Package::open(folder, &trust) {
                Ok(package) => package,
                Err(error) => {
                    tracing::error!("{error}");
                    failures.push(format!("package {}: {error}", folder.display()));
                    troubles.push(error.to_string());
                    continue;
                }
            };
            let mut model = Model::load(&package, &runtime, args.workers.into());
            if args.packages.len() == 1 && args.workers == 1 {
                model.short_ns = SHORT_ALONE_NS_MAX;
            }
            if let Err(reason) = &model.workers {
                tracing::error!("model {}: {reason}", model.name());
                failures.push(format!("package {}: {reason}", folder.display()));
                if !troubles.contains(reason) {
                    troubles.push(reason.clone());
                }
            }
            models.insert(model.name().to_owned(), Arc::new(model));
        }
        let shared = args.shared_memory.as_deref().and_then(|path| {
            let opened = Borrower::open(path);
            opened.map_err(|error| tracing::warn!("{}: {error}", path.display())).ok()
        });
        let trouble = (!troubles.is_empty()).then(|| troubles.join("; "));
        Self { models, trouble, failures, shared, ..Self::none() }
    }

    fn none() -> Self {
        let (models, trouble, failures, shared) = Default::default();
        let bodies = Arc::new(Semaphore::new(BODIES_BYTES_MAX / PAGE_BYTES));
        Self {
            models,
            trouble,
            failures,
            shared,
            rooms: Rooms::default(),
            bodies,
            body_time: BODY_TIME,
        }
    }

    /// Takes room for a question of so many bytes while it is read and answered.
    pub fn room_for(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Fault> {
        let pages = u32::try_from(bytes.div_ceil(PAGE_BYTES as u64)).unwrap_or(u32::MAX);
        Arc::clone(&self.bodies).try_acquire_many_owned(pages).map_err(|_| Fault::Crowded)
    }

    /// The same with another time for a question's body.
    #[cfg(test)]
    pub(super) fn hurried(self, body_time: Duration) -> Self {
        Self { body_time, ..self }
    }

    /// One model, `echo`, that gives back the bytes that it gets, for measurements and tests.
    pub fn echo() -> Self {
        let workers = 4;
        let port = Port {
            name: "x".to_owned(),
            datatype: DType::U8,
            shape: vec![-1],
            unit: String::new(),
            elements: Vec::new(),
        };
        let manifest = Manifest {
            format: codecs::package::FORMAT,
            name: "echo".to_owned(),
            version: "1".to_owned(),
            description: String::new(),
            tasks: Vec::new(),
            inputs: vec![port.clone()],
            outputs: vec![port],
            max_batch: 1,
            parameters: BTreeMap::new(),
            bounds: BTreeMap::new(),
            provenance: Provenance::default(),
            scores: Vec::new(),
            files: BTreeMap::new(),
        };
        let model = Model {
            workers: Ok(Mutex::new((0..workers).map(|_| Worker::Echo).collect())),
            manifest,
            idle: Semaphore::new(workers),
            pending: Semaphore::new(workers * PENDING_MAX),
            pace: Pace::default(),
            short_ns: SHORT_NS_MAX,
        };
        let models = BTreeMap::from([(model.name().to_owned(), Arc::new(model))]);
        Self { models, ..Self::none() }
    }

    /// The same with one worker that answers once it is told to, and with memory that is shared.
    #[cfg(test)]
    pub fn held(told: std::sync::mpsc::Receiver<()>, shared: Borrower) -> Self {
        let mut models = Self { shared: Some(shared), ..Self::echo() };
        let model = models.models.get_mut("echo").and_then(Arc::get_mut).expect("nobody else's");
        model.workers = Ok(Mutex::new(vec![Worker::Held(told)]));
        model.idle = Semaphore::new(1);
        models
    }

    /// Where large questions are read into.
    pub const fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// Whether inputs may lie in shared memory.
    pub const fn shares(&self) -> bool {
        self.shared.is_some()
    }

    /// An input as it lies in shared memory; `lent` is dropped with the last who reads it.
    pub fn read_shared<T: Send + 'static>(
        &self,
        region: &str,
        offset: u64,
        bytes: u64,
        lent: T,
    ) -> Result<Bytes, OipError> {
        match &self.shared {
            Some(shared) => shared.read(region, offset, bytes, lent),
            None => Err(OipError(format!("no shared memory region {region:?}"))),
        }
    }

    /// What keeps models from answering.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Why each package is not served that is not.
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// Whether any model can answer.
    pub fn any_ready(&self) -> bool {
        self.models.values().any(|model| model.ready().is_ok())
    }

    /// Names of models.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.models.keys().map(String::as_str)
    }

    /// A model by its name and, where one is given, its version.
    pub fn find(&self, name: &str, version: &str) -> Result<&Arc<Model>, Fault> {
        let Some(model) = self.models.get(name) else {
            return Err(match &self.trouble {
                // A package that could not be opened has no name to be found by.
                Some(trouble) => Fault::Unavailable(trouble.clone()),
                None => Fault::NotFound(format!("no model {name:?}")),
            });
        };
        let own = model.version();
        if version.is_empty() || version == own {
            return Ok(model);
        }
        Err(Fault::NotFound(format!("model {name:?} has version {own}, not {version}")))
    }
}

impl Model {
    fn load(package: &Package, runtime: &Result<Runtime, String>, workers: usize) -> Self {
        let worker = |runtime: &Runtime| {
            let session = runtime.load(package).map_err(|error| error.to_string())?;
            Ok(Worker::Session(Box::new(session)))
        };
        let all = runtime
            .clone()
            .and_then(|runtime| (0..workers).map(|_| worker(&runtime)).collect::<Result<_, _>>());
        Self {
            manifest: package.manifest().clone(),
            workers: all.map(Mutex::new),
            idle: Semaphore::new(workers),
            pending: Semaphore::new(workers * PENDING_MAX),
            pace: Pace::default(),
            short_ns: SHORT_NS_MAX,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.manifest.version
    }

    /// What it promises.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether it can answer.
    pub fn ready(&self) -> Result<(), Fault> {
        self.workers.as_ref().map(drop).map_err(|reason| Fault::Unavailable(reason.clone()))
    }

    /// Answers one batch. Who gives up while it waits leaves the queue; what runs, runs to its end.
    pub async fn infer(self: &Arc<Self>, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, Fault> {
        self.ready()?;
        let _place = self.pending.try_acquire().map_err(|_| Fault::Busy)?;
        let Ok(turn) = self.idle.acquire().await else { return Err(Fault::Busy) };
        // The worker, not whoever asked, gives the turn back: a question that is given up runs on.
        turn.forget();
        let bytes = inputs.iter().map(|tensor| tensor.data.len()).sum();
        if self.pace.slowest_ns(bytes).is_some_and(|slowest| slowest <= self.short_ns) {
            let work = std::panic::AssertUnwindSafe(|| self.work(inputs, bytes));
            let worked = std::panic::catch_unwind(work);
            return worked.unwrap_or_else(|_| Err(Fault::Model("the model panicked".to_owned())));
        }
        let model = Arc::clone(self);
        let worked = tokio::task::spawn_blocking(move || model.work(inputs, bytes)).await;
        worked.unwrap_or_else(|error| Err(Fault::Model(error.to_string())))
    }

    fn work(&self, inputs: Vec<Tensor>, bytes: usize) -> Result<Vec<Tensor>, Fault> {
        let began = Instant::now();
        let worked = self.run(inputs);
        self.pace.note(bytes, began.elapsed());
        worked
    }

    fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, Fault> {
        let Ok(workers) = &self.workers else {
            return Err(Fault::Unavailable(String::new()));
        };
        let worker = workers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut turn = Turn { model: self, worker };
        let session = match &mut turn.worker {
            Some(Worker::Session(session)) => session,
            Some(Worker::Echo) => return Ok(inputs),
            #[cfg(test)]
            Some(Worker::Held(told)) => {
                let _ = told.recv();
                return Ok(inputs);
            }
            None => return Err(Fault::Busy),
        };
        session.run(&inputs).map_err(|error| match error {
            ModelError::Run(_) | ModelError::Output(_) | ModelError::NoOutput(_) => {
                Fault::Model(error.to_string())
            }
            _ => Fault::Question(error.to_string()),
        })
    }
}

/// How long runs take lately, by the size of what goes in: short ones are done where they are asked
/// for, since a thread that is woken for one costs as much, twice.
#[derive(Debug)]
struct Pace {
    /// The slowest lately in nanoseconds by the magnitude of the bytes; 0 is unknown.
    slowest_ns: [AtomicU64; usize::BITS as usize + 1],
}

impl Default for Pace {
    fn default() -> Self {
        Self { slowest_ns: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl Pace {
    fn of(&self, bytes: usize) -> Option<&AtomicU64> {
        self.slowest_ns.get((usize::BITS - bytes.leading_zeros()) as usize)
    }

    /// The slowest run of a size lately; none before the first.
    fn slowest_ns(&self, bytes: usize) -> Option<u64> {
        let slowest = self.of(bytes)?.load(Ordering::Relaxed);
        (slowest > 0).then_some(slowest)
    }

    fn note(&self, bytes: usize, took: Duration) {
        let Some(slowest) = self.of(bytes) else { return };
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        // A slow one is remembered for a while, not for ever: the machine may have been at fault.
        let known = slowest.load(Ordering::Relaxed);
        slowest.store(took.max(known - known / 16), Ordering::Relaxed);
    }
}

/// A worker at work; it goes back even when it panics, as a poisoned lock would not.
struct Turn<'a> {
    model: &'a Model,
    worker: Option<Worker>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let (Ok(workers), Some(worker)) = (&self.model.workers, self.worker.take()) {
            workers.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
        }
        self.model.idle.add_permits(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_beyond_the_room_for_them_are_told_to_come_again() {
        let models = Models::echo();
        let longest = BODIES_BYTES_MAX as u64 / 8;
        let all: Vec<_> = (0..8).map(|_| models.room_for(longest).unwrap()).collect();
        assert!(matches!(models.room_for(1), Err(Fault::Crowded)));
        drop(all);
        assert!(models.room_for(longest).is_ok());
    }

    #[test]
    fn only_sizes_that_were_quick_lately_are_run_at_once() {
        let pace = Pace::default();
        let (quick, slow) = (Duration::from_micros(10), Duration::from_millis(5));
        let is_short = |bytes| pace.slowest_ns(bytes).is_some_and(|ns| ns <= SHORT_NS_MAX);
        assert!(!is_short(1024), "nothing is known of it");
        pace.note(1024, quick);
        assert!(is_short(1024) && is_short(1500) && !is_short(1 << 20));
        pace.note(1024, slow);
        assert!(!is_short(1024), "one slow run may be followed by another");
        (0..200).for_each(|_| pace.note(1024, quick));
        assert!(is_short(1024));
        pace.note(0, quick);
        pace.note(usize::MAX, quick);
        assert!(is_short(0) && is_short(usize::MAX));
    }
}
