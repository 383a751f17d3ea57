//! The packet in progress of a virtual channel.

use super::DropReason;
use crate::packet::{Extent, MAX_HEADER_BYTES, Protocol, extent};
use alloc::vec::Vec;
use bytes::Bytes;

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
