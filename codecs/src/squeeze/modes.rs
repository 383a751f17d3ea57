//! How a group of byte columns is predicted, and which way is cheapest for it.
//!
//! A group is one, two or four neighbouring byte columns read as one big-endian number a packet.
//! What a way leaves over is written as byte planes, the most significant first; the first packet
//! of a block stands apart, so that a plane has one byte for every packet but the first.

use alloc::{vec, vec::Vec};

/// What is kept of each number of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Residue {
    /// Nothing: every packet has the first packet's value.
    Constant,
    /// The number itself.
    Raw,
    /// XOR with the number before.
    Xor,
    /// Difference from the number before, folded so that small ones of either sign are small.
    First,
    /// Difference of differences, folded; the difference before the first counts as 0.
    Second,
}

/// A way to write a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mode {
    residue: Residue,
    width: usize,
}

/// Every mode; its place is its number in a block, so that the order never changes.
const MODES: [Mode; 9] = [
    Mode { residue: Residue::Constant, width: 1 },
    Mode { residue: Residue::Raw, width: 1 },
    Mode { residue: Residue::Xor, width: 1 },
    Mode { residue: Residue::First, width: 1 },
    Mode { residue: Residue::Second, width: 1 },
    Mode { residue: Residue::First, width: 2 },
    Mode { residue: Residue::Second, width: 2 },
    Mode { residue: Residue::First, width: 4 },
    Mode { residue: Residue::Second, width: 4 },
];

/// Longest run of groups of one mode that one byte of the mode list tells.
const RUN_MAX: usize = 16;

/// What naming a mode costs, in 1/256 bit: a byte.
const MODE_COST: u64 = 8 * 256;

impl Mode {
    fn number(self) -> u8 {
        MODES.iter().position(|mode| *mode == self).unwrap_or(0) as u8
    }

    /// Byte planes that a group leaves.
    pub(super) fn planes(self) -> usize {
        if self.residue == Residue::Constant { 0 } else { self.width }
    }

    /// Residues of the group at `column`, one a row after the first.
    fn residues(self, rows: &Rows<'_>, column: usize, out: &mut Vec<u32>) {
        out.clear();
        let mut before = rows.number(0, column, self.width);
        let mut slope = 0u32;
        for row in 1..rows.count {
            let number = rows.number(row, column, self.width);
            let step = number.wrapping_sub(before);
            out.push(match self.residue {
                Residue::Constant => 0,
                Residue::Raw => number,
                Residue::Xor => number ^ before,
                Residue::First => fold(step, self.width),
                Residue::Second => fold(step.wrapping_sub(slope), self.width),
            });
            (before, slope) = (number, step);
        }
    }

    /// The number that a residue stands for.
    fn restore(self, residue: u32, before: u32, slope: u32) -> u32 {
        match self.residue {
            Residue::Constant => before,
            Residue::Raw => residue,
            Residue::Xor => residue ^ before,
            Residue::First => before.wrapping_add(unfold(residue)),
            Residue::Second => before.wrapping_add(slope).wrapping_add(unfold(residue)),
        }
    }
}

/// Zigzag of the lowest `width` bytes read as a signed number: 0, -1, 1, -2 become 0, 1, 2, 3.
fn fold(step: u32, width: usize) -> u32 {
    let spare = 32 - 8 * width as u32;
    let signed = ((step << spare) as i32) >> spare;
    ((signed << 1) ^ (signed >> 31)) as u32 & (u32::MAX >> spare)
}

fn unfold(folded: u32) -> u32 {
    (folded >> 1) ^ (folded & 1).wrapping_neg()
}

/// Packets of one length, behind one another.
pub(super) struct Rows<'a> {
    data: &'a [u8],
    length: usize,
    count: usize,
}

impl<'a> Rows<'a> {
    pub(super) fn new(data: &'a [u8], length: usize, count: usize) -> Self {
        Self { data, length, count }
    }

    fn number(&self, row: usize, column: usize, width: usize) -> u32 {
        let start = row * self.length + column;
        let bytes = self.data.get(start..start + width).unwrap_or_default();
        bytes.iter().fold(0, |number, byte| (number << 8) | u32::from(*byte))
    }

    fn is_constant(&self, column: usize) -> bool {
        let first = self.number(0, column, 1);
        (1..self.count).all(|row| self.number(row, column, 1) == first)
    }
}

/// The cheapest mode for every group, by the order-0 entropy of what the groups leave over.
///
/// One pass from the last column to the first: what stands behind a group doesn't depend on it.
pub(super) fn choose(rows: &Rows<'_>) -> Vec<Mode> {
    let mut best = vec![(0u64, MODES[1]); rows.length + 1];
    let mut residues = Vec::with_capacity(rows.count);
    for column in (0..rows.length).rev() {
        let mut winner: Option<(u64, Mode)> = None;
        let constant = rows.is_constant(column);
        for mode in MODES {
            let Some((behind, _)) = best.get(column + mode.width) else { continue };
            let behind = *behind;
            let cost = match mode.residue {
                Residue::Constant if constant => 0,
                Residue::Constant => continue,
                _ if constant && mode.width == 1 => continue,
                _ => {
                    mode.residues(rows, column, &mut residues);
                    (0..mode.width).map(|plane| plane_cost(&residues, plane)).sum()
                }
            };
            let total = cost + behind + MODE_COST;
            if winner.is_none_or(|(least, _)| total < least) {
                winner = Some((total, mode));
            }
        }
        if let (Some(slot), Some(winner)) = (best.get_mut(column), winner) {
            *slot = winner;
        }
    }
    let mut chosen = Vec::new();
    let mut column = 0;
    while let Some((_, mode)) = best.get(column).filter(|_| column < rows.length) {
        chosen.push(*mode);
        column += mode.width;
    }
    chosen
}

/// Order-0 entropy of one byte plane, in 1/256 bit; integers, so that every machine chooses alike.
fn plane_cost(residues: &[u32], plane: usize) -> u64 {
    let mut counts = [0u32; 256];
    for residue in residues {
        let byte = (residue >> (8 * plane)) as u8;
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let total = residues.len() as u32;
    let whole = u64::from(total) * log2(total);
    let parts: u64 =
        counts.iter().filter(|count| **count > 0).map(|n| u64::from(*n) * log2(*n)).sum();
    whole.saturating_sub(parts)
}

/// Binary logarithm in 1/256, by the leading bit and a parabola through the rest.
fn log2(number: u32) -> u64 {
    let Some(whole) = number.checked_ilog2() else { return 0 };
    let rest = ((u64::from(number) << 16) >> whole) - (1 << 16);
    let bend = (rest * ((1 << 16) - rest)) >> 16;
    u64::from(whole) * 256 + ((rest + bend * 22 / 64) >> 8)
}

/// Writes the mode list: a byte a run, mode in the high and run length less one in the low bits.
pub(super) fn write_list(modes: &[Mode], out: &mut Vec<u8>) {
    for same in modes.chunk_by(|a, b| a == b) {
        for run in same.chunks(RUN_MAX) {
            let number = run.first().map_or(0, |mode| mode.number());
            out.push((number << 4) | (run.len() - 1) as u8);
        }
    }
}

/// Reads the mode list for `length` columns; gives the modes and how many bytes told them.
pub(super) fn read_list(bytes: &[u8], length: usize) -> Option<(Vec<Mode>, usize)> {
    let mut modes = Vec::new();
    let mut columns = 0;
    for (read, byte) in bytes.iter().enumerate() {
        if columns == length {
            return Some((modes, read));
        }
        let mode = *MODES.get(usize::from(byte >> 4))?;
        let run = usize::from(byte & 0x0F) + 1;
        columns += run * mode.width;
        if columns > length {
            return None;
        }
        modes.extend(core::iter::repeat_n(mode, run));
    }
    (columns == length).then_some((modes, bytes.len()))
}

/// Writes the byte planes of every group.
pub(super) fn write_planes(rows: &Rows<'_>, modes: &[Mode], out: &mut Vec<u8>) {
    let mut residues = Vec::with_capacity(rows.count);
    let mut column = 0;
    for mode in modes {
        if mode.planes() > 0 {
            mode.residues(rows, column, &mut residues);
            for plane in (0..mode.width).rev() {
                out.extend(residues.iter().map(|residue| (residue >> (8 * plane)) as u8));
            }
        }
        column += mode.width;
    }
}

/// Fills the rows after the first of `data` from byte planes; `data` begins with the first row.
///
/// `None` where the planes are not exactly as long as the modes say.
pub(super) fn read_planes(
    data: &mut [u8],
    length: usize,
    modes: &[Mode],
    mut planes: &[u8],
) -> Option<()> {
    let (first, rest) = data.split_at_mut_checked(length)?;
    let rows = rest.len() / length.max(1);
    let mut column = 0;
    for mode in modes {
        let (ours, behind) = planes.split_at_checked(mode.planes() * rows)?;
        planes = behind;
        let seed = first.get(column..column + mode.width)?;
        let mut before = seed.iter().fold(0, |number, byte| (number << 8) | u32::from(*byte));
        let mut slope = 0u32;
        for (row, packet) in rest.chunks_exact_mut(length).enumerate() {
            let residue = (0..mode.planes()).try_fold(0u32, |number, plane| {
                Some((number << 8) | u32::from(*ours.get(plane * rows + row)?))
            })?;
            let number = mode.restore(residue, before, slope);
            slope = number.wrapping_sub(before);
            before = number;
            let slot = packet.get_mut(column..column + mode.width)?;
            let bytes = number.to_be_bytes();
            slot.copy_from_slice(bytes.get(4 - mode.width..)?);
        }
        column += mode.width;
    }
    planes.is_empty().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_keeps_small_steps_small_and_undoes_itself() {
        for width in [1, 2, 4] {
            let mask = u32::MAX >> (32 - 8 * width as u32);
            for (step, folded) in [(0, 0), (-1, 1), (1, 2), (-2, 3), (i32::MIN, mask)] {
                if step != i32::MIN || width == 4 {
                    assert_eq!(fold(step as u32, width), folded);
                }
            }
            for step in [0, 1, 127, 128, 255, 32_768, 65_535, 0x8000_0000, u32::MAX] {
                assert_eq!(unfold(fold(step, width)) & mask, step & mask, "{step} in {width}");
            }
        }
    }

    #[test]
    fn the_logarithm_is_close_enough_to_choose_by() {
        for number in 1..=4096u32 {
            let exact = f64::from(number).log2() * 256.0;
            assert!((log2(number) as f64 - exact).abs() < 4.0, "{number}");
        }
    }

    #[test]
    fn a_mode_list_that_oversteps_is_refused() {
        let mut list = Vec::new();
        write_list(&[MODES[5]; 20], &mut list);
        assert_eq!(list, [0x5F, 0x53]);
        assert_eq!(read_list(&list, 40), Some((vec![MODES[5]; 20], 2)));
        assert_eq!(read_list(&list, 39), None);
        assert_eq!(read_list(&list, 41), None);
        assert_eq!(read_list(&[0x90], 1), None);
    }
}
