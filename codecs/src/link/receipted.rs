//! What of a counter is receipted, by which ledger and how safely.

use alloc::vec::Vec;

use super::custody::Durability;
use crate::ids::{RangeSet, SeqRange};

/// Ledgers and classes told apart; at the bound the one longest silent is forgotten.
pub const LEDGERS_MAX: usize = 8;
/// Ranges remembered of each; at the bound the lowest are forgotten, which costs no more than not
/// asking a ledger about them.
pub const RANGES_MAX: usize = 1024;

/// Ranges that a ledger receipted in a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipted {
    /// The ledger.
    pub ledger: u64,
    /// How safe.
    pub class: Durability,
    /// Which.
    pub ranges: RangeSet,
}

/// Receipts of one counter, the latest ledger last.
#[derive(Clone, Debug, Default)]
pub struct Receipts(Vec<Receipted>);

impl Receipts {
    /// Adds a range.
    pub fn insert(&mut self, ledger: u64, class: Durability, range: SeqRange) {
        let at = self.0.iter().position(|of| of.ledger == ledger && of.class == class);
        let mut of = match at {
            Some(at) => self.0.remove(at),
            None => Receipted { ledger, class, ranges: RangeSet::new() },
        };
        of.ranges.insert(range);
        while of.ranges.len() > RANGES_MAX {
            let Some(lowest) = of.ranges.ranges().first().copied() else { break };
            of.ranges.remove(lowest);
        }
        self.0.push(of);
        if self.0.len() > LEDGERS_MAX {
            self.0.remove(0);
        }
    }

    /// Takes a range back, whoever receipted it.
    pub fn remove(&mut self, range: SeqRange) {
        self.0.iter_mut().for_each(|of| of.ranges.remove(range));
        self.0.retain(|of| !of.ranges.is_empty());
    }

    /// The safest receipt of a sequence.
    pub fn of(&self, sequence: u64) -> Option<&Receipted> {
        let covering = self.0.iter().filter(|of| of.ranges.contains(sequence));
        covering.max_by_key(|of| of.class)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Receipted> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(sequence: u64) -> SeqRange {
        SeqRange { first: sequence, last: sequence }
    }

    #[test]
    fn receipts_are_bounded_and_the_safest_counts() {
        let mut receipts = Receipts::default();
        for sequence in 0..2 * RANGES_MAX as u64 {
            receipts.insert(1, Durability::Local, one(2 * sequence));
        }
        assert_eq!(receipts.iter().map(|of| of.ranges.len()).sum::<usize>(), RANGES_MAX);
        let newest = 4 * RANGES_MAX as u64 - 2;
        receipts.insert(2, Durability::ObjectStore, one(newest));
        assert_eq!(receipts.of(newest).map(|of| of.ledger), Some(2));
        receipts.remove(one(newest));
        assert_eq!(receipts.of(newest), None);
        (0..20).for_each(|ledger| receipts.insert(ledger, Durability::Local, one(5)));
        assert_eq!(receipts.iter().count(), LEDGERS_MAX);
    }
}
