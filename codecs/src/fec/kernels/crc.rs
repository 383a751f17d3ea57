//! CRC-16 by carry-less multiplication, 64 bytes at a time: the twin of the tables in `fec/crc.rs`.
//!
//! Bytes are a polynomial whose remainder is wanted. Whatever stands n bits before the end may be
//! replaced by its product with x^n modulo the generator, which is 16 bits: so registers fold into
//! those behind them, at last four lanes into 80 bits, and Barrett's reduction gives the rest.

#![allow(clippy::indexing_slicing, reason = "a head is shorter than a register and its table")]

use core::arch::x86_64::*;

/// x^16 + x^12 + x^5 + 1.
const GENERATOR: u64 = 0x1_1021;
/// Bits that one register folds over: its own, and those of a stride of four.
const REGISTER_BITS: u32 = 512;
const STRIDE_BITS: u32 = 4 * REGISTER_BITS;
const REGISTER_BYTES: usize = 64;
const STRIDE_BYTES: usize = 4 * REGISTER_BYTES;
/// x to this power is 1.
const ORDER: u32 = 32_767;

/// x^`power` modulo the generator.
const fn power(power: u32) -> u64 {
    let (mut value, mut n) = (1, 0);
    while n < power % ORDER {
        value <<= 1;
        if value & 0x1_0000 != 0 {
            value ^= GENERATOR;
        }
        n += 1;
    }
    value
}

/// What the preset of all ones adds to a head of n bytes: 0xFFFF x^(8 n - 16).
const PRESETS: [u16; REGISTER_BYTES] = {
    let mut presets = [0; REGISTER_BYTES];
    let (mut n, mut start) = (0, 0);
    while n < 16 {
        start ^= power(ORDER - 16 + n);
        n += 1;
    }
    let mut n = 0;
    while n < REGISTER_BYTES {
        presets[n] = start as u16;
        let mut bit = 0;
        while bit < 8 {
            start <<= 1;
            if start & 0x1_0000 != 0 {
                start ^= GENERATOR;
            }
            bit += 1;
        }
        n += 1;
    }
    presets
};

/// The whole part of x^64 divided by the generator.
const QUOTIENT: u64 = {
    let (mut rest, mut quotient, mut place) = (1_u128 << 64, 0, 64);
    while place >= 16 {
        if rest >> place & 1 != 0 {
            rest ^= (GENERATOR as u128) << (place - 16);
            quotient |= 1 << (place - 16);
        }
        place -= 1;
    }
    quotient
};

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

/// Whether [`crc16`] may be called.
#[inline]
pub(in crate::fec) fn has_crc16() -> bool {
    super::has!("avx512f", "avx512bw", "vpclmulqdq", "pclmulqdq")
}

/// The CRC-16 of bytes; equals the tables'.
#[inline]
pub(in crate::fec) fn crc16(bytes: &[u8]) -> u16 {
    assert!(has_crc16(), "chosen where the processor has it");
    // SAFETY: the processor has the features.
    unsafe { fold(bytes) }
}

#[target_feature(enable = "avx512f,avx512bw,vpclmulqdq,pclmulqdq")]
fn fold(bytes: &[u8]) -> u16 {
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
    // What is over 64 bits is 16 bits at most.
    let over = _mm_clmulepi64_si128::<0x01>(sum, _mm_cvtsi64_si128(power(64) as i64));
    let value = _mm_xor_si128(sum, over);
    let low = _mm_cvtsi128_si64(value) as u64;
    let product = _mm_clmulepi64_si128::<0x00>(
        _mm_cvtsi64_si128((low >> 16) as i64),
        _mm_cvtsi64_si128(QUOTIENT as i64),
    );
    let quotient = _mm_srli_epi64::<48>(product);
    let above = _mm_slli_epi64::<16>(_mm_srli_si128::<8>(product));
    let times = _mm_clmulepi64_si128::<0x00>(
        _mm_or_si128(quotient, above),
        _mm_cvtsi64_si128(GENERATOR as i64),
    );
    (low ^ _mm_cvtsi128_si64(times) as u64) as u16
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
