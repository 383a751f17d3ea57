//! Earth orientation from the files that IERS publishes: UT1 and the pole, a row a day.
//!
//! Read are the fixed columns of `finals2000A.all`, `.daily` and `.data`, the columns of C04, and
//! comma- or semicolon-separated values that name `MJD` and `UT1-UTC` (IERS, CelesTrak).

use codecs::time::Tai;
use thiserror::Error;

use super::earth::mjd_utc;

/// Most days of a table: from 1962 for 110 years.
pub const MAX_DAYS: usize = 40_000;
/// Longest text read; C04 as a whole has 5 MB.
pub const MAX_TEXT_BYTES: usize = 32 * 1024 * 1024;

/// 1972-01-01: before, UTC was stepped by parts of a second.
const LEAPS_FROM_MJD: i64 = 41_317;

/// Why a text is no table of earth orientation.
#[derive(Debug, PartialEq, Error)]
pub enum EopError {
    /// Longer than any table.
    #[error("{0} bytes of text; a table of earth orientation has at most {MAX_TEXT_BYTES}")]
    TooLong(usize),
    /// A line that can't be read, or does not follow the one before.
    #[error("line {line}: {reason}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// No day, or one.
    #[error(
        "no table of earth orientation: expected finals2000A (.all, .daily), EOP C04, or values \
         under a header with MJD and UT1-UTC"
    )]
    Empty,
}

/// What a day begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Orientation {
    /// UT1 minus UTC, s.
    pub ut1_minus_utc_s: f64,
    /// Pole along the Greenwich meridian, arc seconds.
    pub pole_x_arcsec: f64,
    /// Pole along 90 degrees west.
    pub pole_y_arcsec: f64,
}

/// A table, a row a day.
#[derive(Clone, Debug, PartialEq)]
pub struct EarthOrientation {
    first_mjd: i64,
    days: Vec<Orientation>,
    /// The first day that is a prediction, where the file says so.
    predicted_from_mjd: Option<i64>,
}

impl EarthOrientation {
    /// Reads a published table of any form.
    pub fn parse(text: &str) -> Result<Self, EopError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(EopError::TooLong(text.len()));
        }
        let text = text.trim_start_matches('\u{feff}');
        let header = text.lines().next().unwrap_or_default();
        let columns = Columns::of(header);
        let mut table = Self { first_mjd: 0, days: Vec::new(), predicted_from_mjd: None };
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim_end();
            if text.trim().is_empty() || text.starts_with('#') || (line == 1 && columns.is_some()) {
                continue;
            }
            let read = match &columns {
                Some(columns) => columns.read(text),
                None if is_fixed(text) => fixed(text),
                None => c04(text),
            };
            let place = |reason: String| EopError::Line { line, reason };
            // Days without UT1 end a table: room for predictions to come.
            let Some(day) = read.map_err(place)? else { break };
            table.add(day).map_err(place)?;
        }
        if table.days.len() < 2 {
            return Err(EopError::Empty);
        }
        Ok(table)
    }

    fn add(&mut self, day: Day) -> Result<(), String> {
        let Day { mjd, orientation, predicted } = day;
        let next = self.first_mjd + self.days.len() as i64;
        if self.days.is_empty() {
            self.first_mjd = mjd;
        } else if mjd != next {
            return Err(format!("MJD {mjd} does not follow {}: a row for each day", next - 1));
        } else if self.days.len() == MAX_DAYS {
            return Err(format!("more than {MAX_DAYS} days"));
        }
        let Orientation { ut1_minus_utc_s, pole_x_arcsec, pole_y_arcsec } = orientation;
        // UTC was stepped to stay within 0.9 s, and is to be let run to a minute at most.
        for (name, value, most) in [
            ("UT1-UTC", ut1_minus_utc_s, 60.0),
            ("the pole's x", pole_x_arcsec, 3.0),
            ("the pole's y", pole_y_arcsec, 3.0),
        ] {
            if !(-most..=most).contains(&value) {
                return Err(format!("{name} is {value}: within {most} of 0"));
            }
        }
        // A day is longer than 86,400 s by milliseconds; leap seconds are whole, since there are any.
        let jump = self.days.last().map_or(0.0, |last| ut1_minus_utc_s - last.ut1_minus_utc_s);
        if mjd > LEAPS_FROM_MJD && (jump - jump.round()).abs() > 0.02 {
            return Err(format!("UT1-UTC jumps by {jump:.4} s within a day"));
        }
        self.days.push(orientation);
        if predicted && self.predicted_from_mjd.is_none() {
            self.predicted_from_mjd = Some(mjd);
        }
        Ok(())
    }

    /// First and last day, MJD.
    pub fn span_mjd(&self) -> (i64, i64) {
        (self.first_mjd, self.first_mjd + self.days.len() as i64 - 1)
    }

    /// The first day that is a prediction, MJD, where the table says so.
    pub fn predicted_from_mjd(&self) -> Option<i64> {
        self.predicted_from_mjd
    }

    /// The orientation at an instant: cubic through four days, a straight line in the first and the
    /// last; none outside the table.
    pub fn at(&self, at: Tai) -> Option<Orientation> {
        let (day, part) = mjd_utc(at);
        let index = usize::try_from(day - self.first_mjd).ok()?;
        let this = *self.days.get(index)?;
        if part == 0.0 {
            return Some(this);
        }
        let next = *self.days.get(index + 1)?;
        let outer = index
            .checked_sub(1)
            .and_then(|before| Some((*self.days.get(before)?, *self.days.get(index + 2)?)));
        let mix = |of: fn(&Orientation) -> f64, steps: bool| {
            // A leap second steps UTC, not the earth: count from this day's UTC.
            let near = |value: f64| {
                if steps { value - (value - of(&this)).round() } else { value }
            };
            let (b, c) = (of(&this), near(of(&next)));
            match &outer {
                Some((a, d)) => cubic([near(of(a)), b, c, near(of(d))], part),
                None => b + part * (c - b),
            }
        };
        Some(Orientation {
            ut1_minus_utc_s: mix(|of| of.ut1_minus_utc_s, true),
            pole_x_arcsec: mix(|of| of.pole_x_arcsec, false),
            pole_y_arcsec: mix(|of| of.pole_y_arcsec, false),
        })
    }
}

/// The cubic through four values a step apart, between the second and the third.
pub(super) fn cubic([a, b, c, d]: [f64; 4], t: f64) -> f64 {
    let cube = (d - a + 3.0 * (b - c)) / 6.0;
    let square = (a + c) / 2.0 - b;
    let slope = c - a / 3.0 - b / 2.0 - d / 6.0;
    b + t * (slope + t * (square + t * cube))
}

struct Day {
    mjd: i64,
    orientation: Orientation,
    predicted: bool,
}

fn number(name: &str, text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(format!("{name} is '{}', which is no number", text.trim())),
    }
}

fn whole_day(text: &str) -> Result<i64, String> {
    let mjd = number("MJD", text)?;
    // From 1858 to 2131.
    if mjd.fract() != 0.0 || !(0.0..100_000.0).contains(&mjd) {
        return Err(format!("MJD is {mjd}: a whole day below 100000"));
    }
    Ok(mjd as i64)
}

/// Whether a line has its MJD where finals2000A has it: `7310 1 41956.00`, where the date reads like
/// a year of C04.
fn is_fixed(line: &str) -> bool {
    line.get(7..15).is_some_and(|mjd| mjd.contains('.') && mjd.trim().parse::<f64>().is_ok())
}

/// Columns of finals2000A, Bulletin A: its series has no seam, and is within 0.1 ms of Bulletin B.
fn fixed(line: &str) -> Result<Option<Day>, String> {
    let field = |from: usize, to: usize| line.get(from..to).unwrap_or_default();
    let mjd = whole_day(field(7, 15))?;
    if field(58, 68).trim().is_empty() {
        return Ok(None);
    }
    let orientation = Orientation {
        ut1_minus_utc_s: number("UT1-UTC (columns 59 to 68)", field(58, 68))?,
        pole_x_arcsec: number("the pole's x (columns 19 to 27)", field(18, 27))?,
        pole_y_arcsec: number("the pole's y (columns 38 to 46)", field(37, 46))?,
    };
    Ok(Some(Day { mjd, orientation, predicted: field(57, 58) == "P" }))
}

/// Whether a line starts with a year of four digits, as C04's do.
fn is_c04(line: &str) -> bool {
    let year = line.split_whitespace().next().unwrap_or_default();
    year.len() == 4 && year.bytes().all(|digit| digit.is_ascii_digit())
}

/// Columns of C04: year, month, day, since C04 20 also the hour, MJD, x, y, UT1-UTC.
fn c04(line: &str) -> Result<Option<Day>, String> {
    let fields: Vec<&str> = line.split_whitespace().take(8).collect();
    if !is_c04(line) || fields.len() < 7 {
        return Err("neither a row of finals2000A nor one of EOP C04".into());
    }
    let hour = number("the fourth column", fields[3])? < 24.0;
    let (Some(mjd), Some([x, y, ut1])) = (
        fields.get(3 + usize::from(hour)),
        fields.get(4 + usize::from(hour)..).and_then(|rest| rest.first_chunk::<3>()),
    ) else {
        return Err("expected MJD, x, y and UT1-UTC behind the date".into());
    };
    let orientation = Orientation {
        ut1_minus_utc_s: number("UT1-UTC", ut1)?,
        pole_x_arcsec: number("the pole's x", x)?,
        pole_y_arcsec: number("the pole's y", y)?,
    };
    Ok(Some(Day { mjd: whole_day(mjd)?, orientation, predicted: false }))
}

/// Where a file of separated values has what.
struct Columns {
    separator: char,
    mjd: usize,
    ut1: usize,
    pole: Option<(usize, usize)>,
    kinds: Vec<usize>,
}

impl Columns {
    fn of(header: &str) -> Option<Self> {
        let separator = [';', ','].into_iter().find(|letter| header.contains(*letter))?;
        let names: Vec<String> =
            header.split(separator).map(|name| name.trim().to_ascii_lowercase()).collect();
        let find = |wanted: &[&str]| names.iter().position(|name| wanted.contains(&name.as_str()));
        let kinds = names
            .iter()
            .enumerate()
            .filter(|(_, name)| ["type", "data_type"].contains(&name.as_str()));
        Some(Self {
            separator,
            mjd: find(&["mjd"])?,
            ut1: find(&["ut1-utc"])?,
            pole: find(&["x_pole", "x"]).zip(find(&["y_pole", "y"])),
            kinds: kinds.map(|(at, _)| at).collect(),
        })
    }

    fn read(&self, line: &str) -> Result<Option<Day>, String> {
        let fields: Vec<&str> = line.split(self.separator).map(str::trim).collect();
        let field = |at: usize, name: &str| {
            fields.get(at).copied().ok_or_else(|| format!("{name} is missing"))
        };
        let mjd = whole_day(field(self.mjd, "MJD")?)?;
        let ut1 = field(self.ut1, "UT1-UTC")?;
        if ut1.is_empty() {
            return Ok(None);
        }
        let mut orientation =
            Orientation { ut1_minus_utc_s: number("UT1-UTC", ut1)?, ..Orientation::default() };
        if let Some((x, y)) = self.pole {
            orientation.pole_x_arcsec = number("the pole's x", field(x, "x")?)?;
            orientation.pole_y_arcsec = number("the pole's y", field(y, "y")?)?;
        }
        let predicted =
            self.kinds.iter().filter_map(|at| fields.get(*at)).any(|kind| {
                kind.eq_ignore_ascii_case("prediction") || kind.eq_ignore_ascii_case("p")
            });
        Ok(Some(Day { mjd, orientation, predicted }))
    }
}

#[cfg(test)]
mod tests;
