//! The flight process minding itself: its memory, its share, its watchdog, its housekeeping.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

use codecs::ids::Apid;
use rustix::{
    process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit},
    time::{ClockId, clock_gettime},
};

use super::sources::SourceReport;
use crate::{
    config::Config,
    health::{ChargeHealth, Health, LinkHealth, SOURCES_TOLD, TroubleHealth},
    pipeline::Pipeline,
    store::{Disk, Store},
};

/// Slot of the store that starts are counted in.
const BOOTS_SLOT: u32 = 0xfffc_0000;
/// A watchdog device is petted this often at the most, nanoseconds.
const DEVICE_EVERY_NS: u64 = 1_000_000_000;

/// Keeps the process's memory and share as configured: once, before anything is opened.
pub fn limit(config: &Config) {
    if let Some(bytes) = config.memory_bytes_max() {
        // The hard limit stays: a process that begins again with another configuration may need more.
        let maximum = getrlimit(Resource::Data).maximum;
        let limit = Rlimit { current: Some(bytes), maximum };
        if let Err(error) = setrlimit(Resource::Data, limit) {
            tracing::warn!("memory can't be limited to {bytes} bytes: {error}");
        }
    }
    if config.health.nice > 0
        && let Err(error) = setpriority_process(None, config.health.nice)
    {
        tracing::warn!("[health] nice: {error}");
    }
}

/// Told by progress, never by a timer of its own: when the loop stands, nobody pets.
struct Watchdog {
    manager: Option<(UnixDatagram, SocketAddr)>,
    device: Option<File>,
    every_ns: u64,
    trouble: Option<String>,
}

impl Watchdog {
    fn find(config: &Config) -> Self {
        let named =
            std::env::var("NOTIFY_SOCKET").ok().and_then(|name| match name.strip_prefix('@') {
                Some(name) => SocketAddr::from_abstract_name(name).ok(),
                None => SocketAddr::from_pathname(name).ok(),
            });
        let manager = named.and_then(|address| Some((UnixDatagram::unbound().ok()?, address)));
        let wanted = std::env::var("WATCHDOG_USEC").ok().and_then(|of| of.parse::<u64>().ok());
        let mut trouble = None;
        let device = config.health.watchdog.as_ref().and_then(|path| {
            let opened = OpenOptions::new().write(true).open(path);
            let wrong = |error: &_| {
                trouble = Some(format!(
                    "[health] watchdog = {path:?} can't be opened ({error}): nobody starts this \
                     flight again should it stand"
                ));
            };
            opened.inspect_err(wrong).ok()
        });
        let every_ns = wanted.map_or(DEVICE_EVERY_NS, |of| of.saturating_mul(1000) / 4);
        let every_ns = every_ns.clamp(1_000_000, DEVICE_EVERY_NS);
        Self { manager, device, every_ns, trouble }
    }

    fn say(&self, words: &str) {
        if let Some((socket, address)) = &self.manager {
            let _ = socket.send_to_addr(words.as_bytes(), address);
        }
    }

    fn pet(&mut self) {
        self.say("WATCHDOG=1");
        if let Some(device) = &mut self.device {
            let _ = device.write_all(b"1");
        }
    }
}

/// What others say of themselves for a packet.
pub struct Others<'a> {
    /// What each source brought.
    pub sources: &'a [SourceReport],
    /// Units given up for want of room.
    pub evicted: u64,
    /// How each bearer stands.
    pub link: LinkHealth,
    /// How models and the configuration stand.
    pub charge: ChargeHealth,
}

/// What is minded while it flies.
pub struct Mind {
    watchdog: Watchdog,
    petted_ns: u64,
    gap_ns: u64,
    every_ns: Option<u64>,
    due_ns: u64,
    told_ns: u64,
    cpu_ns: u64,
    count: u16,
    template: Health,
    apid: Apid,
    capacity: u64,
}

impl Mind {
    /// Counts this start in the store and says that it is ready.
    pub fn new(config: &Config, store: &mut Store<Disk>, models: u8) -> Self {
        let kept = store.notes().find(|(slot, _)| *slot == BOOTS_SLOT);
        let kept = kept.and_then(|(_, bytes)| Some(u32::from_be_bytes(*bytes.first_chunk()?)));
        let boots = kept.unwrap_or(0).saturating_add(1);
        let every_ns = (config.health.every_s > 0).then(|| config.health.every_s * 1_000_000_000);
        if every_ns.is_some() {
            store.note(BOOTS_SLOT, boots.to_be_bytes().to_vec().into());
        }
        let watchdog = Watchdog::find(config);
        watchdog.say("READY=1");
        let limit = config.memory_bytes_max().unwrap_or(0);
        let template = Health {
            boots,
            models,
            memory: [0, limit],
            configuration: config.digest,
            ..Health::default()
        };
        Self {
            watchdog,
            petted_ns: 0,
            gap_ns: 0,
            every_ns,
            due_ns: 0,
            told_ns: 0,
            cpu_ns: 0,
            count: 0,
            template,
            apid: Apid(config.health.apid),
            capacity: config.store.capacity_bytes,
        }
    }

    /// Why a watchdog that was asked for is not there.
    pub fn take_trouble(&mut self) -> Option<String> {
        self.watchdog.trouble.take()
    }

    /// When a packet or a pet is due.
    pub fn timeout(&self) -> Option<u64> {
        let watched = self.watchdog.manager.is_some() || self.watchdog.device.is_some();
        let pet = watched.then(|| self.petted_ns.saturating_add(self.watchdog.every_ns));
        pet.into_iter().chain(self.every_ns.map(|_| self.due_ns)).min()
    }

    /// The loop went round, and the store takes what it is given.
    pub fn progress(&mut self, now_ns: u64) {
        if now_ns.saturating_sub(self.petted_ns) >= self.watchdog.every_ns {
            self.gap_ns = self.gap_ns.max(now_ns.saturating_sub(self.petted_ns));
            self.petted_ns = now_ns;
            self.watchdog.pet();
        }
    }

    /// Whether a packet is due.
    pub fn is_due(&self, now_ns: u64) -> bool {
        self.every_ns.is_some() && self.due_ns <= now_ns
    }

    /// Makes the packet that is due.
    pub fn tell(
        &mut self,
        store: &Store<Disk>,
        pipeline: &mut Pipeline,
        others: Others<'_>,
        now_ns: u64,
    ) {
        let Others { sources, evicted, link, charge } = others;
        let (report, damage) = (store.report(), store.damage());
        let (units, bytes) = store.backlog();
        let small = |of: u64| u32::try_from(of).unwrap_or(u32::MAX);
        let mut told = [[0; 2]; SOURCES_TOLD];
        for (told, source) in told.iter_mut().zip(sources) {
            *told = [small(source.taken), small(source.dropped.values().sum())];
        }
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu_ns = cpu.tv_sec as u64 * 1_000_000_000 + cpu.tv_nsec as u64;
        let passed = now_ns.saturating_sub(self.told_ns).max(1);
        let time = pipeline.time(now_ns);
        let health = Health {
            uptime_s: small(now_ns / 1_000_000_000),
            malformed: small(pipeline.source().malformed.values().sum()),
            units: [
                report.units_numbered,
                report.units_held,
                report.units_receipted,
                report.units_voided,
            ],
            evicted: small(evicted),
            backlog: [units, bytes],
            store: [report.bytes, self.capacity],
            written: report.written.total(),
            amplification_percent: (report.written.amplification() * 100.0) as u32,
            memory: [resident_bytes(), self.template.memory[1]],
            cpu_permille: (cpu_ns.saturating_sub(self.cpu_ns) * 1000 / passed) as u16,
            watchdog_gap_ms: small(self.gap_ns / 1_000_000),
            time_known: u8::from(time.0 > now_ns as i64),
            sources: told,
            link,
            charge,
            trouble: TroubleHealth {
                damaged_segments: small(damage.segments),
                damaged_units: small(damage.units()),
                overrun: small(sources.iter().map(SourceReport::overrun).sum()),
                files_rejected: small(sources.iter().map(|of| of.files_rejected).sum()),
            },
            ..self.template.clone()
        };
        if let Err(error) = pipeline.own(health.packet(self.apid, self.count, time), now_ns) {
            tracing::error!("the housekeeping packet: {error}");
        }
        (self.count, self.cpu_ns, self.told_ns, self.gap_ns) =
            (self.count.wrapping_add(1), cpu_ns, now_ns, 0);
        self.due_ns = now_ns.saturating_add(self.every_ns.unwrap_or(u64::MAX));
    }
}

/// Memory of this process; 0 where the system does not say.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_whitespace().nth(1).and_then(|of| of.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}
