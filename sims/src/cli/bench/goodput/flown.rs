//! The pass of real elements that goodput is measured on: SKY-7 over Svalbard, in X band.

use anyhow::Context as _;
use codecs::time::Tai;

use super::BURSTS;
use crate::{
    cli::budget::next_pass,
    link::{LossSettings, budget::file, radio::Weather},
    orbit::satellite,
    world::goodput::{Link, passes::Flown},
};

const RADIO: &str = include_str!("../../../../../missions/links/x-band.toml");
const ELEMENTS: &str = include_str!("../../../../../missions/sky-7/elements.json");
/// From when on a pass is looked for.
const FROM: &str = "2026-11-23T09:00:00Z";
/// What it is called in tables.
pub const NAME: &str = "SKY-7 over Svalbard";

/// What comes between the plan and the pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Gases only, as planned.
    Clear,
    /// Rain, clouds and scintillation, and a modem that follows them.
    Rain,
    /// The same, in and out of shadow.
    Shadow,
}

/// Skies that are measured.
pub const SKIES: [(&str, Kind, LossSettings); 3] = [
    ("clear sky", Kind::Clear, LossSettings::NONE),
    ("rain, 0.1 % in bursts", Kind::Rain, BURSTS),
    ("rain and shadows", Kind::Shadow, LossSettings::NONE),
];

/// The pass with its radio.
pub fn pass(kind: Kind) -> anyhow::Result<Flown> {
    let of = file::read("x-band.toml", &radio(kind))?;
    let satellites = satellite::read(ELEMENTS)?;
    let set = satellites.first().and_then(|of| of.elements()).context("no elements")?;
    let from = Tai::from_rfc3339(FROM).context("no time")?;
    let pass = next_pass(&of, set, from)?;
    Ok(Flown::new(of, set, &pass)?)
}

/// The link under one sky.
pub fn link(pass: &Flown, kind: Kind, loss: LossSettings, seed: u64) -> anyhow::Result<Link> {
    let weather = if kind == Kind::Clear { Weather::Clear } else { Weather::Seeded(seed) };
    Ok(pass.link(weather, loss)?)
}

fn radio(kind: Kind) -> String {
    let channel = match kind {
        Kind::Clear => return RADIO.to_owned(),
        Kind::Rain => "",
        // An antenna among masts: a shadow of a third of a second twice a minute.
        Kind::Shadow => {
            "shadowing = { open_s = 30, shadow_s = 0.3, rice_db = 20, shadow_mean_db = 10, \
             shadow_sigma_db = 3 }\n"
        }
    };
    let rain = format!("[channel]\nrain_at_rise_percent = 0.1\n{channel}");
    RADIO.replace("[channel]\n", &rain)
}
