//! Reads archived units back in the order in which they were archived.

use super::{
    Archived,
    record::{BLOCK_BYTES, Position},
    scan::{Step, scan},
    segment::{SegmentHeader, file_name, number_of},
    storage::Storage,
};
use bytes::Bytes;
use codecs::link::object::Annotation;
use std::io;

/// Hands out the units from `from` up to `to` (exclusive), as replayed. Damaged records are passed
/// over: `audit` names them.
pub fn replay<S: Storage>(
    storage: &mut S,
    from: Position,
    to: Position,
    mut sink: impl FnMut(Archived) -> io::Result<()>,
) -> io::Result<()> {
    let mut numbers: Vec<u64> = storage.list()?.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();
    numbers.retain(|number| (from.segment..=to.segment).contains(number));
    for (index, number) in numbers.iter().copied().enumerate() {
        let file = match storage.open(&file_name(number)) {
            // An empty segment may be removed while this runs.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        let first = match SegmentHeader::read(&file, number)? {
            Ok((_, first)) => first,
            Err(_) => BLOCK_BYTES as u64,
        };
        let start = if number == from.segment { from.offset.max(first) } else { first };
        let mut end = if number == to.segment { to.offset } else { u64::MAX };
        // What stands behind the end that the next header names was never acknowledged.
        if let Some(next) = numbers.get(index + 1)
            && let Ok((header, _)) = SegmentHeader::read(&storage.open(&file_name(*next))?, *next)?
            && let Some((_, stated)) = header.previous.filter(|(before, _)| *before == number)
        {
            end = end.min(stated);
        }
        scan(&file, number, start, end, false, |step| match step {
            Step::Unit { offset, header, bytes } => sink(Archived {
                key: header.key,
                codec: header.codec,
                received: header.received,
                annotation: header.annotation.map(Annotation::decode),
                bytes: Bytes::copy_from_slice(bytes),
                position: Position { segment: number, offset },
                replayed: true,
            }),
            Step::Damage(_) => Ok(()),
        })?;
    }
    Ok(())
}
