//! Finds blocks by the marker before each: bits of any alignment and polarity in, blocks out.
//!
//! Not aligned, it searches all places for a marker that is confirmed by another one block later.
//! Aligned, it looks where the next marker must be and tolerates more errors there; it follows
//! bits that slipped and polarity that flipped; and where a marker is missing it goes on only if
//! a later one stands where it should (the flywheel). Otherwise it searches again from behind the
//! last good marker, so that a cut in the stream costs the block that was cut.
//!
//! What comes out does not depend on how the stream is cut into chunks.

mod word;
mod stream;
#[cfg(test)]
mod tests;

pub use word::{Marker, MarkerError};

use alloc::vec::Vec;
use core::ops::ControlFlow;
use stream::Stream;

/// Longest block, a bound on what is held while a chunk ends inside one.
pub const MAX_BLOCK_BYTES: usize = 65_536;
/// Most missing markers that may be bridged.
pub const MAX_FLYWHEEL: u32 = 8;
/// Furthest that a marker is looked for on both sides of its place.
pub const MAX_SLIP_BITS: u32 = 8;

/// How markers are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkerConfig {
    /// The marker.
    pub marker: Marker,
    /// Bytes between the end of a marker and the next: 1 to [`MAX_BLOCK_BYTES`].
    pub block_bytes: usize,
    /// Wrong bits that a marker may have while searching.
    pub search_errors: u32,
    /// Wrong bits that a marker may have where it must be; not fewer than while searching.
    pub locked_errors: u32,
    /// Markers in a row that may be missing, at most [`MAX_FLYWHEEL`].
    pub flywheel: u32,
    /// Bits that may be lost or doubled between markers, at most [`MAX_SLIP_BITS`].
    pub slip_bits: u32,
}

impl MarkerConfig {
    /// Searches with one wrong bit, goes on with an eighth of the bits wrong, bridges two missing
    /// markers and follows slips of up to eight bits.
    ///
    /// With 32 bits, noise then passes for a marker once in 65 million bits, and for one that
    /// another confirms once in 3 million million bits.
    pub const fn new(marker: Marker, block_bytes: usize) -> Self {
        let locked_errors = marker.length / 8;
        let (search_errors, flywheel, slip_bits) = (1, 2, MAX_SLIP_BITS);
        Self { marker, block_bytes, search_errors, locked_errors, flywheel, slip_bits }
    }
}

/// Why blocks can't be looked for like that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The block is empty or over the bound.
    #[error("a block of {0} bytes; 1 to {MAX_BLOCK_BYTES} are possible")]
    Block(usize),
    /// With as many errors anything is a marker.
    #[error("{errors} wrong bits in a marker of {bits}; fewer than a quarter are possible")]
    Errors {
        /// Errors asked for.
        errors: u32,
        /// Bits of the marker.
        bits: u32,
    },
    /// The flywheel or the slips are over their bounds.
    #[error("at most {MAX_FLYWHEEL} missing markers and {MAX_SLIP_BITS} slipped bits")]
    Bounds,
}

/// A block, still where it was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// The bytes that hold the block; one more than it has where it is not aligned to them.
    bytes: &'a [u8],
    /// Bits of the first byte before the block.
    shift: u32,
    /// Every bit is the opposite of what was sent.
    pub inverted: bool,
    /// Wrong bits in the marker.
    pub marker_errors: u32,
    /// Where the marker began in the stream, in bits.
    pub at_bit: u64,
}

impl Found<'_> {
    /// Bytes of the block.
    pub const fn length(&self) -> usize {
        self.bytes.len() - (self.shift != 0) as usize
    }

    /// The block where it was received, if it is aligned and upright there.
    pub fn as_received(&self) -> Option<&[u8]> {
        (self.shift == 0 && !self.inverted).then_some(self.bytes)
    }

    /// The block aligned and upright; as much of it as `block` holds.
    pub fn copy_to(&self, block: &mut [u8]) {
        let invert = if self.inverted { 0xFF } else { 0 };
        if self.shift == 0 && !self.inverted {
            for (to, from) in block.iter_mut().zip(self.bytes) {
                *to = *from;
            }
            return;
        }
        let next = self.bytes.iter().skip(1).copied().chain(core::iter::once(0));
        for ((to, high), low) in block.iter_mut().zip(self.bytes).zip(next) {
            let pair = u16::from_be_bytes([*high, low]) << self.shift;
            *to = (pair >> 8) as u8 ^ invert;
        }
    }
}

/// What comes out of a stream, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A marker was found and confirmed; blocks follow.
    Acquired {
        /// Where it begins in the stream, in bits.
        at_bit: u64,
    },
    /// A block.
    Block(Found<'a>),
    /// The marker stood a few bits late (positive) or early.
    Slipped {
        /// By how much.
        bits: i32,
    },
    /// From here on every bit is the opposite of what it was.
    Inverted,
    /// No marker is where it should be, nor any later one.
    Lost {
        /// Where it should have been in the stream, in bits.
        at_bit: u64,
    },
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncCounts {
    /// Blocks handed out.
    pub blocks: u64,
    /// Of them, those whose marker was missing.
    pub flywheel: u64,
    /// Times that alignment was found.
    pub acquired: u64,
    /// Times that it was lost.
    pub lost: u64,
    /// Slips that were followed.
    pub slips: u64,
    /// Changes of polarity that were followed.
    pub inversions: u64,
    /// Wrong bits in the markers of blocks, those of missing markers left out.
    pub marker_errors: u64,
    /// Bits passed over in search.
    pub skipped_bits: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// No marker begins before `from`; `since` is where the search began.
    Searching { from: u64, since: u64 },
    /// The next marker must be at `next`; the last good one was at `last`.
    Locked { next: u64, last: u64, inverted: bool },
}

/// Whether a place is confirmed by markers behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ahead {
    Confirmed,
    Denied,
    /// The stream has not come that far.
    Unknown,
}

/// Finds the blocks of one stream.
#[derive(Clone, Debug)]
pub struct Synchronizer {
    config: MarkerConfig,
    state: State,
    counts: SyncCounts,
    /// The end of earlier chunks that is still needed, and where it begins in the stream.
    held: Vec<u8>,
    base: u64,
}

impl Synchronizer {
    /// Starts without alignment.
    pub fn new(mut config: MarkerConfig) -> Result<Self, ConfigError> {
        if !(1..=MAX_BLOCK_BYTES).contains(&config.block_bytes) {
            return Err(ConfigError::Block(config.block_bytes));
        }
        let bits = config.marker.length;
        let errors = config.search_errors.max(config.locked_errors);
        if errors >= bits / 4 {
            return Err(ConfigError::Errors { errors, bits });
        }
        if config.flywheel > MAX_FLYWHEEL || config.slip_bits > MAX_SLIP_BITS {
            return Err(ConfigError::Bounds);
        }
        config.locked_errors = errors;
        let state = State::Searching { from: 0, since: 0 };
        Ok(Self { config, state, counts: SyncCounts::default(), held: Vec::new(), base: 0 })
    }

    /// What happened so far.
    pub const fn counts(&self) -> &SyncCounts {
        &self.counts
    }

    /// What it looks for.
    pub const fn marker(&self) -> Marker {
        self.config.marker
    }

    /// Whether it is aligned.
    pub const fn is_locked(&self) -> bool {
        matches!(self.state, State::Locked { .. })
    }

    /// The first bit of the stream that a block still to come may begin with.
    pub(crate) const fn needed_from_bit(&self) -> u64 {
        8 * self.base
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, chunk: &[u8], sink: &mut impl FnMut(Event<'_>)) {
        let mut held = core::mem::take(&mut self.held);
        let mut rest = chunk;
        // Until nothing of the earlier chunks is needed, go on in the copy.
        while !held.is_empty() {
            let (more, behind) = rest.split_at(rest.len().min(4 * self.period_bytes()));
            held.extend_from_slice(more);
            self.scan(&held, false, sink);
            let done = self.needed_from(held.len());
            let overlap = held.len() - done;
            if overlap <= rest.len() - behind.len() {
                // What is still needed lies in this chunk.
                rest = rest.get(more.len() - overlap..).unwrap_or(&[]);
                self.base += done as u64;
                held.clear();
            } else {
                held.drain(..done);
                self.base += done as u64;
                rest = behind;
                if rest.is_empty() {
                    self.held = held;
                    return;
                }
            }
        }
        self.scan(rest, false, sink);
        let done = self.needed_from(rest.len());
        self.base += done as u64;
        held.extend_from_slice(rest.get(done..).unwrap_or(&[]));
        self.held = held;
    }

    /// Ends the stream: what waited for a marker to confirm it is decided without.
    pub fn finish(&mut self, sink: &mut impl FnMut(Event<'_>)) {
        let held = core::mem::take(&mut self.held);
        self.scan(&held, true, sink);
        self.base += held.len() as u64;
        self.state = State::Searching { from: 8 * self.base, since: 8 * self.base };
    }

    const fn period(&self) -> u64 {
        self.config.marker.length as u64 + 8 * self.config.block_bytes as u64
    }

    fn period_bytes(&self) -> usize {
        self.config.marker.length as usize / 8 + self.config.block_bytes
    }

    /// The first byte of those at hand that may be needed again.
    fn needed_from(&self, length: usize) -> usize {
        let bit = match self.state {
            State::Searching { from, .. } => from,
            State::Locked { last, .. } => last,
        };
        let byte = (bit / 8).saturating_sub(self.base);
        usize::try_from(byte).unwrap_or(length).min(length)
    }

    /// Handles everything that can be decided with these bytes, which begin at `self.base`.
    fn scan(&mut self, bytes: &[u8], ended: bool, sink: &mut impl FnMut(Event<'_>)) {
        let stream = Stream { bytes, base: self.base, ended };
        let mut step = ControlFlow::Continue(());
        while step.is_continue() {
            step = match self.state {
                State::Searching { from, since } => self.search(&stream, from, since, sink),
                State::Locked { next, last, inverted } => {
                    self.follow(&stream, next, last, inverted, sink)
                }
            };
        }
    }

    fn search(
        &mut self,
        stream: &Stream<'_>,
        from: u64,
        since: u64,
        sink: &mut impl FnMut(Event<'_>),
    ) -> ControlFlow<()> {
        let (at, inverted) = match stream.find(&self.config, from) {
            Ok(found) => found,
            Err(from) => {
                // Told as they go: a stream that is never aligned may never end either.
                let passed = if stream.ended { stream.end() } else { from };
                self.counts.skipped_bits += passed.saturating_sub(since);
                self.state = State::Searching { from, since: since.max(passed) };
                return ControlFlow::Break(());
            }
        };
        match self.ahead(stream, at + self.period(), inverted, self.config.flywheel + 1) {
            Ahead::Denied => self.state = State::Searching { from: at + 1, since },
            Ahead::Unknown if !stream.ended => {
                self.counts.skipped_bits += at.saturating_sub(since);
                self.state = State::Searching { from: at, since: since.max(at) };
                return ControlFlow::Break(());
            }
            Ahead::Confirmed | Ahead::Unknown => {
                self.counts.acquired += 1;
                self.counts.skipped_bits += at.saturating_sub(since);
                self.state = State::Locked { next: at, last: at, inverted };
                sink(Event::Acquired { at_bit: at });
            }
        }
        ControlFlow::Continue(())
    }

    fn follow(
        &mut self,
        stream: &Stream<'_>,
        next: u64,
        last: u64,
        inverted: bool,
        sink: &mut impl FnMut(Event<'_>),
    ) -> ControlFlow<()> {
        let marker = self.config.marker;
        let Some(word) = stream.word(next, marker) else { return ControlFlow::Break(()) };
        let (upright, errors) = (marker.errors(word), self.config.locked_errors);
        let flipped = marker.length - upright;
        let wrong = if inverted { flipped } else { upright };
        if wrong <= errors {
            return self.block(stream, next, wrong, inverted, sink);
        }
        if marker.length - wrong <= errors {
            // Not before the block is whole, so that it is told once.
            if stream.block(next, &self.config).is_none() {
                return ControlFlow::Break(());
            }
            self.counts.inversions += 1;
            sink(Event::Inverted);
            return self.block(stream, next, marker.length - wrong, !inverted, sink);
        }
        if let Some(bits) = self.slip(stream, next, inverted)? {
            let next = next.saturating_add_signed(i64::from(bits));
            self.counts.slips += 1;
            self.state = State::Locked { next, last, inverted };
            sink(Event::Slipped { bits });
            return ControlFlow::Continue(());
        }
        match self.ahead(stream, next + self.period(), inverted, self.config.flywheel) {
            Ahead::Confirmed => {}
            Ahead::Unknown if stream.ended => {}
            Ahead::Unknown => return ControlFlow::Break(()),
            Ahead::Denied => {
                self.counts.lost += 1;
                self.state = State::Searching { from: last + 1, since: next };
                sink(Event::Lost { at_bit: next });
                return ControlFlow::Continue(());
            }
        }
        self.block(stream, next, wrong, inverted, sink)
    }

    /// Hands a block out, if all of it is at hand.
    fn block(
        &mut self,
        stream: &Stream<'_>,
        at: u64,
        marker_errors: u32,
        inverted: bool,
        sink: &mut impl FnMut(Event<'_>),
    ) -> ControlFlow<()> {
        let Some((bytes, shift)) = stream.block(at, &self.config) else {
            return ControlFlow::Break(());
        };
        self.counts.blocks += 1;
        match marker_errors <= self.config.locked_errors {
            true => self.counts.marker_errors += u64::from(marker_errors),
            false => self.counts.flywheel += 1,
        }
        self.state = State::Locked { next: at + self.period(), last: at, inverted };
        sink(Event::Block(Found { bytes, shift, inverted, marker_errors, at_bit: at }));
        ControlFlow::Continue(())
    }

    /// How far from its place a marker stands that another confirms.
    fn slip(&self, stream: &Stream<'_>, next: u64, inverted: bool) -> ControlFlow<(), Option<i32>> {
        for distance in 1..=i64::from(self.config.slip_bits) {
            for bits in [distance, -distance] {
                let at = next.saturating_add_signed(bits);
                let Some(word) = stream.word(at, self.config.marker) else {
                    match stream.ended {
                        true => continue,
                        false => return ControlFlow::Break(()),
                    }
                };
                if !self.is_marker(word, inverted, self.config.search_errors) {
                    continue;
                }
                match self.ahead(stream, at + self.period(), inverted, self.config.flywheel + 1) {
                    Ahead::Unknown if !stream.ended => return ControlFlow::Break(()),
                    Ahead::Confirmed | Ahead::Unknown => {
                        return ControlFlow::Continue(Some(bits as i32));
                    }
                    Ahead::Denied => {}
                }
            }
        }
        ControlFlow::Continue(None)
    }

    /// Looks for a marker at `at` and the places behind it.
    fn ahead(&self, stream: &Stream<'_>, at: u64, inverted: bool, places: u32) -> Ahead {
        for block in 0..u64::from(places) {
            match stream.word(at + block * self.period(), self.config.marker) {
                None => return Ahead::Unknown,
                Some(word) if self.is_marker(word, inverted, self.config.locked_errors) => {
                    return Ahead::Confirmed;
                }
                Some(_) => {}
            }
        }
        Ahead::Denied
    }

    const fn is_marker(&self, word: u64, inverted: bool, errors: u32) -> bool {
        let word = if inverted { !word } else { word };
        self.config.marker.errors(word) <= errors
    }
}
