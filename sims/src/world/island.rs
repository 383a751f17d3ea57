//! One spacecraft with its station's ledger, from start to end.
//!
//! Spacecraft meet nowhere but in the ledger, where their keys are apart by origin; so each has a
//! ledger of its own here, and a constellation is a row of islands that may run side by side. What
//! is lost by it: spacecraft don't compete for an antenna, for the station's memory or its disk.

mod radio;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::Context as _;
use codecs::{
    ids::{Origin, SpacecraftId},
    link::{profile::Profile, wire::PlannedContact},
    time::Tai,
};
use groundstation::admit::Action;

use super::{
    answer::{ContactAnswer, CraftAnswer, FaultAnswer, Sample, TrackPoint},
    antennas::{PlannedPass, passes_until},
    conserve::Conservation,
    craft::{Craft, CraftSettings, Radio},
    daemon::{Daemon, DaemonSettings, Peer},
    edge::Edge,
    faults::{Fault, FaultRates, draw, outages},
    identity::Authority,
    legs::{Direction, Windows, ground, leg},
    modem::Modem,
    net::{HEARD, Net, NodeId, Traffic, Turn},
    sensors::{Source, Telemetry},
};
use crate::{orbit::ElementSet, orbit::earth, orbit::earth::Geodetic, rng::mix};

const SECOND_NS: u64 = 1_000_000_000;
/// Points of a series.
const SAMPLES: u64 = 500;
/// Seconds between points of a ground track.
const TRACK_S: u64 = 60;
/// Most points of a ground track.
const TRACK_POINTS_MAX: u64 = 20_000;
/// The node of what happens to the world itself.
const WORLD: NodeId = NodeId(u32::MAX);

/// What an island is made from.
#[derive(Clone)]
pub struct IslandSettings {
    /// Number among the spacecraft of the scenario.
    pub index: usize,
    /// Name of the spacecraft.
    pub name: String,
    /// Its orbit, where it has one around the Earth.
    pub orbit: Option<ElementSet>,
    /// Its contacts.
    pub windows: Windows,
    /// Down to the station.
    pub down: Direction,
    /// Up to the spacecraft.
    pub up: Direction,
    /// Transport settings.
    pub profile: Profile,
    /// The modems at both ends, where frames carry its units instead of a connection.
    pub modem: Option<Modem>,
    /// Its passes, where spacecraft compete for antennas.
    pub passes: Vec<PlannedPass>,
    /// The first contact behind the end, rise and set: over a radio the plan on board holds it, or
    /// its last hours would be flown as if there were no plan.
    pub next: Option<(Tai, Tai)>,
    /// The scenario's file, for messages.
    pub file: String,
    /// Names of the sites, as contacts number them.
    pub sites: Vec<String>,
    /// What its sensors make.
    pub telemetry: Telemetry,
    /// Further keys of the flight software's configuration, each on the line of the scenario's file.
    pub config: String,
    /// Bytes at which the station seals a segment.
    pub segment_bytes: u64,
    /// Media that say that they synced and did not: the station's, and the spacecraft's.
    pub syncs_lie: [bool; 2],
    /// What breaks.
    pub faults: FaultRates,
    /// When it starts.
    pub start: Tai,
    /// How long it lasts.
    pub duration_s: u64,
    /// Seed of the island.
    pub seed: u64,
}

/// What an island came to.
#[derive(Clone, Debug)]
pub struct IslandAnswer {
    /// The spacecraft.
    pub craft: CraftAnswer,
    /// Custody at the end.
    pub conservation: Conservation,
    /// Everything that was sent, as one number.
    pub trace: u64,
    /// Datagrams sent.
    pub sent: u64,
    /// Faults that came.
    pub faults: Vec<FaultAnswer>,
}

/// What happens to the world itself.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Packets,
    Sample,
    /// A contact begins or ends.
    Contact {
        number: usize,
        ends: bool,
    },
    Fault(usize),
    CraftUp,
    EdgeUp,
    StationUp,
    DiskFree,
    StoreFree,
}

/// An island in flight.
pub struct Island {
    settings: IslandSettings,
    windows: Arc<Windows>,
    net: Net,
    craft: Craft,
    daemon: Daemon,
    /// What hears its frames, where it has a radio.
    edge: Option<Edge>,
    source: Source,
    faults: Vec<(u64, Fault)>,
    happenings: Vec<Happening>,
    answer: CraftAnswer,
    told: Vec<FaultAnswer>,
    /// What was against custody on the way.
    broken: Vec<String>,
    carried_at_rise: u64,
}

impl Island {
    /// Makes it; nothing has happened yet.
    ///
    /// # Errors
    /// Settings that the real code refuses.
    pub fn new(settings: IslandSettings) -> anyhow::Result<Self> {
        let IslandSettings { start, duration_s, seed, .. } = settings;
        let duration_ns = duration_s * SECOND_NS;
        let faults = draw(&settings.faults, duration_ns, seed);
        let mut windows = settings.windows.clone();
        let ground_ns = settings.down.ground_delay_ns + settings.up.ground_delay_ns;
        let plan = windows.plan(settings.down.rate_bps, ground_ns);
        windows.without(&outages(&faults, start));
        let windows = Arc::new(windows);
        let authority = Authority::new(seed)?;
        let (station, identity) = (authority.station("station")?, authority.client("craft")?);
        let mut origin = [0; 16];
        origin[..8].copy_from_slice(&mix(seed ^ 2).to_be_bytes());
        origin[8..].copy_from_slice(&(settings.index as u64).to_be_bytes());
        let id = settings.index as u16 + 1;
        let radio = radio::custody(&settings, &authority, (origin, id))?;
        let mut net = Net::new(start);
        let daemon = DaemonSettings {
            identity: station.clone(),
            profile: settings.profile,
            segment_bytes: settings.segment_bytes,
            radio: radio.as_ref().map(|(of, _)| of.clone()),
            seed: mix(seed ^ 1),
            syncs_lie: settings.syncs_lie[0],
        };
        let mut daemon = Daemon::new(daemon, &authority, start, &mut net)?;
        let mut peers = vec![Peer {
            key: identity.key_hash,
            name: settings.name.clone(),
            origin: Origin(origin),
            spacecraft: SpacecraftId(id),
            actions: [Action::Deliver].into(),
            plan: plan.clone(),
        }];
        let mut edge = None;
        if let Some((radio, _)) = &radio {
            let made = radio::edge(&settings, &authority, (radio, &station))?;
            peers.push(Peer {
                key: made.identity.key_hash,
                name: "edge".into(),
                origin: Origin(made.origin),
                spacecraft: SpacecraftId(id),
                actions: [Action::Deliver, Action::Carry].into(),
                plan: Vec::new(),
            });
            edge = Some(Edge::new(made, &mut net, daemon.node)?);
        }
        daemon.enrol(peers);
        let next = settings.next.map(|(rise, set)| PlannedContact {
            rise,
            set,
            rate_bps: 0,
            rtt_ns: plan.last().map_or(0, |last| last.whole.rtt_ns),
        });
        let steady = |of: PlannedContact| PlannedContact { rate_bps: 0, ..of };
        let craft = CraftSettings {
            name: settings.name.clone(),
            id,
            identity: identity.clone(),
            station,
            origin,
            profile: settings.profile,
            file: settings.file.clone(),
            config: settings.config.clone(),
            radio: radio.map(|(of, key)| Radio {
                modem: of.modem,
                key,
                // The radio's own rate is what it sends at.
                plan: plan.iter().map(|of| of.whole).chain(next).map(steady).collect(),
            }),
            seed: mix(seed ^ 3),
            syncs_lie: settings.syncs_lie[1],
        };
        let below = edge.as_ref().map_or(daemon.node, |edge| edge.node);
        let craft = Craft::new(craft, &mut net, below)?;
        if let Some(edge) = &edge {
            net.lay(edge.node, daemon.node, ground(mix(seed ^ 7)));
            net.lay(daemon.node, edge.node, ground(mix(seed ^ 8)));
            daemon.speak_to(craft.node);
        }
        net.lay(craft.node, below, leg(&windows, &settings.down, mix(seed ^ 4)));
        net.lay(daemon.node, craft.node, leg(&windows, &settings.up, mix(seed ^ 5)));
        let contacts = windows.iter().map(|window| (window.rise, window.to)).collect();
        let source = Source::new(
            &settings.telemetry,
            settings.orbit.as_ref(),
            (start, contacts),
            mix(seed ^ 6),
        )?;
        let answer = CraftAnswer { name: settings.name.clone(), ..CraftAnswer::default() };
        let mut island = Self {
            settings,
            windows,
            net,
            craft,
            daemon,
            edge,
            source,
            faults,
            happenings: Vec::new(),
            answer,
            told: Vec::new(),
            broken: Vec::new(),
            carried_at_rise: 0,
        };
        island.begin()?;
        Ok(island)
    }

    fn begin(&mut self) -> anyhow::Result<()> {
        self.daemon.boot(&mut self.net)?;
        if let Some(edge) = &mut self.edge {
            edge.boot(&mut self.net)?;
        }
        self.craft.boot(&mut self.net)?;
        self.at(0, Happening::Packets);
        self.at(0, Happening::Sample);
        for number in 0..self.faults.len() {
            let at_ns = self.faults.get(number).map_or(0, |(at, _)| *at);
            self.at(at_ns, Happening::Fault(number));
        }
        let times: Vec<(u64, u64)> =
            self.windows.iter().map(|of| (self.ns(of.from), self.ns(of.to))).collect();
        for (number, (from, to)) in times.into_iter().enumerate() {
            self.at(from, Happening::Contact { number, ends: false });
            self.at(to, Happening::Contact { number, ends: true });
        }
        self.track()
    }

    fn ns(&self, at: Tai) -> u64 {
        at.since(self.settings.start).max(0) as u64
    }

    fn at(&mut self, at_ns: u64, happening: Happening) {
        self.happenings.push(happening);
        self.net.wake(WORLD, at_ns, self.happenings.len() as u64 - 1);
    }

    /// Where the spacecraft will be.
    fn track(&mut self) -> anyhow::Result<()> {
        let Some(orbit) = &self.settings.orbit else { return Ok(()) };
        let step_s = TRACK_S.max(self.settings.duration_s / TRACK_POINTS_MAX);
        for second in (0..=self.settings.duration_s).step_by(step_s as usize) {
            let at = self.settings.start.plus((second * SECOND_NS) as i64);
            let there = orbit.propagate(at).context("it has no orbit any more")?;
            let fixed = earth::earth_fixed(there, at);
            let Geodetic { latitude_deg, longitude_deg, height_m } =
                Geodetic::from_fixed(fixed.position_km);
            self.answer.ground_track.push(TrackPoint {
                at_s: second as f64,
                latitude_deg,
                longitude_deg,
                height_km: height_m / 1e3,
            });
        }
        Ok(())
    }

    /// Nanoseconds since the start.
    pub fn now_ns(&self) -> u64 {
        self.net.now_ns()
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.net.now_ns() >= self.settings.duration_s * SECOND_NS
    }

    /// Flies on until `until_ns`, or the end, or until it is to `stop`: a minute of a simulated day
    /// may be many seconds of squeezing.
    ///
    /// # Errors
    /// A store or an archive that can't be opened after a fault: a defect, with what it says.
    pub fn fly(&mut self, until_ns: u64, stop: &AtomicBool) -> anyhow::Result<()> {
        let until_ns = until_ns.min(self.settings.duration_s * SECOND_NS);
        while !stop.load(Ordering::Relaxed)
            && let Some(turn) = self.net.next(until_ns)
        {
            match turn {
                Turn::Wake(WORLD, token) => {
                    if let Some(happening) = self.happenings.get(token as usize).copied() {
                        self.happen(happening)?;
                    }
                }
                Turn::Wake(node, HEARD) => self.heard(node),
                Turn::Wake(node, token) if node == self.daemon.node => {
                    self.daemon.woken(&mut self.net, token);
                }
                Turn::Wake(node, token) if node == self.craft.node => {
                    self.craft.woken(&mut self.net, token);
                }
                Turn::Connection(id) if id.node == self.daemon.node => {
                    self.daemon.connection(&mut self.net, id);
                }
                Turn::Connection(id) if id.node == self.craft.node => {
                    self.craft.connection(&mut self.net, id);
                }
                Turn::Wake(_, token) => {
                    if let Some(edge) = &mut self.edge {
                        edge.woken(&mut self.net, token);
                    }
                }
                Turn::Connection(id) => {
                    if let Some(edge) = &mut self.edge {
                        edge.connection(&mut self.net, id);
                    }
                }
            }
            let now_ns = self.net.now_ns();
            for key in self.daemon.take_archived() {
                self.craft.book.archived(key, self.settings.start, now_ns);
            }
        }
        Ok(())
    }

    /// What the station receipted is there after its crash, before anybody sends it again.
    fn hold_to_receipts(&mut self) {
        if let (Some((ledger, id)), Some(store)) = (self.daemon.ledger(), self.craft.store()) {
            self.broken.extend(Conservation::lacking(store, ledger, id));
        }
    }

    /// A modem hands on what it heard.
    fn heard(&mut self, node: NodeId) {
        let Some(bytes) = self.net.heard() else { return };
        if node == self.craft.node {
            self.craft.hear(&mut self.net, &bytes);
        } else if let Some(edge) = &mut self.edge {
            let site = self.windows.last(self.net.now()).map_or(0, |window| window.site);
            edge.hear(&mut self.net, site, &bytes);
        }
    }

    /// What passed to where its units go.
    fn traffic(&self) -> Traffic {
        let below = self.edge.as_ref().map_or(self.daemon.node, |edge| edge.node);
        self.net.traffic(self.craft.node, below)
    }

    fn carried(&self) -> u64 {
        self.traffic().delivered_bytes
    }

    fn happen(&mut self, happening: Happening) -> anyhow::Result<()> {
        let now_ns = self.net.now_ns();
        match happening {
            Happening::Packets => {
                let now = self.net.now();
                let packets = self.source.take(now_ns, now, self.craft.stamp(now))?;
                for packet in packets {
                    self.craft.packet(packet, now_ns);
                }
                self.craft.step(&mut self.net);
                let due = self.source.due_ns(now_ns).max(now_ns + 1);
                // One entry serves all of them.
                self.net.wake(WORLD, due, 0);
            }
            Happening::Sample => {
                self.sample();
                let every = (self.settings.duration_s * SECOND_NS / SAMPLES).max(SECOND_NS);
                self.net.wake(WORLD, now_ns + every, 1);
            }
            Happening::Contact { number, ends } => self.contact(number, ends),
            Happening::Fault(number) => self.fault(number),
            Happening::CraftUp => {
                if !self.craft.is_up() {
                    self.craft.boot(&mut self.net)?;
                }
            }
            Happening::EdgeUp => {
                if let Some(edge) = self.edge.as_mut().filter(|edge| !edge.is_up()) {
                    edge.boot(&mut self.net)?;
                }
            }
            Happening::StationUp => {
                if !self.daemon.is_up() {
                    self.daemon.boot(&mut self.net)?;
                    self.hold_to_receipts();
                }
            }
            Happening::DiskFree => {
                self.daemon.set_room(None);
                if self.daemon.waits_for_room() {
                    self.daemon.boot(&mut self.net)?;
                    self.hold_to_receipts();
                }
            }
            Happening::StoreFree => self.craft.free(),
        }
        Ok(())
    }

    fn contact(&mut self, number: usize, ends: bool) {
        if !ends {
            self.carried_at_rise = self.carried();
            return;
        }
        let Some(window) = self.windows.iter().nth(number) else { return };
        // One that lasts counts as far as it went.
        let mut window = window.clone();
        window.to = window.to.min(self.net.now());
        let capacity = self.windows.bits(&window, self.settings.down.rate_bps) / 8.0;
        let contact = ContactAnswer {
            site: window.site,
            rise_s: self.ns(window.rise) as f64 / 1e9,
            set_s: self.ns(window.to) as f64 / 1e9,
            max_elevation_deg: window.max_elevation_deg,
            antenna: window.antenna,
            capacity_bytes: capacity as u64,
            carried_bytes: self.carried() - self.carried_at_rise,
        };
        self.answer.capacity_bytes += contact.capacity_bytes;
        self.answer.contacts.push(contact);
    }

    fn sample(&mut self) {
        let (backlog_units, backlog_bytes) = self.craft.backlog();
        let rate_bps = self.windows.at(self.net.now()).map_or(0.0, |(_, window)| {
            let now = self.net.now();
            let share = if self.windows.is_faded(now) { 0.0 } else { window.share(now) };
            share * self.settings.down.rate_bps
        });
        self.answer.series.push(Sample {
            at_s: self.net.now_ns() as f64 / 1e9,
            backlog_units,
            backlog_bytes,
            made_bytes: self.craft.made.1,
            delivered_bytes: self.craft.book.delivered_bytes(),
            carried_bytes: self.carried(),
            rate_bps,
        });
    }

    fn fault(&mut self, number: usize) {
        let Some((at_ns, fault)) = self.faults.get(number).copied() else { return };
        let seed = mix(self.settings.seed ^ at_ns);
        match fault {
            Fault::PowerCut { cut, off_ns } => {
                self.craft.cut(&mut self.net, cut, seed);
                self.at(at_ns + off_ns, Happening::CraftUp);
            }
            Fault::EdgeCut { cut, off_ns } => {
                if let Some(edge) = &mut self.edge {
                    edge.cut(&mut self.net, cut, seed);
                }
                self.at(at_ns + off_ns, Happening::EdgeUp);
            }
            Fault::StationCrash { how, off_ns } => {
                self.daemon.crash(&mut self.net, how);
                self.at(at_ns + off_ns, Happening::StationUp);
            }
            Fault::DiskLost(ns) => {
                self.daemon.destroy(&mut self.net);
                self.at(at_ns + ns, Happening::StationUp);
            }
            Fault::DiskFull(ns) => {
                self.daemon.set_room(Some(0));
                self.at(at_ns + ns, Happening::DiskFree);
            }
            Fault::StoreFull { full_ns, left_bytes } => {
                self.craft.fill(left_bytes);
                self.at(at_ns + full_ns, Happening::StoreFree);
            }
            Fault::CraftClock(ns) => self.craft.clock_offset_ns += ns,
            Fault::StationClock(ns) => self.daemon.clock_offset_ns += ns,
            // The legs know of it from the start.
            Fault::Partition(_) => {}
        }
        self.told.push(FaultAnswer {
            at_s: at_ns as f64 / 1e9,
            what: fault.name(),
            craft: fault.is_of_craft().then_some(self.settings.index),
        });
    }

    /// What it came to.
    ///
    /// # Errors
    /// A store or an archive that can't be opened any more.
    pub fn finish(mut self) -> anyhow::Result<IslandAnswer> {
        self.sample();
        if let Some((number, _)) = self.windows.at(self.net.now())
            && self.answer.contacts.len() <= number
        {
            self.contact(number, true);
        }
        let (ledger, ledger_id, wrong) = self.daemon.reckon()?;
        let mut store = self.craft.reckon()?;
        let mut conservation = Conservation::of(&mut store, &ledger, ledger_id);
        conservation.broken.extend(std::mem::take(&mut self.broken));
        conservation.broken.extend(wrong);
        if self.daemon.tally.conflict > 0 {
            let conflicts = self.daemon.tally.conflict;
            conservation.broken.push(format!("{conflicts} units came again with other bytes"));
        }
        if !self.daemon.tally.balances() {
            conservation.broken.push(format!("a unit has no fate: {:?}", self.daemon.tally));
        }
        if let Some(edge) = &self.edge {
            // Frames are no units of the spacecraft's: they only must not be missing.
            let frames = Conservation::of(&mut edge.reckon()?, &ledger, ledger_id);
            let of_edge = frames.broken.into_iter().map(|line| format!("edge: {line}"));
            conservation.broken.extend(of_edge);
        }
        let sent = self.traffic();
        let sources = self.craft.sources(&store);
        let mut craft = self.answer;
        if self.edge.is_some() {
            craft.frames = sent.offered;
            craft.frames_lost = sent.lost + sent.queue_full;
            craft.frames_unheard = sent.invisible;
        }
        (craft.packets, craft.packet_bytes) = self.craft.made;
        (craft.connections, craft.object_bytes) = self.craft.sent();
        craft.boots = self.craft.boots;
        craft.flown_s = self.net.now_ns() as f64 / 1e9;
        let [passes, unserved] = passes_until(&self.settings.passes, craft.flown_s);
        (craft.passes, craft.passes_s) = passes;
        (craft.unserved, craft.unserved_s) = unserved;
        craft.carried_bytes = sent.delivered_bytes;
        craft.sources = sources;
        craft.delivered_bytes = self.craft.book.delivered_bytes();
        craft.latency = std::mem::take(&mut self.craft.book.samples);
        craft.delivered_units = craft.latency.len() as u64;
        let trace = self.net.trace();
        Ok(IslandAnswer {
            craft,
            conservation,
            trace: trace.hash(),
            sent: trace.events(),
            faults: self.told,
        })
    }
}
