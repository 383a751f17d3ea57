//! The client: one QUIC connection after another, for as long as the process runs.
//!
//! What goes when is [`Sender`]'s decision; here are the sockets, the streams and the waiting.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use codecs::{
    ids::{Codec, RangeSet},
    link::{
        self,
        receipted::Receipted,
        sender::{Backlog, Sender, SenderConfig, SenderEvent, UNITS_MAX},
        uplink::object::UplinkObject,
        wire::PlannedContact,
    },
    time::Tai,
};
use quinn::{Connection, ConnectionError, ConnectionStats, VarInt};
use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    task::JoinSet,
    time::MissedTickBehavior,
};

use super::{
    clock::Monotonic,
    custodian::{Change, Custodian, Offer, Untakable},
    endpoint::{self, Peer, Silence, SocketReport},
    looks::Looks,
    objects::{ObjectEnd, ObjectFailure, send_object},
    uplink,
};

/// First wait between attempts to connect.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// Longest wait between attempts: what a rise may cost.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Longest wait where the station says that another has this identity: each connection would end
/// the other's.
const CROWDED_MAX: Duration = Duration::from_secs(30);
/// How often a connection is asked whether the station is still there.
const PULSE_EVERY: Duration = Duration::from_millis(250);
/// How often what is still held is told while connected.
const BACKLOG_EVERY: Duration = Duration::from_secs(2);
/// How long the last words may take at a clean stop.
const FAREWELL_MAX: Duration = Duration::from_secs(2);
/// Code that a connection closes with on purpose.
const DONE: VarInt = VarInt::from_u32(0);

/// What the link tells whoever fills the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromLink {
    /// The station's time.
    Time(Tai),
    /// Still held without a receipt.
    Backlog(Backlog),
    /// The store has receipts or voids to write.
    Dirty,
    /// The ground wants something done.
    Uplink(Box<UplinkObject>),
    /// The station's contact plan.
    Planned(Vec<PlannedContact>),
}

/// What the link did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// Whether a station has welcomed us and is there.
    pub up: bool,
    /// Whether the newest station that was connected has said what it asks for.
    pub heard_out: bool,
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
    /// Live frames sent beside them.
    pub quick_looks: u64,
}

/// The times that the client goes by.
#[derive(Clone, Debug)]
pub struct LinkTime {
    /// What waits are measured with.
    pub clock: Monotonic,
    /// The store's own time at the clock's zero, for object headers.
    pub zero: watch::Receiver<Tai>,
}

/// The task that owns the connection.
pub struct Client<C> {
    peer: Peer,
    store: Arc<Mutex<C>>,
    sender: Sender,
    time: LinkTime,
    told: mpsc::UnboundedSender<FromLink>,
    counts: LinkCounts,
    /// Of `udp_bytes`, what was sent on connections that ended.
    udp_bytes_before: u64,
    shown: watch::Sender<LinkCounts>,
    socket: Option<SocketReport>,
    /// Live frames, newest only.
    looks: Looks,
    /// Whether a connection is to be tried; always, where nobody says.
    awake: Option<watch::Receiver<bool>>,
    /// The golden identity stands in the usual one's place.
    golden: bool,
    /// Units that the sender keeps track of at a time.
    units_max: u64,
    /// The store holds units that the sender does not know.
    overflow: bool,
    complaint: Option<String>,
}

impl<C: Custodian> Client<C> {
    /// A client without a connection; `opened` is what `store` holds, and says what there is to
    /// send.
    pub fn new(
        peer: Peer,
        store: Arc<Mutex<C>>,
        opened: &C,
        time: LinkTime,
        told: mpsc::UnboundedSender<FromLink>,
    ) -> Self {
        let config = SenderConfig {
            origin: opened.origin(),
            objects_max: peer.profile.objects_max,
            reclaimable_from: opened.reclaimable_from(),
            housekeeping_percent: opened.housekeeping_percent(),
        };
        let mut sender = Sender::new(config);
        for of in opened.recall() {
            sender.recall_next(of.prefix, of.next);
            for Receipted { ledger, class, ranges } in &of.receipted {
                sender.recall_receipts(of.prefix, *ledger, *class, ranges);
            }
        }
        let looks = Looks::new(watch::channel(Bytes::new()).1, time.clock);
        let mut client = Self {
            peer,
            store,
            sender,
            time,
            told,
            counts: LinkCounts::default(),
            udp_bytes_before: 0,
            shown: watch::Sender::default(),
            socket: None,
            looks,
            awake: None,
            golden: false,
            units_max: opened.tracked_max().min(UNITS_MAX) as u64,
            overflow: false,
            complaint: None,
        };
        client.take_up(opened);
        client
    }

    /// Sends the newest of these datagrams while a station listens, as a small share of the link.
    pub fn with_quick_looks(mut self, newest: watch::Receiver<Bytes>) -> Self {
        self.looks = Looks::new(newest, self.time.clock);
        self
    }

    /// Tries no new connection while this is false; one that there is stays.
    pub fn with_sleep(mut self, awake: watch::Receiver<bool>) -> Self {
        self.awake = Some(awake);
        self
    }

    /// What the link does, as it goes on.
    pub fn counts(&self) -> watch::Receiver<LinkCounts> {
        self.shown.subscribe()
    }

    /// Connects, sends, reconnects; ends with the last words after `stop` turns true.
    pub async fn run(
        mut self,
        mut commits: mpsc::UnboundedReceiver<Change>,
        mut stop: watch::Receiver<bool>,
    ) -> LinkCounts {
        let mut backoff = BACKOFF_MIN;
        let mut crowded = BACKOFF_MIN;
        while !*stop.borrow() {
            self.sleep(&mut commits, &mut stop).await;
            if *stop.borrow() {
                break;
            }
            let attempt = endpoint::connect(self.peer.clone());
            let mut refused = false;
            let connected = tokio::select! {
                connected = attempt => connected,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match connected {
                Ok((endpoint, connection, socket)) => {
                    self.report(socket);
                    backoff = BACKOFF_MIN;
                    self.complaint = None;
                    let ended = self.session(&connection, &mut commits, &mut stop).await;
                    self.sent(&connection.stats());
                    self.udp_bytes_before = self.counts.udp_bytes;
                    self.sender.disconnected();
                    self.counts.up = false;
                    self.show();
                    match ended {
                        Ok(()) => tracing::info!("connection closed"),
                        Err(error) => {
                            tracing::warn!("connection lost: {error:#}");
                            let reason = connection.close_reason();
                            refused = reason.as_ref().is_some_and(is_refusal);
                            let wait = refused || reason.is_some_and(is_crowded);
                            crowded =
                                if wait { (crowded * 2).min(CROWDED_MAX) } else { BACKOFF_MIN };
                            backoff = crowded;
                        }
                    }
                    connection.close(DONE, b"");
                    let _ = tokio::time::timeout(FAREWELL_MAX, endpoint.wait_idle()).await;
                }
                Err(error) => {
                    refused = error.downcast_ref().is_some_and(is_refusal);
                    let text = format!("{error:#}");
                    // The same trouble is told once, however long it lasts.
                    if self.complaint.as_ref() != Some(&text) {
                        tracing::warn!("no connection to {}: {text}", self.peer.address);
                        self.complaint = Some(text);
                    }
                }
            }
            if refused && let Some(other) = &mut self.peer.golden {
                std::mem::swap(&mut self.peer.tls, other);
                self.golden = !self.golden;
                let identity = if self.golden { "golden" } else { "usual" };
                tracing::error!("the station refuses this identity; the {identity} one is next");
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

    /// Ends once a connection is to be tried, or `stop` turns true.
    async fn sleep(
        &mut self,
        commits: &mut mpsc::UnboundedReceiver<Change>,
        stop: &mut watch::Receiver<bool>,
    ) {
        let Some(mut awake) = self.awake.clone() else { return };
        loop {
            tokio::select! {
                // Whoever decided about sleep is gone: it is tried.
                _ = awake.wait_for(|awake| *awake) => return,
                _ = stop.wait_for(|stop| *stop) => return,
                commit = commits.recv() => match commit {
                    Some(commit) => { self.committed(commit); }
                    None => return,
                },
            }
        }
    }

    async fn session(
        &mut self,
        connection: &Connection,
        commits: &mut mpsc::UnboundedReceiver<Change>,
        stop: &mut watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        self.counts.connections += 1;
        let (control, mut incoming) = connection.open_bi().await?;
        control.set_priority(i32::MAX)?;
        let (to_control, control_done) = endpoint::spawn_writer(control);
        let mut session = [0; 8];
        rustix::rand::getrandom(&mut session, rustix::rand::GetRandomFlags::empty())?;
        self.sender.connected(u64::from_be_bytes(session));
        self.counts.heard_out = false;
        let (mut objects, mut uplinks) = (JoinSet::new(), JoinSet::new());
        let mut cancels: BTreeMap<u64, oneshot::Sender<()>> = BTreeMap::new();
        let mut backlog = tokio::time::interval(BACKLOG_EVERY);
        backlog.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut buffer = vec![0; 16 << 10];
        let mut pulse = tokio::time::interval(PULSE_EVERY);
        let mut silence = Silence::new(&self.peer.profile);
        loop {
            while let Some(bytes) = self.sender.poll_control() {
                to_control.send(bytes).ok().context("the control stream ended")?;
            }
            self.events().await;
            if self.sender.is_open() {
                self.looks.send(connection);
                self.counts.quick_looks = self.looks.sent;
            }
            self.show();
            let created = self.time.zero.borrow().plus(self.time.clock.now_ns() as i64);
            while let Some(plan) = self.sender.poll_object(created) {
                let (cancel, cancelled) = oneshot::channel();
                cancels.insert(plan.id, cancel);
                let (store, connection) = (self.store.clone(), connection.clone());
                objects.spawn(send_object(plan, store, connection, cancelled));
            }
            let due = self.sender.timeout().map(|at| self.time.clock.instant(at));
            tokio::select! {
                read = endpoint::read_some(&mut incoming, &mut buffer) => {
                    let length = read?;
                    let now = self.time.clock.now_ns();
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
                // Not before the welcome: an expiry needs its time.
                stream = connection.accept_uni(),
                    if self.sender.is_open() && uplinks.len() < uplink::STREAMS_MAX =>
                {
                    uplinks.spawn(uplink::receive(stream?));
                }
                Some(received) = uplinks.join_next() => {
                    if let Some(object) = received? {
                        let _ = self.told.send(FromLink::Uplink(Box::new(object)));
                    }
                }
                // What must wait goes with one of the next pulses.
                () = self.looks.changed() => {}
                () = sleep_until(due) => self.sender.handle_timeout(self.time.clock.now_ns()),
                _ = backlog.tick(), if self.sender.is_open() => {
                    let _ = self.told.send(FromLink::Backlog(self.sender.backlog()));
                }
                _ = pulse.tick() => {
                    let (now, stats) = (self.time.clock.now_ns(), connection.stats());
                    self.sent(&stats);
                    if silence.is_over(&stats, connection.rtt(), now) {
                        anyhow::bail!("the station no longer answers");
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
                    self.counts.up = true;
                    let _ = self.told.send(FromLink::Time(time));
                }
                SenderEvent::Reclaimable { prefix, ranges, ledger, class }
                | SenderEvent::Held { prefix, ranges, ledger, class } => {
                    let ranges = ranges.into_iter().collect();
                    let mut store = self.store.lock().await;
                    self.counts.receipted += store.receipt(ledger, class, prefix, &ranges);
                    let _ = self.told.send(FromLink::Dirty);
                }
                SenderEvent::Refused { prefix, ranges, reason, final_here } => {
                    let ranges: RangeSet = ranges.into_iter().collect();
                    let count = ranges.count();
                    self.counts.refused += count;
                    self.store.lock().await.refused(prefix, &ranges, reason, final_here);
                    let (channel, reason) = (prefix.channel, reason.name());
                    tracing::warn!(%channel, count, reason, final_here, "units refused");
                }
                SenderEvent::Asked { prefix, ranges } => {
                    let ranges = ranges.into_iter().collect();
                    let again = self.store.lock().await.ask(prefix, &ranges);
                    tracing::info!(channel = %prefix.channel, units = again.len(), "asked again");
                    self.offer(again.into_iter());
                    let _ = self.told.send(FromLink::Dirty);
                }
                SenderEvent::Planned(contacts) => {
                    tracing::info!(contacts = contacts.len(), "contact plan");
                    let _ = self.told.send(FromLink::Planned(contacts));
                }
                SenderEvent::Farewell(text) => tracing::info!(text, "the station says goodbye"),
            }
        }
        // Only now: what was asked for is in the store's hands.
        self.counts.heard_out = self.sender.is_heard_out();
        if self.overflow && self.sender.backlog().units < self.units_max / 2 {
            let store = self.store.clone().lock_owned().await;
            self.take_up(&store);
        }
    }

    /// Offers what is held and not yet known to the sender, the most urgent first, up to the bound.
    fn take_up(&mut self, store: &C) {
        self.overflow = false;
        let priorities: BTreeSet<u8> = store.unreceipted().map(|of| of.info.priority).collect();
        for priority in priorities.into_iter().rev() {
            self.offer(store.unreceipted().filter(|unit| unit.info.priority == priority));
        }
    }

    fn offer(&mut self, units: impl Iterator<Item = Offer>) {
        for Offer { key, info } in units {
            if self.sender.backlog().units >= self.units_max {
                self.overflow = true;
                return;
            }
            self.sender.offer(key, info);
        }
    }

    /// Takes over a commit; the objects that it makes pointless come back.
    fn committed(&mut self, change: Change) -> Vec<u64> {
        let mut pointless: Vec<u64> =
            change.gone.iter().filter_map(|key| self.sender.withdraw(*key)).collect();
        // A void that grew is offered anew with its new length.
        let voids = change.offered.iter().filter(|unit| unit.info.codec == Codec::Void);
        pointless.extend(voids.filter_map(|unit| self.sender.withdraw(unit.key)));
        self.offer(change.offered.into_iter());
        pointless
    }

    /// The same socket is told once, however often it is opened anew.
    fn report(&mut self, socket: SocketReport) {
        if self.socket != Some(socket) {
            tracing::info!("UDP socket: {socket}");
            self.socket = Some(socket);
        }
    }

    /// What this connection has sent so far.
    fn sent(&mut self, stats: &ConnectionStats) {
        self.counts.udp_bytes = self.udp_bytes_before + stats.udp_tx.bytes;
    }

    fn show(&self) {
        self.shown.send_if_modified(|shown| std::mem::replace(shown, self.counts) != self.counts);
    }

    fn object_ended(&mut self, ended: ObjectEnd) {
        match ended.outcome {
            Ok((units, bytes)) => {
                self.counts.objects += 1;
                self.counts.units_written += units;
                self.counts.object_bytes += bytes;
                self.sender.object_done(ended.id);
            }
            Err(ObjectFailure::Untakable(key, why)) => {
                if let Untakable::Unreadable(why) = why {
                    let channel = key.prefix.channel;
                    tracing::warn!(%channel, key.sequence, "not sent: {why}");
                    let _ = self.told.send(FromLink::Dirty);
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

/// Alerts of TLS that are about our certificate (RFC 8446 §6.2): from bad to unknown, an unknown
/// authority, access denied, a signature that does not hold.
const REFUSALS: [u64; 8] = [42, 43, 44, 45, 46, 48, 49, 51];
/// QUIC's code of a TLS alert is above this (RFC 9001 §4.8).
const CRYPTO: u64 = 0x100;

/// Whether the station does not take this identity.
fn is_refusal(reason: &ConnectionError) -> bool {
    match reason {
        ConnectionError::ApplicationClosed(close) => {
            close.error_code.into_inner() == u64::from(link::close::UNKNOWN_KEY)
        }
        ConnectionError::ConnectionClosed(close) => {
            let code = u64::from(close.error_code);
            REFUSALS.iter().any(|alert| CRYPTO + alert == code)
        }
        _ => false,
    }
}

/// Whether the station has another connection with this identity, or no place.
fn is_crowded(reason: ConnectionError) -> bool {
    let ConnectionError::ApplicationClosed(close) = reason else { return false };
    let code = close.error_code.into_inner();
    [link::close::SUPERSEDED, link::close::CROWDED]
        .iter()
        .any(|crowded| u64::from(*crowded) == code)
}

async fn sleep_until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
