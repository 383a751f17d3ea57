//! The downlink: one QUIC connection after another, for as long as the process runs.
//!
//! What goes when is [`Sender`]'s decision; here are the sockets, the streams and the waiting.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Context;
use codecs::{
    ids::{Codec, RangeSet},
    link::sender::{Sender, SenderConfig, SenderEvent, UNITS_MAX, UnitInfo},
    time::Tai,
};
use quinn::{Connection, VarInt};
use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    task::JoinSet,
    time::MissedTickBehavior,
};

use super::{
    clock::Monotonic,
    disk::Disk,
    objects::{ObjectEnd, ObjectFailure, send_object},
    quic::{self, Peer, Silence},
};
use crate::store::{Committed, ReadError, Store, Stored};

/// The store as the tasks share it.
pub type SharedStore = Arc<Mutex<Store<Disk>>>;

/// First wait between attempts to connect.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// Longest wait between attempts: what a rise may cost.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// How often a connection is asked whether the ground is still there.
const PULSE_EVERY: Duration = Duration::from_millis(250);
/// How often what is still on board is told while connected.
const BACKLOG_EVERY: Duration = Duration::from_secs(2);
/// How long the last words may take at a clean stop.
const FAREWELL_MAX: Duration = Duration::from_secs(2);
/// Code that a connection closes with on purpose.
const DONE: VarInt = VarInt::from_u32(0);

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
            reclaimable_from: opened.reclaimable_from(),
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
            let attempt = quic::connect(self.peer.clone());
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

    async fn session(
        &mut self,
        connection: &Connection,
        commits: &mut mpsc::UnboundedReceiver<Committed>,
        stop: &mut watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        self.counts.connections += 1;
        let (control, mut incoming) = connection.open_bi().await?;
        control.set_priority(i32::MAX)?;
        let (to_control, control_done) = quic::spawn_writer(control);
        let mut session = [0; 8];
        rustix::rand::getrandom(&mut session, rustix::rand::GetRandomFlags::empty())?;
        self.sender.connected(u64::from_be_bytes(session));
        let mut objects = JoinSet::new();
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
            let created = self.time.borrow().plus(self.clock.now_ns() as i64);
            while let Some(plan) = self.sender.poll_object(created) {
                let (cancel, cancelled) = oneshot::channel();
                cancels.insert(plan.id, cancel);
                let (store, connection) = (self.store.clone(), connection.clone());
                objects.spawn(send_object(plan, store, connection, cancelled));
            }
            let due = self.sender.timeout().map(|at| self.clock.instant(at));
            tokio::select! {
                read = quic::read_some(&mut incoming, &mut buffer) => {
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
        if self.overflow && self.sender.backlog().units < UNITS_MAX as u64 / 2 {
            self.overflow = false;
            let waiting: Vec<Stored> = self.store.lock().await.unreceipted().collect();
            self.offer(waiting.into_iter());
        }
    }

    fn offer(&mut self, units: impl Iterator<Item = Stored>) {
        for unit in units {
            let Stored { key, codec, priority, length, .. } = unit;
            let offered = self.sender.offer(key, UnitInfo { codec, priority, length });
            self.overflow |= !offered && self.sender.backlog().units >= UNITS_MAX as u64;
        }
    }

    /// Takes over a commit; the objects that it makes pointless come back.
    fn committed(&mut self, commit: Committed) -> Vec<u64> {
        let mut pointless: Vec<u64> =
            commit.evicted.iter().filter_map(|key| self.sender.withdraw(*key)).collect();
        // A void that grew is offered anew with its new length.
        let voids = commit.stored.iter().filter(|unit| unit.codec == Codec::Void);
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

async fn sleep_until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
