//! QUIC endpoints joined by links, in simulated time.
//!
//! Every node has an endpoint of the transport library, and between two nodes there may be a leg
//! each way. The loop takes one event at a time, a datagram that arrives or a timer, hands it to
//! the library, sends what it wants sent, and says which connection has something to tell.

mod node;

use std::{
    collections::{BTreeMap, VecDeque},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use codecs::time::Tai;
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, EcnCodepoint, Event, Transmit,
    VarInt,
};

pub use self::node::Settings;
use self::node::{Live, Node};
use super::{queue::Queue, shell::epoch, trace::Trace};
use crate::link::{Geometry, LinkModel, Reason, Verdict};
use crate::rng::Random;

/// Datagrams that the transport hands out at once, as one system call would take them.
const SEGMENTS: usize = 10;
/// Port of every node.
const PORT: u16 = 7117;

/// A place in the net.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub u32);

impl NodeId {
    /// Its address.
    pub fn address(self) -> SocketAddr {
        // 10.0.0.0/8 has room for every spacecraft there ever was.
        (Ipv4Addr::from_bits((10 << 24) | (self.0 + 1)), PORT).into()
    }

    fn of(address: SocketAddr) -> Option<Self> {
        let SocketAddr::V4(address) = address else { return None };
        (address.ip().to_bits() & 0x00ff_ffff).checked_sub(1).map(Self)
    }
}

/// One side of a connection; never used for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId {
    /// At which node.
    pub node: NodeId,
    slot: u32,
    serial: u64,
}

/// One direction of a path: what becomes of a datagram.
pub trait Leg: Send {
    /// Decides about a datagram of so many payload bytes; calls come in order of time.
    fn offer(&mut self, now: Tai, length: usize) -> Verdict;

    /// When a second copy of it arrives, if one does.
    fn copy(&self) -> Option<Tai> {
        None
    }

    /// When what noise took of it arrives all the same, where a modem would hand it on.
    fn lost_at(&self) -> Option<Tai> {
        None
    }
}

impl<G: Geometry + Send> Leg for LinkModel<G> {
    fn offer(&mut self, now: Tai, length: usize) -> Verdict {
        LinkModel::offer(self, now, length)
    }

    fn copy(&self) -> Option<Tai> {
        LinkModel::copy(self)
    }

    fn lost_at(&self) -> Option<Tai> {
        LinkModel::lost_at(self)
    }
}

impl<L: Leg + ?Sized> Leg for Box<L> {
    fn offer(&mut self, now: Tai, length: usize) -> Verdict {
        (**self).offer(now, length)
    }

    fn copy(&self) -> Option<Tai> {
        (**self).copy()
    }

    fn lost_at(&self) -> Option<Tai> {
        (**self).lost_at()
    }
}

/// What passed over a leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams offered.
    pub offered: u64,
    /// Datagrams that arrive.
    pub delivered: u64,
    /// Payload bytes of those.
    pub delivered_bytes: u64,
    /// Datagrams lost to noise.
    pub lost: u64,
    /// Datagrams dropped at a full queue.
    pub queue_full: u64,
    /// Datagrams offered while the other end was out of sight.
    pub invisible: u64,
}

impl Traffic {
    fn note(&mut self, length: usize, verdict: Verdict) {
        self.offered += 1;
        match verdict {
            Verdict::DeliverAt(_) => {
                self.delivered += 1;
                self.delivered_bytes += length as u64;
            }
            Verdict::Dropped(Reason::Invisible) => self.invisible += 1,
            Verdict::Dropped(Reason::QueueFull) => self.queue_full += 1,
            Verdict::Dropped(_) => self.lost += 1,
        }
    }

    /// Takes another leg's in.
    pub fn add(&mut self, other: &Self) {
        self.offered += other.offered;
        self.delivered += other.delivered;
        self.delivered_bytes += other.delivered_bytes;
        self.lost += other.lost;
        self.queue_full += other.queue_full;
        self.invisible += other.invisible;
    }
}

/// What the loop stopped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// A connection has events: [`Net::poll`] them.
    Connection(LinkId),
    /// A time that a node asked for has come, with what it said then.
    Wake(NodeId, u64),
}

/// Said with a wake where a modem hands a node something: see [`Net::heard`].
pub const HEARD: u64 = u64::MAX;

enum Happening {
    Arrive { from: NodeId, to: NodeId, ecn: Option<EcnCodepoint>, bytes: BytesMut },
    Timer(LinkId),
    Wake(NodeId, u64),
    Hear(NodeId, Vec<u8>),
}

/// What is under way between the nodes.
struct Air {
    start: Tai,
    now_ns: u64,
    queue: Queue<Happening>,
    legs: BTreeMap<(NodeId, NodeId), (Box<dyn Leg>, Traffic)>,
    /// Datagrams to where no leg leads.
    stray: u64,
    /// What modems hand on, until it is taken.
    heard: VecDeque<Vec<u8>>,
    trace: Trace,
}

impl Air {
    fn transmit(&mut self, from: NodeId, transmit: &Transmit, bytes: &[u8]) {
        let Some(to) = NodeId::of(transmit.destination) else { return };
        let Some((leg, traffic)) = self.legs.get_mut(&(from, to)) else {
            self.stray += 1;
            return;
        };
        let now = self.start.plus(self.now_ns as i64);
        let segment = transmit.segment_size.unwrap_or(transmit.size).max(1);
        let place = (u64::from(from.0) << 32) | u64::from(to.0);
        for datagram in bytes.get(..transmit.size).unwrap_or_default().chunks(segment) {
            let verdict = leg.offer(now, datagram.len());
            traffic.note(datagram.len(), verdict);
            let Verdict::DeliverAt(at) = verdict else {
                self.trace.note(self.now_ns, place, datagram.len() as u64);
                continue;
            };
            let at_ns = at.since(self.start).max(self.now_ns as i64) as u64;
            self.trace.note(at_ns, place, datagram.len() as u64);
            let (ecn, bytes) = (transmit.ecn, BytesMut::from(datagram));
            if let Some(copy) = leg.copy() {
                let at_ns = copy.since(self.start).max(self.now_ns as i64) as u64;
                self.trace.note(at_ns, place, datagram.len() as u64);
                let bytes = bytes.clone();
                self.queue.push(at_ns, Happening::Arrive { from, to, ecn, bytes });
            }
            self.queue.push(at_ns, Happening::Arrive { from, to, ecn, bytes });
        }
    }
}

impl Air {
    fn radiate(&mut self, (from, to): (NodeId, NodeId), mut bytes: Vec<u8>, length: usize) {
        let Some((leg, traffic)) = self.legs.get_mut(&(from, to)) else {
            self.stray += 1;
            return;
        };
        let verdict = leg.offer(self.start.plus(self.now_ns as i64), length);
        traffic.note(length, verdict);
        let place = (u64::from(from.0) << 32) | u64::from(to.0);
        let at = match verdict {
            Verdict::DeliverAt(at) => Some(at),
            Verdict::Dropped(_) => leg.lost_at().inspect(|_| {
                damage(&mut bytes, self.now_ns ^ place.rotate_left(32));
            }),
        };
        let at_ns = at.map(|at| at.since(self.start).max(self.now_ns as i64) as u64);
        self.trace.note(at_ns.unwrap_or(self.now_ns), place, length as u64);
        if let Some(at_ns) = at_ns {
            self.queue.push(at_ns, Happening::Hear(to, bytes));
        }
    }
}

/// Makes so much wrong that no code of ours mends it: a byte in eight.
fn damage(bytes: &mut [u8], seed: u64) {
    let mut random = Random::new(seed, "noise");
    for byte in bytes {
        if random.chance(0.125) {
            *byte ^= (random.bits() as u8).max(1);
        }
    }
}

/// Nodes, legs and what is under way.
pub struct Net {
    air: Air,
    nodes: Vec<Node>,
    serial: u64,
    buffer: Vec<u8>,
}

impl Net {
    /// An empty net whose time starts at `start`.
    pub fn new(start: Tai) -> Self {
        let (queue, legs, heard, trace) = Default::default();
        let air = Air { start, now_ns: 0, queue, legs, stray: 0, heard, trace };
        Self { air, nodes: Vec::new(), serial: 0, buffer: Vec::new() }
    }

    /// Nanoseconds since the start.
    pub fn now_ns(&self) -> u64 {
        self.air.now_ns
    }

    /// Simulated time.
    pub fn now(&self) -> Tai {
        self.air.start.plus(self.air.now_ns as i64)
    }

    /// Everything that was sent so far, as one number.
    pub fn trace(&self) -> Trace {
        self.air.trace
    }

    /// Adds a node.
    pub fn add(&mut self, settings: Settings) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(Node::new(settings));
        id
    }

    /// Starts a node's endpoint anew, as after a crash: its connections are gone without a word.
    pub fn restart(&mut self, node: NodeId, settings: Settings) {
        if let Some(place) = self.nodes.get_mut(node.0 as usize) {
            *place = Node::new(settings);
        }
    }

    /// Lays a leg from one node to another, in the place of the one before.
    pub fn lay(&mut self, from: NodeId, to: NodeId, leg: Box<dyn Leg>) {
        let before = self.air.legs.remove(&(from, to)).map(|(_, traffic)| traffic);
        self.air.legs.insert((from, to), (leg, before.unwrap_or_default()));
    }

    /// What passed from one node to another.
    pub fn traffic(&self, from: NodeId, to: NodeId) -> Traffic {
        self.air.legs.get(&(from, to)).map(|(_, traffic)| *traffic).unwrap_or_default()
    }

    /// Comes back with `token` at a time; at once where that is past.
    pub fn wake(&mut self, node: NodeId, at_ns: u64, token: u64) {
        self.air.queue.push(at_ns.max(self.air.now_ns), Happening::Wake(node, token));
    }

    /// Sends a unit of a modem, which takes as much of the leg's rate as `length` bytes do. What
    /// noise takes arrives as well, with errors that no code mends.
    pub fn radiate(&mut self, from: NodeId, to: NodeId, bytes: Vec<u8>, length: usize) {
        self.air.radiate((from, to), bytes, length);
    }

    /// What a modem hands on, to be taken at the wake that says [`HEARD`].
    pub fn heard(&mut self) -> Option<Vec<u8>> {
        self.air.heard.pop_front()
    }

    /// Begins a connection.
    ///
    /// # Errors
    /// What the transport does not take: no such name, or no more connection ids.
    pub fn connect(
        &mut self,
        from: NodeId,
        to: NodeId,
        config: ClientConfig,
        name: &str,
    ) -> anyhow::Result<LinkId> {
        let now = epoch::instant(self.air.now_ns);
        let node = self.nodes.get_mut(from.0 as usize);
        let node = node.ok_or_else(|| anyhow::anyhow!("no node {}", from.0))?;
        let (handle, connection) = node.endpoint.connect(now, config, to.address(), name)?;
        let id = self.keep(from, handle, connection);
        self.touch(id);
        Ok(id)
    }

    fn keep(&mut self, at: NodeId, handle: ConnectionHandle, connection: Connection) -> LinkId {
        self.serial += 1;
        let serial = self.serial;
        let slot = self
            .nodes
            .get_mut(at.0 as usize)
            .map_or(0, |node| node.keep(handle, Live::new(handle, serial, connection)));
        LinkId { node: at, slot, serial }
    }

    fn live(&mut self, id: LinkId) -> Option<&mut Live> {
        self.nodes.get_mut(id.node.0 as usize)?.live(id.slot, id.serial)
    }

    /// A side of a connection; after changing anything, [`touch`](Self::touch) it. None once it is
    /// over.
    pub fn connection(&mut self, id: LinkId) -> Option<&mut Connection> {
        self.live(id).map(|live| &mut live.connection)
    }

    /// Which node is at the other end.
    pub fn peer(&mut self, id: LinkId) -> Option<NodeId> {
        NodeId::of(self.live(id)?.connection.remote_address())
    }

    /// The next event of a connection.
    pub fn poll(&mut self, id: LinkId) -> Option<Event> {
        let node = self.nodes.get_mut(id.node.0 as usize)?;
        let event = node.live(id.slot, id.serial)?.events.pop_front();
        if event.is_none() {
            node.forget_drained(id.slot);
        }
        event
    }

    /// Closes a connection on purpose.
    pub fn close(&mut self, id: LinkId, code: VarInt, reason: &'static [u8]) {
        let now = epoch::instant(self.air.now_ns);
        if let Some(live) = self.live(id) {
            live.connection.close(now, code, Bytes::from_static(reason));
            self.touch(id);
        }
    }

    /// Sends what a connection wants sent, and sets its timer.
    pub fn touch(&mut self, id: LinkId) {
        let Self { air, nodes, buffer, .. } = self;
        let Some(node) = nodes.get_mut(id.node.0 as usize) else { return };
        let now = epoch::instant(air.now_ns);
        let Some((endpoint, live)) = node.both(id.slot, id.serial) else { return };
        loop {
            while let Some(event) = live.connection.poll_endpoint_events() {
                if let Some(event) = endpoint.handle_event(live.handle, event) {
                    live.connection.handle_event(event);
                }
            }
            buffer.clear();
            while let Some(transmit) = live.connection.poll_transmit(now, SEGMENTS, buffer) {
                air.transmit(id.node, &transmit, buffer);
                buffer.clear();
            }
            match live.connection.poll_timeout() {
                Some(due) if due <= now => live.connection.handle_timeout(now),
                due => {
                    if let Some(due) = due.map(epoch::nanoseconds)
                        && live.timer_ns.is_none_or(|timer| due < timer)
                    {
                        live.timer_ns = Some(due);
                        air.queue.push(due, Happening::Timer(id));
                    }
                    break;
                }
            }
        }
        while let Some(event) = live.connection.poll_endpoint_events() {
            if let Some(event) = endpoint.handle_event(live.handle, event) {
                live.connection.handle_event(event);
            }
        }
        while let Some(event) = live.connection.poll() {
            if !matches!(event, Event::HandshakeDataReady) {
                live.events.push_back(event);
            }
        }
        node.forget_drained(id.slot);
    }

    /// Goes on to the next thing that somebody has to know, no further than `until_ns`; none where
    /// nothing comes before, and then it is `until_ns`.
    pub fn next(&mut self, until_ns: u64) -> Option<Turn> {
        while let Some((at_ns, happening)) = self.air.queue.pop(until_ns) {
            self.air.now_ns = at_ns;
            let touched = match happening {
                Happening::Wake(node, token) => return Some(Turn::Wake(node, token)),
                Happening::Hear(node, bytes) => {
                    self.air.heard.push_back(bytes);
                    return Some(Turn::Wake(node, HEARD));
                }
                Happening::Timer(id) => self.timer(id, at_ns),
                Happening::Arrive { from, to, ecn, bytes } => self.arrive(from, to, ecn, bytes),
            };
            let Some(id) = touched else { continue };
            self.touch(id);
            if self.live(id).is_some_and(|live| !live.events.is_empty()) {
                return Some(Turn::Connection(id));
            }
        }
        self.air.now_ns = self.air.now_ns.max(until_ns);
        None
    }

    /// When the next thing happens.
    pub fn due_ns(&self) -> Option<u64> {
        self.air.queue.due_ns()
    }

    fn timer(&mut self, id: LinkId, at_ns: u64) -> Option<LinkId> {
        let live = self.live(id)?;
        // An earlier one took its place since.
        if live.timer_ns != Some(at_ns) {
            return None;
        }
        live.timer_ns = None;
        let now = epoch::instant(at_ns);
        if live.connection.poll_timeout().is_some_and(|due| due <= now) {
            live.connection.handle_timeout(now);
        }
        Some(id)
    }

    fn arrive(
        &mut self,
        from: NodeId,
        to: NodeId,
        ecn: Option<EcnCodepoint>,
        bytes: BytesMut,
    ) -> Option<LinkId> {
        let Self { air, nodes, buffer, .. } = self;
        let now = epoch::instant(air.now_ns);
        let node = nodes.get_mut(to.0 as usize)?;
        buffer.clear();
        let event = node.endpoint.handle(now, from.address(), None, ecn, bytes, buffer)?;
        match event {
            DatagramEvent::ConnectionEvent(handle, event) => {
                let (slot, live) = node.of(handle)?;
                live.connection.handle_event(event);
                Some(LinkId { node: to, slot, serial: live.serial })
            }
            DatagramEvent::Response(transmit) => {
                air.transmit(to, &transmit, buffer);
                None
            }
            DatagramEvent::NewConnection(incoming) => {
                match node.endpoint.accept(incoming, now, buffer, None) {
                    Ok((handle, connection)) => Some(self.keep(to, handle, connection)),
                    Err(error) => {
                        if let Some(transmit) = error.response {
                            air.transmit(to, &transmit, buffer);
                        }
                        None
                    }
                }
            }
        }
    }
}

/// A shared congestion controller factory, as the transport takes it.
pub type Control = Arc<dyn quinn_proto::congestion::ControllerFactory + Send + Sync>;
