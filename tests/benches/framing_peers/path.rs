//! The whole path: marked, randomised, coded units to packets whose CRC is checked.

use crate::figures::{Noise, Table, by};
use bytes::Bytes;
use ccsds::framing::{
    DefaultDerandomizer, DefaultReedSolomon, FrameDecoder, decode_framed_packets,
    read_synchronized_blocks,
};
use codecs::fec::crc::{crc16, crc16_holds};
use codecs::fec::kernels;
use codecs::frame::aos::{AosBuilder, AosConfig};
use codecs::frame::cadu::{CaduDecoder, CaduEncoder, Coding, Frame};
use codecs::frame::extract::{Event, Extractor, FrameConfig};
use codecs::ids::Apid;
use codecs::packet::space::{PacketHeader, SequenceCount, build};
use codecs::sync::marker::Marker;
use std::io::Cursor;

const FRAME_BYTES: usize = 892;
const BLOCK_BYTES: usize = 1020;
const STREAM_BYTES: usize = 12 << 20;
const CHUNK_BYTES: usize = 1 << 20;

/// Units full of packets of a mean of 86 bytes, each with a CRC-16 at its end.
fn units(coding: &Coding, noise: &mut Noise) -> Vec<u8> {
    let mut encoder = CaduEncoder::new(coding, FRAME_BYTES, Marker::TELEMETRY).expect("a coding");
    let config = AosConfig::new(FRAME_BYTES);
    let mut builder = AosBuilder::new(config, 71, 0, 0).expect("a channel");
    let mut stream = Vec::new();
    while stream.len() < STREAM_BYTES {
        let length = 40 + noise.below(80);
        let data = noise.bytes(length);
        let header = PacketHeader::telemetry(Apid(100), SequenceCount(0));
        let mut packet = build(&header, &data).expect("a packet").to_vec();
        let end = packet.len() - 2;
        let check = crc16(&packet[..end]).to_be_bytes();
        packet[end..].copy_from_slice(&check);
        let mut sink = |frame: Bytes| encoder.push(&frame, &mut stream).expect("a frame");
        builder.push(&packet, &mut sink).expect("a packet");
    }
    stream
}

/// One codeword in ten with 1 to 8 wrong symbols.
fn damage(stream: &mut [u8], noise: &mut Noise) {
    for unit in stream.as_chunks_mut::<1024>().0 {
        for lane in 0..4 {
            if noise.below(10) != 0 {
                continue;
            }
            let (first, errors) = (noise.below(255), 1 + noise.below(8));
            for n in 0..errors {
                unit[4 + 4 * ((first + 29 * n) % 255) + lane] ^= 0x5A;
            }
        }
    }
}

fn ours(decoder: CaduDecoder, holds: fn(&[u8]) -> bool, stream: &[u8]) -> u64 {
    let mut decoder = decoder;
    let mut extractor = Extractor::new(FrameConfig::Aos(AosConfig::new(FRAME_BYTES)));
    let mut packets = 0;
    let mut take = |frame: Frame| {
        extractor.push(&frame.bytes, &mut |event| {
            if let Event::Packet { bytes, .. } = event {
                packets += u64::from(holds(&bytes));
            }
        });
    };
    for chunk in stream.chunks(CHUNK_BYTES) {
        decoder.push(chunk, &mut take);
    }
    decoder.finish(&mut take);
    packets
}

fn by_ccsds(stream: &Bytes) -> u64 {
    let blocks = read_synchronized_blocks(Cursor::new(stream.clone()), BLOCK_BYTES);
    let frames = FrameDecoder::new()
        .with_derandomization(Box::new(DefaultDerandomizer))
        .with_integrity(Box::new(DefaultReedSolomon::new(4)))
        .with_integrity_threads(1)
        .decode(blocks.filter_map(Result::ok));
    // It checks no packet's CRC by itself: it gets ours.
    decode_framed_packets(frames.filter_map(Result::ok), 0, 0)
        .map(|decoded| u64::from(crc16_holds(&decoded.packet.data)))
        .sum()
}

/// A packet's check without wide registers.
fn portable_crc(packet: &[u8]) -> bool {
    kernels::crc::Kernel::PORTABLE.crc16(packet) == 0
}

pub fn measure(table: &mut Table) {
    let coding: Coding = "rs:223:i4:dual,randomized:255".parse().expect("a coding");
    let mut noise = Noise(2);
    let mut stream = units(&coding, &mut noise);
    let decoder = || CaduDecoder::new(&coding, FRAME_BYTES, Marker::TELEMETRY).expect("a coding");
    let sent = ours(decoder(), crc16_holds, &stream);
    let mut row = |what, stream: &[u8]| {
        let copy = Bytes::copy_from_slice(stream);
        let peer = move || {
            let packets = by_ccsds(&copy);
            // What its last frames hold it may leave, and nothing else.
            assert!(packets <= sent && packets + 300 > sent, "ccsds finds {packets} of {sent}");
        };
        let portable = || assert_eq!(ours(decoder().portable(), portable_crc, stream), sent);
        let work = (stream.len() as f64 / 1e6, "MB/s");
        table.row(format!("{what}, portable"), work, portable, Vec::new());
        let ours = || assert_eq!(ours(decoder(), crc16_holds, stream), sent);
        table.row(what, (stream.len() as f64 / 1e6, "MB/s"), ours, vec![by("ccsds", peer)]);
    };
    row("CADU (RS I=4, randomised) to packets with packet CRC, clean", &stream);
    damage(&mut stream, &mut noise);
    row("same, one codeword in ten with 1-8 errors", &stream);
}
