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
    ] {
        let outcome = process.take(&unit(Channel::stream(1), 0, codec, &b"nonsense"[..]), START);
        assert_eq!(outcome.events.len(), 1);
        assert_eq!(process.counts().units_unread[why], 1);
    }
    for codec in [Codec::TmFrame, Codec::AosFrame, Codec::UslpFrame] {
        process.take(&unit(Channel::stream(1), 0, codec, &b"nonsense"[..]), START);
    }
    assert_eq!(process.counts().frames_flagged.values().sum::<u64>(), 3);
}

#[test]
fn the_mission_is_told_first() {
    let events = process().mission_events();
    let [Event::Mission(mission)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((mission.name.as_str(), mission.parameters.len()), ("SKY-7", 2));
    assert_eq!(mission.channels[0].1, "housekeeping");
    assert!(mission.parameters[0].limits.is_some_and(|limits| limits.red_low == Some(6.6)));
}

/// A USLP frame of 64 bytes put together by hand from 732.1-B-3 §4.1, with a check worked out bit
/// by bit: spacecraft 0x1234 as the source, virtual channel 3, MAP 0, a count of two bytes, packets
/// that span frames, and idle data behind them.
fn uslp_frame(count: u16, data: &[u8]) -> Bytes {
    let mut frame = vec![0xC1, 0x23, 0x40, 0x60, 0, 63, 0x02];
    frame.extend(count.to_be_bytes());
    // Rule 000, packets; the first of them starts at once.
    frame.extend([0, 0, 0]);
    frame.extend(data);
    let mut idle = vec![0x07, 0xFF, 0xC0, 0, 0, (62 - frame.len() - 7) as u8];
    idle.resize(62 - frame.len(), 0x55);
    frame.extend(idle);
    let mut check = 0xFFFFu16;
    for bit in frame.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)) {
        let out = check >> 15 ^ u16::from(bit);
        check = check << 1 ^ if out == 1 { 0x1021 } else { 0 };
    }
    frame.extend(check.to_be_bytes());
    frame.into()
}

#[test]
fn uslp_frames_give_their_packets_gaps_and_faults() {
    let kinds =
        MISSION.replace("\"aos\"\nscid = 71\nlength = 256", "\"uslp\"\nscid = 4660\nlength = 64");
    assert_ne!(kinds, MISSION);
    let mut process = Process::new(Arc::new(Definition::from_toml(&kinds).unwrap()));
    let channel = Channel::virtual_channel(12, 0x1234, 3, 0);
    let mut take = |sequence, bytes| {
        process.take(&unit(channel, sequence, Codec::UslpFrame, bytes), START).events
    };
    let voltages = |events: &[Event]| -> Vec<f64> {
        let of = |event: &Event| match event {
            Event::Parameter { name, value, .. } if &**name == "EPS_V" => {
                Some((value * 1e3).round() / 1e3)
            }
            _ => None,
        };
        events.iter().filter_map(of).collect()
    };
    assert_eq!(voltages(&take(0, uslp_frame(65_535, &eps(1, 7_000)))), [7.0]);
    let two = [eps(2, 7_100), eps(3, 7_200)].concat();
    assert_eq!(voltages(&take(1, uslp_frame(0, &two))), [7.1, 7.2], "over the counter's wrap");
    // A wrong bit: the frame is told as erred, its values are not.
    let mut wrong = uslp_frame(1, &eps(4, 7_300)).to_vec();
    wrong[22] ^= 1;
    let events = take(2, wrong.into());
    assert_eq!(voltages(&events), [0.0; 0]);
    let erred =
        |event: &Event| matches!(event, Event::Frame { quality: Quality::Erred, vc: 3, .. });
    assert!(events.iter().any(erred), "{events:?}");
    // Another spacecraft's, another length, and one without a count.
    let mut foreign = uslp_frame(2, &eps(5, 7_400)).to_vec();
    foreign[1] ^= 1;
    take(3, foreign.into());
    take(4, uslp_frame(2, &eps(5, 7_400)).slice(..63));
    let counted = uslp_frame(2, &eps(5, 7_400));
    let mut uncounted = [&counted[..7], &counted[9..], &[0; 2]].concat();
    uncounted[6] = 0;
    take(5, uncounted.into());
    let flagged = &process.counts().frames_flagged;
    let wanted = [("foreign", 1), ("uncounted", 1), ("wrong_length", 1)];
    assert_eq!(*flagged, wanted.into_iter().collect());
}

/// Frames as an antenna's site heard them, a tenth of a second apart, numbered by itself.
fn heard(site: u8, frames: &[Archived], which: impl Fn(usize) -> bool) -> Vec<Archived> {
    use codecs::link::object::{Annotation, TimeSource};
    let chosen = frames.iter().enumerate().filter(|(at, _)| which(*at));
    let heard = chosen.zip(0..).map(|((at, frame), sequence)| {
        let mut frame = frame.clone();
        frame.key.sequence = sequence;
        frame.key.prefix.origin = Origin([site; 16]);
        frame.received = START.plus(at as i64 * 100_000_000);
        let (received, quality, antenna) = (frame.received, Heard::Good, site.into());
        let (source, corrected_symbols) = (TimeSource::Measured, 0);
        let heard = Annotation { received, source, quality, antenna, corrected_symbols };
        frame.annotation = Some(heard);
        frame
    });
    heard.collect()
}

#[test]
fn what_a_second_antenna_delivers_late_is_missing_no_more() {
    use crate::publish::Live;
    let frames = realtime(0..200);
    let first = heard(1, &frames, |at| !(5..8).contains(&at) && at != 11);
    let second = heard(2, &frames, |at| at != 11);
    let (mut process, mut live) = (process(), Live::default());
    let now = START.plus(100_000_000_000);
    let mut missing = |units: &[Archived]| {
        for unit in units {
            process.take(unit, now).events.into_iter().for_each(|event| live.apply(event));
        }
        let snapshot = live.snapshot();
        let row = &snapshot.spacecraft[0].channels[0];
        let columns: u32 = row.buckets.iter().map(|column| column.4).sum();
        (row.missing, columns)
    };
    assert_eq!(missing(&first), (4, 4));
    assert_eq!(missing(&second[..6]), (3, 3));
    assert_eq!(missing(&second[6..]), (1, 1), "what neither heard");
}

/// The mission of these tests with more rules.
fn asking(rules: &str) -> Process {
    Process::new(Arc::new(Definition::from_toml(&format!("{MISSION}{rules}")).unwrap()))
}

/// A packet a second from one second to another, through the process.
fn telemetry(
    process: &mut Process,
    seconds: std::ops::Range<u16>,
    millivolts: impl Fn(u16) -> u16,
) -> Vec<Work> {
    let packets = seconds.map(|second| (second, eps(second, millivolts(second))));
    let mut work = vec![];
    for (second, packet) in packets {
        let unit = unit(Channel::stream(1), u64::from(second), Codec::SpacePacket, packet);
        work.extend(process.take(&unit, START).work);
    }
    work
}

#[test]
fn a_span_of_telemetry_is_asked_about_once_whatever_the_archive_begins_with() {
    let rules = "[[task]]\nname = 'watch/1'\n[[task.input]]\nname = 'window'\n\
        datatype = 'FP32'\nshape = [0, 1, 5]\n[[task.output]]\nname = 'y'\n\
        datatype = 'FP32'\nshape = [0, 1]\n[[rule]]\non = 'parameters'\n\
        parameters = ['EPS_V']\nevery_s = 10\nsamples = 5\ntask = 'watch/1'\n\
        deadline_s = 60\nregions = ['eu']\nbudget = 0.5\n";
    let all = telemetry(&mut asking(rules), 0..65, |second| 7000 + second);
    assert!((5..=6).contains(&all.len()), "{}", all.len());
    let Input::Tensors(tensors) = &all[1].input else { panic!() };
    let values = tensors[0].to_f32().unwrap();
    assert_eq!((tensors[0].name.as_str(), tensors[0].shape.as_slice()), ("window", &[1, 1, 5][..]));
    assert!(values.windows(2).all(|pair| (pair[1] - pair[0] - 0.001).abs() < 1e-4), "{values:?}");
    assert!(all[1].handling.regions.contains("eu"));
    assert_eq!(all[1].budget.unwrap().units(), 0.5);
    // Retention let the first half go: what is asked again has the names it had.
    let later = telemetry(&mut asking(rules), 33..65, |second| 7000 + second);
    let known = |work: &Work| all.iter().any(|before| before.key == work.key);
    assert!(!later.is_empty() && later.iter().all(known));
}

#[test]
fn spans_and_alarms_are_told_in_words() {
    let rules = "[[rule]]\non = 'parameters'\nparameters = ['EPS_V']\nevery_s = 20\n\
        task = 'pass-report/1'\ndeadline_s = 60\n[[rule]]\non = 'alarm'\n\
        task = 'alarm-report/1'\ndeadline_s = 60\n";
    let mut process = asking(rules);
    // Far below every limit of the mission from the 30th second on.
    let volts = |second| if second < 30 { 7500 } else { 100 };
    let work = telemetry(&mut process, 0..90, volts);
    let text = |work: &Work| match &work.input {
        Input::Document(document) => match &document.messages[0].parts[0] {
            crate::pool::Part::Text(text) => text.clone(),
            part => panic!("{part:?}"),
        },
        input => panic!("{input:?}"),
    };
    let of = |task: &str| work.iter().filter(|work| work.task == task).collect::<Vec<_>>();
    let reports = of("pass-report/1");
    assert!((3..=5).contains(&reports.len()), "{}", reports.len());
    assert!(text(reports[0]).contains("EPS_V [V]: "), "{}", text(reports[0]));
    let Input::Document(document) = &reports[0].input else { panic!() };
    assert!(document.schema.is_some() && document.tokens_out_max > 0);
    let alarms = of("alarm-report/1");
    assert_eq!(alarms.len(), 1);
    assert!(text(alarms[0]).contains("spacecraft SKY-7"), "{}", text(alarms[0]));
    assert!(text(alarms[0]).contains("EPS_V 0.1 V"), "{}", text(alarms[0]));
    let told = reports.iter().filter(|report| text(report).contains("Alarm: ")).count();
    assert_eq!(told, 1, "in the report of the span that it was raised in");
}
