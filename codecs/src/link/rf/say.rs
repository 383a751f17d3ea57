//! What a ground says to a spacecraft over a thin uplink, and how often.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use super::signed::{SIGNED_BYTES_MAX, Statement};
use crate::{
    ids::{KeyPrefix, Origin, RangeSet, SeqRange},
    link::{
        custody::{Durability, KeyRanges},
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

/// Receipts of one store on their way up: merged, repeated, no faster than the uplink.
#[derive(Debug)]
pub struct Speaker {
    config: SpeakerConfig,
    /// By how often they are still to be said, least first.
    times: [Times; REPEATS],
    counter: u64,
    free_ns: u64,
    time_due_ns: u64,
    left_out: u64,
}

impl Speaker {
    /// Has said nothing; counters will be above `counter` and above the time of each statement, so
    /// that they rise over restarts too.
    pub fn new(config: SpeakerConfig, counter: u64) -> Self {
        Self { config, times: Default::default(), counter, free_ns: 0, time_due_ns: 0, left_out: 0 }
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

    /// When the next statement may go; none while there is nothing to say.
    pub fn timeout(&self) -> Option<u64> {
        if self.config.rate_bps == 0 {
            return None;
        }
        let receipts = self.times.iter().filter(|times| !times.of.is_empty());
        let receipts = receipts.map(|times| times.from_ns);
        let time = (self.config.time_ns > 0).then_some(self.time_due_ns);
        receipts.chain(time).min().map(|due| due.max(self.free_ns))
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
            Some(self.receipts(now_ns)?)
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

    /// As many receipts as one statement holds, those said least often first.
    fn receipts(&mut self, now_ns: u64) -> Option<Message> {
        let SpeakerConfig { domain, ledger, class, .. } = &self.config;
        // Everything but the entries: a packet of a statement whose message names nothing.
        let mut room = SIGNED_BYTES_MAX.checked_sub(6 + 48 + domain.len() + 64 + 4 + 1 + 11)?;
        let at = self.times.iter().rposition(|of| !of.of.is_empty() && of.from_ns <= now_ns)?;
        let mut said: Vec<(KeyPrefix, Vec<SeqRange>)> = Vec::new();
        for (prefix, ranges) in &self.times.get(at)?.of {
            let Some(fit) = room.checked_sub(20).map(|room| room / 16).filter(|fit| *fit > 0)
            else {
                break;
            };
            let ranges: Vec<SeqRange> = ranges.ranges().iter().take(fit).copied().collect();
            room -= 20 + 16 * ranges.len();
            said.push((*prefix, ranges));
        }
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
