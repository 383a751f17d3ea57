//! What the paths of frames allocate: nothing per frame or packet. Framing takes one buffer for 250
//! frames or so, the archive a handful for a block of a megabyte.

use bytes::Bytes;
use codecs::frame::aos::{AosBuilder, AosConfig};
use codecs::frame::cadu::{CaduDecoder, CaduEncoder, Coding};
use codecs::frame::extract::{Event, Extractor, FrameConfig};
use codecs::ids::{Apid, Channel, Codec, KeyPrefix, Origin, SpacecraftId, StoreEpoch, UnitKey};
use codecs::link::object::{ObjectHeader, ObjectReader, write_unit};
use codecs::packet::space::{PacketHeader, SequenceCount, build};
use codecs::sync::marker::Marker;
use codecs::time::Tai;
use groundstation::archive::intake::Progress;
use groundstation::archive::volume::Volume;
use groundstation::archive::{Archive, Now, Owner, Settings};
use groundstation::archive::{Archived, record::Position};
use groundstation::process::Outcome;
use groundstation::receipt::Ingest;
use groundstation::shell::clock::StationClock;
use groundstation::shell::disk::Folder;
use groundstation::shell::telemetry::Telemetry;
use groundstation::telemetry::otlp::Teller;
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

/// Bytes that one QUIC packet brings at the usual MTU.
const CHUNK_BYTES: usize = 1419;
const NOW: Now = Now { mono_ms: 0, tai: Tai(0) };
const UNITS_AN_OBJECT: usize = 1_000;

/// Objects of units of one length, in chunks as QUIC brings them.
fn objects(prefix: &KeyPrefix, units: usize, unit_bytes: usize) -> Vec<Vec<Bytes>> {
    let mut body = Vec::new();
    (0..UNITS_AN_OBJECT).for_each(|at| write_unit(&mut body, None, &vec![at as u8; unit_bytes]));
    let object = |at: usize| {
        let header = ObjectHeader {
            annotated: false,
            codec: Codec::AosFrame,
            priority: 0,
            epoch: prefix.epoch,
            spacecraft: prefix.spacecraft,
            channel: prefix.channel,
            first: (at * UNITS_AN_OBJECT) as u64,
            count: UNITS_AN_OBJECT as u32,
            length: body.len() as u32,
            created: Tai(0),
        };
        let whole = [&header.encode(), &body[..]].concat();
        whole.chunks(CHUNK_BYTES).map(Bytes::copy_from_slice).collect()
    };
    (0..units / UNITS_AN_OBJECT).map(object).collect()
}

/// Syncs what was taken, as the archive's thread does; how many units were settled and published.
fn commit(ingest: &mut Ingest, volume: &mut Volume<Folder>) -> (u64, usize) {
    while let Some(batch) = ingest.intake().next_batch() {
        volume.write(batch, NOW, || ingest.ledger().settled());
    }
    let claims = ingest.intake().claims();
    let commit = volume.commit(NOW, || ingest.ledger().settled());
    let judged = claims.iter().map(|(claim, bytes)| volume.judge(claim, bytes)).collect();
    let settled = ingest.settle(&commit, &claims, judged, NOW);
    let published = commit.into_iter().flatten().map(|batch| batch.publish().units().count());
    (settled.tally.archived, published.sum())
}

#[test]
fn archiving_costs_a_handful_of_allocations_for_a_block() {
    let prefix = KeyPrefix {
        origin: Origin([1; 16]),
        epoch: StoreEpoch(1),
        spacecraft: SpacecraftId(7),
        channel: Channel::virtual_channel(1, 71, 0, 0),
    };
    // As many bytes in long frames and in ten times as many short ones.
    for (units, unit_bytes) in [(20_000, 1_115), (200_000, 20)] {
        let dir = tempfile::tempdir().expect("a folder");
        let settings = Settings { segment_bytes: 64 << 20 };
        let (archive, _) = Archive::open(Folder::at(dir.path()), settings, 1).expect("an archive");
        let Archive { intake, mut volume } = archive;
        let mut ingest = Ingest::new(intake);
        let objects = objects(&prefix, units, unit_bytes);
        let mut blocks = 0;
        let (taken, archived) = allocations(|| {
            let (mut archived, mut published) = (0, 0);
            for chunks in objects {
                let mut reader = ObjectReader::new();
                for chunk in chunks {
                    reader.push(chunk);
                    let (owner, codec) = (Owner(1), Codec::AosFrame);
                    let taken = ingest.take_object(owner, prefix, codec, &mut reader, NOW);
                    assert_eq!(taken, Ok(Progress::Drained));
                }
                if ingest.intake().waiting() > 3 {
                    blocks += ingest.intake().waiting();
                    let (settled, out) = commit(&mut ingest, &mut volume);
                    archived += settled;
                    published += out;
                }
            }
            blocks += ingest.intake().waiting();
            let (settled, out) = commit(&mut ingest, &mut volume);
            (archived + settled, published + out)
        });
        assert_eq!(archived, (units as u64, units));
        assert!(blocks > 15, "{blocks} blocks");
        // Growth of its lists, doubled as they fill, and its share of a commit; the rest is what an
        // object's reader and a segment's files cost once.
        let bound = 60 * blocks + 8 * units / UNITS_AN_OBJECT + 100;
        assert!(taken <= bound as u64, "{taken} allocations, {blocks} blocks, {units} units");
        assert!(20 * taken < 10 * units as u64, "{taken} allocations for {units} units");
    }
}

#[test]
fn traces_cost_nothing_for_frames_and_their_commits() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let clock = StationClock::new(0.0);
    // Nobody listens there, and nobody has to.
    let telemetry = Telemetry::start("http://127.0.0.1:9", Teller::default(), clock).unwrap();
    let prefix = KeyPrefix {
        origin: Origin([7; 16]),
        epoch: StoreEpoch(1),
        spacecraft: SpacecraftId(7),
        channel: Channel::stream(0),
    };
    let mut unit = Archived {
        key: UnitKey { prefix, sequence: 0 },
        codec: Codec::AosFrame,
        received: Tai(0),
        annotation: None,
        bytes: Bytes::from_static(&[7; FRAME_BYTES]),
        position: Position { segment: 0, offset: 0 },
        replayed: false,
    };
    let outcome = Outcome::default();
    let (taken, ()) = allocations(|| {
        for frame in 0..10 * FRAMES as u64 {
            unit.key.sequence = frame;
            unit.position.offset = frame * FRAME_BYTES as u64;
            telemetry.interpreted(&unit, &outcome);
            if frame % 4 == 0 {
                telemetry.committed(unit.position, Tai(frame as i64));
            }
        }
    });
    assert_eq!((taken, telemetry.counts().made), (0, 0));
}
