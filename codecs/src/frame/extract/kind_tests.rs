//! Frames of each kind through the extractor: what their headers say of access points, segments
//! and services.

use super::*;
use crate::frame::FirstHeader;
use crate::frame::aos::{AosBuilder, Service};
use crate::frame::tc::{self, Control, Segment, SegmentHeader, TcHeader, TcType};
use crate::frame::uslp::{self, Rule, UslpHeader};
use crate::ids::Apid;
use crate::packet::space::{PacketHeader, SequenceCount, build};
use alloc::{vec, vec::Vec};
use proptest::prelude::*;

fn packet(apid: u16, length: usize) -> Vec<u8> {
    let header = PacketHeader::telemetry(Apid(apid), SequenceCount(0));
    build(&header, &vec![apid as u8; length - 6]).unwrap()
}

fn read(config: FrameConfig, frames: &[Vec<u8>]) -> Vec<Event> {
    let mut extractor = Extractor::new(config);
    let mut events = Vec::new();
    for frame in frames {
        extractor.push(&Bytes::copy_from_slice(frame), &mut |event| events.push(event));
    }
    events
}

/// Access point, bytes and whether it spans frames, of packets and units.
fn found(events: &[Event]) -> Vec<(u8, Vec<u8>, bool)> {
    let whole = events.iter().filter_map(|event| match event {
        Event::Packet { channel, bytes, spanning, .. }
        | Event::Unit { channel, bytes, spanning, .. } => {
            Some((channel.map, bytes.to_vec(), *spanning))
        }
        _ => None,
    });
    whole.collect()
}

fn dropped(events: &[Event]) -> Vec<(u8, &'static str, usize)> {
    let dropped = events.iter().filter_map(|event| match event {
        Event::Dropped { channel, reason, bytes } => Some((channel.map, reason.name(), *bytes)),
        _ => None,
    });
    dropped.collect()
}

fn gaps(events: &[Event]) -> Vec<u64> {
    let gaps = events.iter().filter_map(|event| match event {
        Event::Gap { lost, .. } => Some(*lost),
        _ => None,
    });
    gaps.collect()
}

const USLP: FrameConfig = FrameConfig::Uslp(UslpConfig::new(None));

fn uslp(map: u8, count: (u64, u8), rule: Rule, upid: u8, zone: &[u8]) -> Vec<u8> {
    let header = UslpHeader {
        scid: 0x1234,
        vcid: 5,
        map,
        count: uslp::Count { value: count.0, bytes: count.1 },
        ..UslpHeader::default()
    };
    let content = uslp::Content { insert_zone: &[], rule, upid, zone, ocf: None, fecf: Fecf::None };
    uslp::build(&header, &content).unwrap()
}

#[test]
fn uslp_packets_span_frames_of_one_access_point_only() {
    let (a, b) = (packet(1, 50), packet(2, 60));
    let frames = [
        uslp(1, (0, 3), Rule::Packets(Some(0)), 0, &a[..30]),
        uslp(2, (1, 3), Rule::Packets(Some(0)), 0, &b[..30]),
        uslp(1, (2, 3), Rule::Packets(None), 0, &a[30..]),
        uslp(2, (3, 3), Rule::Packets(Some(30)), 0, &[&b[30..], &a[..]].concat()),
    ];
    let events = read(USLP, &frames);
    assert_eq!(found(&events), [(1, a.clone(), true), (2, b, true), (2, a, false)]);
    assert!(gaps(&events).is_empty() && dropped(&events).is_empty());
    let channel = VirtualChannel { version: uslp::VERSION, scid: 0x1234, vcid: 5, map: 1 };
    let content = Content::Packets(FirstHeader::At(0));
    let (count, corrected_symbols, erred) = (0, 0, false);
    assert_eq!(events[0], Event::Frame { channel, count, content, corrected_symbols, erred });
}

#[test]
fn a_uslp_gap_costs_what_is_in_progress_at_every_access_point() {
    let a = packet(1, 50);
    let frames = [
        uslp(1, (0xFFFF, 2), Rule::Packets(Some(0)), 0, &a[..30]),
        uslp(2, (0, 2), Rule::SegmentFirst, 7, &[7; 10]),
        uslp(1, (2, 2), Rule::Packets(Some(20)), 0, &[&a[30..], &a[..]].concat()),
        uslp(2, (3, 2), Rule::SegmentLast, 7, &[7; 10]),
    ];
    let events = read(USLP, &frames);
    assert_eq!(gaps(&events), [1], "two bytes of count wrap without a gap");
    assert_eq!(dropped(&events), [(1, "gap", 30), (2, "gap", 10), (2, "orphan_segment", 10)]);
    assert_eq!(found(&events), [(1, a, false)]);
}

#[test]
fn uslp_counts_of_no_byte_show_no_gap() {
    let a = packet(1, 50);
    let frames = [
        uslp(0, (0, 0), Rule::Packets(Some(0)), 0, &a[..30]),
        uslp(0, (0, 0), Rule::Packets(None), 0, &a[30..]),
    ];
    let events = read(USLP, &frames);
    assert_eq!((found(&events), gaps(&events)), (vec![(0, a, true)], vec![]));
    for bytes in 1..=7 {
        let last = if bytes == 7 { (1 << 56) - 1 } else { (1u64 << (8 * bytes)) - 1 };
        let frame = |count| uslp(0, (count, bytes), Rule::Unsegmented, 0, &packet(1, 9));
        let events = read(USLP, &[frame(last), frame(0), frame(2)]);
        assert_eq!(gaps(&events), [1], "{bytes} bytes");
        let back = read(USLP, &[frame(5), frame(5)]);
        assert_eq!(gaps(&back), [if bytes == 1 { 255 } else { 0 }], "{bytes} bytes stand still");
    }
    let short = |bytes| uslp(0, (1, bytes), Rule::Packets(None), 0, &[0]);
    let events = read(USLP, &[short(2), short(1)]);
    assert_eq!(gaps(&events), [0], "a counter of another length is another");
}

#[test]
fn truncated_uslp_frames_disturb_no_count() {
    let truncated = vec![0xC1, 0x23, 0x40, 0xA3, 0xE5, 0xAA, 0xBB];
    let frames = [
        uslp(1, (7, 1), Rule::SegmentFirst, 6, &[1; 9]),
        truncated,
        uslp(1, (8, 1), Rule::Unsegmented, 0, &packet(1, 20)),
    ];
    let config = UslpConfig { truncated_bytes: Some(7), ..UslpConfig::new(None) };
    let events = read(FrameConfig::Uslp(config), &frames);
    // The unit is of the same access point as the one in progress, and ends it.
    let expected = [(1, vec![0xAA, 0xBB], false), (1, packet(1, 20), false)];
    assert_eq!((found(&events), gaps(&events)), (expected.to_vec(), vec![]));
    assert_eq!(dropped(&events), [(1, "unfinished_unit", 9)]);
}

#[test]
fn uslp_frames_that_bypass_the_sequence_check_count_apart() {
    let frame = |bypass, count, rule, zone: &[u8]| {
        let count = uslp::Count { value: count, bytes: 1 };
        let header = UslpHeader { scid: 1, vcid: 2, bypass, count, ..UslpHeader::default() };
        let fecf = Fecf::None;
        let content = uslp::Content { insert_zone: &[], rule, upid: 6, zone, ocf: None, fecf };
        uslp::build(&header, &content).unwrap()
    };
    let frames = [
        frame(false, 10, Rule::SegmentFirst, &[1]),
        frame(true, 200, Rule::SegmentFirst, &[2]),
        frame(false, 11, Rule::SegmentLast, &[3]),
        frame(true, 201, Rule::SegmentLast, &[4]),
    ];
    let events = read(USLP, &frames);
    assert_eq!(found(&events), [(0, vec![1, 3], true), (0, vec![2, 4], true)]);
    assert!(gaps(&events).is_empty());
}

#[test]
fn uslp_units_of_fixed_zones_end_at_their_pointer() {
    let frames = [
        uslp(3, (0, 1), Rule::UnitStart(None), 5, &[1; 20]),
        uslp(3, (1, 1), Rule::UnitContinuation(None), 5, &[2; 20]),
        uslp(3, (2, 1), Rule::UnitContinuation(Some(4)), 5, &[3; 20]),
        uslp(3, (3, 1), Rule::UnitStart(Some(0)), 5, &[4; 20]),
        uslp(3, (4, 1), Rule::Stream, 4, &[5; 9]),
    ];
    let fixed = frames[0].len();
    let events = read(USLP, &frames);
    let unit = [vec![1; 20], vec![2; 20], vec![3; 5]].concat();
    let expected = [(3, unit, true), (3, vec![4], false), (3, vec![5; 9], false)];
    assert_eq!((found(&events), dropped(&events)), (expected.to_vec(), vec![]));
    let kinds: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Unit { unit, upid, .. } => Some((*unit, *upid)),
            _ => None,
        })
        .collect();
    assert_eq!(kinds, [(Unit::Access, 5), (Unit::Access, 5), (Unit::Stream, 4)]);
    // Of one length, the last is no frame of the channel.
    let events = read(FrameConfig::Uslp(UslpConfig::new(Some(fixed))), &frames);
    let error = crate::frame::FrameError::Length { expected: fixed, found: frames[4].len() };
    assert_eq!(events.last(), Some(&Event::Rejected(Rejection::Malformed(error))));
}

#[test]
fn segments_out_of_order_are_told() {
    let segment = |count, rule, upid, byte| uslp(0, (count, 1), rule, upid, &[byte; 8]);
    let frames = [
        segment(0, Rule::SegmentLast, 6, 1),
        segment(1, Rule::SegmentFirst, 6, 2),
        segment(2, Rule::SegmentFirst, 6, 3),
        segment(3, Rule::SegmentContinuation, 7, 4),
        segment(4, Rule::SegmentFirst, 6, 5),
        segment(5, Rule::Unsegmented, 6, 6),
        segment(6, Rule::SegmentFirst, 6, 7),
        segment(7, Rule::Packets(None), 0, 8),
    ];
    let events = read(USLP, &frames);
    let reasons: Vec<_> = dropped(&events).into_iter().map(|(_, reason, _)| reason).collect();
    let (orphan, unfinished) = ("orphan_segment", "unfinished_unit");
    assert_eq!(reasons, [orphan, unfinished, unfinished, orphan, unfinished, unfinished]);
    assert_eq!(found(&events), [(0, vec![6; 8], false)]);
}

#[test]
fn uslp_idle_frames_and_commands_touch_nothing() {
    let a = packet(1, 50);
    let mut idle = uslp(0, (9, 1), Rule::Stream, uslp::UPID_IDLE, &[0xAA; 30]);
    // Channel 63.
    (idle[2], idle[3]) = (idle[2] | 0x07, idle[3] | 0xE0);
    let mut command = uslp(0, (1, 1), Rule::Unsegmented, 1, &[0]);
    command[6] |= 0x40;
    let frames = [
        uslp(0, (0, 1), Rule::SegmentFirst, 0, &a[..30]),
        idle,
        command,
        uslp(0, (2, 1), Rule::Stream, uslp::UPID_IDLE, &[0xAA; 30]),
        uslp(0, (3, 1), Rule::SegmentLast, 0, &a[30..]),
    ];
    let events = read(USLP, &frames);
    assert!(gaps(&events).is_empty() && dropped(&events).is_empty());
    assert_eq!(found(&events), [(0, vec![0], false), (0, a, true)]);
    let contents: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Frame { content, .. } => Some(*content),
            _ => None,
        })
        .collect();
    assert_eq!(contents[1..3], [Content::IdleChannel, Content::Control(None)]);
}

#[test]
fn a_unit_in_segments_stays_under_its_bound() {
    let zone = vec![7; 60_000];
    let frames = [
        uslp(0, (0, 1), Rule::SegmentFirst, 6, &zone),
        uslp(0, (1, 1), Rule::SegmentContinuation, 6, &zone[..MAX_UNIT_BYTES - 60_000]),
        uslp(0, (2, 1), Rule::SegmentContinuation, 6, &[7]),
        uslp(0, (3, 1), Rule::SegmentLast, 6, &[7]),
    ];
    let events = read(USLP, &frames);
    let over = MAX_UNIT_BYTES + 1;
    assert_eq!(dropped(&events), [(0, "unit_length", over), (0, "orphan_segment", 1)]);
    let events =
        read(USLP, &[frames[0].clone(), uslp(0, (1, 1), Rule::SegmentLast, 6, &[7; 5542])]);
    assert_eq!(found(&events)[0].1.len(), MAX_UNIT_BYTES);
}

fn tc(kind: TcType, count: u8, segment: (Segment, u8), data: &[u8]) -> Vec<u8> {
    let header = TcHeader { kind, scid: 123, vcid: 4, count };
    tc::build(&header, Some(SegmentHeader { segment: segment.0, map: segment.1 }), data, true)
        .unwrap()
}

const TC: FrameConfig = FrameConfig::Tc(TcConfig::new(true, true));

#[test]
fn tc_segments_join_at_each_access_point() {
    use Segment::{Continuation, First, Last, Unsegmented};
    let (a, b) = (packet(1, 50), packet(2, 60));
    let frames = [
        tc(TcType::Ad, 254, (First, 1), &a[..20]),
        tc(TcType::Ad, 255, (First, 2), &b[..20]),
        tc(TcType::Bd, 0, (First, 1), &b[..30]),
        Control::Unlock.frame(123, 4, true).unwrap(),
        tc(TcType::Ad, 0, (Continuation, 1), &a[20..30]),
        tc(TcType::Ad, 1, (Last, 1), &a[30..]),
        tc(TcType::Bd, 0, (Last, 1), &b[30..]),
        tc(TcType::Ad, 2, (Last, 2), &b[20..]),
        // Several packets in one segment, the segment header's flags 11.
        tc(TcType::Ad, 3, (Unsegmented, 3), &[&a[..], &b[..]].concat()),
    ];
    let events = read(TC, &frames);
    assert!(gaps(&events).is_empty() && dropped(&events).is_empty());
    let expected = [
        (4, vec![0], false),
        (1, a.clone(), true),
        (1, b.clone(), true),
        (2, b.clone(), true),
        (3, a, false),
        (3, b, false),
    ];
    let mut found = found(&events);
    // The command has no access point.
    found[0].0 = 4;
    assert_eq!(found, expected);
    assert!(events.iter().any(|event| matches!(
        event,
        Event::Frame { content: Content::Control(Some(Control::Unlock)), .. }
    )));
}

#[test]
fn tc_counts_frames_in_sequence_only() {
    let whole = (Segment::Unsegmented, 0);
    let a = packet(1, 20);
    let frames = [
        tc(TcType::Ad, 10, whole, &a),
        tc(TcType::Bd, 0, whole, &a),
        tc(TcType::Ad, 13, whole, &a),
        // Sent again: a step backwards, not 253 lost.
        tc(TcType::Ad, 11, whole, &a),
    ];
    let events = read(TC, &frames);
    assert_eq!((gaps(&events), found(&events).len()), (vec![2, 0], 4));
}

#[test]
fn tc_packets_that_pass_their_frame_are_dropped() {
    let a = packet(1, 20);
    let cut = tc(TcType::Bd, 0, (Segment::Unsegmented, 0), &[&a[..], &a[..9]].concat());
    let events = read(TC, &[cut]);
    assert_eq!(dropped(&events), [(0, "packet_past_unit", 9)]);
    assert_eq!(found(&events), [(0, a.clone(), false)]);
    // The last segment came early.
    let frames = [
        tc(TcType::Bd, 0, (Segment::First, 0), &a[..9]),
        tc(TcType::Bd, 0, (Segment::Last, 0), &a[9..19]),
    ];
    assert_eq!(dropped(&read(TC, &frames)), [(0, "packet_past_unit", 19)]);
}

#[test]
fn tc_units_of_the_mission_are_no_packets() {
    let frame = tc(TcType::Ad, 0, (Segment::Unsegmented, 5), &[1, 2, 3]);
    let config = TcConfig { access: 1 << 5, ..TcConfig::new(true, true) };
    let events = read(FrameConfig::Tc(config), core::slice::from_ref(&frame));
    assert_eq!(found(&events), [(5, vec![1, 2, 3], false)]);
    // Without segment headers the virtual channel decides, and one more byte is data.
    let config = TcConfig { access: 1 << 4, ..TcConfig::new(false, true) };
    let events = read(FrameConfig::Tc(config), &[frame]);
    assert_eq!(found(&events), [(0, vec![0xC5, 1, 2, 3], false)]);
}

#[test]
fn tc_frames_without_segments_hold_whole_packets() {
    let (a, b) = (packet(1, 20), packet(2, 30));
    let header = TcHeader { kind: TcType::Ad, scid: 1, vcid: 0, count: 0 };
    let frame = tc::build(&header, None, &[&a[..], &b[..]].concat(), false).unwrap();
    let mut reserved = frame.clone();
    reserved[0] |= 0x10;
    let config = FrameConfig::Tc(TcConfig::new(false, false));
    let events = read(config, &[frame, reserved]);
    assert_eq!(found(&events), [(0, a, false), (0, b, false)]);
    let error = crate::frame::FrameError::ReservedType;
    assert_eq!(events.last(), Some(&Event::Rejected(Rejection::Malformed(error))));
}

#[test]
fn what_is_in_progress_is_bounded_over_all_access_points() {
    let mut extractor = Extractor::new(TC);
    let mut counts = crate::frame::counts::Counts::default();
    let long = [0, 1, 0xC0, 0, 0xFF, 0xFF];
    for (vcid, map) in (0..64).flat_map(|vcid| (0..64).map(move |map| (vcid, map))) {
        let header = TcHeader { kind: TcType::Bd, scid: 1, vcid, count: 0 };
        let segment = SegmentHeader { segment: Segment::First, map };
        let frame = tc::build(&header, Some(segment), &long, true).unwrap();
        extractor.push(&frame.into(), &mut |event| counts.take(&event));
        assert!(extractor.held_bytes() <= MAX_CHANNELS * MAX_UNIT_BYTES);
    }
    assert_eq!(counts.dropped["forgotten"], 64 * 63);
}

/// Spacecraft 7, channel 2, a zone of 16 bytes behind the pointer.
fn aos(count: u8, vcid: u8, pointer: u16, byte: u8) -> Vec<u8> {
    let [high, low] = pointer.to_be_bytes();
    let mut frame = vec![0x41, 0xC0 | vcid, 0, 0, count, 0, high, low];
    frame.resize(24, byte);
    frame
}

#[test]
fn aos_bits_are_cut_at_their_pointer() {
    let config = AosConfig::new(24).with_service(2, Service::Bits);
    let frames = [
        aos(0, 2, 0x3FFF, 1),
        aos(1, 2, 0x3FFE, 0x55),
        aos(2, 2, 0, 2),
        aos(3, 2, 8, 3),
        aos(4, 2, 127, 4),
        aos(5, 2, 128, 5),
        // The two bits before the pointer are spare.
        aos(7, 2, 0xC000 | 15, 6),
    ];
    let events = read(FrameConfig::Aos(config), &frames);
    let units: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Unit { unit: Unit::Bits(bits), bytes, .. } => Some((*bits, bytes.to_vec())),
            _ => None,
        })
        .collect();
    let expected = [(128, 1, 16), (1, 2, 1), (9, 3, 2), (128, 4, 16), (16, 6, 2)];
    assert_eq!(units, expected.map(|(bits, byte, bytes)| (bits, vec![byte; bytes])));
    assert_eq!(dropped(&events), [(0, "pointer_beyond_zone", 16)]);
    assert_eq!(gaps(&events), [1], "a frame whose pointer lies still counts");
}

#[test]
fn aos_services_share_a_physical_channel() {
    let config = AosConfig::new(24).with_service(3, Service::Access);
    let frames = [aos(0, 2, 0, 0), aos(9, 3, 0x7FF, 0xEE), aos(1, 2, 0, 0), aos(10, 3, 0, 0xDD)];
    let mut frames = frames.to_vec();
    frames[0][8..].copy_from_slice(&packet(5, 16));
    frames[2][8..].copy_from_slice(&packet(5, 16));
    let events = read(FrameConfig::Aos(config), &frames);
    let opaque = |first: &[u8], byte| [first, &[byte; 16]].concat();
    let packet = packet(5, 16);
    let expected = [
        (0, packet.clone(), false),
        (0, opaque(&[7, 0xFF], 0xEE), false),
        (0, packet, false),
        (0, opaque(&[0, 0], 0xDD), false),
    ];
    assert_eq!((found(&events), gaps(&events)), (expected.to_vec(), vec![]));
}

#[test]
fn every_unit_inside_a_frame_is_a_slice_of_it() {
    let config = FrameConfig::Aos(AosConfig::new(24).with_service(2, Service::Bits));
    let whole = uslp(0, (0, 1), Rule::Unsegmented, 6, &[1; 9]);
    let command = tc(TcType::Bd, 0, (Segment::Unsegmented, 1), &packet(1, 30));
    for (config, frame) in [(config, aos(0, 2, 50, 1)), (USLP, whole), (TC, command)] {
        let frame = Bytes::from(frame);
        let mut slices = 0;
        Extractor::new(config).push(&frame, &mut |event| {
            if let Event::Packet { bytes, .. } | Event::Unit { bytes, .. } = event {
                assert!(frame.as_ptr_range().contains(&bytes.as_ptr()));
                slices += 1;
            }
        });
        assert_eq!(slices, 1);
    }
}

fn rule() -> impl Strategy<Value = Rule> {
    prop_oneof![
        prop_oneof![Just(None), (0u16..20).prop_map(Some)].prop_flat_map(|pointer| {
            prop::sample::select(vec![
                Rule::Packets(pointer),
                Rule::UnitStart(pointer),
                Rule::UnitContinuation(pointer),
            ])
        }),
        prop::sample::select(vec![
            Rule::Stream,
            Rule::SegmentFirst,
            Rule::SegmentContinuation,
            Rule::SegmentLast,
            Rule::Unsegmented,
        ]),
    ]
}

proptest! {
    #[test]
    fn any_uslp_frames_lose_no_byte_untold(
        frames in prop::collection::vec(
            (0u8..3, rule(), 0u8..3, prop::collection::vec(any::<u8>(), 20..60)),
            1..40,
        ),
    ) {
        let frames: Vec<_> = (0u64..).zip(frames).map(|(count, (map, rule, upid, mut zone))| {
            // Mostly packets of a known version, or nothing would be measured.
            zone[0] &= 0x07;
            zone[4] = 0;
            zone[5] &= 0x1F;
            uslp(map, (count, 2), rule, upid, &zone)
        }).collect();
        let total: usize = frames.iter().map(Vec::len).sum();
        let events = read(USLP, &frames);
        prop_assert!(gaps(&events).is_empty());
        let out: usize = found(&events).iter().map(|(_, bytes, _)| bytes.len()).sum();
        prop_assert!(out <= total, "no byte comes out twice");
    }

    #[test]
    fn tc_packets_in_any_segments_come_back(
        lengths in prop::collection::vec(7usize..400, 1..12),
        piece in 1usize..60,
        first: u8,
    ) {
        let packets: Vec<_> = (0u16..).zip(&lengths).map(|(n, len)| packet(n, *len)).collect();
        let (mut frames, mut count) = (Vec::new(), first);
        for (n, packet) in packets.iter().enumerate() {
            let last = packet.len().div_ceil(piece) - 1;
            for (at, part) in packet.chunks(piece).enumerate() {
                let place = match at {
                    0 if last == 0 => Segment::Unsegmented,
                    0 => Segment::First,
                    at if at == last => Segment::Last,
                    _ => Segment::Continuation,
                };
                frames.push(tc(TcType::Ad, count, (place, n as u8), part));
                count = count.wrapping_add(1);
            }
        }
        let events = read(TC, &frames);
        let found: Vec<_> = found(&events).into_iter().map(|(_, bytes, _)| bytes).collect();
        prop_assert_eq!(found, packets);
        prop_assert!(gaps(&events).is_empty() && dropped(&events).is_empty());
    }

    #[test]
    fn any_bytes_as_any_kind_are_survived(
        stream in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..60),
        segments: bool,
        services in prop::collection::vec(0u8..3, 64),
    ) {
        let mut aos = AosConfig::new(40);
        for (vcid, service) in (0..).zip(services) {
            let service = [Service::Packets, Service::Bits, Service::Access][usize::from(service)];
            aos = aos.with_service(vcid, service);
        }
        let configs = [
            (FrameConfig::Aos(aos), 0x40),
            (FrameConfig::Uslp(UslpConfig::new(None)), 0xC0),
            (FrameConfig::Tc(TcConfig::new(segments, false)), 0x00),
        ];
        for (config, version) in configs {
            let mut extractor = Extractor::new(config.clone());
            for bytes in &stream {
                let mut frame = bytes.clone();
                match (&config, frame.len() as u8) {
                    (FrameConfig::Aos(_), _) => frame.resize(40, 3),
                    (FrameConfig::Uslp(_), length @ 7..) => {
                        (frame[3], frame[4], frame[5]) = (frame[3] & 0xFE, 0, length - 1);
                    }
                    (_, length @ 5..) => (frame[2], frame[3]) = (frame[2] & 0xFC, length - 1),
                    _ => {}
                }
                if let Some(first) = frame.first_mut() {
                    *first = *first & 0x0F | version;
                }
                extractor.push(&frame.into(), &mut |event| {
                    if let Event::Unit { bytes, .. } = event {
                        assert!(!bytes.is_empty() && bytes.len() <= MAX_UNIT_BYTES);
                    }
                });
                prop_assert!(extractor.held_bytes() <= MAX_CHANNELS * MAX_UNIT_BYTES);
            }
        }
    }
}

#[test]
fn aos_builders_and_services_keep_apart() {
    let config = AosConfig::new(24).with_service(2, Service::Access);
    assert!(AosBuilder::new(config.clone(), 7, 2, 0).is_err(), "channel 2 carries no packets");
    assert!(AosBuilder::new(config, 7, 3, 0).is_ok());
}
