//! The tables of `docs/edge-value.md`, between two marks; the words around them are written by hand.

use crate::Measured;
use crate::day::Way;
use crate::downlink::quantile;
use crate::tiles::{FRACTIONS, Mix, Sent, mix};
use anyhow::Context;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

/// Puts the tables between the marks of the page.
pub fn put(path: &Path, tables: &str) -> anyhow::Result<()> {
    let page = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let (before, rest) = page.split_once(BEGIN).context("the page has no begin mark")?;
    let (_, after) = rest.split_once(END).context("the page has no end mark")?;
    std::fs::write(path, format!("{before}{BEGIN}\n{tables}{END}{after}"))?;
    Ok(())
}

/// All tables.
pub fn render(measured: &Measured) -> String {
    let mut out = String::new();
    segments(&mut out, measured);
    blocks(&mut out, measured);
    scenes(&mut out, measured);
    days(&mut out, measured);
    out
}

/// Writing to a string never fails.
macro_rules! line {
    ($out:expr) => { line!($out, "") };
    ($out:expr, $($text:tt)*) => { let _ = writeln!($out, $($text)*); };
}

fn segments(out: &mut String, measured: &Measured) {
    let Some(of) = &measured.segments else { return };
    line!(out, "\n### Recorded: OPS-SAT-AD\n");
    line!(
        out,
        "{} segments of the published test part, {} of them anomalous, {} samples. Segments go down \
         whole, the highest score first; a bent pipe sends them in their order, so that a share of \
         the anomalous ones costs that share of the samples.\n",
        of.segments,
        of.anomalous,
        of.samples
    );
    line!(out, "| anomalous segments down | samples sent | bent pipe | times less |");
    line!(out, "|---|---|---|---|");
    for recall in [0.5, 0.8, 0.9, 0.95, 1.0] {
        if let Some(share) = of.share_for(recall) {
            line!(
                out,
                "| {:.0} % | {:.1} % | {:.1} % | {:.2} |",
                recall * 100.0,
                share * 100.0,
                recall * 100.0,
                recall / share
            );
        }
    }
    let (recall, share) = of.at_threshold;
    line!(
        out,
        "| {:.1} %, by the model's threshold | {:.1} % | {:.1} % | {:.2} |",
        recall * 100.0,
        share * 100.0,
        recall * 100.0,
        recall / share
    );
    line!(
        out,
        "\n{} of {} nominal segments are above the threshold.",
        of.false_alarms,
        of.segments - of.anomalous
    );
}

fn blocks(out: &mut String, measured: &Measured) {
    if measured.blocks.is_empty() {
        return;
    }
    line!(out, "\n### Recorded: packets\n");
    line!(
        out,
        "Blocks of {} packets, every one of which goes down: the codec's part alone.\n",
        crate::blocks::BLOCK_PACKETS
    );
    line!(out, "| recording | packets | raw | best other codec | ours | times less: codec |");
    line!(out, "|---|---|---|---|---|---|");
    for row in &measured.blocks {
        let (name, other) = row.other;
        line!(
            out,
            "| {} | {} | {} kB | {} kB ({name}) | {} kB | {:.2} |",
            row.recording,
            row.packets,
            row.raw / 1000,
            other / 1000,
            row.ours / 1000,
            other as f64 / row.ours as f64
        );
    }
}

fn scenes(out: &mut String, measured: &Measured) {
    let Some(of) = &measured.scenes else { return };
    let Some(agreement) = &of.agreement else { return };
    line!(out, "\n### Recorded: scenes\n");
    line!(
        out,
        "{} tiles of 64 x 64 pixels in four bands of 8 bits, cut from the five Sentinel-2 scenes. \
         Cloud is what {} says. The best other codec on them is {}.\n",
        of.tiles.len(),
        of.judge.as_deref().unwrap_or("the judge"),
        of.other
    );
    line!(out, "| scene | cloud, by the judge | by our screen | cells of the mask that agree |");
    line!(out, "|---|---|---|---|");
    for (index, seen) in agreement.iter().enumerate() {
        let percent = |share: f64| format!("{:.0} %", share * 100.0);
        line!(
            out,
            "| {} | {} | {} | {} |",
            index + 1,
            percent(seen.judge),
            percent(seen.ours),
            percent(seen.cells)
        );
    }
    curves(out, &of.tiles, of.others);
}

/// Bytes a tile by cloud fraction, and what each cause is worth.
fn curves(out: &mut String, tiles: &[Sent], other: usize) {
    line!(
        out,
        "\n| cloud | raw kB a tile | best other codec | our codec, all | sent | clear ground down \
         | times less | codec | discard | region |"
    );
    line!(out, "|---|---|---|---|---|---|---|---|---|---|");
    let mixes: Vec<Mix> = FRACTIONS.iter().filter_map(|of| mix(tiles, other, *of)).collect();
    for of in mixes {
        line!(
            out,
            "| {:.0} % | {:.2} | {:.2} | {:.2} | {:.2} | {:.1} % | **{:.2}** | {:.2} | {:.2} | {:.2} |",
            of.fraction * 100.0,
            of.raw / 1e3,
            of.other / 1e3,
            of.lossless / 1e3,
            of.sent / 1e3,
            of.recall * 100.0,
            of.factor(),
            of.codec(),
            of.discard(),
            of.region()
        );
    }
}

fn days(out: &mut String, measured: &Measured) {
    let (days, plan) = (&measured.days, &measured.plan);
    let Some(first) = days.first() else { return };
    line!(out, "\n### Generated days\n");
    line!(
        out,
        "{} days of {} h; {} over {}, {} contacts a day of {:.0} s together.",
        days.len(),
        plan.hours,
        plan.satellite,
        plan.station.split(',').next().unwrap_or_default(),
        first.contacts,
        first.contact_s
    );
    let tiles: Vec<Sent> = days.iter().flat_map(|day| day.tiles.iter().cloned()).collect();
    let other = measured.scenes.as_ref().map_or(0, |of| of.others);
    curves(out, &tiles, other);
    let sum = |at: usize| days.iter().map(|day| day.telemetry[at]).sum::<usize>() as f64 / 1e6;
    line!(
        out,
        "\nTelemetry: {:.1} MB of packets are {:.1} MB by {} and {:.1} MB by ours, all of which \
         goes down.\n",
        sum(0),
        sum(1),
        crate::day::BENT_PACKETS,
        sum(2)
    );
    line!(
        out,
        "| rate | capture to ground | things | MB | p50 | p99 | p50 in contact | p99 in contact \
         | left |"
    );
    line!(out, "|---|---|---|---|---|---|---|---|---|");
    (0..first.ways.len()).for_each(|at| way(out, days.iter().map(|day| &day.ways[at]).collect()));
    line!(out, "\n| day | fault | told on board after | on the ground after |\n|---|---|---|---|");
    for told in days.iter().flat_map(|day| &day.told) {
        let after = |at: Option<f64>| at.map_or("not told".to_owned(), span);
        let (onboard, ground) = (after(told.onboard_s), after(told.ground_s));
        line!(out, "| {} | {} | {onboard} | {ground} |", told.day, told.kind);
    }
    line!(out, "\n| day | anomalies told | outside of any fault | most often of |");
    line!(out, "|---|---|---|---|");
    for day in days {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        day.false_alarms.iter().for_each(|of| *counts.entry(of).or_default() += 1);
        let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let most: Vec<String> =
            counts.iter().take(4).map(|(name, count)| format!("{name} {count}")).collect();
        let (seed, told, false_alarms) = (day.seed, day.anomalies, day.false_alarms.len());
        line!(out, "| {seed} | {told} | {false_alarms} | {} |", most.join(", "));
    }
}

/// One kind of thing over all days.
fn way(out: &mut String, ways: Vec<&Way>) {
    let sum = |of: fn(&Way) -> usize| ways.iter().map(|way| of(way)).sum::<usize>();
    let count = sum(|way| way.count);
    if count == 0 {
        return;
    }
    let both = |of: fn(&Way) -> &Vec<f64>| {
        let mut all: Vec<f64> = ways.iter().flat_map(|way| of(way)).copied().collect();
        match (quantile(&mut all, 0.5), quantile(&mut all, 0.99)) {
            (Some(p50), Some(p99)) => format!("{} | {}", span(p50), span(p99)),
            _ => "- | -".to_owned(),
        }
    };
    line!(
        out,
        "| {} kbit/s | {} | {count} | {:.1} | {} | {} | {} |",
        ways[0].rate_bit_s / 1e3,
        ways[0].what,
        sum(|way| way.bytes) as f64 / 1e6,
        both(|way| &way.all_s),
        both(|way| &way.contact_wait_excluded_s),
        sum(|way| way.left)
    );
}

/// Seconds as people read them.
fn span(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.1} s"),
        ..7200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}
