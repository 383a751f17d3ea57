//! What stands between a radio and the station.

use std::sync::Arc;

use codecs::{ids::Origin, mission::Definition};

use super::IslandSettings;
use crate::{
    rng::mix,
    world::{
        daemon::RadioSettings,
        edge::EdgeSettings,
        identity::{Authority, Identity},
    },
};

/// Custody by radio as the station has it, and the public key that the spacecraft believes.
pub(super) fn custody(
    settings: &IslandSettings,
    authority: &Authority,
    (origin, spacecraft): ([u8; 16], u16),
) -> anyhow::Result<Option<(RadioSettings, [u8; 32])>> {
    let Some(modem) = &settings.modem else { return Ok(None) };
    let (key, public) = authority.domain()?;
    let mission = Arc::new(Definition::from_toml(&modem.mission(spacecraft))?);
    let radio =
        RadioSettings { modem: modem.clone(), mission, key, origin: Origin(origin), spacecraft };
    Ok(Some((radio, public)))
}

/// The edge that has an input for each site.
pub(super) fn edge(
    settings: &IslandSettings,
    authority: &Authority,
    (radio, station): (&RadioSettings, &Identity),
) -> anyhow::Result<EdgeSettings> {
    let mut origin = radio.origin.0;
    origin[..8].copy_from_slice(&mix(settings.seed ^ 9).to_be_bytes());
    Ok(EdgeSettings {
        identity: authority.client("edge")?,
        station: station.clone(),
        origin,
        modem: radio.modem.clone(),
        mission: Arc::clone(&radio.mission),
        sites: settings.sites.clone(),
        seed: mix(settings.seed ^ 10),
    })
}
