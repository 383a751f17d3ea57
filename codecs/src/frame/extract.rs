//! Frames to packets: slices of the frame, and one copy for a packet that spans frames.
//!
//! The first header pointer of every frame resynchronises: where it and a packet's own length
//! disagree, the pointer is right (CCSDS 132.0-B-3 §4.3.2.4). A corrupt length, a lost frame or
//! a cut idle packet therefore costs the packet in progress and nothing after it.

mod partial;

use self::partial::{Feed, Partial};
use super::aos::{self, AosConfig, AosFrame};
use super::tm::{self, TmConfig, TmFrame};
use super::{FirstHeader, Format, FrameError, Kind, VirtualChannel};
use crate::packet::{Extent, Protocol, extent, is_idle};
use alloc::collections::BTreeMap;
use bytes::Bytes;
use core::ops::Range;

/// Virtual channels followed at a time: one spacecraft has at most 64. At the bound the channel
/// that was silent for longest is forgotten, so that garbage headers can't grow the state past
/// 64 packets in progress (4.2 MB).
pub const MAX_CHANNELS: usize = 64;

/// The frames of a physical channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameConfig {
    /// TM transfer frames.
    Tm(TmConfig),
    /// AOS transfer frames.
    Aos(AosConfig),
}

impl FrameConfig {
    /// Plain frames of a format, with or without a CRC-16 at the end.
    pub const fn new(format: Format, fecf: bool) -> Self {
        match format.kind {
            Kind::Tm => Self::Tm(TmConfig::new(format.length).with_fecf(fecf)),
            Kind::Aos => Self::Aos(AosConfig::new(format.length).with_fecf(fecf)),
        }
    }

    /// Length of every frame.
    pub const fn length(&self) -> usize {
        match self {
            Self::Tm(config) => config.length,
            Self::Aos(config) => config.length,
        }
    }
}

/// What to do with a frame whose CRC fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Erred {
    /// Go on, and mark every packet that holds bytes of it: most of a frame with one wrong bit is
    /// right, and its counts and pointer check themselves against its neighbours.
    #[default]
    Use,
    /// Leave it out; the next frame of its channel then shows a gap.
    Reject,
}

/// Why a whole frame was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// It is no frame of the configured kind.
    Malformed(FrameError),
    /// Its CRC fails, and erred frames are not wanted.
    Fecf,
    /// It is of another spacecraft than the one configured.
    Spacecraft(u16),
}

/// Why bytes of a channel were left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// The packet in progress lost its rest in a gap of the frame count.
    Gap,
    /// The first header pointer cut the packet in progress short.
    CutByPointer,
    /// The packet in progress would have ended before the place where the pointer says it ends.
    OverrunByPointer,
    /// The pointer lies beyond the packet zone; the frame's zone is left out with it.
    PointerBeyondZone,
    /// A packet of this version can't be measured; the rest of the zone is left out.
    PacketVersion(u8),
    /// A packet's length field contradicts itself or passes the bound; the rest is left out.
    PacketLength,
    /// Its channel was forgotten for others ([`MAX_CHANNELS`]).
    Forgotten,
}

impl DropReason {
    /// A name for counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::CutByPointer => "cut_by_pointer",
            Self::OverrunByPointer => "overrun_by_pointer",
            Self::PointerBeyondZone => "pointer_beyond_zone",
            Self::PacketVersion(_) => "packet_version",
            Self::PacketLength => "packet_length",
            Self::Forgotten => "forgotten",
        }
    }
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Packets, as the first header pointer says.
    Packets(FirstHeader),
    /// Idle data: AOS virtual channel 63, whose count and pointer mean nothing.
    IdleChannel,
    /// Something else than packets (TM with the synchronisation flag set).
    Opaque,
}

/// What comes out of frames, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A frame was accepted; what it leads to follows.
    Frame {
        /// Its counter.
        channel: VirtualChannel,
        /// Its virtual channel frame count.
        count: u32,
        /// What it carries.
        content: Content,
        /// Its CRC failed.
        erred: bool,
    },
    /// A frame was left out as a whole.
    Rejected(Rejection),
    /// The frame count did not follow its predecessor's.
    Gap {
        /// Whose counter.
        channel: VirtualChannel,
        /// Frames missing, modulo the counter; 0 where it stood still or ran backwards.
        lost: u32,
    },
    /// A packet.
    Packet {
        /// The channel that carried it.
        channel: VirtualChannel,
        /// Space packet or encapsulation packet.
        protocol: Protocol,
        /// The whole packet: a slice that keeps its frame's buffer alive, or, where the packet
        /// spans frames, a buffer of its own.
        bytes: Bytes,
        /// It began in an earlier frame.
        spanning: bool,
        /// Bytes of it came from a frame whose CRC failed.
        erred: bool,
    },
    /// A packet that only fills.
    Idle {
        /// The channel that carried it.
        channel: VirtualChannel,
        /// Space packet or encapsulation packet.
        protocol: Protocol,
        /// Its length, header included.
        length: usize,
        /// It began in an earlier frame.
        spanning: bool,
    },
    /// Bytes were left out.
    Dropped {
        /// The channel that carried them.
        channel: VirtualChannel,
        /// Why.
        reason: DropReason,
        /// How many bytes were at hand.
        bytes: usize,
    },
}

/// Takes the packets out of the frames of one physical channel.
#[derive(Debug)]
pub struct Extractor {
    config: FrameConfig,
    erred: Erred,
    spacecraft: Option<u16>,
    channels: BTreeMap<VirtualChannel, Follower>,
    frames: u64,
}

impl Extractor {
    /// Reads frames of a kind, of any spacecraft, erred ones included.
    pub const fn new(config: FrameConfig) -> Self {
        Self { config, erred: Erred::Use, spacecraft: None, channels: BTreeMap::new(), frames: 0 }
    }

    /// Chooses what happens to frames whose CRC fails.
    pub const fn with_erred(mut self, erred: Erred) -> Self {
        self.erred = erred;
        self
    }

    /// Accepts frames of one spacecraft identifier only.
    pub const fn with_spacecraft(mut self, scid: u16) -> Self {
        self.spacecraft = Some(scid);
        self
    }

    /// The frames it reads.
    pub const fn config(&self) -> &FrameConfig {
        &self.config
    }

    /// Bytes of packets in progress.
    pub fn held_bytes(&self) -> usize {
        self.channels.values().map(Follower::held_bytes).sum()
    }

    /// Reads one frame and hands out everything that it completes.
    pub fn push(&mut self, frame: &Bytes, sink: &mut impl FnMut(Event)) {
        let head = match Head::read(frame, &self.config) {
            Ok(head) => head,
            Err(error) => return sink(Event::Rejected(Rejection::Malformed(error))),
        };
        if head.erred && self.erred == Erred::Reject {
            return sink(Event::Rejected(Rejection::Fecf));
        }
        let Head { channel, count, content, erred, .. } = head;
        if self.spacecraft.is_some_and(|expected| expected != channel.scid) {
            return sink(Event::Rejected(Rejection::Spacecraft(channel.scid)));
        }
        sink(Event::Frame { channel, count, content, erred });
        let Content::Packets(pointer) = content else {
            // An opaque frame still counts: what was in progress before it goes on behind it.
            if content == Content::Opaque {
                self.follow(channel, sink).advance(&head, sink);
            }
            return;
        };
        let follower = self.follow(channel, sink);
        follower.advance(&head, sink);
        let Some(zone) = frame.get(head.zone.clone()) else { return };
        let part = Part { frame, zone, start: head.zone.start, channel, erred };
        follower.take(pointer, &part, sink);
    }

    /// The state of a channel; forgets the most silent one where there are too many.
    fn follow(&mut self, channel: VirtualChannel, sink: &mut impl FnMut(Event)) -> &mut Follower {
        self.frames += 1;
        if self.channels.len() >= MAX_CHANNELS && !self.channels.contains_key(&channel) {
            let silent = self.channels.iter().min_by_key(|(_, follower)| follower.seen);
            if let Some(silent) = silent.map(|(channel, _)| *channel)
                && let Some(mut follower) = self.channels.remove(&silent)
            {
                follower.drop_partial(silent, DropReason::Forgotten, sink);
            }
        }
        let follower = self.channels.entry(channel).or_default();
        follower.seen = self.frames;
        follower
    }
}

/// What both kinds of frame say about themselves.
struct Head {
    channel: VirtualChannel,
    count: u32,
    cycle: Option<u8>,
    modulus: u32,
    content: Content,
    zone: Range<usize>,
    erred: bool,
}

impl Head {
    fn read(frame: &[u8], config: &FrameConfig) -> Result<Self, FrameError> {
        match config {
            FrameConfig::Aos(config) => {
                let view = AosFrame::parse(frame, config)?;
                let content = match view.is_idle() {
                    true => Content::IdleChannel,
                    false => Content::Packets(view.first_header()),
                };
                Ok(Self {
                    channel: view.channel(),
                    count: view.header().count,
                    cycle: view.header().cycle,
                    modulus: aos::COUNT_MODULUS,
                    content,
                    zone: view.packet_zone(),
                    erred: !view.fecf_holds(),
                })
            }
            FrameConfig::Tm(config) => {
                let view = TmFrame::parse(frame, config)?;
                let content = match view.header().opaque {
                    true => Content::Opaque,
                    false => Content::Packets(view.header().pointer),
                };
                Ok(Self {
                    channel: view.channel(),
                    count: view.header().count.into(),
                    cycle: None,
                    modulus: tm::COUNT_MODULUS,
                    content,
                    zone: view.packet_zone(),
                    erred: !view.fecf_holds(),
                })
            }
        }
    }

    /// Frames missing since the last of the channel, unless this one follows it.
    fn gap_since(&self, last: Count) -> Option<u32> {
        // Four more bits count where both frames say so (CCSDS 732.0-B-4 §4.1.2.5.5).
        let (modulus, last, count) = match (last.cycle, self.cycle) {
            (Some(before), Some(now)) => (
                self.modulus << 4,
                u32::from(before) * self.modulus + last.count,
                u32::from(now) * self.modulus + self.count,
            ),
            _ => (self.modulus, last.count, self.count),
        };
        let lost = count.wrapping_sub(last).wrapping_sub(1) % modulus;
        // Half a turn of 16 million frames is a counter that went backwards; of 256 it is not.
        let backwards = modulus >= aos::COUNT_MODULUS && lost >= modulus / 2;
        (lost != 0).then_some(if backwards { 0 } else { lost })
    }
}

#[derive(Clone, Copy, Debug)]
struct Count {
    count: u32,
    cycle: Option<u8>,
}

/// The packet zone of one frame and what its packets inherit.
struct Part<'a> {
    frame: &'a Bytes,
    zone: &'a [u8],
    /// Where the zone starts in the frame.
    start: usize,
    channel: VirtualChannel,
    erred: bool,
}

/// One virtual channel: its count and its packet in progress.
#[derive(Debug, Default)]
struct Follower {
    last: Option<Count>,
    partial: Option<Partial>,
    seen: u64,
}

impl Follower {
    fn held_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.held_bytes())
    }

    /// Checks the count before anything else, idle frames included: a loss just before an idle
    /// frame would otherwise go unseen.
    fn advance(&mut self, head: &Head, sink: &mut impl FnMut(Event)) {
        let last = self.last.replace(Count { count: head.count, cycle: head.cycle });
        if let Some(lost) = last.and_then(|last| head.gap_since(last)) {
            sink(Event::Gap { channel: head.channel, lost });
            self.drop_partial(head.channel, DropReason::Gap, sink);
        }
    }

    fn drop_partial(
        &mut self,
        channel: VirtualChannel,
        reason: DropReason,
        sink: &mut impl FnMut(Event),
    ) {
        if let Some(partial) = self.partial.take() {
            sink(Event::Dropped { channel, reason, bytes: partial.len() });
        }
    }

    fn take(&mut self, pointer: FirstHeader, part: &Part<'_>, sink: &mut impl FnMut(Event)) {
        match pointer {
            FirstHeader::IdleData => {}
            FirstHeader::NoStart => self.resume(part.zone, false, part, sink),
            FirstHeader::At(at) => match part.zone.split_at_checked(at.into()) {
                Some((before, packets)) if !packets.is_empty() => {
                    self.resume(before, true, part, sink);
                    self.walk(packets, part.start + before.len(), part, sink);
                }
                _ => {
                    self.drop_partial(part.channel, DropReason::PointerBeyondZone, sink);
                    let (channel, bytes) = (part.channel, part.zone.len());
                    let reason = DropReason::PointerBeyondZone;
                    sink(Event::Dropped { channel, reason, bytes });
                }
            },
        }
    }

    /// Goes on with the packet in progress; where `ends`, the pointer says that it ends here.
    fn resume(&mut self, bytes: &[u8], ends: bool, part: &Part<'_>, sink: &mut impl FnMut(Event)) {
        let Some(mut partial) = self.partial.take() else { return };
        partial.erred |= part.erred && !bytes.is_empty();
        let reason = match partial.feed(bytes) {
            Feed::Whole(protocol) => {
                let erred = partial.erred;
                return emit(partial.into(), protocol, true, erred, part.channel, sink);
            }
            Feed::Wants if !ends => {
                self.partial = Some(partial);
                return;
            }
            Feed::Wants => DropReason::CutByPointer,
            Feed::Overrun => DropReason::OverrunByPointer,
            Feed::Refused(reason) => reason,
        };
        let (channel, bytes) = (part.channel, partial.len());
        sink(Event::Dropped { channel, reason, bytes });
    }

    /// Reads packet after packet to the end of the zone.
    fn walk(
        &mut self,
        packets: &[u8],
        offset: usize,
        part: &Part<'_>,
        sink: &mut impl FnMut(Event),
    ) {
        let (mut rest, mut offset) = (packets, offset);
        let Part { channel, erred, .. } = *part;
        while !rest.is_empty() {
            let reason = match extent(rest) {
                Extent::Known { protocol, length } => match rest.split_at_checked(length) {
                    Some((_, after)) => {
                        let bytes = part.frame.slice(offset..offset + length);
                        emit(bytes, protocol, false, erred, channel, sink);
                        (rest, offset) = (after, offset + length);
                        continue;
                    }
                    None => {
                        self.partial = Some(Partial::start(rest, Some((protocol, length)), erred));
                        return;
                    }
                },
                Extent::Short { .. } => {
                    self.partial = Some(Partial::start(rest, None, erred));
                    return;
                }
                Extent::Version(version) => DropReason::PacketVersion(version),
                Extent::Length => DropReason::PacketLength,
            };
            return sink(Event::Dropped { channel, reason, bytes: rest.len() });
        }
    }
}

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

#[cfg(test)]
mod tests;
