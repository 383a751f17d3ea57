//! Least squares that follow the picture: what weights would have predicted the rows before best.
//!
//! Both ends fit to samples that both have, so no weights are sent. They must come to the same
//! weights to the bit: plain additions, multiplications and divisions in a fixed order, which IEEE
//! 754 makes the same everywhere, and no function of a platform's library.

use alloc::{vec, vec::Vec};

/// Most values that a prediction weighs.
pub(super) const TAPS_MAX: usize = 20;

/// Values that are multiplied side by side.
pub(super) const LANES: usize = 8;

/// Normal equations with a memory that fades.
pub(super) struct Fit {
    taps: usize,
    /// Lower triangle of products of taps, row by row, and behind it products with the target.
    sums: Vec<f64>,
    weights: [f32; TAPS_MAX],
    /// What the weights are drawn to while there is little to learn from.
    prior: [f32; TAPS_MAX],
}

impl Fit {
    /// Weights to begin with, and those that learning begins from.
    pub fn new(first: &[f32], prior: &[f32]) -> Self {
        let taps = prior.len().min(TAPS_MAX);
        let sums = vec![0.0; taps * (taps + 3) / 2];
        Self { taps, sums, weights: spread(first), prior: spread(prior) }
    }

    pub fn weights(&self) -> &[f32; TAPS_MAX] {
        &self.weights
    }

    /// Takes in a row: each tap's values along it, and the values they should have given. All are
    /// filled up with zeros to whole [`LANES`].
    pub fn learn(&mut self, taps: &[Vec<f32>], target: &[f32], keep: f64) {
        let mut sums = self.sums.iter_mut();
        for (index, tap) in taps.iter().enumerate() {
            for (other, sum) in taps.iter().take(index + 1).zip(&mut sums) {
                *sum = *sum * keep + f64::from(product(tap, other));
            }
        }
        for (tap, sum) in taps.iter().zip(sums) {
            *sum = *sum * keep + f64::from(product(tap, target));
        }
    }

    /// Solves for the weights, by Cholesky's way without roots. Keeps the old ones where the
    /// equations say nothing.
    pub fn solve(&mut self) {
        let taps = self.taps;
        let (lower, right) = self.sums.split_at(taps * (taps + 1) / 2);
        let mut matrix = [[0.0f64; TAPS_MAX]; TAPS_MAX];
        let mut rest = lower;
        let mut trace = 0.0;
        for (index, row) in matrix.iter_mut().take(taps).enumerate() {
            let (own, after) = rest.split_at((index + 1).min(rest.len()));
            row.iter_mut().zip(own).for_each(|(place, sum)| *place = *sum);
            trace += own.last().copied().unwrap_or_default();
            rest = after;
        }
        let ridge = trace / taps.max(1) as f64 * 3e-4 + 1.0;
        let mut solution = [0.0f64; TAPS_MAX];
        for ((place, sum), prior) in solution.iter_mut().zip(right).zip(&self.prior) {
            *place = sum + ridge * f64::from(*prior);
        }
        for (index, row) in matrix.iter_mut().take(taps).enumerate() {
            if let Some(diagonal) = row.get_mut(index) {
                *diagonal += ridge;
            }
        }
        if eliminate(&mut matrix, &mut solution, taps).is_some() {
            for (weight, solved) in self.weights.iter_mut().zip(solution) {
                *weight = solved as f32;
            }
        }
    }
}

fn spread(weights: &[f32]) -> [f32; TAPS_MAX] {
    let mut all = [0.0; TAPS_MAX];
    all.iter_mut().zip(weights).for_each(|(place, weight)| *place = *weight);
    all
}

/// Solves a symmetric system in place, from its lower triangle: L D Lᵀ.
fn eliminate(
    matrix: &mut [[f64; TAPS_MAX]; TAPS_MAX],
    solution: &mut [f64; TAPS_MAX],
    taps: usize,
) -> Option<()> {
    let mut scaled = [0.0f64; TAPS_MAX];
    for column in 0..taps {
        let (above, below) = matrix.split_at_mut_checked(column + 1)?;
        let own = above.get(column)?;
        let diagonal = *own.get(column)?;
        // Not only zero: a pivot that is no number compares with nothing.
        if !(diagonal > 1e-9 && diagonal < 1e30) {
            return None;
        }
        let pivot = *solution.get(column)?;
        for (row, place) in below.iter().take(taps - column - 1).zip(&mut scaled) {
            *place = row.get(column)? / diagonal;
        }
        let firsts: [f64; TAPS_MAX] = {
            let mut firsts = [0.0; TAPS_MAX];
            for (row, place) in below.iter().take(taps - column - 1).zip(&mut firsts) {
                *place = *row.get(column)?;
            }
            firsts
        };
        let rows = below.iter_mut().take(taps - column - 1).zip(scaled).enumerate();
        for (index, (row, factor)) in rows {
            let entries = row.get_mut(column + 1..column + 2 + index)?;
            entries.iter_mut().zip(&firsts).for_each(|(entry, first)| *entry -= factor * first);
            *row.get_mut(column)? = factor;
            *solution.get_mut(column + 1 + index)? -= factor * pivot;
        }
    }
    for column in (0..taps).rev() {
        let diagonal = *matrix.get(column)?.get(column)?;
        let mut value = *solution.get(column)? / diagonal;
        for (row, solved) in matrix.iter().zip(solution.iter()).take(taps).skip(column + 1) {
            value -= row.get(column)? * solved;
        }
        *solution.get_mut(column)? = value;
    }
    Some(())
}

/// Sum of products, lane by lane and the lanes in order: an order that every machine can keep.
fn product(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0) {
        lanes.iter_mut().zip(a).zip(b).for_each(|((lane, a), b)| *lane += a * b);
    }
    lanes.iter().sum()
}
