use super::*;
use alloc::vec::Vec;
use proptest::prelude::*;

/// Pictures of every kind: slopes, texture, noise, saturation, bands alike and not.
fn pictures() -> impl Strategy<Value = (Shape, Vec<u16>)> {
    let size = (1..40u16, 1..40u16, 1..6u16, 1..=16u8);
    (size, any::<[u16; 4]>(), 0..=16u32).prop_map(|((width, height, bands, bits), seeds, noise)| {
        let shape = Shape { width, height, bands, bits };
        let [slope, other, seed, kind] = seeds.map(u32::from);
        let mut state = seed | 1;
        let mut samples = Vec::with_capacity(shape.samples());
        for band in 0..u32::from(bands) {
            for y in 0..u32::from(height) {
                for x in 0..u32::from(width) {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let noise = (u64::from(state) >> (32 - noise)) as u32;
                    let value = match kind % 4 {
                        0 => x * (slope % 97) + y * (other % 89) + band * 31 + noise,
                        1 => ((x / 5 + y / 7) % 2) * (slope + band * other) + noise,
                        2 => noise,
                        _ => {
                            if (x ^ y) & 8 == 0 {
                                0
                            } else {
                                u32::MAX
                            }
                        }
                    };
                    let max = shape.max() as u32;
                    samples.push(if kind & 4 == 0 { value & max } else { value.min(max) } as u16);
                }
            }
        }
        (shape, samples)
    })
}

proptest! {
    #[test]
    fn every_bit_comes_back((shape, samples) in pictures()) {
        let tile = encode(shape, &samples, 0).unwrap();
        let back = decode(&tile, samples.len()).unwrap();
        prop_assert_eq!(back, Tile { shape, max_error: 0, samples });
    }

    #[test]
    fn no_sample_errs_more_than_allowed(
        (shape, samples) in pictures(),
        max_error in prop_oneof![1..4u16, 4..200u16, any::<u16>()],
    ) {
        let tile = encode(shape, &samples, max_error).unwrap();
        let back = decode(&tile, samples.len()).unwrap();
        prop_assert_eq!((back.shape, back.max_error), (shape, max_error));
        prop_assert_eq!(back.samples.len(), samples.len());
        for (decoded, original) in back.samples.iter().zip(&samples) {
            prop_assert!(decoded.abs_diff(*original) <= max_error, "{decoded} for {original}");
            prop_assert!(i32::from(*decoded) <= shape.max());
        }
    }

    #[test]
    fn what_is_visible_comes_back((shape, samples) in pictures(), seed: u64, max_error in 0..3u16) {
        let plane = usize::from(shape.width) * usize::from(shape.height);
        let hidden: Vec<bool> = (0..plane).map(|at| seed >> (at / 7 % 64) & 1 != 0).collect();
        let tile = encode_visible(shape, &samples, max_error, &hidden).unwrap();
        let back = decode_visible(&tile, samples.len(), &hidden).unwrap();
        for (at, (decoded, original)) in back.samples.iter().zip(&samples).enumerate() {
            prop_assert!(hidden[at % plane] || decoded.abs_diff(*original) <= max_error);
        }
        let short = hidden.get(1..).unwrap();
        let refused = TileError::Hidden { wanted: plane, found: plane - 1 };
        prop_assert_eq!(decode_visible(&tile, samples.len(), short), Err(refused));
        let refused = TileError::Places { method: VISIBLE, given: false };
        prop_assert_eq!(decode(&tile, samples.len()), Err(refused));
    }

    #[test]
    fn a_tile_is_never_much_larger_than_its_samples((shape, samples) in pictures()) {
        let tile = encode(shape, &samples, 0).unwrap();
        prop_assert!(tile.len() <= HEADER_BYTES + samples.len() * sample_bytes(shape.bits));
    }

    #[test]
    fn noise_behind_a_header_is_an_error_or_what_it_says(
        (shape, samples) in pictures(), body: Vec<u8>, ranged in 0..300u32, max_error in 0..3u16
    ) {
        let mut tile = header(shape, max_error, PREDICTED, &samples);
        tile.extend(ranged.to_be_bytes());
        tile.extend(body);
        if let Ok(back) = decode(&tile, MAX_TILE_SAMPLES) {
            prop_assert_eq!(back.samples.len(), shape.samples());
        }
    }
}

fn sample_tile() -> (Shape, Vec<u16>, Vec<u8>) {
    let shape = Shape { width: 14, height: 8, bands: 2, bits: 10 };
    let slope = |n: usize| (n % 14 * 9 + n / 14 * 5 + n * n % 7) as u16;
    let samples: Vec<u16> = (0..shape.samples()).map(slope).collect();
    let tile = encode(shape, &samples, 0).unwrap();
    assert_eq!(tile[2], 0x11, "predicted");
    (shape, samples, tile)
}

#[test]
fn golden_header() {
    let shape = Shape { width: 300, height: 2, bands: 1, bits: 12 };
    let tile = encode(shape, &[7; 600], 3).unwrap();
    assert_eq!(tile[..12], [b'T', b'i', 0x11, 12, 1, 44, 0, 2, 0, 1, 0, 3]);
    assert!(tile.len() < 60, "{} bytes for one value", tile.len());
    let one = encode(Shape { width: 1, height: 1, ..shape }, &[0x0ABC], 0).unwrap();
    assert_eq!(one[..12], [b'T', b'i', 0x10, 12, 0, 1, 0, 1, 0, 1, 0, 0]);
    assert_eq!(one[16..], [0x0A, 0xBC], "one sample is stored");
}

#[test]
fn every_truncation_and_every_flipped_bit_is_noticed_or_harmless() {
    let (shape, samples, tile) = sample_tile();
    for cut in 0..tile.len() {
        assert!(decode(&tile[..cut], shape.samples()).is_err(), "cut at {cut}");
    }
    let whole = Tile { shape, max_error: 0, samples };
    for bit in 0..tile.len() * 8 {
        let mut flipped = tile.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(back) = decode(&flipped, MAX_TILE_SAMPLES) {
            assert_eq!(back, whole, "bit {bit}");
        }
    }
    let longer = [&tile[..], &[0]].concat();
    assert_eq!(decode(&longer, shape.samples()), Err(TileError::Truncated));
}

#[test]
fn what_is_no_tile_is_refused() {
    let shape = Shape { width: 4, height: 2, bands: 1, bits: 8 };
    let of = |shape: Shape, samples: &[u16]| encode(shape, samples, 0).unwrap_err();
    assert_eq!(of(Shape { bits: 0, ..shape }, &[]), TileError::Bits(0));
    assert_eq!(of(Shape { bits: 17, ..shape }, &[]), TileError::Bits(17));
    let none = TileError::Shape { width: 4, height: 2, bands: 0 };
    assert_eq!(of(Shape { bands: 0, ..shape }, &[]), none);
    let large = Shape { width: 60_000, height: 60_000, ..shape };
    assert!(matches!(of(large, &[]), TileError::TooLarge { samples: 3_600_000_000, .. }));
    assert_eq!(of(shape, &[1; 7]), TileError::Count { wanted: 8, found: 7 });
    let stray = TileError::Sample { index: 3, value: 256, bits: 8 };
    assert_eq!(of(shape, &[1, 2, 3, 256, 5, 6, 7, 8]), stray);
    assert_eq!(decode(b"", 100), Err(TileError::Truncated));
    assert_eq!(decode(b"TI\x11\x08", 100), Err(TileError::Magic));
}

#[test]
fn the_callers_limit_holds_before_anything_is_decoded() {
    let (shape, samples, tile) = sample_tile();
    assert!(decode(&tile, samples.len()).is_ok());
    let over = TileError::TooLarge { samples: samples.len(), limit: samples.len() - 1 };
    assert_eq!(decode(&tile, samples.len() - 1), Err(over));
    // A few bytes that claim the largest tile end where their data does.
    let claims = Shape { width: 4096, height: 4096, ..Shape { bands: 1, ..shape } };
    let mut small = header(claims, 0, PREDICTED, &[]);
    small.extend([0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(decode(&small, usize::MAX), Err(TileError::Damaged { band: 0, row: 0 }));
}

#[test]
fn a_band_that_follows_from_another_costs_little() {
    let shape = Shape { width: 64, height: 64, bands: 1, bits: 12 };
    let mut state = 5u32;
    let first: Vec<u16> = (0..64 * 64)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 21) as u16
        })
        .collect();
    let second = first.iter().map(|sample| sample / 2 + 100);
    let both: Vec<u16> = first.iter().copied().chain(second).collect();
    let alone = encode(shape, &first, 0).unwrap().len();
    let together = encode(Shape { bands: 2, ..shape }, &both, 0).unwrap().len();
    assert!(together - alone < alone / 3, "{alone} alone, {together} together");
}
