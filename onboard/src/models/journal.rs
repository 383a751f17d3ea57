//! Which slot does what: two small files that are written in turn, so that a cut, or a bit that
//! flips in one of them, leaves the other.

use std::collections::BTreeMap;

use codecs::package::Digest;
use serde::{Deserialize, Serialize};

use super::{
    Files, Slot, Task,
    files::{Fault, read_journal, write_journal},
};

/// What is in a slot, as it was proven when it was put there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Digest of the bundle.
    pub digest: Digest,
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Parameters that differ from the manifest's.
    #[serde(default)]
    pub parameters: BTreeMap<String, f64>,
    /// Digest of the threshold file that goes with it, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<Digest>,
    /// Why it was taken out of service, if it was.
    #[serde(default)]
    pub failed: Option<String>,
}

/// The two slots of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// Which one is asked; statistics alone where none is.
    pub active: Option<Slot>,
    /// Whether the other one is asked beside it.
    #[serde(default)]
    pub shadow: bool,
    /// What they hold.
    pub slots: BTreeMap<Slot, Held>,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// Counts writes: the higher one is the newer.
    pub generation: u64,
    /// By task.
    pub tasks: BTreeMap<Task, Pair>,
}

impl Journal {
    /// Reads the newer one that is whole; the second says whether one is there that is not.
    pub fn read(files: &mut impl Files) -> Result<(Self, bool), Fault> {
        let (newest, spoilt) = read_journal(files, |of: &Self| of.generation)?;
        Ok((newest.unwrap_or_default(), !spoilt.is_empty()))
    }

    /// Writes it over the older of the two.
    pub fn write(&mut self, files: &mut impl Files) -> Result<(), Fault> {
        self.generation += 1;
        write_journal(files, self.generation, self)
    }

    /// A task's slots.
    pub fn pair(&mut self, task: Task) -> &mut Pair {
        self.tasks.entry(task).or_default()
    }
}
