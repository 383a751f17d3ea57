//! Leap seconds: when TAI and UTC stepped apart, and how long that is known.
//!
//! The table built in ends some day. A newer one is read from either file that the Earth rotation
//! service publishes, `leap-seconds.list` (also in every time zone database) or `Leap_Second.dat`;
//! where the text comes from is the caller's affair.

mod hash;

use super::{DAY_S, NANOS, Tai, days_of_date};
use alloc::borrow::Cow;
use alloc::vec::Vec;

/// Most steps a table may have: two a year for 90 years more.
pub const MAX_STEPS: usize = 208;
/// Longest text of a table; those published have under 10 kB.
pub const MAX_TEXT_BYTES: usize = 262_144;

/// Seconds from 1900 to 1970, without leap seconds: the files count from 1900.
const SINCE_1900_S: i64 = 2_208_988_800;
/// Modified Julian Day of 1970-01-01.
const MJD_1970: i64 = 40_587;
/// The first step that UTC knows, and the seconds it began with.
const FIRST: Step = Step { from: 63_072_000, offset: 10 };

/// TAI minus UTC from an instant on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// From this second of UTC since 1970 on: the one behind the leap second.
    pub from: i64,
    /// TAI minus UTC in seconds.
    pub offset: i64,
}

/// A table of leap seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeapSeconds {
    /// Newest first: most times asked for are recent.
    steps: Cow<'static, [Step]>,
    /// Until when it is known to be whole, in seconds of UTC since 1970.
    until: i64,
}

static BUILT_IN: LeapSeconds = LeapSeconds {
    steps: Cow::Borrowed(&STEPS),
    // 2027-06-28, as IERS Bulletin C 72 of July 2026 left it.
    until: 1_814_140_800,
};

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

    /// What to tell the operator of the table built in on this date.
    pub fn on(date: Tai) -> Self {
        LeapSeconds::built_in().on(date)
    }
}

/// Why a text is no table of leap seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeapError {
    /// Longer than any table.
    #[error("{0} bytes of text; a table of leap seconds has at most {MAX_TEXT_BYTES}")]
    TooLong(usize),
    /// A line is neither comment nor step.
    #[error("line {0} is no step of leap-seconds.list or Leap_Second.dat")]
    Line(usize),
    /// A step is not one second, at midnight, after the step before it.
    #[error("the step of line {0} does not follow the one before it")]
    Order(usize),
    /// No step, or another first one than that of 1972.
    #[error("the table does not begin in 1972 with 10 seconds")]
    Start,
    /// More steps than [`MAX_STEPS`].
    #[error("more than {MAX_STEPS} steps")]
    TooMany,
    /// Nothing says until when the table is whole, or it ends before its last step.
    #[error("the table does not say when it expires, or expires before its last step")]
    Expiry,
    /// The table's own hash disagrees: a digit was changed or lost.
    #[error("the hash at the end of the table does not agree with it: fetch it again")]
    Hash,
}

impl LeapSeconds {
    /// The table that this release was built with.
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// Reads a published table, of either form; the hash that one of them has is checked.
    pub fn parse(text: &str) -> Result<Self, LeapError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(LeapError::TooLong(text.len()));
        }
        let mut reader = Reader::default();
        for (number, line) in (1..).zip(text.lines()) {
            reader.line(number, line)?;
        }
        reader.finish()
    }

    /// The steps, newest first.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Until when the table is known to be whole.
    pub fn until(&self) -> Tai {
        Tai::from_unix_with(self.until, 0, self)
    }

    /// What to tell the operator on this date.
    pub fn on(&self, date: Tai) -> LeapTable {
        let left = self.until - date.to_unix_nanos_with(self).div_euclid(NANOS);
        match left.div_euclid(DAY_S) {
            days if left <= 0 => LeapTable::Ended { days: -days },
            days if days <= LeapTable::WARNING_DAYS => LeapTable::Ending { days },
            _ => LeapTable::Current,
        }
    }

    /// TAI minus UTC at a second of UTC since 1970; before 1972 that of 1972.
    pub fn offset_at(&self, seconds: i64) -> i64 {
        self.steps.iter().find(|step| seconds >= step.from).map_or(FIRST.offset, |row| row.offset)
    }

    /// TAI minus UTC at a second of TAI since 1970; a leap second counts to what was before it.
    pub(super) fn offset_before(&self, tai_seconds: i64) -> i64 {
        let step = self.steps.iter().find(|step| tai_seconds >= step.from + step.offset);
        step.map_or(FIRST.offset, |step| step.offset)
    }

    /// Whether a second of TAI since 1970 is a leap second of UTC.
    pub fn is_leap_second(&self, tai_seconds: i64) -> bool {
        // The first step began with ten seconds at once, none of which was a second 60.
        let steps = self.steps.iter().filter(|step| step.from != FIRST.from);
        let before = |step: &Step| self.offset_at(step.from - 1);
        steps.into_iter().any(|step| {
            let first = step.from + step.offset - 1;
            tai_seconds == first && before(step) < step.offset
        })
    }
}

/// A table in the making.
#[derive(Default)]
struct Reader {
    /// Oldest first, as the files have them.
    steps: Vec<Step>,
    until: Option<i64>,
    hash: hash::Sha1,
    said: Option<[u32; 5]>,
}

impl Reader {
    fn line(&mut self, number: usize, line: &str) -> Result<(), LeapError> {
        let wrong = LeapError::Line(number);
        if let Some(date) = line.strip_prefix("#$") {
            self.digits(date);
        } else if let Some(date) = line.strip_prefix("#@") {
            self.digits(date);
            let since_1900: i64 = date.trim().parse().map_err(|_| wrong)?;
            self.until = Some(since_1900.checked_sub(SINCE_1900_S).ok_or(wrong)?);
        } else if let Some(words) = line.strip_prefix("#h") {
            let mut said = [0; 5];
            let mut words = words.split_whitespace();
            for slot in &mut said {
                let word = words.next().ok_or(wrong)?;
                *slot = u32::from_str_radix(word, 16).map_err(|_| wrong)?;
            }
            self.said = Some(said);
        } else if let Some((_, date)) = line.split_once("File expires on") {
            // Both files say it in words; the number, where there is one, comes after.
            self.until = self.until.or(Some(date_in_words(date).ok_or(wrong)?));
        } else {
            let fields = line.split('#').next().unwrap_or("");
            if !fields.trim().is_empty() {
                self.step(number, fields)?;
            }
        }
        Ok(())
    }

    /// What the hash covers: digits without spaces.
    fn digits(&mut self, text: &str) {
        text.bytes().filter(u8::is_ascii_digit).for_each(|digit| self.hash.push(digit));
    }

    fn step(&mut self, number: usize, fields: &str) -> Result<(), LeapError> {
        let wrong = LeapError::Line(number);
        let mut numbers = [0i64; 5];
        let mut count = 0;
        for field in fields.split_whitespace() {
            let slot = numbers.get_mut(count).ok_or(wrong)?;
            // The day is written as 41317.0.
            let whole = field.strip_suffix(".0").unwrap_or(field);
            *slot = whole.parse().map_err(|_| wrong)?;
            count += 1;
        }
        let [first, second, month, year, offset] = numbers;
        let step = match count {
            2 => {
                self.digits(fields);
                let from = first.checked_sub(SINCE_1900_S).ok_or(wrong)?;
                Step { from, offset: second }
            }
            5 => {
                let days = first.checked_sub(MJD_1970).ok_or(wrong)?;
                if days_of_date(year, month, second) != Some(days) {
                    return Err(wrong);
                }
                Step { from: days * DAY_S, offset }
            }
            _ => return Err(wrong),
        };
        let follows = match self.steps.last() {
            None if step != FIRST => return Err(LeapError::Start),
            None => true,
            Some(last) => step.from > last.from && (step.offset - last.offset).abs() == 1,
        };
        if !follows || step.from.rem_euclid(DAY_S) != 0 {
            return Err(LeapError::Order(number));
        }
        if self.steps.len() == MAX_STEPS {
            return Err(LeapError::TooMany);
        }
        self.steps.push(step);
        Ok(())
    }

    fn finish(self) -> Result<LeapSeconds, LeapError> {
        let Self { mut steps, until, hash, said } = self;
        let last = steps.last().ok_or(LeapError::Start)?.from;
        let until = until.filter(|until| *until >= last).ok_or(LeapError::Expiry)?;
        if said.is_some_and(|said| said != hash.finish()) {
            return Err(LeapError::Hash);
        }
        // Beyond the year 9999 sums would leave 64 bits of nanoseconds anyway.
        if until > 253_402_300_800 {
            return Err(LeapError::Expiry);
        }
        steps.reverse();
        Ok(LeapSeconds { steps: Cow::Owned(steps), until })
    }
}

/// Seconds of UTC since 1970 of a date such as `28 June 2027`.
fn date_in_words(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let mut words = text.split_whitespace();
    let day = words.next()?.parse().ok()?;
    let name = words.next()?.get(..3)?.to_ascii_lowercase();
    let year = words.next()?.parse().ok()?;
    let month = (1..).zip(MONTHS).find(|(_, month)| *month == name)?.0;
    Some(days_of_date(year, month, day)? * DAY_S)
}

/// IERS Bulletin C, newest first.
const STEPS: [Step; 28] = [
    Step { from: 1_483_228_800, offset: 37 },
    Step { from: 1_435_708_800, offset: 36 },
    Step { from: 1_341_100_800, offset: 35 },
    Step { from: 1_230_768_000, offset: 34 },
    Step { from: 1_136_073_600, offset: 33 },
    Step { from: 915_148_800, offset: 32 },
    Step { from: 867_715_200, offset: 31 },
    Step { from: 820_454_400, offset: 30 },
    Step { from: 773_020_800, offset: 29 },
    Step { from: 741_484_800, offset: 28 },
    Step { from: 709_948_800, offset: 27 },
    Step { from: 662_688_000, offset: 26 },
    Step { from: 631_152_000, offset: 25 },
    Step { from: 567_993_600, offset: 24 },
    Step { from: 489_024_000, offset: 23 },
    Step { from: 425_865_600, offset: 22 },
    Step { from: 394_329_600, offset: 21 },
    Step { from: 362_793_600, offset: 20 },
    Step { from: 315_532_800, offset: 19 },
    Step { from: 283_996_800, offset: 18 },
    Step { from: 252_460_800, offset: 17 },
    Step { from: 220_924_800, offset: 16 },
    Step { from: 189_302_400, offset: 15 },
    Step { from: 157_766_400, offset: 14 },
    Step { from: 126_230_400, offset: 13 },
    Step { from: 94_694_400, offset: 12 },
    Step { from: 78_796_800, offset: 11 },
    Step { from: 63_072_000, offset: 10 },
];

#[cfg(test)]
mod tests;
