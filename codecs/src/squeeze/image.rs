//! Tiles of co-registered bands, lossless or with a bounded error.
//!
//! ```text
//! samples ─► prediction (neighbours, up to three bands before; least squares over the rows before)
//!         ─► residual, divided where an error is allowed ─► symbols by context ─► range coder
//! ```
//!
//! A tile is lost alone: nothing in it refers to another. Encoder and decoder learn from the
//! samples that both have, so weights and statistics cost no bytes. A tile that would not get
//! smaller is stored as it is. Where whoever reads knows which places nobody wants (cloud, as a mask
//! says), these are left out: they cost nothing and come back as what their surroundings foretell.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 2 | magic `Ti` |
//! | 2 | 1 | version (high four bits, 1) and method (low four: 0 stored, 1 predicted, 2 predicted with places left out) |
//! | 3 | 1 | bits of a sample, 1 to 16 |
//! | 4 | 2 | width |
//! | 6 | 2 | height |
//! | 8 | 2 | bands |
//! | 10 | 2 | largest error of a sample |
//! | 12 | 4 | CRC-32C of bytes 2 to 11 and of the decoded samples as two bytes each |
//! | 16 | | samples; or 4 bytes with the length of the range coder's part, that part, plain bits |
//!
//! Big-endian. **Panics:** none, whatever the bytes; a decoder takes memory row by row as they come
//! out of the data or are left out, for at most the samples its caller allows and
//! [`MAX_TILE_SAMPLES`].

mod fit;
mod range;
mod model;
mod plane;
mod rows;

use crate::fec::crc::Crc32c;
use alloc::vec::Vec;

/// Most samples of a tile, all bands together.
pub const MAX_TILE_SAMPLES: usize = 1 << 24;

/// Most bands of a tile.
pub const MAX_BANDS: u16 = 256;

/// Most bits of a sample.
pub const MAX_BITS: u8 = 16;

const MAGIC: [u8; 2] = *b"Ti";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 16;
const STORED: u8 = 0;
const PREDICTED: u8 = 1;
const VISIBLE: u8 = 2;

/// What a tile's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Samples of a row, 1 or more.
    pub width: u16,
    /// Rows of a band, 1 or more.
    pub height: u16,
    /// Bands, 1 to [`MAX_BANDS`], each of the same ground.
    pub bands: u16,
    /// Bits of a sample, 1 to [`MAX_BITS`]; samples are unsigned.
    pub bits: u8,
}

impl Shape {
    /// Samples of all bands.
    pub fn samples(&self) -> usize {
        // Saturates where addresses have 32 bits: a header may say anything.
        let area = usize::from(self.width).saturating_mul(usize::from(self.height));
        area.saturating_mul(usize::from(self.bands))
    }

    fn check(&self, limit: usize) -> Result<(), TileError> {
        if !(1..=MAX_BITS).contains(&self.bits) {
            return Err(TileError::Bits(self.bits));
        }
        if self.width == 0 || self.height == 0 || !(1..=MAX_BANDS).contains(&self.bands) {
            let Self { width, height, bands, .. } = *self;
            return Err(TileError::Shape { width, height, bands });
        }
        let (samples, limit) = (self.samples(), limit.min(MAX_TILE_SAMPLES));
        if samples > limit { Err(TileError::TooLarge { samples, limit }) } else { Ok(()) }
    }

    fn check_hidden(&self, hidden: &[bool]) -> Result<(), TileError> {
        let wanted = usize::from(self.width).saturating_mul(usize::from(self.height));
        match hidden.len() {
            found if found == wanted => Ok(()),
            found => Err(TileError::Hidden { wanted, found }),
        }
    }

    /// Largest sample.
    fn max(&self) -> i32 {
        (1 << self.bits.min(MAX_BITS)) - 1
    }
}

/// A tile as it was decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// What the samples are.
    pub shape: Shape,
    /// How far a sample may be from what was encoded; 0 for lossless.
    pub max_error: u16,
    /// Band after band, in each row after row.
    pub samples: Vec<u16>,
}

/// Why a tile can't be made or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// Samples have 1 to [`MAX_BITS`] bits.
    #[error("samples of {0} bits; a tile has 1 to {MAX_BITS}")]
    Bits(u8),
    /// A tile without samples, or with too many bands.
    #[error("a tile of {width} x {height} in {bands} bands; all are at least 1, bands at most 256")]
    Shape {
        /// Samples of a row.
        width: u16,
        /// Rows.
        height: u16,
        /// Bands.
        bands: u16,
    },
    /// More samples than a tile, or the caller, allows.
    #[error("a tile of {samples} samples, over the limit of {limit}")]
    TooLarge {
        /// Samples of the tile.
        samples: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The samples are not as many as the shape says.
    #[error("{found} samples for a tile of {wanted}")]
    Count {
        /// What the shape asks for.
        wanted: usize,
        /// What was given.
        found: usize,
    },
    /// A sample has more bits than the shape says.
    #[error("sample {index} is {value}, which has more than {bits} bits")]
    Sample {
        /// Which sample, from 0.
        index: usize,
        /// What it is.
        value: u16,
        /// The bits agreed on.
        bits: u8,
    },
    /// What says which places are left out is not one for each of a band.
    #[error("{found} places left out or not, a band has {wanted}")]
    Hidden {
        /// Places of a band.
        wanted: usize,
        /// What was given.
        found: usize,
    },
    /// Only with the places that were left out can the tile be read, or only without.
    #[error("tile of method {method}: places left out were named: {given}; method 2 wants them")]
    Places {
        /// Method of the tile.
        method: u8,
        /// Whether the reader named places.
        given: bool,
    },
    /// The tile doesn't begin as one.
    #[error("not a tile: no `Ti` at its start")]
    Magic,
    /// A version or method that this decoder doesn't know.
    #[error("tile of version {version}, method {method}; known: version 1, methods 0 to 2")]
    Unknown {
        /// Version of the tile.
        version: u8,
        /// Method of the tile.
        method: u8,
    },
    /// The tile ends early or has bytes too many.
    #[error("the tile ends early or has bytes too many")]
    Truncated,
    /// A code that no encoder gives.
    #[error("the tile is damaged in band {band}, row {row}")]
    Damaged {
        /// Which band, from 0.
        band: u16,
        /// Which row, from 0.
        row: u16,
    },
    /// The check does not hold.
    #[error("CRC-32C of the tile is {found:#010x}, its header says {stated:#010x}")]
    Crc {
        /// What the header states.
        stated: u32,
        /// What header and samples give.
        found: u32,
    },
}

/// Encodes samples, band after band and in each row after row. No decoded sample will be further
/// than `max_error` from its original; 0 keeps every bit.
pub fn encode(shape: Shape, samples: &[u16], max_error: u16) -> Result<Vec<u8>, TileError> {
    let (ranged, plain, decoded) = squeezed(shape, samples, max_error, &[])?;
    let stored_bytes = shape.samples() * sample_bytes(shape.bits);
    if 4 + ranged.len() + plain.len() < stored_bytes {
        let tile = header(shape, max_error, PREDICTED, &decoded);
        return Ok(with_streams(tile, &ranged, &plain));
    }
    let mut tile = header(shape, max_error, STORED, samples);
    match sample_bytes(shape.bits) {
        1 => tile.extend(samples.iter().map(|sample| *sample as u8)),
        _ => samples.iter().for_each(|sample| tile.extend_from_slice(&sample.to_be_bytes())),
    }
    Ok(tile)
}

/// Encodes samples as [`encode`] does, without the places of a band that `hidden` names: one value
/// a place, row after row, the same for every band. A decoder has to be told the same.
pub fn encode_visible(
    shape: Shape,
    samples: &[u16],
    max_error: u16,
    hidden: &[bool],
) -> Result<Vec<u8>, TileError> {
    shape.check_hidden(hidden)?;
    let (ranged, plain, decoded) = squeezed(shape, samples, max_error, hidden)?;
    Ok(with_streams(header(shape, max_error, VISIBLE, &decoded), &ranged, &plain))
}

/// A tile's streams, once its samples fit its shape.
fn squeezed(
    shape: Shape,
    samples: &[u16],
    max_error: u16,
    hidden: &[bool],
) -> Result<plane::Streams, TileError> {
    shape.check(MAX_TILE_SAMPLES)?;
    if samples.len() != shape.samples() {
        return Err(TileError::Count { wanted: shape.samples(), found: samples.len() });
    }
    let stray = samples.iter().position(|sample| i32::from(*sample) > shape.max());
    if let Some((index, value)) = stray.and_then(|at| Some((at, *samples.get(at)?))) {
        return Err(TileError::Sample { index, value, bits: shape.bits });
    }
    Ok(plane::encode(shape, samples, max_error, hidden))
}

fn with_streams(mut tile: Vec<u8>, ranged: &[u8], plain: &[u8]) -> Vec<u8> {
    tile.extend_from_slice(&(ranged.len() as u32).to_be_bytes());
    tile.extend_from_slice(ranged);
    tile.extend_from_slice(plain);
    tile
}

/// Decodes a tile of at most `max_samples` samples.
pub fn decode(tile: &[u8], max_samples: usize) -> Result<Tile, TileError> {
    read(tile, max_samples, None)
}

/// Decodes what [`encode_visible`] gave, with the same `hidden`. What stands in hidden places is
/// no picture.
pub fn decode_visible(tile: &[u8], max_samples: usize, hidden: &[bool]) -> Result<Tile, TileError> {
    read(tile, max_samples, Some(hidden))
}

fn read(tile: &[u8], max_samples: usize, hidden: Option<&[bool]>) -> Result<Tile, TileError> {
    let (magic, rest) = tile.split_first_chunk::<2>().ok_or(TileError::Truncated)?;
    if *magic != MAGIC {
        return Err(TileError::Magic);
    }
    let (fields, rest) = rest.split_first_chunk::<10>().ok_or(TileError::Truncated)?;
    let (stated, body) = rest.split_first_chunk::<4>().ok_or(TileError::Truncated)?;
    let [tag, bits, w0, w1, h0, h1, b0, b1, e0, e1] = *fields;
    let shape = Shape {
        width: u16::from_be_bytes([w0, w1]),
        height: u16::from_be_bytes([h0, h1]),
        bands: u16::from_be_bytes([b0, b1]),
        bits,
    };
    let max_error = u16::from_be_bytes([e0, e1]);
    let (version, method) = (tag >> 4, tag & 0x0F);
    if version != VERSION || method > VISIBLE {
        return Err(TileError::Unknown { version, method });
    }
    shape.check(max_samples)?;
    if (method == VISIBLE) != hidden.is_some() {
        return Err(TileError::Places { method, given: hidden.is_some() });
    }
    if let Some(hidden) = hidden {
        shape.check_hidden(hidden)?;
    }
    let samples = if method == STORED {
        unstore(shape, body)?
    } else {
        let (length, streams) = body.split_first_chunk::<4>().ok_or(TileError::Truncated)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (ranged, plain) = streams.split_at_checked(length).ok_or(TileError::Truncated)?;
        plane::decode(shape, ranged, plain, max_error, hidden.unwrap_or_default())?
    };
    let (stated, found) = (u32::from_be_bytes(*stated), check(fields, &samples));
    if stated != found {
        return Err(TileError::Crc { stated, found });
    }
    Ok(Tile { shape, max_error, samples })
}

/// Bytes of a stored sample.
fn sample_bytes(bits: u8) -> usize {
    usize::from(bits).div_ceil(8)
}

fn unstore(shape: Shape, body: &[u8]) -> Result<Vec<u16>, TileError> {
    if body.len() != shape.samples() * sample_bytes(shape.bits) {
        return Err(TileError::Truncated);
    }
    Ok(match sample_bytes(shape.bits) {
        1 => body.iter().map(|byte| u16::from(*byte)).collect(),
        _ => body.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect(),
    })
}

fn header(shape: Shape, max_error: u16, method: u8, decoded: &[u16]) -> Vec<u8> {
    let ([w0, w1], [h0, h1]) = (shape.width.to_be_bytes(), shape.height.to_be_bytes());
    let ([b0, b1], [e0, e1]) = (shape.bands.to_be_bytes(), max_error.to_be_bytes());
    let fields = [VERSION << 4 | method, shape.bits, w0, w1, h0, h1, b0, b1, e0, e1];
    let mut tile = Vec::with_capacity(HEADER_BYTES);
    tile.extend_from_slice(&MAGIC);
    tile.extend_from_slice(&fields);
    tile.extend_from_slice(&check(&fields, decoded).to_be_bytes());
    tile
}

/// The check covers the header's fields too: rows cut elsewhere would be another picture.
fn check(fields: &[u8], samples: &[u16]) -> u32 {
    let mut crc = Crc32c::new();
    crc.update(fields);
    let mut bytes = [0; 512];
    for some in samples.chunks(bytes.len() / 2) {
        for (place, sample) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(some) {
            *place = sample.to_be_bytes();
        }
        crc.update(bytes.get(..2 * some.len()).unwrap_or_default());
    }
    crc.finish()
}

#[cfg(test)]
mod tests;
