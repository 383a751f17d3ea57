//! Channel access data units to frames: marker, randomiser and Reed-Solomon code undone.
//!
//! ```text
//! chunks ─► sync::marker ─► sync::randomizer ─► fec::reed_solomon ─► frames with their quality
//! ```
//!
//! A block is copied once, out of the chunk, and everything else happens in that place: frames are
//! slices of buffers that many of them share. A frame costs no allocation.

#[cfg(test)]
mod tests;

use super::MAX_FRAME_BYTES;
use crate::fec::reed_solomon::{Basis, Block, BlockError, Code, Report, Strength};
use crate::sync::marker::{
    self, ConfigError, Found, Marker, MarkerConfig, SyncCounts, Synchronizer,
};
use crate::sync::randomizer::{Randomizer, Sequence};
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::{fmt, str::FromStr};

/// Bytes of a buffer that frames share.
const BUFFER_BYTES: usize = 256 * 1024;

/// Interleaved Reed-Solomon codewords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReedSolomon {
    /// The code of each codeword.
    pub code: Code,
    /// How many codewords are interleaved.
    pub interleave: usize,
}

/// Whether blocks are randomised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Randomized {
    /// They are not.
    No,
    /// With this sequence.
    With(Sequence),
    /// With one of the two telemetry sequences: the one with which a first block decodes.
    Either,
}

/// What is done to frames before they are sent, as users write it:
/// `rs:223:i4:dual,randomized`.
///
/// Parts are separated by commas. `rs:K:iN:BASIS` is the Reed-Solomon code (255,K), K 223 or 239,
/// of depth N, `dual` or `conventional`; its virtual fill follows from the length of the frames.
/// `randomized:255` and `randomized:131071` name the sequence; `randomized` alone leaves it to the
/// first block that decodes with one of them, which takes a Reed-Solomon code. `none` is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coding {
    /// The code, if there is one.
    pub reed_solomon: Option<ReedSolomon>,
    /// The randomiser.
    pub randomized: Randomized,
}

impl Coding {
    /// Frames as they are.
    pub const NONE: Self = Self { reed_solomon: None, randomized: Randomized::No };

    /// The blocks of frames of a length.
    pub fn block(&self, frame_bytes: usize) -> Result<Option<Block>, CaduError> {
        if !(1..=MAX_FRAME_BYTES).contains(&frame_bytes) {
            return Err(CaduError::FrameBytes(frame_bytes));
        }
        let Some(ReedSolomon { code, interleave }) = self.reed_solomon else { return Ok(None) };
        let most = interleave * code.strength.information();
        if frame_bytes > most || !frame_bytes.is_multiple_of(interleave) {
            return Err(CaduError::Frame { frame_bytes, interleave, most });
        }
        let fill = code.strength.information() - frame_bytes / interleave;
        Ok(Some(Block::new(code, interleave, fill)?))
    }
}

/// Why a text names no [`Coding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodingError {
    /// A part is not known, or stands twice.
    #[error(
        "expected rs:223:i4:dual (223 or 239; i1, i2, i3, i4, i5 or i8; dual or conventional), \
         randomized, randomized:255 or randomized:131071, joined by a comma; or none"
    )]
    Shape,
    /// Nothing tells which sequence fits.
    #[error(
        "without a Reed-Solomon code nothing tells which sequence fits: say randomized:255 (older \
         missions) or randomized:131071 (CCSDS 131.0-B-6)"
    )]
    Sequence,
}

impl FromStr for Coding {
    type Err = CodingError;

    fn from_str(text: &str) -> Result<Self, CodingError> {
        let mut coding = Self::NONE;
        if text == "none" {
            return Ok(coding);
        }
        for part in text.split(',') {
            match part.trim().split_once(':') {
                Some(("rs", code)) if coding.reed_solomon.is_none() => {
                    coding.reed_solomon = Some(reed_solomon(code).ok_or(CodingError::Shape)?);
                }
                Some(("randomized", sequence)) if coding.randomized == Randomized::No => {
                    let sequence = sequence.parse().map_err(|_| CodingError::Shape)?;
                    coding.randomized = Randomized::With(sequence);
                }
                None if part.trim() == "randomized" && coding.randomized == Randomized::No => {
                    coding.randomized = Randomized::Either;
                }
                _ => return Err(CodingError::Shape),
            }
        }
        if coding.reed_solomon.is_none() && coding.randomized == Randomized::Either {
            return Err(CodingError::Sequence);
        }
        Ok(coding)
    }
}

/// Reads `223:i4:dual`.
fn reed_solomon(text: &str) -> Option<ReedSolomon> {
    let mut parts = text.split(':');
    let strength = match parts.next()? {
        "223" => Strength::Sixteen,
        "239" => Strength::Eight,
        _ => return None,
    };
    let interleave = parts.next()?.strip_prefix('i')?.parse().ok()?;
    let basis = match parts.next()? {
        "dual" => Basis::Dual,
        "conventional" => Basis::Conventional,
        _ => return None,
    };
    let known = matches!(interleave, 1 | 2 | 3 | 4 | 5 | 8) && parts.next().is_none();
    known.then_some(ReedSolomon { code: Code { strength, basis }, interleave })
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ReedSolomon { code, interleave }) = self.reed_solomon {
            let basis = match code.basis {
                Basis::Dual => "dual",
                Basis::Conventional => "conventional",
            };
            write!(f, "rs:{}:i{interleave}:{basis}", code.strength.information())?;
            if self.randomized != Randomized::No {
                f.write_str(",")?;
            }
        }
        match self.randomized {
            Randomized::No if self.reed_solomon.is_none() => f.write_str("none"),
            Randomized::No => Ok(()),
            Randomized::With(sequence) => write!(f, "randomized:{sequence}"),
            Randomized::Either => f.write_str("randomized"),
        }
    }
}

/// Why units can't be read or written like that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaduError {
    /// No frame has this length.
    #[error("a frame of {0} bytes; 1 to {MAX_FRAME_BYTES} are possible")]
    FrameBytes(usize),
    /// The code's blocks don't carry frames of this length.
    #[error(
        "frames of {frame_bytes} bytes don't fit the code: it carries multiples of {interleave} \
         up to {most}"
    )]
    Frame {
        /// Length of the frames.
        frame_bytes: usize,
        /// Codewords of a block.
        interleave: usize,
        /// Bytes that a block carries without virtual fill.
        most: usize,
    },
    /// The block is impossible.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The marker can't be looked for like that.
    #[error(transparent)]
    Marker(#[from] ConfigError),
}

/// How well a frame came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quality {
    /// Wrong bits in the marker.
    pub marker_errors: u32,
    /// What became of the codewords; none where there is no code.
    pub codewords: Report,
}

impl Quality {
    /// Whether every codeword was right or was corrected.
    pub fn is_good(&self) -> bool {
        self.codewords.failed() == 0
    }
}

/// A frame of a stream of units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its bytes, as good as they could be made: see [`Quality::is_good`].
    pub bytes: Bytes,
    /// How well it came through.
    pub quality: Quality,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaduCounts {
    /// Markers.
    pub sync: SyncCounts,
    /// Codewords seen.
    pub codewords: u64,
    /// Of them, those that were corrected.
    pub corrected_codewords: u64,
    /// Of them, those that could not be corrected.
    pub failed_codewords: u64,
    /// Symbols corrected, parity symbols included.
    pub corrected_symbols: u64,
    /// Frames with a codeword that could not be corrected.
    pub failed_frames: u64,
}

/// Reads one stream of units.
#[derive(Debug)]
pub struct CaduDecoder {
    synchronizer: Synchronizer,
    blocks: BlockDecoder,
}

impl CaduDecoder {
    /// Reads units of frames of a length, behind a marker.
    pub fn new(coding: &Coding, frame_bytes: usize, marker: Marker) -> Result<Self, CaduError> {
        let blocks = BlockDecoder::new(coding, frame_bytes)?;
        let config = MarkerConfig::new(marker, blocks.block_bytes);
        Self::with_marker(coding, frame_bytes, config)
    }

    /// The same with every parameter of the marker; its `block_bytes` follow from the frames.
    pub fn with_marker(
        coding: &Coding,
        frame_bytes: usize,
        mut config: MarkerConfig,
    ) -> Result<Self, CaduError> {
        let blocks = BlockDecoder::new(coding, frame_bytes)?;
        config.block_bytes = blocks.block_bytes;
        Ok(Self { synchronizer: Synchronizer::new(config)?, blocks })
    }

    /// Takes the next bytes of the stream, and hands out each frame that they complete.
    pub fn push(&mut self, chunk: &[u8], sink: &mut impl FnMut(Frame)) {
        let Self { synchronizer, blocks } = self;
        synchronizer.push(chunk, &mut |event| {
            if let marker::Event::Block(found) = event {
                sink(blocks.decode(&found));
            }
        });
    }

    /// Ends the stream, and hands out the frames that waited for a marker behind them.
    pub fn finish(&mut self, sink: &mut impl FnMut(Frame)) {
        let Self { synchronizer, blocks } = self;
        synchronizer.finish(&mut |event| {
            if let marker::Event::Block(found) = event {
                sink(blocks.decode(&found));
            }
        });
    }

    /// What happened so far.
    pub fn counts(&self) -> CaduCounts {
        CaduCounts { sync: *self.synchronizer.counts(), ..self.blocks.counts }
    }

    /// The sequence in use; `None` where there is none, or none fitted yet.
    pub fn sequence(&self) -> Option<Sequence> {
        match &self.blocks.randomizers[..] {
            [only] => Some(only.sequence()),
            _ => None,
        }
    }
}

/// Undoes what the marker does not tell.
#[derive(Debug)]
struct BlockDecoder {
    code: Option<Block>,
    /// None, the one in use, or those that may be in use.
    randomizers: Vec<Randomizer>,
    frame_bytes: usize,
    block_bytes: usize,
    buffer: BytesMut,
    counts: CaduCounts,
}

impl BlockDecoder {
    fn new(coding: &Coding, frame_bytes: usize) -> Result<Self, CaduError> {
        let code = coding.block(frame_bytes)?;
        let block_bytes = code.as_ref().map_or(frame_bytes, Block::bytes);
        let sequences: &[Sequence] = match &coding.randomized {
            Randomized::No => &[],
            Randomized::With(sequence) => core::slice::from_ref(sequence),
            Randomized::Either => &[Sequence::Long, Sequence::Legacy],
        };
        let randomizers =
            sequences.iter().map(|sequence| Randomizer::new(*sequence, block_bytes)).collect();
        let counts = CaduCounts::default();
        let buffer = BytesMut::new();
        Ok(Self { code, randomizers, frame_bytes, block_bytes, buffer, counts })
    }

    fn decode(&mut self, found: &Found<'_>) -> Frame {
        let mut block = self.receive(found);
        let codewords = match &self.randomizers[..] {
            [] => self.correct(&mut block),
            [only] => {
                only.apply(&mut block);
                self.correct(&mut block)
            }
            _ => self.settle(&mut block),
        };
        self.count(&codewords);
        let mut bytes = block.freeze();
        bytes.truncate(self.frame_bytes);
        Frame { bytes, quality: Quality { marker_errors: found.marker_errors, codewords } }
    }

    /// The block in a place of its own.
    fn receive(&mut self, found: &Found<'_>) -> BytesMut {
        if self.buffer.capacity() < self.block_bytes {
            self.buffer.reserve(BUFFER_BYTES.max(self.block_bytes));
        }
        self.buffer.resize(self.block_bytes, 0);
        let mut block = self.buffer.split_to(self.block_bytes);
        found.copy_to(&mut block);
        block
    }

    fn correct(&self, block: &mut [u8]) -> Report {
        let report = self.code.as_ref().map(|code| code.decode(block));
        report.and_then(Result::ok).unwrap_or_default()
    }

    /// Finds the sequence with which the block decodes, and keeps to it from then on.
    fn settle(&mut self, block: &mut BytesMut) -> Report {
        let mut first = None;
        for (place, randomizer) in self.randomizers.iter().enumerate() {
            let mut tried = block.clone();
            randomizer.apply(&mut tried);
            let report = self.correct(&mut tried);
            let fits = report.failed() == 0;
            if fits || first.is_none() {
                first = Some((tried, report));
            }
            if fits {
                self.randomizers.swap(0, place);
                self.randomizers.truncate(1);
                break;
            }
        }
        let Some((tried, report)) = first else { return Report::default() };
        *block = tried;
        report
    }

    fn count(&mut self, codewords: &Report) {
        let counts = &mut self.counts;
        counts.codewords += codewords.outcomes().len() as u64;
        counts.corrected_symbols += u64::from(codewords.corrected());
        counts.corrected_codewords += u64::from(codewords.corrected_codewords());
        counts.failed_codewords += u64::from(codewords.failed());
        counts.failed_frames += u64::from(codewords.failed() > 0);
    }
}

/// Writes a stream of units.
#[derive(Clone, Debug)]
pub struct CaduEncoder {
    marker: Marker,
    code: Option<Block>,
    randomizer: Option<Randomizer>,
    frame_bytes: usize,
}

impl CaduEncoder {
    /// Writes frames of a length behind a marker. Where the coding leaves the sequence open, it is
    /// the one that the standard in force prescribes.
    pub fn new(coding: &Coding, frame_bytes: usize, marker: Marker) -> Result<Self, CaduError> {
        let code = coding.block(frame_bytes)?;
        let block_bytes = code.as_ref().map_or(frame_bytes, Block::bytes);
        let sequence = match coding.randomized {
            Randomized::No => None,
            Randomized::With(sequence) => Some(sequence),
            Randomized::Either => Some(Sequence::Long),
        };
        let randomizer = sequence.map(|sequence| Randomizer::new(sequence, block_bytes));
        Ok(Self { marker, code, randomizer, frame_bytes })
    }

    /// Appends the unit of a frame.
    pub fn push(&self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), CaduError> {
        if frame.len() != self.frame_bytes {
            return Err(CaduError::FrameBytes(frame.len()));
        }
        out.extend(self.marker.to_bytes());
        let start = out.len();
        out.extend_from_slice(frame);
        out.resize(start + self.code.as_ref().map_or(self.frame_bytes, Block::bytes), 0);
        let (_, block) = out.split_at_mut(start);
        if let Some(code) = &self.code {
            code.encode(block)?;
        }
        if let Some(randomizer) = &self.randomizer {
            randomizer.apply(block);
        }
        Ok(())
    }
}
