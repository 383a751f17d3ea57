use super::*;
use alloc::{vec, vec::Vec};
use proptest::prelude::*;

const LITTLE: Layout = Layout { order: Order::LittleEndian, three_bytes: false };

fn config(bits: u32) -> RiceConfig {
    RiceConfig::new(bits)
}

/// A configuration, and samples that it holds: runs of zero, slow and wild ones.
fn streams() -> impl Strategy<Value = (RiceConfig, Vec<u32>)> {
    let shape = (1..=32u32, 0..4usize, prop_oneof![1..5u32, Just(64), Just(200)]);
    (shape, any::<[bool; 4]>()).prop_flat_map(|((bits, block, interval), flags)| {
        let [preprocess, signed, restricted, pad] = flags;
        let block = BlockSize::ALL[block];
        let restricted = restricted && bits <= 4;
        let config = RiceConfig { bits, block, interval, preprocess, signed, restricted, pad };
        let pieces = prop::collection::vec((any::<u32>(), 0..=32u32, 1..400usize), 0..6);
        (Just(config), pieces).prop_map(|(config, pieces)| {
            let mut samples = Vec::new();
            for (seed, noise, length) in pieces {
                let mut state = seed | 1;
                samples.extend((0..length).map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let noise = u64::from(state) >> (32 - noise);
                    let sample = seed.wrapping_add(noise as u32) & config.max();
                    let flip = config.flip();
                    (sample ^ flip).wrapping_sub(flip)
                }));
            }
            (config, samples)
        })
    })
}

proptest! {
    #[test]
    fn samples_come_back((config, samples) in streams()) {
        let stream = encode(&config, &samples).unwrap();
        prop_assert_eq!(decode(&config, &stream, samples.len()).unwrap(), samples);
    }

    #[test]
    fn a_cut_stream_is_an_error((config, samples) in streams(), cut in any::<prop::sample::Index>()) {
        let stream = encode(&config, &samples).unwrap();
        let cut = &stream[..cut.index(stream.len())];
        prop_assume!(!samples.is_empty());
        prop_assert!(decode(&config, cut, samples.len()).is_err());
    }

    #[test]
    fn noise_gives_what_was_asked_for_or_an_error(
        (config, _) in streams(), noise: Vec<u8>, count in 0..5000usize
    ) {
        if let Ok(samples) = decode(&config, &noise, count) {
            prop_assert_eq!(samples.len(), count);
            let again = encode(&config, &samples).unwrap();
            prop_assert_eq!(decode(&config, &again, count).unwrap(), samples);
        }
    }

    #[test]
    fn bytes_in_every_layout_come_back(
        (config, samples) in streams(), big: bool, three_bytes: bool
    ) {
        let order = if big { Order::BigEndian } else { Order::LittleEndian };
        let layout = Layout { order, three_bytes };
        let mut bytes = Vec::new();
        layout.write(config.bits, &samples, &mut bytes);
        prop_assert_eq!(bytes.len(), samples.len() * layout.sample_bytes(config.bits));
        let stream = encode_bytes(&config, layout, &bytes).unwrap();
        prop_assert_eq!(&stream, &encode(&config, &samples).unwrap());
        prop_assert_eq!(decode_bytes(&config, layout, &stream, samples.len()).unwrap(), bytes);
    }

    #[test]
    fn the_mapper_is_one_to_one(bits in 1..=32u32, before: u32, sample: u32) {
        let max = config(bits).max();
        let (before, sample) = (before & max, sample & max);
        let mapped = map(before, sample, max);
        prop_assert!(mapped <= max);
        prop_assert_eq!(unmap(before, mapped, max), sample);
    }
}

#[test]
fn every_pair_of_small_samples_maps_to_its_own_value() {
    for bits in 1..=6 {
        let max = config(bits).max();
        for before in 0..=max {
            let mut seen = vec![false; max as usize + 1];
            for sample in 0..=max {
                let mapped = map(before, sample, max);
                assert!(!core::mem::replace(&mut seen[mapped as usize], true));
                assert_eq!(unmap(before, mapped, max), sample);
            }
        }
    }
}

#[test]
fn golden_codes_of_every_option() {
    let plain = |bits| RiceConfig { block: BlockSize::Eight, preprocess: false, ..config(bits) };
    // Identifier 000, 0, and a fundamental sequence of zero blocks: 1 to 4, rest of the segment, 5.
    let zeros = |blocks: usize, then: usize| {
        let samples = [vec![0; blocks * 8], vec![255; then * 8]].concat();
        encode(&plain(8), &samples).unwrap()
    };
    assert_eq!(zeros(1, 0), [0b0000_1000]);
    assert_eq!(zeros(4, 0), [0b0000_0001]);
    assert_eq!(zeros(5, 0), [0b0000_0000, 0b1000_0000]);
    assert_eq!(zeros(63, 0), [0b0000_0000, 0b1000_0000]);
    assert_eq!(zeros(5, 1)[..2], [0b0000_0000, 0b0111_1111]);
    // Without compression: identifier of ones.
    assert_eq!(zeros(0, 1), [255, 255, 255, 255, 255, 255, 255, 255, 0b1110_0000]);
    // Second extension, 000, 1: sums of pairs 1 0, with the second sample added.
    let pairs = [0, 1, 0, 0, 0, 0, 1, 0];
    assert_eq!(encode(&plain(8), &pairs).unwrap(), [0b0001_0011, 0b1010_0000]);
    // Split by 1 (identifier 010): what is above as fundamental sequences, then the low bits.
    let split = [3, 2, 1, 3, 2, 1, 3, 6];
    let codes = [0b0100_1011, 0b0101_1010, 0b0011_0110, 0b1100_0000];
    assert_eq!(encode(&plain(8), &split).unwrap(), codes);
}

#[test]
fn what_the_standard_does_not_know_is_refused() {
    let of = |config: RiceConfig| encode(&config, &[0]).unwrap_err();
    assert_eq!(of(config(0)), RiceError::Bits(0));
    assert_eq!(of(config(33)), RiceError::Bits(33));
    assert_eq!(of(RiceConfig { interval: 0, ..config(8) }), RiceError::Interval(0));
    assert_eq!(of(RiceConfig { interval: 4097, ..config(8) }), RiceError::Interval(4097));
    assert_eq!(of(RiceConfig { restricted: true, ..config(5) }), RiceError::Restricted(5));
    assert!(decode(&config(33), &[0], 1).is_err());
    let stray = RiceError::Sample { index: 17, value: 16, bits: 4 };
    let samples = [vec![15; 17], vec![16]].concat();
    assert_eq!(encode(&config(4), &samples), Err(stray));
    let uneven = RiceError::Uneven { bytes: 3, sample: 2 };
    assert_eq!(encode_bytes(&config(12), LITTLE, &[0; 3]), Err(uneven));
}

#[test]
fn negative_samples_may_be_sign_extended_or_not() {
    let signed = RiceConfig { signed: true, ..config(12) };
    let stream = encode(&signed, &[0xFFF, 0x800, 5]).unwrap();
    assert_eq!(encode(&signed, &[u32::MAX, 0xFFFF_F800, 5]).unwrap(), stream);
    assert_eq!(decode(&signed, &stream, 3).unwrap(), [u32::MAX, 0xFFFF_F800, 5]);
    assert!(encode(&signed, &[0xFFFF]).is_err(), "half a sign extension is a mistake");
}

#[test]
fn bytes_behind_the_samples_are_told() {
    let mut stream = encode(&config(8), &[7; 40]).unwrap();
    let used = stream.len();
    stream.push(0);
    assert_eq!(decode(&config(8), &stream, 40), Err(RiceError::Rest { used, bytes: used + 1 }));
}

#[test]
fn a_few_bytes_give_no_more_than_was_asked_for() {
    let sparse = RiceConfig { block: BlockSize::SixtyFour, interval: 4096, ..config(32) };
    let stream = encode(&sparse, &vec![9; 64 * 4096]).unwrap();
    assert!(stream.len() < 100);
    assert_eq!(decode(&sparse, &stream, 64 * 4096).unwrap(), vec![9; 64 * 4096]);
    let more = decode(&sparse, &stream, usize::MAX);
    assert_eq!(more, Err(RiceError::Truncated { sample: 64 * 4096 }));
}
