//! What a frame of any kind says about itself, in one form.

use super::event::{Content, Unit};
use super::{Count, FrameConfig};
use crate::frame::aos::{self, AosConfig, AosFrame, Service};
use crate::frame::tc::{self, Segment, TcConfig, TcFrame, TcType};
use crate::frame::tm::{self, TmConfig, TmFrame};
use crate::frame::uslp::{self, Rule, UslpConfig, UslpFrame};
use crate::frame::{FirstHeader, FrameError, VirtualChannel};
use core::ops::Range;

pub(super) struct Head {
    pub(super) channel: VirtualChannel,
    /// Of a counter and pieces apart from the channel's other one: frames that bypass the
    /// sequence check overtake those that do not.
    pub(super) bypass: bool,
    pub(super) count: Option<Count>,
    pub(super) content: Content,
    pub(super) load: Load,
    /// Where the data lies in the frame, fill left out where the header tells it.
    pub(super) zone: Range<usize>,
    pub(super) corrected_symbols: u8,
    pub(super) erred: bool,
}

/// How the zone is to be taken.
#[derive(Clone, Copy, Debug)]
pub(super) enum Load {
    /// Not at all.
    Nothing,
    /// Left out, for its own pointer leaves it.
    Lies,
    /// Packet after packet, which may span frames.
    Packets(FirstHeader),
    /// As a piece of something, or as a whole.
    Piece(Segment, Kind),
}

/// What pieces make up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Packets,
    Unit { unit: Unit, upid: u8 },
}

impl Kind {
    const ACCESS: Self = Self::Unit { unit: Unit::Access, upid: 0 };
    const CONTROL: Self = Self::Unit { unit: Unit::Control, upid: 0 };
}

impl Head {
    #[inline]
    pub(super) fn read(frame: &[u8], config: &FrameConfig) -> Result<Self, FrameError> {
        match config {
            FrameConfig::Aos(config) => Self::aos(frame, config),
            FrameConfig::Tm(config) => Self::tm(frame, config),
            FrameConfig::Uslp(config) => Self::uslp(frame, config),
            FrameConfig::Tc(config) => Self::tc(frame, config),
        }
    }

    fn aos(frame: &[u8], config: &AosConfig) -> Result<Self, FrameError> {
        let view = AosFrame::parse(frame, config)?;
        let mut zone = view.packet_zone();
        let (content, load) = match view.service() {
            _ if view.is_idle() => (Content::IdleChannel, Load::Nothing),
            Service::Packets => packets(view.first_header()),
            Service::Access => (Content::Opaque, Load::Piece(Segment::Unsegmented, Kind::ACCESS)),
            Service::Bits => match view.valid_bits() {
                Some(0) => (Content::Bits, Load::Nothing),
                Some(bits) => {
                    zone.end = zone.start + bits.div_ceil(8);
                    let kind = Kind::Unit { unit: Unit::Bits(bits), upid: 0 };
                    (Content::Bits, Load::Piece(Segment::Unsegmented, kind))
                }
                None => (Content::Bits, Load::Lies),
            },
        };
        let header = view.header();
        let count = Count {
            value: header.count.into(),
            modulus: aos::COUNT_MODULUS.into(),
            cycle: header.cycle,
            retreats: true,
        };
        Ok(Self {
            channel: view.channel(),
            bypass: false,
            count: (!view.is_idle()).then_some(count),
            content,
            load,
            zone,
            corrected_symbols: view.corrected_symbols(),
            erred: !view.fecf_holds(),
        })
    }

    fn tm(frame: &[u8], config: &TmConfig) -> Result<Self, FrameError> {
        let view = TmFrame::parse(frame, config)?;
        let (content, load) = match view.header().opaque {
            true => (Content::Opaque, Load::Piece(Segment::Unsegmented, Kind::ACCESS)),
            false => packets(view.header().pointer),
        };
        let count = Count {
            value: view.header().count.into(),
            modulus: tm::COUNT_MODULUS.into(),
            cycle: None,
            // Of 256 frames half a turn is too easily lost to call it backwards.
            retreats: false,
        };
        Ok(Self {
            channel: view.channel(),
            bypass: false,
            count: Some(count),
            content,
            load,
            zone: view.packet_zone(),
            corrected_symbols: 0,
            erred: !view.fecf_holds(),
        })
    }

    fn uslp(frame: &[u8], config: &UslpConfig) -> Result<Self, FrameError> {
        let view = UslpFrame::parse(frame, config)?;
        let header = view.header();
        let start = view.zone().start;
        let (content, load) = match view.upid() {
            _ if view.is_idle() => (Content::IdleChannel, Load::Nothing),
            uslp::UPID_IDLE => packets(FirstHeader::IdleData),
            upid if header.control => (
                Content::Control(None),
                Load::Piece(Segment::Unsegmented, Kind::Unit { unit: Unit::Control, upid }),
            ),
            upid => by_rule(view.rule(), upid),
        };
        let count = Count {
            value: header.count.value,
            modulus: header.count.modulus(),
            cycle: None,
            retreats: header.count.bytes > 1,
        };
        Ok(Self {
            channel: view.channel(),
            bypass: header.bypass,
            // A count of no byte counts nothing, and truncated frames have none.
            count: (!view.is_idle() && header.count.bytes > 0).then_some(count),
            content,
            load,
            zone: start..start + view.data().len(),
            corrected_symbols: 0,
            erred: !view.fecf_holds(),
        })
    }

    fn tc(frame: &[u8], config: &TcConfig) -> Result<Self, FrameError> {
        let view = TcFrame::parse(frame, config)?;
        let (header, channel) = (view.header(), view.channel());
        let access = match view.segment() {
            Some(segment) => segment.map,
            None => header.vcid,
        };
        let kind = match config.access >> (access & 0x3F) & 1 {
            0 => Kind::Packets,
            _ => Kind::ACCESS,
        };
        let (content, load) = match header.kind {
            TcType::Reserved => return Err(FrameError::ReservedType),
            TcType::Bc => {
                (Content::Control(view.control()), Load::Piece(Segment::Unsegmented, Kind::CONTROL))
            }
            TcType::Ad | TcType::Bd => {
                let place = view.segment().map_or(Segment::Unsegmented, |header| header.segment);
                (Content::Segment(place), Load::Piece(place, kind))
            }
        };
        // Only frames in sequence are numbered; the window of the acceptance check is under half
        // a turn, so a longer step is a retransmission (CCSDS 232.1-B-2 §3.3.2).
        let count = (header.kind == TcType::Ad).then_some(Count {
            value: header.count.into(),
            modulus: tc::COUNT_MODULUS.into(),
            cycle: None,
            retreats: true,
        });
        Ok(Self {
            channel,
            bypass: header.kind != TcType::Ad,
            count,
            content,
            load,
            zone: view.zone(),
            corrected_symbols: 0,
            erred: !view.fecf_holds(),
        })
    }
}

fn packets(pointer: FirstHeader) -> (Content, Load) {
    (Content::Packets(pointer), Load::Packets(pointer))
}

/// The construction rules (CCSDS 732.1-B-3 §4.1.4.2.2.2).
fn by_rule(rule: Rule, upid: u8) -> (Content, Load) {
    let piece = |place, kind| (Content::Segment(place), Load::Piece(place, kind));
    let unit = Kind::Unit { unit: Unit::Access, upid };
    let segmented = if upid == uslp::UPID_PACKETS { Kind::Packets } else { unit };
    match rule {
        Rule::Packets(Some(at)) => packets(FirstHeader::At(at)),
        Rule::Packets(None) => packets(FirstHeader::NoStart),
        Rule::UnitStart(Some(_)) => piece(Segment::Unsegmented, unit),
        Rule::UnitStart(None) => piece(Segment::First, unit),
        Rule::UnitContinuation(Some(_)) => piece(Segment::Last, unit),
        Rule::UnitContinuation(None) => piece(Segment::Continuation, unit),
        Rule::Stream => (
            Content::Stream,
            Load::Piece(Segment::Unsegmented, Kind::Unit { unit: Unit::Stream, upid }),
        ),
        Rule::SegmentFirst => piece(Segment::First, segmented),
        Rule::SegmentContinuation => piece(Segment::Continuation, segmented),
        Rule::SegmentLast => piece(Segment::Last, segmented),
        Rule::Unsegmented => piece(Segment::Unsegmented, segmented),
    }
}
