use super::*;
use crate::{
    archive::{
        Archive, Incoming, Settings,
        forgetful::ForgetfulDisk,
        tests::{now, unit},
    },
    door::{
        select::{Parcel, Selector},
        spec::{Goods, Selection},
    },
};
use bytes::Bytes;
use codecs::{
    frame::aos::{AosBuilder, AosConfig},
    ids::{Apid, Channel, Codec, Origin, StoreEpoch, UnitKey},
    link::object::{Annotation, Quality, TimeSource},
    mission::Definition,
    packet::space::{PacketHeader, SequenceCount, build},
};
use proptest::prelude::*;

const BEGIN: Position = Position { segment: 0, offset: 0 };
const END: Position = Position { segment: u64::MAX, offset: u64::MAX };
const SECOND_NS: i64 = 1_000_000_000;

/// Archives units that were heard at these seconds, and says in what order they are read.
fn order(bounds: Bounds, heard: &[(u32, i64)]) -> Vec<(u16, i64)> {
    let mut disk = ForgetfulDisk::default();
    let settings = Settings { segment_bytes: 32 << 10 };
    let (mut archive, _) = Archive::open(disk.clone(), settings, 9).unwrap();
    for (sequence, (spacecraft, seconds)) in (0..).zip(heard) {
        let mut unit = Incoming { annotation: None, ..unit(1, sequence) };
        unit.key.prefix.spacecraft = SpacecraftId(*spacecraft as u16);
        unit.received = Tai(seconds * SECOND_NS);
        archive.offer(&unit, now(sequence)).unwrap();
        archive.commit(now(sequence)).unwrap();
    }
    let mut read = Vec::new();
    let mut looked = 0;
    let look = |_| {
        looked += 1;
        Ok(())
    };
    read_within((bounds, &Twice::NOTHING), &mut disk, (BEGIN, END), look, |found| {
        let Found::Unit(unit) = found else { panic!("{found:?}") };
        read.push((unit.key.prefix.spacecraft.0, unit.received.0 / SECOND_NS));
        Ok(())
    })
    .unwrap();
    assert_eq!(looked, heard.len());
    read
}

#[test]
fn what_a_second_antenna_forwards_a_day_later_stands_in_its_pass() {
    // One antenna hears every even second and the next day's pass, the other the odd ones.
    let first = (0..60).step_by(2).chain(86_400..86_430).map(|at| (7, at));
    let second = (1..60).step_by(2).map(|at| (7, at));
    let heard: Vec<_> = first.chain(second).collect();
    let wanted: Vec<_> = (0..60).chain(86_400..86_430).map(|at| (7, at)).collect();
    assert_eq!(order(BOUNDS, &heard), wanted);
    assert_eq!(order(Bounds { waiting: 4 << 10, ..BOUNDS }, &heard), wanted);
}

#[test]
fn a_clock_that_is_set_back_does_not_mix_what_one_site_heard() {
    let heard = [10, 11, 12, 11, 12, 13].map(|at| (7, at));
    assert_eq!(order(BOUNDS, &heard), heard.map(|(craft, at)| (craft as u16, at)));
}

#[test]
fn late_units_beyond_the_bound_stand_where_they_came() {
    let heard = [10, 20, 30, 1, 2, 3].map(|at| (7, at));
    let bounds = Bounds { waiting: 0, late: 2, ..BOUNDS };
    assert_eq!(order(bounds, &heard), [1, 2, 10, 20, 30, 3].map(|at| (7, at)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Each unit comes once, and of one spacecraft none behind a later one, whatever is held: but
    /// for a clock that is set back.
    #[test]
    fn each_is_read_once_and_none_late(
        heard in prop::collection::vec((1u32..4, 0i64..500), 1..60),
        waiting in 0usize..20_000,
        fetched in 1usize..6_000,
        ahead in 0usize..6_000,
    ) {
        let read = order(Bounds { waiting, fetched, ahead, ..BOUNDS }, &heard);
        let sorted = |mut units: Vec<(u16, i64)>| {
            units.sort_unstable();
            units
        };
        let offered = heard.iter().map(|(craft, at)| (*craft as u16, *at)).collect();
        prop_assert_eq!(sorted(read.clone()), sorted(offered));
        for craft in 1..4 {
            let mut latest = 0;
            for (_, at) in read.iter().filter(|(of, _)| *of == craft) {
                let back_ns = (latest - at) * SECOND_NS;
                prop_assert!(back_ns < CLOCK_SET_BACK_NS, "{at} behind {latest}");
                latest = latest.max(*at);
            }
        }
    }
}

const MISSION: &str = "mission = 'm'\n[[spacecraft]]\nid = 7\nname = 'A'\n\
    [[spacecraft.frames]]\nkind = 'aos'\nscid = 71\nlength = 1113\nfecf = true\n";
/// More of them than a door remembers to take a late one apart between its neighbours.
const FRAMES: usize = 17_000;

/// Frames of a pass, and the packets in them.
fn pass() -> (Vec<Bytes>, Vec<Vec<u8>>) {
    let config = AosConfig::new(1_113).with_fecf(true);
    let mut builder = AosBuilder::new(config, 71, 0, 0).unwrap();
    let (mut frames, mut packets) = (Vec::new(), Vec::new());
    while frames.len() < FRAMES {
        let count = packets.len();
        let header = PacketHeader::telemetry(Apid(100), SequenceCount((count % (1 << 14)) as u16));
        let packet = build(&header, &(count as u64).to_be_bytes().repeat(36)).unwrap();
        builder.push(&packet, &mut |frame| frames.push(frame)).unwrap();
        packets.push(packet);
    }
    builder.flush(&mut |frame| frames.push(frame));
    (frames, packets)
}

/// What one antenna hears of a pass at 2,000 frames a second, its clock ahead by so much.
fn hear(
    antenna: u8,
    ahead_ns: i64,
    frames: &[Bytes],
    holes: [std::ops::Range<usize>; 2],
) -> Vec<Incoming> {
    let prefix = KeyPrefix {
        origin: Origin([antenna; 16]),
        epoch: StoreEpoch(1),
        spacecraft: SpacecraftId(7),
        channel: Channel::virtual_channel(1, 71, 0, 0),
    };
    let heard = frames.iter().enumerate().filter(|(at, _)| !holes.iter().any(|h| h.contains(at)));
    let unit = |(sequence, (at, frame)): (u64, (usize, &Bytes))| {
        let received = Tai(1_000 * SECOND_NS + at as i64 * 500_000 + ahead_ns);
        let (antenna, quality) = (antenna.into(), Quality::Good);
        let annotation = Annotation {
            received,
            source: TimeSource::Measured,
            quality,
            antenna,
            corrected_symbols: 0,
        };
        Incoming {
            key: UnitKey { prefix, sequence },
            codec: Codec::AosFrame,
            received,
            annotation: Some(annotation.encode()),
            bytes: frame.clone(),
        }
    };
    (0..).zip(heard).map(unit).collect()
}

/// What `export` hands out.
fn export(bounds: Bounds, disk: &ForgetfulDisk, goods: Goods) -> Vec<Parcel> {
    let definition = Definition::from_toml(MISSION).unwrap();
    let mut selector = Selector::of_reading(Selection::all(goods), &definition);
    let (mut out, mut latest) = (Vec::new(), 0);
    read_within(
        (bounds, &Twice::NOTHING),
        &mut disk.clone(),
        (BEGIN, END),
        |_| Ok(()),
        |found| {
            let Found::Unit(unit) = found else { panic!("{found:?}") };
            latest = latest.max(unit.received.0 as u64);
            selector.take(&unit, latest, &mut |parcel| out.push(parcel));
            selector.poll(latest, &mut |parcel| out.push(parcel));
            Ok(())
        },
    )
    .unwrap();
    selector.flush(&mut |parcel| out.push(parcel));
    out
}

#[test]
fn what_a_second_antenna_delivers_seconds_behind_the_last_pass_fills_the_holes_of_the_first() {
    let (frames, packets) = pass();
    let end = frames.len();
    let first = hear(1, 0, &frames, [400..800, 6_000..6_200]);
    let second = hear(2, 20_000_000, &frames, [1_000..5_500, 6_500..end]);
    let disk = ForgetfulDisk::default();
    let settings = Settings { segment_bytes: 4 << 20 };
    let (mut archive, _) = Archive::open(disk.clone(), settings, 9).unwrap();
    for units in first.chunks(200).chain(second.chunks(200)) {
        for unit in units {
            archive.offer(unit, now(0)).unwrap();
        }
        archive.commit(now(0)).unwrap();
    }
    // Left where it came, a packet over the edge of a hole finds no neighbour any more.
    let as_it_came = Bounds { waiting: 0, late: 0, ..BOUNDS };
    assert!(export(as_it_came, &disk, Goods::Packets).len() < packets.len());
    // All of the pass waits, or nearly none of it.
    for bounds in [BOUNDS, Bounds { waiting: 1 << 20, ..BOUNDS }] {
        let got = export(bounds, &disk, Goods::Frames);
        let same = got.iter().map(|parcel| &parcel.bytes).eq(&frames);
        assert!(same, "{} frames of {}, or not in order", got.len(), frames.len());
        let got = export(bounds, &disk, Goods::Packets);
        let same = got.iter().map(|parcel| &parcel.bytes[..]).eq(packets.iter().map(|p| &p[..]));
        assert!(same, "{} packets of {}, or not in order", got.len(), packets.len());
    }
}

#[test]
fn antennas_whose_clocks_differ_within_the_merge_window_fill_each_others_holes_in_order() {
    let (frames, _) = pass();
    let end = frames.len();
    for ahead_ns in [3 * SECOND_NS / 2, -3 * SECOND_NS / 2] {
        let first = hear(1, 0, &frames, [400..800, 6_000..6_200]);
        let second = hear(2, ahead_ns, &frames, [1_000..5_500, 6_500..end]);
        let disk = ForgetfulDisk::default();
        let settings = Settings { segment_bytes: 4 << 20 };
        let (mut archive, _) = Archive::open(disk.clone(), settings, 9).unwrap();
        for units in first.chunks(200).chain(second.chunks(200)) {
            for unit in units {
                archive.offer(unit, now(0)).unwrap();
            }
            archive.commit(now(0)).unwrap();
        }
        let got = export(BOUNDS, &disk, Goods::Frames);
        let same = got.iter().map(|parcel| &parcel.bytes).eq(&frames);
        assert!(same, "{ahead_ns}: {} frames of {}, or not in order", got.len(), frames.len());
    }
}
