//! Products: what the page shows of them, and the tensor that a pool is asked about.

use crate::publish::{Decision, Event, Score};
use bytes::Bytes;
use codecs::ids::SpacecraftId;
use codecs::product::{Product, ProductKind};
use codecs::tensor::{DType, Tensor};

/// Longest side of a thumbnail in pixels; larger products are thinned out to it.
pub const THUMBNAIL_SIDE_MAX: usize = 256;

/// Identity of a product: its spacecraft, its number and when it was taken, since numbers begin
/// again when an instrument restarts. A tile and the summary that went down before it are one.
pub fn identity(spacecraft: SpacecraftId, product: &Product) -> String {
    format!("{}-{}-{}", spacecraft.0, product.id, product.captured.0)
}

/// What the page is told.
pub fn event(spacecraft: SpacecraftId, kind: &str, product: &Product, sent: usize) -> Event {
    let decision = match product.kind {
        ProductKind::Tile | ProductKind::Parts => Decision::Sent,
        ProductKind::Summary => Decision::Summary,
    };
    let score = f64::from(product.score);
    Event::Product {
        id: identity(spacecraft, product),
        spacecraft,
        kind: kind.to_owned(),
        time: product.captured,
        lat: f64::from(product.latitude),
        lon: f64::from(product.longitude),
        score: (0.0..=1.0)
            .contains(&score)
            .then(|| Score { label: "cloud".to_owned(), value: score }),
        decision,
        thumbnail_png: thumbnail(product).unwrap_or_default(),
        source_bytes: u64::from(product.source_bytes),
        sent_bytes: sent as u64,
    }
}

/// The pixels as a picture: the first three bands as red, green and blue, or one band as grey.
fn thumbnail(product: &Product) -> Option<Bytes> {
    let (width, height) = (usize::from(product.width), usize::from(product.height));
    let plane = width * height;
    let colours = if product.bands >= 3 { 3 } else { 1 };
    // Deep samples are shown by their eight highest bits.
    let deep = product.bits > 8;
    let bytes = if deep { 2 } else { 1 };
    if plane == 0 || product.pixels.len() < plane * colours * bytes {
        return None;
    }
    let shown = |at: usize| match product.pixels.get(at * bytes..).and_then(<[u8]>::first_chunk) {
        Some(sample) if deep => (u16::from_be_bytes(*sample) >> (product.bits - 8)) as u8,
        _ => product.pixels.get(at * bytes).copied().unwrap_or_default(),
    };
    let step = width.max(height).div_ceil(THUMBNAIL_SIDE_MAX);
    let (columns, rows) = (width.div_ceil(step), height.div_ceil(step));
    let mut pixels = Vec::with_capacity(columns * rows * colours);
    for row in (0..height).step_by(step) {
        for column in (0..width).step_by(step) {
            let at = row * width + column;
            pixels.extend((0..colours).map(|band| shown(band * plane + at)));
        }
    }
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, columns as u32, rows as u32);
    encoder.set_color(if colours == 3 { png::ColorType::Rgb } else { png::ColorType::Grayscale });
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(&pixels).ok()?;
    writer.finish().ok()?;
    Some(out.into())
}

/// The whole product as the tensor of the task contract: one tile, band after band. Where parts of
/// it were left out on board, what stands there goes on from their surroundings.
pub fn tensor(product: &Product) -> Option<Tensor> {
    let shape =
        vec![1, u64::from(product.bands), u64::from(product.height), u64::from(product.width)];
    if product.bits <= 8 {
        return Tensor::new("tile", DType::U8, shape, product.pixels.clone()).ok();
    }
    let samples: Bytes = product.samples().into_iter().flat_map(u16::to_le_bytes).collect();
    Tensor::new("tile", DType::U16, shape, samples).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use codecs::time::Tai;

    pub(crate) fn tile(bands: u8, side: u16) -> Product {
        let plane = usize::from(side) * usize::from(side);
        let pixels: Vec<u8> = (0..bands)
            .flat_map(|band| (0..plane).map(move |at| band * 50 + (at % 50) as u8))
            .collect();
        Product {
            kind: ProductKind::Tile,
            id: 9,
            captured: Tai(1_795_392_037_000_000_000),
            latitude: 1.5,
            longitude: -20.25,
            attitude: None,
            footprint: None,
            score: 0.25,
            truth: None,
            bands,
            bits: 8,
            max_error: 0,
            width: side,
            height: side,
            source_bytes: 16_400,
            mask_width: 0,
            mask_height: 0,
            mask: Bytes::new(),
            regions: Vec::new(),
            features: Vec::new(),
            pixels: pixels.into(),
        }
    }

    #[test]
    fn a_tile_becomes_a_picture_with_its_colours() {
        for (bands, side, colours, shown) in [(4, 64, 3, 64), (1, 16, 1, 16), (3, 600, 3, 200)] {
            let product = tile(bands, side);
            let picture = thumbnail(&product).unwrap();
            let mut reader =
                png::Decoder::new(std::io::Cursor::new(&picture[..])).read_info().unwrap();
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            let info = reader.next_frame(&mut pixels).unwrap();
            assert_eq!((info.width, info.height), (shown, shown));
            assert_eq!(pixels.len(), (shown * shown) as usize * colours);
            if colours == 3 {
                assert_eq!(pixels[..3], [0, 50, 100]);
            }
        }
        assert_eq!(thumbnail(&tile(4, 0)), None);
    }

    #[test]
    fn the_tensor_has_the_tile_as_it_is() {
        let tensor = tensor(&tile(4, 64)).unwrap();
        assert_eq!(tensor.shape, [1, 4, 64, 64]);
        assert_eq!(tensor.data.len(), 4 * 64 * 64);
    }
}
