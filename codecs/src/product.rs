//! Payload products: a tile, or the summary that goes down in its place.
//!
//! ```text
//! offset size field
//!      0    4 magic "GTP1"
//!      4    1 kind: 1 tile, 2 summary
//!      5    1 encoding of the pixels: 0 raw, 1 horizontal differences under zstd
//!      6    4 product identifier
//!     10    8 captured, ns TAI
//!     18    4 latitude, degrees, f32
//!     22    4 longitude, degrees, f32
//!     26    4 score, 0 to 1, f32
//!     30    1 truth in percent where the source states it, else 255
//!     31    1 bands
//!     32    2 width, pixels
//!     34    2 height, pixels
//!     36    4 bytes of the source that this stands for
//!     40    1 mask width
//!     41    1 mask height
//!     42    4 CRC-32C of mask and pixels as decoded
//!     46    - mask, one byte a cell, then the pixels, band-sequential
//! ```

use alloc::vec::Vec;
use bytes::Bytes;

use crate::{fec::crc::crc32c, time::Tai};

const MAGIC: [u8; 4] = *b"GTP1";
const HEADER: usize = 46;
/// Most pixel bytes of one product; more is refused before anything is allocated.
pub const MAX_PIXEL_BYTES: usize = 4 << 20;

/// Whether the whole product came down or what stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProductKind {
    /// All pixels.
    Tile,
    /// Mask, score and a thumbnail; the tile itself was left out on purpose.
    Summary,
}

/// One decoded product.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// Tile or summary.
    pub kind: ProductKind,
    /// Number that the instrument gave it.
    pub id: u32,
    /// When it was taken.
    pub captured: Tai,
    /// Latitude of the centre, degrees north.
    pub latitude: f32,
    /// Longitude of the centre, degrees east.
    pub longitude: f32,
    /// What the model said, 0 to 1 (cloud fraction for the cloud screen).
    pub score: f32,
    /// What the scene generator knows to be true, percent; absent on real instruments.
    pub truth: Option<u8>,
    /// Number of bands.
    pub bands: u8,
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// Size of the source that this stands for.
    pub source_bytes: u32,
    /// Width of the mask in cells.
    pub mask_width: u8,
    /// Height of the mask in cells.
    pub mask_height: u8,
    /// One byte a cell, 255 for certainly cloud.
    pub mask: Bytes,
    /// `bands * height * width` bytes, band after band.
    pub pixels: Bytes,
}

/// Why bytes are no product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProductError {
    /// Fewer bytes than the header says.
    #[error("product cut short: {found} bytes where at least {wanted} are needed")]
    Short {
        /// Bytes needed.
        wanted: usize,
        /// Bytes found.
        found: usize,
    },
    /// Not a product, or of a later version.
    #[error("product header: {0} is unknown")]
    Unknown(&'static str),
    /// More pixels than [`MAX_PIXEL_BYTES`].
    #[error("product of {0} pixel bytes is above the bound of {MAX_PIXEL_BYTES}")]
    TooLarge(usize),
    /// Contents contradict the header.
    #[error("product contents contradict their header")]
    Damaged,
}

fn at<const N: usize>(bytes: &[u8], offset: usize) -> Result<[u8; N], ProductError> {
    bytes
        .get(offset..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .ok_or(ProductError::Short { wanted: offset + N, found: bytes.len() })
}

impl Product {
    /// Writes the product, squeezing the pixels where that makes them smaller.
    pub fn encode(&self) -> Vec<u8> {
        let (encoding, pixels) = squeeze(&self.pixels, self.width);
        let mut content = Vec::from(&*self.mask);
        content.extend_from_slice(&self.pixels);
        let mut out = Vec::with_capacity(HEADER + self.mask.len() + pixels.len());
        out.extend_from_slice(&MAGIC);
        out.push(match self.kind {
            ProductKind::Tile => 1,
            ProductKind::Summary => 2,
        });
        out.push(encoding);
        out.extend_from_slice(&self.id.to_be_bytes());
        out.extend_from_slice(&self.captured.0.to_be_bytes());
        out.extend_from_slice(&self.latitude.to_be_bytes());
        out.extend_from_slice(&self.longitude.to_be_bytes());
        out.extend_from_slice(&self.score.to_be_bytes());
        out.push(self.truth.unwrap_or(u8::MAX));
        out.push(self.bands);
        out.extend_from_slice(&self.width.to_be_bytes());
        out.extend_from_slice(&self.height.to_be_bytes());
        out.extend_from_slice(&self.source_bytes.to_be_bytes());
        out.push(self.mask_width);
        out.push(self.mask_height);
        out.extend_from_slice(&crc32c(&content).to_be_bytes());
        out.extend_from_slice(&self.mask);
        out.extend_from_slice(&pixels);
        out
    }

    /// Reads a product; mask and raw pixels are slices of `bytes`.
    pub fn decode(bytes: &Bytes) -> Result<Self, ProductError> {
        if at::<4>(bytes, 0)? != MAGIC {
            return Err(ProductError::Unknown("magic"));
        }
        let kind = match at::<1>(bytes, 4)? {
            [1] => ProductKind::Tile,
            [2] => ProductKind::Summary,
            _ => return Err(ProductError::Unknown("kind")),
        };
        let [encoding] = at(bytes, 5)?;
        let [truth] = at(bytes, 30)?;
        let [bands] = at(bytes, 31)?;
        let (width, height) =
            (u16::from_be_bytes(at(bytes, 32)?), u16::from_be_bytes(at(bytes, 34)?));
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
        Ok(Self {
            kind,
            id: u32::from_be_bytes(at(bytes, 6)?),
            captured: Tai(i64::from_be_bytes(at(bytes, 10)?)),
            latitude: f32::from_be_bytes(at(bytes, 18)?),
            longitude: f32::from_be_bytes(at(bytes, 22)?),
            score: f32::from_be_bytes(at(bytes, 26)?),
            truth: (truth <= 100).then_some(truth),
            bands,
            width,
            height,
            source_bytes: u32::from_be_bytes(at(bytes, 36)?),
            mask_width,
            mask_height,
            mask,
            pixels,
        })
    }
}

fn squeeze(pixels: &Bytes, width: u16) -> (u8, Bytes) {
    #[cfg(feature = "zstd")]
    {
        let mut differences = Vec::with_capacity(pixels.len());
        for row in pixels.chunks(usize::from(width.max(1))) {
            let before = core::iter::once(&0).chain(row);
            differences.extend(row.iter().zip(before).map(|(here, left)| here.wrapping_sub(*left)));
        }
        if let Ok(small) = zstd::bulk::compress(&differences, 3)
            && small.len() < pixels.len()
        {
            return (1, small.into());
        }
    }
    let _ = width;
    (0, pixels.clone())
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn product(width: u16, height: u16, bands: u8, seed: u8) -> Product {
        let size = usize::from(width) * usize::from(height) * usize::from(bands);
        let pixels = (0..size).map(|at| seed.wrapping_add((at / 7) as u8)).collect::<Vec<u8>>();
        Product {
            kind: ProductKind::Summary,
            id: 7,
            captured: Tai(123_456_789),
            latitude: 78.2,
            longitude: -15.4,
            score: 0.75,
            truth: Some(71),
            bands,
            width,
            height,
            source_bytes: 16_413,
            mask_width: 3,
            mask_height: 2,
            mask: Bytes::from_static(&[0, 1, 2, 3, 4, 255]),
            pixels: pixels.into(),
        }
    }

    proptest! {
        #[test]
        fn products_come_back(width in 0u16..40, height in 0u16..40, bands in 0u8..5, seed: u8) {
            let product = product(width, height, bands, seed);
            prop_assert_eq!(Product::decode(&product.encode().into()), Ok(product));
        }

        #[test]
        fn damage_is_an_error_or_harmless(position in 0usize..600, bit in 0u8..8, cut in 0usize..600) {
            let whole = product(16, 16, 2, 9).encode();
            let mut flipped = whole.clone();
            let position = position % flipped.len();
            flipped[position] ^= 1 << bit;
            // Words of the header that describe, rather than shape, the content carry no check here:
            // the unit around the product has one.
            let _ = Product::decode(&flipped.into());
            let cut = cut % whole.len();
            prop_assert!(Product::decode(&Bytes::copy_from_slice(&whole[..cut])).is_err());
        }
    }

    #[test]
    fn a_size_that_lies_allocates_nothing() {
        let mut bytes = product(4, 4, 1, 0).encode();
        bytes[31..36].copy_from_slice(&[255; 5]);
        assert!(matches!(Product::decode(&bytes.into()), Err(ProductError::TooLarge(_))));
    }
}
