//! The pool of blocks that units are copied into, once, and published out of.
//!
//! A block is filled, written, published, and comes back when the last slice of it is dropped. So
//! many exist and no more: who finds none waits, and the wait reaches the sender through its
//! stream.

use super::record::{BLOCK_BYTES, UNIT_BYTES_MAX, UNIT_HEADER_BYTES};
use crate::sys::aligned::Aligned;
use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

/// Bytes of a block: one write. Holds the largest unit with its record and the skip behind it.
pub const BYTES: usize =
    (UNIT_BYTES_MAX + UNIT_HEADER_BYTES).next_multiple_of(BLOCK_BYTES) + BLOCK_BYTES;
/// Blocks that exist at most: what a fast link brings while one commit is written and another is
/// synced, and as much again for those who interpret it. Used ones are used again first, so that a
/// slow link touches few.
pub const COUNT: usize = 12;
/// Blocks that may be out with those who interpret what is in them. However long they keep them,
/// ingest has the others; what they miss they read back.
const PUBLISHED_MAX: usize = COUNT / 2;

/// The pool; clones share it.
#[derive(Clone)]
pub struct Blocks(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Told whenever a block comes back.
    returned: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

struct State {
    spare: Vec<Aligned>,
    /// Blocks that may still be made.
    unmade: usize,
    /// Blocks that someone reads.
    published: usize,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blocks {
    /// A pool of at most `count` blocks, none of them made yet.
    pub fn new(count: usize) -> Self {
        let state = State { spare: Vec::with_capacity(count), unmade: count, published: 0 };
        Self(Arc::new(Shared { state: Mutex::new(state), returned: OnceLock::new() }))
    }

    /// Whom to tell when a block comes back; said once, by whoever waits for blocks.
    pub fn tell(&self, returned: impl Fn() + Send + Sync + 'static) {
        let _ = self.0.returned.set(Box::new(returned));
    }

    /// A block, if one is left. What it holds is what its last use left there.
    pub fn take(&self) -> Option<Block> {
        let mut state = self.0.state();
        let memory = match state.spare.pop() {
            Some(memory) => memory,
            None => {
                state.unmade = state.unmade.checked_sub(1)?;
                Aligned::zeroed(BYTES)
            }
        };
        Some(Block { memory: Some(memory), published: false, home: Arc::clone(&self.0) })
    }

    /// Blocks that could be taken now.
    pub fn left(&self) -> usize {
        let state = self.0.state();
        state.spare.len() + state.unmade
    }
}

/// A block of the pool.
pub struct Block {
    /// Absent only while it is dropped.
    memory: Option<Aligned>,
    published: bool,
    home: Arc<Shared>,
}

impl Block {
    /// Whether so many more blocks may be published.
    pub fn may_publish(&self, count: usize) -> bool {
        self.home.state().published + count <= PUBLISHED_MAX
    }

    /// From now on it is read, for as long as its readers like.
    pub fn published(&mut self) {
        self.published = true;
        self.home.state().published += 1;
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.memory.as_deref().unwrap_or_default()
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.memory.as_deref_mut().unwrap_or_default()
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            {
                let mut state = self.home.state();
                state.spare.push(memory);
                state.published -= usize::from(self.published);
            }
            if let Some(returned) = self.home.returned.get() {
                returned();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_block_comes_back_with_the_last_slice_and_says_so() {
        let blocks = Blocks::new(2);
        let told = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&told);
        blocks.tell(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let (first, second) = (blocks.take().unwrap(), blocks.take().unwrap());
        assert!(blocks.take().is_none() && blocks.left() == 0);
        let place = first.as_ptr();
        let whole = Bytes::from_owner(first);
        let slice = whole.slice(100..200);
        drop(whole);
        assert_eq!((blocks.left(), told.load(Ordering::Relaxed)), (0, 0));
        drop(slice);
        assert_eq!((blocks.left(), told.load(Ordering::Relaxed)), (1, 1));
        assert_eq!(blocks.take().unwrap().as_ptr(), place, "the same memory again");
        drop(second);
    }
}
