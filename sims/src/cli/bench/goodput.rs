//! `orbitsim bench goodput`: what of a link's capacity arrives, by the plan, by CUBIC and by BBR.

mod flown;
mod picture;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{
    link::LossSettings,
    world::goodput::{
        Flow, Law, Link, Report,
        cases::{
            GEO_50, GEO_250, LEO_50, LOSSES, MARS_1, MOON_10, Regime, SHOWERS, Weather, X_BAND,
            mispredicted,
        },
        fly,
    },
};

use super::measure::median;

/// When a second sender joins, and when all have settled, ns.
const SHARED_NS: [u64; 3] = [10_000_000_000, 15_000_000_000, 70_000_000_000];
/// Losses in bursts beside noise.
const BURSTS: LossSettings = LossSettings { mean: 1e-3, burst_packets: 10.0 };
/// Factors by which plans are wrong.
const WRONG: [f64; 7] = [0.5, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0];

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Part {
    /// A whole pass of an Earth observer in X band, as a circle over the station
    Pass,
    /// The same of real elements, by its link's budget
    Flown,
    /// Links of one rate, from low orbit to the Moon, with losses
    Constant,
    /// 100 MB over a fast relay with a thin return
    Transfer,
    /// A leg that others use too
    Shared,
    /// Plans that are wrong
    Wrong,
    /// Ten minutes of round trip
    Mars,
}

const PARTS: [Part; 7] = [
    Part::Pass,
    Part::Flown,
    Part::Constant,
    Part::Transfer,
    Part::Shared,
    Part::Wrong,
    Part::Mars,
];

/// Arguments of `bench goodput`.
#[derive(Debug, Args)]
#[command(after_help = "Time is simulated: the same seeds give the same figures on any machine, \
                        but for BBR, which draws at random. Build with --release.")]
pub struct Goodput {
    /// Seeds, of which the median counts
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
    /// Measure these parts only
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<Part>,
    /// Draw the pass with three fades into an SVG file, in place of measuring
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "only"])]
    plot: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// One figure by each law, medians of the seeds.
#[derive(Serialize)]
struct Row {
    part: &'static str,
    link: String,
    /// What the figures are.
    unit: &'static str,
    plan: f64,
    cubic: Option<f64>,
    bbr: Option<f64>,
    /// What headers leave.
    ceiling: Option<f64>,
    /// Packets that the plan's flow lost at the full queue, over those sent.
    plan_dropped: Option<f64>,
    cubic_dropped: Option<f64>,
    bbr_dropped: Option<f64>,
}

impl Goodput {
    /// Measures and prints.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if cfg!(debug_assertions) {
            eprintln!("note: a debug build takes long; its figures are the same");
        }
        if let Some(path) = &self.plot {
            return picture::draw(path);
        }
        let mut rows = Vec::new();
        for part in PARTS {
            if self.only.is_empty() || self.only.contains(&part) {
                eprintln!("measuring {part:?}");
                self.measure(part, &mut rows)?;
            }
        }
        if self.json {
            say!("{}", serde_json::to_string_pretty(&rows)?);
            return Ok(ExitCode::SUCCESS);
        }
        let name = |of: &str| format!("{of:>7}");
        say!(
            "{:<44} {} {} {} {} {:>22}  {}",
            "link",
            name("plan"),
            name("cubic"),
            name("bbr"),
            name("ceiling"),
            "dropped at the queue",
            "unit"
        );
        for row in &rows {
            let of = |of: Option<f64>| of.map_or_else(|| " ".repeat(7), |of| format!("{of:>7.3}"));
            let dropped = |of: Option<f64>| of.map_or_else(String::new, |of| format!("{of:.3}"));
            say!(
                "{:<44} {} {} {} {} {:>22}  {}",
                row.link,
                of(Some(row.plan)),
                of(row.cubic),
                of(row.bbr),
                of(row.ceiling),
                [row.plan_dropped, row.cubic_dropped, row.bbr_dropped].map(dropped).join(" "),
                row.unit,
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    fn measure(&self, part: Part, rows: &mut Vec<Row>) -> anyhow::Result<()> {
        match part {
            Part::Pass => {
                for (name, weather, loss) in [
                    ("clear sky", Weather::default(), LossSettings::NONE),
                    ("clear sky, 0.1 % in bursts", Weather::default(), BURSTS),
                    ("three fades, 0.1 % in bursts", SHOWERS, BURSTS),
                ] {
                    let link = X_BAND.link(weather, loss);
                    let row = self.row(|_| Ok(link.clone()), |law| X_BAND.flow(law))?;
                    rows.push(Row { part: "pass", link: format!("X-band pass, {name}"), ..row });
                }
            }
            Part::Flown => {
                for (name, kind, loss) in flown::SKIES {
                    let pass = flown::pass(kind)?;
                    let row = self
                        .row(|seed| flown::link(&pass, kind, loss, seed), |law| pass.flow(law))?;
                    rows.push(Row {
                        part: "flown",
                        link: format!("{}, {name}", flown::NAME),
                        ..row
                    });
                }
            }
            Part::Constant => {
                for regime in [LEO_50, GEO_50, MOON_10] {
                    self.regime("constant", &regime, rows)?;
                }
            }
            Part::Mars => self.regime("mars", &MARS_1, rows)?,
            Part::Transfer => {
                let link = GEO_250.link(LossSettings::NONE);
                let row = self.row(|_| Ok(link.clone()), |law| GEO_250.flow(law))?;
                let ends = |law| {
                    self.median(|seed| {
                        let reports = fly(&link, &[GEO_250.flow(law)], seed)?;
                        let arrived = |of: &Report| of.arrived_ns as f64 / 1e9;
                        Ok(reports.first().map_or(f64::NAN, arrived))
                    })
                };
                rows.push(Row {
                    part: "transfer",
                    link: format!("{}, 100 MB arrived", GEO_250.name),
                    unit: "s from connecting",
                    plan: ends(Law::Plan)?,
                    cubic: Some(ends(Law::Cubic)?),
                    bbr: Some(ends(Law::Bbr)?),
                    ceiling: None,
                    ..row
                });
            }
            Part::Shared => {
                for regime in [LEO_50, GEO_50] {
                    for (others, first) in [(1, true), (1, false), (3, true)] {
                        rows.push(self.shared(&regime, others, first)?);
                    }
                }
            }
            Part::Wrong => {
                for regime in [LEO_50, GEO_50] {
                    for factor in WRONG {
                        for (name, loss) in [("no loss", LossSettings::NONE), ("1 %", LOSSES[2].1)]
                        {
                            let link = mispredicted(&regime.link(loss), factor);
                            rows.push(self.wrong(&regime, &link, factor, name)?);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn regime(
        &self,
        part: &'static str,
        regime: &Regime,
        rows: &mut Vec<Row>,
    ) -> anyhow::Result<()> {
        for (name, loss) in LOSSES {
            let link = regime.link(loss);
            let row = self.row(|_| Ok(link.clone()), |law| regime.flow(law))?;
            rows.push(Row { part, link: format!("{}, {name}", regime.name), ..row });
        }
        Ok(())
    }

    fn wrong(&self, regime: &Regime, link: &Link, factor: f64, name: &str) -> anyhow::Result<Row> {
        let [plan, dropped, ceiling] =
            self.one(|_| Ok(link.clone()), |law| regime.flow(law), Law::Plan)?;
        Ok(Row {
            part: "wrong",
            link: format!("{}, {name}, plan x {factor}", regime.name),
            unit: "of capacity",
            plan,
            cubic: None,
            bbr: None,
            ceiling: Some(ceiling),
            plan_dropped: Some(dropped),
            cubic_dropped: None,
            bbr_dropped: None,
        })
    }

    /// What CUBIC flows get beside one more, over what they get beside one more CUBIC.
    fn shared(&self, regime: &Regime, others: u64, first: bool) -> anyhow::Result<Row> {
        let [joins, from, until] = SHARED_NS;
        let link = Link { until_ns: until, ..regime.link(LossSettings::NONE) };
        let theirs = |law| {
            self.median(|seed| {
                let flow = |law, from_ns| Flow { law, from_ns, bulk: regime.bulk(1 << 20) };
                let (ours, them) = if first { (joins, 0) } else { (0, joins) };
                let mut flows: Vec<Flow> =
                    (0..others).map(|at| flow(Law::Cubic, them + at * 100_000_000)).collect();
                flows.push(flow(law, ours));
                let reports = fly(&link, &flows, seed)?;
                let got = |of: &Report| (of.acknowledged(until) - of.acknowledged(from)) as f64;
                let got = reports.iter().take(others as usize).map(got).sum::<f64>();
                Ok(got / link.up.bytes(link.start, from, until))
            })
        };
        let cubic = theirs(Law::Cubic)?;
        let who = if first { "there first" } else { "that join" };
        Ok(Row {
            part: "shared",
            link: format!("{}, {others} CUBIC {who}", regime.name),
            unit: "of capacity, theirs together beside ours",
            plan: theirs(Law::Plan)?,
            cubic: Some(cubic),
            bbr: Some(theirs(Law::Bbr)?),
            ceiling: None,
            plan_dropped: None,
            cubic_dropped: None,
            bbr_dropped: None,
        })
    }

    fn row(
        &self,
        link: impl Fn(u64) -> anyhow::Result<Link>,
        flow: impl Fn(Law) -> Flow,
    ) -> anyhow::Result<Row> {
        let [plan, plan_dropped, ceiling] = self.one(&link, &flow, Law::Plan)?;
        let [cubic, cubic_dropped, _] = self.one(&link, &flow, Law::Cubic)?;
        let [bbr, bbr_dropped, _] = self.one(&link, &flow, Law::Bbr)?;
        Ok(Row {
            part: "",
            link: String::new(),
            unit: "of capacity",
            plan,
            cubic: Some(cubic),
            bbr: Some(bbr),
            ceiling: Some(ceiling),
            plan_dropped: Some(plan_dropped),
            cubic_dropped: Some(cubic_dropped),
            bbr_dropped: Some(bbr_dropped),
        })
    }

    /// Goodput, share dropped and ceiling of one law, medians.
    fn one(
        &self,
        link: impl Fn(u64) -> anyhow::Result<Link>,
        flow: impl Fn(Law) -> Flow,
        law: Law,
    ) -> anyhow::Result<[f64; 3]> {
        let mut runs = [const { Vec::new() }; 3];
        for seed in 1..=self.seeds {
            let link = link(seed)?;
            for report in fly(&link, &[flow(law)], seed)? {
                if let Some(why) = &report.outcome.ended {
                    eprintln!("note: a {} connection ended: {why}", law.name());
                }
                let of = [report.goodput(&link), report.dropped(), report.ceiling()];
                runs.iter_mut().zip(of).for_each(|(runs, of)| runs.push(of));
            }
        }
        Ok(runs.map(median))
    }

    fn median(&self, of: impl Fn(u64) -> anyhow::Result<f64>) -> anyhow::Result<f64> {
        Ok(median((1..=self.seeds).map(of).collect::<anyhow::Result<_>>()?))
    }
}
