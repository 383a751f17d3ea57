//! Memory that the daemon and its embedded pool both see: large inputs are laid there and read once,
//! instead of going through a socket.
//!
//! A file without a name, cut into slots. The daemon writes a question's inputs into one, the child
//! reads them out as it takes the question up; nothing is mapped, so that nobody can pull memory
//! away under the other. A slot that is used again while the child still reads for a question that
//! was given up spoils an answer that nobody waits for.

use super::oip::OipError;
use super::room::Rooms;
use bytes::Bytes;
use codecs::tensor::Tensor;
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// What questions call it.
pub const REGION: &str = "embedded";

/// Questions that have inputs there at a time; further ones go through the socket.
const SLOTS: u64 = 4;

/// Bytes of a slot. Memory is taken as slots are written, and kept.
const SLOT_BYTES: u64 = 8 << 20;

/// Inputs shorter than this go with the question.
const WORTH_BYTES: u64 = 32 << 10;

/// Tensors begin at multiples of this.
const ALIGN: u64 = 64;

/// The daemon's end.
#[derive(Debug)]
pub struct Lender {
    file: File,
    free: Mutex<Vec<u64>>,
}

/// Where a question's inputs lie, until it is answered or given up.
#[derive(Debug)]
pub struct Place<'a> {
    lender: &'a Lender,
    slot: u64,
    /// Where each tensor begins.
    pub offsets: Vec<u64>,
}

impl Lender {
    /// Memory of its own.
    pub fn new() -> io::Result<Self> {
        let file = File::from(memfd_create("groundstation-pool", MemfdFlags::CLOEXEC)?);
        file.set_len(SLOTS * SLOT_BYTES)?;
        Ok(Self { file, free: Mutex::new((0..SLOTS).rev().collect()) })
    }

    /// Where a child of this process finds it.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// Lays a question's inputs down; none where they are small, too large, or no slot is free.
    pub fn lay(&self, tensors: &[Tensor]) -> Option<Place<'_>> {
        let mut end = 0u64;
        let mut offsets = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            offsets.push(end);
            end = (end + tensor.data.len() as u64).next_multiple_of(ALIGN);
        }
        if !(WORTH_BYTES..=SLOT_BYTES).contains(&end) {
            return None;
        }
        let slot = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        offsets.iter_mut().for_each(|offset| *offset += slot * SLOT_BYTES);
        // From here on the slot goes back by itself.
        let place = Place { lender: self, slot, offsets };
        for (tensor, offset) in tensors.iter().zip(&place.offsets) {
            self.file.write_all_at(&tensor.data, *offset).ok()?;
        }
        Some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // The latest goes first: its memory is in the processor's caches.
        self.lender.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.slot);
    }
}

/// The child's end.
#[derive(Debug)]
pub struct Borrower(Mutex<File>);

impl Borrower {
    /// Opens what [`Lender::path`] names.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(Mutex::new(File::open(path)?)))
    }

    /// Reads a part of a region.
    pub fn read(
        &self,
        region: &str,
        offset: u64,
        bytes: u64,
        rooms: &Rooms,
    ) -> Result<Bytes, OipError> {
        if region != REGION {
            return Err(OipError(format!("no shared memory region {region:?}")));
        }
        if bytes > SLOT_BYTES || offset.saturating_add(bytes) > SLOTS * SLOT_BYTES {
            return Err(OipError(format!("region {region:?} has no {bytes} bytes at {offset}")));
        }
        let mut room = rooms.take(bytes as usize);
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let read = file
            .seek(SeekFrom::Start(offset))
            .and_then(|_| file.by_ref().take(bytes).read_to_end(&mut room.piece));
        match read {
            Ok(length) if length as u64 == bytes => Ok(room.into_bytes()),
            Ok(length) => Err(OipError(format!("region {region:?} ended after {length} bytes"))),
            Err(error) => Err(OipError(format!("region {region:?}: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::tensor::DType;

    fn bytes(count: u64, value: u8) -> Tensor {
        Tensor::new("x", DType::U8, vec![count], vec![value; count as usize].into()).unwrap()
    }

    #[test]
    fn what_is_laid_down_is_read_by_the_path() {
        let lender = Lender::new().unwrap();
        let borrower = Borrower::open(Path::new(&lender.path())).unwrap();
        let rooms = Rooms::default();
        let tensors = [bytes(100_001, 1), bytes(3, 2)];
        let place = lender.lay(&tensors).unwrap();
        let other = lender.lay(&[bytes(50_000, 9)]).unwrap();
        for (tensor, offset) in tensors.iter().zip(&place.offsets) {
            let length = tensor.data.len() as u64;
            assert_eq!(borrower.read(REGION, *offset, length, &rooms).unwrap(), tensor.data);
        }
        let read = borrower.read(REGION, other.offsets[0], 50_000, &rooms).unwrap();
        assert_eq!(read[..], [9; 50_000]);
    }

    #[test]
    fn slots_come_back_and_what_does_not_fit_goes_another_way() {
        let lender = Lender::new().unwrap();
        let large = [bytes(40_000, 1)];
        let places: Vec<_> = (0..SLOTS).map(|_| lender.lay(&large).unwrap()).collect();
        assert!(lender.lay(&large).is_none(), "all are lent");
        drop(places);
        assert!(lender.lay(&large).is_some());
        assert!(lender.lay(&[bytes(1_000, 1)]).is_none(), "not worth it");
        assert!(lender.lay(&[bytes(SLOT_BYTES + 1, 1)]).is_none());
        assert!(lender.lay(&[]).is_none());
    }

    #[test]
    fn nothing_outside_is_read() {
        let lender = Lender::new().unwrap();
        let borrower = Borrower::open(Path::new(&lender.path())).unwrap();
        let end = SLOTS * SLOT_BYTES;
        for (region, offset, bytes) in [
            ("other", 0, 1),
            (REGION, end, 1),
            (REGION, end - 1, 2),
            (REGION, u64::MAX, u64::MAX),
            (REGION, 0, SLOT_BYTES + 1),
        ] {
            let read = borrower.read(region, offset, bytes, &Rooms::default());
            assert!(read.is_err(), "{region} {offset} {bytes}");
        }
    }
}
