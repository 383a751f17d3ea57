//! Recorded frames in place of packets: they pass as they are.

use bytes::Bytes;
use codecs::{
    frame::{
        aos::{AosConfig, AosFrame},
        tm::{TmConfig, TmFrame},
    },
    ids::{Channel, Codec},
};

use super::{Pipeline, outcome::Due};
use crate::{config::FrameKind, source::Malformed, triage};

impl Pipeline {
    /// Takes a frame of the length that is configured.
    pub(super) fn frame(
        &mut self,
        bytes: Bytes,
        kind: FrameKind,
        length: usize,
        fecf: bool,
        now_ns: u64,
    ) -> Result<(), Malformed> {
        if bytes.len() != length {
            return Err(Malformed::FrameLength);
        }
        let (codec, channel) = match kind {
            FrameKind::Aos => {
                let config = AosConfig::new(length).with_fecf(fecf);
                let frame = AosFrame::parse(&bytes, &config).ok().filter(AosFrame::fecf_holds);
                (Codec::AosFrame, frame.map(|frame| frame.channel()))
            }
            FrameKind::Tm => {
                let config = TmConfig::new(length).with_fecf(fecf);
                let frame = TmFrame::parse(&bytes, &config).ok().filter(TmFrame::fecf_holds);
                (Codec::TmFrame, frame.map(|frame| frame.channel()))
            }
        };
        // An erred frame goes down too, where no channel is claimed for it.
        let channel = channel.map_or(Channel::UNIDENTIFIED, Channel::from);
        self.done.frames += 1;
        self.done.taken += 1;
        let due = Due { captured: self.clock.at(now_ns), deadline_s: 0, packets: 1 };
        self.keep_due(channel, codec, triage::HOUSEKEEPING, due, bytes);
        Ok(())
    }
}
