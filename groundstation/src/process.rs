//! What becomes of archived units: unsqueezed, deframed, decoded, judged, told, dispatched.
//!
//! Everything here comes after the archive: an error costs insight, never data, and a restart
//! runs the archive through it again. The machine has no clock and does no IO; the shell feeds
//! it units and carries what it gives to the feed and to the dispatcher.

use crate::archive::Archived;
use crate::decode::{self, Arrival, Decoder, Fate};
use crate::deframe::Deframer;
use crate::header::Formats;
use crate::merge::{Merge, Standing};
use crate::pool::Input;
use crate::publish::{Event, Limits, Mission, ParameterInfo, Quality};
use crate::records::Records;
use crate::{product, unsqueeze};
use bytes::Bytes;
use codecs::ids::{Apid, Channel, Codec, SpacecraftId};
use codecs::link::object::Quality as Heard;
use codecs::link::void::Void;
use codecs::mission::definition::Trigger;
use codecs::mission::{Definition, Plans};
use codecs::packet::space::PacketView;
use codecs::product::{Product, ProductKind};
use codecs::time::Tai;
use std::collections::BTreeMap;
use std::sync::Arc;

mod work;

use work::Wanted;
pub use work::{Work, input};

/// What a unit led to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// To be published, in order.
    pub events: Vec<Event>,
    /// To be dispatched.
    pub work: Vec<Work>,
    /// Packets that carry parts of units: of a radio, and not interpreted here.
    pub parts: Vec<Bytes>,
}

/// Counted outcomes of units, frames and packets that led to less than all they could.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Units that could not be read, by why.
    pub units_unread: BTreeMap<&'static str, u64>,
    /// Frames left out, by why.
    pub frames_flagged: BTreeMap<&'static str, u64>,
    /// Packets by fate.
    pub packets: BTreeMap<&'static str, u64>,
}

/// The machine.
pub struct Process {
    definition: Arc<Definition>,
    plans: Arc<Plans>,
    names: Arc<[(Arc<str>, Arc<str>)]>,
    formats: Formats,
    merge: Merge,
    deframer: Deframer,
    decoders: BTreeMap<SpacecraftId, Decoder>,
    records: Records,
    radios: BTreeMap<SpacecraftId, Apid>,
    counts: Counts,
    wanted: Wanted,
}

impl Process {
    /// Knows what the mission says; has seen nothing.
    pub fn new(definition: Arc<Definition>) -> Self {
        Self {
            plans: Arc::new(definition.plans()),
            names: decode::names(&definition),
            formats: Formats::new(&definition),
            merge: Merge::new(definition.merge_window_ns),
            deframer: Deframer::new(&definition),
            decoders: BTreeMap::new(),
            records: Records::default(),
            radios: BTreeMap::new(),
            counts: Counts::default(),
            wanted: Wanted::new(Arc::clone(&definition)),
            definition,
        }
    }

    /// Keeps at most so many bytes of frames to put late ones between their neighbours.
    pub fn keeping_frames(mut self, bytes: usize) -> Self {
        self.deframer = self.deframer.keeping(bytes);
        self
    }

    /// Takes packets of these applications for parts of units.
    pub fn hearing(mut self, radios: BTreeMap<SpacecraftId, Apid>) -> Self {
        self.radios = radios;
        self
    }

    /// What the page must know before anything else: one event a spacecraft.
    pub fn mission_events(&self) -> Vec<Event> {
        let info = |id: usize| {
            let parameter = self.definition.parameters.get(id)?;
            let (name, unit) = self.names.get(id)?;
            let limits = parameter.limits.map(|limits| Limits {
                red_low: limits.red_low,
                yellow_low: limits.yellow_low,
                yellow_high: limits.yellow_high,
                red_high: limits.red_high,
            });
            Some(ParameterInfo { name: Arc::clone(name), unit: Arc::clone(unit), limits })
        };
        let parameters: Vec<ParameterInfo> =
            (0..self.definition.parameters.len()).filter_map(info).collect();
        let told = |craft: &codecs::mission::definition::Spacecraft| {
            Event::Mission(Mission {
                spacecraft: craft.id,
                name: craft.name.clone(),
                channels: self.definition.channels_of(craft),
                parameters: parameters.clone(),
            })
        };
        self.definition.spacecraft.iter().map(told).collect()
    }

    /// What was left out so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Takes a unit; `now` is the station's time.
    pub fn take(&mut self, unit: &Archived, now: Tai) -> Outcome {
        let mut outcome = Outcome::default();
        outcome.events.push(Event::Unit {
            key: unit.key,
            codec: unit.codec,
            bytes: unit.bytes.len() as u64,
            received: unit.received,
            replayed: unit.replayed,
        });
        let arrival = Arrival { received: unit.received, now, replayed: unit.replayed };
        // Erred frames without a trustworthy header are kept, and interpreted under no name.
        if unit.key.prefix.channel == Channel::UNIDENTIFIED {
            self.unread("unidentified");
            return outcome;
        }
        match unit.codec {
            Codec::TmFrame | Codec::AosFrame | Codec::UslpFrame => {
                self.frame(unit, arrival, &mut outcome);
            }
            Codec::SpacePacket | Codec::Squeezed | Codec::Ax25Frame => {
                self.packets(unit, arrival, &mut outcome)
            }
            Codec::Product => self.product(unit, arrival, &mut outcome),
            Codec::Record => self.record(unit, &mut outcome),
            Codec::Void => self.void(unit, &mut outcome),
        }
        let spacecraft = unit.key.prefix.spacecraft;
        if let Some(newest) = self.decoders.get(&spacecraft).and_then(Decoder::newest) {
            self.records.settle(spacecraft, newest, &mut outcome.events);
        }
        self.wanted.look(&outcome.events, &mut outcome.work);
        outcome
    }

    fn flag(&mut self, why: &'static str) {
        *self.counts.frames_flagged.entry(why).or_default() += 1;
    }

    fn unread(&mut self, why: &'static str) {
        *self.counts.units_unread.entry(why).or_default() += 1;
    }

    fn frame(&mut self, unit: &Archived, arrival: Arrival, outcome: &mut Outcome) {
        let spacecraft = unit.key.prefix.spacecraft;
        let head = match self.formats.read(spacecraft, unit.codec, &unit.bytes) {
            Ok(head) => head,
            Err(flag) => return self.flag(flag.name()),
        };
        let place = self.merge.place(unit, &head);
        match place.standing {
            Standing::First | Standing::Better { .. } => {}
            Standing::Copy => return self.flag("copy"),
            Standing::Stray => return self.flag("stray"),
        }
        let deframed = self.deframer.take(spacecraft, &place, unit.codec, &unit.bytes);
        if let Some(flag) = deframed.flag {
            return self.flag(flag.name());
        }
        let heard = unit.annotation.map(|annotation| annotation.quality);
        let quality = match heard {
            _ if deframed.erred => Quality::Erred,
            Some(Heard::Erred) => Quality::Erred,
            Some(Heard::Corrected) => Quality::Corrected,
            Some(Heard::Good | Heard::Undetermined) | None => Quality::Good,
        };
        if let Some(vc) = deframed.vc {
            let (gap, found, at) = (deframed.gap, deframed.found, unit.received);
            outcome.events.push(Event::Frame { spacecraft, vc, quality, gap, found, at });
        }
        let annotated_erred = heard == Some(Heard::Erred);
        let parts_apid = self.radios.get(&spacecraft).copied();
        let is_part = |packet: &[u8]| {
            let read = PacketView::parse(packet).ok();
            read.is_some_and(|packet| Some(packet.header().apid) == parts_apid)
        };
        for (packet, erred) in deframed.packets {
            // From an erred frame as well: each has a check of its own.
            if is_part(&packet) {
                outcome.parts.push(packet);
                continue;
            }
            // A wrong bit would be a wrong value, or an alarm: such packets only count.
            if erred || annotated_erred {
                *self.counts.packets.entry("erred").or_default() += 1;
            } else {
                self.packet(spacecraft, &packet, arrival, outcome);
            }
        }
    }

    fn packets(&mut self, unit: &Archived, arrival: Arrival, outcome: &mut Outcome) {
        match unsqueeze::packets(unit.codec, &unit.bytes) {
            Ok(packets) => {
                for packet in packets {
                    self.packet(unit.key.prefix.spacecraft, &packet, arrival, outcome);
                }
            }
            Err(_) => self.unread("squeezed"),
        }
    }

    fn packet(
        &mut self,
        spacecraft: SpacecraftId,
        packet: &[u8],
        arrival: Arrival,
        outcome: &mut Outcome,
    ) {
        // A spacecraft that the mission doesn't know is archived, and shown under no name.
        if !self.definition.spacecraft.iter().any(|craft| craft.id == spacecraft) {
            return self.unread("spacecraft");
        }
        let decoder = self.decoders.entry(spacecraft).or_insert_with(|| {
            let (plans, names) = (Arc::clone(&self.plans), Arc::clone(&self.names));
            Decoder::new(spacecraft, Arc::clone(&self.definition), plans, names)
        });
        let fate = decoder.take(packet, arrival, &mut outcome.events);
        if fate != Fate::Decoded {
            *self.counts.packets.entry(fate.name()).or_default() += 1;
        }
    }

    fn product(&mut self, unit: &Archived, arrival: Arrival, outcome: &mut Outcome) {
        let Ok(product) = Product::decode(&unit.bytes) else { return self.unread("product") };
        let spacecraft = unit.key.prefix.spacecraft;
        // One kind of imager today; the format has no kind of its own beyond whole and summary.
        let kind = self.definition.products.first().map_or("tile", |known| known.kind.as_str());
        outcome.events.push(product::event(spacecraft, kind, &product, unit.bytes.len()));
        if !arrival.replayed {
            let (captured, published) = (product.captured, arrival.now);
            outcome.events.push(Event::Insight { spacecraft, captured, published });
        }
        if product.kind == ProductKind::Summary {
            return;
        }
        let wanted = Trigger::Product(kind.to_owned());
        for rule in self.definition.rules.iter().filter(|rule| rule.trigger == wanted) {
            let Some(tensor) = product::tensor(&product) else { continue };
            let about = product::identity(spacecraft, &product);
            let mut work = Work::of(rule, about, Input::Tensors(vec![tensor]));
            work.unit = Some(unit.position);
            outcome.work.push(work);
        }
    }

    fn record(&mut self, unit: &Archived, outcome: &mut Outcome) {
        let read = self.records.take(&unit.key, unit.received, &unit.bytes, &mut outcome.events);
        if read.is_err() {
            self.unread("record");
        }
    }

    fn void(&mut self, unit: &Archived, outcome: &mut Outcome) {
        let Ok(void) = Void::decode(&unit.bytes) else { return self.unread("void") };
        for entry in &void.entries {
            let prefix = codecs::ids::KeyPrefix {
                epoch: entry.epoch,
                spacecraft: entry.spacecraft,
                channel: entry.channel,
                ..unit.key.prefix
            };
            let reason = format!("{:?}", void.reason).to_lowercase();
            outcome.events.push(Event::Voided { prefix, range: entry.range, reason });
        }
    }
}

#[cfg(test)]
mod tests;
