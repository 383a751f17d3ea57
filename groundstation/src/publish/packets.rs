//! Packets are counted once, however often they come down.

use super::event::PacketIdentity;
use std::collections::{BTreeSet, VecDeque};

/// Identities remembered; at thirty packets a second about an hour and a half.
///
/// At the bound the oldest arrival is forgotten: a copy that comes later than that counts again.
pub const PACKET_IDENTITIES_MAX: usize = 1 << 17;

/// A window of packet identities.
#[derive(Debug)]
pub struct PacketIdentities {
    seen: BTreeSet<PacketIdentity>,
    arrival: VecDeque<PacketIdentity>,
    bound: usize,
}

impl Default for PacketIdentities {
    fn default() -> Self {
        Self::with_bound(PACKET_IDENTITIES_MAX)
    }
}

impl PacketIdentities {
    /// A window of `bound` identities.
    pub fn with_bound(bound: usize) -> Self {
        Self { seen: BTreeSet::new(), arrival: VecDeque::new(), bound: bound.max(1) }
    }

    /// Remembers an identity; true where it is new.
    pub fn insert(&mut self, identity: PacketIdentity) -> bool {
        if !self.seen.insert(identity) {
            return false;
        }
        if self.arrival.len() == self.bound
            && let Some(oldest) = self.arrival.pop_front()
        {
            self.seen.remove(&oldest);
        }
        self.arrival.push_back(identity);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::ids::{Apid, SpacecraftId};
    use codecs::time::Tai;

    fn packet(count: u16) -> PacketIdentity {
        PacketIdentity {
            spacecraft: SpacecraftId(7),
            apid: Apid(100),
            time: Tai(1_000),
            sequence_count: count,
        }
    }

    #[test]
    fn a_second_copy_is_known() {
        let mut window = PacketIdentities::default();
        assert!(window.insert(packet(1)));
        assert!(!window.insert(packet(1)));
        assert!(window.insert(packet(2)));
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_is_forgotten() {
        let mut window = PacketIdentities::with_bound(2);
        for count in 0..100 {
            assert!(window.insert(packet(count)));
        }
        assert_eq!((window.seen.len(), window.arrival.len()), (2, 2));
        assert!(!window.insert(packet(99)));
        assert!(window.insert(packet(0)));
    }
}
