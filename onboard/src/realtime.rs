//! Realtime telemetry: chosen packets in AOS frames as they come.

use bytes::Bytes;
use codecs::{
    frame::aos::{AosBuilder, AosConfig, VERSION},
    ids::{Apid, Channel},
};

use crate::config::Realtime;

/// Frames of one virtual channel, each with CRC-16, closed by a deadline at the latest.
#[derive(Debug)]
pub struct Framing {
    builder: AosBuilder,
    apids: Vec<u16>,
    flush_ns: u64,
    due_ns: Option<u64>,
    channel: Channel,
    live: bool,
}

/// Where frames of these settings go.
pub fn channel(config: &Realtime) -> Channel {
    Channel::virtual_channel(VERSION, config.scid, config.vc, 0)
}

impl Framing {
    /// Frames that go on counting behind `framed` earlier ones.
    pub fn new(config: &Realtime, framed: u64) -> Result<Self, codecs::frame::BuildError> {
        let frame = AosConfig::new(config.frame_bytes).with_fecf(true);
        let count = (framed % u64::from(codecs::frame::aos::COUNT_MODULUS)) as u32;
        Ok(Self {
            builder: AosBuilder::new(frame, config.scid, config.vc, count)?,
            apids: config.apids.clone(),
            flush_ns: config.flush_ms * 1_000_000,
            due_ns: None,
            channel: channel(config),
            live: true,
        })
    }

    /// Channel of the frames.
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// Whether frames are made: between contacts nobody sees them live, and their packets go down
    /// with the recorded telemetry. What is begun is still closed.
    pub fn set_live(&mut self, live: bool) {
        self.live = live;
    }

    /// Takes a packet, if it is one that goes down as it comes; frames that it fills come out.
    pub fn push(&mut self, apid: Apid, packet: &[u8], now_ns: u64) -> Vec<Bytes> {
        let mut frames = Vec::new();
        // A packet that no frame can carry still goes down with the recorded telemetry.
        if self.live
            && self.apids.contains(&apid.0)
            && self.builder.push(packet, &mut |frame| frames.push(frame)).is_ok()
        {
            self.due_ns = match self.builder.pending() {
                0 => None,
                _ if !frames.is_empty() => Some(now_ns.saturating_add(self.flush_ns)),
                _ => self.due_ns.or(Some(now_ns.saturating_add(self.flush_ns))),
            };
        }
        frames
    }

    /// When the frame in progress is due.
    pub fn timeout(&self) -> Option<u64> {
        self.due_ns
    }

    /// Closes the frame in progress if it is due.
    pub fn flush(&mut self, now_ns: u64) -> Vec<Bytes> {
        let mut frames = Vec::new();
        if self.due_ns.is_some_and(|due| due <= now_ns) {
            self.due_ns = None;
            self.builder.flush(&mut |frame| frames.push(frame));
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::frame::aos::AosFrame;

    fn packet(apid: u16, length: usize) -> Vec<u8> {
        let mut bytes = vec![0x08 | (apid >> 8) as u8, apid as u8, 0xc0, 0];
        bytes.extend_from_slice(&((length - 7) as u16).to_be_bytes());
        bytes.resize(length, 1);
        bytes
    }

    #[test]
    fn frames_close_when_full_or_due_and_keep_counting_over_boots() {
        let mut framing = Framing::new(&Realtime::default(), 41).unwrap();
        assert!(framing.push(Apid(102), &packet(102, 600), 0).is_empty(), "not a realtime one");
        assert_eq!(framing.timeout(), None);
        assert!(framing.push(Apid(100), &packet(100, 600), 5).is_empty());
        assert_eq!(framing.timeout(), Some(1_000_000_005));
        let full = framing.push(Apid(103), &packet(103, 600), 9);
        assert_eq!((full.len(), full[0].len()), (1, 1113));
        assert_eq!(framing.timeout(), Some(1_000_000_009));
        assert!(framing.flush(1_000_000_008).is_empty());
        let flushed = framing.flush(1_000_000_009);
        assert_eq!(flushed.len(), 1);
        let config = AosConfig::new(1113).with_fecf(true);
        let frame = AosFrame::parse(&flushed[0], &config).unwrap();
        assert!(frame.fecf_holds());
        assert_eq!((frame.header().count, frame.header().scid), (42, 71));
        assert_eq!(framing.timeout(), None);
        framing.set_live(false);
        assert!(framing.push(Apid(100), &packet(100, 1200), 9).is_empty());
        assert_eq!(framing.timeout(), None, "nothing is begun between contacts");
    }
}
