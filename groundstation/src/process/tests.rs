use super::*;
use crate::publish::Level;
use bytes::Bytes;
use codecs::frame::aos::{AosBuilder, AosConfig};
use codecs::ids::{Apid, KeyPrefix, Origin, StoreEpoch, UnitKey};
use codecs::packet::space::{PacketHeader, SequenceCount, build};
use codecs::squeeze::columns::squeeze;

const MISSION: &str = r#"
mission = "sky"
[[spacecraft]]
id = 7
name = "SKY-7"
[[spacecraft.frames]]
kind = "aos"
scid = 71
length = 256
fecf = true
[[channel]]
name = "housekeeping"
vc = 0
[[packet]]
apid = 100
name = "EPS"
time = "cuc:4:3"
[[packet.parameter]]
name = "EPS_V"
type = "u16"
unit = "V"
polynomial = [0.0, 0.001]
limits = { red_low = 6.6, persistence = 2 }
[[packet.parameter]]
name = "EPS_SUN"
type = "u8"
enumeration = { 0 = "sun", 1 = "eclipse" }
[[product]]
kind = "tile"
name = "Imager tile"
[[rule]]
on = "product:tile"
task = "cloud-mask/1"
deadline_s = 60
priority = 1
"#;

const START: Tai = Tai(1_795_392_037_000_000_000);

fn process() -> Process {
    Process::new(Arc::new(Definition::from_toml(MISSION).unwrap()))
}

fn eps(second: u16, millivolts: u16) -> Vec<u8> {
    let time = START.plus(i64::from(second) * 1_000_000_000);
    let mut data = time.to_cuc43().to_vec();
    data.extend(millivolts.to_be_bytes());
    data.push((second % 2) as u8);
    let header = PacketHeader::telemetry(Apid(100), SequenceCount(second)).with_secondary_header();
    build(&header, &data).unwrap()
}

fn unit(channel: Channel, sequence: u64, codec: Codec, bytes: impl Into<Bytes>) -> Archived {
    let prefix = KeyPrefix {
        origin: Origin([1; 16]),
        epoch: StoreEpoch(1),
        spacecraft: SpacecraftId(7),
        channel,
    };
    Archived {
        key: UnitKey { prefix, sequence },
        codec,
        received: START.plus(90_000_000_000),
        annotation: None,
        bytes: bytes.into(),
        position: crate::archive::record::Position { segment: 0, offset: 0 },
        replayed: false,
    }
}

fn block(seconds: std::ops::Range<u16>, millivolts: u16) -> Archived {
    let packets: Vec<Vec<u8>> = seconds.map(|second| eps(second, millivolts)).collect();
    let slices: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
    unit(Channel::stream(1), 0, Codec::Squeezed, squeeze(&slices, Default::default()).unwrap())
}

fn realtime(seconds: std::ops::Range<u16>) -> Vec<Archived> {
    let config = AosConfig::new(256).with_fecf(true);
    let mut builder = AosBuilder::new(config, 71, 0, 0).unwrap();
    let mut frames = vec![];
    for second in seconds {
        builder.push(&eps(second, 7500), &mut |frame| frames.push(frame)).unwrap();
    }
    builder.flush(&mut |frame| frames.push(frame));
    let channel = Channel::virtual_channel(1, 71, 0, 0);
    let number = |(at, frame)| unit(channel, at as u64, Codec::AosFrame, frame);
    frames.into_iter().enumerate().map(number).collect()
}

fn count(outcome: &Outcome, which: impl Fn(&Event) -> bool) -> usize {
    outcome.events.iter().filter(|event| which(event)).count()
}

fn parameters(outcome: &Outcome) -> usize {
    count(outcome, |event| matches!(event, Event::Parameter { .. }))
}

#[test]
fn a_packet_that_comes_twice_is_told_once() {
    let mut process = process();
    let now = START.plus(100_000_000_000);
    let frames = realtime(0..40);
    let live: usize = frames.iter().map(|frame| parameters(&process.take(frame, now))).sum();
    assert_eq!(live, 80);
    let outcome = process.take(&block(20..60, 7500), now);
    assert_eq!(parameters(&outcome), 40, "20 of 40 packets are new");
    let insights = count(&outcome, |event| matches!(event, Event::Insight { .. }));
    assert_eq!(insights, 20);
    assert_eq!(process.counts().packets[&Fate::Copy.name()], 20);
    let texts: Vec<_> = outcome
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Parameter { text: Some(text), .. } => Some(text.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(texts[..2], ["sun", "eclipse"]);
}

#[test]
fn a_replay_tells_values_and_alarms_and_no_insight() {
    let mut process = process();
    let mut unit = block(0..10, 6000);
    unit.replayed = true;
    let outcome = process.take(&unit, START);
    assert_eq!(parameters(&outcome), 20);
    assert_eq!(count(&outcome, |event| matches!(event, Event::Insight { .. })), 0);
    let alarm = |event: &Event| match event {
        Event::Alarm { id, level, .. } => Some((id.clone(), *level)),
        _ => None,
    };
    let alarms: Vec<_> = outcome.events.iter().filter_map(alarm).collect();
    let expected = format!("7-EPS_V-{}", START.plus(1_000_000_000).0);
    assert_eq!(alarms, [(expected, Level::Red)]);
}

#[test]
fn erred_frames_are_shown_and_their_packets_are_not_believed() {
    let mut process = process();
    let mut frames = realtime(0..4);
    let mut broken = frames[0].bytes.to_vec();
    broken[40] ^= 0x80;
    frames[0].bytes = broken.into();
    let outcome = process.take(&frames[0], START);
    assert_eq!(parameters(&outcome), 0);
    let erred =
        |event: &Event| matches!(event, Event::Frame { quality: Quality::Erred, vc: 0, .. });
    assert_eq!(count(&outcome, erred), 1);
    assert!(process.counts().packets["erred"] > 0);
}

#[test]
fn a_frame_of_another_length_or_spacecraft_is_counted_and_not_told() {
    let mut process = process();
    let mut frame = realtime(0..4).remove(0);
    frame.key.prefix.spacecraft = SpacecraftId(9);
    assert_eq!(process.take(&frame, START).events.len(), 1, "the unit itself only");
    frame.key.prefix.spacecraft = SpacecraftId(7);
    frame.bytes = frame.bytes.slice(..200);
    assert_eq!(process.take(&frame, START).events.len(), 1);
    let flagged = &process.counts().frames_flagged;
    assert_eq!((flagged["foreign"], flagged["wrong_length"]), (1, 1));
}

#[test]
fn a_tile_asks_for_work_and_a_summary_does_not() {
    let mut process = process();
    let mut tile = product::tests::tile(4, 64);
    let whole = unit(Channel::stream(2), 0, Codec::Product, tile.encode());
    let outcome = process.take(&whole, START);
    assert_eq!(outcome.work.len(), 1);
    assert_eq!(outcome.work[0].task, "cloud-mask/1");
    assert_eq!(outcome.work, process.take(&whole, START).work, "the same work by its key");
    tile.kind = ProductKind::Summary;
    let summary = unit(Channel::stream(2), 1, Codec::Product, tile.encode());
    let outcome = process.take(&summary, START);
    assert_eq!((outcome.work.len(), outcome.events.len()), (0, 3));
}

#[test]
fn garbage_is_counted() {
    let mut process = process();
    for (codec, why) in [
        (Codec::Squeezed, "squeezed"),
        (Codec::Product, "product"),
        (Codec::Record, "record"),
        (Codec::Void, "void"),
        (Codec::UslpFrame, "uslp"),
    ] {
        let outcome = process.take(&unit(Channel::stream(1), 0, codec, &b"nonsense"[..]), START);
        assert_eq!(outcome.events.len(), 1);
        assert_eq!(process.counts().units_unread[why], 1);
    }
}

#[test]
fn the_mission_is_told_first() {
    let events = process().mission_events();
    let [Event::Mission(mission)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((mission.name.as_str(), mission.parameters.len()), ("SKY-7", 2));
    assert_eq!(mission.channels[0].1, "housekeeping");
    assert!(mission.parameters[0].limits.is_some_and(|limits| limits.red_low == Some(6.6)));
}
