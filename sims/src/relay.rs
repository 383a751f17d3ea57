//! A real UDP relay that puts the link model between two real programs: shell only, the model
//! decides. No root, no kernel queue; delays are kept to tokio's timer, a millisecond.

use crate::link::noise::Noise;
use crate::link::{Geometry, LinkModel, Reason, Verdict};
use codecs::time::Tai;
use rustix::net::sockopt;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Clients that the relay remembers; the oldest makes room for a newer one.
const MAX_CLIENTS: usize = 64;
/// Datagrams in flight in both directions; more are dropped as a full queue.
const MAX_IN_FLIGHT: usize = 65_536;
/// Largest UDP datagram.
const MAX_DATAGRAM_BYTES: usize = 65_535;
/// Asked of the kernel for each socket; what it grants is its own limit.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Simulated time: an instant of it, and when that was.
#[derive(Clone, Copy, Debug)]
pub struct SimulatedClock {
    /// Simulated instant at `at`.
    pub start: Tai,
    /// Real instant of it.
    pub at: Instant,
}

impl SimulatedClock {
    /// Simulated time now.
    pub fn now(&self) -> Tai {
        self.start.plus(self.at.elapsed().as_nanos() as i64)
    }

    /// When a simulated instant comes.
    pub fn instant_of(&self, simulated: Tai) -> Instant {
        let nanos = simulated.since(self.start).max(0) as u64;
        self.at + std::time::Duration::from_nanos(nanos)
    }
}

/// What passed in one direction.
#[derive(Debug, Default)]
pub struct Counters {
    /// Datagrams delivered.
    pub delivered: AtomicU64,
    /// Their payload bytes.
    pub bytes: AtomicU64,
    /// Datagrams lost to noise.
    pub lost: AtomicU64,
    /// Datagrams dropped at the queue.
    pub queue_full: AtomicU64,
    /// Datagrams offered below the horizon.
    pub invisible: AtomicU64,
    /// Datagrams that came before the relay ran.
    pub early: AtomicU64,
}

impl Counters {
    /// Datagrams that the link did not carry while the relay ran.
    pub fn lost_all(&self) -> u64 {
        let lost = [&self.lost, &self.queue_full, &self.invisible];
        lost.into_iter().map(|of| of.load(Ordering::Relaxed)).sum()
    }

    fn dropped(&self, reason: Reason) {
        let counter = match reason {
            Reason::Invisible => &self.invisible,
            Reason::QueueFull => &self.queue_full,
            Reason::Lost => &self.lost,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// What passed in both directions.
#[derive(Debug, Default)]
pub struct Totals {
    /// Client to server: the spacecraft's downlink.
    pub down: Counters,
    /// Server to client: the uplink.
    pub up: Counters,
}

/// A bound relay.
pub struct Relay {
    listener: Arc<UdpSocket>,
    to: SocketAddr,
    totals: Arc<Totals>,
    noise: Option<Noise>,
}

/// A datagram on its way, ordered by arrival and, at equal times, by departure.
struct Flight {
    arrival: Tai,
    number: u64,
    bytes: Vec<u8>,
    to: Hop,
}

/// The socket a datagram leaves by.
#[derive(Clone)]
enum Hop {
    Server(Arc<UdpSocket>),
    Client(SocketAddr),
}

impl PartialEq for Flight {
    fn eq(&self, other: &Self) -> bool {
        (self.arrival, self.number) == (other.arrival, other.number)
    }
}

impl Eq for Flight {}

impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Flight {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.arrival, self.number).cmp(&(other.arrival, other.number))
    }
}

/// One client's way to the server: its socket and the task that reads it.
struct Path {
    socket: Arc<UdpSocket>,
    reader: tokio::task::JoinHandle<()>,
    born: u64,
}

impl Drop for Path {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Relay {
    /// Listens; nothing moves before [`Relay::run`].
    pub async fn bind(listen: SocketAddr, to: SocketAddr) -> io::Result<Self> {
        let listener = Arc::new(open(listen).await?);
        Ok(Self { listener, to, totals: Arc::default(), noise: None })
    }

    /// Turns bits of what goes from clients to the server, as a radio's channel does.
    pub fn with_noise(self, noise: Noise) -> Self {
        Self { noise: Some(noise), ..self }
    }

    /// Address that clients send to.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Counters that stay readable while the relay runs.
    pub fn totals(&self) -> Arc<Totals> {
        self.totals.clone()
    }

    /// Relays until the future is dropped; only a broken listening socket ends it. What came in
    /// before the start was sent into an empty sky.
    pub async fn run<G: Geometry>(
        mut self,
        clock: SimulatedClock,
        mut down: LinkModel<G>,
        mut up: LinkModel<G>,
    ) -> io::Result<()> {
        let (replies, mut answered) = mpsc::channel::<(SocketAddr, Vec<u8>)>(1024);
        let mut paths: BTreeMap<SocketAddr, Path> = BTreeMap::new();
        let mut flights: BinaryHeap<Reverse<Flight>> = BinaryHeap::new();
        let mut buffer = vec![0u8; MAX_DATAGRAM_BYTES];
        let mut number = 0u64;
        while self.listener.try_recv_from(&mut buffer).is_ok() {
            self.totals.down.early.fetch_add(1, Ordering::Relaxed);
        }
        loop {
            let next = flights.peek().map(|flight| clock.instant_of(flight.0.arrival));
            let (bytes, hop, model, counters) = tokio::select! {
                biased;
                () = until(next) => {
                    self.land(&mut flights, clock.now()).await;
                    continue;
                }
                received = self.listener.recv_from(&mut buffer) => {
                    // A client that vanished makes the next call fail once; it is no end.
                    let Ok((length, client)) = received else { continue };
                    let socket = self.path(&mut paths, client, &replies, number).await?;
                    let mut bytes = buffer[..length].to_vec();
                    if let Some(noise) = &mut self.noise {
                        noise.spoil(&mut bytes);
                    }
                    (bytes, Hop::Server(socket), &mut down, &self.totals.down)
                }
                Some((client, bytes)) = answered.recv() => {
                    (bytes, Hop::Client(client), &mut up, &self.totals.up)
                }
            };
            number += 1;
            match model.offer(clock.now(), bytes.len()) {
                Verdict::DeliverAt(_) if flights.len() >= MAX_IN_FLIGHT => {
                    counters.dropped(Reason::QueueFull);
                }
                Verdict::DeliverAt(arrival) => {
                    if let Some(arrival) = model.copy() {
                        let (bytes, to) = (bytes.clone(), hop.clone());
                        flights.push(Reverse(Flight { arrival, number, bytes, to }));
                    }
                    flights.push(Reverse(Flight { arrival, number, bytes, to: hop }));
                }
                Verdict::Dropped(reason) => counters.dropped(reason),
            }
        }
    }

    /// Delivers everything that has arrived by now.
    async fn land(&self, flights: &mut BinaryHeap<Reverse<Flight>>, now: Tai) {
        while flights.peek().is_some_and(|flight| flight.0.arrival <= now) {
            let Some(Reverse(flight)) = flights.pop() else { break };
            let length = flight.bytes.len() as u64;
            // A server that is down refuses datagrams, as a dark receiver would: no error here.
            let (counters, sent) = match flight.to {
                Hop::Server(socket) => {
                    (&self.totals.down, socket.send_to(&flight.bytes, self.to).await)
                }
                Hop::Client(client) => {
                    (&self.totals.up, self.listener.send_to(&flight.bytes, client).await)
                }
            };
            if sent.is_ok() {
                counters.delivered.fetch_add(1, Ordering::Relaxed);
                counters.bytes.fetch_add(length, Ordering::Relaxed);
            }
        }
    }

    /// The client's way to the server, made at its first datagram.
    async fn path(
        &self,
        paths: &mut BTreeMap<SocketAddr, Path>,
        client: SocketAddr,
        replies: &mpsc::Sender<(SocketAddr, Vec<u8>)>,
        born: u64,
    ) -> io::Result<Arc<UdpSocket>> {
        if let Some(path) = paths.get(&client) {
            return Ok(path.socket.clone());
        }
        if paths.len() >= MAX_CLIENTS {
            let oldest = paths.iter().min_by_key(|(_, path)| path.born).map(|(client, _)| *client);
            oldest.map(|client| paths.remove(&client));
        }
        let any: SocketAddr = match self.to {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = Arc::new(open(any).await?);
        let (reading, server, replies) = (socket.clone(), self.to, replies.clone());
        let reader = tokio::spawn(async move {
            let mut buffer = vec![0u8; MAX_DATAGRAM_BYTES];
            loop {
                let Ok((length, from)) = reading.recv_from(&mut buffer).await else { continue };
                let known = from == server;
                if known && replies.send((client, buffer[..length].to_vec())).await.is_err() {
                    return;
                }
            }
        });
        paths.insert(client, Path { socket: socket.clone(), reader, born });
        Ok(socket)
    }
}

async fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address).await.map_err(|error| {
        io::Error::new(error.kind(), format!("relay can't listen on {address}: {error}"))
    })?;
    // Best effort: a small buffer only drops more, which the link under test bears.
    let _ = sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER_BYTES);
    let _ = sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER_BYTES);
    Ok(socket)
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
