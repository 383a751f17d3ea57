//! Which kernels check codewords.

use alloc::vec::Vec;

/// Which kernel runs; holding one proves that this processor has its instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(pub(super) Set);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Set {
    Portable,
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(target_arch = "x86_64")]
    Ssse3,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx2Gfni,
    #[cfg(target_arch = "x86_64")]
    Avx512Gfni,
}

impl Kernel {
    /// The portable code.
    pub const PORTABLE: Self = Self(Set::Portable);

    /// All kernels that this processor runs, the fastest first.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if super::has!("avx512f", "avx512bw", "avx512vbmi", "avx2", "gfni") {
                all.push(Self(Set::Avx512Gfni));
            }
            if super::has!("avx2", "gfni") {
                all.push(Self(Set::Avx2Gfni));
            }
            if super::has!("avx2") {
                all.push(Self(Set::Avx2));
            }
            if super::has!("ssse3") {
                all.push(Self(Set::Ssse3));
            }
        }
        #[cfg(target_arch = "aarch64")]
        if super::has!("neon") {
            all.push(Self(Set::Neon));
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
            #[cfg(target_arch = "aarch64")]
            Set::Neon => "neon",
            #[cfg(target_arch = "x86_64")]
            Set::Ssse3 => "ssse3",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2Gfni => "avx2+gfni",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Gfni => "avx512+gfni",
        }
    }
}
