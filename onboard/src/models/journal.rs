//! Which slot does what: two small files that are written in turn, so that a cut, or a bit that
//! flips in one of them, leaves the other.

use std::collections::BTreeMap;

use codecs::package::Digest;
use serde::{Deserialize, Serialize};

use super::{
    Files, Slot, Task,
    files::{Fault, replace},
};

/// Longest journal that is read, in bytes.
const BYTES_MAX: usize = 64 << 10;

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

fn name(generation: u64) -> String {
    format!("journal.{}", generation % 2)
}

impl Journal {
    /// Reads the newer one that is whole; the second says whether one is there that is not.
    pub fn read(files: &mut impl Files) -> Result<(Self, bool), Fault> {
        let (mut newest, mut spoilt) = (Self::default(), false);
        for turn in 0..2 {
            let Some(bytes) = files.read(&name(turn), BYTES_MAX)? else { continue };
            match Self::parse(&bytes) {
                Some(journal) if journal.generation >= newest.generation => newest = journal,
                Some(_) => {}
                None => spoilt = true,
            }
        }
        Ok((newest, spoilt))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (line, digest) = text.strip_suffix('\n')?.split_once('\n')?;
        let whole = digest.parse::<Digest>().ok()? == Digest::of(line.as_bytes());
        whole.then(|| serde_json::from_str(line).ok()).flatten()
    }

    /// Writes it over the older of the two.
    pub fn write(&mut self, files: &mut impl Files) -> Result<(), Fault> {
        self.generation += 1;
        let line = serde_json::to_string(self).map_err(|error| Fault::Failed(error.to_string()))?;
        let digest = Digest::of(line.as_bytes());
        replace(files, &name(self.generation), format!("{line}\n{digest}\n").as_bytes())
    }

    /// A task's slots.
    pub fn pair(&mut self, task: Task) -> &mut Pair {
        self.tasks.entry(task).or_default()
    }
}
