//! The stage: which pass, which faults, what the contact plan says. Times are simulated.

use crate::contact::{self, Pass};
use crate::link::noise::NoiseSettings;
use crate::link::{Geometry, LIGHT_KM_S, LinkSettings, LossSettings, Track};
use crate::orbit::{ElementSet, ElementsError, Station, earth, elements};
use crate::spacecraft::faults::{Fault, FaultKind, Faults};
use codecs::time::Tai;
use serde_json::{Value, json};
use thiserror::Error;

/// The demonstration's orbit.
const ELEMENTS: &str = include_str!("../../../missions/sky-7/elements.json");
/// The demonstration's mission, without what the flight software says of itself.
pub const MISSION: &str = include_str!("../../../missions/sky-7/mission.toml");
/// What the flight software says of itself.
const HEALTH: &str = include_str!("../../../missions/onboard-health.toml");
/// Bytes of a frame of the radio link: five interleaved codewords carry them.
pub const RADIO_BYTES: usize = 1115;
/// What is done to them, as both sides are told.
pub const RADIO_CODING: &str = "rs:223:i5:dual,randomized:255";
/// Spacecraft identifier in frames, as the mission has it.
pub const SCID: i64 = 71;
/// Share of the link that a radio uses: a modem never offers more than its channel carries.
const RADIO_SHARE: f64 = 0.9;
/// What the demonstration's spacecraft sends down.
pub const TRIAGE: &str = include_str!("../../../missions/sky-7/triage.toml");
/// What its model's word is worth, learnt from quiet days, and who says so.
pub const THRESHOLDS: [(&str, &str); 2] = [
    ("thresholds.json", include_str!("../../../missions/sky-7/thresholds/thresholds.json")),
    ("signature.json", include_str!("../../../missions/sky-7/thresholds/signature.json")),
];
/// Station as the commands of the other programs take it.
pub const STATION: &str = "Svalbard,78.23,15.40,450";
/// Parameters that the telemetry model judges: those that a slew, the imager or the transmitter
/// leave alone, so that what is unusual is also wrong.
pub const WATCHED: [&str; 10] = [
    "ADCS_WHEEL_1_VIBRATION",
    "ADCS_WHEEL_2_VIBRATION",
    "ADCS_WHEEL_3_VIBRATION",
    "ADCS_WHEEL_4_VIBRATION",
    "THERMAL_WHEEL_1",
    "THERMAL_WHEEL_2",
    "THERMAL_WHEEL_3",
    "THERMAL_WHEEL_4",
    "THERMAL_BATTERY",
    "EPS_BATTERY_VOLTAGE",
];
/// Elevation below which nothing is heard.
pub const MASK_DEG: f64 = 5.0;
/// Least culmination of the pass shown.
const MIN_CULMINATION_DEG: f64 = 40.0;
/// How far ahead passes are looked for and listed.
const HORIZON_NS: i64 = 24 * 3600 * SECOND_NS;
/// Modems and cables, one way.
const GROUND_DELAY_NS: i64 = 4_000_000;
/// Longest wait in the modem's queue.
const QUEUE_NS: i64 = 250_000_000;
/// Share of coded units that fade.
const FADES: f64 = 0.01;
/// Share of wrong bits in a fade: thirty wrong symbols a codeword, twice what it corrects.
const FADE_BIT_ERRORS: f64 = 0.016;
/// Mean packets lost in a row.
const BURST_PACKETS: f64 = 3.0;
const SECOND_NS: i64 = 1_000_000_000;
const MINUTE_NS: i64 = 60 * SECOND_NS;

/// Why there is no stage.
#[derive(Debug, Error)]
pub enum SceneError {
    /// The elements can't be flown.
    #[error(transparent)]
    Elements(#[from] ElementsError),
    /// The committed files contradict the code.
    #[error("the demonstration's own files are inconsistent: {0}")]
    Inconsistent(&'static str),
}

/// The pass and everything predicted about it.
pub struct Scene {
    /// The station.
    pub station: Station,
    /// The pass shown.
    pub pass: Pass,
    /// Passes of the day after it, with the one shown first.
    pub passes: Vec<Pass>,
    /// Range and elevation over the pass.
    pub track: Track,
}

/// The mission, with all that is decoded.
pub fn mission() -> String {
    format!("{MISSION}\n{HEALTH}")
}

/// The orbit, read anew for whoever flies it.
pub fn orbit() -> Result<ElementSet, SceneError> {
    elements::read(ELEMENTS)?.pop().ok_or(SceneError::Inconsistent("no element set"))
}

impl Scene {
    /// The first pass after the elements' epoch that culminates above 40 degrees.
    pub fn new() -> Result<Self, SceneError> {
        let station: Station =
            STATION.parse().map_err(|_| SceneError::Inconsistent("the station's text"))?;
        let orbit = orbit()?;
        let (from, to) = (orbit.epoch(), orbit.epoch().plus(HORIZON_NS));
        let all = contact::passes(&orbit, &station, from, to, MASK_DEG)?;
        let high = |pass: &&Pass| pass.max_elevation_deg > MIN_CULMINATION_DEG && !pass.clipped;
        let pass = *all.iter().find(high).ok_or(SceneError::Inconsistent("no high pass"))?;
        let passes = all.into_iter().filter(|other| other.rise >= pass.rise).collect();
        let track = Track::of_pass(&orbit, &station, &pass)?;
        Ok(Self { station, pass, passes, track })
    }

    /// Both directions of the link: down, up.
    pub fn link(&self, rate_bps: f64, loss: f64, seed: u64) -> [LinkSettings; 2] {
        let down = LinkSettings {
            rate_bps,
            ground_delay_ns: GROUND_DELAY_NS,
            queue_ns: QUEUE_NS,
            loss: LossSettings { mean: loss, burst_packets: BURST_PACKETS },
            seed,
        };
        // The uplink is the thin direction, as it is in real stations.
        [down, LinkSettings { rate_bps: rate_bps / 4.0, seed: seed ^ 0x5555, ..down }]
    }

    /// What a radio of one rate may send until `end`, bit/s: what the longest range allows.
    pub fn radio_bps(&self, rate_bps: f64, end: Tai) -> u64 {
        let count = end.since(self.pass.rise).max(0) / SECOND_NS;
        let times = (0..=count).map(|step| self.pass.rise.plus(step * SECOND_NS));
        let shares = times.filter_map(|at| Some(self.track.sky(at)?.rate_share));
        (RADIO_SHARE * rate_bps * shares.fold(1.0, f64::min)) as u64
    }

    /// Wrong bits on the radio link; one unit in a hundred fades beyond correction.
    pub fn noise(&self, bit_errors: f64, seed: u64) -> NoiseSettings {
        let fades = LossSettings { mean: FADES, burst_packets: BURST_PACKETS };
        // Not the seed of the losses: what is lost can't fade.
        let seed = seed ^ 0x3333;
        NoiseSettings { bit_errors, fades, fade_bit_errors: FADE_BIT_ERRORS, seed }
    }

    /// Faults after rise: a bearing soon enough that a short demonstration sees it, then one of
    /// each other kind.
    pub fn faults(&self) -> Faults {
        let after = |seconds: i64| self.pass.rise.plus(seconds * SECOND_NS);
        let fault = |kind, start: i64, end: Option<i64>, ramp_s| Fault {
            kind,
            start: after(start),
            end: end.map(after),
            ramp_s,
            severity: 1.0,
        };
        Faults::new(vec![
            fault(FaultKind::WheelBearing { wheel: 2 }, 5, Some(150), 5.0),
            fault(FaultKind::SolarString { string: 1 }, 40, Some(170), 0.0),
            fault(FaultKind::StuckThermistor, 90, Some(400), 0.0),
            fault(FaultKind::BatteryCell, 200, None, 60.0),
        ])
    }

    /// The contact plan as the station's page reads it.
    pub fn contacts(&self, rate_bps: f64) -> Result<Value, SceneError> {
        let orbit = orbit()?;
        let contacts: Vec<Value> = self
            .passes
            .iter()
            .map(|pass| {
                // The pass that is flown comes with its steps, every half minute.
                let is_flown = pass.rise == self.pass.rise;
                let steps: Vec<Value> = self
                    .predictions(rate_bps)
                    .into_iter()
                    .step_by(3)
                    .filter(|_| is_flown)
                    .map(|at| json!({ "at": at["t"], "rate_bps": at["rate_bps"], "rtt_ms": at["rtt_ms"] }))
                    .collect();
                json!({
                    "rise": pass.rise.to_rfc3339(),
                    "culmination": pass.culmination.to_rfc3339(),
                    "set": pass.set.to_rfc3339(),
                    "max_elevation_deg": round(pass.max_elevation_deg, 100.0),
                    "rate_bps": rate_bps,
                    "steps": steps,
                })
            })
            .collect();
        let mut track = Vec::new();
        for step in -200..=200 {
            let at = self.pass.rise.plus(step * MINUTE_NS / 2);
            let fixed = earth::earth_fixed(orbit.propagate(at)?, at);
            let place = earth::Geodetic::from_fixed(fixed.position_km);
            track.push(json!({
                "t": at.to_rfc3339(),
                "lat": round(place.latitude_deg, 1e4),
                "lon": round(place.longitude_deg, 1e4),
            }));
        }
        let place = self.station.place;
        Ok(json!({
            "station": {
                "name": self.station.name,
                "lat": place.latitude_deg,
                "lon": place.longitude_deg,
                "height_m": place.height_m,
                "mask_deg": MASK_DEG,
            },
            "satellite": orbit.name(),
            "contacts": contacts,
            "track": track,
            "link": self.predictions(rate_bps),
        }))
    }

    /// The link over the pass, every ten seconds.
    fn predictions(&self, rate_bps: f64) -> Vec<Value> {
        let count = self.pass.set.since(self.pass.rise) / (10 * SECOND_NS);
        let times = (0..=count).map(|step| self.pass.rise.plus(step * 10 * SECOND_NS));
        times
            .filter_map(|at| {
                let (range_km, elevation_deg) = self.track.look(at)?;
                let sky = self.track.sky(at)?;
                let one_way_ms = range_km / LIGHT_KM_S * 1e3 + GROUND_DELAY_NS as f64 / 1e6;
                Some(json!({
                    "t": at.to_rfc3339(),
                    "elevation_deg": round(elevation_deg, 100.0),
                    "range_km": round(range_km, 10.0),
                    "rtt_ms": round(2.0 * one_way_ms, 100.0),
                    "rate_bps": (rate_bps * sky.rate_share).round(),
                }))
            })
            .collect()
    }
}

fn round(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stage_has_a_high_pass_and_its_plan() {
        let scene = Scene::new().unwrap();
        assert!(scene.pass.max_elevation_deg > MIN_CULMINATION_DEG);
        let minutes = scene.pass.set.since(scene.pass.rise) / MINUTE_NS;
        assert!((8..12).contains(&minutes));
        let plan = scene.contacts(8e6).unwrap();
        assert_eq!(plan["satellite"], "SKY-7");
        assert_eq!(plan["track"].as_array().unwrap().len(), 401);
        assert_eq!(plan["contacts"][0]["rise"], scene.pass.rise.to_rfc3339());
        let link = plan["link"].as_array().unwrap();
        assert!(link.len() as i64 >= minutes * 6);
        let best = link.iter().map(|row| row["rate_bps"].as_f64().unwrap()).fold(0.0, f64::max);
        assert!(best > 7.9e6 && best <= 8e6);
    }

    #[test]
    fn a_radio_sends_no_faster_than_the_worst_of_its_time_allows() {
        let scene = Scene::new().unwrap();
        let at = |seconds: i64| scene.radio_bps(8e6, scene.pass.rise.plus(seconds * SECOND_NS));
        let share = scene.track.sky(scene.pass.rise).unwrap().rate_share;
        assert_eq!(at(0), (0.9 * 8e6 * share) as u64);
        assert!(at(600) <= at(0) && at(600) > 100_000);
    }

    #[test]
    fn a_fault_breaks_out_early_enough_for_a_short_demonstration() {
        let scene = Scene::new().unwrap();
        let wheel = FaultKind::WheelBearing { wheel: 2 };
        let severity = |seconds: i64| {
            scene.faults().severity(wheel, scene.pass.rise.plus(seconds * SECOND_NS))
        };
        assert_eq!(severity(0), 0.0);
        assert_eq!(severity(12), 1.0);
    }
}
