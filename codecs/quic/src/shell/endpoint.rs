//! Sockets as a fast link needs them, and what the system granted.

use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
};

use anyhow::Context;
use codecs::link::{congestion::Bounds, profile::Profile};
use quinn::{
    AsyncUdpSocket, Connection, Endpoint, EndpointConfig, RecvStream, Runtime, SendStream,
    ServerConfig,
};
use rustix::net::sockopt;
use tokio::sync::mpsc;

use crate::courier::handshake_max;

use super::crowd::Crowd;
use super::planned::{PlannedConfig, PlannedLink};
use super::strays::{Strays, Watched};
use super::transport::{Role, TransportOptions, endpoint_config, transport};

/// Socket buffers to ask for: bursts of a fast link fit.
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
    /// What the site chose.
    pub options: TransportOptions,
    /// Identity and pins.
    pub tls: rustls::ClientConfig,
    /// What is planned for this link; nothing where it is not a link of its own.
    pub planned: PlannedLink,
    /// The golden identity, for when the station refuses the usual one.
    pub golden: Option<rustls::ClientConfig>,
}

/// What the system granted a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketReport {
    /// Bytes asked for, each way.
    pub requested_bytes: usize,
    /// Bytes granted to the receive buffer.
    pub receive_bytes: usize,
    /// Bytes granted to the send buffer.
    pub send_bytes: usize,
    /// Datagrams that one system call sends (GSO); 1 is off, and costs four times the CPU.
    pub segments_sent_max: usize,
    /// Datagrams that one system call reads (GRO); 1 is off.
    pub segments_read_max: usize,
}

impl fmt::Display for SocketReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = |segments: usize| if segments > 1 { "on" } else { "off" };
        write!(
            f,
            "asked for buffers of {} bytes, granted {} to receive and {} to send; GSO {}, GRO {}",
            self.requested_bytes,
            self.receive_bytes,
            self.send_bytes,
            state(self.segments_sent_max),
            state(self.segments_read_max),
        )
    }
}

/// Opens an endpoint on a bound socket, with large buffers as far as the system grants them. It
/// must be called within a runtime.
///
/// # Errors
/// The socket is refused, or the MTU is out of bounds.
pub fn open(
    socket: UdpSocket,
    config: EndpointConfig,
    server: Option<ServerConfig>,
    options: &TransportOptions,
) -> io::Result<(Endpoint, SocketReport)> {
    open_with(socket, config, server, options, |socket| socket)
}

/// The same for a port that anyone can send to: what belongs to no connection is counted, and what
/// waits in streams pins no more than is counted where memory is crowded.
///
/// # Errors
/// The socket is refused, or the MTU is out of bounds.
pub fn open_watched(
    socket: UdpSocket,
    config: EndpointConfig,
    server: ServerConfig,
    options: &TransportOptions,
    strays: Arc<Strays>,
    crowd: Crowd,
) -> io::Result<(Endpoint, SocketReport)> {
    let watch = |socket| -> Arc<dyn AsyncUdpSocket> { Arc::new(Watched { socket, strays, crowd }) };
    open_with(socket, config, Some(server), options, watch)
}

fn open_with(
    socket: UdpSocket,
    config: EndpointConfig,
    server: Option<ServerConfig>,
    options: &TransportOptions,
    watch: impl FnOnce(Arc<dyn AsyncUdpSocket>) -> Arc<dyn AsyncUdpSocket>,
) -> io::Result<(Endpoint, SocketReport)> {
    // What is not granted is reported, not refused.
    let _ = sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER_BYTES);
    let _ = sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER_BYTES);
    // The system doubles what it grants, for its own books.
    let granted = |bytes: Result<usize, _>| bytes.map_or(0, |bytes| bytes / 2);
    let receive_bytes = granted(sockopt::socket_recv_buffer_size(&socket));
    let send_bytes = granted(sockopt::socket_send_buffer_size(&socket));
    let runtime = Arc::new(quinn::TokioRuntime);
    let socket = watch(runtime.wrap_udp_socket(socket)?);
    let report = SocketReport {
        requested_bytes: SOCKET_BUFFER_BYTES,
        receive_bytes,
        send_bytes,
        segments_sent_max: socket.max_transmit_segments(),
        segments_read_max: socket.max_receive_segments(),
    };
    let config = endpoint_config(config, options)?;
    let endpoint = Endpoint::new_with_abstract_socket(config, server, socket, runtime)?;
    Ok((endpoint, report))
}

/// Connects once, with an endpoint of its own.
///
/// # Errors
/// The address can't be resolved, nothing answers there, or it is not the pinned station.
pub async fn connect(peer: Peer) -> anyhow::Result<(Endpoint, Connection, SocketReport)> {
    let address = tokio::net::lookup_host(&peer.address)
        .await
        .ok()
        .and_then(|mut found| found.next())
        .with_context(|| format!("the station's address {:?} can't be resolved", peer.address))?;
    let (endpoint, report) = client_endpoint(&peer, address)?;
    let connecting = endpoint.connect(address, &peer.server_name)?;
    let connection = tokio::time::timeout(handshake_max(&peer.profile), connecting)
        .await
        .context("no answer")?
        .context("the handshake failed")?;
    Ok((endpoint, connection, report))
}

fn client_endpoint(peer: &Peer, to: SocketAddr) -> anyhow::Result<(Endpoint, SocketReport)> {
    let from: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(from).context("no UDP socket")?;
    let (mut endpoint, report) = open(socket, EndpointConfig::default(), None, &peer.options)?;
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(peer.tls.clone())?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    let numbers = client_transport(&peer.profile, &peer.options, &peer.planned)?;
    config.transport_config(Arc::new(numbers));
    endpoint.set_default_client_config(config);
    Ok((endpoint, report))
}

/// Acknowledgements a second at the highest rate that is planned: some 250 kbit/s.
const ACKS_MAX_HZ: u64 = 400;
/// Most packets of one, whatever is planned.
const ACK_PACKETS_MAX: u32 = 64;

/// The numbers of a client, its congestion control among them.
///
/// # Errors
/// An MTU or idle time out of bounds.
pub fn client_transport(
    profile: &Profile,
    options: &TransportOptions,
    planned: &PlannedLink,
) -> io::Result<quinn::TransportConfig> {
    // A way back of a quarter of a megabit, as X band has it, would carry acknowledgements of ten
    // packets for 50 Mbit/s only.
    let packets_s = planned.peak_bps() / 8 / u64::from(options.mtu_max);
    let ack_packets = u32::try_from(packets_s / ACKS_MAX_HZ).unwrap_or(u32::MAX);
    let ack_packets = ack_packets.min(ACK_PACKETS_MAX).max(profile.ack_threshold);
    let profile = Profile { ack_threshold: ack_packets, ..*profile };
    let mut numbers = transport(&profile, Role::Client, options)?;
    let bounds = Bounds { window_max: profile.send_window_bytes, ack_packets };
    let link = planned.clone();
    numbers.congestion_controller_factory(Arc::new(PlannedConfig { link, bounds }));
    Ok(numbers)
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
    incoming.read(buffer).await?.context("the station ended the control stream")
}
