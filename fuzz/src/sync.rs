//! Streams of bits to blocks and frames.

use crate::input::{Input, pieces};
use codecs::frame::cadu::{CaduDecoder, CaduEncoder, Coding, Frame};
use codecs::sync::marker::{Event, Marker, MarkerConfig, SyncCounts, Synchronizer};

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
    chunks: impl Iterator<Item = &'a [u8]>,
) -> Vec<Frame> {
    let mut decoder = CaduDecoder::new(coding, frame_bytes, marker).expect("checked before");
    let mut frames = Vec::new();
    let mut sink = |frame| frames.push(frame);
    chunks.for_each(|chunk| decoder.push(chunk, &mut sink));
    decoder.finish(&mut sink);
    let counts = decoder.counts();
    let sum = |of: fn(&Frame) -> u64| frames.iter().map(of).sum::<u64>();
    assert_eq!(counts.sync.blocks, frames.len() as u64);
    assert_eq!(counts.codewords, sum(|frame| frame.quality.codewords.outcomes().len() as u64));
    assert_eq!(counts.corrected_symbols, sum(|frame| frame.quality.codewords.corrected().into()));
    assert_eq!(counts.failed_frames, sum(|frame| u64::from(!frame.quality.is_good())));
    assert!(frames.iter().all(|frame| frame.bytes.len() == frame_bytes));
    frames
}

/// Units of every coding: what was encoded comes back, and damage changes nothing about the count
/// of bytes and codewords.
pub fn cadu(data: &[u8]) {
    let mut input = Input(data);
    let Ok(coding) = input.choose(&CODINGS).parse::<Coding>() else { return };
    let marker = marker_of(&mut input);
    let interleave = coding.reed_solomon.map_or(1, |code| code.interleave);
    let frame_bytes = interleave * (1 + usize::from(input.byte()));
    let (cut, harms) = (input.byte(), usize::from(input.byte() & 7));
    let Ok(encoder) = CaduEncoder::new(&coding, frame_bytes, marker) else {
        assert!(CaduDecoder::new(&coding, frame_bytes, marker).is_err());
        return;
    };
    let harms: Vec<_> = (0..harms).map(|_| (input.word(), input.byte())).collect();
    let raw = decode(&coding, frame_bytes, marker, pieces(input.0, cut));
    assert_eq!(raw, decode(&coding, frame_bytes, marker, std::iter::once(input.0)));

    let sent: Vec<Vec<u8>> = (0..4)
        .map(|_| {
            let mut frame = input.take(frame_bytes).to_vec();
            frame.resize(frame_bytes, 0);
            frame
        })
        .collect();
    let mut stream = Vec::new();
    sent.iter().for_each(|frame| encoder.push(frame, &mut stream).expect("a frame"));
    let frames = decode(&coding, frame_bytes, marker, pieces(&stream, cut));
    assert!(frames.iter().map(|frame| &frame.bytes).eq(&sent), "frames come back");
    if harms.is_empty() {
        return;
    }
    for (place, change) in harms {
        let length = stream.len();
        stream[usize::from(place) % length] ^= change;
    }
    decode(&coding, frame_bytes, marker, pieces(&stream, cut));
}
