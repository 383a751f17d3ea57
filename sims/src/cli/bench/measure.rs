//! How fast the simulator is, beside the crates that do the same: measured in one run, in turns.

use serde::Serialize;

use super::{orbits, world};

/// What was measured.
#[derive(Serialize)]
pub struct Figures {
    /// Orbits and contacts.
    pub orbits: Vec<Figure>,
    /// Worlds in simulated time.
    pub world: Vec<Figure>,
    /// Peers that are not there.
    pub skipped: Vec<String>,
}

/// One measurement: the median of several rounds.
#[derive(Serialize)]
pub struct Figure {
    /// What.
    pub name: &'static str,
    /// How much of it a second of processor time does.
    pub per_cpu_s: f64,
    /// Of what.
    pub unit: &'static str,
    /// The same of the peer, in turns with ours.
    pub peer_per_cpu_s: Option<f64>,
    /// Who that is.
    pub peer: Option<String>,
    /// The median of the rounds' ratios.
    pub ratio: Option<f64>,
}

/// Settings.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Rounds, of which the median counts.
    pub rounds: usize,
    /// Satellites of the search for contacts.
    pub satellites: usize,
    /// Stations of it.
    pub stations: usize,
    /// Connections that each send a little.
    pub connections: usize,
}

/// Measures everything; `told` is called with the name of what comes next.
///
/// # Errors
/// A world that can't be made.
pub fn run(load: Load, python: &str, mut told: impl FnMut(&str)) -> anyhow::Result<Figures> {
    let mut orbits = orbits::measure(load, &mut told);
    told("peers in Python");
    let (peers, skipped) = orbits::beside_python(python, load, &orbits);
    orbits.extend(peers);
    Ok(Figures { orbits, world: world::measure(load, told)?, skipped })
}

/// The middle of some numbers.
pub fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Two things that do the same, in turns: how many of it each does in a second of the processor.
pub fn beside(
    rounds: usize,
    name: &'static str,
    unit: &'static str,
    mut ours: impl FnMut() -> usize,
    peer: Option<(&'static str, &mut dyn FnMut() -> usize)>,
) -> Figure {
    let (peer_name, mut theirs) = peer.unzip();
    let (mut mine, mut other, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let rate = per_second(&mut ours);
        mine.push(rate);
        if let Some(theirs) = &mut theirs {
            let peer = per_second(theirs);
            other.push(peer);
            ratios.push(rate / peer);
        }
    }
    let known = peer_name.is_some();
    Figure {
        name,
        unit,
        per_cpu_s: median(mine),
        peer: peer_name.map(str::to_owned),
        peer_per_cpu_s: known.then(|| median(other)),
        ratio: known.then(|| median(ratios)),
    }
}

/// Processor time of this thread, seconds.
fn thread_s() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

fn per_second(work: &mut dyn FnMut() -> usize) -> f64 {
    let start = thread_s();
    let count = work();
    count as f64 / (thread_s() - start).max(1e-9)
}
