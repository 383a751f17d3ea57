//! Packets into units, on the ground: parts in any order, repeated, from any number of passes.

use alloc::{collections::BTreeMap, vec::Vec};
use bytes::Bytes;

use super::part::{Part, PartError, PartOf};
use crate::{fec::crc::crc32c, link::MAX_UNIT_BYTES, packet::space::PacketView};

/// Units of which parts are held at once. At the bound the one that was silent for longest goes:
/// its spacecraft has no receipt and sends it again.
pub const UNITS_MAX: usize = 4096;
/// Bytes of parts held at once, bookkeeping included; at the bound the same.
pub const BYTES_MAX: usize = 32 << 20;
/// What a held part costs beside its bytes.
const PART_COST: usize = 96;

/// A whole unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// What it is.
    pub of: PartOf,
    /// Its bytes, as the store had them.
    pub bytes: Bytes,
}

/// What became of packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RebuildCounts {
    /// Parts taken.
    pub parts: u64,
    /// Parts that were held already.
    pub repeated: u64,
    /// Packets that are no part, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Units given out whole.
    pub units: u64,
    /// Units all of whose parts came and whose check did not hold.
    pub wrong: u64,
    /// Units above the bound of a unit's length.
    pub too_long: u64,
    /// Units whose parts were given up for want of room.
    pub given_up: u64,
}

/// State machine that puts units together; holds at most [`UNITS_MAX`] and [`BYTES_MAX`].
#[derive(Debug, Default)]
pub struct Rebuilder {
    open: BTreeMap<PartOf, Assembly>,
    /// The same by when they were last heard of.
    order: BTreeMap<u64, PartOf>,
    bytes: usize,
    turns: u64,
    counts: RebuildCounts,
}

#[derive(Debug)]
struct Assembly {
    parts: BTreeMap<u16, Vec<u8>>,
    length: usize,
    turn: u64,
}

impl Assembly {
    fn cost(&self) -> usize {
        self.length + self.parts.len() * PART_COST
    }
}

impl Rebuilder {
    /// Has heard nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// What became of packets so far.
    pub fn counts(&self) -> &RebuildCounts {
        &self.counts
    }

    /// Bytes held, bookkeeping included.
    pub fn held_bytes(&self) -> usize {
        self.bytes
    }

    /// Takes one packet; gives the unit that it completes.
    pub fn push(&mut self, packet: &PacketView<'_>) -> Option<Rebuilt> {
        match Part::parse(packet) {
            Ok(part) => self.part(&part),
            Err(error) => {
                self.refuse(error);
                None
            }
        }
    }

    fn refuse(&mut self, error: PartError) {
        *self.counts.refused.entry(error.name()).or_default() += 1;
    }

    fn part(&mut self, part: &Part<'_>) -> Option<Rebuilt> {
        self.counts.parts += 1;
        if part.of.parts == 1 {
            return self.whole(part.of, Bytes::copy_from_slice(part.data));
        }
        let turn = self.turns;
        self.turns += 1;
        let assembly = self.open.entry(part.of).or_insert_with(|| Assembly {
            parts: BTreeMap::new(),
            length: 0,
            turn,
        });
        self.order.remove(&assembly.turn);
        self.order.insert(turn, part.of);
        assembly.turn = turn;
        if assembly.parts.contains_key(&part.index) {
            self.counts.repeated += 1;
            return None;
        }
        assembly.parts.insert(part.index, part.data.to_vec());
        assembly.length += part.data.len();
        self.bytes += part.data.len() + PART_COST;
        let (length, count) = (assembly.length, assembly.parts.len());
        if length > MAX_UNIT_BYTES {
            self.forget(&part.of);
            self.counts.too_long += 1;
            return None;
        }
        if count == usize::from(part.of.parts) {
            let parts = self.forget(&part.of).unwrap_or_default();
            let mut bytes = Vec::with_capacity(length);
            parts.values().for_each(|part| bytes.extend_from_slice(part));
            return self.whole(part.of, bytes.into());
        }
        while self.open.len() > UNITS_MAX || self.bytes > BYTES_MAX {
            let Some((_, silent)) = self.order.first_key_value() else { break };
            let silent = *silent;
            self.forget(&silent);
            self.counts.given_up += 1;
        }
        None
    }

    fn whole(&mut self, of: PartOf, bytes: Bytes) -> Option<Rebuilt> {
        if crc32c(&bytes) != of.check {
            self.counts.wrong += 1;
            return None;
        }
        self.counts.units += 1;
        Some(Rebuilt { of, bytes })
    }

    fn forget(&mut self, of: &PartOf) -> Option<BTreeMap<u16, Vec<u8>>> {
        let assembly = self.open.remove(of)?;
        self.order.remove(&assembly.turn);
        self.bytes -= assembly.cost();
        Some(assembly.parts)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PARTS_APID, part::PART_BYTES_MIN, split::Splitter};
    use super::*;
    use crate::{
        ids::{Channel, Codec, KeyPrefix, Origin, SpacecraftId, StoreEpoch, UnitKey},
        packet::space::{PacketHeader, SequenceCount},
    };
    use alloc::vec;
    use proptest::prelude::*;

    fn key(epoch: u64, sequence: u64) -> UnitKey {
        let prefix = KeyPrefix {
            origin: Origin([1; 16]),
            epoch: StoreEpoch(epoch),
            spacecraft: SpacecraftId(7),
            channel: Channel::stream(2),
        };
        UnitKey { prefix, sequence }
    }

    fn packets(key: UnitKey, unit: &[u8], part_bytes: usize) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        let mut splitter = Splitter::new(PARTS_APID, part_bytes).unwrap();
        splitter.split(key, Codec::Product, 9, unit, &mut |packet| packets.push(packet)).unwrap();
        packets
    }

    fn push(rebuilder: &mut Rebuilder, packet: &[u8]) -> Option<Rebuilt> {
        rebuilder.push(&PacketView::parse(packet).unwrap())
    }

    proptest! {
        /// The promise: whatever the order, and however often each part comes, a unit comes out
        /// exactly as the store had it, once for each time that all its parts came.
        #[test]
        fn parts_in_any_order_give_the_same_unit(
            units in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2_000), 1..5),
            part_bytes in PART_BYTES_MIN..600,
            order in prop::collection::vec(any::<prop::sample::Index>(), 60),
        ) {
            let mut all: Vec<(usize, Vec<u8>)> = Vec::new();
            for (at, unit) in units.iter().enumerate() {
                // Two epochs give the same sequences.
                let key = key(at as u64 % 2, at as u64 / 2);
                all.extend(packets(key, unit, part_bytes).into_iter().map(|packet| (at, packet)));
            }
            for (at, index) in order.iter().enumerate() {
                let length = all.len();
                all.swap(at % length, index.index(length));
            }
            let mut rebuilder = Rebuilder::new();
            let mut seen = vec![0; units.len()];
            // Each packet again while its unit is not whole: another antenna heard it as well.
            for (at, packet) in &all {
                for _ in 0..2 {
                    let Some(rebuilt) = push(&mut rebuilder, packet) else { continue };
                    prop_assert_eq!(&rebuilt.bytes[..], &units[*at][..]);
                    prop_assert_eq!(rebuilt.of.key(Origin([1; 16])),
                        key(*at as u64 % 2, *at as u64 / 2));
                    prop_assert_eq!((rebuilt.of.codec, rebuilt.of.priority), (Codec::Product, 9));
                    seen[*at] += 1;
                }
            }
            prop_assert!(seen.iter().all(|count| *count >= 1));
        }
    }

    #[test]
    fn two_passes_complete_what_each_alone_did_not() {
        let unit = vec![5; 1000];
        let packets = packets(key(1, 0), &unit, 300);
        assert_eq!(packets.len(), 4);
        let mut rebuilder = Rebuilder::new();
        assert!([0, 1, 3].iter().all(|at| push(&mut rebuilder, &packets[*at]).is_none()));
        assert!([1, 0].iter().all(|at| push(&mut rebuilder, &packets[*at]).is_none()));
        assert_eq!(push(&mut rebuilder, &packets[2]).unwrap().bytes, unit);
        assert_eq!((rebuilder.counts().repeated, rebuilder.held_bytes()), (2, 0));
    }

    #[test]
    fn a_unit_whose_check_does_not_hold_is_dropped_and_counted() {
        let mut wrong = packets(key(1, 0), &[5; 1000], 300);
        // A part that holds by itself, of other bytes: the unit's check is what tells.
        let view = PacketView::parse(&wrong[1]).unwrap();
        let part = Part::parse(&view).unwrap();
        let forged = Part { data: &[6; 300], ..part };
        wrong[1] = forged.packet(PacketHeader::telemetry(PARTS_APID, SequenceCount(0)));
        let mut rebuilder = Rebuilder::new();
        assert!(wrong.iter().all(|packet| push(&mut rebuilder, packet).is_none()));
        assert_eq!((rebuilder.counts().wrong, rebuilder.held_bytes()), (1, 0));
        // What was sent again is not spoilt by it.
        let again = packets(key(1, 0), &[5; 1000], 300);
        let whole = again.iter().find_map(|packet| push(&mut rebuilder, packet));
        assert_eq!(whole.unwrap().bytes, vec![5; 1000]);
    }

    #[test]
    fn a_hostile_stream_stays_within_the_bounds() {
        let mut rebuilder = Rebuilder::new();
        let unit = vec![0; 2 * 32_768];
        for sequence in 0..5_000 {
            let packets = packets(key(1, sequence), &unit, 32_768);
            assert!(push(&mut rebuilder, &packets[0]).is_none());
            assert!(rebuilder.held_bytes() <= BYTES_MAX);
        }
        assert!(rebuilder.counts().given_up > 3_000);
        assert!(rebuilder.open.len() == rebuilder.order.len());
        // More parts than a unit may have bytes.
        let of = PartOf {
            parts: 40,
            ..Part::parse(&PacketView::parse(&packets(key(1, 9_000), &unit, 32_768)[0]).unwrap())
                .unwrap()
                .of
        };
        for index in 0..39 {
            let part = Part { of, index, data: &unit[..32_768] };
            let packet = part.packet(PacketHeader::telemetry(PARTS_APID, SequenceCount(0)));
            assert!(push(&mut rebuilder, &packet).is_none());
        }
        assert_eq!(rebuilder.counts().too_long, 1);
    }
}
