//! Extraction beside the `ccsds` crate, on every recording: each difference has a name.
//!
//! Both readers hand a packet out with the frame that completes it, so packets are matched by
//! frame and content. What one has and the other lacks is explained by the last thing that
//! happened on the channel and that the two treat differently; nothing may stay unexplained.

use bytes::Bytes;
use ccsds::framing::{DecodedFrame, FrameDecoder, decode_framed_packets};
use codecs::frame::FirstHeader;
use codecs::frame::aos::AosConfig;
use codecs::frame::extract::{Content, DropReason, Event, Extractor, FrameConfig};
use codecs::packet::{Protocol, is_idle};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A recording of AOS frames, their length, whether an operational control field and a CRC end
/// them, and what comes out.
struct Recording {
    name: &'static str,
    length: usize,
    ocf: bool,
    fecf: bool,
    expected: Sums,
}

const fn recording(name: &'static str, length: usize, found: [usize; 3]) -> Recording {
    let [ours, peer, same] = found;
    let expected = Sums { ours, peer, same, differing: BTreeMap::new() };
    Recording { name, length, ocf: false, fecf: false, expected }
}

/// The peer reads no TM frame, so `dart.tm1113` has nothing to compare with.
fn recordings() -> Vec<Recording> {
    let apart = |recording: Recording, cause, only: (usize, usize)| {
        let differing = BTreeMap::from([(Some(cause), only)]);
        Recording { expected: Sums { differing, ..recording.expected }, ..recording }
    };
    let edge = |recording| Recording { ocf: true, ..recording };
    vec![
        apart(
            recording("frames/europa_clipper.aos1113", 1113, [20_978, 20_671, 20_670]),
            Cause::PointerDisagrees,
            (308, 1),
        ),
        apart(
            recording("frames/osiris_rex.aos1113", 1113, [1262, 1161, 1157]),
            Cause::PointerDisagrees,
            (105, 4),
        ),
        recording("frames/lucy_bochum.aos1113", 1113, [95; 3]),
        recording("frames/lucy_eb3frn.aos1113", 1113, [206; 3]),
        Recording { fecf: true, ..recording("frames/mars2020.aos1115", 1115, [72; 3]) },
        recording("frames/lunar_flashlight.aos1113", 1113, [311; 3]),
        edge(recording("edge-cases/dumpFile_aos_1.hex", 892, [36; 3])),
        edge(recording("edge-cases/dumpFile_aos_1_gap.hex", 892, [32; 3])),
        apart(
            edge(recording("edge-cases/dumpFile_aos_1_encapsulation.hex", 892, [10, 0, 0])),
            Cause::Encapsulation,
            (10, 0),
        ),
    ]
}

/// The frames of a recording: end to end, or one a line in hex behind a marker.
fn frames(name: &str, length: usize) -> Option<Vec<Bytes>> {
    let bytes = std::fs::read(tests::recorded(name)?).unwrap();
    if !name.ends_with(".hex") {
        return Some(bytes.chunks_exact(length).map(Bytes::copy_from_slice).collect());
    }
    let frame = |line: &str| -> Bytes {
        let digits = line.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        let bytes: Vec<u8> = digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        let bytes = bytes.strip_prefix(&[0x1A, 0xCF, 0xFC, 0x1D]).unwrap_or(&bytes);
        Bytes::copy_from_slice(&bytes[..length])
    };
    Some(std::str::from_utf8(&bytes).unwrap().split_whitespace().map(frame).collect())
}

/// What the two readers treat differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// The pointer says that the packet in progress ends elsewhere than its length says. Ours
    /// drops it and goes on where the pointer says; the peer never looks at the pointer again.
    PointerDisagrees,
    /// A frame of idle data inside a packet: the peer takes the fill for the packet's bytes.
    IdleDataInPacket,
    /// An encapsulation packet, of which the peer knows nothing: it leaves the rest of the frame.
    Encapsulation,
    /// A telecommand packet in telemetry, which the peer takes for damage.
    Telecommand,
    /// Something that is no packet: the peer gives up its place, ours the rest of the frame.
    NoPacket,
}

/// What happened on one frame.
#[derive(Default)]
struct Outcome {
    vcid: u8,
    ours: Vec<Bytes>,
    peer: Vec<Bytes>,
    causes: Vec<Cause>,
    gap: bool,
}

fn by_ours(frames: &[Bytes], config: AosConfig) -> Vec<Outcome> {
    let mut extractor = Extractor::new(FrameConfig::Aos(config));
    let mut outcomes = Vec::new();
    for frame in frames {
        let held = extractor.held_bytes();
        let mut outcome = Outcome::default();
        extractor.push(frame, &mut |event| match event {
            Event::Frame { channel, content, .. } => {
                outcome.vcid = channel.vcid;
                if content == Content::Packets(FirstHeader::IdleData) && held > 0 {
                    outcome.causes.push(Cause::IdleDataInPacket);
                }
            }
            Event::Packet { protocol, bytes, .. } => {
                if protocol == Protocol::Encapsulation {
                    outcome.causes.push(Cause::Encapsulation);
                } else if bytes[0] & 0x10 != 0 {
                    outcome.causes.push(Cause::Telecommand);
                }
                outcome.ours.push(bytes);
            }
            Event::Idle { protocol: Protocol::Encapsulation, .. } => {
                outcome.causes.push(Cause::Encapsulation);
            }
            Event::Idle { .. } | Event::Unit { .. } => {}
            Event::Gap { .. } => outcome.gap = true,
            Event::Dropped { reason, .. } => outcome.causes.extend(match reason {
                DropReason::CutByPointer | DropReason::OverrunByPointer => {
                    Some(Cause::PointerDisagrees)
                }
                // Both readers lose the packet in progress in a gap.
                DropReason::Gap => None,
                _ => Some(Cause::NoPacket),
            }),
            Event::Rejected(rejection) => panic!("{rejection:?} in a recording"),
        });
        outcomes.push(outcome);
    }
    outcomes
}

/// Adds what the peer finds, by the frame that it had just read.
fn by_peer(frames: &[Bytes], trailer: usize, outcomes: &mut [Outcome]) {
    let blocks: Vec<_> = frames.iter().map(|frame| frame.to_vec()).collect();
    let decoded = FrameDecoder::new().decode(blocks.into_iter()).map(Result::unwrap);
    let decoded: Vec<DecodedFrame> = decoded.collect();
    assert_eq!(decoded.len(), frames.len());
    let read = Arc::new(AtomicUsize::new(0));
    let counter = read.clone();
    let counted = decoded.into_iter().inspect(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    for found in decode_framed_packets(counted, 0, trailer) {
        let outcome = &mut outcomes[read.load(Ordering::Relaxed) - 1];
        assert_eq!(u16::from(outcome.vcid), found.vcid);
        // Ours counts idle packets without handing them out.
        if !is_idle(&found.packet.data) {
            outcome.peer.push(found.packet.data.into());
        }
    }
}

/// What one recording comes to.
#[derive(Default, Debug, PartialEq)]
struct Sums {
    ours: usize,
    peer: usize,
    same: usize,
    /// By cause: packets that only ours has, and that only the peer has.
    differing: BTreeMap<Option<Cause>, (usize, usize)>,
}

fn compare(outcomes: &[Outcome]) -> Sums {
    let mut sums = Sums::default();
    // The cause in force on each channel, until the two readers are together again.
    let mut apart: BTreeMap<u8, Cause> = BTreeMap::new();
    for Outcome { vcid, ours, peer, causes, gap } in outcomes {
        if *gap {
            apart.remove(vcid);
        }
        let cause = causes.first().copied().or(apart.get(vcid).copied());
        let mut left = peer.clone();
        let mut same = 0;
        for packet in ours {
            if let Some(place) = left.iter().position(|other| other == packet) {
                left.remove(place);
                same += 1;
            }
        }
        sums.ours += ours.len();
        sums.peer += peer.len();
        sums.same += same;
        if same < ours.len() || !left.is_empty() {
            let (only_ours, only_peer) = sums.differing.entry(cause).or_default();
            *only_ours += ours.len() - same;
            *only_peer += left.len();
        }
        // Together again where both hand out the same; what happened since may part them anew.
        if causes.is_empty() && same > 0 && same == ours.len() && left.is_empty() {
            apart.remove(vcid);
        }
        if let Some(cause) = causes.last() {
            apart.insert(*vcid, *cause);
        }
    }
    sums
}

/// Runs both readers over frames.
fn read(frames: &[Bytes], config: AosConfig) -> Vec<Outcome> {
    let trailer = if config.ocf { 4 } else { 0 } + if config.fecf { 2 } else { 0 };
    let mut outcomes = by_ours(frames, config);
    by_peer(frames, trailer, &mut outcomes);
    outcomes
}

#[test]
fn every_difference_from_the_ccsds_crate_has_a_name() {
    println!("recording | frames | packets: ours | ccsds | both | only ours, only ccsds, by cause");
    for Recording { name, length, ocf, fecf, expected } in recordings() {
        let Some(frames) = frames(name, length) else { return };
        let config = AosConfig { ocf, ..AosConfig::new(length).with_fecf(fecf) };
        let outcomes = read(&frames, config);
        let found = compare(&outcomes);
        let Sums { ours, peer, same, differing } = &found;
        println!("{name} | {} | {ours} | {peer} | {same} | {differing:?}", frames.len());
        assert!(!found.differing.contains_key(&None), "{name}: a difference without a cause");
        assert_eq!(found, expected, "{name}");
        // What only the peer has was never sent: ours finds no such packet anywhere.
        for outcome in &outcomes {
            let invented = outcome.peer.iter().filter(|packet| !outcome.ours.contains(packet));
            for packet in invented {
                assert!(outcomes.iter().all(|other| !other.ours.contains(packet)), "{name}");
            }
        }
    }
}

/// Frames of 64 bytes without the cause, then with it, each with the packets it must cost.
#[test]
fn what_no_recording_holds_is_named_too() {
    let frame = |count: u8, pointer: u16, zone: &[u8]| -> Bytes {
        let [high, low] = pointer.to_be_bytes();
        let mut frame = vec![0x40, 0x42, 0, 0, count, 0, high, low];
        frame.extend_from_slice(zone);
        frame.resize(64, 0xAA);
        frame.into()
    };
    let packet = |first: u8, length: usize| {
        let mut packet = vec![first, 1, 0xC0, 0, 0, (length - 7) as u8];
        packet.resize(length, 0x11);
        packet
    };
    // A packet of 66 bytes; a frame of fill inside it; its last ten bytes and one of 46.
    let long = packet(0, 66);
    let rest = [&long[56..], &packet(0, 46)].concat();
    let stream = [frame(0, 0, &long[..56]), frame(1, 0x7FE, &[0xFF; 56]), frame(2, 10, &rest)];
    let sums = compare(&read(&stream, AosConfig::new(64)));
    // The peer's long packet ends in fill; it finds its place again in the frame after.
    assert_eq!((sums.ours, sums.peer, sums.same), (2, 2, 1));
    assert_eq!(sums.differing.keys().collect::<Vec<_>>(), [&Some(Cause::IdleDataInPacket)]);

    // A telecommand of 20 bytes, then a packet to the end.
    let zone = [packet(0x10, 20), packet(0, 36)].concat();
    let sums = compare(&read(&[frame(0, 0, &zone)], AosConfig::new(64)));
    assert_eq!((sums.ours, sums.peer), (2, 0));
    assert_eq!(sums.differing.keys().collect::<Vec<_>>(), [&Some(Cause::Telecommand)]);
}
