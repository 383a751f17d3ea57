//! The syndrome check with AVX-512 or AVX2, both with GFNI.
//!
//! Both follow the same steps: sum the rows of a register's worth of columns for the five values
//! of x^51, go over to the other field, weigh the sums for each root, fold each codeword's share
//! onto one byte. What is not 0 then is a syndrome of a dirty codeword.

#![allow(clippy::indexing_slicing, reason = "indices count registers and rows of arrays beside")]

use super::tables::{MAX_PADDED_BYTES, ROW_SYMBOLS, ROWS, Syndromes, Tables};
use crate::fec::reed_solomon::{CODEWORD_BYTES, MAX_PARITY_BYTES};
use core::arch::x86_64::*;
use std::is_x86_feature_detected;

/// Whether [`dirty64`] may be called.
pub(super) fn has_bytes64() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("gfni")
}

/// Whether [`dirty32`] may be called.
pub(super) fn has_bytes32() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("gfni")
}

/// Checks a block of whole codewords: a bit for each that is dirty, and their syndromes.
pub(super) fn dirty64(tables: &Tables, block: &[u8]) -> (u8, Syndromes) {
    assert!(block.len() >= tables.interleave * CODEWORD_BYTES, "whole codewords");
    assert!(has_bytes64(), "chosen where the processor has it");
    // SAFETY: the processor has the features; each depth has its number of registers a row, of
    // which `wide` reads no byte behind the block.
    unsafe {
        match tables.interleave {
            1 => wide::<1, 1>(tables, block),
            2 => wide::<2, 2>(tables, block),
            3 => wide::<3, 4>(tables, block),
            4 => wide::<4, 4>(tables, block),
            5 => wide::<5, 7>(tables, block),
            _ => wide::<8, 7>(tables, block),
        }
    }
}

/// Checks a block of whole codewords and what is behind: a bit for each codeword that is dirty,
/// and their syndromes.
pub(super) fn dirty32(tables: &Tables, block: &[u8; MAX_PADDED_BYTES]) -> (u8, Syndromes) {
    assert!(has_bytes32(), "chosen where the processor has it");
    // SAFETY: the processor has the features; reads end at most 31 bytes behind 255 rows of the
    // largest depth, and there are 64.
    unsafe {
        match tables.interleave {
            1 => narrow::<1, 2>(tables, block),
            2 => narrow::<2, 4>(tables, block),
            4 => narrow::<4, 7>(tables, block),
            _ => narrow::<8, 13>(tables, block),
        }
    }
}

/// A bit for each nonzero byte of the first `depth`.
fn flags(bytes: u64, depth: usize) -> u8 {
    let bytes = bytes.to_le_bytes();
    let dirty = bytes.iter().take(depth).zip(0u8..);
    dirty.fold(0, |flags, (byte, lane)| flags | u8::from(*byte != 0) << lane)
}

/// # Safety
/// `block` holds whole codewords of `DEPTH`, and `REGISTERS` is the number of registers that hold
/// a row of `DEPTH` codewords.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,gfni")]
unsafe fn wide<const DEPTH: usize, const REGISTERS: usize>(
    tables: &Tables,
    block: &[u8],
) -> (u8, Syndromes) {
    let row_bytes = ROW_SYMBOLS * DEPTH;
    let used = DEPTH << (64 / DEPTH).ilog2();
    let [_, rows @ ..] = tables.rows.map(|matrix| _mm512_set1_epi64(matrix as i64));
    let convert = _mm512_set1_epi64(tables.convert as i64);

    let mut sums = [[_mm512_setzero_si512(); REGISTERS]; ROWS];
    for register in 0..REGISTERS {
        let start = register * used;
        let mask = u64::MAX >> (64 - used.min(row_bytes - start));
        // SAFETY: the mask ends with the row, and five rows are the block.
        let load = |row: usize| unsafe {
            let from = block.as_ptr().add(row * row_bytes + start);
            _mm512_maskz_loadu_epi8(mask, from.cast())
        };
        let first = load(0);
        let mut sum = [first; ROWS];
        for row in 1..ROWS {
            let symbols = load(row);
            sum[0] = _mm512_xor_si512(sum[0], symbols);
            for (sum, matrix) in sum[1..].iter_mut().zip(rows) {
                *sum = _mm512_xor_si512(_mm512_gf2p8affine_epi64_epi8(*sum, matrix, 0), symbols);
            }
        }
        for (sums, sum) in sums.iter_mut().zip(sum) {
            sums[register] = _mm512_gf2p8affine_epi64_epi8(sum, convert, 0);
        }
    }

    let mut row = tables.first_row;
    let mut dirty = _mm512_setzero_si512();
    let mut syndromes = [[0; 8]; MAX_PARITY_BYTES];
    let groups = tables.weights.chunks_exact(8 * REGISTERS).zip(syndromes.as_chunks_mut::<8>().0);
    for (weights, syndromes) in groups {
        let mut roots = [_mm512_setzero_si512(); 8];
        for (root, weights) in roots.iter_mut().zip(weights.chunks_exact(REGISTERS)) {
            for (sum, weights) in sums[row].iter().zip(weights) {
                // SAFETY: the weights are 64 bytes.
                let weights = unsafe { _mm512_loadu_epi8(weights.as_ptr().cast()) };
                *root = _mm512_xor_si512(*root, _mm512_gf2p8mul_epi8(*sum, weights));
            }
            row = if row + 1 == ROWS { 0 } else { row + 1 };
        }
        let folded = if DEPTH.is_power_of_two() {
            fold_powers::<DEPTH>(roots)
        } else {
            fold_others::<DEPTH>(roots, used)
        };
        dirty = _mm512_or_si512(dirty, folded);
        // SAFETY: 64 bytes.
        unsafe { _mm512_storeu_epi8(syndromes.as_mut_ptr().cast(), folded) };
    }
    (flags(_mm512_reduce_or_epi64(dirty) as u64, DEPTH), syndromes)
}

/// The bytes of each root that belong to one codeword, added up, in the first bytes of eight; root
/// by root.
#[target_feature(enable = "avx512f,avx512bw")]
fn fold_powers<const DEPTH: usize>(roots: [__m512i; 8]) -> __m512i {
    // So that the eight come out in order.
    let [a, e, b, f, c, g, d, h] = roots;
    let halves = |x, y| {
        let low = _mm512_shuffle_i64x2::<0x44>(x, y);
        _mm512_xor_si512(low, _mm512_shuffle_i64x2::<0xEE>(x, y))
    };
    let quarters = |x, y| {
        let even = _mm512_shuffle_i64x2::<0x88>(x, y);
        _mm512_xor_si512(even, _mm512_shuffle_i64x2::<0xDD>(x, y))
    };
    let left = quarters(halves(a, b), halves(c, d));
    let right = quarters(halves(e, f), halves(g, h));
    let low = _mm512_unpacklo_epi64(left, right);
    let mut sum = _mm512_xor_si512(low, _mm512_unpackhi_epi64(left, right));
    if DEPTH <= 4 {
        sum = _mm512_xor_si512(sum, _mm512_srli_epi64::<32>(sum));
    }
    if DEPTH <= 2 {
        sum = _mm512_xor_si512(sum, _mm512_srli_epi64::<16>(sum));
    }
    if DEPTH <= 1 {
        sum = _mm512_xor_si512(sum, _mm512_srli_epi64::<8>(sum));
    }
    sum
}

/// The same for depths that are no power of two.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn fold_others<const DEPTH: usize>(roots: [__m512i; 8], used: usize) -> __m512i {
    let mut sums = roots;
    let mut half = used / 2;
    while half >= DEPTH {
        let places: [u8; 64] = core::array::from_fn(|byte| (byte + half) as u8 & 63);
        // SAFETY: 64 bytes.
        let places = unsafe { _mm512_loadu_epi8(places.as_ptr().cast()) };
        for sum in &mut sums {
            *sum = _mm512_xor_si512(*sum, _mm512_permutexvar_epi8(places, *sum));
        }
        half /= 2;
    }
    let words = sums.map(|sum| _mm_cvtsi128_si64(_mm512_castsi512_si128(sum)));
    // SAFETY: eight times eight bytes.
    unsafe { _mm512_loadu_epi64(words.as_ptr()) }
}

/// # Safety
/// `REGISTERS` is the number of registers that hold a row of `DEPTH` codewords.
#[target_feature(enable = "avx2,gfni")]
unsafe fn narrow<const DEPTH: usize, const REGISTERS: usize>(
    tables: &Tables,
    block: &[u8; MAX_PADDED_BYTES],
) -> (u8, Syndromes) {
    let row_bytes = ROW_SYMBOLS * DEPTH;
    let [_, rows @ ..] = tables.rows.map(|matrix| _mm256_set1_epi64x(matrix as i64));
    let convert = _mm256_set1_epi64x(tables.convert as i64);

    let mut sums = [[_mm256_setzero_si256(); REGISTERS]; ROWS];
    for register in 0..REGISTERS {
        // SAFETY: reads end within the padding. What they hold of the next row weighs nothing.
        let load = |row: usize| unsafe {
            _mm256_loadu_si256(block.as_ptr().add(row * row_bytes + register * 32).cast())
        };
        let first = load(0);
        let mut sum = [first; ROWS];
        for row in 1..ROWS {
            let symbols = load(row);
            sum[0] = _mm256_xor_si256(sum[0], symbols);
            for (sum, matrix) in sum[1..].iter_mut().zip(rows) {
                *sum = _mm256_xor_si256(_mm256_gf2p8affine_epi64_epi8(*sum, matrix, 0), symbols);
            }
        }
        for (sums, sum) in sums.iter_mut().zip(sum) {
            sums[register] = _mm256_gf2p8affine_epi64_epi8(sum, convert, 0);
        }
    }

    let mut row = tables.first_row;
    let mut dirty = _mm256_setzero_si256();
    let mut syndromes = [[0; 8]; MAX_PARITY_BYTES];
    let groups = tables.weights.chunks_exact(4 * REGISTERS).zip(syndromes.as_chunks_mut::<4>().0);
    for (weights, syndromes) in groups {
        let mut roots = [_mm256_setzero_si256(); 4];
        for (root, weights) in roots.iter_mut().zip(weights.chunks_exact(REGISTERS)) {
            for (sum, weights) in sums[row].iter().zip(weights) {
                // SAFETY: the weights are 64 bytes.
                let weights = unsafe { _mm256_loadu_si256(weights.as_ptr().cast()) };
                *root = _mm256_xor_si256(*root, _mm256_gf2p8mul_epi8(*sum, weights));
            }
            row = if row + 1 == ROWS { 0 } else { row + 1 };
        }
        let [a, b, c, d] = roots;
        let halves = |x, y| {
            let low = _mm256_permute2x128_si256::<0x20>(x, y);
            _mm256_xor_si256(low, _mm256_permute2x128_si256::<0x31>(x, y))
        };
        // So that the four come out in order.
        let (left, right) = (halves(a, c), halves(b, d));
        let low = _mm256_unpacklo_epi64(left, right);
        let mut sum = _mm256_xor_si256(low, _mm256_unpackhi_epi64(left, right));
        if DEPTH <= 4 {
            sum = _mm256_xor_si256(sum, _mm256_srli_epi64::<32>(sum));
        }
        if DEPTH <= 2 {
            sum = _mm256_xor_si256(sum, _mm256_srli_epi64::<16>(sum));
        }
        if DEPTH <= 1 {
            sum = _mm256_xor_si256(sum, _mm256_srli_epi64::<8>(sum));
        }
        dirty = _mm256_or_si256(dirty, sum);
        // SAFETY: 32 bytes.
        unsafe { _mm256_storeu_si256(syndromes.as_mut_ptr().cast(), sum) };
    }
    let mut words = [0u64; 4];
    // SAFETY: 32 bytes.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), dirty) };
    (flags(words.iter().fold(0, |all, word| all | word), DEPTH), syndromes)
}
