//! A link as a file: spacecraft's radio, station, weather, codes and channel in TOML, units in the
//! names of the keys.

mod build;
mod codes;
mod channel;

use crate::link::antenna::Polarisation;
use serde::Deserialize;

pub use build::{Described, read};
pub use channel::ChannelTable;
pub use codes::{Choice, CodesTable, Family};

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkFile {
    /// The satellite's end.
    pub spacecraft: SpacecraftTable,
    /// The station's end.
    pub station: StationTable,
    /// The climate; what is left out is assumed.
    #[serde(default)]
    pub weather: WeatherTable,
    /// Symbols.
    pub signal: SignalTable,
    /// Codes, and how one is chosen.
    pub codes: CodesTable,
    /// What else happens to packets.
    #[serde(default)]
    pub channel: ChannelTable,
}

/// `[spacecraft]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpacecraftTable {
    /// Carrier, 1 to 55 GHz.
    pub frequency_ghz: f64,
    /// All in one: then power, feed and antenna are left out.
    pub eirp_dbw: Option<f64>,
    /// At the amplifier's output.
    pub power_w: Option<f64>,
    /// Between amplifier and antenna.
    #[serde(default)]
    pub feed_loss_db: f64,
    /// Gain towards the station,
    pub antenna_gain_dbi: Option<f64>,
    /// or a dish that follows it,
    pub antenna_diameter_m: Option<f64>,
    /// with its efficiency,
    pub antenna_efficiency: Option<f64>,
    /// or a pattern about the nadir: degrees and dBi.
    pub antenna_pattern_deg_dbi: Option<Vec<(f64, f64)>>,
    /// What pointing costs with `antenna_gain_dbi`.
    pub pointing_loss_db: Option<f64>,
    /// How far off a dish points.
    pub pointing_error_deg: Option<f64>,
    /// "circular", "horizontal" or "vertical".
    #[serde(default)]
    pub polarisation: Shape,
    /// Of a circular one.
    #[serde(default)]
    pub axial_ratio_db: f64,
}

/// `[station]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StationTable {
    /// For people.
    pub name: String,
    /// North positive.
    pub latitude_deg: f64,
    /// East positive.
    pub longitude_deg: f64,
    /// Above the ellipsoid.
    pub height_m: f64,
    /// Below it nothing is received.
    #[serde(default = "five")]
    pub min_elevation_deg: f64,
    /// Of the dish.
    pub antenna_diameter_m: f64,
    /// Share of its aperture that works.
    #[serde(default = "efficiency")]
    pub antenna_efficiency: f64,
    /// How far off it points.
    #[serde(default)]
    pub pointing_error_deg: f64,
    /// "circular", "horizontal" or "vertical".
    #[serde(default)]
    pub polarisation: Shape,
    /// Of a circular one.
    #[serde(default)]
    pub axial_ratio_db: f64,
    /// Between dish and amplifier.
    pub feed_loss_db: Option<f64>,
    /// Noise of amplifier and all behind it.
    pub receiver_noise_k: Option<f64>,
    /// What comes from the ground past the dish.
    pub spillover_k: Option<f64>,
    /// Gain over noise under a clear zenith, instead of the three above,
    pub g_over_t_db_k: Option<f64>,
    /// and the system noise that belongs to it, for how it falls in rain.
    pub system_noise_k: Option<f64>,
}

fn five() -> f64 {
    5.0
}

fn efficiency() -> f64 {
    0.6
}

/// Polarisation as people name it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Either sense: the other end has the same.
    #[default]
    Circular,
    /// Along the horizon.
    Horizontal,
    /// Upright.
    Vertical,
}

impl Shape {
    pub(super) fn with(self, axial_ratio_db: f64) -> Polarisation {
        match self {
            Self::Circular => Polarisation::Circular { axial_ratio_db },
            Self::Horizontal => Polarisation::Linear { tilt_deg: 0.0 },
            Self::Vertical => Polarisation::Linear { tilt_deg: 90.0 },
        }
    }
}

/// `[weather]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeatherTable {
    /// Mean at the ground.
    pub temperature_c: Option<f64>,
    /// Mean at the ground.
    pub pressure_hpa: Option<f64>,
    /// Mean at the ground.
    pub water_vapour_g_m3: Option<f64>,
    /// Exceeded for 0.01 % of a year.
    pub rain_001_mm_h: Option<f64>,
    /// Above the sea.
    pub rain_height_km: Option<f64>,
    /// Of a year, on the path.
    pub rain_share_percent: Option<f64>,
    /// Median of liquid water while there are clouds,
    pub cloud_median_kg_m2: Option<f64>,
    /// how wide its logarithm spreads,
    pub cloud_sigma: Option<f64>,
    /// and for how much of a year there are any.
    pub cloud_share_percent: Option<f64>,
    /// Wet part, median.
    pub wet_refractivity: Option<f64>,
}

/// `[signal]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalTable {
    /// Symbols a second.
    pub symbol_rate_baud: f64,
    /// Excess of the spectrum.
    #[serde(default = "roll_off")]
    pub roll_off: f64,
    /// What real modems lose.
    #[serde(default = "implementation")]
    pub implementation_loss_db: f64,
    /// DVB-S2's pilots.
    #[serde(default)]
    pub pilots: bool,
    /// Limit on the flux where the table of the Radio Regulations has none or another: 0 to 5 and 25
    /// to 90 degrees,
    pub flux_limit_dbw_m2: Option<(f64, f64)>,
    /// in this width.
    pub flux_reference_khz: Option<f64>,
}

fn roll_off() -> f64 {
    0.25
}

fn implementation() -> f64 {
    1.0
}
