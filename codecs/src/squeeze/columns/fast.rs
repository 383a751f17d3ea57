//! The fast entropy stage: a Rice code a group, or places and values where little changes.
//!
//! ```text
//! group     0                              one constant column
//!           1 transform(4) 0 k(5)          Rice: quotients, remainders of k bits, what overflowed
//!           1 transform(4) 1 n(c) w(5)     sparse: n times place(c) and value of w + 1 bits
//! quotient  q zeros and a one; 20 zeros: the quotient itself follows, in 32 - k bits
//! ```
//!
//! `c` is the number of bits of the count of packets after the first.

use super::bits::{BEHIND, Reader, Writer};
use super::choose::{Cost, Group, Way, each};
use super::transform::{Columns, Residue, TRANSFORM_BITS, Transform, fold, number_at, place};
use alloc::{vec, vec::Vec};

/// Quotients from here on are written as numbers.
const OVERFLOW: u32 = 20;

/// Bits of a Rice parameter or of a width less one.
const PARAMETER_BITS: u32 = 5;

/// Estimates bits without writing any, all residues in one pass.
pub(super) struct Estimate;

impl Cost for Estimate {
    fn least(&mut self, numbers: &[u32], width: usize) -> Option<Way> {
        let count = numbers.len().saturating_sub(1);
        let mut least: Option<Way> = None;
        let mut offer = |residue, sums: Sums| {
            let (bits, alternative) = sums.bits(count);
            if least.is_none_or(|least| bits < least.bits) {
                least = Some(Way { transform: Transform::new(residue, width), alternative, bits });
            }
        };
        // Wide numbers are hardly ever best as they are, and seldom XORed.
        if width == 1 {
            offer(Residue::Raw, raw(numbers));
            offer(Residue::Xor, xor(numbers));
        }
        let [first, second] = match width {
            1 => differences::<1>(numbers),
            2 => differences::<2>(numbers),
            _ => differences::<4>(numbers),
        };
        offer(Residue::Difference(1), first);
        offer(Residue::Difference(2), second);
        least
    }
}

/// What an estimate needs to know of residues.
#[derive(Clone, Copy)]
struct Sums {
    /// Sum of residues of one or two bytes: below 2^28 in a block, which spares wide sums.
    narrow: u32,
    wide: u64,
    nonzero: u32,
    any: u32,
}

impl Sums {
    #[inline(always)]
    fn of<const WIDTH: usize>(residues: impl Iterator<Item = u32>) -> Self {
        let (mut narrow, mut wide, mut nonzero, mut any) = (0u32, 0u64, 0, 0);
        for residue in residues {
            if WIDTH == 4 {
                wide += u64::from(residue);
            } else {
                narrow = narrow.wrapping_add(residue);
            }
            nonzero += u32::from(residue != 0);
            any |= residue;
        }
        Self { narrow, wide, nonzero, any }
    }

    /// With one residue more.
    fn and(self, residue: u32) -> Self {
        Self {
            wide: self.wide + u64::from(residue),
            nonzero: self.nonzero + u32::from(residue != 0),
            any: self.any | residue,
            ..self
        }
    }

    fn bits(&self, count: usize) -> (u64, bool) {
        let sum = self.wide + u64::from(self.narrow);
        let each = place_bits(count) + bits_of(self.any);
        let sparse = u64::from(self.nonzero) * u64::from(each);
        let count = count as u64;
        let k = parameter(sum, count);
        // Half a quotient is lost on average where remainders are cut off.
        let saved = count / 2 * u64::from(k > 0);
        let rice = count * u64::from(k + 1) + (sum >> k).saturating_sub(saved);
        if sparse < rice { (sparse, true) } else { (rice, false) }
    }
}

// Slices zipped with slices become wide instructions; a `skip` among them would not.

fn raw(bytes: &[u32]) -> Sums {
    Sums::of::<1>(bytes.get(1..).unwrap_or_default().iter().copied())
}

fn xor(bytes: &[u32]) -> Sums {
    let after = bytes.get(1..).unwrap_or_default();
    Sums::of::<1>(bytes.iter().zip(after).map(|(before, byte)| before ^ byte))
}

/// Of first and second differences.
fn differences<const WIDTH: usize>(numbers: &[u32]) -> [Sums; 2] {
    let after = numbers.get(1..).unwrap_or_default();
    let after_that = numbers.get(2..).unwrap_or_default();
    let step = |(before, number): (&u32, &u32)| fold(number.wrapping_sub(*before), WIDTH);
    let bend = |((a, b), c): ((&u32, &u32), &u32)| {
        fold(c.wrapping_sub(*b).wrapping_sub(b.wrapping_sub(*a)), WIDTH)
    };
    let pairs = || numbers.iter().zip(after);
    // The step before the first counts as 0.
    let begin = pairs().next().map_or(0, step);
    [
        Sums::of::<WIDTH>(pairs().map(step)),
        Sums::of::<WIDTH>(pairs().zip(after_that).map(bend)).and(begin),
    ]
}

/// The Rice parameter for residues of this sum: about the logarithm of 0.7 means.
fn parameter(sum: u64, count: u64) -> u32 {
    (sum * 11 / 16).checked_div(count).and_then(u64::checked_ilog2).unwrap_or(0).min(31)
}

fn bits_of(number: u32) -> u32 {
    u32::BITS - number.leading_zeros()
}

fn place_bits(count: usize) -> u32 {
    bits_of(count as u32)
}

/// Writes all groups behind `out`.
pub(super) fn write(columns: &Columns, groups: &[Group], out: Vec<u8>) -> Vec<u8> {
    let mut writer = Writer::behind(out);
    each(columns, groups, |group, residues| match group {
        Group::Constant => writer.put(0, 1),
        Group::Numbers { transform, alternative } => {
            writer.put(1, 1);
            writer.put(transform.number(), TRANSFORM_BITS);
            writer.put(alternative.into(), 1);
            if alternative {
                write_sparse(&mut writer, residues);
            } else {
                write_rice(&mut writer, residues);
            }
        }
    });
    writer.finish()
}

fn write_sparse(writer: &mut Writer, residues: &[u32]) {
    let places = place_bits(residues.len());
    let width = bits_of(residues.iter().fold(0, |any, residue| any | residue)).max(1);
    let changes = residues.iter().zip(0u32..).filter(|(residue, _)| **residue != 0);
    writer.put(changes.clone().count() as u32, places);
    writer.put(width - 1, PARAMETER_BITS);
    for (residue, at) in changes {
        writer.put(at, places);
        writer.put(*residue, width);
    }
}

fn write_rice(writer: &mut Writer, residues: &[u32]) {
    let sum = residues.iter().map(|residue| u64::from(*residue)).sum();
    let near = parameter(sum, residues.len() as u64);
    let bits = |k: u32| {
        let quotients = residues.iter().map(|residue| (residue >> k).min(2 * OVERFLOW));
        quotients.sum::<u32>() + k * residues.len() as u32
    };
    let k = [near, near.saturating_sub(1), (near + 1).min(31)].into_iter().min_by_key(|k| bits(*k));
    let k = k.unwrap_or(near);
    writer.put(k, PARAMETER_BITS);
    for residue in residues {
        let quotient = residue >> k;
        let overflows = quotient >= OVERFLOW;
        writer.put((!overflows).into(), if overflows { OVERFLOW } else { quotient + 1 });
    }
    let mask = (1u32 << k) - 1;
    if k > 0 {
        residues.iter().for_each(|residue| writer.put(residue & mask, k));
    }
    for residue in residues.iter().filter(|residue| **residue >> k >= OVERFLOW) {
        writer.put(residue >> k, 32 - k);
    }
}

/// Fills the packets after the first; `data` begins with it and has all the others as copies.
///
/// `None` where the groups don't fit the packets or the bytes. `told` hears of each group with its
/// first column and its bits.
pub(super) fn read(
    bytes: &[u8],
    data: &mut [u8],
    length: usize,
    mut told: impl FnMut(usize, Group, usize),
) -> Option<()> {
    let (first, rest) = data.split_at_mut_checked(length)?;
    let count = rest.len() / length.max(1);
    let mut residues = vec![0u32; count + BEHIND];
    let mut reader = Reader::new(bytes);
    let mut column = 0;
    while column < length {
        let begin = reader.position();
        let group = if reader.take(1) == 0 {
            Group::Constant
        } else {
            let transform = Transform::from_number(reader.take(TRANSFORM_BITS))?;
            let alternative = reader.take(1) == 1;
            if alternative {
                read_sparse(&mut reader, residues.get_mut(..count)?)?;
            } else {
                read_rice(&mut reader, count, &mut residues)?;
            }
            if column + transform.width > length {
                return None;
            }
            let numbers = residues.get_mut(..count)?;
            transform.restore(number_at(first, column, transform.width), numbers);
            place(rest, length, column, transform.width, numbers);
            Group::Numbers { transform, alternative }
        };
        told(column, group, reader.position() - begin);
        column += group.width();
    }
    reader.is_done().then_some(())
}

fn read_sparse(reader: &mut Reader<'_>, residues: &mut [u32]) -> Option<()> {
    let places = place_bits(residues.len());
    let changes = reader.take(places);
    let width = reader.take(PARAMETER_BITS) + 1;
    residues.fill(0);
    if changes as usize > residues.len() {
        return None;
    }
    for _ in 0..changes {
        let at = reader.take(places) as usize;
        *residues.get_mut(at)? = reader.take(width);
    }
    Some(())
}

/// Fills the first `count` residues; those behind them are written over.
fn read_rice(reader: &mut Reader<'_>, count: usize, residues: &mut [u32]) -> Option<()> {
    let k = reader.take(PARAMETER_BITS);
    let overflows = reader.runs(OVERFLOW, count, residues);
    let residues = residues.get_mut(..count)?;
    if !overflows {
        reader.append(k, residues);
        return Some(());
    }
    let quotients = residues.to_vec();
    reader.append(k, residues);
    let mask = (1u32 << k) - 1;
    for (residue, quotient) in residues.iter_mut().zip(quotients) {
        if quotient == OVERFLOW {
            *residue = (reader.take(32 - k) << k) | (*residue & mask);
        }
    }
    Some(())
}
