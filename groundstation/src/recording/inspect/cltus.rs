//! What `groundstation inspect` tells of a stream of command units.

use crate::recording::source::Setup;
use codecs::frame::Framing;
use codecs::frame::cltu::CltuDecoder;
use serde::Serialize;

/// The part `cltus` of the document of `--json`.
#[derive(Debug, Serialize)]
pub struct Cltus {
    coding: String,
    symbols: String,
    /// Units that held a frame; how they ended is below.
    units: u64,
    tails: u64,
    rejected: u64,
    cut: u64,
    corrected_blocks: u64,
    frames: u64,
    leftover_bytes: u64,
    /// Start sequences that led to no frame.
    false_starts: u64,
}

impl Cltus {
    /// What a decoder counted to the end of its stream.
    pub fn new(setup: &Setup, decoder: &CltuDecoder) -> Option<Self> {
        let Framing::Cltus(coding) = setup.framing else { return None };
        let counts = decoder.counts();
        Some(Self {
            coding: coding.to_string(),
            symbols: setup.symbols.to_string(),
            units: counts.units,
            tails: counts.tails,
            rejected: counts.rejected,
            cut: counts.cut,
            corrected_blocks: counts.corrected_blocks,
            frames: counts.frames,
            leftover_bytes: counts.leftover_bytes,
            false_starts: counts.false_starts,
        })
    }

    /// What is wrong with the whole stream, if anything.
    pub fn verdict(&self) -> Option<String> {
        (self.units == 0).then(|| {
            format!(
                "no start sequence of {} leads to a frame: another code or randomiser (see \
                 --coding), or frames end to end (leave --coding out)",
                self.coding
            )
        })
    }

    /// Rows of the table.
    pub fn rows(&self) -> [(&'static str, String); 3] {
        [
            ("units", format!("{} of {}", self.units, self.coding)),
            (
                "  ends",
                format!(
                    "{} tails, {} blocks beyond repair, {} cut",
                    self.tails, self.rejected, self.cut
                ),
            ),
            (
                "  blocks",
                format!(
                    "{} corrected; {} false starts, {} bytes left over",
                    self.corrected_blocks, self.false_starts, self.leftover_bytes
                ),
            ),
        ]
    }
}
