//! Node synchronisation: which symbol begins a puncturing pattern, and which of several codes
//! was sent, judged by how fast the best path's cost grows under each hypothesis.
//!
//! What it can't tell: whether the whole stream is inverted. Both connection vectors have odd
//! weight, so the complement of every code sequence is a code sequence (the code is transparent,
//! CCSDS 131.0-B-6 §3.3), and the decoder gives complemented bits. The marker's polarity or
//! NRZ-M settles that behind the decoder.

use super::{Code, Decoder};
use alloc::vec::Vec;

/// Patterns of symbols that a search looks at: enough that the thinnest code's right place
/// stands out at the error rates that it can still correct.
const SEARCH_PATTERNS: usize = 2048;

/// The hypothesis that fits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// The code that was sent.
    pub code: Code,
    /// Symbols before the first whole pattern.
    pub offset: usize,
    /// The best path's cost, as a share of the cost of contradicting everything.
    pub growth: f32,
    /// The same for the best wrong hypothesis.
    pub other: f32,
}

/// What happened to the lock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// Bits follow.
    Locked(Found),
    /// The best path's cost grew as fast as a wrong hypothesis': symbols slipped, or the signal
    /// is gone. Bits given since the last check are worth nothing.
    Lost,
}

/// Finds the place and the code, decodes, and searches again after a slip.
#[derive(Debug, Clone)]
pub struct Synchroniser {
    candidates: Vec<Code>,
    /// Symbols kept for a search, at most [`Synchroniser::window`].
    held: Vec<i8>,
    lock: Option<Lock>,
}

#[derive(Debug, Clone)]
struct Lock {
    decoder: Decoder,
    /// Above this share the lock is lost: halfway from right to wrong.
    limit: f32,
    checked: (u64, u64),
    pending: usize,
}

impl Synchroniser {
    /// Searches the place in the pattern under each of these codes: one, or
    /// [`Code::variants`]. Costs of different rates don't compare: all are of one rate.
    pub fn new(candidates: impl IntoIterator<Item = Code>) -> Self {
        Self { candidates: candidates.into_iter().collect(), held: Vec::new(), lock: None }
    }

    /// Symbols that a search needs, and after which a lock is checked again.
    pub fn window(&self) -> usize {
        SEARCH_PATTERNS * self.candidates.first().map_or(1, |code| code.rate.symbols())
    }

    /// Takes symbols, appends the bytes decoded while locked, and tells of each change.
    pub fn push(&mut self, mut symbols: &[i8], out: &mut Vec<u8>, mut event: impl FnMut(Event)) {
        while !symbols.is_empty() {
            let window = self.window();
            let have = self.lock.as_ref().map_or(self.held.len(), |lock| lock.pending);
            let take = window.saturating_sub(have).min(symbols.len());
            let (now, rest) = symbols.split_at_checked(take).unwrap_or((symbols, &[]));
            symbols = rest;
            match &mut self.lock {
                None => {
                    self.held.extend_from_slice(now);
                    if self.held.len() >= window {
                        self.acquire(out, &mut event);
                    }
                }
                Some(lock) => {
                    lock.decoder.push(now, out);
                    lock.pending += now.len();
                    if lock.pending >= window && lock.is_lost() {
                        self.lock = None;
                        event(Event::Lost);
                    }
                }
            }
        }
    }

    /// Ends the stream as [`Decoder::finish`] does; without a lock there is nothing to give.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> usize {
        self.held.clear();
        self.lock.take().map_or(0, |mut lock| lock.decoder.finish(out))
    }

    fn acquire(&mut self, out: &mut Vec<u8>, event: &mut impl FnMut(Event)) {
        let Some(found) = search(&self.candidates, &self.held) else {
            // Half is looked at again with what comes, so that no start is cut in two.
            self.held.drain(..self.held.len() / 2);
            return;
        };
        event(Event::Locked(found));
        let mut decoder = Decoder::new(found.code);
        decoder.push(self.held.get(found.offset..).unwrap_or(&[]), out);
        self.held.clear();
        let checked = (decoder.growth(), decoder.confidence());
        let limit = (found.growth + found.other) / 2.0;
        self.lock = Some(Lock { decoder, limit, checked, pending: 0 });
    }
}

impl Lock {
    fn is_lost(&mut self) -> bool {
        let now = (self.decoder.growth(), self.decoder.confidence());
        let confidence = now.1 - self.checked.1;
        // Blocks and windows don't meet: wait for the next block.
        if confidence == 0 {
            return false;
        }
        let share = share(now.0 - self.checked.0, confidence);
        self.checked = now;
        self.pending = 0;
        share > self.limit
    }
}

/// The hypothesis that fits `symbols`, if one stands out: its cost is at most four fifths of the
/// next one's.
pub fn search(candidates: &[Code], symbols: &[i8]) -> Option<Found> {
    let mut best: Option<Found> = None;
    let mut other = f32::INFINITY;
    for code in candidates.iter().copied() {
        let mut decoder = Decoder::new(code);
        for offset in 0..code.rate.symbols() {
            let (growth, confidence) = decoder.measure(symbols.get(offset..).unwrap_or(&[]));
            let growth = share(growth, confidence);
            match &mut best {
                Some(best) if growth >= best.growth => other = other.min(growth),
                _ => {
                    if let Some(second) = best.replace(Found { code, offset, growth, other: 0.0 }) {
                        other = second.growth;
                    }
                }
            }
        }
    }
    best.map(|best| Found { other, ..best }).filter(|found| found.growth <= 0.8 * found.other)
}

/// A noise-free 0 over nothing received counts as a contradiction: it proves nothing.
fn share(growth: u64, confidence: u64) -> f32 {
    if confidence == 0 { 1.0 } else { growth as f32 / confidence as f32 }
}
