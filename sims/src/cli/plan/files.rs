//! Each spacecraft's contacts as the flight software and the station read them.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, ensure};
use codecs::time::Tai;
use onboard::downlink::CONTACTS_MAX;
use serde_json::{Value, json};

use super::rows::{Plan, Row};
use crate::{
    contact::sweep::{Grid, Track},
    orbit::{Satellite, earth::Geodetic},
    plan::Network,
};

/// Light, km a millisecond.
const LIGHT_KM_MS: f64 = 299.792_458;
/// Points of a ground track, one a minute: two days.
const TRACK_POINTS: i64 = 2 * 1440;
const MINUTE_NS: i64 = 60_000_000_000;
/// Distance of two predictions of the link.
const LINK_NS: i64 = 10_000_000_000;

/// Writes `NAME.toml` and `NAME.json` of every spacecraft into a folder, which is made.
pub fn write(
    folder: &Path,
    plan: &Plan,
    network: &Network,
    sets: &[Satellite],
    grid: &Grid,
) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let mut taken = BTreeSet::new();
    for (at, set) in sets.iter().enumerate() {
        let name = file_name(set.name());
        ensure!(
            taken.insert(name.clone()),
            "two spacecraft would write {name}.toml: give them names that differ in letters"
        );
        let rows: Vec<&Row> = plan.contacts.iter().filter(|row| row.spacecraft == at).collect();
        let parts = rows.iter().map(|row| row.usable.len()).sum::<usize>();
        if parts > CONTACTS_MAX {
            eprintln!(
                "warning: {name}.toml has the next {CONTACTS_MAX} of {parts} contacts (a keyhole \
                 makes two of one): the flight software keeps no more, plan again before they are \
                 over"
            );
        }
        let bearer = network.craft(set.name()).bearer.as_deref();
        let put = |name: String, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
        };
        put(format!("{name}.toml"), flight(&rows, bearer))?;
        let document = station(&rows, network, set, grid);
        put(format!("{name}.json"), serde_json::to_string_pretty(&document)? + "\n")?;
    }
    Ok(())
}

/// Letters that every file system takes.
fn file_name(name: &str) -> String {
    let safe = |letter: char| match letter {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' => letter,
        _ => '-',
    };
    name.chars().map(safe).collect()
}

/// `[downlink] plan` of the flight configuration.
fn flight(rows: &[&Row], bearer: Option<&str>) -> String {
    let mut out = String::from("# Contact plan by `orbitsim plan`.\n");
    let parts = rows.iter().flat_map(|row| row.usable.iter().map(move |part| (*row, part)));
    for (row, (from, to)) in parts.take(CONTACTS_MAX) {
        let text = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let station = format!("{} {}", row.station, row.antenna);
        out += &format!(
            "\n[[contact]]\nrise = {}\nset = {}\nstation = {}\nrate_bps = {}\n",
            text(&from.to_rfc3339()),
            text(&to.to_rfc3339()),
            text(&station),
            row.rate_bps
        );
        if let Some(bearer) = bearer {
            out += &format!("bearer = {}\n", text(bearer));
        }
    }
    out
}

/// `[contacts] file` of the station: what its page shows and its peers are told.
fn station(rows: &[&Row], network: &Network, set: &Satellite, grid: &Grid) -> Value {
    let part = grid.part(set);
    let grid = part.as_deref().unwrap_or(grid);
    let track = Track::of(set, grid);
    let mut count = vec![0; network.sites.len()];
    rows.iter().for_each(|row| count[row.site] += 1);
    // The page draws one station: the one that hears most.
    let main = (0..count.len()).max_by_key(|site| (count[*site], usize::MAX - site));
    let main = main.map(|site| &network.sites[site]).map(|site| {
        let place = site.station.place;
        json!({
            "name": site.station.name,
            "lat": place.latitude_deg,
            "lon": place.longitude_deg,
            "height_m": place.height_m,
            "mask_deg": site.min_elevation_deg,
        })
    });
    let look = |row: &Row, at: Tai| {
        track.state_at(grid, at).map(|state| network.sites[row.site].station.look(state))
    };
    let rtt_ms = |range_km: f64| 2.0 * range_km / LIGHT_KM_MS;
    let mut link = Vec::new();
    let mut contacts = Vec::new();
    let parts = rows.iter().flat_map(|row| row.usable.iter().map(move |part| (*row, *part)));
    for (row, (from, to)) in parts {
        let steps = to.since(from) / LINK_NS;
        let mut farthest_km = 0.0f64;
        let mut highest_deg = f64::NEG_INFINITY;
        for at in (0..=steps).map(|step| from.plus(step * LINK_NS)).chain([to]) {
            let Some(look) = look(row, at) else { continue };
            farthest_km = farthest_km.max(look.range_km);
            highest_deg = highest_deg.max(look.elevation_deg);
            // A file of a month stays below what the station reads.
            if contacts.len() < CONTACTS_MAX {
                link.push(json!({
                    "t": at.to_rfc3339(),
                    "elevation_deg": round(look.elevation_deg, 100.0),
                    "range_km": round(look.range_km, 10.0),
                    "rtt_ms": round(rtt_ms(look.range_km), 100.0),
                    "rate_bps": row.rate_bps,
                }));
            }
        }
        let top_deg = match (from..=to).contains(&row.highest) {
            true => row.max_elevation_deg,
            false => highest_deg,
        };
        contacts.push(json!({
            "rise": from.to_rfc3339(),
            "culmination": row.highest.clamp(from, to).to_rfc3339(),
            "set": to.to_rfc3339(),
            "max_elevation_deg": round(top_deg, 100.0),
            "rate_bps": row.rate_bps,
            "rtt_ms": round(rtt_ms(farthest_km), 100.0),
            "station": row.station,
            "antenna": row.antenna,
        }));
    }
    let minutes = grid.interval().1.since(grid.interval().0) / MINUTE_NS;
    let points = (0..=minutes.min(TRACK_POINTS)).filter_map(|minute| {
        let at = grid.interval().0.plus(minute * MINUTE_NS);
        let place = Geodetic::from_fixed(track.state_at(grid, at)?.position_km);
        Some(json!({
            "t": at.to_rfc3339(),
            "lat": round(place.latitude_deg, 1e4),
            "lon": round(place.longitude_deg, 1e4),
        }))
    });
    json!({
        "station": main,
        "satellite": set.name(),
        "contacts": contacts,
        "track": points.collect::<Vec<Value>>(),
        "link": link,
    })
}

fn round(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}
