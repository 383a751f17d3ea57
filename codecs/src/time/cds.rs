//! Day segmented time code, CDS (CCSDS 301.0-B-4 §3.3): days of UTC and milliseconds of the day.
//!
//! A day that ends in a leap second has 86,401 seconds, so the code tells 23:59:60 from 00:00:00.

use super::{DAY_S, LeapSeconds, NANOS, Tai, TimeCodeError};
use alloc::vec::Vec;

/// Day of 1970 on which days count from 0 unless the agency has its own epoch: 1958-01-01.
pub const CCSDS_EPOCH_DAY: i64 = -4383;

/// What follows the milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Submillisecond {
    /// Nothing.
    #[default]
    None,
    /// Two bytes of microseconds.
    Micros,
    /// Four bytes of picoseconds, kept to the nanosecond.
    Picos,
}

/// Layout and epoch of a CDS: from the preamble (P-field), or agreed on where none is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cds {
    /// Days take three bytes, not two.
    pub long_day: bool,
    /// What follows the milliseconds.
    pub submillisecond: Submillisecond,
    /// The day from which days count, in days of UTC since 1970-01-01; [`CCSDS_EPOCH_DAY`] unless
    /// the agency has its own.
    pub epoch_day: i64,
}

impl Cds {
    /// Two bytes of days since 1958 and milliseconds, the commonest layout.
    pub const fn new(submillisecond: Submillisecond) -> Self {
        Self { long_day: false, submillisecond, epoch_day: CCSDS_EPOCH_DAY }
    }

    /// Reads the preamble, a byte. `agency_day` stands for the epoch that a preamble may refer
    /// to, not name.
    pub fn from_preamble(preamble: u8, agency_day: Option<i64>) -> Result<Self, TimeCodeError> {
        if preamble >> 4 & 0x07 != 0b100 {
            return Err(TimeCodeError::Code(preamble >> 4 & 0x07));
        }
        let submillisecond = match preamble & 0x03 {
            0b00 => Submillisecond::None,
            0b01 => Submillisecond::Micros,
            0b10 => Submillisecond::Picos,
            _ => return Err(TimeCodeError::Layout),
        };
        if preamble & 0x80 != 0 {
            return Err(TimeCodeError::Layout);
        }
        let agency = preamble & 0x08 != 0;
        let epoch_day =
            if agency { agency_day.ok_or(TimeCodeError::Epoch)? } else { CCSDS_EPOCH_DAY };
        Ok(Self { long_day: preamble & 0x04 != 0, submillisecond, epoch_day })
    }

    /// The preamble.
    pub const fn preamble(&self) -> u8 {
        let agency = (self.epoch_day != CCSDS_EPOCH_DAY) as u8;
        let submillisecond = match self.submillisecond {
            Submillisecond::None => 0b00,
            Submillisecond::Micros => 0b01,
            Submillisecond::Picos => 0b10,
        };
        0b100 << 4 | agency << 3 | (self.long_day as u8) << 2 | submillisecond
    }

    /// Length of the code without its preamble.
    pub const fn time_bytes(&self) -> usize {
        let day = if self.long_day { 3 } else { 2 };
        let rest = match self.submillisecond {
            Submillisecond::None => 0,
            Submillisecond::Micros => 2,
            Submillisecond::Picos => 4,
        };
        day + 4 + rest
    }

    /// Reads the code at the front of the bytes. Milliseconds past the end of a leap second's day
    /// and fractions of a millisecond or more are refused.
    pub fn read(&self, bytes: &[u8]) -> Result<Tai, TimeCodeError> {
        self.read_with(bytes, LeapSeconds::built_in())
    }

    /// The same by a table of leap seconds.
    pub fn read_with(&self, bytes: &[u8], table: &LeapSeconds) -> Result<Tai, TimeCodeError> {
        let mut rest = bytes;
        let mut field = |length: usize| -> Result<i64, TimeCodeError> {
            let (field, after) = rest.split_at_checked(length).ok_or(TimeCodeError::Short)?;
            rest = after;
            Ok(field.iter().fold(0, |sum, byte| sum << 8 | i64::from(*byte)))
        };
        let day = field(if self.long_day { 3 } else { 2 })?;
        let millis = field(4)?;
        let nanos = match self.submillisecond {
            Submillisecond::None => 0,
            Submillisecond::Micros => field(2)? * 1000,
            Submillisecond::Picos => field(4)? / 1000,
        };
        if millis > DAY_S * 1000 + 999 || nanos >= 1_000_000 {
            return Err(TimeCodeError::Range);
        }
        let start = day_start(self.epoch_day.saturating_add(day), table)?;
        start.0.checked_add(millis * 1_000_000 + nanos).map(Tai).ok_or(TimeCodeError::Range)
    }

    /// Writes the code, cut to its resolution so that no day overflows.
    pub fn write(&self, time: Tai, to: &mut Vec<u8>) -> Result<(), TimeCodeError> {
        self.write_with(time, LeapSeconds::built_in(), to)
    }

    /// The same by a table of leap seconds.
    pub fn write_with(
        &self,
        time: Tai,
        table: &LeapSeconds,
        to: &mut Vec<u8>,
    ) -> Result<(), TimeCodeError> {
        let mut day = time.to_unix_nanos_with(table).div_euclid(DAY_S * NANOS);
        let mut start = day_start(day, table)?;
        // A leap second reads as the second that follows it; it belongs to the day before.
        if start > time {
            day -= 1;
            start = day_start(day, table)?;
        }
        let count = u32::try_from(day.saturating_sub(self.epoch_day));
        let count = count.map_err(|_| TimeCodeError::Range)?;
        let [top, a, b, c] = count.to_be_bytes();
        match (self.long_day, top, a) {
            (true, 0, _) => to.extend_from_slice(&[a, b, c]),
            (false, 0, 0) => to.extend_from_slice(&[b, c]),
            _ => return Err(TimeCodeError::Range),
        }
        let nanos = time.since(start);
        to.extend_from_slice(&((nanos / 1_000_000) as u32).to_be_bytes());
        let within = (nanos % 1_000_000) as u32;
        match self.submillisecond {
            Submillisecond::None => {}
            Submillisecond::Micros => to.extend_from_slice(&((within / 1000) as u16).to_be_bytes()),
            Submillisecond::Picos => to.extend_from_slice(&(within * 1000).to_be_bytes()),
        }
        Ok(())
    }
}

/// Midnight of a day of UTC since 1970.
fn day_start(day: i64, table: &LeapSeconds) -> Result<Tai, TimeCodeError> {
    // Nanoseconds in 64 bits reach 106,751 days either way; a day is left for the leap seconds.
    if !(-106_750..=106_750).contains(&day) {
        return Err(TimeCodeError::Range);
    }
    Ok(Tai::from_unix_with(day * DAY_S, 0, table))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_codes() {
        // 2026-11-23 is day 25,163 since 1958; 12:00:00.001002 UTC.
        let time = Tai::from_rfc3339("2026-11-23T12:00:00.001002Z").unwrap();
        let code = Cds::new(Submillisecond::Micros);
        let mut bytes = Vec::new();
        code.write(time, &mut bytes).unwrap();
        assert_eq!(bytes, [0x62, 0x4B, 0x02, 0x93, 0x2E, 0x01, 0, 2]);
        assert_eq!((code.preamble(), code.read(&bytes)), (0x41, Ok(time)));
        assert_eq!(Cds::from_preamble(0x41, None), Ok(code));
        for end in 0..bytes.len() {
            assert_eq!(code.read(&bytes[..end]), Err(TimeCodeError::Short));
        }
        assert_eq!(Cds::from_preamble(0x49, None), Err(TimeCodeError::Epoch));
        assert_eq!(Cds::from_preamble(0x1F, None), Err(TimeCodeError::Code(1)), "a CUC");
        assert_eq!(Cds::from_preamble(0x43, None), Err(TimeCodeError::Layout));
        assert_eq!(Cds::from_preamble(0xC1, None), Err(TimeCodeError::Layout));
    }

    #[test]
    fn a_leap_second_belongs_to_the_day_it_ends() {
        let code = Cds::new(Submillisecond::None);
        let mut codes = Vec::new();
        for text in ["2016-12-31T23:59:59Z", "2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"] {
            let time = Tai::from_rfc3339(text).unwrap();
            let mut bytes = Vec::new();
            code.write(time, &mut bytes).unwrap();
            assert_eq!(code.read(&bytes), Ok(time), "{text}");
            codes.push(bytes);
        }
        assert_eq!(codes[0][..2], codes[1][..2]);
        assert_eq!(codes[1][2..], 86_400_000u32.to_be_bytes());
        assert_eq!(codes[2][2..], [0; 4]);
    }

    #[test]
    fn nonsense_is_refused() {
        let code = Cds::new(Submillisecond::Micros);
        let read = |millis: u32, micros: u16| {
            let mut bytes = std::vec![0, 0];
            bytes.extend_from_slice(&millis.to_be_bytes());
            bytes.extend_from_slice(&micros.to_be_bytes());
            code.read(&bytes)
        };
        assert!(read(86_400_999, 999).is_ok());
        assert_eq!(read(86_401_000, 0), Err(TimeCodeError::Range));
        assert_eq!(read(0, 1000), Err(TimeCodeError::Range));
        let long = Cds { long_day: true, ..Cds::new(Submillisecond::None) };
        assert_eq!(long.read(&[0xFF; 7]), Err(TimeCodeError::Range));
        let before = Tai::from_unix((CCSDS_EPOCH_DAY - 1) * DAY_S, 0);
        assert_eq!(code.write(before, &mut Vec::new()), Err(TimeCodeError::Range));
        let _ = code.write(Tai(i64::MAX), &mut Vec::new());
        let _ = code.write(Tai(i64::MIN), &mut Vec::new());
    }

    proptest! {
        #[test]
        fn codes_round_trip(
            nanos in 0i64..4_000_000_000 * NANOS,
            long_day: bool,
            which in 0u8..3,
            agency in prop::option::of(-4000i64..0),
        ) {
            let (submillisecond, step) = match which {
                0 => (Submillisecond::None, 1_000_000),
                1 => (Submillisecond::Micros, 1000),
                _ => (Submillisecond::Picos, 1),
            };
            let epoch_day = agency.unwrap_or(CCSDS_EPOCH_DAY);
            let code = Cds { long_day, submillisecond, epoch_day };
            prop_assert_eq!(Cds::from_preamble(code.preamble(), agency), Ok(code));
            let time = Tai(nanos + NANOS * 60);
            let mut bytes = Vec::new();
            code.write(time, &mut bytes).unwrap();
            prop_assert_eq!(bytes.len(), code.time_bytes());
            let lost = time.since(code.read(&bytes).unwrap());
            prop_assert!((0..step).contains(&lost));
        }
    }
}
