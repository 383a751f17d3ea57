//! Packets end to end into packet zones, with the pointer that finds the first of each.

use super::{BuildError, FirstHeader};
use crate::packet::{Extent, extent, idle};
use alloc::vec::Vec;

/// The packet zones of one virtual channel; holds at most one zone.
#[derive(Clone, Debug)]
pub struct Packer {
    capacity: usize,
    zone: Vec<u8>,
    first: Option<u16>,
    /// Everything in the zone is the tail of an idle packet: no reason to send it.
    only_fill: bool,
}

impl Packer {
    /// Zones of a length; every byte of them must be reachable by a first header pointer.
    pub fn new(capacity: usize) -> Result<Self, BuildError> {
        if !(1..=usize::from(FirstHeader::MAX) + 1).contains(&capacity) {
            return Err(BuildError::Zone(capacity));
        }
        Ok(Self { capacity, zone: Vec::with_capacity(capacity), first: None, only_fill: true })
    }

    /// Length of every zone.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes that wait for the zone to fill; the tail of an idle packet does not count.
    pub fn pending(&self) -> usize {
        if self.only_fill { 0 } else { self.zone.len() }
    }

    /// Takes one whole packet; hands out each zone that it fills.
    pub fn push(
        &mut self,
        packet: &[u8],
        full: &mut impl FnMut(FirstHeader, &[u8]),
    ) -> Result<(), BuildError> {
        match extent(packet) {
            Extent::Known { length, .. } if length == packet.len() => {}
            _ => return Err(BuildError::NotAPacket(packet.len())),
        }
        self.only_fill = false;
        self.append(packet, full);
        Ok(())
    }

    /// Fills the zone in progress with an idle packet and hands it out.
    pub fn flush(&mut self, full: &mut impl FnMut(FirstHeader, &[u8])) {
        if self.pending() == 0 {
            return;
        }
        let room = self.capacity - self.zone.len();
        // A zone is at most 2046 bytes, so the packet is never too long to build.
        if let Ok(fill) = idle::idle_packet(room.max(idle::MIN_IDLE_BYTES)) {
            self.append(&fill, full);
        }
        self.only_fill = true;
    }

    fn append(&mut self, packet: &[u8], full: &mut impl FnMut(FirstHeader, &[u8])) {
        // A zone is handed out as soon as it is full, so a packet always starts inside one.
        let start = self.zone.len();
        assert!(start < self.capacity);
        self.first = self.first.or(u16::try_from(start).ok());
        let mut rest = packet;
        while !rest.is_empty() {
            let room = self.capacity - self.zone.len();
            let (now, later) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            self.zone.extend_from_slice(now);
            rest = later;
            if self.zone.len() == self.capacity {
                full(self.first.map_or(FirstHeader::NoStart, FirstHeader::At), &self.zone);
                self.zone.clear();
                self.first = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Apid;
    use crate::packet::space::{PacketHeader, SequenceCount, build};
    use alloc::vec;

    fn packet(length: usize) -> Vec<u8> {
        let header = PacketHeader::telemetry(Apid(7), SequenceCount(0));
        build(&header, &vec![0xAB; length - 6]).unwrap()
    }

    fn pack(lengths: &[usize], flush: bool) -> (Vec<FirstHeader>, Packer) {
        let mut packer = Packer::new(20).unwrap();
        let mut pointers = Vec::new();
        let mut keep = |pointer, zone: &[u8]| {
            assert_eq!(zone.len(), 20);
            pointers.push(pointer);
        };
        for length in lengths {
            packer.push(&packet(*length), &mut keep).unwrap();
        }
        if flush {
            packer.flush(&mut keep);
        }
        (pointers, packer)
    }

    #[test]
    fn pointers_name_the_first_start() {
        use FirstHeader::{At, NoStart};
        assert_eq!(pack(&[20], false).0, [At(0)]);
        assert_eq!(pack(&[50, 10], false).0, [At(0), NoStart, At(10)]);
        assert_eq!(pack(&[60, 20], false).0, [At(0), NoStart, NoStart, At(0)]);
        assert_eq!(pack(&[18, 10], true).0, [At(0), At(8)]);
    }

    #[test]
    fn flushing_fills_and_never_sends_fill_alone() {
        let (pointers, packer) = pack(&[20], true);
        assert_eq!((pointers.len(), packer.pending()), (1, 0), "a full zone needs no fill");
        let (pointers, mut packer) = pack(&[17], true);
        assert_eq!((pointers.len(), packer.pending()), (1, 0), "3 of 7 bytes of fill fit");
        packer.flush(&mut |_, _| panic!("only the tail of an idle packet waits"));
        let mut pointer = None;
        packer.push(&packet(16), &mut |first, _| pointer = Some(first)).unwrap();
        assert_eq!(pointer, Some(FirstHeader::At(4)), "after the tail");
    }

    #[test]
    fn bytes_that_are_no_packet_are_refused() {
        let mut packer = Packer::new(20).unwrap();
        let none: &mut dyn FnMut(FirstHeader, &[u8]) = &mut |_, _| panic!("nothing to send");
        let mut none = none;
        for bytes in [&[][..], &[0; 6], &[0; 8], &[0x20; 7], &[0xE5, 3]] {
            let refused = packer.push(bytes, &mut none);
            assert_eq!(refused, Err(BuildError::NotAPacket(bytes.len())));
        }
        assert_eq!(packer.pending(), 0);
    }
}
