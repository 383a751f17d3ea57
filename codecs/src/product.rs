//! Payload products: a tile, the parts of it that are worth a contact, or the summary that goes down
//! in its place.
//!
//! ```text
//! offset size field
//!      0    4 magic "GTP2"
//!      4    1 kind: 1 tile, 2 summary, 3 the parts of a tile that its mask does not hide
//!      5    1 how things are written: bit 0 pixels, bit 1 mask as a tile of `squeeze::image`,
//!             bit 4 mask as one bit a cell, the highest first, else raw; bit 2 an attitude,
//!             bit 3 a footprint follows the header
//!      6    4 product identifier
//!     10    8 captured, ns TAI
//!     18    4 latitude of the centre, degrees, f32; NaN where unknown
//!     22    4 longitude, degrees, f32
//!     26    4 score, 0 to 1, f32
//!     30    1 truth in percent where the source states it, else 255
//!     31    1 bands
//!     32    2 width, pixels
//!     34    2 height, pixels
//!     36    4 bytes of the source that this stands for
//!     40    1 mask width, cells
//!     41    1 mask height, cells
//!     42    4 CRC-32C of everything else, mask and pixels as decoded
//!     46    1 bits of a sample, 1 to 16
//!     47    2 largest error of a sample
//!     49    1 boxes
//!     50    2 features
//!     52    - 16 bytes attitude: quaternion x, y, z, w from Earth-fixed axes to the instrument, f32
//!           - 32 bytes footprint: latitude and longitude of four corners in turn, f32
//!           - 9 bytes a box: left, top, width, height in pixels, score of 255
//!           - 4 bytes a feature, f32
//!           - 4 bytes length of the mask as written, mask, one byte a cell; then the pixels,
//!             band-sequential, samples of more than 8 bits as two bytes
//! ```
//!
//! Big-endian. "GTP1", which had neither from offset 46 on, still reads.

mod before;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use bytes::Bytes;

use crate::{
    fec::crc::Crc32c,
    squeeze::image::{self, Shape},
    time::Tai,
};

const MAGIC: [u8; 4] = *b"GTP2";
const HEADER: usize = 52;
const CHECK: core::ops::Range<usize> = 42..46;
const BOX_BYTES: usize = 9;
const PIXELS_SQUEEZED: u8 = 1;
const MASK_SQUEEZED: u8 = 2;
const ATTITUDE: u8 = 4;
const FOOTPRINT: u8 = 8;
const MASK_BITS: u8 = 16;
/// Pixels of a side of one cell of the mask.
pub const CELL: u16 = 4;
/// A cell of the mask from here on hides its pixels.
pub const HIDDEN_FROM: u8 = 128;
/// Most pixel bytes of one product; more is refused before anything is allocated.
pub const MAX_PIXEL_BYTES: usize = 4 << 20;
/// Most boxes of one product.
pub const MAX_BOXES: usize = 255;
/// Most features of one product.
pub const MAX_FEATURES: usize = 1024;

/// Whether the whole product came down or what stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProductKind {
    /// All pixels.
    Tile,
    /// Mask, boxes, features and a thumbnail; the tile itself was left out on purpose.
    Summary,
    /// The pixels of those cells whose mask is below [`HIDDEN_FROM`]. What stands in the others is
    /// made up from their surroundings.
    Parts,
}

/// A part of a tile that something was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First column, pixels.
    pub left: u16,
    /// First row, pixels.
    pub top: u16,
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
    /// Mean score inside, 255 for certain.
    pub score: u8,
}

/// One decoded product.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// Tile, parts of it, or summary.
    pub kind: ProductKind,
    /// Number that the instrument gave it.
    pub id: u32,
    /// When it was taken.
    pub captured: Tai,
    /// Latitude of the centre, degrees north; NaN where unknown.
    pub latitude: f32,
    /// Longitude of the centre, degrees east; NaN where unknown.
    pub longitude: f32,
    /// Quaternion x, y, z, w from Earth-fixed axes to the instrument, where it was known.
    pub attitude: Option<[f32; 4]>,
    /// Latitude and longitude of the four corners in turn, degrees, where they were known.
    pub footprint: Option<[[f32; 2]; 4]>,
    /// What the model said, 0 to 1 (cloud fraction for the cloud screen).
    pub score: f32,
    /// What the scene generator knows to be true, percent; absent on real instruments.
    pub truth: Option<u8>,
    /// Number of bands.
    pub bands: u8,
    /// Bits of a sample, 1 to 16.
    pub bits: u8,
    /// How far a sample may be from what was taken; 0 for lossless.
    pub max_error: u16,
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
    /// Where the mask says that something is, at most [`MAX_BOXES`].
    pub regions: Vec<Region>,
    /// What else describes it, by the instrument's contract, at most [`MAX_FEATURES`]; for a tile
    /// of ours the mean and the deviation of each band in turn.
    pub features: Vec<f32>,
    /// `bands * height * width` samples, band after band, big-endian; two bytes each where `bits`
    /// is above 8.
    pub pixels: Bytes,
}

/// Why bytes are no product, or a product can't be written.
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

/// Bytes of a sample.
fn sample_bytes(bits: u8) -> usize {
    if bits > 8 { 2 } else { 1 }
}

impl Product {
    /// The samples as numbers.
    pub fn samples(&self) -> Vec<u16> {
        numbers(&self.pixels, self.bits)
    }

    /// Which pixels of a band are left out, where the product is of parts and its mask covers it.
    pub fn hidden(&self) -> Option<Vec<bool>> {
        let sides = ([self.mask_width, self.mask_height], [self.width, self.height]);
        (self.kind == ProductKind::Parts).then(|| hidden(sides.0, &self.mask, sides.1)).flatten()
    }

    /// Writes the product, squeezing mask and pixels where that makes them smaller. Where
    /// `max_error` is above 0 the pixels written differ from these by so much at most.
    ///
    /// # Panics
    /// With more than [`MAX_BOXES`] regions or [`MAX_FEATURES`] features, or where a product of
    /// parts has a mask that doesn't cover it.
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.regions.len() <= MAX_BOXES && self.features.len() <= MAX_FEATURES);
        let hidden = self.hidden();
        assert!(hidden.is_some() || self.kind != ProductKind::Parts, "a mask for each pixel");
        let shape = self.shape(self.bits);
        let pixels = squeeze(shape, &self.pixels, self.max_error, hidden.as_deref());
        let squeezed = squeeze(self.mask_shape(), &self.mask, 0, None).map(|(tile, _)| tile);
        let (mask_flag, written) = match (squeezed, bits_of(&self.mask)) {
            (Some(tile), Some(bits)) if bits.len() > tile.len() => (MASK_SQUEEZED, tile),
            (_, Some(bits)) => (MASK_BITS, bits),
            (Some(tile), None) => (MASK_SQUEEZED, tile),
            (None, None) => (0, self.mask.to_vec()),
        };
        let mut flags = mask_flag;
        flags |= if pixels.is_some() { PIXELS_SQUEEZED } else { 0 };
        flags |= if self.attitude.is_some() { ATTITUDE } else { 0 };
        flags |= if self.footprint.is_some() { FOOTPRINT } else { 0 };
        let mut out = Vec::with_capacity(HEADER + self.mask.len() + self.pixels.len());
        self.put_header(&mut out, flags);
        out.extend_from_slice(&(written.len() as u32).to_be_bytes());
        let fields = out.len();
        out.extend_from_slice(&written);
        out.extend_from_slice(pixels.as_ref().map_or(&self.pixels, |(tile, _)| tile));
        let decoded = pixels.as_ref().map_or(&*self.pixels, |(_, decoded)| decoded);
        let check = check(out.get(..fields).unwrap_or_default(), &self.mask, decoded);
        out[CHECK].copy_from_slice(&check.to_be_bytes());
        out
    }

    fn put_header(&self, out: &mut Vec<u8>, flags: u8) {
        out.extend_from_slice(&MAGIC);
        out.push(match self.kind {
            ProductKind::Tile => 1,
            ProductKind::Summary => 2,
            ProductKind::Parts => 3,
        });
        out.push(flags);
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
        out.extend_from_slice(&[self.mask_width, self.mask_height, 0, 0, 0, 0, self.bits]);
        out.extend_from_slice(&self.max_error.to_be_bytes());
        out.push(self.regions.len() as u8);
        out.extend_from_slice(&(self.features.len() as u16).to_be_bytes());
        let place = self.attitude.iter().flatten().chain(self.footprint.iter().flatten().flatten());
        place.for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
        for region in &self.regions {
            let Region { left, top, width, height, score } = *region;
            let sides = [left, top, width, height];
            sides.iter().for_each(|side| out.extend_from_slice(&side.to_be_bytes()));
            out.push(score);
        }
        self.features.iter().for_each(|of| out.extend_from_slice(&of.to_be_bytes()));
    }

    /// Reads a product; mask and raw pixels are slices of `bytes`.
    ///
    /// # Errors
    /// Bytes that are no product, contradict themselves or exceed a bound.
    pub fn decode(bytes: &Bytes) -> Result<Self, ProductError> {
        match at::<4>(bytes, 0)? {
            MAGIC => {}
            before::MAGIC => return before::decode(bytes),
            _ => return Err(ProductError::Unknown("magic")),
        }
        let head = Self::head(bytes)?;
        let [flags] = at(bytes, 5)?;
        let known = PIXELS_SQUEEZED | MASK_SQUEEZED | ATTITUDE | FOOTPRINT | MASK_BITS;
        if flags & !known != 0 || flags & MASK_SQUEEZED != 0 && flags & MASK_BITS != 0 {
            return Err(ProductError::Unknown("flag"));
        }
        let [bits] = at(bytes, 46)?;
        if !(1..=16).contains(&bits) {
            return Err(ProductError::Unknown("number of bits"));
        }
        head.pixel_bytes(bits)?;
        let mut rest = Fields { bytes, offset: HEADER };
        let attitude = (flags & ATTITUDE != 0).then(|| rest.floats()).transpose()?;
        let corners = (flags & FOOTPRINT != 0).then(|| rest.floats::<8>()).transpose()?;
        let footprint = corners.map(|[a, b, c, d, e, f, g, h]| [[a, b], [c, d], [e, f], [g, h]]);
        let [boxes] = at(bytes, 49)?;
        let regions = (0..boxes).map(|_| rest.region()).collect::<Result<_, _>>()?;
        let features = (0..u16::from_be_bytes(at(bytes, 50)?)).map(|_| rest.floats::<1>());
        let features = features.map(|of| of.map(|[of]| of)).collect::<Result<Vec<_>, _>>()?;
        if features.len() > MAX_FEATURES {
            return Err(ProductError::Unknown("number of features"));
        }
        let mask_bytes = u32::from_be_bytes(rest.take()?) as usize;
        let (fields, end) = (rest.offset, rest.offset.saturating_add(mask_bytes));
        if bytes.len() < end {
            return Err(ProductError::Short { wanted: end, found: bytes.len() });
        }
        let (shape, mask_shape) = (head.shape(bits), head.mask_shape());
        let mask = match (flags & MASK_BITS != 0, bytes.slice(fields..end)) {
            (true, bits) => spread(&bits, mask_shape.samples())?,
            (false, mask) => unsqueeze(flags & MASK_SQUEEZED != 0, mask, mask_shape, None)?,
        };
        let sides = ([head.mask_width, head.mask_height], [head.width, head.height]);
        let hidden = match head.kind {
            ProductKind::Parts => {
                Some(hidden(sides.0, &mask, sides.1).ok_or(ProductError::Damaged)?)
            }
            ProductKind::Tile | ProductKind::Summary => None,
        };
        let squeezed = flags & PIXELS_SQUEEZED != 0;
        let pixels = unsqueeze(squeezed, bytes.slice(end..), shape, hidden.as_deref())?;
        let stated = u32::from_be_bytes(at(bytes, CHECK.start)?);
        if check(bytes.get(..fields).unwrap_or_default(), &mask, &pixels) != stated {
            return Err(ProductError::Damaged);
        }
        let max_error = u16::from_be_bytes(at(bytes, 47)?);
        Ok(Self { attitude, footprint, bits, max_error, mask, regions, features, pixels, ..head })
    }

    /// What every version has at the same places, with nothing else filled in.
    fn head(bytes: &Bytes) -> Result<Self, ProductError> {
        let kind = match at::<1>(bytes, 4)? {
            [1] => ProductKind::Tile,
            [2] => ProductKind::Summary,
            [3] => ProductKind::Parts,
            _ => return Err(ProductError::Unknown("kind")),
        };
        let ([truth], [bands]) = (at(bytes, 30)?, at(bytes, 31)?);
        let ([mask_width], [mask_height]) = (at(bytes, 40)?, at(bytes, 41)?);
        Ok(Self {
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
            width: u16::from_be_bytes(at(bytes, 32)?),
            height: u16::from_be_bytes(at(bytes, 34)?),
            source_bytes: u32::from_be_bytes(at(bytes, 36)?),
            mask_width,
            mask_height,
            mask: Bytes::new(),
            regions: Vec::new(),
            features: Vec::new(),
            pixels: Bytes::new(),
        })
    }

    /// Bytes of pixels of so many bits, if they are within the bound.
    fn pixel_bytes(&self, bits: u8) -> Result<usize, ProductError> {
        let samples = usize::from(self.width) * usize::from(self.height);
        let size = samples.saturating_mul(usize::from(self.bands) * sample_bytes(bits));
        if size > MAX_PIXEL_BYTES { Err(ProductError::TooLarge(size)) } else { Ok(size) }
    }

    fn shape(&self, bits: u8) -> Shape {
        Shape { width: self.width, height: self.height, bands: self.bands.into(), bits }
    }

    fn mask_shape(&self) -> Shape {
        Shape { width: self.mask_width.into(), height: self.mask_height.into(), bands: 1, bits: 8 }
    }
}

/// Check of a product whose `fields` end before the mask, without the check itself.
fn check(fields: &[u8], mask: &[u8], pixels: &[u8]) -> u32 {
    let mut digest = Crc32c::new();
    digest.update(fields.get(..CHECK.start).unwrap_or_default());
    digest.update(fields.get(CHECK.end..).unwrap_or_default());
    digest.update(mask);
    digest.update(pixels);
    digest.finish()
}

struct Fields<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], ProductError> {
        let taken = at(self.bytes, self.offset)?;
        self.offset += N;
        Ok(taken)
    }

    fn floats<const N: usize>(&mut self) -> Result<[f32; N], ProductError> {
        let mut out = [0.0; N];
        for number in &mut out {
            *number = f32::from_be_bytes(self.take()?);
        }
        Ok(out)
    }

    fn region(&mut self) -> Result<Region, ProductError> {
        let [a, b, c, d, e, f, g, h, score] = self.take::<BOX_BYTES>()?;
        let side = |high, low| u16::from_be_bytes([high, low]);
        let (left, top) = (side(a, b), side(c, d));
        Ok(Region { left, top, width: side(e, f), height: side(g, h), score })
    }
}

fn numbers(bytes: &[u8], bits: u8) -> Vec<u16> {
    match sample_bytes(bits) {
        1 => bytes.iter().map(|sample| u16::from(*sample)).collect(),
        _ => bytes.as_chunks().0.iter().map(|sample| u16::from_be_bytes(*sample)).collect(),
    }
}

fn bytes_of(samples: &[u16], bits: u8) -> Vec<u8> {
    match sample_bytes(bits) {
        1 => samples.iter().map(|sample| *sample as u8).collect(),
        _ => samples.iter().flat_map(|sample| sample.to_be_bytes()).collect(),
    }
}

/// Which pixels a mask hides; none where it has not a cell for each.
fn hidden(cells: [u8; 2], mask: &[u8], sides: [u16; 2]) -> Option<Vec<bool>> {
    let [across, down] = cells.map(usize::from);
    let [width, height] = sides.map(usize::from);
    let cell = usize::from(CELL);
    if across * down != mask.len()
        || across != width.div_ceil(cell)
        || down != height.div_ceil(cell)
    {
        return None;
    }
    let is_hidden = |x: usize, y: usize| {
        mask.get(y / cell * across + x / cell).is_some_and(|of| *of >= HIDDEN_FROM)
    };
    Some((0..height).flat_map(|y| (0..width).map(move |x| is_hidden(x, y))).collect())
}

/// A mask that says yes or no, one bit a cell; none where it says anything between.
fn bits_of(mask: &[u8]) -> Option<Vec<u8>> {
    if mask.is_empty() || !mask.iter().all(|of| matches!(*of, 0 | u8::MAX)) {
        return None;
    }
    let byte = |cells: &[u8]| {
        let bits = cells.iter().enumerate();
        bits.fold(0, |byte, (at, of)| byte | (of & 0x80) >> at)
    };
    Some(mask.chunks(8).map(byte).collect())
}

fn spread(bits: &[u8], cells: usize) -> Result<Bytes, ProductError> {
    // One mask has one writing.
    let left_over = bits.last().map_or(0, |last| match cells % 8 {
        0 => 0,
        used => last << used,
    });
    if bits.len() != cells.div_ceil(8) || left_over != 0 {
        return Err(ProductError::Damaged);
    }
    let spread = bits
        .iter()
        .flat_map(|byte| (0..8).map(move |at| if byte << at & 0x80 != 0 { u8::MAX } else { 0 }));
    Ok(spread.take(cells).collect::<Vec<u8>>().into())
}

/// A tile that holds the samples in fewer bytes, and the bytes that it decodes to; nothing where
/// it would hold them in more, or where they don't fit the shape.
fn squeeze(
    shape: Shape,
    samples: &Bytes,
    max_error: u16,
    hidden: Option<&[bool]>,
) -> Option<(Vec<u8>, Bytes)> {
    let numbers = numbers(samples, shape.bits);
    let tile = match hidden {
        Some(hidden) => image::encode_visible(shape, &numbers, max_error, hidden).ok()?,
        None => image::encode(shape, &numbers, max_error).ok()?,
    };
    if tile.len() >= samples.len() {
        return None;
    }
    let decoded = match (max_error, hidden) {
        (0, None) => samples.clone(),
        _ => bytes_of(&unsqueezed(&tile, shape, hidden).ok()?.samples, shape.bits).into(),
    };
    Some((tile, decoded))
}

fn unsqueezed(
    data: &[u8],
    shape: Shape,
    hidden: Option<&[bool]>,
) -> Result<image::Tile, image::TileError> {
    match hidden {
        Some(hidden) => image::decode_visible(data, shape.samples(), hidden),
        None => image::decode(data, shape.samples()),
    }
}

fn unsqueeze(
    squeezed: bool,
    data: Bytes,
    shape: Shape,
    hidden: Option<&[bool]>,
) -> Result<Bytes, ProductError> {
    let size = shape.samples() * sample_bytes(shape.bits);
    if !squeezed {
        return if data.len() == size { Ok(data) } else { Err(ProductError::Damaged) };
    }
    let tile = unsqueezed(&data, shape, hidden).map_err(|_| ProductError::Damaged)?;
    if tile.shape != shape {
        return Err(ProductError::Damaged);
    }
    Ok(bytes_of(&tile.samples, shape.bits).into())
}
