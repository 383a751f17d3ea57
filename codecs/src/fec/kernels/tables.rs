//! The constants of the syndrome check.
//!
//! A codeword c is clean where c(x) is 0 at every root x = (α^11)^j of the generator. With its 255
//! symbols cut into five rows of 51, symbol 51 s + p counted from the front weighs
//!
//! ```text
//! x^(254 - 51 s - p)  =  (x^51)^(4 - s) · x^(50 - p)
//! ```
//!
//! and x^51 has only five values, because (α^11)^255 is 1. So rows are summed first, for five
//! values instead of 32, and only 51 sums, not 255 symbols, are weighed for each root: 2,600
//! multiplications a codeword instead of 8,160. Interleaved codewords stand side by side in a
//! register and need no sorting.
//!
//! Multiplying by a constant is one instruction that takes the constant as a matrix of bits, in
//! whatever basis the symbols are. Weights differ from symbol to symbol; the instruction for that
//! works in the field of x^8 + x^4 + x^3 + x + 1, which is the same field in other names.

use crate::fec::field::{FROM_DUAL, ORDER, TO_DUAL, entry, power, times};
use crate::fec::reed_solomon::block::MAX_BLOCK_BYTES;
use crate::fec::reed_solomon::{Basis, Code, ROOT_STEP};
use alloc::boxed::Box;

/// Rows of a codeword, and values of x^51.
pub(super) const ROWS: usize = 5;
/// Symbols of a row.
pub(super) const ROW_SYMBOLS: usize = 51;
/// A block, and what a register may read behind it.
pub(super) const MAX_PADDED_BYTES: usize = MAX_BLOCK_BYTES + 64;

/// A multiplication by a constant as a matrix of bits.
pub(super) type Matrix = u64;

/// Of a register's bytes; aligned, as a load across two lines of the cache is two.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Weights(pub(super) [u8; 64]);

#[derive(Debug)]
pub(super) struct Tables {
    pub(super) interleave: usize,
    /// Multiplication by the five values of x^51, in the basis of the symbols.
    pub(super) rows: [Matrix; ROWS],
    /// From the basis of the symbols to the other field.
    pub(super) convert: Matrix,
    /// Which of the five values belongs to the first root; they go round from there on.
    pub(super) first_row: usize,
    /// In the other field: for each root, for each register of a row, the weights of its bytes;
    /// zeros where the row has ended.
    pub(super) weights: Box<[Weights]>,
    /// Back from the other field to the conventional basis.
    pub(super) back: Matrix,
    /// In the other field: for each place of a codeword, 1/X, X its locator (α^11)^(254 - place).
    pub(super) inverses: [u8; 256],
    /// In the other field: for each place, X^(1 - first root - 2E).
    pub(super) scales: [u8; 256],
    /// In the other field: the first to fifth powers of 1/X for the first 51 places; halves of 32.
    pub(super) powers: [[[u8; 32]; ROWS]; 2],
    /// In the other field: multiplication by the five values of x^51.
    pub(super) turns: [Matrix; ROWS],
}

impl Tables {
    /// Constants for registers of so many bytes. Of each, whole rows are used, as many as a power
    /// of two says.
    pub(super) fn new(code: Code, interleave: usize, register_bytes: usize) -> Self {
        let used = interleave << (register_bytes / interleave).ilog2();
        let first_root = code.strength.first_root();
        let to_element = |symbol: u8| match code.basis {
            Basis::Dual => entry(&FROM_DUAL, symbol),
            Basis::Conventional => symbol,
        };
        let to_symbol = |element: u8| match code.basis {
            Basis::Dual => entry(&TO_DUAL, element),
            Basis::Conventional => element,
        };
        let mut rows = [0; ROWS];
        for (n, row) in rows.iter_mut().enumerate() {
            let value = power(ROOT_STEP * ROW_SYMBOLS * n);
            *row = matrix(|symbol| to_symbol(times(to_element(symbol), value)));
        }
        let other = Other::new();
        let named: [u8; 256] = core::array::from_fn(|element| other.element(element as u8));
        let convert = matrix(|symbol| entry(&named, to_element(symbol)));
        let row_bytes = ROW_SYMBOLS * interleave;
        let registers = row_bytes.div_ceil(used);
        let weights = (0..code.strength.parity()).flat_map(|root| {
            let exponent = ROOT_STEP * (first_root + root);
            let named = &named;
            (0..registers).map(move |register| {
                let mut weights = [0; 64];
                for (byte, weight) in weights.iter_mut().enumerate().take(used) {
                    let at = register * used + byte;
                    if at < row_bytes {
                        let symbol = at / interleave;
                        *weight = entry(named, power(exponent * (ROW_SYMBOLS - 1 - symbol)));
                    }
                }
                Weights(weights)
            })
        });
        let mut elements = [0; 256];
        for element in 0..=u8::MAX {
            if let Some(back) = elements.get_mut(usize::from(entry(&named, element))) {
                *back = element;
            }
        }
        let back = matrix(|name| entry(&elements, name));
        let turn = |n| {
            matrix(|name| {
                let element = entry(&elements, name);
                entry(&named, times(element, power(ROOT_STEP * ROW_SYMBOLS * n)))
            })
        };
        let mut powers = [[[0; 32]; ROWS]; 2];
        for (half, powers) in powers.iter_mut().enumerate() {
            for (n, powers) in (1..).zip(powers) {
                for (place, value) in (32 * half..ROW_SYMBOLS).zip(powers) {
                    *value = entry(&named, power(ROOT_STEP * (place + 1) * n));
                }
            }
        }
        let (mut inverses, mut scales) = ([0; 256], [0; 256]);
        let places = inverses.iter_mut().zip(&mut scales).take(ORDER);
        for (place, (inverse, scale)) in places.enumerate() {
            let exponent = ROOT_STEP * (ORDER - 1 - place) % ORDER;
            *inverse = entry(&named, power(ORDER - exponent));
            let lowered = first_root + code.strength.parity() - 1;
            *scale = entry(&named, power(exponent * (ORDER - lowered)));
        }
        Self {
            interleave,
            rows,
            convert,
            first_row: first_root % ROWS,
            weights: weights.collect(),
            back,
            inverses,
            scales,
            powers,
            turns: core::array::from_fn(turn),
        }
    }
}

/// The matrix of a linear function: byte 7 - i holds which bits of the argument make bit i.
fn matrix(function: impl Fn(u8) -> u8) -> Matrix {
    (0..8).fold(0, |matrix, i| {
        let row = (0..8).fold(0, |row, k| row | (function(1 << k) >> i & 1) << k);
        matrix | u64::from(row) << (8 * (7 - i))
    })
}

/// The field of x^8 + x^4 + x^3 + x + 1.
struct Other {
    /// Its element that is a root of the codes' field polynomial: what α is called there.
    alpha: u8,
}

impl Other {
    fn new() -> Self {
        // x^8 + x^7 + x^2 + x + 1 has eight roots; any of them will do.
        let is_root = |x: &u8| {
            let (square, seventh) = (Self::times(*x, *x), Self::power(*x, 7));
            Self::times(seventh, *x) ^ seventh ^ square ^ *x ^ 1 == 0
        };
        Self { alpha: (2..=u8::MAX).find(is_root).unwrap_or_default() }
    }

    fn times(a: u8, b: u8) -> u8 {
        const POLYNOMIAL: u8 = 0x1B;
        let double = |x: u8| x << 1 ^ if x & 0x80 == 0 { 0 } else { POLYNOMIAL };
        (0..8).rev().fold(0, |sum, bit| double(sum) ^ if b >> bit & 1 == 0 { 0 } else { a })
    }

    fn power(x: u8, exponent: u32) -> u8 {
        (0..exponent).fold(1, |product, _| Self::times(product, x))
    }

    /// What an element of the codes' field is called here.
    fn element(&self, element: u8) -> u8 {
        (0..8).rev().fold(0, |sum, bit| Self::times(sum, self.alpha) ^ (element >> bit & 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fec::field::multiply;

    #[test]
    fn the_other_field_is_the_same() {
        let other = Other::new();
        assert_ne!(other.alpha, 0);
        for a in 0..=255u8 {
            for b in [0, 1, 2, 3, 0x53, 0x80, 0xCA, 0xFF, a] {
                let (x, y) = (other.element(a), other.element(b));
                assert_eq!(Other::times(x, y), other.element(multiply(a, b)));
            }
        }
        // FIPS 197 §4.2.
        assert_eq!(Other::times(0x57, 0x83), 0xC1);
    }

    #[test]
    fn rows_go_round_after_five() {
        assert_eq!(power(ROOT_STEP * ROW_SYMBOLS * ROWS), 1);
        assert_eq!(matrix(|x| x), 0x0102_0408_1020_4080, "the identity as the instruction has it");
    }
}
