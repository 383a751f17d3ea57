//! A spacecraft: the flight software's own cores over a medium that may lose power, and its link.

pub mod book;
pub mod link;
mod radio;
pub mod sources;

use std::path::Path;

use codecs::{
    ids::{SpacecraftId, StoreEpoch},
    link::{profile::Profile, wire::PlannedContact},
    time::Tai,
};
use codecs_quic::{TransportOptions, courier::Courier};
use codecs_store::forgetful::{Cut, Forgetful};
use onboard::{
    config::Config,
    downlink::{Bearer, CONTACTS_MAX, Contact},
    keep::Keep,
    pipeline::Pipeline,
    realtime,
    score::TileScorer,
    shell::{
        contact::Contacts,
        held::{Held, change},
    },
    store::Store,
    triage,
};
use serde_json::json;

use self::{
    book::Book,
    link::{Ends, Link},
    radio::Transceiver,
};
use super::{
    answer::SourceBytes,
    identity::Identity,
    modem::{DOMAIN, Modem},
    net::{Net, NodeId, Settings},
    shell::epoch,
};
use crate::rng::{Random, mix};

const MILLISECOND_NS: u64 = 1_000_000;
/// By how much the runtime's timers are late: they count whole milliseconds, and so does the system
/// that they sleep in. None is early, so that what comes at the instant of a deadline is in time.
const TIMER_NS: u64 = MILLISECOND_NS;
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
    /// The file that says them, for messages.
    pub file: String,
    /// Its radio, where that carries its units instead of a connection.
    pub radio: Option<Radio>,
    /// Seed of everything random on board.
    pub seed: u64,
    /// Its medium says that it synced, and did not.
    pub syncs_lie: bool,
}

/// A spacecraft's radio.
#[derive(Clone)]
pub struct Radio {
    /// Frames, their code and their rate.
    pub modem: Modem,
    /// The domain's key that it believes.
    pub key: [u8; 32],
    /// Contacts in the file that it was launched with: by radio nobody tells of them.
    pub plan: Vec<PlannedContact>,
}

impl CraftSettings {
    /// The configuration as the flight software reads it from a file.
    ///
    /// # Errors
    /// What the flight software refuses.
    pub fn config(&self) -> anyhow::Result<Config> {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let believed = self.radio.as_ref().map_or_else(String::new, |radio| {
            format!("domain = {DOMAIN:?}\ndomain_keys = [\"{}\"]\n", hex(&radio.key))
        });
        let downlink = self.radio.as_ref().map_or_else(String::new, |of| of.modem.flight());
        // The scenario's own part first: then lines are counted as it counts them.
        let text = format!(
            "{}\n[spacecraft]\nid = {}\nname = {:?}\n[identity]\ncertificate = \"identity.crt\"\n\
             key = \"identity.key\"\nground_pins = [\"sha256:{}\"]\norigin = \"{}\"\n{believed}\
             [ground]\naddress = \"station:7117\"\nserver_name = \"station\"\nprofile = \"{}\"\n\
             [source]\nunix = \"sensors.sock\"\n{downlink}",
            self.config,
            self.id,
            self.name,
            hex(&self.station.key_hash),
            hex(&self.origin),
            self.profile.name,
        );
        let mut config = Config::parse(&self.file, &text, Path::new("/flight"))?;
        let plan = self.radio.iter().flat_map(|radio| &radio.plan).take(CONTACTS_MAX);
        let contact = |planned: &PlannedContact| Contact {
            planned: *planned,
            station: String::new(),
            bearer: Some(Bearer::Rf),
        };
        config.downlink.contacts.extend(plan.map(contact));
        Ok(config)
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

/// What carries units down.
enum End {
    Link(Box<Connected>),
    Radio(Box<Transceiver>),
}

struct Connected {
    courier: Courier,
    link: Link,
    backlog_ns: u64,
}

/// What runs while there is power.
struct Flight {
    booted_ns: u64,
    pipeline: Pipeline,
    held: Held<Forgetful>,
    keep: Keep,
    contacts: Contacts,
    end: End,
}

impl Flight {
    /// Monotonic time of the process.
    fn mono(&self, now_ns: u64) -> u64 {
        now_ns - self.booted_ns
    }

    /// Moves what was made into the store, and tells the courier.
    fn keep(&mut self, book: &mut Book, net: &mut Net, now_ns: u64) {
        let mono = self.mono(now_ns);
        book.sources.see(&mut self.pipeline, &self.held.store);
        while self.keep.turn(&mut self.held.store, &mut self.pipeline, mono) {
            let outcome = self.held.store.commit(self.pipeline.time(mono));
            if let Some(committed) = self.keep.committed(outcome, mono) {
                book.stored(&committed, now_ns);
                book.sources.evicted(&committed.evicted);
                match &mut self.end {
                    End::Link(of) => {
                        for id in of.courier.committed(change(committed)) {
                            of.link.cancel(net, &mut of.courier, id);
                        }
                    }
                    End::Radio(radio) => radio.committed(change(committed)),
                }
            }
        }
        book.sources.left(self.pipeline.waiting());
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
        self.book.sources.begin(&store);
        let framed = store.next_of(spacecraft, realtime::channel(&config.realtime));
        let mut pipeline = Pipeline::new(config, framed, None, TileScorer::new(None)?)?;
        if self.boots > 1 {
            let record = json!({ "event": "started again", "boots": self.boots });
            pipeline.record(record, Tai(0), triage::RECORDS);
        }
        let contacts = Contacts::recall(config, &store).since(epoch::instant(now_ns));
        let housekeeping_percent = pipeline.housekeeping_percent();
        let held = Held { store, spacecraft, housekeeping_percent };
        let keep = Keep::new(config.store.commit_ms * MILLISECOND_NS);
        let end = self.end(&held, &contacts)?;
        self.flight = Some(Flight { booted_ns: now_ns, pipeline, held, keep, contacts, end });
        self.step(net);
        Ok(())
    }

    /// What carries units down, as it starts.
    fn end(&self, held: &Held<Forgetful>, contacts: &Contacts) -> anyhow::Result<End> {
        let CraftSettings { identity, station, profile, radio, seed, .. } = &self.settings;
        if let Some(radio) = radio {
            let drawn = (*seed, self.boots);
            let radio = Transceiver::new(&self.config, &radio.modem, contacts, held, drawn)?;
            return Ok(End::Radio(Box::new(radio)));
        }
        let ends = Ends { identity, station, profile, seed: *seed };
        let awake = contacts.awake();
        let awake = Box::new(move || *awake.borrow());
        Ok(End::Link(Box::new(Connected {
            courier: Courier::new(held, profile.objects_max),
            link: Link::new(&ends, &options(), &contacts.planned(), awake, self.boots)?,
            backlog_ns: 0,
        })))
    }

    /// Power goes: what was not synced is gone, as the cut says.
    pub fn cut(&mut self, net: &mut Net, cut: Cut, seed: u64) {
        if let Some(flight) = self.flight.take() {
            self.account(&flight);
            self.book.sources.cut(flight.pipeline.source().bytes);
        }
        self.medium = self.medium.survivors(cut, seed);
        net.restart(self.node, self.settings.node(self.boots | 1 << 32));
        self.woken_ns = None;
    }

    fn account(&mut self, flight: &Flight) {
        let (connections, bytes) = flight.sent();
        self.connections += connections;
        self.object_bytes += bytes;
    }

    /// Connections made and bytes of objects handed to the transport.
    pub fn sent(&self) -> (u64, u64) {
        let now = self.flight.as_ref().map_or((0, 0), Flight::sent);
        (self.connections + now.0, self.object_bytes + now.1)
    }

    /// Where the bytes of its sensors are; `reckoned` is what the next boot would find.
    pub fn sources(&mut self, reckoned: &Store<Forgetful>) -> SourceBytes {
        let Self { book, flight, made, .. } = self;
        match flight {
            Some(of) => {
                let taken = of.pipeline.source().bytes;
                book.sources.account(made.1, Some(taken), &of.held.store)
            }
            None => book.sources.account(made.1, None, reckoned),
        }
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
        if let Some(flight) = &mut self.flight
            && let mono = flight.mono(net.now_ns())
            && let End::Link(of) = &mut flight.end
        {
            of.link.events(net, id, &mut of.courier, mono);
            // Reading gives credit, which is to be told.
            net.touch(id);
        } else {
            while net.poll(id).is_some() {}
        }
        self.step(net);
    }

    /// Its receiver hands on what it heard.
    pub fn hear(&mut self, net: &mut Net, bytes: &[u8]) {
        let Some(flight) = &mut self.flight else { return };
        let mono = flight.mono(net.now_ns());
        let Flight { pipeline, held, keep, contacts, end, .. } = flight;
        if let End::Radio(radio) = end
            && let Some(time) = radio.hear(bytes, contacts, &mut held.store, mono)
        {
            if let Some(time) = time {
                pipeline.trust(time, mono);
            }
            keep.schedule.dirty(mono);
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
        flight.send(&mut self.book, net, (self.node, self.station));
        let [first, second] = match &flight.end {
            End::Link(of) => {
                let backlog = of.courier.sender.is_open().then_some(of.backlog_ns);
                let link = of.link.timeout().into_iter().chain(backlog).min();
                [of.courier.sender.timeout(), link]
            }
            End::Radio(radio) => [radio.timeout(), None],
        };
        let due = [
            flight.pipeline.timeout(),
            flight.keep.schedule.timeout(),
            Some(flight.contacts.timeout()),
            first,
            second,
        ];
        let due = due.into_iter().flatten().min().unwrap_or(u64::MAX);
        // What is due at once is due with the next millisecond: no loop stands still.
        let at_ns = due.max(flight.mono(now_ns)).saturating_add(flight.booted_ns + TIMER_NS);
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
    /// Connections made and bytes handed to what carries them.
    fn sent(&self) -> (u64, u64) {
        match &self.end {
            End::Link(of) => (of.courier.counts.connections, of.courier.counts.object_bytes),
            End::Radio(radio) => (0, radio.bytes),
        }
    }

    /// Sends what is due, over whatever carries it; the other end is an edge for a radio.
    fn send(&mut self, book: &mut Book, net: &mut Net, (node, other): (NodeId, NodeId)) {
        let now_ns = net.now_ns();
        let mono = self.mono(now_ns);
        let Self { held, end, .. } = self;
        let of = match end {
            End::Link(of) => of,
            End::Radio(radio) => {
                let taken = |key| book.taken(key, now_ns);
                return radio.pump(net, (node, other), &mut held.store, mono, taken);
            }
        };
        of.link.tend(net, (node, other), &mut of.courier, mono);
        self.pump(book, net, now_ns);
        let End::Link(of) = &mut self.end else { return };
        if of.courier.sender.is_open() && mono >= of.backlog_ns {
            of.backlog_ns = mono + BACKLOG_EVERY_NS;
            let left = of.courier.sender.backlog();
            let record = json!({ "event": "backlog", "units": left.units, "bytes": left.bytes });
            let time = self.pipeline.time(mono);
            self.pipeline.record(record, time, triage::BACKLOG);
            self.contacts.heard(Bearer::Quic, mono);
            self.keep(book, net, now_ns);
        }
    }

    /// Lets the courier and the connection work until neither has anything to do.
    fn pump(&mut self, book: &mut Book, net: &mut Net, now_ns: u64) {
        use codecs_quic::FromLink;
        let mono = self.mono(now_ns);
        let End::Link(of) = &mut self.end else { return };
        let Connected { courier, link, .. } = &mut **of;
        let mut told = Vec::new();
        while let Some(event) = courier.sender.poll_event() {
            courier.handle(event, &mut self.held, |from| told.push(from));
        }
        if courier.handled() {
            courier.take_up(&self.held);
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
        link.pump(net, courier, &mut self.held, (created, mono), |plan| {
            book.sent(plan, now_ns);
        });
    }
}
