//! Tiles on their way down, as a bent pipe would send them and as the pipeline does, and mixes of
//! them for any cloud fraction.

use codecs::ids::Codec;
use codecs::product::{CELL, HIDDEN_FROM, Product, ProductKind};
use codecs::squeeze::image::Shape;
use onboard::pipeline::{Outcome, Pipeline};
use onboard::store::{KEPT, NewUnit};
use onboard::triage::TilePacket;
use tests::peers::samples::{SampleCodec, all};
use tests::recordings::scenes::Picture;

/// What names a tile on a bent pipe: its packet's header, time, number, place and shape.
const PACKET_BYTES: usize = 33;
/// Cloud fractions of the curves.
pub const FRACTIONS: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.67, 0.8, 0.9];
/// About what covers the Earth at any time.
pub const USUAL_FRACTION: f64 = 0.67;

/// One tile.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sent {
    /// Share of the ground in it that no cloud hides.
    pub clear: f64,
    pub raw: usize,
    /// By each codec of a bent pipe that is not ours, in the order of [`others`].
    pub others: Vec<usize>,
    /// By our tile codec, all of it.
    pub lossless: usize,
    /// What the pipeline sent, and at which value.
    pub sent: usize,
    pub priority: u8,
    /// Share of it that is clear ground and went down.
    pub down: f64,
    /// What it would have been without cutting it to its clear parts: bytes, clear ground down.
    pub uncut: (usize, f64),
}

impl Sent {
    /// What the pipeline sent of it: `cells` is the clear share of each cell of the mask.
    pub fn went(&mut self, unit: &NewUnit, product: &Product, cells: &[f64]) {
        self.sent += unit.bytes.len();
        self.priority = unit.priority;
        let share = |of: &mut dyn Iterator<Item = f64>| of.sum::<f64>() / cells.len() as f64;
        self.down = match product.kind {
            ProductKind::Tile => self.clear,
            ProductKind::Summary => 0.0,
            ProductKind::Parts => {
                let cells = cells.iter().zip(&product.mask);
                share(&mut cells.filter(|(_, of)| **of < HIDDEN_FROM).map(|(clear, _)| *clear))
            }
        };
        self.uncut = match product.kind {
            ProductKind::Parts => (self.lossless, self.clear),
            ProductKind::Tile | ProductKind::Summary => (self.sent, self.down),
        };
    }
}

/// The clear share of each cell of a mask, where the share of a pixel that cloud hides is known.
pub fn clear_cells(side: usize, hidden: impl Fn(usize) -> bool) -> Vec<f64> {
    let (cell, across) = (usize::from(CELL), side / usize::from(CELL));
    let clear = |at: usize| {
        let (left, top) = (at % across * cell, at / across * cell);
        let inside = (0..cell * cell).map(|at| (top + at / cell) * side + left + at % cell);
        inside.filter(|pixel| !hidden(*pixel)).count() as f64 / (cell * cell) as f64
    };
    (0..across * across).map(clear).collect()
}

/// The codecs that a bent pipe could choose from.
pub fn others() -> Vec<SampleCodec> {
    // CCSDS 121 is the standard's, whoever wrote the coder.
    all(0).into_iter().filter(|codec| codec.name != "ours, tiles").collect()
}

/// Bytes of a tile on a bent pipe: raw, by the other codecs, by ours.
pub fn bent(tile: &TilePacket, codecs: &[SampleCodec]) -> (usize, Vec<usize>, usize) {
    let shape =
        Shape { width: tile.width, height: tile.height, bands: tile.bands.into(), bits: tile.bits };
    let samples = tile.pixels.iter().map(|sample| u16::from(*sample)).collect();
    let picture = Picture::new(shape, samples);
    let size = |codec: &SampleCodec| {
        PACKET_BYTES + (codec.pack)(&picture).iter().map(Vec::len).sum::<usize>()
    };
    let ours = all(0).iter().find(|codec| codec.name == "ours, tiles").map_or(0, size);
    (PACKET_BYTES + tile.pixels.len(), codecs.iter().map(size).collect(), ours)
}

/// What the pipeline sends of a tile that it just took.
pub fn triaged(pipeline: &mut Pipeline, tile: &mut Sent, cells: &[f64]) {
    while let Some(outcome) = pipeline.poll() {
        let Outcome::Keep { unit, .. } = outcome else { continue };
        if unit.codec == Codec::Product && unit.priority != KEPT {
            let product = Product::decode(&unit.bytes).expect("a product of the pipeline's");
            tile.went(&unit, &product, cells);
        }
    }
}

/// Means a tile of a mix with so much cloud.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    pub fraction: f64,
    pub raw: f64,
    pub other: f64,
    pub lossless: f64,
    pub sent: f64,
    /// Share of the clear ground that went down.
    pub recall: f64,
    /// Bytes, and recall, without cutting tiles to their clear parts.
    pub uncut: (f64, f64),
}

impl Mix {
    /// How many times more a bent pipe sends for the same recall, by the other codec.
    pub fn factor(&self) -> f64 {
        self.other * self.recall / self.sent
    }

    /// The part of it that is the codec's.
    pub fn codec(&self) -> f64 {
        self.other / self.lossless
    }

    /// The part that leaving tiles out is worth.
    pub fn discard(&self) -> f64 {
        self.lossless * self.uncut.1 / self.uncut.0
    }

    /// The part that cutting what is left to its clear parts is worth after that.
    pub fn region(&self) -> f64 {
        self.factor() / self.codec() / self.discard()
    }
}

/// Tiles that are mostly clear and mostly not, weighed so that the mean is that of the fraction;
/// none where they can't be.
pub fn mix(tiles: &[Sent], other: usize, fraction: f64) -> Option<Mix> {
    let (clear, cloudy): (Vec<&Sent>, Vec<&Sent>) = tiles.iter().partition(|tile| tile.clear > 0.5);
    let mean = |of: &[&Sent], value: &dyn Fn(&Sent) -> f64| {
        of.iter().map(|tile| value(tile)).sum::<f64>() / of.len() as f64
    };
    let covered = |tile: &Sent| 1.0 - tile.clear;
    let (low, high) = (mean(&clear, &covered), mean(&cloudy, &covered));
    let weight = (fraction - low) / (high - low);
    // Not a number where one kind is missing.
    if !(0.0..=1.0).contains(&weight) {
        return None;
    }
    let mixed = |value: &dyn Fn(&Sent) -> f64| {
        (1.0 - weight) * mean(&clear, value) + weight * mean(&cloudy, value)
    };
    let ground = mixed(&|tile| tile.clear);
    Some(Mix {
        fraction,
        raw: mixed(&|tile| tile.raw as f64),
        other: mixed(&|tile| tile.others[other] as f64),
        lossless: mixed(&|tile| tile.lossless as f64),
        sent: mixed(&|tile| tile.sent as f64),
        recall: mixed(&|tile| tile.down) / ground,
        uncut: (mixed(&|tile| tile.uncut.0 as f64), mixed(&|tile| tile.uncut.1) / ground),
    })
}

/// Share of the clear ground that is down after a share of the raw bytes, tile after tile in the
/// order in which the pipeline values them, in a mix with so much cloud.
pub fn curve(tiles: &[Sent], fraction: f64) -> Vec<(f64, f64)> {
    let Some(whole) = mix(tiles, 0, fraction) else { return Vec::new() };
    let clear = tiles.iter().filter(|tile| tile.clear > 0.5);
    let low =
        clear.clone().map(|tile| 1.0 - tile.clear).sum::<f64>() / clear.clone().count() as f64;
    let cloudy = tiles.iter().filter(|tile| tile.clear <= 0.5);
    let count = cloudy.clone().count() as f64;
    let high = cloudy.map(|tile| 1.0 - tile.clear).sum::<f64>() / count;
    let weight = (fraction - low) / (high - low);
    let weigh = |tile: &Sent| match tile.clear > 0.5 {
        true => (1.0 - weight) / (tiles.len() as f64 - count),
        false => weight / count,
    };
    let mut order: Vec<&Sent> = tiles.iter().collect();
    order.sort_by_key(|tile| std::cmp::Reverse(tile.priority));
    let ground: f64 = tiles.iter().map(|tile| weigh(tile) * tile.clear).sum();
    let (mut bytes, mut down) = (0.0, 0.0);
    let mut points = vec![(0.0, 0.0)];
    for tile in order {
        bytes += weigh(tile) * tile.sent as f64;
        down += weigh(tile) * tile.down;
        points.push((bytes / whole.raw, down / ground));
    }
    points
}
