//! Names of custody: who numbered a unit, where it belongs, which one it is.

use alloc::vec::Vec;
use core::fmt;

/// Identity of a store (spacecraft or edge), made once when the store is first formatted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(pub [u8; 16]);

impl Origin {
    /// Reads 32 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 32 {
            return None;
        }
        let mut bytes = [0u8; 16];
        for (slot, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *slot = (hex_digit(*high)? << 4) | hex_digit(*low)?;
        }
        Some(Self(bytes))
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Random number drawn when a store is formatted; unrelated to boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreEpoch(pub u64);

/// The mission's own number of a spacecraft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpacecraftId(pub u16);

/// Application process identifier of a space packet, 0 to 2047 (CCSDS 133.0-B-2 §4.1.3.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Apid(pub u16);

/// Where a unit belongs: a global virtual channel, a stream of the mission, or a reserved channel.
///
/// A virtual channel is packed as version (bits 32 to 35), spacecraft identifier (16 to 31),
/// virtual channel (8 to 15) and MAP (0 to 7); a stream has the top bit set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel(pub u64);

impl Channel {
    const STREAM: u64 = 1 << 63;
    /// Deliberate holes, told as units of their own.
    pub const VOIDS: Self = Self(u64::MAX);
    /// What the store wants remembered: events, outcomes.
    pub const RECORDS: Self = Self(u64::MAX - 1);
    /// Erred frames whose own header can't be trusted.
    pub const UNIDENTIFIED: Self = Self(u64::MAX - 2);

    /// Packs a global virtual channel.
    pub const fn virtual_channel(version: u8, scid: u16, vcid: u8, map: u8) -> Self {
        Self(((version as u64) << 32) | ((scid as u64) << 16) | ((vcid as u64) << 8) | map as u64)
    }

    /// A stream that the mission numbers itself, outside any frame.
    pub const fn stream(number: u32) -> Self {
        Self(Self::STREAM | number as u64)
    }

    /// The number, where this is a stream of the mission.
    pub fn as_stream(self) -> Option<u32> {
        let number = self.0 & !Self::STREAM;
        if self.0 & Self::STREAM == 0 { None } else { u32::try_from(number).ok() }
    }

    /// (version, spacecraft identifier, virtual channel, MAP), where this is a virtual channel.
    pub fn as_virtual_channel(self) -> Option<(u8, u16, u8, u8)> {
        if self.0 >> 36 != 0 {
            return None;
        }
        Some(((self.0 >> 32) as u8, (self.0 >> 16) as u16, (self.0 >> 8) as u8, self.0 as u8))
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::VOIDS => f.write_str("voids"),
            Self::RECORDS => f.write_str("records"),
            Self::UNIDENTIFIED => f.write_str("unidentified"),
            other => match (other.as_stream(), other.as_virtual_channel()) {
                (Some(number), _) => write!(f, "stream {number}"),
                (_, Some((version, scid, vcid, map))) => {
                    write!(f, "VC {vcid} (v{version} scid {scid} map {map})")
                }
                _ => write!(f, "channel {:#x}", other.0),
            },
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What every unit of one counter shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPrefix {
    /// Store that numbered the unit.
    pub origin: Origin,
    /// Formatting of that store.
    pub epoch: StoreEpoch,
    /// Spacecraft that the unit is about.
    pub spacecraft: SpacecraftId,
    /// Channel within the spacecraft.
    pub channel: Channel,
}

/// Name of a unit: nothing is archived twice under one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitKey {
    /// Whose counter.
    pub prefix: KeyPrefix,
    /// Counted from 0 over boots.
    pub sequence: u64,
}

/// Format of a unit's inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Codec {
    /// One space packet (CCSDS 133.0-B-2).
    SpacePacket = 1,
    /// One TM transfer frame (CCSDS 132.0-B-3).
    TmFrame = 2,
    /// One AOS transfer frame (CCSDS 732.0-B-5).
    AosFrame = 3,
    /// One USLP transfer frame (CCSDS 732.1-B-3).
    UslpFrame = 4,
    /// One AX.25 frame (version 2.2), from the first address to the end of its information.
    Ax25Frame = 5,
    /// A self-contained block of squeezed packets.
    Squeezed = 16,
    /// A payload product or its summary.
    Product = 32,
    /// Ranges left out on purpose, with the reason.
    Void = 48,
    /// A record in JSON.
    Record = 49,
}

impl Codec {
    /// Reads the byte on the wire; unknown codecs are refused, never guessed.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::SpacePacket,
            2 => Self::TmFrame,
            3 => Self::AosFrame,
            4 => Self::UslpFrame,
            5 => Self::Ax25Frame,
            16 => Self::Squeezed,
            32 => Self::Product,
            48 => Self::Void,
            49 => Self::Record,
            _ => return None,
        })
    }
}

/// Sequences `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeqRange {
    /// First sequence.
    pub first: u64,
    /// Last sequence, at least `first`.
    pub last: u64,
}

impl SeqRange {
    /// A range, unless it runs backwards.
    pub const fn new(first: u64, last: u64) -> Option<Self> {
        if first <= last { Some(Self { first, last }) } else { None }
    }

    /// How many sequences it holds; saturates at the range of everything.
    pub const fn count(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    /// Whether `sequence` lies inside.
    pub const fn contains(self, sequence: u64) -> bool {
        self.first <= sequence && sequence <= self.last
    }
}

/// Sorted, disjoint, non-adjacent ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    ranges: Vec<SeqRange>,
}

impl RangeSet {
    /// An empty set.
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// The ranges in order.
    pub fn ranges(&self) -> &[SeqRange] {
        &self.ranges
    }

    /// Number of ranges: what a bound on memory counts.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Number of sequences.
    pub fn count(&self) -> u64 {
        self.ranges.iter().fold(0u64, |sum, range| sum.saturating_add(range.count()))
    }

    /// Index of the first range that ends at or after `sequence`.
    fn position(&self, sequence: u64) -> usize {
        self.ranges.partition_point(|range| range.last < sequence)
    }

    /// Whether `sequence` is in the set.
    pub fn contains(&self, sequence: u64) -> bool {
        self.ranges.get(self.position(sequence)).is_some_and(|range| range.contains(sequence))
    }

    /// The first sequence of the set at or after `sequence`.
    pub fn first_from(&self, sequence: u64) -> Option<u64> {
        self.ranges.get(self.position(sequence)).map(|range| range.first.max(sequence))
    }

    /// Whether adding `sequence` would not make a new range: it is held, extends or joins one.
    pub fn touches(&self, sequence: u64) -> bool {
        let at = self.position(sequence.saturating_sub(1));
        self.ranges.get(at).is_some_and(|range| range.first <= sequence.saturating_add(1))
    }

    /// Adds a range and merges what touches it.
    pub fn insert(&mut self, range: SeqRange) {
        let start = self.position(range.first.saturating_sub(1));
        let mut merged = range;
        let mut end = start;
        while let Some(other) = self.ranges.get(end) {
            if other.first > merged.last.saturating_add(1) {
                break;
            }
            merged.first = merged.first.min(other.first);
            merged.last = merged.last.max(other.last);
            end += 1;
        }
        self.ranges.splice(start..end, [merged]);
    }

    /// Adds one sequence.
    pub fn insert_one(&mut self, sequence: u64) {
        self.insert(SeqRange { first: sequence, last: sequence });
    }

    /// Takes a range out, splitting what it cuts.
    pub fn remove(&mut self, range: SeqRange) {
        let start = self.position(range.first);
        let mut kept = Vec::new();
        let mut end = start;
        while let Some(other) = self.ranges.get(end) {
            if other.first > range.last {
                break;
            }
            if other.first < range.first {
                kept.push(SeqRange { first: other.first, last: range.first - 1 });
            }
            if other.last > range.last {
                kept.push(SeqRange { first: range.last + 1, last: other.last });
            }
            end += 1;
        }
        self.ranges.splice(start..end, kept);
    }

    /// Adds every range of another set.
    pub fn extend(&mut self, other: &RangeSet) {
        other.ranges.iter().for_each(|range| self.insert(*range));
    }

    /// The parts of `within` that are not in the set.
    pub fn missing_from(&self, within: SeqRange) -> Vec<SeqRange> {
        let mut rest = RangeSet { ranges: alloc::vec![within] };
        self.ranges.iter().for_each(|range| rest.remove(*range));
        rest.ranges
    }
}

impl FromIterator<SeqRange> for RangeSet {
    fn from_iter<I: IntoIterator<Item = SeqRange>>(ranges: I) -> Self {
        let mut set = Self::new();
        ranges.into_iter().for_each(|range| set.insert(range));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn range_sets_agree_with_plain_sets(
            steps in prop::collection::vec((any::<bool>(), 0u64..60, 0u64..8), 0..60),
        ) {
            let mut ours = RangeSet::new();
            let mut plain = BTreeSet::new();
            for (add, first, length) in steps {
                let range = SeqRange { first, last: first + length };
                if add {
                    ours.insert(range);
                    plain.extend(first..=range.last);
                } else {
                    ours.remove(range);
                    (first..=range.last).for_each(|sequence| { plain.remove(&sequence); });
                }
                for pair in ours.ranges().windows(2) {
                    prop_assert!(pair[0].last + 1 < pair[1].first);
                }
            }
            prop_assert_eq!(ours.count(), plain.len() as u64);
            for sequence in 0..70 {
                prop_assert_eq!(ours.contains(sequence), plain.contains(&sequence));
                prop_assert_eq!(ours.first_from(sequence), plain.range(sequence..).next().copied());
                let mut grown = ours.clone();
                grown.insert_one(sequence);
                prop_assert_eq!(ours.touches(sequence), grown.len() <= ours.len());
            }
            let missing = ours.missing_from(SeqRange { first: 0, last: 69 });
            let missed: u64 = missing.iter().map(|range| range.count()).sum();
            prop_assert_eq!(missed, 70 - ours.count());
        }
    }

    #[test]
    fn the_whole_counter_fits_one_range() {
        let mut set = RangeSet::new();
        set.insert(SeqRange { first: 0, last: u64::MAX });
        set.insert_one(u64::MAX);
        assert_eq!(set.len(), 1);
        set.remove(SeqRange { first: 5, last: u64::MAX });
        assert_eq!(set.ranges(), [SeqRange { first: 0, last: 4 }]);
    }

    #[test]
    fn origins_read_their_own_text() {
        let origin = Origin(*b"\x00\x01\xfe\xff groundtrack");
        assert_eq!(Origin::from_hex(&alloc::format!("{origin}")), Some(origin));
        assert_eq!(Origin::from_hex("12"), None);
        assert_eq!(Origin::from_hex("zz000000000000000000000000000000"), None);
    }
}
