//! Learns the limits of SKY-7's channels from quiet generated days, and flies other days by them.
//!
//! `cargo run --release -p tests --example telemetry_baseline -- [--write]` flies the days of
//! `days.toml`: the quiet ones teach, the others only judge. `--write` puts the limits into
//! `missions/sky-7/thresholds/`, signed with the published development key. The days by which the
//! value of the edge is measured are none of them.

use anyhow::Context;
use codecs::{
    mission::{Definition, Plans},
    package::{Digest, Trust},
    time::Tai,
};
use onboard::models::{Task, Thresholds, thresholds::Origin};
use onboard::pipeline::Latch;
use onboard::score::{
    Baseline, Score, TelemetryScorer, TelemetrySettings,
    baseline::{Limits, Persistence},
    learn::Learner,
};
use onboard_model::{Package, Runtime, Session};
use serde::Deserialize;
use sims::orbit::{ElementSet, elements};
use sims::spacecraft::faults::{Broken, Faults};
use sims::spacecraft::{STEPS_PER_S, Spacecraft, packets::IMAGER, truth::GRACE_S};
use std::{collections::BTreeMap, path::Path};

const MODEL: &str = "telemetry-anomaly";
/// Where the limits go, and the phrase behind the published development key.
const FOLDER: &str = "missions/sky-7/thresholds";
const PHRASE: &[u8] = b"groundtrack development key: published, trust it with nothing";
/// Parameters of events, which no judge has a word on.
const EVENTS: [&str; 3] = ["EVENT_CODE", "EVENT_SEVERITY", "EVENT_VALUE"];
const SECOND_NS: i64 = 1_000_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    satellite: String,
    hours: u64,
    false_alarms_per_day: f64,
    persistence: Persistence,
    teaching: Vec<Day>,
    judging: Vec<Day>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Day {
    seed: u64,
    start: String,
    #[serde(default)]
    fault: Vec<Broken>,
}

fn main() -> anyhow::Result<()> {
    let plan: Plan = toml::from_str(include_str!("days.toml"))?;
    let mission = Definition::from_toml(include_str!("../../../missions/sky-7/mission.toml"))?;
    let flight = Flight { plans: mission.plans(), mission, satellite: plan.satellite.clone() };
    let manifest = session()?.manifest().clone();
    let mut learner = Learner::new(plan.persistence);
    for day in &plan.teaching {
        flight.fly(day, plan.hours, None, &mut |name, score| learner.take(name, score))?;
        learner.pause();
    }
    let mut baseline = learner.finish(plan.false_alarms_per_day);
    // Nothing is usual or unusual about the numbers of events.
    for name in EVENTS {
        baseline.channels.insert(name.to_owned(), Limits::default());
    }
    println!("{} days taught {} channels", plan.teaching.len(), baseline.channels.len());
    for day in &plan.judging {
        for (by, limits) in [("without", None), ("by these limits", Some(&baseline))] {
            let start = Tai::from_rfc3339(&day.start).context("days.toml: a start is no time")?;
            let mut told = Told::default();
            let mut take = |name: &str, score: &Score| told.take(name, score, start);
            flight.fly(day, plan.hours, limits, &mut take)?;
            told.print(day, by);
        }
    }
    if std::env::args().any(|argument| argument == "--write") {
        let days: Vec<String> =
            plan.teaching.iter().map(|day| format!("{} of seed {}", day.start, day.seed)).collect();
        let thresholds = Thresholds {
            format: 1,
            name: "sky-7".into(),
            version: "1.0.0".into(),
            task: Task::Telemetry,
            model: manifest.name,
            model_version: manifest.version,
            parameters: BTreeMap::new(),
            baseline: Some(baseline),
            origin: Origin {
                learnt_from: format!("{} h generated from {}", plan.hours, days.join(", ")),
                false_alarms_per_day: plan.false_alarms_per_day,
            },
        };
        let (document, signature) = thresholds.signed(&Digest::of(PHRASE).0);
        let folder = tests::tidy::root().join(FOLDER);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("thresholds.json"), document)?;
        std::fs::write(folder.join("signature.json"), signature)?;
    }
    Ok(())
}

fn orbit(satellite: &str) -> anyhow::Result<ElementSet> {
    let path = tests::recorded("orbit/skyfield/tles.txt").context("the recorded elements")?;
    let mut orbits = elements::read(&std::fs::read_to_string(path)?)?.into_iter();
    orbits.find(|orbit| orbit.name() == satellite).context("days.toml: no such satellite")
}

fn session() -> anyhow::Result<Session> {
    let runtime = Runtime::find(None).context("`make setup` puts the runtime beside this")?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../onboard/model/packages");
    let trust = Trust::nobody().danger_accept_development_key();
    Ok(runtime.load(&Package::open(&folder.join(MODEL), &trust)?)?)
}

struct Flight {
    mission: Definition,
    plans: Plans,
    satellite: String,
}

impl Flight {
    /// Flies a day; every judgement is given out with the parameter's name.
    fn fly(
        &self,
        day: &Day,
        hours: u64,
        baseline: Option<&Baseline>,
        judged: &mut dyn FnMut(&str, &Score),
    ) -> anyhow::Result<()> {
        let start = Tai::from_rfc3339(&day.start).context("days.toml: a start is no time")?;
        let faults = day.fault.iter().map(|broken| broken.fault(start));
        let faults = faults.collect::<Result<_, _>>();
        let faults = Faults::new(faults.map_err(|wrong| anyhow::anyhow!("days.toml: {wrong}"))?);
        let orbit = orbit(&self.satellite)?;
        let mut craft = Spacecraft::new(orbit, start, day.seed, faults, Vec::new())?;
        let mut scorer = TelemetryScorer::new(Some(session()?), TelemetrySettings::default())?;
        scorer.set_baseline(baseline.cloned());
        let mut names = Vec::new();
        let mut channels = BTreeMap::new();
        let mut packets = Vec::new();
        for _ in 0..hours * 3600 * STEPS_PER_S {
            craft.step(&mut packets)?;
            for packet in packets.drain(..) {
                if u16::from_be_bytes([packet[0] & 7, packet[1]]) == IMAGER.0 {
                    continue;
                }
                let _ = self.plans.decode(&packet, &mut |sample| {
                    let channel = channels.entry(sample.parameter).or_insert_with(|| {
                        let parameter = self.mission.parameter(sample.parameter);
                        names.push(parameter.map(|of| of.name.to_string()).unwrap_or_default());
                        scorer.watch(&names[names.len() - 1])
                    });
                    if let Some(channel) = channel {
                        scorer.take(*channel, sample.time, sample.value);
                    }
                });
                scorer.judge(&mut |score| judged(&names[score.channel.0 as usize], &score));
            }
        }
        Ok(())
    }
}

/// Whether what is told at such a second may be of a fault.
fn includes(broken: &Broken, at_s: f64) -> bool {
    let end_s = broken.end_s.unwrap_or(f64::INFINITY);
    (broken.start_s..end_s + GRACE_S).contains(&at_s)
}

/// What a day was told of, as the flight tells it.
#[derive(Default)]
struct Told {
    latches: BTreeMap<String, Latch>,
    all: Vec<(f64, String)>,
}

impl Told {
    fn take(&mut self, name: &str, score: &Score, start: Tai) {
        if self.latches.entry(name.to_owned()).or_default().tells(score) {
            let why = score.judge.map_or("", |judge| judge.words());
            let at_s = score.time.since(start) as f64 / SECOND_NS as f64;
            self.all.push((at_s, format!("{name} {why}")));
        }
    }

    fn print(&self, day: &Day, by: &str) {
        let quiet = self.all.iter().filter(|(at, _)| !day.fault.iter().any(|of| includes(of, *at)));
        let false_alarms: Vec<&String> = quiet.map(|(_, name)| name).collect();
        let shown = &false_alarms[..false_alarms.len().min(12)];
        println!(
            "seed {}, {by}: {} told, {} false {shown:?}",
            day.seed,
            self.all.len(),
            false_alarms.len()
        );
        for fault in &day.fault {
            let during = self.all.iter().filter(|(at, _)| includes(fault, *at));
            let mut first: BTreeMap<&str, f64> = BTreeMap::new();
            during.for_each(|(at, name)| {
                first.entry(name).or_insert(at - fault.start_s);
            });
            println!("  {} {}: {first:.0?}", fault.kind, fault.part);
        }
    }
}
