//! Bits of any alignment among the bytes at hand.

use super::{Marker, MarkerConfig};

/// The bytes at hand.
pub(super) struct Stream<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) base: u64,
    pub(super) ended: bool,
}

impl<'a> Stream<'a> {
    pub(super) const fn end(&self) -> u64 {
        8 * (self.base + self.bytes.len() as u64)
    }

    /// Where a bit of the stream stands: byte and bits before it there.
    fn place(&self, at: u64) -> Option<(usize, u32)> {
        let byte = (at / 8).checked_sub(self.base)?;
        Some((usize::try_from(byte).ok()?, (at % 8) as u32))
    }

    /// The bits of a marker's length from a place on.
    pub(super) fn word(&self, at: u64, marker: Marker) -> Option<u64> {
        let (byte, shift) = self.place(at)?;
        let span = shift + marker.length;
        let bytes = self.bytes.get(byte..)?.get(..span.div_ceil(8) as usize)?;
        let word = bytes.iter().fold(0u128, |word, byte| word << 8 | u128::from(*byte));
        let behind = 8 * bytes.len() as u32 - span;
        Some((word >> behind) as u64 & marker.mask())
    }

    /// The bytes that hold the block behind a marker, and its first bit in them.
    pub(super) fn block(&self, at: u64, config: &MarkerConfig) -> Option<(&'a [u8], u32)> {
        let (byte, shift) = self.place(at + u64::from(config.marker.length))?;
        let length = config.block_bytes + usize::from(shift != 0);
        Some((self.bytes.get(byte..)?.get(..length)?, shift))
    }

    /// The first marker that begins at `from` or later, and whether it is inverted; or from where
    /// on one could still begin.
    pub(super) fn find(&self, config: &MarkerConfig, from: u64) -> Result<(u64, bool), u64> {
        // The marker's first bits, as many as fit 32, sort most places out.
        let marker = config.marker;
        let bits = marker.length.min(32);
        let prefix = (marker.bits >> (marker.length - bits)) as u32;
        let mask = u32::MAX >> (32 - bits);
        let Some((first, _)) = self.place(from) else { return Err(from) };
        let mut end = 8 * (self.base + first as u64);
        let mut window = 0u64;
        for byte in self.bytes.get(first..).unwrap_or(&[]) {
            window = window << 8 | u64::from(*byte);
            end += 8;
            for behind in (0..8).rev() {
                let differing = ((window >> behind) as u32 ^ prefix) & mask;
                let inverted = few(!differing & mask, config.search_errors);
                if !inverted && !few(differing, config.search_errors) {
                    continue;
                }
                let at = end.checked_sub(u64::from(bits + behind)).filter(|at| *at >= from);
                let Some(at) = at else { continue };
                let Some(word) = self.word(at, marker) else { return Err(at) };
                let errors = marker.errors(if inverted { !word } else { word });
                if errors <= config.search_errors {
                    return Ok((at, inverted));
                }
            }
        }
        Err(from.max((end + 1).saturating_sub(u64::from(bits))))
    }
}

/// Whether at most so many bits are set; one bit, the usual number, costs no counting.
const fn few(bits: u32, most: u32) -> bool {
    match most {
        0 => bits == 0,
        1 => bits & bits.wrapping_sub(1) == 0,
        _ => bits.count_ones() <= most,
    }
}
