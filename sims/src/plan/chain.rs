//! An antenna's own timetable: the chain of contacts that is worth most, exactly.

use super::problem::Problem;

/// The contacts that one antenna may have.
pub struct Line {
    antenna: usize,
    /// Candidates by start.
    items: Vec<usize>,
    /// Places in `items` by end.
    by_end: Vec<usize>,
}

impl Line {
    /// One for each antenna.
    pub fn all(problem: &Problem) -> Vec<Self> {
        let mut items = vec![Vec::new(); problem.antennas.len()];
        for (id, of) in problem.candidates.iter().enumerate() {
            items[of.antenna].push(id);
        }
        let line = |(antenna, mut items): (usize, Vec<usize>)| {
            items.sort_by(|a, b| problem.by_start(*a, *b));
            let mut by_end: Vec<usize> = (0..items.len()).collect();
            by_end.sort_by_key(|at| problem.candidates[items[*at]].to);
            Self { antenna, items, by_end }
        };
        items.into_iter().enumerate().map(line).collect()
    }

    /// The candidates, by start.
    pub fn items(&self) -> &[usize] {
        &self.items
    }

    /// The chain of greatest weight, in time, and its weight. Candidates without a weight above zero
    /// are left out. `weights` are by candidate.
    ///
    /// Every candidate takes the best chain that ends early enough. Those that end so early that
    /// even the longest slew fits are kept as one maximum; only the few that end after that are
    /// looked at one by one, with the slew that they really need.
    pub fn best(&self, problem: &Problem, weights: &[f64]) -> (f64, Vec<usize>) {
        let gear = &problem.antennas[self.antenna];
        let least = gear.setup_ns + gear.teardown_ns;
        let most = least + gear.mount.slew_ns_max();
        let mut sums = vec![0.0f64; self.items.len()];
        let mut before: Vec<Option<usize>> = vec![None; self.items.len()];
        let (mut early, mut best): (usize, Option<usize>) = (0, None);
        for (at, id) in self.items.iter().enumerate() {
            let of = &problem.candidates[*id];
            let ends = |place: &usize| problem.candidates[self.items[*place]].to;
            while let Some(place) = self.by_end.get(early).filter(|p| ends(p) + most <= of.from) {
                if best.is_none_or(|best| sums[*place] > sums[best]) {
                    best = Some(*place);
                }
                early += 1;
            }
            if weights[*id] <= 0.0 {
                continue;
            }
            let mut last = best;
            let near = self.by_end[early..].iter().take_while(|p| ends(p) + least <= of.from);
            for place in near {
                let better = last.is_none_or(|last| sums[*place] > sums[last]);
                let chained = &problem.candidates[self.items[*place]];
                if better && sums[*place] > 0.0 && problem.follows(chained, of) {
                    last = Some(*place);
                }
            }
            before[at] = last.filter(|last| sums[*last] > 0.0);
            sums[at] = weights[*id] + before[at].map_or(0.0, |last| sums[last]);
        }
        let mut end = (0..sums.len()).filter(|at| sums[*at] > 0.0).max_by(|a, b| {
            // Of equals the earlier, so that the order of the search decides nothing.
            sums[*a].total_cmp(&sums[*b]).then(b.cmp(a))
        });
        let sum = end.map_or(0.0, |end| sums[end]);
        let mut chain = Vec::new();
        while let Some(at) = end {
            chain.push(self.items[at]);
            end = before[at];
        }
        chain.reverse();
        (sum, chain)
    }
}
