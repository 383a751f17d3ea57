//! Generated days: the simulated spacecraft through the pipeline, beside a bent pipe that sends
//! everything in its order.

use crate::blocks::BLOCK_PACKETS;
use crate::downlink::{Unit, contact_wait_s, send};
use crate::flight::Models;
use crate::tiles::{Sent, bent, clear_cells, others};
use anyhow::Context;
use codecs::ids::Codec;
use codecs::product::{Product, ProductKind};
use codecs::time::Tai;
use onboard::pipeline::{Outcome, Pipeline};
use onboard::store::KEPT;
use onboard::triage::read_tile;
use serde::Deserialize;
use serde_json::Value;
use sims::contact;
use sims::orbit::{ElementSet, Station, elements};
use sims::spacecraft::faults::{Broken, Fault, Faults};
use sims::spacecraft::{STEPS_PER_S, Spacecraft, packets::IMAGER, truth};
use std::collections::BTreeMap;
use tests::peers::packets::{PacketCodec, all};

/// What the bent pipe's telemetry goes through: the best of the others on recorded packets.
pub const BENT_PACKETS: &str = "XOR, columns, zstd 19";
/// Contacts go on for so many days after, until the bent pipe is empty.
const DRAIN_DAYS: i64 = 3;
const SECOND_NS: i64 = 1_000_000_000;
const ELEMENTS: &str = "orbit/skyfield/tles.txt";

/// `days.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub satellite: String,
    pub station: String,
    pub min_elevation_deg: f64,
    pub rates_bit_s: Vec<f64>,
    pub start: String,
    pub hours: u64,
    pub flush_ms: u64,
    pub day: Vec<Scenario>,
}

/// One day of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub seed: u64,
    pub fault: Vec<Broken>,
}

/// When a fault was told, seconds after it began, by a parameter that it shows in.
pub struct Told {
    pub day: u64,
    pub kind: String,
    pub onboard_s: Option<f64>,
    /// At the first rate.
    pub ground_s: Option<f64>,
}

/// A kind of thing on its way down: bytes, and seconds from capture to the ground.
pub struct Way {
    pub what: &'static str,
    pub rate_bit_s: f64,
    pub count: usize,
    pub bytes: usize,
    /// Not down when the contacts end.
    pub left: usize,
    pub all_s: Vec<f64>,
    pub contact_wait_excluded_s: Vec<f64>,
}

/// What came out of one day.
pub struct Day {
    pub seed: u64,
    pub tiles: Vec<Sent>,
    pub told: Vec<Told>,
    pub anomalies: usize,
    /// Parameters that were told outside of any fault, one for each time.
    pub false_alarms: Vec<String>,
    pub contacts: usize,
    pub contact_s: f64,
    /// Telemetry: as packets, by the bent pipe's codec, by ours.
    pub telemetry: [usize; 3],
    /// In the same order every day.
    pub ways: Vec<Way>,
}

impl Plan {
    /// The committed days.
    pub fn read() -> anyhow::Result<Self> {
        Ok(toml::from_str(include_str!("days.toml"))?)
    }

    fn start(&self) -> anyhow::Result<Tai> {
        Tai::from_rfc3339(&self.start).context("days.toml: start is no time")
    }
}

impl Scenario {
    fn faults(&self, start: Tai) -> anyhow::Result<Vec<Fault>> {
        let faults = self.fault.iter().map(|broken| broken.fault(start));
        faults.collect::<Result<_, _>>().map_err(|wrong| anyhow::anyhow!("days.toml: {wrong}"))
    }
}

/// Flies every day; none where the recorded orbit is absent.
pub fn measure(plan: &Plan, models: &Models, other: Option<usize>) -> anyhow::Result<Vec<Day>> {
    let Some(path) = tests::recorded(ELEMENTS) else { return Ok(Vec::new()) };
    let text = std::fs::read_to_string(path)?;
    let orbit = || -> anyhow::Result<ElementSet> {
        let mut orbits = elements::read(&text)?.into_iter();
        orbits.find(|orbit| orbit.name() == plan.satellite).context("days.toml: no such satellite")
    };
    let station: Station = plan.station.parse()?;
    let (start, end) = (plan.start()?, plan.start()?.plus(DRAIN_DAYS * 86_400 * SECOND_NS));
    let passes = contact::passes(&orbit()?, &station, start, end, plan.min_elevation_deg)?;
    let since = |at: Tai| at.since(start) as f64 / 1e9;
    let contacts: Vec<(f64, f64)> =
        passes.iter().map(|pass| (since(pass.rise), since(pass.set))).collect();
    let day = |scenario: &Scenario| {
        eprintln!("day {}: {} h", scenario.seed, plan.hours);
        let faults = scenario.faults(start)?;
        let flown = Faults::new(faults.clone());
        let craft = Spacecraft::new(orbit()?, start, scenario.seed, flown, Vec::new())?;
        let mut flown = Flown::new(models.pipeline(true, plan.flush_ms)?, start, plan.flush_ms);
        flown.fly(craft, plan.hours * 3600)?;
        Ok(flown.sum(scenario, &faults, &contacts, plan, other.unwrap_or_default()))
    };
    plan.day.iter().map(day).collect()
}

/// What is in a unit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tile,
    Summary,
    Telemetry,
    /// A record; the pipeline makes no other.
    Anomaly,
}

/// A day being flown.
struct Flown {
    pipeline: Pipeline,
    start: Tai,
    flush_s: f64,
    codecs: Vec<tests::peers::samples::SampleCodec>,
    packets: PacketCodec,
    tiles: Vec<Sent>,
    /// The clear share of each cell of each tile.
    clear: Vec<Vec<f64>>,
    ours: Vec<(Kind, Unit)>,
    bent: Vec<(Kind, Unit)>,
    telemetry: [usize; 3],
    /// What each anomaly was told of, in the order of their units.
    parameters: Vec<String>,
    /// The bent pipe's blocks that are being filled, by APID and length: since when, packets.
    open: BTreeMap<(u16, usize), (f64, Vec<u8>)>,
}

impl Flown {
    fn new(pipeline: Pipeline, start: Tai, flush_ms: u64) -> Self {
        let packets = all().into_iter().find(|codec| codec.name == BENT_PACKETS);
        Self {
            pipeline,
            start,
            flush_s: flush_ms as f64 / 1e3,
            codecs: others(),
            packets: packets.expect("a codec of the peers"),
            tiles: Vec::new(),
            clear: Vec::new(),
            ours: Vec::new(),
            bent: Vec::new(),
            telemetry: [0; 3],
            parameters: Vec::new(),
            open: BTreeMap::new(),
        }
    }

    fn seconds(&self, at: Tai) -> f64 {
        at.since(self.start) as f64 / 1e9
    }

    fn fly(&mut self, mut craft: Spacecraft, seconds: u64) -> anyhow::Result<()> {
        let mut packets = Vec::new();
        for step in 0..seconds * STEPS_PER_S {
            let now_ns = step * SECOND_NS as u64 / STEPS_PER_S;
            let now_s = now_ns as f64 / 1e9;
            craft.step(&mut packets)?;
            for packet in packets.drain(..) {
                self.take(packet, craft.cloudy(), now_s, now_ns);
            }
            if self.pipeline.timeout().is_some_and(|due| due <= now_ns) {
                self.pipeline.handle_timeout(now_ns);
                self.drain(now_s);
            }
            if step % STEPS_PER_S == 0 {
                self.close(now_s, self.flush_s);
            }
        }
        self.pipeline.finish(seconds * SECOND_NS as u64);
        self.drain(seconds as f64);
        self.close(seconds as f64, 0.0);
        Ok(())
    }

    fn take(&mut self, packet: Vec<u8>, cloudy: &[bool], now_s: f64, now_ns: u64) {
        let apid = u16::from_be_bytes([packet[0] & 7, packet[1]]);
        if apid == IMAGER.0 {
            self.tile(&packet, cloudy, now_s);
        } else {
            self.telemetry[0] += packet.len();
            let key = (apid, packet.len());
            let (_, block) = self.open.entry(key).or_insert_with(|| (now_s, Vec::new()));
            block.extend_from_slice(&packet);
            if block.len() >= BLOCK_PACKETS * packet.len() {
                self.block(key, now_s);
            }
        }
        let bytes = packet.into();
        self.pipeline.datagram(bytes, now_ns).expect("the simulator's packets are whole");
        self.drain(now_s);
    }

    /// The bent pipe's side of a tile, and what of it is known before triage.
    fn tile(&mut self, packet: &[u8], cloudy: &[bool], now_s: f64) {
        /// Primary header and time.
        const HEADER_BYTES: usize = 13;
        let data = packet[HEADER_BYTES..].to_vec().into();
        let tile = read_tile(&data).expect("the simulator's tiles are whole");
        let cells = clear_cells(tile.width.into(), |pixel| cloudy[pixel]);
        let clear = cells.iter().sum::<f64>() / cells.len() as f64;
        let (raw, others, lossless) = bent(&tile, &self.codecs);
        self.bent.push((Kind::Tile, unit(now_s, now_s, others[0], 1)));
        self.tiles.push(Sent { clear, raw, others, lossless, ..Sent::default() });
        self.clear.push(cells);
    }

    /// Closes the bent pipe's blocks that are older than so many seconds.
    fn close(&mut self, now_s: f64, age_s: f64) {
        let old = self.open.iter().filter(|(_, (since, _))| now_s - since >= age_s);
        let old: Vec<_> = old.map(|(key, _)| *key).collect();
        old.into_iter().for_each(|key| self.block(key, now_s));
    }

    fn block(&mut self, key: (u16, usize), now_s: f64) {
        let Some((since_s, block)) = self.open.remove(&key) else { return };
        let bytes = (self.packets.pack)(&block, key.1).len().min(block.len());
        self.telemetry[1] += bytes;
        self.bent.push((Kind::Telemetry, unit(since_s, now_s, bytes, 1)));
    }

    /// What the pipeline gives out.
    fn drain(&mut self, now_s: f64) {
        while let Some(outcome) = self.pipeline.poll() {
            let Outcome::Keep(stored) = outcome else { continue };
            // It stays on board.
            if stored.priority == KEPT {
                continue;
            }
            let bytes = stored.bytes.len();
            let kind = match stored.codec {
                Codec::Product => {
                    let product = Product::decode(&stored.bytes).expect("a product");
                    let id = product.id as usize;
                    if let (Some(tile), Some(cells)) = (self.tiles.get_mut(id), self.clear.get(id))
                    {
                        tile.went(&stored, &product, cells);
                    }
                    if product.kind == ProductKind::Summary { Kind::Summary } else { Kind::Tile }
                }
                Codec::Squeezed => {
                    self.telemetry[2] += bytes;
                    Kind::Telemetry
                }
                _ => {
                    let record: Value = serde_json::from_slice(&stored.bytes).expect("a record");
                    // What is no anomaly is the process's own talk.
                    let Some(parameter) = record["parameter"].as_str() else { continue };
                    self.parameters.push(parameter.to_owned());
                    Kind::Anomaly
                }
            };
            let captured_s = self.seconds(stored.captured);
            let mut made = unit(captured_s, now_s, bytes, stored.priority);
            if stored.deadline_s > 0 {
                made.due_s = captured_s + f64::from(stored.deadline_s);
            }
            self.ours.push((kind, made));
        }
    }

    fn sum(
        mut self,
        scenario: &Scenario,
        faults: &[Fault],
        contacts: &[(f64, f64)],
        plan: &Plan,
        other: usize,
    ) -> Day {
        // Which of the others is best is known from the recorded scenes alone.
        let mut tiles = self.tiles.iter();
        for (_, unit) in self.bent.iter_mut().filter(|(kind, _)| *kind == Kind::Tile) {
            unit.bytes = tiles.next().map_or(0, |tile| tile.others[other]);
        }
        let Self { ours, bent, parameters, telemetry, .. } = &self;
        let mut ways = Vec::new();
        for rate_bit_s in &plan.rates_bit_s {
            let (ours, bent) =
                (Down::new(ours, contacts, *rate_bit_s), Down::new(bent, contacts, *rate_bit_s));
            ways.extend([
                ours.way("ours: anomalies", Kind::Anomaly),
                ours.way("ours: tiles, or their clear parts", Kind::Tile),
                ours.way("ours: summaries of cloudy tiles", Kind::Summary),
                ours.way("ours: telemetry", Kind::Telemetry),
                bent.way("bent pipe: tiles", Kind::Tile),
                bent.way("bent pipe: telemetry", Kind::Telemetry),
            ]);
        }
        let down = Down::new(ours, contacts, plan.rates_bit_s[0]);
        let anomalies: Vec<(f64, Option<f64>)> = down.of(Kind::Anomaly).collect();
        let instant = |at_s: f64| self.start.plus((at_s * 1e9) as i64);
        let told = |(broken, fault): (&Broken, &Fault)| {
            let hit = anomalies.iter().zip(parameters).filter(|((at, _), parameter)| {
                truth::includes(fault, instant(*at)) && fault.kind.shows_in(parameter)
            });
            let earliest = |times: &mut dyn Iterator<Item = f64>| {
                times.reduce(f64::min).map(|at| at - broken.start_s)
            };
            Told {
                day: scenario.seed,
                kind: broken.kind.clone(),
                onboard_s: earliest(&mut hit.clone().map(|((at, _), _)| *at)),
                ground_s: earliest(&mut hit.filter_map(|((_, down), _)| *down)),
            }
        };
        let quiet = |at: f64| !faults.iter().any(|fault| truth::includes(fault, instant(at)));
        let false_alarms = anomalies.iter().zip(parameters).filter(|((at, _), _)| quiet(*at));
        let first = contacts.iter().filter(|(rise, _)| *rise < 86_400.0);
        Day {
            seed: scenario.seed,
            told: scenario.fault.iter().zip(faults).map(told).collect(),
            anomalies: anomalies.len(),
            false_alarms: false_alarms.map(|(_, parameter)| parameter.clone()).collect(),
            contacts: first.clone().count(),
            contact_s: first.map(|(rise, set)| set - rise).sum(),
            telemetry: *telemetry,
            ways,
            tiles: self.tiles,
        }
    }
}

fn unit(captured_s: f64, ready_s: f64, bytes: usize, priority: u8) -> Unit {
    Unit { captured_s: captured_s.max(0.0), ready_s, bytes, priority, due_s: f64::INFINITY }
}

/// Units and when they were down.
struct Down<'a> {
    units: &'a [(Kind, Unit)],
    down: Vec<Option<f64>>,
    contacts: &'a [(f64, f64)],
    rate_bit_s: f64,
}

impl<'a> Down<'a> {
    fn new(units: &'a [(Kind, Unit)], contacts: &'a [(f64, f64)], rate_bit_s: f64) -> Self {
        let plain: Vec<Unit> = units.iter().map(|(_, unit)| *unit).collect();
        Self { units, down: send(&plain, contacts, rate_bit_s), contacts, rate_bit_s }
    }

    /// Capture and arrival of all units of a kind.
    fn of(&self, kind: Kind) -> impl Iterator<Item = (f64, Option<f64>)> + '_ {
        let of = self.units.iter().zip(&self.down).filter(move |((of, _), _)| *of == kind);
        of.map(|((_, unit), down)| (unit.captured_s, *down))
    }

    fn way(&self, what: &'static str, kind: Kind) -> Way {
        let down: Vec<(f64, f64)> =
            self.of(kind).filter_map(|(captured, down)| Some((captured, down?))).collect();
        let of_kind = self.units.iter().filter(|(of, _)| *of == kind);
        let wait = |from: f64, to: f64| contact_wait_s(from, to, self.contacts);
        Way {
            what,
            rate_bit_s: self.rate_bit_s,
            count: of_kind.clone().count(),
            bytes: of_kind.map(|(_, unit)| unit.bytes).sum(),
            left: self.of(kind).filter(|(_, down)| down.is_none()).count(),
            all_s: down.iter().map(|(from, to)| to - from).collect(),
            contact_wait_excluded_s: down.iter().map(|(f, t)| t - f - wait(*f, *t)).collect(),
        }
    }
}
