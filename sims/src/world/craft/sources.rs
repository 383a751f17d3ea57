//! Where the bytes of the sources are: every packet's, from the sensor to the archive.
//!
//! The flight software counts packets, and bytes only of what it took. What an outcome stands for
//! is read here, on its way into the store, from what it says of itself; a block says its packets,
//! a product what it was made of. So the sum of all places is what sensors made.

use std::collections::{BTreeMap, BTreeSet};

use codecs::{
    ids::{Channel, Codec, KeyPrefix, SpacecraftId, UnitKey},
    link::MAX_UNIT_BYTES,
};
use codecs_store::{Entry, KEPT};
use onboard::{
    pipeline::{Outcome, Pipeline},
    store::{Medium, Store},
};

use crate::world::answer::SourceBytes;

/// What became of an outcome.
#[derive(Clone, Copy, Debug)]
struct Made {
    bytes: u64,
    /// The policy left it out: a void is all that comes of it.
    left_out: bool,
}

/// Bytes of the sources by where they are.
#[derive(Debug, Default)]
pub struct Sources {
    /// Taken by flights that are over.
    taken: u64,
    /// In outcomes of this flight.
    emerged: u64,
    /// Outcomes at the front of those that wait which were seen before.
    seen: usize,
    /// The next number of each channel, of outcomes seen.
    next: BTreeMap<Channel, u64>,
    /// In outcomes that have not come to the archive.
    made: BTreeMap<UnitKey, Made>,
    given_up: BTreeSet<UnitKey>,
    archived: u64,
    left_out: u64,
    lost: u64,
}

impl Sources {
    /// A flight begins on a store that was just opened: what a power cut left of the one before.
    pub fn begin<M: Medium>(&mut self, store: &Store<M>) {
        (self.emerged, self.seen) = (0, 0);
        self.next.clear();
        self.settle(store);
    }

    /// Forgets what was neither durable nor is any more, and what is left out for good.
    fn settle<M: Medium>(&mut self, store: &Store<M>) {
        let Self { made, lost, left_out, .. } = self;
        made.retain(|key, of| {
            let durable = is_durable(store, key);
            match (durable, of.left_out) {
                (true, true) => *left_out += of.bytes,
                (true, false) => return true,
                (false, _) => *lost += of.bytes,
            }
            false
        });
    }

    /// Looks at what waits for the store, before it takes any of it.
    pub fn see<M: Medium>(&mut self, pipeline: &mut Pipeline, store: &Store<M>) {
        if pipeline.waiting() == self.seen {
            return;
        }
        let waiting: Vec<Outcome> = std::iter::from_fn(|| pipeline.poll()).collect();
        let spacecraft = pipeline.spacecraft();
        for outcome in waiting.iter().skip(self.seen) {
            self.note(outcome, spacecraft, store);
        }
        self.seen = waiting.len();
        waiting.into_iter().rev().for_each(|outcome| pipeline.unpoll(outcome));
    }

    /// So many outcomes the store has left waiting.
    pub fn left(&mut self, waiting: usize) {
        self.seen = waiting;
    }

    fn note<M: Medium>(&mut self, outcome: &Outcome, spacecraft: SpacecraftId, store: &Store<M>) {
        let (channel, made) = match outcome {
            Outcome::Keep { unit, packets } => {
                let bytes = if *packets > 0 { stands_for(unit.codec, &unit.bytes) } else { 0 };
                if unit.bytes.len() > MAX_UNIT_BYTES {
                    // It gets no number.
                    (self.emerged, self.lost) = (self.emerged + bytes, self.lost + bytes);
                    return;
                }
                (unit.channel, Made { bytes, left_out: false })
            }
            Outcome::LeaveOut { channel, packets, bytes, .. } => {
                let bytes = if *packets > 0 { *bytes } else { 0 };
                (*channel, Made { bytes, left_out: true })
            }
            Outcome::Together { made, .. } => {
                made.iter().for_each(|outcome| self.note(outcome, spacecraft, store));
                return;
            }
        };
        self.emerged += made.bytes;
        let next = self.next.entry(channel).or_insert_with(|| store.next_of(spacecraft, channel));
        let sequence = *next;
        *next += 1;
        if made.bytes > 0 {
            let identity = store.identity();
            let (origin, epoch) = (identity.origin, identity.epoch);
            let prefix = KeyPrefix { origin, epoch, spacecraft, channel };
            self.made.insert(UnitKey { prefix, sequence }, made);
        }
    }

    /// The store gave these up for want of room.
    pub fn evicted(&mut self, keys: &[UnitKey]) {
        self.given_up.extend(keys.iter().filter(|key| self.made.contains_key(key)));
    }

    /// A unit is in the archive.
    pub fn archived(&mut self, key: &UnitKey) {
        if let Some(of) = self.made.remove(key) {
            self.archived += of.bytes;
        }
    }

    /// Power goes, and with it what was in open blocks; `taken` is what the flight had taken.
    pub fn cut(&mut self, taken: u64) {
        self.lost += taken.saturating_sub(self.emerged);
        self.taken += taken;
    }

    /// Where the bytes are, of as many as sensors `made`; `taken` is what the flight took that has
    /// power, none where none has.
    pub fn account<M: Medium>(
        &mut self,
        made: u64,
        taken: Option<u64>,
        store: &Store<M>,
    ) -> SourceBytes {
        if taken.is_none() {
            self.settle(store);
        }
        let mut of = SourceBytes {
            made,
            archived: self.archived,
            open: taken.map_or(0, |taken| taken.saturating_sub(self.emerged)),
            left_out: self.left_out,
            lost: self.lost,
            not_taken: made.saturating_sub(self.taken + taken.unwrap_or(0)),
            ..SourceBytes::default()
        };
        for (key, one) in &self.made {
            let held = entry(store, key).filter(|entry| entry.live());
            let place = match held {
                _ if !is_durable(store, key) => &mut of.open,
                _ if one.left_out => &mut of.left_out,
                Some(entry) if entry.priority == KEPT => &mut of.kept,
                Some(_) => &mut of.waiting,
                None if self.given_up.contains(key) => &mut of.given_up,
                None => &mut of.lost,
            };
            *place += one.bytes;
        }
        of
    }
}

fn is_durable<M: Medium>(store: &Store<M>, key: &UnitKey) -> bool {
    let counter = store.counters().find(|(prefix, _)| *prefix == key.prefix);
    counter.is_some_and(|(_, counter)| key.sequence < counter.durable_next)
}

fn entry<'a, M: Medium>(store: &'a Store<M>, key: &UnitKey) -> Option<&'a Entry> {
    let (_, counter) = store.counters().find(|(prefix, _)| *prefix == key.prefix)?;
    counter.units.get(&key.sequence)
}

/// Bytes of the sources that a unit was made of, as it says itself.
fn stands_for(codec: Codec, unit: &[u8]) -> u64 {
    match codec {
        // Length of its packets, and how many there are.
        Codec::Squeezed => match unit.get(3..8) {
            Some(&[l0, l1, l2, c0, c1]) => {
                let length = u64::from(u32::from_be_bytes([0, l0, l1, l2]));
                length * u64::from(u16::from_be_bytes([c0, c1]))
            }
            _ => 0,
        },
        // The header of a product, whose pixels need not be undone for it.
        Codec::Product => match unit.get(36..40) {
            Some(&[b0, b1, b2, b3]) => u32::from_be_bytes([b0, b1, b2, b3]).into(),
            _ => 0,
        },
        _ => unit.len() as u64,
    }
}
