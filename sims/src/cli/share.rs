//! What several commands do alike: times of day, element sets, all processors.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, ensure};
use codecs::time::{LeapSeconds, Tai};

use crate::{
    contact::sweep::Grid,
    orbit::{EarthOrientation, ElementSet, Satellite, earth, satellite},
};

/// Longest interval searched at once: beyond it elements are stale anyway.
const MAX_DAYS: i64 = 366;
pub const DAY_NS: i64 = 86_400_000_000_000;

/// Reads a time of the command line.
pub fn instant(text: &str) -> Result<Tai, String> {
    Tai::from_rfc3339(text).ok_or_else(|| {
        format!("'{text}' is no time like 2026-11-23T12:00:00Z within the years 1678 to 2261")
    })
}

/// Refuses an interval that nothing can be found in.
pub fn check_interval(from: Tai, to: Tai) -> anyhow::Result<()> {
    ensure!(from < to, "--from must be before --to");
    let days = to.since(from) / DAY_NS;
    ensure!(days <= MAX_DAYS, "{days} days are more than {MAX_DAYS}; ask for less at a time");
    Ok(())
}

/// Reads every satellite of some files.
pub fn read_orbits(files: &[PathBuf]) -> anyhow::Result<Vec<Satellite>> {
    let mut all = Vec::new();
    for file in files {
        let name = file.display();
        let text = fs::read_to_string(file).with_context(|| format!("reading {name}"))?;
        let read = satellite::read(&text).with_context(|| format!("in {name}"))?;
        read.iter().for_each(warn_of_gaps);
        all.extend(read);
    }
    Ok(all)
}

/// Says where an ephemeris tells nothing, so that what is not found there is not taken for absent.
fn warn_of_gaps(satellite: &Satellite) {
    let Satellite::Ephemeris(ephemeris) = satellite else { return };
    let gaps = ephemeris.gaps();
    if let Some((from, to)) = gaps.first() {
        let more = match gaps.len() {
            1 => String::new(),
            count => format!(" and in {} more gaps", count - 1),
        };
        let name = satellite.name();
        eprintln!(
            "warning: the ephemeris of {name} has no states from {from} to {to}{more}: nothing is \
             found there"
        );
    }
}

/// Instants of an interval, by the earth orientation of a file where one is given.
pub fn grid(from: Tai, to: Tai, eop: Option<&Path>) -> anyhow::Result<Grid> {
    let Some(file) = eop else {
        if [from, to].map(earth::ut1_is_known).contains(&false) {
            eprintln!(
                "warning: the built-in table of UT1 does not reach there: the earth may be turned \
                 by up to 0.9 s, 400 m at the equator; give a newer one by --eop"
            );
        }
        return Ok(Grid::new(from, to));
    };
    let name = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("reading {name}"))?;
    let table = EarthOrientation::parse(&text).with_context(|| format!("in {name}"))?;
    if [from, to].map(|at| table.at(at)).contains(&None) {
        let (first, last) = table.span_mjd();
        eprintln!(
            "warning: {name} covers MJD {first} to {last}, not all of the time asked for: outside \
             of it the built-in table of UT1 is used, and the pole stands still"
        );
    }
    Ok(Grid::with_eop(from, to, Some(table)))
}

/// Says what makes an answer worse than it looks.
pub fn warn(satellites: &[Satellite], from: Tai, to: Tai) {
    for satellite in satellites {
        let told = satellite.within(from, to);
        if told == Some((from, to)) {
            continue;
        }
        let what = match told {
            Some((first, last)) => format!("covers {first} to {last} only"),
            None => "covers nothing of the time asked for".into(),
        };
        eprintln!("warning: the ephemeris of {} {what}", satellite.name());
    }
    let sets: Vec<&ElementSet> = satellites.iter().filter_map(Satellite::elements).collect();
    let over = |set: &&ElementSet| {
        let age = set.epoch().since(from).abs().max(set.epoch().since(to).abs());
        age as f64 / DAY_NS as f64 - set.good_for_days()
    };
    let old = sets.iter().filter(|set| over(set) > 0.0).count();
    let oldest = sets.iter().max_by(|a, b| over(a).total_cmp(&over(b)));
    if let (true, Some(oldest)) = (old > 0, oldest) {
        eprintln!(
            "warning: {old} of {} element sets are older than orbits of their height are good for \
             ({} by {:.0} days over {:.0}): each day costs some seconds; fetch newer ones",
            sets.len(),
            oldest.name(),
            over(oldest),
            oldest.good_for_days()
        );
    }
    let known = LeapSeconds::built_in().until();
    if to > known {
        eprintln!(
            "warning: leap seconds are known until {known}: one that is announced after this \
             program was built would shift later times by a second"
        );
    }
}

/// Does something with each item on all processors; what comes of it keeps the items' order.
pub fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(usize, &T) -> R + Sync) -> Vec<R> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let share = items.len().div_ceil(workers).max(1);
    thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = items
            .chunks(share)
            .enumerate()
            .map(|(chunk, items)| {
                scope.spawn(move || -> Vec<R> {
                    let first = chunk * share;
                    items.iter().enumerate().map(|(at, item)| work(first + at, item)).collect()
                })
            })
            .collect();
        let done = running.into_iter().map(|thread| thread.join());
        done.flat_map(|of| of.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

/// Text as RFC 4180 wants it.
pub fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
