//! The frame header error control: a Reed-Solomon code over ten symbols of four bits that corrects
//! two of them (CCSDS 732.0-B-5 §4.1.2.6).
//!
//! It protects what tells whose the frame is (version, spacecraft, virtual channel) and the
//! signalling field; the frame count stands outside, for it changes with every frame and checks
//! itself against its neighbours.

use super::{HEADER_BYTES, HEADER_ERROR_CONTROL_BYTES};

/// x^4 + x + 1.
const POLYNOMIAL: u8 = 0x13;
/// Elements but 0.
const ORDER: usize = 15;
/// Symbols: six protected, four of check.
const SYMBOLS: usize = 10;
const CHECK_SYMBOLS: usize = 4;
/// The generator's roots are α^6 to α^9.
const FIRST_ROOT: usize = 6;

static EXP: [u8; ORDER] = exponentials();

#[allow(clippy::indexing_slicing, reason = "runs in the compiler")]
const fn exponentials() -> [u8; ORDER] {
    let mut table = [0; ORDER];
    let (mut n, mut element) = (0, 1u8);
    while n < ORDER {
        table[n] = element;
        element <<= 1;
        if element & 0x10 != 0 {
            element ^= POLYNOMIAL;
        }
        n += 1;
    }
    table
}

fn power(exponent: usize) -> u8 {
    EXP.get(exponent % ORDER).copied().unwrap_or(0)
}

/// The logarithm; `None` of 0. Fifteen entries are searched as fast as a table is read.
fn log(element: u8) -> Option<usize> {
    EXP.iter().position(|entry| *entry == element)
}

fn times(a: u8, b: u8) -> u8 {
    match (log(a), log(b)) {
        (Some(a), Some(b)) => power(a + b),
        _ => 0,
    }
}

/// The quotient; 0 where the divisor is.
fn over(a: u8, b: u8) -> u8 {
    match (log(a), log(b)) {
        (Some(a), Some(b)) => power(a + ORDER - b),
        _ => 0,
    }
}

type Word = [u8; SYMBOLS];

/// Symbol n of a word stands for x^(9 - n).
fn syndromes(word: &Word) -> [u8; CHECK_SYMBOLS] {
    core::array::from_fn(|n| {
        let root = power(FIRST_ROOT + n);
        word.iter().fold(0, |sum, symbol| times(sum, root) ^ symbol)
    })
}

fn word(header: [u8; HEADER_BYTES], check: [u8; HEADER_ERROR_CONTROL_BYTES]) -> Word {
    let [a, b, .., signalling] = header;
    let [c, d] = check;
    let mut word = [0; SYMBOLS];
    let bytes = [a, b, signalling, c, d];
    for (pair, byte) in word.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[byte >> 4, byte & 0x0F]);
    }
    word
}

/// The check bytes of a header.
pub(super) fn encode(header: [u8; HEADER_BYTES]) -> [u8; HEADER_ERROR_CONTROL_BYTES] {
    // The generator is x^4 + α^3 x^3 + α x^2 + α^3 x + 1; divide by it symbol by symbol.
    let taps = [power(3), power(1), power(3), 1];
    let mut rest = [0u8; CHECK_SYMBOLS];
    for symbol in word(header, [0; 2]).into_iter().take(SYMBOLS - CHECK_SYMBOLS) {
        let [first, second, third, fourth] = rest;
        let feedback = symbol ^ first;
        rest = [second, third, fourth, 0];
        for (cell, tap) in rest.iter_mut().zip(taps) {
            *cell ^= times(feedback, tap);
        }
    }
    let [a, b, c, d] = rest;
    [a << 4 | b, c << 4 | d]
}

/// What became of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Corrected {
    pub(super) header: [u8; HEADER_BYTES],
    /// Symbols that were wrong, check included.
    pub(super) symbols: u8,
}

/// Corrects up to two symbols; `None` where more are wrong.
pub(super) fn correct(
    header: [u8; HEADER_BYTES],
    check: [u8; HEADER_ERROR_CONTROL_BYTES],
) -> Option<Corrected> {
    let mut word = word(header, check);
    let found = syndromes(&word);
    if found == [0; CHECK_SYMBOLS] {
        return Some(Corrected { header, symbols: 0 });
    }
    let errors = locate(found)?;
    let mut symbols = 0;
    for (place, value) in errors.into_iter().filter(|(_, value)| *value != 0) {
        // Beyond the tenth symbol lie those that are never sent: no error can be there.
        let at = (SYMBOLS - 1).checked_sub(place)?;
        *word.get_mut(at)? ^= value;
        symbols += 1;
    }
    if syndromes(&word) != [0; CHECK_SYMBOLS] {
        return None;
    }
    let [a, b, c, d, e, f, ..] = word;
    let [_, _, g, h, i, _] = header;
    let header = [a << 4 | b, c << 4 | d, g, h, i, e << 4 | f];
    Some(Corrected { header, symbols })
}

/// Places (powers of x) and values of one or two errors. With E the value times the first root's
/// power and X the place, syndrome n is the sum of all E X^n; X solves x^2 + p x + q.
fn locate([s0, s1, s2, s3]: [u8; CHECK_SYMBOLS]) -> Option<[(usize, u8); 2]> {
    let determinant = times(s1, s1) ^ times(s0, s2);
    if determinant == 0 {
        let place = log(over(s1, s0))?;
        return Some([(place, value(s0, place)), (0, 0)]);
    }
    let p = over(times(s1, s2) ^ times(s0, s3), determinant);
    let q = over(times(s1, s3) ^ times(s2, s2), determinant);
    let mut roots = (0..ORDER).filter(|place| {
        let x = power(*place);
        times(x, x) ^ times(p, x) ^ q == 0
    });
    let (first, second) = (roots.next()?, roots.next()?);
    let (x, y) = (power(first), power(second));
    let e = over(s1 ^ times(s0, y), x ^ y);
    Some([(first, value(e, first)), (second, value(s0 ^ e, second))])
}

/// The error's value from its part of the first syndrome.
fn value(part: u8, place: usize) -> u8 {
    over(part, power(FIRST_ROOT * place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(identifiers: u16, signalling: u8) -> [u8; HEADER_BYTES] {
        let [a, b] = identifiers.to_be_bytes();
        [a, b, 0xC0, 0x01, 0xD2, signalling]
    }

    /// The words that Yamcs publishes with its decoder.
    #[test]
    fn published_words() {
        assert_eq!(encode(header(0x1234, 0x56)), [0x94, 0xDC]);
        assert_eq!(encode(header(0x369C, 0xFA)), [0x45, 0x7C]);
        let right = header(0x1234, 0x56);
        for (identifiers, signalling, check) in [
            (0x1234, 0x56, [0x94, 0x00]),
            (0x1211, 0x56, [0x94, 0xDC]),
            (0x1234, 0xAA, [0x94, 0xDC]),
        ] {
            let corrected = correct(header(identifiers, signalling), check).unwrap();
            assert_eq!(corrected, Corrected { header: right, symbols: 2 });
        }
        assert_eq!(correct(header(0x1230, 0x00), [0x94, 0xDC]), None);
    }

    #[test]
    fn the_generator_has_its_roots() {
        let generator = [1, power(3), power(1), power(3), 1];
        for root in 0..ORDER {
            let at = generator.iter().fold(0, |sum, term| times(sum, power(root)) ^ term);
            assert_eq!(at == 0, (6..=9).contains(&root), "α^{root}");
        }
    }

    /// The code is linear, so the zero word stands for all.
    #[test]
    fn every_one_and_two_wrong_symbols_are_corrected() {
        let bytes = |word: Word| {
            let [a, b, c, d, e, f, g, h, i, j] = word;
            ([a << 4 | b, c << 4 | d, 0, 0, 0, e << 4 | f], [g << 4 | h, i << 4 | j])
        };
        for first in 0..SYMBOLS {
            for second in 0..=first {
                for (a, b) in (1..16).flat_map(|a| (1..16).map(move |b| (a, b))) {
                    let mut word = [0; SYMBOLS];
                    (word[first], word[second]) = (a, b);
                    let (header, check) = bytes(word);
                    let symbols = if first == second { 1 } else { 2 };
                    let right = Corrected { header: [0; HEADER_BYTES], symbols };
                    assert_eq!(correct(header, check), Some(right), "{word:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_corrected_is_a_codeword_two_symbols_off_at_most(
            bytes: [u8; HEADER_BYTES],
            check: [u8; 2],
        ) {
            if let Some(corrected) = correct(bytes, check) {
                let before = word(bytes, check);
                let after = word(corrected.header, encode(corrected.header));
                let wrong = before.iter().zip(after).filter(|(a, b)| *a != b).count();
                prop_assert_eq!(wrong, usize::from(corrected.symbols));
                prop_assert!(wrong <= 2);
                prop_assert_eq!(&corrected.header[2..5], &bytes[2..5], "the count is outside");
            }
        }

        #[test]
        fn three_wrong_symbols_never_give_the_header_back(
            identifiers: u16,
            signalling: u8,
            places in prop::sample::subsequence((0..SYMBOLS).collect::<std::vec::Vec<_>>(), 3),
            values in [1u8..16, 1u8..16, 1u8..16],
        ) {
            let right = header(identifiers, signalling);
            let mut wrong = word(right, encode(right));
            for (place, value) in places.into_iter().zip(values) {
                wrong[place] ^= value;
            }
            let [a, b, c, d, e, f, g, h, i, j] = wrong;
            let bytes = [a << 4 | b, c << 4 | d, 0xC0, 0x01, 0xD2, e << 4 | f];
            let corrected = correct(bytes, [g << 4 | h, i << 4 | j]);
            // At worst it is taken for another header's word.
            prop_assert_ne!(corrected.map(|corrected| corrected.header), Some(right));
        }
    }
}
