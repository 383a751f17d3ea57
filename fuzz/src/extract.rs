//! Frames to packets, in every configuration.

use crate::input::Input;
use bytes::Bytes;
use codecs::fec::crc::crc16;
use codecs::frame::aos::AosConfig;
use codecs::frame::extract::{Content, Erred, Event, Extractor, FrameConfig, MAX_CHANNELS};
use codecs::frame::tm::TmConfig;
use codecs::packet::{Extent, MAX_PACKET_BYTES, extent, is_idle};

/// A physical channel of short frames, so that a short input holds many.
fn config(input: &mut Input<'_>) -> FrameConfig {
    let flags = input.byte();
    let length = 16 + usize::from(input.byte() % 80);
    if flags & 1 == 0 {
        return FrameConfig::Tm(TmConfig::new(length).with_fecf(flags & 2 != 0));
    }
    FrameConfig::Aos(AosConfig {
        length,
        insert_zone: if flags & 32 != 0 { 3 } else { 0 },
        header_error_control: flags & 16 != 0,
        ocf: flags & 8 != 0,
        fecf: flags & 2 != 0,
        wide_scid: flags & 4 != 0,
    })
}

/// Makes a header that the fuzzer need not find: the version, two channels, counts that run on.
fn steer(frame: &mut [u8], config: &FrameConfig, counts: &mut [u8; 2]) {
    let channel = usize::from(frame[1] >> 1 & 1);
    // Now and then the frame keeps the count that it came with: a gap.
    let jump = frame[3] == 0x55;
    if !jump {
        counts[channel] = counts[channel].wrapping_add(1);
    }
    match config {
        FrameConfig::Tm(_) => {
            frame[0] = 0;
            frame[1] &= 0x03;
            if !jump {
                frame[3] = counts[channel];
            }
            // Mostly neither secondary header nor opaque.
            if frame[4] & 0x20 == 0 {
                frame[4] &= 0x3F;
            }
        }
        FrameConfig::Aos(_) => {
            frame[0] = 0x40;
            frame[1] &= 0x02;
            frame[5] &= 0x0F;
            if !jump {
                frame[2..5].copy_from_slice(&[0, 0, counts[channel]]);
            }
        }
    }
    let fecf = match config {
        FrameConfig::Tm(config) => config.fecf,
        FrameConfig::Aos(config) => config.fecf,
    };
    let end = frame.len() - 2;
    // Checks hold but where the frame asks for one that does not.
    if fecf && frame[end] != 0xEE {
        let check = crc16(&frame[..end]).to_be_bytes();
        frame[end..].copy_from_slice(&check);
    }
}

/// What came out of one frame.
#[derive(Default)]
struct Sums {
    frames: u64,
    rejected: u64,
    /// Bytes delivered or dropped; no byte is both, or either twice.
    bytes: usize,
}

fn take(event: Event, frame: &Bytes, sums: &mut Sums) {
    match event {
        Event::Frame { content, .. } => {
            sums.frames += 1;
            if let Content::Packets(pointer) = content {
                assert!(pointer.bits() <= 0x7FF);
            }
        }
        Event::Rejected(_) => sums.rejected += 1,
        Event::Gap { .. } => {}
        Event::Packet { protocol, bytes, spanning, .. } => {
            let known = Extent::Known { protocol, length: bytes.len() };
            assert_eq!(extent(&bytes), known, "a packet is what its header says");
            assert!(!is_idle(&bytes));
            let (whole, part) = (frame.as_ptr_range(), bytes.as_ptr_range());
            let inside = whole.start <= part.start && part.end <= whole.end;
            assert_eq!(inside, !spanning, "only spanning packets are copies");
            sums.bytes += bytes.len();
        }
        Event::Idle { length, .. } => {
            assert!((1..=MAX_PACKET_BYTES).contains(&length));
            sums.bytes += length;
        }
        Event::Dropped { bytes, .. } => sums.bytes += bytes,
    }
}

/// The extractor: packets are what their headers say, no byte comes out twice, memory is bounded,
/// and frames that are clean again give every packet again.
pub fn extract(data: &[u8]) {
    let mut input = Input(data);
    let config = config(&mut input);
    let flags = input.byte();
    let mut extractor = Extractor::new(config.clone());
    if flags & 1 != 0 {
        extractor = extractor.with_erred(Erred::Reject);
    }
    if flags & 2 != 0 {
        extractor = extractor.with_spacecraft(0);
    }
    let mut counts = [0; 2];
    let mut fed = 0;
    let mut sums = Sums::default();
    let mut pushed = 0;
    while !input.0.is_empty() {
        let mut frame = input.take(config.length()).to_vec();
        if flags & 12 != 0 {
            frame.resize(config.length(), 0);
            steer(&mut frame, &config, &mut counts);
        }
        let frame = Bytes::from(frame);
        fed += frame.len();
        pushed += 1;
        extractor.push(&frame, &mut |event| take(event, &frame, &mut sums));
        assert_eq!(sums.frames + sums.rejected, pushed, "a frame is accepted or rejected");
        assert!(sums.bytes <= fed, "more bytes out than in");
        assert!(extractor.held_bytes() <= MAX_CHANNELS * MAX_PACKET_BYTES);
    }
}
