//! Recorded scenes: tiles of the Sentinel-2 scenes through the pipeline, clear where an outside
//! judge says so, and how far our cloud screen agrees with it.

use crate::flight::Models;
use crate::tiles::{Sent, bent, clear_cells, others, triaged};
use anyhow::{Context, ensure};
use codecs::product::HIDDEN_FROM;
use codecs::time::Tai;
use onboard::score::TileScorer;
use onboard::triage::TilePacket;
use serde_json::Value;
use std::path::Path;
use tests::recordings::sentinel::{FILE, Scene, scenes};

/// Pixels of a side of what the cloud screen takes.
const SIDE: usize = 64;
/// Red, green, blue and near infrared, in the order that the cloud screen takes.
const BANDS: [usize; 4] = [3, 2, 1, 7];
const IMAGER: u16 = 300;

/// One scene.
pub struct Agreement {
    /// Share of cloud, by the judge and by our screen.
    pub judge: f64,
    pub ours: f64,
    /// Share of the cells of the mask on which both say the same.
    pub cells: f64,
}

/// What came out.
pub struct Recorded {
    pub tiles: Vec<Sent>,
    /// Place of the best other codec among [`others`]: the fewest bytes on these tiles.
    pub others: usize,
    pub other: &'static str,
    /// None without the judge's masks: then nothing says what is clear.
    pub agreement: Option<Vec<Agreement>>,
    pub judge: Option<String>,
}

/// Masks of the judge: for each scene, one value a pixel, row after row.
struct Judge {
    name: String,
    masks: Vec<Vec<bool>>,
}

/// Takes the scenes through the pipeline; none where the recording is absent.
pub fn measure(models: &Models, clouds: Option<&Path>) -> anyhow::Result<Option<Recorded>> {
    let Some(path) = tests::recorded(FILE) else { return Ok(None) };
    let judge = clouds.map(Judge::read).transpose()?;
    if judge.is_none() {
        eprintln!("without --clouds: the recorded scenes have no curves (run tools/judge-clouds)");
    }
    let mut pipeline = models.pipeline(false, 1000)?;
    let mut screen = TileScorer::new(Some(models.load("cloud-screen")?))?;
    let codecs = others();
    let (mut tiles, mut agreement) = (Vec::new(), Vec::new());
    for (index, scene) in scenes(&path).iter().enumerate() {
        let mask = judge.as_ref().and_then(|judge| judge.masks.get(index));
        let pixels = usize::from(scene.width) * usize::from(scene.height);
        let whole = mask.is_none_or(|mask| mask.len() == pixels);
        ensure!(whole, "the judge's mask of scene {} is of other pixels", index + 1);
        let mut seen = Agreement { judge: 0.0, ours: 0.0, cells: 0.0 };
        let corners = corners(scene);
        for corner in corners {
            let tile = cut(scene, corner, index as u32);
            let score = screen.score(&tile.scored())?;
            let cells = clear(mask, scene, corner);
            let (raw, others, lossless) = bent(&tile, &codecs);
            let share = cells.iter().sum::<f64>() / cells.len() as f64;
            let mut sent = Sent { clear: share, raw, others, lossless, ..Sent::default() };
            pipeline.image(tile, IMAGER, Tai(0), raw, 0);
            triaged(&mut pipeline, &mut sent, &cells);
            tiles.push(sent);
            let same = |(clear, ours): (&f64, &u8)| (*clear < 0.5) == (*ours >= HIDDEN_FROM);
            let agree = cells.iter().zip(&score.mask).filter(|pair| same(*pair)).count();
            let weight = 1.0 / corners.len() as f64;
            seen.judge += (1.0 - share) * weight;
            seen.ours += f64::from(score.fraction) * weight;
            seen.cells += agree as f64 / cells.len() as f64 * weight;
        }
        agreement.push(seen);
    }
    let total = |at: &usize| tiles.iter().map(|tile| tile.others[*at]).sum::<usize>();
    let others = (0..codecs.len()).min_by_key(total).context("another codec")?;
    Ok(Some(Recorded {
        tiles,
        others,
        other: codecs[others].name,
        agreement: judge.is_some().then_some(agreement),
        judge: judge.map(|judge| judge.name),
    }))
}

/// Four tiles a scene: it is smaller than two in each direction, so they overlap.
fn corners(scene: &Scene) -> [(usize, usize); 4] {
    let (right, bottom) = (usize::from(scene.width) - SIDE, usize::from(scene.height) - SIDE);
    [(0, 0), (right, 0), (0, bottom), (right, bottom)]
}

/// A tile of 8 bits, 255 for a reflectance of 1, as the cloud screen's contract has it.
fn cut(scene: &Scene, (left, top): (usize, usize), id: u32) -> TilePacket {
    let width = usize::from(scene.width);
    let pixels = BANDS.iter().flat_map(|band| {
        let plane: Vec<f32> = scene.band(*band).collect();
        (0..SIDE * SIDE).map(move |at| {
            let value = plane[(top + at / SIDE) * width + left + at % SIDE];
            (value.clamp(0.0, 1.0) * 255.0).round() as u8
        })
    });
    TilePacket {
        id,
        latitude: f32::NAN,
        longitude: f32::NAN,
        place: None,
        truth: None,
        width: SIDE as u16,
        height: SIDE as u16,
        bands: BANDS.len() as u8,
        bits: 8,
        reflectance: None,
        pixels: pixels.collect(),
    }
}

/// Share of each cell of our mask that the judge calls clear; all of it without a judge.
fn clear(mask: Option<&Vec<bool>>, scene: &Scene, (left, top): (usize, usize)) -> Vec<f64> {
    let width = usize::from(scene.width);
    let at = |pixel: usize| (top + pixel / SIDE) * width + left + pixel % SIDE;
    clear_cells(SIDE, |pixel| mask.is_some_and(|mask| mask[at(pixel)]))
}

impl Judge {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{}: tools/judge-clouds writes it", path.display()))?;
        let value: Value = serde_json::from_str(&text)?;
        let masks = value["masks"].as_array().context("no \"masks\"")?;
        let mask = |mask: &Value| -> anyhow::Result<Vec<bool>> {
            let text = mask.as_str().context("a mask is a string of 0 and 1")?;
            ensure!(text.bytes().all(|b| matches!(b, b'0' | b'1')), "a mask is of 0 and 1");
            Ok(text.bytes().map(|byte| byte == b'1').collect())
        };
        let masks = masks.iter().map(mask).collect::<Result<_, _>>()?;
        Ok(Self { name: value["judge"].as_str().context("no \"judge\"")?.to_owned(), masks })
    }
}
