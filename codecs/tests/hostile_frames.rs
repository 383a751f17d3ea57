//! Hostile frames: a corpus of past and possible failures, and streams that are mutilated.

use bytes::Bytes;
use codecs::frame::aos::{AosBuilder, AosConfig};
use codecs::frame::counts::Counts;
use codecs::frame::extract::{Event, Extractor, FrameConfig, MAX_CHANNELS};
use codecs::frame::{Format, Kind};
use codecs::ids::Apid;
use codecs::packet::MAX_PACKET_BYTES;
use codecs::packet::space::{PacketHeader, SequenceCount, build};
use proptest::prelude::*;
use std::path::Path;

const LENGTH: usize = 64;

/// Every file: a comment, a line `FORMAT plain|fecf PACKETS`, then frames in hex, one a line.
#[test]
fn the_corpus_replays() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/frames");
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let head: Vec<_> = lines.next().unwrap().split_whitespace().collect();
        let [format, check, packets] = head[..] else { panic!("{}: head", path.display()) };
        let mut extractor =
            Extractor::new(FrameConfig::new(format.parse().unwrap(), check == "fecf"));
        let mut counts = Counts::default();
        for line in lines {
            let frame: Vec<u8> = line
                .as_bytes()
                .chunks(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect();
            extractor.push(&frame.into(), &mut |event| counts.take(&event));
        }
        let packets: u64 = packets.parse().unwrap();
        assert_eq!(counts.packets, packets, "{}: {counts:?}", path.display());
        files += 1;
    }
    assert!(files >= 14, "the corpus only grows");
}

fn packet(apid: u16, length: usize) -> Vec<u8> {
    let header = PacketHeader::telemetry(Apid(apid), SequenceCount(0));
    build(&header, &vec![apid as u8; length - 6]).unwrap()
}

/// Frames of `packets`, flushed at the end.
fn frames(packets: &[Vec<u8>], first_count: u32) -> Vec<Vec<u8>> {
    let mut builder = AosBuilder::new(AosConfig::new(LENGTH), 1, 2, first_count).unwrap();
    let mut frames = Vec::new();
    for packet in packets {
        builder.push(packet, &mut |frame| frames.push(frame.to_vec())).unwrap();
    }
    builder.flush(&mut |frame| frames.push(frame.to_vec()));
    frames
}

/// What the air and a bad ground receiver do to a stream of frames.
#[derive(Clone, Debug)]
enum Harm {
    Flip { frame: prop::sample::Index, bit: usize },
    Lose { frame: prop::sample::Index },
    Repeat { frame: prop::sample::Index },
    Swap { a: prop::sample::Index, b: prop::sample::Index },
    Cut { frame: prop::sample::Index, length: usize },
    Garbage { frame: prop::sample::Index, bytes: Vec<u8> },
}

fn harm() -> impl Strategy<Value = Harm> {
    let frame = any::<prop::sample::Index>;
    prop_oneof![
        4 => (frame(), 0..LENGTH * 8).prop_map(|(frame, bit)| Harm::Flip { frame, bit }),
        2 => frame().prop_map(|frame| Harm::Lose { frame }),
        1 => frame().prop_map(|frame| Harm::Repeat { frame }),
        1 => (frame(), frame()).prop_map(|(a, b)| Harm::Swap { a, b }),
        1 => (frame(), 0..LENGTH).prop_map(|(frame, length)| Harm::Cut { frame, length }),
        2 => (frame(), prop::collection::vec(any::<u8>(), LENGTH))
            .prop_map(|(frame, bytes)| Harm::Garbage { frame, bytes }),
    ]
}

fn apply(harm: Harm, frames: &mut Vec<Vec<u8>>) {
    if frames.is_empty() {
        return;
    }
    let all = frames.len();
    match harm {
        Harm::Flip { frame, bit } => {
            if let Some(byte) = frames[frame.index(all)].get_mut(bit / 8) {
                *byte ^= 0x80 >> (bit % 8);
            }
        }
        Harm::Lose { frame } => drop(frames.remove(frame.index(all))),
        Harm::Repeat { frame } => {
            let again = frames[frame.index(all)].clone();
            frames.insert(frame.index(all), again);
        }
        Harm::Swap { a, b } => frames.swap(a.index(all), b.index(all)),
        Harm::Cut { frame, length } => frames[frame.index(all)].truncate(length),
        Harm::Garbage { frame, bytes } => frames[frame.index(all)] = bytes,
    }
}

proptest! {
    #[test]
    fn a_clean_stream_after_any_harm_is_whole(
        before in prop::collection::vec(7usize..400, 1..30),
        harms in prop::collection::vec(harm(), 0..12),
        after in prop::collection::vec(7usize..400, 1..10),
    ) {
        let packets: Vec<_> = (0u16..).zip(&before).map(|(n, len)| packet(n, *len)).collect();
        let mut stream = frames(&packets, 0);
        for harm in harms {
            apply(harm, &mut stream);
        }
        let clean: Vec<_> = (1000u16..).zip(&after).map(|(n, len)| packet(n, *len)).collect();
        // A count far off: the harm may have left a packet in progress, which must not swallow.
        let tail = frames(&clean, 1 << 20);
        let mut extractor = Extractor::new(FrameConfig::Aos(AosConfig::new(LENGTH)));
        let mut found = Vec::new();
        let zone_bytes = (stream.len() + tail.len()) * (LENGTH - 8);
        let mut delivered = 0;
        for frame in stream.iter().chain(&tail) {
            extractor.push(&Bytes::copy_from_slice(frame), &mut |event| match event {
                Event::Packet { bytes, .. } => {
                    delivered += bytes.len();
                    found.push(bytes);
                }
                Event::Idle { length, .. } => delivered += length,
                _ => {}
            });
        }
        prop_assert!(found.len() >= clean.len());
        prop_assert_eq!(&found[found.len() - clean.len()..], &clean[..]);
        prop_assert!(delivered <= zone_bytes, "no byte comes out twice");
    }

    #[test]
    fn random_bytes_are_survived_in_bounded_memory(
        stream in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..LENGTH + 2), 1..300),
        whole in 0u8..4,
        aos: bool,
        fecf: bool,
    ) {
        let kind = if aos { Kind::Aos } else { Kind::Tm };
        let format = Format { kind, length: Some(LENGTH) };
        let mut extractor = Extractor::new(FrameConfig::new(format, fecf));
        let mut counts = Counts::default();
        let total = stream.len() as u64;
        for mut frame in stream {
            // Mostly of the right length and version, or the first check would shield the rest.
            if whole > 0 {
                frame.resize(LENGTH, whole);
                frame[0] = frame[0] & 0x3F | if aos { 0x40 } else { 0 };
            }
            extractor.push(&frame.into(), &mut |event| counts.take(&event));
            prop_assert!(extractor.held_bytes() <= MAX_CHANNELS * MAX_PACKET_BYTES);
        }
        prop_assert_eq!(counts.frames, total);
        prop_assert!(counts.bytes <= total * LENGTH as u64);
    }
}

#[test]
fn channels_without_end_are_forgotten_not_kept() {
    let mut extractor = Extractor::new(FrameConfig::Aos(AosConfig::new(LENGTH)));
    let mut counts = Counts::default();
    // Every spacecraft and channel starts the longest packet and never goes on.
    for scid in 0..=255u8 {
        for vcid in 0..63u8 {
            let mut frame = vec![0x40 | scid >> 2, scid << 6 | vcid, 0, 0, 0, 0, 0, 0];
            frame.extend([0, 1, 0xC0, 0, 0xFF, 0xFF]);
            frame.resize(LENGTH, 0);
            extractor.push(&frame.into(), &mut |event| counts.take(&event));
            assert!(extractor.held_bytes() <= MAX_CHANNELS * MAX_PACKET_BYTES);
        }
    }
    assert_eq!(counts.dropped["forgotten"], 256 * 63 - MAX_CHANNELS as u64);
}
