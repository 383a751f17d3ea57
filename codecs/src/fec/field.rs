//! Arithmetic in the field of 256 elements of the Reed-Solomon codes: x^8 + x^7 + x^2 + x + 1
//! (CCSDS 131.0-B-5 §4.3.3), and the dual basis in which symbols are sent (annex F there).
//!
//! Tables are computed by the compiler from the definitions; nothing is typed in.

/// The field polynomial's low nine bits.
const POLYNOMIAL: u16 = 0x187;

/// Nonzero elements: the order of the multiplicative group, and the length of the codes.
pub(super) const ORDER: usize = 255;

/// α^n for n to 509, so that the sum of two logarithms needs no reduction.
pub(super) static EXP: [u8; 512] = exponentials();
static LOG: [u8; 256] = logarithms();

/// The conventional symbol of each dual one, and back.
pub(super) static FROM_DUAL: [u8; 256] = conversions().0;
pub(super) static TO_DUAL: [u8; 256] = conversions().1;

/// The product, without tables: for the compiler.
pub(super) const fn multiply(a: u8, b: u8) -> u8 {
    let (mut product, mut shifted, mut bits) = (0u16, a as u16, b);
    while bits != 0 {
        if bits & 1 != 0 {
            product ^= shifted;
        }
        shifted <<= 1;
        if shifted & 0x100 != 0 {
            shifted ^= POLYNOMIAL;
        }
        bits >>= 1;
    }
    product as u8
}

#[allow(clippy::indexing_slicing, reason = "runs in the compiler")]
const fn exponentials() -> [u8; 512] {
    let mut table = [0; 512];
    let (mut n, mut element) = (0, 1);
    while n < 512 {
        table[n] = element;
        element = multiply(element, 2);
        n += 1;
    }
    table
}

#[allow(clippy::indexing_slicing, reason = "runs in the compiler")]
const fn logarithms() -> [u8; 256] {
    let (exponentials, mut table) = (exponentials(), [0; 256]);
    let mut n = 0;
    while n < ORDER {
        table[exponentials[n] as usize] = n as u8;
        n += 1;
    }
    table
}

/// Bit i of the dual symbol, counted from the highest, is the trace of u · α^(117 i)
/// (CCSDS 131.0-B-5 annex F).
#[allow(clippy::indexing_slicing, reason = "runs in the compiler")]
const fn conversions() -> ([u8; 256], [u8; 256]) {
    let exponentials = exponentials();
    let (mut from, mut to) = ([0; 256], [0; 256]);
    let mut element = 0;
    while element < 256 {
        let (mut dual, mut i) = (0u8, 0);
        while i < 8 {
            let product = multiply(element as u8, exponentials[117 * i % ORDER]);
            dual = dual << 1 | trace(product);
            i += 1;
        }
        to[element] = dual;
        from[dual as usize] = element as u8;
        element += 1;
    }
    (from, to)
}

/// The sum of u^(2^i), which is 0 or 1.
const fn trace(element: u8) -> u8 {
    let (mut sum, mut power, mut i) = (0, element, 0);
    while i < 8 {
        sum ^= power;
        power = multiply(power, power);
        i += 1;
    }
    sum
}

/// The entry of a byte.
#[inline(always)]
pub(super) fn entry(table: &[u8; 256], byte: u8) -> u8 {
    table.get(usize::from(byte)).copied().unwrap_or(0)
}

/// α to any power.
#[inline(always)]
pub(super) fn power(exponent: usize) -> u8 {
    EXP.get(exponent % ORDER).copied().unwrap_or(0)
}

/// The logarithm to base α; of 0, which has none, 0.
#[inline(always)]
pub(super) fn log(element: u8) -> usize {
    usize::from(entry(&LOG, element))
}

/// The product.
#[inline(always)]
pub(super) fn times(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 { 0 } else { EXP.get(log(a) + log(b)).copied().unwrap_or(0) }
}

/// The quotient by a nonzero element.
#[inline(always)]
pub(super) fn over(a: u8, b: u8) -> u8 {
    if a == 0 { 0 } else { power(log(a) + ORDER - log(b)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_equal_the_definition() {
        for a in 0..=255 {
            for b in 0..=255 {
                let product = multiply(a, b);
                assert_eq!(times(a, b), product);
                if b != 0 {
                    assert_eq!(over(product, b), a);
                }
            }
        }
        assert_eq!(EXP[ORDER], 1, "α generates the group");
        assert_eq!(EXP[1..ORDER].iter().filter(|element| **element == 1).count(), 0);
    }

    #[test]
    fn the_dual_basis_is_the_published_one() {
        // Rows of the matrix of CCSDS 131.0-B-5 annex F: α^7 first.
        let rows = [0x8D, 0xEF, 0xEC, 0x86, 0xFA, 0x99, 0xAF, 0x7B];
        for (row, dual) in rows.iter().enumerate() {
            assert_eq!(TO_DUAL[0x80 >> row], *dual);
        }
        for symbol in 0..=255u8 {
            assert_eq!(FROM_DUAL[usize::from(TO_DUAL[usize::from(symbol)])], symbol);
        }
    }
}
