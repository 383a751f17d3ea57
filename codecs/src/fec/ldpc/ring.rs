//! Polynomials over GF(2) modulo x^z + 1: a circulant is one of them, and so is a block of bits.

use super::matrix::Entry;
use alloc::vec;
use alloc::vec::Vec;

/// A polynomial; bit `i` is the coefficient of x^i.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poly {
    z: usize,
    words: Vec<u64>,
}

impl Poly {
    pub fn zero(z: usize) -> Self {
        Self { z, words: vec![0; z.div_ceil(64)] }
    }

    /// x^power.
    pub fn power(z: usize, power: usize) -> Self {
        let mut poly = Self::zero(z);
        poly.flip(power % z);
        poly
    }

    /// Multiplies as an entry does: bit `i` of the result is bit `i + shift`.
    pub fn of_entry(z: usize, entry: &Entry) -> Self {
        Self::power(z, z - entry.shift % z)
    }

    pub fn get(&self, place: usize) -> bool {
        self.words.get(place / 64).is_some_and(|word| (word >> (place % 64)) & 1 == 1)
    }

    pub fn flip(&mut self, place: usize) {
        if let Some(word) = self.words.get_mut(place / 64) {
            *word ^= 1 << (place % 64);
        }
    }

    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// The value at x = 1.
    pub fn is_odd(&self) -> bool {
        self.words.iter().fold(0, |sum, word| sum ^ word).count_ones() % 2 == 1
    }

    pub fn is_zero(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    pub fn add(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(ours, theirs)| *ours ^= theirs);
    }

    /// Adds the sum of all powers of x.
    pub fn complement(&mut self) {
        self.words.iter_mut().for_each(|word| *word = !*word);
        if let Some(last) = self.words.last_mut()
            && !self.z.is_multiple_of(64)
        {
            *last &= (1 << (self.z % 64)) - 1;
        }
    }

    fn ones(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(index, word)| {
            let mut left = *word;
            core::iter::from_fn(move || {
                (left != 0).then(|| {
                    let place = left.trailing_zeros() as usize;
                    left &= left - 1;
                    index * 64 + place
                })
            })
        })
    }

    pub fn times(&self, other: &Self) -> Self {
        let mut sum = Self::zero(self.z);
        sum.add_product(self, other, &mut vec![0; 2 * self.words.len() + 1]);
        sum
    }

    /// Adds `dense * sparse`, quickest where `sparse` has few terms. `wide` is working space of
    /// twice the words and one more.
    pub fn add_product(&mut self, dense: &Self, sparse: &Self, wide: &mut [u64]) {
        wide.fill(0);
        for place in sparse.ones() {
            let (word, bit) = (place / 64, place % 64);
            let Some(target) = wide.get_mut(word..=word + dense.words.len()) else { continue };
            let mut carry = 0;
            for (target, source) in
                target.iter_mut().zip(dense.words.iter().chain(core::iter::once(&0)))
            {
                *target ^= (source << bit) | carry;
                carry = if bit == 0 { 0 } else { source >> (64 - bit) };
            }
        }
        // x^z = 1: what lies beyond comes back in front.
        for place in 0..self.words.len() {
            let at = self.z + place * 64;
            let (word, bit) = (at / 64, at % 64);
            let low = wide.get(word).copied().unwrap_or(0) >> bit;
            let high = wide.get(word + 1).copied().unwrap_or(0);
            let beyond = if bit == 0 { low } else { low | (high << (64 - bit)) };
            let within = wide.get(place).copied().unwrap_or(0);
            // The last word also holds the first bits beyond.
            let keep = self.z - (place * 64).min(self.z);
            let mask = if keep >= 64 { u64::MAX } else { (1 << keep) - 1 };
            if let Some(sum) = self.words.get_mut(place) {
                *sum ^= (within ^ beyond) & mask;
            }
        }
    }

    /// Adds the bits of `source` as an entry shifts them.
    pub fn add_shifted(&mut self, source: &Self, entry: &Entry, wide: &mut [u64]) {
        self.add_product(source, &Self::of_entry(self.z, entry), wide);
    }

    fn squared(&self) -> Self {
        let mut square = Self::zero(self.z);
        self.ones().for_each(|place| square.flip(place * 2 % self.z));
        square
    }

    /// The product of self^(2^i) over `powers`.
    fn power_product(&self, powers: core::ops::Range<u32>) -> Self {
        let (mut product, mut square) = (Self::power(self.z, 0), self.clone());
        for power in 0..powers.end {
            if power >= powers.start {
                product = product.times(&square);
            }
            square = square.squared();
        }
        product
    }

    /// The inverse for z a power of two: self^z = self(1) = 1, so that self^(z-1) inverts.
    pub fn inverse_in_local_ring(&self) -> Option<Self> {
        (self.is_odd() && self.z.is_power_of_two())
            .then(|| self.power_product(0..self.z.trailing_zeros()))
    }

    /// For z = 2^n - 1: inverts on every component but x = 1. There x^z = 1 makes
    /// self^(2^n - 1) the unit, so that self^(2^n - 2) inverts.
    pub fn inverse_beside_one(&self) -> Self {
        self.power_product(1..(self.z + 1).trailing_zeros())
    }
}

/// A square matrix of circulants.
pub type Square = Vec<Vec<Poly>>;

/// Dense from entries.
pub fn dense(z: usize, columns: usize, rows: &[Vec<Entry>]) -> Square {
    rows.iter()
        .map(|row| {
            let mut sums = vec![Poly::zero(z); columns];
            for entry in row {
                if let Some(sum) = sums.get_mut(entry.column) {
                    sum.add(&Poly::of_entry(z, entry));
                }
            }
            sums
        })
        .collect()
}

/// `a * b`.
pub fn product(z: usize, a: &Square, b: &Square) -> Square {
    let width = b.first().map_or(0, Vec::len);
    a.iter()
        .map(|row| {
            let column = |index: usize| {
                row.iter().zip(b).fold(Poly::zero(z), |mut sum, (left, below)| {
                    if let Some(right) = below.get(index) {
                        sum.add(&left.times(right));
                    }
                    sum
                })
            };
            (0..width).map(column).collect()
        })
        .collect()
}

/// The inverse where z is a power of two. The ring is local there: an invertible matrix has an
/// invertible element in each column, and elimination finds it.
pub fn inverse(z: usize, matrix: Square) -> Option<Square> {
    let size = matrix.len();
    let mut rows: Vec<Vec<Poly>> = matrix
        .into_iter()
        .enumerate()
        .map(|(index, mut row)| {
            row.extend(
                (0..size).map(
                    |column| {
                        if column == index { Poly::power(z, 0) } else { Poly::zero(z) }
                    },
                ),
            );
            row
        })
        .collect();
    for column in 0..size {
        let found = (column..size)
            .find(|row| rows.get(*row).and_then(|row| row.get(column)).is_some_and(Poly::is_odd))?;
        rows.swap(column, found);
        let scale = rows.get(column)?.get(column)?.inverse_in_local_ring()?;
        let pivot: Vec<Poly> = rows.get(column)?.iter().map(|poly| poly.times(&scale)).collect();
        for (index, row) in rows.iter_mut().enumerate() {
            let Some(factor) = row.get(column).filter(|poly| !poly.is_zero()).cloned() else {
                continue;
            };
            if index != column {
                for (poly, pivot) in row.iter_mut().zip(&pivot) {
                    poly.add(&pivot.times(&factor));
                }
            }
        }
        *rows.get_mut(column)? = pivot;
    }
    Some(rows.into_iter().map(|mut row| row.split_off(size)).collect())
}
