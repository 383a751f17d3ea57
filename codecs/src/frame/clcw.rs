//! Communications link control words (CCSDS 232.0-B-4 §4.2): what a spacecraft tells of the
//! commands that it received, in the operational control field of its frames.
//!
//! Nothing tells whose word a field holds but the field itself: [`Clcw::read`] refuses the reports
//! that share the field (type 1, among them those of SDLS).

use super::OCF_BYTES;

/// The bit that tells reports of other standards apart.
const TYPE: u32 = 1 << 31;

/// A control word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clcw {
    /// For the mission or agency, three bits.
    pub status: u8,
    /// The procedure in effect: 1 is COP-1, the only one in use; two bits.
    pub procedure: u8,
    /// Virtual channel that it reports on, six bits.
    pub vcid: u8,
    /// No physical channel is available to receive on.
    pub no_rf: bool,
    /// The demodulator has no lock on bits.
    pub no_bit_lock: bool,
    /// The acceptance check is in lockout: only an unlock command leads out.
    pub lockout: bool,
    /// No further frame can be accepted until the ones at hand are taken.
    pub wait: bool,
    /// A frame of the sequence is missing: send again from the report value on.
    pub retransmit: bool,
    /// Bypassing frames accepted, two bits: counts on by one for each.
    pub farm_b_counter: u8,
    /// The sequence number that is expected next.
    pub report: u8,
    /// The three bits that the standard reserves, as found: the two behind the virtual channel
    /// and the one before the report value.
    pub spare: u8,
}

/// Why a field holds no control word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClcwError {
    /// A report of another type, which other standards define.
    #[error("the operational control field holds a report of type 1, no control word")]
    Report,
    /// Another version.
    #[error("control word version {0} where only 0 is known")]
    Version(u8),
}

impl Clcw {
    /// The procedure that acknowledges commands (CCSDS 232.1-B-2).
    pub const COP_1: u8 = 1;

    /// Reads an operational control field.
    pub const fn read(field: [u8; OCF_BYTES]) -> Result<Self, ClcwError> {
        let word = u32::from_be_bytes(field);
        if word & TYPE != 0 {
            return Err(ClcwError::Report);
        }
        let version = (word >> 29 & 0b11) as u8;
        if version != 0 {
            return Err(ClcwError::Version(version));
        }
        Ok(Self {
            status: (word >> 26 & 0b111) as u8,
            procedure: (word >> 24 & 0b11) as u8,
            vcid: (word >> 18 & 0x3F) as u8,
            no_rf: word >> 15 & 1 != 0,
            no_bit_lock: word >> 14 & 1 != 0,
            lockout: word >> 13 & 1 != 0,
            wait: word >> 12 & 1 != 0,
            retransmit: word >> 11 & 1 != 0,
            farm_b_counter: (word >> 9 & 0b11) as u8,
            report: word as u8,
            spare: (word >> 15 & 0b110 | word >> 8 & 1) as u8,
        })
    }

    /// Writes it; bits over a field's width are left out.
    pub const fn emit(&self) -> [u8; OCF_BYTES] {
        let spare = self.spare as u32;
        let word = (self.status as u32 & 0b111) << 26
            | (self.procedure as u32 & 0b11) << 24
            | (self.vcid as u32 & 0x3F) << 18
            | (spare & 0b110) << 15
            | (self.no_rf as u32) << 15
            | (self.no_bit_lock as u32) << 14
            | (self.lockout as u32) << 13
            | (self.wait as u32) << 12
            | (self.retransmit as u32) << 11
            | (self.farm_b_counter as u32 & 0b11) << 9
            | (spare & 1) << 8
            | self.report as u32;
        word.to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_words() {
        let idle = Clcw { procedure: Clcw::COP_1, ..Clcw::default() };
        assert_eq!((idle.emit(), Clcw::read([0x01, 0, 0, 0])), ([0x01, 0, 0, 0], Ok(idle)));
        let busy = Clcw {
            status: 0b101,
            procedure: Clcw::COP_1,
            vcid: 5,
            no_rf: true,
            no_bit_lock: false,
            lockout: true,
            wait: false,
            retransmit: true,
            farm_b_counter: 2,
            report: 0xC8,
            spare: 0,
        };
        let bytes = [0x15, 0x14, 0xAC, 0xC8];
        assert_eq!((busy.emit(), Clcw::read(bytes)), (bytes, Ok(busy)));
        let other = Clcw { no_bit_lock: true, wait: true, ..idle };
        assert_eq!(other.emit(), [0x01, 0, 0x50, 0]);
    }

    #[test]
    fn reports_of_other_standards_are_no_control_words() {
        assert_eq!(Clcw::read([0xC0, 0, 0, 0]), Err(ClcwError::Report));
        assert_eq!(Clcw::read([0x41, 0, 0, 0]), Err(ClcwError::Version(2)));
    }

    proptest! {
        #[test]
        fn words_round_trip(word: u32) {
            let field = (word & 0x1FFF_FFFF).to_be_bytes();
            let clcw = Clcw::read(field).unwrap();
            prop_assert_eq!(clcw.emit(), field);
            // Every bit belongs to one field only.
            for bit in 0..29 {
                let other = (word & 0x1FFF_FFFF ^ 1 << bit).to_be_bytes();
                prop_assert_ne!(Clcw::read(other).unwrap(), clcw);
            }
        }
    }
}
