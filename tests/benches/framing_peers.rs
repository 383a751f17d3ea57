//! Framing beside other libraries, on the same bytes in one run, on one core.
//!
//! `cargo bench -p tests --bench framing_peers [-- --json]` prints `what | ours | peer | ratio`,
//! or one JSON document. Each figure is the best of many rounds by the wall clock: of several
//! processes that share the machine, the one that is not disturbed.

use codecs::fec::reed_solomon::{Block, Code};
use codecs::frame::aos::{AosBuilder, AosConfig};
use codecs::frame::cadu::{CaduDecoder, CaduEncoder, Coding, Frame};
use codecs::frame::extract::{Event, Extractor, FrameConfig};
use codecs::ids::Apid;
use codecs::packet::space::{PacketHeader, SequenceCount, build};
use codecs::sync::marker::Marker;
use serde_json::json;
use std::time::{Duration, Instant};

const FRAME_BYTES: usize = 892;
const STREAM_BYTES: usize = 24 << 20;
const CHUNK_BYTES: usize = 1 << 20;
const CODEWORDS: usize = 1024;
const ROUNDS_FOR: Duration = Duration::from_secs(1);

/// Reproducible noise.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 11) as usize % bound
    }
}

struct Row {
    what: String,
    ours: f64,
    peers: Vec<(&'static str, f64)>,
}

/// Megabytes a second of the best round.
fn rate(bytes: usize, mut round: impl FnMut()) -> f64 {
    round();
    let (start, mut best) = (Instant::now(), f64::MAX);
    while start.elapsed() < ROUNDS_FOR {
        let round_start = Instant::now();
        round();
        best = best.min(round_start.elapsed().as_secs_f64());
    }
    bytes as f64 / best / 1e6
}

/// Single codewords with so many wrong symbols each.
fn codewords(block: &Block, errors: usize, noise: &mut Noise) -> Vec<Vec<u8>> {
    let word = |_| {
        let mut word: Vec<u8> = (0..block.bytes()).map(|_| noise.next() as u8).collect();
        block.encode(&mut word).expect("a block");
        let first = noise.below(255);
        for n in 0..errors {
            word[(first + 13 * n) % 255] ^= 0x5A;
        }
        word
    };
    (0..CODEWORDS).map(word).collect()
}

fn reed_solomon(rows: &mut Vec<Row>) {
    let block = Block::new(Code::ALL[0], 1, 0).expect("a block");
    let (mut noise, mut peer) = (Noise(1), fec::reed_solomon::Decoder::new_ccsds());
    for errors in [0, 1, 8, 16] {
        let words = codewords(&block, errors, &mut noise);
        let bytes = words.len() * block.bytes();
        let mut scratch = words.clone();
        let ours = rate(bytes, || {
            for (scratch, word) in scratch.iter_mut().zip(&words) {
                scratch.copy_from_slice(word);
                assert_eq!(block.decode(scratch).expect("a block").failed(), 0);
            }
        });
        let mut message = vec![0; block.frame_bytes()];
        let theirs = rate(bytes, || {
            for word in &words {
                peer.decode_ccsds_dual(word, &mut message).expect("correctable");
            }
        });
        let what = format!("RS(255,223) decode, {errors} errors a codeword");
        rows.push(Row { what, ours, peers: vec![("fec", theirs)] });
    }
    let block = Block::new(Code::ALL[0], 4, 0).expect("a block");
    let words = codewords(&block, 0, &mut noise);
    let bytes = words.len() * block.bytes();
    let check = |block: &Block| rate(bytes, || assert!(words.iter().all(|word| block.holds(word))));
    let what = format!("RS(255,223) I=4 check, {}", block.kernel());
    rows.push(Row { what, ours: check(&block), peers: Vec::new() });
    let what = "RS(255,223) I=4 check, portable".to_owned();
    rows.push(Row { what, ours: check(&block.portable()), peers: Vec::new() });
}

/// Marked, randomised, coded units full of packets of a mean of 86 bytes.
fn units(coding: &Coding, noise: &mut Noise) -> Vec<u8> {
    let encoder = CaduEncoder::new(coding, FRAME_BYTES, Marker::TELEMETRY).expect("a coding");
    let config = AosConfig::new(FRAME_BYTES);
    let mut builder = AosBuilder::new(config, 71, 0, 0).expect("a channel");
    let mut stream = Vec::new();
    while stream.len() < STREAM_BYTES {
        let data: Vec<u8> = (0..40 + noise.below(80)).map(|_| noise.next() as u8).collect();
        let header = PacketHeader::telemetry(Apid(100), SequenceCount(0));
        let packet = build(&header, &data).expect("a packet");
        let mut sink = |frame: bytes::Bytes| encoder.push(&frame, &mut stream).expect("a frame");
        builder.push(&packet, &mut sink).expect("a packet");
    }
    stream
}

fn packets(coding: &Coding, stream: &[u8]) -> u64 {
    let mut decoder = CaduDecoder::new(coding, FRAME_BYTES, Marker::TELEMETRY).expect("a coding");
    let mut extractor = Extractor::new(FrameConfig::Aos(AosConfig::new(FRAME_BYTES)));
    let mut packets = 0;
    let mut take = |frame: Frame| {
        assert!(frame.quality.is_good());
        extractor.push(&frame.bytes, &mut |event| {
            packets += u64::from(matches!(event, Event::Packet { .. }));
        });
    };
    for chunk in stream.chunks(CHUNK_BYTES) {
        decoder.push(chunk, &mut take);
    }
    decoder.finish(&mut take);
    packets
}

fn whole_path(rows: &mut Vec<Row>) {
    let coding: Coding = "rs:223:i4:dual,randomized:255".parse().expect("a coding");
    let mut noise = Noise(2);
    let mut stream = units(&coding, &mut noise);
    let clean = packets(&coding, &stream);
    let ours = rate(stream.len(), || assert_eq!(packets(&coding, &stream), clean));
    let what = "CADU (RS I=4, randomised) to packets, clean".to_owned();
    rows.push(Row { what, ours, peers: Vec::new() });
    for unit in stream.as_chunks_mut::<1024>().0 {
        for lane in (0..4).filter(|_| noise.below(10) == 0).collect::<Vec<_>>() {
            let (first, errors) = (noise.below(255), 1 + noise.below(8));
            for n in 0..errors {
                unit[4 + 4 * ((first + 29 * n) % 255) + lane] ^= 0x5A;
            }
        }
    }
    let ours = rate(stream.len(), || assert_eq!(packets(&coding, &stream), clean));
    let what = "the same, one codeword in ten with 1 to 8 errors".to_owned();
    rows.push(Row { what, ours, peers: Vec::new() });
}

fn main() {
    let mut rows = Vec::new();
    reed_solomon(&mut rows);
    whole_path(&mut rows);
    if std::env::args().any(|argument| argument == "--json") {
        let row = |row: &Row| {
            let best = row.peers.iter().map(|peer| peer.1).reduce(f64::max);
            let peers: serde_json::Map<_, _> =
                row.peers.iter().map(|(name, rate)| ((*name).to_owned(), json!(rate))).collect();
            let ratio = best.map(|best| row.ours / best);
            json!({
                "what": row.what, "unit": "MB/s", "ours": row.ours, "peers": peers, "ratio": ratio,
            })
        };
        println!("{}", json!({ "rows": rows.iter().map(row).collect::<Vec<_>>() }));
        return;
    }
    println!("what | ours, MB/s | peer, MB/s | ratio");
    for Row { what, ours, peers } in rows {
        let best = peers.into_iter().reduce(|a, b| if a.1 > b.1 { a } else { b });
        match best {
            Some((name, rate)) => {
                println!("{what} | {ours:.0} | {name} {rate:.1} | {:.0}", ours / rate)
            }
            None => println!("{what} | {ours:.0} | - | -"),
        }
    }
}
