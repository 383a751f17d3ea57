//! Finds blocks by the marker before each: bits of any alignment and polarity in, blocks out.
//!
//! Not aligned, it searches all places for a marker that is confirmed by another one block later.
//! Aligned, it looks where the next marker must be and tolerates more errors there; it follows
//! bits that slipped and polarity that flipped; and where a marker is missing it goes on only if
//! a later one stands where it should (the flywheel). Otherwise it searches again from behind the
//! last good marker, so that a cut in the stream costs the block that was cut.
//!
//! What comes out does not depend on how the stream is cut into chunks.

#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::{fmt, ops::ControlFlow, str::FromStr};

/// Longest block, a bound on what is held while a chunk ends inside one.
pub const MAX_BLOCK_BYTES: usize = 65_536;
/// Most missing markers that may be bridged.
pub const MAX_FLYWHEEL: u32 = 8;
/// Furthest that a marker is looked for on both sides of its place.
pub const MAX_SLIP_BITS: u32 = 8;

/// A sync marker of 16 to 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Marker {
    bits: u64,
    length: u32,
}

impl Marker {
    /// Before uncoded, convolutional and Reed-Solomon coded telemetry (CCSDS 131.0-B-5 §9).
    pub const TELEMETRY: Self = Self { bits: 0x1ACF_FC1D, length: 32 };

    /// Before blocks of the LDPC codes of rate 1/2, 2/3 and 4/5 and of the turbo code of rate 1/2
    /// (CCSDS 131.0-B-6 §9).
    pub const LONG: Self = Self { bits: 0x0347_76C7_2728_95B0, length: 64 };

    /// Before blocks of a stream embedded in frames (CCSDS 131.0-B-6 §9).
    pub const EMBEDDED: Self = Self { bits: 0x352E_F853, length: 32 };

    /// Before the frames of the two Voyagers.
    pub const VOYAGER: Self = Self { bits: 0x0391_5ED3, length: 32 };

    /// Bits of the marker.
    pub const fn bits(&self) -> u32 {
        self.length
    }

    /// Its bytes, as they are sent.
    pub fn to_bytes(self) -> impl Iterator<Item = u8> {
        self.bits.to_be_bytes().into_iter().skip(8 - self.length as usize / 8)
    }

    /// Every bit of `bytes` at which the marker begins, upright or inverted, with at most so many
    /// wrong bits.
    pub fn places(&self, bytes: &[u8], errors: u32) -> Vec<u64> {
        let stream = Stream { bytes, base: 0, ended: true };
        let config = MarkerConfig { search_errors: errors, ..MarkerConfig::new(*self, 1) };
        let (mut places, mut from) = (Vec::new(), 0);
        while let Ok((at, _)) = stream.find(&config, from) {
            places.push(at);
            from = at + 1;
        }
        places
    }

    const fn mask(&self) -> u64 {
        u64::MAX >> (64 - self.length)
    }

    /// Bits in which a word differs.
    const fn errors(&self, word: u64) -> u32 {
        ((word ^ self.bits) & self.mask()).count_ones()
    }
}

/// Why a text names no [`Marker`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a marker is 4 to 16 hexadecimal digits, two a byte, for example 1ACFFC1D")]
pub struct MarkerError;

impl FromStr for Marker {
    type Err = MarkerError;

    fn from_str(text: &str) -> Result<Self, MarkerError> {
        let digits = text.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !digits || !(4..=16).contains(&text.len()) || !text.len().is_multiple_of(2) {
            return Err(MarkerError);
        }
        let bits = u64::from_str_radix(text, 16).map_err(|_| MarkerError)?;
        Ok(Self { bits, length: 4 * text.len() as u32 })
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0width$X}", self.bits, width = self.length as usize / 4)
    }
}

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
                if stream.ended {
                    self.counts.skipped_bits += stream.end().saturating_sub(since);
                }
                self.state = State::Searching { from, since };
                return ControlFlow::Break(());
            }
        };
        match self.ahead(stream, at + self.period(), inverted, self.config.flywheel + 1) {
            Ahead::Denied => self.state = State::Searching { from: at + 1, since },
            Ahead::Unknown if !stream.ended => {
                self.state = State::Searching { from: at, since };
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

/// The bytes at hand.
struct Stream<'a> {
    bytes: &'a [u8],
    base: u64,
    ended: bool,
}

impl<'a> Stream<'a> {
    const fn end(&self) -> u64 {
        8 * (self.base + self.bytes.len() as u64)
    }

    /// Where a bit of the stream stands: byte and bits before it there.
    fn place(&self, at: u64) -> Option<(usize, u32)> {
        let byte = (at / 8).checked_sub(self.base)?;
        Some((usize::try_from(byte).ok()?, (at % 8) as u32))
    }

    /// The bits of a marker's length from a place on.
    fn word(&self, at: u64, marker: Marker) -> Option<u64> {
        let (byte, shift) = self.place(at)?;
        let span = shift + marker.length;
        let bytes = self.bytes.get(byte..)?.get(..span.div_ceil(8) as usize)?;
        let word = bytes.iter().fold(0u128, |word, byte| word << 8 | u128::from(*byte));
        let behind = 8 * bytes.len() as u32 - span;
        Some((word >> behind) as u64 & marker.mask())
    }

    /// The bytes that hold the block behind a marker, and its first bit in them.
    fn block(&self, at: u64, config: &MarkerConfig) -> Option<(&'a [u8], u32)> {
        let (byte, shift) = self.place(at + u64::from(config.marker.length))?;
        let length = config.block_bytes + usize::from(shift != 0);
        Some((self.bytes.get(byte..)?.get(..length)?, shift))
    }

    /// The first marker that begins at `from` or later, and whether it is inverted; or from where
    /// on one could still begin.
    fn find(&self, config: &MarkerConfig, from: u64) -> Result<(u64, bool), u64> {
        // The marker's first bits, as many as fit 32, sort most places out.
        let marker = config.marker;
        let bits = marker.length.min(32);
        let prefix = (marker.bits >> (marker.length - bits)) as u32;
        let mask = u32::MAX >> (32 - bits);
        let Some((first, _)) = self.place(from) else { return Err(from) };
        let mut end = 8 * (self.base + first as u64);
        let mut window = 0u64;
        for byte in self.bytes.get(first..).unwrap_or(&[]) {
            window = window << 8 | u64::from(*byte);
            end += 8;
            for behind in (0..8).rev() {
                let differing = ((window >> behind) as u32 ^ prefix) & mask;
                let inverted = few(!differing & mask, config.search_errors);
                if !inverted && !few(differing, config.search_errors) {
                    continue;
                }
                let at = end.checked_sub(u64::from(bits + behind)).filter(|at| *at >= from);
                let Some(at) = at else { continue };
                let Some(word) = self.word(at, marker) else { return Err(at) };
                let errors = marker.errors(if inverted { !word } else { word });
                if errors <= config.search_errors {
                    return Ok((at, inverted));
                }
            }
        }
        Err(from.max((end + 1).saturating_sub(u64::from(bits))))
    }
}

/// Whether at most so many bits are set; one bit, the usual number, costs no counting.
const fn few(bits: u32, most: u32) -> bool {
    match most {
        0 => bits == 0,
        1 => bits & bits.wrapping_sub(1) == 0,
        _ => bits.count_ones() <= most,
    }
}
