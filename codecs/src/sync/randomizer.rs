//! Pseudo-random sequences that are added to blocks so that every one has enough bit transitions.
//!
//! The marker before a block is never randomised and the sequence starts anew behind it
//! (CCSDS 131.0-B-6 §10.4), so that a block needs nothing of its predecessors. Adding the sequence
//! twice gives the block back: one operation serves sender and receiver.

use alloc::boxed::Box;
use core::{fmt, str::FromStr};

/// Which sequence; a managed parameter, because nothing on the air says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sequence {
    /// x^17 + x^14 + 1, period 131,071: what CCSDS 131.0-B-6 §10.4.1 prescribes.
    Long,
    /// x^8 + x^7 + x^5 + x^3 + 1, period 255: what telemetry used before that issue
    /// (CCSDS 131.0-B-5 §10.4.1), and what nearly every spacecraft in flight sends.
    Legacy,
    /// x^8 + x^6 + x^4 + x^3 + x^2 + x + 1, period 255: telecommands (CCSDS 231.0-B-4 §6).
    Telecommand,
}

impl Sequence {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Long, Self::Legacy, Self::Telecommand];

    /// Cells of the register.
    const fn cells(self) -> u32 {
        match self {
            Self::Long => 17,
            Self::Legacy | Self::Telecommand => 8,
        }
    }

    /// What the register holds at the start; bit 0 leaves first.
    const fn preset(self) -> u32 {
        match self {
            // Written 11000111000111000 in the book, whose last bit leaves first.
            Self::Long => 0b1_1000_1110_0011_1000,
            Self::Legacy | Self::Telecommand => 0xFF,
        }
    }

    /// The cells whose sum enters: bit n stands for the output n bits from now.
    const fn taps(self) -> u32 {
        match self {
            Self::Long => 1 | 1 << 14,
            Self::Legacy => 1 | 1 << 3 | 1 << 5 | 1 << 7,
            Self::Telecommand => 1 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 6,
        }
    }

    /// Bits, and because the number is odd also bytes, before the sequence repeats.
    pub const fn period(self) -> usize {
        (1 << self.cells()) - 1
    }
}

/// Why a text names no [`Sequence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 131071 (CCSDS 131.0-B-6), 255 (older telemetry) or tc")]
pub struct SequenceError;

impl FromStr for Sequence {
    type Err = SequenceError;

    fn from_str(text: &str) -> Result<Self, SequenceError> {
        match text {
            "131071" => Ok(Self::Long),
            "255" => Ok(Self::Legacy),
            "tc" => Ok(Self::Telecommand),
            _ => Err(SequenceError),
        }
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Long => "131071",
            Self::Legacy => "255",
            Self::Telecommand => "tc",
        })
    }
}

/// The register, bit by bit.
#[derive(Clone, Copy, Debug)]
struct Register {
    sequence: Sequence,
    cells: u32,
}

impl Register {
    const fn new(sequence: Sequence) -> Self {
        Self { sequence, cells: sequence.preset() }
    }

    /// The next eight bits, the first of them highest.
    fn byte(&mut self) -> u8 {
        let last = self.sequence.cells() - 1;
        let taps = self.sequence.taps();
        (0..8).fold(0, |byte, _| {
            let out = (self.cells & 1) as u8;
            let entering = (self.cells & taps).count_ones() & 1;
            self.cells = self.cells >> 1 | entering << last;
            byte << 1 | out
        })
    }
}

/// Longest table: a period of the longest sequence.
const MAX_TABLE_BYTES: usize = Sequence::Long.period();

/// Adds a sequence to blocks.
#[derive(Clone, Debug)]
pub struct Randomizer {
    table: Box<[u8]>,
    /// The register behind the table's last byte.
    after: Register,
}

impl Randomizer {
    /// Tabulates a sequence for blocks up to `block_bytes`; longer ones are right too, but slow.
    pub fn new(sequence: Sequence, block_bytes: usize) -> Self {
        let mut after = Register::new(sequence);
        let table = (0..block_bytes.min(MAX_TABLE_BYTES)).map(|_| after.byte()).collect();
        Self { table, after }
    }

    /// Which sequence it adds.
    pub const fn sequence(&self) -> Sequence {
        self.after.sequence
    }

    /// Randomises or derandomises one block in place, from the start of the sequence.
    pub fn apply(&self, block: &mut [u8]) {
        let (tabled, rest) = block.split_at_mut(block.len().min(self.table.len()));
        for (byte, random) in tabled.iter_mut().zip(&self.table) {
            *byte ^= random;
        }
        let mut register = self.after;
        for byte in rest {
            *byte ^= register.byte();
        }
    }

    /// The same from one place to another in a single pass; as much as `to` holds.
    pub(crate) fn apply_to(&self, from: &[u8], to: &mut [u8]) {
        let (tabled, rest) = to.split_at_mut(to.len().min(self.table.len()));
        for ((to, from), random) in tabled.iter_mut().zip(from).zip(&self.table) {
            *to = from ^ random;
        }
        let mut register = self.after;
        let beyond = from.get(self.table.len()..).unwrap_or(&[]);
        for (to, from) in rest.iter_mut().zip(beyond) {
            *to = from ^ register.byte();
        }
    }

    /// The same for soft symbols, one a bit: a 1 of the sequence turns the sign.
    pub fn apply_soft(&self, symbols: &mut [i8]) {
        let mut register = self.after;
        let beyond = core::iter::repeat_with(|| register.byte());
        let sequence = self.table.iter().copied().chain(beyond);
        for (symbols, random) in symbols.chunks_mut(8).zip(sequence) {
            for (place, symbol) in symbols.iter_mut().enumerate() {
                if random << place & 0x80 != 0 {
                    *symbol = symbol.saturating_neg();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{string::ToString, vec, vec::Vec};
    use proptest::prelude::*;

    fn sequence(sequence: Sequence, bytes: usize) -> Vec<u8> {
        let mut block = vec![0; bytes];
        Randomizer::new(sequence, bytes).apply(&mut block);
        block
    }

    #[test]
    fn published_beginnings() {
        // CCSDS 131.0-B-6 §10.4.1, CCSDS 131.0-B-5 §10.4.1, CCSDS 231.0-B-4 §6.
        assert_eq!(sequence(Sequence::Long, 5), [0x1C, 0x71, 0xB9, 0x1B, 0xA9]);
        assert_eq!(sequence(Sequence::Legacy, 5), [0xFF, 0x48, 0x0E, 0xC0, 0x9A]);
        assert_eq!(sequence(Sequence::Telecommand, 5), [0xFF, 0x39, 0x9E, 0x5A, 0x68]);
    }

    #[test]
    fn periods_are_maximal_and_whole() {
        for kind in Sequence::ALL {
            let period = kind.period();
            let mut register = Register::new(kind);
            // As many bytes as a period has bits: eight periods.
            let bytes: Vec<u8> = (0..period).map(|_| register.byte()).collect();
            assert_eq!(register.cells, kind.preset(), "{kind} closes after its period");
            let ones: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
            assert_eq!(ones as usize, 8 * period.div_ceil(2), "{kind} has one more one than zeros");
        }
    }

    #[test]
    fn blocks_beyond_the_table_go_on() {
        for kind in Sequence::ALL {
            let whole = sequence(kind, 1000);
            for tabled in [0, 1, 254, 255, 256, 999] {
                let mut block = vec![0; 1000];
                Randomizer::new(kind, tabled).apply(&mut block);
                assert_eq!(block, whole, "{kind}, {tabled} tabled");
            }
        }
        assert_eq!(sequence(Sequence::Legacy, 260)[255..], [0xFF, 0x48, 0x0E, 0xC0, 0x9A]);
    }

    #[test]
    fn soft_symbols_turn_where_bits_do() {
        for tabled in [0, 3, 20] {
            let randomizer = Randomizer::new(Sequence::Long, tabled);
            let (mut soft, mut block) = (vec![64i8; 157], vec![0; 20]);
            randomizer.apply(&mut block);
            randomizer.apply_soft(&mut soft);
            for (place, symbol) in soft.iter().enumerate() {
                let one = block[place / 8] << (place % 8) & 0x80 != 0;
                assert_eq!(*symbol, if one { -64 } else { 64 }, "symbol {place}");
            }
        }
    }

    #[test]
    fn every_block_starts_anew() {
        let randomizer = Randomizer::new(Sequence::Long, 20);
        let mut blocks = [0; 60];
        blocks.chunks_mut(20).for_each(|block| randomizer.apply(block));
        assert!(blocks.chunks(20).all(|block| block == sequence(Sequence::Long, 20)));
    }

    #[test]
    fn names_round_trip() {
        for kind in Sequence::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!("65535".parse::<Sequence>(), Err(SequenceError));
    }

    proptest! {
        #[test]
        fn twice_is_nothing(
            block in prop::collection::vec(any::<u8>(), 0..2048),
            kind in prop::sample::select(&Sequence::ALL),
        ) {
            let randomizer = Randomizer::new(kind, 1024);
            let mut twice = block.clone();
            randomizer.apply(&mut twice);
            prop_assert!(block.len() < 8 || twice != block);
            let mut moved = vec![0; block.len()];
            randomizer.apply_to(&block, &mut moved);
            prop_assert_eq!(&moved, &twice);
            randomizer.apply(&mut twice);
            prop_assert_eq!(twice, block);
        }
    }
}
