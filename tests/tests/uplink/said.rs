//! What a flight came to: when each unit was captured and archived, goodput and latency.

use std::collections::{BTreeMap, BTreeSet};

/// How long it is flown.
pub const SECONDS: u64 = 40;
/// From when on units count: before that a world connects, and the real programs have connected.
const CONNECTED_S: f64 = 5.0;
/// Blocks of payload are larger, those of housekeeping smaller.
const PAYLOAD_BYTES: usize = 10_000;

/// A unit's way, seconds since the start.
#[derive(Clone, Copy, Debug)]
pub struct Unit {
    pub captured_s: f64,
    pub archived_s: f64,
    pub bytes: usize,
}

impl Unit {
    fn latency_s(&self) -> f64 {
        self.archived_s - self.captured_s
    }
}

/// What the flight came to.
#[derive(Debug)]
pub struct Said {
    goodput_bps: f64,
    p50_s: f64,
    units: Vec<Unit>,
}

impl Said {
    pub fn of(units: impl Iterator<Item = Unit>) -> Self {
        let counts = |of: &Unit| of.captured_s >= CONNECTED_S && of.archived_s < SECONDS as f64;
        let mut units: Vec<_> = units.filter(counts).collect();
        units.sort_by(|a, b| a.archived_s.total_cmp(&b.archived_s));
        Self { goodput_bps: goodput_bps(&units), p50_s: p50_s(&units), units }
    }

    /// By the first packet's time, in units of 0.1 ms.
    fn by_capture(&self) -> BTreeMap<(i64, bool), Unit> {
        let key = |of: &Unit| ((of.captured_s * 1e4).round() as i64, of.bytes > PAYLOAD_BYTES);
        self.units.iter().map(|of| (key(of), *of)).collect()
    }

    /// Prints both unit by unit: where they part is where to look.
    pub fn beside(&self, name: &str, real: &Self) {
        let (ours, theirs) = (self.by_capture(), real.by_capture());
        let keys: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
        println!("{name}: captured, simulated latency and bytes, real latency and bytes");
        for key in keys {
            let cell = |of: Option<&Unit>| {
                of.map_or_else(String::new, |of| format!("{:.4} s {}", of.latency_s(), of.bytes))
            };
            let (ours, theirs) = (cell(ours.get(key)), cell(theirs.get(key)));
            println!("{:8.4} s  {ours:16}  {theirs:16}", key.0 as f64 / 1e4);
        }
        println!(
            "{name}: simulated {:.0} bit/s, {:.3} s; real {:.0} bit/s, {:.3} s",
            self.goodput_bps, self.p50_s, real.goodput_bps, real.p50_s
        );
    }

    /// What they say differently by more than this share.
    pub fn apart(&self, name: &str, real: &Self, share: f64) -> Vec<String> {
        let of =
            [("goodput", self.goodput_bps, real.goodput_bps), ("latency", self.p50_s, real.p50_s)];
        let near = 1.0 - share..=1.0 + share;
        let apart = of.iter().filter(|(_, ours, theirs)| !near.contains(&(ours / theirs)));
        let told = apart.map(|(what, ours, theirs)| {
            format!("{name}: {what} is {ours:.3} simulated and {theirs:.3} real")
        });
        told.collect()
    }
}

/// From the arrival of the first block of payload to that of the last one, so that it does not hang
/// on how much of a block is left over at the end.
fn goodput_bps(units: &[Unit]) -> f64 {
    let mut payload = units.iter().filter(|of| of.bytes > PAYLOAD_BYTES);
    let (Some(first), Some(last)) = (payload.next(), payload.next_back()) else { return f64::NAN };
    let span = first.archived_s..=last.archived_s;
    let within = units.iter().filter(|of| span.contains(&of.archived_s));
    let bytes = within.map(|of| of.bytes).sum::<usize>() - first.bytes;
    8.0 * bytes as f64 / (last.archived_s - first.archived_s)
}

/// Latency that half of the bytes had at most, between the two blocks that the half lies between:
/// by units, small and large blocks being as many, it would be either.
fn p50_s(units: &[Unit]) -> f64 {
    let mut units = units.to_vec();
    units.sort_by(|a, b| a.latency_s().total_cmp(&b.latency_s()));
    let half = units.iter().map(|of| of.bytes).sum::<usize>() as f64 / 2.0;
    let (mut before, mut so_far) = ((0.0, f64::NAN), 0.0);
    for unit in &units {
        let here = (so_far + unit.bytes as f64 / 2.0, unit.latency_s());
        if here.0 >= half {
            let part = (half - before.0) / (here.0 - before.0);
            return before.1 + (here.1 - before.1) * part;
        }
        (before, so_far) = (here, so_far + unit.bytes as f64);
    }
    f64::NAN
}
