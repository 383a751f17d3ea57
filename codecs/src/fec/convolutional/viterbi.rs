//! The decoder: maximum likelihood over a window, with a fixed traceback.
//!
//! Symbols become step costs, steps run through the trellis a block at a time, and each full
//! block is traced back from [`Rate::traceback`](super::Rate::traceback) steps behind its end.
//! The four quarters of a block are traced side by side, since one chain of dependent look-ups
//! would leave the processor waiting.

use super::trellis::{self, Metrics, STATES, StepCosts, before, symbol_costs};
use super::{Code, Rate};
use crate::fec::kernels::viterbi::Kernel;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// Bits given out at a time.
pub const BLOCK: usize = 2048;
/// Chains of look-ups that run side by side.
const CHAINS: usize = 4;
/// Bits of a chain.
const PART: usize = BLOCK / CHAINS;
/// Bits that a chain collects before it writes them.
const WORD: usize = 32;
/// Bits of a lane.
const LANE_BITS: u32 = STATES.ilog2();

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
        let mut path = self.metrics.best() as u64;
        let decisions = self.decisions.iter().take(bits).enumerate().rev();
        for (place, decision) in decisions {
            // The newest bit of a lane.
            if path & 32 != 0
                && let Some(byte) = out.get_mut(start + place / 8)
            {
                *byte |= 0x80 >> (place % 8);
            }
            path = before(path, *decision);
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
            Rate::Half => self.pairs(symbols, room),
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

    fn pairs<'a>(&mut self, symbols: &'a [i8], room: usize) -> &'a [i8] {
        let pairs = room.min(symbols.len() / 2);
        let Some((now, rest)) = symbols.split_at_checked(pairs * 2) else { return symbols };
        let known = self.costs.len();
        self.costs.resize(known + pairs, [0; 4]);
        if let Some(costs) = self.costs.get_mut(known..) {
            self.kernel.pair_costs(now.as_chunks().0, self.code.inverted, costs);
        }
        rest
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
        self.confidence += self.kernel.confidence(&self.costs);
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

/// Traces `BLOCK` bits whose decisions are followed by `traceback` more, into `BLOCK / 8` bytes.
fn trace(decisions: &[u64], traceback: usize, best: usize, bytes: &mut [u8]) {
    // Each chain's run-in goes over the part behind its own, from any lane but the last one's.
    let mut paths = [0; CHAINS];
    if let Some(last) = paths.last_mut() {
        *last = best as u64;
    }
    let chain = |index: usize, steps: usize, length: usize| {
        decisions.get(index * PART + steps..).and_then(|rest| rest.get(..length)).unwrap_or(&[])
    };
    let [a, b, c, d]: [&[u64]; CHAINS] =
        core::array::from_fn(|index| chain(index, PART, traceback));
    for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d).rev() {
        let [path_a, path_b, path_c, path_d] = paths;
        paths = [before(path_a, *a), before(path_b, *b), before(path_c, *c), before(path_d, *d)];
    }
    let [a, b, c, d]: [&[u64]; CHAINS] = core::array::from_fn(|index| chain(index, 0, PART));
    let words = a.as_chunks::<WORD>().0.iter().zip(b.as_chunks::<WORD>().0);
    let words = words.zip(c.as_chunks::<WORD>().0).zip(d.as_chunks::<WORD>().0).enumerate().rev();
    for (place, (((a, b), c), d)) in words {
        for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d).rev() {
            let [path_a, path_b, path_c, path_d] = paths;
            paths =
                [before(path_a, *a), before(path_b, *b), before(path_c, *c), before(path_d, *d)];
        }
        for (chain, path) in paths.iter().enumerate() {
            // A word of bits has been pushed up over the lane before them, the latest first.
            let word = ((path >> LANE_BITS) as u32).reverse_bits().to_be_bytes();
            let at = chain * PART / 8 + place * word.len();
            if let Some(to) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
                *to = word;
            }
        }
    }
}
