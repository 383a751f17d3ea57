//! The downlink: one QUIC connection after another, for as long as the process runs.
//!
//! What goes when is [`Sender`]'s decision; here are the sockets, the streams and the waiting.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use codecs::{
    ids::{RangeSet, UnitKey},
    link::{
        custody::Durability,
        object::write_unit,
        profile::Profile,
        sender::{Plan, Sender, SenderConfig, SenderEvent, UnitInfo},
    },
    time::Tai,
};
use quinn::{Connection, Endpoint, RecvStream, SendStream, TransportConfig, VarInt};
use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    task::JoinSet,
};

use super::{clock::Monotonic, disk::Disk};
use crate::store::{Committed, ReadError, Store, Stored};

/// The store as the tasks share it.
pub type SharedStore = Arc<Mutex<Store<Disk>>>;

/// First wait between attempts to connect.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// Longest wait between attempts: what a rise may cost.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// How often a connection is asked whether the ground is still there.
const PULSE_EVERY: Duration = Duration::from_millis(250);
/// Least silence that counts as the ground being gone.
const SILENCE_MIN_MS: u64 = 3_000;
/// Round trips of silence that count as the ground being gone.
const SILENCE_ROUND_TRIPS: u64 = 6;
/// How often what is still on board is told while connected.
const BACKLOG_EVERY: Duration = Duration::from_secs(2);
/// How long the last words may take at a clean stop.
const FAREWELL_MAX: Duration = Duration::from_secs(2);
/// Code that a connection closes with on purpose.
const DONE: VarInt = VarInt::from_u32(0);
/// Code for an object whose units are no longer there.
const WITHDRAWN: VarInt = VarInt::from_u32(1);
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

/// What the link tells the pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromLink {
    /// The ground's time.
    Time(Tai),
    /// Still on board without a receipt.
    Backlog {
        /// Units.
        units: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// The store has receipts or voids to write.
    Dirty,
}

/// What the link did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// Connections made.
    pub connections: u64,
    /// Objects that arrived whole.
    pub objects: u64,
    /// Units handed to streams, repeats included.
    pub units_written: u64,
    /// Bytes of objects handed to streams, repeats included.
    pub object_bytes: u64,
    /// Bytes of UDP payload sent, handshakes and repeats included.
    pub udp_bytes: u64,
    /// Units receipted.
    pub receipted: u64,
    /// Units refused, repeats included.
    pub refused: u64,
}

/// The task that owns the connection.
pub struct Downlink {
    peer: Peer,
    store: SharedStore,
    sender: Sender,
    clock: Monotonic,
    /// Onboard time at the clock's zero, for the time in object headers.
    time: watch::Receiver<Tai>,
    to_pipeline: mpsc::UnboundedSender<FromLink>,
    counts: LinkCounts,
    overflow: bool,
    complaint: Option<String>,
}

struct ObjectEnd {
    id: u64,
    outcome: Result<(u64, u64), ObjectFailure>,
}

enum ObjectFailure {
    /// A unit is gone or damaged; the object must not go.
    Unreadable(UnitKey, ReadError),
    /// A unit changed its length since it was planned.
    Changed,
    /// The stream or the connection ended.
    Stream,
}

impl Downlink {
    /// A downlink without a connection; `store` says what there is to send.
    pub fn new(
        peer: Peer,
        store: SharedStore,
        opened: &Store<Disk>,
        clock: Monotonic,
        time: watch::Receiver<Tai>,
        to_pipeline: mpsc::UnboundedSender<FromLink>,
    ) -> Self {
        let config = SenderConfig {
            origin: opened.identity().origin,
            objects_max: peer.profile.objects_max,
            reclaimable_from: Durability::Local,
        };
        let mut sender = Sender::new(config);
        for (prefix, counter) in opened.counters() {
            let (mut receipted, mut ledger) = (RangeSet::new(), 0);
            for of in &counter.receipts {
                receipted.extend(&of.ranges);
                ledger = of.ledger;
            }
            sender.recall(prefix, counter.durable_next, &receipted, ledger);
        }
        let counts = LinkCounts::default();
        let mut downlink = Self {
            peer,
            store,
            sender,
            clock,
            time,
            to_pipeline,
            counts,
            overflow: false,
            complaint: None,
        };
        downlink.offer(opened.unreceipted());
        downlink
    }

    /// Connects, sends, reconnects; ends with the last words after `stop` turns true.
    pub async fn run(
        mut self,
        mut commits: mpsc::UnboundedReceiver<Committed>,
        mut stop: watch::Receiver<bool>,
    ) -> LinkCounts {
        let mut backoff = BACKOFF_MIN;
        while !*stop.borrow() {
            let attempt = self.connect();
            let connected = tokio::select! {
                connected = attempt => connected,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match connected {
                Ok((endpoint, connection)) => {
                    backoff = BACKOFF_MIN;
                    self.complaint = None;
                    let ended = self.session(&connection, &mut commits, &mut stop).await;
                    self.counts.udp_bytes += connection.stats().udp_tx.bytes;
                    self.sender.disconnected();
                    match ended {
                        Ok(()) => tracing::info!("connection closed"),
                        Err(error) => tracing::warn!("connection lost: {error:#}"),
                    }
                    connection.close(DONE, b"");
                    let _ = tokio::time::timeout(FAREWELL_MAX, endpoint.wait_idle()).await;
                }
                Err(error) => {
                    let text = format!("{error:#}");
                    // The same trouble is told once, however long it lasts.
                    if self.complaint.as_ref() != Some(&text) {
                        tracing::warn!("no connection to {}: {text}", self.peer.address);
                        self.complaint = Some(text);
                    }
                }
            }
            let again = tokio::time::sleep(backoff);
            tokio::pin!(again);
            backoff = (backoff * 2).min(BACKOFF_MAX);
            loop {
                tokio::select! {
                    () = &mut again => break,
                    _ = stop.wait_for(|stop| *stop) => break,
                    commit = commits.recv() => match commit {
                        Some(commit) => { self.committed(commit); }
                        None => break,
                    },
                }
            }
        }
        self.counts
    }

    fn connect(&self) -> impl Future<Output = anyhow::Result<(Endpoint, Connection)>> + use<> {
        let peer = self.peer.clone();
        async move {
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
    }

    async fn session(
        &mut self,
        connection: &Connection,
        commits: &mut mpsc::UnboundedReceiver<Committed>,
        stop: &mut watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        self.counts.connections += 1;
        let (control, mut incoming) = connection.open_bi().await?;
        control.set_priority(i32::MAX)?;
        let (to_control, control_done) = spawn_writer(control);
        let mut session = [0; 8];
        rustix::rand::getrandom(&mut session, rustix::rand::GetRandomFlags::empty())?;
        self.sender.connected(u64::from_be_bytes(session));
        let mut objects = JoinSet::new();
        let mut cancels: BTreeMap<u64, oneshot::Sender<()>> = BTreeMap::new();
        let mut backlog = tokio::time::interval(BACKLOG_EVERY);
        let mut buffer = vec![0; 16 << 10];
        let mut pulse = tokio::time::interval(PULSE_EVERY);
        let mut silence = Silence::new(&self.peer.profile);
        loop {
            while let Some(bytes) = self.sender.poll_control() {
                to_control.send(bytes).ok().context("the control stream ended")?;
            }
            self.events().await;
            let created = self.time.borrow().plus(self.clock.now_ns() as i64);
            while let Some(plan) = self.sender.poll_object(created) {
                let (cancel, cancelled) = oneshot::channel();
                cancels.insert(plan.id, cancel);
                let (store, connection) = (self.store.clone(), connection.clone());
                objects.spawn(send_object(plan, store, connection, cancelled));
            }
            let due = self.sender.timeout().map(|at| self.clock.instant(at));
            tokio::select! {
                read = read_some(&mut incoming, &mut buffer) => {
                    let length = read?;
                    let now = self.clock.now_ns();
                    self.sender.control_bytes(buffer.get(..length).unwrap_or_default(), now)?;
                }
                Some(commit) = commits.recv() => {
                    for id in self.committed(commit) {
                        cancels.remove(&id);
                    }
                }
                Some(ended) = objects.join_next() => {
                    let ended: ObjectEnd = ended?;
                    cancels.remove(&ended.id);
                    self.object_ended(ended);
                }
                () = sleep_until(due) => self.sender.handle_timeout(self.clock.now_ns()),
                _ = backlog.tick(), if self.sender.is_open() => {
                    let left = self.sender.backlog();
                    let told = FromLink::Backlog { units: left.units, bytes: left.bytes };
                    let _ = self.to_pipeline.send(told);
                }
                _ = pulse.tick() => {
                    let now = self.clock.now_ns();
                    if silence.is_over(&connection.stats(), connection.rtt(), now) {
                        anyhow::bail!("the ground no longer answers");
                    }
                }
                reason = connection.closed() => return Err(reason.into()),
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        while let Ok(commit) = commits.try_recv() {
            self.committed(commit);
        }
        self.sender.goodbye("clean stop");
        while let Some(bytes) = self.sender.poll_control() {
            let _ = to_control.send(bytes);
        }
        drop(to_control);
        let _ = tokio::time::timeout(FAREWELL_MAX, control_done).await;
        Ok(())
    }

    async fn events(&mut self) {
        while let Some(event) = self.sender.poll_event() {
            match event {
                SenderEvent::Welcomed { ledger, time, domain } => {
                    tracing::info!(ledger = format!("{ledger:#x}"), domain, "welcomed");
                    let _ = self.to_pipeline.send(FromLink::Time(time));
                }
                SenderEvent::Reclaimable { prefix, ranges, ledger, class } => {
                    let ranges = ranges.into_iter().collect();
                    let mut store = self.store.lock().await;
                    self.counts.receipted += store.receipt(ledger, class as u8, prefix, &ranges);
                    let _ = self.to_pipeline.send(FromLink::Dirty);
                }
                SenderEvent::Refused { prefix, ranges, reason, final_here } => {
                    let count: u64 = ranges.iter().map(|range| range.count()).sum();
                    self.counts.refused += count;
                    let channel = prefix.channel;
                    let reason = reason.name();
                    tracing::warn!(%channel, count, reason, final_here, "units refused");
                }
                SenderEvent::Asked { prefix, ranges } => {
                    let ranges = ranges.into_iter().collect();
                    let again = self.store.lock().await.ask(prefix, &ranges);
                    tracing::info!(channel = %prefix.channel, units = again.len(), "asked again");
                    self.offer(again.into_iter());
                    let _ = self.to_pipeline.send(FromLink::Dirty);
                }
                SenderEvent::Planned(contacts) => {
                    tracing::info!(contacts = contacts.len(), "contact plan");
                }
                SenderEvent::Farewell(text) => tracing::info!(text, "the ground says goodbye"),
            }
        }
        if self.overflow && self.sender.backlog().units < codecs::link::sender::UNITS_MAX as u64 / 2
        {
            self.overflow = false;
            let waiting: Vec<Stored> = self.store.lock().await.unreceipted().collect();
            self.offer(waiting.into_iter());
        }
    }

    fn offer(&mut self, units: impl Iterator<Item = Stored>) {
        for unit in units {
            let Stored { key, codec, priority, length, .. } = unit;
            let offered = self.sender.offer(key, UnitInfo { codec, priority, length });
            self.overflow |=
                !offered && self.sender.backlog().units >= codecs::link::sender::UNITS_MAX as u64;
        }
    }

    /// Takes over a commit; the objects that it makes pointless come back.
    fn committed(&mut self, commit: Committed) -> Vec<u64> {
        let mut pointless: Vec<u64> =
            commit.evicted.iter().filter_map(|key| self.sender.withdraw(*key)).collect();
        // A void that grew is offered anew with its new length.
        let voids = commit.stored.iter().filter(|unit| unit.codec == codecs::ids::Codec::Void);
        pointless.extend(voids.filter_map(|unit| self.sender.withdraw(unit.key)));
        self.offer(commit.stored.into_iter());
        pointless
    }

    fn object_ended(&mut self, ended: ObjectEnd) {
        match ended.outcome {
            Ok((units, bytes)) => {
                self.counts.objects += 1;
                self.counts.units_written += units;
                self.counts.object_bytes += bytes;
                self.sender.object_done(ended.id);
            }
            Err(ObjectFailure::Unreadable(key, error)) => {
                tracing::warn!(channel = %key.prefix.channel, key.sequence, "not sent: {error}");
                if error != ReadError::Gone {
                    let _ = self.to_pipeline.send(FromLink::Dirty);
                }
                self.sender.object_failed(ended.id);
                self.sender.withdraw(key);
            }
            Err(ObjectFailure::Changed | ObjectFailure::Stream) => {
                self.sender.object_failed(ended.id);
            }
        }
    }
}

/// Finds a ground that is gone long before the idle timeout does: it was sent something and said
/// nothing for several round trips. A station that was restarted knows nothing of the connection,
/// and a new handshake costs less than what a pass would lose.
struct Silence {
    initial_rtt: Duration,
    heard: u64,
    sent_then: u64,
    /// When something was sent for the first time after something was heard.
    spoke_ns: Option<u64>,
}

impl Silence {
    fn new(profile: &Profile) -> Self {
        let initial_rtt = Duration::from_millis(profile.initial_rtt_ms);
        Self { initial_rtt, heard: 0, sent_then: 0, spoke_ns: None }
    }

    fn is_over(&mut self, stats: &quinn::ConnectionStats, rtt: Duration, now_ns: u64) -> bool {
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
fn spawn_writer(
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

async fn read_some(incoming: &mut RecvStream, buffer: &mut [u8]) -> anyhow::Result<usize> {
    incoming.read(buffer).await?.context("the ground ended the control stream")
}

async fn sleep_until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn send_object(
    plan: Plan,
    store: SharedStore,
    connection: Connection,
    mut cancelled: oneshot::Receiver<()>,
) -> ObjectEnd {
    let id = plan.id;
    let sending = write_object(plan, &store, &connection);
    let outcome = tokio::select! {
        outcome = sending => outcome,
        _ = &mut cancelled => Err(ObjectFailure::Changed),
    };
    ObjectEnd { id, outcome }
}

/// A stream that is reset unless it was finished: what is dropped half-way must not look whole.
struct ResetOnDrop(Option<SendStream>);

impl Drop for ResetOnDrop {
    fn drop(&mut self) {
        if let Some(stream) = &mut self.0 {
            let _ = stream.reset(WITHDRAWN);
        }
    }
}

async fn write_object(
    plan: Plan,
    store: &SharedStore,
    connection: &Connection,
) -> Result<(u64, u64), ObjectFailure> {
    let mut object = Vec::from(plan.header.encode());
    let empty = object.len();
    object.reserve(plan.header.length as usize);
    {
        let mut store = store.lock().await;
        for sequence in plan.range.first..=plan.range.last {
            let key = UnitKey { prefix: plan.prefix, sequence };
            let unit = store.take(key).map_err(|error| ObjectFailure::Unreadable(key, error))?;
            write_unit(&mut object, None, &unit);
        }
    }
    if object.len() - empty != plan.header.length as usize {
        return Err(ObjectFailure::Changed);
    }
    let (units, bytes) = (plan.range.count(), object.len() as u64);
    let stream = connection.open_uni().await.map_err(|_| ObjectFailure::Stream)?;
    let _ = stream.set_priority(plan.header.priority.into());
    let mut guard = ResetOnDrop(Some(stream));
    let Some(stream) = guard.0.as_mut() else { return Err(ObjectFailure::Stream) };
    stream.write_chunk(object.into()).await.map_err(|_| ObjectFailure::Stream)?;
    stream.finish().map_err(|_| ObjectFailure::Stream)?;
    match stream.stopped().await {
        Ok(None) => {
            guard.0 = None;
            Ok((units, bytes))
        }
        Ok(Some(_)) | Err(_) => Err(ObjectFailure::Stream),
    }
}
