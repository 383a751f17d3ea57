use super::*;

const S: u64 = 1_000_000_000;
const NOON: Tai = Tai(1_800_000_000 * SECOND_NS);

fn at(seconds: i64) -> Tai {
    NOON.plus(seconds * SECOND_NS)
}

fn planned(rise: i64, set: i64) -> PlannedContact {
    PlannedContact { rise: at(rise), set: at(set), rate_bps: 9_600, rtt_ns: 0 }
}

fn filed(rise: i64, set: i64, bearer: Option<Bearer>) -> Contact {
    Contact { planned: planned(rise, set), station: "north".into(), bearer }
}

fn phase(downlink: &Downlink, now_s: u64) -> Phase {
    downlink.stand(Bearer::Rf, now_s * S).phase
}

fn left(downlink: &Downlink, now_s: u64) -> u64 {
    downlink.left_s(&[Bearer::Quic, Bearer::Rf], now_s * S)
}

#[test]
fn without_trusted_time_no_plan_keeps_it_silent() {
    let mut downlink = Downlink::new(vec![filed(1_000, 1_500, None)]);
    for now in [0, 500, 1_200, 1_000_000] {
        assert_eq!((phase(&downlink, now), left(&downlink, now)), (Phase::Acquire, 0));
    }
    downlink.heard(Bearer::Rf, 500 * S);
    assert_eq!(phase(&downlink, 501), Phase::Send);
    assert_eq!(phase(&downlink, 531), Phase::Acquire);
}

#[test]
fn a_contact_goes_from_sleep_to_sleep_and_says_what_is_left() {
    let mut downlink = Downlink::new(vec![filed(1_000, 1_500, None), filed(9_000, 9_500, None)]);
    downlink.trust(at(0), 0);
    assert_eq!(phase(&downlink, 900), Phase::Sleep);
    assert_eq!(phase(&downlink, 980), Phase::Wait);
    assert_eq!((phase(&downlink, 1_000), left(&downlink, 1_000)), (Phase::Acquire, 500));
    downlink.heard(Bearer::Rf, 1_001 * S);
    assert_eq!((phase(&downlink, 1_002), left(&downlink, 1_002)), (Phase::Send, 498));
    assert_eq!(downlink.stand(Bearer::Rf, 1_002 * S).rate_bps, 9_600);
    assert_eq!((phase(&downlink, 1_499), left(&downlink, 1_499)), (Phase::Drain, 1));
    assert_eq!((phase(&downlink, 1_504), left(&downlink, 1_504)), (Phase::Sleep, 0));
    downlink.heard(Bearer::Rf, 1_499 * S);
    assert_eq!(phase(&downlink, 1_503), Phase::Sleep, "heard, but before the set");
    downlink.heard(Bearer::Rf, 1_503 * S);
    assert_eq!(phase(&downlink, 1_504), Phase::Send, "still there");
    // Once every contact is over the plan says nothing.
    assert_eq!((phase(&downlink, 9_600), left(&downlink, 9_600)), (Phase::Acquire, 0));
}

#[test]
fn a_clock_that_jumps_is_followed_and_a_station_that_is_heard_beats_the_plan() {
    let mut downlink = Downlink::new(vec![filed(1_000, 1_500, None)]);
    downlink.trust(at(1_200), 10 * S);
    assert!(downlink.is_due(10 * S));
    assert_eq!(left(&downlink, 10), 300);
    // Back to before the rise: silent, and in contact again when it comes.
    downlink.trust(at(-50_000), 11 * S);
    assert!(downlink.is_due(11 * S), "the jump is looked at at once");
    assert_eq!((phase(&downlink, 11), left(&downlink, 11)), (Phase::Sleep, 0));
    downlink.heard(Bearer::Rf, 12 * S);
    assert!(downlink.is_due(12 * S));
    assert_eq!((phase(&downlink, 12), left(&downlink, 12)), (Phase::Send, 0));
    // Over the whole plan, to the end of time, and back.
    for jump in [Tai(i64::MAX), Tai(i64::MIN), at(90_000)] {
        downlink.trust(jump, 50 * S);
        assert!(downlink.is_due(50 * S));
        let _ = (phase(&downlink, 50), left(&downlink, 50));
    }
    assert_eq!(phase(&downlink, 60), Phase::Acquire);
    downlink.trust(at(1_400), 61 * S);
    assert_eq!((phase(&downlink, 61), left(&downlink, 61)), (Phase::Acquire, 100));
    // A process that was stopped for long finds its place.
    assert_eq!(phase(&downlink, 61 + 90), Phase::Acquire);
    assert_eq!(phase(&downlink, 61 + 101), Phase::Drain);
}

#[test]
fn looks_meet_every_change_of_a_plan() {
    let mut downlink = Downlink::new(vec![filed(1_000, 1_010, None), filed(5_000, 5_010, None)]);
    downlink.trust(at(0), 0);
    let (mut now, mut seen) = (0, Vec::new());
    while now < 5_000 * S {
        assert!(downlink.is_due(now));
        let phase = downlink.stand(Bearer::Rf, now).phase;
        if seen.last() != Some(&phase) {
            seen.push(phase);
        }
        assert!(downlink.timeout() > now && downlink.timeout() <= now + 10 * S);
        now = downlink.timeout();
    }
    let round = [Phase::Sleep, Phase::Wait, Phase::Acquire, Phase::Drain];
    assert_eq!(seen, [round, round].concat()[..7]);
}

#[test]
fn an_old_time_widens_the_contacts_that_it_is_believed_for() {
    let day = 86_400;
    let mut downlink = Downlink::new(vec![filed(10 * day, 10 * day + 600, None)]);
    downlink.trust(at(0), 0);
    // Ten days at 100 ppm are 86 s.
    assert_eq!(phase(&downlink, 10 * 86_400 - 80), Phase::Acquire);
    downlink.trust(at(10 * day - 80), 0);
    assert_eq!(phase(&downlink, 0), Phase::Sleep);
}

#[test]
fn the_grounds_plan_takes_the_files_place_and_is_kept() {
    let mut downlink = Downlink::new(vec![filed(100, 200, None)]);
    downlink.trust(at(0), 0);
    let mut many: Vec<_> =
        (0..200).map(|day| planned(day * 1_000 + 500, day * 1_000 + 600)).collect();
    many.push(planned(900, 800));
    many.push(planned(-600, -500));
    many.reverse();
    let kept = downlink.plan(many, 0);
    assert_eq!(phase(&downlink, 150), Phase::Sleep);
    assert_eq!(left(&downlink, 550), 50);
    assert!(kept.len() <= crate::store::NOTE_BYTES_MAX);
    let mut again = Downlink::new(vec![filed(100, 200, None)]);
    assert!(again.recall(&kept));
    assert_eq!(phase(&again, 150), Phase::Acquire, "a kept plan is worth nothing without time");
    again.trust(at(150), 150 * S);
    assert_eq!(phase(&again, 150), Phase::Sleep);
    // The nearest are kept, and none that is over or upside down.
    assert_eq!((again.told.len(), again.told[0].planned.rise), (CONTACTS_MAX, at(500)));
    for end in 0..kept.len() {
        assert!(!again.recall(&kept[..end]));
    }
}

#[test]
fn contacts_are_of_their_bearer_and_stations_that_overlap_are_one() {
    let contacts = vec![
        filed(100, 200, Some(Bearer::Rf)),
        filed(190, 300, Some(Bearer::Rf)),
        filed(1_000, 1_100, Some(Bearer::Quic)),
    ];
    let mut downlink = Downlink::new(contacts);
    downlink.trust(at(0), 0);
    assert_eq!(left(&downlink, 150), 150);
    assert_eq!(phase(&downlink, 199), Phase::Acquire);
    assert_eq!(downlink.stand(Bearer::Quic, 150 * S).phase, Phase::Sleep);
    assert_eq!(phase(&downlink, 1_050), Phase::Sleep);
    assert_eq!(left(&downlink, 1_050), 50);
}

#[test]
fn a_time_that_was_told_wrong_is_doubted_after_a_day_of_silence() {
    const DAY: u64 = 86_400;
    let plan = || vec![filed(1_000, 1_500, None), filed(100_000, 100_500, None)];
    // 1970 and a plan of 2027: it would sleep for decades.
    let mut downlink = Downlink::new(plan()).with_doubt(Doubt::new(Some(DAY), Some(0)));
    downlink.trust(Tai(0), 0);
    assert_eq!(phase(&downlink, DAY - 1), Phase::Sleep);
    assert_eq!((phase(&downlink, DAY), left(&downlink, DAY)), (Phase::Acquire, 0));
    // A word of the ground, and its time, end the doubt.
    downlink.heard(Bearer::Quic, DAY * S);
    downlink.trust(at(2_000), DAY * S);
    assert_eq!(phase(&downlink, DAY + 40), Phase::Sleep);
    // 2099 leaves no contact to come, and whoever has none tries.
    downlink.trust(Tai(4_070_908_800 * SECOND_NS), (DAY + 50) * S);
    assert_eq!(phase(&downlink, DAY + 100), Phase::Acquire);
    // Back again, as if nothing had been.
    downlink.trust(at(2_100), (DAY + 100) * S);
    assert_eq!(phase(&downlink, DAY + 140), Phase::Sleep);
    let mut never = Downlink::new(plan());
    never.trust(Tai(0), 0);
    assert_eq!(phase(&never, 1_000 * DAY), Phase::Sleep);
}

#[test]
fn contacts_that_pass_without_a_word_have_time_and_plan_doubted() {
    // Three that pass, the second of two stations that meet, and one that is still to come.
    let plan = [(1_000, 1_100), (2_000, 2_100), (2_100, 2_200), (3_000, 3_100), (9_000, 9_100)];
    let plan = || plan.map(|(rise, set)| filed(rise, set, None)).to_vec();
    let doubting = |missed| Downlink::new(plan()).with_doubt(Doubt::new(Some(0), Some(missed)));
    let mut downlink = doubting(3);
    downlink.trust(at(0), 0);
    assert_eq!(phase(&downlink, 2_500), Phase::Sleep, "two were missed");
    assert_eq!(phase(&downlink, 4_000), Phase::Acquire, "it would have slept");
    // A word within the second: one was missed since.
    let mut heard = doubting(3);
    heard.trust(at(0), 0);
    heard.heard(Bearer::Quic, 2_050 * S);
    assert_eq!(phase(&heard, 4_000), Phase::Sleep);
    // And a word ends the doubt.
    downlink.heard(Bearer::Quic, 4_000 * S);
    assert_eq!(phase(&downlink, 4_100), Phase::Sleep);
    let mut never = doubting(0);
    never.trust(at(0), 0);
    assert_eq!(phase(&never, 4_000), Phase::Sleep);
}

#[test]
fn nobody_is_reached_between_contacts_and_a_radio_without_a_plan_may_reach_someone() {
    let both = [Bearer::Quic, Bearer::Rf];
    let mut downlink = Downlink::new(vec![filed(1_000, 1_500, Some(Bearer::Rf))]);
    assert_eq!(downlink.reach(&[Bearer::Quic], 0), Reach::Nobody, "no station answered yet");
    assert_eq!(downlink.reach(&both, 0), Reach::Perhaps);
    downlink.heard(Bearer::Quic, S);
    assert_eq!(downlink.reach(&both, 2 * S), Reach::Station);
    assert_eq!(downlink.reach(&both, 40 * S), Reach::Perhaps);
    downlink.trust(at(0), 40 * S);
    assert_eq!(downlink.reach(&both, 41 * S), Reach::Nobody, "the plan says when");
    assert_eq!(downlink.reach(&both, 1_100 * S), Reach::Station);
    assert_eq!(downlink.reach(&[Bearer::Quic], 1_100 * S), Reach::Nobody);
    assert_eq!(downlink.silence_s(11 * S), Some(10));
}

#[test]
fn contacts_that_meet_are_steps_of_one_link_over_time() {
    let step = |rise, set, rate_bps, rtt_ns| Contact {
        planned: PlannedContact { rate_bps, rtt_ns, ..planned(rise, set) },
        ..filed(rise, set, None)
    };
    let plan = vec![step(1_000, 1_100, 10, 1), step(1_100, 1_200, 20, 2), step(1_190, 1_300, 5, 3)];
    let mut downlink = Downlink::new(plan);
    assert_eq!(downlink.series(Bearer::Quic, 0), Default::default(), "no time is trusted");
    // The process began ten seconds before it heard the time.
    downlink.trust(at(900), 10 * S);
    let series = downlink.series(Bearer::Quic, 10 * S);
    let rates: Vec<u64> = [100, 109, 150, 209, 211, 309, 310, 313, 411, 413]
        .map(|second| series.at(second * S).rate_bps)
        .into();
    // Widened by 2 s at its ends, and between two stations the faster one.
    assert_eq!(rates, [0, 10, 10, 10, 20, 20, 5, 5, 5, 0]);
    assert_eq!(series.at(250 * S).rtt_ns, 2);
    let stand = downlink.stand(Bearer::Quic, 250 * S);
    assert_ne!(stand.phase, Phase::Drain, "the next step is the same contact");
    assert_eq!(downlink.series(Bearer::Quic, 420 * S), Default::default(), "all of it is over");
}
