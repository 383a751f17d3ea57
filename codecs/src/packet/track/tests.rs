use super::*;
use crate::fec::crc::crc16;
use crate::packet::pus::Issue;
use crate::packet::space::{PacketHeader, build};
use proptest::prelude::*;

fn packet(apid: u16, count: u16, grouping: Grouping) -> Vec<u8> {
    let header = PacketHeader::telemetry(Apid(apid), SequenceCount(count));
    build(&PacketHeader { grouping, ..header }, &[apid as u8; 10]).unwrap()
}

/// The same with a CRC at its end.
fn sealed(apid: u16, count: u16) -> Vec<u8> {
    let mut packet = packet(apid, count, Grouping::Unsegmented);
    let body = packet.len() - CRC16_BYTES;
    let check = crc16(&packet[..body]).to_be_bytes();
    packet[body..].copy_from_slice(&check);
    packet
}

fn take(tracker: &mut Tracker, packet: &[u8]) -> Option<Verdict> {
    tracker.take(&PacketView::parse(packet).unwrap())
}

fn steps(counts: &[u16]) -> Vec<Step> {
    let mut tracker = Tracker::new();
    let step =
        |count: &u16| take(&mut tracker, &packet(5, *count, Grouping::Unsegmented)).unwrap().step;
    counts.iter().map(step).collect()
}

fn tally(tracker: &Tracker, apid: u16) -> Tally {
    tracker.tallies().find(|(stream, _)| stream.apid == Apid(apid)).unwrap().1
}

#[test]
fn counts_wrap_at_16383_and_their_gaps_with_them() {
    use Step::{Back, Lost, Next, Repeated, Start};
    assert_eq!(steps(&[16_382, 16_383, 0, 1]), [Start, Next, Next, Next]);
    assert_eq!(steps(&[16_383, 2, 2, 1]), [Start, Lost(2), Repeated, Back(1)]);
    assert_eq!(steps(&[0, 8192, 1]), [Start, Lost(8191), Back(8191)]);
    assert_eq!(steps(&[0, 8193]), [Start, Back(8191)]);
    // A counter that is stuck at its end.
    assert_eq!(steps(&[16_383, 16_383, 16_383]), [Start, Repeated, Repeated]);
}

#[test]
fn each_application_counts_for_itself() {
    let mut tracker = Tracker::new();
    for (apid, count) in [(1, 7), (2, 90), (1, 8), (2, 91), (1, 10), (2, 91)] {
        take(&mut tracker, &packet(apid, count, Grouping::Unsegmented));
    }
    let one = Tally { packets: 3, lost: 1, ..Tally::default() };
    let two = Tally { packets: 3, repeated: 1, ..Tally::default() };
    assert_eq!((tally(&tracker, 1), tally(&tracker, 2)), (one, two));
    assert_eq!(tracker.tallies().count(), 2);
}

#[test]
fn destinations_count_apart_where_asked() {
    let layout = Layout::issue_c(0);
    let to = |destination: u16, count| {
        let secondary = TmSecondary { destination: Some(destination), ..TmSecondary::default() };
        let secondary = TmSecondary { counter: Some(0), ..secondary };
        let mut data = Vec::new();
        secondary.write(&layout, &mut data).unwrap();
        let header = PacketHeader::telemetry(Apid(9), SequenceCount(count));
        build(&header.with_secondary_header(), &data).unwrap()
    };
    let packets = [to(1, 5), to(2, 700), to(1, 6), to(2, 701)];
    let lost = |mut tracker: Tracker| -> u64 {
        for packet in &packets {
            take(&mut tracker, packet);
        }
        tracker.tallies().map(|(_, tally)| tally.lost + tally.back).sum()
    };
    assert_eq!(lost(Tracker::new().with_destinations(layout)), 0);
    assert_eq!(lost(Tracker::new()), 694 + 1 + 694);
    // A header of another issue tells no destination.
    let issue = Issue::A { counter: false, peer: true };
    let mut other = Tracker::new().with_destinations(Layout { issue, time: 0, spare: 0 });
    assert_eq!(take(&mut other, &packets[0]).unwrap().stream.destination, None);
    // Time packets carry no such header, even where their flag says so.
    let mut time = packets[0].clone();
    (time[0], time[1]) = (0x08, 0);
    let mut tracker = Tracker::new().with_destinations(layout);
    assert_eq!(take(&mut tracker, &time).unwrap().stream.destination, None);
    // Destinations without end are forgotten, not kept.
    let mut tracker = Tracker::new().with_destinations(layout);
    for destination in 0..=MAX_DESTINATIONS as u16 {
        take(&mut tracker, &to(destination, 0));
    }
    assert_eq!(tracker.tallies().count(), MAX_DESTINATIONS);
    assert!(tracker.tallies().all(|(stream, _)| stream.destination != Some(0)));
}

/// Packets of a group that ended, and what is wrong with it.
type Outcome = Option<(u32, Option<Break>)>;

/// The outcome of each packet, and the tally, of packets that count on from 0 but for those left
/// out.
fn groups(flags: &str) -> (Vec<Outcome>, Tally) {
    let mut tracker = Tracker::new();
    let mut outcomes = Vec::new();
    for (count, flag) in (0..).zip(flags.chars()) {
        let grouping = match flag {
            'F' => Grouping::First,
            'C' => Grouping::Continuation,
            'L' => Grouping::Last,
            'U' => Grouping::Unsegmented,
            _ => continue,
        };
        let verdict = take(&mut tracker, &packet(5, count, grouping)).unwrap();
        outcomes.push(verdict.group.map(|group| (group.packets, group.broken)));
    }
    (outcomes, tally(&tracker, 5))
}

#[test]
fn groups_of_any_length_come_whole() {
    let (outcomes, tally) = groups("FLUFCCCL");
    let whole = |packets| Some((packets, None));
    assert_eq!(outcomes, [None, whole(2), None, None, None, None, None, whole(5)]);
    assert_eq!((tally.groups_whole, tally.groups_broken), (2, 0));
}

#[test]
fn a_group_with_a_missing_member_is_reported_and_not_dropped() {
    let broken = |packets, why| Some((packets, Some(why)));
    for (flags, at, outcome) in [
        ("FC-CL", 3, broken(4, Break::Missing)),
        ("F-L", 1, broken(2, Break::Missing)),
        ("-CL", 1, broken(2, Break::NoFirst)),
        ("L", 0, broken(1, Break::NoFirst)),
        ("FCU", 2, broken(2, Break::NoLast)),
        ("FCF", 2, broken(2, Break::NoLast)),
        // The last of one and the first of the next are missing: the gap tells of it.
        ("FC--CL", 3, broken(4, Break::Missing)),
    ] {
        let (outcomes, tally) = groups(flags);
        assert_eq!(outcomes[at], outcome, "{flags}");
        assert_eq!((tally.groups_whole, tally.groups_broken), (0, 1), "{flags}");
    }
}

#[test]
fn a_packet_that_came_twice_is_one_member() {
    let mut tracker = Tracker::new();
    let mut group = None;
    for (count, grouping) in
        [(0, Grouping::First), (1, Grouping::Continuation), (1, Grouping::Continuation)]
    {
        take(&mut tracker, &packet(5, count, grouping));
    }
    if let Some(verdict) = take(&mut tracker, &packet(5, 2, Grouping::Last)) {
        group = verdict.group;
    }
    assert_eq!(group, Some(Group { packets: 3, bytes: 30, erred: 0, broken: None }));
}

#[test]
fn what_the_stream_leaves_unfinished_is_broken() {
    let mut tracker = Tracker::new();
    take(&mut tracker, &packet(5, 0, Grouping::First));
    let mut ended = Vec::new();
    tracker.finish(&mut |stream, group| ended.push((stream.apid, group.broken)));
    tracker.finish(&mut |_, _| panic!("ended already"));
    assert_eq!(ended, [(Apid(5), Some(Break::NoLast))]);
    assert_eq!(tally(&tracker, 5).groups_broken, 1);
}

#[test]
fn a_crc_is_the_applications_own_affair() {
    let mut damaged = sealed(5, 1);
    damaged[8] ^= 1;
    let verdicts = |policy| {
        let mut tracker = Tracker::new().with_crc_of(Apid(5), policy);
        let take = |packet: Vec<u8>| take(&mut tracker, &packet).unwrap();
        let verdicts = [sealed(5, 0), damaged.clone(), sealed(5, 2)].into_iter().map(take);
        let said: Vec<_> =
            verdicts.map(|verdict| (verdict.crc, verdict.usable, verdict.step)).collect();
        (said, tally(&tracker, 5))
    };
    let (none, _) = verdicts(CrcPolicy::None);
    assert!(none.iter().all(|(crc, usable, _)| *crc == Crc::Unchecked && *usable));
    let (check, tally) = verdicts(CrcPolicy::Check);
    assert_eq!(check[1], (Crc::Fails, true, Step::Next));
    assert_eq!((check[2].0, tally.crc_failed, tally.lost), (Crc::Holds, 1, 0));
    let (required, tally) = verdicts(CrcPolicy::Required);
    assert_eq!(required[1], (Crc::Fails, false, Step::Unknown));
    assert_eq!(required[2], (Crc::Holds, true, Step::Lost(1)));
    assert_eq!((tally.packets, tally.crc_failed, tally.lost), (3, 1, 1));
    // Others are not affected, and a packet with no room for a CRC has none.
    let mut tracker =
        Tracker::new().with_crc(CrcPolicy::Check).with_crc_of(Apid(6), CrcPolicy::None);
    let mut crc = |packet: &[u8]| take(&mut tracker, packet).unwrap().crc;
    assert_eq!(crc(&packet(6, 0, Grouping::Unsegmented)), Crc::Unchecked);
    let header = PacketHeader::telemetry(Apid(7), SequenceCount(0));
    assert_eq!(crc(&build(&header, &[0]).unwrap()), Crc::Fails);
}

#[test]
fn idle_packets_are_neither_counted_nor_checked() {
    let mut tracker = Tracker::new().with_crc(CrcPolicy::Required);
    for count in [0, 0, 5] {
        assert_eq!(take(&mut tracker, &packet(IDLE_APID.0, count, Grouping::Unsegmented)), None);
    }
    assert_eq!(tracker.tallies().count(), 0);
    // 1023 is an application like any other.
    assert!(take(&mut tracker, &sealed(1023, 0)).is_some_and(|verdict| verdict.usable));
}

proptest! {
    #[test]
    fn every_packet_is_in_one_group_or_none(
        flags in prop::collection::vec((0u8..4, 0u16..3), 0..200),
    ) {
        let mut tracker = Tracker::new();
        let (mut count, mut members, mut grouped) = (0u16, 0u64, 0u64);
        let mut add = |group: Group| grouped += u64::from(group.packets);
        for (flag, skipped) in flags {
            count = (count + 1 + skipped) % SequenceCount::MODULUS;
            let grouping = match flag {
                0 => Grouping::Continuation,
                1 => Grouping::First,
                2 => Grouping::Last,
                _ => Grouping::Unsegmented,
            };
            members += u64::from(grouping != Grouping::Unsegmented);
            let verdict = take(&mut tracker, &packet(5, count, grouping)).unwrap();
            verdict.group.into_iter().for_each(&mut add);
        }
        tracker.finish(&mut |_, group| add(group));
        prop_assert_eq!(grouped, members);
    }

    #[test]
    fn any_packets_are_survived(
        packets in prop::collection::vec(
            (0u16..0x2000, any::<u16>(), prop::collection::vec(any::<u8>(), 1..20)),
            0..60,
        ),
        policy in prop::sample::select(vec![
            CrcPolicy::None, CrcPolicy::Check, CrcPolicy::Required,
        ]),
    ) {
        let layout = Layout::issue_c(2);
        let mut tracker = Tracker::new().with_crc(policy).with_destinations(layout);
        let mut taken = 0;
        for (identifier, sequence, data) in packets {
            let mut packet = vec![0; 6];
            packet[..2].copy_from_slice(&identifier.to_be_bytes());
            packet[2..4].copy_from_slice(&sequence.to_be_bytes());
            packet[5] = data.len() as u8 - 1;
            packet.extend(data);
            taken += u64::from(take(&mut tracker, &packet).is_some());
        }
        prop_assert_eq!(tracker.tallies().map(|(_, tally)| tally.packets).sum::<u64>(), taken);
    }
}
