//! What happens next: a heap of events, in order of time and, at one time, of entry.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

/// Events that wait for their time.
#[derive(Debug)]
pub struct Queue<E> {
    heap: BinaryHeap<Reverse<Entry<E>>>,
    entered: u64,
}

#[derive(Debug)]
struct Entry<E> {
    at_ns: u64,
    number: u64,
    event: E,
}

impl<E> Entry<E> {
    fn key(&self) -> (u64, u64) {
        (self.at_ns, self.number)
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), entered: 0 }
    }
}

impl<E> Queue<E> {
    /// Enters an event for a time, nanoseconds since the start.
    pub fn push(&mut self, at_ns: u64, event: E) {
        self.entered += 1;
        self.heap.push(Reverse(Entry { at_ns, number: self.entered, event }));
    }

    /// When the next event is due.
    pub fn due_ns(&self) -> Option<u64> {
        self.heap.peek().map(|next| next.0.at_ns)
    }

    /// Takes the next event if it is due by then.
    pub fn pop(&mut self, until_ns: u64) -> Option<(u64, E)> {
        self.due_ns().filter(|due| *due <= until_ns)?;
        self.heap.pop().map(|Reverse(entry)| (entry.at_ns, entry.event))
    }

    /// Events that wait.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_of_time_and_then_of_entry() {
        let mut queue = Queue::default();
        for (at, event) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b'), (9, 'e')] {
            queue.push(at, event);
        }
        let order: String = std::iter::from_fn(|| queue.pop(5)).map(|(_, event)| event).collect();
        assert_eq!((order.as_str(), queue.due_ns()), ("abcd", Some(9)));
    }
}
