//! What a residual is likely to be: contexts by how busy the neighbourhood was.

use super::super::bits::{BitReader, BitWriter};
use super::range::{Model, RangeDecoder, RangeEncoder, SYMBOLS};
use alloc::{vec, vec::Vec};

/// Sum of the weights that [`super::rows`] gives to residuals around: an activity is so many times
/// what a residual is expected to be.
pub(super) const ACTIVITY_WEIGHT: u32 = 16;

/// Four to an octave of activity, as far as it goes.
const LEVELS: usize = 80;

/// Octaves that corrections tell apart, and patterns of neighbours around the prediction.
const OCTAVES: usize = 20;
const PATTERNS: usize = 64;

/// Corrections are kept in this many parts of a sample's step.
pub(super) const FRACTION_BITS: u32 = 8;

/// The last symbol says that more follows.
const ESCAPE: u32 = SYMBOLS as u32 - 1;

/// Either end of the entropy stage, so that one walk over the samples serves both.
pub(super) trait Symbols {
    /// Passes a symbol on: an encoder this one, a decoder whatever comes.
    fn symbol(&mut self, model: &mut Model, wanted: u32) -> u32;
    /// The same with bits that no model knows better; `None` where the data ends.
    fn bits(&mut self, wanted: u32, count: u32) -> Option<u32>;
    /// The same with a number of any size.
    fn number(&mut self, wanted: u32) -> Option<u32>;
    /// Whether everything so far was there.
    fn holds(&self) -> bool;
}

/// Writes.
pub(super) struct Writer {
    pub ranged: RangeEncoder,
    pub plain: BitWriter,
}

impl Symbols for Writer {
    #[inline]
    fn symbol(&mut self, model: &mut Model, wanted: u32) -> u32 {
        self.ranged.put(model, wanted as usize);
        wanted
    }

    #[inline]
    fn bits(&mut self, wanted: u32, count: u32) -> Option<u32> {
        let value = wanted & ((1 << count) - 1);
        self.plain.put(value, count);
        Some(value)
    }

    fn number(&mut self, wanted: u32) -> Option<u32> {
        let length = (wanted + 1).ilog2();
        self.plain.put_fundamental(length);
        self.plain.put((wanted + 1) & ((1 << length) - 1), length);
        Some(wanted)
    }

    fn holds(&self) -> bool {
        true
    }
}

/// Reads.
pub(super) struct Reader<'a> {
    pub ranged: RangeDecoder<'a>,
    pub plain: BitReader<'a>,
}

impl Symbols for Reader<'_> {
    #[inline]
    fn symbol(&mut self, model: &mut Model, _: u32) -> u32 {
        self.ranged.take(model) as u32
    }

    #[inline]
    fn bits(&mut self, _: u32, count: u32) -> Option<u32> {
        self.plain.take(count)
    }

    fn number(&mut self, _: u32) -> Option<u32> {
        let length = self.plain.take_fundamental()?;
        // No residual has more bits.
        if length > 17 {
            return None;
        }
        Some((1 << length | self.plain.take(length)?) - 1)
    }

    fn holds(&self) -> bool {
        self.ranged.holds()
    }
}

/// Contexts of a tile; bands share them.
pub(super) struct Contexts {
    models: Vec<Model>,
    splits: Vec<u8>,
    corrections: Vec<i32>,
}

impl Contexts {
    pub fn new() -> Self {
        let splits: Vec<u8> = (0..LEVELS).map(split).collect();
        let models = (0..LEVELS).map(|level| Model::falling(start(level)));
        let models = models.collect();
        Self { models, splits, corrections: vec![0; OCTAVES * PATTERNS] }
    }

    /// Which correction belongs to a place.
    #[inline]
    pub fn correction(&self, activity: u32, pattern: usize) -> (usize, i32) {
        let octave = (32 - activity.leading_zeros()) as usize;
        let place = octave.min(OCTAVES - 1) * PATTERNS + pattern;
        (place, self.corrections.get(place).copied().unwrap_or_default())
    }

    /// Takes in by how much a corrected prediction was still wrong, in parts.
    #[inline]
    pub fn correct(&mut self, place: usize, error: i32) {
        if let Some(correction) = self.corrections.get_mut(place) {
            *correction += (error + 32) >> 6;
        }
    }

    /// Passes on a residual, mapped to 0 and up.
    #[inline]
    pub fn pass<S: Symbols>(&mut self, to: &mut S, activity: u32, mapped: u32) -> Option<u32> {
        let level = level(activity);
        let split = u32::from(*self.splits.get(level)?);
        let model = self.models.get_mut(level)?;
        let high = to.symbol(model, (mapped >> split).min(ESCAPE));
        let high = match high {
            ESCAPE => ESCAPE + to.number((mapped >> split).saturating_sub(ESCAPE))?,
            high => high,
        };
        if split == 0 {
            return Some(high);
        }
        Some(high << split | to.bits(mapped, split)?)
    }
}

/// Quarter octaves.
#[inline]
fn level(activity: u32) -> usize {
    if activity < 4 {
        return activity as usize;
    }
    let octave = activity.ilog2();
    let quarter = activity >> (octave - 2) & 3;
    ((4 * (octave - 1) + quarter) as usize).min(LEVELS - 1)
}

/// Activity at which a level begins.
fn begin(level: usize) -> u64 {
    if level < 4 {
        return level as u64;
    }
    (4 + level as u64 % 4) << (level / 4 - 1)
}

/// Low bits of a mapped residual that pass as they are: as many as leave about three to five
/// symbols in use, over which they are as good as even.
fn split(level: usize) -> u8 {
    let expected = begin(level) * 2 * 2 / (5 * u64::from(ACTIVITY_WEIGHT));
    expected.max(1).ilog2() as u8
}

/// How symbols of a level fall off before any were seen, of 256.
fn start(level: usize) -> u32 {
    let mean = (begin(level) * 2 * 256 / u64::from(ACTIVITY_WEIGHT)) >> split(level);
    (256 * (mean + 32) / (mean + 256 + 32)) as u32
}
