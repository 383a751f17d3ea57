//! Parts of units out of archived frames, into units as if the spacecraft had sent them itself.
//!
//! What is half heard is not kept over a restart and need not be: a start reads the archive, and
//! the frames in it say it again.

use super::Radio;
use crate::{
    admit::Table,
    archive::{Archived, Incoming},
};
use bytes::Bytes;
use codecs::{
    ids::{Apid, Origin, SpacecraftId},
    link::{
        object::{Annotation, Quality},
        rf::rebuild::{RebuildCounts, Rebuilder},
    },
    packet::space::PacketView,
};
use std::collections::BTreeMap;

/// A unit that came whole.
#[derive(Clone, Debug)]
pub struct Heard {
    /// As if the spacecraft had delivered it.
    pub unit: Incoming,
    /// Its last part was read back from the archive: it may long be held.
    pub replayed: bool,
}

/// What became of what one radio sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EarCounts {
    /// Of parts and units.
    pub rebuilt: RebuildCounts,
    /// Parts, and units, not admitted, by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

/// Listens to the radios of a station; holds for each what a rebuilder may.
#[derive(Debug, Default)]
pub struct Ear {
    radios: BTreeMap<SpacecraftId, One>,
}

#[derive(Debug)]
struct One {
    origin: Option<Origin>,
    rebuilder: Rebuilder,
    refused: BTreeMap<&'static str, u64>,
}

/// Applications whose packets carry parts, by spacecraft.
pub fn applications(radios: &[Radio]) -> BTreeMap<SpacecraftId, Apid> {
    radios.iter().map(|radio| (radio.spacecraft, radio.parts_apid)).collect()
}

impl Ear {
    /// Has heard nothing yet.
    pub fn new(radios: &[Radio]) -> Self {
        let one = |radio: &Radio| One {
            origin: radio.origin,
            rebuilder: Rebuilder::new(),
            refused: BTreeMap::new(),
        };
        Self { radios: radios.iter().map(|radio| (radio.spacecraft, one(radio))).collect() }
    }

    /// What became of what each radio sent.
    pub fn counts(&self) -> impl Iterator<Item = (SpacecraftId, EarCounts)> {
        self.radios.iter().map(|(spacecraft, one)| {
            let (rebuilt, refused) = (one.rebuilder.counts().clone(), one.refused.clone());
            (*spacecraft, EarCounts { rebuilt, refused })
        })
    }

    /// Takes the packets with parts that came with an archived frame; hands out what they complete.
    /// The table judges who brought the frame, and whose the unit is.
    pub fn hear(
        &mut self,
        frame: &Archived,
        packets: &[Bytes],
        table: &Table,
        sink: &mut impl FnMut(Heard),
    ) {
        let spacecraft = frame.key.prefix.spacecraft;
        let Some(one) = self.radios.get_mut(&spacecraft) else { return };
        let mut refuse = |reason, count| *one.refused.entry(reason).or_default() += count;
        let origin = match table.store_of(spacecraft, one.origin) {
            Ok(origin) => origin,
            Err(error) => return refuse(error.name(), packets.len() as u64),
        };
        if !table.may_carry(frame.key.prefix.origin, origin, spacecraft) {
            return refuse("not-carried", packets.len() as u64);
        }
        for packet in packets {
            // It came out of a frame by its length, so it reads.
            let Ok(packet) = PacketView::parse(packet) else { continue };
            let Some(rebuilt) = one.rebuilder.push(&packet) else { continue };
            if rebuilt.of.spacecraft != spacecraft {
                refuse("other-spacecraft", 1);
                continue;
            }
            let unit = Incoming {
                key: rebuilt.of.key(origin),
                codec: rebuilt.of.codec,
                received: frame.received,
                annotation: frame.annotation.map(|heard| annotation(heard).encode()),
                bytes: rebuilt.bytes,
            };
            sink(Heard { unit, replayed: frame.replayed });
        }
    }
}

/// When and where the last part was heard. Of the unit it is known that it is good: its check
/// holds, however the frame was.
fn annotation(frame: Annotation) -> Annotation {
    Annotation { quality: Quality::Good, ..frame }
}

#[cfg(test)]
mod tests;
