//! What the decoders do with wide registers, chosen at run time; every kernel has a portable twin
//! that tests hold it equal to. The only folder of this crate with `unsafe`.
//!
//! ```text
//! tables (constants of a code) ─► x86 (AVX-512 or AVX2, with GFNI) ─► checker (chooses)
//!                              ─► solver (errors of a dirty codeword)
//! ```

#![allow(unsafe_code)]

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
