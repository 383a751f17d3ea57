//! A packet's bits as words. The standard numbers them from the last bit sent, counts its runs from
//! there and sends what it extracts in that order, so the last bit is a vector's first: the highest
//! bit of the first word. Below the packet's first bit the last word is filled up with zeros.

use alloc::vec::Vec;

/// Bits of a word.
pub const WORD_BITS: u32 = 64;

/// Words of a packet of so many bytes.
pub fn words(packet_bytes: usize) -> usize {
    packet_bytes.div_ceil(8)
}

/// The bits of the last word that belong to the packet.
pub fn last_word(packet_bytes: usize) -> u64 {
    u64::MAX << (8 * (packet_bytes.wrapping_neg() % 8))
}

/// A packet's words.
pub fn load(packet: &[u8]) -> impl Iterator<Item = u64> {
    packet.rchunks(8).map(|chunk| {
        let value = match chunk.first_chunk() {
            Some(whole) => u64::from_be_bytes(*whole),
            None => chunk.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)),
        };
        value.reverse_bits()
    })
}

/// Appends the packet of these words.
pub fn store(words: &[u64], packet_bytes: usize, out: &mut Vec<u8>) {
    out.reserve(packet_bytes);
    let mut filling = packet_bytes.wrapping_neg() % 8;
    for word in words.iter().rev() {
        let bytes = word.reverse_bits().to_be_bytes();
        out.extend_from_slice(bytes.get(filling..).unwrap_or_default());
        filling = 0;
    }
}

/// Where a vector's bit differs from the one before it, the first from zero (`M ⊕ (M≪)`, §5).
pub fn edges(words: impl Iterator<Item = u64>) -> impl Iterator<Item = u64> {
    words.scan(0, |before, word| {
        let edges = word ^ (word >> 1 | *before << (WORD_BITS - 1));
        *before = word & 1;
        Some(edges)
    })
}

/// The vector of these edges, in their place.
pub fn from_edges(words: &mut [u64], last: u64) {
    let mut before = false;
    for word in words.iter_mut() {
        for step in [1, 2, 4, 8, 16, 32] {
            *word ^= *word >> step;
        }
        if before {
            *word = !*word;
        }
        before = *word & 1 == 1;
    }
    if let Some(word) = words.last_mut() {
        *word &= last;
    }
}
