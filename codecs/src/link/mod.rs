//! The link protocol, `groundtrack/1`: custody of numbered units between a store and a ledger.
//!
//! ```text
//! profile ─► congestion ─► custody ─► wire ─► control ─► void ─► object ─► sender ⇄ receiver ─► uplink ─► rf
//! ```
//!
//! `docs/link-protocol.md` gives every byte. The machines here take bytes and a time and hand out
//! bytes and events; QUIC, sockets and disks are the caller's.

pub mod profile;
pub mod congestion;
pub mod custody;
pub mod wire;
pub mod control;
pub mod void;
pub mod object;
pub mod quicklook;
pub mod receipted;
pub mod hello;
mod share;
pub mod sender;
pub mod receiver;
pub mod uplink;
pub mod rf;

/// Application protocol in the TLS handshake.
pub const ALPN: &[u8] = b"groundtrack/1";
/// Largest unit, bytes.
pub const MAX_UNIT_BYTES: usize = 1 << 20;
/// Largest object with its header, bytes.
pub const MAX_OBJECT_BYTES: usize = 2 << 20;
/// Largest control message with its length field, bytes.
pub const MAX_CONTROL_BYTES: usize = 64 << 10;

/// Codes of a connection's end that tell the peer when to come again, and as whom.
pub mod close {
    /// The key is in no row of the station's table.
    pub const UNKNOWN_KEY: u32 = 1;
    /// A newer session of the same origin took over.
    pub const SUPERSEDED: u32 = 3;
    /// No place, for now.
    pub const CROWDED: u32 = 5;
}

#[cfg(test)]
mod pair_tests;
