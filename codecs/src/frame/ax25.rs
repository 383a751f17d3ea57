//! AX.25 frames as a terminal node controller hands them over: no flags, no check sequence.

/// Bytes of an address (AX.25 2.2 §3.12).
const ADDRESS_BYTES: usize = 7;
/// Destination, source and eight repeaters: more than the two of version 2.2, as older ones had.
const ADDRESSES_MAX: usize = 10;
/// Unnumbered information, poll bit left out (AX.25 2.2 §4.3.3).
const UI: u8 = 0x03;

/// Where the information of an unnumbered frame begins; `None` where the bytes are no such frame.
///
/// The addresses end with the first whose last bit is set; control and protocol identifier follow
/// (AX.25 2.2 §3.4, §3.12.2).
pub fn information(frame: &[u8]) -> Option<usize> {
    let last = |address: &[u8]| address.last().is_some_and(|byte| byte & 1 == 1);
    let addresses = 1 + frame.chunks_exact(ADDRESS_BYTES).take(ADDRESSES_MAX).position(last)?;
    let control = addresses * ADDRESS_BYTES;
    let ui = frame.get(control)? & !0x10 == UI;
    (addresses >= 2 && ui && frame.len() > control + 2).then_some(control + 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// `N0CALL>APRS,WIDE1-1:` and its control field.
    fn frame(addresses: usize, control: u8, information: &[u8]) -> Vec<u8> {
        let mut frame = [0x82; ADDRESS_BYTES].repeat(addresses);
        frame[addresses * ADDRESS_BYTES - 1] |= 1;
        frame.extend_from_slice(&[control, 0xF0]);
        frame.extend_from_slice(information);
        frame
    }

    #[test]
    fn information_begins_behind_addresses_control_and_protocol() {
        assert_eq!(information(&frame(2, UI, b"x")), Some(16));
        assert_eq!(information(&frame(4, UI | 0x10, b"x")), Some(30));
        assert_eq!(information(&frame(2, 0x2F, b"x")), None, "no unnumbered information");
        assert_eq!(information(&frame(1, UI, b"x")), None, "one address");
        assert_eq!(information(&[0x82; 100]), None, "addresses without end");
        let whole = frame(3, UI, b"");
        (0..=whole.len()).for_each(|cut| assert_eq!(information(&whole[..cut]), None));
    }
}
