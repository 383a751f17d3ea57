//! Custody in the contract's words: a store and a station that loses its disk, a new ledger on an
//! old bucket, an edge that is a day late, and every order of units, voids and conflicts.

use super::*;
use crate::{
    archive::{
        Archive, Settings,
        forgetful::{Crash, ForgetfulDisk},
        retain::{Floor, Retain},
        segment,
        tests::unit,
        volume::Volume,
    },
    audit::audit,
    import::{Older, merge},
    keep::{Keeper, Policy},
    ledger::tests::key,
    upload::{closed, ledger_behind, proven},
};
use bytes::Bytes;
use codecs::{
    ids::{Channel, Codec},
    link::{
        custody::Durability,
        receiver::{Receiver, ReceiverConfig, ReceiverEvent},
        sender::{NO_DEADLINE, Sender, SenderConfig, SenderEvent, UnitInfo},
        void::{Void, VoidRange, VoidReason},
        wire::Limits,
    },
    time::Tai,
};
use std::collections::BTreeSet;

const SETTINGS: Settings = Settings { segment_bytes: 16 << 10 };
const SESSION: SessionId = SessionId(1);
const DAY_MS: u64 = 86_400_000;

fn at(mono_ms: u64) -> Now {
    Now { mono_ms, tai: Tai(mono_ms as i64 * 1_000_000) }
}

/// The spacecraft: what is on board, whether it may be erased or not.
struct Craft {
    sender: Sender,
    on_board: BTreeSet<u64>,
    reclaimable: BTreeSet<u64>,
    sessions: u64,
}

impl Craft {
    fn new(units: u64, reclaimable_from: Durability) -> Self {
        let origin = key(1, 0).prefix.origin;
        let sender = Sender::new(SenderConfig {
            origin,
            objects_max: 4,
            reclaimable_from,
            housekeeping_percent: 20,
        });
        let (on_board, reclaimable) = (BTreeSet::new(), BTreeSet::new());
        let mut craft = Self { sender, on_board, reclaimable, sessions: 0 };
        craft.make(0..units);
        craft
    }

    fn make(&mut self, sequences: std::ops::Range<u64>) {
        for sequence in sequences {
            self.on_board.insert(sequence);
            self.offer(sequence);
        }
    }

    fn offer(&mut self, sequence: u64) {
        let length = unit(1, sequence).bytes.len() as u32;
        let info = UnitInfo {
            codec: Codec::AosFrame,
            priority: 0,
            length,
            annotated: false,
            due: NO_DEADLINE,
        };
        assert!(self.sender.offer(key(1, sequence), info));
    }

    fn erase(&mut self, sequences: std::ops::Range<u64>) {
        for sequence in sequences {
            assert!(self.reclaimable.contains(&sequence), "only what is reclaimable is erased");
            self.on_board.remove(&sequence);
        }
    }

    fn events(&mut self) {
        while let Some(event) = self.sender.poll_event() {
            match event {
                SenderEvent::Reclaimable { ranges, .. } => {
                    let sequences = ranges.into_iter().flat_map(|range| range.first..=range.last);
                    self.reclaimable.extend(sequences);
                }
                SenderEvent::Asked { ranges, .. } => {
                    for sequence in ranges.into_iter().flat_map(|range| range.first..=range.last) {
                        self.reclaimable.remove(&sequence);
                        if self.on_board.contains(&sequence) {
                            self.offer(sequence);
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

/// The station: a disk, its ledger, and the ledgers before.
struct Ground {
    disk: ForgetfulDisk,
    ingest: Ingest,
    volume: Volume<ForgetfulDisk>,
    keeper: Keeper,
    before: Vec<u64>,
}

impl Ground {
    fn new(disk: ForgetfulDisk, ledger: u64, before: &[u64]) -> Self {
        let archive = Archive::open(disk.clone(), SETTINGS, ledger).unwrap().0;
        let Archive { intake, volume } = archive;
        let (ingest, keeper) = (Ingest::new(intake), Keeper::default());
        Self { disk, ingest, volume, keeper, before: before.to_vec() }
    }

    fn take(&mut self, unit: &Incoming, now: Now) {
        assert_eq!(self.ingest.take(SESSION, unit, now), Progress::Drained);
    }

    fn commit(&mut self, now: Now) -> Committed {
        let Self { ingest, volume, .. } = self;
        while let Some(batch) = ingest.intake().next_batch() {
            volume.write(batch, now, || ingest.ledger().settled());
        }
        let claims = ingest.intake().claims();
        let commit = volume.commit(now, || ingest.ledger().settled());
        let judged = claims.iter().map(|(claim, bytes)| volume.judge(claim, bytes)).collect();
        let committed = ingest.settle(&commit, &claims, judged, now);
        assert!(committed.tally.balances());
        committed
    }

    fn lose(&mut self, lost: &[(KeyPrefix, Vec<SeqRange>)], now: Now) {
        if self.ingest.lose(lost) {
            self.volume.keep_ledger(self.ingest.ledger().settled(), now).unwrap();
        }
    }

    fn keep(&mut self, now: Now) {
        self.keeper.turn(&mut self.volume, |_, _| panic!("nothing is lost"), now);
    }

    fn held(&self) -> BTreeSet<u64> {
        let durable = self.ingest.durable(key(1, 0).prefix.origin);
        let ranges = durable.iter().flat_map(|keys| &keys.ranges);
        ranges.flat_map(|range| range.first..=range.last).collect()
    }

    /// Brings every sealed segment to a bucket.
    fn bucket(&mut self) -> BTreeMap<u64, Vec<u8>> {
        let found = closed(&mut self.disk.clone(), &BTreeSet::new()).unwrap();
        let read = |(number, end): (u64, u64)| {
            let bytes = self.disk.contains_whole(number, end);
            (number, bytes)
        };
        found.into_iter().map(read).collect()
    }
}

impl ForgetfulDisk {
    fn contains_whole(&self, number: u64, end: u64) -> Vec<u8> {
        self.contents(&segment::file_name(number))[..end as usize].to_vec()
    }
}

/// One contact, until nothing more moves; objects of at most `objects` arrive.
fn contact(craft: &mut Craft, ground: &mut Ground, objects: usize, now_ms: u64) {
    let ledger = ground.volume.ledger_id();
    let limits = Limits { object_bytes_max: 6_000, unit_bytes_max: 1 << 20, objects_max: 4 };
    let config = ReceiverConfig { ledger, domain: "test".into(), limits, commit_ns: 0 };
    let origin = key(1, 0).prefix.origin;
    let mut receiver = Receiver::new(config, origin);
    craft.sessions += 1;
    craft.sender.connected(craft.sessions);
    let (mut now, mut arrived) = (now_ms, 0);
    loop {
        let mut quiet = true;
        while let Some(bytes) = craft.sender.poll_control() {
            receiver.control_bytes(&bytes).unwrap();
        }
        while let Some(event) = receiver.poll_event() {
            let ReceiverEvent::Hello { channels, .. } = event else { continue };
            let durable = ground.ingest.durable(origin);
            let ours = |id| id == ledger || ground.before.contains(&id);
            let lost = lost_by_us(origin, ours, &channels, &durable);
            receiver.welcome(Tai(0), durable);
            ground.lose(&lost, at(now));
            lost.into_iter().for_each(|(prefix, ranges)| receiver.ask(prefix, ranges));
            for (prefix, ranges) in ground.ingest.stored_of(origin) {
                for range in ranges.ranges() {
                    receiver.receipt_in(Durability::ObjectStore, prefix, *range, now);
                }
            }
        }
        if let Some(plan) = craft.sender.poll_object(Tai(0)) {
            if arrived == objects {
                craft.sender.disconnected();
                return;
            }
            arrived += 1;
            quiet = false;
            for sequence in plan.range.first..=plan.range.last {
                assert!(craft.on_board.contains(&sequence));
                ground.take(&unit(1, sequence), at(now));
            }
            craft.sender.object_done(plan.id);
        }
        let committed = ground.commit(at(now));
        for fates in committed.fates.values() {
            for (prefix, ranges) in &fates.receipts {
                for range in ranges.ranges() {
                    receiver.receipt(*prefix, *range, now);
                }
            }
        }
        receiver.handle_timeout(now + 1);
        while let Some(bytes) = receiver.poll_control() {
            craft.sender.control_bytes(&bytes, now).unwrap();
            quiet = false;
        }
        craft.events();
        now += 1;
        if quiet {
            craft.sender.disconnected();
            return;
        }
    }
}

fn lost(ground: &Ground) -> Vec<[u64; 2]> {
    let lost = audit(&mut ground.disk.clone()).unwrap().lost;
    lost.first().map_or(Vec::new(), |key| key.ranges.clone())
}

#[test]
fn a_destroyed_disk_costs_nothing_that_is_still_on_board() {
    let mut craft = Craft::new(60, Durability::Local);
    let mut ground = Ground::new(ForgetfulDisk::default(), 1, &[]);
    contact(&mut craft, &mut ground, usize::MAX, 0);
    assert_eq!(craft.reclaimable.len(), 60);
    // Space was needed on board, and then the disk went.
    craft.erase(0..10);
    craft.make(60..80);
    let mut ground = Ground::new(ForgetfulDisk::default(), 2, &[1]);
    contact(&mut craft, &mut ground, usize::MAX, 1_000);
    // Everything still reclaimable came again; the rest is lost by key, not in silence.
    assert_eq!(ground.held(), (10..80).collect());
    assert_eq!(craft.reclaimable, (10..80).collect());
    assert_eq!(lost(&ground), [[0, 9]]);
    let report = audit(&mut ground.disk.clone()).unwrap();
    assert!(!report.is_clean() && report.duplicates == 0 && report.units == 70, "{report:?}");
    // Once more changes nothing, nor does a crash.
    let mut ground = Ground::new(ground.disk.crash(Crash::Drop), 3, &[1]);
    contact(&mut craft, &mut ground, usize::MAX, 2_000);
    assert_eq!((ground.held(), lost(&ground)), ((10..80).collect(), vec![[0, 9]]));
}

#[test]
fn a_loss_is_on_record_although_the_contact_ends_before_a_unit_comes() {
    let mut craft = Craft::new(40, Durability::Local);
    contact(&mut craft, &mut Ground::new(ForgetfulDisk::default(), 1, &[]), usize::MAX, 0);
    let mut ground = Ground::new(ForgetfulDisk::default(), 2, &[1]);
    contact(&mut craft, &mut ground, 0, 1_000);
    assert_eq!(lost(&ground), [[0, 39]]);
    let mut ground = Ground::new(ground.disk.crash(Crash::Drop), 3, &[]);
    assert_eq!(ground.volume.ledger_id(), 2);
    assert_eq!(lost(&ground), [[0, 39]]);
    contact(&mut craft, &mut ground, usize::MAX, 2_000);
    assert_eq!(ground.held().len(), 40);
    assert!(audit(&mut ground.disk.clone()).unwrap().is_clean());
}

#[test]
fn a_new_ledger_on_an_old_bucket_holds_what_the_bucket_holds() {
    for missing in [None, Some(1)] {
        let mut craft = Craft::new(60, Durability::Local);
        let mut ground = Ground::new(ForgetfulDisk::default(), 1, &[]);
        contact(&mut craft, &mut ground, usize::MAX, 0);
        // The open segment never got there, and perhaps one that was sealed did not.
        let mut bucket = ground.bucket();
        missing.map(|number| bucket.remove(&number));
        let there: BTreeSet<u64> = bucket
            .iter()
            .flat_map(|(number, bytes)| proven(bytes, *number))
            .flat_map(|(_, ranges)| ranges.ranges().to_vec())
            .flat_map(|range| range.first..=range.last)
            .collect();
        assert!(there.len() > 10 && there.len() < 60);
        craft.erase(0..60);
        craft.make(60..64);
        let (number, bytes) = bucket.last_key_value().unwrap();
        let (_, ledger) = ledger_behind(bytes, *number).unwrap();
        let records = missing.is_some().then(|| {
            let mut all: BTreeMap<KeyPrefix, RangeSet> = BTreeMap::new();
            for (prefix, ranges) in bucket.iter().flat_map(|(n, bytes)| proven(bytes, *n)) {
                all.entry(prefix).or_default().extend(&ranges);
            }
            all
        });
        let mut disk = ForgetfulDisk::default();
        let merged = merge([Older { ledger, proven: records }]).unwrap();
        Floor::import(&mut disk, 2, merged).unwrap();
        let mut ground = Ground::new(disk, 9, &[1]);
        assert_eq!(ground.volume.ledger_id(), 2, "the import named it");
        assert_eq!(ground.held(), there);
        contact(&mut craft, &mut ground, usize::MAX, 1_000);
        // What neither the bucket nor the store has is lost by key; what is in the bucket is not
        // sent again, and counts as a duplicate should it come.
        let mut gone: BTreeSet<u64> = (0..60).collect();
        gone.retain(|sequence| !there.contains(sequence));
        let listed: BTreeSet<u64> =
            lost(&ground).into_iter().flat_map(|[first, last]| first..=last).collect();
        assert_eq!(listed, gone);
        let report = audit(&mut ground.disk.clone()).unwrap();
        assert_eq!(report.units, 4);
        assert!(!report.is_clean() && report.missing_from_archive.is_empty(), "{report:?}");
        let known = *there.first().unwrap();
        ground.take(&unit(1, known), at(2_000));
        assert_eq!(ground.commit(at(2_000)).tally.duplicate, 1);
        // A unit of the lost ones that turns up after all.
        let found = *gone.first().unwrap();
        ground.take(&unit(1, found), at(2_000));
        assert_eq!(ground.commit(at(2_000)).tally.archived, 1);
        assert_eq!(
            lost(&ground).iter().map(|[a, b]| b - a + 1).sum::<u64>(),
            gone.len() as u64 - 1
        );
    }
}

#[test]
fn nothing_is_reclaimable_before_the_class_that_the_mission_asks_for() {
    let mut craft = Craft::new(20, Durability::ObjectStore);
    let mut ground = Ground::new(ForgetfulDisk::default(), 1, &[]);
    contact(&mut craft, &mut ground, usize::MAX, 0);
    assert!(craft.reclaimable.is_empty(), "local is not enough");
    ground.volume.seal(at(10).tai);
    for (number, bytes) in ground.bucket() {
        let fates = ground.ingest.stored(proven(&bytes, number));
        assert!(fates.receipts.is_empty() && !fates.stored.is_empty());
    }
    // Said at the next hello, though it was stored while no one listened.
    contact(&mut craft, &mut ground, usize::MAX, 1_000);
    assert_eq!(craft.reclaimable.len(), 20);
}

#[test]
fn an_edge_that_is_a_day_late_is_archived_once_beside_the_other() {
    let edge = |number: u8, sequence| {
        let mut unit = unit(1, sequence);
        unit.key.prefix.origin = Origin([number; 16]);
        unit
    };
    let disk = ForgetfulDisk::default();
    let policy = Policy {
        seal_ms: Some(60_000),
        retain: Retain { age_s: Some(3_600), ..Retain::default() },
    };
    let mut ground = Ground::new(disk.clone(), 1, &[]);
    ground.keeper = Keeper::new(policy);
    let mut total = Tally::default();
    let mut deliver = |ground: &mut Ground, number, now_ms| {
        for sequence in 0..80 {
            ground.take(&edge(number, sequence), at(now_ms));
            if sequence % 8 == 7 {
                total.add(&ground.commit(at(now_ms)).tally);
                ground.keep(at(now_ms));
            }
        }
        ground.keep(at(now_ms + 61_000));
        total.clone()
    };
    deliver(&mut ground, 1, 0);
    // A day later the first edge's segments are gone but two; the second brings the same frames.
    deliver(&mut ground, 2, DAY_MS);
    assert!(audit(&mut disk.clone()).unwrap().floor > 0);
    // Both say it all again.
    deliver(&mut ground, 2, DAY_MS + 120_000);
    let total = deliver(&mut ground, 1, DAY_MS + 240_000);
    assert_eq!((total.received, total.archived, total.duplicate), (320, 160, 160));
    assert!(total.balances());
    let report = audit(&mut disk.clone()).unwrap();
    assert!(report.is_clean() && report.duplicates == 0, "{report:?}");
    for number in [1, 2] {
        let durable = ground.ingest.durable(Origin([number; 16]));
        assert_eq!(durable[0].ranges, [SeqRange { first: 0, last: 79 }]);
    }
}

#[test]
fn units_voids_duplicates_and_conflicts_end_alike_in_both_orders() {
    let void_of = |first, last| {
        let KeyPrefix { epoch, spacecraft, channel, .. } = key(1, 0).prefix;
        let range = SeqRange { first, last };
        let (bytes, from, to) = (0, Tai(0), Tai(0));
        let entry = VoidRange { epoch, spacecraft, channel, range, bytes, from, to };
        let void = Void { reason: VoidReason::Evicted, decided: Tai(0), entries: vec![entry] };
        let mut record = unit(1, 0);
        record.key.prefix.channel = Channel::VOIDS;
        record.codec = Codec::Void;
        record.bytes = void.encode().into();
        record
    };
    let other = Incoming { bytes: Bytes::from_static(b"other"), ..unit(1, 5) };
    let deliveries = [unit(1, 5), void_of(3, 8), unit(1, 5), unit(1, 4)];
    for backwards in [false, true] {
        for together in [false, true] {
            let disk = ForgetfulDisk::default();
            let mut ground = Ground::new(disk, 1, &[]);
            let mut total = Tally::default();
            let mut order = deliveries.to_vec();
            if backwards {
                order.reverse();
            }
            for unit in &order {
                ground.take(unit, at(0));
                if !together {
                    total.add(&ground.commit(at(0)).tally);
                }
            }
            // Another unit under a key that is held: never receipted, whoever came first.
            ground.take(&other, at(0));
            total.add(&ground.commit(at(0)).tally);
            assert_eq!((total.archived, total.duplicate, total.conflict), (3, 1, 1));
            assert!(total.balances());
            for ground in [&ground, &Ground::new(ground.disk.crash(Crash::Drop), 1, &[])] {
                let ledger = ground.ingest.ledger();
                let counter = ledger.counter(&key(1, 0).prefix).unwrap();
                assert_eq!(counter.held.ranges(), [SeqRange { first: 4, last: 5 }]);
                let voided = [(3, 3), (6, 8)].map(|(first, last)| SeqRange { first, last });
                assert_eq!(counter.voided.ranges(), voided);
            }
            let report = audit(&mut ground.disk.clone()).unwrap();
            assert!(report.is_clean() && report.conflicts == 1, "{report:?}");
        }
    }
    // The other first: then the first of them is held, and its rival kept aside.
    let mut ground = Ground::new(ForgetfulDisk::default(), 1, &[]);
    ground.take(&other, at(0));
    ground.take(&unit(1, 5), at(0));
    let committed = ground.commit(at(0));
    assert_eq!((committed.tally.archived, committed.tally.conflict), (1, 1));
    let bytes = ground.disk.contents("0000000000.segment");
    assert!(bytes.windows(5).any(|window| window == b"other"));
}
