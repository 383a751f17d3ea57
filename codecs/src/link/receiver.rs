//! The ledger's side of custody on one connection: greetings, receipts, refusals, asks.
//!
//! It decides no admission: the ledger says what is durable, new, or refused, and this machine
//! says it to the peer in merged, bounded messages. Times are monotonic nanoseconds.

use alloc::{
    collections::{BTreeMap, VecDeque},
    string::String,
    vec::Vec,
};
use bytes::Bytes;

use super::control::{ControlReader, pages};
use super::custody::{Durability, KeyRanges, RefusalReason};
use super::hello::{HELLO_RANGES_MAX, STATES_MAX};
use super::wire::{ChannelState, Limits, Message, PlannedContact, WireError};
use crate::{
    ids::{KeyPrefix, Origin, RangeSet, SeqRange},
    time::Tai,
};

/// What the peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiverEvent {
    /// The whole hello came: answer with [`Receiver::welcome`].
    Hello {
        /// The peer's session.
        session: u64,
        /// State of its counters.
        channels: Vec<ChannelState>,
    },
    /// The peer ends the connection on purpose.
    Farewell(String),
}

/// Settings of a receiver.
#[derive(Clone, Debug)]
pub struct ReceiverConfig {
    /// The ledger's random id.
    pub ledger: u64,
    /// Name of the domain.
    pub domain: String,
    /// Bounds told to the peer.
    pub limits: Limits,
    /// Receipts are merged for the commit interval or an eighth of the round trip, whichever is
    /// longer.
    pub commit_ns: u64,
}

/// Why the peer's control stream ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiverError {
    /// Bytes that are no message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Something before, or a second, hello.
    #[error("{0} out of turn")]
    OutOfTurn(&'static str),
    /// More counters than [`STATES_MAX`].
    #[error("hello names more than {STATES_MAX} counters")]
    TooManyChannels,
    /// More ranges than [`HELLO_RANGES_MAX`].
    #[error("hello names more than {HELLO_RANGES_MAX} ranges")]
    TooManyRanges,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Pages of the hello come in.
    Greeting,
    /// The hello is whole; the ledger owes a welcome.
    Answering,
    Open,
}

/// State machine of one peer's connection.
#[derive(Debug)]
pub struct Receiver {
    config: ReceiverConfig,
    origin: Origin,
    phase: Phase,
    reader: ControlReader,
    channels: Vec<ChannelState>,
    /// Ranges in those.
    ranges: usize,
    receipts: BTreeMap<(Durability, KeyPrefix), RangeSet>,
    receipts_due: Option<u64>,
    rtt_ns: u64,
    control: VecDeque<Bytes>,
    events: VecDeque<ReceiverEvent>,
}

impl Receiver {
    /// A machine for a connection that authenticated as `origin`.
    pub fn new(config: ReceiverConfig, origin: Origin) -> Self {
        Self {
            config,
            origin,
            phase: Phase::Greeting,
            reader: ControlReader::new(),
            channels: Vec::new(),
            ranges: 0,
            receipts: BTreeMap::new(),
            receipts_due: None,
            rtt_ns: 0,
            control: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Whose connection it is.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Takes bytes of the control stream. After an error the connection must be closed.
    pub fn control_bytes(&mut self, bytes: &[u8]) -> Result<(), ReceiverError> {
        self.reader.push(bytes);
        while let Some(message) = self.reader.next_message()? {
            match message {
                Message::Hello { session, more, channels } => {
                    if self.phase != Phase::Greeting {
                        return Err(ReceiverError::OutOfTurn("hello"));
                    }
                    if self.channels.len() + channels.len() > STATES_MAX {
                        return Err(ReceiverError::TooManyChannels);
                    }
                    let ranges = |of: &ChannelState| of.held.ranges.len() + of.receipted.len();
                    self.ranges += channels.iter().map(ranges).sum::<usize>();
                    if self.ranges > HELLO_RANGES_MAX {
                        return Err(ReceiverError::TooManyRanges);
                    }
                    self.channels.extend(channels);
                    if !more {
                        self.phase = Phase::Answering;
                        let channels = core::mem::take(&mut self.channels);
                        self.events.push_back(ReceiverEvent::Hello { session, channels });
                    }
                }
                Message::Goodbye { text } => {
                    self.events.push_back(ReceiverEvent::Farewell(text));
                }
                Message::Welcome { .. } => return Err(ReceiverError::OutOfTurn("welcome")),
                Message::Receipts { .. } => return Err(ReceiverError::OutOfTurn("receipts")),
                Message::Refusals { .. } => return Err(ReceiverError::OutOfTurn("refusals")),
                Message::Asks { .. } => return Err(ReceiverError::OutOfTurn("asks")),
                Message::ContactPlan { .. } => {
                    return Err(ReceiverError::OutOfTurn("contact plan"));
                }
                Message::Uplink { .. } => return Err(ReceiverError::OutOfTurn("uplink")),
            }
        }
        Ok(())
    }

    /// Answers the hello with what of this origin is durable.
    pub fn welcome(&mut self, time: Tai, durable: Vec<KeyRanges>) {
        let mut pages = pages(durable);
        if pages.is_empty() {
            pages.push(Vec::new());
        }
        let last = pages.len() - 1;
        for (at, durable) in pages.into_iter().enumerate() {
            let welcome = Message::Welcome {
                ledger: self.config.ledger,
                time,
                limits: self.config.limits,
                domain: self.config.domain.clone(),
                more: at < last,
                durable,
            };
            self.control.push_back(welcome.encode());
        }
        self.phase = Phase::Open;
    }

    /// Whether the peer was welcomed: no object is judged before.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Tells the machine the measured round trip.
    pub fn set_rtt(&mut self, rtt_ns: u64) {
        self.rtt_ns = rtt_ns;
    }

    /// These units are synced: their receipt goes out with the next merge.
    pub fn receipt(&mut self, prefix: KeyPrefix, range: SeqRange, now: u64) {
        self.receipt_in(Durability::Local, prefix, range, now);
    }

    /// These units are safe in a class: their receipt goes out with the next merge.
    pub fn receipt_in(&mut self, class: Durability, prefix: KeyPrefix, range: SeqRange, now: u64) {
        debug_assert!(prefix.origin == self.origin);
        self.receipts.entry((class, prefix)).or_default().insert(range);
        let wait = self.config.commit_ns.max(self.rtt_ns / 8);
        self.receipts_due.get_or_insert(now.saturating_add(wait));
    }

    /// These units were not accepted.
    pub fn refuse(
        &mut self,
        prefix: KeyPrefix,
        range: SeqRange,
        reason: RefusalReason,
        retry_after_ms: u32,
    ) {
        let entries = Vec::from([KeyRanges::new(prefix, Vec::from([range]))]);
        self.control.push_back(Message::Refusals { reason, retry_after_ms, entries }.encode());
    }

    /// Asks for units that the ledger marked lost.
    pub fn ask(&mut self, prefix: KeyPrefix, ranges: Vec<SeqRange>) {
        for entries in pages([KeyRanges::new(prefix, ranges)]) {
            self.control.push_back(Message::Asks { entries }.encode());
        }
    }

    /// Sends the next contacts, none where no plan is known. It follows the welcome and the asks on
    /// every connection: who hears it knows that nothing more is asked for.
    pub fn plan(&mut self, mut contacts: Vec<PlannedContact>) {
        contacts.truncate(1024);
        self.control.push_back(Message::ContactPlan { contacts }.encode());
    }

    /// Says goodbye; the shell closes the connection once this is written.
    pub fn goodbye(&mut self, text: &str, now: u64) {
        self.receipts_due = self.receipts_due.map(|_| now);
        self.handle_timeout(now);
        self.control.push_back(Message::Goodbye { text: text.into() }.encode());
    }

    /// When merged receipts are due.
    pub fn timeout(&self) -> Option<u64> {
        self.receipts_due
    }

    /// Writes the merged receipts whose time has come.
    pub fn handle_timeout(&mut self, now: u64) {
        if self.receipts_due.is_none_or(|due| due > now) {
            return;
        }
        self.receipts_due = None;
        let mut by_class: BTreeMap<Durability, Vec<KeyRanges>> = BTreeMap::new();
        for ((class, prefix), ranges) in core::mem::take(&mut self.receipts) {
            let entry = KeyRanges::new(prefix, ranges.ranges().to_vec());
            by_class.entry(class).or_default().push(entry);
        }
        let ledger = self.config.ledger;
        for (class, entries) in by_class {
            for entries in pages(entries) {
                self.control.push_back(Message::Receipts { ledger, class, entries }.encode());
            }
        }
    }

    /// Bytes to write on the control stream.
    pub fn poll_control(&mut self) -> Option<Bytes> {
        self.control.pop_front()
    }

    /// What the peer said.
    pub fn poll_event(&mut self) -> Option<ReceiverEvent> {
        self.events.pop_front()
    }
}
