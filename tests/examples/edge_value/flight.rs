//! The pipeline as SKY-7 flies it: its policy file, its thresholds and the committed models.

use anyhow::Context;
use codecs::mission::Definition;
use onboard::config::Config;
use onboard::models::Task;
use onboard::pipeline::{Pipeline, Watch};
use onboard::score::{TelemetryScorer, TelemetrySettings, TileScorer};
use onboard_model::{Package, Runtime, Session, Trust};
use std::path::Path;

/// What a configuration must say and nothing here uses; the rest is the default.
const CONFIG: &str = r#"
[spacecraft]
id = 7
name = "SKY-7"
[identity]
certificate = "none"
key = "none"
ground_pins = ["sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"]
origin = "000102030405060708090a0b0c0d0e0f"
[ground]
address = "127.0.0.1:1"
server_name = "station"
[source]
unix = "none"
[store]
dir = "none"
"#;

/// The committed models on the runtime that `make setup` put beside the executable.
pub struct Models(Runtime);

impl Models {
    /// Finds the runtime: without it the figures would be those of statistics alone.
    pub fn find() -> anyhow::Result<Self> {
        Ok(Self(Runtime::find(None).context("the value is measured with models: `make setup`")?))
    }

    /// A model, loaded and checked by its known answers.
    pub fn load(&self, name: &str) -> anyhow::Result<Session> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../onboard/model/packages");
        let trust = Trust::nobody().danger_accept_development_key();
        Ok(self.0.load(&Package::open(&folder.join(name), &trust)?)?)
    }

    /// A pipeline that scores tiles, and the parameters of SKY-7's mission where `watch` is set.
    /// Without realtime frames: they hold what the blocks hold too, a second time.
    pub fn pipeline(&self, watch: bool, flush_ms: u64) -> anyhow::Result<Pipeline> {
        let text = format!(
            "{CONFIG}[squeeze]\nflush_ms = {flush_ms}\n[realtime]\napids = []\n\
             [triage]\npolicy = \"triage.toml\"\n"
        );
        let mission = tests::tidy::root().join("missions/sky-7");
        let config = Config::parse("edge_value", &text, &mission)?;
        let watch = if watch { Some(self.watch()?) } else { None };
        Pipeline::new(&config, 0, watch, TileScorer::new(Some(self.load("cloud-screen")?))?)
    }

    fn watch(&self) -> anyhow::Result<Watch> {
        let mission = include_str!("../../../missions/sky-7/mission.toml");
        let session = self.load("telemetry-anomaly")?;
        let thresholds = tests::tidy::root().join("missions/sky-7/thresholds");
        let trust = Trust::nobody().danger_accept_development_key();
        let thresholds = onboard::shell::models::open_thresholds(&thresholds, &trust)?;
        thresholds.fits(Task::Telemetry, session.manifest())?;
        let mut scorer = TelemetryScorer::new(Some(session), TelemetrySettings::default())?;
        scorer.set_baseline(thresholds.baseline);
        Watch::new(Definition::from_toml(mission)?, &[], scorer)
            .map_err(|name| anyhow::anyhow!("the mission has no parameter {name:?}"))
    }
}
