//! Streams of bits to blocks and frames.

use crate::input::{Input, pieces};
use codecs::frame::cadu::{BlockCode, CaduDecoder, CaduEncoder, Coding, Frame, Symbols};
use codecs::frame::{Framing, guess};
use codecs::sync::marker::{Event, Marker, MarkerConfig, SyncCounts, Synchronizer};
use std::cell::RefCell;
use std::collections::BTreeMap;

const MARKERS: [&str; 6] = ["1ACFFC1D", "352EF853", "EB90", "FFFF", "034776C7272895B0", "AAAAAA"];

fn marker_of(input: &mut Input<'_>) -> Marker {
    input.choose(&MARKERS).parse().expect("a marker")
}

/// An event without the buffer that it borrows from.
#[derive(Debug, PartialEq)]
enum Seen {
    Acquired(u64),
    Block { at_bit: u64, inverted: bool, marker_errors: u32, bytes: Vec<u8> },
    Slipped(i32),
    Inverted,
    Lost(u64),
}

fn synchronize<'a>(
    config: &MarkerConfig,
    chunks: impl Iterator<Item = &'a [u8]>,
) -> Option<(Vec<Seen>, SyncCounts)> {
    let mut synchronizer = Synchronizer::new(config.clone()).ok()?;
    let mut seen = Vec::new();
    let mut sink = |event: Event<'_>| {
        seen.push(match event {
            Event::Acquired { at_bit } => Seen::Acquired(at_bit),
            Event::Block(found) => {
                let mut bytes = vec![0; found.length()];
                found.copy_to(&mut bytes);
                let (at_bit, inverted, errors) =
                    (found.at_bit, found.inverted, found.marker_errors);
                Seen::Block { at_bit, inverted, marker_errors: errors, bytes }
            }
            Event::Slipped { bits } => Seen::Slipped(bits),
            Event::Inverted => Seen::Inverted,
            Event::Lost { at_bit } => Seen::Lost(at_bit),
        });
    };
    chunks.for_each(|chunk| synchronizer.push(chunk, &mut sink));
    synchronizer.finish(&mut sink);
    let counts = *synchronizer.counts();
    Some((seen, counts))
}

/// Eight bits from anywhere in a stream; `None` past its end.
fn byte_at(stream: &[u8], bit: u64) -> Option<u8> {
    let (byte, shift) = ((bit / 8) as usize, bit % 8);
    let pair = u16::from_be_bytes([*stream.get(byte)?, stream.get(byte + 1).map_or(0, |b| *b)]);
    (shift == 0 || byte + 1 < stream.len()).then_some((pair << shift >> 8) as u8)
}

/// The synchronizer: the same events however the stream is cut, and every block the stream's bits.
pub fn marker(data: &[u8]) {
    let mut input = Input(data);
    let marker = marker_of(&mut input);
    let mut config = MarkerConfig::new(marker, usize::from(input.byte()));
    let bounds = input.byte();
    config.search_errors = u32::from(bounds & 3);
    config.locked_errors = u32::from(bounds >> 2 & 7);
    config.flywheel = u32::from(bounds >> 5);
    config.slip_bits = u32::from(input.byte() % 10);
    let cut = input.byte();
    let stream = input.rest();
    let whole = synchronize(&config, std::iter::once(stream));
    assert_eq!(whole, synchronize(&config, pieces(stream, cut)), "events depend on the chunks");
    let Some((seen, counts)) = whole else { return };
    let mut blocks = 0;
    let mut next = 0;
    for event in &seen {
        let Seen::Block { at_bit, inverted, bytes, .. } = event else { continue };
        blocks += 1;
        assert!(*at_bit >= next, "blocks run backwards");
        next = at_bit + 1;
        assert_eq!(bytes.len(), config.block_bytes);
        for (place, byte) in (0u64..).zip(bytes) {
            let sent = byte_at(stream, at_bit + u64::from(marker.bits()) + 8 * place);
            let sent = sent.expect("a block lies in the stream");
            assert_eq!(*byte, if *inverted { !sent } else { sent });
        }
    }
    assert_eq!(counts.blocks, blocks);
    assert!(counts.skipped_bits <= 8 * stream.len() as u64);
}

const CODINGS: [&str; 14] = [
    "none",
    "randomized:131071",
    "randomized:255",
    "randomized:tc",
    "rs:223:i1:dual",
    "rs:223:i5:dual,randomized:255",
    "rs:223:i4:conventional,randomized",
    "rs:223:i2:conventional",
    "rs:239:i1:dual,randomized:131071",
    "rs:239:i3:dual",
    "rs:239:i8:dual,randomized",
    "rs:239:i1:conventional",
    "rs:223:i3:dual,randomized",
    "rs:223:i8:dual",
];

fn decode<'a>(
    coding: &Coding,
    frame_bytes: usize,
    marker: Marker,
    form: Symbols,
    chunks: impl Iterator<Item = &'a [u8]>,
) -> Vec<Frame> {
    let mut decoder = CaduDecoder::new(coding, frame_bytes, marker).expect("checked before");
    let mut frames = Vec::new();
    let mut sink = |frame| frames.push(frame);
    chunks.for_each(|chunk| decoder.push_symbols(form, chunk, &mut sink));
    decoder.finish(&mut sink);
    let counts = decoder.counts();
    let sum = |of: fn(&Frame) -> u64| frames.iter().map(of).sum::<u64>();
    assert_eq!(counts.sync.blocks, frames.len() as u64);
    let words = sum(|frame| {
        let quality = &frame.quality;
        quality.codewords.outcomes().len() as u64 + u64::from(quality.ldpc.is_some())
    });
    assert_eq!(counts.codewords, words);
    assert_eq!(counts.corrected_symbols, sum(|frame| frame.quality.codewords.corrected().into()));
    assert_eq!(counts.failed_frames, sum(|frame| u64::from(!frame.quality.is_good())));
    assert!(frames.iter().all(|frame| frame.bytes.len() == frame_bytes));
    frames
}

/// Units of uncoded and Reed-Solomon coded frames: what was encoded comes back, and damage changes
/// nothing about the count of bytes and codewords.
pub fn cadu(data: &[u8]) {
    let mut input = Input(data);
    let Ok(coding) = input.choose(&CODINGS).parse::<Coding>() else { return };
    let marker = marker_of(&mut input);
    let interleave = match coding.block {
        BlockCode::ReedSolomon(code) => code.interleave,
        _ => 1,
    };
    let frame_bytes = interleave * (1 + usize::from(input.byte()));
    let (cut, harms) = (input.byte(), usize::from(input.byte() & 7));
    let Ok(mut encoder) = CaduEncoder::new(&coding, frame_bytes, marker) else {
        assert!(CaduDecoder::new(&coding, frame_bytes, marker).is_err());
        return;
    };
    let harms: Vec<_> = (0..harms).map(|_| (input.word(), input.byte())).collect();
    let read = |stream: &[u8], cut: u8| {
        decode(&coding, frame_bytes, marker, Symbols::Packed, pieces(stream, cut))
    };
    assert_eq!(
        read(input.0, cut),
        read(input.0, cut.wrapping_add(3)),
        "frames depend on the chunks"
    );

    let sent: Vec<Vec<u8>> = (0..4)
        .map(|_| {
            let mut frame = input.take(frame_bytes).to_vec();
            frame.resize(frame_bytes, 0);
            frame
        })
        .collect();
    let mut stream = Vec::new();
    sent.iter().for_each(|frame| encoder.push(frame, &mut stream).expect("a frame"));
    let frames = read(&stream, cut);
    assert!(frames.iter().map(|frame| &frame.bytes).eq(&sent), "frames come back");
    if harms.is_empty() {
        return;
    }
    for (place, change) in harms {
        let length = stream.len();
        stream[usize::from(place) % length] ^= change;
    }
    read(&stream, cut);
}

/// Codings whose symbols are decided before a marker is seen, or for it.
const SYMBOL_CODINGS: [&str; 8] = [
    "conv:1/2",
    "conv:1/2:any,rs:223:i1:dual,randomized",
    "conv:3/4,randomized:255",
    "conv:7/8:any",
    "ldpc:1/2:1024",
    "ldpc:4/5:1024,randomized",
    "ldpc:2/3:1024,randomized:255",
    "ldpc:c2,randomized:131071",
];

thread_local! {
    /// Made once: a generator matrix takes longer than a thousand short inputs.
    static ENCODERS: RefCell<BTreeMap<usize, CaduEncoder>> = const { RefCell::new(BTreeMap::new()) };
}

/// Streams of symbols in every form: the same frames however they are cut, and clean LDPC words
/// come back.
pub fn symbols(data: &[u8]) {
    let mut input = Input(data);
    let place = usize::from(input.byte()) % SYMBOL_CODINGS.len();
    let Ok(coding) = SYMBOL_CODINGS[place].parse::<Coding>() else { return };
    let form = input.choose(&[Symbols::Packed, Symbols::Bits, Symbols::Soft]);
    let (cut, mode) = (input.byte(), input.byte());
    let frame_bytes = match coding.block {
        BlockCode::Ldpc(code) => code.info_bits() / 8,
        _ => 64,
    };
    let marker = coding.marker();
    let read = |form: Symbols, stream: &[u8], cut: u8| {
        decode(&coding, frame_bytes, marker, form, pieces(stream, cut))
    };
    if mode & 1 == 0 {
        let stream = input.rest();
        assert_eq!(read(form, stream, cut), read(form, stream, cut.wrapping_add(3)));
        return;
    }
    // Enough for the convolutional code to lock, made of what little the fuzzer gives.
    let count = if coding.convolutional.is_some() { 20 } else { 2 };
    let seed = input.take(64);
    let mut state = mode;
    let sent: Vec<Vec<u8>> = (0..count)
        .map(|_| {
            let bytes = (0..frame_bytes).map(|place| {
                state = state.wrapping_mul(29).wrapping_add(place as u8 | 1);
                seed.get(place).copied().unwrap_or(0) ^ state
            });
            bytes.collect()
        })
        .collect();
    let mut packed = Vec::new();
    ENCODERS.with_borrow_mut(|encoders| {
        let encoder = encoders.entry(place).or_insert_with(|| {
            CaduEncoder::new(&coding, frame_bytes, marker).expect("a length that fits")
        });
        sent.iter().for_each(|frame| encoder.push(frame, &mut packed).expect("a frame"));
        encoder.finish(&mut packed);
    });
    let harmed = !input.0.is_empty();
    while !input.0.is_empty() {
        let place = usize::from(input.word()) % packed.len();
        packed[place] ^= input.byte();
    }
    let bits = packed.iter().flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1));
    let stream: Vec<u8> = match form {
        Symbols::Packed => packed.clone(),
        Symbols::Bits => bits.collect(),
        Symbols::Soft => bits.map(|bit| if bit == 0 { 24 } else { 24u8.wrapping_neg() }).collect(),
    };
    let found = read(form, &stream, cut);
    if !harmed && matches!(coding.block, BlockCode::Ldpc(_)) {
        assert!(found.iter().map(|frame| &frame.bytes).eq(&sent), "clean words come back");
        assert!(found.iter().all(|frame| frame.quality.is_good()));
    }
}

/// Guessing what a recording is: evidence that counts, and readings that can be read.
pub fn guess(data: &[u8]) {
    for found in guess::guess(data, None) {
        assert!(found.evidence.iter().all(|one| one.fits <= one.of));
        if let Framing::Cadus { marker, coding } = found.framing {
            assert_eq!(coding.to_string().parse(), Ok(coding));
            let decoder = CaduDecoder::new(&coding, found.frame_bytes.max(1), marker);
            assert!(found.frame_bytes == 0 || decoder.is_ok());
        }
    }
}
