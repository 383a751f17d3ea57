//! The merged view: what several antennas heard of one channel, as the one stream that was sent.
//!
//! Each antenna's site numbers its own receptions, so two copies of a frame share nothing but the
//! frame's own count and, nearly, their earth receive time. A count starts again every 256 frames
//! or so; here each reception gets the number that it would have if it did not:
//!
//! ```text
//! its time ─────────► the frame heard nearest to it ─┐
//! its site's order ─► a hint, where that agrees ─────┴─► number ─► first, better or a copy
//! ```
//!
//! Taking the number nearest to a neighbour in time is what "less than half the counter's wrap
//! apart" means; the pace is needed only where no neighbour is near. Sites deliver when they can,
//! so what comes may be older than all that came: where no one heard anything near, it belongs
//! between what any site heard before it and what any heard behind it. Both receptions stay
//! archived; this only says which one counts.

mod reception;

use crate::{archive::Archived, header::Head};
use codecs::{
    ids::{Channel, KeyPrefix, Origin, SpacecraftId, StoreEpoch},
    link::object::{Annotation, Quality},
    time::Tai,
};
use reception::{Bound, Own, Reception};
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
    /// Those by count and time, where a count is not used again within the window.
    counts: BTreeSet<(u64, Tai, u64)>,
    taken: u64,
}

/// What one site heard.
#[derive(Debug, Default)]
struct Site {
    /// Times and numbers by sequence.
    places: BTreeMap<u64, (Tai, u64)>,
    /// Numbers by time.
    times: BTreeSet<(Tai, u64)>,
    /// All of them: a site hears a frame once.
    numbers: BTreeSet<u64>,
    /// Time and number of the first and last reception of a run without a long hole.
    run: Option<[(Tai, u64); 2]>,
    /// Frames and nanoseconds of the last run that told a pace.
    paced: Option<(u64, i64)>,
}

impl Site {
    fn before(&self, at: Tai) -> Option<(Tai, u64)> {
        self.times.range(..(at, 0)).next_back().copied()
    }

    fn after(&self, at: Tai) -> Option<(Tai, u64)> {
        self.times.range((at, 0)..).next().copied()
    }

    /// Frames and nanoseconds by which it receives.
    const fn pace(&self) -> Option<(u64, i64)> {
        self.paced
    }

    /// How far in time a reception still tells the numbers around it: a quarter of the count's wrap
    /// at the pace of the run, which leaves another quarter for what clocks are apart.
    fn reach_ns(&self, modulus: u64) -> i64 {
        self.pace().map_or(i64::MAX, |(frames, ns)| {
            (modulus as f64 / 4.0 * ns as f64 / frames as f64) as i64
        })
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
        if let Some([first, last]) = self.run {
            let (frames, ns) = (last.1 - first.1, last.0.since(first.0));
            if frames >= PACE_FRAMES && ns > 0 {
                self.paced = Some((frames, ns));
            }
        }
        self.times.insert(here);
        self.numbers.insert(number);
        self.places.insert(reception.sequence, here);
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

impl Heard {
    fn take(&mut self, reception: &Reception, window_ns: i64) -> (u64, Standing, u64) {
        let &Reception { site, sequence, received, rank, .. } = reception;
        if self.sites.len() >= SITES_MAX && !self.sites.contains_key(&site) {
            self.sites.pop_first();
        }
        let places = &self.sites.entry(site).or_default().places;
        if let Some((_, number)) = places.get(&sequence) {
            return (*number, Standing::Copy, 0);
        }
        let below = places.range(..sequence).next_back().map(|(at, place)| (*at, *place));
        let above = places.range(sequence..).next().map(|(at, place)| (*at, *place));
        let awaited = below.map_or(0, |(at, _)| sequence - at - 1);
        let pace = self.sites.get(&site).and_then(Site::pace);
        // Every unit of the site between two is a frame between them.
        let own = Own {
            below: below.map(|(before, (at, number))| Bound {
                at,
                number,
                least: number.saturating_add(sequence - before),
                pace,
            }),
            above: above.map(|(behind, (at, number))| Bound {
                at,
                number,
                least: number.saturating_sub(behind - sequence),
                pace,
            }),
        };
        let number = self.number(reception, &own, window_ns);
        let least = own.below.map(|below| below.least);
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
                if reception.is_counted_far() {
                    self.counts.insert((reception.count, received, number));
                }
                Standing::First
            }
        };
        // Others find their place by this one: its count must be right.
        if let Some(site) = self.sites.get_mut(&site).filter(|_| rank != Rank::Erred) {
            site.note(reception, number);
        }
        (number, standing, awaited)
    }

    fn number(&self, reception: &Reception, own: &Own, window_ns: i64) -> u64 {
        if let Some(twin) = self.twin(reception, window_ns) {
            return twin;
        }
        let mut number = match self.neighbour(reception, window_ns) {
            Some(neighbour) => reception.hinted(neighbour, own, window_ns),
            None => self.alone(reception, own),
        };
        // The same count, and yet another frame.
        let site = self.sites.get(&reception.site);
        while site.is_some_and(|site| site.numbers.contains(&number))
            || self.frames.get(&number).is_some_and(|(received, _)| {
                received.since(reception.received).saturating_abs() >= window_ns
            })
        {
            number = number.saturating_add(reception.modulus);
        }
        number
    }

    /// The frame with its count that was heard within the window, if its own site has not heard
    /// that: no order of any site tells more.
    fn twin(&self, reception: &Reception, window_ns: i64) -> Option<u64> {
        if !reception.is_counted_far() {
            return None;
        }
        let (count, at) = (reception.count, reception.received);
        let from = (count, Tai(at.0.saturating_sub(window_ns)), 0);
        let to = (count, Tai(at.0.saturating_add(window_ns)), 0);
        let apart_ns = |time: Tai| at.since(time).saturating_abs();
        let site = self.sites.get(&reception.site);
        // A counter that stands still must not make each of its frames search all others.
        let twins = self.counts.range(from..to).take(SITES_MAX).filter(|(_, time, number)| {
            apart_ns(*time) < window_ns && site.is_none_or(|site| !site.numbers.contains(number))
        });
        twins.min_by_key(|(_, time, _)| apart_ns(*time)).map(|(.., number)| *number)
    }

    /// The number of what another site heard at the nearest time, within the window; and whether
    /// the count is sure to tell how far from it. Where counts reach far, the nearest by count:
    /// clocks differ by many frames, and the counter may have been set back between.
    fn neighbour(&self, reception: &Reception, window_ns: i64) -> Option<(u64, bool)> {
        let at = reception.received;
        let far = reception.is_counted_far();
        let others = self.sites.iter().filter(|(site, _)| **site != reception.site);
        let near = others.flat_map(|(_, site)| {
            let within_ns = window_ns.min(site.reach_ns(reception.modulus));
            let sure = far || site.pace().is_some();
            let both = site.before(at).into_iter().chain(site.after(at));
            let near = both.filter(move |(time, _)| at.since(*time).saturating_abs() < within_ns);
            near.map(move |(time, number)| (time, number, sure))
        });
        let nearest = near.min_by_key(|(time, number, _)| {
            let by_count = if far { reception.near(*number).abs_diff(*number) } else { 0 };
            (by_count, at.since(*time).saturating_abs())
        });
        nearest.map(|(_, number, sure)| (number, sure))
    }

    /// A number for what no other site heard anything near: between what any heard before and
    /// behind it. Its own site's order tells what that is where its clock does not.
    fn alone(&self, reception: &Reception, own: &Own) -> u64 {
        // What lies behind it in its site's order is the same run, and what lies before it is not:
        // the counter was set back between, perhaps twice, and leaves it no other place.
        if let Some(above) = own.above
            && reception.leads(&above)
            && own.below.is_none_or(|below| !reception.follows(&below))
        {
            return reception.to(above.least);
        }
        let at = reception.received;
        let others = || self.sites.iter().filter(|(site, _)| **site != reception.site);
        let bound = |site: &Site, (at, number): (Tai, u64), least: u64| Bound {
            at,
            number,
            least,
            pace: site.pace(),
        };
        let before = others().filter_map(|(_, site)| {
            site.before(at).map(|it| bound(site, it, it.1.saturating_add(1)))
        });
        let after = others().filter_map(|(_, site)| {
            site.after(at).map(|it| bound(site, it, it.1.saturating_sub(1)))
        });
        let before = before.chain(own.below).max_by_key(|bound| bound.at);
        let after = own.above.into_iter().chain(after).min_by_key(|bound| bound.at);
        let (before, after) = match (before, after) {
            (Some(before), Some(after)) => (before, after),
            (Some(before), None) => {
                let number = reception.behind(&before);
                let again = own.is_unknown() && reception.may_be_again(&before, number);
                let room = before.number.saturating_add(reception.modulus);
                return if again { reception.from(room) } else { number };
            }
            (None, Some(after)) => {
                let number = reception.ahead(&after);
                let again = own.is_unknown() && reception.may_be_again(&after, number);
                let room = after.number.saturating_sub(reception.modulus);
                return if again { reception.to(room) } else { number };
            }
            (None, None) => return reception.from(MIDDLE),
        };
        let number = match at.since(before.at) <= after.at.since(at) {
            true => reception.behind(&before).min(reception.to(after.least)),
            false => reception.ahead(&after),
        };
        match number < before.least {
            // Behind what follows, if there is no room.
            true => reception.from(before.least),
            false => number,
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
            || self.neighbour(reception, window_ns).is_some_and(|(number, _)| near(number))
    }

    /// Forgets the older half; how many frames that were.
    fn forget(&mut self) -> usize {
        let before = self.frames.len();
        let Some(middle) = self.frames.keys().nth(before / 2).copied() else { return 0 };
        self.frames = self.frames.split_off(&middle);
        self.counts.retain(|(.., number)| *number >= middle);
        for site in self.sites.values_mut() {
            site.times.retain(|(_, number)| *number >= middle);
            site.numbers = site.numbers.split_off(&middle);
        }
        before - self.frames.len()
    }
}

#[cfg(test)]
mod tests;
