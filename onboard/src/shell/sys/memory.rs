//! The end of a process that has no memory left.
//!
//! The standard library's end may never come: a panic takes a lock to print a backtrace, printing it
//! allocates, and the failure of that waits for the same lock. A process that hangs so is deaf to
//! SIGTERM too. Here the first allocation that is refused ends it with one line and a code of its
//! own, so that whoever watches starts it again.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    io::Write,
};

/// Code that a process ends with when memory is refused: EX_OSERR of sysexits.h.
pub const MEMORY_EXIT: i32 = 71;
/// A refusal of so many bytes and more is an answer: who asks for that much at once may be reading
/// a file of a stranger, and can refuse it. Where it can't, the standard library ends the process.
const ASKED_BYTES: usize = 1 << 20;

/// The system's allocator, which ends the process where it has nothing left.
#[derive(Debug)]
pub struct Ending;

// SAFETY: each call goes to the system's allocator as it came, under the caller's own promises, and
// what it gives is given on.
unsafe impl GlobalAlloc for Ending {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        given(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        given(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        given(unsafe { System.realloc(old, layout, size) }, size)
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(old, layout) }
    }
}

fn given(memory: *mut u8, bytes: usize) -> *mut u8 {
    if memory.is_null() && bytes < ASKED_BYTES {
        end(bytes)
    }
    memory
}

/// Says why in one write, without allocating, and ends without anything else: no lock, no hook, no
/// destructor. What was synced is in the store.
#[cold]
fn end(bytes: usize) -> ! {
    let mut line = [0u8; 160];
    let mut rest = &mut line[..];
    let _ = writeln!(
        rest,
        "onboard: out of memory: {bytes} bytes were refused ([health] memory_bytes_max, or the \
         system's own limit); ending with {MEMORY_EXIT}"
    );
    let length = 160 - rest.len();
    // SAFETY: the bytes are initialised and live through the call, and _exit does not return.
    unsafe {
        libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), length);
        libc::_exit(MEMORY_EXIT)
    }
}
