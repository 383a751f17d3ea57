//! Powers of x and the quotient, modulo and by the generator.

/// x^16 + x^12 + x^5 + 1.
pub(super) const GENERATOR: u64 = 0x1_1021;
/// x to this power is 1.
pub(super) const ORDER: u32 = 32_767;

/// x^`power` modulo the generator.
pub(super) const fn power(power: u32) -> u64 {
    let (mut value, mut n) = (1, 0);
    while n < power % ORDER {
        value <<= 1;
        if value & 0x1_0000 != 0 {
            value ^= GENERATOR;
        }
        n += 1;
    }
    value
}

/// What the preset of all ones adds to a head of n bytes: 0xFFFF x^(8 n - 16).
#[allow(clippy::indexing_slicing, reason = "runs in the compiler")]
pub(super) const PRESETS: [u16; 64] = {
    let mut presets = [0; 64];
    let (mut n, mut start) = (0, 0);
    while n < 16 {
        start ^= power(ORDER - 16 + n);
        n += 1;
    }
    let mut n = 0;
    while n < presets.len() {
        presets[n] = start as u16;
        let mut bit = 0;
        while bit < 8 {
            start <<= 1;
            if start & 0x1_0000 != 0 {
                start ^= GENERATOR;
            }
            bit += 1;
        }
        n += 1;
    }
    presets
};

/// The whole part of x^80 divided by the generator, without its leading x^64.
pub(super) const QUOTIENT: u64 = {
    let (mut rest, mut quotient, mut place) = (1_u128 << 80, 0_u128, 80);
    while place >= 16 {
        if rest >> place & 1 != 0 {
            rest ^= (GENERATOR as u128) << (place - 16);
            quotient |= 1 << (place - 16);
        }
        place -= 1;
    }
    quotient as u64
};

/// The remainder of 80 bits, from their lowest and from the lowest of their quotient.
#[inline(always)]
pub(super) const fn rest(bits: u16, quotient: u16) -> u16 {
    bits ^ quotient ^ quotient << 5 ^ quotient << 12
}
