//! A number that stands for everything that happened, to tell whether two runs were the same.

use crate::rng::mix;

/// A running hash of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    hash: u64,
    events: u64,
}

impl Trace {
    /// Takes an event in: when, where, and what of it matters.
    pub fn note(&mut self, at_ns: u64, place: u64, what: u64) {
        // Order matters: each event is mixed with all before it.
        self.hash = mix(self.hash ^ mix(at_ns ^ place.rotate_left(48)) ^ what.rotate_left(24));
        self.events += 1;
    }

    /// The hash so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Events so far.
    pub fn events(&self) -> u64 {
        self.events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_an_event_and_their_order_tell() {
        let of = |events: &[[u64; 3]]| {
            let mut trace = Trace::default();
            events.iter().for_each(|[at, place, what]| trace.note(*at, *place, *what));
            trace.hash()
        };
        let plain = of(&[[1, 2, 3], [4, 5, 6]]);
        assert_eq!(plain, of(&[[1, 2, 3], [4, 5, 6]]));
        for other in [
            [[0, 2, 3], [4, 5, 6]],
            [[1, 0, 3], [4, 5, 6]],
            [[1, 2, 0], [4, 5, 6]],
            [[4, 5, 6], [1, 2, 3]],
        ] {
            assert_ne!(plain, of(&other), "{other:?}");
        }
    }
}
