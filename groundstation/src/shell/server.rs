//! The QUIC endpoint: sockets, transport numbers, a task a connection.

use super::{
    session::{self, Station},
    signals,
};
use crate::publish::Event;
use crate::receipt::SessionId;
use codecs::link::profile::Profile;
use quinn::{
    Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TokioRuntime, TransportConfig, VarInt,
    crypto::rustls::QuicServerConfig,
};
use std::{io, net::UdpSocket, sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinSet, time::timeout};

/// Asked of the system for each socket buffer; bursts of a fast link fit.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// Handshakes at once, beside the sessions.
const HANDSHAKES_MAX: usize = 64;
/// How long a stop waits for sessions to say goodbye.
const STOP_WITHIN: Duration = Duration::from_secs(4);

/// Opens the endpoint on a bound socket.
pub fn endpoint(
    socket: UdpSocket,
    crypto: QuicServerConfig,
    config: EndpointConfig,
    profile: &Profile,
) -> io::Result<Endpoint> {
    use rustix::net::sockopt;
    for (what, granted) in [
        (
            "receive",
            sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER_BYTES)
                .and_then(|()| sockopt::socket_recv_buffer_size(&socket)),
        ),
        (
            "send",
            sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER_BYTES)
                .and_then(|()| sockopt::socket_send_buffer_size(&socket)),
        ),
    ] {
        match granted {
            // The system doubles what it grants, for its own books.
            Ok(bytes) if bytes / 2 < SOCKET_BUFFER_BYTES => {
                tracing::debug!(what, bytes = bytes / 2, "socket buffer below what was asked");
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(what, %error, "socket buffer not set"),
        }
    }
    Endpoint::new(config, Some(self::config(crypto, profile)?), socket, Arc::new(TokioRuntime))
}

/// What new connections get.
pub fn config(crypto: QuicServerConfig, profile: &Profile) -> io::Result<ServerConfig> {
    let mut server = ServerConfig::with_crypto(Arc::new(crypto));
    server.transport_config(Arc::new(transport(profile)?));
    Ok(server)
}

fn transport(profile: &Profile) -> io::Result<TransportConfig> {
    let idle = IdleTimeout::try_from(Duration::from_millis(profile.idle_timeout_ms));
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(VarInt::from_u32(profile.stream_window_bytes))
        .receive_window(VarInt::from_u32(profile.connection_window_bytes))
        .send_window(profile.send_window_bytes)
        .max_concurrent_uni_streams(VarInt::from_u32(profile.streams_max))
        // The control stream, and nothing else from the peer.
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .initial_rtt(Duration::from_millis(profile.initial_rtt_ms))
        .max_idle_timeout(Some(idle.map_err(io::Error::other)?))
        // No one reads datagrams yet: none are buffered.
        .datagram_receive_buffer_size(None);
    Ok(transport)
}

/// Accepts until `stop` turns true, then lets the sessions say goodbye.
pub async fn run(endpoint: Endpoint, station: Arc<Station>, mut stop: watch::Receiver<bool>) {
    let mut sessions = JoinSet::new();
    let mut next = 0;
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            Some(_) = sessions.join_next() => continue,
            () = signals::told(&mut stop) => break,
        };
        let Some(incoming) = incoming else { break };
        let connections_max = station.rules.borrow().connections_max;
        if endpoint.open_connections() >= connections_max + HANDSHAKES_MAX
            || sessions.len() >= connections_max
        {
            tracing::warn!(peer = %incoming.remote_address(), "too many connections; refused");
            station.feed.publish(Event::PeerRejected { reason: "too-many" });
            incoming.refuse();
            continue;
        }
        // Under load an address must prove that it is no one else's before it costs anything
        // (RFC 9000 §8.1.2).
        if sessions.len() >= connections_max / 2 && !incoming.remote_address_validated() {
            // It fails only where a token was validated already.
            let _ = incoming.retry();
            continue;
        }
        next += 1;
        let (station, id, stop) = (Arc::clone(&station), SessionId(next), stop.clone());
        sessions.spawn(async move {
            let peer = incoming.remote_address();
            match incoming.await {
                Ok(connection) => session::serve(station, id, connection, stop).await,
                Err(error) => {
                    tracing::warn!(%peer, %error, "handshake failed");
                    station.feed.publish(Event::PeerRejected { reason: "handshake" });
                }
            }
        });
    }
    let ended = async { while sessions.join_next().await.is_some() {} };
    if timeout(STOP_WITHIN, ended).await.is_err() {
        tracing::warn!("some sessions did not end in time");
        sessions.shutdown().await;
    }
    endpoint.close(super::sessions::close::DONE, b"the station stops");
    let _ = timeout(Duration::from_secs(1), endpoint.wait_idle()).await;
}
