//! Frames to packets and units: slices of the frame, and one copy for what spans frames.
//!
//! The first header pointer of every frame resynchronises: where it and a packet's own length
//! disagree, the pointer is right (CCSDS 132.0-B-3 §4.3.2.4). A corrupt length, a lost frame or
//! a cut idle packet therefore costs the packet in progress and nothing after it.
//!
//! ```text
//! frame ─► head (what it says, in one form) ─► follow (count, packets, segments) ─► events
//!                                                 └── partial (in progress)
//! ```

mod event;
mod head;
mod follow;
mod partial;

pub use self::event::{Content, DropReason, Erred, Event, Rejection, Unit};

use self::follow::{Count, Follower, Part};
use self::head::Head;
use super::aos::AosConfig;
use super::tc::TcConfig;
use super::tm::TmConfig;
use super::uslp::{Fecf, UslpConfig};
use super::{Format, Kind, VirtualChannel};
use crate::packet::MAX_PACKET_BYTES;
use alloc::collections::BTreeMap;
use bytes::Bytes;

/// Virtual channels followed at a time, and packets and units in progress over all of them: one
/// spacecraft has at most 64 channels. At the bound the channel that was silent for longest is
/// forgotten, so that garbage headers can't grow the state past 64 packets in progress (4.2 MB).
pub const MAX_CHANNELS: usize = 64;

/// Longest unit put together from segments: as long as the longest packet.
pub const MAX_UNIT_BYTES: usize = MAX_PACKET_BYTES;

/// The frames of a physical channel.
// One per channel, never in a collection: a smaller variant would only cost a pointer.
#[allow(clippy::large_enum_variant, reason = "one a channel")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameConfig {
    /// TM transfer frames.
    Tm(TmConfig),
    /// AOS transfer frames.
    Aos(AosConfig),
    /// USLP transfer frames.
    Uslp(UslpConfig),
    /// TC transfer frames.
    Tc(TcConfig),
}

impl FrameConfig {
    /// Plain frames of a format, with or without a CRC-16 at the end; TC with segment headers.
    /// A format of TM or AOS without a length, which no text gives, is of the longest frames.
    pub const fn new(format: Format, fecf: bool) -> Self {
        match format.kind {
            Kind::Tm => Self::Tm(TmConfig::new(format.max_length()).with_fecf(fecf)),
            Kind::Aos => Self::Aos(AosConfig::new(format.max_length()).with_fecf(fecf)),
            Kind::Uslp => {
                let fecf = if fecf { Fecf::Crc16 } else { Fecf::None };
                Self::Uslp(UslpConfig { fecf, ..UslpConfig::new(format.length) })
            }
            Kind::Tc => Self::Tc(TcConfig::new(true, fecf)),
        }
    }

    /// How many bytes the frame takes that starts at the first byte; see [`Format::extent`].
    pub fn extent(&self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Uslp(config) => config.extent(bytes),
            other => other.format().extent(bytes),
        }
    }

    /// Kind and length.
    pub const fn format(&self) -> Format {
        let (kind, length) = match self {
            Self::Tm(config) => (Kind::Tm, Some(config.length)),
            Self::Aos(config) => (Kind::Aos, Some(config.length)),
            Self::Uslp(config) => (Kind::Uslp, config.length),
            Self::Tc(_) => (Kind::Tc, None),
        };
        Format { kind, length }
    }
}

/// A counter: frames that bypass the sequence check have one of their own
/// (CCSDS 732.1-B-3 §4.1.2.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Counter {
    channel: VirtualChannel,
    bypass: bool,
}

/// Takes the packets out of the frames of one physical channel.
#[derive(Debug)]
pub struct Extractor {
    config: FrameConfig,
    erred: Erred,
    spacecraft: Option<u16>,
    channels: BTreeMap<Counter, Follower>,
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
        let Head { channel, bypass, content, load, corrected_symbols, erred, .. } = head;
        if self.spacecraft.is_some_and(|expected| expected != channel.scid) {
            return sink(Event::Rejected(Rejection::Spacecraft(channel.scid)));
        }
        let count = head.count.map_or(0, |count| count.value);
        sink(Event::Frame { channel, count, content, corrected_symbols, erred });
        if content == Content::IdleChannel {
            return;
        }
        // An opaque frame still counts: what was in progress before it goes on behind it.
        let counter = Counter { channel: VirtualChannel { map: 0, ..channel }, bypass };
        let follower = self.follow(counter, sink);
        follower.advance(&head, sink);
        let Some(zone) = frame.get(head.zone.clone()) else { return };
        let part = Part { frame, zone, start: head.zone.start, channel, erred };
        follower.take(load, &part, sink);
    }

    /// The state of a channel; forgets the most silent one where there are too many.
    fn follow(&mut self, counter: Counter, sink: &mut impl FnMut(Event)) -> &mut Follower {
        self.frames += 1;
        if self.channels.len() >= MAX_CHANNELS && !self.channels.contains_key(&counter) {
            self.forget(|_| true, sink);
        }
        // Only access points put more in progress than there are channels.
        let mapped = matches!(self.config, FrameConfig::Uslp(_) | FrameConfig::Tc(_));
        if mapped && self.in_progress() >= MAX_CHANNELS {
            self.forget(|follower| follower.in_progress() > 0, sink);
        }
        let follower = self.channels.entry(counter).or_default();
        follower.seen = self.frames;
        follower
    }

    fn in_progress(&self) -> usize {
        self.channels.values().map(Follower::in_progress).sum()
    }

    /// Forgets the most silent of the channels that may go.
    fn forget(&mut self, may_go: impl Fn(&Follower) -> bool, sink: &mut impl FnMut(Event)) {
        let known = self.channels.iter().filter(|(_, follower)| may_go(follower));
        let silent = known.min_by_key(|(_, follower)| follower.seen).map(|(counter, _)| *counter);
        if let Some(silent) = silent
            && let Some(mut follower) = self.channels.remove(&silent)
        {
            follower.drop_all(silent.channel, DropReason::Forgotten, sink);
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod kind_tests;
