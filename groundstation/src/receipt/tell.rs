//! What became of units, said to their peer.

use std::collections::BTreeMap;

use codecs::{
    ids::{KeyPrefix, RangeSet, SpacecraftId},
    link::{custody::Durability, receiver::Receiver},
};

use super::Fates;

/// Receipts of the object store's class, to a peer that was welcomed. Those before the welcome are
/// said with it.
pub fn tell_stored(receiver: &mut Receiver, stored: &BTreeMap<KeyPrefix, RangeSet>, now_ns: u64) {
    let origin = receiver.origin();
    if !receiver.is_open() {
        return;
    }
    for (prefix, ranges) in stored.iter().filter(|(prefix, _)| prefix.origin == origin) {
        for range in ranges.ranges() {
            receiver.receipt_in(Durability::ObjectStore, *prefix, *range, now_ns);
        }
    }
}

impl Fates {
    /// Says them; how many units of each spacecraft were receipted.
    pub fn tell(self, receiver: &mut Receiver, now_ns: u64) -> BTreeMap<SpacecraftId, u64> {
        tell_stored(receiver, &self.stored, now_ns);
        let mut receipted: BTreeMap<SpacecraftId, u64> = BTreeMap::new();
        for (prefix, ranges) in self.receipts {
            ranges.ranges().iter().for_each(|range| receiver.receipt(prefix, *range, now_ns));
            *receipted.entry(prefix.spacecraft).or_default() += ranges.count();
        }
        for refused in self.refusals {
            let (range, reason) = (refused.range, refused.reason);
            receiver.refuse(refused.prefix, range, reason, refused.retry_after_ms);
        }
        receipted
    }
}
