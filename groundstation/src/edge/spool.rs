//! The spool: the store of numbered units, with when and how each was heard.

use super::label::Label;
use bytes::{BufMut as _, BytesMut};
use codecs::{
    ids::{Channel, KeyPrefix, Origin, RangeSet, StoreEpoch, UnitKey},
    link::{
        custody::{Durability, RefusalReason},
        object::{ANNOTATION_BYTES, Annotation},
        receipted::Receipted,
        sender::{NO_DEADLINE, UnitInfo},
    },
};
use codecs_quic::{Change, Custodian, Offer, Recalled, Taken, Untakable};
use codecs_store::{Committed, Medium, NewUnit, ReadError, Store, StoreError, Stored};
use std::collections::BTreeMap;

/// Units that the link keeps track of at a time: of frames of a kilobyte, twice what the widest
/// window has under way.
const TRACKED_MAX: usize = 1 << 17;

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
    Offer { key, info: UnitInfo { codec, priority, length, annotated, due: NO_DEADLINE } }
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
            // 0 would keep it here until it is asked for.
            priority: priority.max(1),
            captured: heard.received,
            deadline_s: 0,
            bytes: unit.freeze(),
        })
    }

    /// Whether a reception of as many bytes goes in without another being given up for it.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.store.has_room(ANNOTATION_BYTES + bytes)
    }

    /// Which making of the spool this is.
    pub fn epoch(&self) -> StoreEpoch {
        self.store.identity().epoch
    }

    /// Whether it holds no unit, not even one that the station may yet ask for.
    pub fn is_empty(&mut self) -> bool {
        !self.store.is_dirty() && self.store.counters().all(|(_, of)| of.units.is_empty())
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

    fn reclaimable_from(&self) -> Durability {
        self.store.reclaimable_from()
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

    fn tracked_max(&self) -> usize {
        TRACKED_MAX
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

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::{
        ids::{Codec, SeqRange, SpacecraftId},
        link::{
            object::{Quality, TimeSource},
            void::Void,
        },
        time::Tai,
    };
    use codecs_store::{Disk, Limits};
    use std::{collections::BTreeSet, path::Path};

    const LIMITS: Limits = Limits {
        capacity_bytes: 8 * 4096,
        segment_bytes: 4096,
        least_class: Durability::Local as u8,
        evict_bytes: 4096,
        evict_on_full: false,
    };
    const LABEL: Label = Label {
        spacecraft: SpacecraftId(7),
        channel: Channel::virtual_channel(1, 71, 0, 0),
        codec: Codec::AosFrame,
        quality: Quality::Corrected,
    };

    fn heard(number: u8) -> Annotation {
        let (received, quality) = (Tai(i64::from(number)), LABEL.quality);
        Annotation {
            received,
            source: TimeSource::Stated,
            quality,
            antenna: 3,
            corrected_symbols: 9,
        }
    }

    fn open(folder: &Path) -> Spool<Disk> {
        let disk = Disk::open(folder).unwrap();
        Spool::new(Store::open(disk, LIMITS, Origin([7; 16]), StoreEpoch(9)).unwrap())
    }

    fn take(spool: &mut Spool<Disk>, number: u8) -> (UnitKey, Change) {
        let key = spool.take(&LABEL, &heard(number), 128, &[number; 300]).unwrap();
        (key, change(spool.store().commit(Tai(1_000)).unwrap()))
    }

    #[test]
    fn a_unit_comes_back_as_it_was_heard_after_a_restart_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = open(folder.path());
        let (key, change) = take(&mut spool, 5);
        let [offer] = change.offered[..] else { panic!("{change:?}") };
        assert_eq!((offer.key, offer.info.annotated, offer.info.length), (key, true, 300));
        drop(spool);
        let mut spool = open(folder.path());
        assert_eq!(spool.unreceipted().collect::<Vec<_>>(), [offer]);
        let taken = Custodian::take(&mut spool, key).unwrap();
        assert_eq!(taken, Taken { annotation: Some(heard(5)), bytes: vec![5; 300].into() });
    }

    #[test]
    fn a_full_spool_voids_the_oldest_and_names_each() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = open(folder.path());
        let (mut held, mut gone, mut voided) = (Vec::new(), BTreeSet::new(), RangeSet::new());
        for number in 0..200 {
            let (key, change) = take(&mut spool, number);
            held.push(key);
            gone.extend(change.gone);
            for void in change.offered.iter().filter(|of| of.info.codec == Codec::Void) {
                assert!(!void.info.annotated, "no antenna heard it");
                let taken = Custodian::take(&mut spool, void.key).unwrap();
                assert_eq!(taken.annotation, None);
                let void = Void::decode(&taken.bytes).unwrap();
                void.entries.iter().for_each(|entry| voided.insert(entry.range));
            }
        }
        let used = spool.store().used_bytes();
        assert!(used <= LIMITS.capacity_bytes, "{used} bytes");
        let (lost, kept) = held.split_at(gone.len());
        assert!(lost.iter().all(|key| gone.contains(key)), "the oldest went");
        assert!(lost.iter().all(|key| voided.contains(key.sequence)), "a void names each");
        assert!(kept.len() > 40);
        assert!(kept.iter().all(|key| Custodian::take(&mut spool, *key).is_ok()));
    }

    #[test]
    fn a_reception_that_has_room_pushes_nothing_out_and_one_more_would() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = open(folder.path());
        let mut taken = 0;
        while spool.has_room(300) {
            assert_eq!(take(&mut spool, taken).1.gone, []);
            taken += 1;
        }
        assert!(taken > 40, "{taken}");
        assert!(!take(&mut spool, taken).1.gone.is_empty());
    }

    #[test]
    fn what_is_receipted_makes_room_and_nothing_is_voided() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = open(folder.path());
        for number in 0..200 {
            let (key, change) = take(&mut spool, number);
            assert_eq!(change.gone, []);
            let only: RangeSet = SeqRange::new(key.sequence, key.sequence).into_iter().collect();
            assert_eq!(spool.receipt(11, Durability::Local, key.prefix, &only), 1);
            assert!(!spool.is_settled(), "the receipt is not written yet");
            spool.store().commit(Tai(2_000)).unwrap();
            assert!(spool.is_settled());
        }
        assert!(spool.store().used_bytes() <= LIMITS.capacity_bytes);
    }

    #[test]
    fn a_local_receipt_settles_nothing_where_the_object_store_must_have_it() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        let limits = Limits { least_class: Durability::ObjectStore as u8, ..LIMITS };
        let store = Store::open(disk, limits, Origin([7; 16]), StoreEpoch(9)).unwrap();
        let mut spool = Spool::new(store);
        assert_eq!(spool.reclaimable_from(), Durability::ObjectStore, "the link goes by it");
        let (key, _) = take(&mut spool, 1);
        let only: RangeSet = SeqRange::new(key.sequence, key.sequence).into_iter().collect();
        for (class, settled) in [(Durability::Local, false), (Durability::ObjectStore, true)] {
            spool.receipt(11, class, key.prefix, &only);
            spool.store().commit(Tai(2_000)).unwrap();
            assert_eq!(spool.is_settled(), settled, "{class:?}");
        }
    }

    #[test]
    fn what_is_refused_for_good_is_stuck_until_it_is_receipted() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = open(folder.path());
        let (key, _) = take(&mut spool, 1);
        let only: RangeSet = SeqRange::new(key.sequence, key.sequence).into_iter().collect();
        spool.refused(key.prefix, &only, RefusalReason::Full, false);
        assert_eq!((spool.stuck(), spool.is_settled()), (0, false));
        spool.refused(key.prefix, &only, RefusalReason::Forbidden, true);
        assert_eq!((spool.stuck(), spool.is_settled()), (1, true));
        assert_eq!(spool.refusals()["full"], 1);
        spool.receipt(11, Durability::Local, key.prefix, &only);
        assert_eq!(spool.stuck(), 0);
    }
}
