//! All sources: each in its turn, within its limits, and every drop counted.

mod folder;
mod reading;
pub mod serial;
mod sockets;
mod watched;

pub use folder::parts;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, atomic::AtomicBool},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use codecs_quic::Monotonic;
use serde::Serialize;
use serde_json::json;

use self::{serial::Serial, sockets::Datagrams, watched::Watched};
use crate::{
    config::Config,
    pipeline::Pipeline,
    source::{
        limits::{Gate, Silence},
        stream::Stream,
        taking::Progress,
    },
    store::{Disk, Store},
    triage,
};

/// Wait after an error: it may last, and must not fill the log.
const PAUSE_NS: u64 = 500_000_000;
/// Packets over the limit that are dropped in one turn.
const DROPS_A_TURN: usize = 64;
/// Packets of one source that are taken in one go at a stop.
const LAST_A_TURN: usize = 64;
/// Bytes of one source that a stop reads at most: twice the room that is asked for, as the system
/// reckons it.
const LAST_BYTES_MAX: usize = 8 << 20;
/// What a datagram takes of that room at least.
const DATAGRAM_BYTES_MIN: usize = 256;
const SECOND_NS: u64 = 1_000_000_000;
const STRAY: &str = "bytes of no packet";
const OVERRUN: &str = "datagrams that the system had no room for";

/// What one source brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SourceReport {
    /// Its name.
    pub name: String,
    /// Packets, frames or tiles taken.
    pub taken: u64,
    /// Their bytes, without those of what was dropped.
    pub bytes: u64,
    /// Dropped, by reason: packets, or for stray bytes of a line or a file, bytes.
    pub dropped: BTreeMap<String, u64>,
    /// Files taken whole.
    pub files: u64,
    /// Files of which something could not be taken, and the rest was.
    pub files_in_part: u64,
    /// Files rejected whole.
    pub files_rejected: u64,
    /// How often it fell silent.
    pub silences: u64,
    /// Whether it is silent now.
    pub quiet: bool,
}

impl SourceReport {
    /// Datagrams that the system dropped before they were read.
    pub fn overrun(&self) -> u64 {
        self.dropped.get(OVERRUN).copied().unwrap_or(0)
    }
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

struct Of {
    door: Door,
    gate: Gate,
    silence: Silence,
    report: SourceReport,
    /// Left alone until then: after an error, between looks, or for its limit.
    due_ns: u64,
    overrun: Overrun,
    /// Bytes that a stop may still take.
    last_left: usize,
}

/// What the system dropped of a socket's datagrams before they were read.
#[derive(Default)]
struct Overrun {
    /// The system's own count, which wraps, as it was at the last look.
    seen: u32,
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
            let door = match (&source.serial, source.files.as_ref().or(source.packets.as_ref())) {
                (Some(device), _) => {
                    let stream = Stream::new(source.framing, source.packet_bytes_max)
                        .giving_up_after(source.give_up_ms * 1_000_000);
                    Door::Serial(Serial::open(device, source.baud)?, stream)
                }
                (None, Some(folder)) => {
                    Door::Folder(Box::new(Watched::open(config, source, folder, &busy)?))
                }
                (None, None) => Door::Datagrams(Datagrams::bind(source).await?),
            };
            let after = (source.quiet_after_s > 0).then(|| source.quiet_after_s * SECOND_NS);
            sources.push(Of {
                door,
                gate: Gate::new(source.limits()),
                silence: Silence::new(after, clock.now_ns()),
                report: SourceReport { name: source.name(), ..SourceReport::default() },
                due_ns: 0,
                overrun: Overrun::default(),
                last_left: LAST_BYTES_MAX,
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
            let due_ns = of.due_ns;
            match &of.door {
                // A file that is being read says so itself.
                Door::Folder(watched) if watched.reading.is_none() => Some(due_ns),
                Door::Serial(_, stream) if due_ns <= now_ns => stream.timeout(),
                _ => (due_ns > now_ns).then_some(due_ns),
            }
        };
        let due = self.sources.iter().filter_map(due);
        due.chain(self.sources.iter().filter_map(|of| of.silence.timeout())).min()
    }

    /// Tells who fell silent, and whose datagrams the system dropped.
    pub fn handle_timeout(&mut self, pipeline: &mut Pipeline, now_ns: u64) {
        for of in &mut self.sources {
            of.count_overrun(pipeline, now_ns);
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

    /// Takes some of what still waits in sockets and lines, at a stop; whether there may be more.
    /// What was sent before the stop was sent to a flight that stood. Bounded a source by
    /// `LAST_BYTES_MAX`: a sender that goes on must not keep it from ending.
    pub fn take_last(&mut self, pipeline: &mut Pipeline, now_ns: u64) -> bool {
        let mut more = false;
        for of in &mut self.sources {
            for _ in 0..LAST_A_TURN {
                match of.read_last(now_ns) {
                    Some(packet) => of.offer(packet, pipeline, now_ns),
                    None => break,
                }
                more = true;
            }
        }
        if !more {
            for of in &mut self.sources {
                of.overrun.due_ns = now_ns;
                of.count_overrun(pipeline, now_ns);
            }
        }
        more
    }

    /// Takes a turn.
    pub fn take(&mut self, turn: Turn, pipeline: &mut Pipeline, now_ns: u64) {
        let (Turn::Packet(at, _) | Turn::Folder(at) | Turn::Trouble(at, _)) = turn;
        let Some(of) = self.sources.get_mut(at) else { return };
        match turn {
            Turn::Packet(_, bytes) => of.offer(bytes, pipeline, now_ns),
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

    fn offer(&mut self, packet: Bytes, pipeline: &mut Pipeline, now_ns: u64) {
        self.heard(pipeline, now_ns);
        let length = packet.len();
        match pipeline.offer(packet, now_ns) {
            Ok(()) => {
                self.report.taken += 1;
                self.report.bytes += length as u64;
            }
            Err((reason, told)) => {
                self.dropped(&reason.to_string(), 1);
                if let Some(count) = told {
                    tracing::warn!(count, "datagram dropped: {reason}");
                }
            }
        }
    }

    /// Counts what the system dropped since the last look, at most once a second.
    fn count_overrun(&mut self, pipeline: &mut Pipeline, now_ns: u64) {
        let Door::Datagrams(socket) = &self.door else { return };
        if now_ns < self.overrun.due_ns {
            return;
        }
        self.overrun.due_ns = now_ns.saturating_add(SECOND_NS);
        let Some(count) = socket.overrun() else { return };
        let fresh = u64::from(count.wrapping_sub(self.overrun.seen));
        self.overrun.seen = count;
        let before = self.report.overrun();
        self.dropped(OVERRUN, fresh);
        let all = before + fresh;
        // The first, and each doubling: a flood must not fill the store with its own records.
        if all.checked_ilog2() == before.checked_ilog2() {
            return;
        }
        let reason = format!(
            "source {}: the system had no room for {all} datagrams since the start: raise \
             net.core.rmem_max, or send slower",
            self.report.name
        );
        tracing::warn!("{reason}");
        let record = json!({
            "event": "datagrams lost", "source": self.report.name, "count": all, "reason": reason,
        });
        pipeline.record(record, pipeline.time(now_ns), triage::RECORDS);
    }

    /// The next packet of what waits, at a stop.
    fn read_last(&mut self, now_ns: u64) -> Option<Bytes> {
        loop {
            let packet = match &mut self.door {
                Door::Folder(_) => return None,
                Door::Datagrams(_) if self.last_left == 0 => return None,
                Door::Datagrams(socket) => {
                    let packet = socket.try_receive()?;
                    let held = packet.len().max(DATAGRAM_BYTES_MIN);
                    self.last_left = self.last_left.saturating_sub(held);
                    packet
                }
                Door::Serial(line, stream) => match stream.poll() {
                    Some(packet) => packet,
                    None => {
                        match line.try_read().filter(|_| self.last_left > 0) {
                            Some(bytes) => {
                                self.last_left = self.last_left.saturating_sub(bytes.len());
                                stream.push(bytes, now_ns);
                            }
                            // Nothing follows what was begun.
                            None if !stream.is_drained() => stream.finish(),
                            None => return None,
                        }
                        let stray = stream.take_stray();
                        self.dropped(STRAY, stray);
                        continue;
                    }
                },
            };
            match self.gate.admit(packet.len(), now_ns) {
                Ok(()) => return Some(packet),
                Err(excess) => self.dropped(&excess.to_string(), 1),
            }
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
                    None => {
                        match line.poll_read(context) {
                            Poll::Ready(Ok(bytes)) => stream.push(bytes, now_ns),
                            Poll::Ready(Err(error)) => {
                                stream.finish();
                                return Poll::Ready(Turn::Trouble(at, error));
                            }
                            Poll::Pending => {
                                let due = stream.timeout().is_some_and(|due| due <= now_ns);
                                // After a stall here bytes may wait that nobody told of yet.
                                if !due || line.is_waiting() {
                                    return Poll::Pending;
                                }
                                stream.handle_timeout(now_ns);
                            }
                        }
                        let stray = stream.take_stray();
                        self.dropped(STRAY, stray);
                        continue;
                    }
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
}
