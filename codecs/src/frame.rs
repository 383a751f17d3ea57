//! Transfer frames: fixed-length blocks on the air, and the packets that they carry.
//!
//! ```text
//! cadu (marked, coded, randomised ► frames)
//! tm, aos (one frame in place) ─► extract (frames ► packets) ─► counts
//! packets ─► pack (packets ► zones) ─► tm, aos builders
//! uslp (one frame in place); cltu (command units ► frames) ─► tc (one frame in place)
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
pub mod cltu;
pub mod extract;
pub mod guess;
pub mod counts;
pub mod pack;

use crate::ids::Channel;
use core::{fmt, ops::Range, str::FromStr};

/// Longest frame accepted anywhere: a bound on buffers, above what the books allow per code.
pub const MAX_FRAME_BYTES: usize = 65_536;

/// Length of the operational control field (CCSDS 132.0-B-3 §4.1.5).
pub const OCF_BYTES: usize = 4;

/// A global virtual channel: the frames that share one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualChannel {
    /// Transfer frame version number: 0 TM, 1 AOS.
    pub version: u8,
    /// Spacecraft identifier as the frame carries it.
    pub scid: u16,
    /// Virtual channel identifier.
    pub vcid: u8,
}

impl From<VirtualChannel> for Channel {
    fn from(channel: VirtualChannel) -> Self {
        Self::virtual_channel(channel.version, channel.scid, channel.vcid, 0)
    }
}

/// What the first header pointer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FirstHeader {
    /// The first packet that starts in the frame starts at this byte of the packet zone.
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
    /// Highest byte that a pointer can name.
    pub const MAX: u16 = 0x7FD;

    /// Reads the eleven bits (CCSDS 132.0-B-3 §4.1.2.7.6, 732.0-B-4 §4.1.4.2.3).
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
    #[error("a truncated USLP frame, whose layout only the mission knows; it is not supported")]
    Truncated,
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
    /// Building this field is not supported.
    #[error("frames with a {0} can be read, not built")]
    Unsupported(&'static str),
}

/// Kinds of frame that [`extract::Extractor`] reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Telemetry transfer frames (CCSDS 132.0-B-3).
    Tm,
    /// Advanced orbiting systems (CCSDS 732.0-B-5).
    Aos,
}

/// Kind and length of the frames of a recording or channel, as users write it: `aos:1113`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Which standard.
    pub kind: Kind,
    /// Length of every frame in bytes, at most [`MAX_FRAME_BYTES`].
    pub length: usize,
}

/// Why a text names no [`Format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Not `kind:length`.
    #[error("expected aos:LENGTH or tm:LENGTH, for example aos:1113")]
    Shape,
    /// Too short for a header and a byte, or over the bound.
    #[error("a frame is 16 to {MAX_FRAME_BYTES} bytes long")]
    Length,
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let (kind, length) = text.split_once(':').ok_or(FormatError::Shape)?;
        let kind = match kind {
            "aos" => Kind::Aos,
            "tm" => Kind::Tm,
            _ => return Err(FormatError::Shape),
        };
        let length = length.parse().map_err(|_| FormatError::Shape)?;
        if !(16..=MAX_FRAME_BYTES).contains(&length) {
            return Err(FormatError::Length);
        }
        Ok(Self { kind, length })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Tm => "tm",
            Kind::Aos => "aos",
        };
        write!(f, "{kind}:{}", self.length)
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
        assert_eq!(format, Format { kind: Kind::Aos, length: 1113 });
        assert_eq!(format.to_string(), "aos:1113");
        assert_eq!("tm:1115".parse::<Format>().unwrap().to_string(), "tm:1115");
        for text in ["", "aos", "aos:", "aos:x", "uslp:100", "AOS:1113", "aos:-5", "aos:1113:2"] {
            assert_eq!(text.parse::<Format>(), Err(FormatError::Shape), "{text}");
        }
        for text in ["aos:15", "tm:0", "aos:65537"] {
            assert_eq!(text.parse::<Format>(), Err(FormatError::Length), "{text}");
        }
    }

    #[test]
    fn pointers_round_trip() {
        for bits in 0..=0x7FF {
            assert_eq!(FirstHeader::from_bits(bits).bits(), bits);
        }
        assert_eq!(FirstHeader::from_bits(0xFFFF), FirstHeader::NoStart);
    }
}
