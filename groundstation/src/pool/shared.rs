//! Memory that the daemon and its embedded pool both see: inputs are copied there, and models read
//! them where they lie.
//!
//! A file without a name, cut into slots, which nobody can make shorter: what is mapped stays. The
//! daemon writes a question's inputs into a slot, and the next one's only after the child has
//! answered, were it to say of a question that was given up that no model reads it any more.

use super::oip::OipError;
use super::sys::map::{View, Writer};
use bytes::Bytes;
use codecs::tensor::Tensor;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What questions call it.
pub const REGION: &str = "embedded";

/// Questions that have inputs there at a time; further ones go through the socket.
const SLOTS: usize = 4;

/// Bytes of a slot. Memory is taken as slots are written, and kept.
const SLOT_BYTES: usize = 8 << 20;

/// What one pool's takes, once all of it was used.
pub const SHARED_BYTES: u64 = (SLOTS * SLOT_BYTES) as u64;

/// Inputs shorter than this go with the question.
const WORTH_BYTES: usize = 8 << 10;

/// Tensors begin at multiples of this.
const ALIGN: usize = 64;

/// The daemon's end.
#[derive(Debug)]
pub struct Lender {
    file: File,
    slots: Mutex<Slots>,
}

#[derive(Debug)]
struct Slots {
    memory: Writer,
    free: Vec<usize>,
}

/// Where a question's inputs lie, until it is answered.
#[derive(Debug)]
pub struct Place {
    lender: Arc<Lender>,
    slot: usize,
    /// Where each tensor begins.
    pub offsets: Vec<u64>,
}

impl Lender {
    /// Memory of its own.
    pub fn new() -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = File::from(memfd_create("groundstation-pool", flags)?);
        file.set_len((SLOTS * SLOT_BYTES) as u64)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let memory = Writer::new(&file, SLOTS * SLOT_BYTES)?;
        let free = (0..SLOTS).rev().collect();
        Ok(Self { file, slots: Mutex::new(Slots { memory, free }) })
    }

    /// Where a child of this process finds it.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lays a question's inputs down; none where they are small, too large, or no slot is free.
    pub fn lay(self: &Arc<Self>, tensors: &[Tensor]) -> Option<Place> {
        let mut end = 0usize;
        let mut offsets = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            offsets.push(end);
            end = (end + tensor.data.len()).next_multiple_of(ALIGN);
        }
        if !(WORTH_BYTES..=SLOT_BYTES).contains(&end) {
            return None;
        }
        let mut slots = self.slots();
        let slot = slots.free.pop()?;
        let mut place = Place { lender: Arc::clone(self), slot, offsets: Vec::new() };
        for (tensor, offset) in tensors.iter().zip(offsets) {
            let at = slot * SLOT_BYTES + offset;
            // Every slot is within.
            slots.memory.write(at, &tensor.data);
            place.offsets.push(at as u64);
        }
        Some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The latest goes first: its memory is in the processor's caches.
        self.lender.slots().free.push(self.slot);
    }
}

/// The child's end.
#[derive(Debug)]
pub struct Borrower(View);

impl Borrower {
    /// Opens what [`Lender::path`] names.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(View::new(&File::open(path)?, SLOTS * SLOT_BYTES)?))
    }

    /// A part of a region, as it stands there; `lent` is dropped with the last who reads it.
    pub fn read<T: Send + 'static>(
        &self,
        region: &str,
        offset: u64,
        bytes: u64,
        lent: T,
    ) -> Result<Bytes, OipError> {
        if region != REGION {
            return Err(OipError(format!("no shared memory region {region:?}")));
        }
        let part = match (usize::try_from(offset), usize::try_from(bytes)) {
            (Ok(offset), Ok(bytes)) => self.0.part(offset, bytes, lent),
            _ => None,
        };
        part.ok_or_else(|| OipError(format!("region {region:?} has no {bytes} bytes at {offset}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::tensor::DType;

    fn bytes(count: usize, value: u8) -> Tensor {
        Tensor::new("x", DType::U8, vec![count as u64], vec![value; count].into()).unwrap()
    }

    #[test]
    fn what_is_laid_down_is_read_by_the_path() {
        let lender = Arc::new(Lender::new().unwrap());
        let borrower = Borrower::open(Path::new(&lender.path())).unwrap();
        let tensors = [bytes(100_001, 1), bytes(3, 2)];
        let place = lender.lay(&tensors).unwrap();
        let other = lender.lay(&[bytes(50_000, 9)]).unwrap();
        for (tensor, offset) in tensors.iter().zip(&place.offsets) {
            let length = tensor.data.len() as u64;
            assert_eq!(borrower.read(REGION, *offset, length, ()).unwrap(), tensor.data);
        }
        let read = borrower.read(REGION, other.offsets[0], 50_000, ()).unwrap();
        assert_eq!(read[..], [9; 50_000]);
    }

    #[test]
    fn slots_come_back_and_what_does_not_fit_goes_another_way() {
        let lender = Arc::new(Lender::new().unwrap());
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
        let end = (SLOTS * SLOT_BYTES) as u64;
        for (region, offset, bytes) in [
            ("other", 0, 1),
            (REGION, end, 1),
            (REGION, end - 1, 2),
            (REGION, u64::MAX, u64::MAX),
            (REGION, 1, end),
        ] {
            let read = borrower.read(region, offset, bytes, ());
            assert!(read.is_err(), "{region} {offset} {bytes}");
        }
    }
}
