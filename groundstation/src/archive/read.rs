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
        if let Some(next) = numbers.get(index + 1) {
            let stated = stated_end(storage, *next, number)?;
            end = end.min(stated.unwrap_or(u64::MAX));
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

/// Where segment `number` ends, as the header of the `next` one says. Retention may let that one go
/// while this runs.
fn stated_end<S: Storage>(storage: &mut S, next: u64, number: u64) -> io::Result<Option<u64>> {
    let file = match storage.open(&file_name(next)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let header = SegmentHeader::read(&file, next)?.ok().map(|(header, _)| header);
    let previous = header.and_then(|header| header.previous);
    Ok(previous.filter(|(before, _)| *before == number).map(|(_, stated)| stated))
}
