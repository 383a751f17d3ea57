//! The decoder: maximum likelihood over a window, with a fixed traceback.
//!
//! Symbols become step costs, steps run through the trellis a block at a time, and each full
//! block is traced back from [`Rate::traceback`](super::Rate::traceback) steps behind its end.
//! The four quarters of a block are traced side by side, since one chain of dependent look-ups
//! would leave the processor waiting.

use super::trellis::{self, MAX_COST, Metrics, StepCosts};
use super::{Code, Rate};
use crate::fec::kernels::viterbi::Kernel;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// Bits given out at a time.
pub const BLOCK: usize = 2048;
/// Chains of look-ups that run side by side.
const CHAINS: usize = 4;
const QUARTER: usize = BLOCK / CHAINS;

/// Decodes a stream of soft symbols.
#[derive(Debug, Clone)]
pub struct Decoder {
    code: Code,
    kernel: Kernel,
    tables: Box<Tables>,
    /// Place in the puncturing pattern of the next bit.
    step: usize,
    /// The first symbol of a bit whose second has not come.
    first: Option<i8>,
    metrics: Metrics,
    /// Costs of steps that the trellis has not seen, at most `BLOCK + traceback`.
    costs: Vec<StepCosts>,
    /// Decisions of steps that are not given out, at most `BLOCK + traceback`.
    decisions: Vec<u64>,
    /// Steps in `decisions` that are valid.
    steps: usize,
    growth: u64,
    confidence: u64,
}

/// What each symbol adds to the costs of the pairs 00, 01, 10, 11.
#[derive(Debug, Clone)]
struct Tables {
    c1: [u32; 256],
    c2: [u32; 256],
}

impl Tables {
    fn new(inverted: bool) -> Self {
        let costs = |byte: usize, pairs_with_one: [bool; 4]| {
            let (zero, one) = symbol_costs(byte as u8 as i8);
            u32::from_le_bytes(pairs_with_one.map(|is_one| if is_one { one } else { zero }))
        };
        Self {
            c1: core::array::from_fn(|byte| costs(byte, [false, false, true, true])),
            c2: core::array::from_fn(|byte| {
                costs(byte, [false, true, false, true].map(|is_one| is_one != inverted))
            }),
        }
    }

    fn step(&self, c1: i8, c2: i8) -> StepCosts {
        let of = |table: &[u32; 256], symbol: i8| {
            table.get(usize::from(symbol as u8)).copied().unwrap_or(0)
        };
        // No byte carries into the next: each sum is at most 2 * MAX_COST.
        (of(&self.c1, c1) + of(&self.c2, c2)).to_le_bytes()
    }
}

/// What a 0 and a 1 cost where this symbol was received.
fn symbol_costs(symbol: i8) -> (u8, u8) {
    // To the nearest of MAX_COST steps.
    let magnitude = (u16::from(symbol.unsigned_abs().min(127)) * u16::from(MAX_COST) + 63) / 127;
    if symbol < 0 { (magnitude as u8, 0) } else { (0, magnitude as u8) }
}

impl Decoder {
    /// A decoder that begins at the first symbol of a puncturing pattern, in an unknown state,
    /// on the fastest kernel of this processor.
    pub fn new(code: Code) -> Self {
        Self::on(Kernel::best(), code)
    }

    /// The same on a kernel of the caller's choice.
    pub fn on(kernel: Kernel, code: Code) -> Self {
        let window = BLOCK + code.rate.traceback();
        Self {
            code,
            kernel,
            tables: Box::new(Tables::new(code.inverted)),
            step: 0,
            first: None,
            metrics: Metrics::unknown(),
            costs: Vec::with_capacity(window),
            decisions: vec![0; window],
            steps: 0,
            growth: 0,
            confidence: 0,
        }
    }

    /// The code it decodes.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Cost of the best path so far, over the blocks decoded: how much it contradicts what was
    /// received. Compare it with [`confidence`](Self::confidence).
    pub const fn growth(&self) -> u64 {
        self.growth
    }

    /// The sum of all magnitudes, in the unit of [`growth`](Self::growth): the cost of a path
    /// that contradicts everything.
    pub const fn confidence(&self) -> u64 {
        self.confidence
    }

    /// Takes symbols and appends decoded bytes, most significant bit first. Bits leave in
    /// blocks of [`BLOCK`], [`Rate::traceback`] bits late; nothing is allocated but what `out`
    /// needs.
    pub fn push(&mut self, mut symbols: &[i8], out: &mut Vec<u8>) {
        while !symbols.is_empty() {
            symbols = self.load(symbols);
            if self.steps + self.costs.len() == self.window() {
                self.advance();
                self.give(out);
            }
        }
    }

    /// Ends the stream: appends what is left, traced from the best state, and returns how many
    /// bits of the last byte count (0 if whole bytes came out). The decoder then begins anew.
    ///
    /// The last bits are as likely wrong as uncoded ones unless the encoder was flushed with
    /// six zeros behind them.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> usize {
        if let Some(first) = self.first.take() {
            self.costs.push(self.pair(first, 0));
        }
        self.advance();
        let bits = self.steps;
        let start = out.len();
        out.resize(start + bits.div_ceil(8), 0);
        let mut at = self.metrics.best();
        let decisions = self.decisions.iter().take(bits).enumerate().rev();
        for (place, decision) in decisions {
            if at >= 32
                && let Some(byte) = out.get_mut(start + place / 8)
            {
                *byte |= 0x80 >> (place % 8);
            }
            at = before(at, *decision);
        }
        self.reset();
        bits % 8
    }

    /// Costs `symbols` as a stream of their own, without giving bits: the best path's cost and the
    /// cost of contradicting everything. What was decoded before is forgotten.
    pub fn measure(&mut self, mut symbols: &[i8]) -> (u64, u64) {
        self.reset();
        while !symbols.is_empty() {
            symbols = self.load(symbols);
            self.advance();
            self.steps = 0;
        }
        let measured = (self.growth, self.confidence);
        self.reset();
        measured
    }

    /// Forgets the stream: the next symbol is the first of a puncturing pattern.
    pub fn reset(&mut self) {
        self.step = 0;
        self.first = None;
        self.metrics = Metrics::unknown();
        self.costs.clear();
        self.steps = 0;
        self.growth = 0;
        self.confidence = 0;
    }

    fn window(&self) -> usize {
        BLOCK + self.code.rate.traceback()
    }

    /// Turns symbols into costs until the window is full; returns what is left.
    fn load<'a>(&mut self, mut symbols: &'a [i8]) -> &'a [i8] {
        let (bits, sent) = (self.code.rate.bits(), self.code.rate.symbols());
        loop {
            let room = self.window() - self.steps - self.costs.len();
            let aligned = self.step == 0 && self.first.is_none() && !self.code.c2_first;
            if aligned && room >= bits && symbols.len() >= sent {
                symbols = self.whole_patterns(symbols, room);
            } else if room == 0 || !self.one_bit(&mut symbols) {
                return symbols;
            }
        }
    }

    fn whole_patterns<'a>(&mut self, symbols: &'a [i8], room: usize) -> &'a [i8] {
        const NOT: usize = usize::MAX;
        // Where C1 and C2 of each bit stand among the symbols of a pattern.
        match self.code.rate {
            Rate::Half => self.each::<2, 1>(symbols, room, [(0, 1)]),
            Rate::TwoThirds => self.each::<3, 2>(symbols, room, [(0, 1), (NOT, 2)]),
            Rate::ThreeQuarters => self.each::<4, 3>(symbols, room, [(0, 1), (NOT, 2), (3, NOT)]),
            Rate::FiveSixths => {
                let places = [(0, 1), (NOT, 2), (3, NOT), (NOT, 4), (5, NOT)];
                self.each::<6, 5>(symbols, room, places)
            }
            Rate::SevenEighths => {
                let places = [(0, 1), (NOT, 2), (NOT, 3), (NOT, 4), (5, NOT), (NOT, 6), (7, NOT)];
                self.each::<8, 7>(symbols, room, places)
            }
        }
    }

    #[inline(always)]
    fn each<'a, const SYMBOLS: usize, const BITS: usize>(
        &mut self,
        symbols: &'a [i8],
        room: usize,
        places: [(usize, usize); BITS],
    ) -> &'a [i8] {
        let patterns = (room / BITS).min(symbols.len() / SYMBOLS);
        let Some((now, rest)) = symbols.split_at_checked(patterns * SYMBOLS) else {
            return symbols;
        };
        let tables = &self.tables;
        for pattern in now.as_chunks::<SYMBOLS>().0 {
            let at = |place: usize| pattern.get(place).copied().unwrap_or(0);
            self.costs.extend(places.map(|(c1, c2)| tables.step(at(c1), at(c2))));
        }
        rest
    }

    /// Loads the next bit of a pattern; false if its symbols haven't come.
    fn one_bit(&mut self, symbols: &mut &[i8]) -> bool {
        let pattern = self.code.rate.pattern();
        let sent = pattern.get(self.step).copied().unwrap_or((true, true));
        let mut next = || symbols.split_off_first().copied();
        let Some(now) = self.first.take().or_else(&mut next) else { return false };
        let costs = match sent {
            (true, true) => {
                let Some(second) = next() else {
                    self.first = Some(now);
                    return false;
                };
                self.pair(now, second)
            }
            (true, false) => self.tables.step(now, 0),
            (false, _) => self.tables.step(0, now),
        };
        self.costs.push(costs);
        self.step = if self.step + 1 < pattern.len() { self.step + 1 } else { 0 };
        true
    }

    /// The costs of a bit of which both symbols were sent, in their order on the channel.
    fn pair(&self, first: i8, second: i8) -> StepCosts {
        if self.code.c2_first {
            self.tables.step(second, first)
        } else {
            self.tables.step(first, second)
        }
    }

    /// Runs the trellis over the loaded costs.
    fn advance(&mut self) {
        let confidence = self.costs.iter().map(|[none, _, _, all]| u32::from(none + all));
        self.confidence += u64::from(confidence.sum::<u32>());
        if let Some(decisions) = self.decisions.get_mut(self.steps..) {
            self.growth += trellis::advance(self.kernel, &mut self.metrics, &self.costs, decisions);
        }
        self.steps += self.costs.len();
        self.costs.clear();
    }

    /// Traces the first block of a full window and keeps the steps behind it.
    fn give(&mut self, out: &mut Vec<u8>) {
        let traceback = self.code.rate.traceback();
        let start = out.len();
        out.resize(start + BLOCK / 8, 0);
        if let Some(bytes) = out.get_mut(start..) {
            trace(&self.decisions, traceback, self.metrics.best(), bytes);
        }
        self.decisions.copy_within(BLOCK.., 0);
        self.steps -= BLOCK;
    }
}

/// The lane before `at`, given the decisions of the step that led there.
#[inline(always)]
fn before(at: usize, decision: u64) -> usize {
    // In states: n -> (n >> 1) + 32 d. A lane holds n >> 1 in its lower five bits.
    let upper = (decision >> at) as usize & 1;
    ((at & 1) << 5) | (upper << 4) | ((at >> 1) & 15)
}

/// Traces `BLOCK` bits whose decisions are followed by `traceback` more, into `BLOCK / 8` bytes.
fn trace(decisions: &[u64], traceback: usize, best: usize, bytes: &mut [u8]) {
    // Each chain's run-in goes over the quarter behind its own, from any lane but the last one's.
    let mut lanes = [0, 0, 0, best];
    let chain = |index: usize, steps: usize, length: usize| {
        decisions.get(index * QUARTER + steps..).and_then(|rest| rest.get(..length)).unwrap_or(&[])
    };
    let [a, b, c, d]: [&[u64]; CHAINS] =
        core::array::from_fn(|index| chain(index, QUARTER, traceback));
    for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d).rev() {
        let [at_a, at_b, at_c, at_d] = lanes;
        lanes = [before(at_a, *a), before(at_b, *b), before(at_c, *c), before(at_d, *d)];
    }
    let [a, b, c, d]: [&[u64]; CHAINS] = core::array::from_fn(|index| chain(index, 0, QUARTER));
    let steps = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
    let steps = steps.zip(c.as_chunks::<8>().0).zip(d.as_chunks::<8>().0).enumerate().rev();
    for (place, (((a, b), c), d)) in steps {
        let mut found = [0_u32; CHAINS];
        for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d).rev() {
            for ((at, bits), decision) in lanes.iter_mut().zip(&mut found).zip([a, b, c, d]) {
                // The newest bit of a state is the highest of its lane; bits come latest first.
                *bits = (*bits >> 1) | ((*at as u32 & 32) << 2);
                *at = before(*at, *decision);
            }
        }
        for (chain, bits) in found.iter().enumerate() {
            if let Some(byte) = bytes.get_mut(chain * QUARTER / 8 + place) {
                *byte = *bits as u8;
            }
        }
    }
}
