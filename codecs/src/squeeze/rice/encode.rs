//! Samples to a Rice stream.

use super::super::bits::BitWriter;
use super::{Layout, RiceConfig, RiceError, map};
use super::{MAX_BLOCK, REMAINDER_MIN, SEGMENT_BLOCKS};
use alloc::vec::Vec;

/// Codes samples; those of signed streams are two's complement, with or without their sign
/// extended over the word.
pub fn encode(config: &RiceConfig, samples: &[u32]) -> Result<Vec<u8>, RiceError> {
    let mut rest = samples;
    encode_from(config, samples.len(), |block| {
        let (next, after) = rest.split_at(block.len().min(rest.len()));
        block.iter_mut().zip(next).for_each(|(place, sample)| *place = *sample);
        rest = after;
    })
}

/// Codes samples that lie in bytes as `layout` says.
pub fn encode_bytes(
    config: &RiceConfig,
    layout: Layout,
    bytes: &[u8],
) -> Result<Vec<u8>, RiceError> {
    let sample = layout.sample_bytes(config.bits);
    if !bytes.len().is_multiple_of(sample) {
        return Err(RiceError::Uneven { bytes: bytes.len(), sample });
    }
    let mut rest = bytes;
    encode_from(config, bytes.len() / sample, |block| {
        let (next, after) = rest.split_at((block.len() * sample).min(rest.len()));
        layout.read(config, next, block);
        rest = after;
    })
}

/// Codes `count` samples, which `fill` puts into one block after another.
fn encode_from(
    config: &RiceConfig,
    count: usize,
    mut fill: impl FnMut(&mut [u32]),
) -> Result<Vec<u8>, RiceError> {
    config.check()?;
    let size = config.block.samples();
    let mut encoder = Encoder::new(config);
    let (mut raw, mut mapped) = ([0; MAX_BLOCK], [0; MAX_BLOCK]);
    let (raw, mapped) =
        (raw.get_mut(..size).unwrap_or_default(), mapped.get_mut(..size).unwrap_or_default());
    let blocks = count.div_ceil(size);
    let (mut place, mut before) = (0, 0);
    for index in 0..blocks {
        let filled = size.min(count - index * size);
        if let Some((samples, padding)) = raw.split_at_mut_checked(filled) {
            fill(samples);
            narrow(config, index * size, samples)?;
            padding.fill(samples.last().copied().unwrap_or_default());
        }
        let reference = (config.preprocess && place == 0).then(|| *raw.first().unwrap_or(&0));
        if config.preprocess {
            before = preprocess(config, reference.unwrap_or(before), raw, mapped);
        } else {
            mapped.copy_from_slice(raw);
        }
        place += 1;
        let interval_ends = place == config.interval || index + 1 == blocks;
        encoder.block(mapped, reference, interval_ends || place % SEGMENT_BLOCKS == 0);
        if interval_ends {
            place = 0;
            if config.pad {
                encoder.out.align();
            }
        }
    }
    if blocks == 0 {
        // What libaec gives for nothing: one byte of fill.
        encoder.out.put(0, 8);
    }
    Ok(encoder.out.finish())
}

/// Cuts samples to their bits; sign extension may be above them, nothing else.
fn narrow(config: &RiceConfig, first: usize, samples: &mut [u32]) -> Result<(), RiceError> {
    let (max, sign) = (config.max(), config.max() ^ config.max() >> 1);
    // One test for all: a stray bit is rare.
    let stray = samples.iter().fold(0, |all, sample| all | sample & !max);
    if stray == 0 {
        return Ok(());
    }
    for (index, sample) in samples.iter_mut().enumerate() {
        let above = *sample & !max;
        let extended = config.signed && *sample & sign != 0 && above == !max;
        if above != 0 && !extended {
            let (index, value) = (first + index, *sample);
            return Err(RiceError::Sample { index, value, bits: config.bits });
        }
        *sample &= max;
    }
    Ok(())
}

/// Differences of a block; gives its last sample for the next one (predictor and mapper, §4).
fn preprocess(config: &RiceConfig, before: u32, raw: &[u32], mapped: &mut [u32]) -> u32 {
    let (max, flip) = (config.max(), config.flip());
    let shifted = core::iter::once(before).chain(raw.iter().copied());
    for ((mapped, sample), before) in mapped.iter_mut().zip(raw).zip(shifted) {
        *mapped = map(before ^ flip, sample ^ flip, max);
    }
    raw.last().copied().unwrap_or(before)
}

struct Encoder {
    out: BitWriter,
    bits: u32,
    id_bits: u32,
    /// Split of the last block that had one: where the search for the next begins.
    split: u32,
    zeros: u32,
    /// Reference sample of the first block of the run of zeros.
    zeros_reference: Option<u32>,
}

impl Encoder {
    fn new(config: &RiceConfig) -> Self {
        let (bits, id_bits) = (config.bits, config.id_bits());
        let out = BitWriter::default();
        Self { out, bits, id_bits, split: 0, zeros: 0, zeros_reference: None }
    }

    /// Codes a block of mapped samples. In the block with the reference sample, that sample's
    /// own place is zero.
    fn block(&mut self, mapped: &mut [u32], reference: Option<u32>, segment_ends: bool) {
        if mapped.iter().all(|value| *value == 0) {
            if self.zeros == 0 {
                self.zeros_reference = reference;
            }
            self.zeros += 1;
            if segment_ends {
                self.flush_zeros(true);
            }
            return;
        }
        self.flush_zeros(false);
        let coded = mapped.len() as u64 - u64::from(reference.is_some());
        let plain = coded * u64::from(self.bits);
        let split = if self.id_bits > 1 { self.shortest_split(mapped, coded) } else { u64::MAX };
        let extended = second_extension_bits(mapped, plain);
        if extended < plain && extended <= split {
            self.second_extension(mapped, reference);
        } else if split < plain {
            self.split(mapped, reference);
        } else {
            self.plain(mapped, reference);
        }
    }

    /// Length of the block as split samples without identifier, with `self.split` set to the
    /// shortest split.
    ///
    /// The length has one minimum over the split. Upwards from the last one, and downwards where
    /// that leads nowhere: the way decides between equal lengths.
    fn shortest_split(&mut self, mapped: &[u32], coded: u64) -> u64 {
        let start = self.split;
        let max = (1 << self.id_bits) - 3;
        let zeros = |split: u32| mapped.iter().map(|value| u64::from(value >> split)).sum::<u64>();
        let length = |zeros: u64, split: u32| zeros + coded * u64::from(split + 1);
        let mut found = zeros(start);
        let mut best = length(found, start);
        // One more bit a sample can't pay where the zeros are fewer than that.
        while found >= coded && self.split < max {
            found = zeros(self.split + 1);
            let next = length(found, self.split + 1);
            if next >= best {
                break;
            }
            best = next;
            self.split += 1;
        }
        if self.split != start {
            return best;
        }
        while let Some(split) = self.split.checked_sub(1) {
            let found = zeros(split);
            let next = length(found, split);
            if next >= best {
                break;
            }
            best = next;
            self.split = split;
            if found >= coded {
                break;
            }
        }
        best
    }

    fn reference(&mut self, reference: Option<u32>) {
        if let Some(sample) = reference {
            self.out.put(sample, self.bits);
        }
    }

    /// Sample splitting (§3): the high bits of all samples as fundamental sequences, then the low ones.
    fn split(&mut self, mapped: &[u32], reference: Option<u32>) {
        let split = self.split;
        self.out.put(split + 1, self.id_bits);
        self.reference(reference);
        let coded = mapped.get(usize::from(reference.is_some())..).unwrap_or_default();
        coded.iter().for_each(|value| self.out.put_fundamental(value >> split));
        if split > 0 {
            let low = (1 << split) - 1;
            coded.iter().for_each(|value| self.out.put(value & low, split));
        }
    }

    /// Second extension (§3): pairs of samples as one fundamental sequence.
    fn second_extension(&mut self, mapped: &[u32], reference: Option<u32>) {
        self.out.put(1, self.id_bits + 1);
        self.reference(reference);
        for pair in mapped.chunks_exact(2) {
            if let [first, second] = pair {
                let sum = first + second;
                self.out.put_fundamental(sum * (sum + 1) / 2 + second);
            }
        }
    }

    /// No compression (§3): the samples as they are.
    fn plain(&mut self, mapped: &mut [u32], reference: Option<u32>) {
        self.out.put((1 << self.id_bits) - 1, self.id_bits);
        if let (Some(first), Some(sample)) = (mapped.first_mut(), reference) {
            *first = sample;
        }
        mapped.iter().for_each(|value| self.out.put(*value, self.bits));
    }

    /// Zero-block option (§3): so many blocks of zeros.
    fn flush_zeros(&mut self, segment_ends: bool) {
        let code = match self.zeros {
            0 => return,
            blocks if blocks < REMAINDER_MIN => blocks - 1,
            _ if segment_ends => REMAINDER_MIN - 1,
            blocks => blocks,
        };
        self.out.put(0, self.id_bits + 1);
        let reference = self.zeros_reference.take();
        self.reference(reference);
        self.out.put_fundamental(code);
        self.zeros = 0;
    }
}

/// Length of the block by the second extension without identifier, or more than `limit`.
fn second_extension_bits(mapped: &[u32], limit: u64) -> u64 {
    let mut length = 1u64;
    for pair in mapped.chunks_exact(2) {
        if let [first, second] = pair {
            let sum = u64::from(*first) + u64::from(*second);
            if sum > limit {
                return u64::MAX;
            }
            length += sum * (sum + 1) / 2 + u64::from(*second) + 1;
            if length > limit {
                return u64::MAX;
            }
        }
    }
    length
}
