//! `[health]`: the flight software's own housekeeping, memory, share of the processor, watchdog.

use std::path::PathBuf;

use anyhow::ensure;
use serde::Deserialize;

/// Memory that a flight without files and models takes at most, beside its store's segments, bytes.
const MEMORY_BYTES: u64 = 96 << 20;
/// Memory that a start takes whatever it flies with, threads' stacks in: 16 MiB, and as much again.
const MEMORY_BYTES_MIN: u64 = 32 << 20;
/// Segments that opening and cleaning hold in memory at once.
const SEGMENTS_HELD: u64 = 4;

/// How the flight software minds itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// Seconds from one housekeeping packet to the next; 0 for none.
    pub every_s: u64,
    /// Application process of these packets.
    pub apid: u16,
    /// Most bytes of data that the process may have; worked out unless given.
    pub memory_bytes_max: Option<u64>,
    /// How far the process stands back for others, 0 to 19.
    pub nice: i32,
    /// Watchdog device, beside the service manager's.
    pub watchdog: Option<PathBuf>,
}

impl Default for Health {
    fn default() -> Self {
        Self { every_s: 0, apid: 90, memory_bytes_max: None, nice: 0, watchdog: None }
    }
}

impl Health {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(self.apid < 2047, "[health] apid = {}: 0 to 2046", self.apid);
        ensure!((0..=19).contains(&self.nice), "[health] nice = {}: 0 to 19", self.nice);
        Ok(())
    }
}

impl super::Config {
    /// A limit below what a start takes would end every one of them before it can say so, also of
    /// a configuration that proved itself in a process that was running.
    pub(super) fn check_memory(&self) -> anyhow::Result<()> {
        let least = MEMORY_BYTES_MIN + self.parts_bytes();
        let given = self.health.memory_bytes_max.unwrap_or(least);
        ensure!(
            given >= least,
            "[health] memory_bytes_max = {given}: at least {least} for this store and these sources"
        );
        Ok(())
    }

    fn parts_bytes(&self) -> u64 {
        SEGMENTS_HELD * self.store.segment_bytes + self.source.file_memory_bytes()
    }

    /// Most bytes of data that the process may have: what was given, else what its parts need.
    /// None where a model's library decides.
    pub fn memory_bytes_max(&self) -> Option<u64> {
        let models = self.models.telemetry.is_some() || self.models.tiles.is_some();
        let computed = MEMORY_BYTES + self.parts_bytes();
        self.health.memory_bytes_max.or((!models).then_some(computed))
    }
}
