//! Rice streams and tiles of samples.

use crate::input::Input;
use codecs::squeeze::image::{self, Shape};
use codecs::squeeze::rice::{self, BlockSize, Layout, Order, RiceConfig};

/// Most samples that an input may claim.
const MAX_SAMPLES: usize = 1 << 14;

/// Rice streams: as many samples as were asked for or an error, and samples come back.
pub fn rice(data: &[u8]) {
    let mut input = Input(data);
    let bits = 1 + u32::from(input.byte() & 0x1F);
    let flags = input.byte();
    let flag = |bit: u8| flags >> bit & 1 == 1;
    let config = RiceConfig {
        bits,
        block: BlockSize::ALL[usize::from(flags & 3)],
        interval: 1 + u32::from(input.byte()),
        preprocess: flag(2),
        signed: flag(3),
        restricted: flag(4) && bits <= 4,
        pad: flag(5),
    };
    let order = if flag(6) { Order::BigEndian } else { Order::LittleEndian };
    let layout = Layout { order, three_bytes: flag(7) };
    let count = usize::from(input.word()) % MAX_SAMPLES;
    if let Ok(samples) = rice::decode(&config, input.0, count) {
        assert_eq!(samples.len(), count);
        let stream = rice::encode(&config, &samples).expect("samples of these bits");
        assert_eq!(rice::decode(&config, &stream, count), Ok(samples));
        let bytes = rice::decode_bytes(&config, layout, &stream, count).expect("the same stream");
        assert_eq!(rice::encode_bytes(&config, layout, &bytes), Ok(stream));
    }
    // The same bytes as samples, where they have no bits too many.
    if let Ok(stream) = rice::encode_bytes(&config, layout, input.0) {
        let count = input.0.len() / layout.sample_bytes(bits);
        let samples = rice::decode(&config, &stream, count).expect("a stream of ours");
        assert_eq!(rice::encode(&config, &samples), Ok(stream));
    }
}

/// Tiles: bounded whatever they claim, and samples come back as near as was asked for.
pub fn tile(data: &[u8]) {
    let mut input = Input(data);
    let max_error = u16::from(input.byte());
    if let Ok(tile) = image::decode(input.0, MAX_SAMPLES) {
        assert!(tile.samples.len() <= MAX_SAMPLES);
        comes_back(tile.shape, &tile.samples, max_error);
    }
    let bits = 1 + input.byte() % 16;
    let width = 1 + u16::from(input.byte() & 0x3F);
    let bands = 1 + u16::from(input.byte() & 3);
    let mask = u16::MAX >> (16 - bits);
    let samples: Vec<u16> = input
        .rest()
        .chunks_exact(2)
        .take(MAX_SAMPLES)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]) & mask)
        .collect();
    let height = samples.len() / (usize::from(width) * usize::from(bands));
    if height > 0 {
        let shape = Shape { width, height: height as u16, bands, bits };
        comes_back(shape, &samples[..shape.samples()], max_error);
    }
}

fn comes_back(shape: Shape, samples: &[u16], max_error: u16) {
    let encoded = image::encode(shape, samples, max_error).expect("samples of these bits");
    let back = image::decode(&encoded, samples.len()).expect("a tile of ours");
    assert_eq!(back.shape, shape);
    for (decoded, original) in back.samples.iter().zip(samples) {
        assert!(decoded.abs_diff(*original) <= max_error, "{decoded} for {original}");
    }
}
