//! Vector kernels, chosen at run time; the only place of this crate that holds `unsafe`.
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
#[cfg(target_arch = "x86_64")]
use has;

pub mod viterbi;
pub mod ldpc;
