//! The index of a sealed segment: where each of its units stands. Derived, so never synced and
//! rebuilt by a scan when it is missing or damaged.
//!
//! ```text
//!  0  8 "GTINDEX1"    24  4 prefixes, then for each:
//!  8  8 segment           16 origin, 8 epoch, 8 channel, 2 spacecraft, 2 zero, 4 units,
//! 16  4 CRC-32C           then for each unit 8 sequence, 8 offset, in order of sequence
//! 20  4 zero
//! ```

use codecs::{
    fec::crc::crc32c,
    ids::{Channel, KeyPrefix, Origin, RangeSet, SeqRange, SpacecraftId, StoreEpoch, UnitKey},
};
use std::collections::BTreeMap;

const MAGIC: [u8; 8] = *b"GTINDEX1";

/// Offsets of a segment's units by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    entries: BTreeMap<KeyPrefix, BTreeMap<u64, u64>>,
}

/// File name of a segment's index.
pub fn file_name(number: u64) -> String {
    format!("{number:010}.index")
}

impl Index {
    /// Adds a unit. Whether its key was new: a second record under one key stays unindexed.
    pub fn add(&mut self, key: &UnitKey, offset: u64) -> bool {
        let sequences = self.entries.entry(key.prefix).or_default();
        let new = !sequences.contains_key(&key.sequence);
        sequences.entry(key.sequence).or_insert(offset);
        new
    }

    /// Where a unit's record begins.
    pub fn find(&self, key: &UnitKey) -> Option<u64> {
        self.entries.get(&key.prefix)?.get(&key.sequence).copied()
    }

    /// Keys by offset: names a record whose own header is damaged.
    pub fn by_offset(&self) -> BTreeMap<u64, UnitKey> {
        let all = self.entries.iter().flat_map(|(prefix, sequences)| {
            sequences.iter().map(|(sequence, offset)| {
                (*offset, UnitKey { prefix: *prefix, sequence: *sequence })
            })
        });
        all.collect()
    }

    /// Sequences by prefix: tells which segment has a key without its offsets in memory.
    pub fn ranges(&self) -> BTreeMap<KeyPrefix, RangeSet> {
        let ranges = self.entries.iter().map(|(prefix, sequences)| {
            let ranges = sequences.keys().map(|at| SeqRange { first: *at, last: *at });
            (*prefix, ranges.collect())
        });
        ranges.collect()
    }

    /// Writes the file's bytes.
    pub fn encode(&self, segment: u64) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&segment.to_be_bytes());
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&(self.entries.len() as u32).to_be_bytes());
        for (prefix, sequences) in &self.entries {
            out.extend_from_slice(&prefix.origin.0);
            out.extend_from_slice(&prefix.epoch.0.to_be_bytes());
            out.extend_from_slice(&prefix.channel.0.to_be_bytes());
            out.extend_from_slice(&prefix.spacecraft.0.to_be_bytes());
            out.extend_from_slice(&[0; 2]);
            out.extend_from_slice(&(sequences.len() as u32).to_be_bytes());
            for (sequence, offset) in sequences {
                out.extend_from_slice(&sequence.to_be_bytes());
                out.extend_from_slice(&offset.to_be_bytes());
            }
        }
        let crc = crc32c(&out);
        out[16..20].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// Reads the index of `segment`; `None` where the bytes are not it.
    pub fn decode(bytes: &[u8], segment: u64) -> Option<Self> {
        let mut whole = bytes.to_vec();
        let crc = u32::from_be_bytes(*bytes.get(16..)?.first_chunk()?);
        whole.get_mut(16..20)?.fill(0);
        if crc32c(&whole) != crc || !bytes.starts_with(&MAGIC) {
            return None;
        }
        let mut fields = Fields(bytes.get(8..)?);
        if fields.u64()? != segment {
            return None;
        }
        fields.u64()?;
        let mut index = Self::default();
        for _ in 0..fields.u32()? {
            let prefix = KeyPrefix {
                origin: Origin(fields.take()?),
                epoch: StoreEpoch(fields.u64()?),
                channel: Channel(fields.u64()?),
                spacecraft: SpacecraftId(u16::from_be_bytes(fields.take()?)),
            };
            fields.take::<2>()?;
            for _ in 0..fields.u32()? {
                let sequence = fields.u64()?;
                index.add(&UnitKey { prefix, sequence }, fields.u64()?);
            }
        }
        Some(index)
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::key;

    #[test]
    fn an_index_comes_back_and_every_flip_is_found() {
        let mut index = Index::default();
        for sequence in 0..20 {
            assert!(index.add(&key(1, sequence), sequence * 512));
            index.add(&key(2, sequence * 7), sequence);
        }
        assert!(!index.add(&key(1, 3), 9));
        assert_eq!(index.find(&key(1, 3)), Some(3 * 512));
        assert_eq!(index.ranges()[&key(1, 0).prefix].len(), 1);
        assert_eq!(index.ranges()[&key(2, 0).prefix].count(), 20);
        let bytes = index.encode(5);
        assert_eq!(Index::decode(&bytes, 5), Some(index));
        assert_eq!(Index::decode(&bytes, 6), None);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            assert_eq!(Index::decode(&flipped, 5), None, "byte {at}");
            assert_eq!(Index::decode(&bytes[..at], 5), None);
        }
    }
}
