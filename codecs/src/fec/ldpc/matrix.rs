//! Parity-check matrices as blocks of circulants.

use super::tables::{self, Blocks};
use super::{Code, Rate};
use alloc::vec::Vec;

/// One shifted identity: row `i` of its block has a one in column `(i + shift) mod z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Block of columns.
    pub column: usize,
    /// How far right the identity is shifted.
    pub shift: usize,
}

/// A parity-check matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    /// Side of a circulant.
    pub z: usize,
    /// Blocks of columns.
    pub columns: usize,
    /// The entries of each block of rows.
    pub rows: Vec<Vec<Entry>>,
}

impl Matrix {
    /// The matrix of a code.
    pub fn of(code: Code) -> Self {
        let z = code.circulant();
        match code {
            Code::Ar4ja(rate, _) => ar4ja(rate, z),
            Code::C2 => {
                let rows = tables::C2.iter().map(|row| {
                    let row = row.iter().enumerate();
                    row.flat_map(|(column, ones)| ones.map(|one| entry(column, one))).collect()
                });
                Self { z, columns: 16, rows: rows.collect() }
            }
            Code::Tc128 => telecommand(&tables::TC128, z),
            Code::Tc512 => telecommand(&tables::TC512, z),
        }
    }

    /// Whether all checks hold for a word of `columns * z` bits.
    pub fn holds(&self, mut bit: impl FnMut(usize) -> bool) -> bool {
        self.rows.iter().all(|row| {
            (0..self.z).all(|place| {
                let odd = row.iter().filter(|entry| bit(self.at(entry, place)));
                odd.count() % 2 == 0
            })
        })
    }

    /// The column of an entry in a row of its block.
    pub const fn at(&self, entry: &Entry, place: usize) -> usize {
        entry.column * self.z + (place + entry.shift) % self.z
    }

    /// The part of the matrix in these blocks of columns, counted from the first of them.
    pub(super) fn part(&self, row: usize, columns: core::ops::Range<usize>) -> Vec<Entry> {
        let row = self.rows.get(row).into_iter().flatten();
        row.filter(|entry| columns.contains(&entry.column))
            .map(|entry| Entry { column: entry.column - columns.start, ..*entry })
            .collect()
    }
}

fn entry(column: usize, shift: u16) -> Entry {
    Entry { column, shift: shift.into() }
}

fn telecommand(blocks: &Blocks, z: usize) -> Matrix {
    let rows = blocks.iter().map(|row| {
        let row = row.iter().enumerate();
        row.flat_map(|(column, shifts)| shifts.iter().map(move |shift| entry(column, *shift)))
            .collect()
    });
    Matrix { z, columns: 8, rows: rows.collect() }
}

/// The protograph of 131.0-B-5 §7.4.2.3: three rows of blocks of M, each the sum of these terms.
/// Term 0 is the identity, term k the permutation Pi_k.
///
/// Columns are counted from the end, so that the rates share what they share.
const SHARED: [&[(usize, &[usize])]; 3] = [
    &[(2, &[0]), (0, &[0, 1])],
    &[(4, &[0]), (3, &[0]), (1, &[0]), (0, &[2, 3, 4])],
    &[(4, &[0]), (3, &[5, 6]), (1, &[7, 8]), (0, &[0])],
];
const TWO_THIRDS: [&[(usize, &[usize])]; 3] =
    [&[], &[(6, &[9, 10, 11]), (5, &[0])], &[(6, &[0]), (5, &[12, 13, 14])]];
const FOUR_FIFTHS: [&[(usize, &[usize])]; 3] = [
    &[],
    &[(10, &[21, 22, 23]), (9, &[0]), (8, &[15, 16, 17]), (7, &[0])],
    &[(10, &[0]), (9, &[24, 25, 26]), (8, &[0]), (7, &[18, 19, 20])],
];

fn ar4ja(rate: Rate, z: usize) -> Matrix {
    let blocks = rate.info_blocks() + 3;
    let parts: &[_] = match rate {
        Rate::Half => &[SHARED],
        Rate::TwoThirds => &[TWO_THIRDS, SHARED],
        Rate::FourFifths => &[FOUR_FIFTHS, TWO_THIRDS, SHARED],
    };
    let mut rows = Vec::new();
    for row in 0..3 {
        for quarter in 0..4 {
            let mut entries = Vec::new();
            let terms = parts.iter().filter_map(|part| part.get(row)).copied().flatten();
            for (from_end, terms) in terms {
                let block = blocks - 1 - from_end;
                for term in terms.iter() {
                    let (quarter, shift) = permutation(*term, quarter, z);
                    entries.push(Entry { column: block * 4 + quarter, shift });
                }
            }
            rows.push(entries);
        }
    }
    Matrix { z, columns: blocks * 4, rows }
}

/// Where Pi_k sends the quarter `j` of its rows (131.0-B-5 §7.4.2.4):
/// pi_k(i) = M/4 ((theta_k + j) mod 4) + (phi_k(j, M) + i) mod M/4.
fn permutation(k: usize, j: usize, z: usize) -> (usize, usize) {
    let Some(k) = k.checked_sub(1) else { return (j, 0) };
    let theta = tables::THETA.get(k).copied().unwrap_or(0);
    // M = 4 z is 128 for the first table.
    let size = (z / 32).ilog2() as usize;
    let phi = tables::PHI.get(size).and_then(|table| table.get(j)).and_then(|row| row.get(k));
    ((usize::from(theta) + j) % 4, phi.copied().unwrap_or(0).into())
}
