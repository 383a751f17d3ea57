//! The LDPC decoder's pass, compiled for wider registers. The code is the portable one: rows side
//! by side are what a compiler vectorises.

use crate::fec::ldpc::decoder::{Pass, iterate};
use alloc::vec::Vec;

/// Which compilation runs; holding one proves that this processor has its instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Kernel {
    /// What the compiler may assume everywhere.
    pub const PORTABLE: Self = Self(Set::Portable);

    /// All kernels that this processor runs, the fastest first.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if super::has!("avx512f", "avx512bw", "avx512vl") {
                all.push(Self(Set::Avx512));
            }
            if super::has!("avx2") {
                all.push(Self(Set::Avx2));
            }
        }
        all.push(Self::PORTABLE);
        all
    }

    /// The fastest kernel that this processor runs.
    pub fn best() -> Self {
        Self::all().first().copied().unwrap_or(Self::PORTABLE)
    }

    /// The instructions it uses, for reports.
    pub const fn name(self) -> &'static str {
        match self.0 {
            Set::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512bw",
        }
    }

    pub(crate) fn iterate(self, pass: Pass<'_>) {
        match self.0 {
            Set::Portable => iterate(pass),
            // SAFETY: the value was made only where the processor has these features.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { avx2(pass) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => unsafe { avx512(pass) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(pass: Pass<'_>) {
    iterate(pass);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl")]
fn avx512(pass: Pass<'_>) {
    iterate(pass);
}
