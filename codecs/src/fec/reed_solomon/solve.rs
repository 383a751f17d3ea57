//! The errors of one codeword from its syndromes: Berlekamp-Massey for the locator polynomial,
//! Chien's search for its roots, Forney's formula for the values.

use super::{CODEWORD_BYTES, MAX_PARITY_BYTES, ROOT_STEP, Strength};
use crate::fec::field::{EXP, ORDER, log, over, power, times};

/// Most errors of a codeword.
pub(in crate::fec) const MAX_ERRORS: usize = MAX_PARITY_BYTES / 2;
/// Coefficients of a polynomial while it is sought: its degree may pass what can be corrected.
const COEFFICIENTS: usize = MAX_PARITY_BYTES + 1;

type Polynomial = [u8; COEFFICIENTS];

/// One wrong symbol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::fec) struct Error {
    /// Its place, counted from the codeword's first symbol, virtual fill included.
    pub(in crate::fec) at: usize,
    /// What to add to it, in the conventional basis; never 0.
    pub(in crate::fec) value: u8,
}

/// The wrong symbols of a codeword, by falling place.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::fec) struct Errors {
    places: [u8; MAX_ERRORS],
    values: [u8; MAX_ERRORS],
    count: usize,
}

impl Errors {
    /// So many as `count` says, by falling place.
    pub(in crate::fec) fn new(
        places: [u8; MAX_ERRORS],
        values: [u8; MAX_ERRORS],
        count: usize,
    ) -> Self {
        Self { places, values, count: count.min(MAX_ERRORS) }
    }

    /// All of them, by falling place.
    pub(in crate::fec) fn iter(&self) -> impl DoubleEndedIterator<Item = Error> {
        let found = self.places.iter().zip(&self.values).take(self.count);
        found.map(|(place, value)| Error { at: usize::from(*place), value: *value })
    }

    pub(super) const fn count(&self) -> usize {
        self.count
    }
}

/// Finds the errors that explain the syndromes, or `None` where no correctable number does.
pub(in crate::fec) fn solve(
    strength: Strength,
    syndromes: &[u8; MAX_PARITY_BYTES],
) -> Option<Errors> {
    let syndromes = syndromes.get(..strength.parity())?;
    let (locator, degree) = locator(syndromes);
    if degree == 0 || degree > strength.correctable() {
        return None;
    }
    let places = places(&locator, degree)?;
    let values = values(strength, syndromes, &locator, places.get(..degree)?)?;
    Some(Errors::new(places, values, degree))
}

/// Berlekamp-Massey: the shortest recurrence of the syndromes, and its length.
fn locator(syndromes: &[u8]) -> (Polynomial, usize) {
    let (mut current, mut previous) = ([0; COEFFICIENTS], [0; COEFFICIENTS]);
    (current[0], previous[0]) = (1, 1);
    let (mut length, mut last, mut shift) = (0, 1u8, 1);
    for n in 0..syndromes.len() {
        let known = syndromes.get(..=n).unwrap_or(&[]).iter().rev();
        let pairs = current.iter().take(length + 1).zip(known);
        let discrepancy = pairs.fold(0, |sum, (a, b)| sum ^ times(*a, *b));
        if discrepancy == 0 {
            shift += 1;
            continue;
        }
        let scale = over(discrepancy, last);
        let before = current;
        for (coefficient, other) in current.iter_mut().skip(shift).zip(&previous) {
            *coefficient ^= times(scale, *other);
        }
        if 2 * length <= n {
            (length, previous, last, shift) = (n + 1 - length, before, discrepancy, 1);
        } else {
            shift += 1;
        }
    }
    (current, length)
}

/// Chien's search: the places whose locators' inverses are roots; all of them must exist.
///
/// The symbol at place i has the locator X = (α^11)^(254 - i).
fn places(locator: &Polynomial, degree: usize) -> Option<[u8; MAX_ERRORS]> {
    // Each coefficient's term at the next place, as a logarithm, and its step from there on.
    let mut terms = [(0usize, 0usize); MAX_ERRORS];
    let mut used = 0;
    for (k, coefficient) in locator.iter().enumerate().skip(1).take(degree) {
        if *coefficient != 0 {
            let term = terms.get_mut(used)?;
            // At the last place X is 1; towards the first X^-1 is multiplied by α^-11.
            *term = (log(*coefficient), ORDER - ROOT_STEP * k % ORDER);
            used += 1;
        }
    }
    let terms = terms.get_mut(..used)?;
    let (mut places, mut count) = ([0; MAX_ERRORS], 0);
    for at in (0..CODEWORD_BYTES).rev() {
        let mut sum = 1;
        for (term, step) in terms.iter_mut() {
            sum ^= EXP.get(*term).copied().unwrap_or(0);
            *term += *step;
            if *term >= ORDER {
                *term -= ORDER;
            }
        }
        if sum == 0 {
            *places.get_mut(count)? = at as u8;
            count += 1;
            if count == degree {
                return Some(places);
            }
        }
    }
    None
}

/// Forney: the value at X is X^(1 - first root) Ω(1/X) / Λ'(1/X), with Ω the product of
/// syndromes and locator below x^2E.
fn values(
    strength: Strength,
    syndromes: &[u8],
    locator: &Polynomial,
    places: &[u8],
) -> Option<[u8; MAX_ERRORS]> {
    let degree = places.len();
    let mut evaluator = [0u8; MAX_ERRORS];
    for (n, coefficient) in evaluator.iter_mut().take(degree).enumerate() {
        let pairs = locator.iter().zip(syndromes.get(..=n)?.iter().rev());
        *coefficient = pairs.fold(0, |sum, (a, b)| sum ^ times(*a, *b));
    }
    let mut values = [0; MAX_ERRORS];
    for (value, place) in values.iter_mut().zip(places) {
        let exponent = ROOT_STEP * (CODEWORD_BYTES - 1 - usize::from(*place)) % ORDER;
        let inverse = power(ORDER - exponent);
        let numerator = evaluator.iter().take(degree).rev();
        let numerator = numerator.fold(0, |sum, c| times(sum, inverse) ^ c);
        // The derivative keeps the odd powers, one lower.
        let square = times(inverse, inverse);
        let odd = locator.get(1..=degree)?.iter().step_by(2).rev();
        let derivative = odd.fold(0, |sum, c| times(sum, square) ^ c);
        if derivative == 0 {
            return None;
        }
        let scale = power(exponent * (ORDER + 1 - strength.first_root()));
        *value = times(scale, over(numerator, derivative));
        if *value == 0 {
            return None;
        }
    }
    Some(values)
}
