//! `[config]`: where configurations that come up are kept, and how one on trial proves itself.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use serde::Deserialize;

/// Where configurations that come up are kept. What an uploaded one says here is not heard: the
/// file on the command line decides, since nothing that comes up can spoil it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigSlots {
    /// Folder of its own, on storage that outlives a restart; none takes no configuration up.
    pub slots: Option<PathBuf>,
    /// Starts that a configuration on trial has to prove itself in.
    pub starts_max: u32,
    /// Seconds of one start within which it must have proved itself.
    pub trial_s: u64,
    /// Seconds that the store must have gone on writing.
    pub progress_s: u64,
}

impl Default for ConfigSlots {
    fn default() -> Self {
        Self { slots: None, starts_max: 3, trial_s: 86_400, progress_s: 60 }
    }
}

impl ConfigSlots {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        for (key, value, most) in [
            ("starts_max", u64::from(self.starts_max), 100),
            ("trial_s", self.trial_s, 10_000_000),
            ("progress_s", self.progress_s, 10_000_000),
        ] {
            ensure!((1..=most).contains(&value), "[config] {key} = {value}: 1 to {most}");
        }
        ensure!(
            self.progress_s < self.trial_s,
            "[config] progress_s = {}: less than trial_s = {}, or none could prove itself",
            self.progress_s,
            self.trial_s
        );
        Ok(())
    }
}

impl super::Config {
    /// Whether a flight under `running` may go on as this one; what differs, and why it must not.
    pub fn check_successor_of(&self, running: &Self) -> anyhow::Result<()> {
        ensure!(
            self.spacecraft.id == running.spacecraft.id,
            "[spacecraft] id = {}: this one is {}",
            self.spacecraft.id,
            running.spacecraft.id
        );
        let (wanted, found) = (self.origin()?, running.origin().context("the running one")?);
        ensure!(wanted == found, "[identity] origin = {wanted}: this store is {found}");
        ensure!(
            self.store.dir == running.store.dir,
            "[store] dir = {}: what {} holds would not come down",
            self.store.dir.display(),
            running.store.dir.display()
        );
        Ok(())
    }
}
