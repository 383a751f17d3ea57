//! Availability over a year, printed.

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::ensure;
use codecs::time::Tai;
use serde_json::json;

use crate::{
    contact::passes,
    link::budget::{
        availability::{Stay, mean_rate_bps},
        file::Described,
    },
    orbit::ElementSet,
};

/// Days of passes that stand for a year.
const DAYS: i64 = 10;
const DAY_NS: i64 = 86_400_000_000_000;
/// Distance of two looks at a pass, and width of the bins of elevation they go into.
const STEP_NS: i64 = 5_000_000_000;
const BIN_DEG: f64 = 1.0;

/// Where a satellite is over ten days, by elevation, and seconds of contact a day.
pub fn stays(of: &Described, set: &ElementSet, from: Tai) -> anyhow::Result<(Vec<Stay>, f64)> {
    let mut bins: BTreeMap<u32, (f64, f64, f64)> = BTreeMap::new();
    for day in 0..DAYS {
        let begin = from.plus(day * DAY_NS);
        for pass in passes(set, &of.station, begin, begin.plus(DAY_NS), of.min_elevation_deg)? {
            let mut at = pass.rise.plus(STEP_NS / 2);
            while at < pass.set {
                let look = of.station.look_at(set, at)?;
                let bin = bins.entry((look.elevation_deg / BIN_DEG) as u32).or_default();
                bin.0 += look.elevation_deg;
                bin.1 += look.range_km;
                bin.2 += 1.0;
                at = at.plus(STEP_NS);
            }
        }
    }
    ensure!(
        !bins.is_empty(),
        "{} does not rise above {} degrees over {} within {DAYS} days",
        set.name(),
        of.min_elevation_deg,
        of.station.name
    );
    let step_s = STEP_NS as f64 / 1e9;
    let stay = |(elevation, range, count): &(f64, f64, f64)| Stay {
        elevation_deg: elevation / count,
        range_km: range / count,
        weight: count * step_s,
    };
    let stays: Vec<Stay> = bins.values().map(stay).collect();
    let seconds = stays.iter().map(|stay| stay.weight).sum::<f64>() / DAYS as f64;
    Ok((stays, seconds))
}

/// Reckons and prints; `seconds_a_day` of contact, or none where the satellite stands still.
pub fn print(
    of: &Described,
    stays: &[Stay],
    seconds_a_day: Option<f64>,
    as_json: bool,
    as_csv: bool,
) -> anyhow::Result<ExitCode> {
    let margin_db = of.margin_db;
    let rows = of.link.availability(stays, &of.modcods, margin_db);
    let mean = mean_rate_bps(&of.link.availability(stays, of.ladder.steps(), margin_db));
    let a_day = mean * seconds_a_day.unwrap_or(86_400.0) / 8e9;
    if as_json {
        let document = json!({
            "station": of.station.name,
            "margin_db": margin_db,
            "contact_s_a_day": seconds_a_day,
            "modcods": rows,
            "mean_rate_bps": mean,
            "gigabytes_a_day": a_day,
            "assumed": of.link.air.climate().assumed,
        });
        say!("{}", serde_json::to_string_pretty(&document)?);
    } else if as_csv {
        say!("modcod,rate_bps,available_percent");
        for row in &rows {
            say!("{},{:.0},{:.4}", row.modcod, row.rate_bps, row.percent);
        }
    } else {
        let what = match seconds_a_day {
            Some(seconds) => {
                format!("share of {:.1} minutes of contact a day", seconds / 60.0)
            }
            None => "share of the year".to_owned(),
        };
        say!("{}: {what} in which each MODCOD holds with {margin_db} dB to spare", of.station.name);
        for row in &rows {
            say!("{:<34} {:>8.2} Mb/s {:>8.3} %", row.modcod, row.rate_bps / 1e6, row.percent);
        }
        say!("always the best of them: {:.2} Mb/s on average, {a_day:.1} GB a day", mean / 1e6);
    }
    Ok(ExitCode::SUCCESS)
}
