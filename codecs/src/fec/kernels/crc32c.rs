//! CRC-32C by the processor's own instruction: the twin of the tables in `fec/crc.rs`.
//!
//! The instruction takes eight bytes a cycle but answers three cycles later, so three stretches
//! run beside each other; a multiplication without carries moves the first two to the end of the
//! third.

use core::sync::atomic::{AtomicU8, Ordering};

/// What the processor has, once asked for: 0 not yet, 1 nothing, 2 the instruction, 3 registers
/// of 64 bytes that multiply as well.
static FOUND: AtomicU8 = AtomicU8::new(0);

/// Takes bytes into the register (not inverted), where this processor has the instruction.
#[inline]
pub fn update(register: u32, bytes: &[u8]) -> Option<u32> {
    if found() < 2 {
        return None;
    }
    // SAFETY: `find` said that the processor has the instructions.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    return Some(unsafe { native::update(register, bytes) });
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    None
}

/// Copies and takes what is copied into the register, in one pass where the processor can. Both
/// have the same length.
#[inline]
pub fn copy(register: u32, from: &[u8], into: &mut [u8]) -> Option<u32> {
    #[cfg(target_arch = "x86_64")]
    if from.len() >= wide::REGISTER_BYTES && from.len() == into.len() && found() == 3 {
        // SAFETY: `find` said that the processor has the instructions; the lengths are right.
        let (register, from, into) = unsafe { wide::copy(register, from, into) };
        into.copy_from_slice(from);
        return update(register, into);
    }
    into.copy_from_slice(from);
    update(register, into)
}

#[inline]
fn found() -> u8 {
    match FOUND.load(Ordering::Relaxed) {
        0 => find(),
        found => found,
    }
}

#[cold]
fn find() -> u8 {
    #[cfg(target_arch = "x86_64")]
    let found = super::has!("sse4.2", "pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    let found = super::has!("crc");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let found = false;
    #[cfg(target_arch = "x86_64")]
    let wide = super::has!("sse4.2", "pclmulqdq", "avx512f", "vpclmulqdq");
    #[cfg(not(target_arch = "x86_64"))]
    let wide = false;
    let found = 1 + u8::from(found) + u8::from(wide);
    // Whoever comes first: all find the same.
    FOUND.store(found, Ordering::Relaxed);
    found
}

#[cfg(target_arch = "x86_64")]
mod native {
    use core::arch::x86_64::*;

    /// x^n modulo the generator, reflected.
    pub(super) const fn power(n: usize) -> u64 {
        let (mut value, mut left) = (0x8000_0000_u32, n);
        while left > 0 {
            value = (value >> 1) ^ if value & 1 == 1 { 0x82F6_3B78 } else { 0 };
            left -= 1;
        }
        value as u64
    }

    /// Moves a register by so many bytes: the product takes one bit, the instruction 32.
    const fn over(bytes: usize) -> i64 {
        power(8 * bytes - 33) as i64
    }

    /// # Safety
    /// The processor has SSE 4.2 and PCLMULQDQ.
    #[target_feature(enable = "sse4.2,pclmulqdq")]
    pub(super) unsafe fn update(register: u32, bytes: &[u8]) -> u32 {
        let (register, rest) = stretches::<16, { over(128) }, { over(256) }>(register, bytes);
        let (register, rest) = stretches::<4, { over(32) }, { over(64) }>(register, rest);
        let (words, rest) = rest.as_chunks::<8>();
        let register = words.iter().fold(u64::from(register), |register, word| {
            _mm_crc32_u64(register, u64::from_le_bytes(*word))
        });
        rest.iter().fold(register as u32, |register, byte| _mm_crc32_u8(register, *byte))
    }

    /// Takes three stretches of `WORDS` words at a time; what is left.
    #[inline]
    #[target_feature(enable = "sse4.2,pclmulqdq")]
    fn stretches<const WORDS: usize, const OVER_ONE: i64, const OVER_TWO: i64>(
        register: u32,
        bytes: &[u8],
    ) -> (u32, &[u8]) {
        let (mut first, mut rest) = (u64::from(register), bytes);
        while let Some((stretch, after)) = rest.split_at_checked(WORDS * 24) {
            let (words, _) = stretch.as_chunks::<8>();
            let (one, more) = words.split_at(WORDS);
            let (two, three) = more.split_at(WORDS);
            let (mut second, mut third) = (0, 0);
            for ((a, b), c) in one.iter().zip(two).zip(three) {
                first = _mm_crc32_u64(first, u64::from_le_bytes(*a));
                second = _mm_crc32_u64(second, u64::from_le_bytes(*b));
                third = _mm_crc32_u64(third, u64::from_le_bytes(*c));
            }
            let moved = _mm_xor_si128(multiply(first, OVER_TWO), multiply(second, OVER_ONE));
            first = third ^ _mm_crc32_u64(0, _mm_cvtsi128_si64(moved) as u64);
            rest = after;
        }
        (first as u32, rest)
    }

    #[inline]
    #[target_feature(enable = "sse4.2,pclmulqdq")]
    fn multiply(register: u64, factor: i64) -> __m128i {
        _mm_clmulepi64_si128::<0>(_mm_cvtsi64_si128(register as i64), _mm_cvtsi64_si128(factor))
    }
}

/// Registers of 64 bytes, four at a time: what is copied is checked on its way.
#[cfg(target_arch = "x86_64")]
mod wide {
    use super::native::power;
    use core::arch::x86_64::*;

    pub(super) const REGISTER_BYTES: usize = 64;
    /// Bytes of four registers.
    const STRIDE_BYTES: usize = 4 * REGISTER_BYTES;

    /// Factors that move a register of 16 bytes by so many bits: a product takes 33 of them.
    const fn factors(bits: usize) -> [u64; 2] {
        [power(bits + 31), power(bits - 33)]
    }
    const OVER_STRIDE: [u64; 2] = factors(8 * STRIDE_BYTES);
    const OVER_REGISTER: [u64; 2] = factors(512);
    const OVER_LANES: [[u64; 2]; 3] = [factors(384), factors(256), factors(128)];

    /// Copies whole registers and takes them in; what is left of both.
    ///
    /// # Safety
    /// The processor has AVX-512F, VPCLMULQDQ, SSE 4.2 and PCLMULQDQ; both have the same length,
    /// at least [`REGISTER_BYTES`].
    #[target_feature(enable = "avx512f,vpclmulqdq,sse4.2,pclmulqdq")]
    pub(super) unsafe fn copy<'a>(
        register: u32,
        from: &'a [u8],
        into: &'a mut [u8],
    ) -> (u32, &'a [u8], &'a mut [u8]) {
        let whole = from.len() - from.len() % REGISTER_BYTES;
        let (registers, from) = from.split_at(whole);
        let (places, into) = into.split_at_mut(whole);
        let (strides, registers) = registers.as_chunks::<REGISTER_BYTES>().0.as_chunks::<4>();
        let (copies, places) = places.as_chunks_mut::<REGISTER_BYTES>().0.as_chunks_mut::<4>();
        let before = _mm512_zextsi128_si512(_mm_cvtsi32_si128(register as i32));
        let over_register = broadcast(OVER_REGISTER);
        let mut strides = strides.iter().zip(copies);
        let mut sum = match strides.next() {
            // Fewer than four registers: they are folded one by one below.
            None => None,
            Some(([a, b, c, d], [to_a, to_b, to_c, to_d])) => {
                let first = _mm512_xor_si512(taken(a, to_a), before);
                let mut sums = [first, taken(b, to_b), taken(c, to_c), taken(d, to_d)];
                let over_stride = broadcast(OVER_STRIDE);
                for (stride, copies) in strides {
                    for ((sum, register), place) in sums.iter_mut().zip(stride).zip(copies) {
                        *sum = fold(*sum, over_stride, taken(register, place));
                    }
                }
                let [a, b, c, d] = sums;
                let sum = fold(fold(a, over_register, b), over_register, c);
                Some(fold(sum, over_register, d))
            }
        };
        for (register, place) in registers.iter().zip(places) {
            let next = taken(register, place);
            sum = Some(match sum {
                Some(sum) => fold(sum, over_register, next),
                None => _mm512_xor_si512(next, before),
            });
        }
        let sum = sum.unwrap_or(before);
        let lanes = [
            _mm512_extracti32x4_epi32::<0>(sum),
            _mm512_extracti32x4_epi32::<1>(sum),
            _mm512_extracti32x4_epi32::<2>(sum),
        ];
        let mut last = _mm512_extracti32x4_epi32::<3>(sum);
        for (lane, [low, high]) in lanes.into_iter().zip(OVER_LANES) {
            let factors = _mm_set_epi64x(high as i64, low as i64);
            last = _mm_xor_si128(last, _mm_clmulepi64_si128::<0x00>(lane, factors));
            last = _mm_xor_si128(last, _mm_clmulepi64_si128::<0x11>(lane, factors));
        }
        // What is left is as long as a message of sixteen bytes, whose check is the instruction's.
        let register = _mm_crc32_u64(0, _mm_cvtsi128_si64(last) as u64);
        let register = _mm_crc32_u64(register, _mm_extract_epi64::<1>(last) as u64);
        (register as u32, from, into)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn broadcast([low, high]: [u64; 2]) -> __m512i {
        let (low, high) = (low as i64, high as i64);
        _mm512_set_epi64(high, low, high, low, high, low, high, low)
    }

    /// A register as it is copied.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn taken(from: &[u8; REGISTER_BYTES], into: &mut [u8; REGISTER_BYTES]) -> __m512i {
        // SAFETY: both are 64 bytes.
        unsafe {
            let register = _mm512_loadu_si512(from.as_ptr().cast());
            _mm512_storeu_si512(into.as_mut_ptr().cast(), register);
            register
        }
    }

    /// The register moved behind, and what stands there.
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    fn fold(sum: __m512i, factors: __m512i, next: __m512i) -> __m512i {
        let low = _mm512_clmulepi64_epi128::<0x00>(sum, factors);
        let high = _mm512_clmulepi64_epi128::<0x11>(sum, factors);
        _mm512_ternarylogic_epi64::<0x96>(low, high, next)
    }
}

#[cfg(target_arch = "aarch64")]
mod native {
    use core::arch::aarch64::*;

    /// # Safety
    /// The processor has the CRC instructions.
    #[target_feature(enable = "crc")]
    pub(super) unsafe fn update(register: u32, bytes: &[u8]) -> u32 {
        let (words, rest) = bytes.as_chunks::<8>();
        let register = words
            .iter()
            .fold(register, |register, word| __crc32cd(register, u64::from_le_bytes(*word)));
        rest.iter().fold(register, |register, byte| __crc32cb(register, *byte))
    }
}
