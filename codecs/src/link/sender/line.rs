//! The line that units stand in: by value, then deadline, then age, and a share for housekeeping.

use alloc::collections::BTreeSet;
use core::cmp::Reverse;

pub(super) use super::super::share::Lane;
use super::super::share::Share;
use crate::{ids::KeyPrefix, time::Tai};

/// Place of a unit in the line: the smallest goes first.
pub(super) type Place = (Reverse<u8>, Tai, u64, KeyPrefix, u64);

/// The line, a lane each.
#[derive(Debug, Default)]
pub(super) struct Line {
    housekeeping: BTreeSet<Place>,
    payload: BTreeSet<Place>,
    share: Share,
}

impl Line {
    pub(super) fn lane(&mut self, lane: Lane) -> &mut BTreeSet<Place> {
        match lane {
            Lane::Housekeeping => &mut self.housekeeping,
            Lane::Payload => &mut self.payload,
        }
    }

    /// What goes next: the most valuable, unless housekeeping is short of its share.
    pub(super) fn next(&self) -> Option<Place> {
        match (self.housekeeping.first(), self.payload.first()) {
            (Some(of), Some(_)) if self.share.owes() => Some(*of),
            (Some(of), Some(product)) => Some(*of.min(product)),
            (of, product) => of.or(product).copied(),
        }
    }

    /// Reckons an object of `bytes` in.
    pub(super) fn sent(&mut self, lane: Lane, bytes: u64, percent: u8) {
        self.share.sent(lane, bytes, percent, !self.housekeeping.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Channel, Origin, SpacecraftId, StoreEpoch};
    use alloc::vec::Vec;

    fn place(priority: u8, due: i64, turn: u64) -> Place {
        let prefix = KeyPrefix {
            origin: Origin([0; 16]),
            epoch: StoreEpoch(0),
            spacecraft: SpacecraftId(1),
            channel: Channel(0),
        };
        (Reverse(priority), Tai(due), turn, prefix, turn)
    }

    #[test]
    fn value_comes_before_deadline_and_deadline_before_age() {
        let mut line = Line::default();
        for (priority, due, turn) in [(9, 50, 0), (9, 40, 1), (8, 1, 2), (9, 40, 3)] {
            line.lane(Lane::Payload).insert(place(priority, due, turn));
        }
        let mut turns = Vec::new();
        while let Some(next) = line.next() {
            turns.push(next.2);
            line.lane(Lane::Payload).remove(&next);
        }
        assert_eq!(turns, [1, 3, 0, 2]);
    }

    #[test]
    fn housekeeping_has_its_share_beside_products_worth_more_and_no_more_than_waits() {
        let mut line = Line::default();
        for turn in 0..1000 {
            line.lane(Lane::Payload).insert(place(250, 0, turn));
            line.lane(Lane::Housekeeping).insert(place(10, 0, turn));
        }
        let (mut housekeeping, mut all) = (0u64, 0u64);
        for _ in 0..400 {
            let next = line.next().unwrap();
            let lane = if next.0.0 == 10 { Lane::Housekeeping } else { Lane::Payload };
            let bytes = if lane == Lane::Payload { 1000 } else { 100 };
            line.lane(lane).remove(&next);
            line.sent(lane, bytes, 20);
            all += bytes;
            housekeeping += if lane == Lane::Housekeeping { bytes } else { 0 };
            assert!(housekeeping * 5 + 1000 >= all, "{housekeeping} of {all}");
        }
        assert!(housekeeping * 4 <= all, "the rest is the payload's");
        line.housekeeping.clear();
        for _ in 0..10 {
            let next = line.next().unwrap();
            line.lane(Lane::Payload).remove(&next);
            line.sent(Lane::Payload, 1000, 20);
        }
        assert!(!line.share.owes(), "no share is saved up while nothing waits");
    }
}
