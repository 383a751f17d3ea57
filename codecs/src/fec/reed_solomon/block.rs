//! Codeblocks: one to eight codewords interleaved symbol by symbol, so that a burst of errors is
//! shared between them (CCSDS 131.0-B-5 §4.3.5).
//!
//! The block is the frame followed by the parity of all its codewords, interleaved too. A block
//! shortened by virtual fill leaves out the first symbols of every codeword: zeros that encoder
//! and decoder know of (§4.3.7).

use super::register::{Multiples, Register, Remainder, sent, syndromes, table};
use super::solve::{Errors, solve};
use super::{CODEWORD_BYTES, Code, MAX_PARITY_BYTES, Outcome};
use crate::fec::kernels::NO_SYNDROMES;
use crate::fec::kernels::{Checker, reed_solomon::Kernel};

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
        let checker = Checker::new(Kernel::best(), code, interleave);
        Ok(Self { code, interleave, fill, checker })
    }

    /// The same, checked by another kernel than the fastest.
    pub fn with_kernel(mut self, kernel: Kernel) -> Self {
        self.checker = Checker::new(kernel, self.code, self.interleave);
        self
    }

    /// The same without wide registers, whatever the processor has: their twin in tests.
    pub fn portable(self) -> Self {
        self.with_kernel(Kernel::PORTABLE)
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
        self.checker.as_ref().map_or(Kernel::PORTABLE, Checker::kernel).name()
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
        self.measure(block).is_ok()
            && match &self.checker {
                Some(checker) => checker.dirty(block, &mut NO_SYNDROMES.clone()) == 0,
                None => dirty(&self.remainders(block)) == 0,
            }
    }

    /// Corrects the block in place. A codeword that can't be corrected is left as it is and hides
    /// nothing of its neighbours.
    pub fn decode(&self, block: &mut [u8]) -> Result<Report, BlockError> {
        self.measure(block)?;
        let strength = self.code.strength;
        Ok(match &self.checker {
            Some(checker) => {
                let mut syndromes = NO_SYNDROMES;
                let dirty = checker.dirty(block, &mut syndromes);
                self.mend(block, dirty, |lane| checker.solve(strength, &syndromes, lane))
            }
            None => {
                let remainders = self.remainders(block);
                self.mend(block, dirty(&remainders), |lane| {
                    solve(strength, &syndromes(self.code, remainders.get(lane)?))
                })
            }
        })
    }

    /// Corrects the codewords of which there is a bit in `dirty`.
    fn mend(
        &self,
        block: &mut [u8],
        mut dirty: u8,
        solve: impl Fn(usize) -> Option<Errors>,
    ) -> Report {
        let mut report = Report { codewords: self.interleave, ..Report::default() };
        while dirty != 0 {
            let lane = dirty.trailing_zeros() as usize;
            dirty &= dirty - 1;
            let Some(outcome) = report.outcomes.get_mut(lane) else { break };
            *outcome = Outcome::Failed;
            // A correction of the fill, whose symbols are known to be right, is no correction.
            if let Some(errors) = solve(lane)
                && errors.iter().next_back().is_none_or(|first| first.at >= self.fill)
            {
                self.correct(block, lane, &errors);
                *outcome = Outcome::Corrected(errors.count() as u8);
            }
        }
        report
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

/// A bit for each codeword that leaves something.
fn dirty(remainders: &[Remainder; MAX_INTERLEAVE]) -> u8 {
    remainders.iter().zip(0u8..).fold(0, |dirty, (remainder, lane)| {
        dirty | u8::from(remainder.iter().any(|symbol| *symbol != 0)) << lane
    })
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
