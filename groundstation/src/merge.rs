//! The merged view: what several antennas heard of one channel, as the one stream that was sent.
//!
//! Each antenna's site numbers its own receptions, so two copies of a frame share nothing but the
//! frame's own count and, nearly, their earth receive time. A count starts again every 256 frames
//! or so; here each reception gets the number that it would have if it did not:
//!
//! ```text
//! its site's order ─► between which numbers it lies ─┐
//! its time ─────────► the frame heard nearest to it ─┴─► number ─► first, better or a copy
//! ```
//!
//! Taking the number nearest to a neighbour in time is what "less than half the counter's wrap
//! apart" means; the pace is needed only where no neighbour is near. Both receptions stay archived; this only says
//! which one counts.

use crate::{archive::Archived, header::Head};
use codecs::{
    ids::{Channel, KeyPrefix, Origin, SpacecraftId, StoreEpoch},
    link::object::{Annotation, Quality},
    time::Tai,
};
use std::collections::{BTreeMap, BTreeSet};

/// Frames remembered, over all channels. At the bound the channel with most forgets its oldest: a
/// reception of one of those that comes later counts as a frame of its own.
pub const FRAMES_MAX: usize = 1 << 16;
/// Channels followed. At the bound the one that was silent for longest is forgotten.
pub const CHANNELS_MAX: usize = 64;
/// Sites that are heard of one channel.
const SITES_MAX: usize = 16;
/// Receptions of a site between which one that overtook others finds its place.
const PLACES_MAX: usize = 1 << 14;
/// Receptions that tell the pace of a site.
const PACE_FRAMES: u64 = 32;
/// The first number of a channel: late receptions of earlier frames find room below.
const MIDDLE: u64 = 1 << 60;
/// An erred frame whose count leads further than this from the last one is not believed: one wrong
/// bit would place it anywhere.
const ERRED_AHEAD_MAX: u64 = 16;

/// Counts that start again more often than this are not judged: hundreds of frames lost are more
/// likely there than a count that was set back.
const JUDGED_MODULUS_MIN: u64 = 1 << 16;
/// A sender may be so much faster for a while than it was on average.
const BURST: u64 = 16;

/// Whether a count that seems to go on `ahead` frames further was set back instead: the recording is
/// heard again, or the counter was reset. `passed` frames would have been sent meanwhile, as far as
/// a pace is known.
pub fn is_set_back(ahead: u64, modulus: u64, passed: Option<u64>) -> bool {
    if modulus < JUDGED_MODULUS_MIN {
        return false;
    }
    if ahead > modulus / 2 {
        // Nearer as a step back than as one ahead, unless the time was enough for that.
        return passed.is_none_or(|passed| passed < modulus / 2);
    }
    passed.is_some_and(|passed| {
        ahead > JUDGED_MODULUS_MIN.saturating_add(passed.saturating_mul(BURST))
    })
}

/// What is put in order as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum View {
    /// What a store numbered itself: its sequence is the order of sending.
    Store(KeyPrefix),
    /// What antennas heard of a channel.
    Heard(SpacecraftId, Channel),
}

impl View {
    /// Whose frames they are.
    pub const fn spacecraft(&self) -> SpacecraftId {
        match self {
            Self::Store(prefix) => prefix.spacecraft,
            Self::Heard(spacecraft, _) => *spacecraft,
        }
    }
}

/// How good a reception is; the least is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// As sent.
    Good,
    /// With so many symbols corrected.
    Corrected(u16),
    /// Nothing tells.
    Undetermined,
    /// Damaged.
    Erred,
}

impl Rank {
    /// Judges by what the antenna said and by the frame's own check, which knows better.
    pub fn of(annotation: Option<Annotation>, head: &Head) -> Self {
        let quality = annotation.map_or(Quality::Undetermined, |heard| heard.quality);
        match quality {
            _ if head.erred => Self::Erred,
            Quality::Erred => Self::Erred,
            Quality::Good => Self::Good,
            Quality::Corrected => Self::Corrected(annotation.map_or(0, |a| a.corrected_symbols)),
            Quality::Undetermined if head.checked => Self::Good,
            Quality::Undetermined => Self::Undetermined,
        }
    }
}

/// What a reception is to the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The first of its frame.
    First,
    /// Better than the one that counted so far.
    Better {
        /// How good that one was.
        than: Rank,
    },
    /// Not better.
    Copy,
    /// Erred, with a count that can't be believed.
    Stray,
}

/// Where a reception belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// In which view.
    pub view: View,
    /// In the order of sending.
    pub number: u64,
    /// What it is to the view.
    pub standing: Standing,
    /// Units of its own site before it that have yet to come; none where the number tells.
    pub awaited: Option<u64>,
}

/// The views of all channels that antennas hear.
#[derive(Debug)]
pub struct Merge {
    window_ns: i64,
    frames_max: usize,
    channels: BTreeMap<(SpacecraftId, Channel), Heard>,
    frames: usize,
    taken: u64,
}

#[derive(Debug, Default)]
struct Heard {
    sites: BTreeMap<(Origin, StoreEpoch), Site>,
    /// Frames by number: when the first good reception came and how good the best is.
    frames: BTreeMap<u64, (Tai, Rank)>,
    taken: u64,
}

/// What one site heard.
#[derive(Debug, Default)]
struct Site {
    /// Numbers by sequence.
    places: BTreeMap<u64, u64>,
    /// Numbers by time.
    times: BTreeSet<(Tai, u64)>,
    /// Time and number of the first and last reception of a run without a long hole.
    run: Option<[(Tai, u64); 2]>,
}

impl Site {
    fn before(&self, at: Tai) -> Option<(Tai, u64)> {
        self.times.range(..(at, 0)).next_back().copied()
    }

    fn after(&self, at: Tai) -> Option<(Tai, u64)> {
        self.times.range((at, 0)..).next().copied()
    }

    /// Frames and nanoseconds of the run, where it tells a pace.
    fn pace(&self) -> Option<(u64, i64)> {
        let [first, last] = self.run?;
        let (frames, ns) = (last.1 - first.1, last.0.since(first.0));
        (frames >= PACE_FRAMES && ns > 0).then_some((frames, ns))
    }

    /// How far in time a reception still tells the numbers around it: a quarter of the count's wrap
    /// at the pace of the run, which leaves another quarter for what clocks are apart.
    fn reach_ns(&self, modulus: u64) -> i64 {
        self.pace().map_or(i64::MAX, |(frames, ns)| {
            (modulus as f64 / 4.0 * ns as f64 / frames as f64) as i64
        })
    }

    /// The number of what comes behind everything it heard. The count alone takes a hole of more
    /// than its wrap for a short one; at the pace of the run before, time tells how long it was.
    fn next(&self, reception: &Reception, least: u64) -> u64 {
        let plain = reception.from(least);
        let (Some((frames, ns)), Some([_, last])) = (self.pace(), self.run) else { return plain };
        let silence = reception.received.since(last.0).max(0);
        let passed = (silence as f64 * frames as f64 / ns as f64) as u64;
        match passed > reception.modulus / 2 {
            true => reception.near(last.1.saturating_add(passed)).max(plain),
            false => plain,
        }
    }

    fn note(&mut self, reception: &Reception, number: u64) {
        let here = (reception.received, number);
        let newest = self.places.last_key_value().is_none_or(|(at, _)| *at < reception.sequence);
        if newest {
            self.run = match self.run {
                Some([first, last])
                    if last.1 < number
                        && number - last.1 <= reception.modulus / 2
                        && last.0 <= here.0 =>
                {
                    Some([first, here])
                }
                _ => Some([here, here]),
            };
        }
        self.times.insert(here);
        self.places.insert(reception.sequence, number);
        if self.places.len() > PLACES_MAX {
            self.places.pop_first();
        }
    }
}

impl Merge {
    /// Receptions further apart than the window are different frames.
    pub const fn new(window_ns: i64) -> Self {
        let frames_max = FRAMES_MAX;
        Self { window_ns, frames_max, channels: BTreeMap::new(), frames: 0, taken: 0 }
    }

    /// Remembers so many frames: for a reading of a whole archive.
    pub const fn with_frames(mut self, frames_max: usize) -> Self {
        self.frames_max = frames_max;
        self
    }

    /// Finds the place of a frame.
    pub fn place(&mut self, unit: &Archived, head: &Head) -> Place {
        let prefix = unit.key.prefix;
        let channel = prefix.channel;
        let own = channel.as_virtual_channel().is_some_and(|(_, _, vc, _)| vc == head.vc);
        let Some(annotation) = unit.annotation.filter(|_| own && !head.idle) else {
            let view = View::Store(prefix);
            let (number, standing) = (unit.key.sequence, Standing::First);
            return Place { view, number, standing, awaited: None };
        };
        self.taken += 1;
        let key = (prefix.spacecraft, channel);
        self.make_room(key);
        let heard = self.channels.entry(key).or_default();
        heard.taken = self.taken;
        let before = heard.frames.len();
        let reception = Reception {
            site: (prefix.origin, prefix.epoch),
            sequence: unit.key.sequence,
            count: head.count,
            modulus: head.modulus.max(1),
            received: annotation.received,
            rank: Rank::of(Some(annotation), head),
        };
        let (number, standing, awaited) = heard.take(&reception, self.window_ns);
        self.frames = (self.frames + heard.frames.len()).saturating_sub(before);
        let view = View::Heard(prefix.spacecraft, channel);
        Place { view, number, standing, awaited: Some(awaited) }
    }

    fn make_room(&mut self, key: (SpacecraftId, Channel)) {
        if self.channels.len() >= CHANNELS_MAX && !self.channels.contains_key(&key) {
            let silent = self.channels.iter().min_by_key(|(_, heard)| heard.taken);
            if let Some(heard) =
                silent.map(|(key, _)| *key).and_then(|silent| self.channels.remove(&silent))
            {
                self.frames -= heard.frames.len();
            }
        }
        if self.frames >= self.frames_max
            && let Some(largest) = self.channels.values_mut().max_by_key(|h| h.frames.len())
        {
            self.frames -= largest.forget();
        }
    }
}

/// A reception, as far as its place goes.
struct Reception {
    site: (Origin, StoreEpoch),
    sequence: u64,
    count: u64,
    modulus: u64,
    received: Tai,
    rank: Rank,
}

impl Reception {
    /// The least number with its count from `least` on.
    const fn from(&self, least: u64) -> u64 {
        let ahead =
            (self.count % self.modulus + self.modulus - least % self.modulus) % self.modulus;
        least.saturating_add(ahead)
    }

    /// The greatest number with its count to `most`.
    const fn to(&self, most: u64) -> u64 {
        let behind =
            (most % self.modulus + self.modulus - self.count % self.modulus) % self.modulus;
        most.saturating_sub(behind)
    }

    /// The number with its count that is nearest.
    const fn near(&self, number: u64) -> u64 {
        let (above, below) = (self.from(number), self.to(number));
        if above - number <= number - below { above } else { below }
    }
}

impl Heard {
    fn take(&mut self, reception: &Reception, window_ns: i64) -> (u64, Standing, u64) {
        let &Reception { site, sequence, received, rank, .. } = reception;
        if self.sites.len() >= SITES_MAX && !self.sites.contains_key(&site) {
            self.sites.pop_first();
        }
        let places = &self.sites.entry(site).or_default().places;
        if let Some(number) = places.get(&sequence) {
            return (*number, Standing::Copy, 0);
        }
        let below = places.range(..sequence).next_back().map(|(at, number)| (*at, *number));
        let above = places.range(sequence..).next().map(|(at, number)| (*at, *number));
        let awaited = below.map_or(0, |(at, _)| sequence - at - 1);
        // Every unit of the site between two is a frame between them.
        let least = below.map(|(at, number)| number.saturating_add(sequence - at));
        let most = above.map(|(at, number)| number.saturating_sub(at - sequence));
        let number = self.number(reception, least, most, window_ns);
        if rank == Rank::Erred && !self.is_believable(number, least, reception, window_ns) {
            return (number, Standing::Stray, awaited);
        }
        let standing = match self.frames.get_mut(&number) {
            Some((_, best)) if rank < *best => {
                Standing::Better { than: std::mem::replace(best, rank) }
            }
            Some(_) => Standing::Copy,
            None => {
                self.frames.insert(number, (received, rank));
                Standing::First
            }
        };
        // Others find their place by this one: its count must be right.
        if let Some(site) = self.sites.get_mut(&site).filter(|_| rank != Rank::Erred) {
            site.note(reception, number);
        }
        (number, standing, awaited)
    }

    fn number(
        &self,
        reception: &Reception,
        least: Option<u64>,
        most: Option<u64>,
        window_ns: i64,
    ) -> u64 {
        let neighbour = self.neighbour(reception, window_ns);
        let mut number = match (neighbour, least, most) {
            (Some(number), ..) => reception.near(number),
            (None, Some(least), None) => {
                let site = self.sites.get(&reception.site);
                site.map_or(reception.from(least), |site| site.next(reception, least))
            }
            (None, Some(least), Some(_)) => reception.from(least),
            (None, None, Some(most)) => reception.to(most),
            (None, None, None) => self.apart(reception),
        };
        if let Some(least) = least.filter(|least| number < *least) {
            number = reception.from(least);
        }
        if let Some(most) = most.filter(|most| number > *most) {
            number = reception.to(most);
        }
        // The same count, and yet another frame.
        while self.frames.get(&number).is_some_and(|(received, _)| {
            received.since(reception.received).saturating_abs() >= window_ns
        }) {
            number = number.saturating_add(reception.modulus);
        }
        number
    }

    /// The number of what another site heard at the nearest time, within the window.
    fn neighbour(&self, reception: &Reception, window_ns: i64) -> Option<u64> {
        let at = reception.received;
        let others = self.sites.iter().filter(|(site, _)| **site != reception.site);
        let near = others.flat_map(|(_, site)| {
            let within_ns = window_ns.min(site.reach_ns(reception.modulus));
            let both = site.before(at).into_iter().chain(site.after(at));
            both.filter(move |(time, _)| at.since(*time).saturating_abs() < within_ns)
        });
        let nearest = near.min_by_key(|(time, _)| at.since(*time).saturating_abs());
        nearest.map(|(_, number)| number)
    }

    /// A number for what no one else heard anything near: behind or before everything, or in
    /// between where its time is in between.
    fn apart(&self, reception: &Reception) -> u64 {
        let at = reception.received;
        let earlier = self.sites.values().filter_map(|site| site.before(at)).max();
        let later = self.sites.values().filter_map(|site| site.after(at)).min();
        // With room, since frames may have been lost between.
        match (earlier, later) {
            (Some((_, number)), _) => reception.from(number.saturating_add(reception.modulus)),
            (None, Some((_, number))) => reception.to(number.saturating_sub(reception.modulus)),
            (None, None) => reception.from(MIDDLE),
        }
    }

    fn is_believable(
        &self,
        number: u64,
        least: Option<u64>,
        reception: &Reception,
        window_ns: i64,
    ) -> bool {
        let near = |known: u64| number.abs_diff(known) <= ERRED_AHEAD_MAX;
        self.frames.contains_key(&number)
            || least.is_some_and(near)
            || self.neighbour(reception, window_ns).is_some_and(near)
    }

    /// Forgets the older half; how many frames that were.
    fn forget(&mut self) -> usize {
        let before = self.frames.len();
        let Some(middle) = self.frames.keys().nth(before / 2).copied() else { return 0 };
        self.frames = self.frames.split_off(&middle);
        for site in self.sites.values_mut() {
            site.times.retain(|(_, number)| *number >= middle);
        }
        before - self.frames.len()
    }
}

#[cfg(test)]
mod tests;
