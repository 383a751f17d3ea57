//! The ground and its customers, from TOML: stations, antennas, what spacecraft want.

use std::collections::{BTreeMap, BTreeSet};

use codecs::config::{self, ConfigError};
use serde::Deserialize;
use thiserror::Error;

use super::{
    mount::Mount,
    problem::{Antenna, Demand},
};
use crate::orbit::{Station, earth::Geodetic};

/// Most antennas of a network.
pub const MAX_ANTENNAS: usize = 10_000;
const SECOND_NS: f64 = 1e9;

/// Why a network was refused.
#[derive(Debug, Error)]
pub enum NetworkError {
    /// No such key, no such type, no TOML.
    #[error(transparent)]
    Text(#[from] ConfigError),
    /// A value that can't be.
    #[error("{file}: {place}: {reason}")]
    Value {
        /// The file as the user named it.
        file: String,
        /// Whose value.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A station with its antennas.
#[derive(Clone, Debug)]
pub struct Site {
    /// Where it stands.
    pub station: Station,
    /// Nothing is heard below, degrees.
    pub min_elevation_deg: f64,
    /// Its antennas.
    pub antennas: Vec<Dish>,
}

/// An antenna and whom it can hear.
#[derive(Clone, Debug)]
pub struct Dish {
    /// Its name, among those of its station.
    pub name: String,
    /// What it does between contacts.
    pub gear: Antenna,
    /// The fastest it receives, bit/s; no limit of its own where none is given.
    pub rate_bps: Option<u64>,
    /// The only spacecraft it hears; all where none are given.
    pub spacecraft: Option<BTreeSet<String>>,
}

/// What a spacecraft wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Craft {
    /// Worth of a second of contact.
    pub value: f64,
    /// Its downlink, bit/s; 0 where it is not known.
    pub rate_bps: u64,
    /// Seconds of contact a day that it needs; all that it can get where none are given.
    pub need_s_day: Option<f64>,
    /// Share of the worth beyond that.
    pub surplus: f64,
    /// Shorter contacts are not worth the work, s.
    pub min_contact_s: f64,
    /// Whether several antennas may hear it at once.
    pub several: bool,
    /// From one antenna to the next, s.
    pub switch_s: f64,
    /// What the onboard plan says carries it: `quic`, `rf`, or nothing.
    pub bearer: Option<String>,
}

impl Craft {
    /// As the solver wants it, for a plan of so many days.
    pub fn demand(&self, days: f64) -> Demand {
        Demand {
            value: self.value,
            need_s: self.need_s_day.map_or(f64::INFINITY, |need| need * days),
            surplus: self.surplus,
            several: self.several,
            switch_ns: (self.switch_s * SECOND_NS) as i64,
        }
    }

    /// The rate of a contact with an antenna, bit/s.
    pub fn rate_with(&self, dish: &Dish) -> u64 {
        match dish.rate_bps {
            Some(limit) if self.rate_bps > 0 => limit.min(self.rate_bps),
            _ => self.rate_bps,
        }
    }
}

/// Stations, and what spacecraft want.
#[derive(Clone, Debug)]
pub struct Network {
    /// Stations.
    pub sites: Vec<Site>,
    /// What spacecraft that are not named want.
    pub defaults: Craft,
    /// Those that are.
    pub spacecraft: BTreeMap<String, Craft>,
}

impl Default for Network {
    fn default() -> Self {
        let defaults = Craft {
            value: 1.0,
            rate_bps: 0,
            need_s_day: None,
            surplus: 0.1,
            min_contact_s: 60.0,
            several: false,
            switch_s: 0.0,
            bearer: None,
        };
        Self { sites: Vec::new(), defaults, spacecraft: BTreeMap::new() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filed {
    #[serde(default)]
    station: Vec<FiledStation>,
    #[serde(default)]
    defaults: FiledCraft,
    #[serde(default)]
    spacecraft: Vec<FiledCraft>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FiledStation {
    name: String,
    latitude_deg: f64,
    longitude_deg: f64,
    #[serde(default)]
    height_m: f64,
    #[serde(default = "five")]
    min_elevation_deg: f64,
    #[serde(default)]
    horizon: Vec<(f64, f64)>,
    #[serde(default)]
    antenna: Vec<FiledAntenna>,
}

fn five() -> f64 {
    5.0
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FiledMount {
    Free,
    AzEl,
    XyNorth,
    XyEast,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FiledAntenna {
    name: String,
    #[serde(default)]
    setup_s: f64,
    #[serde(default)]
    teardown_s: f64,
    mount: Option<FiledMount>,
    rates_deg_s: Option<[f64; 2]>,
    rate_bps: Option<u64>,
    spacecraft: Option<BTreeSet<String>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Bearer {
    Quic,
    Rf,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FiledCraft {
    name: Option<String>,
    value: Option<f64>,
    rate_bps: Option<u64>,
    need_s_day: Option<f64>,
    need_bytes_day: Option<u64>,
    surplus: Option<f64>,
    min_contact_s: Option<f64>,
    several: Option<bool>,
    switch_s: Option<f64>,
    bearer: Option<Bearer>,
}

fn within(key: &str, value: f64, low: f64, high: f64) -> Result<f64, String> {
    match (low..=high).contains(&value) {
        true => Ok(value),
        false => Err(format!("{key} = {value}: {low} to {high}")),
    }
}

/// Seconds as nanoseconds, at most a day.
fn nanos(key: &str, seconds: f64) -> Result<i64, String> {
    Ok((within(key, seconds, 0.0, 86_400.0)? * SECOND_NS) as i64)
}

impl Network {
    /// Reads a network; `file` is only for messages.
    pub fn parse(file: &str, text: &str) -> Result<Self, NetworkError> {
        let filed: Filed = config::parse(file, text)?;
        let wrong = |place: &str, reason: String| NetworkError::Value {
            file: file.into(),
            place: place.into(),
            reason,
        };
        let built_in = Self::default().defaults;
        let defaults = match &filed.defaults.name {
            Some(_) => Err("name: defaults are of all that have no entry of their own".into()),
            None => filed.defaults.over(&built_in),
        };
        let defaults = defaults.map_err(|reason| wrong("[defaults]", reason))?;
        let mut network = Self { sites: Vec::new(), defaults, spacecraft: BTreeMap::new() };
        for (at, craft) in filed.spacecraft.iter().enumerate() {
            let Some(name) = craft.name.as_deref().filter(|name| !name.is_empty()) else {
                return Err(wrong(&format!("spacecraft {at}"), "name is missing".into()));
            };
            let place = format!("spacecraft {name}");
            let read = craft.over(&network.defaults).map_err(|reason| wrong(&place, reason))?;
            if network.spacecraft.insert(name.to_owned(), read).is_some() {
                return Err(wrong(&place, "stands there twice".into()));
            }
        }
        for station in filed.station {
            let place = format!("station {}", station.name);
            network.add(station).map_err(|reason| wrong(&place, reason))?;
        }
        let count: usize = network.sites.iter().map(|of| of.antennas.len()).sum();
        if count > MAX_ANTENNAS {
            return Err(wrong("stations", format!("{count} antennas: at most {MAX_ANTENNAS}")));
        }
        Ok(network)
    }

    /// Adds a station with one antenna that needs no time between contacts.
    pub fn add_station(&mut self, station: Station, min_elevation_deg: f64) {
        let gear = Antenna { setup_ns: 0, teardown_ns: 0, mount: Mount::Free };
        let dish = Dish { name: "1".into(), gear, rate_bps: None, spacecraft: None };
        self.sites.push(Site { station, min_elevation_deg, antennas: vec![dish] });
    }

    /// What a spacecraft wants.
    pub fn craft(&self, name: &str) -> &Craft {
        self.spacecraft.get(name).unwrap_or(&self.defaults)
    }

    fn add(&mut self, filed: FiledStation) -> Result<(), String> {
        if filed.name.is_empty() || self.sites.iter().any(|of| of.station.name == filed.name) {
            return Err("name: each station needs one of its own".into());
        }
        let place = Geodetic {
            latitude_deg: within("latitude_deg", filed.latitude_deg, -90.0, 90.0)?,
            longitude_deg: within("longitude_deg", filed.longitude_deg, -360.0, 360.0)?,
            height_m: within("height_m", filed.height_m, -1_000.0, 20_000.0)?,
        };
        let station = Station::new(filed.name, place)
            .with_horizon(filed.horizon)
            .map_err(|error| format!("horizon: {error}"))?;
        let mask = filed.min_elevation_deg;
        let min_elevation_deg = within("min_elevation_deg", mask, -90.0, 89.9)?;
        if filed.antenna.is_empty() {
            return Err("no [[station.antenna]]".into());
        }
        let mut antennas: Vec<Dish> = Vec::new();
        for antenna in filed.antenna {
            let name = antenna.name.clone();
            let dish = antenna.read().map_err(|reason| format!("antenna {name}: {reason}"))?;
            if name.is_empty() || antennas.iter().any(|of| of.name == name) {
                return Err(format!("antenna '{name}': each needs a name of its own"));
            }
            antennas.push(dish);
        }
        self.sites.push(Site { station, min_elevation_deg, antennas });
        Ok(())
    }
}

impl FiledAntenna {
    fn read(self) -> Result<Dish, String> {
        let rates = |rates: Option<[f64; 2]>| {
            let [first, second] = rates.ok_or("rates_deg_s of both axes is missing")?;
            Ok::<_, String>([
                within("rates_deg_s", first, 0.001, 1000.0)?,
                within("rates_deg_s", second, 0.001, 1000.0)?,
            ])
        };
        let mount = match self.mount {
            None | Some(FiledMount::Free) => match self.rates_deg_s {
                Some(_) => {
                    return Err("rates_deg_s without a mount: az-el, xy-north, xy-east".into());
                }
                None => Mount::Free,
            },
            Some(FiledMount::AzEl) => {
                Mount::AzimuthElevation { rates_deg_s: rates(self.rates_deg_s)? }
            }
            Some(FiledMount::XyNorth) => {
                Mount::XY { rates_deg_s: rates(self.rates_deg_s)?, east: false }
            }
            Some(FiledMount::XyEast) => {
                Mount::XY { rates_deg_s: rates(self.rates_deg_s)?, east: true }
            }
        };
        if self.rate_bps == Some(0) {
            return Err("rate_bps = 0: at least 1, or no limit".into());
        }
        let gear = Antenna {
            setup_ns: nanos("setup_s", self.setup_s)?,
            teardown_ns: nanos("teardown_s", self.teardown_s)?,
            mount,
        };
        Ok(Dish { name: self.name, gear, rate_bps: self.rate_bps, spacecraft: self.spacecraft })
    }
}

impl FiledCraft {
    /// What is said here over what is said elsewhere.
    fn over(&self, other: &Craft) -> Result<Craft, String> {
        let rate_bps = self.rate_bps.unwrap_or(other.rate_bps);
        let need = match (self.need_s_day, self.need_bytes_day) {
            (Some(_), Some(_)) => return Err("need_s_day or need_bytes_day, not both".into()),
            (Some(seconds), None) => Some(within("need_s_day", seconds, 0.0, 86_400.0)?),
            (None, Some(_)) if rate_bps == 0 => {
                return Err("need_bytes_day needs rate_bps: how fast they come".into());
            }
            (None, Some(bytes)) => Some(bytes as f64 * 8.0 / rate_bps as f64),
            (None, None) => other.need_s_day,
        };
        let least = self.min_contact_s.unwrap_or(other.min_contact_s);
        let bearer = self.bearer.map(|of| match of {
            Bearer::Quic => "quic".to_owned(),
            Bearer::Rf => "rf".to_owned(),
        });
        Ok(Craft {
            value: within("value", self.value.unwrap_or(other.value), 0.0, 1e9)?,
            rate_bps,
            need_s_day: need,
            surplus: within("surplus", self.surplus.unwrap_or(other.surplus), 0.0, 1.0)?,
            min_contact_s: within("min_contact_s", least, 0.001, 86_400.0)?,
            several: self.several.unwrap_or(other.several),
            switch_s: within("switch_s", self.switch_s.unwrap_or(other.switch_s), 0.0, 86_400.0)?,
            bearer: bearer.or_else(|| other.bearer.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
[[station]]
name = "Svalbard"
latitude_deg = 78.23
longitude_deg = 15.40
height_m = 450
horizon = [[0, 2], [180, 6]]

[[station.antenna]]
name = "SG-1"
mount = "az-el"
rates_deg_s = [10, 5]
setup_s = 60
teardown_s = 30

[defaults]
rate_bps = 100_000_000

[[spacecraft]]
name = "SKY-7"
value = 3
need_bytes_day = 20_000_000_000
bearer = "rf"
"#;

    #[test]
    fn a_network_is_read_with_what_it_leaves_out() {
        let network = Network::parse("network.toml", TEXT).unwrap();
        let site = &network.sites[0];
        assert_eq!(site.min_elevation_deg, 5.0);
        assert_eq!(site.antennas[0].gear.setup_ns, 60_000_000_000);
        let sky = network.craft("SKY-7");
        assert_eq!((sky.value, sky.rate_bps, sky.need_s_day), (3.0, 100_000_000, Some(1600.0)));
        assert_eq!(network.craft("OTHER"), &network.defaults);
        assert_eq!(sky.demand(2.0).need_s, 3200.0);
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (from, to, words) in [
            ("teardown_s", "teardwon_s", "network.toml:14: unknown key `teardwon_s`; did you"),
            ("78.23", "98", "station Svalbard: latitude_deg = 98: -90 to 90"),
            ("setup_s = 60", "setup_s = -1", "antenna SG-1: setup_s = -1: 0 to 86400"),
            ("rates_deg_s = [10, 5]", "", "antenna SG-1: rates_deg_s of both axes is missing"),
            ("mount = \"az-el\"", "", "rates_deg_s without a mount"),
            ("[10, 5]", "[0, 5]", "rates_deg_s = 0"),
            ("rate_bps = 100_000_000", "", "spacecraft SKY-7: need_bytes_day needs rate_bps"),
            ("value = 3", "value = nan", "value = NaN"),
            ("[180, 6]", "[400, 6]", "horizon: point 1"),
            ("name = \"SKY-7\"", "", "spacecraft 0: name is missing"),
            ("\"az-el\"", "\"azel\"", "did you mean `az-el`"),
        ] {
            let error = Network::parse("network.toml", &TEXT.replace(from, to)).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
        let bare = &TEXT[..TEXT.find("[[station.antenna]]").unwrap()];
        let error = Network::parse("network.toml", bare).unwrap_err().to_string();
        assert!(error.contains("no [[station.antenna]]"), "{error}");
        let twice = format!("{TEXT}\n[[spacecraft]]\nname = \"SKY-7\"\n");
        let error = Network::parse("network.toml", &twice).unwrap_err().to_string();
        assert!(error.contains("SKY-7: stands there twice"), "{error}");
    }
}
