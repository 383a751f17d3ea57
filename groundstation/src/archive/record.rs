//! Records of a segment: units, and the skips that end each commit on a block.
//!
//! ```text
//! unit                                    skip                                   end
//!  0   4 "GTRU"                            0   4 "GTRS"                           0   4 "GTRE"
//!  4   4 CRC-32C of this header            4   4 CRC-32C of this header           4   4 CRC-32C
//!  8   4 bytes of the unit                 8   4 bytes from here to the block     8   8 units
//! 12   4 CRC-32C of the unit              12   4 zero                            16   8 bytes
//! 16  16 origin                           16   8 where the commit began          24   8 sealed, ns TAI
//! 32   8 store epoch                      24   8 zero                            32  32 footer hash
//! 40   8 channel                          32   - zeros
//! 48   8 sequence
//! 56   8 received, ns TAI
//! 64   2 spacecraft
//! 66   1 codec
//! 67   1 flags: bit 0 annotated
//! 68   4 zero
//! 72  16 annotation
//! 88  16 digest: XXH3-128 of the unit
//! 104  8 zero
//! 112  - the unit, then zeros to a multiple of 16
//! ```
//!
//! Big-endian. A header's CRC also covers the segment's number and the record's offset, so that
//! a block that landed elsewhere is no record there. A commit is units, one skip, and the end of a
//! block: a block that holds acknowledged bytes is never written again, and writes that bypass the
//! page cache need no other layout.

use codecs::{
    fec::crc::crc32c,
    ids::{Channel, Codec, KeyPrefix, Origin, SpacecraftId, StoreEpoch, UnitKey},
    time::Tai,
};
use twox_hash::XxHash3_128;

/// What commits end on: the largest block of devices in use.
pub const BLOCK_BYTES: usize = 4096;
/// Alignment of records, and so of units: what vector loads and tensors need.
pub const ALIGN: usize = 16;
/// Bytes before a unit.
pub const UNIT_HEADER_BYTES: usize = 112;
/// Where a header has its annotation.
pub const ANNOTATION_AT: usize = 72;
/// Where a header has its unit's digest.
const DIGEST_AT: usize = 88;
/// Bytes of a [`gist`].
pub const GIST_BYTES: usize = 20;
/// Bytes of a skip before its zeros.
pub const SKIP_HEADER_BYTES: usize = 32;
/// Bytes of the record that ends a sealed segment.
pub const END_BYTES: usize = 64;
/// Largest unit that a record may say it holds; what the link lets through.
pub const UNIT_BYTES_MAX: usize = 1 << 20;

/// Segment and offset.
const PLACE_BYTES: usize = 16;

const UNIT: [u8; 4] = *b"GTRU";
const SKIP: [u8; 4] = *b"GTRS";
const END: [u8; 4] = *b"GTRE";
const ANNOTATED: u8 = 1;

/// XXH3-128: tells the same bytes from other bytes under one key, beside the CRC-32C. It stands
/// against accident, not against an owner of the key who wants two units to look alike: whoever
/// may deliver under a key may deliver either of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub [u8; 16]);

impl Digest {
    /// The digest of a unit.
    pub fn of(bytes: &[u8]) -> Self {
        Self(XxHash3_128::oneshot(bytes).to_be_bytes())
    }
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Segment number.
    pub segment: u64,
    /// Offset in the segment.
    pub offset: u64,
}

/// What a record says of its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitHeader {
    /// Name.
    pub key: UnitKey,
    /// Format of the inside.
    pub codec: Codec,
    /// Earth receive time.
    pub received: Tai,
    /// How the antenna heard it, as on the link.
    pub annotation: Option<[u8; 16]>,
    /// Digest of the unit.
    pub digest: Digest,
    /// Bytes of the unit.
    pub length: u32,
    /// CRC-32C of the unit.
    pub crc: u32,
}

impl UnitHeader {
    /// Bytes of the whole record with its padding.
    pub fn record_bytes(&self) -> usize {
        record_bytes(self.length as usize)
    }

    /// The header; [`stamp`] completes it once the place is known.
    pub fn encode(&self) -> [u8; UNIT_HEADER_BYTES] {
        let mut out = [0; UNIT_HEADER_BYTES];
        let prefix = &self.key.prefix;
        put(&mut out, 0, &UNIT);
        put(&mut out, 8, &self.length.to_be_bytes());
        put(&mut out, 12, &self.crc.to_be_bytes());
        put(&mut out, 16, &prefix.origin.0);
        put(&mut out, 32, &prefix.epoch.0.to_be_bytes());
        put(&mut out, 40, &prefix.channel.0.to_be_bytes());
        put(&mut out, 48, &self.key.sequence.to_be_bytes());
        put(&mut out, 56, &self.received.0.to_be_bytes());
        put(&mut out, 64, &prefix.spacecraft.0.to_be_bytes());
        out[66] = self.codec as u8;
        if let Some(annotation) = &self.annotation {
            out[67] = ANNOTATED;
            put(&mut out, ANNOTATION_AT, annotation);
        }
        put(&mut out, DIGEST_AT, &self.digest.0);
        out
    }

    pub(super) fn decode(bytes: &[u8; UNIT_HEADER_BYTES]) -> Option<Self> {
        let length = u32::from_be_bytes(get(bytes, 8));
        if length as usize > UNIT_BYTES_MAX {
            return None;
        }
        Some(Self {
            key: UnitKey {
                prefix: KeyPrefix {
                    origin: Origin(get(bytes, 16)),
                    epoch: StoreEpoch(u64::from_be_bytes(get(bytes, 32))),
                    channel: Channel(u64::from_be_bytes(get(bytes, 40))),
                    spacecraft: SpacecraftId(u16::from_be_bytes(get(bytes, 64))),
                },
                sequence: u64::from_be_bytes(get(bytes, 48)),
            },
            codec: Codec::from_byte(bytes[66])?,
            received: Tai(i64::from_be_bytes(get(bytes, 56))),
            annotation: (bytes[67] & ANNOTATED != 0).then(|| get(bytes, ANNOTATION_AT)),
            digest: Digest(get(bytes, DIGEST_AT)),
            length,
            crc: u32::from_be_bytes(get(bytes, 12)),
        })
    }
}

/// A record whose header holds at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// A unit follows.
    Unit(UnitHeader),
    /// The commit ends here.
    Skip {
        /// From here to the end of the block.
        bytes: u32,
        /// Where the commit began; everything before was synced when this was written.
        commit: u64,
    },
    /// The segment ends here and is whole.
    End {
        /// Units in the segment.
        units: u64,
        /// Their bytes.
        bytes: u64,
        /// The segment's footer hash.
        footer: [u8; 32],
    },
}

impl Record {
    /// Bytes from the start of this record to the next.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Unit(unit) => unit.record_bytes(),
            Self::Skip { bytes, .. } => *bytes as usize,
            Self::End { .. } => END_BYTES,
        }
    }

    /// Reads the record header at `place`, if one stands there.
    pub fn read(bytes: &[u8], place: Position) -> Option<Self> {
        let magic: [u8; 4] = *bytes.first_chunk()?;
        match magic {
            UNIT => {
                let header: &[u8; UNIT_HEADER_BYTES] = bytes.first_chunk()?;
                stamp_holds(header, place).then(|| UnitHeader::decode(header))?.map(Self::Unit)
            }
            SKIP => {
                let header: &[u8; SKIP_HEADER_BYTES] = bytes.first_chunk()?;
                let bytes = u32::from_be_bytes(get(header, 8));
                let ends = place.offset.checked_add(u64::from(bytes))?;
                let sane = bytes as usize >= SKIP_HEADER_BYTES
                    && ends.is_multiple_of(BLOCK_BYTES as u64)
                    && (bytes as usize) < BLOCK_BYTES + SKIP_HEADER_BYTES;
                let commit = u64::from_be_bytes(get(header, 16));
                (sane && stamp_holds(header, place)).then_some(Self::Skip { bytes, commit })
            }
            END => {
                let header: &[u8; END_BYTES] = bytes.first_chunk()?;
                let units = u64::from_be_bytes(get(header, 8));
                let bytes = u64::from_be_bytes(get(header, 16));
                let footer = get(header, 32);
                stamp_holds(header, place).then_some(Self::End { units, bytes, footer })
            }
            _ => None,
        }
    }
}

/// Bytes of the record of a unit of so many bytes, with its padding.
pub const fn record_bytes(unit_bytes: usize) -> usize {
    (UNIT_HEADER_BYTES + unit_bytes).next_multiple_of(ALIGN)
}

/// Bytes of the skip that takes a commit from `end` (relative to a block) to the end of a block.
pub const fn skip_bytes(end: usize) -> usize {
    (end + SKIP_HEADER_BYTES).next_multiple_of(BLOCK_BYTES) - end
}

/// Writes the skip at `place` over all of `out`, as long as [`skip_bytes`] says. `commit` is where
/// its commit began: everything before was synced when this was written.
pub fn skip(out: &mut [u8], place: Position, commit: u64) {
    out.fill(0);
    let bytes = (out.len() as u32).to_be_bytes();
    put(out, 0, &SKIP);
    put(out, 8, &bytes);
    put(out, 16, &commit.to_be_bytes());
    stamp(&mut out[..SKIP_HEADER_BYTES], place);
}

/// The record that ends a sealed segment.
pub fn end(units: u64, bytes: u64, sealed: Tai, footer: &[u8; 32]) -> [u8; END_BYTES] {
    let mut out = [0; END_BYTES];
    put(&mut out, 0, &END);
    put(&mut out, 8, &units.to_be_bytes());
    put(&mut out, 16, &bytes.to_be_bytes());
    put(&mut out, 24, &sealed.0.to_be_bytes());
    put(&mut out, 32, footer);
    out
}

/// Completes a header with its CRC, which covers the place.
pub fn stamp(header: &mut [u8], place: Position) {
    let crc = stamp_of(header, place);
    put(header, 4, &crc.to_be_bytes());
}

fn stamp_holds(header: &[u8], place: Position) -> bool {
    u32::from_be_bytes(get(header, 4)) == stamp_of(header, place)
}

fn stamp_of(header: &[u8], place: Position) -> u32 {
    // Joined first: the processor's instruction is at its best over one piece.
    let mut covered = [0; PLACE_BYTES + UNIT_HEADER_BYTES];
    put(&mut covered, 0, &place.segment.to_be_bytes());
    put(&mut covered, 8, &place.offset.to_be_bytes());
    put(&mut covered, PLACE_BYTES, &header[..4]);
    put(&mut covered, PLACE_BYTES + 4, &header[8..]);
    crc32c(&covered[..PLACE_BYTES + header.len() - 4])
}

/// What a stamped unit header comes down to: its CRC, which covers what it says and where it
/// stands, and the digest of its unit.
pub fn gist(header: &[u8; UNIT_HEADER_BYTES]) -> [u8; GIST_BYTES] {
    let mut out = [0; GIST_BYTES];
    put(&mut out, 0, &header[4..8]);
    put(&mut out, 4, &header[DIGEST_AT..][..16]);
    out
}

/// Whether a unit is what its header says: its CRC and its digest.
pub fn unit_holds(header: &UnitHeader, bytes: &[u8]) -> bool {
    crc32c(bytes) == header.crc && Digest::of(bytes) == header.digest
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    out[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Bytes at a constant offset of a header whose length the caller has proven.
fn get<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::key;

    fn unit(length: u32) -> UnitHeader {
        UnitHeader {
            key: key(3, 12),
            codec: Codec::Squeezed,
            received: Tai(1_234),
            annotation: Some([9; 16]),
            digest: Digest::of(b"abc"),
            length,
            crc: 77,
        }
    }

    const PLACE: Position = Position { segment: 4, offset: 8_192 };

    #[test]
    fn headers_come_back_only_at_their_place() {
        let mut bytes = unit(300).encode();
        stamp(&mut bytes, PLACE);
        assert_eq!(Record::read(&bytes, PLACE), Some(Record::Unit(unit(300))));
        assert_eq!(Record::read(&bytes, Position { segment: 5, ..PLACE }), None);
        assert_eq!(Record::read(&bytes, Position { offset: 0, ..PLACE }), None);
        for at in 0..bytes.len() {
            let mut flipped = bytes;
            flipped[at] ^= 0x10;
            assert_eq!(Record::read(&flipped, PLACE), None, "byte {at}");
            assert_eq!(Record::read(&bytes[..at], PLACE), None);
        }
    }

    #[test]
    fn a_length_above_the_bound_is_no_record() {
        let mut bytes = unit(UNIT_BYTES_MAX as u32 + 1).encode();
        stamp(&mut bytes, PLACE);
        assert_eq!(Record::read(&bytes, PLACE), None);
    }

    #[test]
    fn skips_end_on_a_block() {
        for end in (0..3 * BLOCK_BYTES).step_by(ALIGN) {
            let mut bytes = vec![1; skip_bytes(end)];
            assert_eq!((end + bytes.len()) % BLOCK_BYTES, 0);
            let place = Position { segment: 1, offset: (BLOCK_BYTES + end) as u64 };
            skip(&mut bytes, place, 4096);
            let wanted = Record::Skip { bytes: bytes.len() as u32, commit: 4096 };
            assert_eq!(Record::read(&bytes, place), Some(wanted));
        }
    }
}
