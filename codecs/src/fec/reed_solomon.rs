//! Reed-Solomon codes (255,223) and (255,239) (CCSDS 131.0-B-5 §4): what a link sends beside its
//! frames so that a receiver finds and corrects up to 16 or 8 wrong symbols in each codeword.
//!
//! ```text
//! register (parity of a codeword) ─► solve (errors of a dirty one) ─► block (interleaved codewords)
//! ```
//!
//! Receivers check first: codewords of a good pass are clean, and the check is a hundred times as
//! fast as the decoder ([`block`]).

pub mod block;
mod register;
pub(in crate::fec) mod solve;

#[cfg(test)]
mod tests;

pub use self::block::{Block, BlockError, Report};

/// Symbols of a codeword; virtual fill included.
pub const CODEWORD_BYTES: usize = super::field::ORDER;
/// Most parity symbols of a codeword.
pub const MAX_PARITY_BYTES: usize = 32;
/// The generator's roots are powers of α^11 (CCSDS 131.0-B-5 §4.3.4).
pub(super) const ROOT_STEP: usize = 11;

/// How many symbols of a codeword can be corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// (255,223): 16 symbols.
    Sixteen,
    /// (255,239): 8 symbols.
    Eight,
}

impl Strength {
    /// Wrong symbols that can be corrected, E in the book.
    pub const fn correctable(self) -> usize {
        match self {
            Self::Sixteen => 16,
            Self::Eight => 8,
        }
    }

    /// Parity symbols of a codeword.
    pub const fn parity(self) -> usize {
        2 * self.correctable()
    }

    /// Information symbols of a codeword, virtual fill included.
    pub const fn information(self) -> usize {
        CODEWORD_BYTES - self.parity()
    }

    /// The generator's roots are (α^11)^j for 2E successive j from 128 - E on
    /// (CCSDS 131.0-B-5 §4.3.4): 112 for E = 16 and 120 for E = 8.
    pub(super) const fn first_root(self) -> usize {
        128 - self.correctable()
    }
}

/// How the eight bits of a symbol stand for an element of the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Basis {
    /// Berlekamp's dual basis, which the standard prescribes (CCSDS 131.0-B-5 §4.3.9).
    Dual,
    /// Powers of α, which several spacecraft use all the same.
    Conventional,
}

/// A code: its strength and its representation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code {
    /// How many symbols it corrects.
    pub strength: Strength,
    /// How its symbols are written.
    pub basis: Basis,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self { strength: Strength::Sixteen, basis: Basis::Dual },
        Self { strength: Strength::Sixteen, basis: Basis::Conventional },
        Self { strength: Strength::Eight, basis: Basis::Dual },
        Self { strength: Strength::Eight, basis: Basis::Conventional },
    ];
}

/// What became of one codeword.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// It was right as received.
    #[default]
    Clean,
    /// This many symbols were corrected, parity symbols included.
    Corrected(u8),
    /// More symbols are wrong than the code corrects; it was left as received.
    Failed,
}
