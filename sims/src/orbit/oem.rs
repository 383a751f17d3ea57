//! Orbit ephemeris messages (CCSDS 502.0-B-3 §5): key-value notation and XML.
//!
//! Segments of one object are its arcs. What would be misread (another centre, frame or time
//! system) is refused with its keyword and line. Covariances and accelerations are passed over.

pub mod write;

use std::collections::BTreeMap;

use codecs::time::Tai;
use thiserror::Error;

use super::{
    elements::State,
    ephemeris::{Arc, Ephemeris, Frame, Interpolation, MAX_DEGREE},
    omm,
};

/// Most states of one file: ten satellites for a year, minute by minute.
pub const MAX_STATES: usize = 5_000_000;
/// Degree of the polynomials where a message says none and has states enough.
const FREE_DEGREE: usize = 7;
/// TT minus TAI, and TAI minus GPS time, ns.
const TT_MINUS_TAI_NS: i64 = 32_184_000_000;
const TAI_MINUS_GPS_NS: i64 = 19_000_000_000;

/// Why a message was refused.
#[derive(Debug, Error, PartialEq)]
#[error("line {line}: {reason}")]
pub struct OemError {
    /// From 1.
    pub line: usize,
    /// What is wrong there.
    pub reason: String,
}

/// Whether a text is an ephemeris message, in either form.
pub fn is_oem(text: &str) -> bool {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let is_xml = || text.starts_with('<') && (text.contains("<oem") || text.contains(":oem"));
    text.starts_with("CCSDS_OEM_VERS") || is_xml()
}

/// Reads every object of a message.
pub fn read(text: &str) -> Result<Vec<Ephemeris>, OemError> {
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = Reader::default();
    let last = text.lines().count().max(1);
    if text.trim_start().starts_with('<') {
        reader.xml(text)?
    } else {
        reader.lines(text)?
    }
    reader.finish(last)
}

/// A value and its line.
type Value = (String, usize);

#[derive(Default)]
struct Segment {
    line: usize,
    keys: BTreeMap<String, Value>,
    states: Vec<(Tai, State)>,
}

impl Segment {
    fn key(&self, key: &str) -> Option<(&str, usize)> {
        let (value, line) = self.keys.get(key)?;
        Some((value.as_str(), *line)).filter(|(value, _)| !value.is_empty())
    }

    fn needed(&self, key: &str) -> Result<(&str, usize), OemError> {
        let line = self.line;
        self.key(key).ok_or_else(|| OemError { line, reason: format!("{key} is missing") })
    }
}

#[derive(Default)]
struct Reader {
    objects: Vec<(String, Vec<Arc>)>,
    /// Objects by identifier.
    known: BTreeMap<String, usize>,
    count: usize,
}

/// Where a line of key-value notation stands.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Header,
    Meta,
    Data,
    Covariance,
}

fn refuse<T>(line: usize, reason: impl Into<String>) -> Result<T, OemError> {
    Err(OemError { line, reason: reason.into() })
}

impl Reader {
    fn lines(&mut self, text: &str) -> Result<(), OemError> {
        let mut place = Place::Header;
        let mut segment: Option<(Segment, Meta)> = None;
        let mut open = Segment::default();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with("COMMENT") {
                continue;
            }
            match (text, place) {
                ("META_START", Place::Header | Place::Data) => {
                    self.close(segment.take())?;
                    (open, place) = (Segment { line, ..Segment::default() }, Place::Meta);
                }
                ("META_STOP", Place::Meta) => {
                    let meta = Meta::read(&open)?;
                    segment = Some((std::mem::take(&mut open), meta));
                    place = Place::Data;
                }
                ("COVARIANCE_START", Place::Data) => place = Place::Covariance,
                ("COVARIANCE_STOP", Place::Covariance) => place = Place::Data,
                (_, Place::Header | Place::Covariance) => {}
                (_, Place::Meta) => {
                    let Some((key, value)) = text.split_once('=') else {
                        return refuse(line, format!("'{text}' is no KEYWORD = VALUE"));
                    };
                    let value = (value.trim().to_owned(), line);
                    if open.keys.insert(key.trim().to_owned(), value).is_some() {
                        return refuse(line, format!("{} stands there twice", key.trim()));
                    }
                }
                (_, Place::Data) => {
                    let fields: Vec<&str> = text.split_whitespace().take(11).collect();
                    let (7 | 10, [time, rest @ ..]) = (fields.len(), &fields[..]) else {
                        let words = "expected a time, a position and a velocity";
                        return refuse(line, format!("{} fields; {words}", fields.len()));
                    };
                    let Some((segment, meta)) = &mut segment else {
                        return refuse(line, "a state before META_STOP");
                    };
                    self.count += 1;
                    let state = meta.state(time, rest, line)?;
                    add(segment, state, line, self.count)?;
                }
            }
        }
        if place == Place::Meta || place == Place::Covariance {
            let what = if place == Place::Meta { "META_STOP" } else { "COVARIANCE_STOP" };
            return refuse(text.lines().count(), format!("the message ends before {what}"));
        }
        self.close(segment)
    }

    fn xml(&mut self, text: &str) -> Result<(), OemError> {
        let document = roxmltree::Document::parse(text).map_err(|error| OemError {
            line: error.pos().row as usize,
            reason: error.to_string(),
        })?;
        // Rows are counted from the start of the text: only for the one that is wrong.
        self.segments(&document).map_err(|OemError { line: offset, reason }| OemError {
            line: document.text_pos_at(offset).row as usize,
            reason,
        })
    }

    /// The segments of a document; the line of an error is its offset in bytes.
    fn segments(&mut self, document: &roxmltree::Document<'_>) -> Result<(), OemError> {
        let place = |node: &roxmltree::Node<'_, '_>| node.range().start;
        let segments = document.descendants().filter(|node| node.has_tag_name("segment"));
        let in_oem = |node: &roxmltree::Node<'_, '_>| {
            node.ancestors().any(|node| node.tag_name().name() == "oem")
        };
        for node in segments.filter(in_oem) {
            let mut segment = Segment { line: place(&node), ..Segment::default() };
            let metadata = node.children().filter(|node| node.has_tag_name("metadata"));
            for item in metadata.flat_map(|node| node.children()).filter(|node| node.is_element()) {
                let value = item.text().unwrap_or_default().trim().to_owned();
                let line = place(&item);
                segment.keys.insert(item.tag_name().name().to_owned(), (value, line));
            }
            let meta = Meta::read(&segment)?;
            let data = node.children().filter(|node| node.has_tag_name("data"));
            let states = data.flat_map(|node| node.children());
            for item in states.filter(|node| node.has_tag_name("stateVector")) {
                let mut fields = Vec::new();
                for (key, unit) in FIELDS {
                    let found = item.children().find(|node| node.has_tag_name(key));
                    let Some(found) = found else {
                        return refuse(place(&item), format!("{key} is missing"));
                    };
                    let told = found.attribute("units").filter(|told| *told != unit);
                    if let (Some(told), false) = (told, unit.is_empty()) {
                        return refuse(
                            place(&found),
                            format!("{key} is in {told}: {unit} is read"),
                        );
                    }
                    fields.push(found.text().unwrap_or_default().trim());
                }
                self.count += 1;
                let state = meta.state(fields[0], &fields[1..], place(&item))?;
                add(&mut segment, state, place(&item), self.count)?;
            }
            self.close(Some((segment, meta)))?;
        }
        Ok(())
    }

    fn close(&mut self, segment: Option<(Segment, Meta)>) -> Result<(), OemError> {
        let Some((segment, meta)) = segment else { return Ok(()) };
        let at = *self.known.entry(meta.id.clone()).or_insert(self.objects.len());
        if at == self.objects.len() {
            self.objects.push((meta.name.clone(), Vec::new()));
        }
        let found = meta.arcs(segment)?;
        if let Some((_, arcs)) = self.objects.get_mut(at) {
            arcs.extend(found);
        }
        Ok(())
    }

    fn finish(self, last: usize) -> Result<Vec<Ephemeris>, OemError> {
        if self.objects.is_empty() {
            return refuse(last, "the message has no segment with states");
        }
        Ok(self.objects.into_iter().map(|(name, arcs)| Ephemeris::new(name, arcs)).collect())
    }
}

const FIELDS: [(&str, &str); 7] = [
    ("EPOCH", ""),
    ("X", "km"),
    ("Y", "km"),
    ("Z", "km"),
    ("X_DOT", "km/s"),
    ("Y_DOT", "km/s"),
    ("Z_DOT", "km/s"),
];

fn add(
    segment: &mut Segment,
    state: (Tai, State),
    line: usize,
    count: usize,
) -> Result<(), OemError> {
    if count > MAX_STATES {
        return refuse(line, format!("more than {MAX_STATES} states"));
    }
    if segment.states.last().is_some_and(|last| last.0 >= state.0) {
        return refuse(line, "a state is not after the one before it");
    }
    segment.states.push(state);
    Ok(())
}

#[derive(Clone, Copy)]
enum Scale {
    Utc,
    /// Nanoseconds to add to reach TAI.
    Atomic(i64),
}

/// What a segment says of its states.
struct Meta {
    id: String,
    name: String,
    frame: Frame,
    scale: Scale,
    interpolation: Interpolation,
    /// None where the message leaves it open.
    degree: Option<usize>,
    from: Option<Tai>,
    to: Option<Tai>,
    line: usize,
}

impl Meta {
    fn read(segment: &Segment) -> Result<Self, OemError> {
        let (name, _) = segment.needed("OBJECT_NAME")?;
        let id = segment.key("OBJECT_ID").map_or(name, |(id, _)| id);
        let (center, line) = segment.needed("CENTER_NAME")?;
        if !center.eq_ignore_ascii_case("EARTH") {
            return refuse(line, format!("CENTER_NAME is {center}: only EARTH is read"));
        }
        let (frame, line) = segment.needed("REF_FRAME")?;
        let frame = frame_of(frame).map_err(|reason| OemError { line, reason })?;
        let (scale, line) = segment.needed("TIME_SYSTEM")?;
        let scale = match scale.to_ascii_uppercase().as_str() {
            "UTC" => Scale::Utc,
            "TAI" => Scale::Atomic(0),
            "TT" => Scale::Atomic(-TT_MINUS_TAI_NS),
            "GPS" => Scale::Atomic(TAI_MINUS_GPS_NS),
            _ => {
                return refuse(line, format!("TIME_SYSTEM is {scale}: UTC, TAI, TT, GPS are read"));
            }
        };
        let (interpolation, degree) = interpolation(segment)?;
        let mut meta = Self {
            id: id.to_owned(),
            name: name.to_owned(),
            frame,
            scale,
            interpolation,
            degree,
            from: None,
            to: None,
            line: segment.line,
        };
        let time = |key: &str| match segment.key(key) {
            Some((text, line)) => meta.time(text, line).map(Some),
            None => Ok(None),
        };
        let (from, to) = (time("USEABLE_START_TIME")?, time("USEABLE_STOP_TIME")?);
        (meta.from, meta.to) = (from, to);
        Ok(meta)
    }

    fn time(&self, text: &str, line: usize) -> Result<Tai, OemError> {
        let Some(utc) = omm::time(text) else {
            return refuse(line, format!("'{text}' is no time like 2026-11-23T12:00:00"));
        };
        Ok(match self.scale {
            Scale::Utc => utc,
            Scale::Atomic(more) => Tai(utc.to_unix_nanos().saturating_add(more)),
        })
    }

    fn state(&self, time: &str, rest: &[&str], line: usize) -> Result<(Tai, State), OemError> {
        let mut numbers = [0.0; 6];
        for ((number, text), (key, _)) in numbers.iter_mut().zip(rest).zip(&FIELDS[1..]) {
            *number = match text.parse::<f64>() {
                // The Moon is at 400,000 km; nothing that stations hear goes faster than light.
                Ok(value) if value.abs() < 1e9 => value,
                _ => return refuse(line, format!("{key} is '{text}', which is no number of km")),
            };
        }
        let [x, y, z, vx, vy, vz] = numbers;
        let state = State { position_km: [x, y, z], velocity_km_s: [vx, vy, vz] };
        Ok((self.time(time, line)?, state))
    }

    fn arcs(&self, segment: Segment) -> Result<Vec<Arc>, OemError> {
        let Self { frame, interpolation, line, .. } = *self;
        let (Some(first), Some(last)) = (segment.states.first(), segment.states.last()) else {
            return refuse(line, "the segment has no states");
        };
        let count = segment.states.len();
        let degree = self.degree.unwrap_or(FREE_DEGREE.min(2 * count - 1));
        let needs = Arc::needs(interpolation, degree);
        if count < needs {
            let words = format!("{count} states, and interpolation of degree {degree}");
            return refuse(line, format!("the segment has {words} needs {needs}"));
        }
        let (from, to) = (self.from.unwrap_or(first.0), self.to.unwrap_or(last.0));
        let (from, to) = (from.max(first.0), to.min(last.0));
        if from > to {
            return refuse(line, "USEABLE_START_TIME and USEABLE_STOP_TIME leave no states");
        }
        let pieces = whole_pieces(segment.states).into_iter().filter_map(|states| {
            let (first, last) = (states.first()?.0, states.last()?.0);
            let (from, to) = (from.max(first), to.min(last));
            (from < to).then_some(Arc { frame, interpolation, degree, from, to, states })
        });
        Ok(pieces.collect())
    }
}

/// How many times longer than both steps beside it a step is a hole: ephemerides with steps that grow
/// towards the apogee change them by less.
const HOLE: i64 = 8;

/// States apart where some are missing between: a polynomial over a hole would tell an orbit that
/// nobody computed.
fn whole_pieces(states: Vec<(Tai, State)>) -> Vec<Vec<(Tai, State)>> {
    let steps: Vec<i64> = states.windows(2).map(|two| two[1].0.since(two[0].0)).collect();
    let is_hole = |at: usize| {
        let before = at.checked_sub(1).and_then(|before| steps.get(before));
        let beside = [before, steps.get(at + 1)].into_iter().flatten().max();
        beside.is_some_and(|beside| steps[at] / HOLE > *beside)
    };
    let mut pieces = vec![Vec::new()];
    for (at, state) in states.into_iter().enumerate() {
        if at > 0 && is_hole(at - 1) {
            pieces.push(Vec::new());
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(state);
        }
    }
    pieces
}

fn frame_of(name: &str) -> Result<Frame, String> {
    let upper = name.to_ascii_uppercase();
    match upper.as_str() {
        "TEME" | "TEMEOFDATE" | "TEME OF DATE" => Ok(Frame::Teme),
        "EME2000" | "J2000" | "GCRF" | "ICRF" => Ok(Frame::J2000),
        "WGS84" | "WGS-84" | "ITRF" => Ok(Frame::Earth),
        _ if upper.strip_prefix("ITRF").is_some_and(is_year) => Ok(Frame::Earth),
        _ => Err(format!("REF_FRAME is {name}: TEME, EME2000, GCRF, ICRF, ITRF are read")),
    }
}

/// The year of a realisation: `-97`, `2014`.
fn is_year(text: &str) -> bool {
    let digits = text.trim_start_matches('-');
    (2..=4).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit())
}

/// Where the message says none, Hermite's polynomial of degree 7, or as high as the states reach.
fn interpolation(segment: &Segment) -> Result<(Interpolation, Option<usize>), OemError> {
    let Some((kind, line)) = segment.key("INTERPOLATION") else {
        return Ok((Interpolation::Hermite, None));
    };
    let kind = match kind.to_ascii_uppercase().as_str() {
        "HERMITE" => Interpolation::Hermite,
        "LAGRANGE" => Interpolation::Lagrange,
        "LINEAR" => return Ok((Interpolation::Linear, Some(1))),
        _ => {
            return refuse(
                line,
                format!("INTERPOLATION is {kind}: HERMITE, LAGRANGE, LINEAR are known"),
            );
        }
    };
    let (degree, line) = segment.needed("INTERPOLATION_DEGREE")?;
    match degree.parse::<usize>() {
        Ok(degree) if (1..=MAX_DEGREE).contains(&degree) => Ok((kind, Some(degree))),
        _ => refuse(line, format!("INTERPOLATION_DEGREE is {degree}: 1 to {MAX_DEGREE}")),
    }
}

#[cfg(test)]
mod tests;
