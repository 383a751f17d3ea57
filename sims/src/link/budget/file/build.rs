//! From a file's tables to a link: every value held against its range, mistakes told by line.

use super::super::flux::FluxLimit;
use super::super::receiver::{FrontEnd, Receiver};
use super::super::transmitter::{Antenna, Power, Transmitter};
use super::super::{Link, Signal};
use super::{Choice, CodesTable, Family, LinkFile, SpacecraftTable, StationTable, WeatherTable};
use crate::link::antenna::{Dish, decibels};
use crate::link::ccsds;
use crate::link::control::{Control, Reports};
use crate::link::modcod::{DVB_S2, Ladder, Margins, Modcod};
use crate::link::weather::climate::{Climate, Stated};
use crate::link::weather::cloud::CloudWater;
use crate::link::weather::path::{AirPath, Beam};
use crate::orbit::{Station, earth::Geodetic};
use codecs::config::{self, ConfigError};
use std::ops::RangeInclusive;

/// Longest pattern of an antenna, and longest list of steps or outages.
const MAX_POINTS: usize = 1_000;

/// Latest end of an outage, s after rise.
const LONGEST_S: f64 = 1e6;

/// A link as its file describes it.
#[derive(Clone, Debug)]
pub struct Described {
    /// The link.
    pub link: Link,
    /// Where its station stands.
    pub station: Station,
    /// Below it nothing is received, degrees.
    pub min_elevation_deg: f64,
    /// What may be sent with, as the file lists it.
    pub modcods: Vec<Modcod>,
    /// The same from the sturdiest, without what another beats.
    pub ladder: Ladder,
    /// Kept between what is expected and what a MODCOD needs, dB.
    pub margin_db: f64,
    /// Who decides which.
    pub control: Control,
    /// What else happens to packets.
    pub channel: super::ChannelTable,
}

/// Reads a file; `name` is only for messages.
pub fn read(name: &str, text: &str) -> Result<Described, ConfigError> {
    let file: LinkFile = config::parse(name, text)?;
    let check = Check { name, text };
    let transmitter = check.transmitter(&file.spacecraft)?;
    let receiver = check.receiver(&file.station)?;
    let climate = check.climate(&file.station, &file.weather)?;
    let dish = receiver.dish();
    let beam = Beam {
        frequency_ghz: transmitter.frequency_ghz,
        tilt_deg: receiver.polarisation.tilt_deg(),
        antenna_m: dish.diameter_m,
        efficiency: dish.efficiency,
    };
    let signal = check.signal(&file)?;
    let (modcods, ladder, control) = check.codes(&file.codes)?;
    check.channel(&file.channel)?;
    let flux_limit = check.flux(&file)?;
    let place = Geodetic {
        latitude_deg: file.station.latitude_deg,
        longitude_deg: file.station.longitude_deg,
        height_m: file.station.height_m,
    };
    Ok(Described {
        link: Link { transmitter, receiver, air: AirPath::new(climate, beam), signal, flux_limit },
        station: Station::new(file.station.name, place),
        min_elevation_deg: file.station.min_elevation_deg,
        modcods,
        ladder,
        margin_db: file.codes.margin_db,
        control,
        channel: file.channel,
    })
}

/// A file under scrutiny.
struct Check<'a> {
    name: &'a str,
    text: &'a str,
}

impl Check<'_> {
    /// A mistake at a key, with the line where it stands.
    fn wrong(&self, table: &str, key: &str, message: String) -> ConfigError {
        let line = line_of(self.text, table, key);
        ConfigError { file: self.name.to_owned(), line, message: format!("`{key}` {message}") }
    }

    fn within(
        &self,
        table: &str,
        key: &str,
        value: f64,
        range: RangeInclusive<f64>,
    ) -> Result<f64, ConfigError> {
        if range.contains(&value) {
            return Ok(value);
        }
        let (low, high) = (range.start(), range.end());
        Err(self.wrong(table, key, format!("is {value}; it goes from {low} to {high}")))
    }

    fn some(
        &self,
        table: &str,
        key: &str,
        value: Option<f64>,
        range: RangeInclusive<f64>,
    ) -> Result<Option<f64>, ConfigError> {
        value.map(|value| self.within(table, key, value, range)).transpose()
    }

    fn transmitter(&self, of: &SpacecraftTable) -> Result<Transmitter, ConfigError> {
        const TABLE: &str = "spacecraft";
        let frequency_ghz = self.within(TABLE, "frequency_ghz", of.frequency_ghz, 1.0..=55.0)?;
        self.within(TABLE, "axial_ratio_db", of.axial_ratio_db, 0.0..=40.0)?;
        let polarisation = of.polarisation.with(of.axial_ratio_db);
        let parts = of.power_w.is_some()
            || of.antenna_gain_dbi.is_some()
            || of.antenna_diameter_m.is_some()
            || of.antenna_pattern_deg_dbi.is_some();
        let power = match self.some(TABLE, "eirp_dbw", of.eirp_dbw, -60.0..=100.0)? {
            Some(_) if parts => {
                let message = "is power and antenna in one: leave out the other keys, or it";
                return Err(self.wrong(TABLE, "eirp_dbw", message.into()));
            }
            Some(eirp) => Power::Eirp(eirp),
            None => {
                let Some(power_w) = of.power_w else {
                    let message = "is missing: give `power_w` and an antenna, or `eirp_dbw`";
                    return Err(self.wrong(TABLE, "power_w", message.into()));
                };
                self.within(TABLE, "power_w", power_w, 1e-6..=1e6)?;
                Power::Parts {
                    power_dbw: decibels(power_w),
                    feed_loss_db: self.within(
                        TABLE,
                        "feed_loss_db",
                        of.feed_loss_db,
                        0.0..=30.0,
                    )?,
                    antenna: self.antenna(of)?,
                }
            }
        };
        Ok(Transmitter { frequency_ghz, power, polarisation })
    }

    fn antenna(&self, of: &SpacecraftTable) -> Result<Antenna, ConfigError> {
        const TABLE: &str = "spacecraft";
        match (of.antenna_gain_dbi, of.antenna_diameter_m, &of.antenna_pattern_deg_dbi) {
            (Some(gain), None, None) => {
                let gain = self.within(TABLE, "antenna_gain_dbi", gain, -40.0..=80.0)?;
                let pointing = of.pointing_loss_db.unwrap_or(0.0);
                Ok(Antenna::Gain(
                    gain,
                    self.within(TABLE, "pointing_loss_db", pointing, 0.0..=40.0)?,
                ))
            }
            (None, Some(diameter_m), None) => {
                let diameter_m =
                    self.within(TABLE, "antenna_diameter_m", diameter_m, 0.01..=50.0)?;
                let efficiency = of.antenna_efficiency.unwrap_or(0.6);
                let efficiency =
                    self.within(TABLE, "antenna_efficiency", efficiency, 0.05..=1.0)?;
                let error = of.pointing_error_deg.unwrap_or(0.0);
                let error = self.within(TABLE, "pointing_error_deg", error, 0.0..=90.0)?;
                Ok(Antenna::Dish(Dish { diameter_m, efficiency }, error))
            }
            (None, None, Some(pattern)) => {
                let key = "antenna_pattern_deg_dbi";
                let rising = pattern.windows(2).all(|two| two[0].0 < two[1].0);
                let numbers = pattern
                    .iter()
                    .all(|of| (0.0..=180.0).contains(&of.0) && (-60.0..=80.0).contains(&of.1));
                if pattern.is_empty() || pattern.len() > MAX_POINTS || !rising || !numbers {
                    let message = "wants up to 1000 pairs of degrees from the nadir (rising, 0 to \
                                   180) and dBi";
                    return Err(self.wrong(TABLE, key, message.into()));
                }
                Ok(Antenna::Nadir(pattern.clone()))
            }
            (None, None, None) => Err(self.wrong(
                TABLE,
                "power_w",
                "needs an antenna: one of `antenna_gain_dbi`, `antenna_diameter_m`, \
                 `antenna_pattern_deg_dbi`"
                    .into(),
            )),
            _ => Err(self.wrong(
                TABLE,
                "antenna_gain_dbi",
                "or a diameter or a pattern describes the antenna: give one of the three".into(),
            )),
        }
    }

    fn receiver(&self, of: &StationTable) -> Result<Receiver, ConfigError> {
        const TABLE: &str = "station";
        let diameter_m = of.antenna_diameter_m;
        let dish = Dish {
            diameter_m: self.within(TABLE, "antenna_diameter_m", diameter_m, 0.05..=100.0)?,
            efficiency: self.within(
                TABLE,
                "antenna_efficiency",
                of.antenna_efficiency,
                0.05..=1.0,
            )?,
        };
        self.within(TABLE, "axial_ratio_db", of.axial_ratio_db, 0.0..=40.0)?;
        let error = of.pointing_error_deg;
        let pointing_error_deg = self.within(TABLE, "pointing_error_deg", error, 0.0..=90.0)?;
        self.within(TABLE, "min_elevation_deg", of.min_elevation_deg, 0.0..=89.0)?;
        let front_end = match (of.g_over_t_db_k, of.receiver_noise_k) {
            (Some(_), Some(_)) => {
                let message = "is gain and noise in one: leave out `receiver_noise_k`, or it";
                return Err(self.wrong(TABLE, "g_over_t_db_k", message.into()));
            }
            (Some(merit), None) => FrontEnd::Merit {
                g_over_t_db_k: self.within(TABLE, "g_over_t_db_k", merit, -40.0..=80.0)?,
                system_noise_k: self.some(TABLE, "system_noise_k", of.system_noise_k, 1.0..=1e5)?,
                dish,
            },
            (None, Some(noise)) => {
                let feed = of.feed_loss_db.unwrap_or(0.0);
                let spill = of.spillover_k.unwrap_or(10.0);
                FrontEnd::Parts {
                    dish,
                    feed_loss_db: self.within(TABLE, "feed_loss_db", feed, 0.0..=30.0)?,
                    receiver_k: self.within(TABLE, "receiver_noise_k", noise, 0.0..=1e5)?,
                    spillover_k: self.within(TABLE, "spillover_k", spill, 0.0..=300.0)?,
                }
            }
            (None, None) => {
                let message = "is missing: give the amplifier's noise, or `g_over_t_db_k`";
                return Err(self.wrong(TABLE, "receiver_noise_k", message.into()));
            }
        };
        let polarisation = of.polarisation.with(of.axial_ratio_db);
        Ok(Receiver { front_end, polarisation, pointing_error_deg })
    }

    fn climate(&self, at: &StationTable, of: &WeatherTable) -> Result<Climate, ConfigError> {
        const STATION: &str = "station";
        const TABLE: &str = "weather";
        let latitude = self.within(STATION, "latitude_deg", at.latitude_deg, -90.0..=90.0)?;
        self.within(STATION, "longitude_deg", at.longitude_deg, -360.0..=360.0)?;
        let height = self.within(STATION, "height_m", at.height_m, -500.0..=9_000.0)?;
        let some = |key, value, range| self.some(TABLE, key, value, range);
        let cloud = match (of.cloud_median_kg_m2, of.cloud_sigma, of.cloud_share_percent) {
            (None, None, None) => None,
            (Some(median), Some(sigma), Some(share)) => Some(CloudWater {
                median_kg_m2: self.within(TABLE, "cloud_median_kg_m2", median, 0.0..=10.0)?,
                sigma: self.within(TABLE, "cloud_sigma", sigma, 0.0..=3.0)?,
                share_percent: self.within(TABLE, "cloud_share_percent", share, 0.0..=100.0)?,
            }),
            (median, ..) => {
                let key = if median.is_some() { "cloud_median_kg_m2" } else { "cloud_sigma" };
                let message = "comes with its two others: `cloud_median_kg_m2`, `cloud_sigma` and \
                               `cloud_share_percent` describe clouds together";
                return Err(self.wrong(TABLE, key, message.into()));
            }
        };
        let celsius = some("temperature_c", of.temperature_c, -90.0..=60.0)?;
        let stated = Stated {
            temperature_k: celsius.map(|celsius| celsius + 273.15),
            pressure_hpa: some("pressure_hpa", of.pressure_hpa, 300.0..=1_100.0)?,
            vapour_g_m3: some("water_vapour_g_m3", of.water_vapour_g_m3, 0.0..=60.0)?,
            rain_001_mm_h: some("rain_001_mm_h", of.rain_001_mm_h, 0.0..=300.0)?,
            rain_height_km: some("rain_height_km", of.rain_height_km, 0.0..=10.0)?,
            rain_share_percent: some("rain_share_percent", of.rain_share_percent, 0.0..=50.0)?,
            cloud,
            wet_refractivity: some("wet_refractivity", of.wet_refractivity, 0.0..=300.0)?,
        };
        Ok(Climate::new(latitude, height / 1e3, stated))
    }

    fn signal(&self, file: &LinkFile) -> Result<Signal, ConfigError> {
        const TABLE: &str = "signal";
        let of = &file.signal;
        let baud = of.symbol_rate_baud;
        let lost = of.implementation_loss_db;
        if of.pilots && file.codes.family == Family::Ccsds {
            let message = "are DVB-S2's: the codes of CCSDS have none";
            return Err(self.wrong(TABLE, "pilots", message.into()));
        }
        Ok(Signal {
            symbol_rate_baud: self.within(TABLE, "symbol_rate_baud", baud, 10.0..=1e10)?,
            roll_off: self.within(TABLE, "roll_off", of.roll_off, 0.0..=1.0)?,
            implementation_db: self.within(TABLE, "implementation_loss_db", lost, 0.0..=20.0)?,
            pilots: of.pilots,
        })
    }

    fn flux(&self, file: &LinkFile) -> Result<Option<FluxLimit>, ConfigError> {
        const TABLE: &str = "signal";
        let of = &file.signal;
        let frequency_ghz = file.spacecraft.frequency_ghz;
        match (of.flux_limit_dbw_m2, of.flux_reference_khz) {
            (None, None) => Ok(FluxLimit::of_band(frequency_ghz)),
            (Some(low_high), Some(khz)) => {
                for value in [low_high.0, low_high.1] {
                    self.within(TABLE, "flux_limit_dbw_m2", value, -300.0..=0.0)?;
                }
                Ok(Some(FluxLimit {
                    band_ghz: (frequency_ghz, frequency_ghz),
                    reference_hz: 1e3
                        * self.within(TABLE, "flux_reference_khz", khz, 1e-3..=1e6)?,
                    low_high_dbw_m2: low_high,
                    source: "stated in the file",
                }))
            }
            (Some(_), None) => {
                let message = "needs `flux_reference_khz`, the width it holds for";
                Err(self.wrong(TABLE, "flux_limit_dbw_m2", message.into()))
            }
            (None, Some(_)) => {
                let message = "needs `flux_limit_dbw_m2`, the limit itself";
                Err(self.wrong(TABLE, "flux_reference_khz", message.into()))
            }
        }
    }

    fn codes(&self, of: &CodesTable) -> Result<(Vec<Modcod>, Ladder, Control), ConfigError> {
        const TABLE: &str = "codes";
        let all = match of.family {
            Family::DvbS2 => DVB_S2.to_vec(),
            Family::Ccsds => ccsds::all(),
        };
        let find = |key: &str, name: &str| {
            all.iter().find(|modcod| modcod.name == name).copied().ok_or_else(|| {
                let names: Vec<&str> = all.iter().map(|modcod| modcod.name).collect();
                let message = match config::nearest(name, &names) {
                    Some(near) => format!("knows no '{name}'; did you mean '{near}'?"),
                    None => format!("knows no '{name}'; known here: {}", names.join(", ")),
                };
                self.wrong(TABLE, key, message)
            })
        };
        let listed = of.modcods.as_ref().map_or(Ok(all.clone()), |names| {
            names.iter().map(|name| find("modcods", name)).collect::<Result<Vec<_>, _>>()
        })?;
        let ladder = Ladder::new(&listed)
            .ok_or_else(|| self.wrong(TABLE, "modcods", "is empty: name at least one".into()))?;
        let margin_db = self.within(TABLE, "margin_db", of.margin_db, -10.0..=30.0)?;
        let control = match of.choose {
            Choice::Fixed => Control::Fixed(self.fixed(of, &listed, find)?),
            Choice::Variable => self.variable(of, &ladder, margin_db, find)?,
            Choice::Adaptive => {
                let ms = |key, value, range| -> Result<i64, ConfigError> {
                    Ok((self.within(TABLE, key, value, range)? * 1e6) as i64)
                };
                let margins = Margins {
                    margin_db,
                    hysteresis_db: self.within(
                        TABLE,
                        "hysteresis_db",
                        of.hysteresis_db,
                        0.0..=20.0,
                    )?,
                    hold_ns: ms("hold_ms", of.hold_ms, 0.0..=3.6e6)?,
                };
                let every_ns = ms("report_every_ms", of.report_every_ms, 1.0..=3.6e6)?;
                let delay_ns = ms("report_delay_ms", of.report_delay_ms, 0.0..=3.6e6)?;
                Control::Adaptive(ladder.clone(), Reports { margins, every_ns, delay_ns })
            }
        };
        Ok((listed, ladder, control))
    }

    fn fixed(
        &self,
        of: &CodesTable,
        listed: &[Modcod],
        find: impl Fn(&str, &str) -> Result<Modcod, ConfigError>,
    ) -> Result<Modcod, ConfigError> {
        match (&of.fixed, &of.modcods, listed.first()) {
            (Some(name), ..) => find("fixed", name),
            (None, Some(_), Some(first)) => Ok(*first),
            _ => {
                let message = "is \"fixed\": say which by `fixed = \"NAME\"`";
                Err(self.wrong("codes", "choose", message.into()))
            }
        }
    }

    fn variable(
        &self,
        of: &CodesTable,
        ladder: &Ladder,
        margin_db: f64,
        find: impl Fn(&str, &str) -> Result<Modcod, ConfigError>,
    ) -> Result<Control, ConfigError> {
        const KEY: &str = "steps_deg";
        let Some(steps) = &of.steps_deg else {
            return Ok(Control::Predicted(ladder.clone(), margin_db));
        };
        let rising = steps.windows(2).all(|two| two[0].0 < two[1].0);
        let angles = steps.iter().all(|step| (-90.0..=90.0).contains(&step.0));
        if steps.is_empty() || steps.len() > MAX_POINTS || !rising || !angles {
            let message = "wants pairs of degrees of elevation, rising, and a name";
            return Err(self.wrong("codes", KEY, message.into()));
        }
        let named = steps.iter().map(|(from, name)| Ok((*from, find(KEY, name)?)));
        Ok(Control::Steps(named.collect::<Result<_, ConfigError>>()?))
    }

    fn channel(&self, of: &super::ChannelTable) -> Result<(), ConfigError> {
        const TABLE: &str = "channel";
        const HOUR_MS: f64 = 3.6e6;
        for (key, value, range) in [
            ("lock_ms", of.lock_ms, 0.0..=HOUR_MS),
            ("queue_ms", of.queue_ms, 0.0..=HOUR_MS),
            ("ground_delay_ms", of.ground_delay_ms, 0.0..=HOUR_MS),
            ("loss_share", of.loss_share, 0.0..=1.0),
            ("burst_packets", of.burst_packets, 1.0..=1e6),
            ("handover_gap_ms", of.handover_gap_ms, 0.0..=HOUR_MS),
            ("reorder_share", of.reorder_share, 0.0..=1.0),
            ("reorder_ms", of.reorder_ms, 0.0..=HOUR_MS),
            ("duplicate_share", of.duplicate_share, 0.0..=1.0),
            ("return_loss_share", of.return_loss_share, 0.0..=1.0),
            ("rain_at_rise_percent", of.rain_at_rise_percent.unwrap_or(0.0), 0.0..=50.0),
            ("handover_every_s", of.handover_every_s.unwrap_or(1.0), 1e-3..=1e6),
            ("return_rate_bps", of.return_rate_bps.unwrap_or(1.0), 1.0..=1e12),
        ] {
            self.within(TABLE, key, value, range)?;
        }
        if of.handover_every_s.is_some_and(|every_s| of.handover_gap_ms >= every_s * 1e3) {
            let message = "is as long as handover_every_s: nothing would ever pass";
            return Err(self.wrong(TABLE, "handover_gap_ms", message.into()));
        }
        let ordered = |of: &(f64, f64)| of.0 >= 0.0 && of.0 < of.1 && of.1 <= LONGEST_S;
        if of.outages_s.len() > MAX_POINTS || !of.outages_s.iter().all(ordered) {
            let message = "wants up to 1000 pairs of seconds after rise, each ending after it begins \
                           and within 1e6 s";
            return Err(self.wrong(TABLE, "outages_s", message.into()));
        }
        if let Some(shadow) = &of.shadowing {
            const TABLE: &str = "channel.shadowing";
            for (key, value, range) in [
                ("open_s", shadow.open_s, 1e-3..=1e6),
                ("shadow_s", shadow.shadow_s, 1e-3..=1e6),
                ("rice_db", shadow.rice_db, -20.0..=60.0),
                ("shadow_mean_db", shadow.shadow_mean_db, 0.0..=60.0),
                ("shadow_sigma_db", shadow.shadow_sigma_db, 0.0..=30.0),
                ("coherence_ms", shadow.coherence_ms, 0.1..=1e5),
            ] {
                self.within(TABLE, key, value, range)?;
            }
        }
        Ok(())
    }
}

/// The line of a key in its table, from 1; the table's own, or the first, where it is not written.
fn line_of(text: &str, table: &str, key: &str) -> usize {
    let (mut inside, mut found) = (false, 1);
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[') {
            inside = name.split(']').next().is_some_and(|name| name.trim() == table);
            if inside {
                found = at + 1;
            }
        } else if inside
            && line.split(['=', ' ', '\t']).next().is_some_and(|written| written == key)
        {
            return at + 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::weather::path::Sky;

    const LINKS: [&str; 4] = [
        include_str!("../../../../../missions/links/x-band.toml"),
        include_str!("../../../../../missions/links/s-band.toml"),
        include_str!("../../../../../missions/links/ka-band.toml"),
        include_str!("../../../../../missions/links/ka-leo.toml"),
    ];

    #[test]
    fn whatever_a_number_is_it_is_refused_by_its_line_or_gives_a_budget() {
        const ODD: [&str; 9] =
            ["0", "-1", "1e-300", "-1e308", "1e308", "nan", "inf", "-inf", "\"four\""];
        let mut refused = 0;
        for text in LINKS {
            for (at, line) in text.lines().enumerate() {
                let Some((key, value)) = line.split_once(" = ") else { continue };
                if value.starts_with(['"', 't', 'f']) {
                    continue;
                }
                for odd in ODD {
                    let lines = text.lines().enumerate();
                    let changed: Vec<String> = lines
                        .map(|(n, of)| if n == at { format!("{key} = {odd}") } else { of.into() })
                        .collect();
                    match read("link.toml", &changed.join("\n")) {
                        Err(error) => {
                            assert_eq!(error.line, at + 1, "{key} = {odd}: {error}");
                            refused += 1;
                        }
                        Ok(described) => {
                            let sky = Sky::Exceeded(0.1);
                            let budget = described.link.budget(20.0, 1_200.0, sky);
                            assert!(budget.es_n0_db.is_finite(), "{key} = {odd}");
                        }
                    }
                }
            }
        }
        assert!(refused > 300, "{refused}");
    }
}
