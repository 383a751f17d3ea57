//! What the framing path allocates: nothing per frame or packet, one buffer per 250 blocks or so.

use bytes::Bytes;
use codecs::frame::aos::{AosBuilder, AosConfig};
use codecs::frame::cadu::{CaduDecoder, CaduEncoder, Coding};
use codecs::frame::extract::{Event, Extractor, FrameConfig};
use codecs::ids::Apid;
use codecs::packet::space::{PacketHeader, SequenceCount, build};
use codecs::sync::marker::Marker;
use tests::sys::count::{Counting, allocations};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const FRAME_BYTES: usize = 892;
/// The packet zone: 6 bytes of frame header and 2 of M_PDU header come before.
const ZONE_BYTES: usize = FRAME_BYTES - 8;
const FRAMES: usize = 2000;
/// Buffers of 256 KiB that frames share hold this many blocks of 1020 bytes.
const BLOCKS_A_BUFFER: usize = 256 * 1024 / 1020;

/// Frames filled with whole packets of `packet_bytes`.
fn frames(packet_bytes: usize) -> Vec<Bytes> {
    let mut builder = AosBuilder::new(AosConfig::new(FRAME_BYTES), 71, 0, 0).expect("a channel");
    let header = PacketHeader::telemetry(Apid(100), SequenceCount(0));
    let packet = build(&header, &vec![7; packet_bytes - 6]).expect("a packet");
    let mut frames = Vec::new();
    while frames.len() < FRAMES {
        builder.push(&packet, &mut |frame| frames.push(frame)).expect("a packet");
    }
    frames
}

fn extract(extractor: &mut Extractor, frame: &Bytes) -> (u64, u64) {
    let (mut inside, mut spanning) = (0, 0);
    extractor.push(frame, &mut |event| match event {
        Event::Packet { spanning: false, .. } => inside += 1,
        Event::Packet { spanning: true, .. } => spanning += 1,
        _ => {}
    });
    (inside, spanning)
}

fn extracted(frames: &[Bytes]) -> (u64, (u64, u64)) {
    let mut extractor = Extractor::new(FrameConfig::Aos(AosConfig::new(FRAME_BYTES)));
    // The first frame makes its channel known, which costs once; a frame that is a slice like
    // any other counts its holders without memory of its own after its first slice.
    for frame in frames {
        drop((frame.clone(), frame.slice(..1)));
    }
    let (first, rest) = frames.split_first().expect("frames");
    extract(&mut extractor, first);
    allocations(|| {
        rest.iter()
            .map(|frame| extract(&mut extractor, frame))
            .fold((0, 0), |sum, found| (sum.0 + found.0, sum.1 + found.1))
    })
}

#[test]
fn packets_inside_frames_cost_no_allocation() {
    let frames = frames(ZONE_BYTES / 13);
    let (taken, (inside, spanning)) = extracted(&frames);
    assert_eq!((inside, spanning), (13 * (FRAMES as u64 - 1), 0));
    assert_eq!(taken, 0, "{inside} packets of {FRAMES} frames");
}

#[test]
fn a_spanning_packet_costs_its_buffer() {
    let frames = frames(100);
    let (taken, (inside, spanning)) = extracted(&frames);
    assert!(inside > 5 * FRAMES as u64 && spanning > FRAMES as u64 / 2);
    // Its buffer; and, where even its header spans, the buffer's growth to the length it says.
    assert!(taken <= 2 * spanning + 1, "{taken} allocations, {spanning} spanning packets");
}

#[test]
fn units_cost_a_buffer_for_many_blocks() {
    for (coding, damaged) in
        [("rs:223:i4:dual,randomized:255", false), ("rs:223:i4:dual,randomized:255", true)]
    {
        let coding: Coding = coding.parse().expect("a coding");
        let mut encoder =
            CaduEncoder::new(&coding, FRAME_BYTES, Marker::TELEMETRY).expect("a coding");
        let mut stream = Vec::new();
        for frame in frames(ZONE_BYTES / 13) {
            encoder.push(&frame, &mut stream).expect("a frame");
        }
        if damaged {
            // Every third unit has wrong symbols in each of its codewords.
            for unit in stream.as_chunks_mut::<1024>().0.iter_mut().step_by(3) {
                unit[100..132].iter_mut().for_each(|byte| *byte ^= 0x5A);
            }
        }
        let mut decoder =
            CaduDecoder::new(&coding, FRAME_BYTES, Marker::TELEMETRY).expect("a coding");
        let mut extractor = Extractor::new(FrameConfig::Aos(AosConfig::new(FRAME_BYTES)));
        // Chunks of whole megabytes, as files are read; the first one finds the marker.
        let (head, rest) = stream.split_at(1 << 20);
        let (mut frames, mut packets) = (0, 0);
        let mut take = |frame: codecs::frame::cadu::Frame| {
            frames += 1;
            let found = extract(&mut extractor, &frame.bytes);
            packets += found.0 + found.1;
        };
        decoder.push(head, &mut take);
        let (taken, ()) = allocations(|| decoder.push(rest, &mut take));
        decoder.finish(&mut take);
        assert_eq!((frames, packets), (FRAMES, 13 * FRAMES as u64));
        // A buffer is its memory and the count of those who hold it.
        let buffers = (FRAMES - 1024).div_ceil(BLOCKS_A_BUFFER) as u64 + 1;
        assert!(taken <= 2 * buffers, "{taken} allocations for {buffers} buffers ({damaged})");
    }
}
