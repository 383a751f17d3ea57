//! The dense entropy stage: every residue bit by bit, each bit predicted from its column, the
//! residues above, the columns before and the block so far.
//!
//! A number is written as its length in bits, counted up, then its bits; only the first two bits
//! after the leading one are predicted, what is below is noise. The alternative for groups of one
//! byte takes each value as a symbol. One routine writes and reads, so that they cannot differ.

use super::choose::{Cost, Group, Way, each};
use super::mixing::{Coder, Model, Reader, SLOTS, Writer};
use super::transform::{Columns, RESIDUES, Residue, TRANSFORM_BITS, Transform, number_at, place};
use alloc::{vec, vec::Vec};

/// Lengths of a number in bits: 0 to 32.
const LENGTHS: usize = 33;
/// Buckets of a byte as context.
const BUCKETS: usize = 16;

// Slots that are forgotten after each group. Numbers:
const OWN: usize = 0;
const AFTER_ONE: usize = OWN + LENGTHS;
const AFTER_TWO: usize = AFTER_ONE + LENGTHS * LENGTHS;
const BESIDE: usize = AFTER_TWO + 2 * LENGTHS * LENGTHS;
const LEADING: usize = BESIDE + LENGTHS * LENGTHS;
const NUMBERS_END: usize = LEADING + 4 * LENGTHS;
// and symbols, at the same places:
const SYMBOL: usize = 0;
const SYMBOL_AFTER: usize = SYMBOL + 256;
const SYMBOL_BESIDE: usize = SYMBOL_AFTER + 256 * BUCKETS;
const SYMBOLS_END: usize = SYMBOL_BESIDE + 256 * BUCKETS;

// Slots that the whole block shares.
const SHAPE: usize = SYMBOLS_END;
const SHAPES: usize = 2 * 2 * 13 * 9;
const SHARED_LEADING: usize = SHAPE + SHAPES;
const SHARED_SYMBOL: usize = SHARED_LEADING + 4 * LENGTHS;
const FIRST: usize = SHARED_SYMBOL + 256;
const FIRST_AFTER: usize = FIRST + 256;
const KIND: usize = FIRST_AFTER + 256 * BUCKETS;
const WAY: usize = KIND + 4;
const END: usize = WAY + 64;
const _: () = assert!(END <= SLOTS && NUMBERS_END <= SYMBOLS_END);

// Sets of weights.
const SET_LENGTH: usize = 0;
const SET_LEADING: usize = 9;
const SET_SYMBOL: usize = 11;
const SET_FIRST: usize = 13;
const SET_KIND: usize = 14;

/// Entropies of lengths and symbols.
#[derive(Default)]
pub(super) struct Entropy {
    residues: Vec<u32>,
    sorted: Vec<u32>,
}

impl Cost for Entropy {
    fn least(&mut self, numbers: &[u32], width: usize) -> Option<Way> {
        let ways = RESIDUES.iter().filter(|residue| width == 1 || **residue != Residue::Raw);
        ways.map(|residue| {
            let transform = Transform::new(*residue, width);
            transform.residues(numbers, &mut self.residues);
            let few = matches!(residue, Residue::Raw | Residue::Xor | Residue::Difference(1));
            let symbols = if few && width == 1 { self.symbols() } else { u64::MAX };
            let bits = self.numbers();
            Way { transform, alternative: symbols < bits, bits: bits.min(symbols) }
        })
        .min_by_key(|way| way.bits)
    }
}

impl Entropy {
    /// Bits of the residues by length, and what stands below the leading one.
    fn numbers(&self) -> u64 {
        let mut lengths = [0u32; LENGTHS];
        let mut below = 0;
        for residue in &self.residues {
            let length = length_of(*residue);
            below += u64::from(length.saturating_sub(1));
            if let Some(count) = lengths.get_mut(length as usize) {
                *count += 1;
            }
        }
        let lengths = lengths.iter().copied().filter(|count| *count > 0);
        below + entropy(lengths, self.residues.len(), 3)
    }

    /// Bits of the residues each taken as a symbol.
    fn symbols(&mut self) -> u64 {
        self.sorted.clear();
        self.sorted.extend_from_slice(&self.residues);
        self.sorted.sort_unstable();
        let runs = self.sorted.chunk_by(|a, b| a == b).map(|run| run.len() as u32);
        entropy(runs, self.residues.len(), 7)
    }
}

/// Bits for values of these counts, and `each` for learning one of them.
fn entropy(counts: impl Iterator<Item = u32>, total: usize, each: u64) -> u64 {
    let whole = log2(total as u32);
    let bits: u64 = counts
        .map(|count| u64::from(count) * whole.saturating_sub(log2(count)) + (each << 8))
        .sum();
    bits >> 8
}

/// Binary logarithm in 1/256, by the leading bit and a parabola through the rest.
fn log2(number: u32) -> u64 {
    let Some(whole) = number.checked_ilog2() else { return 0 };
    let rest = ((u64::from(number) << 16) >> whole) - (1 << 16);
    let bend = (rest * ((1 << 16) - rest)) >> 16;
    u64::from(whole) * 256 + ((rest + bend * 22 / 64) >> 8)
}

fn length_of(number: u32) -> u32 {
    u32::BITS - number.leading_zeros()
}

/// Writes the first packet and all groups behind `out`.
pub(super) fn write(columns: &Columns, groups: &[Group], first: &[u8]) -> Vec<u8> {
    let mut model = Model::new(Writer::new());
    first_packet(&mut model, &mut first.to_vec());
    let mut beside = vec![0u32; numbers_after_first(columns)];
    let mut before = Group::Constant;
    each(columns, groups, |group, residues| {
        kind(&mut model, before, group);
        if let Group::Numbers { transform, alternative } = group {
            code(&mut model, transform, alternative, residues, &beside);
            core::mem::swap(&mut beside, residues);
        }
        before = group;
    });
    model.coder.finish()
}

fn numbers_after_first(columns: &Columns) -> usize {
    let mut numbers = Vec::new();
    columns.numbers(0, 1, &mut numbers);
    numbers.len().saturating_sub(1)
}

/// Fills packets of `length` bytes; `None` where the groups don't fit the packets or the bytes.
/// `told` hears of each group with its first column and its bits, whole bytes of them.
pub(super) fn read(
    bytes: &[u8],
    data: &mut [u8],
    length: usize,
    mut told: impl FnMut(usize, Group, usize),
) -> Option<()> {
    let (first, rest) = data.split_at_mut_checked(length)?;
    let count = rest.len() / length.max(1);
    let mut model = Model::new(Reader::new(bytes));
    first_packet(&mut model, first);
    for packet in rest.chunks_exact_mut(length) {
        packet.copy_from_slice(first);
    }
    let (mut residues, mut beside) = (vec![0u32; count], vec![0u32; count]);
    let (mut column, mut before) = (0, Group::Constant);
    while column < length {
        let begin = model.coder.ahead();
        // What ended early would go on as zeros to the last packet.
        if begin > 0 {
            return None;
        }
        let group = kind(&mut model, before, Group::Constant)?;
        if let Group::Numbers { transform, alternative } = group {
            if column + transform.width > length || (alternative && transform.width > 1) {
                return None;
            }
            code(&mut model, transform, alternative, &mut residues, &beside);
            beside.copy_from_slice(&residues);
            transform.restore(number_at(first, column, transform.width), &mut residues);
            place(rest, length, column, transform.width, &residues);
        }
        told(column, group, 8 * (model.coder.ahead() - begin) as usize);
        column += group.width();
        before = group;
    }
    model.coder.is_done().then_some(())
}

/// The first packet, byte by byte.
fn first_packet<C: Coder>(model: &mut Model<C>, packet: &mut [u8]) {
    let mut before = 0;
    for byte in packet {
        let bucket = FIRST_AFTER + 256 * usize::from(before >> 4);
        *byte = symbol(*byte, |node, bit| model.bit([FIRST + node, bucket + node], SET_FIRST, bit));
        before = *byte;
    }
}

/// A byte, its highest bit first; `bit` gets the place in the tree and the bit to write.
#[inline(always)]
fn symbol(byte: u8, mut bit: impl FnMut(usize, bool) -> bool) -> u8 {
    let mut node = 1;
    for place in (0..8).rev() {
        node = (node << 1) | usize::from(bit(node, (byte >> place) & 1 == 1));
    }
    node as u8
}

/// What a group is; `None` for a number that names no transform.
fn kind<C: Coder>(model: &mut Model<C>, before: Group, group: Group) -> Option<Group> {
    let after = KIND + usize::from(before != Group::Constant);
    if !model.bit([after], SET_KIND, group != Group::Constant) {
        return Some(Group::Constant);
    }
    let (number, alternative) = match group {
        Group::Numbers { transform, alternative } => (transform.number(), alternative),
        Group::Constant => (0, false),
    };
    let written = (number << 1) | u32::from(alternative);
    let mut node = 1;
    for place in (0..=TRANSFORM_BITS).rev() {
        let bit = (written >> place) & 1 == 1;
        node = (node << 1) | usize::from(model.bit([WAY + node], SET_KIND, bit));
    }
    let read = node as u32 & ((2 << TRANSFORM_BITS) - 1);
    Some(Group::Numbers {
        transform: Transform::from_number(read >> 1)?,
        alternative: read & 1 == 1,
    })
}

/// The residues of a group; `beside` are those of the group before.
fn code<C: Coder>(
    model: &mut Model<C>,
    transform: Transform,
    alternative: bool,
    residues: &mut [u32],
    beside: &[u32],
) {
    if alternative {
        model.forget(SYMBOLS_END);
        symbols(model, residues, beside);
    } else {
        model.forget(NUMBERS_END);
        numbers(model, transform.width, residues, beside);
    }
}

fn symbols<C: Coder>(model: &mut Model<C>, residues: &mut [u32], beside: &[u32]) {
    let mut before = 0usize;
    for (residue, beside) in residues.iter_mut().zip(beside) {
        // Multiplied, so that neither near nor far values share a bucket by rule.
        let after = SYMBOL_AFTER + 256 * (((before * 0x9D) & 0xFF) >> 4);
        let at = SYMBOL_BESIDE + 256 * (length_of(*beside) as usize).min(BUCKETS - 1);
        *residue = u32::from(symbol(*residue as u8, |node, bit| {
            let places = [SYMBOL + node, after + node, at + node, SHARED_SYMBOL + node];
            model.bit(places, SET_SYMBOL + usize::from(node > 1), bit)
        }));
        before = *residue as usize;
    }
}

fn numbers<C: Coder>(model: &mut Model<C>, width: usize, residues: &mut [u32], beside: &[u32]) {
    let (mut one, mut two) = (0usize, 0usize);
    for (row, (residue, beside)) in residues.iter_mut().zip(beside).enumerate() {
        let length = length_of(*residue) as usize;
        let beside = length_of(*beside) as usize;
        let trend = 4 + (two as isize - one as isize).clamp(-4, 4);
        let shape = SHAPE
            + 13 * (trend as usize + 9 * (usize::from(width > 1) + 2 * usize::from(beside > 0)));
        let mut read = 0;
        while read < 8 * width {
            let ahead = 6 + (read as isize - one as isize).clamp(-6, 6);
            let places = [
                OWN + read,
                AFTER_ONE + LENGTHS * one + read,
                AFTER_TWO + LENGTHS * (one + two) + read,
                shape + ahead as usize,
                BESIDE + LENGTHS * beside + read,
            ];
            let phase = usize::from(row >= 8) + usize::from(row >= 24);
            let set = SET_LENGTH + read.min(2) + 3 * phase;
            if !model.bit(places, set, read < length) {
                break;
            }
            read += 1;
        }
        *residue = bits(model, read, *residue);
        (two, one) = (one, read);
    }
}

/// The bits of a number below its leading one.
fn bits<C: Coder>(model: &mut Model<C>, length: usize, residue: u32) -> u32 {
    let mut number = u32::from(length > 0);
    for place in (0..length.saturating_sub(1)).rev() {
        let bit = (residue >> place) & 1 == 1;
        // After the leading one: 1; after the next bit: 2 or 3.
        let bit = if number < 4 {
            let at = 4 * length + number as usize;
            let set = SET_LEADING + usize::from(number > 1);
            model.bit([LEADING + at, SHARED_LEADING + at], set, bit)
        } else {
            model.even(bit)
        };
        number = (number << 1) | u32::from(bit);
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_close_enough_to_choose_by() {
        for number in 1..=4096u32 {
            let exact = f64::from(number).log2() * 256.0;
            assert!((log2(number) as f64 - exact).abs() < 4.0, "{number}");
        }
    }
}
