//! One connection: its control stream, its object streams, its end.

use super::{
    catalogue::CatalogueLog,
    clock::StationClock,
    object::ObjectContext,
    sessions::{Sessions, close},
    signals, tls,
    writer::Writer,
};
use crate::{
    admit::{Principal, Table},
    catalogue::{Closed, Entry, Opened},
    publish::{Event, Feed},
    receipt::{Fates, SessionId, lost_by_us},
};
use bytes::{Buf as _, Bytes};
use codecs::{
    ids::{KeyPrefix, RangeSet, SeqRange, SpacecraftId},
    link::{
        custody::Durability,
        profile::Profile,
        receiver::{Receiver, ReceiverConfig, ReceiverEvent},
        wire::{ChannelState, PlannedContact},
    },
};
use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

/// Bytes of control messages that may wait for a peer that does not read.
const CONTROL_BYTES_MAX: usize = 4 << 20;
/// Objects are judged only once the peer was welcomed.
const BEFORE_HELLO: &str = "an object before the hello";
/// How long a farewell may take to be written and acknowledged.
const FAREWELL: Duration = Duration::from_secs(2);
/// A rate is measured over at least this long, in seconds.
const SAMPLE_SECONDS_MIN: f64 = 0.2;

/// What every session shares.
pub struct Station {
    /// Who may do what.
    pub table: Table,
    /// Spacecraft that exist.
    pub mission: Arc<BTreeSet<SpacecraftId>>,
    /// The way to the archive.
    pub writer: Writer,
    /// Who is connected.
    pub sessions: Sessions,
    /// What the page shows.
    pub feed: Feed,
    /// The station's time.
    pub clock: StationClock,
    /// Transport numbers.
    pub profile: Profile,
    /// How long an object stream may be silent.
    pub object_stall: Duration,
    /// What a welcome says.
    pub receiver: ReceiverConfig,
    /// Ledgers before this one, whose receipts were this station's word.
    pub predecessors: BTreeSet<u64>,
    /// Where contacts are noted.
    pub catalogue: CatalogueLog,
    /// Contacts to tell each peer.
    pub contacts: Box<dyn Fn() -> Vec<PlannedContact> + Send + Sync>,
}

/// Why a session ended, in words for people and a code for the peer.
struct Ended {
    code: VarInt,
    reason: String,
}

impl Ended {
    fn new(code: VarInt, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

impl From<ConnectionError> for Ended {
    fn from(error: ConnectionError) -> Self {
        Self::new(close::DONE, error.to_string())
    }
}

/// Serves a connection from its handshake to its end.
pub async fn serve(
    station: Arc<Station>,
    id: SessionId,
    connection: Connection,
    stop: watch::Receiver<bool>,
) {
    let peer = connection.remote_address();
    let principal = match tls::peer_key(&connection).map(|key| station.table.principal(key)) {
        Some(Ok(principal)) => principal.clone(),
        denied => {
            let denial = denied.and_then(Result::err);
            tracing::warn!(%peer, "a key that the table does not know");
            let reason = denial.map_or("unknown-key", |denial| denial.name());
            station.feed.publish(Event::PeerRejected { reason });
            connection.close(close::UNKNOWN_KEY, b"this key is not enrolled here");
            return;
        }
    };
    let hello_within = Duration::from_millis(station.profile.idle_timeout_ms);
    let first = async {
        tokio::select! {
            control = connection.accept_bi() => control.map(Some),
            object = connection.accept_uni() => object.map(|_| None),
        }
    };
    let control = match timeout(hello_within, first).await {
        Ok(Ok(Some(streams))) => streams,
        Ok(Ok(None)) => {
            connection.close(close::PROTOCOL, BEFORE_HELLO.as_bytes());
            return;
        }
        Ok(Err(error)) => {
            tracing::info!(%peer, %error, "gone before its control stream");
            return;
        }
        Err(_) => {
            connection.close(close::TOO_SLOW, b"no control stream");
            return;
        }
    };
    // Receipts and refusals go before anything else.
    let _ = control.0.set_priority(i32::MAX);
    let (fates, told) = mpsc::unbounded_channel();
    if station.writer.join(id, fates.clone()).await.is_err() {
        return;
    }
    let origin = principal.origin;
    let mut session = Session {
        receiver: Receiver::new(station.receiver.clone(), origin),
        id,
        pending: VecDeque::new(),
        pending_bytes: 0,
        opened: None,
        receipted: BTreeMap::new(),
        received_bytes: 0,
        sampled: Instant::now(),
        fates,
        told,
        principal,
        connection: connection.clone(),
        station: Arc::clone(&station),
    };
    let ended = session.run(control, stop).await;
    connection.close(ended.code, ended.reason.as_bytes());
    station.sessions.leave(origin, id);
    // The archive may be closed already; then there is nothing to leave.
    let _ = station.writer.leave(id).await;
    tracing::info!(%peer, principal = %session.principal.name, reason = %ended.reason, "link closed");
    session.tell_closed(&ended.reason);
}

struct Session {
    station: Arc<Station>,
    id: SessionId,
    connection: Connection,
    principal: Principal,
    receiver: Receiver,
    fates: mpsc::UnboundedSender<Fates>,
    told: mpsc::UnboundedReceiver<Fates>,
    /// Control bytes that the peer has not taken yet.
    pending: VecDeque<Bytes>,
    pending_bytes: usize,
    /// The peer's number of this session, once it said hello.
    opened: Option<u64>,
    /// Units receipted, by spacecraft.
    receipted: BTreeMap<SpacecraftId, u64>,
    received_bytes: u64,
    sampled: Instant,
}

impl Session {
    async fn run(
        &mut self,
        (mut send, mut recv): (SendStream, RecvStream),
        mut stop: watch::Receiver<bool>,
    ) -> Ended {
        let mut objects = JoinSet::new();
        let context = Arc::new(self.object_context());
        let mut sample = interval(Duration::from_secs(1));
        sample.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let hello_by = Instant::now() + Duration::from_millis(self.station.profile.idle_timeout_ms);
        loop {
            while let Some(bytes) = self.receiver.poll_control() {
                self.pending_bytes += bytes.len();
                self.pending.push_back(bytes);
            }
            if self.pending_bytes > CONTROL_BYTES_MAX {
                return Ended::new(close::TOO_SLOW, "the peer does not read its control stream");
            }
            let due = self.receiver.timeout().map(|ns| self.station.clock.instant(ns).into());
            let wake = due.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                read = recv.read_chunk(64 << 10, true) => match read {
                    Ok(Some(chunk)) => {
                        if let Err(error) = self.receiver.control_bytes(&chunk.bytes) {
                            return Ended::new(close::PROTOCOL, error.to_string());
                        }
                        if let Err(ended) = self.events().await {
                            return ended;
                        }
                    }
                    Ok(None) => return Ended::new(close::DONE, "the peer ended its control stream"),
                    Err(error) => return Ended::new(close::DONE, error.to_string()),
                },
                stream = self.connection.accept_uni() => match stream {
                    Ok(_) if !self.receiver.is_open() => {
                        return Ended::new(close::PROTOCOL, BEFORE_HELLO);
                    }
                    Ok(stream) => {
                        let context = Arc::clone(&context);
                        objects.spawn(async move { context.run(stream).await });
                    }
                    Err(error) => return error.into(),
                },
                Some(fates) = self.told.recv() => self.fates(fates),
                written = write(&mut send, &mut self.pending), if !self.pending.is_empty() => {
                    match written {
                        Ok(count) => self.pending_bytes -= count,
                        Err(error) => return Ended::new(close::DONE, error.to_string()),
                    }
                }
                () = sleep_until(wake) => {
                    self.receiver.handle_timeout(self.station.clock.mono_ns());
                }
                _ = sample.tick() => {
                    self.sample();
                    if self.opened.is_none() && Instant::now() > hello_by {
                        return Ended::new(close::TOO_SLOW, "no hello");
                    }
                }
                // Finished tasks are collected as they end.
                Some(_) = objects.join_next() => {}
                () = signals::told(&mut stop) => return self.farewell(&mut send).await,
            }
        }
    }

    fn object_context(&self) -> ObjectContext {
        ObjectContext {
            session: self.id,
            principal: self.principal.clone(),
            mission: Arc::clone(&self.station.mission),
            writer: self.station.writer.clone(),
            fates: self.fates.clone(),
            feed: self.station.feed.clone(),
            stall: self.station.object_stall,
            clock: self.station.clock,
        }
    }

    async fn events(&mut self) -> Result<(), Ended> {
        while let Some(event) = self.receiver.poll_event() {
            match event {
                ReceiverEvent::Hello { session, channels } => {
                    let origin = self.principal.origin;
                    self.station.sessions.enter(origin, self.id, &self.connection);
                    let durable = self.station.writer.durable(origin).await;
                    let durable =
                        durable.map_err(|_| Ended::new(close::DONE, "the station stops"))?;
                    let station = &self.station;
                    let ours = |ledger| {
                        ledger == station.receiver.ledger || station.predecessors.contains(&ledger)
                    };
                    let lost = lost_by_us(origin, ours, &channels, &durable.held);
                    self.receiver.welcome(self.station.clock.tai(), durable.held);
                    self.stored(&durable.stored);
                    self.ask_for(lost).await;
                    let contacts = (self.station.contacts)();
                    if !contacts.is_empty() {
                        self.receiver.plan(contacts);
                    }
                    self.tell_opened(session, &channels);
                }
                ReceiverEvent::Farewell(text) => {
                    tracing::info!(principal = %self.principal.name, text, "the peer says goodbye");
                }
            }
        }
        Ok(())
    }

    /// Asks for what was receipted once and is not held now; a loss is on record before.
    async fn ask_for(&mut self, lost: Vec<(KeyPrefix, Vec<SeqRange>)>) {
        if lost.is_empty() {
            return;
        }
        match self.station.writer.lose(lost.clone()).await {
            Ok(Ok(())) => {}
            failed => {
                // The store still names it with its next hello.
                tracing::error!(?failed, "a loss can't be recorded; not asked for yet");
                return;
            }
        }
        for (prefix, ranges) in lost {
            tracing::error!(?prefix, ?ranges, "receipted once, not held now; asked for");
            self.receiver.ask(prefix, ranges);
        }
    }

    /// Receipts of the object store's class. Those before the welcome are said with it.
    fn stored(&mut self, stored: &BTreeMap<KeyPrefix, RangeSet>) {
        let (now, origin) = (self.station.clock.mono_ns(), self.principal.origin);
        if !self.receiver.is_open() {
            return;
        }
        for (prefix, ranges) in stored.iter().filter(|(prefix, _)| prefix.origin == origin) {
            for range in ranges.ranges() {
                self.receiver.receipt_as(Durability::ObjectStore, *prefix, *range, now);
            }
        }
    }

    fn fates(&mut self, fates: Fates) {
        self.stored(&fates.stored);
        let now = self.station.clock.mono_ns();
        let mut events = Vec::new();
        for (prefix, ranges) in fates.receipts {
            ranges.ranges().iter().for_each(|range| self.receiver.receipt(prefix, *range, now));
            *self.receipted.entry(prefix.spacecraft).or_default() += ranges.count();
            events.push(Event::Receipted { prefix, count: ranges.count() });
        }
        for refused in fates.refusals {
            let (range, reason) = (refused.range, refused.reason);
            self.receiver.refuse(refused.prefix, range, reason, refused.retry_after_ms);
        }
        self.station.feed.publish_all(events);
    }

    /// The last receipts and a goodbye, if the peer still listens.
    async fn farewell(&mut self, send: &mut SendStream) -> Ended {
        self.receiver.goodbye("the station stops", self.station.clock.mono_ns());
        while let Some(bytes) = self.receiver.poll_control() {
            self.pending.push_back(bytes);
        }
        let written = async {
            while !self.pending.is_empty() {
                write(send, &mut self.pending).await?;
            }
            let _ = send.finish();
            // Wait until the peer has it: closing drops what is under way.
            let _ = send.stopped().await;
            Ok::<_, quinn::WriteError>(())
        };
        let _ = timeout(FAREWELL, written).await;
        Ended::new(close::DONE, "the station stops")
    }

    fn tell_opened(&mut self, session: u64, channels: &[ChannelState]) {
        self.opened = Some(session);
        let at = self.station.clock.tai();
        let peer = self.connection.remote_address().to_string();
        let rtt_ms = self.connection.rtt().as_secs_f64() * 1e3;
        let name = &self.principal.name;
        tracing::info!(principal = %name, peer, session, counters = channels.len(), "link opened");
        let mut backlog: BTreeMap<SpacecraftId, u64> = BTreeMap::new();
        for channel in channels {
            let units: u64 = channel.held.ranges.iter().map(|range| range.count()).sum();
            let sum = backlog.entry(channel.held.spacecraft).or_default();
            *sum = sum.saturating_add(units);
        }
        let mut events = Vec::new();
        for spacecraft in self.principal.spacecraft.iter().copied() {
            self.station.catalogue.note(Entry::Opened(Opened {
                session,
                spacecraft: spacecraft.0,
                principal: name.clone(),
                peer: peer.clone(),
                at: at.0,
            }));
            events.push(Event::LinkOpened { spacecraft, peer: peer.clone(), rtt_ms, at });
            let units = backlog.get(&spacecraft).copied().unwrap_or(0);
            events.push(Event::Backlog { spacecraft, units, bytes: 0 });
        }
        self.station.feed.publish_all(events);
    }

    fn sample(&mut self) {
        let rtt = self.connection.rtt();
        self.receiver.set_rtt(rtt.as_nanos() as u64);
        if self.opened.is_none() {
            return;
        }
        let bytes = self.connection.stats().udp_rx.bytes;
        let seconds = self.sampled.elapsed().as_secs_f64();
        // The first tick comes at once: a rate over so short a time would be a fable.
        if seconds < SAMPLE_SECONDS_MIN {
            return;
        }
        let rate_bps = bytes.saturating_sub(self.received_bytes) as f64 * 8.0 / seconds;
        (self.received_bytes, self.sampled) = (bytes, Instant::now());
        let (rtt_ms, at) = (rtt.as_secs_f64() * 1e3, self.station.clock.tai());
        let spacecraft = self.principal.spacecraft.iter().copied();
        let sample = |spacecraft| Event::LinkSample { spacecraft, rtt_ms, rate_bps, bytes, at };
        self.station.feed.publish_all(spacecraft.map(sample).collect());
    }

    fn tell_closed(&self, reason: &str) {
        let Some(session) = self.opened else { return };
        let at = self.station.clock.tai();
        for spacecraft in &self.principal.spacecraft {
            self.station.catalogue.note(Entry::Closed(Closed {
                session,
                spacecraft: spacecraft.0,
                at: at.0,
                units: self.receipted.get(spacecraft).copied().unwrap_or(0),
                bytes: self.connection.stats().udp_rx.bytes,
                reason: reason.into(),
            }));
        }
        let closed = |spacecraft| Event::LinkClosed { spacecraft, reason: reason.into(), at };
        let spacecraft = self.principal.spacecraft.iter().copied();
        self.station.feed.publish_all(spacecraft.map(closed).collect());
    }
}

/// Writes some of what waits; nothing is lost when the future is dropped before it is done.
async fn write(
    send: &mut SendStream,
    pending: &mut VecDeque<Bytes>,
) -> Result<usize, quinn::WriteError> {
    let Some(front) = pending.front_mut() else { return Ok(0) };
    let count = send.write(front).await?;
    front.advance(count);
    if front.is_empty() {
        pending.pop_front();
    }
    Ok(count)
}
