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

/// Recordings of AOS frames with their length and whether a CRC ends them. The peer reads no TM
/// frame, so `dart.tm1113` has nothing to compare with.
const RECORDINGS: [(&str, usize, bool); 6] = [
    ("europa_clipper.aos1113", 1113, false),
    ("osiris_rex.aos1113", 1113, false),
    ("lucy_bochum.aos1113", 1113, false),
    ("lucy_eb3frn.aos1113", 1113, false),
    ("mars2020.aos1115", 1115, true),
    ("lunar_flashlight.aos1113", 1113, false),
];

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
#[derive(Default, Debug)]
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

#[test]
fn every_difference_from_the_ccsds_crate_has_a_name() {
    let Some(folder) = tests::recorded("frames") else { return };
    println!("recording                | frames | ours  | ccsds | same  | differing");
    for (name, length, fecf) in RECORDINGS {
        let bytes = Bytes::from(std::fs::read(folder.join(name)).unwrap());
        let frames: Vec<_> =
            (0..bytes.len() / length).map(|n| bytes.slice(n * length..(n + 1) * length)).collect();
        let mut outcomes = by_ours(&frames, AosConfig::new(length).with_fecf(fecf));
        by_peer(&frames, if fecf { 2 } else { 0 }, &mut outcomes);
        let sums = compare(&outcomes);
        let Sums { ours, peer, same, differing } = &sums;
        println!("{name:24} | {:6} | {ours:5} | {peer:5} | {same:5} | {differing:?}", frames.len());
    }
}
