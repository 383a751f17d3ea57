//! Memory that a disk takes as it stands: aligned to the largest block of devices in use.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

/// Alignment of the memory and of its length.
pub const ALIGN: usize = 4096;

/// Zeroed bytes at a multiple of [`ALIGN`], for writes that bypass the page cache.
#[derive(Debug)]
pub struct Aligned {
    memory: NonNull<u8>,
    bytes: usize,
}

// SAFETY: it owns its memory alone, as a boxed slice does.
unsafe impl Send for Aligned {}
// SAFETY: shared references only read.
unsafe impl Sync for Aligned {}

impl Aligned {
    /// So many bytes of zeros, rounded up to whole blocks.
    ///
    /// # Panics
    /// If `bytes` is 0 or above `isize::MAX`.
    pub fn zeroed(bytes: usize) -> Self {
        assert!(bytes > 0, "an empty block holds nothing");
        let layout = Self::layout(bytes.next_multiple_of(ALIGN));
        // SAFETY: the layout is not empty.
        let memory = unsafe { alloc_zeroed(layout) };
        let memory = NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout));
        Self { memory, bytes: layout.size() }
    }

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, ALIGN).expect("a block fits the address space")
    }
}

impl Deref for Aligned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the memory was allocated with this length, all of it initialised.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.bytes) }
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and this reference is the only one.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.bytes) }
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        // SAFETY: allocated with this very layout, and never used again.
        unsafe { dealloc(self.memory.as_ptr(), Self::layout(self.bytes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_whole_zeroed_and_where_a_disk_wants_them() {
        for bytes in [1, 4095, 4096, 4097, 1 << 20] {
            let mut block = Aligned::zeroed(bytes);
            assert!(block.len() >= bytes && block.len().is_multiple_of(ALIGN));
            assert!(block.as_ptr().addr().is_multiple_of(ALIGN));
            assert!(block.iter().all(|byte| *byte == 0));
            block.fill(7);
            assert!(block.iter().all(|byte| *byte == 7));
        }
    }
}
