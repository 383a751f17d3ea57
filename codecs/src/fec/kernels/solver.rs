//! The errors of one codeword with AVX2 and GFNI: the twin of `reed_solomon::solve`, with a whole
//! polynomial in a register, and 32 places of the codeword tried at a time.
//!
//! Everything is computed in the other field of `tables`. Berlekamp and Massey's algorithm runs
//! without division, so that the locator comes out with a factor, which Forney's ratio cancels.

#![allow(clippy::indexing_slicing, reason = "indices count symbols of arrays beside")]

use super::tables::Tables;
use super::x86::has_bytes32;
use crate::fec::reed_solomon::solve::{Error, Errors, MAX_ERRORS};
use crate::fec::reed_solomon::{MAX_PARITY_BYTES, Strength};
use core::arch::x86_64::*;

/// The matrix that changes nothing.
const IDENTITY: i64 = 0x0102_0408_1020_4080;

/// Finds the errors that explain the syndromes, or `None` where no correctable number does.
pub(super) fn solve(
    tables: &Tables,
    strength: Strength,
    syndromes: &[u8; MAX_PARITY_BYTES],
) -> Option<Errors> {
    assert!(has_bytes32(), "chosen where the processor has it");
    // SAFETY: the processor has the features.
    unsafe { find(tables, strength, load(syndromes)) }
}

#[target_feature(enable = "avx2,gfni")]
fn find(tables: &Tables, strength: Strength, syndromes: __m256i) -> Option<Errors> {
    let (locator, degree) = locator(strength, syndromes)?;
    let mut coefficients = [0; 32];
    store(&mut coefficients, locator);

    // Chien: the locator at 1/X for all places.
    let mut roots = [0u32; 8];
    for (roots, inverses) in roots.iter_mut().zip(tables.inverses.as_chunks().0) {
        let inverses = load(inverses);
        let mut sum = _mm256_setzero_si256();
        for coefficient in coefficients[..=degree].iter().rev() {
            let scaled = _mm256_gf2p8mul_epi8(sum, inverses);
            sum = _mm256_xor_si256(scaled, _mm256_set1_epi8(*coefficient as i8));
        }
        let zero = _mm256_cmpeq_epi8(sum, _mm256_setzero_si256());
        *roots = _mm256_movemask_epi8(zero) as u32;
    }
    let count: u32 = roots.iter().map(|roots| roots.count_ones()).sum();
    if count as usize != degree {
        return None;
    }
    let (mut found, mut inverses, mut scales) =
        ([Error::default(); MAX_ERRORS], [0; MAX_ERRORS], [0; MAX_ERRORS]);
    let mut next = 0;
    for (group, mut bits) in roots.into_iter().enumerate().rev() {
        while bits != 0 {
            let bit = 31 - bits.leading_zeros();
            bits ^= 1 << bit;
            let at = 32 * group + bit as usize;
            (found[next].at, inverses[next], scales[next]) =
                (at, tables.inverses[at], tables.scales[at]);
            next += 1;
        }
    }

    // Forney: the product of syndromes and locator below x^degree, over the locator's derivative.
    let (mut evaluator, mut shifted) = (_mm256_setzero_si256(), syndromes);
    for coefficient in &coefficients[..degree] {
        let scaled = _mm256_gf2p8mul_epi8(shifted, _mm256_set1_epi8(*coefficient as i8));
        evaluator = _mm256_xor_si256(evaluator, scaled);
        shifted = later(shifted);
    }
    let mut evaluators = [0; 32];
    store(&mut evaluators, evaluator);
    let inverses = load_half(&inverses);
    let mut numerator = _mm_setzero_si128();
    for coefficient in evaluators[..degree].iter().rev() {
        let scaled = _mm_gf2p8mul_epi8(numerator, inverses);
        numerator = _mm_xor_si128(scaled, _mm_set1_epi8(*coefficient as i8));
    }
    let squares = _mm_gf2p8mul_epi8(inverses, inverses);
    let mut derivative = _mm_setzero_si128();
    for coefficient in coefficients[1..=degree].iter().step_by(2).rev() {
        let scaled = _mm_gf2p8mul_epi8(derivative, squares);
        derivative = _mm_xor_si128(scaled, _mm_set1_epi8(*coefficient as i8));
    }
    let quotient = _mm_gf2p8affineinv_epi64_epi8(derivative, _mm_set1_epi64x(IDENTITY), 0);
    let values = _mm_gf2p8mul_epi8(_mm_gf2p8mul_epi8(numerator, quotient), load_half(&scales));
    let values = _mm_gf2p8affine_epi64_epi8(values, _mm_set1_epi64x(tables.back as i64), 0);
    let mut bytes = [0u8; 16];
    // SAFETY: 16 bytes.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), values) };
    for (error, value) in found.iter_mut().zip(bytes).take(degree) {
        if value == 0 {
            return None;
        }
        error.value = value;
    }
    Some(Errors::from_found(found, degree))
}

/// The shortest recurrence of the syndromes, up to a factor, and its length.
#[target_feature(enable = "avx2,gfni")]
fn locator(strength: Strength, syndromes: __m256i) -> Option<(__m256i, usize)> {
    // Backwards and with zeros behind, so that the n-th window holds the n-th syndrome first.
    let mut forwards = [0; 32];
    store(&mut forwards, syndromes);
    let mut backwards = [0; 64];
    for (to, from) in backwards[..32].iter_mut().rev().zip(forwards) {
        *to = from;
    }
    let one = _mm256_zextsi128_si256(_mm_cvtsi32_si128(1));
    let (mut current, mut previous) = (one, one);
    let (mut length, mut last) = (0, 1u8);
    for n in 0..strength.parity() {
        previous = later(previous);
        // SAFETY: n is at most 31, so that the window ends within 63 bytes.
        let window = unsafe { _mm256_loadu_si256(backwards.as_ptr().add(31 - n).cast()) };
        let discrepancy = sum(_mm256_gf2p8mul_epi8(current, window));
        if discrepancy == 0 {
            continue;
        }
        let scaled = _mm256_gf2p8mul_epi8(current, _mm256_set1_epi8(last as i8));
        let other = _mm256_gf2p8mul_epi8(previous, _mm256_set1_epi8(discrepancy as i8));
        if 2 * length <= n {
            (length, last, previous) = (n + 1 - length, discrepancy, current);
            if length > strength.correctable() {
                return None;
            }
        }
        current = _mm256_xor_si256(scaled, other);
    }
    (length > 0).then_some((current, length))
}

/// A polynomial times x; what passes x^31 is dropped.
#[target_feature(enable = "avx2")]
fn later(polynomial: __m256i) -> __m256i {
    let carried = _mm256_permute2x128_si256::<0x08>(polynomial, polynomial);
    _mm256_alignr_epi8::<15>(polynomial, carried)
}

/// All bytes, added.
#[target_feature(enable = "avx2")]
fn sum(bytes: __m256i) -> u8 {
    let halves = _mm256_extracti128_si256::<1>(bytes);
    let sum = _mm_xor_si128(_mm256_castsi256_si128(bytes), halves);
    let sum = _mm_cvtsi128_si64(_mm_xor_si128(sum, _mm_unpackhi_epi64(sum, sum)));
    let sum = sum ^ sum >> 32;
    let sum = sum ^ sum >> 16;
    (sum ^ sum >> 8) as u8
}

#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: 32 bytes.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
fn load_half(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: 16 bytes.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
fn store(bytes: &mut [u8; 32], value: __m256i) {
    // SAFETY: 32 bytes.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), value) }
}
