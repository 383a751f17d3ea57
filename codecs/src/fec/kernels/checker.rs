//! A kernel at work: constants for its code, the check, and the solver behind it.

use super::Syndromes;
use super::nibbles;
use super::reed_solomon::{Kernel, Set};
use crate::fec::reed_solomon::solve::{Errors, solve};
use crate::fec::reed_solomon::{Code, Strength};
use alloc::sync::Arc;

#[cfg(target_arch = "x86_64")]
use super::{
    solver,
    tables::{MAX_PADDED_BYTES, Tables},
    x86,
};
#[cfg(target_arch = "x86_64")]
use crate::fec::reed_solomon::CODEWORD_BYTES;

/// A kernel with its constants for a code and a depth: finds the codewords of a block that are not
/// clean, and their errors.
#[derive(Clone, Debug)]
pub(in crate::fec) struct Checker {
    kernel: Kernel,
    constants: Constants,
}

#[derive(Clone, Debug)]
enum Constants {
    #[cfg(target_arch = "x86_64")]
    Gfni(Arc<Tables>),
    Nibbles(Arc<nibbles::Tables>),
}

impl Checker {
    /// `None` leaves the work to the portable twin.
    pub(in crate::fec) fn new(kernel: Kernel, code: Code, interleave: usize) -> Option<Self> {
        let constants = match kernel.0 {
            Set::Portable => return None,
            #[cfg(target_arch = "aarch64")]
            Set::Neon => Constants::Nibbles(Arc::new(nibbles::Tables::new(code, interleave, 1))),
            #[cfg(target_arch = "x86_64")]
            Set::Ssse3 => Constants::Nibbles(Arc::new(nibbles::Tables::new(code, interleave, 1))),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => Constants::Nibbles(Arc::new(nibbles::Tables::new(code, interleave, 2))),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2Gfni => Constants::Gfni(Arc::new(Tables::new(code, interleave, 32))),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Gfni => Constants::Gfni(Arc::new(Tables::new(code, interleave, 64))),
        };
        Some(Self { kernel, constants })
    }

    /// Which it is.
    pub(in crate::fec) const fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// A bit for each codeword that is not clean; their syndromes are left behind. A block shorter
    /// than whole codewords has virtual fill in front; a longer one is not read past them.
    pub(in crate::fec) fn dirty(&self, block: &[u8], syndromes: &mut Syndromes) -> u8 {
        match &self.constants {
            #[cfg(target_arch = "x86_64")]
            Constants::Gfni(tables) => self.dirty_gfni(tables, block, syndromes),
            // SAFETY: the kernel was made only where the processor has its features, and its tables
            // are for as many lanes.
            #[cfg(target_arch = "x86_64")]
            Constants::Nibbles(tables) => unsafe {
                match self.kernel.0 {
                    Set::Avx2 => nibbles::dirty_avx2(tables, block, syndromes),
                    _ => nibbles::dirty_ssse3(tables, block, syndromes),
                }
            },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Constants::Nibbles(tables) => unsafe { nibbles::dirty_neon(tables, block, syndromes) },
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn dirty_gfni(&self, tables: &Tables, block: &[u8], syndromes: &mut Syndromes) -> u8 {
        let whole = tables.interleave * CODEWORD_BYTES;
        let is_wide = self.kernel.0 == Set::Avx512Gfni;
        if is_wide && block.len() >= whole {
            // SAFETY: the kernel was made only where the processor has its features.
            return unsafe { x86::dirty64(tables, block, syndromes) };
        }
        // Fill is zeros in front; narrow registers read a little past the end.
        let mut padded = [0; MAX_PADDED_BYTES];
        let start = whole.saturating_sub(block.len());
        if let (Some(to), Some(from)) = (padded.get_mut(start..whole), block.get(..whole - start)) {
            to.copy_from_slice(from);
        }
        // SAFETY: as above.
        unsafe {
            if is_wide {
                x86::dirty64(tables, &padded, syndromes)
            } else {
                x86::dirty32(tables, &padded, syndromes)
            }
        }
    }

    /// The errors of one codeword of those whose syndromes [`Self::dirty`] left; `None` where no
    /// correctable number explains them.
    pub(in crate::fec) fn solve(
        &self,
        strength: Strength,
        syndromes: &Syndromes,
        lane: usize,
    ) -> Option<Errors> {
        match &self.constants {
            // SAFETY: the kernel was made only where the processor has its features.
            #[cfg(target_arch = "x86_64")]
            Constants::Gfni(tables) => unsafe { solver::solve(tables, strength, syndromes, lane) },
            Constants::Nibbles(tables) => solve(strength, &tables.elements(syndromes, lane)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fec::kernels::NO_SYNDROMES;
    use crate::fec::reed_solomon::Block;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn the_portable_code_is_always_there() {
        let all = Kernel::all();
        assert_eq!(all.last(), Some(&Kernel::PORTABLE));
        assert_eq!(Kernel::best(), all[0]);
        assert!(Checker::new(Kernel::PORTABLE, Code::ALL[0], 1).is_none());
    }

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
            let mut first = None;
            for kernel in Kernel::all() {
                let Some(checker) = Checker::new(kernel, code, depth) else { continue };
                let mut syndromes = NO_SYNDROMES;
                prop_assert_eq!(checker.dirty(&bytes, &mut syndromes), dirty, "{}", kernel.name());
                let errors = |lane| checker.solve(code.strength, &syndromes, lane);
                let errors = (0..depth).map(|lane| errors(lane).map(|all| all.iter().collect()));
                let errors: Vec<Option<Vec<_>>> = errors.collect();
                prop_assert_eq!(first.get_or_insert(errors.clone()), &errors, "{}", kernel.name());
            }
        }
    }
}
