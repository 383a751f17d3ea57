//! TM, AOS and TC frames of the edge-case dumps through the extractor, counted.

mod recorded;

use bytes::Bytes;
use codecs::frame::aos::{AosConfig, Service};
use codecs::frame::counts::Counts;
use codecs::frame::extract::{Event, Extractor, FrameConfig, Unit};
use codecs::frame::tc::TcConfig;
use codecs::frame::tm::TmConfig;

/// Length of the frames of a dump of coded ones: behind 4 bytes of marker, before the check
/// symbols of 4 or 5 interleaved Reed-Solomon codewords.
fn frame(line: &[u8]) -> &[u8] {
    match line.len() {
        1024 => &line[4..4 + 4 * 223],
        1279 => &line[4..4 + 5 * 223],
        _ => line,
    }
}

/// Frames of a dump; `None` where the recordings are absent.
fn dump(name: &str) -> Option<Vec<Vec<u8>>> {
    let lines = recorded::dump(name)?;
    // Commands are not coded, whatever their length.
    let coded = !name.contains("_tc_");
    Some(lines.into_iter().map(|line| if coded { frame(&line).to_vec() } else { line }).collect())
}

fn read(config: FrameConfig, frames: &[Vec<u8>]) -> (Counts, Vec<Event>) {
    let (mut extractor, mut counts) = (Extractor::new(config), Counts::default());
    let mut events = Vec::new();
    for frame in frames {
        extractor.push(&Bytes::copy_from_slice(frame), &mut |event| {
            counts.take(&event);
            events.push(event);
        });
    }
    (counts, events)
}

fn dropped(counts: &Counts) -> Vec<(&'static str, u64)> {
    counts.dropped.iter().map(|(reason, count)| (*reason, *count)).collect()
}

/// Packets, idle ones, those that span frames, gaps, and what was left out.
type Row = (&'static str, [u64; 4], &'static [(&'static str, u64)]);

const AOS: [Row; 3] = [
    ("dumpFile_aos_1.hex", [36, 0, 15, 0], &[]),
    ("dumpFile_aos_1_gap.hex", [32, 0, 13, 1], &[("gap", 1)]),
    ("dumpFile_aos_1_encapsulation.hex", [13, 3, 5, 0], &[]),
];

const TM: [Row; 10] = [
    ("dumpFile_tm_1.hex", [613, 0, 119, 0], &[]),
    ("dumpFile_tm_1_empty_lines.hex", [613, 0, 119, 0], &[]),
    ("dumpFile_tm_encapsulation.hex", [13, 3, 5, 0], &[]),
    ("dumpFile_tm_encapsulation_gap.hex", [12, 3, 4, 1], &[("gap", 1)]),
    ("dumpFile_tm_encapsulation_gap_2.hex", [3, 0, 1, 3], &[("gap", 2)]),
    ("dumpFile_tm_gap_1.hex", [5, 0, 2, 3], &[("gap", 2)]),
    ("dumpFile_tm_large_packets.hex", [5, 0, 4, 0], &[]),
    ("dumpFile_tm_segmentation_bug.hex", [6, 0, 2, 0], &[]),
    ("dumpFile_tm_segmentation_mixed.hex", [10, 0, 4, 0], &[]),
    // A mission's own data, whose frames say that no packet starts in them.
    ("dumpFile_tm_user_data.hex", [0, 0, 0, 0], &[]),
];

fn check((name, expected, left_out): Row, config: impl Fn(usize) -> FrameConfig) {
    let Some(frames) = dump(name) else { return };
    let (counts, _) = read(config(frames[0].len()), &frames);
    let Counts { packets, idle_packets, spanning_packets, gaps, rejected_frames, .. } = counts;
    assert_eq!([packets, idle_packets, spanning_packets, gaps], expected, "{name}");
    assert_eq!((dropped(&counts), rejected_frames), (left_out.to_vec(), 0), "{name}");
}

#[test]
fn aos_packets() {
    for row in AOS {
        check(row, |length| FrameConfig::Aos(AosConfig { ocf: true, ..AosConfig::new(length) }));
    }
}

#[test]
fn tm_packets() {
    for row in TM {
        check(row, |length| FrameConfig::Tm(TmConfig::new(length)));
    }
}

#[test]
fn aos_bits_of_two_channels() {
    let Some(frames) = dump("dumpFile_aos_bitstream.hex") else { return };
    let config = AosConfig { ocf: true, ..AosConfig::new(frames[0].len()) };
    let config = config.with_service(0, Service::Bits).with_service(1, Service::Bits);
    let (counts, events) = read(FrameConfig::Aos(config), &frames);
    let mut bits = [(0, 0); 2];
    for event in events {
        if let Event::Unit { channel, unit: Unit::Bits(valid), bytes, .. } = event {
            assert_eq!(bytes.len(), valid.div_ceil(8));
            let sum = &mut bits[usize::from(channel.vcid)];
            *sum = (sum.0 + 1, sum.1 + valid);
        }
    }
    assert_eq!(bits, [(10, 10 * 2404), (10, 10 * 4968)]);
    assert_eq!((counts.virtual_channels[&63], counts.gaps, counts.dropped.len()), (10, 0, 0));
}

#[test]
fn tc_packets() {
    let config = FrameConfig::Tc(TcConfig::new(true, false));
    let read = |name| Some(read(config.clone(), &dump(name)?));
    if let Some((counts, _)) = read("dumpFile_tc_1_encapsulation.hex") {
        assert_eq!((counts.packets, counts.spanning_packets, counts.bytes), (1, 1, 5094));
    }
    if let Some((counts, _)) = read("dumpFile_tc_plain_1.hex") {
        assert_eq!((counts.packets, counts.gaps, counts.dropped.len()), (30, 0, 0));
        assert_eq!(
            counts.apids.into_iter().collect::<Vec<_>>(),
            [(200, 10), (300, 10), (2000, 10)]
        );
    }
    // One packet of the whole ones sticks a byte out of its frame into the next.
    if let Some((counts, _)) = read("dumpFile_tc_plain_2.hex") {
        assert_eq!(dropped(&counts), [("packet_past_unit", 1), ("packet_version", 1)]);
        assert_eq!((counts.packets, counts.gaps), (26, 0));
    }
}
