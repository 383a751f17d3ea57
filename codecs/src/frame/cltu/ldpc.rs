//! Units of LDPC codewords: (128,64) for short commands, (512,256) for longer ones
//! (CCSDS 231.0-B-4 §4).
//!
//! ```text
//! frames ─► fill to 8 or 32 bytes ─► encode ─► randomise each codeword ─► start ▪ … ▪ [tail]
//! ```
//!
//! Randomising is mandatory and, other than with BCH, comes behind the encoder and starts anew
//! with each codeword: the book prints the tail both as sent and derandomised so
//! (CCSDS 231.0-B-4 Cor. 1 §5.2.4.2 note 3).

use super::{CltuError, Decoded, End, FILL, MAX_DATA_BYTES};
use crate::fec::ldpc::{self, Decoder, Encoder};
use crate::sync::randomizer::{Randomizer, Sequence};
use alloc::{vec, vec::Vec};

/// What marks the first codeword (CCSDS 231.0-B-4 §5.2.2).
pub const START: [u8; 8] = [0x03, 0x47, 0x76, 0xC7, 0x27, 0x28, 0x95, 0xB0];
/// What ends a unit of (128,64), where the mission sends a tail; far from every codeword
/// (CCSDS 231.0-B-4 Cor. 1 §5.2.4.2).
pub const TAIL: [u8; 16] = [
    0x63, 0xA1, 0xED, 0x72, 0xC6, 0xAC, 0x79, 0xE2, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55,
];
/// The tail before that corrigendum, which older ground systems send.
pub const TAIL_BEFORE_CORRIGENDUM: [u8; 16] = [
    0x55, 0x55, 0x55, 0x56, 0xAA, 0xAA, 0xAA, 0xAA, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55,
];
/// Wrong bits allowed in a start sequence of 64: chance passes for one once in 3.5 billion places.
pub const START_WRONG_MAX: u32 = 8;
/// Wrong bits allowed in a tail; every codeword is farther than that from both.
pub const TAIL_WRONG_MAX: u32 = 8;

const ITERATIONS_MAX: u32 = 50;
/// A symbol that is known as a bit only: half of what the decoder calls noiseless.
const HARD: i8 = 12;

/// The codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// (128,64): eight bytes of data a codeword.
    Short,
    /// (512,256): 32 bytes of data a codeword; no tail.
    Long,
}

impl Code {
    const fn code(self) -> ldpc::Code {
        match self {
            Self::Short => ldpc::Code::Tc128,
            Self::Long => ldpc::Code::Tc512,
        }
    }

    /// Bytes of data in a codeword.
    pub const fn data_bytes(self) -> usize {
        self.code().info_bits() / 8
    }

    /// Bytes of a codeword.
    pub const fn codeword_bytes(self) -> usize {
        self.code().symbols() / 8
    }
}

/// Where the next start sequence stands, byte-aligned.
pub fn find(bytes: &[u8]) -> Option<usize> {
    bytes.windows(START.len()).position(starts)
}

fn starts(bytes: &[u8]) -> bool {
    bytes.first_chunk::<8>().is_some_and(|start| wrong_bits(start, &START) <= START_WRONG_MAX)
}

fn wrong_bits(found: &[u8], expected: &[u8]) -> u32 {
    found.iter().zip(expected).map(|(a, b)| (a ^ b).count_ones()).sum()
}

/// Reads and writes units of one code; holds the codec's working space.
#[derive(Clone, Debug)]
pub struct LdpcUnits {
    code: Code,
    encoder: Encoder,
    decoder: Decoder,
    randomizer: Randomizer,
    symbols: Vec<i8>,
}

impl LdpcUnits {
    /// Prepares a code.
    pub fn new(code: Code) -> Self {
        Self {
            code,
            encoder: Encoder::new(code.code()),
            decoder: Decoder::new(code.code()),
            randomizer: Randomizer::new(Sequence::Telecommand, code.codeword_bytes()),
            symbols: vec![0; code.code().symbols()],
        }
    }

    /// The code.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Writes a unit around one or more frames; with a tail where the mission wants one, which
    /// only [`Code::Short`] has.
    pub fn encode(&mut self, frames: &[u8], tail: bool) -> Result<Vec<u8>, CltuError> {
        if !(1..=MAX_DATA_BYTES).contains(&frames.len()) {
            return Err(CltuError::Data(frames.len()));
        }
        let (data_bytes, codeword_bytes) = (self.code.data_bytes(), self.code.codeword_bytes());
        let codewords = frames.len().div_ceil(data_bytes);
        let tail: &[u8] = if tail && self.code == Code::Short { &TAIL } else { &[] };
        let mut unit = Vec::with_capacity(START.len() + codewords * codeword_bytes + tail.len());
        unit.extend_from_slice(&START);
        let mut data = vec![FILL; data_bytes];
        for part in frames.chunks(data_bytes) {
            data.fill(FILL);
            data.iter_mut().zip(part).for_each(|(slot, byte)| *slot = *byte);
            let from = unit.len();
            let (mut byte, mut bits) = (0u8, 0);
            self.encoder.encode(&data, |bit| {
                (byte, bits) = (byte << 1 | u8::from(bit), bits + 1);
                if bits % 8 == 0 {
                    unit.push(byte);
                }
            });
            self.randomizer.apply(unit.get_mut(from..).unwrap_or_default());
        }
        unit.extend_from_slice(tail);
        Ok(unit)
    }

    /// Reads the unit that starts at the first byte, up to its tail or the first codeword that
    /// can't be decoded: where no tail is sent, that is its end.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, CltuError> {
        if !starts(bytes) {
            return Err(CltuError::Start);
        }
        let (data_bytes, codeword_bytes) = (self.code.data_bytes(), self.code.codeword_bytes());
        let mut unit =
            Decoded { data: Vec::new(), corrected: 0, end: End::Cut, consumed: START.len() };
        let mut data = vec![0; data_bytes];
        for codeword in bytes.get(START.len()..).unwrap_or(&[]).chunks_exact(codeword_bytes) {
            if unit.data.len() + data_bytes > MAX_DATA_BYTES {
                break;
            }
            unit.consumed += codeword_bytes;
            if self.code == Code::Short && is_tail(codeword) {
                unit.end = End::Tail;
                break;
            }
            let Some(iterations) = self.codeword(codeword, &mut data) else {
                unit.end = End::Rejected;
                break;
            };
            unit.corrected += usize::from(iterations > 0);
            unit.data.extend_from_slice(&data);
        }
        Ok(unit)
    }

    /// Decodes one codeword: the iterations it took, `None` where they did not suffice.
    fn codeword(&mut self, codeword: &[u8], data: &mut [u8]) -> Option<u32> {
        let mut plain = codeword.to_vec();
        self.randomizer.apply(&mut plain);
        let bits = plain.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
        for (symbol, bit) in self.symbols.iter_mut().zip(bits) {
            *symbol = if bit == 0 { HARD } else { -HARD };
        }
        let decoded = self.decoder.decode(&self.symbols, ITERATIONS_MAX, data);
        decoded.converged.then_some(decoded.iterations)
    }
}

fn is_tail(codeword: &[u8]) -> bool {
    let tails = [TAIL, TAIL_BEFORE_CORRIGENDUM];
    tails.iter().any(|tail| wrong_bits(codeword, tail) <= TAIL_WRONG_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::tc::{TcConfig, TcFrame};
    use proptest::prelude::*;

    const UNLOCK: [u8; 8] = [0x30, 0x7B, 0x00, 0x07, 0x00, 0x00, 0x55, 0x75];

    fn derandomized(bytes: &[u8]) -> Vec<u8> {
        let mut plain = bytes.to_vec();
        Randomizer::new(Sequence::Telecommand, 64).apply(&mut plain);
        plain
    }

    #[test]
    fn the_tail_is_the_published_one_before_and_behind_the_randomiser() {
        // 231.0-B-4 Cor. 1 §5.2.4.2 note 3.
        let plain = [
            0x9C, 0x98, 0x73, 0x28, 0xAE, 0x45, 0x7F, 0x17, 0x39, 0xDC, 0x7A, 0xF4, 0x64, 0x0B,
            0x5D, 0x95,
        ];
        assert_eq!(derandomized(&TAIL), plain);
    }

    /// Rows 1, 17 and 33 of the generator, as printed (231.0-B-4 table 4-1).
    #[test]
    fn units_of_one_bit_hold_the_rows_of_the_generator() {
        let mut units = LdpcUnits::new(Code::Short);
        for (bit, row) in [
            (0, 0x0E69_166B_EF4C_0BC2_u64),
            (16, 0x7766_137E_BB24_8418),
            (32, 0xC480_FEB9_CD53_A713),
        ] {
            let data = (1u64 << 63 >> bit).to_be_bytes();
            let unit = units.encode(&data, true).unwrap();
            assert_eq!((unit.len(), &unit[..8], &unit[24..]), (40, &START[..], &TAIL[..]));
            let codeword = derandomized(&unit[8..24]);
            assert_eq!((&codeword[..8], &codeword[8..]), (&data[..], &row.to_be_bytes()[..]));
        }
    }

    #[test]
    fn a_command_comes_back_with_each_ending() {
        for (code, tail, end, rest) in [
            (Code::Short, true, End::Tail, 0),
            (Code::Short, false, End::Cut, 0),
            (Code::Long, true, End::Cut, 24),
        ] {
            let mut units = LdpcUnits::new(code);
            let unit = units.encode(&UNLOCK, tail).unwrap();
            let decoded = units.decode(&unit).unwrap();
            assert_eq!((decoded.end, decoded.corrected), (end, 0));
            assert_eq!(decoded.consumed, unit.len());
            let mut frames = decoded.frames();
            let frame = frames.next().unwrap();
            assert!(TcFrame::parse(frame, &TcConfig::new(true, true)).unwrap().fecf_holds());
            assert_eq!((frame, frames.next(), frames.rest().len()), (&UNLOCK[..], None, rest));
        }
        // The older tail ends a unit too, and so does whatever follows one without a tail.
        let mut units = LdpcUnits::new(Code::Short);
        let mut unit = units.encode(&UNLOCK, false).unwrap();
        unit.extend_from_slice(&TAIL_BEFORE_CORRIGENDUM);
        assert_eq!(units.decode(&unit).unwrap().end, End::Tail);
        for code in [Code::Short, Code::Long] {
            let mut units = LdpcUnits::new(code);
            let mut unit = units.encode(&UNLOCK, false).unwrap();
            unit.resize(unit.len() + 64, 0x55);
            let decoded = units.decode(&unit).unwrap();
            assert_eq!((decoded.end, decoded.frames().count()), (End::Rejected, 1));
        }
    }

    #[test]
    fn the_tails_are_no_codewords_and_are_not_decoded_to_any() {
        let mut units = LdpcUnits::new(Code::Short);
        for tail in [TAIL, TAIL_BEFORE_CORRIGENDUM] {
            assert_eq!(units.codeword(&tail, &mut [0; 8]), None);
            for bit in 0..128 {
                let mut wrong = tail;
                wrong[bit / 8] ^= 0x80 >> (bit % 8);
                assert_eq!(units.codeword(&wrong, &mut [0; 8]), None, "bit {bit}");
            }
        }
    }

    #[test]
    fn every_truncation_says_so() {
        let mut units = LdpcUnits::new(Code::Short);
        let unit = units.encode(&[0x20; 20], true).unwrap();
        for end in 0..unit.len() {
            let decoded = units.decode(&unit[..end]);
            if end < START.len() {
                assert_eq!(decoded, Err(CltuError::Start));
            } else {
                let decoded = decoded.unwrap();
                let codewords = (end - START.len()) / 16;
                assert_eq!((decoded.end, decoded.data.len()), (End::Cut, codewords * 8));
            }
        }
    }

    #[test]
    fn units_are_found_in_a_stream_with_wrong_bits() {
        let mut units = LdpcUnits::new(Code::Short);
        let mut stream = vec![0x55; 16];
        stream.extend(units.encode(&UNLOCK, true).unwrap());
        for byte in 0..8 {
            stream[16 + byte] ^= 1;
            assert_eq!(find(&stream), Some(16));
        }
        stream[16] ^= 2;
        assert_eq!(find(&stream), None);
    }

    #[test]
    fn bounds() {
        let mut units = LdpcUnits::new(Code::Long);
        assert_eq!(units.encode(&[], false), Err(CltuError::Data(0)));
        let over = MAX_DATA_BYTES + 1;
        assert_eq!(units.encode(&vec![0; over], false), Err(CltuError::Data(over)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn units_round_trip_with_wrong_bits_in_each_codeword(
            data in prop::collection::vec(any::<u8>(), 1..200),
            long: bool,
            tail: bool,
            wrong in prop::collection::vec(0usize..512, 80),
        ) {
            let code = if long { Code::Long } else { Code::Short };
            let mut units = LdpcUnits::new(code);
            let mut unit = units.encode(&data, tail).unwrap();
            let (size, codewords) = (code.codeword_bytes(), data.len().div_ceil(code.data_bytes()));
            // Four bits of 128 and twelve of 512 are always within reach.
            let each = if long { 12 } else { 4 };
            for (n, bit) in wrong.iter().cycle().take(codewords * each).enumerate() {
                let at = START.len() + n / each * size + bit / 8 % size;
                unit[at] |= 0x80 >> (bit % 8);
            }
            let decoded = units.decode(&unit).unwrap();
            prop_assert_eq!(&decoded.data[..data.len()], &data[..]);
            let tail = tail && !long;
            prop_assert_eq!(decoded.end, if tail { End::Tail } else { End::Cut });
            prop_assert_eq!(decoded.consumed, unit.len());
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200), long: bool) {
            let mut units = LdpcUnits::new(if long { Code::Long } else { Code::Short });
            let mut bytes = bytes;
            bytes.splice(0..0, START);
            let unit = units.decode(&bytes).unwrap();
            prop_assert!(unit.consumed <= bytes.len());
            let total: usize = unit.frames().map(<[u8]>::len).sum();
            prop_assert!(total <= unit.data.len());
        }
    }
}
