//! Rows around the one in work, as a prediction weighs them.

use super::fit::LANES;
use alloc::{vec, vec::Vec};

/// Samples beside a row that repeat its ends.
pub(super) const PAD: usize = 2;

/// Bands before that a prediction looks at.
pub(super) const BANDS_BEFORE: usize = 3;

/// Taps of the row in work: west, and west of it.
pub(super) const OWN_TAPS: usize = 2;

/// Decoded rows of a band and what was left of them after prediction, padded.
#[derive(Default)]
pub(super) struct Plane {
    pub samples: Vec<Vec<f32>>,
    pub residuals: Vec<Vec<u32>>,
}

impl Plane {
    pub fn row(&self, y: usize) -> &[f32] {
        self.samples.get(y).map_or(&[], Vec::as_slice)
    }

    pub fn residual(&self, y: usize) -> &[u32] {
        self.residuals.get(y).map_or(&[], Vec::as_slice)
    }

    /// Appends a row, its ends repeated.
    pub fn push(&mut self, samples: &[f32], residuals: &[u32]) {
        self.samples.push(padded(samples));
        self.residuals.push(padded(residuals));
    }
}

fn padded<T: Copy + Default>(row: &[T]) -> Vec<T> {
    let (first, last) = (row.first().copied(), row.last().copied());
    let mut padded = Vec::with_capacity(row.len() + 2 * PAD);
    padded.extend([first.unwrap_or_default(); PAD]);
    padded.extend_from_slice(row);
    padded.extend([last.unwrap_or_default(); PAD]);
    padded
}

/// A padded row seen from `step` samples to the side.
fn aside<T>(row: &[T], step: isize) -> &[T] {
    row.get(PAD.saturating_add_signed(step)..).unwrap_or_default()
}

/// Where in a neighbourhood the other values stand: which row (0 its own, 1 north, 2 north of
/// that, -1 south) and how far to the east.
type Site = (isize, isize);

/// In this band, all from rows before.
const HERE: [Site; 7] = [(1, -1), (1, 1), (2, 0), (2, 1), (1, 2), (1, -2), (2, -1)];
/// In the band before, in that before it, and before that.
const BEFORE: [&[Site]; BANDS_BEFORE] =
    [&[(0, 0), (0, -1), (0, 1), (-1, 0), (1, -1)], &[(0, 0), (0, -1), (0, 1)], &[(0, 0), (0, -1)]];

/// Most taps of a prediction.
pub(super) const TAPS: usize =
    OWN_TAPS + HERE.len() + BEFORE[0].len() + BEFORE[1].len() + BEFORE[2].len();

/// What a prediction is drawn to while little is learnt: about the plane through the neighbours.
pub(super) fn prior(bands_before: usize) -> Vec<f32> {
    let before = BEFORE.iter().take(bands_before).map(|sites| sites.len()).sum::<usize>();
    let mut prior = vec![0.75, 0.0, -0.25, 0.25];
    prior.resize(OWN_TAPS + HERE.len() + before, 0.0);
    prior
}

/// How the first row is predicted, which has no neighbours to the north: as the sample to the west,
/// with half of the step that the band before makes there.
pub(super) fn first(bands_before: usize) -> Vec<f32> {
    let mut first = vec![0.0; prior(bands_before).len()];
    for (place, weight) in
        [(0, 1.0), (OWN_TAPS + HERE.len(), 0.5), (OWN_TAPS + HERE.len() + 1, -0.5)]
    {
        if let Some(weighed) = first.get_mut(place) {
            *weighed = weight;
        }
    }
    first
}

/// Room for whole lanes.
pub(super) fn room(width: usize) -> usize {
    width.next_multiple_of(LANES)
}

/// Fills the taps that are known before the row is, each as its difference from the sample to the
/// north of it in its own band: what remains follows from slopes, not from brightness.
pub(super) fn fill(taps: &mut [Vec<f32>], width: usize, here: &Plane, before: &[Plane], y: usize) {
    let mut taps = taps.iter_mut().skip(OWN_TAPS);
    let north = here.row(y.saturating_sub(1));
    for (site, tap) in HERE.iter().zip(&mut taps) {
        difference(tap, width, at(here, y, *site), aside(north, 0));
    }
    for (sites, plane) in BEFORE.iter().zip(before) {
        let north = plane.row(y.saturating_sub(1));
        for (site, tap) in sites.iter().zip(&mut taps) {
            difference(tap, width, at(plane, y, *site), aside(north, 0));
        }
    }
}

/// A row of a plane from a site; at the upper and lower end the nearest there is.
fn at(plane: &Plane, y: usize, (up, east): Site) -> &[f32] {
    let row = y.saturating_add_signed(-up).min(plane.samples.len().saturating_sub(1));
    aside(plane.row(row), east)
}

fn difference(to: &mut [f32], width: usize, from: &[f32], base: &[f32]) {
    let places = to.iter_mut().zip(from).zip(base).take(width);
    places.for_each(|((to, from), base)| *to = from - base);
}

/// Residuals of the band before count as many times as those of this band are larger, in parts.
pub(super) const SCALE_BITS: u32 = 8;
const SCALE_MAX: u64 = 1 << SCALE_BITS;

/// How residuals of two bands compare, as their sums say.
pub(super) fn scale(here: u64, before: u64) -> u32 {
    (((here + 1) << SCALE_BITS) / (before + 1)).min(SCALE_MAX) as u32
}

/// Activity around each sample as far as rows before and the band before know it; the two samples
/// to the west add to it.
pub(super) fn activity(to: &mut [u32], here: &Plane, before: Option<(&Plane, u32)>, y: usize) {
    let above = here.residual(y.saturating_sub(1));
    let sites = aside(above, -1).iter().zip(aside(above, 0)).zip(aside(above, 1));
    let beyond = aside(here.residual(y.saturating_sub(2)), 0);
    for ((place, ((nw, n), ne)), nn) in to.iter_mut().zip(sites).zip(beyond) {
        *place = nw + 3 * n + 2 * ne + nn;
    }
    let Some((before, scale)) = before else {
        // Without a band before: its share of the weight.
        to.iter_mut().for_each(|place| *place += *place * 4 / 7);
        return;
    };
    let same = before.residual(y);
    let south = before.residual((y + 1).min(before.residuals.len().saturating_sub(1)));
    let sites = aside(same, 0).iter().zip(aside(same, 1)).zip(aside(south, 0));
    for (place, ((same, east), south)) in to.iter_mut().zip(sites) {
        // Below 2^19 times below 2^12.
        *place += ((2 * same + east + south) * scale) >> SCALE_BITS;
    }
}
