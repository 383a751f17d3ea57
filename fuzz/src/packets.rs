//! Packets and their secondary headers.

use crate::input::Input;
use codecs::packet::encapsulation::{self, EncapsulationView};
use codecs::packet::pus::{Issue, Layout, TcSecondary, TmSecondary};
use codecs::packet::space::{self, PacketView};
use codecs::packet::track::{CrcPolicy, Tracker};
use codecs::packet::{Extent, MAX_HEADER_BYTES, MAX_PACKET_BYTES, Protocol, extent, is_idle};

/// Packets behind one another: lengths agree with the views, and views rebuild to the same bytes.
pub fn packets(data: &[u8]) {
    let mut rest = data;
    while !rest.is_empty() {
        let length = match extent(rest) {
            Extent::Known { protocol, length } => {
                assert!((1..=MAX_PACKET_BYTES).contains(&length));
                if let Some(packet) = rest.get(..length) {
                    match protocol {
                        Protocol::Space => space_packet(packet),
                        Protocol::Encapsulation => encapsulation_packet(packet),
                    }
                }
                // What is told from the header does not change with what follows it.
                let head = &rest[..rest.len().min(MAX_HEADER_BYTES)];
                assert_eq!(extent(head), extent(rest));
                length
            }
            Extent::Short { header } => {
                assert!(rest.len() < header && header <= MAX_HEADER_BYTES);
                return;
            }
            Extent::Version(version) => {
                assert!(version != 0 && version != 7);
                1
            }
            Extent::Length => 1,
        };
        assert_eq!(PacketView::parse(rest).is_ok(), is_exactly(rest, Protocol::Space));
        let encapsulated = is_exactly(rest, Protocol::Encapsulation);
        assert_eq!(EncapsulationView::parse(rest).is_ok(), encapsulated);
        rest = rest.get(length..).unwrap_or(&[]);
    }
}

fn is_exactly(bytes: &[u8], wanted: Protocol) -> bool {
    extent(bytes) == Extent::Known { protocol: wanted, length: bytes.len() }
}

fn space_packet(packet: &[u8]) {
    let view = PacketView::parse(packet).expect("its extent says so");
    assert_eq!(view.is_idle(), is_idle(packet));
    assert_eq!(view.data().len() + space::HEADER_BYTES, packet.len());
    let built = space::build(&view.header(), view.data()).expect("parts of a packet");
    assert_eq!(built, packet);
}

fn encapsulation_packet(packet: &[u8]) {
    let view = EncapsulationView::parse(packet).expect("its extent says so");
    assert_eq!(view.is_idle(), is_idle(packet));
    // A builder refuses an extension that no protocol identifier points to.
    let Ok(built) = encapsulation::build(view.header(), view.data()) else {
        assert!(view.header().extension != 0 || packet.len() > MAX_PACKET_BYTES - 4);
        return;
    };
    // A header without room for the extension that it points to is read, not written.
    let extended = view.header().protocol == encapsulation::EXTENDED_PROTOCOL;
    assert!(extended || built.len() <= packet.len(), "the shortest header");
    let again = EncapsulationView::parse(&built).expect("a packet of ours");
    assert_eq!((again.header(), again.data()), (view.header(), view.data()));
}

/// Secondary headers of the packet utilisation standard: what is read writes the same bytes.
pub fn pus(data: &[u8]) {
    let mut input = Input(data);
    let flags = input.byte();
    let issue = match flags & 1 {
        0 => Issue::C,
        _ => Issue::A { counter: flags & 2 != 0, peer: flags & 4 != 0 },
    };
    let layout =
        Layout { issue, time: usize::from(input.byte() % 40), spare: usize::from(flags >> 5) };
    let bytes = input.rest();
    let mut written = Vec::new();
    if let Ok((header, rest)) = TcSecondary::read(bytes, &layout) {
        header.write(&layout, &mut written).expect("what was read");
        let (head, _) = bytes.split_at(bytes.len() - rest.len());
        assert_eq!(written.len(), head.len());
        assert!(written[..written.len() - layout.spare] == head[..head.len() - layout.spare]);
    }
    written.clear();
    if let Ok((header, rest)) = TmSecondary::read(bytes, &layout) {
        assert_eq!(header.time.len(), layout.time);
        header.write(&layout, &mut written).expect("what was read");
        let (head, _) = bytes.split_at(bytes.len() - rest.len());
        assert_eq!(written.len(), head.len());
        // Four bits of issue A are spare.
        assert_eq!(written[0] & 0xF0, head[0] & 0xF0);
        assert!(written[1..written.len() - layout.spare] == head[1..head.len() - layout.spare]);
        let (again, _) = TmSecondary::read(&written, &layout).expect("a header of ours");
        assert_eq!(again, header);
    }
}

/// Packets followed application by application: counts add up, whatever they say.
pub fn track(data: &[u8]) {
    let mut input = Input(data);
    let flags = input.byte();
    let policy = input.choose(&[CrcPolicy::None, CrcPolicy::Check, CrcPolicy::Required]);
    let mut tracker = Tracker::new().with_crc(policy);
    if flags & 1 != 0 {
        tracker = tracker.with_destinations(Layout::issue_c(0));
    }
    let (mut taken, mut ended) = (0, 0u64);
    while !input.0.is_empty() {
        // Headers that the fuzzer need not find: four applications, lengths that hold.
        let mut packet = input.take(7).to_vec();
        packet.resize(7, 0);
        let length = usize::from(packet[5] & 0x1F);
        packet[0] &= 0x0F;
        packet[1] |= 0xFC;
        packet[4..6].copy_from_slice(&(length as u16).to_be_bytes());
        packet.extend_from_slice(input.take(length));
        packet.resize(7 + length, 0);
        let view = PacketView::parse(&packet).expect("a whole packet");
        let verdict = tracker.take(&view);
        assert_eq!(verdict.is_none(), view.is_idle());
        taken += u64::from(verdict.is_some());
        if let Some(verdict) = verdict {
            assert!(verdict.usable || policy == CrcPolicy::Required);
            ended += u64::from(verdict.group.is_some());
        }
    }
    tracker.finish(&mut |_, group| {
        assert!(group.broken.is_some());
        ended += 1;
    });
    let (packets, groups) = tracker.tallies().fold((0, 0), |(packets, groups), (_, tally)| {
        (packets + tally.packets, groups + tally.groups_whole + tally.groups_broken)
    });
    assert_eq!((packets, groups), (taken, ended));
}
