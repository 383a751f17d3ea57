//! The spool: the store of numbered units, with when and how each was heard.

use super::label::Label;
use bytes::{BufMut as _, BytesMut};
use codecs::{
    ids::{Channel, KeyPrefix, Origin, RangeSet, UnitKey},
    link::{
        custody::{Durability, RefusalReason},
        object::{ANNOTATION_BYTES, Annotation},
        receipted::Receipted,
        sender::UnitInfo,
    },
};
use codecs_quic::{Change, Custodian, Offer, Recalled, Taken, Untakable};
use codecs_store::{Committed, Medium, NewUnit, ReadError, Store, StoreError, Stored};
use std::collections::BTreeMap;

/// A store whose units begin with the annotation of their reception. Its voids have none: no
/// antenna heard them.
#[derive(Debug)]
pub struct Spool<M> {
    store: Store<M>,
    refusals: BTreeMap<&'static str, u64>,
    /// Refused for good, as far as the station said.
    stuck: BTreeMap<KeyPrefix, RangeSet>,
}

fn is_annotated(key: &UnitKey) -> bool {
    key.prefix.channel != Channel::VOIDS
}

fn offer(stored: Stored) -> Offer {
    let Stored { key, codec, priority, length, .. } = stored;
    let annotated = is_annotated(&key);
    let length = if annotated { length.saturating_sub(ANNOTATION_BYTES as u32) } else { length };
    Offer { key, info: UnitInfo { codec, priority, length, annotated } }
}

/// What the client must know of a commit.
pub fn change(committed: Committed) -> Change {
    let offered = committed.stored.into_iter().map(offer).collect();
    Change { offered, gone: committed.evicted }
}

impl<M: Medium> Spool<M> {
    /// A spool over an opened store.
    pub fn new(store: Store<M>) -> Self {
        Self { store, refusals: BTreeMap::new(), stuck: BTreeMap::new() }
    }

    /// The store inside, to commit it and to look at it.
    pub fn store(&mut self) -> &mut Store<M> {
        &mut self.store
    }

    /// Numbers a reception; it is kept once the store commits.
    ///
    /// # Errors
    /// [`StoreError::Pending`] where the store must commit first.
    pub fn take(
        &mut self,
        label: &Label,
        heard: &Annotation,
        priority: u8,
        bytes: &[u8],
    ) -> Result<UnitKey, StoreError> {
        let mut unit = BytesMut::with_capacity(ANNOTATION_BYTES + bytes.len());
        unit.put_slice(&heard.encode());
        unit.put_slice(bytes);
        self.store.append(NewUnit {
            spacecraft: label.spacecraft,
            channel: label.channel,
            codec: label.codec,
            priority,
            captured: heard.received,
            bytes: unit.freeze(),
        })
    }

    /// Units refused, by reason, repeats included.
    pub fn refusals(&self) -> &BTreeMap<&'static str, u64> {
        &self.refusals
    }

    /// Units that the station refused for good.
    pub fn stuck(&self) -> u64 {
        self.stuck.values().map(RangeSet::count).sum()
    }

    /// Whether everything kept is receipted, but for what was refused for good.
    pub fn is_settled(&self) -> bool {
        if self.store.is_dirty() {
            return false;
        }
        // Looking at each unit is for the rare case that some are stuck.
        self.store.live_bytes() == 0
            || (!self.stuck.is_empty() && self.store.backlog().0 == self.stuck())
    }
}

impl<M: Medium + Send + 'static> Custodian for Spool<M> {
    fn origin(&self) -> Origin {
        self.store.identity().origin
    }

    fn recall(&self) -> Vec<Recalled> {
        let counters = self.store.counters().map(|(prefix, counter)| {
            let receipts = counter.receipts.iter().filter_map(|of| {
                let class = Durability::from_byte(of.class)?;
                Some(Receipted { ledger: of.ledger, class, ranges: of.ranges.clone() })
            });
            Recalled { prefix, next: counter.durable_next, receipted: receipts.collect() }
        });
        counters.collect()
    }

    fn unreceipted(&self) -> impl Iterator<Item = Offer> + '_ {
        self.store.unreceipted().map(offer)
    }

    fn take(&mut self, key: UnitKey) -> Result<Taken, Untakable> {
        let mut bytes = match self.store.take(key) {
            Ok(bytes) => bytes,
            Err(ReadError::Gone) => return Err(Untakable::Gone),
            Err(error) => return Err(Untakable::Unreadable(error.to_string())),
        };
        if !is_annotated(&key) {
            return Ok(Taken { annotation: None, bytes });
        }
        let front = bytes.first_chunk().copied();
        let front = front.ok_or_else(|| Untakable::Unreadable("its annotation is cut".into()))?;
        let annotation = Some(Annotation::decode(front));
        Ok(Taken { annotation, bytes: bytes.split_off(ANNOTATION_BYTES) })
    }

    fn receipt(
        &mut self,
        ledger: u64,
        class: Durability,
        prefix: KeyPrefix,
        ranges: &RangeSet,
    ) -> u64 {
        if let Some(stuck) = self.stuck.get_mut(&prefix) {
            ranges.ranges().iter().for_each(|range| stuck.remove(*range));
            if stuck.is_empty() {
                self.stuck.remove(&prefix);
            }
        }
        self.store.receipt(ledger, class as u8, prefix, ranges)
    }

    fn ask(&mut self, prefix: KeyPrefix, ranges: &RangeSet) -> Vec<Offer> {
        self.store.ask(prefix, ranges).into_iter().map(offer).collect()
    }

    fn refused(
        &mut self,
        prefix: KeyPrefix,
        ranges: &RangeSet,
        reason: RefusalReason,
        final_here: bool,
    ) {
        *self.refusals.entry(reason.name()).or_default() += ranges.count();
        if final_here {
            self.stuck.entry(prefix).or_default().extend(ranges);
        }
    }
}
