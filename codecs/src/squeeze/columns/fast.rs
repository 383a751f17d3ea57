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

use super::bits::{Reader, Writer};
use super::choose::{Cost, Group, Way};
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
        let [raw, xor, first, second] = match width {
            1 => sums::<1>(numbers),
            2 => sums::<2>(numbers),
            _ => sums::<4>(numbers),
        };
        let residues = [
            (Residue::Raw, raw),
            (Residue::Xor, xor),
            (Residue::Difference(1), first),
            (Residue::Difference(2), second),
        ];
        let count = numbers.len().saturating_sub(1);
        // Wide numbers are hardly ever best as they are.
        let ways = residues.into_iter().skip(usize::from(width > 1)).map(|(residue, sums)| {
            let (bits, alternative) = sums.bits(count);
            Way { transform: Transform::new(residue, width), alternative, bits }
        });
        ways.min_by_key(|way| way.bits)
    }
}

/// What an estimate needs to know of residues.
#[derive(Clone, Copy, Default)]
struct Sums {
    /// Sum of residues of one or two bytes: below 2^28 in a block, which spares wide sums.
    narrow: u32,
    wide: u64,
    nonzero: u32,
    any: u32,
}

impl Sums {
    #[inline(always)]
    fn add<const WIDTH: usize>(&mut self, residue: u32) {
        if WIDTH == 4 {
            self.wide += u64::from(residue);
        } else {
            self.narrow = self.narrow.wrapping_add(residue);
        }
        self.nonzero += u32::from(residue != 0);
        self.any |= residue;
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

/// Sums of the numbers after the first, their XORs, first and second differences.
fn sums<const WIDTH: usize>(numbers: &[u32]) -> [Sums; 4] {
    let [mut raw, mut xor, mut first, mut second] = [Sums::default(); 4];
    let mut add = |before_that: u32, before: u32, number: u32| {
        let step = number.wrapping_sub(before);
        raw.add::<WIDTH>(number);
        xor.add::<WIDTH>(number ^ before);
        first.add::<WIDTH>(fold(step, WIDTH));
        second.add::<WIDTH>(fold(step.wrapping_sub(before.wrapping_sub(before_that)), WIDTH));
    };
    if let [start, next, ..] = numbers {
        // The step before the first counts as 0.
        add(*start, *start, *next);
    }
    let shifted = numbers.iter().zip(numbers.iter().skip(1)).zip(numbers.iter().skip(2));
    shifted.for_each(|((before_that, before), number)| add(*before_that, *before, *number));
    [raw, xor, first, second]
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
    let (mut numbers, mut residues) = (Vec::new(), Vec::new());
    let mut column = 0;
    for group in groups {
        match *group {
            Group::Constant => writer.put(0, 1),
            Group::Numbers { transform, alternative } => {
                columns.numbers(column, transform.width, &mut numbers);
                transform.residues(&numbers, &mut residues);
                writer.put(1, 1);
                writer.put(transform.number(), TRANSFORM_BITS);
                writer.put(alternative.into(), 1);
                if alternative {
                    write_sparse(&mut writer, &residues);
                } else {
                    write_rice(&mut writer, &residues);
                }
            }
        }
        column += group.width();
    }
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
    let mut residues = vec![0u32; count];
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
                read_sparse(&mut reader, &mut residues)?;
            } else {
                read_rice(&mut reader, &mut residues);
            }
            if column + transform.width > length {
                return None;
            }
            transform.restore(number_at(first, column, transform.width), &mut residues);
            place(rest, length, column, transform.width, &residues);
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

fn read_rice(reader: &mut Reader<'_>, residues: &mut [u32]) {
    let k = reader.take(PARAMETER_BITS);
    reader.runs(OVERFLOW, residues);
    let overflows = residues.iter().filter(|quotient| **quotient == OVERFLOW).count();
    if overflows == 0 {
        return reader.append(k, residues);
    }
    let quotients = residues.to_vec();
    reader.append(k, residues);
    let mask = (1u32 << k) - 1;
    for (residue, quotient) in residues.iter_mut().zip(quotients) {
        if quotient == OVERFLOW {
            *residue = (reader.take(32 - k) << k) | (*residue & mask);
        }
    }
}
