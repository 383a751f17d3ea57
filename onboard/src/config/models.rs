//! `[models]`: packages, slots, who runs them and what they may cost.

use std::path::PathBuf;

use anyhow::ensure;
use serde::Deserialize;

use crate::models::Budget;

/// Execution providers that a configuration may name.
const PROVIDERS: [&str; 2] = ["cpu", "xnnpack"];

/// Most items that `batch_max` may name, as a package's manifest may.
const BATCH_MAX: u64 = 65_536;

/// Models; each is optional.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Models {
    /// ONNX Runtime's library.
    pub runtime: Option<PathBuf>,
    /// Package that scores telemetry; with slots the one that they begin with.
    pub telemetry: Option<PathBuf>,
    /// Package that screens tiles; with slots the one that they begin with.
    pub tiles: Option<PathBuf>,
    /// Folder of the two slots a task; without it models change with the configuration only.
    pub slots: Option<PathBuf>,
    /// Threshold file for the model that scores telemetry, a folder or a bundle; a slot's own one
    /// counts before it.
    pub thresholds: Option<PathBuf>,
    /// Public keys, hexadecimal, whose packages are taken.
    pub trusted_keys: Vec<String>,
    /// Accepts packages signed with the published development key. Never in flight.
    pub danger_accept_development_key: bool,
    /// Mission definition that names the parameters to score.
    pub mission: Option<PathBuf>,
    /// Parameters to score; all numeric ones where empty.
    pub watch: Vec<String>,
    /// Where models run.
    pub run: Run,
    /// The program whose `models serve` runs them; `onboard` itself where absent.
    pub server: Option<PathBuf>,
    /// Execution providers, the first first: `cpu` or `xnnpack`.
    pub providers: Vec<String>,
    /// Longest run, in milliseconds: the longest that a model can hold the pipeline up.
    pub run_ms: u64,
    /// Longest time to start and load, in milliseconds.
    pub load_ms: u64,
    /// Processor time of one model in an orbit, in milliseconds.
    pub orbit_cpu_ms: u64,
    /// Length of an orbit, in seconds.
    pub orbit_s: u64,
    /// Most items of one question, such as tiles of one image: fewer end within `run_ms` on a
    /// slower processor. What the package allows unless given.
    pub batch_max: Option<u64>,
    /// Most memory of a model's process, in MiB.
    pub memory_mib: u64,
    /// How often a running model is checked, in seconds: its file's digest, its known answers.
    pub check_s: u64,
}

/// Where models run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Run {
    /// Each in a process of its own: one that crashes, hangs or leaks costs its own process.
    #[default]
    Child,
    /// In the flight process: quicker, and a model that crashes takes the flight with it.
    InProcess,
}

impl Default for Models {
    fn default() -> Self {
        Self {
            runtime: None,
            telemetry: None,
            tiles: None,
            slots: None,
            thresholds: None,
            trusted_keys: Vec::new(),
            danger_accept_development_key: false,
            mission: None,
            watch: Vec::new(),
            run: Run::Child,
            server: None,
            providers: vec!["cpu".into()],
            run_ms: 500,
            load_ms: 20_000,
            orbit_cpu_ms: 60_000,
            orbit_s: 5700,
            batch_max: None,
            memory_mib: 256,
            check_s: 600,
        }
    }
}

impl Models {
    /// Every path in it.
    pub fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let paths = [
            &mut self.runtime,
            &mut self.telemetry,
            &mut self.tiles,
            &mut self.slots,
            &mut self.thresholds,
            &mut self.mission,
            &mut self.server,
        ];
        paths.into_iter().flatten()
    }

    /// What is out of range.
    pub fn check(&self) -> anyhow::Result<()> {
        if let Some(unknown) = self.providers.iter().find(|of| !PROVIDERS.contains(&&***of)) {
            anyhow::bail!("[models] providers: {unknown:?} is none of {}", PROVIDERS.join(", "));
        }
        for (key, value, most) in [
            ("run_ms", self.run_ms, 60_000),
            ("load_ms", self.load_ms, 600_000),
            ("orbit_cpu_ms", self.orbit_cpu_ms, 86_400_000),
            ("orbit_s", self.orbit_s, 10_000_000),
            ("memory_mib", self.memory_mib, 65_536),
            ("check_s", self.check_s, 10_000_000),
            ("batch_max", self.batch_max.unwrap_or(1), BATCH_MAX),
        ] {
            ensure!((1..=most).contains(&value), "[models] {key} = {value}: 1 to {most}");
        }
        Ok(())
    }

    /// What each model may cost.
    pub fn budget(&self) -> Budget {
        Budget {
            run_ns: self.run_ms * 1_000_000,
            orbit_cpu_ns: self.orbit_cpu_ms * 1_000_000,
            orbit_ns: self.orbit_s * 1_000_000_000,
            items_max: self.batch_max.map_or(usize::MAX, |most| most as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_named() {
        let error = |text: &str| {
            let models = codecs::config::parse::<Models>("m", text).unwrap();
            models.check().map_err(|error| error.to_string())
        };
        assert_eq!(error(""), Ok(()));
        assert!(error("providers = [\"tpu\"]").unwrap_err().contains("\"tpu\""));
        assert!(error("run_ms = 0").unwrap_err().contains("run_ms = 0: 1 to 60000"));
        assert!(error("batch_max = 0").unwrap_err().contains("batch_max = 0: 1 to 65536"));
        assert!(error("orbit_s = 99999999999").unwrap_err().contains("orbit_s"));
        assert_eq!(
            codecs::config::parse::<Models>("m", "run = \"in-process\"").unwrap().run,
            Run::InProcess
        );
        let wrong = codecs::config::parse::<Models>("m", "run = \"thread\"").unwrap_err();
        assert!(wrong.to_string().contains("thread"), "{wrong}");
    }
}
