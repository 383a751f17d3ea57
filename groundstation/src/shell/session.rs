//! One connection: its control stream, its object streams, its end.

use super::{
    catalogue::CatalogueLog,
    clock::StationClock,
    object::ObjectContext,
    pace::Pace,
    quicklook::QuickLooks,
    rules::Rules,
    sessions::{Sessions, close},
    signals, tls,
    uplink::craft_store,
    window::Window,
    writer::Writer,
};
use crate::{
    admit::{KeyHash, Principal},
    budget::CONTROL_BYTES_MAX,
    catalogue::{Closed, Entry, Opened},
    peers::Bucket,
    publish::{Event, Feed},
    receipt::{Fates, SessionId, lost_by_us, on_board, tell_stored},
};
use bytes::{Buf as _, Bytes};
use codecs::{
    ids::{KeyPrefix, RangeSet, SeqRange, SpacecraftId},
    link::{
        receiver::{Receiver, ReceiverConfig, ReceiverEvent},
        wire::{ChannelState, PlannedContact},
    },
};
use futures_util::FutureExt as _;
use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

/// Objects are judged only once the peer was welcomed.
const BEFORE_HELLO: &str = "an object before the hello";
/// How long a farewell may take to be written and acknowledged.
const FAREWELL: Duration = Duration::from_secs(2);
/// Live frames taken in one go, so that a flood of them costs others few turns.
const LOOKS_AT_ONCE: usize = 64;
/// A rate is measured over at least this long, in seconds.
const SAMPLE_SECONDS_MIN: f64 = 0.2;

/// What every session shares.
pub struct Station {
    /// Who may do what, and how much.
    pub rules: watch::Receiver<Arc<Rules>>,
    /// Spacecraft that exist.
    pub mission: Arc<BTreeSet<SpacecraftId>>,
    /// The way to the archive.
    pub writer: Writer,
    /// Who is connected.
    pub sessions: Arc<Sessions>,
    /// What the page shows.
    pub feed: Feed,
    /// The station's time.
    pub clock: StationClock,
    /// What a welcome says, but for what the rules say.
    pub receiver: ReceiverConfig,
    /// What goes up.
    pub uplink: Arc<super::uplink::Uplink>,
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
    let mut rules = station.rules.clone();
    let standing = Arc::clone(&rules.borrow_and_update());
    let known = tls::peer_key(&connection).map(|key| (key, standing.table.principal(key)));
    let (key, principal) = match known {
        Some((key, Ok(principal))) => (key, principal.clone()),
        denied => {
            let denial = denied.and_then(|(_, denied)| denied.err());
            tracing::warn!(%peer, "a key that the table does not know");
            let reason = denial.map_or("unknown-key", |denial| denial.name());
            station.feed.publish(Event::PeerRejected { reason });
            connection.close(close::UNKNOWN_KEY, b"this key is not enrolled here");
            return;
        }
    };
    let _present = match station.sessions.arrive(key, &standing) {
        Ok(present) => present,
        Err(reason) => {
            tracing::warn!(%peer, principal = %principal.name, reason, "refused a connection");
            station.feed.publish(Event::PeerRejected { reason });
            connection.close(close::CROWDED, b"too many connections; come again later");
            return;
        }
    };
    let hello_within = standing.greeting();
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
    let mut receiver = station.receiver.clone();
    receiver.limits.objects_max = standing.profile.objects_max as u16;
    let mut session = Session {
        receiver: Receiver::new(receiver, origin),
        id,
        key,
        rules,
        pace: Arc::new(Pace::new(station.clock)),
        streams: streams(&standing, station.clock),
        window: Window::new(connection.clone()),
        looks: QuickLooks::new(station.clock),
        hello_by: Instant::now() + hello_within,
        pending: VecDeque::new(),
        pending_bytes: 0,
        opened: false,
        number: 0,
        receipted: BTreeMap::new(),
        farewell: false,
        peer,
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
    session.looks.settle(connection.stats().frame_rx.datagram, &station.feed);
    station.sessions.leave(origin, id);
    // The archive may be closed already; then there is nothing to leave.
    let _ = station.writer.leave(id).await;
    tracing::info!(%peer, principal = %session.principal.name, reason = %ended.reason, "link closed");
    if session.opened {
        session.tell_closed(session.principal.spacecraft.iter().copied(), &ended.reason);
    }
}

/// Units that a store holds and this ledger does not.
type Held = BTreeMap<SpacecraftId, BTreeMap<KeyPrefix, RangeSet>>;

struct Session {
    station: Arc<Station>,
    id: SessionId,
    connection: Connection,
    key: KeyHash,
    /// What the key may do, as the rules now say.
    principal: Principal,
    rules: watch::Receiver<Arc<Rules>>,
    pace: Arc<Pace>,
    hello_by: Instant,
    /// Object streams that may be accepted.
    streams: Bucket,
    window: Window,
    looks: QuickLooks,
    receiver: Receiver,
    fates: mpsc::UnboundedSender<Fates>,
    told: mpsc::UnboundedReceiver<Fates>,
    /// Control bytes that the peer has not taken yet.
    pending: VecDeque<Bytes>,
    pending_bytes: usize,
    opened: bool,
    /// The peer's number of this session.
    number: u64,
    /// Units receipted, by spacecraft.
    receipted: BTreeMap<SpacecraftId, u64>,
    farewell: bool,
    /// Where the peer was when it was last looked at.
    peer: SocketAddr,
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
        let mut context = Arc::new(self.object_context());
        // A stream that is not accepted yet gives its peer no credit for another.
        let mut next_object = Instant::now();
        let mut sample = interval(Duration::from_secs(1));
        sample.set_missed_tick_behavior(MissedTickBehavior::Skip);
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
                stream = accept(&self.connection, next_object) => match stream {
                    Ok(_) if !self.receiver.is_open() => {
                        return Ended::new(close::PROTOCOL, BEFORE_HELLO);
                    }
                    Ok(stream) => {
                        let now = self.station.clock.mono_ns();
                        let wait = self.streams.owe(1, now);
                        next_object = Instant::now() + Duration::from_nanos(wait);
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
                Ok(datagram) = self.connection.read_datagram() => {
                    self.quick_look(&datagram);
                    self.quick_looks(LOOKS_AT_ONCE);
                }
                () = sleep_until(wake) => {
                    self.receiver.handle_timeout(self.station.clock.mono_ns());
                }
                _ = sample.tick() => {
                    self.sample();
                    if !self.opened && Instant::now() > self.hello_by {
                        return Ended::new(close::TOO_SLOW, "no hello");
                    }
                }
                () = self.window.due() => self.window.follow(self.station.sessions.count()),
                // Finished tasks are collected as they end.
                Some(_) = objects.join_next() => {}
                Ok(()) = self.rules.changed() => {
                    if let Err(ended) = self.judge_anew() {
                        return ended;
                    }
                    self.streams = streams(&self.rules.borrow(), self.station.clock);
                    context = Arc::new(self.object_context());
                }
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
            stall: self.rules.borrow().object_stall,
            pace: Arc::clone(&self.pace),
        }
    }

    /// After a reload: objects to come are judged by what the table now says of the key.
    fn judge_anew(&mut self) -> Result<(), Ended> {
        let rules = Arc::clone(&self.rules.borrow_and_update());
        let name = &self.principal.name;
        let principal = rules.table.principal(self.key).map_err(|denial| {
            tracing::warn!(principal = %name, "no longer in the table; closed");
            self.station.feed.publish(Event::PeerRejected { reason: "revoked" });
            Ended::new(close::UNKNOWN_KEY, denial.to_string())
        })?;
        if principal.origin != self.principal.origin {
            // Receipts of this session name the old origin.
            return Err(Ended::new(close::DONE, "this key has another origin now; connect again"));
        }
        let before = std::mem::replace(&mut self.principal, principal.clone());
        if self.opened {
            self.take_share();
        }
        if self.opened && before.spacecraft != self.principal.spacecraft {
            let gone = before.spacecraft.difference(&self.principal.spacecraft);
            self.tell_closed(gone.copied(), "no longer allowed");
            let new = self.principal.spacecraft.difference(&before.spacecraft);
            self.tell_opened(new.copied());
        }
        Ok(())
    }

    /// Becomes the session of its origin, and gets its share.
    async fn enter(&mut self) -> Result<(), Ended> {
        let (station, origin) = (&self.station, self.principal.origin);
        let now = station.clock.mono_ns();
        if !station.sessions.enter(origin, self.id, &self.connection, now).await {
            let principal = &self.principal.name;
            tracing::warn!(principal, "two with one identity take over from each other");
            station.feed.publish(Event::PeerRejected { reason: "crowded" });
            let reason = "another session of this origin is alive; come again in 10 s";
            return Err(Ended::new(close::CROWDED, reason));
        }
        self.take_share();
        Ok(())
    }

    /// Looks at those that wait, and at so many at the most.
    fn quick_looks(&mut self, most: usize) {
        for _ in 0..most {
            let Some(Ok(datagram)) = self.connection.read_datagram().now_or_never() else { return };
            self.quick_look(&datagram);
        }
    }

    fn quick_look(&mut self, datagram: &[u8]) {
        let (open, station) = (self.receiver.is_open(), &self.station);
        self.looks.take(datagram, open, &self.principal, &station.mission, &station.feed);
    }

    fn take_share(&mut self) {
        let share = self.rules.borrow().shares.of_key(self.key);
        self.window.share(share.credit_bytes, self.station.sessions.count());
        self.pace.limit(share.rate_bps, self.station.clock.mono_ns());
    }

    async fn events(&mut self) -> Result<(), Ended> {
        while let Some(event) = self.receiver.poll_event() {
            match event {
                ReceiverEvent::Hello { session, channels } => {
                    let origin = self.principal.origin;
                    self.enter().await?;
                    let durable = self.station.writer.durable(origin).await;
                    let durable =
                        durable.map_err(|_| Ended::new(close::DONE, "the station stops"))?;
                    let stored = self.station.writer.stored_of(origin).await;
                    let station = &self.station;
                    let ours = |ledger| {
                        ledger == station.receiver.ledger || station.predecessors.contains(&ledger)
                    };
                    let lost = lost_by_us(origin, ours, &channels, &durable);
                    let own = self.principal.spacecraft.iter().copied();
                    let held = on_board(origin, own, &channels, &durable);
                    self.receiver.welcome(self.station.clock.tai(), durable);
                    let now = self.station.clock.mono_ns();
                    tell_stored(&mut self.receiver, &stored.unwrap_or_default(), now);
                    // The plan tells the peer that nothing more is asked for.
                    if self.ask_for(lost).await {
                        self.receiver.plan((self.station.contacts)());
                    }
                    let (store, uplink) = (craft_store(&channels), &self.station.uplink);
                    uplink.attend(self.id, &self.principal, store, &self.connection);
                    self.greeted(session, &channels, held);
                }
                ReceiverEvent::Farewell(text) => {
                    tracing::info!(principal = %self.principal.name, text, "the peer says goodbye");
                    if std::mem::replace(&mut self.farewell, true) {
                        return Err(Ended::new(close::PROTOCOL, "goodbye twice"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Asks for what was receipted once and is not held now; a loss is on record before. Whether
    /// all is asked for.
    async fn ask_for(&mut self, lost: Vec<(KeyPrefix, Vec<SeqRange>)>) -> bool {
        if lost.is_empty() {
            return true;
        }
        let recorded = self.station.writer.lose(lost.clone()).await;
        if !matches!(recorded, Ok(Ok(()))) {
            // The store still names it with its next hello.
            tracing::error!(?recorded, "a loss can't be recorded; not asked for yet");
            return false;
        }
        for (prefix, ranges) in lost {
            let units = crate::audit::Key::new(&prefix, &ranges.iter().copied().collect());
            tracing::error!(%units, "receipted once, not held now; asked for");
            self.receiver.ask(prefix, ranges);
        }
        true
    }

    fn fates(&mut self, fates: Fates) {
        let now = self.station.clock.mono_ns();
        for (spacecraft, count) in fates.tell(&mut self.receiver, now) {
            *self.receipted.entry(spacecraft).or_default() += count;
        }
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

    fn greeted(&mut self, session: u64, channels: &[ChannelState], held: Held) {
        self.opened = true;
        self.number = session;
        let peer = self.connection.remote_address();
        let name = &self.principal.name;
        tracing::info!(principal = %name, %peer, session, counters = channels.len(), "link opened");
        self.tell_opened(held.keys().copied());
        let origin = self.principal.origin;
        let told =
            held.into_iter().map(|(spacecraft, held)| Event::OnBoard { spacecraft, origin, held });
        self.station.feed.publish_all(told.collect());
    }

    fn tell_opened(&self, spacecraft: impl Iterator<Item = SpacecraftId>) {
        let at = self.station.clock.tai();
        let peer = self.connection.remote_address().to_string();
        let rtt_ms = self.connection.rtt().as_secs_f64() * 1e3;
        let opened = |spacecraft: SpacecraftId| {
            self.station.catalogue.note(Entry::Opened(Opened {
                session: self.number,
                spacecraft: spacecraft.0,
                principal: self.principal.name.clone(),
                peer: peer.clone(),
                at: at.0,
            }));
            Event::LinkOpened { spacecraft, session: self.id, peer: peer.clone(), rtt_ms, at }
        };
        self.station.feed.publish_all(spacecraft.map(opened).collect());
    }

    fn sample(&mut self) {
        let rtt = self.connection.rtt();
        self.receiver.set_rtt(rtt.as_nanos() as u64);
        if !self.opened {
            return;
        }
        let peer = self.connection.remote_address();
        if peer != self.peer {
            let principal = &self.principal.name;
            tracing::info!(principal, from = %self.peer, to = %peer, "the peer's address changed");
            self.peer = peer;
            self.tell_closed(self.principal.spacecraft.iter().copied(), "moved to another address");
            self.tell_opened(self.principal.spacecraft.iter().copied());
        }
        self.quick_looks(usize::MAX);
        let stats = self.connection.stats();
        self.looks.settle(stats.frame_rx.datagram, &self.station.feed);
        let bytes = stats.udp_rx.bytes;
        let seconds = self.sampled.elapsed().as_secs_f64();
        // The first tick comes at once: a rate over so short a time would be a fable.
        if seconds < SAMPLE_SECONDS_MIN {
            return;
        }
        let rate_bps = bytes.saturating_sub(self.received_bytes) as f64 * 8.0 / seconds;
        (self.received_bytes, self.sampled) = (bytes, Instant::now());
        let (rtt_ms, at) = (rtt.as_secs_f64() * 1e3, self.station.clock.tai());
        let spacecraft = self.principal.spacecraft.iter().copied();
        let session = self.id;
        let sample =
            |spacecraft| Event::LinkSample { spacecraft, session, rtt_ms, rate_bps, bytes, at };
        self.station.feed.publish_all(spacecraft.map(sample).collect());
    }

    fn tell_closed(&self, spacecraft: impl Iterator<Item = SpacecraftId>, reason: &str) {
        let at = self.station.clock.tai();
        let closed = |spacecraft: SpacecraftId| {
            self.station.catalogue.note(Entry::Closed(Closed {
                session: self.number,
                spacecraft: spacecraft.0,
                at: at.0,
                units: self.receipted.get(&spacecraft).copied().unwrap_or(0),
                bytes: self.connection.stats().udp_rx.bytes,
                reason: reason.into(),
            }));
            Event::LinkClosed { spacecraft, session: self.id, reason: reason.into(), at }
        };
        self.station.feed.publish_all(spacecraft.map(closed).collect());
    }
}

fn streams(rules: &Rules, clock: StationClock) -> Bucket {
    // A second's worth at once.
    Bucket::new(rules.limits.objects_per_s, rules.limits.objects_per_s, clock.mono_ns())
}

async fn accept(connection: &Connection, from: Instant) -> Result<RecvStream, ConnectionError> {
    sleep_until(from).await;
    connection.accept_uni().await
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
