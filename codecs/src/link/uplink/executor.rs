//! The spacecraft's side: each object begun at most once, each answered.
//!
//! ```text
//! receive ─► Begin (make the note durable) ─► begun ─► Execute ─► executed ─► Conclude ─► concluded
//!    ├─ refused, expired ───────────────────────────────────────────┘
//!    └─ a repeat: Tell, once its outcome is durable
//! ```
//!
//! One mutation, then drain [`Executor::poll_action`]. A note replaces the one before it in its
//! slot; the caller keeps notes where a power cut can't take half of one.

use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};
use bytes::Bytes;

use super::{
    ContentKind, Outcome, Refusal, UplinkCounter, UplinkKey,
    object::UplinkObject,
    window::{Mark, Place, Window},
};
use crate::{ids::SpacecraftId, time::Tai};

/// Counters that a spacecraft remembers. They are never forgotten to make room: what was executed
/// once could be executed again.
pub const COUNTERS_MAX: usize = 64;
/// Objects begun and not concluded at once; more are left to the ground's repetition.
pub const UNDER_WAY_MAX: usize = 16;

/// A small value to be kept: it replaces the one of its slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where it is kept.
    pub slot: u32,
    /// What to keep.
    pub bytes: Vec<u8>,
}

/// What the caller must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the note durable, then call [`Executor::begun`].
    Begin {
        /// Which object.
        key: UplinkKey,
        /// What to keep.
        note: Note,
    },
    /// Execute, then call [`Executor::executed`].
    Execute {
        /// Which object.
        key: UplinkKey,
        /// What it is.
        kind: ContentKind,
        /// Its content.
        body: Bytes,
    },
    /// Make the note and the outcome's record unit durable together, then call
    /// [`Executor::concluded`].
    Conclude {
        /// Which object.
        key: UplinkKey,
        /// What to keep.
        note: Note,
        /// What to tell.
        outcome: Outcome,
    },
    /// Send the outcome's record again: the ground does not hold it. There is nothing to note.
    Tell {
        /// Which object.
        key: UplinkKey,
        /// What to tell.
        outcome: Outcome,
    },
}

/// What became of a received object at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// New; actions follow.
    Taken,
    /// It is being executed; its outcome follows.
    UnderWay,
    /// It has its outcome, which is told again.
    Repeated,
    /// Its outcome was decided without executing it.
    Declined(Outcome),
    /// For another spacecraft: not ours to answer.
    NotOurs,
    /// Too much is under way; the ground will repeat it.
    Busy,
}

/// How far an object is that has no durable outcome.
#[derive(Debug)]
enum Stage {
    /// Its note is on the way to the disk.
    Beginning { kind: ContentKind, expires: Option<Tai>, body: Bytes },
    /// Handed out.
    Executing,
    /// Its outcome is on the way to the disk.
    Concluding,
}

/// State machine of a spacecraft's uplink.
#[derive(Debug)]
pub struct Executor {
    spacecraft: SpacecraftId,
    /// Each with the slot of its note.
    windows: BTreeMap<UplinkCounter, (u32, Window)>,
    next_slot: u32,
    under_way: BTreeMap<UplinkKey, Stage>,
    actions: VecDeque<Action>,
}

impl Executor {
    /// A machine that remembers what `notes` say. What they call begun is concluded as unknown:
    /// a crash came between, and whether it took effect can't be known.
    pub fn restore(spacecraft: SpacecraftId, notes: impl IntoIterator<Item = Note>) -> Self {
        let mut executor = Self {
            spacecraft,
            windows: BTreeMap::new(),
            next_slot: 0,
            under_way: BTreeMap::new(),
            actions: VecDeque::new(),
        };
        for Note { slot, bytes } in notes {
            executor.next_slot = executor.next_slot.max(slot.saturating_add(1));
            if let Some(window) = Window::decode(&bytes) {
                executor.windows.insert(window.counter().clone(), (slot, window));
            }
        }
        let mut cut = Vec::new();
        for (counter, (_, window)) in &executor.windows {
            let key = |sequence| UplinkKey { counter: counter.clone(), sequence };
            cut.extend(window.begun().map(key));
        }
        cut.into_iter().for_each(|key| executor.conclude(key, Outcome::Unknown));
        executor
    }

    /// Takes an object; `now` is trusted time, none while the spacecraft has none.
    pub fn receive(&mut self, object: UplinkObject, now: Option<Tai>) -> Received {
        let UplinkObject { key, kind, expires, body, .. } = object;
        if key.counter.spacecraft != self.spacecraft {
            return Received::NotOurs;
        }
        let window = self.windows.get(&key.counter).map(|(_, window)| window);
        match window.map_or(Place::New, |window| window.place(key.sequence)) {
            // An outcome is told only once it is durable: a crash before makes it another one.
            _ if self.under_way.contains_key(&key) => return Received::UnderWay,
            Place::Known(Mark::Begun) => return Received::UnderWay,
            Place::Known(Mark::Ended(outcome)) => {
                self.actions.push_back(Action::Tell { key, outcome });
                return Received::Repeated;
            }
            Place::Outside => return self.decline(key, Refusal::OutsideWindow),
            Place::New if window.is_none() && self.windows.len() >= COUNTERS_MAX => {
                return self.decline(key, Refusal::TooManyCounters);
            }
            Place::New => {}
        }
        if self.under_way.len() >= UNDER_WAY_MAX {
            return Received::Busy;
        }
        let declined = match (expires, now, ContentKind::from_byte(kind)) {
            (Some(_), None, _) => Outcome::Refused(Refusal::NoTrustedTime),
            (Some(expires), Some(now), _) if now >= expires => Outcome::Expired,
            (_, _, None) => Outcome::Refused(Refusal::Unsupported),
            (_, _, Some(kind)) => {
                let note = self.mark(&key, Mark::Begun);
                self.under_way.insert(key.clone(), Stage::Beginning { kind, expires, body });
                self.actions.push_back(Action::Begin { key, note });
                return Received::Taken;
            }
        };
        self.conclude(key, declined);
        Received::Declined(declined)
    }

    /// Answers what can't be remembered: nothing is noted, so that it costs no memory.
    fn decline(&mut self, key: UplinkKey, refusal: Refusal) -> Received {
        let outcome = Outcome::Refused(refusal);
        self.actions.push_back(Action::Tell { key, outcome });
        Received::Declined(outcome)
    }

    /// The note of [`Action::Begin`] is durable.
    pub fn begun(&mut self, key: &UplinkKey, now: Option<Tai>) {
        let Some(stage) = self.under_way.get_mut(key) else { return };
        let Stage::Beginning { kind, expires, body } = stage else { return };
        let (kind, expires, body) = (*kind, *expires, core::mem::take(body));
        // The sync may have taken its time.
        if expires.zip(now).is_some_and(|(expires, now)| now >= expires) {
            return self.conclude(key.clone(), Outcome::Expired);
        }
        *stage = Stage::Executing;
        self.actions.push_back(Action::Execute { key: key.clone(), kind, body });
    }

    /// The object of [`Action::Execute`] was executed, or refused by who should have.
    pub fn executed(&mut self, key: &UplinkKey, outcome: Outcome) {
        if matches!(self.under_way.get(key), Some(Stage::Executing)) {
            self.conclude(key.clone(), outcome);
        }
    }

    /// Note and record of [`Action::Conclude`] are durable.
    pub fn concluded(&mut self, key: &UplinkKey) {
        if matches!(self.under_way.get(key), Some(Stage::Concluding)) {
            self.under_way.remove(key);
        }
    }

    fn conclude(&mut self, key: UplinkKey, outcome: Outcome) {
        let note = self.mark(&key, Mark::Ended(outcome));
        self.under_way.insert(key.clone(), Stage::Concluding);
        self.actions.push_back(Action::Conclude { key, note, outcome });
    }

    fn mark(&mut self, key: &UplinkKey, mark: Mark) -> Note {
        let next = self.next_slot;
        let (slot, window) = self
            .windows
            .entry(key.counter.clone())
            .or_insert_with_key(|counter| (next, Window::new(counter.clone())));
        self.next_slot = next.max(slot.saturating_add(1));
        window.mark(key.sequence, mark);
        Note { slot: *slot, bytes: window.encode() }
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Objects begun and not concluded.
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Counters remembered.
    pub fn counters(&self) -> usize {
        self.windows.len()
    }
}
