//! Adaptive arithmetic coding of bits: predictions of several contexts, mixed by how well each has
//! done. Integers only, so that every machine reads what any machine wrote.
//!
//! All of it begins anew with each block.

use super::logistic::{CHANCES, LOGIT_MAX, LOGITS, RATES, SEEN_MAX};
use alloc::vec::Vec;

/// Slots of one coder, a power of two.
pub(super) const SLOTS: usize = 1 << 15;

/// Most contexts that predict one bit.
pub(super) const CONTEXTS_MAX: usize = 5;

/// Sets of mixing weights.
pub(super) const SETS: usize = 16;

/// Where a bit comes from or goes to.
pub(super) trait Coder {
    /// Codes a bit whose chance to be 1 is `chance` of 65,536. A writer takes `bit` and gives it
    /// back; a reader gives what was written.
    fn code(&mut self, chance: u32, bit: bool) -> bool;
}

/// The interval of an arithmetic coder, both ends included.
#[derive(Clone, Copy)]
struct Interval {
    low: u32,
    high: u32,
}

impl Interval {
    const WHOLE: Self = Self { low: 0, high: u32::MAX };

    /// The last value of the part that stands for 1; always below `high`.
    fn middle(self, chance: u32) -> u32 {
        self.low + ((u64::from(self.high - self.low) * u64::from(chance)) >> 16) as u32
    }

    fn narrow(&mut self, middle: u32, bit: bool) {
        if bit { self.high = middle } else { self.low = middle + 1 }
    }

    /// Drops the highest byte where both ends agree on it.
    fn settled(&mut self) -> Option<u8> {
        let agree = (self.low ^ self.high) >> 24 == 0;
        agree.then(|| {
            let byte = (self.low >> 24) as u8;
            self.low <<= 8;
            self.high = (self.high << 8) | 0xFF;
            byte
        })
    }
}

/// Writes coded bits.
pub(super) struct Writer {
    interval: Interval,
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { interval: Interval::WHOLE, bytes: Vec::new() }
    }

    /// The bytes: of the last interval, the first byte that no other shares.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.interval.low > 0 {
            self.bytes.push((self.interval.low >> 24) as u8 + 1);
        }
        self.bytes
    }
}

impl Coder for Writer {
    #[inline]
    fn code(&mut self, chance: u32, bit: bool) -> bool {
        self.interval.narrow(self.interval.middle(chance), bit);
        while let Some(byte) = self.interval.settled() {
            self.bytes.push(byte);
        }
        bit
    }
}

/// Reads coded bits; past the end are zeros, and [`Reader::is_done`] tells.
pub(super) struct Reader<'a> {
    interval: Interval,
    window: u32,
    bytes: core::slice::Iter<'a, u8>,
    /// Bytes settled less bytes there.
    ahead: isize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let ahead = -(bytes.len() as isize);
        let mut reader = Self { interval: Interval::WHOLE, window: 0, bytes: bytes.iter(), ahead };
        (0..4).for_each(|_| reader.shift());
        reader
    }

    fn shift(&mut self) {
        self.window = (self.window << 8) | u32::from(self.bytes.next().copied().unwrap_or(0));
    }

    /// Bytes settled so far, less all there are: above 0 where the bytes ended early.
    pub(super) fn ahead(&self) -> isize {
        self.ahead
    }

    /// Whether a writer that wrote what was read would have ended here.
    pub(super) fn is_done(&self) -> bool {
        self.ahead == -isize::from(self.interval.low > 0)
    }
}

impl Coder for Reader<'_> {
    #[inline]
    fn code(&mut self, chance: u32, _: bool) -> bool {
        let middle = self.interval.middle(chance);
        let bit = self.window <= middle;
        self.interval.narrow(middle, bit);
        while self.interval.settled().is_some() {
            self.shift();
            self.ahead += 1;
        }
        bit
    }
}

/// What a context knows: the chance of a 1, in 65,536, and how many bits taught it.
#[derive(Clone, Copy)]
struct Slot {
    chance: u16,
    seen: u16,
}

impl Slot {
    const NEW: Self = Self { chance: 1 << 15, seen: 0 };
}

/// How much a slot's word counts, of 256, by the bits seen: new ones know nothing.
const TRUST: [i32; 8] = [0, 154, 205, 230, 256, 256, 269, 269];

/// Weight of a context at the start, in 65,536, before it is divided among the contexts of a bit.
const WEIGHTS_TOTAL: i32 = 91_750;

/// Slots and weights.
pub(super) struct Model<C> {
    pub(super) coder: C,
    slots: Vec<Slot>,
    weights: [[i32; CONTEXTS_MAX]; SETS],
}

impl<C: Coder> Model<C> {
    pub(super) fn new(coder: C) -> Self {
        Self { coder, slots: alloc::vec![Slot::NEW; SLOTS], weights: [[0; CONTEXTS_MAX]; SETS] }
    }

    /// Forgets the first `count` slots.
    pub(super) fn forget(&mut self, count: usize) {
        self.slots.iter_mut().take(count).for_each(|slot| *slot = Slot::NEW);
    }

    /// A bit that no context helps with.
    pub(super) fn even(&mut self, bit: bool) -> bool {
        self.coder.code(1 << 15, bit)
    }

    /// Codes a bit by what the slots at `places` say, mixed with the weights of `set`.
    #[inline]
    pub(super) fn bit<const N: usize>(
        &mut self,
        places: [usize; N],
        set: usize,
        bit: bool,
    ) -> bool {
        const { assert!(N <= CONTEXTS_MAX) };
        let mut known = [(0i32, Slot::NEW); N];
        for (known, place) in known.iter_mut().zip(places) {
            let slot = self.slots.get(place % SLOTS).copied().unwrap_or(Slot::NEW);
            let logit = LOGITS.get(usize::from(slot.chance >> 4)).copied().unwrap_or(0);
            let trust = TRUST.get(usize::from(slot.seen.min(7))).copied().unwrap_or(0);
            *known = (i32::from(logit) * trust / 256, slot);
        }
        let mut unused = [0; CONTEXTS_MAX];
        let weights = self.weights.get_mut(set % SETS).unwrap_or(&mut unused);
        let even = WEIGHTS_TOTAL / N as i32;
        let weighed = known.iter().zip(weights.iter());
        let sum: i64 = weighed.map(|((x, _), w)| i64::from(*x) * i64::from(w + even)).sum();
        let place = (sum >> 16).clamp(-i64::from(LOGIT_MAX), LOGIT_MAX.into()) + 2048;
        let chance = u32::from(CHANCES.get(place as usize).copied().unwrap_or(1 << 15));
        let bit = self.coder.code(chance, bit);
        let error = (i32::from(bit) << 16) - chance as i32;
        for (((x, slot), weight), place) in known.iter().zip(weights).zip(places) {
            // A fiftieth of the gradient.
            let step = i64::from(error) * i64::from(*x) * 41 / (1 << 19);
            *weight = (*weight + step as i32).clamp(-(1 << 20), 1 << 20);
            if let Some(kept) = self.slots.get_mut(place % SLOTS) {
                *kept = slot.taught(bit);
            }
        }
        bit
    }
}

impl Slot {
    fn taught(self, bit: bool) -> Self {
        let rate = RATES.get(usize::from(self.seen)).copied().unwrap_or(0) as i64;
        let gap = if bit { 65_535 } else { 0 } - i64::from(self.chance);
        let chance = i64::from(self.chance) + ((gap * rate) >> 16);
        Self { chance: chance as u16, seen: (self.seen + 1).min(SEEN_MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_come_back_and_the_end_is_exact(
            bits in prop::collection::vec((any::<bool>(), 16u32..65_520, 0usize..9), 0..400),
        ) {
            let mut writer = Model::new(Writer::new());
            for (bit, chance, place) in &bits {
                writer.bit([*place, place + 100], place % SETS, *bit);
                writer.coder.code(*chance, !bit);
            }
            let bytes = writer.coder.finish();
            let mut reader = Model::new(Reader::new(&bytes));
            for (bit, chance, place) in &bits {
                prop_assert_eq!(reader.bit([*place, place + 100], place % SETS, false), *bit);
                prop_assert_eq!(reader.coder.code(*chance, false), !bit);
            }
            prop_assert!(reader.coder.is_done());
            let long = [&bytes[..], &[0]].concat();
            let mut reader = Model::new(Reader::new(&long));
            for (_, chance, place) in &bits {
                reader.bit([*place, place + 100], place % SETS, false);
                reader.coder.code(*chance, false);
            }
            prop_assert!(!reader.coder.is_done());
        }
    }
}
