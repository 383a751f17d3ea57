//! Which columns are joined to numbers and what is kept of them: the cheapest way of all.

use super::transform::{Columns, Transform, WIDTHS};
use alloc::{vec, vec::Vec};

/// What a constant column costs, in bits.
const CONSTANT_BITS: u64 = 1;
/// What naming a group's way costs, in bits.
const GROUP_BITS: u64 = 11;

/// Neighbouring columns that are written as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// One column in which every packet has the first one's byte.
    Constant,
    /// Columns as numbers; `alternative` as in [`Way`].
    Numbers { transform: Transform, alternative: bool },
}

impl Group {
    /// Columns that it takes.
    pub(super) fn width(self) -> usize {
        match self {
            Self::Constant => 1,
            Self::Numbers { transform, .. } => transform.width,
        }
    }
}

/// Goes through groups with the residues of each; a constant one has none.
pub(super) fn each(columns: &Columns, groups: &[Group], mut of: impl FnMut(Group, &mut Vec<u32>)) {
    let (mut numbers, mut residues) = (Vec::new(), Vec::new());
    let mut column = 0;
    for group in groups {
        residues.clear();
        if let Group::Numbers { transform, .. } = group {
            columns.numbers(column, transform.width, &mut numbers);
            transform.residues(&numbers, &mut residues);
        }
        of(*group, &mut residues);
        column += group.width();
    }
}

/// A way to write a group and the bits that it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) transform: Transform,
    /// Whether it is the coder's second way to write residues.
    pub(super) alternative: bool,
    pub(super) bits: u64,
}

/// What an entropy coder would make of numbers.
pub(super) trait Cost {
    /// The cheapest way for numbers of `width` bytes, by estimate.
    fn least(&mut self, numbers: &[u32], width: usize) -> Option<Way>;
}

/// The cheapest groups by a coder's estimate.
///
/// One pass from the last column to the first: what stands behind a group doesn't depend on it.
pub(super) fn choose<C: Cost>(columns: &Columns, cost: &mut C) -> Vec<Group> {
    let length = columns.length();
    let mut best = vec![(0u64, Group::Constant); length + 1];
    let mut numbers = Vec::new();
    for column in (0..length).rev() {
        let mut winner: Option<(u64, Group)> = None;
        let mut offer = |bits: u64, group: Group| {
            let behind = best.get(column + group.width()).map_or(0, |(behind, _)| *behind);
            if winner.is_none_or(|(least, _)| bits + behind < least) {
                winner = Some((bits + behind, group));
            }
        };
        if !columns.varies(column) {
            offer(CONSTANT_BITS, Group::Constant);
        }
        for width in WIDTHS {
            if worthwhile(columns, column, width) {
                columns.numbers(column, width, &mut numbers);
                if let Some(Way { transform, alternative, bits }) = cost.least(&numbers, width) {
                    offer(bits + GROUP_BITS, Group::Numbers { transform, alternative });
                }
            }
        }
        if let (Some(slot), Some(winner)) = (best.get_mut(column), winner) {
            *slot = winner;
        }
    }
    let mut groups = Vec::with_capacity(length);
    let mut column = 0;
    while let Some((_, group)) = best.get(column).filter(|_| column < length) {
        groups.push(*group);
        column += group.width();
    }
    groups
}

/// Whether numbers of this width can beat narrower ones here: constant columns in front or behind
/// carry nothing into the others. Three columns are written as four where the first is constant.
fn worthwhile(columns: &Columns, column: usize, width: usize) -> bool {
    let in_front = width.saturating_sub(2).max(1);
    column + width <= columns.length()
        && (0..in_front).any(|ahead| columns.varies(column + ahead))
        && columns.varies(column + width - 1)
}
