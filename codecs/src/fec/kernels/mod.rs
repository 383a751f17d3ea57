//! Vector kernels, chosen at run time; the only folder of this crate that holds `unsafe`.
//!
//! ```text
//! viterbi, ldpc, crc, crc32c     (choice: which compilation of one runs)
//! reed_solomon (chooses) ─► checker ─► tables ─► x86 (AVX-512 or AVX2, with GFNI)
//!                             │           └────► solver (errors of a dirty codeword)
//!                             └► nibbles (AVX2, SSSE3, NEON)
//! ```
//!
//! Each has a portable twin outside this folder that says what it computes, and a property test
//! that holds the two equal. Without the feature `std` there is no detection: only what the
//! compiler was told to assume is used.

#![allow(unsafe_code)]

/// Whether this processor has all of these features.
#[cfg(all(target_arch = "x86_64", feature = "std"))]
macro_rules! has {
    ($($feature:tt),+) => { $(std::arch::is_x86_feature_detected!($feature))&&+ };
}
/// Whether the compiler may assume all of these features.
#[cfg(all(target_arch = "x86_64", not(feature = "std")))]
macro_rules! has {
    ($($feature:tt),+) => { $(cfg!(target_feature = $feature))&&+ };
}
/// Whether this processor has all of these features.
#[cfg(all(target_arch = "aarch64", feature = "std"))]
macro_rules! has {
    ($($feature:tt),+) => { $(std::arch::is_aarch64_feature_detected!($feature))&&+ };
}
/// Whether the compiler may assume all of these features.
#[cfg(all(target_arch = "aarch64", not(feature = "std")))]
macro_rules! has {
    ($($feature:tt),+) => { $(cfg!(target_feature = $feature))&&+ };
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use has;

mod choice;
pub mod viterbi;
pub mod ldpc;
pub mod crc;
pub mod crc32c;
#[cfg(target_arch = "x86_64")]
mod tables;
#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(target_arch = "x86_64")]
mod solver;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod nibbles;
pub mod reed_solomon;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod checker;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod none;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) use self::checker::Checker;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) use self::none::Checker;

use super::reed_solomon::MAX_PARITY_BYTES;

/// For each root, the value there of each of eight codewords, in whatever basis the kernel has.
pub(super) type Syndromes = [[u8; 8]; MAX_PARITY_BYTES];
/// Before a check.
pub(super) const NO_SYNDROMES: Syndromes = [[0; 8]; MAX_PARITY_BYTES];
