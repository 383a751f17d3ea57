//! The index of a sealed segment: where each of its units stands. Derived, so never synced and
//! rebuilt by a scan when it is missing or damaged.
//!
//! Units of one length that came in order stand at even steps: such a stretch is one entry, so
//! that the index of a pass of frames is a few kilobytes.
//!
//! ```text
//!  0  8 "GTINDEX2"    24  4 prefixes, then for each:
//!  8  8 segment           16 origin, 8 epoch, 8 channel, 2 spacecraft, 2 zero, 4 stretches,
//! 16  4 CRC-32C           then for each 8 first sequence, 8 its offset, 4 units, 4 bytes a step,
//! 20  4 zero              in order of sequence
//! ```

use codecs::{
    fec::crc::crc32c,
    ids::{Channel, KeyPrefix, Origin, RangeSet, SeqRange, SpacecraftId, StoreEpoch, UnitKey},
};
use std::collections::BTreeMap;

const MAGIC: [u8; 8] = *b"GTINDEX2";
/// More units than the largest segment has room for: a count beyond is a lie.
const UNITS_MAX: u64 = 1 << 26;

/// Units in order of sequence at even steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    offset: u64,
    units: u32,
    /// From one record to the next; 0 while there is one.
    step: u32,
}

impl Stretch {
    /// Where the unit that is `at` behind the first stands.
    fn offset_of(&self, at: u64) -> Option<u64> {
        (at < u64::from(self.units)).then_some(self.offset + at * u64::from(self.step))
    }

    /// Whether a record that follows in sequence stands one step behind; then it is taken in.
    fn extend(&mut self, offset: u64) -> bool {
        let last = self.offset + u64::from(self.units - 1) * u64::from(self.step);
        let Some(step) = offset.checked_sub(last).and_then(|step| u32::try_from(step).ok()) else {
            return false;
        };
        let fits = step > 0 && (self.units == 1 || step == self.step) && self.units < u32::MAX;
        if fits {
            self.step = step;
            self.units += 1;
        }
        fits
    }
}

/// Offsets of a segment's units by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    entries: BTreeMap<KeyPrefix, BTreeMap<u64, Stretch>>,
}

/// File name of a segment's index.
pub fn file_name(number: u64) -> String {
    format!("{number:010}.index")
}

/// Number in a file name, if it names an index.
pub fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".index")?;
    (digits.len() == 10).then(|| digits.parse().ok())?
}

impl Index {
    /// Adds a unit. Whether its key was new: a second record under one key stays unindexed.
    pub fn add(&mut self, key: &UnitKey, offset: u64) -> bool {
        let stretches = self.entries.entry(key.prefix).or_default();
        add(stretches, key.sequence, offset)
    }

    /// Adds units whose sequences follow each other.
    pub fn add_run(&mut self, first: &UnitKey, offsets: impl IntoIterator<Item = u64>) {
        let stretches = self.entries.entry(first.prefix).or_default();
        let units = offsets.into_iter().zip(0..).map(|(offset, at)| (first.sequence + at, offset));
        // Behind everything known, which is the rule, stretches are made without a look.
        let last = stretches.last_key_value();
        let end = last.map_or(0, |(first, last)| first.saturating_add(u64::from(last.units)));
        if first.sequence < end {
            units.for_each(|(sequence, offset)| _ = add(stretches, sequence, offset));
            return;
        }
        let mut open: Option<(u64, Stretch)> = None;
        if end == first.sequence {
            open = stretches.pop_last();
        }
        for (sequence, offset) in units {
            if !open.as_mut().is_some_and(|(_, stretch)| stretch.extend(offset)) {
                let begun = open.replace((sequence, Stretch { offset, units: 1, step: 0 }));
                stretches.extend(begun);
            }
        }
        stretches.extend(open);
    }

    /// Where a unit's record begins.
    pub fn find(&self, key: &UnitKey) -> Option<u64> {
        let stretches = self.entries.get(&key.prefix)?;
        let (first, stretch) = stretches.range(..=key.sequence).next_back()?;
        stretch.offset_of(key.sequence - first)
    }

    fn units(&self) -> impl Iterator<Item = (UnitKey, u64)> {
        self.entries.iter().flat_map(|(prefix, stretches)| {
            stretches.iter().flat_map(move |(first, stretch)| {
                (0..u64::from(stretch.units)).filter_map(move |at| {
                    let key = UnitKey { prefix: *prefix, sequence: first + at };
                    Some((key, stretch.offset_of(at)?))
                })
            })
        })
    }

    /// Keys by offset: names a record whose own header is damaged.
    pub fn by_offset(&self) -> BTreeMap<u64, UnitKey> {
        self.units().map(|(key, offset)| (offset, key)).collect()
    }

    /// Sequences by prefix: tells which segment has a key without its offsets in memory.
    pub fn ranges(&self) -> BTreeMap<KeyPrefix, RangeSet> {
        let ranges = self.entries.iter().map(|(prefix, stretches)| {
            let ranges = stretches.iter().map(|(first, stretch)| SeqRange {
                first: *first,
                last: first + u64::from(stretch.units - 1),
            });
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
        for (prefix, stretches) in &self.entries {
            out.extend_from_slice(&prefix.origin.0);
            out.extend_from_slice(&prefix.epoch.0.to_be_bytes());
            out.extend_from_slice(&prefix.channel.0.to_be_bytes());
            out.extend_from_slice(&prefix.spacecraft.0.to_be_bytes());
            out.extend_from_slice(&[0; 2]);
            out.extend_from_slice(&(stretches.len() as u32).to_be_bytes());
            for (first, stretch) in stretches {
                out.extend_from_slice(&first.to_be_bytes());
                out.extend_from_slice(&stretch.offset.to_be_bytes());
                out.extend_from_slice(&stretch.units.to_be_bytes());
                out.extend_from_slice(&stretch.step.to_be_bytes());
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
        let mut all = 0;
        for _ in 0..fields.u32()? {
            let prefix = KeyPrefix {
                origin: Origin(fields.take()?),
                epoch: StoreEpoch(fields.u64()?),
                channel: Channel(fields.u64()?),
                spacecraft: SpacecraftId(u16::from_be_bytes(fields.take()?)),
            };
            fields.take::<2>()?;
            let stretches = index.entries.entry(prefix).or_default();
            for _ in 0..fields.u32()? {
                let (first, offset) = (fields.u64()?, fields.u64()?);
                let (units, step) = (fields.u32()?, fields.u32()?);
                all += u64::from(units);
                let reach = u64::from(units).checked_mul(u64::from(step))?;
                first.checked_add(u64::from(units))?;
                offset.checked_add(reach)?;
                if units == 0 || all > UNITS_MAX {
                    return None;
                }
                stretches.insert(first, Stretch { offset, units, step });
            }
        }
        Some(index)
    }
}

/// Adds one unit wherever it belongs.
fn add(stretches: &mut BTreeMap<u64, Stretch>, sequence: u64, offset: u64) -> bool {
    if let Some((first, stretch)) = stretches.range_mut(..=sequence).next_back() {
        let at = sequence - first;
        if at < u64::from(stretch.units) {
            return false;
        }
        if at == u64::from(stretch.units) && stretch.extend(offset) {
            return true;
        }
    }
    stretches.insert(sequence, Stretch { offset, units: 1, step: 0 });
    true
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
    use proptest::prelude::*;

    #[test]
    fn an_index_comes_back_and_every_flip_is_found() {
        let mut index = Index::default();
        for sequence in 0..20 {
            assert!(index.add(&key(1, sequence), sequence * 512));
            index.add(&key(2, sequence * 7), sequence);
        }
        assert_eq!(index.entries[&key(1, 0).prefix].len(), 1, "even steps are one entry");
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

    proptest! {
        #[test]
        fn stretches_say_what_plain_maps_say(
            runs in prop::collection::vec((0u64..60, 1u64..20, 1u64..4, any::<bool>()), 1..20),
        ) {
            let mut index = Index::default();
            let mut plain = BTreeMap::new();
            let mut offset = 0;
            for (first, units, step, singly) in runs {
                let offsets: Vec<u64> = (0..units)
                    .map(|_| {
                        offset += step * 16;
                        offset
                    })
                    .collect();
                for (sequence, offset) in (first..).zip(&offsets) {
                    let new = !plain.contains_key(&sequence);
                    plain.entry(sequence).or_insert(*offset);
                    if singly {
                        prop_assert_eq!(index.add(&key(1, sequence), *offset), new);
                    }
                }
                if !singly {
                    index.add_run(&key(1, first), offsets);
                }
            }
            for sequence in 0..90 {
                let found = index.find(&key(1, sequence));
                prop_assert_eq!(found, plain.get(&sequence).copied());
            }
            prop_assert_eq!(index.by_offset().len(), plain.len());
            let count = index.ranges()[&key(1, 0).prefix].count();
            prop_assert_eq!(count, plain.len() as u64);
            let encoded = index.encode(3);
            prop_assert_eq!(Index::decode(&encoded, 3), Some(index));
        }
    }
}
