//! `orbitsim plan`: which antenna hears which satellite, and when.

mod files;
mod rows;

use std::{collections::BTreeMap, fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail, ensure};
use clap::Args;
use codecs::time::Tai;

use self::rows::{Plan, Row};
use super::{
    calendar::calendar,
    share::{self, DAY_NS, instant},
};
use crate::{
    contact::sweep::{Grid, Track},
    orbit::{Satellite, Station},
    plan::{
        Network, Problem, Solution,
        mount::Pointing,
        solve,
        windows::{Contact, MAX_CANDIDATES, Sky, Window},
    },
};

/// Arguments of `plan`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    orbitsim plan --elements constellation.tle --network network.toml \\\n    \
    --from 2026-11-23T00:00:00Z --to 2026-11-24T00:00:00Z --out plans\n\n\
    network.toml holds the stations, their antennas, and what spacecraft want:\n  \
    [[station]]\n  \
    name = \"Svalbard\"\n  \
    latitude_deg = 78.23\n  \
    longitude_deg = 15.40\n  \
    height_m = 450\n  \
    [[station.antenna]]\n  \
    name = \"SG-1\"\n  \
    setup_s = 60\n  \
    [[spacecraft]]                # may be left out\n  \
    name = \"SKY-7\"\n  \
    need_s_day = 3600\n\
    Its other keys (mounts, rates, horizons, keyholes, who hears whom) are in docs/orbits.md.\n\n\
    `passes` lists what the sky offers; `plan` decides. With --out each spacecraft has two files:\n\
    plans/NAME.toml is the contact plan that the flight configuration names ([downlink] plan);\n\
    plans/NAME.json is the one that the station's names ([contacts] file): its contacts with\n\
    station, antenna, rate and round trip, elevation, range and rate every 10 s of them, the\n\
    ground track, and the site that hears most, for the page's map.")]
pub struct PlanArguments {
    /// Two-line elements, OMM (JSON, XML, CSV, key = value) or OEM (XML, key = value); may be given
    /// several times
    #[arg(long, value_name = "FILE", required = true)]
    elements: Vec<PathBuf>,
    /// Stations, their antennas and what spacecraft want (TOML; see below)
    #[arg(long, value_name = "FILE", required_unless_present = "stations")]
    network: Option<PathBuf>,
    /// A station with one antenna that needs no time between contacts; may be given several times
    #[arg(long = "station", value_name = "NAME,LAT,LON,HEIGHT_M", allow_hyphen_values = true)]
    stations: Vec<Station>,
    /// Least elevation of these stations, degrees
    #[arg(long, value_name = "DEGREES", default_value_t = 5.0, allow_hyphen_values = true)]
    min_elevation: f64,
    /// Earth orientation: finals2000A, EOP C04 or CSV of IERS; a table built in unless given
    #[arg(long, value_name = "FILE")]
    eop: Option<PathBuf>,
    /// Start, RFC 3339 in UTC
    #[arg(long, value_name = "TIME", value_parser = instant)]
    from: Tai,
    /// End, RFC 3339 in UTC
    #[arg(long, value_name = "TIME", value_parser = instant)]
    to: Tai,
    /// Write each spacecraft's plan there, as `onboard` and `groundstation` read it
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long, group = "format")]
    json: bool,
    /// Print comma-separated values
    #[arg(long, group = "format")]
    csv: bool,
    /// Print a calendar (RFC 5545)
    #[arg(long, group = "format")]
    ics: bool,
}

impl PlanArguments {
    /// Plans and prints.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        share::check_interval(self.from, self.to)?;
        let mask = self.min_elevation;
        ensure!(
            (-90.0..90.0).contains(&mask),
            "--min-elevation {mask} is not at least -90 and below 90"
        );
        let network = self.read_network()?;
        let sets = share::read_orbits(&self.elements)?;
        let names = self.names(&network, &sets)?;
        share::warn(&sets, self.from, self.to);
        let grid = share::grid(self.from, self.to, self.eop.as_deref())?;
        let windows = share::each(&sets, |at, set| windows(&network, &grid, at, set));
        let windows = windows.into_iter().flatten().collect();
        let sky = Sky::new(&network, &names, windows, self.from, self.to);
        if !sky.cuts() {
            eprintln!("passes are taken whole or not at all: there are too many to cut them");
        }
        let contacts: Vec<Contact> = share::each(&sets, |at, set| {
            let Some(grid) = grid.part(set) else { return Vec::new() };
            let track = Track::of(set, &grid);
            sky.contacts(at, |site, time| pointing(&network, site, &track, &grid, time))
        })
        .into_iter()
        .flatten()
        .collect();
        let count = contacts.len();
        ensure!(
            count <= MAX_CANDIDATES,
            "{count} possible contacts are more than {MAX_CANDIDATES}: ask for less time, or say \
             which antenna hears whom"
        );
        let days = self.to.since(self.from) as f64 / DAY_NS as f64;
        let problem = Problem {
            antennas: sky.antennas(),
            demands: names.iter().map(|name| network.craft(name).demand(days)).collect(),
            candidates: contacts.iter().map(|of| of.candidate).collect(),
        };
        let solution = solve(&problem);
        let plan = Plan::new(&network, &names, &sky, &contacts, &problem, &solution);
        if let Some(folder) = &self.out {
            files::write(folder, &plan, &network, &sets, &grid)?;
        }
        self.print(&plan)?;
        self.tell(&plan, &solution, sky.windows().len());
        Ok(ExitCode::SUCCESS)
    }

    fn read_network(&self) -> anyhow::Result<Network> {
        let mut network = match &self.network {
            Some(file) => {
                let name = file.display();
                let text = fs::read_to_string(file).with_context(|| format!("reading {name}"))?;
                Network::parse(&name.to_string(), &text)?
            }
            None => Network::default(),
        };
        for station in &self.stations {
            let known = network.sites.iter().any(|of| of.station.name == station.name);
            ensure!(!known, "--station {}: there is one of that name", station.name);
            network.add_station(station.clone(), self.min_elevation);
        }
        ensure!(
            !network.sites.is_empty(),
            "the network has no [[station]], and --station is absent"
        );
        Ok(network)
    }

    /// Names of the spacecraft, each its own.
    fn names(&self, network: &Network, sets: &[Satellite]) -> anyhow::Result<Vec<String>> {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for set in sets {
            *seen.entry(set.name()).or_default() += 1;
        }
        if let Some((name, count)) = seen.iter().find(|(_, count)| **count > 1) {
            bail!(
                "there are {count} orbits of {name}: keep the newest one, or a plan has the spacecraft \
                 at two places"
            );
        }
        let heard = network.sites.iter().flat_map(|of| &of.antennas);
        let heard = heard.flat_map(|of| of.spacecraft.iter().flatten());
        for name in network.spacecraft.keys().chain(heard) {
            ensure!(
                seen.contains_key(name.as_str()),
                "the network names spacecraft {name}, of which there is no orbit"
            );
        }
        Ok(sets.iter().map(|set| set.name().to_owned()).collect())
    }

    fn print(&self, plan: &Plan) -> anyhow::Result<()> {
        if self.json {
            say!("{}", serde_json::to_string_pretty(plan)?);
        } else if self.csv {
            say!("{}", rows::HEADER);
            for row in &plan.contacts {
                say!("{}", row.comma_separated());
            }
        } else if self.ics {
            let events = plan.contacts.iter().map(Row::event);
            say!("{}", calendar("orbitsim plan", events).trim_end());
        } else {
            plan.table()?;
        }
        Ok(())
    }

    fn tell(&self, plan: &Plan, solution: &Solution, passes: usize) {
        let short = plan.spacecraft.iter().filter(|of| of.met == Some(false)).count();
        let wanting = plan.spacecraft.iter().filter(|of| of.met.is_some()).count();
        let needs = match wanting {
            0 => String::new(),
            _ => format!("; {} of {wanting} needs are met", wanting - short),
        };
        eprintln!(
            "{} contacts of {passes} passes, worth {:.0}; no plan is worth more than {:.0} ({:.2} % \
             more){needs}",
            plan.contacts.len(),
            solution.worth,
            solution.bound,
            100.0 * (solution.bound / solution.worth.max(f64::MIN_POSITIVE) - 1.0).max(0.0),
        );
    }
}

fn pointing(network: &Network, site: usize, track: &Track, grid: &Grid, at: Tai) -> Pointing {
    let Some(state) = track.state_at(grid, at) else { return Pointing::default() };
    let look = network.sites[site].station.look(state);
    Pointing { azimuth_deg: look.azimuth_deg, elevation_deg: look.elevation_deg }
}

/// Passes of one satellite over all stations that can hear it.
fn windows(network: &Network, grid: &Grid, satellite: usize, set: &Satellite) -> Vec<Window> {
    let Some(grid) = grid.part(set) else { return Vec::new() };
    let grid = &*grid;
    let track = Track::of(set, grid);
    if let (Some(at), Satellite::Elements(_)) = (track.lost(grid), set) {
        eprintln!("warning: {} has no orbit from {at} on: decayed by these elements", set.name());
    }
    let mut found = Vec::new();
    for (site, of) in network.sites.iter().enumerate() {
        let hears = |only: &Option<_>| {
            only.as_ref()
                .is_none_or(|only: &std::collections::BTreeSet<String>| only.contains(set.name()))
        };
        if !of.antennas.iter().any(|dish| hears(&dish.spacecraft)) {
            continue;
        }
        let passes = track.passes(grid, &of.station, of.min_elevation_deg);
        found.extend(passes.into_iter().map(|pass| {
            let look = |at| pointing(network, site, &track, grid, at);
            Window { satellite, site, pass, rises: look(pass.rise), sets: look(pass.set) }
        }));
    }
    found
}
