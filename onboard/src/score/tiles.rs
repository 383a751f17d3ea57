//! Scores imager tiles by how much cloud covers them.

use bytes::Bytes;
use codecs::{
    package::Manifest,
    tensor::{DType, Tensor},
};
use onboard_model::Session;

use super::{Method, WrongModel, method, statistics::cloudiness, suspension, unbounded};
use crate::models::{Governed, Task};

/// The task contract of the model: pixels in, a mask of cloud probabilities and their mean out.
pub const TASK: &str = "cloud-screen/1";

/// Pixels of a side of one mask cell.
pub const CELL: usize = 4;

/// Bands of a tile: red, green, blue, near infrared.
pub const BANDS: u8 = 4;

/// Most tiles of one question: the tiles of a file are scored so many at a time.
pub const BATCH_MAX: usize = 16;

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
    model: Option<Governed>,
}

impl TileScorer {
    /// A scorer with a model, or with statistics alone.
    pub fn new(session: Option<Session>) -> Result<Self, WrongModel> {
        Ok(Self { model: unbounded(session, Task::Tiles)? })
    }

    /// What judges at the moment.
    pub fn method(&self) -> Method {
        method(self.model.as_ref())
    }

    /// Why the model is not asked any more, if it was given up. Told once.
    pub fn take_suspension(&mut self) -> Option<String> {
        suspension(self.model.as_mut())
    }

    /// Asks another model from now on, or none. It does this task.
    pub fn set_model(&mut self, model: Option<Governed>) {
        self.model = model;
    }

    /// The model, for whoever looks after it.
    pub fn model(&mut self) -> Option<&mut Governed> {
        self.model.as_mut()
    }

    /// Scores a tile. Where the model cannot, statistics do.
    ///
    /// # Errors
    /// Its shape is not what scoring takes, or it has not that many bytes.
    pub fn score(&mut self, tile: &Tile) -> Result<TileScore, TileError> {
        let score = self.score_all(std::slice::from_ref(tile)).pop();
        score.unwrap_or_else(|| Ok(TileScore::unknown()))
    }

    /// Scores tiles that wait at the same time, at most [`BATCH_MAX`] in one question to a model
    /// that takes several. Scores are in the order of the tiles.
    pub fn score_all(&mut self, tiles: &[Tile]) -> Vec<Result<TileScore, TileError>> {
        let mut scores: Vec<_> =
            tiles.iter().map(|tile| tile.check().map(|()| TileScore::unknown())).collect();
        let mut waiting: Vec<(&Tile, &mut TileScore)> = tiles
            .iter()
            .zip(&mut scores)
            .filter_map(|(t, of)| Some((t, of.as_mut().ok()?)))
            .collect();
        if let Some(model) = &mut self.model {
            let batch_max = model.batch_max().clamp(1, BATCH_MAX);
            // A tile of another size than the model's is no failure of the model.
            let mut fitting: Vec<_> =
                waiting.iter_mut().filter(|(tile, _)| tile.fits(model.manifest())).collect();
            for batch in fitting.chunks_mut(batch_max) {
                let tiles: Vec<&Tile> = batch.iter().map(|(tile, _)| *tile).collect();
                let Some(said) = ask(model, &tiles) else { continue };
                for ((tile, score), (fraction, mask)) in batch.iter_mut().zip(said) {
                    **score = tile.score(fraction, mask, Method::Model);
                }
            }
        }
        for (tile, score) in waiting {
            if score.mask.is_empty() {
                let (fraction, mask) = by_statistics(tile);
                *score = tile.score(fraction, mask, Method::Statistics);
            }
        }
        scores
    }
}

impl Tile {
    fn check(&self) -> Result<(), TileError> {
        let Self { width, height, bands, pixels } = self;
        let fits = |side: &u16| *side > 0 && *side <= SIDE_MAX && side.is_multiple_of(CELL as u16);
        if *bands != BANDS || ![*width, *height].iter().all(fits) {
            return Err(TileError::Shape { width: *width, height: *height, bands: *bands });
        }
        let wanted = usize::from(*width) * usize::from(*height) * usize::from(BANDS);
        match pixels.len() {
            found if found == wanted => Ok(()),
            found => Err(TileError::Length { wanted, found }),
        }
    }

    /// Cells in a row, and rows of cells: at most 255 each, by [`SIDE_MAX`].
    fn cells(&self) -> [u8; 2] {
        [self.width, self.height].map(|side| (side / CELL as u16) as u8)
    }

    fn fits(&self, manifest: &Manifest) -> bool {
        let sizes = [u64::from(BANDS), u64::from(self.height), u64::from(self.width)];
        let shape = manifest.inputs.first().and_then(|port| port.shape.get(1..));
        shape.is_some_and(|shape| shape.iter().map(|extent| extent.unsigned_abs()).eq(sizes))
    }

    fn score(&self, fraction: f32, mask: Bytes, method: Method) -> TileScore {
        let [mask_width, mask_height] = self.cells();
        TileScore { fraction, mask, mask_width, mask_height, method }
    }
}

fn to_byte(probability: f32) -> u8 {
    (probability.clamp(0.0, 1.0) * 255.0).round() as u8
}

/// Asks one question about tiles of one size.
fn ask(model: &mut Governed, tiles: &[&Tile]) -> Option<Vec<(f32, Bytes)>> {
    let first = tiles.first()?;
    let name = model.manifest().inputs.first().map(|port| port.name.clone());
    let sides = [first.bands.into(), first.height.into(), first.width.into()];
    let shape = [tiles.len() as u64].into_iter().chain(sides).collect();
    let pixels = match tiles {
        [one] => one.pixels.clone(),
        several => several.iter().flat_map(|tile| &tile.pixels).copied().collect(),
    };
    let question = Tensor::new(name.unwrap_or_default(), DType::U8, shape, pixels);
    let [across, down] = first.cells().map(usize::from);
    model.ask(&[question.ok()?], |answer| read(answer, tiles.len(), across * down))
}

fn read(answer: &[Tensor], tiles: usize, cells: usize) -> Result<Vec<(f32, Bytes)>, String> {
    let output = |name: &str| {
        let tensor = answer.iter().find(|tensor| tensor.name == name);
        tensor.and_then(Tensor::to_f32).ok_or_else(|| format!("the model has no {name}"))
    };
    let (mask, fractions) = (output("mask")?, output("fraction")?);
    let sane = |value: &f32| (0.0..=1.0).contains(value);
    if fractions.len() != tiles || mask.len() != tiles * cells {
        let (masks, fractions) = (mask.len(), fractions.len());
        return Err(format!("{fractions} fractions and {masks} cells of masks for {tiles} tiles"));
    }
    if let Some(odd) = fractions.iter().chain(&mask).find(|of| !sane(of)) {
        return Err(format!("fraction or cell of the mask {odd} is no probability"));
    }
    let masks = mask.chunks_exact(cells.max(1));
    let bytes = |mask: &[f32]| mask.iter().map(|of| to_byte(*of)).collect();
    Ok(fractions.iter().copied().zip(masks.map(bytes)).collect())
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
    fn several_at_once_get_what_each_gets_alone() {
        let tiles: Vec<Tile> = (0..40u8)
            .map(|at| match at % 5 {
                0 => Tile { width: 62, ..tile(|_, _| [0; 4]) },
                _ => tile(|x, _| if x < usize::from(at) { [180; 4] } else { [12, 23, 13, 102] }),
            })
            .collect();
        let mut scorer = TileScorer::new(None).unwrap();
        let alone: Vec<_> = tiles.iter().map(|tile| scorer.score(tile)).collect();
        assert_eq!(scorer.score_all(&tiles), alone);
        assert!(alone[0].is_err() && alone[39].as_ref().is_ok_and(|of| of.fraction > 0.5));
    }

    #[test]
    fn a_question_holds_no_more_tiles_than_the_configuration_says() {
        use crate::models::governed::{NotRan, Ran, Runner};
        use std::sync::{Arc, Mutex};
        /// Notes how many tiles it is asked about, and has no answer.
        struct Asked(Manifest, Arc<Mutex<Vec<u64>>>);
        impl Runner for Asked {
            fn manifest(&self) -> &Manifest {
                &self.0
            }
            fn now_ns(&self) -> u64 {
                0
            }
            fn run(&mut self, inputs: &[Tensor]) -> Result<Ran, NotRan> {
                self.1.lock().unwrap().push(inputs[0].shape[0]);
                Err(NotRan::Absent)
            }
            fn reprove(&mut self) -> Result<(), String> {
                Ok(())
            }
            fn set_parameter(&mut self, _: &str, _: f64) {}
        }
        let json = include_bytes!("../../model/packages/cloud-screen/manifest.json");
        let tiles = vec![tile(|_, _| [12, 23, 13, 102]); 7];
        for (key, asked) in [("batch_max = 3", vec![3, 3, 1]), ("", vec![7])] {
            let config: crate::config::Models = codecs::config::parse("m", key).unwrap();
            let manifest = Manifest::from_json(json).unwrap();
            let seen = Arc::default();
            let runner = Box::new(Asked(manifest, Arc::clone(&seen)));
            let mut scorer = TileScorer::new(None).unwrap();
            scorer.set_model(Some(Governed::new(Task::Tiles, runner, config.budget())));
            assert!(scorer.score_all(&tiles).iter().all(Result::is_ok), "statistics answer");
            assert_eq!(*seen.lock().unwrap(), asked);
        }
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
