//! Streams of every kind, told by themselves; recorded ones stand in the tests crate.

use super::*;
use crate::frame::aos::{AosBuilder, AosConfig};
use crate::frame::cadu::CaduEncoder;
use crate::ids::Apid;
use crate::packet::space::{PacketHeader, SequenceCount, build};
use alloc::string::ToString;

/// Frames full of packets, of one length.
fn frames(config: &AosConfig, count: usize) -> Vec<Vec<u8>> {
    let mut builder = AosBuilder::new(config.clone(), 71, 3, 9).unwrap();
    let mut frames = Vec::new();
    let mut state = 1u32;
    while frames.len() < count {
        let data: Vec<u8> = (0..40 + state % 90)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        let packet = build(&PacketHeader::telemetry(Apid(5), SequenceCount(0)), &data).unwrap();
        builder.push(&packet, &mut |frame| frames.push(frame.to_vec())).unwrap();
    }
    frames
}

fn sent(coding: &Coding, config: &AosConfig, count: usize) -> Vec<u8> {
    let mut encoder = CaduEncoder::new(coding, config.length, coding.marker()).unwrap();
    let mut stream = Vec::new();
    for frame in frames(config, count) {
        encoder.push(&frame, &mut stream).unwrap();
    }
    encoder.finish(&mut stream);
    stream
}

#[test]
fn every_coding_is_told() {
    for (text, length) in [
        ("none", 256),
        ("randomized:255", 1113),
        ("randomized:131071", 300),
        ("rs:223:i4:dual", 892),
        ("rs:223:i4:dual,randomized:255", 892),
        ("rs:223:i5:conventional,randomized:131071", 1115),
        ("rs:239:i2:dual,randomized:255", 400),
        ("ldpc:c2,randomized:131071", 892),
        ("ldpc:1/2:4096,randomized:255", 512),
        ("ldpc:4/5:1024", 128),
        ("conv:1/2,rs:223:i1:dual,randomized:255", 223),
        ("conv:7/8,rs:223:i4:dual,randomized:255", 892),
        ("conv:1/2:plain:swapped,randomized:131071", 300),
    ] {
        let coding: Coding = text.parse().unwrap();
        let stream = sent(&coding, &AosConfig::new(length), 24);
        let guesses = guess(&stream, None);
        let best = guesses.first().unwrap_or_else(|| panic!("{text}: nothing"));
        let Framing::Cadus { marker, coding: found } = best.framing else { panic!("{best:?}") };
        assert_eq!(found.to_string(), text, "{guesses:?}");
        assert_eq!((marker, best.frame_bytes), (coding.marker(), length), "{text}");
        let config = best.frames.clone();
        assert_eq!(config, Some(FrameConfig::Aos(AosConfig::new(length))), "{text}");
    }
}

#[test]
fn optional_fields_are_told_by_checks_and_packets() {
    let mut config = AosConfig::new(500).with_fecf(true);
    (config.insert_zone, config.ocf, config.header_error_control) = (6, true, true);
    let stream: Vec<u8> = frames(&config, 30).concat();
    let best = guess(&stream, None).remove(0);
    assert_eq!(best.framing, Framing::Bare);
    assert_eq!(best.frames, Some(FrameConfig::Aos(config)));
    let check = best.evidence.iter().find(|one| one.what.contains("CRC")).unwrap();
    assert_eq!((check.fits, check.of), (30, 30));
}

#[test]
fn noise_and_nothing_are_nothing() {
    assert_eq!(guess(&[], None), []);
    assert_eq!(guess(&[0; 5000], None), []);
    let mut state = 7u64;
    let noise: Vec<u8> = (0..40_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    assert_eq!(guess(&noise, None), []);
}

#[test]
fn forms_of_symbols_are_told() {
    let coding: Coding = "rs:223:i1:dual,randomized:255".parse().unwrap();
    let stream = sent(&coding, &AosConfig::new(223), 12);
    let bits = || stream.iter().flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1));
    let soft: Vec<u8> = bits().map(|bit| if bit == 1 { 0xE0 } else { 0x21 }).collect();
    for (form, stream) in [(Symbols::Bits, bits().collect()), (Symbols::Soft, soft)] {
        let best = guess(&stream, None).remove(0);
        let framing = Framing::Cadus { marker: coding.marker(), coding };
        assert_eq!((best.symbols, best.framing), (form, framing));
    }
}

#[test]
fn frames_that_tell_their_length_are_told() {
    use crate::frame::{tc, uslp};
    let packet = build(&PacketHeader::telemetry(Apid(5), SequenceCount(0)), &[7; 40]).unwrap();
    let command = |n: u8| {
        let kind = tc::TcType::Bd;
        let header = tc::TcHeader { kind, scid: 123, vcid: 1, count: 0 };
        let segment = Some(tc::SegmentHeader { segment: tc::Segment::Unsegmented, map: 2 });
        tc::build(&header, segment, &packet.repeat(1 + usize::from(n) % 3), true).unwrap()
    };
    let best = guess(&(0..9).flat_map(command).collect::<Vec<u8>>(), None).remove(0);
    assert_eq!(best.frames, Some(FrameConfig::Tc(tc::TcConfig::new(true, true))));

    let unified = |n: u64, length: Option<usize>| {
        let header = uslp::UslpHeader {
            scid: 777,
            vcid: 2,
            count: uslp::Count { value: n, bytes: 2 },
            ..uslp::UslpHeader::default()
        };
        // Two packets of 47 bytes, or three by turns.
        let zone = packet.repeat(if length.is_none() { 2 + n as usize % 2 } else { 2 });
        let content = uslp::Content {
            rule: uslp::Rule::Unsegmented,
            upid: uslp::UPID_PACKETS,
            insert_zone: &[],
            zone: &zone,
            ocf: None,
            fecf: uslp::Fecf::Crc32,
        };
        uslp::build(&header, &content).unwrap()
    };
    let fixed = unified(0, Some(0)).len();
    for length in [None, Some(fixed)] {
        let stream: Vec<u8> = (0..12).flat_map(|n| unified(n, length)).collect();
        let best = guess(&stream, None).remove(0);
        let config = uslp::UslpConfig { fecf: uslp::Fecf::Crc32, ..uslp::UslpConfig::new(length) };
        assert_eq!(best.frames, Some(FrameConfig::Uslp(config)), "{:?}", best.evidence);
    }
}

#[test]
fn command_units_are_told() {
    use crate::frame::cltu::{self, ldpc::LdpcUnits};
    use crate::frame::tc;
    use crate::sync::randomizer::{Randomizer, Sequence};
    let randomizer = Randomizer::new(Sequence::Telecommand, 256);
    for coding in CltuCoding::ALL {
        let mut stream = alloc::vec![0x55; 20];
        for n in 0..6u8 {
            let header = tc::TcHeader { kind: tc::TcType::Bd, scid: 123, vcid: 1, count: 0 };
            let data: Vec<u8> = (0..30 + n).map(|byte| byte ^ n).collect();
            let frame = tc::build(&header, None, &data, true).unwrap();
            stream.extend(match coding {
                CltuCoding::Bch { randomized } => {
                    cltu::encode(&frame, randomized.then_some(&randomizer)).unwrap()
                }
                CltuCoding::Ldpc(code) => LdpcUnits::new(code).encode(&frame, true).unwrap(),
            });
            stream.extend([0x55; 7]);
        }
        let best = guess(&stream, None).remove(0);
        assert_eq!(best.framing, Framing::Cltus(coding));
        assert!(best.evidence.iter().any(|one| one.what.contains("CRC-16") && one.fits == 6));
    }
}
