//! The way down in simulated time: contacts of a recorded orbit, a fixed rate, one queue.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Something to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Unit {
    /// Seconds since the start: when what it shows happened, and when it could be sent.
    pub captured_s: f64,
    pub ready_s: f64,
    pub bytes: usize,
    /// Highest first; then the earliest due, then the oldest, as the flight's sender has it.
    pub priority: u8,
    pub due_s: f64,
}

/// When each unit was down, if it was before the contacts end. `units` are in order of `ready_s`.
pub fn send(units: &[Unit], contacts: &[(f64, f64)], rate_bit_s: f64) -> Vec<Option<f64>> {
    let mut down = vec![None; units.len()];
    let mut waiting = BinaryHeap::new();
    let mut next = 0;
    for (rise, set) in contacts {
        let mut now = *rise;
        while now < *set {
            while units.get(next).is_some_and(|unit| unit.ready_s <= now) {
                // Times are not negative, so their bits are in their order.
                let due = Reverse(units[next].due_s.to_bits());
                waiting.push((units[next].priority, due, Reverse(next)));
                next += 1;
            }
            let Some((priority, due, Reverse(at))) = waiting.pop() else {
                now = units.get(next).map_or(*set, |unit| unit.ready_s);
                continue;
            };
            now += units[at].bytes as f64 * 8.0 / rate_bit_s;
            if now > *set {
                // Cut by the set: it goes again, whole.
                waiting.push((priority, due, Reverse(at)));
                break;
            }
            down[at] = Some(now);
        }
    }
    down
}

/// Seconds between two instants that were outside of every contact.
pub fn contact_wait_s(from_s: f64, to_s: f64, contacts: &[(f64, f64)]) -> f64 {
    let inside = |(rise, set): &(f64, f64)| (set.min(to_s) - rise.max(from_s)).max(0.0);
    to_s - from_s - contacts.iter().map(inside).sum::<f64>()
}

/// The value that a share of all is not above; none of nothing.
pub fn quantile(values: &mut [f64], share: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values
        .get(((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1)))
        .copied()
}
