//! Add, compare, select: one step of all 64 states, in portable code.
//!
//! A state is the last six bits. Two states that differ in their oldest bit have the same two
//! followers, which differ in their newest. Both connection vectors tap the newest and the oldest
//! bit: of the four branches between two such states and their followers, two carry one pair of
//! symbols and two its complement.
//!
//! Metrics are costs in 8 bits, smaller is better, exact since no sum needs more: a step costs at
//! most `2 * MAX_COST` = 20; every state is reached from the best one in six steps, so metrics
//! spread over at most 120; the least metric grows by at most 10 a step, since the two branches
//! out of a state share the step's sum of magnitudes. What is subtracted after a group of six
//! steps is the least metric before it, which no step waits for: at most 60 is left, so that
//! metrics are at most 120 + 60 before a group and 230 before its last step, whose sums are at
//! most 250.

use super::{G1, G2};
use crate::fec::kernels::viterbi::Kernel;

/// States of the encoder.
pub const STATES: usize = 64;
/// The cost of a symbol contradicted with full confidence.
pub const MAX_COST: u8 = 10;
/// Steps between two normalisations.
pub const GROUP: usize = 6;

/// Costs of the symbol pairs 00, 01, 10, 11 in this order, a byte each.
pub type StepCosts = [u8; 4];

/// What a 0 and a 1 cost where this symbol was received.
#[inline(always)]
pub const fn symbol_costs(symbol: i8) -> (u8, u8) {
    // To the nearest of MAX_COST steps: this is (10 m + 63) / 127 for every magnitude.
    let magnitude = symbol.saturating_abs() as u16;
    let cost = ((magnitude * 81 + 480) >> 10) as u8;
    if symbol < 0 { (cost, 0) } else { (0, cost) }
}

const _: () = assert!(symbol_costs(i8::MAX).1 == MAX_COST && symbol_costs(i8::MIN).0 == MAX_COST);

/// The costs of steps of which both symbols were sent, C1 first. Compiled once for each kernel.
#[inline(always)]
pub fn pair_costs(symbols: &[[i8; 2]], inverted: bool, costs: &mut [StepCosts]) {
    for ([first, second], costs) in symbols.iter().zip(costs) {
        let (zero, one) = symbol_costs(*first);
        let pairs = u32::from(zero) * 0x0000_0101 + u32::from(one) * 0x0101_0000;
        let (zero, one) = symbol_costs(*second);
        let (zero, one) = if inverted { (one, zero) } else { (zero, one) };
        let pairs = pairs + u32::from(zero) * 0x0001_0001 + u32::from(one) * 0x0100_0100;
        *costs = pairs.to_le_bytes();
    }
}

/// The sum of all magnitudes: what a step costs whose symbols are both contradicted, or neither,
/// added up. Compiled once for each kernel.
#[inline(always)]
pub fn confidence(costs: &[StepCosts]) -> u64 {
    // No more steps than fit a window: the sum fits 32 bits.
    let each = costs.iter().map(|costs| {
        let pairs = u32::from_le_bytes(*costs);
        (pairs & 0xFF) + (pairs >> 24)
    });
    each.sum::<u32>().into()
}

/// For each lane of an even state: the symbols C1, C2 of the branch from its lower predecessor, as
/// an index into [`StepCosts`]. All other branches of the butterfly follow.
pub const BRANCH: [u8; 32] = branches();

#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn branches() -> [u8; 32] {
    let mut table = [0; 32];
    let mut lane: u8 = 0;
    while lane < 32 {
        // Connection vectors have the newest bit leftmost, like lanes. The register holds a lane
        // whose newest bit is 0 and, behind it, the oldest bit of the lower predecessor, 0 too.
        let register = lane << 1;
        let c1 = (register & G1).count_ones() % 2;
        let c2 = (register & G2).count_ones() % 2;
        table[lane as usize] = (c1 * 2 + c2) as u8;
        lane += 1;
    }
    table
}

/// The metrics of all states, each at its lane: its six bits with the newest leftmost.
///
/// Both states before those in lanes `i` and `i + 32` then stand in lanes `2 i` and `2 i + 1`, and
/// a traceback is a shift that lets a decision in: see [`before`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[repr(align(64))]
pub struct Metrics(pub [u8; STATES]);

/// The lane before the one in the lowest six bits of `path`, given the decisions of the step that
/// led there, below the bits that `path` holds: in the end, its bits are the decoded ones.
#[inline(always)]
pub const fn before(path: u64, decisions: u64) -> u64 {
    (path << 1) | (decisions >> (path % STATES as u64)) & 1
}

impl Metrics {
    /// Any state is as likely as any other.
    pub const fn unknown() -> Self {
        Self([0; STATES])
    }

    /// The lane of the best state.
    pub fn best(&self) -> usize {
        self.0.iter().enumerate().min_by_key(|(_, metric)| **metric).map_or(0, |(lane, _)| lane)
    }
}

/// Runs the trellis over `costs`; writes one word of decisions a step, a bit a lane, set where the
/// survivor comes from the upper of the two states. Adds what was normalised away to `growth`.
///
/// Metrics are normalised after every [`GROUP`] steps and after the last, to the least one before
/// those.
pub fn advance(
    kernel: Kernel,
    metrics: &mut Metrics,
    costs: &[StepCosts],
    decisions: &mut [u64],
) -> u64 {
    kernel.run(metrics, costs, decisions).unwrap_or_else(|| portable(metrics, costs, decisions))
}

/// The portable twin of the kernels.
pub fn portable(metrics: &mut Metrics, costs: &[StepCosts], decisions: &mut [u64]) -> u64 {
    let mut growth = 0;
    for (costs, decisions) in costs.chunks(GROUP).zip(decisions.chunks_mut(GROUP)) {
        let least = metrics.0.iter().copied().min().unwrap_or(0);
        for (costs, decision) in costs.iter().zip(decisions) {
            *decision = step(metrics, *costs);
        }
        metrics.0.iter_mut().for_each(|metric| *metric -= least);
        growth += u64::from(least);
    }
    growth
}

/// Written over whole arrays, so that compilers find the vectors of the target.
fn step(metrics: &mut Metrics, costs: StepCosts) -> u64 {
    let [none, second, first, all] = costs;
    let (mut lower, mut upper) = ([0; 32], [0; 32]);
    let pairs = metrics.0.as_chunks::<2>().0;
    for ((lower, upper), [even, odd]) in lower.iter_mut().zip(&mut upper).zip(pairs) {
        (*lower, *upper) = (*even, *odd);
    }
    let (mut direct, mut complement) = ([0; 32], [0; 32]);
    let sums = direct.iter_mut().zip(&mut complement).zip(&BRANCH_MASKS);
    for ((direct, complement), [m00, m01, m10, m11]) in sums {
        *direct = (m00 & none) | (m01 & second) | (m10 & first) | (m11 & all);
        *complement = (m00 & all) | (m01 & first) | (m10 & second) | (m11 & none);
    }
    let mut chosen = [0; STATES];
    let (even_chosen, odd_chosen) = chosen.split_at_mut(32);
    let (even, odd) = metrics.0.split_at_mut(32);
    select(&lower, &upper, &direct, &complement, even, even_chosen);
    select(&lower, &upper, &complement, &direct, odd, odd_chosen);
    chosen.as_chunks::<8>().0.iter().rev().fold(0, |word, bytes| {
        // Eight zeros and ones, gathered into the highest byte by one multiplication.
        let bits = u64::from_le_bytes(*bytes).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        (word << 8) | bits
    })
}

fn select(
    lower: &[u8; 32],
    upper: &[u8; 32],
    lower_cost: &[u8; 32],
    upper_cost: &[u8; 32],
    metrics: &mut [u8],
    chosen: &mut [u8],
) {
    let sums = lower.iter().zip(lower_cost).zip(upper.iter().zip(upper_cost));
    for (((a, a_cost), (b, b_cost)), (metric, chosen)) in sums.zip(metrics.iter_mut().zip(chosen)) {
        let (a, b) = (a.saturating_add(*a_cost), b.saturating_add(*b_cost));
        *metric = a.min(b);
        *chosen = u8::from(b < a);
    }
}

/// [`BRANCH`] as masks: all ones where the branch sends 00, 01, 10, 11.
static BRANCH_MASKS: [[u8; 4]; 32] = branch_masks();

#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn branch_masks() -> [[u8; 4]; 32] {
    let mut masks = [[0; 4]; 32];
    let mut state = 0;
    while state < 32 {
        masks[state][BRANCH[state] as usize] = 0xFF;
        state += 1;
    }
    masks
}
