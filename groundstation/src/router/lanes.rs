//! The queue: jobs that may go to the same pools stand in one lane, the most urgent band first, in
//! it the earliest deadline.

use super::job::JobId;
use super::set::PoolSet;
use crate::pool::{Cost, Handling};
use codecs::time::Tai;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Lanes at once; at the bound work of a new kind is refused and says so.
pub(super) const LANES_MAX: usize = 1024;

/// Deadlines are counted by about 69 seconds.
const BUCKET_BITS: u32 = 36;

/// How often a job is let in that seems to come too late.
const LET_IN_EVERY_NS: i64 = 60_000_000_000;

/// Jobs of one task and one handling.
pub(super) struct Lane {
    pub task: usize,
    pub handling: Arc<Handling>,
    pub budget: Option<Cost>,
    /// Pools that take the task and may see the data.
    pub pools: Vec<usize>,
    /// The same, to be held against other sets.
    pub set: PoolSet,
    /// Why there is none.
    pub objection: String,
    /// What keeps the first of it waiting, where it is more than not its turn; it holds for those
    /// behind as well.
    pub why: Option<String>,
    queue: BTreeSet<(u8, Tai, JobId)>,
    /// Jobs by band and about when their deadline is.
    ahead: BTreeMap<(u8, i64), u64>,
    /// Not looked at before something changes, or before then.
    blocked: Option<Option<Tai>>,
    /// Its entry among the heads.
    shown: Option<(u8, Tai, JobId)>,
    /// Some pool waits for questions that go together: each new job may be the last that is missing.
    pub gathers: bool,
    /// When a job was let in last that seemed to come too late.
    let_in: Option<Tai>,
}

impl Lane {
    /// Jobs that wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Jobs in their order.
    pub fn iter(&self) -> impl Iterator<Item = (u8, Tai, JobId)> + '_ {
        self.queue.iter().copied()
    }

    /// Jobs that certainly go before one of a band and a deadline; a little fewer than do.
    pub fn ahead_of(&self, band: u8, deadline: Tai) -> u64 {
        self.ahead.range(..(band, deadline.0 >> BUCKET_BITS)).map(|(_, count)| count).sum()
    }

    /// Jobs by band.
    pub fn by_band(&self) -> BTreeMap<u8, u64> {
        let mut bands = BTreeMap::new();
        for ((band, _), count) in &self.ahead {
            *bands.entry(*band).or_insert(0) += count;
        }
        bands
    }
}

/// All lanes.
#[derive(Default)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    known: BTreeMap<(usize, HandlingKey, Option<Cost>), usize>,
    /// Heads of lanes that may be looked at.
    ready: BTreeSet<(u8, Tai, JobId, usize)>,
    waking: BTreeSet<(Tai, usize)>,
}

type HandlingKey = (crate::pool::DataClass, Vec<String>, Vec<String>);

impl Lanes {
    pub fn get(&self, lane: usize) -> Option<&Lane> {
        self.lanes.get(lane)
    }

    pub fn get_mut(&mut self, lane: usize) -> Option<&mut Lane> {
        self.lanes.get_mut(lane)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Lane> {
        self.lanes.iter_mut()
    }

    /// The lane of a task and a handling; makes it with the pools that `find` gives. None at the
    /// bound.
    pub fn of(
        &mut self,
        task: usize,
        handling: &Handling,
        budget: Option<Cost>,
        find: impl FnOnce() -> (Vec<usize>, String),
    ) -> Option<usize> {
        let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
        let key = (task, (handling.class, list(&handling.regions), list(&handling.export)), budget);
        if let Some(lane) = self.known.get(&key) {
            return Some(*lane);
        }
        if self.lanes.len() >= LANES_MAX {
            return None;
        }
        let (pools, objection) = find();
        self.lanes.push(Lane {
            task,
            handling: Arc::new(handling.clone()),
            budget,
            set: pools.iter().copied().collect(),
            pools,
            objection,
            why: None,
            queue: BTreeSet::new(),
            ahead: BTreeMap::new(),
            blocked: None,
            shown: None,
            gathers: false,
            let_in: None,
        });
        let lane = self.lanes.len() - 1;
        self.known.insert(key, lane);
        Some(lane)
    }

    /// Whether a job that seems to come too late is let in all the same: one a minute is, so that
    /// pools that got faster are found out.
    pub fn lets_in(&mut self, lane: usize, now: Tai) -> bool {
        let Some(of) = self.lanes.get_mut(lane) else { return false };
        let lets = of.let_in.is_none_or(|last| now.since(last) >= LET_IN_EVERY_NS);
        if lets {
            of.let_in = Some(now);
        }
        lets
    }

    pub fn push(&mut self, lane: usize, place: (u8, Tai, JobId)) {
        let Some(of) = self.lanes.get_mut(lane) else { return };
        let head = of.queue.first().copied();
        if !of.queue.insert(place) {
            return;
        }
        *of.ahead.entry((place.0, place.1.0 >> BUCKET_BITS)).or_insert(0) += 1;
        if of.gathers || head.is_none_or(|head| place < head) {
            // A more urgent band may use slots that the old head may not.
            self.wake(lane);
        }
    }

    pub fn remove(&mut self, lane: usize, place: (u8, Tai, JobId)) {
        let Some(of) = self.lanes.get_mut(lane) else { return };
        if of.queue.remove(&place) {
            let bucket = (place.0, place.1.0 >> BUCKET_BITS);
            if let Some(count) = of.ahead.get_mut(&bucket) {
                *count -= 1;
                if *count == 0 {
                    of.ahead.remove(&bucket);
                }
            }
        }
        self.show(lane);
    }

    /// Lets a lane be looked at.
    pub fn wake(&mut self, lane: usize) {
        let Some(of) = self.lanes.get_mut(lane) else { return };
        if let Some(Some(until)) = of.blocked.take() {
            self.waking.remove(&(until, lane));
        }
        self.show(lane);
    }

    /// Puts a lane's head where it belongs among the others.
    fn show(&mut self, lane: usize) {
        let Some(of) = self.lanes.get_mut(lane) else { return };
        let head = of.queue.first().copied().filter(|_| of.blocked.is_none());
        let old = std::mem::replace(&mut of.shown, head);
        if old == head {
            return;
        }
        if let Some(old) = old {
            self.ready.remove(&(old.0, old.1, old.2, lane));
        }
        if let Some(head) = head {
            self.ready.insert((head.0, head.1, head.2, lane));
        }
    }

    /// Leaves a lane alone until something changes, or until then.
    pub fn block(&mut self, lane: usize, until: Option<Tai>) {
        let Some(of) = self.lanes.get_mut(lane) else { return };
        if let Some(Some(old)) = of.blocked.replace(until) {
            self.waking.remove(&(old, lane));
        }
        if let Some(until) = until {
            self.waking.insert((until, lane));
        }
        self.show(lane);
    }

    /// The lane whose head is the most urgent of those that may be looked at.
    pub fn most_urgent(&mut self, now: Tai) -> Option<usize> {
        while let Some((until, lane)) = self.waking.first().copied()
            && until <= now
        {
            self.wake(lane);
        }
        self.ready.first().map(|head| head.3)
    }

    /// When a lane is to be looked at again.
    pub fn next_wake(&self) -> Option<Tai> {
        self.waking.first().map(|(until, _)| *until)
    }
}
