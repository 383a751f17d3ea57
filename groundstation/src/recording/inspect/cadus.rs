//! What `groundstation inspect` tells of a stream of marked and coded units.

use crate::recording::source::Setup;
use codecs::frame::Framing;
use codecs::frame::cadu::{CaduDecoder, Coding, Convolutional};
use serde::Serialize;

/// The part `cadus` of the document of `--json`.
#[derive(Debug, Serialize)]
pub struct Cadus {
    coding: String,
    marker: String,
    symbols: String,
    /// Times that the convolutional code's pattern was found, and lost; absent without such a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    convolutional: Option<Lock>,
    /// The sequence in use; none where there is none or where none fitted.
    randomizer: Option<String>,
    /// Units found; what their codewords make of them is below.
    blocks: u64,
    missing_markers: u64,
    marker_bit_errors: u64,
    acquired: u64,
    lost: u64,
    slips: u64,
    inversions: u64,
    skipped_bits: u64,
    codewords: u64,
    corrected_codewords: u64,
    corrected_symbols: u64,
    failed_codewords: u64,
    /// Frames left out because a codeword of theirs could not be corrected.
    failed_frames: u64,
}

#[derive(Debug, Serialize)]
struct Lock {
    /// The code in use, as `--coding` names it; none before the first lock.
    code: Option<String>,
    locked: u64,
    lost: u64,
}

impl Cadus {
    /// What a decoder counted to the end of its stream.
    pub fn new(setup: &Setup, decoder: &CaduDecoder) -> Option<Self> {
        let Framing::Cadus { marker, coding } = setup.framing else { return None };
        let counts = decoder.counts();
        let (sync, lock) = (counts.sync, counts.lock);
        let code = lock.code.map(|code| {
            let convolutional = Some(Convolutional::Known(code));
            Coding { convolutional, ..Coding::NONE }.to_string()
        });
        let (locked, lost) = (lock.locked, lock.lost);
        Some(Self {
            coding: coding.to_string(),
            marker: marker.to_string(),
            symbols: setup.symbols.to_string(),
            convolutional: coding.convolutional.map(|_| Lock { code, locked, lost }),
            randomizer: decoder.sequence().map(|sequence| sequence.to_string()),
            blocks: sync.blocks,
            missing_markers: sync.flywheel,
            marker_bit_errors: sync.marker_errors,
            acquired: sync.acquired,
            lost: sync.lost,
            slips: sync.slips,
            inversions: sync.inversions,
            skipped_bits: sync.skipped_bits,
            codewords: counts.codewords,
            corrected_codewords: counts.corrected_codewords,
            corrected_symbols: counts.corrected_symbols,
            failed_codewords: counts.failed_codewords,
            failed_frames: counts.failed_frames,
        })
    }

    /// Bytes of the stream that belong to no unit.
    pub const fn skipped_bytes(&self) -> u64 {
        self.skipped_bits.div_ceil(8)
    }

    /// What is wrong with the whole stream, if anything.
    pub fn verdict(&self) -> Option<String> {
        if self.convolutional.as_ref().is_some_and(|lock| lock.locked == 0) {
            return Some(format!(
                "no convolutional code fits the symbols as {}: another rate or variant (:any tries all of a rate, see --coding), form \
                 of symbols (see --symbols), or noise",
                self.coding
            ));
        }
        if self.blocks == 0 {
            return Some(format!(
                "no marker {} with another one block behind it: wrong marker (see --asm), frame \
                 length (see --frame) or coding (see --coding)",
                self.marker
            ));
        }
        (self.failed_frames == self.blocks).then(|| {
            format!("no unit decodes as {}: another code, basis or randomiser?", self.coding)
        })
    }

    /// Rows of the table.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let randomizer = self.randomizer.as_deref().unwrap_or("none");
        let lock = self.convolutional.as_ref().map(|lock| {
            let code = lock.code.as_deref().unwrap_or("none");
            ("  inner code", format!("{code}, {} found, {} lost", lock.locked, lock.lost))
        });
        let rows = [
            ("units", format!("{} behind {}, {}", self.blocks, self.marker, self.coding)),
            ("  randomiser", randomizer.to_owned()),
            (
                "  markers",
                format!("{} missing, {} wrong bits", self.missing_markers, self.marker_bit_errors),
            ),
            (
                "  alignment",
                format!(
                    "{} found, {} lost, {} slips, {} inversions, {} bytes skipped",
                    self.acquired,
                    self.lost,
                    self.slips,
                    self.inversions,
                    self.skipped_bytes()
                ),
            ),
            (
                "  codewords",
                format!(
                    "{}, {} corrected ({} symbols), {} failed",
                    self.codewords,
                    self.corrected_codewords,
                    self.corrected_symbols,
                    self.failed_codewords
                ),
            ),
            ("  frames failed", self.failed_frames.to_string()),
        ];
        lock.into_iter().chain(rows).collect()
    }
}
