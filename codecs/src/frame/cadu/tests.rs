//! Units there and back, with what goes wrong between; recorded ones stand in the tests crate.

use super::*;
use crate::fec::reed_solomon::Outcome;
use alloc::{string::ToString, vec};
use proptest::prelude::*;

const CODINGS: [&str; 8] = [
    "none",
    "randomized:255",
    "randomized:131071",
    "rs:223:i1:dual",
    "rs:223:i4:dual,randomized",
    "rs:223:i5:dual,randomized:255",
    "rs:239:i8:conventional,randomized:131071",
    "rs:239:i3:dual,randomized:tc",
];

fn frames(count: usize, length: usize) -> Vec<Vec<u8>> {
    let byte = |frame: usize, byte: usize| ((frame * 7919 + byte * byte * 31) >> 3) as u8;
    (0..count).map(|frame| (0..length).map(|n| byte(frame, n)).collect()).collect()
}

fn encoded(coding: &Coding, frames: &[Vec<u8>]) -> Vec<u8> {
    let encoder = CaduEncoder::new(coding, frames[0].len(), Marker::TELEMETRY).unwrap();
    let mut stream = Vec::new();
    for frame in frames {
        encoder.push(frame, &mut stream).unwrap();
    }
    stream
}

fn decoded(
    coding: &Coding,
    length: usize,
    stream: &[u8],
    chunk: usize,
) -> (Vec<Frame>, CaduCounts) {
    let mut decoder = CaduDecoder::new(coding, length, Marker::TELEMETRY).unwrap();
    let mut frames = Vec::new();
    for chunk in stream.chunks(chunk) {
        decoder.push(chunk, &mut |frame| frames.push(frame));
    }
    decoder.finish(&mut |frame| frames.push(frame));
    (frames, decoder.counts())
}

fn coding(text: &str) -> Coding {
    text.parse().unwrap()
}

#[test]
fn texts_round_trip() {
    for text in CODINGS {
        assert_eq!(coding(text).to_string(), text);
    }
    assert_eq!(coding("randomized, rs:223:i4:dual").to_string(), CODINGS[4]);
    for text in [
        "",
        "rs",
        "rs:223",
        "rs:223:i4",
        "rs:224:i4:dual",
        "rs:223:4:dual",
        "rs:223:i6:dual",
        "rs:223:i4:dual:",
        "rs:223:i4:dual,",
        "rs:223:i4:dual,rs:223:i4:dual",
        "rs:223:i4:dual,none",
        "randomized:7,randomized",
        "randomized:255,randomized",
    ] {
        assert_eq!(text.parse::<Coding>(), Err(CodingError::Shape), "{text}");
    }
    assert_eq!("randomized".parse::<Coding>(), Err(CodingError::Sequence));
}

#[test]
fn frames_come_back_through_every_coding() {
    for text in CODINGS {
        let coding = coding(text);
        let sent = frames(6, 120);
        let stream = encoded(&coding, &sent);
        for chunk in [usize::MAX, 1, 100] {
            let (received, counts) = decoded(&coding, 120, &stream, chunk);
            assert!(received.iter().map(|frame| &frame.bytes).eq(&sent), "{text}");
            assert!(received.iter().all(|frame| frame.quality.is_good()));
            assert_eq!((counts.sync.blocks, counts.failed_frames), (6, 0));
        }
    }
}

#[test]
fn the_sequence_in_use_is_found() {
    let open = coding("rs:223:i2:dual,randomized");
    for sequence in [Sequence::Long, Sequence::Legacy] {
        let sent = frames(5, 446);
        let mut coding = open;
        coding.randomized = Randomized::With(sequence);
        let mut stream = encoded(&coding, &sent);
        // The first block is beyond help: the second decides.
        stream[4..200].fill(0x55);
        let mut decoder = CaduDecoder::new(&open, 446, Marker::TELEMETRY).unwrap();
        assert_eq!(decoder.sequence(), None);
        let mut good = Vec::new();
        decoder.push(&stream, &mut |frame| good.push(frame.quality.is_good()));
        assert_eq!(
            (good, decoder.sequence()),
            (vec![false, true, true, true, true], Some(sequence))
        );
    }
}

#[test]
fn sixteen_wrong_symbols_a_codeword_and_no_more() {
    let coding = coding("rs:223:i4:dual,randomized:255");
    let sent = frames(3, 892);
    let clean = encoded(&coding, &sent);
    for (burst, corrected) in [(64, true), (65, false)] {
        let mut stream = clean.clone();
        // A burst in the second block is shared by its four codewords.
        stream[1024 + 100..][..burst].iter_mut().for_each(|byte| *byte = !*byte);
        let (received, counts) = decoded(&coding, 892, &stream, usize::MAX);
        let quality = received[1].quality;
        assert_eq!(quality.is_good(), corrected);
        let full = Outcome::Corrected(16);
        match corrected {
            true => assert_eq!(quality.codewords.outcomes(), [full; 4]),
            false => assert_eq!(quality.codewords.outcomes(), [Outcome::Failed, full, full, full]),
        }
        assert_eq!(received[1].bytes == sent[1], corrected);
        assert_eq!(received[2].bytes, sent[2]);
        assert_eq!((counts.codewords, counts.failed_frames), (12, u64::from(!corrected)));
        assert_eq!(counts.corrected_symbols, if corrected { 64 } else { 48 });
    }
}

#[test]
fn frames_that_the_code_does_not_carry_are_refused() {
    let refused = |text: &str, length| {
        CaduDecoder::new(&coding(text), length, Marker::TELEMETRY).unwrap_err()
    };
    let error = CaduError::Frame { frame_bytes: 1113, interleave: 4, most: 892 };
    assert_eq!(refused("rs:223:i4:dual", 1113), error);
    let error = CaduError::Frame { frame_bytes: 890, interleave: 4, most: 892 };
    assert_eq!(refused("rs:223:i4:dual", 890), error);
    assert_eq!(refused("none", 0), CaduError::FrameBytes(0));
    let encoder = CaduEncoder::new(&Coding::NONE, 10, Marker::TELEMETRY).unwrap();
    assert_eq!(encoder.push(&[0; 9], &mut Vec::new()), Err(CaduError::FrameBytes(9)));
}

proptest! {
    #[test]
    fn what_is_called_good_is_what_was_sent(
        text in prop::sample::select(&CODINGS[3..]),
        errors in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 0..120),
        bits in 0u32..8,
        chunk in 1usize..3000,
    ) {
        let coding = coding(text);
        let sent = frames(6, 360 / coding.reed_solomon.unwrap().interleave
            * coding.reed_solomon.unwrap().interleave);
        prop_assume!(coding.block(sent[0].len()).is_ok());
        let mut stream = encoded(&coding, &sent);
        for (at, error) in errors {
            let at = at.index(stream.len());
            stream[at] ^= error;
        }
        // Any alignment.
        let mut carry = 0u8;
        for byte in &mut stream {
            let pair = u16::from(*byte) << (8 - bits);
            *byte = carry | (pair >> 8) as u8;
            carry = pair as u8;
        }
        stream.push(carry);
        let (received, _) = decoded(&coding, sent[0].len(), &stream, chunk);
        for frame in received.iter().filter(|frame| frame.quality.is_good()) {
            prop_assert!(sent.iter().any(|sent| *sent == frame.bytes));
        }
    }
}
