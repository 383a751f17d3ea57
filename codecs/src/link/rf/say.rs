//! What a ground says to a spacecraft over a thin uplink, and how often.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use super::signed::{SIGNED_BYTES_MAX, Statement};
use crate::{
    ids::{KeyPrefix, Origin, RangeSet, SeqRange},
    link::{
        custody::{Durability, KeyRanges},
        uplink::object::UplinkObject,
        wire::Message,
    },
    time::Tai,
};

/// How often a receipt is said before the ground waits for the spacecraft to send the unit again.
pub const REPEATS: usize = 3;
/// Counters of one store with receipts to be said; at the bound a new one waits until its units
/// come again.
pub const COUNTERS_MAX: usize = 256;
/// Ranges to be said of one counter, each time apart; at the bound the same.
pub const RANGES_MAX: usize = 1024;
/// A pause between two sayings of the same asks grows up to so many times the first one.
const ASK_PAUSES_MAX: u64 = 64;

/// Settings of a speaker.
#[derive(Clone, Debug)]
pub struct SpeakerConfig {
    /// In whose name.
    pub domain: String,
    /// Which ledger.
    pub ledger: u64,
    /// To which store.
    pub origin: Origin,
    /// The class that makes units reclaimable: nothing less goes up.
    pub class: Durability,
    /// What the uplink carries, bit/s; 0: there is none.
    pub rate_bps: u64,
    /// Time between two sayings of the same, ns.
    pub repeat_ns: u64,
    /// Time between two sayings of the time, ns; 0: it is not said.
    pub time_ns: u64,
}

#[derive(Debug, Default)]
struct Times {
    /// To be said so many more times.
    of: BTreeMap<KeyPrefix, RangeSet>,
    /// Not before this.
    from_ns: u64,
}

/// What the ground lost, until it says otherwise.
#[derive(Debug, Default)]
struct Asks {
    of: BTreeMap<KeyPrefix, RangeSet>,
    /// The last range of this round that was said.
    said: Option<(KeyPrefix, u64)>,
    /// When the next one is due, and the pause behind the round.
    due_ns: u64,
    pause_ns: u64,
    /// One went; receipts that are due go before the next.
    gave_way: bool,
}

/// Receipts and asks of one store on their way up: merged, repeated, no faster than the uplink.
#[derive(Debug)]
pub struct Speaker {
    config: SpeakerConfig,
    /// By how often they are still to be said, least first.
    times: [Times; REPEATS],
    asks: Asks,
    /// To be done on board, next.
    object: Option<UplinkObject>,
    /// An object went; what else is due goes before the next.
    object_gave_way: bool,
    counter: u64,
    free_ns: u64,
    time_due_ns: u64,
    left_out: u64,
}

impl Speaker {
    /// Has said nothing; counters will be above `counter` and above the time of each statement, so
    /// that they rise over restarts too.
    pub fn new(config: SpeakerConfig, counter: u64) -> Self {
        let (times, asks) = Default::default();
        let (object, object_gave_way) = (None, false);
        let (free_ns, time_due_ns, left_out) = (0, 0, 0);
        Self {
            config,
            times,
            asks,
            object,
            object_gave_way,
            counter,
            free_ns,
            time_due_ns,
            left_out,
        }
    }

    /// Ranges that found no room.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// These are durable in the configured class, or came again though they were: they are said
    /// from now on, as if for the first time.
    pub fn durable(&mut self, prefix: KeyPrefix, range: SeqRange) {
        let [rest @ .., most] = &mut self.times;
        for times in rest {
            let Some(ranges) = times.of.get_mut(&prefix) else { continue };
            ranges.remove(range);
            if ranges.is_empty() {
                times.of.remove(&prefix);
            }
        }
        self.left_out += u64::from(!most.add(prefix, range));
    }

    /// Bytes of an object that fit one statement; 0 without an uplink.
    pub fn object_bytes_max(&self) -> usize {
        if self.config.rate_bps == 0 { 0 } else { self.room(0).unwrap_or(0) }
    }

    /// Whether an object may be given; one at a time.
    pub fn takes_object(&self) -> bool {
        self.object.is_none() && self.object_bytes_max() > 0
    }

    /// Says an object next, once. What has expired by then is not said.
    pub fn say_object(&mut self, object: UplinkObject) {
        self.object = Some(object);
    }

    /// Forgets the object that was not said.
    pub fn drop_object(&mut self) {
        self.object = None;
    }

    /// The ground lost these, and none else: they are asked for with ever longer pauses, beginning
    /// anew where one is among them that was not before. At most [`COUNTERS_MAX`] counters and
    /// [`RANGES_MAX`] ranges of each; the rest once some of these are back.
    pub fn lost(&mut self, lost: &BTreeMap<KeyPrefix, RangeSet>, now_ns: u64) {
        let asks = &mut self.asks;
        let bounded =
            |ranges: &RangeSet| ranges.ranges().iter().take(RANGES_MAX).copied().collect();
        let filled = lost.iter().filter(|(_, ranges)| !ranges.is_empty());
        let of: BTreeMap<KeyPrefix, RangeSet> =
            filled.take(COUNTERS_MAX).map(|(prefix, ranges)| (*prefix, bounded(ranges))).collect();
        let known = |prefix, range: &SeqRange| {
            asks.of.get(prefix).is_some_and(|known| known.missing_from(*range).is_empty())
        };
        let news =
            of.iter().any(|(prefix, of)| !of.ranges().iter().all(|range| known(prefix, range)));
        if news {
            (asks.said, asks.due_ns, asks.pause_ns) = (None, now_ns, self.config.repeat_ns);
        }
        asks.of = of;
    }

    /// When the next statement may go; none while there is nothing to say.
    pub fn timeout(&self) -> Option<u64> {
        if self.config.rate_bps == 0 {
            return None;
        }
        let receipts = self.times.iter().filter(|times| !times.of.is_empty());
        let receipts = receipts.map(|times| times.from_ns);
        let time = (self.config.time_ns > 0).then_some(self.time_due_ns);
        let asks = (!self.asks.of.is_empty()).then_some(self.asks.due_ns);
        let object = self.object.is_some().then_some(0);
        receipts.chain(time).chain(asks).chain(object).min().map(|due| due.max(self.free_ns))
    }

    /// The next statement, if the uplink is free and something is to be said; `now_ns` is for the
    /// pace, `time` what is said of it.
    pub fn poll(&mut self, now_ns: u64, time: Tai) -> Option<Statement> {
        if self.timeout()? > now_ns {
            return None;
        }
        let message = if self.config.time_ns > 0 && self.time_due_ns <= now_ns {
            self.time_due_ns = now_ns.saturating_add(self.config.time_ns);
            None
        } else {
            Some(self.object_or_other(now_ns, time)?)
        };
        self.counter = self.counter.saturating_add(1).max(time.0.max(0).unsigned_abs());
        let SpeakerConfig { domain, ledger, origin, .. } = &self.config;
        let statement = Statement {
            domain: domain.clone(),
            ledger: *ledger,
            origin: *origin,
            counter: self.counter,
            issued: time,
            message,
        };
        let bits = cltu_bytes(statement.packet_bytes()) as u64 * 8;
        let takes_ns = u128::from(bits) * 1_000_000_000 / u128::from(self.config.rate_bps);
        self.free_ns = now_ns.saturating_add(u64::try_from(takes_ns).unwrap_or(u64::MAX));
        Some(statement)
    }

    /// In turn, where both are due.
    fn object_or_other(&mut self, now_ns: u64, time: Tai) -> Option<Message> {
        let late = |object: &UplinkObject| object.expires.is_some_and(|expires| expires <= time);
        self.object = self.object.take().filter(|object| !late(object));
        if core::mem::take(&mut self.object_gave_way)
            && let Some(other) = self.asks_or_receipts(now_ns)
        {
            return Some(other);
        }
        match self.object.take() {
            Some(object) => {
                self.object_gave_way = true;
                Some(Message::Uplink { object })
            }
            None => self.asks_or_receipts(now_ns),
        }
    }

    /// In turn, where both are due: a long list of either keeps the other waiting no longer.
    fn asks_or_receipts(&mut self, now_ns: u64) -> Option<Message> {
        let asks = !self.asks.of.is_empty() && self.asks.due_ns <= now_ns;
        if asks && !self.asks.gave_way {
            self.asks.gave_way = true;
            return self.ask(now_ns);
        }
        self.asks.gave_way = false;
        match self.receipts(now_ns) {
            None if asks => self.ask(now_ns),
            receipts => receipts,
        }
    }

    /// Bytes for entries in a statement whose message has so many others behind its type.
    fn room(&self, fixed: usize) -> Option<usize> {
        let domain = self.config.domain.len();
        SIGNED_BYTES_MAX.checked_sub(6 + 48 + domain + 64 + 4 + 1 + fixed)
    }

    /// As many asks as one statement holds, from where the last one ended.
    fn ask(&mut self, now_ns: u64) -> Option<Message> {
        let room = self.room(2)?;
        let asks = &mut self.asks;
        let behind = |said: Option<(KeyPrefix, u64)>, of: &(KeyPrefix, SeqRange)| {
            said.is_none_or(|said| (of.0, of.1.first) > said)
        };
        let said = pack(flat(&asks.of).filter(|of| behind(asks.said, of)), room);
        let last = said.last().and_then(|(prefix, ranges)| Some((*prefix, ranges.last()?.first)));
        let more = flat(&asks.of).any(|of| last.is_some() && behind(last, &of));
        asks.said = last.filter(|_| more);
        if !more {
            asks.due_ns = now_ns.saturating_add(asks.pause_ns);
            let most = self.config.repeat_ns.saturating_mul(ASK_PAUSES_MAX);
            asks.pause_ns = asks.pause_ns.saturating_mul(2).min(most);
        }
        if said.is_empty() {
            return None;
        }
        let entries = said.into_iter().map(|(prefix, ranges)| KeyRanges::new(prefix, ranges));
        Some(Message::Asks { entries: entries.collect() })
    }

    /// As many receipts as one statement holds, those said least often first.
    fn receipts(&mut self, now_ns: u64) -> Option<Message> {
        let room = self.room(11)?;
        let SpeakerConfig { ledger, class, .. } = &self.config;
        let at = self.times.iter().rposition(|of| !of.of.is_empty() && of.from_ns <= now_ns)?;
        let said = pack(flat(&self.times.get(at)?.of), room);
        for (prefix, range) in said.iter().flat_map(|of| of.1.iter().map(|range| (of.0, *range))) {
            let times = self.times.get_mut(at)?;
            if let Some(ranges) = times.of.get_mut(&prefix) {
                ranges.remove(range);
                if ranges.is_empty() {
                    times.of.remove(&prefix);
                }
            }
            let Some(fewer) = at.checked_sub(1).and_then(|at| self.times.get_mut(at)) else {
                continue;
            };
            if fewer.of.is_empty() {
                fewer.from_ns = now_ns.saturating_add(self.config.repeat_ns);
            }
            self.left_out += u64::from(!fewer.add(prefix, range));
        }
        let entries = said.into_iter().map(|(prefix, ranges)| KeyRanges::new(prefix, ranges));
        Some(Message::Receipts { ledger: *ledger, class: *class, entries: entries.collect() })
    }
}

fn flat(of: &BTreeMap<KeyPrefix, RangeSet>) -> impl Iterator<Item = (KeyPrefix, SeqRange)> {
    of.iter().flat_map(|(prefix, ranges)| ranges.ranges().iter().map(|range| (*prefix, *range)))
}

/// The first of these that fit into `room` bytes, by counter.
fn pack(
    ranges: impl Iterator<Item = (KeyPrefix, SeqRange)>,
    mut room: usize,
) -> Vec<(KeyPrefix, Vec<SeqRange>)> {
    let mut packed: Vec<(KeyPrefix, Vec<SeqRange>)> = Vec::new();
    for (prefix, range) in ranges {
        let same = packed.last_mut().filter(|last| last.0 == prefix);
        let Some(left) = room.checked_sub(if same.is_some() { 16 } else { 20 + 16 }) else { break };
        room = left;
        match same {
            Some((_, ranges)) => ranges.push(range),
            None => packed.push((prefix, Vec::from([range]))),
        }
    }
    packed
}

impl Times {
    /// Whether it found room.
    fn add(&mut self, prefix: KeyPrefix, range: SeqRange) -> bool {
        if !self.of.contains_key(&prefix) && self.of.len() >= COUNTERS_MAX {
            return false;
        }
        let ranges = self.of.entry(prefix).or_default();
        let fits = ranges.len() < RANGES_MAX || ranges.touches(range.first);
        if fits {
            ranges.insert(range);
        }
        fits
    }
}

/// Bytes on the air of a packet in a TC frame with segment header and error control, in BCH
/// codeblocks (CCSDS 231.0-B-4 §6): what the pace goes by, whatever the coding.
const fn cltu_bytes(packet: usize) -> usize {
    (packet + 8).div_ceil(7) * 8 + 10
}
