//! Cyclic redundancy checks: 16 bits on the air, 32 bits in storage and on the link.

use super::kernels::{crc::Kernel, crc32c as stored};
use crc::{Algorithm, CRC_16_IBM_3740, CRC_32_ISCSI, Crc, Table};

/// Where multiplying begins to be faster than looking up.
const KERNEL_BYTES_MIN: usize = 6;

/// Length of the CRC-16 that ends a frame or a packet.
pub const CRC16_BYTES: usize = 2;
/// Length of the CRC-32 that may end a USLP frame.
pub const CRC32_BYTES: usize = 4;

// Sixteen lookup tables are ten times as fast as one and cost 8 KiB and 16 KiB of rodata.
static FRAME: Crc<u16, Table<16>> = Crc::<u16, Table<16>>::new(&CRC_16_IBM_3740);
static STORED: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// x^32 + x^23 + x^21 + x^11 + x^2 + 1, preset to zeros, nothing reflected or inverted.
static LONG_FRAME: Crc<u32> = Crc::<u32>::new(&Algorithm {
    width: 32,
    poly: 0x00A0_0805,
    init: 0,
    refin: false,
    refout: false,
    xorout: 0,
    check: 0x51693C0C,
    residue: 0,
});

/// CRC-16 of the frame error control field (CCSDS 132.0-B-3 §4.1.6.2, 732.0-B-5 §4.1.6.2):
/// x^16 + x^12 + x^5 + 1, preset to all ones, known as IBM-3740 or CCITT-FALSE.
///
/// Over a frame together with its correct check field it is 0.
#[inline]
pub fn crc16(bytes: &[u8]) -> u16 {
    if bytes.len() < KERNEL_BYTES_MIN {
        return crc16_by_tables(bytes);
    }
    Kernel::best().crc16(bytes)
}

/// The same without wide registers.
pub(super) fn crc16_by_tables(bytes: &[u8]) -> u16 {
    FRAME.checksum(bytes)
}

/// Whether the last two bytes are the CRC-16 of what stands before them.
pub fn crc16_holds(bytes: &[u8]) -> bool {
    bytes.len() >= CRC16_BYTES && crc16(bytes) == 0
}

/// CRC-32 of the long frame error control field (CCSDS 732.1-B-3 annex B2, the polynomial of
/// Proximity-1 in CCSDS 211.0-B-6).
///
/// Over a frame together with its correct check field it is 0.
pub fn crc32_frame(bytes: &[u8]) -> u32 {
    LONG_FRAME.checksum(bytes)
}

/// Whether the last four bytes are the CRC-32 of what stands before them. Zeros pass, as zeros
/// are their own check.
pub fn crc32_frame_holds(bytes: &[u8]) -> bool {
    bytes.len() >= CRC32_BYTES && crc32_frame(bytes) == 0
}

/// CRC-32C (Castagnoli) of stored records and of units on the link (RFC 3720 §12.1).
#[inline]
pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = Crc32c::new();
    crc.update(bytes);
    crc.finish()
}

/// The same register without the processor's instruction.
fn crc32c_by_tables(register: u32, bytes: &[u8]) -> u32 {
    // The crate wants its preset unreflected and gives the register inverted.
    let mut digest = STORED.digest_with_initial(register.reverse_bits());
    digest.update(bytes);
    !digest.finalize()
}

/// CRC-32C of bytes that arrive in pieces; equals [`crc32c`] over the pieces joined.
#[derive(Clone, Debug)]
pub struct Crc32c(u32);

impl Crc32c {
    /// A check over nothing yet.
    pub const fn new() -> Self {
        Self(u32::MAX)
    }

    /// Takes the next piece.
    #[inline]
    pub fn update(&mut self, bytes: &[u8]) {
        self.0 = match stored::update(self.0, bytes) {
            Some(register) => register,
            None => crc32c_by_tables(self.0, bytes),
        };
    }

    /// The value over all pieces.
    pub const fn finish(self) -> u32 {
        !self.0
    }
}

impl Default for Crc32c {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn long_frame_check_of_another_implementation() {
        assert_eq!(crc32_frame(&[0x12, 0x34, 0x56, 0x78]), 0x34D7_4CB3);
        assert!(crc32_frame_holds(&[0x12, 0x34, 0x56, 0x78, 0x34, 0xD7, 0x4C, 0xB3]));
        assert!(!crc32_frame_holds(&[0; 3]));
    }

    /// Bit by bit, straight from the definition: the table's twin.
    fn crc16_by_bits(bytes: &[u8]) -> u16 {
        bytes.iter().fold(0xFFFF, |crc, byte| {
            (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            })
        })
    }

    fn crc32c_by_bits(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ 0x82F6_3B78 }
            })
        })
    }

    #[test]
    fn published_check_values() {
        assert_eq!(crc16(b"123456789"), 0x29B1);
        assert_eq!(crc16(b""), 0xFFFF);
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        // RFC 3720 appendix B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
    }

    #[test]
    fn too_short_for_a_check_field_never_holds() {
        assert!(!crc16_holds(&[]));
        assert!(!crc16_holds(&[0]));
        // The preset makes an empty frame with check field FFFF hold.
        assert!(crc16_holds(&[0xFF, 0xFF]));
    }

    #[test]
    fn every_length_of_every_kernel_equals_the_tables() {
        let bytes: Vec<u8> = (0..1200_u32).map(|n| (n * n + n / 7) as u8).collect();
        for length in 0..bytes.len() {
            let bytes = &bytes[..length];
            for kernel in Kernel::all() {
                let (crc, name) = (kernel.crc16(bytes), kernel.name());
                assert_eq!(crc, FRAME.checksum(bytes), "{name}, {length} bytes");
            }
            assert_eq!(crc16(bytes), FRAME.checksum(bytes), "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn tables_equal_the_definition(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(crc16(&bytes), crc16_by_bits(&bytes));
            prop_assert_eq!(crc32c(&bytes), crc32c_by_bits(&bytes));
            prop_assert_eq!(!crc32c_by_tables(u32::MAX, &bytes), crc32c_by_bits(&bytes));
        }

        /// All heads, strides and registers of the kernels; the tables are their twin.
        #[test]
        fn kernels_equal_the_tables(
            bytes in prop::collection::vec(any::<u8>(), 0..1500),
            from in 0usize..64,
        ) {
            let bytes = bytes.get(from..).unwrap_or_default();
            for kernel in Kernel::all() {
                prop_assert_eq!(kernel.crc16(bytes), FRAME.checksum(bytes), "{}", kernel.name());
            }
            prop_assert_eq!(crc32c(bytes), !crc32c_by_tables(u32::MAX, bytes));
        }

        #[test]
        fn one_flipped_bit_is_always_seen(
            bytes in prop::collection::vec(any::<u8>(), 1..300),
            at in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let mut sealed = bytes.clone();
            sealed.extend_from_slice(&crc16(&bytes).to_be_bytes());
            prop_assert!(crc16_holds(&sealed));
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(!crc16_holds(&sealed));
        }

        #[test]
        fn pieces_join(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)) {
            let mut digest = Crc32c::new();
            pieces.iter().for_each(|piece| digest.update(piece));
            prop_assert_eq!(digest.finish(), crc32c(&pieces.concat()));
        }
    }
}
