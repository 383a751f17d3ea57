//! From archived units to what a door hands out: frames in order, packets once.

use super::{
    order::Order,
    spec::{Goods, PATIENCE_MS_DEFAULT, Selection},
};
use crate::{
    archive::{Archived, record::Position},
    deframe::Deframer,
    header::{Formats, Head},
    merge::{Merge, Place, Rank, Standing, View},
    publish::{PacketIdentities, PacketIdentity},
    unsqueeze,
};
use bytes::Bytes;
use codecs::{
    fec::crc::crc32c,
    ids::{Apid, Channel, Codec, SpacecraftId},
    link::object::TimeSource,
    mission::Definition,
    packet::{is_idle, space::PacketView},
    time::Tai,
};
use std::collections::BTreeMap;

/// Packet identities remembered a door, so that a late frame's neighbours and a recorded copy go
/// out once: half an hour at thirty packets a second. At the bound the oldest is forgotten.
pub const IDENTITIES_MAX: usize = 1 << 16;
/// Stands for the application of packets that have none.
const NO_APID: Apid = Apid(u16::MAX);

/// One frame or packet on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// The frame or packet.
    pub bytes: Bytes,
    /// The unit that completed it.
    pub position: Position,
    /// Earth receive time of that unit.
    pub received: Tai,
    /// What that rests on.
    pub source: TimeSource,
    /// Whose it is.
    pub spacecraft: SpacecraftId,
    /// What it is.
    pub about: About,
}

/// What a parcel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// A frame.
    Frame {
        /// Virtual channel.
        vc: u8,
        /// Virtual channel frame count.
        count: u64,
        /// Its check failed, here or at the antenna.
        erred: bool,
    },
    /// Something heard whose header can't be believed: each reception, as it came.
    Nameless {
        /// Its number in the store that heard it.
        count: u64,
    },
    /// A packet.
    Packet {
        /// Application; none for an encapsulation packet.
        apid: Option<Apid>,
        /// Sequence count of its header.
        count: u16,
    },
}

/// A frame that waits for the ones before it.
#[derive(Debug)]
struct Waiting {
    spacecraft: SpacecraftId,
    place: Place,
    codec: Codec,
    head: Head,
    erred: bool,
    bytes: Bytes,
    position: Position,
    received: Tai,
    source: TimeSource,
}

/// A unit from which something comes: whose, where it stands, when it was heard.
type Whence = (SpacecraftId, Position, Tai, TimeSource);

/// Units without an annotation came over a connection, and have the station's own time.
fn source_of(unit: &Archived) -> TimeSource {
    unit.annotation.map_or(TimeSource::Measured, |annotation| annotation.source)
}

/// Chooses, orders and takes apart for one door.
pub struct Selector {
    selection: Selection,
    formats: Formats,
    deframer: Deframer,
    merge: Merge,
    order: Order<View, Waiting>,
    seen: PacketIdentities,
    left_out: BTreeMap<&'static str, u64>,
}

/// Whether what is erred beyond recognition goes out too.
fn takes_nameless(selection: &Selection) -> bool {
    let frames = selection.goods == Goods::Frames && selection.virtual_channels.is_empty();
    frames && selection.erred
}

impl Selector {
    /// Knows frames by what the mission says of them.
    pub fn new(selection: Selection, definition: &Definition, patience_ns: u64) -> Self {
        Self {
            selection,
            formats: Formats::new(definition),
            deframer: Deframer::new(definition),
            merge: Merge::new(definition.merge_window_ns),
            order: Order::new(patience_ns),
            seen: PacketIdentities::with_bound(IDENTITIES_MAX),
            left_out: BTreeMap::new(),
        }
    }

    /// Of an archive that is read in the order in which it was heard, with times of reception for
    /// `now_ns`: a frame waits as long as the clocks of two antennas may differ.
    pub fn of_reading(selection: Selection, definition: &Definition) -> Self {
        let window_ns = definition.merge_window_ns.max(0) as u64;
        Self::new(selection, definition, window_ns.max(PATIENCE_MS_DEFAULT * 1_000_000))
    }

    /// Whether a unit may hold something that goes out: what is counted when it is dropped.
    pub fn concerns(selection: &Selection, unit: &Archived) -> bool {
        let prefix = &unit.key.prefix;
        let packets = selection.goods == Goods::Packets && selection.virtual_channels.is_empty();
        let kind = match unit.codec {
            Codec::TmFrame | Codec::AosFrame | Codec::UslpFrame => true,
            Codec::SpacePacket | Codec::Squeezed | Codec::Ax25Frame => packets,
            Codec::Product | Codec::Void | Codec::Record => false,
        };
        let heard = unit.annotation.map(|annotation| annotation.antenna);
        kind && (prefix.channel != Channel::UNIDENTIFIED || takes_nameless(selection))
            && wanted(&selection.spacecraft, &prefix.spacecraft)
            && (selection.antenna.is_none() || selection.antenna == heard)
    }

    /// Takes a unit; `now_ns` is any monotonic time, for what is waited for.
    pub fn take(&mut self, unit: &Archived, now_ns: u64, sink: &mut impl FnMut(Parcel)) {
        let nameless = unit.key.prefix.channel == Channel::UNIDENTIFIED;
        if !Self::concerns(&self.selection, unit) {
            let wanted = wanted(&self.selection.spacecraft, &unit.key.prefix.spacecraft);
            if nameless && wanted && self.selection.goods == Goods::Frames {
                self.leave_out("unidentified");
            }
            return;
        }
        match unit.codec {
            _ if nameless => sink(Parcel {
                bytes: unit.bytes.clone(),
                position: unit.position,
                received: unit.received,
                source: source_of(unit),
                spacecraft: unit.key.prefix.spacecraft,
                about: About::Nameless { count: unit.key.sequence },
            }),
            Codec::TmFrame | Codec::AosFrame | Codec::UslpFrame => self.frame(unit, now_ns, sink),
            _ => match unsqueeze::packets(unit.codec, &unit.bytes) {
                Ok(packets) => {
                    let spacecraft = unit.key.prefix.spacecraft;
                    let from = (spacecraft, unit.position, unit.received, source_of(unit));
                    packets.into_iter().for_each(|packet| self.packet(packet, from, sink));
                }
                Err(_) => self.leave_out("squeezed"),
            },
        }
    }

    /// Lets go of what has waited long enough.
    pub fn poll(&mut self, now_ns: u64, sink: &mut impl FnMut(Parcel)) {
        let mut ready = Vec::new();
        self.order.poll(now_ns, &mut |_, frame| ready.push(frame));
        ready.into_iter().for_each(|frame| self.release(frame, sink));
    }

    /// Lets go of everything: nothing more comes.
    pub fn flush(&mut self, sink: &mut impl FnMut(Parcel)) {
        let mut ready = Vec::new();
        self.order.flush(&mut |_, frame| ready.push(frame));
        ready.into_iter().for_each(|frame| self.release(frame, sink));
    }

    /// Lets go of frames of units that are `done`, whatever they wait for.
    pub fn let_go(&mut self, done: impl Fn(Position) -> bool, sink: &mut impl FnMut(Parcel)) {
        let mut ready = Vec::new();
        let done = |frame: &Waiting| done(frame.position);
        self.order.let_go(done, &mut |_, frame| ready.push(frame));
        ready.into_iter().for_each(|frame| self.release(frame, sink));
    }

    /// Units of which something waits.
    pub fn held(&self) -> impl Iterator<Item = Position> {
        self.order.held().map(|frame| frame.position)
    }

    /// Frames and packets that were chosen and could not go out, by why.
    pub const fn left_out(&self) -> &BTreeMap<&'static str, u64> {
        &self.left_out
    }

    /// The same, counted anew from here.
    pub fn take_left_out(&mut self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut self.left_out)
    }

    fn leave_out(&mut self, why: &'static str) {
        *self.left_out.entry(why).or_default() += 1;
    }

    fn frame(&mut self, unit: &Archived, now_ns: u64, sink: &mut impl FnMut(Parcel)) {
        let spacecraft = unit.key.prefix.spacecraft;
        let head = match self.formats.read(spacecraft, unit.codec, &unit.bytes) {
            Ok(head) => head,
            Err(flag) => return self.leave_out(flag.name()),
        };
        let place = match self.selection.antenna {
            None => self.merge.place(unit, &head),
            // One antenna's receptions are in the order of its own numbers.
            Some(_) => Place {
                view: View::Store(unit.key.prefix),
                number: unit.key.sequence,
                standing: Standing::First,
                awaited: None,
            },
        };
        if matches!(place.standing, Standing::Copy | Standing::Stray) {
            return;
        }
        let bytes = match self.order.is_next(place.view, place.number) {
            true => unit.bytes.clone(),
            // A slice that waits would keep the whole batch it came in.
            false => Bytes::copy_from_slice(&unit.bytes),
        };
        let frame = Waiting {
            spacecraft,
            place,
            codec: unit.codec,
            head,
            erred: Rank::of(unit.annotation, &head) == Rank::Erred,
            bytes,
            position: unit.position,
            received: unit.received,
            source: source_of(unit),
        };
        if matches!(place.standing, Standing::Better { .. }) {
            // Still in time, or late: then it goes out if the worse one did not.
            match self.order.waiting(place.view, place.number) {
                Some(waiting) => {
                    let position = waiting.position.min(frame.position);
                    *waiting = Waiting { place: waiting.place, position, ..frame };
                }
                None => self.release(frame, sink),
            }
            return;
        }
        let (view, number) = (place.view, place.number);
        let mut ready = Vec::new();
        let size = frame.bytes.len();
        self.order.push(view, number, (frame, size), now_ns, &mut |_, frame| ready.push(frame));
        ready.into_iter().for_each(|frame| self.release(frame, sink));
    }

    /// A frame whose turn it is.
    fn release(&mut self, frame: Waiting, sink: &mut impl FnMut(Parcel)) {
        let Waiting { spacecraft, place, codec, head, erred, bytes, position, received, source } =
            frame;
        if !wanted(&self.selection.virtual_channels, &head.vc) {
            return;
        }
        if self.selection.goods == Goods::Frames {
            // The worse reception went out already, unless it was erred and unwanted.
            if let Standing::Better { than } = place.standing
                && (self.selection.erred || than != Rank::Erred)
            {
                return;
            }
            if erred && !self.selection.erred {
                return self.leave_out("erred");
            }
            let about = About::Frame { vc: head.vc, count: head.count, erred };
            return sink(Parcel { bytes, position, received, source, spacecraft, about });
        }
        let deframed = self.deframer.take(spacecraft, &place, codec, &bytes);
        for (packet, wrong) in deframed.packets {
            match (wrong || erred) && !self.selection.erred {
                true => self.leave_out("erred"),
                false => self.packet(packet, (spacecraft, position, received, source), sink),
            }
        }
    }

    fn packet(
        &mut self,
        packet: Bytes,
        (spacecraft, position, received, source): Whence,
        sink: &mut impl FnMut(Parcel),
    ) {
        if is_idle(&packet) {
            return;
        }
        let view = PacketView::parse(&packet).ok();
        let apid = view.as_ref().map(PacketView::apid);
        let count = view.as_ref().map_or(0, |view| view.sequence_count().0);
        if !self.selection.apids.is_empty()
            && !apid.is_some_and(|apid| self.selection.apids.contains(&apid))
        {
            return;
        }
        let identity = PacketIdentity {
            spacecraft,
            apid: apid.unwrap_or(NO_APID),
            // Of 14 bits of count alone the same comes again within minutes.
            time: Tai(i64::from(crc32c(&packet))),
            sequence_count: count,
        };
        if !self.seen.insert(identity) {
            return;
        }
        let about = About::Packet { apid, count };
        sink(Parcel { bytes: packet, position, received, source, spacecraft, about });
    }
}

fn wanted<T: PartialEq>(list: &[T], one: &T) -> bool {
    list.is_empty() || list.contains(one)
}

#[cfg(test)]
mod tests;
