use super::*;
use crate::archive::record::Position;
use codecs::frame::aos::{AosBuilder, AosConfig};
use codecs::ids::{Codec, Origin, StoreEpoch, UnitKey};
use codecs::link::object::{Annotation, Quality, TimeSource};
use codecs::link::void::VoidRange;
use codecs::packet::idle::idle_packet;

const MISSION: &str = "mission = 'm'\n[[spacecraft]]\nid = 7\nname = 'A'\n\
    [[spacecraft.frames]]\nkind = 'aos'\nscid = 71\nlength = 128\n";
const SECOND: i64 = 1_000_000_000;

fn prefix(site: u8) -> KeyPrefix {
    KeyPrefix {
        origin: Origin([site; 16]),
        epoch: StoreEpoch(1),
        spacecraft: SpacecraftId(7),
        channel: Channel::virtual_channel(1, 71, 0, 0),
    }
}

fn frame(count: u32) -> Vec<u8> {
    let mut builder = AosBuilder::new(AosConfig::new(128), 71, 0, count).unwrap();
    let mut made = vec![];
    builder.push(&idle_packet(300).unwrap(), &mut |frame| made.push(frame)).unwrap();
    made[0].to_vec()
}

fn unit(prefix: KeyPrefix, sequence: u64, second: i64, count: u32) -> Archived {
    Archived {
        key: UnitKey { prefix, sequence },
        codec: Codec::AosFrame,
        received: Tai(second * SECOND),
        annotation: None,
        bytes: frame(count).into(),
        position: Position { segment: 0, offset: 0 },
        replayed: false,
    }
}

fn heard(site: u8, sequence: u64, second: i64, count: u32) -> Archived {
    let received = Tai(second * SECOND);
    let (quality, antenna) = (Quality::Good, site.into());
    let annotation = Annotation {
        received,
        source: TimeSource::Measured,
        quality,
        antenna,
        corrected_symbols: 0,
    };
    Archived { annotation: Some(annotation), ..unit(prefix(site), sequence, second, count) }
}

fn report(units: impl IntoIterator<Item = Archived>) -> Report {
    let mut gaps = Gaps::new(&Definition::from_toml(MISSION).unwrap());
    units.into_iter().for_each(|unit| gaps.take(&unit));
    gaps.report(gaps.heard())
}

#[test]
fn the_three_kinds_stand_apart() {
    // Of a store: 3 and 4 have yet to come, 7 to 9 were left out, and two frames were never heard.
    let count = |sequence: u32| if sequence > 11 { sequence + 2 } else { sequence };
    let came = (1..20u32).rev().filter(|at| ![3, 4, 7, 8, 9].contains(at));
    let units = came.map(|at| unit(prefix(1), at.into(), at.into(), count(at)));
    let entry = VoidRange {
        epoch: StoreEpoch(1),
        spacecraft: SpacecraftId(7),
        channel: prefix(1).channel,
        range: SeqRange { first: 7, last: 9 },
        bytes: 384,
        from: Tai(0),
        to: Tai(1),
    };
    let void = Void { reason: VoidReason::Triage, decided: Tai(2), entries: vec![entry] };
    let voids = KeyPrefix { channel: Channel::VOIDS, ..prefix(1) };
    let mut record = unit(voids, 0, 3, 0);
    (record.codec, record.bytes) = (Codec::Void, void.encode().into());
    let report = report(units.chain([record]));
    let counter = report.counters.iter().find(|counter| counter.prefix == prefix(1)).unwrap();
    let ranges: Vec<_> =
        counter.custody.iter().map(|gap| (gap.range.first, gap.range.last)).collect();
    assert_eq!(ranges, [(0, 0), (3, 4)]);
    assert_eq!(counter.custody[1].noticed, Tai(5 * SECOND));
    let reason = Some(VoidReason::Triage);
    let left_out = LeftOut { range: entry.range, reason, bytes: Some(384) };
    assert_eq!(counter.left_out, [left_out]);
    let [channel] = &report.channels[..] else { panic!("{report:?}") };
    let gap = ReceptionGap { vc: 0, lost: 2, from: Tai(11 * SECOND), to: Tai(12 * SECOND) };
    assert_eq!((&channel.reception[..], channel.frames), (&[gap][..], 14));
}

#[test]
fn what_was_kept_on_board_and_came_or_was_given_up_is_told_as_what_became_of_it() {
    let void = |sequence, reason, first, last| {
        let entry = VoidRange {
            epoch: StoreEpoch(1),
            spacecraft: SpacecraftId(7),
            channel: prefix(1).channel,
            range: SeqRange { first, last },
            bytes: 100 * (last - first + 1),
            from: Tai(0),
            to: Tai(1),
        };
        let void = Void { reason, decided: Tai(2), entries: vec![entry] };
        let voids = KeyPrefix { channel: Channel::VOIDS, ..prefix(1) };
        let mut record = unit(voids, sequence, 3, 0);
        (record.codec, record.bytes) = (Codec::Void, void.encode().into());
        record
    };
    let voids = [void(0, VoidReason::Kept, 2, 9), void(1, VoidReason::Evicted, 7, 7)];
    let came = [0, 1, 4, 10].map(|at| unit(prefix(1), at, at as i64, at as u32));
    let report = report(came.into_iter().chain(voids));
    let counter = report.counters.iter().find(|counter| counter.prefix == prefix(1)).unwrap();
    let told: Vec<_> = counter
        .left_out
        .iter()
        .map(|of| (of.reason.unwrap(), of.range.first, of.range.last, of.bytes.unwrap()))
        .collect();
    let kept = |first, last| (VoidReason::Kept, first, last, 100 * (last - first + 1));
    assert_eq!(told, [kept(2, 3), kept(5, 6), kept(8, 9), (VoidReason::Evicted, 7, 7, 100)]);
    assert!(counter.custody.is_empty(), "{counter:?}");
}

#[test]
fn what_one_antenna_lost_and_another_heard_is_no_gap() {
    let a = (0..10u32).filter(|at| ![2, 3, 6].contains(at));
    let a = a.enumerate().map(|(sequence, at)| heard(1, sequence as u64, at.into(), at));
    let b = (0..10u32).filter(|at| ![6, 7, 8].contains(at));
    let b = b.enumerate().map(|(sequence, at)| heard(2, sequence as u64, at.into(), at));
    let report = report(a.chain(b));
    assert!(report.counters.iter().all(|counter| counter.custody.is_empty()));
    let [channel] = &report.channels[..] else { panic!("{report:?}") };
    assert_eq!((channel.frames, channel.copies), (9, 5));
    let gap = ReceptionGap { vc: 0, lost: 1, from: Tai(5 * SECOND), to: Tai(7 * SECOND) };
    assert_eq!(channel.reception, [gap]);
}

#[test]
fn what_is_sent_between_contacts_is_no_reception_gap() {
    let first = (0..10u32).map(|at| heard(1, at.into(), at.into(), at));
    let second = (0..10u32).map(|at| heard(1, (10 + at).into(), (5_000 + at).into(), 4_000 + at));
    let units: Vec<Archived> = second.chain(first).collect();
    let report = report(units.clone());
    assert_eq!(report.channels[0].reception, []);
    let mut gaps = Gaps::new(&Definition::from_toml(MISSION).unwrap());
    units.iter().for_each(|unit| gaps.take(unit));
    let contact = |from: i64, to: i64| Contact { from: Tai(from * SECOND), to: Tai(to * SECOND) };
    assert_eq!(gaps.heard().of(SpacecraftId(7)), [contact(0, 9), contact(5_000, 5_009)]);
}

#[test]
fn what_was_let_go_or_is_damaged_was_delivered() {
    // Of 20, retention let go the first 5, 8 and 9 can't be read, and 12 never came.
    let set = |ranges: &[(u64, u64)]| -> RangeSet {
        ranges.iter().map(|(first, last)| SeqRange { first: *first, last: *last }).collect()
    };
    let mut gaps = Gaps::new(&Definition::from_toml(MISSION).unwrap());
    gaps.claims(Claims {
        let_go: [(prefix(1), set(&[(0, 4)]))].into(),
        came: [(prefix(1), set(&[(0, 8)]))].into(),
        ..Claims::default()
    });
    for at in (5..20).filter(|at| ![8, 9, 12].contains(at)) {
        gaps.take(&unit(prefix(1), at, at as i64, at as u32));
    }
    gaps.damaged(&UnitKey { prefix: prefix(1), sequence: 9 });
    let report = gaps.report(gaps.heard());
    let [counter] = &report.counters[..] else { panic!("{report:?}") };
    let custody: Vec<_> = counter.custody.iter().map(|gap| gap.range).collect();
    assert_eq!(custody, set(&[(12, 12)]).ranges());
    assert_eq!(counter.let_go, set(&[(0, 4)]).ranges());
    assert_eq!(counter.damaged, set(&[(8, 9)]).ranges());
}

#[test]
fn a_recording_heard_twice_is_told_as_such_and_not_as_millions_lost() {
    let back = |from: i64, to: i64| SetBack {
        vc: 0,
        counts: [69, 0],
        from: Tai(from * SECOND),
        to: Tai(to * SECOND),
    };
    // The same site numbers on; or its spool was made anew.
    for (site, first) in [(1, 70), (2, 0)] {
        let once = (0..70u32).map(|at| heard(1, at.into(), at.into(), at));
        let again = (0..70u32)
            .filter(|at| *at != 40)
            .enumerate()
            .map(|(nth, at)| heard(site, first + nth as u64, (100 + at).into(), at));
        // Its objects overtake each other.
        let units: Vec<Archived> = once.chain(again).collect();
        let (before, behind) = units.split_at(100);
        for units in [[before, behind].concat(), [behind, before].concat()] {
            let report = report(units);
            let [channel] = &report.channels[..] else { panic!("{report:?}") };
            assert_eq!(channel.set_back, [back(69, 100)]);
            let gap =
                ReceptionGap { vc: 0, lost: 1, from: Tai(139 * SECOND), to: Tai(141 * SECOND) };
            assert_eq!((&channel.reception[..], channel.frames), (&[gap][..], 139));
        }
    }
}

#[test]
fn a_count_that_goes_on_is_a_loss() {
    // A thousand a second for ten seconds, then a minute of nothing.
    let paced = Some(60_000);
    assert!(!is_set_back(59_999, 1 << 24, paced));
    assert!(!is_set_back(400_000, 1 << 24, paced), "faster for a while");
    assert!(is_set_back(7_000_000, 1 << 24, paced), "no time for that");
    assert!(is_set_back((1 << 24) - 70, 1 << 24, paced));
    assert!(!is_set_back(9_000_000, 1 << 24, Some(9_000_000)), "a long silence");
    assert!(!is_set_back(8_000_000, 1 << 24, None), "nothing tells");
    assert!(!is_set_back(200, 256, Some(0)), "TM counts to 255");
}
