//! Memory for answers: no question is asked whose answer might not find room.
//!
//! It is taken for as long as a question is on its way, so that an answer never waits half read.
//! A quarter of it is for what is small, so that a silent server with large answers, or one that
//! waits for room for them, keeps nobody else's work from going on.

/// Share of all room that only small answers may use.
const SMALL_PART: u64 = 4;

/// What answers may take, and what those take that are on their way.
#[derive(Debug)]
pub(crate) struct Room {
    any: Part,
    small: Part,
    /// Lanes that wait for room.
    waiting: Vec<usize>,
}

#[derive(Debug)]
struct Part {
    most: u64,
    taken: u64,
}

impl Part {
    fn fits(&self, bytes: u64) -> bool {
        self.taken.saturating_add(bytes) <= self.most
    }
}

/// Room that a question has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    bytes: u64,
    of_small: bool,
}

impl Room {
    /// Room of so many bytes.
    pub fn new(most: u64) -> Self {
        let small = most / SMALL_PART;
        let part = |most| Part { most, taken: 0 };
        Self { any: part(most - small), small: part(small), waiting: Vec::new() }
    }

    /// Bytes that are set aside at the most, where the largest answer takes so many.
    pub fn bytes_max(most: u64, largest: u64) -> u64 {
        most.max(largest.saturating_add(most / SMALL_PART))
    }

    /// Whether an answer finds room for any. Nobody goes ahead of those who wait for that, and an
    /// answer that is larger than all of it has it alone.
    fn fits_any(&self, bytes: u64) -> bool {
        self.waiting.is_empty() && (self.any.taken == 0 || self.any.fits(bytes))
    }

    /// Whether an answer finds room.
    pub fn fits(&self, bytes: u64) -> bool {
        self.fits_any(bytes) || self.small.fits(bytes)
    }

    /// Takes room for what fits.
    pub fn take(&mut self, bytes: u64) -> Taken {
        let of_small = !self.fits_any(bytes) && self.small.fits(bytes);
        let part = if of_small { &mut self.small } else { &mut self.any };
        part.taken = part.taken.saturating_add(bytes);
        Taken { bytes, of_small }
    }

    /// Has a lane wait for room.
    pub fn wait(&mut self, lane: usize) {
        self.waiting.push(lane);
    }

    /// Gives room back; gives the lanes that waited, whose turn it is to try.
    pub fn give(&mut self, taken: Taken) -> Vec<usize> {
        let part = if taken.of_small { &mut self.small } else { &mut self.any };
        part.taken = part.taken.saturating_sub(taken.bytes);
        std::mem::take(&mut self.waiting)
    }
}
