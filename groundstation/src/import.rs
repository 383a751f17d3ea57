//! A new ledger on an old bucket: what its older ledgers held is held, what they lost is lost.

use crate::{ledger::Ledger, ledger::PREFIXES_MAX};
use codecs::ids::{KeyPrefix, RangeSet};
use std::collections::BTreeMap;

/// What a bucket says of one older ledger.
#[derive(Clone, Debug)]
pub struct Older {
    /// Its newest checkpoint there and what the records behind it prove.
    pub ledger: Ledger,
    /// What records in the bucket prove, where a segment is missing there; `None` where each is
    /// there, and the checkpoint is all that they prove.
    pub proven: Option<BTreeMap<KeyPrefix, RangeSet>>,
}

/// More counters than a ledger may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the bucket's ledgers have {0} counters together, more than {PREFIXES_MAX}: use a domain of its own for each mission"
)]
pub struct TooManyCounters(usize);

/// The ledger that follows on all of them. Order does not matter, and importing twice is importing
/// once.
pub fn merge(older: impl IntoIterator<Item = Older>) -> Result<Ledger, TooManyCounters> {
    let mut held: BTreeMap<KeyPrefix, RangeSet> = BTreeMap::new();
    let mut voided = held.clone();
    let mut lost = held.clone();
    for Older { ledger, proven } in older {
        for (prefix, counter) in ledger.counters() {
            let here = match &proven {
                None => without(&counter.held, &counter.lost),
                Some(proven) => proven.get(prefix).cloned().unwrap_or_default(),
            };
            let gone = lost.entry(*prefix).or_default();
            gone.extend(&without(&counter.held, &here));
            gone.extend(&counter.lost);
            voided.entry(*prefix).or_default().extend(&counter.voided);
            held.entry(*prefix).or_default().extend(&here);
        }
        for (prefix, here) in proven.into_iter().flatten() {
            held.entry(prefix).or_default().extend(&here);
        }
    }
    if held.len() > PREFIXES_MAX {
        return Err(TooManyCounters(held.len()));
    }
    let mut ledger = Ledger::new();
    for (prefix, held) in held {
        let of = |sets: &BTreeMap<_, RangeSet>| sets.get(&prefix).cloned().unwrap_or_default();
        ledger.hold(prefix, &held);
        // A unit beats a void, and a unit that one of them has is not lost.
        for range in without(&of(&voided), &held).ranges() {
            ledger.void(prefix, *range);
        }
        for range in without(&of(&lost), &held).ranges() {
            ledger.lose_range(prefix, *range);
        }
    }
    Ok(ledger)
}

fn without(all: &RangeSet, known: &RangeSet) -> RangeSet {
    let mut rest = all.clone();
    known.ranges().iter().for_each(|range| rest.remove(*range));
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Standing, tests::key};
    use codecs::ids::SeqRange;

    fn range(first: u64, last: u64) -> SeqRange {
        SeqRange { first, last }
    }

    fn ledger(held: SeqRange, voided: Option<SeqRange>, lost: Option<SeqRange>) -> Ledger {
        let prefix = key(1, 0).prefix;
        let mut ledger = Ledger::new();
        (held.first..=held.last).for_each(|at| {
            ledger.note(&key(1, at), 1);
        });
        voided.map(|range| ledger.void(prefix, range));
        lost.map(|range| ledger.lose_range(prefix, range));
        ledger
    }

    #[test]
    fn a_unit_that_one_ledger_has_beats_the_others_void_and_loss_in_both_orders() {
        let has = Older { ledger: ledger(range(0, 9), None, None), proven: None };
        let lacks = ledger(range(20, 29), Some(range(5, 12)), Some(range(8, 15)));
        let lacks = Older { ledger: lacks, proven: None };
        let one = merge([has.clone(), lacks.clone()]).unwrap();
        assert_eq!(one, merge([lacks.clone(), has.clone()]).unwrap());
        assert_eq!(one, merge([has.clone(), lacks.clone(), has, lacks]).unwrap());
        let counter = one.counter(&key(1, 0).prefix).unwrap();
        assert_eq!(counter.held.ranges(), [range(0, 9), range(20, 29)]);
        assert_eq!(counter.voided.ranges(), [range(10, 12)]);
        assert_eq!(counter.lost.ranges(), [range(10, 15)]);
        assert_eq!(one.standing(&key(1, 3)), Standing::Held);
        assert_eq!(one.standing(&key(1, 13)), Standing::New);
    }

    #[test]
    fn what_a_missing_segment_held_is_lost_by_key() {
        let claims = ledger(range(0, 99), None, None);
        let proven = BTreeMap::from([(
            key(1, 0).prefix,
            [range(0, 39), range(60, 99)].into_iter().collect::<RangeSet>(),
        )]);
        let merged = merge([Older { ledger: claims, proven: Some(proven) }]).unwrap();
        let counter = merged.counter(&key(1, 0).prefix).unwrap();
        assert_eq!(counter.lost.ranges(), [range(40, 59)]);
        assert_eq!(merged.standing(&key(1, 50)), Standing::New);
    }

    #[test]
    fn too_many_counters_are_refused_before_a_checkpoint_can_not_be_read_again() {
        let of = |from: u32| {
            let mut ledger = Ledger::new();
            (0..600).for_each(|stream| {
                ledger.note(&key(from + stream, 0), 1);
            });
            Older { ledger, proven: None }
        };
        assert_eq!(merge([of(0), of(600)]).unwrap_err(), TooManyCounters(1_200));
    }
}
