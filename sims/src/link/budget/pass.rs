//! A budget over a pass: what is received, what is sent with, and what comes down.

use super::file::Described;
use crate::link::LIGHT_KM_S;
use crate::link::control::{Chooser, Seen};
use crate::link::modcod::Modcod;
use crate::link::radio::RadioLink;
use crate::link::weather::path::Sky;
use crate::orbit::Look;
use codecs::time::Tai;
use serde::Serialize;

/// One instant of a pass.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// Seconds since the pass began.
    pub since_s: f64,
    /// Degrees.
    pub azimuth_deg: f64,
    /// Degrees.
    pub elevation_deg: f64,
    /// Kilometres.
    pub range_km: f64,
    /// What it changes by, km/s, positive away.
    pub range_rate_km_s: f64,
    /// How much higher the carrier is received than sent, Hz: positive while the satellite comes
    /// nearer.
    pub doppler_hz: f64,
    /// Es/N0 under a clear sky, dB.
    pub clear_es_n0_db: f64,
    /// Es/N0 under the sky asked for, dB.
    pub es_n0_db: f64,
    /// What is sent with.
    pub modcod: &'static str,
    /// What it needs, dB.
    pub needed_es_n0_db: f64,
    /// What is left of Es/N0, dB.
    pub margin_db: f64,
    /// For the user, bits a second; nothing while the receiver has no lock.
    pub rate_bps: f64,
    /// Share of frames lost.
    pub frame_error: f64,
    /// What is left to the limit on the flux at the ground, dB; none where there is no limit.
    pub flux_margin_db: Option<f64>,
}

/// What a pass comes to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Totals {
    /// Seconds above the station's least elevation.
    pub seconds: f64,
    /// Bits for the user that come down: without frames in error, outages, handovers and bursts.
    pub bits: f64,
    /// Bits that would come down with the highest MODCOD that each instant allows, without margin,
    /// through the same outages.
    pub best_bits: f64,
    /// Least margin to the limit on the flux, dB.
    pub flux_margin_db: Option<f64>,
}

/// What a row is made of.
struct Instant {
    clear_db: f64,
    es_n0_db: f64,
    modcod: Modcod,
    locked: bool,
    flux_margin_db: Option<f64>,
}

/// Rows of a pass under one sky, and what they come to.
pub fn over_pass(of: &Described, looks: &[(Tai, Look)], sky: Sky) -> (Vec<Row>, Totals) {
    let mut chooser = Chooser::new(of.control.clone());
    let begin = looks.first().map_or(Tai(0), |look| look.0);
    let lock_ns = (of.channel.lock_ms * 1e6) as i64;
    rows(of, looks, |now, look| {
        let clear = of.link.budget(look.elevation_deg, look.range_km, Sky::Clear);
        let budget = of.link.budget(look.elevation_deg, look.range_km, sky);
        let locked = now.since(begin) >= lock_ns;
        let modcod = chooser.choose(Seen {
            now_ns: now.0,
            elevation_deg: look.elevation_deg,
            clear_db: clear.es_n0_db,
            received_db: locked.then_some(budget.es_n0_db),
            flight_ns: (look.range_km / LIGHT_KM_S * 1e9) as i64,
        });
        Instant {
            clear_db: clear.es_n0_db,
            es_n0_db: budget.es_n0_db,
            modcod,
            locked,
            flux_margin_db: budget.flux.map(|(flux, limit, _)| limit - flux),
        }
    })
}

/// Rows of a pass that was flown through simulated weather.
pub fn as_flown(of: &Described, looks: &[(Tai, Look)], flown: &RadioLink) -> (Vec<Row>, Totals) {
    rows(of, looks, |now, look| {
        let clear = of.link.budget(look.elevation_deg, look.range_km, Sky::Clear);
        let moment = flown.moment(now);
        Instant {
            clear_db: clear.es_n0_db,
            es_n0_db: moment.map_or(clear.es_n0_db, |moment| moment.es_n0_db),
            modcod: moment.map_or(of.ladder.steps()[0], |moment| moment.modcod),
            locked: moment.is_some_and(|moment| moment.locked),
            flux_margin_db: clear.flux.map(|(flux, limit, _)| limit - flux),
        }
    })
}

fn rows(
    of: &Described,
    looks: &[(Tai, Look)],
    mut instant: impl FnMut(Tai, &Look) -> Instant,
) -> (Vec<Row>, Totals) {
    let signal = &of.link.signal;
    let rate = |modcod: &Modcod| modcod.rate_bps(signal.symbol_rate_baud, signal.pilots);
    let mut totals = Totals { seconds: 0.0, bits: 0.0, best_bits: 0.0, flux_margin_db: None };
    let mut rows = Vec::with_capacity(looks.len());
    let carrier_hz = of.link.transmitter.frequency_ghz * 1e9;
    let begin = looks.first().map_or(Tai(0), |look| look.0);
    let mut before = begin;
    for (now, look) in looks {
        let Instant { clear_db, es_n0_db, modcod, locked, flux_margin_db } = instant(*now, look);
        let rate_bps = if locked { rate(&modcod) } else { 0.0 };
        let frame_error = modcod.frame_error(es_n0_db);
        // Each row stands for the step before it.
        let step_s = now.since(before) as f64 / 1e9;
        before = *now;
        totals.seconds += step_s;
        let passing = of.channel.passing(now.since(begin) as f64 / 1e9);
        totals.bits += step_s * rate_bps * (1.0 - frame_error) * passing;
        if let (true, Some(best)) = (locked, of.ladder.highest(es_n0_db)) {
            totals.best_bits += step_s * rate(&of.ladder.steps()[best]) * passing;
        }
        totals.flux_margin_db = match (totals.flux_margin_db, flux_margin_db) {
            (Some(least), Some(now)) => Some(f64::min(least, now)),
            (least, now) => least.or(now),
        };
        rows.push(Row {
            time: now.to_rfc3339(),
            since_s: now.since(begin) as f64 / 1e9,
            azimuth_deg: look.azimuth_deg,
            elevation_deg: look.elevation_deg,
            range_km: look.range_km,
            range_rate_km_s: look.range_rate_km_s,
            doppler_hz: -look.range_rate_km_s / LIGHT_KM_S * carrier_hz,
            clear_es_n0_db: clear_db,
            es_n0_db,
            modcod: modcod.name,
            needed_es_n0_db: modcod.es_n0_db,
            margin_db: es_n0_db - modcod.es_n0_db,
            rate_bps,
            frame_error,
            flux_margin_db,
        });
    }
    (rows, totals)
}
