//! Time: nanoseconds TAI inside, UTC with leap seconds for people, CUC and CDS on the wire.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod leap;
pub mod cuc;
pub mod cds;

pub use self::leap::{LeapSeconds, LeapTable};

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

/// An instant: nanoseconds TAI since 1970-01-01T00:00:00 TAI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tai(pub i64);

impl Tai {
    /// From seconds and nanoseconds of UTC since 1970, as system clocks tell them.
    pub fn from_unix(seconds: i64, nanos: u32) -> Self {
        Self::from_unix_with(seconds, nanos, LeapSeconds::built_in())
    }

    /// The same by a table of leap seconds.
    pub fn from_unix_with(seconds: i64, nanos: u32, table: &LeapSeconds) -> Self {
        let whole = seconds.saturating_add(table.offset_at(seconds)).saturating_mul(NANOS);
        Self(whole.saturating_add(i64::from(nanos)))
    }

    /// Nanoseconds of UTC since 1970; a leap second has the numbers of the second that follows it.
    pub fn to_unix_nanos(self) -> i64 {
        self.to_unix_nanos_with(LeapSeconds::built_in())
    }

    /// The same by a table of leap seconds.
    pub fn to_unix_nanos_with(self, table: &LeapSeconds) -> i64 {
        self.0.saturating_sub(table.offset_before(self.0.div_euclid(NANOS)) * NANOS)
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

    /// RFC 3339 in UTC with milliseconds; a leap second is second 60.
    pub fn to_rfc3339(self) -> String {
        self.to_rfc3339_with(LeapSeconds::built_in())
    }

    /// The same by a table of leap seconds.
    pub fn to_rfc3339_with(self, table: &LeapSeconds) -> String {
        let leap = table.is_leap_second(self.0.div_euclid(NANOS));
        // It has the numbers of the second behind it: tell the one before, and then one more.
        let shift = if leap { NANOS } else { 0 };
        let nanos = self.to_unix_nanos_with(table).saturating_sub(shift);
        let millis = nanos.div_euclid(NANOS / 1000);
        let (seconds, milli) = (millis.div_euclid(1000), millis.rem_euclid(1000));
        let (days, second) = (seconds.div_euclid(DAY_S), seconds.rem_euclid(DAY_S));
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let second = second + i64::from(leap);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }

    /// Reads RFC 3339 in UTC (`Z` or an offset of nothing), with any number of decimals; nanoseconds are kept. Second 60
    /// is read where there was a leap second, and nowhere else. `None` also for years that
    /// nanoseconds in 64 bits don't reach.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        Self::from_rfc3339_with(text, LeapSeconds::built_in())
    }

    /// The same by a table of leap seconds.
    pub fn from_rfc3339_with(text: &str, table: &LeapSeconds) -> Option<Self> {
        let utc = ["Z", "z", "+00:00", "-00:00"].iter().find_map(|of| text.strip_suffix(of));
        let text = utc?;
        let (date, time) = text.split_once(['T', 't', ' '])?;
        let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
        let (year, month, day) = (date.next()??, date.next()??, date.next()??);
        let (clock, decimals) = time.split_once('.').unwrap_or((time, ""));
        let mut clock = clock.splitn(3, ':').map(|part| part.parse::<i64>().ok());
        let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
        let in_range = (0..24).contains(&hour)
            && (0..60).contains(&minute)
            && (0..=60).contains(&second)
            && decimals.bytes().all(|digit| digit.is_ascii_digit());
        if !in_range {
            return None;
        }
        let days = days_of_date(year, month, day)?;
        let nanos = decimals
            .bytes()
            .chain(core::iter::repeat(b'0'))
            .take(9)
            .fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
        let minutes = days * DAY_S + hour * 3600 + minute * 60;
        // Nanoseconds in 64 bits end in 1677 and 2262; a time beyond would read as their end. Some
        // minutes are left for the seconds and the leap seconds.
        if minutes.abs() > i64::MAX / NANOS - 300 {
            return None;
        }
        let start = Self::from_unix_with(minutes, nanos, table);
        let read = start.plus(second * NANOS);
        let leap = table.is_leap_second(read.0.div_euclid(NANOS));
        (second < 60 || leap).then_some(read)
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

/// Days since 1970-01-01 of a date of the years 0 to 9999, if there is such a day.
fn days_of_date(year: i64, month: i64, day: i64) -> Option<i64> {
    let in_range =
        (1..=12).contains(&month) && (1..=31).contains(&day) && (0..=9999).contains(&year);
    let days = in_range.then(|| days_from_civil(year, month, day))?;
    (civil_from_days(days) == (year, month, day)).then_some(days)
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
    fn second_60_reads_and_writes_where_there_was_one_only() {
        for text in [
            "1972-06-30T23:59:60.000Z",
            "2016-12-31T23:59:59.999Z",
            "2016-12-31T23:59:60.000Z",
            "2016-12-31T23:59:60.999Z",
            "2017-01-01T00:00:00.000Z",
        ] {
            assert_eq!(Tai::from_rfc3339(text).unwrap().to_rfc3339(), text);
        }
        for text in ["2016-12-31T23:58:60Z", "2016-12-31T22:59:60Z", "2026-12-31T23:59:60Z"] {
            assert_eq!(Tai::from_rfc3339(text), None, "{text}");
        }
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
