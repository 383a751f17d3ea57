//! Loads the models that are configured; what is missing is said once and replaced by statistics.

use std::path::Path;

use anyhow::Context;
use codecs::{mission::Definition, package::Trust};
use onboard_model::{Package, Runtime, Session};

use crate::{
    config::Models,
    pipeline::Watch,
    score::{TelemetryScorer, TelemetrySettings, TileScorer},
};

/// The scorers, and what must be told about them.
pub struct Scorers {
    /// Scores parameters; absent without a mission definition.
    pub watch: Option<Watch>,
    /// Scores tiles.
    pub tiles: TileScorer,
    /// Why statistics stand in, one sentence each.
    pub notices: Vec<String>,
}

/// Loads everything; only a mission definition that is named and wrong is an error.
pub fn load(config: &Models) -> anyhow::Result<Scorers> {
    let mut notices = Vec::new();
    let trust = trust(&config.trusted_keys, config.danger_accept_development_key)
        .context("[models] trusted_keys")?;
    let mut loader = Loader { config, trust, runtime: None };
    let mut session = |what: &str, package: Option<&Path>| {
        let loaded = package.map(|package| loader.load(package))?;
        loaded.map_err(|why| notices.push(format!("{what} are scored by statistics: {why:#}"))).ok()
    };
    let telemetry = session("parameters", config.telemetry.as_deref());
    let tiles = session("tiles", config.tiles.as_deref());
    let settings = TelemetrySettings::default();
    let scorer = TelemetryScorer::new(telemetry, settings).or_else(|wrong| {
        notices.push(format!("parameters are scored by statistics: {wrong}"));
        TelemetryScorer::new(None, settings)
    })?;
    let tiles = TileScorer::new(tiles).or_else(|wrong| {
        notices.push(format!("tiles are scored by statistics: {wrong}"));
        TileScorer::new(None)
    })?;
    let watch = match &config.mission {
        None => None,
        Some(path) => {
            let file = path.display();
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("[models] mission: {file}: can't read"))?;
            let definition = Definition::from_toml(&text).with_context(|| format!("{file}"))?;
            let watch = Watch::new(definition, &config.watch, scorer);
            Some(watch.map_err(|name| {
                anyhow::anyhow!("[models] watch: {file} has no parameter {name:?}")
            })?)
        }
    };
    Ok(Scorers { watch, tiles, notices })
}

struct Loader<'a> {
    config: &'a Models,
    trust: Trust,
    runtime: Option<Runtime>,
}

impl Loader<'_> {
    fn load(&mut self, folder: &Path) -> anyhow::Result<Session> {
        let package = Package::open(folder, &self.trust)?;
        let runtime = match &self.runtime {
            Some(runtime) => runtime.clone(),
            None => Runtime::find(self.config.runtime.as_deref())?,
        };
        self.runtime = Some(runtime.clone());
        Ok(runtime.load(&package)?)
    }
}

/// Whose packages are taken.
pub fn trust(keys: &[String], danger_accept_development_key: bool) -> anyhow::Result<Trust> {
    let mut trust = Trust::nobody();
    for key in keys {
        let wrong = || format!("trusted key {key:?}: 64 hexadecimal digits");
        trust = trust.accept(key.parse().with_context(wrong)?);
    }
    let development = danger_accept_development_key;
    Ok(if development { trust.danger_accept_development_key() } else { trust })
}
