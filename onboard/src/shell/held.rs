//! The spacecraft's store as the link's client sees it.

use codecs::{
    ids::{Channel, KeyPrefix, Origin, RangeSet, SpacecraftId, UnitKey},
    link::{custody::Durability, receipted::Receipted},
};
use codecs_quic::{Change, Custodian, Offer, Recalled, Taken, Untakable};

use crate::downlink::supply::info;
use crate::store::{Committed, Identity, Medium, ReadError, Store, Stored};

/// A spacecraft's store, whose units go as they are: nothing on board has an antenna's annotation.
pub struct Held<M> {
    /// The store.
    pub store: Store<M>,
    /// Whose.
    pub spacecraft: SpacecraftId,
    /// Share of what a contact sends, in percent, that housekeeping has while any of it waits.
    pub housekeeping_percent: u8,
}

/// What a link must know of a unit.
pub fn offer(stored: Stored) -> Offer {
    Offer { key: stored.key, info: info(&stored) }
}

/// What the client must know of a commit.
pub fn change(committed: Committed) -> Change {
    let offered = committed.stored.into_iter().map(offer).collect();
    Change { offered, gone: committed.evicted }
}

impl<M: Medium + Send + 'static> Custodian for Held<M> {
    fn origin(&self) -> Origin {
        self.store.identity().origin
    }

    fn reclaimable_from(&self) -> Durability {
        self.store.reclaimable_from()
    }

    fn housekeeping_percent(&self) -> u8 {
        self.housekeeping_percent
    }

    fn recall(&self) -> Vec<Recalled> {
        let counters = self.store.counters().map(|(prefix, counter)| {
            let receipts = counter.receipts.iter().filter_map(|of| {
                let class = Durability::from_byte(of.class)?;
                Some(Receipted { ledger: of.ledger, class, ranges: of.ranges.clone() })
            });
            Recalled { prefix, next: counter.durable_next, receipted: receipts.collect() }
        });
        let mut recalled: Vec<Recalled> = counters.collect();
        let Identity { origin, epoch } = self.store.identity();
        let records =
            KeyPrefix { origin, epoch, spacecraft: self.spacecraft, channel: Channel::RECORDS };
        // The hello of a store that has numbered nothing yet names it all the same: the ground must
        // know that a memory is new.
        if !recalled.iter().any(|of| of.prefix == records) {
            recalled.push(Recalled { prefix: records, next: 0, receipted: Vec::new() });
        }
        recalled
    }

    fn unreceipted(&self) -> impl Iterator<Item = Offer> + '_ {
        self.store.unreceipted().map(offer)
    }

    fn take(&mut self, key: UnitKey) -> Result<Taken, Untakable> {
        match self.store.take(key) {
            Ok(bytes) => Ok(Taken { annotation: None, bytes }),
            Err(ReadError::Gone) => Err(Untakable::Gone),
            Err(error) => Err(Untakable::Unreadable(error.to_string())),
        }
    }

    fn receipt(
        &mut self,
        ledger: u64,
        class: Durability,
        prefix: KeyPrefix,
        ranges: &RangeSet,
    ) -> u64 {
        self.store.receipt(ledger, class as u8, prefix, ranges)
    }

    fn ask(&mut self, prefix: KeyPrefix, ranges: &RangeSet) -> Vec<Offer> {
        self.store.ask(prefix, ranges).into_iter().map(offer).collect()
    }
}
