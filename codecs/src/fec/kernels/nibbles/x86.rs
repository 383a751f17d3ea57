//! Registers of SSSE3 and of AVX2.

use super::{Lanes, Syndromes, Tables, Unit, dirty};
use core::arch::x86_64::*;

/// The check with registers of 16 bytes.
#[target_feature(enable = "ssse3")]
pub(in crate::fec::kernels) fn dirty_ssse3(
    tables: &Tables,
    block: &[u8],
    syndromes: &mut Syndromes,
) -> u8 {
    // SAFETY: this function is called only where the processor has the instructions.
    unsafe { dirty::<__m128i>(tables, block, syndromes) }
}

/// The check with registers of 32 bytes.
#[target_feature(enable = "avx2")]
pub(in crate::fec::kernels) fn dirty_avx2(
    tables: &Tables,
    block: &[u8],
    syndromes: &mut Syndromes,
) -> u8 {
    // SAFETY: as above.
    unsafe { dirty::<__m256i>(tables, block, syndromes) }
}

// SAFETY (of every method): the trait's callers have the instructions; loads and stores are of
// whole units.
unsafe impl Lanes for __m128i {
    const LANES: usize = 1;

    #[inline(always)]
    unsafe fn splat(unit: &Unit) -> Self {
        unsafe { _mm_loadu_si128(unit.as_ptr().cast()) }
    }

    #[inline(always)]
    unsafe fn load([unit, _]: [&Unit; 2]) -> Self {
        unsafe { _mm_loadu_si128(unit.as_ptr().cast()) }
    }

    #[inline(always)]
    unsafe fn pick(self, places: Self) -> Self {
        unsafe { _mm_shuffle_epi8(self, places) }
    }

    #[inline(always)]
    unsafe fn high(self) -> Self {
        unsafe { _mm_srli_epi16::<4>(self) }
    }

    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        unsafe { _mm_and_si128(self, other) }
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        unsafe { _mm_xor_si128(self, other) }
    }

    #[inline(always)]
    unsafe fn store(self) -> [Unit; 2] {
        let mut units = [[0; 16]; 2];
        unsafe { _mm_storeu_si128(units.as_mut_ptr().cast(), self) };
        units
    }
}

// SAFETY: as above; the two units of a lane each are beside each other where they are stored.
unsafe impl Lanes for __m256i {
    const LANES: usize = 2;

    #[inline(always)]
    unsafe fn splat(unit: &Unit) -> Self {
        unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(unit.as_ptr().cast())) }
    }

    #[inline(always)]
    unsafe fn load([first, second]: [&Unit; 2]) -> Self {
        unsafe { _mm256_loadu2_m128i(second.as_ptr().cast(), first.as_ptr().cast()) }
    }

    #[inline(always)]
    unsafe fn pick(self, places: Self) -> Self {
        unsafe { _mm256_shuffle_epi8(self, places) }
    }

    #[inline(always)]
    unsafe fn high(self) -> Self {
        unsafe { _mm256_srli_epi16::<4>(self) }
    }

    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        unsafe { _mm256_and_si256(self, other) }
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        unsafe { _mm256_xor_si256(self, other) }
    }

    #[inline(always)]
    unsafe fn store(self) -> [Unit; 2] {
        let mut units = [[0; 16]; 2];
        unsafe { _mm256_storeu_si256(units.as_mut_ptr().cast(), self) };
        units
    }
}
