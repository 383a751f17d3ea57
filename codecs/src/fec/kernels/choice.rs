//! Which compilation of a kernel runs: the same choice for each that has an AVX2 and an AVX-512
//! one beside its portable twin.

/// Defines `Kernel`: `kernel!("avx2"; "avx512bw" of "avx512f", "avx512bw")` asks for AVX2 in one
/// and for AVX2 and the features listed in the other, which reports call by the name in front.
macro_rules! kernel {
    ($avx2:tt; $avx512:literal of $($feature:tt),+) => {
        /// Which kernel runs; holding one proves that this processor has its instructions.
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
            /// The portable code: what the compiler may assume everywhere.
            pub const PORTABLE: Self = Self(Set::Portable);

            /// All kernels that this processor runs, the fastest first.
            pub fn all() -> alloc::vec::Vec<Self> {
                let mut all = alloc::vec::Vec::new();
                #[cfg(target_arch = "x86_64")]
                {
                    if crate::fec::kernels::has!($avx2, $($feature),+) {
                        all.push(Self(Set::Avx512));
                    }
                    if crate::fec::kernels::has!($avx2) {
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
                    Set::Avx2 => $avx2,
                    #[cfg(target_arch = "x86_64")]
                    Set::Avx512 => $avx512,
                }
            }
        }
    };
}
pub(super) use kernel;
