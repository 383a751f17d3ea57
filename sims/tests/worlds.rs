//! Worlds in simulated time: what the real code brings down, what it holds, and that a seed fixes
//! everything.

mod data;

use std::path::Path;

use sims::world::{answer::Answer, run::run, scenario::Scenario, shell::fleet::Progress};

/// A scenario of the library, its text changed here and there.
fn scenario(name: &str, changes: &[(&str, &str)]) -> Scenario {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name);
    let mut text = std::fs::read_to_string(&path).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{name} has no {from:?}");
        text = text.replace(from, to);
    }
    Scenario::parse(name, &text).unwrap()
}

fn recorded(name: &str) -> anyhow::Result<String> {
    let link = Path::new(env!("CARGO_MANIFEST_DIR")).join("../missions/links").join(name);
    if link.exists() {
        return Ok(std::fs::read_to_string(link)?);
    }
    let path = data::orbit(name).ok_or_else(|| anyhow::anyhow!("no recordings"))?;
    Ok(std::fs::read_to_string(path)?)
}

fn fly(scenario: &Scenario, seed: u64, threads: usize) -> Answer {
    run(scenario, seed, threads, &recorded, &Progress::default()).unwrap()
}

/// Nothing is neither delivered nor held nor accounted for.
fn conserved(answer: &Answer, name: &str) {
    let of = &answer.conservation;
    assert!(of.broken.is_empty(), "{name}, seed {}: {:#?}", answer.seed, of.broken);
    assert_eq!(of.numbered, of.archived + of.held + of.voided + of.lost);
    assert!(of.archived > 0, "{name} brought nothing down: {of:?}");
}

#[test]
fn a_low_orbit_brings_its_hours_down() {
    let less = [("duration_s = 86_400", "duration_s = 14_400"), ("sensors = true", "every_s = 2")];
    let scenario = scenario("leo-quic.toml", &less);
    let answer = fly(&scenario, 1, 1);
    conserved(&answer, "leo-quic");
    let craft = &answer.craft[0];
    assert!(craft.contacts.len() >= 2, "{:?}", craft.contacts);
    // All that was made before the last contact began is down.
    assert!(answer.conservation.archived * 2 > answer.conservation.numbered);
    let most = craft.contacts.iter().map(|of| of.rise_s).fold(0.0, f64::max);
    assert!(answer.latency_s(0.99).unwrap() < most, "no latency is longer than the flight");
}

#[test]
fn images_become_jobs_and_each_ends_once() {
    let less = [("duration_s = 21_600", "duration_s = 4_000"), ("per_plane = 2", "per_plane = 1")];
    let scenario = scenario("eo-pools.toml", &less);
    let answer = fly(&scenario, 3, 2);
    conserved(&answer, "eo-pools");
    let jobs = answer.jobs.as_ref().unwrap();
    assert!(jobs.jobs > 20, "{jobs:?}");
    assert_eq!(jobs.done + jobs.failed, jobs.jobs);
    assert!(jobs.done * 10 >= jobs.jobs * 9, "{jobs:?}");
    assert!(answer.faults.iter().any(|fault| fault.what.starts_with("pool outage")));
    assert_eq!(fly(&scenario, 3, 1).jobs, answer.jobs, "whatever the number of threads");
}

#[test]
fn a_radio_brings_frames_down_and_receipts_up() {
    let less = [("duration_s = 86_400", "duration_s = 8_000"), ("= 100_000", "= 20_000")];
    let scenario = scenario("leo-rf.toml", &less);
    let answer = fly(&scenario, 1, 1);
    conserved(&answer, "leo-rf");
    let (of, craft) = (&answer.conservation, &answer.craft[0]);
    assert!(craft.contacts.len() >= 2 && of.archived * 2 > of.numbered, "{of:?}");
    // Nothing waits for ever for a receipt that came: what is left was made since the last contact.
    let last = craft.series.last().unwrap();
    assert!(last.backlog_bytes < craft.packet_bytes / 4, "{last:?}");
    // No connection, and more on the air than in units: headers, idle zones, repeats.
    assert_eq!(craft.connections, 0);
    assert!(craft.carried_bytes > craft.delivered_bytes, "{craft:?}");
    assert!(craft.carried_bytes < craft.capacity_bytes);
    assert_eq!(fly(&scenario, 1, 2).trace, answer.trace);
    assert_ne!(fly(&scenario, 2, 1).trace, answer.trace);
}

#[test]
fn a_radio_at_the_edge_of_its_budget_loses_frames_and_no_unit() {
    // By hand: a tenth of the frames are hit, in bursts, and arrive wrong.
    let noisy = [
        ("file = \"s-band.toml\"", "down_bps = 1e6\nlock_s = 3\nloss = 0.1\nburst_packets = 8"),
        ("duration_s = 86_400", "duration_s = 8_000"),
        ("= 100_000", "= 20_000"),
    ];
    let answer = fly(&scenario("leo-rf.toml", &noisy), 1, 1);
    conserved(&answer, "leo-rf");
    let of = &answer.conservation;
    assert!(of.archived * 2 > of.numbered, "{of:?}");
    // A quarter of all contacts goes for repeats, and still each unit is archived once.
    assert!(answer.craft[0].object_bytes > answer.craft[0].delivered_bytes);
}

/// Days of faulted voyages that are flown here; `make test-long` flies more.
fn voyages() -> u64 {
    std::env::var("VOYAGE_DAYS").ok().and_then(|days| days.parse().ok()).unwrap_or(3)
}

/// The voyage with a radio and an edge in the place of a connection.
const BY_RADIO: [(&str, &str); 3] = [
    ("profile = \"leo\"", "bearer = \"rf\"\nagain_s = 300\nqueue_ms = 200"),
    ("up_bps = 100e3", "up_bps = 16e3"),
    ("[faults]", "[faults]\nedge_crashes_per_day = 6"),
];

fn voyage_seed() -> Option<u64> {
    std::env::var("VOYAGE_SEED").ok().and_then(|seed| seed.parse().ok())
}

#[test]
fn faulted_voyages_lose_nothing_in_silence() {
    voyage(&scenario("voyage.toml", &[]), "voyages_lose", 1..=voyages());
}

#[test]
fn faulted_voyages_by_radio_lose_nothing_in_silence() {
    // Of the days that are flown, a third or so by radio.
    voyage(&scenario("voyage.toml", &BY_RADIO), "by_radio", 1..=voyages().div_ceil(2));
}

fn voyage(scenario: &Scenario, test: &str, seeds: std::ops::RangeInclusive<u64>) {
    let seeds = voyage_seed().map_or(seeds, |seed| seed..=seed);
    let (mut faults, mut archived) = (0, 0);
    for seed in seeds {
        let answer = fly(scenario, seed, 1);
        let of = &answer.conservation;
        assert!(
            of.broken.is_empty() && of.numbered == of.archived + of.held + of.voided + of.lost,
            "{of:#?}\n{:#?}\nto fly it again: VOYAGE_SEED={seed} cargo nextest run -p sims \
             --test worlds {test}",
            answer.faults,
        );
        faults += answer.faults.len();
        archived += of.archived;
    }
    assert!(faults > 10 && archived > 100, "{faults} faults, {archived} archived");
}

#[test]
fn a_seed_fixes_a_constellation_whatever_the_threads() {
    let less = [
        ("planes = 10, per_plane = 10", "planes = 2, per_plane = 2"),
        ("duration_s = 21_600", "duration_s = 5_400"),
        ("payload_bytes = 60_000", "payload_bytes = 10_000"),
    ];
    let scenario = scenario("eo-100.toml", &less);
    let one = fly(&scenario, 3, 1);
    let three = fly(&scenario, 3, 3);
    conserved(&one, "eo-100");
    assert_eq!((one.trace, one.sent), (three.trace, three.sent));
    assert_eq!(one.conservation, three.conservation);
    let series =
        |answer: &Answer| answer.craft.iter().map(|of| of.series.clone()).collect::<Vec<_>>();
    assert_eq!(series(&one), series(&three));
    assert_ne!(fly(&scenario, 4, 2).trace, one.trace);
}

#[test]
fn the_library_flies() {
    let payload = |bytes: &'static str| (bytes, "payload_bytes = 20_000");
    let flown = [
        (
            "geo-relay.toml",
            [("duration_s = 21_600", "duration_s = 900"), payload("payload_bytes = 200_000")],
        ),
        (
            "lunar.toml",
            [("duration_s = 172_800", "duration_s = 21_600"), payload("payload_bytes = 200_000")],
        ),
        (
            "mars.toml",
            [("duration_s = 259_200", "duration_s = 28_800"), payload("payload_bytes = 200_000")],
        ),
        (
            "handover-storm.toml",
            [("duration_s = 7_200", "duration_s = 300"), payload("payload_bytes = 200_000")],
        ),
        (
            "rainy-ka.toml",
            [("duration_s = 86_400", "duration_s = 14_400"), payload("payload_bytes = 100_000")],
        ),
    ];
    for (name, changes) in flown {
        let answer = fly(&scenario(name, &changes), 1, 1);
        conserved(&answer, name);
        let craft = &answer.craft[0];
        assert!(craft.capacity_bytes > 0 && !craft.contacts.is_empty(), "{name}");
        assert!(craft.series.iter().any(|sample| sample.rate_bps > 0.0), "{name}");
        // Nothing is faster than light.
        let flight_s = match name {
            "mars.toml" => 747.0,
            "lunar.toml" => 1.28,
            _ => 0.0,
        };
        assert!(answer.latency_s(0.0).unwrap() >= flight_s, "{name}");
    }
}

#[test]
fn recorded_elements_fly() {
    if data::orbit("oneweb_tle.txt").is_none() {
        return;
    }
    let less =
        [("elements_file = \"oneweb_tle.txt\"", "elements_file = \"oneweb_tle.txt\"\ncount = 3")];
    let answer = fly(&scenario("oneweb.toml", &less), 1, 2);
    assert_eq!(answer.craft.len(), 3);
    conserved(&answer, "oneweb");
    assert!(answer.craft.iter().all(|craft| craft.ground_track.len() > 100));
}

#[test]
fn mistakes_in_scenarios_say_where_and_what_to_do() {
    let text = std::fs::read_to_string("scenarios/geo-relay.toml").unwrap();
    let error = |from: &str, to: &str| {
        assert!(text.contains(from));
        Scenario::parse("mine.toml", &text.replace(from, to)).unwrap_err().to_string()
    };
    assert_eq!(
        error("up_bps = 500e3", "up_bsp = 500e3"),
        "mine.toml:9: unknown key `up_bsp`; did you mean `up_bps`?"
    );
    assert_eq!(error("loss = 0.001", "loss = 1.5"), "mine.toml: link.loss = 1.5: 0 to 1");
    assert!(error("\"geo\"", "\"gao\"").contains("one of leo, geo, lunar, deep"));
    assert!(error("2026-03-01T00:00:00Z", "tomorrow").contains("a time as"));
    assert!(error("fixed = { range_km = 83_000 }", "").contains("nothing to talk to"));
    assert!(error("down_bps = 20e6", "down_bps = -1.0").contains("link.down_bps"));
    assert!(error("packet_bytes = 400", "sensors = true").contains("needs an orbit"));
    let orbitless = error(
        "fixed = { range_km = 83_000 }",
        "[[site]]\nname = \"x\"\nlatitude_deg = 91.0\nlongitude_deg = 0.0",
    );
    assert!(orbitless.contains("latitude_deg = 91: -90 to 90"), "{orbitless}");
}
