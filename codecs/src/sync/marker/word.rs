//! The marker itself, where it stands in bytes, and its text.

use super::MarkerConfig;
use super::stream::Stream;
use alloc::vec::Vec;
use core::{fmt, str::FromStr};

/// A sync marker of 16 to 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Marker {
    pub(super) bits: u64,
    pub(super) length: u32,
}

impl Marker {
    /// Before uncoded, convolutional and Reed-Solomon coded telemetry (CCSDS 131.0-B-5 §9).
    pub const TELEMETRY: Self = Self { bits: 0x1ACF_FC1D, length: 32 };

    /// Before blocks of the LDPC codes of rate 1/2, 2/3 and 4/5 and of the turbo code of rate 1/2
    /// (CCSDS 131.0-B-6 §9).
    pub const LONG: Self = Self { bits: 0x0347_76C7_2728_95B0, length: 64 };

    /// Before blocks of a stream embedded in frames (CCSDS 131.0-B-6 §9).
    pub const EMBEDDED: Self = Self { bits: 0x352E_F853, length: 32 };

    /// Before command units of BCH codeblocks (CCSDS 231.0-B-4 §5.2.2).
    pub const COMMAND: Self = Self { bits: 0xEB90, length: 16 };

    /// Before the frames of the two Voyagers.
    pub const VOYAGER: Self = Self { bits: 0x0391_5ED3, length: 32 };

    /// Bits of the marker.
    pub const fn bits(&self) -> u32 {
        self.length
    }

    /// Its bytes, as they are sent.
    pub fn to_bytes(self) -> impl Iterator<Item = u8> {
        self.bits.to_be_bytes().into_iter().skip(8 - self.length as usize / 8)
    }

    /// Every bit of `bytes` at which the marker begins, upright or inverted, with at most so many
    /// wrong bits.
    pub fn places(&self, bytes: &[u8], errors: u32) -> Vec<u64> {
        let (mut places, mut from) = (Vec::new(), 0);
        while let Ok((at, _)) = self.first_place(bytes, errors, from) {
            places.push(at);
            from = at + 1;
        }
        places
    }

    /// The first bit from `from` on at which the marker begins, and whether it is inverted; or the
    /// first at which it could, were there more bytes.
    pub(crate) fn first_place(
        &self,
        bytes: &[u8],
        errors: u32,
        from: u64,
    ) -> Result<(u64, bool), u64> {
        let stream = Stream { bytes, base: 0, ended: true };
        let config = MarkerConfig { search_errors: errors, ..MarkerConfig::new(*self, 1) };
        stream.find(&config, from)
    }

    pub(super) const fn mask(&self) -> u64 {
        u64::MAX >> (64 - self.length)
    }

    /// Bits in which a word differs.
    pub(super) const fn errors(&self, word: u64) -> u32 {
        ((word ^ self.bits) & self.mask()).count_ones()
    }
}

/// Why a text names no [`Marker`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a marker is 4 to 16 hexadecimal digits, two a byte, for example 1ACFFC1D")]
pub struct MarkerError;

impl FromStr for Marker {
    type Err = MarkerError;

    fn from_str(text: &str) -> Result<Self, MarkerError> {
        let digits = text.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !digits || !(4..=16).contains(&text.len()) || !text.len().is_multiple_of(2) {
            return Err(MarkerError);
        }
        let bits = u64::from_str_radix(text, 16).map_err(|_| MarkerError)?;
        Ok(Self { bits, length: 4 * text.len() as u32 })
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0width$X}", self.bits, width = self.length as usize / 4)
    }
}
