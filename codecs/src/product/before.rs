//! Products of version 1, as archives hold them.
//!
//! Pixels of 8 bits at offset 46, behind the mask; at offset 5 the pixels' encoding: 0 raw,
//! 1 horizontal differences under zstd; the check covers mask and pixels only.

use alloc::vec::Vec;
use bytes::Bytes;

use super::{MAX_PIXEL_BYTES, Product, ProductError, ProductKind, at};
use crate::{fec::crc::crc32c, time::Tai};

pub(super) const MAGIC: [u8; 4] = *b"GTP1";
const HEADER: usize = 46;

pub(super) fn decode(bytes: &Bytes) -> Result<Product, ProductError> {
    let kind = match at::<1>(bytes, 4)? {
        [1] => ProductKind::Tile,
        [2] => ProductKind::Summary,
        _ => return Err(ProductError::Unknown("kind")),
    };
    let [encoding] = at(bytes, 5)?;
    let [truth] = at(bytes, 30)?;
    let [bands] = at(bytes, 31)?;
    let (width, height) = (u16::from_be_bytes(at(bytes, 32)?), u16::from_be_bytes(at(bytes, 34)?));
    let ([mask_width], [mask_height]) = (at(bytes, 40)?, at(bytes, 41)?);
    let crc = u32::from_be_bytes(at(bytes, 42)?);
    let size = usize::from(width) * usize::from(height) * usize::from(bands);
    if size > MAX_PIXEL_BYTES {
        return Err(ProductError::TooLarge(size));
    }
    let mask_end = HEADER + usize::from(mask_width) * usize::from(mask_height);
    if bytes.len() < mask_end {
        return Err(ProductError::Short { wanted: mask_end, found: bytes.len() });
    }
    let mask = bytes.slice(HEADER..mask_end);
    let pixels = unsqueeze(encoding, bytes.slice(mask_end..), size, width)?;
    let mut content = Vec::from(&*mask);
    content.extend_from_slice(&pixels);
    if crc32c(&content) != crc {
        return Err(ProductError::Damaged);
    }
    Ok(Product {
        kind,
        id: u32::from_be_bytes(at(bytes, 6)?),
        captured: Tai(i64::from_be_bytes(at(bytes, 10)?)),
        latitude: f32::from_be_bytes(at(bytes, 18)?),
        longitude: f32::from_be_bytes(at(bytes, 22)?),
        attitude: None,
        footprint: None,
        score: f32::from_be_bytes(at(bytes, 26)?),
        truth: (truth <= 100).then_some(truth),
        bands,
        bits: 8,
        max_error: 0,
        width,
        height,
        source_bytes: u32::from_be_bytes(at(bytes, 36)?),
        mask_width,
        mask_height,
        mask,
        regions: Vec::new(),
        features: Vec::new(),
        pixels,
    })
}

fn unsqueeze(encoding: u8, data: Bytes, size: usize, width: u16) -> Result<Bytes, ProductError> {
    match encoding {
        0 if data.len() == size => Ok(data),
        0 => Err(ProductError::Damaged),
        #[cfg(feature = "zstd")]
        1 => {
            let mut pixels =
                zstd::bulk::decompress(&data, size).map_err(|_| ProductError::Damaged)?;
            if pixels.len() != size {
                return Err(ProductError::Damaged);
            }
            for row in pixels.chunks_mut(usize::from(width.max(1))) {
                let mut left = 0u8;
                for pixel in row {
                    *pixel = pixel.wrapping_add(left);
                    left = *pixel;
                }
            }
            Ok(pixels.into())
        }
        _ => {
            let _ = width;
            Err(ProductError::Unknown("encoding"))
        }
    }
}
