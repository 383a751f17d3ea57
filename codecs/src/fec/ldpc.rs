//! Low-density parity-check codes: AR4JA and C2 for telemetry (CCSDS 131.0-B-6 §7), two short
//! codes for telecommand (CCSDS 231.0-B-4 §4).
//!
//! ```text
//! bits ─► encoder ─► channel ─► decoder ─► pass (soft symbols, layered min-sum)
//!            └── matrix: circulants from the standards' tables ──┘
//! ```
//!
//! Every one of these matrices is made of circulants: blocks of `z` by `z` of which each row is
//! the one above, shifted. A code is a short list of shifts, its algebra that of polynomials
//! modulo x^z + 1, and its decoder runs over rows that lie side by side in memory.

mod tables;
pub mod matrix;
mod ring;
pub mod encoder;
pub(crate) mod pass;
pub mod decoder;

pub use decoder::{Decoded, Decoder};
pub use encoder::Encoder;
pub use matrix::Matrix;

/// Rates of the AR4JA codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rate {
    /// 1/2.
    Half,
    /// 2/3.
    TwoThirds,
    /// 4/5.
    FourFifths,
}

impl Rate {
    /// K of the standard: the rate is K / (K + 2) (CCSDS 131.0-B-5 §7.4.3.2).
    const fn info_blocks(self) -> usize {
        match self {
            Self::Half => 2,
            Self::TwoThirds => 4,
            Self::FourFifths => 8,
        }
    }
}

/// Information bits of the AR4JA codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    /// 1024 bits.
    K1024,
    /// 4096 bits.
    K4096,
    /// 16,384 bits.
    K16384,
}

/// The codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// The nine codes of rate 1/2, 2/3 and 4/5 (131.0-B-6 §7.4).
    Ar4ja(Rate, Size),
    /// (8160,7136), rate about 7/8 (131.0-B-6 §7.3).
    C2,
    /// (128,64) for telecommand (231.0-B-4 §4).
    Tc128,
    /// (512,256) for telecommand (231.0-B-4 §4).
    Tc512,
}

impl Code {
    /// Every code, the telecommand ones first.
    pub const ALL: [Self; 12] = [
        Self::Tc128,
        Self::Tc512,
        Self::C2,
        Self::Ar4ja(Rate::Half, Size::K1024),
        Self::Ar4ja(Rate::TwoThirds, Size::K1024),
        Self::Ar4ja(Rate::FourFifths, Size::K1024),
        Self::Ar4ja(Rate::Half, Size::K4096),
        Self::Ar4ja(Rate::TwoThirds, Size::K4096),
        Self::Ar4ja(Rate::FourFifths, Size::K4096),
        Self::Ar4ja(Rate::Half, Size::K16384),
        Self::Ar4ja(Rate::TwoThirds, Size::K16384),
        Self::Ar4ja(Rate::FourFifths, Size::K16384),
    ];

    /// Information bits a codeword.
    pub const fn info_bits(self) -> usize {
        match self {
            Self::Ar4ja(_, Size::K1024) => 1024,
            Self::Ar4ja(_, Size::K4096) => 4096,
            Self::Ar4ja(_, Size::K16384) => 16_384,
            Self::C2 => 7136,
            Self::Tc128 => 64,
            Self::Tc512 => 256,
        }
    }

    /// Symbols sent a codeword.
    pub const fn symbols(self) -> usize {
        match self {
            Self::Ar4ja(rate, _) => {
                self.info_bits() * (rate.info_blocks() + 2) / rate.info_blocks()
            }
            Self::C2 => 8160,
            Self::Tc128 => 128,
            Self::Tc512 => 512,
        }
    }

    /// Zeros before the information that are encoded and not sent: C2 shortens 7154 bits by 18
    /// (131.0-B-6 §7.3).
    pub const fn fill_bits(self) -> usize {
        if matches!(self, Self::C2) { 18 } else { 0 }
    }

    /// Zeros sent behind the parity: C2's 8158 symbols become 8160 (131.0-B-6 §7.3).
    pub const fn tail_symbols(self) -> usize {
        if matches!(self, Self::C2) { 2 } else { 0 }
    }

    /// The side of a circulant.
    pub const fn circulant(self) -> usize {
        match self {
            // M / 4 (131.0-B-6 §7.4.2): the permutations shift each quarter of M by itself.
            Self::Ar4ja(rate, _) => self.info_bits() / rate.info_blocks() / 4,
            Self::C2 => 511,
            Self::Tc128 => 16,
            Self::Tc512 => 64,
        }
    }
}

#[cfg(test)]
mod tests;
