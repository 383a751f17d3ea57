//! TIFF and GeoTIFF: the first image of the file, strips or tiles, planar or chunky.

use std::io::Cursor;

use tiff::{
    decoder::{ChunkType, Decoder, DecodingResult, Limits},
    tags::Tag,
};

use super::{Image, ImageError, sizes};
use crate::source::place::{Grid, Placed};

/// Most bytes of one field of the directory: geographic keys take a few hundred.
const FIELD_BYTES_MAX: usize = 1 << 20;
/// GeoTIFF keys (OGC 19-008r4, annex B): what the pixel stands for, and the two codes.
const RASTER_TYPE: u16 = 1025;
const GEODETIC_CRS: u16 = 2048;
const PROJECTED_CRS: u16 = 3072;
/// A pixel stands for a point, not an area: its place is its middle.
const POINT: u16 = 2;

type File<'a> = Decoder<Cursor<&'a [u8]>>;

fn broken(error: tiff::TiffError) -> ImageError {
    ImageError::Broken(error.to_string())
}

/// Reads the first image; `most` bounds its samples, and so what its pieces may take.
pub(super) fn read(bytes: &[u8], most: usize) -> Result<Image, ImageError> {
    let mut limits = Limits::default();
    limits.decoding_buffer_size = most;
    limits.intermediate_buffer_size = most;
    limits.ifd_value_size = FIELD_BYTES_MAX;
    let mut file = Decoder::new(Cursor::new(bytes)).map_err(broken)?.with_limits(limits);
    let (width, height) = file.dimensions().map_err(broken)?;
    let bands = file.find_tag_unsigned::<u16>(Tag::SamplesPerPixel).map_err(broken)?.unwrap_or(1);
    let depths = file.find_tag_unsigned_vec::<u16>(Tag::BitsPerSample).map_err(broken)?;
    let deep = match depths.as_deref() {
        Some([8, rest @ ..]) if rest.iter().all(|of| *of == 8) => false,
        Some([16, rest @ ..]) if rest.iter().all(|of| *of == 16) => true,
        other => return Err(ImageError::Samples(format!("{:?} bits", other.unwrap_or(&[1])))),
    };
    let size = sizes(width.into(), height.into(), bands.into(), deep, most)?;
    let mut canvas = Canvas {
        width: width as usize,
        height: height as usize,
        bands: bands.into(),
        size: 1 + usize::from(deep),
        samples: vec![0; size],
    };
    let chunky =
        file.find_tag_unsigned::<u16>(Tag::PlanarConfiguration).map_err(broken)?.unwrap_or(1) == 1;
    pieces(&mut file, &mut canvas, chunky, most)?;
    let placed = placed(&mut file);
    Ok(Image {
        width,
        height,
        bands: bands as u8,
        bits: if deep { 16 } else { 8 },
        samples: canvas.samples,
        placed,
        attitude: None,
        captured: None,
        reflectance: None,
    })
}

fn pieces(
    file: &mut File,
    canvas: &mut Canvas,
    chunky: bool,
    most: usize,
) -> Result<(), ImageError> {
    let (across, down) = file.chunk_dimensions();
    let (across, down) = (across as usize, down as usize);
    let piece_bands = if chunky { canvas.bands } else { 1 };
    // A piece larger than the image is padding: its decoder would take that much all the same.
    sizes(across as u64, down as u64, piece_bands as u64, canvas.size == 2, most)?;
    let (columns, rows) = (canvas.width.div_ceil(across), canvas.height.div_ceil(down));
    let planes = if chunky { 1 } else { canvas.bands };
    let count = columns.saturating_mul(rows).saturating_mul(planes);
    let there = match file.get_chunk_type() {
        ChunkType::Strip => file.strip_count(),
        ChunkType::Tile => file.tile_count(),
    };
    let there = there.map_err(broken)? as usize;
    if there < count {
        return Err(ImageError::Broken(format!("{there} of {count} strips or tiles are there")));
    }
    for index in 0..count {
        let (plane, place) = (index / (columns * rows), index % (columns * rows));
        let (left, top) = (place % columns * across, place / columns * down);
        let width = across.min(canvas.width - left);
        let height = down.min(canvas.height - top);
        let piece = Piece { left, top, width, height, plane, bands: piece_bands };
        let decoded = file.read_chunk(index as u32).map_err(broken)?;
        match decoded {
            DecodingResult::U8(samples) => canvas.put(&piece, &samples, |of| [0, of])?,
            DecodingResult::U16(samples) => canvas.put(&piece, &samples, u16::to_be_bytes)?,
            _ => return Err(ImageError::Samples("signed or floating point".into())),
        }
    }
    Ok(())
}

struct Piece {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
    plane: usize,
    bands: usize,
}

/// Where the pieces come together, band after band.
struct Canvas {
    width: usize,
    height: usize,
    bands: usize,
    size: usize,
    samples: Vec<u8>,
}

impl Canvas {
    fn put<T: Copy>(
        &mut self,
        piece: &Piece,
        samples: &[T],
        bytes: impl Fn(T) -> [u8; 2],
    ) -> Result<(), ImageError> {
        let wanted = piece.width * piece.height * piece.bands;
        if samples.len() != wanted {
            return Err(ImageError::Length { found: samples.len(), wanted });
        }
        for (at, sample) in samples.iter().enumerate() {
            let (pixel, band) = (at / piece.bands, at % piece.bands + piece.plane);
            let (row, column) = (piece.top + pixel / piece.width, piece.left + pixel % piece.width);
            let place = ((band * self.height + row) * self.width + column) * self.size;
            if let Some(out) = self.samples.get_mut(place..place + self.size) {
                // A shallow sample is the low byte.
                out.copy_from_slice(&bytes(*sample)[2 - self.size..]);
            }
        }
        Ok(())
    }
}

/// Where the image lies, where its keys say so in a way known here.
fn placed(file: &mut File) -> Option<Placed> {
    let mut numbers = |tag| file.find_tag(tag).ok().flatten()?.into_f64_vec().ok();
    let transform = match numbers(Tag::ModelTransformationTag) {
        Some(matrix) => {
            let [xc, xr, _, x0, yc, yr, _, y0, ..] = *matrix.as_slice() else { return None };
            [x0, xc, xr, y0, yc, yr]
        }
        None => {
            let scale = numbers(Tag::ModelPixelScaleTag)?;
            let tie = numbers(Tag::ModelTiepointTag)?;
            let ([sx, sy, ..], [column, row, _, x, y, ..]) = (scale.as_slice(), tie.as_slice())
            else {
                return None;
            };
            [x - column * sx, *sx, 0.0, y + row * sy, 0.0, -sy]
        }
    };
    let keys = file.find_tag_unsigned_vec::<u16>(Tag::GeoKeyDirectoryTag).ok().flatten()?;
    // Each entry: key, where its value stands (0: here), how many, the value.
    let (entries, _) = keys.get(4..)?.as_chunks::<4>();
    let key = |wanted| {
        let entry = entries.iter().find(|[key, place, ..]| (*key, *place) == (wanted, 0));
        entry.map(|[.., value]| *value)
    };
    let code = key(PROJECTED_CRS).or_else(|| key(GEODETIC_CRS))?;
    let grid = Grid::from_epsg(code.into())?;
    let [x0, xc, xr, y0, yc, yr] = transform;
    let half = if key(RASTER_TYPE) == Some(POINT) { 0.5 } else { 0.0 };
    let transform = [x0 - half * (xc + xr), xc, xr, y0 - half * (yc + yr), yc, yr];
    Some(Placed::Map { grid, transform })
}
