//! Ground and spacecraft against each other: every crash between any two steps, and a wire that
//! loses, repeats and reorders.

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    string::String,
    vec::Vec,
};
use proptest::prelude::*;

use super::{
    super::{
        executor::{Action, Executor, Note},
        object::UplinkObject,
        queue::{CraftStore, REPEAT_NS, Standing, UplinkQueue},
        record::OutcomeRecord,
    },
    CRAFT, Outcome, UplinkKey, request,
};
use crate::{ids::StoreEpoch, time::Tai};

/// What the spacecraft's process still has to tell its machine; lost with a crash.
enum Callback {
    Begun(UplinkKey),
    Executed(UplinkKey, Outcome),
    Concluded(UplinkKey),
}

struct World {
    queue: UplinkQueue,
    /// The ground's log: what is synced, and what is not yet.
    log: Vec<UplinkObject>,
    /// In the log too, synced before the object is sent: which store it goes to.
    went: BTreeMap<UplinkKey, CraftStore>,
    /// In the log too: what went to a store that is gone.
    forgotten: Vec<UplinkKey>,
    unsynced: Vec<UplinkObject>,
    /// The ground's archive: records that arrived and are synced.
    archive: Vec<OutcomeRecord>,
    craft: Executor,
    /// Which store the spacecraft has; each formatting is another.
    store: u64,
    notes: BTreeMap<u32, Note>,
    /// Record units on board: durable, sent until receipted.
    records: Vec<OutcomeRecord>,
    callbacks: VecDeque<Callback>,
    wire: Vec<UplinkObject>,
    session: Option<u64>,
    sessions: u64,
    trusted: bool,
    mono: u64,
    tai: i64,
    /// When the note of each was durable: from there on it may run.
    begun: BTreeMap<UplinkKey, Tai>,
    executions: BTreeMap<UplinkKey, u32>,
}

impl World {
    fn new() -> Self {
        Self {
            queue: UplinkQueue::new("demo", 1),
            log: Vec::new(),
            went: BTreeMap::new(),
            forgotten: Vec::new(),
            store: 0,
            unsynced: Vec::new(),
            archive: Vec::new(),
            craft: Executor::restore(CRAFT, []),
            notes: BTreeMap::new(),
            records: Vec::new(),
            callbacks: VecDeque::new(),
            wire: Vec::new(),
            session: None,
            sessions: 0,
            trusted: false,
            mono: 0,
            tai: 0,
            begun: BTreeMap::new(),
            executions: BTreeMap::new(),
        }
    }

    fn time(&self) -> Option<Tai> {
        self.trusted.then_some(Tai(self.tai))
    }

    fn submit(&mut self, value: u8) {
        let expires = value.is_multiple_of(3).then(|| Tai(self.tai + 1 + i64::from(value)));
        if let Ok(object) = self.queue.submit(request(value / 64, expires), Tai(self.tai)) {
            self.unsynced.push(object);
        }
    }

    fn sync_ground(&mut self) {
        for object in core::mem::take(&mut self.unsynced) {
            self.queue.numbered(&object.key);
            self.log.push(object);
        }
    }

    /// `kept` of the unsynced objects had reached the disk all the same.
    fn crash_ground(&mut self, kept: usize) {
        self.cut();
        let unsynced = core::mem::take(&mut self.unsynced);
        self.log.extend(unsynced.into_iter().take(kept));
        self.queue = UplinkQueue::new("demo", 1);
        self.log.iter().for_each(|object| self.queue.recall(object.clone()));
        self.went.iter().for_each(|(key, store)| self.queue.recall_went(key, *store));
        self.forgotten.iter().for_each(|key| self.queue.recall_forgotten(key, 4, Tai(self.tai)));
        for record in &self.archive {
            self.queue.answered(record);
        }
    }

    fn connect(&mut self) {
        self.cut();
        self.sessions += 1;
        self.session = Some(self.sessions);
        self.trusted = true;
    }

    fn cut(&mut self) {
        if let Some(session) = self.session.take() {
            self.queue.disconnected(session);
        }
    }

    /// Writes the next object to a stream; `lost` never arrives, and the ground may or may not
    /// learn of it.
    fn send(&mut self, value: u8) -> bool {
        let Some(session) = self.session else { return false };
        let (store, tai) = (Some(StoreEpoch(self.store)), Tai(self.tai));
        while let Some(key) = self.queue.poll_forgotten(store, |_| true, tai) {
            self.forgotten.push(key);
        }
        let next = self.queue.poll_object(session, store, |_| true, self.mono, tai);
        let Some(object) = next else { return false };
        if self.queue.is_new(&object.key) {
            self.went.insert(object.key.clone(), store);
            self.queue.went(&object.key, store);
        }
        match value % 4 {
            0 => self.queue.object_failed(&object.key, session),
            // Lost after it was acknowledged: the spacecraft crashed with it.
            1 => self.queue.object_done(&object.key, session, self.mono),
            // On the wire, and the ground thinks that it failed.
            2 => {
                self.queue.object_failed(&object.key, session);
                self.wire.push(object);
            }
            _ => {
                self.queue.object_done(&object.key, session, self.mono);
                self.wire.push(object);
            }
        }
        true
    }

    /// One of the objects on the wire arrives, out of order, and perhaps again later.
    fn arrive(&mut self, value: u8) {
        if self.wire.is_empty() {
            return;
        }
        let at = usize::from(value) % self.wire.len();
        let object = match value % 5 {
            0 => self.wire[at].clone(),
            _ => self.wire.swap_remove(at),
        };
        self.craft.receive(object, self.time());
    }

    /// The spacecraft goes one step on; a crash may come before the next.
    fn step(&mut self) -> bool {
        if let Some(callback) = self.callbacks.pop_front() {
            match callback {
                Callback::Begun(key) => {
                    self.craft.begun(&key, self.time());
                    self.begun.insert(key, Tai(self.tai));
                }
                Callback::Executed(key, outcome) => self.craft.executed(&key, outcome),
                Callback::Concluded(key) => self.craft.concluded(&key),
            }
            return true;
        }
        let tai = Tai(self.tai);
        let record = |key: &UplinkKey, outcome| OutcomeRecord {
            key: key.clone(),
            outcome,
            detail: String::new(),
            time: tai,
        };
        match self.craft.poll_action() {
            None => return false,
            Some(Action::Begin { key, note }) => {
                self.notes.insert(note.slot, note);
                self.callbacks.push_back(Callback::Begun(key));
            }
            Some(Action::Execute { key, .. }) => {
                let object =
                    self.log.iter().find(|object| object.key == key).expect("it is logged");
                let in_time = |expires| self.begun[&key] < expires;
                assert!(object.expires.is_none_or(in_time), "begun too late");
                *self.executions.entry(key.clone()).or_default() += 1;
                let outcome = if key.sequence % 4 == 3 { Outcome::Failed } else { Outcome::Done };
                self.callbacks.push_back(Callback::Executed(key, outcome));
            }
            Some(Action::Conclude { key, note, outcome }) => {
                self.notes.insert(note.slot, note);
                self.records.push(record(&key, outcome));
                self.callbacks.push_back(Callback::Concluded(key));
            }
            Some(Action::Tell { key, outcome }) => self.records.push(record(&key, outcome)),
        }
        true
    }

    fn crash_craft(&mut self) {
        self.cut();
        self.callbacks.clear();
        self.trusted = false;
        self.craft = Executor::restore(CRAFT, self.notes.values().cloned());
    }

    /// The spacecraft loses its store, with all that it remembers and has not told yet.
    fn format_craft(&mut self) {
        self.store += 1;
        self.notes.clear();
        self.wire.clear();
        self.records.retain(|record| self.archive.contains(record));
        self.crash_craft();
    }

    /// A record unit arrives and is archived; some come twice.
    fn downlink(&mut self, value: u8) {
        if self.records.is_empty() {
            return;
        }
        let at = usize::from(value) % self.records.len();
        let record = self.records[at].clone();
        self.queue.answered(&record);
        self.archive.push(record);
    }

    fn check(&self) {
        assert!(self.executions.values().all(|count| *count <= 1), "executed twice");
        let mut outcomes: BTreeMap<&UplinkKey, BTreeSet<Outcome>> = BTreeMap::new();
        for record in &self.records {
            outcomes.entry(&record.key).or_default().insert(record.outcome);
        }
        assert!(outcomes.values().all(|told| told.len() == 1), "two outcomes of one object");
    }

    fn heal(&mut self) {
        self.sync_ground();
        self.connect();
        for _ in 0..40 {
            while self.send(3) {}
            while let Some(object) = self.wire.pop() {
                self.craft.receive(object, self.time());
                while self.step() {}
            }
            while self.step() {}
            (0..self.records.len()).for_each(|at| {
                let record = self.records[at].clone();
                self.queue.answered(&record);
            });
            self.mono += REPEAT_NS;
            self.tai += 1;
        }
        self.queue.expire(Tai(self.tai + 1000));
        self.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn nothing_is_executed_twice_and_everything_is_answered_once(
        steps in prop::collection::vec((0u8..12, any::<u8>()), 0..160),
    ) {
        let mut world = World::new();
        for (step, value) in steps {
            match step {
                0 => world.submit(value),
                1 => world.sync_ground(),
                2 if value < 40 => world.crash_ground(usize::from(value % 3)),
                3 => world.connect(),
                4 if value < 60 => world.cut(),
                5 | 6 => { world.send(value); }
                7 => world.arrive(value),
                8 | 9 => { world.step(); }
                10 if value < 60 => world.crash_craft(),
                10 if value < 80 => world.format_craft(),
                10 => world.downlink(value),
                11 => {
                    world.tai += i64::from(value);
                    world.mono += u64::from(value) * REPEAT_NS / 64;
                }
                _ => {}
            }
            world.check();
        }
        world.heal();
        let told: BTreeSet<&UplinkKey> = world.records.iter().map(|record| &record.key).collect();
        for queued in world.queue.objects() {
            let key = &queued.object.key;
            let executed = world.executions.get(key).copied().unwrap_or(0);
            let Standing::Ended(outcome, by_record) = queued.standing else {
                panic!("{key} has no outcome: {:?}", queued.standing);
            };
            prop_assert_eq!(by_record, told.contains(key), "{}: a record beats a verdict", key);
            match outcome {
                Outcome::Done | Outcome::Failed => prop_assert_eq!(executed, 1),
                Outcome::Expired | Outcome::Refused(_) => prop_assert_eq!(executed, 0),
                Outcome::Unknown => {}
            }
        }
        let logged: BTreeSet<&UplinkKey> = world.log.iter().map(|object| &object.key).collect();
        prop_assert_eq!(world.queue.objects().count(), logged.len(), "each has one outcome");
        prop_assert!(world.executions.keys().all(|key| logged.contains(key)), "sent unsynced");
    }
}

/// The negative control: a spacecraft that executes before `begun` is durable does it twice.
#[test]
fn without_the_sync_before_execution_a_crash_executes_twice() {
    let mut world = World::new();
    world.submit(1);
    world.sync_ground();
    world.connect();
    let mut executions = 0;
    for _ in 0..2 {
        assert!(world.send(3));
        let object = world.wire.pop().expect("it was sent");
        world.craft.receive(object, world.time());
        // The note is dropped instead of synced.
        let Some(Action::Begin { key, .. }) = world.craft.poll_action() else { panic!("begin") };
        world.craft.begun(&key, world.time());
        executions += u32::from(matches!(world.craft.poll_action(), Some(Action::Execute { .. })));
        world.crash_craft();
        world.connect();
    }
    assert_eq!(executions, 2);
}

/// The negative control: a ground that does not look at the store sends to one that has forgotten.
#[test]
fn without_a_look_at_the_store_a_formatted_one_executes_again() {
    for (looks, wanted) in [(false, 2), (true, 1)] {
        let mut world = World::new();
        world.submit(1);
        world.sync_ground();
        let mut executions = 0;
        for _ in 0..2 {
            world.connect();
            world.send(3);
            while let Some(object) = world.wire.pop() {
                world.craft.receive(object, world.time());
            }
            while world.step() {}
            executions = world.executions.values().sum();
            world.format_craft();
            if !looks {
                world.store = 0;
            }
        }
        assert_eq!(executions, wanted);
        let told: Vec<Standing> = world.queue.objects().map(|queued| queued.standing).collect();
        let ended = Standing::Ended(Outcome::Unknown, false);
        assert_eq!(told == [ended], looks, "{told:?}");
    }
}
