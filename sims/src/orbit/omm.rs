//! Mean elements messages (CCSDS 502.0-B-3 §4): key-value notation, XML, JSON, and the
//! comma-separated values that catalogues publish.
//!
//! Only what a propagator needs is asked for; where a message says what its elements are (theory,
//! frame, centre, time system), anything that SGP4 would misread is refused.

use std::collections::BTreeMap;

use codecs::time::Tai;

use super::{
    elements::{ElementSet, ElementsError, MAX_ELEMENT_SETS},
    fleet::MeanElements,
};

/// Fields of one message by keyword.
type Fields = BTreeMap<String, String>;

/// Keywords that one message is taken from: all others are passed over.
const WANTED: [&str; 17] = [
    "OBJECT_NAME",
    "OBJECT_ID",
    "NORAD_CAT_ID",
    "CENTER_NAME",
    "REF_FRAME",
    "TIME_SYSTEM",
    "MEAN_ELEMENT_THEORY",
    "EPHEMERIS_TYPE",
    "EPOCH",
    "MEAN_MOTION",
    "SEMI_MAJOR_AXIS",
    "ECCENTRICITY",
    "INCLINATION",
    "RA_OF_ASC_NODE",
    "ARG_OF_PERICENTER",
    "MEAN_ANOMALY",
    "BSTAR",
];

/// Reads every message of a text, in whichever of the four forms it is; nothing if it is none.
pub fn read(text: &str) -> Option<Result<Vec<ElementSet>, ElementsError>> {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let records = match text.as_bytes().first()? {
        b'{' | b'[' => json(text),
        b'<' => xml(text),
        _ if text.lines().next()?.split(',').any(|field| unquoted(field) == "MEAN_MOTION") => {
            comma_separated(text)
        }
        _ if text.starts_with("CCSDS_OMM_VERS") => key_value(text),
        _ => return None,
    };
    Some(records.and_then(|records| {
        if records.len() > MAX_ELEMENT_SETS {
            return Err(ElementsError::TooMany { count: records.len() });
        }
        let sets = records.iter().enumerate().map(|(index, fields)| {
            element_set(fields).map_err(|reason| ElementsError::Format { index, reason })
        });
        sets.collect()
    }))
}

fn refuse(index: usize, reason: impl ToString) -> ElementsError {
    ElementsError::Format { index, reason: reason.to_string() }
}

fn json(text: &str) -> Result<Vec<Fields>, ElementsError> {
    use serde_json::Value;
    let document: Value = serde_json::from_str(text).map_err(|error| refuse(0, error))?;
    let list = match document {
        Value::Array(list) => list,
        one => vec![one],
    };
    let fields = list.into_iter().enumerate().map(|(index, one)| {
        let Value::Object(map) = one else {
            return Err(refuse(index, "expected an object of keywords and values"));
        };
        let fields = map.into_iter().filter(|(key, _)| WANTED.contains(&key.as_str()));
        Ok(fields
            .filter_map(|(key, value)| match value {
                Value::String(text) => Some((key, text)),
                Value::Number(number) => Some((key, number.to_string())),
                _ => None,
            })
            .collect())
    });
    fields.collect()
}

fn xml(text: &str) -> Result<Vec<Fields>, ElementsError> {
    let document = roxmltree::Document::parse(text).map_err(|error| refuse(0, error))?;
    let messages = document.descendants().filter(|node| node.has_tag_name("omm"));
    let fields = messages.map(|message| {
        let named = message.descendants().filter(|node| WANTED.contains(&node.tag_name().name()));
        named
            .filter_map(|node| {
                Some((node.tag_name().name().to_owned(), node.text()?.trim().into()))
            })
            .collect()
    });
    Ok(fields.collect())
}

fn unquoted(field: &str) -> &str {
    field.trim().trim_matches('"').trim()
}

fn comma_separated(text: &str) -> Result<Vec<Fields>, ElementsError> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').map(unquoted).collect();
    let fields = lines.enumerate().map(|(index, line)| {
        let values = split(line);
        if values.len() != header.len() {
            let reason = format!("{} fields under {} columns", values.len(), header.len());
            return Err(refuse(index, reason));
        }
        let pairs = header.iter().zip(values).filter(|(key, _)| WANTED.contains(key));
        Ok(pairs.map(|(key, value)| ((*key).to_owned(), unquoted(value).to_owned())).collect())
    });
    fields.collect()
}

/// Splits at commas outside quotation marks (RFC 4180).
fn split(line: &str) -> Vec<&str> {
    let mut quoted = false;
    line.split(|letter| {
        quoted ^= letter == '"';
        letter == ',' && !quoted
    })
    .collect()
}

fn key_value(text: &str) -> Result<Vec<Fields>, ElementsError> {
    let mut messages: Vec<Fields> = Vec::new();
    for line in text.lines().map(str::trim) {
        let Some((key, value)) = line.split_once('=') else { continue };
        let key = key.trim();
        if key == "CCSDS_OMM_VERS" {
            messages.push(Fields::new());
        }
        // Units stand in brackets behind the value (§7.6).
        let value = value.split('[').next().unwrap_or_default().trim();
        if let (Some(message), true) = (messages.last_mut(), WANTED.contains(&key)) {
            message.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(messages)
}

fn element_set(fields: &Fields) -> Result<ElementSet, String> {
    let text = |key: &str| fields.get(key).map(|text| text.trim()).filter(|text| !text.is_empty());
    let only = |key: &str, known: &[&str]| match text(key) {
        Some(found) if !known.iter().any(|known| known.eq_ignore_ascii_case(found)) => {
            Err(format!("{key} is {found}; SGP4 is right for {} only", known.join(", ")))
        }
        _ => Ok(()),
    };
    only("CENTER_NAME", &["EARTH"])?;
    only("REF_FRAME", &["TEME", "TEME OF DATE", "TEME OF EPOCH"])?;
    only("TIME_SYSTEM", &["UTC"])?;
    only("MEAN_ELEMENT_THEORY", &["SGP4", "SGP/SGP4", "SDP4", "SGP4/SDP4"])?;
    // What is published stands as 0; 4 is SGP4-XP, 6 special perturbations (502.0-B-3 table 4-3).
    only("EPHEMERIS_TYPE", &["0", "2", "3"])?;
    let number = |key: &str, within: std::ops::RangeInclusive<f64>| {
        let found = text(key).ok_or_else(|| format!("{key} is missing"))?;
        match found.parse::<f64>() {
            Ok(value) if within.contains(&value) => Ok(value),
            _ => Err(format!(
                "{key} is '{found}'; expected a number of {} to {}",
                within.start(),
                within.end()
            )),
        }
    };
    let motion = match text("MEAN_MOTION") {
        None if text("SEMI_MAJOR_AXIS").is_some() => {
            return Err("MEAN_MOTION is missing: SGP4 does not start from a semi-major axis".into());
        }
        _ => number("MEAN_MOTION", 1e-3..=18.0)?,
    };
    let epoch = text("EPOCH").ok_or("EPOCH is missing")?;
    let epoch =
        time(epoch).ok_or_else(|| format!("EPOCH is '{epoch}', which is no time of UTC"))?;
    let mean = MeanElements {
        inclination: number("INCLINATION", 0.0..=180.0)?.to_radians(),
        node: number("RA_OF_ASC_NODE", -360.0..=360.0)?.to_radians(),
        eccentricity: number("ECCENTRICITY", 0.0..=0.999_999)?,
        argument: number("ARG_OF_PERICENTER", -360.0..=360.0)?.to_radians(),
        anomaly: number("MEAN_ANOMALY", -360.0..=360.0)?.to_radians(),
        motion: motion * std::f64::consts::TAU / 1440.0,
        drag: if text("BSTAR").is_some() { number("BSTAR", -10.0..=10.0)? } else { 0.0 },
    };
    let name = ["OBJECT_NAME", "NORAD_CAT_ID", "OBJECT_ID"].into_iter().find_map(text);
    let name = name.ok_or("neither OBJECT_NAME nor NORAD_CAT_ID says whose elements they are")?;
    ElementSet::from_mean(name, epoch, &mean).map_err(|error| error.to_string())
}

/// A time of UTC, by calendar or by day of the year (CCSDS 301.0-B-4 §3.5), with or without a Z.
pub(super) fn time(text: &str) -> Option<Tai> {
    let text = text.trim_end_matches('Z');
    let (date, clock) = text.split_once('T').or_else(|| text.split_once(' '))?;
    let parts: Vec<&str> = date.split('-').collect();
    match parts[..] {
        [year, day] => {
            let day: i64 = day.parse().ok().filter(|day| (1..=366).contains(day))?;
            let start = Tai::from_rfc3339(&format!("{year}-01-01T{clock}Z"))?;
            let nanos = start.to_unix_nanos() + (day - 1) * 86_400_000_000_000;
            let part = u32::try_from(nanos.rem_euclid(1_000_000_000)).ok()?;
            Some(Tai::from_unix(nanos.div_euclid(1_000_000_000), part))
        }
        _ => Tai::from_rfc3339(&format!("{date}T{clock}Z")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::elements::read;
    use proptest::prelude::*;

    const TLE: &str = "ISS
1 25544U 98067A   24127.82853009  .00015698  00000+0  27310-3 0  9995
2 25544  51.6393 160.4574 0003580 140.6673 205.7250 15.50957674452123
";
    const KEYS: [(&str, &str); 11] = [
        ("OBJECT_NAME", "ISS"),
        ("CENTER_NAME", "EARTH"),
        ("REF_FRAME", "TEME"),
        ("EPOCH", "2024-05-06T19:53:04.999776"),
        ("MEAN_MOTION", "15.50957674"),
        ("ECCENTRICITY", ".0003580"),
        ("INCLINATION", "51.6393"),
        ("RA_OF_ASC_NODE", "160.4574"),
        ("ARG_OF_PERICENTER", "140.6673"),
        ("MEAN_ANOMALY", "205.7250"),
        ("BSTAR", ".27310E-3"),
    ];

    fn key_value() -> String {
        let lines: String = KEYS.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        format!("CCSDS_OMM_VERS = 3.0\nCREATION_DATE = 2024-05-07T00:00:00\n{lines}")
    }

    fn forms() -> [String; 5] {
        let (keys, values): (Vec<_>, Vec<_>) = KEYS.into_iter().unzip();
        let tags: String =
            KEYS.iter().map(|(key, value)| format!("<{key}>{value}</{key}>\n")).collect();
        let json: Vec<String> =
            KEYS.iter().map(|(key, value)| format!("\"{key}\": \"{value}\"")).collect();
        [
            key_value(),
            key_value().replace("MEAN_ANOMALY = 205.7250", "MEAN_ANOMALY = 205.7250 [deg]"),
            format!(
                "<?xml version=\"1.0\"?><ndm><omm><body><segment>{tags}</segment></body></omm></ndm>"
            ),
            format!("{}\n{}\n", keys.join(","), values.join(",")),
            format!("[{{{}}}]", json.join(", ")),
        ]
    }

    #[test]
    fn every_form_says_what_the_lines_say() {
        let lines = read(TLE).unwrap();
        for form in forms() {
            let sets = read(&form).unwrap();
            assert_eq!((sets.len(), sets[0].name()), (1, "ISS"), "{form}");
            // The two lines round the epoch to a hundredth of a microday.
            assert!(sets[0].epoch().since(lines[0].epoch()).abs() < 1_000_000);
            let (a, b) = (lines[0].propagate_minutes(90.0), sets[0].propagate_minutes(90.0));
            let (a, b) = (a.unwrap().position_km, b.unwrap().position_km);
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6));
        }
    }

    #[test]
    fn days_of_the_year_are_days() {
        let form = key_value().replace("2024-05-06T", "2024-127T");
        assert_eq!(read(&form).unwrap()[0].epoch(), read(&key_value()).unwrap()[0].epoch());
    }

    #[test]
    fn what_sgp4_would_misread_is_refused_with_its_keyword() {
        for (from, to, words) in [
            ("REF_FRAME = TEME", "REF_FRAME = EME2000", "REF_FRAME is EME2000"),
            ("CENTER_NAME = EARTH", "CENTER_NAME = MARS", "CENTER_NAME"),
            ("MEAN_MOTION = 15.50957674", "SEMI_MAJOR_AXIS = 6780", "semi-major axis"),
            ("MEAN_MOTION = 15.50957674", "MEAN_MOTION = 155", "MEAN_MOTION is '155'"),
            ("ECCENTRICITY = .0003580", "ECCENTRICITY = 1.2", "ECCENTRICITY is '1.2'"),
            ("INCLINATION = 51.6393", "INCLINATION = east", "INCLINATION is 'east'"),
            ("EPOCH = 2024-05-06T", "EPOCH = 2024-13-06T", "EPOCH"),
            ("OBJECT_NAME = ISS", "OBJECT_NAME = ", "whose elements"),
            ("MEAN_ANOMALY = 205.7250\n", "", "MEAN_ANOMALY is missing"),
        ] {
            let error = read(&key_value().replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("element set 0"), "{error}");
        }
        let short = forms()[3].replace(",.27310E-3", "");
        assert!(read(&short).unwrap_err().to_string().contains("10 fields under 11 columns"));
        assert!(read("<omm><EPOCH>").is_err());
        assert!(read("<ndm/>").unwrap_err().to_string().contains("no element set"));
    }

    proptest! {
        /// Whatever a file holds, it is read or refused.
        #[test]
        fn nothing_panics(
            form in 0usize..5,
            at in any::<prop::sample::Index>(),
            length in 0usize..12,
            put in ".{0,12}",
        ) {
            let text = forms()[form].clone();
            let letters: Vec<char> = text.chars().collect();
            let at = at.index(letters.len());
            let (before, after) = letters.split_at(at);
            let after = after.get(length..).unwrap_or_default();
            let text: String = before.iter().copied().chain(put.chars()).chain(after.iter().copied()).collect();
            let _ = read(&text);
        }
    }
}
