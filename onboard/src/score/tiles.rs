//! Scores imager tiles by how much cloud covers them.

use bytes::Bytes;
use codecs::tensor::{DType, Tensor};
use onboard_model::Session;

use super::{Guarded, Method, WrongModel, statistics::cloudiness};

/// The task contract of the model: pixels in, a mask of cloud probabilities and their mean out.
pub const TASK: &str = "cloud-screen/1";

/// Pixels of a side of one mask cell.
pub const CELL: usize = 4;

/// Bands of a tile: red, green, blue, near infrared.
pub const BANDS: u8 = 4;

/// Most pixels of a tile's side.
pub const SIDE_MAX: u16 = 1020;

/// One tile, band after band.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// Number of bands.
    pub bands: u8,
    /// `bands * height * width` bytes.
    pub pixels: Bytes,
}

/// What a tile shows.
#[derive(Clone, Debug, PartialEq)]
pub struct TileScore {
    /// Share of it under cloud, 0 to 1.
    pub fraction: f32,
    /// One byte a cell of [`CELL`] x [`CELL`] pixels, row after row, 255 for certainly cloud.
    pub mask: Bytes,
    /// Cells in a row.
    pub mask_width: u8,
    /// Rows of cells.
    pub mask_height: u8,
    /// What judged.
    pub method: Method,
}

impl TileScore {
    /// Of a tile that nothing can score: as clear as can be, without a mask.
    pub fn unknown() -> Self {
        let mask = Bytes::new();
        Self { fraction: 0.0, mask, mask_width: 0, mask_height: 0, method: Method::Statistics }
    }
}

/// Why a tile cannot be scored at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// Its bands or sides are not what scoring takes.
    #[error(
        "tile of {width} x {height} pixels in {bands} bands; scored are 4 bands with sides that \
         are multiples of 4 up to {SIDE_MAX}"
    )]
    Shape {
        /// Its width.
        width: u16,
        /// Its height.
        height: u16,
        /// Its bands.
        bands: u8,
    },
    /// It has not as many bytes as its shape asks for.
    #[error("tile with {found} bytes of pixels, its shape asks for {wanted}")]
    Length {
        /// Bytes wanted.
        wanted: usize,
        /// Bytes found.
        found: usize,
    },
}

/// Scores tiles.
pub struct TileScorer {
    model: Guarded,
}

impl TileScorer {
    /// A scorer with a model, or with statistics alone.
    pub fn new(session: Option<Session>) -> Result<Self, WrongModel> {
        Ok(Self { model: Guarded::new(session, TASK)? })
    }

    /// What judges at the moment.
    pub fn method(&self) -> Method {
        if self.model.session.is_some() { Method::Model } else { Method::Statistics }
    }

    /// Why the model is not asked any more, if it was given up. Told once.
    pub fn take_suspension(&mut self) -> Option<String> {
        self.model.suspended.take()
    }

    /// Scores a tile. Where the model cannot, statistics do.
    pub fn score(&mut self, tile: &Tile) -> Result<TileScore, TileError> {
        let Tile { width, height, bands, pixels } = tile;
        let cell = CELL as u16;
        let sides = [*width, *height];
        let fits = |side: &u16| *side > 0 && *side <= SIDE_MAX && side.is_multiple_of(cell);
        if *bands != BANDS || !sides.iter().all(fits) {
            return Err(TileError::Shape { width: *width, height: *height, bands: *bands });
        }
        let wanted = usize::from(*width) * usize::from(*height) * usize::from(BANDS);
        if pixels.len() != wanted {
            return Err(TileError::Length { wanted, found: pixels.len() });
        }
        // At most 255 cells a side, by SIDE_MAX.
        let (mask_width, mask_height) = ((width / cell) as u8, (height / cell) as u8);
        // A tile of another size than the model's is no failure of the model.
        let sizes = [u64::from(BANDS), u64::from(*height), u64::from(*width)];
        let takes = self.model.session.as_ref().is_some_and(|session| {
            let shape = session.manifest().inputs.first().map(|port| &*port.shape);
            shape
                .and_then(|shape| shape.get(1..))
                .is_some_and(|shape| shape.iter().map(|extent| extent.unsigned_abs()).eq(sizes))
        });
        let cells = usize::from(mask_width) * usize::from(mask_height);
        let said = if takes { self.model.ask(|session| ask(session, tile, cells)) } else { None };
        let method = if said.is_some() { Method::Model } else { Method::Statistics };
        let (fraction, mask) = said.unwrap_or_else(|| by_statistics(tile));
        Ok(TileScore { fraction, mask, mask_width, mask_height, method })
    }
}

fn to_byte(probability: f32) -> u8 {
    (probability.clamp(0.0, 1.0) * 255.0).round() as u8
}

fn ask(session: &mut Session, tile: &Tile, cells: usize) -> Result<(f32, Bytes), String> {
    let name = session.manifest().inputs.first().map(|port| port.name.clone());
    let shape = vec![1, tile.bands.into(), tile.height.into(), tile.width.into()];
    let question = Tensor::new(name.unwrap_or_default(), DType::U8, shape, tile.pixels.clone())
        .map_err(|error| error.to_string())?;
    let answer = session.run(&[question]).map_err(|error| error.to_string())?;
    let output = |name: &str| {
        let tensor = answer.iter().find(|tensor| tensor.name == name);
        tensor.and_then(Tensor::to_f32).ok_or_else(|| format!("the model has no {name}"))
    };
    let mask = output("mask")?;
    let fraction = output("fraction")?.first().copied().unwrap_or(f32::NAN);
    let sane = |value: &f32| (0.0..=1.0).contains(value);
    if !sane(&fraction) || !mask.iter().all(sane) || mask.len() != cells {
        return Err(format!("fraction {fraction} or a cell of the mask is no probability"));
    }
    Ok((fraction, mask.into_iter().map(to_byte).collect()))
}

fn by_statistics(tile: &Tile) -> (f32, Bytes) {
    let (width, height) = (usize::from(tile.width), usize::from(tile.height));
    let plane = width * height;
    let at = |band: usize, pixel: usize| tile.pixels[band * plane + pixel];
    let mut mask = Vec::with_capacity(plane / (CELL * CELL));
    let mut sum = 0.0;
    for row in (0..height).step_by(CELL) {
        for column in (0..width).step_by(CELL) {
            let inside =
                (0..CELL * CELL).map(|index| (row + index / CELL) * width + column + index % CELL);
            let cloudy = inside
                .map(|pixel| cloudiness([0, 1, 2, 3].map(|band| at(band, pixel))))
                .filter(|cloudiness| *cloudiness > 0.5)
                .count();
            let share = cloudy as f32 / (CELL * CELL) as f32;
            sum += share;
            mask.push(to_byte(share));
        }
    }
    (sum / mask.len() as f32, mask.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(pixel: impl Fn(usize, usize) -> [u8; 4]) -> Tile {
        let mut pixels = vec![0; 64 * 64 * 4];
        for index in 0..64 * 64 {
            for (band, value) in pixel(index % 64, index / 64).into_iter().enumerate() {
                pixels[band * 64 * 64 + index] = value;
            }
        }
        Tile { width: 64, height: 64, bands: 4, pixels: pixels.into() }
    }

    #[test]
    fn statistics_find_the_cloudy_half() {
        let mut scorer = TileScorer::new(None).unwrap();
        let half = tile(|x, _| if x < 32 { [180, 182, 190, 175] } else { [12, 23, 13, 102] });
        let score = scorer.score(&half).unwrap();
        assert_eq!((score.fraction, score.method), (0.5, Method::Statistics));
        assert_eq!((score.mask_width, score.mask_height, score.mask.len()), (16, 16, 256));
        assert_eq!((score.mask[0], score.mask[15]), (255, 0));
    }

    #[test]
    fn odd_shapes_are_refused_in_words() {
        let mut scorer = TileScorer::new(None).unwrap();
        let good = tile(|_, _| [0; 4]);
        for (width, height, bands) in [(0, 64, 4), (62, 64, 4), (64, 64, 3), (1024, 64, 4)] {
            let odd = Tile { width, height, bands, pixels: good.pixels.clone() };
            assert_eq!(scorer.score(&odd), Err(TileError::Shape { width, height, bands }));
        }
        let short = Tile { pixels: good.pixels.slice(1..), ..good };
        let error = scorer.score(&short).unwrap_err();
        assert_eq!(error, TileError::Length { wanted: 16_384, found: 16_383 });
    }
}
