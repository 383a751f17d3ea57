//! Bounded histories whose items remember the revision at which they last changed.

use super::event::{Level, Limits, Quality};
use super::view::{FrameBucket, ParameterPoint};
use codecs::time::Tai;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Counts changes of everything live; a reader asks for what came after the one it has.
pub type Revision = u64;

/// Width of one column of the frame panel.
pub const FRAME_BUCKET_MS: i64 = 500;
/// Columns kept a channel: three minutes and a margin for clocks that differ.
pub const FRAME_BUCKETS_MAX: usize = 400;
/// Width of one point of a parameter's history; faster values keep their extremes in it.
pub const PARAMETER_BUCKET_MS: i64 = 1000;
/// Points kept a parameter: a quarter of an hour.
pub const PARAMETER_POINTS_MAX: usize = 900;

/// Milliseconds of UTC since 1970, as browsers count.
pub fn unix_ms(at: Tai) -> i64 {
    at.to_unix_nanos().div_euclid(1_000_000)
}

/// An item and when it last changed.
#[derive(Clone, Debug)]
pub struct Stamped<T> {
    /// When it last changed.
    pub revision: Revision,
    /// What it is.
    pub item: T,
}

/// Time-ordered columns of a fixed width, the oldest forgotten at the bound.
#[derive(Clone, Debug)]
struct Buckets<T> {
    items: VecDeque<Stamped<(i64, T)>>,
    width_ms: i64,
    bound: usize,
}

impl<T: Default> Buckets<T> {
    fn new(width_ms: i64, bound: usize) -> Self {
        Self { items: VecDeque::new(), width_ms, bound }
    }

    /// The column at `at_ms`, made where missing; none where it is older than all that is kept.
    fn at(&mut self, at_ms: i64, revision: Revision) -> Option<(bool, &mut T)> {
        let start = at_ms.div_euclid(self.width_ms) * self.width_ms;
        // Late arrivals land a few columns back, so the search from the end is short in practice
        // and logarithmic at worst.
        let mut index = self.items.partition_point(|stamped| stamped.item.0 < start);
        let fresh = self.items.get(index).is_none_or(|stamped| stamped.item.0 != start);
        if fresh {
            if self.items.len() >= self.bound {
                if index == 0 {
                    return None;
                }
                self.items.pop_front();
                index -= 1;
            }
            self.items.insert(index, Stamped { revision, item: (start, T::default()) });
        }
        let stamped = self.items.get_mut(index)?;
        stamped.revision = revision;
        Some((fresh, &mut stamped.item.1))
    }

    /// The first column from `at_ms` on that is as wanted.
    fn first_from(
        &mut self,
        at_ms: i64,
        wanted: impl Fn(&T) -> bool,
        revision: Revision,
    ) -> Option<&mut T> {
        let start = at_ms.div_euclid(self.width_ms) * self.width_ms;
        let from = self.items.partition_point(|stamped| stamped.item.0 < start);
        let found = self.items.range_mut(from..).find(|stamped| wanted(&stamped.item.1))?;
        found.revision = revision;
        Some(&mut found.item.1)
    }

    fn since(&self, revision: Revision) -> impl Iterator<Item = &(i64, T)> {
        self.items.iter().filter(move |item| item.revision > revision).map(|item| &item.item)
    }
}

/// What a frame says of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Lost between the one before and it.
    pub gap: u64,
    /// It was told as lost itself, and came late.
    pub found: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Judged {
    good: u32,
    corrected: u32,
    erred: u32,
    missing: u32,
}

/// What arrived on one channel, by time of reception.
#[derive(Clone, Debug)]
pub struct ChannelRow {
    /// Name in the mission definition.
    pub name: String,
    /// Everything since the start.
    pub total: u64,
    /// Lost since the start, by the frame counter or by holes in the sequence.
    pub missing: u64,
    buckets: Buckets<Judged>,
}

impl ChannelRow {
    /// An empty row.
    pub fn new(name: String) -> Self {
        let buckets = Buckets::new(FRAME_BUCKET_MS, FRAME_BUCKETS_MAX);
        Self { name, total: 0, missing: 0, buckets }
    }

    /// Counts a frame or unit and what was lost before it.
    pub fn record(&mut self, quality: Quality, lost: Lost, at: Tai, revision: Revision) {
        let Lost { gap, found } = lost;
        self.total += 1;
        self.missing = self.missing.saturating_add(gap);
        if found {
            self.missing = self.missing.saturating_sub(1);
            // It was told with the frame behind the hole, which stands in this column or soon after.
            let told = |judged: &Judged| judged.missing > 0;
            if let Some(judged) = self.buckets.first_from(unix_ms(at), told, revision) {
                judged.missing -= 1;
            }
        }
        let Some((_, judged)) = self.buckets.at(unix_ms(at), revision) else { return };
        match quality {
            Quality::Good => judged.good += 1,
            Quality::Corrected => judged.corrected += 1,
            Quality::Erred => judged.erred += 1,
        }
        let gap = u32::try_from(gap).unwrap_or(u32::MAX);
        judged.missing = judged.missing.saturating_add(gap);
    }

    /// Columns that changed after `revision`.
    pub fn since(&self, revision: Revision) -> Vec<FrameBucket> {
        let row = |(start, judged): &(i64, Judged)| {
            FrameBucket(*start, judged.good, judged.corrected, judged.erred, judged.missing)
        };
        self.buckets.since(revision).map(row).collect()
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Extremes {
    low: f64,
    high: f64,
    last: f64,
    last_time: i64,
    level: Option<Level>,
}

/// One parameter: its newest value by onboard time, and its history.
#[derive(Clone, Debug)]
pub struct Series {
    /// Engineering unit.
    pub unit: Arc<str>,
    /// Limits, where it has any.
    pub limits: Option<Limits>,
    /// Newest value: time, value, text and judgement.
    pub latest: Option<(Tai, f64, Option<Arc<str>>, Level)>,
    /// When anything of it last changed.
    pub revision: Revision,
    points: Buckets<Extremes>,
}

impl Series {
    /// A parameter without values.
    pub fn new(unit: Arc<str>, limits: Option<Limits>) -> Self {
        let points = Buckets::new(PARAMETER_BUCKET_MS, PARAMETER_POINTS_MAX);
        Self { unit, limits, latest: None, revision: 0, points }
    }

    /// Takes a value; late ones fill the past and never replace the newest.
    pub fn record(
        &mut self,
        time: Tai,
        value: f64,
        text: Option<Arc<str>>,
        level: Level,
        revision: Revision,
    ) {
        self.revision = revision;
        if self.latest.as_ref().is_none_or(|latest| latest.0 <= time) {
            self.latest = Some((time, value, text, level));
        }
        // JSON has no word for it, and a plot no place: the value itself still says so.
        if !value.is_finite() {
            return;
        }
        let Some((fresh, point)) = self.points.at(unix_ms(time), revision) else { return };
        if fresh {
            *point =
                Extremes { low: value, high: value, last: value, last_time: time.0, level: None };
        }
        point.low = point.low.min(value);
        point.high = point.high.max(value);
        if point.last_time <= time.0 {
            (point.last, point.last_time) = (value, time.0);
        }
        point.level = point.level.max(Some(level));
    }

    /// Points that changed after `revision`.
    pub fn since(&self, revision: Revision) -> Vec<ParameterPoint> {
        let row = |(start, point): &(i64, Extremes)| {
            let level = match point.level {
                None | Some(Level::Normal) => 0,
                Some(Level::Yellow) => 1,
                Some(Level::Red) => 2,
            };
            ParameterPoint(*start, point.low, point.high, point.last, level)
        };
        self.points.since(revision).map(row).collect()
    }
}

/// Things with an identity, replaced when told again, the least recently new one forgotten.
#[derive(Clone, Debug)]
pub struct Keyed<T> {
    items: BTreeMap<String, Stamped<T>>,
    arrival: VecDeque<String>,
    bound: usize,
}

impl<T> Keyed<T> {
    /// Room for `bound` things.
    pub fn new(bound: usize) -> Self {
        Self { items: BTreeMap::new(), arrival: VecDeque::new(), bound: bound.max(1) }
    }

    /// Adds or replaces; returns what stood there.
    pub fn put(&mut self, id: &str, item: T, revision: Revision) -> Option<T> {
        let before = self.items.insert(id.to_owned(), Stamped { revision, item });
        if before.is_none() {
            self.arrival.push_back(id.to_owned());
            if self.arrival.len() > self.bound
                && let Some(oldest) = self.arrival.pop_front()
            {
                self.items.remove(&oldest);
            }
        }
        before.map(|stamped| stamped.item)
    }

    /// One by its identity.
    pub fn get(&self, id: &str) -> Option<&T> {
        self.items.get(id).map(|stamped| &stamped.item)
    }

    /// Those that changed after `revision`.
    pub fn since(&self, revision: Revision) -> impl Iterator<Item = &T> {
        self.items.values().filter(move |item| item.revision > revision).map(|item| &item.item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Tai {
        Tai::from_unix(1_795_392_000 + seconds, 0)
    }

    #[test]
    fn late_values_fill_the_past_and_never_replace_the_newest() {
        let mut series = Series::new("V".into(), None);
        series.record(at(10), 7.7, None, Level::Normal, 1);
        series.record(at(5), 7.1, None, Level::Yellow, 2);
        assert_eq!(series.latest.as_ref().unwrap().1, 7.7);
        let points = series.since(0);
        assert_eq!(points.len(), 2);
        assert!(points[0].0 < points[1].0);
        assert_eq!(points[0].4, 1);
        assert_eq!(series.since(1).len(), 1);
    }

    #[test]
    fn a_fast_parameter_keeps_its_extremes() {
        let mut series = Series::new("".into(), None);
        for step in 0..20 {
            let value = if step == 7 { 99.0 } else { 1.0 };
            series.record(at(0).plus(step * 50_000_000), value, None, Level::Normal, 1);
        }
        let points = series.since(0);
        assert_eq!(points.len(), 1);
        assert_eq!((points[0].1, points[0].2, points[0].3), (1.0, 99.0, 1.0));
    }

    #[test]
    fn numbers_that_are_none_stay_out_of_the_plot() {
        let mut series = Series::new("".into(), None);
        series.record(at(0), f64::NAN, None, Level::Normal, 1);
        assert!(series.since(0).is_empty());
        assert!(series.latest.is_some());
    }

    #[test]
    fn histories_are_bounded_from_both_ends() {
        let mut series = Series::new("".into(), None);
        let last = PARAMETER_POINTS_MAX as i64 + 500;
        for second in 0..last {
            series.record(at(second), 1.0, None, Level::Normal, 1);
        }
        series.record(at(0), 5.0, None, Level::Normal, 2);
        let points = series.since(0);
        assert_eq!(points.len(), PARAMETER_POINTS_MAX);
        assert!(points.iter().all(|point| point.3 == 1.0));

        let mut row = ChannelRow::new(String::new());
        for second in 0..10_000 {
            row.record(Quality::Good, Lost::default(), at(second), 1);
        }
        assert_eq!(row.since(0).len(), FRAME_BUCKETS_MAX);
        assert_eq!(row.total, 10_000);
    }

    #[test]
    fn the_thing_told_again_replaces_itself() {
        let mut jobs = Keyed::new(2);
        jobs.put("a", 1, 1);
        jobs.put("b", 2, 2);
        assert_eq!(jobs.put("a", 3, 3), Some(1));
        assert_eq!(jobs.since(2).copied().collect::<Vec<_>>(), [3]);
        jobs.put("c", 4, 4);
        assert_eq!(jobs.get("a"), None);
        assert_eq!(jobs.since(0).count(), 2);
    }
}
