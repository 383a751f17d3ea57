//! Reads the groups and byte planes of blocks of version 1, which no one writes any more.
//!
//! A group is one, two or four neighbouring byte columns read as one big-endian number a packet.
//! What its mode leaves over stands as byte planes, the most significant first, with one byte for
//! every packet but the first.

use alloc::vec::Vec;

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

impl Mode {
    /// Byte planes that a group leaves.
    pub(super) fn planes(self) -> usize {
        if self.residue == Residue::Constant { 0 } else { self.width }
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

/// Undoes zigzag: 0, 1, 2, 3 become 0, -1, 1, -2.
fn unfold(folded: u32) -> u32 {
    (folded >> 1) ^ (folded & 1).wrapping_neg()
}

/// A mode list has a byte a run: mode in the high and run length less one in the low bits.
///
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
    use alloc::vec;

    #[test]
    fn a_mode_list_that_oversteps_is_refused() {
        let list = [0x5F, 0x53];
        assert_eq!(read_list(&list, 40), Some((vec![MODES[5]; 20], 2)));
        assert_eq!(read_list(&list, 39), None);
        assert_eq!(read_list(&list, 41), None);
        assert_eq!(read_list(&[0x90], 1), None);
    }
}
