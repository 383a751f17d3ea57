//! Prices of what antennas share, and the bound they give (Lagrangian relaxation).
//!
//! Two things couple antennas: a spacecraft hears one at a time, and what it gets beyond its need
//! is worth less. With a price on each instant of a spacecraft, and one on each of its seconds, all
//! antennas can be planned alone, exactly; whatever the prices, the sum is not below the worth of
//! any plan. Subgradient steps lower it.

use super::{chain::Line, problem::Problem};

/// Candidates times steps that are worth waiting for.
const WORK: usize = 40_000_000;
/// Steps without a lower bound after which the step is halved.
const PATIENCE: usize = 12;
/// A usual contact: scales the price of a second against that of an instant.
const CONTACT_S: f64 = 300.0;

/// Instants at which one spacecraft is in view of several antennas.
struct Instants {
    /// Of each candidate: which instants it covers, among all.
    covered: Vec<(usize, usize)>,
    count: usize,
}

impl Instants {
    /// For each spacecraft the starts of candidates behind which the next event is an end: every
    /// two candidates that exclude each other share one.
    fn new(problem: &Problem) -> Self {
        let mut of: Vec<Vec<usize>> = vec![Vec::new(); problem.demands.len()];
        for (id, candidate) in problem.candidates.iter().enumerate() {
            if !problem.demands[candidate.satellite].several {
                of[candidate.satellite].push(id);
            }
        }
        let mut covered = vec![(0, 0); problem.candidates.len()];
        let mut count = 0;
        for (ids, demand) in of.iter().zip(&problem.demands) {
            let end = |id: &usize| problem.candidates[*id].to + demand.switch_ns;
            let mut starts: Vec<i64> = ids.iter().map(|id| problem.candidates[*id].from).collect();
            starts.sort_unstable();
            starts.dedup();
            let mut ends: Vec<i64> = ids.iter().map(end).collect();
            ends.sort_unstable();
            let last = starts.last().copied();
            let kept: Vec<i64> = starts
                .iter()
                .zip(starts.iter().skip(1))
                .filter(|(this, next)| {
                    ends.get(ends.partition_point(|end| end <= this)).is_some_and(|e| e <= next)
                })
                .map(|(this, _)| *this)
                .chain(last)
                .collect();
            for id in ids {
                let first = kept.partition_point(|at| *at < problem.candidates[*id].from);
                let beyond = kept.partition_point(|at| *at < end(id));
                covered[*id] = (count + first, count + beyond);
            }
            count += kept.len();
        }
        Self { covered, count }
    }
}

/// What the search for prices found.
pub struct Priced {
    /// No plan is worth more.
    pub bound: f64,
    /// The best plan that fell off on the way.
    pub plan: Vec<usize>,
    /// Worth of a second of each spacecraft at the lowest bound.
    pub second: Vec<f64>,
}

/// Lowers the bound, starting from the worth of a plan that is known.
pub fn search(problem: &Problem, lines: &[Line], known: f64) -> Priced {
    let instants = Instants::new(problem);
    let demands = &problem.demands;
    let mut second: Vec<f64> = demands.iter().map(|of| of.value).collect();
    let mut instant = vec![0.0f64; instants.count];
    let mut weights = vec![0.0; problem.candidates.len()];
    let mut found = Priced { bound: f64::INFINITY, plan: Vec::new(), second: second.clone() };
    let (mut best, mut scale, mut stale) = (known, 1.0, 0);
    let steps = (WORK / problem.candidates.len().max(1)).clamp(30, 400);
    for _ in 0..steps {
        let mut sums = vec![0.0; instants.count + 1];
        for (at, price) in instant.iter().enumerate() {
            sums[at + 1] = sums[at] + price;
        }
        for ((weight, of), (first, beyond)) in
            weights.iter_mut().zip(&problem.candidates).zip(&instants.covered)
        {
            *weight = second[of.satellite] * of.seconds - (sums[*beyond] - sums[*first]);
        }
        let mut bound: f64 = instant.iter().sum();
        for (demand, price) in demands.iter().zip(&second) {
            if demand.need_s.is_finite() {
                bound += (demand.value - price) * demand.need_s;
            }
        }
        let mut chosen = Vec::new();
        for line in lines {
            let (sum, chain) = line.best(problem, &weights);
            bound += sum;
            chosen.extend(chain);
        }
        let plan = repaired(problem, &chosen);
        let worth = problem.worth(plan.iter().copied());
        if found.plan.is_empty() || worth > best {
            (best, found.plan) = (best.max(worth), plan);
        }
        if bound < found.bound - 1e-9 * bound.abs() {
            (found.bound, stale) = (bound, 0);
            found.second.clone_from(&second);
        } else {
            stale += 1;
            if stale == PATIENCE {
                (scale, stale) = (scale / 2.0, 0);
            }
        }
        if bound - best <= 1e-9 * bound.abs() || scale < 1e-4 {
            break;
        }
        if !step(problem, &instants, &chosen, (bound - best) * scale, &mut second, &mut instant) {
            break;
        }
    }
    found
}

/// Moves the prices against what was taken too much or too little of; whether anything was.
fn step(
    problem: &Problem,
    instants: &Instants,
    chosen: &[usize],
    length: f64,
    second: &mut [f64],
    instant: &mut [f64],
) -> bool {
    let mut over = vec![0i32; instants.count + 1];
    let mut seconds = vec![0.0; second.len()];
    for id in chosen {
        let (first, beyond) = instants.covered[*id];
        over[first] += 1;
        over[beyond] -= 1;
        seconds[problem.candidates[*id].satellite] += problem.candidates[*id].seconds;
    }
    let mut running = 0;
    let excess: Vec<f64> = over[..instants.count]
        .iter()
        .zip(instant.iter())
        .map(|(change, price)| {
            running += change;
            // A price of nothing on what nobody takes has nowhere to go.
            if running == 0 && *price == 0.0 { 0.0 } else { f64::from(running - 1) }
        })
        .collect();
    let lack: Vec<f64> = problem
        .demands
        .iter()
        .zip(&seconds)
        .map(
            |(demand, got)| {
                if demand.need_s.is_finite() { (got - demand.need_s) / CONTACT_S } else { 0.0 }
            },
        )
        .collect();
    let square: f64 = excess.iter().chain(&lack).map(|of| of * of).sum();
    if square == 0.0 {
        return false;
    }
    let step = length / square;
    for (price, excess) in instant.iter_mut().zip(excess) {
        *price = (*price + step * excess).max(0.0);
    }
    for ((price, lack), demand) in second.iter_mut().zip(lack).zip(&problem.demands) {
        let least = demand.value * demand.surplus;
        *price = (*price - step * lack / CONTACT_S).clamp(least, demand.value);
    }
    true
}

/// Of what the antennas took alone, for each spacecraft the part without overlap that is worth most.
fn repaired(problem: &Problem, chosen: &[usize]) -> Vec<usize> {
    let mut of: Vec<Vec<usize>> = vec![Vec::new(); problem.demands.len()];
    for id in chosen {
        of[problem.candidates[*id].satellite].push(*id);
    }
    let mut kept = Vec::new();
    for (mut ids, demand) in of.into_iter().zip(&problem.demands) {
        if demand.several {
            kept.extend(ids);
            continue;
        }
        ids.sort_by_key(|id| (problem.candidates[*id].to, *id));
        let mut sums = vec![0.0; ids.len() + 1];
        let mut before = vec![0; ids.len()];
        for (at, id) in ids.iter().enumerate() {
            let of = &problem.candidates[*id];
            let end = |id: &usize| problem.candidates[*id].to + demand.switch_ns <= of.from;
            before[at] = ids[..at].partition_point(end);
            sums[at + 1] = f64::max(sums[at], sums[before[at]] + of.seconds);
        }
        let mut at = ids.len();
        while at > 0 {
            if sums[at] == sums[at - 1] {
                at -= 1;
            } else {
                kept.push(ids[at - 1]);
                at = before[at - 1];
            }
        }
    }
    kept
}
