//! Bits of a block, the most significant first.

use alloc::vec::Vec;

/// Bits that one look at a position is sure to show.
const SURE: u32 = 57;

/// Numbers behind those asked for that [`Reader::runs`] may write over.
pub(super) const BEHIND: usize = 8;

/// What the bits of a byte say, the highest first.
#[derive(Clone, Copy)]
struct Byte {
    /// Zeros in front of each one; in front of the end for the first of none.
    runs: [u32; 8],
    ones: u32,
    /// Zeros behind the last one.
    rest: u32,
}

/// Looking up is several times faster than finding one bit after another.
#[expect(clippy::indexing_slicing, reason = "worked out by the compiler")]
static BYTES: [Byte; 256] = {
    let mut bytes = [Byte { runs: [0; 8], ones: 0, rest: 0 }; 256];
    let mut value = 0;
    while value < 256 {
        let byte = &mut bytes[value];
        let mut bit = 0;
        while bit < 8 {
            if value & (0x80 >> bit) == 0 {
                byte.rest += 1;
            } else {
                byte.runs[byte.ones as usize] = byte.rest;
                byte.ones += 1;
                byte.rest = 0;
            }
            bit += 1;
        }
        if byte.ones == 0 {
            byte.runs[0] = byte.rest;
        }
        value += 1;
    }
    bytes
};

impl Byte {
    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "there is one for every byte")]
    fn of(value: u8) -> &'static Self {
        &BYTES[usize::from(value)]
    }
}

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

    /// Fills the first `count` of `runs` with the zeros in front of each of the next ones; a run of
    /// `most` zeros, 8 or more, ends without a one. Whether any did.
    ///
    /// What stands behind them, [`BEHIND`] at least, is written over.
    #[inline]
    pub(super) fn runs(&mut self, most: u32, count: usize, runs: &mut [u32]) -> bool {
        let (mut at, mut carried, mut any) = (0, 0, false);
        while at < count {
            let mut word = self.look(self.position);
            // Whole bytes of what is sure.
            for _ in 0..SURE / 8 {
                let byte = Byte::of((word >> 56) as u8);
                let Some(slots) = runs.get_mut(at..).and_then(<[u32]>::first_chunk_mut) else {
                    return any;
                };
                *slots = byte.runs;
                slots[0] += carried;
                if slots[0] >= most {
                    // The run began that many bits before this byte.
                    self.position = self.position + most as usize - carried as usize;
                    slots[0] = most;
                    (at, carried, any) = (at + 1, 0, true);
                    break;
                }
                let ones = byte.ones as usize;
                if at + ones >= count {
                    let used = byte.runs.iter().take(count - at).map(|zeros| zeros + 1);
                    self.position += used.sum::<u32>() as usize;
                    return any;
                }
                self.position += 8;
                at += ones;
                carried = byte.rest + if ones == 0 { carried } else { 0 };
                word <<= 8;
            }
        }
        any
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
            let mut read = alloc::vec![0; runs.len() + BEHIND];
            let any = reader.runs(20, runs.len(), &mut read);
            prop_assert_eq!(any, runs.contains(&20));
            read.truncate(runs.len());
            prop_assert_eq!(read, runs);
            prop_assert!(reader.is_done());
        }
    }
}
