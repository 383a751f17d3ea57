//! The store's side of custody: what goes next, what is safe, what must go again.
//!
//! ```text
//! offer ─► ready ─► under way ─► sent ─► held by a ledger ─► receipted as the mission asks
//!            ▲          │ failed   │ disconnected, refused (after its time), asked for
//!            └──────────┴──────────┘
//! ```
//!
//! One mutation, then drain: after every call poll control messages, objects and events until they
//! say `None`, then sleep until [`Sender::timeout`]. Times are monotonic nanoseconds.

mod heard;
mod line;

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    string::String,
    vec::Vec,
};
use bytes::Bytes;
use core::cmp::Reverse;

use super::{
    MAX_OBJECT_BYTES,
    control::ControlReader,
    custody::{Durability, RefusalReason},
    hello::{Counted, hello},
    object::{HEADER_BYTES, ObjectHeader, unit_footprint},
    receipted::Receipts,
    wire::{Limits, Message, PlannedContact, WireError},
};
use crate::{
    ids::{Codec, KeyPrefix, Origin, RangeSet, SeqRange, UnitKey},
    time::Tai,
};
use line::{Lane, Line, Place};

/// Units that a sender keeps track of; a store offers no more until some are receipted.
pub const UNITS_MAX: usize = 1 << 20;
/// Largest object that is begun; smaller objects lose less to a cut.
pub const OBJECT_BYTES_TARGET: usize = 256 << 10;

/// What the store says of a unit when it offers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitInfo {
    /// Format of its inside.
    pub codec: Codec,
    /// Downlink priority, higher first.
    pub priority: u8,
    /// Its length, bytes.
    pub length: u32,
    /// Whether an antenna's annotation goes with it.
    pub annotated: bool,
    /// When it is worth nothing any more: within a priority the earliest goes first.
    /// [`NO_DEADLINE`] where it keeps its worth.
    pub due: Tai,
}

/// Due after everything that has a deadline.
pub const NO_DEADLINE: Tai = Tai(i64::MAX);

impl UnitInfo {
    /// What stands in the header of an object holds for each of its units.
    fn fits(&self, lead: &Self) -> bool {
        (self.codec, self.priority, self.annotated) == (lead.codec, lead.priority, lead.annotated)
    }

    fn footprint(&self) -> usize {
        unit_footprint(self.length as usize, self.annotated)
    }

    pub(super) fn lane(&self) -> Lane {
        if self.codec == Codec::Product { Lane::Payload } else { Lane::Housekeeping }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// May go as soon as its turn comes.
    Ready,
    /// In an object under way.
    UnderWay,
    /// Its object arrived; waiting for the receipt.
    Sent,
    /// Receipted by this ledger, below the class that frees it: not sent again to that ledger.
    Held(u64),
    /// Refused: not before this time; `u64::MAX` is never on this connection.
    Waiting(u64),
}

#[derive(Clone, Copy, Debug)]
struct Unit {
    info: UnitInfo,
    /// Place among all offers: within a priority and a deadline the oldest goes first.
    turn: u64,
    state: State,
}

impl Unit {
    fn place(&self, prefix: KeyPrefix, sequence: u64) -> Place {
        (Reverse(self.info.priority), self.info.due, self.turn, prefix, sequence)
    }
}

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    units: BTreeMap<u64, Unit>,
    receipts: Receipts,
}

/// An object to be written on a stream of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Name for [`Sender::object_done`] and [`Sender::object_failed`].
    pub id: u64,
    /// The header to write first; the units of its range follow.
    pub header: ObjectHeader,
    /// Whose units.
    pub prefix: KeyPrefix,
    /// Which units.
    pub range: SeqRange,
}

/// What happened that the store must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SenderEvent {
    /// The station greeted: objects may go from now on.
    Welcomed {
        /// Its ledger.
        ledger: u64,
        /// Trusted time.
        time: Tai,
        /// Its domain.
        domain: String,
    },
    /// These units are safe and may be erased when space is needed.
    Reclaimable {
        /// Whose units.
        prefix: KeyPrefix,
        /// Which.
        ranges: Vec<SeqRange>,
        /// Which ledger says so.
        ledger: u64,
        /// How safe.
        class: Durability,
    },
    /// These units are on the ground, below the class that frees them: to be noted, not erased.
    Held {
        /// Whose units.
        prefix: KeyPrefix,
        /// Which.
        ranges: Vec<SeqRange>,
        /// Which ledger says so.
        ledger: u64,
        /// How safe.
        class: Durability,
    },
    /// These units were refused.
    Refused {
        /// Whose units.
        prefix: KeyPrefix,
        /// Which.
        ranges: Vec<SeqRange>,
        /// Why.
        reason: RefusalReason,
        /// Whether they may go again on this connection.
        final_here: bool,
    },
    /// The station lost these: offer again what is still on board.
    Asked {
        /// Whose units.
        prefix: KeyPrefix,
        /// Which.
        ranges: Vec<SeqRange>,
    },
    /// The next contacts.
    Planned(Vec<PlannedContact>),
    /// The station ends the connection on purpose.
    Farewell(String),
}

/// Settings of a sender.
#[derive(Clone, Copy, Debug)]
pub struct SenderConfig {
    /// Who numbers the units.
    pub origin: Origin,
    /// Objects under way at once.
    pub objects_max: usize,
    /// Least class that makes a unit reclaimable.
    pub reclaimable_from: Durability,
    /// Share of the bytes sent, in percent (at most 99), that housekeeping has while any of it
    /// waits, whatever the payload's products are worth.
    pub housekeeping_percent: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Down,
    /// Hello is out; welcome pages come in.
    Greeting,
    Open,
}

/// What is on board and not yet safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Units.
    pub units: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Why the peer's control stream ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SenderError {
    /// Bytes that are no message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A message of the store's side, or a second welcome.
    #[error("{0} out of turn")]
    OutOfTurn(&'static str),
}

/// State machine of a store's downlink.
#[derive(Debug)]
pub struct Sender {
    config: SenderConfig,
    phase: Phase,
    limits: Limits,
    queues: BTreeMap<KeyPrefix, Queue>,
    ready: Line,
    waiting: BTreeSet<(u64, KeyPrefix, u64)>,
    under_way: BTreeMap<u64, (KeyPrefix, SeqRange)>,
    reader: ControlReader,
    control: VecDeque<Bytes>,
    events: VecDeque<SenderEvent>,
    turns: u64,
    objects: u64,
    /// The ledger that greeted last.
    ledger: u64,
    /// The ledger of the welcome whose pages come in.
    greeted_by: Option<u64>,
    /// The ledger of this connection has said what it asks for.
    heard_out: bool,
    backlog: Backlog,
}

impl Sender {
    /// A sender without a connection.
    pub fn new(config: SenderConfig) -> Self {
        Self {
            config,
            phase: Phase::Down,
            limits: Limits { object_bytes_max: 0, unit_bytes_max: 0, objects_max: 0 },
            queues: BTreeMap::new(),
            ready: Line::default(),
            waiting: BTreeSet::new(),
            under_way: BTreeMap::new(),
            reader: ControlReader::new(),
            control: VecDeque::new(),
            events: VecDeque::new(),
            turns: 0,
            objects: 0,
            ledger: 0,
            greeted_by: None,
            heard_out: false,
            backlog: Backlog::default(),
        }
    }

    /// Units and bytes that no receipt covers yet.
    pub fn backlog(&self) -> Backlog {
        self.backlog
    }

    /// Whether objects may go.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether the ledger has said what it asks for, on this connection or, where there is none, on
    /// the last one: its contact plan ends its first words. Nothing that it lost is open but what
    /// stands in the line again.
    pub fn is_heard_out(&self) -> bool {
        self.heard_out
    }

    /// Takes a unit that the store has synced; `false` when it is known already or
    /// [`UNITS_MAX`] are held.
    pub fn offer(&mut self, key: UnitKey, info: UnitInfo) -> bool {
        if self.backlog.units >= UNITS_MAX as u64 {
            return false;
        }
        let queue = self.queues.entry(key.prefix).or_default();
        if queue.units.contains_key(&key.sequence) {
            return false;
        }
        queue.next = queue.next.max(key.sequence.saturating_add(1));
        let one = SeqRange { first: key.sequence, last: key.sequence };
        let state = match queue.receipts.of(key.sequence) {
            Some(of) if of.class < self.config.reclaimable_from => State::Held(of.ledger),
            _ => State::Ready,
        };
        if state == State::Ready {
            // The store says that it is not safe, and it is the store's to say.
            queue.receipts.remove(one);
        }
        let unit = Unit { info, turn: self.turns, state };
        if state == State::Ready {
            self.ready.lane(info.lane()).insert(unit.place(key.prefix, key.sequence));
        }
        queue.units.insert(key.sequence, unit);
        self.turns += 1;
        self.backlog.units += 1;
        self.backlog.bytes += u64::from(info.length);
        true
    }

    /// Recalls at start the counter that a store had reached.
    pub fn recall_next(&mut self, prefix: KeyPrefix, next: u64) {
        let queue = self.queues.entry(prefix).or_default();
        queue.next = queue.next.max(next);
    }

    /// Recalls at start, before anything is offered, what a ledger had receipted in a class.
    pub fn recall_receipts(
        &mut self,
        prefix: KeyPrefix,
        ledger: u64,
        class: Durability,
        ranges: &RangeSet,
    ) {
        let queue = self.queues.entry(prefix).or_default();
        ranges.ranges().iter().for_each(|range| queue.receipts.insert(ledger, class, *range));
    }

    /// Forgets a unit that the store voids; the id of the object to reset, if it is under way.
    pub fn withdraw(&mut self, key: UnitKey) -> Option<u64> {
        self.drop_unit(key.prefix, key.sequence);
        let holds = |(_, (prefix, range)): &(&u64, &(KeyPrefix, SeqRange))| {
            *prefix == key.prefix && range.contains(key.sequence)
        };
        self.under_way.iter().find(holds).map(|(id, _)| *id)
    }

    /// A connection stands: says hello. `session` is drawn at random.
    pub fn connected(&mut self, session: u64) {
        self.disconnected();
        self.phase = Phase::Greeting;
        self.heard_out = false;
        self.limits = Limits { object_bytes_max: 0, unit_bytes_max: 0, objects_max: 0 };
        let counted = self.queues.iter().map(|(prefix, queue)| Counted {
            prefix: *prefix,
            next: queue.next,
            held: queue.units.keys().map(|at| SeqRange { first: *at, last: *at }).collect(),
            receipts: &queue.receipts,
        });
        self.control.extend(hello(session, counted));
    }

    /// The connection is gone: what was not receipted goes again on the next one, what was refused
    /// for a time after that time.
    pub fn disconnected(&mut self) {
        self.phase = Phase::Down;
        self.reader = ControlReader::new();
        self.control.clear();
        self.under_way.clear();
        self.greeted_by = None;
        self.release(|state| {
            matches!(state, State::Sent | State::UnderWay | State::Waiting(u64::MAX))
        });
    }

    /// Puts units back in line whose state says so.
    fn release(&mut self, goes_again: impl Fn(State) -> bool) {
        for (prefix, queue) in &mut self.queues {
            for (sequence, unit) in &mut queue.units {
                if goes_again(unit.state) {
                    if let State::Waiting(until) = unit.state {
                        self.waiting.remove(&(until, *prefix, *sequence));
                    }
                    unit.state = State::Ready;
                    self.ready.lane(unit.info.lane()).insert(unit.place(*prefix, *sequence));
                }
            }
        }
    }

    /// Says goodbye; the shell closes the connection once this is written.
    pub fn goodbye(&mut self, text: &str) {
        self.control.push_back(Message::Goodbye { text: text.into() }.encode());
    }

    fn drop_range(&mut self, prefix: KeyPrefix, range: SeqRange) {
        let Some(queue) = self.queues.get(&prefix) else { return };
        let sequences: Vec<u64> =
            queue.units.range(range.first..=range.last).map(|(sequence, _)| *sequence).collect();
        sequences.into_iter().for_each(|sequence| self.drop_unit(prefix, sequence));
    }

    fn drop_unit(&mut self, prefix: KeyPrefix, sequence: u64) {
        let Some(queue) = self.queues.get_mut(&prefix) else { return };
        let Some(unit) = queue.units.remove(&sequence) else { return };
        self.ready.lane(unit.info.lane()).remove(&unit.place(prefix, sequence));
        if let State::Waiting(until) = unit.state {
            self.waiting.remove(&(until, prefix, sequence));
        }
        self.backlog.units -= 1;
        self.backlog.bytes -= u64::from(unit.info.length);
    }

    fn postpone(&mut self, prefix: KeyPrefix, range: SeqRange, until: u64) {
        self.leave_line(prefix, range, |state| match state {
            // Its ledger has it, whatever became of another copy.
            State::Held(_) => state,
            _ => State::Waiting(until),
        });
    }

    /// Takes units out of the line, into another state.
    fn leave_line(&mut self, prefix: KeyPrefix, range: SeqRange, to: impl Fn(State) -> State) {
        let Some(queue) = self.queues.get_mut(&prefix) else { return };
        for (sequence, unit) in queue.units.range_mut(range.first..=range.last) {
            if let State::Waiting(before) = unit.state {
                self.waiting.remove(&(before, prefix, *sequence));
            }
            self.ready.lane(unit.info.lane()).remove(&unit.place(prefix, *sequence));
            unit.state = to(unit.state);
            if let State::Waiting(until) = unit.state
                && until != u64::MAX
            {
                self.waiting.insert((until, prefix, *sequence));
            }
        }
    }

    /// When a refused unit may go again.
    pub fn timeout(&self) -> Option<u64> {
        self.waiting.first().map(|(until, _, _)| *until)
    }

    /// Puts refused units whose time has come back in line.
    pub fn handle_timeout(&mut self, now: u64) {
        while let Some((until, prefix, sequence)) = self.waiting.first().copied() {
            if until > now {
                break;
            }
            self.waiting.remove(&(until, prefix, sequence));
            self.make_ready(prefix, SeqRange { first: sequence, last: sequence });
        }
    }

    fn make_ready(&mut self, prefix: KeyPrefix, range: SeqRange) {
        let Some(queue) = self.queues.get_mut(&prefix) else { return };
        for (sequence, unit) in queue.units.range_mut(range.first..=range.last) {
            unit.state = State::Ready;
            self.ready.lane(unit.info.lane()).insert(unit.place(prefix, *sequence));
        }
    }

    /// Bytes to write on the control stream.
    pub fn poll_control(&mut self) -> Option<Bytes> {
        self.control.pop_front()
    }

    /// What the store must know.
    pub fn poll_event(&mut self) -> Option<SenderEvent> {
        self.events.pop_front()
    }

    /// The next object to send: the most urgent unit and those that follow it without a hole.
    pub fn poll_object(&mut self, created: Tai) -> Option<Plan> {
        let streams = self.config.objects_max.min(usize::from(self.limits.objects_max));
        if self.phase != Phase::Open || self.under_way.len() >= streams {
            return None;
        }
        let room = OBJECT_BYTES_TARGET
            .min(MAX_OBJECT_BYTES)
            .min(self.limits.object_bytes_max as usize)
            .saturating_sub(HEADER_BYTES);
        loop {
            let (_, _, _, prefix, first) = self.ready.next()?;
            let queue = self.queues.get_mut(&prefix)?;
            let lead = queue.units.get(&first)?.info;
            if lead.length > self.limits.unit_bytes_max {
                self.postpone(prefix, SeqRange { first, last: first }, u64::MAX);
                self.events.push_back(SenderEvent::Refused {
                    prefix,
                    ranges: Vec::from([SeqRange { first, last: first }]),
                    reason: RefusalReason::TooLarge,
                    final_here: true,
                });
                continue;
            }
            let (mut last, mut length) = (first, 0usize);
            for (expected, (sequence, unit)) in (first..).zip(queue.units.range_mut(first..)) {
                let same =
                    *sequence == expected && unit.state == State::Ready && unit.info.fits(&lead);
                let longer = length + unit.info.footprint();
                if !same || (longer > room && *sequence != first) {
                    break;
                }
                (last, length) = (*sequence, longer);
                unit.state = State::UnderWay;
                self.ready.lane(unit.info.lane()).remove(&unit.place(prefix, *sequence));
            }
            self.ready.sent(lead.lane(), length as u64, self.config.housekeeping_percent);
            let id = self.objects;
            self.objects += 1;
            let range = SeqRange { first, last };
            self.under_way.insert(id, (prefix, range));
            let header = ObjectHeader {
                annotated: lead.annotated,
                codec: lead.codec,
                priority: lead.priority,
                epoch: prefix.epoch,
                spacecraft: prefix.spacecraft,
                channel: prefix.channel,
                first,
                count: range.count() as u32,
                length: length as u32,
                created,
            };
            return Some(Plan { id, header, prefix, range });
        }
    }

    /// The object's stream was written and acknowledged to its end.
    pub fn object_done(&mut self, id: u64) {
        self.end_object(id, State::Sent);
    }

    /// The object's stream was reset or stopped; its units go again unless receipted meanwhile.
    pub fn object_failed(&mut self, id: u64) {
        if let Some((prefix, range)) = self.end_object(id, State::Ready) {
            let Some(queue) = self.queues.get(&prefix) else { return };
            let again: Vec<u64> = queue
                .units
                .range(range.first..=range.last)
                .filter(|(_, unit)| unit.state == State::Ready)
                .map(|(sequence, _)| *sequence)
                .collect();
            for sequence in again {
                self.make_ready(prefix, SeqRange { first: sequence, last: sequence });
            }
        }
    }

    fn end_object(&mut self, id: u64, state: State) -> Option<(KeyPrefix, SeqRange)> {
        let (prefix, range) = self.under_way.remove(&id)?;
        // What was asked for in the meantime may be on a younger object, which decides for it.
        let overlaps = |other: &SeqRange| other.first <= range.last && range.first <= other.last;
        let others = self.under_way.values().filter(|(of, other)| *of == prefix && overlaps(other));
        let others: Vec<SeqRange> = others.map(|(_, other)| *other).collect();
        if let Some(queue) = self.queues.get_mut(&prefix) {
            for (sequence, unit) in queue.units.range_mut(range.first..=range.last) {
                let elsewhere = others.iter().any(|other| other.contains(*sequence));
                if unit.state == State::UnderWay && !elsewhere {
                    unit.state = state;
                }
            }
        }
        Some((prefix, range))
    }
}
