//! Reads archived units back in the order in which they were heard, where some came late: what an
//! edge forwards a day later stands behind the pass that it belongs to.
//!
//! The archive is read twice: first only for the places of what came late, then in its own order,
//! each late unit before the first of its spacecraft that was heard after it.

use super::{
    read::{Found, read},
    record::Position,
    storage::Storage,
};
use codecs::{ids::SpacecraftId, time::Tai};
use std::{
    collections::{BTreeMap, VecDeque},
    io,
};

/// Heard so much before what stood before it: from a spool, not from a queue on the way.
const LATE_NS: i64 = 30_000_000_000;
/// Late units whose place is remembered, 48 bytes each. Those beyond stay where they stand.
const LATE_MAX: usize = 1 << 22;
/// Late units that are fetched with one reading.
const FETCHED_MAX: usize = 4_096;

/// Hands out the units from `from` up to `to` (exclusive), and what is damaged between them. `look`
/// is told how far the first reading is, and may end it.
pub fn read_as_heard<S: Storage + Clone>(
    storage: &mut S,
    from: Position,
    to: Position,
    look: impl FnMut(Position) -> io::Result<()>,
    mut sink: impl FnMut(Found) -> io::Result<()>,
) -> io::Result<()> {
    let mut late = Late::find(storage, from, to, look)?;
    let mut again = storage.clone();
    let mut passed = 0;
    read(storage, from, to, |found| {
        let unit = match found {
            Found::Unit(unit) => unit,
            damage => return sink(damage),
        };
        passed += late.places[passed..].partition_point(|place| *place < unit.position);
        if late.places.get(passed) == Some(&unit.position) {
            return Ok(());
        }
        let spacecraft = unit.key.prefix.spacecraft;
        late.hand_out(&mut again, spacecraft, unit.received, &mut sink)?;
        sink(Found::Unit(unit))
    })?;
    let spacecraft: Vec<_> = late.heard.keys().copied().collect();
    let end = Tai(i64::MAX);
    spacecraft.into_iter().try_for_each(|it| late.hand_out(&mut again, it, end, &mut sink))
}

/// What came late.
#[derive(Default)]
struct Late {
    /// In the order in which they stand.
    places: Vec<Position>,
    /// By spacecraft, in the order in which they were heard.
    heard: BTreeMap<SpacecraftId, VecDeque<(Tai, Position)>>,
}

impl Late {
    fn find<S: Storage>(
        storage: &mut S,
        from: Position,
        to: Position,
        mut look: impl FnMut(Position) -> io::Result<()>,
    ) -> io::Result<Self> {
        let mut late = Self::default();
        let mut latest: BTreeMap<SpacecraftId, Tai> = BTreeMap::new();
        read(storage, from, to, |found| {
            let Found::Unit(unit) = found else { return Ok(()) };
            look(unit.position)?;
            let spacecraft = unit.key.prefix.spacecraft;
            let latest = latest.entry(spacecraft).or_insert(unit.received);
            if unit.received.since(*latest) >= -LATE_NS {
                *latest = unit.received.max(*latest);
            } else if late.places.len() < LATE_MAX {
                late.places.push(unit.position);
                let heard = late.heard.entry(spacecraft).or_default();
                heard.push_back((unit.received, unit.position));
            }
            Ok(())
        })?;
        late.heard.values_mut().for_each(|heard| heard.make_contiguous().sort_unstable());
        Ok(late)
    }

    /// Hands out what was heard of a spacecraft up to `until`.
    fn hand_out<S: Storage>(
        &mut self,
        storage: &mut S,
        spacecraft: SpacecraftId,
        until: Tai,
        sink: &mut impl FnMut(Found) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(heard) = self.heard.get_mut(&spacecraft) else { return Ok(()) };
        while let Some((_, first)) = heard.front().copied().filter(|(at, _)| *at <= until) {
            let mut run: VecDeque<Position> = VecDeque::new();
            // Heard in the order in which they stand: one reading.
            while let Some((_, place)) = heard.front().copied().filter(|(at, _)| *at <= until)
                && run.back().is_none_or(|last| last < &place && last.segment == place.segment)
                && run.len() < FETCHED_MAX
            {
                run.push_back(place);
                heard.pop_front();
            }
            fetch(storage, first, run, sink)?;
        }
        Ok(())
    }
}

/// Reads the units at these places, which ascend within one segment.
fn fetch<S: Storage>(
    storage: &mut S,
    first: Position,
    mut places: VecDeque<Position>,
    sink: &mut impl FnMut(Found) -> io::Result<()>,
) -> io::Result<()> {
    let to = Position { segment: first.segment, offset: u64::MAX };
    let mut over = false;
    let fetched = read(storage, first, to, |found| {
        // Damage is told where it stands.
        let Found::Unit(unit) = found else { return Ok(()) };
        while places.front().is_some_and(|place| *place < unit.position) {
            places.pop_front();
        }
        if places.front() == Some(&unit.position) {
            places.pop_front();
            sink(Found::Unit(unit))?;
        }
        match places.is_empty() {
            false => Ok(()),
            true => {
                over = true;
                Err(io::ErrorKind::Interrupted.into())
            }
        }
    });
    if over { Ok(()) } else { fetched }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{
        Archive, Incoming, Settings,
        forgetful::ForgetfulDisk,
        tests::{now, unit},
    };
    use proptest::prelude::*;

    const BEGIN: Position = Position { segment: 0, offset: 0 };
    const END: Position = Position { segment: u64::MAX, offset: u64::MAX };

    /// Archives units that were heard at these seconds, and says in what order they are read.
    fn order(heard: &[(u32, i64)]) -> Vec<(u16, i64)> {
        let mut disk = ForgetfulDisk::default();
        let settings = Settings { segment_bytes: 32 << 10 };
        let (mut archive, _) = Archive::open(disk.clone(), settings, 9).unwrap();
        for (sequence, (spacecraft, seconds)) in (0..).zip(heard) {
            let mut unit = Incoming { annotation: None, ..unit(1, sequence) };
            unit.key.prefix.spacecraft = SpacecraftId(*spacecraft as u16);
            unit.received = Tai(seconds * 1_000_000_000);
            archive.offer(&unit, now(sequence)).unwrap();
            archive.commit(now(sequence)).unwrap();
        }
        let mut read = Vec::new();
        let mut looked = 0;
        let look = |_| {
            looked += 1;
            Ok(())
        };
        read_as_heard(&mut disk, BEGIN, END, look, |found| {
            let Found::Unit(unit) = found else { panic!("{found:?}") };
            read.push((unit.key.prefix.spacecraft.0, unit.received.0 / 1_000_000_000));
            Ok(())
        })
        .unwrap();
        assert_eq!(looked, heard.len());
        read
    }

    #[test]
    fn what_a_second_antenna_forwards_a_day_later_stands_in_its_pass() {
        // One antenna hears every even second and the next day's pass, the other the odd ones.
        let first = (0..60).step_by(2).chain(86_400..86_430).map(|at| (7, at));
        let second = (1..60).step_by(2).map(|at| (7, at));
        let read = order(&first.chain(second).collect::<Vec<_>>());
        let wanted: Vec<_> = (0..60).chain(86_400..86_430).map(|at| (7, at)).collect();
        assert_eq!(read, wanted);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Each unit comes once, and of one spacecraft none is later than patience allows.
        #[test]
        fn each_is_read_once_and_none_late(
            heard in prop::collection::vec((1u32..3, 0i64..500), 1..60),
        ) {
            let read = order(&heard);
            let sorted = |mut units: Vec<(u16, i64)>| {
                units.sort_unstable();
                units
            };
            let offered = heard.iter().map(|(craft, at)| (*craft as u16, *at)).collect();
            prop_assert_eq!(sorted(read.clone()), sorted(offered));
            for craft in 1..3 {
                let mut latest = i64::MIN;
                for (_, at) in read.iter().filter(|(of, _)| *of == craft) {
                    prop_assert!(at + 30 >= latest, "{at} behind {latest}");
                    latest = latest.max(*at);
                }
            }
        }
    }
}
