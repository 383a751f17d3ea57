//! The edge between the antennas and the station: its own cores over a medium that may lose power.
//!
//! ```text
//! modem ─► intake ─► labeller ─► spool ─► courier ─► station
//! ```

use std::{collections::VecDeque, path::Path, sync::Arc};

use anyhow::Context as _;
use codecs::{
    ids::StoreEpoch,
    link::{custody::Durability, object::TimeSource, profile::Profile},
    mission::Definition,
    time::Tai,
};
use codecs_quic::{FromLink, PlannedLink, TransportOptions, courier::Courier};
use codecs_store::{
    Schedule, Store, StoreError,
    forgetful::{Cut, Forgetful},
};
use groundstation::edge::{
    config::{EdgeConfig, Input},
    intake::{Intake, Reception},
    label::Labeller,
    recorded::Stamp,
    spool::{Spool, change},
};

use super::{
    craft::link::{Ends, Link},
    identity::Identity,
    modem::Modem,
    net::{LinkId, Net, NodeId, Settings},
};
use crate::rng::{Random, mix};

const MILLISECOND_NS: u64 = 1_000_000;
/// Bytes pending in the spool that are not left to wait for company, as an edge has it.
const COMMIT_BYTES: u64 = 1 << 20;
/// What the spool of a world's edge holds: it keeps what was receipted until it needs the room.
const SPOOL_BYTES: u64 = 64 << 20;
const SEGMENT_BYTES: u64 = 4 << 20;

/// What an edge is made from.
pub struct EdgeSettings {
    /// Its keys.
    pub identity: Identity,
    /// Keys of the station.
    pub station: Identity,
    /// Its spool's origin.
    pub origin: [u8; 16],
    /// Frames, and what is done to them.
    pub modem: Modem,
    /// What is known of the spacecraft.
    pub mission: Arc<Definition>,
    /// An input each.
    pub sites: Vec<String>,
    /// Seed of what is random there.
    pub seed: u64,
}

impl EdgeSettings {
    fn config(&self) -> anyhow::Result<EdgeConfig> {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut text = format!(
            "mission = \"mission.toml\"\nantenna = 1\n[station]\naddress = \"station:7117\"\n[identity]\ncertificate = \"edge.crt\"\n\
             key = \"edge.key\"\nstation_pins = [\"sha256:{}\"]\norigin = \"{}\"\n\
             [spool]\nspool_bytes = {SPOOL_BYTES}\nsegment_bytes = {SEGMENT_BYTES}\n",
            hex(&self.station.key_hash),
            hex(&self.origin),
        );
        for (number, site) in self.sites.iter().enumerate() {
            text += &self.modem.input(site, number + 1);
        }
        let config = EdgeConfig::parse("the edge's configuration", &text, Path::new("/edge"))?;
        config.check().map_err(anyhow::Error::msg)?;
        Ok(config)
    }

    fn node(&self, lives: u64) -> Settings {
        Settings {
            seed: mix(self.seed ^ lives),
            key: self.identity.key_hash,
            options: TransportOptions::default(),
            server: None,
        }
    }

    fn profile(&self) -> Profile {
        codecs::link::profile::LEO
    }
}

/// What runs while there is power.
struct Running {
    started_ns: u64,
    intakes: Vec<Intake>,
    labeller: Labeller,
    waiting: VecDeque<(usize, Stamp, Reception)>,
    spool: Spool<Forgetful>,
    schedule: Schedule,
    courier: Courier,
    link: Link,
}

/// An edge in its world.
pub struct Edge {
    /// Where it is in the net.
    pub node: NodeId,
    /// By how much its clock is off.
    pub clock_offset_ns: i64,
    settings: EdgeSettings,
    config: EdgeConfig,
    inputs: Vec<Input>,
    station: NodeId,
    medium: Forgetful,
    running: Option<Running>,
    lives: u64,
    woken_ns: Option<u64>,
}

impl Edge {
    /// An edge without power.
    ///
    /// # Errors
    /// Settings that its own checks refuse.
    pub fn new(settings: EdgeSettings, net: &mut Net, station: NodeId) -> anyhow::Result<Self> {
        let config = settings.config()?;
        let inputs = config.inputs(&settings.mission).map_err(anyhow::Error::msg)?;
        let node = net.add(settings.node(0));
        Ok(Self {
            node,
            clock_offset_ns: 0,
            settings,
            config,
            inputs,
            station,
            medium: Forgetful::new(),
            running: None,
            lives: 0,
            woken_ns: None,
        })
    }

    fn open(&self, medium: Forgetful) -> anyhow::Result<Store<Forgetful>> {
        let epoch = StoreEpoch(Random::new(self.settings.seed, "epoch").bits());
        let origin = self.config.origin().map_err(anyhow::Error::msg)?;
        let limits = self.config.limits(Durability::Local);
        Store::open(medium, limits, origin, epoch).context("the edge's spool")
    }

    /// Power comes on: the edge starts on what its medium holds.
    ///
    /// # Errors
    /// A spool that can't be opened.
    pub fn boot(&mut self, net: &mut Net) -> anyhow::Result<()> {
        self.lives += 1;
        net.restart(self.node, self.settings.node(self.lives));
        let spool = Spool::new(self.open(self.medium.clone())?);
        let intakes = self.inputs.iter().map(|of| Intake::new(&of.carrying, of.envelope));
        let profile = self.settings.profile();
        let courier = Courier::new(&spool, profile.objects_max);
        let EdgeSettings { identity, station, seed, .. } = &self.settings;
        let ends = Ends { identity, station, profile: &profile, seed: *seed };
        let options = TransportOptions::default();
        // The way to the station is shared, and there all the time.
        let (planned, awake) = (PlannedLink::default(), Box::new(|| true));
        self.running = Some(Running {
            started_ns: net.now_ns(),
            intakes: intakes.collect::<Result<_, _>>()?,
            labeller: Labeller::new(Arc::clone(&self.settings.mission)),
            waiting: VecDeque::new(),
            schedule: Schedule::new(self.config.spool.commit_ms * MILLISECOND_NS, COMMIT_BYTES),
            link: Link::new(&ends, &options, &planned, awake, self.lives)?,
            spool,
            courier,
        });
        self.step(net);
        Ok(())
    }

    /// Power goes: what was not synced is gone, as the cut says.
    pub fn cut(&mut self, net: &mut Net, cut: Cut, seed: u64) {
        self.running = None;
        self.medium = self.medium.survivors(cut, seed);
        net.restart(self.node, self.settings.node(self.lives | 1 << 32));
        self.woken_ns = None;
    }

    /// Whether it has power.
    pub fn is_up(&self) -> bool {
        self.running.is_some()
    }

    /// The modem of a site hands on what it made of the air.
    pub fn hear(&mut self, net: &mut Net, site: usize, bytes: &[u8]) {
        let received = net.now().plus(self.clock_offset_ns);
        let stamp = Stamp { received, source: TimeSource::Measured };
        let Some(running) = &mut self.running else { return };
        let Running { intakes, waiting, .. } = running;
        if let Some(intake) = intakes.get_mut(site) {
            // A stream of coded units is found again by its markers: it is never lost for good.
            let _ = intake.push(bytes, &mut |heard| waiting.push_back((site, stamp, heard)));
        }
        self.step(net);
    }

    /// Takes what its connection tells.
    pub fn connection(&mut self, net: &mut Net, id: LinkId) {
        match &mut self.running {
            Some(running) => {
                let mono = net.now_ns() - running.started_ns;
                running.link.events(net, id, &mut running.courier, mono);
                // Reading gives credit, which is to be told.
                net.touch(id);
            }
            None => while net.poll(id).is_some() {},
        }
        self.step(net);
    }

    /// A time that it asked for has come.
    pub fn woken(&mut self, net: &mut Net, token: u64) {
        if self.woken_ns == Some(token) {
            self.woken_ns = None;
            self.step(net);
        }
    }

    /// Does what is due, and asks to be woken for what is next.
    pub fn step(&mut self, net: &mut Net) {
        let (now_ns, time) = (net.now_ns(), net.now().plus(self.clock_offset_ns));
        let Some(running) = &mut self.running else { return };
        let mono = now_ns - running.started_ns;
        running.keep(net, &self.inputs, (time, mono));
        running.link.tend(net, (self.node, self.station), &mut running.courier, mono);
        running.pump(net, (time, mono));
        let due =
            [running.schedule.timeout(), running.courier.sender.timeout(), running.link.timeout()];
        let due = due.into_iter().flatten().min().unwrap_or(u64::MAX);
        let at_ns = due.saturating_add(running.started_ns).max(now_ns + MILLISECOND_NS);
        if self.woken_ns.is_none_or(|woken| at_ns < woken) {
            self.woken_ns = Some(at_ns);
            net.wake(self.node, at_ns, at_ns);
        }
    }

    /// The spool as the next start would find it, for whoever reckons at the end.
    ///
    /// # Errors
    /// A spool that can't be opened.
    pub fn reckon(&self) -> anyhow::Result<Store<Forgetful>> {
        self.open(self.medium.survivors(Cut::Keep, 1))
    }
}

impl Running {
    /// Numbers what waits, and commits when it is time.
    fn keep(&mut self, net: &mut Net, inputs: &[Input], (time, mono): (Tai, u64)) {
        if self.schedule.rests(mono) {
            return;
        }
        while let Some((site, stamp, heard)) = self.waiting.front() {
            let Some(input) = inputs.get(*site) else { break };
            let (label, annotation) = self.labeller.heard(heard, input, *stamp);
            match self.spool.take(&label, &annotation, input.priority, &heard.bytes) {
                Err(StoreError::Pending(_)) => {
                    self.commit(net, (time, mono));
                    if self.schedule.rests(mono) {
                        return;
                    }
                }
                // Nothing that an intake hands out is too long for a spool.
                Ok(_) | Err(_) => _ = self.waiting.pop_front(),
            }
        }
        match self.spool.store().pending_bytes() {
            0 => {}
            bytes => self.schedule.pending(bytes, mono),
        }
        if self.schedule.is_due(mono) {
            self.commit(net, (time, mono));
        }
    }

    fn commit(&mut self, net: &mut Net, (time, mono): (Tai, u64)) {
        match self.spool.store().commit(time) {
            Ok(committed) => {
                self.schedule.committed();
                if !committed.stored.is_empty() || !committed.evicted.is_empty() {
                    for id in self.courier.committed(change(committed)) {
                        self.link.cancel(net, &mut self.courier, id);
                    }
                }
            }
            Err(error) => _ = self.schedule.failed(error, mono),
        }
    }

    /// Lets the courier and the connection work until neither has anything to do.
    fn pump(&mut self, net: &mut Net, (time, mono): (Tai, u64)) {
        let Self { courier, spool, schedule, link, .. } = self;
        while let Some(event) = courier.sender.poll_event() {
            courier.handle(event, spool, |from| {
                // An edge uses neither plan nor time, and radiates nothing in a world.
                if matches!(from, FromLink::Dirty) {
                    schedule.dirty(mono);
                }
            });
        }
        if courier.handled() {
            courier.take_up(spool);
        }
        link.pump(net, courier, spool, (time, mono), |_| {});
    }
}
