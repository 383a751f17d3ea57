//! How often the same thing is logged: a peer that repeats a fault must not fill a disk with it.
//! Counts stay exact, since they are metrics and not log lines.

use std::collections::BTreeMap;

/// Lines of one kind in a window.
const LINES_MAX: u64 = 16;
/// Length of a window.
const WINDOW_NS: u64 = 10_000_000_000;

/// What was said of each kind in its window. `K` names a place in the source, so there are as many
/// as the program has.
#[derive(Debug)]
pub struct Seldom<K> {
    kinds: BTreeMap<K, (u64, u64)>,
}

impl<K> Default for Seldom<K> {
    fn default() -> Self {
        Self { kinds: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Seldom<K> {
    /// Whether a line of this kind is written now.
    pub fn may(&mut self, kind: K, now_ns: u64) -> bool {
        let (_, lines) = self.kinds.entry(kind).or_insert((now_ns, 0));
        *lines += 1;
        *lines <= LINES_MAX
    }

    /// Ends windows that are over; how many lines of which kinds were left out in them.
    pub fn left_out(&mut self, now_ns: u64) -> Vec<(K, u64)> {
        let mut left_out = Vec::new();
        self.kinds.retain(|kind, (since, lines)| {
            let over = now_ns.saturating_sub(*since) >= WINDOW_NS;
            if over && *lines > LINES_MAX {
                left_out.push((kind.clone(), *lines - LINES_MAX));
            }
            !over
        });
        left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_lines_and_a_number_and_others_are_heard() {
        let mut seldom = Seldom::default();
        let written = (0..100_000u64).filter(|at| seldom.may("flood", *at)).count();
        assert_eq!(written as u64, LINES_MAX);
        assert!(seldom.may("other", 100_000));
        assert!(seldom.left_out(100_000).is_empty());
        assert_eq!(seldom.left_out(WINDOW_NS + 100_000), [("flood", 100_000 - LINES_MAX)]);
        // The next window begins with the next line.
        assert!(seldom.may("flood", WINDOW_NS + 100_000));
        assert!(seldom.left_out(WINDOW_NS + 200_000).is_empty());
    }
}
