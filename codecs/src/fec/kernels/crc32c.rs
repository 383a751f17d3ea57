//! CRC-32C by the processor's own instruction: the twin of the tables in `fec/crc.rs`.
//!
//! The instruction takes eight bytes a cycle but answers three cycles later, so three stretches
//! run beside each other; a multiplication without carries moves the first two to the end of the
//! third.

use core::sync::atomic::{AtomicU8, Ordering};

/// What the processor has, once asked for: 0 not yet, 1 nothing, 2 the instruction.
static FOUND: AtomicU8 = AtomicU8::new(0);

/// Takes bytes into the register (not inverted), where this processor has the instruction.
#[inline]
pub fn update(register: u32, bytes: &[u8]) -> Option<u32> {
    match FOUND.load(Ordering::Relaxed) {
        2 => {}
        1 => return None,
        _ if !find() => return None,
        _ => {}
    }
    // SAFETY: `find` said that the processor has the instructions.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    return Some(unsafe { native::update(register, bytes) });
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    None
}

#[cold]
fn find() -> bool {
    #[cfg(target_arch = "x86_64")]
    let found = super::has!("sse4.2", "pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    let found = super::has!("crc");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let found = false;
    FOUND.store(1 + u8::from(found), Ordering::Relaxed);
    found
}

#[cfg(target_arch = "x86_64")]
mod native {
    use core::arch::x86_64::*;

    /// x^n modulo the generator, reflected.
    const fn power(n: usize) -> u64 {
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
