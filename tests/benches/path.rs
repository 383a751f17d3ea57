//! How fast the path is, stage by stage, on one core, with the packets of the simulated spacecraft.
//!
//! `make bench`; throughput is of the stage's input unless its name says otherwise. Compression
//! ratios are not read off here: synthetic packets flatter.

use std::collections::BTreeMap;
use std::hint::black_box;

use bytes::Bytes;
use codecs::{
    fec::crc::{crc16, crc32c},
    frame::{
        aos::{AosBuilder, AosConfig},
        extract::{Event, Extractor, FrameConfig},
    },
    ids::{Channel, Codec, SpacecraftId, StoreEpoch},
    link::object::{ObjectHeader, ObjectReader, write_unit},
    mission::Definition,
    squeeze::columns::{DEFAULT_LEVEL, MAX_BLOCK_BYTES, squeeze, unsqueeze},
    time::Tai,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sims::{
    orbit::elements,
    spacecraft::{Spacecraft, faults::Faults},
};

const FRAME_BYTES: usize = 1113;
/// Bytes that one QUIC packet brings at the usual MTU.
const CHUNK_BYTES: usize = 1419;

/// Ten minutes of telemetry, without tiles.
fn packets() -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(tests::process::root().join("missions/sky-7/elements.json"))
        .expect("the mission is in the repository");
    let orbit = elements::read(&text).expect("elements").remove(0);
    let start = orbit.epoch();
    let mut craft =
        Spacecraft::new(orbit, start, 1, Faults::new(Vec::new()), Vec::new()).expect("spacecraft");
    let mut packets = Vec::new();
    while craft.now().since(start) < 600_000_000_000 {
        craft.step(&mut packets).expect("a step");
    }
    packets.retain(|packet| packet.len() < 1000);
    packets
}

fn frames(packets: &[Vec<u8>]) -> Vec<Bytes> {
    let config = AosConfig::new(FRAME_BYTES).with_fecf(true);
    let mut builder = AosBuilder::new(config, 71, 0, 0).expect("a channel");
    let mut frames = Vec::new();
    for packet in packets {
        builder.push(packet, &mut |frame| frames.push(frame)).expect("a packet");
    }
    builder.flush(&mut |frame| frames.push(frame));
    frames
}

fn crcs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("crc");
    for length in [64, FRAME_BYTES, 65_542] {
        let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(format!("crc16 {length}"), |b| b.iter(|| crc16(black_box(&bytes))));
        group.bench_function(format!("crc32c {length}"), |b| b.iter(|| crc32c(black_box(&bytes))));
    }
}

fn framing(criterion: &mut Criterion) {
    let packets = packets();
    let frames = frames(&packets);
    let bytes: usize = frames.iter().map(Bytes::len).sum();
    let mut group = criterion.benchmark_group("frames");
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("AOS frames to packets", |b| {
        b.iter(|| {
            let config = AosConfig::new(FRAME_BYTES).with_fecf(true);
            let mut extractor = Extractor::new(FrameConfig::Aos(config));
            let mut count = 0usize;
            for frame in &frames {
                extractor.push(frame, &mut |event| {
                    count += usize::from(matches!(event, Event::Packet { .. }));
                });
            }
            count
        });
    });
    group.bench_function("packets to AOS frames", |b| b.iter(|| self::frames(&packets).len()));
}

fn squeezing(criterion: &mut Criterion) {
    let mut by_kind: BTreeMap<(u16, usize), Vec<Vec<u8>>> = BTreeMap::new();
    for packet in packets() {
        let apid = u16::from_be_bytes([packet[0], packet[1]]) & 0x7FF;
        by_kind.entry((apid, packet.len())).or_default().push(packet);
    }
    let blocks: Vec<Vec<&[u8]>> = by_kind
        .values()
        .flat_map(|packets| packets.chunks(64))
        .map(|block| block.iter().map(Vec::as_slice).collect())
        .collect();
    let bytes: usize = blocks.iter().flatten().map(|packet| packet.len()).sum();
    let squeezed: Vec<Vec<u8>> =
        blocks.iter().map(|block| squeeze(block, DEFAULT_LEVEL).expect("a block")).collect();
    let mut group = criterion.benchmark_group("squeeze");
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("squeeze, 64 packets", |b| {
        b.iter(|| {
            let block = |block: &Vec<&[u8]>| squeeze(block, DEFAULT_LEVEL).expect("a block").len();
            blocks.iter().map(block).sum::<usize>()
        });
    });
    group.bench_function("unsqueeze, of what comes out", |b| {
        b.iter(|| {
            let block = |block: &Vec<u8>| unsqueeze(block, MAX_BLOCK_BYTES).expect("ours").count();
            squeezed.iter().map(block).sum::<usize>()
        });
    });
}

fn decoding(criterion: &mut Criterion) {
    let text = std::fs::read_to_string(tests::process::root().join("missions/sky-7/mission.toml"))
        .expect("the mission is in the repository");
    let plans = Definition::from_toml(&text).expect("the mission").plans();
    let packets = packets();
    let decode = || {
        let mut values = 0u64;
        for packet in &packets {
            plans
                .decode(packet, &mut |sample| {
                    black_box(sample.value);
                    values += 1;
                })
                .expect("a packet of the mission");
        }
        values
    };
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(decode()));
    group.bench_function("packets to parameters (elements are values)", |b| b.iter(decode));
}

fn objects(criterion: &mut Criterion) {
    let mut body = Vec::new();
    let frames = frames(&packets());
    let units = &frames[..frames.len().min(200)];
    units.iter().for_each(|unit| write_unit(&mut body, None, unit));
    let header = ObjectHeader {
        annotated: false,
        codec: Codec::AosFrame,
        priority: 1,
        epoch: StoreEpoch(1),
        spacecraft: SpacecraftId(7),
        channel: Channel::virtual_channel(1, 71, 0, 0),
        first: 0,
        count: units.len() as u32,
        length: body.len() as u32,
        created: Tai(0),
    };
    let object = Bytes::from([header.encode().as_slice(), &body].concat());
    let mut group = criterion.benchmark_group("objects");
    group.throughput(Throughput::Bytes(object.len() as u64));
    group.bench_function("object to units, in QUIC-sized chunks", |b| {
        b.iter(|| {
            let mut reader = ObjectReader::new();
            let mut count = 0;
            for at in (0..object.len()).step_by(CHUNK_BYTES) {
                reader.push(object.slice(at..object.len().min(at + CHUNK_BYTES)));
                while let Ok(Some(unit)) = reader.poll_unit() {
                    count += usize::from(unit.intact);
                }
            }
            count
        });
    });
}

criterion_group!(path, crcs, framing, squeezing, decoding, objects);
criterion_main!(path);
