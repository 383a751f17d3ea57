//! Unsegmented time code, CUC (CCSDS 301.0-B-4 §3.2): a binary count of seconds and fractions.

use super::{CCSDS_EPOCH, NANOS, Tai, TimeCodeError};
use alloc::vec::Vec;

/// Longest preamble.
pub const MAX_PREAMBLE_BYTES: usize = 2;

/// Layout and epoch of a CUC: from the preamble (P-field), or agreed on where none is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cuc {
    coarse: u8,
    fine: u8,
    epoch: Tai,
}

impl Cuc {
    /// A code of 1 to 7 bytes of seconds and 0 to 10 of fractions since `epoch`;
    /// [`CCSDS_EPOCH`] unless the agency has its own.
    pub fn new(coarse: u8, fine: u8, epoch: Tai) -> Result<Self, TimeCodeError> {
        let fits = (1..=7).contains(&coarse) && fine <= 10;
        if fits { Ok(Self { coarse, fine, epoch }) } else { Err(TimeCodeError::Layout) }
    }

    /// Reads the preamble; also hands back its length. `agency_epoch` stands for the epoch that
    /// a preamble may refer to, not name.
    pub fn from_preamble(
        bytes: &[u8],
        agency_epoch: Option<Tai>,
    ) -> Result<(Self, usize), TimeCodeError> {
        let first = *bytes.first().ok_or(TimeCodeError::Short)?;
        let epoch = match first >> 4 & 0x07 {
            0b001 => CCSDS_EPOCH,
            0b010 => agency_epoch.ok_or(TimeCodeError::Epoch)?,
            other => return Err(TimeCodeError::Code(other)),
        };
        let (mut coarse, mut fine) = ((first >> 2 & 0x03) + 1, first & 0x03);
        if first & 0x80 == 0 {
            return Ok((Self { coarse, fine, epoch }, 1));
        }
        let second = *bytes.get(1).ok_or(TimeCodeError::Short)?;
        // The second byte may announce a third, which the issue does not define.
        if second & 0x80 != 0 {
            return Err(TimeCodeError::Layout);
        }
        coarse += second >> 5 & 0x03;
        fine += second >> 2 & 0x07;
        Ok((Self { coarse, fine, epoch }, 2))
    }

    /// Writes the preamble: one byte where it suffices, else two.
    pub fn write_preamble(&self, to: &mut Vec<u8>) {
        let code = if self.epoch == CCSDS_EPOCH { 0b001 } else { 0b010u8 };
        let (coarse, fine) = (self.coarse.min(4), self.fine.min(3));
        let first = code << 4 | (coarse - 1) << 2 | fine;
        let (more_coarse, more_fine) = (self.coarse - coarse, self.fine - fine);
        if more_coarse == 0 && more_fine == 0 {
            to.push(first);
        } else {
            to.extend_from_slice(&[0x80 | first, more_coarse << 5 | more_fine << 2]);
        }
    }

    /// Length of the code without its preamble.
    pub fn time_bytes(&self) -> usize {
        usize::from(self.coarse) + usize::from(self.fine)
    }

    /// Reads the code at the front of the bytes, to the nearest nanosecond.
    pub fn read(&self, bytes: &[u8]) -> Result<Tai, TimeCodeError> {
        let code = bytes.get(..self.time_bytes()).ok_or(TimeCodeError::Short)?;
        let value =
            |bytes: &[u8]| bytes.iter().fold(0u128, |sum, byte| sum << 8 | u128::from(*byte));
        let (coarse, fine) =
            code.split_at_checked(self.coarse.into()).ok_or(TimeCodeError::Short)?;
        // At most 80 bits of fraction and 30 of nanoseconds.
        let scale = u32::from(self.fine) * 8;
        let half = (1u128 << scale) >> 1;
        let nanos = (value(fine) * NANOS as u128 + half) >> scale;
        let total = value(coarse) * NANOS as u128 + nanos;
        let since = i64::try_from(total).map_err(|_| TimeCodeError::Range)?;
        self.epoch.0.checked_add(since).map(Tai).ok_or(TimeCodeError::Range)
    }

    /// Reads a code whose counter may have wrapped: of all the times that it may mean, the one
    /// nearest to a time known from elsewhere, such as that of reception. A counter of two bytes
    /// wraps every 18 hours.
    pub fn read_near(&self, bytes: &[u8], near: Tai) -> Result<Tai, TimeCodeError> {
        let first = i128::from(self.read(bytes)?.0);
        // At most 56 bits of seconds and 30 of nanoseconds.
        let turn = (NANOS as i128) << (u32::from(self.coarse) * 8);
        let turns = (i128::from(near.0) - first + turn / 2).div_euclid(turn);
        i64::try_from(first + turns * turn).map(Tai).map_err(|_| TimeCodeError::Range)
    }

    /// Writes the code, to its nearest step; times before the epoch or past the counter's end are
    /// refused, since a receiver would take a wrapped counter for another time.
    pub fn write(&self, time: Tai, to: &mut Vec<u8>) -> Result<(), TimeCodeError> {
        let since = i128::from(time.0) - i128::from(self.epoch.0);
        let since = u128::try_from(since).map_err(|_| TimeCodeError::Range)?;
        let nano = NANOS as u128;
        let scale = u32::from(self.fine) * 8;
        // Rounding to the nearest step may carry into the seconds.
        let (mut seconds, fraction) = (since / nano, since % nano);
        let mut steps = ((fraction << scale) + nano / 2) / nano;
        if steps >> scale != 0 {
            (seconds, steps) = (seconds + 1, 0);
        }
        if seconds >> (u32::from(self.coarse) * 8) != 0 {
            return Err(TimeCodeError::Range);
        }
        to.extend(seconds.to_be_bytes().into_iter().skip(16 - usize::from(self.coarse)));
        to.extend(steps.to_be_bytes().into_iter().skip(16 - usize::from(self.fine)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_codes() {
        let code = Cuc::new(4, 3, CCSDS_EPOCH).unwrap();
        let mut preamble = Vec::new();
        code.write_preamble(&mut preamble);
        assert_eq!(preamble, [0x1F]);
        let bytes = [0x7A, 0x01, 0x02, 0x03, 0x80, 0, 0];
        let time = code.read(&bytes).unwrap();
        assert_eq!(time, Tai::from_cuc43(bytes), "the fixed layout agrees");
        // Six bytes of seconds and five of fractions since an agency's epoch.
        let wide = Cuc::new(6, 5, Tai(0)).unwrap();
        preamble.clear();
        wide.write_preamble(&mut preamble);
        assert_eq!(preamble, [0xAF, 0x48]);
        assert_eq!(Cuc::from_preamble(&preamble, Some(Tai(0))), Ok((wide, 2)));
        assert_eq!(Cuc::from_preamble(&preamble, None), Err(TimeCodeError::Epoch));
        assert_eq!(Cuc::from_preamble(&preamble[..1], Some(Tai(0))), Err(TimeCodeError::Short));
        assert_eq!(Cuc::from_preamble(&[], None), Err(TimeCodeError::Short));
        assert_eq!(Cuc::from_preamble(&[0x41], None), Err(TimeCodeError::Code(4)), "a CDS");
        assert_eq!(Cuc::from_preamble(&[0x9F, 0x80], None), Err(TimeCodeError::Layout));
    }

    #[test]
    fn rounding_carries_and_ends_are_refused() {
        let coarse = Cuc::new(1, 0, Tai(0)).unwrap();
        let mut bytes = Vec::new();
        coarse.write(Tai(NANOS / 2), &mut bytes).unwrap();
        assert_eq!(bytes, [1]);
        for out in [-1, 256 * NANOS, 255 * NANOS + NANOS / 2, i64::MAX] {
            assert_eq!(coarse.write(Tai(out), &mut bytes), Err(TimeCodeError::Range), "{out}");
        }
        let wide = Cuc::new(7, 10, Tai(0)).unwrap();
        assert_eq!(wide.read(&[0xFF; 17]), Err(TimeCodeError::Range));
        assert!(Cuc::new(0, 0, Tai(0)).is_err() && Cuc::new(8, 0, Tai(0)).is_err());
        assert!(Cuc::new(1, 11, Tai(0)).is_err());
    }

    #[test]
    fn a_small_counter_that_wrapped_is_read_by_a_time_nearby() {
        let code = Cuc::new(2, 1, CCSDS_EPOCH).unwrap();
        let near = Tai::from_rfc3339("2026-11-23T12:00:00Z").unwrap();
        for since in [-32_767, -1, 0, 1, 32_767] {
            let time = near.plus(since * NANOS);
            let seconds = (time.since(CCSDS_EPOCH) / NANOS) as u16;
            let [a, b] = seconds.to_be_bytes();
            assert_eq!(code.read_near(&[a, b, 0], near), Ok(time), "{since} s");
        }
        assert_eq!(code.read(&[0, 1, 0]), Ok(CCSDS_EPOCH.plus(NANOS)), "the first turn");
        assert!(code.read_near(&[0xFF, 0, 0], Tai(i64::MIN)).is_ok_and(|time| time < near));
        let long = Cuc::new(7, 0, Tai(0)).unwrap();
        assert_eq!(long.read_near(&[0, 0, 0, 0, 0, 0, 9], near), Ok(Tai(9 * NANOS)));
        assert_eq!(code.read_near(&[0, 1], near), Err(TimeCodeError::Short));
    }

    proptest! {
        #[test]
        fn codes_round_trip(
            (coarse, fine) in (4u8..=7, 0u8..=10),
            nanos in 0i64..4_000_000_000 * NANOS,
        ) {
            let code = Cuc::new(coarse, fine, CCSDS_EPOCH).unwrap();
            let time = CCSDS_EPOCH.plus(nanos);
            let mut bytes = Vec::new();
            code.write_preamble(&mut bytes);
            let (read, preamble) = Cuc::from_preamble(&bytes, None).unwrap();
            prop_assert_eq!(read, code);
            code.write(time, &mut bytes).unwrap();
            prop_assert_eq!(bytes.len(), preamble + code.time_bytes());
            let back = code.read(&bytes[preamble..]).unwrap();
            let step = if fine < 4 { NANOS >> (8 * fine) } else { 0 };
            prop_assert!(back.since(time).abs() <= step / 2 + 1, "{} {}", back.0, time.0);
            for end in 0..code.time_bytes() {
                let cut = code.read(&bytes[preamble..preamble + end]);
                prop_assert_eq!(cut, Err(TimeCodeError::Short));
            }
        }
    }
}
