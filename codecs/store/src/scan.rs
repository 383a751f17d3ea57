//! Reading back what a medium kept: every whole record in order, whatever lies between.

use bytes::Bytes;
use codecs::ids::StoreEpoch;

use super::format::{HEADER_BYTES, Identity, Record, decode_header, decode_record};

/// A record with where it stands.
#[derive(Debug)]
pub struct Found {
    /// Offset of the record.
    pub offset: u32,
    /// The record.
    pub record: Record,
}

/// What one segment holds.
#[derive(Debug, Default)]
pub struct Scanned {
    /// Whole records in order.
    pub records: Vec<Found>,
    /// Bytes that belong to no whole record: a torn tail, or damage.
    pub stray_bytes: u64,
}

/// Identity in the segment's header.
pub fn identity(bytes: &[u8], segment: u64) -> Option<Identity> {
    decode_header(bytes, segment)
}

/// Reads every whole record. Behind damage it goes on at the next boundary where one stands.
pub fn scan(bytes: &Bytes, epoch: StoreEpoch, segment: u64) -> Scanned {
    let mut scanned = Scanned::default();
    let mut offset = HEADER_BYTES.min(bytes.len());
    while offset < bytes.len() {
        match decode_record(&bytes.slice(offset..), epoch, segment) {
            Some((record, length)) => {
                scanned.records.push(Found { offset: offset as u32, record });
                offset += length;
            }
            None => {
                let step = 8.min(bytes.len() - offset);
                scanned.stray_bytes += step as u64;
                offset += step;
            }
        }
    }
    scanned
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
            encode_record(&mut bytes, identity.epoch, 4, &Record::Unit(unit));
        }
        bytes[starts[2] + 60] ^= 4;
        bytes.truncate(bytes.len() - 20);
        let scanned = scan(&bytes.into(), identity.epoch, 4);
        let found: Vec<usize> = scanned.records.iter().map(|at| at.offset as usize).collect();
        assert_eq!(found, [starts[0], starts[1], starts[3]]);
        assert_eq!(scanned.stray_bytes as usize, 2 * (starts[1] - starts[0]) - 20);
    }
}
