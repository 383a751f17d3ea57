//! What a client decides between its store and its link: no sockets, no clock.
//!
//! ```text
//! store ─ offers, commits ─► courier ─► sender ─► plans of objects
//!   ▲                          │ events of the sender
//!   └──── receipts, asks ──────┘
//! ```
//!
//! The shell around it owns sockets and streams, or a simulator does; both act alike because what
//! to do is said here.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use codecs::{
    ids::{Codec, RangeSet, UnitKey},
    link::{
        self,
        object::write_unit,
        profile::Profile,
        receipted::Receipted,
        sender::{Backlog, Plan, Sender, SenderConfig, SenderEvent, UNITS_MAX},
        uplink::object::UplinkObject,
        wire::PlannedContact,
    },
    time::Tai,
};
use quinn_proto::{ConnectionError, ConnectionStats};

use crate::shell::custodian::{Change, Custodian, Offer, Taken, Untakable};

/// First wait between attempts to connect.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// Longest wait between attempts: what a rise may cost.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Longest wait where the station says that another has this identity: each connection would end
/// the other's.
const CROWDED_MAX: Duration = Duration::from_secs(30);
/// How often a connection is asked whether the station is still there.
pub const PULSE_EVERY: Duration = Duration::from_millis(250);
/// Least silence that counts as the station being gone.
const SILENCE_MIN_MS: u64 = 3_000;
/// Round trips of silence that count as the station being gone.
const SILENCE_ROUND_TRIPS: u64 = 6;

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

/// Why an object did not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectFailure {
    /// A unit is gone or damaged; the object must not go.
    Untakable(UnitKey, Untakable),
    /// A unit changed its length since it was planned.
    Changed,
    /// The stream or the connection ended.
    Stream,
}

/// The sender with what it did, and the store's units that it does not know yet.
#[derive(Debug)]
pub struct Courier {
    /// What goes next.
    pub sender: Sender,
    /// What was done so far.
    pub counts: LinkCounts,
    /// Units that the sender keeps track of at a time.
    units_max: u64,
    /// The store holds units that the sender does not know.
    overflow: bool,
}

impl Courier {
    /// A courier without a connection; `opened` says what there is to send.
    pub fn new<C: Custodian>(opened: &C, objects_max: usize) -> Self {
        let mut sender = Sender::new(SenderConfig {
            origin: opened.origin(),
            objects_max,
            reclaimable_from: opened.reclaimable_from(),
            housekeeping_percent: opened.housekeeping_percent(),
        });
        for of in opened.recall() {
            sender.recall_next(of.prefix, of.next);
            for Receipted { ledger, class, ranges } in &of.receipted {
                sender.recall_receipts(of.prefix, *ledger, *class, ranges);
            }
        }
        let units_max = opened.tracked_max().min(UNITS_MAX) as u64;
        let counts = LinkCounts::default();
        let mut courier = Self { sender, counts, units_max, overflow: false };
        courier.take_up(opened);
        courier
    }

    /// A connection stands.
    pub fn connected(&mut self, session: u64) {
        self.counts.connections += 1;
        self.counts.heard_out = false;
        self.sender.connected(session);
    }

    /// The connection is gone.
    pub fn disconnected(&mut self) {
        self.sender.disconnected();
        self.counts.up = false;
    }

    /// Does what an event of the sender asks of the store; what to tell others comes back.
    pub fn handle<C: Custodian>(
        &mut self,
        event: SenderEvent,
        store: &mut C,
        mut tell: impl FnMut(FromLink),
    ) {
        match event {
            SenderEvent::Welcomed { ledger, time, domain } => {
                tracing::info!(ledger = format!("{ledger:#x}"), domain, "welcomed");
                self.counts.up = true;
                tell(FromLink::Time(time));
            }
            SenderEvent::Reclaimable { prefix, ranges, ledger, class }
            | SenderEvent::Held { prefix, ranges, ledger, class } => {
                let ranges = ranges.into_iter().collect();
                self.counts.receipted += store.receipt(ledger, class, prefix, &ranges);
                tell(FromLink::Dirty);
            }
            SenderEvent::Refused { prefix, ranges, reason, final_here } => {
                let ranges: RangeSet = ranges.into_iter().collect();
                let count = ranges.count();
                self.counts.refused += count;
                store.refused(prefix, &ranges, reason, final_here);
                let (channel, reason) = (prefix.channel, reason.name());
                tracing::warn!(%channel, count, reason, final_here, "units refused");
            }
            SenderEvent::Asked { prefix, ranges } => {
                let ranges = ranges.into_iter().collect();
                let again = store.ask(prefix, &ranges);
                tracing::info!(channel = %prefix.channel, units = again.len(), "asked again");
                self.offer(again.into_iter());
                tell(FromLink::Dirty);
            }
            SenderEvent::Planned(contacts) => {
                tracing::info!(contacts = contacts.len(), "contact plan");
                tell(FromLink::Planned(contacts));
            }
            SenderEvent::Farewell(text) => tracing::info!(text, "the station says goodbye"),
        }
    }

    /// All events are handled: whether more of the store is to be [taken up](Self::take_up).
    pub fn handled(&mut self) -> bool {
        // Only now: what was asked for is in the store's hands.
        self.counts.heard_out = self.sender.is_heard_out();
        self.overflow && self.sender.backlog().units < self.units_max / 2
    }

    /// Offers what is held and not yet known to the sender, the most urgent first, up to the bound.
    pub fn take_up<C: Custodian>(&mut self, store: &C) {
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
    pub fn committed(&mut self, change: Change) -> Vec<u64> {
        let mut pointless: Vec<u64> =
            change.gone.iter().filter_map(|key| self.sender.withdraw(*key)).collect();
        // A void that grew is offered anew with its new length.
        let voids = change.offered.iter().filter(|unit| unit.info.codec == Codec::Void);
        pointless.extend(voids.filter_map(|unit| self.sender.withdraw(unit.key)));
        self.offer(change.offered.into_iter());
        pointless
    }

    /// An object ended, with so many units and bytes written or not; whether the store has
    /// something to write for it.
    pub fn object_ended(&mut self, id: u64, outcome: Result<(u64, u64), ObjectFailure>) -> bool {
        match outcome {
            Ok((units, bytes)) => {
                self.counts.objects += 1;
                self.counts.units_written += units;
                self.counts.object_bytes += bytes;
                self.sender.object_done(id);
                false
            }
            Err(ObjectFailure::Untakable(key, why)) => {
                let dirty = if let Untakable::Unreadable(why) = why {
                    let channel = key.prefix.channel;
                    tracing::warn!(%channel, key.sequence, "not sent: {why}");
                    true
                } else {
                    false
                };
                self.sender.object_failed(id);
                self.sender.withdraw(key);
                dirty
            }
            Err(ObjectFailure::Changed | ObjectFailure::Stream) => {
                self.sender.object_failed(id);
                false
            }
        }
    }
}

/// An object as it is written on its stream.
///
/// # Errors
/// A unit is gone, or no longer what was planned.
pub fn object<C: Custodian>(plan: &Plan, store: &mut C) -> Result<Bytes, ObjectFailure> {
    let mut object = Vec::from(plan.header.encode());
    let empty = object.len();
    object.reserve(plan.header.length as usize);
    for sequence in plan.range.first..=plan.range.last {
        let key = UnitKey { prefix: plan.prefix, sequence };
        let taken = store.take(key).map_err(|error| ObjectFailure::Untakable(key, error))?;
        let Taken { annotation, bytes } = taken;
        if annotation.is_some() != plan.header.annotated {
            let unlike = "its annotation is not as it was offered".into();
            return Err(ObjectFailure::Untakable(key, Untakable::Unreadable(unlike)));
        }
        write_unit(&mut object, annotation, &bytes);
    }
    if object.len() - empty != plan.header.length as usize {
        return Err(ObjectFailure::Changed);
    }
    Ok(object.into())
}

/// When to try again.
#[derive(Clone, Copy, Debug)]
pub struct Attempts {
    wait: Duration,
    crowded: Duration,
}

impl Default for Attempts {
    fn default() -> Self {
        Self { wait: BACKOFF_MIN, crowded: BACKOFF_MIN }
    }
}

impl Attempts {
    /// A connection came about.
    pub fn connected(&mut self) {
        self.wait = BACKOFF_MIN;
    }

    /// It ended with trouble: for this reason, if the transport knows one. Whether the station does
    /// not take the identity.
    pub fn broke(&mut self, reason: Option<&ConnectionError>) -> bool {
        let refused = reason.is_some_and(is_refusal);
        let wait = refused || reason.is_some_and(is_crowded);
        self.crowded = if wait { (self.crowded * 2).min(CROWDED_MAX) } else { BACKOFF_MIN };
        self.wait = self.crowded;
        refused
    }

    /// How long to wait now; longer the next time.
    pub fn pause(&mut self) -> Duration {
        let now = self.wait;
        self.wait = (now * 2).min(BACKOFF_MAX);
        now
    }
}

/// How long a handshake may take: a silent station is asked anew rather than waited for, since the
/// waits of a handshake double and the rise must not fall into a long one.
pub fn handshake_max(profile: &Profile) -> Duration {
    Duration::from_millis(2_000.max(6 * profile.initial_rtt_ms))
}

/// Alerts of TLS that are about our certificate (RFC 8446 §6.2): from bad to unknown, an unknown
/// authority, access denied, a signature that does not hold.
const REFUSALS: [u64; 8] = [42, 43, 44, 45, 46, 48, 49, 51];
/// QUIC's code of a TLS alert is above this (RFC 9001 §4.8).
const CRYPTO: u64 = 0x100;

/// Whether the station does not take this identity.
pub fn is_refusal(reason: &ConnectionError) -> bool {
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
fn is_crowded(reason: &ConnectionError) -> bool {
    let ConnectionError::ApplicationClosed(close) = reason else { return false };
    let code = close.error_code.into_inner();
    [link::close::SUPERSEDED, link::close::CROWDED]
        .iter()
        .any(|crowded| u64::from(*crowded) == code)
}

/// Finds a station that is gone long before the idle timeout does: it was sent something and said
/// nothing for several round trips. A station that was restarted knows nothing of the connection,
/// and a new handshake costs less than what a pass would lose.
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    initial_rtt: Duration,
    heard: u64,
    sent_then: u64,
    /// When something was sent for the first time after something was heard.
    spoke_ns: Option<u64>,
}

impl Silence {
    /// On a new connection.
    pub fn new(profile: &Profile) -> Self {
        let initial_rtt = Duration::from_millis(profile.initial_rtt_ms);
        Self { initial_rtt, heard: 0, sent_then: 0, spoke_ns: None }
    }

    /// Whether the station is gone, to be asked every [`PULSE_EVERY`].
    pub fn is_over(&mut self, stats: &ConnectionStats, rtt: Duration, now_ns: u64) -> bool {
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
