//! SHA-1 (FIPS 180-4), which a published table is hashed with. It shows a digit lost on the way; it
//! is no proof against anybody's will.

/// Digits of a table so far: at most two dates and its steps, so that they fit a few blocks.
pub(super) struct Sha1 {
    state: [u32; 5],
    block: [u8; 64],
    filled: usize,
    length: u64,
}

impl Default for Sha1 {
    fn default() -> Self {
        let state = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0];
        Self { state, block: [0; 64], filled: 0, length: 0 }
    }
}

impl Sha1 {
    pub(super) fn push(&mut self, byte: u8) {
        self.length += 8;
        self.put(byte);
    }

    fn put(&mut self, byte: u8) {
        if let Some(slot) = self.block.get_mut(self.filled) {
            *slot = byte;
        }
        self.filled += 1;
        if self.filled == self.block.len() {
            self.compress();
            self.filled = 0;
        }
    }

    pub(super) fn finish(mut self) -> [u32; 5] {
        let length = self.length.to_be_bytes();
        self.put(0x80);
        while self.filled != 56 {
            self.put(0);
        }
        length.into_iter().for_each(|byte| self.put(byte));
        self.state
    }

    fn compress(&mut self) {
        // Only sixteen words of the schedule are alive at a time.
        let mut words = [0u32; 16];
        for (word, bytes) in words.iter_mut().zip(self.block.as_chunks::<4>().0) {
            *word = u32::from_be_bytes(*bytes);
        }
        let [mut a, mut b, mut c, mut d, mut e] = self.state;
        for round in 0..80 {
            let (mix, constant) = match round / 20 {
                0 => (b & c | !b & d, 0x5A82_7999),
                1 => (b ^ c ^ d, 0x6ED9_EBA1),
                2 => (b & c | b & d | c & d, 0x8F1B_BCDC),
                _ => (b ^ c ^ d, 0xCA62_C1D6u32),
            };
            let [word, ..] = words;
            let sum = a.rotate_left(5).wrapping_add(mix).wrapping_add(e);
            let next = sum.wrapping_add(constant).wrapping_add(word);
            (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
            let [w0, _, w2, _, _, _, _, _, w8, _, _, _, _, w13, _, _] = words;
            words.rotate_left(1);
            let [.., last] = &mut words;
            *last = (w0 ^ w2 ^ w8 ^ w13).rotate_left(1);
        }
        for (sum, word) in self.state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha1(bytes: &[u8]) -> [u32; 5] {
        let mut hash = Sha1::default();
        bytes.iter().for_each(|byte| hash.push(*byte));
        hash.finish()
    }

    #[test]
    fn published_hashes() {
        let abc = [0xA999_3E36, 0x4706_816A, 0xBA3E_2571, 0x7850_C26C, 0x9CD0_D89D];
        assert_eq!(sha1(b"abc"), abc);
        let empty = [0xDA39_A3EE, 0x5E6B_4B0D, 0x3255_BFEF, 0x9560_1890, 0xAFD8_0709];
        assert_eq!(sha1(b""), empty);
        let two = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        let blocks = [0x8498_3E44, 0x1C3B_D26E, 0xBAAE_4AA1, 0xF951_29E5, 0xE546_70F1];
        assert_eq!(sha1(two), blocks);
    }
}
