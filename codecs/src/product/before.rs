//! Products of version 1, as archives hold them.
//!
//! Pixels of 8 bits at offset 46, behind the mask; at offset 5 the pixels' encoding: 0 raw,
//! 1 horizontal differences under zstd; the check covers mask and pixels only.

use alloc::vec::Vec;
use bytes::Bytes;

use super::{Product, ProductError, ProductKind, at};
use crate::fec::crc::crc32c;

pub(super) const MAGIC: [u8; 4] = *b"GTP1";
const HEADER: usize = 46;

pub(super) fn decode(bytes: &Bytes) -> Result<Product, ProductError> {
    let head = Product::head(bytes)?;
    if head.kind == ProductKind::Parts {
        return Err(ProductError::Unknown("kind"));
    }
    let [encoding] = at(bytes, 5)?;
    let crc = u32::from_be_bytes(at(bytes, 42)?);
    let size = head.pixel_bytes(head.bits)?;
    let mask_end = HEADER + head.mask_shape().samples();
    if bytes.len() < mask_end {
        return Err(ProductError::Short { wanted: mask_end, found: bytes.len() });
    }
    let mask = bytes.slice(HEADER..mask_end);
    let pixels = unsqueeze(encoding, bytes.slice(mask_end..), size, head.width)?;
    let mut content = Vec::from(&*mask);
    content.extend_from_slice(&pixels);
    if crc32c(&content) != crc {
        return Err(ProductError::Damaged);
    }
    Ok(Product { mask, pixels, ..head })
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
