//! Wear: bytes that went to the medium, by cause.

use codecs::ids::Channel;
use serde::Serialize;

use super::format::Record;

/// Slot in which each segment says what was written before it; no one else's.
pub(super) const WRITTEN_SLOT: u32 = 0xfffe_0000;

/// Bytes written since the store was formatted, failed writes included. After a boot what cleaning
/// wrote to the newest segment counts as units: the segment does not tell the two apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Units, once each.
    pub units: u64,
    /// Voids.
    pub voids: u64,
    /// Receipts, asks and small values.
    pub receipts: u64,
    /// Headers and the state that each segment repeats.
    pub checkpoints: u64,
    /// Copies of what was live in a segment that was erased.
    pub cleaning: u64,
}

impl Written {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.fields().iter().sum()
    }

    /// Bytes written for one byte of units and voids; 1 where nothing was.
    pub fn amplification(&self) -> f64 {
        match self.units + self.voids {
            0 => 1.0,
            wanted => self.total() as f64 / wanted as f64,
        }
    }

    /// Erase blocks of so many bytes that this filled: what the device erased at least. Where segments
    /// are whole blocks and no one else writes there, hardly more.
    pub fn erases(&self, erase_block: u64) -> u64 {
        self.total().div_ceil(erase_block.max(1))
    }

    fn fields(&self) -> [u64; 5] {
        [self.units, self.voids, self.receipts, self.checkpoints, self.cleaning]
    }

    pub(super) fn add(&mut self, record: &Record, bytes: u64) {
        let cause = match record {
            Record::Unit(unit) if unit.channel == Channel::VOIDS => &mut self.voids,
            Record::Unit(_) => &mut self.units,
            Record::Receipt(_) | Record::Asked(_) | Record::Note(_) => &mut self.receipts,
            Record::Checkpoint(_) | Record::Batch(_) => &mut self.checkpoints,
        };
        *cause += bytes;
    }

    pub(super) fn extend(&mut self, other: &Self) {
        let [units, voids, receipts, checkpoints, cleaning] = other.fields();
        self.units += units;
        self.voids += voids;
        self.receipts += receipts;
        self.checkpoints += checkpoints;
        self.cleaning += cleaning;
    }

    pub(super) fn encode(&self) -> [u8; 40] {
        let mut out = [0; 40];
        let (words, _) = out.as_chunks_mut::<8>();
        words.iter_mut().zip(self.fields()).for_each(|(word, of)| *word = of.to_be_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (words, _) = bytes.first_chunk::<40>()?.as_chunks::<8>();
        let mut words = words.iter().map(|word| u64::from_be_bytes(*word));
        Some(Self {
            units: words.next()?,
            voids: words.next()?,
            receipts: words.next()?,
            checkpoints: words.next()?,
            cleaning: words.next()?,
        })
    }
}
