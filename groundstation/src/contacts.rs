//! Which contacts of a plan a peer is told, and how finely.

use codecs::{link::wire::PlannedContact, time::Tai};

/// Contacts told to a peer: about a week.
pub const CONTACTS_MAX: usize = 64;

/// A contact as one, and as its steps of rate and round trip, which meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stepped {
    /// The contact, with one rate for all of it.
    pub whole: PlannedContact,
    /// Its steps in order of time; none, or one, where nothing changes.
    pub parts: Vec<PlannedContact>,
}

impl Stepped {
    /// A contact and the changes within it: when, rate in bit/s and round trip in ns, in any order.
    /// Those outside the contact are left out.
    pub fn new(whole: PlannedContact, mut changes: Vec<(Tai, u64, u64)>) -> Self {
        changes.retain(|(at, ..)| (whole.rise..whole.set).contains(at));
        changes.sort_by_key(|(at, ..)| *at);
        let mut parts = Vec::from([whole]);
        for (at, rate_bps, rtt_ns) in changes {
            if let Some(before) = parts.last_mut() {
                before.set = at;
            }
            parts.push(PlannedContact { rise: at, set: whole.set, rate_bps, rtt_ns });
        }
        parts.retain(|part| part.rise < part.set);
        Self { whole, parts }
    }
}

/// Contacts that are not over, those that come first in their steps as far as there is room for.
pub fn told(contacts: impl IntoIterator<Item = Stepped>, now: Tai) -> Vec<PlannedContact> {
    let mut next: Vec<_> = contacts.into_iter().filter(|of| of.whole.set > now).collect();
    next.sort_by_key(|of| of.whole.rise);
    next.truncate(CONTACTS_MAX);
    // One that lasts comes with its steps even where a contact of next week is left out for them.
    let mut room = (CONTACTS_MAX - next.len()).max(CONTACTS_MAX / 2);
    let mut told = Vec::new();
    for Stepped { whole, parts } in next {
        let more = parts.len().saturating_sub(1);
        if more <= room && !parts.is_empty() {
            room -= more;
            told.extend(parts);
        } else {
            told.push(whole);
        }
    }
    told.truncate(CONTACTS_MAX);
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn contact(minute: i64, steps: i64) -> Stepped {
        let rise = Tai(minute * 60 * SECOND);
        let set = rise.plus(110 * SECOND);
        let change = |at: i64| (rise.plus((at + 1) * SECOND), (at + 2) as u64, 1_000_000);
        let whole = PlannedContact { rise, set, rate_bps: 1, rtt_ns: 2_000_000 };
        Stepped::new(whole, (0..steps).map(change).collect())
    }

    #[test]
    fn the_next_contacts_are_told_in_steps_that_meet() {
        let plan: Vec<Stepped> = (0..100).map(|at| contact(4 * at, 9)).collect();
        let now = Tai(180 * SECOND);
        let told = told(plan.clone(), now);
        assert_eq!(told.len(), CONTACTS_MAX);
        let (first, second) = told.split_at(10);
        assert_eq!(first[0].rise, Tai(240 * SECOND));
        assert!(first.windows(2).all(|pair| pair[0].set == pair[1].rise));
        let rates: Vec<u64> = first.iter().map(|part| part.rate_bps).collect();
        assert_eq!(rates, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!((first[0].rtt_ns, first[1].rtt_ns), (2_000_000, 1_000_000));
        assert!(second[0].rise > first[9].set);
        // The last ones come whole.
        let last = told[CONTACTS_MAX - 1];
        assert_eq!((last.set.since(last.rise), last.rate_bps), (110 * SECOND, 1));
        // A few contacts all have their steps, and one without any is one.
        assert_eq!(super::told(plan.into_iter().take(6), now).len(), 5 * 10);
        assert_eq!(super::told([contact(8, 0)], now).len(), 1);
    }

    #[test]
    fn changes_outside_a_contact_and_at_its_rise_leave_no_empty_step() {
        let Stepped { whole, .. } = contact(0, 0);
        let changes = [(-1, 7), (0, 8), (110, 9), (50, 10)];
        let changes = changes.map(|(second, rate)| (Tai(second * SECOND), rate, 1));
        let parts = Stepped::new(whole, changes.to_vec()).parts;
        let rates: Vec<_> = parts.iter().map(|part| part.rate_bps).collect();
        assert_eq!(rates, [8, 10]);
    }
}
