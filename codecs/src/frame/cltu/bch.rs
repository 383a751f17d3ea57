//! Units of BCH codeblocks: 56 bits of data, 7 of check and a filler bit (CCSDS 231.0-B-4 §3).
//!
//! ```text
//! frames ─► [randomise] ─► fill to 7-byte blocks ─► BCH (63,56) ─► start ▪ codeblocks ▪ tail
//! ```
//!
//! Fill is added behind the randomiser, so it stands unrandomised on the air and a receiver finds
//! up to six bytes of nonsense behind the last frame.

use super::{CltuError, Decoded, End, FILL, MAX_DATA_BYTES};
use crate::sync::randomizer::Randomizer;
use alloc::vec::Vec;

/// What marks the first codeblock (CCSDS 231.0-B-4 §5.2.2).
pub const START: [u8; 2] = [0xEB, 0x90];
/// What no decoder takes for a codeblock: two bits off every codeword (CCSDS 231.0-B-4 §5.2.4).
pub const TAIL: [u8; BLOCK_BYTES] = [0xC5, 0xC5, 0xC5, 0xC5, 0xC5, 0xC5, 0xC5, 0x79];
/// Information bytes of a codeblock.
pub const DATA_BYTES: usize = 7;
/// Bytes of a codeblock: information, seven check bits and a filler bit of zero
/// (CCSDS 231.0-B-4 §3.3).
pub const BLOCK_BYTES: usize = 8;

/// x^7 + x^6 + x^2 + 1 without its highest term, one place up to leave the filler bit free.
const GENERATOR: u8 = 0x8A;

/// What the decoder makes of a codeblock that is no codeword; a managed parameter
/// (CCSDS 231.0-B-4 §3.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Correct one wrong bit, detect two.
    #[default]
    Correct,
    /// Detect up to three, correct none.
    Detect,
}

/// The check byte of seven information bytes: complemented check bits, filler bit zero
/// (CCSDS 231.0-B-4 §3.3.2). Bit by bit: command links run at kilobits a second.
fn check(information: &[u8]) -> u8 {
    let register = information.iter().fold(0u8, |register, byte| {
        (0..8).fold(register ^ byte, |register, _| {
            if register & 0x80 == 0 { register << 1 } else { register << 1 ^ GENERATOR }
        })
    });
    register ^ 0xFE
}

/// Corrects a codeblock in place: whether a bit was wrong, `None` where it is beyond repair.
fn repair(block: &mut [u8; BLOCK_BYTES], mode: Mode) -> Option<bool> {
    let [information @ .., last] = *block;
    // The filler bit is outside the code; its value says nothing.
    let syndrome = (check(&information) ^ last) & 0xFE;
    if syndrome == 0 {
        return Some(false);
    }
    if mode == Mode::Detect {
        return None;
    }
    // A single wrong bit at x^n leaves x^n modulo the generator. Two leave an even polynomial
    // (the generator holds the factor x + 1), which no n gives.
    let mut power = 0b10u8;
    for place in 0..63usize {
        if power == syndrome {
            // x^0 stands left of the filler bit, x^62 first of all.
            let bit = 62 - place;
            if let Some(byte) = block.get_mut(bit / 8) {
                *byte ^= 0x80 >> (bit % 8);
            }
            return Some(true);
        }
        power = if power & 0x80 == 0 { power << 1 } else { power << 1 ^ GENERATOR };
    }
    None
}

/// Whether a unit starts here; one wrong bit is allowed where one is corrected
/// (CCSDS 231.0-B-4 §5.2.2).
fn starts(bytes: &[u8], mode: Mode) -> bool {
    let Some(found) = bytes.first_chunk::<2>() else { return false };
    let wrong = (u16::from_be_bytes(*found) ^ u16::from_be_bytes(START)).count_ones();
    wrong <= if mode == Mode::Correct { 1 } else { 0 }
}

/// Where the next start sequence stands, byte-aligned.
pub fn find(bytes: &[u8], mode: Mode) -> Option<usize> {
    bytes.windows(START.len()).position(|window| starts(window, mode))
}

/// Writes a unit around one or more frames; `randomizer` where the channel randomises
/// ([`Sequence::Telecommand`](crate::sync::randomizer::Sequence::Telecommand)).
pub fn encode(frames: &[u8], randomizer: Option<&Randomizer>) -> Result<Vec<u8>, CltuError> {
    if !(1..=MAX_DATA_BYTES).contains(&frames.len()) {
        return Err(CltuError::Data(frames.len()));
    }
    let mut data = frames.to_vec();
    if let Some(randomizer) = randomizer {
        randomizer.apply(&mut data);
    }
    let blocks = data.len().div_ceil(DATA_BYTES);
    data.resize(blocks * DATA_BYTES, FILL);
    let mut unit = Vec::with_capacity(START.len() + (blocks + 1) * BLOCK_BYTES);
    unit.extend_from_slice(&START);
    for block in data.chunks_exact(DATA_BYTES) {
        unit.extend_from_slice(block);
        unit.push(check(block));
    }
    unit.extend_from_slice(&TAIL);
    Ok(unit)
}

/// Reads the unit that starts at the first byte, up to its tail or the first codeblock beyond
/// repair.
pub fn decode(
    bytes: &[u8],
    mode: Mode,
    randomizer: Option<&Randomizer>,
) -> Result<Decoded, CltuError> {
    if !starts(bytes, mode) {
        return Err(CltuError::Start);
    }
    let blocks = bytes.get(START.len()..).unwrap_or(&[]);
    let mut unit = Decoded { data: Vec::new(), corrected: 0, end: End::Cut, consumed: START.len() };
    for block in blocks.chunks(BLOCK_BYTES) {
        let Ok(mut block) = <[u8; BLOCK_BYTES]>::try_from(block) else { break };
        if unit.data.len() == MAX_DATA_BYTES {
            break;
        }
        unit.consumed += BLOCK_BYTES;
        if block == TAIL {
            unit.end = End::Tail;
            break;
        }
        let Some(wrong) = repair(&mut block, mode) else {
            unit.end = End::Rejected;
            break;
        };
        unit.corrected += usize::from(wrong);
        let [information @ .., _] = block;
        unit.data.extend_from_slice(&information);
    }
    if let Some(randomizer) = randomizer {
        randomizer.apply(&mut unit.data);
    }
    Ok(unit)
}

#[cfg(test)]
mod tests;
