//! A client's connection, a spacecraft's or an edge's: what its shell does with sockets and tasks,
//! by hand.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use anyhow::Context as _;
use bytes::Bytes;
use codecs::{
    link::{profile::Profile, sender::Plan},
    time::Tai,
};
use codecs_quic::{
    Custodian, PlannedLink, TransportOptions, client_tls, client_transport,
    courier::{self, Attempts, Courier, ObjectFailure, PULSE_EVERY, Silence, handshake_max},
};
use quinn_proto::{
    ClientConfig, ConnectionError, ConnectionId, Dir, Event, StreamEvent, StreamId,
    TransportConfig, VarInt, WriteError, crypto::rustls::QuicClientConfig,
};

use crate::{
    rng::Random,
    world::{
        identity::{Identity, SERVER_NAME},
        net::{LinkId, Net, NodeId},
    },
};

/// How often a connection is looked at on which nothing happens: keep-alives go by themselves.
const QUIET_NS: u64 = 5_000_000_000;
/// Code for an object whose units are no longer there.
const WITHDRAWN: VarInt = VarInt::from_u32(1);
/// Code that a connection closes with on purpose.
const DONE: VarInt = VarInt::from_u32(0);

/// An object on its stream.
struct Object {
    id: u64,
    units: u64,
    bytes: u64,
    left: Bytes,
}

/// A connection from its first packet on.
struct Open {
    id: LinkId,
    begun_ns: u64,
    /// The control stream, once the handshake is done.
    control: Option<StreamId>,
    /// Control messages that the stream had no room for.
    pending: VecDeque<Bytes>,
    objects: BTreeMap<StreamId, Object>,
    /// Objects that wait for a stream.
    waiting: VecDeque<(u8, Object)>,
    silence: Silence,
    pulse_ns: u64,
    /// Something went or came since the last look.
    busy: bool,
}

impl Open {
    /// Something goes or comes: it is looked at soon.
    fn stir(&mut self, mono: u64) {
        self.busy = true;
        self.pulse_ns = self.pulse_ns.min(mono + PULSE_EVERY.as_nanos() as u64);
    }
}

/// Who connects to whom.
pub struct Ends<'a> {
    /// Keys of the client.
    pub identity: &'a Identity,
    /// Keys of the station.
    pub station: &'a Identity,
    /// Transport settings.
    pub profile: &'a Profile,
    /// Seed of what is random.
    pub seed: u64,
}

/// The connection, or the wait for the next one. Times are of the client's monotonic clock.
pub struct Link {
    profile: Profile,
    crypto: Arc<QuicClientConfig>,
    numbers: Arc<TransportConfig>,
    awake: Box<dyn Fn() -> bool + Send>,
    random: Random,
    attempts: Attempts,
    next_ns: u64,
    open: Option<Open>,
}

impl Link {
    /// No connection yet; `awake` says whether one is to be tried.
    ///
    /// # Errors
    /// Keys that the library does not take.
    pub fn new(
        ends: &Ends<'_>,
        options: &TransportOptions,
        planned: &PlannedLink,
        awake: Box<dyn Fn() -> bool + Send>,
        boots: u64,
    ) -> anyhow::Result<Self> {
        let Ends { identity, station, profile, seed } = *ends;
        let tls = client_tls(identity.chain.clone(), identity.key(), vec![station.key_hash])?;
        let crypto = Arc::new(QuicClientConfig::try_from(tls).context("TLS for QUIC")?);
        let numbers = Arc::new(client_transport(profile, options, planned)?);
        Ok(Self {
            profile: *profile,
            crypto,
            numbers,
            awake,
            random: Random::new(seed ^ boots.rotate_left(17), "sessions"),
            attempts: Attempts::default(),
            next_ns: 0,
            open: None,
        })
    }

    /// When it wants to be looked at.
    pub fn timeout(&self) -> Option<u64> {
        match &self.open {
            Some(open) => Some(open.pulse_ns),
            None if (self.awake)() => Some(self.next_ns),
            None => None,
        }
    }

    /// Begins a connection where one is to be tried, and gives one up that does not answer.
    pub fn tend(
        &mut self,
        net: &mut Net,
        (node, station): (NodeId, NodeId),
        courier: &mut Courier,
        mono: u64,
    ) {
        courier.sender.handle_timeout(mono);
        if self.open.is_none() && mono >= self.next_ns && (self.awake)() {
            self.begin(net, (node, station), mono);
            return;
        }
        let patience = handshake_max(&self.profile).as_nanos() as u64;
        let Some(open) = self.open.as_mut().filter(|open| mono >= open.pulse_ns) else { return };
        let busy = std::mem::take(&mut open.busy) || open.control.is_none();
        open.pulse_ns = mono + if busy { PULSE_EVERY.as_nanos() as u64 } else { QUIET_NS };
        let gone = match net.connection(open.id) {
            None => true,
            Some(_) if open.control.is_none() => mono - open.begun_ns > patience,
            Some(connection) => open.silence.is_over(&connection.stats(), connection.rtt(), mono),
        };
        if gone {
            self.over(net, courier, None, mono);
        }
    }

    fn begin(&mut self, net: &mut Net, (node, station): (NodeId, NodeId), mono: u64) {
        let first = self.random.bits().to_be_bytes();
        let mut config = ClientConfig::new(Arc::clone(&self.crypto) as Arc<_>);
        config
            .transport_config(Arc::clone(&self.numbers))
            .initial_dst_cid_provider(Arc::new(move || ConnectionId::new(&first)));
        match net.connect(node, station, config, SERVER_NAME) {
            Ok(id) => {
                self.open = Some(Open {
                    id,
                    begun_ns: mono,
                    control: None,
                    pending: VecDeque::new(),
                    objects: BTreeMap::new(),
                    waiting: VecDeque::new(),
                    silence: Silence::new(&self.profile),
                    pulse_ns: mono + PULSE_EVERY.as_nanos() as u64,
                    busy: true,
                });
            }
            Err(_) => self.next_ns = mono + self.attempts.pause().as_nanos() as u64,
        }
    }

    /// The connection is gone or given up.
    fn over(
        &mut self,
        net: &mut Net,
        courier: &mut Courier,
        reason: Option<&ConnectionError>,
        mono: u64,
    ) {
        let Some(open) = self.open.take() else { return };
        if open.control.is_some() {
            courier.disconnected();
            self.attempts.broke(reason);
        }
        net.close(open.id, DONE, b"");
        self.next_ns = mono + self.attempts.pause().as_nanos() as u64;
    }

    /// Takes what the connection tells.
    pub fn events(&mut self, net: &mut Net, id: LinkId, courier: &mut Courier, mono: u64) {
        if let Some(open) = &mut self.open {
            open.stir(mono);
        }
        while let Some(event) = net.poll(id) {
            if self.open.as_ref().is_none_or(|open| open.id != id) {
                continue;
            }
            match event {
                Event::Connected => self.connected(net, courier),
                Event::ConnectionLost { reason } => {
                    self.over(net, courier, Some(&reason), mono);
                }
                Event::Stream(event) => self.stream(net, courier, event, mono),
                _ => {}
            }
        }
    }

    fn connected(&mut self, net: &mut Net, courier: &mut Courier) {
        let Some(open) = &mut self.open else { return };
        let Some(connection) = net.connection(open.id) else { return };
        let Some(control) = connection.streams().open(Dir::Bi) else { return };
        let _ = connection.send_stream(control).set_priority(i32::MAX);
        open.control = Some(control);
        self.attempts.connected();
        courier.connected(self.random.bits());
    }

    fn stream(&mut self, net: &mut Net, courier: &mut Courier, event: StreamEvent, mono: u64) {
        let Some(open) = &mut self.open else { return };
        let Some(connection) = net.connection(open.id) else { return };
        match event {
            StreamEvent::Readable { id } if Some(id) == open.control => {
                let mut read = Vec::new();
                let mut ended = false;
                if let Ok(mut chunks) = connection.recv_stream(id).read(true) {
                    loop {
                        match chunks.next(16 << 10) {
                            Ok(Some(chunk)) => read.push(chunk.bytes),
                            Ok(None) => break ended = true,
                            Err(_) => break,
                        }
                    }
                    let _ = chunks.finalize();
                }
                let wrong =
                    read.iter().any(|bytes| courier.sender.control_bytes(bytes, mono).is_err());
                if wrong || ended {
                    self.over(net, courier, None, mono);
                }
            }
            StreamEvent::Finished { id } => {
                if let Some(object) = open.objects.remove(&id) {
                    courier.object_ended(object.id, Ok((object.units, object.bytes)));
                }
            }
            StreamEvent::Stopped { id, .. } => {
                if let Some(object) = open.objects.remove(&id) {
                    let _ = connection.send_stream(id).reset(WITHDRAWN);
                    courier.object_ended(object.id, Err(ObjectFailure::Stream));
                }
            }
            StreamEvent::Writable { id } => {
                if let Some(object) = open.objects.get_mut(&id) {
                    write(connection.send_stream(id), &mut object.left);
                }
            }
            _ => {}
        }
    }

    /// An object is not to go on.
    pub fn cancel(&mut self, net: &mut Net, courier: &mut Courier, id: u64) {
        let Some(open) = &mut self.open else { return };
        open.waiting.retain(|(_, object)| object.id != id);
        let stream = open.objects.iter().find(|(_, object)| object.id == id).map(|(at, _)| *at);
        if let Some(stream) = stream {
            open.objects.remove(&stream);
            if let Some(connection) = net.connection(open.id) {
                let _ = connection.send_stream(stream).reset(WITHDRAWN);
            }
        }
        courier.object_ended(id, Err(ObjectFailure::Changed));
    }

    /// Writes what there is to say and to send.
    pub fn pump<C: Custodian>(
        &mut self,
        net: &mut Net,
        courier: &mut Courier,
        store: &mut C,
        (created, mono): (Tai, u64),
        mut begun: impl FnMut(&Plan),
    ) {
        let Some(open) = &mut self.open else { return };
        let Some(control) = open.control else { return };
        let Some(connection) = net.connection(open.id) else { return };
        open.pending.extend(std::iter::from_fn(|| courier.sender.poll_control()));
        let mut stirred = !open.pending.is_empty();
        while let Some(front) = open.pending.front_mut() {
            if !write_some(connection.send_stream(control), front) {
                break;
            }
            open.pending.pop_front();
        }
        while let Some(plan) = courier.sender.poll_object(created) {
            match courier::object(&plan, store) {
                Ok(bytes) => {
                    stirred = true;
                    begun(&plan);
                    let (units, length) = (plan.range.count(), bytes.len() as u64);
                    let object = Object { id: plan.id, units, bytes: length, left: bytes };
                    open.waiting.push_back((plan.header.priority, object));
                }
                Err(failure) => {
                    courier.object_ended(plan.id, Err(failure));
                }
            }
        }
        while !open.waiting.is_empty() {
            let Some(stream) = connection.streams().open(Dir::Uni) else { break };
            let Some((priority, mut object)) = open.waiting.pop_front() else { break };
            let _ = connection.send_stream(stream).set_priority(priority.into());
            write(connection.send_stream(stream), &mut object.left);
            open.objects.insert(stream, object);
        }
        if stirred {
            open.stir(mono);
            net.touch(open.id);
        }
    }
}

/// Writes what a stream has room for; whether that is all.
fn write_some(mut stream: quinn_proto::SendStream<'_>, left: &mut Bytes) -> bool {
    while !left.is_empty() {
        match stream.write_chunks(std::slice::from_mut(left)) {
            Ok(_) => {}
            Err(WriteError::Blocked) => return false,
            Err(_) => return true,
        }
    }
    true
}

/// The same, with the end of the stream behind it.
fn write(mut stream: quinn_proto::SendStream<'_>, left: &mut Bytes) {
    while !left.is_empty() {
        match stream.write_chunks(std::slice::from_mut(left)) {
            Ok(_) => {}
            Err(_) => return,
        }
    }
    let _ = stream.finish();
}
