//! `orbitsim budget`: a link's budget explained, over a pass, and over a year.

mod text;
mod year;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use codecs::time::Tai;
use serde_json::json;

use crate::{
    contact::{Pass, passes},
    link::{
        Track,
        budget::{
            file::{self, Described},
            pass::{Row, as_flown, over_pass},
            transmitter::range_km,
        },
        radio::{RadioLink, Weather},
        weather::path::{PERCENT, Sky},
    },
    orbit::{ElementSet, Look, elements},
    plot::{Axis, Chart, Series, stacked},
};

/// Steps of a pass that are drawn and printed at most.
const MAX_STEPS: i64 = 100_000;
/// Seconds between the points of a drawing.
const PLOT_STEP_S: f64 = 1.0;
/// Seconds between the instants that a pass is summed over.
const TOTAL_STEP_S: f64 = 0.5;
/// How far ahead a pass is looked for.
const SEARCH_NS: i64 = 7 * 86_400_000_000_000;

/// Arguments of `budget`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    Every line of one moment, the satellite 550 km high at 10 degrees:\n    \
    orbitsim budget missions/links/x-band.toml --elevation 10 --height 550\n  \
    The same in weather that is exceeded for 0.1 % of a year:\n    \
    orbitsim budget missions/links/x-band.toml --elevation 10 --height 550 --exceeded 0.1\n  \
    A whole pass, with a picture:\n    \
    orbitsim budget missions/links/x-band.toml --elements missions/sky-7/elements.json \\\n      \
    --pass 2026-11-23T09:00:00Z --plot pass.svg\n  \
    The same through the rain of one day, from a seed:\n    \
    orbitsim budget missions/links/ka-leo.toml --elements missions/sky-7/elements.json \\\n      \
    --pass 2026-11-23T09:00:00Z --fly 7 --plot rain.svg\n  \
    How much of a year each MODCOD can be received:\n    \
    orbitsim budget missions/links/ka-band.toml --elevation 35 --height 35786 --availability")]
pub struct BudgetArguments {
    /// The link: spacecraft's radio, station, weather, codes, channel (TOML)
    #[arg(value_name = "LINK")]
    link: PathBuf,
    /// Elevation of the satellite in degrees
    #[arg(long, value_name = "DEGREES", conflicts_with = "elements", allow_hyphen_values = true)]
    elevation: Option<f64>,
    /// Its distance in kilometres
    #[arg(
        long,
        value_name = "KM",
        requires = "elevation",
        conflicts_with = "height",
        allow_negative_numbers = true
    )]
    range: Option<f64>,
    /// Its height in kilometres, from which the distance follows
    #[arg(long, value_name = "KM", requires = "elevation", allow_negative_numbers = true)]
    height: Option<f64>,
    /// Elements instead: two-line, or OMM as JSON, XML, CSV or key = value
    #[arg(long, value_name = "FILE")]
    elements: Option<PathBuf>,
    /// Which satellite of the file; the first by default
    #[arg(long, value_name = "NAME", requires = "elements")]
    satellite: Option<String>,
    /// One moment, RFC 3339 in UTC
    #[arg(long, value_name = "TIME", requires = "elements", value_parser = super::share::instant)]
    at: Option<Tai>,
    /// The pass that is on at that time, or the next one
    #[arg(
        long,
        value_name = "TIME",
        requires = "elements",
        conflicts_with = "at",
        value_parser = super::share::instant
    )]
    pass: Option<Tai>,
    /// Weather as bad as it is for this share of a year, 0.001 to 50; a clear sky without it
    #[arg(
        long,
        value_name = "PERCENT",
        conflicts_with = "availability",
        allow_negative_numbers = true
    )]
    exceeded: Option<f64>,
    /// Fly the pass through rain, scintillation and shadows as `[channel]` has them, from this seed
    #[arg(long, value_name = "SEED", requires = "pass", conflicts_with_all = ["exceeded", "availability"])]
    fly: Option<u64>,
    /// Seconds between the rows of a pass
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, allow_negative_numbers = true)]
    step: f64,
    /// How much of a year each MODCOD can be received (with --pass: over ten days of passes)
    #[arg(long)]
    availability: bool,
    /// Draw the pass into an SVG file
    #[arg(long, value_name = "FILE", requires = "pass", conflicts_with = "availability")]
    plot: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print comma-separated values
    #[arg(long)]
    csv: bool,
}

impl BudgetArguments {
    /// Reckons and prints.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let name = self.link.display().to_string();
        let text = fs::read_to_string(&self.link).with_context(|| format!("reading {name}"))?;
        let described = file::read(&name, &text)?;
        let sky = self.sky()?;
        let assumed = &described.link.air.climate().assumed;
        if !assumed.is_empty() && sky != Sky::Clear {
            eprintln!("assumed, since `[weather]` leaves it out: {}", assumed.join("; "));
        }
        match (self.elevation, self.at, self.pass) {
            (Some(elevation), ..) => {
                let range = self.distance(elevation)?;
                self.moment_or_year(&described, elevation, range, sky, None)
            }
            (None, Some(at), _) => {
                let set = self.satellite()?;
                warn_of_age(&set, at);
                let look = described.station.look_at(&set, at)?;
                let (elevation, range) = (look.elevation_deg, look.range_km);
                ensure!(
                    elevation >= 0.0,
                    "{} is {:.1} degrees below the horizon of {} at {at}",
                    set.name(),
                    -elevation,
                    described.station.name
                );
                self.moment_or_year(&described, elevation, range, sky, Some(at))
            }
            (None, None, Some(from)) => self.pass(&described, from, sky),
            _ => bail!(
                "say where the satellite is: --elevation with --height or --range, or --elements \
                 with --at or --pass"
            ),
        }
    }

    fn sky(&self) -> anyhow::Result<Sky> {
        ensure!(self.step >= 0.01, "--step {} is no number of at least 0.01 s", self.step);
        let Some(percent) = self.exceeded else {
            return Ok(if self.availability { Sky::Exceeded(1.0) } else { Sky::Clear });
        };
        ensure!(
            PERCENT.contains(&percent),
            "--exceeded {percent} is no share of {} to {} % of a year",
            PERCENT.start(),
            PERCENT.end()
        );
        Ok(Sky::Exceeded(percent))
    }

    fn distance(&self, elevation: f64) -> anyhow::Result<f64> {
        ensure!(
            (0.0..=90.0).contains(&elevation),
            "--elevation {elevation} is not within 0 and 90"
        );
        let (value, name) = match (self.range, self.height) {
            (Some(range), _) => (range, "--range"),
            (_, Some(height)) => (height, "--height"),
            _ => bail!("--elevation needs --height or --range: how far is the satellite?"),
        };
        ensure!((1.0..=1e9).contains(&value), "{name} {value} is no distance of 1 to 1e9 km");
        Ok(if self.range.is_some() { value } else { range_km(elevation, value) })
    }

    fn satellite(&self) -> anyhow::Result<ElementSet> {
        let Some(path) = &self.elements else { bail!("--elements is missing") };
        satellite(path, self.satellite.as_deref())
    }

    fn moment_or_year(
        &self,
        of: &Described,
        elevation: f64,
        range: f64,
        sky: Sky,
        at: Option<Tai>,
    ) -> anyhow::Result<ExitCode> {
        if self.availability {
            let stay = crate::link::budget::availability::Stay {
                elevation_deg: elevation,
                range_km: range,
                weight: 1.0,
            };
            return year::print(of, &[stay], None, self.json, self.csv);
        }
        let budget = of.link.budget(elevation, range, sky);
        let lines = of.link.explain(&budget, sky);
        let margins = of.link.margins(&budget, &of.modcods);
        if self.json {
            let document = json!({
                "station": of.station.name,
                "time": at.map(|at| at.to_rfc3339()),
                "elevation_deg": elevation,
                "range_km": range,
                "exceeded_percent": self.exceeded,
                "lines": lines,
                "c_n0_dbhz": budget.c_n0_dbhz,
                "es_n0_db": budget.es_n0_db,
                "modcods": margins,
                "assumed": of.link.air.climate().assumed,
            });
            say!("{}", serde_json::to_string_pretty(&document)?);
        } else if self.csv {
            text::comma_separated(&lines)?;
        } else {
            text::moment(of, &budget, &lines, &margins)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn pass(&self, of: &Described, from: Tai, sky: Sky) -> anyhow::Result<ExitCode> {
        let set = self.satellite()?;
        warn_of_age(&set, from);
        if self.availability {
            let (stays, seconds_a_day) = year::stays(of, &set, from)?;
            return year::print(of, &stays, Some(seconds_a_day), self.json, self.csv);
        }
        let pass = next_pass(of, &set, from)?;
        let flown = match self.fly {
            None => None,
            Some(seed) => {
                let track = Track::of_pass(&set, &of.station, &pass)?;
                Some(RadioLink::fly(of, &track, Weather::Seeded(seed))?)
            }
        };
        let at_steps = |step_s| -> anyhow::Result<_> {
            let looks = looks(of, &set, &pass, step_s)?;
            Ok(match &flown {
                None => over_pass(of, &looks, sky),
                Some(flown) => as_flown(of, &looks, flown),
            })
        };
        let (rows, _) = at_steps(self.step)?;
        // What a pass comes to does not hang on how many rows are read.
        let (_, totals) = at_steps(TOTAL_STEP_S)?;
        if let Some(path) = &self.plot {
            let (fine, _) = at_steps(PLOT_STEP_S)?;
            let name = match (self.fly, self.exceeded) {
                (Some(seed), _) => Some(format!("flown, seed {seed}")),
                (None, percent) => percent.map(|percent| format!("{percent} % of a year")),
            };
            let svg = picture(of, &set, &fine, name.as_deref());
            fs::write(path, svg).with_context(|| format!("writing {}", path.display()))?;
            eprintln!("drawn into {}", path.display());
        }
        if self.json {
            let document = json!({
                "satellite": set.name(),
                "station": of.station.name,
                "rise": pass.rise.to_rfc3339(),
                "culmination": pass.culmination.to_rfc3339(),
                "set": pass.set.to_rfc3339(),
                "max_elevation_deg": pass.max_elevation_deg,
                "exceeded_percent": self.exceeded,
                "seed": self.fly,
                "totals": totals,
                "rows": rows,
                "assumed": of.link.air.climate().assumed,
            });
            say!("{}", serde_json::to_string_pretty(&document)?);
        } else if self.csv {
            text::pass_comma_separated(&rows)?;
        } else {
            text::pass(&set, of, &pass, &rows, &totals)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// How a pass looks at equal steps, its end included.
fn looks(
    of: &Described,
    set: &ElementSet,
    pass: &Pass,
    step_s: f64,
) -> anyhow::Result<Vec<(Tai, Look)>> {
    let step_ns = (step_s * 1e9) as i64;
    let count = pass.set.since(pass.rise) / step_ns;
    ensure!(count <= MAX_STEPS, "{count} rows are more than {MAX_STEPS}: make --step longer");
    let mut times: Vec<Tai> = (0..=count).map(|at| pass.rise.plus(at * step_ns)).collect();
    if times.last() != Some(&pass.set) {
        times.push(pass.set);
    }
    times.into_iter().map(|at| Ok((at, of.station.look_at(set, at)?))).collect()
}

/// Says that elements are old, as `orbitsim passes` does.
fn warn_of_age(set: &ElementSet, at: Tai) {
    const DAY_NS: i64 = 86_400_000_000_000;
    const OLD_DAYS: i64 = 14;
    let days = set.epoch().since(at).abs() / DAY_NS;
    if days > OLD_DAYS {
        eprintln!(
            "warning: the elements of {} are {days} days from the time asked for: fetch newer ones",
            set.name()
        );
    }
}

/// A satellite of a file by its name, or the first.
pub fn satellite(path: &Path, wanted: Option<&str>) -> anyhow::Result<ElementSet> {
    let name = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("reading {name}"))?;
    let mut sets = elements::read(&text).with_context(|| format!("in {name}"))?;
    let at = match wanted {
        None => 0,
        Some(wanted) => {
            let names: Vec<&str> = sets.iter().map(ElementSet::name).collect();
            let found = names.iter().position(|name| *name == wanted);
            found.with_context(|| match codecs::config::nearest(wanted, &names) {
                Some(near) => format!("no '{wanted}' in {name}; did you mean '{near}'?"),
                None => format!("no '{wanted}' among the {} sets of {name}", names.len()),
            })?
        }
    };
    Ok(sets.swap_remove(at))
}

/// The pass that is on, or the next one within a week.
pub fn next_pass(of: &Described, set: &ElementSet, from: Tai) -> anyhow::Result<Pass> {
    // A pass that is on has risen within the last hours; one that never sets is cut there.
    const BEFORE_NS: i64 = 6 * 3_600_000_000_000;
    const PIECE_NS: i64 = 86_400_000_000_000;
    let mut begin = from.plus(-BEFORE_NS);
    while begin.since(from) < SEARCH_NS {
        let end = begin.plus(PIECE_NS);
        let found = passes(set, &of.station, begin, end, of.min_elevation_deg)?;
        if let Some(pass) = found.into_iter().find(|pass| pass.set > from) {
            return Ok(pass);
        }
        begin = end;
    }
    bail!(
        "{} does not rise above {} degrees over {} within a week of {from}",
        set.name(),
        of.min_elevation_deg,
        of.station.name
    )
}

/// The pass as a picture: elevation, Es/N0 against what is needed, rate.
fn picture(of: &Described, set: &ElementSet, rows: &[Row], worse: Option<&str>) -> String {
    let over = |value: &dyn Fn(&Row) -> f64| {
        rows.iter().map(|row| (row.since_s / 60.0, value(row))).collect::<Vec<_>>()
    };
    let chart = |title: &str, up, height, series| Chart {
        height,
        ..Chart::new(title, Axis::linear("minutes after rise"), up, series)
    };
    let title = format!(
        "{} over {}, {}",
        set.name(),
        of.station.name,
        rows.first().map_or("", |row| &row.time)
    );
    let mut strength = vec![Series::line("clear sky", over(&|row| row.clear_es_n0_db))];
    if let Some(name) = worse {
        strength.push(Series::line(name, over(&|row| row.es_n0_db)));
    }
    strength.push(Series::steps("needed by the MODCOD in use", over(&|row| row.needed_es_n0_db)));
    let sent: Vec<&Row> = rows.iter().filter(|row| row.rate_bps > 0.0).collect();
    let by_rate = |a: &&&Row, b: &&&Row| a.rate_bps.total_cmp(&b.rate_bps);
    let name = match (sent.iter().min_by(by_rate), sent.iter().max_by(by_rate)) {
        (Some(least), Some(most)) => format!("{} to {}", least.modcod, most.modcod),
        _ => "nothing is sent".to_owned(),
    };
    stacked(&[
        chart(
            &title,
            Axis::linear("elevation, degrees").from_zero(),
            210.0,
            vec![Series::line("elevation", over(&|row| row.elevation_deg))],
        ),
        chart("Energy of a symbol", Axis::linear("Es/N0, dB"), 260.0, strength),
        chart(
            "Rate for the user",
            Axis::linear("Mb/s").from_zero(),
            240.0,
            vec![Series::steps(name, over(&|row| row.rate_bps / 1e6))],
        ),
    ])
}
