//! Loads the models that are configured or in their slots, and looks after them in flight: what is
//! missing is said once and replaced by statistics.

mod folder;
mod keeper;
mod runners;
mod trial;

use std::{io::Read, path::Path};

use anyhow::Context;
use codecs::{
    mission::Definition,
    package::{SIGNATURE_FILE, Trust},
};
use codecs_quic::Monotonic;
use onboard_model::Package;

pub use folder::Folder;
pub use keeper::{Answer, Keeper, Proven, prove};
pub use runners::{InProcess, Loader, Supervised};

use crate::{
    config::Models,
    models::{Governed, Slots, Task, Thresholds, thresholds},
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

/// Loads everything; only a mission definition that is named and wrong, or a folder of slots that
/// cannot be used, is an error.
pub fn load(config: &Models, clock: Monotonic) -> anyhow::Result<(Keeper, Scorers)> {
    let trust = trust(&config.trusted_keys, config.danger_accept_development_key)
        .context("[models] trusted_keys")?;
    let mut notices = Vec::new();
    let slots = match &config.slots {
        None => None,
        Some(dir) => {
            let folder = Folder::open(dir).context("[models] slots")?;
            let mut slots = Slots::open(folder, trust.clone()).context("[models] slots")?;
            notices.append(&mut slots.take_notices());
            Some(slots)
        }
    };
    let mut keeper = Keeper::new(config, trust, slots, clock);
    let mut model = |task: Task, what: &str| {
        let loaded = keeper.begin(task)?;
        let told = loaded.map_err(|why| {
            notices.push(format!("{what} are scored by statistics: {why:#}"));
        });
        told.ok()
    };
    let telemetry = model(Task::Telemetry, "parameters");
    let tiles = model(Task::Tiles, "tiles");
    let mut scorer = TelemetryScorer::new(None, TelemetrySettings::default())?;
    let baseline = keeper.baseline(telemetry.as_ref().map(Governed::manifest));
    scorer.set_model(telemetry);
    scorer.set_baseline(baseline.unwrap_or_else(|why| {
        notices.push(why);
        None
    }));
    let mut tile_scorer = TileScorer::new(None)?;
    tile_scorer.set_model(tiles);
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
    Ok((keeper, Scorers { watch, tiles: tile_scorer, notices }))
}

/// A package for a task, loaded and within its budget.
fn governed(
    config: &Models,
    loader: &Loader,
    clock: Monotonic,
    task: Task,
    package: &Package,
) -> anyhow::Result<Governed> {
    task.check(package.manifest()).map_err(|why| anyhow::anyhow!("model {why}"))?;
    let session = loader.load(package, false)?;
    let taken = session.providers();
    let missing: Vec<_> = config.providers.iter().filter(|name| !taken.contains(name)).collect();
    if !missing.is_empty() {
        let name = &package.manifest().name;
        tracing::warn!(
            "model {name:?}: the library lacks {missing:?} of [models] providers; the processor \
             runs what they would"
        );
    }
    let runner: Box<dyn crate::models::governed::Runner> = if loader.is_child() {
        Box::new(Supervised::loaded(package.clone(), loader.clone(), clock, session))
    } else {
        Box::new(InProcess::new(session, clock))
    };
    Ok(Governed::new(task, runner, config.budget()))
}

/// The package in a folder, or in a file that is a bundle.
pub fn open(path: &Path, trust: &Trust) -> anyhow::Result<Package> {
    if path.is_file() {
        let bundle = std::fs::read(path).with_context(|| format!("{}", path.display()))?;
        return Ok(Package::from_bundle(path, &bundle.into(), trust)?);
    }
    Ok(Package::open(path, trust)?)
}

/// The threshold file in a folder, or in a file that is a bundle.
pub fn open_thresholds(path: &Path, trust: &Trust) -> anyhow::Result<Thresholds> {
    let read = |path: &Path| {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).with_context(|| format!("{}", path.display()))?;
        // One more than is taken, so that whoever proves it notices.
        file.take(thresholds::BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        anyhow::Ok(bytes)
    };
    let named = || format!("{}", path.display());
    if path.is_file() {
        return Thresholds::from_bundle(&read(path)?.into(), trust).with_context(named);
    }
    let document = read(&path.join(thresholds::THRESHOLDS_FILE))?;
    let signature = read(&path.join(SIGNATURE_FILE))?;
    Thresholds::prove(&document, &signature, trust).with_context(named)
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
