//! Transfer frames: fixed-length blocks on the air, and the packets that they carry.
//!
//! ```text
//! cadu (marked, coded, randomised ► frames), cltu (command units ► frames)
//! ax25 (where an amateur's frame keeps its load)
//! tm, aos, uslp, tc (one frame in place) ─► extract (frames ► packets, units) ─► counts
//! packets ─► pack (packets ► zones) ─► tm, aos builders; clcw (what frames tell of commands)
//! ```
//!
//! Panic contract: views are made by a checked constructor, and nothing afterwards panics,
//! whatever the bytes.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod cadu;
pub mod tm;
pub mod aos;
pub mod uslp;
pub mod tc;
pub mod ax25;
pub mod cltu;
pub mod clcw;
pub mod extract;
pub mod guess;
pub mod counts;
pub mod pack;

use self::cadu::Coding;
use self::cltu::CltuCoding;
use crate::ids::Channel;
use crate::sync::marker::Marker;
use core::{fmt, ops::Range, str::FromStr};

/// Longest frame accepted anywhere: a bound on buffers, above what the books allow per code.
pub const MAX_FRAME_BYTES: usize = 65_536;

/// Length of the operational control field (CCSDS 132.0-B-3 §4.1.5).
pub const OCF_BYTES: usize = 4;

/// A global virtual channel, and the access point in it where frames tell one: counters belong to
/// the channel, what is in progress to the access point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualChannel {
    /// Transfer frame version number: 0 TM and TC, 1 AOS, 12 USLP.
    pub version: u8,
    /// Spacecraft identifier as the frame carries it.
    pub scid: u16,
    /// Virtual channel identifier.
    pub vcid: u8,
    /// Multiplexer access point of TC and USLP; 0 in frames without one.
    pub map: u8,
}

impl From<VirtualChannel> for Channel {
    fn from(channel: VirtualChannel) -> Self {
        Self::virtual_channel(channel.version, channel.scid, channel.vcid, channel.map)
    }
}

/// What the first header pointer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FirstHeader {
    /// The first packet that starts in the frame starts at this byte of the packet zone; to
    /// [`Self::MAX`], but to 65,534 in USLP, whose pointer has sixteen bits.
    At(u16),
    /// No packet starts here: the zone goes on with one that started earlier.
    NoStart,
    /// Only idle data. A packet in progress goes on in a later frame
    /// (CCSDS 132.0-B-3 §4.1.4.6.3 note 3 permits it).
    IdleData,
}

impl FirstHeader {
    const NO_START: u16 = 0x7FF;
    const IDLE_DATA: u16 = 0x7FE;
    /// Highest byte that a pointer of eleven bits can name.
    pub const MAX: u16 = 0x7FD;

    /// Reads eleven bits (CCSDS 132.0-B-3 §4.1.2.7.6, 732.0-B-4 §4.1.4.2.3).
    pub const fn from_bits(bits: u16) -> Self {
        match bits & 0x7FF {
            Self::NO_START => Self::NoStart,
            Self::IDLE_DATA => Self::IdleData,
            at => Self::At(at),
        }
    }

    /// The eleven bits.
    pub const fn bits(self) -> u16 {
        match self {
            Self::At(at) => at & 0x7FF,
            Self::NoStart => Self::NO_START,
            Self::IdleData => Self::IDLE_DATA,
        }
    }
}

/// Why bytes are no frame of the kind expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Another length than the physical channel's.
    #[error("a frame of {found} bytes where {expected} are configured")]
    Length {
        /// Configured length.
        expected: usize,
        /// Bytes there are.
        found: usize,
    },
    /// Another transfer frame version.
    #[error("transfer frame version {found} where {expected} is configured")]
    Version {
        /// Configured version.
        expected: u8,
        /// Version in the header.
        found: u8,
    },
    /// A USLP frame with the four-byte header, which tells neither its length nor its fields.
    #[error("a truncated USLP frame, whose length only the mission knows: configure it")]
    Truncated,
    /// A truncated USLP frame whose data is not made of whole units.
    #[error("a truncated USLP frame of construction rule {0} where only 7 is allowed")]
    TruncatedRule(u8),
    /// Neither data nor a command, by flags whose combination is reserved.
    #[error("a sequence-controlled control command, which nobody may send (232.0-B-4 §4.1.2.3)")]
    ReservedType,
    /// More symbols of the header are wrong than its error control corrects.
    #[error("the header is beyond what its error control corrects: whose it is can't be known")]
    HeaderControl,
    /// A pointer into the data zone leaves it.
    #[error("a pointer to byte {pointer} of a data zone of {zone}")]
    Pointer {
        /// Byte that it names.
        pointer: usize,
        /// Length of the zone.
        zone: usize,
    },
    /// The configured or announced fields leave no room for data.
    #[error("headers and trailers of {overhead} bytes fill the frame of {length}")]
    NoRoom {
        /// Bytes that headers and trailers need.
        overhead: usize,
        /// Length of the frame.
        length: usize,
    },
}

/// Why frames can't be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The packet zone is empty, or longer than a first header pointer can reach.
    #[error("a packet zone of {0} bytes; a first header pointer reaches 1 to 2046")]
    Zone(usize),
    /// An identifier does not fit its field.
    #[error("{field} {value} is over {max}")]
    Identifier {
        /// Which field.
        field: &'static str,
        /// Value asked for.
        value: u16,
        /// Highest value.
        max: u16,
    },
    /// The bytes are not exactly one packet, so no receiver could find the next.
    #[error("the {0} bytes are not exactly one packet")]
    NotAPacket(usize),
    /// The data is empty or longer than the frame's length field can say.
    #[error("{length} bytes of data; this frame holds 1 to {max}")]
    Data {
        /// Bytes asked for.
        length: usize,
        /// Most that fit.
        max: usize,
    },
    /// The channel is configured to carry something else than packets.
    #[error("virtual channel {0} is configured to carry no packets")]
    Service(u8),
}

/// Kinds of frame that [`extract::Extractor`] reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Telemetry transfer frames (CCSDS 132.0-B-3).
    Tm,
    /// Advanced orbiting systems (CCSDS 732.0-B-5).
    Aos,
    /// Unified space data link (CCSDS 732.1-B-3).
    Uslp,
    /// Telecommand transfer frames (CCSDS 232.0-B-4).
    Tc,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tm, Self::Aos, Self::Uslp, Self::Tc];

    /// Its name, as users write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tm => "tm",
            Self::Aos => "aos",
            Self::Uslp => "uslp",
            Self::Tc => "tc",
        }
    }
}

/// How frames lie in the stream that carries them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// End to end, with nothing between.
    Bare,
    /// In channel access data units.
    Cadus {
        /// What stands before each.
        marker: Marker,
        /// What was done to the frames.
        coding: Coding,
    },
    /// In command units.
    Cltus(CltuCoding),
}

/// Kind and length of the frames of a recording or channel, as users write it: `aos:1113`, or
/// `tc` where frames are of different lengths and each tells its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Which standard.
    pub kind: Kind,
    /// Length of every frame in bytes, at most [`MAX_FRAME_BYTES`]; `None` where they differ,
    /// which only USLP and TC know.
    pub length: Option<usize>,
}

impl Format {
    /// The longest frame there can be.
    pub const fn max_length(&self) -> usize {
        match (self.kind, self.length) {
            (_, Some(length)) => length,
            (Kind::Tc, None) => tc::MAX_BYTES,
            (_, None) => MAX_FRAME_BYTES,
        }
    }

    /// How many bytes the frame takes that starts at the first byte: the fixed length, or what
    /// the frame's header says. `None` where the header is cut or none of this kind.
    pub fn extent(&self, bytes: &[u8]) -> Option<usize> {
        match (self.kind, self.length) {
            (_, Some(length)) => Some(length),
            (Kind::Uslp, None) => uslp::extent(bytes),
            (Kind::Tc, None) => tc::extent(bytes),
            (Kind::Tm | Kind::Aos, None) => None,
        }
    }
}

/// Why a text names no [`Format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Neither a kind nor `kind:length`.
    #[error("expected aos:LENGTH, tm:LENGTH, uslp:LENGTH, uslp or tc, for example aos:1113")]
    Shape,
    /// Too short for a header and a byte, or over the bound.
    #[error("a frame is 16 to {MAX_FRAME_BYTES} bytes long")]
    Length,
    /// TM and AOS frames of unknown length.
    #[error("{} frames do not tell their length: write {}:LENGTH", .0.name(), .0.name())]
    NoLength(Kind),
    /// TC frames of a fixed length.
    #[error("tc frames tell their length, each its own: write tc alone")]
    OwnLength,
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let (kind, length) = match text.split_once(':') {
            Some((kind, length)) => (kind, Some(length)),
            None => (text, None),
        };
        let kind = Kind::ALL.into_iter().find(|known| known.name() == kind);
        let kind = kind.ok_or(FormatError::Shape)?;
        let length = match (kind, length) {
            (Kind::Uslp | Kind::Tc, None) => return Ok(Self { kind, length: None }),
            (Kind::Tm | Kind::Aos, None) => return Err(FormatError::NoLength(kind)),
            (Kind::Tc, Some(_)) => return Err(FormatError::OwnLength),
            (_, Some(length)) => length.parse().map_err(|_| FormatError::Shape)?,
        };
        if !(16..=MAX_FRAME_BYTES).contains(&length) {
            return Err(FormatError::Length);
        }
        Ok(Self { kind, length: Some(length) })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        self.length.map_or(Ok(()), |length| write!(f, ":{length}"))
    }
}

/// The range from `start` to the trailer, unless nothing is left between them.
fn room(length: usize, start: usize, trailer: usize) -> Result<Range<usize>, FrameError> {
    let full = FrameError::NoRoom { overhead: start.saturating_add(trailer), length };
    let end = length.checked_sub(trailer).ok_or(full)?;
    if start < end { Ok(start..end) } else { Err(full) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn formats_read_their_own_text() {
        let format: Format = "aos:1113".parse().unwrap();
        assert_eq!(format, Format { kind: Kind::Aos, length: Some(1113) });
        for text in ["aos:1113", "tm:1115", "uslp:100", "uslp", "tc"] {
            assert_eq!(text.parse::<Format>().unwrap().to_string(), text);
        }
        for text in ["", "aos:", "aos:x", "spp:100", "AOS:1113", "aos:-5", "aos:1113:2", ":16"] {
            assert_eq!(text.parse::<Format>(), Err(FormatError::Shape), "{text}");
        }
        assert_eq!("tm".parse::<Format>(), Err(FormatError::NoLength(Kind::Tm)));
        assert_eq!("tc:200".parse::<Format>(), Err(FormatError::OwnLength));
        let error = FormatError::NoLength(Kind::Aos).to_string();
        assert_eq!(error, "aos frames do not tell their length: write aos:LENGTH");
        for text in ["aos:15", "tm:0", "aos:65537"] {
            assert_eq!(text.parse::<Format>(), Err(FormatError::Length), "{text}");
        }
    }

    #[test]
    fn frames_of_any_length_tell_their_own() {
        let command = [0x20, 0x7B, 0x00, 0x07, 0x00, 0x00, 0x55, 0x75];
        let tc: Format = "tc".parse().unwrap();
        assert_eq!((tc.extent(&command), tc.extent(&command[..4])), (Some(8), None));
        assert_eq!((tc.max_length(), tc.extent(&[0xFF; 8])), (tc::MAX_BYTES, None));
        let tm: Format = "tm:20".parse().unwrap();
        assert_eq!((tm.extent(&[]), tm.max_length()), (Some(20), 20));
    }

    #[test]
    fn pointers_round_trip() {
        for bits in 0..=0x7FF {
            assert_eq!(FirstHeader::from_bits(bits).bits(), bits);
        }
        assert_eq!(FirstHeader::from_bits(0xFFFF), FirstHeader::NoStart);
    }
}
