//! The QUIC endpoint: a task a connection.

use super::{
    quicklook::WAITING_BYTES,
    rules::Rules,
    session::{self, Station},
    signals,
};
use crate::{
    budget::SEND_BYTES,
    peers::{FIRST_CREDIT_BYTES, HANDSHAKES_MAX, Handshakes, Judgement},
    publish::{Event, Feed},
    receipt::SessionId,
};
use codecs::link::profile::Profile;
use codecs_quic::{Crowd, Role, Strays, TransportOptions, transport};
use quinn::{
    Connection, ConnectionError, Endpoint, EndpointConfig, Incoming, ServerConfig, VarInt,
    crypto::rustls::QuicServerConfig,
};
use std::{
    io,
    net::{IpAddr, UdpSocket},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, timeout},
};

/// Bytes kept of a handshake that no one has judged yet: its first packets.
const UNJUDGED_BYTES: u64 = 16 << 10;
/// How often datagrams without a connection are told.
const STRAYS_EVERY: Duration = Duration::from_millis(500);
/// How long a stop waits for sessions to say goodbye.
const STOP_WITHIN: Duration = Duration::from_secs(4);

/// Opens the endpoint on a bound socket; the numbers are those of both sides, in `codecs-quic`.
pub fn endpoint(
    socket: UdpSocket,
    crypto: QuicServerConfig,
    (config, strays): (EndpointConfig, Arc<Strays>),
    profile: &Profile,
    options: &TransportOptions,
    crowd: Crowd,
) -> io::Result<Endpoint> {
    let server = self::config(crypto, profile, options)?;
    let (endpoint, socket) =
        codecs_quic::open_watched(socket, config, server, options, strays, crowd)?;
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
    let mut transport = transport(profile, Role::Server, options)?;
    // Live frames; the oldest go where more than this wait.
    transport.datagram_receive_buffer_size(Some(WAITING_BYTES));
    // Until the peer has a session; then it gets its share.
    transport.receive_window(VarInt::from_u32(FIRST_CREDIT_BYTES));
    transport.send_window(profile.send_window_bytes.min(SEND_BYTES));
    server.transport_config(Arc::new(transport));
    // They are judged as they come, so few wait; by default 100 MB may.
    server
        .max_incoming(HANDSHAKES_MAX)
        .incoming_buffer_size(UNJUDGED_BYTES)
        .incoming_buffer_size_total(UNJUDGED_BYTES * HANDSHAKES_MAX as u64);
    Ok(server)
}

/// The rate of handshakes, shared by the loop and their tasks.
#[derive(Clone)]
struct Gate(Arc<Mutex<Handshakes>>);

impl Gate {
    fn handshakes(&self) -> MutexGuard<'_, Handshakes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(&self, rules: &Rules, incoming: &Incoming, now_ns: u64) -> Judgement {
        let (limits, burst) = (&rules.limits, rules.connections_max as u64);
        let (from, proved) = (incoming.remote_address().ip(), incoming.remote_address_validated());
        let mut handshakes = self.handshakes();
        handshakes.limit(limits.handshakes_per_s, limits.address_handshakes_per_s, burst, now_ns);
        handshakes.judge(from, proved, now_ns)
    }
}

/// A handshake under way; its end is told however it comes.
struct UnderWay {
    gate: Gate,
    from: IpAddr,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.gate.handshakes().ended(self.from);
    }
}

/// Tells of datagrams without a connection until `stop` turns true.
pub async fn tell_strays(strays: Arc<Strays>, feed: Feed, mut stop: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(STRAYS_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = signals::told(&mut stop) => return,
        }
        let told = strays.take().map(|(reason, count)| Event::DatagramsDropped { reason, count });
        let told: Vec<Event> = told.collect();
        if !told.is_empty() {
            feed.publish_all(told);
        }
    }
}

/// Accepts until `stop` turns true, then lets the sessions say goodbye.
pub async fn run(endpoint: Endpoint, station: Arc<Station>, mut stop: watch::Receiver<bool>) {
    let mut sessions = JoinSet::new();
    let mut next = 0;
    let gate = Gate(Arc::new(Mutex::new(Handshakes::new(1, 1, 1, 0))));
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            Some(_) = sessions.join_next() => continue,
            () = signals::told(&mut stop) => break,
        };
        let Some(incoming) = incoming else { break };
        let rules = Arc::clone(&station.rules.borrow());
        match gate.judge(&rules, &incoming, station.clock.mono_ns()) {
            Judgement::Begin => {}
            Judgement::Prove => {
                // It fails only where a token was validated already.
                let _ = incoming.retry();
                continue;
            }
            Judgement::Ignore => {
                station.feed.publish(Event::PeerRejected { reason: "too-often" });
                incoming.ignore();
                continue;
            }
        }
        next += 1;
        let under_way = UnderWay { gate: gate.clone(), from: incoming.remote_address().ip() };
        let (station, id, stop) = (Arc::clone(&station), SessionId(next), stop.clone());
        sessions.spawn(async move {
            let connected = handshake(&station, incoming, rules.greeting()).await;
            drop(under_way);
            if let Some(connection) = connected {
                session::serve(station, id, connection, stop).await;
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

/// A handshake to its end; one that fails is counted by its reason.
async fn handshake(station: &Station, incoming: Incoming, within: Duration) -> Option<Connection> {
    let peer = incoming.remote_address();
    let (reason, error) = match timeout(within, incoming).await {
        Ok(Ok(connection)) => return Some(connection),
        Ok(Err(error)) => (failure(&error), error.to_string()),
        Err(_) => ("slow-handshake", format!("not done within {} s", within.as_secs())),
    };
    tracing::warn!(%peer, reason, error, "handshake failed");
    station.feed.publish(Event::PeerRejected { reason });
    None
}

/// The short word for a handshake that failed; where TLS told the peer an alert, by that
/// (RFC 8446 §6.2, RFC 9001 §4.8).
fn failure(error: &ConnectionError) -> &'static str {
    const ALERTS: u64 = 0x100;
    let ConnectionError::TransportError(error) = error else { return "handshake" };
    match u64::from(error.code).checked_sub(ALERTS) {
        Some(42) => "bad-certificate",
        Some(43) => "unsupported-certificate",
        Some(45) => "certificate-dates",
        Some(48) => "unknown-authority",
        Some(51) => "bad-signature",
        Some(70) => "tls-version",
        Some(116) => "no-certificate",
        Some(120) => "other-protocol",
        _ => "handshake",
    }
}
