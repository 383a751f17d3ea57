//! Sender and receiver against each other, through cuts, failures and a station that forgets what
//! it had not synced.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};
use proptest::prelude::*;

use super::{
    custody::{Durability, KeyRanges, NEVER_MS, RefusalReason},
    hello::STATES_MAX,
    receiver::{Receiver, ReceiverConfig, ReceiverEvent},
    sender::{NO_DEADLINE, Sender, SenderConfig, SenderError, SenderEvent, UnitInfo},
    wire::{Limits, Message},
};
use crate::{
    ids::{
        Channel, Codec, KeyPrefix, Origin, RangeSet, SeqRange, SpacecraftId, StoreEpoch, UnitKey,
    },
    time::Tai,
};

const ORIGIN: Origin = Origin([7; 16]);
const COMMIT_NS: u64 = 10_000_000;

fn prefix(stream: u32) -> KeyPrefix {
    KeyPrefix {
        origin: ORIGIN,
        epoch: StoreEpoch(99),
        spacecraft: SpacecraftId(7),
        channel: Channel::stream(stream),
    }
}

fn receiver(ledger: u64) -> Receiver {
    let limits = Limits { object_bytes_max: 2 << 20, unit_bytes_max: 1 << 20, objects_max: 4 };
    let config =
        ReceiverConfig { ledger, domain: String::from("test"), limits, commit_ns: COMMIT_NS };
    Receiver::new(config, ORIGIN)
}

struct World {
    sender: Sender,
    receiver: Option<Receiver>,
    now: u64,
    next: [u64; 2],
    synced: BTreeSet<UnitKey>,
    unsynced: BTreeSet<UnitKey>,
    /// In the object store; what a least class of that name counts.
    stored: BTreeSet<UnitKey>,
    reclaimable: BTreeSet<UnitKey>,
    /// Objects' units handed out, by key.
    sendings: BTreeMap<UnitKey, u32>,
    least: Durability,
    ledger: u64,
    sessions: u64,
    /// Every n-th unit is refused for a while.
    refuse_every: u64,
    arrivals: u64,
}

impl World {
    fn new(refuse_every: u64) -> Self {
        Self::with(refuse_every, Durability::Local)
    }

    fn with(refuse_every: u64, least: Durability) -> Self {
        let config = SenderConfig {
            origin: ORIGIN,
            objects_max: 8,
            reclaimable_from: least,
            housekeeping_percent: 20,
        };
        Self {
            sender: Sender::new(config),
            receiver: None,
            now: 0,
            next: [0; 2],
            synced: BTreeSet::new(),
            unsynced: BTreeSet::new(),
            stored: BTreeSet::new(),
            reclaimable: BTreeSet::new(),
            sendings: BTreeMap::new(),
            least,
            ledger: 5,
            sessions: 0,
            refuse_every,
            arrivals: 0,
        }
    }

    fn offer(&mut self, stream: usize, priority: u8) {
        let key = UnitKey { prefix: prefix(stream as u32), sequence: self.next[stream] };
        self.next[stream] += 1;
        let info = UnitInfo {
            codec: Codec::Squeezed,
            priority,
            length: 100,
            annotated: false,
            due: NO_DEADLINE,
        };
        assert!(self.sender.offer(key, info));
        assert!(!self.sender.offer(key, info), "a unit is offered once");
    }

    fn connect(&mut self) {
        self.sessions += 1;
        self.sender.connected(self.sessions);
        self.receiver = Some(receiver(self.ledger));
        self.talk();
    }

    fn cut(&mut self, station_forgets: bool) {
        self.sender.disconnected();
        self.receiver = None;
        if station_forgets {
            self.unsynced.clear();
        }
    }

    /// Carries control bytes both ways until both are quiet.
    fn talk(&mut self) {
        let Some(receiver) = &mut self.receiver else { return };
        loop {
            let mut quiet = true;
            while let Some(bytes) = self.sender.poll_control() {
                receiver.control_bytes(&bytes).unwrap();
                quiet = false;
            }
            while let Some(event) = receiver.poll_event() {
                let ReceiverEvent::Hello { session, .. } = event else { continue };
                assert_eq!(session, self.sessions);
                let mut durable: BTreeMap<KeyPrefix, RangeSet> = BTreeMap::new();
                for key in &self.synced {
                    durable.entry(key.prefix).or_default().insert_one(key.sequence);
                }
                let durable = durable
                    .into_iter()
                    .map(|(prefix, set)| KeyRanges::new(prefix, set.ranges().to_vec()))
                    .collect();
                receiver.welcome(Tai(1), durable);
            }
            while let Some(bytes) = receiver.poll_control() {
                self.sender.control_bytes(&bytes, self.now).unwrap();
                quiet = false;
            }
            while let Some(event) = self.sender.poll_event() {
                if let SenderEvent::Reclaimable { prefix, ranges, .. } = event {
                    for range in ranges {
                        for sequence in range.first..=range.last {
                            self.reclaimable.insert(UnitKey { prefix, sequence });
                        }
                    }
                }
            }
            if quiet {
                return;
            }
        }
    }

    /// Sends one object; `arrives` says whether its stream reaches its end.
    fn send(&mut self, arrives: bool) -> bool {
        let Some(plan) = self.sender.poll_object(Tai(0)) else { return false };
        let Some(receiver) = &mut self.receiver else { panic!("objects need a connection") };
        if !arrives {
            self.sender.object_failed(plan.id);
            return true;
        }
        self.sender.object_done(plan.id);
        for sequence in plan.range.first..=plan.range.last {
            let key = UnitKey { prefix: plan.prefix, sequence };
            *self.sendings.entry(key).or_default() += 1;
            self.arrivals += 1;
            let one = SeqRange { first: sequence, last: sequence };
            if self.refuse_every != 0 && self.arrivals.is_multiple_of(self.refuse_every) {
                receiver.refuse(plan.prefix, one, RefusalReason::Full, 50);
            } else if self.synced.contains(&key) {
                receiver.receipt(plan.prefix, one, self.now);
            } else {
                self.unsynced.insert(key);
            }
        }
        true
    }

    fn sync(&mut self) {
        for key in core::mem::take(&mut self.unsynced) {
            self.synced.insert(key);
            if let Some(receiver) = &mut self.receiver {
                let one = SeqRange { first: key.sequence, last: key.sequence };
                receiver.receipt(key.prefix, one, self.now);
            }
        }
    }

    /// The bucket has everything that is synced.
    fn store(&mut self) {
        for key in self.synced.difference(&self.stored) {
            if let Some(receiver) = &mut self.receiver {
                let one = SeqRange { first: key.sequence, last: key.sequence };
                receiver.receipt_in(Durability::ObjectStore, key.prefix, one, self.now);
            }
        }
        if self.receiver.is_some() {
            self.stored = self.synced.clone();
        }
    }

    /// What may be erased on board.
    fn safe(&self) -> &BTreeSet<UnitKey> {
        if self.least == Durability::Local { &self.synced } else { &self.stored }
    }

    fn pass_time(&mut self, nanos: u64) {
        self.now += nanos;
        self.sender.handle_timeout(self.now);
        if let Some(receiver) = &mut self.receiver {
            receiver.handle_timeout(self.now);
        }
        self.talk();
    }

    fn heal(&mut self) {
        if self.receiver.is_none() {
            self.connect();
        }
        for _ in 0..200 {
            while self.send(true) {}
            self.sync();
            self.pass_time(60_000_000);
            self.store();
        }
    }
}

proptest! {
    #[test]
    fn nothing_receipted_is_missing_and_all_arrives_in_the_end(
        steps in prop::collection::vec((0u8..8, any::<u8>()), 0..120),
        refuse_every in prop_oneof![Just(0u64), 3u64..20],
        least in prop_oneof![Just(Durability::Local), Just(Durability::ObjectStore)],
    ) {
        let mut world = World::with(refuse_every, least);
        for (step, value) in steps {
            match step {
                0..=2 => (0..value % 9).for_each(|_| world.offer(usize::from(value % 2), value / 64)),
                3 if world.receiver.is_none() => world.connect(),
                3 | 4 if world.receiver.is_some() => { world.send(value % 4 != 0); }
                5 if value % 4 == 0 => world.store(),
                5 => world.sync(),
                6 => world.pass_time(u64::from(value) * 1_000_000),
                7 if value < 90 => world.cut(value < 60),
                _ => {}
            }
            world.talk();
            prop_assert!(world.reclaimable.is_subset(world.safe()), "freed, but not safe");
        }
        world.heal();
        // What a bucket had before a reconnect is told again: a receipt may have been lost.
        world.stored.clear();
        world.store();
        world.pass_time(COMMIT_NS);
        prop_assert_eq!(world.synced.len() as u64, world.next[0] + world.next[1]);
        prop_assert_eq!(&world.reclaimable, &world.synced);
        prop_assert_eq!(world.sender.backlog().units, 0);
        prop_assert_eq!(world.sender.backlog().bytes, 0);
    }
}

#[test]
fn the_most_urgent_goes_first_and_the_oldest_of_equals() {
    let mut world = World::new(0);
    world.offer(0, 1);
    world.offer(1, 9);
    world.offer(0, 1);
    world.offer(0, 5);
    world.connect();
    let order: Vec<(u32, SeqRange)> = core::iter::from_fn(|| world.sender.poll_object(Tai(0)))
        .map(|plan| (plan.prefix.channel.as_stream().unwrap(), plan.range))
        .collect();
    let range = |first, last| SeqRange { first, last };
    assert_eq!(order, [(1, range(0, 0)), (0, range(2, 2)), (0, range(0, 1))]);
}

#[test]
fn a_refusal_for_ever_is_not_sent_again_on_this_connection() {
    let mut world = World::new(0);
    world.offer(0, 1);
    world.connect();
    let plan = world.sender.poll_object(Tai(0)).unwrap();
    world.sender.object_done(plan.id);
    let receiver = world.receiver.as_mut().unwrap();
    receiver.refuse(plan.prefix, plan.range, RefusalReason::Forbidden, NEVER_MS);
    world.talk();
    world.pass_time(1 << 50);
    assert_eq!(world.sender.poll_object(Tai(0)), None);
    assert_eq!(world.sender.backlog().units, 1, "it stays on board");
    world.cut(false);
    world.connect();
    assert!(world.sender.poll_object(Tai(0)).is_some(), "a new connection may try again");
}

#[test]
fn a_void_takes_the_unit_out_and_names_the_object_to_reset() {
    let mut world = World::new(0);
    world.offer(0, 1);
    world.offer(0, 1);
    world.connect();
    let plan = world.sender.poll_object(Tai(0)).unwrap();
    let key = UnitKey { prefix: plan.prefix, sequence: 1 };
    assert_eq!(world.sender.withdraw(key), Some(plan.id));
    world.sender.object_failed(plan.id);
    let again = world.sender.poll_object(Tai(0)).unwrap();
    assert_eq!(again.range, SeqRange { first: 0, last: 0 });
}

#[test]
fn a_receipt_for_what_was_never_numbered_is_ignored() {
    let mut world = World::new(0);
    world.offer(0, 1);
    world.connect();
    let receiver = world.receiver.as_mut().unwrap();
    receiver.receipt(prefix(0), SeqRange { first: 0, last: u64::MAX }, 0);
    receiver.receipt(prefix(1), SeqRange { first: 0, last: 4 }, 0);
    world.pass_time(COMMIT_NS);
    assert_eq!(world.reclaimable.len(), 1);
}

/// A station that has the unit, in the class below the one that frees it.
fn world_with_one_held() -> World {
    let mut world = World::with(0, Durability::ObjectStore);
    world.offer(0, 1);
    world.connect();
    assert!(world.send(true));
    world.sync();
    world.pass_time(COMMIT_NS);
    assert_eq!((world.sender.backlog().units, world.reclaimable.len()), (1, 0));
    world
}

#[test]
fn what_a_ledger_holds_is_not_sent_to_it_again_but_to_another() {
    let mut world = world_with_one_held();
    world.cut(false);
    world.connect();
    assert!(!world.send(true), "the welcome says that it is there");
    world.cut(false);
    // A range that a welcome leaves out revokes nothing.
    let synced = core::mem::take(&mut world.synced);
    world.connect();
    assert!(!world.send(true));
    world.cut(false);
    world.ledger = 6;
    world.connect();
    assert!(world.send(true), "a new ledger has nothing of it");
    world.synced = synced;
    world.store();
    world.pass_time(COMMIT_NS);
    assert_eq!((world.sender.backlog().units, world.reclaimable.len()), (0, 1));
}

#[test]
fn a_store_that_restarts_remembers_what_a_ledger_holds() {
    let mut world = World::with(0, Durability::ObjectStore);
    let range = SeqRange { first: 0, last: 0 };
    world.sender.recall_next(prefix(0), 2);
    world.sender.recall_receipts(prefix(0), 5, Durability::Local, &[range].into_iter().collect());
    world.offer(0, 1);
    world.offer(0, 1);
    world.connect();
    assert!(world.send(true) && !world.send(true));
    assert_eq!(world.sendings.keys().map(|key| key.sequence).collect::<Vec<_>>(), [1]);
}

#[test]
fn an_ask_sends_again_on_the_same_connection_whatever_the_ledger_had_said() {
    let mut world = world_with_one_held();
    world.offer(0, 1);
    assert!(world.send(true));
    let whole = SeqRange { first: 0, last: 1 };
    world.receiver.as_mut().unwrap().ask(prefix(0), Vec::from([whole]));
    world.talk();
    let plan = world.sender.poll_object(Tai(0)).unwrap();
    assert_eq!(plan.range, whole);
}

#[test]
fn a_ledger_is_heard_out_once_its_plan_has_come_behind_what_it_asks_for() {
    let mut world = world_with_one_held();
    assert!(!world.sender.is_heard_out(), "it may yet ask");
    let receiver = world.receiver.as_mut().unwrap();
    receiver.ask(prefix(0), Vec::from([SeqRange { first: 0, last: 0 }]));
    receiver.plan(Vec::new());
    let (ask, plan) = (receiver.poll_control().unwrap(), receiver.poll_control().unwrap());
    world.sender.control_bytes(&ask, 0).unwrap();
    assert!(!world.sender.is_heard_out());
    world.sender.control_bytes(&plan, 0).unwrap();
    assert!(world.sender.is_heard_out() && world.sender.poll_object(Tai(0)).is_some());
    let told = core::iter::from_fn(|| world.sender.poll_event());
    let told: Vec<_> = told.collect();
    assert!(
        matches!(told[..], [SenderEvent::Asked { .. }]),
        "an empty plan replaces none: {told:?}"
    );
    // Cut off afterwards it was heard all the same; another connection begins anew.
    world.cut(false);
    assert!(world.sender.is_heard_out());
    world.connect();
    assert!(!world.sender.is_heard_out());
}

#[test]
fn a_refusal_for_a_time_outlasts_the_connection_but_not_the_ledger() {
    let mut world = World::new(1);
    world.offer(0, 1);
    world.connect();
    assert!(world.send(true));
    world.talk();
    world.cut(false);
    world.connect();
    assert!(!world.send(true), "its time has not come");
    world.cut(false);
    world.ledger = 6;
    world.connect();
    assert!(world.send(true), "another ledger has refused nothing");
    world.talk();
    world.pass_time(50_000_000);
    assert!(world.send(true), "its time has come");
}

#[test]
fn a_station_that_speaks_out_of_turn_ends_the_connection() {
    let mut world = World::new(0);
    world.connect();
    let hello = Message::Hello { session: 1, more: false, channels: Vec::new() }.encode();
    let out_of_turn = |world: &mut World, bytes: &[u8]| {
        matches!(world.sender.control_bytes(bytes, 0), Err(SenderError::OutOfTurn(_)))
    };
    assert!(out_of_turn(&mut world, &hello));
    let mut second = receiver(5);
    second.welcome(Tai(1), Vec::new());
    assert!(out_of_turn(&mut world, &second.poll_control().unwrap()));
}

#[test]
fn a_hello_of_any_size_is_one_that_a_station_takes() {
    for (counters, holes) in [(1, 200_000), (40, 5_000), (5_000, 3)] {
        let mut world = World::new(0);
        for stream in 0..counters {
            for at in 0..holes {
                let key = UnitKey { prefix: prefix(stream), sequence: 3 * at };
                let info = UnitInfo {
                    codec: Codec::Squeezed,
                    priority: 1,
                    length: 1,
                    annotated: false,
                    due: NO_DEADLINE,
                };
                world.sender.offer(key, info);
            }
        }
        world.sender.connected(1);
        let (mut receiver, mut bytes) = (receiver(5), 0);
        while let Some(page) = world.sender.poll_control() {
            bytes += page.len();
            receiver.control_bytes(&page).unwrap();
        }
        let Some(ReceiverEvent::Hello { channels, .. }) = receiver.poll_event() else {
            panic!("a whole hello")
        };
        let named: BTreeSet<_> = channels.iter().map(|of| of.held.channel).collect();
        assert_eq!(named.len(), (counters as usize).min(STATES_MAX), "{counters} counters");
        assert!(bytes < 2 << 20, "{bytes} bytes for {counters} counters");
    }
}

#[test]
fn an_object_is_annotated_whole_or_not_at_all() {
    let mut world = World::new(0);
    let annotated = [true, true, false, true];
    for (sequence, annotated) in (0..).zip(annotated) {
        let info = UnitInfo {
            codec: Codec::Squeezed,
            priority: 1,
            length: 100,
            annotated,
            due: NO_DEADLINE,
        };
        assert!(world.sender.offer(UnitKey { prefix: prefix(0), sequence }, info));
    }
    world.connect();
    let planned: Vec<_> = core::iter::from_fn(|| world.sender.poll_object(Tai(0)))
        .map(|plan| (plan.header.annotated, plan.range.count(), plan.header.length))
        .collect();
    assert_eq!(planned, [(true, 2, 2 * 124), (false, 1, 108), (true, 1, 124)]);
}
