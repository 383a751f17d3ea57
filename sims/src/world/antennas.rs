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

/// What a run says that was ended before it began.
pub const STOPPED: &str = "stopped before anything was flown";
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
    /// What each antenna is to do.
    pub duties: Vec<Duty>,
    /// The passes of each spacecraft, over all sites.
    pub passes: Vec<Vec<PlannedPass>>,
}

/// A pass, and whether any of it is heard; seconds since the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlannedPass {
    /// When it begins.
    pub rise_s: f64,
    /// When it ends.
    pub set_s: f64,
    /// Whether an antenna hears any of it.
    pub served: bool,
}

/// Passes that began by a time, and the seconds of them until then; the same of those that no
/// antenna hears.
pub fn passes_until(passes: &[PlannedPass], until_s: f64) -> [(u64, f64); 2] {
    let sum = |(count, seconds): (u64, f64), of: &PlannedPass| {
        (count + 1, seconds + of.set_s.min(until_s) - of.rise_s)
    };
    let begun = || passes.iter().filter(|of| of.rise_s < until_s);
    [begun().fold((0, 0.0), sum), begun().filter(|of| !of.served).fold((0, 0.0), sum)]
}

/// What an antenna is to do.
#[derive(Clone, Debug)]
pub struct Duty {
    site: usize,
    number: usize,
    /// Its work before a contact and behind one, seconds.
    work_s: (f64, f64),
    /// From when to when it hears somebody, seconds since the start.
    contacts: Vec<(f64, f64)>,
}

impl Duty {
    /// What of it is done by a time.
    pub fn until(&self, until_s: f64) -> AntennaAnswer {
        let Self { site, number, work_s: (before_s, behind_s), contacts } = self;
        let mut answer = AntennaAnswer { site: *site, number: *number, ..Default::default() };
        let within = |from_s: f64, to_s: f64| (to_s.min(until_s) - from_s.max(0.0)).max(0.0);
        for (from_s, to_s) in contacts {
            answer.contacts += u64::from(*from_s < until_s);
            answer.contact_s += within(*from_s, *to_s);
            answer.busy_s += within(from_s - before_s, to_s + behind_s);
        }
        answer
    }
}

/// Gives the antennas of all sites to spacecraft, from one instant to another.
///
/// # Errors
/// Elements that can't be flown so far, more contacts to choose among than there is time for, or that
/// it was `stopped`.
pub fn give(
    (sites, wanting): (&[Antennas], &[Wanting<'_>]),
    plan: &PlanSettings,
    (from, to): (Tai, Tai),
    lock_ns: i64,
    stopped: &dyn Fn() -> bool,
) -> anyhow::Result<Given> {
    let names: Vec<String> =
        (0..wanting.len()).map(|number| format!("spacecraft {number}")).collect();
    let network = network(sites, &names, wanting, plan);
    let mut all = Vec::new();
    for (satellite, craft) in wanting.iter().enumerate() {
        anyhow::ensure!(!stopped(), STOPPED);
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
        anyhow::ensure!(!stopped(), STOPPED);
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
        let work_s = (of.setup_s, of.teardown_s);
        let idle = |number| Duty { site, number, work_s, contacts: Vec::new() };
        given.duties.extend((1..=of.count).map(idle));
    }
    let since = |at: Tai| at.since(from) as f64 / SECOND_NS;
    for id in chosen {
        let of = &contacts[*id].candidate;
        let pass = &sky.windows()[of.pass];
        let site = &sites[pass.site];
        let (rise, set) = (Tai(of.from), Tai(of.to));
        served[of.pass] = true;
        let antenna = &mut given.duties[of.antenna];
        antenna.contacts.push((since(rise), since(set)));
        let number = antenna.number;
        let craft = &wanting[of.satellite];
        let station = &site.station.0;
        if rise.plus(lock_ns) < set {
            let window = Window::of_pass(craft.orbit, (pass.site, station), &pass.pass)?;
            windows[of.satellite].push(window.planned(number, (rise, set), lock_ns));
        }
    }
    given.windows = windows.into_iter().map(Windows::of).collect();
    given.passes = vec![Vec::new(); wanting.len()];
    for (pass, served) in sky.windows().iter().zip(served) {
        let (rise_s, set_s) = (since(pass.pass.rise.max(from)), since(pass.pass.set.min(to)));
        given.passes[pass.satellite].push(PlannedPass { rise_s, set_s, served });
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orbit::{earth::Geodetic, fleet::MeanElements};

    const START: Tai = Tai(1_772_323_237_000_000_000);
    const DAY: i64 = 86_400_000_000_000;
    const DAY_S: f64 = 86_400.0;

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
        let span = (START, START.plus(DAY));
        give((&[site], &wanting), &plan, span, 5_000_000_000, &|| false).unwrap()
    }

    /// Passes of all, and those that are not served.
    fn passes(given: &Given, until_s: f64) -> [u64; 2] {
        let sum =
            |at: usize| given.passes.iter().map(|of| passes_until(of, until_s)[at].0).sum::<u64>();
        [sum(0), sum(1)]
    }

    #[test]
    fn what_is_told_of_a_part_is_of_that_part_alone() {
        let given = give_to(6, 1, Rule::ByValue);
        let quarters = [1.0, 2.0, 3.0, 4.0].map(|part| DAY_S / 4.0 * part);
        let told = quarters.map(|until_s| {
            let [all, unserved] = passes(&given, until_s);
            let duty = given.duties[0].until(until_s);
            assert!(unserved <= all && duty.busy_s <= until_s && duty.contact_s <= duty.busy_s);
            (all, unserved, duty.contacts)
        });
        let [first, .., last] = told;
        assert!(first.0 > 0 && first.0 * 3 < last.0 && first.1 * 2 < last.1, "{told:?}");
        assert!(told.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].2 < pair[1].2));
        assert_eq!(passes(&given, 0.0), [0, 0]);
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
            let heard: u64 = given.duties.iter().map(|of| of.until(DAY_S).contacts).sum();
            assert_eq!(heard, all.len() as u64);
            let [passes, unserved] = passes(&given, DAY_S);
            // Six in a row over two antennas: some go without, and each pass is served or is not.
            assert!(unserved > 0 && heard + unserved >= passes, "{rule:?}");
        }
    }

    #[test]
    fn more_antennas_leave_less_unserved_and_a_plan_by_value_never_hears_less() {
        let seconds =
            |given: &Given| given.duties.iter().map(|of| of.until(DAY_S).contact_s).sum::<f64>();
        let [few, many] = [1, 6].map(|antennas| give_to(6, antennas, Rule::ByValue));
        assert!(seconds(&many) > 1.5 * seconds(&few));
        assert_eq!(passes(&many, DAY_S)[1], 0);
        assert!(seconds(&few) > seconds(&give_to(6, 1, Rule::FirstCome)));
    }
}
