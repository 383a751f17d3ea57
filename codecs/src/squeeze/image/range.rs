//! A range coder for symbols of sixteen kinds, whose frequencies follow what was coded.

use alloc::vec::Vec;

/// Kinds of symbols.
pub(super) const SYMBOLS: usize = 16;

/// Frequencies of a model sum to two to this power.
const TOTAL_BITS: u32 = 15;

/// Below this the range takes in the next byte.
const RANGE_MIN: u32 = 1 << 24;

/// All that a sum can gain over what is impossible.
const HIGH: i16 = ((1 << TOTAL_BITS) - SYMBOLS) as i16;

const INDICES: [i16; SYMBOLS] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// How fast a model follows, as a shift: in haste at first.
fn rate(seen: u32) -> u32 {
    3 + u32::from(seen > 12) + u32::from(seen > 40) + u32::from(seen > 160)
}

/// Frequencies of symbols, as sums of those before each.
#[derive(Clone)]
pub(super) struct Model {
    below: [i16; SYMBOLS],
    seen: u32,
}

impl Model {
    /// Frequencies that fall from symbol to symbol by `ratio` of 256.
    pub fn falling(ratio: u32) -> Self {
        let mut weights = [0u32; SYMBOLS];
        let mut weight = 1 << 20;
        for place in &mut weights {
            *place = weight;
            weight = weight * ratio / 256;
        }
        let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let room = (1u64 << TOTAL_BITS) - SYMBOLS as u64;
        let mut below = [0i16; SYMBOLS];
        let mut before = 0u64;
        for ((index, place), weight) in below.iter_mut().enumerate().zip(weights) {
            // One for each symbol before, so that none is impossible.
            *place = (before * room / sum) as i16 + index as i16;
            before += u64::from(weight);
        }
        Self { below, seen: 0 }
    }

    /// First code of a symbol, and how many it has.
    #[inline]
    fn interval(&self, symbol: usize) -> (u32, u32) {
        let start = self.below.get(symbol).copied().unwrap_or_default();
        let end = self.below.get(symbol + 1).map_or(1 << TOTAL_BITS, |end| i32::from(*end));
        (start as u32, (end - i32::from(start)) as u32)
    }

    #[inline]
    fn find(&self, code: u32) -> usize {
        let code = code.min((1 << TOTAL_BITS) - 1) as i16;
        let at_or_below: i16 = self.below.iter().map(|below| i16::from(*below <= code)).sum();
        (at_or_below - 1).max(0) as usize
    }

    /// Moves all sums towards those of a model that knows only this symbol. Sums of such a model
    /// differ by one at least, and so do ours after every step.
    #[inline]
    fn follow(&mut self, symbol: usize) {
        let rate = rate(self.seen);
        self.seen = self.seen.saturating_add(1);
        // In sixteen bits, which no difference of two sums leaves: one register holds eight.
        let symbol = symbol as i16;
        for (below, index) in self.below.iter_mut().zip(INDICES) {
            let target = index + if index > symbol { HIGH } else { 0 };
            *below += (target - *below) >> rate;
        }
    }
}

/// Symbols to bytes.
pub(super) struct RangeEncoder {
    bytes: Vec<u8>,
    low: u64,
    range: u32,
    /// A byte that a carry may still raise, and how many of 255 behind it.
    held: u8,
    full: u32,
    started: bool,
}

impl RangeEncoder {
    pub fn new() -> Self {
        Self { bytes: Vec::new(), low: 0, range: u32::MAX, held: 0, full: 0, started: false }
    }

    #[inline]
    pub fn put(&mut self, model: &mut Model, symbol: usize) {
        let (start, size) = model.interval(symbol);
        let unit = self.range >> TOTAL_BITS;
        self.low += u64::from(unit) * u64::from(start);
        self.range = unit * size;
        model.follow(symbol);
        while self.range < RANGE_MIN {
            self.range <<= 8;
            self.shift();
        }
    }

    /// Lets the highest byte go, as soon as no carry can reach it.
    fn shift(&mut self) {
        let (carry, top) = ((self.low >> 32) as u8, (self.low >> 24) as u8);
        if carry != 0 || top != 0xFF {
            if self.started {
                self.bytes.push(self.held.wrapping_add(carry));
            }
            for _ in 0..self.full {
                self.bytes.push(0xFFu8.wrapping_add(carry));
            }
            (self.full, self.held, self.started) = (0, top, true);
        } else {
            self.full += 1;
        }
        self.low = (self.low & 0x00FF_FFFF) << 8;
    }

    pub fn finish(mut self) -> Vec<u8> {
        (0..5).for_each(|_| self.shift());
        self.bytes
    }
}

/// Bytes to symbols.
pub(super) struct RangeDecoder<'a> {
    rest: &'a [u8],
    code: u32,
    range: u32,
    /// Bytes that were asked for and weren't there.
    missing: u32,
}

impl<'a> RangeDecoder<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self { rest: bytes, code: 0, range: u32::MAX, missing: 0 };
        (0..4).for_each(|_| decoder.shift());
        decoder
    }

    /// Whether all that was read was there.
    pub fn holds(&self) -> bool {
        self.missing == 0
    }

    /// Whether nothing is left.
    pub fn ends(&self) -> bool {
        self.rest.is_empty()
    }

    fn shift(&mut self) {
        let next = match self.rest.split_first() {
            Some((first, rest)) => {
                self.rest = rest;
                *first
            }
            None => {
                self.missing = self.missing.saturating_add(1);
                0
            }
        };
        self.code = self.code << 8 | u32::from(next);
    }

    #[inline]
    pub fn take(&mut self, model: &mut Model) -> usize {
        // The range is at least RANGE_MIN here, so a unit is not zero.
        let unit = (self.range >> TOTAL_BITS).max(1);
        let symbol = model.find(self.code / unit);
        let (start, size) = model.interval(symbol);
        self.code = self.code.wrapping_sub(unit * start);
        self.range = unit * size;
        model.follow(symbol);
        while self.range < RANGE_MIN {
            self.range <<= 8;
            self.shift();
        }
        symbol
    }
}
