//! What a spacecraft sends next where no connection tells it what arrived.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::cmp::Reverse;

use super::signed::Statement;
use crate::{
    ids::{KeyPrefix, Origin, RangeSet, UnitKey},
    link::{
        custody::Durability,
        sender::{UNITS_MAX, UnitInfo},
        share::{Lane, Share},
        uplink::object::UplinkObject,
        wire::{Message, PlannedContact},
    },
    time::Tai,
};

/// What a statement means for the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// These are on the ground; of a class that frees them, they are out of the line.
    Receipt {
        /// Whose units.
        prefix: KeyPrefix,
        /// Which.
        ranges: RangeSet,
        /// Which ledger says so.
        ledger: u64,
        /// How safe.
        class: Durability,
    },
    /// The ground lost these: what is still on board is to be offered again.
    Asked {
        /// Whose units.
        prefix: KeyPrefix,
        /// Which.
        ranges: RangeSet,
    },
    /// The next contacts.
    Planned(Vec<PlannedContact>),
    /// Trusted time.
    Time(Tai),
    /// To be done, at most once.
    Uplink(Box<UplinkObject>),
}

/// Times sent, priority, deadline, turn.
type Place = (u32, Reverse<u8>, Tai, u64, UnitKey);

#[derive(Clone, Copy, Debug)]
struct Unit {
    info: UnitInfo,
    turn: u64,
    /// Times it was sent.
    sent: u32,
    /// Since when it waits for a receipt; none while it stands in line.
    due_ns: Option<u64>,
}

impl Unit {
    fn place(&self, key: UnitKey) -> Place {
        (self.sent, Reverse(self.info.priority), self.info.due, self.turn, key)
    }
}

/// The line of units for a radio: what was never sent goes first, then what was sent least often
/// and has no receipt after a time; among those the highest priority, then the earliest deadline,
/// then the oldest. Among units that were sent equally often housekeeping has its share of the
/// bytes while any of it waits, whatever products are worth.
///
/// Holds at most [`UNITS_MAX`]; what finds no room is offered again by whoever keeps the store.
#[derive(Debug)]
pub struct Line {
    origin: Origin,
    reclaimable_from: Durability,
    again_ns: u64,
    units: BTreeMap<UnitKey, Unit>,
    /// Housekeeping's, the payload's.
    ready: [BTreeSet<Place>; 2],
    share: Share,
    percent: u8,
    waiting: BTreeSet<(u64, UnitKey)>,
    turns: u64,
}

impl Line {
    /// An empty line of the store of `origin`. A receipt of at least `reclaimable_from` ends a
    /// unit's wait; without one it may go again `again_ns` after it went.
    pub fn new(origin: Origin, reclaimable_from: Durability, again_ns: u64) -> Self {
        Self {
            origin,
            reclaimable_from,
            again_ns,
            units: BTreeMap::new(),
            ready: Default::default(),
            share: Share::default(),
            percent: 0,
            waiting: BTreeSet::new(),
            turns: 0,
        }
    }

    /// With a share for everything but products, percent of the bytes, at most 99.
    pub fn with_housekeeping(self, percent: u8) -> Self {
        Self { percent, ..self }
    }

    fn lane(&mut self, lane: Lane) -> &mut BTreeSet<Place> {
        let [housekeeping, payload] = &mut self.ready;
        match lane {
            Lane::Housekeeping => housekeeping,
            Lane::Payload => payload,
        }
    }

    /// What goes next, and whether it is housekeeping's turn.
    fn next(&self) -> Option<(Place, Lane)> {
        let [housekeeping, payload] = &self.ready;
        let housekeeping = housekeeping.first().map(|of| (*of, Lane::Housekeeping));
        let payload = payload.first().map(|of| (*of, Lane::Payload));
        match (housekeeping, payload) {
            // What was sent before has no share beside what was not.
            (Some(of), Some(product)) if self.share.owes() && of.0.0 <= product.0.0 => Some(of),
            (Some(of), Some(product)) => Some(if of.0 < product.0 { of } else { product }),
            (of, product) => of.or(product),
        }
    }

    /// So many bytes of a unit go on the air now: what shares are reckoned by.
    pub fn goes(&mut self, key: UnitKey, bytes: u64) {
        let Some(unit) = self.units.get(&key) else { return };
        let first = self.ready.first().and_then(|housekeeping| housekeeping.first());
        let waits = first.is_some_and(|of| of.0 < unit.sent);
        self.share.sent(unit.info.lane(), bytes, self.percent, waits);
    }

    /// How often a unit was sent.
    pub fn times_sent(&self, key: UnitKey) -> u32 {
        self.units.get(&key).map_or(0, |unit| unit.sent)
    }

    /// Whether what goes next may go in the middle of a unit that was sent `sent` times before: it
    /// was not sent more often, and is worth more, or is housekeeping that is short of its share
    /// beside a product.
    pub fn interrupts(&self, info: &UnitInfo, sent: u32) -> bool {
        let Some(((times, Reverse(priority), ..), lane)) = self.next() else { return false };
        let of_share = lane == Lane::Housekeeping && info.lane() == Lane::Payload;
        times <= sent && (priority > info.priority || (of_share && self.share.owes()))
    }

    /// Units without a receipt.
    pub fn len(&self) -> usize {
        self.units.len()
    }

    /// Whether nothing is left to bring down.
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// Takes a unit that the store has synced; whether it stands in line now. One that is known
    /// keeps its place; with another length, as a void that grew, it is new.
    pub fn offer(&mut self, key: UnitKey, info: UnitInfo) -> bool {
        if self.units.get(&key).is_some_and(|known| known.info != info) {
            self.withdraw(key);
        }
        if self.units.contains_key(&key) {
            return true;
        }
        if self.units.len() >= UNITS_MAX {
            return false;
        }
        let unit = Unit { info, turn: self.turns, sent: 0, due_ns: None };
        self.turns += 1;
        self.lane(info.lane()).insert(unit.place(key));
        self.units.insert(key, unit);
        true
    }

    /// Forgets a unit that is receipted or no longer on board.
    pub fn withdraw(&mut self, key: UnitKey) {
        let Some(unit) = self.units.remove(&key) else { return };
        match unit.due_ns {
            Some(due) => self.waiting.remove(&(due, key)),
            None => self.lane(unit.info.lane()).remove(&unit.place(key)),
        };
    }

    /// When a unit that waits for a receipt may go again.
    pub fn timeout(&self) -> Option<u64> {
        self.waiting.first().map(|(due, _)| *due)
    }

    /// The unit to send now; it counts as sent.
    pub fn poll(&mut self, now_ns: u64) -> Option<(UnitKey, UnitInfo)> {
        while let Some((due, key)) = self.waiting.first().copied().filter(|of| of.0 <= now_ns) {
            self.waiting.remove(&(due, key));
            if let Some(unit) = self.units.get_mut(&key) {
                unit.due_ns = None;
                let (lane, place) = (unit.info.lane(), unit.place(key));
                self.lane(lane).insert(place);
            }
        }
        let (place, lane) = self.next()?;
        self.lane(lane).remove(&place);
        let key = place.4;
        let unit = self.units.get_mut(&key)?;
        let due = now_ns.saturating_add(self.again_ns);
        unit.sent = unit.sent.saturating_add(1);
        unit.due_ns = Some(due);
        self.waiting.insert((due, key));
        Some((key, unit.info))
    }

    /// Takes what a listener believed: receipted units leave the line.
    pub fn hear(&mut self, statement: Statement) -> Vec<Heard> {
        let origin = self.origin;
        match statement.message {
            None => Vec::from([Heard::Time(statement.issued)]),
            Some(Message::Receipts { ledger, class, entries }) => {
                let heard = entries.into_iter().map(|keys| {
                    let prefix = keys.prefix(origin);
                    let ranges: RangeSet = keys.ranges.into_iter().collect();
                    if class >= self.reclaimable_from {
                        self.settle(prefix, &ranges);
                    }
                    Heard::Receipt { prefix, ranges, ledger, class }
                });
                heard.collect()
            }
            Some(Message::Asks { entries }) => {
                let heard = entries.into_iter().map(|keys| Heard::Asked {
                    prefix: keys.prefix(origin),
                    ranges: keys.ranges.into_iter().collect(),
                });
                heard.collect()
            }
            Some(Message::ContactPlan { contacts }) => Vec::from([Heard::Planned(contacts)]),
            Some(Message::Uplink { object }) => Vec::from([Heard::Uplink(Box::new(object))]),
            Some(_) => Vec::new(),
        }
    }

    fn settle(&mut self, prefix: KeyPrefix, ranges: &RangeSet) {
        for range in ranges.ranges() {
            let first = UnitKey { prefix, sequence: range.first };
            let last = UnitKey { prefix, sequence: range.last };
            let held: Vec<UnitKey> = self.units.range(first..=last).map(|of| *of.0).collect();
            held.into_iter().for_each(|key| self.withdraw(key));
        }
    }
}
