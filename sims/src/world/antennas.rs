//! Antennas that spacecraft compete for: who is heard where, and when, settled before anything flies.
//!
//! ```text
//! passes of all spacecraft ─► contacts that may be ─► by value, or first come ─► windows of each
//! ```

use anyhow::Context as _;
use codecs::time::Tai;
use serde::Deserialize;

use super::{
    answer::AntennaAnswer,
    legs::{Window, Windows},
};
use crate::{
    contact::passes,
    orbit::{ElementSet, Station},
    plan::{
        Network, Problem,
        mount::{Mount, Pointing},
        network::{Craft, Dish, Site},
        problem::Antenna,
        solve,
        windows::{Contact, MAX_CANDIDATES, Sky, Window as Pass},
    },
};

const SECOND_NS: f64 = 1e9;
const DAY_NS: f64 = 86_400.0 * SECOND_NS;

/// How contacts are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Rule {
    /// As `orbitsim plan` does: what is worth most together.
    #[default]
    #[serde(rename = "by value")]
    ByValue,
    /// To whoever rises first while an antenna is free.
    #[serde(rename = "first come")]
    FirstCome,
}

/// The plan of a scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlanSettings {
    /// Who is heard.
    pub rule: Rule,
    /// Seconds of contact that each spacecraft needs a day; all that it can get where none is given.
    pub need_s_day: Option<f64>,
    /// Share of the worth that a second beyond the need has.
    pub surplus: f64,
    /// Shorter contacts are not planned, seconds.
    pub min_contact_s: f64,
}

impl Default for PlanSettings {
    fn default() -> Self {
        Self { rule: Rule::ByValue, need_s_day: None, surplus: 0.1, min_contact_s: 60.0 }
    }
}

/// The antennas of a site.
#[derive(Clone, Debug)]
pub struct Antennas {
    /// Where they stand, and the elevation below which nothing passes, degrees.
    pub station: (Station, f64),
    /// How many.
    pub count: usize,
    /// From the start of work to the first bit, seconds.
    pub setup_s: f64,
    /// From the last bit to the end of work, seconds.
    pub teardown_s: f64,
}

/// A spacecraft that wants to be heard.
pub struct Wanting<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its orbit.
    pub orbit: &'a ElementSet,
    /// Worth of a second of contact.
    pub value: f64,
}

/// What was given to whom.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The contacts of each spacecraft.
    pub windows: Vec<Windows>,
    /// What each antenna does.
    pub antennas: Vec<AntennaAnswer>,
    /// Passes of each spacecraft that no antenna hears, and their seconds.
    pub unserved: Vec<(u64, f64)>,
    /// Passes that there are, and their seconds.
    pub passes: (u64, f64),
}

/// Gives the antennas of all sites to spacecraft, from one instant to another.
///
/// # Errors
/// Elements that can't be flown so far, or more contacts to choose among than there is time for.
pub fn give(
    sites: &[Antennas],
    wanting: &[Wanting<'_>],
    plan: &PlanSettings,
    (from, to): (Tai, Tai),
    lock_ns: i64,
) -> anyhow::Result<Given> {
    let names: Vec<String> =
        (0..wanting.len()).map(|number| format!("spacecraft {number}")).collect();
    let network = network(sites, &names, wanting, plan);
    let mut all = Vec::new();
    for (satellite, craft) in wanting.iter().enumerate() {
        for (site, of) in sites.iter().enumerate() {
            let (station, mask_deg) = &of.station;
            let passes = passes(craft.orbit, station, from, to, *mask_deg)
                .with_context(|| format!("spacecraft {}", craft.name))?;
            for pass in passes {
                let at = |time| pointing(station, craft.orbit, time);
                let (rises, sets) = (at(pass.rise), at(pass.set));
                all.push(Pass { satellite, site, pass, rises, sets });
            }
        }
    }
    let sky = Sky::new(&network, &names, all, from, to);
    let mut contacts: Vec<Contact> = Vec::new();
    for (satellite, craft) in wanting.iter().enumerate() {
        let look = |site: usize, time| {
            sites
                .get(site)
                .map_or_else(Pointing::default, |of| pointing(&of.station.0, craft.orbit, time))
        };
        contacts.extend(sky.contacts(satellite, look));
    }
    anyhow::ensure!(
        contacts.len() <= MAX_CANDIDATES,
        "{} possible contacts are more than {MAX_CANDIDATES}: fly less time or fewer spacecraft",
        contacts.len()
    );
    let days = to.since(from) as f64 / DAY_NS;
    let problem = Problem {
        antennas: sky.antennas(),
        demands: names.iter().map(|name| network.craft(name).demand(days)).collect(),
        candidates: contacts.iter().map(|of| of.candidate).collect(),
    };
    let mut chosen = match plan.rule {
        Rule::ByValue => solve(&problem).chosen,
        Rule::FirstCome => first_come(&problem, &contacts),
    };
    chosen.sort_by_key(|id| (contacts[*id].candidate.from, *id));
    told(sites, wanting, (&sky, &contacts, &chosen), (from, to), lock_ns)
}

fn network(
    sites: &[Antennas],
    names: &[String],
    wanting: &[Wanting<'_>],
    plan: &PlanSettings,
) -> Network {
    let mut network = Network::default();
    for of in sites {
        let gear = Antenna {
            setup_ns: (of.setup_s * SECOND_NS) as i64,
            teardown_ns: (of.teardown_s * SECOND_NS) as i64,
            mount: Mount::Free,
        };
        let dish = |number: usize| Dish {
            name: (number + 1).to_string(),
            gear,
            rate_bps: None,
            spacecraft: None,
        };
        let (station, min_elevation_deg) = of.station.clone();
        let antennas = (0..of.count).map(dish).collect();
        network.sites.push(Site { station, min_elevation_deg, antennas });
    }
    for (name, craft) in names.iter().zip(wanting) {
        let wants = Craft {
            value: craft.value,
            need_s_day: plan.need_s_day,
            surplus: plan.surplus,
            min_contact_s: plan.min_contact_s,
            ..network.defaults.clone()
        };
        network.spacecraft.insert(name.clone(), wants);
    }
    network
}

fn pointing(station: &Station, orbit: &ElementSet, at: Tai) -> Pointing {
    station.look_at(orbit, at).map_or_else(
        |_| Pointing::default(),
        |look| Pointing { azimuth_deg: look.azimuth_deg, elevation_deg: look.elevation_deg },
    )
}

/// Whole passes in order of rise, each to the first antenna that is free, where one is.
fn first_come(problem: &Problem, contacts: &[Contact]) -> Vec<usize> {
    let whole = contacts.iter().enumerate().filter(|(_, of)| !of.cut).map(|(id, _)| id);
    let mut order: Vec<usize> = whole.collect();
    order.sort_by_key(|id| (problem.candidates[*id].from, *id));
    let mut last_of_antenna = vec![None; problem.antennas.len()];
    let mut last_of_craft = vec![None; problem.demands.len()];
    let mut chosen = Vec::new();
    for id in order {
        let of = &problem.candidates[id];
        let before = |last: &Option<usize>| last.map(|last| &problem.candidates[last]);
        let free = before(&last_of_antenna[of.antenna]).is_none_or(|at| problem.follows(at, of));
        let wants = before(&last_of_craft[of.satellite]).is_none_or(|at| problem.agree(at, of));
        if free && wants {
            last_of_antenna[of.antenna] = Some(id);
            last_of_craft[of.satellite] = Some(id);
            chosen.push(id);
        }
    }
    chosen
}

/// The plan as spacecraft fly it, and as people ask about it.
fn told(
    sites: &[Antennas],
    wanting: &[Wanting<'_>],
    (sky, contacts, chosen): (&Sky<'_>, &[Contact], &[usize]),
    (from, to): (Tai, Tai),
    lock_ns: i64,
) -> anyhow::Result<Given> {
    let mut given = Given::default();
    let mut windows: Vec<Vec<Window>> = vec![Vec::new(); wanting.len()];
    let mut served = vec![false; sky.windows().len()];
    for (site, of) in sites.iter().enumerate() {
        given.antennas.extend((1..=of.count).map(|number| AntennaAnswer {
            site,
            number,
            ..AntennaAnswer::default()
        }));
    }
    for id in chosen {
        let of = &contacts[*id].candidate;
        let pass = &sky.windows()[of.pass];
        let site = &sites[pass.site];
        let (rise, set) = (Tai(of.from), Tai(of.to));
        served[of.pass] = true;
        let antenna = &mut given.antennas[of.antenna];
        antenna.contacts += 1;
        let seconds = set.since(rise) as f64 / SECOND_NS;
        antenna.contact_s += seconds;
        antenna.busy_s += seconds + site.setup_s + site.teardown_s;
        let number = antenna.number;
        let craft = &wanting[of.satellite];
        let station = &site.station.0;
        if rise.plus(lock_ns) < set {
            let window = Window::of_pass(craft.orbit, (pass.site, station), &pass.pass)?;
            windows[of.satellite].push(window.planned(number, (rise, set), lock_ns));
        }
    }
    given.windows = windows.into_iter().map(Windows::of).collect();
    given.unserved = vec![(0, 0.0); wanting.len()];
    for (pass, served) in sky.windows().iter().zip(served) {
        let seconds = pass.pass.set.min(to).since(pass.pass.rise.max(from)) as f64 / SECOND_NS;
        given.passes.0 += 1;
        given.passes.1 += seconds;
        if !served {
            let (count, sum) = &mut given.unserved[pass.satellite];
            (*count, *sum) = (*count + 1, *sum + seconds);
        }
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orbit::{earth::Geodetic, fleet::MeanElements};

    const START: Tai = Tai(1_772_323_237_000_000_000);
    const DAY: i64 = 86_400_000_000_000;

    fn fleet(count: usize) -> Vec<ElementSet> {
        let one = |number: usize| {
            let mean = MeanElements {
                inclination: 1.7,
                node: 0.02 * number as f64,
                eccentricity: 1e-4,
                argument: 0.0,
                anomaly: 0.05 * number as f64,
                motion: 0.0659,
                drag: 1e-5,
            };
            ElementSet::from_mean("eo", START, &mean).unwrap()
        };
        (0..count).map(one).collect()
    }

    fn give_to(count: usize, antennas: usize, rule: Rule) -> Given {
        let orbits = fleet(count);
        let wanting: Vec<Wanting<'_>> =
            orbits.iter().map(|orbit| Wanting { name: "eo", orbit, value: 1.0 }).collect();
        let place = Geodetic { latitude_deg: 78.2, longitude_deg: 15.4, height_m: 450.0 };
        let station = (Station::new("Svalbard", place), 5.0);
        let site = Antennas { station, count: antennas, setup_s: 60.0, teardown_s: 30.0 };
        let plan = PlanSettings { rule, ..PlanSettings::default() };
        give(&[site], &wanting, &plan, (START, START.plus(DAY)), 5_000_000_000).unwrap()
    }

    #[test]
    fn an_antenna_hears_one_at_a_time_with_room_for_its_work_between() {
        for rule in [Rule::ByValue, Rule::FirstCome] {
            let given = give_to(6, 2, rule);
            let mut all: Vec<&Window> = given.windows.iter().flat_map(Windows::iter).collect();
            all.sort_by_key(|of| of.rise);
            for antenna in 1..=2 {
                let of = all.iter().filter(|of| of.antenna == Some(antenna));
                let of: Vec<&&Window> = of.collect();
                assert!(of.len() > 10, "{rule:?}");
                let apart = |pair: &[&&Window]| pair[1].rise.since(pair[0].to) >= 90_000_000_000;
                assert!(of.windows(2).all(apart), "{rule:?}");
            }
            let heard: u64 = given.antennas.iter().map(|of| of.contacts).sum();
            assert_eq!(heard, all.len() as u64);
            let unserved: u64 = given.unserved.iter().map(|of| of.0).sum();
            // Six in a row over two antennas: some go without, and each pass is served or is not.
            assert!(unserved > 0 && heard + unserved >= given.passes.0, "{rule:?}");
        }
    }

    #[test]
    fn more_antennas_leave_less_unserved_and_a_plan_by_value_never_hears_less() {
        let seconds = |given: &Given| given.antennas.iter().map(|of| of.contact_s).sum::<f64>();
        let [few, many] = [1, 6].map(|antennas| give_to(6, antennas, Rule::ByValue));
        assert!(seconds(&many) > 1.5 * seconds(&few));
        assert_eq!(many.unserved.iter().map(|of| of.0).sum::<u64>(), 0);
        assert!(seconds(&few) > seconds(&give_to(6, 1, Rule::FirstCome)));
    }
}
