//! Bits into bytes and out again, the highest first (as CCSDS 121.0-B-3 has them).

use alloc::vec::Vec;

/// Bits on their way into bytes.
#[derive(Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// The last bits given, in the low `held` of them.
    word: u64,
    held: u32,
}

impl BitWriter {
    /// Bits behind bytes that are there already.
    #[cfg(feature = "pocketplus")]
    pub fn behind(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// As [`put`](Self::put), of at most 64 bits.
    #[cfg(feature = "pocketplus")]
    #[inline]
    pub fn put_long(&mut self, value: u64, count: u32) {
        if count > 32 {
            self.put((value >> 32) as u32, count - 32);
            self.put(value as u32, 32);
        } else {
            self.put(value as u32, count);
        }
    }

    /// The low `count` bits of `value`, which has no others; at most 32.
    #[inline]
    pub fn put(&mut self, value: u32, count: u32) {
        self.word = self.word << count | u64::from(value);
        self.held += count;
        if self.held >= 32 {
            self.held -= 32;
            let whole = (self.word >> self.held) as u32;
            self.bytes.extend_from_slice(&whole.to_be_bytes());
        }
    }

    /// A fundamental sequence: so many zeros and a one (§3).
    #[inline]
    pub fn put_fundamental(&mut self, zeros: u32) {
        let mut zeros = zeros;
        while zeros >= 32 {
            self.put(0, 32);
            zeros -= 32;
        }
        self.put(1, 1 + zeros);
    }

    /// Zeros up to the next byte's start.
    pub fn align(&mut self) {
        self.put(0, self.held.wrapping_neg() % 8);
    }

    /// The bytes, the last one filled up with zeros.
    pub fn finish(mut self) -> Vec<u8> {
        self.align();
        let rest = (self.word << (32 - self.held)) as u32;
        let whole = (self.held / 8) as usize;
        self.bytes.extend(rest.to_be_bytes().iter().take(whole));
        self.bytes
    }
}

/// Bits of bytes.
pub(super) struct BitReader<'a> {
    rest: &'a [u8],
    total: usize,
    /// The next bits, in the high `held` of them; below there are zeros.
    word: u64,
    held: u32,
}

impl<'a> BitReader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, total: bytes.len(), word: 0, held: 0 }
    }

    /// At least 56 bits, or all there are; asked for when under 32 are held.
    #[inline]
    fn refill(&mut self) {
        if let Some((next, _)) = self.rest.split_first_chunk::<8>() {
            let bytes = (63 - self.held) / 8;
            let fresh = u64::from_be_bytes(*next) >> (64 - 8 * bytes);
            self.word |= fresh << (64 - self.held - 8 * bytes);
            self.held += 8 * bytes;
            self.rest = self.rest.get(bytes as usize..).unwrap_or_default();
            return;
        }
        while self.held <= 56
            && let Some((first, rest)) = self.rest.split_first()
        {
            self.word |= u64::from(*first) << (56 - self.held);
            self.held += 8;
            self.rest = rest;
        }
    }

    /// The next `count` bits, at most 32; `None` where the data ends before.
    #[inline]
    pub fn take(&mut self, count: u32) -> Option<u32> {
        if self.held < count {
            self.refill();
            if self.held < count {
                return None;
            }
        }
        // Two steps, since no word can be shifted by all its bits.
        let value = (self.word >> 1 >> (63 - count)) as u32;
        self.word <<= count;
        self.held -= count;
        Some(value)
    }

    /// As [`take`](Self::take), of at most 64 bits.
    #[cfg(feature = "pocketplus")]
    #[inline]
    pub fn take_long(&mut self, count: u32) -> Option<u64> {
        if count <= 32 {
            return self.take(count).map(u64::from);
        }
        let high = self.take(count - 32)?;
        Some(u64::from(high) << 32 | u64::from(self.take(32)?))
    }

    /// Zeros before the next one, which is taken too; `None` where the data ends before.
    #[inline]
    pub fn take_fundamental(&mut self) -> Option<u32> {
        let mut zeros = 0u32;
        while self.word == 0 {
            zeros = zeros.checked_add(self.held)?;
            self.held = 0;
            self.refill();
            if self.held == 0 {
                return None;
            }
        }
        let run = self.word.leading_zeros();
        self.word = self.word << run << 1;
        self.held -= run + 1;
        zeros.checked_add(run)
    }

    /// Skips to the next byte's start.
    pub fn align(&mut self) {
        let partial = self.held % 8;
        self.word <<= partial;
        self.held -= partial;
    }

    /// Bytes that were read, the last perhaps not to its end.
    pub fn used(&self) -> usize {
        self.total - self.rest.len() - (self.held / 8) as usize
    }
}
