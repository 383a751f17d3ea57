//! An allocator that counts, for tests that bound what a hot path allocates.

#![allow(unsafe_code, reason = "an allocator is one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    // Constant and without a destructor: touching it allocates nothing.
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, with a count for each thread. A test makes it the global one.
pub struct Counting;

/// How often this thread allocated or grew memory while `work` ran, and what `work` gave.
pub fn allocations<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = TAKEN.get();
    let given = work();
    (TAKEN.get() - before, given)
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.set(TAKEN.get() + 1);
        // SAFETY: the caller holds what `alloc` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        TAKEN.set(TAKEN.get() + 1);
        // SAFETY: the caller holds what `alloc_zeroed` asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        TAKEN.set(TAKEN.get() + 1);
        // SAFETY: the caller holds what `realloc` asks for.
        unsafe { System.realloc(memory, layout, bytes) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller holds what `dealloc` asks for.
        unsafe { System.dealloc(memory, layout) }
    }
}
