//! From passes to contacts that may be planned: set-up within the plan, keyholes, and passes cut
//! where a neighbour's begins or ends.

use codecs::time::Tai;

use super::{
    mount::Pointing,
    network::{Craft, Dish, Network},
    problem::{Antenna, Candidate},
};
use crate::contact::Pass;

/// Cuts of one side of a pass, at most: those that take least of it.
const CUTS: usize = 3;
/// Passes times antennas beyond which none is cut: there are neighbours enough.
const CUTS_UP_TO: usize = 30_000;
/// Candidates beyond which a plan is refused.
pub const MAX_CANDIDATES: usize = 4_000_000;

/// Nanoseconds of a slew to or from a spacecraft that moves meanwhile: a second look where it will
/// be, the longer of both, and some to spare. Whether it is enough is for the solver to see.
fn meeting(slew: impl Fn(Tai) -> i64, at: Tai, sign: i64) -> i64 {
    const SPARE_NS: i64 = 500_000_000;
    let first = slew(at);
    if first == 0 { 0 } else { first.max(slew(at.plus(sign * first))) + SPARE_NS }
}

/// A pass of a spacecraft over a station.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Which spacecraft.
    pub satellite: usize,
    /// Which station.
    pub site: usize,
    /// When.
    pub pass: Pass,
    /// Where it rises.
    pub rises: Pointing,
    /// Where it sets.
    pub sets: Pointing,
}

/// A contact that may be planned, with what a plan says of it.
#[derive(Clone, Debug)]
pub struct Contact {
    /// For the solver.
    pub candidate: Candidate,
    /// Stretches in which the antenna can't follow.
    pub lost: Vec<(Tai, Tai)>,
    /// Whether it is only part of its pass.
    pub cut: bool,
}

/// All passes over a network, in an order in which neighbours are found.
pub struct Sky<'a> {
    network: &'a Network,
    names: &'a [String],
    windows: Vec<Window>,
    /// By station: windows by rise, and by set.
    rises: Vec<Vec<usize>>,
    sets: Vec<Vec<usize>>,
    of_satellite: Vec<Vec<usize>>,
    /// By station: the number of its first antenna.
    first_antenna: Vec<usize>,
    from: Tai,
    to: Tai,
    cuts: bool,
}

impl<'a> Sky<'a> {
    /// Sorts passes. `names` are the spacecraft's; a plan keeps all work within `from` and `to`.
    pub fn new(
        network: &'a Network,
        names: &'a [String],
        windows: Vec<Window>,
        from: Tai,
        to: Tai,
    ) -> Self {
        let mut rises = vec![Vec::new(); network.sites.len()];
        let mut of_satellite = vec![Vec::new(); names.len()];
        let (mut first_antenna, mut count) = (Vec::new(), 0);
        for site in &network.sites {
            first_antenna.push(count);
            count += site.antennas.len();
        }
        let mut heard = 0;
        for (at, window) in windows.iter().enumerate() {
            rises[window.site].push(at);
            of_satellite[window.satellite].push(at);
            heard += network.sites[window.site].antennas.len();
        }
        let mut sets = rises.clone();
        rises.iter_mut().for_each(|of| of.sort_by_key(|at| windows[*at].pass.rise));
        sets.iter_mut().for_each(|of| of.sort_by_key(|at| windows[*at].pass.set));
        let cuts = heard <= CUTS_UP_TO;
        Self { network, names, windows, rises, sets, of_satellite, first_antenna, from, to, cuts }
    }

    /// Whether passes are cut where neighbours need the antenna: not where there are very many.
    pub fn cuts(&self) -> bool {
        self.cuts
    }

    /// The passes.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// What the solver has to know of the antennas.
    pub fn antennas(&self) -> Vec<Antenna> {
        self.network.sites.iter().flat_map(|of| &of.antennas).map(|of| of.gear).collect()
    }

    /// Station and antenna of a candidate.
    pub fn dish(&self, antenna: usize) -> (usize, &'a Dish) {
        let site = self.first_antenna.partition_point(|first| *first <= antenna) - 1;
        (site, &self.network.sites[site].antennas[antenna - self.first_antenna[site]])
    }

    /// Every contact that a spacecraft may have. `look` is where it stands over a station.
    pub fn contacts(
        &self,
        satellite: usize,
        look: impl Fn(usize, Tai) -> Pointing,
    ) -> Vec<Contact> {
        let craft = self.network.craft(&self.names[satellite]);
        let mut found = Vec::new();
        for at in &self.of_satellite[satellite] {
            let site = self.windows[*at].site;
            for (place, dish) in self.network.sites[site].antennas.iter().enumerate() {
                let hears = dish.spacecraft.as_ref();
                if hears.is_none_or(|only| only.contains(&self.names[satellite])) {
                    let antenna = self.first_antenna[site] + place;
                    self.parts(*at, antenna, dish, craft, &|time| look(site, time), &mut found);
                }
            }
        }
        found
    }

    /// A pass over one antenna: whole, and cut.
    fn parts(
        &self,
        at: usize,
        antenna: usize,
        dish: &Dish,
        craft: &Craft,
        look: &impl Fn(Tai) -> Pointing,
        found: &mut Vec<Contact>,
    ) {
        let Window { satellite, pass, .. } = self.windows[at];
        let gear = &dish.gear;
        let from = pass.rise.max(self.from.plus(gear.setup_ns));
        let to = pass.set.min(self.to.plus(-gear.teardown_ns));
        let least_ns = (craft.min_contact_s * 1e9) as i64;
        if to.since(from) < least_ns {
            return;
        }
        let lost = gear.mount.lost(look, from, to, pass.culmination);
        let share = match (craft.rate_bps, dish.rate_bps) {
            (rate, Some(limit)) if rate > limit => limit as f64 / rate as f64,
            _ => 1.0,
        };
        let (mut starts, mut ends) = (vec![from], vec![to]);
        if self.cuts {
            starts.extend(self.starts(at, dish, craft, look));
            ends.extend(self.ends(at, dish, craft, look));
        }
        for start in &starts {
            for end in &ends {
                if *start < from || *end > to || end.since(*start) < least_ns {
                    continue;
                }
                let inside = |(a, b): &(Tai, Tai)| {
                    let (a, b) = ((*a).max(*start), (*b).min(*end));
                    (a < b).then_some((a, b))
                };
                let lost: Vec<_> = lost.iter().filter_map(inside).collect();
                let missed: i64 = lost.iter().map(|(a, b)| b.since(*a)).sum();
                let candidate = Candidate {
                    satellite,
                    antenna,
                    pass: at,
                    from: start.0,
                    to: end.0,
                    seconds: share * (end.since(*start) - missed) as f64 / 1e9,
                    start: look(*start),
                    end: look(*end),
                };
                found.push(Contact { candidate, lost, cut: (*start, *end) != (from, to) });
            }
        }
    }

    /// Later starts: behind another contact of the antenna, or of the spacecraft elsewhere.
    fn starts(
        &self,
        at: usize,
        dish: &Dish,
        craft: &Craft,
        look: &impl Fn(Tai) -> Pointing,
    ) -> Vec<Tai> {
        let Window { site, pass, satellite, .. } = self.windows[at];
        let sets = &self.sets[site];
        let first = sets.partition_point(|of| self.windows[*of].pass.set <= pass.rise);
        let within = sets[first..].iter().map(|of| &self.windows[*of]);
        let gap = dish.gear.teardown_ns + dish.gear.setup_ns;
        let free = |of: &Window| {
            let (free, slew) =
                (of.pass.set.plus(gap), |at| dish.gear.mount.slew_ns(of.sets, look(at)));
            free.plus(meeting(slew, free, 1))
        };
        let mut found: Vec<Tai> = within
            .take_while(|of| of.pass.set < pass.set)
            .filter(|of| of.satellite != satellite && self.hears(dish, of.satellite))
            .map(free)
            .take(CUTS)
            .collect();
        if !craft.several {
            let switch = (craft.switch_s * 1e9) as i64;
            let others = self.elsewhere(satellite, site).map(|of| of.pass.set.plus(switch));
            found.extend(others.filter(|set| (pass.rise..pass.set).contains(set)).take(2));
        }
        found.sort();
        found.dedup();
        found
    }

    /// Earlier ends: before another contact of the antenna, or of the spacecraft elsewhere.
    fn ends(
        &self,
        at: usize,
        dish: &Dish,
        craft: &Craft,
        look: &impl Fn(Tai) -> Pointing,
    ) -> Vec<Tai> {
        let Window { site, pass, satellite, .. } = self.windows[at];
        let rises = &self.rises[site];
        let beyond = rises.partition_point(|of| self.windows[*of].pass.rise < pass.set);
        let within = rises[..beyond].iter().rev().map(|of| &self.windows[*of]);
        let gap = dish.gear.teardown_ns + dish.gear.setup_ns;
        let due = |of: &Window| {
            let (due, slew) =
                (of.pass.rise.plus(-gap), |at| dish.gear.mount.slew_ns(look(at), of.rises));
            due.plus(-meeting(slew, due, -1))
        };
        let mut found: Vec<Tai> = within
            .take_while(|of| of.pass.rise > pass.rise)
            .filter(|of| of.satellite != satellite && self.hears(dish, of.satellite))
            .map(due)
            .take(CUTS)
            .collect();
        if !craft.several {
            let switch = (craft.switch_s * 1e9) as i64;
            let others = self.elsewhere(satellite, site).map(|of| of.pass.rise.plus(-switch));
            found.extend(others.filter(|rise| (pass.rise..pass.set).contains(rise)).take(2));
        }
        found.sort();
        found.dedup();
        found
    }

    fn hears(&self, dish: &Dish, satellite: usize) -> bool {
        dish.spacecraft.as_ref().is_none_or(|only| only.contains(&self.names[satellite]))
    }

    fn elsewhere(&self, satellite: usize, site: usize) -> impl Iterator<Item = &Window> {
        let windows = self.of_satellite[satellite].iter().map(|at| &self.windows[*at]);
        windows.filter(move |of| of.site != site)
    }
}
