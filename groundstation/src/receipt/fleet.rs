//! Stores, senders, receivers, ledgers and archives together: twenty spacecraft over three stations,
//! through cuts, repeats, reordering, refusals and power cuts of the stations.

use super::{tests::Station, *};
use crate::archive::forgetful::{Crash, ForgetfulDisk};
use bytes::Bytes;
use codecs::{
    ids::{Channel, SpacecraftId, StoreEpoch},
    link::{
        custody::Durability,
        object::write_unit,
        receiver::{Receiver, ReceiverConfig, ReceiverEvent},
        sender::{NO_DEADLINE, Sender, SenderConfig, SenderEvent, UnitInfo},
        void::{Void, VoidRange, VoidReason},
        wire::Limits,
    },
    time::Tai,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

const STORES: usize = 20;
const STATIONS: usize = 3;

/// A spacecraft's store: what it numbered, and what it may erase.
struct Craft {
    sender: Sender,
    prefix: KeyPrefix,
    units: Vec<Bytes>,
    voids: Vec<Bytes>,
    erasable: BTreeMap<UnitKey, BTreeSet<usize>>,
    given_up: BTreeSet<UnitKey>,
    /// The station that it talks to.
    link: Option<(usize, Receiver)>,
    /// Objects that were sent and did not arrive yet, by station.
    wire: Vec<(usize, KeyPrefix, Codec, Vec<u8>)>,
}

struct Ground {
    disk: ForgetfulDisk,
    station: Station,
}

struct World {
    crafts: Vec<Craft>,
    grounds: Vec<Ground>,
    now: Now,
    sessions: u64,
    tallies: BTreeMap<(usize, KeyPrefix), Tally>,
}

fn void_prefix(prefix: KeyPrefix) -> KeyPrefix {
    KeyPrefix { channel: Channel::VOIDS, ..prefix }
}

impl World {
    fn new() -> Self {
        let craft = |number: usize| {
            let origin = Origin([number as u8; 16]);
            let reclaimable_from = Durability::Local;
            let prefix = KeyPrefix {
                origin,
                epoch: StoreEpoch(9),
                spacecraft: SpacecraftId(number as u16),
                channel: Channel::stream(1),
            };
            Craft {
                sender: Sender::new(SenderConfig {
                    origin,
                    objects_max: 4,
                    reclaimable_from,
                    housekeeping_percent: 20,
                }),
                prefix,
                units: Vec::new(),
                voids: Vec::new(),
                erasable: BTreeMap::new(),
                given_up: BTreeSet::new(),
                link: None,
                wire: Vec::new(),
            }
        };
        let ground = |number| {
            let disk = ForgetfulDisk::default();
            Ground { station: Station::with_ledger(&disk, 1 + number as u64), disk }
        };
        Self {
            crafts: (0..STORES).map(craft).collect(),
            grounds: (0..STATIONS).map(ground).collect(),
            now: Now { mono_ms: 0, tai: Tai(1) },
            sessions: 0,
            tallies: BTreeMap::new(),
        }
    }

    fn offer(&mut self, at: usize, value: u8) {
        let craft = &mut self.crafts[at];
        let key = UnitKey { prefix: craft.prefix, sequence: craft.units.len() as u64 };
        let bytes = Bytes::from(vec![value; 1 + usize::from(value)]);
        let (length, priority) = (bytes.len() as u32, value % 3);
        craft.units.push(bytes);
        let info = UnitInfo {
            codec: Codec::Squeezed,
            priority,
            length,
            annotated: false,
            due: NO_DEADLINE,
        };
        assert!(craft.sender.offer(key, info));
    }

    /// The store gives up the oldest unit that no one has, and says so.
    fn give_up(&mut self, at: usize) {
        let craft = &mut self.crafts[at];
        let gone = (0..craft.units.len() as u64)
            .map(|sequence| UnitKey { prefix: craft.prefix, sequence })
            .find(|key| !craft.erasable.contains_key(key) && !craft.given_up.contains(key));
        let Some(key) = gone else { return };
        if let Some(id) = craft.sender.withdraw(key) {
            craft.sender.object_failed(id);
        }
        craft.given_up.insert(key);
        let entry = VoidRange {
            epoch: key.prefix.epoch,
            spacecraft: key.prefix.spacecraft,
            channel: key.prefix.channel,
            range: one(key.sequence),
            bytes: 1,
            from: Tai(0),
            to: Tai(0),
        };
        let void = Void { reason: VoidReason::Evicted, decided: Tai(0), entries: vec![entry] };
        let void = Bytes::from(void.encode());
        let (prefix, sequence) = (void_prefix(key.prefix), craft.voids.len() as u64);
        let length = void.len() as u32;
        craft.voids.push(void);
        let info = UnitInfo {
            codec: Codec::Void,
            priority: 255,
            length,
            annotated: false,
            due: NO_DEADLINE,
        };
        assert!(craft.sender.offer(UnitKey { prefix, sequence }, info));
    }

    fn connect(&mut self, at: usize, to: usize) {
        self.cut(at);
        self.sessions += 1;
        let limits = Limits { object_bytes_max: 2 << 20, unit_bytes_max: 1 << 20, objects_max: 4 };
        let ledger = 1 + to as u64;
        let config = ReceiverConfig { ledger, domain: "d".into(), limits, commit_ns: 1_000_000 };
        let craft = &mut self.crafts[at];
        craft.sender.connected(self.sessions);
        craft.link = Some((to, Receiver::new(config, craft.prefix.origin)));
        self.talk(at);
    }

    fn cut(&mut self, at: usize) {
        self.crafts[at].link = None;
        self.crafts[at].sender.disconnected();
    }

    /// Carries what both sides have to say until they are quiet.
    fn talk(&mut self, at: usize) {
        let now_ns = self.now.mono_ms * 1_000_000;
        let craft = &mut self.crafts[at];
        let Some((to, receiver)) = &mut craft.link else { return };
        let ingest = &self.grounds[*to].station.ingest;
        receiver.handle_timeout(now_ns);
        craft.sender.handle_timeout(now_ns);
        loop {
            let mut quiet = true;
            while let Some(bytes) = craft.sender.poll_control() {
                receiver.control_bytes(&bytes).unwrap();
                quiet = false;
            }
            while let Some(event) = receiver.poll_event() {
                let ReceiverEvent::Hello { channels, .. } = event else { continue };
                let origin = craft.prefix.origin;
                let durable = ingest.durable(origin);
                let ours = |ledger| ledger == 1 + *to as u64;
                let lost = lost_by_us(origin, ours, &channels, &durable);
                assert_eq!(lost, [], "what was receipted is held");
                receiver.welcome(Tai(1), durable);
            }
            while let Some(bytes) = receiver.poll_control() {
                craft.sender.control_bytes(&bytes, now_ns).unwrap();
                quiet = false;
            }
            while let Some(event) = craft.sender.poll_event() {
                let SenderEvent::Reclaimable { prefix, ranges, ledger, .. } = event else {
                    continue;
                };
                let ranges: RangeSet = ranges.into_iter().collect();
                for sequence in ranges.ranges().iter().flat_map(|of| of.first..=of.last) {
                    let by = craft.erasable.entry(UnitKey { prefix, sequence }).or_default();
                    by.insert(ledger as usize - 1);
                }
            }
            if quiet {
                return;
            }
        }
    }

    /// The next object goes on its way.
    fn send(&mut self, at: usize) -> bool {
        let craft = &mut self.crafts[at];
        let Some((to, _)) = &craft.link else { return false };
        let Some(plan) = craft.sender.poll_object(Tai(1)) else { return false };
        let mut bytes = plan.header.encode().to_vec();
        for sequence in plan.range.first..=plan.range.last {
            let of = if plan.prefix == craft.prefix { &craft.units } else { &craft.voids };
            write_unit(&mut bytes, None, &of[sequence as usize]);
        }
        craft.wire.push((*to, plan.prefix, plan.header.codec, bytes));
        craft.sender.object_done(plan.id);
        true
    }

    /// An object on the wire comes to its station: out of order, whole or cut, once or twice.
    fn arrive(&mut self, at: usize, value: u8) {
        let craft = &mut self.crafts[at];
        if craft.wire.is_empty() {
            return;
        }
        let which = usize::from(value) % craft.wire.len();
        let (to, prefix, codec, mut bytes) = match value % 5 {
            0 => craft.wire[which].clone(),
            _ => craft.wire.swap_remove(which),
        };
        // What is cut short of a live connection goes again on the next: the link is cut with it.
        let cut = value % 7 == 3;
        if cut {
            bytes.truncate(bytes.len() * usize::from(value) / 256);
        }
        let mut reader = ObjectReader::new();
        reader.push(bytes.into());
        let session = SessionId(at as u64);
        let ingest = &mut self.grounds[to].station.ingest;
        let taken = ingest.take_object(session, prefix, codec, &mut reader, self.now);
        assert!(matches!(taken, Ok(Progress::Drained)), "blocks are committed before they fill");
        if cut {
            self.cut(at);
        }
    }

    fn commit(&mut self, to: usize) {
        let (committed, _) = self.grounds[to].station.commit(self.now);
        let now_ns = self.now.mono_ms * 1_000_000;
        for (prefix, tally) in &committed.tallies {
            self.tallies.entry((to, *prefix)).or_default().add(tally);
        }
        for (session, fates) in committed.fates {
            let at = session.0 as usize;
            if let Some((linked, receiver)) = &mut self.crafts[at].link
                && *linked == to
            {
                for (prefix, ranges) in fates.receipts {
                    ranges.ranges().iter().for_each(|of| receiver.receipt(prefix, *of, now_ns));
                }
                for of in fates.refusals {
                    receiver.refuse(of.prefix, of.range, of.reason, of.retry_after_ms);
                }
            }
            self.talk(at);
        }
    }

    /// A station's power is cut: every session with it ends.
    fn crash(&mut self, to: usize, how: Crash) {
        let linked = |craft: &Craft| craft.link.as_ref().is_some_and(|(of, _)| *of == to);
        let ends: Vec<usize> = (0..STORES).filter(|at| linked(&self.crafts[*at])).collect();
        ends.into_iter().for_each(|at| self.cut(at));
        let disk = self.grounds[to].disk.crash(how);
        self.grounds[to] = Ground { station: Station::with_ledger(&disk, 99), disk };
    }

    fn pass_time(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        (0..STORES).for_each(|at| self.talk(at));
    }

    /// What a store may erase is held by the ledger that said so; every counter balances.
    fn check(&self) {
        for craft in &self.crafts {
            for (key, by) in &craft.erasable {
                for ledger in by {
                    let held = self.grounds[*ledger].station.ingest.ledger().counter(&key.prefix);
                    let held = held.is_some_and(|counter| counter.held.contains(key.sequence));
                    assert!(held, "{key:?} was receipted by ledger {ledger} and is not held");
                }
            }
        }
        assert!(self.tallies.values().all(Tally::balances), "{:?}", self.tallies);
    }

    /// The faults stop.
    fn heal(&mut self) {
        for round in 0..STATIONS {
            for at in 0..STORES {
                self.connect(at, (at + round) % STATIONS);
                while self.send(at) {}
                while !self.crafts[at].wire.is_empty() {
                    self.arrive(at, 1);
                }
            }
            (0..STATIONS).for_each(|to| self.commit(to));
            self.pass_time(10_000);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_meets_whom_each_unit_is_archived_and_told_once(
        steps in prop::collection::vec((0u8..12, 0..STORES, any::<u8>()), 0..300),
    ) {
        let mut world = World::new();
        for (step, at, value) in steps {
            let to = usize::from(value) % STATIONS;
            match step {
                0..=2 => (0..value % 6).for_each(|more| world.offer(at, value ^ more)),
                3 => world.connect(at, to),
                4 if value < 40 => world.cut(at),
                4 if value < 80 => world.give_up(at),
                5 | 6 => { world.send(at); }
                7 | 8 => world.arrive(at, value),
                9 => world.commit(to),
                10 => world.pass_time(value.into()),
                11 if value < 60 => {
                    let how = [Crash::Drop, Crash::Tear, Crash::Reorder][usize::from(value) / 20];
                    world.crash(to, how);
                }
                _ => {}
            }
            world.check();
        }
        world.heal();
        world.check();
        for craft in &world.crafts {
            prop_assert_eq!(craft.sender.backlog().units, 0, "drained");
            for sequence in 0..craft.units.len() as u64 {
                let key = UnitKey { prefix: craft.prefix, sequence };
                let counters = world.grounds.iter().map(|of| of.station.ingest.ledger());
                let (mut held, mut voided) = (false, false);
                for counter in counters.filter_map(|ledger| ledger.counter(&key.prefix)) {
                    held |= counter.held.contains(sequence);
                    voided |= counter.voided.contains(sequence);
                    let both = counter.held.contains(sequence) && counter.voided.contains(sequence);
                    prop_assert!(!both, "a unit beats a void");
                }
                prop_assert!(held || (voided && craft.given_up.contains(&key)), "{:?} is missing", key);
            }
        }
        for ground in &mut world.grounds {
            let audit = crate::audit::audit(&mut ground.disk).unwrap();
            prop_assert!(audit.is_clean() && audit.duplicates == 0, "{:?}", audit);
        }
    }
}

/// The negative control: with the sync taken out of sync the same checks find the loss.
#[test]
#[should_panic(expected = "was receipted by ledger 0 and is not held")]
fn a_station_that_does_not_sync_is_found_out() {
    let mut world = World::new();
    world.grounds[0].disk.lie_about_syncs();
    world.offer(3, 200);
    world.connect(3, 0);
    assert!(world.send(3));
    world.arrive(3, 1);
    world.commit(0);
    world.pass_time(10_000);
    assert_eq!(world.crafts[3].erasable.len(), 1);
    world.crash(0, Crash::Drop);
    world.check();
}
