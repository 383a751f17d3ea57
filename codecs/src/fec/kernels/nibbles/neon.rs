//! Registers of NEON.

use super::{Lanes, Syndromes, Tables, Unit, dirty};
use core::arch::aarch64::*;

/// The check with registers of 16 bytes.
#[target_feature(enable = "neon")]
pub(in crate::fec::kernels) fn dirty_neon(
    tables: &Tables,
    block: &[u8],
    syndromes: &mut Syndromes,
) -> u8 {
    // SAFETY: this function is called only where the processor has the instructions.
    unsafe { dirty::<uint8x16_t>(tables, block, syndromes) }
}

// SAFETY (of every method): the trait's callers have the instructions; loads and stores are of
// whole units.
unsafe impl Lanes for uint8x16_t {
    const LANES: usize = 1;

    #[inline(always)]
    unsafe fn splat(unit: &Unit) -> Self {
        unsafe { vld1q_u8(unit.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn load([unit, _]: [&Unit; 2]) -> Self {
        unsafe { vld1q_u8(unit.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn pick(self, places: Self) -> Self {
        unsafe { vqtbl1q_u8(self, places) }
    }

    #[inline(always)]
    unsafe fn high(self) -> Self {
        unsafe { vshrq_n_u8::<4>(self) }
    }

    #[inline(always)]
    unsafe fn and(self, other: Self) -> Self {
        unsafe { vandq_u8(self, other) }
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        unsafe { veorq_u8(self, other) }
    }

    #[inline(always)]
    unsafe fn store(self) -> [Unit; 2] {
        let mut units = [[0; 16]; 2];
        unsafe { vst1q_u8(units.as_mut_ptr().cast(), self) };
        units
    }
}
