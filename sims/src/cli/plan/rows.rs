//! A plan as people and programs want to read it.

use codecs::time::Tai;
use serde::Serialize;

use crate::{
    cli::{calendar::Event, share::quoted},
    plan::{
        Network, Problem, Solution,
        windows::{Contact, Sky},
    },
};

/// A plan.
#[derive(Serialize)]
pub struct Plan {
    /// What the contacts are worth together.
    pub worth: f64,
    /// What no plan exceeds.
    pub bound: f64,
    /// Share of the bound that is left, at most.
    pub gap: f64,
    /// By rise.
    pub contacts: Vec<Row>,
    /// What each spacecraft gets.
    pub spacecraft: Vec<Share>,
    /// What each antenna does.
    pub antennas: Vec<Work>,
}

/// A contact.
#[derive(Serialize)]
pub struct Row {
    pub satellite: String,
    pub station: String,
    pub antenna: String,
    /// When the antenna's work begins.
    pub setup: String,
    pub rise: String,
    pub set: String,
    /// When it ends.
    pub end: String,
    pub duration_s: f64,
    /// Without what the mount can't follow.
    pub usable_s: f64,
    pub keyhole_s: f64,
    pub max_elevation_deg: f64,
    /// Whether the antenna leaves a part of the pass to others.
    pub cut: bool,
    /// 0 where it is not known.
    pub rate_bps: u64,
    pub bytes: u64,
    /// What the mount can follow of it, in order: all of it, or what its keyhole leaves.
    #[serde(skip)]
    pub usable: Vec<(Tai, Tai)>,
    #[serde(skip)]
    pub highest: Tai,
    #[serde(skip)]
    pub site: usize,
    #[serde(skip)]
    pub spacecraft: usize,
}

/// What a spacecraft gets.
#[derive(Serialize)]
pub struct Share {
    pub name: String,
    pub passes: usize,
    pub contacts: usize,
    pub usable_s: f64,
    pub bytes: u64,
    /// Seconds that it needs in the plan's time, at its own rate.
    pub need_s: Option<f64>,
    /// Whether it gets them.
    pub met: Option<bool>,
}

/// What an antenna does.
#[derive(Serialize)]
pub struct Work {
    pub station: String,
    pub antenna: String,
    pub contacts: usize,
    /// Seconds from set-up to tear-down, together.
    pub busy_s: f64,
}

pub const HEADER: &str = "satellite,station,antenna,setup,rise,set,end,duration_s,usable_s,\
    keyhole_s,max_elevation_deg,cut,rate_bps,bytes";

impl Plan {
    pub fn new(
        network: &Network,
        names: &[String],
        sky: &Sky<'_>,
        contacts: &[Contact],
        problem: &Problem,
        solution: &Solution,
    ) -> Self {
        let row = |id: &usize| Row::new(network, names, sky, &contacts[*id]);
        let rows: Vec<Row> = solution.chosen.iter().map(row).collect();
        let mut shares: Vec<Share> = names
            .iter()
            .zip(&problem.demands)
            .map(|(name, demand)| Share {
                name: name.clone(),
                passes: 0,
                contacts: 0,
                usable_s: 0.0,
                bytes: 0,
                need_s: demand.need_s.is_finite().then_some(demand.need_s),
                met: None,
            })
            .collect();
        sky.windows().iter().for_each(|of| shares[of.satellite].passes += 1);
        let dish = |antenna| {
            let (site, dish) = sky.dish(antenna);
            let station = network.sites[site].station.name.clone();
            Work { station, antenna: dish.name.clone(), contacts: 0, busy_s: 0.0 }
        };
        let mut antennas: Vec<Work> = (0..problem.antennas.len()).map(dish).collect();
        let mut seconds = vec![0.0; names.len()];
        for (row, id) in rows.iter().zip(&solution.chosen) {
            let of = &contacts[*id].candidate;
            let share = &mut shares[of.satellite];
            share.contacts += 1;
            share.usable_s += row.usable_s;
            share.bytes += row.bytes;
            seconds[of.satellite] += of.seconds;
            let gear = &problem.antennas[of.antenna];
            let work = &mut antennas[of.antenna];
            work.contacts += 1;
            work.busy_s += (of.to - of.from + gear.setup_ns + gear.teardown_ns) as f64 / 1e9;
        }
        for (share, seconds) in shares.iter_mut().zip(seconds) {
            share.met = share.need_s.map(|need| seconds >= need - 1e-6);
        }
        Self {
            worth: solution.worth,
            bound: solution.bound,
            gap: solution.gap(),
            contacts: rows,
            spacecraft: shares,
            antennas,
        }
    }

    /// Prints it for people.
    pub fn table(&self) -> std::io::Result<()> {
        let wide = |of: fn(&Row) -> &str, least: usize| {
            self.contacts.iter().map(|row| of(row).chars().count()).max().unwrap_or(0).max(least)
        };
        let satellite = wide(|row| &row.satellite, 9);
        let station = wide(|row| &row.station, 7);
        let antenna = wide(|row| &row.antenna, 7);
        say!(
            "{:<satellite$}  {:<station$}  {:<antenna$}  {:<24} {:<24} {:>6} {:>9} {:>10}",
            "satellite",
            "station",
            "antenna",
            "rise",
            "set",
            "top",
            "usable",
            "MB"
        );
        for row in &self.contacts {
            say!(
                "{:<satellite$}  {:<station$}  {:<antenna$}  {:<24} {:<24} {:>5.1}° {:>7.0} s {:>10}{}",
                row.satellite,
                row.station,
                row.antenna,
                row.rise,
                row.set,
                row.max_elevation_deg,
                row.usable_s,
                if row.rate_bps > 0 { format!("{:.1}", row.bytes as f64 / 1e6) } else { "".into() },
                if row.cut { "  cut" } else { "" }
            );
        }
        Ok(())
    }
}

impl Row {
    fn new(network: &Network, names: &[String], sky: &Sky<'_>, contact: &Contact) -> Self {
        let of = &contact.candidate;
        let (site, dish) = sky.dish(of.antenna);
        let pass = &sky.windows()[of.pass].pass;
        let (from, to) = (Tai(of.from), Tai(of.to));
        let top = if (from..=to).contains(&pass.culmination) {
            pass.max_elevation_deg
        } else {
            of.start.elevation_deg.max(of.end.elevation_deg)
        };
        let duration_s = to.since(from) as f64 / 1e9;
        let lost = contact.lost.iter().map(|(a, b)| b.since(*a)).sum::<i64>() as f64 / 1e9;
        let rate_bps = network.craft(&names[of.satellite]).rate_with(dish);
        let starts = std::iter::once(from).chain(contact.lost.iter().map(|lost| lost.1));
        let ends = contact.lost.iter().map(|lost| lost.0).chain([to]);
        let usable = starts.zip(ends).filter(|(from, to)| from < to).collect();
        Self {
            satellite: names[of.satellite].clone(),
            station: network.sites[site].station.name.clone(),
            antenna: dish.name.clone(),
            setup: from.plus(-dish.gear.setup_ns).to_rfc3339(),
            rise: from.to_rfc3339(),
            set: to.to_rfc3339(),
            end: to.plus(dish.gear.teardown_ns).to_rfc3339(),
            duration_s,
            usable_s: duration_s - lost,
            keyhole_s: lost,
            max_elevation_deg: top,
            cut: contact.cut,
            rate_bps,
            bytes: ((duration_s - lost) * rate_bps as f64 / 8.0) as u64,
            usable,
            highest: pass.culmination.clamp(from, to),
            site,
            spacecraft: of.satellite,
        }
    }

    /// As an event of a calendar: the antenna's whole work.
    pub fn event(&self) -> Event {
        Event {
            start: self.setup.clone(),
            end: self.end.clone(),
            summary: format!("{} on {} {}", self.satellite, self.station, self.antenna),
            description: format!(
                "rise {}, set {}, {:.1} degrees, {:.0} s of use",
                self.rise, self.set, self.max_elevation_deg, self.usable_s
            ),
        }
    }

    pub fn comma_separated(&self) -> String {
        format!(
            "{},{},{},{},{},{},{},{:.3},{:.3},{:.3},{:.4},{},{},{}",
            quoted(&self.satellite),
            quoted(&self.station),
            quoted(&self.antenna),
            self.setup,
            self.rise,
            self.set,
            self.end,
            self.duration_s,
            self.usable_s,
            self.keyhole_s,
            self.max_elevation_deg,
            self.cut,
            self.rate_bps,
            self.bytes
        )
    }
}
