//! When to send, and over a radio also what: the contact plan and what it is worth.
//!
//! ```text
//! plan (file, ground) ─┐
//! trusted time ────────┴─► sleep ─► wait ─► acquire ─► send ─► drain ─► sleep
//! ```
//!
//! A plan is believed only by a time that a ground vouched for. Without one, and once every
//! contact of the plan is over, the spacecraft keeps trying.

pub mod radio;
pub mod supply;
mod series;

use bytes::Bytes;
use codecs::{
    link::wire::{Message, PlannedContact},
    time::Tai,
};
use serde::Deserialize;

/// Most contacts kept of a plan, the next ones: about a week.
pub const CONTACTS_MAX: usize = 64;

const SECOND_NS: i64 = 1_000_000_000;
/// How long before a rise a bearer gets ready.
const WAIT_NS: i64 = 30 * SECOND_NS;
/// How long before a set nothing new is begun.
const DRAIN_NS: i64 = 2 * SECOND_NS;
/// How far trusted time may be off when it comes: light time, modems, queues.
const MARGIN_NS: i64 = 2 * SECOND_NS;
/// Part of its age by which it is off later: a bad crystal's 100 ppm.
const DRIFT: u64 = 10_000;
/// How long a station that was heard counts as there.
const HEARD_NS: u64 = 30_000_000_000;
/// How often the state is looked at while there is contact, and otherwise.
const LOOK_NS: [u64; 2] = [1_000_000_000, 10_000_000_000];

/// What carries units down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bearer {
    /// A connection.
    Quic,
    /// Frames over a radio.
    Rf,
}

/// A contact of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// When, and how fast; a rate of 0 is not known.
    pub planned: PlannedContact,
    /// With whom, for people.
    pub station: String,
    /// Over what; none: over all.
    pub bearer: Option<Bearer>,
}

/// Where a bearer stands between one contact and the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// No contact soon.
    Sleep,
    /// A rise is near.
    Wait,
    /// In contact, or perhaps: nobody was heard yet.
    #[default]
    Acquire,
    /// A station is there.
    Send,
    /// The set is near: nothing new is begun.
    Drain,
}

impl Phase {
    /// Whether anything is to leave.
    pub const fn sends(self) -> bool {
        matches!(self, Self::Acquire | Self::Send | Self::Drain)
    }

    /// Whether a unit is to be begun.
    pub const fn begins(self) -> bool {
        matches!(self, Self::Acquire | Self::Send)
    }
}

/// What a bearer is to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stand {
    /// Where it stands.
    pub phase: Phase,
    /// Predicted rate of the contact, bit/s; 0 where none is known.
    pub rate_bps: u64,
}

/// Who may be reached now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Nobody: what is made now waits for a contact.
    Nobody,
    /// Perhaps somebody: a radio sends, and nothing says whether anyone listens.
    Perhaps,
    /// A station, heard or planned.
    #[default]
    Station,
}

/// What silence of the ground makes time and plan doubtful: either of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Doubt {
    /// Nanoseconds of it, wherever the plan's contacts are; none: never.
    pub silence_ns: Option<u64>,
    /// Contacts of the plan that passed whole within it; none: never.
    pub missed: Option<usize>,
}

impl Doubt {
    /// Seconds of silence, unless configured.
    pub const SILENCE_S: u64 = 86_400;
    /// Missed contacts, unless configured: stations are away for maintenance too.
    pub const MISSED: u64 = 6;

    /// As configured; 0 stands for never.
    pub fn new(silence_s: Option<u64>, missed: Option<u64>) -> Self {
        let silence_s = Some(silence_s.unwrap_or(Self::SILENCE_S)).filter(|of| *of > 0);
        let missed = Some(missed.unwrap_or(Self::MISSED)).filter(|of| *of > 0);
        Self {
            silence_ns: silence_s.map(|of| of.saturating_mul(SECOND_NS as u64)),
            missed: missed.map(|of| usize::try_from(of).unwrap_or(usize::MAX)),
        }
    }
}

/// The contact plan with the time that it is read by.
#[derive(Debug, Default)]
pub struct Downlink {
    doubt: Doubt,
    filed: Vec<Contact>,
    told: Vec<Contact>,
    trusted: Option<(Tai, u64)>,
    /// When a station was last heard, by bearer.
    heard_ns: [Option<u64>; 2],
    due_ns: u64,
}

impl Downlink {
    /// Goes by `filed` until the ground tells a plan.
    pub fn new(mut filed: Vec<Contact>) -> Self {
        filed.sort_by_key(|of| of.planned.rise);
        Self { filed, ..Self::default() }
    }

    /// Doubts time and plan so; never unless told.
    pub fn with_doubt(mut self, doubt: Doubt) -> Self {
        self.doubt = doubt;
        self
    }

    /// Takes trusted time; each one stands in the place of those before, however far it jumps.
    pub fn trust(&mut self, time: Tai, now_ns: u64) {
        self.trusted = Some((time, now_ns));
        self.due_ns = 0;
    }

    /// A station was heard over this bearer, which is a contact whatever the plan says.
    pub fn heard(&mut self, bearer: Bearer, now_ns: u64) {
        let Some(heard) = self.heard_ns.get_mut(bearer as usize) else { return };
        // The first word after a silence may change the phase, and so may each one after a set.
        if heard.is_none_or(|at| now_ns.saturating_sub(at) > LOOK_NS[0]) {
            self.due_ns = 0;
        }
        *heard = Some(now_ns);
    }

    /// Takes the ground's plan in the place of the one before; what to keep of it over restarts.
    pub fn plan(&mut self, mut contacts: Vec<PlannedContact>, now_ns: u64) -> Bytes {
        let now = self.time(now_ns).map_or(Tai(i64::MIN), |(now, margin)| now.plus(-margin));
        contacts.retain(|of| of.rise < of.set && of.set > now);
        contacts.sort_by_key(|of| of.rise);
        contacts.truncate(CONTACTS_MAX);
        let kept = Message::ContactPlan { contacts: contacts.clone() }.encode();
        self.tell(contacts);
        kept
    }

    /// Takes what was kept of the ground's plan; whether it could be read.
    pub fn recall(&mut self, kept: &[u8]) -> bool {
        let message = kept.split_first_chunk::<4>().map(|(_, body)| Message::decode(body));
        let Some(Ok(Message::ContactPlan { contacts })) = message else { return false };
        self.tell(contacts);
        true
    }

    fn tell(&mut self, contacts: Vec<PlannedContact>) {
        let contact = |planned| Contact { planned, station: String::new(), bearer: None };
        self.told = contacts.into_iter().map(contact).collect();
        self.due_ns = 0;
    }

    /// The time and how far it may be off; none where it is doubted: a time or a plan that was wrong
    /// would have the spacecraft sleep through every contact.
    fn time(&self, now_ns: u64) -> Option<(Tai, i64)> {
        let (time, at) = self.trusted?;
        let word = self.heard_ns.iter().flatten().max().map_or(at, |heard| at.max(*heard));
        let silence = now_ns.saturating_sub(word);
        let age = now_ns.saturating_sub(at).min(i64::MAX as u64);
        let (now, margin) = (time.plus(age as i64), MARGIN_NS + (age / DRIFT) as i64);
        let Doubt { silence_ns, missed } = self.doubt;
        if silence_ns.is_some_and(|of| silence >= of)
            || missed.is_some_and(|of| self.missed(now, margin, silence) >= of)
        {
            return None;
        }
        Some((now, margin))
    }

    /// Contacts of the plan that rose and set in this silence; those that meet are one.
    fn missed(&self, now: Tai, margin: i64, silence_ns: u64) -> usize {
        let word = now.plus(-i64::try_from(silence_ns).unwrap_or(i64::MAX));
        let Some(plan) = self.live(now, margin) else { return 0 };
        let (mut missed, mut end) = (0, None::<Tai>);
        for Contact { planned: PlannedContact { rise, set, .. }, .. } in plan {
            if *rise <= word || set.plus(margin) > now {
                continue;
            }
            missed += usize::from(end.is_none_or(|end| *rise > end));
            end = end.max(Some(*set));
        }
        missed
    }

    /// The plan that is not over yet: the ground's, else the file's; none where nothing is to be
    /// believed.
    fn live(&self, now: Tai, margin: i64) -> Option<&[Contact]> {
        let is_live = |plan: &&[Contact]| plan.iter().any(|of| of.planned.set.plus(margin) > now);
        [&*self.told, &*self.filed].into_iter().find(is_live)
    }

    /// Where a bearer stands, and the set of the contact that it is in.
    fn look(&self, bearer: Bearer, now_ns: u64) -> (Stand, Option<Tai>) {
        let heard = self.heard_ns.get(bearer as usize).copied().flatten();
        let silence = heard.map(|at| now_ns.saturating_sub(at)).filter(|age| *age < HEARD_NS);
        let trying = if silence.is_some() { Phase::Send } else { Phase::Acquire };
        let plan = self
            .time(now_ns)
            .and_then(|(now, margin)| Some((now, margin, self.live(now, margin)?)));
        let Some((now, margin, plan)) = plan else {
            return (Stand { phase: trying, rate_bps: 0 }, None);
        };
        let ours = || plan.iter().filter(|of| of.bearer.is_none_or(|of| of == bearer));
        let (mut set, mut rate_bps, mut next) = (None::<Tai>, 0, None::<Tai>);
        let over = ours().map(|of| of.planned.set.plus(margin)).filter(|set| *set <= now).max();
        // What was heard in a contact that is over says nothing of now.
        let heard = silence.map(|age| now.plus(-(age as i64)));
        let heard = heard.is_some_and(|heard| over.is_none_or(|over| heard > over));
        for Contact { planned, .. } in ours().filter(|of| of.planned.set.plus(margin) > now) {
            if planned.rise.plus(-margin) <= now {
                set = set.max(Some(planned.set));
                rate_bps = rate_bps.max(planned.rate_bps);
            } else if set.is_some_and(|set| planned.rise <= set) {
                // The next station has risen before this one sets.
                set = set.max(Some(planned.set));
            } else {
                next = next.or(Some(planned.rise));
            }
        }
        let soon = next.is_some_and(|rise| rise.plus(-margin - WAIT_NS) <= now);
        let phase = match set {
            Some(set) if now >= set.plus(-DRAIN_NS) => Phase::Drain,
            Some(_) => trying,
            None if heard => Phase::Send,
            None if soon => Phase::Wait,
            None => Phase::Sleep,
        };
        (Stand { phase, rate_bps }, set)
    }

    /// Where a bearer stands.
    pub fn stand(&self, bearer: Bearer, now_ns: u64) -> Stand {
        self.look(bearer, now_ns).0
    }

    /// Seconds left of the contact over any of these bearers; 0 between contacts, and where no
    /// plan is believed.
    pub fn left_s(&self, bearers: &[Bearer], now_ns: u64) -> u64 {
        let Some((now, _)) = self.time(now_ns) else { return 0 };
        let sets = bearers.iter().filter_map(|bearer| self.look(*bearer, now_ns).1);
        sets.max().map_or(0, |set| (set.since(now).max(0) / SECOND_NS).unsigned_abs())
    }

    /// Who may be reached over these bearers.
    pub fn reach(&self, bearers: &[Bearer], now_ns: u64) -> Reach {
        let of = |bearer: &Bearer| {
            let (stand, set) = self.look(*bearer, now_ns);
            match (stand.phase, bearer) {
                (Phase::Send | Phase::Drain, _) => Reach::Station,
                (Phase::Acquire, _) if set.is_some() => Reach::Station,
                (Phase::Acquire, Bearer::Rf) => Reach::Perhaps,
                _ => Reach::Nobody,
            }
        };
        let reached: Vec<Reach> = bearers.iter().map(of).collect();
        let best = [Reach::Station, Reach::Perhaps].into_iter().find(|of| reached.contains(of));
        best.unwrap_or(Reach::Nobody)
    }

    /// Seconds since a station was heard over any bearer; none where none was since the start.
    pub fn silence_s(&self, now_ns: u64) -> Option<u64> {
        let heard = self.heard_ns.iter().flatten().max()?;
        Some(now_ns.saturating_sub(*heard) / SECOND_NS as u64)
    }

    /// When to look again.
    pub fn timeout(&self) -> u64 {
        self.due_ns
    }

    /// Whether a look is due; the next one is set.
    pub fn is_due(&mut self, now_ns: u64) -> bool {
        if self.due_ns > now_ns {
            return false;
        }
        let [contact, quiet] = LOOK_NS;
        let Some((now, margin)) = self.time(now_ns) else {
            self.due_ns = now_ns.saturating_add(quiet);
            return true;
        };
        let plan = self.live(now, margin).unwrap_or_default().iter().map(|of| of.planned);
        let changes = plan.flat_map(|PlannedContact { rise, set, .. }| {
            let rise = rise.plus(-margin);
            [rise.plus(-WAIT_NS), rise, set.plus(-DRAIN_NS), set.plus(margin)]
        });
        let change = changes.map(|at| at.since(now)).filter(|wait| *wait > 0).min();
        let within = [Bearer::Quic, Bearer::Rf].iter().any(|of| self.look(*of, now_ns).1.is_some());
        let look = if within { contact } else { quiet };
        let wait = change.map_or(look, |wait| look.min(wait.unsigned_abs()));
        self.due_ns = now_ns.saturating_add(wait);
        true
    }
}

#[cfg(test)]
mod tests;
