use super::*;
use codecs::frame::aos::{AosBuilder, AosConfig, AosIdle};
use codecs::ids::{KeyPrefix, Origin, StoreEpoch, UnitKey};
use codecs::link::object::{Annotation, Quality, TimeSource};
use codecs::packet::space::{PacketHeader, SequenceCount, build};
use codecs::squeeze::columns::squeeze;

const MISSION: &str = "mission = 'm'\n[[spacecraft]]\nid = 7\nname = 'A'\n\
    [[spacecraft.frames]]\nkind = 'aos'\nscid = 71\nlength = 128\nfecf = true\n\
    [[spacecraft]]\nid = 8\nname = 'B'\n";
const PATIENCE_NS: u64 = 1_000;

fn selector(change: impl FnOnce(&mut Selection), goods: Goods) -> Selector {
    let mut selection = Selection::all(goods);
    change(&mut selection);
    Selector::new(selection, &Definition::from_toml(MISSION).unwrap(), PATIENCE_NS)
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
        received: Tai(sequence as i64),
        annotation: None,
        bytes: bytes.into(),
        position: Position { segment: 0, offset: sequence },
        replayed: false,
    }
}

fn packet(apid: u16, count: u16) -> Vec<u8> {
    let header = PacketHeader::telemetry(Apid(apid), SequenceCount(count));
    build(&header, &vec![count as u8; 30 + usize::from(count) * 37 % 200]).unwrap()
}

/// Frames of a virtual channel with packets of applications 100 and 101 by turns.
fn frames(vc: u8, packets: u16) -> (Vec<Archived>, Vec<Vec<u8>>) {
    let mut builder = AosBuilder::new(AosConfig::new(128).with_fecf(true), 71, vc, 0).unwrap();
    let (mut frames, mut sent) = (vec![], vec![]);
    for count in 0..packets {
        let packet = packet(100 + count % 2, count);
        builder.push(&packet, &mut |frame| frames.push(frame)).unwrap();
        sent.push(packet);
    }
    builder.flush(&mut |frame| frames.push(frame));
    let channel = Channel::virtual_channel(1, 71, vc, 0);
    let number = |(at, frame)| unit(channel, at as u64, Codec::AosFrame, frame);
    (frames.into_iter().enumerate().map(number).collect(), sent)
}

fn out(selector: &mut Selector, units: &[Archived]) -> Vec<Parcel> {
    let mut out = vec![];
    units.iter().for_each(|unit| selector.take(unit, 0, &mut |parcel| out.push(parcel)));
    selector.flush(&mut |parcel| out.push(parcel));
    out
}

#[test]
fn frames_go_out_in_the_order_of_their_sending() {
    let (mut units, _) = frames(0, 30);
    let sent: Vec<Bytes> = units.iter().map(|unit| unit.bytes.clone()).collect();
    units.reverse();
    let got = out(&mut selector(|_| (), Goods::Frames), &units);
    assert!(got.iter().map(|parcel| &parcel.bytes).eq(&sent));
    let counts: Vec<u64> = (0..sent.len() as u64).collect();
    let count = |parcel: &Parcel| match parcel.about {
        About::Frame { vc: 0, count, erred: false } => count,
        other => panic!("{other:?}"),
    };
    assert_eq!(got.iter().map(count).collect::<Vec<_>>(), counts);
}

#[test]
fn a_frame_that_waits_is_known_to_be_open_and_goes_on_in_time() {
    let (units, _) = frames(0, 30);
    let mut selector = selector(|_| (), Goods::Frames);
    let mut got = vec![];
    for at in [0, 2, 3] {
        selector.take(&units[at], 5, &mut |parcel| got.push(parcel.position.offset));
    }
    assert_eq!(selector.held().next(), Some(units[2].position));
    selector.poll(PATIENCE_NS + 4, &mut |parcel| got.push(parcel.position.offset));
    assert_eq!(got, [0]);
    selector.poll(PATIENCE_NS + 5, &mut |parcel| got.push(parcel.position.offset));
    assert_eq!((got, selector.held().next()), (vec![0, 2, 3], None));
}

#[test]
fn packets_go_out_once_whatever_carried_them() {
    let (units, sent) = frames(0, 40);
    let block = squeeze(&[&sent[30]], Default::default()).unwrap();
    let mut all = units;
    all.push(unit(Channel::stream(1), 0, Codec::Squeezed, block));
    all.push(unit(Channel::stream(1), 1, Codec::SpacePacket, packet(100, 4_000)));
    let got = out(&mut selector(|_| (), Goods::Packets), &all);
    let expected = sent.iter().cloned().chain([packet(100, 4_000)]);
    assert!(got.iter().map(|parcel| parcel.bytes.to_vec()).eq(expected));
}

#[test]
fn what_no_header_names_goes_out_with_the_erred_and_is_counted_without() {
    let (mut units, _) = frames(0, 4);
    let all = units.len();
    units.push(unit(Channel::UNIDENTIFIED, 9, Codec::AosFrame, vec![0xA5; 128]));
    let erred = |selection: &mut Selection| selection.erred = true;
    let got = out(&mut selector(erred, Goods::Frames), &units);
    let nameless: Vec<_> =
        got.iter().filter(|parcel| parcel.about == About::Nameless { count: 9 }).collect();
    assert_eq!((got.len(), nameless.len()), (all + 1, 1));
    assert_eq!(nameless[0].bytes, vec![0xA5; 128]);
    let mut usual = selector(|_| (), Goods::Frames);
    assert_eq!(out(&mut usual, &units).len(), all);
    assert_eq!(usual.left_out().get("unidentified"), Some(&1));
}

#[test]
fn only_what_was_chosen_goes_out() {
    let (zero, _) = frames(0, 10);
    let (five, sent) = frames(5, 10);
    let units: Vec<Archived> = zero.into_iter().chain(five).collect();
    let vc = |selection: &mut Selection| selection.virtual_channels = vec![5];
    let got = out(&mut selector(vc, Goods::Frames), &units);
    assert!(!got.is_empty());
    assert!(got.iter().all(|parcel| matches!(parcel.about, About::Frame { vc: 5, .. })));
    let both = |selection: &mut Selection| {
        selection.virtual_channels = vec![5];
        selection.apids = vec![Apid(101)];
    };
    let got = out(&mut selector(both, Goods::Packets), &units);
    let odd = sent.iter().skip(1).step_by(2).cloned();
    assert!(got.iter().map(|parcel| parcel.bytes.to_vec()).eq(odd));
    let other = |selection: &mut Selection| selection.spacecraft = vec![SpacecraftId(8)];
    assert!(out(&mut selector(other, Goods::Packets), &units).is_empty());
    let heard = |selection: &mut Selection| selection.antenna = Some(1);
    assert!(out(&mut selector(heard, Goods::Frames), &units).is_empty(), "no antenna heard them");
}

#[test]
fn erred_frames_and_their_packets_go_out_where_they_are_wanted() {
    let (mut units, _) = frames(0, 10);
    let mut broken = units[1].bytes.to_vec();
    broken[40] ^= 1;
    units[1].bytes = broken.into();
    let mut strict = selector(|_| (), Goods::Frames);
    assert_eq!(out(&mut strict, &units).len(), units.len() - 1);
    assert_eq!(strict.left_out()["erred"], 1);
    let mut all = selector(|selection| selection.erred = true, Goods::Frames);
    assert_eq!(out(&mut all, &units).len(), units.len());
    let mut strict = selector(|_| (), Goods::Packets);
    let whole = out(&mut strict, &units).len();
    let erred = strict.left_out()["erred"];
    assert!(erred > 0 && whole as u64 + erred == 10, "{whole} {erred}");
}

#[test]
fn what_is_no_frame_of_the_mission_is_counted() {
    let (mut units, _) = frames(0, 9);
    units[0].bytes = units[0].bytes.slice(..100);
    units[1].key.prefix.spacecraft = SpacecraftId(8);
    let squeezed = unit(Channel::stream(1), 0, Codec::Squeezed, &b"nonsense"[..]);
    let mut selector = selector(|_| (), Goods::Packets);
    out(&mut selector, &[units.remove(0), units.remove(0), squeezed]);
    let counted: Vec<_> = selector.take_left_out().into_iter().collect();
    assert_eq!(counted, [("foreign", 1), ("squeezed", 1), ("wrong_length", 1)]);
}

#[test]
fn frames_that_only_fill_go_out_as_often_as_they_were_heard() {
    let config = AosConfig::new(128).with_fecf(true);
    let idle = AosIdle::new(config, 71, 0).unwrap().frame();
    let heard = |antenna: u16, vc: u8| {
        let mut unit = match vc {
            63 => unit(Channel::virtual_channel(1, 71, 63, 0), 0, Codec::AosFrame, idle.clone()),
            _ => frames(vc, 1).0.remove(0),
        };
        unit.key.prefix.origin = Origin([antenna as u8; 16]);
        unit.annotation = Some(Annotation {
            received: Tai(antenna.into()),
            source: TimeSource::Measured,
            quality: Quality::Good,
            antenna,
            corrected_symbols: 0,
        });
        unit
    };
    // Of any other channel two antennas give one frame. The count of idle ones tells nothing.
    for (vc, times) in [(0, 1), (63, 2)] {
        let mut selector = selector(|_| {}, Goods::Frames);
        assert_eq!(out(&mut selector, &[heard(1, vc), heard(2, vc)]).len(), times, "VC {vc}");
    }
}
