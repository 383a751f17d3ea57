//! Custody at the end of a run, key by key: everything that a store numbered durably is receipted
//! and in the archive, or still held, or said to be left out or lost. Nothing is neither.

use std::collections::BTreeMap;

use codecs::{
    ids::{KeyPrefix, RangeSet, SeqRange},
    link::void::Void,
};
use codecs_store::{Medium, Store};
use groundstation::ledger::Ledger;
use serde::Serialize;

/// Units by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Conservation {
    /// Sequences that stores gave out durably.
    pub numbered: u64,
    /// In the archive.
    pub archived: u64,
    /// Not archived, and still on board.
    pub held: u64,
    /// Neither, and a void names them, on the ground or on board.
    pub voided: u64,
    /// None of that, and the ledger names them lost.
    pub lost: u64,
    /// What is against the contract, a line each.
    pub broken: Vec<String>,
}

impl Conservation {
    /// Takes another's in.
    pub fn add(&mut self, other: &Self) {
        self.numbered += other.numbered;
        self.archived += other.archived;
        self.held += other.held;
        self.voided += other.voided;
        self.lost += other.lost;
        self.broken.extend(other.broken.iter().cloned());
    }

    /// Holds a store against the ledger that a fresh look at the archive's medium gives.
    pub fn of<M: Medium>(store: &mut Store<M>, ledger: &Ledger, ledger_id: u64) -> Self {
        let broken = Self::unnumbered(store, ledger);
        let mut said = Self { broken, ..Self::default() };
        let voids = voids_on_board(store);
        let counters: Vec<_> =
            store.counters().map(|(prefix, counter)| (prefix, counter.clone())).collect();
        for (prefix, counter) in counters {
            let ground = ledger.counter(&prefix);
            let on_board = voids.get(&prefix);
            for sequence in 0..counter.durable_next {
                said.numbered += 1;
                let archived = ground.is_some_and(|of| of.held.contains(sequence));
                let lost = ground.is_some_and(|of| of.lost.contains(sequence));
                let voided = ground.is_some_and(|of| of.voided.contains(sequence))
                    || on_board
                        .is_some_and(|ranges| ranges.iter().any(|range| range.contains(sequence)))
                    || counter.voided.contains(sequence);
                let receipts = counter.receipts.iter().filter(|of| of.ledger == ledger_id);
                if !archived && !lost && receipts.into_iter().any(|of| of.ranges.contains(sequence))
                {
                    said.broken.push(format!(
                        "spacecraft {} channel {} sequence {sequence}: receipted, and not in the \
                         archive",
                        prefix.spacecraft.0, prefix.channel
                    ));
                    continue;
                }
                let held = counter.units.get(&sequence).is_some_and(|entry| entry.live());
                let count = match (archived, held, voided, lost) {
                    (true, ..) => &mut said.archived,
                    (_, true, ..) => &mut said.held,
                    (_, _, true, _) => &mut said.voided,
                    (_, _, _, true) => &mut said.lost,
                    _ => {
                        said.broken.push(format!(
                            "spacecraft {} channel {} sequence {sequence}: neither archived, held, \
                             voided nor lost",
                            prefix.spacecraft.0, prefix.channel
                        ));
                        continue;
                    }
                };
                *count += 1;
            }
        }
        said
    }

    /// What a ledger that a station just came up with lacks of its own receipts, as the spacecraft
    /// knows them: a line each. Its medium survived, so that all of it is to be there.
    pub fn lacking<M: Medium>(store: &Store<M>, ledger: &Ledger, ledger_id: u64) -> Vec<String> {
        let mut lacking = Vec::new();
        for (prefix, counter) in store.counters() {
            let ground = ledger.counter(&prefix);
            let own = counter.receipts.iter().filter(|of| of.ledger == ledger_id);
            for range in own.flat_map(|of| of.ranges.ranges()) {
                let mut gone: RangeSet = [*range].into_iter().collect();
                let known = ground.iter().flat_map(|of| [&of.held, &of.lost]);
                known.flat_map(RangeSet::ranges).for_each(|known| gone.remove(*known));
                lacking.extend(gone.ranges().iter().map(|gone| {
                    format!(
                        "spacecraft {} channel {} sequences {} to {}: receipted, and gone after a \
                         crash that the disk survived",
                        prefix.spacecraft.0, prefix.channel, gone.first, gone.last
                    )
                }));
            }
        }
        lacking
    }

    /// What a ledger holds that a store never gave out durably: a line each.
    fn unnumbered<M: Medium>(store: &Store<M>, ledger: &Ledger) -> Vec<String> {
        let counters: BTreeMap<_, _> = store.counters().collect();
        let beyond = |(prefix, ground): (&KeyPrefix, &groundstation::ledger::Counter)| {
            let given = counters.get(prefix).map_or(0, |counter| counter.durable_next);
            let last = ground.held.ranges().last().map(|range| range.last)?;
            (last >= given).then(|| {
                format!(
                    "spacecraft {} channel {} sequence {last}: archived, and the store gave out no \
                     more than {given} durably",
                    prefix.spacecraft.0, prefix.channel
                )
            })
        };
        let own = store.identity().origin;
        ledger.counters().filter(|(prefix, _)| prefix.origin == own).filter_map(beyond).collect()
    }
}

/// What voids say that are still on board.
fn voids_on_board<M: Medium>(store: &mut Store<M>) -> BTreeMap<KeyPrefix, Vec<SeqRange>> {
    let voids: Vec<_> = store
        .unreceipted()
        .filter(|unit| unit.key.prefix.channel == codecs::ids::Channel::VOIDS)
        .map(|unit| unit.key)
        .collect();
    let mut ranges: BTreeMap<KeyPrefix, Vec<SeqRange>> = BTreeMap::new();
    for key in voids {
        let Ok(bytes) = store.read(key) else { continue };
        let Ok(void) = Void::decode(&bytes) else { continue };
        for entry in void.entries {
            let prefix = KeyPrefix {
                origin: key.prefix.origin,
                epoch: entry.epoch,
                spacecraft: entry.spacecraft,
                channel: entry.channel,
            };
            ranges.entry(prefix).or_default().push(entry.range);
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use codecs::{
        ids::{Channel, Codec, Origin, SpacecraftId, StoreEpoch, UnitKey},
        time::Tai,
    };
    use codecs_store::{Limits, NewUnit, forgetful::Forgetful};

    const LEDGER: u64 = 7;

    fn store(units: u64) -> (Store<Forgetful>, KeyPrefix) {
        let limits = Limits {
            capacity_bytes: 1 << 24,
            segment_bytes: 1 << 20,
            least_class: 0,
            evict_bytes: 0,
            evict_on_full: false,
        };
        let (origin, epoch) = (Origin([1; 16]), StoreEpoch(3));
        let mut store = Store::open(Forgetful::new(), limits, origin, epoch).unwrap();
        let (spacecraft, channel) = (SpacecraftId(1), Channel::stream(1));
        for _ in 0..units {
            let unit = NewUnit {
                spacecraft,
                channel,
                codec: Codec::Squeezed,
                priority: 9,
                captured: Tai(0),
                deadline_s: 0,
                bytes: Bytes::from_static(b"unit"),
            };
            store.append(unit).unwrap();
        }
        store.commit(Tai(0)).unwrap();
        (store, KeyPrefix { origin, epoch, spacecraft, channel })
    }

    #[test]
    fn what_was_receipted_and_is_nowhere_is_found() {
        let (mut store, prefix) = store(10);
        let said = Conservation::of(&mut store, &Ledger::new(), LEDGER);
        assert_eq!((said.numbered, said.held, said.broken.len()), (10, 10, 0));
        let receipted: RangeSet = [SeqRange { first: 2, last: 4 }].into_iter().collect();
        store.receipt(LEDGER, 0, prefix, &receipted);
        store.commit(Tai(1)).unwrap();
        let said = Conservation::of(&mut store, &Ledger::new(), LEDGER);
        assert_eq!(said.broken.len(), 3, "{said:?}");
        let lacking = Conservation::lacking(&store, &Ledger::new(), LEDGER);
        assert!(lacking[0].contains("sequences 2 to 4: receipted, and gone"), "{lacking:?}");
        assert!(Conservation::lacking(&store, &Ledger::new(), LEDGER + 1).is_empty());
        assert!(said.broken[0].contains("sequence 2: receipted, and not in the archive"));
        let mut ledger = Ledger::new();
        assert!(ledger.lose_range(prefix, SeqRange { first: 2, last: 4 }));
        let said = Conservation::of(&mut store, &ledger, LEDGER);
        assert!(said.broken.is_empty() && said.lost == 3, "{said:?}");
        assert!(Conservation::lacking(&store, &ledger, LEDGER).is_empty());
    }

    #[test]
    fn what_was_archived_and_never_numbered_is_found() {
        let (mut store, prefix) = store(10);
        let mut ledger = Ledger::new();
        assert!(ledger.note(&UnitKey { prefix, sequence: 9 }, 4));
        assert!(Conservation::of(&mut store, &ledger, LEDGER).broken.is_empty());
        assert!(ledger.note(&UnitKey { prefix, sequence: 10 }, 4));
        let said = Conservation::of(&mut store, &ledger, LEDGER);
        assert!(said.broken[0].contains("sequence 10: archived, and the store gave"), "{said:?}");
    }
}
