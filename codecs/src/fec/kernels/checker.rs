//! Which kernel checks a block, and what it needs.

use super::tables::{MAX_PADDED_BYTES, Syndromes, Tables};
use super::{solver, x86};
use crate::fec::reed_solomon::solve::Errors;
use crate::fec::reed_solomon::{CODEWORD_BYTES, Code, Strength};
use alloc::sync::Arc;

/// Finds the codewords of a block that are not clean.
#[derive(Clone, Debug)]
pub(in crate::fec) struct Checker {
    tables: Arc<Tables>,
    width: Width,
}

/// How wide the registers are; made only where the processor has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    Bytes64,
    Bytes32,
}

impl Width {
    /// All that this processor has for blocks of a depth, the widest first.
    fn available(interleave: usize) -> impl Iterator<Item = Self> {
        let wide = x86::has_bytes64().then_some(Self::Bytes64);
        // Narrow registers hold no whole number of rows of three or five codewords to fold.
        let narrow = x86::has_bytes32() && interleave.is_power_of_two();
        wide.into_iter().chain(narrow.then_some(Self::Bytes32))
    }

    /// Bytes of a register that are used: whole rows, as many as a power of two says.
    const fn used(self, interleave: usize) -> usize {
        let bytes: usize = match self {
            Self::Bytes64 => 64,
            Self::Bytes32 => 32,
        };
        let rows = bytes / interleave;
        interleave << rows.ilog2()
    }
}

impl Checker {
    /// The fastest that this processor has; `None` leaves it to the portable code.
    pub(in crate::fec) fn new(code: Code, interleave: usize) -> Option<Self> {
        Width::available(interleave).next().map(|width| Self::with(code, interleave, width))
    }

    /// Every one that this processor has: for tests.
    #[cfg(test)]
    fn all(code: Code, interleave: usize) -> impl Iterator<Item = Self> {
        Width::available(interleave).map(move |width| Self::with(code, interleave, width))
    }

    fn with(code: Code, interleave: usize, width: Width) -> Self {
        let tables = Arc::new(Tables::new(code, interleave, width.used(interleave)));
        Self { tables, width }
    }

    /// For reports.
    pub(in crate::fec) const fn name(&self) -> &'static str {
        match self.width {
            Width::Bytes64 => "avx512+gfni",
            Width::Bytes32 => "avx2+gfni",
        }
    }

    /// The errors of one codeword of those whose syndromes [`Self::dirty`] gave.
    pub(in crate::fec) fn solve(
        &self,
        strength: Strength,
        syndromes: &Syndromes,
        lane: usize,
    ) -> Option<Errors> {
        let values = syndromes.map(|values| values.get(lane).copied().unwrap_or(0));
        solver::solve(&self.tables, strength, &values)
    }

    /// A bit for each codeword that is not clean, and their syndromes. A block shorter than whole codewords has virtual
    /// fill in front; a longer one is not read past them.
    pub(in crate::fec) fn dirty(&self, block: &[u8]) -> (u8, Syndromes) {
        let whole = self.tables.interleave * CODEWORD_BYTES;
        match self.width {
            Width::Bytes64 if block.len() >= whole => x86::dirty64(&self.tables, block),
            width => {
                // Fill is zeros in front; narrow registers read a little past the end.
                let mut padded = [0; MAX_PADDED_BYTES];
                let start = whole.saturating_sub(block.len());
                for (to, from) in padded.iter_mut().skip(start).zip(block) {
                    *to = *from;
                }
                match width {
                    Width::Bytes64 => x86::dirty64(&self.tables, &padded),
                    Width::Bytes32 => x86::dirty32(&self.tables, &padded),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fec::reed_solomon::Block;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_kernel_finds_exactly_the_dirty_codewords(
            code in prop::sample::select(&Code::ALL),
            depth in prop::sample::select(&[1usize, 2, 3, 4, 5, 8]),
            fill in prop_oneof![Just(0usize), 0usize..200],
            seed in any::<u64>(),
            flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 0..6),
        ) {
            let block = Block::new(code, depth, fill).unwrap().portable();
            // Noise enough: the high bytes of multiples of an odd number.
            let noise = (1..).map(|n: u64| ((n ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8);
            let mut bytes: Vec<u8> = noise.take(block.bytes()).collect();
            block.encode(&mut bytes).unwrap();
            for (at, flip) in flips {
                let at = at.index(bytes.len());
                bytes[at] ^= flip;
            }
            let report = block.decode(&mut bytes.clone()).unwrap();
            let outcomes = report.outcomes().iter().zip(0u8..);
            let dirty = outcomes.fold(0u8, |dirty, (outcome, lane)| {
                dirty | u8::from(*outcome != Default::default()) << lane
            });
            let mut widest = None;
            for checker in Checker::all(code, depth) {
                let lanes = checker.dirty(&bytes).1.map(|values| values[..depth].to_vec());
                prop_assert_eq!(widest.get_or_insert(lanes.clone()), &lanes, "{}", checker.name());
                prop_assert_eq!(checker.dirty(&bytes).0, dirty, "{}", checker.name());
            }
        }
    }
}
