//! What a recording of unknown framing is, found by trying, with the evidence for it.
//!
//! ```text
//! bytes ─► symbols ─► [convolutional code] ─► markers (which, how far apart) ─► codes (randomiser
//! and block code) ─► headers (kind, length, counts that follow) ─► fields ─► guesses, best first
//! ```
//!
//! A guess never says more than was tried: each step keeps what fits most of the recording and
//! counts how often it did. The sample is the caller's to bound.

mod markers;
mod codes;
mod headers;
#[cfg(test)]
mod tests;

use super::cadu::{BlockCode, Coding, Convolutional, NrzM, Packer, Symbols};
use super::cltu::{CltuCoding, CltuDecoder};
use super::extract::FrameConfig;
use super::{Framing, Kind};
use crate::fec::convolutional::{Code, Rate, Synchroniser, sync};
use crate::sync::marker::Marker;
use alloc::vec::Vec;
use bytes::Bytes;

/// Blocks or frames that are looked at, a bound on the work.
const BLOCKS_MAX: usize = 256;
/// Symbols of which a convolutional code is tried.
const INNER_SYMBOLS_MAX: usize = 1 << 20;

/// Bytes of a stream in which command units are looked for.
const COMMAND_BYTES_MAX: usize = 1 << 18;

/// How often something that should hold did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What should hold.
    pub what: &'static str,
    /// How often it did.
    pub fits: u64,
    /// How often it was looked for.
    pub of: u64,
}

impl Evidence {
    const fn new(what: &'static str, fits: usize, of: usize) -> Self {
        Self { what, fits: fits as u64, of: of as u64 }
    }

    /// Whether it held at least so many times in a hundred.
    const fn at_least(&self, percent: u64) -> bool {
        self.of > 0 && 100 * self.fits >= percent * self.of
    }
}

/// One reading of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guess {
    /// How its symbols lie in bytes.
    pub symbols: Symbols,
    /// How the frames lie in the stream.
    pub framing: Framing,
    /// Length of the frames in bytes; 0 where nothing tells.
    pub frame_bytes: usize,
    /// What the frames are; `None` where they are of no known kind.
    pub frames: Option<FrameConfig>,
    /// What speaks for it, in the order in which it was found.
    pub evidence: Vec<Evidence>,
}

impl Guess {
    /// Whether most of the packets that the frames should hold contradict their pointers: such
    /// frames carry something else, or are none.
    pub fn is_contradicted(&self) -> bool {
        let packets = self.evidence.iter().find(|one| one.what == headers::PACKETS);
        packets.is_some_and(|packets| packets.of > 3 && !packets.at_least(50))
    }
}

/// What may be in a recording, the best reading first; nothing where nothing fits.
///
/// `marker` names one that is not among those known.
pub fn guess(sample: &[u8], marker: Option<Marker>) -> Vec<Guess> {
    // One value over and over is a codeword of everything.
    if sample.windows(2).all(|pair| pair.first() == pair.last()) {
        return Vec::new();
    }
    let forms: &[Symbols] = match sample.iter().all(|byte| *byte <= 1) {
        true => &[Symbols::Bits],
        false => &[Symbols::Packed, Symbols::Soft],
    };
    for form in forms {
        let mut stream = Vec::new();
        Packer::default().pack(*form, sample, &mut stream);
        let mut guesses = marked(*form, &stream, Coding::NONE, marker);
        if guesses.is_empty() {
            let changes = NrzM::default().decode(&stream).to_vec();
            guesses = marked(*form, &changes, Coding { nrz_m: true, ..Coding::NONE }, marker);
        }
        // A block code that decodes leaves no doubt; markers alone may be those of command units.
        if guesses.first().is_some_and(|best| weight(best).0) {
            return guesses;
        }
        let commands = commands(*form, sample);
        if !commands.is_empty() {
            return commands;
        }
        if guesses.is_empty() && *form == Symbols::Packed {
            guesses = headers::bare(&stream);
        }
        if guesses.is_empty() {
            guesses = inner(*form, sample, marker);
        }
        if !guesses.is_empty() {
            return guesses;
        }
    }
    Vec::new()
}

/// Readings of a stream of marked blocks.
fn marked(symbols: Symbols, stream: &[u8], around: Coding, marker: Option<Marker>) -> Vec<Guess> {
    let Some(found) = markers::find(stream, marker) else { return Vec::new() };
    let blocks = markers::blocks(stream, &found, BLOCKS_MAX);
    let mut guesses = Vec::new();
    for coded in codes::fitting(&blocks) {
        let Coding { convolutional, nrz_m, .. } = around;
        let coding = Coding { convolutional, nrz_m, ..coded.coding };
        let read = headers::read(&coded.frames);
        // Without a code to vouch for them, frames must speak for themselves.
        if coding.block == BlockCode::None && read.is_none() {
            continue;
        }
        let frame_bytes = coded.frames.first().map_or(0, |frame| frame.len());
        let mut evidence = Vec::from([found.evidence]);
        evidence.extend(coded.evidence);
        let frames = read.map(|read| {
            evidence.extend(read.evidence);
            read.config
        });
        let framing = Framing::Cadus { marker: found.marker, coding };
        guesses.push(Guess { symbols, framing, frame_bytes, frames, evidence });
    }
    guesses.sort_by_key(|guess| core::cmp::Reverse(weight(guess)));
    // A code that fits without a sequence is none where it fits with one and gives frames.
    if guesses.first().is_some_and(|best| best.frames.is_some()) {
        guesses.retain(|guess| guess.frames.is_some());
    }
    guesses
}

/// How much a reading explains: a code that decodes, then frames that are known.
const fn weight(guess: &Guess) -> (bool, bool, usize) {
    let coded = match guess.framing {
        Framing::Cadus { coding, .. } => !matches!(coding.block, BlockCode::None),
        _ => false,
    };
    (coded, guess.frames.is_some(), guess.evidence.len())
}

/// Readings of a stream of command units.
fn commands(form: Symbols, sample: &[u8]) -> Vec<Guess> {
    let sample = sample.get(..COMMAND_BYTES_MAX).unwrap_or(sample);
    let read = |coding: CltuCoding| {
        let (mut decoder, mut frames) = (CltuDecoder::new(coding), Vec::new());
        let mut take = |frame: Bytes| frames.push(frame.to_vec());
        decoder.push(form, sample, &mut take);
        decoder.finish(&mut take);
        let counts = decoder.counts();
        let units = Evidence {
            what: "command units that lead to a tail",
            fits: counts.tails,
            of: counts.units,
        };
        let read = headers::read_each(Kind::Tc, &frames)?;
        // Units of the longer LDPC code have no tail: there the frames' own checks must hold.
        let checked = matches!(&read.config, FrameConfig::Tc(config) if config.fecf);
        let fits = units.at_least(50) || checked && units.of > 1;
        let mut evidence = Vec::from([units]);
        evidence.extend(read.evidence);
        let (framing, frames) = (Framing::Cltus(coding), Some(read.config));
        fits.then_some(Guess { symbols: form, framing, frame_bytes: 0, frames, evidence })
    };
    CltuCoding::ALL.into_iter().filter_map(read).collect()
}

/// Readings of a stream with a convolutional code around everything.
fn inner(form: Symbols, sample: &[u8], marker: Option<Marker>) -> Vec<Guess> {
    let soft = softened(form, sample);
    // Text has no sign bit and sparse data few ones: only what is as much one as the other, nearly
    // all of it sure, can be a coded stream.
    let (ones, unsure) = soft.iter().fold((0, 0), |(ones, unsure), symbol| {
        (ones + usize::from(*symbol < 0), unsure + usize::from(*symbol == 0))
    });
    let share = Evidence::new("", ones, soft.len());
    if !share.at_least(35) || share.at_least(65) || 10 * unsure > soft.len() {
        return Vec::new();
    }
    for rate in Rate::ALL {
        let candidates: Vec<Code> = Code::variants(rate).collect();
        let window = Synchroniser::new(candidates.iter().copied()).window();
        // Fewer symbols than a search wants prove nothing.
        let Some(start) = soft.get(..window) else { continue };
        let Some(found) = sync::search(&candidates, start) else { continue };
        if 2.0 * found.growth > found.other {
            continue;
        }
        let mut bytes = Vec::new();
        let mut decoder = Synchroniser::new([found.code]);
        decoder.push(&soft, &mut bytes, |_| {});
        decoder.finish(&mut bytes);
        let code = Some(Convolutional::Known(found.code));
        let agreeing = (1000.0 * (1.0 - found.growth)) as usize;
        let evidence =
            Evidence::new("symbols in a thousand that the best path fits", agreeing, 1000);
        let around = Coding { convolutional: code, ..Coding::NONE };
        let mut guesses = marked(form, &bytes, around, marker);
        if guesses.is_empty() {
            let changes = NrzM::default().decode(&bytes).to_vec();
            guesses = marked(form, &changes, Coding { nrz_m: true, ..around }, marker);
        }
        guesses.iter_mut().for_each(|guess| guess.evidence.insert(0, evidence));
        if guesses.is_empty() {
            guesses.push(Guess {
                symbols: form,
                framing: Framing::Cadus {
                    marker: marker.unwrap_or(Marker::TELEMETRY),
                    coding: Coding { convolutional: code, ..Coding::NONE },
                },
                frame_bytes: 0,
                frames: None,
                evidence: Vec::from([evidence]),
            });
        }
        return guesses;
    }
    Vec::new()
}

/// The symbols of a stream as the convolutional decoder wants them.
fn softened(form: Symbols, sample: &[u8]) -> Vec<i8> {
    let of = |bit: u8| if bit & 1 == 1 { -64 } else { 64 };
    match form {
        Symbols::Packed => {
            let bytes = sample.iter().take(INNER_SYMBOLS_MAX / 8);
            bytes.flat_map(|byte| (0..8).rev().map(move |n| of(byte >> n))).collect()
        }
        Symbols::Bits => sample.iter().take(INNER_SYMBOLS_MAX).map(|bit| of(*bit)).collect(),
        Symbols::Soft => {
            let symbols = || sample.iter().take(INNER_SYMBOLS_MAX).map(|symbol| *symbol as i8);
            let sum: u64 = symbols().map(|symbol| u64::from(symbol.unsigned_abs())).sum();
            let mean = (sum / symbols().count().max(1) as u64).max(1) as i32;
            symbols().map(|soft| (i32::from(soft) * 64 / mean).clamp(-127, 127) as i8).collect()
        }
    }
}
