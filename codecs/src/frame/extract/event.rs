//! What comes out of frames.

use crate::frame::tc::{Control, Segment};
use crate::frame::{FirstHeader, FrameError, VirtualChannel};
use crate::packet::Protocol;
use bytes::Bytes;

/// What to do with a frame whose CRC fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Erred {
    /// Go on, and mark every packet that holds bytes of it: most of a frame with one wrong bit is
    /// right, and its counts and pointer check themselves against its neighbours.
    #[default]
    Use,
    /// Leave it out; the next frame of its channel then shows a gap.
    Reject,
}

/// Why a whole frame was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// It is no frame of the configured kind.
    Malformed(FrameError),
    /// Its CRC fails, and erred frames are not wanted.
    Fecf,
    /// It is of another spacecraft than the one configured.
    Spacecraft(u16),
}

/// Why bytes of a channel were left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// The packet in progress lost its rest in a gap of the frame count.
    Gap,
    /// The first header pointer cut the packet in progress short.
    CutByPointer,
    /// The packet in progress would have ended before the place where the pointer says it ends.
    OverrunByPointer,
    /// The pointer lies beyond the zone; the frame's zone is left out with it.
    PointerBeyondZone,
    /// A packet of this version can't be measured; the rest of the zone is left out.
    PacketVersion(u8),
    /// A packet's length field contradicts itself or passes the bound; the rest is left out.
    PacketLength,
    /// A packet reaches past the end of the frame or unit that holds it whole.
    PacketPastUnit,
    /// Another unit began before the last segment of this one.
    UnfinishedUnit,
    /// A segment goes on with a unit whose start is missing.
    OrphanSegment,
    /// The segments of a unit pass [`MAX_UNIT_BYTES`](super::MAX_UNIT_BYTES).
    UnitLength,
    /// Its channel was forgotten for others ([`MAX_CHANNELS`](super::MAX_CHANNELS)).
    Forgotten,
}

impl DropReason {
    /// A name for counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::CutByPointer => "cut_by_pointer",
            Self::OverrunByPointer => "overrun_by_pointer",
            Self::PointerBeyondZone => "pointer_beyond_zone",
            Self::PacketVersion(_) => "packet_version",
            Self::PacketLength => "packet_length",
            Self::PacketPastUnit => "packet_past_unit",
            Self::UnfinishedUnit => "unfinished_unit",
            Self::OrphanSegment => "orphan_segment",
            Self::UnitLength => "unit_length",
            Self::Forgotten => "forgotten",
        }
    }
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Packets that may span frames, as the first header pointer says.
    Packets(FirstHeader),
    /// A piece of a unit, or whole ones: TC, and USLP without the first header pointer.
    Segment(Segment),
    /// Idle data: virtual channel 63 of AOS and USLP, whose count and pointer mean nothing.
    IdleChannel,
    /// Bits of a stream (AOS B_PDU).
    Bits,
    /// A unit of the mission's own (TM with the synchronisation flag set, AOS VCA_SDU).
    Opaque,
    /// Bytes of a stream (USLP).
    Stream,
    /// A command to the receiver's acceptance check or to another procedure of the link; `None`
    /// where it is none that TC knows.
    Control(Option<Control>),
}

/// What a unit is that is no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// As many bits of a stream, from the first of the first byte on.
    Bits(usize),
    /// Bytes of a stream, without borders.
    Stream,
    /// One unit that only the mission can read (VCA_SDU, MAPA_SDU).
    Access,
    /// A command to a procedure of the link.
    Control,
}

/// What comes out of frames, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A frame was accepted; what it leads to follows.
    Frame {
        /// Its counter.
        channel: VirtualChannel,
        /// Its virtual channel frame count; 0 where it has none (TC other than AD, USLP counts
        /// of no byte).
        count: u64,
        /// What it carries.
        content: Content,
        /// Symbols of its header that its error control corrected (AOS).
        corrected_symbols: u8,
        /// Its CRC failed.
        erred: bool,
    },
    /// A frame was left out as a whole.
    Rejected(Rejection),
    /// The frame count did not follow its predecessor's.
    Gap {
        /// Whose counter; its access point is 0, for the counter is of all of them.
        channel: VirtualChannel,
        /// Frames missing, modulo the counter; 0 where it stood still or ran backwards.
        lost: u64,
    },
    /// A packet.
    Packet {
        /// The channel that carried it.
        channel: VirtualChannel,
        /// Space packet or encapsulation packet.
        protocol: Protocol,
        /// The whole packet: a slice that keeps its frame's buffer alive, or, where the packet
        /// spans frames, a buffer of its own.
        bytes: Bytes,
        /// It began in an earlier frame.
        spanning: bool,
        /// Bytes of it came from a frame whose CRC failed.
        erred: bool,
    },
    /// A packet that only fills.
    Idle {
        /// The channel that carried it.
        channel: VirtualChannel,
        /// Space packet or encapsulation packet.
        protocol: Protocol,
        /// Its length, header included.
        length: usize,
        /// It began in an earlier frame.
        spanning: bool,
    },
    /// A unit that is no packet.
    Unit {
        /// The channel that carried it.
        channel: VirtualChannel,
        /// What it is.
        unit: Unit,
        /// USLP's protocol identifier; 0 in other frames.
        upid: u8,
        /// A slice that keeps its frame's buffer alive, or, where the unit came in segments, a
        /// buffer of its own.
        bytes: Bytes,
        /// It began in an earlier frame.
        spanning: bool,
        /// Bytes of it came from a frame whose CRC failed.
        erred: bool,
    },
    /// Bytes were left out.
    Dropped {
        /// The channel that carried them.
        channel: VirtualChannel,
        /// Why.
        reason: DropReason,
        /// How many bytes were at hand.
        bytes: usize,
    },
}
