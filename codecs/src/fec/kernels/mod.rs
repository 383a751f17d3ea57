//! Vector kernels, chosen at run time; the only folder of this crate that holds `unsafe`.
//!
//! ```text
//! viterbi, ldpc, crc             (choice: which compilation of one runs)
//! tables (constants of a code) ─► x86 (AVX-512 or AVX2, with GFNI) ─► checker (chooses)
//!                              ─► solver (errors of a dirty codeword)
//! ```
//!
//! Each has a portable twin outside this folder that says what it computes, and a property test
//! that holds the two equal. Without the feature `std` there is no detection: only what the
//! compiler was told to assume is used, and Reed-Solomon stays portable.

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
#[cfg(target_arch = "x86_64")]
use has;

mod choice;
pub mod viterbi;
pub mod ldpc;
#[cfg(target_arch = "x86_64")]
pub(super) mod crc;
#[cfg(all(target_arch = "x86_64", feature = "std"))]
mod tables;
#[cfg(all(target_arch = "x86_64", feature = "std"))]
mod x86;
#[cfg(all(target_arch = "x86_64", feature = "std"))]
mod solver;
#[cfg(all(target_arch = "x86_64", feature = "std"))]
mod checker;
#[cfg(not(all(target_arch = "x86_64", feature = "std")))]
mod none;

#[cfg(not(all(target_arch = "x86_64", feature = "std")))]
pub(super) use self::none::{Checker, Syndromes};
#[cfg(all(target_arch = "x86_64", feature = "std"))]
pub(super) use self::{checker::Checker, tables::Syndromes};
