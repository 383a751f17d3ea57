//! A pass as a picture: capacity, what each law sends, how long that waits, and what it misses.

use std::{fs, path::Path, process::ExitCode};

use anyhow::Context as _;

use super::BURSTS;
use crate::{
    plot::{Axis, Chart, Series, stacked},
    world::goodput::{
        Law,
        cases::{SHOWERS, X_BAND},
        fly_watched,
        watch::Watch,
    },
};

/// Length of a point, ns.
const SPAN_NS: u64 = 1_000_000_000;

/// Draws it into a file.
pub fn draw(path: &Path) -> anyhow::Result<ExitCode> {
    let link = X_BAND.link(SHOWERS, BURSTS);
    let span_s = SPAN_NS as f64 / 1e9;
    let megabits = |bytes: f64| bytes * 8.0 / span_s / 1e6;
    let minutes = |at: usize| at as f64 * span_s / 60.0;
    let spans = link.until_ns / SPAN_NS;
    let capacity = (0..spans).map(|at| {
        let bytes = link.up.bytes(link.start, at * SPAN_NS, (at + 1) * SPAN_NS);
        (minutes(at as usize), megabits(bytes))
    });
    let capacity = Series::line("capacity", capacity.collect());
    let mut rates = vec![];
    let mut waits = vec![];
    let mut holds = vec![];
    for law in Law::ALL {
        let watch = Watch::new(SPAN_NS);
        let reports = fly_watched(&link, &[X_BAND.flow(law)], 1, Some(&watch))?;
        let seen = watch.spans();
        let over = |of: &dyn Fn(usize) -> f64| {
            (0..seen.len()).map(|at| (minutes(at), of(at))).collect::<Vec<_>>()
        };
        rates.push(Series::line(law.name(), over(&|at| megabits(seen[at].offered as f64))));
        waits.push(Series::line(law.name(), over(&|at| seen[at].wait_ns as f64 / 1e6)));
        // What could have been down by then, and is not.
        let behind = |at: usize| {
            let until = (at as u64 + 1) * SPAN_NS;
            let could = link.up.bytes(link.start, 0, until);
            let are = reports.first().map_or(0, |of| of.acknowledged(until));
            (could - are as f64).max(0.0) / 1e6
        };
        holds.push(Series::line(law.name(), over(&behind)));
    }
    rates.push(capacity);
    let across = || Axis::linear("minutes after rise");
    let chart = |title: &str, up: &str, height, series| Chart {
        height,
        ..Chart::new(title, across(), Axis::linear(up), series)
    };
    let title = "An X-band pass with three fades and bursts: capacity, and what is sent";
    let svg = stacked(&[
        chart(title, "Mbit/s", 300.0, rates),
        chart("Longest wait in the queue", "ms", 180.0, waits),
        chart("Behind what the link could have carried", "MB", 180.0, holds),
    ]);
    fs::write(path, svg).with_context(|| format!("writing {}", path.display()))?;
    eprintln!("drawn into {}", path.display());
    Ok(ExitCode::SUCCESS)
}
