//! The QUIC endpoint: a task a connection.

use super::{
    session::{self, Station},
    signals,
};
use crate::publish::Event;
use crate::receipt::SessionId;
use codecs::link::profile::Profile;
use codecs_quic::{Role, TransportOptions, transport};
use quinn::{Endpoint, EndpointConfig, ServerConfig, crypto::rustls::QuicServerConfig};
use std::{io, net::UdpSocket, sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinSet, time::timeout};

/// Handshakes at once, beside the sessions.
const HANDSHAKES_MAX: usize = 64;
/// How long a stop waits for sessions to say goodbye.
const STOP_WITHIN: Duration = Duration::from_secs(4);

/// Opens the endpoint on a bound socket; the numbers are those of both sides, in `codecs-quic`.
pub fn endpoint(
    socket: UdpSocket,
    crypto: QuicServerConfig,
    config: EndpointConfig,
    profile: &Profile,
    options: &TransportOptions,
) -> io::Result<Endpoint> {
    let server = self::config(crypto, profile, options)?;
    let (endpoint, socket) = codecs_quic::open(socket, config, Some(server), options)?;
    tracing::info!("UDP socket: {socket}");
    Ok(endpoint)
}

/// What new connections get.
pub fn config(
    crypto: QuicServerConfig,
    profile: &Profile,
    options: &TransportOptions,
) -> io::Result<ServerConfig> {
    let mut server = ServerConfig::with_crypto(Arc::new(crypto));
    server.transport_config(Arc::new(transport(profile, Role::Server, options)?));
    Ok(server)
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
