//! A spacecraft: the flight software's own cores over a medium that may lose power, and its link.

mod link;

use std::{collections::BTreeMap, path::Path};

use codecs::{
    ids::{SpacecraftId, StoreEpoch, UnitKey},
    link::{profile::Profile, sender::Plan},
    time::Tai,
};
use codecs_quic::{TransportOptions, courier::Courier};
use codecs_store::forgetful::{Cut, Forgetful};
use onboard::{
    config::Config,
    downlink::Bearer,
    keep::Keep,
    pipeline::Pipeline,
    realtime,
    score::TileScorer,
    shell::{
        contact::Contacts,
        held::{Held, change},
    },
    store::{Committed, Store},
    triage,
};
use serde_json::json;

use self::link::Link;
use super::{
    answer::{LatencySample, Waits},
    identity::Identity,
    net::{Net, NodeId, Settings},
    shell::epoch,
};
use crate::rng::{Random, mix};

const MILLISECOND_NS: u64 = 1_000_000;
/// How often what is still held is told while connected, as the flight software does.
const BACKLOG_EVERY_NS: u64 = 2_000 * MILLISECOND_NS;

/// What a spacecraft is made from.
#[derive(Clone)]
pub struct CraftSettings {
    /// Name.
    pub name: String,
    /// The mission's number.
    pub id: u16,
    /// Keys that `onboard` would read from files.
    pub identity: Identity,
    /// Keys of the station.
    pub station: Identity,
    /// Its store's origin.
    pub origin: [u8; 16],
    /// Transport settings.
    pub profile: Profile,
    /// Further keys of the flight software's configuration, as TOML.
    pub config: String,
    /// Seed of everything random on board.
    pub seed: u64,
    /// Its medium says that it synced, and did not.
    pub syncs_lie: bool,
}

impl CraftSettings {
    /// The configuration as the flight software reads it from a file.
    ///
    /// # Errors
    /// What the flight software refuses.
    pub fn config(&self) -> anyhow::Result<Config> {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let text = format!(
            "[spacecraft]\nid = {}\nname = {:?}\n[identity]\ncertificate = \"identity.crt\"\n\
             key = \"identity.key\"\nground_pins = [\"sha256:{}\"]\norigin = \"{}\"\n\
             [ground]\naddress = \"station:7117\"\nserver_name = \"station\"\nprofile = \"{}\"\n\
             [source]\nunix = \"sensors.sock\"\n{}",
            self.id,
            self.name,
            hex(&self.station.key_hash),
            hex(&self.origin),
            self.profile.name,
            self.config,
        );
        Config::parse("scenario [spacecraft] flight", &text, Path::new("/flight"))
    }

    fn node(&self, boots: u64) -> Settings {
        Settings {
            seed: mix(self.seed ^ boots),
            key: self.identity.key_hash,
            options: options(),
            server: None,
        }
    }
}

fn options() -> TransportOptions {
    // As the flight software has it with quick-look datagrams, which no world sends.
    TransportOptions { datagram_buffer_bytes: Some(8 << 10), ..TransportOptions::default() }
}

/// Where units are on their way, which the spacecraft itself does not remember.
#[derive(Debug, Default)]
pub struct Book {
    under_way: BTreeMap<UnitKey, Entry>,
    /// Ways that are over, in order of archiving.
    pub samples: Vec<LatencySample>,
    weighted: Waits,
    bytes: f64,
}

#[derive(Debug)]
struct Entry {
    captured: Tai,
    stored_ns: u64,
    sent_ns: Option<u64>,
    bytes: u32,
}

impl Book {
    fn stored(&mut self, committed: &Committed, now_ns: u64) {
        for unit in &committed.stored {
            self.under_way.entry(unit.key).or_insert(Entry {
                captured: unit.captured,
                stored_ns: now_ns,
                sent_ns: None,
                bytes: unit.length,
            });
        }
    }

    fn sent(&mut self, plan: &Plan, now_ns: u64) {
        let key = |sequence| UnitKey { prefix: plan.prefix, sequence };
        for (_, entry) in self.under_way.range_mut(key(plan.range.first)..=key(plan.range.last)) {
            entry.sent_ns.get_or_insert(now_ns);
        }
    }

    /// A unit is in the archive.
    pub fn archived(&mut self, key: UnitKey, start: Tai, now_ns: u64) {
        let Some(entry) = self.under_way.remove(&key) else { return };
        let seconds = |ns: u64| ns as f64 / 1e9;
        // A clock that steps may say that something was captured in the future, and one that
        // nobody has told the time yet that it was long ago.
        let captured_s = entry.captured.since(start) as f64 / 1e9;
        let known = (0.0..seconds(entry.stored_ns)).contains(&captured_s);
        let captured_s = if known { captured_s } else { seconds(entry.stored_ns) };
        let sent_ns = entry.sent_ns.unwrap_or(now_ns);
        let bytes = f64::from(entry.bytes);
        self.weighted.block_s += bytes * (seconds(entry.stored_ns) - captured_s);
        self.weighted.store_s += bytes * seconds(sent_ns.saturating_sub(entry.stored_ns));
        self.weighted.link_s += bytes * seconds(now_ns.saturating_sub(sent_ns));
        self.bytes += bytes;
        self.samples.push(LatencySample {
            captured_s,
            stored_s: seconds(entry.stored_ns),
            sent_s: seconds(sent_ns),
            archived_s: seconds(now_ns),
            bytes: entry.bytes,
            channel: key.prefix.channel.0,
        });
    }

    /// Bytes of units archived.
    pub fn delivered_bytes(&self) -> u64 {
        self.bytes as u64
    }

    /// Where bytes waited.
    pub fn waits(&self) -> Waits {
        let bytes = self.bytes.max(1.0);
        let Waits { block_s, store_s, link_s } = self.weighted;
        Waits { block_s: block_s / bytes, store_s: store_s / bytes, link_s: link_s / bytes }
    }
}

/// What runs while there is power.
struct Flight {
    booted_ns: u64,
    pipeline: Pipeline,
    held: Held<Forgetful>,
    keep: Keep,
    contacts: Contacts,
    courier: Courier,
    link: Link,
    backlog_ns: u64,
}

impl Flight {
    /// Monotonic time of the process.
    fn mono(&self, now_ns: u64) -> u64 {
        now_ns - self.booted_ns
    }

    /// Moves what was made into the store, and tells the courier.
    fn keep(&mut self, book: &mut Book, net: &mut Net, now_ns: u64) {
        let mono = self.mono(now_ns);
        while self.keep.turn(&mut self.held.store, &mut self.pipeline, mono) {
            let outcome = self.held.store.commit(self.pipeline.time(mono));
            if let Some(committed) = self.keep.committed(outcome, mono) {
                book.stored(&committed, now_ns);
                for id in self.courier.committed(change(committed)) {
                    self.link.cancel(net, &mut self.courier, id);
                }
            }
        }
    }
}

/// A spacecraft in its world.
pub struct Craft {
    /// Where it is in the net.
    pub node: NodeId,
    /// What was seen of its units from outside.
    pub book: Book,
    /// Packets that sensors made, and their bytes.
    pub made: (u64, u64),
    /// Times that it started.
    pub boots: u64,
    /// Connections of flights that are over.
    connections: u64,
    object_bytes: u64,
    settings: CraftSettings,
    config: Config,
    station: NodeId,
    medium: Forgetful,
    flight: Option<Flight>,
    /// By how much its sensors' clock is off.
    pub clock_offset_ns: i64,
    woken_ns: Option<u64>,
}

impl Craft {
    /// A spacecraft without power.
    ///
    /// # Errors
    /// A configuration that the flight software refuses.
    pub fn new(settings: CraftSettings, net: &mut Net, station: NodeId) -> anyhow::Result<Self> {
        let config = settings.config()?;
        let medium = Forgetful::new();
        let medium = if settings.syncs_lie { medium.lying() } else { medium };
        let node = net.add(settings.node(0));
        Ok(Self {
            node,
            book: Book::default(),
            made: (0, 0),
            boots: 0,
            connections: 0,
            object_bytes: 0,
            settings,
            config,
            station,
            medium,
            flight: None,
            clock_offset_ns: 0,
            woken_ns: None,
        })
    }

    /// Name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Its medium takes so many bytes more beside what is given up, or nothing at all.
    pub fn fill(&self, left_bytes: Option<u64>) {
        self.medium.set_space(Some(left_bytes.map_or(0, |left| self.medium.stored() + left)));
    }

    /// Its medium takes what comes again.
    pub fn free(&self) {
        self.medium.set_space(None);
    }

    /// Power comes on: the flight software starts on what its medium holds.
    ///
    /// # Errors
    /// A store that can't be opened.
    pub fn boot(&mut self, net: &mut Net) -> anyhow::Result<()> {
        let now_ns = net.now_ns();
        self.boots += 1;
        net.restart(self.node, self.settings.node(self.boots));
        let config = &self.config;
        let spacecraft = SpacecraftId(config.spacecraft.id);
        let epoch = StoreEpoch(Random::new(self.settings.seed, "epoch").bits());
        let store = Store::open(self.medium.clone(), config.limits(), config.origin()?, epoch)?;
        let framed = store.next_of(spacecraft, realtime::channel(&config.realtime));
        let mut pipeline = Pipeline::new(config, framed, None, TileScorer::new(None)?)?;
        if self.boots > 1 {
            let record = json!({ "event": "started again", "boots": self.boots });
            pipeline.record(record, Tai(0), triage::RECORDS);
        }
        let contacts = Contacts::recall(config, &store).since(epoch::instant(now_ns));
        let housekeeping_percent = pipeline.housekeeping_percent();
        let held = Held { store, spacecraft, housekeeping_percent };
        let courier = Courier::new(&held, self.settings.profile.objects_max);
        let keep = Keep::new(config.store.commit_ms * MILLISECOND_NS);
        let link = Link::new(&self.settings, &options(), &contacts, self.boots)?;
        self.flight = Some(Flight {
            booted_ns: now_ns,
            pipeline,
            held,
            keep,
            contacts,
            courier,
            link,
            backlog_ns: 0,
        });
        self.step(net);
        Ok(())
    }

    /// Power goes: what was not synced is gone, as the cut says.
    pub fn cut(&mut self, net: &mut Net, cut: Cut, seed: u64) {
        if let Some(flight) = self.flight.take() {
            self.account(&flight);
        }
        self.medium = self.medium.survivors(cut, seed);
        net.restart(self.node, self.settings.node(self.boots | 1 << 32));
        self.woken_ns = None;
    }

    fn account(&mut self, flight: &Flight) {
        self.connections += flight.courier.counts.connections;
        self.object_bytes += flight.courier.counts.object_bytes;
    }

    /// Connections made and bytes of objects handed to the transport.
    pub fn sent(&self) -> (u64, u64) {
        let now = self.flight.as_ref().map_or((0, 0), |flight| {
            (flight.courier.counts.connections, flight.courier.counts.object_bytes)
        });
        (self.connections + now.0, self.object_bytes + now.1)
    }

    /// Whether it has power.
    pub fn is_up(&self) -> bool {
        self.flight.is_some()
    }

    /// The store, while there is power.
    pub fn store(&self) -> Option<&Store<Forgetful>> {
        self.flight.as_ref().map(|flight| &flight.held.store)
    }

    /// Units and bytes on board without a receipt.
    pub fn backlog(&self) -> (u64, u64) {
        self.flight.as_ref().map_or((0, 0), |flight| flight.held.store.backlog())
    }

    /// A packet of a sensor; it is lost where there is no power.
    pub fn packet(&mut self, bytes: Vec<u8>, now_ns: u64) {
        self.made.0 += 1;
        self.made.1 += bytes.len() as u64;
        let Some(flight) = &mut self.flight else { return };
        // A source waits for a store that can't write; a sensor of a world does not.
        if !flight.keep.is_stuck() {
            let mono = flight.mono(now_ns);
            let _ = flight.pipeline.datagram(bytes.into(), mono);
        }
    }

    /// The onboard time that sensors stamp.
    pub fn stamp(&self, now: Tai) -> Tai {
        now.plus(self.clock_offset_ns)
    }

    /// Takes what its connection tells.
    pub fn connection(&mut self, net: &mut Net, id: super::net::LinkId) {
        if let Some(flight) = &mut self.flight {
            let mono = flight.mono(net.now_ns());
            flight.link.events(net, id, &mut flight.courier, mono);
            // Reading gives credit, which is to be told.
            net.touch(id);
        } else {
            while net.poll(id).is_some() {}
        }
        self.step(net);
    }

    /// A time that it asked for has come.
    pub fn woken(&mut self, net: &mut Net, token: u64) {
        // An earlier one took its place since.
        if self.woken_ns == Some(token) {
            self.woken_ns = None;
            self.step(net);
        }
    }

    /// Does what is due, and asks to be woken for what is next.
    pub fn step(&mut self, net: &mut Net) {
        let now_ns = net.now_ns();
        let Some(flight) = &mut self.flight else { return };
        let mono = flight.mono(now_ns);
        flight.contacts.tend(&mut flight.pipeline, mono);
        flight.pipeline.handle_timeout(mono);
        // Live frames go beside custody; no world watches them.
        flight.pipeline.take_look();
        flight.keep(&mut self.book, net, now_ns);
        flight.link.tend(net, (self.node, self.station), &mut flight.courier, mono);
        flight.pump(&mut self.book, net, now_ns);
        if flight.courier.sender.is_open() && mono >= flight.backlog_ns {
            flight.backlog_ns = mono + BACKLOG_EVERY_NS;
            let left = flight.courier.sender.backlog();
            let record = json!({ "event": "backlog", "units": left.units, "bytes": left.bytes });
            let time = flight.pipeline.time(mono);
            flight.pipeline.record(record, time, triage::BACKLOG);
            flight.contacts.heard(Bearer::Quic, mono);
            flight.keep(&mut self.book, net, now_ns);
        }
        let backlog = flight.courier.sender.is_open().then_some(flight.backlog_ns);
        let due = [
            flight.pipeline.timeout(),
            flight.keep.schedule.timeout(),
            Some(flight.contacts.timeout()),
            flight.courier.sender.timeout(),
            flight.link.timeout(),
            backlog,
        ];
        let due = due.into_iter().flatten().min().unwrap_or(u64::MAX);
        // What is due at once is due with the next millisecond: no loop stands still.
        let at_ns = due.saturating_add(flight.booted_ns).max(now_ns + MILLISECOND_NS);
        if self.woken_ns.is_none_or(|woken| at_ns < woken) {
            self.woken_ns = Some(at_ns);
            net.wake(self.node, at_ns, at_ns);
        }
    }

    /// The store as the next boot would find it, for whoever reckons at the end.
    ///
    /// # Errors
    /// A store that can't be opened.
    pub fn reckon(&self) -> anyhow::Result<Store<Forgetful>> {
        let medium = self.medium.survivors(Cut::Keep, 1);
        let epoch = StoreEpoch(Random::new(self.settings.seed, "epoch").bits());
        Ok(Store::open(medium, self.config.limits(), self.config.origin()?, epoch)?)
    }
}

impl Flight {
    /// Lets the courier and the connection work until neither has anything to do.
    fn pump(&mut self, book: &mut Book, net: &mut Net, now_ns: u64) {
        use codecs_quic::FromLink;
        let mono = self.mono(now_ns);
        let mut told = Vec::new();
        while let Some(event) = self.courier.sender.poll_event() {
            self.courier.handle(event, &mut self.held, |from| told.push(from));
        }
        if self.courier.handled() {
            self.courier.take_up(&self.held);
        }
        for from in told {
            self.contacts.heard(Bearer::Quic, mono);
            match from {
                FromLink::Time(time) => {
                    self.pipeline.trust(time, mono);
                    self.contacts.welcomed(time, mono);
                }
                FromLink::Planned(plan) => {
                    self.contacts.plan(plan, &mut self.held.store, mono);
                    self.keep.schedule.hurry(mono);
                }
                FromLink::Dirty => self.keep.schedule.dirty(mono),
                // The world tells the first at its own time, and sends no commands.
                FromLink::Backlog(_) | FromLink::Uplink(_) => {}
            }
        }
        let created = self.pipeline.time(mono);
        self.link.pump(net, &mut self.courier, &mut self.held, (created, mono), |plan| {
            book.sent(plan, now_ns);
        });
    }
}
