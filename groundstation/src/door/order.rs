//! Puts frames back into the order in which they were sent, for consumers that can't.
//!
//! Objects of one counter travel on many streams and overtake each other; two antennas hear the
//! same frame at different moments. A frame whose predecessor has not come waits for it, to a
//! bound of time and bytes; then the next one at hand goes out and the hole is the consumer's to
//! see. What comes later still goes out late.

use std::collections::BTreeMap;

/// Bytes that wait, over all counters of a door: what a sender of the widest profile has under way
/// (64 objects of 256 KiB). At the bound the counter that holds most goes on without its holes.
pub const HELD_BYTES_MAX: usize = 16 << 20;
/// Counters followed. At the bound the one that was silent for longest is let go.
pub const LANES_MAX: usize = 64;

/// Items in order of their numbers, a lane a counter.
#[derive(Debug)]
pub struct Order<K, T> {
    lanes: BTreeMap<K, Lane<T>>,
    patience_ns: u64,
    bytes: usize,
    pushes: u64,
}

#[derive(Debug)]
struct Lane<T> {
    /// The number that goes out next; none before anything did.
    next: Option<u64>,
    held: BTreeMap<u64, Held<T>>,
    bytes: usize,
    pushed: u64,
}

#[derive(Debug)]
struct Held<T> {
    item: T,
    bytes: usize,
    since_ns: u64,
}

impl<K: Ord + Copy, T> Order<K, T> {
    /// Waits this long for what is missing.
    pub const fn new(patience_ns: u64) -> Self {
        Self { lanes: BTreeMap::new(), patience_ns, bytes: 0, pushes: 0 }
    }

    /// Takes an item of so many bytes and hands out what is in order.
    pub fn push(
        &mut self,
        key: K,
        number: u64,
        (item, bytes): (T, usize),
        now_ns: u64,
        sink: &mut impl FnMut(u64, T),
    ) {
        self.pushes += 1;
        if self.lanes.len() >= LANES_MAX && !self.lanes.contains_key(&key) {
            let silent = self.lanes.iter().min_by_key(|(_, lane)| lane.pushed);
            if let Some(mut lane) = silent.map(|(key, _)| *key).and_then(|k| self.lanes.remove(&k))
            {
                self.bytes -= lane.bytes;
                lane.let_go(|_, _| true, sink);
            }
        }
        let lane = self.lanes.entry(key).or_insert_with(|| Lane {
            next: None,
            held: BTreeMap::new(),
            bytes: 0,
            pushed: 0,
        });
        lane.pushed = self.pushes;
        if number == 0 {
            // Nothing comes before the first number of all.
            lane.next.get_or_insert(0);
        }
        match lane.next {
            Some(next) if number < next => sink(number, item),
            Some(next) if number == next => {
                sink(number, item);
                lane.next = Some(next.saturating_add(1));
                self.bytes -= lane.run(sink);
            }
            _ => {
                let held = Held { item, bytes, since_ns: now_ns };
                if let Some(before) = lane.held.insert(number, held) {
                    lane.bytes -= before.bytes;
                    self.bytes -= before.bytes;
                    sink(number, before.item);
                }
                lane.bytes += bytes;
                self.bytes += bytes;
            }
        }
        while self.bytes > HELD_BYTES_MAX {
            let Some(lane) = self.lanes.values_mut().max_by_key(|lane| lane.bytes) else { break };
            self.bytes -= lane.skip(sink);
        }
    }

    /// Lets go of what has waited long enough.
    pub fn poll(&mut self, now_ns: u64, sink: &mut impl FnMut(u64, T)) {
        let patience = self.patience_ns;
        self.let_go_of(|held| held.since_ns.saturating_add(patience) <= now_ns, sink);
    }

    /// Lets go of what is `due`, and of what waits for the same before it.
    pub fn let_go(&mut self, due: impl Fn(&T) -> bool, sink: &mut impl FnMut(u64, T)) {
        self.let_go_of(|held| due(&held.item), sink);
    }

    fn let_go_of(&mut self, due: impl Fn(&Held<T>) -> bool, sink: &mut impl FnMut(u64, T)) {
        for lane in self.lanes.values_mut() {
            let last = lane.held.iter().rev().find(|(_, held)| due(held)).map(|(last, _)| *last);
            if let Some(last) = last {
                self.bytes -= lane.let_go(|number, _| number <= last, sink);
            }
        }
    }

    /// Lets go of everything.
    pub fn flush(&mut self, sink: &mut impl FnMut(u64, T)) {
        self.lanes.values_mut().for_each(|lane| self.bytes -= lane.let_go(|_, _| true, sink));
    }

    /// What waits.
    pub fn held(&self) -> impl Iterator<Item = &T> {
        self.lanes.values().flat_map(|lane| lane.held.values().map(|held| &held.item))
    }

    /// Whether an item would go out at once.
    pub fn is_next(&self, key: K, number: u64) -> bool {
        let next = self.lanes.get(&key).and_then(|lane| lane.next);
        number == 0 || next.is_some_and(|next| number <= next)
    }

    /// The item that waits under a number, to be replaced by a better one.
    pub fn waiting(&mut self, key: K, number: u64) -> Option<&mut T> {
        self.lanes.get_mut(&key)?.held.get_mut(&number).map(|held| &mut held.item)
    }
}

impl<T> Lane<T> {
    /// Hands out what follows without a hole; bytes that no longer wait.
    fn run(&mut self, sink: &mut impl FnMut(u64, T)) -> usize {
        let next = self.next;
        let mut next = next.unwrap_or(0);
        let mut bytes = 0;
        while let Some(held) = self.held.remove(&next) {
            bytes += held.bytes;
            sink(next, held.item);
            next = next.saturating_add(1);
        }
        self.next = Some(next);
        self.bytes -= bytes;
        bytes
    }

    /// Goes on behind the first hole.
    fn skip(&mut self, sink: &mut impl FnMut(u64, T)) -> usize {
        let Some(first) = self.held.keys().next().copied() else { return 0 };
        self.next = Some(first);
        self.run(sink)
    }

    /// Goes on behind holes as long as `which` says so of what is next.
    fn let_go(
        &mut self,
        which: impl Fn(u64, &Held<T>) -> bool,
        sink: &mut impl FnMut(u64, T),
    ) -> usize {
        let mut bytes = 0;
        while self.held.first_key_value().is_some_and(|(number, held)| which(*number, held)) {
            bytes += self.skip(sink);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Small = Order<u8, u64>;

    fn push(order: &mut Small, number: u64, now: u64) -> Vec<u64> {
        let mut out = vec![];
        order.push(0, number, (number, 100), now, &mut |_, item| out.push(item));
        out
    }

    fn poll(order: &mut Small, now: u64) -> Vec<u64> {
        let mut out = vec![];
        order.poll(now, &mut |_, item| out.push(item));
        out
    }

    #[test]
    fn what_is_missing_is_awaited_and_then_passed_over() {
        let mut order = Small::new(100);
        assert_eq!(push(&mut order, 0, 0), [0], "nothing comes before the first");
        assert!(push(&mut order, 2, 10).is_empty());
        assert!(push(&mut order, 4, 60).is_empty());
        assert_eq!(push(&mut order, 1, 70), [1, 2]);
        assert!(poll(&mut order, 159).is_empty());
        assert_eq!(poll(&mut order, 160), [4]);
        assert_eq!(push(&mut order, 3, 170), [3], "late, and not withheld");
        assert_eq!(push(&mut order, 5, 170), [5]);
        assert_eq!(order.bytes, 0);
    }

    #[test]
    fn a_counter_that_is_joined_midway_waits_once() {
        let mut order = Small::new(100);
        assert!(push(&mut order, 900, 0).is_empty());
        assert!(push(&mut order, 899, 50).is_empty());
        assert_eq!(poll(&mut order, 100), [899, 900]);
        assert_eq!(push(&mut order, 901, 101), [901]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut order: Order<u64, u64> = Order::new(u64::MAX);
        let mut out = 0;
        for number in 0..20_000u64 {
            let lane = number % 100;
            order.push(lane, 2 + number * 2, (number, 9_000), 0, &mut |_, _| out += 1);
            assert!(order.bytes <= HELD_BYTES_MAX && order.lanes.len() <= LANES_MAX);
        }
        order.flush(&mut |_, _| out += 1);
        assert_eq!((out, order.bytes), (20_000, 0));
    }

    proptest! {
        /// Every item goes out once; in order, as long as no one's patience is exceeded.
        #[test]
        fn each_goes_out_once_and_in_order_within_the_patience(
            numbers in Just((0u64..60).collect::<Vec<_>>()).prop_shuffle(),
            patience in 0u64..100,
        ) {
            let mut order = Small::new(patience);
            let mut out = vec![];
            for (now, number) in numbers.iter().enumerate() {
                out.extend(push(&mut order, *number, now as u64));
                out.extend(poll(&mut order, now as u64));
            }
            order.flush(&mut |_, item| out.push(item));
            if patience >= 60 {
                prop_assert!(out.is_sorted(), "{:?}", out);
            }
            out.sort();
            prop_assert_eq!(out, (0..60).collect::<Vec<_>>());
            prop_assert_eq!(order.bytes, 0);
        }
    }
}
