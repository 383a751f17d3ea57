//! Packets to parameters, each packet once.
//!
//! The same packet may come down in a realtime frame and in a recorded block, and again in a
//! replay: its identity decides.

use crate::limits::Alarms;
use crate::publish::{Event, Level, PacketIdentities, PacketIdentity};
use codecs::fec::crc::crc32c;
use codecs::ids::{Apid, SpacecraftId};
use codecs::mission::{Definition, Plans};
use codecs::packet::is_idle;
use codecs::packet::space::PacketView;
use codecs::time::Tai;
use std::sync::Arc;

/// Packet identities remembered a spacecraft: at thirty packets a second over two hours, so that a
/// backlog of a pass meets its realtime copies. At the bound the oldest arrival is forgotten, and
/// a copy later than that is published again.
pub const IDENTITIES_MAX: usize = 1 << 18;

/// A packet that claims to be this far in the future is shown and not judged: believed, it would
/// make everything after it old.
const AHEAD_NS: i64 = 86_400_000_000_000;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It fills.
    Idle,
    /// It was published before.
    Copy,
    /// It is no space packet.
    Malformed,
    /// The mission doesn't describe it; it counts, and has no parameters.
    Unknown,
    /// Its parameters were published.
    Decoded,
    /// It was too short for some of its parameters; the others were published.
    Short,
}

impl Fate {
    /// A short word for counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Copy => "copy",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Decoded => "decoded",
            Self::Short => "short",
        }
    }
}

/// When a packet came, and how.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Earth receive time.
    pub received: Tai,
    /// The station's time now: when what is decoded is published.
    pub now: Tai,
    /// Read back from the archive.
    pub replayed: bool,
}

/// Decodes the packets of one spacecraft.
pub struct Decoder {
    spacecraft: SpacecraftId,
    plans: Arc<Plans>,
    names: Arc<[(Arc<str>, Arc<str>)]>,
    seen: PacketIdentities,
    alarms: Alarms,
    newest: Option<Tai>,
}

/// Names and units of all parameters, by number, to be shared between decoders.
pub fn names(definition: &Definition) -> Arc<[(Arc<str>, Arc<str>)]> {
    let of_type = |kind: usize| definition.types.get(kind).map_or("", |kind| kind.unit.as_str());
    let row = |parameter: &codecs::mission::definition::Parameter| {
        (Arc::from(parameter.name.as_str()), Arc::from(of_type(parameter.kind)))
    };
    definition.parameters.iter().map(row).collect()
}

impl Decoder {
    /// A decoder that has seen nothing.
    pub fn new(
        spacecraft: SpacecraftId,
        definition: Arc<Definition>,
        plans: Arc<Plans>,
        names: Arc<[(Arc<str>, Arc<str>)]>,
    ) -> Self {
        let alarms = Alarms::new(definition, spacecraft);
        let seen = PacketIdentities::with_bound(IDENTITIES_MAX);
        Self { spacecraft, plans, names, seen, alarms, newest: None }
    }

    /// Takes a packet and tells what is in it.
    pub fn take(&mut self, packet: &[u8], arrival: Arrival, sink: &mut Vec<Event>) -> Fate {
        let Ok(view) = PacketView::parse(packet) else { return Fate::Malformed };
        if is_idle(packet) {
            return Fate::Idle;
        }
        let known = self.plans.identify(packet);
        let time = known.ok().and_then(|decoded| decoded.time);
        let identity = self.identity(view.apid(), view.sequence_count().0, time, packet);
        let new = self.seen.insert(identity);
        let shown = PacketIdentity { time: time.unwrap_or(arrival.received), ..identity };
        if new || time.is_some() {
            sink.push(Event::Packet(shown));
        }
        if !new {
            return Fate::Copy;
        }
        if known.is_err() {
            return Fate::Unknown;
        }
        self.newest = self.newest.max(time.filter(|time| *time <= arrival.now.plus(AHEAD_NS)));
        let Self { spacecraft, plans, names, alarms, .. } = self;
        let plans = Arc::clone(plans);
        let ahead = arrival.now.plus(AHEAD_NS);
        let decoded = plans.decode_or_at(packet, arrival.received, &mut |sample| {
            let level = match sample.time > ahead {
                true => Level::Normal,
                false => alarms.check(&sample, sink),
            };
            let Some((name, unit)) = names.get(sample.parameter.0 as usize) else { return };
            sink.push(Event::Parameter {
                spacecraft: *spacecraft,
                name: Arc::clone(name),
                unit: Arc::clone(unit),
                time: sample.time,
                value: sample.value,
                text: sample.text.map(Arc::from),
                level,
            });
        });
        if let Some(captured) = time.filter(|_| !arrival.replayed) {
            let published = arrival.now;
            sink.push(Event::Insight { spacecraft: self.spacecraft, captured, published });
        }
        match decoded {
            Ok(decoded) if decoded.missing > 0 => Fate::Short,
            _ => Fate::Decoded,
        }
    }

    /// The newest onboard time seen.
    pub fn newest(&self) -> Option<Tai> {
        self.newest
    }

    /// Application, time and count; without a time, the contents stand for it, since a count of
    /// 14 bits alone comes again within minutes.
    fn identity(
        &self,
        apid: Apid,
        sequence_count: u16,
        time: Option<Tai>,
        packet: &[u8],
    ) -> PacketIdentity {
        let time = time.unwrap_or_else(|| Tai(i64::from(crc32c(packet))));
        PacketIdentity { spacecraft: self.spacecraft, apid, time, sequence_count }
    }
}
