//! What is in progress at an access point of a virtual channel.

use super::head::Kind;
use super::{DropReason, MAX_UNIT_BYTES};
use crate::packet::{Extent, MAX_HEADER_BYTES, Protocol, extent};
use alloc::vec::Vec;
use bytes::Bytes;

#[derive(Debug)]
pub(super) enum Progress {
    /// A packet that spans frames.
    Packet(Partial),
    /// A unit in segments.
    Unit(Assembly),
}

impl Progress {
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Packet(partial) => partial.len(),
            Self::Unit(unit) => unit.len(),
        }
    }

    pub(super) const fn held_bytes(&self) -> usize {
        match self {
            Self::Packet(partial) => partial.held_bytes(),
            Self::Unit(unit) => unit.bytes.capacity(),
        }
    }
}

/// The segments of a unit so far; never over [`MAX_UNIT_BYTES`].
#[derive(Debug)]
pub(super) struct Assembly {
    bytes: Vec<u8>,
    pub(super) kind: Kind,
    /// Bytes of it came from a frame whose CRC failed.
    pub(super) erred: bool,
}

impl Assembly {
    pub(super) fn start(bytes: &[u8], kind: Kind, erred: bool) -> Self {
        // A packet tells how long it will be, at most 65,542 bytes; a unit does not.
        let room = match (kind, extent(bytes)) {
            (Kind::Packets, Extent::Known { length, .. }) => length.max(bytes.len()),
            _ => bytes.len(),
        };
        let mut start = Vec::with_capacity(room);
        start.extend_from_slice(bytes);
        Self { bytes: start, kind, erred }
    }

    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes one more segment, unless the unit would pass the bound.
    pub(super) fn feed(&mut self, bytes: &[u8], erred: bool) -> bool {
        let length = self.bytes.len().saturating_add(bytes.len());
        if length > MAX_UNIT_BYTES {
            return false;
        }
        // Growing by doubling passes the bound; the allocator is told it instead.
        if length > self.bytes.capacity() {
            let room = self.bytes.capacity().saturating_mul(2).clamp(length, MAX_UNIT_BYTES);
            self.bytes.reserve_exact(room.saturating_sub(self.bytes.len()));
        }
        self.bytes.extend_from_slice(bytes);
        self.erred |= erred;
        true
    }
}

impl From<Assembly> for Bytes {
    fn from(unit: Assembly) -> Self {
        unit.bytes.into()
    }
}

/// A packet whose end is in a later frame. Its buffer never grows past the length that its
/// header says, which is bounded before it is allocated.
#[derive(Debug)]
pub(super) struct Partial {
    bytes: Vec<u8>,
    /// Protocol and whole length, once the header is whole.
    known: Option<(Protocol, usize)>,
    /// Bytes of it came from a frame whose CRC failed.
    pub(super) erred: bool,
}

pub(super) enum Feed {
    /// The packet is whole, and nothing is left over.
    Whole(Protocol),
    /// More must come.
    Wants,
    /// Bytes are left over.
    Overrun,
    /// The header, now whole, is none.
    Refused(DropReason),
}

impl Partial {
    /// Begins with what the frame holds of it.
    pub(super) fn start(bytes: &[u8], known: Option<(Protocol, usize)>, erred: bool) -> Self {
        let mut start = Vec::with_capacity(known.map_or(MAX_HEADER_BYTES, |(_, length)| length));
        start.extend_from_slice(bytes);
        Self { bytes: start, known, erred }
    }

    /// Bytes so far.
    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of memory that it holds.
    pub(super) const fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Takes what a later frame holds of it.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Feed {
        let mut rest = bytes;
        let (protocol, length) = loop {
            if let Some(known) = self.known {
                break known;
            }
            match extent(&self.bytes) {
                Extent::Known { protocol, length } => {
                    self.known = Some((protocol, length));
                    self.bytes.reserve_exact(length.saturating_sub(self.bytes.len()));
                }
                // The header is cut between frames: at most seven bytes come one at a time.
                Extent::Short { .. } => match rest.split_first() {
                    Some((byte, after)) => {
                        self.bytes.push(*byte);
                        rest = after;
                    }
                    None => return Feed::Wants,
                },
                Extent::Version(version) => {
                    return Feed::Refused(DropReason::PacketVersion(version));
                }
                Extent::Length => return Feed::Refused(DropReason::PacketLength),
            }
        };
        let wanted = length.saturating_sub(self.bytes.len());
        if rest.len() > wanted {
            return Feed::Overrun;
        }
        self.bytes.extend_from_slice(rest);
        if rest.len() == wanted { Feed::Whole(protocol) } else { Feed::Wants }
    }
}

impl From<Partial> for Bytes {
    /// Hands the buffer on without a copy.
    fn from(partial: Partial) -> Self {
        partial.bytes.into()
    }
}
