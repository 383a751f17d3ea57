//! Symbols to the bits in which markers are looked for.
//!
//! ```text
//! packed bits ────────────────────────────────────────────────┐
//! bits, one a byte ─► soft symbols ─► [convolutional::sync] ─► packed bits ─► sync::marker
//! ```

use super::Convolutional;
use crate::fec::convolutional::{Code, Synchroniser, sync};
use alloc::vec::Vec;
use core::{fmt, str::FromStr};

/// How the symbols of a stream lie in its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Symbols {
    /// Eight in a byte, the first one highest.
    #[default]
    Packed,
    /// One in the lowest bit of each byte.
    Bits,
    /// One in each byte, signed: positive for a 0, negative for a 1, the magnitude says how
    /// surely, in any unit. The other polarity is found by the markers.
    Soft,
}

/// Why a text names no [`Symbols`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected packed (eight bits in a byte), bits (one bit a byte) or soft (one i8 a symbol)")]
pub struct SymbolsError;

impl FromStr for Symbols {
    type Err = SymbolsError;

    fn from_str(text: &str) -> Result<Self, SymbolsError> {
        match text {
            "packed" => Ok(Self::Packed),
            "bits" => Ok(Self::Bits),
            "soft" => Ok(Self::Soft),
            _ => Err(SymbolsError),
        }
    }
}

impl fmt::Display for Symbols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Packed => "packed",
            Self::Bits => "bits",
            Self::Soft => "soft",
        })
    }
}

/// The soft symbol of a bit that is known for sure.
const SURE: i8 = 64;
/// Symbols made of a chunk at a time: a bound on scratch memory.
const PIECE_BYTES: usize = 8192;

/// The soft symbols of a piece of a stream.
fn soften(form: Symbols, piece: &[u8], soft: &mut Vec<i8>) {
    let of = |one: bool| if one { -SURE } else { SURE };
    match form {
        Symbols::Packed => {
            let bits = piece.iter().flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1));
            soft.extend(bits.map(|bit| of(bit == 1)));
        }
        Symbols::Bits => soft.extend(piece.iter().map(|byte| of(byte & 1 == 1))),
        Symbols::Soft => soft.extend(piece.iter().map(|byte| *byte as i8)),
    }
}

/// Hands a chunk on as soft symbols, a bounded number at a time.
pub(super) fn for_each_soft(
    form: Symbols,
    chunk: &[u8],
    scratch: &mut Vec<i8>,
    mut take: impl FnMut(&[i8]),
) {
    for piece in chunk.chunks(PIECE_BYTES) {
        scratch.clear();
        soften(form, piece, scratch);
        take(scratch);
    }
}

/// Symbols on their way into bytes, cut to bits.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::frame) struct Packer {
    byte: u8,
    count: u32,
}

impl Packer {
    /// Appends the bytes that a chunk of symbols completes.
    pub(in crate::frame) fn pack(&mut self, form: Symbols, chunk: &[u8], out: &mut Vec<u8>) {
        if form == Symbols::Packed {
            return out.extend_from_slice(chunk);
        }
        for symbol in chunk {
            let bit = if form == Symbols::Soft { symbol >> 7 } else { symbol & 1 };
            self.push(bit == 1, out);
        }
    }

    /// Takes one bit.
    pub(in crate::frame) fn push(&mut self, bit: bool, out: &mut Vec<u8>) {
        self.byte = self.byte << 1 | u8::from(bit);
        self.count = (self.count + 1) % 8;
        if self.count == 0 {
            out.push(self.byte);
        }
    }

    /// Fills the byte in progress with zeros.
    pub(in crate::frame) fn fill(&mut self, out: &mut Vec<u8>) {
        while self.count > 0 {
            self.push(false, out);
        }
    }
}

/// Symbols over which a demodulator's level is measured.
const LEVEL_SYMBOLS: u32 = 256;
/// What the level becomes: where the convolutional decoder does best.
const LEVEL: i32 = SURE as i32;

/// Brings a demodulator's level, whatever it is, to one that the decoder's steps resolve. What it
/// does to a symbol follows from the stream alone, however that is cut.
#[derive(Debug, Default)]
struct Gain {
    /// [`LEVEL`] over the mean magnitude, in 256ths; none until that was measured.
    factor: Option<i32>,
    /// What waits for a first measurement.
    held: Vec<i8>,
    sum: u32,
    count: u32,
    leveled: Vec<i8>,
}

impl Gain {
    fn apply(&mut self, mut symbols: &[i8]) -> &[i8] {
        self.leveled.clear();
        while !symbols.is_empty() {
            let room = (LEVEL_SYMBOLS - self.count) as usize;
            let (now, rest) = symbols.split_at_checked(room).unwrap_or((symbols, &[]));
            symbols = rest;
            self.sum += now.iter().map(|symbol| u32::from(symbol.unsigned_abs())).sum::<u32>();
            self.count += now.len() as u32;
            match self.factor {
                Some(factor) => level(now, factor, &mut self.leveled),
                None => self.held.extend_from_slice(now),
            }
            if self.count == LEVEL_SYMBOLS {
                self.measure();
            }
        }
        &self.leveled
    }

    /// What still waits when the stream ends.
    fn finish(&mut self) -> &[i8] {
        self.leveled.clear();
        if self.factor.is_none() {
            self.measure();
        }
        &self.leveled
    }

    fn measure(&mut self) {
        let mean = (self.sum / self.count.max(1)).max(1) as i32;
        let factor = 256 * LEVEL / mean;
        self.factor = Some(factor);
        (self.sum, self.count) = (0, 0);
        level(&core::mem::take(&mut self.held), factor, &mut self.leveled);
    }
}

fn level(symbols: &[i8], factor: i32, leveled: &mut Vec<i8>) {
    let level = |symbol: &i8| (i32::from(*symbol) * factor / 256).clamp(-127, 127) as i8;
    leveled.extend(symbols.iter().map(level));
}

/// Changes of a convolutional decoder's lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockCounts {
    /// Times that the place in the pattern was found.
    pub locked: u64,
    /// Times that it was lost.
    pub lost: u64,
    /// The code that was found last.
    pub code: Option<Code>,
}

impl LockCounts {
    const fn take(&mut self, event: sync::Event) {
        match event {
            sync::Event::Locked(found) => {
                self.locked += 1;
                self.code = Some(found.code);
            }
            sync::Event::Lost => self.lost += 1,
        }
    }
}

/// The convolutional decoder in front of the markers.
#[derive(Debug)]
pub(super) struct Inner {
    synchroniser: Synchroniser,
    gain: Gain,
    pub(super) counts: LockCounts,
    bytes: Vec<u8>,
}

impl Inner {
    pub(super) fn new(code: Convolutional) -> Self {
        let synchroniser = match code {
            Convolutional::Known(code) => Synchroniser::new([code]),
            Convolutional::Any(rate) => Synchroniser::new(Code::variants(rate)),
        };
        let (gain, counts) = (Gain::default(), LockCounts::default());
        Self { synchroniser, gain, counts, bytes: Vec::new() }
    }

    /// The bytes that these symbols complete.
    pub(super) fn decode(&mut self, symbols: &[i8]) -> &[u8] {
        let Self { synchroniser, gain, counts, bytes } = self;
        bytes.clear();
        synchroniser.push(gain.apply(symbols), bytes, |event| counts.take(event));
        bytes
    }

    /// What was still held when the stream ended; the last byte may be padded.
    pub(super) fn finish(&mut self) -> &[u8] {
        let Self { synchroniser, gain, counts, bytes } = self;
        bytes.clear();
        synchroniser.push(gain.finish(), bytes, |event| counts.take(event));
        synchroniser.finish(bytes);
        bytes
    }
}

/// Soft symbols and the packed bits made of them, for a code that wants both.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Symbols that a block may still need, and where they begin in the stream.
    symbols: Vec<i8>,
    base: u64,
    /// Symbols of the stream that were packed: whole bytes.
    packed: u64,
    bytes: Vec<u8>,
}

impl History {
    /// Keeps the symbols; the bytes that they complete.
    pub(super) fn pack(&mut self, symbols: &[i8]) -> &[u8] {
        self.symbols.extend_from_slice(symbols);
        self.bytes.clear();
        let from = usize::try_from(self.packed - self.base).unwrap_or(usize::MAX);
        let fresh = self.symbols.get(from..).unwrap_or(&[]).as_chunks::<8>().0;
        self.bytes.extend(fresh.iter().map(|symbols| {
            symbols.iter().fold(0, |byte, symbol| byte << 1 | u8::from(*symbol < 0))
        }));
        self.packed += 8 * self.bytes.len() as u64;
        &self.bytes
    }

    /// The symbols from a bit of the stream on.
    pub(super) fn at(&self, bit: u64, count: usize) -> Option<&[i8]> {
        let from = usize::try_from(bit.checked_sub(self.base)?).ok()?;
        self.symbols.get(from..)?.get(..count)
    }

    /// Both halves at once: the fresh bytes, and where to look symbols up.
    pub(super) fn split(&self) -> (&[u8], &Self) {
        (&self.bytes, self)
    }

    /// Forgets what no block needs any more.
    pub(super) fn forget_before(&mut self, bit: u64) {
        let bit = bit.min(self.packed);
        let gone = usize::try_from(bit.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let gone = gone.min(self.symbols.len());
        self.symbols.drain(..gone);
        self.base += gone as u64;
    }
}
