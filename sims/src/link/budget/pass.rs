//! A budget over a pass: what is received, what is sent with, and what comes down.

use super::file::Described;
use crate::link::LIGHT_KM_S;
use crate::link::control::{Chooser, Seen};
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
    /// Bits for the user that come down.
    pub bits: f64,
    /// Bits that would come down with the highest MODCOD that each instant allows, without margin.
    pub best_bits: f64,
    /// Least margin to the limit on the flux, dB.
    pub flux_margin_db: Option<f64>,
}

/// Rows of a pass seen at equal steps, and what they come to.
pub fn over_pass(of: &Described, looks: &[(Tai, Look)], sky: Sky) -> (Vec<Row>, Totals) {
    let mut chooser = Chooser::new(of.control.clone());
    let Some(begin) = looks.first().map(|look| look.0) else {
        return (
            Vec::new(),
            Totals { seconds: 0.0, bits: 0.0, best_bits: 0.0, flux_margin_db: None },
        );
    };
    let lock_s = of.channel.lock_ms / 1e3;
    let signal = &of.link.signal;
    let mut totals = Totals { seconds: 0.0, bits: 0.0, best_bits: 0.0, flux_margin_db: None };
    let mut rows = Vec::with_capacity(looks.len());
    for (at, (now, look)) in looks.iter().enumerate() {
        let clear = of.link.budget(look.elevation_deg, look.range_km, Sky::Clear);
        let budget = of.link.budget(look.elevation_deg, look.range_km, sky);
        let since_s = now.since(begin) as f64 / 1e9;
        let modcod = chooser.choose(Seen {
            now_ns: now.0,
            elevation_deg: look.elevation_deg,
            clear_db: clear.es_n0_db,
            received_db: (since_s >= lock_s).then_some(budget.es_n0_db),
            flight_ns: (look.range_km / LIGHT_KM_S * 1e9) as i64,
        });
        let locked = since_s >= lock_s;
        let rate = modcod.rate_bps(signal.symbol_rate_baud, signal.pilots);
        let rate_bps = if locked { rate } else { 0.0 };
        let frame_error = modcod.frame_error(budget.es_n0_db);
        let flux_margin_db = budget.flux.map(|(flux, limit, _)| limit - flux);
        // Each row stands for the step before it.
        let step_s = match at.checked_sub(1) {
            Some(before) => now.since(looks[before].0) as f64 / 1e9,
            None => 0.0,
        };
        totals.seconds += step_s;
        totals.bits += step_s * rate_bps * (1.0 - frame_error);
        if let (true, Some(best)) = (locked, of.ladder.highest(budget.es_n0_db)) {
            let best = of.ladder.steps()[best];
            totals.best_bits += step_s * best.rate_bps(signal.symbol_rate_baud, signal.pilots);
        }
        totals.flux_margin_db = match (totals.flux_margin_db, flux_margin_db) {
            (Some(least), Some(now)) => Some(f64::min(least, now)),
            (least, now) => least.or(now),
        };
        rows.push(Row {
            time: now.to_rfc3339(),
            since_s,
            azimuth_deg: look.azimuth_deg,
            elevation_deg: look.elevation_deg,
            range_km: look.range_km,
            clear_es_n0_db: clear.es_n0_db,
            es_n0_db: budget.es_n0_db,
            modcod: modcod.name,
            needed_es_n0_db: modcod.es_n0_db,
            margin_db: budget.es_n0_db - modcod.es_n0_db,
            rate_bps,
            frame_error,
            flux_margin_db,
        });
    }
    (rows, totals)
}
