//! Registers of 64 bytes.

#![allow(clippy::indexing_slicing, reason = "a head is shorter than a register and its table")]

use super::division::{PRESETS, power};
use super::narrow::{self, Register};
use core::arch::x86_64::*;

/// Bits that one register folds over: its own, and those of a stride of four.
const REGISTER_BITS: u32 = 512;
const STRIDE_BITS: u32 = 4 * REGISTER_BITS;
const REGISTER_BYTES: usize = 64;
const STRIDE_BYTES: usize = 4 * REGISTER_BYTES;
/// Where wide registers begin to be faster.
const WIDE_BYTES_MIN: usize = 17;

/// Factors of the low and the high half of each lane that move it by so many bits.
const fn factors(bits: u32) -> [u64; 8] {
    let (low, high) = (power(bits), power(bits + 64));
    [low, high, low, high, low, high, low, high]
}
const OVER_REGISTER: [u64; 8] = factors(REGISTER_BITS);
const OVER_STRIDE: [u64; 8] = factors(STRIDE_BITS);
/// The same for the end of the register, and 16 bits further for the check itself.
const TO_END: [u64; 8] =
    [power(400), power(464), power(272), power(336), power(144), power(208), power(16), power(80)];

/// The CRC-16 of bytes.
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq,pclmulqdq")]
pub(super) fn crc16(bytes: &[u8]) -> u16 {
    if bytes.len() < WIDE_BYTES_MIN {
        // SAFETY: the narrow instructions are among these.
        return unsafe { narrow::fold::<__m128i>(bytes) };
    }
    let head_bytes = bytes.len() % REGISTER_BYTES;
    let (head, rest) = bytes.split_at(head_bytes);
    let over_register = constants(&OVER_REGISTER);
    // Zeros in front change nothing: the head is what ends its register.
    let mask = if head.is_empty() { 0 } else { u64::MAX << (REGISTER_BYTES - head_bytes) };
    let from = head.as_ptr().wrapping_sub(REGISTER_BYTES - head_bytes);
    // SAFETY: only the masked bytes are read, and those are the head.
    let head = reverse(unsafe { _mm512_maskz_loadu_epi8(mask, from.cast()) });
    let preset = i64::from(PRESETS[head_bytes]);
    let mut sum = _mm512_xor_si512(head, _mm512_set_epi64(0, preset, 0, 0, 0, 0, 0, 0));

    let (mut strides, mut rest) = rest.as_chunks::<STRIDE_BYTES>();
    if let [first, more @ ..] = strides {
        let mut sums = registers(first);
        sums[0] = _mm512_xor_si512(sums[0], multiply(sum, over_register));
        let over_stride = constants(&OVER_STRIDE);
        strides = more;
        for stride in strides {
            for (sum, next) in sums.iter_mut().zip(registers(stride)) {
                *sum = _mm512_xor_si512(multiply(*sum, over_stride), next);
            }
        }
        let [first, others @ ..] = sums;
        sum = first;
        for next in others {
            sum = _mm512_xor_si512(multiply(sum, over_register), next);
        }
    }
    while let Some((register, after)) = rest.split_first_chunk::<REGISTER_BYTES>() {
        sum = _mm512_xor_si512(multiply(sum, over_register), load(register));
        rest = after;
    }
    remainder(multiply(sum, constants(&TO_END)))
}

/// The remainder of the sum of four lanes of at most 80 bits.
#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq,pclmulqdq")]
fn remainder(lanes: __m512i) -> u16 {
    let halves =
        _mm256_xor_si256(_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64::<1>(lanes));
    let sum = _mm_xor_si128(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves));
    // SAFETY: the narrow instructions are among these.
    unsafe { sum.remainder() }
}

/// The sum of the products of both halves of each lane.
#[target_feature(enable = "avx512f,vpclmulqdq")]
fn multiply(lanes: __m512i, factors: __m512i) -> __m512i {
    _mm512_xor_si512(
        _mm512_clmulepi64_epi128::<0x00>(lanes, factors),
        _mm512_clmulepi64_epi128::<0x11>(lanes, factors),
    )
}

/// The first byte of each lane becomes its most significant.
#[target_feature(enable = "avx512f,avx512bw")]
fn reverse(register: __m512i) -> __m512i {
    let order = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    _mm512_shuffle_epi8(register, _mm512_broadcast_i32x4(order))
}

#[target_feature(enable = "avx512f,avx512bw")]
fn load(bytes: &[u8; REGISTER_BYTES]) -> __m512i {
    // SAFETY: there are 64 bytes.
    reverse(unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) })
}

#[target_feature(enable = "avx512f,avx512bw")]
fn registers(stride: &[u8; STRIDE_BYTES]) -> [__m512i; 4] {
    // SAFETY: there are 256 bytes.
    let at =
        |n: usize| unsafe { _mm512_loadu_si512(stride.as_ptr().add(n * REGISTER_BYTES).cast()) };
    [reverse(at(0)), reverse(at(1)), reverse(at(2)), reverse(at(3))]
}

#[target_feature(enable = "avx512f")]
fn constants(words: &[u64; 8]) -> __m512i {
    // SAFETY: there are 64 bytes.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}
