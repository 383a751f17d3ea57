//! What is left of a damaged squeezed file: every block that is whole, since each stands alone.

use std::ops::Range;

use codecs::squeeze::columns::{MAX_BLOCK_BYTES, unsqueeze};

use super::file::PARTS_BYTES_MAX;

/// What a block begins with, behind the length of its part.
const MAGIC: &[u8] = b"Sq";

/// What was found in a stretch of a squeezed file.
#[derive(Debug, Default, PartialEq)]
pub struct Salvaged {
    /// Packets of whole blocks, in the order of the blocks.
    pub bytes: Vec<u8>,
    /// How many.
    pub packets: usize,
    /// Stretches without a whole block.
    pub holes: Vec<Range<usize>>,
    /// Bytes that were looked through: all of them where they are the last.
    pub consumed: usize,
}

/// Looks for whole blocks. Unless the bytes are the `last` a block that may go on behind them is
/// left for the next call.
pub fn salvage(bytes: &[u8], last: bool) -> Salvaged {
    let mut found = Salvaged::default();
    let end = if last { bytes.len() } else { bytes.len().saturating_sub(PARTS_BYTES_MAX) };
    let (mut at, mut hole) = (0, 0);
    while at < end {
        let Some((packets, count, length)) = block(&bytes[at..]) else {
            at += 1;
            continue;
        };
        if hole < at {
            found.holes.push(hole..at);
        }
        found.bytes.extend_from_slice(&packets);
        found.packets += count;
        at += length;
        hole = at;
    }
    if hole < at {
        found.holes.push(hole..at);
    }
    found.consumed = at;
    found
}

/// The block that the bytes begin with: its packets, how many, and the bytes of its part.
fn block(bytes: &[u8]) -> Option<(bytes::Bytes, usize, usize)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    if !rest.starts_with(MAGIC) {
        return None;
    }
    let length = u32::from_be_bytes(*length) as usize;
    let block = unsqueeze(rest.get(..length)?, MAX_BLOCK_BYTES).ok()?;
    Some((block.data.clone(), block.count(), 4 + length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::squeeze::columns::{Level, squeeze};

    /// Three blocks of ten packets, each in a part.
    fn parts() -> (Vec<u8>, Vec<usize>) {
        let (mut parts, mut begins) = (b"order".to_vec(), Vec::new());
        for block in 0..3u8 {
            let packet = |at: u8| {
                let mut packet = [block * 10 + at; 20];
                packet[..2].copy_from_slice(&[0x08, 100]);
                packet
            };
            let packets: Vec<[u8; 20]> = (0..10).map(packet).collect();
            let packets: Vec<&[u8]> = packets.iter().map(|of| &of[..]).collect();
            let block = squeeze(&packets, Level::Fast).unwrap();
            begins.push(parts.len());
            parts.extend((block.len() as u32).to_be_bytes());
            parts.extend(block);
        }
        begins.push(parts.len());
        (parts, begins)
    }

    #[test]
    fn any_flipped_byte_costs_its_block_alone_and_names_the_place() {
        let (whole, begins) = parts();
        let found = salvage(&whole, true);
        assert_eq!((found.packets, &found.holes[..]), (30, std::slice::from_ref(&(0..begins[0]))));
        for at in begins[0]..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x41;
            let found = salvage(&flipped, true);
            assert!(found.packets >= 20, "byte {at}: {}", found.packets);
            assert_eq!(found.bytes.len(), 20 * found.packets);
            let named = found.holes.iter().any(|hole| hole.contains(&at));
            assert!(named || found.packets == 30, "byte {at}: {:?}", found.holes);
        }
        for cut in 0..whole.len() {
            let blocks = begins[1..].iter().filter(|end| **end <= cut).count();
            assert_eq!(salvage(&whole[..cut], true).packets, 10 * blocks, "cut at {cut}");
        }
    }

    #[test]
    fn what_may_go_on_is_left_for_the_next_call() {
        let (whole, _) = parts();
        assert_eq!(salvage(&whole, false).consumed, 0);
        let long = [whole, vec![0; PARTS_BYTES_MAX]].concat();
        let found = salvage(&long, false);
        assert_eq!(found.packets, 30);
        assert!(found.consumed >= long.len() - PARTS_BYTES_MAX);
    }
}
