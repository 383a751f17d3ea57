//! Division by the generator polynomial: the encoder, and the check of a whole codeword.
//!
//! Symbols stay in the basis in which they are sent: multiplication by a constant is linear over
//! bits, so that the table of the generator's multiples absorbs the change of basis.

use super::{Basis, Code, MAX_PARITY_BYTES, ROOT_STEP, Strength};
use crate::fec::field::{FROM_DUAL, ORDER, TO_DUAL, entry, multiply, power, times};

/// The generator's multiples by each symbol, as wide words: the symbol shifted out comes first.
pub(super) type Multiples = [[u64; WORDS]; 256];
const WORDS: usize = MAX_PARITY_BYTES / 8;

/// A remainder, the coefficient of the highest power first; the (255,239) code uses the first half.
pub(super) type Remainder = [u8; MAX_PARITY_BYTES];

static SIXTEEN_DUAL: Multiples = multiples(Strength::Sixteen, true);
static SIXTEEN_CONVENTIONAL: Multiples = multiples(Strength::Sixteen, false);
static EIGHT_DUAL: Multiples = multiples(Strength::Eight, true);
static EIGHT_CONVENTIONAL: Multiples = multiples(Strength::Eight, false);

/// The table of a code.
pub(super) const fn table(code: Code) -> &'static Multiples {
    match (code.strength, code.basis) {
        (Strength::Sixteen, Basis::Dual) => &SIXTEEN_DUAL,
        (Strength::Sixteen, Basis::Conventional) => &SIXTEEN_CONVENTIONAL,
        (Strength::Eight, Basis::Dual) => &EIGHT_DUAL,
        (Strength::Eight, Basis::Conventional) => &EIGHT_CONVENTIONAL,
    }
}

/// The generator polynomial below its leading 1, the highest power first.
#[allow(clippy::indexing_slicing, reason = "runs in the compiler")]
const fn generator(strength: Strength) -> Remainder {
    let parity = strength.parity();
    // Coefficients with the lowest power first while roots are multiplied in.
    let mut product = [0u8; MAX_PARITY_BYTES + 1];
    product[0] = 1;
    let mut n = 0;
    while n < parity {
        let root = constant_power(ROOT_STEP * (strength.first_root() + n));
        let mut k = n + 1;
        while k > 0 {
            product[k] = product[k - 1] ^ multiply(product[k], root);
            k -= 1;
        }
        product[0] = multiply(product[0], root);
        n += 1;
    }
    let mut highest_first = [0; MAX_PARITY_BYTES];
    let mut k = 0;
    while k < parity {
        highest_first[k] = product[parity - 1 - k];
        k += 1;
    }
    highest_first
}

/// α to a power, for the compiler.
const fn constant_power(exponent: usize) -> u8 {
    let (mut element, mut n) = (1, 0);
    while n < exponent % ORDER {
        element = multiply(element, 2);
        n += 1;
    }
    element
}

#[allow(clippy::indexing_slicing, reason = "runs in the compiler")]
const fn multiples(strength: Strength, dual: bool) -> Multiples {
    let generator = generator(strength);
    let mut table = [[0; WORDS]; 256];
    // Linear over bits: eight rows by multiplication, the others by addition.
    let mut symbol = 1;
    while symbol < 256 {
        let low = symbol & (symbol - 1);
        if low == 0 {
            let element = if dual { FROM_DUAL[symbol] } else { symbol as u8 };
            let mut k = 0;
            while k < strength.parity() {
                let product = multiply(generator[k], element);
                let sent = if dual { TO_DUAL[product as usize] } else { product };
                table[symbol][k / 8] |= (sent as u64) << (56 - 8 * (k % 8));
                k += 1;
            }
        } else {
            let mut word = 0;
            while word < WORDS {
                table[symbol][word] = table[low][word] ^ table[symbol ^ low][word];
                word += 1;
            }
        }
        symbol += 1;
    }
    table
}

/// The shift register of a division.
#[derive(Clone, Copy, Default)]
pub(super) struct Register([u64; WORDS]);

impl Register {
    /// Takes one information symbol.
    #[inline(always)]
    pub(super) fn push(&mut self, table: &Multiples, symbol: u8) {
        let [a, b, c, d] = self.0;
        let out = (a >> 56) as u8 ^ symbol;
        let Some([w, x, y, z]) = table.get(usize::from(out)) else { return };
        let shifted = [a << 8 | b >> 56, b << 8 | c >> 56, c << 8 | d >> 56, d << 8];
        let [a, b, c, d] = shifted;
        self.0 = [a ^ w, b ^ x, c ^ y, d ^ z];
    }

    /// What is left: the parity of the symbols taken, the rest zeros.
    pub(super) fn remainder(self) -> Remainder {
        let mut bytes = [0; MAX_PARITY_BYTES];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

/// The values of a remainder at the generator's roots, which are those of the codeword that left
/// it: the syndromes. They are in the conventional basis.
pub(super) fn syndromes(code: Code, remainder: &Remainder) -> [u8; MAX_PARITY_BYTES] {
    let parity = code.strength.parity();
    let mut values = [0; MAX_PARITY_BYTES];
    for (n, value) in values.iter_mut().take(parity).enumerate() {
        let root = power(ROOT_STEP * (code.strength.first_root() + n));
        *value = remainder
            .iter()
            .take(parity)
            .fold(0, |sum, symbol| times(sum, root) ^ conventional(code.basis, *symbol));
    }
    values
}

/// The element for which a symbol stands.
#[inline(always)]
pub(super) fn conventional(basis: Basis, symbol: u8) -> u8 {
    match basis {
        Basis::Dual => entry(&FROM_DUAL, symbol),
        Basis::Conventional => symbol,
    }
}

/// The symbol of an element.
#[inline(always)]
pub(super) fn sent(basis: Basis, element: u8) -> u8 {
    match basis {
        Basis::Dual => entry(&TO_DUAL, element),
        Basis::Conventional => element,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generators_are_palindromes_with_their_roots() {
        for code in Code::ALL {
            let parity = code.strength.parity();
            let generator = generator(code.strength);
            // CCSDS 131.0-B-5 §4.3.4: the roots are chosen so that coefficients mirror.
            assert_eq!(generator[parity - 1], 1);
            for k in 0..parity - 1 {
                assert_eq!(generator[k], generator[parity - 2 - k], "{code:?}, coefficient {k}");
            }
            assert!(generator[parity..].iter().all(|coefficient| *coefficient == 0));
        }
        // CCSDS 131.0-B-2 annex G: exponents of the coefficients of x^31 to x^16 for E = 16.
        let exponents = [249, 59, 66, 4, 43, 126, 251, 97, 30, 3, 213, 50, 66, 170, 5, 24];
        let sixteen = generator(Strength::Sixteen);
        assert_eq!(sixteen[..16], exponents.map(power));
    }
}
