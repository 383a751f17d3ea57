//! The store against a medium that loses power at every call, and its policy when it is full.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

mod ends;
mod together;
mod versions;
mod wear;

use codecs::{ids::StoreEpoch, link::void::Void};

use super::{
    forgetful::{Cut, Forgetful},
    write::VOID_PRIORITY,
    *,
};

const ORIGIN: Origin = Origin([7; 16]);
const EPOCH: StoreEpoch = StoreEpoch(99);
const CRAFT: SpacecraftId = SpacecraftId(7);
const LEDGER: u64 = 4711;
/// Units and drops of one flight.
const STEPS: u64 = 240;

const LIMITS: Limits = Limits {
    capacity_bytes: 8 * 4096,
    segment_bytes: 4096,
    least_class: 1,
    evict_bytes: 0,
    evict_on_full: false,
};

fn open(medium: &Forgetful) -> Result<Store<Forgetful>, StoreError> {
    Store::open(medium.clone(), LIMITS, ORIGIN, EPOCH)
}

fn unit(channel: Channel, priority: u8, bytes: Vec<u8>) -> NewUnit {
    let codec = Codec::Squeezed;
    NewUnit {
        spacecraft: CRAFT,
        channel,
        codec,
        priority,
        captured: Tai(5),
        deadline_s: 0,
        bytes: bytes.into(),
    }
}

fn only(key: UnitKey) -> RangeSet {
    SeqRange::new(key.sequence, key.sequence).into_iter().collect()
}

/// What was promised to the outside, whatever happens to the store.
#[derive(Clone, Default)]
struct Promises {
    offered: BTreeMap<UnitKey, Bytes>,
    /// Bytes under a key that went out: never others again.
    sent: BTreeMap<UnitKey, Bytes>,
    receipted: BTreeSet<UnitKey>,
    voided: BTreeSet<UnitKey>,
    /// Small values by slot; each holds a step that only grows.
    noted: BTreeMap<u32, u64>,
    /// What was promised after so many calls of the medium.
    history: Vec<(u64, Box<Promises>)>,
}

impl Promises {
    /// Every unit that was offered is whole, receipted, or named by a durable void.
    fn kept(&self, store: &mut Store<Forgetful>) -> Result<(), String> {
        for (key, bytes) in &self.offered {
            let whole = store.state(*key).is_some() && {
                let name = (key.prefix.spacecraft, key.prefix.channel);
                let entry = store.counters[&name].units[&key.sequence];
                let record = store.read_record(name, key.sequence, &entry);
                record.ok().flatten().is_some_and(|record| record.bytes == *bytes)
            };
            if !whole && !self.receipted.contains(key) && !store.is_voided(*key) {
                return Err(format!("{key:?} was offered and is gone"));
            }
        }
        for key in &self.voided {
            if !store.is_voided(*key) {
                return Err(format!("{key:?} was left out and no void says so"));
            }
        }
        for (slot, step) in &self.noted {
            let kept = store.notes().find(|of| of.0 == *slot);
            let kept = kept.map(|of| u64::from_be_bytes(of.1[..].try_into().unwrap_or_default()));
            // A later value that no one was promised may have reached the medium all the same.
            if kept < Some(*step) {
                return Err(format!("slot {slot} fell back from {step} to {kept:?}"));
            }
        }
        Ok(())
    }

    /// A stretch of flight: units, drops, commits, sends, receipts; ends early with the medium.
    fn fly(&mut self, store: &mut Store<Forgetful>, steps: u64) -> Result<(), String> {
        let mut pending: BTreeMap<UnitKey, Bytes> = BTreeMap::new();
        let mut dropped = Vec::new();
        for step in 0..steps {
            let channel = Channel::stream((step % 3) as u32);
            if step % 7 == 3 {
                dropped.push(store.drop_next(CRAFT, channel, 500, Tai(step as i64)));
            } else {
                let fill = (step.wrapping_mul(2_654_435_761) >> 7) as u8;
                let bytes = vec![fill; 20 + usize::from(fill) % 180];
                let new = unit(channel, (1 + step % 5) as u8 * 10, bytes.clone());
                let key = store.append(new).map_err(|error| error.to_string())?;
                if self.offered.contains_key(&key) || self.voided.contains(&key) {
                    return Err(format!("{key:?} was given twice"));
                }
                pending.insert(key, bytes.into());
            }
            if step % 4 != 3 {
                continue;
            }
            let slot = (step % 3) as u32;
            store.note(slot, step.to_be_bytes().to_vec().into());
            let Ok(committed) = store.commit(Tai(step as i64)) else { return Ok(()) };
            self.noted.insert(slot, step);
            self.voided.extend(dropped.drain(..));
            self.voided.extend(&committed.evicted);
            for key in &committed.evicted {
                self.offered.remove(key);
                pending.remove(key);
            }
            for stored in committed.stored {
                if let Some(bytes) = pending.remove(&stored.key) {
                    self.offered.insert(stored.key, bytes);
                }
            }
            if !pending.is_empty() {
                return Err("a commit forgot a unit".into());
            }
            if step % 12 == 11 {
                self.downlink(store)?;
            }
            self.history.push((store.medium.calls(), self.clone_now().into()));
        }
        Ok(())
    }

    fn clone_now(&self) -> Self {
        Self {
            offered: self.offered.clone(),
            sent: self.sent.clone(),
            receipted: self.receipted.clone(),
            voided: self.voided.clone(),
            noted: self.noted.clone(),
            history: Vec::new(),
        }
    }

    fn downlink(&mut self, store: &mut Store<Forgetful>) -> Result<(), String> {
        let waiting: Vec<Stored> = store.unreceipted().collect();
        for stored in waiting.iter().rev().step_by(3).take(12) {
            match store.take(stored.key) {
                Ok(bytes) => {
                    let before = self.sent.entry(stored.key).or_insert(bytes.clone());
                    if *before != bytes {
                        return Err(format!("{:?} went out with other bytes", stored.key));
                    }
                }
                Err(ReadError::Medium(_)) => return Ok(()),
                Err(error) => return Err(format!("{:?}: {error}", stored.key)),
            }
        }
        let sent = waiting.iter().filter(|stored| self.sent.contains_key(&stored.key));
        for stored in sent.step_by(2).take(5) {
            store.receipt(LEDGER, 1, stored.key.prefix, &only(stored.key));
            self.receipted.insert(stored.key);
        }
        Ok(())
    }
}

/// Flies once, then boots from what a cut in each call would have left, checks every promise made
/// by then and flies on; how many cuts there were.
fn cut_everywhere(medium: Forgetful, cut: Cut, steps: u64) -> Result<usize, String> {
    let medium = medium.remembering();
    let mut flown = Promises::default();
    let mut store = open(&medium).map_err(|error| error.to_string())?;
    flown.fly(&mut store, steps)?;
    let moments = medium.moments();
    let mut promises = Promises::default();
    let mut later = flown.history.into_iter().peekable();
    for (at, moment) in moments.iter().enumerate() {
        while let Some((_, made)) = later.next_if(|(calls, _)| *calls <= at as u64) {
            promises = *made;
        }
        let left = moment.survivors(cut, (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let where_ = |why: String| format!("{cut:?} in call {at}: {why}");
        boot(&left, promises.clone_now()).map_err(where_)?;
    }
    Ok(moments.len())
}

fn boot(left: &Forgetful, mut promises: Promises) -> Result<(), String> {
    let mut store = open(left).map_err(|error| error.to_string())?;
    promises.kept(&mut store)?;
    promises.fly(&mut store, 24)?;
    let mut store = open(left).map_err(|error| format!("the second time: {error}"))?;
    promises.kept(&mut store).map_err(|why| format!("the second time: {why}"))
}

#[test]
fn a_cut_in_any_call_loses_nothing_that_was_offered() {
    for cut in Cut::ALL {
        let cuts = cut_everywhere(Forgetful::new(), cut, STEPS).unwrap();
        assert!(cuts as u64 > STEPS / 2, "{cuts} cuts");
    }
}

#[test]
#[ignore = "long: a cut in every call of a flight of 1,000 units, in each mode"]
fn a_cut_in_any_call_of_a_long_flight_loses_nothing() {
    for cut in Cut::ALL {
        let cuts = cut_everywhere(Forgetful::new(), cut, 1000).unwrap();
        println!("{cut:?}: {cuts} cuts");
    }
}

#[test]
fn the_cut_test_finds_a_store_that_does_not_sync() {
    let broken = cut_everywhere(Forgetful::new().lying(), Cut::Drop, STEPS).unwrap_err();
    assert!(broken.contains("gone") || broken.contains("twice"), "{broken}");
}

#[test]
fn a_call_that_fails_costs_nothing_and_is_made_good() {
    for fault in [Fault::Failed("EIO".into()), Fault::Full] {
        for call in (1..400).step_by(3) {
            let medium = Forgetful::new().fault_at(call, fault.clone());
            let mut promises = Promises::default();
            let Ok(mut store) = open(&medium) else { continue };
            promises.fly(&mut store, 300).unwrap_or_else(|why| panic!("{fault:?} {call}: {why}"));
            promises.kept(&mut store).unwrap_or_else(|why| panic!("{fault:?} {call}: {why}"));
            let mut store = open(&medium.survivors(Cut::Drop, call)).unwrap();
            promises.kept(&mut store).unwrap_or_else(|why| panic!("{fault:?} {call}: {why}"));
        }
    }
}

#[test]
fn a_full_disk_makes_it_wait_and_loses_nothing() {
    let medium = Forgetful::new().with_space(10_000);
    let mut store = open(&medium).unwrap();
    let mut accepted = Vec::new();
    let full = (0..1000).find_map(|step| {
        accepted.push(store.append(unit(Channel::stream(1), 9, vec![step as u8; 100])).unwrap());
        store.commit(Tai(0)).err()
    });
    assert!(matches!(full, Some(StoreError::Full(Fault::Full))), "{full:?}");
    assert!(store.commit(Tai(0)).is_err(), "still full");
    medium.set_space(None);
    let stored = store.commit(Tai(0)).unwrap().stored;
    assert_eq!(stored.len(), 1, "what was pending is written as soon as there is space");
    let mut store = open(&medium.survivors(Cut::Drop, 1)).unwrap();
    for (at, key) in accepted.iter().enumerate() {
        assert_eq!(store.take(*key).unwrap(), vec![at as u8; 100]);
    }
}

#[test]
fn the_lowest_goes_first_and_a_newcomer_that_is_the_lowest_is_the_one() {
    let medium = Forgetful::new();
    let mut store = open(&medium).unwrap();
    let add = |store: &mut Store<Forgetful>, priority: u8| {
        let key = store.append(unit(Channel::stream(1), priority, vec![priority; 1000])).unwrap();
        let committed = store.commit(Tai(1)).unwrap();
        (key, committed.evicted)
    };
    let mut kept = Vec::new();
    loop {
        let (key, evicted) = add(&mut store, if kept.len() % 2 == 0 { 50 } else { 60 });
        if let Some(first) = evicted.first() {
            assert_eq!(*first, kept[0], "the oldest of the lowest");
            break;
        }
        kept.push(key);
    }
    store.take(kept[6]).unwrap();
    assert_eq!(add(&mut store, 90).1, [kept[6]], "at equal value what was sent goes first");
    let (newcomer, evicted) = add(&mut store, 10);
    assert_eq!(evicted, [newcomer]);
    assert!(store.is_voided(newcomer));
    // Receipts make room without a void.
    store.receipt(LEDGER, 1, kept[1].prefix, &only(kept[1]));
    assert_eq!(add(&mut store, 10).1, []);
    assert!(store.live_bytes() <= store.budget() + 2000);
    assert!(store.used_bytes() <= LIMITS.capacity_bytes);
}

#[test]
fn voids_that_did_not_go_out_merge_and_those_that_did_stay_as_they_were() {
    let mut store = open(&Forgetful::new()).unwrap();
    let drop = |store: &mut Store<Forgetful>| {
        store.drop_next(CRAFT, Channel::stream(2), 16_000, Tai(3));
        let stored = store.commit(Tai(4)).unwrap().stored;
        assert_eq!((stored.len(), stored[0].priority), (1, VOID_PRIORITY));
        stored[0].key
    };
    let first = drop(&mut store);
    assert_eq!(drop(&mut store), first);
    let void = Void::decode(&store.take(first).unwrap()).unwrap();
    assert_eq!(void.reason, VoidReason::Triage);
    assert_eq!(void.entries.len(), 1);
    assert_eq!((void.entries[0].range.last, void.entries[0].bytes), (1, 32_000));
    let second = drop(&mut store);
    assert_eq!(second.sequence, first.sequence + 1);
    assert_eq!(drop(&mut store), second);
}

#[test]
fn an_ask_makes_reclaimable_units_new_again() {
    let medium = Forgetful::new();
    let mut store = open(&medium).unwrap();
    let key = store.append(unit(Channel::stream(1), 9, vec![1; 10])).unwrap();
    store.commit(Tai(0)).unwrap();
    assert_eq!(store.receipt(LEDGER, 1, key.prefix, &only(key)), 1);
    assert_eq!(store.unreceipted().count(), 0);
    store.commit(Tai(0)).unwrap();
    assert_eq!(open(&medium).unwrap().unreceipted().count(), 0, "receipts survive a boot");
    assert_eq!(store.ask(key.prefix, &only(key))[0].key, key);
    store.commit(Tai(0)).unwrap();
    assert_eq!(open(&medium).unwrap().unreceipted().count(), 1, "and so do asks");
}

/// What was erased since its receipt is told in a void, once, also where it is asked for again.
#[test]
fn an_ask_for_what_was_erased_is_answered_with_a_void() {
    let medium = Forgetful::new();
    let mut store = open(&medium).unwrap();
    let add = |store: &mut Store<Forgetful>, receipt: bool| {
        let key = store.append(unit(Channel::stream(1), 9, vec![1; 1000])).unwrap();
        store.commit(Tai(0)).unwrap();
        if receipt {
            store.receipt(LEDGER, 1, key.prefix, &only(key));
        }
        key
    };
    let first = add(&mut store, true);
    while store.state(first).is_some() {
        add(&mut store, true);
    }
    let last = add(&mut store, false);
    let all: RangeSet = SeqRange::new(0, u64::MAX).into_iter().collect();
    let again = store.ask(first.prefix, &all);
    assert!(again.iter().any(|of| of.key == last) && again.iter().all(|of| of.key != first));
    let told = store.commit(Tai(0)).unwrap().stored;
    let void = told.iter().find(|of| of.key.prefix.channel == Channel::VOIDS).unwrap();
    let void = Void::decode(&store.take(void.key).unwrap()).unwrap();
    assert_eq!(void.reason, VoidReason::Evicted);
    let named: u64 = void.entries.iter().map(|of| of.range.count()).sum();
    assert_eq!(named + again.len() as u64, last.sequence + 1, "each is sent or named");
    assert!(store.is_voided(first) && !store.is_voided(last));
    store.ask(first.prefix, &all);
    let again = store.commit(Tai(0)).unwrap().stored;
    assert!(again.iter().all(|of| of.key.prefix.channel != Channel::VOIDS));
    assert!(open(&medium).unwrap().is_voided(first));
}

#[test]
fn a_receipt_of_a_lower_class_or_another_store_frees_nothing() {
    let mut store =
        Store::open(Forgetful::new(), Limits { least_class: 2, ..LIMITS }, ORIGIN, EPOCH).unwrap();
    let key = store.append(unit(Channel::stream(1), 9, vec![1; 10])).unwrap();
    store.commit(Tai(0)).unwrap();
    assert_eq!(store.receipt(LEDGER, 1, key.prefix, &only(key)), 0);
    let foreign = KeyPrefix { epoch: StoreEpoch(1), ..key.prefix };
    assert_eq!(store.receipt(LEDGER, 2, foreign, &only(key)), 0);
    assert_eq!(store.receipt(LEDGER, 2, key.prefix, &only(key)), 1);
}

#[test]
fn damage_at_rest_is_voided_by_key() {
    let medium = Forgetful::new();
    let mut store = open(&medium).unwrap();
    let keys: Vec<UnitKey> =
        (0..5).map(|_| store.append(unit(Channel::stream(1), 9, vec![1; 100])).unwrap()).collect();
    store.commit(Tai(0)).unwrap();
    // Behind the header and what was written before stand five units of 144 bytes.
    medium.flip(0, (48 + 56 + 2 * 144 + 80) * 8);
    assert_eq!(store.take(keys[2]), Err(ReadError::Damaged));
    assert_eq!((store.damage().segments, store.damage().units()), (0, 1));
    let stored = store.commit(Tai(0)).unwrap().stored;
    let void = Void::decode(&store.take(stored[0].key).unwrap()).unwrap();
    assert_eq!((void.reason, void.entries[0].range.first), (VoidReason::Damaged, 2));
    // A boot that finds the damage itself says the same.
    let mut store = open(&medium.survivors(Cut::Drop, 1)).unwrap();
    let damage = store.damage();
    let Damage { segment, offset, bytes } = damage.places[0];
    assert_eq!((damage.segments, damage.units(), segment, bytes), (1, 0, 0, 144));
    assert!((offset..offset + bytes).contains(&(48 + 56 + 2 * 144 + 80)));
    assert!(damage.notices()[0].contains("segment 0000000000000000"), "{:?}", damage.notices());
    assert_eq!(store.state(keys[2]), None);
    assert!(store.is_voided(keys[2]));
    assert!(store.take(keys[3]).is_ok());
}

#[test]
fn a_store_belongs_to_one_origin_and_keeps_its_epoch() {
    let medium = Forgetful::new();
    let mut store = open(&medium).unwrap();
    store.append(unit(Channel::stream(1), 9, vec![1])).unwrap();
    store.commit(Tai(0)).unwrap();
    let other = Store::open(medium.clone(), LIMITS, Origin([8; 16]), EPOCH).unwrap_err();
    assert!(matches!(other, StoreError::Foreign { .. }));
    let again = Store::open(medium, LIMITS, ORIGIN, StoreEpoch(1)).unwrap();
    assert_eq!(again.identity().epoch, EPOCH);
}

#[test]
fn what_is_too_large_or_too_much_is_refused_at_the_door() {
    let mut store = open(&Forgetful::new()).unwrap();
    let huge = unit(Channel::stream(1), 9, vec![0; (1 << 20) + 1]);
    assert!(matches!(store.append(huge), Err(StoreError::TooLarge(_))));
    let pending =
        (0..100).find_map(|_| store.append(unit(Channel::stream(1), 9, vec![0; 100])).err());
    assert!(matches!(pending, Some(StoreError::Pending(_))));
}

#[test]
fn the_report_adds_up() {
    let medium = Forgetful::new();
    let mut store = open(&medium).unwrap();
    let mut promises = Promises::default();
    promises.fly(&mut store, 200).unwrap();
    let report = store.report();
    assert_eq!(
        report.units_numbered,
        report.units_held + report.units_kept + report.units_receipted + report.units_voided
    );
    assert!(report.units_voided > 20 && report.units_receipted > 20);
    assert!(report.keys.iter().all(|key| key.unaccounted.is_empty()));
}

/// Voids that the store offers, with their reasons.
fn told(store: &mut Store<Forgetful>) -> Vec<(VoidReason, SeqRange)> {
    let voids: Vec<UnitKey> = store
        .unreceipted()
        .filter(|of| of.key.prefix.channel == Channel::VOIDS)
        .map(|of| of.key)
        .collect();
    let mut told = Vec::new();
    for key in voids {
        let void = Void::decode(&store.take(key).unwrap()).unwrap();
        told.extend(void.entries.iter().map(|entry| (void.reason, entry.range)));
    }
    told
}

#[test]
fn what_is_kept_is_told_and_goes_down_once_asked_for_also_after_cleaning_and_restarts() {
    let medium = Forgetful::new();
    let mut store = open(&medium).unwrap();
    let products = Channel::stream(2);
    // What makes the first segment worth cleaning later.
    let filler = store.append(unit(Channel::stream(1), 9, vec![0; 1800])).unwrap();
    store.commit(Tai(9)).unwrap();
    store.receipt(LEDGER, 1, filler.prefix, &only(filler));
    let kept = store.append(unit(products, KEPT, vec![7; 300])).unwrap();
    let other = store.append(unit(products, KEPT, vec![8; 300])).unwrap();
    let committed = store.commit(Tai(9)).unwrap();
    assert!(committed.stored.iter().all(|of| of.key.prefix.channel == Channel::VOIDS));
    let range = SeqRange { first: kept.sequence, last: other.sequence };
    assert_eq!(told(&mut store), [(VoidReason::Kept, range)]);

    let mut store = open(&medium).unwrap();
    assert!(store.unreceipted().all(|of| of.key.prefix.channel == Channel::VOIDS));
    let again = store.ask(kept.prefix, &only(kept));
    assert_eq!(
        again.iter().map(|of| (of.key, of.priority)).collect::<Vec<_>>(),
        [(kept, ASKED_FOR)]
    );
    store.commit(Tai(9)).unwrap();
    // Nearly as much unreceipted as fits, so that every segment that holds less is cleaned.
    let mut live = VecDeque::new();
    for round in 0..200 {
        live.push_back(store.append(unit(Channel::stream(1), 200, vec![round; 900])).unwrap());
        store.commit(Tai(9)).unwrap();
        if live.len() > 19 {
            let key = live.pop_front().unwrap();
            store.receipt(LEDGER, 1, key.prefix, &only(key));
        }
    }
    let cleaned = !store.segments.contains_key(&0);
    assert!(cleaned, "the first segment is gone");
    let mut store = open(&medium).unwrap();
    let offered = |store: &Store<Forgetful>, key| store.unreceipted().any(|of| of.key == key);
    assert!(offered(&store, kept) && !offered(&store, other));
    assert_eq!(store.take(kept).unwrap(), vec![7; 300]);
    assert_eq!(store.state(other), Some(State::New), "still held");
    assert_eq!(store.report().units_kept, 1);
}

#[test]
fn what_is_kept_goes_first_when_space_is_needed_and_says_so() {
    let medium = Forgetful::new();
    let mut store = open(&medium).unwrap();
    let kept = store.append(unit(Channel::stream(2), KEPT, vec![7; 300])).unwrap();
    for round in 0..40 {
        store.append(unit(Channel::stream(1), 9, vec![round; 900])).unwrap();
        store.commit(Tai(9)).unwrap();
    }
    assert_eq!(store.state(kept), None);
    let range = SeqRange { first: kept.sequence, last: kept.sequence };
    let reasons = told(&mut store);
    assert!(reasons.contains(&(VoidReason::Evicted, range)), "{reasons:?}");
}

#[test]
fn a_deadline_outlives_a_restart() {
    let medium = Forgetful::new();
    let mut store = open(&medium).unwrap();
    let due = NewUnit { deadline_s: 60, ..unit(Channel::stream(1), 9, vec![1; 10]) };
    store.append(due).unwrap();
    store.append(unit(Channel::stream(1), 9, vec![2; 10])).unwrap();
    let committed = store.commit(Tai(9)).unwrap();
    let dues = [Tai(5 + 60_000_000_000), NO_DEADLINE];
    assert_eq!(committed.stored.iter().map(Stored::due).collect::<Vec<_>>(), dues);
    let store = open(&medium).unwrap();
    assert_eq!(store.unreceipted().map(|of| of.due()).collect::<Vec<_>>(), dues);
}

/// The disk is smaller than the store may be, and was filled to the brim before a restart: what is
/// receipted then makes room.
#[test]
fn a_disk_that_was_full_at_the_start_is_freed_by_receipts() {
    let medium = Forgetful::new().with_space(4 * 4096);
    let mut store = open(&medium).unwrap();
    let mut keys = Vec::new();
    loop {
        keys.push(store.append(unit(Channel::stream(1), 9, vec![3; 900])).unwrap());
        if store.commit(Tai(9)).is_err() {
            break;
        }
    }
    for cut in Cut::ALL {
        let medium = medium.survivors(cut, 5);
        medium.set_space(Some(4 * 4096));
        let mut store = open(&medium).unwrap();
        let held: Vec<UnitKey> = store.unreceipted().map(|of| of.key).collect();
        assert!(held.len() >= 8, "{cut:?}: {} held", held.len());
        for key in held {
            store.receipt(LEDGER, 1, key.prefix, &only(key));
        }
        for round in 0..40 {
            let key = store.append(unit(Channel::stream(1), 9, vec![round; 900])).unwrap();
            let committed = store.commit(Tai(9));
            assert!(committed.is_ok(), "{cut:?}, {round}: {committed:?}");
            store.receipt(LEDGER, 1, key.prefix, &only(key));
        }
        let mut store = open(&medium).unwrap();
        store.commit(Tai(9)).unwrap();
        let told = told(&mut store);
        let skipped = |of: &(VoidReason, SeqRange)| of.0 == VoidReason::Skipped;
        assert!(told.iter().all(skipped), "{cut:?}: nothing was given up: {told:?}");
    }
}
