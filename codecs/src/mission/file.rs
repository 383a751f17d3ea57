//! The mission file: TOML that fills the definition, checked as a whole.

use super::definition::{
    Calibrator, ChannelName, ChannelPlace, Container, Definition, Encoding, Entry, FrameFormat,
    FrameKind, Limits, MERGE_WINDOW_NS_DEFAULT, Parameter, ParameterId, ParameterType, ProductName,
    Spacecraft, TimeField,
};
use super::text::TextError;
use crate::{
    ids::{Apid, SpacecraftId},
    link::custody::Durability,
};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::{format, string::String, vec::Vec};
use serde::Deserialize;
use toml::Spanned;
use work::{RuleTable, TaskTable};

mod work;

/// Why a mission file can't be used: the line and what is wrong there.
pub type DefinitionError = TextError;

/// Most parameters of a mission.
pub const MAX_PARAMETERS: usize = 1 << 20;

/// Highest degree of a calibrating polynomial plus one.
const MAX_COEFFICIENTS: usize = 16;

/// Largest frame: what the coding layers carry (CCSDS 131.0-B-5, with room).
const MAX_FRAME_BYTES: usize = 1 << 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    mission: String,
    domain: Option<String>,
    reclaimable: Option<Spanned<String>>,
    merge_window_s: Option<Spanned<f64>>,
    #[serde(default)]
    spacecraft: Vec<SpacecraftTable>,
    #[serde(default)]
    channel: Vec<Spanned<ChannelTable>>,
    #[serde(default)]
    packet: Vec<PacketTable>,
    #[serde(default)]
    product: Vec<ProductTable>,
    #[serde(default)]
    task: Vec<Spanned<TaskTable>>,
    #[serde(default)]
    rule: Vec<RuleTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SpacecraftTable {
    id: Spanned<u16>,
    name: String,
    #[serde(default)]
    frames: Vec<Spanned<FrameTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FrameTable {
    kind: Kind,
    scid: u16,
    length: usize,
    #[serde(default)]
    fecf: bool,
    #[serde(default)]
    ocf: bool,
    #[serde(default)]
    insert_zone: usize,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Aos,
    Tm,
    Uslp,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChannelTable {
    name: String,
    vc: Option<u8>,
    stream: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PacketTable {
    apid: Spanned<u16>,
    name: String,
    time: Option<Spanned<String>>,
    #[serde(default)]
    parameter: Vec<ParameterTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ParameterTable {
    name: Option<Spanned<String>>,
    #[serde(rename = "type")]
    kind: Spanned<String>,
    #[serde(default)]
    unit: String,
    polynomial: Option<Spanned<Vec<f64>>>,
    enumeration: Option<Spanned<BTreeMap<String, String>>>,
    limits: Option<Spanned<LimitsTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsTable {
    red_low: Option<f64>,
    yellow_low: Option<f64>,
    yellow_high: Option<f64>,
    red_high: Option<f64>,
    #[serde(default = "one")]
    persistence: u16,
}

fn one() -> u16 {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProductTable {
    kind: String,
    name: String,
}

/// Reads and checks a mission file.
pub(super) fn read(text: &str) -> Result<Definition, DefinitionError> {
    let file: File = toml::from_str(text).map_err(|error| TextError::from_toml(text, &error))?;
    let mut reader = Reader { text, definition: Definition::default(), names: BTreeSet::new() };
    reader.definition.domain = file.domain.unwrap_or_else(|| file.mission.clone());
    reader.definition.mission = file.mission;
    if let Some(class) = &file.reclaimable {
        reader.definition.reclaimable = reader.durability(class)?;
    }
    reader.definition.merge_window_ns = match &file.merge_window_s {
        None => MERGE_WINDOW_NS_DEFAULT,
        Some(window) => match *window.get_ref() {
            seconds @ 0.001..=3_600.0 => (seconds * 1e9) as i64,
            _ => return Err(reader.fault(window, "a window is 0.001 to 3600 seconds".into())),
        },
    };
    for table in file.spacecraft {
        reader.spacecraft(table)?;
    }
    for table in file.channel {
        reader.channel(table)?;
    }
    for table in file.packet {
        reader.packet(table)?;
    }
    let products = file.product.into_iter();
    reader.definition.products =
        products.map(|table| ProductName { kind: table.kind, name: table.name }).collect();
    for table in file.task {
        reader.task(table)?;
    }
    for table in file.rule {
        reader.rule(table)?;
    }
    Ok(reader.definition)
}

struct Reader<'a> {
    text: &'a str,
    definition: Definition,
    names: BTreeSet<String>,
}

impl Reader<'_> {
    fn fault<T>(&self, place: &Spanned<T>, message: String) -> DefinitionError {
        TextError::at(self.text, Some(place.span()), message)
    }

    fn durability(&self, class: &Spanned<String>) -> Result<Durability, DefinitionError> {
        let name = class.get_ref().as_str();
        Durability::named(name).ok_or_else(|| {
            let why = match name {
                "replicated" => "is reserved: nothing gives such receipts yet",
                _ => "is no class",
            };
            let known = "reclaimable is \"local\" or \"object-store\"";
            self.fault(class, format!("{name:?} {why}; {known}"))
        })
    }

    fn spacecraft(&mut self, table: SpacecraftTable) -> Result<(), DefinitionError> {
        let id = SpacecraftId(*table.id.get_ref());
        if self.definition.spacecraft.iter().any(|craft| craft.id == id) {
            return Err(self.fault(&table.id, format!("spacecraft {} is already there", id.0)));
        }
        let mut frames = Vec::new();
        for place in &table.frames {
            let frame = place.get_ref();
            let (kind, scid_max) = match frame.kind {
                // 732.0-B-5 §4.1.2.2.3 and 132.0-B-3 §4.1.2.2.3: 8 and 10 bits.
                Kind::Aos => (FrameKind::Aos, 0xFF),
                Kind::Tm => (FrameKind::Tm, 0x3FF),
                // 732.1-B-3 §4.1.2.2.3: 16 bits.
                Kind::Uslp => (FrameKind::Uslp, 0xFFFF),
            };
            if frame.scid > scid_max {
                let message = format!("scid {} is above {scid_max}", frame.scid);
                return Err(self.fault(place, message));
            }
            let header = match frame.kind {
                Kind::Aos | Kind::Tm => 6,
                // With a count of a byte, and the header of the data field.
                Kind::Uslp => crate::frame::uslp::HEADER_BYTES + 2,
            };
            let overhead = header + frame.insert_zone + 2 * usize::from(frame.fecf);
            if frame.length <= overhead + 4 * usize::from(frame.ocf)
                || frame.length > MAX_FRAME_BYTES
            {
                return Err(self.fault(place, format!("a frame can't have {} bytes", frame.length)));
            }
            let taken = frames
                .iter()
                .any(|other: &FrameFormat| other.kind == kind && other.scid == frame.scid);
            if taken || self.definition.frame_owner(kind.version(), frame.scid).is_some() {
                let message = format!("frames with scid {} already belong somewhere", frame.scid);
                return Err(self.fault(place, message));
            }
            frames.push(FrameFormat {
                kind,
                scid: frame.scid,
                length: frame.length,
                fecf: frame.fecf,
                ocf: frame.ocf,
                insert_zone: frame.insert_zone,
            });
        }
        self.definition.spacecraft.push(Spacecraft { id, name: table.name, frames });
        Ok(())
    }

    fn channel(&mut self, table: Spanned<ChannelTable>) -> Result<(), DefinitionError> {
        let place = match (table.get_ref().vc, table.get_ref().stream) {
            (Some(vc), None) if vc < 64 => ChannelPlace::Virtual(vc),
            (None, Some(stream)) => ChannelPlace::Stream(stream),
            _ => {
                let message = "a channel has either `vc` (0 to 63) or `stream`";
                return Err(self.fault(&table, message.into()));
            }
        };
        self.definition.channels.push(ChannelName { name: table.into_inner().name, place });
        Ok(())
    }

    fn packet(&mut self, table: PacketTable) -> Result<(), DefinitionError> {
        let apid = Apid(*table.apid.get_ref());
        // 2047 is the idle packet's (CCSDS 133.0-B-2 §4.1.3.3.4.4).
        if apid.0 >= 2047 {
            return Err(self.fault(&table.apid, format!("apid {} is above 2046", apid.0)));
        }
        if self.definition.containers.iter().any(|container| container.apid == apid) {
            return Err(self.fault(&table.apid, format!("apid {} is already described", apid.0)));
        }
        let time = table.time.as_ref().map(|text| self.time_field(text)).transpose()?;
        let mut entries = Vec::new();
        for parameter in table.parameter {
            entries.push(self.entry(parameter)?);
        }
        self.definition.containers.push(Container { name: table.name, apid, time, entries });
        Ok(())
    }

    fn time_field(&self, text: &Spanned<String>) -> Result<TimeField, DefinitionError> {
        let octets = text.get_ref().strip_prefix("cuc:").and_then(|rest| rest.split_once(':'));
        let octets =
            octets.and_then(|(coarse, fine)| Some((coarse.parse().ok()?, fine.parse().ok()?)));
        match octets {
            Some((coarse @ 1..=4, fine @ 0..=3)) => Ok(TimeField::Cuc { coarse, fine }),
            _ => Err(self.fault(
                text,
                format!(
                    "time {:?}; known is \"cuc:C:F\" with 1 to 4 and 0 to 3 octets",
                    text.get_ref()
                ),
            )),
        }
    }

    fn entry(&mut self, table: ParameterTable) -> Result<Entry, DefinitionError> {
        let kind = table.kind.get_ref().as_str();
        if let Some(bits) = kind.strip_prefix("skip:") {
            return match bits.parse() {
                Ok(bits @ 1..=524_288) => Ok(Entry::Skip { bits }),
                _ => Err(self.fault(&table.kind, format!("can't skip {bits:?} bits"))),
            };
        }
        let encoding = encoding(kind).ok_or_else(|| {
            let message = format!(
                "type {kind:?}; known are u8 to u64, i8 to i64, f32, f64, \"bits:N\", \"skip:N\""
            );
            self.fault(&table.kind, message)
        })?;
        let Some(name) = &table.name else {
            return Err(self.fault(&table.kind, "a parameter needs a name".into()));
        };
        let id = ParameterId(self.definition.parameters.len() as u32);
        if self.definition.parameters.len() >= MAX_PARAMETERS {
            return Err(self.fault(name, format!("more than {MAX_PARAMETERS} parameters")));
        }
        if name.get_ref().is_empty() || !self.names.insert(name.get_ref().clone()) {
            let message = format!("parameter {:?} is already there", name.get_ref());
            return Err(self.fault(name, message));
        }
        let kind = ParameterType {
            encoding,
            calibrator: self.calibrator(table.polynomial.as_ref())?,
            enumeration: self.enumeration(table.enumeration.as_ref(), encoding)?,
            unit: table.unit,
        };
        let limits = table.limits.as_ref().map(|limits| self.limits(limits)).transpose()?;
        let types = &mut self.definition.types;
        let place = types.iter().position(|other| *other == kind).unwrap_or_else(|| {
            types.push(kind);
            types.len() - 1
        });
        let name = name.get_ref().clone();
        self.definition.parameters.push(Parameter { name, kind: place, limits });
        Ok(Entry::Parameter(id))
    }

    fn calibrator(
        &self,
        coefficients: Option<&Spanned<Vec<f64>>>,
    ) -> Result<Calibrator, DefinitionError> {
        let Some(place) = coefficients else { return Ok(Calibrator::Identity) };
        let values = place.get_ref();
        if values.is_empty() || values.len() > MAX_COEFFICIENTS {
            let message = format!("a polynomial has 1 to {MAX_COEFFICIENTS} coefficients");
            return Err(self.fault(place, message));
        }
        if !values.iter().all(|value| value.is_finite()) {
            return Err(self.fault(place, "a coefficient is not a finite number".into()));
        }
        Ok(Calibrator::Polynomial(values.as_slice().into()))
    }

    fn enumeration(
        &self,
        texts: Option<&Spanned<BTreeMap<String, String>>>,
        encoding: Encoding,
    ) -> Result<alloc::boxed::Box<[(i64, String)]>, DefinitionError> {
        let Some(place) = texts else { return Ok([].into()) };
        if matches!(encoding, Encoding::F32 | Encoding::F64) {
            return Err(self.fault(place, "only integers have an enumeration".into()));
        }
        let mut rows = Vec::new();
        for (key, text) in place.get_ref() {
            let value = key.parse::<i64>().map_err(|_| {
                self.fault(place, format!("{key:?} is no raw value of an enumeration"))
            })?;
            rows.push((value, text.clone()));
        }
        rows.sort();
        if rows.windows(2).any(|pair| matches!(pair, [a, b] if a.0 == b.0)) {
            return Err(self.fault(place, "a raw value of the enumeration stands twice".into()));
        }
        Ok(rows.into())
    }

    fn limits(&self, place: &Spanned<LimitsTable>) -> Result<Limits, DefinitionError> {
        let table = place.get_ref();
        let steps = [table.red_low, table.yellow_low, table.yellow_high, table.red_high];
        let mut last = f64::NEG_INFINITY;
        for step in steps.into_iter().flatten() {
            if step.is_nan() || step < last {
                let message = "limits must rise: red_low, yellow_low, yellow_high, red_high";
                return Err(self.fault(place, message.into()));
            }
            last = step;
        }
        if table.persistence == 0 {
            return Err(self.fault(place, "persistence is at least 1 sample".into()));
        }
        Ok(Limits {
            red_low: table.red_low,
            yellow_low: table.yellow_low,
            yellow_high: table.yellow_high,
            red_high: table.red_high,
            persistence: table.persistence,
        })
    }
}

fn encoding(text: &str) -> Option<Encoding> {
    Some(match text {
        "u8" => Encoding::Unsigned { bits: 8 },
        "u16" => Encoding::Unsigned { bits: 16 },
        "u24" => Encoding::Unsigned { bits: 24 },
        "u32" => Encoding::Unsigned { bits: 32 },
        "u64" => Encoding::Unsigned { bits: 64 },
        "i8" => Encoding::Signed { bits: 8 },
        "i16" => Encoding::Signed { bits: 16 },
        "i24" => Encoding::Signed { bits: 24 },
        "i32" => Encoding::Signed { bits: 32 },
        "i64" => Encoding::Signed { bits: 64 },
        "f32" => Encoding::F32,
        "f64" => Encoding::F64,
        other => match other.strip_prefix("bits:")?.parse() {
            Ok(bits @ 1..=64) => Encoding::Unsigned { bits },
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests;
