//! The mission file, and what custody must know of it.

use anyhow::Context as _;
use codecs::{ids::SpacecraftId, mission::Definition};
use std::{collections::BTreeSet, path::Path};

/// Reads a mission definition.
pub fn load(path: &Path) -> anyhow::Result<Definition> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("mission {}", path.display()))?;
    let definition = Definition::from_toml(&text)
        .map_err(|error| anyhow::anyhow!("mission {}: {error}", path.display()))?;
    let domain = definition.domain.len();
    anyhow::ensure!(
        (1..=codecs::link::wire::MAX_TEXT_BYTES).contains(&domain),
        "{}: `domain` must have 1 to 255 bytes",
        path.display()
    );
    Ok(definition)
}

/// Spacecraft that exist.
pub fn spacecraft(definition: &Definition) -> BTreeSet<SpacecraftId> {
    definition.spacecraft.iter().map(|craft| craft.id).collect()
}
