//! The end of a segment: by size, by age or at a stop, with a footer that the next segment repeats.
//!
//! The footer is a SHA-256 over the segment's header, which states the footer before, and of every
//! unit the CRC of its record's header and its digest. So one hash over a fiftieth of the bytes
//! fixes all of them, in their order and back to the first segment: a segment that was exchanged,
//! cut or put together anew breaks the chain even where each of its records holds.

use super::{
    Now,
    record::{self, Position, UnitHeader},
    storage::{Storage, StoredFile, read_up_to, write_all},
    volume::{Segment, Volume},
};
use codecs::time::Tai;
use sha2::{Digest as _, Sha256};
use std::io;

/// Hash that ends a segment.
pub type Footer = [u8; 32];

/// Footer before the first segment.
pub const NO_FOOTER: Footer = [0; 32];

/// The footer of a segment as far as it is written.
#[derive(Clone, Debug)]
pub struct Chain(Sha256);

impl Chain {
    /// Begins with the bytes of a segment's header, padding included.
    pub fn begin(header: &[u8]) -> Self {
        Self(Sha256::new_with_prefix(header))
    }

    /// Begins with the header of a stored segment whose records begin at `from`.
    pub fn of(file: &impl StoredFile, from: u64) -> io::Result<Self> {
        let mut header = vec![0; from as usize];
        let got = read_up_to(file, 0, &mut header)?;
        header.truncate(got);
        Ok(Self::begin(&header))
    }

    /// Takes in the stamped header of the next unit's record.
    pub fn record(&mut self, header: &[u8; record::UNIT_HEADER_BYTES]) {
        self.0.update(record::gist(header));
    }

    /// Takes in the next unit's record as a scan gives it.
    pub fn scanned(&mut self, unit: &UnitHeader, place: Position) {
        let mut header = unit.encode();
        record::stamp(&mut header, place);
        self.record(&header);
    }

    /// The footer if the segment ended here.
    pub fn footer(&self) -> Footer {
        self.0.clone().finalize().into()
    }
}

/// What an end record says, and where it stands.
pub(super) struct Ending {
    pub number: u64,
    /// Behind the last synced commit.
    pub at: u64,
    pub units: u64,
    pub bytes: u64,
    pub sealed: Tai,
    pub footer: Footer,
}

impl<F> Segment<F> {
    fn ending(&self, sealed: Tai) -> Ending {
        Ending {
            number: self.number,
            at: self.end,
            units: self.units,
            bytes: self.bytes,
            sealed,
            footer: self.chain.footer(),
        }
    }
}

/// Writes the end record and cuts off spare room; where the file then ends.
///
/// The record is synced before the file is cut: a file off its block says that it was sealed.
pub(super) fn write_end(file: &mut impl StoredFile, ending: &Ending) -> io::Result<u64> {
    let mut end = record::end(ending.units, ending.bytes, ending.sealed, &ending.footer);
    record::stamp(&mut end, Position { segment: ending.number, offset: ending.at });
    let ended = ending.at + end.len() as u64;
    write_all(file, ending.at, &end)?;
    file.sync()?;
    file.truncate(ended)?;
    file.sync()?;
    Ok(ended)
}

/// Ends the open segment; where its file then ends.
pub(super) fn end_open<F: StoredFile>(open: &mut Segment<F>, now: Tai) -> io::Result<u64> {
    let ending = open.ending(now);
    write_end(&mut open.file, &ending)
}

impl<S: Storage> Volume<S> {
    /// When the open segment, which holds units, is due to be sealed: monotonic milliseconds.
    pub fn seal_due_ms(&self, age_ms: u64) -> Option<u64> {
        self.open.as_ref().map(|open| open.begun_ms.saturating_add(age_ms))
    }

    /// Seals the open segment once it is `age_ms` old and nothing in it waits for a sync; whether it
    /// did.
    pub fn seal_aged(&mut self, now: Now, age_ms: u64) -> bool {
        let due = self.seal_due_ms(age_ms).is_some_and(|due| due <= now.mono_ms);
        let due = due && self.is_synced();
        if due {
            self.seal(now.tai);
        }
        due
    }
}
