//! Counts and run lengths as bits (COUNT and RLE, §5).

use super::PocketError;
use super::vector::WORD_BITS;
use crate::squeeze::bits::{BitReader, BitWriter};

/// What stands behind the last run.
const END: u32 = 0b10;
/// The largest count of the middle form.
const MIDDLE_MAX: u32 = 33;
/// Least and most bits of what the long form says, which is two less than the count.
const LONG_BITS: (u32, u32) = (6, 16);

/// A count, 1 to 65,535.
#[inline]
pub fn put_count(bits: &mut BitWriter, count: u32) {
    match count {
        ..=1 => bits.put(0, 1),
        2..=MIDDLE_MAX => bits.put(0b110 << 5 | (count - 2), 8),
        _ => {
            let value = count - 2;
            // As many zeros before it as it has bits beyond six tell its length.
            let width = 2 * (32 - value.leading_zeros()) - LONG_BITS.0;
            bits.put(0b111 << width | value, 3 + width);
        }
    }
}

/// A count; `None` for the end of runs.
#[inline]
pub fn take_count(bits: &mut BitReader<'_>) -> Result<Option<u32>, PocketError> {
    if take(bits, 1)? == 0 {
        return Ok(Some(1));
    }
    if take(bits, 1)? == 0 {
        return Ok(None);
    }
    if take(bits, 1)? == 0 {
        return Ok(Some(take(bits, 5)? + 2));
    }
    let zeros = bits.take_fundamental().ok_or(PocketError::Truncated(bits.used()))?;
    // The one that was taken is the value's highest bit.
    let rest = zeros.saturating_add(LONG_BITS.0 - 1);
    if rest >= LONG_BITS.1 {
        return Err(PocketError::Damaged(bits.used()));
    }
    Ok(Some((1 << rest | take(bits, rest)?) + 2))
}

/// The next bits, at most 32.
#[inline]
pub fn take(bits: &mut BitReader<'_>, count: u32) -> Result<u32, PocketError> {
    bits.take(count).ok_or(PocketError::Truncated(bits.used()))
}

/// A vector as the distances from one bit that is set to the next.
pub fn put_runs(bits: &mut BitWriter, words: impl Iterator<Item = u64>) {
    let mut since = 0;
    for mut word in words {
        let mut left = WORD_BITS;
        while word != 0 {
            let zeros = word.leading_zeros();
            put_count(bits, since + zeros + 1);
            since = 0;
            word = word << zeros << 1;
            left -= zeros + 1;
        }
        since += left;
    }
    bits.put(END, 2);
}

/// Sets the bits of a vector of `length` bits, which comes as zeros; whether any is set.
pub fn take_runs(
    bits: &mut BitReader<'_>,
    words: &mut [u64],
    length: u32,
) -> Result<bool, PocketError> {
    let mut next = 0u32;
    while let Some(count) = take_count(bits)? {
        next += count;
        let place = next - 1;
        let word = words.get_mut((place / WORD_BITS) as usize).filter(|_| place < length);
        let word = word.ok_or(PocketError::Damaged(bits.used()))?;
        *word |= 1 << (WORD_BITS - 1 - place % WORD_BITS);
    }
    Ok(next > 0)
}
