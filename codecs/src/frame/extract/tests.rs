//! Each trap of real links has its test here; recordings stand in the tests crate.

use super::*;
use crate::frame::FrameError;
use crate::frame::aos::AosBuilder;
use crate::frame::counts::Counts;
use crate::frame::tm::TmBuilder;
use crate::ids::Apid;
use crate::packet::idle::idle_packet;
use crate::packet::space::{PacketHeader, SequenceCount, build};
use alloc::{vec, vec::Vec};
use proptest::prelude::*;

const LENGTH: usize = 64;
const ZONE: usize = LENGTH - 8;

fn packet(apid: u16, length: usize) -> Vec<u8> {
    let header = PacketHeader::telemetry(Apid(apid), SequenceCount(0));
    build(&header, &vec![apid as u8; length - 6]).unwrap()
}

/// A frame by hand: spacecraft 1, channel 2.
fn frame(count: u32, pointer: u16, zone: &[u8]) -> Bytes {
    let [_, a, b, c] = count.to_be_bytes();
    let [high, low] = pointer.to_be_bytes();
    let mut bytes = vec![0x40, 0x42, a, b, c, 0, high, low];
    bytes.extend_from_slice(zone);
    bytes.resize(LENGTH, 0);
    bytes.into()
}

fn extractor() -> Extractor {
    Extractor::new(FrameConfig::Aos(AosConfig::new(LENGTH)))
}

/// Lengths of the packets and names of what was left out, and the counts.
fn read(frames: &[Bytes]) -> (Vec<usize>, Vec<&'static str>, Counts) {
    let (mut extractor, mut counts) = (extractor(), Counts::default());
    let (mut lengths, mut dropped) = (Vec::new(), Vec::new());
    for frame in frames {
        extractor.push(frame, &mut |event| {
            counts.take(&event);
            match event {
                Event::Packet { bytes, .. } => lengths.push(bytes.len()),
                Event::Dropped { reason, .. } => dropped.push(reason.name()),
                _ => {}
            }
        });
    }
    (lengths, dropped, counts)
}

/// Zones of `packets` end to end.
fn zones(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    packets.concat().chunks(ZONE).map(<[u8]>::to_vec).collect()
}

#[test]
fn the_pointer_resynchronises_every_frame() {
    // An idle packet of 11 bytes still wants 3 when the next frame starts with a packet: seen on
    // OSIRIS-REx five times in one pass.
    let mut first = packet(1, ZONE - 8);
    first.extend_from_slice(&idle_packet(11).unwrap()[..8]);
    let (lengths, dropped, counts) = read(&[frame(0, 0, &first), frame(1, 0, &packet(3, ZONE))]);
    assert_eq!((lengths, dropped), (vec![ZONE - 8, ZONE], vec!["cut_by_pointer"]));
    assert_eq!((counts.truncated_packets, counts.idle_packets), (1, 0));
    assert_eq!(counts.longest_packet, ZONE as u64);
}

#[test]
fn a_lying_length_costs_one_packet() {
    let mut lying = packet(1, 20);
    lying[4] = 0x40;
    let zones = [[lying, packet(2, ZONE - 20)].concat(), packet(3, ZONE)];
    let (lengths, dropped, _) = read(&[frame(0, 0, &zones[0]), frame(1, 0, &zones[1])]);
    assert_eq!((lengths, dropped), (vec![ZONE], vec!["cut_by_pointer"]));
    // The other way: the length field says less than the pointer.
    let spanning = zones_of_spanning_with_length(ZONE + 9);
    let (lengths, dropped, _) = read(&spanning);
    assert_eq!((lengths, dropped), (vec![ZONE - 10], vec!["overrun_by_pointer"]));
}

/// A packet of `ZONE + 10` bytes whose length field says otherwise, and one behind it.
fn zones_of_spanning_with_length(said: usize) -> [Bytes; 2] {
    let mut spanning = packet(1, ZONE + 10);
    spanning[5] = u8::try_from(said - 7).unwrap();
    let zones = zones(&[spanning, packet(2, ZONE - 10)]);
    [frame(0, 0, &zones[0]), frame(1, 10, &zones[1])]
}

#[test]
fn idle_data_in_a_data_channel_is_never_appended() {
    let zones = zones(&[packet(1, ZONE + 10), packet(2, ZONE - 10)]);
    let frames = [
        frame(0, 0, &zones[0]),
        frame(1, 0x7FE, &[0xFF; ZONE]),
        frame(2, 0x7FE, &[0xFF; ZONE]),
        frame(3, 10, &zones[1]),
    ];
    let (lengths, dropped, counts) = read(&frames);
    assert_eq!((lengths, dropped), (vec![ZONE + 10, ZONE - 10], vec![]));
    assert_eq!((counts.first_header_pointer.idle, counts.spanning_packets), (2, 1));
}

#[test]
fn a_loss_right_before_an_idle_frame_is_seen() {
    let zones = zones(&[packet(1, ZONE + 10), packet(2, ZONE - 10)]);
    let frames = [frame(0, 0, &zones[0]), frame(2, 0x7FE, &[0xFF; ZONE]), frame(3, 10, &zones[1])];
    let (lengths, dropped, counts) = read(&frames);
    assert_eq!((lengths, dropped), (vec![ZONE - 10], vec!["gap"]));
    assert_eq!((counts.gaps, counts.lost_frames), (1, 1));
}

#[test]
fn pointers_beyond_the_zone_leave_the_frame_out() {
    for pointer in [ZONE as u16, ZONE as u16 + 1, 0x7FD] {
        let zones = zones(&[packet(1, ZONE + 10), packet(2, ZONE - 10)]);
        let frames =
            [frame(0, 0, &zones[0]), frame(1, pointer, &zones[1]), frame(2, 0, &packet(3, ZONE))];
        let (lengths, dropped, _) = read(&frames);
        assert_eq!(lengths, [ZONE]);
        assert_eq!(dropped, ["pointer_beyond_zone"; 2], "the packet in progress and the zone");
    }
}

/// The zone that bounds a pointer is what insert zone, secondary header, operational control field
/// and check field leave.
#[test]
fn pointers_are_held_against_what_headers_and_trailers_leave() {
    let mut aos = AosConfig::new(LENGTH).with_fecf(true);
    (aos.insert_zone, aos.header_error_control, aos.ocf) = (9, true, true);
    let room = LENGTH - 6 - 2 - 9 - 2 - 4 - 2;
    let mut builder = AosBuilder::new(aos.clone(), 1, 2, 0).unwrap();
    let mut frames = Vec::new();
    builder.push(&packet(1, room), &mut |frame: Bytes| frames.push(frame.to_vec())).unwrap();
    let mut tm = vec![0x00, 0x15, 0, 0, 0x98, 0, 3, 1, 2, 3];
    tm.resize(LENGTH, 0xFF);
    let tm_room = LENGTH - 6 - 4 - 4;
    let tm_config = FrameConfig::Tm(TmConfig::new(LENGTH));
    for (config, frame, at, room) in
        [(FrameConfig::Aos(aos), frames.remove(0), 6 + 2 + 9, room), (tm_config, tm, 4, tm_room)]
    {
        for (pointer, beyond) in [(room - 1, false), (room, true), (room + 1, true)] {
            let mut frame = frame.clone();
            let flags = frame[at] & 0xF8;
            (frame[at], frame[at + 1]) = (flags | (pointer >> 8) as u8, pointer as u8);
            let mut reasons = Vec::new();
            Extractor::new(config.clone()).push(&frame.into(), &mut |event| {
                if let Event::Dropped { reason, .. } = event {
                    reasons.push(reason);
                }
            });
            let told = reasons.contains(&DropReason::PointerBeyondZone);
            assert_eq!(told, beyond, "pointer {pointer} of {room}");
        }
    }
}

/// Some senders set all sixteen bits, of which the first five are spare.
#[test]
fn spare_bits_before_a_pointer_mean_nothing() {
    let zones = zones(&[packet(1, 2 * ZONE + 10), packet(2, ZONE - 10)]);
    let frames = [
        frame(0, 0xF800, &zones[0]),
        frame(1, 0xFFFE, &[0xFF; ZONE]),
        frame(2, 0xFFFF, &zones[1]),
        frame(3, 0x800 | 10, &zones[2]),
    ];
    let (lengths, dropped, counts) = read(&frames);
    assert_eq!((lengths, dropped), (vec![2 * ZONE + 10, ZONE - 10], vec![]));
    assert_eq!(counts.first_header_pointer.idle, 1);
}

#[test]
fn headers_split_across_frames_at_every_byte() {
    for left in 1..6 {
        let zones = zones(&[packet(1, ZONE - left), packet(2, 30), packet(3, ZONE + left - 30)]);
        let pointer = 30 - left as u16;
        let (lengths, dropped, counts) =
            read(&[frame(0, 0, &zones[0]), frame(1, pointer, &zones[1])]);
        assert_eq!((lengths, dropped), (vec![ZONE - left, 30, ZONE + left - 30], vec![]));
        assert_eq!(counts.spanning_packets, 1, "{left} bytes of header");
    }
}

#[test]
fn the_longest_packet_spans_a_thousand_frames() {
    let mut builder = AosBuilder::new(AosConfig::new(LENGTH), 1, 2, 0xFF_FF00).unwrap();
    let mut frames = Vec::new();
    builder.push(&packet(9, 65_542), &mut |frame| frames.push(frame)).unwrap();
    builder.flush(&mut |frame| frames.push(frame));
    let (lengths, dropped, counts) = read(&frames);
    assert_eq!((lengths, dropped), (vec![65_542], vec![]));
    assert_eq!(counts.gaps, 0, "the count wraps at 24 bits");
}

#[test]
fn unknown_packet_versions_leave_the_rest_of_the_zone() {
    let zone = [packet(1, 20), vec![0x20; ZONE - 20]].concat();
    let (lengths, dropped, _) = read(&[frame(0, 0, &zone), frame(1, 0, &packet(2, ZONE))]);
    assert_eq!((lengths, dropped), (vec![20, ZONE], vec!["packet_version"]));
    // A header split across frames may turn out to be none.
    let zone = [packet(1, ZONE - 1), vec![0xE7]].concat();
    let (_, dropped, _) = read(&[frame(0, 0, &zone), frame(1, 8, &[0xFF; ZONE])]);
    assert_eq!(dropped, ["packet_length", "packet_length"]);
}

#[test]
fn encapsulation_packets_are_stepped_over() {
    let mut zone = vec![0xE0, 0xE5, 4, 1, 2];
    zone.splice(0..0, packet(5, ZONE - 5));
    let (lengths, dropped, counts) = read(&[frame(0, 0, &zone)]);
    assert_eq!((lengths, dropped), (vec![ZONE - 5, 4], vec![]));
    assert_eq!((counts.encapsulation_packets, counts.idle_packets), (2, 1));
    assert_eq!((counts.bytes, counts.longest_packet), (ZONE as u64, ZONE as u64 - 5));
    assert_eq!(counts.apids.len(), 1);
}

#[test]
fn idle_channel_and_foreign_frames_touch_nothing() {
    let mut idle = frame(77, 0, &[0xFF; ZONE]).to_vec();
    idle[1] |= 63;
    let zones = zones(&[packet(1, ZONE + 10), packet(2, ZONE - 10)]);
    let frames = [frame(0, 0, &zones[0]), idle.into(), frame(1, 10, &zones[1])];
    let (lengths, _, counts) = read(&frames);
    assert_eq!((lengths.len(), counts.gaps, counts.virtual_channels[&63]), (2, 0, 1));

    let mut events = Vec::new();
    let mut extractor = extractor().with_spacecraft(7);
    extractor.push(&frames[0], &mut |event| events.push(event));
    extractor.push(&frames[0].slice(1..), &mut |event| events.push(event));
    let malformed = FrameError::Length { expected: LENGTH, found: LENGTH - 1 };
    assert_eq!(events[0], Event::Rejected(Rejection::Spacecraft(1)));
    assert_eq!(events[1], Event::Rejected(Rejection::Malformed(malformed)));
}

#[test]
fn repeated_and_backward_counts_lose_nothing_but_the_packet_in_progress() {
    let whole = |count| frame(count, 0, &packet(1, ZONE));
    let (_, _, counts) = read(&[whole(5), whole(5), whole(2), whole(0xFF_FFFF)]);
    assert_eq!((counts.gaps, counts.lost_frames), (3, 0));
    let (_, _, counts) = read(&[whole(0xFF_FFFE), whole(3)]);
    assert_eq!((counts.gaps, counts.lost_frames), (1, 4));
    // Half a turn is the border between forwards and backwards.
    assert_eq!(read(&[whole(0), whole(1 << 23)]).2.lost_frames, (1 << 23) - 1);
    assert_eq!(read(&[whole(0), whole((1 << 23) + 1)]).2.lost_frames, 0);
}

#[test]
fn a_cycle_counts_only_where_both_frames_signal_it() {
    let cycle = |count, cycle: u8| {
        let mut bytes = frame(count, 0, &packet(1, ZONE)).to_vec();
        bytes[5] = 0x40 | cycle;
        Bytes::from(bytes)
    };
    assert_eq!(read(&[cycle(0xFF_FFFF, 15), cycle(0, 0), cycle(1, 0)]).2.gaps, 0);
    assert_eq!(read(&[cycle(0xFF_FFFF, 1), cycle(0, 1)]).2.gaps, 1);
    assert_eq!(read(&[cycle(0xFF_FFFF, 1), frame(0, 0, &packet(1, ZONE))]).2.gaps, 0);
    assert_eq!(read(&[cycle(0, 0), cycle(1, 8)]).2.gaps, 1, "all four bits count");
}

#[test]
fn erred_frames_are_counted_and_their_packets_marked() {
    let config = AosConfig::new(LENGTH).with_fecf(true);
    let mut builder = AosBuilder::new(config.clone(), 1, 2, 0).unwrap();
    let mut frames = Vec::new();
    for apid in 0..9 {
        builder.push(&packet(apid, 25), &mut |frame: Bytes| frames.push(frame)).unwrap();
    }
    let mut broken = frames[1].to_vec();
    broken[20] ^= 1;
    frames[1] = broken.into();
    let count = |erred| {
        let mut extractor = Extractor::new(FrameConfig::Aos(config.clone())).with_erred(erred);
        let mut counts = Counts::default();
        frames.iter().for_each(|frame| extractor.push(frame, &mut |event| counts.take(&event)));
        counts
    };
    let used = count(Erred::Use);
    assert_eq!((used.frames, used.erred_frames, used.gaps, used.erred_packets), (4, 1, 0, 3));
    let rejected = count(Erred::Reject);
    assert_eq!((rejected.frames, rejected.erred_frames, rejected.rejected_frames), (4, 1, 1));
    assert_eq!((rejected.gaps, rejected.lost_frames, rejected.erred_packets), (1, 1, 0));
}

#[test]
fn packets_inside_a_frame_are_slices_of_it() {
    let frame = frame(0, 0, &[packet(1, 20), packet(2, ZONE - 20)].concat());
    let range = frame.as_ptr_range();
    let mut slices = 0;
    extractor().push(&frame, &mut |event| {
        if let Event::Packet { bytes, .. } = event {
            assert!(range.contains(&bytes.as_ptr()));
            slices += 1;
        }
    });
    assert_eq!(slices, 2);
}

#[test]
fn opaque_tm_frames_hold_no_packets() {
    let mut builder = TmBuilder::new(TmConfig::new(LENGTH), 5, 1, 0).unwrap();
    let mut frames = Vec::new();
    builder.push(&packet(1, 100), &mut |frame| frames.push(frame)).unwrap();
    builder.flush(&mut |frame| frames.push(frame));
    let mut opaque = frames[0].to_vec();
    opaque[4] |= 0x40;
    let mut extractor = Extractor::new(FrameConfig::Tm(TmConfig::new(LENGTH)));
    let mut events = Vec::new();
    extractor.push(&Bytes::copy_from_slice(&opaque), &mut |event| events.push(event));
    let opaque_bytes = Bytes::copy_from_slice(&opaque).slice(6..);
    assert!(matches!(
        &events[..],
        [
            Event::Frame { content: Content::Opaque, .. },
            Event::Unit { unit: Unit::Access, bytes, spanning: false, .. },
        ] if *bytes == opaque_bytes
    ));
    // It counts all the same: what follows it follows on, what leaves it out shows a gap.
    let gap = |frame: &Bytes, extractor: &mut Extractor| {
        let mut gap = false;
        extractor.push(frame, &mut |event| gap |= matches!(event, Event::Gap { .. }));
        gap
    };
    let mut skipped = frames[1].to_vec();
    skipped[3] += 1;
    assert!(gap(&skipped.into(), &mut extractor));
    extractor.push(&Bytes::copy_from_slice(&opaque), &mut |_| {});
    assert!(!gap(&frames[1], &mut extractor));
}

#[test]
fn a_busy_channel_outlives_silent_ones() {
    let zones = zones(&[packet(1, 3 * ZONE)]);
    let mut extractor = extractor();
    let mut found = 0;
    let mut push = |bytes: Bytes| {
        extractor.push(&bytes, &mut |event| {
            found += usize::from(matches!(event, Event::Packet { .. }));
        });
    };
    for (count, zone) in (0..).zip(&zones) {
        push(frame(count, if count == 0 { 0 } else { 0x7FF }, zone));
        for scid in 2..MAX_CHANNELS as u8 + 1 {
            let mut other = frame(0, 0x7FE, &[]).to_vec();
            (other[0], other[1]) = (0x40 | scid >> 2, scid << 6 | count as u8);
            push(other.into());
        }
    }
    assert_eq!(found, 1);
}

#[test]
fn a_packet_in_progress_takes_what_it_says_and_no_more() {
    let zones = zones(&[idle_packet(ZONE - 2).unwrap(), packet(1, 5000)]);
    let mut extractor = extractor();
    extractor.push(&frame(0, 0, &zones[0]), &mut |_| {});
    assert!(extractor.held_bytes() < 16, "the length is not known yet");
    extractor.push(&frame(1, 0x7FF, &zones[1]), &mut |_| {});
    assert_eq!(extractor.held_bytes(), 5000);
}

#[test]
fn one_flipped_bit_anywhere_loses_at_most_its_neighbours() {
    let packets: Vec<_> = (0..12).map(|n| packet(n, 17 + usize::from(n) * 5)).collect();
    let mut builder = AosBuilder::new(AosConfig::new(LENGTH), 1, 2, 0).unwrap();
    let mut frames = Vec::new();
    for packet in &packets {
        builder.push(packet, &mut |frame| frames.push(frame)).unwrap();
    }
    builder.flush(&mut |frame| frames.push(frame));
    let victim = 3;
    for bit in 0..LENGTH * 8 {
        let mut broken = frames.clone();
        let mut bytes = broken[victim].to_vec();
        bytes[bit / 8] ^= 0x80 >> (bit % 8);
        broken[victim] = bytes.into();
        let mut found = Vec::new();
        let mut extractor = extractor();
        for frame in &broken {
            extractor.push(frame, &mut |event| {
                if let Event::Packet { bytes, .. } = event {
                    found.push(bytes);
                }
            });
        }
        let whole = packets.iter().filter(|packet| found.iter().any(|other| other == *packet));
        // The victim touches at most four packets: at least the other eight arrive untouched.
        assert!(whole.count() >= 8, "bit {bit}");
    }
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(
        lengths in prop::collection::vec((7usize..300, any::<bool>()), 1..40),
        length in 16usize..120,
        fecf: bool,
        aos: bool,
        first in any::<u32>(),
    ) {
        let mut frames = Vec::new();
        let mut keep = |frame: Bytes| frames.push(frame);
        let packets: Vec<_> = (0u16..).zip(&lengths).map(|(n, (len, _))| packet(n, *len)).collect();
        let config = if aos {
            let config = AosConfig::new(length).with_fecf(fecf);
            let mut builder = AosBuilder::new(config.clone(), 1, 2, first).unwrap();
            for (packet, (_, flush)) in packets.iter().zip(&lengths) {
                builder.push(packet, &mut keep).unwrap();
                if *flush { builder.flush(&mut keep) }
            }
            builder.flush(&mut keep);
            FrameConfig::Aos(config)
        } else {
            let config = TmConfig::new(length).with_fecf(fecf);
            let mut builder = TmBuilder::new(config.clone(), 1, 2, first as u8).unwrap();
            for (packet, (_, flush)) in packets.iter().zip(&lengths) {
                builder.push(packet, &mut keep).unwrap();
                if *flush { builder.flush(&mut keep) }
            }
            builder.flush(&mut keep);
            FrameConfig::Tm(config)
        };
        let mut extractor = Extractor::new(config);
        let (mut counts, mut found) = (Counts::default(), Vec::new());
        for frame in &frames {
            extractor.push(frame, &mut |event| {
                counts.take(&event);
                if let Event::Packet { bytes, .. } = event { found.push(bytes) }
            });
        }
        prop_assert_eq!(found, packets);
        prop_assert_eq!((counts.gaps, counts.dropped.len(), counts.erred_frames), (0, 0, 0));
    }
}
