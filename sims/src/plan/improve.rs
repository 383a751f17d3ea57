//! Plans: the greedy one, and one that no single antenna can better.

use std::{cmp::Ordering, collections::BinaryHeap};

use super::{chain::Line, prices, problem::Problem};

/// Most rounds over all antennas.
const ROUNDS: usize = 24;

/// A plan and how good it is.
#[derive(Clone, Debug)]
pub struct Solution {
    /// Candidates, by start.
    pub chosen: Vec<usize>,
    /// What they are worth.
    pub worth: f64,
    /// What no plan of these candidates exceeds.
    pub bound: f64,
}

impl Solution {
    /// Share of the bound that the plan leaves, 0 to 1: the plan is that close to the best, or
    /// closer.
    pub fn gap(&self) -> f64 {
        if self.bound > 0.0 { ((self.bound - self.worth) / self.bound).max(0.0) } else { 0.0 }
    }
}

/// Finds a plan.
pub fn solve(problem: &Problem) -> Solution {
    let lines = Line::all(problem);
    let first = greedy(problem);
    let mut best = improved(problem, &lines, first, None);
    let mut worth = problem.worth(best.iter().copied());
    let priced = prices::search(problem, &lines, worth);
    for start in [&priced.plan, &best.clone()] {
        for prices in [None, Some(&priced.second[..])] {
            let plan = improved(problem, &lines, start.clone(), prices);
            let other = problem.worth(plan.iter().copied());
            if other > worth {
                (best, worth) = (plan, other);
            }
        }
    }
    best.sort_by(|a, b| problem.by_start(*a, *b));
    // Sums of the same numbers in another order differ in their last digits.
    let bound = priced.bound.max(worth);
    Solution { chosen: best, worth, bound }
}

/// A plan under way.
struct Draft<'a> {
    problem: &'a Problem,
    /// By antenna and by spacecraft, in time.
    antennas: Vec<Vec<usize>>,
    satellites: Vec<Vec<usize>>,
    seconds: Vec<f64>,
}

impl<'a> Draft<'a> {
    fn new(problem: &'a Problem) -> Self {
        Self {
            problem,
            antennas: vec![Vec::new(); problem.antennas.len()],
            satellites: vec![Vec::new(); problem.demands.len()],
            seconds: vec![0.0; problem.demands.len()],
        }
    }

    fn add(&mut self, id: usize) {
        let of = &self.problem.candidates[id];
        for list in [&mut self.antennas[of.antenna], &mut self.satellites[of.satellite]] {
            let at = list.partition_point(|have| self.problem.by_start(*have, id).is_lt());
            list.insert(at, id);
        }
        self.seconds[of.satellite] += of.seconds;
    }

    fn remove(&mut self, id: usize) {
        let of = &self.problem.candidates[id];
        self.antennas[of.antenna].retain(|have| *have != id);
        self.satellites[of.satellite].retain(|have| *have != id);
        self.seconds[of.satellite] -= of.seconds;
    }

    /// What of its spacecraft's contacts excludes a candidate. Contacts that exclude each other
    /// never stand side by side, so that these are neighbours.
    fn in_the_way(&self, id: usize) -> &[usize] {
        let of = &self.problem.candidates[id];
        let demand = &self.problem.demands[of.satellite];
        if demand.several {
            return &[];
        }
        let list = &self.satellites[of.satellite];
        let all = &self.problem.candidates;
        let first = list.partition_point(|have| all[*have].to + demand.switch_ns <= of.from);
        let beyond = list.partition_point(|have| all[*have].from < of.to + demand.switch_ns);
        list.get(first..beyond).unwrap_or_default()
    }

    /// Whether the antenna has room for a candidate.
    fn fits(&self, id: usize) -> bool {
        let of = &self.problem.candidates[id];
        let list = &self.antennas[of.antenna];
        let at = list.partition_point(|have| self.problem.by_start(*have, id).is_lt());
        let all = &self.problem.candidates;
        let before = at.checked_sub(1).and_then(|at| list.get(at));
        let after = list.get(at);
        before.is_none_or(|have| self.problem.follows(&all[*have], of))
            && after.is_none_or(|have| self.problem.follows(of, &all[*have]))
    }

    /// What a candidate adds in the place of what is in its way.
    fn gain(&self, id: usize) -> f64 {
        let of = &self.problem.candidates[id];
        let demand = &self.problem.demands[of.satellite];
        let have = self.seconds[of.satellite];
        let less: f64 =
            self.in_the_way(id).iter().map(|id| self.problem.candidates[*id].seconds).sum();
        demand.worth(have - less + of.seconds) - demand.worth(have)
    }

    fn all(&self) -> Vec<usize> {
        self.antennas.iter().flatten().copied().collect()
    }
}

struct Offer {
    gain: f64,
    id: usize,
}

impl Ord for Offer {
    fn cmp(&self, other: &Self) -> Ordering {
        self.gain.total_cmp(&other.gain).then(other.id.cmp(&self.id))
    }
}

impl PartialOrd for Offer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Offer {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Offer {}

/// Takes what adds most, again and again, and never gives anything up.
pub fn greedy(problem: &Problem) -> Vec<usize> {
    let mut draft = Draft::new(problem);
    let offer = |draft: &Draft<'_>, id| Offer { gain: draft.gain(id), id };
    let ids = 0..problem.candidates.len();
    let mut heap: BinaryHeap<Offer> = ids.map(|id| offer(&draft, id)).collect();
    while let Some(Offer { gain, id }) = heap.pop() {
        if !draft.in_the_way(id).is_empty() || !draft.fits(id) {
            continue;
        }
        // Gains only fall while contacts are added: one that fell goes back in its place.
        let now = draft.gain(id);
        if now <= 0.0 {
            continue;
        }
        if now < gain {
            heap.push(Offer { gain: now, id });
        } else {
            draft.add(id);
        }
    }
    draft.all()
}

/// Plans one antenna at a time anew against all others until none gets better. With prices a
/// second is worth these, which looks further ahead where needs are met.
fn improved(
    problem: &Problem,
    lines: &[Line],
    start: Vec<usize>,
    prices: Option<&[f64]>,
) -> Vec<usize> {
    let mut draft = Draft::new(problem);
    start.into_iter().for_each(|id| draft.add(id));
    let mut worth = problem.worth(draft.all());
    let mut weights = vec![0.0; problem.candidates.len()];
    for _ in 0..ROUNDS {
        let before = worth;
        for (antenna, line) in lines.iter().enumerate() {
            let old = draft.antennas[antenna].clone();
            old.iter().for_each(|id| draft.remove(*id));
            for id in line.items() {
                weights[*id] = match prices {
                    Some(prices) => {
                        let seconds = |id: &usize| problem.candidates[*id].seconds;
                        let less: f64 = draft.in_the_way(*id).iter().map(seconds).sum();
                        prices[problem.candidates[*id].satellite] * (seconds(id) - less)
                    }
                    None => draft.gain(*id),
                };
            }
            let (_, chain) = line.best(problem, &weights);
            let (mut given, mut taken) = (Vec::new(), Vec::new());
            for id in &chain {
                let others = draft.in_the_way(*id).to_vec();
                // Neighbours here that the antenna could do, but the spacecraft's own switch not.
                if others.iter().any(|other| problem.candidates[*other].antenna == antenna) {
                    continue;
                }
                others.iter().for_each(|other| draft.remove(*other));
                given.extend(others);
                draft.add(*id);
                taken.push(*id);
            }
            let now = problem.worth(draft.all());
            if now > worth * (1.0 + 1e-12) {
                worth = now;
                continue;
            }
            taken.iter().for_each(|id| draft.remove(*id));
            given.iter().chain(&old).for_each(|id| draft.add(*id));
        }
        if worth <= before {
            break;
        }
    }
    draft.all()
}
