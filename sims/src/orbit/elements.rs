//! Element sets in (TLE or OMM), positions and velocities out (SGP4, frame TEME).

use super::fleet::{MeanElements, NoOrbit, Propagator};
use super::vector::{Vector, norm};
use super::{oem, omm};
use codecs::time::Tai;
use std::f64::consts::TAU;
use std::fmt;
use thiserror::Error;

const MINUTES_A_DAY: f64 = 1440.0;
/// Days from 1949-12-31, from which SDP4 counts, to 1970-01-01.
const UNIX_SINCE_1949_DAYS: f64 = 7_306.0;
/// Julian dates of 1949-12-31T00:00 and 2000-01-01T12:00.
const JULIAN_1949: f64 = 2_433_281.5;
const JULIAN_2000: f64 = 2_451_545.0;
/// The earth's radius as SGP4 takes it.
const RADIUS_KM: f64 = 6_378.135;

/// Gravity of the earth as SGP4 takes it.
const GRAVITY_KM3_S2: f64 = 398_600.8;
/// Perigees below it feel the weather of the Sun within days.
const LOW_KM: f64 = 350.0;
/// Periods from which SDP4 takes over.
const DEEP_MIN: f64 = 225.0;
const LOW_DAYS: f64 = 5.0;
const NEAR_DAYS: f64 = 14.0;
const DEEP_DAYS: f64 = 42.0;

/// Turns a day of an orbit at the ground, and some.
const MOTION_MAX: f64 = 18.0;

/// Greatest drag term, per earth radius; what comes down within the hour has less than one.
const DRAG_MAX: f64 = 1_000.0;

/// Most element sets taken from one file; ten times the largest constellation flying.
pub const MAX_ELEMENT_SETS: usize = 100_000;

/// Why an element set can't be read or flown.
#[derive(Debug, Error)]
pub enum ElementsError {
    /// Neither TLE nor OMM, or damaged.
    #[error("element set {index}: {reason}")]
    Format {
        /// Number of the set in its file, from 0.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A file without one.
    #[error(
        "no element set found: expected two-line elements, or OMM as JSON, XML, CSV or key = value"
    )]
    Empty,
    /// States where elements are wanted.
    #[error(
        "an ephemeris (OEM), which `passes`, `links`, `plan` and `ephemeris` take: elements are \
         wanted here"
    )]
    Ephemeris,
    /// More than [`MAX_ELEMENT_SETS`].
    #[error("{count} element sets are more than the {MAX_ELEMENT_SETS} this program takes")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// SGP4 has no orbit at that time: decayed, or elements out of range.
    #[error("{name} at {at}: {reason}")]
    Propagation {
        /// Whose elements.
        name: String,
        /// When.
        at: Tai,
        /// What SGP4 says.
        reason: String,
    },
}

/// Position and velocity in one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct State {
    /// Kilometres.
    pub position_km: Vector,
    /// Kilometres a second.
    pub velocity_km_s: Vector,
}

/// One satellite's mean elements, ready to propagate.
#[derive(Clone)]
pub struct ElementSet {
    name: String,
    epoch: Tai,
    constants: sgp4::Constants,
    propagator: Propagator,
    good_for_days: f64,
    perigee_height_km: f64,
}

impl fmt::Debug for ElementSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ElementSet")
            .field("name", &self.name)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl ElementSet {
    fn new(index: usize, elements: &sgp4::Elements) -> Result<Self, ElementsError> {
        let utc = elements.datetime.and_utc();
        let name = match elements.object_name.as_deref().map(str::trim) {
            Some(name) if !name.is_empty() => name.to_owned(),
            _ => elements.norad_id.to_string(),
        };
        let epoch = Tai::from_unix(utc.timestamp(), utc.timestamp_subsec_nanos());
        for (what, value, most) in [
            ("the inclination", elements.inclination, 180.0),
            ("the ascending node", elements.right_ascension, 360.0),
            ("the eccentricity", elements.eccentricity, 0.999_999),
            ("the argument of perigee", elements.argument_of_perigee, 360.0),
            ("the mean anomaly", elements.mean_anomaly, 360.0),
            ("the mean motion", elements.mean_motion, MOTION_MAX),
        ] {
            if !(0.0..=most).contains(&value) {
                let reason = format!("{what} is {value}: 0 to {most} is an orbit of the earth");
                return Err(ElementsError::Format { index, reason });
            }
        }
        // A drag term out of bounds flies a satellite to no place at all.
        if elements.drag_term.is_nan() || elements.drag_term.abs() > DRAG_MAX {
            let drag = elements.drag_term;
            let reason =
                format!("the drag term is {drag:e}: -{DRAG_MAX} to {DRAG_MAX} is possible");
            return Err(ElementsError::Format { index, reason });
        }
        let mean = MeanElements {
            inclination: elements.inclination.to_radians(),
            node: elements.right_ascension.to_radians(),
            eccentricity: elements.eccentricity,
            argument: elements.argument_of_perigee.to_radians(),
            anomaly: elements.mean_anomaly.to_radians(),
            motion: elements.mean_motion * TAU / MINUTES_A_DAY,
            drag: elements.drag_term,
        };
        Self::from_mean(name, epoch, &mean)
            .map_err(|error| ElementsError::Format { index, reason: error.to_string() })
    }

    /// Prepares SGP4 with WGS-72 constants, which public element sets are fitted with.
    pub fn from_mean(
        name: impl Into<String>,
        epoch: Tai,
        mean: &MeanElements,
    ) -> Result<Self, NoOrbit> {
        let days = epoch.to_unix_nanos() as f64 / 86_400e9 + UNIX_SINCE_1949_DAYS;
        // By way of the Julian date, whose rounding the reference has as well.
        let years = (days + JULIAN_1949 - JULIAN_2000) / 365.25;
        let sidereal = sgp4::afspc_epoch_to_sidereal_time;
        let propagator = Propagator::new(mean, days, sidereal(years))?;
        let orbit = sgp4::Orbit::from_kozai_elements(
            &sgp4::WGS72,
            mean.inclination,
            mean.node,
            mean.eccentricity,
            mean.argument,
            mean.anomaly,
            mean.motion,
        )
        .map_err(|_| NoOrbit::Motion)?;
        let constants = sgp4::Constants::new(sgp4::WGS72, sidereal, years, mean.drag, orbit)
            .map_err(|_| NoOrbit::Eccentricity)?;
        let axis_km = (GRAVITY_KM3_S2 / (mean.motion / 60.0).powi(2)).cbrt();
        let perigee_height_km = axis_km * (1.0 - mean.eccentricity) - RADIUS_KM;
        let good_for_days = match perigee_height_km {
            low if low < LOW_KM => LOW_DAYS,
            _ if TAU / mean.motion < DEEP_MIN => NEAR_DAYS,
            _ => DEEP_DAYS,
        };
        Ok(Self {
            name: name.into(),
            epoch,
            constants,
            propagator,
            good_for_days,
            perigee_height_km,
        })
    }

    /// Age beyond which the elements say little: five days where the air is thick, two weeks in a
    /// low orbit, six weeks in a high one. By then a satellite is off by tens of kilometres along
    /// its orbit, a rule of thumb of public elements.
    pub fn good_for_days(&self) -> f64 {
        self.good_for_days
    }

    /// Height of the mean orbit's perigee above the equator's radius, km: no station is ever closer.
    pub fn perigee_height_km(&self) -> f64 {
        self.perigee_height_km
    }

    /// The same orbit for many instants at once; agrees with [`propagate`](Self::propagate) to a
    /// metre.
    pub fn propagator(&self) -> &Propagator {
        &self.propagator
    }

    /// Minutes from the epoch to an instant, as SGP4 counts.
    pub fn minutes_at(&self, at: Tai) -> f64 {
        // SGP4 counts UTC as if it had no leap seconds.
        (at.to_unix_nanos() - self.epoch.to_unix_nanos()) as f64 / 60e9
    }

    /// The satellite's name, or its catalogue number.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Instant that the elements were fitted at.
    pub fn epoch(&self) -> Tai {
        self.epoch
    }

    /// Position and velocity in the frame TEME.
    pub fn propagate(&self, at: Tai) -> Result<State, ElementsError> {
        let refuse = |reason| ElementsError::Propagation { name: self.name.clone(), at, reason };
        let state =
            self.propagate_minutes(self.minutes_at(at)).map_err(|e| refuse(e.to_string()))?;
        let radius_km = norm(state.position_km);
        if !radius_km.is_finite() {
            return Err(refuse("the elements lead to no place".into()));
        }
        if radius_km < RADIUS_KM {
            return Err(refuse("the orbit has come down to the ground: decayed".into()));
        }
        Ok(state)
    }

    /// The same by minutes since the epoch, as reference tables count.
    pub fn propagate_minutes(&self, minutes: f64) -> Result<State, sgp4::Error> {
        let prediction = self.constants.propagate(sgp4::MinutesSinceEpoch(minutes))?;
        Ok(State { position_km: prediction.position, velocity_km_s: prediction.velocity })
    }
}

/// Reads every element set of a text: OMM as JSON, XML, key-value notation or comma-separated values
/// (one or many), or TLE with or without name lines.
pub fn read(text: &str) -> Result<Vec<ElementSet>, ElementsError> {
    // What Windows' editors put in front is no part of a name.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if oem::is_oem(text) {
        return Err(ElementsError::Ephemeris);
    }
    if let Some(sets) = omm::read(text) {
        return match sets {
            Ok(sets) if sets.is_empty() => Err(ElementsError::Empty),
            sets => sets,
        };
    }
    let elements = tle(text)?;
    match elements.len() {
        0 => Err(ElementsError::Empty),
        count if count > MAX_ELEMENT_SETS => Err(ElementsError::TooMany { count }),
        _ => elements.iter().enumerate().map(|(index, set)| ElementSet::new(index, set)).collect(),
    }
}

/// Columns of a line; the verification set carries its own fields after them.
const COLUMNS: usize = 69;

/// Collects lines 1 and 2; a line before them that is neither names the satellite.
fn tle(text: &str) -> Result<Vec<sgp4::Elements>, ElementsError> {
    let mut sets = Vec::new();
    let mut name = None;
    let mut first: Option<(usize, String)> = None;
    for (number, line) in (1..).zip(text.lines()).map(|(number, line)| (number, line.trim_end())) {
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        let index = sets.len();
        let refuse = |at: usize, reason: &str| {
            Err(ElementsError::Format {
                index,
                reason: format!("{reason} (line {at} of the file)"),
            })
        };
        match (first.take(), line.as_bytes().first_chunk::<2>()) {
            (None, Some(b"1 ")) => first = Some((number, columns(line).into())),
            (Some((before, one)), Some(b"2 ")) => {
                let two = columns(line);
                for (at, line) in [(before, &*one), (number, two)] {
                    if let Some(reason) = fault(line) {
                        return refuse(at, reason);
                    }
                }
                // Old sets leave the ephemeris type blank; it adds nothing to the checksum.
                let one = match (one.get(..62), one.get(63..)) {
                    (Some(before), Some(after)) if one.as_bytes().get(62) == Some(&b' ') => {
                        format!("{before}0{after}")
                    }
                    _ => one,
                };
                if let Some(kind @ (b'1' | b'4'..=b'9')) = one.as_bytes().get(62) {
                    let kind = char::from(*kind);
                    return refuse(
                        before,
                        &format!("ephemeris type {kind} in column 63 is another theory than SGP4"),
                    );
                }
                match sgp4::Elements::from_tle(name.take(), one.as_bytes(), two.as_bytes()) {
                    Ok(set) => sets.push(set),
                    Err(error) => return refuse(before, &error.to_string()),
                }
            }
            (Some((before, _)), _) => return refuse(before, "a line 1 without its line 2"),
            (None, Some(b"2 ")) => return refuse(number, "a line 2 without its line 1"),
            (None, _) => name = Some(line.trim_start_matches("0 ").trim().to_owned()),
        }
    }
    if let Some((before, _)) = first {
        let reason = format!("a line 1 without its line 2 (line {before} of the file)");
        return Err(ElementsError::Format { index: sets.len(), reason });
    }
    Ok(sets)
}

fn columns(line: &str) -> &str {
    line.get(..COLUMNS).unwrap_or(line)
}

/// What the crate takes for granted of a line: it panics, or reads text that is none, without.
fn fault(line: &str) -> Option<&'static str> {
    match line.as_bytes().get(COLUMNS - 1) {
        _ if !line.is_ascii() => Some("a letter that is not ASCII"),
        None => Some("fewer than 69 columns"),
        Some(digit) if !digit.is_ascii_digit() => Some("the checksum in column 69 is no digit"),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ISS: &str = "ISS
1 25544U 98067A   24127.82853009  .00015698  00000+0  27310-3 0  9995
2 25544  51.6393 160.4574 0003580 140.6673 205.7250 15.50957674452123
";

    #[test]
    fn reads_lines_with_and_without_names() {
        let named = read(ISS).unwrap();
        assert_eq!(named[0].name(), "ISS");
        let bare = read(&ISS[4..]).unwrap();
        assert_eq!(bare[0].name(), "25544");
        assert_eq!(named[0].epoch().to_rfc3339(), "2024-05-06T19:53:04.999Z");
    }

    #[test]
    fn says_what_is_wrong() {
        assert!(matches!(read(""), Err(ElementsError::Empty)));
        assert!(matches!(read("hello"), Err(ElementsError::Empty)));
        assert!(matches!(read("{\"a\": 1}"), Err(ElementsError::Format { .. })));
        let damaged = ISS.replace("51.6393", "51.6394");
        let error = read(&damaged).err().unwrap().to_string();
        assert!(error.contains("checksum"), "{error}");
        let lines: Vec<&str> = ISS.lines().collect();
        for (text, words) in [
            (ISS.replace("9995\n", "999p\n"), "column 69 is no digit (line 2 of the file)"),
            (ISS.replace("452123", "45212é"), "not ASCII (line 3 of the file)"),
            (ISS.replace("674452123", "67445"), "fewer than 69 columns (line 3 of the file)"),
            (lines[..2].join("\n"), "a line 1 without its line 2 (line 2 of the file)"),
            (lines[2].into(), "a line 2 without its line 1 (line 1 of the file)"),
            (ISS.replace("27310-3 0  9995", "1e308-3 0  9994"), "-1000 to 1000 is possible"),
            ([lines[1], lines[1], lines[2]].join("\n"), "without its line 2 (line 1 of the file)"),
        ] {
            let error = read(&text).err().unwrap().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_satellite_that_came_down_has_decayed() {
        let mean = MeanElements {
            inclination: 0.9,
            node: 0.0,
            eccentricity: 0.001,
            argument: 0.0,
            anomaly: 0.0,
            motion: 16.45 * TAU / MINUTES_A_DAY,
            drag: 0.01,
        };
        let set = ElementSet::from_mean("LOW", Tai::from_unix(1_790_000_000, 0), &mean).unwrap();
        assert_eq!(set.good_for_days(), LOW_DAYS);
        set.propagate(set.epoch()).unwrap();
        let error = set.propagate(set.epoch().plus(86_400_000_000_000)).unwrap_err().to_string();
        assert!(error.starts_with("LOW at 2026-09-"), "{error}");
    }

    proptest! {
        /// Whatever letters a file holds, it is read or refused.
        #[test]
        fn nothing_panics(at in 0usize..145, put in any::<char>()) {
            let letters = ISS.chars().enumerate();
            let text: String = letters.map(|(of, letter)| if of == at { put } else { letter }).collect();
            let _ = read(&text);
        }
    }
}
