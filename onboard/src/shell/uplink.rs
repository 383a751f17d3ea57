//! Uplink on board: what the machine asks for, carried into the store and back.
//!
//! Everything is staged in the store first; what was staged before a commit is durable after it.

use std::collections::{BTreeMap, VecDeque};

use codecs::{
    ids::{Channel, Codec, KeyPrefix, SpacecraftId, UnitKey},
    link::uplink::{
        Outcome, Refusal, UplinkKey,
        executor::{Action, Executor, Note, Received},
        object::UplinkObject,
        record::OutcomeRecord,
    },
    time::Tai,
};

use super::{
    Said,
    configs::Configs,
    models::{Answer, Keeper},
};
use crate::{
    pipeline::Pipeline,
    store::{Disk, Identity, NewUnit, State, Store, StoreError, Stored},
    triage,
    uplink::{Order, Policy, order},
};

/// Slot of the policy that a ground set, beside the machine's own from 0 on.
const POLICY_SLOT: u32 = u32::MAX;
/// From here on slots are others' than the machine's.
const FOREIGN_SLOTS: u32 = 0xff00_0000;
/// Outcomes whose record units are known, so that a repeat does not make another one.
const TOLD_MAX: usize = 1024;

/// What waits for a commit.
enum Staged {
    Begun(UplinkKey),
    Concluded(UplinkKey),
}

/// Everything that goes up, until it is answered.
pub struct Uplink {
    spacecraft: SpacecraftId,
    executor: Executor,
    /// In need of a place in the store.
    actions: VecDeque<Action>,
    staged: Vec<Staged>,
    details: BTreeMap<UplinkKey, String>,
    /// When each hold is over.
    holds: BTreeMap<UplinkKey, u64>,
    /// Records in the store, the oldest first.
    told: VecDeque<(UplinkKey, UnitKey)>,
    /// The ground's time and when it came.
    trusted: Option<(Tai, u64)>,
    /// A policy to be kept with the next conclusion.
    policy: Option<String>,
    /// What a person who watches is told.
    said: Vec<Said>,
    /// Kept units that were asked for, to be offered to the link.
    asked: Vec<Stored>,
}

impl Uplink {
    /// Remembers what the store kept; puts the policy in force that a ground set.
    pub fn recall(spacecraft: SpacecraftId, store: &Store<Disk>, pipeline: &mut Pipeline) -> Self {
        let mut notes = Vec::new();
        for (slot, bytes) in store.notes() {
            if slot == POLICY_SLOT {
                let text = String::from_utf8_lossy(bytes);
                match Policy::parse(&text) {
                    Ok(policy) => {
                        if let Err(error) = pipeline.set_policy(&policy) {
                            tracing::error!("the policy that was kept: {error}");
                        }
                    }
                    Err(error) => tracing::error!("the policy that was kept: {error}"),
                }
            } else if slot < FOREIGN_SLOTS {
                notes.push(Note { slot, bytes: bytes.to_vec() });
            }
        }
        Self {
            spacecraft,
            executor: Executor::restore(spacecraft, notes),
            actions: VecDeque::new(),
            staged: Vec::new(),
            details: BTreeMap::new(),
            holds: BTreeMap::new(),
            told: VecDeque::new(),
            trusted: None,
            policy: None,
            said: Vec::new(),
            asked: Vec::new(),
        }
    }

    /// Takes the ground's time.
    pub fn trust(&mut self, time: Tai, now_ns: u64) {
        self.trusted = Some((time, now_ns));
    }

    fn time(&self, now_ns: u64) -> Option<Tai> {
        self.trusted.map(|(time, at)| time.plus(now_ns.saturating_sub(at) as i64))
    }

    /// Takes an object.
    pub fn receive(&mut self, object: UplinkObject, now_ns: u64) {
        let key = object.key.clone();
        match self.executor.receive(object, self.time(now_ns)) {
            Received::NotOurs => tracing::warn!(%key, "uplink for another spacecraft"),
            Received::Busy => tracing::warn!(%key, "uplink while too much is under way"),
            received => tracing::info!(%key, ?received, "uplink"),
        }
    }

    /// Whether [`keep`](Self::keep) would do nothing.
    pub fn is_idle(&mut self, now_ns: u64) -> bool {
        self.actions.extend(self.executor.poll_action());
        self.actions.is_empty() && self.timeout().is_none_or(|due| due > now_ns)
    }

    /// When something is due.
    pub fn timeout(&self) -> Option<u64> {
        self.holds.values().min().copied()
    }

    /// Does what is due and brings what must be durable into the store. Whether a commit is wanted.
    pub fn keep(
        &mut self,
        store: &mut Store<Disk>,
        pipeline: &mut Pipeline,
        (models, configs): (&mut Keeper, &mut Configs),
        now_ns: u64,
    ) -> bool {
        let over: Vec<UplinkKey> =
            self.holds.iter().filter(|of| *of.1 <= now_ns).map(|of| of.0.clone()).collect();
        for key in over {
            self.holds.remove(&key);
            self.executor.executed(&key, Outcome::Done);
        }
        let mut staged = false;
        loop {
            while let Some(action) = self.executor.poll_action() {
                self.actions.push_back(action);
            }
            let Some(action) = self.actions.pop_front() else { break };
            match action {
                Action::Execute { key, kind, body } => {
                    let order = order(kind, &body);
                    let shell = (&mut *pipeline, &mut *models, &mut *configs);
                    self.execute(key, order, &body, store, shell, now_ns);
                }
                Action::Begin { key, note } => {
                    store.note(note.slot, note.bytes.into());
                    self.staged.push(Staged::Begun(key));
                    staged = true;
                }
                Action::Conclude { key, outcome, note } => {
                    let detail = self.details.get(&key).cloned().unwrap_or_default();
                    let time = self.time(now_ns);
                    if let Err(error) = self.tell(store, &key, outcome, detail, time) {
                        // No room before the next commit.
                        tracing::debug!("a record waits: {error}");
                        self.actions.push_front(Action::Conclude { key, outcome, note });
                        return true;
                    }
                    store.note(note.slot, note.bytes.into());
                    if let Some(policy) = self.policy.take() {
                        store.note(POLICY_SLOT, policy.into());
                    }
                    self.details.remove(&key);
                    self.staged.push(Staged::Concluded(key));
                    staged = true;
                }
                Action::Tell { key, outcome } => {
                    let record = self.told.iter().find(|of| of.0 == key).map(|of| of.1);
                    let on_its_way = record.and_then(|unit| store.state(unit));
                    if matches!(on_its_way, Some(State::New | State::Sent)) {
                        continue;
                    }
                    let time = self.time(now_ns);
                    // The ground repeats an object whose record found no room.
                    staged |= self.tell(store, &key, outcome, String::new(), time).is_ok();
                }
            }
        }
        staged
    }

    fn execute(
        &mut self,
        key: UplinkKey,
        order: Order,
        body: &[u8],
        store: &mut Store<Disk>,
        (pipeline, models, configs): (&mut Pipeline, &mut Keeper, &mut Configs),
        now_ns: u64,
    ) {
        let (outcome, detail) = match order {
            Order::Answer(text) => (Outcome::Done, text),
            Order::Decline(outcome, why) => (outcome, why),
            Order::Hold(nanos) => {
                self.said.push(Said::Holding { event: "holding", key: key.to_string() });
                self.holds.insert(key, now_ns.saturating_add(nanos));
                return;
            }
            Order::Set(policy) => match pipeline.set_policy(&policy) {
                Ok(()) => {
                    self.policy = Some(String::from_utf8_lossy(body).into_owned());
                    (Outcome::Done, "in force".into())
                }
                Err(error) => (Outcome::Refused(Refusal::Unsupported), error),
            },
            Order::Send(channel, range) => {
                let Identity { origin, epoch } = store.identity();
                let prefix = KeyPrefix { origin, epoch, spacecraft: self.spacecraft, channel };
                let again = store.ask(prefix, &[range].into_iter().collect());
                let detail = format!("{} of {} held", again.len(), range.count());
                self.asked.extend(again);
                (Outcome::Done, detail)
            }
            Order::Model(order) => match models.order(&order, Some(&key), pipeline) {
                Answer::Now(answer) => judged(answer),
                Answer::Later => return,
            },
            Order::Piece(piece) => judged(models.piece(&piece)),
            Order::Configure(text) => match configs.check(&key, text) {
                Ok(()) => return,
                Err(why) => (Outcome::Failed, why),
            },
            Order::Config(order) => judged(configs.order(order)),
        };
        self.conclude(key, outcome, detail);
    }

    /// A command that took its time is over.
    pub fn executed(&mut self, key: UplinkKey, answer: Result<String, String>) {
        let (outcome, detail) = judged(answer);
        self.conclude(key, outcome, detail);
    }

    fn conclude(&mut self, key: UplinkKey, outcome: Outcome, detail: String) {
        self.executor.executed(&key, outcome);
        self.details.insert(key, detail);
    }

    fn tell(
        &mut self,
        store: &mut Store<Disk>,
        key: &UplinkKey,
        outcome: Outcome,
        detail: String,
        time: Option<Tai>,
    ) -> Result<(), StoreError> {
        let time = time.unwrap_or(Tai(0));
        let record = OutcomeRecord { key: key.clone(), outcome, detail, time };
        let unit = store.append(NewUnit {
            spacecraft: self.spacecraft,
            channel: Channel::RECORDS,
            codec: Codec::Record,
            priority: triage::RECORDS,
            captured: time,
            deadline_s: 0,
            bytes: record.to_json().into_bytes().into(),
        })?;
        self.told.retain(|of| of.0 != *key);
        self.told.push_back((key.clone(), unit));
        if self.told.len() > TOLD_MAX {
            self.told.pop_front();
        }
        Ok(())
    }

    /// What a person who watches is told.
    pub fn take_said(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.said)
    }

    /// Units for the link that were asked for.
    pub fn take_asked(&mut self) -> Vec<Stored> {
        std::mem::take(&mut self.asked)
    }

    /// A commit succeeded: what was staged before it is durable. Whether anything was.
    pub fn committed(&mut self, now_ns: u64) -> bool {
        let (time, any) = (self.time(now_ns), !self.staged.is_empty());
        for staged in std::mem::take(&mut self.staged) {
            match staged {
                Staged::Begun(key) => self.executor.begun(&key, time),
                Staged::Concluded(key) => self.executor.concluded(&key),
            }
        }
        any
    }
}

fn judged(answer: Result<String, String>) -> (Outcome, String) {
    match answer {
        Ok(detail) => (Outcome::Done, detail),
        Err(why) => (Outcome::Failed, why),
    }
}
