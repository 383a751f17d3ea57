//! The ground's side: objects numbered durably, sent in every contact until their record is held.
//!
//! ```text
//! submit ─► (caller syncs the object) ─► numbered ─► ready ─► under way ─► sent ─► ended
//!                                                      ▲         │ failed    │ session over,
//!                                                      └─────────┴───────────┘ time to repeat
//! ```
//!
//! An object is bound to the store on board that it went to first, which remembers what was begun.
//! A spacecraft that comes back with another store has forgotten: the object is not tried there, its
//! outcome is unknown. A record of the spacecraft beats the ground's own verdict, whichever comes
//! first. Times are monotonic nanoseconds beside the station's TAI.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString as _},
    vec::Vec,
};
use bytes::Bytes;
use core::cmp::Reverse;

use super::object::HEADER_BYTES;
use super::{
    ContentKind, MAX_BODY_BYTES, MAX_DOMAIN_BYTES, Outcome, UplinkCounter, UplinkKey, WINDOW,
    object::UplinkObject, record::OutcomeRecord,
};
use crate::{
    ids::{SpacecraftId, StoreEpoch},
    time::Tai,
};

/// Bytes of content that may wait for their outcomes.
pub const WAITING_BYTES_MAX: usize = 64 << 20;
/// Objects that ended and are still listed; the oldest are forgotten.
pub const ENDED_MAX: usize = 1024;
/// An object that arrived and is not answered goes again after this long, on the same session.
pub const REPEAT_NS: u64 = 30_000_000_000;

/// The store behind a session, as its hello names it; none where the hello names none.
pub type CraftStore = Option<StoreEpoch>;

/// What an operator reads of an object that no one can tell of any more.
const FORGOTTEN: &str = "what remembered it is gone: the spacecraft's store, or a part of the log \
                         here; whether it was executed is not known, and it is not sent again";

/// A connection, as the caller numbers it.
pub type SessionNumber = u64;

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who shall do it.
    pub spacecraft: SpacecraftId,
    /// What the content is.
    pub kind: ContentKind,
    /// Higher first.
    pub priority: u8,
    /// Not to be begun from here on.
    pub expires: Option<Tai>,
    /// The content.
    pub body: Bytes,
}

/// Why an object is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// More than an object may hold.
    #[error("{0} bytes of content are above the bound of {MAX_BODY_BYTES}; send it in parts")]
    TooLong(usize),
    /// Its time is over already.
    #[error("it expires before it could be sent; give it more time")]
    Expired,
    /// The window is full.
    #[error(
        "{WINDOW} objects of this kind have no outcome yet for spacecraft {0}; wait for them, or \
         for their expiry"
    )]
    WindowFull(u16),
    /// Too much content waits.
    #[error(
        "content of {WAITING_BYTES_MAX} bytes waits for outcomes; wait for some of them, or for \
         their expiry"
    )]
    Full,
}

/// Where an object stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// On its way to the disk; not announced, not sent.
    Recording,
    /// Waits for a session.
    Queued,
    /// On a stream of this session.
    UnderWay(SessionNumber),
    /// Arrived on this session; waits for its record.
    Sent(SessionNumber, u64),
    /// It has its outcome: the spacecraft's, or (`false`) the ground's own: it expired, or its store
    /// is gone.
    Ended(Outcome, bool),
}

/// An object with its life so far.
#[derive(Clone, Debug)]
pub struct Queued {
    /// The object; its content is let go once it ended.
    pub object: UplinkObject,
    /// Bytes of its content.
    pub bytes: usize,
    /// Where it stands.
    pub standing: Standing,
    /// Times that it was handed to a session, since the start of this process.
    pub attempts: u32,
    /// Whether a process before may have sent it.
    pub recalled: bool,
    /// The store that it went to; none while it went nowhere.
    pub went: Option<CraftStore>,
    /// What the spacecraft said.
    pub detail: String,
    /// Onboard time of the outcome.
    pub ended: Option<Tai>,
}

impl Queued {
    /// Whether it has no outcome yet.
    fn is_open(&self) -> bool {
        !matches!(self.standing, Standing::Ended(..))
    }
}

/// State machine of a ledger's uplink.
#[derive(Debug)]
pub struct UplinkQueue {
    domain: String,
    ledger: u64,
    objects: BTreeMap<UplinkKey, Queued>,
    next: BTreeMap<UplinkCounter, u64>,
    bytes: usize,
    /// Records that named no object of ours, or said another outcome than the first.
    strays: u64,
}

impl UplinkQueue {
    /// An empty queue of a ledger.
    ///
    /// # Panics
    /// When the domain's name is longer than [`MAX_DOMAIN_BYTES`].
    pub fn new(domain: &str, ledger: u64) -> Self {
        assert!(domain.len() <= MAX_DOMAIN_BYTES, "a mission's domain is checked when it is read");
        Self {
            domain: domain.to_string(),
            ledger,
            objects: BTreeMap::new(),
            next: BTreeMap::new(),
            bytes: 0,
            strays: 0,
        }
    }

    /// Numbers an object. The caller makes it durable, then calls [`numbered`](Self::numbered);
    /// where that fails, [`abandon`](Self::abandon).
    pub fn submit(&mut self, request: Request, now: Tai) -> Result<UplinkObject, SubmitError> {
        let Request { spacecraft, kind, priority, expires, body } = request;
        if body.len() > MAX_BODY_BYTES {
            return Err(SubmitError::TooLong(body.len()));
        }
        if expires.is_some_and(|expires| expires <= now) {
            return Err(SubmitError::Expired);
        }
        if self.bytes + body.len() > WAITING_BYTES_MAX {
            return Err(SubmitError::Full);
        }
        let counter = UplinkCounter {
            domain: self.domain.clone(),
            ledger: self.ledger,
            spacecraft,
            channel: kind.channel(),
        };
        let sequence = self.next.get(&counter).copied().unwrap_or(0);
        // The spacecraft must still remember the oldest one that waits for its outcome.
        let oldest = self.unanswered(&counter).next();
        if oldest.is_some_and(|oldest| sequence - oldest >= WINDOW) {
            return Err(SubmitError::WindowFull(spacecraft.0));
        }
        self.next.insert(counter.clone(), sequence + 1);
        let key = UplinkKey { counter, sequence };
        let object = UplinkObject { key, kind: kind as u8, priority, created: now, expires, body };
        self.insert(object.clone(), Standing::Recording, false);
        Ok(object)
    }

    fn insert(&mut self, object: UplinkObject, standing: Standing, recalled: bool) {
        let bytes = object.body.len();
        self.bytes += bytes;
        let queued = Queued {
            object,
            bytes,
            standing,
            attempts: 0,
            recalled,
            went: None,
            detail: String::new(),
            ended: None,
        };
        self.objects.insert(queued.object.key.clone(), queued);
    }

    /// Sequences of a counter that no record answers: the spacecraft may still be asked about them.
    fn unanswered(&self, counter: &UplinkCounter) -> impl Iterator<Item = u64> + '_ {
        let first = UplinkKey { counter: counter.clone(), sequence: 0 };
        let last = UplinkKey { sequence: u64::MAX, ..first.clone() };
        self.objects
            .range(first..=last)
            .filter(|(_, queued)| queued.is_open())
            .map(|(key, _)| key.sequence)
    }

    /// The object is durable: it may be announced and sent.
    pub fn numbered(&mut self, key: &UplinkKey) {
        if let Some(queued) = self.objects.get_mut(key)
            && queued.standing == Standing::Recording
        {
            queued.standing = Standing::Queued;
        }
    }

    /// The object could not be made durable: it was never sent, and its number is not used again.
    pub fn abandon(&mut self, key: &UplinkKey) {
        let recording = |queued: &&Queued| queued.standing == Standing::Recording;
        if self.objects.get(key).filter(recording).is_some()
            && let Some(queued) = self.objects.remove(key)
        {
            self.bytes -= queued.bytes;
        }
    }

    /// Recalls a durable object at start, before any record.
    pub fn recall(&mut self, object: UplinkObject) {
        let next = self.next.entry(object.key.counter.clone()).or_default();
        *next = (*next).max(object.key.sequence.saturating_add(1));
        if !self.objects.contains_key(&object.key) {
            self.insert(object, Standing::Queued, true);
        }
    }

    /// Recalls how far a counter had come, where its objects are forgotten.
    pub fn recall_next(&mut self, counter: UplinkCounter, sequence: u64) {
        let next = self.next.entry(counter).or_default();
        *next = (*next).max(sequence);
    }

    /// Recalls an outcome at start, of an object that was recalled before; `bytes` had its content.
    pub fn recall_outcome(&mut self, record: &OutcomeRecord, bytes: usize) {
        self.answered(record);
        if let Some(queued) = self.objects.get_mut(&record.key) {
            queued.bytes = bytes;
        }
    }

    /// Takes a record out of the archive; whether it told something new, which is then to be kept.
    pub fn answered(&mut self, record: &OutcomeRecord) -> bool {
        let Some(queued) = self.objects.get_mut(&record.key) else {
            self.strays += 1;
            return false;
        };
        match queued.standing {
            // The first record stands: the same again says nothing new.
            Standing::Ended(first, true) => {
                self.strays += u64::from(first != record.outcome);
                false
            }
            _ => {
                queued.detail.clone_from(&record.detail);
                queued.ended = Some(record.time);
                self.end(&record.key, record.outcome, true);
                true
            }
        }
    }

    fn end(&mut self, key: &UplinkKey, outcome: Outcome, by_record: bool) {
        if let Some(queued) = self.objects.get_mut(key) {
            queued.standing = Standing::Ended(outcome, by_record);
            self.bytes -= queued.object.body.len();
            queued.object.body = Bytes::new();
        }
        let ended =
            |(_, queued): &(&UplinkKey, &Queued)| matches!(queued.standing, Standing::Ended(..));
        if self.objects.iter().filter(ended).count() > ENDED_MAX {
            let oldest = self.objects.iter().filter(ended);
            let oldest = oldest.min_by_key(|(_, queued)| queued.object.created);
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                self.objects.remove(&key);
            }
        }
    }

    /// Recalls at start where an object went.
    pub fn recall_went(&mut self, key: &UplinkKey, store: CraftStore) {
        if let Some(queued) = self.objects.get_mut(key) {
            queued.went = Some(store);
        }
    }

    /// Recalls at start that what remembered an object is gone; `bytes` had its content.
    pub fn recall_forgotten(&mut self, key: &UplinkKey, bytes: usize, at: Tai) {
        let by_record = |queued: &Queued| matches!(queued.standing, Standing::Ended(_, true));
        if self.objects.get(key).is_none_or(by_record) {
            return;
        }
        self.forget(key, at);
        if let Some(queued) = self.objects.get_mut(key) {
            queued.bytes = bytes;
        }
    }

    fn forget(&mut self, key: &UplinkKey, at: Tai) {
        if let Some(queued) = self.objects.get_mut(key) {
            queued.detail = FORGOTTEN.to_string();
            queued.ended = Some(at);
        }
        self.end(key, Outcome::Unknown, false);
    }

    /// Ends as unknown what went to another store than the one that these spacecraft have now; the
    /// caller keeps that and tells the operator. What another session still carries is left to it.
    pub fn poll_forgotten(
        &mut self,
        store: CraftStore,
        spacecraft: impl Fn(SpacecraftId) -> bool,
        tai: Tai,
    ) -> Option<UplinkKey> {
        // What was sent and then expired was perhaps begun in time.
        let unheld = [Standing::Queued, Standing::Ended(Outcome::Expired, false)];
        let gone = |queued: &&Queued| {
            unheld.contains(&queued.standing)
                && queued.went.is_some_and(|went| went != store)
                && spacecraft(queued.object.key.counter.spacecraft)
        };
        let key = self.objects.values().find(gone)?.object.key.clone();
        self.forget(&key, tai);
        Some(key)
    }

    /// The next object for a session that reaches these spacecraft: the most urgent, of equals the
    /// oldest. One that [went](Queued::went) nowhere yet may go only after the caller has made
    /// durable where to, and has called [`went`](Self::went).
    pub fn poll_object(
        &mut self,
        session: SessionNumber,
        store: CraftStore,
        spacecraft: impl Fn(SpacecraftId) -> bool,
        now: u64,
        tai: Tai,
    ) -> Option<UplinkObject> {
        self.poll_object_within(session, store, spacecraft, usize::MAX, now, tai)
    }

    /// The same of what has at most so many bytes, encoded.
    pub fn poll_object_within(
        &mut self,
        session: SessionNumber,
        store: CraftStore,
        spacecraft: impl Fn(SpacecraftId) -> bool,
        bytes_max: usize,
        now: u64,
        tai: Tai,
    ) -> Option<UplinkObject> {
        self.expire(tai);
        let bytes = |object: &UplinkObject| {
            HEADER_BYTES + object.key.counter.domain.len() + object.body.len()
        };
        let due = |queued: &Queued| match queued.standing {
            Standing::Queued => true,
            Standing::Sent(on, at) => on == session && now >= at.saturating_add(REPEAT_NS),
            _ => false,
        };
        let next = self
            .objects
            .values_mut()
            .filter(|queued| due(queued) && queued.went.is_none_or(|went| went == store))
            .filter(|queued| spacecraft(queued.object.key.counter.spacecraft))
            .filter(|queued| bytes(&queued.object) <= bytes_max)
            .min_by_key(|queued| (Reverse(queued.object.priority), queued.object.created))?;
        next.standing = Standing::UnderWay(session);
        next.attempts = next.attempts.saturating_add(1);
        Some(next.object.clone())
    }

    /// Whether an object went nowhere yet.
    pub fn is_new(&self, key: &UplinkKey) -> bool {
        self.objects.get(key).is_some_and(|queued| queued.went.is_none())
    }

    /// It is durable that the object goes to this store, and to no other.
    pub fn went(&mut self, key: &UplinkKey, store: CraftStore) {
        if let Some(queued) = self.objects.get_mut(key) {
            queued.went.get_or_insert(store);
        }
    }

    /// The object's stream was acknowledged to its end; its record is awaited.
    pub fn object_done(&mut self, key: &UplinkKey, session: SessionNumber, now: u64) {
        self.leave_stream(key, session, Standing::Sent(session, now));
    }

    /// The object's stream failed; it goes again.
    pub fn object_failed(&mut self, key: &UplinkKey, session: SessionNumber) {
        self.leave_stream(key, session, Standing::Queued);
    }

    fn leave_stream(&mut self, key: &UplinkKey, session: SessionNumber, to: Standing) {
        if let Some(queued) = self.objects.get_mut(key)
            && queued.standing == Standing::UnderWay(session)
        {
            queued.standing = to;
        }
    }

    /// A session ended: what it carried and is not answered goes again in the next.
    pub fn disconnected(&mut self, session: SessionNumber) {
        for queued in self.objects.values_mut() {
            if matches!(queued.standing, Standing::UnderWay(on) | Standing::Sent(on, _) if on == session)
            {
                queued.standing = Standing::Queued;
            }
        }
    }

    /// Ends what has expired without an answer: it is not sent any more, whatever the spacecraft's
    /// own clock would say.
    pub fn expire(&mut self, tai: Tai) {
        let late = |queued: &Queued| {
            queued.is_open()
                && queued.standing != Standing::Recording
                && queued.object.expires.is_some_and(|expires| expires <= tai)
        };
        let late: Vec<UplinkKey> =
            self.objects.iter().filter(|of| late(of.1)).map(|(key, _)| key.clone()).collect();
        for key in late {
            if let Some(queued) = self.objects.get_mut(&key) {
                let sent = queued.attempts > 0 || queued.recalled;
                queued.detail = match sent {
                    true => "not answered before its expiry".to_string(),
                    false => "no contact before its expiry; never sent".to_string(),
                };
                queued.ended = queued.object.expires;
            }
            self.end(&key, Outcome::Expired, false);
        }
    }

    /// When something must be repeated or has expired, as (monotonic, TAI).
    pub fn timeout(&self, session: SessionNumber) -> (Option<u64>, Option<Tai>) {
        let repeat = self.objects.values().filter_map(|queued| match queued.standing {
            Standing::Sent(on, at) if on == session => Some(at.saturating_add(REPEAT_NS)),
            _ => None,
        });
        let open = self.objects.values().filter(|queued| queued.is_open());
        (repeat.min(), open.filter_map(|queued| queued.object.expires).min())
    }

    /// Every object that is announced, with its life.
    pub fn objects(&self) -> impl Iterator<Item = &Queued> {
        self.objects.values().filter(|queued| queued.standing != Standing::Recording)
    }

    /// How far each counter has come.
    pub fn counters(&self) -> impl Iterator<Item = (&UplinkCounter, u64)> {
        self.next.iter().map(|(counter, next)| (counter, *next))
    }

    /// Records that named no object of ours, or contradicted an earlier one.
    pub fn strays(&self) -> u64 {
        self.strays
    }
}
