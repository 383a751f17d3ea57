//! A scenario: what a TOML file says of spacecraft, sites, links and faults.

mod age;
mod check;
mod ground;
mod members;

use std::ops::Range;

use anyhow::Context as _;
use codecs::{link::profile::Profile, time::Tai};
use serde::Deserialize;
use toml::Spanned;

use self::members::Member;
use super::{
    antennas::{Given, PlanSettings, STOPPED},
    fades::{Fade, Fades},
    faults::FaultRates,
    island::IslandSettings,
    legs::{Direction, Windows},
    pools::JobsSettings,
    sensors::Telemetry,
};
use crate::{
    contact::passes,
    link::{LossSettings, budget},
    orbit::{ElementSet, Station, earth::Geodetic},
    rng::mix,
};

const MILLISECOND_NS: f64 = 1e6;
/// Seconds of a fixed link's contact unless told otherwise: all the time.
const ALWAYS_S: f64 = 1e9;
/// How far behind the end the next contact is looked for: what no orbit brings in that time, no
/// plan of a week would have.
const NEXT_NS: i64 = 7 * 86_400 * 1_000_000_000;

/// A scenario as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The file that says all this, for messages.
    #[serde(skip)]
    pub file: String,
    /// Name for people.
    pub name: String,
    /// What it shows, for people.
    #[serde(default)]
    pub about: String,
    /// When it starts, RFC 3339.
    pub start: String,
    /// How long it lasts, seconds.
    pub duration_s: u64,
    /// Seed, unless one is given on the command line.
    #[serde(default = "one")]
    pub seed: u64,
    /// The link between each spacecraft and the ground.
    pub link: Link,
    /// Antenna sites; none where the link is at a fixed distance.
    #[serde(default)]
    pub site: Vec<SiteSettings>,
    /// Spacecraft.
    pub spacecraft: Vec<SpacecraftSettings>,
    /// What their sensors make.
    #[serde(default)]
    pub telemetry: Telemetry,
    /// Their stores.
    #[serde(default)]
    pub store: StoreSettings,
    /// The station.
    #[serde(default)]
    pub station: StationSettings,
    /// How contacts are given, where spacecraft compete for antennas.
    #[serde(default)]
    pub plan: PlanSettings,
    /// What breaks.
    #[serde(default)]
    pub faults: FaultRates,
    /// What contact costs.
    pub cost: Option<CostSettings>,
    /// What of that which comes down is sent to pools.
    pub jobs: Option<JobsSettings>,
}

/// What contact costs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostSettings {
    /// Name of the money.
    pub currency: String,
    /// A minute of contact with a site that has no price of its own.
    pub per_minute: f64,
}

fn one() -> u64 {
    1
}

/// The link.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Transport settings: leo, geo, lunar or deep.
    #[serde(default = "leo")]
    pub profile: String,
    /// A link as `orbitsim budget` explains it, whose budget and weather decide what passes: beside
    /// the scenario, or one of those that come with the program. Its station stands at every site.
    pub file: Option<String>,
    /// Rate down where the spacecraft stands overhead at its perigee, bit/s, from where it falls with
    /// the square of the range; left out where a file says it.
    #[serde(default)]
    pub down_bps: f64,
    /// Rate up, bit/s.
    pub up_bps: f64,
    /// Longest wait in a queue, milliseconds.
    #[serde(default = "queue_ms")]
    pub queue_ms: f64,
    /// Time spent on the ground beside the flight, milliseconds.
    #[serde(default)]
    pub ground_delay_ms: f64,
    /// Seconds that receivers take to lock after a rise.
    #[serde(default)]
    pub lock_s: f64,
    /// Share of the datagrams that is lost, 0 to 1.
    #[serde(default)]
    pub loss: f64,
    /// Datagrams lost in a row, on average.
    #[serde(default = "burst")]
    pub burst_packets: f64,
    /// Fades that close the link down.
    pub fade: Option<FadeSettings>,
    /// A distance that does not change, instead of sites.
    pub fixed: Option<FixedSettings>,
    /// Seconds between handovers within a contact; none where it is 0.
    #[serde(default)]
    pub handover_s: f64,
    /// Milliseconds that nothing passes at each.
    #[serde(default)]
    pub handover_gap_ms: f64,
    /// What carries units.
    #[serde(default)]
    pub bearer: Bearer,
    /// Over a radio, kind and length of its frames: `aos:LENGTH` or `tm:LENGTH`; what fits the code
    /// unless given.
    pub frame: Option<String>,
    /// Over a radio, what is done to frames; the budget's code unless given.
    pub coding: Option<String>,
    /// Over a radio, seconds that a unit waits for its receipt before it goes again.
    #[serde(default = "again_s")]
    pub again_s: u64,
}

/// What carries units down, and receipts up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bearer {
    /// A connection.
    #[default]
    Quic,
    /// Frames over a radio, and an edge at the antennas.
    Rf,
}

/// As the flight software has it.
fn again_s() -> u64 {
    2_700
}

fn leo() -> String {
    "leo".into()
}

fn queue_ms() -> f64 {
    100.0
}

fn burst() -> f64 {
    1.0
}

/// Fades.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FadeSettings {
    /// Share of the time, 0 to 1.
    pub share: f64,
    /// Mean length, seconds.
    pub mean_s: f64,
}

/// A link at one distance.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedSettings {
    /// Distance, km.
    pub range_km: f64,
    /// Seconds of each contact; all the time unless given.
    #[serde(default = "always")]
    pub contact_s: f64,
    /// Seconds from one rise to the next.
    #[serde(default = "always")]
    pub period_s: f64,
}

fn always() -> f64 {
    ALWAYS_S
}

/// An antenna's site.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteSettings {
    /// Name.
    pub name: String,
    /// Degrees north.
    pub latitude_deg: f64,
    /// Degrees east.
    pub longitude_deg: f64,
    /// Metres above the ellipsoid.
    #[serde(default)]
    pub height_m: f64,
    /// Elevation below which nothing passes, degrees.
    #[serde(default = "mask")]
    pub min_elevation_deg: f64,
    /// What a minute of contact costs; the usual price unless given.
    pub cost_per_minute: Option<f64>,
    /// Antennas that spacecraft compete for; as many as there are spacecraft where no site says it.
    pub antennas: Option<usize>,
    /// Seconds of an antenna's work before a contact.
    #[serde(default)]
    pub setup_s: f64,
    /// Seconds of its work behind one.
    #[serde(default)]
    pub teardown_s: f64,
}

fn mask() -> f64 {
    5.0
}

/// One spacecraft or many alike.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpacecraftSettings {
    /// Name; many are numbered behind it.
    pub name: String,
    /// Elements as text: TLE or OMM, one or many.
    pub elements: Option<String>,
    /// A file of elements: beside the scenario, or in the folder `orbit` of `GROUNDTRACK_DATA`.
    pub elements_file: Option<String>,
    /// Circular orbits, evenly spread.
    pub ring: Option<RingSettings>,
    /// The first so many of a file only.
    pub count: Option<usize>,
    /// Worth of a second of contact, where spacecraft compete for antennas.
    #[serde(default = "worth")]
    pub value: f64,
}

fn worth() -> f64 {
    1.0
}

/// Circular orbits, evenly spread (Walker's delta pattern).
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RingSettings {
    /// Height over the equator's radius, km.
    pub height_km: f64,
    /// Inclination, degrees.
    pub inclination_deg: f64,
    /// Planes.
    pub planes: usize,
    /// Spacecraft in each.
    pub per_plane: usize,
}

/// Stores on board.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSettings {
    /// Most bytes.
    pub capacity_bytes: u64,
    /// Length of a segment.
    pub segment_bytes: u64,
    /// Media say that they synced, and did not: custody can't survive it, and a run is to say so.
    pub syncs_lie: bool,
    /// Further tables of the flight software's configuration, as its own file has them.
    pub flight: Spanned<String>,
    /// The line of the scenario's file that its first one stands in.
    #[serde(skip)]
    flight_line: usize,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            capacity_bytes: 1 << 30,
            segment_bytes: 4 << 20,
            syncs_lie: false,
            flight: Spanned::new(0..0, String::new()),
            flight_line: 1,
        }
    }
}

/// The station.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StationSettings {
    /// Bytes at which a segment is sealed.
    pub segment_bytes: u64,
    /// Its disk says that it synced, and did not.
    pub syncs_lie: bool,
}

impl Default for StationSettings {
    fn default() -> Self {
        Self { segment_bytes: 1 << 20, syncs_lie: false }
    }
}

/// Finds files that a scenario names.
pub type Files<'a> = &'a dyn Fn(&str) -> anyhow::Result<String>;

impl Scenario {
    /// Reads and checks a scenario; `file` is for messages.
    ///
    /// # Errors
    /// Unknown keys with their line and what may be meant, and values that make no sense.
    pub fn parse(file: &str, text: &str) -> anyhow::Result<Self> {
        let mut scenario: Self = codecs::config::parse(file, text)?;
        scenario.file = file.to_owned();
        scenario.store.flight_line = first_line(text, scenario.store.flight.span());
        scenario.check().map_err(|wrong| anyhow::anyhow!("{file}: {wrong}"))?;
        Ok(scenario)
    }

    /// When it starts.
    pub fn start(&self) -> Tai {
        Tai::from_rfc3339(&self.start).unwrap_or(Tai(0))
    }

    fn profile(&self) -> Option<Profile> {
        Profile::named(&self.link.profile)
    }

    /// The islands that it is flown as, and what antennas were given to them.
    ///
    /// # Errors
    /// Elements or files that can't be read, or orbits that end before the scenario does.
    pub fn islands(
        &self,
        seed: u64,
        files: Files<'_>,
    ) -> anyhow::Result<(Vec<IslandSettings>, Given)> {
        self.settle(seed, files, &|| false)
    }

    /// The same, unless it is `stopped` meanwhile: a large fleet takes a while.
    pub(super) fn settle(
        &self,
        seed: u64,
        files: Files<'_>,
        stopped: &dyn Fn() -> bool,
    ) -> anyhow::Result<(Vec<IslandSettings>, Given)> {
        self.settled(seed, files, stopped).map_err(|error| match stopped() {
            true => anyhow::anyhow!(STOPPED),
            false => error.context(self.file.clone()),
        })
    }

    fn settled(
        &self,
        seed: u64,
        files: Files<'_>,
        stopped: &dyn Fn() -> bool,
    ) -> anyhow::Result<(Vec<IslandSettings>, Given)> {
        let profile = self.profile().unwrap_or(codecs::link::profile::LEO);
        let (start, end) =
            (self.start(), self.start().plus((self.duration_s * 1_000_000_000) as i64));
        let sites: Vec<(Station, f64)> = self.site.iter().map(SiteSettings::station).collect();
        let config = self.flight();
        let described = match &self.link.file {
            Some(name) => Some(budget::file::read(name, &files(name)?)?),
            None => None,
        };
        let mut islands = Vec::new();
        let fleet = self.members(files)?;
        let lock_ns = (self.link.lock_s * 1e9) as i64;
        let mut given = self.given(&fleet, described.as_ref(), (start, end), stopped)?;
        for (index, Member { name, orbit, .. }) in fleet.into_iter().enumerate() {
            anyhow::ensure!(!stopped(), STOPPED);
            let seed = mix(seed ^ mix(index as u64));
            let radio = self.link.bearer == Bearer::Rf;
            let mut next = None;
            let planned = given.as_mut().and_then(|given| given.windows.get_mut(index));
            let planned = planned.map(std::mem::take);
            let mut windows = match (&self.link.fixed, &orbit, planned) {
                (_, _, Some(planned)) => planned,
                (Some(fixed), ..) => {
                    // Spread, so that not all of them rise at once.
                    let offset = mix(seed) as f64 / u64::MAX as f64;
                    let free_s = (fixed.period_s - fixed.contact_s).max(0.0);
                    let free_s = free_s.min(self.duration_s as f64 / 4.0);
                    let times = (
                        (fixed.contact_s * 1e9) as i64,
                        (fixed.period_s * 1e9) as i64,
                        (free_s * offset * 1e9) as i64,
                    );
                    let until = |to| Windows::fixed(fixed.range_km, (start, to), times, lock_ns);
                    let behind = end.plus(times.1.saturating_mul(2).min(NEXT_NS));
                    let behind = radio.then(|| until(behind));
                    next = behind.and_then(|of| {
                        let next = of.iter().find(|window| window.rise >= end)?;
                        Some((next.rise, next.to))
                    });
                    until(end)
                }
                (None, Some(orbit), _) => Windows::of_orbit(orbit, &sites, start, end, lock_ns)
                    .with_context(|| no_orbit(&name))?,
                (None, None, _) => {
                    anyhow::bail!("spacecraft {name}: neither an orbit nor link.fixed")
                }
            };
            let [mut down, mut up] = [true, false].map(|down| self.direction(down));
            if radio {
                next = next.or_else(|| next_pass(orbit.as_ref()?, &sites, end));
            }
            if radio && described.is_none() {
                windows.steady();
            }
            if let Some(of) = &described {
                let peak_bps = windows.by_radio(of, seed)?;
                let (channel, up_bps) = (&of.channel, self.link.up_bps);
                down = down.through(channel, peak_bps);
                up = up.through(channel, channel.return_rate_bps.unwrap_or(up_bps));
                up.loss.mean = channel.return_loss_share;
                windows.disturb(of);
            }
            if self.link.handover_s > 0.0 {
                let gap_ns = (self.link.handover_gap_ms * MILLISECOND_NS) as i64;
                windows.cut((self.link.handover_s * 1e9) as i64, gap_ns);
            }
            if let Some(FadeSettings { share, mean_s }) = self.link.fade {
                let fade = Fade { share, mean_s };
                windows = windows.faded(Fades::draw(fade, (start, end), mix(seed ^ 0xfade)));
            }
            let modem = self.modem(described.as_ref(), (&down, &up))?;
            islands.push(IslandSettings {
                modem,
                passes: given
                    .as_mut()
                    .and_then(|given| given.passes.get_mut(index).map(std::mem::take))
                    .unwrap_or_default(),
                next,
                file: self.file.clone(),
                sites: self.site_names(),
                index,
                name,
                orbit,
                windows,
                down,
                up,
                profile,
                telemetry: self.telemetry,
                config: config.clone(),
                segment_bytes: self.station.segment_bytes,
                syncs_lie: [self.station.syncs_lie, self.store.syncs_lie],
                faults: self.faults,
                start,
                duration_s: self.duration_s,
                seed,
            });
        }
        Ok((islands, given.unwrap_or_default()))
    }

    fn direction(&self, down: bool) -> Direction {
        let link = &self.link;
        Direction {
            rate_bps: if down { link.down_bps } else { link.up_bps },
            ground_delay_ns: (link.ground_delay_ms * MILLISECOND_NS) as i64,
            queue_ns: (link.queue_ms * MILLISECOND_NS) as i64,
            loss: LossSettings { mean: link.loss, burst_packets: link.burst_packets },
            late: (0.0, 0),
            twice_share: 0.0,
            back: !down,
            modem: link.bearer == Bearer::Rf,
        }
    }

    /// The flight software's configuration beside its identity.
    fn flight(&self) -> String {
        let StoreSettings { capacity_bytes, segment_bytes, flight, flight_line, .. } = &self.store;
        let flight = flight.get_ref();
        // Spacecraft go by the plan that the ground tells them, and sleep in between.
        let downlink = match flight.contains("[downlink]") || self.link.bearer == Bearer::Rf {
            true => "",
            false => "[downlink]\nsleep = true\n",
        };
        // A mistake in the scenario's own part is told by its line in the scenario.
        let above = "\n".repeat(flight_line.saturating_sub(1));
        format!(
            "{above}{flight}\n[store]\ndir = \"store\"\ncapacity_bytes = {capacity_bytes}\n\
             segment_bytes = {segment_bytes}\n{downlink}"
        )
    }
}

/// The line of a text that the content of a string begins in, from 1; `span` is that of the string
/// with its quotes.
fn first_line(text: &str, span: Range<usize>) -> usize {
    let lines = |bytes: usize| text.bytes().take(bytes).filter(|byte| *byte == b'\n').count();
    // A line break right behind three quotes is no part of it.
    let inside = text.get(span.clone()).unwrap_or_default();
    let quotes = ["\"\"\"", "'''"].into_iter().find_map(|quotes| inside.strip_prefix(quotes));
    let trimmed = quotes.is_some_and(|rest| rest.starts_with(['\n', '\r']));
    lines(span.start) + 1 + usize::from(trimmed)
}

fn no_orbit(name: &str) -> String {
    format!(
        "spacecraft {name} has no orbit over the whole scenario: decayed by its elements, or they are \
         of another time"
    )
}

/// The first pass that rises behind an instant, over any of these sites.
fn next_pass(orbit: &ElementSet, sites: &[(Station, f64)], end: Tai) -> Option<(Tai, Tai)> {
    const STEP_NS: i64 = 12 * 3_600 * 1_000_000_000;
    let mut from = end;
    while from.since(end) < NEXT_NS {
        let to = from.plus(STEP_NS);
        // Where elements lead no further, there is no next one.
        let found = sites.iter().flat_map(|(station, mask_deg)| {
            passes(orbit, station, from, to, *mask_deg).unwrap_or_default()
        });
        let next = found.filter(|pass| pass.rise > end).min_by_key(|pass| pass.rise);
        if let Some(pass) = next {
            return Some((pass.rise, pass.set));
        }
        from = to;
    }
    None
}

impl SiteSettings {
    fn station(&self) -> (Station, f64) {
        let place = Geodetic {
            latitude_deg: self.latitude_deg,
            longitude_deg: self.longitude_deg,
            height_m: self.height_m,
        };
        (Station::new(self.name.clone(), place), self.min_elevation_deg)
    }
}
