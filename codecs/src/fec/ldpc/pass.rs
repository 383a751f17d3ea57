//! Passes over the matrix: layered min-sum with a normalising factor, in 8-bit integers.
//!
//! Rows of a block of rows lie side by side; [`ROWS`] of them are checked at once, and what they
//! learn is known to the next ones of the same iteration. Where a row meets a block of columns
//! twice, both messages are computed first and then both added, so none is lost.
//!
//! Beliefs are positive for a 0, like symbols, and saturate: what is so sure seldom matters, and
//! with eight bits a register holds twice the rows that sixteen would give it. Rounding matters
//! more than range: see [`normalised`].
//!
//! ```text
//! block of beliefs: | margin | z beliefs | their first again | margin |
//! ```
//!
//! A row's shift makes it begin anywhere in a block and run over its end. The block's first
//! beliefs stand behind it a second time, so that a register is always one unaligned load; a
//! store goes to both places, and what it writes beyond them falls into the margins, which nobody
//! reads.

use super::Code;
use super::matrix::Matrix;
use alloc::vec::Vec;

/// Rows that are checked at once, or all of a circulant that has fewer.
const ROWS: usize = 64;
/// Entries a row at most: 32 of C2.
const MAX_DEGREE: usize = 32;

/// The matrix as the passes over it want it.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    z: usize,
    lanes: usize,
    columns: usize,
    rows: Vec<Vec<Edge>>,
}

#[derive(Debug, Clone, Copy)]
struct Edge {
    /// First belief of the block of columns.
    column: usize,
    shift: usize,
}

/// The parts of a decoder that a pass works on.
pub(crate) struct Pass<'a> {
    pub plan: &'a Plan,
    pub beliefs: &'a mut [i8],
    pub messages: &'a mut [i8],
}

/// A register of rows side by side. [`Array`] says what each operation means.
pub(crate) trait Lanes: Copy {
    const LANES: usize;
    fn splat(value: i8) -> Self;
    /// The first lanes of a slice that has enough.
    fn load(from: &[i8]) -> Option<Self>;
    /// Overwrites the first lanes of a slice that has enough.
    fn store(self, to: &mut [i8]);
    /// The sum, saturated.
    fn add(self, other: Self) -> Self;
    /// The difference, saturated.
    fn sub(self, other: Self) -> Self;
    /// The magnitude as an unsigned number: that of -128 is 128.
    fn abs(self) -> Self;
    /// The lesser of unsigned numbers.
    fn min(self, other: Self) -> Self;
    /// The greater of unsigned numbers.
    fn max(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    fn and(self, other: Self) -> Self;
    /// A quarter of an unsigned number, rounded down.
    fn quarter(self) -> Self;
    /// `then` where `self` equals `other`.
    fn where_equal(self, other: Self, then: Self, otherwise: Self) -> Self;
    /// Negated where `sign` is negative; never -128.
    fn signed_as(self, sign: Self) -> Self;
    fn any_negative(self) -> bool;
}

impl Plan {
    pub fn new(code: Code, lanes: usize) -> Self {
        let matrix = Matrix::of(code);
        let mut plan = Self { z: matrix.z, lanes, columns: matrix.columns, rows: Vec::new() };
        let rows = matrix.rows.iter().map(|row| {
            row.iter()
                .map(|entry| Edge { column: plan.block(entry.column), shift: entry.shift })
                .collect()
        });
        plan.rows = rows.collect();
        plan
    }

    /// From the beliefs of a block to those of the next: its margins are shared.
    const fn stride(&self) -> usize {
        self.z + 2 * self.lanes
    }

    /// Where the beliefs of a block of columns begin.
    const fn block(&self, column: usize) -> usize {
        self.lanes + column * self.stride()
    }

    /// Beliefs of all blocks and their margins.
    pub const fn beliefs(&self) -> usize {
        self.block(self.columns)
    }

    /// Bits of the word that the matrix checks.
    pub const fn word(&self) -> usize {
        self.columns * self.z
    }

    /// The beliefs of each block.
    pub fn blocks<'a>(&self, beliefs: &'a [i8]) -> impl Iterator<Item = &'a [i8]> {
        let z = self.z;
        let blocks = beliefs.get(self.lanes..).unwrap_or(&[]).chunks_exact(self.stride());
        blocks.filter_map(move |block| block.get(..z))
    }

    /// Spreads a word over its blocks.
    pub fn lay_out(&self, word: &[i8], beliefs: &mut [i8]) {
        let blocks = beliefs.get_mut(self.lanes..).unwrap_or(&mut []);
        let blocks = blocks.chunks_exact_mut(self.stride());
        for (block, word) in blocks.zip(word.chunks_exact(self.z)) {
            let (first, again) = block.split_at_mut(self.z);
            first.copy_from_slice(word);
            again.iter_mut().zip(word).take(self.lanes).for_each(|(to, belief)| *to = *belief);
        }
    }

    /// Rows that are checked at once.
    pub fn rows_at_once(&self) -> usize {
        self.z.min(ROWS)
    }

    /// Messages of all rows.
    pub fn messages(&self) -> usize {
        let edges: usize = self.rows.iter().map(Vec::len).sum();
        edges * self.z.next_multiple_of(self.rows_at_once())
    }
}

impl Edge {
    /// Where in its block the row at `place` begins.
    #[inline(always)]
    const fn start(&self, place: usize, z: usize) -> usize {
        let at = place + self.shift;
        if at < z { at } else { at - z }
    }
}

/// What rows found among the beliefs that they check.
#[derive(Clone, Copy)]
struct Found<V> {
    least: V,
    second: V,
    signs: V,
}

/// What rows tell the belief that is least sure, and all others.
#[derive(Clone, Copy)]
struct Learned<V> {
    by_least: V,
    by_others: V,
    /// All ones in the lanes that have a row.
    rows: V,
}

/// One iteration: all rows, in order, as many at once as the registers hold. Compiled once for
/// each kernel: in what it calls, closures over registers are left out, since those would be
/// compiled without the kernel's features.
#[inline(always)]
pub(crate) fn iterate<V: Lanes, const REGISTERS: usize>(pass: Pass<'_>) {
    let Pass { plan, beliefs, mut messages } = pass;
    let mut news = [[V::splat(0); REGISTERS]; MAX_DEGREE];
    for row in &plan.rows {
        for place in (0..plan.z).step_by(REGISTERS * V::LANES) {
            let count = row.len() * REGISTERS * V::LANES;
            let Some((now, later)) = core::mem::take(&mut messages).split_at_mut_checked(count)
            else {
                return;
            };
            messages = later;
            let mut places = [place; REGISTERS];
            let steps = (0..).step_by(V::LANES);
            places.iter_mut().zip(steps).for_each(|(place, step)| *place += step);
            let founds = listen(plan, row, places, beliefs, now, &mut news);
            tell(plan, row, places, beliefs, now, &news, founds);
        }
    }
}

/// Takes from each belief what the row itself said, and finds the least sure ones.
#[inline(always)]
fn listen<V: Lanes, const REGISTERS: usize>(
    plan: &Plan,
    row: &[Edge],
    places: [usize; REGISTERS],
    beliefs: &[i8],
    messages: &[i8],
    news: &mut [[V; REGISTERS]],
) -> [Found<V>; REGISTERS] {
    let (most, zero) = (V::splat(i8::MAX), V::splat(0));
    let mut founds = [Found { least: most, second: most, signs: zero }; REGISTERS];
    let messages = messages.chunks_exact(REGISTERS * V::LANES);
    for ((edge, news), messages) in row.iter().zip(news).zip(messages) {
        let registers = places.iter().zip(messages.chunks_exact(V::LANES)).zip(news);
        for (((place, message), new), found) in registers.zip(&mut founds) {
            let at = edge.column + edge.start(*place, plan.z);
            let Some(message) = V::load(message) else { continue };
            let Some(belief) = load::<V>(beliefs, at) else { continue };
            *new = belief.sub(message);
            let sure = new.abs();
            found.second = found.second.min(found.least.max(sure));
            found.least = found.least.min(sure);
            found.signs = found.signs.xor(*new);
        }
    }
    founds
}

/// Adds what the rows learned. Sums saturate: each edge's are done before the next one's, so that
/// a belief which both reach sees them in one order in registers of any width.
#[inline(always)]
fn tell<V: Lanes, const REGISTERS: usize>(
    plan: &Plan,
    row: &[Edge],
    places: [usize; REGISTERS],
    beliefs: &mut [i8],
    messages: &mut [i8],
    news: &[[V; REGISTERS]],
    founds: [Found<V>; REGISTERS],
) {
    let z = plan.z;
    let zero = V::splat(0);
    let mut learned = [Learned { by_least: zero, by_others: zero, rows: zero }; REGISTERS];
    for ((learned, found), place) in learned.iter_mut().zip(&founds).zip(places) {
        learned.by_least = normalised(found.second, row.len());
        learned.by_others = normalised(found.least, row.len());
        learned.rows = rows_left::<V>(z - place.min(z));
    }
    let messages = messages.chunks_exact_mut(REGISTERS * V::LANES);
    for ((edge, news), messages) in row.iter().zip(news).zip(messages) {
        let registers = places.iter().zip(messages.chunks_exact_mut(V::LANES)).zip(news);
        let found = founds.iter().zip(&learned);
        for (((place, message), new), (found, learned)) in registers.zip(found) {
            let start = edge.start(*place, z);
            let at = edge.column + start;
            let Some(old) = V::load(message) else { continue };
            let Some(belief) = load::<V>(beliefs, at) else { continue };
            let sure = new.abs().where_equal(found.least, learned.by_least, learned.by_others);
            // Negative where the others' product is.
            let next = sure.signed_as(found.signs.xor(*new));
            next.store(message);
            let belief = belief.add(next.sub(old).and(learned.rows));
            store(beliefs, at, belief);
            if start < V::LANES {
                store(beliefs, at + z, belief);
            }
            if start + V::LANES > z {
                store(beliefs, at - z, belief);
            }
        }
    }
}

/// Three quarters: the minimum is more confident than the sum that it stands for. Rounded down,
/// since rows of many entries send small numbers, and rounding up would leave those as they are
/// (measured: codeword errors of C2 at 3.65 dB are then three times as many). A minimum of two,
/// in AR4JA's rows of three, is nearer to its sum: thirteen sixteenths.
#[inline(always)]
fn normalised<V: Lanes>(sure: V, entries: usize) -> V {
    // The magnitude of -128 doesn't fit.
    let sure = sure.min(V::splat(i8::MAX));
    let most = sure.sub(sure.add(V::splat(3)).quarter());
    if entries > 3 { most } else { most.add(sure.add(V::splat(8)).quarter().quarter()) }
}

#[inline(always)]
fn load<V: Lanes>(beliefs: &[i8], at: usize) -> Option<V> {
    V::load(beliefs.get(at..)?)
}

#[inline(always)]
fn store<V: Lanes>(beliefs: &mut [i8], at: usize, belief: V) {
    if let Some(beliefs) = beliefs.get_mut(at..) {
        belief.store(beliefs);
    }
}

/// All ones in as many lanes as there are rows left: C2's last register lacks one.
#[inline(always)]
fn rows_left<V: Lanes>(left: usize) -> V {
    #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
    const ROWS_THEN_NONE: [i8; 2 * ROWS] = {
        let mut lanes = [0; 2 * ROWS];
        let (rows, _) = lanes.split_at_mut(ROWS);
        let mut lane = 0;
        while lane < ROWS {
            rows[lane] = -1;
            lane += 1;
        }
        lanes
    };
    let from = ROWS_THEN_NONE.get(ROWS - left.min(ROWS)..).unwrap_or(&ROWS_THEN_NONE);
    if let Some(rows) = V::load(from) { rows } else { V::splat(-1) }
}

/// Whether the signs of all beliefs satisfy all checks: over at the first that fails, so that it
/// costs little before the last iteration.
#[inline(always)]
pub(crate) fn holds<V: Lanes>(plan: &Plan, beliefs: &[i8]) -> bool {
    for row in &plan.rows {
        for place in (0..plan.z).step_by(V::LANES) {
            let mut odd = V::splat(0);
            for edge in row {
                // Lanes beyond the last row hold the first rows again.
                let at = edge.column + edge.start(place, plan.z);
                if let Some(belief) = load::<V>(beliefs, at) {
                    odd = odd.xor(belief);
                }
            }
            if odd.any_negative() {
                return false;
            }
        }
    }
    true
}

/// Lanes in an array, for the compiler to vectorise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Array([i8; Self::LANES]);

impl Array {
    pub const LANES: usize = 16;

    #[inline(always)]
    fn with(mut self, other: Self, of: impl Fn(i8, i8) -> i8) -> Self {
        self.0.iter_mut().zip(&other.0).for_each(|(lane, other)| *lane = of(*lane, *other));
        self
    }

    #[inline(always)]
    fn each(mut self, of: impl Fn(i8) -> i8) -> Self {
        self.0.iter_mut().for_each(|lane| *lane = of(*lane));
        self
    }
}

impl Lanes for Array {
    const LANES: usize = Self::LANES;

    #[inline(always)]
    fn splat(value: i8) -> Self {
        Self([value; Self::LANES])
    }

    #[inline(always)]
    fn load(from: &[i8]) -> Option<Self> {
        from.first_chunk().copied().map(Self)
    }

    #[inline(always)]
    fn store(self, to: &mut [i8]) {
        if let Some(to) = to.first_chunk_mut() {
            *to = self.0;
        }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.with(other, i8::saturating_add)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.with(other, i8::saturating_sub)
    }

    #[inline(always)]
    fn abs(self) -> Self {
        self.each(i8::wrapping_abs)
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.with(other, |a, b| (a as u8).min(b as u8) as i8)
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.with(other, |a, b| (a as u8).max(b as u8) as i8)
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        self.with(other, |a, b| a ^ b)
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        self.with(other, |a, b| a & b)
    }

    #[inline(always)]
    fn quarter(self) -> Self {
        self.each(|lane| ((lane as u8) >> 2) as i8)
    }

    #[inline(always)]
    fn where_equal(self, other: Self, then: Self, otherwise: Self) -> Self {
        let equal = self.with(other, |a, b| if a == b { -1 } else { 0 });
        let otherwise = equal.with(otherwise, |equal, lane| !equal & lane);
        equal.and(then).with(otherwise, |a, b| a | b)
    }

    #[inline(always)]
    fn signed_as(self, sign: Self) -> Self {
        // The bitwise complement is one less than the negative.
        let mask = sign.each(|lane| lane >> 7);
        self.xor(mask).sub(mask)
    }

    #[inline(always)]
    fn any_negative(self) -> bool {
        self.0.iter().fold(0, |all, lane| all | lane) < 0
    }
}
