use super::{cases::*, *};
use crate::{
    contact,
    link::{LossSettings, budget, radio::Weather},
    orbit::satellite,
};

const BURSTS: LossSettings = LossSettings { mean: 1e-3, burst_packets: 10.0 };

fn one(link: &Link, law: Law, bulk: Bulk) -> Report {
    let flow = Flow { law, from_ns: link.plan.steps().first().map_or(0, |of| of.from_ns), bulk };
    let report = fly(link, &[flow], 1).unwrap().remove(0);
    assert_eq!(report.outcome.ended, None, "{law:?}");
    report
}

#[test]
fn a_planned_link_is_used_whatever_is_lost_on_it() {
    for (name, loss) in LOSSES {
        let link = LEO_50.link(loss);
        let ours = one(&link, Law::Plan, LEO_50.bulk(40)).goodput(&link);
        assert!(ours > 0.93, "{name}: {ours}");
    }
    let link = LEO_50.link(LOSSES[2].1);
    let cubic = one(&link, Law::Cubic, LEO_50.bulk(8)).goodput(&link);
    assert!(cubic < 0.3, "{cubic}");
    let link = GEO_50.link(LOSSES[1].1);
    let ours = one(&link, Law::Plan, GEO_50.bulk(90)).goodput(&link);
    assert!(ours > 0.92, "GEO, with its last round trip: {ours}");
}

#[test]
fn a_hundred_megabytes_over_a_fast_relay_arrive_in_little_more_than_they_take() {
    let link = GEO_250.link(LossSettings::NONE);
    let report = one(&link, Law::Plan, GEO_250.bulk(GEO_250.objects));
    assert!(report.is_whole && report.arrived_ns < 4_400_000_000, "{}", report.arrived_ns);
}

#[test]
fn a_pass_with_lock_steps_fades_and_bursts_is_used_to_its_set() {
    // Half of the rate, a lower pass, and smaller objects, for the time it takes.
    let pass = Pass { symbols_s: X_BAND.symbols_s / 2.0, highest_deg: 20.0, ..X_BAND };
    let bulk = Bulk { object_bytes: 200 << 10, objects_max: 8, objects: 1 << 20 };
    let clear = pass.link(cases::Weather::default(), LossSettings::NONE);
    let report = one(&clear, Law::Plan, bulk);
    let (goodput, ceiling) = (report.goodput(&clear), report.ceiling());
    assert!(goodput > 0.93 * ceiling, "{goodput} of {ceiling}");
    // A round trip holds some four packets at the lowest step, and the transport sends ten at once.
    assert!(report.dropped() < 0.02, "no step overflows the queue: {}", report.dropped());
    let rain = pass.link(SHOWERS, BURSTS);
    let goodput = one(&rain, Law::Plan, bulk).goodput(&rain);
    assert!(goodput > 0.87, "{goodput}");
}

/// SKY-7 over the station of the X band link, at a thirtieth of its symbols.
fn flown() -> passes::Flown {
    const SLOW: (&str, &str) = ("symbol_rate_baud = 60e6", "symbol_rate_baud = 2e6");
    let text = include_str!("../../../../missions/links/x-band.toml").replace(SLOW.0, SLOW.1);
    let of = budget::file::read("x-band.toml", &text).unwrap();
    let elements = include_str!("../../../../missions/sky-7/elements.json");
    let satellites = satellite::read(elements).unwrap();
    let set = satellites[0].elements().unwrap();
    let from = Tai::from_rfc3339("2026-11-23T12:00:00Z").unwrap();
    let to = from.plus(86_400_000_000_000);
    // A low one, for the time it takes.
    let found = contact::passes(set, &of.station, from, to, of.min_elevation_deg).unwrap();
    let lowest = |a: &&contact::Pass, b: &&contact::Pass| {
        a.max_elevation_deg.total_cmp(&b.max_elevation_deg)
    };
    let pass = found.iter().filter(|pass| pass.max_elevation_deg > 12.0).min_by(lowest).unwrap();
    passes::Flown::new(of, set, pass).unwrap()
}

#[test]
fn a_pass_of_real_elements_by_its_budget_is_used_to_its_set() {
    let pass = flown();
    let link = pass.link(Weather::Seeded(1), BURSTS).unwrap();
    assert!(link.plan.steps().len() > 8, "{:?}", link.plan.steps());
    let bulk = Bulk { object_bytes: 100 << 10, ..pass.flow(Law::Plan).bulk };
    let flow = Flow { bulk, ..pass.flow(Law::Plan) };
    let watch = Watch::new(1_000_000_000);
    let report = fly_watched(&link, &[flow], 1, Some(&watch)).unwrap().remove(0);
    let (goodput, ceiling) = (report.goodput(&link), report.ceiling());
    assert!(goodput > 0.95 * ceiling, "{goodput} of {ceiling}");
    // What the watch saw is what the net counted, with 28 bytes a packet.
    let spans = watch.spans();
    let delivered: u64 = spans.iter().map(|span| span.delivered).sum();
    assert_eq!(delivered, report.up.delivered_bytes + 28 * report.up.delivered);
    assert_eq!(spans.iter().map(|span| span.queue_full).sum::<u64>(), report.up.queue_full);
    let longest = spans.iter().map(|span| span.wait_ns).max().unwrap();
    assert!(longest > 0 && longest <= link.up.queue_ns.unsigned_abs(), "{longest}");
}

#[test]
fn a_wrong_plan_costs_little() {
    for (factor, least) in [(0.5, 0.85), (0.8, 0.9), (1.5, 0.9), (2.0, 0.9)] {
        for (name, loss) in [LOSSES[0], LOSSES[2]] {
            let link = mispredicted(&LEO_50.link(loss), factor);
            let goodput = one(&link, Law::Plan, LEO_50.bulk(30)).goodput(&link);
            assert!(goodput > least, "{factor}, {name}: {goodput}");
        }
    }
}

#[test]
fn others_on_the_link_get_no_less_than_beside_cubic() {
    const SECOND: u64 = 1_000_000_000;
    let link = Link { until_ns: 40 * SECOND, ..LEO_50.link(LossSettings::NONE) };
    for others in [1, 3] {
        let theirs = |law| {
            let flow = |law, from_ns| Flow { law, from_ns, bulk: LEO_50.bulk(1 << 20) };
            let mut flows = vec![flow(Law::Cubic, 0); others];
            flows.push(flow(law, 5 * SECOND));
            let reports = fly(&link, &flows, 1).unwrap();
            let got = |of: &Report| of.acknowledged(40 * SECOND) - of.acknowledged(10 * SECOND);
            reports.iter().take(others).map(got).sum::<u64>() as f64
        };
        let ratio = theirs(Law::Plan) / theirs(Law::Cubic);
        // One seed swings; the bench takes the median of five.
        assert!(ratio > 0.8, "{others}: {ratio}");
    }
}

#[test]
fn without_a_plan_the_client_is_the_librarys_cubic() {
    for (_, loss) in [LOSSES[0], LOSSES[2]] {
        let link = Link { plan: Series::default(), ..LEO_50.link(loss) };
        let of = |law| one(&link, law, LEO_50.bulk(3)).outcome;
        assert_eq!(of(Law::Plan), of(Law::Cubic));
    }
}
