//! Units to channel access data units at the pace of a radio, and what comes back.
//!
//! ```text
//! line ─► split ─► packets ─► frames ─► CADUs, one when the transmitter is free
//!   └────────────────┴ a more urgent unit goes between two packets of another
//! line ◄─ heard ◄─ ears ◄─ packets ◄─ TC frames ◄─ CLTUs
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use codecs::{
    frame::{
        BuildError,
        aos::{AosBuilder, AosConfig, AosIdle},
        cadu::{CaduEncoder, CaduError, Coding, Symbols},
        cltu::{CltuCoding, CltuDecoder},
        extract::{Erred, Event, Extractor, FrameConfig},
        tc::TcConfig,
        tm::{TmBuilder, TmConfig},
    },
    ids::{Apid, Origin, UnitKey},
    link::{
        custody::Durability,
        rf::{
            line::{Heard, Line},
            signed::{Ignored, Listener, Statement},
            split::{SplitError, Splitter},
        },
        sender::UnitInfo,
    },
    packet::{
        idle::IdleFill,
        space::{PacketView, SequenceCount},
    },
};

use super::Stand;
use crate::config::FrameKind;

/// Most units that stand in line, a bound on memory. What the store holds beyond it is taken up
/// once half of these have gone.
pub const LINE_UNITS_MAX: usize = 16_384;
/// Units that wait in their middle for a more urgent one, each for the one before: what they hold
/// in memory. At the bound the one under way goes to its end.
pub const PAUSED_MAX: usize = 4;
/// Most keys of the domain that are believed at once: the one in use, the next, the golden one.
pub const KEYS_MAX: usize = 8;
/// Keys whose counters are remembered: those that are believed no more may be again.
const REMEMBERED_MAX: usize = 2 * KEYS_MAX;

/// How far behind its pace a radio may catch up: what a timer may be late.
const LATE_NS: u64 = 10_000_000;
const COUNTERS_VERSION: u8 = 1;

/// Settings of a radio.
#[derive(Clone, Debug)]
pub struct RadioConfig {
    /// Whose units.
    pub origin: Origin,
    /// Least class of a receipt that ends a unit's wait.
    pub reclaimable_from: Durability,
    /// How long a unit waits for its receipt before it goes again.
    pub again_ns: u64,
    /// Share of the bytes that everything but products has while any of it waits, percent.
    pub housekeeping_percent: u8,
    /// Application whose packets carry the units.
    pub apid: Apid,
    /// Bytes of a unit in one packet.
    pub part_bytes: usize,
    /// Kind of the frames.
    pub kind: FrameKind,
    /// Their length.
    pub frame_bytes: usize,
    /// Whether they end in an error control field.
    pub fecf: bool,
    /// Spacecraft identifier, of the command frames too.
    pub scid: u16,
    /// Virtual channel.
    pub vc: u8,
    /// Count of the first frame: one that starts again from 0 could be taken for an older frame.
    pub first_count: u32,
    /// What is done to frames.
    pub coding: Coding,
    /// Bits a second on the air, markers and check symbols among them.
    pub rate_bps: u64,
    /// Whether idle frames fill what is left.
    pub idle: bool,
    /// What is done to command frames.
    pub up_coding: CltuCoding,
    /// Application whose packets are statements.
    pub up_apid: Apid,
    /// Whether command frames have segment headers.
    pub up_segments: bool,
    /// Domain that is believed.
    pub domain: String,
    /// Its public keys, Ed25519.
    pub keys: Vec<[u8; 32]>,
}

/// Why there is no radio of such settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RadioError {
    /// Frames can't be made.
    #[error("frames: {0}")]
    Frame(#[from] BuildError),
    /// Or not coded.
    #[error("coding: {0}")]
    Coding(#[from] CaduError),
    /// Units can't be split.
    #[error("packets: {0}")]
    Split(#[from] SplitError),
    /// 32 bytes that are no point of the curve.
    #[error("key {0} of the domain is no Ed25519 key")]
    Key(usize),
}

/// What a radio did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RadioCounts {
    /// Units sent, repeats included.
    pub units: u64,
    /// Of these, units that went in the middle of one that is worth less.
    pub interrupted: u64,
    /// Units that could not go: longer than a unit may be.
    pub unsendable: u64,
    /// Frames, idle ones included.
    pub frames: u64,
    /// Of them, idle ones.
    pub idle_frames: u64,
    /// Bytes on the air.
    pub bytes: u64,
    /// Command frames heard.
    pub command_frames: u64,
    /// Command frames left out: damaged, or another spacecraft's.
    pub command_frames_rejected: u64,
    /// Statements believed.
    pub statements: u64,
    /// Packets ignored, by reason.
    pub ignored: BTreeMap<&'static str, u64>,
}

/// A unit that the store holds without a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldUnit {
    /// Its key.
    pub key: UnitKey,
    /// What the line must know of it.
    pub info: UnitInfo,
    /// Whether it was never sent.
    pub fresh: bool,
}

/// What the radio wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// To be sent now.
    Send(Vec<u8>),
    /// To be answered with [`Radio::unit`], or [`Radio::withdraw`] where it is not held.
    Take(UnitKey, UnitInfo),
}

#[derive(Debug)]
enum Framer {
    Aos(AosBuilder, AosIdle),
    Tm(TmBuilder, IdleFill),
}

/// A unit of which not all is in frames.
#[derive(Debug)]
struct Going {
    key: UnitKey,
    info: UnitInfo,
    /// How often it was sent before.
    sent: u32,
    /// Its packets that are in no frame yet.
    packets: VecDeque<Vec<u8>>,
}

/// A radio: the sending end, and the ear.
#[derive(Debug)]
pub struct Radio {
    line: Line,
    /// Some units of the store are not in the line.
    overflow: bool,
    /// In the line, but sent: the first to make room, the oldest first.
    sent: VecDeque<UnitKey>,
    /// The last unit that was taken up to be sent again.
    again: Option<UnitKey>,
    reclaimable_from: Durability,
    splitter: Splitter,
    framer: Framer,
    encoder: CaduEncoder,
    /// Units under way, the last one first; the others go on when it is gone.
    going: Vec<Going>,
    count: SequenceCount,
    frames: VecDeque<Bytes>,
    /// Whether the frame in progress holds anything.
    begun: bool,
    rate_bps: u64,
    idle: bool,
    stand: Stand,
    free_ns: u64,
    due_ns: Option<u64>,
    ears: Ears,
    counts: RadioCounts,
}

impl Radio {
    /// A radio that has sent nothing. `counters` is what was kept of [`Self::counters`].
    pub fn new(config: &RadioConfig, counters: &[u8]) -> Result<Self, RadioError> {
        let RadioConfig { kind, frame_bytes, fecf, scid, vc, first_count, .. } = *config;
        let framer = match kind {
            FrameKind::Aos => {
                let frame = AosConfig::new(frame_bytes).with_fecf(fecf);
                let idle = AosIdle::new(frame.clone(), scid, 0)?;
                Framer::Aos(AosBuilder::new(frame, scid, vc, first_count)?, idle)
            }
            FrameKind::Tm => {
                let frame = TmConfig::new(frame_bytes).with_fecf(fecf);
                let frames = TmBuilder::new(frame, scid, vc, first_count as u8)?;
                Framer::Tm(frames, IdleFill::new())
            }
        };
        let marker = config.coding.marker();
        Ok(Self {
            line: Line::new(config.origin, config.reclaimable_from, config.again_ns)
                .with_housekeeping(config.housekeeping_percent),
            overflow: false,
            sent: VecDeque::new(),
            again: None,
            reclaimable_from: config.reclaimable_from,
            splitter: Splitter::new(config.apid, config.part_bytes)?,
            framer,
            encoder: CaduEncoder::new(&config.coding, frame_bytes, marker)?,
            going: Vec::new(),
            count: SequenceCount(0),
            frames: VecDeque::new(),
            begun: false,
            rate_bps: config.rate_bps.max(1),
            idle: config.idle,
            stand: Stand::default(),
            free_ns: 0,
            due_ns: None,
            ears: Ears::new(config, counters)?,
            counts: RadioCounts::default(),
        })
    }

    /// What it did.
    pub fn counts(&self) -> RadioCounts {
        let ignored = self.ears.ignored.clone();
        RadioCounts { ignored, ..self.counts.clone() }
    }

    /// How the contact stands.
    pub fn set_stand(&mut self, stand: Stand) {
        self.stand = stand;
    }

    /// Offers a unit that the store has synced.
    pub fn offer(&mut self, key: UnitKey, info: UnitInfo) {
        while self.line.len() >= LINE_UNITS_MAX {
            self.overflow = true;
            let Some(sent) = self.sent.pop_front() else { return };
            self.line.withdraw(sent);
        }
        self.line.offer(key, info);
    }

    /// Whether the line wants what the store holds beyond it: see [`Self::take_up`].
    pub fn wants(&self) -> bool {
        self.overflow && self.line.len() < LINE_UNITS_MAX / 2
    }

    /// Takes up what a store holds, in order of key, until the line is full: what was never sent
    /// in order of priority, then the rest in turn.
    pub fn take_up<I: Iterator<Item = HeldUnit>>(&mut self, held: impl Fn() -> I) {
        self.overflow = false;
        let last = self.again;
        let priorities: BTreeSet<u8> =
            held().filter(|of| of.fresh).map(|of| of.info.priority).collect();
        let fresh = priorities
            .into_iter()
            .rev()
            .flat_map(|priority| held().filter(move |of| of.fresh && of.info.priority == priority));
        let sent = || held().filter(|of| !of.fresh);
        let next = sent().filter(move |of| last.is_none_or(|last| of.key > last));
        let before = sent().filter(move |of| last.is_some_and(|last| of.key <= last));
        for HeldUnit { key, info, fresh } in fresh.chain(next).chain(before) {
            if self.line.len() >= LINE_UNITS_MAX {
                self.overflow = true;
                return;
            }
            self.line.offer(key, info);
            if !fresh {
                self.again = Some(key);
            }
        }
    }

    /// Forgets a unit that is receipted or no longer on board, in the middle of it too.
    pub fn withdraw(&mut self, key: UnitKey) {
        self.line.withdraw(key);
        self.going.retain(|of| of.key != key);
    }

    /// What to do now; to be asked until it wants nothing.
    pub fn poll(&mut self, now_ns: u64) -> Option<Action> {
        self.due_ns = None;
        if !self.stand.phase.sends() {
            return None;
        }
        if self.free_ns > now_ns {
            self.due_ns = Some(self.free_ns);
            return None;
        }
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Some(Action::Send(self.send(&frame, now_ns)));
            }
            if self.begins()
                && let Some((key, info)) = self.line.poll(now_ns)
            {
                // One that is so long that its time came again is sent as it is.
                if self.going.iter().all(|of| of.key != key) {
                    return Some(Action::Take(key, info));
                }
                continue;
            }
            let next = self.going.last_mut().and_then(|of| Some((of.key, of.packets.pop_front()?)));
            if let Some((key, packet)) = next {
                self.line.goes(key, packet.len() as u64);
                self.frame(packet);
                if self.going.last().is_some_and(|of| of.packets.is_empty()) {
                    self.gone();
                }
                continue;
            }
            if self.begun {
                self.flush();
            } else if self.idle {
                self.fill();
            } else {
                self.due_ns = self.line.timeout().filter(|_| self.stand.phase.begins());
                return None;
            }
        }
    }

    /// Whether another unit may be begun: nothing is under way, or only what is less urgent.
    fn begins(&self) -> bool {
        let may =
            |of: &Going| self.going.len() <= PAUSED_MAX && self.line.interrupts(&of.info, of.sent);
        self.stand.phase.begins() && self.going.last().is_none_or(may)
    }

    /// When to ask again, unless something else happens before.
    pub fn timeout(&self) -> Option<u64> {
        self.due_ns
    }

    /// The bytes of a unit that was asked for.
    pub fn unit(&mut self, key: UnitKey, info: UnitInfo, bytes: &[u8]) {
        let mut packets = VecDeque::new();
        let sink = &mut |packet| packets.push_back(packet);
        match self.splitter.split(key, info.codec, info.priority, bytes, sink) {
            Ok(()) => {
                self.counts.units += 1;
                self.counts.interrupted += u64::from(!self.going.is_empty());
                let sent = self.line.times_sent(key).saturating_sub(1);
                self.going.push(Going { key, info, sent, packets });
            }
            Err(_) => {
                self.counts.unsendable += 1;
                self.line.withdraw(key);
            }
        }
    }

    /// All of the unit under way is in frames.
    fn gone(&mut self) {
        let Some(Going { key, .. }) = self.going.pop() else { return };
        // Its place is for one that found none; it is taken up again after those.
        if self.overflow {
            self.line.withdraw(key);
            return;
        }
        if self.sent.len() >= LINE_UNITS_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back(key);
    }

    fn frame(&mut self, mut packet: Vec<u8>) {
        // Counts follow the order on the air, which is not the one that units were cut in.
        if let Some([_, _, high, low, ..]) = packet.first_chunk_mut::<6>() {
            let [grouping, count] = [*high & 0xc0, (self.count.0 >> 8) as u8 & 0x3f];
            (*high, *low) = (grouping | count, self.count.0 as u8);
        }
        self.count = self.count.next();
        let packet = &*packet;
        let Self { framer, frames, .. } = self;
        let sink = &mut |frame| frames.push_back(frame);
        let framed = match framer {
            Framer::Aos(builder, _) => builder.push(packet, sink),
            Framer::Tm(builder, _) => builder.push(packet, sink),
        };
        debug_assert!(framed.is_ok(), "the splitter makes packets");
        self.begun = true;
    }

    fn flush(&mut self) {
        let Self { framer, frames, .. } = self;
        let sink = &mut |frame| frames.push_back(frame);
        match framer {
            Framer::Aos(builder, _) => builder.flush(sink),
            Framer::Tm(builder, _) => builder.flush(sink),
        }
        self.begun = false;
    }

    fn fill(&mut self) {
        let frame = match &mut self.framer {
            Framer::Aos(_, idle) => idle.frame(),
            Framer::Tm(builder, fill) => builder.idle_frame(fill),
        };
        self.counts.idle_frames += 1;
        self.frames.push_back(frame);
    }

    fn send(&mut self, frame: &[u8], now_ns: u64) -> Vec<u8> {
        let mut cadu = Vec::new();
        let coded = self.encoder.push(frame, &mut cadu);
        debug_assert!(coded.is_ok(), "frames have the length that the coding was made for");
        let rate = match self.stand.rate_bps {
            0 => self.rate_bps,
            planned => planned.min(self.rate_bps),
        };
        let takes_ns = u128::from(8 * cadu.len() as u64) * 1_000_000_000 / u128::from(rate);
        let from_ns = self.free_ns.max(now_ns.saturating_sub(LATE_NS));
        self.free_ns = from_ns.saturating_add(u64::try_from(takes_ns).unwrap_or(u64::MAX));
        self.counts.frames += 1;
        self.counts.bytes += cadu.len() as u64;
        cadu
    }

    /// Takes what the receiver heard; what it means for the store, which takes it together with
    /// [`Self::counters`] in one commit.
    pub fn uplink(&mut self, chunk: &[u8]) -> Vec<Heard> {
        let Self { ears, counts, line, .. } = self;
        let mut heard = Vec::new();
        for statement in ears.hear(chunk, counts) {
            counts.statements += 1;
            heard.extend(line.hear(statement));
        }
        for of in &heard {
            let Heard::Receipt { prefix, ranges, class, .. } = of else { continue };
            if *class >= self.reclaimable_from {
                self.going.retain(|Going { key, .. }| {
                    key.prefix != *prefix || !ranges.contains(key.sequence)
                });
            }
        }
        heard
    }

    /// The counters of what was heard, to be kept.
    pub fn counters(&self) -> Bytes {
        self.ears.counters().into()
    }
}

/// The receiving end: command frames, packets, and whom to believe.
#[derive(Debug)]
struct Ears {
    units: CltuDecoder,
    packets: Extractor,
    apid: Apid,
    listeners: Vec<([u8; 32], Listener)>,
    /// Counters of keys that are not believed at present.
    others: Vec<([u8; 32], u64)>,
    ignored: BTreeMap<&'static str, u64>,
}

impl Ears {
    fn new(config: &RadioConfig, counters: &[u8]) -> Result<Self, RadioError> {
        let mut others = read_counters(counters).unwrap_or_default();
        let mut listeners = Vec::new();
        for (at, key) in config.keys.iter().take(KEYS_MAX).enumerate() {
            let known = others.iter().position(|(other, _)| other == key);
            let counter = known.map_or(0, |at| others.remove(at).1);
            let listener = Listener::new(&config.domain, key, config.origin, counter)
                .ok_or(RadioError::Key(at))?;
            listeners.push((*key, listener));
        }
        others.truncate(REMEMBERED_MAX - listeners.len());
        let frames = FrameConfig::Tc(TcConfig::new(config.up_segments, true));
        let packets = Extractor::new(frames).with_erred(Erred::Reject).with_spacecraft(config.scid);
        let units = CltuDecoder::new(config.up_coding);
        let ignored = BTreeMap::new();
        Ok(Self { units, packets, apid: config.up_apid, listeners, others, ignored })
    }

    fn hear(&mut self, chunk: &[u8], counts: &mut RadioCounts) -> Vec<Statement> {
        let Self { units, packets, apid, listeners, ignored, .. } = self;
        let mut statements = Vec::new();
        units.push(Symbols::Packed, chunk, &mut |frame| {
            packets.push(&frame, &mut |event| match event {
                Event::Frame { .. } => counts.command_frames += 1,
                Event::Rejected(_) => counts.command_frames_rejected += 1,
                Event::Packet { bytes, .. } => {
                    let Ok(packet) = PacketView::parse(&bytes) else { return };
                    if packet.header().apid != *apid {
                        return;
                    }
                    match believe(listeners, &packet) {
                        Ok(statement) => statements.push(statement),
                        Err(reason) => *ignored.entry(reason.name()).or_default() += 1,
                    }
                }
                _ => {}
            });
        });
        statements
    }

    fn counters(&self) -> Vec<u8> {
        let listened = self.listeners.iter().map(|(key, of)| (*key, of.counter()));
        let mut kept = vec![COUNTERS_VERSION];
        for (key, counter) in listened.chain(self.others.iter().copied()) {
            kept.extend_from_slice(&key);
            kept.extend_from_slice(&counter.to_be_bytes());
        }
        kept
    }
}

/// What another key signed may be of this one.
fn believe(
    listeners: &mut [([u8; 32], Listener)],
    packet: &PacketView<'_>,
) -> Result<Statement, Ignored> {
    let mut heard = Err(Ignored::Domain);
    for (_, listener) in listeners {
        heard = listener.hear(packet);
        if !matches!(heard, Err(Ignored::Signature)) {
            break;
        }
    }
    heard
}

/// Reads what was kept: a version, then 32 bytes of each key and its counter.
pub fn read_counters(kept: &[u8]) -> Option<Vec<([u8; 32], u64)>> {
    let (version, mut rest) = kept.split_first()?;
    if *version != COUNTERS_VERSION || rest.len() > REMEMBERED_MAX * 40 {
        return None;
    }
    let mut counters = Vec::new();
    while !rest.is_empty() {
        let (key, after) = rest.split_first_chunk()?;
        let (counter, after) = after.split_first_chunk()?;
        counters.push((*key, u64::from_be_bytes(*counter)));
        rest = after;
    }
    Some(counters)
}

#[cfg(test)]
mod tests;
