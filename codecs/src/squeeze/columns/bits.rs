//! Bits of a block, the most significant first.

use alloc::vec::Vec;

/// Bits that one look at a position is sure to show.
const SURE: u32 = 57;

/// Puts bits behind one another.
pub(super) struct Writer {
    bytes: Vec<u8>,
    pending: u64,
    used: u32,
}

impl Writer {
    /// Goes on behind whole bytes.
    pub(super) fn behind(bytes: Vec<u8>) -> Self {
        Self { bytes, pending: 0, used: 0 }
    }

    /// Writes the lowest `bits` of `value`, 32 at most; those above have to be 0.
    #[inline]
    pub(super) fn put(&mut self, value: u32, bits: u32) {
        self.pending = (self.pending << bits) | u64::from(value);
        self.used += bits;
        if self.used >= 32 {
            self.used -= 32;
            self.bytes.extend_from_slice(&((self.pending >> self.used) as u32).to_be_bytes());
        }
    }

    /// Fills the last byte with zeros.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let spare = (8 - self.used % 8) % 8;
        self.put(0, spare);
        let rest = self.pending.checked_shl(64 - self.used).unwrap_or(0);
        self.bytes.extend(rest.to_be_bytes().iter().take(self.used as usize / 8));
        self.bytes
    }
}

/// Reads bits; past the end are zeros, and [`Reader::is_done`] tells.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Position in bits.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// At least [`SURE`] bits from a position, in the highest places.
    #[inline(always)]
    fn look(&self, position: usize) -> u64 {
        let rest = self.bytes.get(position / 8..).unwrap_or_default();
        let word = match rest.first_chunk::<8>() {
            Some(word) => u64::from_be_bytes(*word),
            None => rest.iter().rev().fold(0, |word, byte| (word >> 8) | (u64::from(*byte) << 56)),
        };
        word << (position % 8)
    }

    /// The next `bits`, 32 at most.
    #[inline]
    pub(super) fn take(&mut self, bits: u32) -> u32 {
        let value = self.look(self.position).checked_shr(64 - bits).unwrap_or(0) as u32;
        self.position += bits as usize;
        value
    }

    /// Fills `runs` with the zeros in front of each of the next ones; a run of `most` zeros, fewer
    /// than [`SURE`], ends without a one.
    #[inline]
    pub(super) fn runs(&mut self, most: u32, runs: &mut [u32]) {
        // The first bit lowest: clearing the lowest one is a step, finding the highest is several.
        let window = |position| self.look(position).reverse_bits() & ((1 << SURE) - 1);
        let (mut position, mut word, mut used) = (self.position, window(self.position), 0);
        for run in runs {
            if word == 0 && SURE - used < most {
                position += used as usize;
                (word, used) = (window(position), 0);
            }
            let end = if word == 0 { SURE } else { word.trailing_zeros() };
            let zeros = end - used;
            if zeros < most {
                word &= word.wrapping_sub(1);
                used = end + 1;
                *run = zeros;
            } else {
                used += most;
                *run = most;
            }
        }
        self.position = position + used as usize;
    }

    /// Puts the next numbers of `bits` bits, 31 at most, behind the ones that stand there.
    #[inline]
    pub(super) fn append(&mut self, bits: u32, numbers: &mut [u32]) {
        if bits == 0 {
            return;
        }
        for numbers in numbers.chunks_mut((SURE / bits) as usize) {
            let mut word = self.look(self.position);
            self.position += bits as usize * numbers.len();
            for number in numbers {
                *number = (*number << bits) | (word >> (64 - bits)) as u32;
                word <<= bits;
            }
        }
    }

    /// Whether all bytes were read, and none more; what fills the last one has to be 0.
    pub(super) fn is_done(&mut self) -> bool {
        let spare = (8 - self.position % 8) % 8;
        let rest = self.take(spare as u32);
        rest == 0 && self.position == self.bytes.len() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_come_back(
            fields in prop::collection::vec((any::<u32>(), 0u32..=32), 0..60),
        ) {
            let mut writer = Writer::behind(Vec::new());
            let low = |value: u32, bits: u32| value & (u64::from(u32::MAX) >> (32 - bits)) as u32;
            for (value, bits) in &fields {
                writer.put(low(*value, *bits), *bits);
            }
            let bytes = writer.finish();
            let mut reader = Reader::new(&bytes);
            for (value, bits) in &fields {
                prop_assert_eq!(reader.take(*bits), low(*value, *bits));
            }
            prop_assert!(reader.is_done());
            prop_assert_eq!(reader.take(9), 0);
            prop_assert!(!reader.is_done());
        }

        #[test]
        fn runs_come_back(runs in prop::collection::vec(0u32..=20, 0..100), gap in 0u32..9) {
            let mut writer = Writer::behind(Vec::new());
            writer.put(0, gap);
            for run in &runs {
                writer.put(u32::from(*run < 20), if *run < 20 { run + 1 } else { 20 });
            }
            let bytes = writer.finish();
            let mut reader = Reader::new(&bytes);
            reader.take(gap);
            let mut read = alloc::vec![0; runs.len()];
            reader.runs(20, &mut read);
            prop_assert_eq!(read, runs);
            prop_assert!(reader.is_done());
        }
    }
}
