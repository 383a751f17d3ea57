use super::*;
use crate::{archive::Owner, receipt::SessionId};
use bytes::Bytes;
use codecs::ids::{
    Apid, Channel, Codec, KeyPrefix, Origin, RangeSet, SeqRange, SpacecraftId, StoreEpoch, UnitKey,
};
use codecs::time::Tai;

const CRAFT: SpacecraftId = SpacecraftId(7);
const SECOND: i64 = 1_000_000_000;

fn at(seconds: i64) -> Tai {
    Tai::from_unix(1_795_392_000 + seconds, 0)
}

fn prefix(channel: Channel) -> KeyPrefix {
    KeyPrefix { origin: Origin([1; 16]), epoch: StoreEpoch(9), spacecraft: CRAFT, channel }
}

fn unit(channel: Channel, sequence: u64, seconds: i64, replayed: bool) -> Event {
    Event::Unit {
        key: UnitKey { prefix: prefix(channel), sequence },
        codec: Codec::Squeezed,
        bytes: 100,
        received: at(seconds),
        replayed,
    }
}

const DIRECT: SessionId = Owner(1);
const EDGE: SessionId = Owner(2);

fn opened_by(session: SessionId, peer: &str, seconds: i64) -> Event {
    let (peer, at) = (peer.into(), at(seconds));
    Event::LinkOpened { spacecraft: CRAFT, session, peer, rtt_ms: 38.0, at }
}

fn closed_by(session: SessionId, seconds: i64) -> Event {
    Event::LinkClosed { spacecraft: CRAFT, session, reason: "set".into(), at: at(seconds) }
}

fn sampled(session: SessionId, rate_bps: f64, bytes: u64, seconds: i64) -> Event {
    let (rtt_ms, at) = (40.0, at(seconds));
    Event::LinkSample { spacecraft: CRAFT, session, rtt_ms, rate_bps, bytes, at }
}

fn opened(seconds: i64) -> Event {
    opened_by(DIRECT, "sky-7", seconds)
}

fn closed(seconds: i64) -> Event {
    closed_by(DIRECT, seconds)
}

fn insight(captured: Tai, published: Tai) -> Event {
    Event::Insight { spacecraft: CRAFT, captured, published }
}

fn live(events: impl IntoIterator<Item = Event>) -> Live {
    let mut live = Live::default();
    events.into_iter().for_each(|event| live.apply(event));
    live
}

fn job(id: &str, state: JobState) -> Event {
    Event::Job {
        id: id.into(),
        task: "cloud-mask/1".into(),
        pool: "embedded".into(),
        state,
        queue_ms: 1.0,
        run_ms: 2.0,
        cost: 0.0,
        result: String::new(),
        trace: String::new(),
        time: at(0),
    }
}

fn alarm(id: &str, state: AlarmState, seconds: i64) -> Event {
    Event::Alarm {
        id: id.into(),
        spacecraft: CRAFT,
        parameter: "EPS_BATTERY_VOLTAGE".into(),
        message: "Battery voltage below 6.6 V".into(),
        level: Level::Red,
        time: at(seconds),
        state,
    }
}

#[test]
fn a_packet_that_comes_in_a_frame_and_in_a_block_counts_once() {
    let packet =
        PacketIdentity { spacecraft: CRAFT, apid: Apid(100), time: at(3), sequence_count: 12 };
    let other = PacketIdentity { apid: Apid(101), ..packet };
    let counts = live([packet, packet, other].map(Event::Packet)).snapshot().counts;
    assert_eq!((counts.packets, counts.packet_copies), (2, 1));
}

#[test]
fn waiting_for_a_contact_is_told_apart_from_working() {
    // Captured 90 s before the pass, published 2 s into it: 92 s in all, 2 s of them in contact.
    let view = live([opened(100), insight(at(10), at(102))]).snapshot().capture_to_insight_ms;
    let near = |value: Option<f64>, truth: f64| (value.unwrap() / truth - 1.0).abs() < 0.04;
    assert!(near(view.all.p50, 92_000.0));
    assert!(near(view.contact_wait_excluded.p50, 2_000.0));
}

#[test]
fn contact_before_a_gap_counts_and_the_gap_does_not() {
    // Captured 5 s before a set, published 1 s after the next rise: 6 s in contact.
    let events = [opened(0), closed(100), opened(200), insight(at(95), at(201))];
    let view = live(events).snapshot().capture_to_insight_ms;
    assert!((view.contact_wait_excluded.p50.unwrap() / 6_000.0 - 1.0).abs() < 0.04);
    assert!((view.all.p50.unwrap() / 106_000.0 - 1.0).abs() < 0.04);
}

#[test]
fn a_session_that_replaces_another_goes_on_with_its_contact() {
    let events = [opened(0), opened_by(EDGE, "sky-7", 50), closed(51), insight(at(40), at(60))];
    let view = live(events).snapshot().capture_to_insight_ms;
    assert!((view.contact_wait_excluded.p50.unwrap() / 20_000.0 - 1.0).abs() < 0.04);
}

#[test]
fn holes_are_awaited_until_they_come_or_are_voided() {
    let channel = Channel::stream(1);
    let awaited = |live: &Live| live.snapshot().spacecraft[0].custody.awaited;
    let mut live = live([0, 1, 4, 5, 9].map(|sequence| unit(channel, sequence, 0, false)));
    assert_eq!(awaited(&live), 5);
    live.apply(unit(channel, 2, 1, false));
    live.apply(Event::Voided {
        prefix: prefix(channel),
        range: SeqRange { first: 6, last: 8 },
        reason: "cloudy".into(),
    });
    assert_eq!(awaited(&live), 1);
    live.apply(unit(channel, 3, 2, false));
    assert_eq!(awaited(&live), 0);
    assert_eq!(live.snapshot().spacecraft[0].custody.voided, 3);
}

#[test]
fn a_void_told_twice_counts_once() {
    let voided = || Event::Voided {
        prefix: prefix(Channel::stream(2)),
        range: SeqRange { first: 0, last: 3 },
        reason: "cloudy".into(),
    };
    assert_eq!(live([voided(), voided()]).snapshot().spacecraft[0].custody.voided, 4);
}

#[test]
fn what_is_replayed_after_a_start_is_not_new() {
    let channel = Channel::stream(1);
    let snapshot = live([unit(channel, 0, 0, true), unit(channel, 1, 0, false)]).snapshot();
    let custody = snapshot.spacecraft[0].custody;
    assert_eq!((custody.archived, custody.awaited), (1, 0));
    assert_eq!(snapshot.counts.replayed, 1);
}

#[test]
fn rows_stand_in_order_and_carry_the_missions_names() {
    let frame = |vc| Event::Frame {
        spacecraft: CRAFT,
        vc,
        quality: Quality::Corrected,
        gap: 2,
        found: false,
        at: at(0),
    };
    let mission = Mission {
        spacecraft: CRAFT,
        name: "SKY-7".into(),
        channels: vec![
            (Channel::virtual_channel(1, 71, 0, 0), "housekeeping".into()),
            (Channel::stream(1), "recorded telemetry".into()),
        ],
        parameters: Vec::new(),
    };
    let live = live([
        unit(Channel::RECORDS, 0, 0, false),
        unit(Channel::stream(1), 0, 0, false),
        frame(10),
        frame(2),
        Event::Mission(mission),
        frame(0),
    ]);
    let craft = &live.snapshot().spacecraft[0];
    let rows: Vec<_> =
        craft.channels.iter().map(|row| (row.label.as_str(), row.name.as_str())).collect();
    assert_eq!(
        rows,
        [
            ("VC 0", "housekeeping"),
            ("VC 2", ""),
            ("VC 10", ""),
            ("stream 1", "recorded telemetry"),
            ("records", "onboard events"),
        ]
    );
    let bucket = craft.channels[0].buckets[0];
    assert_eq!((bucket.1, bucket.2, bucket.3, bucket.4), (0, 1, 0, 2));
    assert_eq!(craft.name, "SKY-7");
}

#[test]
fn an_alarm_keeps_when_it_was_raised_and_is_counted_once() {
    let snapshot = live([
        alarm("a", AlarmState::Raised, 10),
        alarm("a", AlarmState::Raised, 10),
        alarm("a", AlarmState::Cleared, 40),
    ])
    .snapshot();
    assert_eq!(snapshot.counts.alarms, 1);
    let [alarm] = &snapshot.alarms[..] else { panic!("one alarm") };
    assert_eq!(alarm.cleared_ms.unwrap() - alarm.raised_ms, 30_000);
}

#[test]
fn a_job_told_twice_is_done_once() {
    let snapshot = live([
        job("j", JobState::Queued),
        job("j", JobState::Running),
        job("j", JobState::Done),
        job("j", JobState::Done),
        job("k", JobState::Failed),
    ])
    .snapshot();
    assert_eq!((snapshot.counts.jobs_done, snapshot.counts.jobs_failed), (1, 1));
    assert_eq!(snapshot.jobs.len(), 2);
}

#[test]
fn a_reader_that_merges_changes_has_what_a_snapshot_has() {
    let mut live = Live::default();
    let (first, cursor) = live.delta(Cursor::default()).unwrap();
    assert!(first.full && first.spacecraft.is_empty());
    assert!(live.delta(cursor).is_none());

    live.apply(job("j", JobState::Queued));
    let (second, cursor) = live.delta(cursor).unwrap();
    assert!(!second.full);
    assert_eq!(second.jobs.len(), 1);

    live.apply(unit(Channel::stream(1), 0, 0, false));
    let (third, cursor) = live.delta(cursor).unwrap();
    assert!(third.jobs.is_empty());
    assert_eq!(third.spacecraft[0].channels[0].buckets.len(), 1);
    assert!(live.delta(cursor).is_none());
}

#[test]
fn thumbnails_are_kept_beside_the_list_and_bounded() {
    let product = |id: &str, length: usize| Event::Product {
        id: id.into(),
        spacecraft: CRAFT,
        kind: "tile".into(),
        time: at(0),
        lat: 78.0,
        lon: 15.0,
        score: Some(Score { label: "cloud".into(), value: 0.71 }),
        decision: Decision::Summary,
        thumbnail_png: Bytes::from(vec![0; length]),
        source_bytes: 16_384,
        sent_bytes: 300,
    };
    let mut live = live([product("small", 10), product("huge", 1 << 20)]);
    assert_eq!(live.thumbnail("small").unwrap().len(), 10);
    assert!(live.thumbnail("huge").is_none());
    assert!(live.thumbnail("none").is_none());
    for index in 0..1000 {
        live.apply(product(&format!("p{index:04}"), 10));
    }
    assert!(live.thumbnail("small").is_none());
    assert_eq!(live.snapshot().products.len(), 96);
    assert_eq!(live.snapshot().counts.products, 1002);
}

#[test]
fn names_beyond_the_bounds_are_counted_and_not_kept() {
    let parameter = |craft: u16, name: &str| Event::Parameter {
        spacecraft: SpacecraftId(craft),
        name: name.into(),
        unit: "V".into(),
        time: at(0),
        value: 1.0,
        text: None,
        level: Level::Normal,
    };
    let mut live = Live::default();
    for craft in 0..100 {
        live.apply(parameter(craft, "A"));
    }
    assert_eq!(live.snapshot().spacecraft.len(), 64);
    assert_eq!(live.snapshot().counts.not_shown, 36);
    for index in 0..2000 {
        live.apply(parameter(0, &format!("P{index}")));
    }
    assert_eq!(live.snapshot().spacecraft[0].parameters.len(), 1024);
    assert_eq!(live.snapshot().counts.parameters, 2100);
}

#[test]
fn conservation_holds_at_a_quiet_moment_and_shows_what_is_under_way() {
    let custody = |outcome, count| Event::Custody { prefix: None, outcome, count };
    let mut live = live([custody(Outcome::Received, 5), custody(Outcome::Archived, 3)]);
    assert_eq!(live.snapshot().counts.in_flight(), 2);
    live.apply(custody(Outcome::Rejected("frame_length"), 1));
    live.apply(custody(Outcome::Shed("disk_full"), 1));
    assert_eq!(live.snapshot().counts.in_flight(), 0);
}

#[test]
fn a_link_that_closed_says_why_and_claims_no_rate() {
    let sample = sampled(DIRECT, f64::NAN, 10, 1);
    let snapshot = live([opened(0), sample, closed(2)]).snapshot();
    let link = snapshot.spacecraft[0].link.as_ref().unwrap();
    assert!(!link.open);
    assert_eq!(link.rate_bps, None);
    assert_eq!(link.reason.as_deref(), Some("set"));
    assert_eq!(link.closed_ms.unwrap() - link.opened_ms, 2 * SECOND / 1_000_000);
}

#[test]
fn a_link_stays_up_until_the_last_session_that_hears_the_spacecraft_is_gone() {
    let mut live = live([opened(0), opened_by(EDGE, "antenna-1", 1)]);
    for (session, rate, bytes) in [(DIRECT, 2e6, 100), (EDGE, 3e6, 50)] {
        live.apply(sampled(session, rate, bytes, 2));
    }
    let link = |live: &Live| live.snapshot().spacecraft[0].link.clone().unwrap();
    let both = link(&live);
    assert_eq!((both.sessions, both.rate_bps, both.bytes), (2, Some(5e6), 150));
    assert_eq!(both.opened_ms, history::unix_ms(at(0)), "the contact began with the first");
    live.apply(closed_by(EDGE, 3));
    let one = link(&live);
    assert_eq!((one.open, one.sessions, one.peer.as_str()), (true, 1, "sky-7"));
    assert_eq!((one.rate_bps, one.closed_ms), (Some(2e6), None));
    // A session that no longer is says nothing any more.
    live.apply(sampled(EDGE, 9e9, 1, 4));
    assert_eq!(link(&live).rate_bps, Some(2e6));
    live.apply(closed_by(DIRECT, 5));
    let none = link(&live);
    assert_eq!(
        (none.open, none.sessions, none.closed_ms),
        (false, 0, Some(history::unix_ms(at(5))))
    );
    // One contact from 0 to 5: what was captured at 4 and published at 9 waited for none of it.
    live.apply(insight(at(4), at(9)));
    let waited = live.snapshot().capture_to_insight_ms.contact_wait_excluded;
    assert!((waited.p50.unwrap() / 1_000.0 - 1.0).abs() < 0.04);
}

#[test]
fn a_backlog_falls_as_its_units_come_whoever_brings_them() {
    let held = |site: u8, first, last| {
        let prefix = KeyPrefix { origin: Origin([site; 16]), ..prefix(Channel::stream(1)) };
        let range: RangeSet = [SeqRange { first, last }].into_iter().collect();
        let (origin, held) = (prefix.origin, [(prefix, range)].into());
        Event::OnBoard { spacecraft: CRAFT, origin, held }
    };
    let mut live = live([held(1, 10, 19), held(2, 0, 4)]);
    let units = |live: &Live| live.snapshot().spacecraft[0].backlog.unwrap().units;
    assert_eq!(units(&live), 15, "of both stores");
    // Seven come, one of them twice; one is new on board; two are given up.
    for sequence in (10..17).chain([10, 20]) {
        live.apply(unit(Channel::stream(1), sequence, 0, false));
    }
    let range = SeqRange { first: 17, last: 18 };
    let reason = "evicted".into();
    live.apply(Event::Voided { prefix: prefix(Channel::stream(1)), range, reason });
    assert_eq!(units(&live), 6);
    // What the store says itself counts from then on, and its bytes where each store told them.
    live.apply(Event::OnBoard {
        spacecraft: CRAFT,
        origin: Origin([2; 16]),
        held: Default::default(),
    });
    live.apply(Event::Backlog { spacecraft: CRAFT, origin: Origin([1; 16]), units: 3, bytes: 350 });
    live.apply(unit(Channel::stream(1), 19, 0, false));
    let backlog = live.snapshot().spacecraft[0].backlog.unwrap();
    assert_eq!((backlog.units, backlog.bytes), (2, Some(250)));
}
