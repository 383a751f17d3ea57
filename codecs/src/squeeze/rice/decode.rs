//! A Rice stream to samples.

use super::super::bits::BitReader;
use super::{Layout, RiceConfig, RiceError, unmap};
use super::{MAX_BLOCK, REMAINDER_MIN, SEGMENT_BLOCKS};
use alloc::vec::Vec;

/// What a fresh output makes room for; more comes as data proves it.
const ROOM_SAMPLES: usize = 4096;

/// Reads the `count` samples of a stream; those of a preprocessed signed one
/// have their sign extended over the word.
///
/// The stream must end with them.
pub fn decode(config: &RiceConfig, stream: &[u8], count: usize) -> Result<Vec<u32>, RiceError> {
    let mut samples = Vec::with_capacity(count.min(ROOM_SAMPLES));
    decode_into(config, stream, count, |block| samples.extend_from_slice(block))?;
    Ok(samples)
}

/// Reads the `count` samples of a stream into bytes as `layout` says.
pub fn decode_bytes(
    config: &RiceConfig,
    layout: Layout,
    stream: &[u8],
    count: usize,
) -> Result<Vec<u8>, RiceError> {
    let room = count.min(ROOM_SAMPLES) * layout.sample_bytes(config.bits);
    let mut bytes = Vec::with_capacity(room);
    decode_into(config, stream, count, |block| layout.write(config.bits, block, &mut bytes))?;
    Ok(bytes)
}

fn decode_into(
    config: &RiceConfig,
    stream: &[u8],
    count: usize,
    mut sink: impl FnMut(&[u32]),
) -> Result<(), RiceError> {
    config.check()?;
    let mut decoder = Decoder::new(config, stream);
    let size = config.block.samples();
    let mut block = [0; MAX_BLOCK];
    let block = block.get_mut(..size).unwrap_or_default();
    let mut given = 0;
    while given < count {
        decoder.block(block).map_err(|fault| match fault {
            Fault::Ends => RiceError::Truncated { sample: given },
            Fault::Damaged => RiceError::Damaged { sample: given },
        })?;
        let wanted = size.min(count - given);
        sink(block.get(..wanted).unwrap_or_default());
        given += wanted;
    }
    let used = if count == 0 { stream.len().min(1) } else { decoder.bits.used() };
    if used == stream.len() { Ok(()) } else { Err(RiceError::Rest { used, bytes: stream.len() }) }
}

enum Fault {
    Ends,
    Damaged,
}

struct Decoder<'a> {
    bits: BitReader<'a>,
    config: RiceConfig,
    id_bits: u32,
    max: u32,
    flip: u32,
    /// Blocks of this interval that are done.
    place: u32,
    /// Blocks of zeros still to give.
    zeros: u32,
    /// The sample before, from the smallest.
    before: u32,
}

impl<'a> Decoder<'a> {
    fn new(config: &RiceConfig, stream: &'a [u8]) -> Self {
        Self {
            bits: BitReader::new(stream),
            config: *config,
            id_bits: config.id_bits(),
            max: config.max(),
            flip: config.flip(),
            place: 0,
            zeros: 0,
            before: 0,
        }
    }

    /// The next block of samples.
    fn block(&mut self, block: &mut [u32]) -> Result<(), Fault> {
        let wants_reference = self.config.preprocess && self.place == 0;
        if self.zeros > 0 {
            self.zeros -= 1;
            block.fill(0);
        } else {
            self.coded(block, wants_reference)?;
        }
        if self.config.preprocess {
            self.restore(block, wants_reference);
        }
        self.place += 1;
        if self.place == self.config.interval {
            self.place = 0;
            if self.config.pad {
                self.bits.align();
            }
        }
        Ok(())
    }

    /// Reads a block's mapped samples; a reference sample comes as it is.
    fn coded(&mut self, block: &mut [u32], wants_reference: bool) -> Result<(), Fault> {
        let id = self.take(self.id_bits)?;
        if id == (1 << self.id_bits) - 1 {
            for place in block {
                *place = self.take(self.config.bits)?;
            }
            return Ok(());
        }
        let low = if id == 0 { self.take(1)? } else { 0 };
        let reference = if wants_reference { Some(self.take(self.config.bits)?) } else { None };
        match (id, low) {
            (0, 0) => {
                self.zeros = self.zero_blocks()? - 1;
                block.fill(0);
            }
            (0, _) => self.second_extension(block, wants_reference)?,
            _ => {
                let first = usize::from(wants_reference);
                self.split(block.get_mut(first..).unwrap_or_default(), id - 1)?;
            }
        }
        if let (Some(first), Some(sample)) = (block.first_mut(), reference) {
            *first = sample;
        }
        Ok(())
    }

    fn take(&mut self, count: u32) -> Result<u32, Fault> {
        self.bits.take(count).ok_or(Fault::Ends)
    }

    fn take_fundamental(&mut self) -> Result<u32, Fault> {
        self.bits.take_fundamental().ok_or(Fault::Ends)
    }

    /// Sample splitting (§3).
    fn split(&mut self, block: &mut [u32], split: u32) -> Result<(), Fault> {
        let highest = self.max >> split;
        for place in block.iter_mut() {
            let high = self.take_fundamental()?;
            if high > highest {
                return Err(Fault::Damaged);
            }
            *place = high << split;
        }
        if split > 0 {
            for place in block {
                *place |= self.take(split)?;
                if *place > self.max {
                    return Err(Fault::Damaged);
                }
            }
        }
        Ok(())
    }

    /// Second extension (§3). The pair with the reference sample has zero in that sample's place.
    fn second_extension(&mut self, block: &mut [u32], reference: bool) -> Result<(), Fault> {
        for (index, pair) in block.chunks_exact_mut(2).enumerate() {
            let code = self.take_fundamental()?;
            let (mut sum, mut start) = (0u32, 0u32);
            while code - start > sum {
                start += sum + 1;
                sum += 1;
            }
            let second = code - start;
            let first = sum - second;
            if first > self.max || second > self.max || reference && index == 0 && first > 0 {
                return Err(Fault::Damaged);
            }
            if let [a, b] = pair {
                (*a, *b) = (first, second);
            }
        }
        Ok(())
    }

    /// Blocks of a run of zeros (zero-block option, §3).
    fn zero_blocks(&mut self) -> Result<u32, Fault> {
        let code = self.take_fundamental()?;
        let segment = SEGMENT_BLOCKS - self.place % SEGMENT_BLOCKS;
        let left = segment.min(self.config.interval - self.place);
        let blocks = match code {
            _ if code == REMAINDER_MIN - 1 => left,
            _ if code < REMAINDER_MIN => code + 1,
            _ => code,
        };
        if blocks > left { Err(Fault::Damaged) } else { Ok(blocks) }
    }

    /// Undoes the preprocessor.
    fn restore(&mut self, block: &mut [u32], has_reference: bool) {
        let (max, flip) = (self.max, self.flip);
        let extend = |sample: u32| (sample ^ flip).wrapping_sub(flip);
        let references = usize::from(has_reference).min(block.len());
        let (reference, rest) = block.split_at_mut(references);
        for place in reference {
            self.before = *place ^ flip;
            *place = extend(*place);
        }
        for place in rest {
            self.before = unmap(self.before, *place, max);
            *place = extend(self.before ^ flip);
        }
    }
}
