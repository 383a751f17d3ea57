//! A scenario flown: islands out, answers together.

use std::sync::atomic::Ordering;

use super::{
    answer::{Answer, Site},
    antennas::Given,
    conserve::Conservation,
    island::IslandAnswer,
    pools,
    scenario::{Files, Scenario},
    shell::fleet::{Progress, fly},
};
use crate::rng::mix;

/// Flies a scenario.
///
/// # Errors
/// What the scenario names and is not there or can't be flown, or a defect of the code under it.
pub fn run(
    scenario: &Scenario,
    seed: u64,
    threads: usize,
    files: Files<'_>,
    progress: &Progress,
) -> anyhow::Result<Answer> {
    let stopped = || progress.stop.load(Ordering::Relaxed);
    let (islands, given) = scenario.settle(seed, files, &stopped)?;
    let spacecraft = islands.len();
    let answers = fly(islands, threads, progress)?;
    Ok(Answer { spacecraft, ..together(scenario, seed, answers, given) })
}

/// Puts answers together in the order of their spacecraft.
fn together(scenario: &Scenario, seed: u64, answers: Vec<IslandAnswer>, given: Given) -> Answer {
    let sites = scenario.site.iter().map(|site| Site {
        name: site.name.clone(),
        latitude_deg: Some(site.latitude_deg),
        longitude_deg: Some(site.longitude_deg),
    });
    let mut answer = Answer {
        scenario: scenario.name.clone(),
        seed,
        start_ns: scenario.start().0,
        duration_s: scenario.duration_s,
        spacecraft: answers.len(),
        sites: sites.collect(),
        craft: Vec::new(),
        conservation: Conservation::default(),
        trace: 0,
        sent: 0,
        faults: Vec::new(),
        jobs: None,
        antennas: Vec::new(),
    };
    if answer.sites.is_empty() {
        answer.sites.push(Site { name: "station".into(), latitude_deg: None, longitude_deg: None });
    }
    for island in answers {
        answer.trace = mix(answer.trace ^ island.trace);
        answer.sent += island.sent;
        answer.conservation.add(&island.conservation);
        answer.faults.extend(island.faults);
        answer.craft.push(island.craft);
    }
    let flown_s = answer.flown_s();
    answer.antennas = given.duties.iter().map(|duty| duty.until(flown_s)).collect();
    if let Some(jobs) = &scenario.jobs {
        let (start, lasts) = (scenario.start(), scenario.duration_s);
        let flown = pools::fly(jobs, &answer.craft, start, lasts, seed);
        answer.jobs = Some(flown.0);
        answer.faults.extend(flown.1);
    }
    answer
}
