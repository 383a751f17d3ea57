//! What ingest must know of the mission: its domain and its spacecraft.

use anyhow::bail;
use codecs::{config, ids::SpacecraftId};
use serde::Deserialize;
use std::collections::BTreeSet;

/// The part of a mission definition that custody needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissionFacts {
    /// Domain of its ledger, named in receipts.
    pub domain: String,
    /// Spacecraft that exist.
    pub spacecraft: BTreeSet<SpacecraftId>,
}

#[derive(Deserialize)]
struct File {
    mission: String,
    domain: Option<String>,
    #[serde(default)]
    spacecraft: Vec<Spacecraft>,
}

#[derive(Deserialize)]
struct Spacecraft {
    id: u16,
}

/// Reads a mission definition; `file` names it in messages.
pub fn read(file: &str, text: &str) -> anyhow::Result<MissionFacts> {
    let parsed: File = config::parse(file, text)?;
    let domain = parsed.domain.unwrap_or(parsed.mission);
    if domain.is_empty() || domain.len() > codecs::link::wire::MAX_TEXT_BYTES {
        bail!("{file}: `domain` must have 1 to 255 bytes");
    }
    let spacecraft: BTreeSet<_> =
        parsed.spacecraft.iter().map(|craft| SpacecraftId(craft.id)).collect();
    if spacecraft.len() < parsed.spacecraft.len() {
        bail!("{file}: two spacecraft have one id");
    }
    Ok(MissionFacts { domain, spacecraft })
}
