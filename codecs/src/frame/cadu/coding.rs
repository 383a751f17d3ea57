//! What is done to frames before they are sent, and its text.

use super::{CaduError, MAX_FRAME_BYTES};
use crate::fec::reed_solomon::{Basis, Block, Code, Strength};
use crate::fec::{convolutional, ldpc};
use crate::sync::marker::Marker;
use crate::sync::randomizer::Sequence;
use core::{fmt, str::FromStr};

/// Interleaved Reed-Solomon codewords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReedSolomon {
    /// The code of each codeword.
    pub code: Code,
    /// How many codewords are interleaved.
    pub interleave: usize,
}

/// What makes blocks of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockCode {
    /// A block is a frame.
    None,
    /// Reed-Solomon codewords, shortened to the frame by virtual fill.
    ReedSolomon(ReedSolomon),
    /// One codeword a frame, which has as many bits as the code carries.
    Ldpc(ldpc::Code),
}

/// The convolutional code around the stream of marked blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convolutional {
    /// This one.
    Known(convolutional::Code),
    /// One of those of a rate, as the symbols tell: with or without the inverter, in either order.
    Any(convolutional::Rate),
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
/// `conv:1/2,rs:223:i4:dual,randomized`.
///
/// Parts are separated by commas. `rs:K:iN:BASIS` is the Reed-Solomon code (255,K), K 223 or 239,
/// of depth N, `dual` or `conventional`; its virtual fill follows from the length of the frames.
/// `ldpc:c2` and `ldpc:RATE:K` (1/2, 2/3 or 4/5; 1024, 4096 or 16384) are the LDPC codes.
/// `conv:RATE` is the convolutional code as the standard has it, `conv:RATE:any` one of those that
/// spacecraft fly; `:inverted`, `:plain` and `:swapped` say exactly which (C2 inverted, not
/// inverted, sent before C1). `nrzm` is a line code that shows a 1 by a change, made of the marked
/// stream before a convolutional code.
/// `randomized:255` and `randomized:131071` name the sequence; `randomized` alone leaves it to the
/// first block that decodes with one of them, which takes a block code. `none` is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coding {
    /// The code around everything else, if there is one.
    pub convolutional: Option<Convolutional>,
    /// A 1 is a change of the line, a 0 none (NRZ-M, CCSDS 401.0-B): whichever polarity the
    /// receiver has, the bits are right.
    pub nrz_m: bool,
    /// The code of blocks.
    pub block: BlockCode,
    /// The randomiser.
    pub randomized: Randomized,
}

impl Coding {
    /// Frames as they are.
    pub const NONE: Self = Self {
        convolutional: None,
        nrz_m: false,
        block: BlockCode::None,
        randomized: Randomized::No,
    };

    /// The marker that the standard puts before blocks of this coding (CCSDS 131.0-B-6 §9).
    pub const fn marker(&self) -> Marker {
        match self.block {
            BlockCode::Ldpc(ldpc::Code::Ar4ja(..)) => Marker::LONG,
            _ => Marker::TELEMETRY,
        }
    }

    /// The Reed-Solomon blocks of frames of a length, where that is the code.
    pub fn reed_solomon(&self, frame_bytes: usize) -> Result<Option<Block>, CaduError> {
        let BlockCode::ReedSolomon(ReedSolomon { code, interleave }) = self.block else {
            return Ok(None);
        };
        let most = interleave * code.strength.information();
        if frame_bytes > most || !frame_bytes.is_multiple_of(interleave) {
            return Err(CaduError::Frame { frame_bytes, interleave, most });
        }
        let fill = code.strength.information() - frame_bytes / interleave;
        Ok(Some(Block::new(code, interleave, fill)?))
    }

    /// Bytes between two markers where frames have this length.
    pub fn block_bytes(&self, frame_bytes: usize) -> Result<usize, CaduError> {
        if !(1..=MAX_FRAME_BYTES).contains(&frame_bytes) {
            return Err(CaduError::FrameBytes(frame_bytes));
        }
        match self.block {
            BlockCode::None => Ok(frame_bytes),
            BlockCode::ReedSolomon(_) => {
                Ok(self.reed_solomon(frame_bytes)?.map_or(frame_bytes, |block| block.bytes()))
            }
            BlockCode::Ldpc(code) => {
                let carried = code.info_bits() / 8;
                match frame_bytes == carried {
                    true => Ok(code.symbols() / 8),
                    false => Err(CaduError::Ldpc { frame_bytes, carried }),
                }
            }
        }
    }
}

/// Why a text names no [`Coding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodingError {
    /// The part with this number is not known, or of a kind that stands before it already.
    #[error(
        "part {0} is not known, or one like it stands before. Parts are joined by commas, such as \
         conv:1/2,rs:223:i4:dual,randomized:255: \
         rs:223:i4:dual (223 or 239; i1, i2, i3, i4, i5 or i8; dual or conventional); ldpc:c2 or \
         ldpc:1/2:1024 (1/2, 2/3 or 4/5; 1024, 4096 or 16384); conv:1/2 (1/2, 2/3, 3/4, 5/6 or \
         7/8; :any, :inverted, :plain, :swapped); nrzm; randomized, randomized:255, \
         randomized:131071; or none"
    )]
    Shape(usize),
    /// Nothing tells which sequence fits.
    #[error(
        "without a block code nothing tells which sequence fits: say randomized:255 (older \
         missions) or randomized:131071 (CCSDS 131.0-B-6)"
    )]
    Sequence,
    /// A pair of codes that does not go together.
    #[error("an LDPC code stands alone: nothing defines a convolutional code around it")]
    Concatenated,
}

impl FromStr for Coding {
    type Err = CodingError;

    fn from_str(text: &str) -> Result<Self, CodingError> {
        let mut coding = Self::NONE;
        if text == "none" {
            return Ok(coding);
        }
        for (place, part) in text.split(',').enumerate() {
            let unknown = CodingError::Shape(place + 1);
            let part = part.trim();
            let uncoded = coding.block == BlockCode::None;
            match part.split_once(':') {
                Some(("rs", code)) if uncoded => {
                    let code = reed_solomon(code).ok_or(unknown)?;
                    coding.block = BlockCode::ReedSolomon(code);
                }
                Some(("ldpc", code)) if uncoded => {
                    coding.block = BlockCode::Ldpc(ldpc_code(code).ok_or(unknown)?);
                }
                Some(("conv", code)) if coding.convolutional.is_none() => {
                    coding.convolutional = Some(convolutional(code).ok_or(unknown)?);
                }
                Some(("randomized", sequence)) if coding.randomized == Randomized::No => {
                    let sequence = sequence.parse().map_err(|_| unknown)?;
                    coding.randomized = Randomized::With(sequence);
                }
                None if part == "nrzm" && !coding.nrz_m => coding.nrz_m = true,
                None if part == "randomized" && coding.randomized == Randomized::No => {
                    coding.randomized = Randomized::Either;
                }
                _ => return Err(unknown),
            }
        }
        if coding.block == BlockCode::None && coding.randomized == Randomized::Either {
            return Err(CodingError::Sequence);
        }
        if matches!(coding.block, BlockCode::Ldpc(_)) && coding.convolutional.is_some() {
            return Err(CodingError::Concatenated);
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

/// Reads `c2` or `1/2:1024`.
fn ldpc_code(text: &str) -> Option<ldpc::Code> {
    let telemetry = |code: &ldpc::Code| matches!(code, ldpc::Code::C2 | ldpc::Code::Ar4ja(..));
    ldpc::Code::ALL.into_iter().filter(telemetry).find(|code| LdpcText(*code).is(text))
}

/// Reads `1/2`, `1/2:any` or `1/2:inverted:swapped`.
fn convolutional(text: &str) -> Option<Convolutional> {
    let (rate, options) = text.split_once(':').unwrap_or((text, ""));
    let rate = convolutional::Rate::ALL.into_iter().find(|known| rate_text(*known) == rate)?;
    let mut code = convolutional::Code::standard(rate);
    match options {
        "" if text == rate_text(rate) => {}
        "any" => return Some(Convolutional::Any(rate)),
        options => {
            for option in options.split(':') {
                code = match option {
                    "inverted" => code.with_inverter(true),
                    "plain" => code.with_inverter(false),
                    "swapped" if rate == convolutional::Rate::Half => code.with_c2_first(true),
                    _ => return None,
                };
            }
        }
    }
    Some(Convolutional::Known(code))
}

const fn rate_text(rate: convolutional::Rate) -> &'static str {
    match rate {
        convolutional::Rate::Half => "1/2",
        convolutional::Rate::TwoThirds => "2/3",
        convolutional::Rate::ThreeQuarters => "3/4",
        convolutional::Rate::FiveSixths => "5/6",
        convolutional::Rate::SevenEighths => "7/8",
    }
}

/// An LDPC code as users write it.
struct LdpcText(ldpc::Code);

impl LdpcText {
    /// Whether the text names this code; without an allocation.
    fn is(&self, text: &str) -> bool {
        let (rate, bits) = text.split_once(':').unwrap_or((text, ""));
        match self.0 {
            ldpc::Code::Ar4ja(own, _) => {
                rate == Self::rate(own) && bits.parse() == Ok(self.0.info_bits())
            }
            _ => text == "c2",
        }
    }

    const fn rate(rate: ldpc::Rate) -> &'static str {
        match rate {
            ldpc::Rate::Half => "1/2",
            ldpc::Rate::TwoThirds => "2/3",
            ldpc::Rate::FourFifths => "4/5",
        }
    }
}

impl fmt::Display for LdpcText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ldpc::Code::Ar4ja(rate, _) => {
                write!(f, "ldpc:{}:{}", Self::rate(rate), self.0.info_bits())
            }
            _ => f.write_str("ldpc:c2"),
        }
    }
}

impl fmt::Display for Convolutional {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = match self {
            Self::Any(rate) => return write!(f, "conv:{}:any", rate_text(*rate)),
            Self::Known(code) => code,
        };
        write!(f, "conv:{}", rate_text(code.rate))?;
        if code.inverted != convolutional::Code::standard(code.rate).inverted {
            f.write_str(if code.inverted { ":inverted" } else { ":plain" })?;
        }
        if code.c2_first { f.write_str(":swapped") } else { Ok(()) }
    }
}

impl fmt::Display for ReedSolomon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, interleave } = self;
        let basis = match code.basis {
            Basis::Dual => "dual",
            Basis::Conventional => "conventional",
        };
        write!(f, "rs:{}:i{interleave}:{basis}", code.strength.information())
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE {
            return f.write_str("none");
        }
        let mut comma = "";
        if let Some(code) = self.convolutional {
            write!(f, "{code}")?;
            comma = ",";
        }
        if self.nrz_m {
            write!(f, "{comma}nrzm")?;
            comma = ",";
        }
        match self.block {
            BlockCode::None => {}
            BlockCode::ReedSolomon(code) => write!(f, "{comma}{code}")?,
            BlockCode::Ldpc(code) => write!(f, "{comma}{}", LdpcText(code))?,
        }
        if self.block != BlockCode::None {
            comma = ",";
        }
        match self.randomized {
            Randomized::No => Ok(()),
            Randomized::With(sequence) => write!(f, "{comma}randomized:{sequence}"),
            Randomized::Either => write!(f, "{comma}randomized"),
        }
    }
}
