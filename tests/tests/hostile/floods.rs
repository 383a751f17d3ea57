//! Two attacks on what the transport must buffer: streams full of holes, and live frames as fast as
//! they go.

use super::{
    beside::{Attacker, Switch, beside},
    client::{Client, object_of},
};
use codecs::{
    ids::{Channel, Codec, SpacecraftId},
    link::{object::Quality, quicklook::QuickLook},
    time::Tai,
};
use quinn::{
    AsyncUdpSocket, Endpoint, EndpointConfig, Runtime as _, SendStream, TokioRuntime,
    TransportConfig, UdpPoller,
    congestion::NewRenoConfig,
    udp::{RecvMeta, Transmit},
};
use std::{
    io::{self, IoSliceMut},
    net::{SocketAddr, UdpSocket},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

/// Datagrams from which on they carry objects, rather than the handshake's end or acknowledgements.
const CARRIES_BYTES: usize = 600;
/// Streams with holes at once.
const STREAMS: usize = 64;

/// A socket that swallows every second large datagram: to the station a path that loses them, and
/// what comes behind each must be buffered.
#[derive(Debug)]
struct Holed {
    socket: Arc<dyn AsyncUdpSocket>,
    sent: AtomicU64,
    /// Once the session is open.
    on: AtomicBool,
}

impl AsyncUdpSocket for Holed {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.socket).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let large = transmit.contents.len() > CARRIES_BYTES && self.on.load(Ordering::Relaxed);
        if large && self.sent.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            return Ok(());
        }
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_recv(cx, buffers, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }
}

/// A session of spacecraft 8 whose stream data has holes that are never filled: it takes nothing
/// for lost, and knows no congestion.
async fn holed(attacker: &Attacker) -> Client {
    let runtime = Arc::new(TokioRuntime);
    let socket = UdpSocket::bind("127.0.0.2:0").unwrap();
    let socket = runtime.wrap_udp_socket(socket).unwrap();
    let (sent, on) = (AtomicU64::new(0), AtomicBool::new(false));
    let socket = Arc::new(Holed { socket, sent, on });
    let config = EndpointConfig::default();
    let mut endpoint =
        Endpoint::new_with_abstract_socket(config, None, socket.clone(), runtime).unwrap();
    let mut transport = TransportConfig::default();
    let mut window = NewRenoConfig::default();
    window.initial_window(64 << 20);
    transport
        .packet_threshold(1 << 20)
        .time_threshold(1_000.0)
        .send_window(64 << 20)
        .congestion_controller_factory(Arc::new(window));
    let mut client = attacker.enrolled.clone();
    client.transport_config(Arc::new(transport));
    endpoint.set_default_client_config(client);
    let mut client = Client::connect_from(endpoint, attacker.station).await.unwrap();
    client.hello(1).await;
    socket.on.store(true, Ordering::Relaxed);
    client
}

#[test]
fn streams_full_of_holes() {
    beside(
        "streams full of holes",
        async |attacker: Attacker, switch: Switch| {
            let whole = object_of(8, 1, 0, 3_000, |_| {});
            let mut client = holed(&attacker).await;
            let mut streams: Vec<(SendStream, usize)> = Vec::new();
            while switch.on().await {
                if client.connection.close_reason().is_some() {
                    client = holed(&attacker).await;
                    streams.clear();
                }
                let opened = tokio::time::timeout(Duration::ZERO, client.connection.open_uni());
                if streams.len() < STREAMS
                    && let Ok(Ok(stream)) = opened.await
                {
                    streams.push((stream, 0));
                    continue;
                }
                let mut stopped = Vec::new();
                for (number, (stream, at)) in streams.iter_mut().enumerate() {
                    // As far as the credit goes; the station stops those that fall silent.
                    let rest = &whole[*at..];
                    let write = stream.write(&rest[..rest.len().min(64 << 10)]);
                    match tokio::time::timeout(Duration::ZERO, write).await {
                        Ok(Ok(written)) => *at += written,
                        Ok(Err(_)) => stopped.push(number),
                        Err(_) => {}
                    }
                }
                for number in stopped.into_iter().rev() {
                    streams.swap_remove(number);
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        },
        &["/rejected/stalled"],
    );
}

#[test]
fn a_flood_of_live_frames() {
    beside(
        "a flood of live frames",
        async |attacker: Attacker, switch: Switch| {
            let client = attacker.session().await;
            let look = QuickLook {
                codec: Codec::AosFrame,
                quality: Quality::Good,
                received: Tai(1),
                channel: Channel::stream(1),
                spacecraft: SpacecraftId(8),
                frame: &[0x55; 1_000],
            };
            let look = bytes::Bytes::from(look.encode().unwrap());
            while switch.on().await {
                // As fast as the path takes them: each waits for room.
                for _ in 0..64 {
                    client.connection.send_datagram_wait(look.clone()).await.unwrap();
                }
            }
        },
        &["/quick_looks_dropped/too-many"],
    );
}
