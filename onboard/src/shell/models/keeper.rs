//! Looks after the models in flight: orders from the ground, health, what runs beside what.

use std::path::PathBuf;

use bytes::Bytes;
use codecs::{
    link::uplink::UplinkKey,
    package::{Digest, Manifest, Piece, Trust},
};
use codecs_quic::Monotonic;
use onboard_model::Package;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Folder, Loader, Supervised, governed, trial::Trial};
use crate::{
    config::Models,
    models::{Governed, ModelOrder, Slot, SlotError, Slots, Suspension, Task, upload::Taken},
    pipeline::Pipeline,
    score::Baseline,
    triage,
};

/// What an order gives.
pub enum Answer {
    /// It was done, or not, in words.
    Now(Result<String, String>),
    /// It is under way; [`Keeper::proven`] says when it is over.
    Later,
}

/// A package that was tried on a thread of its own.
pub struct Proven {
    key: UplinkKey,
    task: Task,
    digest: Digest,
    proof: Result<(), String>,
}

/// Looks after the models.
pub struct Keeper {
    config: Models,
    trust: Trust,
    loader: Loader,
    slots: Option<Slots<Folder>>,
    clock: Monotonic,
    check_due_ns: u64,
    /// Whether a package is being tried.
    proving: bool,
    tell: UnboundedSender<Proven>,
    told: UnboundedReceiver<Proven>,
}

impl Keeper {
    /// A keeper of what is configured; nothing is loaded yet.
    pub fn new(
        config: &Models,
        trust: Trust,
        slots: Option<Slots<Folder>>,
        clock: Monotonic,
    ) -> Self {
        let (tell, told) = unbounded_channel();
        let check_due_ns = clock.now_ns().saturating_add(config.check_s * 1_000_000_000);
        Self {
            config: config.clone(),
            trust,
            loader: Loader::new(config),
            slots,
            clock,
            check_due_ns,
            proving: false,
            tell,
            told,
        }
    }

    fn configured(&self, task: Task) -> Option<PathBuf> {
        match task {
            Task::Telemetry => self.config.telemetry.clone(),
            Task::Tiles => self.config.tiles.clone(),
        }
    }

    /// The model that a flight begins with, loaded; `None` where there is none to load. A slot whose
    /// model fails is left for the other one.
    pub fn begin(&mut self, task: Task) -> Option<anyhow::Result<Governed>> {
        let configured = self.configured(task);
        let Some(slots) = &mut self.slots else {
            let package = super::open(&configured?, &self.trust);
            return Some(package.and_then(|package| {
                governed(&self.config, &self.loader, self.clock, task, &package)
            }));
        };
        if slots.active(task).is_none()
            && let Some(path) = configured
            && !slots.list().iter().any(|view| view.task == task)
            && let Err(error) = factory(slots, task, &path, &self.trust)
        {
            return Some(Err(error));
        }
        let mut first = None;
        while let Some(slot) = slots.active(task) {
            let package = slots.package(task, slot).map_err(anyhow::Error::from);
            let loaded = package.and_then(|package| {
                governed(&self.config, &self.loader, self.clock, task, &package)
            });
            match loaded {
                Ok(mut model) => {
                    if let Some(shadow) = slots.shadow(task)
                        && let Ok(package) = slots.package(task, shadow)
                    {
                        let trial =
                            begin_trial(&self.config, &self.loader, self.clock, task, package);
                        model.set_beside(trial.ok().map(|trial| Box::new(trial) as Box<_>));
                    }
                    return Some(Ok(model));
                }
                Err(error) => {
                    // A library that is missing is no fault of the model: it keeps its slot.
                    if self.loader.runtime(false).is_err() || unavailable(&error) {
                        return Some(Err(error));
                    }
                    let rolled = slots.roll_back(task, &format!("{error:#}"));
                    first.get_or_insert(error);
                    if rolled.is_err() {
                        break;
                    }
                }
            }
        }
        first.map(Err)
    }

    /// The limits of channels that go with the model that scores telemetry, or with statistics alone
    /// where none does: its slot's, else those that are configured, if they are for it.
    ///
    /// # Errors
    /// Why none are in force though some should be, in words.
    pub fn baseline(&mut self, manifest: Option<&Manifest>) -> Result<Option<Baseline>, String> {
        const TASK: Task = Task::Telemetry;
        let told =
            |why: &dyn std::fmt::Display| format!("channels go by the usual thresholds: {why}");
        if let Some(slots) = &mut self.slots
            && let Some(slot) = slots.active(TASK)
            && let Some(of) = slots.thresholds(TASK, slot).map_err(|why| told(&why))?
        {
            return Ok(of.baseline);
        }
        let Some(path) = &self.config.thresholds else { return Ok(None) };
        let of = super::open_thresholds(path, &self.trust).map_err(|why| told(&why))?;
        if let Some(manifest) = manifest {
            of.fits(TASK, manifest).map_err(|why| told(&why))?;
        }
        Ok(of.baseline)
    }

    /// Carries out an order; `key` is for one that takes its time.
    pub fn order(
        &mut self,
        order: &ModelOrder,
        key: Option<&UplinkKey>,
        pipeline: &mut Pipeline,
    ) -> Answer {
        if let (ModelOrder::Install(task), Some(key)) = (order, key) {
            return self
                .try_received(*task, key)
                .map_or_else(|why| Answer::Now(Err(why)), |()| Answer::Later);
        }
        Answer::Now(self.obey(order, pipeline).map_err(|error| error.to_string()))
    }

    fn obey(&mut self, order: &ModelOrder, pipeline: &mut Pipeline) -> Result<String, SlotError> {
        let Some(slots) = &mut self.slots else { return Err(no_slots()) };
        match order {
            ModelOrder::List => Ok(json!({
                "slots": slots.list(),
                "received": slots.received(),
                "models": self.status(pipeline),
            })
            .to_string()),
            ModelOrder::Install(_) => Err(SlotError::NothingReceived),
            ModelOrder::Promote(task) => {
                let slot = slots.promote(*task)?;
                self.put(*task, Some(slot), pipeline)
            }
            ModelOrder::Rollback(task) => {
                let slot = slots.roll_back(*task, "by command")?;
                self.put(*task, slot, pipeline)
            }
            ModelOrder::Shadow(task, on) => {
                slots.set_shadow(*task, *on)?;
                let trial = match slots.shadow(*task) {
                    None => None,
                    Some(slot) => {
                        let package = slots.package(*task, slot)?;
                        let (loader, clock) = (&self.loader, self.clock);
                        let trial = begin_trial(&self.config, loader, clock, *task, package);
                        Some(trial.map_err(|error| SlotError::Unproven(error.to_string()))?)
                    }
                };
                let Some(model) = model(pipeline, *task) else {
                    return Err(SlotError::NoneActive(*task));
                };
                model.set_beside(trial.map(|trial| Box::new(trial) as Box<_>));
                Ok(format!("shadow {}", if *on { "on" } else { "off" }))
            }
            ModelOrder::Threshold(task, name, value) => {
                slots.set_parameter(*task, name, *value)?;
                if let Some(model) = model(pipeline, *task) {
                    model.set_parameter(name, *value);
                }
                if let (Some(scorer), _) = pipeline.scorers() {
                    scorer.read_thresholds();
                }
                Ok(format!("{name} = {value} in force"))
            }
            ModelOrder::Thresholds(task, on) => {
                let said = match on {
                    true => {
                        let of = slots.set_thresholds(*task)?;
                        format!("thresholds {} {} in force", of.name, of.version)
                    }
                    false => {
                        slots.clear_thresholds(*task)?;
                        "the package's own thresholds in force".into()
                    }
                };
                let slot = slots.active(*task);
                self.put(*task, slot, pipeline)?;
                Ok(said)
            }
        }
    }

    /// Puts a slot's model in charge, or none. It loads while statistics stand in.
    fn put(
        &mut self,
        task: Task,
        slot: Option<Slot>,
        pipeline: &mut Pipeline,
    ) -> Result<String, SlotError> {
        let Some(slots) = &mut self.slots else { return Err(no_slots()) };
        let (model, said) = match slot {
            None => (None, "statistics are in charge".to_owned()),
            Some(slot) => {
                let package = slots.package(task, slot)?;
                let (name, version) =
                    (package.manifest().name.clone(), package.manifest().version.clone());
                let said = format!("slot {}: {name} {version} is in charge", slot.letter());
                let model = if self.loader.is_child() {
                    let (loader, clock) = (self.loader.clone(), self.clock);
                    let runner = Supervised::start(package, loader, clock, false);
                    Governed::new(task, Box::new(runner), self.config.budget())
                } else {
                    let loaded = governed(&self.config, &self.loader, self.clock, task, &package);
                    loaded.map_err(|error| SlotError::Unproven(format!("{error:#}")))?
                };
                (Some(model), said)
            }
        };
        match (task, pipeline.scorers()) {
            (Task::Telemetry, (Some(scorer), _)) => {
                let baseline = self.baseline(model.as_ref().map(Governed::manifest));
                if let Err(why) = &baseline {
                    tracing::warn!("{why}");
                }
                scorer.set_model(model);
                scorer.set_baseline(baseline.unwrap_or_default());
            }
            (Task::Telemetry, (None, _)) => {}
            (Task::Tiles, (_, tiles)) => tiles.set_model(model),
        }
        Ok(said)
    }

    /// Takes a piece of a package.
    pub fn piece(&mut self, piece: &Piece) -> Result<String, String> {
        let slots = self.slots.as_mut().ok_or_else(|| no_slots().to_string())?;
        match slots.piece(piece).map_err(|error| error.to_string())? {
            Taken::Missing(bytes) => Ok(format!("kept, {bytes} bytes are missing")),
            Taken::Repeated => Ok("here already".into()),
            Taken::Whole(digest) => Ok(format!("whole, SHA-256 {digest}: waits to be installed")),
        }
    }

    /// Tries what was received on a thread of its own, since loading takes its time.
    fn try_received(&mut self, task: Task, key: &UplinkKey) -> Result<(), String> {
        let slots = self.slots.as_mut().ok_or_else(|| no_slots().to_string())?;
        if self.proving {
            return Err("another package is being tried: send this again".into());
        }
        let (package, digest) = slots.candidate(task).map_err(|error| error.to_string())?;
        let (loader, tell, key) = (self.loader.clone(), self.tell.clone(), key.clone());
        let prove = move || {
            let proof = prove(&loader, &package);
            let _ = tell.send(Proven { key, task, digest, proof });
        };
        std::thread::Builder::new().spawn(prove).map_err(|error| error.to_string())?;
        self.proving = true;
        Ok(())
    }

    /// Waits for a package that is being tried; for ever where none is. Safe to give up on.
    pub async fn proven(&mut self) -> Proven {
        match self.told.recv().await {
            Some(proven) => proven,
            None => std::future::pending().await,
        }
    }

    /// Installs a package that was tried: whose order that was, and what came of it.
    pub fn install(&mut self, proven: Proven) -> (UplinkKey, Result<String, String>) {
        self.proving = false;
        let Proven { key, task, digest, proof } = proven;
        let Some(slots) = &mut self.slots else { return (key, Err(no_slots().to_string())) };
        let mut same = |package: &Package, found: Digest| match found == digest {
            true => proof.clone(),
            false => Err(format!("{:?} came while another was tried", package.manifest().name)),
        };
        let outcome = match slots.install_proven(task, &mut same) {
            Ok(slot) => {
                if let Some(view) =
                    slots.list().iter().find(|of| (of.task, of.slot) == (task, slot))
                {
                    let (name, version) = (&view.held.name, &view.held.version);
                    Ok(format!(
                        "slot {}: {name} {version} reproduces its known answers",
                        slot.letter()
                    ))
                } else {
                    Ok(format!("slot {}", slot.letter()))
                }
            }
            Err(error) => Err(error.to_string()),
        };
        (key, outcome)
    }

    /// When models are looked at next.
    pub fn timeout(&self) -> u64 {
        self.check_due_ns
    }

    /// Looks at every model: what is suspended gives way to the other slot, and from time to time
    /// files and answers are checked.
    pub fn tend(&mut self, pipeline: &mut Pipeline, now_ns: u64) {
        if now_ns >= self.check_due_ns {
            self.check_due_ns = now_ns.saturating_add(self.config.check_s * 1_000_000_000);
            Task::ALL.into_iter().for_each(|task| self.check(task, pipeline));
            let status = self.status(pipeline);
            let record = json!({ "event": "models", "models": status });
            pipeline.record(record, pipeline.time(now_ns), triage::RECORDS);
        }
        for task in Task::ALL {
            let Some(suspension) = model(pipeline, task).and_then(|of| of.suspended().cloned())
            else {
                continue;
            };
            if let Some(said) = self.give_way(task, &suspension, pipeline) {
                tracing::warn!("{said}");
                let record = json!({ "event": "model rolled back", "task": task, "message": said });
                pipeline.record(record, pipeline.time(now_ns), triage::RECORDS);
            }
        }
    }

    fn check(&mut self, task: Task, pipeline: &mut Pipeline) {
        let Some(model) = model(pipeline, task) else { return };
        model.reprove();
        if let Some(slots) = &mut self.slots
            && let Some(slot) = slots.active(task)
            && slots.holds(task, slot) == Ok(false)
        {
            model.condemn(format!("the file in slot {} is damaged", slot.letter()));
        }
    }

    /// Hands a suspended model's task to the other slot. One that only cost too much keeps it where
    /// there is no other: it goes on in the next orbit.
    fn give_way(
        &mut self,
        task: Task,
        suspension: &Suspension,
        pipeline: &mut Pipeline,
    ) -> Option<String> {
        let slots = self.slots.as_mut()?;
        slots.active(task)?;
        let reason = suspension.reason();
        if matches!(suspension, Suspension::Overrun(_)) && !slots.has_other(task) {
            return None;
        }
        let next = match slots.roll_back(task, reason) {
            Ok(next) => next,
            Err(error) => {
                tracing::error!("{} can't be rolled back: {error}", task.name());
                return None;
            }
        };
        // Without another the suspended one stays in its place, for its counts: it is not asked.
        let said = match next {
            None => "statistics are in charge".to_owned(),
            next => self.put(task, next, pipeline).unwrap_or_else(|error| error.to_string()),
        };
        Some(format!("{}: {said}, since the model {reason}", task.name()))
    }

    /// Which models are suspended: bit 0 telemetry, bit 1 tiles.
    pub fn suspended(&self, pipeline: &mut Pipeline) -> u8 {
        let mut suspended = |task| model(pipeline, task).is_some_and(|of| of.suspended().is_some());
        u8::from(suspended(Task::Telemetry)) | u8::from(suspended(Task::Tiles)) << 1
    }

    /// What every model did and cost.
    pub fn status(&self, pipeline: &mut Pipeline) -> Value {
        let mut status = serde_json::Map::new();
        for task in Task::ALL {
            let slot = self.slots.as_ref().and_then(|slots| slots.active(task));
            let Some(model) = model(pipeline, task) else { continue };
            let (manifest, runner) = (model.manifest(), model.runner());
            let document = json!({
                "name": manifest.name,
                "version": manifest.version,
                "slot": slot,
                "counts": model.counts(),
                "suspended": model.suspended().map(Suspension::reason),
                "restarts": runner.restarts(),
                "rss_bytes": runner.rss_bytes(),
                "process": runner.process(),
                "shadow": model.agreement(),
            });
            status.insert(task.name().into(), document);
        }
        status.into()
    }
}

fn model(pipeline: &mut Pipeline, task: Task) -> Option<&mut Governed> {
    let (telemetry, tiles) = pipeline.scorers();
    match task {
        Task::Telemetry => telemetry?.model(),
        Task::Tiles => tiles.model(),
    }
}

fn no_slots() -> SlotError {
    SlotError::Contract("this flight has no model slots: name a folder as [models] slots".into())
}

/// Whether a failure is the library's, not the model's.
fn unavailable(error: &anyhow::Error) -> bool {
    format!("{error:#}").contains("inference is unavailable")
}

/// Loads a package as a flight would, on trial.
pub fn prove(loader: &Loader, package: &Package) -> Result<(), String> {
    loader.load(package, true).map(drop).map_err(|error| format!("{error:#}"))
}

/// Puts the configured package into empty slots.
fn factory(
    slots: &mut Slots<Folder>,
    task: Task,
    path: &std::path::Path,
    trust: &Trust,
) -> anyhow::Result<()> {
    let bundle: Bytes = match path.is_file() {
        true => std::fs::read(path)?.into(),
        false => Package::bundle(path, trust)?,
    };
    slots.put(&bundle)?;
    // It is proven when it is loaded, which follows.
    slots.install(task, &mut |_| Ok(()))?;
    slots.promote(task)?;
    Ok(())
}

fn begin_trial(
    config: &Models,
    loader: &Loader,
    clock: Monotonic,
    task: Task,
    package: Package,
) -> std::io::Result<Trial> {
    let runner = Supervised::start(package, loader.clone(), clock, true);
    Trial::begin(task, runner, config.budget())
}
