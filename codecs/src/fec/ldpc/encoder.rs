//! Encoders: systematic, by solving the checks for the parity.
//!
//! The standard gives generator matrices W = (P^-1 Q)^T of dense circulants (131.0-B-5 §7.4.3).
//! The same parity comes cheaper from the sparse matrix and one small dense inverse.

use super::Code;
use super::matrix::{Entry, Matrix};
use super::ring::{self, Poly, Square};
use alloc::vec;
use alloc::vec::Vec;

/// Encodes one code; holds its inverse and the working space, so that nothing is allocated per
/// codeword.
#[derive(Debug, Clone)]
pub struct Encoder {
    code: Code,
    matrix: Matrix,
    /// Maps sums of checks to parity blocks.
    solve: Square,
    /// C2: which generator (information block, parity block) is complemented.
    complemented: Vec<[bool; 2]>,
    blocks: Vec<Poly>,
    sums: Vec<Poly>,
    wide: Vec<u64>,
}

impl Encoder {
    /// Prepares a code: fractions of a second for the longest.
    pub fn new(code: Code) -> Self {
        let matrix = Matrix::of(code);
        let z = matrix.z;
        let mut encoder = Self {
            solve: solver(code, &matrix),
            blocks: vec![Poly::zero(z); matrix.columns],
            sums: vec![Poly::zero(z); 4],
            wide: vec![0; 2 * z.div_ceil(64) + 1],
            complemented: Vec::new(),
            code,
            matrix,
        };
        if matches!(code, Code::C2) {
            encoder.complemented = encoder.last_bits();
        }
        encoder
    }

    /// The code it encodes.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Encodes `info` bytes (most significant bit first) and gives the symbols in their order.
    /// Bits missing from `info` are zeros, bits too many are ignored: the length is the caller's
    /// to hold.
    pub fn encode(&mut self, info: &[u8], mut symbol: impl FnMut(bool)) {
        let (z, fill) = (self.matrix.z, self.code.fill_bits());
        self.blocks.iter_mut().for_each(Poly::clear);
        let bits = info.iter().flat_map(|byte| (0..8).rev().map(move |bit| (byte >> bit) & 1 == 1));
        for (place, bit) in bits.take(self.code.info_bits()).enumerate() {
            let place = place + fill;
            if let Some(block) = self.blocks.get_mut(place / z)
                && bit
            {
                block.flip(place % z);
            }
        }
        self.parity();
        let length = fill + self.code.symbols() - self.code.tail_symbols();
        for place in fill..length {
            symbol(self.blocks.get(place / z).is_some_and(|block| block.get(place % z)));
        }
        (0..self.code.tail_symbols()).for_each(|_| symbol(false));
    }

    /// Whether the last codeword, punctured bits included, satisfies the whole matrix.
    #[cfg(test)]
    pub(super) fn all_checks_hold(&self) -> bool {
        let z = self.matrix.z;
        self.matrix.holds(|at| self.blocks.get(at / z).is_some_and(|block| block.get(at % z)))
    }

    /// Fills the parity blocks in from the information blocks.
    fn parity(&mut self) {
        match self.code {
            Code::Ar4ja(..) => self.accumulate(),
            Code::C2 => {
                self.plain(14);
                for (block, complemented) in self.complemented.iter().enumerate() {
                    if self.blocks.get(block).is_some_and(Poly::is_odd) {
                        let parity = self.blocks.iter_mut().skip(14).zip(complemented);
                        parity.filter(|(_, is)| **is).for_each(|(poly, _)| poly.complement());
                    }
                }
            }
            Code::Tc128 | Code::Tc512 => self.plain(4),
        }
    }

    /// All parity at once: P^-1 times the sums of the information's checks.
    fn plain(&mut self, info_blocks: usize) {
        for (row, sum) in self.matrix.rows.iter().zip(&mut self.sums) {
            sum.clear();
            for entry in row.iter().filter(|entry| entry.column < info_blocks) {
                if let Some(block) = self.blocks.get(entry.column) {
                    sum.add_shifted(block, entry, &mut self.wide);
                }
            }
        }
        multiply(&self.solve, &self.sums, self.blocks.get_mut(info_blocks..), &mut self.wide);
    }

    /// AR4JA, its parity blocks p0, p1, p2 of M bits: the last rows of the matrix give p2 from a
    /// small inverse, then the middle rows give p1, then the first give p0.
    fn accumulate(&mut self) {
        let p0 = self.matrix.columns - 12;
        let (p1, p2) = (p0 + 4, p0 + 8);
        // p1 as far as the information determines it, so that the last rows see B u1.
        self.solve_row_group(4, p1);
        for (row, sum) in self.matrix.rows.iter().skip(8).zip(&mut self.sums) {
            sum.clear();
            for entry in row.iter().filter(|entry| entry.column < p2) {
                if let Some(block) = self.blocks.get(entry.column) {
                    sum.add_shifted(block, entry, &mut self.wide);
                }
            }
        }
        multiply(&self.solve, &self.sums, self.blocks.get_mut(p2..), &mut self.wide);
        self.solve_row_group(4, p1);
        self.solve_row_group(0, p0);
    }

    /// Sets the four blocks from `target` on, which the four rows from `row` on hold as
    /// identities, to what makes those rows even.
    fn solve_row_group(&mut self, row: usize, target: usize) {
        for (index, row) in self.matrix.rows.iter().skip(row).take(4).enumerate() {
            let Some(sum) = self.sums.get_mut(index) else { continue };
            sum.clear();
            for entry in row.iter().filter(|entry| entry.column != target + index) {
                if let Some(block) = self.blocks.get(entry.column) {
                    sum.add_shifted(block, entry, &mut self.wide);
                }
            }
        }
        for (block, sum) in self.blocks.iter_mut().skip(target).zip(&self.sums) {
            block.clone_from(sum);
        }
    }

    /// C2's parity has two free bits; the standard's generators have zeros in the last place of
    /// each first row. Which of ours have ones there (131.0-B-5 §7.3 and annex C).
    fn last_bits(&mut self) -> Vec<[bool; 2]> {
        let z = self.matrix.z;
        (0..14)
            .map(|block| {
                self.blocks.iter_mut().for_each(Poly::clear);
                if let Some(block) = self.blocks.get_mut(block) {
                    block.flip(0);
                }
                self.plain(14);
                [14, 15].map(|parity| self.blocks.get(parity).is_some_and(|p| p.get(z - 1)))
            })
            .collect()
    }
}

/// `target = matrix * vector`, as far as `target` goes.
fn multiply(matrix: &Square, vector: &[Poly], target: Option<&mut [Poly]>, wide: &mut [u64]) {
    for (row, target) in matrix.iter().zip(target.unwrap_or(&mut [])) {
        target.clear();
        for (factor, value) in row.iter().zip(vector) {
            target.add_product(factor, value, wide);
        }
    }
}

fn solver(code: Code, matrix: &Matrix) -> Square {
    let z = matrix.z;
    let columns = |rows: core::ops::Range<usize>, from: usize, count: usize| -> Square {
        let rows: Vec<Vec<Entry>> = rows.map(|row| matrix.part(row, from..from + count)).collect();
        ring::dense(z, count, &rows)
    };
    let inverse = match code {
        Code::Ar4ja(..) => {
            // p1 = u1 + A p2 and u2 + B p1 + p2 = 0 give (I + B A) p2 = u2 + B u1.
            let p2 = matrix.columns - 4;
            let mut sum = ring::product(z, &columns(8..12, p2 - 4, 4), &columns(4..8, p2, 4));
            for (row, identity) in sum.iter_mut().zip(columns(8..12, p2, 4)) {
                row.iter_mut().zip(&identity).for_each(|(sum, one)| sum.add(one));
            }
            ring::inverse(z, sum)
        }
        Code::Tc128 | Code::Tc512 => ring::inverse(z, columns(0..4, 4, 4)),
        Code::C2 => {
            // Two by two, singular on the component x = 1 alone: there all circulants have even
            // weight. Elsewhere the adjugate over the determinant.
            let d = columns(0..2, 14, 2);
            let at = |row: usize, column: usize| {
                d.get(row).and_then(|row| row.get(column)).cloned().unwrap_or(Poly::zero(z))
            };
            let mut determinant = at(0, 0).times(&at(1, 1));
            determinant.add(&at(0, 1).times(&at(1, 0)));
            let scale = determinant.inverse_beside_one();
            let adjugate = [[at(1, 1), at(0, 1)], [at(1, 0), at(0, 0)]];
            let rows = adjugate.map(|row| row.map(|poly| poly.times(&scale)).to_vec());
            Some(rows.to_vec())
        }
    };
    // The codes are constants: a test inverts every one of them.
    inverse.unwrap_or_default()
}
