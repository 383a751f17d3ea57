//! Worlds in simulated time: what the real code brings down, what it holds, and that a seed fixes
//! everything.

mod data;

use sims::world::{answer::Answer, run::run, scenario::Scenario, shell::fleet::Progress};

/// A scenario of the library, its text changed here and there.
fn scenario(name: &str, changes: &[(&str, &str)]) -> Scenario {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name);
    let mut text = std::fs::read_to_string(&path).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{name} has no {from:?}");
        text = text.replace(from, to);
    }
    Scenario::parse(name, &text).unwrap()
}

fn recorded(name: &str) -> anyhow::Result<String> {
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

/// Days of faulted voyages that are flown here; `make test-long` flies more.
fn voyages() -> u64 {
    std::env::var("VOYAGE_DAYS").ok().and_then(|days| days.parse().ok()).unwrap_or(4)
}

fn voyage_seed() -> Option<u64> {
    std::env::var("VOYAGE_SEED").ok().and_then(|seed| seed.parse().ok())
}

#[test]
fn faulted_voyages_lose_nothing_in_silence() {
    let scenario = scenario("voyage.toml", &[]);
    let seeds = voyage_seed().map_or(1..=voyages(), |seed| seed..=seed);
    let (mut faults, mut archived) = (0, 0);
    for seed in seeds {
        let answer = fly(&scenario, seed, 1);
        let of = &answer.conservation;
        assert!(
            of.broken.is_empty() && of.numbered == of.archived + of.held + of.voided + of.lost,
            "{of:#?}\n{:#?}\nto fly it again: VOYAGE_SEED={seed} cargo nextest run -p sims \
             --test worlds faulted_voyages, or orbitsim run voyage --seed {seed}",
            answer.faults,
        );
        faults += answer.faults.len();
        archived += of.archived;
    }
    assert!(faults > 10 && archived > 100, "{faults} faults, {archived} archived");
}
