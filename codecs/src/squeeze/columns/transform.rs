//! What is kept of the numbers that neighbouring byte columns make, and the numbers back again.

use alloc::{vec, vec::Vec};

/// What is kept of each number after the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Residue {
    /// The number itself.
    Raw,
    /// XOR with the number before.
    Xor,
    /// Difference of this order, 1 to 3, folded so that small ones of either sign are small.
    /// Differences before the first count as 0.
    Difference(u8),
}

/// A residue of numbers of `width` bytes, big-endian: 1, 2 or 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Transform {
    pub(super) residue: Residue,
    pub(super) width: usize,
}

/// Bits that tell a transform.
pub(super) const TRANSFORM_BITS: u32 = 4;

/// Every residue.
pub(super) const RESIDUES: [Residue; 5] = [
    Residue::Raw,
    Residue::Xor,
    Residue::Difference(1),
    Residue::Difference(2),
    Residue::Difference(3),
];
/// Bytes that a number may have.
pub(super) const WIDTHS: [usize; 3] = [1, 2, 4];

impl Transform {
    pub(super) const fn new(residue: Residue, width: usize) -> Self {
        Self { residue, width }
    }

    /// Its number in a block, so that the order of the tables never changes.
    pub(super) fn number(self) -> u32 {
        let residue = RESIDUES.iter().position(|residue| *residue == self.residue).unwrap_or(0);
        let width = WIDTHS.iter().position(|width| *width == self.width).unwrap_or(0);
        (residue * WIDTHS.len() + width) as u32
    }

    /// The transform of a number; `None` for the one number of [`TRANSFORM_BITS`] without any.
    pub(super) fn from_number(number: u32) -> Option<Self> {
        let number = number as usize;
        let residue = *RESIDUES.get(number / WIDTHS.len())?;
        Some(Self::new(residue, *WIDTHS.get(number % WIDTHS.len())?))
    }

    /// Residues of the numbers after the first.
    pub(super) fn residues(self, numbers: &[u32], out: &mut Vec<u32>) {
        let after = numbers.get(1..).unwrap_or_default();
        let pairs = numbers.iter().zip(after);
        out.clear();
        match self.residue {
            Residue::Raw => out.extend_from_slice(after),
            Residue::Xor => out.extend(pairs.map(|(before, number)| before ^ number)),
            Residue::Difference(order) => {
                out.extend(pairs.map(|(before, number)| number.wrapping_sub(*before)));
                (1..order).for_each(|_| differ(out));
                out.iter_mut().for_each(|step| *step = fold(*step, self.width));
            }
        }
    }

    /// Turns residues into the numbers that they stand for; only the lowest `width` bytes count.
    pub(super) fn restore(self, first: u32, residues: &mut [u32]) {
        match self.residue {
            Residue::Raw => {}
            Residue::Xor => sums(residues, [first], |residue| residue, |a, b| a ^ b),
            Residue::Difference(1) => sums(residues, [first], unfold, u32::wrapping_add),
            Residue::Difference(2) => sums(residues, [0, first], unfold, u32::wrapping_add),
            Residue::Difference(_) => sums(residues, [0, 0, first], unfold, u32::wrapping_add),
        }
    }
}

/// Sums of sums, `N` deep; `state` holds what each begins with, the numbers last.
#[inline(always)]
fn sums<const N: usize>(
    residues: &mut [u32],
    mut state: [u32; N],
    step: impl Fn(u32) -> u32,
    add: impl Fn(u32, u32) -> u32,
) {
    for slot in residues {
        let mut number = step(*slot);
        for sum in &mut state {
            number = add(number, *sum);
            *sum = number;
        }
        *slot = number;
    }
}

/// Differences of neighbours; the first stands as it is.
fn differ(steps: &mut [u32]) {
    let mut before = 0;
    for step in steps {
        let now = *step;
        *step = now.wrapping_sub(before);
        before = now;
    }
}

/// Zigzag of the lowest `width` bytes read as a signed number: 0, -1, 1, -2 become 0, 1, 2, 3.
pub(super) fn fold(step: u32, width: usize) -> u32 {
    let spare = 32 - 8 * width as u32;
    let signed = ((step << spare) as i32) >> spare;
    ((signed << 1) ^ (signed >> 31)) as u32 & (u32::MAX >> spare)
}

fn unfold(folded: u32) -> u32 {
    (folded >> 1) ^ (folded & 1).wrapping_neg()
}

/// Packets of one length turned on their side: one run of bytes a column.
pub(super) struct Columns {
    bytes: Vec<u8>,
    varies: Vec<bool>,
    count: usize,
}

impl Columns {
    /// The columns of `count` packets of `length` bytes behind one another.
    pub(super) fn new(data: &[u8], length: usize, count: usize) -> Self {
        let mut changed = vec![0u8; length];
        let (first, rest) = data.split_at_checked(length).unwrap_or_default();
        for packet in rest.chunks_exact(length.max(1)) {
            for ((changed, first), byte) in changed.iter_mut().zip(first).zip(packet) {
                *changed |= first ^ byte;
            }
        }
        let varies: Vec<bool> = changed.iter().map(|bits| *bits != 0).collect();
        let mut bytes = vec![0u8; length * count];
        let columns = bytes.chunks_exact_mut(count.max(1));
        for (column, (run, varies)) in columns.zip(&varies).enumerate() {
            if *varies {
                let source = data.get(column..).unwrap_or_default().iter().step_by(length);
                run.iter_mut().zip(source).for_each(|(slot, byte)| *slot = *byte);
            } else {
                run.fill(first.get(column).copied().unwrap_or_default());
            }
        }
        Self { bytes, varies, count }
    }

    pub(super) fn length(&self) -> usize {
        self.varies.len()
    }

    /// Whether any packet differs from the first here.
    pub(super) fn varies(&self, column: usize) -> bool {
        self.varies.get(column).copied().unwrap_or_default()
    }

    /// The numbers of `width` bytes at a column, one a packet; none past the last column.
    pub(super) fn numbers(&self, column: usize, width: usize, out: &mut Vec<u32>) {
        out.clear();
        let bytes = column * self.count..(column + width) * self.count;
        let mut runs = self.bytes.get(bytes).unwrap_or_default().chunks_exact(self.count.max(1));
        out.extend(runs.next().unwrap_or_default().iter().map(|byte| u32::from(*byte)));
        for run in runs {
            for (number, byte) in out.iter_mut().zip(run) {
                *number = (*number << 8) | u32::from(*byte);
            }
        }
    }
}

/// Writes numbers of `width` bytes to a column of the packets after the first.
pub(super) fn place(rest: &mut [u8], length: usize, column: usize, width: usize, numbers: &[u32]) {
    match width {
        1 => place_at::<1>(rest, length, column, numbers),
        2 => place_at::<2>(rest, length, column, numbers),
        _ => place_at::<4>(rest, length, column, numbers),
    }
}

fn place_at<const W: usize>(rest: &mut [u8], length: usize, column: usize, numbers: &[u32]) {
    for (packet, number) in rest.chunks_exact_mut(length).zip(numbers) {
        let slot = packet.get_mut(column..).and_then(|rest| rest.first_chunk_mut::<W>());
        if let (Some(slot), Some(bytes)) = (slot, number.to_be_bytes().last_chunk::<W>()) {
            *slot = *bytes;
        }
    }
}

/// The number of `width` bytes at a column of a packet; 0 past its end.
pub(super) fn number_at(packet: &[u8], column: usize, width: usize) -> u32 {
    let bytes = packet.get(column..column + width).unwrap_or_default();
    bytes.iter().fold(0, |number, byte| (number << 8) | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_number_of_a_transform_is_one_or_none() {
        for number in 0..15 {
            assert_eq!(Transform::from_number(number).map(Transform::number), Some(number));
        }
        assert_eq!(Transform::from_number(15), None);
    }

    proptest! {
        #[test]
        fn numbers_come_back_from_residues(
            numbers in prop::collection::vec(any::<u32>(), 2..40), small in any::<bool>(),
        ) {
            for number in 0..15 {
                let transform = Transform::from_number(number).unwrap();
                let mask = u32::MAX >> (32 - 8 * transform.width as u32);
                let mask = if small { mask & 3 } else { mask };
                let numbers: Vec<u32> = numbers.iter().map(|number| number & mask).collect();
                let mut residues = Vec::new();
                transform.residues(&numbers, &mut residues);
                transform.restore(numbers[0], &mut residues);
                let whole = u32::MAX >> (32 - 8 * transform.width as u32);
                let back: Vec<u32> = residues.iter().map(|number| number & whole).collect();
                prop_assert_eq!(&back, &numbers[1..], "{:?}", transform);
            }
        }
    }
}
