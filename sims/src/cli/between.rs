//! The link that `relay` and `netem` put between two programs: steady, or a pass by its budget.

use super::budget;
use crate::link::budget::file;
use crate::link::radio::{RadioLink, Way, Weather};
use crate::link::{Fixed, LIGHT_KM_S, LinkModel, LinkSettings, LossSettings, Track};
use anyhow::{Context, ensure};
use clap::Args;
use codecs::time::Tai;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Arguments that say what is between.
#[derive(Debug, Args)]
pub struct LinkArguments {
    /// Bits a second in each direction; k, M and G multiply by thousands
    #[arg(long, value_name = "RATE", default_value = "10M", value_parser = rate)]
    rate: f64,
    /// One-way delay in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10.0)]
    delay: f64,
    /// Mean share of datagrams lost, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    loss: f64,
    /// Mean datagrams lost in a row
    #[arg(long, value_name = "COUNT", default_value_t = 3.0)]
    burst: f64,
    /// Longest wait in the queue in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 200.0)]
    queue: f64,
    /// Seed of the losses and of the weather
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// A link's budget over a pass instead of rate, delay, loss and queue (see `orbitsim budget`)
    #[arg(
        long,
        value_name = "LINK",
        requires_all = ["elements", "pass"],
        conflicts_with_all = ["rate", "delay", "loss", "burst", "queue"]
    )]
    link: Option<PathBuf>,
    /// Elements of the satellite: two-line, or OMM as JSON, XML, CSV or key = value
    #[arg(long, value_name = "FILE", requires = "link")]
    elements: Option<PathBuf>,
    /// Which satellite of the file; the first by default
    #[arg(long, value_name = "NAME", requires = "elements")]
    satellite: Option<String>,
    /// The pass that is on at that time, or the next one; it begins when the command does
    #[arg(long, value_name = "TIME", requires = "link", value_parser = super::share::instant)]
    pass: Option<Tai>,
}

/// Both directions.
pub enum Between {
    /// Nothing moves.
    Steady(LinkModel<Fixed>, LinkModel<Fixed>),
    /// A pass.
    Pass(Passing),
}

/// A pass as its link's budget has it.
pub struct Passing {
    /// When it rises.
    pub rise: Tai,
    /// When it sets.
    pub set: Tai,
    /// From the satellite.
    pub down: LinkModel<Way>,
    /// To it.
    pub up: LinkModel<Way>,
}

/// Reads a rate such as 250k, 10M or 1.5G.
pub fn rate(text: &str) -> Result<f64, String> {
    let (number, factor) = match text.char_indices().next_back() {
        Some((at, 'k')) => (&text[..at], 1e3),
        Some((at, 'M')) => (&text[..at], 1e6),
        Some((at, 'G')) => (&text[..at], 1e9),
        _ => (text, 1.0),
    };
    match number.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number * factor),
        _ => Err(format!("'{text}' is no rate such as 250k, 10M or 1G")),
    }
}

/// Reads a share of 0 to 1.
pub fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("'{text}' is no share of 0 to 1")),
    }
}

impl LinkArguments {
    /// Both directions as they were asked for.
    ///
    /// # Errors
    /// Files that can't be read, or a satellite without a pass.
    pub fn between(&self) -> anyhow::Result<Between> {
        if let (Some(link), Some(elements), Some(pass)) = (&self.link, &self.elements, self.pass) {
            return Ok(Between::Pass(self.passing(link, elements, pass)?));
        }
        for (key, value, least, most) in [
            ("--delay", self.delay, 0.0, 1e8),
            ("--loss", self.loss, 0.0, 1.0),
            ("--burst", self.burst, 1.0, 1e6),
            ("--queue", self.queue, 0.0, 1e7),
            ("--rate", self.rate, 1.0, 1e12),
        ] {
            let within = (least..=most).contains(&value);
            ensure!(within, "{key} {value} is not within {least} and {most}");
        }
        let settings = LinkSettings {
            rate_bps: self.rate,
            ground_delay_ns: 0,
            queue_ns: (self.queue * 1e6) as i64,
            loss: LossSettings { mean: self.loss, burst_packets: self.burst },
            seed: self.seed,
        };
        let path = Fixed { range_km: self.delay / 1000.0 * LIGHT_KM_S };
        let down = LinkModel::new(settings, path);
        let up = LinkModel::new(LinkSettings { seed: self.seed ^ 1, ..settings }, path);
        Ok(Between::Steady(down, up))
    }

    /// Both directions over a pass.
    fn passing(&self, link: &Path, elements: &Path, from: Tai) -> anyhow::Result<Passing> {
        let name = link.display().to_string();
        let text = fs::read_to_string(link).with_context(|| format!("reading {name}"))?;
        let described = file::read(&name, &text)?;
        let satellite = budget::satellite(elements, self.satellite.as_deref())?;
        let pass = budget::next_pass(&described, &satellite, from)?;
        let track = Track::of_pass(&satellite, &described.station, &pass)?;
        let flown = RadioLink::fly(&described, &track, Weather::Seeded(self.seed))?;
        let flown = Arc::new(flown);
        eprintln!(
            "{} over {}: {:.0} s, up to {:.1} Mb/s, {:.3} GB in all",
            satellite.name(),
            described.station.name,
            pass.set.since(pass.rise) as f64 / 1e9,
            flown.peak_bps() / 1e6,
            flown.capacity_bits() / 8e9
        );
        let [forth, back] = described.settings(&flown, self.seed);
        let disturbances = described.disturbances(pass.rise);
        let down = LinkModel::new(forth, Way::Forth(flown.clone()));
        let up = LinkModel::new(back, Way::Back(flown));
        let [down, up] = [down, up].map(|way| way.with_disturbances(disturbances.clone()));
        Ok(Passing { rise: pass.rise, set: pass.set, down, up })
    }
}
