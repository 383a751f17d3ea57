//! Bit extraction (BE, §5), and its inverse, for a word at a time.
//!
//! A mask seldom changes, so what moves where is worked out once a mask: bit i of the distance
//! that a bit goes says whether it moves in step i, and all bits move at once.

/// How bits under a mask move to a word's low end, their order kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gather {
    /// The mask.
    pub mask: u64,
    /// Bits in the mask.
    pub count: u32,
    /// For each step, by 1, 2, 4, 8, 16 and 32 places, the bits that move.
    moves: [u64; 6],
}

impl Gather {
    /// For a mask.
    pub fn new(mask: u64) -> Self {
        let mut moves = [0; 6];
        let mut moved = mask;
        // Places to the right of each bit that are not in the mask: how far it has to go. Their
        // number's bits come one by one, as the parity of the places still counted.
        let mut open = !mask << 1;
        for (step, moves) in moves.iter_mut().enumerate() {
            let mut parity = open;
            for distance in [1, 2, 4, 8, 16, 32] {
                parity ^= parity << distance;
            }
            *moves = parity & moved;
            moved = moved ^ *moves | *moves >> (1 << step);
            open &= !parity;
        }
        Self { mask, count: mask.count_ones(), moves }
    }

    /// For another mask, if it is another.
    #[inline]
    pub fn set(&mut self, mask: u64) {
        if self.mask != mask {
            *self = Self::new(mask);
        }
    }

    /// The bits under the mask, at the low end.
    #[inline]
    pub fn gather(&self, word: u64) -> u64 {
        let mut bits = word & self.mask;
        for (step, moves) in self.moves.iter().enumerate() {
            let moving = bits & moves;
            bits = bits ^ moving | moving >> (1 << step);
        }
        bits
    }

    /// Bits from the low end to their places under the mask.
    #[inline]
    pub fn scatter(&self, bits: u64) -> u64 {
        let mut word = bits;
        for (step, moves) in self.moves.iter().enumerate().rev() {
            word = word & !moves | word << (1 << step) & moves;
        }
        word & self.mask
    }
}

#[cfg(test)]
mod tests {
    use super::Gather;
    use proptest::prelude::*;

    /// Bit by bit.
    fn plain(word: u64, mask: u64) -> u64 {
        let (mut bits, mut place) = (0, 0);
        for bit in 0..64 {
            if mask >> bit & 1 == 1 {
                bits |= (word >> bit & 1) << place;
                place += 1;
            }
        }
        bits
    }

    proptest! {
        #[test]
        fn bits_go_to_the_low_end_and_back(word: u64, a: u64, b: u64, dense: bool) {
            for mask in [if dense { a | b } else { a & b }, 0, u64::MAX] {
                let gather = Gather::new(mask);
                prop_assert_eq!(gather.count, mask.count_ones());
                let bits = gather.gather(word);
                prop_assert_eq!(bits, plain(word, mask));
                prop_assert_eq!(gather.scatter(bits), word & mask);
            }
        }
    }
}
