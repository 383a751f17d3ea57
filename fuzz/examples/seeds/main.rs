//! Writes the golden seeds of `fuzz/corpus` anew: `cargo run -p fuzz --example seeds`.
//!
//! Each is what a sender of ours, or a published vector, puts on the wire behind the bytes that
//! choose the target's configuration. Seeds named after bugs are not touched.

mod onboard;
mod orbits;
mod pocketplus;

use bytes::Bytes;
use codecs::fec::crc::crc16;
use codecs::frame::aos::{AosBuilder, AosConfig};
use codecs::frame::cadu::{CaduEncoder, Coding};
use codecs::frame::tm::{TmBuilder, TmConfig};
use codecs::frame::uslp::{self, Content, Count, Fecf, Rule, UslpHeader};
use codecs::frame::{cltu, tc};
use codecs::ids::{
    Apid, Channel, Codec, KeyPrefix, Origin, SeqRange, SpacecraftId, StoreEpoch, UnitKey,
};
use codecs::link::custody::{Durability, KeyRanges};
use codecs::link::object::{Annotation, ObjectHeader, Quality, TimeSource, write_unit};
use codecs::link::quicklook::QuickLook;
use codecs::link::rf::signed::Statement;
use codecs::link::rf::split::Splitter;
use codecs::link::rf::{PARTS_APID, SIGNED_APID};
use codecs::link::uplink::object::UplinkObject;
use codecs::link::uplink::record::OutcomeRecord;
use codecs::link::uplink::window::{Mark, Window};
use codecs::link::uplink::{ContentKind, Outcome, Refusal, UplinkCounter, UplinkKey};
use codecs::link::void::{Void, VoidRange, VoidReason};
use codecs::link::wire::Message;
use codecs::packet::pus::{Acknowledge, Layout, TcSecondary, TmSecondary};
use codecs::packet::space::{PacketHeader, SequenceCount, build};
use codecs::packet::{encapsulation, idle::idle_packet};
use codecs::product::{Product, ProductKind, Region};
use codecs::squeeze::columns::{DEFAULT_LEVEL, Level, squeeze};
use codecs::squeeze::image::{self, Shape};
use codecs::squeeze::rice::{self, BlockSize, RiceConfig};
use codecs::sync::marker::Marker;
use codecs::sync::randomizer::{Randomizer, Sequence};
use codecs::time::Tai;
use groundstation::archive::index::Index;
use groundstation::archive::seal::NO_FOOTER;
use groundstation::archive::segment::SegmentHeader;
use groundstation::ledger::Ledger;
use groundstation::uplink;
use std::path::Path;

fn write(target: &str, name: &str, choices: &[u8], bytes: &[u8]) {
    assert!(fuzz::target(target).is_some(), "no target {target}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&folder).expect("a folder of ours");
    std::fs::write(folder.join(name), [choices, bytes].concat()).expect("a file of ours");
}

fn packet(count: u16, length: usize) -> Vec<u8> {
    let header = PacketHeader::telemetry(Apid(42), SequenceCount(count));
    build(&header, &vec![count as u8; length]).expect("a packet")
}

/// Packets of all lengths that matter in a zone of 40 bytes, one of them idle.
fn stream() -> Vec<Vec<u8>> {
    let lengths = [1, 30, 33, 34, 35, 80, 3, 3, 200, 7];
    let mut packets: Vec<_> = (0u16..).zip(lengths).map(|(n, len)| packet(n, len)).collect();
    packets.insert(4, idle_packet(9).expect("an idle packet"));
    packets
}

fn tm_frames(config: TmConfig) -> Vec<u8> {
    let mut builder = TmBuilder::new(config, 0, 1, 0).expect("a channel");
    let mut frames = Vec::new();
    let mut sink = |frame: Bytes| frames.extend_from_slice(&frame);
    stream().iter().for_each(|packet| builder.push(packet, &mut sink).expect("a packet"));
    builder.flush(&mut sink);
    frames
}

fn aos_frames(config: AosConfig) -> Vec<u8> {
    let mut builder = AosBuilder::new(config, 0, 2, 0).expect("a channel");
    let mut frames = Vec::new();
    let mut sink = |frame: Bytes| frames.extend_from_slice(&frame);
    stream().iter().for_each(|packet| builder.push(packet, &mut sink).expect("a packet"));
    builder.flush(&mut sink);
    frames
}

fn frames() {
    let tm = tm_frames(TmConfig::new(48).with_fecf(true));
    let aos = aos_frames(AosConfig { ocf: true, ..AosConfig::new(48).with_fecf(true) });
    write("tm", "packets-with-check", &[1], &tm[..48]);
    // Spacecraft 318: a secondary header of three bytes, an operational control field.
    let every = [0x13, 0xEF, 0x66, 0xED, 0x9F, 0xFF, 2, 0xA1, 0xA2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    write("tm", "every-field", &[0], &every);
    write("aos", "packets-with-check", &[6, 0, 0], &aos[..48]);
    write("aos", "every-field", &[30, 4, 0], &aos[..48]);
    write("aos", "bits", &[14, 0, 1], &aos[..48]);
    write("extract", "tm", &[4, 32, 0], &tm);
    write("extract", "tm-steered", &[4, 32, 4], &tm);
    write("extract", "aos", &[13, 32, 0], &aos);
    write("extract", "aos-steered", &[13, 32, 5], &aos);

    let header = UslpHeader { scid: 0xABCD, vcid: 5, map: 3, ..UslpHeader::default() };
    let header = UslpHeader { count: Count { value: 0x1234, bytes: 2 }, ..header };
    let zone = packet(1, 20);
    for (name, flags, fecf) in
        [("plain", 0, Fecf::None), ("crc16", 1, Fecf::Crc16), ("crc32", 2, Fecf::Crc32)]
    {
        let ocf = (flags > 0).then_some([1, 2, 3, 4]);
        let insert_zone: &[u8] = if flags == 2 { &[9; 5] } else { &[] };
        let rule = if flags == 1 { Rule::UnitStart(Some(9)) } else { Rule::Packets(Some(0)) };
        let content = Content { insert_zone, rule, upid: 0, zone: &zone, ocf, fecf };
        let frame = uslp::build(&header, &content).expect("a frame");
        write("uslp", name, &[flags | (insert_zone.len() as u8) << 2], &frame);
    }

    let lengths = |frames: &[Vec<u8>]| -> Vec<u8> {
        let frame = |frame: &Vec<u8>| [&[frame.len() as u8 - 8][..], frame].concat();
        frames.iter().flat_map(frame).collect()
    };
    let mut uslp_frames = Vec::new();
    for (n, rule) in [Rule::Packets(Some(0)), Rule::SegmentFirst, Rule::SegmentLast, Rule::Stream]
        .into_iter()
        .enumerate()
    {
        let count = Count { value: n as u64, bytes: 1 };
        let header = UslpHeader { count, ..UslpHeader::default() };
        let packet = packet(n as u16, 17);
        let zone = match rule {
            Rule::SegmentFirst => &packet[..12],
            Rule::SegmentLast => &packet[12..],
            _ => &packet,
        };
        let content =
            Content { insert_zone: &[], rule, upid: 0, zone, ocf: None, fecf: Fecf::Crc16 };
        uslp_frames.push(uslp::build(&header, &content).expect("a frame"));
    }
    write("extract", "uslp", &[6, 64, 0], &lengths(&uslp_frames));
    write("extract", "uslp-steered", &[6, 64, 4], &lengths(&uslp_frames));

    let mut tc_frames = vec![tc::Control::Unlock.frame(0, 0, true).expect("a frame")];
    let places = [tc::Segment::First, tc::Segment::Continuation, tc::Segment::Last];
    for ((count, segment), part) in (0..).zip(places).zip(packet(5, 29).chunks(12)) {
        let header = tc::TcHeader { kind: tc::TcType::Ad, scid: 0, vcid: 0, count };
        let segment = tc::SegmentHeader { segment, map: 0 };
        tc_frames.push(tc::build(&header, Some(segment), part, true).expect("a frame"));
    }
    write("extract", "tc", &[15, 64, 0], &lengths(&tc_frames));
    write("extract", "tc-access-steered", &[31, 64, 4], &lengths(&tc_frames));

    let header = tc::TcHeader { kind: tc::TcType::Ad, scid: 123, vcid: 1, count: 7 };
    let segment = tc::SegmentHeader { segment: tc::Segment::Unsegmented, map: 2 };
    let frame = tc::build(&header, Some(segment), &packet(3, 9), true).expect("a frame");
    let unlock = tc::Control::Unlock.frame(123, 0, true).expect("a frame");
    write("tc", "segment", &[3], &frame);
    write("tc", "unlock", &[2], &unlock);
    let randomizer = Randomizer::new(Sequence::Telecommand, 64);
    let both = [frame, unlock].concat();
    write("clcw", "lockout", &[], &[0x01, 0x04, 0x20, 0x07]);
    let unit = cltu::encode(&both, None).expect("a unit");
    write("units", "plain", &[0, 0, 5, 1], &[&[0x55; 3][..], &unit, &[0x55; 9], &unit].concat());
    let mut words = cltu::ldpc::LdpcUnits::new(cltu::ldpc::Code::Short);
    let unit = words.encode(&both, true).expect("a unit");
    write("units", "ldpc128", &[2, 0, 5, 1], &unit);
    write("units", "soft-noise", &[1, 2, 5, 0], &[0x5A; 40]);
    write("cltu", "plain", &[0, 9], &cltu::encode(&both, None).expect("a unit"));
    let unit = cltu::encode(&both, Some(&randomizer)).expect("a unit");
    write("cltu", "randomized-behind-noise", &[2, 62], &[&[0x55; 5], &unit[..]].concat());
}

fn streams() {
    let frame = |n: u8| (0..40u8).map(move |place| place ^ n).collect::<Vec<_>>();
    // As cadu::CODINGS numbers them: the first byte of the input.
    for (place, coding) in [(0, "none"), (2, "randomized:255"), (4, "rs:223:i1:dual")] {
        let coding: Coding = coding.parse().expect("a coding");
        let mut encoder = CaduEncoder::new(&coding, 40, Marker::TELEMETRY).expect("a coding");
        let mut units = Vec::new();
        (0..4).for_each(|n| encoder.push(&frame(n), &mut units).expect("a frame"));
        write("cadu", &format!("coding-{place}"), &[place, 0, 39, 3, 0], &units);
    }
    write("symbols", "convolutional", &[0, 0, 3, 1], &[7; 9]);
    write("symbols", "ldpc-soft", &[4, 2, 3, 1], &[]);
    write(
        "symbols",
        "ldpc-bits-with-errors",
        &[5, 1, 3, 1],
        &[[9; 64].as_slice(), &[0, 9, 1]].concat(),
    );
    write("symbols", "noise", &[6, 2, 3, 0], &[0x55; 300]);
    let coding: Coding = "rs:223:i1:dual,randomized:255".parse().expect("a coding");
    let mut encoder = CaduEncoder::new(&coding, 48, Marker::TELEMETRY).expect("a coding");
    let mut units = Vec::new();
    let aos = aos_frames(AosConfig::new(48));
    for frame in aos.chunks(48) {
        encoder.push(frame, &mut units).expect("a frame");
    }
    write("guess", "coded", &[], &units);
    write("guess", "bare", &[], &aos_frames(AosConfig::new(48).with_fecf(true)));
    let coding = Coding::NONE;
    let mut encoder = CaduEncoder::new(&coding, 40, Marker::TELEMETRY).expect("a coding");
    let mut units = vec![0xA5];
    (0..5).for_each(|n| encoder.push(&frame(n), &mut units).expect("a frame"));
    write("marker", "aligned", &[0, 40, 0x49, 8, 3], &units);
    units.insert(100, 0);
    let slipped: Vec<u8> = units.windows(2).map(|pair| !(pair[0] << 3 | pair[1] >> 5)).collect();
    write("marker", "slipped-inverted-and-a-byte-too-many", &[0, 40, 0x49, 8, 3], &slipped);

    let noise: Vec<u8> = (0..200u32).map(|n| ((n * n * 31) >> 3) as u8).collect();
    write("convolutional", "half", &[0, 1, 7], &noise);
    write("convolutional", "seven-eighths", &[4, 0, 7], &noise);
    write("node_sync", "half", &[0, 1, 7], &noise[..8]);
    write("node_sync", "three-quarters", &[2, 3, 7], &noise[..8]);
    write("ldpc", "telecommand-with-errors", &[0, 8, 0, 3], &noise[..14]);
    write("ldpc", "telemetry", &[2, 8, 0, 0], &noise[..128]);
    write("ldpc", "noise", &[1, 11, 1, 1], &noise);
    write("reed_solomon", "sixteen-errors", &[0, 1, 200, 0, 16], &noise);
    write("reed_solomon", "interleaved-noise", &[3, 5, 210, 1, 0], &noise);
}

fn packets_and_times() {
    let header = encapsulation::EncapsulationHeader { protocol: 4, ..Default::default() };
    let encapsulated = encapsulation::build(&header, &[7; 20]).expect("a packet");
    let both = [stream().concat(), encapsulated, vec![0xE0; 3], packet(9, 1)].concat();
    write("packets", "both-protocols", &[], &both);
    let group: Vec<u8> =
        (0..12u8).flat_map(|n| [0x08, n & 3, 0x40 << (n & 1), n, 0, 3, n, 1, 2, 3]).collect();
    write("track", "groups", &[0, 1], &group);
    let layout = Layout::issue_c(7);
    let mut bytes = Vec::new();
    let header = TcSecondary {
        acknowledge: Acknowledge::ALL,
        service: 17,
        subtype: 1,
        source: Some(0x0102),
    };
    header.write(&layout, &mut bytes).expect("a header");
    write("pus", "telecommand", &[0, 7], &bytes);
    bytes.clear();
    let header = TmSecondary {
        time_status: 1,
        service: 3,
        subtype: 25,
        counter: Some(5),
        destination: Some(6),
        time: &[1, 2, 3, 4, 5, 6, 7],
    };
    header.write(&layout, &mut bytes).expect("a header");
    write("pus", "telemetry", &[0, 7], &bytes);

    let epoch = [0; 8];
    let cuc = [&epoch[..], &[0x1F, 0x7A, 1, 2, 3, 0x80, 0, 0]].concat();
    write("time_codes", "cuc", &[0], &cuc);
    let cds = [&epoch[..], &[0x41, 0x62, 0x4B, 2, 0x93, 0x2E, 1, 0, 2]].concat();
    write("time_codes", "cds", &[1], &cds);
    for (name, text) in
        [("leap-second", "2016-12-31T23:59:60Z"), ("nanoseconds", "2026-11-23T12:00:00.001002003Z")]
    {
        write("rfc3339", name, &[0x18; 8], text.as_bytes());
    }
}

fn leap_table() {
    let table = "# File expires on 28 June 2026\n\
        41317.0    1  1 1972       10\n41499.0    1  7 1972       11\n57754.0    1  1 2017       12\n";
    write("leap_seconds", "table-of-days", &[0x18; 8], table.as_bytes());
    let table = "#@\t3991593600\n2272060800\t10\n2287785600\t11\n";
    write("leap_seconds", "table-of-seconds", &[0x18; 8], table.as_bytes());
}

fn texts() {
    let manifest = r#"{"format":1,"name":"m","version":"1.0.0","description":"d","tasks":["t/1"],
"inputs":[{"name":"x","datatype":"FP32","shape":[-1,2],"unit":"1"}],
"outputs":[{"name":"y","datatype":"UINT8","shape":[1],"unit":"1","elements":["a"]}],"max_batch":4,
"parameters":{"threshold":0.5},"provenance":{"trained_on":"a","script":"b","seed":1,"tools":"c",
"licence":"d","credit":"e","limits":"f"},"scores":[{"measure":"F1","on":"x","value":0.9}],
"files":{"model.onnx":{"bytes":3,"sha256":"HASH"},"vectors.json":{"bytes":3,"sha256":"HASH"}}}"#;
    let hash = codecs::package::Digest::of(b"abc").to_string();
    write("manifest", "small", &[], manifest.replace("HASH", &hash).as_bytes());
    let signature = codecs::package::sign(b"manifest", &[7; 32]);
    let list = codecs::package::Signature::list_to_json(&[signature]);
    write("signatures", "one", &[], list.as_bytes());
    let mission = "mission = \"m\"\ndomain = \"d\"\n\n[[spacecraft]]\nid = 7\nname = \"s\"\n\n\
        [[spacecraft.frames]]\nkind = \"aos\"\nscid = 71\nlength = 64\n\n\
        [[channel]]\nname = \"h\"\nvc = 0\n\n\
        [[packet]]\napid = 42\nname = \"c\"\ntime = \"cuc:4:3\"\n\n\
        [[packet.parameter]]\nname = \"a\"\ntype = \"i16\"\nunit = \"V\"\n\
        polynomial = [0.5, 2.0]\nlimits = { red_low = 1.0, yellow_high = 8.5, persistence = 3 }\n\0";
    let packet = [&[0x08, 0x2A, 0, 0, 0, 9][..], &[1; 10]].concat();
    write("definition", "small", mission.as_bytes(), &packet);
    for (name, kind, text) in [
        ("format", 0, "aos:1113"),
        ("coding", 1, "rs:223:i4:dual,randomized:255"),
        ("marker", 2, "1ACFFC1D"),
        ("sequence", 3, "131071"),
        ("origin", 6, "000102030405060708090a0b0c0d0e0f"),
        ("soft", 7, "soft"),
        ("command-coding", 8, "cltu:bch,randomized"),
        ("config", 9, "a = [1, \"b\"]\n[c]\nd = 2026-11-23\n"),
    ] {
        write("text", name, &[kind], text.as_bytes());
    }
    write("text", "digest", &[4], hash.as_bytes());
}

fn link() {
    let channel = Channel::virtual_channel(1, 71, 2, 0);
    let ranges = vec![SeqRange { first: 3, last: 9 }, SeqRange { first: 11, last: 11 }];
    let entry = KeyRanges { epoch: StoreEpoch(5), spacecraft: SpacecraftId(7), channel, ranges };
    let asks = Message::Asks { entries: vec![entry.clone()] }.encode();
    let receipts =
        Message::Receipts { ledger: 9, class: Durability::Local, entries: vec![entry] }.encode();
    let goodbye = Message::Goodbye { text: "set".into() }.encode();
    write("control", "three-messages", &[5], &[asks.clone(), receipts, goodbye].concat());
    write("control", "one-message", &[5], &asks[4..]);

    let annotation = Annotation {
        received: Tai(1),
        source: TimeSource::Measured,
        quality: Quality::Corrected,
        antenna: 3,
        corrected_symbols: 12,
    };
    let mut units = Vec::new();
    (0..3).for_each(|n| write_unit(&mut units, Some(annotation), &packet(n, 20)));
    let header = ObjectHeader {
        annotated: true,
        codec: Codec::SpacePacket,
        priority: 9,
        epoch: StoreEpoch(5),
        spacecraft: SpacecraftId(7),
        channel,
        first: 40,
        count: 3,
        length: units.len() as u32,
        created: Tai(2),
    };
    write("object", "three-units", &[1, 7], &[&header.encode()[..], &units].concat());
    let range = SeqRange { first: 3, last: 9 };
    let (epoch, spacecraft, bytes) = (StoreEpoch(5), SpacecraftId(7), 700);
    let entry = VoidRange { epoch, spacecraft, channel, range, bytes, from: Tai(1), to: Tai(9) };
    let void = Void { reason: VoidReason::Triage, decided: Tai(9), entries: vec![entry] };
    write("void", "one-range", &[], &void.encode());
    let look = QuickLook {
        codec: Codec::SpacePacket,
        quality: Quality::Good,
        received: Tai(7),
        channel,
        spacecraft,
        frame: &packet(3, 20),
    };
    write("quicklook", "one-packet", &[], &look.encode().expect("it fits"));
}

fn uplink() {
    let counter = UplinkCounter {
        domain: "demo".into(),
        ledger: 0xFEED,
        spacecraft: SpacecraftId(7),
        channel: ContentKind::Command.channel(),
    };
    let key = UplinkKey { counter: counter.clone(), sequence: 3 };
    let object = UplinkObject {
        key: key.clone(),
        kind: ContentKind::Command as u8,
        priority: 9,
        created: Tai(5),
        expires: Some(Tai(90)),
        body: Bytes::from_static(b"ping"),
    };
    write("uplink", "command", &[1, 7], &object.encode());
    write("uplink", "made-whole", &[0, 7], &object.encode());
    let mut window = Window::new(counter.clone());
    window.mark(3, Mark::Begun);
    window.mark(7, Mark::Ended(Outcome::Done));
    write("uplink_note", "begun-and-done", &[], &window.encode());
    let (outcome, detail) = (Outcome::Refused(Refusal::Malformed), "no \"key\"".into());
    let record = OutcomeRecord { key, outcome, detail, time: Tai(7) };
    write("uplink_record", "refused", &[], record.to_json().as_bytes());
    let log = [
        uplink::Entry::Object(object),
        uplink::Entry::Outcome { bytes: 4, record },
        uplink::Entry::Next(counter, 9),
    ];
    let log: Vec<u8> = log.iter().flat_map(uplink::Entry::encode).collect();
    write("uplink_log", "answered", &[], &log);
    // Received, begun, executed, concluded, repeated; a crash between.
    let one = [0, 2, 1, 1, 5];
    let whole = [&one[..], &[2, 3, 2, 4, 2, 5], &one, &[2, 2]].concat();
    write("uplink_executor", "once", &[], &whole);
    let cut = [&one[..], &[2, 3, 2, 7, 2, 5, 6, 9], &one, &[2]].concat();
    write("uplink_executor", "cut", &[], &cut);
    let life = [0, 7, 2, 0, 3, 0, 4, 0, 8, 9, 3, 0, 7, 0, 3, 1, 6, 0, 3, 1];
    write("uplink_queue", "repeated-then-answered", &[], &life);
}

fn radio() {
    let prefix = KeyPrefix {
        origin: Origin([2; 16]),
        epoch: StoreEpoch(4),
        spacecraft: SpacecraftId(7),
        channel: Channel::stream(2),
    };
    let mut splitter = Splitter::new(PARTS_APID, 128).expect("parts of 128 bytes");
    let mut parts = Vec::new();
    let key = UnitKey { prefix, sequence: 9 };
    let mut keep = |packet: Vec<u8>| parts.push(packet[6..].to_vec());
    splitter.split(key, Codec::Record, 3, &[0x5A; 300], &mut keep).expect("a unit");
    let one = |at: usize, flags: u8| {
        let length = (parts[at].len() as u16).to_be_bytes();
        [&[flags, length[0], length[1]], &parts[at][..]].concat()
    };
    // First, last, one in between, in another order.
    write("rf_parts", "three-parts", &[], &[one(2, 5), one(0, 3), one(1, 1)].concat());
    write("rf_parts", "one-twice", &[], &[one(0, 2), one(0, 2)].concat());
    let entries = vec![KeyRanges::new(prefix, vec![SeqRange { first: 0, last: 5 }])];
    let message = Message::Receipts { ledger: 3, class: Durability::Local, entries };
    let said = |message| Statement {
        domain: "orbit".into(),
        ledger: 3,
        origin: Origin([2; 16]),
        counter: 9,
        issued: Tai(1000),
        message,
    };
    for (name, message) in [("receipt", Some(message)), ("time", None)] {
        let packet = said(message).packet(&[7; 32], SIGNED_APID, SequenceCount(0));
        write("rf_statements", name, &[0], &packet.expect("it fits")[6..]);
    }
}

fn machines() {
    let offered: Vec<u8> = (0..6).flat_map(|n| [0, n, n, 0, 90]).collect();
    // Connected, welcomed with room for objects, sent, done, receipted, asked.
    let welcome = [5, 1, 0, 0, 0x40, 0, 0x40, 0, 8, 1, 3, 0, 0];
    let heard = [8, 9, 0, 5, 1, 0, 2, 0, 0, 9, 5, 1, 0, 5, 0, 0, 9, 8, 11, 9];
    let session = [&[3, 1, 2, 3, 4, 5, 6, 7, 8][..], &welcome, &heard].concat();
    write("sender", "a-session", &[0], &[&offered[..], &session].concat());
    write("sender", "the-higher-class", &[1], &[&offered[..], &session, &[4], &session].concat());
    let hello = [0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 1, 0, 5, 7, 2];
    write(
        "receiver",
        "a-session",
        &[],
        &[&hello[..], &[4, 1, 0, 3, 0, 6, 0, 1, 0, 20, 7]].concat(),
    );
    let mut annotation = [0; 16];
    annotation[8] = 2;
    write("annotation", "erred", &[], &annotation);
    write("kiss", "two-frames", &[5], b"\xC0\x00one\xDB\xDC\xC0\xC0\x00two\xC0");
}

/// An object as `ground::ground` takes it: one unit of a codec on a channel.
fn given(codec: u8, channel: u8, first: u8, unit: &[u8]) -> Vec<u8> {
    let header = [0, 0, 9, codec, 0, 7, channel, 0, first, unit.len() as u8];
    [&header[..], unit].concat()
}

fn ground() {
    let aos = aos_frames(AosConfig::new(64));
    let packets: Vec<_> = (0..8).map(|n| packet(n, 16)).collect();
    let slices: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
    let block = squeeze(&slices, DEFAULT_LEVEL).expect("a block");
    let range = SeqRange { first: 3, last: 9 };
    let (epoch, spacecraft, channel) = (StoreEpoch(0), SpacecraftId(7), Channel::stream(1));
    let (bytes, from, to) = (700, Tai(1), Tai(9));
    let entry = VoidRange { epoch, spacecraft, channel, range, bytes, from, to };
    let void = Void { reason: VoidReason::Triage, decided: Tai(9), entries: vec![entry] }.encode();
    let mut session = given(2, 2, 0, &aos[..64]);
    session.extend(given(4, 3, 0, &block));
    session.push(4);
    session.extend(given(6, 0, 0, &void));
    session.extend(given(7, 1, 0, br#"{"event":"anomaly","parameter":"a"}"#));
    session.extend([4, 7]);
    // The same block again, and another under its key.
    session.extend(given(4, 3, 0, &block));
    session.extend(given(4, 3, 0, &void));
    session.extend([4, 6, 0, 50]);
    write("ground", "a-session-and-a-crash", &[], &session);
    let mission = "mission = \"mission.toml\"\n[station]\nname = \"T\"\nlatitude_deg = 48.0\n\
        longitude_deg = 11.0\n[identity]\nauthority = \"a\"\ncertificate = \"b\"\nkey = \"c\"\n\
        [[operator]]\nname = \"o\"\ntoken = \"t\"\nspacecraft = [7]\nactions = [\"command\"]\n";
    write("files", "station", &[], mission.as_bytes());

    let prefix = KeyPrefix { origin: Origin([7; 16]), epoch, spacecraft, channel };
    let mut ledger = Ledger::new();
    ledger.note(&UnitKey { prefix, sequence: 4 }, 10);
    ledger.void(prefix, range);
    let checkpoint = ledger.checkpoint();
    write("records", "checkpoint", &[3, 0, 0, 0], &checkpoint);
    let header = SegmentHeader {
        number: 0,
        ledger_id: 5,
        begun: Tai(1),
        previous: None,
        footer: NO_FOOTER,
        floor: 0,
        checkpoint: ledger,
    };
    let header = header.encode();
    if header.len() < 4000 {
        write("records", "segment-header", &[2, 0, 0, 0], &header);
        let length = (header.len() as u16).to_be_bytes();
        write("segments", "a-header", &[1, length[0], length[1]], &header);
    } else {
        // A header fills its block: what follows its checkpoint is zeros.
        let used = header.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        write("records", "segment-header", &[2, 0, 0, 0], &header[..used.min(4000)]);
        write("segments", "a-header-cut", &[1, 0x0F, 0], &header[..used.min(4000)]);
    }
    let mut index = Index::default();
    index.add(&UnitKey { prefix, sequence: 4 }, 4096);
    write("records", "index", &[1, 0, 0, 0], &index.encode(0));
}

fn blocks() {
    let packets: Vec<_> = (0..40).map(|n| packet(n, 16)).collect();
    let slices: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
    // `columns` beside them is a block of version 1, which nothing writes any more.
    for (name, level, choice) in [("fast", Level::Fast, 0x40), ("dense", Level::Dense, 0)] {
        let block = squeeze(&slices, level).expect("a block");
        write("squeeze", name, &[choice | 16], &block);
        write("squeeze", &format!("{name}-inside"), &[0x80 | choice | 15, 39], &block[12..]);
    }
    let mut product = Product {
        kind: ProductKind::Tile,
        id: 7,
        captured: Tai(1),
        latitude: 78.2,
        longitude: -15.4,
        attitude: Some([0.0, 0.6, 0.0, 0.8]),
        footprint: Some([[78.0, -15.0], [78.0, -16.0], [79.0, -16.0], [79.0, -15.0]]),
        score: 0.75,
        truth: Some(71),
        bands: 2,
        bits: 8,
        max_error: 0,
        width: 8,
        height: 4,
        source_bytes: 64,
        mask_width: 2,
        mask_height: 1,
        mask: Bytes::from_static(&[0, 255]),
        regions: vec![Region { left: 4, top: 0, width: 4, height: 4, score: 255 }],
        features: vec![3.0, 0.0],
        pixels: Bytes::from(vec![3; 64]),
    };
    write("product", "squeezed", &[1], &product.encode());
    let noise = (0..64u32).map(|n| (((n * n * 31) >> 2) ^ (n << 5)) as u8);
    product.pixels = noise.collect::<Vec<_>>().into();
    write("product", "raw", &[0], &product.encode());
    write("tensor", "floats", &[2, 2, 0, 2, 3], &crc16(b"floats").to_be_bytes().repeat(12));
}

/// Samples with runs of one value, slow stretches and wild ones: every code option.
fn samples(bits: u32) -> Vec<u32> {
    let wild = |n: u32| n.wrapping_mul(2_654_435_761) >> (32 - bits);
    (0..600).map(|n| if n < 400 { 3 } else { wild(n) >> (bits * (600 - n) / 201) }).collect()
}

fn samples_coded() {
    let base = RiceConfig { block: BlockSize::Eight, interval: 100, ..RiceConfig::new(12) };
    for (name, choices, config) in [
        ("preprocessed", [11, 0b100, 99, 2, 88], base),
        ("plain", [11, 0, 99, 2, 88], RiceConfig { preprocess: false, ..base }),
        ("wide-and-padded", [31, 0b10_0100, 99, 2, 88], RiceConfig { bits: 32, pad: true, ..base }),
        ("restricted", [1, 0b1_0100, 99, 2, 88], RiceConfig { bits: 2, restricted: true, ..base }),
    ] {
        let stream = rice::encode(&config, &samples(config.bits)).expect("samples of these bits");
        write("rice", name, &choices, &stream);
    }
    for (name, bits, max_error) in [("lossless", 12, 0), ("near-lossless", 8, 2)] {
        let shape = Shape { width: 12, height: 10, bands: 5, bits };
        let samples: Vec<u16> = samples(u32::from(bits)).iter().map(|s| *s as u16).collect();
        let tile = image::encode(shape, &samples, max_error).expect("samples of these bits");
        write("tile", name, &[max_error as u8], &tile);
    }
}

fn main() {
    frames();
    streams();
    packets_and_times();
    leap_table();
    texts();
    orbits::orbits();
    link();
    uplink();
    radio();
    machines();
    ground();
    blocks();
    samples_coded();
    onboard::sensors();
    pocketplus::seeds();
}
