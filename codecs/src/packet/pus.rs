//! Secondary headers of the packet utilisation standard, in its issues A (ECSS-E-70-41A) and C
//! (ECSS-E-ST-70-41C).
//!
//! Optional fields and the form of the time are the mission's choice, so a reader needs a layout.
//! Time packets (APID 0) and idle packets carry no such header. The CRC-16 that may end a packet
//! is [`crc16`](crate::fec::crc::crc16); whether an application sends one, the mission says.

use alloc::vec::Vec;

/// Most bytes of time or of spare bytes that a layout may ask for.
pub const MAX_FIELD_BYTES: usize = 32;

/// Which issue, and the optional fields of issue A.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issue {
    /// ECSS-E-70-41A: version 1, identifiers of one byte, each of which may be absent.
    A {
        /// Telemetry counts its packets in a byte.
        counter: bool,
        /// Telemetry names its destination, telecommands their source.
        peer: bool,
    },
    /// ECSS-E-ST-70-41C: version 2, identifiers and counters of two bytes, always there.
    C,
}

/// What a mission's secondary headers look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Issue of the standard.
    pub issue: Issue,
    /// Length of the time in telemetry, at most [`MAX_FIELD_BYTES`].
    pub time: usize,
    /// Length of the spare bytes at the end, at most [`MAX_FIELD_BYTES`].
    pub spare: usize,
}

impl Layout {
    /// Issue C with a time of this length and no spare bytes.
    pub const fn issue_c(time: usize) -> Self {
        Self { issue: Issue::C, time, spare: 0 }
    }

    const fn version(&self) -> u8 {
        match self.issue {
            Issue::A { .. } => 1,
            Issue::C => 2,
        }
    }

    fn checked(&self) -> Result<(), PusError> {
        let fits = self.time <= MAX_FIELD_BYTES && self.spare <= MAX_FIELD_BYTES;
        if fits { Ok(()) } else { Err(PusError::Layout) }
    }
}

/// Why bytes hold no such header, or one can't be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PusError {
    /// The data ends within the header.
    #[error("{found} bytes end within the secondary header, in its {field}")]
    Short {
        /// First field that is not whole.
        field: &'static str,
        /// Bytes there are.
        found: usize,
    },
    /// Another issue of the standard.
    #[error("version {found} of the packet utilisation standard where {expected} is configured")]
    Version {
        /// Configured version.
        expected: u8,
        /// Version in the header.
        found: u8,
    },
    /// A value does not fit its field, or the layout has no such field.
    #[error("{0} does not fit the configured header")]
    Field(&'static str),
    /// The layout itself is out of bounds.
    #[error("time and spare bytes are at most {MAX_FIELD_BYTES} each")]
    Layout,
}

/// The acknowledgements that a telecommand asks for (ECSS-E-ST-70-41C §7.4.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acknowledge(pub u8);

impl Acknowledge {
    /// Of acceptance.
    pub const ACCEPTANCE: Self = Self(0b0001);
    /// Of the start of execution.
    pub const START: Self = Self(0b0010);
    /// Of progress.
    pub const PROGRESS: Self = Self(0b0100);
    /// Of completion.
    pub const COMPLETION: Self = Self(0b1000);
    /// All four.
    pub const ALL: Self = Self(0b1111);

    /// Whether all of `other` is asked for.
    pub const fn asks(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The secondary header of a telecommand (ECSS-E-70-41A §5.3, ECSS-E-ST-70-41C §7.4.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcSecondary {
    /// Acknowledgements asked for.
    pub acknowledge: Acknowledge,
    /// Service type.
    pub service: u8,
    /// Message subtype within the service.
    pub subtype: u8,
    /// Who sent it, where the layout has the field; one byte in issue A.
    pub source: Option<u16>,
}

impl TcSecondary {
    /// Reads the header off the data of a packet; hands back what follows.
    pub fn read<'a>(data: &'a [u8], layout: &Layout) -> Result<(Self, &'a [u8]), PusError> {
        layout.checked()?;
        let mut fields = Fields { rest: data, found: data.len() };
        let acknowledge = Acknowledge(fields.version(layout)?);
        let [service, subtype] = fields.array("service")?;
        let source = match layout.issue {
            Issue::A { peer, .. } => fields.byte_if(peer, "source")?,
            Issue::C => Some(u16::from_be_bytes(fields.array("source")?)),
        };
        fields.take(layout.spare, "spare bytes")?;
        Ok((Self { acknowledge, service, subtype, source }, fields.rest))
    }

    /// Writes the header.
    pub fn write(&self, layout: &Layout, to: &mut Vec<u8>) -> Result<(), PusError> {
        layout.checked()?;
        if self.acknowledge.0 > 0x0F {
            return Err(PusError::Field("acknowledge"));
        }
        let source = match layout.issue {
            Issue::A { peer, .. } => Short::byte(self.source, peer, "source")?,
            Issue::C => Short::word(self.source, "source")?,
        };
        to.extend_from_slice(&[layout.version() << 4 | self.acknowledge.0]);
        to.extend_from_slice(&[self.service, self.subtype]);
        source.append(to);
        to.resize(to.len() + layout.spare, 0);
        Ok(())
    }
}

/// The secondary header of telemetry (ECSS-E-70-41A §5.4, ECSS-E-ST-70-41C §7.4.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TmSecondary<'a> {
    /// How far the spacecraft's time may be trusted; four bits of issue C.
    pub time_status: u8,
    /// Service type.
    pub service: u8,
    /// Message subtype within the service.
    pub subtype: u8,
    /// Count of messages of this type (C) or packets of this subtype (A), where there is one. In
    /// issue C it counts for each destination by itself.
    pub counter: Option<u16>,
    /// Who it is for, where the layout has the field; one byte in issue A.
    pub destination: Option<u16>,
    /// Time, in the mission's code: see [`crate::time`].
    pub time: &'a [u8],
}

impl<'a> TmSecondary<'a> {
    /// Reads the header off the data of a packet; hands back what follows.
    pub fn read(data: &'a [u8], layout: &Layout) -> Result<(Self, &'a [u8]), PusError> {
        layout.checked()?;
        let mut fields = Fields { rest: data, found: data.len() };
        let time_status = fields.version(layout)?;
        let [service, subtype] = fields.array("service")?;
        let (counter, destination) = match layout.issue {
            Issue::A { counter, peer } => {
                (fields.byte_if(counter, "counter")?, fields.byte_if(peer, "destination")?)
            }
            Issue::C => (
                Some(u16::from_be_bytes(fields.array("counter")?)),
                Some(u16::from_be_bytes(fields.array("destination")?)),
            ),
        };
        let time = fields.take(layout.time, "time")?;
        fields.take(layout.spare, "spare bytes")?;
        // Four spare bits in issue A; senders that fill them mean nothing by it.
        let time_status = if layout.issue == Issue::C { time_status } else { 0 };
        Ok((Self { time_status, service, subtype, counter, destination, time }, fields.rest))
    }

    /// Writes the header.
    pub fn write(&self, layout: &Layout, to: &mut Vec<u8>) -> Result<(), PusError> {
        layout.checked()?;
        let most = if layout.issue == Issue::C { 0x0F } else { 0 };
        if self.time_status > most {
            return Err(PusError::Field("time status"));
        }
        if self.time.len() != layout.time {
            return Err(PusError::Field("time"));
        }
        let (counter, destination) = match layout.issue {
            Issue::A { counter, peer } => (
                Short::byte(self.counter, counter, "counter")?,
                Short::byte(self.destination, peer, "destination")?,
            ),
            Issue::C => (
                Short::word(self.counter, "counter")?,
                Short::word(self.destination, "destination")?,
            ),
        };
        to.extend_from_slice(&[layout.version() << 4 | self.time_status]);
        to.extend_from_slice(&[self.service, self.subtype]);
        counter.append(to);
        destination.append(to);
        to.extend_from_slice(self.time);
        to.resize(to.len() + layout.spare, 0);
        Ok(())
    }
}

/// A field of no, one or two bytes, checked before anything is written.
enum Short {
    None,
    Byte(u8),
    Word(u16),
}

impl Short {
    fn byte(value: Option<u16>, present: bool, field: &'static str) -> Result<Self, PusError> {
        match (value.map(u8::try_from), present) {
            (None, false) => Ok(Self::None),
            (Some(Ok(value)), true) => Ok(Self::Byte(value)),
            _ => Err(PusError::Field(field)),
        }
    }

    fn word(value: Option<u16>, field: &'static str) -> Result<Self, PusError> {
        value.map(Self::Word).ok_or(PusError::Field(field))
    }

    fn append(self, to: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Byte(value) => to.push(value),
            Self::Word(value) => to.extend_from_slice(&value.to_be_bytes()),
        }
    }
}

/// Takes fields off the front.
struct Fields<'a> {
    rest: &'a [u8],
    found: usize,
}

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], PusError> {
        let short = PusError::Short { field, found: self.found };
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], PusError> {
        let short = PusError::Short { field, found: self.found };
        self.take(N, field)?.try_into().map_err(|_| short)
    }

    fn byte_if(&mut self, there: bool, field: &'static str) -> Result<Option<u16>, PusError> {
        if !there {
            return Ok(None);
        }
        let [byte] = self.array(field)?;
        Ok(Some(byte.into()))
    }

    /// The version, checked, and the four bits behind it. Issue A's version has three bits behind
    /// a bit that is always 0, so both issues read as four.
    fn version(&mut self, layout: &Layout) -> Result<u8, PusError> {
        let [first] = self.array("version")?;
        let (expected, found) = (layout.version(), first >> 4);
        if found == expected {
            Ok(first & 0x0F)
        } else {
            Err(PusError::Version { expected, found })
        }
    }
}

#[cfg(test)]
mod tests;
