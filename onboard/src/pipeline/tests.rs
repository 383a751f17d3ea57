//! Datagrams in, outcomes out, without a socket or a disk.

use std::path::Path;

use codecs::{
    mission::Definition,
    product::{Product, ProductKind},
    squeeze::columns::unsqueeze,
};

use super::*;
use crate::{config::LEAST, score::TelemetrySettings};

const SECOND: u64 = 1_000_000_000;
const START: Tai = Tai(1_800_000_000_000_000_000);

const MISSION: &str = r#"
mission = "test"
domain = "test"
[[spacecraft]]
id = 7
name = "SKY-7"
[[packet]]
apid = 101
name = "THERMAL"
time = "cuc:4:3"
[[packet.parameter]]
name = "TEMPERATURE"
type = "u16"
"#;

fn pipeline(extra: &str, watch: Option<Watch>) -> Pipeline {
    let text = format!("{LEAST}{extra}");
    let config = Config::parse("onboard.toml", &text, Path::new("")).unwrap();
    Pipeline::new(&config, 0, watch, TileScorer::new(None).unwrap()).unwrap()
}

fn packet(apid: u16, time: Tai, data: &[u8]) -> Bytes {
    let mut out = vec![0x08 | (apid >> 8) as u8, apid as u8, 0xc0, 0];
    out.extend_from_slice(&((7 + data.len() - 1) as u16).to_be_bytes());
    out.extend_from_slice(&time.to_cuc43());
    out.extend_from_slice(data);
    out.into()
}

fn tile(brightness: u8) -> Bytes {
    let mut data = vec![0, 0, 0, 5, 0, 64, 0, 64, 4, 8];
    data.extend_from_slice(&[0; 8]);
    data.extend_from_slice(&[255, 0]);
    data.resize(data.len() + 4 * 64 * 64, brightness);
    packet(300, START, &data)
}

fn drain(pipeline: &mut Pipeline) -> Vec<Outcome> {
    std::iter::from_fn(|| pipeline.poll()).collect()
}

fn kept(outcomes: Vec<Outcome>) -> Vec<NewUnit> {
    let keep = |outcome| match outcome {
        Outcome::Keep { unit, .. } => Some(unit),
        Outcome::LeaveOut { .. } | Outcome::Together { .. } => None,
    };
    outcomes.into_iter().filter_map(keep).collect()
}

#[test]
fn telemetry_goes_down_at_once_in_frames_and_whole_in_blocks() {
    let mut pipeline = pipeline("[squeeze]\nblock_packets = 10\n", None);
    let packets: Vec<Bytes> = (0..25u64)
        .map(|at| packet(100, START.plus((at * SECOND) as i64), &[at as u8; 30]))
        .collect();
    let mut units = Vec::new();
    for (at, packet) in packets.iter().enumerate() {
        let now = at as u64 * SECOND;
        pipeline.handle_timeout(now);
        pipeline.datagram(packet.clone(), now).unwrap();
        units.extend(kept(drain(&mut pipeline)));
    }
    pipeline.finish(25 * SECOND);
    units.extend(kept(drain(&mut pipeline)));
    let frames: Vec<&NewUnit> = units.iter().filter(|unit| unit.codec == Codec::AosFrame).collect();
    assert_eq!(frames.len(), 25, "each second closes a frame");
    assert!(frames.iter().all(|frame| frame.bytes.len() == 1113));
    assert_eq!(frames[0].channel, Channel::virtual_channel(1, 71, 0, 0));
    let blocks = units.iter().filter(|unit| unit.codec == Codec::Squeezed);
    let back: Vec<Bytes> = blocks
        .inspect(|block| assert_eq!((block.channel, block.priority), (TELEMETRY, 140)))
        .flat_map(|block| {
            let block = unsqueeze(&block.bytes, 1 << 20).unwrap();
            block.packets().collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(back, packets);
    assert_eq!(pipeline.timeout(), None);
    assert_eq!(pipeline.source().taken, 25);
}

#[test]
fn a_cloudy_tile_is_left_out_but_for_its_summary() {
    let mut pipeline = pipeline("", None);
    pipeline.datagram(tile(250), 0).unwrap();
    let outcomes = drain(&mut pipeline);
    assert!(matches!(outcomes[0], Outcome::LeaveOut { channel: PRODUCTS, bytes: 16_417, .. }));
    let units = kept(outcomes);
    let summary = Product::decode(&units[0].bytes).unwrap();
    assert_eq!((summary.kind, summary.id, summary.truth), (ProductKind::Summary, 5, None));
    pipeline.datagram(tile(20), 0).unwrap();
    let units = kept(drain(&mut pipeline));
    assert_eq!(Product::decode(&units[0].bytes).unwrap().kind, ProductKind::Tile);
    assert_eq!((pipeline.counts().tiles, pipeline.counts().left_out), (2, 1));
}

#[test]
fn parts_of_a_tile_go_down_and_what_is_hidden_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("triage.toml");
    for (original, behind) in [("drop", None), ("keep", Some(KEPT))] {
        let rule = "[[rule]]\nname = \"clear parts\"\nclass = \"tile\"\naction = \"parts\"\n";
        std::fs::write(&path, format!("{rule}original = {original:?}\n")).unwrap();
        let mut pipeline = pipeline(&format!("[triage]\npolicy = {path:?}\n"), None);
        let mut half = tile(20).to_vec();
        let pixels = half.len() - 4 * 4096;
        for band in half[pixels..].chunks_exact_mut(4096) {
            band[..2048].fill(220);
        }
        pipeline.datagram(half.into(), 0).unwrap();
        let outcomes = drain(&mut pipeline);
        assert_eq!(outcomes.len(), 2, "{outcomes:?}");
        match (&outcomes[0], behind) {
            (Outcome::LeaveOut { channel: PRODUCTS, bytes: 16_417, .. }, None) => {}
            (Outcome::Keep { unit, .. }, Some(priority)) => assert_eq!(unit.priority, priority),
            (other, _) => panic!("{original}: {other:?}"),
        }
        let Outcome::Keep { unit, .. } = &outcomes[1] else { panic!("{outcomes:?}") };
        let parts = Product::decode(&unit.bytes).unwrap();
        assert_eq!((parts.kind, parts.score), (ProductKind::Parts, 0.5));
        assert!(
            parts.pixels.chunks_exact(4096).all(|band| band[2048..].iter().all(|of| *of == 20))
        );
        pipeline.datagram(tile(20), 0).unwrap();
        let units = kept(drain(&mut pipeline));
        assert_eq!(units.len(), 1, "nothing of it is hidden");
        assert_eq!(Product::decode(&units[0].bytes).unwrap().kind, ProductKind::Tile);
        assert_eq!((pipeline.counts().tiles, pipeline.counts().left_out), (2, 1));
    }
}

#[test]
fn what_is_malformed_is_counted_and_changes_nothing() {
    let mut pipeline = pipeline("", None);
    let whole = tile(9);
    assert_eq!(pipeline.datagram(whole.slice(..40), 0), Err((Malformed::Length, 1)));
    let lying = packet(300, START, &[9; 50]);
    assert_eq!(pipeline.datagram(lying, 0), Err((Malformed::Tile, 1)));
    assert_eq!(pipeline.datagram(Bytes::from_static(b"?"), 0), Err((Malformed::Short, 1)));
    assert!(pipeline.is_idle());
    assert_eq!(pipeline.source().malformed.values().sum::<u64>(), 3);
    assert_eq!((pipeline.source().taken, pipeline.time(0)), (0, Tai(0)));
}

#[test]
fn recorded_frames_pass_as_they_are_and_erred_ones_claim_no_channel() {
    let mut pipeline = pipeline("[replay]\nframe = \"aos:1113\"\nfecf = true\n", None);
    let config = codecs::frame::aos::AosConfig::new(1113).with_fecf(true);
    let mut builder = codecs::frame::aos::AosBuilder::new(config, 71, 3, 0).unwrap();
    let mut frames = Vec::new();
    for _ in 0..3 {
        builder.push(&packet(100, START, &[1; 600]), &mut |frame| frames.push(frame)).unwrap();
    }
    let whole = frames.remove(0);
    let mut erred = whole.to_vec();
    erred[700] ^= 1;
    pipeline.datagram(whole.clone(), 0).unwrap();
    pipeline.datagram(erred.into(), 0).unwrap();
    assert_eq!(pipeline.datagram(whole.slice(1..), 0), Err((Malformed::FrameLength, 1)));
    let units = kept(drain(&mut pipeline));
    assert_eq!(units[0].bytes, whole);
    assert_eq!(units[0].channel, Channel::virtual_channel(1, 71, 3, 0));
    assert_eq!((units[1].channel, units[1].codec), (Channel::UNIDENTIFIED, Codec::AosFrame));
    assert_eq!(units.len(), 2);
}

#[test]
fn an_anomaly_is_told_once_and_lifts_its_block() {
    let definition = Definition::from_toml(MISSION).unwrap();
    let scorer = TelemetryScorer::new(None, TelemetrySettings::default()).unwrap();
    let watch = Watch::new(definition, &["TEMPERATURE".into()], scorer).unwrap();
    let mut pipeline = pipeline("[squeeze]\nblock_packets = 4096\n", Some(watch));
    for at in 0..400u64 {
        let value = if at < 300 { 2000 + (at % 5) as u16 } else { 9000 };
        let time = START.plus((at * SECOND / 20) as i64);
        pipeline.datagram(packet(101, time, &value.to_be_bytes()), at * SECOND / 20).unwrap();
    }
    let records: Vec<Value> = kept(drain(&mut pipeline))
        .iter()
        .filter(|unit| unit.codec == Codec::Record)
        .map(|unit| serde_json::from_slice(&unit.bytes).unwrap())
        .collect();
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(
        (&records[0]["event"], &records[0]["parameter"]),
        (&json!("anomaly"), &json!("TEMPERATURE"))
    );
    assert!(records[0]["time"].as_str().is_some_and(|time| time.ends_with('Z')));
    pipeline.finish(20 * SECOND);
    assert_eq!(kept(drain(&mut pipeline))[0].priority, triage::ANOMALOUS);
}

#[test]
fn a_parameter_that_the_mission_does_not_know_is_named() {
    let definition = Definition::from_toml(MISSION).unwrap();
    let scorer = TelemetryScorer::new(None, TelemetrySettings::default()).unwrap();
    assert_eq!(Watch::new(definition, &["TEMP".into()], scorer).err(), Some("TEMP".into()));
}

const POLICY: &str = r#"
[[rule]]
name = "cloudy"
class = "tile"
score_min = 0.5
action = "summary"
original = "keep"
[[rule]]
name = "last seconds"
class = "tile"
contact_min_s = 1
contact_max_s = 30
action = "keep"
[[rule]]
name = "noise"
class = "telemetry"
apids = [120]
action = "drop"
"#;

#[test]
fn a_policy_file_decides_and_every_tile_is_kept_summed_up_or_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("triage.toml");
    std::fs::write(&path, POLICY).unwrap();
    let extra = format!("[squeeze]\nblock_packets = 2\n[triage]\npolicy = {path:?}\n");
    let mut pipeline = pipeline(&extra, None);
    pipeline.datagram(tile(250), 0).unwrap();
    let units = kept(drain(&mut pipeline));
    let told = |unit: &NewUnit| (Product::decode(&unit.bytes).unwrap().kind, unit.priority);
    let told: Vec<_> = units.iter().map(told).collect();
    assert_eq!(told, [(ProductKind::Tile, KEPT), (ProductKind::Summary, triage::SUMMARY)]);
    pipeline.set_contact(20);
    pipeline.datagram(tile(20), 0).unwrap();
    assert_eq!(kept(drain(&mut pipeline))[0].priority, KEPT);
    pipeline.set_contact(200);
    pipeline.datagram(tile(20), 0).unwrap();
    assert_eq!(kept(drain(&mut pipeline))[0].priority, triage::CLEAR);
    for _ in 0..2 {
        pipeline.datagram(packet(120, START, &[9; 20]), 0).unwrap();
    }
    let outcomes = drain(&mut pipeline);
    assert!(
        matches!(outcomes[..], [Outcome::LeaveOut { channel: TELEMETRY, bytes: 66, .. }]),
        "{outcomes:?}"
    );
    let decisions = ["cloudy", "last seconds", "noise", "usual"].map(|of| (of.to_owned(), 1));
    assert_eq!(*pipeline.decisions(), BTreeMap::from(decisions));
    assert_eq!((pipeline.counts().left_out, pipeline.counts().blocks_left_out), (2, 1));

    let set = |text: &str| uplink::Policy::parse(text).unwrap();
    let refused = pipeline.set_policy(&set("[triage]\ncloudy_above = 0.5\n")).unwrap_err();
    assert!(refused.contains("[[triage.rule]]"), "{refused}");
    let rule = "[[triage.rule]]\nname = \"all\"\nclass = \"tile\"\naction = \"drop\"\n";
    pipeline.set_policy(&set(rule)).unwrap();
    pipeline.datagram(tile(20), 0).unwrap();
    assert!(matches!(drain(&mut pipeline)[..], [Outcome::LeaveOut { channel: PRODUCTS, .. }]));
}

/// Whatever the policy does with them, no packet is missing from the sum, and none is in it twice.
#[test]
fn every_packet_and_tile_is_in_one_outcome() {
    for (class, action) in [
        ("tile", "first"),
        ("tile", "parts"),
        ("tile", "summary"),
        ("tile", "keep"),
        ("tile", "drop"),
        ("telemetry", "keep"),
        ("telemetry", "drop"),
    ] {
        let mut pipeline = pipeline("[squeeze]\nblock_packets = 4\n", None);
        let rule = format!(
            "[[triage.rule]]\nname = \"all\"\nclass = \"{class}\"\naction = \"{action}\"\n"
        );
        pipeline.set_policy(&uplink::Policy::parse(&rule).unwrap()).unwrap();
        for at in 0..10u64 {
            let bytes = packet(100, START.plus((at * SECOND) as i64), &[at as u8; 30]);
            pipeline.datagram(bytes, at * SECOND).unwrap();
            pipeline.datagram(tile(255 * (at % 2) as u8), at * SECOND).unwrap();
        }
        let own = crate::health::Health::default().packet(codecs::ids::Apid(90), 0, START);
        pipeline.own(own, 10 * SECOND).unwrap();
        pipeline.finish(11 * SECOND);
        let (bunch, counts) = (pipeline.bunch(), pipeline.counts());
        assert_eq!((counts.taken, counts.own), (20, 1), "{action}");
        assert_eq!(bunch.kept + bunch.left_out, 21, "{action}: {bunch:?}");
        let dropped = if class == "tile" { 10 } else { 11 };
        assert!(action != "drop" || bunch.left_out == dropped, "{bunch:?}");
        pipeline.tie(0, 1, Bytes::new());
        assert_eq!(pipeline.bunch(), bunch.of_file(), "{action}");
    }
}
