//! The syndrome check by tables of nibbles, for processors without GFNI: what a constant makes of a
//! symbol is what it makes of its high and of its low four bits, each a lookup in 16 bytes, which
//! one instruction does for a register's worth of symbols.
//!
//! The steps are those of `tables`, but symbols that stand side by side can't be weighed
//! differently. So a row of the five sums is cut into units of 16 bytes, one constant weighs a
//! whole unit, and what they add up to is folded in halves, each half weighed by a constant again.

#![allow(clippy::indexing_slicing, reason = "indices count units of arrays beside")]
#![allow(clippy::needless_range_loop, reason = "closures and iterators lose the instructions")]

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "aarch64")]
pub(super) use self::neon::dirty_neon;
#[cfg(target_arch = "x86_64")]
pub(super) use self::x86::{dirty_avx2, dirty_ssse3};

use super::Syndromes;
use crate::fec::field::{FROM_DUAL, TO_DUAL, entry, power, times};
use crate::fec::reed_solomon::{Basis, CODEWORD_BYTES, Code, MAX_PARITY_BYTES, ROOT_STEP};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Rows of a codeword, and values of x^51.
const ROWS: usize = 5;
/// Symbols of a row.
const ROW_SYMBOLS: usize = 51;
const UNIT_BYTES: usize = 16;
/// Units of a row, at most; even.
const MAX_UNITS: usize = 26;
/// Halvings of a unit, at most.
const MAX_FOLDS: usize = 4;

type Unit = [u8; UNIT_BYTES];

/// Two units, aligned, as a load across two lines of the cache is two.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(32))]
struct Pair([Unit; 2]);

/// A register of one or two lanes of 16 bytes.
///
/// # Safety
/// Methods may be called only where the processor has the implementation's instructions.
unsafe trait Lanes: Copy {
    const LANES: usize;
    /// The same in every lane.
    unsafe fn splat(unit: &Unit) -> Self;
    /// One unit a lane, as many as there are lanes.
    unsafe fn load(units: [&Unit; 2]) -> Self;
    /// For each byte of `places`, the byte of the table's lane at that place; 0 for 0x80.
    unsafe fn pick(self, places: Self) -> Self;
    /// The high four bits of each byte, moved down; above them, nothing that counts.
    unsafe fn high(self) -> Self;
    unsafe fn and(self, other: Self) -> Self;
    unsafe fn xor(self, other: Self) -> Self;
    unsafe fn store(self) -> [Unit; 2];
}

/// The constants of a code and a depth for registers of a number of lanes.
#[derive(Debug)]
pub(super) struct Tables {
    basis: Basis,
    interleave: usize,
    /// Bytes of a unit that are used: whole columns, as many as a power of two says.
    used: usize,
    /// Units of a row; a multiple of the lanes.
    units: usize,
    /// 0x0F where a unit's bytes belong to the row.
    masks: [Unit; MAX_UNITS],
    /// Multiplication by the powers of the row's value, for the first to the fourth value.
    turns: [[[Unit; 2]; ROWS - 1]; ROWS],
    /// The roots in groups of as many as there are lanes, by the class of their row's value.
    groups: Vec<Group>,
    /// For each group, for each unit, then for each fold: its factors for all lanes.
    factors: Box<[Pair]>,
    /// For each fold, where the other half is.
    moves: [Unit; MAX_FOLDS],
    folds: usize,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    class: usize,
    roots: [Option<usize>; 2],
}

impl Tables {
    pub(super) fn new(code: Code, interleave: usize, lanes: usize) -> Self {
        let folds = (UNIT_BYTES / interleave).ilog2() as usize;
        let columns = 1 << folds;
        let used = columns * interleave;
        let row_bytes = ROW_SYMBOLS * interleave;
        let units = row_bytes.div_ceil(used).next_multiple_of(lanes);
        let mut masks = [[0; UNIT_BYTES]; MAX_UNITS];
        for (unit, mask) in masks.iter_mut().enumerate() {
            let left = row_bytes.saturating_sub(unit * used).min(used);
            mask[..left].fill(0x0F);
        }
        let turns = core::array::from_fn(|value| {
            core::array::from_fn(|n| {
                products(code.basis, power(ROOT_STEP * ROW_SYMBOLS * value * (ROWS - 1 - n)))
            })
        });
        let first_root = code.strength.first_root();
        let groups: Vec<Group> = (0..ROWS)
            .flat_map(|class| {
                let of_class = (0..code.strength.parity())
                    .filter(move |root| (first_root + root) % ROWS == class);
                let roots: Vec<usize> = of_class.collect();
                let group = |roots: &[usize]| Group {
                    class,
                    roots: [roots.first().copied(), roots.get(1).copied()],
                };
                roots.chunks(lanes).map(group).collect::<Vec<_>>()
            })
            .collect();
        let mut factors = Vec::new();
        for group in &groups {
            let x = group.roots.map(|root| root.map(|root| ROOT_STEP * (first_root + root)));
            let mut push = |exponent: usize| {
                let of_root = |x: Option<usize>| {
                    x.map_or([[0; 16]; 2], |x| products(code.basis, power(x * exponent)))
                };
                let [first, second] = x.map(of_root);
                match lanes {
                    1 => factors.push(Pair(first)),
                    _ => {
                        factors.push(Pair([first[0], second[0]]));
                        factors.push(Pair([first[1], second[1]]));
                    }
                }
            };
            for unit in 0..units {
                // Of the unit's last column, which may lie behind the row's: x^255 is 1.
                push((CODEWORD_BYTES + ROW_SYMBOLS) - columns * (unit + 1));
            }
            (0..folds).for_each(|fold| push(1 << fold));
        }
        let moves = core::array::from_fn(|fold| {
            core::array::from_fn(|byte| match byte + (interleave << fold) {
                place if place < UNIT_BYTES => place as u8,
                _ => 0x80,
            })
        });
        Self {
            basis: code.basis,
            interleave,
            used,
            units,
            masks,
            turns,
            groups,
            factors: factors.into_boxed_slice(),
            moves,
            folds,
        }
    }

    /// A codeword's syndromes as elements in the conventional basis.
    pub(super) fn elements(&self, syndromes: &Syndromes, lane: usize) -> [u8; MAX_PARITY_BYTES] {
        syndromes.map(|values| to_element(self.basis, values.get(lane).copied().unwrap_or(0)))
    }
}

fn to_element(basis: Basis, symbol: u8) -> u8 {
    match basis {
        Basis::Dual => entry(&FROM_DUAL, symbol),
        Basis::Conventional => symbol,
    }
}

/// What a constant makes of the low and of the high nibbles of symbols.
fn products(basis: Basis, constant: u8) -> [Unit; 2] {
    let product = |symbol: u8| {
        let product = times(to_element(basis, symbol), constant);
        match basis {
            Basis::Dual => entry(&TO_DUAL, product),
            Basis::Conventional => product,
        }
    };
    [
        core::array::from_fn(|nibble| product(nibble as u8)),
        core::array::from_fn(|nibble| product((nibble as u8) << 4)),
    ]
}

/// A unit of the block as a whole codeword would have it: fill is zeros in front.
#[inline(always)]
fn unit<'a>(block: &'a [u8], start: isize, scratch: &'a mut Unit) -> &'a Unit {
    let whole = usize::try_from(start).ok().and_then(|start| block.get(start..));
    if let Some(unit) = whole.and_then(|rest| rest.first_chunk()) {
        return unit;
    }
    cut(block, start, scratch);
    scratch
}

#[cold]
fn cut(block: &[u8], start: isize, scratch: &mut Unit) {
    *scratch = [0; UNIT_BYTES];
    for (at, to) in (start..).zip(scratch) {
        let symbol = usize::try_from(at).ok().and_then(|at| block.get(at));
        *to = symbol.copied().unwrap_or(0);
    }
}

/// A bit for each codeword that is dirty; the syndromes are left behind, in the symbols' basis.
///
/// # Safety
/// The processor has the instructions of `V`, and the tables are for as many lanes.
#[inline(always)]
unsafe fn dirty<V: Lanes>(tables: &Tables, block: &[u8], syndromes: &mut Syndromes) -> u8 {
    // SAFETY: the caller's promise.
    unsafe {
        let nibbles = sums::<V>(tables, block);
        let mut all = [0u8; 8];
        let group_pairs = (tables.units + tables.folds) * V::LANES;
        let mut factors = tables.factors.chunks_exact(group_pairs);
        let mut groups = &tables.groups[..];
        // As many of one class at once as leave registers for their factors.
        while let [first, ..] = groups {
            let same = groups.iter().take_while(|group| group.class == first.class).count();
            let nibbles = &nibbles[first.class];
            let taken = match same {
                1 => values::<V, 1>(tables, nibbles, groups, &mut factors, syndromes, &mut all),
                2 => values::<V, 2>(tables, nibbles, groups, &mut factors, syndromes, &mut all),
                3 => values::<V, 3>(tables, nibbles, groups, &mut factors, syndromes, &mut all),
                _ => values::<V, 4>(tables, nibbles, groups, &mut factors, syndromes, &mut all),
            };
            groups = groups.get(taken..).unwrap_or(&[]);
        }
        let dirty = all.iter().take(tables.interleave).zip(0u8..);
        dirty.fold(0, |flags, (byte, lane)| flags | u8::from(*byte != 0) << lane)
    }
}

/// The low and the high nibbles of a class's sums.
type Nibbles = [[Unit; 2]; MAX_UNITS];

/// The rows, added up for each of the five values, as nibbles.
///
/// # Safety
/// As for [`dirty`].
#[inline(always)]
unsafe fn sums<V: Lanes>(tables: &Tables, block: &[u8]) -> [Nibbles; ROWS] {
    let row_bytes = ROW_SYMBOLS * tables.interleave;
    let fill_bytes = (ROWS * row_bytes) as isize - block.len() as isize;
    let mut nibbles = [[[[0; UNIT_BYTES]; 2]; MAX_UNITS]; ROWS];
    // SAFETY: the caller's promise.
    unsafe {
        let fifteen = V::splat(&[0x0F; UNIT_BYTES]);
        for first in (0..tables.units).step_by(V::LANES) {
            let second = first + V::LANES - 1;
            let mask = V::load([&tables.masks[first], &tables.masks[second]]);
            let mut halves = [[fifteen; 2]; ROWS - 1];
            let mut plain = V::splat(&[0; UNIT_BYTES]);
            let mut last = plain;
            for row in 0..ROWS {
                let start =
                    |unit: usize| (row * row_bytes + unit * tables.used) as isize - fill_bytes;
                let mut scratch = [[0; UNIT_BYTES]; 2];
                let [one, other] = &mut scratch;
                let symbols =
                    V::load([unit(block, start(first), one), unit(block, start(second), other)]);
                plain = plain.xor(symbols);
                if row < ROWS - 1 {
                    halves[row] = [symbols.and(fifteen), symbols.high().and(fifteen)];
                } else {
                    last = symbols;
                }
            }
            for class in 0..ROWS {
                let mut sum = plain;
                if class > 0 {
                    sum = last;
                    for ([low, high], turns) in halves.iter().zip(&tables.turns[class]) {
                        sum = sum.xor(V::splat(&turns[0]).pick(*low));
                        sum = sum.xor(V::splat(&turns[1]).pick(*high));
                    }
                }
                let low = sum.and(mask).store();
                let high = sum.high().and(mask).store();
                for lane in 0..V::LANES {
                    nibbles[class][first + lane] = [low[lane], high[lane]];
                }
            }
        }
    }
    nibbles
}

/// The values at `N` groups of roots of one class; returns `N`.
///
/// # Safety
/// As for [`dirty`].
#[inline(always)]
unsafe fn values<V: Lanes, const N: usize>(
    tables: &Tables,
    nibbles: &Nibbles,
    groups: &[Group],
    factors: &mut core::slice::ChunksExact<'_, Pair>,
    syndromes: &mut Syndromes,
    all: &mut [u8; 8],
) -> usize {
    // SAFETY: the caller's promise.
    unsafe {
        let mut of_group = [&tables.factors[..0]; N];
        for factors_of in &mut of_group {
            *factors_of = factors.next().unwrap_or(&[]);
        }
        let mut sums = [V::splat(&[0; UNIT_BYTES]); N];
        for (unit, [low, high]) in nibbles.iter().enumerate().take(tables.units) {
            let (low, high) = (V::splat(low), V::splat(high));
            for (sum, factors) in sums.iter_mut().zip(&of_group) {
                let [of_low, of_high] = pair::<V>(factors, unit);
                *sum = sum.xor(of_low.pick(low)).xor(of_high.pick(high));
            }
        }
        let fifteen = V::splat(&[0x0F; UNIT_BYTES]);
        for fold in 0..tables.folds {
            let moves = V::splat(&tables.moves[fold]);
            for (sum, factors) in sums.iter_mut().zip(&of_group) {
                let [of_low, of_high] = pair::<V>(factors, tables.units + fold);
                let weighed = of_low.pick(sum.and(fifteen));
                let weighed = weighed.xor(of_high.pick(sum.high().and(fifteen)));
                *sum = weighed.xor(sum.pick(moves));
            }
        }
        for (group, sum) in groups.iter().zip(sums) {
            for (root, unit) in group.roots.iter().zip(sum.store()) {
                if let Some(value) = root.and_then(|root| syndromes.get_mut(root)) {
                    value.copy_from_slice(&unit[..8]);
                    for (all, byte) in all.iter_mut().zip(value) {
                        *all |= *byte;
                    }
                }
            }
        }
        N
    }
}

/// The factors of the low and of the high nibbles in each lane.
///
/// # Safety
/// As for [`dirty`].
#[inline(always)]
unsafe fn pair<V: Lanes>(factors: &[Pair], n: usize) -> [V; 2] {
    // SAFETY: the caller's promise.
    unsafe {
        if V::LANES == 1 {
            let [low, high] = &factors[n].0;
            [V::splat(low), V::splat(high)]
        } else {
            let load = |pair: &Pair| V::load([&pair.0[0], &pair.0[1]]);
            [load(&factors[2 * n]), load(&factors[2 * n + 1])]
        }
    }
}
