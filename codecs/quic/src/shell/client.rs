//! The client: one QUIC connection after another, for as long as the process runs.
//!
//! What goes when is the courier's decision; here are the sockets, the streams and the waiting.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use codecs::time::Tai;
use quinn::{Connection, ConnectionStats, VarInt};
use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    task::JoinSet,
    time::MissedTickBehavior,
};

use super::{
    clock::Monotonic,
    custodian::{Change, Custodian},
    endpoint::{self, Peer, SocketReport},
    looks::Looks,
    objects::{ObjectEnd, send_object},
    uplink,
};
use crate::courier::{Attempts, Courier, FromLink, LinkCounts, PULSE_EVERY, Silence, is_refusal};

/// How often what is still held is told while connected.
const BACKLOG_EVERY: Duration = Duration::from_secs(2);
/// How long the last words may take at a clean stop.
const FAREWELL_MAX: Duration = Duration::from_secs(2);
/// Code that a connection closes with on purpose.
const DONE: VarInt = VarInt::from_u32(0);

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
    courier: Courier,
    time: LinkTime,
    told: mpsc::UnboundedSender<FromLink>,
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
        let courier = Courier::new(opened, peer.profile.objects_max);
        let looks = Looks::new(watch::channel(Bytes::new()).1, time.clock);
        Self {
            peer,
            store,
            courier,
            time,
            told,
            udp_bytes_before: 0,
            shown: watch::Sender::default(),
            socket: None,
            looks,
            awake: None,
            golden: false,
            complaint: None,
        }
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
        let mut attempts = Attempts::default();
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
                    attempts.connected();
                    self.complaint = None;
                    let ended = self.session(&connection, &mut commits, &mut stop).await;
                    self.sent(&connection.stats());
                    self.udp_bytes_before = self.courier.counts.udp_bytes;
                    self.courier.disconnected();
                    self.show();
                    match ended {
                        Ok(()) => tracing::info!("connection closed"),
                        Err(error) => {
                            tracing::warn!("connection lost: {error:#}");
                            refused = attempts.broke(connection.close_reason().as_ref());
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
            let again = tokio::time::sleep(attempts.pause());
            tokio::pin!(again);
            loop {
                tokio::select! {
                    () = &mut again => break,
                    _ = stop.wait_for(|stop| *stop) => break,
                    commit = commits.recv() => match commit {
                        Some(commit) => { self.courier.committed(commit); }
                        None => break,
                    },
                }
            }
        }
        self.courier.counts
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
                    Some(commit) => { self.courier.committed(commit); }
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
        let (control, mut incoming) = connection.open_bi().await?;
        control.set_priority(i32::MAX)?;
        let (to_control, control_done) = endpoint::spawn_writer(control);
        let mut session = [0; 8];
        rustix::rand::getrandom(&mut session, rustix::rand::GetRandomFlags::empty())?;
        self.courier.connected(u64::from_be_bytes(session));
        let (mut objects, mut uplinks) = (JoinSet::new(), JoinSet::new());
        let mut cancels: BTreeMap<u64, oneshot::Sender<()>> = BTreeMap::new();
        let mut backlog = tokio::time::interval(BACKLOG_EVERY);
        backlog.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut buffer = vec![0; 16 << 10];
        let mut pulse = tokio::time::interval(PULSE_EVERY);
        let mut silence = Silence::new(&self.peer.profile);
        loop {
            while let Some(bytes) = self.courier.sender.poll_control() {
                to_control.send(bytes).ok().context("the control stream ended")?;
            }
            self.events().await;
            if self.courier.sender.is_open() {
                self.looks.send(connection);
                self.courier.counts.quick_looks = self.looks.sent;
            }
            self.show();
            let created = self.time.zero.borrow().plus(self.time.clock.now_ns() as i64);
            while let Some(plan) = self.courier.sender.poll_object(created) {
                let (cancel, cancelled) = oneshot::channel();
                cancels.insert(plan.id, cancel);
                let (store, connection) = (self.store.clone(), connection.clone());
                objects.spawn(send_object(plan, store, connection, cancelled));
            }
            let due = self.courier.sender.timeout().map(|at| self.time.clock.instant(at));
            tokio::select! {
                read = endpoint::read_some(&mut incoming, &mut buffer) => {
                    let length = read?;
                    let now = self.time.clock.now_ns();
                    self.courier.sender.control_bytes(buffer.get(..length).unwrap_or_default(), now)?;
                }
                Some(commit) = commits.recv() => {
                    for id in self.courier.committed(commit) {
                        cancels.remove(&id);
                    }
                }
                Some(ended) = objects.join_next() => {
                    let ended: ObjectEnd = ended?;
                    cancels.remove(&ended.id);
                    if self.courier.object_ended(ended.id, ended.outcome) {
                        let _ = self.told.send(FromLink::Dirty);
                    }
                }
                // Not before the welcome: an expiry needs its time.
                stream = connection.accept_uni(),
                    if self.courier.sender.is_open() && uplinks.len() < uplink::STREAMS_MAX =>
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
                () = sleep_until(due) => self.courier.sender.handle_timeout(self.time.clock.now_ns()),
                _ = backlog.tick(), if self.courier.sender.is_open() => {
                    let _ = self.told.send(FromLink::Backlog(self.courier.sender.backlog()));
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
            self.courier.committed(commit);
        }
        self.courier.sender.goodbye("clean stop");
        while let Some(bytes) = self.courier.sender.poll_control() {
            let _ = to_control.send(bytes);
        }
        drop(to_control);
        let _ = tokio::time::timeout(FAREWELL_MAX, control_done).await;
        Ok(())
    }

    async fn events(&mut self) {
        while let Some(event) = self.courier.sender.poll_event() {
            let mut store = self.store.lock().await;
            self.courier.handle(event, &mut *store, |told| {
                let _ = self.told.send(told);
            });
        }
        if self.courier.handled() {
            self.courier.take_up(&*self.store.lock().await);
        }
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
        self.courier.counts.udp_bytes = self.udp_bytes_before + stats.udp_tx.bytes;
    }

    fn show(&self) {
        self.shown.send_if_modified(|shown| {
            std::mem::replace(shown, self.courier.counts) != self.courier.counts
        });
    }
}

async fn sleep_until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
