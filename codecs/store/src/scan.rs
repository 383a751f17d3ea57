//! Reading back what a medium kept: every whole record in order, whatever lies between.

use bytes::Bytes;
use codecs::{fec::crc::crc32c, ids::StoreEpoch};

use super::format::{HEADER_BYTES, Identity, Record, decode_header, decode_record, is_member};

/// A record with where it stands.
#[derive(Debug)]
pub struct Found {
    /// Offset of the record.
    pub offset: u32,
    /// Bytes that it takes, padding included.
    pub length: u32,
    /// Whether it belongs to a batch.
    pub member: bool,
    /// The record.
    pub record: Record,
}

/// What one segment holds.
#[derive(Debug, Default)]
pub struct Scanned {
    /// Whole records in order.
    pub records: Vec<Found>,
    /// Records of a batch that was cut while it was written: never stated, so never to count.
    pub cut: Vec<Found>,
    /// Bytes that belong to no whole record: a torn tail, or damage.
    pub stray_bytes: u64,
    /// Where the first of them stand that have a whole record behind them, and how many do: a tail
    /// is torn by every cut of power, this is not.
    pub damaged: Option<(u64, u64)>,
    /// Bytes behind the last whole record: all of them where the header is not readable.
    pub tail_bytes: u64,
}

/// Identity in the segment's header.
pub fn identity(bytes: &[u8], segment: u64) -> Option<Identity> {
    decode_header(bytes, segment)
}

/// Reads every whole record. Behind damage it goes on at the next boundary where one stands.
pub fn scan(bytes: &Bytes, epoch: StoreEpoch, segment: u64) -> Scanned {
    let mut scanned = Scanned::default();
    let mut offset = HEADER_BYTES.min(bytes.len());
    // Bytes without a record since the last whole one, and where they begin.
    let mut gap = match identity(bytes, segment) {
        Some(_) => (offset, 0),
        None => (0, offset),
    };
    while offset < bytes.len() {
        let rest = bytes.slice(offset..);
        match decode_record(&rest, epoch, segment) {
            Some((record, length)) => {
                if gap.1 > 0 {
                    let (first, before) = scanned.damaged.unwrap_or((gap.0 as u64, 0));
                    scanned.damaged = Some((first, before + gap.1 as u64));
                }
                gap = (offset + length, 0);
                let member = is_member(&rest);
                let (at, length) = (offset as u32, length as u32);
                scanned.records.push(Found { offset: at, length, member, record });
                offset += length as usize;
            }
            None => {
                let step = 8.min(bytes.len() - offset);
                scanned.stray_bytes += step as u64;
                gap.1 += step;
                offset += step;
            }
        }
    }
    scanned.tail_bytes = match scanned.records.is_empty() {
        true => bytes.len().saturating_sub(if gap.0 == 0 { 0 } else { HEADER_BYTES }) as u64,
        false => gap.1 as u64,
    };
    if let Some(from) = cut_from(bytes, &scanned.records) {
        scanned.cut = scanned.records.split_off(from);
        scanned.stray_bytes += scanned.cut.iter().map(|of| u64::from(of.length)).sum::<u64>();
    }
    scanned
}

/// Index of the first record of a last batch that is not whole. Where anything whole stands behind
/// it the batch was synced once, and what it lacks was damaged at rest: that costs only itself.
fn cut_from(bytes: &Bytes, records: &[Found]) -> Option<usize> {
    let (mut whole_to, mut from) = (0, None);
    for (at, found) in records.iter().enumerate() {
        if let Record::Batch(batch) = found.record {
            let start = (found.offset + found.length) as usize;
            let end = start.saturating_add(batch.length as usize);
            if bytes.get(start..end).is_some_and(|members| crc32c(members) == batch.check) {
                whole_to = end;
            }
        }
        let end = (found.offset + found.length) as usize;
        let stands = !found.member || end <= whole_to;
        from = if stands { None } else { from.or(Some(at)) };
    }
    from
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{UnitRecord, encode_header, encode_record};
    use codecs::{
        ids::{Channel, Codec, Origin, SpacecraftId},
        time::Tai,
    };

    #[test]
    fn damage_costs_its_own_record_only() {
        let identity = Identity { origin: Origin([1; 16]), epoch: StoreEpoch(2) };
        let mut bytes = Vec::from(encode_header(identity, 4));
        let mut starts = Vec::new();
        for sequence in 0..5 {
            starts.push(bytes.len());
            let unit = UnitRecord {
                spacecraft: SpacecraftId(7),
                channel: Channel::stream(1),
                sequence,
                codec: Codec::Squeezed,
                priority: 1,
                captured: Tai(0),
                deadline_s: 0,
                bytes: vec![sequence as u8; 100].into(),
            };
            encode_record(&mut bytes, identity.epoch, 4, &Record::Unit(unit), false);
        }
        bytes[starts[2] + 60] ^= 4;
        bytes.truncate(bytes.len() - 20);
        let scanned = scan(&bytes.into(), identity.epoch, 4);
        let found: Vec<usize> = scanned.records.iter().map(|at| at.offset as usize).collect();
        assert_eq!(found, [starts[0], starts[1], starts[3]]);
        let record = starts[1] - starts[0];
        assert_eq!(scanned.stray_bytes as usize, 2 * record - 20);
        // The tail may have been torn by a cut.
        assert_eq!(scanned.damaged, Some((starts[2] as u64, record as u64)));
        assert_eq!(scanned.tail_bytes as usize, record - 20);
    }
}
