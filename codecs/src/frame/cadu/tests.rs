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

/// Codings whose streams are not whole bytes, or whose frames have one length only.
const INNER: [(&str, usize); 12] = [
    ("nrzm,rs:223:i1:dual,randomized:255", 223),
    ("conv:1/2,nrzm,rs:223:i4:dual,randomized:255", 892),
    ("nrzm,ldpc:1/2:1024", 128),
    ("conv:1/2", 120),
    ("conv:1/2:plain:swapped,randomized:255", 120),
    ("conv:7/8,rs:223:i4:dual,randomized:131071", 892),
    ("conv:3/4:inverted,rs:239:i1:dual", 239),
    ("ldpc:c2,randomized:131071", 892),
    ("ldpc:1/2:1024", 128),
    ("ldpc:2/3:4096,randomized:255", 512),
    ("ldpc:4/5:1024,randomized", 128),
    ("conv:2/3:any,rs:223:i1:conventional,randomized", 223),
];

fn frames(count: usize, length: usize) -> Vec<Vec<u8>> {
    let byte = |frame: usize, byte: usize| ((frame * 7919 + byte * byte * 31) >> 3) as u8;
    (0..count).map(|frame| (0..length).map(|n| byte(frame, n)).collect()).collect()
}

fn encoded(coding: &Coding, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut encoder = CaduEncoder::new(coding, frames[0].len(), coding.marker()).unwrap();
    let mut stream = Vec::new();
    for frame in frames {
        encoder.push(frame, &mut stream).unwrap();
    }
    encoder.finish(&mut stream);
    stream
}

fn decoded(
    coding: &Coding,
    length: usize,
    stream: &[u8],
    chunk: usize,
) -> (Vec<Frame>, CaduCounts) {
    decoded_as(Symbols::Packed, coding, length, stream, chunk)
}

fn decoded_as(
    form: Symbols,
    coding: &Coding,
    length: usize,
    stream: &[u8],
    chunk: usize,
) -> (Vec<Frame>, CaduCounts) {
    let mut decoder = CaduDecoder::new(coding, length, coding.marker()).unwrap();
    let mut frames = Vec::new();
    for chunk in stream.chunks(chunk) {
        decoder.push_symbols(form, chunk, &mut |frame| frames.push(frame));
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
        assert!(matches!(text.parse::<Coding>(), Err(CodingError::Shape(_))), "{text}");
    }
    let second = "rs:223:i4:dual,randomised".parse::<Coding>();
    assert_eq!(second, Err(CodingError::Shape(2)));
    assert_eq!("randomized".parse::<Coding>(), Err(CodingError::Sequence));
    assert_eq!("conv:1/2,ldpc:c2".parse::<Coding>(), Err(CodingError::Concatenated));
    for text in ["conv:1/3", "conv:1/2:", "conv:3/4:swapped", "conv:1/2:any:plain", "ldpc:1/2"] {
        assert!(matches!(text.parse::<Coding>(), Err(CodingError::Shape(_))), "{text}");
    }
    for text in ["ldpc:1/2:2048", "ldpc:7/8:1024", "ldpc:c2:7136:1", "rs:223:i4:dual,ldpc:c2"] {
        assert!(matches!(text.parse::<Coding>(), Err(CodingError::Shape(_))), "{text}");
    }
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

/// One symbol a byte.
fn unpacked(stream: &[u8], symbol: impl Fn(bool) -> u8) -> Vec<u8> {
    let bits = stream.iter().flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1 == 1));
    bits.map(symbol).collect()
}

#[test]
fn frames_come_back_through_inner_codes_and_forms_of_symbols() {
    for (text, length) in INNER {
        let coding = coding(text);
        assert_eq!(coding.to_string(), text);
        // Enough of them for a convolutional decoder to find its place.
        let sent = frames(40_000_usize.div_ceil(8 * length).max(4), length);
        let stream = encoded(&coding, &sent);
        let bits = unpacked(&stream, u8::from);
        let soft = unpacked(&stream, |one| if one { -40i8 } else { 40 } as u8);
        let turned = unpacked(&stream, |one| if one { 3i8 } else { -3 } as u8);
        let forms = [
            (Symbols::Packed, stream),
            (Symbols::Bits, bits),
            (Symbols::Soft, soft),
            (Symbols::Soft, turned),
        ];
        for (form, stream) in forms {
            for chunk in [usize::MAX, 777] {
                let (received, counts) = decoded_as(form, &coding, length, &stream, chunk);
                let received: Vec<_> =
                    received.iter().filter(|one| one.quality.is_good()).collect();
                assert!(
                    received.iter().map(|one| &one.bytes).eq(&sent),
                    "{text}, {form}, {chunk}: {} of {}, {counts:?}",
                    received.len(),
                    sent.len()
                );
            }
        }
    }
}

#[test]
fn soft_symbols_carry_an_ldpc_code_through_noise_that_hard_bits_do_not_survive() {
    let coding = coding("ldpc:1/2:1024,randomized:255");
    let sent = frames(12, 128);
    let stream = encoded(&coding, &sent);
    let mut state = 1u64;
    let mut noise = move || {
        // The sum of a few uniform numbers is as good as normal.
        (0..8)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 58) as i32 - 32
            })
            .sum::<i32>()
    };
    let soft: Vec<u8> = unpacked(&stream, u8::from)
        .iter()
        .map(|bit| {
            let sent = if *bit == 1 { -64 } else { 64 };
            (sent + noise()).clamp(-127, 127) as i8 as u8
        })
        .collect();
    let hard: Vec<u8> = soft.iter().map(|symbol| u8::from((*symbol as i8) < 0)).collect();
    let good = |form, stream: &[u8]| {
        let mut config = MarkerConfig::new(coding.marker(), 0);
        (config.search_errors, config.locked_errors) = (12, 14);
        let mut decoder = CaduDecoder::with_marker(&coding, 128, config).unwrap();
        let mut good = Vec::new();
        let mut take = |frame: Frame| {
            if frame.quality.is_good() {
                good.push(frame.bytes);
            }
        };
        decoder.push_symbols(form, stream, &mut take);
        decoder.finish(&mut take);
        good
    };
    let (soft, hard) = (good(Symbols::Soft, &soft), good(Symbols::Bits, &hard));
    assert!(soft.iter().all(|frame| sent.iter().any(|sent| sent == frame)));
    assert!(soft.len() >= 10 && hard.len() < 4, "{} soft, {} hard", soft.len(), hard.len());
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
    let error = CaduError::Ldpc { frame_bytes: 890, carried: 892 };
    assert_eq!(refused("ldpc:c2", 890), error);
    assert_eq!(refused("none", 0), CaduError::FrameBytes(0));
    let mut encoder = CaduEncoder::new(&Coding::NONE, 10, Marker::TELEMETRY).unwrap();
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
        let BlockCode::ReedSolomon(ReedSolomon { interleave, .. }) = coding.block else {
            panic!("a block code")
        };
        let sent = frames(6, 360 / interleave * interleave);
        prop_assume!(coding.block_bytes(sent[0].len()).is_ok());
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
