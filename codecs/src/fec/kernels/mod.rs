//! Vector kernels, chosen at run time; the only place of this crate that holds `unsafe`.
//!
//! Each has a portable twin outside this folder that says what it computes, and a property test
//! that holds the two equal. Without the feature `std` there is no detection: only what the
//! compiler was told to assume is used.

#![allow(unsafe_code)]

pub mod viterbi;
