//! Units for the air that the station sends: which goes next, and when.
//!
//! Nothing answers a unit and nothing is repeated here: who speaks repeats what it says. So a unit
//! that is late is worth nothing, and one that finds no room is dropped and counted.

use bytes::Bytes;
use codecs::link::uplink::{RADIATE, RADIATE_BYTES_MAX, object::UplinkObject};
use serde::{Deserialize, Serialize};
use std::{cmp::Reverse, collections::BTreeMap};

/// Units that wait for the modem; at the bound the least urgent, newest one goes.
pub const WAITING_MAX: usize = 64;

/// `[uplink]` of the edge's file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UplinkConfig {
    /// The modem: `udp:HOST:PORT`, one unit a datagram, or `tcp:HOST:PORT`, one after another.
    pub to: String,
    /// Bits a second that it radiates; 0: nothing goes up here.
    pub rate_bps: u64,
}

/// What became of the units of a station since the start: `taken` is all others together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UplinkTally {
    /// Units that came.
    pub taken: u64,
    /// Units handed to the modem.
    pub radiated: u64,
    /// Their bytes.
    pub radiated_bytes: u64,
    /// Units that wait now.
    pub waiting: u64,
    /// Units dropped, by reason: `length`, `rate`, `late`, `no-room`, `modem`.
    pub dropped: BTreeMap<&'static str, u64>,
}

#[derive(Debug)]
struct Waiting {
    unit: Bytes,
    /// Not to be radiated from here on.
    until_ns: u64,
}

/// The line in front of the modem.
#[derive(Debug)]
pub struct Radiator {
    rate_bps: u64,
    /// By urgency, then by turn.
    waiting: BTreeMap<(Reverse<u8>, u64), Waiting>,
    turns: u64,
    /// The air is taken until then.
    free_ns: u64,
    tally: UplinkTally,
}

impl Radiator {
    /// Nothing waits yet.
    pub fn new(rate_bps: u64) -> Self {
        let tally = UplinkTally::default();
        Self { rate_bps, waiting: BTreeMap::new(), turns: 0, free_ns: 0, tally }
    }

    /// What became of units so far.
    pub fn tally(&self) -> UplinkTally {
        UplinkTally { waiting: self.waiting.len() as u64, ..self.tally.clone() }
    }

    fn drop(&mut self, reason: &'static str) {
        *self.tally.dropped.entry(reason).or_default() += 1;
    }

    /// Takes an object; whether it is one for the air.
    pub fn push(&mut self, object: &UplinkObject, now_ns: u64) -> bool {
        if object.kind != RADIATE {
            return false;
        }
        self.tally.taken += 1;
        // A span, since the two clocks need not agree.
        let span_ns = object.expires.map_or(i64::MAX, |at| at.since(object.created));
        let until_ns = now_ns.saturating_add(span_ns.max(0).unsigned_abs());
        let reason = match object.body.len() {
            0 => Some("length"),
            length if length > RADIATE_BYTES_MAX => Some("length"),
            _ if self.rate_bps == 0 => Some("rate"),
            _ if until_ns <= now_ns => Some("late"),
            _ => None,
        };
        if let Some(reason) = reason {
            self.drop(reason);
            return true;
        }
        let place = (Reverse(object.priority), self.turns);
        self.turns += 1;
        let unit = object.body.clone();
        self.waiting.insert(place, Waiting { unit, until_ns });
        if self.waiting.len() > WAITING_MAX {
            self.waiting.pop_last();
            self.drop("no-room");
        }
        true
    }

    /// The unit to hand to the modem now.
    pub fn poll(&mut self, now_ns: u64) -> Option<Bytes> {
        if self.free_ns > now_ns {
            return None;
        }
        while let Some((_, Waiting { unit, until_ns })) = self.waiting.pop_first() {
            if until_ns <= now_ns {
                self.drop("late");
                continue;
            }
            let bits = 8 * unit.len() as u128;
            let takes_ns = bits * 1_000_000_000 / u128::from(self.rate_bps.max(1));
            let takes_ns = u64::try_from(takes_ns).unwrap_or(u64::MAX);
            self.free_ns = now_ns.saturating_add(takes_ns);
            return Some(unit);
        }
        None
    }

    /// What became of the unit that was handed over, of so many bytes.
    pub fn handed(&mut self, bytes: usize, taken: bool) {
        if taken {
            self.tally.radiated += 1;
            self.tally.radiated_bytes += bytes as u64;
        } else {
            self.drop("modem");
        }
    }

    /// When to ask again, unless a unit comes before.
    pub fn timeout(&self) -> Option<u64> {
        (!self.waiting.is_empty()).then_some(self.free_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::{
        ids::SpacecraftId,
        link::uplink::{RADIATE_CHANNEL, UplinkCounter, UplinkKey},
        time::Tai,
    };

    const SECOND: u64 = 1_000_000_000;

    fn object(priority: u8, bytes: usize, span_s: i64) -> UplinkObject {
        let (domain, spacecraft) = ("sky".into(), SpacecraftId(7));
        let counter = UplinkCounter { domain, ledger: 1, spacecraft, channel: RADIATE_CHANNEL };
        UplinkObject {
            key: UplinkKey { counter, sequence: 0 },
            kind: RADIATE,
            priority,
            created: Tai(5),
            expires: Some(Tai(5).plus(span_s * SECOND as i64)),
            body: vec![priority; bytes].into(),
        }
    }

    fn settles(radiator: &Radiator) {
        let UplinkTally { taken, radiated, waiting, dropped, .. } = radiator.tally();
        assert_eq!(taken, radiated + waiting + dropped.values().sum::<u64>());
    }

    #[test]
    fn the_most_urgent_goes_first_and_no_faster_than_the_air_carries() {
        for rate_bps in [1_000, 16_000] {
            let mut radiator = Radiator::new(rate_bps);
            for priority in [1, 9, 1, 9] {
                assert!(radiator.push(&object(priority, 100, 60), 0));
            }
            let (mut order, mut now) = (Vec::new(), 0);
            while let Some(due) = radiator.timeout() {
                now = due.max(now);
                let unit = radiator.poll(now).unwrap();
                assert!(radiator.poll(now).is_none(), "one at a time");
                radiator.handed(unit.len(), true);
                order.push(unit[0]);
                settles(&radiator);
            }
            assert_eq!(order, [9, 9, 1, 1]);
            assert_eq!(now, 3 * 800 * SECOND / rate_bps);
        }
    }

    #[test]
    fn what_is_late_too_long_or_finds_no_room_is_dropped_and_counted() {
        let mut radiator = Radiator::new(1_000);
        radiator.push(&object(1, 0, 60), 0);
        radiator.push(&object(1, RADIATE_BYTES_MAX + 1, 60), 0);
        radiator.push(&object(1, 100, 0), 0);
        radiator.push(&object(1, 100, 1), 0);
        assert!(radiator.poll(2 * SECOND).is_none());
        for _ in 0..WAITING_MAX {
            radiator.push(&object(5, 10, 60), 2 * SECOND);
        }
        radiator.push(&object(5, 10, 60), 2 * SECOND);
        radiator.push(&object(6, 20, 60), 2 * SECOND);
        assert_eq!(radiator.poll(2 * SECOND).unwrap().len(), 20, "the urgent one found room");
        radiator.handed(20, false);
        let dropped = [("length", 2), ("late", 2), ("no-room", 2), ("modem", 1)];
        assert_eq!(radiator.tally().dropped, dropped.into());
        settles(&radiator);
        let other = UplinkObject { kind: 1, ..object(1, 10, 60) };
        assert!(!radiator.push(&other, 0), "not for the air");
    }

    #[test]
    fn an_edge_without_a_rate_radiates_nothing() {
        let mut radiator = Radiator::new(0);
        radiator.push(&object(1, 10, 60), 0);
        assert_eq!((radiator.poll(SECOND), radiator.timeout()), (None, None));
        assert_eq!(radiator.tally().dropped, [("rate", 1)].into());
        settles(&radiator);
    }
}
