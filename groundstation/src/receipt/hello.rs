//! What a hello says, against what is held here.

use codecs::{
    ids::{KeyPrefix, Origin, RangeSet, SeqRange, SpacecraftId},
    link::{custody::KeyRanges, wire::ChannelState},
};
use std::collections::BTreeMap;

/// What a store says this ledger or one before it receipted and this ledger does not hold: damage
/// took it, or the disk is gone. To be recorded lost, and then asked for.
pub fn lost_by_us(
    origin: Origin,
    ledgers: impl Fn(u64) -> bool,
    channels: &[ChannelState],
    durable: &[KeyRanges],
) -> Vec<(KeyPrefix, Vec<SeqRange>)> {
    let mut lost = Vec::new();
    for channel in channels.iter().filter(|channel| ledgers(channel.ledger)) {
        let prefix = channel.held.prefix(origin);
        let mut missing: RangeSet = channel.receipted.iter().copied().collect();
        durable
            .iter()
            .filter(|keys| keys.prefix(origin) == prefix)
            .flat_map(|keys| &keys.ranges)
            .for_each(|range| missing.remove(*range));
        if !missing.is_empty() {
            lost.push((prefix, missing.ranges().to_vec()));
        }
    }
    lost
}

/// Units that a store holds and this ledger does not, of each of `spacecraft`.
pub fn on_board(
    origin: Origin,
    spacecraft: impl IntoIterator<Item = SpacecraftId>,
    channels: &[ChannelState],
    durable: &[KeyRanges],
) -> BTreeMap<SpacecraftId, BTreeMap<KeyPrefix, RangeSet>> {
    let mut held: BTreeMap<_, BTreeMap<KeyPrefix, RangeSet>> =
        spacecraft.into_iter().map(|spacecraft| (spacecraft, BTreeMap::new())).collect();
    for channel in channels {
        let Some(of) = held.get_mut(&channel.held.spacecraft) else { continue };
        let prefix = channel.held.prefix(origin);
        let units = of.entry(prefix).or_default();
        channel.held.ranges.iter().for_each(|range| units.insert(*range));
        let here = durable.iter().filter(|keys| keys.prefix(origin) == prefix);
        here.flat_map(|keys| &keys.ranges).for_each(|range| units.remove(*range));
    }
    held.values_mut().for_each(|of| of.retain(|_, units| !units.is_empty()));
    held
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::key;
    use codecs::link::custody::Durability;

    #[test]
    fn what_is_held_here_is_not_on_board_only() {
        let prefix = key(1, 0).prefix;
        let ranges = |first, last| KeyRanges::new(prefix, vec![SeqRange { first, last }]);
        let channel = |held| ChannelState {
            next: 50,
            held,
            receipted: Vec::new(),
            ledger: 0,
            class: Durability::Local,
        };
        let crafts = [SpacecraftId(7), SpacecraftId(8)];
        let channels = [channel(ranges(0, 19)), channel(ranges(30, 39))];
        let held = on_board(prefix.origin, crafts, &channels, &[ranges(10, 34)]);
        let of = |craft: u16| held[&SpacecraftId(craft)].get(&prefix).map(RangeSet::count);
        assert_eq!((of(7), of(8)), (Some(15), None));
        let held = on_board(prefix.origin, crafts, &channels, &[ranges(0, 49)]);
        assert!(held[&SpacecraftId(7)].is_empty());
    }
}
