//! Transport numbers by profile and side.

use std::{io, time::Duration};

use codecs::link::profile::Profile;
use quinn::{AckFrequencyConfig, EndpointConfig, MtuDiscoveryConfig, TransportConfig, VarInt};

/// UDP payload that any path carries (RFC 9000 §14).
pub const MTU_MIN: u16 = 1_200;
/// UDP payload that is searched for unless told otherwise: Ethernet less IPv6 and UDP headers.
pub const MTU_DEFAULT: u16 = 1_452;
/// Largest UDP payload that works: ten segments must fit one UDP send of 65,507 bytes. One byte
/// above it whole batches vanish, and the search falls back to the least.
pub const MTU_MAX: u16 = 6_550;

/// Packets that the library has acknowledged on its own account.
const ACK_THRESHOLD_DEFAULT: u32 = 2;

/// Which side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Holds units and connects: spacecraft or edge.
    Client,
    /// Listens and keeps: the station.
    Server,
}

/// What a site chooses beside its profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportOptions {
    /// Largest UDP payload that is searched for, [`MTU_MIN`] to [`MTU_MAX`]. Both sides must allow
    /// it.
    pub mtu_max: u16,
    /// Bytes of quick-look datagrams that are buffered: of a client to be sent, of a server to be
    /// read. Without them a server takes none.
    pub datagram_buffer_bytes: Option<usize>,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self { mtu_max: MTU_DEFAULT, datagram_buffer_bytes: None }
    }
}

impl TransportOptions {
    fn checked_mtu(&self) -> io::Result<u16> {
        if (MTU_MIN..=MTU_MAX).contains(&self.mtu_max) {
            return Ok(self.mtu_max);
        }
        let wrong = format!("mtu_max = {}: {MTU_MIN} to {MTU_MAX} bytes", self.mtu_max);
        Err(io::Error::new(io::ErrorKind::InvalidInput, wrong))
    }
}

/// The numbers of one side.
///
/// # Errors
/// An MTU or idle time out of bounds.
pub fn transport(
    profile: &Profile,
    role: Role,
    options: &TransportOptions,
) -> io::Result<TransportConfig> {
    let idle = Duration::from_millis(profile.idle_timeout_ms);
    let mut search = MtuDiscoveryConfig::default();
    search.upper_bound(options.checked_mtu()?);
    let mut config = TransportConfig::default();
    config
        .initial_rtt(Duration::from_millis(profile.initial_rtt_ms))
        .max_idle_timeout(Some(idle.try_into().map_err(io::Error::other)?))
        .stream_receive_window(VarInt::from_u32(profile.stream_window_bytes))
        .receive_window(VarInt::from_u32(profile.connection_window_bytes))
        .send_window(profile.send_window_bytes)
        // Objects of one priority go one after another: in turns they would all end together, and the
        // link would wait a round trip for the next ones (5 % of GEO's capacity, measured).
        .send_fairness(false)
        .max_concurrent_uni_streams(VarInt::from_u32(profile.streams_max))
        .mtu_discovery_config(Some(search))
        .datagram_receive_buffer_size(None);
    if profile.ack_threshold > ACK_THRESHOLD_DEFAULT {
        let mut acks = AckFrequencyConfig::default();
        acks.ack_eliciting_threshold(VarInt::from_u32(profile.ack_threshold));
        config.ack_frequency_config(Some(acks));
    }
    match role {
        Role::Client => {
            // The station opens no bidirectional stream; who has something to send keeps the
            // connection open.
            config
                .max_concurrent_bidi_streams(VarInt::from_u32(0))
                .keep_alive_interval(profile.keep_alive_ms.map(Duration::from_millis));
            if let Some(bytes) = options.datagram_buffer_bytes {
                // The library sends only what it might take itself; of nothing, that is none.
                config.datagram_receive_buffer_size(Some(0)).datagram_send_buffer_size(bytes);
            }
        }
        Role::Server => {
            // The control stream, and nothing else from the peer.
            config
                .max_concurrent_bidi_streams(VarInt::from_u32(1))
                .datagram_receive_buffer_size(options.datagram_buffer_bytes);
        }
    }
    Ok(config)
}

/// Lets an endpoint read payloads as large as the options search for; without it the peer's search
/// ends at the library's 1,472 bytes.
///
/// # Errors
/// An MTU out of bounds.
pub fn endpoint_config(
    mut config: EndpointConfig,
    options: &TransportOptions,
) -> io::Result<EndpointConfig> {
    let most = u64::from(options.checked_mtu()?);
    if config.get_max_udp_payload_size() < most {
        config.max_udp_payload_size(options.mtu_max).map_err(io::Error::other)?;
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_mtu_that_would_collapse_is_an_error() {
        let with = |mtu_max| TransportOptions { mtu_max, ..TransportOptions::default() };
        for profile in Profile::ALL {
            for role in [Role::Client, Role::Server] {
                transport(&profile, role, &with(MTU_MAX)).unwrap();
                let error = transport(&profile, role, &with(MTU_MAX + 1)).unwrap_err();
                assert!(error.to_string().contains("1200 to 6550"), "{error}");
            }
        }
        let jumbo = endpoint_config(EndpointConfig::default(), &with(6_500)).unwrap();
        assert_eq!(jumbo.get_max_udp_payload_size(), 6_500);
        assert!(endpoint_config(EndpointConfig::default(), &with(1_199)).is_err());
    }
}
