use super::*;
use alloc::vec::Vec;
use proptest::prelude::*;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const BOUNDS: Bounds = Bounds { window_max: 16 << 20, ack_packets: 2 };
const PACKET: u64 = 1_200;

fn planned(steps: &[(u64, u64, u64)]) -> LinkAware {
    let steps = steps.iter().map(|(from_ns, rate_bps, rtt_ns)| Step {
        from_ns: *from_ns,
        rate_bps: *rate_bps,
        rtt_ns: *rtt_ns,
    });
    let mut link = LinkAware::new(BOUNDS, PACKET);
    link.plan(Arc::new(Series::new(steps.collect())), 0);
    link
}

fn window(link: &LinkAware) -> u64 {
    match link.rule() {
        Rule::Planned(window) | Rule::AtLeast(window) => window,
        Rule::Usual => panic!("the usual controller decides"),
    }
}

/// A busy time on which so much of the planned rate arrives, with this round trip.
fn busy(link: &mut LinkAware, now: &mut u64, for_ns: u64, rate: u64, rtt: u64, lost: f64) {
    let end = *now + for_ns;
    let gap = rtt / 16;
    while *now < end {
        *now += gap;
        let bytes = rate * gap / (8 * SECOND);
        if lost > 0.0 {
            link.lost(*now, (bytes as f64 * lost) as u64 + 1, false);
        }
        link.arrived(*now, rtt, (bytes as f64 * (1.0 - lost)) as u64);
        link.acknowledged(*now, u64::MAX, false);
    }
}

#[test]
fn the_window_is_there_before_the_first_acknowledgement_where_the_round_trip_is_planned() {
    let mut link = planned(&[(0, 40_000_000, 50 * MS)]);
    link.sent(SECOND);
    // 50 ms, an eighth of them, 2 ms, and two packets.
    assert_eq!(window(&link), 250_000 + 31_250 + 10_000 + 2_400);
    let mut link = planned(&[(0, 40_000_000, 0)]);
    link.sent(SECOND);
    assert_eq!(link.rule(), Rule::Usual, "no round trip is known");
    link.arrived(SECOND, 50 * MS, 1);
    link.acknowledged(SECOND, 0, false);
    assert_eq!(window(&link), 250_000 + 31_250 + 10_000 + 2_400);
}

#[test]
fn a_step_down_is_spread_over_the_round_trip_and_a_step_up_goes_at_its_rate_at_once() {
    let mut link = planned(&[(0, 80_000_000, 100 * MS), (5 * SECOND, 40_000_000, 100 * MS)]);
    let mut at = |now| {
        link.sent(now);
        window(&link)
    };
    let before = at(4 * SECOND);
    let queue = at(5 * SECOND - 1) - 1_000_000;
    // At once only the queue shrinks: what is on its way left at the old rate.
    assert!((at(5 * SECOND)).abs_diff(1_000_000 + queue / 2) <= 1_500, "{before} {queue}");
    assert!((at(5 * SECOND + 50 * MS)).abs_diff(750_000 + queue / 2) <= 1_500);
    assert!((at(6 * SECOND)).abs_diff(500_000 + queue / 2) <= 1_500);
    let mut link = planned(&[(0, 40_000_000, 100 * MS), (5 * SECOND, 80_000_000, 100 * MS)]);
    let mut at = |now| {
        link.sent(now);
        window(&link)
    };
    let (step, later) = (at(5 * SECOND), at(5 * SECOND + 10 * MS));
    // 10 ms of acknowledgements at the old rate, and this much more: the new rate.
    assert_eq!(later - step, 10 * MS * 40_000_000 / (8 * SECOND));
}

#[test]
fn noise_leaves_the_window_and_another_contact_is_judged_anew() {
    let mut link = planned(&[(0, 40_000_000, 50 * MS), (60 * SECOND, 0, 0)]);
    let mut now = SECOND;
    link.arrived(now, 50 * MS, 1_200);
    busy(&mut link, &mut now, 2 * SECOND, 40_000_000, 58 * MS, 0.0);
    let usual = window(&link);
    busy(&mut link, &mut now, SECOND, 40_000_000, 58 * MS, 0.01);
    assert!(window(&link).abs_diff(usual) < usual / 100 && link.scale() == 1.0);
    // Half of it fills a queue that stays whatever is sent: others are there.
    busy(&mut link, &mut now, 2 * SECOND, 15_000_000, 95 * MS, 0.01);
    assert_eq!(link.rule(), Rule::Usual);
    // As long as they are, the plan is left alone.
    busy(&mut link, &mut now, 20 * SECOND, 15_000_000, 95 * MS, 0.0);
    assert_eq!(link.rule(), Rule::Usual);
    // Their queue is gone: it is tried with what came of late.
    let gone = now;
    while link.rule() == Rule::Usual && now < gone + SECOND {
        busy(&mut link, &mut now, SECOND / 50, 15_000_000, 50 * MS, 0.0);
    }
    assert!(window(&link) < usual * 6 / 10, "{}", window(&link));
    now = 61 * SECOND;
    link.sent(now);
    assert_eq!(link.rule(), Rule::Usual, "the contact is over");
    link.plan(Arc::new(Series::constant(40_000_000, 50 * MS)), now);
    assert!(window(&link).abs_diff(usual) < usual / 20 && link.scale() == 1.0);
}

#[test]
fn a_connection_with_little_to_say_proves_nothing() {
    let mut link = planned(&[(0, 40_000_000, 50 * MS)]);
    let mut now = SECOND;
    link.arrived(now, 50 * MS, 500);
    for _ in 0..10_000 {
        now += 5 * MS;
        link.arrived(now, 90 * MS, 500);
        link.acknowledged(now, 500, true);
    }
    assert!(matches!(link.rule(), Rule::Planned(_)) && link.scale() == 1.0);
}

#[test]
fn an_outage_is_no_congestion_and_three_on_end_are_doubted() {
    let mut link = planned(&[(0, 40_000_000, 50 * MS)]);
    let mut now = SECOND;
    for _ in 0..10 {
        busy(&mut link, &mut now, SECOND, 40_000_000, 58 * MS, 0.0);
        now += 3 * SECOND;
        link.lost(now, 200_000, true);
        assert!(matches!(link.rule(), Rule::Planned(_)));
    }
    for _ in 0..3 {
        link.lost(now, 200_000, true);
    }
    assert_eq!(link.rule(), Rule::Usual);
}

#[test]
fn a_queue_that_was_there_first_is_left_to_the_usual_controller() {
    let mut link = planned(&[(0, 40_000_000, 50 * MS)]);
    link.sent(SECOND);
    assert!(matches!(link.rule(), Rule::Planned(_)));
    // An eighth, 5 ms and two packets are what a plan may leave out.
    link.arrived(SECOND, 80 * MS, PACKET);
    link.acknowledged(SECOND, 0, false);
    assert_eq!(link.rule(), Rule::Usual);
    assert!(link.is_refuted() && !link.has_pressed(), "nothing of ours was in that queue");
    // Later round trips that are short are gaps that others left.
    let mut now = SECOND + 300 * MS;
    busy(&mut link, &mut now, SECOND / 2, 10_000_000, 90 * MS, 0.0);
    link.arrived(now, 51 * MS, PACKET);
    link.acknowledged(now, 0, false);
    assert_eq!(link.rule(), Rule::Usual);
    // Another connection, whose host was busy for a moment.
    let mut link = planned(&[(0, 40_000_000, 50 * MS)]);
    link.sent(SECOND);
    link.arrived(SECOND, 80 * MS, PACKET);
    link.acknowledged(SECOND, 0, false);
    link.arrived(SECOND + 60 * MS, 52 * MS, PACKET);
    link.acknowledged(SECOND + 60 * MS, 0, false);
    assert!(matches!(link.rule(), Rule::Planned(_)));
}

#[test]
fn letting_the_queue_run_empty_is_no_verdict_on_the_link() {
    let mut link = planned(&[(0, 40_000_000, 50 * MS)]);
    let mut now = SECOND;
    link.sent(now);
    link.arrived(now, 50 * MS, PACKET);
    let full = window(&link);
    let mut least = full;
    while now < 60 * SECOND {
        now += 3 * MS;
        link.sent(now);
        let under_way = window(&link);
        least = least.min(under_way);
        // A link that carries what is under way within a round trip, and no more than it can.
        let rate = (under_way as f64 / full as f64).min(1.0).powi(3) * 40_000_000.0;
        link.arrived(now, 58 * MS, (rate * 3e-3 / 8.0) as u64);
        link.acknowledged(now, u64::MAX, false);
        assert_eq!(link.scale(), 1.0, "at {now}");
    }
    assert!(least < full * 4 / 5, "it did run empty: {least} of {full}");
}

#[test]
fn a_plan_that_is_told_again_changes_nothing() {
    let mut link = planned(&[(0, 40_000_000, 50 * MS)]);
    let mut now = SECOND;
    // Nobody fills a link that is faster than planned.
    for _ in 0..20 {
        let rate = (45_000_000.0 * link.scale()) as u64;
        busy(&mut link, &mut now, SECOND / 10, rate, 50 * MS, 0.0);
    }
    let scale = link.scale();
    assert!(scale > 1.0);
    let again = Step { from_ns: 7, rate_bps: 40_000_000, rtt_ns: 50 * MS };
    link.plan(Arc::new(Series::new(Vec::from([again]))), now);
    assert_eq!(link.scale(), scale);
    link.plan(Arc::new(Series::constant(41_000_000, 50 * MS)), now);
    assert_eq!(link.scale(), 1.0);
}

#[derive(Clone, Debug)]
enum Event {
    Plan(Vec<(u64, u64, u64)>),
    Sent,
    Arrived(u64, u64),
    Acknowledged(u64, bool),
    Lost(u64, bool),
    Packet(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let number =
        || prop_oneof![Just(0), Just(u64::MAX), 0u64..1 << 20, 0u64..1 << 36, any::<u64>()];
    prop_oneof![
        prop::collection::vec((number(), number(), number()), 0..6).prop_map(Event::Plan),
        Just(Event::Sent),
        (number(), number()).prop_map(|(rtt, bytes)| Event::Arrived(rtt, bytes)),
        (number(), any::<bool>()).prop_map(|(bytes, starved)| Event::Acknowledged(bytes, starved)),
        (number(), any::<bool>()).prop_map(|(bytes, persistent)| Event::Lost(bytes, persistent)),
        number().prop_map(Event::Packet),
    ]
}

proptest! {
    #[test]
    fn no_history_breaks_the_bounds(
        history in prop::collection::vec((event(), prop_oneof![0u64..1 << 34, any::<u64>()]), 0..200),
    ) {
        let mut link = LinkAware::new(BOUNDS, PACKET);
        let mut now = 0u64;
        for (event, wait) in history {
            now = now.wrapping_add(wait);
            match event {
                Event::Plan(steps) => {
                    let steps = steps.into_iter().map(|(from_ns, rate_bps, rtt_ns)| Step {
                        from_ns, rate_bps, rtt_ns,
                    });
                    link.plan(Arc::new(Series::new(steps.collect())), now);
                }
                Event::Sent => link.sent(now),
                Event::Arrived(rtt, bytes) => link.arrived(now, rtt, bytes),
                Event::Acknowledged(bytes, starved) => link.acknowledged(now, bytes, starved),
                Event::Lost(bytes, persistent) => link.lost(now, bytes, persistent),
                Event::Packet(bytes) => link.set_packet_bytes(bytes),
            }
            if let Rule::Planned(window) | Rule::AtLeast(window) = link.rule() {
                prop_assert!(window <= BOUNDS.window_max);
            }
            prop_assert!((SCALE_MIN..=SCALE_MAX).contains(&link.scale()));
        }
    }

    #[test]
    fn with_no_rate_in_the_plan_the_usual_controller_decides(
        acks in prop::collection::vec((1u64..SECOND, 0u64..100_000), 1..100),
    ) {
        let mut link = planned(&[(0, 0, 50 * MS)]);
        let mut now = 0;
        for (wait, bytes) in acks {
            now += wait;
            link.arrived(now, wait, bytes);
            link.acknowledged(now, bytes, false);
            prop_assert_eq!(link.rule(), Rule::Usual);
        }
    }
}
