//! Reads archived units back in the order in which they were heard, where some came late: what an
//! edge forwards behind a pass, or a day later, stands behind the pass that it belongs to.
//!
//! ```text
//! first reading   which units come later than the window can wait for: their places
//! second reading  units ─► window, earliest out first ─┬─► sink
//!                          late units, fetched ahead ──┘
//! ```
//!
//! What is late is told by what went out before it, not by a clock: the last pass of an archive is
//! put in order like any other.

use super::{
    Archived,
    read::{Found, read},
    record::{Position, record_bytes},
    storage::Storage,
    twice::Twice,
};
use codecs::{
    ids::{KeyPrefix, SpacecraftId},
    time::Tai,
};
use std::{
    collections::{BTreeMap, VecDeque},
    io,
};

/// A step back by less between two receptions of a site is its clock's, such as a leap second: its
/// own numbers tell the order better.
const CLOCK_SET_BACK_NS: i64 = 2_000_000_000;
/// Counted for each unit that is held, beside its bytes.
const UNIT_COST: usize = 256;
/// A gap between two late units that is read through: less than what a reading takes at once.
const GAP_BYTES: u64 = 1 << 20;

/// How much is held at most.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Bytes in the window. At the bound the earliest goes out.
    waiting: usize,
    /// Late units whose place is remembered, 48 bytes each. Those beyond stay where they stand.
    late: usize,
    /// Bytes that are fetched at once.
    fetched: usize,
    /// Bytes fetched ahead, of all spacecraft. At the bound the others' are given back.
    ahead: usize,
}

const BOUNDS: Bounds =
    Bounds { waiting: 32 << 20, late: 1 << 22, fetched: 4 << 20, ahead: 16 << 20 };

/// When a unit was heard, and where it stands.
type Turn = (Tai, Position);

/// Hands out the units from `from` up to `to` (exclusive), and what is damaged between them. `look`
/// is told how far the first reading is, and may end it.
pub fn read_as_heard<S: Storage + Clone>(
    storage: &mut S,
    twice: &Twice,
    (from, to): (Position, Position),
    look: impl FnMut(Position) -> io::Result<()>,
    sink: impl FnMut(Found) -> io::Result<()>,
) -> io::Result<()> {
    read_within((BOUNDS, twice), storage, (from, to), look, sink)
}

fn read_within<S: Storage + Clone>(
    (bounds, twice): (Bounds, &Twice),
    storage: &mut S,
    (from, to): (Position, Position),
    look: impl FnMut(Position) -> io::Result<()>,
    mut sink: impl FnMut(Found) -> io::Result<()>,
) -> io::Result<()> {
    let mut late = Late::find((bounds, twice), storage, (from, to), look)?;
    let mut again = storage.clone();
    let mut passed = 0;
    let (mut clocks, mut window) = (Clocks::default(), Window::new(bounds.waiting));
    read(storage, twice, from, to, |found| {
        let unit = match found {
            Found::Unit(unit) => unit,
            damage => return sink(damage),
        };
        let at = clocks.heard(&unit);
        passed += late.places[passed..].partition_point(|place| *place < unit.position);
        if late.places.get(passed) == Some(&unit.position) {
            return Ok(());
        }
        let spacecraft = unit.key.prefix.spacecraft;
        if window.is_late(spacecraft, at) {
            return sink(Found::Unit(unit));
        }
        window.push((at, unit.position), spacecraft, unit.bytes.len(), unit);
        while let Some((turn, spacecraft, unit)) = window.pop_over() {
            late.hand_out(&mut again, spacecraft, turn, &mut sink)?;
            sink(Found::Unit(unit))?;
        }
        Ok(())
    })?;
    while let Some((turn, spacecraft, unit)) = window.pop() {
        late.hand_out(&mut again, spacecraft, turn, &mut sink)?;
        sink(Found::Unit(unit))?;
    }
    let spacecraft: Vec<_> = late.heard.keys().copied().collect();
    let end = (Tai(i64::MAX), Position { segment: u64::MAX, offset: u64::MAX });
    spacecraft.into_iter().try_for_each(|it| late.hand_out(&mut again, it, end, &mut sink))
}

/// The newest reception of each counter: its number and time.
#[derive(Default)]
struct Clocks(BTreeMap<KeyPrefix, (u64, Tai)>);

impl Clocks {
    /// When a unit was heard: not before what its own site heard before it, where that is only just
    /// later by the clock.
    fn heard(&mut self, unit: &Archived) -> Tai {
        let here = (unit.key.sequence, unit.received);
        let newest = self.0.entry(unit.key.prefix).or_insert(here);
        if here.0 < newest.0 {
            return unit.received;
        }
        let back_ns = newest.1.since(unit.received);
        let at = if (0..CLOCK_SET_BACK_NS).contains(&back_ns) { newest.1 } else { unit.received };
        *newest = (here.0, at);
        at
    }
}

/// Units that wait, to a bound of bytes, for those that were heard before them.
struct Window<T> {
    waiting: BTreeMap<Turn, (SpacecraftId, usize, T)>,
    bytes: usize,
    bytes_max: usize,
    /// Up to when all of a spacecraft went out.
    gone: BTreeMap<SpacecraftId, Tai>,
}

impl<T> Window<T> {
    const fn new(bytes_max: usize) -> Self {
        Self { waiting: BTreeMap::new(), bytes: 0, bytes_max, gone: BTreeMap::new() }
    }

    fn is_late(&self, spacecraft: SpacecraftId, at: Tai) -> bool {
        self.gone.get(&spacecraft).is_some_and(|gone| at < *gone)
    }

    fn push(&mut self, turn: Turn, spacecraft: SpacecraftId, bytes: usize, item: T) {
        self.bytes += bytes + UNIT_COST;
        self.waiting.insert(turn, (spacecraft, bytes + UNIT_COST, item));
    }

    /// The earliest, while more wait than may.
    fn pop_over(&mut self) -> Option<(Turn, SpacecraftId, T)> {
        (self.bytes > self.bytes_max).then(|| self.pop()).flatten()
    }

    fn pop(&mut self) -> Option<(Turn, SpacecraftId, T)> {
        let (turn, (spacecraft, bytes, item)) = self.waiting.pop_first()?;
        self.bytes -= bytes;
        self.gone.insert(spacecraft, turn.0);
        Some((turn, spacecraft, item))
    }
}

/// What came late.
struct Late {
    bounds: Bounds,
    /// In the order in which they stand.
    places: Vec<Position>,
    heard: BTreeMap<SpacecraftId, Queue>,
    /// Bytes that were fetched and have not gone out.
    ahead: usize,
}

/// Late units of a spacecraft, in the order in which they were heard.
#[derive(Default)]
struct Queue {
    fetched: VecDeque<(Turn, Archived)>,
    /// Behind those, each with its bytes.
    rest: VecDeque<(Turn, u32)>,
}

impl Late {
    fn find<S: Storage>(
        (bounds, twice): (Bounds, &Twice),
        storage: &mut S,
        (from, to): (Position, Position),
        mut look: impl FnMut(Position) -> io::Result<()>,
    ) -> io::Result<Self> {
        let mut late = Self { bounds, places: Vec::new(), heard: BTreeMap::new(), ahead: 0 };
        let (mut clocks, mut window) = (Clocks::default(), Window::new(bounds.waiting));
        read(storage, twice, from, to, |found| {
            let Found::Unit(unit) = found else { return Ok(()) };
            look(unit.position)?;
            let spacecraft = unit.key.prefix.spacecraft;
            let turn = (clocks.heard(&unit), unit.position);
            if !window.is_late(spacecraft, turn.0) {
                window.push(turn, spacecraft, unit.bytes.len(), ());
                while window.pop_over().is_some() {}
            } else if late.places.len() < bounds.late {
                late.places.push(unit.position);
                let heard = late.heard.entry(spacecraft).or_default();
                heard.rest.push_back((turn, unit.bytes.len() as u32));
            }
            Ok(())
        })?;
        late.heard.values_mut().for_each(|heard| heard.rest.make_contiguous().sort_unstable());
        Ok(late)
    }

    /// Hands out what was heard of a spacecraft before `until`.
    fn hand_out<S: Storage>(
        &mut self,
        storage: &mut S,
        spacecraft: SpacecraftId,
        until: Turn,
        sink: &mut impl FnMut(Found) -> io::Result<()>,
    ) -> io::Result<()> {
        while let Some(heard) = self.heard.get_mut(&spacecraft) {
            match (heard.fetched.front(), heard.rest.front()) {
                (Some((turn, _)), _) if *turn < until => {
                    let Some((_, unit)) = heard.fetched.pop_front() else { break };
                    self.ahead -= unit.bytes.len() + UNIT_COST;
                    sink(Found::Unit(unit))?;
                }
                (None, Some((turn, _))) if *turn < until => self.fetch(storage, spacecraft)?,
                _ => break,
            }
        }
        Ok(())
    }

    /// Fetches the next units of a spacecraft.
    fn fetch<S: Storage>(&mut self, storage: &mut S, spacecraft: SpacecraftId) -> io::Result<()> {
        if self.ahead >= self.bounds.ahead {
            self.heard.values_mut().for_each(Queue::give_back);
            self.ahead = 0;
        }
        let Some(heard) = self.heard.get_mut(&spacecraft) else { return Ok(()) };
        let (mut wanted, mut bytes) = (BTreeMap::new(), 0);
        while bytes < self.bounds.fetched
            && let Some(((at, place), length)) = heard.rest.pop_front()
        {
            bytes += length as usize + UNIT_COST;
            wanted.insert(place, (at, length));
        }
        let mut fetched = Vec::new();
        for (first, end) in stretches(&wanted) {
            // Which of two records counts was settled when their places were noted.
            read(storage, &Twice::NOTHING, first, end, |found| {
                // Damage is told where it stands.
                if let Found::Unit(unit) = found
                    && let Some((at, _)) = wanted.get(&unit.position)
                {
                    self.ahead += unit.bytes.len() + UNIT_COST;
                    fetched.push(((*at, unit.position), unit));
                }
                Ok(())
            })?;
        }
        fetched.sort_unstable_by_key(|(turn, _)| *turn);
        heard.fetched.extend(fetched);
        Ok(())
    }
}

impl Queue {
    fn give_back(&mut self) {
        while let Some((turn, unit)) = self.fetched.pop_back() {
            self.rest.push_front((turn, unit.bytes.len() as u32));
        }
    }
}

/// From where to where each reading goes that comes by these places.
fn stretches(wanted: &BTreeMap<Position, (Tai, u32)>) -> Vec<(Position, Position)> {
    let mut stretches: Vec<(Position, Position)> = Vec::new();
    for (place, (_, length)) in wanted {
        let behind = place.offset.saturating_add(record_bytes(*length as usize) as u64);
        match stretches.last_mut() {
            Some((_, end))
                if end.segment == place.segment
                    && place.offset.saturating_sub(end.offset) <= GAP_BYTES =>
            {
                end.offset = behind;
            }
            _ => stretches.push((*place, Position { offset: behind, ..*place })),
        }
    }
    stretches
}

#[cfg(test)]
mod tests;
