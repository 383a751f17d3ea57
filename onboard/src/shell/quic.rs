//! QUIC as the profiles ask for it, and a ground that is noticed to be gone.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use codecs::link::profile::Profile;
use quinn::{Connection, Endpoint, RecvStream, SendStream, TransportConfig};
use tokio::sync::mpsc;

/// Least silence that counts as the ground being gone.
const SILENCE_MIN_MS: u64 = 3_000;
/// Round trips of silence that count as the ground being gone.
const SILENCE_ROUND_TRIPS: u64 = 6;
/// Socket buffers to ask for; the system may grant less.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Where and as whom to connect.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Address and port.
    pub address: String,
    /// Name sent in the handshake.
    pub server_name: String,
    /// Settings by kind of link.
    pub profile: Profile,
    /// Identity and pins.
    pub tls: rustls::ClientConfig,
}

/// Connects once, with an endpoint of its own.
pub(super) async fn connect(peer: Peer) -> anyhow::Result<(Endpoint, Connection)> {
    let address = tokio::net::lookup_host(&peer.address)
        .await
        .ok()
        .and_then(|mut found| found.next())
        .with_context(|| format!("[ground] address = {:?} has no address", peer.address))?;
    let endpoint = endpoint(&peer, address)?;
    let connecting = endpoint.connect(address, &peer.server_name)?;
    // A silent ground is asked anew rather than waited for: the waits of a handshake
    // double, and the rise must not fall into a long one.
    let patience = Duration::from_millis(2_000.max(6 * peer.profile.initial_rtt_ms));
    let connection = tokio::time::timeout(patience, connecting)
        .await
        .context("no answer")?
        .context("the handshake failed")?;
    Ok((endpoint, connection))
}

fn endpoint(peer: &Peer, to: SocketAddr) -> anyhow::Result<Endpoint> {
    let from: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = std::net::UdpSocket::bind(from).context("no UDP socket")?;
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER_BYTES);
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER_BYTES);
    let runtime = Arc::new(quinn::TokioRuntime);
    let mut endpoint = Endpoint::new(quinn::EndpointConfig::default(), None, socket, runtime)?;
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(peer.tls.clone())?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport(&peer.profile)?));
    endpoint.set_default_client_config(config);
    Ok(endpoint)
}

fn transport(profile: &Profile) -> anyhow::Result<TransportConfig> {
    let mut config = TransportConfig::default();
    let idle = Duration::from_millis(profile.idle_timeout_ms);
    let mut acks = quinn::AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(profile.ack_threshold.into());
    config
        .initial_rtt(Duration::from_millis(profile.initial_rtt_ms))
        .max_idle_timeout(Some(idle.try_into()?))
        .keep_alive_interval(profile.keep_alive_ms.map(Duration::from_millis))
        .stream_receive_window(profile.stream_window_bytes.into())
        .receive_window(profile.connection_window_bytes.into())
        .send_window(profile.send_window_bytes)
        .max_concurrent_uni_streams(profile.streams_max.into())
        // The ground opens no bidirectional stream.
        .max_concurrent_bidi_streams(0u32.into())
        .datagram_receive_buffer_size(None);
    if profile.ack_threshold > 2 {
        config.ack_frequency_config(Some(acks));
    }
    Ok(config)
}

/// Writes the control stream in a task of its own, so that nothing waits for its credit.
pub(super) fn spawn_writer(
    mut control: SendStream,
) -> (mpsc::UnboundedSender<bytes::Bytes>, tokio::task::JoinHandle<()>) {
    let (to_control, mut from) = mpsc::unbounded_channel::<bytes::Bytes>();
    let task = tokio::spawn(async move {
        while let Some(bytes) = from.recv().await {
            if control.write_chunk(bytes).await.is_err() {
                return;
            }
        }
        let _ = control.finish();
        let _ = control.stopped().await;
    });
    (to_control, task)
}

pub(super) async fn read_some(
    incoming: &mut RecvStream,
    buffer: &mut [u8],
) -> anyhow::Result<usize> {
    incoming.read(buffer).await?.context("the ground ended the control stream")
}

/// Finds a ground that is gone long before the idle timeout does: it was sent something and said
/// nothing for several round trips. A station that was restarted knows nothing of the connection,
/// and a new handshake costs less than what a pass would lose.
pub(super) struct Silence {
    initial_rtt: Duration,
    heard: u64,
    sent_then: u64,
    /// When something was sent for the first time after something was heard.
    spoke_ns: Option<u64>,
}

impl Silence {
    pub(super) fn new(profile: &Profile) -> Self {
        let initial_rtt = Duration::from_millis(profile.initial_rtt_ms);
        Self { initial_rtt, heard: 0, sent_then: 0, spoke_ns: None }
    }

    pub(super) fn is_over(
        &mut self,
        stats: &quinn::ConnectionStats,
        rtt: Duration,
        now_ns: u64,
    ) -> bool {
        let (heard, sent) = (stats.udp_rx.datagrams, stats.udp_tx.datagrams);
        if heard != self.heard {
            (self.heard, self.sent_then, self.spoke_ns) = (heard, sent, None);
            return false;
        }
        if self.spoke_ns.is_none() && sent > self.sent_then {
            self.spoke_ns = Some(now_ns);
        }
        let round_trip = rtt.max(self.initial_rtt).as_nanos() as u64;
        let patience = (SILENCE_ROUND_TRIPS * round_trip).max(SILENCE_MIN_MS * 1_000_000);
        self.spoke_ns.is_some_and(|spoke| now_ns.saturating_sub(spoke) > patience)
    }
}
