//! The station's daemon: its own cores over a disk that may lose power, and its sessions.

mod radio;
mod session;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use anyhow::Context as _;
use codecs::{
    ids::{Origin, SpacecraftId, UnitKey},
    link::{profile::Profile, receiver::ReceiverConfig, wire::Limits, wire::PlannedContact},
    time::Tai,
};
use codecs_quic::TransportOptions;
use groundstation::{
    admit::{Action, KeyHash, Principal, Table},
    archive::{
        Archive, Archived, Now, OpenError, Settings as ArchiveSettings,
        batch::{Batch, Published},
        forgetful::{Crash, ForgetfulDisk},
        volume::Volume,
    },
    keep::{Keeper, Policy},
    ledger::Ledger,
    receipt::{Commit, Committed, Ingest, Next, SessionId, Tally, next},
    shell::server,
};
use quinn_proto::ServerConfig;

pub use self::radio::RadioSettings;
use self::{radio::Desk, session::Session};
use super::{
    identity::{Authority, Identity},
    net::{LinkId, Net, NodeId, Settings},
    pair::server_crypto,
    shell::epoch::Standing,
};
use crate::rng::mix;

/// How long units wait for each other, as a station has it unless told otherwise.
const COMMIT_MS: u64 = 10;
/// Segments are sealed after this long, as a station has it unless told otherwise.
const SEAL_MS: u64 = 60_000;
/// How often a session's credit is looked at.
const LOOK_NS: u64 = 100_000_000;
const MILLISECOND_NS: u64 = 1_000_000;

/// What a station is made from.
pub struct DaemonSettings {
    /// Its keys.
    pub identity: Identity,
    /// Transport settings.
    pub profile: Profile,
    /// Bytes at which a segment is sealed.
    pub segment_bytes: u64,
    /// Custody by radio, where there is one.
    pub radio: Option<RadioSettings>,
    /// Seed of what is random there.
    pub seed: u64,
    /// Its disk says that it synced, and did not.
    pub syncs_lie: bool,
}

/// Who may connect, and the contacts that it is told.
pub struct Peer {
    /// Digest of its key.
    pub key: [u8; 32],
    /// Name.
    pub name: String,
    /// Its store's origin.
    pub origin: Origin,
    /// Its number.
    pub spacecraft: SpacecraftId,
    /// What it may do: an edge carries for the spacecraft as well.
    pub actions: BTreeSet<Action>,
    /// Its contacts.
    pub plan: Vec<PlannedContact>,
}

/// What runs while there is power.
struct Running {
    started_ns: u64,
    ingest: Ingest,
    volume: Volume<ForgetfulDisk>,
    keeper: Keeper,
    sessions: BTreeMap<LinkId, Session>,
    numbers: BTreeMap<SessionId, LinkId>,
    next: u64,
    desk: Option<Desk>,
}

/// A station in its world.
pub struct Daemon {
    /// Where it is in the net.
    pub node: NodeId,
    /// What was archived since somebody asked.
    archived: Vec<UnitKey>,
    /// Units by their fate, over all its lives.
    pub tally: Tally,
    /// By how much its clock is off.
    pub clock_offset_ns: i64,
    settings: DaemonSettings,
    server: Arc<ServerConfig>,
    table: Table,
    mission: BTreeSet<SpacecraftId>,
    plans: BTreeMap<Origin, Vec<PlannedContact>>,
    disk: ForgetfulDisk,
    /// Disks that were destroyed.
    destroyed: u64,
    /// The bound on counters of what is said by radio, which stands beside the archive.
    kept: u64,
    /// Where the radio's units go up to.
    up: Option<NodeId>,
    running: Option<Running>,
    waits_for_room: bool,
    lives: u64,
    woken_ns: Option<u64>,
}

fn is_full(error: &OpenError) -> bool {
    matches!(error, OpenError::Io { error, .. } if error.kind() == io::ErrorKind::StorageFull)
}

impl Daemon {
    /// A station without power.
    ///
    /// # Errors
    /// Settings that its own checks refuse.
    pub fn new(
        settings: DaemonSettings,
        authority: &Authority,
        start: Tai,
        net: &mut Net,
    ) -> anyhow::Result<Self> {
        let crypto = server_crypto(authority, &settings.identity, start)?;
        let options = TransportOptions::default();
        let mut server = server::config(crypto, &settings.profile, &options)?;
        server.time_source(Arc::new(Standing(start)));
        let server = Arc::new(server);
        let node = net.add(node(&settings, &server, 0));
        Ok(Self {
            node,
            archived: Vec::new(),
            tally: Tally::default(),
            clock_offset_ns: 0,
            settings,
            server,
            table: Table::default(),
            mission: BTreeSet::new(),
            plans: BTreeMap::new(),
            disk: ForgetfulDisk::default(),
            destroyed: 0,
            kept: 0,
            up: None,
            running: None,
            waits_for_room: false,
            lives: 0,
            woken_ns: None,
        })
    }

    /// Enrols everyone who may connect.
    pub fn enrol(&mut self, peers: Vec<Peer>) {
        let row = |peer: &Peer| {
            let principal = Principal {
                name: peer.name.clone(),
                origin: peer.origin,
                spacecraft: [peer.spacecraft].into(),
                actions: peer.actions.clone(),
            };
            (KeyHash(peer.key), principal)
        };
        self.table = peers.iter().map(row).collect();
        self.mission = peers.iter().map(|peer| peer.spacecraft).collect();
        self.plans = peers.into_iter().map(|peer| (peer.origin, peer.plan)).collect();
    }

    /// Says what it has to say by radio to this node.
    pub fn speak_to(&mut self, spacecraft: NodeId) {
        self.up = Some(spacecraft);
    }

    /// Power comes on: the daemon starts on what its disk holds.
    ///
    /// # Errors
    /// An archive that can't be opened.
    pub fn boot(&mut self, net: &mut Net) -> anyhow::Result<()> {
        self.lives += 1;
        net.restart(self.node, node(&self.settings, &self.server, self.lives));
        if self.settings.syncs_lie {
            self.disk.lie_about_syncs();
        }
        let settings = ArchiveSettings { segment_bytes: self.settings.segment_bytes };
        let fresh = self.ledger_of(self.destroyed);
        let archive = match Archive::open(self.disk.clone(), settings, fresh) {
            Ok((archive, _)) => archive,
            // The program ends with that word, and is started again when there is room.
            Err(error) if is_full(&error) => {
                self.waits_for_room = true;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        self.waits_for_room = false;
        let Archive { intake, volume } = archive;
        let now = net.now().plus(self.clock_offset_ns);
        let desk = |radio| {
            let (place, said) = ((&self.disk, volume.end()), (volume.ledger_id(), self.kept));
            Desk::open(radio, &self.table, place, said, now)
        };
        let desk = self.settings.radio.as_ref().map(desk).transpose()?;
        let policy = Policy { seal_ms: Some(SEAL_MS), ..Policy::default() };
        self.running = Some(Running {
            started_ns: net.now_ns(),
            ingest: Ingest::new(intake),
            volume,
            keeper: Keeper::new(policy),
            sessions: BTreeMap::new(),
            numbers: BTreeMap::new(),
            next: 0,
            desk,
        });
        self.step(net);
        Ok(())
    }

    /// Power goes: what was not synced is gone, as the crash says.
    pub fn crash(&mut self, net: &mut Net, how: Crash) {
        self.running = None;
        self.waits_for_room = false;
        self.disk = self.disk.crash(how);
        net.restart(self.node, node(&self.settings, &self.server, self.lives | 1 << 32));
        self.woken_ns = None;
    }

    /// The disk is destroyed; the next start begins another ledger, which knows of those before.
    pub fn destroy(&mut self, net: &mut Net) {
        self.crash(net, Crash::Drop);
        self.disk = ForgetfulDisk::default();
        self.kept = 0;
        self.destroyed += 1;
    }

    fn ledger_of(&self, disk: u64) -> u64 {
        mix(self.settings.seed ^ mix(disk))
    }

    /// Whether it has power.
    pub fn is_up(&self) -> bool {
        self.running.is_some()
    }

    /// The ledger in force with its name, while there is power.
    pub fn ledger(&self) -> Option<(&Ledger, u64)> {
        let running = self.running.as_ref()?;
        Some((running.ingest.ledger(), running.volume.ledger_id()))
    }

    /// Whether it would run but for its full disk.
    pub fn waits_for_room(&self) -> bool {
        self.waits_for_room && self.running.is_none()
    }

    /// Bounds what its disk takes from now on to what is there and so many bytes, or no longer.
    pub fn set_room(&self, bytes: Option<usize>) {
        self.disk.set_room(bytes);
    }

    /// Units archived since the last call.
    pub fn take_archived(&mut self) -> Vec<UnitKey> {
        std::mem::take(&mut self.archived)
    }

    /// The ledger as a fresh start would find it, with its name and what an audit has against it.
    ///
    /// # Errors
    /// An archive that can't be opened.
    pub fn reckon(&self) -> anyhow::Result<(Ledger, u64, Vec<String>)> {
        let mut disk = self.disk.crash(Crash::Drop);
        let audit = groundstation::audit::audit(&mut disk).context("an audit")?;
        let mut wrong = Vec::new();
        if !audit.missing_from_archive.is_empty() {
            wrong.push(format!("the ledger names what no record holds: {audit:?}"));
        }
        if audit.duplicates > 0 {
            wrong.push(format!("{} units are archived twice", audit.duplicates));
        }
        let settings = ArchiveSettings { segment_bytes: self.settings.segment_bytes };
        let (archive, _) = Archive::open(disk, settings, 0)?;
        Ok((archive.ledger().settled(), archive.ledger_id(), wrong))
    }

    fn receiver(&self, ledger: u64) -> ReceiverConfig {
        ReceiverConfig {
            ledger,
            domain: "world".into(),
            limits: Limits {
                object_bytes_max: codecs::link::MAX_OBJECT_BYTES as u32,
                unit_bytes_max: codecs::link::MAX_UNIT_BYTES as u32,
                objects_max: self.settings.profile.objects_max as u16,
            },
            commit_ns: COMMIT_MS * MILLISECOND_NS,
        }
    }

    /// Takes what a connection tells.
    pub fn connection(&mut self, net: &mut Net, id: LinkId) {
        let (now_ns, tai) = (net.now_ns(), net.now().plus(self.clock_offset_ns));
        let Some(ledger) = self.running.as_ref().map(|running| running.volume.ledger_id()) else {
            while net.poll(id).is_some() {}
            return;
        };
        let config = self.receiver(ledger);
        let before = (0..self.destroyed).map(|disk| self.ledger_of(disk)).collect();
        let Self {
            running: Some(running), table, mission, plans, settings, archived, tally, ..
        } = self
        else {
            return;
        };
        let mono = now_ns - running.started_ns;
        let now = Now { mono_ms: mono / MILLISECOND_NS, tai };
        if !running.sessions.contains_key(&id) {
            running.next += 1;
            let number = SessionId(running.next);
            running.numbers.insert(number, id);
            running.sessions.insert(id, Session::new(number, id));
        }
        let Some(mut session) = running.sessions.remove(&id) else { return };
        let ground = session::Ground { table, mission, config, before, profile: &settings.profile };
        let others = running.sessions.len();
        session.events(net, &ground, &mut running.ingest, (others, mono, now));
        if let Some(lost) = session.take_lost() {
            let recorded = lost.is_empty() || running.lose(&lost, now, archived, tally);
            if recorded {
                let plan = session.origin().and_then(|origin| plans.get(&origin));
                session.ask(lost, plan.map_or(&[], Vec::as_slice), now);
            }
        }
        if let Some(origin) = session.take_entered() {
            // One session an origin: the older one is closed.
            let older = running.sessions.values().find(|of| of.origin() == Some(origin));
            if let Some(older) = older.map(|of| of.link) {
                net.close(older, groundstation::shell::sessions::close::SUPERSEDED, b"newer");
                if let Some(gone) = running.sessions.remove(&older) {
                    running.numbers.remove(&gone.number);
                }
            }
        }
        if session.is_over() {
            running.numbers.remove(&session.number);
        } else {
            running.sessions.insert(id, session);
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
        let (now_ns, tai) = (net.now_ns(), net.now().plus(self.clock_offset_ns));
        let Self { running: Some(running), archived, tally, kept, up, .. } = self else { return };
        let mono = now_ns - running.started_ns;
        let now = Now { mono_ms: mono / MILLISECOND_NS, tai };
        let rest_ms = loop {
            let rest = running.turn(now, archived, tally);
            // What found no room may find it now.
            let Running { desk, ingest, volume, .. } = running;
            let mut more = desk.as_mut().is_some_and(|desk| desk.deliver(ingest, volume, now));
            for session in running.sessions.values_mut().filter(|of| of.is_stalled()) {
                more |= session.retry(&mut running.ingest, now);
            }
            if !more {
                break rest;
            }
        };
        running.tell(mono);
        if let (Some(desk), Some(up)) = (&mut running.desk, *up) {
            desk.look(&running.ingest, mono);
            while let Some(said) = desk.mouth.poll(mono, tai) {
                if let Some(bound) = said.keep {
                    // Synced before it goes, as the station's file is.
                    *kept = bound;
                    desk.mouth.kept(bound);
                }
                let length = said.bytes.len();
                net.radiate(self.node, up, said.bytes, length);
            }
        }
        let mut due = rest_ms.map(|ms| ms * MILLISECOND_NS);
        due = due.into_iter().chain(running.desk.as_ref().map(Desk::timeout)).min();
        let others = running.sessions.len();
        for session in running.sessions.values_mut() {
            session.tend(net, others, mono);
            due = due.into_iter().chain(session.timeout()).min();
        }
        let Some(due) = due else { return };
        let at_ns = due.saturating_add(running.started_ns).max(now_ns + MILLISECOND_NS);
        if self.woken_ns.is_none_or(|woken| at_ns < woken) {
            self.woken_ns = Some(at_ns);
            net.wake(self.node, at_ns, at_ns);
        }
    }
}

fn node(settings: &DaemonSettings, server: &Arc<ServerConfig>, lives: u64) -> Settings {
    Settings {
        seed: mix(settings.seed ^ lives),
        key: settings.identity.key_hash,
        options: TransportOptions::default(),
        server: Some(Arc::clone(server)),
    }
}

impl Running {
    /// What the archive's thread does, until it rests: until when.
    fn turn(&mut self, now: Now, archived: &mut Vec<UnitKey>, tally: &mut Tally) -> Option<u64> {
        loop {
            match next(&mut self.ingest, &self.volume, COMMIT_MS, now.mono_ms) {
                Next::Commit => self.commit(true, now, archived, tally),
                Next::Sync => self.commit(false, now, archived, tally),
                Next::Write(batch) => self.write(batch, now, archived, tally),
                Next::Rest { due_ms } => {
                    let keep = self.keeper.due_ms(&self.volume);
                    if keep.is_none_or(|due| due > now.mono_ms) {
                        return due_ms.into_iter().chain(keep).min();
                    }
                    if !self.volume.is_synced() {
                        self.commit(false, now, archived, tally);
                    }
                    let Self { ingest, volume, keeper, .. } = self;
                    keeper.turn(
                        volume,
                        |prefix, range| {
                            ingest.lose(&[(prefix, vec![range])]);
                        },
                        now,
                    );
                    if self.keeper.due_ms(&self.volume).is_some_and(|due| due <= now.mono_ms) {
                        // It could not: it is tried with the next thing that happens.
                        return due_ms;
                    }
                }
            }
        }
    }

    fn write(&mut self, batch: Batch, now: Now, archived: &mut Vec<UnitKey>, tally: &mut Tally) {
        if self.volume.is_full_for(&batch) && !self.volume.is_synced() {
            self.commit(false, now, archived, tally);
        }
        let Self { ingest, volume, .. } = self;
        volume.write(batch, now, || ingest.ledger().settled());
    }

    fn commit(&mut self, all: bool, now: Now, archived: &mut Vec<UnitKey>, tally: &mut Tally) {
        if all {
            let mut waiting = self.ingest.intake().waiting();
            while waiting > 0 {
                let Some(batch) = self.ingest.intake().next_batch() else { break };
                self.write(batch, now, archived, tally);
                waiting -= 1;
            }
        }
        let Self { ingest, volume, .. } = self;
        let claims = if all { ingest.intake().claims() } else { <_>::default() };
        let commit = volume.commit(now, || ingest.ledger().settled());
        let judged = claims.iter().map(|(claim, bytes)| volume.judge(claim, bytes)).collect();
        let committed = ingest.settle(&commit, &claims, judged, now);
        tally.add(&committed.tally);
        self.hear(committed);
        for unit in publish(commit) {
            if let Some(desk) = &mut self.desk {
                desk.archived(&unit, now.tai);
            }
            archived.push(unit.key);
        }
    }

    /// Records durably what is lost; only then may it be asked for.
    fn lose(
        &mut self,
        lost: &session::Lost,
        now: Now,
        archived: &mut Vec<UnitKey>,
        tally: &mut Tally,
    ) -> bool {
        if !self.volume.is_synced() {
            self.commit(false, now, archived, tally);
        }
        let Self { ingest, volume, .. } = self;
        !ingest.lose(lost) || volume.keep_ledger(ingest.ledger().settled(), now).is_ok()
    }

    /// Fates wait in their session until they are told.
    fn hear(&mut self, committed: Committed) {
        for (number, fates) in committed.fates {
            if number == radio::SESSION {
                self.desk.iter_mut().for_each(|desk| desk.fates(fates.clone()));
                continue;
            }
            let session = self.numbers.get(&number).and_then(|id| self.sessions.get_mut(id));
            if let Some(session) = session {
                session.fates.push(fates);
            }
        }
    }

    fn tell(&mut self, mono: u64) {
        self.sessions.values_mut().for_each(|session| session.tell(mono));
    }
}

/// The units of a commit, whose blocks go back once these are dropped.
fn publish(commit: Commit) -> Vec<Archived> {
    let blocks: Vec<Published> = commit.into_iter().flatten().map(Batch::publish).collect();
    blocks.iter().flat_map(Published::units).collect()
}
