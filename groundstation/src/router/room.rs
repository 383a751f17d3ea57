//! Memory for answers: no question is asked whose answer might not find room.
//!
//! It is taken for as long as a question is on its way, so that an answer never waits half read,
//! and what one server is slow to say keeps no other's answer out.

/// What answers may take, and what those take that are on their way.
#[derive(Debug)]
pub(super) struct Room {
    most: u64,
    taken: u64,
    /// Lanes that wait for room. While there are any, nobody goes ahead of them.
    waiting: Vec<usize>,
}

impl Room {
    /// Room of so many bytes.
    pub fn new(most: u64) -> Self {
        Self { most, taken: 0, waiting: Vec::new() }
    }

    /// Whether an answer finds room. One that is larger than all of it goes alone.
    pub fn fits(&self, bytes: u64) -> bool {
        self.waiting.is_empty() && (self.taken == 0 || self.taken + bytes <= self.most)
    }

    /// Takes room.
    pub fn take(&mut self, bytes: u64) {
        self.taken += bytes;
    }

    /// Has a lane wait for room.
    pub fn wait(&mut self, lane: usize) {
        self.waiting.push(lane);
    }

    /// Gives room back; gives the lanes that waited, whose turn it is to try.
    pub fn give(&mut self, bytes: u64) -> Vec<usize> {
        self.taken = self.taken.saturating_sub(bytes);
        std::mem::take(&mut self.waiting)
    }
}
