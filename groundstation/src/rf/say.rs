//! What is durable, signed and framed for the air, no faster than the uplink carries it.

use super::config::{Framing, Up};
use codecs::{
    frame::{
        cltu::{CltuCoding, CltuError, bch, ldpc::LdpcUnits},
        tc::{self, Segment, SegmentHeader, TcHeader, TcType},
    },
    ids::{KeyPrefix, Origin, RangeSet},
    link::{
        custody::Durability,
        rf::{
            say::{Speaker, SpeakerConfig},
            signed::Statement,
        },
        uplink::{UplinkKey, object::UplinkObject},
        wire::Message,
    },
    packet::space::SequenceCount,
    sync::randomizer::{Randomizer, Sequence},
    time::Tai,
};
use std::collections::BTreeMap;

/// Counters are kept so far ahead of those that were used: they follow the time in ns, so this is
/// a write a minute.
pub const AHEAD: u64 = 60_000_000_000;

/// How urgent the time is that is said, and everything else.
const PRIORITY: [u8; 2] = [192, 128];
/// Said time is worth less than nothing later than this: a spacecraft takes it to be off by 2 s.
const TIME_SPAN_NS: u64 = 1_000_000_000;

/// In whose name, and to whom.
#[derive(Clone, Debug)]
pub struct Voice {
    /// The domain.
    pub domain: String,
    /// The ledger.
    pub ledger: u64,
    /// The store that is spoken to.
    pub origin: Origin,
    /// The class that makes units reclaimable there.
    pub class: Durability,
}

/// A unit for the air.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The bound on counters to be kept before it goes, where it is above the one that is.
    pub keep: Option<u64>,
    /// A CLTU.
    pub bytes: Vec<u8>,
    /// Where several wait for one modem, the higher goes first.
    pub priority: u8,
    /// For how long it is worth being radiated, ns.
    pub span_ns: u64,
    /// The uplink object that it holds.
    pub object: Option<UplinkKey>,
}

/// What was said so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaidCounts {
    /// Statements.
    pub statements: u64,
    /// Bytes of their units.
    pub bytes: u64,
    /// Statements that fit no frame.
    pub unframed: u64,
}

enum Coder {
    Bch(Option<Randomizer>),
    Ldpc(Box<LdpcUnits>),
}

impl Coder {
    fn new(coding: CltuCoding) -> Self {
        match coding {
            CltuCoding::Bch { randomized } => {
                Self::Bch(randomized.then(|| Randomizer::new(Sequence::Telecommand, tc::MAX_BYTES)))
            }
            CltuCoding::Ldpc(code) => Self::Ldpc(Box::new(LdpcUnits::new(code))),
        }
    }

    fn unit(&mut self, frame: &[u8]) -> Result<Vec<u8>, CltuError> {
        match self {
            Self::Bch(randomizer) => bch::encode(frame, randomizer.as_ref()),
            Self::Ldpc(units) => units.encode(frame, true),
        }
    }
}

/// Speaks to one spacecraft.
pub struct Mouth {
    speaker: Speaker,
    up: Up,
    coder: Coder,
    key: [u8; 32],
    count: SequenceCount,
    /// No counter above it was ever used: what a crash leaves.
    kept: u64,
    /// The air is taken until then.
    free_ns: u64,
    counts: SaidCounts,
}

impl Mouth {
    /// Has said nothing since its start; counters up to `kept` may have been used before it.
    pub fn new(up: Up, voice: Voice, key: [u8; 32], kept: u64) -> Self {
        let Voice { domain, ledger, origin, class } = voice;
        let Up { rate_bps, repeat_ns, time_ns, .. } = up;
        let config = SpeakerConfig { domain, ledger, origin, class, rate_bps, repeat_ns, time_ns };
        Self {
            speaker: Speaker::new(config, kept),
            coder: Coder::new(up.framing.coding),
            up,
            key,
            count: SequenceCount(0),
            kept,
            free_ns: 0,
            counts: SaidCounts::default(),
        }
    }

    /// These are durable, or came again although they were.
    pub fn durable(&mut self, prefix: KeyPrefix, ranges: &RangeSet) {
        ranges.ranges().iter().for_each(|range| self.speaker.durable(prefix, *range));
    }

    /// Bytes of an object that may be said, where one may be given now.
    pub fn takes_object(&self) -> Option<usize> {
        self.speaker.takes_object().then(|| self.speaker.object_bytes_max())
    }

    /// Says an object next.
    pub fn say_object(&mut self, object: UplinkObject) {
        self.speaker.say_object(object);
    }

    /// Forgets the object that was not said.
    pub fn drop_object(&mut self) {
        self.speaker.drop_object();
    }

    /// These are lost, and none else.
    pub fn lost(&mut self, lost: &BTreeMap<KeyPrefix, RangeSet>, now_ns: u64) {
        self.speaker.lost(lost, now_ns);
    }

    /// What was said so far.
    pub fn counts(&self) -> SaidCounts {
        self.counts
    }

    /// Ranges that found no room, and wait until their units come again.
    pub fn left_out(&self) -> u64 {
        self.speaker.left_out()
    }

    /// A bound on counters is kept, as a unit asked for.
    pub fn kept(&mut self, bound: u64) {
        self.kept = bound;
    }

    /// When something may be said, on the monotonic clock.
    pub fn timeout(&self) -> Option<u64> {
        self.speaker.timeout().map(|due| due.max(self.free_ns))
    }

    /// The next unit, where there is something to say and the air is free.
    pub fn poll(&mut self, now_ns: u64, time: Tai) -> Option<Said> {
        if self.timeout()? > now_ns {
            return None;
        }
        let statement = self.speaker.poll(now_ns, time)?;
        let Some(bytes) = self.unit(&statement) else {
            self.counts.unframed += 1;
            return None;
        };
        self.counts.statements += 1;
        self.counts.bytes += bytes.len() as u64;
        // By what goes on the air, which differs with the coding.
        let ns = bytes.len() as u128 * 8 * 1_000_000_000 / u128::from(self.up.rate_bps.max(1));
        self.free_ns = now_ns.saturating_add(u64::try_from(ns).unwrap_or(u64::MAX));
        let keep = (statement.counter > self.kept).then(|| statement.counter.saturating_add(AHEAD));
        let [time, other] = PRIORITY;
        let (priority, span_ns) = match statement.message {
            None => (time, TIME_SPAN_NS),
            // Then it is said anew.
            Some(_) => (other, self.up.repeat_ns),
        };
        let object = match statement.message {
            Some(Message::Uplink { object }) => Some(object.key),
            _ => None,
        };
        Some(Said { keep, bytes, priority, span_ns, object })
    }

    /// One statement is one packet, one frame of type BD and one unit: each stands by itself, since
    /// nothing tells the ground what the spacecraft missed (CCSDS 232.0-B-4 §4.1.2.3).
    fn unit(&mut self, statement: &Statement) -> Option<Vec<u8>> {
        let packet = statement.packet(&self.key, self.up.apid, self.count)?;
        self.count = self.count.next();
        let Framing { scid, vc, map, .. } = self.up.framing;
        let header = TcHeader { kind: TcType::Bd, scid, vcid: vc, count: 0 };
        let segment = map.map(|map| SegmentHeader { segment: Segment::Unsegmented, map });
        let frame = tc::build(&header, segment, &packet, true).ok()?;
        self.coder.unit(&frame).ok()
    }
}

#[cfg(test)]
mod tests;
