//! Codeblocks: one to eight codewords interleaved symbol by symbol, so that a burst of errors is
//! shared between them (CCSDS 131.0-B-5 §4.3.5).
//!
//! The block is the frame followed by the parity of all its codewords, interleaved too. A block
//! shortened by virtual fill leaves out the first symbols of every codeword: zeros that encoder
//! and decoder know of (§4.3.7).

use super::register::{Multiples, Register, Remainder, sent, syndromes, table};
use super::solve::{Errors, solve};
use super::{CODEWORD_BYTES, Code, MAX_PARITY_BYTES, Outcome};
use crate::fec::kernels::{Checker, Syndromes};

/// Most codewords of a block.
pub const MAX_INTERLEAVE: usize = 8;
/// Longest block: 2,040 bytes.
pub const MAX_BLOCK_BYTES: usize = MAX_INTERLEAVE * CODEWORD_BYTES;

/// Why there is no such block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The depth is not one of the standard's.
    #[error("an interleaving depth of {0}; the standard has 1, 2, 3, 4, 5 and 8")]
    Interleave(usize),
    /// Virtual fill leaves no information symbol.
    #[error("virtual fill of {fill} symbols a codeword, which has {information}")]
    Fill {
        /// Symbols of fill in each codeword.
        fill: usize,
        /// Information symbols of each codeword.
        information: usize,
    },
    /// The bytes are not one block.
    #[error("a block of {found} bytes where {expected} are configured")]
    Length {
        /// Bytes of a block.
        expected: usize,
        /// Bytes there are.
        found: usize,
    },
}

/// What became of the codewords of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    outcomes: [Outcome; MAX_INTERLEAVE],
    codewords: usize,
}

impl Report {
    /// The codewords' outcomes in the order of interleaving.
    pub fn outcomes(&self) -> &[Outcome] {
        self.outcomes.get(..self.codewords).unwrap_or(&[])
    }

    /// Symbols corrected in all codewords, parity symbols included (other tools leave them out).
    pub fn corrected(&self) -> u32 {
        let corrected = self.outcomes().iter().map(|outcome| match outcome {
            Outcome::Corrected(symbols) => u32::from(*symbols),
            Outcome::Clean | Outcome::Failed => 0,
        });
        corrected.sum()
    }

    /// Codewords that were corrected.
    pub fn corrected_codewords(&self) -> u32 {
        let corrected = |outcome: &&Outcome| matches!(outcome, Outcome::Corrected(_));
        self.outcomes().iter().filter(corrected).count() as u32
    }

    /// Codewords that could not be corrected.
    pub fn failed(&self) -> u32 {
        self.outcomes().iter().filter(|outcome| **outcome == Outcome::Failed).count() as u32
    }
}

/// What a check leaves for the solver.
#[allow(clippy::large_enum_variant, reason = "lives on the stack for one block")]
enum Evidence {
    /// Of the kernel, in its own field.
    Syndromes(Syndromes),
    /// Of the portable division.
    Remainders([Remainder; MAX_INTERLEAVE]),
}

/// The blocks of a physical channel; build one and use it for all of them.
#[derive(Clone, Debug)]
pub struct Block {
    code: Code,
    interleave: usize,
    fill: usize,
    checker: Option<Checker>,
}

impl Block {
    /// Blocks of `interleave` codewords, each with `fill` symbols of virtual fill.
    pub fn new(code: Code, interleave: usize, fill: usize) -> Result<Self, BlockError> {
        if !matches!(interleave, 1 | 2 | 3 | 4 | 5 | 8) {
            return Err(BlockError::Interleave(interleave));
        }
        let information = code.strength.information();
        if fill >= information {
            return Err(BlockError::Fill { fill, information });
        }
        let checker = Checker::new(code, interleave);
        Ok(Self { code, interleave, fill, checker })
    }

    /// The same without wide registers, whatever the processor has: their twin in tests.
    pub fn portable(mut self) -> Self {
        self.checker = None;
        self
    }

    /// The code of its codewords.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// How many codewords are interleaved.
    pub const fn interleave(&self) -> usize {
        self.interleave
    }

    /// Symbols of virtual fill in each codeword.
    pub const fn fill(&self) -> usize {
        self.fill
    }

    /// Bytes of frame in a block.
    pub const fn frame_bytes(&self) -> usize {
        self.interleave * (self.code.strength.information() - self.fill)
    }

    /// Bytes of a block: frame and parity.
    pub const fn bytes(&self) -> usize {
        self.interleave * (CODEWORD_BYTES - self.fill)
    }

    /// Which way codewords are checked, for reports.
    pub fn kernel(&self) -> &'static str {
        self.checker.as_ref().map_or("portable", Checker::name)
    }

    /// Writes the parity of the frame that the block begins with.
    pub fn encode(&self, block: &mut [u8]) -> Result<(), BlockError> {
        self.measure(block)?;
        let (frame, parity) = block.split_at_mut(self.frame_bytes());
        let remainders = self.divide(frame);
        for (n, symbols) in parity.chunks_exact_mut(self.interleave).enumerate() {
            for (symbol, remainder) in symbols.iter_mut().zip(&remainders) {
                *symbol = remainder.get(n).copied().unwrap_or(0);
            }
        }
        Ok(())
    }

    /// Whether every codeword is right as it stands.
    pub fn holds(&self, block: &[u8]) -> bool {
        self.measure(block).is_ok() && self.dirty(block).0 == 0
    }

    /// Corrects the block in place. A codeword that can't be corrected is left as it is and hides
    /// nothing of its neighbours.
    pub fn decode(&self, block: &mut [u8]) -> Result<Report, BlockError> {
        self.measure(block)?;
        let mut report = Report { codewords: self.interleave, ..Report::default() };
        let (dirty, evidence) = self.dirty(block);
        if dirty == 0 {
            return Ok(report);
        }
        let strength = self.code.strength;
        for (lane, outcome) in report.outcomes.iter_mut().take(self.interleave).enumerate() {
            if dirty >> lane & 1 == 0 {
                continue;
            }
            *outcome = Outcome::Failed;
            let errors = match (&evidence, &self.checker) {
                (Evidence::Syndromes(found), Some(checker)) => checker.solve(strength, found, lane),
                (Evidence::Remainders(found), _) => found
                    .get(lane)
                    .and_then(|remainder| solve(strength, &syndromes(self.code, remainder))),
                _ => None,
            };
            // A correction of the fill, whose symbols are known to be right, is no correction.
            if let Some(errors) = errors
                && errors.iter().all(|error| error.at >= self.fill)
            {
                self.correct(block, lane, &errors);
                *outcome = Outcome::Corrected(errors.count() as u8);
            }
        }
        Ok(report)
    }

    fn correct(&self, block: &mut [u8], lane: usize, errors: &Errors) {
        for error in errors.iter() {
            let place = error.at.saturating_sub(self.fill) * self.interleave + lane;
            if let Some(symbol) = block.get_mut(place) {
                *symbol ^= sent(self.code.basis, error.value);
            }
        }
    }

    fn measure(&self, block: &[u8]) -> Result<(), BlockError> {
        let (expected, found) = (self.bytes(), block.len());
        if expected == found { Ok(()) } else { Err(BlockError::Length { expected, found }) }
    }

    /// Which codewords are not clean, a bit each, and what shows it.
    fn dirty(&self, block: &[u8]) -> (u8, Evidence) {
        if let Some(checker) = &self.checker {
            let (dirty, syndromes) = checker.dirty(block);
            return (dirty, Evidence::Syndromes(syndromes));
        }
        let remainders = self.remainders(block);
        let bits = remainders.iter().zip(0u8..);
        let dirty = bits.fold(0, |dirty, (remainder, lane)| {
            dirty | u8::from(remainder.iter().any(|symbol| *symbol != 0)) << lane
        });
        (dirty, Evidence::Remainders(remainders))
    }

    /// What each codeword leaves when it is divided by the generator; zeros where it is clean.
    fn remainders(&self, block: &[u8]) -> [Remainder; MAX_INTERLEAVE] {
        let (frame, parity) = block.split_at(block.len().min(self.frame_bytes()));
        let mut remainders = self.divide(frame);
        for (n, symbols) in parity.chunks_exact(self.interleave).enumerate() {
            for (remainder, symbol) in remainders.iter_mut().zip(symbols) {
                if let Some(difference) = remainder.get_mut(n) {
                    *difference ^= symbol;
                }
            }
        }
        remainders
    }

    fn divide(&self, frame: &[u8]) -> [Remainder; MAX_INTERLEAVE] {
        let table = table(self.code);
        match self.interleave {
            1 => divide::<1>(table, frame),
            2 => divide::<2>(table, frame),
            3 => divide::<3>(table, frame),
            4 => divide::<4>(table, frame),
            5 => divide::<5>(table, frame),
            _ => divide::<8>(table, frame),
        }
    }
}

/// The parity of `DEPTH` interleaved codewords, side by side: the divisions don't wait for one
/// another.
fn divide<const DEPTH: usize>(table: &Multiples, frame: &[u8]) -> [Remainder; MAX_INTERLEAVE] {
    let mut registers = [Register::default(); DEPTH];
    for symbols in frame.as_chunks::<DEPTH>().0 {
        for (register, symbol) in registers.iter_mut().zip(symbols) {
            register.push(table, *symbol);
        }
    }
    let mut remainders = [[0; MAX_PARITY_BYTES]; MAX_INTERLEAVE];
    for (remainder, register) in remainders.iter_mut().zip(registers) {
        *remainder = register.remainder();
    }
    remainders
}
