//! Images of a payload, cut into tiles: raw with a sidecar, PNG, GeoTIFF.
//!
//! ```text
//! bytes of a file ─► sizes against the bound ─► samples, band after band ─► tiles, row by row
//! ```
//!
//! Sizes are judged before anything is allocated for them. What a tile can't say stays NaN.

mod sidecar;
mod tiff;

use std::io::Cursor;

use codecs::time::Tai;

use super::place::Placed;
use crate::triage::{Place, Reflectance, TilePacket};

pub use sidecar::{SIDECAR_BYTES_MAX, Sidecar};

/// Largest side of a tile.
pub const SIDE_MAX: u16 = 256;
/// Most bytes of one tile: with a summary it must fit one commit of the store.
pub const TILE_BYTES_MAX: usize = 128 << 10;

/// Why a file is no image that can be cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// A name that says nothing known.
    #[error("the name ends in none of .raw, .png, .tif and .tiff")]
    Name,
    /// A raw image alone.
    #[error("a raw image needs a sidecar, the same name ending in .json, with width and height")]
    Sidecar,
    /// The sidecar is wrong.
    #[error("the sidecar: {0}")]
    Wrong(String),
    /// Sizes above the bound, or none.
    #[error(
        "{width} x {height} pixels of {bands} bands are none, or more than image_bytes_max = \
         {most}: cut it, or raise image_bytes_max"
    )]
    Size {
        /// Width.
        width: u64,
        /// Height.
        height: u64,
        /// Bands.
        bands: u64,
        /// Most bytes of samples.
        most: usize,
    },
    /// Other than 1 to 16 bits, or no whole numbers.
    #[error("samples of {0}: whole numbers of 8 or 16 bits are taken")]
    Samples(String),
    /// A tile would be larger than the store takes at once.
    #[error("a tile of {0} bytes is above {most}: set a smaller tile_side", most = TILE_BYTES_MAX)]
    Tile(usize),
    /// The length and the sizes disagree.
    #[error(
        "{found} bytes where the sizes say {wanted}: it is cut, or width, height, bands or bits in \
         the sidecar are another image's"
    )]
    Length {
        /// Bytes there.
        found: usize,
        /// Bytes that the sizes say.
        wanted: usize,
    },
    /// A sample above its bits.
    #[error("a sample above {0} bits: name the true bits in the sidecar")]
    Bits(u8),
    /// Cut, damaged, or of a kind that the decoder does not know; its own words beside.
    #[error(
        "the image can't be decoded: it is cut, damaged or of a kind that is not taken; send it \
         again, as PNG or TIFF of 8 or 16 bits, uncompressed or deflated (decoder: {0})"
    )]
    Broken(String),
}

/// An image as it is cut: `bands * height * width` samples, band after band, big-endian.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Number of bands.
    pub bands: u8,
    /// Bits of a sample, 1 to 16.
    pub bits: u8,
    /// The samples; two bytes each where `bits` is above 8.
    pub samples: Vec<u8>,
    /// Where it lies.
    pub placed: Option<Placed>,
    /// Quaternion x, y, z, w from Earth-fixed axes to the instrument.
    pub attitude: Option<[f32; 4]>,
    /// When it was taken.
    pub captured: Option<Tai>,
    /// What a sample means, where the product says it.
    pub reflectance: Option<Reflectance>,
}

/// Reads a file by its name's ending; `most` bounds the bytes of samples.
pub fn read(
    name: &str,
    bytes: &[u8],
    sidecar: Option<&[u8]>,
    most: usize,
) -> Result<Image, ImageError> {
    let sidecar = sidecar.map(Sidecar::parse).transpose()?;
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let mut image = match ending.as_deref() {
        Some("raw") => raw(bytes, sidecar.as_ref().ok_or(ImageError::Sidecar)?, most)?,
        Some("png") => png(bytes, most)?,
        Some("tif" | "tiff") => tiff::read(bytes, most)?,
        _ => return Err(ImageError::Name),
    };
    if let Some(sidecar) = sidecar {
        image.captured = sidecar.captured();
        image.attitude = sidecar.attitude;
        image.reflectance = sidecar.reflectance()?;
        image.placed = sidecar.placed()?.or(image.placed);
    }
    Ok(image)
}

/// Bytes of samples, where they are within the bound.
fn sizes(
    width: u64,
    height: u64,
    bands: u64,
    deep: bool,
    most: usize,
) -> Result<usize, ImageError> {
    let plane = width.checked_mul(height);
    let size = plane.and_then(|plane| plane.checked_mul(bands)?.checked_mul(1 + u64::from(deep)));
    let within = size.and_then(|size| usize::try_from(size).ok());
    let within = within.filter(|size| (1..=most).contains(size) && bands <= 255);
    within.ok_or(ImageError::Size { width, height, bands, most })
}

fn raw(bytes: &[u8], sidecar: &Sidecar, most: usize) -> Result<Image, ImageError> {
    let (width, height) = sidecar.width.zip(sidecar.height).ok_or(ImageError::Sidecar)?;
    let bits = sidecar.bits;
    if !(1..=16).contains(&bits) {
        return Err(ImageError::Samples(format!("{bits} bits")));
    }
    let deep = bits > 8;
    let wanted = sizes(width.into(), height.into(), sidecar.bands.into(), deep, most)?;
    if bytes.len() != wanted {
        return Err(ImageError::Length { found: bytes.len(), wanted });
    }
    let mut samples = match sidecar.interleaved {
        true => planar(bytes, sidecar.bands.into(), 1 + usize::from(deep)),
        false => bytes.to_vec(),
    };
    if deep && sidecar.little_endian {
        samples.as_chunks_mut::<2>().0.iter_mut().for_each(|sample| sample.reverse());
    }
    let image = Image {
        width,
        height,
        bands: sidecar.bands,
        bits,
        samples,
        placed: None,
        attitude: None,
        captured: None,
        reflectance: None,
    };
    if image.within_bits() { Ok(image) } else { Err(ImageError::Bits(bits)) }
}

/// Samples that stand pixel by pixel, band after band.
fn planar(bytes: &[u8], bands: usize, size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for band in 0..bands {
        for pixel in bytes.chunks_exact(bands * size) {
            out.extend_from_slice(pixel.get(band * size..(band + 1) * size).unwrap_or_default());
        }
    }
    out
}

fn png(bytes: &[u8], most: usize) -> Result<Image, ImageError> {
    let broken = |error: png::DecodingError| ImageError::Broken(error.to_string());
    let limits = png::Limits { bytes: most };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(broken)?;
    let (width, height) = (reader.info().width, reader.info().height);
    let (colour, depth) = reader.output_color_type();
    let bands = colour.samples();
    let deep = depth == png::BitDepth::Sixteen;
    let size = sizes(width.into(), height.into(), bands as u64, deep, most)?;
    let mut buffer = vec![0; size];
    let frame = reader.next_frame(&mut buffer).map_err(broken)?;
    if frame.buffer_size() != size {
        return Err(ImageError::Length { found: frame.buffer_size(), wanted: size });
    }
    let samples = planar(&buffer, bands, 1 + usize::from(deep));
    Ok(Image {
        width,
        height,
        bands: bands as u8,
        bits: if deep { 16 } else { 8 },
        samples,
        placed: None,
        attitude: None,
        captured: None,
        reflectance: None,
    })
}

impl Image {
    fn sample_bytes(&self) -> usize {
        if self.bits > 8 { 2 } else { 1 }
    }

    fn within_bits(&self) -> bool {
        match self.bits {
            1..=7 => self.samples.iter().all(|sample| sample >> self.bits == 0),
            9..=15 => {
                let samples = self.samples.as_chunks::<2>().0.iter();
                samples.map(|of| u16::from_be_bytes(*of)).all(|sample| sample >> self.bits == 0)
            }
            _ => true,
        }
    }

    /// How many tiles of this side it makes; an error where one would be too large.
    pub fn tiles(&self, side: u16) -> Result<u32, ImageError> {
        let bytes = usize::from(side).pow(2) * usize::from(self.bands) * self.sample_bytes();
        if bytes > TILE_BYTES_MAX {
            return Err(ImageError::Tile(bytes));
        }
        let side = u32::from(side.max(1));
        // Sides are bounded by the bytes of the samples, so the product stays far below 2^32.
        Ok(self.width.div_ceil(side).saturating_mul(self.height.div_ceil(side)))
    }

    /// The tile of this number, row by row from the upper left; edge tiles keep their true size.
    pub fn tile(&self, number: u32, side: u16, id: u32) -> Option<TilePacket> {
        let side = u32::from(side.max(1));
        let across = self.width.div_ceil(side);
        let (left, top) = (number % across * side, number / across * side);
        let width = side.min(self.width.checked_sub(left)?);
        let height = side.min(self.height.checked_sub(top).filter(|rows| *rows > 0)?);
        let size = self.sample_bytes();
        let row_bytes = width as usize * size;
        let mut pixels = Vec::with_capacity(row_bytes * height as usize * usize::from(self.bands));
        for band in 0..usize::from(self.bands) {
            for row in top..top + height {
                let line = band * self.height as usize + row as usize;
                let start = (line * self.width as usize + left as usize) * size;
                pixels.extend_from_slice(self.samples.get(start..start + row_bytes)?);
            }
        }
        let at = |column: f64, row: f64| {
            let (column, row) = (f64::from(left) + column, f64::from(top) + row);
            self.placed?.degrees(column, row, self.width.into(), self.height.into())
        };
        let (right, bottom) = (f64::from(width), f64::from(height));
        let centre = at(right / 2.0, bottom / 2.0);
        let corners = [at(0.0, 0.0), at(right, 0.0), at(right, bottom), at(0.0, bottom)];
        let [a, b, c, d] = corners.map(|of| of.map(|degrees| degrees.map(|of| of as f32)));
        let footprint = a.zip(b).zip(c.zip(d)).map(|((a, b), (c, d))| [a, b, c, d]);
        let [latitude, longitude] = centre.unwrap_or([f64::NAN; 2]).map(|of| of as f32);
        Some(TilePacket {
            id,
            latitude,
            longitude,
            place: footprint.map(|footprint| Place { attitude: self.attitude, footprint }),
            truth: None,
            width: width as u16,
            height: height as u16,
            bands: self.bands,
            bits: self.bits,
            reflectance: self.reflectance,
            pixels: pixels.into(),
        })
    }
}

#[cfg(test)]
mod tests;
