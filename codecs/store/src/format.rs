//! Bytes of a segment: a header, then records on eight-byte boundaries; big-endian.
//!
//! ```text
//! header  0  8 magic "GTSTORE2"        record  0  2 magic 0x4754
//!         8  8 segment number                  2  1 kind
//!        16  8 store epoch                     3  1 of a batch
//!        24 16 origin                          4  4 length of the body
//!        40  4 CRC-32C of the above            8  4 CRC-32C of epoch, segment, 0..8 and the body
//!        44  4 zero                           12  - body, then zeros to the boundary
//! ```
//!
//! Byte 3 of a record is 1 where it belongs to a batch, which counts as a whole or not at all: a
//! batch record stands before its members and says how many bytes they take, with their CRC-32C.
//!
//! A unit with a deadline is a kind of its own, four bytes longer: what has none costs none. A
//! segment that an older version wrote reads as it is; its magic ends in 1.
//!
//! Epoch and segment stand in each record's check, so that nothing a payload carries can pass for a
//! record of this store when a scan looks for the next whole one behind damage.

use bytes::Bytes;
use codecs::{
    fec::crc::{Crc32c, crc32c},
    ids::{Channel, Codec, Origin, RangeSet, SeqRange, SpacecraftId, StoreEpoch},
    time::Tai,
};

/// Bytes of a segment's header.
pub const HEADER_BYTES: usize = 48;
/// Bytes of a record before its body.
pub const RECORD_BYTES: usize = 12;
/// Bytes of a unit record's body before the unit.
pub const UNIT_BYTES: usize = 28;
/// Largest body: a unit of the largest size with its fields, or a checkpoint at its bounds.
pub const MAX_BODY_BYTES: usize = (1 << 20) + UNIT_BYTES + DEADLINE_BYTES;
/// Bytes of a deadline.
const DEADLINE_BYTES: usize = 4;

const MAGIC: [u8; 8] = *b"GTSTORE2";
/// Of segments without deadlines.
const MAGIC_BEFORE: [u8; 8] = *b"GTSTORE1";
/// What every version's magic starts with; its number is the byte behind.
const MAGIC_STEM: [u8; 7] = *b"GTSTORE";
const RECORD_MAGIC: [u8; 2] = *b"GT";
/// Bytes of a batch record.
pub const BATCH_RECORD_BYTES: usize = (RECORD_BYTES + 8).next_multiple_of(8);

/// Whose store: what every segment repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Spacecraft or edge.
    pub origin: Origin,
    /// This formatting.
    pub epoch: StoreEpoch,
}

/// A unit as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitRecord {
    /// Spacecraft that it is about.
    pub spacecraft: SpacecraftId,
    /// Channel.
    pub channel: Channel,
    /// Its number there.
    pub sequence: u64,
    /// Format of the inside.
    pub codec: Codec,
    /// Value: what goes down first and is given up last.
    pub priority: u8,
    /// When it was taken.
    pub captured: Tai,
    /// Seconds from then until it is worth nothing; 0 where it keeps its worth.
    pub deadline_s: u32,
    /// The unit.
    pub bytes: Bytes,
}

/// Ranges that a ledger has, or (asked) has lost again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptRecord {
    /// Spacecraft.
    pub spacecraft: SpacecraftId,
    /// Channel.
    pub channel: Channel,
    /// The ledger; 0 with `asked`.
    pub ledger: u64,
    /// Durability class as on the wire.
    pub class: u8,
    /// The ranges.
    pub ranges: RangeSet,
}

/// One counter's state at the start of a segment, so that older segments can go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointRecord {
    /// Spacecraft.
    pub spacecraft: SpacecraftId,
    /// Channel.
    pub channel: Channel,
    /// Next sequence to give.
    pub next: u64,
    /// Everything below is accounted for.
    pub floor: u64,
    /// Left out on purpose.
    pub voided: RangeSet,
    /// Receipts by ledger and class.
    pub receipts: Vec<(u64, u8, RangeSet)>,
    /// Kept units that were asked for.
    pub asked: RangeSet,
}

/// A small value that outlives every segment: each repeats it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteRecord {
    /// Where it is kept; the latest of a slot counts.
    pub slot: u32,
    /// The value.
    pub bytes: Bytes,
}

/// What follows it in so many bytes counts as a whole or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRecord {
    /// Bytes of the members.
    pub length: u32,
    /// CRC-32C of them.
    pub check: u32,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A unit.
    Unit(UnitRecord),
    /// A receipt.
    Receipt(ReceiptRecord),
    /// A receipt taken back.
    Asked(ReceiptRecord),
    /// State of a counter.
    Checkpoint(CheckpointRecord),
    /// A small value.
    Note(NoteRecord),
    /// A batch.
    Batch(BatchRecord),
}

/// Writes a segment's header.
pub fn encode_header(identity: Identity, segment: u64) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[..8].copy_from_slice(&MAGIC);
    out[8..16].copy_from_slice(&segment.to_be_bytes());
    out[16..24].copy_from_slice(&identity.epoch.0.to_be_bytes());
    out[24..40].copy_from_slice(&identity.origin.0);
    let check = crc32c(&out[..40]);
    out[40..44].copy_from_slice(&check.to_be_bytes());
    out
}

/// Reads a segment's header, unless it is damaged or another segment's.
pub fn decode_header(bytes: &[u8], segment: u64) -> Option<Identity> {
    let header = bytes.first_chunk::<HEADER_BYTES>()?;
    let mut fields = Fields(header);
    let magic = fields.take::<8>()?;
    let number = fields.u64()?;
    let epoch = StoreEpoch(fields.u64()?);
    let origin = Origin(fields.take()?);
    let check = fields.u32()?;
    let whole = (magic == MAGIC || magic == MAGIC_BEFORE)
        && number == segment
        && check == crc32c(&header[..40]);
    whole.then_some(Identity { origin, epoch })
}

/// Version of a segment that only a later program reads, where its header says so.
pub fn newer_version(bytes: &[u8]) -> Option<char> {
    let [stem @ .., version] = bytes.first_chunk::<8>()?;
    let known = [MAGIC[7], MAGIC_BEFORE[7]].contains(version);
    (*stem == MAGIC_STEM && version.is_ascii_graphic() && !known).then_some(char::from(*version))
}

/// Bytes that a unit of `length` takes in a segment.
pub const fn unit_record_bytes(length: usize, deadline_s: u32) -> usize {
    let deadline = if deadline_s == 0 { 0 } else { DEADLINE_BYTES };
    (RECORD_BYTES + UNIT_BYTES + deadline + length).next_multiple_of(8)
}

/// Adds a record to `out`, padded to the boundary; whether it is a member of a batch.
pub fn encode_record(
    out: &mut Vec<u8>,
    epoch: StoreEpoch,
    segment: u64,
    record: &Record,
    member: bool,
) {
    let start = out.len();
    out.extend_from_slice(&RECORD_MAGIC);
    out.extend_from_slice(&[kind(record), member.into(), 0, 0, 0, 0, 0, 0, 0, 0]);
    match record {
        Record::Unit(unit) => {
            put_key(out, unit.spacecraft, unit.channel);
            out.extend_from_slice(&unit.sequence.to_be_bytes());
            out.extend_from_slice(&[unit.codec as u8, unit.priority]);
            out.extend_from_slice(&unit.captured.0.to_be_bytes());
            if unit.deadline_s != 0 {
                out.extend_from_slice(&unit.deadline_s.to_be_bytes());
            }
            out.extend_from_slice(&unit.bytes);
        }
        Record::Receipt(receipt) | Record::Asked(receipt) => {
            put_key(out, receipt.spacecraft, receipt.channel);
            out.extend_from_slice(&receipt.ledger.to_be_bytes());
            out.push(receipt.class);
            put_ranges(out, &receipt.ranges);
        }
        Record::Note(note) => {
            out.extend_from_slice(&note.slot.to_be_bytes());
            out.extend_from_slice(&note.bytes);
        }
        Record::Batch(batch) => {
            out.extend_from_slice(&batch.length.to_be_bytes());
            out.extend_from_slice(&batch.check.to_be_bytes());
        }
        Record::Checkpoint(state) => {
            put_key(out, state.spacecraft, state.channel);
            out.extend_from_slice(&state.next.to_be_bytes());
            out.extend_from_slice(&state.floor.to_be_bytes());
            put_ranges(out, &state.voided);
            out.extend_from_slice(&(state.receipts.len() as u32).to_be_bytes());
            for (ledger, class, ranges) in &state.receipts {
                out.extend_from_slice(&ledger.to_be_bytes());
                out.push(*class);
                put_ranges(out, ranges);
            }
            put_ranges(out, &state.asked);
        }
    }
    let length = out.len() - start - RECORD_BYTES;
    assert!(length <= MAX_BODY_BYTES, "a record body stays under its bound");
    out[start + 4..start + 8].copy_from_slice(&(length as u32).to_be_bytes());
    let check = check(epoch, segment, &out[start..start + 8], &out[start + RECORD_BYTES..]);
    out[start + 8..start + RECORD_BYTES].copy_from_slice(&check.to_be_bytes());
    out.resize(start + (RECORD_BYTES + length).next_multiple_of(8), 0);
}

/// Reads the record at the front of `bytes` and says how many bytes it takes with its padding;
/// nothing, where no whole record of this segment stands there.
pub fn decode_record(bytes: &Bytes, epoch: StoreEpoch, segment: u64) -> Option<(Record, usize)> {
    let head = bytes.first_chunk::<RECORD_BYTES>()?;
    let mut fields = Fields(head);
    if fields.take::<2>()? != RECORD_MAGIC {
        return None;
    }
    let [kind, _] = fields.take()?;
    let length = fields.u32()? as usize;
    let stated = fields.u32()?;
    // Padding included: what reads a record reads up to the boundary.
    let padded = (RECORD_BYTES + length.min(MAX_BODY_BYTES)).next_multiple_of(8);
    if length > MAX_BODY_BYTES || bytes.len() < padded {
        return None;
    }
    let body = bytes.slice(RECORD_BYTES..RECORD_BYTES + length);
    if stated != check(epoch, segment, &head[..8], &body) {
        return None;
    }
    let record = decode_body(kind, &body)?;
    Some((record, padded))
}

/// Whether the record at the front of `bytes`, which was read, belongs to a batch.
pub fn is_member(bytes: &[u8]) -> bool {
    bytes.get(3).is_some_and(|flags| flags & 1 != 0)
}

fn kind(record: &Record) -> u8 {
    match record {
        Record::Unit(unit) if unit.deadline_s != 0 => 6,
        Record::Unit(_) => 1,
        Record::Receipt(_) => 2,
        Record::Asked(_) => 3,
        Record::Checkpoint(_) => 4,
        Record::Note(_) => 5,
        Record::Batch(_) => 7,
    }
}

fn check(epoch: StoreEpoch, segment: u64, head: &[u8], body: &[u8]) -> u32 {
    let mut digest = Crc32c::new();
    digest.update(&epoch.0.to_be_bytes());
    digest.update(&segment.to_be_bytes());
    digest.update(head);
    digest.update(body);
    digest.finish()
}

fn put_key(out: &mut Vec<u8>, spacecraft: SpacecraftId, channel: Channel) {
    out.extend_from_slice(&spacecraft.0.to_be_bytes());
    out.extend_from_slice(&channel.0.to_be_bytes());
}

fn put_ranges(out: &mut Vec<u8>, ranges: &RangeSet) {
    out.extend_from_slice(&(ranges.len() as u32).to_be_bytes());
    for range in ranges.ranges() {
        out.extend_from_slice(&range.first.to_be_bytes());
        out.extend_from_slice(&range.last.to_be_bytes());
    }
}

fn decode_body(kind: u8, body: &Bytes) -> Option<Record> {
    let mut fields = Fields(body);
    if kind == 5 {
        let slot = fields.u32()?;
        return Some(Record::Note(NoteRecord { slot, bytes: body.slice(4..) }));
    }
    if kind == 7 {
        let batch = BatchRecord { length: fields.u32()?, check: fields.u32()? };
        return Some(Record::Batch(batch));
    }
    let spacecraft = SpacecraftId(u16::from_be_bytes(fields.take()?));
    let channel = Channel(fields.u64()?);
    Some(match kind {
        1 | 6 => {
            let sequence = fields.u64()?;
            let [codec, priority] = fields.take()?;
            let codec = Codec::from_byte(codec)?;
            let captured = Tai(fields.u64()? as i64);
            let deadline_s = if kind == 6 { fields.u32().filter(|of| *of != 0)? } else { 0 };
            let bytes = body.slice(body.len() - fields.0.len()..);
            Record::Unit(UnitRecord {
                spacecraft,
                channel,
                sequence,
                codec,
                priority,
                captured,
                deadline_s,
                bytes,
            })
        }
        2 | 3 => {
            let ledger = fields.u64()?;
            let [class] = fields.take()?;
            let ranges = fields.ranges()?;
            let receipt = ReceiptRecord { spacecraft, channel, ledger, class, ranges };
            if kind == 2 { Record::Receipt(receipt) } else { Record::Asked(receipt) }
        }
        4 => {
            let (next, floor) = (fields.u64()?, fields.u64()?);
            let voided = fields.ranges()?;
            let receipts = (0..fields.u32()?)
                .map(|_| {
                    let ledger = fields.u64()?;
                    let [class] = fields.take()?;
                    Some((ledger, class, fields.ranges()?))
                })
                .collect::<Option<Vec<_>>>()?;
            // Segments of the version before end here.
            let asked = if fields.0.is_empty() { RangeSet::new() } else { fields.ranges()? };
            Record::Checkpoint(CheckpointRecord {
                spacecraft,
                channel,
                next,
                floor,
                voided,
                receipts,
                asked,
            })
        }
        _ => return None,
    })
}

/// Fields from the front; none where the bytes end before.
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

    fn ranges(&mut self) -> Option<RangeSet> {
        let count = self.u32()? as usize;
        if count * 16 > self.0.len() {
            return None;
        }
        (0..count).map(|_| SeqRange::new(self.u64()?, self.u64()?)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: StoreEpoch = StoreEpoch(0x1234_5678_9abc_def0);

    fn unit(bytes: &'static [u8]) -> Record {
        Record::Unit(UnitRecord {
            spacecraft: SpacecraftId(7),
            channel: Channel::stream(1),
            sequence: 9,
            codec: Codec::Squeezed,
            priority: 100,
            captured: Tai(5),
            deadline_s: 0,
            bytes: Bytes::from_static(bytes),
        })
    }

    fn due_unit(bytes: &'static [u8]) -> Record {
        let Record::Unit(unit) = unit(bytes) else { unreachable!() };
        Record::Unit(UnitRecord { deadline_s: 3600, ..unit })
    }

    fn ranges(pairs: &[(u64, u64)]) -> RangeSet {
        pairs.iter().map(|(first, last)| SeqRange { first: *first, last: *last }).collect()
    }

    fn every_kind() -> Vec<Record> {
        let receipt = ReceiptRecord {
            spacecraft: SpacecraftId(7),
            channel: Channel::VOIDS,
            ledger: 77,
            class: 1,
            ranges: ranges(&[(0, 3), (9, 9)]),
        };
        let state = CheckpointRecord {
            spacecraft: SpacecraftId(7),
            channel: Channel::RECORDS,
            next: 12,
            floor: 1,
            voided: ranges(&[(4, 4)]),
            receipts: vec![(77, 1, ranges(&[(0, 3)])), (78, 2, RangeSet::new())],
            asked: ranges(&[(6, 8)]),
        };
        vec![
            unit(b""),
            unit(b"some bytes"),
            due_unit(b""),
            due_unit(b"some bytes"),
            Record::Receipt(receipt.clone()),
            Record::Asked(receipt),
            Record::Checkpoint(state),
            Record::Note(NoteRecord { slot: 3, bytes: Bytes::from_static(b"kept") }),
            Record::Batch(BatchRecord { length: 80, check: 7 }),
        ]
    }

    #[test]
    fn records_come_back_and_every_cut_or_flip_is_seen() {
        for record in every_kind() {
            let mut bytes = Vec::new();
            encode_record(&mut bytes, EPOCH, 3, &record, false);
            assert_eq!(bytes.len() % 8, 0);
            let whole = Bytes::from(bytes.clone());
            assert_eq!(decode_record(&whole, EPOCH, 3), Some((record.clone(), bytes.len())));
            assert_eq!(decode_record(&whole, EPOCH, 4), None, "another segment's record");
            let length = u32::from_be_bytes(*bytes[4..].first_chunk().unwrap()) as usize;
            for cut in 0..bytes.len() {
                assert_eq!(decode_record(&whole.slice(..cut), EPOCH, 3), None, "cut at {cut}");
            }
            for bit in 0..(RECORD_BYTES + length) * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode_record(&flipped.into(), EPOCH, 3), None, "bit {bit}");
            }
        }
    }

    #[test]
    fn a_header_belongs_to_one_segment() {
        let identity = Identity { origin: Origin([5; 16]), epoch: EPOCH };
        let header = encode_header(identity, 8);
        assert_eq!(decode_header(&header, 8), Some(identity));
        assert_eq!(decode_header(&header, 9), None);
        assert_eq!(decode_header(&header[..47], 8), None);
        let mut damaged = header;
        damaged[20] ^= 1;
        assert_eq!(decode_header(&damaged, 8), None);
    }
}
