//! How samples lie in bytes.

use super::RiceConfig;
use alloc::vec::Vec;

/// Which byte of a sample comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The least significant.
    LittleEndian,
    /// The most significant.
    BigEndian,
}

/// How samples lie in bytes: in one, two or four of them, whichever their bits need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Which byte comes first.
    pub order: Order,
    /// Whether samples of 17 to 24 bits take three bytes, not four.
    pub three_bytes: bool,
}

impl Layout {
    /// Bytes of a sample of so many bits.
    pub fn sample_bytes(self, bits: u32) -> usize {
        match bits {
            ..=8 => 1,
            9..=16 => 2,
            17..=24 if self.three_bytes => 3,
            _ => 4,
        }
    }

    /// Reads as many samples as there are, sign extended where they are signed and their bytes are.
    pub(super) fn read(self, config: &RiceConfig, bytes: &[u8], samples: &mut [u32]) {
        let width = self.sample_bytes(config.bits);
        // Bits above a container hold no sample's bits: its sign goes on there.
        let sign = if config.signed { 1u32 << (8 * width - 1) } else { 0 };
        let extend = |value: u32| (value ^ sign).wrapping_sub(sign);
        match (width, self.order) {
            (1, _) => copy::<1>(bytes, samples, |[a]| extend(u32::from(a))),
            (2, Order::LittleEndian) => {
                copy(bytes, samples, |pair| extend(u32::from(u16::from_le_bytes(pair))));
            }
            (2, Order::BigEndian) => {
                copy(bytes, samples, |pair| extend(u32::from(u16::from_be_bytes(pair))));
            }
            (3, Order::LittleEndian) => {
                copy(bytes, samples, |[a, b, c]| extend(u32::from_le_bytes([a, b, c, 0])));
            }
            (3, Order::BigEndian) => {
                copy(bytes, samples, |[a, b, c]| extend(u32::from_be_bytes([0, a, b, c])));
            }
            (_, Order::LittleEndian) => copy(bytes, samples, u32::from_le_bytes),
            (_, Order::BigEndian) => copy(bytes, samples, u32::from_be_bytes),
        }
    }

    /// Appends samples as they lie in bytes.
    pub(super) fn write(self, bits: u32, samples: &[u32], bytes: &mut Vec<u8>) {
        match (self.sample_bytes(bits), self.order) {
            (1, _) => bytes.extend(samples.iter().map(|sample| *sample as u8)),
            (2, Order::LittleEndian) => append(samples, bytes, |s| (s as u16).to_le_bytes()),
            (2, Order::BigEndian) => append(samples, bytes, |s| (s as u16).to_be_bytes()),
            (3, Order::LittleEndian) => append(samples, bytes, |s| {
                let [a, b, c, _] = s.to_le_bytes();
                [a, b, c]
            }),
            (3, Order::BigEndian) => append(samples, bytes, |s| {
                let [_, a, b, c] = s.to_be_bytes();
                [a, b, c]
            }),
            (_, Order::LittleEndian) => append(samples, bytes, u32::to_le_bytes),
            (_, Order::BigEndian) => append(samples, bytes, u32::to_be_bytes),
        }
    }
}

#[inline]
fn copy<const N: usize>(bytes: &[u8], samples: &mut [u32], read: impl Fn([u8; N]) -> u32) {
    let (chunks, _) = bytes.as_chunks::<N>();
    samples.iter_mut().zip(chunks).for_each(|(sample, chunk)| *sample = read(*chunk));
}

#[inline]
fn append<const N: usize>(samples: &[u32], bytes: &mut Vec<u8>, write: impl Fn(u32) -> [u8; N]) {
    samples.iter().for_each(|sample| bytes.extend_from_slice(&write(*sample)));
}
