//! `[codes]`: which modulations and codes there are, and how one is chosen.

use serde::Deserialize;

/// `[codes]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodesTable {
    /// "dvb-s2" or "ccsds".
    pub family: Family,
    /// Which of them, by name; all where it is left out.
    pub modcods: Option<Vec<String>>,
    /// "fixed", "variable" or "adaptive".
    pub choose: Choice,
    /// The one, where it is fixed; by default the first of `modcods`.
    pub fixed: Option<String>,
    /// Where it varies with elevation: degrees from which each is used. By default as the clear sky
    /// allows with the margin.
    pub steps_deg: Option<Vec<(f64, String)>>,
    /// Kept between what is expected or reported and what a MODCOD needs.
    #[serde(default = "margin")]
    pub margin_db: f64,
    /// Above it, before a higher one is taken.
    #[serde(default = "hysteresis")]
    pub hysteresis_db: f64,
    /// For how long that must hold.
    #[serde(default = "hold")]
    pub hold_ms: f64,
    /// How often the station reports.
    #[serde(default = "report")]
    pub report_every_ms: f64,
    /// How long a report takes beside its flight.
    #[serde(default = "delay")]
    pub report_delay_ms: f64,
}

/// Families of codes.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// EN 302 307-1.
    DvbS2,
    /// 131.0-B.
    Ccsds,
}

/// Ways to choose.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// One for all.
    Fixed,
    /// By elevation (VCM).
    Variable,
    /// By what the station reports (ACM).
    Adaptive,
}

fn margin() -> f64 {
    1.0
}

fn hysteresis() -> f64 {
    0.5
}

fn hold() -> f64 {
    1_000.0
}

fn report() -> f64 {
    200.0
}

fn delay() -> f64 {
    50.0
}
