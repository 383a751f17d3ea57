//! The codes against the definition, and each trap of real links that a decoder can fall into.

use super::*;
use crate::fec::field::{FROM_DUAL, TO_DUAL, power, times};
use crate::fec::kernels::reed_solomon::Kernel;
use alloc::vec::Vec;
use proptest::prelude::*;

const DEPTHS: [usize; 6] = [1, 2, 3, 4, 5, 8];

/// A small generator of reproducible noise.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 11) as usize % bound
    }
}

fn encoded(block: &Block, noise: &mut Noise) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..block.bytes()).map(|_| noise.next() as u8).collect();
    block.encode(&mut bytes).unwrap();
    bytes
}

/// Puts wrong symbols at distinct places of one codeword.
fn damage(block: &Block, bytes: &mut [u8], lane: usize, errors: usize, noise: &mut Noise) {
    let mut places: Vec<usize> = (0..CODEWORD_BYTES - block.fill()).collect();
    for _ in 0..errors {
        let place = places.swap_remove(noise.below(places.len()));
        bytes[place * block.interleave() + lane] ^= 1 + noise.below(255) as u8;
    }
}

/// The symbols of one codeword as elements of the field, its virtual fill in front.
fn codeword(block: &Block, bytes: &[u8], lane: usize) -> Vec<u8> {
    let element = |symbol: &u8| match block.code().basis {
        Basis::Dual => FROM_DUAL[usize::from(*symbol)],
        Basis::Conventional => *symbol,
    };
    let sent = bytes.iter().skip(lane).step_by(block.interleave()).map(element);
    core::iter::repeat_n(0, block.fill()).chain(sent).collect()
}

#[test]
fn codewords_vanish_at_the_roots_of_the_standard() {
    let mut noise = Noise(1);
    for code in Code::ALL {
        let block = Block::new(code, 3, 10).unwrap();
        let bytes = encoded(&block, &mut noise);
        // CCSDS 131.0-B-5 §4.3.4; the first root differs between the codes.
        let roots = match code.strength {
            Strength::Sixteen => 112..144,
            Strength::Eight => 120..136,
        };
        for lane in 0..3 {
            let word = codeword(&block, &bytes, lane);
            assert_eq!(word.len(), 255);
            for root in roots.clone() {
                let x = power(11 * root);
                let value = word.iter().fold(0, |sum, symbol| times(sum, x) ^ symbol);
                assert_eq!(value, 0, "{code:?}, codeword {lane}, root {root}");
            }
            let beside = power(11 * (roots.start - 1));
            assert_ne!(word.iter().fold(0, |sum, symbol| times(sum, beside) ^ symbol), 0);
        }
    }
}

#[test]
fn sixteen_errors_are_corrected_and_seventeen_found() {
    let mut noise = Noise(2);
    for code in Code::ALL {
        let block = Block::new(code, 1, 0).unwrap();
        let most = code.strength.correctable();
        for errors in 0..=most + 1 {
            for _ in 0..40 {
                let right = encoded(&block, &mut noise);
                let mut bytes = right.clone();
                damage(&block, &mut bytes, 0, errors, &mut noise);
                let wrong = bytes.clone();
                let report = block.decode(&mut bytes).unwrap();
                match errors {
                    0 => assert_eq!(report.outcomes(), [Outcome::Clean]),
                    _ if errors <= most => {
                        assert_eq!(report.outcomes(), [Outcome::Corrected(errors as u8)]);
                        assert_eq!((report.corrected(), report.failed()), (errors as u32, 0));
                    }
                    // Of the weaker code one in 8! x 2 such words lies near another codeword.
                    _ => {
                        assert_eq!(report.outcomes(), [Outcome::Failed], "{code:?}");
                        assert_eq!(bytes, wrong, "left as received");
                        continue;
                    }
                }
                assert_eq!(bytes, right);
            }
        }
    }
}

#[test]
fn a_failed_codeword_hides_no_neighbour() {
    let mut noise = Noise(3);
    for depth in DEPTHS {
        let block = Block::new(Code::ALL[0], depth, 5).unwrap();
        let right = encoded(&block, &mut noise);
        let mut bytes = right.clone();
        for lane in 0..depth {
            damage(&block, &mut bytes, lane, [17, 3, 0, 16][lane % 4], &mut noise);
        }
        let report = block.decode(&mut bytes).unwrap();
        let expected =
            [Outcome::Failed, Outcome::Corrected(3), Outcome::Clean, Outcome::Corrected(16)];
        let expected: Vec<Outcome> = expected.into_iter().cycle().take(depth).collect();
        assert_eq!(report.outcomes(), expected, "depth {depth}");
        for lane in (0..depth).filter(|lane| lane % 4 != 0) {
            let lane_of = |bytes: &[u8]| codeword(&block, bytes, lane);
            assert_eq!(lane_of(&bytes), lane_of(&right), "depth {depth}, codeword {lane}");
        }
    }
}

#[test]
fn a_correction_inside_the_fill_is_a_failure() {
    // A codeword with one nonzero symbol where the shorter code has fill, sent without it: one
    // error explains it, in a symbol that was never sent.
    let mut noise = Noise(4);
    for code in Code::ALL {
        let whole = Block::new(code, 1, 0).unwrap();
        let short = Block::new(code, 1, 20).unwrap();
        for place in [0, 7, 19] {
            let mut word: Vec<u8> = (0..255).map(|_| noise.next() as u8).collect();
            word[..20].fill(0);
            word[place] = 0x5A;
            whole.encode(&mut word).unwrap();
            let mut sent = word[20..].to_vec();
            let report = short.decode(&mut sent).unwrap();
            assert_eq!(report.outcomes(), [Outcome::Failed], "{code:?}, fill {place}");
            assert_eq!(sent, word[20..], "left as received");
            // The same bytes as a whole codeword are one error away.
            word[place] = 0;
            let report = whole.decode(&mut word).unwrap();
            assert_eq!(report.outcomes(), [Outcome::Corrected(1)]);
        }
    }
}

#[test]
fn fill_is_counted_in_each_codeword() {
    let block = Block::new(Code::ALL[0], 5, 1).unwrap();
    assert_eq!((block.frame_bytes(), block.bytes()), (5 * 222, 5 * 254));
    let error = BlockError::Fill { fill: 223, information: 223 };
    assert_eq!(Block::new(Code::ALL[0], 1, 223).unwrap_err(), error);
    assert!(Block::new(Code::ALL[0], 1, 222).is_ok());
    assert_eq!(Block::new(Code::ALL[2], 6, 0).unwrap_err(), BlockError::Interleave(6));
    let length = BlockError::Length { expected: 1270, found: 1269 };
    assert_eq!(block.decode(&mut [0; 1269]), Err(length));
    assert_eq!(block.encode(&mut [0; 1269]), Err(length));
    assert!(!block.holds(&[0; 1269]) && block.holds(&[0; 1270]));
}

#[test]
fn interleaving_is_by_symbol_parity_included() {
    let mut noise = Noise(5);
    for depth in DEPTHS {
        let block = Block::new(Code::ALL[0], depth, 0).unwrap();
        let single = Block::new(Code::ALL[0], 1, 0).unwrap();
        let bytes = encoded(&block, &mut noise);
        for lane in 0..depth {
            let lane: Vec<u8> = bytes.iter().skip(lane).step_by(depth).copied().collect();
            assert!(single.holds(&lane), "depth {depth}");
        }
    }
}

#[test]
fn a_codeword_of_one_basis_is_none_of_the_other() {
    let mut noise = Noise(6);
    let dual = Block::new(Code::ALL[0], 1, 0).unwrap();
    let conventional = Block::new(Code::ALL[1], 1, 0).unwrap();
    let word = encoded(&dual, &mut noise);
    assert_eq!(conventional.decode(&mut word.clone()).unwrap().failed(), 1);
    // Symbol by symbol the one is the other.
    let same: Vec<u8> = word.iter().map(|symbol| FROM_DUAL[usize::from(*symbol)]).collect();
    assert!(conventional.holds(&same));
    let back: Vec<u8> = same.iter().map(|symbol| TO_DUAL[usize::from(*symbol)]).collect();
    assert_eq!(back, word);
}

proptest! {
    #[test]
    fn kernels_equal_the_portable_code(
        code in prop::sample::select(&Code::ALL),
        depth in prop::sample::select(&DEPTHS),
        fill in prop_oneof![Just(0usize), 0usize..200],
        errors in prop::collection::vec(0usize..18, 8),
        seed in 1u64..,
    ) {
        let mut noise = Noise(seed);
        let block = Block::new(code, depth, fill).unwrap();
        let portable = block.clone().portable();
        let right = encoded(&block, &mut noise);
        prop_assert!(block.holds(&right) && portable.holds(&right));
        let mut bytes = right.clone();
        for (lane, errors) in errors.iter().take(depth).enumerate() {
            let room = CODEWORD_BYTES - fill;
            damage(&block, &mut bytes, lane, *errors % room, &mut noise);
        }
        let damaged = bytes.clone();
        let report = portable.decode(&mut bytes).unwrap();
        for kernel in Kernel::all() {
            let twin = block.clone().with_kernel(kernel);
            prop_assert!(twin.holds(&right));
            prop_assert_eq!(twin.holds(&damaged), portable.holds(&damaged));
            let mut mended = damaged.clone();
            prop_assert_eq!(twin.decode(&mut mended).unwrap(), report, "{}", twin.kernel());
            prop_assert_eq!(&mended, &bytes, "{}", twin.kernel());
        }
        let correctable = code.strength.correctable();
        for (lane, errors) in errors.iter().take(depth).enumerate() {
            if *errors <= correctable {
                let word = codeword(&block, &bytes, lane);
                prop_assert_eq!(word, codeword(&block, &right, lane));
            }
        }
    }

    #[test]
    fn noise_never_leaves_a_codeword_that_is_none(
        code in prop::sample::select(&Code::ALL),
        depth in prop::sample::select(&DEPTHS),
        fill in 0usize..239,
        seed in 1u64..,
    ) {
        prop_assume!(fill < code.strength.information());
        let mut noise = Noise(seed);
        let block = Block::new(code, depth, fill).unwrap();
        let mut bytes: Vec<u8> = (0..block.bytes()).map(|_| noise.next() as u8).collect();
        let report = block.decode(&mut bytes).unwrap();
        prop_assert_eq!(report.failed() == 0, block.holds(&bytes));
    }

    #[test]
    fn every_flipped_bit_is_seen_and_mended(
        code in prop::sample::select(&Code::ALL),
        depth in prop::sample::select(&DEPTHS),
        bit in any::<prop::sample::Index>(),
        seed in 1u64..,
    ) {
        let block = Block::new(code, depth, 0).unwrap();
        let right = encoded(&block, &mut Noise(seed));
        let mut bytes = right.clone();
        let bit = bit.index(8 * bytes.len());
        bytes[bit / 8] ^= 0x80 >> (bit % 8);
        prop_assert!(!block.holds(&bytes));
        let report = block.decode(&mut bytes).unwrap();
        prop_assert_eq!(report.outcomes()[bit / 8 % depth], Outcome::Corrected(1));
        prop_assert_eq!(report.corrected(), 1);
        prop_assert_eq!(bytes, right);
    }
}
