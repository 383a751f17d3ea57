//! The syndrome check with AVX-512 or AVX2, both with GFNI.
//!
//! Both follow the same steps: sum the rows of a register's worth of columns for the five values
//! of x^51, go over to the other field, weigh the sums for each root, fold each codeword's share
//! onto one byte. What is not 0 then is a syndrome of a dirty codeword.

#![allow(clippy::indexing_slicing, reason = "indices count registers and rows of arrays beside")]

use super::Syndromes;
use super::tables::{MAX_PADDED_BYTES, ROW_SYMBOLS, ROWS, Tables};
use crate::fec::reed_solomon::{CODEWORD_BYTES, MAX_PARITY_BYTES};
use core::arch::x86_64::*;
use core::mem::MaybeUninit;

/// Checks a block of whole codewords: a bit for each that is dirty, and their syndromes.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,gfni")]
pub(super) fn dirty64(tables: &Tables, block: &[u8], syndromes: &mut Syndromes) -> u8 {
    assert!(block.len() >= tables.interleave * CODEWORD_BYTES, "whole codewords");
    // SAFETY: each depth has its number of registers a row, of which `wide` reads no byte behind
    // the block.
    unsafe {
        match tables.interleave {
            1 => wide::<1, 1>(tables, block, syndromes),
            2 => wide::<2, 2>(tables, block, syndromes),
            3 => wide::<3, 4>(tables, block, syndromes),
            4 => wide::<4, 4>(tables, block, syndromes),
            5 => wide::<5, 7>(tables, block, syndromes),
            _ => wide::<8, 7>(tables, block, syndromes),
        }
    }
}

/// Checks a block of whole codewords and what is behind: a bit for each codeword that is dirty,
/// and their syndromes.
#[target_feature(enable = "avx2,gfni")]
pub(super) fn dirty32(
    tables: &Tables,
    block: &[u8; MAX_PADDED_BYTES],
    syndromes: &mut Syndromes,
) -> u8 {
    // SAFETY: reads end at most 31 bytes behind 255 rows of the largest depth, and there are 64.
    unsafe {
        match tables.interleave {
            1 => narrow::<1, 2>(tables, block, syndromes),
            2 => narrow::<2, 4>(tables, block, syndromes),
            3 => narrow::<3, 7>(tables, block, syndromes),
            4 => narrow::<4, 7>(tables, block, syndromes),
            5 => narrow::<5, 13>(tables, block, syndromes),
            _ => narrow::<8, 13>(tables, block, syndromes),
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
    syndromes: &mut Syndromes,
) -> u8 {
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

    // By class of roots, so that a sum is loaded once.
    let mut values = [MaybeUninit::<__m512i>::uninit(); MAX_PARITY_BYTES];
    let (weights, _) = tables.weights.as_chunks::<REGISTERS>();
    let parity = weights.len().min(MAX_PARITY_BYTES);
    for (row, sums) in sums.iter().enumerate() {
        let mut root = (row + ROWS - tables.first_row) % ROWS;
        while root < parity {
            let mut value = _mm512_setzero_si512();
            for (sum, weights) in sums.iter().zip(&weights[root]) {
                // SAFETY: the weights are 64 bytes.
                let weights = unsafe { _mm512_loadu_epi8(weights.0.as_ptr().cast()) };
                value = _mm512_xor_si512(value, _mm512_gf2p8mul_epi8(*sum, weights));
            }
            values[root].write(value);
            root += ROWS;
        }
    }
    let mut dirty = _mm512_setzero_si512();
    let groups = values.as_chunks::<8>().0.iter().zip(syndromes.as_chunks_mut::<8>().0);
    for (roots, syndromes) in groups.take(parity / 8) {
        // SAFETY: those below `parity` are written, each in its class.
        let roots = roots.map(|root| unsafe { root.assume_init() });
        let folded = if DEPTH.is_power_of_two() {
            fold_powers::<DEPTH>(roots)
        } else {
            fold_others::<DEPTH>(roots, used)
        };
        dirty = _mm512_or_si512(dirty, folded);
        // SAFETY: 64 bytes.
        unsafe { _mm512_storeu_epi8(syndromes.as_mut_ptr().cast(), folded) };
    }
    flags(_mm512_reduce_or_epi64(dirty) as u64, DEPTH)
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
    syndromes: &mut Syndromes,
) -> u8 {
    let row_bytes = ROW_SYMBOLS * DEPTH;
    let used = DEPTH << (32 / DEPTH).ilog2();
    let [_, rows @ ..] = tables.rows.map(|matrix| _mm256_set1_epi64x(matrix as i64));
    let convert = _mm256_set1_epi64x(tables.convert as i64);

    let mut sums = [[_mm256_setzero_si256(); REGISTERS]; ROWS];
    for register in 0..REGISTERS {
        // SAFETY: reads end within the padding. What they hold of the next row weighs nothing.
        let load = |row: usize| unsafe {
            _mm256_loadu_si256(block.as_ptr().add(row * row_bytes + register * used).cast())
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

    let mut values = [MaybeUninit::<__m256i>::uninit(); MAX_PARITY_BYTES];
    let (weights, _) = tables.weights.as_chunks::<REGISTERS>();
    let parity = weights.len().min(MAX_PARITY_BYTES);
    for (row, sums) in sums.iter().enumerate() {
        let mut root = (row + ROWS - tables.first_row) % ROWS;
        while root < parity {
            let mut value = _mm256_setzero_si256();
            for (sum, weights) in sums.iter().zip(&weights[root]) {
                // SAFETY: the weights are 64 bytes.
                let weights = unsafe { _mm256_loadu_si256(weights.0.as_ptr().cast()) };
                value = _mm256_xor_si256(value, _mm256_gf2p8mul_epi8(*sum, weights));
            }
            values[root].write(value);
            root += ROWS;
        }
    }
    let mut dirty = _mm256_setzero_si256();
    let groups = values.as_chunks::<4>().0.iter().zip(syndromes.as_chunks_mut::<4>().0);
    for (roots, syndromes) in groups.take(parity / 4) {
        // SAFETY: as in `wide`.
        let roots = roots.map(|root| unsafe { root.assume_init() });
        let sum = if DEPTH.is_power_of_two() {
            fold_narrow_powers::<DEPTH>(roots)
        } else {
            fold_narrow_others::<DEPTH>(roots)
        };
        dirty = _mm256_or_si256(dirty, sum);
        // SAFETY: 32 bytes.
        unsafe { _mm256_storeu_si256(syndromes.as_mut_ptr().cast(), sum) };
    }
    let mut words = [0u64; 4];
    // SAFETY: 32 bytes.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), dirty) };
    flags(words.iter().fold(0, |all, word| all | word), DEPTH)
}

/// The same as [`fold_powers`] for four roots.
#[target_feature(enable = "avx2")]
fn fold_narrow_powers<const DEPTH: usize>(roots: [__m256i; 4]) -> __m256i {
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
    sum
}

/// The same for depths that are no power of two.
#[target_feature(enable = "avx2")]
fn fold_narrow_others<const DEPTH: usize>(roots: [__m256i; 4]) -> __m256i {
    let words = roots.map(|root| {
        // The second half begins within a register's lane.
        let half = (DEPTH << (32 / DEPTH).ilog2()) / 2;
        let mut bytes = [0u8; 48];
        // SAFETY: there is room for 32 bytes.
        unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), root) };
        let word = |from: usize| {
            let mut word = [0; 16];
            word.copy_from_slice(&bytes[from..from + 16]);
            u128::from_le_bytes(word)
        };
        let mut sum = word(0) ^ word(half);
        let mut half = half / 2;
        while half >= DEPTH {
            sum ^= sum >> (8 * half);
            half /= 2;
        }
        sum as u64
    });
    // SAFETY: four times eight bytes.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}
