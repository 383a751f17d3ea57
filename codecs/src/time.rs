//! Time: nanoseconds TAI inside, UTC with leap seconds for people, CUC and CDS on the wire.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod cuc;
pub mod cds;

use alloc::{format, string::String};
use core::fmt;

const NANOS: i64 = 1_000_000_000;
const DAY_S: i64 = 86_400;

/// Seconds from 1958-01-01 (the CCSDS epoch of CUC) to 1970-01-01, both TAI.
const CCSDS_EPOCH_S: i64 = -(4383 * DAY_S);

/// The CCSDS epoch of time codes, 1958-01-01T00:00:00 TAI (CCSDS 301.0-B-4 §3.2.1).
pub const CCSDS_EPOCH: Tai = Tai(CCSDS_EPOCH_S * NANOS);

/// Why bytes are no time code, or a time can't be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeCodeError {
    /// The bytes end within the code or its preamble.
    #[error("the bytes end within the time code")]
    Short,
    /// Another time code than the one asked for.
    #[error("time code identification {0} names another time code")]
    Code(u8),
    /// The preamble refers to an agency's epoch, and none is configured.
    #[error("the preamble names the agency's epoch; configure one")]
    Epoch,
    /// Field lengths that the standard does not have, or reserved bits.
    #[error("field lengths outside the standard")]
    Layout,
    /// The time does not fit the code, or the code no time.
    #[error("a time out of range")]
    Range,
}

/// Until when the leap-second table is known to be whole, in seconds of UTC since 1970
/// (2026-06-28, as IERS Bulletin C 70 left it).
const LEAP_SECONDS_UNTIL: i64 = 1782604800;

/// How far the leap-second table may be trusted on a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeapTable {
    /// Whole for more than 60 days to come.
    Current,
    /// Whole today, but it ends in so many days: time to update.
    Ending {
        /// Days left.
        days: i64,
    },
    /// It ended so many days ago. UTC may be wrong by a second for each leap second since.
    Ended {
        /// Days since.
        days: i64,
    },
}

impl LeapTable {
    /// Days before the end from which to warn.
    pub const WARNING_DAYS: i64 = 60;

    /// What to tell the operator on this date.
    pub fn on(date: Tai) -> Self {
        let left = LEAP_SECONDS_UNTIL - date.to_unix_nanos().div_euclid(NANOS);
        match left.div_euclid(DAY_S) {
            days if left <= 0 => Self::Ended { days: -days },
            days if days <= Self::WARNING_DAYS => Self::Ending { days },
            _ => Self::Current,
        }
    }
}

/// TAI minus UTC from a UTC instant on (seconds of 1970), newest first; IERS Bulletin C.
const LEAP_SECONDS: [(i64, i64); 28] = [
    (1_483_228_800, 37),
    (1_435_708_800, 36),
    (1_341_100_800, 35),
    (1_230_768_000, 34),
    (1_136_073_600, 33),
    (915_148_800, 32),
    (867_715_200, 31),
    (820_454_400, 30),
    (773_020_800, 29),
    (741_484_800, 28),
    (709_948_800, 27),
    (662_688_000, 26),
    (631_152_000, 25),
    (567_993_600, 24),
    (489_024_000, 23),
    (425_865_600, 22),
    (394_329_600, 21),
    (362_793_600, 20),
    (315_532_800, 19),
    (283_996_800, 18),
    (252_460_800, 17),
    (220_924_800, 16),
    (189_302_400, 15),
    (157_766_400, 14),
    (126_230_400, 13),
    (94_694_400, 12),
    (78_796_800, 11),
    (63_072_000, 10),
];

/// An instant: nanoseconds TAI since 1970-01-01T00:00:00 TAI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tai(pub i64);

impl Tai {
    /// From seconds and nanoseconds of UTC since 1970, as system clocks tell them.
    pub fn from_unix(seconds: i64, nanos: u32) -> Self {
        let offset = LEAP_SECONDS.iter().find(|row| seconds >= row.0).map_or(10, |row| row.1);
        let whole = seconds.saturating_add(offset).saturating_mul(NANOS);
        Self(whole.saturating_add(i64::from(nanos)))
    }

    /// Nanoseconds of UTC since 1970; a leap second reads as the second that follows it.
    pub fn to_unix_nanos(self) -> i64 {
        let seconds = self.0.div_euclid(NANOS);
        let offset = LEAP_SECONDS
            .iter()
            .find(|(from, offset)| seconds >= from + offset)
            .map_or(10, |row| row.1);
        self.0.saturating_sub(offset * NANOS)
    }

    /// Later by nanoseconds (earlier, where negative).
    pub const fn plus(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// Nanoseconds since an earlier instant.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads CUC of 4 coarse and 3 fine octets with implicit P-field and the CCSDS epoch
    /// (CCSDS 301.0-B-4 §3.2).
    pub fn from_cuc43(bytes: [u8; 7]) -> Self {
        let [a, b, c, d, e, f, g] = bytes;
        let coarse = i64::from(u32::from_be_bytes([a, b, c, d]));
        let fine = i64::from(u32::from_be_bytes([0, e, f, g]));
        let nanos = (fine * NANOS + (1 << 23)) >> 24;
        Self((coarse + CCSDS_EPOCH_S) * NANOS + nanos)
    }

    /// Writes CUC of 4 coarse and 3 fine octets; the coarse counter wraps in 2094.
    pub fn to_cuc43(self) -> [u8; 7] {
        let mut coarse = self.0.div_euclid(NANOS) - CCSDS_EPOCH_S;
        let mut fine = ((self.0.rem_euclid(NANOS) << 24) + NANOS / 2) / NANOS;
        if fine == 1 << 24 {
            (coarse, fine) = (coarse + 1, 0);
        }
        let [.., a, b, c, d] = coarse.to_be_bytes();
        let [.., e, f, g] = fine.to_be_bytes();
        [a, b, c, d, e, f, g]
    }

    /// RFC 3339 in UTC with milliseconds.
    pub fn to_rfc3339(self) -> String {
        let millis = self.to_unix_nanos().div_euclid(NANOS / 1000);
        let (seconds, milli) = (millis.div_euclid(1000), millis.rem_euclid(1000));
        let (days, second) = (seconds.div_euclid(DAY_S), seconds.rem_euclid(DAY_S));
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }

    /// Reads RFC 3339 in UTC (`Z`), with any number of decimals; nanoseconds are kept. `None` also
    /// for years that nanoseconds in 64 bits don't reach.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let text = text.strip_suffix(['Z', 'z'])?;
        let (date, time) = text.split_once(['T', 't', ' '])?;
        let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
        let (year, month, day) = (date.next()??, date.next()??, date.next()??);
        let (clock, decimals) = time.split_once('.').unwrap_or((time, ""));
        let mut clock = clock.splitn(3, ':').map(|part| part.parse::<i64>().ok());
        let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
        let in_range = (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && (0..=9999).contains(&year)
            && (0..24).contains(&hour)
            && (0..60).contains(&minute)
            && (0..=60).contains(&second)
            && decimals.bytes().all(|digit| digit.is_ascii_digit());
        if !in_range {
            return None;
        }
        let days = days_from_civil(year, month, day);
        if civil_from_days(days) != (year, month, day) {
            return None;
        }
        let nanos = decimals
            .bytes()
            .chain(core::iter::repeat(b'0'))
            .take(9)
            .fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
        let seconds = days * DAY_S + hour * 3600 + minute * 60;
        // Nanoseconds in 64 bits end in 1677 and 2262; a time beyond would read as their end. Two
        // minutes are left for the seconds and the leap seconds.
        if seconds.abs() > i64::MAX / NANOS - 120 {
            return None;
        }
        let start = Self::from_unix(seconds, nanos);
        Some(start.plus(second * NANOS))
    }
}

impl fmt::Display for Tai {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

/// Days since 1970-01-01 of a proleptic Gregorian date, counted in eras of 400 years from March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn utc_and_tai_part_by_37_seconds_today() {
        let tai = Tai::from_rfc3339("2026-11-23T00:00:00Z").unwrap();
        assert_eq!(tai.0, (1_795_392_000 + 37) * NANOS);
        assert_eq!(tai.to_rfc3339(), "2026-11-23T00:00:00.000Z");
    }

    #[test]
    fn the_leap_second_of_2016_is_one_second_long() {
        let before = Tai::from_rfc3339("2016-12-31T23:59:59Z").unwrap();
        let leap = Tai::from_rfc3339("2016-12-31T23:59:60Z").unwrap();
        let after = Tai::from_rfc3339("2017-01-01T00:00:00Z").unwrap();
        assert_eq!(leap.since(before), NANOS);
        assert_eq!(after.since(leap), NANOS);
    }

    #[test]
    fn the_leap_table_warns_before_it_ends() {
        let on = |text| LeapTable::on(Tai::from_rfc3339(text).unwrap());
        assert_eq!(on("2026-01-01T00:00:00Z"), LeapTable::Current);
        assert_eq!(on("2026-04-29T00:00:00Z"), LeapTable::Ending { days: 60 });
        assert_eq!(on("2026-06-27T23:59:59Z"), LeapTable::Ending { days: 0 });
        assert_eq!(on("2026-06-28T00:00:00Z"), LeapTable::Ended { days: 0 });
        assert_eq!(on("2026-11-23T00:00:00Z"), LeapTable::Ended { days: 148 });
    }

    #[test]
    fn nonsense_dates_are_refused() {
        for text in ["", "2026", "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "x-1-1T0:0:0Z"] {
            assert_eq!(Tai::from_rfc3339(text), None, "{text}");
        }
        // Years that nanoseconds don't reach are refused, not clamped.
        for text in ["0026-11-23T00:00:00Z", "1677-09-21T00:00:00Z", "2262-04-12T00:00:00Z"] {
            assert_eq!(Tai::from_rfc3339(text), None, "{text}");
        }
        assert!(Tai::from_rfc3339("1677-09-22T00:00:00Z").is_some());
        assert!(Tai::from_rfc3339("2262-04-11T23:00:00Z").is_some());
    }

    #[test]
    fn cuc_counts_from_1958() {
        assert_eq!(Tai::from_cuc43([0; 7]).0, CCSDS_EPOCH_S * NANOS);
        assert_eq!(
            Tai::from_cuc43([0, 0, 0, 1, 0x80, 0, 0]).0,
            CCSDS_EPOCH_S * NANOS + 3 * NANOS / 2
        );
    }

    proptest! {
        #[test]
        fn cuc_keeps_time_to_its_resolution(nanos in CCSDS_EPOCH_S * NANOS..3_900_000_000 * NANOS) {
            let back = Tai::from_cuc43(Tai(nanos).to_cuc43());
            prop_assert!(back.since(Tai(nanos)).abs() <= 31);
            prop_assert_eq!(back.to_cuc43(), Tai(nanos).to_cuc43());
        }

        #[test]
        fn rfc3339_round_trips_to_the_millisecond(millis in 100_000_000_000i64..4_000_000_000_000) {
            let tai = Tai::from_unix(millis / 1000, (millis % 1000) as u32 * 1_000_000);
            prop_assert_eq!(Tai::from_rfc3339(&tai.to_rfc3339()), Some(tai));
        }
    }
}
