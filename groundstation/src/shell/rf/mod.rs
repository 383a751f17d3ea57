//! Units that came by radio on their way into the archive, and what is told of it.
//!
//! ```text
//! process ─► listening ─► (a few whole units wait) ─► task ─► writer ─► fates ─► durable ─► way up
//! ```
//!
//! The thread that interprets units waits here while the archive has no room; the archive never
//! waits for that thread.

pub mod key;
mod counter;
mod up;

pub use up::Edges;

use super::{clock::StationClock, rules::Rules, uplink::Uplink, writer::Writer};
use crate::{
    archive::{Archived, record::Digest},
    publish::{Event, Feed, RadioView},
    receipt::{Fates, SessionId},
    rf::{
        Ear, HEARD_MAX, Heard, LOSSES_EVERY, Radio,
        hear::EarCounts,
        say::{Mouth, Voice},
    },
};
use anyhow::Context as _;
use bytes::Bytes;
use codecs::{
    ids::{KeyPrefix, Origin, RangeSet, SeqRange, SpacecraftId, StoreEpoch},
    link::custody::{Durability, RefusalReason},
};
use counter::CounterFile;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use up::News;

/// The one session of all radios; sessions of peers count from 1.
const SESSION: SessionId = SessionId(u64::MAX);
/// How often it is told what came of what was heard.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// The end that frames are handed to.
pub struct Listening {
    /// What is half heard.
    pub ear: Arc<Mutex<Ear>>,
    whole: mpsc::Sender<Heard>,
    rules: watch::Receiver<Arc<Rules>>,
}

/// An ear for the radios of a station, and where whole units come out.
pub fn listen(
    radios: &[Radio],
    rules: watch::Receiver<Arc<Rules>>,
) -> (Listening, mpsc::Receiver<Heard>) {
    let (whole, heard) = mpsc::channel(HEARD_MAX);
    (Listening { ear: Arc::new(Mutex::new(Ear::new(radios))), whole, rules }, heard)
}

impl Listening {
    /// Takes the parts that came with an archived frame; waits for room for what they complete.
    pub fn hear(&mut self, frame: &Archived, parts: &[Bytes]) {
        if parts.is_empty() {
            return;
        }
        let rules = Arc::clone(&self.rules.borrow());
        let mut whole = Vec::new();
        lock(&self.ear).hear(frame, parts, &rules.table, &mut |heard| whole.push(heard));
        for heard in whole {
            // The task ends before this thread does: then the next start hears it again.
            let _ = self.whole.blocking_send(heard);
        }
    }
}

fn lock(ear: &Mutex<Ear>) -> MutexGuard<'_, Ear> {
    ear.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What carries whole units to the archive.
pub struct Task {
    /// As the station file has them.
    pub radios: Vec<Radio>,
    /// For its counts.
    pub ear: Arc<Mutex<Ear>>,
    /// Whole units.
    pub heard: mpsc::Receiver<Heard>,
    /// The way to the archive.
    pub writer: Writer,
    /// Whose store speaks through which radio.
    pub rules: watch::Receiver<Arc<Rules>>,
    /// The class that makes a unit reclaimable on board.
    pub class: Durability,
    /// Who shows it.
    pub feed: Feed,
    /// Ways up.
    pub ways: Ways,
    /// Units with other bytes than those held under their keys.
    pub conflicts: BTreeMap<SpacecraftId, u64>,
}

/// Ways up by spacecraft: where what is durable goes, and what each tells.
#[derive(Default)]
pub struct Ways {
    up: BTreeMap<SpacecraftId, Up>,
    ready: Vec<up::Way>,
}

struct Up {
    /// The store that is spoken to.
    origin: Origin,
    news: mpsc::UnboundedSender<News>,
    /// What it was told last of losses.
    lost: BTreeMap<KeyPrefix, RangeSet>,
    /// The store that it was told to be there.
    store: Option<StoreEpoch>,
    told: Arc<Mutex<up::Told>>,
}

/// What a station says to its spacecraft, and with what.
pub struct Speech<'a> {
    /// The domain.
    pub domain: &'a str,
    /// The ledger.
    pub ledger: u64,
    /// The class that makes units reclaimable on board.
    pub class: Durability,
    /// The domain's key, where something is said.
    pub key: Option<[u8; 32]>,
    /// Folder of the bounds on counters.
    pub folder: &'a Path,
    /// The station's clock.
    pub clock: StationClock,
    /// Where edges are found.
    pub edges: Edges,
    /// What is to be done on board.
    pub uplink: Arc<Uplink>,
}

impl Ways {
    /// Opens what each way up needs; nothing is said yet.
    pub fn open(radios: &[Radio], rules: &Rules, speech: &Speech<'_>) -> anyhow::Result<Self> {
        let mut ways = Self::default();
        for radio in radios {
            let (Some(up), Some(key)) = (&radio.up, speech.key) else { continue };
            let spacecraft = radio.spacecraft;
            let what = || format!("rf of spacecraft {}", spacecraft.0);
            let origin = rules.table.store_of(spacecraft, radio.origin).with_context(what)?;
            let (file, kept) = CounterFile::open(speech.folder, spacecraft).with_context(what)?;
            let (domain, ledger, class) = (speech.domain.into(), speech.ledger, speech.class);
            let voice = Voice { domain, ledger, origin, class };
            let (news, receiver) = mpsc::unbounded_channel();
            let told = Arc::default();
            ways.ready.push(up::Way {
                mouth: Mouth::new(up.clone(), voice, key, kept),
                to: up.to.clone(),
                file,
                news: receiver,
                edges: speech.edges.clone(),
                counter: up::counter(speech.domain, speech.ledger, spacecraft),
                clock: speech.clock,
                uplink: Arc::clone(&speech.uplink),
                store: None,
                told: Arc::clone(&told),
                handed: 0,
            });
            ways.up
                .insert(spacecraft, Up { origin, news, lost: BTreeMap::new(), store: None, told });
        }
        Ok(ways)
    }
}

impl Task {
    /// Goes on until the station stops.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        if self.radios.is_empty() {
            return;
        }
        let (tell, mut told) = mpsc::unbounded_channel();
        if self.writer.join(SESSION, tell).await.is_err() {
            return;
        }
        let mut ways = JoinSet::new();
        for way in std::mem::take(&mut self.ways.ready) {
            ways.spawn(way.run(stop.clone()));
        }
        let mut durable = BTreeMap::new();
        let mut views = Vec::new();
        let mut losses = interval(LOSSES_EVERY);
        losses.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut tick = interval(TELL_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                // The last frame of the station's life is no reason to stay.
                biased;
                () = super::signals::told(&mut stop) => break,
                Some(fates) = told.recv() => self.fates(fates, &mut durable).await,
                Some(heard) = self.heard.recv() => {
                    if !self.take(heard, &mut durable).await {
                        break;
                    }
                }
                _ = tick.tick() => self.tell(&durable, &mut views),
                _ = losses.tick() => self.losses().await,
            }
        }
        let _ = self.writer.leave(SESSION).await;
        while ways.join_next().await.is_some() {}
        self.tell(&durable, &mut views);
    }

    /// Tells each way up what is to be asked for, where that is new.
    async fn losses(&mut self) {
        for up in self.ways.up.values_mut() {
            let Ok(lost) = self.writer.lost_of(up.origin).await else { return };
            if lost != up.lost {
                let _ = up.news.send(News::Lost(lost.clone()));
                up.lost = lost;
            }
        }
    }

    /// Offers a unit to the archive; whether there still is one.
    async fn take(&mut self, heard: Heard, durable: &mut Durable) -> bool {
        let key = heard.unit.key;
        if let Some(up) = self.ways.up.get_mut(&key.prefix.spacecraft)
            && up.store.replace(key.prefix.epoch) != Some(key.prefix.epoch)
        {
            let _ = up.news.send(News::Store(key.prefix.epoch));
        }
        // A start reads back every part there ever was. What has other bytes than the unit that is
        // held is offered nevertheless: it is kept aside, and told.
        if heard.replayed && self.writer.holds(&key).await.unwrap_or(false) {
            let digest = Digest::of(&heard.unit.bytes);
            if self.writer.differs(key, digest).await.unwrap_or(false) {
                return self.writer.deliver(SESSION, heard.unit).await.is_ok();
            }
            let range = SeqRange { first: key.sequence, last: key.sequence };
            self.synced(key.prefix, &[range].into_iter().collect(), durable).await;
            return true;
        }
        self.writer.deliver(SESSION, heard.unit).await.is_ok()
    }

    async fn fates(&mut self, fates: Fates, durable: &mut Durable) {
        for refused in fates.refusals.iter().filter(|of| of.reason == RefusalReason::Conflict) {
            *self.conflicts.entry(refused.prefix.spacecraft).or_default() += refused.range.count();
        }
        for (prefix, ranges) in fates.receipts {
            self.synced(prefix, &ranges, durable).await;
        }
        if self.class == Durability::ObjectStore {
            for (prefix, ranges) in fates.stored {
                self.durable(prefix, &ranges, durable);
            }
        }
    }

    /// Units are synced on this disk, now or before: durable where that is what the mission asks,
    /// or where the object store has them already.
    async fn synced(&self, prefix: KeyPrefix, ranges: &RangeSet, durable: &mut Durable) {
        if self.class == Durability::Local {
            return self.durable(prefix, ranges, durable);
        }
        let Ok(stored) = self.writer.stored_of(prefix.origin).await else { return };
        let Some(stored) = stored.get(&prefix) else { return };
        let both = ranges.ranges().iter().flat_map(|range| overlap(stored, *range));
        self.durable(prefix, &both.collect(), durable);
    }

    /// Notes units of a radio's own store; what another brought is not its business.
    fn durable(&self, prefix: KeyPrefix, ranges: &RangeSet, durable: &mut Durable) {
        let Some(radio) = self.radios.iter().find(|of| of.spacecraft == prefix.spacecraft) else {
            return;
        };
        let store = self.rules.borrow().table.store_of(radio.spacecraft, radio.origin);
        if store == Ok(prefix.origin) && !ranges.is_empty() {
            if let Some(up) = self.ways.up.get(&prefix.spacecraft) {
                // The way up ends with the station.
                let _ = up.news.send(News::Durable(prefix, ranges.clone()));
            }
            *durable.entry(prefix.spacecraft).or_default() += ranges.count();
        }
    }

    fn tell(&self, durable: &Durable, before: &mut Vec<RadioView>) {
        let counts: Vec<_> = lock(&self.ear).counts().collect();
        let view = |(spacecraft, counts): (SpacecraftId, EarCounts)| {
            let durable = durable.get(&spacecraft).copied().unwrap_or(0);
            let mut counts = counts;
            if let Some(conflicts) = self.conflicts.get(&spacecraft) {
                counts.refused.insert("conflict", *conflicts);
            }
            let up = self.ways.up.get(&spacecraft);
            let said = up.map(|up| up.told.lock().unwrap_or_else(PoisonError::into_inner).clone());
            view(spacecraft, counts, durable, said.unwrap_or_default().view)
        };
        let views: Vec<RadioView> = counts.into_iter().map(view).collect();
        if views != *before {
            self.feed.publish_all(views.iter().cloned().map(Event::Radio).collect());
            *before = views;
        }
    }
}

/// Units by spacecraft.
type Durable = BTreeMap<SpacecraftId, u64>;

/// What a set has of a range.
fn overlap(set: &RangeSet, of: SeqRange) -> impl Iterator<Item = SeqRange> {
    let cut = move |range: &SeqRange| SeqRange {
        first: range.first.max(of.first),
        last: range.last.min(of.last),
    };
    set.ranges().iter().map(cut).filter(|range| range.first <= range.last)
}

fn view(spacecraft: SpacecraftId, counts: EarCounts, durable: u64, said: RadioView) -> RadioView {
    let EarCounts { rebuilt, mut refused } = counts;
    let whole = [
        ("unit-check", rebuilt.wrong),
        ("too-long", rebuilt.too_long),
        ("given-up", rebuilt.given_up),
    ];
    let all = rebuilt.refused.into_iter().chain(whole);
    for (reason, count) in all.filter(|(_, count)| *count > 0) {
        *refused.entry(reason).or_default() += count;
    }
    RadioView {
        spacecraft: spacecraft.0,
        parts: rebuilt.parts,
        parts_repeated: rebuilt.repeated,
        rebuilt: rebuilt.units,
        refused,
        durable,
        ..said
    }
}
