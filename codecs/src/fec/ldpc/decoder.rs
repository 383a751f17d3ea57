//! The decoder: layered min-sum with a normalising factor, in 16-bit integers.
//!
//! Rows of a block of rows lie side by side, [`LANES`] of them are checked at once, and what they
//! learn is known to the next ones of the same iteration. Where a row meets a block of columns
//! twice, both messages are computed first and then both added, so none is lost.
//!
//! Beliefs are positive for a 0, like symbols. No belief overflows: a message is at most
//! `LIMIT`, a column has at most 6 of them in these codes, a symbol adds 127.

use super::Code;
use super::matrix::Matrix;
use crate::fec::kernels::ldpc::Kernel;
use alloc::vec;
use alloc::vec::Vec;

/// Rows that are checked at once.
pub const LANES: usize = 32;
/// The largest magnitude of a message.
const LIMIT: i16 = 2047;
/// Entries a row at most: 32 of C2.
const MAX_DEGREE: usize = 32;
/// What is known of a bit that both ends know: C2's fill.
const CERTAIN: i16 = 8191;

/// The outcome of a codeword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// Whether all checks hold: without it the codeword is to be marked as failed. The chance
    /// that a wrong codeword passes is small for long codes; the CRC of a frame covers it.
    pub converged: bool,
    /// Iterations run; 0 if the symbols' signs were a codeword.
    pub iterations: u32,
}

/// Decodes one code; holds all working space, so that nothing is allocated per codeword.
#[derive(Debug, Clone)]
pub struct Decoder {
    code: Code,
    kernel: Kernel,
    plan: Plan,
    beliefs: Vec<i16>,
    messages: Vec<i16>,
}

/// The matrix as the passes over it want it.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    z: usize,
    rows: Vec<Vec<Edge>>,
}

#[derive(Debug, Clone, Copy)]
struct Edge {
    /// First belief of the block of columns.
    column: usize,
    shift: usize,
    /// First message of the block.
    messages: usize,
}

/// The parts of a decoder that a pass works on.
pub(crate) struct Pass<'a> {
    pub plan: &'a Plan,
    pub beliefs: &'a mut [i16],
    pub messages: &'a mut [i16],
}

type Lane = [i16; LANES];

impl Decoder {
    /// A decoder on the fastest kernel of this processor.
    pub fn new(code: Code) -> Self {
        Self::on(Kernel::best(), code)
    }

    /// The same on a kernel of the caller's choice.
    pub fn on(kernel: Kernel, code: Code) -> Self {
        let matrix = Matrix::of(code);
        let stride = matrix.z.next_multiple_of(LANES);
        let mut used = 0;
        let rows = matrix.rows.iter().map(|row| {
            let edges = row.iter().map(|entry| {
                let messages = used;
                used += stride;
                Edge { column: entry.column * matrix.z, shift: entry.shift, messages }
            });
            edges.collect()
        });
        let plan = Plan { z: matrix.z, rows: rows.collect() };
        Self {
            code,
            kernel,
            plan,
            beliefs: vec![0; matrix.columns * matrix.z],
            messages: vec![0; used],
        }
    }

    /// The code it decodes.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Decodes one codeword of soft symbols into `info` (most significant bit first), with at
    /// most this many iterations. Symbols missing count as erased; `info` takes what it has room
    /// for. A noiseless symbol is best near ±24 (weak codes' beliefs then have room to grow).
    pub fn decode(&mut self, symbols: &[i8], iterations_max: u32, info: &mut [u8]) -> Decoded {
        self.load(symbols);
        let mut iterations = 0;
        let converged = loop {
            if self.is_codeword() {
                break true;
            }
            if iterations == iterations_max {
                break false;
            }
            iterations += 1;
            let pass =
                Pass { plan: &self.plan, beliefs: &mut self.beliefs, messages: &mut self.messages };
            self.kernel.iterate(pass);
        };
        self.give(info);
        Decoded { converged, iterations }
    }

    fn load(&mut self, symbols: &[i8]) {
        let (fill, sent) = (self.code.fill_bits(), self.code.symbols() - self.code.tail_symbols());
        self.messages.fill(0);
        self.beliefs.fill(0);
        self.beliefs.iter_mut().take(fill).for_each(|belief| *belief = CERTAIN);
        let beliefs = self.beliefs.iter_mut().skip(fill);
        for (belief, symbol) in beliefs.zip(symbols.iter().take(sent)) {
            *belief = (*symbol).max(-127).into();
        }
    }

    /// Whether the signs of all beliefs satisfy all checks, and each information bit has one.
    fn is_codeword(&self) -> bool {
        let Plan { z, rows } = &self.plan;
        let even = rows.iter().all(|row| {
            (0..*z).step_by(LANES).all(|place| {
                let mut odd: Lane = [0; LANES];
                for edge in row {
                    let beliefs = load(&self.beliefs, edge, place, *z);
                    odd.iter_mut().zip(&beliefs).for_each(|(odd, belief)| *odd ^= belief);
                }
                // Lanes beyond the block hold zeros.
                odd.iter().fold(0, |all, odd| all | odd) >= 0
            })
        });
        let info = self.beliefs.iter().skip(self.code.fill_bits()).take(self.code.info_bits());
        even && info.fold(true, |all, belief| all & (*belief != 0))
    }

    fn give(&self, info: &mut [u8]) {
        let beliefs = self.beliefs.get(self.code.fill_bits()..).unwrap_or(&[]);
        let bits = beliefs.get(..self.code.info_bits()).unwrap_or(beliefs);
        for (byte, bits) in info.iter_mut().zip(bits.as_chunks::<8>().0) {
            *byte = bits.iter().fold(0, |byte, belief| (byte << 1) | u8::from(*belief < 0));
        }
    }
}

/// The beliefs that an edge leads to from the rows at `place`; zeros for rows that aren't.
#[inline(always)]
fn load(beliefs: &[i16], edge: &Edge, place: usize, z: usize) -> Lane {
    let at = wrapped(place + edge.shift, z);
    if at + LANES <= z && place + LANES <= z {
        let start = edge.column + at;
        if let Some(lane) = beliefs.get(start..).and_then(|rest| rest.first_chunk()) {
            return *lane;
        }
    }
    gather(beliefs, edge, at, place, z)
}

/// As [`load`] where the rows end or the block begins again in front: at most once, as no more
/// rows are taken than the block has.
#[inline(never)]
fn gather(beliefs: &[i16], edge: &Edge, at: usize, place: usize, z: usize) -> Lane {
    let mut lane = [0; LANES];
    let count = LANES.min(z - place);
    let block = beliefs.get(edge.column..edge.column + z).unwrap_or(&[]);
    let (front, back) = block.split_at(at.min(block.len()));
    if let Some((head, tail)) = lane.split_at_mut_checked(back.len().min(count)) {
        let count = count - head.len();
        head.copy_from_slice(back.get(..head.len()).unwrap_or(&[]));
        if let (Some(tail), Some(front)) = (tail.get_mut(..count), front.get(..count)) {
            tail.copy_from_slice(front);
        }
    }
    lane
}

/// Adds what the rows at `place` learned.
#[inline(always)]
fn add(beliefs: &mut [i16], edge: &Edge, place: usize, z: usize, change: &Lane) {
    let at = wrapped(place + edge.shift, z);
    if at + LANES <= z && place + LANES <= z {
        let start = edge.column + at;
        if let Some(lane) = beliefs.get_mut(start..).and_then(|rest| rest.first_chunk_mut()) {
            let lane: &mut Lane = lane;
            lane.iter_mut().zip(change).for_each(|(belief, change)| {
                *belief = belief.wrapping_add(*change);
            });
            return;
        }
    }
    scatter(beliefs, edge, at, place, z, change);
}

/// As [`add`] where the rows end or the block begins again in front.
#[inline(never)]
fn scatter(beliefs: &mut [i16], edge: &Edge, at: usize, place: usize, z: usize, change: &Lane) {
    let count = LANES.min(z - place);
    let block = beliefs.get_mut(edge.column..edge.column + z).unwrap_or(&mut []);
    let (front, back) = block.split_at_mut(at.min(block.len()));
    let (head, tail) = change.split_at(back.len().min(count));
    let tail = tail.get(..count - head.len()).unwrap_or(&[]);
    for (beliefs, change) in [(back, head), (front, tail)] {
        beliefs.iter_mut().zip(change).for_each(|(belief, change)| {
            *belief = belief.wrapping_add(*change);
        });
    }
}

#[inline(always)]
fn wrapped(at: usize, z: usize) -> usize {
    if at < z { at } else { at - z }
}

/// One iteration: all rows, in order. Compiled once for each kernel.
#[inline(always)]
pub(crate) fn iterate(pass: Pass<'_>) {
    let Pass { plan, beliefs, messages } = pass;
    let mut news: [Lane; MAX_DEGREE] = [[0; LANES]; MAX_DEGREE];
    for row in &plan.rows {
        for place in (0..plan.z).step_by(LANES) {
            let mut least: Lane = [i16::MAX; LANES];
            let mut second: Lane = [i16::MAX; LANES];
            let mut signs: Lane = [0; LANES];
            for (edge, news) in row.iter().zip(&mut news) {
                let belief = load(beliefs, edge, place, plan.z);
                let Some(message) = old(messages, edge, place) else { continue };
                let lanes = news.iter_mut().zip(&belief).zip(&*message);
                let found = least.iter_mut().zip(&mut second).zip(&mut signs);
                for (((new, belief), message), ((least, second), signs)) in lanes.zip(found) {
                    // What the others know of this bit.
                    *new = belief.wrapping_sub(*message);
                    let sure = new.wrapping_abs();
                    *second = (*second).min((*least).max(sure));
                    *least = (*least).min(sure);
                    *signs ^= *new;
                }
            }
            for (edge, new) in row.iter().zip(&news) {
                let Some(message) = old(messages, edge, place) else { continue };
                let mut change: Lane = [0; LANES];
                let lanes = change.iter_mut().zip(message).zip(new);
                let found = least.iter().zip(&second).zip(&signs);
                for (((change, message), new), ((least, second), signs)) in lanes.zip(found) {
                    let sure = if new.wrapping_abs() == *least { *second } else { *least };
                    let sure = normalise(sure);
                    // All ones where the other beliefs' product is negative.
                    let sign = (signs ^ new) >> 15;
                    let next = (sure ^ sign).wrapping_sub(sign);
                    *change = next.wrapping_sub(*message);
                    *message = next;
                }
                add(beliefs, edge, place, plan.z, &change);
            }
        }
    }
}

/// Three quarters: the minimum is more confident than the sum that it stands for.
#[inline(always)]
fn normalise(sure: i16) -> i16 {
    let sure = sure.min(LIMIT);
    sure - (sure >> 2)
}

#[inline(always)]
fn old<'a>(messages: &'a mut [i16], edge: &Edge, place: usize) -> Option<&'a mut Lane> {
    messages.get_mut(edge.messages + place..).and_then(|rest| rest.first_chunk_mut())
}
