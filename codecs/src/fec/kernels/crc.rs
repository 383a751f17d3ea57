//! CRC-16 by carry-less multiplication: the twins of the tables in `fec/crc.rs`.
//!
//! Bytes are a polynomial whose remainder is wanted. Whatever stands n bits before the end may be
//! replaced by its product with x^n modulo the generator, which is 16 bits: so registers fold into
//! those behind them, at last into 80 bits, and Barrett's reduction gives the rest.

mod narrow;
#[cfg(target_arch = "x86_64")]
mod wide;

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU8, Ordering};

/// Which kernel runs; holding one proves that this processor has its instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(Set);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Set {
    Portable = 1,
    #[cfg(target_arch = "aarch64")]
    Pmull = 2,
    #[cfg(target_arch = "x86_64")]
    Pclmul = 3,
    #[cfg(target_arch = "x86_64")]
    Avx512 = 4,
}

/// The fastest kernel, once asked for: asking the processor every time takes longer than a short
/// check.
static BEST: AtomicU8 = AtomicU8::new(0);

impl Kernel {
    /// The portable code.
    pub const PORTABLE: Self = Self(Set::Portable);

    /// All kernels that this processor runs, the fastest first.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if super::has!("ssse3", "pclmulqdq", "avx512f", "avx512bw", "vpclmulqdq") {
                all.push(Self(Set::Avx512));
            }
            if super::has!("ssse3", "pclmulqdq") {
                all.push(Self(Set::Pclmul));
            }
        }
        #[cfg(target_arch = "aarch64")]
        if super::has!("neon", "aes") {
            all.push(Self(Set::Pmull));
        }
        all.push(Self::PORTABLE);
        all
    }

    /// The fastest kernel that this processor runs.
    #[inline]
    pub fn best() -> Self {
        let best = BEST.load(Ordering::Relaxed);
        match best {
            #[cfg(target_arch = "x86_64")]
            _ if best == Set::Avx512 as u8 => Self(Set::Avx512),
            #[cfg(target_arch = "x86_64")]
            _ if best == Set::Pclmul as u8 => Self(Set::Pclmul),
            #[cfg(target_arch = "aarch64")]
            _ if best == Set::Pmull as u8 => Self(Set::Pmull),
            0 => Self::find(),
            _ => Self::PORTABLE,
        }
    }

    #[cold]
    fn find() -> Self {
        let best = Self::all().first().copied().unwrap_or(Self::PORTABLE);
        // Whoever comes first: all find the same.
        BEST.store(best.0 as u8, Ordering::Relaxed);
        best
    }

    /// The instructions it uses, for reports.
    pub const fn name(self) -> &'static str {
        match self.0 {
            Set::Portable => "portable",
            #[cfg(target_arch = "aarch64")]
            Set::Pmull => "pmull",
            #[cfg(target_arch = "x86_64")]
            Set::Pclmul => "pclmulqdq",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512+vpclmulqdq",
        }
    }

    /// The CRC-16 of bytes; the same whichever kernel computes it.
    #[inline]
    pub fn crc16(self, bytes: &[u8]) -> u16 {
        match self.0 {
            Set::Portable => crate::fec::crc::crc16_by_tables(bytes),
            // SAFETY: the value was made only where the processor has the features.
            #[cfg(target_arch = "aarch64")]
            Set::Pmull => unsafe { narrow::pmull(bytes) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Pclmul => unsafe { narrow::pclmul(bytes) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => unsafe { wide::crc16(bytes) },
        }
    }
}

/// x^16 + x^12 + x^5 + 1.
const GENERATOR: u64 = 0x1_1021;
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
#[allow(clippy::indexing_slicing, reason = "runs in the compiler")]
const PRESETS: [u16; 64] = {
    let mut presets = [0; 64];
    let (mut n, mut start) = (0, 0);
    while n < 16 {
        start ^= power(ORDER - 16 + n);
        n += 1;
    }
    let mut n = 0;
    while n < presets.len() {
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

/// The whole part of x^80 divided by the generator, without its leading x^64.
const QUOTIENT: u64 = {
    let (mut rest, mut quotient, mut place) = (1_u128 << 80, 0_u128, 80);
    while place >= 16 {
        if rest >> place & 1 != 0 {
            rest ^= (GENERATOR as u128) << (place - 16);
            quotient |= 1 << (place - 16);
        }
        place -= 1;
    }
    quotient as u64
};

/// The remainder of 80 bits, from their lowest and from the lowest of their quotient.
#[inline(always)]
const fn rest(bits: u16, quotient: u16) -> u16 {
    bits ^ quotient ^ quotient << 5 ^ quotient << 12
}
