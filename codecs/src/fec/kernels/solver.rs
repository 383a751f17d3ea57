//! The errors of one codeword with AVX2 and GFNI: the twin of `reed_solomon::solve`, with a whole
//! polynomial in registers, and a row of the codeword tried at a time.
//!
//! Everything is computed in the other field of `tables`. Berlekamp and Massey's algorithm runs
//! without division, so that locator and evaluator come out with a factor, which Forney's ratio
//! cancels.

#![allow(clippy::indexing_slicing, reason = "indices count symbols of arrays beside")]

use super::Syndromes;
use super::tables::{ROW_SYMBOLS, ROWS, Tables};
use crate::fec::reed_solomon::Strength;
use crate::fec::reed_solomon::solve::{Errors, MAX_ERRORS};
use core::arch::x86_64::*;

/// The matrix that changes nothing.
const IDENTITY: i64 = 0x0102_0408_1020_4080;
/// Coefficients of the longest locator.
const COEFFICIENTS: usize = MAX_ERRORS + 1;
/// Half of the places of a row, zeros behind.
type Half = [u8; 32];

/// Finds the errors that explain a codeword's syndromes, or `None` where no correctable number
/// does.
#[target_feature(enable = "avx2,gfni")]
pub(super) fn solve(
    tables: &Tables,
    strength: Strength,
    syndromes: &Syndromes,
    lane: usize,
) -> Option<Errors> {
    let Recurrence { cells, evaluator, degree } = recurrence(strength, syndromes, lane)?;
    let (_, cells) = cells.split_at(evaluator);
    let evaluator = cells.first_chunk::<MAX_ERRORS>()?;
    let locator = cells.get(strength.correctable()..)?.first_chunk::<COEFFICIENTS>()?;

    let roots = roots(tables, locator);
    let count: u32 = roots.iter().map(|roots| roots.count_ones()).sum();
    if count as usize != degree {
        return None;
    }
    let places = places(roots);
    let (mut inverses, mut scales) = ([0; MAX_ERRORS], [0; MAX_ERRORS]);
    for ((inverse, scale), place) in inverses.iter_mut().zip(&mut scales).zip(places) {
        let place = usize::from(place);
        (*inverse, *scale) = (tables.inverses[place], tables.scales[place]);
    }

    // Forney: the evaluator over the locator's derivative, which has even powers only.
    let inverses = load_half(&inverses);
    let squares = _mm_gf2p8mul_epi8(inverses, inverses);
    let [mut even, mut odd, mut derivative] = [_mm_setzero_si128(); 3];
    for n in (0..strength.correctable() / 2).rev() {
        let next = |sum, coefficient: u8| {
            let scaled = _mm_gf2p8mul_epi8(sum, squares);
            _mm_xor_si128(scaled, _mm_set1_epi8(coefficient as i8))
        };
        even = next(even, evaluator[2 * n]);
        odd = next(odd, evaluator[2 * n + 1]);
        derivative = next(derivative, locator[2 * n + 1]);
    }
    let numerator = _mm_xor_si128(even, _mm_gf2p8mul_epi8(odd, inverses));
    let quotient = _mm_gf2p8affineinv_epi64_epi8(derivative, _mm_set1_epi64x(IDENTITY), 0);
    let values = _mm_gf2p8mul_epi8(_mm_gf2p8mul_epi8(numerator, quotient), load_half(&scales));
    let values = _mm_gf2p8affine_epi64_epi8(values, _mm_set1_epi64x(tables.back as i64), 0);
    let zero = _mm_movemask_epi8(_mm_cmpeq_epi8(values, _mm_setzero_si128()));
    if zero.trailing_zeros() < degree as u32 {
        return None;
    }
    let mut bytes = [0u8; MAX_ERRORS];
    // SAFETY: 16 bytes.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), values) };
    Some(Errors::new(places, bytes, degree))
}

/// What [`recurrence`] finds.
struct Recurrence {
    cells: [u8; 64],
    /// The place of the evaluator in the cells; the locator follows E cells later.
    evaluator: usize,
    /// The locator's degree, if all its roots exist.
    degree: usize,
}

/// The shortest recurrence of the syndromes, if it is short enough.
///
/// In the cells stands the product of the locator so far and S(x) + x^3E, S the syndromes, without
/// its lowest powers: every step drops one more. The first cell always is the next discrepancy, so
/// that no step has to add up products. At the end, what is left of the product with S is what
/// stands above x^2E in it, which serves Forney as well as what stands below, and what is left of
/// the product with x^3E is the locator.
///
/// Cell n is byte n / 4 of register n mod 4: moving all to the cell before is a matter of names,
/// but for one register.
#[target_feature(enable = "avx2,gfni")]
fn recurrence(strength: Strength, syndromes: &Syndromes, lane: usize) -> Option<Recurrence> {
    let steps = strength.parity();
    let mut cells = sorted(syndromes, lane);
    // 3E is a multiple of 4.
    let mut top = [0; 16];
    top[(steps + strength.correctable()) / 4] = 1;
    cells[0] = _mm_xor_si128(cells[0], load_half(&top));
    let mut others = cells;
    let mut last = _mm_set1_epi8(1);
    let (mut length, mut step) = (0, 0);
    while step < steps {
        let discrepancy = _mm_broadcastb_epi8(cells[0]);
        let is_zero = _mm_cvtsi128_si32(cells[0]) as u8 == 0;
        if is_zero && begin_with_zeros(&cells, steps - step) {
            break;
        }
        let next = [cells[1], cells[2], cells[3], _mm_srli_si128::<1>(cells[0])];
        for ((cell, next), other) in cells.iter_mut().zip(next).zip(others) {
            let scaled = _mm_gf2p8mul_epi8(next, last);
            *cell = _mm_xor_si128(scaled, _mm_gf2p8mul_epi8(other, discrepancy));
        }
        if !is_zero && 2 * length <= step {
            (length, last, others) = (step + 1 - length, discrepancy, next);
            if length > strength.correctable() {
                return None;
            }
        }
        step += 1;
    }
    if length == 0 {
        return None;
    }
    Some(Recurrence { cells: in_order(cells), evaluator: steps - step, degree: length })
}

/// A codeword's syndromes as cells.
#[target_feature(enable = "avx2")]
fn sorted(syndromes: &Syndromes, lane: usize) -> [__m128i; 4] {
    let (fours, _) = syndromes.as_chunks::<4>();
    let away = _mm_cvtsi32_si128(8 * lane as i32);
    let byte = _mm256_set1_epi64x(0xFF);
    let mut all = _mm256_setzero_si256();
    for four in fours.iter().rev() {
        // SAFETY: four times eight bytes.
        let four = unsafe { _mm256_loadu_si256(four.as_ptr().cast()) };
        let values = _mm256_and_si256(_mm256_srl_epi64(four, away), byte);
        all = _mm256_or_si256(_mm256_slli_epi64::<8>(all), values);
    }
    let (low, high) = (_mm256_castsi256_si128(all), _mm256_extracti128_si256::<1>(all));
    let zeros = _mm_setzero_si128();
    let second = |pair| _mm_unpackhi_epi64(pair, zeros);
    [_mm_move_epi64(low), second(low), _mm_move_epi64(high), second(high)]
}

/// Whether the first `count` cells are 0.
#[target_feature(enable = "avx2")]
fn begin_with_zeros(cells: &[__m128i; 4], count: usize) -> bool {
    cells.iter().enumerate().all(|(n, cells)| {
        let zeros = _mm_movemask_epi8(_mm_cmpeq_epi8(*cells, _mm_setzero_si128()));
        zeros.trailing_ones() as usize >= (count + 3 - n) / 4
    })
}

#[target_feature(enable = "avx2")]
fn in_order([a, b, c, d]: [__m128i; 4]) -> [u8; 64] {
    let (ab, cd) = (_mm_unpacklo_epi8(a, b), _mm_unpacklo_epi8(c, d));
    let (first, second) = (_mm_unpacklo_epi16(ab, cd), _mm_unpackhi_epi16(ab, cd));
    let (ab, cd) = (_mm_unpackhi_epi8(a, b), _mm_unpackhi_epi8(c, d));
    let (third, fourth) = (_mm_unpacklo_epi16(ab, cd), _mm_unpackhi_epi16(ab, cd));
    let mut cells = [0; 64];
    let (quarters, _) = cells.as_chunks_mut::<16>();
    for (quarter, value) in quarters.iter_mut().zip([first, second, third, fourth]) {
        // SAFETY: 16 bytes.
        unsafe { _mm_storeu_si128(quarter.as_mut_ptr().cast(), value) };
    }
    cells
}

/// Chien's search: a bit for each place of each row whose locator's inverse is a root.
///
/// Place 51 s + p has the inverse (x^51)^s y, where x = α^11 and y belongs to p alone, and x^51
/// has only five values. So terms are summed by their power's remainder modulo 5 first, for 51
/// places, and the sums weighed by constants for each row.
#[target_feature(enable = "avx2,gfni")]
fn roots(tables: &Tables, locator: &[u8; COEFFICIENTS]) -> [u64; ROWS] {
    let mut roots = [0; ROWS];
    for half in 0..2 {
        let powers = &tables.powers[half];
        let fifths = load(&powers[ROWS - 1]);
        let sums: [__m256i; ROWS] = core::array::from_fn(|class| {
            let mut sum = _mm256_setzero_si256();
            for coefficient in locator[class..].iter().step_by(ROWS).rev() {
                let coefficient = _mm256_set1_epi8(*coefficient as i8);
                sum = _mm256_xor_si256(_mm256_gf2p8mul_epi8(sum, fifths), coefficient);
            }
            match class {
                0 => sum,
                _ => _mm256_gf2p8mul_epi8(sum, load(&powers[class - 1])),
            }
        });
        for (row, roots) in roots.iter_mut().enumerate() {
            let mut sum = sums[0];
            for (class, term) in sums.iter().enumerate().skip(1) {
                let matrix = _mm256_set1_epi64x(tables.turns[row * class % ROWS] as i64);
                let term = match row {
                    0 => *term,
                    _ => _mm256_gf2p8affine_epi64_epi8(*term, matrix, 0),
                };
                sum = _mm256_xor_si256(sum, term);
            }
            let zero = _mm256_cmpeq_epi8(sum, _mm256_setzero_si256());
            *roots |= u64::from(_mm256_movemask_epi8(zero) as u32) << (32 * half);
        }
    }
    roots.map(|roots| roots & (u64::MAX >> (64 - ROW_SYMBOLS)))
}

/// The places of the bits, from the highest; there are at most 16.
fn places(mut roots: [u64; ROWS]) -> [u8; MAX_ERRORS] {
    let mut places = [0; MAX_ERRORS];
    let mut next = 0;
    for (row, bits) in roots.iter_mut().enumerate().rev() {
        while *bits != 0 {
            let bit = 63 - bits.leading_zeros();
            *bits ^= 1 << bit;
            places[next] = (ROW_SYMBOLS * row) as u8 + bit as u8;
            next += 1;
        }
    }
    places
}

#[target_feature(enable = "avx2")]
fn load(bytes: &Half) -> __m256i {
    // SAFETY: 32 bytes.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
fn load_half(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: 16 bytes.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}
