//! CRC-16 by carry-less multiplication: the twins of the tables in `fec/crc.rs`.
//!
//! Bytes are a polynomial whose remainder is wanted. Whatever stands n bits before the end may be
//! replaced by its product with x^n modulo the generator, which is 16 bits: so registers fold into
//! those behind them, at last into 80 bits, and Barrett's reduction gives the rest.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod division;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
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
