//! Frames to packets, whatever the order in which their units arrive.
//!
//! Units of one counter travel on many streams and may overtake each other, and two antennas may
//! each have lost what the other heard. A frame that comes in order is extracted as it comes; a
//! late or better one is extracted again together with its neighbours, so that packets over its
//! edges come out whole. Packets that came out before come out again: who
//! publishes keeps a window of identities.

use crate::header::{Flag, Formats, modulus};
use crate::merge::{Place, Standing, View, is_set_back};
use bytes::Bytes;
use codecs::frame::extract::{Event, Extractor, FrameConfig};
use codecs::ids::{Codec, SpacecraftId};
use codecs::link::{profile::Profile, sender::OBJECT_BYTES_TARGET};
use codecs::mission::Definition;
use std::collections::{BTreeMap, VecDeque};

/// Bytes of frames kept at most, over all counters, to put late ones between their neighbours: the
/// objects that a peer of the widest profile has under way, any of which may come last. At the
/// bound the oldest goes; a frame that comes later than that is extracted alone.
pub const RECENT_BYTES_MAX: usize = 16 << 20;
/// As many as several peers of a near profile have under way together.
const RECENT_BYTES_NEAR: usize = 6 << 20;

/// Bytes of frames kept where peers have what a profile lets them have.
pub const fn recent_bytes(profile: &Profile) -> usize {
    let one = profile.objects_max * OBJECT_BYTES_TARGET;
    let least = if one < RECENT_BYTES_NEAR { RECENT_BYTES_NEAR } else { one };
    if least < RECENT_BYTES_MAX { least } else { RECENT_BYTES_MAX }
}

/// Neighbours on either side that a late frame is extracted with; a packet of 64 KiB spans more,
/// and is then told by its recorded copy only.
const NEIGHBOURS_MAX: u64 = 16;

/// Counters followed. At the bound the one that was silent for longest is forgotten, at the cost
/// of one packet in progress.
pub const COUNTERS_MAX: usize = 64;

/// Holes remembered of a counter, to tell which of their frames came after all. At the bound the
/// oldest is forgotten, and its frames stay told as lost.
const HOLES_MAX: usize = 1024;

/// What a frame gave.
#[derive(Debug, Default)]
pub struct Deframed {
    /// Its virtual channel, where it has one.
    pub vc: Option<u8>,
    /// Frames lost before it by the frame counter, beyond those whose units have yet to come; none
    /// where the counter was set back, since nothing tells then.
    pub gap: u64,
    /// It was told as lost before: another antenna heard it, and delivered it late.
    pub found: bool,
    /// Its own check failed.
    pub erred: bool,
    /// Packets, idle ones left out, and whether bytes of theirs came from an erred frame.
    pub packets: Vec<(Bytes, bool)>,
    /// Why it was left out, if it was.
    pub flag: Option<Flag>,
}

/// Extractors of all counters.
pub struct Deframer {
    formats: Formats,
    counters: BTreeMap<View, Counter>,
    recent_bytes: usize,
    recent_bytes_max: usize,
    pushes: u64,
}

struct Counter {
    config: FrameConfig,
    extractor: Extractor,
    last: Option<u64>,
    /// Holes by their first number.
    holes: BTreeMap<u64, Hole>,
    recent: BTreeMap<u64, Recent>,
    /// Numbers of those in the order in which they came, with what was said of each then.
    came: VecDeque<(u64, u64)>,
    recent_bytes: usize,
    pushed: u64,
}

/// Frames that were not there when the one behind them came.
struct Hole {
    last: u64,
    /// Of its frames, those that have not come since.
    open: u64,
    /// Of those, what was told as lost: for the others a site's unit had yet to come.
    told: u64,
}

/// A frame that is kept, and when it came by the deframer's count.
struct Recent {
    came: u64,
    frame: Bytes,
}

impl Deframer {
    /// Knows frames by what the mission says of them.
    pub fn new(definition: &Definition) -> Self {
        Self {
            formats: Formats::new(definition),
            counters: BTreeMap::new(),
            recent_bytes: 0,
            recent_bytes_max: RECENT_BYTES_MAX,
            pushes: 0,
        }
    }

    /// Keeps at most so many bytes of frames.
    pub fn keeping(mut self, bytes: usize) -> Self {
        self.recent_bytes_max = bytes.min(RECENT_BYTES_MAX);
        self
    }

    /// Takes one frame at its place. A copy gives nothing; a better reception is extracted again in
    /// the place of the worse.
    pub fn take(
        &mut self,
        spacecraft: SpacecraftId,
        place: &Place,
        codec: Codec,
        frame: &Bytes,
    ) -> Deframed {
        let config = match self.formats.judge(spacecraft, codec, frame) {
            Ok(config) => config,
            Err(flag) => return Deframed { flag: Some(flag), ..Deframed::default() },
        };
        if matches!(place.standing, Standing::Copy | Standing::Stray) {
            return Deframed::default();
        }
        self.pushes += 1;
        if self.counters.len() >= COUNTERS_MAX && !self.counters.contains_key(&place.view) {
            let silent = self.counters.iter().min_by_key(|(_, counter)| counter.pushed);
            if let Some(counter) =
                silent.map(|(view, _)| *view).and_then(|view| self.counters.remove(&view))
            {
                self.recent_bytes -= counter.recent_bytes;
            }
        }
        let counter =
            self.counters.entry(place.view).or_insert_with(|| Counter::new(config.clone()));
        counter.pushed = self.pushes;
        let before = counter.recent_bytes;
        let deframed = counter.take(place, frame);
        self.recent_bytes = self.recent_bytes + counter.recent_bytes - before;
        while self.recent_bytes > self.recent_bytes_max {
            let largest = self.counters.values_mut().max_by_key(|counter| counter.recent_bytes);
            match largest.map_or(0, Counter::forget_oldest) {
                0 => break,
                bytes => self.recent_bytes -= bytes,
            }
        }
        deframed
    }
}

impl Counter {
    fn new(config: FrameConfig) -> Self {
        let extractor = Extractor::new(config.clone());
        let (recent, came) = (BTreeMap::new(), VecDeque::new());
        let holes = BTreeMap::new();
        Self { config, extractor, last: None, holes, recent, came, recent_bytes: 0, pushed: 0 }
    }

    fn take(&mut self, place: &Place, frame: &Bytes) -> Deframed {
        let number = place.number;
        // A slice that is kept would keep the whole block of the archive that it lies in.
        let kept = Recent { came: self.pushed, frame: Bytes::copy_from_slice(frame) };
        self.came.push_back((number, kept.came));
        let before = self.recent.insert(number, kept);
        self.recent_bytes += frame.len();
        self.recent_bytes -= before.map_or(0, |before| before.frame.len());
        // Each that came again leaves a word behind.
        if self.came.len() > 2 * self.recent.len() + 16 {
            let recent = &self.recent;
            self.came
                .retain(|(number, came)| recent.get(number).is_some_and(|it| it.came == *came));
        }
        let mut deframed = Deframed::default();
        match self.last {
            Some(last) if number <= last => {
                self.again(number, &mut deframed);
                deframed.found = place.standing == Standing::First && self.find(number);
            }
            last => {
                // Units that have yet to come are no gap in reception.
                let missing = last.map_or(0, |last| number - last - 1);
                let awaited = place.awaited.map_or(missing, |awaited| awaited.min(missing));
                push(&mut self.extractor, frame, &mut deframed, true);
                deframed.gap = deframed.gap.saturating_sub(awaited);
                if is_set_back(deframed.gap, modulus(&self.config), None) {
                    deframed.gap = 0;
                }
                // A store's own numbers have no room for what was lost before it numbered.
                if deframed.gap > 0 && place.awaited.is_some() {
                    let hole = Hole { last: number - 1, open: missing, told: deframed.gap };
                    self.holes.insert(number - missing, hole);
                    if self.holes.len() > HOLES_MAX {
                        self.holes.pop_first();
                    }
                }
                self.last = Some(number);
            }
        }
        deframed
    }

    /// Whether a late frame is one of those that were told as lost.
    fn find(&mut self, number: u64) -> bool {
        let Some((first, hole)) = self.holes.range_mut(..=number).next_back() else { return false };
        if number > hole.last {
            return false;
        }
        hole.open = hole.open.saturating_sub(1);
        let found = hole.open < hole.told;
        hole.told -= u64::from(found);
        if hole.told == 0 {
            let first = *first;
            self.holes.remove(&first);
        }
        found
    }

    /// Forgets what came first, wherever it stands: a run that comes a day late is its own
    /// neighbourhood, and must not go at once because its numbers are the lowest.
    fn forget_oldest(&mut self) -> usize {
        while let Some((number, came)) = self.came.pop_front() {
            // One that came again was kept anew.
            if self.recent.get(&number).is_some_and(|kept| kept.came == came) {
                let bytes = self.recent.remove(&number).map_or(0, |kept| kept.frame.len());
                self.recent_bytes -= bytes;
                return bytes;
            }
        }
        0
    }

    /// Extracts a late frame between the neighbours that are at hand.
    fn again(&mut self, number: u64, deframed: &mut Deframed) {
        let held = |number: &u64| self.recent.contains_key(number);
        let floor = number.saturating_sub(NEIGHBOURS_MAX);
        let first = (floor..number).rev().take_while(held).last().unwrap_or(number);
        let ceiling = number.saturating_add(NEIGHBOURS_MAX);
        let last = (number + 1..=ceiling).take_while(held).last().unwrap_or(number);
        let mut extractor = Extractor::new(self.config.clone());
        for (at, kept) in self.recent.range(first..=last) {
            push(&mut extractor, &kept.frame, deframed, *at == number);
        }
        if first == number {
            deframed.gap = 0;
        }
        // What was in progress before the hole is done with; it goes on from the newest frame.
        if last == self.last.unwrap_or(last) {
            self.extractor = extractor;
        }
    }
}

/// Pushes a frame; what it says of itself is kept for the one that is asked about.
fn push(extractor: &mut Extractor, frame: &Bytes, deframed: &mut Deframed, asked: bool) {
    extractor.push(frame, &mut |event| match event {
        Event::Frame { channel, erred, .. } if asked => {
            deframed.vc = Some(channel.vcid);
            deframed.erred = erred;
        }
        Event::Gap { lost, .. } if asked => deframed.gap = lost,
        Event::Rejected(_) if asked => deframed.flag = Some(Flag::Malformed),
        Event::Packet { bytes, erred, .. } => deframed.packets.push((bytes, erred)),
        _ => {}
    });
}

#[cfg(test)]
mod tests;
