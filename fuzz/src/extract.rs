//! Frames to packets, in every configuration.

use crate::input::Input;
use bytes::Bytes;
use codecs::fec::crc::crc16;
use codecs::frame::aos::{AosConfig, Service};
use codecs::frame::extract::{
    Erred, Event, Extractor, FrameConfig, MAX_CHANNELS, MAX_UNIT_BYTES, Unit,
};
use codecs::frame::tc::TcConfig;
use codecs::frame::tm::TmConfig;
use codecs::frame::uslp::{Fecf, UslpConfig};
use codecs::packet::{Extent, MAX_PACKET_BYTES, extent, is_idle};
use std::array;

/// A physical channel of short frames, so that a short input holds many; and their length, the
/// longest of them where each tells its own.
fn config(input: &mut Input<'_>) -> (FrameConfig, usize) {
    let flags = input.byte();
    let length = 16 + usize::from(input.byte() % 80);
    let fecf = flags & 4 != 0;
    let config = match flags & 3 {
        0 => FrameConfig::Tm(TmConfig::new(length).with_fecf(fecf)),
        1 => FrameConfig::Aos(AosConfig {
            length,
            insert_zone: if flags & 32 != 0 { 3 } else { 0 },
            header_error_control: flags & 16 != 0,
            ocf: flags & 8 != 0,
            fecf,
            wide_scid: flags & 64 != 0,
            services: match flags & 128 {
                0 => [Service::Packets; 64],
                _ => array::from_fn(|vcid| SERVICES[vcid / 2 % 3]),
            },
        }),
        2 => FrameConfig::Uslp(UslpConfig {
            length: (flags & 8 != 0).then_some(length),
            insert_zone: if flags & 32 != 0 { 3 } else { 0 },
            fecf: match fecf {
                true => Fecf::Crc16,
                false => Fecf::None,
            },
            truncated_bytes: (flags & 64 != 0).then_some(12),
        }),
        _ => FrameConfig::Tc(TcConfig {
            access: if flags & 16 != 0 { 0xAAAA_AAAA_AAAA_AAAA } else { 0 },
            ..TcConfig::new(flags & 8 != 0, fecf)
        }),
    };
    (config, length)
}

const SERVICES: [Service; 3] = [Service::Packets, Service::Bits, Service::Access];

/// Makes a header that the fuzzer need not find: the version, two channels, counts that run on.
fn steer(frame: &mut [u8], config: &FrameConfig, counts: &mut [u8; 2]) {
    let last = frame.len() - 1;
    // Now and then the frame keeps the count that it came with: a gap.
    let jump = frame[3] == 0x55;
    let mut count = |channel: u8| {
        let count = &mut counts[usize::from(channel & 1)];
        *count = count.wrapping_add(u8::from(!jump));
        *count
    };
    let fecf = match config {
        FrameConfig::Tm(config) => {
            frame[0] = 0;
            frame[1] &= 0x03;
            let count = count(frame[1] >> 1);
            if !jump {
                frame[3] = count;
            }
            // Mostly neither secondary header nor opaque.
            if frame[4] & 0x20 == 0 {
                frame[4] &= 0x3F;
            }
            config.fecf
        }
        FrameConfig::Aos(config) => {
            frame[0] = 0x40;
            frame[1] &= 0x02;
            frame[5] &= 0x0F;
            let count = count(frame[1] >> 1);
            if !jump {
                frame[2..5].copy_from_slice(&[0, 0, count]);
            }
            config.fecf
        }
        FrameConfig::Uslp(config) => {
            frame[..2].copy_from_slice(&[0xC0, 0]);
            // Two channels, two access points, whole headers.
            frame[2] = 0;
            frame[3] &= 0x22;
            frame[4..6].copy_from_slice(&(last as u16).to_be_bytes());
            // Mostly a count of one byte.
            if frame[6] & 0x20 == 0 {
                frame[6] = frame[6] & 0xC8 | 1;
                let count = count(frame[3] >> 5);
                if !jump {
                    frame[7] = count;
                }
            }
            config.fecf != Fecf::None
        }
        FrameConfig::Tc(config) => {
            frame[0] &= 0x30;
            frame[1] = 0;
            frame[2] &= 0x04;
            frame[3] = last as u8;
            let count = count(frame[2] >> 2);
            if !jump {
                frame[4] = count;
            }
            // Two access points.
            frame[5] &= 0xC1;
            config.fecf
        }
    };
    let end = last - 1;
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

fn is_inside(part: &Bytes, frame: &Bytes) -> bool {
    let (whole, part) = (frame.as_ptr_range(), part.as_ptr_range());
    whole.start <= part.start && part.end <= whole.end
}

fn take(event: Event, frame: &Bytes, sums: &mut Sums) {
    match event {
        Event::Frame { .. } => sums.frames += 1,
        Event::Rejected(_) => sums.rejected += 1,
        Event::Gap { .. } => {}
        Event::Packet { protocol, bytes, spanning, .. } => {
            let known = Extent::Known { protocol, length: bytes.len() };
            assert_eq!(extent(&bytes), known, "a packet is what its header says");
            assert!(!is_idle(&bytes));
            assert_eq!(is_inside(&bytes, frame), !spanning, "only spanning packets are copies");
            sums.bytes += bytes.len();
        }
        Event::Unit { unit, bytes, spanning, .. } => {
            assert!((1..=MAX_UNIT_BYTES).contains(&bytes.len()));
            assert_eq!(is_inside(&bytes, frame), !spanning, "only spanning units are copies");
            if let Unit::Bits(bits) = unit {
                assert_eq!(bits.div_ceil(8), bytes.len());
            }
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
    let (config, length) = config(&mut input);
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
        // Where frames tell their lengths, they differ.
        let fixed = config.format().length.is_some();
        let length = if fixed { length } else { length.min(8 + usize::from(input.byte())) };
        let mut frame = input.take(length).to_vec();
        if flags & 12 != 0 {
            frame.resize(length, 0);
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
