//! Decode plans: what a packet's bytes become, settled once and run without allocating.
//!
//! **Panics:** none, whatever the packet; a packet shorter than its plan gives the parameters that
//! are whole and says so.

use super::definition::{
    Calibrator, Definition, Encoding, Entry, ParameterId, ParameterType, TimeField,
};
use crate::ids::Apid;
use crate::time::Tai;
use alloc::{boxed::Box, collections::BTreeMap, string::String, vec::Vec};

/// Length of the primary header (CCSDS 133.0-B-2 §4.1.3).
const PRIMARY_HEADER_BYTES: usize = 6;

/// Decode plans of a mission, by APID.
#[derive(Clone, Debug)]
pub struct Plans {
    by_apid: BTreeMap<Apid, Plan>,
}

#[derive(Clone, Debug)]
struct Plan {
    time: Option<TimeField>,
    fields: Box<[Field]>,
}

#[derive(Clone, Debug)]
struct Field {
    parameter: ParameterId,
    encoding: Encoding,
    /// From the first bit of the packet.
    start_bit: u32,
    polynomial: Box<[f64]>,
    enumeration: Box<[(i64, String)]>,
}

/// A value as the packet has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Raw {
    /// Unsigned integer.
    Unsigned(u64),
    /// Signed integer.
    Signed(i64),
    /// Floating point.
    Float(f64),
}

impl Raw {
    /// The nearest binary64.
    pub fn to_f64(self) -> f64 {
        match self {
            Self::Unsigned(value) => value as f64,
            Self::Signed(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    fn to_i64(self) -> Option<i64> {
        match self {
            Self::Unsigned(value) => i64::try_from(value).ok(),
            Self::Signed(value) => Some(value),
            Self::Float(_) => None,
        }
    }
}

/// One parameter out of one packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// Which parameter.
    pub parameter: ParameterId,
    /// Onboard time of the packet, or the fallback where it has none.
    pub time: Tai,
    /// As it stands in the packet.
    pub raw: Raw,
    /// In engineering units.
    pub value: f64,
    /// Text of an enumerated value.
    pub text: Option<&'a str>,
}

/// What was found out about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Application process.
    pub apid: Apid,
    /// Sequence count (or packet name), 14 bits.
    pub sequence_count: u16,
    /// Onboard time, where the packet has one.
    pub time: Option<Tai>,
    /// Parameters given.
    pub samples: usize,
    /// Parameters that the packet was too short for.
    pub missing: usize,
}

/// Why a packet can't be decoded at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Its length is not what its header says, or less than a header.
    #[error("a packet of {found} bytes whose header says {stated}")]
    Length {
        /// What the header says; 0 where there is no header.
        stated: usize,
        /// Bytes there are.
        found: usize,
    },
    /// The mission doesn't describe it.
    #[error("apid {} is not described by the mission", .0.0)]
    Apid(Apid),
    /// The mission says that it has a secondary header; the packet says that it has none.
    #[error("a packet of apid {} without the secondary header that the mission describes", .0.0)]
    NoTime(Apid),
}

impl Plans {
    pub(super) fn new(definition: &Definition) -> Self {
        let plan = |container: &super::definition::Container| {
            let time_bytes = container.time.map_or(0, TimeField::bytes);
            let mut bit = 8 * (PRIMARY_HEADER_BYTES + time_bytes) as u32;
            let mut fields = Vec::new();
            for entry in &container.entries {
                match *entry {
                    Entry::Skip { bits } => bit = bit.saturating_add(bits),
                    Entry::Parameter(parameter) => {
                        let Some(kind) = definition.type_of(parameter) else { continue };
                        fields.push(Field::new(parameter, kind, bit));
                        bit = bit.saturating_add(kind.encoding.bits());
                    }
                }
            }
            (container.apid, Plan { time: container.time, fields: fields.into() })
        };
        Self { by_apid: definition.containers.iter().map(plan).collect() }
    }

    /// Decodes a packet; see [`Plans::decode_or_at`].
    pub fn decode<'a>(
        &'a self,
        packet: &[u8],
        sink: &mut impl FnMut(Sample<'a>),
    ) -> Result<Decoded, PlanError> {
        self.decode_or_at(packet, Tai::default(), sink)
    }

    /// Decodes a packet and gives its parameters in order.
    ///
    /// Samples of packets without a time get `fallback`, such as the earth receive time.
    pub fn decode_or_at<'a>(
        &'a self,
        packet: &[u8],
        fallback: Tai,
        sink: &mut impl FnMut(Sample<'a>),
    ) -> Result<Decoded, PlanError> {
        let (plan, mut decoded) = self.open(packet)?;
        let time = decoded.time.unwrap_or(fallback);
        for field in &plan.fields {
            let Some(raw) = field.read(packet) else {
                decoded.missing += 1;
                continue;
            };
            decoded.samples += 1;
            sink(Sample {
                parameter: field.parameter,
                time,
                raw,
                value: field.calibrate(raw),
                text: field.text(raw),
            });
        }
        Ok(decoded)
    }

    /// Reads headers and time only; `samples` and `missing` are 0.
    pub fn identify(&self, packet: &[u8]) -> Result<Decoded, PlanError> {
        self.open(packet).map(|(_, decoded)| decoded)
    }

    fn open(&self, packet: &[u8]) -> Result<(&Plan, Decoded), PlanError> {
        let found = packet.len();
        let Some((header, _)) = packet.split_first_chunk::<PRIMARY_HEADER_BYTES>() else {
            return Err(PlanError::Length { stated: 0, found });
        };
        let [id_high, id_low, count_high, count_low, length_high, length_low] = *header;
        let stated =
            PRIMARY_HEADER_BYTES + 1 + usize::from(u16::from_be_bytes([length_high, length_low]));
        if stated != found {
            return Err(PlanError::Length { stated, found });
        }
        let apid = Apid(u16::from_be_bytes([id_high, id_low]) & 0x07FF);
        let sequence_count = u16::from_be_bytes([count_high, count_low]) & 0x3FFF;
        let plan = self.by_apid.get(&apid).ok_or(PlanError::Apid(apid))?;
        let has_secondary = id_high & 0x08 != 0;
        let time = match plan.time {
            Some(_) if !has_secondary => return Err(PlanError::NoTime(apid)),
            Some(field) => read_time(field, packet),
            None => None,
        };
        Ok((plan, Decoded { apid, sequence_count, time, samples: 0, missing: 0 }))
    }
}

/// Reads the secondary header's time; shorter codes are the middle of the longest.
fn read_time(field: TimeField, packet: &[u8]) -> Option<Tai> {
    let TimeField::Cuc { coarse, fine } = field;
    let (coarse, fine) = (usize::from(coarse), usize::from(fine));
    let bytes = packet.get(PRIMARY_HEADER_BYTES..PRIMARY_HEADER_BYTES + coarse + fine)?;
    let mut cuc = [0u8; 7];
    cuc.get_mut(4usize.checked_sub(coarse)?..4 + fine)?.copy_from_slice(bytes);
    Some(Tai::from_cuc43(cuc))
}

impl Field {
    fn new(parameter: ParameterId, kind: &ParameterType, start_bit: u32) -> Self {
        let polynomial = match &kind.calibrator {
            Calibrator::Identity => Box::default(),
            Calibrator::Polynomial(coefficients) => coefficients.clone(),
        };
        let enumeration = kind.enumeration.clone();
        Self { parameter, encoding: kind.encoding, start_bit, polynomial, enumeration }
    }

    fn read(&self, packet: &[u8]) -> Option<Raw> {
        let bits = read_bits(packet, self.start_bit, self.encoding.bits())?;
        Some(match self.encoding {
            Encoding::Unsigned { .. } => Raw::Unsigned(bits),
            Encoding::Signed { bits: width } => {
                let spare = 64 - u32::from(width);
                Raw::Signed(((bits << spare) as i64) >> spare)
            }
            Encoding::F32 => Raw::Float(f64::from(f32::from_bits(bits as u32))),
            Encoding::F64 => Raw::Float(f64::from_bits(bits)),
        })
    }

    fn calibrate(&self, raw: Raw) -> f64 {
        let raw = raw.to_f64();
        match &*self.polynomial {
            [] => raw,
            coefficients => coefficients.iter().rev().fold(0.0, |sum, c| sum * raw + c),
        }
    }

    fn text(&self, raw: Raw) -> Option<&str> {
        if self.enumeration.is_empty() {
            return None;
        }
        let raw = raw.to_i64()?;
        let place = self.enumeration.binary_search_by_key(&raw, |row| row.0).ok()?;
        self.enumeration.get(place).map(|row| row.1.as_str())
    }
}

/// `count` (1 to 64) bits from `start`, most significant first; `None` where the packet ends.
fn read_bits(packet: &[u8], start: u32, count: u32) -> Option<u64> {
    let end = start.checked_add(count)?;
    let bytes = packet.get((start / 8) as usize..end.div_ceil(8) as usize)?;
    // 64 bits that begin within a byte lie in 9 bytes.
    let word = bytes.iter().fold(0u128, |word, byte| (word << 8) | u128::from(*byte));
    let behind = end.div_ceil(8) * 8 - end;
    Some(((word >> behind) as u64) & (u64::MAX >> 64u32.checked_sub(count)?))
}

#[cfg(test)]
mod tests;
