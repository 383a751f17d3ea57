//! What makes no sense in a scenario, said by the key that says it.

use std::collections::BTreeSet;

use codecs::{link::profile::Profile, time::Tai};

use super::{Bearer, Scenario};
use crate::world::{
    antennas::PlanSettings,
    modem::{Modem, Said},
};

/// Longest scenario: a leap year and a day.
const DURATION_S_MAX: u64 = 367 * 86_400;
/// Most faults of a kind in a day.
const FAULTS_MAX: f64 = 10_000.0;
/// Most spacecraft.
const CRAFT_MAX: usize = 20_000;

fn within(key: &str, value: f64, range: std::ops::RangeInclusive<f64>) -> Result<(), String> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(format!("{key} = {value}: {} to {}", range.start(), range.end()))
}

/// Names that tell their bearers apart.
fn unlike<'a>(of: &str, names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in names {
        if name.trim().is_empty() {
            return Err(format!("a {of} has an empty name"));
        }
        if !seen.insert(name) {
            return Err(format!("two of [[{of}]] are named {name:?}: tables tell them by name"));
        }
    }
    Ok(())
}

impl Scenario {
    pub(super) fn check(&self) -> Result<(), String> {
        // Identities of a world are valid in these years, and clocks of spacecraft begin with them.
        let year = |year: &str| Tai::from_rfc3339(&format!("{year}-01-01T00:00:00Z"));
        let start = Tai::from_rfc3339(&self.start);
        if start.is_none_or(|of| Some(of) < year("1990") || Some(of) >= year("2100")) {
            let words = "a time as 2026-03-01T00:00:00Z, from 1990 to 2099";
            return Err(format!("start = {:?}: {words}", self.start));
        }
        within("duration_s", self.duration_s as f64, 1.0..=DURATION_S_MAX as f64)?;
        if self.profile().is_none() {
            let known: Vec<&str> = Profile::ALL.iter().map(|profile| profile.name).collect();
            return Err(format!(
                "link.profile = {:?}: one of {}",
                self.link.profile,
                known.join(", ")
            ));
        }
        self.check_link()?;
        self.check_ends()?;
        self.check_loads()?;
        self.check_cost()?;
        self.check_pools()?;
        if self.link.bearer == Bearer::Quic && self.faults.edge_crashes_per_day > 0.0 {
            return Err("faults.edge_crashes_per_day: an edge is there over a radio only".into());
        }
        for (key, rate) in self.faults.each() {
            within(&format!("faults.{key}"), rate, 0.0..=FAULTS_MAX)?;
        }
        Ok(())
    }

    fn check_pools(&self) -> Result<(), String> {
        let Some(jobs) = &self.jobs else { return Ok(()) };
        within("jobs.deadline_s", jobs.deadline_s, 1e-3..=1e7)?;
        for (at, pool) in jobs.pool.iter().enumerate() {
            if jobs.pool.iter().take(at).any(|other| other.name == pool.name) {
                return Err(format!("jobs.pool.name = {:?} is there twice", pool.name));
            }
            for (key, value, least, most) in pool.each() {
                within(&format!("jobs.pool.{key}"), value, least..=most)?;
            }
        }
        Ok(())
    }

    fn check_cost(&self) -> Result<(), String> {
        let prices = self.site.iter().filter_map(|site| site.cost_per_minute);
        for price in prices.chain(self.cost.iter().map(|cost| cost.per_minute)) {
            within("cost per minute", price, 0.0..=1e9)?;
        }
        match &self.cost {
            Some(cost) if cost.currency.is_empty() => {
                Err("cost.currency is empty: name the money, as \"EUR\"".into())
            }
            None if self.site.iter().any(|site| site.cost_per_minute.is_some()) => {
                Err("site.cost_per_minute without [cost]: say its currency and per_minute".into())
            }
            _ => Ok(()),
        }
    }

    fn check_link(&self) -> Result<(), String> {
        let link = &self.link;
        if link.file.is_some() {
            let said = link.down_bps != 0.0 || link.loss != 0.0 || link.lock_s != 0.0;
            if said || link.ground_delay_ms != 0.0 || link.fade.is_some() || link.fixed.is_some() {
                return Err("link.file says rate, loss, lock, delay and weather of a pass: leave \
                            down_bps, loss, lock_s, ground_delay_ms, fade and fixed out"
                    .into());
            }
        } else {
            within("link.down_bps", link.down_bps, 100.0..=1e12)?;
        }
        within("link.up_bps", link.up_bps, 100.0..=1e12)?;
        within("link.queue_ms", link.queue_ms, 1.0..=1e7)?;
        within("link.ground_delay_ms", link.ground_delay_ms, 0.0..=1e7)?;
        within("link.lock_s", link.lock_s, 0.0..=3_600.0)?;
        within("link.loss", link.loss, 0.0..=1.0)?;
        within("link.burst_packets", link.burst_packets, 1.0..=1e6)?;
        within("link.handover_s", link.handover_s, 0.0..=1e9)?;
        within("link.handover_gap_ms", link.handover_gap_ms, 0.0..=1e7)?;
        if link.handover_s > 0.0 && link.handover_gap_ms >= link.handover_s * 1e3 {
            return Err(format!(
                "link.handover_gap_ms = {} is as long as handover_s: nothing would ever pass",
                link.handover_gap_ms
            ));
        }
        let radio = link.bearer == Bearer::Rf;
        if !radio && (link.frame.is_some() || link.coding.is_some()) {
            return Err("link.frame and link.coding are of a radio: say bearer = \"rf\"".into());
        }
        let flight = self.store.flight.get_ref();
        for table in ["spacecraft", "identity", "ground", "source", "store"] {
            if toml::from_str::<toml::Table>(flight).is_ok_and(|of| of.contains_key(table)) {
                return Err(format!("store.flight: leave [{table}] out: the world says it"));
            }
        }
        if radio && flight.contains("[downlink") {
            return Err("store.flight: leave [downlink] out: over a radio [link] says it".into());
        }
        if radio && link.file.is_none() {
            // What frames and code can't be is told before anything is flown.
            let said = Said { frame: link.frame.as_deref(), coding: link.coding.as_deref() };
            Modem::new(said, None, (link.down_bps, link.up_bps, link.again_s))?;
        }
        within("link.again_s", link.again_s as f64, 1.0..=1e7)?;
        if let Some(fade) = link.fade {
            within("link.fade.share", fade.share, 0.0..=0.99)?;
            within("link.fade.mean_s", fade.mean_s, 1.0..=1e6)?;
        }
        if let Some(fixed) = link.fixed {
            within("link.fixed.range_km", fixed.range_km, 0.0..=1e10)?;
            within("link.fixed.contact_s", fixed.contact_s, 1.0..=1e9)?;
            within("link.fixed.period_s", fixed.period_s, 1.0..=1e9)?;
            if fixed.contact_s > fixed.period_s {
                return Err(
                    "link.fixed.contact_s is longer than period_s; for a link that is always \
                            there make them equal"
                        .into(),
                );
            }
        }
        Ok(())
    }

    fn check_ends(&self) -> Result<(), String> {
        match (&self.link.fixed, self.site.is_empty()) {
            (None, true) => {
                return Err("no [[site]] and no [link.fixed]: nothing to talk to".into());
            }
            (Some(_), false) => {
                return Err("[[site]] and [link.fixed] exclude each other".into());
            }
            _ => {}
        }
        let sites = self.site.iter().map(|site| site.name.as_str());
        let craft = self.spacecraft.iter().map(|craft| craft.name.as_str());
        unlike("site", sites)?;
        unlike("spacecraft", craft)?;
        for site in &self.site {
            let key = |key: &str| format!("site {:?}: {key}", site.name);
            within(&key("latitude_deg"), site.latitude_deg, -90.0..=90.0)?;
            within(&key("longitude_deg"), site.longitude_deg, -360.0..=360.0)?;
            within(&key("height_m"), site.height_m, -500.0..=20_000.0)?;
            within(&key("min_elevation_deg"), site.min_elevation_deg, 0.0..=89.0)?;
            within(&key("antennas"), site.antennas.unwrap_or(1) as f64, 1.0..=1_000.0)?;
            within(&key("setup_s"), site.setup_s, 0.0..=86_400.0)?;
            within(&key("teardown_s"), site.teardown_s, 0.0..=86_400.0)?;
            let work = site.setup_s > 0.0 || site.teardown_s > 0.0;
            if work && self.site.iter().all(|site| site.antennas.is_none()) {
                return Err(key("setup_s and teardown_s are of antennas: say how many there are"));
            }
        }
        let PlanSettings { need_s_day, surplus, min_contact_s, .. } = self.plan;
        within("plan.need_s_day", need_s_day.unwrap_or(1.0), 1.0..=86_400.0)?;
        within("plan.surplus", surplus, 0.0..=1.0)?;
        within("plan.min_contact_s", min_contact_s, 1.0..=86_400.0)?;
        if self.spacecraft.is_empty() {
            return Err("no [[spacecraft]]".into());
        }
        for craft in &self.spacecraft {
            let key = |key: &str| format!("spacecraft {:?}: {key}", craft.name);
            let orbits = [craft.elements.is_some(), craft.elements_file.is_some()];
            let orbits = orbits.into_iter().filter(|there| *there).count()
                + usize::from(craft.ring.is_some());
            if orbits > 1 {
                return Err(key("one of elements, elements_file and ring"));
            }
            if orbits == 0 && self.link.fixed.is_none() {
                return Err(key(
                    "needs elements, elements_file or ring, as there is no [link.fixed]",
                ));
            }
            if let Some(count) = craft.count {
                within(&key("count"), count as f64, 1.0..=CRAFT_MAX as f64)?;
            }
            within(&key("value"), craft.value, 0.0..=1e9)?;
            if let Some(ring) = craft.ring {
                within(&key("ring.height_km"), ring.height_km, 150.0..=50_000.0)?;
                within(&key("ring.inclination_deg"), ring.inclination_deg, 0.0..=180.0)?;
                within(&key("ring.planes"), ring.planes as f64, 1.0..=1_000.0)?;
                within(&key("ring.per_plane"), ring.per_plane as f64, 1.0..=1_000.0)?;
                let all = ring.planes * ring.per_plane;
                within(
                    &key("ring.planes times ring.per_plane"),
                    all as f64,
                    1.0..=CRAFT_MAX as f64,
                )?;
            }
        }
        Ok(())
    }

    fn check_loads(&self) -> Result<(), String> {
        let telemetry = &self.telemetry;
        within("telemetry.packet_bytes", telemetry.packet_bytes as f64, 1.0..=8_000.0)?;
        within("telemetry.every_s", telemetry.every_s, 0.001..=1e6)?;
        within("telemetry.payload_bytes", telemetry.payload_bytes as f64, 0.0..=64e6)?;
        within("telemetry.payload_every_s", telemetry.payload_every_s, 0.0..=1e6)?;
        let orbits = |craft: &super::SpacecraftSettings| {
            craft.elements.is_some() || craft.elements_file.is_some() || craft.ring.is_some()
        };
        if telemetry.sensors && !self.spacecraft.iter().all(orbits) {
            return Err("telemetry.sensors needs an orbit for each spacecraft".into());
        }
        within("station.segment_bytes", self.station.segment_bytes as f64, 65_536.0..=1e9)?;
        Ok(())
    }
}
