use proptest::prelude::*;

use super::*;

fn product(width: u16, height: u16, bands: u8, bits: u8, seed: u8) -> Product {
    let count = usize::from(width) * usize::from(height) * usize::from(bands);
    let top = (1u32 << bits) - 1;
    let samples: Vec<u16> =
        (0..count).map(|at| ((u32::from(seed) * 977 + at as u32 / 7) & top) as u16).collect();
    Product {
        kind: ProductKind::Summary,
        id: 7,
        captured: Tai(123_456_789),
        latitude: 78.2,
        longitude: -15.4,
        attitude: (seed & 1 != 0).then_some([0.0, 0.6, 0.0, 0.8]),
        footprint: (seed & 2 != 0).then_some([
            [78.0, -15.0],
            [78.0, -16.0],
            [79.0, -16.0],
            [79.0, 0.5],
        ]),
        score: 0.75,
        truth: Some(71),
        bands,
        bits,
        max_error: 0,
        width,
        height,
        source_bytes: 16_413,
        mask_width: 3,
        mask_height: 2,
        mask: Bytes::from_static(&[0, 1, 2, 3, 4, 255]),
        regions: (0..seed % 4)
            .map(|at| Region { left: at.into(), top: 4, width: 300, height: 2, score: 200 })
            .collect(),
        features: (0..seed % 5).map(f32::from).collect(),
        pixels: bytes_of(&samples, bits).into(),
    }
}

proptest! {
    #[test]
    fn products_come_back(
        width in 0u16..24, height in 0u16..24, bands in 0u8..5, bits in 1u8..=16, seed: u8,
        cut in 0usize..9999,
    ) {
        let product = product(width, height, bands, bits, seed);
        let bytes: Bytes = product.encode().into();
        prop_assert_eq!(Product::decode(&bytes), Ok(product));
        prop_assert!(Product::decode(&bytes.slice(..cut % bytes.len())).is_err());
    }

    #[test]
    fn parts_come_back_where_the_mask_leaves_them(
        width in 1u16..24, height in 1u16..24, bands in 1u8..5, bits in 1u8..=16, seed: u8,
        cells: [bool; 36], max_error in 0u16..3, cut in 0usize..9999,
    ) {
        let sides = [width.div_ceil(CELL), height.div_ceil(CELL)].map(|side| side as u8);
        let count = usize::from(sides[0]) * usize::from(sides[1]);
        let mask: Vec<u8> = cells[..count].iter().map(|on| if *on { 255 } else { 0 }).collect();
        let whole = Product {
            kind: ProductKind::Parts,
            mask_width: sides[0],
            mask_height: sides[1],
            mask: mask.into(),
            max_error: if bits > 3 { max_error } else { 0 },
            ..product(width, height, bands, bits, seed)
        };
        let bytes: Bytes = whole.encode().into();
        let back = Product::decode(&bytes).unwrap();
        prop_assert_eq!(&back.mask, &whole.mask);
        let hidden = whole.hidden().unwrap();
        let plane = hidden.len();
        for (at, (before, after)) in whole.samples().into_iter().zip(back.samples()).enumerate() {
            prop_assert!(hidden[at % plane] || before.abs_diff(after) <= whole.max_error);
        }
        prop_assert!(Product::decode(&bytes.slice(..cut % bytes.len())).is_err());
    }

    #[test]
    fn an_allowed_error_is_never_exceeded(bits in 4u8..=16, max_error in 1u16..6, seed: u8) {
        let exact = product(12, 10, 3, bits, seed);
        let bytes: Bytes = Product { max_error, ..exact.clone() }.encode().into();
        let back = Product::decode(&bytes).unwrap();
        for (before, after) in exact.samples().into_iter().zip(back.samples()) {
            prop_assert!(before.abs_diff(after) <= max_error);
        }
    }

    #[test]
    fn a_flipped_bit_is_seen_or_changes_nothing(position in 0usize..600, bit in 0u8..8) {
        let whole = product(16, 16, 2, 8, 11);
        let mut bytes = whole.encode();
        let position = position % bytes.len();
        bytes[position] ^= 1 << bit;
        // The last bits of a range coder may say nothing.
        prop_assert!(Product::decode(&bytes.into()).map_or(true, |read| read == whole));
    }

    #[test]
    fn garbage_never_panics(mut garbage in prop::collection::vec(any::<u8>(), 0..300), before: bool) {
        let magic = if before { before::MAGIC } else { MAGIC };
        garbage.splice(..garbage.len().min(4), magic);
        let _ = Product::decode(&garbage.into());
    }
}

#[test]
fn a_size_that_lies_allocates_nothing() {
    let mut bytes = product(4, 4, 1, 8, 0).encode();
    bytes[31..36].copy_from_slice(&[255; 5]);
    assert!(matches!(Product::decode(&bytes.into()), Err(ProductError::TooLarge(_))));
}

#[test]
fn a_smooth_tile_is_squeezed() {
    let tile = product(64, 64, 4, 12, 3);
    assert!(tile.encode().len() < tile.pixels.len() / 4);
}

/// A product as version 1 wrote it: header, mask of six cells, four raw pixels.
const BEFORE: &[u8] = b"GTP1\x01\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x05\
    \x42\x9c\x00\x00\xc1\x70\x00\x00\x3f\x00\x00\x00\xff\x01\x00\x02\x00\x02\
    \x00\x00\x00\x63\x03\x02";

#[test]
fn products_of_the_version_before_still_read() {
    let content = [0, 1, 2, 3, 4, 255, 10, 20, 30, 40];
    let check = crate::fec::crc::crc32c(&content).to_be_bytes();
    let bytes = [BEFORE, &check, &content].concat();
    let product = Product::decode(&Bytes::from(bytes.clone())).unwrap();
    assert_eq!((product.id, product.captured, product.truth), (9, Tai(5), None));
    assert_eq!((product.latitude, product.longitude, product.score), (78.0, -15.0, 0.5));
    assert_eq!((&product.mask[..], &product.pixels[..]), (&content[..6], &content[6..]));
    for cut in 0..bytes.len() {
        assert!(Product::decode(&Bytes::copy_from_slice(&bytes[..cut])).is_err());
    }
}

#[test]
fn what_is_hidden_costs_next_to_nothing() {
    let noise = |at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8;
    let pixels: Vec<u8> = (0..64 * 64 * 4).map(noise).collect();
    let size = |hidden: usize| {
        let mask: Vec<u8> = (0..256).map(|at| if at < hidden { 255 } else { 0 }).collect();
        let parts = Product {
            kind: ProductKind::Parts,
            mask_width: 16,
            mask_height: 16,
            mask: mask.into(),
            pixels: pixels.clone().into(),
            ..product(64, 64, 4, 8, 0)
        };
        parts.encode().len() as f64
    };
    assert!(size(256) < 200.0, "{}", size(256));
    assert!(size(192) < 200.0 + 0.27 * pixels.len() as f64, "{}", size(192));
}

#[test]
fn a_mask_that_does_not_cover_its_parts_is_refused() {
    let parts = Product {
        kind: ProductKind::Parts,
        mask_width: 2,
        mask_height: 2,
        mask: Bytes::from_static(&[0, 255, 0, 255]),
        ..product(8, 8, 1, 8, 0)
    };
    let bytes = parts.encode();
    assert_eq!(Product::decode(&bytes.clone().into()).unwrap().mask, parts.mask);
    for (field, value) in [(33, 9), (33, 4), (40, 1), (41, 3), (5, 2 | 16)] {
        let mut other = bytes.clone();
        other[field] = value;
        assert!(Product::decode(&other.into()).is_err(), "byte {field} as {value}");
    }
}
