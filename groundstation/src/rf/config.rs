//! What the station file says of a spacecraft's radio, checked.

use codecs::{
    ids::{Apid, Origin, SpacecraftId},
    link::rf::PARTS_APID,
    packet::space::IDLE_APID,
};
use serde::Deserialize;
use std::collections::BTreeSet;

/// Radios of a station: each may hold as many parts as a rebuilder holds.
pub const RADIOS_MAX: usize = 64;

/// A `[[rf]]` of the station file: a spacecraft whose units are taken out of its frames.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RfConfig {
    /// Which spacecraft, by number.
    pub spacecraft: u16,
    /// Its store, 32 hexadecimal digits, where more than one is enrolled for it.
    pub origin: Option<String>,
    /// Application whose packets carry parts of units, 0 to 2046.
    #[serde(default = "parts_apid")]
    pub parts_apid: u16,
}

const fn parts_apid() -> u16 {
    PARTS_APID.0
}

/// The same, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Radio {
    /// Which spacecraft.
    pub spacecraft: SpacecraftId,
    /// Its store, where that is stated.
    pub origin: Option<Origin>,
    /// Application whose packets carry parts.
    pub parts_apid: Apid,
}

/// Key of the station file, and what is wrong with its value.
type Wrong = (String, String);

impl RfConfig {
    /// Reads it.
    pub fn check(&self) -> Result<Radio, Wrong> {
        let wrong = |field: &str, message: &str| {
            Err((format!("rf of spacecraft {}: {field}", self.spacecraft), message.to_string()))
        };
        if self.parts_apid >= IDLE_APID.0 {
            return wrong("parts_apid", "must be from 0 to 2046");
        }
        let origin = self.origin.as_deref().map(Origin::from_hex);
        if origin == Some(None) {
            return wrong("origin", "must be 32 hexadecimal digits");
        }
        Ok(Radio {
            spacecraft: SpacecraftId(self.spacecraft),
            origin: origin.flatten(),
            parts_apid: Apid(self.parts_apid),
        })
    }
}

/// Reads all of them.
pub fn check_all(radios: &[RfConfig]) -> Result<(), Wrong> {
    if radios.len() > RADIOS_MAX {
        return Err(("rf".into(), format!("{} of them; at most {RADIOS_MAX}", radios.len())));
    }
    let mut seen = BTreeSet::new();
    for radio in radios {
        radio.check()?;
        if !seen.insert(radio.spacecraft) {
            let key = format!("rf of spacecraft {}", radio.spacecraft);
            return Err((key, "stands twice; one section a spacecraft".into()));
        }
    }
    Ok(())
}
