//! Two slots a task: what is installed, which one is asked, and how that changes so that a power
//! cut at any write leaves the old state or the new one.

use std::{collections::BTreeMap, path::Path};

use bytes::Bytes;
use codecs::package::{Digest, MAX_BUNDLE_BYTES, Manifest, Piece, Trust};
use onboard_model::{Package, PackageError};
use serde::Serialize;

use super::{
    Files, Slot, Task,
    files::Fault,
    journal::{Held, Journal},
    thresholds::{Thresholds, ThresholdsError},
    upload::{RECEIVED, Taken, Upload, UploadError},
};

/// Why an order about slots was not carried out. Nothing has changed then, but where the folder
/// failed: there a restart finds the old state or the new one.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// The folder failed.
    #[error("the slots' folder: {0}")]
    Fault(#[from] Fault),
    /// A piece was not taken.
    #[error("{0}")]
    Upload(#[from] UploadError),
    /// A package does not hold.
    #[error("{0}")]
    Package(Box<PackageError>),
    /// It holds and does not do the task as it is asked here.
    #[error("{0}")]
    Contract(String),
    /// It does not reproduce its known answers here, or does not load.
    #[error("{0}")]
    Unproven(String),
    /// Nothing waits to be installed.
    #[error("no package waits to be installed: send all of its pieces first")]
    NothingReceived,
    /// A slot that is needed is empty, or damaged.
    #[error("slot {} of {} {problem}", slot.letter(), task.name())]
    Slot {
        /// The task.
        task: Task,
        /// The slot.
        slot: Slot,
        /// What is the matter with it.
        problem: String,
    },
    /// No slot is active.
    #[error("no model is active for {}: promote one first", .0.name())]
    NoneActive(Task),
    /// A parameter may not have that value.
    #[error("{0}")]
    Parameter(String),
    /// A threshold file does not hold, or is for another model.
    #[error("{0}")]
    Thresholds(#[from] ThresholdsError),
    /// What waits is a package, not a threshold file, or the other way round.
    #[error("what was received is {found}: {advice}")]
    Kind {
        /// What it is.
        found: &'static str,
        /// Which order takes it.
        advice: &'static str,
    },
}

impl From<PackageError> for SlotError {
    fn from(error: PackageError) -> Self {
        Self::Package(Box::new(error))
    }
}

/// A slot as a person reads it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SlotView {
    /// The task.
    pub task: Task,
    /// The slot.
    pub slot: Slot,
    /// `active`, `shadow` or `idle`.
    pub role: &'static str,
    /// What it holds.
    #[serde(flatten)]
    pub held: Held,
}

/// The slots of every task, in one folder.
pub struct Slots<F> {
    files: F,
    trust: Trust,
    journal: Journal,
    upload: Upload,
    notices: Vec<String>,
}

fn file(task: Task, slot: Slot) -> String {
    format!("{}.{}", task.name(), slot.letter())
}

/// In the name of every threshold file, which ends in its digest: a new one stands beside the old
/// until the journal names it.
const THRESHOLDS: &str = ".thresholds-";

fn thresholds_file(task: Task, slot: Slot, digest: Digest) -> String {
    format!("{}{THRESHOLDS}{digest}", file(task, slot))
}

impl<F: Files> Slots<F> {
    /// Opens a folder as a boot finds it. What a cut left half done is finished or undone, and what
    /// is damaged is taken out of service; both are said in [`Self::take_notices`].
    pub fn open(mut files: F, trust: Trust) -> Result<Self, Fault> {
        let (journal, spoilt) = Journal::read(&mut files)?;
        for name in files.names()? {
            // Half of a replacement.
            if name.ends_with(".tmp") {
                files.remove(&name)?;
            }
        }
        let upload = Upload::open(&mut files)?;
        let mut slots = Self { files, trust, journal, upload, notices: Vec::new() };
        if spoilt {
            slots.notices.push("one of the two journals of the model slots is damaged".into());
        }
        for task in Task::ALL {
            slots.examine(task)?;
        }
        slots.sweep()?;
        Ok(slots)
    }

    /// Brings a task's journal and files into agreement.
    fn examine(&mut self, task: Task) -> Result<(), Fault> {
        let before = self.journal.clone();
        for slot in Slot::BOTH {
            let found = self.read(task, slot)?;
            let digest = found.as_ref().map(|bytes| Digest::of(bytes));
            let pair = self.journal.pair(task);
            let held = pair.slots.get(&slot).map(|held| held.digest);
            if held == digest {
                continue;
            }
            let active = pair.active == Some(slot);
            let proven = found.and_then(|bytes| {
                let label = file(task, slot);
                let package = Package::from_bundle(Path::new(&label), &bytes, &self.trust).ok()?;
                task.check(package.manifest()).ok()?;
                Some(package)
            });
            let label = file(task, slot);
            let pair = self.journal.pair(task);
            pair.shadow = false;
            match (proven, digest) {
                // An installation that a cut kept out of the journal. Installing never touches the
                // active slot, so there it was something else.
                (Some(package), Some(digest)) if !active => {
                    pair.slots.insert(slot, held_of(digest, package.manifest()));
                }
                _ => {
                    self.notices.push(format!("{label} is damaged or gone: it is not used"));
                    pair.slots.remove(&slot);
                    if active {
                        pair.active = None;
                    }
                }
            }
        }
        let pair = self.journal.pair(task);
        let lost = before.tasks.get(&task).and_then(|pair| pair.active);
        if let (None, Some(lost)) = (pair.active, lost)
            && pair.slots.get(&lost.other()).is_some_and(|held| held.failed.is_none())
        {
            pair.active = Some(lost.other());
        }
        if self.journal != before {
            // A folder that cannot be written can still be flown from.
            if let Err(fault) = self.journal.write(&mut self.files) {
                self.notices.push(format!("the journal of the model slots: {fault}"));
            }
        }
        Ok(())
    }

    fn read(&mut self, task: Task, slot: Slot) -> Result<Option<Bytes>, Fault> {
        self.files.read(&file(task, slot), MAX_BUNDLE_BYTES)
    }

    /// What a person should know of the folder's state. Told once.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Every slot that holds something.
    pub fn list(&self) -> Vec<SlotView> {
        let mut views = Vec::new();
        for (task, pair) in &self.journal.tasks {
            for (slot, held) in &pair.slots {
                let role = match pair.active {
                    Some(active) if active == *slot => "active",
                    _ if pair.shadow => "shadow",
                    _ => "idle",
                };
                views.push(SlotView { task: *task, slot: *slot, role, held: held.clone() });
            }
        }
        views
    }

    /// The digest of the bundle that waits to be installed.
    pub fn received(&self) -> Option<Digest> {
        self.upload.received()
    }

    /// Digest, length and bytes here of a bundle on its way.
    pub fn under_way(&self) -> Option<(Digest, u64, u64)> {
        self.upload.under_way()
    }

    /// The slot that is asked.
    pub fn active(&self, task: Task) -> Option<Slot> {
        self.journal.tasks.get(&task)?.active
    }

    /// The slot that is asked beside the active one.
    pub fn shadow(&self, task: Task) -> Option<Slot> {
        let pair = self.journal.tasks.get(&task)?;
        pair.active.filter(|_| pair.shadow).map(Slot::other)
    }

    /// Whether the slot that is not active holds a package that has not failed.
    pub fn has_other(&self, task: Task) -> bool {
        let Some(pair) = self.journal.tasks.get(&task) else { return false };
        let other = pair.active.and_then(|active| pair.slots.get(&active.other()));
        other.is_some_and(|held| held.failed.is_none())
    }

    /// Takes a piece of a bundle. A bundle that came whole and does not hold is thrown away.
    pub fn piece(&mut self, piece: &Piece) -> Result<Taken, SlotError> {
        let mut held = self.journal.tasks.values().flat_map(|pair| pair.slots.values());
        let is_here =
            |held: &Held| held.digest == piece.digest || held.thresholds == Some(piece.digest);
        if held.any(is_here) {
            return Ok(Taken::Repeated);
        }
        let taken = self.upload.take(&mut self.files, piece)?;
        if let Taken::Whole(_) = taken
            && let Err(error) = self.received_holds()
        {
            self.upload.reject(&mut self.files)?;
            return Err(error);
        }
        Ok(taken)
    }

    /// Puts a bundle where one that came in pieces would wait.
    pub fn put(&mut self, bundle: &Bytes) -> Result<Digest, SlotError> {
        self.holds_bundle(bundle)?;
        Ok(self.upload.put(&mut self.files, bundle)?)
    }

    fn received_package(&mut self) -> Result<(Package, Digest), SlotError> {
        let bytes = self.files.read(RECEIVED, MAX_BUNDLE_BYTES)?;
        let bytes = bytes.ok_or(SlotError::NothingReceived)?;
        if Thresholds::is_bundle(&bytes) {
            let advice = "`model thresholds TASK` puts it in force";
            return Err(SlotError::Kind { found: "a threshold file", advice });
        }
        let package = Package::from_bundle(Path::new(RECEIVED), &bytes, &self.trust)?;
        Ok((package, Digest::of(&bytes)))
    }

    fn received_holds(&mut self) -> Result<(), SlotError> {
        let bytes = self.files.read(RECEIVED, MAX_BUNDLE_BYTES)?;
        self.holds_bundle(&bytes.ok_or(SlotError::NothingReceived)?)
    }

    /// Whether a bundle is a package, or a threshold file, that an accepted key signed.
    fn holds_bundle(&self, bundle: &Bytes) -> Result<(), SlotError> {
        if Thresholds::is_bundle(bundle) {
            Thresholds::from_bundle(bundle, &self.trust)?;
        } else {
            Package::from_bundle(Path::new(RECEIVED), bundle, &self.trust)?;
        }
        Ok(())
    }

    /// Puts the threshold file that was received in force for the active model. What was set one by
    /// one before is forgotten.
    ///
    /// # Errors
    /// Nothing, or a package, was received; it is for another model; or a parameter leaves the
    /// bounds of the model's manifest.
    pub fn set_thresholds(&mut self, task: Task) -> Result<Thresholds, SlotError> {
        let active = self.active(task).ok_or(SlotError::NoneActive(task))?;
        let bytes = self.files.read(RECEIVED, MAX_BUNDLE_BYTES)?;
        let bytes = bytes.ok_or(SlotError::NothingReceived)?;
        if !Thresholds::is_bundle(&bytes) {
            let advice = "`model install TASK` takes it";
            return Err(SlotError::Kind { found: "a package", advice });
        }
        let thresholds = Thresholds::from_bundle(&bytes, &self.trust)?;
        thresholds.fits(task, self.package(task, active)?.manifest())?;
        let digest = Digest::of(&bytes);
        self.files.rename(RECEIVED, &thresholds_file(task, active, digest))?;
        self.files.sync_names()?;
        self.upload.moved();
        self.change(task, |pair| {
            if let Some(held) = pair.slots.get_mut(&active) {
                held.thresholds = Some(digest);
                held.parameters.clear();
            }
            Ok(())
        })?;
        self.sweep()?;
        Ok(thresholds)
    }

    /// Goes back to the active package's own thresholds.
    ///
    /// # Errors
    /// No slot is active, or the folder failed.
    pub fn clear_thresholds(&mut self, task: Task) -> Result<(), SlotError> {
        let active = self.active(task).ok_or(SlotError::NoneActive(task))?;
        self.change(task, |pair| {
            if let Some(held) = pair.slots.get_mut(&active) {
                held.thresholds = None;
            }
            Ok(())
        })?;
        Ok(self.sweep()?)
    }

    /// Reads the threshold file of a slot and proves it anew; none where none was put in force.
    ///
    /// # Errors
    /// It is gone, changed, or does not hold any more: the model goes by its own thresholds then.
    pub fn thresholds(&mut self, task: Task, slot: Slot) -> Result<Option<Thresholds>, SlotError> {
        let held = self.journal.tasks.get(&task).and_then(|pair| pair.slots.get(&slot));
        let Some(digest) = held.and_then(|held| held.thresholds) else { return Ok(None) };
        let bytes = self.files.read(&thresholds_file(task, slot, digest), MAX_BUNDLE_BYTES)?;
        let bytes = bytes.filter(|bytes| Digest::of(bytes) == digest).ok_or_else(|| {
            let problem = "has lost its threshold file, or that is damaged".into();
            SlotError::Slot { task, slot, problem }
        })?;
        Ok(Some(Thresholds::from_bundle(&bytes, &self.trust)?))
    }

    /// Removes threshold files that no slot names.
    fn sweep(&mut self) -> Result<(), Fault> {
        let named: Vec<String> = Task::ALL
            .into_iter()
            .flat_map(|task| Slot::BOTH.map(|slot| (task, slot)))
            .filter_map(|(task, slot)| {
                let held = self.journal.tasks.get(&task)?.slots.get(&slot)?;
                Some(thresholds_file(task, slot, held.thresholds?))
            })
            .collect();
        for name in self.files.names()? {
            if name.contains(THRESHOLDS) && !named.contains(&name) {
                self.files.remove(&name)?;
            }
        }
        Ok(())
    }

    /// What was received, if it does the task: to be tried before it is installed.
    pub fn candidate(&mut self, task: Task) -> Result<(Package, Digest), SlotError> {
        let (package, digest) = self.received_package()?;
        task.check(package.manifest()).map_err(SlotError::Contract)?;
        Ok((package, digest))
    }

    /// Installs what was received into the slot that is not active. `prove` loads the package and
    /// asks it its known answers; only one that gives them gets a slot.
    pub fn install(
        &mut self,
        task: Task,
        prove: &mut dyn FnMut(&Package) -> Result<(), String>,
    ) -> Result<Slot, SlotError> {
        self.install_proven(task, &mut |package, _| prove(package))
    }

    /// The same where the trial was another time: `prove` is told the digest of what is received
    /// now.
    pub fn install_proven(
        &mut self,
        task: Task,
        prove: &mut dyn FnMut(&Package, Digest) -> Result<(), String>,
    ) -> Result<Slot, SlotError> {
        let (package, digest) = self.candidate(task)?;
        prove(&package, digest).map_err(SlotError::Unproven)?;
        let pair = self.journal.pair(task);
        let empty = Slot::BOTH.into_iter().find(|slot| !pair.slots.contains_key(slot));
        let slot = pair.active.map(Slot::other).or(empty).unwrap_or(Slot::A);
        self.files.rename(RECEIVED, &file(task, slot))?;
        self.files.sync_names()?;
        self.upload.moved();
        self.change(task, |pair| {
            pair.shadow = false;
            pair.slots.insert(slot, held_of(digest, package.manifest()));
            Ok(())
        })?;
        Ok(slot)
    }

    /// Reads the package in a slot and proves it anew: what is on the disk now, with the
    /// parameters that were set here.
    pub fn package(&mut self, task: Task, slot: Slot) -> Result<Package, SlotError> {
        let wrong = |problem: &str| SlotError::Slot { task, slot, problem: problem.into() };
        let pair = self.journal.tasks.get(&task);
        let held = pair.and_then(|pair| pair.slots.get(&slot)).ok_or_else(|| wrong("is empty"))?;
        let (digest, parameters) = (held.digest, held.parameters.clone());
        let bytes = self.read(task, slot)?.ok_or_else(|| wrong("has lost its file"))?;
        if Digest::of(&bytes) != digest {
            return Err(wrong("has another content than was installed: it is damaged"));
        }
        let package = Package::from_bundle(Path::new(&file(task, slot)), &bytes, &self.trust)?;
        // Without its threshold file a model goes by its own; whoever asks for that file is told.
        let thresholds = self.thresholds(task, slot).ok().flatten();
        let package = match thresholds {
            Some(of) => package.with_parameters(&of.parameters),
            None => package,
        };
        Ok(package.with_parameters(&parameters))
    }

    /// Makes the other slot the one that is asked; where none is, the one that holds something.
    pub fn promote(&mut self, task: Task) -> Result<Slot, SlotError> {
        let pair = self.journal.pair(task);
        let first = Slot::BOTH.into_iter().find(|slot| pair.slots.contains_key(slot));
        let slot = pair.active.map(Slot::other).or(first).unwrap_or(Slot::A);
        self.package(task, slot)?;
        self.change(task, |pair| {
            pair.active = Some(slot);
            pair.shadow = false;
            if let Some(held) = pair.slots.get_mut(&slot) {
                // Whoever promotes it again wants it tried again.
                held.failed = None;
            }
            Ok(())
        })?;
        Ok(slot)
    }

    /// Takes the active model out of service, for a reason that is kept. The other slot takes over
    /// where it holds a package that still proves itself and has not failed; else statistics do.
    pub fn roll_back(&mut self, task: Task, reason: &str) -> Result<Option<Slot>, SlotError> {
        let active = self.active(task).ok_or(SlotError::NoneActive(task))?;
        let other = active.other();
        let pair = self.journal.pair(task);
        let sound = pair.slots.get(&other).is_some_and(|held| held.failed.is_none());
        let next = (sound && self.package(task, other).is_ok()).then_some(other);
        self.change(task, |pair| {
            pair.active = next;
            pair.shadow = false;
            if let Some(held) = pair.slots.get_mut(&active) {
                held.failed = Some(reason.into());
            }
            Ok(())
        })?;
        Ok(next)
    }

    /// Asks the other slot beside the active one, or stops that.
    pub fn set_shadow(&mut self, task: Task, on: bool) -> Result<(), SlotError> {
        if on {
            let active = self.active(task).ok_or(SlotError::NoneActive(task))?;
            self.package(task, active.other())?;
        }
        self.change(task, |pair| {
            pair.shadow = on;
            Ok(())
        })
    }

    /// Sets a parameter of the active model, within the bounds of its manifest.
    pub fn set_parameter(&mut self, task: Task, name: &str, value: f64) -> Result<(), SlotError> {
        let active = self.active(task).ok_or(SlotError::NoneActive(task))?;
        let package = self.package(task, active)?;
        let allowed = package.manifest().allows(name, value);
        allowed.map_err(|error| SlotError::Parameter(error.to_string()))?;
        self.change(task, |pair| {
            if let Some(held) = pair.slots.get_mut(&active) {
                held.parameters.insert(name.into(), value);
            }
            Ok(())
        })
    }

    /// Whether a slot's file still is what was installed: asked from time to time while its model
    /// runs.
    pub fn holds(&mut self, task: Task, slot: Slot) -> Result<bool, Fault> {
        let held = self.journal.tasks.get(&task).and_then(|pair| pair.slots.get(&slot));
        let wanted = held.map(|held| held.digest);
        Ok(wanted.is_some() && self.read(task, slot)?.map(|bytes| Digest::of(&bytes)) == wanted)
    }

    /// The folder, for a test that looks into it.
    pub fn files(&mut self) -> &mut F {
        &mut self.files
    }

    /// Changes a task's slots durably, or not at all.
    fn change(
        &mut self,
        task: Task,
        change: impl FnOnce(&mut super::journal::Pair) -> Result<(), SlotError>,
    ) -> Result<(), SlotError> {
        let mut next = self.journal.clone();
        change(next.pair(task))?;
        // A write that failed may have been half done: its number is not used again.
        self.journal.generation += 1;
        next.write(&mut self.files)?;
        self.journal = next;
        Ok(())
    }
}

fn held_of(digest: Digest, manifest: &Manifest) -> Held {
    Held {
        digest,
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        parameters: BTreeMap::new(),
        thresholds: None,
        failed: None,
    }
}
