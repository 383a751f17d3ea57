//! One virtual channel: its count, and what is in progress at each of its access points.

use super::event::{DropReason, Event, Unit};
use super::head::{Head, Kind, Load};
use super::partial::{Assembly, Feed, Partial, Progress};
use crate::frame::tc::Segment;
use crate::frame::{FirstHeader, VirtualChannel};
use crate::packet::{Extent, Protocol, extent, is_idle};
use alloc::vec::Vec;
use bytes::Bytes;

/// A frame's place in its counter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count {
    pub(super) value: u64,
    pub(super) modulus: u64,
    /// Turns of the counter, where the frame tells them.
    pub(super) cycle: Option<u8>,
    /// A step of more than half a turn is a step backwards.
    pub(super) retreats: bool,
}

impl Count {
    /// Frames missing since the last of the channel, unless this one follows it.
    fn gap_since(self, last: Self) -> Option<u64> {
        // A counter that changed its length started anew.
        if last.modulus != self.modulus {
            return Some(0);
        }
        // Four more bits count where both frames say so (CCSDS 732.0-B-4 §4.1.2.5.5).
        let (modulus, before, now) = match (last.cycle, self.cycle) {
            (Some(before), Some(now)) => (
                self.modulus << 4,
                u64::from(before) * self.modulus + last.value,
                u64::from(now) * self.modulus + self.value,
            ),
            _ => (self.modulus, last.value, self.value),
        };
        // Every modulus is a power of two, so wrapping at 64 bits does not disturb it.
        let lost = now.wrapping_sub(before).wrapping_sub(1) % modulus;
        let backwards = self.retreats && lost >= modulus / 2;
        (lost != 0).then_some(if backwards { 0 } else { lost })
    }
}

/// The zone of one frame and what its packets and units inherit.
pub(super) struct Part<'a> {
    pub(super) frame: &'a Bytes,
    pub(super) zone: &'a [u8],
    /// Where the zone starts in the frame.
    pub(super) start: usize,
    pub(super) channel: VirtualChannel,
    pub(super) erred: bool,
}

impl Part<'_> {
    fn dropped(&self, reason: DropReason, bytes: usize) -> Event {
        Event::Dropped { channel: self.channel, reason, bytes }
    }
}

/// Packets end to end in one buffer.
struct Run<'a> {
    buffer: &'a Bytes,
    /// Where the first packet starts.
    start: usize,
    end: usize,
    /// The buffer was put together from several frames.
    spanning: bool,
    erred: bool,
}

#[derive(Debug)]
struct Lane {
    map: u8,
    progress: Progress,
}

#[derive(Debug)]
pub(super) struct Follower {
    last: Option<Count>,
    lanes: Vec<Lane>,
    pub(super) seen: u64,
}

impl Default for Follower {
    fn default() -> Self {
        // Room for the one access point of TM and AOS: nothing is allocated later but packets.
        Self { last: None, lanes: Vec::with_capacity(1), seen: 0 }
    }
}

impl Follower {
    pub(super) fn held_bytes(&self) -> usize {
        self.lanes.iter().map(|lane| lane.progress.held_bytes()).sum()
    }

    /// Packets and units in progress.
    pub(super) const fn in_progress(&self) -> usize {
        self.lanes.len()
    }

    /// Checks the count before anything else, idle frames included: a loss just before an idle
    /// frame would otherwise go unseen.
    pub(super) fn advance(&mut self, head: &Head, sink: &mut impl FnMut(Event)) {
        let Some(count) = head.count else { return };
        if let Some(lost) = self.last.replace(count).and_then(|last| count.gap_since(last)) {
            sink(Event::Gap { channel: VirtualChannel { map: 0, ..head.channel }, lost });
            // Any access point may have lost a piece.
            self.drop_all(head.channel, DropReason::Gap, sink);
        }
    }

    pub(super) fn drop_all(
        &mut self,
        channel: VirtualChannel,
        reason: DropReason,
        sink: &mut impl FnMut(Event),
    ) {
        for Lane { map, progress } in self.lanes.drain(..) {
            let channel = VirtualChannel { map, ..channel };
            sink(Event::Dropped { channel, reason, bytes: progress.len() });
        }
    }

    fn leave(&mut self, map: u8) -> Option<Progress> {
        let at = self.lanes.iter().position(|lane| lane.map == map)?;
        Some(self.lanes.swap_remove(at).progress)
    }

    fn enter(&mut self, map: u8, progress: Progress) {
        self.lanes.push(Lane { map, progress });
    }

    fn abandon(&mut self, reason: DropReason, part: &Part<'_>, sink: &mut impl FnMut(Event)) {
        if let Some(progress) = self.leave(part.channel.map) {
            sink(part.dropped(reason, progress.len()));
        }
    }

    #[inline]
    pub(super) fn take(&mut self, load: Load, part: &Part<'_>, sink: &mut impl FnMut(Event)) {
        match load {
            Load::Nothing => {}
            Load::Packets(pointer) => self.packets(pointer, part, sink),
            Load::Piece(place, kind) => self.piece(place, kind, part, sink),
            Load::Lies => sink(part.dropped(DropReason::PointerBeyondZone, part.zone.len())),
        }
    }

    fn packets(&mut self, pointer: FirstHeader, part: &Part<'_>, sink: &mut impl FnMut(Event)) {
        match pointer {
            FirstHeader::IdleData => {}
            FirstHeader::NoStart => self.resume(part.zone, false, part, sink),
            FirstHeader::At(at) => match part.zone.split_at_checked(at.into()) {
                Some((before, packets)) if !packets.is_empty() => {
                    self.resume(before, true, part, sink);
                    let run = Run {
                        buffer: part.frame,
                        start: part.start + before.len(),
                        end: part.start + part.zone.len(),
                        spanning: false,
                        erred: part.erred,
                    };
                    if let Some(partial) = walk(&run, part, sink) {
                        self.enter(part.channel.map, Progress::Packet(partial));
                    }
                }
                _ => {
                    self.abandon(DropReason::PointerBeyondZone, part, sink);
                    sink(part.dropped(DropReason::PointerBeyondZone, part.zone.len()));
                }
            },
        }
    }

    /// Goes on with the packet in progress; where `ends`, the pointer says that it ends here.
    fn resume(&mut self, bytes: &[u8], ends: bool, part: &Part<'_>, sink: &mut impl FnMut(Event)) {
        let mut partial = match self.leave(part.channel.map) {
            Some(Progress::Packet(partial)) => partial,
            Some(Progress::Unit(unit)) => {
                return sink(part.dropped(DropReason::UnfinishedUnit, unit.len()));
            }
            None => return,
        };
        partial.erred |= part.erred && !bytes.is_empty();
        let reason = match partial.feed(bytes) {
            Feed::Whole(protocol) => {
                let erred = partial.erred;
                return emit(partial.into(), protocol, true, erred, part.channel, sink);
            }
            Feed::Wants if !ends => {
                return self.enter(part.channel.map, Progress::Packet(partial));
            }
            Feed::Wants => DropReason::CutByPointer,
            Feed::Overrun => DropReason::OverrunByPointer,
            Feed::Refused(reason) => reason,
        };
        sink(part.dropped(reason, partial.len()));
    }

    /// Takes a piece of a unit, or whole ones.
    fn piece(&mut self, place: Segment, kind: Kind, part: &Part<'_>, sink: &mut impl FnMut(Event)) {
        let map = part.channel.map;
        match place {
            Segment::Unsegmented => {
                // Commands to the link stand beside the channel's data and end nothing.
                if !matches!(kind, Kind::Unit { unit: Unit::Control, .. }) {
                    self.abandon(DropReason::UnfinishedUnit, part, sink);
                }
                let end = part.start + part.zone.len();
                let run = Run {
                    buffer: part.frame,
                    start: part.start,
                    end,
                    spanning: false,
                    erred: part.erred,
                };
                whole(&run, kind, part, sink);
            }
            Segment::First => {
                self.abandon(DropReason::UnfinishedUnit, part, sink);
                self.enter(map, Progress::Unit(Assembly::start(part.zone, kind, part.erred)));
            }
            Segment::Continuation | Segment::Last => match self.leave(map) {
                Some(Progress::Unit(unit)) if unit.kind == kind => {
                    self.continue_unit(unit, place, part, sink);
                }
                other => {
                    if let Some(other) = other {
                        sink(part.dropped(DropReason::UnfinishedUnit, other.len()));
                    }
                    sink(part.dropped(DropReason::OrphanSegment, part.zone.len()));
                }
            },
        }
    }

    fn continue_unit(
        &mut self,
        mut unit: Assembly,
        place: Segment,
        part: &Part<'_>,
        sink: &mut impl FnMut(Event),
    ) {
        if !unit.feed(part.zone, part.erred) {
            let bytes = unit.len() + part.zone.len();
            return sink(part.dropped(DropReason::UnitLength, bytes));
        }
        if place != Segment::Last {
            return self.enter(part.channel.map, Progress::Unit(unit));
        }
        let (kind, erred) = (unit.kind, unit.erred);
        let buffer = Bytes::from(unit);
        let run = Run { buffer: &buffer, start: 0, end: buffer.len(), spanning: true, erred };
        whole(&run, kind, part, sink);
    }
}

/// Hands out what a frame or the segments of several hold whole.
fn whole(run: &Run<'_>, kind: Kind, part: &Part<'_>, sink: &mut impl FnMut(Event)) {
    let channel = part.channel;
    match kind {
        Kind::Packets => {
            if let Some(partial) = walk(run, part, sink) {
                sink(part.dropped(DropReason::PacketPastUnit, partial.len()));
            }
        }
        Kind::Unit { unit, upid } => {
            let Run { spanning, erred, .. } = *run;
            let bytes = run.buffer.slice(run.start..run.end);
            sink(Event::Unit { channel, unit, upid, bytes, spanning, erred });
        }
    }
}

/// Reads packet after packet to the end; the last may be cut.
fn walk(run: &Run<'_>, part: &Part<'_>, sink: &mut impl FnMut(Event)) -> Option<Partial> {
    let mut offset = run.start;
    let mut rest = run.buffer.get(run.start..run.end).unwrap_or(&[]);
    while !rest.is_empty() {
        let reason = match extent(rest) {
            Extent::Known { protocol, length } => match rest.split_at_checked(length) {
                Some((_, after)) => {
                    let bytes = run.buffer.slice(offset..offset + length);
                    emit(bytes, protocol, run.spanning, run.erred, part.channel, sink);
                    (rest, offset) = (after, offset + length);
                    continue;
                }
                None => return Some(Partial::start(rest, Some((protocol, length)), run.erred)),
            },
            Extent::Short { .. } => return Some(Partial::start(rest, None, run.erred)),
            Extent::Version(version) => DropReason::PacketVersion(version),
            Extent::Length => DropReason::PacketLength,
        };
        sink(part.dropped(reason, rest.len()));
        return None;
    }
    None
}

#[inline]
fn emit(
    bytes: Bytes,
    protocol: Protocol,
    spanning: bool,
    erred: bool,
    channel: VirtualChannel,
    sink: &mut impl FnMut(Event),
) {
    if is_idle(&bytes) {
        sink(Event::Idle { channel, protocol, length: bytes.len(), spanning });
    } else {
        sink(Event::Packet { channel, protocol, bytes, spanning, erred });
    }
}
