use super::*;
use crate::frame::tc::{TcConfig, TcFrame};
use crate::sync::randomizer::Sequence;
use alloc::vec;
use proptest::prelude::*;

fn randomizer() -> Randomizer {
    Randomizer::new(Sequence::Telecommand, 1024)
}

/// A randomised UNLOCK for spacecraft 123, as a recorded command link sent it.
const GOLDEN: [u8; 26] = [
    0xEB, 0x90, 0xCF, 0x42, 0x9E, 0x5D, 0x68, 0xE9, 0x53, 0xA8, 0x80, 0x55, 0x55, 0x55, 0x55, 0x55,
    0x55, 0xAC, 0xC5, 0xC5, 0xC5, 0xC5, 0xC5, 0xC5, 0xC5, 0x79,
];
const UNLOCK: [u8; 8] = [0x30, 0x7B, 0x00, 0x07, 0x00, 0x00, 0x55, 0x75];

#[test]
fn golden_unit_reads_and_writes() {
    assert_eq!(encode(&UNLOCK, Some(&randomizer())).unwrap(), GOLDEN);
    for mode in [Mode::Correct, Mode::Detect] {
        let unit = decode(&GOLDEN, mode, Some(&randomizer())).unwrap();
        assert_eq!((unit.corrected, unit.end, unit.consumed), (0, End::Tail, 26));
        let mut frames = unit.frames();
        let frame = frames.next().unwrap();
        assert_eq!(frame, UNLOCK);
        let config = TcConfig::new(true, true);
        assert!(TcFrame::parse(frame, &config).unwrap().fecf_holds());
        assert_eq!((frames.next(), frames.rest().len()), (None, 6));
    }
}

#[test]
fn the_tail_is_no_codeword_and_is_not_corrected() {
    let mut tail = TAIL;
    assert_eq!(repair(&mut tail, Mode::Correct), None);
    assert_eq!(tail, TAIL);
}

/// Codewords form a shifted group, so one block stands for all.
#[test]
fn one_wrong_bit_is_corrected_and_two_are_detected() {
    let block: [u8; 8] = GOLDEN[2..10].try_into().unwrap();
    let flip = |block: &mut [u8; 8], bit: usize| block[bit / 8] ^= 0x80 >> (bit % 8);
    for first in 0..63 {
        let mut one = block;
        flip(&mut one, first);
        assert_eq!(repair(&mut one.clone(), Mode::Detect), None);
        assert_eq!((repair(&mut one, Mode::Correct), one), (Some(true), block), "bit {first}");
        for second in 0..first {
            let mut two = block;
            flip(&mut two, first);
            flip(&mut two, second);
            assert_eq!(repair(&mut two, Mode::Correct), None, "bits {first} and {second}");
        }
    }
    let mut filler = block;
    flip(&mut filler, 63);
    assert_eq!(repair(&mut filler, Mode::Detect), Some(false));
}

#[test]
fn three_wrong_bits_are_detected_where_none_is_corrected() {
    let block: [u8; 8] = GOLDEN[2..10].try_into().unwrap();
    for first in 0..63 {
        for second in 0..first {
            for third in 0..second {
                let mut three = u64::from_be_bytes(block);
                three ^= 1 << (63 - first) | 1 << (63 - second) | 1 << (63 - third);
                assert_eq!(repair(&mut three.to_be_bytes(), Mode::Detect), None);
            }
        }
    }
}

#[test]
fn every_truncation_says_so() {
    for end in 0..GOLDEN.len() {
        let unit = decode(&GOLDEN[..end], Mode::Detect, Some(&randomizer()));
        if end < START.len() {
            assert_eq!(unit, Err(CltuError::Start));
        } else {
            let unit = unit.unwrap();
            assert_eq!((unit.end, unit.data.len()), (End::Cut, (end - 2) / 8 * 7), "{end}");
            assert_eq!(unit.frames().count(), usize::from(end >= 18));
        }
    }
}

#[test]
fn units_are_found_in_a_stream() {
    let mut stream = vec![0x55; 16];
    stream.extend_from_slice(&GOLDEN);
    stream.extend_from_slice(&[0x55; 3]);
    stream.extend_from_slice(&GOLDEN);
    let (mut at, mut frames) = (0, 0);
    while let Some(skip) = find(&stream[at..], Mode::Detect) {
        let unit = decode(&stream[at + skip..], Mode::Detect, Some(&randomizer())).unwrap();
        frames += unit.frames().count();
        at += skip + unit.consumed;
    }
    assert_eq!((frames, at), (2, stream.len()));
    stream[16] ^= 1;
    assert_eq!(find(&stream[..40], Mode::Detect), None);
    assert_eq!(find(&stream[..40], Mode::Correct), Some(16));
}

#[test]
fn bounds() {
    assert_eq!(encode(&[], None), Err(CltuError::Data(0)));
    assert!(encode(&vec![0; MAX_DATA_BYTES], None).is_ok());
    let over = MAX_DATA_BYTES + 1;
    assert_eq!(encode(&vec![0; over], None), Err(CltuError::Data(over)));
}

proptest! {
    #[test]
    fn units_round_trip_with_a_wrong_bit_in_each_block(
        data in prop::collection::vec(any::<u8>(), 1..200),
        randomized: bool,
        wrong in prop::collection::vec(0usize..63, 40),
    ) {
        let randomizer = randomizer();
        let randomizer = randomized.then_some(&randomizer);
        let mut bytes = encode(&data, randomizer).unwrap();
        let blocks = data.len().div_ceil(7);
        for (block, bit) in wrong.iter().take(blocks).enumerate() {
            bytes[2 + block * 8 + bit / 8] ^= 0x80 >> (bit % 8);
        }
        let unit = decode(&bytes, Mode::Correct, randomizer).unwrap();
        prop_assert_eq!(&unit.data[..data.len()], &data[..]);
        prop_assert_eq!(unit.corrected, blocks);
        prop_assert_eq!((unit.end, unit.consumed), (End::Tail, bytes.len()));
        let strict = decode(&bytes, Mode::Detect, randomizer).unwrap();
        prop_assert_eq!((strict.end, strict.data.len()), (End::Rejected, 0));
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut bytes = bytes;
        bytes.splice(0..0, START);
        let unit = decode(&bytes, Mode::Correct, None).unwrap();
        prop_assert!(unit.consumed <= bytes.len());
        let total: usize = unit.frames().map(<[u8]>::len).sum();
        prop_assert!(total <= unit.data.len());
    }
}
