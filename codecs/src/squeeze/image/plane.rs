//! The walk over a tile's samples, the same for encoder and decoder.

use super::super::bits::{BitReader, BitWriter};
use super::fit::{Fit, TAPS_MAX};
use super::model::{Contexts, FRACTION_BITS, Reader, Symbols, Writer};
use super::range::{RangeDecoder, RangeEncoder};
use super::rows::{self, BANDS_BEFORE, OWN_TAPS, Plane};
use super::{Shape, TileError};
use alloc::{vec, vec::Vec};

/// Samples between two solutions of the weights: a solution costs as much as some hundred samples.
const LEARN_SAMPLES: usize = 256;

/// Rows that are all learnt from; of those behind, each second one, for half the time.
const EAGER_ROWS: usize = 64;

/// Samples in which what was learnt fades to a third.
const MEMORY_SAMPLES: f64 = 12_000.0;

/// Range coder's part, plain bits and decoded samples of a tile.
pub(super) type Streams = (Vec<u8>, Vec<u8>, Vec<u16>);

/// Encodes a tile. `hidden` names places of a band
/// that are left out, or is empty.
pub(super) fn encode(shape: Shape, samples: &[u16], error: u16, hidden: &[bool]) -> Streams {
    let mut writer = Writer { ranged: RangeEncoder::new(), plain: BitWriter::default() };
    // A writer can always write.
    let decoded = walk(shape, samples, error, hidden, &mut writer).unwrap_or_default();
    (writer.ranged.finish(), writer.plain.finish(), decoded)
}

/// Samples of a tile.
pub(super) fn decode(
    shape: Shape,
    ranged: &[u8],
    plain: &[u8],
    error: u16,
    hidden: &[bool],
) -> Result<Vec<u16>, TileError> {
    let mut reader = Reader { ranged: RangeDecoder::new(ranged), plain: BitReader::new(plain) };
    let samples = walk(shape, &[], error, hidden, &mut reader)?;
    let whole = reader.ranged.ends() && reader.plain.used() == plain.len();
    if whole { Ok(samples) } else { Err(TileError::Truncated) }
}

fn walk<S: Symbols>(
    shape: Shape,
    originals: &[u16],
    error: u16,
    hidden: &[bool],
    symbols: &mut S,
) -> Result<Vec<u16>, TileError> {
    let width = usize::from(shape.width);
    let mut decoded = Vec::new();
    let mut contexts = Contexts::new();
    let mut before: Vec<Plane> = Vec::new();
    let mut rest = originals;
    for band in 0..shape.bands {
        let mut strip = Strip::new(shape, error, before.len());
        let mut places = hidden;
        for row in 0..shape.height {
            let (own, after) = rest.split_at(width.min(rest.len()));
            let (hidden, below) = places.split_at(width.min(places.len()));
            (rest, places) = (after, below);
            strip
                .row(&mut contexts, symbols, &before, own, hidden)
                .filter(|()| symbols.holds())
                .ok_or(TileError::Damaged { band, row })?;
            decoded.extend(strip.current.iter().map(|sample| *sample as u16));
        }
        before.insert(0, strip.plane);
        before.truncate(BANDS_BEFORE);
    }
    Ok(decoded)
}

/// A band in work.
struct Strip {
    width: usize,
    max: i32,
    error: i32,
    step: i32,
    keep: f64,
    plane: Plane,
    fit: Fit,
    unsolved: usize,
    taps: Vec<Vec<f32>>,
    /// Predictions without the samples to the west; in the end what they should have been.
    partial: Vec<f32>,
    /// Around each sample, from rows before; in the end all of it.
    activity: Vec<u32>,
    current: Vec<f32>,
    residuals: Vec<u32>,
    /// Sums of residuals here and in the band before, which fade.
    sums: [u64; 2],
}

impl Strip {
    fn new(shape: Shape, error: u16, bands_before: usize) -> Self {
        let width = usize::from(shape.width);
        let prior = rows::prior(bands_before);
        let error = i32::from(error);
        Self {
            width,
            max: shape.max(),
            error,
            step: 2 * error + 1,
            keep: 1.0 / (1.0 + width as f64 / MEMORY_SAMPLES),
            plane: Plane::default(),
            unsolved: 0,
            taps: vec![vec![0.0; rows::room(width)]; prior.len()],
            fit: Fit::new(&rows::first(bands_before), &prior),
            partial: vec![0.0; rows::room(width)],
            activity: vec![0; width],
            current: vec![0.0; width],
            residuals: vec![0; width],
            sums: [0; 2],
        }
    }

    /// Passes a row on and learns from it. `None` where a decoder finds no row.
    fn row<S: Symbols>(
        &mut self,
        contexts: &mut Contexts,
        symbols: &mut S,
        before: &[Plane],
        originals: &[u16],
        hidden: &[bool],
    ) -> Option<()> {
        if self.plane.samples.is_empty() {
            // Nothing is north of the first row: a row of middle values stands there.
            let middle = (self.max / 2) as f32;
            self.current.fill(middle);
            self.residuals.fill(0);
            self.plane.push(&self.current, &self.residuals);
        }
        let y = self.plane.samples.len();
        rows::fill(&mut self.taps, self.width, &self.plane, before, y);
        let [here, there] = self.sums;
        let scaled = before.first().map(|plane| (plane, rows::scale(here, there)));
        rows::activity(&mut self.activity, &self.plane, scaled, y);
        self.predict(y);
        self.pass(contexts, symbols, originals, hidden, y)?;
        self.plane.push(&self.current, &self.residuals);
        self.compare(before.first(), y);
        self.learn(y, hidden);
        Some(())
    }

    /// What the taps that are known say.
    fn predict(&mut self, y: usize) {
        let north = self.plane.row(y - 1).get(rows::PAD..).unwrap_or_default();
        self.partial.iter_mut().zip(north).take(self.width).for_each(|(to, north)| *to = *north);
        let weights = self.fit.weights().iter().skip(OWN_TAPS);
        for (tap, weight) in self.taps.iter().skip(OWN_TAPS).zip(weights) {
            self.partial.iter_mut().zip(tap).for_each(|(to, value)| *to += weight * value);
        }
    }

    fn pass<S: Symbols>(
        &mut self,
        contexts: &mut Contexts,
        symbols: &mut S,
        originals: &[u16],
        hidden: &[bool],
        y: usize,
    ) -> Option<()> {
        let padded = self.plane.row(y - 1);
        let north = padded.get(rows::PAD..)?;
        let [west_weight, beyond_weight, ..] = *self.fit.weights();
        let (max, error, step) = (self.max, self.error, self.step);
        let one = (1 << FRACTION_BITS) as f32;
        let first = north.first().copied()?;
        let (mut west, mut beyond) = (first, first);
        let (mut west_residual, mut beyond_residual) = (0u32, 0u32);
        let mut originals = originals.iter();
        let mut hidden = hidden.iter();
        let places = self.current.iter_mut().zip(&mut self.residuals);
        let places = places.zip(&mut self.activity).zip(&self.partial);
        for ((((current, residual), activity), partial), around) in
            places.zip(padded.get(1..)?.windows(3))
        {
            let [northwest, north, northeast] = around else { return None };
            let predicted =
                partial + west_weight * (west - north) + beyond_weight * (beyond - north);
            let pattern = usize::from(west > predicted)
                | usize::from(*north > predicted) << 1
                | usize::from(*northeast > predicted) << 2
                | usize::from(*northwest > predicted) << 3
                | usize::from(beyond > predicted) << 4
                | usize::from(west > *north) << 5;
            *activity += 3 * west_residual + 2 * beyond_residual;
            let (place, correction) = contexts.correction(*activity, pattern);
            // A cast keeps what is no number or too large within bounds.
            let parts = ((predicted * one) as i32).clamp(0, max << FRACTION_BITS) + correction;
            let parts = parts.clamp(0, max << FRACTION_BITS);
            let expected = (parts + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS;
            let expected = expected.min(max);
            let rises = parts >= expected << FRACTION_BITS;
            let original = originals.next().map_or(expected, |sample| i32::from(*sample));
            if hidden.next().copied().unwrap_or_default() {
                // Nothing is told of it and nothing is learnt from it.
                (*current, *residual) = (expected as f32, 0);
                (beyond, west) = (west, *current);
                (beyond_residual, west_residual) = (west_residual, 0);
                continue;
            }

            let room = Room::new(expected, max, error, step, rises);
            let mapped = room.map(quantise(original - expected, error, step));
            let mapped = contexts.pass(symbols, *activity, mapped)?;
            let quantised = room.unmap(mapped)?;
            let sample = (expected + quantised * step).clamp(0, max);

            contexts.correct(place, (sample << FRACTION_BITS) - parts);
            *current = sample as f32;
            *residual = quantised.unsigned_abs();
            (beyond, west) = (west, *current);
            (beyond_residual, west_residual) = (west_residual, *residual);
        }
        Some(())
    }

    /// Follows how large residuals are here and in the band before.
    fn compare(&mut self, before: Option<&Plane>, y: usize) {
        let before = before.map_or(&[][..], |plane| plane.residual(y));
        for (sum, row) in self.sums.iter_mut().zip([&self.residuals[..], before]) {
            let row: u64 = row.iter().map(|residual| u64::from(*residual)).sum();
            *sum = *sum - *sum / 8 + row;
        }
    }

    /// Learns from the row that was passed on, calm places more than busy ones.
    fn learn(&mut self, y: usize, hidden: &[bool]) {
        if y == 1 {
            // What stood north of the first row is no picture; the weights become the prior's.
            self.fit.solve();
            return;
        }
        if y > EAGER_ROWS && y % 2 == 1 {
            return;
        }
        let north = self.plane.row(y - 1).get(rows::PAD..).unwrap_or_default();
        let first = north.first().copied().unwrap_or_default();
        if let [west, beyond, ..] = self.taps.as_mut_slice() {
            let wests = core::iter::once(&first).chain(&self.current);
            let beyonds = [&first, &first].into_iter().chain(&self.current);
            let rows = west.iter_mut().zip(beyond).zip(wests).zip(beyonds).zip(north);
            for ((((west, beyond), w), ww), north) in rows.take(self.width) {
                *west = w - north;
                *beyond = ww - north;
            }
        }
        let targets = self.partial.iter_mut().zip(&self.current).zip(north);
        targets.for_each(|((target, sample), north)| *target = sample - north);
        let mut scale = vec![0.0f32; self.partial.len()];
        for (scale, activity) in scale.iter_mut().zip(&self.activity) {
            *scale = 1.0 / (16.0 + *activity as f32);
        }
        let places = scale.iter_mut().zip(hidden).filter(|(_, hidden)| **hidden);
        places.for_each(|(scale, _)| *scale = 0.0);
        for row in self.taps.iter_mut().chain([&mut self.partial]) {
            row.iter_mut().zip(&scale).for_each(|(value, scale)| *value *= scale);
        }
        self.fit.learn(&self.taps, &self.partial, self.keep);
        self.unsolved += self.width;
        if self.unsolved >= LEARN_SAMPLES {
            self.unsolved = 0;
            self.fit.solve();
        }
    }
}

/// How far a sample can be from its prediction, in steps, and which way is likelier.
struct Room {
    up: i32,
    down: i32,
    rises: bool,
}

impl Room {
    #[inline]
    fn new(expected: i32, max: i32, error: i32, step: i32, rises: bool) -> Self {
        let (up, down) = (max - expected + error, expected + error);
        let (up, down) = if step == 1 { (up, down) } else { (up / step, down / step) };
        Self { up, down, rises }
    }

    /// Small for near, the likelier side first; beyond the nearer end only the other side counts.
    #[inline]
    fn map(&self, quantised: i32) -> u32 {
        let both = self.up.min(self.down);
        let size = quantised.abs();
        let mapped = if size > both {
            both + size
        } else {
            2 * size - i32::from(size != 0 && (quantised > 0) == self.rises)
        };
        mapped as u32
    }

    /// Undoes [`Self::map`]; `None` for what it never gives.
    #[inline]
    fn unmap(&self, mapped: u32) -> Option<i32> {
        let mapped = i32::try_from(mapped).ok()?;
        let both = self.up.min(self.down);
        if mapped > self.up + self.down {
            return None;
        }
        if mapped > 2 * both {
            let size = mapped - both;
            return Some(if self.up > self.down { size } else { -size });
        }
        let size = (mapped + 1) / 2;
        Some(if (mapped & 1 == 1) == self.rises { size } else { -size })
    }
}

/// The nearest multiple of `step`, which leaves at most `error`.
#[inline]
fn quantise(residual: i32, error: i32, step: i32) -> i32 {
    if step == 1 {
        return residual;
    }
    let size = (residual.abs() + error) / step;
    if residual < 0 { -size } else { size }
}

// Two to the west, seven around, and those of the bands before.
const _: () = assert!(TAPS_MAX >= rows::TAPS);
