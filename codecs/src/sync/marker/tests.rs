//! Each way in which a stream of marked blocks goes wrong.

use super::*;
use alloc::{string::ToString, vec};
use proptest::prelude::*;

const BLOCK: usize = 40;
const PERIOD: usize = BLOCK + 4;
const ASM: [u8; 4] = [0x1A, 0xCF, 0xFC, 0x1D];

/// A block that names itself and holds no marker.
fn block(n: usize) -> Vec<u8> {
    (0..BLOCK).map(|byte| (n * 31 + byte * 7) as u8 & 0x6F).collect()
}

fn stream(blocks: core::ops::Range<usize>) -> Vec<u8> {
    blocks.flat_map(|n| [ASM.to_vec(), block(n)].concat()).collect()
}

/// The same bits later by `bits`, filled with zeros.
fn shifted(bytes: &[u8], bits: u32) -> Vec<u8> {
    let mut out = vec![0; (bits / 8) as usize];
    let mut carry = 0;
    for byte in bytes {
        let pair = u16::from(*byte) << (8 - bits % 8);
        out.push(carry | (pair >> 8) as u8);
        carry = pair as u8;
    }
    out.push(carry);
    out
}

#[derive(Debug, Default, PartialEq)]
struct Heard {
    blocks: Vec<Vec<u8>>,
    places: Vec<u64>,
    talk: Vec<&'static str>,
    counts: SyncCounts,
}

fn hear(config: &MarkerConfig, bytes: &[u8], chunk: usize) -> Heard {
    let mut synchronizer = Synchronizer::new(config.clone()).unwrap();
    let mut heard = Heard::default();
    let mut take = |event: Event<'_>| match event {
        Event::Block(found) => {
            let mut block = vec![0; found.length()];
            found.copy_to(&mut block);
            heard.blocks.push(block);
            heard.places.push(found.at_bit);
        }
        Event::Acquired { .. } => heard.talk.push("acquired"),
        Event::Slipped { .. } => heard.talk.push("slipped"),
        Event::Inverted => heard.talk.push("inverted"),
        Event::Lost { .. } => heard.talk.push("lost"),
    };
    for chunk in bytes.chunks(chunk) {
        synchronizer.push(chunk, &mut take);
        assert!(synchronizer.held.len() <= 12 * PERIOD, "what is held is bounded");
    }
    synchronizer.finish(&mut take);
    heard.counts = *synchronizer.counts();
    heard
}

fn config() -> MarkerConfig {
    MarkerConfig::new(Marker::TELEMETRY, BLOCK)
}

fn blocks(numbers: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    numbers.into_iter().map(block).collect()
}

#[test]
fn all_shifts_and_both_polarities() {
    for bits in 0..24 {
        for inverted in [false, true] {
            let mut bytes = shifted(&stream(0..4), bits);
            if inverted {
                bytes.iter_mut().for_each(|byte| *byte = !*byte);
            }
            let heard = hear(&config(), &bytes, usize::MAX);
            assert_eq!(heard.blocks, blocks(0..4), "{bits} bits, inverted {inverted}");
            assert_eq!(heard.talk, ["acquired"]);
            assert_eq!(heard.places[0], u64::from(bits));
            assert_eq!(heard.counts.skipped_bits, u64::from(bits));
        }
    }
}

#[test]
fn damaged_markers_are_bridged() {
    let mut bytes = stream(0..8);
    bytes[2 * PERIOD] ^= 0x0F; // four wrong bits: tolerated where the marker must be
    bytes[4 * PERIOD..4 * PERIOD + 4].fill(0);
    bytes[5 * PERIOD..5 * PERIOD + 4].fill(0);
    let heard = hear(&config(), &bytes, usize::MAX);
    assert_eq!((heard.blocks, heard.talk), (blocks(0..8), vec!["acquired"]));
    assert_eq!((heard.counts.flywheel, heard.counts.marker_errors), (2, 4));
    // One more than the flywheel bridges: the blocks between are lost, those behind are not.
    bytes[6 * PERIOD..6 * PERIOD + 4].fill(0);
    bytes.extend_from_slice(&stream(8..10));
    let heard = hear(&config(), &bytes, usize::MAX);
    assert_eq!(heard.blocks, blocks([0, 1, 2, 3, 7, 8, 9]));
    assert_eq!(heard.talk, ["acquired", "lost", "acquired"]);
    assert_eq!((heard.counts.acquired, heard.counts.lost), (2, 1));
    assert_eq!(heard.counts.skipped_bits, 3 * 8 * PERIOD as u64);
}

#[test]
fn a_marker_in_the_data_is_none() {
    // Alone in front, and inside a block.
    let mut bytes = [&ASM[..], &[0x55; 13]].concat();
    let mut body = stream(0..5);
    body[PERIOD + 10..PERIOD + 14].copy_from_slice(&ASM);
    bytes.extend_from_slice(&body);
    let heard = hear(&config(), &bytes, usize::MAX);
    assert_eq!((heard.blocks.len(), heard.talk), (5, vec!["acquired"]));
    assert_eq!(heard.places[0], 8 * 17);
}

#[test]
fn a_cut_costs_the_block_that_was_cut() {
    for cut in [3, 20, PERIOD + 3, 3 * PERIOD - 7] {
        let bytes = stream(0..10);
        let bytes = [&bytes[..2 * PERIOD + 10], &bytes[2 * PERIOD + 10 + cut..]].concat();
        let heard = hear(&config(), &bytes, usize::MAX);
        let first = 2 + (10 + cut).div_ceil(PERIOD);
        let whole: Vec<_> =
            heard.blocks.iter().filter(|b| (0..10).any(|n| **b == block(n))).collect();
        assert_eq!(whole.len(), 2 + 10 - first, "{cut} bytes cut");
        assert_eq!(heard.blocks.len(), whole.len() + 1, "and the cut one");
        assert_eq!(heard.talk, ["acquired", "lost", "acquired"]);
    }
}

#[test]
fn slipped_bits_are_followed() {
    for bits in 1..=8 {
        let bytes = stream(0..8);
        let (head, tail) = bytes.split_at(4 * PERIOD);
        // Bits doubled, after a whole block.
        let late = [head, &shifted(tail, bits)].concat();
        let heard = hear(&config(), &late, usize::MAX);
        assert_eq!((heard.blocks, heard.talk), (blocks(0..8), vec!["acquired", "slipped"]));
        assert_eq!((heard.counts.slips, heard.counts.lost), (1, 0));
        // Bits lost: the end of the block before the slip.
        let early = [&head[..head.len() - 1], &shifted(tail, 8 - bits)].concat();
        let heard = hear(&config(), &early, usize::MAX);
        assert_eq!(heard.blocks[4..], blocks(4..8), "{bits} bits early");
        assert_eq!(heard.counts.slips, 1);
    }
}

#[test]
fn flipped_polarity_is_followed() {
    let mut bytes = stream(0..6);
    bytes[3 * PERIOD..].iter_mut().for_each(|byte| *byte = !*byte);
    let heard = hear(&config(), &bytes, usize::MAX);
    assert_eq!((heard.blocks, heard.talk), (blocks(0..6), vec!["acquired", "inverted"]));
    assert_eq!(heard.counts.inversions, 1);
}

#[test]
fn noise_and_nothing_hold_no_block() {
    let noise: Vec<u8> =
        (1..20_000u64).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
    let heard = hear(&config(), &noise, 1000);
    assert_eq!((heard.blocks.len(), heard.counts.acquired), (0, 0));
    assert_eq!(heard.counts.skipped_bits, 8 * noise.len() as u64);
    assert_eq!(hear(&config(), &[], 1), Heard::default());
}

#[test]
fn bits_without_a_marker_are_told_before_the_stream_ends() {
    let mut synchronizer = Synchronizer::new(config()).unwrap();
    let noise = [0x55; 10_000];
    for pushed in 1..=5 {
        synchronizer.push(&noise, &mut |event| panic!("{event:?}"));
        let passed = synchronizer.counts().skipped_bits;
        // All but what may be the beginning of a marker.
        assert!((pushed * 80_000 - 40..=pushed * 80_000).contains(&passed), "{passed}");
    }
    synchronizer.finish(&mut |event| panic!("{event:?}"));
    assert_eq!(synchronizer.counts().skipped_bits, 5 * 80_000, "each bit once");
}

#[test]
fn a_lone_block_is_found_at_the_end() {
    let heard = hear(&config(), &stream(3..4), usize::MAX);
    assert_eq!(heard.blocks, blocks([3]));
    let cut = stream(0..3);
    let heard = hear(&config(), &cut[..cut.len() - 1], usize::MAX);
    assert_eq!(heard.blocks, blocks(0..2), "half a block is none");
}

#[test]
fn other_markers_are_parameters() {
    // Telecommand LDPC (CCSDS 231.0-B-4), and one of 16 bits.
    for text in ["034776C7272895B0", "EB90"] {
        let marker: Marker = text.parse().unwrap();
        assert_eq!(marker.to_string(), text);
        let mut config = MarkerConfig::new(marker, BLOCK);
        config.locked_errors = config.locked_errors.min(marker.bits() / 4 - 1);
        let bytes: Vec<u8> =
            (0..5).flat_map(|n| marker.to_bytes().chain(block(n)).collect::<Vec<_>>()).collect();
        assert_eq!(hear(&config, &shifted(&bytes, 5), 7).blocks, blocks(0..5), "{text}");
    }
    for text in ["", "1A", "1ACFFC1", "1ACFFC1G", "+ACFFC1D", "1ACFFC1D1ACFFC1D00"] {
        assert_eq!(text.parse::<Marker>(), Err(MarkerError), "{text}");
    }
}

#[test]
fn impossible_configurations_are_refused() {
    let refused = |change: fn(&mut MarkerConfig)| {
        let mut config = config();
        change(&mut config);
        Synchronizer::new(config).unwrap_err()
    };
    assert_eq!(refused(|config| config.block_bytes = 0), ConfigError::Block(0));
    let long = refused(|config| config.block_bytes = MAX_BLOCK_BYTES + 1);
    assert_eq!(long, ConfigError::Block(MAX_BLOCK_BYTES + 1));
    let errors = ConfigError::Errors { errors: 8, bits: 32 };
    assert_eq!(refused(|config| config.search_errors = 8), errors);
    assert_eq!(refused(|config| config.flywheel = MAX_FLYWHEEL + 1), ConfigError::Bounds);
    assert_eq!(refused(|config| config.slip_bits = MAX_SLIP_BITS + 1), ConfigError::Bounds);
}

proptest! {
    #[test]
    fn chunks_change_nothing(
        chunk in 1usize..200,
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..60), 0..4),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 0..40),
        bits in 0u32..8,
    ) {
        let mut bytes = shifted(&stream(0..12), bits);
        for (at, length) in cuts {
            let at = at.index(bytes.len());
            let end = (at + length).min(bytes.len());
            bytes.drain(at..end);
            if bytes.is_empty() {
                return Ok(());
            }
        }
        for (at, flip) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
        }
        let whole = hear(&config(), &bytes, usize::MAX);
        prop_assert_eq!(&hear(&config(), &bytes, chunk), &whole);
        prop_assert_eq!(&hear(&config(), &bytes, 1), &whole);
        let counts = whole.counts;
        prop_assert_eq!(counts.blocks as usize, whole.blocks.len());
        prop_assert!(whole.places.is_sorted());
    }
}
