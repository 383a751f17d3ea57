//! Worlds in simulated time: what the real code brings down, what it holds, and that a seed fixes
//! everything.

mod data;

use std::{
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use sims::world::{
    answer::Answer, island::Island, run::run, scenario::Scenario, shell::fleet::Progress,
};

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
    for folder in ["../missions/links", "scenarios/links"] {
        let link = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(name);
        if link.exists() {
            return Ok(std::fs::read_to_string(link)?);
        }
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
    accounted(answer, name);
}

/// Every byte that sensors made is somewhere.
fn accounted(answer: &Answer, name: &str) {
    for craft in &answer.craft {
        let of = craft.sources;
        assert_eq!(of.made, craft.packet_bytes, "{name}");
        let sum: u64 = of.places().iter().map(|(_, bytes)| bytes).sum();
        assert_eq!(of.made, sum, "{name}, {}: {of:?}", craft.name);
    }
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
fn what_comes_at_the_instant_of_a_deadline_is_in_time() {
    let text = "name = \"tie\"\nstart = \"2026-01-01T00:00:00Z\"\nduration_s = 30\n\
                [link]\ndown_bps = 1e6\nup_bps = 1e6\nfixed = { range_km = 900 }\n\
                [[spacecraft]]\nname = \"A\"\n[telemetry]\nevery_s = 0.5\n[store]\n\
                flight = '''\n[squeeze]\nflush_ms = 2000\nflush_away_ms = 2000\n'''\n";
    let answer = fly(&Scenario::parse("tie.toml", text).unwrap(), 1, 1);
    let telemetry = answer.craft[0].latency.iter().filter(|of| of.bytes > 200);
    let cut: Vec<f64> = telemetry.map(|of| of.captured_s).collect();
    assert!(cut.len() > 8, "{cut:?}");
    // The fifth packet comes two seconds after the first: the flight's timers are never early.
    assert!(cut.windows(2).all(|pair| pair[1] - pair[0] == 2.5), "{cut:?}");
}

#[test]
fn what_a_second_made_is_in_open_blocks_and_in_units() {
    let answer = fly(&Scenario { duration_s: 1, ..scenario("leo-quic.toml", &[]) }, 1, 1);
    accounted(&answer, "a second");
    let of = answer.craft[0].sources;
    assert!(of.made > 0 && of.open > 0 && of.open + of.waiting == of.made, "{of:?}");
}

/// A spacecraft that makes more than its store holds, and that hears nobody for hours.
const CROWDED: &str = "name = \"crowded\"\nstart = \"2026-01-01T00:00:00Z\"\nduration_s = 1_200\n\
    [link]\ndown_bps = 1e6\nup_bps = 1e6\n\
    fixed = { range_km = 900, contact_s = 60, period_s = 86_400 }\n\
    [[spacecraft]]\nname = \"A\"\n\
    [telemetry]\nevery_s = 10\npayload_bytes = 40_000\npayload_every_s = 5\n\
    [store]\ncapacity_bytes = 9_437_184\nsegment_bytes = 1_048_576\nflight = '''\n\
    [squeeze]\nlevel = \"fast\"\n'''\n";

#[test]
fn what_was_given_up_for_room_and_what_was_lost_with_the_power_is_told() {
    let crowded = Scenario::parse("crowded.toml", CROWDED).unwrap();
    let answer = fly(&crowded, 1, 1);
    accounted(&answer, "crowded");
    let of = answer.craft[0].sources;
    assert!(of.given_up > 100_000 && of.waiting > 1_000_000 && of.archived > 0, "{of:?}");
    let cut = CROWDED.replace("= 40_000", "= 400") + "[faults]\npower_cuts_per_day = 1_000\n";
    let answer = fly(&Scenario::parse("cut.toml", &cut).unwrap(), 1, 1);
    accounted(&answer, "cut");
    let of = answer.craft[0].sources;
    assert!(of.lost > 0 && of.not_taken > 0, "{of:?}");
}

#[test]
fn frames_that_nobody_hears_do_not_depend_on_where_a_run_ends() {
    let less = [("= 100_000", "= 5_000"), ("payload_every_s = 60", "payload_every_s = 600")];
    let scenario = scenario("leo-rf.toml", &less);
    // Both end between the third contact and the fourth.
    let [short, long] = [8_100, 9_300].map(|duration_s| {
        let answer = fly(&Scenario { duration_s, ..scenario.clone() }, 1, 1);
        conserved(&answer, "leo-rf");
        let craft = answer.craft.into_iter().next().unwrap();
        assert_eq!(craft.contacts.len(), 3);
        assert!(craft.contacts[2].set_s + 60.0 < duration_s as f64);
        (craft.frames, craft.frames_unheard)
    });
    assert!(short.1 > 0 && short.0 > short.1, "{short:?}");
    assert_eq!(short, long);
}

#[test]
fn a_run_that_is_stopped_tells_what_was_flown_of_every_figure() {
    let less = [
        ("planes = 10, per_plane = 10", "planes = 1, per_plane = 4"),
        ("duration_s = 21_600", "duration_s = 5_400"),
        ("every_s = 10\n", "every_s = 60\n"),
        ("payload_every_s = 30", "payload_every_s = 0"),
    ];
    let scenario = scenario("eo-100.toml", &less);
    let whole = fly(&scenario, 1, 2);
    let progress = Progress::default();
    let stopped = std::thread::scope(|scope| {
        scope.spawn(|| {
            while progress.over.load(Ordering::Relaxed) < 1 {
                std::thread::yield_now();
            }
            progress.stop.store(true, Ordering::Relaxed);
        });
        run(&scenario, 1, 1, &recorded, &progress).unwrap()
    });
    assert!(stopped.is_part() && !stopped.craft.is_empty());
    conserved(&stopped, "stopped");
    for (part, all) in stopped.craft.iter().zip(&whole.craft) {
        assert!(part.passes <= all.passes && part.unserved <= part.passes, "{}", part.name);
        assert!(part.passes_s <= part.flown_s * scenario.site.len() as f64);
        assert!(part.contacts.iter().all(|of| of.set_s <= part.flown_s), "{}", part.name);
    }
    let flown_s = stopped.flown_s();
    assert!(stopped.antennas.iter().all(|of| of.busy_s <= flown_s));
    let passes = |answer: &Answer| answer.craft.iter().map(|of| of.passes).sum::<u64>();
    assert!(passes(&stopped) < passes(&whole) && passes(&whole) > 0);
}

#[test]
fn a_flight_that_is_to_stop_handles_no_further_event() {
    let (mut islands, _) = scenario("leo-quic.toml", &[]).islands(1, &recorded).unwrap();
    let mut island = Island::new(islands.remove(0)).unwrap();
    island.fly(60_000_000_000, &AtomicBool::new(false)).unwrap();
    let flown_ns = island.now_ns();
    assert_eq!(flown_ns, 60_000_000_000);
    island.fly(600_000_000_000, &AtomicBool::new(true)).unwrap();
    assert_eq!(island.now_ns(), flown_ns);
    let craft = island.finish().unwrap().craft;
    assert!(craft.flown_s == 60.0 && craft.packets > 0);
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
    // A first contact tells a seed's frames from another's.
    let short = Scenario { duration_s: 2_400, ..scenario };
    let [one, again, other] = [1, 1, 2].map(|seed| fly(&short, seed, 1));
    assert!(one.craft[0].carried_bytes > 0);
    assert_eq!((one.trace, one.sent), (again.trace, again.sent));
    assert_ne!(one.trace, other.trace);
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
    // Units go again whose frames were hit, and each is archived once.
    let craft = &answer.craft[0];
    let heard = craft.frames - craft.frames_unheard;
    let share = craft.frames_lost as f64 / heard as f64;
    assert!((0.05..0.2).contains(&share), "{share} of {heard}");
    assert!(craft.object_bytes > craft.delivered_bytes);
}

/// How faulted voyages are flown: `VOYAGE_DAYS` flies as many with the full load, `VOYAGE_SEED`
/// one.
struct Voyages {
    name: &'static str,
    /// Days over both bearers.
    days: u64,
    seed: Option<u64>,
}

/// The voyage with a radio and an edge in the place of a connection.
const BY_RADIO: [(&str, &str); 4] = [
    ("[downlink]\nsleep = true\ndoubt_contacts = 3\n", ""),
    ("profile = \"leo\"", "bearer = \"rf\"\nagain_s = 300\nqueue_ms = 200"),
    ("up_bps = 100e3", "up_bps = 16e3"),
    ("[faults]", "[faults]\nedge_crashes_per_day = 6"),
];

impl Voyages {
    fn wanted() -> Self {
        let of = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
        let days = of("VOYAGE_DAYS");
        let name = if days.is_some() { "voyage" } else { "voyage-light" };
        Self { name, days: days.unwrap_or(200), seed: of("VOYAGE_SEED") }
    }

    /// Of all days one in five is flown by radio.
    fn by_radio(&self) -> u64 {
        self.days.div_ceil(5)
    }

    /// Flies so many days side by side, and holds each to its custody.
    fn fly(&self, days: u64, changes: &[(&str, &str)], test: &str) -> Vec<Answer> {
        let scenario = scenario(&format!("{}.toml", self.name), changes);
        let seeds = self.seed.map_or(1..=days, |seed| seed..=seed);
        let next = AtomicU64::new(*seeds.start());
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let fly = || -> Vec<Answer> {
            std::iter::from_fn(|| {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                seeds.contains(&seed).then(|| fly(&scenario, seed, 1))
            })
            .collect()
        };
        let mut answers: Vec<Answer> = std::thread::scope(|scope| {
            let flights: Vec<_> = (0..threads).map(|_| scope.spawn(fly)).collect();
            flights.into_iter().flat_map(|of| of.join().unwrap()).collect()
        });
        answers.sort_by_key(|answer| answer.seed);
        for answer in &answers {
            let of = &answer.conservation;
            let days = if self.name == "voyage" { "VOYAGE_DAYS=1 " } else { "" };
            assert!(
                of.broken.is_empty() && of.numbered == of.archived + of.held + of.voided + of.lost,
                "{of:#?}\n{:#?}\nto fly it again: {days}VOYAGE_SEED={} cargo nextest run -p sims \
                 --test worlds {test}",
                answer.faults,
                answer.seed,
            );
            accounted(answer, self.name);
        }
        told(self.name, &answers);
        answers
    }
}

/// What voyages came to, in a line; they are no voyages without faults and units.
fn told(name: &str, answers: &[Answer]) {
    let sum = |of: fn(&Answer) -> u64| answers.iter().map(of).sum::<u64>();
    let (days, faults) = (answers.len() as u64, sum(|of| of.faults.len() as u64));
    let archived = sum(|of| of.conservation.archived);
    println!(
        "{days} days of {name}: {faults} faults, {} units, {archived} archived, {} held, {} left \
         out, {} lost, {} contacts, {} connections",
        sum(|of| of.conservation.numbered),
        sum(|of| of.conservation.held),
        sum(|of| of.conservation.voided),
        sum(|of| of.conservation.lost),
        sum(|of| of.craft[0].contacts.len() as u64),
        sum(|of| of.craft[0].connections),
    );
    assert!(faults > 10 * days && archived > 50 * days, "{faults} faults, {archived} archived");
}

/// Every fault, in every way that it comes.
const FAULTS: [&str; 15] = [
    "power cut (Drop)",
    "power cut (Torn)",
    "power cut (Reorder)",
    "power cut (Stale)",
    "power cut (Keep)",
    "station crash (Drop)",
    "station crash (Tear)",
    "station crash (Reorder)",
    "station's disk destroyed",
    "station's disk full",
    "store's medium takes nothing",
    "store's medium full but for",
    "spacecraft's clock",
    "station's clock",
    "nothing passes",
];

#[test]
fn faulted_voyages_lose_nothing_in_silence() {
    let voyages = Voyages::wanted();
    let days = voyages.days - voyages.by_radio();
    let answers = voyages.fly(days, &[], "voyages_lose");
    if days < 50 || voyages.seed.is_some() {
        return;
    }
    for kind in FAULTS {
        let came = |answer: &Answer| answer.faults.iter().any(|of| of.what.starts_with(kind));
        assert!(answers.iter().any(came), "no {kind} in {days} days");
    }
}

#[test]
fn faulted_voyages_by_radio_lose_nothing_in_silence() {
    let voyages = Voyages::wanted();
    voyages.fly(voyages.by_radio(), &BY_RADIO, "by_radio");
}

#[test]
fn media_that_lie_about_syncs_are_found_out() {
    let disk = ("[station]", "[station]\nsyncs_lie = true");
    let medium = ("[store]", "[store]\nsyncs_lie = true");
    for (lie, said) in [(disk, "gone after a crash"), (medium, "other bytes")] {
        let lying = scenario("voyage-light.toml", &[lie]);
        // A run that can't go on says so too.
        let flown = |seed| match run(&lying, seed, 1, &recorded, &Progress::default()) {
            Ok(answer) => answer.conservation.broken,
            Err(error) => vec![format!("{error:#}")],
        };
        let broken: Vec<String> = (1..=2).flat_map(flown).collect();
        assert!(broken.iter().any(|line| line.contains(said)), "{lie:?}: {broken:#?}");
    }
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
    // The flight software's own part is told by the line of the file that it stands in.
    let flight = |from: &str, to: &str| {
        let scenario = Scenario::parse("mine.toml", &text.replace(from, to)).unwrap();
        let error = run(&scenario, 1, 1, &recorded, &Progress::default()).unwrap_err();
        format!("{error:#}")
    };
    let level = text.lines().position(|line| line.starts_with("level")).unwrap() + 1;
    assert_eq!(
        flight("level = \"fast\"", "levl = \"fast\""),
        format!("mine.toml:{level}: unknown key `levl`; did you mean `level`?")
    );
    let own = error("[squeeze]\nlevel = \"fast\"", "[spacecraft]\nid = 3");
    assert!(own.starts_with("mine.toml: store.flight: leave [spacecraft] out"), "{own}");
}

#[test]
fn a_spacecraft_without_an_orbit_and_a_fleet_that_is_too_small_are_named_with_their_file() {
    let with = |spacecraft: &str| {
        let text = format!(
            "name = \"few\"\nstart = \"2026-03-01T00:00:00Z\"\nduration_s = 86_400\n[link]\n\
             down_bps = 1e6\nup_bps = 1e5\n[[site]]\nname = \"S\"\nlatitude_deg = 78\n\
             longitude_deg = 15\n[[spacecraft]]\nname = \"low\"\n{spacecraft}"
        );
        let scenario = Scenario::parse("few.toml", &text).unwrap();
        let error = run(&scenario, 1, 1, &recorded, &Progress::default()).unwrap_err();
        format!("{error:#}")
    };
    // Drag enough to fall within hours.
    let tle = "elements = '''\nFALLEN\n\
        1 25544U 98067A   26059.51782528  .90000000  00000-0  90000-1 0  2925\n\
        2 25544  51.6416 247.4627 0006703 130.5360 325.0288 16.42125391563535\n'''\n";
    let fallen = with(tle);
    assert!(fallen.starts_with("few.toml: spacecraft FALLEN has no orbit over the"), "{fallen}");
    assert!(fallen.contains("decayed"), "{fallen}");
    let few = with(&format!("count = 3\n{tle}"));
    assert_eq!(few, "few.toml: spacecraft \"low\": count = 3, and there is only 1 in its elements");
    let ring = "ring = { height_km = 600, inclination_deg = 60, planes = 2, per_plane = 2 }";
    let few = with(&format!("count = 5\n{ring}"));
    assert!(few.contains("count = 5, and there are only 4 in its ring"), "{few}");
}
