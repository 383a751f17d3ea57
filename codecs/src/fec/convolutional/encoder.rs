//! The encoder: a shift register of seven bits.

use super::{Code, G1, G2};

/// Encodes a stream of bits; keeps the register and the place in the puncturing pattern.
#[derive(Debug, Clone)]
pub struct Encoder {
    code: Code,
    register: u8,
    step: usize,
}

impl Encoder {
    /// An encoder whose register holds zeros.
    pub const fn new(code: Code) -> Self {
        Self { code, register: 0, step: 0 }
    }

    /// Takes one bit and gives the symbols that are sent for it, in their order.
    pub fn bit(&mut self, bit: bool, mut symbol: impl FnMut(bool)) {
        // The newest bit is the leftmost of seven, as in the connection vectors.
        self.register = (self.register >> 1) | (u8::from(bit) << 6);
        let pattern = self.code.rate.pattern();
        let (c1, c2) = pattern.get(self.step).copied().unwrap_or((true, true));
        self.step = if self.step + 1 < pattern.len() { self.step + 1 } else { 0 };
        let first = (self.register & G1).count_ones() % 2 == 1;
        let second = ((self.register & G2).count_ones() % 2 == 1) != self.code.inverted;
        match (c1, c2) {
            (true, true) if self.code.c2_first => {
                symbol(second);
                symbol(first);
            }
            (true, true) => {
                symbol(first);
                symbol(second);
            }
            (true, false) => symbol(first),
            (false, true) => symbol(second),
            (false, false) => {}
        }
    }

    /// Takes bytes, most significant bit first.
    pub fn bytes(&mut self, bytes: &[u8], mut symbol: impl FnMut(bool)) {
        for byte in bytes {
            for place in (0..8).rev() {
                self.bit((byte >> place) & 1 == 1, &mut symbol);
            }
        }
    }
}
