//! Datagrams on a listening port that belong to no connection and begin none, counted by reason.
//!
//! Each is found where the transport drops it or is about to, so that what belongs to a connection
//! pays one look at its first byte: short headers of connections that there are never come here.

use std::{
    fmt, io,
    io::IoSliceMut,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use super::crowd::{Crowd, spread};
use quinn::{
    AsyncUdpSocket, EndpointConfig, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use quinn_proto::{ConnectionId, ConnectionIdGenerator, HashedConnectionIdGenerator, InvalidCid};

/// QUIC version 1 (RFC 9000 §15), the only one spoken here.
const VERSION: u32 = 1;
/// Bytes of the ids of [`HashedConnectionIdGenerator`].
const ID_BYTES: usize = 8;
/// Longest id (RFC 9000 §17.2).
const ID_BYTES_MAX: usize = 20;
/// Least datagram that a first packet comes in (RFC 9000 §14.1).
const FIRST_BYTES_MIN: usize = 1_200;
/// First byte of a long header (RFC 9000 §17.2).
const LONG: u8 = 0x80;

/// Why a datagram belongs to no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// It names a connection that this endpoint can't have made.
    UnknownConnection,
    /// It speaks another version.
    Version,
    /// It is no packet.
    Malformed,
    /// A first packet in too small a datagram, as of a source that wants to be amplified.
    Short,
}

impl Reason {
    const ALL: [(Self, &'static str); 4] = [
        (Self::UnknownConnection, "unknown-connection"),
        (Self::Version, "version"),
        (Self::Malformed, "malformed"),
        (Self::Short, "short-first"),
    ];
}

/// The counts of one endpoint.
#[derive(Debug)]
pub struct Strays {
    /// What ids are made from.
    ids: u64,
    counts: [AtomicU64; 4],
}

impl Strays {
    /// Counts for an endpoint whose connection ids follow from `ids`; sets that in its
    /// configuration.
    pub fn of(ids: u64, config: &mut EndpointConfig) -> Arc<Self> {
        let strays = Arc::new(Self { ids, counts: Default::default() });
        let watched = Arc::clone(&strays);
        config.supported_versions(vec![VERSION]).cid_generator(move || {
            let (ids, strays) = (watched.generator(), Arc::clone(&watched));
            Box::new(Ids { ids, strays })
        });
        strays
    }

    /// What was counted since it was last taken, by reason.
    pub fn take(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let taken = |(reason, name): (Reason, _)| {
            (name, self.counts[reason as usize].swap(0, Ordering::Relaxed))
        };
        Reason::ALL.into_iter().map(taken).filter(|(_, count)| *count > 0)
    }

    fn generator(&self) -> HashedConnectionIdGenerator {
        HashedConnectionIdGenerator::from_key(self.ids)
    }

    fn count(&self, reason: Reason) {
        self.counts[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Looks at a datagram whose first byte says more than that it may be of a connection.
    fn judge(&self, datagram: &[u8]) {
        let judged = match datagram.first() {
            Some(first) if first & LONG != 0 => {
                self.long(datagram).unwrap_or(Some(Reason::Malformed))
            }
            _ => (datagram.len() <= ID_BYTES).then_some(Reason::Malformed),
        };
        if let Some(reason) = judged {
            self.count(reason);
        }
    }

    /// What is wrong with a long header (RFC 9000 §17.2), if anything; none where it is cut.
    fn long(&self, datagram: &[u8]) -> Option<Option<Reason>> {
        let (first, rest) = datagram.split_first()?;
        let (version, rest) = rest.split_first_chunk()?;
        let (id_length, rest) = rest.split_first()?;
        let (id, rest) = rest.split_at_checked(usize::from(*id_length))?;
        let (from_length, rest) = rest.split_first()?;
        let from = rest.get(..usize::from(*from_length))?;
        if id.len() > ID_BYTES_MAX || from.len() > ID_BYTES_MAX {
            return None;
        }
        if u32::from_be_bytes(*version) != VERSION {
            return Some(Some(Reason::Version));
        }
        let is_ours = || {
            let valid = |id: &[u8]| self.generator().validate(&ConnectionId::new(id)).is_ok();
            id.len() == ID_BYTES && valid(id)
        };
        Some(match first >> 4 & 0b11 {
            // Initial.
            0 if datagram.len() < FIRST_BYTES_MIN => Some(Reason::Short),
            0 => None,
            // Retry, which only a server sends.
            3 => Some(Reason::Malformed),
            // Early data, which is not taken here, and the rest of a handshake.
            _ if is_ours() => None,
            _ => Some(Reason::UnknownConnection),
        })
    }
}

/// Ids that the transport asks about where it knows no connection by them.
struct Ids {
    ids: HashedConnectionIdGenerator,
    strays: Arc<Strays>,
}

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        self.ids.generate_cid()
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        let valid = self.ids.validate(id);
        if valid.is_err() {
            self.strays.count(Reason::UnknownConnection);
        }
        valid
    }

    fn cid_len(&self) -> usize {
        self.ids.cid_len()
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        self.ids.cid_lifetime()
    }
}

/// A socket whose strays are counted, and whose datagrams lie apart where memory is crowded.
pub(super) struct Watched {
    pub(super) socket: Arc<dyn AsyncUdpSocket>,
    pub(super) strays: Arc<Strays>,
    pub(super) crowd: Crowd,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

impl AsyncUdpSocket for Watched {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.socket).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let apart = self.crowd.is_crowded();
        let most = if apart { 1 } else { buffers.len().min(meta.len()) };
        let (into, of) = (&mut buffers[..most], &mut meta[..most]);
        let mut count = ready!(self.socket.poll_recv(cx, into, of))?;
        self.crowd.received(of.iter().take(count).map(|of| of.len).sum());
        if apart && count == 1 {
            count = spread(buffers, meta);
        }
        for (buffer, meta) in buffers.iter().zip(&*meta).take(count) {
            let received = buffer.get(..meta.len).unwrap_or_default();
            if received.is_empty() {
                self.strays.count(Reason::Malformed);
            }
            for datagram in received.chunks(meta.stride.max(1)) {
                if datagram.len() <= ID_BYTES || datagram[0] & LONG != 0 {
                    self.strays.judge(datagram);
                }
            }
        }
        Poll::Ready(Ok(count))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A long header of version 1 in a datagram of a length.
    fn long(first: u8, id: &[u8], length: usize) -> Vec<u8> {
        let mut packet = vec![first, 0, 0, 0, 1, id.len() as u8];
        packet.extend_from_slice(id);
        packet.resize(length.max(packet.len() + 1), 0);
        packet
    }

    #[test]
    fn what_belongs_to_no_connection_is_counted_by_reason_and_the_rest_is_not() {
        let strays = Strays::of(7, &mut EndpointConfig::default());
        let judged = |datagram: &[u8]| {
            strays.judge(datagram);
            strays.take().collect::<Vec<_>>()
        };
        let ours = strays.generator().generate_cid();
        assert_eq!(judged(&long(0xC3, &[9; 8], 1_200)), [], "the first of a connection");
        assert_eq!(judged(&long(0xE3, &ours, 60)), [], "the rest of a handshake");
        assert_eq!(judged(&long(0xE3, &[9; 8], 60)), [("unknown-connection", 1)]);
        assert_eq!(judged(&long(0xC3, &[9; 8], 1_199)), [("short-first", 1)]);
        assert_eq!(judged(&long(0xF3, &ours, 60)), [("malformed", 1)], "a retry");
        let mut other = long(0xC3, &[9; 8], 1_200);
        other[4] = 2;
        assert_eq!(judged(&other), [("version", 1)]);
        let whole = long(0xE3, &ours, 15);
        for cut in 1..whole.len() {
            assert_eq!(judged(&whole[..cut]), [("malformed", 1)], "{cut}");
        }
        assert_eq!(judged(&long(0xE3, &[9; 21], 60)), [("malformed", 1)], "too long an id");
        assert_eq!(judged(&[0x43; 8]), [("malformed", 1)]);
    }
}
