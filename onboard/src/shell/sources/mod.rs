//! All sources: each in its turn, within its limits, and every drop counted.

mod folder;
mod reading;
pub mod serial;
mod sockets;

pub use folder::parts;

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use codecs::ids::Apid;
use codecs_quic::Monotonic;
use serde::Serialize;
use serde_json::json;

use self::{
    folder::Place,
    reading::{Opened, Reading},
    serial::Serial,
    sockets::Datagrams,
};
use crate::{
    config::{Config, Source},
    pipeline::Pipeline,
    source::{
        folder::{Content, Folder, sidecars},
        image,
        limits::{Gate, Silence},
        stream::Stream,
        taking::{Progress, Taking, digest},
    },
    store::{Disk, Store},
    triage,
};

/// Wait after an error: it may last, and must not fill the log.
const PAUSE_NS: u64 = 500_000_000;
/// Packets over the limit that are dropped in one turn.
const DROPS_A_TURN: usize = 64;
const SECOND_NS: u64 = 1_000_000_000;
const STRAY: &str = "bytes of no packet";

/// What one source brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SourceReport {
    /// Its name.
    pub name: String,
    /// Packets, frames or tiles taken.
    pub taken: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Dropped, by reason: packets, or for stray bytes of a line or a file, bytes.
    pub dropped: BTreeMap<String, u64>,
    /// Files taken whole.
    pub files: u64,
    /// Files rejected.
    pub files_rejected: u64,
    /// How often it fell silent.
    pub silences: u64,
    /// Whether it is silent now.
    pub quiet: bool,
}

/// What a source has for the pipeline.
pub enum Turn {
    /// A packet, or what should be one.
    Packet(usize, Bytes),
    /// The next piece of a file, or a look for one.
    Folder(usize),
    /// It could not be read.
    Trouble(usize, io::Error),
}

enum Door {
    Datagrams(Datagrams),
    Serial(Serial, Stream),
    Folder(Box<Watched>),
}

struct Watched {
    reader: Reader,
    folder: Folder,
    slot: u32,
    /// Whether any folder's file is being read.
    busy: Arc<AtomicBool>,
    reading: Option<Reading>,
    opened: Option<Opened>,
    taking: Option<(String, Option<String>, Taking)>,
}

/// What reads a file of a folder, in a thread of its own: a large file, or a slow disk, must not hold
/// up the others.
#[derive(Clone)]
struct Reader {
    place: Place,
    config: Source,
    apid: Apid,
    kept: Option<Progress>,
}

struct Of {
    door: Door,
    gate: Gate,
    silence: Silence,
    report: SourceReport,
    /// Left alone until then: after an error, between looks, or for its limit.
    due_ns: u64,
}

/// Every source that is configured.
pub struct Sources {
    clock: Monotonic,
    sources: Vec<Of>,
    /// Whose turn is first.
    turn: usize,
}

impl Sources {
    /// Opens all of them.
    pub async fn open(config: &Config, clock: Monotonic) -> anyhow::Result<Self> {
        let mut sources = Vec::new();
        let busy = Arc::new(AtomicBool::new(false));
        for source in &config.source.0 {
            let content = if source.files.is_some() { Content::Images } else { Content::Packets };
            let door = match (&source.serial, source.files.as_ref().or(source.packets.as_ref())) {
                (Some(device), _) => {
                    let stream = Stream::new(source.framing, source.packet_bytes_max);
                    Door::Serial(Serial::open(device, source.baud)?, stream)
                }
                (None, Some(folder)) => Door::Folder(Box::new(Watched {
                    reader: Reader {
                        place: Place::make(folder, source.finished)?,
                        config: source.clone(),
                        apid: Apid(source.apid.unwrap_or(config.triage.imager_apid)),
                        kept: None,
                    },
                    folder: Folder::new(content),
                    slot: source.slot(),
                    busy: busy.clone(),
                    reading: None,
                    opened: None,
                    taking: None,
                })),
                (None, None) => Door::Datagrams(Datagrams::bind(source).await?),
            };
            let after = (source.quiet_after_s > 0).then(|| source.quiet_after_s * SECOND_NS);
            sources.push(Of {
                door,
                gate: Gate::new(source.limits()),
                silence: Silence::new(after, clock.now_ns()),
                report: SourceReport { name: source.name(), ..SourceReport::default() },
                due_ns: 0,
            });
        }
        Ok(Self { clock, sources, turn: 0 })
    }

    /// Remembers how far files were taken.
    pub fn recall(&mut self, store: &Store<Disk>) {
        for of in &mut self.sources {
            if let Door::Folder(watched) = &mut of.door {
                let kept = store.notes().find(|(slot, _)| *slot == watched.slot);
                watched.reader.kept = kept.and_then(|(_, bytes)| Progress::decode(bytes));
            }
        }
    }

    /// Where they are, for people.
    pub fn describe(&self) -> String {
        let places = self.sources.iter().map(|of| match &of.door {
            Door::Datagrams(socket) => socket.describe(),
            Door::Serial(..) => of.report.name.clone(),
            Door::Folder(watched) => watched.reader.place.describe(),
        });
        places.collect::<Vec<_>>().join(", ")
    }

    /// What each brought.
    pub fn reports(&self) -> Vec<SourceReport> {
        let report = |of: &Of| SourceReport {
            silences: of.silence.count,
            quiet: of.silence.is_quiet(),
            ..of.report.clone()
        };
        self.sources.iter().map(report).collect()
    }

    /// The next turn of a source that has something; each in its turn, so that none starves.
    pub async fn next(&mut self) -> Turn {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Turn> {
        let now_ns = self.clock.now_ns();
        let count = self.sources.len();
        for step in 0..count {
            let at = (self.turn + step) % count;
            let Some(of) = self.sources.get_mut(at).filter(|of| of.due_ns <= now_ns) else {
                continue;
            };
            if let Poll::Ready(turn) = of.poll(at, context, now_ns) {
                self.turn = (at + 1) % count;
                return Poll::Ready(turn);
            }
        }
        Poll::Pending
    }

    /// When a folder, or a source that was left alone, is due.
    pub fn timeout(&self) -> Option<u64> {
        let now_ns = self.clock.now_ns();
        let due = |of: &Of| {
            // A file that is being read says so itself.
            let folder = matches!(&of.door, Door::Folder(watched) if watched.reading.is_none());
            (folder || of.due_ns > now_ns).then_some(of.due_ns)
        };
        let due = self.sources.iter().filter_map(due);
        due.chain(self.sources.iter().filter_map(|of| of.silence.timeout())).min()
    }

    /// Tells who fell silent.
    pub fn handle_timeout(&mut self, pipeline: &mut Pipeline, now_ns: u64) {
        for of in &mut self.sources {
            if of.silence.handle_timeout(now_ns) {
                let name = &of.report.name;
                tracing::warn!(source = name, "the source is quiet");
                let record = json!({ "event": "source quiet", "source": name });
                pipeline.record(record, pipeline.time(now_ns), triage::RECORDS);
            }
        }
    }

    /// Everything that was made is durable: files that are through are put away.
    pub fn settled(&mut self, pipeline: &mut Pipeline, now_ns: u64) {
        for of in &mut self.sources {
            of.put_away(pipeline, now_ns);
        }
    }

    /// Takes a turn.
    pub fn take(&mut self, turn: Turn, pipeline: &mut Pipeline, now_ns: u64) {
        let (Turn::Packet(at, _) | Turn::Folder(at) | Turn::Trouble(at, _)) = turn;
        let Some(of) = self.sources.get_mut(at) else { return };
        match turn {
            Turn::Packet(_, bytes) => {
                of.heard(pipeline, now_ns);
                let length = bytes.len();
                match pipeline.offer(bytes, now_ns) {
                    Ok(()) => {
                        of.report.taken += 1;
                        of.report.bytes += length as u64;
                    }
                    Err((reason, told)) => {
                        of.dropped(&reason.to_string(), 1);
                        if let Some(count) = told {
                            tracing::warn!(count, "datagram dropped: {reason}");
                        }
                    }
                }
            }
            Turn::Folder(_) => of.folder(pipeline, now_ns),
            Turn::Trouble(_, error) => {
                of.due_ns = now_ns.saturating_add(PAUSE_NS);
                tracing::warn!(source = of.report.name, "the source can't be read: {error}");
            }
        }
    }
}

impl Of {
    fn dropped(&mut self, reason: &str, count: u64) {
        if count > 0 {
            *self.report.dropped.entry(reason.to_owned()).or_default() += count;
        }
    }

    fn heard(&mut self, pipeline: &mut Pipeline, now_ns: u64) {
        if self.silence.heard(now_ns) {
            let record = json!({ "event": "source heard again", "source": self.report.name });
            pipeline.record(record, pipeline.time(now_ns), triage::RECORDS);
        }
    }

    fn poll(&mut self, at: usize, context: &mut Context<'_>, now_ns: u64) -> Poll<Turn> {
        for _ in 0..DROPS_A_TURN {
            let packet = match &mut self.door {
                Door::Folder(watched) => {
                    if let Some(reading) = &mut watched.reading {
                        watched.opened = Some(ready!(reading.poll(context)));
                        watched.reading = None;
                    }
                    return Poll::Ready(Turn::Folder(at));
                }
                Door::Datagrams(socket) => match socket.poll_receive(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(packet)) => packet,
                    Poll::Ready(Err(error)) => return Poll::Ready(Turn::Trouble(at, error)),
                },
                Door::Serial(line, stream) => match stream.poll() {
                    Some(packet) => packet,
                    None => match line.poll_read(context) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Ok(bytes)) => {
                            stream.push(bytes);
                            let stray = stream.take_stray();
                            self.dropped(STRAY, stray);
                            continue;
                        }
                        Poll::Ready(Err(error)) => return Poll::Ready(Turn::Trouble(at, error)),
                    },
                },
            };
            match self.gate.admit(packet.len(), now_ns) {
                Ok(()) => return Poll::Ready(Turn::Packet(at, packet)),
                Err(excess) => {
                    self.silence.heard(now_ns);
                    self.dropped(&excess.to_string(), 1);
                }
            }
        }
        // The others' turn; this one goes on dropping in its next.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn folder(&mut self, pipeline: &mut Pipeline, now_ns: u64) {
        let Door::Folder(watched) = &mut self.door else { return };
        let look_ns = watched.reader.config.look_ms * 1_000_000;
        if let Some(opened) = watched.opened.take() {
            self.due_ns = now_ns;
            return self.begin(opened, pipeline, now_ns);
        }
        let Some((_, _, taking)) = &mut watched.taking else {
            self.due_ns = now_ns.saturating_add(look_ns);
            return self.look(now_ns);
        };
        if taking.is_done() {
            // It waits for its commit.
            self.due_ns = now_ns.saturating_add(look_ns);
            return;
        }
        let bytes = taking.piece_bytes();
        let wait_ns = self.gate.wait_ns(bytes, now_ns);
        if wait_ns > 0 {
            self.due_ns = now_ns.saturating_add(wait_ns);
            return;
        }
        self.gate.spend(bytes);
        let made = taking.step(pipeline, watched.slot, now_ns);
        watched.reader.kept = Some(taking.progress());
        self.report.taken += made.taken;
        self.report.bytes += made.bytes;
        self.dropped(STRAY, made.stray_bytes);
        for reason in made.dropped {
            self.dropped(&reason.to_string(), 1);
        }
        self.heard(pipeline, now_ns);
    }

    fn look(&mut self, now_ns: u64) {
        let Door::Folder(watched) = &mut self.door else { return };
        // Memory is reckoned for one file at a time.
        if watched.busy.load(Ordering::Acquire) {
            return;
        }
        let listed = match watched.reader.place.list() {
            Ok(listed) => listed,
            Err(error) => {
                tracing::warn!(source = self.report.name, "the folder can't be read: {error}");
                return;
            }
        };
        let Some(name) = watched.folder.look(&listed) else { return };
        match Reading::begin(watched.reader.clone(), name, &watched.busy) {
            Ok(reading) => {
                watched.reading = Some(reading);
                self.due_ns = now_ns;
            }
            Err(error) => tracing::error!("no thread to read files with: {error}"),
        }
    }

    /// Takes up a file that was read, or puts it aside.
    fn begin(&mut self, opened: Opened, pipeline: &mut Pipeline, now_ns: u64) {
        let Door::Folder(watched) = &mut self.door else { return };
        let Opened { name, sidecar, taking } = opened;
        match taking {
            Ok(taking) => {
                watched.taking = Some((name, sidecar, taking));
                self.due_ns = now_ns;
            }
            Err(reason) => {
                let reason = format!("{reason:#}");
                tracing::warn!(source = self.report.name, file = name, "rejected: {reason}");
                self.report.files_rejected += 1;
                if let Err(error) = watched.reader.place.reject(&name, sidecar.as_deref(), &reason)
                {
                    tracing::error!("{name}: can't be put away: {error}");
                }
                let record = json!({
                    "event": "file rejected", "source": self.report.name, "file": name,
                    "reason": reason,
                });
                pipeline.record(record, pipeline.time(now_ns), triage::RECORDS);
            }
        }
    }

    fn put_away(&mut self, pipeline: &mut Pipeline, now_ns: u64) {
        let Door::Folder(watched) = &mut self.door else { return };
        let Some((name, sidecar, _)) = watched.taking.take_if(|of| of.2.is_done()) else { return };
        if let Err(error) = watched.reader.place.finish(&name, sidecar.as_deref()) {
            // It is known by its progress when it is looked at again.
            tracing::error!("{name}: can't be put away: {error}");
            self.due_ns = now_ns.saturating_add(PAUSE_NS);
            return;
        }
        self.due_ns = now_ns;
        self.report.files += 1;
        let record = json!({ "event": "file taken", "source": self.report.name, "file": name });
        pipeline.record(record, pipeline.time(now_ns), triage::RECORDS);
    }
}

impl Reader {
    /// Reads a file and takes it up where it was left.
    fn open(&self, name: &str) -> (Option<String>, anyhow::Result<Taking>) {
        let images = self.config.files.is_some();
        let beside = match images.then(|| self.place.sidecar(&sidecars(name))).transpose() {
            Ok(beside) => beside.flatten(),
            Err(error) => return (None, Err(error)),
        };
        let (sidecar, text) = beside.unzip();
        let taking = self.read(name, text.as_deref(), images);
        (sidecar, taking)
    }

    fn read(&self, name: &str, sidecar: Option<&[u8]>, images: bool) -> anyhow::Result<Taking> {
        let Source { tile_side, file_bytes_max, image_bytes_max, packet_bytes_max, .. } =
            self.config;
        let bytes = self.place.read(name, file_bytes_max)?;
        let digest = digest(name, tile_side, &bytes, sidecar.unwrap_or_default());
        if !images {
            return Ok(Taking::packets(digest, self.kept, bytes.into(), packet_bytes_max));
        }
        let mut image = image::read(name, &bytes, sidecar, image_bytes_max)?;
        image.reflectance = image.reflectance.or(self.config.reflectance());
        Ok(Taking::tiles(digest, self.kept, image, tile_side, self.apid)?)
    }
}
