//! Encapsulation packets (CCSDS 133.1-B-3): only as much as it takes to step over them.

use super::{Extent, MAX_PACKET_BYTES, Protocol};

/// Reads how far an encapsulation packet reaches. Unlike a space packet's, its length field
/// counts the header too (CCSDS 133.1-B-3 §4.1.2).
pub(super) fn extent(bytes: &[u8]) -> Extent {
    let Some(first) = bytes.first() else { return Extent::Short { header: 1 } };
    // Two bits of length of length: no length field at all, or 1, 2 or 4 bytes that end a header
    // of 1, 2, 4 or 8.
    let (header, length) = match (first & 0x03, bytes) {
        (0, _) if first >> 2 == 0b11_1000 => (1, 1),
        // Only an idle packet may lack the length field.
        (0, _) => return Extent::Length,
        (1, [_, length, ..]) => (2, u32::from(*length)),
        (1, _) => return Extent::Short { header: 2 },
        (2, [_, _, high, low, ..]) => (4, u32::from(u16::from_be_bytes([*high, *low]))),
        (2, _) => return Extent::Short { header: 4 },
        (_, [_, _, _, _, a, b, c, d, ..]) => (8, u32::from_be_bytes([*a, *b, *c, *d])),
        _ => return Extent::Short { header: 8 },
    };
    match usize::try_from(length) {
        Ok(length) if (header..=MAX_PACKET_BYTES).contains(&length) => {
            Extent::Known { protocol: Protocol::Encapsulation, length }
        }
        _ => Extent::Length,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn known(length: usize) -> Extent {
        Extent::Known { protocol: Protocol::Encapsulation, length }
    }

    #[test]
    fn every_length_of_length() {
        assert_eq!(extent(&[0xE0]), known(1));
        assert_eq!(extent(&[0xE5, 9]), known(9));
        assert_eq!(extent(&[0xE6, 0, 1, 2]), known(258));
        assert_eq!(extent(&[0xE7, 0, 0, 0, 0, 1, 0, 6]), known(65_542));
    }

    #[test]
    fn cut_headers_ask_for_the_rest() {
        assert_eq!(extent(&[]), Extent::Short { header: 1 });
        assert_eq!(extent(&[0xE5]), Extent::Short { header: 2 });
        assert_eq!(extent(&[0xE6, 0, 1]), Extent::Short { header: 4 });
        assert_eq!(extent(&[0xE7, 0, 0, 0, 0, 1, 0]), Extent::Short { header: 8 });
    }

    #[test]
    fn lying_lengths_are_refused_before_anything_is_buffered() {
        assert_eq!(extent(&[0xE5, 1]), Extent::Length, "shorter than its own header");
        assert_eq!(extent(&[0xE7, 0, 0, 0, 0, 1, 0, 7]), Extent::Length, "over the bound");
        assert_eq!(extent(&[0xE7, 0, 0, 0, 255, 255, 255, 255]), Extent::Length);
        assert_eq!(extent(&[0xE4]), Extent::Length, "no length, yet not idle");
    }
}
