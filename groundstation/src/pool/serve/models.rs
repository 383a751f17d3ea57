//! Models that answer, each by so many workers, or why they don't.

use super::Args;
use codecs::package::Manifest;
use codecs::tensor::Tensor;
use onboard_model::{ModelError, Package, Runtime, Session, Trust};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Requests that wait or run for one worker; above it the server asks to be asked again.
pub const PENDING_MAX: usize = 16;

/// Seconds after which a server with too much to do wants to be asked again.
pub const RETRY_AFTER_S: u64 = 1;

/// A model.
pub struct Model {
    manifest: Manifest,
    /// Workers that have nothing to do; as many as `idle` has permits.
    sessions: Result<Mutex<Vec<Session>>, String>,
    idle: Semaphore,
    pending: Semaphore,
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
        }
    }
}

/// Every model, by name.
pub struct Models {
    models: BTreeMap<String, Arc<Model>>,
    trouble: Option<String>,
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
        for folder in &args.packages {
            let package = match Package::open(folder, &trust) {
                Ok(package) => package,
                Err(error) => {
                    tracing::error!("{error}");
                    troubles.push(error.to_string());
                    continue;
                }
            };
            let model = Model::load(&package, &runtime, args.workers.into());
            if let Err(reason) = &model.sessions {
                tracing::error!("model {}: {reason}", model.name());
                if !troubles.contains(reason) {
                    troubles.push(reason.clone());
                }
            }
            models.insert(model.name().to_owned(), Arc::new(model));
        }
        Self { models, trouble: (!troubles.is_empty()).then(|| troubles.join("; ")) }
    }

    /// What keeps models from answering.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
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
        let session = |runtime: &Runtime| runtime.load(package).map_err(|error| error.to_string());
        let sessions = runtime
            .clone()
            .and_then(|runtime| (0..workers).map(|_| session(&runtime)).collect::<Result<_, _>>());
        Self {
            manifest: package.manifest().clone(),
            sessions: sessions.map(Mutex::new),
            idle: Semaphore::new(workers),
            pending: Semaphore::new(workers * PENDING_MAX),
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
        self.sessions.as_ref().map(drop).map_err(|reason| Fault::Unavailable(reason.clone()))
    }

    /// Answers one batch. Who gives up while it waits leaves the queue; what runs, runs to its end.
    pub async fn infer(self: &Arc<Self>, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, Fault> {
        self.ready()?;
        let _place = self.pending.try_acquire().map_err(|_| Fault::Busy)?;
        let Ok(turn) = self.idle.acquire().await else { return Err(Fault::Busy) };
        // The worker, not whoever asked, gives the turn back: a question that is given up runs on.
        turn.forget();
        let model = Arc::clone(self);
        let worked = tokio::task::spawn_blocking(move || model.work(&inputs)).await;
        worked.unwrap_or_else(|error| Err(Fault::Model(error.to_string())))
    }

    fn work(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Fault> {
        let Ok(sessions) = &self.sessions else {
            return Err(Fault::Unavailable(String::new()));
        };
        let taken = sessions.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(session) = taken else {
            return Err(Fault::Model("a worker was lost to a panic".to_owned()));
        };
        let mut turn = Turn { model: self, session: Some(session) };
        let Some(session) = &mut turn.session else { return Err(Fault::Busy) };
        session.run(inputs).map_err(|error| match error {
            ModelError::Run(_) | ModelError::Output(_) | ModelError::NoOutput(_) => {
                Fault::Model(error.to_string())
            }
            _ => Fault::Question(error.to_string()),
        })
    }
}

/// A worker at work; it goes back even when it panics, as a poisoned lock would not.
struct Turn<'a> {
    model: &'a Model,
    session: Option<Session>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let (Ok(sessions), Some(session)) = (&self.model.sessions, self.session.take()) {
            sessions.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        }
        self.model.idle.add_permits(1);
    }
}
