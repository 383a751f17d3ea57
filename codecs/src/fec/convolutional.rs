//! The convolutional code of constraint length 7 (CCSDS 131.0-B-6 §3): rate 1/2, and 2/3, 3/4,
//! 5/6, 7/8 by puncturing.
//!
//! ```text
//! bits ─► encoder (punctures) ─► channel ─► sync (where a pattern begins) ─► viterbi ─► bits
//! ```
//!
//! Soft symbols are `i8`: positive speaks for a 0, negative for a 1, the magnitude says how
//! surely, 0 says nothing. The decoder distinguishes magnitudes in steps of 13; a demodulator
//! does best when a noiseless symbol is near ±64.

pub mod puncture;
pub mod encoder;
mod trellis;
pub mod viterbi;
pub mod sync;

pub use encoder::Encoder;
pub use puncture::Rate;
pub use sync::{Found, Synchroniser};
#[cfg(target_arch = "x86_64")]
pub(crate) use trellis::{BRANCH, GROUP, STATES};
pub(crate) use trellis::{Metrics, StepCosts, confidence, pair_costs};
pub use viterbi::Decoder;

/// Connection vector of the first symbol C1: 1111001, the newest bit first (131.0-B-6 §3.3.1).
pub const G1: u8 = 0o171;
/// Connection vector of the second symbol C2: 1011011, the newest bit first (131.0-B-6 §3.3.1).
pub const G2: u8 = 0o133;
/// Bits that determine a symbol: the newest and six older ones.
pub const CONSTRAINT_LENGTH: usize = 7;

/// The managed parameters of the code (CCSDS 131.0-B-6 §12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code {
    /// How many of the symbols are sent.
    pub rate: Rate,
    /// Whether C2 is sent inverted, which guarantees transitions in the symbol stream.
    pub inverted: bool,
    /// Whether C2 is sent before C1 where both are: not the standard's order, but that of older
    /// spacecraft, Voyager 1 among them.
    pub c2_first: bool,
}

impl Code {
    /// The basic rate 1/2 code, its second symbol inverted (131.0-B-6 §3.3.1).
    pub const BASIC: Self = Self::standard(Rate::Half);

    /// A code as the standard defines it: the basic code has the inverter, the punctured codes
    /// do not (131.0-B-6 §3.4).
    pub const fn standard(rate: Rate) -> Self {
        Self { rate, inverted: matches!(rate, Rate::Half), c2_first: false }
    }

    /// The same code with the inverter the other way: spacecraft of both kinds fly.
    pub const fn with_inverter(self, inverted: bool) -> Self {
        Self { inverted, ..self }
    }

    /// The same code with its symbols in this order.
    pub const fn with_c2_first(self, c2_first: bool) -> Self {
        Self { c2_first, ..self }
    }

    /// What a stream of this rate may be sent as and a [`sync::search`] can tell apart.
    ///
    /// Puncturing by 3/4 and 5/6 leaves a code in which the inverter's own pattern is a code
    /// sequence (inputs of period 3, 110, and of period 5, 11100, give it): with or without it
    /// the symbols fit equally well, and the mission must say which.
    pub fn variants(rate: Rate) -> impl Iterator<Item = Self> {
        let blind = matches!(rate, Rate::ThreeQuarters | Rate::FiveSixths);
        let standard = Self::standard(rate);
        [(false, false), (true, false), (false, true), (true, true)]
            .into_iter()
            .filter(move |(other_inverter, c2_first)| {
                !(blind && *other_inverter) && (matches!(rate, Rate::Half) || !c2_first)
            })
            .map(move |(other_inverter, c2_first)| {
                standard.with_inverter(standard.inverted != other_inverter).with_c2_first(c2_first)
            })
    }
}

#[cfg(test)]
mod tests;
