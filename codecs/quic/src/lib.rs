//! The link over QUIC: the one place where its numbers, sockets and keys stand for both sides, and
//! the client that sends what a store holds.
//!
//! ```text
//! tls, transport, planned ─► endpoint ─► client ⇄ custodian
//!                              courier ──┘ └ objects, uplink
//! ```
//!
//! What goes when is decided by [`codecs::link`]; what is held, by the [`Custodian`]; what the one
//! has to tell the other, by the [`courier`]. Everything else here is sockets, streams and waiting.

pub mod courier;
mod shell;

pub use courier::{FromLink, LinkCounts};
pub use shell::{
    client::{Client, LinkTime},
    clock::Monotonic,
    crowd::{Crowd, LOOK_BYTES},
    custodian::{Change, Custodian, Offer, Recalled, Taken, Untakable},
    endpoint::{Peer, SocketReport, client_transport, connect, open, open_watched},
    planned::{PlannedConfig, PlannedLink},
    strays::Strays,
    tls::{client_config, client_config_or_golden, client_tls, not_after},
    transport::{
        MTU_DEFAULT, MTU_MAX, MTU_MIN, Role, TransportOptions, endpoint_config, transport,
    },
};
